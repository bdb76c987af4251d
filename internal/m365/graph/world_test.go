package graph_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
)

// world is an emulated tenant on the wall clock.
type world struct {
	*emulatortest.World
}

func newWorld(t testing.TB, change ...func(*emulator.Options)) world {
	t.Helper()
	return world{emulatortest.Start(t, nil, change...)}
}

func (w world) cloud(t testing.TB) m365.Cloud {
	t.Helper()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	cloud.AuthorityHost, cloud.Graph = w.Origins().Authority, w.Origins().Graph
	return cloud
}

// demo is how the tenant's own client signs in.
func (w world) demo() (clientID string, pair pki.Pair) {
	c := w.Tenant.Client()
	return c.ClientID, pki.Pair{Certificate: c.Certificate, Key: c.Key}
}

// client signs in as an application. Its requests pass by change, if there is one.
func (w world) client(t testing.TB, clientID string, pair pki.Pair, change ...func(*http.Request)) *graph.Client {
	t.Helper()
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: w.CA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	for _, f := range change {
		client.Transport = watched{client.Transport, f}
	}
	cred, err := m365.NewCredential(w.cloud(t), m365.SignIn{
		Method: m365.MethodCertificate, TenantID: w.Tenant.ID, ClientID: clientID, Pair: pair,
	}, client)
	if err != nil {
		t.Fatal(err)
	}
	c, err := graph.New(graph.Options{
		Cloud: w.cloud(t), Credential: cred, HTTP: client,
		Retry: m365.Retry{Max: 5, Delay: time.Microsecond, MaxDelay: 2 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reader is a client that may read all applications, and change none.
func (w world) reader(t testing.TB, change ...func(*http.Request)) *graph.Client {
	t.Helper()
	clientID, pair := w.demo()
	return w.client(t, clientID, pair, change...)
}

// writer is a client that may change all applications.
func (w world) writer(t testing.TB, change ...func(*http.Request)) *graph.Client {
	t.Helper()
	clientID, _ := w.demo()
	if err := w.Tenant.Directory.GrantRole(clientID, directory.Graph, "Application.ReadWrite.All"); err != nil {
		t.Fatal(err)
	}
	return w.reader(t, change...)
}

type watched struct {
	http.RoundTripper
	see func(*http.Request)
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	w.see(r)
	return w.RoundTripper.RoundTrip(r)
}

// application makes an application that knows the certificate of the pair.
func (w world) application(t testing.TB, name string, pairs ...pki.Pair) *directory.Application {
	t.Helper()
	a := w.Tenant.Directory.NewApplication(name)
	for _, p := range pairs {
		w.register(t, a, p, time.Time{}, time.Time{})
	}
	return w.now(t, a)
}

// register does what an administrator does in the portal.
func (w world) register(t testing.TB, a *directory.Application, p pki.Pair, start, end time.Time) string {
	t.Helper()
	keyID, err := w.Tenant.Directory.AddKeyCredential(a.AppID, p.Certificate.Raw, start, end)
	if err != nil {
		t.Fatal(err)
	}
	return keyID
}

// now is what the directory holds.
func (w world) now(t testing.TB, a *directory.Application) *directory.Application {
	t.Helper()
	found, ok := w.Tenant.Directory.View(0).Application(a.ID)
	if !ok {
		t.Fatalf("application %s is gone", a.ID)
	}
	return found
}

// keys are made once each, because making them is slow.
var keys = sync.OnceValue(func() (all [4]*rsa.PrivateKey) {
	for i := range all {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		all[i] = key
	}
	return all
})

// pair is a certificate of the i-th key.
func pair(t testing.TB, i int, lifetime time.Duration) pki.Pair {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	p, err := pki.SelfSign(keys()[i], pki.Template{
		Subject: pkix.Name{CommonName: "a test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func proof(t testing.TB, p pki.Pair, objectID string) string {
	t.Helper()
	s, err := graph.KeyProof(p, objectID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
