package clients_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// snippet is a program in docs/emulator.md, after a comment that says what runs
// it: <!-- run: LANGUAGE [CLIENT] -->.
var snippet = regexp.MustCompile("(?s)<!-- run: (\\w+)(?: (\\w+))? -->\n```\\w+\n(.*?)```\n")

// said is what each program in docs/emulator.md prints when it has done its
// work, by the words of its comment.
var said = map[string]func(*world) string{
	"go":      func(w *world) string { return w.thumbprint() },
	"node":    func(*world) string { return "application/x-pkcs12" },
	"python":  func(*world) string { return "Bearer" },
	"java":    func(*world) string { return "Bearer" },
	"sh":      func(*world) string { return "" },
	"sh az":   func(*world) string { return "application 0" },
	"sh m365": func(*world) string { return "application 0" },
}

// TestDocument runs the programs of docs/emulator.md as they stand there.
func TestDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("clients of others take their time")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "emulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	programs := snippet.FindAllSubmatch(page, -1)
	if fenced := strings.Count(string(page), "<!-- run:"); len(programs) != fenced || fenced < 7 {
		t.Fatalf("docs/emulator.md has %d programs to run, of which %d are understood", fenced, len(programs))
	}
	w := newWorld(t)
	for _, p := range programs {
		language, client, text := string(p[1]), string(p[2]), string(p[3])
		by := strings.TrimSpace(language + " " + client)
		t.Run(by, func(t *testing.T) {
			want, ok := said[by]
			if !ok {
				t.Fatalf("nobody knows what %q is to print", by)
			}
			c := w.snippet(t, language, client, text)
			printed, err := c.Output()
			if err != nil {
				complaint := ""
				if exit, ok := err.(*exec.ExitError); ok {
					complaint = string(exit.Stderr)
				}
				t.Fatalf("%v\n%s%s", err, printed, complaint)
			}
			if got := string(printed); !strings.Contains(got, want(w)) || strings.Contains(got, `"error"`) || len(got) == 0 {
				t.Errorf("it prints %q, want %q in it", got, want(w))
			}
		})
	}
}

// snippet prepares a program of the document.
func (w *world) snippet(t *testing.T, language, client, text string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	write := func(name string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	switch language {
	case "go":
		// Built as part of this module, which has the SDKs.
		program := filepath.Join(dir, "program")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, write("main.go")).CombinedOutput(); err != nil {
			t.Fatalf("building it: %v\n%s", err, out)
		}
		return w.command(t, program)
	case "node":
		installed := npm(t, "node")
		file := write("program.mjs")
		if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		return w.command(t, "node", file)
	case "python":
		needsPython(t)
		return w.command(t, python, "-B", write("program.py"))
	case "java":
		needsProgram(t, "java", "a JDK")
		return w.command(t, "java", write("SignIn.java"))
	case "sh":
		needsProgram(t, "curl", "curl")
		needsProgram(t, "openssl", "openssl")
		path := os.Getenv("PATH")
		switch client {
		case "az":
			needsProgram(t, "az", "azure-cli")
		case "m365":
			path = filepath.Join(npm(t, "m365"), "node_modules", ".bin") + string(os.PathListSeparator) + path
		}
		c := w.command(t, "sh", "-e", write("program.sh"))
		c.Env = append(c.Env, "PATH="+path)
		return c
	}
	t.Fatalf("nobody runs %s", language)
	return nil
}

// thumbprint is of the demo client's certificate, as portals show it.
func (w *world) thumbprint() string {
	return fmt.Sprintf("%X", directory.Thumbprint(w.Tenant.Client().Certificate.Raw))
}
