package store

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"modernc.org/sqlite"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// halting gives the migrations of an engine, with one that stops after so many of its
// statements: on SQLite the process is killed there, by itself; on PostgreSQL the server
// sleeps, and whoever reads "halted" may kill it.
func halting(all fs.FS, version int64, after int) fs.FS {
	files := fstest.MapFS{}
	names, _ := fs.Glob(all, "*.sql")
	for _, name := range names {
		text, _ := fs.ReadFile(all, name)
		if v, _ := versionOf(name); v == version {
			up := steps(string(text))
			text = []byte("-- +goose Up\n" + strings.Join(up[:after], "") + "SELECT reeve_halt();\n" + strings.Join(up[after:], ""))
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	return files
}

// steps gives those by which a migration goes up, each with the lines before it, as
// goose tells them apart: one ends with a line that ends with a semicolon, before a comment
// perhaps, or where it is said to.
func steps(migration string) (all []string) {
	_, up, _ := strings.Cut(migration, "-- +goose Up\n")
	up, _, _ = strings.Cut(up, "-- +goose Down")
	one, whole := "", false
	for line := range strings.Lines(up) {
		one += line
		switch {
		case strings.Contains(line, "+goose StatementBegin"):
			whole = true
			continue
		case strings.Contains(line, "+goose StatementEnd"):
			whole = false
		default:
			line, _, _ = strings.Cut(line, "--")
			if whole || !strings.HasSuffix(strings.TrimSpace(line), ";") {
				continue
			}
		}
		all, one = append(all, one), ""
	}
	return all
}

// forEngine gives the migrations in the words of the engine that an address is for.
func forEngine(t *testing.T, address string) fs.FS {
	t.Helper()
	e, _, err := newEngine(address, "")
	if err != nil {
		t.Fatal(err)
	}
	return e.words(migrationFiles)
}

// TestSteps holds what steps tells apart against what the engines do.
func TestSteps(t *testing.T) {
	migration := "-- a; b\n-- +goose Up\nCREATE TABLE a (\n  b INTEGER -- one; two\n); -- three\n" +
		"/*postgres: ALTER TABLE a RENAME TO c; */\nCREATE TABLE d (e INTEGER);\n" +
		"-- +goose StatementBegin\nDO $$\nBEGIN\n  f;\nEND $$;\n-- +goose StatementEnd\n-- +goose Down\nDROP TABLE a;\n"
	files := fstest.MapFS{"00001_a.sql": {Data: []byte(migration)}}
	for name, want := range map[string]int{"sqlite:x": 3, "postgres:///x": 4} {
		e, _, err := newEngine(name, "")
		if err != nil {
			t.Fatal(err)
		}
		text, err := fs.ReadFile(e.words(files), "00001_a.sql")
		if got := steps(string(text)); err != nil || len(got) != want {
			t.Errorf("%s: %d statements, want %d: %q, %v", name, len(got), want, got, err)
		}
	}
}

// TestMigratesAndHalts is not a test of its own: it is the process that is killed.
func TestMigratesAndHalts(t *testing.T) {
	address := os.Getenv("REEVE_TEST_HALT")
	if address == "" {
		t.Skip("it is run by TestMigrationKilled")
	}
	version, _ := strconv.ParseInt(os.Getenv("REEVE_TEST_HALT_VERSION"), 10, 64)
	after, _ := strconv.Atoi(os.Getenv("REEVE_TEST_HALT_AFTER"))
	sqlite.MustRegisterScalarFunction("reeve_halt", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			self.Kill()
		}
		select {} // until it is dead
	})
	migrationFiles = halting(forEngine(t, address), version, after)
	db, err := Open(context.Background(), address, Options{})
	t.Fatal("it was not killed: ", db, err)
}

// TestMigrationKilled: a process that is killed in the middle of a migration leaves what was
// there, and the next start finishes it. With TEST_LONG=1 it is killed before the first
// statement of each migration, and after each.
func TestMigrationKilled(t *testing.T) {
	known, err := newest()
	if err != nil {
		t.Fatal(err)
	}
	storetest.Engines(t, func(t *testing.T, address string) {
		last, kills := int64(0), 0
		for version := int64(1); version <= known; version++ {
			names, _ := fs.Glob(migrationFiles, fmt.Sprintf("%05d_*.sql", version))
			if len(names) == 0 {
				continue // another one's number
			}
			name, previous := names[0], last
			last = version
			text, _ := fs.ReadFile(forEngine(t, address), name)
			n := len(steps(string(text)))
			stops := []int{n/2 + n%2}
			if version == known {
				stops = []int{1, n} // n: after the last one, before it is noted
			}
			if os.Getenv("TEST_LONG") != "" {
				stops = nil
				for i := 0; i <= n; i++ {
					stops = append(stops, i)
				}
			}
			for _, after := range stops {
				kills++
				address := storetest.Another(t, address)
				if version > 1 {
					at(t, address, previous)
				}
				killed(t, address, version, after)
				// What the one before has left is whole.
				raw := storetest.Connect(t, address)
				var is int64
				for tries := 0; tries < 1000; tries++ { // until the server has seen that its client is gone
					if err = raw.QueryRow(`SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&is); err == nil {
						break
					}
				}
				if version == 1 {
					err = nil // there may be no table yet
				}
				if err != nil {
					t.Fatal(err)
				}
				if is != previous {
					t.Errorf("killed in %s, the schema has version %d", name, is)
				}
				raw.Close()
				db := open(t, address)
				s, err := db.Status(t.Context())
				if err != nil || s.Schema != known || len(s.Pending) > 0 || s.Views != ViewsCurrent {
					t.Errorf("killed in %s after %d statements: %+v, %v", name, after, s, err)
				}
				for _, table := range declared() {
					if rows, err := db.read.QueryContext(t.Context(), "SELECT 1 FROM "+table.name+" WHERE 1 = 0"); err != nil {
						t.Error(err)
					} else {
						rows.Close()
					}
				}
				if version > 5 { // with rows in every table
					if found := wrong(t, db); found != nil {
						t.Error(found)
					}
				}
				db.Close()
			}
		}
		t.Logf("killed %d times, in %d migrations", kills, known)
	})
}

// killed runs a process that migrates, and kills it where it halts.
func killed(t *testing.T, address string, version int64, after int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMigratesAndHalts$")
	cmd.Env = append(os.Environ(), "REEVE_TEST_HALT="+address, fmt.Sprint("REEVE_TEST_HALT_VERSION=", version), fmt.Sprint("REEVE_TEST_HALT_AFTER=", after))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if strings.HasPrefix(address, "sqlite:") {
		if err := cmd.Run(); err == nil || strings.Contains(said.String(), "was not killed") {
			t.Fatalf("%v: %s", err, &said)
		}
		return
	}
	raw := storetest.Connect(t, address)
	defer raw.Close()
	// The server goes on by itself for a moment, as it does with a client that is gone.
	if _, err := raw.Exec(`CREATE SCHEMA halt; CREATE FUNCTION halt.reeve_halt() RETURNS text LANGUAGE sql AS 'SELECT pg_sleep(1)::text'; ALTER DATABASE ` +
		databaseOf(address) + ` SET search_path = public, halt`); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(time.Minute); ; {
		var halted int
		if err := raw.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`).Scan(&halted); err != nil {
			t.Fatal(err)
		}
		if halted > 0 {
			cmd.Process.Kill()
			<-ended
			break
		}
		if time.Now().After(end) {
			cmd.Process.Kill()
			t.Fatalf("waiting for the migration to halt: not within a minute: %v %s", <-ended, &said)
		}
		select {
		case err := <-ended:
			t.Fatalf("%v: %s", err, &said)
		default:
		}
	}
	if _, err := raw.Exec(`DROP SCHEMA halt CASCADE`); err != nil {
		t.Fatal(err)
	}
}

// databaseOf is the name of the database in an address of storetest's.
func databaseOf(address string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(address, "postgres:///"), "?")
	return name
}
