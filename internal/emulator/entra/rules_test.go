package entra_test

import (
	"context"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
)

// another registers an application that may sign people in without a credential.
func (w *world) another(t testing.TB) string {
	t.Helper()
	app := w.Directory.NewApplication("another")
	ok(t, w.Directory.ChangeApplication(app.AppID, func(a *directory.Application) error {
		yes := true
		a.IsFallbackPublicClient = &yes
		return nil
	}))
	return app.AppID
}

func TestNothingIsRedeemedByAnotherClient(t *testing.T) {
	w := start(t)
	w.platforms(t)
	thief := w.another(t)
	form := w.code(t, nativeRedirect)
	checkRefusal(t, w, w.post(t, w.v2("token"), with(form, "client_id", thief)), 70000)
	a := w.post(t, w.v2("token"), form)
	mustToken(t, a)
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {thief}, "refresh_token": {a.Body["refresh_token"].(string)}}
	checkRefusal(t, w, w.post(t, w.v2("token"), refresh), 70000)
	userCode, poll := w.device(t)
	ok(t, w.ApproveDeviceCode(userCode, w.admin))
	checkRefusal(t, w, w.post(t, w.v2("token"), with(poll, "client_id", thief)), 70018)
	mustToken(t, w.post(t, w.v2("token"), poll))
}

func TestConsentOfOneIsNotAnothers(t *testing.T) {
	w := start(t)
	w.platforms(t)
	graph, _ := w.Directory.View(0).ServicePrincipalByAppID(directory.Graph)
	stranger := uuid.NewString()
	ok(t, w.Directory.Update(func(u *directory.Update) error {
		u.PutPermissionGrant(&directory.PermissionGrant{
			ID: directory.NewAssignmentID(), ClientID: w.sp.ID, ConsentType: "Principal", PrincipalID: &stranger, ResourceID: graph.ID, Scope: "User.Read",
		})
		return nil
	}))
	if a := w.pick(t, w.question(nativeRedirect), w.somebody, ""); a.Status != 200 || !strings.Contains(a.Text, "<li>User.Read</li>") {
		t.Errorf("what a third person consented to counts: %d %v", a.Status, a.Header)
	}
}

func TestRedirectsAreComparedToTheLetter(t *testing.T) {
	w := start(t)
	w.platforms(t)
	w.change(t, func(a *directory.Application) {
		a.Web.RedirectURIs = append(a.Web.RedirectURIs, "http://localhost/web")
	})
	for _, redirect := range []string{
		"", webRedirect + "/", webRedirect + "?x=1", strings.ToUpper(webRedirect), "https://app.example.com:443/signin",
		"http://localhost:1/webb", "http://localhost:1/web/", "http://localhost/web/", "https://localhost:1/web",
		"http://localhost:1/other", "https://localhost:1", "http://localhost:1/#x", "http://localhost:1/?x=1", "http://user@localhost:1",
		"http://127.0.0.1:1/other", "http://127.0.0.2:1/back", "http://localhost:1/back", "http://evil.example.com:1", "http://[::1]:1/back", "://",
	} {
		a := w.get(t, w.v2("authorize")+"?"+w.question(redirect).Encode())
		if a.Status != 400 || !strings.Contains(a.Text, "AADSTS50011") {
			t.Errorf("%q: %d", redirect, a.Status)
		}
	}
}

func TestScopesOfPeople(t *testing.T) {
	w := start(t)
	w.platforms(t)
	for scope, code := range map[string]string{
		"https://graph.microsoft.com/.default User.Read":                                   "AADSTS700022",
		"https://graph.microsoft.com/.default https://graph.microsoft.com/User.Read":       "AADSTS70011",
		"https://graph.microsoft.com/User.Read https://vault.azure.net/user_impersonation": "AADSTS700022",
		"https://graph.microsoft.com/":                                                     "AADSTS70011",
		"/User.Read":                                                                       "AADSTS70011",
		"User.Read \\":                                                                     "AADSTS70011",
		"https://nobody.example.com/x":                                                     "AADSTS500011",
		"https://graph.microsoft.us/User.Read":                                             "AADSTS900382",
		" ":                                                                                "AADSTS900144",
		"https://graph.microsoft.com/user.read https://graph.microsoft.com/No.Such.Scope.At": "AADSTS650053",
	} {
		back := sentBack(t, w.pick(t, w.question(nativeRedirect, "scope", scope), w.admin, "consent"))
		if !strings.HasPrefix(back.Get("error_description"), code+":") {
			t.Errorf("%q: %v, want %s", scope, back, code)
		}
	}
	// Scopes of OpenID Connect alone are for Graph, and need no consent.
	back := sentBack(t, w.pick(t, w.question(nativeRedirect, "scope", "openid profile"), w.somebody, ""))
	a := w.post(t, w.v2("token"), url.Values{
		"grant_type": {"authorization_code"}, "client_id": {w.app.AppID}, "code": {back.Get("code")}, "redirect_uri": {nativeRedirect}, "code_verifier": {verifier},
	})
	if claims := mustToken(t, a); claims["aud"] != directory.Graph || claims["scp"] != "openid profile" || a.Body["refresh_token"] != nil || a.Body["id_token"] == nil {
		t.Errorf("%s gives %v", a.Text, claims)
	}
}

func TestProofKey(t *testing.T) {
	w := start(t)
	w.platforms(t)
	// Without a challenge nothing has to be proved.
	mustToken(t, w.post(t, w.v2("token"), with(w.code(t, nativeRedirect, "code_challenge", ""), "code_verifier", "")))
	plain := strings.Repeat("p", 43)
	form := w.code(t, nativeRedirect, "code_challenge", plain, "code_challenge_method", "")
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 501481)
	mustToken(t, w.post(t, w.v2("token"), with(form, "code_verifier", plain)))
	for size, good := range map[int]bool{42: false, 43: true, 128: true, 129: false} {
		a := w.get(t, w.v2("authorize")+"?"+w.question(nativeRedirect, "code_challenge", strings.Repeat("a", size)).Encode())
		if (a.Status == 200) != good {
			t.Errorf("a challenge of %d characters: %d", size, a.Status)
		}
	}
	if back := sentBack(t, w.get(t, w.v2("authorize")+"?"+w.question(nativeRedirect, "code_challenge_method", "S512").Encode())); !strings.HasPrefix(back.Get("error_description"), "AADSTS9002313:") {
		t.Errorf("an unknown method: %v", back)
	}
}

func TestIssuersDocumentMustBeItsOwn(t *testing.T) {
	w := start(t)
	a := w.foreign(t)
	const other = "https://id.example.com"
	a.claims["iss"] = other
	w.change(t, func(a *directory.Application) { a.FederatedCredentials[0].Issuer = other })
	keys := w.jwks(t)
	w.FetchIssuer = func(_ context.Context, url string) ([]byte, error) {
		if strings.HasSuffix(url, "/keys") {
			return keys, nil
		}
		return []byte(`{"issuer":"https://evil.example.com","jwks_uri":"https://evil.example.com/keys"}`), nil
	}
	checkRefusal(t, w, w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t))), 501661)
}

func TestPeopleWhoAreGoneGetNothingMore(t *testing.T) {
	w := start(t)
	userCode, poll := w.device(t)
	ok(t, w.ApproveDeviceCode(userCode, w.admin))
	a := w.post(t, w.v2("token"), poll)
	admin, _ := w.Directory.View(0).User(w.admin)
	gone := *admin
	gone.AccountEnabled = false
	ok(t, w.Directory.Update(func(u *directory.Update) error { u.PutUser(&gone); return nil }))
	w.pass(time.Minute)
	checkRefusal(t, w, w.post(t, w.v2("token"), url.Values{
		"grant_type": {"refresh_token"}, "client_id": {directory.AzureCLI}, "refresh_token": {a.Body["refresh_token"].(string)},
	}), 50057)
	if err := w.ApproveDeviceCode(userCode, w.admin); err == nil {
		t.Error("a device code can be approved twice")
	}
}

func TestPublicClientOfOwn(t *testing.T) {
	w := start(t)
	w.platforms(t)
	clientID := w.another(t)
	ask := func(clientID string) answer {
		return w.post(t, w.v2("devicecode"), url.Values{"client_id": {clientID}, "scope": {"User.Read offline_access"}})
	}
	a := ask(clientID)
	ok(t, w.ApproveDeviceCode(a.Body["user_code"].(string), w.somebody))
	form := url.Values{"grant_type": {"device_code"}, "client_id": {clientID}, "device_code": {a.Body["device_code"].(string)}}
	if claims := mustToken(t, w.post(t, w.v2("token"), form)); claims["scp"] != "User.Read" || claims["aud"] != directory.Graph {
		t.Errorf("the claims are %v", claims)
	}
	// A confidential client shows its credential, here too.
	a = ask(w.app.AppID)
	ok(t, w.ApproveDeviceCode(a.Body["user_code"].(string), w.somebody))
	form = with(form, "client_id", w.app.AppID, "device_code", a.Body["device_code"].(string))
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 7000218)
	mustToken(t, w.post(t, w.v2("token"), w.confidential(t, form)))
}

func TestPortOnLoopbackDoesNotCount(t *testing.T) {
	w := start(t)
	w.change(t, func(a *directory.Application) {
		a.Web.RedirectURIs = []string{"http://localhost/web", "https://localhost/web", "http://[::1]/web"}
		a.SPA.RedirectURIs = []string{"http://localhost:3000/page"}
		a.PublicClient.RedirectURIs = []string{"http://localhost:3000/web"}
	})
	for redirect, form := range map[string]func(url.Values) answer{
		"http://localhost:1/web": func(f url.Values) answer { return w.post(t, w.v2("token"), w.confidential(t, f)) },
		"http://localhost:1/page": func(f url.Values) answer {
			return w.post(t, w.v2("token"), f, "Origin", "http://localhost:1")
		},
		// To the letter comes first.
		"http://localhost:3000/web": func(f url.Values) answer { return w.post(t, w.v2("token"), f) },
	} {
		mustToken(t, form(w.code(t, redirect)))
	}
	for _, redirect := range []string{"https://localhost:1/web", "http://[::1]:1/web"} {
		if a := w.get(t, w.v2("authorize")+"?"+w.question(redirect).Encode()); a.Status != 400 || !strings.Contains(a.Text, "AADSTS50011") {
			t.Errorf("%s: %d", redirect, a.Status)
		}
	}
}

func TestAddressWithoutPathComesBackWithSlash(t *testing.T) {
	w := start(t)
	w.platforms(t)
	for mode, want := range map[string]string{"query": "http://localhost:7/?", "fragment": "http://localhost:7/#"} {
		a := w.pick(t, w.question("http://localhost:7", "response_mode", mode), w.admin, "decline")
		if target := a.Header.Get("Location"); !strings.HasPrefix(target, want) {
			t.Errorf("%s: sent to %s", mode, target)
		}
	}
	if a := w.pick(t, w.question("http://localhost:7", "response_mode", "form_post"), w.admin, "decline"); !strings.Contains(a.Text, `action="http://localhost:7"`) {
		t.Errorf("form_post: %s", a.Text)
	}
}

func TestClientOfOneTenantNamesIt(t *testing.T) {
	w := start(t)
	w.platforms(t)
	w.change(t, func(a *directory.Application) { a.SignInAudience = "AzureADMyOrg" })
	const anyTenant = "/common/oauth2/v2.0/token"
	form := w.code(t, nativeRedirect)
	checkRefusal(t, w, w.post(t, anyTenant, form), 50194)
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}}
	refresh.Set("refresh_token", w.post(t, w.v2("token"), form).Body["refresh_token"].(string))
	checkRefusal(t, w, w.post(t, anyTenant, refresh), 50194)
	device := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {w.app.AppID}, "device_code": {"any"}}
	checkRefusal(t, w, w.post(t, anyTenant, device), 50194)
	w.change(t, func(a *directory.Application) { a.SignInAudience = "AzureADMultipleOrgs" })
	mustToken(t, w.post(t, anyTenant, refresh))
}

func TestAssertionForEndpointOfAnyTenant(t *testing.T) {
	w := start(t)
	w.platforms(t)
	w.change(t, func(a *directory.Application) { a.SignInAudience = "AzureADMultipleOrgs" })
	for _, test := range []struct {
		path, aud string
		code      int
	}{
		{"/common/oauth2/v2.0/token", "/common/oauth2/v2.0/token", 0},
		{"/organizations/oauth2/v2.0/token", "/organizations/oauth2/v2.0/token", 0},
		{"/common/oauth2/v2.0/token", w.v2("token"), 0},
		{"/common/oauth2/v2.0/token", "/organizations/oauth2/v2.0/token", 700023},
		{w.v2("token"), "/common/oauth2/v2.0/token", 700023},
	} {
		a := w.goodAssertion()
		a.claims["aud"] = w.host + test.aud
		form := w.code(t, webRedirect)
		for name, values := range w.byAssertion(a.mustSign(t)) {
			if strings.HasPrefix(name, "client_assertion") {
				form[name] = values
			}
		}
		if got := w.post(t, test.path, form); test.code == 0 {
			mustToken(t, got)
		} else {
			checkRefusal(t, w, got, test.code)
		}
	}
}

func TestScopesOfOpenIDConnectAreGraphs(t *testing.T) {
	w := start(t)
	userCode, poll := w.device(t, "scope", "https://vault.azure.net/user_impersonation openid profile offline_access")
	ok(t, w.ApproveDeviceCode(userCode, w.admin))
	a := w.post(t, w.v2("token"), poll)
	if scp := mustToken(t, a)["scp"]; scp != "user_impersonation" {
		t.Errorf("scp is %v", scp)
	}
	if a.Body["scope"] != "https://vault.azure.net/user_impersonation openid profile" || a.Body["id_token"] == nil {
		t.Errorf("the answer is %s", a.Text)
	}
}

func TestGraphsRolesTakeAGlobalAdministrator(t *testing.T) {
	w := start(t)
	w.platforms(t)
	pat, _ := w.Directory.View(0).User(w.somebody)
	ok(t, w.Directory.Update(func(u *directory.Update) error {
		u.PutRoleAssignment(&directory.RoleAssignment{ID: uuid.NewString(), PrincipalID: pat.ID, RoleDefinitionID: directory.ApplicationAdministrator, DirectoryScopeID: "/"})
		return nil
	}))
	path := "/" + w.Directory.TenantID + "/adminconsent?" + url.Values{"client_id": {w.app.AppID}, "redirect_uri": {webRedirect}}.Encode()
	accept := func(resource, role string) answer {
		id, err := directory.RoleID(resource, role)
		ok(t, err)
		w.change(t, func(a *directory.Application) {
			a.RequiredResourceAccess = []directory.ResourceAccess{{ResourceAppID: resource, Access: []directory.Access{{ID: id, Type: "Role"}}}}
		})
		return w.post(t, path, url.Values{"decision": {"consent"}, "user": {w.somebody}})
	}
	if a := accept(directory.Graph, "Reports.Read.All"); a.Status != 400 || !strings.Contains(a.Text, "AADSTS90094") {
		t.Errorf("a role of Graph: %d %s", a.Status, a.Text)
	}
	w.change(t, func(a *directory.Application) {
		a.RequiredResourceAccess = []directory.ResourceAccess{{ResourceAppID: directory.AADGraph, Access: []directory.Access{{ID: uuid.NewString(), Type: "Role"}}}}
	})
	if a := w.post(t, path, url.Values{"decision": {"consent"}, "user": {w.somebody}}); a.Status != 400 || !strings.Contains(a.Text, "AADSTS90094") {
		t.Errorf("a role of Azure AD Graph: %d %s", a.Status, a.Text)
	}
	if back := sentBack(t, accept(directory.ManagementAPIs, "ActivityFeed.ReadDlp")); back.Get("admin_consent") != "True" {
		t.Errorf("a role of another service: %v", back)
	}
}

func TestKeyForSigningSAMLDoesNotSignIn(t *testing.T) {
	w := start(t)
	form := func() url.Values { return w.byAssertion(w.goodAssertion().mustSign(t)) }
	for _, spoil := range []func(*directory.KeyCredential){
		func(k *directory.KeyCredential) { k.Usage = "Sign" },
		func(k *directory.KeyCredential) { k.Type, k.Usage = "X509CertAndPassword", "Verify" },
	} {
		w.change(t, func(a *directory.Application) { spoil(&a.KeyCredentials[0]); spoil(&a.KeyCredentials[1]) })
		checkRefusal(t, w, w.post(t, w.v2("token"), form()), 700026)
	}
	w.change(t, func(a *directory.Application) {
		for i := range a.KeyCredentials {
			a.KeyCredentials[i].Type, a.KeyCredentials[i].Usage = "AsymmetricX509Cert", "Verify"
		}
	})
	mustToken(t, w.post(t, w.v2("token"), form()))
}

func TestSecretsOfNowDecide(t *testing.T) {
	w := start(t)
	form := w.bySecret(t)
	const early = "a secret that is not valid yet"
	_, err := w.Directory.AddPassword(w.app.AppID, early, w.Now().Add(time.Minute), w.Now().Add(time.Hour))
	ok(t, err)
	checkRefusal(t, w, w.post(t, w.v2("token"), with(form, "client_secret", early)), 7000222)
	w.pass(time.Minute)
	mustToken(t, w.post(t, w.v2("token"), with(form, "client_secret", early)))
	// A secret counts for the client that it comes with.
	r := httptest.NewRequest("POST", "/", nil)
	r.SetBasicAuth(w.another(t), form.Get("client_secret"))
	checkRefusal(t, w, w.post(t, w.v2("token"), with(form, "client_secret", ""), "Authorization", r.Header.Get("Authorization")), 7000216)
	r.SetBasicAuth(w.app.AppID, form.Get("client_secret"))
	mustToken(t, w.post(t, w.v2("token"), with(form, "client_secret", ""), "Authorization", r.Header.Get("Authorization")))
}

func TestApplicationThatMicrosoftDisabled(t *testing.T) {
	w := start(t)
	form, status := w.bySecret(t), "DisabledDueToViolationOfServicesAgreement"
	w.change(t, func(a *directory.Application) { a.DisabledByMicrosoftStatus = &status })
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 7000112)
}

func TestBlockedApplicationSignsNobodyIn(t *testing.T) {
	w := start(t)
	w.platforms(t)
	form := w.code(t, nativeRedirect)
	w.Block(w.app.AppID, true)
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 53003)
}

func TestReplayIsRefusedUntilTheSkewIsOver(t *testing.T) {
	w := start(t, func(e *entra.API) { e.RefuseReplay = true })
	form := w.byAssertion(w.goodAssertion().mustSign(t)) // for ten minutes
	mustToken(t, w.post(t, w.v2("token"), form))
	w.pass(14 * time.Minute)
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 50012)
}

func TestScopesThatAreOffAreNotOffered(t *testing.T) {
	w := start(t)
	w.platforms(t)
	var off directory.PermissionScope
	ok(t, w.Directory.ChangeServicePrincipal(directory.Graph, func(p *directory.ServicePrincipal) error {
		i := slices.IndexFunc(p.OAuth2PermissionScopes, func(s directory.PermissionScope) bool { return s.Value == "User.Read" })
		p.OAuth2PermissionScopes[i].IsEnabled = false
		off = p.OAuth2PermissionScopes[i]
		return nil
	}))
	w.change(t, func(a *directory.Application) {
		a.RequiredResourceAccess = []directory.ResourceAccess{{ResourceAppID: directory.Graph, Access: []directory.Access{{ID: off.ID, Type: "Scope"}}}}
	})
	back := sentBack(t, w.pick(t, w.question(nativeRedirect, "scope", "https://graph.microsoft.com/.default"), w.admin, "consent"))
	if !strings.HasPrefix(back.Get("error_description"), "AADSTS650057:") {
		t.Errorf("sent back with %v", back)
	}
}

func TestPageOffersNobodyWhoIsDisabled(t *testing.T) {
	w := start(t)
	w.platforms(t)
	pat, _ := w.Directory.View(0).User(w.somebody)
	gone := *pat
	gone.AccountEnabled = false
	ok(t, w.Directory.Update(func(u *directory.Update) error { u.PutUser(&gone); return nil }))
	if a := w.get(t, w.v2("authorize")+"?"+w.question(webRedirect).Encode()); a.Status != 200 || strings.Contains(a.Text, w.somebody) {
		t.Errorf("%d %s", a.Status, a.Text)
	}
}

func TestRefreshKeepsWhatTheSignInWas(t *testing.T) {
	w := start(t)
	w.platforms(t)
	a := w.post(t, w.v2("token"), w.code(t, nativeRedirect))
	a = w.post(t, w.v2("token"), url.Values{
		"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}, "refresh_token": {a.Body["refresh_token"].(string)},
		"scope": {"https://graph.microsoft.com/User.Read"}, // without openid
	})
	mustToken(t, a)
	id, is := a.Body["id_token"].(string)
	if !is || a.Body["refresh_token"] == nil {
		t.Fatalf("the answer is %s", a.Text)
	}
	if nonce, has := claimsOf(t, id)["nonce"]; has {
		t.Errorf("the nonce of the sign-in, %v, comes again", nonce)
	}
}
