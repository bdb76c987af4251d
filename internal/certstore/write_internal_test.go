package certstore

import (
	"os"
	"path/filepath"
	"testing"
)

// Somebody makes a folder where the second file is to go, between the look at its
// place and the taking of it. The first file is what it was before.
func TestPlacingIsUndone(t *testing.T) {
	for name, previous := range map[string]string{"new": "", "replaced": "old"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			first, second := filepath.Join(folder, "first"), filepath.Join(folder, "second")
			if previous != "" {
				if err := os.WriteFile(first, []byte(previous), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w := &writing{replace: previous != ""}
			if err := w.prepare([]NewFile{{first, []byte("new")}, {second, []byte("new")}}); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(second, "full"), 0o700); err != nil {
				t.Fatal(err)
			}
			err := w.place()
			if data, _ := os.ReadFile(first); err == nil || string(data) != "new" {
				t.Errorf("the first file is %q, and placing the second gives %v", data, err)
			}
			w.finish(false)
			if data, err := os.ReadFile(first); string(data) != previous || (err == nil) != (previous != "") {
				t.Errorf("the first file is %q (%v), want %q", data, err, previous)
			}
			entries, err := os.ReadDir(folder)
			want := 1 // the folder
			if previous != "" {
				want++
			}
			if err != nil || len(entries) != want {
				t.Errorf("left over: %v (%v)", entries, err)
			}
		})
	}
}
