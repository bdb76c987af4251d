package entra_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

func TestAudienceIsSpelledAsTheClientDoes(t *testing.T) {
	w := start(t)
	form := w.bySecret(t)
	for scope, aud := range map[string]string{
		"https://graph.microsoft.com/.default":           "https://graph.microsoft.com",
		"https://graph.microsoft.com//.default":          "https://graph.microsoft.com/",
		"https://vault.azure.net//.default":              "https://vault.azure.net/",
		"https://management.core.windows.net//.default":  "https://management.core.windows.net/",
		"https://management.core.windows.net/.default":   "https://management.core.windows.net",
		directory.ManagementAPIs + "/.default":           directory.ManagementAPIs,
		"https://contoso.sharepoint.com/.default openid": "https://contoso.sharepoint.com",
	} {
		if got := mustToken(t, w.post(t, w.v2("token"), with(form, "scope", scope)))["aud"]; got != aud {
			t.Errorf("for %s the audience is %v, want %s", scope, got, aud)
		}
	}
	if got := mustToken(t, w.post(t, w.v1("token"), with(form, "scope", "", "resource", "https://graph.microsoft.com/")))["aud"]; got != "https://graph.microsoft.com/" {
		t.Errorf("at v1 the audience is %v", got)
	}
}

func TestVersionIsTheResourcesToChoose(t *testing.T) {
	w := start(t)
	form := w.bySecret(t)
	api := w.Directory.NewApplication("api")
	name := "api://" + api.AppID
	two := 2
	ok(t, w.Directory.ChangeServicePrincipal(api.AppID, func(p *directory.ServicePrincipal) error {
		p.ServicePrincipalNames = append(p.ServicePrincipalNames, name)
		p.AppRoles = []directory.AppRole{{ID: uuid.NewString(), Value: "Do.All", IsEnabled: true}}
		return nil
	}))
	ok(t, w.Directory.GrantRole(w.app.AppID, api.AppID, "Do.All"))
	for _, version := range []*int{nil, &two} {
		ok(t, w.Directory.ChangeApplication(api.AppID, func(a *directory.Application) error {
			a.API.RequestedAccessTokenVersion = version
			return nil
		}))
		want := map[string]any{
			"aud": name, "iss": "https://sts.windows.net/" + w.Directory.TenantID + "/", "ver": "1.0",
			"appid": w.app.AppID, "appidacr": "1", "azp": nil, "azpacr": nil,
		}
		if version != nil {
			want = map[string]any{
				"aud": api.AppID, "iss": w.host + "/" + w.Directory.TenantID + "/v2.0", "ver": "2.0",
				"appid": nil, "appidacr": nil, "azp": w.app.AppID, "azpacr": "1", "idtyp": nil,
			}
		}
		want["roles"], want["oid"], want["sub"], want["tid"] = []any{"Do.All"}, w.sp.ID, w.sp.ID, w.Directory.TenantID
		for _, path := range []string{w.v2("token"), w.v1("token")} {
			f := with(form, "scope", name+"/.default")
			if path == w.v1("token") {
				f = with(form, "scope", "", "resource", name)
			}
			claims := mustToken(t, w.post(t, path, f))
			for claim, value := range want {
				if diff := cmp.Diff(value, claims[claim]); diff != "" {
					t.Errorf("%s, claim %s: %s", path, claim, diff)
				}
			}
		}
	}
}

func TestDirectoryRolesAreInTheToken(t *testing.T) {
	w := start(t)
	if wids := mustToken(t, w.post(t, w.v2("token"), w.bySecret(t)))["wids"]; wids != nil {
		t.Errorf("without a role, wids is %v", wids)
	}
	ok(t, w.Directory.Update(func(u *directory.Update) error {
		u.PutRoleAssignment(&directory.RoleAssignment{ID: uuid.NewString(), PrincipalID: w.sp.ID, RoleDefinitionID: directory.GlobalReader, DirectoryScopeID: "/"})
		return nil
	}))
	if diff := cmp.Diff([]any{directory.GlobalReader}, mustToken(t, w.post(t, w.v2("token"), w.bySecret(t)))["wids"]); diff != "" {
		t.Error(diff)
	}
}

func TestAssignmentIsEnoughWhenRequired(t *testing.T) {
	w := start(t)
	ok(t, w.Directory.ChangeServicePrincipal(directory.Graph, func(p *directory.ServicePrincipal) error { p.AppRoleAssignmentRequired = true; return nil }))
	form := w.bySecret(t)
	mustToken(t, w.post(t, w.v2("token"), form))
	ok(t, w.Directory.RevokeRole(w.app.AppID, directory.Graph, "User.Read.All"))
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 501051)
	// So is one without a role, which Graph calls default access.
	graph, _ := w.Directory.View(0).ServicePrincipalByAppID(directory.Graph)
	ok(t, w.Directory.Update(func(u *directory.Update) error {
		u.PutAppRoleAssignment(&directory.AppRoleAssignment{
			ID: directory.NewAssignmentID(), AppRoleID: uuid.Nil.String(), PrincipalID: w.sp.ID, PrincipalType: "ServicePrincipal", ResourceID: graph.ID,
		})
		return nil
	}))
	if roles := mustToken(t, w.post(t, w.v2("token"), form))["roles"]; roles != nil {
		t.Errorf("the roles are %v", roles)
	}
}

func TestWhoseTokensLiveForADay(t *testing.T) {
	w := start(t)
	cae := func(scope string) answer {
		return w.post(t, w.v2("token"), with(w.bySecret(t), "scope", scope, "claims", `{"access_token":{"xms_cc":{"values":["CP1"]}}}`))
	}
	for scope, want := range map[string]float64{
		"https://graph.microsoft.com/.default": 86399, directory.Graph + "/.default": 86399,
		"https://contoso.sharepoint.com/.default": 3599, "https://manage.office.com/.default": 3599, "https://vault.azure.net/.default": 3599,
	} {
		a := cae(scope)
		_, marked := mustToken(t, a)["xms_cc"]
		if a.Body["expires_in"] != want || marked != (want == 86399) || (a.Body["refresh_in"] != nil) != marked {
			t.Errorf("%s: %s, marked as understanding continuous access evaluation: %v", scope, a.Text, marked)
		}
	}
	// A managed identity's do without being evaluated.
	vault, _ := w.Directory.View(0).ServicePrincipalByAppID(directory.KeyVault)
	identity := &directory.ServicePrincipal{ID: uuid.NewString(), AppID: uuid.NewString(), ServicePrincipalType: directory.TypeManagedIdentity}
	issued, err := w.IssueToIdentity(identity, vault, "https://vault.azure.net")
	ok(t, err)
	if _, marked := claimsOf(t, issued.Text)["xms_cc"]; marked || issued.Expires != w.Now().Add(24*time.Hour) {
		t.Errorf("until %s, marked as understanding continuous access evaluation: %v", issued.Expires, marked)
	}
}

func TestBlockedApplicationIsLetInAgain(t *testing.T) {
	w := start(t)
	form := w.bySecret(t)
	w.Block(w.app.AppID, true)
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 53003)
	// A wrong secret is found out first.
	checkRefusal(t, w, w.post(t, w.v2("token"), with(form, "client_secret", "wrong")), 7000215)
	w.Block(w.app.AppID, false)
	mustToken(t, w.post(t, w.v2("token"), form))
}

func TestResourcesOfOtherCloudsAreRefused(t *testing.T) {
	for _, cloud := range origin.Clouds {
		w := start(t, func(e *entra.API) { e.Cloud.Hosts.Names = cloud })
		form := w.bySecret(t)
		for _, other := range origin.Clouds {
			a := w.post(t, w.v2("token"), with(form, "scope", "https://"+other.Graph[0]+"/.default"))
			if other.Authority[0] == cloud.Authority[0] {
				if mustToken(t, a)["aud"] != "https://"+other.Graph[0] {
					t.Errorf("%s from %s: %s", other.Cloud, cloud.Cloud, a.Text)
				}
				continue
			}
			checkRefusal(t, w, a, 900382)
			checkRefusal(t, w, w.post(t, w.v2("token"), with(form, "scope", "https://"+other.VaultDomain+"/.default")), 900382)
			checkRefusal(t, w, w.post(t, w.v2("token"), with(form, "scope", "https://"+other.Manage[0]+"/.default")), 900382)
		}
	}
}

func TestPublicClientHasNoTokenForItself(t *testing.T) {
	w := start(t)
	for _, clientID := range []string{directory.AzureCLI, directory.GraphCommandLine, directory.AzurePowerShell} {
		checkRefusal(t, w, w.post(t, w.v2("token"), with(w.bySecret(t), "client_id", clientID)), 700025)
	}
}
