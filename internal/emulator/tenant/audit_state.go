package tenant

import (
	"encoding/json"
	"fmt"
	"time"
)

// What of the audit log is kept from one run to the next: content follows from
// the options, subscriptions do not.

// auditState is what Snapshot writes.
type auditState struct {
	Recording     [][2]int64          `json:"recording"` // Unix milliseconds, end-exclusive
	Subscriptions []subscriptionState `json:"subscriptions"`
}

type subscriptionState struct {
	ContentType string     `json:"contentType"`
	Spans       [][2]int64 `json:"spans"` // in which it was enabled
	LastStart   time.Time  `json:"lastStart,omitzero"`
	QuietUntil  time.Time  `json:"quietUntil,omitzero"`
	Webhook     *Webhook   `json:"webhook,omitempty"`
	Told        int64      `json:"told,omitempty"`
}

// Snapshot returns the subscriptions and whether auditing is on, as JSON. The
// authId of a webhook is in it, which is its owner's to keep.
func (l *AuditLog) Snapshot() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := auditState{Recording: l.recording.pairs(), Subscriptions: []subscriptionState{}}
	for t := range l.feeds {
		if s := &l.feeds[t].subscription; s.started {
			state.Subscriptions = append(state.Subscriptions, subscriptionState{
				ContentType: contentTypes[t].name, Spans: s.spans.pairs(), LastStart: s.lastStart,
				QuietUntil: s.quietUntil, Webhook: s.webhook, Told: s.told,
			})
		}
	}
	return json.Marshal(state)
}

// Restore makes the subscriptions those of a snapshot. An error leaves them as
// they are.
func (l *AuditLog) Restore(snapshot []byte) error {
	var state auditState
	if err := json.Unmarshal(snapshot, &state); err != nil {
		return fmt.Errorf("restoring the audit log: %w", err)
	}
	recording, err := spansOf(state.Recording)
	if err != nil {
		return fmt.Errorf("restoring the audit log: recording: %w", err)
	}
	var restored [numContentTypes]subscription
	for _, s := range state.Subscriptions {
		t, ok := contentTypeIndex(s.ContentType)
		if !ok || restored[t].started {
			return fmt.Errorf("restoring the audit log: %q is no content type, or comes twice", s.ContentType)
		}
		enabled, err := spansOf(s.Spans)
		if err != nil {
			return fmt.Errorf("restoring the audit log: %s: %w", s.ContentType, err)
		}
		restored[t] = subscription{
			started: true, spans: enabled, lastStart: s.LastStart, quietUntil: s.QuietUntil,
			webhook: s.Webhook, told: s.Told,
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recording = recording
	for t := range l.feeds {
		l.feeds[t].subscription = restored[t]
	}
	return nil
}

func (s spans) pairs() [][2]int64 {
	pairs := make([][2]int64, len(s))
	for i, one := range s {
		pairs[i] = [2]int64{one.from, one.to}
	}
	return pairs
}

func spansOf(pairs [][2]int64) (spans, error) {
	var s spans
	for i, p := range pairs {
		if p[0] > p[1] || i > 0 && p[0] < pairs[i-1][1] {
			return nil, fmt.Errorf("the span from %d to %d is out of order", p[0], p[1])
		}
		s = append(s, span{p[0], p[1]})
	}
	return s, nil
}
