package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store"
)

// TestMain lets the test binary be reeve itself, so that it can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("REEVE_TEST_RUN_MAIN") == "1" {
		os.Unsetenv("REEVE_TEST_RUN_MAIN")
		main()
		return
	}
	os.Exit(m.Run())
}

func reeve(ctx context.Context, variables []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append([]string{"REEVE_TEST_RUN_MAIN=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR")}, variables...)
	return cmd
}

// TestKilledAtAnyMoment kills the import with SIGKILL at random moments, starts
// it again each time, and expects the rows of an undisturbed import.
func TestKilledAtAnyMoment(t *testing.T) {
	kills := 50
	if testing.Short() {
		kills = 10
	}
	at := time.Now().Truncate(time.Second)
	o := tenant.Options{Seed: 21, Users: 20, Days: 3, PerUser: 60, Now: func() time.Time { return at }}
	tn, err := tenant.New(o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := emulator.Start(emulator.Options{Tenant: tn, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := t.TempDir()
	variables, err := e.WriteClient(filepath.Join(dir, "tenant"))
	if err != nil {
		t.Fatal(err)
	}
	variables = append(variables, "REEVE_FEEDS_AUDIT_DAYS=4", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true")

	alone := filepath.Join(dir, "alone.db")
	started := time.Now()
	if out, err := reeve(t.Context(), append(variables, "REEVE_DATABASE_URL=sqlite:"+alone), "import", "run", "--once").CombinedOutput(); err != nil {
		t.Fatalf("undisturbed: %v\n%s", err, out)
	}
	took := time.Since(started)

	killed := filepath.Join(dir, "killed.db")
	variables = append(variables, "REEVE_DATABASE_URL=sqlite:"+killed)
	random := rand.New(rand.NewPCG(1, 2))
	seed := random.Uint64()
	t.Logf("undisturbed it took %v; seed %d", took, seed)
	for n := 0; n < kills; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Float64()*float64(took)))
		err := reeve(ctx, variables, "import", "run", "--once").Run()
		over := ctx.Err() != nil
		cancel()
		if over || err != nil {
			continue
		}
		// It came to its end before it was killed: begin anew, so that every kill
		// counts.
		same(t, alone, killed)
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(killed + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	var out bytes.Buffer
	last := reeve(t.Context(), variables, "import", "run", "--once")
	last.Stderr = &out
	if err := last.Run(); err != nil {
		t.Fatalf("after the last kill: %v\n%s", err, &out)
	}
	same(t, alone, killed)
	db, err := store.Open(t.Context(), "sqlite:"+killed, store.Options{MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for r := range tn.Audit.Records() {
		found, err := db.Record(t.Context(), 1, r.ID)
		if err != nil || !bytes.Contains(found[0].Raw, []byte(r.ID)) {
			t.Fatalf("the text of record %s: %v, %v", r.ID, found, err)
		}
	}
}

// same compares all that two imports have stored. Where the text of a record
// stands is left out: which of two blobs that hold the same record came first
// is chance.
func same(t *testing.T, a, b string) {
	t.Helper()
	if diff := cmp.Diff(dump(t, a), dump(t, b)); diff != "" {
		t.Fatalf("rows (-undisturbed +killed):\n%.3000s", diff)
	}
}

func dump(t *testing.T, path string) map[string][]string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	query := func(q string) (all []string) {
		rows, err := db.Query(q)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return all
	}
	tables := map[string][]string{}
	for _, table := range []string{"audit_events", "ignored_audit_events", "event_meta_sharepoint", "event_meta_exchange", "event_meta_azure_ad",
		"event_meta_teams", "event_copilot_chats", "event_copilot_resources", "users", "event_operations", "event_workloads"} {
		var columns []string
		for _, c := range query("SELECT name FROM pragma_table_info('" + table + "')") {
			if !strings.HasPrefix(c, "content_") {
				columns = append(columns, "quote("+c+")")
			}
		}
		tables[table] = query("SELECT " + strings.Join(columns, "||' '||") + " FROM " + table + " ORDER BY 1")
	}
	tables["quarantine"] = query("SELECT reason || ' ' || record_id FROM quarantine ORDER BY 1")
	tables["blobs"] = query("SELECT blob || ' ' || state || ' ' || records FROM ledger_blobs ORDER BY 1")
	if len(tables["audit_events"]) == 0 {
		t.Fatalf("%s has no events", path)
	}
	return tables
}
