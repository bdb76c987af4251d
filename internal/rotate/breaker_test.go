package rotate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// vaultDown is a store of keys in a vault that is down for a while.
type vaultDown struct {
	certstore.Store
	is    atomic.Bool
	asked atomic.Int64
}

func (v *vaultDown) Get(ctx context.Context, id string) (certstore.Entry, error) {
	if v.is.Load() {
		v.asked.Add(1)
		return certstore.Entry{}, &m365.Error{Op: "reading a secret", URL: "vault.test/secrets/" + id, Status: http.StatusServiceUnavailable, Kind: m365.ErrTransient}
	}
	return v.Store.Get(ctx, id)
}

// TestServicesDown lets one service after the other be down while many applications need
// it: after some failures one asks now and then, whether it is back, and then all go on.
// What does not need the service goes on meanwhile.
func TestServicesDown(t *testing.T) {
	t.Parallel()
	const many, vaultURL = 24, "https://vault.test"
	serviceVault := vaultAt(vaultURL)
	for _, service := range []string{serviceGraph, serviceToken, serviceVault} {
		t.Run(service, func(t *testing.T) {
			w := newInside(t, 1, origin.Delays{})
			vault := &vaultDown{Store: openKeys(t, "")}
			p := w.start(filepath.Join(place(t), "reeve.db"), "one", openKeys(t, ""), 1, 0, func(o *Options) {
				o.Stores[credential.StoreSecrets], o.VaultURL = vault, vaultURL
			})
			down := &hostDown{next: p.network.next, host: map[string]string{serviceGraph: w.cloud.Graph, serviceToken: w.cloud.AuthorityHost}[service]}
			p.network.next = down
			all := w.applications(many, func(int) time.Duration { return 180 * 24 * time.Hour })
			for i, s := range all {
				policy := credential.Policy{}.Complete(w.cloud.GraphAudience)
				if i%2 == 0 {
					policy.Store = credential.StoreSecrets
				}
				w.adopt(p, s, policy)
			}
			// pass goes on for a time, by steps that are shorter than any pause of the breakers.
			pass := func(d time.Duration) {
				t.Helper()
				for end := w.clock.Now().Add(d); w.clock.Now().Before(end); w.clock.Add(4 * time.Second) {
					if _, err := p.Pass(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			// renewed counts the applications whose active certificate is a new one.
			renewed := func() (n int) {
				list, err := p.db.Applications(t.Context(), p.o.Tenant)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range list {
					if c, _ := a.Active(); c.Origin == credential.Made {
						n++
					}
				}
				return n
			}
			pass(4 * time.Minute) // for the standbys
			asked := &down.asked
			if service == serviceVault {
				asked = &vault.asked
				vault.is.Store(true)
			} else {
				down.is.Store(true)
			}
			for _, s := range all {
				if _, err := p.db.AddWish(t.Context(), p.o.Tenant, s.object, credential.Wish{Kind: credential.Renew, By: "pat"}); err != nil {
					t.Fatal(err)
				}
			}
			pass(5 * time.Minute)
			first := asked.Load()
			pass(20 * time.Minute)
			// At the beginning each pause is short; later there is one question in five minutes, in
			// which a key may be asked for more than once. Without the breaker each application
			// would ask several times.
			if later := asked.Load() - first; first < breakerFailures || first > 4*breakerFailures || later > many {
				t.Errorf("%d applications asked %d times in the first 5 minutes, and %d times in the next 20", many, first, later)
			}
			want := map[string]int{serviceGraph: 0, serviceToken: 0, serviceVault: many / 2}[service]
			if n := renewed(); n != want {
				t.Errorf("meanwhile %d are renewed, and %d can be", n, want)
			}
			down.is.Store(false)
			vault.is.Store(false)
			pass(time.Hour) // who asked often waits for some minutes of its own
			if n := renewed(); n != many {
				t.Errorf("afterwards %d of %d are renewed", n, many)
			}
		})
	}
}

// TestWhoseFailure asks which failures close the way to which service for all.
func TestWhoseFailure(t *testing.T) {
	t.Parallel()
	cloud := m365.Cloud{Graph: "https://graph.test"}
	now := begin
	at := func(url string, status int, kind error) error {
		return &m365.Error{Op: "asking", URL: url, Status: status, Kind: kind}
	}
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	down := at("graph.test/v1.0/applications", http.StatusServiceUnavailable, m365.ErrTransient)
	both, store := []string{serviceGraph, serviceToken}, []string{vaultAt("https://keys.test")}
	for name, x := range map[string]struct {
		needed []string
		err    error
		many   bool   // applications
		closes string // the service; empty for none
	}{
		"Graph is down":                     {both, down, true, serviceGraph},
		"Graph is down for one application": {both, down, false, ""},
		"Graph has no such application":     {both, at("graph.test/v1.0/applications", http.StatusNotFound, m365.ErrNotFound), true, ""},
		"Graph forbids it":                  {both, at("graph.test/v1.0/applications", http.StatusForbidden, m365.ErrForbidden), true, ""},
		"Graph asks to wait":                {both, at("graph.test/v1.0/applications", http.StatusTooManyRequests, m365.ErrThrottled), true, ""},
		"Graph cannot be reached":           {both, at("graph.test/v1.0/applications", 0, m365.ErrTransient), true, serviceGraph},
		"Entra ID asks to wait":             {both, &m365.SignInError{Status: http.StatusTooManyRequests}, true, ""},
		"Entra ID refuses":                  {both, &m365.SignInError{Status: http.StatusUnauthorized, Codes: []int{700027}}, true, ""},
		"Entra ID fails":                    {both, &m365.SignInError{Status: http.StatusBadGateway}, true, serviceToken},
		"Entra ID is silent":                {both, silent(over, serviceToken, errors.New("no answer")), true, serviceToken},
		"somebody is silent":                {both, context.DeadlineExceeded, true, serviceGraph},
		"the vault of the keys is down":     {store, at("keys.test/secrets/a", http.StatusServiceUnavailable, m365.ErrTransient), true, store[0]},
		"the vault of the keys is silent":   {store, at("https://keys.test", 0, m365.ErrTransient), true, store[0]},
		"a place in it":                     {store, placeError{at("keys.test/certificates/a", http.StatusServiceUnavailable, m365.ErrTransient)}, true, store[0]},
		"a place in another vault":          {store, placeError{at("other.test/certificates/a", http.StatusServiceUnavailable, m365.ErrTransient)}, true, ""},
		"a place is silent":                 {store, placeError{context.DeadlineExceeded}, true, ""},
		"it was interrupted":                {both, context.Canceled, true, ""},
	} {
		var b breakers
		for i := range 3 * breakerFailures {
			id := "one"
			if x.many {
				id = fmt.Sprint(i)
			}
			b.record(cloud, id, x.needed, x.err, now)
		}
		for _, service := range append(both, store...) {
			if closed := !b.until([]string{service}, now).IsZero(); closed != (service == x.closes) {
				t.Errorf("%s: the way to %s is closed: %t", name, service, closed)
			}
		}
	}
}

// TestALostAnswerIsAFailure has Graph answer what is read, and nothing that is written: for
// the breaker it is down as well.
func TestALostAnswerIsAFailure(t *testing.T) {
	t.Parallel()
	d := newDuel(t)
	d.list = func(int, func() (*http.Response, error)) (*http.Response, error) { return nil, errLost }
	d.adopt(func(a *Adoption) { a.Pair = pki.Pair{} })
	d.work("a list", func(credential.Application) bool { return d.lists > 0 })
	d.reeve.breakers.mu.Lock()
	defer d.reeve.breakers.mu.Unlock()
	if x := d.reeve.breakers.of[serviceGraph]; x == nil || !x.failed[d.subject.object] {
		t.Errorf("after a list without an answer the breaker has %+v", x)
	}
}

// TestRetryAfterOfAMonth takes what is longer than a day for a mistake: kept, it would hold
// everything up on the day before its end.
func TestRetryAfterOfAMonth(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]time.Duration{time.Hour: time.Hour, 24 * time.Hour: 24 * time.Hour, 30 * 24 * time.Hour: 0} {
		if got := retryAfter(fmt.Errorf("looking: %w", &m365.Error{RetryAfter: asked})); got != want {
			t.Errorf("%v is waited for %v", asked, got)
		}
	}
}
