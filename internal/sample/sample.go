// Package sample writes small complete programs that sign in with a certificate, in
// several languages, and shows the request by which that is done. It reads and sends
// nothing: what it is told goes into texts.
package sample

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/reeve365/reeve/internal/m365"
)

// Settings are what stands in a program.
type Settings struct {
	Cloud    m365.Cloud
	TenantID string
	ClientID string

	// The program takes the certificate from the PEM file at Path, or where that is
	// empty from a key vault, of which it asks the secret: that has the private key.
	Path     string
	VaultURL string
	Name     string
	Version  string // empty for the newest, also after the next renewal

	Call   string // what is asked of Graph, below /v1.0, such as /organization
	CAFile string // PEM, trusted beside or in place of the system's; may be empty
}

// File is a file of a program.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Language is a language that programs are written in.
type Language struct {
	Name string
	// Unrun says why reeve's tests do not run the programs; empty where they do.
	Unrun string

	files   []string // the program first; README.md goes without saying
	install string   // shell lines of the README, as templates
	run     string
	trust   string // run where CAFile is set
	note    string // of the README
}

// languages are in the order in which people are shown them.
var languages = []Language{
	{
		Name: "go", files: []string{"main.go", "go.mod"},
		install: "go mod tidy",
		run:     "go run .",
		trust:   "SSL_CERT_FILE={{sh .CAFile}} go run .",
	},
	{
		Name: "node", files: []string{"main.mjs", "package.json"},
		install: "npm install",
		run:     "node main.mjs",
		trust:   "NODE_EXTRA_CA_CERTS={{sh .CAFile}} node main.mjs",
		note:    "It needs Node.js 20 or later.{{if .Vaulted}} Node.js cannot read PFX, which is what most vaults hold, so the program has the command `openssl` take the private key out of it.{{end}}",
	},
	{
		Name: "java", files: []string{"Main.java", "pom.xml"},
		run:   "java Main.java",
		trust: "keytool -importcert -noprompt -alias own -file {{sh .CAFile}} -keystore trust.p12 -storepass changeit\njava -Djavax.net.ssl.trustStore=trust.p12 -Djavax.net.ssl.trustStorePassword=changeit Main.java",
		note:  "It needs a JDK of 17 or later and no library: what MSAL4J would do stands in it. `pom.xml` is for those who build with Maven.{{if not .Vaulted}} The private key has to be PKCS #8, as reeve writes it (`BEGIN PRIVATE KEY`).{{end}}",
	},
	{
		Name: "python", files: []string{"main.py", "requirements.txt"},
		install: "python3 -m venv venv\nvenv/bin/pip install -r requirements.txt",
		run:     "venv/bin/python main.py",
		trust:   "REQUESTS_CA_BUNDLE={{sh .CAFile}} venv/bin/python main.py",
	},
	{
		Name: "dotnet", files: []string{"Program.cs", "sample.csproj"},
		Unrun:   "there is no .NET where they run",
		install: "dotnet restore",
		run:     "dotnet run",
		trust:   "SSL_CERT_FILE={{sh .CAFile}} dotnet run",
		note:    "It needs .NET 10. On Windows an authority of your own has to be in the system's store; `SSL_CERT_FILE` is for Linux.",
	},
	{
		Name: "powershell", files: []string{"main.ps1"},
		Unrun:   "there is no PowerShell where they run",
		install: "pwsh -Command 'Install-Module Microsoft.Graph.Authentication{{if .Vaulted}}, Az.Accounts, Az.KeyVault{{end}} -Scope CurrentUser'",
		run:     "pwsh -File main.ps1",
		trust:   "SSL_CERT_FILE={{sh .CAFile}} pwsh -File main.ps1",
		note:    "It needs PowerShell 7.2 or later. On Windows an authority of your own has to be in the system's store; `SSL_CERT_FILE` is for Linux.",
	},
	{
		Name: "php", files: []string{"main.php", "composer.json"},
		run:   "php main.php",
		trust: "php main.php",
		note:  "It needs PHP 8.1 or later with the extensions openssl and curl, and no library. `composer.json` says so to Composer.",
	},
}

// Languages returns the languages, in the order in which to show them.
func Languages() []Language { return append([]Language(nil), languages...) }

//go:embed templates
var templates embed.FS

// Program writes the program in a language, with what belongs to it: the program
// first, README.md last.
func (s Settings) Program(language string) ([]File, error) {
	for _, l := range languages {
		if l.Name == language {
			return l.write(s)
		}
	}
	var names []string
	for _, l := range languages {
		names = append(names, l.Name)
	}
	return nil, fmt.Errorf("there is no sample in %q: choose one of %s", language, strings.Join(names, ", "))
}

func (l Language) write(s Settings) ([]File, error) {
	for _, origin := range []*string{&s.Cloud.AuthorityHost, &s.Cloud.Graph, &s.VaultURL} {
		*origin = strings.TrimSuffix(*origin, "/")
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	var all []File
	for _, name := range l.files {
		text, err := fill(path.Join(l.Name, name), s)
		if err != nil {
			return nil, err
		}
		all = append(all, File{name, text})
	}
	readme := struct {
		Settings
		Language, Unrun          string
		File, Install, Run, Note string
	}{Settings: s, Language: l.Name, Unrun: l.Unrun, File: l.files[0]}
	run := l.run
	if s.CAFile != "" {
		run = l.trust
	}
	for _, line := range []struct {
		to   *string
		text string
	}{{&readme.Install, l.install}, {&readme.Run, run}, {&readme.Note, l.note}} {
		var err error
		if *line.to, err = execute(template.New(l.Name), line.text, s); err != nil {
			return nil, err
		}
	}
	text, err := fill("README.md", readme)
	return append(all, File{"README.md", text}), err
}

// Vaulted reports whether the certificate is in a key vault.
func (s Settings) Vaulted() bool { return s.Path == "" }

// Relative reports whether where the certificate is depends on the folder in which the
// program is started.
func (s Settings) Relative() bool {
	return !s.Vaulted() && !filepath.IsAbs(s.Path) && !windowsPath.MatchString(s.Path)
}

// windowsPath knows absolute ones also where reeve runs on something else.
var windowsPath = regexp.MustCompile(`^([A-Za-z]:[\\/]|\\\\)`)

// What goes into addresses and into JSON, where quoting is not enough.
var (
	originForm = regexp.MustCompile(`^https://[A-Za-z0-9.:\[\]-]+$`)
	idForm     = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
	callForm   = regexp.MustCompile(`^/[A-Za-z0-9][!-~]*$`)
)

func (s Settings) check() error {
	if s.Cloud.AuthorityHost == "" || s.Cloud.Graph == "" {
		return fmt.Errorf("cloud %q has no authority host or no Graph endpoint: give the addresses that the program is to use", s.Cloud.Name)
	}
	type value struct{ name, text string }
	origins := []value{{"authority host", s.Cloud.AuthorityHost}, {"Graph endpoint", s.Cloud.Graph}}
	ids := []value{{"tenant ID", s.TenantID}, {"client ID", s.ClientID}}
	texts := []value{{"CA file", s.CAFile}}
	if s.Vaulted() {
		if s.VaultURL == "" || s.Name == "" {
			return errors.New("it is not said where the program finds the certificate: give a file, or a key vault and a name")
		}
		origins = append(origins, value{"vault's address", s.VaultURL})
		ids = append(ids, value{"certificate's name", s.Name})
		if s.Version != "" {
			ids = append(ids, value{"certificate's version", s.Version})
		}
	} else {
		texts = append(texts, value{"path", s.Path})
	}
	for _, v := range origins {
		if !originForm.MatchString(v.text) {
			return fmt.Errorf("the %s is %.80q: give https://HOST and no more", v.name, v.text)
		}
	}
	for _, v := range ids {
		if !idForm.MatchString(v.text) {
			return fmt.Errorf("the %s is %.80q, which is none", v.name, v.text)
		}
	}
	for _, v := range texts {
		if err := writable(v.text); err != nil {
			return fmt.Errorf("the %s %+q cannot stand in a program: %w", v.name, v.text, err)
		}
	}
	if !callForm.MatchString(s.Call) || strings.Contains(s.Call, "#") {
		return fmt.Errorf("%.80q is nothing to ask Graph: give what follows /v1.0, percent-encoded, such as /organization", s.Call)
	}
	return nil
}

// writable reports what no quoting makes good in all languages, comments and shells.
func writable(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("it is not UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return errors.New("it has a control character in it, or a line end")
		}
	}
	return nil
}

// fill executes a template that is named after the file that it makes.
func fill(name string, data any) (string, error) {
	text, err := templates.ReadFile(path.Join("templates", name+".tmpl"))
	if err != nil {
		return "", fmt.Errorf("looking for the sample %s: %w", name, err)
	}
	return execute(template.New(name), string(text), data)
}

func execute(t *template.Template, text string, data any) (string, error) {
	if _, err := t.Funcs(quoting).Option("missingkey=error").Parse(text); err != nil {
		return "", fmt.Errorf("reading the sample %s: %w", t.Name(), err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("writing the sample %s: %w", t.Name(), err)
	}
	return b.String(), nil
}

// MgEnvironment is what the Microsoft Graph PowerShell SDK calls the cloud.
func (s Settings) MgEnvironment() string {
	switch s.Cloud.Name {
	case "gcc-high":
		return "USGov"
	case "dod":
		return "USGovDoD"
	case "china":
		return "China"
	case m365.Custom:
		if !s.Cloud.Listed() {
			return "reeve"
		}
	}
	return "Global"
}

// AzEnvironment is what Azure PowerShell calls the cloud; empty for its default.
func (s Settings) AzEnvironment() string {
	switch s.Cloud.Name {
	case "gcc-high", "dod":
		return "AzureUSGovernment"
	case "china":
		return "AzureChinaCloud"
	}
	return ""
}

// VaultName is the vault's name, by which Azure PowerShell alone knows it.
func (s Settings) VaultName() string {
	host := strings.TrimPrefix(s.VaultURL, "https://")
	name, _, _ := strings.Cut(host, ".")
	return name
}
