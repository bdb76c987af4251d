package keyvault_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

const (
	tenantID = "6f5c1a7e-5d0b-4a70-9d3c-1f2e3d4c5b6a"
	somebody = "11111111-2222-4333-8444-555555555555" // object ID of the caller
)

// world is a vault alone, served without the rest of the tenant, in which the
// caller may do everything.
type world struct {
	*keyvault.Vault
	clock *emulatortest.Clock
	cloud *origin.Cloud
	keys  *token.Keys
	url   string
	heard func(method, path string, a reply) // of every answer that the caller gets; may be nil
}

// signingKeys are the keys of the token service, which the tests share because
// making them takes long.
var signingKeys = sync.OnceValue(func() *token.Keys {
	keys, err := token.NewKeys()
	if err != nil {
		panic(err)
	}
	return keys
})

func start(t testing.TB, change ...func(*origin.Cloud)) *world {
	t.Helper()
	w := &world{clock: emulatortest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	w.Vault = keyvault.New("contoso-vault", w.clock.Now)
	w.Allow(somebody, "certificates/all", "certificates/purge", "secrets/all", "secrets/purge", "keys/all", "keys/purge")
	public, ok := origin.LookupCloud("public")
	if !ok {
		t.Fatal("there is no public cloud")
	}
	w.cloud = &origin.Cloud{
		Hosts: &origin.Hosts{Names: public.ForVault(w.Name)}, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
		Chance: origin.NewChance(1, 1), Faults: origin.NewFaults(1, true), Calm: true,
	}
	for _, f := range change {
		f(w.cloud)
	}
	w.keys = signingKeys()
	api := &keyvault.API{Cloud: w.cloud, Vault: w.Vault, Tokens: &token.Reader{Keys: w.keys, TenantID: tenantID, Now: w.clock.Now}}
	server := httptest.NewServer(w.cloud.Handler(api.Origin(), 0))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.cloud.Hosts.Origins.Vault, w.cloud.Hosts.Origins.Authority = server.URL, "https://login.example"
	return w
}

// bearer returns an access token of the caller, changed by the members given.
func (w *world) bearer(t testing.TB, change map[string]any) string {
	t.Helper()
	now := w.clock.Now().Unix()
	claims := map[string]any{
		"aud": "https://vault.azure.net", "iss": token.Issuer(tenantID), "tid": tenantID, "appid": "app", "oid": somebody,
		"nbf": now - 60, "exp": now + 3600, "ver": "1.0",
	}
	for name, value := range change {
		claims[name] = value
	}
	signed, err := w.keys.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// ask sends a request as the caller. The body is text, or is sent as JSON; the
// api-version is 7.6 unless the path has one.
func (w *world) ask(t testing.TB, method, path string, body any) reply {
	t.Helper()
	if !strings.Contains(path, "api-version=") {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + "api-version=7.6"
	}
	a := w.send(t, method, path, body, w.bearer(t, nil))
	if w.heard != nil {
		w.heard(method, path, a)
	}
	return a
}

func (w *world) send(t testing.TB, method, path string, body any, bearer string) reply {
	t.Helper()
	var text string
	switch body := body.(type) {
	case nil:
	case string:
		text = body
	default:
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := reply{status: resp.StatusCode, header: resp.Header, text: string(b)}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a.body); err != nil {
			t.Fatalf("%s %s: the answer is not JSON: %v", method, path, err)
		}
	}
	return a
}

// must is ask for what has to succeed with a status.
func (w *world) must(t testing.TB, status int, method, path string, body any) reply {
	t.Helper()
	a := w.ask(t, method, path, body)
	if a.status != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.text, status)
	}
	return a
}

// refused is ask for what has to be refused with a status, a code and an inner
// code, which may be empty.
func (w *world) refused(t testing.TB, status int, code, inner, method, path string, body any) {
	t.Helper()
	a := w.ask(t, method, path, body)
	if a.status != status || a.at("error", "code") != code || inner != "" && a.at("error", "innererror", "code") != inner {
		t.Errorf("%s %s: %d %s, want %d %s %s", method, path, a.status, a.text, status, code, inner)
	}
}

// at returns the member that a path of names leads to, or nil.
func (a reply) at(path ...string) any {
	var here any = a.body
	for _, name := range path {
		object, ok := here.(map[string]any)
		if !ok {
			return nil
		}
		here = object[name]
	}
	return here
}

func (a reply) string(path ...string) string {
	s, _ := a.at(path...).(string)
	return s
}

// object is a JSON object.
type object = map[string]any
