package app

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/m365"
)

// lookUpPage is where Microsoft explains a number of Entra ID's.
const lookUpPage = "https://login.microsoftonline.com/error?code="

func explainCommand(p *program) *cobra.Command {
	var list, asJSON bool
	cmd := &cobra.Command{
		Use: "explain CODE|TEXT|-", GroupID: "main",
		Short: "Say what an error of Microsoft's means, and who can mend it",
		Long: `explain says what a code of Microsoft's means: why it comes, what to do, who can do it,
whether waiting helps, and where it is documented. It knows those of signing in
(AADSTS), of Microsoft Graph, Key Vault, the Management Activity API and the log
queries, and what goes wrong on the network.

Give it a code, or paste the whole error, the body of an answer or a line of a log:
it finds the codes, the particular reason, and what the text tells besides, such as
the thumbprint that was used. With - it reads standard input. It asks nobody, and
prints no token that is in the text.`,
		Example: `  reeve explain 700027
  reeve explain ForbiddenByRbac
  reeve explain 'AADSTS700024: Client assertion is not within its valid time range. …'
  tail reeve.log | reeve explain -`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case list && len(args) > 0:
				return errors.New("--list takes no text")
			case !list && strings.TrimSpace(strings.Join(args, "")) == "":
				return fmt.Errorf("%s needs a code or a text, or - for standard input; --list shows what it knows", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if list {
				return p.listExplanations(asJSON)
			}
			text := strings.Join(args, " ")
			if text == "-" {
				const most = 1 << 20 // of a log, more than anybody reads
				input, err := io.ReadAll(io.LimitReader(p.In, most))
				if err != nil {
					return fmt.Errorf("reading standard input: %w", err)
				}
				text = string(input)
			}
			return p.explain(m365.Explain(text), asJSON)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "print every code that there is an explanation for")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) listExplanations(asJSON bool) error {
	all := m365.Explanations()
	if asJSON {
		return printJSON(p.Out, all)
	}
	api := ""
	for _, x := range all {
		if x.API != api {
			fmt.Fprintf(p.Out, "%s\n", x.API)
			api = x.API
		}
		fmt.Fprintf(p.Out, "  %-40s %s\n", x.Code, x.Title)
	}
	return nil
}

// explained is a reading as JSON.
type explained struct {
	m365.Reading
	LookUp []string `json:"look_up"` // pages of Microsoft's about the unknown ones
}

// explain prints what a text tells; that it tells nothing is an error.
func (p *program) explain(r m365.Reading, asJSON bool) error {
	pages := []string{}
	for _, code := range r.Unknown {
		if number, ok := strings.CutPrefix(code, "AADSTS"); ok {
			pages = append(pages, lookUpPage+number)
		}
	}
	if asJSON {
		if err := printJSON(p.Out, explained{r, pages}); err != nil {
			return err
		}
	} else {
		p.printReading(r)
	}
	if len(r.Explanations) > 0 {
		return nil
	}
	return failWith(exitFailure, "%s", unexplained(r, pages))
}

func (p *program) printReading(r m365.Reading) {
	for i, x := range r.Explanations {
		if i > 0 {
			fmt.Fprintln(p.Out)
		}
		fmt.Fprintf(p.Out, "%s, %s\n", x.Code, x.Title)
		printExplanation(p.Out, x)
	}
	if len(r.Facts) > 0 && len(r.Explanations) > 0 {
		fmt.Fprintf(p.Out, "\nThe text says:\n")
		for _, f := range r.Facts {
			fmt.Fprintf(p.Out, "  %s: %s\n", f.Name, f.Value)
		}
	}
	if len(r.Unknown) > 0 && len(r.Explanations) > 0 {
		fmt.Fprintf(p.Out, "\nNot explained: %s\n", strings.Join(r.Unknown, ", "))
	}
}

// printExplanation prints all but the title.
func printExplanation(w io.Writer, x m365.Explanation) {
	for _, row := range [][2]string{
		{"cause:", x.Cause}, {"remedy:", x.Remedy}, {"who:", strings.Join(x.Who, ", or ")}, {"waiting:", x.Waiting}, {"more:", x.Source},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %-8s %s\n", row[0], indent(row[1]))
		}
	}
}

// unexplained says that a text tells nothing, and where else to look.
func unexplained(r m365.Reading, pages []string) string {
	if len(r.Unknown) == 0 {
		return "there is no code of Microsoft's in this that reeve can find; 'reeve explain --list' shows those that it knows"
	}
	b := new(strings.Builder)
	fmt.Fprintf(b, "%s is not explained here", strings.Join(r.Unknown, ", "))
	if len(pages) > 0 {
		fmt.Fprintf(b, "; Microsoft does at %s", strings.Join(pages, " and "))
	}
	if len(r.Near) > 0 {
		fmt.Fprintf(b, "; did you mean %s?", strings.Join(r.Near, ", "))
	}
	return b.String()
}
