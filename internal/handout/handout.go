// Package handout writes what somebody else's administrator gets: scripts that register
// the application in the language of their choice, and the consent pack.
//
// Nothing in a handout is secret. A certificate comes in as an [x509.Certificate], which
// has no private key.
package handout

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"embed"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
)

// Format is the language of a script.
type Format string

const (
	PowerShell Format = "powershell"
	AzureCLI   Format = "azure-cli"
	M365CLI    Format = "m365-cli"
	Bicep      Format = "bicep"
	Terraform  Format = "terraform"
	HTTP       Format = "http"
	Portal     Format = "portal"
)

// Formats lists them.
func Formats() []Format {
	return []Format{PowerShell, AzureCLI, M365CLI, Bicep, Terraform, HTTP, Portal}
}

// File is a file name that suits the format.
func (f Format) File() string {
	return map[Format]string{
		PowerShell: "reeve-setup.ps1", AzureCLI: "reeve-setup-az.sh", M365CLI: "reeve-setup-m365.sh", Bicep: "reeve.bicep",
		Terraform: "reeve.tf", HTTP: "reeve-setup-curl.sh", Portal: "reeve-setup.md",
	}[f]
}

// Order is what a script is made for.
type Order struct {
	Cloud     string // as in the configuration: public, gcc, …
	Authority string // the origin where people sign in
	Graph     string // the origin of Microsoft Graph
	Audience  string // the resource that tokens for it name; the origin where it is left out
	TenantID  string

	Name string // of the application, as people see it
	// UniqueName is by what the application is found again, whatever its Name: running a
	// script twice, or after another format, makes no second application.
	UniqueName string

	Feeds    []permission.Feed
	Optional bool // ask for the permissions that feeds can do without as well

	Certificate *x509.Certificate // nil: the script says where to upload it
	Role        *Role             // nil: no directory role, which is what reeve needs
	Vault       *Vault            // nil: the certificate is not to be in a Key Vault
}

// Role is a directory role that the application is given.
type Role struct {
	Name string
	ID   string // of the role's template, the same in every tenant
}

// Roles lists those that can be given. None lets its holder change anything.
func Roles() []Role {
	return []Role{
		{"Global Reader", "f2ef992c-3afb-46b9-b7cf-a126ee74c451"},
		{"Reports Reader", "4a5d8f65-41da-4de4-8968-e035b65339cf"},
	}
}

// Vault is a Key Vault that reeve is to read its certificate from.
type Vault struct {
	Name        string // without the domain
	URL         string
	Certificate string // its name in the vault
	Reader      string // the object ID of the identity under which reeve runs
}

// Role is the role that reads a certificate with its private key, Key Vault Certificate User.
func (Vault) Role() string { return "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba" }

// Assignments are the names of the role assignments, by the collection of the vault's in
// which the object is. Each time they are the same, so that nothing is assigned twice.
func (v Vault) Assignments() map[string]string {
	names := map[string]string{}
	for _, kind := range []string{"certificates", "secrets"} {
		names[kind] = uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.ToLower(v.URL+"/"+kind+"/"+v.Certificate+"#"+v.Reader))).String()
	}
	return names
}

var (
	guid       = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	uniqueName = regexp.MustCompile(`^[0-9A-Za-z._-]{1,120}$`)
	vaultName  = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)
)

// maxName is the longest name that Entra ID gives an application.
const maxName = 120

// Check reports what no script can be made of. What it lets pass cannot break out of a
// line or a comment: every character of it is seen.
func (o Order) Check() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	if !uniqueName.MatchString(o.UniqueName) {
		return fmt.Errorf("the unique name %q is not of letters, digits, dots and dashes", o.UniqueName)
	}
	if !guid.MatchString(o.TenantID) {
		return fmt.Errorf("the tenant ID %q is not a GUID", o.TenantID)
	}
	for _, origin := range []string{o.Authority, o.Graph, cmp.Or(o.Audience, o.Graph)} {
		if err := checkOrigin(origin); err != nil {
			return err
		}
	}
	if o.Role != nil && !slices.Contains(Roles(), *o.Role) {
		return fmt.Errorf("the directory role %q is not one that is given", o.Role.Name)
	}
	if v := o.Vault; v != nil {
		if !vaultName.MatchString(v.Name) || !vaultName.MatchString(v.Certificate) {
			return fmt.Errorf("the key vault %q with the certificate %q: names have letters, digits and dashes alone", v.Name, v.Certificate)
		}
		if !guid.MatchString(v.Reader) {
			return fmt.Errorf("who reads the key vault is %q, which is not an object ID", v.Reader)
		}
		if err := checkOrigin(v.URL); err != nil {
			return err
		}
	}
	if o.Certificate != nil && o.Certificate.NotAfter.Before(o.Certificate.NotBefore) {
		return fmt.Errorf("the certificate ends before it begins")
	}
	return nil
}

// origin is how an address is spelled that needs no quoting anywhere.
var origin = regexp.MustCompile(`^https://[0-9A-Za-z.-]+(:[0-9]{1,5})?$`)

func checkOrigin(s string) error {
	if !origin.MatchString(s) {
		return fmt.Errorf("%q is not of the form https://HOST", s)
	}
	return nil
}

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return fmt.Errorf("the application has no name")
	case !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName:
		return fmt.Errorf("the name of the application is not text of at most %d characters", maxName)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("the name %q has the character %U, which is not seen: leave it out", name, r)
		}
	}
	return nil
}

// tools are the names that a cloud has in the tools of others. An empty one: the tool
// does not know the cloud.
type tools struct {
	az, m365, mg, azuread string
	bicep                 bool
	portal                string
}

var clouds = map[string]tools{
	"public":   {"AzureCloud", "Public", "Global", "global", true, "https://entra.microsoft.com"},
	"gcc":      {"AzureCloud", "Public", "Global", "global", true, "https://entra.microsoft.com"},
	"gcc-high": {"AzureUSGovernment", "USGovHigh", "USGov", "usgovernmentl4", true, "https://entra.microsoft.us"},
	"dod":      {"", "USGovDoD", "USGovDoD", "usgovernmentl5", false, "https://entra.microsoft.us"},
	"china":    {"AzureChinaCloud", "China", "China", "china", true, "https://entra.microsoftonline.cn"},
}

//go:embed templates
var templates embed.FS

var scripts = template.Must(template.New("").Funcs(template.FuncMap{
	"sh": quoteShell, "ps": quotePowerShell, "hcl": quoteHCL, "bicep": quoteBicep, "md": escapeMarkdown,
	"date":  func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"upper": strings.ToUpper,
}).ParseFS(templates, "templates/*.tmpl"))

// Script writes the script of a format.
func Script(o Order, f Format) ([]byte, error) {
	o.Audience = cmp.Or(o.Audience, o.Graph)
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("writing the script: %w", err)
	}
	if !slices.Contains(Formats(), f) {
		return nil, fmt.Errorf("there is no format %q", f)
	}
	t := clouds[o.Cloud]
	known := map[Format]bool{
		PowerShell: t.mg != "", AzureCLI: t.az != "", M365CLI: t.m365 != "", Bicep: t.bicep, Terraform: t.azuread != "",
		HTTP: true, Portal: true,
	}
	if !known[f] {
		return nil, fmt.Errorf("writing the script: the tool for %s does not know the cloud %q: use --format http or portal", f, o.Cloud)
	}
	var b bytes.Buffer
	s := newScript(o, t)
	s.Header = header(s, f)
	if err := scripts.ExecuteTemplate(&b, string(f)+".tmpl", s); err != nil {
		return nil, fmt.Errorf("writing the script: %w", err)
	}
	text := b.Bytes()
	if f == PowerShell && slices.ContainsFunc([]rune(b.String()), func(r rune) bool { return r > unicode.MaxASCII }) {
		// Windows PowerShell takes a file without this mark for one of the system's code page.
		text = append([]byte("\xef\xbb\xbf"), text...)
	}
	return text, nil
}

// script is what templates are given.
type script struct {
	Order
	AZ, M365, MG, AzureAD, PortalURL string

	Header []string // what the script is and does, a line each
	Uses   []permission.Use
	APIs   []apiUses

	// The request bodies, as JSON.
	Body         string // of the application, without certificates
	Key          string // the key credential of the certificate
	PEM          string
	DER          string // base64
	SHA1, SHA256 string
	Spellings    []string // of the thumbprint, as tools send it as customKeyIdentifier
	KeyName      string   // the display name of the key credential
	NotAfter     string
	Filter       string // finds applications of the same name, for a URL
	ConsentURL   string // without the client ID
	AdminRole    string // the least role that may consent
	Web          bool   // a feed reads Log Analytics
}

// proof says how a format is known to work.
var proof = map[Format]string{
	AzureCLI:   "reeve's tests run it with the Azure CLI against an emulated tenant, twice.",
	M365CLI:    "reeve's tests run it with the CLI for Microsoft 365 against an emulated tenant, twice.",
	HTTP:       "reeve's tests run it against an emulated tenant, twice.",
	PowerShell: "NOT RUN by reeve's tests, which have no PowerShell: a parser has read it. Read it, too.",
	Bicep:      "NOT RUN by reeve's tests, which have no Bicep: a parser has read it. Read it, too.",
	Terraform:  "NOT RUN by reeve's tests, which cannot load the provider: terraform fmt has read it.\nLook at what terraform plan says.",
}

// header says what a script is and does.
func header(s script, f Format) []string {
	lines := []string{
		"Registers the application " + s.Name,
		"in the tenant " + s.TenantID + " (cloud " + s.Cloud + "), for reeve.",
		"",
		"What it makes:",
		"  1. the application, which asks for these permissions and no others:",
	}
	for _, u := range s.Uses {
		lines = append(lines, "       "+u.API.Name+": "+u.Name, "         to "+u.To)
	}
	if len(s.Uses) == 0 {
		lines = append(lines, "       none: the feeds that were chosen need none")
	}
	if s.Certificate != nil {
		lines = append(lines,
			"  2. the public part of the certificate with which reeve signs in,",
			"       thumbprint "+s.SHA1+", until "+s.Certificate.NotAfter.UTC().Format(time.DateOnly)+";",
			"       certificates that the application has already stay as they are")
	} else {
		lines = append(lines, "  2. no certificate: none was given to reeve app script. Its end says where to upload it")
	}
	lines = append(lines,
		"  3. the service principal, by which the application is known in this tenant",
		"  4. admin consent: the permissions above, given to the service principal")
	if s.Role != nil {
		lines = append(lines, "  5. the directory role "+s.Role.Name+" for it")
	}
	vault := s.Vault != nil && f == AzureCLI
	if vault {
		lines = append(lines, "  6. for the identity "+s.Vault.Reader+" the right to read the certificate",
			"       "+s.Vault.Certificate+" with its private key in the key vault "+s.Vault.Name)
	}
	lines = append(lines, "",
		"Who can run it: an Application Administrator for 1 to 3; for 4 a "+s.AdminRole,
		"or a Global Administrator. Nothing in this file is secret: it holds no private key.")
	if s.Role != nil {
		lines = append(lines, "For 5 a Privileged Role Administrator or a Global Administrator.")
	}
	if vault {
		lines = append(lines, "For 6 an Owner of the key vault; where it goes by access policies, a Contributor, too.")
	}
	if text := proof[f]; text != "" {
		lines = append(lines, strings.Split("\n"+text, "\n")...)
	}
	return lines
}

// apiUses are the permissions that are asked for of an API.
type apiUses struct {
	permission.API
	Label string // for a language's identifiers
	Uses  []permission.Use
}

func newScript(o Order, t tools) script {
	s := script{
		Order: o, AZ: t.az, M365: t.m365, MG: t.mg, AzureAD: t.azuread, PortalURL: t.portal,
		Uses: permission.Uses(o.Feeds, o.Optional),
	}
	if s.PortalURL == "" {
		s.PortalURL = clouds["public"].portal
	}
	s.APIs = byAPI(s.Uses)
	s.AdminRole = consenter(s.Uses)
	s.Web = slices.ContainsFunc(o.Feeds, func(f permission.Feed) bool { return f.Name == "web" })
	s.Body = toJSON(applicationBody(o.Name, s.APIs))
	s.Filter = strings.ReplaceAll(url.QueryEscape("displayName eq '"+strings.ReplaceAll(o.Name, "'", "''")+"'"), "+", "%20")
	s.ConsentURL = o.Authority + "/" + o.TenantID + "/adminconsent?client_id="
	if c := o.Certificate; c != nil {
		s.PEM = string(pki.EncodeCertificates(c))
		s.DER = base64Std(c.Raw)
		s.SHA1, s.SHA256 = pki.SHA1(c), pki.SHA256(c)
		s.Spellings = []string{pki.CustomKeyIdentifier(c), pki.CustomKeyIdentifierHex(c), s.SHA1}
		s.NotAfter = c.NotAfter.UTC().Format(time.RFC3339)
		s.KeyName = "reeve " + s.SHA1[:8]
		s.Key = toJSON(keyCredential{s.KeyName, "AsymmetricX509Cert", "Verify", s.DER, c.NotBefore.UTC().Format(time.RFC3339), s.NotAfter})
	}
	return s
}

// Discover are the flags with which reeve checks what the script has made, FILE being the
// certificate with its private key.
func (s script) Discover() string {
	var feeds []string
	for _, f := range s.Feeds {
		feeds = append(feeds, f.Name)
	}
	return "--tenant-id " + s.TenantID + " --certificate FILE --feeds " + strings.Join(feeds, ",") + " --wait"
}

func byAPI(uses []permission.Use) []apiUses {
	var all []apiUses
	for _, api := range permission.APIs() {
		a := apiUses{API: api, Label: api.Key}
		for _, u := range uses {
			if u.API == api {
				a.Uses = append(a.Uses, u)
			}
		}
		if len(a.Uses) > 0 {
			all = append(all, a)
		}
	}
	return all
}

// consenter is the least role that may consent to all of them.
func consenter(uses []permission.Use) string {
	if slices.ContainsFunc(uses, func(u permission.Use) bool { return u.API == permission.Graph }) {
		return permission.Graph.Consenters()[0]
	}
	return permission.Manage.Consenters()[0]
}
