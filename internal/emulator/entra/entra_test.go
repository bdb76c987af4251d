package entra_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
)

var trailer = regexp.MustCompile(`^AADSTS(\d+): .+ Trace ID: [0-9a-f-]{36} Correlation ID: ([0-9a-f-]{36}) Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$`)

// checkRefusal checks that an answer is the documented one for the number.
func checkRefusal(t *testing.T, w *world, got answer, code int) {
	t.Helper()
	text, _ := got.Body["error_description"].(string)
	m := trailer.FindStringSubmatch(text)
	if m == nil || m[1] != fmt.Sprint(code) {
		t.Fatalf("%d %s, want AADSTS%d and its trailer", got.Status, got.Text, code)
	}
	if is, want := fmt.Sprint(got.Status, " ", got.Body["error"]), entra.Refusals()[code]; is != want {
		t.Errorf("AADSTS%d: %s, want %s", code, is, want)
	}
	if diff := cmp.Diff([]any{float64(code)}, got.Body["error_codes"]); diff != "" {
		t.Errorf("error_codes: %s", diff)
	}
	if got.Body["error_uri"] != fmt.Sprintf("%s/error?code=%d", w.host, code) || got.Body["correlation_id"] != m[2] || got.Body["trace_id"] == "" {
		t.Errorf("the members of %s do not agree", got.Text)
	}
}

// aadsts lists the documented answers apart from the code that gives them.
var aadsts = map[int]string{
	90002: "400 invalid_request", 900023: "400 invalid_request", 700016: "400 unauthorized_client",
	7000229: "401 invalid_client", 7000112: "400 unauthorized_client", 7000215: "401 invalid_client",
	7000222: "401 invalid_client", 7000218: "401 invalid_client", 7000216: "401 invalid_client",
	700027: "401 invalid_client", 700026: "401 invalid_client", 700024: "401 invalid_client",
	700023: "401 invalid_client", 700021: "401 invalid_client", 5002723: "401 invalid_client",
	5002738: "401 invalid_client", 50027: "400 invalid_request", 90014: "400 invalid_request",
	900144: "400 invalid_request", 900561: "405 invalid_request", 70003: "400 unsupported_grant_type",
	901002: "400 invalid_request", 70011: "400 invalid_scope", 1002012: "400 invalid_scope",
	700022: "400 invalid_scope", 500011: "400 invalid_resource", 50049: "400 invalid_instance",
}

func TestRefusalsAreTheDocumentedOnes(t *testing.T) {
	for code, want := range aadsts {
		if got := entra.Refusals()[code]; got != want {
			t.Errorf("AADSTS%d is %s, documented as %s", code, got, want)
		}
	}
}

func TestTokenRefusals(t *testing.T) {
	w := start(t)
	now := w.Now()
	clientID := w.app.AppID
	const secret, oldSecret = "a secret of the test+%", "an old secret of the test"
	for s, end := range map[string]time.Time{secret: now.Add(time.Hour), oldSecret: now.Add(-time.Minute)} {
		if _, err := w.Directory.AddPassword(clientID, s, now.Add(-time.Hour), end); err != nil {
			t.Fatal(err)
		}
	}
	orphan := w.Directory.NewApplication("orphan").AppID
	ok(t, w.Directory.Update(func(u *directory.Update) error {
		p, _ := u.ServicePrincipalByAppID(orphan)
		u.RemoveServicePrincipal(p.ID)
		return nil
	}))
	disabled := w.Directory.NewApplication("disabled").AppID
	ok(t, w.Directory.ChangeApplication(disabled, func(a *directory.Application) error { a.IsDisabled = true; return nil }))
	v2, v1 := w.v2("token"), w.v1("token")
	good := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
		"scope": {"https://graph.microsoft.com/.default"},
	}
	if got := w.post(t, v2, good); got.Status != 200 {
		t.Fatalf("without anything wrong: %d %s", got.Status, got.Text)
	}
	for _, test := range []struct {
		name, path string
		set        string // form values to set, or when empty, to delete
		code       int
		want       string
	}{
		{"unknown tenant GUID", "/" + uuid.NewString() + "/oauth2/v2.0/token", "", 90002, "not found"},
		{"unknown domain", "/nobody.example.com/oauth2/v2.0/token", "", 90002, "'nobody.example.com'"},
		{"tenant that is no name", "/no%20tenant/oauth2/v2.0/token", "", 900023, ""},
		{"common", "/common/oauth2/v2.0/token", "", 9001023, ""},
		{"organizations", "/organizations/oauth2/v2.0/token", "", 50059, ""},
		{"no grant type", v2, "grant_type=", 900144, "'grant_type'"},
		{"bad grant type", v2, "grant_type=magic", 70003, "'magic'"},
		{"no client", v2, "client_id=", 900144, "'client_id'"},
		{"no scope", v2, "scope=", 900144, "'scope'"},
		{"resource on v2", v2, "resource=https://graph.microsoft.com", 901002, ""},
		{"no resource on v1", v1, "", 900144, "'resource'"},
		{"malformed scope", v2, `scope=https://graph.microsoft.com/.default "x"`, 70011, ""},
		{"scope not ASCII", v2, `scope=https://graph.microsoft.com/ü/.default`, 70011, ""},
		{"delegated scope", v2, "scope=https://graph.microsoft.com/User.Read", 1002012, "https://graph.microsoft.com/User.Read"},
		{"delegated scope beside", v2, "scope=https://graph.microsoft.com/.default User.Read", 1002012, ""},
		{"OIDC scopes alone", v2, "scope=openid profile", 1002012, "openid"},
		{"bare .default", v2, "scope=/.default", 1002012, ""},
		{"two resources", v2, "scope=https://graph.microsoft.com/.default https://vault.azure.net/.default", 700022, ""},
		{"unknown client", v2, "client_id=" + uuid.NewString(), 700016, "Contoso"},
		{"no service principal", v2, "client_id=" + orphan, 7000229, ""},
		{"disabled", v2, "client_id=" + disabled, 7000112, "(disabled)"},
		{"no credential", v2, "client_secret=", 7000216, ""},
		{"no credential on v1", v1, "client_secret=&resource=https://graph.microsoft.com", 7000218, ""},
		{"assertion without type", v2, "client_secret=&client_assertion=x", 900144, "'client_assertion_type'"},
		{"wrong secret", v2, "client_secret=wrong", 7000215, ""},
		{"old secret", v2, "client_secret=" + oldSecret, 7000222, ""},
		{"unknown resource", v2, "scope=https://nobody.example.com/.default", 500011, "https://nobody.example.com"},
		{"unknown resource on v1", v1, "resource=https://nobody.example.com", 500011, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			form := maps.Clone(good)
			for pair := range strings.SplitSeq(test.set, "&") {
				if name, value, _ := strings.Cut(pair, "="); value == "" {
					form.Del(name)
				} else {
					form.Set(name, value)
				}
			}
			id := uuid.NewString()
			got := w.post(t, test.path, form, "client-request-id", id)
			checkRefusal(t, w, got, test.code)
			if text := got.Body["error_description"].(string); !strings.Contains(text, test.want) {
				t.Errorf("the description lacks %q: %s", test.want, text)
			}
			if got.Body["correlation_id"] != id {
				t.Errorf("the client's request id %s came back as %v", id, got.Body["correlation_id"])
			}
			if strings.Contains(got.Text, secret) || strings.Contains(got.Text, oldSecret) {
				t.Error("the answer repeats the secret")
			}
		})
	}
	t.Run("GET", func(t *testing.T) {
		checkRefusal(t, w, w.get(t, v2), 900561)
	})
	t.Run("not a form", func(t *testing.T) {
		checkRefusal(t, w, w.do(t, "POST", v2, `{"grant_type":"client_credentials"}`, "Content-Type", "application/json"), 900144)
	})
	t.Run("a grant that is not emulated", func(t *testing.T) {
		form := maps.Clone(good)
		for _, grant := range []string{"password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:saml2-bearer"} {
			form.Set("grant_type", grant)
			if got := w.post(t, v2, form); got.Status != 501 || !strings.Contains(got.Text, grant) {
				t.Errorf("%d %s, want 501 naming %s", got.Status, got.Text, grant)
			}
		}
	})
	t.Run("disabled resource", func(t *testing.T) {
		ok(t, w.Directory.ChangeServicePrincipal(directory.ManagementAPIs, func(p *directory.ServicePrincipal) error { p.AccountEnabled = false; return nil }))
		form := maps.Clone(good)
		form.Set("scope", "https://manage.office.com/.default")
		checkRefusal(t, w, w.post(t, v2, form), 500014)
	})
	t.Run("id in the query and in the body", func(t *testing.T) {
		form := maps.Clone(good)
		form.Del("client_secret")
		id := uuid.NewString()
		if got := w.post(t, v2+"?client-request-id="+id, form); got.Body["correlation_id"] != id {
			t.Errorf("correlation_id is %v, want %s", got.Body["correlation_id"], id)
		}
		form.Set("client-request-id", id)
		if got := w.post(t, v2, form); got.Body["correlation_id"] != id {
			t.Errorf("correlation_id is %v, want %s", got.Body["correlation_id"], id)
		}
	})
	t.Run("HTTP Basic", func(t *testing.T) {
		form := maps.Clone(good)
		form.Del("client_secret")
		form.Del("client_id")
		basic := base64.StdEncoding.EncodeToString([]byte(clientID + ":" + url.QueryEscape(secret)))
		if got := w.post(t, v2, form, "Authorization", "Basic "+basic); got.Status != 200 {
			t.Errorf("%d %s", got.Status, got.Text)
		}
	})
}

// claimsOf returns the claims of a token without believing them.
func claimsOf(t testing.TB, access string) map[string]any {
	t.Helper()
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestTokenAnswers(t *testing.T) {
	w := start(t)
	now := w.Now()
	ask := func(path string, set ...string) answer {
		form := w.byAssertion(w.goodAssertion().mustSign(t))
		for i := 0; i < len(set); i += 2 {
			form.Set(set[i], set[i+1])
			if set[i+1] == "" {
				form.Del(set[i])
			}
		}
		got := w.post(t, path, form)
		if got.Status != 200 {
			t.Fatalf("%v: %d %s", set, got.Status, got.Text)
		}
		return got
	}

	v2 := ask(w.v2("token"), "scope", "https://manage.office.com/.default openid offline_access profile")
	if diff := cmp.Diff([]string{"access_token", "expires_in", "ext_expires_in", "token_type"}, slices.Sorted(maps.Keys(v2.Body))); diff != "" {
		t.Errorf("members at v2: %s", diff)
	}
	if v2.Body["expires_in"] != 3599.0 || v2.Body["token_type"] != "Bearer" {
		t.Errorf("v2: %v", v2.Body)
	}
	if v2.Header.Get("Cache-Control") != "no-store, no-cache" || v2.Header.Get("x-ms-request-id") == "" {
		t.Errorf("headers: %v", v2.Header)
	}
	claims := claimsOf(t, v2.Body["access_token"].(string))
	sp, _ := w.Directory.View(0).ServicePrincipalByAppID(w.app.AppID)
	for name, want := range map[string]any{
		"aud": "https://manage.office.com", "iss": "https://sts.windows.net/" + w.Directory.TenantID + "/",
		"appid": w.app.AppID, "appidacr": "2", "idtyp": "app", "oid": sp.ID, "sub": sp.ID,
		"tid": w.Directory.TenantID, "ver": "1.0", "app_displayname": "reeve", "roles": []any{"ActivityFeed.Read"},
		"nbf": float64(now.Unix() - 300), "exp": float64(now.Unix() + 3600),
	} {
		if diff := cmp.Diff(want, claims[name]); diff != "" {
			t.Errorf("claim %s: %s", name, diff)
		}
	}

	v1 := ask("/"+domain+"/oauth2/token", "scope", "", "resource", "https://manage.office.com")
	for name, want := range map[string]any{
		"expires_in": "3599", "ext_expires_in": "3599", "resource": "https://manage.office.com",
		"expires_on": fmt.Sprint(now.Unix() + 3599), "not_before": fmt.Sprint(now.Unix() - 300),
	} {
		if v1.Body[name] != want {
			t.Errorf("%s at v1 is %#v, want %#v", name, v1.Body[name], want)
		}
	}

	for scope, aud := range map[string]string{
		"https://graph.microsoft.com//.default": "https://graph.microsoft.com/",
		directory.Graph + "/.default":           directory.Graph,
		"https://vault.azure.net/.default":      "https://vault.azure.net",
	} {
		claims := claimsOf(t, ask(w.v2("token"), "scope", scope).Body["access_token"].(string))
		if claims["aud"] != aud {
			t.Errorf("for scope %s the audience is %v, want %s", scope, claims["aud"], aud)
		}
		// Graph granted some, Key Vault has none to grant.
		if _, has := claims["roles"]; has == strings.Contains(scope, "vault") {
			t.Errorf("for scope %s the roles are %v", scope, claims["roles"])
		}
	}

	cae := ask(w.v2("token"), "scope", "https://graph.microsoft.com/.default", "claims", `{"access_token":{"xms_cc":{"values":["CP1"]}}}`)
	if cae.Body["expires_in"] != 86399.0 || cae.Body["refresh_in"] != 43199.0 {
		t.Errorf("for a client that understands CAE: %v", cae.Body["expires_in"])
	}

	if err := w.Directory.RevokeRole(w.app.AppID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	if roles, has := claimsOf(t, ask(w.v2("token")).Body["access_token"].(string))["roles"]; has {
		t.Errorf("roles after the last was revoked: %v", roles)
	}
}

func TestLifetimesVaryUnlessCalm(t *testing.T) {
	seen := map[time.Duration]bool{}
	w := start(t, func(e *entra.API) { e.Cloud.Calm = false })
	for range 20 {
		d := w.Lifetime(false)
		if d < time.Hour || d > 90*time.Minute {
			t.Errorf("a token lives %s", d)
		}
		seen[d] = true
	}
	if len(seen) < 10 {
		t.Errorf("20 tokens have %d lifetimes", len(seen))
	}
}

// azureOptions point a client of the Azure SDK at the emulator.
func azureOptions(w *world) azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: w.host, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{}},
		Transport: w.client,
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

func mustCredential(t *testing.T, w *world, tenantID string) *azidentity.ClientCertificateCredential {
	t.Helper()
	credential, err := azidentity.NewClientCertificateCredential(tenantID, w.app.AppID,
		[]*x509.Certificate{w.cert}, w.key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: azureOptions(w), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

func TestAzidentitySignsIn(t *testing.T) {
	w := start(t)
	for _, name := range []string{w.Directory.TenantID, domain} {
		credential := mustCredential(t, w, name)
		for _, scope := range []string{"https://graph.microsoft.com/.default", "https://manage.office.com/.default"} {
			token, err := credential.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{scope}})
			if err != nil {
				t.Fatalf("tenant %s, %s: %v", name, scope, err)
			}
			if left := time.Until(token.ExpiresOn); left < 59*time.Minute || left > time.Hour {
				t.Errorf("the token expires in %s", left)
			}
		}
	}
}

func TestAzidentitySignsAnAdministratorIn(t *testing.T) {
	w := start(t)
	credential, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
		ClientOptions: azureOptions(w), ClientID: directory.GraphCommandLine, TenantID: w.Directory.TenantID, DisableInstanceDiscovery: true,
		UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error {
			return w.ApproveDeviceCode(m.UserCode, w.admin)
		},
	})
	ok(t, err)
	// The second comes by the refresh token of the first.
	for _, scope := range []string{"https://graph.microsoft.com/.default", "https://graph.microsoft.com/User.Read"} {
		got, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
		ok(t, err)
		if claims := claimsOf(t, got.Token); claims["upn"] != w.admin || claims["appid"] != directory.GraphCommandLine {
			t.Errorf("for %s the claims are %v", scope, claims)
		}
	}
}

func TestAzidentityShowsTheRefusal(t *testing.T) {
	w := start(t)
	w.change(t, func(a *directory.Application) { a.IsDisabled = true })
	_, err := mustCredential(t, w, w.Directory.TenantID).GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err == nil || !strings.Contains(err.Error(), "AADSTS7000112") {
		t.Errorf("signing in as a disabled application: %v", err)
	}
	_, err = mustCredential(t, w, uuid.NewString()).GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err == nil || !strings.Contains(err.Error(), "AADSTS90002") {
		t.Errorf("signing in to an unknown tenant: %v", err)
	}
}
