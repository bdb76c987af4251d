package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// An engine is a kind of database to measure with.
type engine struct {
	name   string
	server *storetest.Server // nil for SQLite
}

// engines gives the engines of the names. A PostgreSQL server syncs each commit to the
// disk, as one does that is in use; it is given the memory that a small one has. On
// request it notes what each statement takes, which takes time itself.
func engines(names []string, statements bool) ([]*engine, error) {
	var all []*engine
	settings := []string{"fsync = on", "full_page_writes = on", "shared_buffers = '512MB'", "max_wal_size = '4GB'"}
	if statements {
		settings = append(settings, "shared_preload_libraries = 'pg_stat_statements'", "pg_stat_statements.track = all", "pg_stat_statements.track_planning = on")
	}
	for _, name := range names {
		e := &engine{name: name}
		switch name {
		case "sqlite":
		case "postgres":
			var err error
			if e.server, err = storetest.Launch(settings...); err != nil {
				return nil, fmt.Errorf("starting PostgreSQL: %w", err)
			}
		default:
			return nil, fmt.Errorf("there is no engine %q: want sqlite, postgres", name)
		}
		all = append(all, e)
	}
	return all, nil
}

func closeEngines(all []*engine) error {
	var errs []error
	for _, e := range all {
		if e.server != nil {
			errs = append(errs, e.server.Close())
		}
	}
	return errors.Join(errs...)
}

// database makes the address of an empty database, which may use the folder.
func (e *engine) database(dir string) (address string, drop func() error, err error) {
	if e.server == nil {
		return "sqlite:" + filepath.Join(dir, "reeve.db"), func() error { return nil }, nil
	}
	return e.server.Make()
}

// used is the processor time that the server has spent until now; nothing for an
// engine without one. A process of the server that has just ended is counted by its
// parent.
func (e *engine) used() (time.Duration, error) {
	if e.server == nil {
		return 0, nil
	}
	pid, err := e.server.PID()
	if err != nil {
		return 0, err
	}
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(folders) == 0 {
		return 0, errors.Join(errors.New("this system does not say what a server has used"), err)
	}
	var ticks int64
	for _, folder := range folders {
		text, err := os.ReadFile(filepath.Join(folder, "stat"))
		if errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no such process") {
			continue
		}
		if err != nil {
			return 0, err
		}
		// After the name, which may hold anything: state, parent, … see proc(5).
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		at := func(n int) int64 { v, _ := strconv.ParseInt(fields[n-3], 10, 64); return v }
		switch {
		case filepath.Base(folder) == strconv.Itoa(pid):
			ticks += at(14) + at(15) + at(16) + at(17)
		case at(4) == int64(pid):
			ticks += at(14) + at(15)
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// ticksPerSecond is what Linux counts processor time in, for programs.
const ticksPerSecond = 100

// statements writes what the server's statements have taken in a database, those first
// that took longest; it does nothing for an engine without a server.
func (e *engine) statements(ctx context.Context, address, path string) error {
	if e.server == nil {
		return nil
	}
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `CREATE EXTENSION pg_stat_statements`); err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, `SELECT calls, rows, round(total_exec_time), round(total_plan_time), regexp_replace(query, '\s+', ' ', 'g')
		FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		ORDER BY total_exec_time + total_plan_time DESC`)
	if err != nil {
		return err
	}
	defer rows.Close()
	out := []byte("   calls     rows   ms executing   planning  statement\n")
	for rows.Next() {
		var calls, n int64
		var executing, planning float64
		var query string
		if err := rows.Scan(&calls, &n, &executing, &planning, &query); err != nil {
			return err
		}
		out = fmt.Appendf(out, "%8d %8d %14.0f %10.0f  %.300s\n", calls, n, executing, planning, query)
	}
	return errors.Join(rows.Err(), os.WriteFile(path, out, 0o644))
}

// size is the length of a database in bytes.
func (e *engine) size(ctx context.Context, address string) (n int64, err error) {
	if e.server == nil {
		info, err := os.Stat(strings.TrimPrefix(address, "sqlite:"))
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	db, err := sql.Open("pgx", address)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "SELECT pg_database_size(current_database())").Scan(&n)
	return n, err
}
