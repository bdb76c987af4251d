package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What each way of signing in needs, and what it says about what it does not.
func TestSignIn(t *testing.T) {
	ids := []string{everything, "REEVE_TENANT_ID=" + tenantID, "REEVE_CLIENT_ID=" + clientID}
	for _, tt := range []struct {
		name    string
		environ string // beside ids, separated by spaces, without REEVE_
		missing string // keys
		notices string // words of each, separated by |
	}{
		{"certificate", "AUTH_CERTIFICATE=c.pem", "", ""},
		{"no certificate", "", "auth.certificate", ""},
		{"secret", "AUTH_METHOD=secret AUTH_CLIENT_SECRET=hunter2", "", "SIGNING IN WITH A CLIENT SECRET"},
		{"no secret", "AUTH_METHOD=secret", "auth.client-secret", ""},
		{"secret not used", "AUTH_CERTIFICATE=c.pem AUTH_CLIENT_SECRET=hunter2", "", "auth.client-secret (environment variable REEVE_AUTH_CLIENT_SECRET) is not used"},
		{"workload identity", "AUTH_METHOD=workload-identity AUTH_FEDERATED_TOKEN_FILE=t", "", ""},
		{"no token file", "AUTH_METHOD=workload-identity", "auth.federated-token-file", ""},
		{"managed identity", "AUTH_METHOD=managed-identity", "", ""},

		{"vault by name", "AUTH_CERTIFICATE=keyvault:c VAULT_URL=https://v.example", "", ""},
		{"no vault", "AUTH_CERTIFICATE=keyvault:c", "vault-url", ""},
		{"identifier", "AUTH_CERTIFICATE=https://v.example/certificates/c", "", ""},
		{"identifier with version", "AUTH_CERTIFICATE=https://v.example/certificates/c/" + version, "", "names one version (" + version + ")"},
		{"name with version", "AUTH_CERTIFICATE=keyvault:c/" + version + " VAULT_URL=https://v.example", "", "names one version (" + version + ")"},
		{"vault by secret", "AUTH_CERTIFICATE=keyvault:c VAULT_URL=https://v.example AUTH_VAULT_METHOD=secret AUTH_CLIENT_SECRET=hunter2", "", "OPENING THE KEY VAULT WITH A CLIENT SECRET"},
		{"vault by no secret", "AUTH_CERTIFICATE=keyvault:c VAULT_URL=https://v.example AUTH_VAULT_METHOD=secret", "auth.client-secret", ""},
		{"vault by certificate", "AUTH_CERTIFICATE=keyvault:c VAULT_URL=https://v.example AUTH_VAULT_METHOD=certificate AUTH_VAULT_CERTIFICATE=v.pem", "", ""},
		{"vault by no certificate", "AUTH_CERTIFICATE=keyvault:c VAULT_URL=https://v.example AUTH_VAULT_METHOD=certificate", "auth.vault-certificate", ""},
		{"vault by workload identity", "AUTH_CERTIFICATE=keyvault:c VAULT_URL=https://v.example AUTH_VAULT_METHOD=workload-identity", "auth.federated-token-file", ""},
		{"vault certificate not used", "AUTH_CERTIFICATE=keyvault:c VAULT_URL=https://v.example AUTH_VAULT_CERTIFICATE=v.pem", "", "auth.vault-certificate is not used: auth.vault-method is managed-identity (default)"},
		{"vault for policies", "AUTH_CERTIFICATE=c.pem VAULT_URL=https://v.example AUTH_VAULT_CERTIFICATE=v.pem AUTH_VAULT_METHOD=certificate", "", ""},
		{"vault not used", "AUTH_CERTIFICATE=c.pem AUTH_VAULT_CERTIFICATE=v.pem", "", "auth.vault-certificate is not used: no certificate is fetched"},

		{"custom cloud", "AUTH_METHOD=azure-cli CLOUD=custom", "authority-host graph-endpoint manage-endpoint", ""},
		{"whole custom cloud", "AUTH_METHOD=azure-cli CLOUD=custom AUTHORITY_HOST=https://a.example GRAPH_ENDPOINT=https://g.example MANAGE_ENDPOINT=https://m.example", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environ := ids
			for _, v := range strings.Fields(tt.environ) {
				environ = append(environ[:len(environ):len(environ)], "REEVE_"+v)
			}
			var missing []string
			for _, p := range problems(t, Source{SignIn: true, Environ: environ}) {
				key, _, _ := strings.Cut(p, ": missing: ")
				missing = append(missing, key)
			}
			if got := strings.Join(missing, " "); got != tt.missing {
				t.Errorf("missing %q, want %q", got, tt.missing)
			}
			c := mustLoad(t, Source{Environ: environ}) // Other commands need none of it.
			if missing == nil {
				c = mustLoad(t, Source{SignIn: true, Environ: environ})
			}
			want := splitList(tt.notices, "|")
			notices := c.Notices()
			if len(notices) != len(want) {
				t.Fatalf("notices %q, want %q", notices, want)
			}
			for i := range want {
				if !strings.Contains(notices[i], want[i]) {
					t.Errorf("notice %q, want %q", notices[i], want[i])
				}
			}
		})
	}
}

func TestIdentitiesThatNeedNoApplication(t *testing.T) {
	for _, method := range []string{"managed-identity", "azure-cli"} {
		mustLoad(t, Source{SignIn: true, Flags: map[string]string{"auth.method": method, "tenant-id": tenantID}})
	}
}

func TestSecretOnCommandLineIsTold(t *testing.T) {
	c := mustLoad(t, Source{Environ: []string{everything}, Flags: map[string]string{"auth.method": "secret", "auth.client-secret": hidden}})
	want := "auth.client-secret comes from the command line, which everyone on this machine can read in the list of processes: use REEVE_AUTH_CLIENT_SECRET_FILE"
	if n := c.Notices(); len(n) != 2 || n[1] != want {
		t.Errorf("notices: %q", n)
	}
}

// An empty list of sites is never both meant and not empty.
func TestScope(t *testing.T) {
	got := problems(t, Source{Environ: []string{everything}, Flags: map[string]string{"feeds.audit.org-urls": "https://contoso.sharepoint.com"}})
	want := []string{`environment variable REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING: feeds.audit.import-everything: "true": ` +
		`contradicts feeds.audit.org-urls (flag --feeds-audit-org-urls), which keeps only some sites: remove one of them`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
