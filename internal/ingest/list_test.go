package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/store"
)

const (
	hour = time.Hour
	day  = 24 * hour
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// TestRelistUntilForgotten follows a window through its life: whatever appears
// in it while the source keeps it, some later listing sees.
func TestRelistUntilForgotten(t *testing.T) {
	w := store.Window{Start: noon, End: noon.Add(hour), Forget: noon.Add(7 * day)}
	now, listings := noon, 0
	var last time.Time
	longest := time.Duration(0)
	for {
		var state string
		listings++
		w.Listings = listings
		state, w.Due = relist(w, now, 10*time.Minute)
		last = now
		if want := map[bool]string{true: store.WindowSettled, false: store.WindowOpen}[now.Sub(w.End) >= day]; state != want {
			t.Errorf("listed %v after its end it is %s, want %s", now.Sub(w.End), state, want)
		}
		if !w.Due.After(now) {
			t.Fatalf("listed at %v it is due at %v", now, w.Due)
		}
		if w.Due.After(w.Forget) {
			break
		}
		longest = max(longest, w.Due.Sub(now))
		now = w.Due
	}
	if gap := w.Forget.Sub(last); gap > hour || gap < 0 {
		t.Errorf("the last listing is %v before the source forgets it", gap)
	}
	if longest > day {
		t.Errorf("once it was left alone for %v", longest)
	}
	if listings > 70 {
		t.Errorf("it was listed %d times", listings)
	}
	if !w.Due.Equal(w.Forget.Add(hour)) {
		t.Errorf("it is closed at %v, want when all of it is forgotten", w.Due)
	}
}

func TestGroup(t *testing.T) {
	window := func(part string, h, blobs, attempts int) store.Window {
		start := noon.Add(time.Duration(h) * hour)
		return store.Window{Part: part, Start: start, End: start.Add(hour), Forget: start.Add(7 * day), Blobs: blobs, Attempts: attempts}
	}
	r := &run{feed: &Feed{Listing: 3 * hour}}
	var got []string
	for _, g := range r.group([]store.Window{
		window("b", 0, 0, 0), window("a", 4, 0, 0), // not in order
		window("a", 0, 0, 0), window("a", 1, 0, 0), window("a", 2, 0, 0), window("a", 3, 0, 0),
		window("c", 0, 0, 1), window("c", 1, 0, 0), // one has failed
		window("d", 0, 600, 0), window("d", 1, 600, 0), // busy
		window("e", 0, 0, 0), window("e", 2, 0, 0), // a hole
	}) {
		s := g[0].Part
		for _, w := range g {
			s += fmt.Sprintf(" %d", int(w.Start.Sub(noon).Hours()))
		}
		got = append(got, s)
	}
	want := []string{"a 0 1 2", "b 0", "c 0", "d 0", "e 0", "c 1", "d 1", "e 2", "a 3 4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// source is a source in memory, whose blobs have one record each.
type source struct {
	blobs    []store.Blob
	late     map[string]time.Time // a blob is listed from this time on
	listings atomic.Int64
	fail     func(op string) error
	open     func(id string) (string, error) // what a blob holds; nil: one record, its id
	slow     time.Duration                   // of a listing
}

func (s *source) feed() *Feed {
	return &Feed{
		Name: "f", Section: "F", Parts: []string{"p"}, Window: hour, Listing: day, Retention: 7 * day, Backfill: 7 * day,
		Enable: func(context.Context, []string) (map[string]time.Time, map[string]error, error) { return nil, nil, nil },
		List: func(_ context.Context, part string, start, end time.Time) iter.Seq2[store.Blob, error] {
			return func(yield func(store.Blob, error) bool) {
				s.listings.Add(1)
				time.Sleep(s.slow)
				if err := s.fail("list"); err != nil {
					yield(store.Blob{}, err)
					return
				}
				for _, b := range s.blobs {
					if b.Created.Before(start) || !b.Created.Before(end) || time.Now().Before(s.late[b.ID]) {
						continue
					}
					if !yield(b, nil) {
						return
					}
				}
			}
		},
		Open: func(_ context.Context, b store.Blob) (io.ReadCloser, error) {
			if err := s.fail("open"); err != nil {
				return nil, err
			}
			if s.open != nil {
				text, err := s.open(b.ID)
				return io.NopCloser(strings.NewReader(text)), err
			}
			return io.NopCloser(strings.NewReader(`["` + b.ID + `"]`)), nil
		},
		NewDecoder: func() Decoder { return decoder{} },
		Classify: func(err error) Failure {
			f := Failure{Gone: errors.Is(err, errGone), Stop: errors.Is(err, errStop), Refused: errors.Is(err, errRefused)}
			if errors.Is(err, errLater) {
				f.After = 5 * time.Minute
			}
			return f
		},
	}
}

var errGone, errStop, errRefused, errLater = errors.New("gone"), errors.New("stop"), errors.New("refused"), errors.New("later")

type decoder struct{}

var facts = &store.Table{Name: "audit_events", Key: 3, Facts: true,
	Columns: []string{"tenant_id", "day", "id", "time_stamp", "record_id", "content_id", "content_at", "content_len"}}

func (decoder) Decode(record []byte, b *store.Batch) *Bad {
	id := store.HashID(string(record))
	b.Add(facts, 1, 20261102, id[:], "2026-11-02 00:00:00.000", string(record), b.ContentID, b.Keep(record), len(record))
	return nil
}

func (s *source) add(id string, created time.Time) {
	s.blobs = append(s.blobs, store.Blob{Part: "p", ID: id, URI: id, Created: created, Forget: created.Add(7 * day)})
}

// TestBlobsOfAnyLatenessAreImported lets seven days pass in a bubble of time,
// with blobs that appear hours and days after their date.
func TestBlobsOfAnyLatenessAreImported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &source{late: map[string]time.Time{}, fail: func(string) error { return nil }}
		for i, lateness := range []time.Duration{0, 5 * time.Minute, 2 * hour, 7 * hour, 25 * hour, 3 * day, 6*day + 20*hour} {
			id := fmt.Sprintf("blob %d", i)
			created := began.Add(90 * time.Minute)
			s.add(id, created)
			s.late[id] = created.Add(lateness)
		}
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		feed := s.feed()
		o := Options{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: 30 * time.Minute, Concurrency: 2}
		var stored int64
		for time.Since(began) < 8*day {
			r, err := Run(t.Context(), feed, o)
			if err != nil || !r.Complete() {
				t.Fatalf("%+v, %v", r, err)
			}
			stored += r.Counts.Stored
			time.Sleep(o.Every)
		}
		if int(stored) != len(s.blobs) {
			t.Errorf("%d of %d blobs were imported", stored, len(s.blobs))
		}
		// Eight days of windows, each listed at most some sixty times alone, are
		// ten thousand; grouped they are far fewer.
		if n := s.listings.Load(); n > 4000 {
			t.Errorf("it took %d listings", n)
		}
	})
}

func TestWindowsNeverListedAreLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("the source is down")
		s := &source{fail: func(string) error { return down }}
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		o := Options{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: 10 * time.Minute, Concurrency: 2,
			Pause: func(int) time.Duration { return 0 }}
		feed := s.feed()
		feed.Backfill = hour
		time.Sleep(30 * time.Minute) // into the midst of a window
		r, err := Run(t.Context(), feed, o)
		if err != nil || r.Complete() || r.Left != 2 || !strings.Contains(strings.Join(r.Problems, "\n"), down.Error()) {
			t.Fatalf("%+v, %v", r, err)
		}
		time.Sleep(8 * day)
		s.fail = func(string) error { return nil }
		r, err = Run(t.Context(), feed, o)
		if err != nil || r.Lost < 2 || r.Complete() {
			t.Fatalf("after eight days: lost %d, %+v, %v", r.Lost, r, err)
		}
		if r, err = Run(t.Context(), feed, o); err != nil || !r.Complete() {
			t.Errorf("and then: %+v, %v", r, err)
		}
	})
}

func TestRunStopsWhenNothingCanWork(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, op := range []string{"list", "open"} {
		s := &source{fail: func(o string) error {
			if o == op {
				return errStop
			}
			return nil
		}}
		for i := range 100 {
			s.add(fmt.Sprint(op, i), time.Now().Add(-2*hour))
		}
		_, err := Run(t.Context(), s.feed(), Options{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: time.Minute, Concurrency: 2})
		if !errors.Is(err, errStop) {
			t.Errorf("%s: %v", op, err)
		}
	}
	runs, err := db.Ledger(1, "f").Runs(t.Context(), 5)
	if err != nil || len(runs) == 0 || runs[0].Outcome != "failed" || runs[0].Ended.IsZero() {
		t.Errorf("runs %+v, %v", runs, err)
	}
}

// TestFirstRunAtAnyMoment: how far the first run looks back must not make an
// hour count as lost only because it ends at the edge of what the source keeps.
func TestFirstRunAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for i := range 60 {
			time.Sleep(time.Minute - time.Second)
			db, err := store.Open(t.Context(), fmt.Sprintf("sqlite:%s/%d.db", dir, i), store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := &source{fail: func(string) error { return nil }}
			r, err := Run(t.Context(), s.feed(), Options{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: time.Minute, Concurrency: 2})
			if err != nil || !r.Complete() || r.Listings < 7*24 {
				t.Errorf("at %s: %+v, %v", time.Now().Format("15:04:05"), r, err)
			}
			db.Close()
		}
	})
}

// TestOnceListsEverything: a run that is to be complete lists also what an
// earlier one, perhaps a killed one, has listed and is not due for a day.
func TestOnceListsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	synctest.Test(t, func(t *testing.T) {
		s := &source{fail: func(string) error { return nil }}
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		o := Options{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: 10 * time.Minute, Concurrency: 2}
		for range 3 {
			if _, err := Run(t.Context(), s.feed(), o); err != nil {
				t.Fatal(err)
			}
			time.Sleep(o.Every)
		}
		s.add("late", time.Now().Add(-5*day))
		if r, err := Run(t.Context(), s.feed(), o); err != nil || r.Blobs != 0 {
			t.Fatalf("its window is not due: %+v, %v", r, err)
		}
		o.Once = true
		if r, err := Run(t.Context(), s.feed(), o); err != nil || r.Blobs != 1 || !r.Complete() {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestForgottenUnlistedIsLost: reeve was away, and what the source created
// meanwhile was forgotten, the part of an hour included that was begun.
func TestForgottenUnlistedIsLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	synctest.Test(t, func(t *testing.T) {
		s := &source{fail: func(string) error { return nil }}
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		o := Options{DB: db, Tenant: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: 10 * time.Minute, Concurrency: 2, Once: true}
		time.Sleep(5 * time.Minute)
		if r, err := Run(t.Context(), s.feed(), o); err != nil || !r.Complete() {
			t.Fatalf("%+v, %v", r, err)
		}
		time.Sleep(7*day + 25*time.Minute)
		r, err := Run(t.Context(), s.feed(), o)
		if err != nil || r.Lost != 1 || r.Complete() || !strings.Contains(r.Problems[0], "was forgotten before it was listed") {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err = Run(t.Context(), s.feed(), o); err != nil || !r.Complete() {
			t.Errorf("told again: %+v, %v", r, err)
		}
	})
}

// bubble runs a test of a source in a bubble of time, with a database.
func bubble(t *testing.T, f func(t *testing.T, s *source, o Options)) {
	path := filepath.Join(t.TempDir(), "x.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		f(t, &source{fail: func(string) error { return nil }}, Options{DB: db, Tenant: 1, Now: time.Now,
			Log: slog.New(slog.DiscardHandler), Every: 10 * time.Minute, Concurrency: 2})
	})
}

// TestOneRefusedBlobHoldsUpNoOther: the first blob of all is refused for ever.
func TestOneRefusedBlobHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		for i := range 20 {
			s.add(fmt.Sprintf("%02d", i), time.Now().Add(-time.Duration(30-i)*hour))
		}
		s.open = func(id string) (string, error) {
			if id == "00" {
				return "", errRefused
			}
			return `["` + id + `"]`, nil
		}
		if r, err := Run(t.Context(), s.feed(), o); err != nil || r.Blobs != 19 || r.Left != 1 || r.Complete() {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestRetryAfterBindsTheRun: to be left alone for longer than a run waits ends
// the reading, instead of a sweep over all that is due.
func TestRetryAfterBindsTheRun(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		for i := range 500 {
			s.add(fmt.Sprint(i), time.Now().Add(-hour))
		}
		var opened atomic.Int64
		s.open = func(string) (string, error) { opened.Add(1); return "", errLater }
		r, err := Run(t.Context(), s.feed(), o)
		if err != nil || r.Complete() || !strings.Contains(strings.Join(r.Problems, " "), "left alone") {
			t.Errorf("%+v, %v", r, err)
		}
		if n := opened.Load(); n > 10 {
			t.Errorf("%d blobs were asked for", n)
		}
	})
}

// TestListingEnds: windows that are due again before the others are listed must
// not keep the reading from beginning.
func TestListingEnds(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		s.slow, o.Every = 45*time.Second, time.Minute
		s.add("a", time.Now().Add(-hour))
		began := time.Now()
		var read time.Duration
		s.open = func(string) (string, error) { read = time.Since(began); return `["a"]`, nil }
		feed := s.feed()
		feed.Listing = hour // each window alone: an hour's work for two
		if _, err := Run(t.Context(), feed, o); err != nil || read == 0 || read > 90*time.Minute {
			t.Errorf("the first blob was read after %v; %v", read, err)
		}
	})
}

// TestProxysPageIsNotABlob: what is no array is tried again, also when the source
// will soon forget the blob.
func TestProxysPageIsNotABlob(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		s.add("a", time.Now().Add(-7*day+2*hour))
		tries := 0
		s.open = func(string) (string, error) {
			if tries++; tries == 1 {
				return "<html>", nil
			}
			return `["a"]`, nil
		}
		if r, err := Run(t.Context(), s.feed(), o); err != nil || r.Counts.Stored != 1 || r.Counts.Quarantined != 0 || !r.Complete() {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestBlobThatCannotBeReadIsLostAtTheEnd: it does not stay due for ever.
func TestBlobThatCannotBeReadIsLostAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *source, o Options) {
		s.add("a", time.Now().Add(-hour))
		s.open = func(string) (string, error) { return "", errRefused }
		if r, err := Run(t.Context(), s.feed(), o); err != nil || r.Left != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		time.Sleep(7 * day)
		if r, err := Run(t.Context(), s.feed(), o); err != nil || r.Left != 0 || r.Lost == 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
