package app

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/m365"
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
		Use:     "validate",
		Short:   "Check the settings, the certificate's file included; nothing is sent",
		Example: `  reeve config validate --config reeve.yaml`,
		RunE: func(*cobra.Command, []string) error {
			c, err := p.load(true)
			if err != nil {
				return err
			}
			p.notices(c)
			if err := p.checkFiles(c); err != nil {
				return err
			}
			if a := c.Feeds.Audit; a.Enabled && len(a.OrgURLs) == 0 && !a.ImportEverything {
				fmt.Fprintln(p.Err, "note: feeds.audit.org-urls is empty, so the records of every site, everybody's OneDrive included, will be imported: list the sites that are wanted, or set feeds.audit.import-everything to say that this is meant.")
			}
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

// checkFiles opens the files that signing in needs. What is in a Key Vault is not
// looked at.
func (p *program) checkFiles(c *config.Config) error {
	var cloud m365.Cloud
	if _, err := signInTo(c, &cloud); err != nil {
		return err
	}
	if c.Auth.Method != string(m365.MethodCertificate) {
		return nil
	}
	if c.Auth.InVault() {
		fmt.Fprintln(p.Err, "note: the certificate is in a Key Vault, which was not asked; 'reeve token --claims' proves it.")
		return nil
	}
	if c.Auth.Own() {
		fmt.Fprintln(p.Err, "note: the certificate is the one that reeve looks after itself; 'reeve cert show' shows it, and 'reeve token --claims' proves it.")
		return nil
	}
	ref, err := certstore.ParseReference(c.Auth.Certificate)
	if err != nil {
		return failWith(exitConfig, "auth.certificate: %w", err)
	}
	pair, err := certstore.File(ref.Path, c.Auth.CertificatePassword.Reveal())
	if err == nil {
		err = pair.UsableForSignIn(p.now())
	}
	if err != nil {
		return failWith(exitConfig, "auth.certificate: %w", err)
	}
	return nil
}

func (p *program) notices(c *config.Config) {
	for _, n := range c.Notices() {
		fmt.Fprintf(p.Err, "note: %s.\n", n)
	}
}
