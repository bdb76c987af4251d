package rotate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/store"
)

// percentile is the value that so many percent do not exceed.
func percentile(all []time.Duration, p int) time.Duration {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, (len(sorted)*p+99)/100-1)]
}

// TestPromptFromNothing measures how long it takes from a wish until a certificate that
// does not exist yet is the active one, at a tenant whose replicas and front ends lag by
// up to 30 seconds.
func TestPromptFromNothing(t *testing.T) {
	onlyFiles(t)
	renewals := 30
	if os.Getenv("TEST_LONG") != "" {
		renewals = 200
	}
	if raceEnabled {
		renewals = 5
	}
	w := newInside(t, 1, origin.Delays{Reads: origin.Range{Most: 30 * time.Second}, Keys: origin.Range{Most: 30 * time.Second}})
	keys := openKeys(t, "").(*shelf)
	file := filepath.Join(place(t), "reeve.db")
	p := w.start(file, "reeve", keys, 1, 0)
	s := w.applications(1, func(int) time.Duration { return 180 * 24 * time.Hour })[0]
	a := w.adopt(p, s, credential.Policy{Overlap: credential.Span(time.Hour), DestroyAfter: credential.Span(time.Hour)}.Complete(w.cloud.GraphAudience))
	began, ctx := time.Now(), context.Background()
	var took []time.Duration
	for n := range renewals {
		if n%20 == 0 {
			forget(t, file)
		}
		was, _ := a.Active()
		asked := w.clock.Now()
		if _, err := p.db.AddWish(ctx, p.o.Tenant, s.object, credential.Wish{Kind: credential.Renew, By: "test", At: asked}); err != nil {
			t.Fatal(err)
		}
		for promoted := (time.Time{}); ; {
			next, err := p.Work(ctx, s.object)
			if err != nil {
				t.Fatal(err)
			}
			if a, err = p.db.Application(ctx, p.o.Tenant, s.object); err != nil {
				t.Fatal(err)
			}
			active, _ := a.Active()
			if active.ID != was.ID && promoted.IsZero() {
				promoted = w.clock.Now()
				took = append(took, promoted.Sub(asked))
			}
			if w.clock.Now().Sub(asked) > time.Hour {
				t.Fatalf("it is not the active one within an hour\n%s", describe(p.db, p.o.Tenant, s.object, w.clock.Now()))
			}
			w.clock.Add(max(next.Sub(w.clock.Now()), time.Millisecond))
			// The next wish makes everything anew: a standby that is there is older than it.
			if !promoted.IsZero() && len(a.Wishes) == 0 && w.clock.Now().Sub(promoted) > 5*time.Minute {
				break
			}
		}
	}
	t.Logf("%d renewals from nothing: median %v, p99 %v, longest %v, in simulated time (%v of real time)", len(took),
		percentile(took, 50).Round(time.Second), percentile(took, 99).Round(time.Second), percentile(took, 100).Round(time.Second), time.Since(began).Round(time.Second))
	if got := percentile(took, 99); got > 3*time.Minute {
		t.Errorf("p99 is %v", got)
	}
}

// TestPromptFromStandby measures, in real time and over the network, how long it takes
// from a wish until a standby is the active one, with its proof made anew.
func TestPromptFromStandby(t *testing.T) {
	onlyFiles(t)
	promotions := 10
	if os.Getenv("TEST_LONG") != "" {
		promotions = 200
	}
	if raceEnabled {
		promotions = 2
	}
	w := newWorld(t, func(o *emulator.Options) { o.Calm = false })
	r := w.rotator()
	for { // the service is busy now and then
		_, err := r.Adopt(t.Context(), Adoption{ObjectID: w.object, ClientID: w.Tenant.Client().ClientID, TenantID: w.Tenant.ID, Name: "reeve",
			Mode: credential.On, Policy: w.policy(), Pair: w.pair, By: "test"})
		if err == nil {
			break
		}
		if !errors.Is(err, m365.ErrTransient) && !errors.Is(err, m365.ErrThrottled) {
			t.Fatal(err)
		}
	}
	var took []time.Duration
	for range promotions {
		forget(t, filepath.Join(w.dir, "reeve.db"))
		w.until(r, 30*time.Hour, "a standby", // for of those that nobody asked for reeve makes few a day
			func(a credential.Application) bool { _, ok := a.Standby(); return ok && len(a.Wishes) == 0 })
		w.clock.Add(20 * time.Minute) // its proof is none that may be relied on
		was, _ := w.app().Active()
		asked := time.Now()
		if _, err := w.db.AddWish(t.Context(), w.tenant, w.object, credential.Wish{Kind: credential.Promote, By: "test", At: w.clock.Now()}); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(2 * time.Millisecond)
		waited := w.clock.Now()
		w.until(r, 10*time.Minute, "the standby to be active", func(a credential.Application) bool { c, ok := a.Active(); return ok && c.ID != was.ID })
		// What the clock of the test was moved by is what reeve would have waited for.
		took = append(took, time.Since(asked)+w.clock.Now().Sub(waited))
	}
	t.Logf("%d promotions of a standby: median %v, p99 %v, longest %v", len(took), percentile(took, 50).Round(time.Millisecond), percentile(took, 99).Round(time.Millisecond), percentile(took, 100).Round(time.Millisecond))
	if got := percentile(took, 50); got > 2*time.Second {
		t.Errorf("the median is %v", got)
	}
}

// TestWithoutACertificateFirst: an application whose promotion failed comes before those
// that have been due for longer, until it has a certificate again.
func TestWithoutACertificateFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, time.Hour, "a standby", isStandby)
	w.clock.Add(time.Hour) // it has to be proved again
	if err := w.db.AddApplication(t.Context(), w.tenant, credential.Application{ObjectID: "another", Name: "another", Mode: credential.On, Adopted: w.clock.Now()},
		store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
		t.Fatal(err)
	}
	due := func() []string {
		t.Helper()
		ids, err := w.db.DueApplications(t.Context(), w.tenant, w.clock.Now(), w.clock.Now().Add(time.Hour), 10)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	w.wish(r, credential.Revoke, "")
	w.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: emulator.Unavailable, Times: 6})
	next, err := r.Work(t.Context(), w.object)
	if err != nil {
		t.Fatal(err)
	}
	if a := w.app(); !a.Out(w.clock.Now()) {
		t.Fatalf("it has a certificate:\n%s", w.describe())
	}
	w.clock.Add(next.Sub(w.clock.Now()))
	if got, want := due(), []string{w.object, "another"}; !slices.Equal(got, want) {
		t.Errorf("without a certificate: %v, want %v", got, want)
	}
	for range 100 {
		if next, err = r.Work(t.Context(), w.object); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(max(next.Sub(w.clock.Now()), time.Millisecond))
		if _, ok := w.app().Active(); ok {
			break
		}
	}
	if got, want := due(), []string{"another", w.object}; !slices.Equal(got, want) {
		t.Errorf("with one: %v, want %v\n%s", got, want, w.describe())
	}
}
