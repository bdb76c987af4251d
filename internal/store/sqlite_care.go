package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

func (*sqliteEngine) condition(context.Context, *sql.DB, *Status) error { return nil }

// sizes counts rows and reads every page: a file knows neither.
func (*sqliteEngine) sizes(ctx context.Context, read *sql.DB) ([]Size, error) {
	rows, err := read.QueryContext(ctx, `SELECT m.tbl_name, sum(CASE WHEN m.type = 'table' THEN s.pgsize ELSE 0 END), sum(CASE WHEN m.type = 'index' THEN s.pgsize ELSE 0 END)
		FROM dbstat('main', 1) s JOIN sqlite_master m ON m.name = s.name
		GROUP BY m.tbl_name ORDER BY sum(s.pgsize) DESC, m.tbl_name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Size
	for rows.Next() {
		var s Size
		if err := rows.Scan(&s.Table, &s.Bytes, &s.Indexes); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i := range all {
		if err := read.QueryRowContext(ctx, `SELECT count(*) FROM `+all[i].Table).Scan(&all[i].Rows); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (*sqliteEngine) integrity(ctx context.Context, read *sql.DB) ([]Checked, error) {
	c := Checked{What: "the file, its pages and indexes (PRAGMA integrity_check)", Remedy: "restore the database from a backup; what the source still holds is imported again"}
	wrong, err := sqliteIntegrity(ctx, read)
	c.judge(int64(len(wrong)), wrong...)
	return []Checked{c}, err
}

// sqliteIntegrity gives what is wrong with a file; nothing if it is whole.
func sqliteIntegrity(ctx context.Context, on *sql.DB) (wrong []string, err error) {
	rows, err := on.QueryContext(ctx, `PRAGMA integrity_check(20)`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		if line != "ok" {
			wrong = append(wrong, line)
		}
	}
	return wrong, rows.Err()
}

// openFile opens a file by itself.
func openFile(path string, options url.Values) (*sql.DB, error) {
	on, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+options.Encode())
	if err == nil {
		on.SetMaxOpenConns(1)
	}
	return on, err
}

// newFile makes an empty file for this user alone, beside the name that it is to have.
func newFile(name string) (part string, err error) {
	if _, err := os.Lstat(name); err == nil {
		return "", &Error{Doing: "writing a backup of", Cause: name + " is there already", Remedy: "give another name, or move that file away"}
	}
	part = name + ".part"
	os.Remove(part) // one that is left of a backup that was killed is of no use
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", &Error{Doing: "writing a backup of", Cause: name + " cannot be made", Remedy: "give a file in a folder that is there and in which this user may write", Err: err}
	}
	return part, f.Close()
}

// settle gives a file that is written its name, so that it survives a loss of power.
func settle(part, name string) error {
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err // where folders can be synced at all
	}
	return nil
}

func (e *sqliteEngine) backup(ctx context.Context, file string) (Copy, error) {
	part, err := newFile(file)
	if err != nil {
		return Copy{}, err
	}
	defer os.Remove(part)
	from, err := openFile(e.path, url.Values{"mode": {"rw"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout)}})
	if err != nil {
		return Copy{}, err
	}
	defer from.Close()
	if _, err := from.ExecContext(ctx, `VACUUM INTO $1`, part); err != nil {
		return Copy{}, err
	}
	c, err := e.copyOf(ctx, part)
	if err != nil {
		return c, err
	}
	c.File = file
	return c, settle(part, file)
}

// copyOf reads the whole of the copy.
func (e *sqliteEngine) copyOf(ctx context.Context, file string) (c Copy, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return c, err
	}
	c = Copy{File: file, Bytes: info.Size(), Tables: map[string]int64{}}
	// Nobody writes to it, and nothing is to lie beside it.
	on, err := openFile(file, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	if err != nil {
		return c, err
	}
	defer on.Close()
	wrong, err := sqliteIntegrity(ctx, on)
	if err != nil {
		return c, err
	}
	if len(wrong) > 0 {
		return c, fmt.Errorf("%s is damaged: %s", file, wrong[0])
	}
	ours, _, err := sqliteTables(ctx, on)
	if err != nil || ours == 0 {
		return c, err
	}
	if err := on.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&c.Schema); err != nil {
		return c, err
	}
	var names []string
	rows, err := on.QueryContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'`)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return c, err
		}
		names = append(names, name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return c, err
	}
	for _, name := range names {
		var n int64
		if err := on.QueryRowContext(ctx, `SELECT count(*) FROM `+name).Scan(&n); err != nil {
			return c, err
		}
		c.Tables[name] = n
	}
	if _, ok := c.Tables["tenants"]; !ok {
		return c, nil
	}
	tenants, err := on.QueryContext(ctx, `SELECT tenant_guid FROM tenants ORDER BY id`)
	if err != nil {
		return c, err
	}
	defer tenants.Close()
	for tenants.Next() {
		var id string
		if err := tenants.Scan(&id); err != nil {
			return c, err
		}
		c.Tenants = append(c.Tenants, id)
	}
	return c, tenants.Err()
}

// restore copies the backup beside the database, and gives it the name in one step. At
// each moment there is one of the two under it, and the old one is never without a name.
func (e *sqliteEngine) restore(ctx context.Context, file string, now time.Time) (aside string, err error) {
	part := e.path + ".part"
	if err := copyFile(part, file); err != nil {
		return "", err
	}
	defer os.Remove(part)
	if _, err := os.Stat(e.path); errors.Is(err, fs.ErrNotExist) {
		return "", settle(part, e.path)
	} else if err != nil {
		return "", err
	}
	free, err := e.seize(ctx)
	if err != nil {
		return "", err
	}
	defer free()
	aside = e.path + ".before-" + now.UTC().Format("20060102T150405")
	for _, end := range []string{"", "-wal", "-shm"} { // the last two are there only if the file is damaged
		if err := os.Link(e.path+end, aside+end); err != nil && (end == "" || !errors.Is(err, fs.ErrNotExist)) {
			return "", fmt.Errorf("keeping what is there aside: %w", err)
		}
		if end != "" {
			os.Remove(e.path + end)
		}
	}
	return aside, settle(part, e.path)
}

// seize has the database for itself, with all that was committed in the one file, until
// it is freed. A file that is damaged is left as it is.
func (e *sqliteEngine) seize(ctx context.Context) (free func(), err error) {
	on, err := openFile(e.path, url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(2000)"}})
	if err != nil {
		return nil, err
	}
	free = func() { on.Close() }
	// To leave the journal that is written ahead SQLite wants nobody else to be there.
	for _, query := range []string{"PRAGMA journal_mode = delete", "BEGIN EXCLUSIVE"} {
		if _, err := on.ExecContext(ctx, query); err != nil {
			cause, _ := e.trouble(err)
			switch cause {
			case "the file is damaged", "the file is not an SQLite database":
				return free, nil
			}
			free()
			if isBusy(err) {
				return nil, inUse("restoring", "another program")
			}
			return nil, err
		}
	}
	return free, nil
}

// copyFile copies a file for this user alone, over what is there.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	os.Remove(to)
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// dropMonth is not how a file does it: its pages are used again.
func (*sqliteEngine) dropMonth(*Tx, int, int) (bool, error) { return false, nil }

func (*sqliteEngine) before(older time.Time) int { return Day(older) }

func (*sqliteEngine) patience(context.Context, *sql.Tx) error { return nil }

func (*sqliteEngine) replaceView(tx *Tx, name, create string) error {
	if _, err := tx.exec("DROP VIEW IF EXISTS " + name); err != nil {
		return err
	}
	_, err := tx.exec(create)
	return err
}
