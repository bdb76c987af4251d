package entra_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
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
		"http://localhost/web/", "http://localhost:1/web", // a web application's port counts
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
