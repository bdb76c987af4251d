package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
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
		RunE: func(cmd *cobra.Command, args []string) error {
			return refusal(stopped(cmd.Context(), p.appRemove(cmd, args, &o)))
		},
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
	if err := p.canAsk(o.yes || o.dryRun); err != nil {
		return err
	}
	withRole := slices.ContainsFunc(k.Made, func(m registration.Made) bool { return m.Kind == registration.Role })
	caller, tenant, err := p.signInAdministrator(ctx, a, &o.administrator, registration.Permissions(withRole))
	if err != nil {
		return err
	}
	s := p.setting(a, registration.Wanted{TenantID: tenant.TenantID, Name: k.Name, Feeds: k.Feeds}, caller, k)
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
	removal := removal{plan, certificates, script}
	switch {
	case o.dryRun && o.asJSON:
		return printJSON(p.Out, removal.result())
	case o.asJSON:
		removal.print(p.Err)
	default:
		removal.print(p.Out)
	}
	if o.dryRun {
		return nil
	}
	if !o.yes {
		if err := p.confirm(ctx, "Take this away from tenant "+nameOfTenant(tenant)+"?"); err != nil {
			return err
		}
	}
	mode, err := a.setMode(ctx, k.Record, credential.Off, "since it is removed")
	if err != nil {
		return err
	}
	gone, err := p.removeCertificates(ctx, a, k.Record, caller)
	if err == nil {
		err = s.Remove(ctx, plan)
	}
	gone = gone || len(s.Record.Made) < len(k.Made)
	switch {
	case err == nil:
	case !gone && errors.Is(err, m365.ErrForbidden): // and is in use still
		_, modeErr := a.setMode(context.WithoutCancel(ctx), k.Record, mode, "since nothing could be taken away")
		return errors.Join(err, modeErr)
	case mode == credential.Off:
		return err
	default:
		fmt.Fprintln(p.Err, "note: reeve looks after the application no longer. Run this command again; or to keep the application, 'reeve cert policy set --mode "+string(mode)+"'.")
		return err
	}
	if err := a.DB.RemoveRegistration(ctx, a.Tenant, k.key); err != nil {
		return err
	}
	if o.asJSON {
		return printJSON(p.Out, removal.result())
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
	ids     []string
	stay    []graph.KeyCredential
	request rotate.Request // by which they go
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
	call, err := graph.SetKeysCall(a.Cloud, r.ObjectID, g.stay)
	g.request = rotate.Request{Method: call.Method, URL: call.URL, Body: string(call.Body)}
	return g, err
}

// removeCertificates takes those away that reeve registered. It looks again, since all that
// is not in the list that it sends is gone, and somebody may have taken their time to say
// yes.
func (p *program) removeCertificates(ctx context.Context, a *App, r registration.Record, caller registration.Caller) (gone bool, err error) {
	g, err := p.certificatesToGo(ctx, a, r)
	if err != nil || len(g.ids) == 0 {
		return false, err
	}
	what := "take away the certificates " + strings.Join(g.ids, ", ")
	tell := func(outcome, text string) error {
		return a.DB.AddJournal(context.WithoutCancel(ctx), a.Tenant, r.ObjectID, store.JournalEntry{At: p.now(), Actor: cmp.Or(caller.Name, actor()), Step: "setup", Outcome: outcome, Text: plain(text)})
	}
	if err := tell(store.Intent, what+": reeve app remove"); err != nil {
		return false, err
	}
	if err := a.person.SetKeys(ctx, r.ObjectID, g.stay); err != nil {
		return false, errors.Join(err, tell(store.Failed, what+": "+err.Error()))
	}
	return true, tell(store.Done, what)
}

// setMode sets how the autopilot looks after an application, so that it does not mend what
// is taken away, and says how it was.
func (a *App) setMode(ctx context.Context, r registration.Record, mode credential.Mode, why string) (before credential.Mode, err error) {
	app, err := a.DB.Application(ctx, a.Tenant, r.ObjectID)
	if errors.Is(err, store.ErrNotFound) || err == nil && app.Mode == mode {
		return mode, nil
	}
	if err != nil {
		return mode, err
	}
	return app.Mode, a.DB.ChangeApplication(ctx, a.Tenant, r.ObjectID, func(app *credential.Application) (*store.JournalEntry, error) {
		app.Mode = mode
		return &store.JournalEntry{At: a.now(), Actor: actor(), Step: "policy", Outcome: store.Done, Text: fmt.Sprintf("mode %s, %s: reeve app remove", mode, why)}, nil
	})
}

// removal is all that would go, for people and as JSON.
type removal struct {
	plan         registration.Removal
	certificates goingKeys
	script       string
}

func (r removal) goes() []string {
	what := []string{}
	if len(r.certificates.ids) > 0 {
		what = append(what, "the certificates "+strings.Join(r.certificates.ids, ", "))
	}
	for _, s := range r.plan.Steps {
		what = append(what, s.What)
	}
	return what
}

func (r removal) requests() []rotate.Request {
	all := []rotate.Request{}
	if len(r.certificates.ids) > 0 {
		all = append(all, r.certificates.request)
	}
	for _, s := range r.plan.Steps {
		all = append(all, rotate.Request{Method: s.Request.Method, URL: s.Request.URL, Header: s.Request.Header, Body: string(s.Request.Body)})
	}
	return all
}

func (r removal) result() any {
	return map[string]any{"goes": r.goes(), "stays": r.plan.Stays, "requests": r.requests(), "vault_script": r.script}
}

func (r removal) print(w io.Writer) {
	for _, what := range r.goes() {
		fmt.Fprintln(w, "goes:  ", plain(what))
	}
	for _, s := range r.plan.Stays {
		fmt.Fprintln(w, "stays: ", plain(s))
	}
	requestPrinter{}.print(w, r.requests())
	fmt.Fprint(w, r.script)
}
