package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// What the import did not write, and counts that were forged, are told, and are an error
// of a check. Nothing of it is changed.
func TestVerifyTellsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	address := "sqlite:" + filepath.Join(t.TempDir(), "reeve.db")
	environ := e.client(t, "REEVE_DATABASE_URL="+address)
	reeve(t, environ, "import", "run", "--once").want(t, ok)
	reeve(t, environ, "coverage", "verify").want(t, ok)
	db := storetest.Connect(t, address)
	for _, query := range []string{
		`UPDATE ledger_windows SET blobs_read = blobs_read + 1 WHERE start_at = (SELECT min(start_at) FROM ledger_windows WHERE blobs > 0)`,
		`INSERT INTO audit_events (tenant_id, day, id, time_stamp, content_id, content_at, content_len) VALUES (1, 20261001, x'00112233445566778899aabbccddeeff', '2026-10-01 00:00:00.000', 1, 0, 0)`,
		`UPDATE users SET user_name = 'Mallory' WHERE id = (SELECT min(id) FROM users)`,
	} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	o := reeve(t, environ, "coverage", "verify")
	o.want(t, check, "things found to be wrong")
	for _, want := range []string{"the window counts ", "1 rows of audit_events are not from a blob of the ledger", "audit_events has 1 rows, and the import has stored 0", `is "Mallory", which has another id`} {
		if !strings.Contains(o.out, want) {
			t.Errorf("%s lacks %q", o.out, want)
		}
	}
	if o := reeve(t, environ, "coverage"); !strings.Contains(o.out, "finding: 2026-10-01: ") {
		t.Errorf("coverage does not tell of it:\n%s", o.out)
	}
	// It is accepted by somebody who says why.
	reeve(t, environ, "coverage", "seal", "--day", "2026-10-01", "--reason", "a test").want(t, usage, "give --yes")
	reeve(t, environ, "coverage", "seal", "--day", "2026-10-01", "--reason", "a test", "--yes").want(t, ok)
	if _, err := db.Exec(`UPDATE audit_events SET object_id = 'changed' WHERE day = 20261001`); err != nil {
		t.Fatal(err)
	}
	if o := reeve(t, environ, "coverage", "verify"); !strings.Contains(o.out, "wrong: 2026-10-01, audit_events, seal 1: a row was changed") {
		t.Errorf("%s\n%s", o.out, o.err)
	}
}
