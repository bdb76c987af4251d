package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/handout"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
)

type consentFlags struct {
	feedFlags
	format, name, out      string
	named                  bool // by --name
	offline, force, asJSON bool
}

func appConsentCommand(p *program) *cobra.Command {
	var o consentFlags
	formats := []string{"html", "markdown", "json"}
	cmd := &cobra.Command{
		Use:   "consent",
		Short: "Write the consent pack: each permission, why, and how to take it back",
		Long: `consent writes a page for the administrator who has to consent: each permission of
the chosen feeds with what it is for, what it opens, what reeve can never do with it,
what is missing without it and whether less would do; what is granted now and not
needed; the link to consent, how to check, and how to take it back.

What is granted now it reads from tokens that reeve gets for itself, which needs no
permission. --offline asks nobody, and the page says that it was not read.`,
		Example: `  reeve app consent --out consent.html
  reeve app consent --format markdown --feeds audit,users,usage
  reeve app consent --json --offline`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.asJSON {
				if cmd.Flags().Changed("format") && o.format != "json" {
					return wrongFlag("json", errors.New("--format is "+o.format))
				}
				o.format = "json"
			}
			if !slices.Contains(formats, o.format) {
				return wrongFlag("format", fmt.Errorf("%q is none of %s", o.format, strings.Join(formats, ", ")))
			}
			o.named = cmd.Flags().Changed("name")
			return p.appConsent(cmd.Context(), &o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "html", "one of "+strings.Join(formats, ", "))
	o.feedFlags.flags(cmd)
	f.StringVar(&o.name, "name", defaultName, "the name of the application, instead of the one under which it was set up")
	f.StringVar(&o.out, "out", "", "write into this file instead of to standard output")
	f.BoolVar(&o.force, "force", false, "replace the file if it is there")
	f.BoolVar(&o.offline, "offline", false, "do not read what is granted now")
	f.BoolVar(&o.asJSON, "json", false, "the same as --format json")
	cmd.MarkFlagFilename("out")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (p *program) appConsent(ctx context.Context, o *consentFlags) error {
	feeds, err := o.feeds()
	if err != nil {
		return err
	}
	c, cloud, err := p.tenantAndCloud()
	if err != nil {
		return err
	}
	if !o.named {
		o.name = cmp.Or(p.nameOfRecord(ctx, c), defaultName)
	}
	pack := handout.Pack{
		Cloud: cloud.Name, Authority: strings.TrimSuffix(cloud.AuthorityHost, "/"), TenantID: c.TenantID, ClientID: c.ClientID, Name: o.name,
		At: p.now(), Feeds: feeds, Optional: o.optional, Sites: c.Feeds.Audit.OrgURLs,
	}
	if c.ClientID != "" && !o.offline {
		if pack.Granted, err = p.granted(ctx); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			fmt.Fprintf(p.Err, "note: what is granted could not be read, and the page says so (--offline does not try): %v\n", err)
			if text := remedy(err); text != "" {
				fmt.Fprintf(p.Err, "  remedy: %s\n", indent(text))
			}
		} else {
			pack.Source = "reeve's own tokens had it when this page was made; permissions of APIs that it does not use are not seen that way, and a grant can take an hour to show"
		}
	}
	content, err := pack.Consent()
	if err != nil {
		return coded{exitUsage, err}
	}
	var text []byte
	switch o.format {
	case "html":
		text, err = content.HTML()
	case "markdown":
		text, err = content.Markdown()
	default:
		var b strings.Builder
		err = printJSON(&b, content)
		text = []byte(b.String())
	}
	if err != nil {
		return err
	}
	return p.handOut(o.out, text, o.force)
}

// nameOfRecord is how the application of client-id was called when it was set up; "" where
// that is not recorded, or cannot be read.
func (p *program) nameOfRecord(ctx context.Context, c *config.Config) string {
	if c.ClientID == "" || missing(c) {
		return ""
	}
	a, err := p.openCert(ctx, c)
	if err == nil {
		defer a.Close()
		var all []kept
		if all, err = a.registrations(ctx); err == nil {
			for _, k := range all {
				if strings.EqualFold(k.ClientID, c.ClientID) {
					return k.Name
				}
			}
		}
	}
	if err != nil {
		fmt.Fprintf(p.Err, "note: how the application was called when it was set up could not be read (--name says it): %v\n", err)
	}
	return ""
}

// granted reads the permissions that reeve has from tokens of its own.
func (p *program) granted(ctx context.Context) ([]permission.Permission, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := p.load(true)
	if err != nil {
		return nil, err
	}
	a := &App{Config: c, log: p.certLogger(c), now: p.now}
	defer a.Close()
	if a.http, err = signInTo(c, &a.Cloud); err != nil {
		return nil, err
	}
	s, err := p.signInNow(ctx, a)
	if err != nil {
		return nil, err
	}
	cred, err := m365.NewCredential(a.Cloud, s, a.http)
	if err != nil {
		return nil, err
	}
	audience := map[permission.API]string{
		permission.Graph: a.Cloud.GraphAudience, permission.Manage: a.Cloud.ManageAudience, permission.Logs: a.Cloud.LogsAudience,
	}
	var granted []permission.Permission
	for _, api := range permission.APIs() {
		token, err := m365.Token(ctx, cred, audience[api])
		var signIn *m365.SignInError
		if errors.As(err, &signIn) && signIn.Has(500011) {
			continue // the tenant has never used this API, so nothing of it is granted
		}
		if err != nil {
			return nil, err
		}
		_, claims, err := m365.Claims(token.Token)
		if err != nil {
			return nil, err
		}
		roles, _ := claims["roles"].([]any)
		for _, role := range roles {
			if name, ok := role.(string); ok {
				granted = append(granted, permission.Named(api, name))
			}
		}
	}
	return granted, nil
}
