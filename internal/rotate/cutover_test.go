package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// TestCutOver revokes the active certificates of many applications at once, and measures
// how long it takes until each has its standby in use, and then until each has a new
// standby. Time, the network and the disk are real, and the tenant keeps Graph's quotas.
//
// Each standby was proved longer ago than may be relied on, so that each is proved anew.
func TestCutOver(t *testing.T) {
	count, workers := 200, 8
	if os.Getenv("TEST_LONG") != "" {
		count = 10000
	}
	if raceEnabled {
		count = 20
	}
	if n, err := strconv.Atoi(os.Getenv("TEST_APPLICATIONS")); err == nil {
		count = n
	}
	if n, err := strconv.Atoi(os.Getenv("TEST_WORKERS")); err == nil {
		workers = n
	}
	c := newCrowd(t, count)
	all := make(chan struct{})
	over := map[string]time.Duration{}  // when the standby became active
	again := map[string]time.Duration{} // when there was a new one
	var mu sync.Mutex
	ctx, stop := context.WithCancel(t.Context())
	var began time.Time
	var run *Rotator
	standbys := make(chan struct{})
	run = New(Options{
		DB: c.db, Tenant: c.number, Cloud: testCloud(c.Emulator), HTTP: c.HTTPClient(), Workers: workers,
		Stores:    map[string]certstore.Store{credential.StoreLocal: c.keys},
		Directory: newDirectory(t, testCloud(c.Emulator), c.HTTPClient(), c.reeve(t)),
		Changed: func(a credential.Application) {
			at := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			if active, ok := a.Active(); ok && active.Origin == credential.Made {
				if _, known := over[a.ObjectID]; !known {
					if over[a.ObjectID] = at; len(over) == count {
						close(all)
					}
				}
			}
			if _, ok := a.Standby(); ok && over[a.ObjectID] > 0 {
				if _, known := again[a.ObjectID]; !known {
					if again[a.ObjectID] = at; len(again) == count {
						close(standbys)
					}
				}
			}
		},
	})
	var running sync.WaitGroup
	running.Go(func() {
		if err := run.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended: %v", err)
		}
	})
	defer running.Wait()
	defer stop()

	began = time.Now()
	for _, s := range c.subjects {
		if _, err := c.db.AddWish(t.Context(), c.number, s.object, credential.Wish{Kind: credential.Revoke, Credential: s.active, By: "test", Why: "a trial", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	asked := time.Since(began)
	run.Wake()
	wait(t, all, 20*time.Minute, func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprintf("%d of %d are cut over", len(over), count)
	})
	mu.Lock()
	var took []time.Duration
	for _, d := range over {
		took = append(took, d)
	}
	mu.Unlock()
	last := percentile(took, 100)
	t.Logf("%d applications, %d workers: all were asked for within %v, and cut over to their standby within %v (median %v, p99 %v): %.0f a second",
		count, workers, asked.Round(time.Millisecond), last.Round(time.Millisecond), percentile(took, 50).Round(time.Millisecond), percentile(took, 99).Round(time.Millisecond), float64(count)/last.Seconds())
	if count >= 10000 && last > 5*time.Minute {
		t.Errorf("it took %v", last)
	}
	if os.Getenv("TEST_STANDBYS") == "" {
		return
	}
	wait(t, standbys, time.Hour, func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprintf("%d of %d have a standby", len(again), count)
	})
	mu.Lock()
	took = nil
	for _, d := range again {
		took = append(took, d)
	}
	mu.Unlock()
	rate := keyRate(t)
	t.Logf("each had a new standby within %v (median %v); the keys alone take %v, at %.1f a second on %d processors; calls of Graph: %v", percentile(took, 100).Round(time.Second), percentile(took, 50).Round(time.Second),
		time.Duration(float64(count)/rate*float64(time.Second)).Round(time.Second), rate, runtime.GOMAXPROCS(0), graphCalls(c.Emulator))
}

// graphCalls counts what Graph was asked for.
func graphCalls(e *emulator.Emulator) map[string]int {
	n := map[string]int{}
	for _, c := range e.Calls() {
		if c.API == "graph" {
			n[c.Operation+" "+c.Status] += c.Count
		}
	}
	return n
}

func wait(t *testing.T, done <-chan struct{}, limit time.Duration, state func() string) {
	t.Helper()
	timeout := time.After(limit)
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			t.Log(state())
		case <-timeout:
			t.Fatalf("not within %v: %s", limit, state())
		}
	}
}

// keyRate is how many keys a second this machine makes, on all of its processors and
// with nothing else to do.
func keyRate(t *testing.T) float64 {
	const each = 50
	began := time.Now()
	var making sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		making.Go(func() {
			for range each {
				if _, err := pki.NewKey(pki.RSA2048); err != nil {
					t.Error(err)
				}
			}
		})
	}
	making.Wait()
	return each * float64(runtime.GOMAXPROCS(0)) / time.Since(began).Seconds()
}

// crowd is many applications with an active certificate and a standby, as reeve leaves
// them, at an unkind tenant.
type crowd struct {
	*emulatortest.World
	db       *store.DB
	number   int
	keys     certstore.Store
	subjects []crowded
}

type crowded struct{ object, client, active string }

func newCrowd(t *testing.T, count int) *crowd {
	t.Helper()
	began := time.Now()
	c := &crowd{keys: openKeys(t, "")}
	c.World = emulatortest.Start(t, nil, func(o *emulator.Options) {
		o.Grants = []string{"graph/Application.ReadWrite.All"}
		o.Calm = false
	})
	var err error
	if c.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "reeve.db"), store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.db.Close() })
	if c.number, err = c.db.Tenant(t.Context(), c.Tenant.ID); err != nil {
		t.Fatal(err)
	}
	policy := credential.Policy{}.Complete(testCloud(c.Emulator).GraphAudience)
	d := c.Tenant.Directory
	for i := range count {
		app := d.NewApplication(fmt.Sprintf("app %d", i))
		a := credential.Application{
			TenantID: c.Tenant.ID, ObjectID: app.ID, ClientID: app.AppID, Name: app.DisplayName, Mode: credential.On, Policy: policy,
			Adopted: time.Now().Add(-time.Hour).UTC(), Generation: time.Now().Add(-time.Hour).Unix(),
		}
		for _, state := range []credential.State{credential.Active, credential.Standby} {
			one, k := c.credential(t, a, state)
			a.Credentials = append(a.Credentials, one)
			a.Observed.Keys = append(a.Observed.Keys, credential.ObservedKey{KeyID: k.KeyID, SHA256: one.SHA256, Start: k.StartDateTime, End: k.EndDateTime, Ours: one.ID})
			app.KeyCredentials = append(app.KeyCredentials, k)
		}
		a.Observed.At = time.Now().Add(-time.Minute).UTC()
		principal := d.PrincipalFor(app, uuid.NewString())
		if err := d.Update(func(u *directory.Update) error {
			u.PutApplication(app)
			u.PutServicePrincipal(principal)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := c.db.AddApplication(t.Context(), c.number, a, store.JournalEntry{At: time.Now(), Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
			t.Fatal(err)
		}
		c.subjects = append(c.subjects, crowded{app.ID, app.AppID, a.Credentials[0].ID})
	}
	d.Settle()
	t.Logf("%d applications were set up in %v", count, time.Since(began).Round(time.Second))
	return c
}

// credential makes one that is in a state, in the store and for the directory.
func (c *crowd) credential(t *testing.T, a credential.Application, state credential.State) (credential.Credential, directory.KeyCredential) {
	t.Helper()
	made := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	key, err := nextKey(context.Background(), pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.SelfSign(key, pki.Template{Subject: mustName(t, "CN="+a.Name), NotBefore: made, NotAfter: made.Add(time.Duration(a.Policy.Lifetime))})
	if err != nil {
		t.Fatal(err)
	}
	k, err := directory.NewKeyCredential(uuid.NewString(), pair.Certificate.Raw, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	one := credential.Credential{
		ID: uuid.Must(uuid.NewV7()).String(), State: state, Origin: credential.Adopted, Store: credential.StoreLocal, KeyID: k.KeyID, Reason: "set up",
		Planned: made, Since: made, Sent: made, Registered: made, Probed: made,
		Proofs: map[string]credential.Proof{a.Policy.Resources[0]: {Since: made, Last: made, Count: 3}},
	}
	setCertificate(&one, pair, a.Policy)
	if state == credential.Active {
		one.Promoted, one.Generation = made, a.Generation
	} else {
		one.Origin, one.Ready = credential.Made, made
	}
	if err := c.keys.Put(t.Context(), certstore.Entry{ID: one.ID, Key: key, Certificate: pair.Certificate, ObjectID: a.ObjectID, ClientID: a.ClientID, TenantID: a.TenantID, Made: made}); err != nil {
		t.Fatal(err)
	}
	return one, k
}

// reeve is reeve's own sign-in, as the demo application.
func (c *crowd) reeve(t *testing.T) *m365.Credential {
	t.Helper()
	client := c.Tenant.Client()
	cred, err := m365.NewCredential(testCloud(c.Emulator), m365.SignIn{Method: m365.MethodCertificate, TenantID: c.Tenant.ID, ClientID: client.ClientID,
		Pair: pki.Pair{Certificate: client.Certificate, Key: client.Key}}, c.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	return cred
}
