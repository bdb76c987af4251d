package entra_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// world is a token service on a directory of its own: an application with a
// certificate that has expired and one that followed it, an administrator, and
// somebody without a role.
type world struct {
	*entra.API
	*clock
	handler  http.Handler
	client   *http.Client
	host     string // of the token service
	app      *directory.Application
	sp       *directory.ServicePrincipal
	key      *rsa.PrivateKey
	cert     *x509.Certificate
	expired  *x509.Certificate
	admin    string // user principal names
	somebody string
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// pass lets time pass.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// pair is a certificate and its private key.
type pair struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

// makePair makes a certificate, self-signed or by an issuer.
func makePair(name string, from, to time.Time, issuer *pair) (pair, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		IsCA: issuer == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if issuer == nil {
		template.KeyUsage |= x509.KeyUsageCertSign
		issuer = &pair{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, &key.PublicKey, issuer.key)
	if err != nil {
		return pair{}, err
	}
	c, err := x509.ParseCertificate(der)
	return pair{c, key}, err
}

func mustPair(t testing.TB, name string, from, to time.Time, issuer *pair) pair {
	t.Helper()
	p, err := makePair(name, from, to, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ownPairs are the client's certificates, which all tests share because keys
// take long to make.
var ownPairs = sync.OnceValues(func() (pairs [2]pair, err error) {
	now := time.Now()
	if pairs[0], err = makePair("reeve", now.AddDate(0, -13, 0), now.AddDate(0, -1, 0), nil); err != nil {
		return pairs, err
	}
	pairs[1], err = makePair("reeve", now.AddDate(0, -2, 0), now.AddDate(0, 10, 0), nil)
	return pairs, err
})

// sharedKeys sign the tokens of all worlds but those that roll their keys.
var sharedKeys = sync.OnceValues(token.NewKeys)

const domain = "contoso.onmicrosoft.com"

// start starts a calm world in the public cloud.
func start(t testing.TB, change ...func(*entra.API)) *world {
	t.Helper()
	keys, err := sharedKeys()
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := ownPairs()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		clock: &clock{now: time.Now().Truncate(time.Second)}, key: pairs[1].key, cert: pairs[1].cert, expired: pairs[0].cert,
		admin: "admin@" + domain, somebody: "pat@" + domain,
	}
	d := directory.New(uuid.NewString(), domain, "Contoso", w.Now, time.Hour)
	d.AddMicrosoftServices(uuid.NewString, "contoso.sharepoint.com", w.Now())
	d.AddMicrosoftClients(uuid.NewString, w.Now())
	w.app = d.NewApplication("reeve")
	for _, p := range pairs {
		if _, err := d.AddKeyCredential(w.app.AppID, p.cert.Raw, time.Time{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, role := range []string{"ActivityFeed.Read"} {
		if err := d.GrantRole(w.app.AppID, directory.ManagementAPIs, role); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.GrantRole(w.app.AppID, directory.Graph, "User.Read.All"); err != nil {
		t.Fatal(err)
	}
	err = d.Update(func(u *directory.Update) error {
		admin := &directory.User{ID: uuid.NewString(), UserPrincipalName: w.admin, DisplayName: "Robin Ashgrove", Mail: &w.admin, AccountEnabled: true}
		u.PutUser(admin)
		u.PutUser(&directory.User{ID: uuid.NewString(), UserPrincipalName: w.somebody, DisplayName: "Pat Merriweather", AccountEnabled: true})
		u.PutRoleAssignment(&directory.RoleAssignment{ID: uuid.NewString(), PrincipalID: admin.ID, RoleDefinitionID: directory.GlobalAdministrator, DirectoryScopeID: "/"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	names, _ := origin.LookupCloud("public")
	w.API = &entra.API{
		Keys: keys, Directory: d,
		Cloud: &origin.Cloud{
			Hosts: &origin.Hosts{Names: names}, Now: w.Now, Log: slog.New(slog.DiscardHandler), Calm: true,
			Chance: origin.NewChance(1, 1), Faults: origin.NewFaults(1, true),
		},
	}
	for _, f := range change {
		f(w.API)
	}
	d.Settle()
	w.sp, _ = d.View(0).ServicePrincipalByAppID(w.app.AppID)
	w.handler = w.Cloud.Handler(w.Origin(), 0)
	server := httptest.NewTLSServer(w.handler)
	t.Cleanup(server.Close)
	w.Cloud.Hosts.Origins.Authority, w.host = server.URL, server.URL
	w.client = server.Client()
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return w
}

// ok ends the test when err is not nil.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// change changes the application.
func (w *world) change(t testing.TB, f func(*directory.Application)) {
	t.Helper()
	ok(t, w.Directory.ChangeApplication(w.app.AppID, func(a *directory.Application) error { f(a); return nil }))
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Text   string
	Body   map[string]any // when it is a JSON object
}

// do sends a request to a path of the token service. The headers are names and
// values in turn.
func (w *world) do(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.host+path, strings.NewReader(body))
	ok(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := w.client.Do(r)
	ok(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ok(t, err)
	a := answer{Status: resp.StatusCode, Header: resp.Header, Text: string(b)}
	json.Unmarshal(b, &a.Body) // The test that wants an object looks for its members.
	return a
}

// serve answers a request without a network between.
func (w *world) serve(method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, w.host+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	return recorder
}

func (w *world) get(t testing.TB, path string, header ...string) answer {
	t.Helper()
	return w.do(t, "GET", path, "", header...)
}

// post sends a form.
func (w *world) post(t testing.TB, path string, form url.Values, header ...string) answer {
	t.Helper()
	return w.do(t, "POST", path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

// v2 and v1 are paths of this tenant's endpoints.
func (w *world) v2(name string) string { return "/" + w.Directory.TenantID + "/oauth2/v2.0/" + name }
func (w *world) v1(name string) string { return "/" + w.Directory.TenantID + "/oauth2/" + name }

// with returns a form with values, given as name and value in turn, set, or when
// empty taken away.
func with(form url.Values, set ...string) url.Values {
	changed := url.Values{}
	for name, values := range form {
		changed[name] = values
	}
	for i := 0; i+1 < len(set); i += 2 {
		if changed.Set(set[i], set[i+1]); set[i+1] == "" {
			changed.Del(set[i])
		}
	}
	return changed
}

// byAssertion is a request for a token of the Management Activity API.
func (w *world) byAssertion(jwt string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.app.AppID}, "scope": {"https://manage.office.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {jwt},
	}
}

// bySecret is a request for a token of Graph with a secret that is made for it.
func (w *world) bySecret(t testing.TB) url.Values {
	t.Helper()
	secret := uuid.NewString()
	_, err := w.Directory.AddPassword(w.app.AppID, secret, w.Now().Add(-time.Hour), w.Now().Add(time.Hour))
	ok(t, err)
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.app.AppID}, "client_secret": {secret},
		"scope": {"https://graph.microsoft.com/.default"},
	}
}

// mustToken returns the claims of the access token in an answer.
func mustToken(t testing.TB, a answer) map[string]any {
	t.Helper()
	access, is := a.Body["access_token"].(string)
	if !is {
		t.Fatalf("no token but %d %s", a.Status, a.Text)
	}
	return claimsOf(t, access)
}
