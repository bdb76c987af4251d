package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// busyTimeout is how long a statement waits for another program's lock, in
// milliseconds.
const busyTimeout = 10000

// sqliteEngine is a file, with one connection that writes and several that read.
type sqliteEngine struct {
	path  string
	write *sql.DB // for the one connection that writes

	writing    sync.Mutex // held by a session; guards conn and statements
	conn       *sql.Conn
	statements map[string]*sql.Stmt // of conn, by their text
}

func (e *sqliteEngine) dir() string { return filepath.Dir(e.path) }

// open opens the file for one writer and several readers.
//
// Pages are 16 KiB, since rows of contents are tens of KiB; the cache of 8 MiB
// takes twice that, since the driver rounds each page up to a power of two. The journal is
// written ahead, so that readers never wait for the writer. It is synced at
// checkpoints: a crash of reeve loses nothing, and a loss of power loses at
// most the newest transactions whole, ledger and rows together, which the next
// run imports again.
func (e *sqliteEngine) open(ctx context.Context, mustExist bool) (read *sql.DB, err error) {
	path := e.path
	if _, err := os.Stat(path); mustExist && errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Doing: "opening the database", Cause: "there is none",
			Remedy: "look at database.url, or run 'reeve import run --once', which makes it"}
	}
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	// SQLite would make the file readable by everybody; it holds what people do.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, err
	}
	f.Close()
	open := func(pragmas ...string) (*sql.DB, error) {
		q := url.Values{"_txlock": {"immediate"}}
		q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout))
		for _, p := range pragmas {
			q.Add("_pragma", p)
		}
		return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	}
	e.write, err = open("synchronous(normal)", "cache_size(-8192)", "temp_store(memory)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)")
	if err != nil {
		return nil, err
	}
	e.write.SetMaxOpenConns(1)
	// In this order: a file that has its journal has its pages, and the driver
	// would set the journal first.
	for _, pragma := range []string{"PRAGMA page_size = 16384", "PRAGMA journal_mode = wal"} {
		// To change the journal SQLite wants the file for itself, and does not wait.
		var err error
		for attempt := 0; attempt < 20; attempt++ {
			if _, err = e.write.ExecContext(ctx, pragma); err == nil || ctx.Err() != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			return nil, err
		}
	}
	read, err = open("query_only(1)", "cache_size(-2048)")
	if err != nil {
		return nil, err
	}
	read.SetMaxOpenConns(4)
	return read, nil
}

func (e *sqliteEngine) schema(context.Context) (*sql.DB, goose.Dialect, error) {
	return e.write, goose.DialectSQLite3, nil
}

func (*sqliteEngine) words(migrations fs.FS) fs.FS { return migrations }

func (*sqliteEngine) tables(ctx context.Context, on *sql.DB) (ours, all int, err error) {
	return sqliteTables(ctx, on)
}

func sqliteTables(ctx context.Context, on *sql.DB) (ours, all int, err error) {
	err = on.QueryRowContext(ctx, `SELECT coalesce(sum(name = 'goose_db_version'), 0), count(*) FROM sqlite_master
		WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'`).Scan(&ours, &all)
	return ours, all, err
}

// ready takes the one connection that writes, for as long as the database is open.
func (e *sqliteEngine) ready(ctx context.Context) (err error) {
	e.conn, err = e.write.Conn(ctx)
	e.statements = map[string]*sql.Stmt{}
	return err
}

func (e *sqliteEngine) close() error {
	e.writing.Lock()
	defer e.writing.Unlock()
	for _, s := range e.statements {
		s.Close()
	}
	e.statements = nil
	if e.conn != nil {
		e.conn.Close()
		e.conn = nil
	}
	if e.write == nil {
		return nil
	}
	return e.write.Close()
}

// skipLocked is nothing: there is one writer.
func (e *sqliteEngine) skipLocked() string { return "" }

func (e *sqliteEngine) snapshot() *sql.TxOptions { return &sql.TxOptions{ReadOnly: true} }

// begin waits for its turn: SQLite has one writer, whatever is asked for.
func (e *sqliteEngine) begin(ctx context.Context, how writing) (_ session, err error) {
	e.writing.Lock()
	s := &sqliteSession{engine: e, ctx: context.WithoutCancel(ctx)}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if e.conn == nil {
		return nil, sql.ErrConnDone
	}
	if how == durably {
		if _, err := s.exec("PRAGMA synchronous = full"); err != nil {
			return nil, err
		}
		s.durable = true
	}
	if _, err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}
	return s, nil
}

// sqliteSession is a transaction on the connection that writes.
type sqliteSession struct {
	engine  *sqliteEngine
	ctx     context.Context
	durable bool
}

// end gives the connection to the next one.
func (s *sqliteSession) end() {
	if s.durable {
		s.exec("PRAGMA synchronous = normal")
	}
	s.engine.writing.Unlock()
}

func (s *sqliteSession) commit() error {
	if _, err := s.exec("COMMIT"); err != nil {
		return err
	}
	s.end()
	return nil
}

func (s *sqliteSession) rollback() {
	s.exec("ROLLBACK")
	s.end()
}

// exec runs a statement, which is prepared once for the life of the database,
// and gives the number of rows it has changed.
func (s *sqliteSession) exec(query string, args ...any) (int64, error) {
	stmt, ok := s.engine.statements[query]
	if !ok {
		var err error
		if stmt, err = s.engine.conn.PrepareContext(s.ctx, query); err != nil {
			return 0, err
		}
		s.engine.statements[query] = stmt
	}
	res, err := stmt.ExecContext(s.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s *sqliteSession) each(query string, args [][]any) (changed []int64, err error) {
	changed = make([]int64, len(args))
	for i, a := range args {
		if changed[i], err = s.exec(query, a...); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

func (s *sqliteSession) query(query string, args ...any) (*sql.Rows, error) {
	return s.engine.conn.QueryContext(s.ctx, query, args...)
}

func (s *sqliteSession) queryRow(query string, args ...any) *sql.Row {
	return s.engine.conn.QueryRowContext(s.ctx, query, args...)
}

// merge runs one statement a row. SQLite's driver looks for each parameter among
// all, so that statements of many rows cost more than they save.
func (e *sqliteEngine) merge(tx *Tx, t *Table, rows [][]any) (inserted []bool, err error) {
	added, err := tx.each(fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s?) ON CONFLICT (%s) DO NOTHING",
		t.Name, strings.Join(t.Columns, ", "), strings.Repeat("?, ", len(t.Columns)-1), strings.Join(t.Columns[:t.Key], ", ")), rows)
	inserted = make([]bool, len(added))
	for i, n := range added {
		inserted[i] = n == 1
	}
	return inserted, err
}

// stage fills a table of the connection that writes; it is in memory.
func (e *sqliteEngine) stage(tx *Tx, t *Table, rows [][]any) (name string, err error) {
	name = "stage_" + t.Name
	for _, query := range []string{
		fmt.Sprintf("CREATE TEMP TABLE IF NOT EXISTS %s AS SELECT * FROM %s WHERE false", name, t.Name),
		"DELETE FROM " + name,
	} {
		if _, err := tx.exec(query); err != nil {
			return "", err
		}
	}
	_, err = tx.each(fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s?)", name,
		strings.Join(t.Columns, ", "), strings.Repeat("?, ", len(t.Columns)-1)), rows)
	return name, err
}

// byKeys has nothing to do: SQLite has no other way.
func (*sqliteEngine) byKeys(*Tx) error { return nil }

func (e *sqliteEngine) mergeNames(tx *Tx, t *NameTable, names []name) (there map[int64]string, err error) {
	there = map[int64]string{}
	for _, n := range names {
		added, err := tx.exec(fmt.Sprintf(`INSERT INTO %s (id, %s) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, t.Name, t.Column), n.id, n.text)
		if err != nil {
			return nil, err
		}
		if added == 0 {
			var have string
			if err := tx.queryRow(fmt.Sprintf(`SELECT %s FROM %s WHERE id = $1`, t.Column, t.Name), n.id).Scan(&have); err != nil {
				return nil, err
			}
			there[n.id] = have
		}
	}
	return there, nil
}

// look sees that the file can be written, without bringing it up to date.
func (e *sqliteEngine) look(ctx context.Context, try bool) (c Condition, err error) {
	info, err := os.Stat(e.path)
	if err != nil {
		return c, err
	}
	c.Bytes = info.Size()
	// An importing reeve holds the lock for a moment at a time.
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "cache_size(2)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: e.path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return c, err
	}
	defer db.Close()
	ours, all, err := sqliteTables(ctx, db)
	if err == nil {
		err = c.version(ctx, db, ours, all)
	}
	if err != nil {
		return c, err
	}
	if err := db.QueryRowContext(ctx, `SELECT 'SQLite ' || sqlite_version()`).Scan(&c.Engine); err != nil {
		return c, err
	}
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&c.Journal); err != nil {
		return c, err
	}
	if !try {
		return c, nil
	}
	return c, tryWriting(ctx, db)
}

func (*sqliteEngine) passing(err error) (away, met bool) {
	var refusal *sqlite.Error
	return errors.As(err, &refusal) && (refusal.Code()&0xff == sqlite3.SQLITE_BUSY || refusal.Code()&0xff == sqlite3.SQLITE_LOCKED), false
}

func (*sqliteEngine) trouble(err error) (cause, remedy string) {
	var refusal *sqlite.Error
	if !errors.As(err, &refusal) {
		return "", ""
	}
	switch refusal.Code() & 0xff { // the primary code; the rest is detail
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Sprintf("another program has held it locked for more than %d s", busyTimeout/1000),
			"end the other program (a second reeve, a database browser with an open change) and run the command again"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return "it may not be written", "give this user the right to write the file and its folder, or set database.url to another place"
	case sqlite3.SQLITE_FULL:
		return "there is no room left for it", "make room on the disk, then run the command again: nothing half written remains"
	case sqlite3.SQLITE_CANTOPEN:
		return "the file or its folder cannot be opened", "check that the folder of database.url exists and may be written"
	case sqlite3.SQLITE_NOTADB:
		return "the file is not an SQLite database", "set database.url to another file; this one is left as it is"
	case sqlite3.SQLITE_CORRUPT:
		return "the file is damaged", "restore it from a backup; what the source still holds is imported again"
	case sqlite3.SQLITE_IOERR:
		return "the disk refused to read or write it", "check the disk and its free room, then run the command again"
	}
	return "", ""
}

func isBusy(err error) bool {
	var refusal *sqlite.Error
	return errors.As(err, &refusal) && (refusal.Code()&0xff == sqlite3.SQLITE_BUSY || refusal.Code()&0xff == sqlite3.SQLITE_LOCKED)
}
