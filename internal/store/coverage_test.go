package store_test

import (
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestCoverageTellsFromWhenToWhenTheLedgerReaches, whatever time is read.
func TestCoverageTellsFromWhenToWhenTheLedgerReaches(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, err := store.Open(t.Context(), address, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		l := db.Ledger(1, "f")
		now := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
		for _, part := range []string{"p", "q"} {
			if err := l.Part(t.Context(), part, "enabled", time.Time{}, ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Cover(t.Context(), "p", now.Add(-90*time.Minute), now, time.Hour, 7*24*time.Hour); err != nil {
			t.Fatal(err)
		}
		f, err := l.Coverage(t.Context(), now.Add(24*time.Hour), now.Add(48*time.Hour))
		if err != nil || len(f.Parts) != 2 || len(f.Windows) != 0 {
			t.Fatalf("%+v, %v", f, err)
		}
		if p, q := f.Parts[0], f.Parts[1]; !p.Began.Equal(now.Add(-90*time.Minute)) || !p.Ended.Equal(now) || !q.Began.IsZero() || !q.Ended.IsZero() {
			t.Errorf("%+v", f.Parts)
		}
	})
}
