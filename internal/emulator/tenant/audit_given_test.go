package tenant

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fixtures returns the folder of audit records beside the repository.
func fixtures(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if found := filepath.Join(dir, "..", "shared", "fixtures", "audit"); isDir(found) {
			return found
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("there is no shared/fixtures/audit beside the repository")
		}
		dir = parent
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func TestUseRecordsIsByteForByte(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixtures(t), "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{}
			for line := range strings.Lines(string(text)) {
				want[strings.TrimRight(line, "\n")]++
			}
			l := NewAuditLog(testOptions(newClock()))
			if err := l.UseRecords(bytes.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			ids := map[string]bool{}
			for _, kind := range ContentTypes() {
				seen := map[string]bool{} // a blob may be listed twice
				for _, b := range listAll(t, l, kind, l.Now().Add(-24*time.Hour), l.Now()) {
					if seen[b.ID] {
						continue
					}
					seen[b.ID] = true
					for _, r := range readBlob(t, l, b.ID) {
						got[string(r)]++
						ids[idOf(t, r)] = true
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			n := 0
			for r := range l.Records() {
				n++
				if !ids[r.ID] {
					t.Errorf("Records announces %+v", r)
				}
			}
			if n != len(ids) {
				t.Errorf("Records announces %d, %d distinct ids were read", n, len(ids))
			}
		})
	}
}

func TestUseRecordsRefuses(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"{\"Id\":\"a\"}\n\n[1]\n", "line 3"},
		{"{\"Id\":\"a\"}\nnonsense", "line 2"},
		{"{}\n{}\n{\"a\":1} {}", "line 3"},
		{"null", "line 1"},
	} {
		c := newClock()
		l := NewAuditLog(testOptions(c))
		err := l.UseRecords(strings.NewReader(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want one that names %s", test.text, err, test.want)
		}
		if len(listAll(t, l, "Audit.SharePoint", c.Now().Add(-24*time.Hour), c.Now())) == 0 {
			t.Errorf("%q: the content was replaced all the same", test.text)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	f.Add([]byte(`{"Id":"x","RecordType":"6","CreationTime":"2026-01-01T00:00:00","Workload":"OneDrive"}`))
	f.Add([]byte(`{"Id":1,"RecordType":1e99,"Workload":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		kind, _, err := readRecord(line)
		if err == nil && (kind < 0 || kind >= numContentTypes || !json.Valid(line)) {
			t.Errorf("accepted %q as type %d", line, kind)
		}
	})
}
