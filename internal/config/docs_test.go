package config

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the documents that this package makes")

// The page and the sample file in docs are what the comments in config.go say.
func TestDocumentsAreCurrent(t *testing.T) {
	for name, want := range map[string]string{
		"configuration.md":  Reference(),
		"reeve.sample.yaml": Sample(),
	} {
		path := filepath.Join("..", "..", "docs", filepath.FromSlash(name))
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
			t.Errorf("docs/%s is stale; write it with: go test ./internal/config -run Documents -update\n(-config +docs):\n%s", name, diff)
		}
	}
}
