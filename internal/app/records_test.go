package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shared gives the folder of material that lies beside the repository, and skips
// the test where there is none.
func shared(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run inside of a module")
		}
	}
	found := filepath.Join(filepath.Dir(dir), "shared")
	if _, err := os.Stat(found); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the folder shared, with real records, is not beside the repository")
	}
	return found
}

// Every record of each file of real records, served by "reeve emulate" and
// imported by "reeve import run", is found by its Id and says what it said in
// the file.
func TestFixturesAreFoundByID(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(shared(t), "fixtures", "audit", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of records: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			importAndFind(t, file)
		})
	}
}

func importAndFind(t *testing.T, file string) {
	records, lines := map[string][]string{}, 0 // by Id
	for line := range bytes.Lines(mustRead(t, file)) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		lines++
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		id, _ := r["Id"].(string)
		records[id] = append(records[id], canonical(t, r))
	}

	environ := append(emulateCommand(t, "--audit-records", file),
		"REEVE_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "reeve.db"), "REEVE_FEEDS_AUDIT_DAYS=1", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true")
	var results []struct {
		Complete                                bool
		Records, Stored, Quarantined, Duplicate int
	}
	reeve(t, environ, "import", "run", "--once", "--json").decode(t, &results)
	if r := results[0]; !r.Complete || r.Records != lines || r.Stored+r.Quarantined+r.Duplicate != lines {
		t.Errorf("of %d records: %+v", lines, r)
	}

	var s standing
	reeve(t, environ, "import", "status", "--json").decode(t, &s)
	held := 0
	for _, n := range s.Quarantined {
		held += n
	}
	for id, want := range records {
		if id == "" {
			// It cannot be asked for by its Id; it is counted.
			if held -= len(want); held < 0 {
				t.Errorf("%d records without Id are not all in quarantine: %v", len(want), s.Quarantined)
			}
			continue
		}
		var found []struct {
			State  string
			Record any
		}
		reeve(t, environ, "audit", "show", "--json", id).decode(t, &found)
		// The stored one comes first, then those with its Id that say something
		// else.
		var got []string
		for i, f := range found {
			if f.State != "stored" {
				held--
				if i == 0 && len(found) > 1 {
					t.Errorf("%s: none of %d records is stored", id, len(found))
				}
			}
			got = append(got, canonical(t, f.Record))
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
			t.Errorf("%s (-file +database):\n%s", id, diff)
		}
	}
	if held != 0 {
		t.Errorf("%d more records are in quarantine than were found by their Id: %v", held, s.Quarantined)
	}
}

// canonical writes what was read from JSON always in the same way.
func canonical(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
