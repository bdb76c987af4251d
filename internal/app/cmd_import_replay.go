package app

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/feed"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
)

func importReplayCommand(p *program) *cobra.Command {
	var from, to string
	var dry, yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Make the rows anew from the text that is kept, without Microsoft",
		Long: `replay decodes the records again whose text is kept, with this version of reeve,
and replaces the rows of those that would be other ones today: after an upgrade
that reads more of a record, or after a change by mistake. Nothing is fetched.

Its days, also those of --dry-run, are those on which the text came, not those of the
records: what happened on the 2nd may have come on the 5th. Sealed days that it names
are the records'.

Rows are replaced only where they differ. Rows of records whose text is not kept
stay as they are, and days that retention has dropped stay dropped. It may be killed
at any moment, and be run again; an import may go on beside it.

A sealed day whose rows it changes gets a new version of its seal, with the reason
"replay", if its rows were those that were sealed before; else the seal stays.`,
		Example: `  reeve import replay --dry-run
  reeve import replay --from 2026-11-01 --to 2026-11-15 --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			first, last, err := daysOf(from, to)
			if err != nil {
				return err
			}
			return p.withTenant(cmd.Context(), func(c *config.Config, db *store.DB, tenant int) error {
				pieces, bytes, err := db.KeptSize(cmd.Context(), tenant, first, last)
				if err != nil {
					return err
				}
				if !asJSON {
					fmt.Fprintf(p.Err, "%d pieces with %s of text are kept%s.\n", pieces, bytesText(bytes), arrival(first, last))
				}
				if !dry && !yes && pieces > 0 {
					if err := p.confirm(cmd.Context(), "The rows of their records are replaced where this reeve would make other ones (--dry-run says how many), also those that were changed by hand."); err != nil {
						return err
					}
				}
				told := p.now()
				sum, err := ingest.Replay(cmd.Context(), feed.AuditForm(tenant, feed.Scope{}), ingest.ReplayOptions{
					DB: db, Tenant: tenant, First: first, Last: last, Dry: dry,
					Progress: func(r ingest.Replayed) {
						if now := p.now(); now.Sub(told) >= 10*time.Second {
							told = now
							fmt.Fprintf(p.Err, "%d of %d pieces, %d records.\n", r.Pieces, pieces, r.Records)
						}
					},
				})
				if err != nil {
					return err
				}
				// A day that is not sealed here is by 'reeve serve', or 'reeve coverage seal'.
				s := sealer{db: db, tenant: tenant, config: c, now: p.now, log: logger(p.Err, c)}
				if _, _, err := s.days(cmd.Context(), sum.Days.Opened); err != nil {
					return err
				}
				return p.printReplayed(sum, first, last, dry, asJSON)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "the first day, YYYY-MM-DD, on which the text came")
	f.StringVar(&to, "to", "", "the last day on which it came")
	f.BoolVar(&dry, "dry-run", false, "say what would become of the records, and change nothing")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// daysOf reads the days of --from and --to.
func daysOf(from, to string) (first, last int, err error) {
	for _, d := range []struct {
		flag, text string
		to         *int
	}{{"from", from, &first}, {"to", to, &last}} {
		if d.text == "" {
			continue
		}
		t, err := time.Parse(time.DateOnly, d.text)
		if err != nil {
			return 0, 0, failWith(exitUsage, "--%s %q is no day: write it as 2026-11-01", d.flag, d.text)
		}
		*d.to = store.Day(t)
	}
	if last > 0 && last < first {
		return 0, 0, failWith(exitUsage, "--to %s is before --from %s", to, from)
	}
	return first, last, nil
}

// arrival says of which days text is meant, and that they are no days of records.
func arrival(first, last int) string {
	days := " that came on any day"
	switch {
	case first > 0 && last > 0:
		days = " that came from " + dayText(first) + " to " + dayText(last)
	case first > 0:
		days = " that came on " + dayText(first) + " or later"
	case last > 0:
		days = " that came until " + dayText(last)
	}
	return days + " (when it came, not when what it tells of happened)"
}

func (p *program) printReplayed(r ingest.Replayed, first, last int, dry, asJSON bool) error {
	if asJSON {
		type report struct {
			DryRun     bool     `json:"dry_run,omitempty"`
			First      string   `json:"came_from,omitempty"` // days on which the text came
			Last       string   `json:"came_until,omitempty"`
			Pieces     int64    `json:"pieces"`
			Bytes      int64    `json:"bytes"`
			Records    int64    `json:"records"`
			Unchanged  int64    `json:"unchanged"`
			Changed    int64    `json:"changed"`
			New        int64    `json:"new"`
			Repeated   int64    `json:"repeated"`
			Held       int64    `json:"in_quarantine"`
			Failed     int64    `json:"failed"`
			Dropped    int64    `json:"of_dropped_days"`
			Unreadable int64    `json:"unreadable_pieces"`
			Problems   []string `json:"problems,omitempty"`
			Sealed     []string `json:"days_sealed_anew,omitempty"`
			Broken     []string `json:"days_not_as_sealed,omitempty"`
		}
		if err := printJSON(p.Out, report{dry, dayOrNone(first), dayOrNone(last), r.Pieces, r.Bytes, r.Records, r.Unchanged, r.Changed, r.New, r.Repeated, r.Held, r.Failed, r.Dropped, r.Unreadable, r.Problems,
			dayTexts(r.Days.Opened), dayTexts(r.Days.Broken)}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.Out, `%9d records decoded again
%9d unchanged
%9d %s
%9d %s
%9d came again, or have the Id of another; their text stays where it is
%9d are in conflict with a record that has no row
%9d of days that retention has dropped
%9d failed
`, r.Records, r.Unchanged, r.Changed, become(dry, "changed"), r.New, become(dry, "new"), r.Repeated, r.Held, r.Dropped, r.Failed)
		if days := dayTexts(r.Days.Opened); len(days) > 0 {
			fmt.Fprintln(p.Err, "Sealed days of records that were changed get a new version of their seal: "+strings.Join(days, ", ")+".")
		}
		if days := dayTexts(r.Days.Broken); len(days) > 0 {
			fmt.Fprintln(p.Err, "Before this, these sealed days were not as they had been sealed, and their seals stay: "+strings.Join(days, ", ")+". See 'reeve coverage verify'.")
		}
		for _, why := range r.Problems {
			fmt.Fprintln(p.Err, plain(why))
		}
	}
	if r.Failed > 0 || r.Unreadable > 0 {
		return failWith(exitCheck, "%d records and %d pieces could not be decoded; their rows stay as they are", r.Failed, r.Unreadable)
	}
	return nil
}

func dayOrNone(day int) string {
	if day == 0 {
		return ""
	}
	return dayText(day)
}

func dayTexts(days []int) (all []string) {
	for _, day := range days {
		all = append(all, dayText(day))
	}
	return all
}

func become(dry bool, what string) string {
	if dry {
		return "would be " + what
	}
	return what
}
