package clients_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

var update = flag.Bool("update", false, "write the table of operations in docs/emulator.md anew")

// The table of operations stands between these lines of docs/emulator.md.
const (
	tableBegin = "<!-- operations -->\n"
	tableEnd   = "<!-- /operations -->\n"
)

// operation is an operation of an API.
type operation struct{ api, name string }

// exercised says for each family that came to its end without a failure what
// it got an answer to that was no error.
type exercised map[string]map[operation]bool

func (w *world) exercised() map[operation]bool {
	done := map[operation]bool{}
	for _, c := range w.Calls() {
		if c.Operation != "" && (c.Status == "2xx" || c.Status == "3xx") {
			done[operation{c.API, c.Operation}] = true
		}
	}
	return done
}

// checkOperations checks that the table lists exactly the operations that there
// are, and that each family which it names exercised what it says, if the family
// is here. A family may do more than the table says. With -update the table is
// written instead, for which all families must be here.
func checkOperations(t *testing.T, done exercised) {
	file := filepath.Join("..", "..", "..", "docs", "emulator.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(tableBegin))
	committed, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", file, tableBegin, tableEnd)
	}
	all := emulatortest.Start(t, nil).Operations()
	if *update {
		claims := map[operation][]string{}
		for _, f := range families {
			if done[f.name] == nil {
				t.Fatalf("%s did not come to its end, so that the table cannot be written", f.name)
			}
			for o := range done[f.name] {
				claims[o] = append(claims[o], f.name)
			}
		}
		page = slices.Concat(before, []byte(tableBegin), renderOperations(all, claims), []byte(tableEnd), after)
		if err := os.WriteFile(file, page, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	claims := readOperations(t, committed)
	if diff := cmp.Diff(string(renderOperations(all, claims)), string(committed)); diff != "" {
		t.Errorf("the table in docs/emulator.md does not list what is emulated; write it with -update (-want +got):\n%s", diff)
	}
	for o, names := range claims {
		for _, name := range names {
			switch {
			case !slices.ContainsFunc(families, func(f family) bool { return f.name == name }):
				t.Errorf("docs/emulator.md: %s/%s: there is no family %q", o.api, o.name, name)
			case done[name] != nil && !done[name][o]:
				t.Errorf("docs/emulator.md says that %s/%s was exercised by %s, and it was not", o.api, o.name, name)
			}
		}
	}
}

// apis are the APIs in the order of the table.
var apis = []string{origin.Authority, origin.Graph, origin.Vault, origin.Manage, origin.Logs, origin.Identity, origin.Resources}

const tableHead = "| API | operation | request | exercised by | documented |\n|---|---|---|---|---|\n"

// renderOperations renders the table. An operation has one row, with all the
// requests that ask for it and the document of the first. Claims are the
// families that exercised it.
func renderOperations(all map[string][]origin.Operation, claims map[operation][]string) []byte {
	var b bytes.Buffer
	b.WriteString(tableHead)
	for _, api := range apis {
		requests := map[string][]string{}
		for _, o := range all[api] {
			requests[o.Name] = append(requests[o.Name], "`"+strings.ReplaceAll(o.Request, "|", `\|`)+"`")
		}
		for _, o := range all[api] {
			if requests[o.Name] == nil {
				continue // has its row
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | [here](%s) |\n", api, o.Name, strings.Join(requests[o.Name], "<br>"),
				strings.Join(claims[operation{api, o.Name}], ", "), o.Source)
			delete(requests, o.Name)
		}
	}
	return b.Bytes()
}

// readOperations reads who exercised what from the table.
func readOperations(t *testing.T, table []byte) map[operation][]string {
	t.Helper()
	claims := map[operation][]string{}
	rows, ok := strings.CutPrefix(string(table), tableHead)
	if !ok {
		t.Fatalf("the table of operations begins differently: %.80s", table)
	}
	for row := range strings.Lines(rows) {
		cells := strings.Split(strings.TrimSpace(strings.ReplaceAll(row, `\|`, "")), "|")
		if len(cells) != 7 {
			t.Fatalf("the table of operations has a row that is not one: %s", row)
		}
		o := operation{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])}
		if names := strings.TrimSpace(cells[4]); names != "" {
			claims[o] = strings.Split(names, ", ")
		}
	}
	return claims
}
