package m365

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the document that this package makes")

// docs is the folder of the documents.
var docs = filepath.Join("..", "..", "docs")

// signInErrors is the page about the codes that are explained.
func signInErrors() string {
	b := new(strings.Builder)
	b.WriteString(`# Errors of signing in

<!-- Written by internal/m365 from the list in explain.go: change that. -->

When Entra ID refuses to sign reeve in, reeve prints the code (AADSTS and a number), Entra ID's
own words, and what stands here. It ends with exit code 4, or 5 where Entra ID throttles or has
a failure of its own. A code that is not here is printed in Entra ID's words alone; Microsoft lists
them at <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

Give Microsoft's support the trace ID, the correlation ID and the time that stand in the message.
`)
	for _, x := range explanations {
		fmt.Fprintf(b, "\n## AADSTS%d: %s\n\n", x.Code, x.Title)
		if x.when != "" {
			fmt.Fprintf(b, "Entra ID's message says \"%s\".\n\n", x.when)
		}
		fmt.Fprintf(b, "- **Cause.** %s\n- **Remedy.** %s\n- **Does waiting help?** %s\n", x.Cause, x.Remedy, x.Waiting)
	}
	return b.String()
}

func TestDocumentIsCurrent(t *testing.T) {
	path := filepath.Join(docs, "operate", "sign-in-errors.md")
	want := signInErrors()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("%s is stale; write it with: go test ./internal/m365 -run Document -update\n(-explain.go +docs):\n%s", path, diff)
	}
}

// A code that a document names is one that reeve explains.
func TestDocumentsNameExplainedCodes(t *testing.T) {
	named := 0
	err := filepath.WalkDir(docs, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			for _, code := range codesIn(string(line)) {
				named++
				if _, ok := Explain(code); !ok {
					t.Errorf("%s:%d: AADSTS%d is not explained", path, i+1, code)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if named == 0 {
		t.Errorf("no document below %s names a code", docs)
	}
}
