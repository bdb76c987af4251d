package sample_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/sample"
)

// usual are settings as an administrator has them.
func usual(t *testing.T, cloud string) sample.Settings {
	t.Helper()
	c, err := m365.LookupCloud(cloud)
	if err != nil {
		t.Fatal(err)
	}
	return sample.Settings{
		Cloud: c, TenantID: "contoso.onmicrosoft.com", ClientID: "11111111-1111-4111-8111-111111111111",
		Path: "/etc/reeve/certificate.pem", Call: "/organization",
	}
}

func vaulted(s sample.Settings) sample.Settings {
	s.Path, s.VaultURL, s.Name = "", "https://contoso.vault.azure.net/", "reeve"
	return s
}

func program(t *testing.T, s sample.Settings, language string) map[string]string {
	t.Helper()
	files, err := s.Program(language)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		all[f.Name] = f.Text
	}
	return all
}

// The mistakes of published samples: taking the vault's certificate, which has no
// private key; reading a path that nothing was written to; names of packages that are
// not quite those; a secret in the text.
func TestProgramsTakeTheSecret(t *testing.T) {
	fetches := map[string]string{
		"go": "GetSecret(", "node": "getSecret(", "python": "get_secret(", "java": "/secrets/reeve", "dotnet": "GetSecretAsync(",
		"powershell": "Get-AzKeyVaultSecret", "php": "/secrets/reeve",
	}
	public := regexp.MustCompile(`(?i)CertificateClient|vault\.get_?certificate\(|Get-AzKeyVaultCertificate|azcertificates|keyvault-certificates|/certificates/`)
	for _, l := range sample.Languages() {
		for name, s := range map[string]sample.Settings{"file": usual(t, "public"), "vault": vaulted(usual(t, "public"))} {
			for file, text := range program(t, s, l.Name) {
				if file == "README.md" {
					if !strings.Contains(text, s.ClientID) || l.Unrun != "" != strings.Contains(text, "not run by reeve's tests") {
						t.Errorf("%s, %s: the README does not say what it should:\n%s", l.Name, name, text)
					}
					continue
				}
				if found := public.FindString(text); found != "" {
					t.Errorf("%s, %s: %s has %q, the public part alone", l.Name, name, file, found)
				}
				if strings.Contains(text, "<no value>") || strings.Contains(text, "{{") || strings.Contains(text, ".net//") {
					t.Errorf("%s, %s: %s is not filled in:\n%s", l.Name, name, file, text)
				}
				if !strings.HasPrefix(strings.ToLower(file), "main") && file != "Program.cs" {
					continue
				}
				if got := strings.Contains(text, fetches[l.Name]); got != s.Vaulted() {
					t.Errorf("%s, %s: it asks the vault for the secret: %v\n%s", l.Name, name, got, text)
				}
				if strings.Contains(text, "/etc/reeve/certificate.pem") == s.Vaulted() {
					t.Errorf("%s, %s: the path of the file is not where it should be:\n%s", l.Name, name, text)
				}
				if unrun := strings.Contains(text, "not run by reeve's tests"); unrun != (l.Unrun != "") {
					t.Errorf("%s: it says that it is not run: %v", l.Name, unrun)
				}
				// Checks that Microsoft's own clouds pass are switched off elsewhere alone.
				if loose := regexp.MustCompile(`(?i)discovery|challenge`).FindString(text); loose != "" {
					t.Errorf("%s, %s: it has %q in the public cloud", l.Name, name, loose)
				}
			}
		}
	}
}

func TestProgramsKnowClouds(t *testing.T) {
	for cloud, want := range map[string][]string{
		"gcc":      {"https://login.microsoftonline.com", "https://graph.microsoft.com/v1.0/organization", "'Global'", "https://vault.azure.net"},
		"gcc-high": {"https://login.microsoftonline.us", "https://graph.microsoft.us/v1.0/organization", "'USGov'", "https://vault.usgovcloudapi.net", "'AzureUSGovernment'"},
		"dod":      {"https://login.microsoftonline.us", "https://dod-graph.microsoft.us/v1.0/organization", "'USGovDoD'", "https://vault.usgovcloudapi.net"},
		"china":    {"https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn/v1.0/organization", "'China'", "https://vault.azure.cn", "'AzureChinaCloud'"},
	} {
		var all strings.Builder
		for _, l := range sample.Languages() {
			for _, text := range program(t, vaulted(usual(t, cloud)), l.Name) {
				all.WriteString(text)
			}
		}
		for _, text := range want {
			if !strings.Contains(all.String(), text) {
				t.Errorf("%s: no program has %s", cloud, text)
			}
		}
		if cloud != "gcc" && strings.Contains(all.String(), "graph.microsoft.com") {
			t.Errorf("%s: a program asks the public cloud's Graph", cloud)
		}
	}
}

// What is said to need the versions that are tested needs those.
func TestVersionsAreTested(t *testing.T) {
	s := vaulted(usual(t, "public"))
	ours, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(program(t, s, "go")["go.mod"]) {
		line = strings.TrimSpace(line)
		if (strings.HasPrefix(line, "go ") || strings.Contains(line, " v")) && !strings.Contains(string(ours), line+"\n") {
			t.Errorf("go.mod of the sample has %q, and reeve's has another", line)
		}
	}
	var theirs, lock struct{ Dependencies map[string]string }
	if err := json.Unmarshal([]byte(program(t, s, "node")["package.json"]), &theirs); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join("..", "emulator", "clients", "testdata", "node", "package.json"))
	if err == nil {
		err = json.Unmarshal(data, &lock)
	}
	if err != nil || len(theirs.Dependencies) != 2 {
		t.Fatal(err, theirs)
	}
	for name, version := range theirs.Dependencies {
		if lock.Dependencies[name] != version {
			t.Errorf("%s is tested in version %s, and package.json has %s", name, lock.Dependencies[name], version)
		}
	}
	var composer map[string]any
	if err := json.Unmarshal([]byte(program(t, s, "php")["composer.json"]), &composer); err != nil {
		t.Error(err)
	}
}

// The languages that are run have to read nasty paths; of the others, how they are
// written is compared here.
func TestQuoting(t *testing.T) {
	s := usual(t, "public")
	s.Path = `C:\new "a" 'b' ’c‛ $d é😀.pem`
	for language, want := range map[string]string{
		"dotnet":     `CreateFromPemFile("C:\\new \"a\" 'b' \u2019c\u201b $d \u00e9\ud83d\ude00.pem")`,
		"powershell": `CreateFromPemFile('C:\new "a" ''b'' ’’c‛‛ $d é😀.pem')`,
		"java":       `"C:\\new \"a\" 'b' \u2019c\u201b $d \u00e9\ud83d\ude00.pem"`,
		"python":     `"C:\\new \"a\" 'b' \u2019c\u201b $d \u00e9\U0001f600.pem"`,
		"php":        `'C:\\new "a" \'b\' ’c‛ $d é😀.pem'`,
	} {
		found := false
		for _, text := range program(t, s, language) {
			found = found || strings.Contains(text, want)
		}
		if !found {
			t.Errorf("%s: the path is not written %s", language, want)
		}
	}
	for name, change := range map[string]func(*sample.Settings){
		"line end":       func(s *sample.Settings) { s.Path = "a\nb" },
		"separator":      func(s *sample.Settings) { s.Path = "a\u2028b" },
		"not UTF-8":      func(s *sample.Settings) { s.CAFile = "a\xffb" },
		"tenant":         func(s *sample.Settings) { s.TenantID = `x","sub":"y` },
		"no tenant":      func(s *sample.Settings) { s.TenantID = "" },
		"client":         func(s *sample.Settings) { s.ClientID = "a b" },
		"host":           func(s *sample.Settings) { s.Cloud.AuthorityHost = `https://a"b` },
		"http":           func(s *sample.Settings) { s.Cloud.Graph = "http://graph.microsoft.com" },
		"call":           func(s *sample.Settings) { s.Call = "organization" },
		"another host":   func(s *sample.Settings) { s.Call = "//example.com" },
		"call, blank":    func(s *sample.Settings) { s.Call = "/users?$filter=a eq b" },
		"no certificate": func(s *sample.Settings) { s.Path = "" },
		"no name":        func(s *sample.Settings) { s.Path, s.VaultURL = "", "https://contoso.vault.azure.net" },
		"name": func(s *sample.Settings) {
			s.Path, s.VaultURL, s.Name = "", "https://contoso.vault.azure.net", "a/b"
		},
	} {
		s := usual(t, "public")
		change(&s)
		for _, l := range sample.Languages() {
			if _, err := s.Program(l.Name); err == nil {
				t.Errorf("%s: a program in %s was written", name, l.Name)
			}
		}
	}
	if _, err := usual(t, "public").Program("cobol"); err == nil || !strings.Contains(err.Error(), "go, node, java, python, dotnet, powershell, php") {
		t.Errorf("error %v, want one that lists the languages", err)
	}
}

// A script has in it what it has to, and refuses what cannot be quoted.
func TestScripts(t *testing.T) {
	w := start(t)
	p, r := w.prover()
	for _, form := range sample.Forms() {
		text, err := sample.Script{Request: p.Request(r), Path: "/o'hara/’c.pem"}.In(form)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "eyJ") || strings.Contains(text, "<no value>") || !strings.Contains(text, w.Tenant.Client().ClientID) {
			t.Errorf("%s:\n%s", form, text)
		}
		if form == "powershell" && (!strings.Contains(text, `'/o''hara/’’c.pem'`) || !strings.Contains(text, "not run by reeve's tests")) {
			t.Errorf("%s:\n%s", form, text)
		}
		if form == "http" {
			continue
		}
		for _, path := range []string{"", "a\nb"} {
			if _, err := (sample.Script{Request: p.Request(r), Path: path}).In(form); err == nil {
				t.Errorf("%s was written for the path %q", form, path)
			}
		}
	}
	if _, err := (sample.Script{Request: p.Request(r), Path: "a"}).In("cobol"); err == nil {
		t.Error("there is a script in COBOL")
	}
}

// An exchange tells everything but the assertion and the token, unless it is told to.
func TestExchange(t *testing.T) {
	w := start(t)
	p, r := w.prover()
	signed, err := p.SignedRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	token, proof, err := p.Token(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	about := pki.Describe(w.pair.Certificate, time.Now())
	for _, reveal := range []bool{false, true} {
		e, err := sample.Explain(signed, about, reveal)
		if err == nil {
			err = e.Answered(token.Token, proof, nil, reveal)
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for form, text := range map[string]string{"text": e.Text(), "JSON": string(data)} {
			for _, secret := range []string{signed.Form.Get("client_assertion"), token.Token} {
				if strings.Contains(text, secret) != reveal {
					t.Errorf("%s, reveal %v: a secret is in it or is missing:\n%s", form, reveal, text)
				}
			}
			if !reveal && strings.Contains(text, "eyJ") {
				t.Errorf("%s has a part of a token:\n%s", form, text)
			}
			for _, want := range []string{
				signed.URL, "x5t#S256", pki.X5TS256(w.pair.Certificate), pki.SHA1(w.pair.Certificate), pki.SHA256(w.pair.Certificate),
				"client_assertion_type", "Organization.Read.All", "appidacr", proof.CorrelationID, "AADSTS90002",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("%s lacks %s:\n%s", form, want, text)
				}
			}
		}
		for _, parts := range [][]sample.Part{e.Header, e.Body, e.AssertionHeader, e.AssertionClaims} {
			for _, part := range parts {
				if part.Meaning == "" {
					t.Errorf("%s is not explained", part.Name)
				}
			}
		}
	}
}

func TestExchangeRefused(t *testing.T) {
	w := start(t)
	p, r := w.prover()
	r.ClientID = "00000000-0000-4000-8000-00000000000a"
	signed, err := p.SignedRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	_, proof, refused := p.Token(t.Context(), r)
	var signIn *m365.SignInError
	if !errors.As(refused, &signIn) {
		t.Fatal(refused)
	}
	e, err := sample.Explain(signed, pki.Describe(w.pair.Certificate, time.Now()), false)
	if err == nil {
		err = e.Answered("", proof, refused, false)
	}
	x, _ := signIn.Explanation()
	if text := e.Text(); err != nil || !strings.Contains(text, "AADSTS700016") || !strings.Contains(text, x.Remedy) || !strings.Contains(text, "THE ANSWER: 40") {
		t.Errorf("%v:\n%s", err, text)
	}
}

// The page says of each language, and of each form, whether it is run.
func TestPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operate", "samples.md"))
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]bool{"http": true, "curl": true, "python": true, "javascript": true, "powershell": false}
	rows := map[string][]bool{}
	for _, form := range sample.Forms() {
		rows[form] = append(rows[form], run[form])
	}
	for _, l := range sample.Languages() {
		rows[l.Name] = append(rows[l.Name], l.Unrun == "")
	}
	for name, want := range rows {
		var got []bool
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, "| `"+name+"` |") {
				cells := strings.Split(line, "|")
				got = append(got, strings.HasPrefix(strings.TrimSpace(cells[3]), "yes"))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the page says of %s that it is run: %v, want %v", name, got, want)
		}
	}
}
