package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/notify"
	"github.com/reeve365/reeve/internal/rotate"
)

func certListCommand(p *program) *cobra.Command {
	var o inventoryOptions
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "The applications that reeve looks after, or what expires in the whole tenant",
		Long: `list shows, in a line for each application that reeve looks after, which certificate
is in use and until when, which one waits, until when one that was replaced stays
usable, and what is done next.

With --all it asks Graph for all applications of the tenant, and lists the
certificates and client secrets that have expired or end soon, whoever looks after
them. A list that could not be read to its end is not shown.`,
		Example: `  reeve cert list
  reeve cert list --all
  reeve cert list --all --within 30d --service-principals --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all {
				return p.certInventory(cmd.Context(), &o, asJSON)
			}
			for _, name := range []string{"within", "service-principals"} {
				if cmd.Flags().Changed(name) {
					return wrongFlag(name, fmt.Errorf("it is about the whole tenant: give --all as well"))
				}
			}
			return p.certList(cmd.Context(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list what expires of all applications of the tenant")
	o.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) certList(ctx context.Context, asJSON bool) error {
	a, err := p.certApp(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	apps, err := a.DB.Applications(ctx, a.Tenant)
	if err != nil {
		return err
	}
	reports := []applicationReport{}
	for _, app := range apps {
		reports = append(reports, a.report(app))
	}
	if asJSON {
		return printJSON(p.Out, reports)
	}
	if len(reports) == 0 {
		fmt.Fprintln(p.Err, "reeve looks after no application yet: reeve cert adopt"+lost(a.Config))
		return nil
	}
	now := p.now()
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tMODE\tACTIVE\tUNTIL\tSTANDBY\tDRAINS UNTIL\tNEXT\tFINDINGS")
	for _, r := range reports {
		active, until, standby, drains, next := "-", "-", "-", "-", "-"
		if r.Active != nil {
			active, until = short(nameOf(*r.Active)), r.Active.NotAfter.Format(time.DateOnly)
		}
		if r.Standby != nil {
			standby = short(nameOf(*r.Standby))
		}
		if r.Drains != nil {
			drains = r.Drains.UTC().Format("2006-01-02 15:04")
		}
		if r.Next != nil {
			next = fmt.Sprintf("%s %s", r.Next.Action, when(r.Next.At, now))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(r.Name), r.Mode, active, until, standby, drains, next, countFindings(r.Findings))
	}
	return t.Flush()
}

// countFindings is how many findings of each severity there are.
func countFindings(found []assessment) string {
	var parts []string
	for _, severity := range []credential.Severity{credential.Critical, credential.Warning, credential.Info} {
		n := 0
		for _, f := range found {
			if f.Severity == severity {
				n++
			}
		}
		if n > 0 {
			text := fmt.Sprintf("%d %s", n, severity)
			if severity == credential.Warning {
				text = counted(n, "warning")
			}
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// showReport is all that is known of an application.
type showReport struct {
	applicationReport
	Policy      credential.Policy        `json:"policy"`
	Generation  int64                    `json:"generation"`
	Credentials []credential.Credential  `json:"credentials"`
	AtEntra     []credential.ObservedKey `json:"at_entra"`
	Observed    *time.Time               `json:"observed,omitempty"` // when Entra ID was last read
	Unseen      string                   `json:"unseen,omitempty"`   // why it could not be read since
	Wishes      []credential.Wish        `json:"wishes"`
	Consumers   []credential.Consumer    `json:"consumers"`
	Deploys     []credential.Deploy      `json:"deploys"`
	Steps       []stepReport             `json:"steps"`
	Unsent      []unsentReport           `json:"unsent"` // notices, of whatever application
}

// unsentReport is who was not told of something yet.
type unsentReport struct {
	Target  string    `json:"target"`
	Notices int       `json:"notices"`
	Since   time.Time `json:"since"`
	Again   time.Time `json:"again"`
	Error   string    `json:"error"`
}

func (a *App) show(ctx context.Context, app credential.Application) (showReport, error) {
	arrears, err := notify.Arrears(ctx, a.DB, a.Tenant)
	if err != nil {
		return showReport{}, err
	}
	s := showReport{applicationReport: a.report(app), Policy: app.Policy, Generation: app.Generation,
		Credentials: app.In(credential.States()...), AtEntra: app.Observed.Keys, Wishes: app.Wishes, Consumers: app.Consumers, Deploys: app.Deploys, Unseen: app.Observed.Error}
	if !app.Observed.At.IsZero() {
		s.Observed = &app.Observed.At
	}
	for _, step := range s.steps {
		s.Steps = append(s.Steps, reportStep(app, step))
	}
	s.Unsent = []unsentReport{}
	for _, r := range arrears {
		if len(app.Policy.Notify) == 0 || slices.Contains(app.Policy.Notify, r.Target) {
			s.Unsent = append(s.Unsent, unsentReport(r))
		}
	}
	return s, nil
}

func certShowCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [APP]",
		Short: "All that is known of an application's certificates",
		Long: `show tells the policy of an application, its certificates and how far each has come,
what Entra ID has and whose that is, what is wrong and what to do about it, who uses
the certificates, and what is done next. It reads what is recorded, and asks nobody.`,
		Example: `  reeve cert show
  reeve cert show reeve --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := p.certApp(cmd.Context())
			if err != nil {
				return err
			}
			defer a.Close()
			app, err := a.choose(cmd.Context(), args)
			if err != nil {
				return err
			}
			s, err := a.show(cmd.Context(), app.Application)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Out, s)
			}
			printShow(p.Out, s, p.now())
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printShow(w io.Writer, s showReport, now time.Time) {
	fmt.Fprintf(w, "%s, mode %s\n  client ID %s, object ID %s, tenant %s\n", plain(s.Name), s.Mode, s.ClientID, s.ObjectID, s.TenantID)
	section := func(title string, n int) bool {
		if n > 0 {
			fmt.Fprintf(w, "\n%s\n", title)
		}
		return n > 0
	}
	if section("Findings", len(s.Findings)) {
		printFindings(w, s.Findings)
	}
	table := func(row func(io.Writer)) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		row(t)
		t.Flush()
	}
	live := slices.DeleteFunc(slices.Clone(s.Credentials), func(c credential.Credential) bool { return c.State == credential.Destroyed })
	if section("Certificates of reeve's", len(live)) {
		table(func(t io.Writer) {
			for _, c := range live {
				until, proved := "-", "not proved"
				if !c.NotAfter.IsZero() {
					until = "until " + utc(c.NotAfter)
				}
				if at := c.Proved(s.Policy.Resources); !at.IsZero() {
					proved = "proved " + utc(at)
				}
				fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", nameOf(c), c.State, until, proved, c.Store)
				if c.State == credential.Draining && !c.DrainUntil.IsZero() {
					fmt.Fprintf(t, "    it stays usable until %s\n", utc(c.DrainUntil))
				}
				if !c.Missing.IsZero() || gone(s.application, c) {
					fmt.Fprintf(t, "    Entra ID has it no more: it signs nobody in\n")
				}
				if c.Error != "" {
					fmt.Fprintf(t, "    %s\n", plain(c.Error))
				}
			}
		})
	}
	if gone := len(s.Credentials) - len(live); gone > 0 {
		fmt.Fprintf(w, "  and %d whose private keys are destroyed: reeve cert history\n", gone)
	}
	switch {
	case s.Observed == nil && s.Unseen == "":
		fmt.Fprint(w, "\nEntra ID was not looked at yet\n")
	case s.Observed == nil:
		fmt.Fprintf(w, "\nEntra ID could not be looked at: %s\n", plain(s.Unseen))
	default:
		fmt.Fprintf(w, "\nAt Entra ID, as of %s\n", utc(*s.Observed))
		if s.Unseen != "" {
			fmt.Fprintf(w, "  not seen since: %s\n", plain(s.Unseen))
		}
		table(func(t io.Writer) { printKeys(t, s.AtEntra) })
	}
	if section("Programs that take it from reeve", len(s.Consumers)) {
		table(func(t io.Writer) {
			for _, c := range s.Consumers {
				state := "has the newest"
				if c.Generation < s.Generation {
					state = "has an older one"
				}
				fmt.Fprintf(t, "  %s\t%s\t%s\n", plain(c.Name), state, utc(c.At))
			}
		})
	}
	if section("Commands and webhooks to be run", len(s.Deploys)) {
		for _, d := range s.Deploys {
			fmt.Fprintf(w, "  %s, tried %s, next %s %s\n", plain(d.Hook), counted(d.Attempts, "time"), when(d.DueAt, now), plain(d.Error))
		}
	}
	if section("Notices that did not arrive yet", len(s.Unsent)) {
		for _, u := range s.Unsent {
			fmt.Fprintf(w, "  %s, %s since %s, again %s: %s\n", plain(u.Target), counted(u.Notices, "notice"), utc(u.Since), when(u.Again, now), plain(u.Error))
		}
	}
	if section("Asked for", len(s.Wishes)) {
		for _, wish := range s.Wishes {
			line := fmt.Sprintf("  %s, by %s at %s", wish.Kind, plain(wish.By), utc(wish.At))
			if wish.Why != "" {
				line += ": " + plain(wish.Why)
			}
			fmt.Fprintln(w, line)
		}
	}
	if section("Next", len(s.Steps)) {
		table(func(t io.Writer) {
			for _, step := range s.Steps {
				fmt.Fprintf(t, "  %s\t%s\t%s\n", when(step.At, now), plain(step.what()), plain(step.Why))
			}
		})
	}
	fmt.Fprint(w, "\nPolicy\n")
	printPolicy(w, s.Policy)
}

// printKeys lists what Entra ID has.
func printKeys(w io.Writer, keys []credential.ObservedKey) {
	if len(keys) == 0 {
		fmt.Fprintln(w, "  neither certificates nor client secrets")
	}
	for _, k := range keys {
		what, whose, name := "certificate", "not reeve's", k.SHA1
		if k.Secret {
			what = "client secret"
		}
		if k.Ours != "" {
			whose = "reeve's"
		}
		if name == "" {
			name = k.KeyID
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\tuntil %s\t%s\n", what, name, whose, utc(k.End), plain(k.Name))
	}
}

func certPlanCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan [APP]",
		Short: "What is done next, when and why, and the requests to Microsoft that it takes",
		Long: `plan lists what is planned for all applications, or for one, soonest first, as it
would be done if nothing changed until then. Of one application it shows the requests as
they would be sent, by which steps change it at Graph or sign in; of several, in a line
for each step, what is more than looking and proving again, which is done all the time.
--json has all of it for each. Nothing is done, and nobody is asked.`,
		Example: `  reeve cert plan
  reeve cert plan reeve --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			a, err := p.certApp(ctx)
			if err != nil {
				return err
			}
			defer a.Close()
			apps, err := a.DB.Applications(ctx, a.Tenant)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				app, err := a.choose(ctx, args)
				if err != nil {
					return err
				}
				apps = []credential.Application{app.Application}
			}
			steps, left := []stepReport{}, 0
			r := a.planner()
			for _, app := range apps {
				for _, s := range r.Steps(app) {
					if len(apps) > 1 && !asJSON && routine(app, s) {
						left++
						continue
					}
					report := reportStep(app, s)
					report.Application = app.Name
					at := s.At
					if at.Before(p.now()) {
						at = p.now()
					}
					if len(apps) == 1 || asJSON {
						if report.Requests, err = r.Requests(ctx, app, s, at); err != nil {
							return err
						}
					}
					steps = append(steps, report)
				}
			}
			slices.SortStableFunc(steps, func(x, y stepReport) int { return x.At.Compare(y.At) })
			if asJSON {
				return printJSON(p.Out, steps)
			}
			if len(steps) == 0 {
				fmt.Fprintln(p.Err, "nothing is planned")
			}
			if len(apps) > 1 {
				return p.printPlans(steps, left)
			}
			requests := requestPrinter{}
			for _, s := range steps {
				fmt.Fprintf(p.Out, "%s  %s: %s: %s\n", when(s.At, p.now()), plain(s.Application), plain(s.what()), plain(s.Why))
				requests.print(p.Out, s.Requests)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printPlans prints what is planned for several applications.
func (p *program) printPlans(steps []stepReport, left int) error {
	t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	if len(steps) > 0 {
		fmt.Fprintln(t, "WHEN\tAPPLICATION\tSTEP\tWHY")
	}
	for _, s := range steps {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", when(s.At, p.now()), plain(s.Application), plain(s.what()), plain(s.Why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(p.Err, "Looking and proving again is left out (%s): reeve cert plan APP has it, and the requests to Microsoft.\n", counted(left, "step"))
	}
	return nil
}

func certRehearseCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rehearse [APP]",
		Short: "Try everything that a renewal needs, short of changing anything",
		Long: `rehearse signs in with the certificate in use and with the one that waits, for each
resource; reads the application at Graph; keeps, reads back and deletes a throw-away
key in the certificate store; looks whether live places can be written, hooks are there
and the clock is right. What cannot be tried without changing something is not tried:
how it would be done is said.

The exit code is 7 if something failed.`,
		Example: `  reeve cert rehearse
  reeve cert rehearse reeve --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			a, err := p.certAppSignedIn(ctx)
			if err != nil {
				return err
			}
			defer a.Close()
			app, err := a.choose(ctx, args)
			if err != nil {
				return err
			}
			r, err := a.rotation(ctx, nil)
			if err != nil {
				return err
			}
			return p.printRehearsal(app.Application, r.Rehearse(ctx, app.Application), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) printRehearsal(app credential.Application, all []rotate.Rehearsed, asJSON bool) error {
	failed := 0
	for i := range all {
		if all[i].Result == rotate.ResultFailed {
			failed++
		}
	}
	if asJSON {
		if err := printJSON(p.Out, map[string]any{"application": app.Name, "client_id": app.ClientID, "ok": failed == 0, "results": all}); err != nil {
			return err
		}
	} else {
		for _, h := range all {
			fmt.Fprintf(p.Out, "%-7s  %s: %s\n", h.Result, plain(h.What), plain(h.Text))
			if h.Remedy != "" && h.Result != rotate.ResultOK {
				fmt.Fprintf(p.Out, "         remedy: %s\n", plain(h.Remedy))
			}
		}
	}
	if failed > 0 {
		return failWith(exitCheck, "%d of %d things that a renewal of %s needs do not work", failed, len(all), plain(app.Name))
	}
	return nil
}
