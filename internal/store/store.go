// Package store is reeve's database: opening and migrating it, transactions,
// and merging rows in bulk by their natural keys. All SQL stands here, a file
// for each subject. The package knows no cloud, no feed and no policy.
//
// Today the database is SQLite, embedded. Statements are written so that
// PostgreSQL can take the same text, except for two: the merge of a row, and the
// beginning of a transaction.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// DB is an open database. It is safe for use by several goroutines: one writes
// at a time, any number read.
type DB struct {
	url   string
	write *sql.DB // for the one connection that writes
	read  *sql.DB
	now   func() time.Time
	trace func(string)

	writing    sync.Mutex // held by Write; guards conn and statements
	conn       *sql.Conn
	statements map[string]*sql.Stmt // of conn, by their text

	mu    sync.RWMutex              // guards names
	names map[string]map[string]any // by table: the int64 ids of names known to be in the database
}

// Options say how to open a database.
type Options struct {
	// Now gives the time for what the store itself dates. Nil means time.Now.
	Now func() time.Time
	// Trace, if there is one, is told of each transaction: that it begins ("begin"),
	// is about to be committed ("commit"), and is ("committed"). A test may end the
	// program there.
	Trace func(event string)
	// MustExist refuses to make a database that is not there.
	MustExist bool
}

// Open opens the database that url names ("sqlite:PATH"), creates it if it is
// missing, and brings its schema up to this program's version. Errors are of
// type *Error.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok || path == "" || strings.HasPrefix(path, ":memory:") {
		return nil, &Error{URL: url, Doing: "opening the database",
			Cause:  "its address is not of the form sqlite:PATH, with the path of a file",
			Remedy: "set database.url, for example to sqlite:reeve.db"}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Trace == nil {
		o.Trace = func(string) {}
	}
	if _, err := os.Stat(path); o.MustExist && errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{URL: url, Doing: "opening the database", Cause: "there is none",
			Remedy: "look at database.url, or run 'reeve import run --once', which makes it"}
	}
	db := &DB{url: url, now: o.Now, trace: o.Trace, names: map[string]map[string]any{}}
	for _, step := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"opening the database", func(ctx context.Context) error { return db.openSQLite(ctx, path) }},
		{"bringing up to date the schema of", db.migrate},
		{"opening the database", db.connect},
	} {
		if err := step.do(ctx); err != nil {
			db.Close()
			return nil, explain(url, step.doing, err)
		}
	}
	return db, nil
}

// Dir is the folder of the database, for what is too large for memory.
func (db *DB) Dir() string { return filepath.Dir(strings.TrimPrefix(db.url, "sqlite:")) }

// connect takes the one connection that writes, for as long as db is open.
func (db *DB) connect(ctx context.Context) error {
	var err error
	db.conn, err = db.write.Conn(ctx)
	db.statements = map[string]*sql.Stmt{}
	return err
}

// Close ends the use of the database. What was committed is safe with or
// without it.
func (db *DB) Close() error {
	db.writing.Lock()
	defer db.writing.Unlock()
	for _, s := range db.statements {
		s.Close()
	}
	db.statements = nil
	if db.conn != nil {
		db.conn.Close()
		db.conn = nil
	}
	var first error
	for _, c := range []*sql.DB{db.read, db.write} {
		if c == nil {
			continue
		}
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Tx is one write transaction.
type Tx struct {
	db  *DB
	ctx context.Context // that of Write, without its end
	// Now is when the transaction began: one time for all that it dates.
	Now time.Time

	named map[string]map[string]int64 // names added by this transaction
}

// Write runs f in a transaction and commits it. If f returns an error, or
// panics, nothing of it remains. Statements are not cut short when ctx ends,
// since that would cost the whole transaction; f looks at ctx itself where it
// takes long.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) error {
	return db.transact(ctx, false, f)
}

func (db *DB) transact(ctx context.Context, durable bool, f func(*Tx) error) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.conn == nil {
		return fmt.Errorf("writing to %s: %w", db.url, sql.ErrConnDone)
	}
	db.trace("begin")
	tx := &Tx{db: db, ctx: context.WithoutCancel(ctx), Now: db.now().UTC(), named: map[string]map[string]int64{}}
	if durable {
		if _, err := tx.exec("PRAGMA synchronous = full"); err != nil {
			return explain(db.url, "beginning a transaction on", err)
		}
		defer tx.exec("PRAGMA synchronous = normal")
	}
	if _, err := tx.exec("BEGIN IMMEDIATE"); err != nil {
		return explain(db.url, "beginning a transaction on", err)
	}
	open := true
	defer func() {
		if open {
			tx.exec("ROLLBACK")
		}
	}()
	if err := f(tx); err != nil {
		return explain(db.url, "writing to", err)
	}
	db.trace("commit")
	if _, err := tx.exec("COMMIT"); err != nil {
		return explain(db.url, "committing to", err)
	}
	open = false
	db.remember(tx.named)
	db.trace("committed")
	return nil
}

// writeDurably is Write for what must not be lost with the power: the transaction is on
// the disk when it returns (see docs/decisions/0013). Transactions before it are then on
// the disk as well.
func (db *DB) writeDurably(ctx context.Context, f func(*Tx) error) error {
	return db.transact(ctx, true, f)
}

// exec runs a statement, which is prepared once for the life of the database,
// and gives the number of rows it has changed.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	stmt, ok := tx.db.statements[query]
	if !ok {
		var err error
		if stmt, err = tx.db.conn.PrepareContext(tx.ctx, query); err != nil {
			return 0, err
		}
		tx.db.statements[query] = stmt
	}
	res, err := stmt.ExecContext(tx.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (tx *Tx) queryRow(query string, args ...any) *sql.Row {
	return tx.db.conn.QueryRowContext(tx.ctx, query, args...)
}

// timeLayout is how times stand in the database: UTC, to the millisecond, so
// that text order is time order.
const timeLayout = "2006-01-02 15:04:05.000"

// stamp is t as the database holds it; the zero time is NULL.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(timeLayout)
}

// stamped reads a time that the database holds; NULL gives the zero time.
type stamped struct{ t *time.Time }

func (s stamped) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.t = time.Time{}
	case time.Time:
		*s.t = v.UTC()
	case string:
		t, err := time.Parse(timeLayout, v)
		if err != nil {
			return fmt.Errorf("reading a time from the database: %w", err)
		}
		*s.t = t
	default:
		return fmt.Errorf("reading a time from the database: it is a %T", v)
	}
	return nil
}

// Day is the number YYYYMMDD of the UTC day of t.
func Day(t time.Time) int {
	y, m, d := t.UTC().Date()
	return y*10000 + int(m)*100 + d
}

// FindTenant gives the number under which the rows of a tenant are kept. The
// error matches ErrNotFound if there are none.
func (db *DB) FindTenant(ctx context.Context, guid string) (int, error) {
	var id int
	err := db.read.QueryRowContext(ctx, `SELECT id FROM tenants WHERE tenant_guid = $1`, strings.ToLower(guid)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return id, explain(db.url, "reading", err)
}

// Tenant gives the number under which the rows of a tenant are kept, and makes
// one if it has none.
func (db *DB) Tenant(ctx context.Context, guid string) (int, error) {
	guid = strings.ToLower(guid)
	var id int
	err := db.Write(ctx, func(tx *Tx) error {
		if _, err := tx.exec(`INSERT INTO tenants (id, tenant_guid)
			SELECT coalesce(max(id), 0) + 1, $1 FROM tenants WHERE true
			ON CONFLICT (tenant_guid) DO NOTHING`, guid); err != nil {
			return err
		}
		return tx.queryRow(`SELECT id FROM tenants WHERE tenant_guid = $1`, guid).Scan(&id)
	})
	return id, err
}
