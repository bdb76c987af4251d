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

// AuditForm is what audit records become, for those that are kept.
func AuditForm(tenant int, scope Scope) ingest.Form {
	return ingest.Form{Name: "audit", Tables: auditTables, NewDecoder: func() ingest.Decoder { return newAuditDecoder(tenant, scope) }}
}

type audit struct{ AuditOptions }

// enable starts the subscriptions to those content types that have none. It asks
// each time: somebody else may have stopped one.
func (a *audit) enable(ctx context.Context, contentTypes []string) (started map[string]time.Time, refused map[string]error, err error) {
	subscriptions, err := a.Client.Subscriptions(ctx)
	if err != nil {
		return nil, nil, err
	}
	enabled := map[string]bool{}
	for _, s := range subscriptions {
		enabled[s.ContentType] = s.Enabled()
	}
	started, refused = map[string]time.Time{}, map[string]error{}
	for _, contentType := range contentTypes {
		if enabled[contentType] {
			continue
		}
		err := a.Client.Start(ctx, contentType)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil && classify(err).Stop:
			return nil, nil, err
		case err != nil:
			refused[contentType] = err
		default:
			started[contentType] = a.Now()
		}
	}
	return started, refused, nil
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
	f := ingest.Failure{Gone: errors.Is(err, activity.ErrGone), Refused: errors.Is(err, m365.ErrForbidden)}
	var e *m365.Error
	if errors.As(err, &e) {
		f.After = e.RetryAfter
	}
	var signIn *m365.SignInError
	f.Stop = !errors.Is(err, m365.ErrTransient) && (errors.As(err, &signIn) || errors.Is(err, m365.ErrUnauthorized))
	return f
}
