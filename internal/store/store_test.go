package store

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/store/storetest"
)

func open(t testing.TB, address string) *DB {
	t.Helper()
	db, err := Open(t.Context(), address, Options{Now: func() time.Time { return time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestOpenIsRefusedWithReasonAndRemedy(t *testing.T) {
	raw := func(path, query string) *sql.DB {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
		return db
	}
	for _, test := range []struct {
		name    string
		url     func(path string) string
		prepare func(path string)
		want    string // in the error
		remedy  string // in the remedy
		exist   bool
	}{
		{name: "no path", url: func(string) string { return "sqlite:" }, want: "not of the form sqlite:PATH", remedy: "database.url"},
		{name: "memory", url: func(string) string { return "sqlite::memory:" }, want: "path of a file", remedy: "database.url"},
		{name: "another engine", url: func(string) string { return "mysql://x" }, want: "not of the form", remedy: "database.url"},
		{name: "a folder that cannot be", prepare: func(path string) {
			if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: "not a directory", remedy: "database.url"},
		{name: "not a database", prepare: func(path string) {
			os.MkdirAll(filepath.Dir(path), 0o700)
			if err := os.WriteFile(path, bytes.Repeat([]byte("hello "), 5000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: "not an SQLite database", remedy: "another file"},
		{name: "another program's", prepare: func(path string) {
			os.MkdirAll(filepath.Dir(path), 0o700)
			raw(path, "CREATE TABLE theirs (x)")
		}, want: "tables of another program", remedy: "left as it is"},
		{name: "missing, and it must exist", exist: true, want: "there is none", remedy: "import run"},
		{name: "newer schema", prepare: func(path string) {
			open(t, "sqlite:"+path).Close()
			raw(path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)")
		}, want: "version 4711, and this reeve knows versions up to ", remedy: "newer reeve"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder", "x.db")
			if test.prepare != nil {
				test.prepare(path)
			}
			url := "sqlite:" + path
			if test.url != nil {
				url = test.url(path)
			}
			db, err := Open(t.Context(), url, Options{MustExist: test.exist})
			if err == nil {
				db.Close()
				t.Fatal("it was opened")
			}
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) || !strings.Contains(e.Remedy, test.remedy) {
				t.Errorf("error %v, want an *Error with %q and the remedy %q", err, test.want, test.remedy)
			}
			if !strings.Contains(err.Error(), url) {
				t.Errorf("error %v does not name %s", err, url)
			}
		})
	}
}

// TestOpenedByManyAtOnce: processes that start together on a new database must
// not trip over each other's migration.
func TestOpenedByManyAtOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		for range 5 {
			address := storetest.Another(t, address)
			errs := make(chan error)
			for range 6 {
				go func() {
					db, err := Open(t.Context(), address, Options{})
					if err == nil {
						_, err = db.Tenant(t.Context(), "guid")
						err = errors.Join(err, db.Close())
					}
					errs <- err
				}()
			}
			for range 6 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func TestWriteIsRefusedWithReasonAndRemedy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, "sqlite:"+path)
	tenant, err := db.Tenant(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	find := func() error {
		return db.Find(t.Context(), tenant, Finding{Rule: "r", Subject: "s", Message: strings.Repeat("x", 1<<20), Remedy: "m"})
	}
	check := func(name, want string, err error) {
		t.Helper()
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || e.Remedy == "" {
			t.Errorf("%s: error %v, want an *Error with %q and a remedy", name, err, want)
		}
	}

	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.engine.(*sqliteEngine).conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	check("locked", "locked", find())
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}

	var pages int
	if err := db.engine.(*sqliteEngine).conn.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	if _, err := db.engine.(*sqliteEngine).conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages+2)); err != nil {
		t.Fatal(err)
	}
	check("full", "no room left", find())
	if _, err := db.engine.(*sqliteEngine).conn.ExecContext(t.Context(), "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if found, err := db.Findings(t.Context(), tenant); err != nil || len(found) != 0 {
		t.Errorf("something remained of the refused transactions: %v, %v", found, err)
	}

	if _, err := db.engine.(*sqliteEngine).conn.ExecContext(t.Context(), "PRAGMA query_only = 1"); err != nil {
		t.Fatal(err)
	}
	check("read-only", "may not be written", find())
	if _, err := db.engine.(*sqliteEngine).conn.ExecContext(t.Context(), "PRAGMA query_only = 0"); err != nil {
		t.Fatal(err)
	}
	if err := find(); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestDatabaseIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "x.db")
	open(t, "sqlite:"+path)
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", p, got, want)
		}
	}
}

func TestPagesAndJournal(t *testing.T) {
	db := open(t, storetest.SQLite(t))
	var size int
	var journal string
	if err := errors.Join(db.read.QueryRow("PRAGMA page_size").Scan(&size), db.read.QueryRow("PRAGMA journal_mode").Scan(&journal)); err != nil {
		t.Fatal(err)
	}
	if size != 16384 || journal != "wal" {
		t.Errorf("pages of %d bytes and the journal %s, want 16384 and wal", size, journal)
	}
}

func TestWriteLeavesNothingOfWhatFails(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		boom := errors.New("boom")
		err := db.Write(t.Context(), func(tx *Tx) error {
			if err := tx.MergeNames(1, Names{people: {"a": people.ID("a")}}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("error %v", err)
		}
		if _, ok := db.known(people, []byte("a")); ok {
			t.Error("a name that was rolled back is thought to be known")
		}
		func() {
			defer func() { recover() }()
			db.Write(t.Context(), func(tx *Tx) error { panic("boom") })
		}()
		if _, err := db.Tenant(t.Context(), "t"); err != nil {
			t.Errorf("after a panic: %v", err)
		}
	})
}

var people = &NameTable{Name: "users", Column: "user_name", Fold: true}

func TestNames(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		if people.ID("Adele@x.example") != people.ID("ADELE@X.example") || people.ID("a") < 0 {
			t.Error("ids of names are not what they should be")
		}
		merge := func(name string, id int64) error {
			return db.Write(t.Context(), func(tx *Tx) error { return tx.MergeNames(1, Names{people: {name: id}}) })
		}
		// The last two are what case folding is not agreed on.
		for _, name := range []string{"Adele@x.example", "adele@X.example", "Adele@x.example", "ismail@x.example", "\u0130smail@x.example"} {
			if err := merge(name, people.ID(name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if found, err := db.Findings(t.Context(), 1); err != nil || len(found) != 0 {
			t.Errorf("findings %v, %v", found, err)
		}
		if err := merge("somebody else", people.ID("Adele@x.example")); err != nil {
			t.Errorf("two names with one id stop the import: %v", err)
		}
		if found, err := db.Findings(t.Context(), 1); err != nil || len(found) != 1 || found[0].Rule != "name-collision" {
			t.Errorf("two names with one id: findings %v, %v", found, err)
		}
	})
}

var facts = &Table{Name: "audit_events", Key: 3, Facts: true,
	Columns: []string{"tenant_id", "day", "id", "time_stamp", "record_id", "content_id", "content_at", "content_len"}}

func batch(db *DB, blob string, records ...string) *Batch {
	b := db.NewBatch(1, "audit", "p", blob, 0)
	for _, r := range records {
		b.Records++
		id := HashID(r[:1])
		b.Add(facts, 1, 20261102, id[:], "2026-11-02 00:00:00.000", r[:1], b.ContentID, b.Keep([]byte(r[1:])), len(r)-1)
	}
	b.Seal()
	return b
}

func TestStoreTellsDuplicatesFromConflicts(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		store := func(blob string, records ...string) Counts {
			t.Helper()
			var n Counts
			if err := db.Write(t.Context(), func(tx *Tx) error {
				counts, err := tx.Store(Piece{Content{Tenant: 1, Feed: "audit", Part: "p", Blob: blob}, batch(db, blob, records...)})
				if err == nil {
					n = counts[0]
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			n.Bytes = 0
			return n
		}
		for _, test := range []struct {
			name    string
			records []string
			want    Counts
		}{
			{"new", []string{`a{"x":1,"y":2}`, `b{"x":1}`}, Counts{Records: 2, Stored: 2}},
			{"again, in another order", []string{`a{"y":2, "x":1}`}, Counts{Records: 1, Duplicate: 1}},
			{"again, and different, and new", []string{`b{"x":1}`, `a{"x":1,"y":3}`, `c{}`}, Counts{Records: 3, Stored: 1, Duplicate: 1, Quarantined: 1}},
			{"the difference again", []string{`a{"x":1,"y":3}`}, Counts{Records: 1, Duplicate: 1}},
			{"twice in one piece", []string{`d{"x":1}`, `d{"x":1}`, `d{"x":2}`}, Counts{Records: 3, Stored: 1, Duplicate: 1, Quarantined: 1}},
			{"no numbers are rounded", []string{`e{"x":9007199254740993}`, `e{"x":9007199254740992}`}, Counts{Records: 2, Stored: 1, Quarantined: 1}},
		} {
			if diff := cmp.Diff(test.want, store(test.name, test.records...)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.name, diff)
			}
		}
		if got := store("new", `a{"x":1,"y":2}`, `b{"x":1}`); got.Stored != 0 || got.Quarantined != 0 {
			t.Errorf("the same blob again: %+v", got)
		}
		found, err := db.Record(t.Context(), 1, "a")
		if err != nil || len(found) != 2 || string(found[0].Raw) != `{"x":1,"y":2}` || found[1].State != ReasonConflict || string(found[1].Raw) != `{"x":1,"y":3}` {
			t.Errorf("record a: %+v, %v", found, err)
		}
		if _, err := db.Record(t.Context(), 1, "z"); !errors.Is(err, ErrNotFound) {
			t.Errorf("record z: %v", err)
		}
	})
}

func TestLedgerCoversWithoutHoles(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		l := db.Ledger(1, "audit")
		at := time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)
		cover := func(now time.Time) []Window {
			t.Helper()
			if err := l.Cover(t.Context(), "p", now.Add(-3*time.Hour), now, time.Hour, 7*24*time.Hour); err != nil {
				t.Fatal(err)
			}
			all, err := l.DueWindows(t.Context(), []string{"p"}, now.Add(1000*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		if got := cover(at); len(got) != 4 || !got[0].Start.Equal(at.Add(-3*time.Hour)) || !got[0].End.Equal(got[0].Start.Add(30*time.Minute)) {
			t.Errorf("first: %+v", got)
		}
		if got := cover(at); len(got) != 4 {
			t.Errorf("again: %d windows", len(got))
		}
		got := cover(at.Add(50 * time.Hour)) // after a pause that is longer than it looks back
		for i := range got[1:] {
			if !got[i+1].Start.Equal(got[i].End) {
				t.Errorf("a hole between %v and %v", got[i].End, got[i+1].Start)
			}
		}
		if last := got[len(got)-1]; last.End.Before(at.Add(50 * time.Hour)) {
			t.Errorf("the last window ends at %v", last.End)
		}
	})
}

func TestParseID(t *testing.T) {
	for in, want := range map[string]bool{
		"0CE4EA97-4c79-4b04-0c99-08d5ac1b34f2": true, "{0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2}": true, "0ce4ea974c794b040c9908d5ac1b34f2": true,
		"": false, "0ce4ea97-4c79-4b04-0c99-08d5ac1b34fg": false, "0ce4ea97x4c79-4b04-0c99-08d5ac1b34f2": false, "123-abc-123": false,
	} {
		id, ok := ParseID([]byte(in))
		if ok != want || ok && FormatID(id[:]) != "0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2" {
			t.Errorf("%q: %v, %x", in, ok, id)
		}
	}
}

func TestStampsAreOrderedText(t *testing.T) {
	a := stamp(time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("x", 3600)))
	if a != "2026-01-02 02:04:05.000" {
		t.Errorf("%v", a)
	}
	var back time.Time
	if err := (stamped{&back}).Scan(a); err != nil || !back.Equal(time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)) {
		t.Errorf("%v, %v", back, err)
	}
	if stamp(time.Time{}) != nil {
		t.Error("the zero time is not NULL")
	}
}
