package app

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/pki"
)

// convertOptions are the flags of reeve pki convert.
type convertOptions struct {
	in      passwordFlags
	out     newPasswordFlags
	to      string
	file    string
	which   string // thumbprint
	profile string
	force   bool
	asJSON  bool
}

func pkiConvertCommand(p *program) *cobra.Command {
	var o convertOptions
	cmd := &cobra.Command{
		Use:   "convert FILE...",
		Short: "Write what is in files as another one: PFX, PEM, CER, chain, Graph key credential",
		Long: `convert reads certificates and keys, whatever wrote them, and writes them in the
form that another program wants. Several files are put together: a private key and
what an authority answered, for example. FILE may be - for standard input, and
--out - is standard output.

The forms: ` + formsText(),
		Example: `  reeve pki convert reeve.pfx --to pem --out reeve.pem --password-file reeve.password
  reeve pki convert reeve.key.pem answer.p7b --to pfx --out reeve.pfx --password-out reeve.password
  reeve pki convert old.pfx --password-env OLD --to pfx --profile compat --out new.pfx --out-password-env NEW
  reeve pki convert reeve.pem --to graph-key --out -`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error { return p.pkiConvert(cmd.Context(), args, &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "the form to write: "+strings.Join(formNames(), ", "))
	complete(cmd, "to", formNames())
	f.StringVar(&o.file, "out", "", "the file to write; - for standard output")
	cmd.MarkFlagFilename("out")
	f.StringVar(&o.which, "thumbprint", "", "the SHA-1 thumbprint of the certificate that is meant, where there are several")
	forceFlag(cmd, &o.force)
	profileFlag(cmd, &o.profile)
	o.in.flags(cmd, "", "of the files to read")
	o.out.flags(cmd, "out-")
	f.BoolVar(&o.asJSON, "json", false, "print JSON about what was written")
	return cmd
}

func formsText() string {
	var b strings.Builder
	for _, f := range forms {
		fmt.Fprintf(&b, "\n  %-9s  %s", f.name, f.holds)
	}
	return b.String()
}

func (p *program) pkiConvert(ctx context.Context, args []string, o *convertOptions) error {
	if o.to == "" || o.file == "" {
		return failWith(exitUsage, "convert needs --to FORM and --out FILE: reeve pki convert reeve.pfx --to pem --out reeve.pem")
	}
	f, err := findForm(o.to)
	if err != nil {
		return wrongFlag("to", err)
	}
	if err := oneOf("profile", o.profile, texts(pki.Profiles())); err != nil {
		return err
	}
	if o.file == "-" && o.asJSON {
		return wrongFlag("json", errors.New("given together with --out -: both want standard output"))
	}
	if !f.private && (o.out.given() || o.out.none || o.out.to != "") {
		return wrongFlag("to", fmt.Errorf("%s holds nothing that a password protects: leave that of the output out", f.name))
	}
	if err := onceStdin(args, o.in, o.out.passwordFlags); err != nil {
		return err
	}
	i := &input{program: p, ctx: ctx, passwordFlags: o.in}
	all, err := i.readAll(args)
	if err != nil {
		return err
	}
	if o.which != "" {
		if all, err = only(all, o.which); err != nil {
			return in(strings.Join(args, ", "), err)
		}
	}
	var pair pki.Pair
	if f.name == "key" {
		pair.Key, err = oneKey(all)
	} else if pair, err = pairOf(all, len(args) > 1); err != nil && !f.private && (len(args) == 1 || len(all.Keys) == 0) {
		pair, err = publicHalf(all)
	}
	if err != nil {
		return in(strings.Join(args, ", "), err)
	}
	by := protection{profile: pki.Profile(o.profile)}
	var password newPassword
	switch {
	case f.name == "pfx", o.out.given(), o.out.to != "":
		if password, err = o.out.choose(i); err != nil {
			return err
		}
		by.password, by.keyPassword = password.text, password.text
	}
	var out output
	if err := out.add(o.file, f, pair, by); err != nil {
		return err
	}
	w, data := out.list[0], out.files[0].Data
	if o.file == "-" {
		out.files, w.Path = nil, "standard output"
	}
	out.files = append(out.files, o.out.file(password)...)
	if err := out.write(o.force); err != nil {
		return err
	}
	if o.file == "-" {
		if _, err := p.Out.Write(data); err != nil {
			return fmt.Errorf("writing to standard output: %w", err)
		}
	}
	if f.name == "pfx" && o.profile == string(pki.Compat) {
		fmt.Fprintf(p.Err, "note: the profile compat has %s\n", pki.Compat.Why())
	}
	p.warn(password.advice)
	if err := p.tell(&o.out, password, w.Path); err != nil {
		return err
	}
	switch {
	case o.asJSON:
		m := map[string]any{"files": []written{w}, "warnings": append([]pki.Problem{}, password.advice...)}
		if pair.Certificate != nil {
			m["certificate"] = pki.Describe(pair.Certificate, p.now())
		}
		if password.Source != "" {
			m["password"] = password
		}
		return printJSON(p.Out, m)
	case o.file != "-":
		if pair.Certificate != nil {
			printCertificate(p.Out, pki.Describe(pair.Certificate, p.now()))
		}
		listFiles(p.Out, []written{w})
	}
	return nil
}

// readAll reads several files as if they were one.
func (i *input) readAll(names []string) (*pki.Contents, error) {
	all := new(pki.Contents)
	for _, name := range names {
		c, err := i.read(name)
		if err != nil {
			return nil, err
		}
		if len(names) == 1 {
			return c, nil
		}
		if len(c.Keys)+len(c.Certificates) == 0 {
			return nil, in(shownName(name), &pki.Problem{Cause: "it holds neither a certificate nor a private key", Remedy: "leave it out; of a request, give what the authority answered"})
		}
		for _, key := range c.Keys {
			if !slices.ContainsFunc(all.Keys, func(k crypto.Signer) bool { return pki.SameKey(k.Public(), key.Public()) }) {
				all.Keys = append(all.Keys, key)
			}
		}
		for _, certificate := range c.Certificates {
			if !slices.ContainsFunc(all.Certificates, certificate.Equal) {
				all.Certificates = append(all.Certificates, certificate)
			}
		}
	}
	return all, nil
}

// only leaves of what was read the certificate with a thumbprint, its private key
// and its issuers.
func only(c *pki.Contents, thumbprint string) (*pki.Contents, error) {
	wanted := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1 // colons, blanks, and the invisible mark that Windows puts first
	}, thumbprint)
	for _, certificate := range c.Certificates {
		if !strings.EqualFold(pki.SHA1(certificate), wanted) {
			continue
		}
		one := *c
		one.Keys, one.Certificates = nil, fullChain(withIssuers(certificate, c.Certificates))
		for _, key := range c.Keys {
			if pki.SameKey(key.Public(), certificate.PublicKey) {
				one.Keys = append(one.Keys, key)
			}
		}
		return &one, nil
	}
	return nil, &pki.Problem{Cause: fmt.Sprintf("there is no certificate with the thumbprint %.60q", thumbprint), Remedy: "'reeve pki show' lists those that are there"}
}

// pair reads a file that holds a certificate with its private key.
func (i *input) pair(name string) (pki.Pair, error) {
	c, err := i.read(name)
	if err != nil {
		return pki.Pair{}, err
	}
	pair, err := c.Pair()
	return pair, in(shownName(name), err)
}

// pairOf gives the private key with its certificate. What is put together from
// several files must belong together.
func pairOf(c *pki.Contents, joined bool) (pki.Pair, error) {
	if joined && len(c.Keys) == 1 {
		return pki.Join(c.Keys[0], c.Certificates)
	}
	return c.Pair()
}

func oneKey(c *pki.Contents) (crypto.Signer, error) {
	switch len(c.Keys) {
	case 0:
		return nil, &pki.Problem{Cause: "there is no private key", Remedy: "give the file that was made together with the key: a .cer, .crt or .p7b file has the public half alone"}
	case 1:
		return c.Keys[0], nil
	}
	return nil, &pki.Problem{Cause: fmt.Sprintf("there are %d private keys, and one is wanted", len(c.Keys)), Remedy: "give a file with the one key"}
}

// publicHalf gives the certificate that is meant where there is no private key: the
// one that issued none of the others.
func publicHalf(c *pki.Contents) (pki.Pair, error) {
	first := leaves(c.Certificates)
	switch len(first) {
	case 0:
		return pki.Pair{}, &pki.Problem{Cause: "there is no certificate", Remedy: "give a file with one; of a request, give what the authority answered"}
	case 1:
	default:
		return pki.Pair{}, &pki.Problem{Cause: fmt.Sprintf("there are %d certificates, none of which issued another, and one is wanted", len(first)), Remedy: "say which by --thumbprint; 'reeve pki show' lists them"}
	}
	return withIssuers(first[0], c.Certificates), nil
}

// withIssuers finds the issuers of a certificate, whose private key is somewhere
// else.
func withIssuers(certificate *x509.Certificate, among []*x509.Certificate) pki.Pair {
	c := pki.Contents{Keys: []crypto.Signer{absentKey{certificate.PublicKey}}}
	for _, other := range among {
		if other.Equal(certificate) || !pki.SameKey(other.PublicKey, certificate.PublicKey) {
			c.Certificates = append(c.Certificates, other)
		}
	}
	pair, err := c.Pair()
	if err != nil { // its key is of a kind that Go does not know
		return pki.Pair{Certificate: certificate}
	}
	pair.Key = nil
	return pair
}

// leaves are the certificates that issued none of the others.
func leaves(certificates []*x509.Certificate) []*x509.Certificate {
	var found []*x509.Certificate
	for _, c := range certificates {
		issued := func(other *x509.Certificate) bool {
			return other != c && bytes.Equal(other.RawIssuer, c.RawSubject) && !bytes.Equal(other.RawSubject, c.RawSubject)
		}
		if !slices.ContainsFunc(certificates, issued) {
			found = append(found, c)
		}
	}
	if found == nil {
		return certificates // authorities that issued each other
	}
	return found
}
