package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
)

func importCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", GroupID: "main",
		Short: "Import what happens in the tenant, and see how far it is",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(importRunCommand(p), importStatusCommand(p), importReplayCommand(p))
	return cmd
}

func importRunCommand(p *program) *cobra.Command {
	var once, asJSON bool
	var from, to string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Import all feeds, again and again until it is stopped",
		Long: `run signs in, subscribes to the configured content types, lists what Microsoft
holds and imports it. It may be killed at any moment: what is stored is complete
in itself, and the next run goes on from there.

With --once it ends when everything that is available has been imported, and its
exit code is 0 only then.

With --from, and --to, it lists the windows of that time again, whatever became of them,
as far as Microsoft still holds them, reads what is new or was given up, and ends.`,
		Example: `  reeve import run --once
  reeve import run --from 2026-11-02 --to 2026-11-03T12:00
  reeve import run --config /etc/reeve/reeve.yaml
  REEVE_DATABASE_URL=sqlite:/var/lib/reeve/reeve.db reeve import run --feeds-audit-days 2`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			back, err := p.backfill(from, to)
			if err != nil {
				return err
			}
			once = once || !back.from.IsZero()
			if asJSON && !once {
				return failWith(exitUsage, "--json prints what was done, and without --once that never ends: give both")
			}
			c, err := p.load(true)
			if err != nil {
				return err
			}
			log := logger(p.Err, c)
			announce(p.Err, c, log)
			var a *App
			begin := func() (err error) {
				if a, err = p.setup(cmd.Context(), c, log); err != nil {
					return err
				}
				if err = a.setScope(cmd.Context()); err != nil {
					a.Close()
				}
				return err
			}
			if once {
				err = begin()
			} else {
				err = p.patiently(cmd.Context(), c, log, begin)
			}
			if err != nil {
				return err
			}
			defer a.Close()
			defer a.followed(cmd.Context())()
			if once {
				results, err := a.cycle(cmd.Context(), true, back, p.progress(c))
				if err != nil {
					return err
				}
				if asJSON {
					if err := printJSON(p.Out, results); err != nil {
						return err
					}
				}
				return incomplete(results)
			}
			if err := a.run(cmd.Context(), p.progress(c)); cmd.Context().Err() == nil {
				return err
			}
			log.Info("Stopped. The next run goes on from here.") // as it is meant to end
			return nil
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end when everything that is available is imported")
	cmd.Flags().StringVar(&from, "from", "", "list again what was created from this time on: 2026-11-02, 2026-11-02T08:00, 36h or 3d ago")
	cmd.Flags().StringVar(&to, "to", "", "with --from, until this time; now if it is not given")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --once, print what was done as JSON")
	return cmd
}

// backfill is a time whose windows are to be listed again; the zero one is none.
type backfill struct{ from, to time.Time }

func (p *program) backfill(from, to string) (b backfill, err error) {
	if from == "" {
		if to != "" {
			return b, failWith(exitUsage, "--to %q: say with --from from when on", to)
		}
		return b, nil
	}
	if b.from, b.to, err = p.span(from, to); err != nil {
		return b, err
	}
	if b.to.IsZero() {
		b.to = p.now()
	}
	if oldest := p.now().Add(-7 * 24 * time.Hour); !b.to.After(oldest) {
		return b, failWith(exitUsage, "--from %q, --to %q: Microsoft keeps content for 7 days, and holds nothing of that time any more", from, to)
	}
	return b, nil
}

// run imports at the configured interval until ctx ends, and sooner when there is more
// to read than others have read. A cycle that fails is logged, and the next one tries
// again; where the database has refused, soon.
func (a *App) run(ctx context.Context, progress func(ingest.Progress)) error {
	o := outage{log: a.log, now: a.now, shown: &a.refused}
	for {
		started := a.now()
		_, err := a.cycle(ctx, false, backfill{}, progress)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var refusal *store.Error
		if errors.As(err, &refusal) {
			if err := sleep(ctx, o.goesOn(err)); err != nil {
				return err
			}
			continue
		}
		o.over()
		if err != nil {
			a.log.Error("The import cycle failed.", "error", err, "remedy", remedy(err))
		}
		pause := max(a.Config.Feeds.Audit.Interval-a.now().Sub(started), 0)
		a.log.Info("Waiting for the next cycle.", "wait", pause.Round(time.Second))
		if err := a.idle(ctx, pause); err != nil {
			return err
		}
	}
}

// feedResult is what one run of a feed did, for people and programs.
type feedResult struct {
	Feed        string   `json:"feed"`
	Complete    bool     `json:"complete"`
	Listings    int      `json:"listings"`
	Blobs       int      `json:"blobs"`
	Bytes       int64    `json:"bytes"`
	Records     int64    `json:"records"`
	Stored      int64    `json:"stored"`
	Duplicate   int64    `json:"duplicate"`
	OutOfScope  int64    `json:"out_of_scope"`
	Quarantined int64    `json:"quarantined"`
	Left        int      `json:"left"`
	Theirs      int      `json:"with_other_workers,omitempty"`
	Lost        int      `json:"lost"`
	Problems    []string `json:"problems,omitempty"`
	Seconds     float64  `json:"seconds"`
}

// cycle runs every feed once. The events that the original engine's alerts look
// for are emitted only when they are true: a section is finished when all of it
// was imported, and the cycle when every section is.
func (a *App) cycle(ctx context.Context, once bool, back backfill, progress func(ingest.Progress)) ([]feedResult, error) {
	started := a.now()
	if err := a.enlist(ctx); err != nil {
		return nil, err
	}
	var results []feedResult
	complete := true
	var errs []error
	for _, f := range a.Feeds {
		a.log.Info("The section begins.", "section", f.Section, "authority", a.Cloud.AuthorityHost, "source", a.Cloud.Manage)
		r, err := ingest.Run(ctx, f, ingest.Options{
			DB: a.DB, Tenant: a.Tenant, Now: a.now, Log: a.log, Once: once, From: back.from, To: back.to, Progress: progress, Worker: a.worker,
			Every: a.Config.Feeds.Audit.Interval, Concurrency: a.Config.Feeds.Audit.Concurrency,
		})
		took := r.Ended.Sub(r.Started)
		results = append(results, feedResult{
			Feed: f.Name, Complete: err == nil && r.Complete(), Listings: r.Listings, Blobs: r.Blobs, Bytes: r.Counts.Bytes,
			Records: r.Counts.Records, Stored: r.Counts.Stored, Duplicate: r.Counts.Duplicate, OutOfScope: r.Counts.OutOfScope,
			Quarantined: r.Counts.Quarantined, Left: r.Left, Theirs: r.Theirs, Lost: r.Lost, Problems: r.Problems, Seconds: took.Seconds(),
		})
		if err != nil {
			complete = false
			errs = append(errs, err)
			var refusal *store.Error
			if errors.As(err, &refusal) {
				return results, err // nor would anything else work
			}
			continue
		}
		for _, problem := range r.Problems {
			a.log.Warn("Not imported.", "feed", f.Name, "reason", problem)
		}
		if r.Counts.Quarantined > 0 {
			a.warnOfQuarantine(ctx, f.Name, r.Started)
		}
		stats := slog.Group("stats", "records", r.Counts.Records, "stored", r.Counts.Stored, "duplicate", r.Counts.Duplicate,
			"out_of_scope", r.Counts.OutOfScope, "quarantined", r.Counts.Quarantined, "blobs", r.Blobs)
		if r.Theirs > 0 && r.Left == 0 && r.Lost == 0 && len(r.Problems) == 0 {
			complete = false
			a.log.Info("This worker has done its part of the section; others are still at it.", "section", f.Section, "theirs", r.Theirs, stats)
			continue
		}
		if !r.Complete() {
			complete = false
			a.log.Warn("The section is not complete.", "section", f.Section, "left", r.Left, "lost", r.Lost, stats)
			continue
		}
		if f.Name == "audit" {
			a.log.Info(fmt.Sprintf("Finished activity import. Time taken in = %.2f minutes.", took.Minutes()), stats)
		}
		a.log.Info("FinishedSectionImport", "context", lasted(f.Section, took))
	}
	a.forget(ctx)
	if err := a.judgeHeadroom(ctx); err != nil && ctx.Err() == nil {
		a.log.Warn("Whether the import keeps up could not be seen.", "error", err)
	}
	if complete && len(a.Feeds) > 0 {
		a.log.Info("FinishedImportCycle", "context", lasted("reeve", a.now().Sub(started)))
	}
	return results, errors.Join(errs...)
}

// lasted is a duration as the original engine writes it in its events.
func lasted(what string, d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%s: %d hours, %d mins, and %d seconds.", what, s/3600, s/60%60, s%60)
}

// incomplete is the error of runs that could not import everything.
func incomplete(results []feedResult) error {
	var errs []error
	for _, r := range results {
		if !r.Complete && (r.Left > 0 || r.Lost > 0 || len(r.Problems) > 0) {
			errs = append(errs, failWith(exitSource, "the feed %s is not complete: %d blobs or windows could not be read and stay due, %d are lost; see 'reeve import status'",
				r.Feed, r.Left, r.Lost))
		}
	}
	return errors.Join(errs...)
}

// withTenant opens the configured database, brought up to date, for a command about what it
// holds of the tenant, without signing in anywhere.
func (p *program) withTenant(ctx context.Context, f func(c *config.Config, db *store.DB, tenant int) error) error {
	c, err := p.load(false)
	if err != nil {
		return err
	}
	db, tenant, err := p.openDatabase(ctx, c)
	if err != nil {
		return err
	}
	defer db.Close()
	return f(c, db, tenant)
}

// openDatabase is withTenant for who has read the configuration, and closes the database.
func (p *program) openDatabase(ctx context.Context, c *config.Config) (*store.DB, int, error) {
	if c.TenantID == "" {
		return nil, 0, failWith(exitConfig, "tenant-id is not set: give --tenant-id, REEVE_TENANT_ID or the key in the file, to say whose records are meant")
	}
	db, err := store.Open(ctx, c.Database.URL, store.Options{Now: p.now, MustExist: true, Password: c.Database.Password.Reveal(), Raw: store.Raw(c.Feeds.Audit.Raw)})
	if err != nil {
		return nil, 0, err
	}
	tenant, err := db.FindTenant(ctx, c.TenantID)
	if err != nil {
		db.Close()
		if errors.Is(err, store.ErrNotFound) {
			err = failWith(exitConfig, "%s holds nothing of tenant %s: look at tenant-id, or run 'reeve import run --once' first", c.Database.URL, c.TenantID)
		}
		return nil, 0, err
	}
	return db, tenant, nil
}
