package app

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/pki"
)

func pkiCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use: "pki", GroupID: "main",
		Short: "Make, read, convert and check certificates and their files",
		Long: `pki makes certificates with their private keys, reads the files of others, says
what is in them and who would take them, and converts between all forms. It needs
no configuration and reads none, asks nobody on the network, and keeps nothing.

A password is never an argument, where others could see it. It comes from a file
(--password-file, - for standard input), from a variable (--password-env), or is
asked for on a terminal.`,
	}
	// Nothing here depends on a setting.
	usage, _, _ := strings.Cut(usageTemplate, "\n\nSettings are flags too")
	cmd.SetUsageTemplate(usage + `
{{if .HasAvailableSubCommands}}
Use '{{.CommandPath}} [command] --help' for more about a command.
{{end}}`)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return failWith(exitUsage, "%w\nSee '%s --help' for its flags", err, cmd.CommandPath())
	})
	cmd.AddCommand(pkiNewCommand(p), pkiCSRCommand(p), pkiIssueCommand(p), pkiShowCommand(p), pkiConvertCommand(p), pkiCheckCommand(p))
	return cmd
}

// problem is a [pki.Problem] with the name of the file or flag that has it.
type problem struct {
	where string
	*pki.Problem
}

func (p problem) Error() string {
	if p.where == "" {
		return p.Cause
	}
	return p.where + ": " + p.Cause
}

func (p problem) Hint() string  { return p.Remedy }
func (p problem) Unwrap() error { return p.Problem }

// in says where an error is; in the case of a [pki.Problem] so that its remedy is
// printed after it. Nowhere is "".
func in(where string, err error) error {
	var named problem
	var bare *pki.Problem
	switch {
	case err == nil:
		return nil
	case where == "" && (!errors.As(err, &bare) || errors.As(err, &named)):
		return err
	case errors.As(err, &named):
		return problem{where + ": " + named.where, named.Problem}
	case errors.As(err, &bare):
		return problem{where, bare}
	}
	return fmt.Errorf("%s: %w", where, err)
}

// wrongFlag is a usage error about the value of a flag.
func wrongFlag(name string, err error) error { return coded{exitUsage, in("--"+name, err)} }

// form is a form in which a certificate, or a pair, is written to a file.
type form struct {
	name    string
	ending  string // of the file's name
	private bool   // holds the private key
	holds   string
	encode  func(pki.Pair, protection) ([]byte, error)
}

// protection says how what is private in a file is protected.
type protection struct {
	profile     pki.Profile
	password    string // of PFX
	keyPassword string // of PEM; empty for none
}

// forms lists every [form].
var forms = []form{
	{"pfx", ".pfx", true, "private key and certificates (PKCS#12), for Azure, Windows, Java", func(p pki.Pair, by protection) ([]byte, error) {
		return pki.EncodePFX(p, by.profile, by.password)
	}},
	{"pem", ".pem", true, "private key and certificates (PEM), for reeve, Azure SDKs, OpenSSL", func(p pki.Pair, by protection) ([]byte, error) {
		key, err := pki.EncodeKey(p.Key, by.keyPassword)
		return append(key, pki.EncodeCertificates(fullChain(p)...)...), err
	}},
	{"key", ".key.pem", true, "private key alone (PEM, PKCS#8)", func(p pki.Pair, by protection) ([]byte, error) {
		return pki.EncodeKey(p.Key, by.keyPassword)
	}},
	{"cer", ".cer", false, "certificate alone (PEM, which is base64), to upload", func(p pki.Pair, _ protection) ([]byte, error) {
		return pki.EncodeCertificates(p.Certificate), nil
	}},
	{"der", ".der", false, "certificate alone (DER, binary), to upload", func(p pki.Pair, _ protection) ([]byte, error) {
		return p.Certificate.Raw, nil
	}},
	{"chain", ".chain.pem", false, "certificate and those of its issuers (PEM)", func(p pki.Pair, _ protection) ([]byte, error) {
		return pki.EncodeCertificates(fullChain(p)...), nil
	}},
	{"graph-key", ".graph.json", false, "certificate as a key credential of Microsoft Graph (JSON)", func(p pki.Pair, _ protection) ([]byte, error) {
		return pki.EncodeGraphKey(p.Certificate, "")
	}},
}

// encrypts reports whether the private key in the file is encrypted.
func (f form) encrypts(by protection) bool {
	if f.name == "pfx" {
		return by.password != ""
	}
	return f.private && by.keyPassword != ""
}

func fullChain(p pki.Pair) []*x509.Certificate {
	return append([]*x509.Certificate{p.Certificate}, p.Chain...)
}

func formNames() []string {
	var names []string
	for _, f := range forms {
		names = append(names, f.name)
	}
	return names
}

func findForm(name string) (form, error) {
	for _, f := range forms {
		if f.name == name {
			return f, nil
		}
	}
	return form{}, fmt.Errorf("%q is not one of %s", name, strings.Join(formNames(), ", "))
}

// texts are the values of an enumerated flag.
func texts[T ~string](values []T) []string {
	var all []string
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

func oneOf(flag, value string, values []string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return wrongFlag(flag, fmt.Errorf("%q is not one of %s", value, strings.Join(values, ", ")))
}

func complete(cmd *cobra.Command, flag string, values []string) {
	cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// nameFlags say whom a certificate names.
type nameFlags struct {
	subject                string
	dns, emails, ips, uris []string
}

func (n *nameFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.subject, "subject", "CN=reeve", `whom it names: "CN=reeve, O=Contoso, C=DE", or a common name alone`)
	f.StringSliceVar(&n.dns, "dns", nil, "a DNS name that it is for (repeatable)")
	f.StringSliceVar(&n.emails, "email", nil, "an email address that it is for (repeatable)")
	f.StringSliceVar(&n.ips, "ip", nil, "an IP address that it is for (repeatable)")
	f.StringArrayVar(&n.uris, "uri", nil, "a URI that it is for (repeatable)")
}

// template gives what the flags say. What they name is checked where it is used.
func (n *nameFlags) template() (pki.Template, error) {
	var t pki.Template
	var err error
	if t.Subject, err = pki.ParseName(n.subject); err != nil {
		return t, wrongFlag("subject", err)
	}
	t.DNSNames, t.Emails = n.dns, n.emails
	for _, s := range n.ips {
		ip := net.ParseIP(s)
		if ip == nil {
			return t, wrongFlag("ip", fmt.Errorf("%q is no IP address", s))
		}
		t.IPAddresses = append(t.IPAddresses, ip)
	}
	for _, s := range n.uris {
		u, err := url.Parse(s)
		if err != nil {
			return t, wrongFlag("uri", fmt.Errorf("%q is no URI", s))
		}
		t.URIs = append(t.URIs, u)
	}
	return t, nil
}

// dateFlags say when a certificate is valid.
type dateFlags struct {
	days                int
	notBefore, notAfter string
}

// flags defines them; own says that the certificate may be an authority's.
func (d *dateFlags) flags(cmd *cobra.Command, own bool) {
	f := cmd.Flags()
	text := fmt.Sprintf("how long it is valid, %d to %d days", pki.MinDays, pki.MaxDays)
	if own {
		text += fmt.Sprintf(" (an authority's own up to %d, and 1825 unless this is given)", pki.MaxAuthorityDays)
	}
	f.IntVar(&d.days, "days", 365, text)
	f.StringVar(&d.notBefore, "not-before", "", "valid from, as 2027-01-31 or 2027-01-31T08:00:00Z (default now)")
	f.StringVar(&d.notAfter, "not-after", "", "valid until, in place of --days")
}

// backdating lets a certificate be valid at once where a clock is behind ours.
const backdating = 5 * time.Minute

// dates gives the first and the last moment.
func (d *dateFlags) dates(cmd *cobra.Command, now time.Time, authority bool) (from, until time.Time, err error) {
	from = now.Add(-backdating).UTC().Truncate(time.Second)
	if d.notBefore != "" {
		if from, err = parseDate(d.notBefore); err != nil {
			return from, until, wrongFlag("not-before", err)
		}
	}
	if d.notAfter != "" {
		if cmd.Flags().Changed("days") {
			return from, until, wrongFlag("days", errors.New("given together with --not-after: leave one out"))
		}
		if until, err = parseDate(d.notAfter); err != nil {
			return from, until, wrongFlag("not-after", err)
		}
		return from, until, nil
	}
	days := d.days
	if authority && !cmd.Flags().Changed("days") {
		days *= 5
	}
	life, err := pki.Lifetime(days, authority)
	if err != nil {
		return from, until, wrongFlag("days", err)
	}
	return from, from.Add(life), nil
}

func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a day as 2027-01-31 nor a moment as 2027-01-31T08:00:00Z", s)
}

// placeFlags say where files go.
type placeFlags struct {
	folder, name string
	force        bool
}

func (l *placeFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.folder, "out", ".", "the folder to write to; made if it is not there")
	f.StringVar(&l.name, "name", "", "what the files are called, without ending (default after the subject)")
	forceFlag(cmd, &l.force)
	cmd.MarkFlagDirname("out")
}

func forceFlag(cmd *cobra.Command, force *bool) {
	cmd.Flags().BoolVar(force, "force", false, "replace files that are there already")
}

// path gives the path of the file with an ending, named after something unless a
// flag names it.
func (l *placeFlags) path(after, ending string) string {
	return filepath.Join(l.folder, cmp.Or(l.name, after)+ending)
}

func (l *placeFlags) check() error {
	if strings.ContainsAny(l.name, `/\`) {
		return wrongFlag("name", fmt.Errorf("%q has a folder in it, which --out names", l.name))
	}
	return nil
}

// maxFileName bounds, in bytes, what a file is called after a subject. Systems allow
// 255, with the ending, and with what is added while the file is written.
const maxFileName = 200

// fileName makes a file's name of a certificate's subject.
func fileName(subject string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, subject)
	for len(name) > maxFileName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	name = strings.Trim(name, ".-")
	return cmp.Or(name, "certificate")
}

// output is what a command writes: all of its files or none.
type output struct {
	files []certstore.NewFile
	list  []written
}

// written is a file that a command wrote.
type written struct {
	Path       string `json:"path"`
	Form       string `json:"form"`
	Holds      string `json:"holds"`
	PrivateKey bool   `json:"private_key"`
	Encrypted  bool   `json:"encrypted"`
}

// add encodes a pair in a form, for a file.
func (o *output) add(path string, f form, pair pki.Pair, by protection) error {
	data, err := f.encode(pair, by)
	if err != nil {
		return in("", err)
	}
	o.files = append(o.files, certstore.NewFile{Path: path, Data: data})
	o.list = append(o.list, written{path, f.name, f.holds, f.private, f.encrypts(by)})
	return nil
}

// fileThere gives what a command says of an error: with the exit code of wrong use if that is
// that a file is there already, whichever command it is.
func fileThere(err, says error) error {
	if errors.Is(err, fs.ErrExist) {
		return coded{exitUsage, says}
	}
	return says
}

func (o *output) write(force bool) error {
	err := certstore.WriteFiles(o.files, force)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return fileThere(err, in("", &pki.Problem{Cause: err.Error(), Remedy: "choose another name, or have it replaced by --force; nothing was written"}))
	}
	return in("", &pki.Problem{Cause: err.Error(), Remedy: "choose another place, or see that this one may be written to; nothing was written"})
}

// listFiles says what was written, and what is not encrypted.
func listFiles(w io.Writer, files []written) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range files {
		fmt.Fprintf(t, "  %s\t%s\n", f.Path, f.Holds)
	}
	t.Flush()
	for _, f := range files {
		if f.PrivateKey && !f.Encrypted {
			fmt.Fprintf(w, "The private key in %s is NOT encrypted: who can read the file has the key.\n", f.Path)
		}
	}
}

// printCertificate is a certificate in three lines.
func printCertificate(w io.Writer, d pki.Description) {
	fmt.Fprintf(w, "Certificate %s, %s\n", plain(d.Subject), d.Key)
	fmt.Fprintf(w, "  thumbprint %s\n", d.SHA1)
	fmt.Fprintf(w, "  valid from %s until %s (%s)\n", utc(d.NotBefore), utc(d.NotAfter), daysLeft(d.DaysLeft))
}

// plain shows a text of somebody's certificate or file on a terminal, without what
// would steer that: a line end, an escape sequence, a turn of the writing direction.
func plain(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

func daysLeft(n int) string {
	switch {
	case n < 0:
		return "expired"
	case n == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", n)
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// warn prints what speaks against something that was done all the same.
func (p *program) warn(problems []pki.Problem) {
	for _, w := range problems {
		fmt.Fprintf(p.Err, "warning: %s\n  remedy: %s\n", w.Cause, indent(w.Remedy))
	}
}
