package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/rotate"
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
plan is shown first: what would be made, why, and what is there already.

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
		RunE: func(cmd *cobra.Command, _ []string) error { return refusal(p.appSetup(cmd, &o)) },
	}
	o.policyFlags.flags(cmd)
	o.administrator.flags(cmd)
	o.vaultOptions.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.feeds, "feeds", []string{"audit", "dlp"}, "the feeds that are wanted: "+strings.Join(permission.Names(), ", "))
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

// readAnswers sets the flags that a file names and the command line does not.
func readAnswers(cmd *cobra.Command, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return wrongFlag("answers", err)
	}
	var answers map[string]any
	if err := yaml.Unmarshal(data, &answers); err != nil {
		return wrongFlag("answers", fmt.Errorf("reading %s: %w", file, err))
	}
	var errs []error
	for name, value := range answers {
		f := cmd.Flags().Lookup(name)
		if f == nil || slices.Contains([]string{"answers", "help"}, name) {
			errs = append(errs, fmt.Errorf("%s has %q, which is no flag of %s", file, name, cmd.CommandPath()))
			continue
		}
		if f.Changed {
			continue
		}
		errs = append(errs, answer(f, value))
		f.Changed = true
	}
	if err := errors.Join(errs...); err != nil {
		return wrongFlag("answers", err)
	}
	return nil
}

func answer(f *pflag.Flag, value any) error {
	values, ok := value.([]any)
	if !ok {
		values = []any{value}
	}
	_, many := f.Value.(pflag.SliceValue)
	if len(values) > 1 && !many {
		values = []any{joined(values)} // of a setting
	}
	for _, v := range values {
		if err := f.Value.Set(fmt.Sprint(v)); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func joined(values []any) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprint(v))
	}
	return strings.Join(all, ",")
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
	key    string
	limit  time.Duration // of certificates, by the tenant's policy; 0 for none that is known
	policy credential.Policy
	inUse  *credential.Credential // the certificate, if there is one
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
		if err := p.confirm(ctx, "Make it so in tenant "+plain(r.tenant.Name)+"?"); err != nil {
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
	uses, err := usesOf(r.feeds, r.optional)
	if err != nil {
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
	w := registration.Wanted{TenantID: tenant.TenantID, Feeds: r.feeds, Uses: uses, Restore: r.restore, AnyRole: r.anyRole}
	record, err := r.choose(ctx, &w)
	if err != nil {
		r.app.Close()
		return err
	}
	if err := r.people(ctx, &w, caller); err != nil {
		r.app.Close()
		return err
	}
	if known, err := r.app.DB.Application(ctx, r.app.Tenant, record.ObjectID); err == nil {
		if c, ok := known.Active(); ok {
			r.inUse = &c
		}
	}
	r.key = w.Key()
	r.setup = r.setting(r.app, w, caller, record, r.key)
	if err := r.choosePolicy(ctx, uses); err != nil {
		r.app.Close()
		return err
	}
	if err := r.chooseVault(ctx); err != nil {
		r.app.Close()
		return err
	}
	return nil
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
func (r *setupRun) choose(ctx context.Context, w *registration.Wanted) (registration.Record, error) {
	name := strings.NewReplacer("{tenant-name}", r.tenant.Name, "{tenant-id}", r.tenant.TenantID).Replace(r.name)
	if strings.ContainsAny(name, "{}") || strings.TrimSpace(name) == "" || len(name) > 120 {
		return registration.Record{}, wrongFlag("name", fmt.Errorf("%q: give up to 120 characters; of words in braces there are {tenant-name} and {tenant-id}", r.name))
	}
	w.Name = name
	all, err := r.app.registrations(ctx)
	if err != nil {
		return registration.Record{}, err
	}
	client := r.app.Config.ClientID
	for _, k := range all {
		if client != "" && strings.EqualFold(k.ClientID, client) && k.UniqueName != "" {
			if r.cmd.Flags().Changed("name") && name != k.Name {
				continue
			}
			w.Name = k.Name
			return k.Record, nil
		}
	}
	if client != "" && !r.cmd.Flags().Changed("name") || r.cmd.Flags().Changed("client-id") {
		w.ClientID = client
	}
	for _, k := range all {
		if k.key == w.Key() {
			return k.Record, nil
		}
	}
	return registration.Record{}, nil
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
	if errs := r.app.checkPolicy(r.policy); len(errs) > 0 {
		return failWith(exitUsage, "the policy of the certificates would not work: %w", errors.Join(errs...))
	}
	return nil
}

// plannedStep is a step as it is printed.
type plannedStep struct {
	State string            `json:"state"` // there, to do
	Step  registration.Kind `json:"step"`
	What  string            `json:"what"`
	Why   string            `json:"why"`
	Ours  bool              `json:"made_by_reeve,omitempty"`
}

const (
	isThere = "there"
	isToDo  = "to do"
)

// steps are all that is planned: at Entra ID, the certificate, and the configuration.
func (r *setupRun) steps(plan registration.Plan) []plannedStep {
	var all []plannedStep
	for _, s := range plan.Steps {
		state := isToDo
		if s.There {
			state = isThere
		}
		all = append(all, plannedStep{state, s.Kind, s.What, s.Why, s.Ours})
	}
	all = append(all, r.certificateStep())
	state := isToDo
	if _, changes, err := configChanges(r.file, r.assignments()); err == nil && len(changes) == 0 {
		state = isThere
	}
	return append(all, plannedStep{state, "configuration", r.file, "so that 'reeve serve --config " + r.file + "' works", false})
}

// certificateStep is the first certificate, as it is planned.
func (r *setupRun) certificateStep() plannedStep {
	if r.inUse != nil {
		return plannedStep{isThere, "certificate", short(r.inUse.SHA1) + ", until " + utc(r.inUse.NotAfter), "reeve renews it; it is proved again", true}
	}
	why := fmt.Sprintf("valid for %v, kept in %s, renewed by reeve itself", r.policy.Lifetime, r.policy.Store)
	if r.limit > 0 {
		why += "; the tenant's policy allows no more"
	}
	return plannedStep{isToDo, "certificate", "make one, register it, prove it with tokens", why, false}
}

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

func (r *setupRun) printPlan(w io.Writer, plan registration.Plan) {
	fmt.Fprintf(w, "Tenant %s (%s); signed in: %s\n\n", plain(r.tenant.Name), r.tenant.TenantID, plain(r.setup.Caller.Name))
	printAligned(w, func(t io.Writer) {
		for _, s := range r.steps(plan) {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.State, s.Step, plain(s.What), plain(s.Why))
		}
	})
	if _, changes, err := configChanges(r.file, r.assignments()); err == nil {
		for _, c := range changes {
			fmt.Fprintf(w, "       %s: %s\n", r.file, changed(c))
		}
	}
	if r.setup.Record.ClientID == "" && r.setup.Wanted.ClientID == "" {
		fmt.Fprintf(w, "       %s: client-id is the one that Entra ID chooses\n", r.file)
	}
	fmt.Fprintln(w)
	for _, n := range plan.Notes {
		fmt.Fprintln(w, "note:", plain(n))
	}
	if len(plan.Refusals) > 1 {
		for _, f := range plan.Refusals {
			fmt.Fprintln(w, "refused:", plain(f.Error()))
		}
	}
}

// printDry prints the plan, and the requests by which it would be carried out.
func (r *setupRun) printDry(plan registration.Plan) error {
	var requests []rotate.Request
	for _, q := range plan.Requests(r.app.Cloud, r.setup.Wanted) {
		requests = append(requests, rotate.Request{Method: q.Method, URL: q.URL, Header: q.Header, Body: string(q.Body)})
	}
	if r.inUse == nil {
		requests = append(requests, r.certificateRequests()...)
	}
	script, err := r.script()
	if err != nil {
		return err
	}
	if r.asJSON {
		var refusals []string
		for _, f := range plan.Refusals {
			refusals = append(refusals, f.Error())
		}
		_, changes, err := configChanges(r.file, r.assignments())
		if err != nil {
			return err
		}
		return printJSON(r.Out, map[string]any{"tenant": r.tenant, "signed_in": r.setup.Caller.Name, "steps": r.steps(plan), "config": r.file, "changes": changes,
			"notes": plan.Notes, "refusals": refusals, "requests": requests, "policy": r.policy, "vault_script": script})
	}
	r.printPlan(r.Out, plan)
	requestPrinter{}.print(r.Out, requests)
	fmt.Fprint(r.Out, script)
	fmt.Fprintln(r.Err, "Nothing was changed. OBJECT-ID, CLIENT-ID and PRINCIPAL-ID are chosen by Entra ID, and ASSIGNMENT-ID follows from them. Requests that only read are not listed.")
	return nil
}

// certificateRequests are those of the first certificate, which is not made yet.
func (r *setupRun) certificateRequests() []rotate.Request {
	object := r.setup.Record.ObjectID
	if object == "" {
		object = "OBJECT-ID"
	}
	return []rotate.Request{{Method: http.MethodPatch, URL: strings.TrimSuffix(r.app.Cloud.Graph, "/") + "/v1.0/applications/" + object,
		Body: `{"keyCredentials":[<those that are there>,{"type":"AsymmetricX509Cert","usage":"Verify","key":"<the certificate>"}]}`,
		Note: "the first certificate; tokens are obtained with it after that"}}
}

// certify makes the first certificate by way of the autopilot, proves the whole, and
// writes the configuration.
func (r *setupRun) certify(ctx context.Context) error {
	a, record := r.app, r.setup.Record
	a.Config.ClientID = record.ClientID
	app, err := r.adopt(ctx, record)
	if err != nil {
		return err
	}
	if _, ok := app.Active(); !ok {
		if app, err = r.firstCertificate(ctx, app); err != nil {
			return err
		}
	}
	active, _ := app.Active()
	pair, err := a.pair(ctx, active)
	if err != nil {
		return err
	}
	if err := r.setup.Confirm(ctx); err != nil {
		return err
	}
	record = r.setup.Record
	proofs, err := r.prove(ctx, pair)
	if err != nil {
		return err
	}
	changes, err := r.writeConfig(r.file, r.assignments())
	if err != nil {
		return err
	}
	vaultProofs, err := r.proveVault(ctx, pair)
	if err != nil {
		return err
	}
	script, err := r.script()
	if err != nil {
		return err
	}
	if r.asJSON {
		return printJSON(r.Out, map[string]any{"vault": vaultProofs, "vault_script": script, "tenant": r.tenant, "registration": record, "proofs": proofs,
			"certificate": pki.Describe(pair.Certificate, r.now()), "config": r.file, "changes": changes})
	}
	fmt.Fprintf(r.Out, "%s is set up in tenant %s: client ID %s\n", plain(record.Name), plain(r.tenant.Name), record.ClientID)
	printProofs(r.Out, proofs)
	fmt.Fprintf(r.Out, "certificate %s, until %s\n", active.SHA1, utc(active.NotAfter))
	r.printVaultProofs(vaultProofs)
	if script != "" {
		fmt.Fprintln(r.Err, "What follows is for the owner of the key vault to run, and nothing was changed there:")
		fmt.Fprint(r.Out, script)
	}
	fmt.Fprintf(r.Err, "Next: reeve serve --config %s\n", r.file)
	return nil
}

func printProofs(w io.Writer, proofs []registration.Proof) {
	for _, x := range proofs {
		roles := strings.Join(x.Roles, ", ")
		if roles == "" {
			roles = "no permission, and none is needed"
		}
		fmt.Fprintf(w, "token for %s: %s\n", x.Resource, roles)
	}
}

// adopt lets the autopilot look after the application, if it does not yet.
func (r *setupRun) adopt(ctx context.Context, record registration.Record) (credential.Application, error) {
	a := r.app
	app, err := a.DB.Application(ctx, a.Tenant, record.ObjectID)
	if errors.Is(err, store.ErrNotFound) {
		rotator, err := a.rotation(ctx, nil)
		if err != nil {
			return app, err
		}
		return rotator.Adopt(ctx, rotate.Adoption{ObjectID: record.ObjectID, ClientID: record.ClientID, TenantID: r.tenant.TenantID, Name: record.Name,
			Made: record.MadeAt(), Mode: credential.On, Policy: r.policy, By: actor(), Why: "reeve app setup"})
	}
	if err != nil {
		return app, err
	}
	changed := false
	err = a.DB.ChangeApplication(ctx, a.Tenant, record.ObjectID, func(now *credential.Application) (*store.JournalEntry, error) {
		before := *now
		if err := r.updatePolicy(now); err != nil {
			return nil, err
		}
		if changed = before.Mode != now.Mode || !reflect.DeepEqual(before.Policy, now.Policy); !changed {
			return nil, nil
		}
		data, err := json.Marshal(map[string]any{"mode": now.Mode, "policy": now.Policy})
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("set-up: mode %s, lifetime %v, proved by %s", now.Mode, now.Policy.Lifetime, strings.Join(now.Policy.Resources, ", "))
		fmt.Fprintln(r.Err, plain(text))
		return &store.JournalEntry{At: r.now(), Actor: actor(), Step: "policy", Outcome: store.Done, Text: text, Data: data}, nil
	})
	if err != nil || !changed {
		return app, err
	}
	// One that was made under the policy before, and is refused, is given up.
	for _, c := range app.Credentials {
		if c.Stuck && c.State == credential.Staged {
			w := credential.Wish{Kind: credential.Revoke, Credential: c.ID, By: actor(), Why: "reeve app setup: it is refused, and the policy has changed"}
			if _, err := a.DB.AddWish(ctx, a.Tenant, app.ObjectID, w); err != nil {
				return app, err
			}
		}
	}
	return a.DB.Application(ctx, a.Tenant, record.ObjectID)
}

// updatePolicy changes an application that was set up before to what is wanted now.
func (r *setupRun) updatePolicy(app *credential.Application) error {
	app.Mode = credential.On
	resources := slices.Clone(app.Policy.Resources)
	for _, x := range r.policy.Resources {
		if !slices.Contains(resources, x) {
			resources = append(resources, x)
		}
	}
	app.Policy.Resources = resources
	if err := r.apply(r.cmd, r.app.Cloud, &app.Policy); err != nil { // what the flags say now
		return err
	}
	if r.limit > 0 && time.Duration(app.Policy.Lifetime) > r.limit {
		app.Policy.Lifetime = r.policy.Lifetime
	}
	if errs := r.app.checkPolicy(app.Policy); len(errs) > 0 {
		return failWith(exitUsage, "the policy of %s would not work: %w", plain(app.Name), errors.Join(errs...))
	}
	return nil
}

// certificatePatience is for how long the first certificate is worked on: it takes two
// to three minutes, nearly all of it waiting for Entra ID.
const certificatePatience = 20 * time.Minute

// firstCertificate asks for a certificate, and works until it is in use.
func (r *setupRun) firstCertificate(ctx context.Context, app credential.Application) (credential.Application, error) {
	a := r.app
	fmt.Fprintln(r.Err, "the first certificate: it takes two to three minutes, nearly all of it waiting until all of Entra ID knows it")
	i := slices.IndexFunc(app.Wishes, func(w credential.Wish) bool { return w.Kind == credential.Renew })
	if i < 0 {
		if _, err := a.DB.AddWish(ctx, a.Tenant, app.ObjectID, credential.Wish{Kind: credential.Renew, By: actor(), Why: "reeve app setup"}); err != nil {
			return app, err
		}
		var err error
		if app, err = a.DB.Application(ctx, a.Tenant, app.ObjectID); err != nil {
			return app, err
		}
		i = slices.IndexFunc(app.Wishes, func(w credential.Wish) bool { return w.Kind == credential.Renew })
	}
	bounded, stop := context.WithTimeoutCause(ctx, certificatePatience, &registration.Refusal{Kind: registration.ErrNotThere,
		Cause:  "there is no proved certificate after " + certificatePatience.String(),
		Remedy: "see 'reeve cert show' for what it waits for; then run the same command again, which goes on"})
	defer stop()
	watched, cancel := context.WithCancelCause(bounded)
	defer cancel(nil)
	go r.watch(watched, app.ObjectID, cancel)
	if err := r.pursue(watched, a, app.ObjectID, app.Wishes[i]); err != nil {
		var why *registration.Refusal
		if errors.As(context.Cause(watched), &why) {
			err = why
		}
		return app, err
	}
	return a.DB.Application(ctx, a.Tenant, app.ObjectID)
}

// watch ends the work on a certificate when that needs a person: Entra ID has refused it
// several times, as by a policy of the tenant.
func (r *setupRun) watch(ctx context.Context, objectID string, cancel context.CancelCauseFunc) {
	for sleep(ctx, 2*time.Second) == nil {
		app, err := r.app.DB.Application(ctx, r.app.Tenant, objectID)
		if err != nil {
			continue
		}
		for _, c := range app.Credentials {
			wished := slices.ContainsFunc(app.Wishes, func(w credential.Wish) bool { return w.Credential == c.ID })
			if c.Stuck && !wished && c.State != credential.Abandoned {
				cancel(&registration.Refusal{Kind: registration.ErrNotThere, Cause: "the certificate cannot be put to use: " + c.Error,
					Remedy: strings.TrimPrefix(c.Remedy+"; then run the same command again, which goes on", "; ")})
				return
			}
		}
	}
}

// prove obtains tokens with the certificate until they carry what was consented to.
func (r *setupRun) prove(ctx context.Context, pair pki.Pair) ([]registration.Proof, error) {
	prover := &registration.Prover{Prover: m365.Prover{Cloud: r.app.Cloud, HTTP: r.app.http, Now: r.now}, Uses: r.setup.Wanted.Uses,
		Request:  m365.ProofRequest{TenantID: r.tenant.TenantID, ClientID: r.setup.Record.ClientID, Pair: pair},
		Patience: registration.UsualPatience, Sleep: sleep, Say: func(s string) { fmt.Fprintln(r.Err, plain(s)) }}
	proofs, err := prover.Prove(ctx)
	if err != nil {
		return nil, err
	}
	return proofs, registration.Check(proofs)
}
