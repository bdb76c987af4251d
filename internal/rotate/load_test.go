package rotate

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// TestRotationsUnderLoad changes the active certificate again and again while a program
// of this process asks for 1,000 tokens a second, through the credential that follows
// the Rotator.
//
// Time is real, because the SDK below the credential goes by the real clock. A rotation
// from nothing takes minutes then, nearly all of it waiting; so these are the cut-overs
// alone: two certificates that are registered and proved take each other's place, by a
// promotion first and then by roll-backs, with all that is stored, published and told.
func TestRotationsUnderLoad(t *testing.T) {
	rotations := 20
	if os.Getenv("TEST_LONG") != "" {
		rotations = 1000
	}
	// The standby is made in simulated time, and then the clock goes with the real one.
	w := &world{t: t, clock: emulatortest.NewClock(time.Now().Add(-time.Hour)), dir: t.TempDir()}
	w.World = emulatortest.Start(t, w.clock.Now, func(o *emulator.Options) { o.Grants = []string{"graph/Application.ReadWrite.All"} })
	client := w.Tenant.Client()
	app, _ := w.Tenant.Directory.View(0).ApplicationByAppID(client.ClientID)
	w.object, w.pair, w.cloud = app.ID, pki.Pair{Certificate: client.Certificate, Key: client.Key}, testCloud(w.Emulator)
	w.open()
	told := make(chan credential.Application, 10)
	w.change = func(o *Options) { o.Changed = func(a credential.Application) { told <- a } }
	r := w.rotator()
	w.adopt(r)
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	w.clock.Add(time.Until(w.clock.Now()) * -1)
	ended := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
				w.clock.Add(max(time.Since(w.clock.Now()), 0))
			}
		}
	})
	defer func() { close(ended); following.Wait() }()
	for len(told) > 0 {
		<-told
	}

	cred, err := m365.NewCredential(w.cloud, m365.SignIn{Method: m365.MethodCertificate, TenantID: w.Tenant.ID, ClientID: w.Tenant.Client().ClientID, Pair: w.pair}, w.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	fell := atomic.Int64{}
	cred.OnSwap = func(pki.Pair, pki.Pair, error) { fell.Add(1) }
	options := policy.TokenRequestOptions{Scopes: []string{w.cloud.GraphAudience + "/.default"}}
	if _, err := cred.GetToken(t.Context(), options); err != nil {
		t.Fatal(err)
	}

	load := startLoad(func() error { _, err := cred.GetToken(t.Context(), options); return err })
	began := time.Now()
	var took, swapped []time.Duration
	for n := range rotations {
		time.Sleep(2 * time.Millisecond) // a wish is kept to the millisecond, and one from before a change is fulfilled by it
		wish := credential.Wish{Kind: credential.Rollback, By: "test", At: w.clock.Now()}
		if n == 0 {
			wish.Kind = credential.Promote
		}
		asked := time.Now()
		if _, err := w.db.AddWish(t.Context(), w.tenant, w.object, wish); err != nil {
			t.Fatal(err)
		}
		was := pki.SHA1(cred.Pair().Certificate)
		for done := false; !done; {
			if _, err := r.Work(t.Context(), w.object); err != nil && !errors.Is(err, store.ErrLeased) {
				t.Fatal(err)
			}
			select {
			case a := <-told:
				active, _ := a.Active()
				if active.SHA1 == was {
					continue // the standby has changed
				}
				took = append(took, time.Since(asked))
				pair, err := r.Pair(t.Context(), active)
				if err != nil {
					t.Fatal(err)
				}
				swapping := time.Now()
				if err := cred.Swap(t.Context(), pair); err != nil {
					t.Fatal(err)
				}
				swapped = append(swapped, time.Since(swapping))
				if standby, ok := a.Standby(); ok {
					if pair, err := r.Pair(t.Context(), standby); err == nil {
						cred.SetStandby(pair)
					}
				}
				done = true
			default:
				time.Sleep(time.Millisecond)
				if time.Since(asked) > time.Minute {
					t.Fatalf("rotation %d does not come about\n%s", n, describe(w.db, w.tenant, w.object, time.Now()))
				}
			}
		}
	}
	span := time.Since(began)
	result := load.stop()
	t.Logf("%d rotations in %v, each %v (median; p99 %v) until the new one is active, and %v (p99 %v) to swap", rotations, span.Round(time.Millisecond),
		percentile(took, 50).Round(time.Millisecond), percentile(took, 99).Round(time.Millisecond), percentile(swapped, 50).Round(time.Millisecond), percentile(swapped, 99).Round(time.Millisecond))
	t.Logf("%d token requests, %.0f a second: %d failed; median %v, p99 %v, longest %v; the machine itself stood still for up to %v", len(result.took), float64(len(result.took))/span.Seconds(), result.failed,
		percentile(result.took, 50), percentile(result.took, 99), percentile(result.took, 100), result.stall)
	if result.failed > 0 || fell.Load() > 0 {
		t.Errorf("%d token requests failed, the first one so: %v; %d times the standby had to help", result.failed, result.first, fell.Load())
	}
	// A machine that gives a program no time delays everything in it.
	if longest := percentile(result.took, 100); longest > 50*time.Millisecond+2*result.stall {
		t.Errorf("the longest token request took %v", longest)
	}
}

// load is 1,000 calls a second, each measured.
type load struct {
	done    chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	result loadResult
}

type loadResult struct {
	took   []time.Duration
	failed int
	first  error
	stall  time.Duration // by how much too late a timer was at worst
}

func startLoad(call func() error) *load {
	const callers, each = 20, 20 * time.Millisecond
	l := &load{done: make(chan struct{})}
	l.running.Go(func() {
		var worst time.Duration
		for {
			from := time.Now()
			select {
			case <-l.done:
				l.mu.Lock()
				defer l.mu.Unlock()
				l.result.stall = worst
				return
			case <-time.After(time.Millisecond):
				worst = max(worst, time.Since(from)-time.Millisecond)
			}
		}
	})
	for i := range callers {
		l.running.Go(func() {
			time.Sleep(each * time.Duration(i) / callers)
			ticker := time.NewTicker(each)
			defer ticker.Stop()
			var took []time.Duration
			var first error
			failed := 0
			for {
				select {
				case <-l.done:
					l.mu.Lock()
					defer l.mu.Unlock()
					l.result.took = slices.Concat(l.result.took, took)
					l.result.failed += failed
					if first != nil {
						l.result.first = first
					}
					return
				case <-ticker.C:
					from := time.Now()
					if err := call(); err != nil {
						failed++
						first = fmt.Errorf("after %v: %w", time.Since(from), err)
					}
					took = append(took, time.Since(from))
				}
			}
		})
	}
	return l
}

func (l *load) stop() loadResult {
	close(l.done)
	l.running.Wait()
	return l.result
}
