package app

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

func pkiShowCommand(p *program) *cobra.Command {
	var password passwordFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show FILE...",
		Short: "Show what is in a file: certificates, keys, thumbprints, protection, and who would take it",
		Long: `show reads files, whatever wrote them: PFX, PEM, CER, P7B, CSR, keys, and the base64
of these. It shows each certificate with its thumbprints as the portals, a JWT and
Microsoft Graph spell them, whether a private key belongs to it, how the file is
protected, and whether Entra ID, Key Vault and App Service would take it. FILE may
be - for standard input. It never shows a private key.`,
		Example: `  reeve pki show reeve.pfx --password-file reeve.password
  reeve pki show reeve.cer reeve.pem --json
  az keyvault secret show --vault-name contoso --name audit | reeve pki show -`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := onceStdin(args, password); err != nil {
				return err
			}
			i := &input{program: p, ctx: cmd.Context(), passwordFlags: password}
			var reports []fileReport
			var failed error
			for _, name := range args {
				c, err := i.read(name)
				if exitCode(err) == exitUsage || i.ctx.Err() != nil || err != nil && len(args) == 1 && !asJSON {
					return err
				}
				r := fileReport{File: shownName(name), Certificates: []certificateReport{}, Keys: []keyReport{}, Requests: []requestReport{}, Consumers: []consumerReport{}}
				if err != nil {
					r.Problem = asProblem(err)
					failed = errors.Join(failed, err)
				} else {
					p.report(&r, c)
				}
				reports = append(reports, r)
				if !asJSON {
					printReport(p.Out, r)
				}
			}
			if asJSON {
				if err := printJSON(p.Out, map[string]any{"files": reports}); err != nil {
					return err
				}
			}
			if failed != nil {
				return failWith(exitFailure, "not every file could be read")
			}
			return nil
		},
	}
	password.flags(cmd, "", "of the files")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func someFiles(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name the files to read")
	}
	return nil
}

// fileReport is what there is to say about a file.
type fileReport struct {
	File         string              `json:"file"`
	Format       string              `json:"format,omitempty"`
	Base64       bool                `json:"base64"`
	Protection   *protectionReport   `json:"protection"`
	Certificates []certificateReport `json:"certificates"`
	Keys         []keyReport         `json:"keys"`
	Requests     []requestReport     `json:"requests"`
	Consumers    []consumerReport    `json:"consumers"` // none if there is nothing that they could take
	Problem      *pki.Problem        `json:"problem"`   // why it cannot be read, or has no pair
}

type protectionReport struct {
	Profile      string         `json:"profile"`
	Keys         []cipherReport `json:"keys"`
	Certificates []cipherReport `json:"certificates"`
	MAC          string         `json:"mac"`
	MACRounds    int            `json:"mac_rounds"`
	BER          bool           `json:"ber"`
	NoPassword   bool           `json:"no_password"` // the empty one opens it
}

type cipherReport struct {
	Cipher string `json:"cipher"` // empty: not encrypted
	KDF    string `json:"kdf"`
	Rounds int    `json:"rounds"`
}

type certificateReport struct {
	pki.Description
	PrivateKey bool `json:"private_key"` // it is in the same file
}

type keyReport struct {
	Key         string `json:"key"`
	Certificate string `json:"certificate"` // thumbprint of the one that it belongs to, in this file
}

type requestReport struct {
	Subject string `json:"subject"`
	Key     string `json:"key"`
	Signed  bool   `json:"signed"` // by the key that it is for
}

type consumerReport struct {
	Consumer   pki.Consumer  `json:"consumer"`
	Takes      bool          `json:"takes"`
	Objections []pki.Problem `json:"objections"`
}

func asProblem(err error) *pki.Problem {
	var p *pki.Problem
	if errors.As(err, &p) {
		return p
	}
	return &pki.Problem{Cause: err.Error(), Remedy: cmp.Or(remedy(err), "see that the file is there and may be read")}
}

// report says what is in a file.
func (p *program) report(r *fileReport, c *pki.Contents) {
	now := p.now()
	r.Format, r.Base64 = string(c.Format), c.Base64
	r.Protection = reportProtection(c)
	for _, certificate := range c.Certificates {
		has := slices.ContainsFunc(c.Keys, func(k crypto.Signer) bool { return pki.SameKey(certificate.PublicKey, k.Public()) })
		r.Certificates = append(r.Certificates, certificateReport{pki.Describe(certificate, now), has})
	}
	for _, key := range c.Keys {
		k := keyReport{Key: keyName(key.Public())}
		if at := slices.IndexFunc(c.Certificates, func(x *x509.Certificate) bool { return pki.SameKey(x.PublicKey, key.Public()) }); at >= 0 {
			k.Certificate = r.Certificates[at].SHA1
		}
		r.Keys = append(r.Keys, k)
	}
	for _, request := range c.Requests {
		r.Requests = append(r.Requests, requestReport{pki.FormatName(request.Subject), keyName(request.PublicKey), request.CheckSignature() == nil})
	}
	if len(c.Certificates) == 0 {
		return
	}
	consumers := pki.Consumers()
	pair, err := c.Pair()
	if len(c.Keys) == 0 {
		// The public half is what Entra ID is given, and nothing for the others.
		if pair, err = publicHalf(c); err != nil {
			return // several, of which none is meant more than another
		}
		pair.Key, consumers = absentKey{pair.Certificate.PublicKey}, []pki.Consumer{pki.EntraID}
	}
	if err != nil {
		r.Problem = asProblem(err)
		return
	}
	for _, consumer := range consumers {
		objections := pair.Objections(consumer, c, now)
		r.Consumers = append(r.Consumers, consumerReport{consumer, len(objections) == 0, append([]pki.Problem{}, objections...)})
	}
}

// keyName names the kind and size of a key.
func keyName(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA key (%d bits)", k.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("EC key (%s)", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return "Ed25519 key"
	}
	return "key of an unknown kind"
}

// reportProtection says how a file is protected; nil if its format has no such
// thing, or nothing in it is private.
func reportProtection(c *pki.Contents) *protectionReport {
	switch {
	case c.PKCS12 != nil:
		return &protectionReport{profileName(*c.PKCS12), reportCiphers(c.PKCS12.Keys), reportCiphers(c.PKCS12.Certificates),
			c.PKCS12.MAC.Name, c.PKCS12.MAC.Iterations, c.PKCS12.BER, c.PKCS12.NoPassword}
	case c.KeyCipher != nil:
		return &protectionReport{Profile: "encrypted key", Keys: reportCiphers([]pkcs12.Cipher{*c.KeyCipher}), Certificates: []cipherReport{}}
	case len(c.Keys) > 0:
		return &protectionReport{Profile: "none", Keys: []cipherReport{}, Certificates: []cipherReport{}}
	}
	return nil
}

func reportCiphers(ciphers []pkcs12.Cipher) []cipherReport {
	all := []cipherReport{}
	for _, c := range ciphers {
		all = append(all, cipherReport{c.Name, c.KDF, c.Iterations})
	}
	return all
}

// profileName names how a PFX file is protected, by the name of the profile where
// reeve would write it so.
func profileName(p pkcs12.Protection) string {
	only := func(name, kdf string) bool {
		return !slices.ContainsFunc(slices.Concat(p.Keys, p.Certificates), func(c pkcs12.Cipher) bool { return c.Name != name || c.KDF != kdf })
	}
	some := func(prefix string) bool {
		return slices.ContainsFunc(slices.Concat(p.Keys, p.Certificates), func(c pkcs12.Cipher) bool { return strings.HasPrefix(c.Name, prefix) })
	}
	switch {
	case only("", ""):
		return "none"
	case only("AES-256-CBC", "PBKDF2-HMAC-SHA-256") && p.MAC.Name == "HMAC-SHA-256":
		return string(pki.Modern)
	case only("3DES-CBC", "PKCS#12 SHA-1") && p.MAC.Name == "HMAC-SHA-1":
		return string(pki.Compat)
	case some("RC2"), some("RC4"), some("DES-"):
		return "obsolete"
	}
	return "other"
}

// printReport prints a report for a terminal.
func printReport(w io.Writer, r fileReport) {
	fmt.Fprintln(w, r.File)
	defer fmt.Fprintln(w)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-13s  %s\n", name, plain(fmt.Sprintf(format, args...)))
	}
	problem := func(name string, problem pki.Problem) {
		row(name, "%s", problem.Cause)
		row("", "remedy: %s", problem.Remedy)
	}
	if r.Format == "" {
		problem("unreadable", *r.Problem)
		return
	}
	format := r.Format
	if r.Base64 {
		format = "base64 of " + format
	}
	row("format", "%s with %s", format, counts(r))
	if r.Protection != nil {
		r.Protection.print(row)
	}
	for _, k := range r.Keys {
		belongs := "belongs to no certificate in this file"
		if k.Certificate != "" {
			belongs = "belongs to certificate " + k.Certificate
		}
		row("private key", "%s, %s", k.Key, belongs)
	}
	for _, q := range r.Requests {
		signed := "signed by its key"
		if !q.Signed {
			signed = "NOT signed by its key"
		}
		row("request", "%s, %s, %s", q.Subject, q.Key, signed)
	}
	for _, c := range r.Certificates {
		fmt.Fprintln(w)
		c.print(row)
	}
	if len(r.Certificates) > 0 {
		fmt.Fprintln(w)
	}
	for _, c := range r.Consumers {
		if c.Takes {
			row(c.Consumer.Title(), "takes it")
		}
		for _, o := range c.Objections {
			problem(c.Consumer.Title(), o)
		}
	}
	switch {
	case r.Problem != nil:
		problem("no pair", *r.Problem)
	case len(r.Keys) == 0 && len(r.Certificates) > 0:
		row("public half", "there is no private key in it: it is there to be uploaded, or handed on")
	}
}

func counts(r fileReport) string {
	var parts []string
	for _, n := range []struct {
		count     int
		one, many string
	}{
		{len(r.Certificates), "certificate", "certificates"},
		{len(r.Keys), "private key", "private keys"},
		{len(r.Requests), "certificate signing request", "certificate signing requests"},
	} {
		switch n.count {
		case 0:
		case 1:
			parts = append(parts, "1 "+n.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.many))
		}
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func (r *protectionReport) print(row func(name, format string, args ...any)) {
	if r.Profile == "none" && r.MAC == "" {
		row("protection", "none: who can read the file has the private key")
		return
	}
	if r.NoPassword {
		row("protection", "%s, and the password is empty: who can read the file has the private key", r.Profile)
	} else {
		row("protection", "%s", r.Profile)
	}
	if r.Profile == "obsolete" {
		row("", "OpenSSL 3, Node and curl do not read it: write it anew (reeve pki convert)")
	}
	for _, part := range []struct {
		what    string
		ciphers []cipherReport
	}{{"keys", r.Keys}, {"certificates", r.Certificates}} {
		for _, c := range part.ciphers {
			if c.Cipher == "" {
				row("", "%s: not encrypted", part.what)
			} else {
				row("", "%s: %s, %s, %d rounds", part.what, c.Cipher, c.KDF, c.Rounds)
			}
		}
	}
	if r.MAC != "" {
		row("", "MAC: %s, %d rounds", r.MAC, r.MACRounds)
	}
	if r.BER {
		row("", "written in BER that is not DER")
	}
}

func (c certificateReport) print(row func(name, format string, args ...any)) {
	row("certificate", "%s", c.Subject)
	issuer := c.Issuer
	if c.SelfSigned {
		issuer = "itself"
	}
	row("issuer", "%s", issuer)
	row("serial number", "%s", c.SerialNumber)
	row("valid", "from %s until %s (%s)", utc(c.NotBefore), utc(c.NotAfter), daysLeft(c.DaysLeft))
	key := "its private key is in this file"
	if !c.PrivateKey {
		key = "its private key is not in this file"
	}
	row("key", "%s; %s", c.Key, key)
	row("signature", "%s", c.SignatureAlgorithm)
	if len(c.AlternativeNames) > 0 {
		row("names", "%s", strings.Join(c.AlternativeNames, ", "))
	}
	if len(c.Uses) > 0 {
		row("uses", "%s", strings.Join(c.Uses, ", "))
	}
	if c.Authority {
		row("authority", "it may issue other certificates")
	}
	row("thumbprint", "%s (SHA-1, as the portals show it)", c.SHA1)
	row("SHA-256", "%s", c.SHA256)
	row("x5t", "%s", c.X5T)
	row("x5t#S256", "%s", c.X5TS256)
	row("in Graph", "customKeyIdentifier %s", c.CustomKeyIdentifier)
	row("", "or, from some tools, %s", c.CustomKeyIdentifierHex)
}
