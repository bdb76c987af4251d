package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/web"
)

const (
	// lookForWork is how often an importing process that waits for its next cycle looks
	// whether others have found more than they have read.
	lookForWork = 5 * time.Second
	// databasePause is the longest pause between two tries while the database does not
	// answer; the first is a second, and each is twice as long as the one before it.
	databasePause = time.Minute
)

// enlist makes this process one of the workers that import, unless it is one.
func (a *App) enlist(ctx context.Context) error {
	if a.worker != nil {
		return nil
	}
	limit := a.Config.Feeds.Audit.RequestsPerMinute
	w, err := ingest.Enlist(ctx, ingest.WorkerOptions{
		DB: a.DB, Tenant: a.Tenant, Now: a.now, Log: a.log, Role: a.role, Source: "audit", Limit: limit, Share: a.pace.Set,
	})
	if err != nil {
		return err
	}
	a.worker = w
	a.throttled.Store(w)
	a.stops = append(a.stops, func() error {
		a.throttled.Store(nil)
		if err := w.Close(); err != nil {
			a.log.Debug("This worker could not say that it ends; the others see it within seconds.", "error", err)
		}
		return nil
	})
	return nil
}

// sourceThrottles tells the other workers by way of the database that the source
// throttles.
func (a *App) sourceThrottles(after time.Duration) {
	if w := a.throttled.Load(); w != nil {
		w.Throttled(after)
	}
}

// idle waits for the next cycle. It ends early when there is something to read that
// another worker has found, or held when it died.
func (a *App) idle(ctx context.Context, d time.Duration) error {
	if a.worker == nil { // it could not be enlisted yet
		return sleep(ctx, d)
	}
	since, end := a.now(), time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(lookForWork)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-tick.C:
		}
		for _, f := range a.Feeds {
			work, err := a.DB.Ledger(a.Tenant, f.Name).As(a.worker.Name()).HasWork(ctx, a.now(), since)
			if err == nil && work { // an error is the next cycle's
				a.log.Info("There is more to read than the workers that found it have read.", "feed", f.Name)
				return nil
			}
		}
	}
}

// outage is the time in which the database refuses to work. It is said once, and when it
// is over.
type outage struct {
	log   *slog.Logger
	now   func() time.Time
	began time.Time // zero: there is none
	said  string
	pause time.Duration
	shown *atomic.Pointer[web.Refusal] // for the status page; may be nil
}

// goesOn notes that the database refused, and gives how long to wait before the next try.
func (o *outage) goesOn(err error) time.Duration {
	if o.began.IsZero() {
		o.began = o.now()
	}
	o.pause = min(max(2*o.pause, time.Second), databasePause)
	var refusal *store.Error
	errors.As(err, &refusal)
	if o.shown != nil {
		o.shown.Store(&web.Refusal{Cause: refusal.Cause, Remedy: refusal.Remedy, Since: o.began})
	}
	if o.said != refusal.Cause {
		o.said = refusal.Cause
		o.log.Error("The database refuses. It is tried again until it works, and nothing is lost meanwhile.", "error", err, "remedy", remedy(err))
	} else {
		o.log.Debug("The database still refuses.", "error", err, "next", o.pause)
	}
	return o.pause
}

// over notes that the database works.
func (o *outage) over() {
	if !o.began.IsZero() {
		o.log.Info("The database works again.", "after", o.now().Sub(o.began).Round(time.Second))
	}
	if o.shown != nil {
		o.shown.Store(nil)
	}
	*o = outage{log: o.log, now: o.now, shown: o.shown}
}

// patiently begins something again until the database answers, as when its server starts
// at the same time. What is refused for another reason is f's error.
func (p *program) patiently(ctx context.Context, c *config.Config, log *slog.Logger, f func() error) error {
	o := outage{log: log, now: p.now}
	for {
		err := f()
		var refusal *store.Error
		if !errors.As(err, &refusal) || !refusal.Away || c.Database.File() != "" {
			if err == nil {
				o.over()
			}
			return err
		}
		if err := sleep(ctx, o.goesOn(err)); err != nil {
			return err
		}
	}
}
