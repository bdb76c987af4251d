package rotate

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/m365"
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
	const many = 24
	for _, service := range []string{serviceGraph, serviceToken, serviceVault} {
		t.Run(service, func(t *testing.T) {
			w := newInside(t, 1, origin.Delays{})
			vault := &vaultDown{Store: openKeys(t, "")}
			p := w.start(filepath.Join(place(t), "reeve.db"), "one", openKeys(t, ""), 1, 0, func(o *Options) {
				o.Stores[credential.StoreSecrets] = vault
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
