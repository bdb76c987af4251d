package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// carer is what looking after a database needs of its engine.
type carer interface {
	// condition is how the database stands, besides its schema.
	condition(ctx context.Context, read *sql.DB, s *Status) error
	// sizes lists the tables, or their partitions.
	sizes(ctx context.Context, read *sql.DB) ([]Size, error)
	// integrity looks at what the engine itself has written.
	integrity(ctx context.Context, read *sql.DB) ([]Checked, error)
	// backup writes a whole copy to a file that is not there yet, and reads it back.
	backup(ctx context.Context, file string) (Copy, error)
	// restore puts a copy in the place of the database.
	restore(ctx context.Context, file string, now time.Time) (aside string, err error)
	// copyOf looks at a copy.
	copyOf(ctx context.Context, file string) (Copy, error)
	// before gives the first day that stays if what is older than a time is to go.
	before(older time.Time) (day int)
	// dropMonth drops a month of a tenant's facts as a whole. It is false if that is not
	// how this engine does it, or others have rows there.
	dropMonth(tx *Tx, tenant, month int) (dropped bool, err error)
	// patience lifts what bounds the time of a statement.
	patience(ctx context.Context, tx *sql.Tx) error
	// replaceView makes a view anew, with those who may read it.
	replaceView(tx *Tx, name, create string) error
}

// Status is how a database stands.
type Status struct {
	Condition
	Pending []Migration // what this program would do to the schema
	Views   string      // current, old, or none
	// Connections counts those of everybody, and Reeves those of reeve. Nil if the engine
	// does not tell.
	Connections, Reeves *int
	// Oldest is the transaction that has been open longest, if there is one: while it
	// lasts, what was deleted or changed is kept for it.
	Oldest *OpenTransaction
}

// OpenTransaction is a transaction that somebody has open.
type OpenTransaction struct {
	Since   time.Time
	Process int
	Program string // as it names itself
	State   string
}

// Status reads how the database stands.
func (db *DB) Status(ctx context.Context) (s Status, err error) {
	const doing = "looking at the database"
	if s.Condition, err = db.engine.look(ctx, false); err != nil {
		return s, db.explain(doing, err)
	}
	if s.Pending, err = db.Pending(ctx); err != nil {
		return s, err
	}
	if err = db.engine.condition(ctx, db.read, &s); err != nil {
		return s, db.explain(doing, err)
	}
	s.Views, err = db.viewsAre(ctx, db.read)
	return s, db.explain(doing, err)
}

// A Migration is a step from one version of the schema to the next.
type Migration struct {
	Version int64
	Name    string
	SQL     string // in the engine's words
}

// Pending gives the migrations that were not applied yet, in their order.
func (db *DB) Pending(ctx context.Context) ([]Migration, error) {
	applied := map[int64]bool{}
	ours, _, err := db.engine.tables(ctx, db.read)
	if err == nil && ours > 0 {
		var versions []int64
		if versions, err = list(ctx, db, "reading the schema's version in", func(rows *sql.Rows, v *int64) error { return rows.Scan(v) },
			`SELECT version_id FROM goose_db_version WHERE is_applied`); err != nil {
			return nil, err
		}
		for _, v := range versions {
			applied[v] = true
		}
	}
	if err != nil {
		return nil, db.explain("looking at the database", err)
	}
	files := db.engine.words(migrationFiles)
	names, err := fs.Glob(migrationFiles, "*.sql")
	if err != nil {
		return nil, err
	}
	var pending []Migration
	for _, name := range names {
		v, err := versionOf(name)
		if err != nil {
			return nil, err
		}
		if applied[v] {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		pending = append(pending, Migration{Version: v, Name: strings.TrimSuffix(name, ".sql"), SQL: upOf(string(text))})
	}
	return pending, nil
}

// judge refuses what [DB.migrate] refuses, and migrates nothing.
func (db *DB) judge(ctx context.Context) error {
	ours, all, err := db.engine.tables(ctx, db.read)
	if err != nil {
		return err
	}
	var c Condition
	return c.version(ctx, db.read, ours, all)
}

// Size is what a table takes, or a month of it.
type Size struct {
	Table   string
	Of      string // the partitioned table that it belongs to; empty if it is one by itself
	Rows    int64  // as estimated; -1 if nobody knows
	Bytes   int64  // without indexes
	Indexes int64
}

// Sizes are what a database takes, and how fast it grows.
type Sizes struct {
	Tables []Size
	Bytes  int64 // all in all
	// Days is over how many whole days the growth was seen, the newest that are complete;
	// 0 if there are none. Records are those of one of them, on average, and
	// BytesPerRecord all bytes by all records.
	Days           int
	Records        int64
	BytesPerRecord float64
}

// PerDay is by how much the database grows in a day, at the rate of the last days. It is
// not known if there were none.
func (s Sizes) PerDay() (bytes int64, known bool) {
	return int64(float64(s.Records) * s.BytesPerRecord), s.Days > 0 && s.BytesPerRecord > 0
}

// Sizes reads what each table takes. On SQLite that reads the whole file.
func (db *DB) Sizes(ctx context.Context) (s Sizes, err error) {
	if s.Tables, err = db.engine.sizes(ctx, db.read); err != nil {
		return s, db.explain("measuring", err)
	}
	for _, t := range s.Tables {
		s.Bytes += t.Bytes + t.Indexes
	}
	if there, err := db.hasTable(ctx, "audit_events"); err != nil || !there {
		return s, db.explain("measuring", err)
	}
	// Of the newest days: today is not over, and of the days before some records are still
	// to come.
	const days, settled = 7, 2
	today := db.now().UTC()
	first, last := Day(today.AddDate(0, 0, -settled-days)), Day(today.AddDate(0, 0, -settled-1))
	var rows, all int64
	if err := db.read.QueryRowContext(ctx, `SELECT count(DISTINCT day), count(*) FROM audit_events
		WHERE day BETWEEN $1 AND $2 AND tenant_id IN (SELECT id FROM tenants)`, first, last).Scan(&s.Days, &rows); err != nil {
		return s, db.explain("measuring", err)
	}
	for _, t := range s.Tables {
		if t.Table != "audit_events" && t.Of != "audit_events" {
			continue
		}
		if t.Rows < 0 { // a month that the server has not looked at yet
			if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM `+t.Table).Scan(&t.Rows); err != nil {
				return s, db.explain("measuring", err)
			}
		}
		all += t.Rows
	}
	if s.Days > 0 {
		s.Records = rows / int64(s.Days)
	}
	if all = max(all, rows); all > 0 {
		s.BytesPerRecord = float64(s.Bytes) / float64(all)
	}
	return s, nil
}

func (db *DB) hasTable(ctx context.Context, name string) (bool, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT 1 FROM `+name+` WHERE 1 = 0`)
	if err == nil {
		return true, rows.Close()
	}
	if ours, _, err := db.engine.tables(ctx, db.read); err == nil && ours == 0 {
		return false, nil
	}
	return false, err
}

// Copy is a backup of a database.
type Copy struct {
	File   string
	Bytes  int64
	Schema int64            // the version
	Tables map[string]int64 // rows in each, as counted in the copy itself
	// Tenants are the IDs of those whose records are in the copy.
	Tenants []string
}

// Rows is the number of rows in all tables.
func (c Copy) Rows() (n int64) {
	for _, rows := range c.Tables {
		n += rows
	}
	return n
}

// ErrNoTool says that a program of PostgreSQL's is not installed here.
var ErrNoTool = errors.New("it is not installed")

// Backup writes a whole copy of the database to a file, while others use it, and reads the
// copy back: it is opened, looked through and counted. The file must not be there yet, and
// has its name only when all is well. For PostgreSQL pg_dump does it; without it the
// error matches [ErrNoTool] and says what to run instead.
func (db *DB) Backup(ctx context.Context, file string) (Copy, error) {
	c, err := db.engine.backup(ctx, file)
	if err == nil && c.Schema == 0 {
		err = errors.New("the copy that was made has no tables of reeve's")
	}
	if err != nil {
		return c, db.explain("backing up", err)
	}
	return c, nil
}

// LookAtCopy reads a backup for the engine of the address, and refuses one of a newer
// schema. It changes nothing.
func LookAtCopy(ctx context.Context, address, password, file string) (Copy, error) {
	e, shown, err := newEngine(address, password)
	if err != nil {
		return Copy{}, err
	}
	defer e.close()
	c, err := e.copyOf(ctx, file)
	if err == nil {
		err = c.judge()
	}
	var known *Error
	if err != nil && ctx.Err() == nil && !errors.As(err, &known) {
		err = &Error{Doing: "reading a backup for", Cause: file + " cannot be read as a backup",
			Remedy: "give a file that 'reeve db backup' has made of a database of this kind, and that this user may read", Err: err}
	}
	return c, explain(e, shown, "reading a backup for", err)
}

func (c Copy) judge() error {
	known, err := newest()
	if err != nil {
		return err
	}
	if c.Schema == 0 {
		return &Error{Doing: "restoring", Cause: fmt.Sprintf("%s is no backup of reeve's", c.File), Remedy: "give a file that 'reeve db backup' has made"}
	}
	if c.Schema > known {
		return &Error{Doing: "restoring", Cause: fmt.Sprintf("the schema in %s has version %d, and this reeve knows versions up to %d", c.File, c.Schema, known),
			Remedy: "restore it with the newer reeve that made it"}
	}
	return nil
}

// Restore puts a backup in the place of the database, whole or not at all. What was there
// is kept aside: it says where. Nobody else may use the database meanwhile.
func Restore(ctx context.Context, address, password, file string, now time.Time) (aside string, err error) {
	if _, err := LookAtCopy(ctx, address, password, file); err != nil {
		return "", err
	}
	e, shown, err := newEngine(address, password)
	if err != nil {
		return "", err
	}
	defer e.close()
	aside, err = e.restore(ctx, file, now)
	return aside, explain(e, shown, "restoring", err)
}

func inUse(doing, who string) error {
	return &Error{Doing: doing, Cause: who + " is using it", Remedy: "stop every reeve on this database, and whatever else writes to it, and run the command again"}
}
