package tenant

import (
	"errors"
	"math"
	"slices"
	"time"
)

var (
	// ErrStartedLately reports a start within 15 minutes of the last one.
	ErrStartedLately = errors.New("the subscription was started less than 15 minutes ago")
	// ErrAlreadyEnabled reports a start that changes nothing.
	ErrAlreadyEnabled = errors.New("the subscription is already enabled")
	// ErrNotSubscribed reports that there is no enabled subscription.
	ErrNotSubscribed = errors.New("no subscription to this content type")
)

// startInterval is how long one has to wait between starts.
const startInterval = 15 * time.Minute

// A Subscription is the state of one content type.
type Subscription struct {
	ContentType string
	Enabled     bool
	Webhook     *Webhook // nil when nobody is to be told of content
}

// A Webhook is where a subscriber wants to be told of new content.
type Webhook struct {
	Address  string    `json:"address"`
	AuthID   string    `json:"authId,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`   // never when zero
	Disabled bool      `json:"disabled,omitempty"` // for having failed too often
	ClientID string    `json:"clientId"`           // of the application that registered it
	Host     string    `json:"host,omitempty"`     // of the cloud, by whose name it was registered and is sent links; empty for the API's own address
}

// Active reports whether the webhook is to be called at a time.
func (w *Webhook) Active(now time.Time) bool { return w != nil && !w.Disabled && !w.Expired(now) }

// Expired reports whether the webhook's time is over.
func (w *Webhook) Expired(now time.Time) bool { return !w.Expires.IsZero() && !w.Expires.After(now) }

// subscription is the history of the subscription to one content type. Content
// belongs to the reader if it was created in one of the spans.
type subscription struct {
	started    bool // at any time
	spans      spans
	lastStart  time.Time
	quietUntil time.Time
	webhook    *Webhook // never changed in place
	told       int64    // the webhook has been told of content up to this time, in Unix milliseconds
}

// spans are times in which something is on, in order. They are never changed in
// place, for those who read them.
type spans []span

// span is a time in Unix milliseconds, end-exclusive; one that lasts has the
// largest end.
type span struct{ from, to int64 }

var always = spans{{math.MinInt64, math.MaxInt64}}

// on reports whether the last span lasts.
func (s spans) on() bool { return len(s) > 0 && s[len(s)-1].to == math.MaxInt64 }

func (s spans) covers(ms int64) bool {
	for _, span := range s {
		if span.from <= ms && ms < span.to {
			return true
		}
	}
	return false
}

// begin and end turn it on or off from a time on. What the clock said later
// than that, before it was set back, is forgotten.
func (s spans) begin(now time.Time) spans {
	from := now.UnixMilli()
	for len(s) > 0 && s[len(s)-1].to >= from {
		from = min(from, s[len(s)-1].from)
		s = s[:len(s)-1]
	}
	return append(s[:len(s):len(s)], span{from, math.MaxInt64})
}

func (s spans) end(now time.Time) spans {
	to := now.UnixMilli()
	for len(s) > 0 && s[len(s)-1].from >= to {
		s = s[:len(s)-1]
	}
	s = slices.Clone(s)
	if last := len(s) - 1; last >= 0 {
		s[last].to = min(s[last].to, to)
	}
	return s
}

// Subscriptions returns the subscriptions that were ever started.
func (l *AuditLog) Subscriptions() []Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Subscription
	for t := range l.feeds {
		if s := &l.feeds[t].subscription; s.started {
			all = append(all, Subscription{ContentType: contentTypes[t].name, Enabled: s.spans.on(), Webhook: s.webhook})
		}
	}
	return all
}

// Subscribed reports whether a content type has an enabled subscription.
func (l *AuditLog) Subscribed(contentType string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := contentTypeIndex(contentType)
	return ok && l.feeds[t].spans.on()
}

// CheckStart returns the error that StartSubscription would return, and changes
// nothing.
func (l *AuditLog) CheckStart(contentType string, webhook *Webhook) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.mayStart(contentType, webhook)
	return err
}

// StartSubscription enables the subscription to a content type, and sets or
// with nil removes its webhook. Content created from now on is listed, after
// the first start only when FirstContentDelay has passed. It returns
// ErrStartedLately, or ErrAlreadyEnabled if nothing would change.
func (l *AuditLog) StartSubscription(contentType string, webhook *Webhook) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.mayStart(contentType, webhook)
	if err != nil {
		return err
	}
	now := l.Now()
	if !s.started {
		s.quietUntil = now.Add(l.opts.FirstContentDelay)
	}
	s.started, s.lastStart, s.webhook, s.told = true, now, webhook, now.UnixMilli()-1
	if !s.spans.on() {
		s.spans = s.spans.begin(now)
	}
	return nil
}

// mayStart returns the subscription to start; l.mu is held.
func (l *AuditLog) mayStart(contentType string, webhook *Webhook) (*subscription, error) {
	t, ok := contentTypeIndex(contentType)
	if !ok {
		return nil, ErrNotSubscribed
	}
	s, now := &l.feeds[t].subscription, l.Now()
	switch since := now.Sub(s.lastStart); {
	case since >= 0 && since < startInterval: // below 0 the clock was set back
		return nil, ErrStartedLately
	case s.spans.on() && s.webhook.same(webhook, now):
		return nil, ErrAlreadyEnabled
	}
	return s, nil
}

// same reports whether setting a webhook to another would change nothing.
func (w *Webhook) same(other *Webhook, now time.Time) bool {
	if w == nil || other == nil {
		return w == other
	}
	return w.Active(now) && w.Address == other.Address && w.AuthID == other.AuthID && w.Expires.Equal(other.Expires)
}

// StopSubscription disables the subscription to a content type. What is created
// until the next start is lost to the reader for good. It returns
// ErrNotSubscribed if there is no enabled one.
func (l *AuditLog) StopSubscription(contentType string) error {
	t, ok := contentTypeIndex(contentType)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || !l.feeds[t].spans.on() {
		return ErrNotSubscribed
	}
	s := &l.feeds[t].subscription
	s.spans = s.spans.end(l.Now())
	return nil
}

// StopAll makes the log one to which nobody has ever subscribed.
func (l *AuditLog) StopAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for t := range l.feeds {
		l.feeds[t].subscription = subscription{}
	}
}

// DisableWebhook disables a webhook, unless another one was registered since it
// was returned by Subscriptions.
func (l *AuditLog) DisableWebhook(contentType string, w *Webhook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := contentTypeIndex(contentType); ok && w != nil && l.feeds[t].webhook == w {
		disabled := *w
		disabled.Disabled = true
		l.feeds[t].webhook = &disabled
	}
}

// TakeNew returns the blobs of a content type of which its webhook was not told
// yet, the oldest first and at most so many, and takes it that it will be told
// of these. There are none unless the subscription is enabled and the webhook
// active.
func (l *AuditLog) TakeNew(contentType string, most int) []Blob {
	t, ok := contentTypeIndex(contentType)
	if !ok {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	l.extend(now)
	f := &l.feeds[t]
	if !f.spans.on() || !f.webhook.Active(now) {
		return nil
	}
	var blobs []Blob
	for _, place := range f.window(time.UnixMilli(f.told+1), now.Add(time.Millisecond)) {
		b := &f.blobs[place]
		if !l.open(f, b, now) {
			continue
		}
		// Blobs of one millisecond go together, because told cannot stand
		// between them.
		if len(blobs) >= most && b.created != f.told {
			break
		}
		f.told = b.created
		blobs = append(blobs, l.describe(t, b, int(place)))
	}
	return blobs
}

// Recording reports whether the tenant has auditing turned on.
func (l *AuditLog) Recording() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recording.on()
}

// Record turns auditing on or off, as an administrator can. Content that would
// have been created while it was off never comes into being.
func (l *AuditLog) Record(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch now := l.Now(); {
	case on && !l.recording.on():
		l.recording = l.recording.begin(now)
	case !on && l.recording.on():
		l.recording = l.recording.end(now)
	}
}
