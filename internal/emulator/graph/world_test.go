package graph_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/graph"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// signingKeys are made once, because making them is slow.
var signingKeys = sync.OnceValues(token.NewKeys)

// world is a directory with Graph before it, without a network, a token service
// or anything else, on a clock that the test sets. Its tokens are of the test's
// own making.
type world struct {
	directory *directory.Directory
	api       *graph.API
	cloud     *origin.Cloud
	handler   http.Handler
	mu        sync.Mutex
	at        time.Time
}

const theTenant = "5d1ed5d4-6b1c-4c11-9a35-1f3e8a3f7d10"

func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	keys, err := signingKeys()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{at: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	w.directory = directory.New(theTenant, "contoso.onmicrosoft.com", "Contoso", w.now, time.Hour)
	w.directory.AddMicrosoftServices(uuid.NewString, "contoso.sharepoint.com", w.at.AddDate(-2, 0, 0))
	w.directory.Settle()
	w.cloud = &origin.Cloud{
		Hosts: &origin.Hosts{Origins: origin.Origins{Graph: "https://127.0.0.1:1", Authority: "https://127.0.0.1:2"}, Names: origin.Clouds[0]},
		Now:   w.now, Log: slog.New(slog.DiscardHandler), Calm: true,
		Chance: origin.NewChance(1, 1), Faults: origin.NewFaults(1, true),
	}
	w.api = &graph.API{Cloud: w.cloud, Tokens: &token.Reader{Keys: keys, TenantID: theTenant, Now: w.now}, Directory: w.directory}
	for _, f := range change {
		f(w)
	}
	w.handler = w.cloud.Handler(w.api.Origin(), 0)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// caller is what a token says. The zero value may do nothing.
type caller struct {
	oid, appID string
	roles      []string
	scopes     string // of a person
	wids       []string
}

func (w *world) token(t testing.TB, c caller) string {
	t.Helper()
	keys, err := signingKeys()
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{
		"aud": "https://graph.microsoft.com", "iss": token.Issuer(theTenant), "tid": theTenant, "oid": c.oid, "appid": c.appID,
		"iat": w.now().Unix(), "nbf": w.now().Unix(), "exp": w.now().Add(time.Hour).Unix(), "wids": c.wids,
	}
	if c.scopes != "" {
		claims["scp"] = c.scopes
	} else {
		claims["roles"] = c.roles
	}
	s, err := keys.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// admin is an application that may do everything.
var admin = caller{
	oid: "0a0a0a0a-0000-4000-8000-000000000001", appID: "0a0a0a0a-0000-4000-8000-000000000002",
	roles: []string{
		"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All", "Directory.Read.All",
		"RoleManagement.ReadWrite.Directory", "Policy.ReadWrite.ApplicationConfiguration", "User.Read.All",
	},
}

type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// code is the code of an error.
func (a answer) code() string {
	e, _ := a.body["error"].(map[string]any)
	s, _ := e["code"].(string)
	return s
}

func (a answer) message() string {
	e, _ := a.body["error"].(map[string]any)
	s, _ := e["message"].(string)
	return s
}

// value returns the objects of a list.
func (a answer) value() []map[string]any {
	list, _ := a.body["value"].([]any)
	var all []map[string]any
	for _, one := range list {
		o, _ := one.(map[string]any)
		all = append(all, o)
	}
	return all
}

func (a answer) id() string {
	s, _ := a.body["id"].(string)
	return s
}

func (w *world) do(t testing.TB, c caller, method, target string, body any, header ...string) answer {
	t.Helper()
	return w.send(t, w.token(t, c), method, target, body, header...)
}

func (w *world) send(t testing.TB, bearer, method, target string, body any, header ...string) answer {
	t.Helper()
	text := ""
	switch b := body.(type) {
	case nil:
	case string:
		text = b
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	if strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/beta/") {
		target = "/v1.0" + target
	}
	target = strings.ReplaceAll(target, " ", "%20")
	r := httptest.NewRequest(method, target, strings.NewReader(text))
	if text != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	b, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: rec.Code, header: rec.Header(), text: string(b)}
	json.Unmarshal(b, &a.body) // The test that wants an object looks for its members.
	return a
}

// must is do as admin, and fails unless the status is the one wanted.
func (w *world) must(t testing.TB, status int, method, target string, body any, header ...string) answer {
	t.Helper()
	a := w.do(t, admin, method, target, body, header...)
	if a.status != status {
		t.Fatalf("%s %s: %d %s, want %d", method, target, a.status, a.text, status)
	}
	return a
}

// refused fails unless admin is refused with the status and the code.
func (w *world) refused(t testing.TB, status int, code, method, target string, body any, header ...string) answer {
	t.Helper()
	a := w.do(t, admin, method, target, body, header...)
	if a.status != status || a.code() != code {
		t.Errorf("%s %s: %d %s, want %d %s", method, target, a.status, a.text, status, code)
	}
	return a
}

type object = map[string]any

// app creates an application over Graph, and its service principal.
func (w *world) app(t testing.TB, displayName string) (id, appID, principalID string) {
	t.Helper()
	a := w.must(t, 201, "POST", "/applications", object{"displayName": displayName})
	appID, _ = a.body["appId"].(string)
	p := w.must(t, 201, "POST", "/servicePrincipals", object{"appId": appID})
	return a.id(), appID, p.id()
}

// pair is a certificate with its private key.
type pair struct {
	der []byte
	key *rsa.PrivateKey
}

func (p pair) base64() string { return base64.StdEncoding.EncodeToString(p.der) }

func (w *world) pair(t testing.TB, lifetime time.Duration) pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: w.now().Add(-time.Hour), NotAfter: w.now().Add(lifetime)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{der, key}
}
