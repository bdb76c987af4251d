package entra_test

import (
	"crypto/sha256"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

const (
	webRedirect    = "https://app.example.com/signin"
	pageRedirect   = "https://spa.example.com/"
	nativeRedirect = "http://localhost"
	verifier       = "a verifier that is long enough, as RFC 7636 wants"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return origin.Base64URL(sum[:])
}

// platforms lets people sign in to the application on all platforms.
func (w *world) platforms(t testing.TB) {
	t.Helper()
	w.change(t, func(a *directory.Application) {
		a.Web.RedirectURIs = []string{webRedirect}
		a.SPA.RedirectURIs = []string{pageRedirect}
		a.PublicClient.RedirectURIs = []string{nativeRedirect, "http://127.0.0.1/back"}
	})
}

// question is a request to the authorization endpoint.
func (w *world) question(redirect string, set ...string) url.Values {
	return with(url.Values{
		"client_id": {w.app.AppID}, "response_type": {"code"}, "redirect_uri": {redirect}, "state": {"s t&te"}, "nonce": {"n"},
		"scope":          {"https://graph.microsoft.com/User.Read openid profile email offline_access"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}, set...)
}

// pick answers the page as somebody who picks an account and decides.
func (w *world) pick(t testing.TB, question url.Values, user, decision string) answer {
	t.Helper()
	return w.post(t, w.v2("authorize")+"?"+question.Encode(), url.Values{"user": {user}, "decision": {decision}})
}

// sentBack returns the parameters with which a browser was sent back.
func sentBack(t testing.TB, a answer) url.Values {
	t.Helper()
	target, err := url.Parse(a.Header.Get("Location"))
	if err != nil || a.Status != 302 {
		t.Fatalf("not sent back but %d %s", a.Status, a.Text)
	}
	if target.Fragment != "" {
		values, err := url.ParseQuery(target.EscapedFragment())
		ok(t, err)
		return values
	}
	return target.Query()
}

// code lets an administrator sign in and agree, and returns the form that
// redeems the code.
func (w *world) code(t testing.TB, redirect string, set ...string) url.Values {
	t.Helper()
	back := sentBack(t, w.pick(t, w.question(redirect, set...), w.admin, "consent"))
	if back.Get("code") == "" || back.Get("state") != "s t&te" {
		t.Fatalf("sent back with %v", back)
	}
	return url.Values{
		"grant_type": {"authorization_code"}, "client_id": {w.app.AppID}, "code": {back.Get("code")},
		"redirect_uri": {redirect}, "code_verifier": {verifier},
	}
}

// confidential adds a secret to a form.
func (w *world) confidential(t testing.TB, form url.Values) url.Values {
	t.Helper()
	return with(form, "client_secret", w.bySecret(t).Get("client_secret"))
}

func TestCodeOfEachPlatform(t *testing.T) {
	w := start(t)
	w.platforms(t)
	admin, _ := w.Directory.View(0).User(w.admin)
	for _, test := range []struct {
		redirect string
		form     func(url.Values) url.Values
		header   []string
		method   string
	}{
		{webRedirect, func(f url.Values) url.Values { return w.confidential(t, f) }, nil, "1"},
		{pageRedirect, func(f url.Values) url.Values { return f }, []string{"Origin", "https://spa.example.com"}, "0"},
		{nativeRedirect, func(f url.Values) url.Values { return f }, nil, "0"},
		{nativeRedirect + ":8400", func(f url.Values) url.Values { return f }, nil, "0"},
		{nativeRedirect + ":8400/", func(f url.Values) url.Values { return f }, nil, "0"},
		{"http://127.0.0.1:7/back", func(f url.Values) url.Values { return f }, nil, "0"},
	} {
		t.Run(test.redirect, func(t *testing.T) {
			a := w.post(t, w.v2("token"), test.form(w.code(t, test.redirect)), test.header...)
			claims := mustToken(t, a)
			for name, want := range map[string]any{
				"aud": directory.Graph, "scp": "User.Read openid profile email", "appidacr": test.method, "oid": admin.ID,
				"upn": w.admin, "idtyp": "user", "wids": []any{directory.GlobalAdministrator}, "ver": "1.0",
			} {
				if want == directory.Graph {
					want = "https://graph.microsoft.com"
				}
				if diff := cmp.Diff(want, claims[name]); diff != "" {
					t.Errorf("claim %s: %s", name, diff)
				}
			}
			id := claimsOf(t, a.Body["id_token"].(string))
			for name, want := range map[string]any{
				"aud": w.app.AppID, "iss": w.host + "/" + w.Directory.TenantID + "/v2.0", "oid": admin.ID, "tid": w.Directory.TenantID,
				"preferred_username": w.admin, "name": "Robin Ashgrove", "nonce": "n", "ver": "2.0", "email": w.admin,
			} {
				if id[name] != want {
					t.Errorf("claim %s of the ID token is %v, want %v", name, id[name], want)
				}
			}
			if id["sub"] != claims["sub"] || id["sub"] == admin.ID {
				t.Errorf("the subjects are %v and %v", id["sub"], claims["sub"])
			}
			if a.Body["refresh_token"] == nil || a.Body["client_info"] == nil || a.Body["scope"] != "https://graph.microsoft.com/User.Read openid profile email" {
				t.Errorf("the answer is %s", a.Text)
			}
			if cors := a.Header.Get("Access-Control-Allow-Origin"); (cors != "") != (len(test.header) > 0) {
				t.Errorf("Access-Control-Allow-Origin is %q", cors)
			}
		})
	}
}

func TestCodeIsGoodOnce(t *testing.T) {
	w := start(t)
	w.platforms(t)
	form := w.code(t, nativeRedirect)
	checkRefusal(t, w, w.post(t, w.v2("token"), with(form, "code_verifier", "another")), 501481)
	mustToken(t, w.post(t, w.v2("token"), form)) // A wrong verifier does not use it up.
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 54005)
	late := w.code(t, nativeRedirect)
	w.pass(11 * time.Minute)
	checkRefusal(t, w, w.post(t, w.v2("token"), late), 70008)
}

func TestCodeOfVersion1(t *testing.T) {
	w := start(t)
	w.platforms(t)
	graph, _ := w.Directory.View(0).ServicePrincipalByAppID(directory.Graph)
	ok(t, w.Directory.Update(func(u *directory.Update) error {
		u.PutPermissionGrant(&directory.PermissionGrant{ID: directory.NewAssignmentID(), ClientID: w.sp.ID, ConsentType: "AllPrincipals", ResourceID: graph.ID, Scope: "User.Read Mail.Read"})
		return nil
	}))
	question := w.question(nativeRedirect, "scope", "", "resource", "https://graph.microsoft.com")
	back := sentBack(t, w.post(t, w.v1("authorize")+"?"+question.Encode(), url.Values{"user": {w.somebody}}))
	a := w.post(t, w.v1("token"), url.Values{
		"grant_type": {"authorization_code"}, "client_id": {w.app.AppID}, "code": {back.Get("code")},
		"redirect_uri": {nativeRedirect}, "code_verifier": {verifier},
	})
	if claims := mustToken(t, a); claims["scp"] != "Mail.Read User.Read openid profile email" || claims["upn"] != w.somebody || claims["wids"] != nil {
		t.Errorf("the claims are %v", claims)
	}
	if id := claimsOf(t, a.Body["id_token"].(string)); id["ver"] != "1.0" || id["upn"] != w.somebody || id["aud"] != w.app.AppID {
		t.Errorf("the ID token says %v", id)
	}
	if a.Body["resource"] != "https://graph.microsoft.com" || a.Body["scope"] != "Mail.Read User.Read openid profile email" || a.Body["refresh_token"] == nil {
		t.Errorf("the answer is %s", a.Text)
	}
}

func TestAnswerComesBackAsAskedFor(t *testing.T) {
	w := start(t)
	w.platforms(t)
	mustToken(t, w.post(t, w.v2("token"), w.code(t, nativeRedirect, "response_mode", "fragment")))
	a := w.pick(t, w.question(webRedirect, "response_mode", "form_post"), w.admin, "consent")
	if a.Status != 200 || !strings.Contains(a.Text, `action="`+webRedirect+`"`) || !strings.Contains(a.Text, `name="code"`) || strings.Contains(a.Text, "<script") {
		t.Errorf("form_post: %d %s", a.Status, a.Text)
	}
	back := sentBack(t, w.pick(t, w.question(nativeRedirect), w.admin, "decline"))
	if back.Get("error") != "access_denied" || !strings.Contains(back.Get("error_description"), "AADSTS65004") || back.Get("state") != "s t&te" {
		t.Errorf("declined: %v", back)
	}
}

func TestImplicitFlowIsNotEmulated(t *testing.T) {
	w := start(t)
	w.platforms(t)
	w.change(t, func(a *directory.Application) {
		a.Web.ImplicitGrantSettings = directory.ImplicitGrant{EnableIDTokenIssuance: true, EnableAccessTokenIssuance: true}
	})
	for kind, name := range map[string]string{"code id_token": "id_token", "token": "token"} {
		a := w.get(t, w.v2("authorize")+"?"+w.question(webRedirect, "response_type", kind).Encode())
		if a.Status != 501 || !strings.Contains(a.Text, name) {
			t.Errorf("%s: %d %s", kind, a.Status, a.Text)
		}
	}
}

func TestPageOffersPeople(t *testing.T) {
	w := start(t)
	w.platforms(t)
	a := w.get(t, w.v2("authorize")+"?"+w.question(webRedirect, "login_hint", w.somebody).Encode())
	for _, want := range []string{"emulated tenant", "Contoso", "reeve", w.admin, `value="` + w.somebody + `" checked`, `method="post"`} {
		if !strings.Contains(a.Text, want) {
			t.Errorf("the page lacks %q:\n%s", want, a.Text)
		}
	}
	if a.Status != 200 || strings.Contains(a.Text, "<script") || !strings.HasPrefix(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}

func TestConsent(t *testing.T) {
	w := start(t)
	w.platforms(t)
	// Somebody without a role may consent for itself, to what people may.
	a := w.pick(t, w.question(nativeRedirect), w.somebody, "")
	if a.Status != 200 || !strings.Contains(a.Text, "<li>User.Read</li>") || !strings.Contains(a.Text, `value="consent"`) {
		t.Fatalf("the page is %d %s", a.Status, a.Text)
	}
	if back := sentBack(t, w.pick(t, w.question(nativeRedirect), w.somebody, "consent")); back.Get("code") == "" {
		t.Fatalf("sent back with %v", back)
	}
	grants := w.Directory.View(0).PermissionGrantsOf(w.sp.ID)
	pat, _ := w.Directory.View(0).User(w.somebody)
	if len(grants) != 1 || grants[0].ConsentType != "Principal" || *grants[0].PrincipalID != pat.ID || grants[0].Scope != "User.Read" {
		t.Fatalf("the grants are %+v", grants)
	}
	// Once given, nobody asks again.
	if back := sentBack(t, w.pick(t, w.question(nativeRedirect), w.somebody, "")); back.Get("code") == "" {
		t.Errorf("the second time: %v", back)
	}
	if a := w.pick(t, w.question(nativeRedirect, "prompt", "consent"), w.somebody, ""); a.Status != 200 {
		t.Errorf("with prompt=consent: %d", a.Status)
	}
	all := "https://graph.microsoft.com/Application.ReadWrite.All offline_access"
	back := sentBack(t, w.pick(t, w.question(nativeRedirect, "scope", all), w.somebody, "consent"))
	if back.Get("error") != "access_denied" || !strings.Contains(back.Get("error_description"), "AADSTS90094") {
		t.Errorf("a permission that an administrator must give: %v", back)
	}
	// An administrator consents for everybody.
	mustToken(t, w.post(t, w.v2("token"), w.code(t, nativeRedirect, "scope", all)))
	back = sentBack(t, w.pick(t, w.question(nativeRedirect, "scope", all), w.somebody, ""))
	if back.Get("code") == "" {
		t.Errorf("after the administrator's consent: %v", back)
	}
	grants = w.Directory.View(0).PermissionGrantsOf(w.sp.ID)
	if len(grants) != 2 || grants[1].ConsentType != "AllPrincipals" || grants[1].Scope != "Application.ReadWrite.All" {
		t.Errorf("the grants are %+v", grants)
	}
}

func TestRefreshTokens(t *testing.T) {
	w := start(t)
	w.platforms(t)
	redeem := func(token any, set ...string) answer {
		return w.post(t, w.v2("token"), with(url.Values{"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}, "refresh_token": {token.(string)}}, set...))
	}
	first := w.post(t, w.v2("token"), w.code(t, nativeRedirect)).Body["refresh_token"]
	a := redeem(first)
	if mustToken(t, a)["scp"] != "User.Read openid profile email" || a.Body["refresh_token"] == first || a.Body["id_token"] == nil {
		t.Errorf("refreshed: %s", a.Text)
	}
	mustToken(t, redeem(first)) // The one before stays good.
	checkRefusal(t, w, redeem(first, "scope", "https://graph.microsoft.com/Mail.Read"), 65001)
	checkRefusal(t, w, redeem("1.nothing"), 70000)
	w.pass(89 * 24 * time.Hour)
	second := redeem(first).Body["refresh_token"]
	w.pass(2 * 24 * time.Hour)
	mustToken(t, redeem(second))
	w.pass(88*24*time.Hour + time.Minute)
	checkRefusal(t, w, redeem(second), 700082)

	// A web application shows its credential each time.
	form := w.confidential(t, w.code(t, webRedirect))
	third := w.post(t, w.v2("token"), form).Body["refresh_token"]
	checkRefusal(t, w, redeem(third), 7000218)
	mustToken(t, redeem(third, "client_secret", form.Get("client_secret")))
	assertion := w.byAssertion(w.goodAssertion().mustSign(t))
	if a := redeem(third, "client_assertion", assertion.Get("client_assertion"), "client_assertion_type", assertion.Get("client_assertion_type")); mustToken(t, a)["appidacr"] != "2" {
		t.Errorf("by certificate: %s", a.Text)
	}
	checkRefusal(t, w, redeem(first, "client_secret", form.Get("client_secret")), 70000) // long forgotten

	// A single-page application's is good for a day in all.
	page := []string{"Origin", "https://spa.example.com"}
	again := func(token any) answer {
		return w.post(t, w.v2("token"), url.Values{"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}, "refresh_token": {token.(string)}}, page...)
	}
	spa := w.post(t, w.v2("token"), w.code(t, pageRedirect), page...).Body["refresh_token"]
	checkRefusal(t, w, redeem(spa), 9002327)
	w.pass(23 * time.Hour)
	next := again(spa).Body["refresh_token"]
	w.pass(61 * time.Minute)
	late := again(next)
	checkRefusal(t, w, late, 700084)
	// Its script must be able to read that somebody has to sign in again.
	if allowed := late.Header.Get("Access-Control-Allow-Origin"); allowed != page[1] {
		t.Errorf("Access-Control-Allow-Origin of the refusal is %q", allowed)
	}
	stale := w.code(t, pageRedirect)
	w.pass(11 * time.Minute)
	late = w.post(t, w.v2("token"), stale, page...)
	checkRefusal(t, w, late, 70008)
	if allowed := late.Header.Get("Access-Control-Allow-Origin"); allowed != page[1] {
		t.Errorf("Access-Control-Allow-Origin for a code that has expired is %q", allowed)
	}
	elsewhere := w.post(t, w.v2("token"), w.code(t, nativeRedirect), page...)
	checkRefusal(t, w, elsewhere, 9002326)
	if allowed := elsewhere.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
		t.Errorf("Access-Control-Allow-Origin for a program's code is %q", allowed)
	}
}

func TestAppRolesOfPeople(t *testing.T) {
	w := start(t)
	w.platforms(t)
	admin, _ := w.Directory.View(0).User(w.admin)
	role := directory.AppRole{ID: uuid.NewString(), Value: "Auditor", IsEnabled: true, AllowedMemberTypes: []string{"User"}}
	ok(t, w.Directory.ChangeServicePrincipal(w.app.AppID, func(p *directory.ServicePrincipal) error {
		p.AppRoles, p.AppRoleAssignmentRequired = append(p.AppRoles, role), true
		return nil
	}))
	ok(t, w.Directory.Update(func(u *directory.Update) error {
		u.PutAppRoleAssignment(&directory.AppRoleAssignment{
			ID: directory.NewAssignmentID(), AppRoleID: role.ID, PrincipalID: admin.ID, PrincipalType: "User", ResourceID: w.sp.ID,
		})
		return nil
	}))
	a := w.post(t, w.v2("token"), w.code(t, nativeRedirect))
	mustToken(t, a)
	if diff := cmp.Diff([]any{"Auditor"}, claimsOf(t, a.Body["id_token"].(string))["roles"]); diff != "" {
		t.Error(diff)
	}
	back := sentBack(t, w.pick(t, w.question(nativeRedirect), w.somebody, "consent"))
	if !strings.Contains(back.Get("error_description"), "AADSTS50105") {
		t.Errorf("somebody who is not assigned: %v", back)
	}
}

func TestAdminConsentGrantsWhatIsRegistered(t *testing.T) {
	w := start(t)
	w.platforms(t)
	role, err := directory.RoleID(directory.Graph, "Reports.Read.All")
	ok(t, err)
	graph, _ := w.Directory.View(0).ServicePrincipalByAppID(directory.Graph)
	i := slices.IndexFunc(graph.OAuth2PermissionScopes, func(s directory.PermissionScope) bool { return s.Value == "User.Read" })
	w.change(t, func(a *directory.Application) {
		a.RequiredResourceAccess = []directory.ResourceAccess{{ResourceAppID: directory.Graph, Access: []directory.Access{
			{ID: role, Type: "Role"}, {ID: graph.OAuth2PermissionScopes[i].ID, Type: "Scope"},
		}}}
	})
	path := "/" + w.Directory.TenantID + "/adminconsent?" + url.Values{"client_id": {w.app.AppID}, "redirect_uri": {webRedirect}, "state": {"x"}}.Encode()
	a := w.get(t, path)
	if a.Status != 200 || !strings.Contains(a.Text, "Microsoft Graph: Reports.Read.All") || !strings.Contains(a.Text, "Microsoft Graph: User.Read") {
		t.Errorf("the page is %d %s", a.Status, a.Text)
	}
	back := sentBack(t, w.post(t, path, url.Values{"decision": {"decline"}}))
	if back.Get("error") != "permission_denied" || back.Get("state") != "x" {
		t.Errorf("declined: %v", back)
	}
	if a := w.post(t, path, url.Values{"decision": {"consent"}, "user": {w.somebody}}); a.Status != 400 || !strings.Contains(a.Text, "AADSTS90094") {
		t.Errorf("somebody without a role: %d %s", a.Status, a.Text)
	}
	if roles := w.Directory.View(0).Roles(w.sp.ID, graph.ID); slices.Contains(roles, "Reports.Read.All") {
		t.Error("the role was granted though nobody consented")
	}
	back = sentBack(t, w.post(t, path, url.Values{"decision": {"consent"}, "user": {w.admin}}))
	if back.Get("admin_consent") != "True" || back.Get("tenant") != w.Directory.TenantID || back.Get("state") != "x" {
		t.Errorf("accepted: %v", back)
	}
	if roles := w.Directory.View(0).Roles(w.sp.ID, graph.ID); !slices.Contains(roles, "Reports.Read.All") {
		t.Errorf("the roles are %v", roles)
	}
	if grants := w.Directory.View(0).PermissionGrantsOf(w.sp.ID); len(grants) != 1 || grants[0].Scope != "User.Read" {
		t.Errorf("the grants are %+v", grants)
	}
}

func TestLogout(t *testing.T) {
	w := start(t)
	ok(t, w.Directory.ChangeServicePrincipal(w.app.AppID, func(p *directory.ServicePrincipal) error { p.ReplyURLs = []string{webRedirect}; return nil }))
	query := url.Values{"post_logout_redirect_uri": {webRedirect}, "state": {"x"}}
	if a := w.get(t, w.v2("logout")+"?"+query.Encode()); a.Status != 302 || a.Header.Get("Location") != webRedirect+"?state=x" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	query.Set("post_logout_redirect_uri", "https://evil.example.com/")
	if a := w.get(t, w.v2("logout")+"?"+query.Encode()); a.Status != 200 || a.Header.Get("Location") != "" {
		t.Errorf("to an address that nobody registered: %d %v", a.Status, a.Header)
	}
}
