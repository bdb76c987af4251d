package app_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

var secondCode = regexp.MustCompile(`(?s)enter the code \w+.*second code.*enter the code (\w+)`)

// signsInTwice does what somebody does who signs in to Entra ID and then to Azure.
func (e *emulated) signsInTwice(t testing.TB, r *running, login, azure string) {
	t.Helper()
	e.signsIn(t, r, login)
	m := secondCode.FindStringSubmatch(r.says(t, secondCode))
	if err := e.approve(m[1], azure+"@"+e.Directory.Domain); err != nil {
		t.Fatal(err)
	}
}

// azure are the settings for a tenant with its vault.
func (e *emulated) azure(t testing.TB) []string {
	return e.cloud(t, "REEVE_RESOURCES_ENDPOINT="+e.variables["REEVE_RESOURCES_ENDPOINT"])
}

// held is what service principals may do at the vault: by roles and by access policies.
func (e *emulated) held(clientID string) []string {
	p, _ := e.Directory.View(0).ServicePrincipalByAppID(clientID)
	all := slices.Clone(e.Vault.Settings().Policies[p.ID])
	for _, a := range e.Vault.RoleAssignments() {
		if a.ObjectID == p.ID {
			all = append(all, a.Role)
		}
	}
	return all
}

// Access to a vault is planned, given, proved with a certificate that is really read, kept
// in mind, and taken away.
func TestAppSetupVault(t *testing.T) {
	t.Parallel()
	for name, rbac := range map[string]bool{"roles": true, "access policies": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulate(t, tenant.Options{})
			other := e.Directory.NewApplication("worker")
			if rbac {
				e.Vault.UseRBAC()
			}
			file := filepath.Join(t.TempDir(), "reeve.yaml")
			answers := filepath.Join(t.TempDir(), "answers.yaml")
			if err := os.WriteFile(answers, []byte("feeds: [audit]\nyes: true\nconfig: "+file+"\nclient-id: "+other.AppID+"\nvault: "+e.variables["VAULT_URL"]+
				"\nvault-certificate: "+tenant.CertificateName+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			environ := e.azure(t)
			r := start(t, environ, "app", "setup", "--answers", answers, "--dry-run")
			e.signsInTwice(t, r, "admin", "admin")
			o := r.wait(t)
			o.want(t, ok, "Nothing was changed")
			request := `PUT https://\S+/accessPolicies/add\?api-version=\S+\n +\{"properties":\{"accessPolicies":\[\{"tenantId":"` + e.ID
			step := `to do +vault policy +certificates/get, secrets/get at `
			if rbac {
				request = `PUT https://\S+/roleAssignments/[0-9a-f-]{36}\?api-version=\S+\n +\{"properties":\{"roleDefinitionId":"/subscriptions/\S+/db79e9a7-68ee-4b58-9aeb-b90e7c24fcba","principalId":"[0-9a-f-]{36}","principalType":"ServicePrincipal"`
				step = `to do +vault role +Key Vault Certificate User at `
			}
			for _, s := range []string{request, step} {
				if !regexp.MustCompile(s).MatchString(o.out) {
					t.Errorf("nothing says %q:\n%s", s, o.out)
				}
			}
			if got := e.held(other.AppID); len(got) > 0 {
				t.Errorf("it has %v", got)
			}

			r = startLong(t, environ, "app", "setup", "--answers", answers)
			e.signsInTwice(t, r, "admin", "admin")
			o = r.wait(t)
			o.want(t, ok)
			for _, s := range []string{"certificates/get of " + tenant.CertificateName, "secrets/get of " + tenant.CertificateName} {
				if !regexp.MustCompile(regexp.QuoteMeta(s) + ` at \S+: read`).MatchString(o.out) {
					t.Errorf("nothing says %q:\n%s", s, o.out)
				}
			}
			mustHide(t, "setup", o.out+o.err, nil)
			if got := e.held(other.AppID); rbac && len(got) != 1 || !rbac && len(got) != 2 {
				t.Errorf("it has %v", got)
			}
			if text := string(mustRead(t, file)); !strings.Contains(text, "resources-endpoint: ") || strings.Contains(text, "vault-url") {
				t.Errorf("the configuration is\n%s", text)
			}

			// Who may nothing in Azure gets a script, and nothing is taken away there.
			alone := []string{"REEVE_CONFIG=" + file}
			r = start(t, alone, "app", "remove", "--dry-run")
			e.signsInTwice(t, r, "admin", "pat")
			r.wait(t).want(t, signIn, "AuthorizationFailed", "--vault-script", "who can do it")
			r = start(t, alone, "app", "remove", "--dry-run", "--vault-script")
			e.signsIn(t, r, "admin")
			o = r.wait(t)
			o.want(t, ok)
			if !strings.Contains(o.out, "the vault's owner takes it away") || !strings.Contains(o.out, "\naz re") && !strings.Contains(o.out, "\naz ro") {
				t.Errorf("it says\n%s", o.out)
			}
			r = start(t, alone, "app", "remove", "--yes")
			e.signsInTwice(t, r, "admin", "admin")
			r.wait(t).want(t, ok)
			if got := e.held(other.AppID); len(got) > 0 {
				t.Errorf("afterwards it has %v", got)
			}
		})
	}
}

// What is said wrong about a vault is found before anybody signs in; who has no rights in
// Azure is told of the script, and gets it.
func TestAppSetupVaultRefusals(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	environ := e.azure(t)
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	args := func(more ...string) []string {
		return append([]string{"app", "setup", "--config", file, "--name", "another", "--feeds", "audit", "--dry-run"}, more...)
	}
	for says, more := range map[string][]string{
		"give --vault as well":            {"--vault-certificate", "reeve"},
		"the vault that it is for":        {"--vault-script"},
		"not of the form https://HOST":    {"--vault", "contoso"},
		"names a version":                 {"--vault", "https://contoso.vault.azure.net", "--vault-certificate", "reeve/" + strings.Repeat("a", 32)},
		"does not tell the name of the v": {"--vault", e.variables["VAULT_URL"], "--vault-script"},
	} {
		reeve(t, environ, args(more...)...).want(t, usage, says)
	}
	reeve(t, e.cloud(t), args("--vault", e.variables["VAULT_URL"])...).want(t, configuration, "resources-endpoint is not set")

	r := start(t, environ, args("--vault", e.variables["VAULT_URL"])...)
	e.signsInTwice(t, r, "admin", "pat")
	r.wait(t).want(t, failure, "does not see the key vault", "--vault-script")

	// Another application may do it without a person, and without a second code.
	for _, permission := range []string{"graph/Application.ReadWrite.All", "graph/AppRoleAssignment.ReadWrite.All", "resources/Reader"} {
		if err := e.service.Grant(e.Client().ClientID, permission); err != nil {
			t.Fatal(err)
		}
	}
	o := reeve(t, append(slices.Clone(environ), "REEVE_TENANT_ID="+e.ID), args("--vault", e.variables["VAULT_URL"], "--sign-in", "certificate", "--sign-in-client-id", e.Client().ClientID, "--sign-in-certificate", e.variables["CERT_PEM"])...)
	o.want(t, ok)
	if !strings.Contains(o.out, "/accessPolicies/add?") || strings.Contains(o.err, "second code") {
		t.Errorf("it says\n%s%s", o.out, o.err)
	}

	// Publishing and keys in the vault take more, which the script gives.
	r = start(t, environ, args("--vault", "https://contoso.vault.azure.net", "--vault-script", "--store", "keyvault-secrets", "--target", "keyvault:worker")...)
	e.signsIn(t, r, "admin")
	o = r.wait(t)
	o.want(t, ok)
	for _, s := range []string{"# Key Vault Certificates Officer", "# Key Vault Secrets Officer", "principal=PRINCIPAL-ID", "vault-url is https://contoso.vault.azure.net",
		"auth.vault-method says (managed-identity)"} {
		if !strings.Contains(o.out, s) {
			t.Errorf("nothing says %q:\n%s", s, o.out)
		}
	}
}
