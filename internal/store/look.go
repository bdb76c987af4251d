package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Condition is how a database is, as Look finds it.
type Condition struct {
	Schema, Known int64 // the version of its schema, and the newest that this program knows
	Bytes         int64 // of the file, without its journal
	Journal       string
}

// Look opens a database that is there, sees that it can be written, and leaves it as it
// is: its schema is not brought up to date, and what is written is taken back. Errors
// are of type *Error where it is known what they mean.
func Look(ctx context.Context, address string) (c Condition, err error) {
	const doing = "looking at the database"
	path, _ := strings.CutPrefix(address, "sqlite:")
	info, err := os.Stat(path)
	if err != nil {
		return c, explain(address, doing, err)
	}
	c.Bytes = info.Size()
	if c.Known, err = newest(); err != nil {
		return c, err
	}
	// An importing reeve holds the lock for a moment at a time.
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return c, explain(address, doing, err)
	}
	defer db.Close()
	var ours, others int
	if err := db.QueryRowContext(ctx, `SELECT coalesce(sum(name = 'goose_db_version'), 0), count(*) FROM sqlite_master
		WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'`).Scan(&ours, &others); err != nil {
		return c, explain(address, doing, err)
	}
	if ours == 0 && others > 0 {
		return c, &Error{URL: address, Doing: doing, Cause: "it holds the tables of another program",
			Remedy: "set database.url to another file; this one is left as it is"}
	}
	if ours > 0 {
		if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&c.Schema); err != nil {
			return c, explain(address, doing, err)
		}
	}
	if c.Schema > c.Known {
		return c, &Error{URL: address, Doing: doing,
			Cause:  fmt.Sprintf("its schema has version %d, and this reeve knows versions up to %d", c.Schema, c.Known),
			Remedy: "run the newer reeve that made it, or restore the backup from before the upgrade"}
	}
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&c.Journal); err != nil {
		return c, explain(address, doing, err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return c, explain(address, doing, err)
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE reeve_look_%d (n INTEGER)`, time.Now().UnixNano()))
	return c, explain(address, doing, err)
}

// newest is the newest version of the schema that this program knows.
func newest() (int64, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(names) == 0 {
		return 0, errors.Join(errors.New("reading the migrations"), err)
	}
	digits, _, _ := strings.Cut(strings.TrimPrefix(names[len(names)-1], "migrations/"), "_")
	return strconv.ParseInt(digits, 10, 64)
}
