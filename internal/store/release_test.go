package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// Each schema that was released is kept in testdata, with rows in every table, as it was
// written then: schema-N.sqlite.sql and schema-N.postgres.sql. With a release the files of
// its schema are made, and never changed afterwards:
//
//	go test ./internal/store -run TestReleasedSchemas -release 9
var release = flag.Int64("release", 0, "write the testdata of a schema version that is released")

// TestReleasedSchemas: a database of every release is brought up to date, with all its
// rows, and is whole after it.
func TestReleasedSchemas(t *testing.T) {
	if *release != 0 {
		storetest.Engines(t, func(t *testing.T, address string) { writeRelease(t, address, *release) })
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		files, err := filepath.Glob("testdata/schema-*." + engine + ".sql")
		if err != nil || len(files) == 0 {
			t.Fatal("there is no testdata for ", engine, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				address := storetest.SQLite(t)
				if engine == "postgres" {
					address = storetest.PostgreSQL(t)
				}
				before := load(t, address, file)
				for range 2 { // the second time nothing is left to do
					db := open(t, address)
					s, err := db.Status(t.Context())
					if err != nil || s.Schema != s.Known || len(s.Pending) > 0 || s.Views != ViewsCurrent {
						t.Fatalf("%+v, %v", s, err)
					}
					checks, err := db.Check(t.Context(), sealedTables, true)
					if err != nil {
						t.Fatal(err)
					}
					for _, c := range checks {
						if c.State == CheckedWrong {
							t.Errorf("%+v", c)
						}
					}
					for table, rows := range before {
						var n int
						if err := db.read.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != rows && table != "goose_db_version" {
							t.Errorf("%s had %d rows, and has %d: %v", table, rows, n, err)
						}
					}
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// load runs a dump on an empty database, and counts its rows.
func load(t *testing.T, address, file string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(address, "sqlite:") {
		if _, err := storetest.Connect(t, address).Exec(string(text)); err != nil {
			t.Fatal(err)
		}
	} else {
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.PgConn().Exec(t.Context(), string(text)).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	raw, counts := storetest.Connect(t, address), map[string]int{}
	// That the counts of a blob agree was not looked at yet when these rows were made up.
	for _, query := range []string{`UPDATE ledger_blobs SET records = 0, stored = 0, duplicate = 0, out_of_scope = 0, quarantined = 0`, `UPDATE ledger_windows SET blobs = 1`,
		`UPDATE ledger_blobs SET records = 3, stored = 3 WHERE blob = 'blob 1'`} {
		if _, err := raw.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range tableNames(t, raw, address) {
		var n int
		if err := raw.QueryRow("SELECT count(*) FROM " + name).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			t.Errorf("%s has no rows of %s", file, name)
		}
		counts[name] = n
	}
	raw.Close()
	return counts
}

// tableNames gives the tables, without partitions and views.
func tableNames(t *testing.T, on *sql.DB, address string) (names []string) {
	t.Helper()
	query := `SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace ORDER BY 1`
	if strings.HasPrefix(address, "sqlite:") {
		query = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY 1`
	}
	rows, err := on.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// only gives the migrations up to a version.
func only(version int64) fs.FS {
	files := fstest.MapFS{}
	names, _ := fs.Glob(migrationFiles, "*.sql")
	for _, name := range names {
		if v, _ := versionOf(name); v <= version {
			text, _ := fs.ReadFile(migrationFiles, name)
			files[name] = &fstest.MapFile{Data: text}
		}
	}
	return files
}

// at makes a database of a version, with rows in every table.
func at(t *testing.T, address string, version int64) {
	t.Helper()
	all := migrationFiles
	defer func() { migrationFiles = all }()
	migrationFiles = only(version)
	e, _, err := newEngine(address, "")
	if err != nil {
		t.Fatal(err)
	}
	db := &DB{url: address, engine: e, now: time.Now}
	if db.read, err = e.open(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := db.migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var d declarations
	names, _ := fs.Glob(migrationFiles, "*.sql")
	for _, name := range names {
		text, _ := fs.ReadFile(migrationFiles, name)
		d.read(name, upOf(string(text)))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw := storetest.Connect(t, address)
	fill(t, raw, d.tables, strings.HasPrefix(address, "postgres"))
	raw.Close()
}

// fill adds up to three rows to each table, which agree with each other.
func fill(t *testing.T, on *sql.DB, tables []declaredTable, postgres bool) {
	t.Helper()
	const day = 20261101
	digest := ""
	for _, table := range tables {
		if (table.facts || table.name == "contents" && table.has("day")) && postgres {
			p := monthOf(day / 100)
			if _, err := on.Exec(fmt.Sprintf("CREATE TABLE %s_%s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)", table.name, p.name, table.name, p.from, p.to)); err != nil {
				t.Fatal(err)
			}
		}
		for i := 1; i <= 3; i++ {
			if i > 1 && slices.Contains([]string{"tenants", "contents", "seal_heads"}, table.name) {
				break
			}
			var names, marks []string
			var values []any
			for n, c := range table.columns {
				names, marks = append(names, c.name), append(marks, fmt.Sprintf("$%d", n+1))
				values = append(values, sample(table, c, i, day))
			}
			if table.name == "credential_journal" {
				e := JournalEntry{Seq: int64(i), At: time.Date(2026, 11, i, 8, 0, 0, 0, time.UTC), Actor: fmt.Sprint("actor ", i), Credential: fmt.Sprint("credential_id ", i),
					Step: fmt.Sprint("step ", i), Outcome: fmt.Sprint("outcome ", i), Text: fmt.Sprint("text ", i), Data: []byte("{}"), Fence: int64(i)}
				digest = e.digest("object", digest)
				values[slices.Index(names, "digest")] = digest
			}
			if _, err := on.Exec(fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table.name, strings.Join(names, ", "), strings.Join(marks, ", ")), values...); err != nil {
				t.Fatalf("%s: %v", table.name, err)
			}
		}
		if table.name == "row_counts" {
			if _, err := on.Exec(`INSERT INTO row_counts SELECT tenant_id, 'ignored_audit_events', day, 0, 1 FROM ignored_audit_events`); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func sample(t declaredTable, c declaredColumn, i, day int) any {
	switch {
	case c.name == "tenant_id":
		return 1
	case c.name == "day":
		return day + i - 1
	case c.name == "object_id" && t.name == "credential_journal":
		return "object"
	case t.name == "ledger_blobs" && c.name == "state":
		return BlobDone
	case (t.name == "ledger_blobs" || t.name == "ledger_windows") && (c.name == "stored" || c.name == "records"):
		return map[bool]int{true: 3}[i == 1] // the first blob has all rows
	case (t.name == "ledger_blobs" || t.name == "ledger_windows") && slices.Contains([]string{"duplicate", "out_of_scope", "quarantined"}, c.name):
		return 0
	case t.name == "ledger_windows" && (c.name == "blobs" || c.name == "blobs_read"):
		return 1
	case t.name == "ledger_blobs" && c.name == "window_at":
		return fmt.Sprintf("2026-11-%02d 08:00:00.000", i)
	case t.name == "row_counts" && c.name == "table_name":
		return "audit_events"
	case t.name == "row_counts" && c.name == "records":
		return 1
	case t.name == "dropped_days" && c.name == "records":
		return 0
	case c.name == "feed":
		return "audit"
	case t.name == "contents" && c.name == "bytes":
		return 3
	case t.name == "contents" && c.name == "data":
		return compress([]byte("{}\n"))
	case c.name == "content_id":
		return 1
	case c.name == "content_at":
		return 0
	case c.name == "content_len":
		return 2
	case c.name == "data" || c.name == "policy":
		if c.typ == "TEXT" {
			return "{}"
		}
	}
	if c.null && i == 3 {
		return nil
	}
	switch c.typ {
	case "TIMESTAMP":
		return fmt.Sprintf("2026-11-%02d 08:00:00.000", i)
	case "UUID":
		return slices.Concat([]byte{0x10, 0x20}, make([]byte, 13), []byte{byte(i)})
	case "BYTEA":
		return slices.Concat(make([]byte, 15), []byte{byte(i)})
	case "BOOLEAN":
		return i%2 == 1
	case "TEXT":
		if t.names() {
			return fmt.Sprintf("Größe '%d'", i)
		}
		return fmt.Sprint(c.name, " ", i)
	}
	return i
}

// writeRelease writes the testdata of a version, unless it is there.
func writeRelease(t *testing.T, address string, version int64) {
	engine, _, _ := strings.Cut(address, ":")
	file := fmt.Sprintf("testdata/schema-%d.%s.sql", version, engine)
	if _, err := os.Stat(file); err == nil {
		t.Fatalf("%s is there already, and stays as it was released", file)
	}
	at(t, address, version)
	var text string
	if engine == "sqlite" {
		text = dumpFile(t, storetest.Connect(t, address))
	} else {
		e, _, _ := newEngine(address, "")
		dump, err := tool("pg_dump")
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.(*postgresEngine).program(context.Background(), dump, "--inserts", "--no-owner", "--no-privileges", "--dbname="+e.(*postgresEngine).libpq()).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			// Comments, and what a newer server or client might not know.
			if !strings.HasPrefix(line, "--") && !strings.HasPrefix(line, `\`) && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "SET ") {
				text += line
			}
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// dumpFile is what the sqlite3 shell's .dump does.
func dumpFile(t *testing.T, on *sql.DB) string {
	t.Helper()
	var b strings.Builder
	rows, err := on.Query(`SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY type DESC, rowid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name, kind, create string
		if err := rows.Scan(&name, &kind, &create); err != nil {
			t.Fatal(err)
		}
		b.WriteString(create + ";\n")
		if kind == "table" {
			tables = append(tables, name)
		}
	}
	rows.Close()
	for _, name := range tables {
		rows, err := on.Query("SELECT * FROM " + name)
		if err != nil {
			t.Fatal(err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, v := range values {
				switch v := (*v.(*any)).(type) {
				case nil:
					texts = append(texts, "NULL")
				case []byte:
					texts = append(texts, "x'"+hex.EncodeToString(v)+"'")
				case string:
					texts = append(texts, "'"+strings.ReplaceAll(v, "'", "''")+"'")
				case time.Time:
					texts = append(texts, "'"+v.UTC().Format(timeLayout)+"'")
				case bool:
					texts = append(texts, map[bool]string{false: "0", true: "1"}[v])
				default:
					texts = append(texts, fmt.Sprint(v))
				}
			}
			fmt.Fprintf(&b, "INSERT INTO %s VALUES (%s);\n", name, strings.Join(texts, ", "))
		}
		rows.Close()
	}
	return b.String()
}
