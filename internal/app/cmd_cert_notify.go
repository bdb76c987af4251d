package app

import (
	"context"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/notify"
)

func certNotifyCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "notify [APP]",
		Short: "Send a test notice, and say who got it",
		Long: `notify sends a notice that says it is a test to all who are told of certificates
(notify.mail and notify.webhook in the configuration), or to those whom the policy of
an application names. It says of each whether they took it, and if not, why. It is sent
once, at once, and recorded nowhere.

The exit code is 7 if somebody did not get it, or nobody is told at all.`,
		Example: `  reeve cert notify
  reeve cert notify reeve --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return p.withApplication(cmd.Context(), args, func(a *App, app credential.Application) error {
					return p.certNotify(cmd.Context(), a, &app, asJSON)
				})
			}
			c, err := p.load(false)
			if err != nil {
				return err
			}
			return p.certNotify(cmd.Context(), &App{Config: c, log: p.certLogger(c), now: p.now}, nil, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// attemptReport is how telling somebody ended.
type attemptReport struct {
	Target string `json:"target"`
	Sent   bool   `json:"sent"`
	Error  string `json:"error,omitempty"`
}

// certNotify sends the test to those of an application, or to all if it is nil.
func (p *program) certNotify(ctx context.Context, a *App, app *credential.Application, asJSON bool) error {
	sender, err := a.notifierTrusting()
	if err != nil {
		return err
	}
	now, names, whom := a.now().UTC(), []string(nil), "anybody"
	e := notify.Event{
		ID: "test/" + now.Format("20060102T150405.000Z"), At: now, Kind: "test", Severity: notify.Info,
		Subject: "a test: notices of reeve arrive here",
		Text:    "Somebody (" + actor() + ") wanted to see whether notices arrive. Nothing has happened, and nothing has to be done.",
	}
	if app != nil {
		names, whom = app.Policy.Notify, app.Name
		e.Fields = append(e.Fields, notify.Field{Name: "application", Value: app.Name}, notify.Field{Name: "client ID", Value: app.ClientID})
	}
	attempts, err := sender.Try(ctx, e, names)
	if err != nil {
		return err
	}
	reports, failed := []attemptReport{}, 0
	for _, t := range attempts {
		r := attemptReport{Target: t.Target, Sent: t.Err == nil}
		if t.Err != nil {
			r.Error = t.Err.Error()
			failed++
		}
		reports = append(reports, r)
	}
	for _, name := range names {
		if name != "log" && !slices.ContainsFunc(reports, func(r attemptReport) bool { return r.Target == name }) {
			reports = append(reports, attemptReport{Target: name, Error: "nobody is told by that name: see notify.mail and notify.webhook in the configuration"})
			failed++
		}
	}
	if asJSON {
		err = printJSON(p.Out, map[string]any{"ok": failed == 0 && len(reports) > 0, "id": e.ID, "results": reports})
	} else {
		t := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
		for _, r := range reports {
			if r.Sent {
				fmt.Fprintf(t, "sent\t%s\n", plain(r.Target))
			} else {
				fmt.Fprintf(t, "failed\t%s: %s\n", plain(r.Target), plain(r.Error))
			}
		}
		err = t.Flush()
	}
	switch {
	case err != nil:
		return err
	case len(reports) == 0:
		return failWith(exitCheck, "nothing was sent: of the certificates of %s the log alone is told; set notify.mail or notify.webhook in the configuration, and name them in the policy (notify)", plain(whom))
	case failed > 0:
		return failWith(exitCheck, "%d of %d who are to be told did not get it", failed, len(reports))
	}
	fmt.Fprintf(p.Err, "%s took it over: look for %q where it arrives.\n", counted(len(reports), "target"), e.Subject)
	return nil
}

// notifierTrusting is the notifier with the authorities that ca-file names.
func (a *App) notifierTrusting() (*notify.Sender, error) {
	var ca []byte
	if a.Config.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(a.Config.CAFile); err != nil {
			return nil, failWith(exitConfig, "reading ca-file: %w", err)
		}
	}
	return a.notifier(ca)
}
