package clients_test

import (
	"os/exec"
	"sync"
	"testing"
)

// family is a number of clients that are of one kind.
type family struct {
	name  string // as docs/emulator.md has it
	needs func(*testing.T)
	test  func(*testing.T, *world)
}

var families = []family{
	{"Go", func(*testing.T) {}, testGo},
	{"JavaScript", func(t *testing.T) { npm(t, "node") }, testNode},
	{"Python", needsPython, testPython},
	{"Azure CLI", func(t *testing.T) { needsProgram(t, "az", "azure-cli") }, testAzureCLI},
	{"CLI for Microsoft 365", func(t *testing.T) { npm(t, "m365") }, testM365},
	{"curl", func(t *testing.T) { needsProgram(t, "curl", "curl") }, testCurl},
}

func needsProgram(t *testing.T, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed; ./test installs it", debian)
	}
}

// TestClients puts all clients to work, each family with a tenant of its own,
// and then holds the table of operations in docs/emulator.md against what they
// did. Beside them it runs the programs of that page.
func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("clients of others take their time")
	}
	var mu sync.Mutex
	done := exercised{}
	t.Run("families", func(t *testing.T) {
		for _, f := range families {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.needs(t)
				w := newWorld(t)
				t.Cleanup(func() {
					if t.Failed() {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					done[f.name] = w.exercised()
				})
				f.test(t, w)
			})
		}
		t.Run("page", func(t *testing.T) {
			t.Parallel()
			testPage(t)
		})
	})
	t.Run("operations", func(t *testing.T) { checkOperations(t, done) })
}
