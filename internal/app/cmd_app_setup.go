package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/doctor"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/store"
)

// setupOptions are the flags of reeve app setup.
type setupOptions struct {
	policyFlags
	administrator
	vaultOptions
	feeds                      []string
	name, owner, role, answers string
	optional, restore, anyRole bool
	dryRun, yes, asJSON        bool
}

func appSetupCommand(p *program) *cobra.Command {
	var o setupOptions
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Make what reeve needs in a tenant, up to a proved token",
		Long: `setup makes an application for reeve, its service principal, the permissions that the
chosen feeds need with consent to them, and a first certificate, and obtains a token for
each API with it. Somebody signs in who may do that; nothing of the sign-in is kept. The
plan is shown first: what would be made, why, and what is there already. With --dry-run
that is all, and somebody signs in for it, too: it is made from what the tenant has.

It can be run again at any time, and after it was interrupted: it looks, and does what is
missing. With other feeds it adds what those need, and takes back what it granted itself
and is needed no longer. 'reeve app remove' takes away what it made.

The certificate is registered, proved and renewed by reeve itself. For that reeve needs no
permission.

An application that is there already is taken when --client-id names it; what it has
stays. Without, one is made under --name, and an application of the same name that reeve
did not make is never taken.

--vault gives the application access to a Key Vault: the narrowest of Azure's roles, or
an access policy where the vault goes by those. Azure is asked for that with a second
sign-in; who has no rights there says --vault-script, and hands on what that prints.

--answers names a YAML file whose keys are the flags of this command, without the
dashes, and settings.

What is needed for later runs is written into the file that --config names (reeve.yaml),
whose other contents stay.`,
		Example: `  reeve app setup --dry-run
  reeve app setup --feeds audit,dlp --owner none
  reeve app setup --cloud gcc-high --name reeve-{tenant-name}
  reeve app setup --vault https://contoso.vault.azure.net --vault-certificate reeve
  reeve app setup --answers answers.yaml --yes --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := p.appSetup(cmd, &o)
			if o.dryRun {
				err = stoppedLooking(cmd.Context(), err)
			}
			return refusal(stopped(cmd.Context(), err))
		},
	}
	o.policyFlags.flags(cmd)
	o.administrator.flags(cmd)
	o.vaultOptions.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.feeds, "feeds", []string{"audit", "dlp"}, "the feeds that are wanted, instead of those of the run before: "+strings.Join(permission.Names(), ", "))
	f.BoolVar(&o.optional, "optional", false, "ask for the permissions as well that the feeds can do without")
	f.StringVar(&o.name, "name", "reeve", "what the application is called, with {tenant-name}, {tenant-id}")
	f.StringVar(&o.owner, "owner", "me", "who is made an owner of it: me, none, or somebody's object ID")
	f.StringVar(&o.role, "role", "", "a directory role to give it, by name or ID (default none)")
	f.StringVar(&o.answers, "answers", "", "a YAML file with answers, for a run without a person at the keyboard")
	f.BoolVar(&o.restore, "restore", false, "take the application out of the recycle bin, if it is there")
	f.BoolVar(&o.anyRole, "any-role", false, "go on without a known directory role, where one of your own allows it")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the plan and the exact requests, and change nothing")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	complete(cmd, "feeds", permission.Names())
	complete(cmd, "owner", []string{"me", nothing})
	for _, name := range []string{"name", "role"} {
		complete(cmd, name, nil)
	}
	cmd.MarkFlagFilename("answers", "yaml", "yml")
	return cmd
}

// setupRun is a run of reeve app setup.
type setupRun struct {
	*program
	*setupOptions
	app    *App
	cmd    *cobra.Command
	file   string // the configuration
	tenant graph.Organization
	setup  *registration.Setup
	limit  time.Duration // of certificates, by the tenant's policy; 0 for none that is known
	policy credential.Policy
	known  *credential.Application // that the autopilot looks after already; nil if not
	inUse  *credential.Credential  // the certificate, if there is one
	// sameFeeds is whether the feeds are those of the run before.
	sameFeeds bool
	// newVaultURL is whether vault-url was not set, and is now --vault.
	newVaultURL bool
}

func (p *program) appSetup(cmd *cobra.Command, o *setupOptions) error {
	ctx := cmd.Context()
	if o.answers != "" {
		if err := readAnswers(cmd, o.answers); err != nil {
			return err
		}
	}
	r := &setupRun{program: p, setupOptions: o, cmd: cmd}
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.app.Close()
	plan, err := r.setup.Plan(ctx)
	if err != nil {
		return err
	}
	plan.Notes = append(plan.Notes, r.vaultNotes()...)
	chosen, err := permission.Choose(r.feeds)
	if err != nil {
		return err
	}
	if r.app.Cloud.Name != m365.Custom { // of which doctor says what may not reach this machine
		for _, l := range doctor.Limits(r.app.Cloud.Name, chosen) {
			plan.Notes = append(plan.Notes, "In this cloud something cannot work: "+l)
		}
	}
	if r.sameFeeds {
		plan.Notes = append(plan.Notes, "The feeds are those of the run before: "+strings.Join(r.feeds, ", ")+" (--feeds, --optional).")
	}
	if o.dryRun {
		if err := r.printDry(plan); err != nil {
			return err
		}
		return firstRefusal(plan)
	}
	r.printPlan(p.Err, plan)
	if err := firstRefusal(plan); err != nil {
		return err
	}
	if !o.yes {
		if err := p.confirm(ctx, "Make it so in tenant "+nameOfTenant(r.tenant)+"?"); err != nil {
			return err
		}
	}
	if err := r.setup.CarryOut(ctx, plan); err != nil {
		return err
	}
	return r.certify(ctx)
}

func firstRefusal(p registration.Plan) error {
	if len(p.Refusals) > 0 {
		return p.Refusals[0]
	}
	return nil
}

// begin reads the settings, signs somebody in, opens the database and says what is wanted.
func (r *setupRun) begin(ctx context.Context) error {
	if _, err := usesOf(r.feeds, r.optional); err != nil {
		return err
	}
	c, file, err := r.loadFor()
	if err != nil {
		return err
	}
	if m365.Method(c.Auth.Method) != m365.MethodCertificate {
		return failWith(exitConfig, "auth.method is %s, and set-up makes a certificate: leave auth.method out", c.Auth.Method)
	}
	r.file = file
	r.app = &App{Config: c, log: r.certLogger(c), now: r.now}
	if r.app.http, err = signInTo(c, &r.app.Cloud); err != nil {
		return err
	}
	if err := r.checkVault(r.app.Cloud); err != nil {
		return err
	}
	if err := r.canAsk(r.yes || r.dryRun); err != nil {
		return err
	}
	if c.VaultURL == "" && r.needsVault() {
		c.VaultURL = r.address
		r.newVaultURL = r.address != ""
	}
	caller, tenant, err := r.signInAdministrator(ctx, r.app, &r.setupOptions.administrator, registration.Permissions(r.role != ""))
	if err != nil {
		return err
	}
	r.tenant = tenant
	known := *c
	known.TenantID = tenant.TenantID
	if err := r.openFor(ctx, &known); err != nil {
		return err
	}
	if err := r.want(ctx, caller); err != nil {
		r.app.Close()
		return err
	}
	return nil
}

// want says what is wanted, and what is known of it already.
func (r *setupRun) want(ctx context.Context, caller registration.Caller) error {
	w := registration.Wanted{TenantID: r.tenant.TenantID, Restore: r.restore, AnyRole: r.anyRole}
	k, err := r.choose(ctx, &w)
	if err != nil {
		return err
	}
	// A later run is not to take back what the one before was asked for.
	flags := r.cmd.Flags()
	if !flags.Changed("feeds") && len(k.Feeds) > 0 {
		r.feeds, r.sameFeeds = k.Feeds, true
	}
	if r.sameFeeds && !flags.Changed("optional") {
		r.optional = k.Optional
	}
	w.Feeds, w.Optional = r.feeds, r.optional
	if w.Uses, err = usesOf(r.feeds, r.optional); err != nil {
		return err
	}
	if err := r.people(ctx, &w, caller); err != nil {
		return err
	}
	known, err := r.app.DB.Application(ctx, r.app.Tenant, k.ObjectID)
	switch {
	case err == nil:
		r.known = &known
		if c, ok := known.Active(); ok {
			r.inUse = &c
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	r.setup = r.setting(r.app, w, caller, k)
	if err := r.choosePolicy(ctx, w.Uses); err != nil {
		return err
	}
	return r.chooseVault(ctx)
}

// openFor opens the database; one that is not there yet is not made to see what would be
// done.
func (r *setupRun) openFor(ctx context.Context, c *config.Config) error {
	person := r.app.person
	if r.dryRun {
		a, err := r.openCertOrScratch(ctx, c)
		if err != nil {
			return err
		}
		r.app = a
		a.person = person
		return nil
	}
	r.app.Config = c
	if err := r.app.open(ctx, r.program); err != nil {
		r.app.Close()
		return err
	}
	return nil
}

// choose says which application is meant: the one of client-id, unless that is the one
// that an earlier run has made; else one that is made.
func (r *setupRun) choose(ctx context.Context, w *registration.Wanted) (kept, error) {
	if r.tenant.Name == "" && strings.Contains(r.name, "{tenant-name}") {
		return kept{}, wrongFlag("name", errors.New("the application that signs in may not read the tenant's name: give it Organization.Read.All, or leave {tenant-name} out"))
	}
	name := strings.NewReplacer("{tenant-name}", r.tenant.Name, "{tenant-id}", r.tenant.TenantID).Replace(r.name)
	if strings.ContainsAny(name, "{}") || strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > 120 {
		return kept{}, wrongFlag("name", fmt.Errorf("%q: give up to 120 characters; of words in braces there are {tenant-name} and {tenant-id}", r.name))
	}
	w.Name = name
	all, err := r.app.registrations(ctx)
	if err != nil {
		return kept{}, err
	}
	client := r.app.Config.ClientID
	for _, k := range all {
		if client != "" && strings.EqualFold(k.ClientID, client) && k.UniqueName != "" {
			if r.cmd.Flags().Changed("name") && name != k.Name {
				continue
			}
			w.Name = k.Name
			return k, nil
		}
	}
	if client != "" && !r.cmd.Flags().Changed("name") || r.cmd.Flags().Changed("client-id") {
		if name := otherProgramsVariable(r.app.Config, "client-id"); name != "" {
			return kept{}, failWith(exitUsage, "%s names the application %s, and that variable is for other programs: to take that application say --client-id %s; to have one made, say --name, or unset the variable", name, client, client)
		}
		w.ClientID = client
	}
	for _, k := range all {
		if k.key == w.Key() {
			return k, nil
		}
	}
	return kept{key: w.Key()}, nil
}

// otherProgramsVariable is the variable of another program's that a setting comes from, if
// it does: such a one may have been set for something else on this machine.
func otherProgramsVariable(c *config.Config, key string) string {
	for _, s := range c.Settings() {
		name, ok := strings.CutPrefix(s.Origin, "environment variable ")
		if ok && s.Key == key && !strings.HasPrefix(name, "REEVE_") {
			return name
		}
	}
	return ""
}

// people finds the owner and the directory role that are wanted.
func (r *setupRun) people(ctx context.Context, w *registration.Wanted, caller registration.Caller) error {
	switch {
	case r.owner == nothing, r.owner == "me" && !caller.Person:
	case r.owner == "me":
		me, err := r.app.person.Me(ctx)
		if err != nil {
			return err
		}
		w.Owner = me
	case uuid.Validate(r.owner) == nil:
		w.Owner = graph.Somebody{ObjectID: strings.ToLower(r.owner), Name: r.owner}
	default:
		return wrongFlag("owner", fmt.Errorf("%q is neither me nor none nor an object ID", r.owner))
	}
	if r.role == "" {
		return nil
	}
	roles, err := r.app.person.DirectoryRoles(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(roles, func(x graph.DirectoryRole) bool {
		return strings.EqualFold(x.ID, r.role) || strings.EqualFold(x.Name, r.role)
	})
	if i < 0 {
		return wrongFlag("role", fmt.Errorf("the tenant has no directory role %q", r.role))
	}
	w.Role = roles[i]
	return nil
}

// choosePolicy says how certificates are to live: as the flags say, and for no longer than
// the tenant's policy allows, as far as that can be read.
func (r *setupRun) choosePolicy(ctx context.Context, uses []permission.Use) error {
	for _, api := range registration.APIs(uses) {
		r.policy.Resources = append(r.policy.Resources, registration.Resource(r.app.Cloud, api))
	}
	if err := r.apply(r.cmd, r.app.Cloud, &r.policy); err != nil {
		return err
	}
	r.policy = r.policy.Complete(r.app.Cloud.GraphAudience)
	limit, err := r.app.person.CertificateLimit(ctx, r.now())
	switch {
	case err != nil && !errors.Is(err, m365.ErrForbidden):
		return err
	case limit > 0 && limit < time.Duration(r.policy.Lifetime):
		// Graph counts from the start of a certificate, which is a little before it is made.
		r.limit, r.policy.Lifetime = limit, credential.Span(limit.Truncate(24*time.Hour))
	}
	// What the policy names is looked for before anything is changed anywhere.
	policy := r.policy
	if r.known != nil {
		app := *r.known
		if err := r.updatePolicy(&app); err != nil {
			return err
		}
		policy = app.Policy
	}
	if errs := r.app.checkPolicy(policy); len(errs) > 0 {
		return failWith(exitUsage, "the policy of the certificates would not work: %w", errors.Join(errs...))
	}
	return nil
}

const (
	isThere = "there"
	isToDo  = "to do"
)

// assignments are what the configuration is to say.
func (r *setupRun) assignments() []config.Assignment {
	c := *r.app.Config
	c.ClientID = cmp.Or(r.setup.Record.ClientID, r.setup.Wanted.ClientID)
	set := assignments(&c, "own", r.feeds)
	if r.newVaultURL {
		set = append(set, config.Assignment{Key: "vault-url", Value: r.address})
	}
	if c.ClientID == "" { // Entra ID has yet to choose it
		set = slices.DeleteFunc(set, func(a config.Assignment) bool { return a.Key == "client-id" })
	}
	return set
}
