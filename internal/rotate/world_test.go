package rotate

import (
	"context"
	"crypto"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// world is an emulated tenant, a database, a certificate store and a clock that stands
// still unless it is moved. Its Rotators are made anew after each crash.
type world struct {
	*emulatortest.World
	t      testing.TB
	clock  *emulatortest.Clock
	cloud  m365.Cloud
	dir    string
	db     *store.DB
	tenant int
	keys   certstore.Store
	object string // of the demo application
	pair   pki.Pair

	change func(*Options)
}

var begin = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, change ...func(*emulator.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: emulatortest.NewClock(begin), dir: t.TempDir()}
	w.World = emulatortest.Start(t, w.clock.Now, append([]func(*emulator.Options){func(o *emulator.Options) {
		o.Grants = []string{"graph/Application.ReadWrite.All"}
	}}, change...)...)
	client := w.Tenant.Client()
	app, ok := w.Tenant.Directory.View(0).ApplicationByAppID(client.ClientID)
	if !ok {
		t.Fatal("the tenant has no demo application")
	}
	w.object = app.ID
	w.pair = pki.Pair{Certificate: client.Certificate, Key: client.Key}
	w.cloud = testCloud(w.Emulator)
	w.open()
	return w
}

func testCloud(e *emulator.Emulator) m365.Cloud {
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		panic(err)
	}
	o := e.Origins()
	cloud.AuthorityHost, cloud.Graph, cloud.Manage, cloud.Logs = o.Authority, o.Graph, o.Manage, o.Logs
	return cloud
}

// open opens the database and the certificate store, as at a start of the program.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = store.Open(context.Background(), database(w.t, filepath.Join(w.dir, "reeve.db")), store.Options{Now: w.clock.Now}); err != nil {
		w.t.Fatal(err)
	}
	db := w.db
	w.t.Cleanup(func() { db.Close() })
	if w.tenant, err = w.db.Tenant(context.Background(), w.Tenant.ID); err != nil {
		w.t.Fatal(err)
	}
	w.keys = openKeys(w.t, filepath.Join(w.dir, "keys"))
}

// rotator makes a Rotator as at a start of the program.
func (w *world) rotator() *Rotator {
	w.t.Helper()
	o := Options{
		DB: w.db, Tenant: w.tenant, Cloud: w.cloud, HTTP: w.HTTPClient(),
		Stores:  map[string]certstore.Store{credential.StoreLocal: w.keys},
		NewKey:  nextKey,
		Rhythm:  credential.Rhythm{Look: 6 * time.Hour, Rehearse: 24 * time.Hour},
		Workers: 1,
		Now:     w.clock.Now,
	}
	if testing.Verbose() && os.Getenv("TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	}
	o.Directory = w.directory()
	if w.change != nil {
		w.change(&o)
	}
	return New(o)
}

// directory is Graph as the demo application sees it, whatever its certificate is.
func (w *world) directory() *graph.Client {
	w.t.Helper()
	return newDirectory(w.t, w.cloud, w.HTTPClient(), own{w})
}

func newDirectory(t testing.TB, cloud m365.Cloud, client *http.Client, cred azcore.TokenCredential) *graph.Client {
	t.Helper()
	c, err := graph.New(graph.Options{Cloud: cloud, HTTP: client, Retry: m365.Retry{Max: -1}, Credential: cred})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustName(t testing.TB, s string) pkix.Name {
	t.Helper()
	n, err := pki.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// own signs in as reeve does: with the active certificate, or the standby when that is
// refused.
type own struct{ w *world }

func (o own) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	pairs := []pki.Pair{}
	a, err := o.w.db.Application(ctx, o.w.tenant, o.w.object)
	if err == nil {
		for _, c := range append(a.In(credential.Active), a.In(credential.Standby)...) {
			if e, err := o.w.keys.Get(ctx, c.ID); err == nil && e.Certificate != nil {
				pairs = append(pairs, pki.Pair{Certificate: e.Certificate, Key: e.Key})
			}
		}
	}
	if len(pairs) == 0 {
		pairs = append(pairs, o.w.pair)
	}
	var token azcore.AccessToken
	for _, pair := range pairs {
		token, err = provenToken{m365.Prover{Cloud: o.w.cloud, HTTP: o.w.HTTPClient(), Now: o.w.clock.Now},
			m365.ProofRequest{TenantID: o.w.Tenant.ID, ClientID: o.w.Tenant.Client().ClientID, Pair: pair}}.GetToken(ctx, options)
		if err == nil {
			break
		}
	}
	return token, err
}

func (w *world) policy() credential.Policy {
	return credential.Policy{}.Complete(w.cloud.GraphAudience)
}

// adopt begins to look after the demo application, with the certificate that it has.
func (w *world) adopt(r *Rotator, change ...func(*Adoption)) credential.Application {
	w.t.Helper()
	o := Adoption{ObjectID: w.object, ClientID: w.Tenant.Client().ClientID, TenantID: w.Tenant.ID, Name: "reeve",
		Mode: credential.On, Policy: w.policy(), Pair: w.pair, By: "test"}
	for _, f := range change {
		f(&o)
	}
	a, err := r.Adopt(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// app reads the application.
func (w *world) app() credential.Application {
	w.t.Helper()
	a, err := w.db.Application(context.Background(), w.tenant, w.object)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// until works, and moves the clock to when something is due next, until a condition
// holds. It gives up after a time by the clock.
func (w *world) until(r *Rotator, limit time.Duration, what string, ok func(credential.Application) bool) {
	w.t.Helper()
	end := w.clock.Now().Add(limit)
	for range 100000 {
		next, err := r.Pass(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		a := w.app()
		if ok(a) {
			return
		}
		now := w.clock.Now()
		if now.After(end) || next.IsZero() {
			break
		}
		w.clock.Add(max(next.Sub(now), time.Millisecond))
	}
	w.t.Fatalf("waiting for %s: not within %v\n%s", what, limit, w.describe())
}

// describe tells what there is, for a test that fails.
func (w *world) describe() string { return describe(w.db, w.tenant, w.object, w.clock.Now()) }

func describe(db *store.DB, tenant int, objectID string, now time.Time) string {
	a, err := db.Application(context.Background(), tenant, objectID)
	if err != nil {
		return err.Error()
	}
	cut := func(s string) string { return s[:min(len(s), 160)] }
	var b strings.Builder
	fmt.Fprintf(&b, "at %s\n", now.Format(time.RFC3339))
	for _, c := range a.Credentials {
		fmt.Fprintf(&b, "  %s %s since %s, until %s %s\n", c.ID[24:], c.State, c.Since.Format("01-02 15:04:05"), c.NotAfter.Format(time.DateOnly), cut(c.Error))
	}
	entries, _ := db.Journal(context.Background(), tenant, objectID, 0, 1000)
	for _, e := range entries[max(0, len(entries)-25):] {
		fmt.Fprintf(&b, "  %s %s %s %s %s\n", e.At.Format("01-02 15:04:05"), cut("            " + e.Credential)[max(0, len(e.Credential)):], e.Step, e.Outcome, cut(e.Text))
	}
	return b.String()
}

// atEntra lists the key credentials of the demo application as they are, without lag.
func (w *world) atEntra() []directory.KeyCredential {
	app, _ := w.Tenant.Directory.View(0).Application(w.object)
	return app.KeyCredentials
}

// database is the address of the one that a file stands for: the file, or with
// TEST_ENGINE=postgres a database of a server.
func database(t testing.TB, file string) string {
	if os.Getenv("TEST_ENGINE") != "postgres" {
		return "sqlite:" + file
	}
	databasesMu.Lock()
	defer databasesMu.Unlock()
	if databases[file] == "" {
		databases[file] = storetest.PostgreSQL(t)
	}
	return databases[file]
}

// onlyFiles skips a test that does something to the file of its database.
func onlyFiles(t testing.TB) {
	if os.Getenv("TEST_ENGINE") == "postgres" {
		t.Skip("it looks into the file of the database")
	}
}

var (
	databasesMu sync.Mutex
	databases   = map[string]string{} // by file
)

// Keys take long to make, and tests need many: they share some.
var (
	keysMu  sync.Mutex
	keyPool []crypto.Signer
	keyAt   int
)

const keyCount = 12

func nextKey(context.Context, pki.KeyType) (crypto.Signer, error) {
	keysMu.Lock()
	defer keysMu.Unlock()
	if len(keyPool) < keyCount {
		k, err := pki.NewKey(pki.RSA2048)
		if err != nil {
			return nil, err
		}
		keyPool = append(keyPool, k)
		return k, nil
	}
	keyAt++
	return keyPool[keyAt%keyCount], nil
}

// secretToken signs in as the demo application with a client secret, which goes on when
// its certificates have expired.
type secretToken struct{ w *world }

func (s secretToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: s.w.Token(s.w.t, "https://graph.microsoft.com"), ExpiresOn: time.Now()}, nil
}

func entryForTest() store.JournalEntry {
	return store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}
}
