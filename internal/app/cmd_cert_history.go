package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

// historyOptions are the flags of reeve cert history.
type historyOptions struct {
	credential     string
	verify, asJSON bool
}

func certHistoryCommand(p *program) *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:   "history [APP]",
		Short: "What was done to an application's certificates: when, by whom, why",
		Long: `history prints the journal of an application, oldest first: each intent before it was
carried out, how it ended, what people asked for, who took a private key out, and what
others did at Entra ID. The ids by which Microsoft's support finds a request stand in
brackets.

Nothing in reeve changes an entry. Each holds a digest over itself and the one before:
--verify checks that none was changed or taken out by other means, except for the
newest, and ends with the exit code 7 if one was.`,
		Example: `  reeve cert history
  reeve cert history reeve --verify
  reeve cert history reeve --credential 3F2A9C01 --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error { return p.certHistory(cmd.Context(), args, &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.credential, "credential", "", "only the entries about this certificate")
	f.BoolVar(&o.verify, "verify", false, "check that no entry was changed or taken out")
	f.BoolVar(&o.asJSON, "json", false, "print JSON, an entry a line")
	cmd.RegisterFlagCompletionFunc("credential", func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.completeApplication(cmd, args[:1], text)
	})
	return cmd
}

func (p *program) certHistory(ctx context.Context, args []string, o *historyOptions) error {
	a, err := p.certApp(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	app, err := a.choose(ctx, args)
	if err != nil {
		return err
	}
	only := ""
	switch {
	case o.credential != "":
		c, err := oneCredential(app.Application, o.credential)
		if err != nil {
			return err
		}
		only = c.ID
	case app.named != nil:
		only = app.named.ID
	}
	lines := json.NewEncoder(p.Out)
	lines.SetEscapeHTML(false)
	for after := int64(0); ; {
		page, err := a.DB.Journal(ctx, a.Tenant, app.ObjectID, after, 1000)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Seq
			if only != "" && e.Credential != only {
				continue
			}
			if o.asJSON {
				err = lines.Encode(e)
			} else {
				err = printHistory(p.Out, e, app.Application)
			}
			if err != nil {
				return fmt.Errorf("printing the journal: %w", err)
			}
		}
	}
	if !o.verify {
		return nil
	}
	n, err := a.DB.CheckJournal(ctx, a.Tenant, app.ObjectID)
	switch {
	case err != nil && exitCode(err) == exitDatabase:
		return err
	case err != nil:
		return failWith(exitCheck, "%w; of the journal of %s %d entries are as reeve wrote them", err, plain(app.Name), n)
	}
	if n == 1 {
		fmt.Fprintln(p.Err, "The one entry of the journal is as reeve wrote it.")
	} else {
		fmt.Fprintf(p.Err, "All %d entries of the journal are as reeve wrote them, one after the other.\n", n)
	}
	return nil
}

// printHistory prints a line of the journal with its number, who acted, and what
// Microsoft's support would ask for.
func printHistory(w io.Writer, e store.JournalEntry, app credential.Application) error {
	name := "-"
	if c, ok := app.Find(e.Credential); ok {
		name = short(nameOf(c))
	}
	var ids struct {
		Request     string `json:"request_id"`
		Trace       string `json:"trace_id"`
		Correlation string `json:"correlation_id"`
	}
	if len(e.Data) > 0 {
		_ = json.Unmarshal(e.Data, &ids) // other data has none of them
	}
	var shown []string
	for _, id := range [][2]string{{"request", ids.Request}, {"trace", ids.Trace}, {"correlation", ids.Correlation}} {
		if id[1] != "" {
			shown = append(shown, id[0]+" "+id[1])
		}
	}
	text := plain(e.Text)
	if len(shown) > 0 {
		text += " [" + plain(strings.Join(shown, ", ")) + "]"
	}
	line := fmt.Sprintf("%4d  %s  %-8s  %-11s  %-6s  %-12s  %s", e.Seq, e.At.UTC().Format("2006-01-02 15:04:05"), plain(e.Actor), e.Step, e.Outcome, name, text)
	_, err := fmt.Fprintln(w, strings.TrimRight(line, " "))
	return err
}
