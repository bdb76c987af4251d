package graph_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
)

// populate makes n applications with one certificate and a client secret each.
func (w world) populate(t testing.TB, n int) *x509.Certificate {
	t.Helper()
	now := time.Now().UTC()
	cert := pair(t, 3, year).Certificate
	err := w.Tenant.Directory.Update(func(u *directory.Update) error {
		for i := range n {
			k, err := directory.NewKeyCredential(uuid.NewString(), cert.Raw, time.Time{}, time.Time{})
			if err != nil {
				return err
			}
			a := &directory.Application{
				ID: uuid.NewString(), AppID: uuid.NewString(), DisplayName: fmt.Sprint("application ", i), CreatedDateTime: now,
				PublisherDomain: w.Tenant.Domain, SignInAudience: "AzureADMyOrg", KeyCredentials: []directory.KeyCredential{k},
				PasswordCredentials: []directory.PasswordCredential{{KeyID: uuid.NewString(), Hint: "abc", StartDateTime: now, EndDateTime: now.AddDate(1, 0, 0)}},
			}
			u.PutApplication(a)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestInventory(t *testing.T) {
	n, limit := 1_000, 30*time.Second
	if os.Getenv("TEST_LONG") == "1" {
		n, limit = 10_000, time.Minute
	}
	w := newWorld(t)
	cert := w.populate(t, n)
	var requests int
	c := w.reader(t, func(r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1.0/") {
			requests++
		}
	})
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start, most := time.Now(), uint64(0)
	seen, ours := map[string]bool{}, 0
	for a, err := range c.Applications(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if a.At.IsZero() || a.ClientID == "" || seen[a.ObjectID] {
			t.Fatalf("got %+v", a)
		}
		seen[a.ObjectID] = true
		if len(a.Keys) == 1 && a.Keys[0].IsFor(cert) && len(a.Passwords) == 1 && !a.Passwords[0].End.IsZero() {
			ours++
		}
		if len(seen)%999 == 1 {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	took := time.Since(start)
	if all := len(w.Tenant.Directory.View(0).Applications()); ours != n || len(seen) != all {
		t.Errorf("%d applications of %d, %d of the test's %d", len(seen), all, ours, n)
	}
	if took > limit {
		t.Errorf("it took %s", took)
	}
	t.Logf("%d applications in %s by %d requests; the heap, the emulated tenant's included, grew from %d to at most %d MiB",
		len(seen), took.Round(time.Millisecond), requests, before.HeapAlloc>>20, most>>20)
}

func TestListsServicePrincipals(t *testing.T) {
	w := newWorld(t)
	p := pair(t, 0, year).Certificate
	a := w.application(t, "single sign-on")
	err := w.Tenant.Directory.ChangeServicePrincipal(a.AppID, func(sp *directory.ServicePrincipal) error {
		k, err := directory.NewKeyCredential(uuid.NewString(), p.Raw, time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		k.Type, k.Usage = "X509CertAndPassword", "Sign"
		sp.KeyCredentials = append(sp.KeyCredentials, k)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all, found := 0, false
	for sp, err := range w.reader(t).ServicePrincipals(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all++
		if sp.ClientID == a.AppID {
			found = sp.Name == "single sign-on" && sp.Type == "Application" && sp.SigningThumbprint == "" && !sp.At.IsZero() &&
				len(sp.Keys) == 1 && sp.Keys[0].Usage == "Sign" && sp.Keys[0].IsFor(p) && sp.Keys[0].Key == nil
		}
	}
	if !found || all != len(w.Tenant.Directory.View(0).ServicePrincipals()) {
		t.Errorf("%d service principals, found %v", all, found)
	}
}

// A listing that breaks off ends with an error; one that meets a busy Graph goes on.
func TestAListingIsWholeOrAnError(t *testing.T) {
	w := newWorld(t)
	w.populate(t, 2_100)
	all := len(w.Tenant.Directory.View(0).Applications())
	c := w.reader(t)
	for _, f := range []emulator.Fault{
		{Kind: "unavailable", After: 1, Times: 1}, {Kind: "throttle", RetryAfter: time.Second, After: 2, Times: 1},
		{Kind: "reset-body", After: 1, Times: 1}, {Kind: "expired-token", After: 1, Times: 1},
	} {
		f.API, f.Operation = "graph", "applications"
		w.Inject(f)
		if n, err := count(c.Applications(t.Context())); n != all || err != nil {
			t.Errorf("%v: %d of %d applications, error %v", f, n, all, err)
		}
	}
	w.Inject(emulator.Fault{API: "graph", Operation: "applications", Kind: "truncated", After: 1, Times: 1})
	if n, err := count(c.Applications(t.Context())); n != 999 || !errors.Is(err, m365.ErrTransient) {
		t.Errorf("truncated: %d applications, error %v", n, err)
	}
	w.Inject(emulator.Fault{API: "graph", Operation: "applications", Kind: "server-error", After: 2})
	if n, err := count(c.Applications(t.Context())); n != 1998 || !errors.Is(err, m365.ErrTransient) {
		t.Errorf("failing for ever: %d applications, error %v", n, err)
	}
	for range c.Applications(t.Context()) {
		break // which the first page answers
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := count(c.Applications(ctx)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %d applications, error %v", n, err)
	}
}

func count[T any](all iter.Seq2[T, error]) (n int, last error) {
	for _, err := range all {
		if last = err; err == nil {
			n++
		}
	}
	return n, last
}

type token struct{}

func (token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// What no Graph answers, and something in its place might.
func TestOddAnswers(t *testing.T) {
	var body string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.ReplaceAll(body, "HOST", r.Host)) // The client sees when this fails.
	}))
	t.Cleanup(server.Close)
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	c, err := graph.New(graph.Options{Cloud: m365.Cloud{Name: "custom", Graph: server.URL, GraphAudience: "g"}, Credential: token{}, HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	const id = "5d1ed5d4-6b1c-4c11-9a35-1f3e8a3f7d10"
	for name, test := range map[string]struct{ body, want string }{
		"a loop":        {`{"value":[],"@odata.nextLink":"https://HOST/v1.0/applications?$skiptoken=a"}`, "never end"},
		"another host":  {`{"value":[],"@odata.nextLink":"https://elsewhere.example/v1.0/applications?$skiptoken=secret"}`, "is not on"},
		"another port":  {`{"value":[],"@odata.nextLink":"https://127.0.0.1/v1.0/applications"}`, "is not on"},
		"no https":      {`{"value":[],"@odata.nextLink":"http://HOST/v1.0/applications"}`, "is not on"},
		"no link":       {`{"value":[],"@odata.nextLink":":"}`, "cannot be read"},
		"no list":       {`{"error":"none"}`, "no list"},
		"no object":     {`[]`, "not the documented answer"},
		"a page":        {`<html>`, "not the documented answer"},
		"nothing":       {``, "not the documented answer"},
		"an entry less": {`{"value":[{"id":"a"},{}]}`, "entry 2 has no ID"},
	} {
		body = test.body
		_, err := count(c.Applications(t.Context()))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if _, err := c.RegistrationsNamed(t.Context(), "reeve"); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s, of registrations: got %v, want %q", name, err, test.want)
		}
	}
	for _, odd := range []string{`{"id":"other","appId":"other"}`, `{}`, `null`} {
		body = odd
		if a, err := c.Application(t.Context(), id); err == nil || a.ObjectID != "" {
			t.Errorf("%s: got %+v, error %v", odd, a, err)
		}
		if a, err := c.ApplicationByClientID(t.Context(), id); err == nil || a.ObjectID != "" {
			t.Errorf("%s: got %+v, error %v", odd, a, err)
		}
		if r, err := c.RegistrationByClientID(t.Context(), id); err == nil || r.ObjectID != "" {
			t.Errorf("%s: got %+v, error %v", odd, r, err)
		}
		if r, err := c.RegistrationByUniqueName(t.Context(), "reeve-1"); err == nil || r.ObjectID != "" {
			t.Errorf("%s: got %+v, error %v", odd, r, err)
		}
		if p, err := c.PrincipalByClientID(t.Context(), id); err == nil || p.ObjectID != "" {
			t.Errorf("%s: got %+v, error %v", odd, p, err)
		}
	}
	body = `{"value": "x"}`
	if _, err := c.AddKey(t.Context(), id, pair(t, 0, year).Certificate, "p"); !errors.Is(err, m365.ErrTransient) {
		t.Errorf("an answer without a key ID: %v", err)
	}
	if _, err := graph.New(graph.Options{Cloud: m365.Cloud{Name: "custom"}}); err == nil {
		t.Error("a cloud without Graph was taken")
	}
}
