package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/store"
)

func importStatusCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "How far the import is, what is left, and how long the source keeps it",
		Example: `  reeve import status
  reeve import status --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withTenant(cmd.Context(), func(c *config.Config, db *store.DB, tenant int) error {
				s, err := status(cmd.Context(), db, tenant)
				if err != nil {
					return err
				}
				s.Refused = refusedBy(cmd.Context(), c)
				if asJSON {
					return printJSON(p.Out, s)
				}
				p.printStatus(s)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// statusReport is how the import stands.
type statusReport struct {
	Feeds       map[string][]partReport `json:"feeds"`
	LastRun     *runReport              `json:"last_run,omitempty"`
	Workloads   map[string]int64        `json:"workloads"`
	Ignored     int64                   `json:"out_of_scope"`
	Quarantined map[string]int64        `json:"quarantined"`
	NoAlarm     map[string]int64        `json:"quarantined_ignored,omitempty"` // of them
	Raw         rawReport               `json:"raw"`
	Findings    []findingReport         `json:"findings"`
	Workers     []workerReport          `json:"workers"`
	Pace        *paceReport             `json:"pace,omitempty"`
	Refused     *refusalReport          `json:"database_refuses,omitempty"`
}

// refusalReport is why nothing can be written into the database.
type refusalReport struct {
	Cause  string `json:"cause"`
	Remedy string `json:"remedy"`
}

// refusedBy tries whether the database can be written, as the import has to. One that is
// busy for a while can.
func refusedBy(ctx context.Context, c *config.Config) *refusalReport {
	_, err := store.Look(ctx, c.Database.URL, c.Database.Password.Reveal())
	var refusal *store.Error
	if !errors.As(err, &refusal) || refusal.Away {
		return nil
	}
	return &refusalReport{refusal.Cause, refusal.Remedy}
}

// workerReport is a process that imports, and is alive.
type workerReport struct {
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Started time.Time `json:"started"`
	Seen    time.Time `json:"seen"`
}

// paceReport is how often the source is asked, by all workers together.
type paceReport struct {
	PerMinute int        `json:"requests_per_minute"`
	NotBefore *time.Time `json:"not_before,omitempty"`
}

type partReport struct {
	Part         string         `json:"part"`
	Subscription string         `json:"subscription"`
	Error        string         `json:"error,omitempty"` // why the subscription is refused
	Windows      map[string]int `json:"windows"`
	Blobs        map[string]int `json:"blobs"`
	Records      int64          `json:"records"`
	Stored       int64          `json:"stored"`
	OldestDue    *time.Time     `json:"forgotten_from,omitempty"`
	Troubles     []string       `json:"troubles,omitempty"`
}

type runReport struct {
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	Outcome string     `json:"outcome"`          // "running", or "ended without a word" if it was killed; empty if nobody knows
	Stored  *int64     `json:"stored,omitempty"` // when it has ended
	Detail  string     `json:"detail,omitempty"`
}

type findingReport struct {
	Rule    string    `json:"rule"`
	Message string    `json:"message"`
	Remedy  string    `json:"remedy"`
	Since   time.Time `json:"since"`
}

func status(ctx context.Context, db *store.DB, tenant int) (*statusReport, error) {
	ledger := db.Ledger(tenant, "audit")
	standings, err := ledger.Standing(ctx)
	if err != nil {
		return nil, err
	}
	s := &statusReport{Feeds: map[string][]partReport{"audit": {}}, Workloads: map[string]int64{}, Quarantined: map[string]int64{}, Findings: []findingReport{}, Workers: []workerReport{}}
	for _, x := range standings {
		s.Feeds["audit"] = append(s.Feeds["audit"], partReport{Part: x.Part, Subscription: x.State, Error: x.Error, Windows: x.Windows, Blobs: x.Blobs,
			Records: x.Counts.Records, Stored: x.Counts.Stored, OldestDue: instant(x.OldestDue), Troubles: x.Troubles})
	}
	runs, err := ledger.Runs(ctx, 1)
	if err != nil {
		return nil, err
	}
	if len(runs) > 0 {
		r := runs[0]
		s.LastRun = &runReport{Started: r.Started, Ended: instant(r.Ended), Outcome: r.Outcome, Detail: r.Detail}
		if !r.Ended.IsZero() {
			s.LastRun.Stored = &r.Stored
		}
	}
	if s.Ignored, err = db.CountIgnored(ctx, tenant); err != nil {
		return nil, err
	}
	workloads, err := db.CountWorkloads(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, c := range workloads {
		s.Workloads[c.Name] = c.Rows
	}
	if err := s.quarantine(ctx, db, tenant); err != nil {
		return nil, err
	}
	if s.Raw, err = rawKept(ctx, db, tenant); err != nil {
		return nil, err
	}
	findings, err := db.Findings(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, f := range findings {
		s.Findings = append(s.Findings, findingReport{f.Rule, f.Message, f.Remedy, f.Since})
	}
	workers, err := db.Workers(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		s.Workers = append(s.Workers, workerReport{w.Name, w.Role, w.Started, w.Seen})
	}
	pace, err := db.Pace(ctx, tenant, "audit")
	if err != nil {
		return nil, err
	}
	if pace.PerMinute > 0 {
		s.Pace = &paceReport{pace.PerMinute, instant(pace.NotBefore)}
	}
	return s, nil
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (p *program) printStatus(s *statusReport) {
	if s.Refused != nil {
		fmt.Fprintf(p.Out, "With these settings nothing can be written into the database: %s.\n%s.\n\n", s.Refused.Cause, sentence(s.Refused.Remedy))
	}
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "content type\tsubscription\twindows\tblobs read\tdue\tlost\trecords\tstored\tforgotten from")
	var troubles []string
	for _, x := range s.Feeds["audit"] {
		windows := 0
		for _, n := range x.Windows {
			windows += n
		}
		oldest := "-"
		if x.OldestDue != nil {
			oldest = fmt.Sprintf("in %s", x.OldestDue.Sub(p.now()).Round(time.Minute))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", x.Part, x.Subscription, windows,
			x.Blobs[store.BlobDone], x.Blobs[store.BlobDue], x.Blobs[store.BlobLost], x.Records, x.Stored, oldest)
		if x.Error != "" {
			troubles = append(troubles, x.Part+": "+x.Error)
		}
		for _, why := range x.Troubles {
			troubles = append(troubles, x.Part+": "+why)
		}
	}
	t.Flush()
	if r := s.LastRun; r != nil {
		outcome := r.Outcome
		switch {
		case r.Stored != nil:
			outcome += fmt.Sprintf(", %d stored", *r.Stored)
			if r.Detail != "" {
				outcome += ", " + r.Detail
			}
		case outcome == store.Silent:
			outcome += " (killed?); the next one goes on from there"
		case outcome == "":
			outcome = "still running, or killed"
		}
		fmt.Fprintf(p.Out, "\nlast run: %s, %s\n", r.Started.Format(time.RFC3339), outcome)
	} else {
		fmt.Fprintln(p.Out, "\nNothing has been imported yet: run 'reeve import run --once'.")
	}
	for _, w := range s.Workers {
		fmt.Fprintf(p.Out, "worker: %s, %s, since %s\n", w.Name, w.Role, w.Started.Format(time.RFC3339))
	}
	if s.Pace != nil && s.Pace.NotBefore != nil && s.Pace.NotBefore.After(p.now()) {
		fmt.Fprintf(p.Out, "Microsoft asked to be left alone until %s\n", s.Pace.NotBefore.Format(time.RFC3339))
	}
	p.printQuarantined(s)
	p.printRaw(s.Raw)
	for _, why := range troubles {
		fmt.Fprintln(p.Out, "trouble:", why)
	}
	for _, f := range s.Findings {
		fmt.Fprintf(p.Out, "finding: %s.\n         %s.\n", f.Message, sentence(f.Remedy))
	}
}

// sentence begins a text with a capital letter.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
