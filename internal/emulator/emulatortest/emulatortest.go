// Package emulatortest starts emulated tenants for tests, and talks to them as
// plainly as can be: no SDK stands between a test and what it sends.
package emulatortest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// Clock is a clock that a test sets.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows now until it is told otherwise.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Add moves the clock.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// World is a running emulated tenant and its state.
type World struct {
	*emulator.Emulator
	Tenant *tenant.Tenant
}

// Start starts a calm emulator with a small tenant on the clock now, time.Now
// when nil. It is closed when the test ends.
func Start(t testing.TB, now func() time.Time, change ...func(*emulator.Options)) *World {
	t.Helper()
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 3, Days: 1, PerUser: 2, Now: now, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	return StartTenant(t, tn, change...)
}

// StartTenant is Start with a tenant of the test's own.
func StartTenant(t testing.TB, tn *tenant.Tenant, change ...func(*emulator.Options)) *World {
	t.Helper()
	o := emulator.Options{Tenant: tn, Seed: 1, Calm: true}
	for _, f := range change {
		f(&o)
	}
	e, err := emulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return &World{e, tn}
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Text   string
	Body   map[string]any // when it is a JSON object
}

// Do sends one request. The headers are names and values in turn.
func (w *World) Do(t testing.TB, method, url, body string, header ...string) Answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := w.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Text: string(b)}
	json.Unmarshal(b, &a.Body) // The test that wants an object looks for its members.
	return a
}

// PostForm posts a form to a path of the authority.
func (w *World) PostForm(t testing.TB, path string, form url.Values, header ...string) Answer {
	t.Helper()
	header = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)
	return w.Do(t, http.MethodPost, w.Origins().Authority+path, form.Encode(), header...)
}

// Token returns an access token of the demo client for a resource, such as
// https://graph.microsoft.com, got with a client secret that is made for it.
func (w *World) Token(t testing.TB, resource string) string {
	t.Helper()
	return w.TokenOf(t, w.Tenant.Client().ClientID, resource)
}

// TokenOf is Token for another application, given by its client ID.
func (w *World) TokenOf(t testing.TB, clientID, resource string) string {
	t.Helper()
	now := w.Tenant.Now()
	secret := "for one token " + resource
	keyID, err := w.Tenant.Directory.AddPassword(clientID, secret, now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Tenant.Directory.RemovePassword(clientID, keyID); err != nil {
			t.Error(err)
		}
	}()
	a := w.PostForm(t, "/"+w.Tenant.ID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
		"scope": {resource + "/.default"},
	})
	access, ok := a.Body["access_token"].(string)
	if !ok {
		t.Fatalf("asking for a token for %s: %d %s", resource, a.Status, a.Text)
	}
	return access
}
