package rotate

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/pki"
)

const year = 365 * 24 * time.Hour

// A month is the shortest lifetime that a policy may have.
const month = 30 * 24 * time.Hour

// seldom lets a process look once in three days at what nothing happens with.
func seldom(o *Options) { o.Rhythm.Look = 3 * 24 * time.Hour }

// TestAYearOff lets the clock of reeve's machine be a year wrong for some hours, ahead and
// behind, and right again: what is in use goes on, and nothing is left waiting for a year.
func TestAYearOff(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": year, "behind": -year} {
		for _, hours := range []int{0, 24} { // 0: for one look
			t.Run(fmt.Sprint(name, " for ", hours, " hours"), func(t *testing.T) {
				w := newInside(t, 1, origin.UsualDelays)
				p := w.start(filepath.Join(place(t), "reeve.db"), "one", openKeys(t, ""), 1, 0, seldom)
				s := w.applications(1, func(int) time.Duration { return month })[0]
				w.adopt(p, s, credential.Policy{Lifetime: credential.Span(month), Overlap: credential.Span(24 * time.Hour), DestroyAfter: credential.Span(24 * time.Hour)}.Complete(w.cloud.GraphAudience))
				app := func() credential.Application {
					a, err := p.db.Application(t.Context(), p.o.Tenant, s.object)
					if err != nil {
						t.Fatal(err)
					}
					return a
				}
				live := func(d time.Duration) {
					t.Helper()
					for end := w.clock.Now().Add(d); !w.clock.Now().After(end); {
						next, err := p.Pass(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						c, _ := app().Active()
						if why := w.outage(s, c); why != "" {
							t.Fatalf("at %v, by its clock %v: %s\n%s", w.clock.Now(), p.Now(), why, describe(p.db, p.o.Tenant, s.object, p.Now()))
						}
						w.clock.Add(max(min(next.Sub(p.Now()), end.Sub(w.clock.Now())), time.Second))
					}
				}
				live(time.Hour)
				for _, begun := range []time.Duration{5 * time.Second, 90 * time.Second} {
					old, _ := app().Active()
					if _, err := p.db.AddWish(t.Context(), p.o.Tenant, s.object, credential.Wish{Kind: credential.Renew, By: "pat"}); err != nil {
						t.Fatal(err)
					}
					live(begun) // it is on its way then
					p.ahead.Store(int64(off))
					live(time.Duration(hours) * time.Hour)
					p.ahead.Store(0)
					live(26 * time.Hour)
					if c, _ := app().Active(); c.ID == old.ID {
						t.Errorf("what was asked for is not done\n%s", describe(p.db, p.o.Tenant, s.object, w.clock.Now()))
					}
				}
				// Renewals go on in time.
				first, _ := app().Active()
				live(month)
				a := app()
				c, _ := a.Active()
				// A second one waits for two days, at most, before the active one is due.
				if n := len(a.In(credential.Standby)); c.ID == first.ID || n < 1 || n > 2 || len(w.keyIDs(s.object)) > len(s.foreign)+3 {
					t.Errorf("Entra ID has %d keys\n%s", len(w.keyIDs(s.object)), describe(p.db, p.o.Tenant, s.object, w.clock.Now()))
				}
				if made := len(a.Credentials); made > 10 {
					t.Errorf("%d credentials were made", made)
				}
			})
		}
	}
}

// TestTwoOfTheSame runs reeve twice with the same configuration and a database each, which
// nobody should: each takes the other's keys for somebody else's and leaves them alone, and
// what each has in use goes on.
func TestTwoOfTheSame(t *testing.T) {
	t.Parallel()
	w := newInside(t, 1, origin.UsualDelays)
	s := w.applications(1, func(int) time.Duration { return month })[0]
	policy := credential.Policy{Lifetime: credential.Span(month), Overlap: credential.Span(24 * time.Hour), DestroyAfter: credential.Span(24 * time.Hour)}.Complete(w.cloud.GraphAudience)
	var both []*process
	var due []time.Time
	for i := range 2 {
		p := w.start(filepath.Join(place(t), "reeve.db"), "the same", openKeys(t, ""), uint64(i), 0, seldom)
		w.adopt(p, s, policy)
		both, due = append(both, p), append(due, w.clock.Now())
	}
	app := func(p *process) credential.Application {
		a, err := p.db.Application(t.Context(), p.o.Tenant, s.object)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var renewed [2]int
	var last [2]string
	for end := w.clock.Now().Add(4 * month); w.clock.Now().Before(end); {
		i := 0
		if due[1].Before(due[0]) {
			i = 1
		}
		w.clock.Add(max(due[i].Sub(w.clock.Now()), time.Millisecond))
		next, err := both[i].Pass(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		due[i] = next
		c, _ := app(both[i]).Active()
		if why := w.outage(s, c); why != "" {
			t.Fatalf("number %d at %v: %s\n%s", i, w.clock.Now(), why, describe(both[i].db, both[i].o.Tenant, s.object, w.clock.Now()))
		}
		if c.ID != last[i] {
			renewed[i]++
			last[i] = c.ID
		}
	}
	for i, n := range renewed {
		// Two wait while a new one is to take the place of an old one.
		if waiting := len(app(both[i]).In(credential.Standby)); n < 4 || waiting < 1 || waiting > 2 {
			t.Errorf("number %d has had %d certificates in use\n%s", i, n, describe(both[i].db, both[i].o.Tenant, s.object, w.clock.Now()))
		}
	}
}

// TestAClockThatIsRightAgain lets reeve's clock be half an hour off while a certificate is
// wanted, and then right again: that it was off does not stay in force. A rehearsal sees it
// at once, and the certificate that waits for it is made within minutes; where no
// certificate is there to ask with, at the next look.
func TestAClockThatIsRightAgain(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string]bool{"with a certificate": true, "with none": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var off time.Duration
			w.change = func(o *Options) {
				o.Now = func() time.Time { return w.clock.Now().Add(off) }
				o.Rhythm.Look = 15 * time.Minute
			}
			r := w.rotator()
			w.adopt(r, func(o *Adoption) {
				if !pair {
					o.Pair = pki.Pair{}
				}
			})
			until := func(limit time.Duration, what string, ok func(credential.Application) bool) {
				t.Helper()
				for end := w.clock.Now().Add(limit); !ok(w.app()); w.clock.Add(20 * time.Second) {
					if w.clock.Now().After(end) {
						t.Fatalf("waiting for %s: not within %v\n%s", what, limit, w.describe())
					}
					if _, err := r.Pass(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			off = -30 * time.Minute
			if pair {
				off = 0
				until(10*time.Minute, "a standby", func(a credential.Application) bool { return len(a.In(credential.Standby)) > 0 })
				off = -30 * time.Minute
				w.wish(r, credential.Renew, "")
			}
			keyed := func(a credential.Application) bool { return len(a.In(credential.Keyed)) > 0 }
			until(24*time.Hour, "one that waits for the clock", func(a credential.Application) bool {
				return keyed(a) && a.Observed.Skew > 29*time.Minute
			})
			off = 0
			for _, h := range r.Rehearse(t.Context(), w.app()) {
				if h.Result == ResultFailed {
					t.Errorf("the clock is right, and a rehearsal says: %s: %s", h.What, h.Text)
				}
			}
			until(16*time.Minute, "it to go on", func(a credential.Application) bool { return !keyed(a) && a.Observed.Skew == 0 })
		})
	}
}
