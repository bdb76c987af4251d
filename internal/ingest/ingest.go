// Package ingest carries a feed's records from the source into the store: it
// keeps the ledger of what to list and what to read, reads blobs as streams,
// and stores rows and ledger in one transaction. So a run may be killed
// anywhere, blobs may come twice, late or out of order, and two runs may go on
// at once: the rows are those of one undisturbed run. What a record means is the
// feed's affair; what the database looks like is the store's.
package ingest

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/reeve365/reeve/internal/store"
)

// A Feed is one stream of records: what it is called, and how to read it.
type Feed struct {
	Name    string   // in the ledger: "audit"
	Section string   // in events and logs, as the original engine calls it
	Parts   []string // what is listed separately: for the audit log, content types

	Window    time.Duration // length of the intervals that the ledger tells apart
	Listing   time.Duration // longest interval that one listing may span
	Retention time.Duration // how long the source keeps content
	Backfill  time.Duration // how far back the first run looks; at most Retention

	// Enable sees to it that the source collects the parts. It gives those whose
	// collection began just now, with the time, and those that the source
	// refuses, with the reason. An error says that nobody knows.
	Enable func(ctx context.Context, parts []string) (started map[string]time.Time, refused map[string]error, err error)
	// List gives all blobs of a part that the source created from start
	// (inclusive) to end (exclusive). An error is the last thing it gives; a
	// listing without one is complete.
	List func(ctx context.Context, part string, start, end time.Time) iter.Seq2[store.Blob, error]
	// Open reads a blob. The reader's error is io.EOF only at the true end.
	Open func(ctx context.Context, b store.Blob) (io.ReadCloser, error)
	// NewDecoder gives a decoder for the use of one goroutine.
	NewDecoder func() Decoder
	// Classify says what an error of the three functions means.
	Classify func(error) Failure
}

// A Decoder makes rows of records.
type Decoder interface {
	// Decode adds to b what record is to leave in the database: a row for each
	// table, or nothing at all if it is out of scope. With a *Bad it has added
	// nothing.
	Decode(record []byte, b *store.Batch) *Bad
}

// Bad says why a record cannot be stored.
type Bad struct {
	RecordID string // if it could be read
	Reason   string // a word, for counting
	Detail   string // a sentence without its full stop
}

// Failure is what an error of the source means for the ledger.
type Failure struct {
	Gone    bool          // the source says that it has forgotten it
	Refused bool          // this application may not have it
	Stop    bool          // nothing else will work either: signing in is refused
	After   time.Duration // the source asked to be left alone for so long
}

// Options say how to run a feed.
type Options struct {
	DB     *store.DB
	Tenant int
	Now    func() time.Time
	Log    *slog.Logger
	// Worker is who runs it, among those that import into the same database. Nil makes
	// one for this run.
	Worker *Worker

	Every       time.Duration // how often the feed runs: the newest windows are listed so often
	Concurrency int           // requests under way at once
	// Once makes the run list everything that the source still keeps, due or
	// not, and again until nothing new appears.
	Once bool
	// From and To, with Once, confine that to the windows of a time, and list these even
	// if they were closed or given up, as far as the source still holds them. Both or none
	// are zero.
	From, To time.Time
	// Pause gives the time to wait after the n-th failure of the same blob or
	// window, n ≥ 1. Nil means a second, then four times as long each time, up
	// to an hour.
	Pause func(n int) time.Duration
	// Progress is told how far the run is. It may be nil, and must not block.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Doing       string // "listing" or "reading"
	Done, Total int    // windows or blobs; Total grows as more is found
	Records     int64
}

// A Result is what a run did.
type Result struct {
	Started, Ended time.Time
	Listings       int // complete listings of windows
	Found          int // blobs not known before
	Blobs          int // blobs stored
	Counts         store.Counts
	Lost           int      // blobs and windows forgotten by the source before they could be read
	Left           int      // blobs and windows still due although it was tried
	Theirs         int      // blobs and windows that other workers are still at
	Problems       []string // why Left or Lost is not zero, and parts that are refused; each once
}

// Complete tells whether the run did all that was to be done.
func (r Result) Complete() bool {
	return r.Left == 0 && r.Theirs == 0 && r.Lost == 0 && len(r.Problems) == 0
}

// tries is how often a run tries the same blob or window. The next run goes on.
const tries = 4

// maxPasses bounds how often a run with Once lists everything again.
const maxPasses = 6

// MaxRecord is the length of the longest record that is stored, in bytes.
const MaxRecord = 32 << 20

type run struct {
	Options
	feed   *Feed
	ledger *store.Ledger
	held   *semaphore.Weighted // pieces of whole readings, until they are stored

	mu     sync.Mutex // guards what follows
	result Result
	why    map[string]bool // problems said
	tried  map[string]int  // by blob or window: failures in this run, of those that still fail
	stop   error           // a failure after which nothing else works
	done   Progress

	busySince time.Time       // since when the time of reading is not noted; of the goroutine that stores
	began     time.Time       // when the pass under way began
	reopened  bool            // what is to be listed again was marked
	listed    time.Time       // when the listing had ended, that by other workers too: what was in the ledger by then is this run's to see to
	refused   map[string]bool // parts that the source does not give
	notBefore time.Time       // the source asked to be left alone until then
}

// Run brings a feed up to date. An error means that the run ended early; what
// it has stored until then is in the Result and stays.
func Run(ctx context.Context, feed *Feed, o Options) (Result, error) {
	if o.Pause == nil {
		o.Pause = pause
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Worker == nil {
		w, err := Enlist(ctx, WorkerOptions{DB: o.DB, Tenant: o.Tenant, Now: o.Now, Log: o.Log, Role: "run", Source: feed.Name})
		if err != nil {
			return Result{Started: o.Now().UTC()}, err
		}
		defer w.Close()
		o.Worker = w
	}
	r := &run{Options: o, feed: feed, ledger: o.DB.Ledger(o.Tenant, feed.Name).As(o.Worker.Name()), why: map[string]bool{}, tried: map[string]int{}, refused: map[string]bool{},
		held: semaphore.NewWeighted(maxHeld)}
	started := o.Now().UTC()
	r.result.Started = started
	if err := r.ledger.Begin(ctx, started); err != nil {
		return r.result, err
	}
	// A run before this one may have ended because the database did not answer.
	err := r.ledger.Release(ctx)
	if err == nil {
		err = r.run(ctx)
	}
	r.result.Ended = o.Now().UTC()
	outcome, detail := "complete", ""
	switch {
	case ctx.Err() != nil:
		outcome = "stopped"
	case err != nil:
		outcome, detail = "failed", err.Error()
	case r.result.Complete():
	case r.result.Left == 0 && r.result.Lost == 0 && len(r.result.Problems) == 0:
		outcome, detail = "shared", fmt.Sprintf("other workers are at %d", r.result.Theirs)
	default:
		outcome = "partial"
		detail = fmt.Sprintf("%d left, %d lost", r.result.Left, r.result.Lost)
	}
	// The end is recorded even if ctx is over; the lock is held for an instant.
	for _, e := range []error{
		r.ledger.Release(context.WithoutCancel(ctx)),
		r.ledger.End(context.WithoutCancel(ctx), started, r.result.Ended, outcome, r.result.Counts.Stored, detail),
	} {
		if err == nil {
			err = e
		}
	}
	return r.result, err
}

func (r *run) run(ctx context.Context) error {
	parts, err := r.enable(ctx)
	if err != nil {
		return err
	}
	for pass := 1; ; pass++ {
		found, err := r.pass(ctx, parts)
		if err != nil {
			return err
		}
		if !r.Once || found == 0 && pass > 1 || pass == maxPasses {
			return nil
		}
	}
}

// pass lists what is due, with Once everything, and reads what is found. What other
// workers are at it waits for, and takes over if they die: without Once not for long.
func (r *run) pass(ctx context.Context, parts []string) (found int, err error) {
	now := r.Now()
	r.began = now
	for _, part := range parts {
		if err := r.ledger.Cover(ctx, part, r.oldest(now), now, r.feed.Window, r.feed.Retention); err != nil {
			return 0, err
		}
		if r.From.IsZero() || r.reopened {
			continue
		}
		oldest := now.Add(edge - r.feed.Retention)
		if _, err := r.ledger.Again(ctx, part, later(r.From, oldest), r.To, now, r.feed.Window, r.feed.Retention); err != nil {
			return 0, err
		}
	}
	r.reopened = true
	listing := true           // windows that this pass is to see to were not all listed when it last looked
	seen := map[string]bool{} // windows listed by this pass
	for pause, waited := lookSoon, time.Duration(0); ; pause, waited = min(2*pause, lookAgain), waited+pause {
		n, err := r.list(ctx, parts, seen)
		found += n
		if err != nil {
			return found, err
		}
		if err := r.read(ctx); err != nil {
			return found, err
		}
		if listing, err = r.remaining(ctx, parts, seen, listing); err != nil {
			return found, err
		}
		if r.result.Theirs == 0 || !r.Once && waited >= longestWait {
			return found, nil
		}
		if err := wait(ctx, pause); err != nil {
			return found, err
		}
	}
}

// One looks whether other workers have done what they are at after lookSoon, then less
// and less often, in the end every lookAgain.
const (
	lookSoon  = 50 * time.Millisecond
	lookAgain = time.Second
)

// remaining counts what this pass has not seen to: as theirs what other workers are at, or
// have given back since it was looked for, and as left what is still due although it was
// tried, by this run or one before it. It tells whether windows are among theirs; as long
// as some were when it last looked, what is in the ledger now is this run's to see to: it
// does not list what others have listed.
func (r *run) remaining(ctx context.Context, parts []string, seen map[string]bool, listing bool) (bool, error) {
	now := r.Now()
	windows, err := r.ledger.DueWindows(ctx, parts, now.Add(2*r.feed.Retention))
	if err != nil {
		return false, err
	}
	if listing {
		r.listed = r.Now() // after that look: who had listed a window by then had noted its blobs
	}
	theirs, left, err := r.ledger.Left(ctx, r.listed)
	if err != nil {
		return false, err
	}
	listing = false
	for _, w := range windows {
		_, soon := r.soon(w, now, seen)
		switch {
		case soon && (w.Theirs || !r.resting()):
			theirs++
			listing = true
		case w.Attempts > 0 && !w.Theirs:
			left++
		}
	}
	if !r.resting() {
		again, err := r.failedBefore(ctx, now)
		if err != nil {
			return false, err
		}
		theirs += len(again)
	}
	r.result.Theirs, r.result.Left = theirs, left
	return listing, nil
}

// oldest is how far back the first run looks: not to the very edge of what the
// source keeps, since an hour that ends there would be gone before it is listed.
func (r *run) oldest(now time.Time) time.Time {
	return now.Add(-min(r.feed.Backfill, r.feed.Retention-3*edge))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// asked tells whether a run with Once is to list a window that is not due.
func (r *run) asked(w store.Window) bool {
	return r.From.IsZero() || w.End.After(r.From) && w.Start.Before(r.To)
}

// enable sees to it that the source collects the feed's parts, and gives those
// that it does collect. One that is refused does not keep the others from being
// imported; if all are, that is an error.
func (r *run) enable(ctx context.Context) ([]string, error) {
	started, refused, err := r.feed.Enable(ctx, r.feed.Parts)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, part := range r.feed.Parts {
		if why := refused[part]; why != nil {
			if err := r.refuse(ctx, part, why); err != nil {
				return nil, err
			}
			continue
		}
		if !started[part].IsZero() {
			r.Log.Info("Subscription started. What happened before it is not available.", "part", part)
		}
		if err := r.ledger.Part(ctx, part, "enabled", started[part], ""); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 && len(refused) > 0 {
		return nil, refused[r.feed.Parts[0]]
	}
	return parts, nil
}

// refuse records that the source does not give a part, and leaves it alone for
// the rest of the run.
func (r *run) refuse(ctx context.Context, part string, why error) error {
	r.problem("%s is refused: %v", part, why)
	r.mu.Lock()
	r.refused[part] = true
	r.mu.Unlock()
	return r.ledger.Part(ctx, part, "refused", time.Time{}, why.Error())
}

// problem notes why the run is not complete, each reason once.
func (r *run) problem(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why[s] {
		return
	}
	r.why[s] = true
	if len(r.result.Problems) < maxProblems {
		r.result.Problems = append(r.result.Problems, s)
	}
}

// maxProblems bounds what is kept of a run in which everything fails.
const maxProblems = 20

// failed counts a failure of a blob or window in this run, and tells how many
// there were and whether there are tries left.
func (r *run) failed(key string) (n int, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried[key]++
	return r.tried[key], r.tried[key] < tries
}

func (r *run) halt(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil {
		r.stop = err
	}
}

func (r *run) halted() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop
}

// leaveAlone notes that the source asked to be left alone for a while.
func (r *run) leaveAlone(d time.Duration) {
	if d <= 0 {
		return
	}
	until := r.Now().Add(d)
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.After(r.notBefore) {
		r.notBefore = until
	}
}

// resting tells whether the source asked to be left alone for longer than a run waits.
func (r *run) resting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notBefore.Sub(r.Now()) > longestWait
}

// rest waits for as long as the source asked to be left alone. ok is false if
// that is longer than a run waits: then the rest is left to the next one.
func (r *run) rest(ctx context.Context) (ok bool, err error) {
	r.mu.Lock()
	until := r.notBefore
	r.mu.Unlock()
	d := until.Sub(r.Now())
	if r.resting() {
		r.problem("the source asks to be left alone until %s", until.UTC().Format(time.RFC3339))
		return false, ctx.Err()
	}
	if err := wait(ctx, d); err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.notBefore.Equal(until) {
		r.notBefore = time.Time{} // waited for, whatever the clock says
	}
	return true, nil
}

func (r *run) progress(f func(*Progress)) {
	r.mu.Lock()
	f(&r.done)
	p := r.done
	r.mu.Unlock()
	r.Progress(p)
}

func pause(n int) time.Duration {
	d := time.Second
	for range n - 1 {
		if d *= 4; d > time.Hour {
			return time.Hour
		}
	}
	return d
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
