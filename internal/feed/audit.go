// Package feed holds the feeds: what reeve imports, a file for each, and All
// lists them. A feed says where its records come from and what rows they
// become; running it is ingest's work.
package feed

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
	"github.com/reeve365/reeve/internal/store"
)

// AuditContentTypes are the content types of the Office 365 Management Activity
// API, all that are documented.
var AuditContentTypes = []string{
	"Audit.AzureActiveDirectory", "Audit.Exchange", "Audit.SharePoint", "Audit.General", "DLP.All",
}

// AuditOptions say what to import of the audit log.
type AuditOptions struct {
	Client       *activity.Client
	Tenant       int
	ContentTypes []string
	Backfill     time.Duration
	Scope        Scope
	Now          func() time.Time
}

// Audit is the feed of the unified audit log, by way of the Office 365
// Management Activity API. Microsoft documents that content is kept for 7 days,
// that one listing may span 24 hours, that records come at least once and in no
// order, and that content may appear late.
func Audit(o AuditOptions) *ingest.Feed {
	a := &audit{AuditOptions: o}
	return &ingest.Feed{
		Name:      "audit",
		Section:   "Audit events import",
		Parts:     o.ContentTypes,
		Window:    time.Hour,
		Listing:   24 * time.Hour,
		Retention: 7 * 24 * time.Hour,
		Backfill:  o.Backfill,
		Enable:    a.enable,
		List:      a.list,
		Open: func(ctx context.Context, b store.Blob) (io.ReadCloser, error) {
			return o.Client.Blob(ctx, b.URI)
		},
		NewDecoder: func() ingest.Decoder { return newAuditDecoder(o.Tenant, o.Scope) },
		Classify:   classify,
	}
}

type audit struct {
	AuditOptions
	enabled map[string]bool // subscriptions that are known to run
}

// enable starts the subscription to a content type, unless it runs already.
func (a *audit) enable(ctx context.Context, contentType string) (started time.Time, err error) {
	if a.enabled == nil {
		subscriptions, err := a.Client.Subscriptions(ctx)
		if err != nil {
			return time.Time{}, err
		}
		a.enabled = map[string]bool{}
		for _, s := range subscriptions {
			a.enabled[s.ContentType] = s.Status == "enabled"
		}
	}
	if a.enabled[contentType] {
		return time.Time{}, nil
	}
	if err := a.Client.Start(ctx, contentType); err != nil {
		return time.Time{}, err
	}
	a.enabled[contentType] = true
	return a.Now(), nil
}

func (a *audit) list(ctx context.Context, contentType string, start, end time.Time) iter.Seq2[store.Blob, error] {
	return func(yield func(store.Blob, error) bool) {
		for c, err := range a.Client.Content(ctx, contentType, start, end) {
			if !yield(store.Blob{Part: contentType, ID: c.ID, URI: c.URI, Created: c.Created, Forget: c.Expires}, err) || err != nil {
				return
			}
		}
	}
}

// classify says what an error of the Activity API means for the ledger.
func classify(err error) ingest.Failure {
	if errors.Is(err, activity.ErrGone) {
		return ingest.Failure{Gone: true}
	}
	var signIn *m365.SignInError
	if errors.As(err, &signIn) {
		return ingest.Failure{Stop: true}
	}
	var f ingest.Failure
	var e *m365.Error
	if errors.As(err, &e) {
		f.After = e.RetryAfter
	}
	f.Stop = errors.Is(err, m365.ErrUnauthorized) || errors.Is(err, m365.ErrForbidden)
	return f
}
