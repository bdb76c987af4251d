package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

// certificateIn is the certificate of a key credential, if Graph sent one.
func certificateIn(k graph.KeyCredential) *x509.Certificate {
	cert, err := x509.ParseCertificate(k.Key)
	if err != nil {
		return nil
	}
	return cert
}

// exportOptions are the flags of reeve cert export.
type exportOptions struct {
	placeFlags
	password        newPasswordFlags
	forms           []string
	profile         string
	encryptKey      bool
	public, request bool
	why             string
	asJSON          bool
}

func certExportCommand(p *program) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export [APP] [CRED]",
		Short: "Write a certificate to files, with its private key or without",
		Long: `export writes a certificate, the one in use unless another is named, to files that
their owner alone can read; all of them or none. A PFX file gets a password, which is
made and shown once unless a flag gives one. Who took a private key out, and why, is
written to the journal first.

--public writes the certificate alone. --request writes the signing request of a
certificate that waits for your authority. Both need nobody's password.

A key that was made in a vault never leaves it, and cannot be written to a file.`,
		Example: `  reeve cert export reeve --out backup --password-out safe/reeve.password --why ticket-4711
  reeve cert export reeve 3F2A9C01 --format pem --out /etc/worker
  reeve cert export --public --out .
  reeve cert export reeve --request --out .`,
		Args: applicationArgs(2), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error { return p.certExport(cmd, args, &o) },
	}
	o.placeFlags.flags(cmd)
	o.password.flags(cmd, "")
	f := cmd.Flags()
	f.StringSliceVar(&o.forms, "format", []string{"pfx"}, "what to write: "+strings.Join(formNames(), ", "))
	complete(cmd, "format", formNames())
	profileFlag(cmd, &o.profile)
	f.BoolVar(&o.encryptKey, "encrypt-key", false, "encrypt the private key in PEM files as well, by the same password")
	f.BoolVar(&o.public, "public", false, "write the certificate alone (.cer)")
	f.BoolVar(&o.request, "request", false, "write the signing request of a certificate that waits for its authority (.csr)")
	f.StringVar(&o.why, "why", "", "the reason, for the journal")
	f.BoolVar(&o.asJSON, "json", false, "print JSON about what was written")
	return cmd
}

func (p *program) certExport(cmd *cobra.Command, args []string, o *exportOptions) error {
	ctx := cmd.Context()
	writes, err := o.check(cmd)
	if err != nil {
		return err
	}
	a, err := p.certApp(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	app, err := a.choose(ctx, args)
	if err != nil {
		return err
	}
	c, err := o.credential(app)
	if err != nil {
		return err
	}
	if o.request {
		return p.exportRequest(ctx, a, app.Application, c, o)
	}
	private := slices.ContainsFunc(writes, func(f form) bool { return f.private })
	pair, err := publicPair(c)
	if err != nil {
		return err
	}
	if private {
		if pair, err = a.takeOut(ctx, c); err != nil {
			return err
		}
	}
	by, password, err := o.protection(&input{program: p, ctx: ctx}, writes)
	if err != nil {
		return err
	}
	var out output
	for _, f := range writes {
		if err := out.add(o.path(fileName(app.Name), f.ending), f, pair, by); err != nil {
			return err
		}
	}
	if password != nil {
		out.files = append(out.files, o.password.file(*password)...)
	}
	if private {
		if err := a.journalExport(ctx, app.Application, c, store.Intent, out.list, o.why, nil); err != nil {
			return err
		}
	}
	err = out.write(o.force)
	if private {
		outcome := store.Done
		if err != nil {
			outcome = store.Failed
		}
		err = errors.Join(err, a.journalExport(context.WithoutCancel(ctx), app.Application, c, outcome, out.list, o.why, err))
	}
	if err != nil {
		return err
	}
	if password != nil {
		p.warn(password.advice)
		if o.password.to != "" && filepath.Dir(o.password.to) == filepath.Dir(out.list[0].Path) {
			fmt.Fprintln(p.Err, "note: the password lies beside the file that it protects: keep them apart")
		}
		if err := p.tell(&o.password, *password, out.list[0].Path); err != nil {
			return err
		}
	}
	if o.asJSON {
		return printJSON(p.Out, map[string]any{"application": app.Name, "credential": c.ID, "certificate": pki.Describe(pair.Certificate, p.now()), "files": out.list})
	}
	printCertificate(p.Out, pki.Describe(pair.Certificate, p.now()))
	listFiles(p.Out, out.list)
	return nil
}

// check reads the flags, and says what is to be written.
func (o *exportOptions) check(cmd *cobra.Command) ([]form, error) {
	if err := errors.Join(oneOf("profile", o.profile, texts(pki.Profiles())), o.placeFlags.check()); err != nil {
		return nil, err
	}
	if o.public && o.request {
		return nil, wrongFlag("request", errors.New("given together with --public: leave one out"))
	}
	names := o.forms
	if o.public {
		if !cmd.Flags().Changed("format") {
			names = []string{"cer"}
		}
	} else if o.request && cmd.Flags().Changed("format") {
		return nil, wrongFlag("format", errors.New("a request is written as PEM: leave it out"))
	}
	var writes []form
	for _, name := range names {
		f, err := findForm(name)
		if err != nil {
			return nil, wrongFlag("format", err)
		}
		if o.public && f.private {
			return nil, wrongFlag("format", fmt.Errorf("%s holds the private key, and --public is to write none", f.name))
		}
		if !slices.ContainsFunc(writes, func(g form) bool { return g.name == f.name }) {
			writes = append(writes, f)
		}
	}
	return writes, nil
}

// credential is the one to be exported.
func (o *exportOptions) credential(app chosen) (credential.Credential, error) {
	if app.named != nil {
		return *app.named, nil
	}
	if o.request {
		if waiting := app.In(credential.Keyed); len(waiting) > 0 {
			return waiting[0], nil
		}
		return credential.Credential{}, fmt.Errorf("no certificate of %s waits for an authority; with the policy's issuer request, one does after it was planned%s", plain(app.Name), credentialsOf(app.Application))
	}
	if c, ok := app.Active(); ok {
		return c, nil
	}
	return credential.Credential{}, fmt.Errorf("no certificate of %s is in use: say which%s", plain(app.Name), credentialsOf(app.Application))
}

// protection reads or makes the password, if one is needed.
func (o *exportOptions) protection(i *input, writes []form) (protection, *newPassword, error) {
	by := protection{profile: pki.Profile(o.profile)}
	private := slices.ContainsFunc(writes, func(f form) bool { return f.private })
	if !slices.ContainsFunc(writes, func(f form) bool { return f.name == "pfx" }) && !(o.encryptKey && private) {
		if o.password.given() || o.password.none || o.password.to != "" {
			return by, nil, wrongFlag("format", errors.New("a password is for pfx, or with --encrypt-key for PEM, and none of that is written"))
		}
		return by, nil, nil
	}
	password, err := o.password.choose(i)
	if err != nil {
		return by, nil, err
	}
	by.password = password.text
	if o.encryptKey {
		by.keyPassword = password.text
	}
	return by, &password, nil
}

// takeOut fetches a certificate with a private key that may leave its store.
func (a *App) takeOut(ctx context.Context, c credential.Credential) (pki.Pair, error) {
	if err := a.openStores(ctx); err != nil {
		return pki.Pair{}, err
	}
	if _, makes := a.stores[c.Store].(certstore.Maker); makes {
		return pki.Pair{}, fmt.Errorf("the private key of %s was made in %s and never leaves it: --public writes the certificate; a program signs by the vault, or gets a certificate of another store", nameOf(c), a.stores[c.Store].Name())
	}
	if !c.State.HasKey() {
		return pki.Pair{}, fmt.Errorf("credential %s is %s, and its private key is gone", nameOf(c), c.State)
	}
	return a.pair(ctx, c)
}

// journalExport records who takes a private key out: before, and how that went.
func (a *App) journalExport(ctx context.Context, app credential.Application, c credential.Credential, outcome string, files []written, why string, failure error) error {
	var paths []string
	for _, f := range files {
		if !f.PrivateKey {
			continue
		}
		path, err := filepath.Abs(f.Path) // the journal is read elsewhere
		if err != nil {
			path = f.Path
		}
		paths = append(paths, path)
	}
	text := "the private key is written to " + strings.Join(paths, ", ")
	if why != "" {
		text += ": " + why
	}
	if failure != nil {
		text += "; it was not, since " + strings.TrimSpace(failure.Error())
	}
	return a.DB.AddJournal(ctx, a.Tenant, app.ObjectID, store.JournalEntry{At: a.now(), Actor: actor(), Credential: c.ID, Step: "export", Outcome: outcome, Text: text})
}

func (p *program) exportRequest(ctx context.Context, a *App, app credential.Application, c credential.Credential, o *exportOptions) error {
	if c.State != credential.Keyed {
		return fmt.Errorf("credential %s is %s, and waits for no authority", nameOf(c), c.State)
	}
	if err := a.openStores(ctx); err != nil {
		return err
	}
	r := rotate.New(rotate.Options{DB: a.DB, Tenant: a.Tenant, Cloud: a.Cloud, HTTP: a.http, Stores: a.stores, Now: a.now, Log: a.log})
	der, err := r.Request(ctx, app, c)
	if err != nil {
		return err
	}
	path := o.path(fileName(app.Name), ".csr")
	out := output{
		files: []certstore.NewFile{{Path: path, Data: pki.EncodeRequest(der)}},
		list:  []written{{Path: path, Form: "csr", Holds: "certificate signing request (PEM), for an authority"}},
	}
	if err := out.write(o.force); err != nil {
		return err
	}
	fmt.Fprintf(p.Err, "Next: have %s signed by your authority, then: reeve cert import %s --certificate ANSWER\n", path, app.ClientID)
	if o.asJSON {
		return printJSON(p.Out, map[string]any{"application": app.Name, "credential": c.ID, "files": out.list})
	}
	listFiles(p.Out, out.list)
	return nil
}

func certImportCommand(p *program) *cobra.Command {
	var file string
	var password passwordFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import [APP]",
		Short: "Hand in the certificate that your authority made from a request",
		Long: `import takes what your authority answered to the request of reeve cert export
--request, in whatever form, with the certificates of its issuers. That it belongs to
the key which waits is checked. Registering and proving it goes on by itself.`,
		Example: `  reeve cert import --certificate answer.p7b
  reeve cert import reeve --certificate answer.pem --json`,
		Args: applicationArgs(1), ValidArgsFunction: p.completeApplication,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if file == "" {
				return failWith(exitUsage, "import needs --certificate FILE, the authority's answer")
			}
			if err := onceStdin([]string{file}, password); err != nil {
				return err
			}
			answer, err := (&input{program: p, ctx: ctx, passwordFlags: password}).read(file)
			if err != nil {
				return err
			}
			return p.withApplication(ctx, args, func(a *App, app credential.Application) error {
				if err := a.openStores(ctx); err != nil {
					return err
				}
				r := rotate.New(rotate.Options{DB: a.DB, Tenant: a.Tenant, Cloud: a.Cloud, HTTP: a.http, Stores: a.stores, Now: a.now, Log: a.log})
				var c credential.Credential
				err := p.whenFree(ctx, func() (err error) {
					c, err = r.Import(ctx, app.ObjectID, answer, actor())
					return err
				})
				if err != nil {
					return in(shownName(file), err)
				}
				if app, err = a.DB.Application(ctx, a.Tenant, app.ObjectID); err != nil {
					return err
				}
				if found, ok := app.Find(c.ID); ok {
					c = found
				}
				if asJSON {
					return printJSON(p.Out, map[string]any{"application": app.Name, "credential": c})
				}
				fmt.Fprintf(p.Out, "Certificate %s of %s, until %s, is %s\n", nameOf(c), plain(app.Name), utc(c.NotAfter), c.State)
				fmt.Fprintln(p.Err, "Next: 'reeve serve' registers and proves it, by itself.")
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&file, "certificate", "", "the authority's answer: PEM, DER or P7B; - for standard input")
	cmd.MarkFlagFilename("certificate")
	password.flags(cmd, "", "of the file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
