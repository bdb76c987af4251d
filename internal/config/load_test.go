package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDefaults(t *testing.T) {
	want := &Config{
		Cloud:    "public",
		Auth:     Auth{Method: "certificate", VaultMethod: "managed-identity"},
		Database: Database{URL: "sqlite:reeve.db"},
		Feeds: Feeds{Audit: AuditFeed{
			Enabled:           true,
			ContentTypes:      []string{"Audit.AzureActiveDirectory", "Audit.Exchange", "Audit.SharePoint", "Audit.General", "DLP.All"},
			Days:              7,
			Interval:          10 * time.Minute,
			Concurrency:       8,
			RequestsPerMinute: 2000,
			Raw:               "all",
		}},
		Credentials: Credentials{Mode: "observe", Interval: 15 * time.Minute, Manager: "application"},
		Notify:      Notify{Mail: Mail{SubjectPrefix: "reeve", TLS: "starttls"}},
		Role:        "all",
		Listen:      "127.0.0.1:8080",
		Log:         Log{Level: "info", Format: "text"},
	}
	if diff := cmp.Diff(want, mustLoad(t, Source{}), cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	id := func(first string) string { return first + tenantID[1:] }
	file := writeFile(t, "# a comment\ntenant-id: "+id("3")+"\n")
	ways := []struct {
		name   string
		origin string
		give   func(*Source)
	}{
		{"flag", "flag --tenant-id", func(s *Source) { s.Flags = map[string]string{"tenant-id": id("1")} }},
		{"REEVE_", "environment variable REEVE_TENANT_ID", func(s *Source) { s.Environ = append(s.Environ, "REEVE_TENANT_ID="+id("2")) }},
		{"file", file + ":2", func(s *Source) { s.File = file }},
		{"AZURE_", "environment variable AZURE_TENANT_ID", func(s *Source) { s.Environ = append(s.Environ, "AZURE_TENANT_ID="+id("4")) }},
		{"original", "environment variable TenantGuid", func(s *Source) { s.Environ = append(s.Environ, "TenantGuid="+id("5")) }},
	}
	for i, strongest := range ways {
		var s Source
		for _, way := range ways[i:] {
			way.give(&s)
		}
		c := mustLoad(t, s)
		if want := id(string(rune('1' + i))); c.TenantID != want || c.Settings()[0].Origin != strongest.origin {
			t.Errorf("%s: got %s from %s, want %s from %s", strongest.name, c.TenantID, c.Settings()[0].Origin, want, strongest.origin)
		}
	}
}

func TestForeignNameThatDoesNotCountIsTold(t *testing.T) {
	environ := []string{"REEVE_TENANT_ID=" + tenantID, "REEVE_AUTH_METHOD=azure-cli", "REEVE_AUTHORITY_HOST=https://login.example"}
	same := mustLoad(t, Source{Environ: append(environ, "AZURE_TENANT_ID="+strings.ToUpper(tenantID), "AZURE_AUTHORITY_HOST=https://login.example/")})
	if n := same.Notices(); len(n) != 0 {
		t.Errorf("notices with equal values: %q", n)
	}
	differs := mustLoad(t, Source{Environ: append(environ, "AZURE_TENANT_ID="+clientID)})
	want := "environment variable AZURE_TENANT_ID is not used: tenant-id comes from environment variable REEVE_TENANT_ID"
	if n := differs.Notices(); !slices.Contains(n, want) {
		t.Errorf("notices: %q, want %q among them", n, want)
	}
}

// problems returns the lines of what Load finds wrong, with the path of the
// file shortened to FILE.
func problems(t *testing.T, s Source) []string {
	t.Helper()
	c, err := Load(s)
	if err == nil {
		return nil
	}
	if c != nil {
		t.Error("Load returned settings with its error")
	}
	ps, ok := errors.AsType[*Problems](err)
	if !ok {
		t.Fatalf("error is a %T", err)
	}
	var lines []string
	for _, p := range *ps {
		line := p.Error()
		if s.File != "" {
			line = strings.ReplaceAll(line, s.File, "FILE")
		}
		lines = append(lines, line)
		if strings.Contains(line, hidden) {
			t.Errorf("shows a secret: %s", line)
		}
	}
	return lines
}

func TestAllProblemsAtOnce(t *testing.T) {
	file := writeFile(t, `# comment
tenant_id: 11111111-2222-3333-4444-555555555555
cloud: pubic
feeds:
  audit:
    days: 30
    content-types: [Audit.General, Audit.Sharepoint]
    org-urls:
      - https://contoso.sharepoint.com
      - contoso.sharepoint.com
  users:
    enabled: true
`)
	got := problems(t, Source{
		File:    file,
		SignIn:  true,
		Environ: []string{"REEVE_LOG_LEVLE=debug", "REEVE_LISTEN=0.0.0.0:8080", "HOME=/"},
		Flags:   map[string]string{"feeds.audit.concurrency": "0", "auth.method": "secret"},
	})
	want := []string{
		`FILE:2: tenant_id: unknown key; did you mean tenant-id?`,
		`FILE:11: feeds.users: unknown key`,
		`environment variable REEVE_LOG_LEVLE: unknown variable; did you mean REEVE_LOG_LEVEL?`,
		`FILE:3: cloud: "pubic": want one of public, gcc, gcc-high, dod, china, custom; did you mean public?`,
		`FILE:6: feeds.audit.days: "30": want a whole number from 1 to 7`,
		`FILE:7: feeds.audit.content-types: "Audit.Sharepoint": want one of Audit.AzureActiveDirectory, Audit.Exchange, Audit.SharePoint, Audit.General, DLP.All; did you mean Audit.SharePoint?`,
		`FILE:10: feeds.audit.org-urls: "contoso.sharepoint.com": want a URL that begins with https:// and a host, or = and such a URL for one exact site`,
		`environment variable REEVE_LISTEN: listen: "0.0.0.0:8080": want a loopback address: the status page has no sign-in yet, and others could read it; use 127.0.0.1 and reach it through an SSH tunnel or a proxy that signs people in`,
		`flag --feeds-audit-concurrency: feeds.audit.concurrency: "0": want a whole number from 1 to 64`,
		`tenant-id: missing: reeve must know which tenant to read; give it in the configuration file, as REEVE_TENANT_ID or with --tenant-id`,
		`client-id: missing: reeve must know as which application to sign in; give it in the configuration file, as REEVE_CLIENT_ID or with --client-id`,
		`auth.client-secret: missing: auth.method is secret (flag --auth-method); give it in the configuration file, as REEVE_AUTH_CLIENT_SECRET or in a file that REEVE_AUTH_CLIENT_SECRET_FILE names`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestErrorText(t *testing.T) {
	_, err := Load(Source{Flags: map[string]string{"cloud": "x"}})
	if want := `configuration: flag --cloud: cloud: "x": want one of`; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("one problem: %s", err)
	}
	_, err = Load(Source{Flags: map[string]string{"cloud": "x", "listen": "x"}})
	if want := "configuration: 2 problems:\n  flag --cloud: cloud: "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("two problems: %s", err)
	}
}

// version is one of a Key Vault object.
const version = "0123456789abcdef0123456789abcdef"

// One row per value that must be refused or changed.
func TestValues(t *testing.T) {
	const refused = "refused: "
	for _, tt := range []struct{ key, give, want string }{
		{"tenant-id", " 11111111-2222-3333-4444-55555555555F\r", "11111111-2222-3333-4444-55555555555f"},
		{"tenant-id", "contoso.onmicrosoft.com", refused + "want a GUID such as 11111111-2222-3333-4444-555555555555"},
		{"tenant-id", "{11111111-2222-3333-4444-555555555555}", refused + "want a GUID such as 11111111-2222-3333-4444-555555555555"},
		{"graph-endpoint", "https://graph.microsoft.us/", "https://graph.microsoft.us"},
		{"graph-endpoint", "https://graph.microsoft.com/v1.0", refused + "want only a host: leave out what follows https://graph.microsoft.com"},
		{"graph-endpoint", "http://127.0.0.1:9000", refused + "want a URL that begins with https:// and a host"},
		{"graph-endpoint", "graph.microsoft.com", refused + "want a URL that begins with https:// and a host"},
		{"graph-endpoint", "https://a:b@host", refused + "want a URL without a user name or password"},
		{"auth.certificate", "keyvault:O365AdvancedAnalytics", "keyvault:O365AdvancedAnalytics"},
		{"auth.certificate", "keyvault:", refused + "want keyvault:NAME, the name in letters, digits and dashes"},
		{"auth.certificate", "keyvault:a/b", refused + "want keyvault:NAME, the name in letters, digits and dashes"},
		{"auth.certificate", `C:\certs\reeve.pfx`, `C:\certs\reeve.pfx`},
		{"auth.certificate", "https://v.vault.azure.net/certificates/reeve", "https://v.vault.azure.net/certificates/reeve"},
		{"auth.certificate", "KeyVault:reeve/" + version, "keyvault:reeve/" + version},
		{"auth.certificate", "keyvault:reeve/1", refused + "want keyvault:NAME, the name in letters, digits and dashes"},
		{"auth.certificate", "HTTPS://v.vault.azure.net/secrets/reeve/" + version, "https://v.vault.azure.net/secrets/reeve/" + version},
		{"auth.client-secret", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)", refused +
			"a Key Vault reference that App Service did not resolve: give its managed identity the role Key Vault Secrets User, and see the setting's status in the portal"},
		{"auth.certificate", "https://v.vault.azure.net/keys/reeve", refused + "want a path, keyvault:NAME, or an identifier https://VAULT/certificates/NAME"},
		{"auth.certificate", "http://v.vault.azure.net/certificates/reeve", refused + "want a path, keyvault:NAME, or an identifier https://VAULT/certificates/NAME"},
		{"auth.vault-certificate", "keyvault:x", refused + "want the path of a file on this machine"},
		{"auth.send-chain", "yes", refused + "want true or false"},
		{"database.url", "postgres://host/reeve", "postgres://host/reeve"},
		{"database.url", "postgresql://me@host:5433/reeve?sslmode=verify-full", "postgresql://me@host:5433/reeve?sslmode=verify-full"},
		{"database.url", "postgres:///reeve?host=/run/postgresql", "postgres:///reeve?host=/run/postgresql"},
		{"database.url", "postgres://host", refused + `the database is missing; want "postgres://USER@HOST:PORT/DATABASE"`},
		{"database.url", "reeve.db", refused + `want "sqlite:PATH" or "postgres://HOST/DATABASE"; a path alone is not enough`},
		{"database.url", `C:\reeve.db`, refused + `want "sqlite:PATH" or "postgres://HOST/DATABASE"; a path alone is not enough`},
		{"database.url", `sqlite:C:\reeve.db`, `sqlite:C:\reeve.db`},
		{"database.url", "sqlite:", refused + `the path is missing; want "sqlite:PATH"`},
		{"database.url", "sqlite://reeve.db", refused + `want "sqlite:PATH" without the slashes of a URL in front of the path`},
		{"database.url", "mysql://host", refused + `unknown kind of database; want "sqlite:PATH" or "postgres://HOST/DATABASE"`},
		{"database.url", "", refused + `want "sqlite:PATH" or "postgres://HOST/DATABASE"; a path alone is not enough`},
		{"feeds.audit.days", "0", refused + "want a whole number from 1 to 7"},
		{"feeds.audit.days", "8", refused + "want a whole number from 1 to 7"},
		{"feeds.audit.days", "1", "1"},
		{"feeds.audit.days", "2.5", refused + "want a whole number from 1 to 7"},
		{"feeds.audit.concurrency", "65", refused + "want a whole number from 1 to 64"},
		{"feeds.audit.interval", "1h", "1h"},
		{"feeds.audit.interval", "90m", "1h30m"},
		{"feeds.audit.interval", "10", refused + "want a duration such as 90s, 10m or 1h30m, from 1s to 24h"},
		{"feeds.audit.interval", "-10m", refused + "want a duration such as 90s, 10m or 1h30m, from 1s to 24h"},
		{"feeds.audit.org-urls", "", ""},
		{"feeds.audit.org-urls", " = https://a.example/x , ", "=https://a.example/x"},
		{"feeds.audit.org-urls", "https://a.example/*", refused + "want no *: a rule is the beginning of a URL, and what follows is in scope"},
		{"feeds.audit.org-urls", "http://a.example", refused + "want a URL that begins with https:// and a host, or = and such a URL for one exact site"},
		{"feeds.audit.org-urls", "https://a.example/?x=1", refused + "want the URL of a site, without a user, a query (?…) or a fragment (#…)"},
		{"feeds.audit.content-types", "", refused + "the list is empty: name at least one, or set feeds.audit.enabled to false"},
		{"listen", "localhost:0", "localhost:0"},
		{"listen", "[::1]:80", "[::1]:80"},
		{"listen", "127.9.9.9:80", "127.9.9.9:80"},
		{"listen", "8080", refused + "want HOST:PORT, such as 127.0.0.1:8080"},
		{"listen", "localhost:http", refused + "want a port from 0 to 65535 after the colon; 0 takes a free one"},
		{"listen", "localhost:65536", refused + "want a port from 0 to 65535 after the colon; 0 takes a free one"},
		{"log.level", "INFO", refused + "want one of debug, info, warn, error; did you mean info?"},
	} {
		got := ""
		c, err := Load(Source{Flags: map[string]string{tt.key: tt.give}})
		if ps, ok := errors.AsType[*Problems](err); ok {
			got = refused + (*ps)[0].Text
			if len(*ps) > 1 || (*ps)[0].Key != tt.key {
				t.Errorf("%s %q: %v", tt.key, tt.give, err)
			}
		} else {
			i := slices.IndexFunc(c.Settings(), func(s Setting) bool { return s.Key == tt.key })
			got = c.Settings()[i].Value
		}
		if got != tt.want {
			t.Errorf("%s %q:\n got %s\nwant %s", tt.key, tt.give, got, tt.want)
		}
	}
	for _, all := range []string{":8080", "0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "example.com:80"} {
		if got := problems(t, Source{Flags: map[string]string{"listen": all}}); len(got) != 1 || !strings.Contains(got[0], "want a loopback address") {
			t.Errorf("listen %s: %q", all, got)
		}
	}
}

func TestSecretsStayOutOfProblems(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("long", []byte(strings.Repeat(hidden, 1<<14)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Source{
		{Flags: map[string]string{"database.url": "postgres://u:hunter2@host/db"}},
		{Flags: map[string]string{"database.url": "postgres://host/db?user=u&password=hunter2"}},
		{Flags: map[string]string{"database.url": "host=h password=hunter2"}},
		{Flags: map[string]string{"vault-url": "https://u:hunter2@host"}},
		{Flags: map[string]string{"vault-url": "https://u:hunter2@x@ho st"}},
		{Flags: map[string]string{"feeds.audit.org-urls": "https://u:hunter2@host"}},
		{Environ: []string{"REEVE_CLIENT_SECRET=hunter2"}},
		{Environ: []string{"REEVE_AUTH_CLIENT_SECRET=hunter2", "REEVE_AUTH_CLIENT_SECRET_FILE=long"}},
		{Environ: []string{"REEVE_AUTH_CLIENT_SECRET_FILE=long"}},
		{File: writeFile(t, "client-secret: hunter2\n")},
		{File: writeFile(t, "auth:\n  client-secret: *hunter2\n")},
		{File: writeFile(t, "auth:\n  client-secret: !hunter2\n")},
		{File: writeFile(t, "auth:\n  client-secret: !hunter2 x\n")},
		{File: writeFile(t, "auth:\n  client-secret: &hunter2 x\n")},
		{File: writeFile(t, "auth:\n  client-secret: [hunter2\n")},
		{File: writeFile(t, "auth:\n  client-secret: {hunter2}\n")},
		{File: writeFile(t, "auth:\n  client-secret: #hunter2\n")},
		{File: writeFile(t, "auth:\n  client-secret: %hunter2\n")},
		{File: writeFile(t, "auth:\n  client-secret: \"\\hunter2\"\n")},
		{File: writeFile(t, "auth:\n  client-secret: a: hunter2\n")},
		{File: writeFile(t, "auth: hunter2\n")},
		{File: writeFile(t, "hunter2\n")},
	} {
		if len(problems(t, s)) == 0 { // It looks for the secret.
			t.Errorf("no problem in %+v", s)
		}
	}
}

func TestConfigurationFileMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	got := problems(t, Source{File: file})
	if len(got) != 1 || !strings.HasPrefix(got[0], "FILE: reading the configuration file: ") {
		t.Errorf("problems: %q", got)
	}
}
