package app

import (
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/store"
)

// TestOpenedDaysAreToldAsTheyAre: a day between two that are opened, and sealed itself, is
// not told as one of them.
func TestOpenedDaysAreToldAsTheyAre(t *testing.T) {
	var out strings.Builder
	printOpened(&out, []store.Opened{
		{Day: 20260930, Reason: "replay"}, {Day: 20261001, Reason: "replay"}, {Day: 20261003, Reason: "replay"}, {Day: 20261004, Reason: "retention"},
	})
	want := `not sealed at present: 2026-09-30 to 2026-10-01 (replay)
not sealed at present: 2026-10-03 (replay)
not sealed at present: 2026-10-04 (retention)
`
	if out.String() != want {
		t.Errorf("it says\n%swant\n%s", out.String(), want)
	}
}
