package pki

import "testing"

// TestKeyPoolStops makes no further keys once it is to be closed: of large ones each
// would take seconds.
func TestKeyPoolStops(t *testing.T) {
	for range 100 {
		pool := NewKeyPool(P256, maxPool)
		pool.cancel()
		had := len(pool.keys)
		<-pool.done
		if made := len(pool.keys) - had; made > 1 { // one was in the making
			t.Fatalf("%d more keys were made", made)
		}
	}
}
