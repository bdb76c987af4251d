package app

import (
	"errors"
	"fmt"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/consumer"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

func consumerCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consumer",
		Short: "Programs on this machine that take their certificate from reeve",
		Long: `A consumer is a program that takes an application's certificate, with its private
key, from the feed that "reeve serve" has on the address of its status page. Each has a
token of its own, for one application.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(consumerAddCommand(p), consumerListCommand(p), consumerRemoveCommand(p))
	return cmd
}

// consumerName is what a consumer may be called: it stands in headers, logs and tables.
var consumerName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$`)

func consumerAddCommand(p *program) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "add APPLICATION --name NAME",
		Short: "Admit a program, and print its token, once",
		Args:  cobra.ExactArgs(1),
		Example: `  reeve cert consumer add payroll --name payroll-api
  (umask 077; reeve cert consumer add payroll --name payroll-api > /etc/payroll/reeve-token)`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !consumerName.MatchString(name) {
				return failWith(exitUsage, "--name %q: give up to 64 letters, digits, dots, hyphens and underscores", name)
			}
			a, app, err := p.consumed(cmd, args[0])
			if err != nil {
				return err
			}
			defer a.Close()
			token, hash := consumer.NewToken()
			err = a.DB.AddConsumerToken(cmd.Context(), a.Tenant, store.ConsumerToken{
				ObjectID: app.ObjectID, Consumer: name, Hash: hash, By: actor(), At: p.now().UTC(),
			})
			if errors.Is(err, store.ErrExists) {
				return fmt.Errorf("application %s has a consumer %s already: take another name, or remove that one first", app.Name, name)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(p.Out, token)
			fmt.Fprintf(p.Err, "%s may take the certificate of %s. This token is not kept, and not shown again.\n", name, app.Name)
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what the program is called")
	return cmd
}

// admittedConsumer is a consumer, for people and programs.
type admittedConsumer struct {
	Application string     `json:"application"`
	ClientID    string     `json:"client_id"`
	Name        string     `json:"name"`
	By          string     `json:"by"`
	Made        time.Time  `json:"made"`
	Generation  int64      `json:"generation,omitempty"` // which it has; 0: it has not said
	Said        *time.Time `json:"said,omitempty"`
	Current     bool       `json:"current"`
}

func consumerListCommand(p *program) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [APPLICATION]",
		Short: "Which programs are admitted, and which certificate they have",
		Args:  cobra.MaximumNArgs(1),
		Example: `  reeve cert consumer list
  reeve cert consumer list payroll --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := p.certApp(cmd.Context())
			if err != nil {
				return err
			}
			defer a.Close()
			applications, err := a.DB.Applications(cmd.Context(), a.Tenant)
			if err == nil && len(args) > 0 {
				var one credential.Application
				one, err = oneApplication(applications, args[0])
				applications = []credential.Application{one}
			}
			if err != nil {
				return err
			}
			tokens, err := a.DB.ConsumerTokens(cmd.Context(), a.Tenant)
			if err != nil {
				return err
			}
			reports := []admittedConsumer{}
			for _, app := range applications {
				for _, t := range tokens {
					if t.ObjectID == app.ObjectID {
						reports = append(reports, describeConsumer(app, t))
					}
				}
			}
			if asJSON {
				return printJSON(p.Out, reports)
			}
			w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "application\tconsumer\tadmitted\tby\thas the current certificate")
			for _, r := range reports {
				has := "has not said"
				switch {
				case r.Current:
					has = "yes"
				case r.Said != nil:
					has = "no, an older one"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Application, r.Name, r.Made.Format(time.DateOnly), r.By, has)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func describeConsumer(app credential.Application, t store.ConsumerToken) admittedConsumer {
	r := admittedConsumer{Application: app.Name, ClientID: app.ClientID, Name: t.Consumer, By: t.By, Made: t.At}
	for _, c := range app.Consumers {
		if c.Name == t.Consumer {
			active, ok := app.Active()
			r.Generation, r.Said, r.Current = c.Generation, instant(c.At), ok && c.Generation == active.Generation
		}
	}
	return r
}

func consumerRemoveCommand(p *program) *cobra.Command {
	var name, why string
	cmd := &cobra.Command{
		Use:   "remove APPLICATION NAME",
		Short: "Take a program's token back, and forget it; nobody waits for it any more",
		Long: `remove takes the token of a program back, and forgets which certificate it had. An old
certificate is kept until all programs have the new one: one that will never come back
would have it kept until shortly before its end. The command is journaled.`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: p.completeConsumer,
		Example: `  reeve cert consumer remove payroll payroll-api --why ticket-4711`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				if name != "" && name != args[1] {
					return wrongFlag("name", errors.New("it is another name than that of the argument: leave one out"))
				}
				name = args[1]
			}
			if name == "" {
				return failWith(exitUsage, "which program? Name it after the application: reeve cert consumer list")
			}
			a, app, err := p.consumed(cmd, args[0])
			if err != nil {
				return err
			}
			defer a.Close()
			err = a.DB.RemoveConsumer(cmd.Context(), a.Tenant, app.ObjectID, name, actor(), why)
			if errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("application %s has no consumer %q: see reeve cert consumer list", app.Name, name)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(p.Err, "%s may not take the certificate of %s any more, and is not waited for. What it has it keeps: if it is not to be trusted, revoke that (reeve cert revoke).\n", name, app.Name)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "what the program is called, in place of the second argument")
	f.StringVar(&why, "why", "", "the reason, for the journal")
	return cmd
}

// completeConsumer completes the names of applications, and then of their consumers.
func (p *program) completeConsumer(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return p.completeApplication(cmd, args, text)
	}
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 1 {
		return nil, none
	}
	a, app, err := p.consumed(cmd, args[0])
	if err != nil {
		return nil, none
	}
	defer a.Close()
	tokens, err := a.DB.ConsumerTokens(cmd.Context(), a.Tenant)
	if err != nil {
		return nil, none
	}
	var names []string
	for _, t := range tokens {
		if t.ObjectID == app.ObjectID {
			names = append(names, t.Consumer)
		}
	}
	return names, none
}

// consumed opens the database, and finds an application.
func (p *program) consumed(cmd *cobra.Command, name string) (*App, credential.Application, error) {
	a, err := p.certApp(cmd.Context())
	if err != nil {
		return nil, credential.Application{}, err
	}
	all, err := a.DB.Applications(cmd.Context(), a.Tenant)
	var app credential.Application
	if err == nil {
		app, err = oneApplication(all, name)
	}
	if err != nil {
		a.Close()
		return nil, credential.Application{}, err
	}
	return a, app, nil
}
