package app

import (
	"cmp"
	"crypto"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/pki"
)

// newOptions are the flags of reeve pki new.
type newOptions struct {
	nameFlags
	dateFlags
	placeFlags
	password   newPasswordFlags
	key        string
	profile    string
	forms      []string
	encryptKey bool
	authority  bool
	asJSON     bool
}

func pkiNewCommand(p *program) *cobra.Command {
	var o newOptions
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a private key and a certificate that it signs itself",
		Long: `new makes a private key and a certificate for it, and writes both: NAME.pfx under
a password, NAME.pem without one, and NAME.cer, the public half, which is uploaded
to the application in Entra ID. The password is made and shown once, unless a flag
gives it. With --authority the certificate may issue others: see reeve pki issue.
The certificate is for signing in and for the client's side of TLS, not for servers.`,
		Example: `  reeve pki new
  reeve pki new --subject "CN=reeve,O=Contoso" --days 180 --out certificates --password-out reeve.password
  reeve pki new --profile compat --format pfx,cer
  reeve pki new --subject CN=Contoso-Issuing --authority --key rsa-4096`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.pkiNew(cmd, &o) },
	}
	o.nameFlags.flags(cmd)
	o.dateFlags.flags(cmd, true)
	o.placeFlags.flags(cmd)
	o.password.flags(cmd, "")
	f := cmd.Flags()
	keyFlag(cmd, &o.key)
	profileFlag(cmd, &o.profile)
	f.StringSliceVar(&o.forms, "format", []string{"pfx", "pem", "cer"}, "what to write: "+strings.Join(formNames(), ", "))
	complete(cmd, "format", formNames())
	f.BoolVar(&o.encryptKey, "encrypt-key", false, "encrypt the private key in PEM files as well, by the same password")
	f.BoolVar(&o.authority, "authority", false, "make it an authority, which may issue other certificates")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func keyFlag(cmd *cobra.Command, key *string) {
	names := texts(pki.KeyTypes())
	cmd.Flags().StringVar(key, "key", string(pki.RSA2048), "the kind of key: "+strings.Join(names, ", "))
	complete(cmd, "key", names)
}

func profileFlag(cmd *cobra.Command, profile *string) {
	names := texts(pki.Profiles())
	cmd.Flags().StringVar(profile, "profile", string(pki.Modern), "how the PFX file is encrypted: modern (AES-256, SHA-256), or compat (3DES, SHA-1) for App Service, Windows Server 2016 and old macOS")
	complete(cmd, "profile", names)
}

// made is what reeve pki new made.
type made struct {
	Certificate pki.Description `json:"certificate"`
	Files       []written       `json:"files"`
	Password    *newPassword    `json:"password,omitempty"`
	Warnings    []pki.Problem   `json:"warnings"`
	Next        string          `json:"next"`
}

func (p *program) pkiNew(cmd *cobra.Command, o *newOptions) error {
	if o.authority && !cmd.Flags().Changed("format") {
		o.forms = []string{"pem", "cer"}
	}
	var writes []form
	for _, name := range o.forms {
		f, err := findForm(name)
		if err != nil {
			return wrongFlag("format", err)
		}
		if !slices.ContainsFunc(writes, func(g form) bool { return g.name == f.name }) {
			writes = append(writes, f)
		}
	}
	if err := errors.Join(oneOf("profile", o.profile, texts(pki.Profiles())), oneOf("key", o.key, texts(pki.KeyTypes())), o.check()); err != nil {
		return err
	}
	if !slices.ContainsFunc(writes, func(f form) bool { return f.private }) {
		return wrongFlag("format", errors.New("nothing of that holds the private key, which would be lost: add pfx, pem or key"))
	}
	t, err := o.template()
	if err != nil {
		return err
	}
	t.Authority = o.authority
	if t.NotBefore, t.NotAfter, err = o.dates(cmd, p.now(), o.authority); err != nil {
		return err
	}
	by := protection{profile: pki.Profile(o.profile)}
	var password *newPassword
	if o.encryptKey || slices.ContainsFunc(writes, func(f form) bool { return f.name == "pfx" }) {
		chosen, err := o.password.choose(&input{program: p, ctx: cmd.Context()})
		if err != nil {
			return err
		}
		password, by.password = &chosen, chosen.text
	} else if o.password.given() || o.password.none || o.password.to != "" {
		return wrongFlag("format", errors.New("a password is for pfx, or with --encrypt-key for PEM, and none of that is written"))
	}
	if o.encryptKey {
		if by.password == "" {
			return wrongFlag("encrypt-key", errors.New("there is no password to encrypt by: leave out --no-password"))
		}
		by.keyPassword = by.password
	}

	key, err := p.newKey(cmd, o.key)
	if err != nil {
		return err
	}
	pair, err := pki.SelfSign(key, t)
	if err != nil {
		return ofFlags(err)
	}
	m := made{Certificate: pki.Describe(pair.Certificate, p.now()), Password: password, Warnings: []pki.Problem{}}
	name := subjectName(pair.Certificate.Subject)
	var out output
	for _, f := range writes {
		if err := out.add(o.path(name, f.ending), f, pair, by); err != nil {
			return err
		}
	}
	if password != nil {
		out.files = append(out.files, o.password.file(*password)...)
	}
	if err := out.write(o.force); err != nil {
		return err
	}

	m.Files = out.list
	m.Next = o.next(name)
	if !o.authority {
		m.Warnings = append(m.Warnings, pair.Objections(pki.EntraID, nil, p.now())...)
		if pair.CheckKey() != nil || p.now().After(pair.Certificate.NotAfter) {
			m.Next = "use it for something other than signing in to Entra ID, which does not take it"
		}
	}
	if password != nil {
		m.Warnings = append(m.Warnings, password.advice...)
	}
	p.warn(m.Warnings)
	if o.profile == string(pki.Compat) {
		fmt.Fprintf(p.Err, "note: the profile compat has %s\n", pki.Compat.Why())
	}
	if password != nil {
		if err := p.tell(&o.password, *password, strings.Join(encryptedFiles(m.Files), ", ")); err != nil {
			return err
		}
	}
	if o.asJSON {
		return printJSON(p.Out, m)
	}
	printCertificate(p.Out, m.Certificate)
	listFiles(p.Out, m.Files)
	fmt.Fprintf(p.Err, "Next: %s\n", m.Next)
	return nil
}

// newKey makes a key, unless reeve is interrupted meanwhile.
func (p *program) newKey(cmd *cobra.Command, kind string) (crypto.Signer, error) {
	key, err := pki.NewKey(pki.KeyType(kind))
	if err != nil {
		return nil, in("", err)
	}
	if cmd.Context().Err() != nil {
		return nil, errInterrupted
	}
	return key, nil
}

// next says what to do with the files of a new certificate.
func (o *newOptions) next(name string) string {
	if o.authority {
		file, how := "FILE", ", with its certificate and private key in one FILE"
		if ending := o.authorityEnding(); ending != "" {
			file, how = o.path(name, ending), ""
		}
		return fmt.Sprintf("issue certificates by it: reeve pki issue --ca %s --csr REQUEST%s; and keep its key off line", file, how)
	}
	upload := "the certificate (reeve pki convert FILE --to cer)"
	for _, ending := range []string{".der", ".cer"} {
		if slices.ContainsFunc(o.forms, func(f string) bool { return "."+f == ending }) {
			upload = o.path(name, ending)
		}
	}
	return fmt.Sprintf("upload %s at Entra ID > App registrations > (the application) > Certificates & secrets > Certificates", upload)
}

// authorityEnding is that of the file which holds both that an authority needs; empty
// if none does.
func (o *newOptions) authorityEnding() string {
	for _, form := range []string{"pem", "pfx"} {
		if slices.Contains(o.forms, form) {
			return "." + form
		}
	}
	return ""
}

// ofFlags makes what is wrong with the names or dates of a certificate for a key of
// our own what it is: a usage error.
func ofFlags(err error) error {
	var problem *pki.Problem
	if errors.As(err, &problem) {
		return coded{exitUsage, in("", err)}
	}
	return err
}

func encryptedFiles(files []written) []string {
	var names []string
	for _, f := range files {
		if f.Encrypted {
			names = append(names, f.Path)
		}
	}
	return names
}

// subjectName is what files of a subject are called.
func subjectName(subject pkix.Name) string {
	return fileName(cmp.Or(subject.CommonName, pki.FormatName(subject)))
}

// csrOptions are the flags of reeve pki csr.
type csrOptions struct {
	nameFlags
	placeFlags
	password passwordFlags
	key      string
	keyFile  string
	asJSON   bool
}

func pkiCSRCommand(p *program) *cobra.Command {
	var o csrOptions
	cmd := &cobra.Command{
		Use:   "csr",
		Short: "Make a private key and a request for a certificate, for an authority to sign",
		Long: `csr makes a private key, NAME.key.pem, and a certificate signing request for it,
NAME.csr, which an authority answers with a certificate; or a request for a key
that is there already (--key-file). The key stays here. What the authority answers
is put together with it by reeve pki convert NAME.key.pem ANSWER --to pfx.`,
		Example: `  reeve pki csr --subject "CN=reeve,O=Contoso" --dns reeve.contoso.com
  reeve pki csr --key-file reeve.key.pem --name reeve-2027`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.pkiCSR(cmd, &o) },
	}
	o.nameFlags.flags(cmd)
	o.placeFlags.flags(cmd)
	keyFlag(cmd, &o.key)
	f := cmd.Flags()
	f.StringVar(&o.keyFile, "key-file", "", "request a certificate for the private key in this file, in place of a new one")
	cmd.MarkFlagFilename("key-file")
	o.password.flags(cmd, "", "of the private key (a new one is not encrypted without)")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) pkiCSR(cmd *cobra.Command, o *csrOptions) error {
	if err := errors.Join(oneOf("key", o.key, texts(pki.KeyTypes())), o.check()); err != nil {
		return err
	}
	if o.keyFile != "" && cmd.Flags().Changed("key") {
		return wrongFlag("key", errors.New("given together with --key-file: leave one out"))
	}
	t, err := o.template()
	if err != nil {
		return err
	}
	name := subjectName(t.Subject)
	var out output
	var key crypto.Signer
	if err := onceStdin([]string{o.keyFile}, o.password); err != nil {
		return err
	}
	o.password.chosen = o.keyFile == ""
	i := &input{program: p, ctx: cmd.Context(), passwordFlags: o.password}
	if o.keyFile != "" {
		c, err := i.read(o.keyFile)
		if err != nil {
			return err
		}
		if len(c.Keys) != 1 {
			return in(shownName(o.keyFile), &pki.Problem{Cause: fmt.Sprintf("it holds %d private keys, and a request is for one", len(c.Keys)), Remedy: "give a file with the one key"})
		}
		key = c.Keys[0]
	} else {
		password := ""
		if o.password.given() {
			if password, err = i.secret(&o.password); err != nil {
				return err
			}
		}
		if key, err = p.newKey(cmd, o.key); err != nil {
			return err
		}
		f, err := findForm("key")
		if err != nil {
			return err
		}
		if err := out.add(o.path(name, f.ending), f, pki.Pair{Key: key}, protection{keyPassword: password}); err != nil {
			return err
		}
	}
	der, err := pki.NewRequest(key, t)
	switch {
	case err != nil && o.keyFile == "":
		return ofFlags(err)
	case err != nil:
		return in("", err)
	}
	request := form{"csr", ".csr", false, "certificate signing request, for the authority", func(pki.Pair, protection) ([]byte, error) {
		return pki.EncodeRequest(der), nil
	}}
	if err := out.add(o.path(name, request.ending), request, pki.Pair{}, protection{}); err != nil {
		return err
	}
	if err := out.write(o.force); err != nil {
		return err
	}
	keyName := cmp.Or(o.keyFile, out.list[0].Path)
	next := fmt.Sprintf("have %s signed by an authority, then: reeve pki convert %s ANSWER --to pfx --out %s", o.path(name, ".csr"), keyName, o.path(name, ".pfx"))
	if o.asJSON {
		return printJSON(p.Out, map[string]any{"subject": pki.FormatName(t.Subject), "files": out.list, "next": next})
	}
	fmt.Fprintf(p.Out, "Request for a certificate of %s\n", pki.FormatName(t.Subject))
	listFiles(p.Out, out.list)
	fmt.Fprintf(p.Err, "Next: %s\n", next)
	return nil
}

// issueOptions are the flags of reeve pki issue.
type issueOptions struct {
	dateFlags
	placeFlags
	password passwordFlags
	ca, csr  string
	asJSON   bool
}

func pkiIssueCommand(p *program) *cobra.Command {
	var o issueOptions
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Issue the certificate that a request asks for, by an authority of one's own",
		Long: `issue makes the certificate that a certificate signing request asks for, signed by
an authority in a file (reeve pki new --authority). Names are taken from the
request; dates and uses are not. It writes NAME.cer, the certificate, and
NAME.chain.pem, the same with those of its issuers.`,
		Example: `  reeve pki issue --ca contoso.pem --csr reeve.csr --days 180
  reeve pki issue --ca contoso.pfx --password-file contoso.password --csr reeve.csr --out issued`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.pkiIssue(cmd, &o) },
	}
	o.dateFlags.flags(cmd, false)
	o.placeFlags.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.ca, "ca", "", "the file with the authority's certificate and private key")
	f.StringVar(&o.csr, "csr", "", "the file with the certificate signing request; - for standard input")
	cmd.MarkFlagFilename("ca")
	cmd.MarkFlagFilename("csr")
	o.password.flags(cmd, "", "of the authority's file")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) pkiIssue(cmd *cobra.Command, o *issueOptions) error {
	for flag, value := range map[string]string{"ca": o.ca, "csr": o.csr} {
		if value == "" {
			return wrongFlag(flag, errors.New("is needed: reeve pki issue --ca AUTHORITY.pem --csr REQUEST.csr"))
		}
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := onceStdin([]string{o.ca, o.csr}, o.password); err != nil {
		return err
	}
	from, until, err := o.dates(cmd, p.now(), false)
	if err != nil {
		return err
	}
	i := &input{program: p, ctx: cmd.Context(), passwordFlags: o.password}
	authority, err := i.pair(o.ca)
	if err != nil {
		return err
	}
	if o.notBefore == "" && from.Before(authority.Certificate.NotBefore) && authority.Certificate.NotBefore.Before(p.now()) {
		from = authority.Certificate.NotBefore // which is of the last minutes
	}
	c, err := i.read(o.csr)
	if err != nil {
		return err
	}
	if len(c.Requests) != 1 {
		return in(shownName(o.csr), &pki.Problem{Cause: fmt.Sprintf("it holds %d certificate signing requests, and one is wanted", len(c.Requests)), Remedy: "give the .csr file that was made with the key (reeve pki csr)"})
	}
	certificate, err := pki.Issue(authority, c.Requests[0], from, until)
	if err != nil {
		return in("", err)
	}
	issued := pki.Pair{Certificate: certificate, Chain: fullChain(authority)}
	d := pki.Describe(certificate, p.now())
	name := subjectName(certificate.Subject)
	var out output
	for _, form := range []string{"cer", "chain"} {
		f, err := findForm(form)
		if err != nil {
			return err
		}
		if err := out.add(o.path(name, f.ending), f, issued, protection{}); err != nil {
			return err
		}
	}
	if err := out.write(o.force); err != nil {
		return err
	}
	next := fmt.Sprintf("give %[1]s to whoever has the key: reeve pki convert KEY %[1]s --to pfx --out %[2]s", o.path(name, ".chain.pem"), o.path(name, ".pfx"))
	if o.asJSON {
		return printJSON(p.Out, map[string]any{"certificate": d, "files": out.list, "next": next})
	}
	printCertificate(p.Out, d)
	listFiles(p.Out, out.list)
	fmt.Fprintf(p.Err, "Next: %s\n", next)
	return nil
}
