package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/coverage"
	"github.com/reeve365/reeve/internal/feed"
	"github.com/reeve365/reeve/internal/store"
)

// sealAfter is how long after its end a day is sealed: Microsoft keeps content for seven
// days, and the rest is for whatever goes wrong.
const sealAfter = 10 * 24 * time.Hour

// sealEvery is how often a serving process looks for days to seal.
const sealEvery = 6 * time.Hour

func coverageSealCommand(p *program) *cobra.Command {
	var date, reason string
	var yes, chain, asJSON bool
	cmd := &cobra.Command{
		Use:   "seal",
		Short: "Seal the days that are settled; 'reeve serve' does it by itself",
		Long: `seal notes, for each day that ended 10 days ago or earlier and for each table, how many
rows there are and a hash over them, chained by hash to the seal before. A later change
shows with 'reeve coverage verify'. A sealed day of which records came late gets a new
version of its seal, if nothing else has changed.

With --day and --reason a day is sealed as it stands now, whatever has changed, with your
reason: after a repair by hand, for instance. That is shown first, and needs --yes.

If seals were changed or removed, nothing is sealed any more. Restore them from a backup,
or accept that with --accept-broken-chain and --reason: a seal of its own says so from
then on, and "coverage verify" tells of it. What rows are sealed does not change by that.

What reeve itself changes on purpose needs none of that: "import replay" opens the seals of
the days that it changes, if their rows are those that were sealed, and has them sealed
anew; retention opens those of the days that it drops, which stay so.`,
		Example: `  reeve coverage seal
  reeve coverage seal --day 2026-10-01 --reason 'repaired, ticket 4711' --yes
  reeve coverage seal --accept-broken-chain --reason 'looked into, ticket 4712' --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case chain && (date != "" || reason == ""):
				return failWith(exitUsage, "--accept-broken-chain: give --reason too, and no --day")
			case !chain && (date == "") != (reason == ""):
				return failWith(exitUsage, "--day and --reason belong together: give both, or none to seal what is settled")
			}
			return p.withTenant(cmd.Context(), func(c *config.Config, db *store.DB, tenant int) error {
				s := sealer{db: db, tenant: tenant, config: c, now: p.now, log: logger(p.Err, c)}
				var made []store.Seal
				var err, broken error
				nothing := "There was nothing to seal. Rows of days that are sealed were not read: 'reeve coverage verify' does that."
				switch {
				case chain:
					nothing = "The chain of seals is not broken: there is nothing to accept."
					made, err = p.acceptChain(cmd.Context(), s, reason, yes)
				case date != "":
					nothing = date + " is as it was sealed: there is nothing to seal."
					made, err = p.sealDay(cmd.Context(), s, date, reason, yes)
				default:
					made, broken, err = s.all(cmd.Context())
				}
				if err != nil {
					return err
				}
				if asJSON {
					if made == nil {
						made = []store.Seal{}
					}
					err = printJSON(p.Out, made)
				} else if len(made) > 0 {
					p.printSeals(made)
				} else if broken == nil {
					fmt.Fprintln(p.Err, nothing)
				}
				return errors.Join(err, broken)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&date, "day", "", "seal this day, as it stands now")
	f.StringVar(&reason, "reason", "", "why it is sealed anew")
	f.BoolVar(&chain, "accept-broken-chain", false, "accept that seals were changed or removed")
	f.BoolVar(&yes, "yes", false, "do it, rather than show what would be done")
	f.BoolVar(&asJSON, "json", false, "print the seals that were made as JSON")
	return cmd
}

func (p *program) sealDay(ctx context.Context, s sealer, date, reason string, yes bool) ([]store.Seal, error) {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return nil, failWith(exitUsage, "--day %q: give a day, as in 2026-11-02", date)
	}
	n := store.Day(t)
	if n > store.NewestSealable(p.now()) {
		return nil, failWith(exitUsage, "--day %s: it is not over for long enough, so that records of it may be on their way", date)
	}
	if broken, err := s.chain(ctx); broken != nil || err != nil {
		return nil, errors.Join(err, broken)
	}
	if !yes {
		plan, err := s.db.PlanSeal(ctx, s.tenant, feed.AuditTables(), n, "", reason)
		if err != nil || len(plan) == 0 {
			return nil, err
		}
		v, err := s.db.VerifySeals(ctx, s.tenant, feed.AuditTables(), n, n, "")
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(p.Err, "%s would be sealed as it stands now, for the reason %q.\n", date, reason)
		for _, b := range v.Breaches {
			fmt.Fprintln(p.Err, "  "+breachText(b))
		}
		return nil, failWith(exitUsage, "nothing was done: give --yes to accept that")
	}
	known, _, err := s.known(ctx, n)
	if err != nil {
		return nil, err
	}
	return s.db.SealDay(ctx, s.tenant, feed.AuditTables(), n, known, reason)
}

// acceptChain accepts what is wrong with the chain of seals, or shows it.
func (p *program) acceptChain(ctx context.Context, s sealer, reason string, yes bool) ([]store.Seal, error) {
	if !yes {
		wrong, err := s.db.VerifyChain(ctx, s.tenant)
		if err != nil || len(wrong) == 0 {
			return nil, err
		}
		fmt.Fprintf(p.Err, "This would be accepted, for the reason %q:\n", reason)
		for _, b := range wrong {
			fmt.Fprintln(p.Err, "  "+breachText(b))
		}
		return nil, failWith(exitUsage, "nothing was done: give --yes to accept that")
	}
	made, err := s.db.AcceptChain(ctx, s.tenant, reason)
	if err != nil {
		return nil, err
	}
	return made, s.db.Settle(ctx, s.tenant, ruleChain, chainSubject)
}

// chainError says what is wrong with the chain of seals, and what to do.
func chainError(wrong []store.Breach) error {
	text := breachText(wrong[0])
	if n := len(wrong) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return coded{exitCheck, fmt.Errorf("nothing was sealed: %w: %s; %s", store.ErrChain, text, chainRemedy)}
}

// chainSubject is what a finding about the chain of seals is about.
const chainSubject = "seals"

const chainRemedy = "see all of it with 'reeve coverage verify', and find out who changed the seals; restore them from a backup, or accept it: reeve coverage seal --accept-broken-chain --reason …"

func (p *program) printSeals(made []store.Seal) {
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "day\ttable\tversion\trows\treason\thash")
	for _, s := range made {
		if s.Accepts() {
			fmt.Fprintf(t, "-\t(accepted)\t%d\t-\t%s\t%.16s…\n", s.Version, s.Reason, s.Hash)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%.16s…\n", dayText(s.Day), s.Table, s.Version, s.Records, s.Reason, s.Hash)
	}
	t.Flush()
	fmt.Fprintf(p.Out, "\nhead of the chain: %s\n", made[len(made)-1].Digest)
}

// sealer seals the days of the audit feed.
type sealer struct {
	db     *store.DB
	tenant int
	config *config.Config
	now    func() time.Time
	log    *slog.Logger
}

// run seals what is settled, again and again until ctx ends.
func (s sealer) run(ctx context.Context) error {
	for {
		made, _, err := s.all(ctx)
		if err != nil {
			return err
		}
		if len(made) > 0 {
			s.log.Info("Days were sealed.", "seals", len(made), "head", made[len(made)-1].Digest)
		}
		if err := sleep(ctx, sealEvery); err != nil {
			return err
		}
	}
}

// all seals every day that is settled. broken tells of those that were sealed before and
// have changed since, or that the chain of seals is broken, so that nothing is sealed.
func (s sealer) all(ctx context.Context) (made []store.Seal, broken, err error) {
	if broken, err = s.chain(ctx); broken != nil || err != nil {
		return nil, broken, err
	}
	days, err := s.db.UnsealedDays(ctx, s.tenant, feed.AuditTables(), store.Day(s.now().Add(-sealAfter-24*time.Hour)))
	if err != nil {
		return nil, nil, err
	}
	return s.days(ctx, days)
}

// chain checks the chain of seals, and finds that it is broken, or no longer.
func (s sealer) chain(ctx context.Context) (broken, err error) {
	wrong, err := s.db.VerifyChain(ctx, s.tenant)
	if err != nil {
		return nil, err
	}
	if len(wrong) == 0 {
		return nil, s.db.Settle(ctx, s.tenant, ruleChain, chainSubject)
	}
	broken = chainError(wrong)
	s.log.Error("The chain of seals is broken.", "error", broken)
	return broken, s.findChain(ctx, wrong)
}

func (s sealer) findChain(ctx context.Context, wrong []store.Breach) error {
	text := "the chain of seals is broken, and nothing is sealed any more: " + breachText(wrong[0])
	if n := len(wrong) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return s.find(ctx, ruleChain, chainSubject, text, chainRemedy)
}

// days is all for certain days.
func (s sealer) days(ctx context.Context, days []int) (made []store.Seal, broken, err error) {
	tables := feed.AuditTables()
	for _, n := range days {
		if ctx.Err() != nil {
			return made, broken, ctx.Err()
		}
		known, settled, err := s.known(ctx, n)
		if err != nil {
			return made, broken, err
		}
		if !settled {
			s.log.Warn("A day is not sealed yet, since blobs of it are still to be read.", "day", dayText(n), "coverage", known)
			continue
		}
		seals, err := s.db.SealDay(ctx, s.tenant, tables, n, known, "")
		if errors.Is(err, store.ErrBroken) {
			s.log.Error("A sealed day was changed.", "day", dayText(n), "error", err)
			broken = errors.Join(broken, coded{exitCheck, err})
			if err := s.find(ctx, ruleSeals, dayText(n), err.Error(), "see what has changed with 'reeve coverage verify'. "+remedyOf(store.ChangedRows, n)); err != nil {
				return made, broken, err
			}
			continue
		}
		if errors.Is(err, store.ErrChain) { // only just
			now, err := s.chain(ctx)
			return made, errors.Join(broken, now), err
		}
		if err != nil {
			return made, broken, err
		}
		made = append(made, seals...)
	}
	return made, broken, nil
}

// known is what is known of a day's coverage, in words; settled if nothing of it is still
// to be read.
func (s sealer) known(ctx context.Context, n int) (text string, settled bool, err error) {
	from := time.Date(n/10000, time.Month(n/100%100), n%100, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(0, 0, 1)
	r, err := coverageOf(ctx, s.db, s.tenant, s.config, from, to, s.now(), "")
	if err != nil {
		return "", false, err
	}
	var parts []string
	for _, state := range coverage.States {
		if h := r.Total.Hours[state]; h > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", h, state))
		}
	}
	text = percent(r.Total.Percent) + " of hours: " + strings.Join(parts, ", ")
	differ, err := s.db.Recount(ctx, s.tenant, feed.AuditTables(), n, n)
	if err != nil {
		return "", false, err
	}
	for _, d := range differ {
		text += "; " + d.Text
		if err := s.foreign(ctx, d); err != nil {
			return "", false, err
		}
	}
	return text, r.Total.BlobsDue == 0, nil
}

// foreign finds what the import has not written.
func (s sealer) foreign(ctx context.Context, d store.Difference) error {
	return s.find(ctx, ruleForeign, dayText(d.Day), dayText(d.Day)+": "+d.Text,
		remedyOf(d.Kind, d.Day))
}

// remedyOf says what to do about a breach of a kind, of a day.
func remedyOf(kind store.BreachKind, day int) string {
	accept := "to accept it: reeve coverage seal --day " + dayText(day) + " --reason …"
	switch kind {
	case store.BrokenChain:
		return chainRemedy
	case store.OtherHead:
		return "see that it is the head of this database and this tenant; if it is, compare the seals with those of a backup of the time when it was noted"
	case store.ChangedRows:
		return "find out who changed it. Where the text of the records is kept, 'reeve import replay --from " + dayText(day) + "' makes the rows again as they were; " + accept
	case store.DeletedRows:
		return "find out who deleted them. Where the text of the records is kept, 'reeve import replay --from " + dayText(day) + "' makes the rows again; else they are in backups. If it is a sealed day, " + accept
	case store.AddedRows:
		return "find out who writes into this database; reeve neither changes nor removes these rows. Delete them, or, if it is a sealed day, " + accept + ". After that: reeve coverage verify"
	}
	return ""
}

func (s sealer) find(ctx context.Context, rule, subject, message, remedy string) error {
	return s.db.Find(ctx, s.tenant, store.Finding{Rule: rule, Subject: subject, Message: message, Remedy: remedy})
}

func coverageVerifyCommand(p *program) *cobra.Command {
	var from, to, head string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that sealed days are as they were, and that the sums fit what is there",
		Long: `verify checks the chain of seals; that the rows of sealed days are those that were sealed;
that what the import has counted is what is there, of all days; that nobody else has
written into the tables; and that names are those that rows refer to. It reads all rows of
the days that are asked for, and changes nothing but findings.

The exit code is 7 if anything does not fit. Whoever can write to the database can make a
chain anew: note its head somewhere else now and then, and give it with --head.`,
		Example: `  reeve coverage verify
  reeve coverage verify --from 2026-10-01 --to 2026-10-31 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			first, last, err := p.span(from, to)
			if err != nil {
				return err
			}
			head = strings.ToLower(head)
			if cmd.Flags().Changed("head") && !wholeDigest.MatchString(head) {
				return failWith(exitUsage, "--head %q: give the whole head as it was told, 64 digits 0 to 9 and a to f", head)
			}
			return p.withTenant(ctx, func(c *config.Config, db *store.DB, tenant int) error {
				s := sealer{db: db, tenant: tenant, config: c, now: p.now, log: logger(p.Err, c)}
				v, err := s.verify(ctx, first, last, head)
				if err != nil {
					return err
				}
				if asJSON {
					if err := printJSON(p.Out, v); err != nil {
						return err
					}
				} else {
					fmt.Fprintf(p.Out, "%d seals, %d sealed days with %d rows read\n", v.Seals, v.Days, v.Rows)
					if v.Head != "" {
						fmt.Fprintf(p.Out, "head of the chain: %s\n", v.Head)
					}
					printOpened(p.Out, v.Opened)
					for _, s := range v.Accepted {
						fmt.Fprintf(p.Out, "accepted: by seal %d, %s, for the reason %q: %s\n", s.Seq, s.At.UTC().Format("2006-01-02 15:04"), s.Reason, s.Coverage)
					}
					for i, b := range v.Breaches {
						fmt.Fprintln(p.Out, "wrong: "+breachText(b))
						if b.Remedy != "" && (i+1 == len(v.Breaches) || v.Breaches[i+1].Remedy != b.Remedy) {
							fmt.Fprintf(p.Out, "       %s.\n", b.Remedy)
						}
					}
				}
				if len(v.Breaches) > 0 {
					return failWith(exitCheck, "%s found to be wrong", counted(len(v.Breaches), "thing"))
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "the first day whose rows are read; the first of all if it is not given")
	f.StringVar(&to, "to", "", "the last one")
	f.StringVar(&head, "head", "", "a head that was noted before, and has to be in the chain")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

var wholeDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// printOpened tells of days that are not sealed at present, though they were: adjoining ones
// with one reason together.
func printOpened(w io.Writer, opened []store.Opened) {
	for i := 0; i < len(opened); {
		first, last := opened[i], opened[i]
		for i++; i < len(opened) && opened[i].Reason == first.Reason && opened[i].Day == dayAfter(last.Day); i++ {
			last = opened[i]
		}
		fmt.Fprintf(w, "not sealed at present: %s (%s)\n", daysText(first.Day, last.Day), first.Reason)
	}
}

func dayAfter(day int) int {
	return store.Day(time.Date(day/10000, time.Month(day/100%100), day%100+1, 0, 0, 0, 0, time.UTC))
}

// daysText is a day, or one to another.
func daysText(first, last int) string {
	if first == last {
		return dayText(first)
	}
	return dayText(first) + " to " + dayText(last)
}

func breachText(b store.Breach) string {
	var where []string
	if b.Day > 0 {
		where = append(where, dayText(b.Day))
	}
	if b.Table != "" {
		where = append(where, b.Table)
	}
	if b.Seq > 0 {
		where = append(where, fmt.Sprintf("seal %d", b.Seq))
	}
	if len(where) == 0 {
		return b.Text
	}
	return strings.Join(where, ", ") + ": " + b.Text
}

// verify looks for whatever does not fit, and finds it, or no longer.
func (s sealer) verify(ctx context.Context, from, to time.Time, head string) (store.Verification, error) {
	all := from.IsZero() && to.IsZero()
	first, last := 0, 99999999
	if !from.IsZero() {
		first = store.Day(from)
	}
	if to.IsZero() {
		to = s.now()
	} else {
		last = store.Day(to.Add(-time.Nanosecond))
	}
	v, err := s.db.VerifySeals(ctx, s.tenant, feed.AuditTables(), first, last, head)
	if err != nil {
		return v, err
	}
	if v.Breaches == nil {
		v.Breaches = []store.Breach{}
	}
	if v.Opened == nil {
		v.Opened = []store.Opened{}
	}
	if v.Accepted == nil {
		v.Accepted = []store.Seal{}
	}
	foreign, err := s.db.Recount(ctx, s.tenant, feed.AuditTables(), first, last)
	if err != nil {
		return v, err
	}
	ledger, err := s.db.Ledger(s.tenant, "audit").RecountLedger(ctx, from, to)
	if err != nil {
		return v, err
	}
	names, err := s.db.VerifyNames(ctx, feed.AuditNames())
	if err != nil {
		return v, err
	}
	if all {
		if err := s.settle(ctx); err != nil {
			return v, err
		}
	}
	var chain []store.Breach
	for i := range v.Breaches {
		v.Breaches[i].Remedy = remedyOf(v.Breaches[i].Kind, v.Breaches[i].Day)
	}
	for _, b := range v.Breaches {
		switch {
		case b.Kind == store.BrokenChain:
			chain = append(chain, b)
		case b.Day > 0:
			if err := s.find(ctx, ruleSeals, dayText(b.Day), breachText(b), b.Remedy); err != nil {
				return v, err
			}
		}
	}
	if len(chain) > 0 {
		if err := s.findChain(ctx, chain); err != nil {
			return v, err
		}
	} else if err := s.db.Settle(ctx, s.tenant, ruleChain, chainSubject); err != nil {
		return v, err
	}
	for _, d := range foreign {
		v.Breaches = append(v.Breaches, store.Breach{Kind: d.Kind, Day: d.Day, Text: d.Text, Remedy: remedyOf(d.Kind, d.Day)})
		if err := s.foreign(ctx, d); err != nil {
			return v, err
		}
	}
	for _, d := range ledger {
		v.Breaches = append(v.Breaches, store.Breach{Day: d.Day, Text: d.Text})
	}
	for _, text := range names {
		v.Breaches = append(v.Breaches, store.Breach{Text: text})
	}
	return v, nil
}

// settleDropped removes findings of days that were dropped and are older than a time: there
// is nothing left to look at.
func settleDropped(ctx context.Context, db *store.DB, tenant int, older time.Time) error {
	dropped, err := db.DroppedDays(ctx, tenant, "audit", 0, store.Day(older.AddDate(0, 0, -1)))
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, o := range dropped {
		gone[dayText(o.Day)] = true
	}
	findings, err := db.Findings(ctx, tenant)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if (f.Rule == ruleSeals || f.Rule == ruleForeign) && gone[f.Subject] {
			if err := db.Settle(ctx, tenant, f.Rule, f.Subject); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle removes the findings of earlier verifications.
func (s sealer) settle(ctx context.Context) error {
	findings, err := s.db.Findings(ctx, s.tenant)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Rule == ruleSeals || f.Rule == ruleForeign {
			if err := s.db.Settle(ctx, s.tenant, f.Rule, f.Subject); err != nil {
				return err
			}
		}
	}
	return nil
}
