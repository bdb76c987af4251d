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
	for _, head := range []string{"", "0123456789abcdef", strings.Repeat("g", 64), strings.Repeat("0", 65)} {
		reeve(t, environ, "coverage", "verify", "--head", head).want(t, usage, "64 digits")
	}
	reeve(t, environ, "coverage", "verify", "--head", strings.Repeat("A", 64)).want(t, check)
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
	o = reeve(t, environ, "coverage", "verify")
	for _, want := range []string{"wrong: 2026-10-01, audit_events, seal 1: a row was changed", "'reeve import replay --from 2026-10-01' makes the rows again as they were", "reeve neither changes nor removes these rows"} {
		if !strings.Contains(o.out, want) {
			t.Errorf("%s\n%s lacks %q", o.out, o.err, want)
		}
	}
	if o := reeve(t, environ, "coverage"); !strings.Contains(o.out, "reeve import replay --from 2026-10-01") {
		t.Errorf("the finding has another remedy:\n%s", o.out)
	}
	if _, err := db.Exec(`DELETE FROM audit_events WHERE day = 20261001`); err != nil {
		t.Fatal(err)
	}
	if o := reeve(t, environ, "coverage", "verify"); !strings.Contains(o.out, "find out who deleted them. Where the text") || strings.Contains(o.out, "makes the rows again as they were") {
		t.Errorf("%s", o.out)
	}
}

// A broken chain of seals stops sealing and is a finding, until somebody accepts it; that
// is told from then on.
func TestABrokenChainIsAFinding(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	address := "sqlite:" + filepath.Join(t.TempDir(), "reeve.db")
	environ := e.client(t, "REEVE_DATABASE_URL="+address)
	reeve(t, environ, "import", "run", "--once").want(t, ok)
	db := storetest.Connect(t, address)
	change := func(query string) {
		t.Helper()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	for _, day := range []string{"2026-10-01", "2026-10-02"} {
		change(`INSERT INTO ignored_audit_events (tenant_id, day, event_id) VALUES (1, ` + strings.ReplaceAll(day, "-", "") + `, x'00112233445566778899aabbccddeeff')`)
	}
	reeve(t, environ, "coverage", "seal").want(t, ok)
	o := reeve(t, environ, "coverage", "seal")
	if o.want(t, ok); !strings.Contains(o.err, "were not read") {
		t.Errorf("nothing to seal: %s", o.err)
	}
	accept := []string{"coverage", "seal", "--accept-broken-chain", "--reason", "ticket 4712"}
	o = reeve(t, environ, accept...)
	if o.want(t, ok); !strings.Contains(o.err, "nothing to accept") {
		t.Errorf("%s", o.err)
	}
	// A day that is as it was sealed: both say so.
	for _, yes := range [][]string{nil, {"--yes"}} {
		o := reeve(t, environ, append([]string{"coverage", "seal", "--day", "2026-10-01", "--reason", "r"}, yes...)...)
		if o.want(t, ok); !strings.Contains(o.err, "2026-10-01 is as it was sealed: there is nothing to seal.") {
			t.Errorf("%q: %s", yes, o.err)
		}
	}

	change(`DELETE FROM seals WHERE seq > 2`)
	reeve(t, environ, "coverage", "seal").want(t, check, "the chain of seals is broken")
	reeve(t, environ, "coverage", "seal", "--day", "2026-10-02", "--reason", "r", "--yes").want(t, check, "--accept-broken-chain")
	for _, command := range [][]string{{"coverage"}, {"import", "status"}} {
		if o := reeve(t, environ, command...); !strings.Contains(o.out, "the chain of seals is broken, and nothing is sealed any more: seal ") {
			t.Errorf("%q does not tell of it:\n%s", command, o.out)
		}
	}
	reeve(t, environ, "coverage", "seal", "--accept-broken-chain").want(t, usage, "--reason")
	reeve(t, environ, accept...).want(t, usage, "give --yes")
	reeve(t, environ, append(accept, "--yes")...).want(t, ok)
	reeve(t, environ, "coverage", "seal").want(t, ok)
	if o := reeve(t, environ, "coverage", "verify"); !strings.Contains(o.out, `for the reason "ticket 4712": seal `) || strings.Contains(o.out, "the chain") && strings.Contains(o.out, "wrong: seal") {
		t.Errorf("%s\n%s", o.out, o.err)
	}
	if o := reeve(t, environ, "import", "status"); strings.Contains(o.out, "the chain of seals") {
		t.Errorf("it is still a finding:\n%s", o.out)
	}
	change(`UPDATE seals SET hash = 'x' WHERE seq = 1`)
	reeve(t, environ, "coverage", "verify").want(t, check)
	if o := reeve(t, environ, "import", "status"); !strings.Contains(o.out, "the chain of seals is broken") {
		t.Errorf("verify has not found it:\n%s", o.out)
	}
}
