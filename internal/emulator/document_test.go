package emulator_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
)

var update = flag.Bool("update", false, "write the table of the control API in docs/emulator.md anew")

// TestControlDocument checks that docs/emulator.md lists the control API as it
// is.
func TestControlDocument(t *testing.T) {
	const begin, end = "<!-- control -->\n", "<!-- /control -->\n"
	file := filepath.Join("..", "..", "docs", "emulator.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", file, begin, end)
	}
	var want strings.Builder
	want.WriteString("| request | what it does |\n|---|---|\n")
	for _, r := range emulator.ControlRoutes() {
		does, example, ok := strings.Cut(r[1], ": ")
		if ok {
			does += ": `" + strings.ReplaceAll(example, ", or ", "`, or `") + "`"
		}
		want.WriteString("| `" + r[0] + "` | " + strings.ReplaceAll(does, "|", `\|`) + " |\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), table); diff != "" {
		t.Errorf("the table of the control API is not as the API is; write it with -update (-want +got):\n%s", diff)
	}
}
