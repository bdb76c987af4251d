package pki_test

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/reeve365/reeve/internal/pki"
)

// In a bubble of synctest a test fails when a goroutine outlives it, and Wait
// returns when the pool is full.

func TestKeyPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := pki.NewKeyPool(pki.P256, 3)
		defer pool.Close()
		synctest.Wait()

		var mu sync.Mutex
		seen := map[string]bool{}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				key, err := pool.Get(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				der, err := x509.MarshalPKIXPublicKey(key.Public())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if seen[string(der)] {
					t.Error("a key was given out twice")
				}
				seen[string(der)] = true
			})
		}
		wg.Wait()
		if len(seen) != 20 {
			t.Errorf("got %d keys, want 20", len(seen))
		}
	})
}

// TestKeyPoolObeysContext gives nothing to who has gone, and does not keep him.
func TestKeyPoolObeysContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := pki.NewKeyPool(pki.P256, 1)
		defer pool.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := pool.Get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		synctest.Wait()
		if _, err := pool.Get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("with keys ready: got %v, want the context's error", err)
		}
	})
}

func TestKeyPoolCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := pki.NewKeyPool(pki.P256, 2)
		synctest.Wait()
		pool.Close()
		pool.Close()
		_, err := pool.Get(t.Context())
		wantProblem(t, err, "pool of keys is closed")
	})
}

func TestKeyPoolOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{-1, 0, 1 << 62} {
			pool := pki.NewKeyPool("rsa-1024", size)
			_, err := pool.Get(t.Context())
			wantProblem(t, err, "rsa-1024")
			pool.Close()
		}
	})
}
