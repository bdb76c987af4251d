package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// filled makes a database of this version with rows in every table.
func filled(t *testing.T, address string) {
	t.Helper()
	version, err := newest()
	if err != nil {
		t.Fatal(err)
	}
	at(t, address, version)
}

// TestDeclared: what was read of the migrations is what a database has, and each table
// says what it is for.
func TestDeclared(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		known := []string{"goose_db_version"}
		for _, table := range declared() {
			known = append(known, table.name)
			if table.meaning == "" {
				t.Errorf("no comment in the migrations says what %s is for", table.name)
			}
			if len(table.key) == 0 {
				t.Errorf("%s has no key", table.name)
			}
			rows, err := db.read.QueryContext(t.Context(), "SELECT * FROM "+table.name+" WHERE 1 = 0")
			if err != nil {
				t.Fatal(err)
			}
			have, err := rows.Columns()
			rows.Close()
			var want []string
			for _, c := range table.columns {
				want = append(want, c.name)
			}
			if err != nil || !slices.Equal(have, want) {
				t.Errorf("%s: read %v of the migrations, and it has %v (%v)", table.name, want, have, err)
			}
		}
		slices.Sort(known)
		raw := storetest.Connect(t, address)
		names := tableNames(t, raw, address)
		slices.Sort(names)
		if !slices.Equal(names, known) {
			t.Errorf("read the tables %v, and there are %v", known, names)
		}
	})
}

// wrong gives what a check found.
func wrong(t *testing.T, db *DB) (all []string) {
	t.Helper()
	checks, err := db.Check(t.Context(), sealedTables, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if c.State == CheckedWrong {
			all = append(all, c.What)
			if c.Remedy == "" || c.Text == "" {
				t.Errorf("%+v says not what is wrong or what to do", c)
			}
		}
	}
	return all
}

// TestCheckFinds: each kind of damage is found, and nothing else.
func TestCheckFinds(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		filled(t, address)
		db := open(t, address)
		raw := storetest.Connect(t, address)
		if found := wrong(t, db); found != nil {
			t.Fatalf("undamaged: %v", found)
		}
		var want []string
		for _, test := range []struct{ damage, found string }{
			{`UPDATE contents SET bytes = 4`, "every text can be read"},
			{`UPDATE credential_journal SET text = 'something else' WHERE seq = 2`, "the journals of certificates are as they were written"},
			{`UPDATE ledger_blobs SET stored = 2`, "the ledger's sums are those of its blobs and of the rows"},
			{`UPDATE row_counts SET records = 2 WHERE table_name = 'audit_events'`, "rows are those that the import has counted, by day"},
			{`UPDATE event_meta_teams SET day = 20261115 WHERE day = 20261101`, "rows of workloads have their record"},
			{`UPDATE audit_events SET content_at = 3`, "the text of each record is there"},
			{`DELETE FROM event_types WHERE id = 2`, "names that rows refer to are there"},
		} {
			if _, err := raw.Exec(test.damage); err != nil {
				t.Fatal(err)
			}
			want = append(want, test.found)
			found := wrong(t, db)
			slices.Sort(found)
			if !slices.Equal(found, slices.Sorted(slices.Values(want))) {
				t.Errorf("%s: found %q, want %q", test.damage, found, want)
			}
		}
	})
}

// TestCheckOfIndexes: with amcheck the indexes are looked at, without it that is said.
func TestCheckOfIndexes(t *testing.T) {
	address := storetest.PostgreSQL(t)
	filled(t, address)
	db := open(t, address)
	raw := storetest.Connect(t, address)
	for _, want := range []string{NotChecked, CheckedOK} {
		checks, err := db.engine.integrity(t.Context(), db.read)
		if err != nil || len(checks) != 1 || checks[0].State != want {
			t.Errorf("%+v, %v; want %s", checks, err, want)
		}
		if _, err := raw.Exec(`CREATE EXTENSION IF NOT EXISTS amcheck`); err != nil {
			t.Skip(err)
		}
	}
	// Who may look at none of them has found none to be well.
	raw.SetMaxOpenConns(1)
	if _, err := raw.Exec(`SET ROLE pg_monitor`); err != nil {
		t.Fatal(err)
	}
	if checks, err := db.engine.integrity(t.Context(), raw); err != nil || len(checks) != 1 || checks[0].State != NotChecked {
		t.Errorf("%+v, %v", checks, err)
	}
}

// TestCheckOfTextsThatWereGivenUp: whether they should be there nobody knows, and that is said.
func TestCheckOfTextsThatWereGivenUp(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		filled(t, address)
		db := open(t, address)
		state := func() string {
			t.Helper()
			checks, err := db.Check(t.Context(), sealedTables, false)
			if err != nil {
				t.Fatal(err)
			}
			return checks[slices.IndexFunc(checks, func(c Checked) bool { return c.What == "the text of each record is there" })].State
		}
		if _, _, _, err := db.Forget(t.Context(), 1, "audit", time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got := state(); got != CheckedOK {
			t.Errorf("with all texts: %s", got)
		}
		if _, err := storetest.Connect(t, address).Exec(`DELETE FROM contents`); err != nil {
			t.Fatal(err)
		}
		if got := state(); got != NotChecked {
			t.Errorf("without: %s", got)
		}
	})
}

// TestChecksDoNotWaitInATransaction: none is open, which a server would end, while something
// else is looked at for long.
func TestChecksDoNotWaitInATransaction(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		filled(t, address)
		db := open(t, address)
		db.read.SetMaxOpenConns(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := db.Check(ctx, sealedTables, true); err != nil {
			t.Error(err)
		}
	})
}

// TestCheckFindsADamagedFile: a page that was overwritten is found.
func TestCheckFindsADamagedFile(t *testing.T) {
	address := storetest.SQLite(t)
	filled(t, address)
	path := strings.TrimPrefix(address, "sqlite:")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var root int64
	if err := storetest.Connect(t, address).QueryRow(`SELECT rootpage FROM sqlite_master WHERE name = 'quarantine_record'`).Scan(&root); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("x", 8000)), (root-1)*16384+8384); err != nil {
		t.Fatal(err)
	}
	e := &sqliteEngine{path: path}
	read, err := e.open(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	defer read.Close()
	if checks, err := e.integrity(t.Context(), read); err == nil && checks[0].State != CheckedWrong {
		t.Errorf("%+v", checks)
	}
}

// TestStatusWritesNothing: whoever may only read sees how the database stands, and Look says
// that it cannot be written.
func TestStatusWritesNothing(t *testing.T) {
	address := storetest.PostgreSQL(t)
	filled(t, address)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("default_transaction_read_only", "on")
	u.RawQuery = q.Encode()
	db, err := Open(t.Context(), u.String(), Options{MustExist: true, AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if s, err := db.Status(t.Context()); err != nil || s.Schema == 0 || len(s.Pending) > 0 || s.Engine == "" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Look(t.Context(), u.String(), ""); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("looking whether it can be written: %v", err)
	}
}

// TestBackupAndRestore: what was there at the backup is there after it is restored, and
// what was there before that is kept.
func TestBackupAndRestore(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		filled(t, address)
		db := open(t, address)
		file := filepath.Join(t.TempDir(), "backup")
		c, err := db.Backup(t.Context(), file)
		if errors.Is(err, ErrNoTool) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		events := c.Tables["audit_events"] + c.Tables["audit_events_202611"]
		if s, _ := db.Status(t.Context()); c.Schema != s.Schema || c.Schema == 0 || events != 3 || c.Tables["users"] != 3 {
			t.Errorf("%+v", c)
		}
		if c, err := LookAtCopy(t.Context(), address, "", file); err != nil || !slices.Equal(c.Tenants, []string{"tenant_guid 1"}) {
			t.Errorf("whose records it holds: %v, %v", c.Tenants, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if _, err := db.Backup(t.Context(), file); err == nil || !strings.Contains(err.Error(), "there already") {
			t.Errorf("over a file that is there: %v", err)
		}
		if left, _ := filepath.Glob(file + "?*"); left != nil {
			t.Errorf("left: %v", left)
		}
		if err := db.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.exec(`DELETE FROM users`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		if _, err := Restore(t.Context(), address, "", file, now); err == nil || !strings.Contains(err.Error(), "is using it") {
			t.Errorf("while it is open: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		// A file that is broken off is refused, and nothing is changed.
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		broken := file + ".broken"
		if err := os.WriteFile(broken, whole[:len(whole)*2/3], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), address, "", broken, now); err == nil {
			t.Error("half a backup was restored")
		}
		users := func(want int) {
			t.Helper()
			var n int
			db := open(t, address)
			if err := db.read.QueryRowContext(t.Context(), `SELECT count(*) FROM users`).Scan(&n); err != nil || n != want {
				t.Errorf("%d users, want %d: %v", n, want, err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		users(0)
		aside, err := Restore(t.Context(), address, "", file, now)
		if err != nil {
			t.Fatal(err)
		}
		users(3)
		db = open(t, address)
		if found := wrong(t, db); found != nil {
			t.Error(found)
		}
		var n int
		if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
			if aside != path+".before-20261122T080000" {
				t.Error(aside)
			}
			err = storetest.Connect(t, "sqlite:"+aside).QueryRow(`SELECT count(*) FROM users`).Scan(&n)
		} else {
			err = db.read.QueryRow(`SELECT count(*) FROM ` + aside + `.users`).Scan(&n)
		}
		if err != nil || n != 0 {
			t.Errorf("what was there before has %d users: %v", n, err)
		}
		db.Close()

		// Into a database that has nothing yet.
		empty := storetest.Another(t, address)
		if aside, err := Restore(t.Context(), empty, "", file, now); err != nil || aside != "" {
			t.Fatalf("%q, %v", aside, err)
		}
		if found := wrong(t, open(t, empty)); found != nil {
			t.Error(found)
		}
	})
}

// TestBackupOfANewerSchemaIsRefused: both versions are named.
func TestBackupOfANewerSchemaIsRefused(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		if err := db.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.exec(`INSERT INTO goose_db_version (version_id, is_applied, tstamp) VALUES (4711, $1, '2026-11-22 08:00:00.000')`, true)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "backup")
		if _, err := db.Backup(t.Context(), file); errors.Is(err, ErrNoTool) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		known, _ := newest()
		_, err := Restore(t.Context(), storetest.Another(t, address), "", file, time.Now())
		if err == nil || !strings.Contains(err.Error(), "4711") || !strings.Contains(err.Error(), fmt.Sprint("up to ", known)) {
			t.Error(err)
		}
	})
}

// TestViews: they are made anew when their text has changed or one is gone, keep who may
// read them, and stay when somebody's own view is made of one.
func TestViews(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		filled(t, address)
		open(t, address).Close()
		raw := storetest.Connect(t, address)
		are := func(db *DB) string {
			t.Helper()
			s, err := db.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return s.Views
		}
		exec := func(query string) {
			t.Helper()
			if _, err := raw.Exec(query); err != nil {
				t.Fatal(query, err)
			}
		}
		var n int
		if err := raw.QueryRow(`SELECT count(*) FROM events_view WHERE user_name LIKE 'Größe%'`).Scan(&n); err != nil || n != 2 {
			t.Errorf("%d rows, %v", n, err)
		}
		exec(`DROP VIEW events_view_exchange`)
		db := open(t, address)
		if got := are(db); got != ViewsCurrent {
			t.Error("after one was dropped: ", got)
		}
		exec(`UPDATE schema_state SET value = 'of an older reeve' WHERE name = 'views'`)
		if got := are(db); got != ViewsOld {
			t.Error(got)
		}
		db.Close()
		if strings.HasPrefix(address, "sqlite:") {
			if got := are(open(t, address)); got != ViewsCurrent {
				t.Error(got)
			}
			return
		}
		role := fmt.Sprintf("viewer_%d", time.Now().UnixNano())
		exec(`CREATE ROLE ` + role)
		exec(`GRANT SELECT ON events_view TO ` + role)
		exec(`CREATE VIEW theirs AS SELECT * FROM events_view`)
		db = open(t, address)
		if got := are(db); got != ViewsOld {
			t.Error("although a view is made of one: ", got)
		}
		var depends *DependsError
		if err := db.RemakeViews(t.Context()); !errors.As(err, &depends) || depends.View != "events_view" || !strings.Contains(err.Error(), "theirs") {
			t.Error(err)
		}
		exec(`DROP VIEW theirs`)
		if err := db.RemakeViews(t.Context()); err != nil || are(db) != ViewsCurrent {
			t.Error(err)
		}
		var may bool
		if err := raw.QueryRow(`SELECT has_table_privilege('` + role + `', 'events_view', 'SELECT')`).Scan(&may); err != nil || !may {
			t.Error("the right to read the view is gone: ", err)
		}
		exec(`DROP OWNED BY ` + role)
		exec(`DROP ROLE ` + role)
	})
}

// TestSizes: every table is measured.
func TestSizes(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		filled(t, address)
		db, err := Open(t.Context(), address, Options{Now: func() time.Time { return time.Date(2026, 11, 8, 9, 0, 0, 0, time.UTC) }})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s, err := db.Sizes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tables := map[string]bool{}
		for _, x := range s.Tables {
			tables[x.Table], tables[x.Of] = true, true
		}
		for _, d := range declared() {
			if !tables[d.name] {
				t.Errorf("%s is not measured", d.name)
			}
		}
		if perDay, known := s.PerDay(); s.Days != 3 || s.Records != 1 || !known || perDay <= 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestGrant: the role reads what was imported, in months to come as well, and nothing else.
func TestGrant(t *testing.T) {
	address := storetest.PostgreSQL(t)
	filled(t, address)
	db := open(t, address)
	raw := storetest.Connect(t, address)
	role := fmt.Sprintf("reader_%d", time.Now().UnixNano())
	var e *Error
	if _, err := db.Grant(t.Context(), role, false, false); !errors.As(err, &e) || !strings.Contains(e.Remedy, "CREATE ROLE") {
		t.Errorf("a role that is not there: %v", err)
	}
	exec := func(query string) error {
		_, err := raw.Exec(query)
		return err
	}
	if err := exec(`CREATE ROLE ` + role); err != nil {
		t.Fatal(err)
	}
	defer func() { exec(`DROP OWNED BY ` + role); exec(`DROP ROLE ` + role) }()
	if dry, err := db.Grant(t.Context(), role, false, true); err != nil || len(dry) != 3 {
		t.Error(dry, err)
	}
	may := func(table string) (may bool) {
		t.Helper()
		if err := raw.QueryRow(`SELECT has_table_privilege($1, $2, 'SELECT')`, role, table).Scan(&may); err != nil {
			t.Fatal(err)
		}
		return may
	}
	if may("audit_events") {
		t.Error("it was granted although dry")
	}
	if _, err := db.Grant(t.Context(), role, false, false); err != nil {
		t.Fatal(err)
	}
	for _, table := range tableNames(t, raw, address) {
		secret := strings.HasPrefix(table, "credential") || slices.Contains([]string{"applications", "registrations", "contents", "quarantine", "outbox_events", "outbox_deliveries", "schema_state", "goose_db_version"}, table)
		if secret && may(table) {
			t.Errorf("%s may be read", table)
		}
		if (strings.HasPrefix(table, "event_") || table == "users" || table == "audit_events") && !may(table) {
			t.Errorf("%s may not be read", table)
		}
	}
	p := monthOf(202703)
	for _, query := range []string{
		fmt.Sprintf(`CREATE TABLE audit_events_202703 PARTITION OF audit_events FOR VALUES FROM (%s) TO (%s)`, p.from, p.to),
		`SET ROLE ` + role, `SELECT count(*) FROM audit_events WHERE day > 20270301`, `SELECT * FROM events_view`, `RESET ROLE`,
	} {
		if err := func() error { raw.SetMaxOpenConns(1); return exec(query) }(); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, err := db.Grant(t.Context(), role, true, false); err != nil || !may("contents") {
		t.Error(err)
	}
}

// TestPlanUpgrade: from an old schema each statement is named, and from this one there is nothing.
func TestPlanUpgrade(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		at(t, address, 5)
		db, err := Open(t.Context(), address, Options{AsIs: true})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := db.PlanUpgrade(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var does []string
		known := regexp.MustCompile(`^(makes the (table|index) \w+|changes (the (table|index)|rows of) \w+|adds rows to \w+|drops \w+|runs a block)`)
		for _, s := range plan {
			does = append(does, s.Does)
			if !known.MatchString(s.Does) {
				t.Errorf("a step that is none: %q", s.Does)
			}
			// All text is copied, from a table that had another name before.
			if copies := s.Does == "adds rows to contents"; copies && (s.Bytes == 0 || s.Takes == 0) {
				t.Errorf("%+v", s)
			}
		}
		if !slices.Contains(does, "makes the table contents") || !slices.Contains(does, "adds rows to contents") {
			t.Errorf("%q", does)
		}
		if !slices.Contains(does, "makes the table dropped_days") {
			t.Errorf("%q", does)
		}
		if postgres := strings.HasPrefix(address, "postgres"); slices.Contains(does, "makes the index audit_events_time on audit_events") != postgres {
			t.Errorf("%q", does)
		}
		s, err := db.Status(t.Context())
		if err != nil || s.Schema != 5 || len(s.Pending) == 0 || s.Views != ViewsNone {
			t.Errorf("%+v, %v", s, err)
		}
		db.Close()
		db = open(t, address)
		if plan, err := db.PlanUpgrade(context.Background()); err != nil || plan != nil {
			t.Error(plan, err)
		}
	})
}
