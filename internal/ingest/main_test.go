package ingest

import (
	"os"
	"testing"

	"github.com/reeve365/reeve/internal/store"
)

// TestMain makes the store's compressor before any bubble of time: it keeps
// channels, and one made in a bubble cannot be used in another.
func TestMain(m *testing.M) {
	new(store.DB).NewBatch(1, "feed", "part", "blob", 0).Seal()
	os.Exit(m.Run())
}
