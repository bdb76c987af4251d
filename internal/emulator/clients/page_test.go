package clients_test

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// program is a program of docs/emulator.md: a block of code after a line such as
// <!-- run: sh az -->, which names what runs it and what else it needs.
var program = regexp.MustCompile("<!-- run: ([a-z0-9 ]+) -->\n```[a-z]+\n((?s:.*?))```\n")

// testPage runs the programs of docs/emulator.md as they stand there, each in the
// variables that the page says they have, and with a tenant of its own.
func testPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "emulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	// What they print, among other things: those of a kind in their order.
	want := map[string][]string{
		"go": {"THUMBPRINT"}, "node": {"application/x-pkcs12"}, "python": {"Bearer"}, "java": {"Bearer"},
		"sh": {"Audit.AzureActiveDirectory", `"calls"`}, "sh az": {"reeve"}, "sh m365": {"reeve"},
	}
	programs := program.FindAllStringSubmatch(string(page), -1)
	if n := strings.Count(string(page), "<!-- run:"); n != len(programs) {
		t.Errorf("%d programs can be read, want %d", len(programs), n)
	}
	for _, p := range programs {
		kind, text := p[1], p[2]
		if len(want[kind]) == 0 {
			t.Errorf("it is not known what this program should print, which is run by %s:\n%s", kind, text)
			continue
		}
		printed := want[kind][0]
		want[kind] = want[kind][1:]
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if printed == "THUMBPRINT" {
				printed = strings.ToUpper(hex.EncodeToString(directory.Thumbprint(w.own().certificate.Raw)))
			}
			out, err := w.pageCommand(t, kind, text).CombinedOutput()
			if err != nil || !strings.Contains(string(out), printed) {
				t.Errorf("%v\n%s\nwant %s among it", err, out, printed)
			}
		})
	}
	for kind, left := range want {
		if len(left) > 0 {
			t.Errorf("the page lacks a program that is run by %s and prints %q", kind, left)
		}
	}
}

// pageCommand prepares a program of the page; without what it needs the test is
// skipped.
func (w *world) pageCommand(t *testing.T, kind, text string) *exec.Cmd {
	t.Helper()
	runner, needs, _ := strings.Cut(kind, " ")
	var c *exec.Cmd
	file := func(name string) string {
		t.Helper()
		name = filepath.Join(c.Dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	switch runner {
	case "go":
		c = w.command(t, "go", "run")
		c.Args = append(c.Args, file("main.go"))
		// It is built in this module, by the caches of this user.
		c.Dir = "."
		for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB"} {
			value, err := exec.Command("go", "env", name).Output()
			if err != nil {
				t.Fatal(err)
			}
			c.Env = append(c.Env, name+"="+strings.TrimSpace(string(value)))
		}
	case "node":
		installed := npm(t, "node")
		c = w.command(t, "node")
		c.Args = append(c.Args, file("main.mjs"))
		if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(c.Dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
	case "python":
		needsPython(t)
		c = w.command(t, python)
		c.Args = append(c.Args, file("main.py"))
	case "java":
		needsProgram(t, "java", "default-jdk-headless")
		c = w.command(t, "java")
		c.Args = append(c.Args, file("Main.java"))
	case "sh":
		needsProgram(t, "curl", "curl")
		needsProgram(t, "openssl", "openssl")
		c = w.command(t, "sh", "-euc", text)
	default:
		t.Fatalf("nothing is known to run %q", runner)
	}
	switch needs {
	case "az":
		needsProgram(t, "az", "azure-cli")
	case "m365":
		c.Env = append(c.Env, "PATH="+filepath.Join(npm(t, "m365"), "node_modules", ".bin")+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	return c
}
