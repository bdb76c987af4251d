package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestAdjust follows a pace while the source throttles, and after it.
func TestAdjust(t *testing.T) {
	now := noon
	p := adjust(store.Pace{}, now, 2000, false, 0)
	if p.PerMinute != 2000 {
		t.Errorf("it begins with %d", p.PerMinute)
	}
	p = adjust(p, now, 2000, true, 30*time.Second)
	if p.PerMinute != 1000 || !p.NotBefore.Equal(now.Add(30*time.Second)) {
		t.Errorf("throttled: %+v", p)
	}
	if q := adjust(p, now.Add(time.Second), 2000, true, 0); q != p {
		t.Errorf("what was sent before the cut has cut again: %+v", q)
	}
	for range 20 { // it goes on throttling
		now = now.Add(cutAgain)
		p = adjust(p, now, 2000, true, 0)
	}
	if p.PerMinute != 40 {
		t.Errorf("at the least it is %d", p.PerMinute)
	}
	began, last := now, p.PerMinute
	for p.PerMinute < 2000 {
		now = now.Add(beatTime)
		p = adjust(p, now, 2000, false, 0)
		if p.PerMinute-last > 100 || now.Sub(began) > 10*time.Minute {
			t.Fatalf("from %d to %d after %v", last, p.PerMinute, now.Sub(began))
		}
		last = p.PerMinute
	}
	if took := now.Sub(began); took < 100*time.Second || took > 4*time.Minute {
		t.Errorf("it took %v to come back", took)
	}
	if p := adjust(p, now, 500, false, 0); p.PerMinute != 500 {
		t.Errorf("with a lower limit it is %d", p.PerMinute)
	}
	if p := adjust(store.Pace{}, now, 0, true, time.Hour); p != (store.Pace{}) {
		t.Errorf("without a limit it is %+v", p)
	}
	if got := share(store.Pace{PerMinute: 2000}, 2000, 4); got != 500 {
		t.Errorf("one of four has %d", got)
	}
}

// TestWorkersShareThePace: what one of two workers is told by the source binds both
// within a heartbeat, and one that ends leaves its share to the other.
func TestWorkersShareThePace(t *testing.T) {
	address := storetest.SQLite(t)
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), address, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var mu sync.Mutex
		shares := map[string]string{}
		var workers []*Worker
		for _, name := range []string{"a", "b"} {
			w, err := Enlist(t.Context(), WorkerOptions{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Source: "f", Limit: 2000,
				Share: func(n int, slow bool, notBefore time.Time) {
					mu.Lock()
					defer mu.Unlock()
					shares[name] = fmt.Sprint(n, slow, notBefore.After(time.Now()))
				}})
			if err != nil {
				t.Fatal(err)
			}
			workers = append(workers, w)
		}
		want := func(when, a, b string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if shares["a"] != a || shares["b"] != b {
				t.Errorf("%s: %v, want %s and %s", when, shares, a, b)
			}
		}
		time.Sleep(beatTime + time.Second)
		want("at first", "1000 false false", "1000 false false")
		workers[1].Throttled(time.Minute)
		time.Sleep(beatTime + time.Second)
		want("throttled", "500 true true", "500 true true")
		time.Sleep(5 * time.Minute)
		want("long after", "1000 false false", "1000 false false")
		if err := workers[0].Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(beatTime + time.Second)
		want("alone", "1000 false false", "2000 false false")
		if err := workers[1].Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTakesOverFromTheDead: a run with Once waits for what another worker holds, and
// reads it when that one is dead.
func TestTakesOverFromTheDead(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		for i := range 20 {
			s.add(fmt.Sprint(i), time.Now().Add(-hour))
		}
		// Somebody has listed, has taken what it found, and is killed.
		ctx, stop := context.WithCancel(t.Context())
		s.open = func(string) (string, error) { stop(); return "", io.ErrUnexpectedEOF }
		if r, err := Run(ctx, s.feed(), o); err == nil || r.Found != 20 {
			t.Fatalf("%+v, %v", r, err)
		}
		s.open = nil
		dead := o.DB.Ledger(o.Tenant, "f").As("dead")
		if _, _, err := o.DB.Beat(t.Context(), o.Tenant, store.Worker{Name: "dead", Started: time.Now()}, leaseTime, "f", func(p store.Pace, _ time.Time) store.Pace { return p }); err != nil {
			t.Fatal(err)
		}
		held, err := dead.TakeBlobs(t.Context(), time.Now().Add(hour), 5, func(store.Blob) bool { return false })
		if err != nil || len(held) != 5 {
			t.Fatalf("%v, %v", held, err)
		}
		began := time.Now()
		o.Once = true
		r, err := Run(t.Context(), s.feed(), o)
		if took := time.Since(began); err != nil || !r.Complete() || r.Blobs != 20 || took < leaseTime-time.Second || took > leaseTime+10*time.Second {
			t.Errorf("%+v, %v, after %v", r, err, took)
		}
	})
}

// TestWhatIsDueAndTakenIsNotAskedForWithoutEnd: what is due already, and could not be taken,
// is looked for again after a pause.
func TestWhatIsDueAndTakenIsNotAskedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for _, due := range []time.Duration{-time.Hour, 0, 3 * time.Second} {
			began := time.Now()
			first, err := waitForFirst(t.Context(), now, []time.Time{now.Add(time.Hour), now.Add(due)})
			if took := time.Since(began); err != nil || !first.Equal(now.Add(due)) || took != max(due, lookAgain) {
				t.Errorf("due in %v: %v, %v after %v", due, first, err, took)
			}
		}
	})
}

// TestThrottlingIsToldWhenTheDatabaseAnswersAgain: a heartbeat that fails has told nobody.
func TestThrottlingIsToldWhenTheDatabaseAnswersAgain(t *testing.T) {
	address := storetest.SQLite(t)
	db, err := store.Open(t.Context(), address, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var notBefore time.Time
	w, err := Enlist(t.Context(), WorkerOptions{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Source: "f", Limit: 2000,
		Share: func(_ int, _ bool, until time.Time) { notBefore = until }})
	if err != nil {
		t.Fatal(err)
	}
	w.stop() // from here on it beats when this test says
	<-w.done
	db.Close()
	w.Throttled(time.Hour)
	if err := w.beat(t.Context()); err == nil {
		t.Fatal("a database that is closed has answered")
	}
	if w.o.DB, err = store.Open(t.Context(), address, store.Options{}); err != nil {
		t.Fatal(err)
	}
	defer w.o.DB.Close()
	for range 2 {
		if err := w.beat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := w.o.DB.Pace(t.Context(), 1, "f"); err != nil || p.PerMinute != 1000 || !notBefore.After(time.Now()) {
		t.Errorf("%+v, %v, until %v", p, err, notBefore)
	}
}

// TestWorkersShareTheListings: two runs with Once together ask little more often than one
// alone, and both wait until everything is read.
func TestWorkersShareTheListings(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		for i := range 20 {
			s.add(fmt.Sprint(i), time.Now().Add(-time.Duration(i)*hour))
		}
		s.slow = time.Second
		o.Once = true
		var alone int64
		for n := range 2 { // the second time as below, with one blob that is new
			s.add(fmt.Sprint("new", n), time.Now().Add(-2*day))
			s.listings.Store(0)
			if r, err := Run(t.Context(), s.feed(), o); err != nil || !r.Complete() {
				t.Fatalf("%+v, %v", r, err)
			}
			alone = s.listings.Swap(0)
		}
		s.add("new", time.Now().Add(-2*day))
		results := make(chan Result, 2)
		for range 2 {
			time.Sleep(time.Millisecond)
			go func() {
				r, err := Run(t.Context(), s.feed(), o)
				if err != nil {
					t.Error(err)
				}
				results <- r
			}()
		}
		one, other := <-results, <-results
		if !one.Complete() || !other.Complete() || one.Blobs+other.Blobs != 1 {
			t.Errorf("%+v\n%+v", one, other)
		}
		if together := s.listings.Load(); together > alone*3/2 || together < alone {
			t.Errorf("%d listings by two, and %d by one", together, alone)
		}
	})
}

// TestWindowsThatAreBeingChosenAmong: a worker that takes windows locks all that are due for
// a moment. Another one that finds none then does not think that there is none.
func TestWindowsThatAreBeingChosenAmong(t *testing.T) {
	if !storetest.HasPostgreSQL() {
		t.Skip("PostgreSQL is not installed")
	}
	t.Parallel()
	address := storetest.PostgreSQL(t)
	db, err := store.Open(t.Context(), address, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := &source{fail: func(string) error { return nil }}
	o := Options{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: 10 * time.Minute, Concurrency: 2, Once: true}
	if r, err := Run(t.Context(), s.feed(), o); err != nil || !r.Complete() {
		t.Fatalf("%+v, %v", r, err)
	}
	other, err := storetest.Connect(t, address).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	if _, err := other.Exec(`SELECT 1 FROM ledger_windows FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	s.add("new", time.Now().Add(-2*day))
	chosen := make(chan error, 1)
	time.AfterFunc(3*time.Second, func() { chosen <- other.Rollback() })
	r, err := Run(t.Context(), s.feed(), o)
	if err != nil || !r.Complete() || r.Blobs != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := <-chosen; err != nil {
		t.Error(err)
	}
}

// TestWhatAnotherWorkerGivesBackIsSeenTo: another worker fails to list windows again that
// this run has listed, while this one reads. The run does not end with that left.
func TestWhatAnotherWorkerGivesBackIsSeenTo(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		if r, err := Run(t.Context(), s.feed(), o); err != nil || !r.Complete() {
			t.Fatalf("%+v, %v", r, err)
		}
		s.add("a", time.Now().Add(-hour))
		time.Sleep(o.Every + time.Minute)
		other := o.DB.Ledger(o.Tenant, "f").As("other")
		if _, _, err := o.DB.Beat(t.Context(), o.Tenant, store.Worker{Name: "other", Started: time.Now()}, hour, "f", func(p store.Pace, _ time.Time) store.Pace { return p }); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		s.open = func(string) (string, error) {
			once.Do(func() {
				windows, err := other.TakeWindows(t.Context(), []string{"p"}, time.Now().Add(10*day), 3, func(store.Window) bool { return true })
				if err != nil || len(windows) != 3 {
					t.Errorf("%v, %v", windows, err)
				}
				for i := range windows {
					windows[i].Attempts, windows[i].Due = 1, time.Now()
				}
				if err := other.Listed(t.Context(), windows); err != nil {
					t.Error(err)
				}
			})
			return "[]", nil
		}
		if r, err := Run(t.Context(), s.feed(), o); err != nil || !r.Complete() || r.Blobs != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestWhatAnotherWorkerListsForThisRunIsSeenTo: in its last pass a run with Once leaves a
// window to another worker, which finds a blob there, takes it, and dies.
func TestWhatAnotherWorkerListsForThisRunIsSeenTo(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		o.Once = true
		for range 2 { // the second time each of the two passes asks equally often
			s.listings.Store(0)
			if r, err := Run(t.Context(), s.feed(), o); err != nil || !r.Complete() {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		lastPass := s.listings.Swap(0)/2 + 1
		other := o.DB.Ledger(o.Tenant, "f").As("other")
		finish := make(chan []store.Window, 1)
		s.fail = func(op string) error {
			if op != "list" || s.listings.Load() != lastPass {
				return nil
			}
			if _, _, err := o.DB.Beat(t.Context(), o.Tenant, store.Worker{Name: "other", Started: time.Now()}, leaseTime, "f", func(p store.Pace, _ time.Time) store.Pace { return p }); err != nil {
				t.Error(err)
			}
			windows, err := other.TakeWindows(t.Context(), []string{"p"}, time.Now().Add(10*day), 1, func(store.Window) bool { return true })
			if err != nil || len(windows) != 1 {
				t.Errorf("%v, %v", windows, err)
			}
			finish <- windows
			return nil
		}
		done := make(chan error, 1)
		go func() {
			windows := <-finish
			time.Sleep(5 * time.Second) // the run has listed the rest
			_, err := other.Found(t.Context(), windows, []store.Blob{{Part: "p", ID: "late", URI: "late", Created: windows[0].Start, Forget: windows[0].Forget}})
			for i := range windows {
				windows[i].Listed, windows[i].Due = time.Now(), time.Now().Add(hour)
			}
			_, err2 := other.TakeBlobs(t.Context(), time.Now(), 1, func(store.Blob) bool { return false })
			done <- errors.Join(err, err2, other.Listed(t.Context(), windows))
		}()
		if r, err := Run(t.Context(), s.feed(), o); err != nil || !r.Complete() || r.Blobs != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
