package app

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/store"
)

func auditCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", GroupID: "main",
		Short: "Look at imported audit records",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON, raw bool
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Print one record whole, as Microsoft sent it",
		Long: `show finds a record by its Id, wherever it is: among the stored ones, in
quarantine, or left out by the scope. It prints the record as it came.`,
		Example: `  reeve audit show 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2
  reeve audit show 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 --raw | jq .Workload`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s takes the Id of one record, and got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withTenant(cmd.Context(), func(c *config.Config, db *store.DB, tenant int) error {
				found, err := db.Record(cmd.Context(), tenant, args[0])
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("there is no record with the Id %s in %s", args[0], c.Database.URL)
				}
				if err != nil {
					return err
				}
				return p.printRecords(found, asJSON, raw)
			})
		},
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON that also tells state, content type and blob")
	show.Flags().BoolVar(&raw, "raw", false, "print the record byte for byte, not laid out")
	cmd.AddCommand(show)
	return cmd
}

func (p *program) printRecords(found []store.Found, asJSON, raw bool) error {
	if asJSON {
		type record struct {
			State       string          `json:"state"`
			Detail      string          `json:"detail,omitempty"`
			ContentType string          `json:"content_type,omitempty"`
			Blob        string          `json:"blob,omitempty"`
			Record      json.RawMessage `json:"record,omitempty"`
			Text        string          `json:"text,omitempty"` // of a record that is no JSON
		}
		var all []record
		for _, f := range found {
			r := record{State: f.State, Detail: f.Detail, ContentType: f.Part, Blob: f.Blob}
			if json.Valid(f.Raw) {
				r.Record = f.Raw
			} else {
				r.Text = string(f.Raw)
			}
			all = append(all, r)
		}
		return printJSON(p.Out, all)
	}
	for _, f := range found {
		fmt.Fprintf(p.Err, "%s", f.State)
		if f.Part != "" {
			fmt.Fprintf(p.Err, ", from %s, blob %s", f.Part, f.Blob)
		}
		if f.Detail != "" {
			fmt.Fprintf(p.Err, ": %s", plain(f.Detail))
		}
		fmt.Fprintln(p.Err)
		text := jsontext.Value(f.Raw)
		if !raw {
			// What is no JSON stays as it is.
			_ = text.Indent(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true),
				jsontext.PreserveRawStrings(true), jsontext.WithIndent("  "))
		}
		switch {
		case len(text) == 0:
		case !raw && p.showsOut():
			fmt.Fprintln(p.Out, visible(text))
		default:
			fmt.Fprintf(p.Out, "%s\n", text)
		}
	}
	return nil
}
