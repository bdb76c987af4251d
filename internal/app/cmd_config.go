package app

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
)

func configCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", GroupID: "main",
		Short: "Show and check the settings",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON bool
	show := &cobra.Command{
		Use:   "show",
		Short: "Print every effective setting and where it comes from; secrets are hidden",
		Example: `  reeve config show
  REEVE_CLOUD=gcc-high reeve config show --config reeve.yaml --json`,
		RunE: func(*cobra.Command, []string) error {
			c, err := p.load(false)
			if err != nil {
				return err
			}
			if asJSON {
				type setting struct {
					Key    string `json:"key"`
					Value  string `json:"value"`
					Origin string `json:"origin"`
				}
				var all []setting
				for _, s := range c.Settings() {
					all = append(all, setting{s.Key, s.Value, s.Origin})
				}
				return printJSON(p.Out, map[string]any{"settings": all, "notices": c.Notices()})
			}
			printSettings(p.Out, c)
			p.notices(c)
			return nil
		},
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	validate := &cobra.Command{
		Use:   "validate",
		Short: "Check the settings, all that signing in needs included; nothing is sent",
		Example: `  reeve config validate --config reeve.yaml
  reeve config sample > reeve.yaml`,
		RunE: func(*cobra.Command, []string) error {
			c, err := p.load(true)
			if err != nil {
				return err
			}
			p.notices(c)
			fmt.Fprintln(p.Out, "The settings are complete and consistent.")
			return nil
		},
	}
	sample := &cobra.Command{
		Use:     "sample",
		Short:   "Print a configuration file with every setting and its meaning",
		Example: "  reeve config sample > reeve.yaml",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(p.Out, config.Sample())
			return err
		},
	}
	cmd.AddCommand(show, validate, sample)
	return cmd
}

func (p *program) notices(c *config.Config) {
	for _, n := range c.Notices() {
		fmt.Fprintf(p.Err, "note: %s.\n", n)
	}
}
