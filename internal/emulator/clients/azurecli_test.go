package clients_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// testAzureCLI puts the Azure CLI to work, through the proxy: it has Microsoft's
// hosts built in.
func testAzureCLI(t *testing.T, w *world) {
	az := newAzureCLI(t, w)
	az.signIn(w.clientID(), w.variable(t, "CERT_PEM"))

	var token struct{ AccessToken string }
	az.answer(&token, "account", "get-access-token", "--resource", "https://vault.azure.net")
	if token.AccessToken == "" {
		t.Error("there is no token for the vault")
	}
	var organization struct{ Value []struct{ ID string } }
	az.answer(&organization, "rest", "--url", "https://graph.microsoft.com/v1.0/organization")
	if len(organization.Value) != 1 || organization.Value[0].ID != w.Tenant.ID {
		t.Errorf("the organization is %+v", organization)
	}
	var tenants struct{ Value []struct{ TenantID string } }
	az.answer(&tenants, "rest", "--url", "https://management.azure.com/tenants?api-version=2020-01-01")
	if len(tenants.Value) != 1 || tenants.Value[0].TenantID != w.Tenant.ID {
		t.Errorf("the tenants are %+v", tenants)
	}
	azManagesTheVault(t, w, az)
	var names []string
	az.answer(&names, "ad", "app", "list", "--all", "--query", "[].displayName")
	if n := len(w.Tenant.Directory.View(0).Applications()); len(names) != n {
		t.Errorf("%d applications were listed, want %d", len(names), n)
	}

	var app struct{ ID, AppID string }
	az.answer(&app, "ad", "app", "create", "--display-name", "made by az")
	az.answer(nil, "ad", "sp", "create", "--id", app.AppID)
	if w.principal(t, app.AppID).DisplayName != "made by az" {
		t.Error("the service principal has another name")
	}
	az.answer(nil, "ad", "app", "update", "--id", app.AppID, "--display-name", "changed by az")
	var shown struct{ DisplayName string }
	az.answer(&shown, "ad", "app", "show", "--id", app.AppID)
	if shown.DisplayName != "changed by az" || w.application(t, app.ID).DisplayName != shown.DisplayName {
		t.Errorf("the application is named %q, want %q", shown.DisplayName, "changed by az")
	}

	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.stranger.certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	az.answer(nil, "ad", "app", "credential", "reset", "--id", app.AppID, "--cert", "@"+certificate, "--append")
	keys := w.application(t, app.ID).KeyCredentials
	if len(keys) != 1 || !bytes.Equal(keys[0].Key, w.stranger.certificate.Raw) {
		t.Fatalf("the key credentials are %+v", keys)
	}
	var credentials []struct{ KeyID, CustomKeyIdentifier string }
	az.answer(&credentials, "ad", "app", "credential", "list", "--id", app.AppID, "--cert")
	if len(credentials) != 1 || credentials[0].KeyID != keys[0].KeyID || !w.stranger.isIdentified(credentials[0].CustomKeyIdentifier) {
		t.Errorf("the credentials are %+v", credentials)
	}
	newAzureCLI(t, w).signIn(app.AppID, w.variable(t, "STRANGER_PEM"))
	az.answer(nil, "ad", "app", "credential", "delete", "--id", app.AppID, "--cert", "--key-id", keys[0].KeyID)
	if keys := w.application(t, app.ID).KeyCredentials; len(keys) != 0 {
		t.Errorf("the key credentials are %+v, want none", keys)
	}
	if _, err := newAzureCLI(t, w).run("login", "--service-principal", "--allow-no-subscriptions",
		"--tenant", w.Tenant.ID, "-u", app.AppID, "-p", w.variable(t, "STRANGER_PEM")); err == nil || !strings.Contains(err.Error(), "AADSTS70002") {
		// 700027 names a certificate, 700026 an application that has none.
		t.Errorf("signing in with the certificate that was taken away: %v, want AADSTS700026 or AADSTS700027", err)
	}

	// A certificate of the CLI's own making.
	var reset struct{ FileWithCertAndPrivateKey string }
	az.answer(&reset, "ad", "app", "credential", "reset", "--id", app.AppID, "--create-cert", "--years", "1")
	newAzureCLI(t, w).signIn(app.AppID, reset.FileWithCertAndPrivateKey)

	role, err := directory.RoleID(directory.Graph, "User.Read.All")
	if err != nil {
		t.Fatal(err)
	}
	az.answer(nil, "ad", "app", "permission", "add", "--id", app.AppID, "--api", directory.Graph, "--api-permissions", role+"=Role")
	if asked := w.application(t, app.ID).RequiredResourceAccess; len(asked) != 1 || asked[0].ResourceAppID != directory.Graph || asked[0].Access[0].ID != role {
		t.Errorf("the application asks for %+v", asked)
	}
	federated := `{"name": "build", "issuer": "https://token.actions.example", "subject": "repo:contoso/site:ref:refs/heads/main", "audiences": ["api://AzureADTokenExchange"]}`
	az.answer(nil, "ad", "app", "federated-credential", "create", "--id", app.AppID, "--parameters", federated)
	if f := w.application(t, app.ID).FederatedCredentials; len(f) != 1 || f[0].Name != "build" {
		t.Errorf("the federated credentials are %+v", f)
	}
	az.answer(nil, "ad", "app", "federated-credential", "delete", "--id", app.AppID, "--federated-credential-id", "build")
	var owners []struct{ ID string }
	az.answer(&owners, "ad", "app", "owner", "list", "--id", app.AppID)
	if len(owners) != len(w.application(t, app.ID).Owners) {
		t.Errorf("the owners are %+v, want %v", owners, w.application(t, app.ID).Owners)
	}
	az.answer(nil, "ad", "app", "delete", "--id", app.AppID)
	if _, ok := w.Tenant.Directory.View(0).Application(app.ID); ok {
		t.Error("the application is still there")
	}
	if _, err := az.run("ad", "app", "show", "--id", app.AppID); err == nil {
		t.Error("the deleted application is shown")
	}
}

// azManagesTheVault finds the vault and gives somebody a role on it.
func azManagesTheVault(t *testing.T, w *world, az azureCLI) {
	if err := w.Grant(w.clientID(), "resources/Owner"); err != nil {
		t.Fatal(err)
	}
	az.signIn(w.clientID(), w.variable(t, "CERT_PEM")) // which looks for subscriptions
	var account struct{ ID string }
	az.answer(&account, "account", "show")
	if account.ID != w.Tenant.SubscriptionID {
		t.Errorf("the subscription is %s, want %s", account.ID, w.Tenant.SubscriptionID)
	}
	var vault struct {
		ID         string
		Properties struct{ VaultURI string }
	}
	az.answer(&vault, "keyvault", "show", "--name", w.Tenant.Vault.Name)
	if !strings.Contains(vault.Properties.VaultURI, w.Tenant.Vault.Name) {
		t.Errorf("the vault is %+v", vault)
	}
	var all []struct{ ID string }
	az.answer(&all, "keyvault", "list")
	if len(all) != 1 || all[0].ID != vault.ID {
		t.Errorf("the vaults are %+v", all)
	}
	somebody, _ := w.Tenant.Directory.View(0).User("pat@" + w.Tenant.Domain)
	// Debian's CLI falls over its own "az role assignment".
	rest := func(into any, method, path, version, body string) {
		t.Helper()
		args := []string{"rest", "--method", method, "--url", "https://management.azure.com" + path + "?api-version=" + version}
		if body != "" {
			args = append(args, "--body", body)
		}
		az.answer(into, args...)
	}
	rest(nil, "put", vault.ID+"/accessPolicies/add", "2023-07-01",
		`{"properties": {"accessPolicies": [{"tenantId": "`+w.Tenant.ID+`", "objectId": "`+somebody.ID+`", "permissions": {"secrets": ["get"]}}]}}`)
	if !w.Tenant.Vault.Allowed(somebody.ID, "secrets/get") {
		t.Error("the access policy was not kept")
	}
	const authorization, version = "/providers/Microsoft.Authorization/", "2022-04-01"
	var found, listed struct{ Value []struct{ ID, Name string } }
	rest(&found, "get", vault.ID+authorization+"roleDefinitions", version+"&$filter=roleName%20eq%20'Key%20Vault%20Secrets%20User'", "")
	if len(found.Value) != 1 {
		t.Fatalf("the role definitions are %+v", found)
	}
	var assigned struct{ ID string }
	name := vault.ID + authorization + "roleAssignments/11111111-2222-4333-8444-555555555555"
	rest(&assigned, "put", name, version, `{"properties": {"roleDefinitionId": "`+found.Value[0].ID+`", "principalId": "`+somebody.ID+`"}}`)
	rest(&assigned, "get", name, version, "")
	if assigned.ID != name {
		t.Errorf("the role assignment is %s, want %s", assigned.ID, name)
	}
	rest(&listed, "get", vault.ID+authorization+"roleAssignments", version, "")
	if len(listed.Value) != 3 { // two owners besides
		t.Errorf("the role assignments are %+v", listed)
	}
	rest(nil, "delete", name, version, "")
	rest(nil, "get", "/subscriptions/"+w.Tenant.SubscriptionID, "2020-01-01", "")
}

// azureCLI is the Azure CLI with a configuration of its own, and so signed in as
// one client at a time.
type azureCLI struct {
	t   *testing.T
	w   *world
	env []string
}

func newAzureCLI(t *testing.T, w *world) azureCLI {
	t.Helper()
	return azureCLI{t, w, []string{
		"AZURE_CONFIG_DIR=" + t.TempDir(), "AZURE_CORE_COLLECT_TELEMETRY=no", "AZURE_CORE_ONLY_SHOW_ERRORS=yes",
		"HTTPS_PROXY=" + w.variable(t, "PROXY_URL"),
	}}
}

func (a azureCLI) signIn(clientID, file string) {
	a.t.Helper()
	a.answer(nil, "login", "--service-principal", "--allow-no-subscriptions", "--tenant", a.w.Tenant.ID, "-u", clientID, "-p", file)
}

// answer runs a command that must succeed and decodes what it prints into into
// unless that is nil.
func (a azureCLI) answer(into any, args ...string) {
	a.t.Helper()
	out, err := a.run(args...)
	if err == nil && into != nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		a.t.Fatalf("az %s: %v", strings.Join(args, " "), err)
	}
}

// run runs a command and returns what it prints; the error holds its message.
func (a azureCLI) run(args ...string) ([]byte, error) {
	a.t.Helper()
	c := a.w.command(a.t, "az", append(args, "--output", "json")...)
	c.Env = append(c.Env, a.env...)
	out, err := c.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		return nil, fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return out, err
}
