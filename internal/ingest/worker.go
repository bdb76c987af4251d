package ingest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/store"
)

const (
	// leaseTime is how long a worker counts as alive after it last said so; what it
	// holds is another's then.
	leaseTime = 20 * time.Second
	// beatTime is how often it says so.
	beatTime = 5 * time.Second
)

// WorkerOptions say what a worker is.
type WorkerOptions struct {
	DB     *store.DB
	Tenant int
	Now    func() time.Time
	Log    *slog.Logger
	Role   string // what the process does, for who looks
	Source string // whose pace the workers share: the feed's name
	Limit  int    // requests a minute that all workers together may send; 0: any number
	// Share is told how many of them this worker may send, whether evenly, and until
	// when none. It may be nil.
	Share func(perMinute int, slow bool, notBefore time.Time)
}

// A Worker is this process as the others see it that import into the same database: it
// says that it is alive, for as long as it is, and takes its share of the requests that
// the source allows. Under its name runs hold leases.
type Worker struct {
	o         WorkerOptions
	self      store.Worker
	stop      context.CancelFunc
	done      chan struct{}
	throttled chan struct{} // has room for one: the source throttles

	mu    sync.Mutex    // guards what follows, which the others have not heard of yet
	slow  bool          // the source throttles
	after time.Duration // what it asked for with that
}

// Enlist makes a worker, which is alive until Close.
func Enlist(ctx context.Context, o WorkerOptions) (*Worker, error) {
	if o.Share == nil {
		o.Share = func(int, bool, time.Time) {}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	w := &Worker{o: o, done: make(chan struct{}), throttled: make(chan struct{}, 1),
		self: store.Worker{Name: fmt.Sprintf("%s/%d/%.8s", host, os.Getpid(), rand.Text()), Role: o.Role, Started: o.Now().UTC()}}
	if err := w.beat(ctx); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(w.done)
		w.live(ctx)
	}()
	return w, nil
}

// Name is under which the worker holds leases.
func (w *Worker) Name() string { return w.self.Name }

// Close ends it: others take at once what it still holds.
func (w *Worker) Close() error {
	w.stop()
	<-w.done
	ctx, cancel := context.WithTimeout(context.Background(), beatTime)
	defer cancel()
	return w.o.DB.Dismiss(ctx, w.o.Tenant, w.self.Name)
}

// Throttled is to be told that the source throttles, and how long it asked to wait.
func (w *Worker) Throttled(after time.Duration) {
	w.mu.Lock()
	w.slow, w.after = true, max(w.after, after)
	w.mu.Unlock()
	select {
	case w.throttled <- struct{}{}:
	default:
	}
}

// live beats until ctx ends. A database that does not answer is said once.
func (w *Worker) live(ctx context.Context) {
	tick := time.NewTicker(beatTime)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.throttled:
		case <-tick.C:
		}
		err := w.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			w.o.Log.Warn("This worker cannot say that it is alive. What it works on may be done twice, and is stored once.", "worker", w.self.Name, "error", err)
		case err == nil && failing:
			w.o.Log.Info("This worker says again that it is alive.", "worker", w.self.Name)
		}
		failing = err != nil
	}
}

func (w *Worker) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	w.mu.Lock()
	slow, after := w.slow, w.after
	w.slow, w.after = false, 0
	w.mu.Unlock()
	alive, pace, err := w.o.DB.Beat(ctx, w.o.Tenant, w.self, leaseTime, w.o.Source, func(p store.Pace, now time.Time) store.Pace {
		return adjust(p, now, w.o.Limit, slow, after)
	})
	if err != nil {
		w.mu.Lock() // for the next time
		w.slow, w.after = w.slow || slow, max(w.after, after)
		w.mu.Unlock()
		return err
	}
	w.o.Share(share(pace, w.o.Limit, alive), pace.PerMinute < w.o.Limit, pace.NotBefore)
	return nil
}

const (
	// cutAgain is how long after a cut the next one comes at the soonest: what was sent
	// before it is throttled still.
	cutAgain = 5 * time.Second
	// raiseAfter is how long after a change the pace is raised, by a steps-th of the
	// limit: from half of it to all of it in 100 s, from next to nothing in 200 s.
	raiseAfter = 10 * time.Second
	steps      = 20
	// least is the slowest pace, in a hundredth of the limit.
	least = 2
)

// adjust says how the workers' common pace goes on: it is halved when the source
// throttles, and raised step by step while it does not.
func adjust(p store.Pace, now time.Time, limit int, throttled bool, after time.Duration) store.Pace {
	if limit <= 0 {
		return p
	}
	if p.PerMinute <= 0 || p.PerMinute > limit {
		p.PerMinute, p.Changed = limit, now
	}
	since := now.Sub(p.Changed)
	switch {
	case throttled && (since >= cutAgain || since < 0 || p.PerMinute == limit):
		p.PerMinute, p.Changed = max(p.PerMinute/2, limit*least/100, 1), now
	case !throttled && p.PerMinute < limit && (since >= raiseAfter || since < 0):
		p.PerMinute, p.Changed = min(p.PerMinute+max(limit/steps, 1), limit), now
	}
	if until := now.Add(after); throttled && after > 0 && until.After(p.NotBefore) {
		p.NotBefore = until
	}
	return p
}

// share is how many requests a minute one of the living workers may send.
func share(p store.Pace, limit, alive int) int {
	if limit <= 0 {
		return 0
	}
	return max(p.PerMinute/max(alive, 1), 1)
}
