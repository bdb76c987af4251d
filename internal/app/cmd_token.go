package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/sample"
)

// signInNow says who signs in, and with what: the certificate that reeve looks after
// itself, if it does, and else that of auth.certificate.
func (p *program) signInNow(ctx context.Context, a *App) (m365.SignIn, error) {
	if !missing(a.Config) {
		err := a.open(ctx, p)
		var active pki.Pair
		if err == nil {
			active, _, err = a.managed(ctx)
		}
		switch {
		case err != nil:
			fmt.Fprintf(p.Err, "note: whether reeve looks after the certificate itself could not be seen, so the one of auth.certificate is used: %v\n", err)
		case active.Certificate != nil:
			s := signInAs(a.Config)
			s.Pair = active
			return s, nil
		}
	}
	return signIn(ctx, a.Config, a.Cloud, a.http)
}

func tokenCommand(p *program) *cobra.Command {
	var resource string
	var claims, asJSON bool
	var explain explainFlags
	cmd := &cobra.Command{
		Use: "token", GroupID: "main",
		Short: "Obtain an access token: the proof that signing in works",
		Long: `token signs in as configured and prints an access token for a resource. The token
is a secret for as long as it lives, about an hour. With --claims it prints what
the token says instead: who it is for, which permissions (roles) it carries.`,
		Example: `  reeve token --claims
  curl -H "Authorization: Bearer $(reeve token --resource graph)" https://graph.microsoft.com/v1.0/organization`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := explain.check(cmd, claims, asJSON); err != nil {
				return err
			}
			c, err := p.load(true)
			if err != nil {
				return err
			}
			p.notices(c)
			a := &App{Config: c, log: p.certLogger(c), now: p.now}
			defer a.Close()
			client, err := signInTo(c, &a.Cloud)
			if err != nil {
				return err
			}
			a.http = client
			cloud := a.Cloud
			s, err := p.signInNow(cmd.Context(), a)
			if err != nil {
				return err
			}
			if s.Pair.Certificate != nil {
				fmt.Fprintf(p.Err, "certificate %s, thumbprint %s, until %s, %d days left\n", plain(s.Pair.Certificate.Subject.String()),
					pki.SHA1(s.Pair.Certificate), s.Pair.Certificate.NotAfter.UTC().Format(time.RFC3339), s.Pair.DaysLeft(p.now()))
				if err := s.Pair.UsableForSignIn(p.now()); err != nil {
					return failWith(exitSignIn, "the certificate of auth.certificate cannot sign in: %w", err)
				}
			}
			audience := map[string]string{"manage": cloud.ManageAudience, "graph": cloud.GraphAudience,
				"vault": cloud.VaultAudience, "logs": cloud.LogsAudience}[resource]
			if audience == "" {
				audience = resource
			}
			if explain.explain {
				return p.explainToken(cmd.Context(), a, s, audience, asJSON, explain)
			}
			credential, err := m365.NewCredential(cloud, s, client)
			if err != nil {
				return coded{exitConfig, err}
			}
			token, err := m365.Token(cmd.Context(), credential, audience)
			if err != nil {
				return err
			}
			header, says, err := m365.Claims(token.Token)
			if err != nil && (claims || asJSON) {
				return err
			}
			switch {
			case claims:
				return printJSON(p.Out, says)
			case asJSON:
				return printJSON(p.Out, map[string]any{"resource": audience, "expires_at": token.ExpiresOn.UTC(),
					"access_token": token.Token, "header": header, "claims": says})
			}
			_, err = fmt.Fprintln(p.Out, token.Token)
			return err
		},
	}
	cmd.Flags().StringVar(&resource, "resource", "manage", "manage, graph, vault, logs, or the URI of another resource")
	cmd.Flags().BoolVar(&claims, "claims", false, "print the decoded claims instead of the token")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print token, expiry and claims as JSON")
	cmd.Flags().BoolVar(&explain.explain, "explain", false, "explain the request for the token, and the answer")
	cmd.Flags().StringVar(&explain.as, "as", "", "with --explain: print the request to be run, as "+strings.Join(sample.Forms(), ", "))
	complete(cmd, "as", sample.Forms())
	cmd.Flags().BoolVar(&explain.reveal, "reveal", false, "with --explain: with the assertion and the token in it, which are secrets")
	cmd.RegisterFlagCompletionFunc("resource", cobra.FixedCompletions([]string{"manage", "graph", "vault", "logs"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
