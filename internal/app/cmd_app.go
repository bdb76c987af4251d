package app

import "github.com/spf13/cobra"

func appCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "app", GroupID: "main",
		Short: "Register reeve's application, and say what it needs",
	}
	cmd.AddCommand(appScriptCommand(p), appConsentCommand(p))
	return cmd
}
