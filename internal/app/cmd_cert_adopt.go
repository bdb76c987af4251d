package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

// adoptOptions are the flags of reeve cert adopt.
type adoptOptions struct {
	policyFlags
	password            passwordFlags
	mode, certificate   string
	objectID, name, why string
	dryRun, asJSON      bool
}

func certAdoptCommand(p *program) *cobra.Command {
	var o adoptOptions
	cmd := &cobra.Command{
		Use:   "adopt [APP]",
		Short: "Begin to look after the certificates of an application",
		Long: `adopt begins to look after an application: reeve's own, or the one whose client ID,
object ID or name is given. Nothing at Entra ID changes by it. The certificates and
secrets that are there are shown; what is not reeve's is never touched.

With --certificate reeve goes on with the certificate in use, of which it keeps a copy
with its private key, encrypted; it is proved with a token first. From then on that
certificate speaks for the application when the next one is registered, for which no
permission is needed. For reeve's own application the one of auth.certificate is taken,
unless --certificate none is said. Without one reeve has to be allowed to change the
application at Graph.

Where Graph does not let reeve read the application, give its client ID, and
--object-id.`,
		Example: `  reeve cert adopt --dry-run
  reeve cert adopt --lifetime 365d --renew-before 60d --why ticket-4711
  reeve cert adopt 00000000-0000-0000-0000-000000000000 --certificate worker.pem --target directory:/etc/worker
  reeve cert adopt worker --mode observe`,
		Args: applicationArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error { return p.certAdopt(cmd, args, &o) },
	}
	o.policyFlags.flags(cmd)
	f := cmd.Flags()
	modes := []string{string(credential.On), string(credential.Observe)}
	f.StringVar(&o.mode, "mode", string(credential.On), "on renews, observe looks and tells, and changes nothing")
	complete(cmd, "mode", modes)
	f.StringVar(&o.certificate, "certificate", "", "the certificate in use with its private key: a file, keyvault:NAME, https://VAULT/certificates/NAME; none for none")
	o.password.flags(cmd, "", "of the file of --certificate")
	f.StringVar(&o.objectID, "object-id", "", "the application's object ID, where Graph may not be read")
	f.StringVar(&o.name, "name", "", "what to call it, where Graph may not be read (default the client ID)")
	complete(cmd, "object-id", nil)
	complete(cmd, "name", nil)
	f.StringVar(&o.why, "why", "", "the reason, for the journal")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be recorded, and record nothing")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) certAdopt(cmd *cobra.Command, args []string, o *adoptOptions) error {
	ctx := cmd.Context()
	if err := oneOf("mode", o.mode, []string{string(credential.On), string(credential.Observe)}); err != nil {
		return err
	}
	if o.objectID != "" && uuid.Validate(o.objectID) != nil {
		return wrongFlag("object-id", fmt.Errorf("%q is no GUID", o.objectID))
	}
	if o.password.given() && (o.certificate == "" || o.certificate == nothing) {
		return wrongFlag(o.password.flag(), errors.New("it is for the file of --certificate, which is not given"))
	}
	c, err := p.load(true)
	if err != nil {
		return err
	}
	a := &App{Config: c, log: p.certLogger(c), now: p.now}
	if o.dryRun {
		a, err = p.openCertOrScratch(ctx, c)
	} else if a.http, err = signInTo(c, &a.Cloud); err == nil {
		err = a.open(ctx, p)
	}
	if err != nil {
		return err
	}
	defer a.Close()
	unknown, err := a.unknownKeys(ctx)
	if err != nil {
		return err
	}
	if !p.signInBy(ctx, a, unknown) {
		p.trySignIn(ctx, a)
	}
	seen, err := p.lookUp(ctx, a, args, o, unknown)
	if err != nil {
		return err
	}
	if there, err := a.DB.Application(ctx, a.Tenant, seen.ObjectID); err == nil {
		if _, has := there.Active(); !has && !o.dryRun {
			return p.takeIn(ctx, a, there, o)
		}
		return fmt.Errorf("application %s is looked after already, in mode %s: see reeve cert show %s, and change it by reeve cert policy set %s", plain(there.Name), there.Mode, there.ClientID, there.ClientID)
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	adoption := rotate.Adoption{ObjectID: seen.ObjectID, ClientID: seen.ClientID, TenantID: c.TenantID, Name: seen.Name,
		Mode: credential.Mode(o.mode), By: actor(), Why: o.why}
	own := strings.EqualFold(seen.ClientID, c.ClientID)
	if own {
		adoption.Policy.Resources = []string{a.Cloud.GraphAudience}
		if c.Feeds.Audit.Enabled {
			adoption.Policy.Resources = append(adoption.Policy.Resources, a.Cloud.ManageAudience)
		}
	}
	if err := o.apply(cmd, a.Cloud, &adoption.Policy); err != nil {
		return err
	}
	adoption.Policy = adoption.Policy.Complete(a.Cloud.GraphAudience)
	if errs := a.checkPolicy(adoption.Policy); len(errs) > 0 {
		return failWith(exitUsage, "the policy would not work: %w", errors.Join(errs...))
	}
	if seen.unseen == "" {
		adoption.Seen = &seen.Application
	}
	kept := slices.DeleteFunc(unknown, func(e certstore.Entry) bool { return !strings.EqualFold(e.ObjectID, seen.ObjectID) })
	found := false
	if len(kept) > 0 && o.certificate == "" {
		var e certstore.Entry
		if e, found = a.newestThatSignsIn(ctx, kept); found {
			adoption.Pair = e.Pair()
			if adoption.Policy.Store == credential.StoreLocal {
				adoption.Entry = e.ID
			}
		}
	}
	if len(kept) > 0 {
		what := "none of them signs in now"
		switch {
		case found:
			what = "it goes on with the newest that signs in, " + pki.SHA1(adoption.Pair.Certificate)
		case o.certificate != "":
			what = "--certificate says with which one it goes on"
		}
		fmt.Fprintf(p.Err, "note: %s holds private keys of this application (%d) that the database does not know, as when it was lost: %s\n", shownDir(a.Config), len(kept), what)
	}
	if !found {
		if adoption.Pair, err = p.pairInUse(ctx, a, own, o); err != nil {
			return err
		}
	}
	if o.dryRun {
		return p.printAdoption(seen, adoption, nil, o.asJSON)
	}
	rotator, err := a.rotation(ctx, nil)
	if err != nil {
		return err
	}
	app, err := rotator.Adopt(ctx, adoption)
	if err != nil {
		return err
	}
	others, err := rotator.Reconcile(ctx)
	for _, what := range others {
		fmt.Fprintf(p.Err, "note: private key %s\n", plain(what))
	}
	if err != nil {
		fmt.Fprintf(p.Err, "note: whether there are other private keys that the database does not know could not be seen: %v\n", err)
	}
	if err := p.printAdoption(seen, adoption, &app, o.asJSON); err != nil {
		return err
	}
	if adoption.Policy.Store == credential.StoreLocal {
		fmt.Fprintf(p.Err, "Private keys are kept in %s, encrypted with %s. Without it they are lost.\n", shownDir(a.Config), keysetPlace(a.Config))
	}
	return nil
}

// signInBy lets reeve sign in with one of its own private keys that the database does not
// know, if there are any: since it was lost they were renewed, and auth.certificate may
// be of long ago.
func (p *program) signInBy(ctx context.Context, a *App, unknown []certstore.Entry) bool {
	if m365.Method(a.Config.Auth.Method) != m365.MethodCertificate {
		return false
	}
	if _, ok, err := a.own(ctx); ok || err != nil {
		return false
	}
	own := slices.DeleteFunc(slices.Clone(unknown), func(e certstore.Entry) bool { return !strings.EqualFold(e.ClientID, a.Config.ClientID) })
	e, ok := a.newestThatSignsIn(ctx, own)
	if !ok {
		return false
	}
	s := signInAs(a.Config)
	s.Pair = e.Pair()
	credential, err := m365.NewCredential(a.Cloud, s, a.http)
	if err != nil {
		return false
	}
	credential.Now = a.now
	a.Credential, a.Pair = credential, s.Pair
	return true
}

// takeIn goes on with the certificate in use of an application that was only observed so
// far.
func (p *program) takeIn(ctx context.Context, a *App, there credential.Application, o *adoptOptions) error {
	pair, err := p.pairInUse(ctx, a, strings.EqualFold(there.ClientID, a.Config.ClientID), o)
	if err != nil {
		return err
	}
	if pair.Certificate == nil {
		return fmt.Errorf("application %s is looked after already, in mode %s, without a certificate of its own: give the one in use by --certificate, or let reeve make one: reeve cert policy set %s --mode on", plain(there.Name), there.Mode, there.ClientID)
	}
	rotator, err := a.rotation(ctx, nil)
	if err != nil {
		return err
	}
	if err := p.whenFree(ctx, func() error { return rotator.TakeIn(ctx, there.ObjectID, pair, actor()) }); err != nil {
		return err
	}
	fmt.Fprintf(p.Err, "The certificate in use, %v, was taken in. The mode and the policy of %s stay as they are: reeve cert policy set %s\n", pair, plain(there.Name), there.ClientID)
	return nil
}

// seenApplication is an application as Graph shows it, or as a person named it.
type seenApplication struct {
	graph.Application
	unseen string // why Graph was not asked
}

// lookUp finds the application that is to be adopted.
func (p *program) lookUp(ctx context.Context, a *App, args []string, o *adoptOptions, unknown []certstore.Entry) (seenApplication, error) {
	name := a.Config.ClientID
	if len(args) > 0 {
		name = args[0]
	}
	if name == "" {
		return seenApplication{}, failWith(exitUsage, "which application? Name one; without a name reeve's own is meant, and client-id is not set")
	}
	directory, err := a.directory()
	if err != nil {
		return seenApplication{}, err
	}
	unseen := errors.New("reeve cannot sign in")
	if directory != nil {
		found, err := find(ctx, directory, name)
		switch {
		case err == nil && o.objectID != "" && !strings.EqualFold(found.ObjectID, o.objectID):
			return seenApplication{}, wrongFlag("object-id", fmt.Errorf("the object ID of %s is %s", plain(found.Name), found.ObjectID))
		case err == nil:
			return seenApplication{Application: found}, nil
		case errors.Is(err, m365.ErrNotFound), errors.Is(err, errAmbiguous):
			return seenApplication{}, failWith(exitFailure, "%w; is it the right tenant, and the client ID, object ID or name of an app registration?", err)
		}
		unseen = err
	}
	for _, e := range unknown { // each says which application it is for
		if o.objectID == "" && strings.EqualFold(e.ClientID, name) {
			return seenApplication{graph.Application{ObjectID: e.ObjectID, ClientID: e.ClientID, Name: cmp.Or(o.name, e.ClientID)}, unseen.Error()}, nil
		}
	}
	if o.objectID == "" || uuid.Validate(name) != nil {
		return seenApplication{}, fmt.Errorf("looking up application %s: %w; give its client ID and --object-id (Entra ID > App registrations > Overview), or let reeve read applications (Application.Read.All)", plain(name), unseen)
	}
	return seenApplication{graph.Application{ObjectID: o.objectID, ClientID: name, Name: cmp.Or(o.name, name)}, unseen.Error()}, nil
}

// find finds an application at Graph by client ID, object ID or name.
func find(ctx context.Context, directory *graph.Client, name string) (graph.Application, error) {
	if uuid.Validate(name) == nil {
		found, err := directory.ApplicationByClientID(ctx, name)
		if !errors.Is(err, m365.ErrNotFound) {
			return found, err
		}
		return directory.Application(ctx, name)
	}
	var found []graph.Application
	err := each(directory.Applications(ctx), func(app graph.Application) error {
		if strings.EqualFold(app.Name, name) && !slices.ContainsFunc(found, func(x graph.Application) bool { return x.ObjectID == app.ObjectID }) {
			found = append(found, app)
		}
		return nil
	})
	switch {
	case err != nil:
		return graph.Application{}, err
	case len(found) == 0:
		return graph.Application{}, fmt.Errorf("the tenant has no application with the name %q: %w", name, m365.ErrNotFound)
	case len(found) > 1:
		var ids []string
		for _, app := range found {
			ids = append(ids, app.ClientID)
		}
		return graph.Application{}, fmt.Errorf("%d applications have the name %q, with the client IDs %s: %w", len(found), name, strings.Join(ids[:min(len(ids), 20)], ", "), errAmbiguous)
	}
	return directory.Application(ctx, found[0].ObjectID) // with its certificates
}

// pairInUse is the certificate to go on with, if any.
func (p *program) pairInUse(ctx context.Context, a *App, own bool, o *adoptOptions) (pki.Pair, error) {
	switch {
	case o.certificate == nothing, o.certificate == "" && !own:
		return pki.Pair{}, nil
	case o.certificate == "":
		if a.Pair.Certificate != nil && a.Pair.UsableForSignIn(p.now()) != nil {
			fmt.Fprintln(p.Err, "note: the certificate of auth.certificate is not taken, since it no longer signs in")
			return pki.Pair{}, nil
		}
		return a.Pair, nil // none if reeve signs in otherwise
	}
	ref, err := certstore.ParseReference(o.certificate)
	if err != nil {
		return pki.Pair{}, wrongFlag("certificate", err)
	}
	var pair pki.Pair
	if ref.Kind == certstore.KindFile {
		pair, err = (&input{program: p, ctx: ctx, passwordFlags: o.password}).pair(ref.Path)
	} else {
		var vault *certstore.KeyVault
		if vault, err = a.vault(ref.VaultURL); err != nil {
			return pki.Pair{}, err
		}
		get := vault.Get
		if ref.Kind == certstore.KindSecret {
			get = vault.Secret
		}
		pair, err = get(ctx, ref.Name, ref.Version)
	}
	if err == nil {
		err = pair.UsableForSignIn(p.now())
	}
	return pair, in("--certificate", err)
}

// adoptReport is what was, or would be, recorded.
type adoptReport struct {
	Name        string                   `json:"name"`
	ClientID    string                   `json:"client_id"`
	ObjectID    string                   `json:"object_id"`
	Mode        credential.Mode          `json:"mode"`
	Policy      credential.Policy        `json:"policy"`
	Certificate *pki.Description         `json:"certificate,omitempty"`
	AtEntra     []credential.ObservedKey `json:"at_entra"`
	Unseen      string                   `json:"unseen,omitempty"`
	Adopted     bool                     `json:"adopted"`
}

func (p *program) printAdoption(seen seenApplication, o rotate.Adoption, app *credential.Application, asJSON bool) error {
	r := adoptReport{Name: o.Name, ClientID: o.ClientID, ObjectID: o.ObjectID, Mode: o.Mode, Policy: o.Policy,
		AtEntra: observedKeys(seen.Application, o.Pair), Unseen: seen.unseen, Adopted: app != nil}
	if o.Pair.Certificate != nil {
		d := pki.Describe(o.Pair.Certificate, p.now())
		r.Certificate = &d
	}
	if asJSON {
		return printJSON(p.Out, r)
	}
	verb := "is looked after from now on"
	if app == nil {
		verb = "would be looked after"
	}
	fmt.Fprintf(p.Out, "%s %s, mode %s\n  client ID %s, object ID %s\n", plain(r.Name), verb, r.Mode, r.ClientID, r.ObjectID)
	if r.Certificate != nil {
		fmt.Fprintf(p.Out, "\nreeve goes on with this certificate, and keeps it with its private key, encrypted (%s)\n", o.Policy.Store)
		printCertificate(p.Out, *r.Certificate)
	}
	if r.Unseen != "" {
		fmt.Fprintf(p.Out, "\nWhat Entra ID has could not be read: %s\n", plain(r.Unseen))
	} else {
		fmt.Fprint(p.Out, "\nAt Entra ID, of which nothing is touched\n")
		printAligned(p.Out, func(t io.Writer) { printKeys(t, r.AtEntra) })
	}
	fmt.Fprint(p.Out, "\nPolicy\n")
	printPolicy(p.Out, o.Policy)
	switch {
	case app == nil:
		fmt.Fprintln(p.Err, "Nothing was recorded.")
	case o.Mode == credential.On:
		fmt.Fprintf(p.Err, "Next: 'reeve serve' makes a certificate that waits, by itself; or now: reeve cert renew %s\n", o.ClientID)
	}
	return nil
}

func printAligned(w io.Writer, f func(io.Writer)) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	f(t)
	t.Flush()
}

// observedKeys lists what Graph showed. The pair to go on with is to be reeve's.
func observedKeys(seen graph.Application, pair pki.Pair) []credential.ObservedKey {
	all := []credential.ObservedKey{}
	for _, k := range seen.Keys {
		key := credential.ObservedKey{KeyID: k.KeyID, Name: k.Name, Start: k.Start, End: k.End}
		if cert := certificateIn(k); cert != nil {
			key.SHA1, key.SHA256 = pki.SHA1(cert), pki.SHA256(cert)
		}
		if pair.Certificate != nil && k.IsFor(pair.Certificate) {
			key.Ours = "adopted"
		}
		all = append(all, key)
	}
	for _, s := range seen.Passwords {
		all = append(all, credential.ObservedKey{KeyID: s.KeyID, Name: s.Name, Start: s.Start, End: s.End, Secret: true})
	}
	return all
}
