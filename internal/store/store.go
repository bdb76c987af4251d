// Package store is reeve's database: opening and migrating it, transactions,
// and merging rows in bulk by their natural keys. All SQL stands here, a file
// for each subject. The package knows no cloud, no feed and no policy.
//
// The database is SQLite, embedded, or PostgreSQL. Statements are one text for
// both; what the two do differently is an engine's, in sqlite.go and postgres.go.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// DB is an open database. It is safe for use by several goroutines, and a
// database by several processes.
type DB struct {
	url    string // without a password
	engine engine
	read   *sql.DB
	now    func() time.Time
	trace  func(string)
	raw    Raw
	worker string // names this process among those that use the database

	mu    sync.RWMutex              // guards names
	names map[string]map[string]any // by table: the int64 ids of names known to be in the database
}

// Options say how to open a database.
type Options struct {
	// Now gives the time for what the store itself dates. Nil means time.Now.
	Now func() time.Time
	// Trace, if there is one, is told of each transaction: that it has begun ("begin"),
	// is about to be committed ("commit"), and is ("committed"). A test may end the
	// program there.
	Trace func(event string)
	// MustExist refuses to make a database that is not there.
	MustExist bool
	// Raw is how much is kept of records as the source sent them. Empty means RawAll.
	Raw Raw
	// AsIs leaves the schema as it is, be it old, for looking after the database. It is not
	// for other uses of it.
	AsIs bool
	// Password is for a server. If it is empty, PGPASSWORD or the password file is used.
	Password string
}

// Open opens the database that address names ("sqlite:PATH" or
// "postgres://HOST/DATABASE"), creates the file if it is missing, and brings its
// schema up to this program's version. Errors are of type *Error, and hold no
// password.
func Open(ctx context.Context, address string, o Options) (*DB, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Trace == nil {
		o.Trace = func(string) {}
	}
	if o.Raw == "" {
		o.Raw = RawAll
	}
	e, shown, err := newEngine(address, o.Password)
	if err != nil {
		return nil, err
	}
	migrate, views := (*DB).migrate, (*DB).currentViews
	if o.AsIs {
		migrate, views = (*DB).judge, func(*DB, context.Context) error { return nil }
	}
	db := &DB{url: shown, engine: e, now: o.Now, trace: o.Trace, raw: o.Raw, worker: rand.Text()[:12], names: map[string]map[string]any{}}
	for _, step := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"opening the database", func(ctx context.Context) (err error) {
			db.read, err = e.open(ctx, o.MustExist)
			return err
		}},
		{"bringing up to date the schema of", func(ctx context.Context) error { return migrate(db, ctx) }},
		{"opening the database", e.ready},
		{"making the views of", func(ctx context.Context) error { return views(db, ctx) }},
	} {
		if err := step.do(ctx); err != nil {
			db.Close()
			return nil, db.explain(step.doing, err)
		}
	}
	return db, nil
}

// Dir is the folder for what is too large for memory: that of an embedded
// database, or the one for temporary files.
func (db *DB) Dir() string { return db.engine.dir() }

// Close ends the use of the database. What was committed is safe with or
// without it.
func (db *DB) Close() error {
	var errs []error
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	return errors.Join(append(errs, db.engine.close())...)
}

// Tx is one write transaction.
type Tx struct {
	session
	db  *DB
	ctx context.Context // that of Write, without its end
	// Now is when the transaction began: one time for all that it dates.
	Now time.Time

	named map[string]map[string]int64 // names added by this transaction
	sums  sums                        // what it adds to counters when it ends
}

// Write runs f in a transaction and commits it. Transactions take turns, those of
// other processes included, so that what f reads stays true until it is committed.
// If f returns an error, or panics, nothing of it remains. Statements are not cut
// short when ctx ends, since that would cost the whole transaction; f looks at ctx
// itself where it takes long.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) error {
	return db.transact(ctx, alone, f)
}

// WriteBeside is Write for transactions that are right beside others, where the
// engine can do that: each of their statements decides by itself, by what it finds
// when it runs.
func (db *DB) WriteBeside(ctx context.Context, f func(*Tx) error) error {
	return db.transact(ctx, beside, f)
}

// WriteFacts is Write for transactions that store records as well.
func (db *DB) WriteFacts(ctx context.Context, f func(*Tx) error) error {
	return db.transact(ctx, facing, f)
}

// writeDurably is Write for what must not be lost with the power: the transaction is on
// the disk when it returns (see docs/decisions/0013). Transactions before it are then on
// the disk as well.
func (db *DB) writeDurably(ctx context.Context, f func(*Tx) error) error {
	return db.transact(ctx, durably, f)
}

func (db *DB) transact(ctx context.Context, how writing, f func(*Tx) error) (err error) {
	s, err := db.engine.begin(ctx, how)
	if err != nil {
		return db.explain("beginning a transaction on", err)
	}
	defer func() {
		if s != nil {
			s.rollback()
		}
	}()
	db.trace("begin")
	tx := &Tx{session: s, db: db, ctx: context.WithoutCancel(ctx), Now: db.now().UTC(), named: map[string]map[string]int64{}}
	err = f(tx)
	if err == nil {
		err = tx.flush()
	}
	if err != nil {
		return db.explain("writing to", err)
	}
	db.trace("commit")
	if err := s.commit(); err != nil {
		return db.explain("committing to", err)
	}
	s = nil
	db.remember(tx.named)
	db.trace("committed")
	return nil
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
	return id, db.explain("reading", err)
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
