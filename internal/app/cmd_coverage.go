package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/coverage"
	"github.com/reeve365/reeve/internal/store"
)

// usualCoverage is how far back coverage looks when nobody says.
const usualCoverage = 30 * 24 * time.Hour

// longestCoverage is how long a time it looks at, at the most: each hour of each content type is
// held in memory.
const longestCoverage = 5 * 366 * 24 * time.Hour

// share is the flag of a percentage.
type share float64

func (s *share) String() string { return strconv.FormatFloat(float64(*s), 'f', -1, 64) }
func (*share) Type() string     { return "percentage" }

func (s *share) Set(text string) error {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return errors.New("give a percentage, 0 to 100")
	}
	*s = share(n)
	return nil
}

func coverageCommand(p *program) *cobra.Command {
	var o struct {
		from, to, part, by string
		failUnder          share
		asJSON             bool
	}
	cmd := &cobra.Command{
		Use: "coverage", GroupID: "main",
		Short: "Show what is missing: for each content type and hour whether it is in, and why not",
		Long: `coverage tells from the ledger what became of each hour of each content type:

  complete  listed whole, and everything that was listed is in
  empty     listed whole, twice at least, and there was nothing
  late      complete, and some of it came after the hour had been listed whole
  missing   not listed yet, listed and not read yet, or nobody knows
  lost      forgotten by Microsoft, or gone, before it could be read
  not due   not over, or only just; or listed once, empty, and to be listed again
  not covered  from before reeve began with the content type

The percentage is the share of the hours that are due of which nothing is wanting; what
is not covered is neither due nor missing. With --fail-under the exit code is 7 if it is
less, or if no hour is due.

Times are UTC: a day (2026-11-02), a time (2026-11-02T08:00), or how long ago (36h, 7d).
A day given to --to is included. Without --from it is the last 30 days, or what there is
of them; what is asked for and was before reeve began is not covered.`,
		Example: `  reeve coverage
  reeve coverage --from 7d --by hour --type Audit.Exchange
  reeve coverage --from 2026-11-01 --to 2026-11-14 --fail-under 99.9 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, to, err := p.span(o.from, o.to)
			if err != nil {
				return err
			}
			now := p.now()
			end := now
			if !to.IsZero() && to.Before(now) {
				end = to
			}
			switch {
			case !from.IsZero() && end.Sub(from) > longestCoverage:
				return failWith(exitUsage, "--from %q: give five years at most at a time", o.from)
			case from.IsZero() && !to.IsZero() && !to.After(now.Add(-usualCoverage)):
				return failWith(exitUsage, "--to %q: say with --from from when on, which else is 30 days ago", o.to)
			case !(o.failUnder >= 0 && o.failUnder <= 100): // nor is it no number
				return failWith(exitUsage, "--fail-under %v: give a percentage, 0 to 100", o.failUnder)
			}
			if o.by != "day" && o.by != "hour" {
				return failWith(exitUsage, "--by %q: give day or hour", o.by)
			}
			return p.withTenant(cmd.Context(), func(c *config.Config, db *store.DB, tenant int) error {
				report, err := coverageOf(cmd.Context(), db, tenant, c, from, to, p.now(), o.part)
				if err != nil {
					return err
				}
				if o.part != "" && len(report.Parts) == 0 {
					return failWith(exitUsage, "--type %q: the ledger knows no such content type", o.part)
				}
				findings, err := db.Findings(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				kept, err := keptOf(cmd.Context(), db, tenant, c, report)
				if err != nil {
					return err
				}
				if err := p.printCoverage(report, o.by == "hour", o.asJSON, kept, findings); err != nil {
					return err
				}
				if !cmd.Flags().Changed("fail-under") {
					return nil
				}
				switch total := report.Total.Percent; {
				case total == nil && unknown(report) != "":
					return failWith(exitCheck, "nothing from %s to %s is covered: %s", minute(report.From), minute(report.To), unknown(report))
				case total == nil:
					return failWith(exitCheck, "nothing is due from %s to %s, so there is no coverage to speak of", day(report.From), day(report.To))
				case *total < float64(o.failUnder):
					return failWith(exitCheck, "the coverage is %s, and not %s %%", percent(total), o.failUnder.String())
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "where to begin")
	f.StringVar(&o.to, "to", "", "where to end; now if it is not given")
	f.StringVar(&o.part, "type", "", "this content type alone")
	f.StringVar(&o.by, "by", "day", "what a line is for: day or hour")
	f.Var(&o.failUnder, "fail-under", "the least percentage with which the exit code is 0")
	f.BoolVar(&o.asJSON, "json", false, "print JSON, with the reasons for each hour that is not simply complete")
	cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{"day", "hour"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(coverageSealCommand(p), coverageVerifyCommand(p))
	return cmd
}

// coverageOf assesses the audit feed. A zero from is the usual one.
func coverageOf(ctx context.Context, db *store.DB, tenant int, c *config.Config, from, to, now time.Time, part string) (coverage.Report, error) {
	read := from
	if read.IsZero() {
		read = now.Add(-usualCoverage).Truncate(24 * time.Hour)
	}
	if to.IsZero() || to.After(now) {
		to = now
	}
	// The headroom is that of the last day, whatever is asked for.
	if lastDay := now.Add(-24 * time.Hour); read.After(lastDay) {
		read = lastDay
	}
	facts, err := db.Ledger(tenant, "audit").Coverage(ctx, read, now)
	if err != nil {
		return coverage.Report{}, err
	}
	return coverage.Assess(facts, coverage.Options{From: from, To: to, Read: read, Now: now, Part: part, Every: c.Feeds.Audit.Interval}), nil
}

// span reads --from and --to.
func (p *program) span(from, to string) (start, end time.Time, err error) {
	if start, _, err = p.moment(from); err != nil {
		return start, end, failWith(exitUsage, "--from %q: %w", from, err)
	}
	var whole bool
	if end, whole, err = p.moment(to); err != nil {
		return start, end, failWith(exitUsage, "--to %q: %w", to, err)
	}
	if whole {
		end = end.AddDate(0, 0, 1)
	}
	if !start.IsZero() && !end.IsZero() && end.Before(start) {
		return start, end, failWith(exitUsage, "--from %q, --to %q: the end is before the beginning: give the earlier time to --from, the later one to --to", from, to)
	}
	if last := end; !start.IsZero() && (!last.IsZero() && !start.Before(last) || !start.Before(p.now())) {
		return start, end, failWith(exitUsage, "--from %q, --to %q: that is no time before now", from, to)
	}
	return start, end, nil
}

// moment reads a time; day tells that it is a whole day. Nothing is the zero time.
func (p *program) moment(s string) (t time.Time, day bool, err error) {
	if s == "" {
		return t, false, nil
	}
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.Atoi(n); err == nil && days >= 0 && days < 100_000 {
			return p.now().UTC().AddDate(0, 0, -days), false, nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return p.now().UTC().Add(-ago), false, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, true, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), false, nil
		}
	}
	return t, false, fmt.Errorf("give a day (2026-11-02), a time in UTC (2026-11-02T08:00), or how long ago (36h, 7d)")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func percent(p *float64) string {
	if p == nil {
		return "-"
	}
	return strconv.FormatFloat(*p, 'f', -1, 64) + " %"
}

// keptJSON is what became of records after they were imported.
type keptJSON struct {
	Days    int          `json:"kept_days"` // 0: for ever
	Dropped []droppedDay `json:"dropped_by_retention"`
}

// droppedDay is a day that retention has dropped, or is to drop.
type droppedDay struct {
	Day     string `json:"day"`
	Records int64  `json:"records"`
}

// keptOf tells which of the days that a report is of were dropped since.
func keptOf(ctx context.Context, db *store.DB, tenant int, c *config.Config, r coverage.Report) (keptJSON, error) {
	k := keptJSON{Days: c.Retention.AuditDays, Dropped: []droppedDay{}}
	if r.From.IsZero() {
		return k, nil
	}
	dropped, err := db.DroppedDays(ctx, tenant, "audit", store.Day(r.From), store.Day(r.To))
	for _, o := range dropped {
		k.Dropped = append(k.Dropped, droppedDay{dayText(o.Day), o.Records})
	}
	return k, err
}

// coverageJSON is what --json prints.
type coverageJSON struct {
	coverage.Report
	keptJSON
	Findings []findingReport `json:"findings"`
}

// coverageRules are the findings that coverage tells.
var coverageRules = map[string]bool{ruleHeadroom: true, ruleForeign: true, ruleSeals: true, ruleChain: true}

func (p *program) printCoverage(r coverage.Report, byHour, asJSON bool, kept keptJSON, findings []store.Finding) error {
	ours := []findingReport{}
	for _, f := range findings {
		if coverageRules[f.Rule] {
			ours = append(ours, findingReport{f.Rule, f.Message, f.Remedy, f.Since})
		}
	}
	if asJSON {
		if !byHour {
			var told []coverage.Hour
			for _, h := range r.Hours {
				if len(h.Why) > 0 {
					told = append(told, h)
				}
			}
			r.Hours = told
		}
		return printJSON(p.Out, coverageJSON{r, kept, ours})
	}
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	if byHour {
		fmt.Fprintln(t, "hour\tcontent type\tstate\tblobs\tdue\tlost\trecords\twhy")
		for _, h := range r.Hours {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", minute(h.Start), h.Part, h.State, h.Blobs, h.BlobsDue, h.BlobsLost, h.Records, strings.Join(h.Why, "; "))
		}
	} else {
		states := slices.Clone(coverage.States)
		if r.Total.Hours[coverage.Before] == 0 {
			states = slices.DeleteFunc(states, func(s coverage.State) bool { return s == coverage.Before })
		}
		fmt.Fprint(t, "day\tcontent type")
		for _, s := range states {
			fmt.Fprintf(t, "\t%s", s)
		}
		fmt.Fprintln(t, "\tcovered")
		for _, d := range r.Days {
			printTotal(t, d.Day, d, states)
		}
		for _, d := range r.Parts {
			printTotal(t, "all", d, states)
		}
	}
	t.Flush()
	if len(r.Parts) == 0 {
		fmt.Fprintln(p.Out, "Nothing has been imported yet: run 'reeve import run --once'.")
		return nil
	}
	span := fmt.Sprintf("from %s to %s", minute(r.From), minute(r.To))
	switch n := r.Total.Hours[coverage.Before]; {
	case unknown(r) != "":
		fmt.Fprintf(p.Out, "\ncovered: nothing %s: %s\n", span, unknown(r))
	case n > 0:
		fmt.Fprintf(p.Out, "\ncovered: %s of the hours that are due, %s; %s from before reeve began, not among them\n", percent(r.Total.Percent), span, counted(n, "hour"))
	default:
		fmt.Fprintf(p.Out, "\ncovered: %s of the hours that are due, %s\n", percent(r.Total.Percent), span)
	}
	if !byHour {
		printReasons(p.Out, r.Reasons)
	}
	if kept.Days > 0 {
		fmt.Fprintf(p.Out, "kept: records of the last %s\n", counted(kept.Days, "day"))
	}
	if n := len(kept.Dropped); n > 0 {
		var records int64
		for _, d := range kept.Dropped {
			records += d.Records
		}
		fmt.Fprintf(p.Out, "dropped by retention: %s from %s to %s, with %s; they were in, and are not missing\n",
			counted(n, "day"), kept.Dropped[0].Day, kept.Dropped[n-1].Day, counted(int(records), "record"))
	}
	if d := r.First; d != nil {
		in := "in " + d.At.Sub(p.now()).Round(time.Minute).String()
		if d.At.Before(p.now()) {
			in = "which is over"
		}
		fmt.Fprintf(p.Out, "forgotten first: %s, %s (%s)\n", d.Part, minute(d.At), in)
	}
	if h := r.Headroom; h != nil {
		ratio := fmt.Sprintf("%.1f", h.Ratio)
		if h.Ratio > 100 {
			ratio = "more than 100"
		}
		fmt.Fprintf(p.Out, "headroom: %s times as much could be read as arrives (%.0f blobs an hour arrive)\n", ratio, h.Arriving)
	}
	for _, f := range ours {
		fmt.Fprintf(p.Out, "finding: %s.\n         %s.\n", f.Message, strings.ToUpper(f.Remedy[:1])+f.Remedy[1:])
	}
	return nil
}

// unknown tells why nothing of a report's time is covered; empty if something is, or that is
// not why.
func unknown(r coverage.Report) string {
	switch began := r.Total.Began; {
	case r.Total.Percent != nil || len(r.Parts) == 0:
		return ""
	case began == nil:
		return "the import has not begun"
	case !r.To.After(*began):
		return "it is from before reeve began, " + minute(*began) + ", and what happened then is not known"
	}
	return ""
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

func printTotal(w io.Writer, when string, t coverage.Total, states []coverage.State) {
	fmt.Fprintf(w, "%s\t%s", when, t.Part)
	for _, s := range states {
		fmt.Fprintf(w, "\t%d", t.Hours[s])
	}
	fmt.Fprintf(w, "\t%s\n", percent(t.Percent))
}

// printReasons tells why hours are missing, lost or not covered: once for each reason of a
// content type.
func printReasons(w io.Writer, reasons []coverage.Reason) {
	const most = 20
	for _, r := range reasons[:min(len(reasons), most)] {
		fmt.Fprintf(w, "%s: %s, %s from %s to %s: %s\n", r.State, r.Part, counted(r.Hours, "hour"), minute(r.From), minute(r.To), r.Why)
	}
	if n := len(reasons) - most; n > 0 {
		fmt.Fprintf(w, "… and %d more; see --by hour or --json\n", n)
	}
}

// Rules of findings about coverage.
const (
	ruleHeadroom = "headroom"
	ruleForeign  = "foreign-rows"
	ruleSeals    = "sealed-day-changed"
	ruleChain    = "seals-changed"
)

// judgeHeadroom finds, or no longer finds, that the import does not keep up.
func (a *App) judgeHeadroom(ctx context.Context) error {
	now := a.now()
	from := now.Add(-24 * time.Hour)
	facts, err := a.DB.Ledger(a.Tenant, "audit").Coverage(ctx, from, now)
	if err != nil {
		return err
	}
	h := coverage.Assess(facts, coverage.Options{Read: from, Now: now}).Headroom
	if !h.Tight() {
		return a.DB.Settle(ctx, a.Tenant, ruleHeadroom, "audit")
	}
	f := store.Finding{Rule: ruleHeadroom, Subject: "audit",
		Message: fmt.Sprintf("the import reads %.1f times as much as arrives (%.0f blobs an hour of %.0f that arrive), and %.1f is needed to be at ease: what is not read within 7 days is lost",
			h.Ratio, h.Readable, h.Arriving, coverage.Enough),
		Remedy: fmt.Sprintf("raise feeds.audit.concurrency (it is %d), let more processes import (PostgreSQL), or see in the log whether Microsoft throttles or the database is slow", a.Config.Feeds.Audit.Concurrency)}
	a.log.Warn(f.Message, "remedy", f.Remedy)
	return a.DB.Find(ctx, a.Tenant, f)
}
