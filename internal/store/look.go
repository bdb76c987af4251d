package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Condition is how a database is, as Look finds it.
type Condition struct {
	Engine        string // with its version
	Schema, Known int64  // the version of its schema, and the newest that this program knows
	Bytes         int64  // of the file, without its journal, or of the database
	Journal       string // SQLite's
}

// Look opens a database that is there, sees that it can be written, and leaves it as it
// is: its schema is not brought up to date, and what is written is taken back. Errors
// are of type *Error where it is known what they mean. The password is as in [Options].
func Look(ctx context.Context, address, password string) (c Condition, err error) {
	e, shown, err := newEngine(address, password)
	if err != nil {
		return c, err
	}
	defer e.close()
	c, err = e.look(ctx, true)
	return c, explain(e, shown, looking, err)
}

const looking = "looking at the database"

// version reads and judges the version of the schema. ours and all are of [engine.tables].
func (c *Condition) version(ctx context.Context, on *sql.DB, ours, all int) (err error) {
	if c.Known, err = newest(); err != nil {
		return err
	}
	if ours == 0 && all > 0 {
		return strangers(looking)
	}
	if ours > 0 {
		if err := on.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&c.Schema); err != nil {
			return err
		}
	}
	if c.Schema > c.Known {
		return newer(looking, c.Schema, c.Known)
	}
	return nil
}

// roomNeeded is what a database has to have room for to count as one that can be written.
const roomNeeded = 256 << 10

// tryWriting makes a table with a row that needs room, and takes it back. The connection's
// cache must not have room for the row: it is to reach the disk.
func tryWriting(ctx context.Context, on *sql.DB) error {
	tx, err := on.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	table := fmt.Sprintf("reeve_look_%d", time.Now().UnixNano())
	if _, err := tx.ExecContext(ctx, `CREATE TABLE `+table+` (row BYTEA)`); err != nil {
		return err
	}
	row := make([]byte, roomNeeded)
	rand.Read(row) // what cannot be compressed; it never fails
	_, err = tx.ExecContext(ctx, `INSERT INTO `+table+` VALUES ($1)`, row)
	return err
}

// newest is the newest version of the schema that this program knows.
func newest() (int64, error) {
	names, err := fs.Glob(migrationFiles, "*.sql")
	if err != nil || len(names) == 0 {
		return 0, errors.Join(errors.New("reading the migrations"), err)
	}
	return versionOf(names[len(names)-1])
}

// versionOf is the number of a migration.
func versionOf(name string) (int64, error) {
	digits, _, _ := strings.Cut(name, "_")
	return strconv.ParseInt(digits, 10, 64)
}
