package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// leased is a ledger with 40 blobs and 3 windows, under a clock that the test moves.
func leased(t *testing.T, address string) (db *store.DB, l *store.Ledger, clock *time.Time, beat func(name string)) {
	t.Helper()
	now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	clock = &now
	var mu sync.Mutex
	db, err := store.Open(t.Context(), address, store.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return *clock }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l = db.Ledger(1, "f")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(l.Cover(t.Context(), "p", now.Add(-3*time.Hour), now, time.Hour, 7*24*time.Hour))
	windows, err := l.DueWindows(t.Context(), []string{"p"}, now)
	must(err)
	var blobs []store.Blob
	for i := range 40 { // the last ones are forgotten first
		at := now.Add(-time.Duration(i) * time.Minute)
		blobs = append(blobs, store.Blob{Part: "p", ID: fmt.Sprintf("b%02d", i), URI: "u", Created: at, Forget: at.Add(7 * 24 * time.Hour)})
	}
	_, err = l.Found(t.Context(), windows, blobs)
	must(err)
	beat = func(name string) {
		t.Helper()
		_, _, err := db.Beat(t.Context(), 1, store.Worker{Name: name, Role: "worker", Started: now}, 20*time.Second, "f", func(p store.Pace, _ time.Time) store.Pace { return p })
		must(err)
	}
	return db, l, clock, beat
}

func all(store.Blob) bool { return false }

func ids(blobs []store.Blob) (ids []string) {
	for _, b := range blobs {
		ids = append(ids, b.ID)
	}
	return ids
}

// TestTakeOldestFirst: nobody takes what another holds, until that one is dead.
func TestTakeOldestFirst(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, l, clock, beat := leased(t, address)
		ctx := t.Context()
		a, b := l.As("a"), l.As("b")
		beat("a")
		beat("b")
		take := func(l *store.Ledger, n int) []string {
			t.Helper()
			got, err := l.TakeBlobs(ctx, *clock, n, all)
			if err != nil {
				t.Fatal(err)
			}
			return ids(got)
		}
		if got := take(a, 3); !slices.Equal(got, []string{"b39", "b38", "b37"}) {
			t.Errorf("a has %v", got)
		}
		if got := take(b, 2); !slices.Equal(got, []string{"b36", "b35"}) {
			t.Errorf("b has %v", got)
		}
		if got := take(a, 1); !slices.Equal(got, []string{"b34"}) {
			t.Errorf("a has %v", got)
		}
		if theirs, rest, err := b.Left(ctx, *clock); err != nil || theirs != 4 || rest != 36 {
			t.Errorf("%d with others and %d, %v", theirs, rest, err)
		}
		// a does not say that it is alive any more; b does.
		*clock = clock.Add(15 * time.Second)
		beat("b")
		*clock = clock.Add(10 * time.Second)
		if w, err := db.Workers(ctx, 1); err != nil || len(w) != 1 || w[0].Name != "b" {
			t.Errorf("%v, %v", w, err)
		}
		if work, err := b.HasWork(ctx, *clock, *clock); err != nil || !work {
			t.Errorf("what the dead one held is no work: %v", err)
		}
		if got := take(b, 4); !slices.Equal(got, []string{"b39", "b38", "b37", "b34"}) {
			t.Errorf("b has %v", got)
		}
		// What a says now counts for nothing.
		if err := a.Postpone(ctx, store.Blob{Part: "p", ID: "b39"}, clock.Add(time.Hour), "too late"); err != nil {
			t.Fatal(err)
		}
		if err := a.Lose(ctx, store.Blob{Part: "p", ID: "b38"}, "too late"); err != nil {
			t.Fatal(err)
		}
		if err := a.Release(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.Postpone(ctx, store.Blob{Part: "p", ID: "b37"}, *clock, "in time"); err != nil {
			t.Fatal(err)
		}
		if err := b.Release(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := b.TakeBlobs(ctx, *clock, 5, func(b store.Blob) bool { return b.ID == "b36" })
		if err != nil || !slices.Equal(ids(got), []string{"b39", "b38", "b37", "b35"}) || got[0].Attempts != 0 || got[2].Attempts != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// TestTakeWindows: a listing by somebody who is not the holder any more is not recorded.
func TestTakeWindows(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		_, l, clock, beat := leased(t, address)
		ctx := t.Context()
		a, b := l.As("a"), l.As("b")
		beat("a")
		every := func(store.Window) bool { return true }
		got, err := a.TakeWindows(ctx, []string{"p", "q"}, *clock, 2, every)
		if err != nil || len(got) != 2 || !got[0].Start.Equal(clock.Add(-3*time.Hour)) {
			t.Fatalf("%v, %v", got, err)
		}
		if due, err := b.DueWindows(ctx, []string{"p"}, *clock); err != nil || len(due) != 3 || !due[0].Theirs || !due[1].Theirs || due[2].Theirs {
			t.Errorf("%v, %v", due, err)
		}
		*clock = clock.Add(time.Minute)
		beat("b")
		theirs, err := b.TakeWindows(ctx, []string{"p"}, *clock, 10, every)
		if err != nil || len(theirs) != 3 {
			t.Fatalf("%v, %v", theirs, err)
		}
		got[0].Listings, got[0].Due = 9, time.Time{}
		theirs[1].Listings = 1
		for holder, windows := range map[*store.Ledger][]store.Window{a: got[:1], b: theirs[1:2]} {
			if err := holder.Listed(ctx, windows); err != nil {
				t.Fatal(err)
			}
		}
		due, err := l.DueWindows(ctx, []string{"p"}, *clock)
		if err != nil || len(due) != 3 || due[0].Listings != 0 || due[1].Listings != 1 {
			t.Errorf("%v, %v", due, err)
		}
	})
}

// TestTakeAtOnce: many take at the same time, and none gets what another has.
func TestTakeAtOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		_, l, clock, beat := leased(t, address)
		now := *clock
		var mu sync.Mutex
		taken := map[string]int{}
		var wg sync.WaitGroup
		for i := range 4 {
			name := fmt.Sprint("w", i)
			beat(name)
			wg.Go(func() {
				for {
					got, err := l.As(name).TakeBlobs(t.Context(), now, 3, all)
					if err != nil {
						t.Error(err)
					}
					if len(got) == 0 {
						return
					}
					mu.Lock()
					for _, b := range got {
						taken[b.ID]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for id, n := range taken {
			if n != 1 {
				t.Errorf("%s was taken %d times", id, n)
			}
		}
		// With rows that are locked left out, somebody may find nothing a moment too early.
		rest, err := l.As("w0").TakeBlobs(t.Context(), now, 100, all)
		if err != nil || len(taken)+len(rest) != 40 {
			t.Errorf("%d and %d of 40 were taken, %v", len(taken), len(rest), err)
		}
	})
}

// TestTakeDoesNotWait: a blob that somebody stores at this moment is left out, although
// its holder is dead.
func TestTakeDoesNotWait(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		if address[:6] == "sqlite" {
			t.Skip("there is one writer")
		}
		db, l, clock, beat := leased(t, address)
		beat("b")
		err := db.WriteBeside(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.Claim(l.Content(store.Blob{Part: "p", ID: "b39"})); err != nil {
				return err
			}
			got, err := l.As("b").TakeBlobs(t.Context(), *clock, 1, all)
			if err != nil || !slices.Equal(ids(got), []string{"b38"}) {
				t.Errorf("%v, %v", got, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestWindowsAreWrittenInOneOrder: who gives windows back, or makes them due again, waits
// for who counts in them, and never crosswise.
func TestWindowsAreWrittenInOneOrder(t *testing.T) {
	address := storetest.PostgreSQL(t)
	_, l, clock, beat := leased(t, address)
	ctx := t.Context()
	a := l.As("a")
	beat("a")
	held, err := a.TakeWindows(ctx, []string{"p"}, *clock, 3, func(store.Window) bool { return true })
	if err != nil || len(held) != 3 {
		t.Fatalf("%v, %v", held, err)
	}
	raw := storetest.Connect(t, address)
	for name, write := range map[string]func() error{
		"Release": func() error { return a.Release(ctx) },
		"Again": func() error {
			_, err := l.Again(ctx, "p", clock.Add(-3*time.Hour), *clock, *clock, time.Hour, 7*24*time.Hour)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			count := func(tx *sql.Tx, w store.Window) {
				t.Helper()
				if _, err := tx.ExecContext(ctx, `UPDATE ledger_windows SET blobs = blobs WHERE start_at = $1`, w.Start.Format(time.DateTime)); err != nil {
					t.Fatal(err)
				}
			}
			inTx := func(f func(tx *sql.Tx)) {
				t.Helper()
				tx, err := raw.BeginTx(ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback()
				f(tx)
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			inTx(func(tx *sql.Tx) { count(tx, held[0]) })                             // so that it lies behind the others
			if _, err := raw.ExecContext(ctx, `ANALYZE ledger_windows`); err != nil { // and they are read as they lie
				t.Fatal(err)
			}
			done := make(chan error, 1)
			inTx(func(tx *sql.Tx) {
				count(tx, held[0])
				go func() { done <- write() }()
				if err := storetest.Blocked(raw); err != nil {
					t.Fatal(err)
				}
				count(tx, held[1])
				count(tx, held[2])
			})
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBlobsAreClaimedInOneOrder: two workers that have read the same blobs, since one of them
// counted as dead, wait for each other, and never crosswise.
func TestBlobsAreClaimedInOneOrder(t *testing.T) {
	address := storetest.PostgreSQL(t)
	db, l, clock, _ := leased(t, address)
	blobs, err := l.DueBlobs(t.Context(), *clock, 3)
	if err != nil || len(blobs) != 3 {
		t.Fatalf("%v, %v", blobs, err)
	}
	claim := func(tx *store.Tx, want []bool, numbers ...int) error {
		var all []store.Content
		for _, n := range numbers {
			all = append(all, l.Content(blobs[n]))
		}
		got, err := tx.Claim(all...)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it has %v of %v", got, numbers)
		}
		return err
	}
	slices.SortFunc(blobs, func(a, b store.Blob) int { return strings.Compare(a.ID, b.ID) })
	raw := storetest.Connect(t, address)
	done := make(chan error, 1)
	if err := db.WriteBeside(t.Context(), func(tx *store.Tx) error {
		if err := claim(tx, []bool{true}, 0); err != nil {
			return err
		}
		go func() {
			done <- db.WriteBeside(context.WithoutCancel(t.Context()), func(tx *store.Tx) error { return claim(tx, []bool{true, false, false}, 2, 1, 0) })
		}()
		if err := storetest.Blocked(raw); err != nil {
			return err
		}
		return claim(tx, []bool{true}, 1)
	}); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBlobsAreFoundInOneOrder: two workers that list the same window, since one of them
// counted as dead, wait for each other, and never crosswise.
func TestBlobsAreFoundInOneOrder(t *testing.T) {
	address := storetest.PostgreSQL(t)
	_, l, clock, _ := leased(t, address)
	ctx := t.Context()
	window := store.Window{Part: "p", Start: clock.Add(-time.Hour), End: *clock}
	raw := storetest.Connect(t, address)
	other, err := raw.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	find := func(id string) {
		t.Helper()
		if _, err := other.ExecContext(ctx, `INSERT INTO ledger_blobs (tenant_id, feed, part, blob, uri, created_at, forget_at, listed_at, state, due_at, window_at)
			VALUES (1, 'f', 'p', $1, 'u', now(), now(), now(), 'due', now(), now())`, id); err != nil {
			t.Fatal(err)
		}
	}
	find("new 1")
	done := make(chan error, 1)
	go func() {
		var blobs []store.Blob
		for _, id := range []string{"new 2", "new 1"} { // as listed: the newest first
			blobs = append(blobs, store.Blob{Part: "p", ID: id, URI: "u", Created: *clock, Forget: clock.Add(time.Hour)})
		}
		fresh, err := l.Found(ctx, []store.Window{window}, blobs)
		if err == nil && fresh != 0 {
			err = fmt.Errorf("%d are new", fresh)
		}
		done <- err
	}()
	if err := storetest.Blocked(raw); err != nil {
		t.Fatal(err)
	}
	find("new 2")
	if err := other.Commit(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWindowsOfTwoThatBegin: two processes that begin at the same time, each by its own clock,
// make one row of windows.
func TestWindowsOfTwoThatBegin(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, _, clock, _ := leased(t, address)
		l := db.Ledger(1, "new")
		var group sync.WaitGroup
		begun := make(chan struct{})
		for n := range 8 {
			group.Go(func() {
				<-begun
				if err := l.Cover(t.Context(), "p", clock.Add(-3*time.Hour+time.Duration(n)*time.Second), *clock, time.Hour, 7*24*time.Hour); err != nil {
					t.Error(err)
				}
			})
		}
		close(begun)
		group.Wait()
		windows, err := l.DueWindows(t.Context(), []string{"p"}, clock.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range windows[1:] {
			if !w.Start.Equal(windows[i].End) {
				t.Errorf("after one that ends at %s comes one from %s", windows[i].End, w.Start)
			}
		}
	})
}
