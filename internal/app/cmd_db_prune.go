package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func dbPruneCommand(p *program) *cobra.Command {
	var dryRun, yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete records that are older than retention.audit-days",
		Long: `prune deletes what "reeve serve" deletes by itself: the records of the tenant that are
older than retention.audit-days, with the rows made of them and their text. On
PostgreSQL whole months are dropped, and only those. That they were deleted on purpose
is noted in the table dropped_days, and their seals are opened with that reason. It may
be killed anywhere; the next one goes on.`,
		Example: `  reeve db prune --dry-run
  reeve db prune --retention-audit-days 400 --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load(false)
			if err != nil {
				return err
			}
			if c.Retention.AuditDays == 0 {
				return failWith(exitConfig, "retention.audit-days is not set: everything is kept; give it in the configuration, or --retention-audit-days")
			}
			db, tenant, err := p.openDatabase(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer db.Close()
			older := oldest(p.now(), c.Retention.AuditDays)
			days, err := db.OldDays(cmd.Context(), tenant, older)
			if err != nil {
				return err
			}
			all, records := []droppedDay{}, int64(0)
			for _, d := range days {
				all = append(all, droppedDay{dayText(d.Day), d.Records})
				records += d.Records
			}
			waiting, err := db.WaitingDays(cmd.Context(), tenant, older)
			if err != nil {
				return err
			}
			later := int64(0)
			for _, d := range waiting {
				later += d.Records
			}
			what := "nothing is older than that"
			if len(waiting) > 0 {
				what = "nothing can go yet"
			}
			if len(all) > 0 {
				what = fmt.Sprintf("%s, from %s to %s, with %s", counted(len(all), "day"), all[0].Day, all[len(all)-1].Day, counted(int(records), "record"))
			}
			if !asJSON {
				fmt.Fprintf(p.Err, "Before %s: %s.\n", older.Format(time.DateOnly), what)
				if len(waiting) > 0 {
					fmt.Fprintf(p.Err, "%s with %s, from %s on: older as well, and kept until the whole month of them is too old, with which they go.\n",
						counted(len(waiting), "day"), counted(int(later), "record"), dayText(waiting[0].Day))
				}
				for _, d := range all {
					fmt.Fprintf(p.Out, "%s  %d\n", d.Day, d.Records)
				}
			}
			deleted := int64(0)
			if yes && !dryRun {
				if deleted, err = db.Prune(cmd.Context(), tenant, "audit", older); err != nil {
					return err
				}
				if err := settleDropped(cmd.Context(), db, tenant, older); err != nil {
					return err
				}
				if !asJSON {
					fmt.Fprintf(p.Err, "%s deleted.\n", counted(int(deleted), "record"))
				}
			}
			if asJSON {
				if err := printJSON(p.Out, map[string]any{"older_than": older.Format(time.DateOnly), "days": all, "records": records, "waiting_for_month": later, "deleted": deleted}); err != nil {
					return err
				}
			}
			if !yes && !dryRun && len(all) > 0 {
				return failWith(exitUsage, "%w: give --yes to delete them, or --dry-run to only look", errNotConfirmed)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&dryRun, "dry-run", false, "say what would be deleted")
	f.BoolVar(&yes, "yes", false, "delete it")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// oldest is the beginning of the oldest day that is kept.
func oldest(now time.Time, days int) time.Time {
	return now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -days)
}

// retainEvery is how often it is looked for what has become too old.
const retainEvery = 6 * time.Hour

// retain deletes what is older than the settings say, until ctx ends. What fails, or is
// held by somebody who reads for long, is tried again the next time.
func (a *App) retain(ctx context.Context) error {
	for {
		older := oldest(a.now(), a.Config.Retention.AuditDays)
		n, err := a.DB.Prune(ctx, a.Tenant, "audit", older)
		if err == nil { // whoever dropped it may have been killed before this
			err = settleDropped(ctx, a.DB, a.Tenant, older)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("Records that are too old could not be deleted; it is tried again.", "in", retainEvery, "error", err, "remedy", strings.TrimSpace(remedy(err)))
		} else if n > 0 {
			a.log.Info("Records that were too old were deleted.", "records", n, "retention_audit_days", a.Config.Retention.AuditDays)
		}
		if err := sleep(ctx, retainEvery); err != nil {
			return err
		}
	}
}
