package resources_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestResources(t *testing.T) {
	clock := emulatortest.NewClock(time.Now())
	w := emulatortest.Start(t, clock.Now)
	at := w.Origins().Resources
	manager := w.Token(t, "https://management.azure.com/")
	other := w.Token(t, "https://graph.microsoft.com")
	const version = "?api-version=2019-11-01"
	for _, c := range []struct {
		name, method, path, token string
		status                    int
		code                      string
	}{
		{"subscriptions", "GET", "/subscriptions" + version, manager, http.StatusOK, ""},
		{"in any case", "GET", "/Subscriptions/" + version, manager, http.StatusOK, ""},
		{"tenants", "GET", "/tenants" + version, manager, http.StatusOK, ""},
		{"by its other name", "GET", "/tenants" + version, w.Token(t, "https://management.core.windows.net/"), http.StatusOK, ""},
		{"without a token", "GET", "/subscriptions" + version, "", http.StatusUnauthorized, "AuthenticationFailed"},
		{"another's token", "GET", "/subscriptions" + version, other, http.StatusUnauthorized, "AuthenticationFailed"},
		{"without a version", "GET", "/subscriptions", manager, http.StatusBadRequest, "MissingApiVersionParameter"},
		{"a version that is none", "GET", "/subscriptions?api-version=7.3", manager, http.StatusBadRequest, "InvalidApiVersionParameter"},
		{"what is not emulated", "GET", "/subscriptions/x/y" + version, manager, http.StatusNotImplemented, "NotImplemented"},
		{"writing", "PUT", "/subscriptions" + version, manager, http.StatusNotImplemented, "NotImplemented"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var header []string
			if c.token != "" {
				header = []string{"Authorization", "Bearer " + c.token}
			}
			a := w.Do(t, c.method, at+c.path, "", header...)
			failure, _ := a.Body["error"].(map[string]any)
			if code, _ := failure["code"].(string); a.Status != c.status || code != c.code {
				t.Errorf("%d %s, want %d %s", a.Status, a.Text, c.status, c.code)
			}
		})
	}
	a := w.Do(t, "GET", at+"/tenants"+version, "", "Authorization", "Bearer "+manager)
	if value, _ := a.Body["value"].([]any); len(value) != 1 || value[0].(map[string]any)["tenantId"] != w.Tenant.ID {
		t.Errorf("the tenants are %s, want %s", a.Text, w.Tenant.ID)
	}
	clock.Add(48 * time.Hour)
	if a := w.Do(t, "GET", at+"/tenants"+version, "", "Authorization", "Bearer "+manager); a.Status != http.StatusUnauthorized {
		t.Errorf("with a token that has expired: %d, want 401", a.Status)
	}
}

// person returns a token for Resource Manager of somebody who signed in to the
// Azure CLI with a device code.
func person(t *testing.T, w *emulatortest.World, login string) string {
	t.Helper()
	const scope = "https://management.azure.com//.default"
	a := w.PostForm(t, "/organizations/oauth2/v2.0/devicecode", url.Values{"client_id": {directory.AzureCLI}, "scope": {scope}})
	code, _ := a.Body["user_code"].(string)
	b := w.Do(t, "POST", w.Origins().Control+"/devicecodes/"+code+"/approve", `{"user": "`+login+"@"+w.Tenant.Domain+`"}`,
		"Authorization", "Bearer "+w.Control(), "Content-Type", "application/json")
	if b.Status >= 300 {
		t.Fatalf("approving the code %q: %d %s", code, b.Status, b.Text)
	}
	device, _ := a.Body["device_code"].(string)
	c := w.PostForm(t, "/organizations/oauth2/v2.0/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {directory.AzureCLI}, "device_code": {device},
	})
	access, ok := c.Body["access_token"].(string)
	if !ok {
		t.Fatalf("%d %s", c.Status, c.Text)
	}
	return access
}

// manager asks Resource Manager with one token.
type manager struct {
	*emulatortest.World
	bearer string
}

// do sends a request and checks its status, and the code of the error if the
// status is one.
func (m manager) do(t *testing.T, status int, code, method, path, body string) emulatortest.Answer {
	t.Helper()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	if !strings.Contains(path, "api-version") {
		path += separator + "api-version=2022-04-01"
	}
	a := m.Do(t, method, m.Origins().Resources+strings.ReplaceAll(path, " ", "%20"), body, "Authorization", "Bearer "+m.bearer, "Content-Type", "application/json")
	failure, _ := a.Body["error"].(map[string]any)
	if got, _ := failure["code"].(string); a.Status != status || got != code {
		t.Errorf("%s %s: %d %s, want %d %s", method, path, a.Status, a.Text, status, code)
	}
	return a
}

func (m manager) subscription() string { return "/subscriptions/" + m.Tenant.SubscriptionID }

func (m manager) vault() string {
	return m.subscription() + "/resourceGroups/reeve/providers/Microsoft.KeyVault/vaults/" + m.Tenant.Vault.Name
}

// at is where a role assignment is.
func at(scope, name string) string {
	return scope + "/providers/Microsoft.Authorization/roleAssignments/" + name
}

func assign(role, principal, more string) string {
	return `{"properties": {"roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/` + role + `", "principalId": "` + principal + `"` + more + `}}`
}

const (
	secretsUser   = "4633458b-17de-408a-b874-0445c86b69e6"
	contributor   = "b24988ac-6180-42a0-ab88-20f7382dd24c"
	accessManager = "8b54135c-b56d-4d72-a534-26097cfdc8d8"
	asPrincipal   = `, "principalType": "ServicePrincipal"`
)

func values(a emulatortest.Answer) []any {
	all, _ := a.Body["value"].([]any)
	return all
}

func TestWhoSeesTheVault(t *testing.T) {
	w := emulatortest.Start(t, nil)
	admin, pat := manager{w, person(t, w, "admin")}, manager{w, person(t, w, "pat")}
	if all := values(admin.do(t, 200, "", "GET", "/subscriptions", "")); len(all) != 1 || all[0].(map[string]any)["subscriptionId"] != w.Tenant.SubscriptionID {
		t.Errorf("the owner's subscriptions: %v", all)
	}
	if all := values(pat.do(t, 200, "", "GET", "/subscriptions", "")); len(all) != 0 {
		t.Errorf("the subscriptions of somebody without a role: %v", all)
	}
	filtered := admin.subscription() + "/resources?$filter=resourceType eq 'Microsoft.KeyVault/vaults'&api-version=2015-11-01"
	lists := []string{
		filtered, admin.subscription() + "/providers/Microsoft.KeyVault/vaults?api-version=2023-07-01",
		admin.subscription() + "/resourceGroups/reeve/providers/Microsoft.KeyVault/vaults?api-version=2023-07-01",
	}
	for _, list := range lists {
		if all := values(admin.do(t, 200, "", "GET", list, "")); len(all) != 1 || all[0].(map[string]any)["id"] != admin.vault() {
			t.Errorf("%s: %v", list, all)
		}
		pat.do(t, 403, "AuthorizationFailed", "GET", list, "")
	}
	vault := admin.do(t, 200, "", "GET", strings.ToUpper(admin.vault()), "")
	properties, _ := vault.Body["properties"].(map[string]any)
	if properties["vaultUri"] != w.Origins().Vault+"/" || properties["enableRbacAuthorization"] != false || len(properties["accessPolicies"].([]any)) != 2 {
		t.Errorf("the vault: %s", vault.Text)
	}
	w.Tenant.Vault.UseRBAC()
	if a := admin.do(t, 200, "", "GET", admin.vault(), ""); a.Body["properties"].(map[string]any)["enableRbacAuthorization"] != true {
		t.Errorf("the vault under role assignments: %s", a.Text)
	}
	for _, path := range []string{pat.vault(), pat.subscription()} {
		pat.do(t, 403, "AuthorizationFailed", "GET", path, "")
	}
	admin.do(t, 404, "SubscriptionNotFound", "GET", "/subscriptions/"+uuid.NewString(), "")
	admin.do(t, 404, "SubscriptionNotFound", "GET", strings.Replace(admin.vault(), w.Tenant.SubscriptionID, uuid.NewString(), 1), "")
	admin.do(t, 404, "ResourceGroupNotFound", "GET", strings.Replace(admin.vault(), "/reeve/", "/other/", 1), "")
	admin.do(t, 404, "ResourceNotFound", "GET", admin.vault()+"x", "")
	admin.do(t, 501, "NotImplemented", "GET", admin.subscription()+"/resources?$filter=tagName eq 'x'", "")

	// An application gets a role by --grant.
	client := w.Tenant.Client().ClientID
	app := manager{w, w.Token(t, "https://management.azure.com/")}
	app.do(t, 403, "AuthorizationFailed", "GET", app.vault(), "")
	if err := w.Grant(client, "resources/Reader"); err != nil {
		t.Fatal(err)
	}
	app.do(t, 200, "", "GET", app.vault(), "")
	app.do(t, 403, "AuthorizationFailed", "PUT", app.vault()+"/accessPolicies/add", "{}")
	if err := w.Grant(client, "resources/Emperor"); err == nil {
		t.Error("a role that there is not was granted")
	}
}

func TestAccessPolicies(t *testing.T) {
	w := emulatortest.Start(t, nil)
	admin := manager{w, person(t, w, "admin")}
	app := w.Tenant.Directory.NewApplication("new")
	principal, _ := w.Tenant.Directory.View(0).ServicePrincipalByAppID(app.AppID)
	secret := func(want int) {
		t.Helper()
		bearer := w.TokenOf(t, app.AppID, "https://vault.azure.net")
		if a := w.Do(t, "GET", w.Origins().Vault+"/secrets/"+tenant.CertificateName+"?api-version=7.4", "", "Authorization", "Bearer "+bearer); a.Status != want {
			t.Errorf("reading the secret: %d %s, want %d", a.Status, a.Text, want)
		}
	}
	entry := func(tenantID, permissions string) string {
		return `{"properties": {"accessPolicies": [{"tenantId": "` + tenantID + `", "objectId": "` + principal.ID + `", "permissions": ` + permissions + `}]}}`
	}
	own := w.Tenant.ID
	secret(403)
	a := admin.do(t, 200, "", "PUT", admin.vault()+"/accessPolicies/add?api-version=2023-07-01", entry(own, `{"secrets": ["Get"], "storage": []}`))
	if all, _ := a.Body["properties"].(map[string]any)["accessPolicies"].([]any); len(all) != 3 {
		t.Errorf("the access policies: %s", a.Text)
	}
	secret(200)
	admin.do(t, 200, "", "PUT", admin.vault()+"/accessPolicies/add", entry(own, `{"certificates": ["get", "import"]}`))
	secret(200) // What was there stays.
	admin.do(t, 200, "", "PUT", admin.vault()+"/accessPolicies/remove", entry(own, `{"secrets": ["get"]}`))
	secret(403)
	for name, body := range map[string]string{
		"no JSON": "x", "nothing": "{}", "an unknown permission": entry(own, `{"secrets": ["getall"]}`),
		"another tenant": entry(uuid.NewString(), `{"secrets": ["get"]}`), "storage": entry(own, `{"storage": ["get"]}`),
	} {
		code := "BadRequest"
		if name == "no JSON" {
			code = "InvalidRequestContent"
		}
		admin.do(t, 400, code, "PUT", admin.vault()+"/accessPolicies/add", body)
	}
	admin.do(t, 501, "NotImplemented", "PUT", admin.vault()+"/accessPolicies/replace", entry(own, `{"secrets": ["get"]}`))
	admin.do(t, 400, "BadRequest", "PUT", admin.vault()+"/accessPolicies/swap", entry(own, `{"secrets": ["get"]}`))
	secret(403)
}

func TestRoleAssignmentOpensTheVaultLate(t *testing.T) {
	clock := emulatortest.NewClock(time.Now())
	w := emulatortest.Start(t, clock.Now)
	w.Tenant.Vault.UseRBAC()
	admin := manager{w, person(t, w, "admin")}
	app := w.Tenant.Directory.NewApplication("new")
	principal, _ := w.Tenant.Directory.View(0).ServicePrincipalByAppID(app.AppID)
	w.SetDelays(origin.Delays{
		Reads: origin.Range{Least: 30 * time.Second, Most: 30 * time.Second}, Vault: origin.Range{Least: 10 * time.Minute, Most: 10 * time.Minute},
	})
	secret := func(want int) {
		t.Helper()
		bearer := w.TokenOf(t, app.AppID, "https://vault.azure.net")
		if a := w.Do(t, "GET", w.Origins().Vault+"/secrets/"+tenant.CertificateName+"?api-version=7.4", "", "Authorization", "Bearer "+bearer); a.Status != want {
			t.Errorf("reading the secret: %d %s, want %d", a.Status, a.Text, want)
		}
	}
	name := uuid.NewString()
	path := at(admin.vault(), name)

	// The directory that Resource Manager asks does not know the principal yet.
	admin.do(t, 400, "PrincipalNotFound", "PUT", path, assign(secretsUser, principal.ID, ""))
	admin.do(t, 400, "PrincipalNotFound", "PUT", path+"?api-version=2015-07-01", assign(secretsUser, principal.ID, asPrincipal))
	admin.do(t, 404, "RoleAssignmentNotFound", "GET", path, "")
	made := admin.do(t, 201, "", "PUT", path, assign(secretsUser, principal.ID, asPrincipal))
	if made.Body["id"] != path || made.Body["name"] != name || made.Body["properties"].(map[string]any)["principalType"] != "ServicePrincipal" {
		t.Errorf("the assignment: %s", made.Text)
	}
	admin.do(t, 409, "RoleAssignmentExists", "PUT", path, assign(secretsUser, principal.ID, asPrincipal))
	admin.do(t, 409, "RoleAssignmentExists", "PUT", at(admin.vault(), uuid.NewString()), assign(secretsUser, principal.ID, asPrincipal))
	admin.do(t, 400, "RoleAssignmentUpdateNotPermitted", "PUT", path, assign(contributor, principal.ID, asPrincipal))
	if got := admin.do(t, 200, "", "GET", path, ""); got.Body["id"] != path {
		t.Errorf("the assignment: %s", got.Text)
	}
	list := at(admin.vault(), "")
	for filter, want := range map[string]int{
		"": 2, "?$filter=atScope()": 2, "?$filter=principalId eq '" + principal.ID + "'": 1, "?$filter=assignedTo('" + uuid.NewString() + "')": 0,
	} {
		if got := values(admin.do(t, 200, "", "GET", strings.TrimSuffix(list, "/")+filter, "")); len(got) != want {
			t.Errorf("the filter %q: %v, want %d", filter, got, want)
		}
	}
	if got := values(admin.do(t, 200, "", "GET", strings.TrimSuffix(at(admin.subscription(), ""), "/")+"?$filter=atScope()", "")); len(got) != 1 {
		t.Errorf("at the subscription: %v", got)
	}
	found := values(admin.do(t, 200, "", "GET", admin.vault()+"/providers/Microsoft.Authorization/roleDefinitions?$filter=roleName eq 'Key Vault Secrets User'", ""))
	if len(found) != 1 || found[0].(map[string]any)["name"] != secretsUser {
		t.Errorf("the role by its name: %v", found)
	}

	secret(403)
	clock.Add(10*time.Minute + time.Second)
	secret(200)
	admin = manager{w, person(t, w, "admin")}
	admin.do(t, 200, "", "DELETE", path, "")
	admin.do(t, 204, "", "DELETE", path, "")
	secret(200) // It goes on for as long.
	clock.Add(10*time.Minute + time.Second)
	secret(403)
}

func TestWhoMayAssignRoles(t *testing.T) {
	w := emulatortest.Start(t, nil)
	admin := manager{w, person(t, w, "admin")}
	self := w.Tenant.Client().ClientID
	principal, _ := w.Tenant.Directory.View(0).ServicePrincipalByAppID(self)
	user, _ := w.Tenant.Directory.View(0).User("pat@" + w.Tenant.Domain)
	app := manager{w, w.Token(t, "https://management.azure.com/")}
	path := at(admin.vault(), uuid.NewString())
	app.do(t, 403, "AuthorizationFailed", "PUT", path, assign(secretsUser, principal.ID, ""))
	first := at(admin.vault(), uuid.NewString())
	admin.do(t, 201, "", "PUT", first, assign(contributor, principal.ID, asPrincipal))
	app.do(t, 403, "AuthorizationFailed", "PUT", path, assign(secretsUser, user.ID, ""))
	app.do(t, 403, "AuthorizationFailed", "DELETE", first, "")
	admin.do(t, 201, "", "PUT", at(admin.vault(), uuid.NewString()), assign(accessManager, principal.ID, asPrincipal))
	app.do(t, 403, "AuthorizationFailed", "PUT", path, assign(contributor, user.ID, ""))
	app.do(t, 201, "", "PUT", path, assign(secretsUser, user.ID, ""))
	app.do(t, 200, "", "DELETE", path, "")
	// Above the vault it may nothing.
	app.do(t, 403, "AuthorizationFailed", "PUT", at(app.subscription(), uuid.NewString()), assign(secretsUser, user.ID, ""))

	for code, body := range map[string]string{
		"UnmatchedPrincipalType":     assign(secretsUser, user.ID, asPrincipal),
		"RoleDefinitionDoesNotExist": assign(uuid.NewString(), user.ID, ""),
		"InvalidPrincipalId":         assign(secretsUser, "pat", ""),
		"InvalidPrincipalType":       assign(secretsUser, user.ID, `, "principalType": "Robot"`),
		"InvalidRequestContent":      "[]",
	} {
		admin.do(t, 400, code, "PUT", path, body)
	}
	admin.do(t, 400, "InvalidRoleAssignmentId", "PUT", at(admin.vault(), "mine"), assign(secretsUser, user.ID, ""))
	admin.do(t, 404, "ResourceNotFound", "PUT", at(admin.vault()+"x", uuid.NewString()), assign(secretsUser, user.ID, ""))
	owner := values(admin.do(t, 200, "", "GET", strings.TrimSuffix(at(admin.subscription(), ""), "/")+"?$filter=atScope()", ""))[0].(map[string]any)["id"].(string)
	admin.do(t, 400, "CannotDeleteLastRbacAdminAssignment", "DELETE", owner, "")
}
