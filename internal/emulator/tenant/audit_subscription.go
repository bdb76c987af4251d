package tenant

import (
	"errors"
	"math"
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
}

// subscription is the history of the subscription to one content type. Content
// belongs to the reader if it was created in one of the spans.
type subscription struct {
	started    bool // at any time
	spans      []span
	lastStart  time.Time
	quietUntil time.Time
}

// span is a time in which a subscription was enabled, in Unix milliseconds; an
// enabled one has the largest end.
type span struct{ from, to int64 }

func (s *subscription) enabled() bool {
	return len(s.spans) > 0 && s.spans[len(s.spans)-1].to == math.MaxInt64
}

// covers reports whether content created at a time was subscribed to.
func (s *subscription) covers(ms int64) bool {
	for _, span := range s.spans {
		if span.from <= ms && ms < span.to {
			return true
		}
	}
	return false
}

// Subscriptions returns the subscriptions that were ever started.
func (l *AuditLog) Subscriptions() []Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Subscription
	for t := range l.feeds {
		if s := &l.feeds[t].subscription; s.started {
			all = append(all, Subscription{ContentType: contentTypes[t].name, Enabled: s.enabled()})
		}
	}
	return all
}

// Subscribed reports whether a content type has an enabled subscription.
func (l *AuditLog) Subscribed(contentType string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := contentTypeIndex(contentType)
	return ok && l.feeds[t].enabled()
}

// StartSubscription enables the subscription to a content type. Content created
// from now on is listed, after the first start only when FirstContentDelay has
// passed. It returns ErrStartedLately or ErrAlreadyEnabled if nothing changed.
func (l *AuditLog) StartSubscription(contentType string) error {
	t, ok := contentTypeIndex(contentType)
	if !ok {
		return ErrNotSubscribed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s, now := &l.feeds[t].subscription, l.Now()
	switch {
	case !s.lastStart.IsZero() && now.Sub(s.lastStart) < startInterval:
		return ErrStartedLately
	case s.enabled():
		return ErrAlreadyEnabled
	}
	if !s.started {
		s.quietUntil = now.Add(l.opts.FirstContentDelay)
	}
	s.started, s.lastStart = true, now
	s.spans = append(s.spans[:len(s.spans):len(s.spans)], span{now.UnixMilli(), math.MaxInt64})
	return nil
}

// StopSubscription disables the subscription to a content type. What is created
// until the next start is lost to the reader for good. It returns
// ErrNotSubscribed if there is no enabled one.
func (l *AuditLog) StopSubscription(contentType string) error {
	t, ok := contentTypeIndex(contentType)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || !l.feeds[t].enabled() {
		return ErrNotSubscribed
	}
	s := &l.feeds[t].subscription
	spans := append([]span(nil), s.spans...) // an old one may be in use by Records
	spans[len(spans)-1].to = l.Now().UnixMilli()
	s.spans = spans
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
