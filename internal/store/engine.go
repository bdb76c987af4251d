package store

import (
	"context"
	"database/sql"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
)

// engine is what SQLite and PostgreSQL do each in its own way.
type engine interface {
	// open connects, whatever the schema is, and gives the connections for reading.
	open(ctx context.Context, mustExist bool) (read *sql.DB, err error)
	// schema gives what migrations run on.
	schema(ctx context.Context) (on *sql.DB, dialect goose.Dialect, err error)
	// words gives migrations in the engine's words.
	words(migrations fs.FS) fs.FS
	// tables counts the tables: ours is 1 if reeve's list of versions is among them.
	tables(ctx context.Context, on *sql.DB) (ours, all int, err error)
	// ready prepares for use what is up to date.
	ready(ctx context.Context) error
	// begin begins a transaction, when it has its turn.
	begin(ctx context.Context, how writing) (session, error)
	// skipLocked is what a SELECT in a transaction ends with that takes rows: others
	// leave those rows out, and it leaves out theirs.
	skipLocked() string
	// snapshot is for reading several times from one moment.
	snapshot() *sql.TxOptions
	// merge inserts the rows whose keys are not there yet. For a table of facts, or one
	// that is counted, it tells which it has inserted.
	merge(tx *Tx, t *Table, rows [][]any) (inserted []bool, err error)
	// mergeNames inserts the names whose ids are not there yet, and gives the names
	// that stand there for the others.
	mergeNames(tx *Tx, t *NameTable, names []name) (there map[int64]string, err error)
	// stage puts rows where they can be compared with those of their table, as long as
	// the transaction lasts.
	stage(tx *Tx, t *Table, rows [][]any) (name string, err error)
	// byKeys makes what a transaction asks from now on look rows up by their keys.
	byKeys(tx *Tx) error
	// dropMonths drops what is kept of a feed's records where that can be dropped as a
	// whole, and gives the day before which the rest is to be deleted.
	dropMonths(ctx context.Context, tenant int, feed string, before int) (pieces int64, first int, err error)
	// trouble says what a refusal means and what to do about it; nothing if it does
	// not know.
	trouble(err error) (cause, remedy string)
	// passing tells of a refusal that passes by itself: the database does not answer, or
	// not now; or the transaction met another one.
	passing(err error) (away, met bool)
	// look is Look without open; try sees that the database can be written.
	look(ctx context.Context, try bool) (Condition, error)
	// dir is a folder for what is too large for memory.
	dir() string
	close() error
	carer
}

// writing is how a transaction is written.
type writing int

const (
	alone    writing = iota // transactions take turns
	durably                 // the same, and it is on the disk when it is committed
	beside                  // beside others
	keeping                 // beside others, and nobody drops facts until it ends
	facing                  // alone, and nobody drops facts until it ends
	dropping                // alone, and nobody else writes facts until it ends
)

// A session is a transaction that has begun. It ends with commit or rollback.
type session interface {
	exec(query string, args ...any) (int64, error)
	// each runs one statement with each of the arguments in turn, and gives the number
	// of rows that each has changed.
	each(query string, args [][]any) ([]int64, error)
	query(query string, args ...any) (*sql.Rows, error)
	queryRow(query string, args ...any) *sql.Row
	commit() error
	rollback()
}

// newEngine gives the engine for an address, and the address without a password.
func newEngine(address, password string) (e engine, shown string, err error) {
	scheme, rest, _ := strings.Cut(address, ":")
	switch {
	case scheme == "sqlite" && rest != "" && !strings.HasPrefix(rest, ":memory:"):
		return &sqliteEngine{path: rest}, address, nil
	case scheme == "postgres" || scheme == "postgresql":
		return newPostgres(address, password)
	}
	// An address that is none may hold a password all the same.
	if strings.ContainsAny(address, "@=?") {
		address = scheme
	}
	return nil, "", &Error{URL: address, Doing: "opening the database",
		Cause:  "its address is not of the form sqlite:PATH, with the path of a file, nor postgres://HOST/DATABASE",
		Remedy: "set database.url, for example to sqlite:reeve.db"}
}
