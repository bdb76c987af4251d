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
	b.WriteString(`# Errors of signing in, and of what comes after

<!-- Written by internal/m365 from the lists in explain_*.go: change those. -->

When Microsoft refuses something, or the way there is closed, reeve prints the code, Microsoft's own
words, and what stands here. It ends with exit code 4 where signing in or a permission is to blame,
or 5 where a service throttles, fails or cannot be reached. The same is to be had of any text:

    reeve explain 700027
    reeve explain 'the whole error, the body of an answer, or a line of a log'
    reeve explain - < log.txt

That finds the codes in the text and names what it tells: the thumbprint that was used, the
application, the trace ID. It prints no token that is in it. All of this page as JSON:
` + "`reeve explain --list --json`" + `.

A number of Entra ID's that is not here can be looked up at
<https://login.microsoftonline.com/error>. Give Microsoft's support the trace ID, the correlation ID
and the time that stand in the message. "Application Administrator" stands for a Cloud Application
Administrator, too.
`)
	api := ""
	for _, x := range explanations {
		if x.API != api {
			api = x.API
			fmt.Fprintf(b, "\n## %s\n", capital(api))
		}
		fmt.Fprintf(b, "\n### %s: %s\n\n", x.Code, x.Title)
		if len(x.When) > 0 {
			fmt.Fprintf(b, "The message says \"%s\".\n\n", strings.Join(x.When, "\" or \""))
		}
		fmt.Fprintf(b, "- **Cause.** %s\n- **Remedy.** %s\n- **Who can do it?** %s.\n- **Does waiting help?** %s\n- **More:** <%s>\n",
			x.Cause, x.Remedy, capital(strings.Join(x.Who, ", or ")), x.Waiting, x.Source)
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
		t.Errorf("%s is stale; write it with: go test ./internal/m365 -run Document -update\n(-lists +docs):\n%s", path, diff)
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
			for _, code := range coded.FindAllString(string(line), -1) {
				named++
				if _, ok := lookUp(code); !ok {
					t.Errorf("%s:%d: %s is not explained", path, i+1, code)
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
