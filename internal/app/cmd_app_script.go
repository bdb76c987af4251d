package app

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/handout"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/registration"
)

// defaultName is what reeve's application is called.
const defaultName = "reeve"

// feedFlags say for which feeds an application is.
type feedFlags struct {
	names    []string
	optional bool
}

func (f *feedFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.names, "feeds", []string{"audit", "dlp"}, "the feeds whose permissions are asked for: "+strings.Join(permission.Names(), ", "))
	cmd.Flags().BoolVar(&f.optional, "optional", false, "ask for the permissions that the feeds can do without, too")
	cmd.RegisterFlagCompletionFunc("feeds", cobra.FixedCompletions(permission.Names(), cobra.ShellCompDirectiveNoFileComp))
}

func (f *feedFlags) feeds() ([]permission.Feed, error) {
	feeds, err := permission.Choose(f.names)
	if err != nil {
		return nil, wrongFlag("feeds", err)
	}
	return feeds, nil
}

type scriptFlags struct {
	feedFlags
	passwordFlags
	format, name, certificate string
	role                      string
	vaultCertificate, reader  string
	out                       string
	force, asJSON             bool
}

func appScriptCommand(p *program) *cobra.Command {
	var o scriptFlags
	formats := make([]string, 0, len(handout.Formats()))
	for _, f := range handout.Formats() {
		formats = append(formats, string(f))
	}
	cmd := &cobra.Command{
		Use:   "script --format FORMAT",
		Short: "Write what somebody else's administrator runs or clicks to register the application",
		Long: `script writes a script that registers the application: made for this tenant, these
feeds and this certificate, with the certificate's public part inside and comments that
say what each step does and why. portal is a page that says what to click. Running one
twice makes nothing twice and takes nothing away that somebody else has added.

The script ends by saying the client ID; then: reeve app discover CLIENT_ID

The certificate is that of --certificate, of which a private key is not used. Without
it, it is the one that reeve has prepared for the application of client-id, or the one
in use there. If there is none the script says where to upload one.

Nothing is asked of the network, and nothing in a script is secret.`,
		Example: `  reeve app script --format powershell --tenant-id 00000000-0000-0000-0000-000000000000 --certificate reeve.cer
  reeve app script --format azure-cli --feeds audit,users --out setup.sh
  reeve app script --format portal > setup.md`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.appScript(cmd.Context(), &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", "one of "+strings.Join(formats, ", "))
	o.feedFlags.flags(cmd)
	f.StringVar(&o.name, "name", defaultName, "the name of the application")
	f.StringVar(&o.certificate, "certificate", "", "the file of the certificate, in whatever form")
	o.passwordFlags.flags(cmd, "", "of that file")
	f.StringVar(&o.role, "directory-role", "", "give the application a directory role, too, which reeve does not need: Global Reader or Reports Reader")
	f.StringVar(&o.vaultCertificate, "vault-certificate", "", "have reeve's identity read the certificate of this name in vault-url")
	f.StringVar(&o.reader, "vault-reader", "", "the object ID of that identity")
	f.StringVar(&o.out, "out", "", "write into this file instead of to standard output")
	f.BoolVar(&o.force, "force", false, "replace the file if it is there")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	cmd.MarkFlagFilename("certificate")
	cmd.MarkFlagFilename("out")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// scriptReport is a script in JSON.
type scriptReport struct {
	Format     handout.Format `json:"format"`
	File       string         `json:"file"` // where it was written, or a name that suits it
	TenantID   string         `json:"tenant_id"`
	Name       string         `json:"name"`
	UniqueName string         `json:"unique_name"`
	SHA1       string         `json:"sha1,omitempty"` // of the certificate
	Grants     []string       `json:"permissions"`
	Text       string         `json:"text"`
}

func (p *program) appScript(ctx context.Context, o *scriptFlags) error {
	if !slices.Contains(handout.Formats(), handout.Format(o.format)) {
		return wrongFlag("format", fmt.Errorf("%q is none of %v", o.format, handout.Formats()))
	}
	order := handout.Order{Name: o.name, Optional: o.optional}
	var err error
	if order.Feeds, err = o.feeds(); err != nil {
		return err
	}
	c, cloud, err := p.tenantAndCloud()
	if err != nil {
		return err
	}
	order.Cloud, order.TenantID = cloud.Name, c.TenantID
	order.Authority, order.Graph = strings.TrimSuffix(cloud.AuthorityHost, "/"), strings.TrimSuffix(cloud.Graph, "/")
	order.Audience = cloud.GraphAudience
	order.UniqueName = registration.Wanted{TenantID: c.TenantID, Name: o.name}.UniqueName() // by which app setup finds it, too
	if order.Role, err = o.directoryRole(); err != nil {
		return err
	}
	if order.Vault, err = o.vault(c); err != nil {
		return err
	}
	if order.Certificate, err = p.publicPart(ctx, c, o); err != nil {
		return err
	}
	text, err := handout.Script(order, handout.Format(o.format))
	if err != nil {
		return coded{exitUsage, err}
	}
	if o.asJSON {
		r := scriptReport{Format: handout.Format(o.format), File: o.out, TenantID: order.TenantID, Name: order.Name, UniqueName: order.UniqueName, Grants: []string{}, Text: string(text)}
		if r.File == "" {
			r.File = r.Format.File()
		}
		if order.Certificate != nil {
			r.SHA1 = pki.SHA1(order.Certificate)
		}
		for _, u := range permission.Uses(order.Feeds, order.Optional) {
			r.Grants = append(r.Grants, u.String())
		}
		if o.out != "" {
			if err := p.writeHandout(o.out, text, o.force); err != nil {
				return err
			}
		}
		return printJSON(p.Out, r)
	}
	if order.Certificate == nil {
		fmt.Fprintln(p.Err, "There is no certificate in it: none was given with --certificate, and reeve has prepared none. It says where to upload one.")
	}
	return p.handOut(o.out, text, o.force)
}

// tenantAndCloud reads the settings of which a handout is made.
func (p *program) tenantAndCloud() (*config.Config, m365.Cloud, error) {
	c, err := p.load(false)
	if err != nil {
		return nil, m365.Cloud{}, err
	}
	p.notices(c)
	if c.TenantID == "" {
		return nil, m365.Cloud{}, failWith(exitConfig, "tenant-id is not set: it is the directory ID, a GUID, of the tenant in which the application is to be")
	}
	var cloud m365.Cloud
	if _, err := signInTo(c, &cloud); err != nil {
		return nil, m365.Cloud{}, err
	}
	if cloud.AuthorityHost == "" || cloud.Graph == "" {
		return nil, m365.Cloud{}, failWith(exitConfig, "the cloud %s has no hosts of its own: set authority-host and graph-endpoint", cloud.Name)
	}
	return c, cloud, nil
}

// directoryRole is the role that was asked for.
func (o *scriptFlags) directoryRole() (*handout.Role, error) {
	if o.role == "" {
		return nil, nil
	}
	for _, r := range handout.Roles() {
		if strings.EqualFold(r.Name, o.role) {
			return &r, nil
		}
	}
	return nil, wrongFlag("directory-role", fmt.Errorf("%q is not a role that is given: Global Reader or Reports Reader", o.role))
}

// vault is the Key Vault that reeve is to read its certificate from.
func (o *scriptFlags) vault(c *config.Config) (*handout.Vault, error) {
	switch {
	case o.vaultCertificate == "" && o.reader == "":
		return nil, nil
	case o.vaultCertificate == "":
		return nil, wrongFlag("vault-reader", errors.New("give --vault-certificate as well"))
	case o.reader == "":
		return nil, wrongFlag("vault-certificate", errors.New("give --vault-reader as well: who is to read it"))
	}
	if c.VaultURL == "" {
		return nil, failWith(exitConfig, "vault-url is not set, and --vault-certificate needs it")
	}
	address := strings.TrimSuffix(c.VaultURL, "/")
	name, _, _ := strings.Cut(strings.TrimPrefix(address, "https://"), ".")
	return &handout.Vault{Name: name, URL: address, Certificate: o.vaultCertificate, Reader: o.reader}, nil
}

// publicPart is the certificate that goes into a script; nil if there is none.
func (p *program) publicPart(ctx context.Context, c *config.Config, o *scriptFlags) (*x509.Certificate, error) {
	var cert *x509.Certificate
	if o.certificate == "" {
		if o.given() {
			return nil, wrongFlag(o.flag(), errors.New("there is no --certificate that it could open"))
		}
		var err error
		if cert, err = p.prepared(ctx, c); err != nil || cert == nil {
			return nil, err
		}
	} else {
		i := &input{program: p, ctx: ctx, passwordFlags: o.passwordFlags}
		contents, err := i.read(o.certificate)
		if err != nil {
			return nil, err
		}
		switch {
		case len(contents.Keys) > 0:
			pair, err := contents.Pair()
			if err != nil {
				return nil, in(shownName(o.certificate), err)
			}
			cert = pair.Certificate
		case len(contents.Certificates) == 1:
			cert = contents.Certificates[0]
		default:
			return nil, wrongFlag("certificate", fmt.Errorf("%s holds %d certificates and no private key, so which one is meant cannot be told: give one alone", shownName(o.certificate), len(contents.Certificates)))
		}
	}
	if err := p.mayRegister(cert); err != nil {
		where := ""
		if o.certificate != "" {
			where = shownName(o.certificate)
		}
		return nil, in(where, err)
	}
	return cert, nil
}

// mayRegister reports a certificate with which nobody could sign in.
func (p *program) mayRegister(cert *x509.Certificate) error {
	pair := pki.Pair{Certificate: cert}
	switch key, ok := cert.PublicKey.(*rsa.PublicKey); {
	case !ok || key.N.BitLen() < 2048:
		return &pki.Problem{Cause: fmt.Sprintf("Entra ID takes RSA keys of 2048 bits or more alone, and certificate %v has another", pair), Remedy: "make a new one: reeve pki new"}
	case p.now().After(cert.NotAfter):
		return &pki.Problem{Cause: fmt.Sprintf("certificate %v expired on %s", pair, cert.NotAfter.UTC().Format(time.DateOnly)), Remedy: "make a new one: reeve pki new"}
	}
	return nil
}

// prepared is the certificate that reeve has made for its own application, the newest
// that is not proved first.
func (p *program) prepared(ctx context.Context, c *config.Config) (*x509.Certificate, error) {
	if c.ClientID == "" || missing(c) {
		return nil, nil
	}
	db, tenant, err := p.openDatabase(ctx, c)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	apps, err := db.Applications(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, app := range apps {
		if !strings.EqualFold(app.ClientID, c.ClientID) {
			continue
		}
		for _, state := range []credential.State{credential.Staged, credential.Standby, credential.Active} {
			for _, x := range app.In(state) {
				if len(x.Certificate) > 0 {
					return x509.ParseCertificate(x.Certificate[0])
				}
			}
		}
	}
	return nil, nil
}

// handOut writes a handout to a file, or to standard output.
func (p *program) handOut(file string, text []byte, replace bool) error {
	if file == "" {
		_, err := p.Out.Write(text)
		return err
	}
	if err := p.writeHandout(file, text, replace); err != nil {
		return err
	}
	fmt.Fprintln(p.Err, "Written: "+shownName(file)+". Nothing in it is secret.")
	return nil
}

// writeHandout writes it, and says if it made a folder for it.
func (p *program) writeHandout(file string, text []byte, replace bool) error {
	folder := filepath.Dir(file)
	_, missing := os.Stat(folder)
	err := certstore.WriteFiles([]certstore.NewFile{{Path: file, Data: text}}, replace)
	if err == nil && errors.Is(missing, fs.ErrNotExist) {
		fmt.Fprintln(p.Err, "Folder made: "+folder+". Only this user can open it.")
	}
	if err != nil && !replace {
		return fileThere(err, fmt.Errorf("%w (--force replaces a file that is there)", err))
	}
	return err
}
