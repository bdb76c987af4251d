package emulator

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

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

var trailer = regexp.MustCompile(`^AADSTS(\d+): .+ Trace ID: [0-9a-f-]{36} Correlation ID: ([0-9a-f-]{36}) Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$`)

// checkRefusal checks that an answer is the documented one for the number.
func checkRefusal(t *testing.T, e *Emulator, got answer, code int) {
	t.Helper()
	text, _ := got.body["error_description"].(string)
	m := trailer.FindStringSubmatch(text)
	if m == nil || m[1] != fmt.Sprint(code) {
		t.Fatalf("%d %s, want AADSTS%d and its trailer", got.status, got.text, code)
	}
	want := refusals[code]
	if got.status != want.status || got.body["error"] != want.name {
		t.Errorf("AADSTS%d: %d %v, want %d %s", code, got.status, got.body["error"], want.status, want.name)
	}
	if diff := cmp.Diff([]any{float64(code)}, got.body["error_codes"]); diff != "" {
		t.Errorf("error_codes: %s", diff)
	}
	if got.body["error_uri"] != fmt.Sprintf("%s/error?code=%d", e.Origins().Authority, code) || got.body["correlation_id"] != m[2] || got.body["trace_id"] == "" {
		t.Errorf("the members of %s do not agree", got.text)
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
		r := refusals[code]
		if got := fmt.Sprintf("%d %s", r.status, r.name); got != want {
			t.Errorf("AADSTS%d is %s, documented as %s", code, got, want)
		}
	}
}

func TestTokenRefusals(t *testing.T) {
	now := time.Now()
	e := mustStart(t, func() time.Time { return now })
	clientID := e.tenant.Client().ClientID
	const secret, oldSecret = "a secret of the test+%", "an old secret of the test"
	for s, end := range map[string]time.Time{secret: now.Add(time.Hour), oldSecret: now.Add(-time.Minute)} {
		if _, err := e.tenant.AddPassword(clientID, s, now.Add(-time.Hour), end); err != nil {
			t.Fatal(err)
		}
	}
	orphan := e.tenant.AddApplication("orphan").ClientID
	if err := e.tenant.RemoveServicePrincipal(orphan); err != nil {
		t.Fatal(err)
	}
	disabled := e.tenant.AddApplication("disabled").ClientID
	if err := e.tenant.SetApplicationDisabled(disabled, true); err != nil {
		t.Fatal(err)
	}
	v2, v1 := tokenPath(e), "/"+e.tenant.ID+"/oauth2/token"
	good := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
		"scope": {"https://graph.microsoft.com/.default"},
	}
	if got := mustPostToken(t, e, v2, good); got.status != 200 {
		t.Fatalf("without anything wrong: %d %s", got.status, got.text)
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
		{"unknown client", v2, "client_id=" + uuid.NewString(), 700016, e.tenant.DisplayName},
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
			got := mustPostToken(t, e, test.path, form, "client-request-id", id)
			checkRefusal(t, e, got, test.code)
			if text := got.body["error_description"].(string); !strings.Contains(text, test.want) {
				t.Errorf("the description lacks %q: %s", test.want, text)
			}
			if got.body["correlation_id"] != id {
				t.Errorf("the client's request id %s came back as %v", id, got.body["correlation_id"])
			}
			if strings.Contains(got.text, secret) || strings.Contains(got.text, oldSecret) {
				t.Error("the answer repeats the secret")
			}
		})
	}
	t.Run("GET", func(t *testing.T) {
		checkRefusal(t, e, mustDo(t, e, "GET", e.Origins().Authority+v2, ""), 900561)
	})
	t.Run("not a form", func(t *testing.T) {
		checkRefusal(t, e, mustDo(t, e, "POST", e.Origins().Authority+v2, `{"grant_type":"client_credentials"}`, "Content-Type", "application/json"), 900144)
	})
	t.Run("a grant for people", func(t *testing.T) {
		form := maps.Clone(good)
		form.Set("grant_type", "device_code")
		if got := mustPostToken(t, e, v2, form); got.status != 501 || !strings.Contains(got.text, "device_code") {
			t.Errorf("%d %s, want 501 naming it", got.status, got.text)
		}
	})
	t.Run("disabled resource", func(t *testing.T) {
		if err := e.tenant.SetServicePrincipalDisabled(tenant.ManagementAPIs, true); err != nil {
			t.Fatal(err)
		}
		form := maps.Clone(good)
		form.Set("scope", "https://manage.office.com/.default")
		checkRefusal(t, e, mustPostToken(t, e, v2, form), 500014)
	})
	t.Run("id in the query and in the body", func(t *testing.T) {
		form := maps.Clone(good)
		form.Del("client_secret")
		id := uuid.NewString()
		if got := mustPostToken(t, e, v2+"?client-request-id="+id, form); got.body["correlation_id"] != id {
			t.Errorf("correlation_id is %v, want %s", got.body["correlation_id"], id)
		}
		form.Set("client-request-id", id)
		if got := mustPostToken(t, e, v2, form); got.body["correlation_id"] != id {
			t.Errorf("correlation_id is %v, want %s", got.body["correlation_id"], id)
		}
	})
	t.Run("HTTP Basic", func(t *testing.T) {
		form := maps.Clone(good)
		form.Del("client_secret")
		form.Del("client_id")
		basic := base64.StdEncoding.EncodeToString([]byte(clientID + ":" + url.QueryEscape(secret)))
		if got := mustPostToken(t, e, v2, form, "Authorization", "Basic "+basic); got.status != 200 {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
}

// claimsOf returns the claims of a token without believing them.
func claimsOf(t *testing.T, access string) map[string]any {
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
	now := time.Now()
	e := mustStart(t, func() time.Time { return now })
	client := e.tenant.Client()
	ask := func(path string, set ...string) answer {
		form := tokenForm(goodAssertion(e).mustSign(t))
		form.Set("client_id", client.ClientID)
		for i := 0; i < len(set); i += 2 {
			form.Set(set[i], set[i+1])
			if set[i+1] == "" {
				form.Del(set[i])
			}
		}
		got := mustPostToken(t, e, path, form)
		if got.status != 200 {
			t.Fatalf("%v: %d %s", set, got.status, got.text)
		}
		return got
	}

	v2 := ask(tokenPath(e), "scope", "https://manage.office.com/.default openid offline_access profile")
	if diff := cmp.Diff([]string{"access_token", "expires_in", "ext_expires_in", "token_type"}, slices.Sorted(maps.Keys(v2.body))); diff != "" {
		t.Errorf("members at v2: %s", diff)
	}
	if v2.body["expires_in"] != 3599.0 || v2.body["token_type"] != "Bearer" {
		t.Errorf("v2: %v", v2.body)
	}
	if v2.header.Get("Cache-Control") != "no-store, no-cache" || v2.header.Get("x-ms-request-id") == "" {
		t.Errorf("headers: %v", v2.header)
	}
	claims := claimsOf(t, v2.body["access_token"].(string))
	sp, _ := e.tenant.ServicePrincipal(client.ClientID)
	for name, want := range map[string]any{
		"aud": "https://manage.office.com", "iss": "https://sts.windows.net/" + e.tenant.ID + "/",
		"appid": client.ClientID, "appidacr": "2", "idtyp": "app", "oid": sp.ObjectID, "sub": sp.ObjectID,
		"tid": e.tenant.ID, "ver": "1.0", "app_displayname": "reeve", "roles": []any{"ActivityFeed.Read"},
		"nbf": float64(now.Unix() - 300), "exp": float64(now.Unix() + 3600),
	} {
		if diff := cmp.Diff(want, claims[name]); diff != "" {
			t.Errorf("claim %s: %s", name, diff)
		}
	}

	v1 := ask("/"+e.tenant.Domain+"/oauth2/token", "scope", "", "resource", "https://manage.office.com")
	for name, want := range map[string]any{
		"expires_in": "3599", "ext_expires_in": "3599", "resource": "https://manage.office.com",
		"expires_on": fmt.Sprint(now.Unix() + 3599), "not_before": fmt.Sprint(now.Unix() - 300),
	} {
		if v1.body[name] != want {
			t.Errorf("%s at v1 is %#v, want %#v", name, v1.body[name], want)
		}
	}

	for scope, aud := range map[string]string{
		"https://graph.microsoft.com//.default": "https://graph.microsoft.com/",
		tenant.Graph + "/.default":              tenant.Graph,
		"https://vault.azure.net/.default":      "https://vault.azure.net",
	} {
		claims := claimsOf(t, ask(tokenPath(e), "scope", scope).body["access_token"].(string))
		if claims["aud"] != aud {
			t.Errorf("for scope %s the audience is %v, want %s", scope, claims["aud"], aud)
		}
		// Graph granted some, Key Vault has none to grant.
		if _, has := claims["roles"]; has == strings.Contains(scope, "vault") {
			t.Errorf("for scope %s the roles are %v", scope, claims["roles"])
		}
	}

	cae := ask(tokenPath(e), "claims", `{"access_token":{"xms_cc":{"values":["CP1"]}}}`)
	if cae.body["expires_in"] != 86399.0 || cae.body["refresh_in"] != 43199.0 {
		t.Errorf("for a client that understands CAE: %v", cae.body["expires_in"])
	}

	if err := e.tenant.RevokeRole(client.ClientID, tenant.ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	if roles, has := claimsOf(t, ask(tokenPath(e)).body["access_token"].(string))["roles"]; has {
		t.Errorf("roles after the last was revoked: %v", roles)
	}
}

func TestLifetimesVaryUnlessCalm(t *testing.T) {
	seen := map[time.Duration]bool{}
	e := mustStart(t, time.Now, func(o *Options) { o.Calm = false })
	for range 20 {
		d := e.lifetime(false)
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
func azureOptions(e *Emulator) azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: e.Origins().Authority, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{}},
		Transport: e.HTTPClient(),
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

func mustCredential(t *testing.T, e *Emulator, tenantID string) *azidentity.ClientCertificateCredential {
	t.Helper()
	client := e.tenant.Client()
	credential, err := azidentity.NewClientCertificateCredential(tenantID, client.ClientID,
		[]*x509.Certificate{client.Certificate}, client.Key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: azureOptions(e), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

func TestAzidentitySignsIn(t *testing.T) {
	e := mustStart(t, time.Now)
	for _, name := range []string{e.tenant.ID, e.tenant.Domain} {
		credential := mustCredential(t, e, name)
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

func TestAzidentityShowsTheRefusal(t *testing.T) {
	e := mustStart(t, time.Now)
	if err := e.tenant.SetApplicationDisabled(e.tenant.Client().ClientID, true); err != nil {
		t.Fatal(err)
	}
	_, err := mustCredential(t, e, e.tenant.ID).GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err == nil || !strings.Contains(err.Error(), "AADSTS7000112") {
		t.Errorf("signing in as a disabled application: %v", err)
	}
	_, err = mustCredential(t, e, uuid.NewString()).GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err == nil || !strings.Contains(err.Error(), "AADSTS90002") {
		t.Errorf("signing in to an unknown tenant: %v", err)
	}
}
