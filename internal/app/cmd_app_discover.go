package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/store"
)

// discoverOptions are the flags of reeve app discover.
type discoverOptions struct {
	password    passwordFlags
	certificate string
	feeds       []string
	deviceCode  bool
	wait        bool
	dryRun      bool
	asJSON      bool
}

func appDiscoverCommand(p *program) *cobra.Command {
	var o discoverOptions
	cmd := &cobra.Command{
		Use:   "discover [CLIENT_ID|NAME]",
		Short: "Find and check the application that somebody else has made for reeve",
		Long: `discover checks an application that was made by a script or by hand: that it is in the
right tenant, that a certificate with a private key here signs in as it, and that its
tokens carry what the chosen feeds need. Then it writes the IDs into the configuration
and the database.

With a client ID it needs no permission at all: tokens tell. Where reeve may read the
application, with Application.Read.All or as the person who signs in (--device-code), it
also compares the registered certificates, the consent and the service principal, and
finds the application by its name.`,
		Example: `  reeve app discover 00000000-0000-0000-0000-000000000000 --tenant-id 11111111-1111-1111-1111-111111111111 --certificate reeve.pem
  reeve app discover reeve --device-code --certificate reeve.pem --feeds audit,calls
  reeve app discover --dry-run`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error { return refusal(p.appDiscover(cmd, args, &o)) },
	}
	f := cmd.Flags()
	f.StringVar(&o.certificate, "certificate", "", "the certificate with its private key: a file, keyvault:NAME, https://VAULT/certificates/NAME (default auth.certificate)")
	o.password.flags(cmd, "", "of the file of --certificate")
	f.StringSliceVar(&o.feeds, "feeds", []string{"audit", "dlp"}, "the feeds that are wanted: "+strings.Join(permission.Names(), ", "))
	f.BoolVar(&o.deviceCode, "device-code", false, "let a person sign in, to see more")
	f.BoolVar(&o.wait, "wait", false, "wait, for 10 minutes at most, until Entra ID knows what was made a moment ago")
	f.BoolVar(&o.dryRun, "dry-run", false, "check, and save nothing")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	complete(cmd, "feeds", permission.Names())
	return cmd
}

// checked is one thing that was checked.
type checked struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, failed, unknown
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Results of a check.
const (
	checkOK      = "ok"
	checkFailed  = "failed"
	checkUnknown = "unknown"
)

// discovery is a run of reeve app discover.
type discovery struct {
	*program
	*discoverOptions
	app    *App
	uses   []permission.Use
	pair   pki.Pair
	record registration.Record
	checks []checked
	proofs []registration.Proof
	// readable is whether Graph lets the application itself read it.
	readable bool
}

func (p *program) appDiscover(cmd *cobra.Command, args []string, o *discoverOptions) error {
	ctx := cmd.Context()
	uses, err := usesOf(o.feeds, false)
	if err != nil {
		return err
	}
	c, file, err := p.loadFor()
	if err != nil {
		return err
	}
	d := &discovery{program: p, discoverOptions: o, uses: uses, app: &App{Config: c, log: p.certLogger(c), now: p.now}}
	defer func() { d.app.Close() }()
	if d.app.http, err = signInTo(c, &d.app.Cloud); err != nil {
		return err
	}
	reference := cmp.Or(o.certificate, c.Auth.Certificate)
	if reference == "" || reference == "own" {
		return failWith(exitUsage, "which certificate is it? Give the one with its private key by --certificate")
	}
	if d.pair, err = p.pairInUse(ctx, d.app, false, &adoptOptions{certificate: reference, password: o.password}); err != nil {
		return err
	}
	if o.deviceCode {
		caller, tenant, err := p.signInAdministrator(ctx, d.app, &administrator{how: byDeviceCode}, []string{"Application.Read.All", "User.Read"})
		if err != nil {
			return err
		}
		fmt.Fprintf(p.Err, "%s has signed in to tenant %s\n", plain(caller.Name), nameOfTenant(tenant))
		c.TenantID = tenant.TenantID
	}
	if c.TenantID == "" {
		return failWith(exitConfig, "tenant-id is not set: give --tenant-id (Entra ID > Overview), or let a person sign in (--device-code)")
	}
	name := c.ClientID
	if len(args) > 0 {
		name = args[0]
	}
	if err := d.choose(ctx, name); err != nil {
		return err
	}
	c.ClientID = d.record.ClientID
	d.prove(ctx)
	d.look(ctx)
	return d.finish(ctx, file, reference)
}

// choose finds the client ID, by name if need be.
func (d *discovery) choose(ctx context.Context, name string) error {
	switch {
	case name == "":
		return failWith(exitUsage, "which application is it? Give its client ID, or its name and --device-code")
	case uuid.Validate(name) == nil:
		d.record = registration.Record{Name: name, ClientID: strings.ToLower(name)}
		return nil
	case d.app.person == nil:
		return failWith(exitUsage, "%s is no client ID, and to find an application by its name somebody has to sign in: --device-code", plain(name))
	}
	all, err := d.app.person.RegistrationsNamed(ctx, name)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return failWith(exitFailure, "the tenant has %d applications with the name %s: give the client ID (Entra ID > App registrations > Overview)", len(all), plain(name))
	}
	d.record = registration.Record{Name: all[0].Name, ClientID: all[0].ClientID, ObjectID: all[0].ObjectID}
	return nil
}

func (d *discovery) add(check, result, remedy, format string, args ...any) {
	d.checks = append(d.checks, checked{check, result, fmt.Sprintf(format, args...), remedy})
}

// prove obtains a token for each API, for which nothing but the certificate is needed.
func (d *discovery) prove(ctx context.Context) {
	prover := &registration.Prover{Prover: m365.Prover{Cloud: d.app.Cloud, HTTP: d.app.http, Now: d.now}, Uses: d.uses,
		Request: m365.ProofRequest{TenantID: d.app.Config.TenantID, ClientID: d.record.ClientID, Pair: d.pair},
		Sleep:   sleep, Say: func(s string) { fmt.Fprintln(d.Err, plain(s)) }}
	if d.wait {
		prover.Patience = registration.UsualPatience
	}
	var err error
	d.proofs, err = prover.Prove(ctx)
	for _, x := range d.proofs {
		if len(x.Missing) == 0 {
			d.add("token", checkOK, "", "%s: %s", x.Resource, cmp.Or(strings.Join(x.Roles, ", "), "no permission, and none is needed"))
		}
		for _, u := range x.Missing {
			d.add("token", checkFailed, "if it was granted within the last minutes, wait until it shows: --wait; else grant "+u.Permission.String()+" (type Application), with admin consent",
				"%s: without %s, which %s needs. %s", x.Resource, u.Name, strings.Join(u.Feeds, ", "), u.Without)
		}
	}
	if err != nil {
		d.add("token", checkFailed, remedy(err), "%v", err)
	}
}

// look compares what Graph shows, if somebody may read it: the person, or the application
// itself.
func (d *discovery) look(ctx context.Context) {
	reader := d.app.person
	if reader == nil {
		cred, err := m365.NewCredential(d.app.Cloud, m365.SignIn{Method: m365.MethodCertificate, TenantID: d.app.Config.TenantID, ClientID: d.record.ClientID, Pair: d.pair}, d.app.http)
		if err == nil {
			reader, err = graph.New(graph.Options{Cloud: d.app.Cloud, Credential: cred, HTTP: d.app.http})
		}
		if err != nil {
			d.add("registration", checkUnknown, "", "%v", err)
			return
		}
	}
	app, err := reader.ApplicationByClientID(ctx, d.record.ClientID)
	var signIn *m365.SignInError
	switch {
	case errors.Is(err, m365.ErrForbidden), errors.As(err, &signIn):
		d.add("registration", checkUnknown, "", "nobody here may read it at Graph (Application.Read.All, or --device-code): tokens are all there is to go by")
		return
	case errors.Is(err, m365.ErrNotFound):
		d.add("registration", checkFailed, "see that the client ID, and not the object ID, was given, and that it is the right tenant", "tenant %s has no application with client ID %s", d.app.Config.TenantID, d.record.ClientID)
		return
	case err != nil:
		d.add("registration", checkUnknown, remedy(err), "%v", err)
		return
	}
	d.record.Name, d.record.ObjectID = app.Name, app.ObjectID
	d.readable = reader != d.app.person
	d.add("registration", checkOK, "", "%s, object ID %s", app.Name, app.ObjectID)
	d.compareCertificate(app)
	d.comparePrincipal(ctx, reader)
}

// compareCertificate looks for the certificate's public part among those registered.
func (d *discovery) compareCertificate(app graph.Application) {
	thumbprint := pki.SHA1(d.pair.Certificate)
	i := slices.IndexFunc(app.Keys, func(k graph.KeyCredential) bool { return k.IsFor(d.pair.Certificate) })
	if i < 0 {
		d.add("certificate", checkFailed, "upload its public part (Certificates & secrets), or use the private key of one that is registered",
			"certificate %s is not among the %d that are registered", thumbprint, len(app.Keys))
		return
	}
	if k := app.Keys[i]; !d.now().Before(k.End) || d.now().Before(k.Start) {
		d.add("certificate", checkFailed, "register one that is valid", "certificate %s is registered from %s to %s", thumbprint, utc(k.Start), utc(k.End))
		return
	}
	d.add("certificate", checkOK, "", "%s is registered, until %s", thumbprint, utc(app.Keys[i].End))
}

// comparePrincipal looks at the service principal and at the consent.
func (d *discovery) comparePrincipal(ctx context.Context, reader *graph.Client) {
	s := &registration.Setup{Graph: reader, Cloud: d.app.Cloud, Wanted: registration.Wanted{TenantID: d.app.Config.TenantID, ClientID: d.record.ClientID, Feeds: d.feeds, Uses: d.uses}}
	plan, err := s.Plan(ctx)
	if err != nil {
		d.add("consent", checkUnknown, remedy(err), "%v", err)
		return
	}
	for _, r := range plan.Refusals {
		d.add("consent", checkFailed, r.Hint(), "%s", r.Cause)
	}
	for _, step := range plan.Steps {
		switch {
		case step.Kind == registration.Application, step.Kind == registration.Required: // the one is known, the other has no effect
		case step.There:
			d.add(string(step.Kind), checkOK, "", "%s", step.What)
		default:
			d.add(string(step.Kind), checkFailed, "have an administrator grant it, or run 'reeve app setup --client-id "+d.record.ClientID+"'", "%s is missing: %s", step.What, step.Why)
		}
	}
	for _, n := range plan.Notes {
		fmt.Fprintln(d.Err, "note:", plain(n))
	}
}

// finish prints what was found, and saves it if all is well.
func (d *discovery) finish(ctx context.Context, file, reference string) error {
	bad := slices.ContainsFunc(d.checks, func(c checked) bool { return c.Result == checkFailed })
	saved := !bad && !d.dryRun
	var changes []config.Change
	if saved {
		if err := d.save(ctx); err != nil {
			return err
		}
		var err error
		if changes, err = d.writeConfig(file, assignments(d.app.Config, reference, d.feeds)); err != nil {
			return err
		}
	}
	if d.asJSON {
		if err := printJSON(d.Out, map[string]any{"registration": d.record, "tenant_id": d.app.Config.TenantID, "checks": d.checks, "saved": saved, "config": file, "changes": changes}); err != nil {
			return err
		}
	} else {
		printAligned(d.Out, func(t io.Writer) {
			for _, c := range d.checks {
				fmt.Fprintf(t, "%s\t%s\t%s\n", c.Result, c.Check, plain(c.Text))
				if c.Remedy != "" {
					fmt.Fprintf(t, "\t\tremedy: %s\n", plain(c.Remedy))
				}
			}
		})
	}
	switch {
	case bad:
		return failWith(exitCheck, "application %s cannot be used as it is; nothing was saved", plain(d.record.Name))
	case !saved:
		fmt.Fprintln(d.Err, "Nothing was saved.")
	default:
		adopt := "reeve cert adopt --config " + file
		if !d.readable { // by the application itself, which is who adopts
			adopt += " --object-id " + cmp.Or(d.record.ObjectID, "OBJECT-ID")
		}
		fmt.Fprintf(d.Err, "Next: %s lets reeve renew the certificate; reeve serve --config %s\n", adopt, file)
		if !d.readable && d.record.ObjectID == "" {
			fmt.Fprintln(d.Err, "OBJECT-ID is at Entra ID > App registrations > Overview: reeve may not look it up, and needs no permission else.")
		}
	}
	return nil
}

// save keeps the IDs in the database. Nothing of it is reeve's to take away.
func (d *discovery) save(ctx context.Context) error {
	if d.app.DB == nil {
		if err := d.app.open(ctx, d.program); err != nil {
			return err
		}
	}
	d.record.Feeds, d.record.Made, d.record.Complete = d.feeds, []registration.Made{}, d.now().UTC()
	known, err := d.app.registrations(ctx)
	if err != nil {
		return err
	}
	for _, k := range known {
		if strings.EqualFold(k.ClientID, d.record.ClientID) {
			return nil // what an earlier set-up has made stays recorded
		}
	}
	data, err := d.record.Encode()
	if err != nil {
		return err
	}
	return d.app.DB.SaveRegistration(ctx, d.app.Tenant, store.Registration{Name: d.record.ClientID, ClientID: d.record.ClientID, Data: data}, nil)
}
