package app

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/sample"
)

// sampleOptions are the flags of reeve app sample.
type sampleOptions struct {
	language    string
	from        string
	certificate string
	call        string
	out         string
	force       bool
	asJSON      bool
}

// The places that --from names.
const (
	fromFile     = "file"
	fromKeyVault = "keyvault"
)

func appSampleCommand(p *program) *cobra.Command {
	var o sampleOptions
	var languages []string
	for _, l := range sample.Languages() {
		languages = append(languages, l.Name)
	}
	cmd := &cobra.Command{
		Use:   "sample --language LANGUAGE",
		Short: "Write a small program that signs in with the certificate and asks Graph",
		Long: `sample writes a small complete program that signs in as the application that is
configured, with its certificate from a PEM file or from a Key Vault, and asks Microsoft
Graph; with its list of dependencies and a README.md. Tenant, client ID and cloud stand in
it, and nothing that is secret. Nothing is read or sent for it but the certificate's form.

Without --out everything is printed, each file after a line such as -- main.go --.`,
		Example: `  reeve app sample --language python --out sample
  reeve app sample --language go --from keyvault --certificate keyvault:reeve --vault-url https://contoso.vault.azure.net`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.appSample(&o, languages) },
	}
	f := cmd.Flags()
	f.StringVar(&o.language, "language", "", strings.Join(languages, ", "))
	complete(cmd, "language", languages)
	f.StringVar(&o.from, "from", "", "where the program finds the certificate: file or keyvault; by default as --certificate says")
	complete(cmd, "from", []string{fromFile, fromKeyVault})
	f.StringVar(&o.certificate, "certificate", "", "the PEM file or the place in a Key Vault, written as auth.certificate is, which is the default")
	f.StringVar(&o.call, "call", "/organization", "what the program asks of Graph, as far as it follows /v1.0")
	f.StringVar(&o.out, "out", "", "the folder to write to; it is made if it is not there")
	cmd.MarkFlagDirname("out")
	forceFlag(cmd, &o.force)
	f.BoolVar(&o.asJSON, "json", false, "print JSON: the files, or with --out their names")
	return cmd
}

func (p *program) appSample(o *sampleOptions, languages []string) error {
	if o.language == "" {
		return failWith(exitUsage, "sample needs --language LANGUAGE, one of %s", strings.Join(languages, ", "))
	}
	if err := oneOf("language", o.language, languages); err != nil {
		return err
	}
	if o.from != "" {
		if err := oneOf("from", o.from, []string{fromFile, fromKeyVault}); err != nil {
			return err
		}
	}
	if o.force && o.out == "" {
		return wrongFlag("force", errors.New("without --out nothing is written"))
	}
	c, err := p.load(false)
	if err != nil {
		return err
	}
	s := sample.Settings{TenantID: c.TenantID, ClientID: c.ClientID, Call: o.call}
	if s.TenantID == "" || s.ClientID == "" {
		return failWith(exitConfig, "tenant-id and client-id stand in the program: set them")
	}
	if _, err := signInTo(c, &s.Cloud); err != nil {
		return err
	}
	if c.CAFile != "" {
		if s.CAFile, err = filepath.Abs(c.CAFile); err != nil {
			return err
		}
	}
	if err := p.sampleCertificate(&s, c, o); err != nil {
		return err
	}
	files, err := s.Program(o.language)
	if err != nil {
		return coded{exitConfig, err}
	}
	if o.out == "" {
		return p.printSample(files, o.asJSON)
	}
	var out output
	var paths []string
	for _, f := range files {
		path := filepath.Join(o.out, f.Name)
		paths = append(paths, path)
		out.files = append(out.files, certstore.NewFile{Path: path, Data: []byte(f.Text)})
	}
	if err := out.write(o.force); err != nil {
		return err
	}
	if o.asJSON {
		return printJSON(p.Out, map[string]any{"files": paths})
	}
	for _, path := range paths {
		fmt.Fprintln(p.Out, path)
	}
	return nil
}

// sampleCertificate says where the program finds the certificate.
func (p *program) sampleCertificate(s *sample.Settings, c *config.Config, o *sampleOptions) error {
	place, named := c.Auth.Certificate, "auth.certificate"
	if o.certificate != "" {
		place, named = o.certificate, "--certificate"
	}
	if place == "" && m365.Method(c.Auth.Method) != m365.MethodCertificate {
		return failWith(exitConfig, "auth.method is %s: say by --certificate where the program finds a certificate", c.Auth.Method)
	}
	ref, err := certstore.ParseReference(place)
	if err != nil {
		return failWith(exitConfig, "%s: %w", named, err)
	}
	if vaulted := ref.Kind != certstore.KindFile; o.from != "" && vaulted != (o.from == fromKeyVault) {
		example := map[string]string{fromFile: "reeve.pem", fromKeyVault: "keyvault:NAME"}[o.from]
		return failWith(exitUsage, "%s is %s: for --from %s name another place by --certificate, such as %s", named, ref, o.from, example)
	}
	if ref.Kind == certstore.KindFile {
		if o.certificate != "" { // a path of where the program will run
			s.Path = ref.Path
			return nil
		}
		s.Path, err = p.pemFile(place, pki.Pair{})
		return err
	}
	s.VaultURL, s.Name, s.Version = ref.VaultURL, ref.Name, ref.Version
	if s.VaultURL == "" {
		s.VaultURL = c.VaultURL
	}
	if s.VaultURL == "" {
		return failWith(exitConfig, "vault-url is not set, and %s names no vault", named)
	}
	return nil
}

// printSample prints the files one after the other.
func (p *program) printSample(files []sample.File, asJSON bool) error {
	if asJSON {
		return printJSON(p.Out, map[string]any{"files": files})
	}
	for _, f := range files {
		if _, err := fmt.Fprintf(p.Out, "-- %s --\n%s", f.Name, f.Text); err != nil {
			return err
		}
	}
	return nil
}
