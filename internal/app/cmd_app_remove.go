package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

// removeOptions are the flags of reeve app remove.
type removeOptions struct {
	administrator
	vaultScript         bool
	dryRun, yes, asJSON bool
}

func appRemoveCommand(p *program) *cobra.Command {
	var o removeOptions
	cmd := &cobra.Command{
		Use:   "remove [CLIENT_ID]",
		Short: "Take away what 'reeve app setup' has made",
		Long: `remove takes away what set-up has made in the tenant, and nothing else. An application
that reeve made goes to the recycle bin, where it can be restored for 30 days, with its
service principal, permissions and certificates. Of one that was there before, the
permissions, certificates and owners go that reeve added. Access to Key Vaults that reeve
gave is taken away with a second sign-in, to Azure; who has no rights there says
--vault-script, and hands on what that prints.

The database, the private keys and the configuration file stay as they are; reeve stops
looking after the application.`,
		Example: `  reeve app remove --dry-run
  reeve app remove --yes`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error { return refusal(p.appRemove(cmd, args, &o)) },
	}
	o.administrator.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.vaultScript, "vault-script", false, "change nothing in Azure, and print what the owner of the key vault runs")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would go and the exact requests, and change nothing")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) appRemove(cmd *cobra.Command, args []string, o *removeOptions) error {
	ctx := cmd.Context()
	c, _, err := p.loadFor()
	if err != nil {
		return err
	}
	a, err := p.openCert(ctx, c)
	if err != nil {
		return err
	}
	defer a.Close()
	k, err := a.chooseRecord(ctx, args)
	if err != nil {
		return err
	}
	withRole := slices.ContainsFunc(k.Made, func(m registration.Made) bool { return m.Kind == registration.Role })
	caller, tenant, err := p.signInAdministrator(ctx, a, &o.administrator, registration.Permissions(withRole))
	if err != nil {
		return err
	}
	uses, err := usesOf(k.Feeds, true)
	if err != nil {
		return err
	}
	s := p.setting(a, registration.Wanted{TenantID: tenant.TenantID, Name: k.Name, Feeds: k.Feeds, Uses: uses}, caller, k.Record, k.key)
	script := ""
	switch {
	case !k.InVaults():
	case o.vaultScript:
		script = registration.VaultRemovalScript(k.Record, tenant.TenantID)
	default:
		if s.Resources, err = p.signInAzure(ctx, a, &o.administrator, tenant.TenantID); err != nil {
			return err
		}
	}
	plan, err := s.PlanRemoval(ctx)
	if err != nil {
		return err
	}
	certificates, err := p.certificatesToGo(ctx, a, k.Record)
	if err != nil {
		return err
	}
	if o.dryRun {
		return p.printRemoval(plan, certificates, script, o.asJSON)
	}
	if !o.asJSON {
		if err := p.printRemoval(plan, certificates, script, false); err != nil {
			return err
		}
	}
	if !o.yes {
		if err := p.confirm(ctx, "Take this away from tenant "+plain(tenant.Name)+"?"); err != nil {
			return err
		}
	}
	if err := a.stopLooking(ctx, k.Record); err != nil {
		return err
	}
	if len(certificates.ids) > 0 {
		if err := a.person.SetKeys(ctx, k.ObjectID, certificates.stay); err != nil {
			return err
		}
	}
	if err := s.Remove(ctx, plan); err != nil {
		return err
	}
	if err := a.DB.RemoveRegistration(ctx, a.Tenant, k.key); err != nil {
		return err
	}
	if o.asJSON {
		return p.printRemoval(plan, certificates, script, true)
	}
	fmt.Fprintln(p.Out, "It is taken away.")
	return nil
}

// chooseRecord finds the record that is meant.
func (a *App) chooseRecord(ctx context.Context, args []string) (kept, error) {
	all, err := a.registrations(ctx)
	if err != nil {
		return kept{}, err
	}
	if len(args) == 0 && len(all) > 1 {
		args = []string{a.Config.ClientID}
	}
	if len(args) > 0 {
		all = slices.DeleteFunc(all, func(k kept) bool { return !strings.EqualFold(k.ClientID, args[0]) && k.Name != args[0] })
	}
	if len(all) != 1 {
		return kept{}, failWith(exitFailure, "%d applications are recorded that reeve has set up in this tenant and that fit: look at database.url and tenant-id, and name the application by its client ID", len(all))
	}
	return all[0], nil
}

// goingKeys are key credentials of an application that was there before: those that reeve
// registered go.
type goingKeys struct {
	ids  []string
	stay []graph.KeyCredential
}

func (p *program) certificatesToGo(ctx context.Context, a *App, r registration.Record) (goingKeys, error) {
	var g goingKeys
	if r.OwnApplication() || r.ObjectID == "" {
		return g, nil // they go with it
	}
	known, err := a.DB.Application(ctx, a.Tenant, r.ObjectID)
	if errors.Is(err, store.ErrNotFound) {
		return g, nil
	}
	if err != nil {
		return g, err
	}
	seen, err := a.person.Application(ctx, r.ObjectID)
	if err != nil {
		return g, err
	}
	for _, k := range seen.Keys {
		ours := slices.ContainsFunc(known.Credentials, func(c credential.Credential) bool {
			return c.Origin == credential.Made && strings.EqualFold(c.KeyID, k.KeyID)
		})
		if ours {
			g.ids = append(g.ids, k.KeyID)
		} else {
			g.stay = append(g.stay, k)
		}
	}
	return g, nil
}

// stopLooking keeps the autopilot from mending what is taken away.
func (a *App) stopLooking(ctx context.Context, r registration.Record) error {
	app, err := a.DB.Application(ctx, a.Tenant, r.ObjectID)
	if errors.Is(err, store.ErrNotFound) || err == nil && app.Mode == credential.Off {
		return nil
	}
	if err != nil {
		return err
	}
	return a.DB.ChangeApplication(ctx, a.Tenant, r.ObjectID, func(app *credential.Application) (*store.JournalEntry, error) {
		app.Mode = credential.Off
		return &store.JournalEntry{At: a.now(), Actor: actor(), Step: "policy", Outcome: store.Done, Text: "mode off, since it is removed: reeve app remove"}, nil
	})
}

func (p *program) printRemoval(plan registration.Removal, certificates goingKeys, script string, asJSON bool) error {
	what := []string{}
	requests := []rotate.Request{}
	if len(certificates.ids) > 0 {
		what = append(what, "the certificates "+strings.Join(certificates.ids, ", "))
	}
	for _, s := range plan.Steps {
		what = append(what, s.What)
		requests = append(requests, rotate.Request{Method: s.Request.Method, URL: s.Request.URL, Header: s.Request.Header, Body: string(s.Request.Body)})
	}
	if asJSON {
		return printJSON(p.Out, map[string]any{"goes": what, "stays": plan.Stays, "requests": requests, "vault_script": script})
	}
	for _, w := range what {
		fmt.Fprintln(p.Out, "goes:  ", plain(w))
	}
	for _, s := range plan.Stays {
		fmt.Fprintln(p.Out, "stays: ", plain(s))
	}
	requestPrinter{}.print(p.Out, requests)
	fmt.Fprint(p.Out, script)
	return nil
}
