package m365_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/pki"
)

// sharedPair signs for every application of these tests, and otherPair for none.
var (
	sharedPair = sync.OnceValue(func() pki.Pair { return mustMake(time.Now().Add(-time.Hour)) })
	otherPair  = sync.OnceValue(func() pki.Pair { return mustMake(time.Now().Add(-time.Hour)) })
)

func mustMake(from time.Time) pki.Pair {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(from.Unix()), NotBefore: from, NotAfter: from.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return pki.Pair{Certificate: c, Key: key}
}

// assertion is a client assertion, or the token of another issuer, to be spoilt.
type assertion struct {
	header, claims map[string]any
	pair           pki.Pair
	cut            bool
}

func (w *tenantWorld) assertion() *assertion {
	sum := sha256.Sum256(w.own.Certificate.Raw)
	now := w.clock.Now()
	return &assertion{
		header: map[string]any{"alg": "RS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
		claims: map[string]any{
			"aud": w.tokenURL(), "iss": w.app.AppID, "sub": w.app.AppID, "jti": uuid.NewString(),
			"nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		},
		pair: w.own,
	}
}

// signed signs by PKCS #1 v1.5 with SHA-256, whatever the header says.
func (a *assertion) signed(t *testing.T) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	s := part(a.header) + "." + part(a.claims)
	sum := sha256.Sum256([]byte(s))
	signature, err := a.pair.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if a.cut {
		return s
	}
	return s + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (w *tenantWorld) tokenURL() string {
	return w.Origins().Authority + "/" + w.Tenant.ID + "/oauth2/v2.0/token"
}

func (w *tenantWorld) form(t *testing.T, address string, form url.Values, header ...string) string {
	t.Helper()
	return w.ask(t, http.MethodPost, address, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func (w *tenantWorld) byAssertion(t *testing.T, a *assertion) string {
	t.Helper()
	return w.form(t, w.tokenURL(), w.assertionForm(t, a))
}

func (w *tenantWorld) assertionForm(t *testing.T, a *assertion) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.app.AppID}, "scope": {manage + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {a.signed(t)},
	}
}

// bySecret is a good request, with a secret that is made for it.
func (w *tenantWorld) bySecret(t *testing.T) url.Values {
	t.Helper()
	secret := uuid.NewString()
	now := w.clock.Now()
	if _, err := w.Tenant.Directory.AddPassword(w.app.AppID, secret, now.Add(-time.Hour), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.app.AppID}, "client_secret": {secret},
		"scope": {"https://graph.microsoft.com/.default"},
	}
}

// asked asks for a token by secret, at a path or the tenant's, with values set.
func asked(path string, values ...string) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		address := w.tokenURL()
		if path != "" {
			address = w.Origins().Authority + path
		}
		return w.form(t, address, set(w.bySecret(t), values...))
	}
}

func spoilt(spoil func(*assertion)) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		a := w.assertion()
		spoil(a)
		return w.byAssertion(t, a)
	}
}

const outside = "https://token.example.com"

// outsider asks with the token of another issuer, whom the application trusts.
func outsider(spoil func(*testing.T, *tenantWorld, *assertion)) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		const exchange = "api://AzureADTokenExchange"
		w.changed(t, func(a *directory.Application) {
			a.FederatedCredentials = []directory.FederatedCredential{{Issuer: outside, Subject: "repo:contoso/reeve", Audiences: []string{exchange}}}
		})
		public := w.own.Certificate.PublicKey.(*rsa.PublicKey)
		keys := map[string]any{"issuer": outside, "jwks": map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "kid": "ci", "n": base64.RawURLEncoding.EncodeToString(public.N.Bytes()), "e": "AQAB",
		}}}}
		body, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		w.control(t, "POST", "/issuers", string(body))
		now := w.clock.Now()
		a := &assertion{
			header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": "ci"},
			claims: map[string]any{"iss": outside, "sub": "repo:contoso/reeve", "aud": exchange, "nbf": now.Unix(), "exp": now.Unix() + 300},
			pair:   w.own,
		}
		spoil(t, w, a)
		return w.byAssertion(t, a)
	}
}

func (w *tenantWorld) control(t *testing.T, method, path, body string) {
	t.Helper()
	a := w.Do(t, method, w.Origins().Control+path, body, "Authorization", "Bearer "+w.Control(), "Content-Type", "application/json")
	if a.Status > 299 {
		t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Text)
	}
}

func (w *tenantWorld) changed(t *testing.T, change func(*directory.Application)) {
	t.Helper()
	if err := w.Tenant.Directory.ChangeApplication(w.app.AppID, func(a *directory.Application) error { change(a); return nil }); err != nil {
		t.Fatal(err)
	}
}

func (w *tenantWorld) changedPrincipal(t *testing.T, appID string, change func(*directory.ServicePrincipal)) {
	t.Helper()
	if err := w.Tenant.Directory.ChangeServicePrincipal(appID, func(p *directory.ServicePrincipal) error { change(p); return nil }); err != nil {
		t.Fatal(err)
	}
}

func failing(api, operation string, kind emulator.FaultKind, ask provocation) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		w.Inject(emulator.Fault{API: api, Operation: operation, Kind: kind, Times: 1})
		return ask(t, w)
	}
}

// provokedSignIns are the refusals of applications.
var provokedSignIns = map[string]provocation{
	// The certificate.
	"AADSTS700027: The key was not found": func(t *testing.T, w *tenantWorld) string {
		w.own = otherPair()
		return w.byAssertion(t, w.assertion())
	},
	"AADSTS700027: did not match the expected signature":          spoilt(func(a *assertion) { a.pair = otherPair() }),
	"AADSTS700027: use of the key to verify the signature failed": spoilt(func(a *assertion) { a.header["alg"] = "PS256" }),
	"AADSTS700027: The key used is expired": func(t *testing.T, w *tenantWorld) string {
		w.changed(t, func(a *directory.Application) { a.KeyCredentials[0].EndDateTime = w.clock.Now().Add(-time.Minute) })
		return w.byAssertion(t, w.assertion())
	},
	"AADSTS700027": func(t *testing.T, w *tenantWorld) string {
		text := spoilt(func(a *assertion) { a.pair = otherPair() })(t, w)
		before, _, _ := strings.Cut(text, "[Reason")
		return before // older answers have no reason
	},
	"AADSTS700026": func(t *testing.T, w *tenantWorld) string {
		w.changed(t, func(a *directory.Application) { a.KeyCredentials = nil })
		return w.byAssertion(t, w.assertion())
	},
	"AADSTS7000277": alone(func(t *testing.T, w *tenantWorld) string {
		w.control(t, "PUT", "/certificates/"+pki.SHA1(w.own.Certificate)+"/revoked", `{"revoked": true}`)
		return w.byAssertion(t, w.assertion())
	}),
	"AADSTS700024":  spoilt(func(a *assertion) { a.claims["exp"] = 1 }),
	"AADSTS700023":  spoilt(func(a *assertion) { a.claims["aud"] = "https://example.com" }),
	"AADSTS700021":  spoilt(func(a *assertion) { a.claims["sub"] = "x" }),
	"AADSTS50027":   spoilt(func(a *assertion) { a.cut = true }),
	"AADSTS5002723": spoilt(func(a *assertion) { delete(a.header, "x5t#S256") }),
	"AADSTS5002738": spoilt(func(a *assertion) { a.header["alg"] = "ES256" }),
	"AADSTS90014":   spoilt(func(a *assertion) { delete(a.claims, "sub") }),
	"AADSTS700030": func(t *testing.T, w *tenantWorld) string {
		w.changed(t, func(a *directory.Application) {
			a.TrustedSubjects = []directory.TrustedSubject{{SubjectName: "other.example.com", Authority: otherPair().Certificate.Raw}}
		})
		w.own = otherPair()
		a := w.assertion()
		sum := sha1.Sum(w.own.Certificate.Raw)
		a.header = map[string]any{"alg": "RS256", "typ": "JWT", "x5t": base64.RawURLEncoding.EncodeToString(sum[:]),
			"x5c": []string{base64.StdEncoding.EncodeToString(w.own.Certificate.Raw)}}
		return w.byAssertion(t, a)
	},
	"AADSTS7000274": spoilt(func(a *assertion) {
		a.header["x5c"] = []string{base64.StdEncoding.EncodeToString(otherPair().Certificate.Raw)}
	}),
	"AADSTS50012": func(t *testing.T, w *tenantWorld) string {
		w = (&tenantWorld{World: replaying(t, w.clock), clock: w.clock}).withApp(t)
		form := w.assertionForm(t, w.assertion())
		w.form(t, w.tokenURL(), form)
		return w.form(t, w.tokenURL(), form)
	},

	// The application and the tenant.
	"AADSTS700016": asked("", "client_id", uuid.NewString()),
	"AADSTS7000229": func(t *testing.T, w *tenantWorld) string {
		form := w.bySecret(t)
		principal, _ := w.Tenant.Directory.View(0).ServicePrincipalByAppID(w.app.AppID)
		if err := w.Tenant.Directory.Update(func(u *directory.Update) error { u.RemoveServicePrincipal(principal.ID); return nil }); err != nil {
			t.Fatal(err)
		}
		return w.form(t, w.tokenURL(), form)
	},
	"AADSTS7000112": func(t *testing.T, w *tenantWorld) string {
		w.changedPrincipal(t, w.app.AppID, func(p *directory.ServicePrincipal) { p.AccountEnabled = false })
		return w.form(t, w.tokenURL(), w.bySecret(t))
	},
	"AADSTS90002":  asked("/nobody.example.com/oauth2/v2.0/token"),
	"AADSTS900023": asked("/no%20tenant/oauth2/v2.0/token"),
	"AADSTS700025": func(t *testing.T, w *tenantWorld) string {
		_, poll := w.device(t)
		return w.form(t, w.Origins().Authority+"/organizations/oauth2/v2.0/token", set(poll, "client_secret", "x"))
	},
	"AADSTS7000215": asked("", "client_secret", "wrong"),
	"AADSTS7000222": func(t *testing.T, w *tenantWorld) string {
		form := w.bySecret(t)
		w.changed(t, func(a *directory.Application) {
			for i := range a.PasswordCredentials {
				a.PasswordCredentials[i].EndDateTime = w.clock.Now().Add(-time.Minute)
			}
		})
		return w.form(t, w.tokenURL(), form)
	},
	"AADSTS7000218": func(t *testing.T, w *tenantWorld) string {
		return w.form(t, w.tokenURL(), url.Values{"grant_type": {"device_code"}, "client_id": {w.app.AppID}, "device_code": {"x"}})
	},
	"AADSTS7000216": asked("", "client_secret", ""),

	// Federated credentials.
	"AADSTS700211":  outsider(func(_ *testing.T, _ *tenantWorld, a *assertion) { a.claims["iss"] = "https://other.example.com" }),
	"AADSTS700212":  outsider(func(_ *testing.T, _ *tenantWorld, a *assertion) { a.claims["aud"] = "api://other" }),
	"AADSTS700213":  outsider(func(_ *testing.T, _ *tenantWorld, a *assertion) { a.claims["sub"] = "repo:other" }),
	"AADSTS7002138": outsider(func(_ *testing.T, _ *tenantWorld, a *assertion) { a.claims["sub"] = "repo:CONTOSO/reeve" }),
	"AADSTS7000272": outsider(func(_ *testing.T, _ *tenantWorld, a *assertion) { a.header["kid"] = "other" }),
	"AADSTS501661": outsider(func(t *testing.T, w *tenantWorld, a *assertion) {
		w.changed(t, func(a *directory.Application) { a.FederatedCredentials[0].Issuer = "https://127.0.0.1:9" })
		a.claims["iss"] = "https://127.0.0.1:9"
	}),

	// The resource and the permissions.
	"AADSTS500011": asked("", "scope", "https://nobody.example.com/.default"),
	"AADSTS500014": alone(func(t *testing.T, w *tenantWorld) string {
		w.changedPrincipal(t, directory.Graph, func(p *directory.ServicePrincipal) { p.AccountEnabled = false })
		return w.form(t, w.tokenURL(), w.bySecret(t))
	}),
	"AADSTS501051": alone(func(t *testing.T, w *tenantWorld) string {
		w.changedPrincipal(t, directory.KeyVault, func(p *directory.ServicePrincipal) { p.AppRoleAssignmentRequired = true })
		return w.form(t, w.tokenURL(), set(w.bySecret(t), "scope", "https://vault.azure.net/.default"))
	}),
	"AADSTS1002012": asked("", "scope", "https://graph.microsoft.com/User.Read"),
	"AADSTS70011":   asked("", "scope", `"x"`),
	"AADSTS700022":  asked("", "scope", "https://graph.microsoft.com/.default https://vault.azure.net/.default"),
	"AADSTS900382":  asked("", "scope", "https://graph.microsoft.us/.default"),
	"AADSTS53003": func(t *testing.T, w *tenantWorld) string {
		w.control(t, "PUT", "/applications/"+w.app.AppID+"/blocked", `{"blocked": true}`)
		return w.form(t, w.tokenURL(), w.bySecret(t))
	},

	// The request.
	"AADSTS900144": asked("", "grant_type", ""),
	"AADSTS9002313": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, http.MethodPost, w.tokenURL(), "%zz", "Content-Type", "application/x-www-form-urlencoded")
	},
	"AADSTS900561":  func(t *testing.T, w *tenantWorld) string { return w.ask(t, http.MethodGet, w.tokenURL(), "") },
	"AADSTS70003":   asked("", "grant_type", "magic"),
	"AADSTS901002":  asked("", "resource", "https://graph.microsoft.com"),
	"AADSTS9001023": asked("/common/oauth2/v2.0/token"),
	"AADSTS50059":   asked("/organizations/oauth2/v2.0/token"),
	"AADSTS50049": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, http.MethodGet, w.Origins().Authority+"/common/discovery/instance?authorization_endpoint=https://login.example.com/x", "")
	},
	"AADSTS50194": func(t *testing.T, w *tenantWorld) string {
		return w.form(t, w.Origins().Authority+"/common/oauth2/v2.0/devicecode", url.Values{"client_id": {w.app.AppID}, "scope": {"openid"}})
	},

	// The service.
	"AADSTS50000": failing("authority", "token", emulator.ServerError, asked("")),
	"AADSTS90033": failing("authority", "token", emulator.Unavailable, asked("")),
	"AADSTS90055": failing("authority", "token", emulator.ThrottleSilent, asked("")),
}
