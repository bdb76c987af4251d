package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reeve365/reeve/internal/store"
)

// edge is how far inside of its retention the source is asked, so that a clock
// that differs a little does not make it refuse.
const edge = 2 * time.Minute

// list lists the windows that are due, with Once everything that the source still
// keeps, and notes them in seen; it tells how many blobs it found that were not known.
// Windows that fail are tried again a few times; those that other workers are at are
// theirs.
func (r *run) list(ctx context.Context, parts []string, seen map[string]bool) (found int, err error) {
	r.progress(func(p *Progress) { *p = Progress{Doing: "listing", Records: p.Records} })
	for {
		due, err := r.dueWindows(ctx, parts, seen)
		if err != nil || len(due) == 0 {
			return found, err
		}
		r.progress(func(p *Progress) { p.Total += len(due) })
		groups := r.group(due)
		fresh := make([]int, len(groups))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(r.Concurrency)
		for i, windows := range groups {
			g.Go(func() (err error) {
				fresh[i], err = r.listGroup(gctx, windows)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return found, err
		}
		for _, n := range fresh {
			found += n
		}
		for _, w := range due {
			seen[windowKey(w)] = true
		}
		if err := r.halted(); err != nil {
			return found, err
		}
	}
}

// groupBlobs is how many blobs the windows of one listing may have shown so far.
const groupBlobs = 1000

// group puts adjoining windows together, so that one listing does for all: a
// quiet tenant needs few requests. Busy windows, and those whose listing has
// failed, are listed alone.
func (r *run) group(due []store.Window) [][]store.Window {
	slices.SortFunc(due, func(a, b store.Window) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), a.Start.Compare(b.Start))
	})
	var groups [][]store.Window
	blobs := 0
	for i, w := range due {
		if i > 0 {
			last := &groups[len(groups)-1]
			before := due[i-1]
			if w.Part == before.Part && w.Start.Equal(before.End) && w.Attempts == 0 && before.Attempts == 0 &&
				w.End.Sub((*last)[0].Start) <= r.feed.Listing && blobs+w.Blobs <= groupBlobs {
				*last = append(*last, w)
				blobs += w.Blobs
				continue
			}
		}
		groups = append(groups, []store.Window{w})
		blobs = w.Blobs
	}
	// Those that the source forgets soonest come first.
	slices.SortStableFunc(groups, func(a, b []store.Window) int { return a[0].Forget.Compare(b[0].Forget) })
	return groups
}

func windowKey(w store.Window) string { return "window " + w.Part + w.Start.Format(time.RFC3339) }

// dueWindows takes the windows to list now: as many as keep all requests busy, so that
// other workers have some. If there is none but some that failed are to be
// tried again soon, by this run or one before it, it waits for the first of them.
func (r *run) dueWindows(ctx context.Context, parts []string, seen map[string]bool) ([]store.Window, error) {
	for first := (time.Time{}); ; {
		if ok, err := r.rest(ctx); !ok || err != nil {
			return nil, err
		}
		now := r.now(first)
		listings := (r.Concurrency + len(parts) - 1) / max(len(parts), 1) // of each part
		due, err := r.ledger.TakeWindows(ctx, parts, r.horizon(now), listings*max(int(r.feed.Listing/r.feed.Window), 1), func(w store.Window) bool {
			return r.wants(w, now, seen)
		})
		if err != nil || len(due) > 0 {
			return due, err
		}
		all, err := r.ledger.DueWindows(ctx, parts, later(r.horizon(now), now.Add(longestWait)))
		if err != nil {
			return nil, err
		}
		var again []time.Time
		for _, w := range all {
			if at, ok := r.soon(w, now, seen); ok && !w.Theirs {
				again = append(again, at)
			}
		}
		if first, err = waitForFirst(ctx, now, again); first.IsZero() || err != nil {
			return nil, err
		}
	}
}

// now is the time, or a later one that was waited for, whatever the clock says.
func (r *run) now(waited time.Time) time.Time {
	if now := r.Now(); now.After(waited) {
		return now
	}
	return waited
}

// horizon is by when windows are due that a pass may want.
func (r *run) horizon(now time.Time) time.Time {
	if r.Once {
		return now.Add(r.feed.Retention) // whatever is still listed at all
	}
	return now
}

// wants tells whether a pass that has seen some windows is to list this one.
func (r *run) wants(w store.Window, now time.Time, seen map[string]bool) bool {
	key := windowKey(w)
	switch {
	case r.exhausted(key), r.isRefused(w.Part):
		return false
	case seen[key] && w.Attempts == 0: // due again already: the next run's
		return false
	}
	// What another worker has listed since this pass began need not be listed again for it.
	return !w.Due.After(now) || r.Once && r.asked(w) && !seen[key] && !w.Listed.After(r.began)
}

// soon gives when a pass that has seen some windows is to list this one, if that is
// something to wait for: at once, unless its listing failed.
func (r *run) soon(w store.Window, now time.Time, seen map[string]bool) (time.Time, bool) {
	switch {
	case r.wants(w, now, seen):
		return now, true
	case w.Attempts > 0 && !w.Due.After(now.Add(longestWait)) && !r.exhausted(windowKey(w)) && !r.isRefused(w.Part):
		return w.Due, true
	}
	return time.Time{}, false
}

// waitForFirst waits until the first of some times and gives it; the zero time if there
// is none. What is due already could not be taken, since somebody is storing it at this
// moment, or was cut off while doing so: it is looked for again a little later.
func waitForFirst(ctx context.Context, now time.Time, times []time.Time) (time.Time, error) {
	if len(times) == 0 {
		return time.Time{}, ctx.Err()
	}
	first := slices.MinFunc(times, time.Time.Compare)
	pause := first.Sub(now)
	if pause <= 0 {
		pause = lookAgain
	}
	return first, wait(ctx, pause)
}

// longestWait is the longest that a run waits to try something again; what is
// due later is left to the next run.
const longestWait = 2 * time.Minute

func (r *run) isRefused(part string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[part]
}

func (r *run) exhausted(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tried[key] >= tries
}

// listGroup lists adjoining windows of one part at once and records what came
// of it. Its error is the database's or ctx's; a refusal of the source is
// recorded instead.
func (r *run) listGroup(ctx context.Context, windows []store.Window) (fresh int, err error) {
	now := r.Now().UTC()
	oldest := now.Add(edge - r.feed.Retention).Truncate(time.Second)
	for len(windows) > 0 && !windows[0].End.After(oldest) {
		if err := r.closeWindow(ctx, windows[0]); err != nil {
			return 0, err
		}
		windows = windows[1:]
	}
	if len(windows) == 0 || r.halted() != nil || r.isRefused(windows[0].Part) {
		return 0, nil
	}
	start, end := windows[0].Start, windows[len(windows)-1].End
	if start.Before(oldest) {
		start = oldest
		r.loseBeginning(&windows[0], oldest)
	}
	if end.After(now) {
		end = now.Truncate(time.Second)
	}
	if !start.Before(end) { // begun in this very second: there is nothing to ask for yet
		windows[0].Due = now.Add(r.Every)
		return 0, r.ledger.Listed(ctx, windows)
	}
	var blobs []store.Blob
	found := func() error {
		n, err := r.ledger.Found(ctx, windows, blobs)
		fresh += n
		blobs = blobs[:0]
		return err
	}
	for b, why := range r.feed.List(ctx, windows[0].Part, start, end) {
		if why != nil {
			if err := found(); err != nil {
				return fresh, err
			}
			return fresh, r.postponeWindows(ctx, windows, why)
		}
		if blobs = append(blobs, b); len(blobs) >= listBlobs {
			if err := found(); err != nil {
				return fresh, err
			}
		}
	}
	if err := found(); err != nil {
		return fresh, err
	}
	for i := range windows {
		w := &windows[i]
		w.Listed, w.Listings, w.Attempts = now, w.Listings+1, 0
		w.ListedTo = w.End
		if end.Before(w.End) {
			w.ListedTo = end
		}
		state, due := relist(*w, now, r.Every)
		if w.Due = due; w.State != store.WindowLost {
			w.State, w.Error = state, ""
		}
	}
	if err := r.ledger.Listed(ctx, windows); err != nil {
		return fresh, err
	}
	r.mu.Lock()
	r.result.Listings += len(windows)
	r.result.Found += fresh
	for _, w := range windows {
		delete(r.tried, windowKey(w))
	}
	r.mu.Unlock()
	r.progress(func(p *Progress) { p.Done += len(windows) })
	return fresh, nil
}

// listBlobs is how many blobs of a listing are held before they go into the
// ledger.
const listBlobs = 1000

// loseBeginning records that the source has forgotten the beginning of a window,
// if that was never listed.
func (r *run) loseBeginning(w *store.Window, oldest time.Time) {
	from := w.Start
	if w.ListedTo.After(from) {
		from = w.ListedTo
	}
	if !from.Before(oldest) {
		return
	}
	why := ""
	if w.Attempts > 0 {
		why = fmt.Sprintf("; listing it had failed %d times, the last time: %s", w.Attempts, w.Error)
	}
	w.State = store.WindowLost
	w.Error = fmt.Sprintf("what the source created from %s to %s was forgotten before it was listed%s", from.Format(time.RFC3339), oldest.Format(time.RFC3339), why)
	r.lose("%s: %s", w.Part, w.Error)
}

// lose counts something that is lost, and says what.
func (r *run) lose(format string, args ...any) {
	r.problem(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Lost++
}

// postponeWindows records that a listing broke off. From then on each of its
// windows is listed alone.
func (r *run) postponeWindows(ctx context.Context, windows []store.Window, why error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f := r.feed.Classify(why)
	first := windows[0]
	r.leaveAlone(f.After)
	if f.Stop {
		r.halt(fmt.Errorf("listing %s from %s: %w", first.Part, first.Start.Format(time.RFC3339), why))
	}
	if f.Refused {
		if err := r.refuse(ctx, first.Part, why); err != nil {
			return err
		}
	}
	for i := range windows {
		w := &windows[i]
		n, again := r.failed(windowKey(*w))
		if !again {
			r.problem("listing %s from %s: %v", w.Part, w.Start.Format(time.RFC3339), why)
		}
		w.Attempts++
		if w.State != store.WindowLost { // what is lost, and why, stays said
			w.Error = why.Error()
		}
		w.Due = r.Now().Add(max(f.After, r.Pause(n)))
	}
	r.Log.Warn("Listing failed.", "part", first.Part, "from", first.Start, "windows", len(windows), "error", why)
	return r.ledger.Listed(ctx, windows)
}

// closeWindow ends the listing of a window that the source has forgotten. What of
// it was never listed is lost.
func (r *run) closeWindow(ctx context.Context, w store.Window) error {
	r.mu.Lock()
	delete(r.tried, windowKey(w))
	r.mu.Unlock()
	if w.ListedTo.Before(w.End) {
		r.loseBeginning(&w, w.End)
	} else if w.State != store.WindowLost {
		w.State, w.Error = store.WindowSettled, ""
	}
	w.Due = time.Time{}
	return r.ledger.Listed(ctx, []store.Window{w})
}

// relist says how a window stands after a complete listing at the time now, and
// when to list it next. Content appears late, with an old date, and nobody says
// how late: so a window is listed at each run while it is young, hourly for a
// day, daily until the source forgets it, and a last time just before.
func relist(w store.Window, now time.Time, every time.Duration) (state string, due time.Time) {
	age := now.Sub(w.End)
	state = store.WindowOpen
	switch {
	case age < 3*time.Hour, w.Listings < 2: // one listing is never trusted alone
		due = now.Add(every)
	case age < 24*time.Hour:
		due = now.Add(max(every, time.Hour))
	default:
		state = store.WindowSettled
		due = now.Add(24 * time.Hour)
	}
	last := w.Forget.Add(-time.Hour)
	switch {
	case due.Before(last):
	case now.Before(last):
		due = last
	default: // this was the last time; it is closed when the source has forgotten it
		due = w.Forget.Add(w.End.Sub(w.Start))
	}
	return state, due
}
