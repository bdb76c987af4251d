package rotate

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/pki"
)

// TestLife follows an application through its first renewals.
func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	first, _ := w.app().Active()

	w.until(r, 10*time.Minute, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	standby, _ := w.app().Standby()
	if len(w.atEntra()) != 3 {
		t.Errorf("the application has %d key credentials, and should have the expired one, the first and the standby", len(w.atEntra()))
	}
	w.until(r, 400*24*time.Hour, "a renewal", func(a credential.Application) bool {
		active, ok := a.Active()
		return ok && active.ID != first.ID
	})
	active, _ := w.app().Active()
	t.Logf("first standby %s made %v, active %s made %v at %v", standby.ID, standby.Planned, active.ID, active.Planned, w.clock.Now())
	if got := w.clock.Now(); !got.Before(first.NotAfter) {
		t.Errorf("renewed at %v, after the first ended at %v", got, first.NotAfter)
	}
	w.until(r, 60*24*time.Hour, "the first to be destroyed", func(a credential.Application) bool {
		c, _ := a.Find(first.ID)
		return c.State == credential.Destroyed
	})
	t.Log(w.describe())
}

// promoteOnly waits for a standby and promotes it, and stops before it is published.
func (w *world) promoteOnly(r *Rotator) credential.Credential {
	w.t.Helper()
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	standby, _ := w.app().Standby()
	if err := r.under(w.t.Context(), w.object, func(k *work) error {
		return k.promote(w.t.Context(), standby, credential.Step{Action: credential.Advance, Why: "a test"})
	}); err != nil {
		w.t.Fatal(err)
	}
	return standby
}

// TestPublishingAfterALongStop is ended between the proof of a standby and publishing it,
// and begun again days later: what somebody has removed meanwhile must not come into use.
func TestPublishingAfterALongStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	standby := w.promoteOnly(r)
	if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, standby.KeyID); err != nil {
		t.Fatal(err)
	}
	w.clock.Add(3 * 24 * time.Hour)
	w.until(w.rotator(), time.Hour, "the removed one to be given up", func(a credential.Application) bool {
		c, _ := a.Find(standby.ID)
		if c.State == credential.Active {
			t.Fatalf("it is the active one, and Entra ID refuses it\n%s", w.describe())
		}
		return c.State == credential.Abandoned || c.State == credential.Lost || c.State == credential.Destroyed
	})
}

// TestRevokingWhateverIsActive asks for the active one to be revoked, without a name, while
// its successor is being published: that one stays.
func TestRevokingWhateverIsActive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	standby := w.promoteOnly(r)
	w.wish(r, credential.Revoke, "")
	if _, err := r.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, _ := w.app().Active(); c.ID != standby.ID || len(w.app().In(credential.Compromised)) != 1 {
		t.Errorf("the successor is not the active one\n%s", w.describe())
	}
}

// TestTheListIsReadAnewAfterAPause begins to read the list before it is replaced, and goes
// on a day later: that it was the same yesterday does not show what was just added.
func TestTheListIsReadAnewAfterAPause(t *testing.T) {
	t.Parallel()
	now := begin
	w := &work{r: New(Options{Now: func() time.Time { return now }})}
	var c credential.Credential
	reads := 0
	for _, pause := range []time.Duration{0, listGap, 24 * time.Hour, listGap, listGap, listGap} {
		now = now.Add(pause)
		reads++
		if w.settled(&c, nil) != (reads == 6) {
			t.Fatalf("after read %d it is settled: %t", reads, reads != 6)
		}
	}
}

// TestRemovingTheFirst takes away a certificate that was registered by the whole list, and
// lets the first try fail: in passing, for which the list is not replaced; and by a
// refusal, after which the list is tried, which reeve may not replace either, and then a
// proof again.
func TestRemovingTheFirst(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer func() (*http.Response, error)
		lists  int
	}{
		"no answer": {func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, 0},
		"forbidden": {func() (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(`{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges to complete the operation."}}`))}, nil
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := &failsOnce{next: w.HTTPClient().Transport, answer: test.answer}
			w.change = func(o *Options) {
				o.Directory = newDirectory(t, w.cloud, &http.Client{Transport: n}, secretToken{w})
				o.HTTP = &http.Client{Transport: n}
			}
			r := w.rotator()
			w.adopt(r, func(o *Adoption) { o.Pair, o.Policy.Overlap = pki.Pair{}, credential.Span(time.Hour) })
			w.until(r, time.Hour, "an active one and a standby", func(a credential.Application) bool {
				_, active := a.Active()
				_, standby := a.Standby()
				return active && standby
			})
			first, _ := w.app().Active()
			if n.lists != 1 || first.Method != byPatch {
				t.Errorf("the list was replaced %d times, the certificate registered by %s", n.lists, first.Method)
			}
			n.lists, n.readOnly = 0, true
			w.wish(r, credential.Renew, "")
			w.until(r, 10*24*time.Hour, "the end of the first", func(a credential.Application) bool {
				c, _ := a.Find(first.ID)
				return c.State == credential.Retired
			})
			if !n.failed || n.lists != test.lists {
				t.Errorf("removing failed once: %t; it was tried %d times by the list, not %d", n.failed, n.lists, test.lists)
			}
		})
	}
}

// failsOnce answers the first request for removing a key itself, and counts the lists of
// keys that are sent.
type failsOnce struct {
	next     http.RoundTripper
	answer   func() (*http.Response, error)
	failed   bool
	lists    int
	readOnly bool // lists are answered like the first request
}

func (n *failsOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.Method == http.MethodPatch:
		n.lists++
		if n.readOnly {
			return n.answer()
		}
	case strings.HasSuffix(r.URL.Path, "/removeKey") && !n.failed:
		n.failed = true
		return n.answer()
	}
	return n.next.RoundTrip(r)
}

// TestEachLivePlaceIsTold tells of two live places that have changed within one second: an
// event whose ID is known is told no more.
func TestEachLivePlaceIsTold(t *testing.T) {
	t.Parallel()
	w := &work{r: New(Options{Now: func() time.Time { return begin }})}
	one, other := w.noticeTarget(credential.Credential{}, "directory:/a b", "it is gone"), w.noticeTarget(credential.Credential{}, "directory:/c", "it is gone")
	if one.ID == other.ID || strings.Contains(one.ID, " ") {
		t.Errorf("the events are %q and %q", one.ID, other.ID)
	}
}
