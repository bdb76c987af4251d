package feed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// differences are whatever the database tells differently in two places: what was counted
// and what is there, the ledger's sums, the seals, what db check looks at.
func (w *world) differences() (all []string) {
	w.t.Helper()
	ctx := w.t.Context()
	rows, err := w.db.Recount(ctx, 1, AuditTables(), 0, 99999999)
	if err != nil {
		w.t.Fatal(err)
	}
	sums, err := w.db.Ledger(1, "audit").RecountLedger(ctx, time.Time{}, w.now().AddDate(0, 0, 1))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range append(rows, sums...) {
		all = append(all, fmt.Sprintf("%d: %s", d.Day, d.Text))
	}
	v, err := w.db.VerifySeals(ctx, 1, AuditTables(), 0, 99999999, "")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range v.Breaches {
		all = append(all, fmt.Sprintf("%d, %s: %s", b.Day, b.Table, b.Text))
	}
	checks, err := w.db.Check(ctx, AuditTables(), true)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range checks {
		if c.State == store.CheckedWrong {
			all = append(all, c.What+": "+c.Text)
		}
	}
	var wrong int
	if err := storetest.Connect(w.t, w.address).QueryRow(`SELECT count(*) FROM (
		SELECT day, workload, sum(n) AS n FROM (
			SELECT day, coalesce(workload_id, 0) AS workload, count(*) AS n FROM audit_events GROUP BY day, coalesce(workload_id, 0)
			UNION ALL SELECT day, workload_id, -records FROM row_counts WHERE table_name = 'audit_events') AS both_sides
		GROUP BY day, workload) AS days WHERE n <> 0`).Scan(&wrong); err != nil {
		w.t.Fatal(err)
	}
	if wrong > 0 {
		all = append(all, fmt.Sprintf("%d counts of a workload on a day are wrong", wrong))
	}
	return all
}

func (w *world) agrees(when string) {
	w.t.Helper()
	for _, d := range w.differences() {
		w.t.Errorf("%s: %s", when, d)
	}
}

// seal seals what can be sealed, and gives the reasons.
func (w *world) seal() (reasons []string) {
	w.t.Helper()
	ctx := w.t.Context()
	days, err := w.db.UnsealedDays(ctx, 1, AuditTables(), store.NewestSealable(w.now()))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, day := range days {
		made, err := w.db.SealDay(ctx, 1, AuditTables(), day, "known", "")
		if err != nil {
			w.t.Errorf("sealing %d: %v", day, err)
		}
		for _, s := range made {
			if !slices.Contains(reasons, s.Reason) {
				reasons = append(reasons, s.Reason)
			}
		}
	}
	return reasons
}

// TestEverythingAgrees: whatever reeve does to rows, text and quarantine on purpose, what it
// has counted is what is there, and no seal cries. What somebody else does is still found.
func TestEverythingAgrees(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		for _, raw := range []store.Raw{store.RawAll, store.RawQuarantined} {
			t.Run(string(raw), func(t *testing.T) {
				clock := emulatortest.NewClock(time.Now().Truncate(time.Second))
				w := newWorld(t, storetest.Another(t, address), tenant.Options{Seed: 31, Users: 6, Days: 3, PerUser: 25, Now: clock.Now})
				w.raw(raw)
				ctx := t.Context()
				exec := func(query string) { w.exec(query) }

				f, o := w.options(true)
				decoder := f.NewDecoder
				f.NewDecoder = func() ingest.Decoder { return &refusing{Decoder: decoder(), every: 5} }
				if r, err := patiently(ctx, f, o); err != nil || !r.Complete() {
					t.Fatalf("%+v, %v", r, err)
				}
				w.agrees("imported")
				f, o = w.options(true)
				o.From, o.To = clock.Now().AddDate(0, 0, -3), clock.Now()
				if r, err := patiently(ctx, f, o); err != nil || !r.Complete() {
					t.Fatalf("%+v, %v", r, err)
				}
				w.agrees("back-filled")

				// An older version has stored other rows, and counted them so.
				exec("UPDATE audit_events SET workload_id = NULL, client_ip = NULL")
				exec("DELETE FROM event_meta_exchange")
				exec("DELETE FROM row_counts WHERE table_name = 'audit_events'")
				exec("INSERT INTO row_counts SELECT tenant_id, 'audit_events', day, 0, count(*) FROM audit_events GROUP BY tenant_id, day")
				clock.Add(20 * 24 * time.Hour)
				if got := w.seal(); !slices.Equal(got, []string{"settled"}) {
					t.Errorf("%q", got)
				}
				w.agrees("sealed")

				if err := w.db.Ignore(ctx, 1, store.Ignored{Reason: "no time", Why: "a test"}); err != nil {
					t.Fatal(err)
				}
				w.agrees("ignored")
				if n, err := ingest.Retry(ctx, AuditForm(1, Scope{}), ingest.RetryOptions{DB: w.db, Tenant: 1, Which: store.QuarantineFilter{Reason: "too new"}}); err != nil || n.Stored == 0 {
					t.Errorf("%+v, %v", n, err)
				}
				w.agrees("retried")
				for _, reason := range w.seal() {
					if !strings.HasSuffix(reason, " rows came late") {
						t.Errorf("sealed since %q", reason)
					}
				}
				w.agrees("retried and sealed")

				if raw == store.RawAll {
					w.replaySealed()
				}

				// Text that is there without its row, since that was dropped, makes none again.
				var newest int
				if err := storetest.Connect(t, w.address).QueryRow("SELECT max(day) FROM audit_events").Scan(&newest); err != nil {
					t.Fatal(err)
				}
				prune := func(older time.Time) {
					t.Helper()
					if _, err := w.db.Prune(ctx, 1, "audit", older); err != nil {
						t.Fatal(err)
					}
				}
				prune(time.Date(newest/10000, time.Month(newest/100%100), newest%100, 0, 0, 0, 0, time.UTC))
				w.agrees("dropped")
				rows := len(w.rows()["audit_events"])
				if r := w.replay(ingest.ReplayOptions{}); r.Changed+r.New > 0 {
					t.Errorf("after dropping: %+v", r)
				}
				if n := len(w.rows()["audit_events"]); n != rows {
					t.Errorf("a replay made %d rows of %d", n, rows)
				}
				w.agrees("dropped and replayed")

				for more := true; more; {
					var err error
					if _, _, more, err = w.db.Forget(ctx, 1, "audit", clock.Now().AddDate(0, 3, 0)); err != nil {
						t.Fatal(err)
					}
				}
				w.agrees("text given up")
				w.seal()
				w.agrees("text given up and sealed")
				prune(clock.Now().AddDate(0, 3, 0))
				w.agrees("everything dropped")
				if n := len(w.rows()["audit_events"]); n != 0 {
					t.Errorf("%d rows are left", n)
				}
			})
		}
	})
}

// replaySealed has rows of sealed days made anew.
func (w *world) replaySealed() {
	w.t.Helper()
	ctx, before := w.t.Context(), w.whole()
	dry := w.replay(ingest.ReplayOptions{Dry: true})
	if len(dry.Days.Opened) > 0 || dry.Changed == 0 {
		w.t.Errorf("a dry run: %+v", dry)
	}
	w.agrees("replayed dry")

	// Killed after its first transaction, if there is one.
	dying, stop := context.WithCancel(ctx)
	r, err := ingest.Replay(dying, AuditForm(1, Scope{}), ingest.ReplayOptions{DB: w.db, Tenant: 1, Progress: func(ingest.Replayed) { stop() }})
	stop()
	if err == nil || len(r.Days.Opened) == 0 {
		w.t.Errorf("%+v, %v", r.Days, err)
	}
	w.agrees("replayed in part")
	w.seal()
	w.agrees("replayed in part and sealed")
	r = w.replay(ingest.ReplayOptions{})
	w.agrees("replayed")
	if len(w.whole()["event_meta_exchange"]) <= len(before["event_meta_exchange"]) || len(r.Days.Broken) > 0 {
		w.t.Errorf("%+v", r)
	}
	for _, reason := range w.seal() {
		if reason != "replay" {
			w.t.Errorf("sealed since %q", reason)
		}
	}
	w.agrees("replayed and sealed")
	if days, err := w.db.OpenedDays(ctx, 1); err != nil || len(days) > 0 {
		w.t.Errorf("%v, %v", days, err)
	}

	// It mends what was tampered with. It does not cover it up.
	const day = "(SELECT min(day) FROM event_meta_exchange)"
	w.exec("UPDATE event_meta_exchange SET subject = 'tampered' WHERE day = " + day)
	if len(w.differences()) != 1 {
		w.t.Errorf("tampered with: %q", w.differences())
	}
	if r := w.replay(ingest.ReplayOptions{}); len(r.Days.Broken) != 1 || len(r.Days.Opened) > 0 {
		w.t.Errorf("%+v", r.Days)
	}
	w.agrees("mended")
	w.exec("INSERT INTO event_meta_teams (tenant_id, day, event_id, team_name) SELECT tenant_id, day, id, 'forged' FROM audit_events WHERE day = " + day + " AND content_id = (SELECT min(content_id) FROM audit_events WHERE day = " + day + ")")
	w.exec("UPDATE event_meta_sharepoint SET site_url = 'tampered' WHERE day = " + day)
	for _, when := range []string{"before", "sealing"} {
		if when == "sealing" {
			w.seal()
		}
		if found := w.differences(); len(found) != 2 {
			w.t.Errorf("forged, %s: %q", when, found)
		}
	}
	w.replay(ingest.ReplayOptions{})
	w.agrees("mended again")

	// Rows that were deleted by mistake, of records of which several copies came.
	for _, table := range auditTables {
		w.exec("DELETE FROM " + table.Name)
	}
	if found := w.differences(); len(found) < 5 {
		w.t.Errorf("deleted: %q", found)
	}
	w.replay(ingest.ReplayOptions{})
	w.agrees("made again")
}

// TestAllAtOnce: what is sealed, made anew, tried again and dropped at the same moment agrees
// in the end, and nobody fails because of the others.
func TestAllAtOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		clock := emulatortest.NewClock(time.Now().Truncate(time.Second))
		w := newWorld(t, address, tenant.Options{Seed: 32, Users: 6, Days: 3, PerUser: 25, Now: clock.Now})
		ctx := t.Context()
		f, o := w.options(true)
		decoder := f.NewDecoder
		f.NewDecoder = func() ingest.Decoder { return &refusing{Decoder: decoder(), every: 5} }
		if r, err := patiently(ctx, f, o); err != nil || !r.Complete() {
			t.Fatalf("%+v, %v", r, err)
		}
		var newest int
		if err := storetest.Connect(t, w.address).QueryRow("SELECT max(day) FROM audit_events").Scan(&newest); err != nil {
			t.Fatal(err)
		}
		clock.Add(20 * 24 * time.Hour)
		for range 3 {
			// As an older version would have left it.
			w.exec("UPDATE audit_events SET client_ip = 'old' WHERE client_ip IS NOT NULL")
			w.exec("DELETE FROM seals")
			w.exec("DELETE FROM seal_heads")
			w.seal()
			var all sync.WaitGroup
			for _, do := range []func(*store.DB) error{
				func(db *store.DB) error {
					_, err := ingest.Replay(ctx, AuditForm(1, Scope{}), ingest.ReplayOptions{DB: db, Tenant: 1})
					return err
				},
				func(db *store.DB) error {
					_, err := ingest.Retry(ctx, AuditForm(1, Scope{}), ingest.RetryOptions{DB: db, Tenant: 1})
					return err
				},
				func(db *store.DB) error {
					_, err := db.Prune(ctx, 1, "audit", time.Date(newest/10000, time.Month(newest/100%100), newest%100, 0, 0, 0, 0, time.UTC))
					return err
				},
				func(db *store.DB) error {
					for range 5 {
						days, err := db.UnsealedDays(ctx, 1, AuditTables(), store.NewestSealable(clock.Now()))
						if err != nil {
							return err
						}
						for _, day := range days {
							if _, err := db.SealDay(ctx, 1, AuditTables(), day, "known", ""); err != nil {
								return fmt.Errorf("sealing %d: %w", day, err)
							}
						}
					}
					return nil
				},
			} {
				for range 2 {
					db, err := store.Open(ctx, w.address, store.Options{Now: w.now})
					if err != nil {
						t.Fatal(err)
					}
					all.Go(func() {
						defer db.Close()
						if err := do(db); err != nil {
							t.Error(err)
						}
					})
				}
			}
			all.Wait()
			w.agrees("all at once")
			w.seal()
			w.agrees("all at once, and sealed")
		}
	})
}
