package activity

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// Notifications: telling webhooks of new content, and what was told.

// Documented is that the service tries again ever more slowly and may disable a
// webhook that fails. The numbers are [K].
const (
	mostNotifications = 100              // in one call
	mostWaiting       = 1000             // of a content type; the audit log keeps the others
	firstRetry        = time.Minute      // by the tenant's clock; doubles with each failure
	mostFailures      = 8                // in succession, after which a webhook is disabled
	mostRemembered    = 10_000           // attempts of a content type that can be listed
	notificationPage  = 200              // listed at once
	tick              = time.Second / 10 // between looks at the tenant's clock, by the machine's
)

// notifier is what an API remembers for its webhooks.
type notifier struct {
	delivering sync.Mutex // held by the one who delivers; guards waiting
	waiting    map[string]*queue

	listing  sync.Mutex // guards attempts
	attempts map[string]*attempts
}

// queue is what a webhook still has to be told.
type queue struct {
	webhook  *tenant.Webhook
	blobs    []tenant.Blob
	failures int       // in succession
	next     time.Time // not before
}

// attempts are the latest notifications of a content type, the oldest first.
type attempts struct {
	dropped int // how many came before them
	kept    []attempt
}

type attempt struct {
	blob tenant.Blob
	sent time.Time
	ok   bool
}

// Run delivers notifications as the tenant's clock goes on, until the context
// ends.
func (e *API) Run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.Deliver(ctx)
		}
	}
}

// Deliver sends the notifications that are due by the tenant's clock.
func (e *API) Deliver(ctx context.Context) {
	e.delivering.Lock()
	defer e.delivering.Unlock()
	if e.waiting == nil {
		e.waiting = map[string]*queue{}
	}
	for _, s := range e.Audit.Subscriptions() {
		q := e.waiting[s.ContentType]
		if !s.Enabled || !s.Webhook.Active(e.Cloud.Now()) {
			delete(e.waiting, s.ContentType)
			continue
		}
		if q == nil || q.webhook != s.Webhook {
			q = &queue{webhook: s.Webhook}
			e.waiting[s.ContentType] = q
		}
		e.deliverTo(ctx, s.ContentType, q)
	}
}

// deliverTo empties a queue, or stops at the first failure.
func (e *API) deliverTo(ctx context.Context, contentType string, q *queue) {
	for ctx.Err() == nil {
		q.blobs = append(q.blobs, e.Audit.TakeNew(contentType, mostWaiting-len(q.blobs))...)
		now := e.Cloud.Now()
		if len(q.blobs) == 0 || now.Before(q.next) {
			return
		}
		batch := q.blobs[:min(len(q.blobs), mostNotifications)]
		err := e.callWebhook(ctx, q.webhook, "", e.notifications(q.webhook, batch))
		if err != nil && ctx.Err() != nil {
			return // stopping is no failure of the webhook
		}
		e.remember(contentType, batch, now, err == nil)
		if err == nil {
			q.blobs, q.failures, q.next = slices.Clone(q.blobs[len(batch):]), 0, time.Time{}
			continue
		}
		q.next = now.Add(firstRetry << q.failures)
		q.failures++
		e.Cloud.Log.Info("webhook failed", "contentType", contentType, "failures", q.failures, "error", origin.Printable(err.Error()))
		if q.failures == mostFailures {
			e.Audit.DisableWebhook(contentType, q.webhook)
			delete(e.waiting, contentType)
		}
		return
	}
}

// notificationBody is what a webhook is told of a blob.
type notificationBody struct {
	TenantID string `json:"tenantId"`
	ClientID string `json:"clientId"`
	contentBody
}

func (e *API) notifications(w *tenant.Webhook, blobs []tenant.Blob) []notificationBody {
	base := e.Cloud.Hosts.Origins.Manage
	if w.Host != "" {
		base = "https://" + w.Host
	}
	list := make([]notificationBody, len(blobs))
	for i, b := range blobs {
		list[i] = notificationBody{e.Tokens.TenantID, w.ClientID, describeContent(b, base, e.Tokens.TenantID)}
	}
	return list
}

func (e *API) remember(contentType string, blobs []tenant.Blob, sent time.Time, ok bool) {
	e.listing.Lock()
	defer e.listing.Unlock()
	if e.attempts == nil {
		e.attempts = map[string]*attempts{}
	}
	a := e.attempts[contentType]
	if a == nil {
		a = &attempts{}
		e.attempts[contentType] = a
	}
	for _, b := range blobs {
		a.kept = append(a.kept, attempt{b, sent, ok})
	}
	if over := len(a.kept) - mostRemembered; over > 0 {
		a.kept = slices.Clone(a.kept[over:])
		a.dropped += over
	}
}

// attempted returns attempts that were made in a window, from a number on and at
// most so many, and the number to go on with, or 0.
func (e *API) attempted(contentType string, start, end time.Time, from, most int) (list []attempt, next int) {
	e.listing.Lock()
	defer e.listing.Unlock()
	a := e.attempts[contentType]
	if a == nil {
		return nil, 0
	}
	for i := max(0, from-a.dropped); i < len(a.kept); i++ {
		if one := a.kept[i]; !one.sent.Before(start) && one.sent.Before(end) {
			if len(list) == most {
				return list, a.dropped + i
			}
			list = append(list, one)
		}
	}
	return list, 0
}

// attemptBody is a notification as it is listed.
type attemptBody struct {
	contentBody
	NotificationSent   string `json:"notificationSent"`
	NotificationStatus string `json:"notificationStatus"` // success or failed; the second word is [K]
}

// listNotifications lists what was sent in a window. That the window is on when
// it was sent is [K].
func (e *API) listNotifications(w http.ResponseWriter, c *activityCall) error {
	page, err := e.page(c)
	if err != nil {
		return err
	}
	size := notificationPage
	if !e.Audit.Calm() {
		size = 7 // as small as the pages of content
	}
	base := e.Cloud.Hosts.Base(c.Request, origin.Manage)
	sent, next := e.attempted(page.ContentType, page.Start, page.End, page.Offset, size)
	list := make([]attemptBody, len(sent))
	for i, a := range sent {
		status := "failed"
		if a.ok {
			status = "success"
		}
		list[i] = attemptBody{describeContent(a.blob, base, c.tenantID), a.sent.UTC().Format(activityTime), status}
	}
	if next > 0 {
		page.Number, page.Offset, page.Notifications = 1, next, true
		w.Header().Set("NextPageUri", e.nextPageURI(base, c.tenantID, "notifications", page))
	}
	origin.WriteJSON(w, http.StatusOK, list)
	return nil
}
