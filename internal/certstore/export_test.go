package certstore

import (
	"context"
	"testing"
	"time"
)

// SetPause replaces the waiting between tries.
func (v *KeyVault) SetPause(f func(time.Duration)) {
	v.pause = func(_ context.Context, d time.Duration) error { f(d); return nil }
}

// LockFolder locks a folder as another process would.
func LockFolder(t *testing.T, path string) (unlock func()) {
	t.Helper()
	p, err := openFolder(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.root.Close() })
	unlock, err = p.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}
