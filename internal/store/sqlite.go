package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// busyTimeout is how long a statement waits for another program's lock, in
// milliseconds.
const busyTimeout = 10000

// openSQLite opens the file at path for one writer and several readers.
//
// Pages are 16 KiB, since rows of contents are tens of KiB; the cache of 16 MiB
// takes twice that, since the driver rounds each page up to a power of two. The journal is
// written ahead, so that readers never wait for the writer. It is synced at
// checkpoints: a crash of reeve loses nothing, and a loss of power loses at
// most the newest transactions whole, ledger and rows together, which the next
// run imports again.
func (db *DB) openSQLite(ctx context.Context, path string) error {
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	// SQLite would make the file readable by everybody; it holds what people do.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
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
	db.write, err = open("synchronous(normal)", "cache_size(-16384)", "temp_store(memory)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)")
	if err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	// In this order: a file that has its journal has its pages, and the driver
	// would set the journal first.
	for _, pragma := range []string{"PRAGMA page_size = 16384", "PRAGMA journal_mode = wal"} {
		// To change the journal SQLite wants the file for itself, and does not wait.
		var err error
		for attempt := 0; attempt < 20; attempt++ {
			if _, err = db.write.ExecContext(ctx, pragma); err == nil || ctx.Err() != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			return err
		}
	}
	db.read, err = open("query_only(1)", "cache_size(-8192)")
	if err != nil {
		return err
	}
	db.read.SetMaxOpenConns(4)
	return nil
}

// sqliteTrouble says what a refusal by SQLite means and what to do about it.
func sqliteTrouble(err error) (cause, remedy string) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return "", ""
	}
	switch e.Code() & 0xff { // the primary code; the rest is detail
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
