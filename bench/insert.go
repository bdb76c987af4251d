package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	_ "modernc.org/sqlite" // the bare driver

	"github.com/reeve365/reeve/internal/store"
)

const (
	// insertRecords is of how many records the rows are decoded beforehand and
	// then inserted in one transaction.
	insertRecords = 10_000
	// insertRows is how many rows one statement inserts: the number that costs
	// least. The driver looks for each parameter's value among all of them, so
	// that the cost grows with their square.
	insertRows = 3
)

// insert puts the rows that the records give into plain tables of the same
// columns, types and keys as reeve's: without the records' text, without a
// ledger, without a look at what is there already. Decoding does not count.
func insert(ctx context.Context, j job) (outcome, error) {
	m, err := newRowMaker(ctx, j.Dir)
	if err != nil {
		return outcome{}, err
	}
	defer m.db.Close()
	in, err := newInserter(ctx, filepath.Join(j.Dir, "plain.db"), databasePath(j.Dir))
	if err != nil {
		return outcome{}, err
	}
	var records int
	var size int64
	put := func(b *store.Batch) error {
		records += b.Records
		runtime.GC() // what decoding has left behind is not to be paid for here
		in.watch.start()
		defer in.watch.stop()
		return in.transaction(ctx, b.Tables())
	}
	b := m.batch()
	err = corpus(j.Corpus).each(func(_ blobHead, body []byte) error {
		size += int64(len(body))
		return m.decode(body, func() (*store.Batch, error) {
			if b.Records < insertRecords {
				return b, nil
			}
			full := b
			b = m.batch()
			return b, put(full)
		})
	})
	if err == nil {
		err = put(b)
	}
	in.watch.start()
	err = errors.Join(err, in.Close()) // writes what is still in the journal
	in.watch.stop()
	return in.watch.outcome(records, size), err
}

// An inserter writes rows by database/sql and nothing else.
type inserter struct {
	db         *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	watch      stopwatch
}

// newInserter makes a database with the tables for the audit feed's rows, as they
// are in the database of reeve's at model.
func newInserter(ctx context.Context, path, model string) (_ *inserter, err error) {
	in := &inserter{statements: map[string]*sql.Stmt{}}
	in.db, err = sql.Open("sqlite", "file:"+path+
		"?_pragma=page_size(16384)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=cache_size(-32768)")
	if err != nil {
		return nil, err
	}
	if in.conn, err = in.db.Conn(ctx); err == nil {
		err = in.copyTables(ctx, model)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

func (in *inserter) copyTables(ctx context.Context, model string) error {
	db, err := sql.Open("sqlite", "file:"+model)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT sql FROM sqlite_master WHERE type = 'table'
		AND (name IN ('audit_events', 'ignored_audit_events') OR name LIKE 'event_meta_%' OR name LIKE 'event_copilot_%')`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		if _, err := in.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Close closes the database.
func (in *inserter) Close() error {
	var err error
	for _, s := range in.statements {
		err = errors.Join(err, s.Close())
	}
	if in.conn != nil {
		err = errors.Join(err, in.conn.Close())
	}
	return errors.Join(err, in.db.Close())
}

// transaction inserts rows.
func (in *inserter) transaction(ctx context.Context, tables []*store.Rows) error {
	if _, err := in.conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	for _, rows := range tables {
		if err := in.insert(ctx, rows); err != nil {
			return err
		}
	}
	_, err := in.conn.ExecContext(ctx, "COMMIT")
	return err
}

func (in *inserter) insert(ctx context.Context, rows *store.Rows) error {
	var args []any
	for at := 0; at < rows.Len(); {
		n := insertRows
		if n > rows.Len()-at {
			n = 1
		}
		stmt, err := in.prepare(ctx, rows.Table, n)
		if err != nil {
			return err
		}
		args = args[:0]
		for i := range n {
			args = append(args, rows.Row(at+i)...)
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return fmt.Errorf("inserting into %s: %w", rows.Table.Name, err)
		}
		at += n
	}
	return nil
}

// prepare gives a statement that inserts n rows.
func (in *inserter) prepare(ctx context.Context, t *store.Table, n int) (*sql.Stmt, error) {
	key := fmt.Sprint(t.Name, n)
	if s, ok := in.statements[key]; ok {
		return s, nil
	}
	row := "(?" + strings.Repeat(",?", len(t.Columns)-1) + ")"
	s, err := in.conn.PrepareContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES %s%s",
		t.Name, strings.Join(t.Columns, ", "), row, strings.Repeat(","+row, n-1)))
	if err == nil {
		in.statements[key] = s
	}
	return s, err
}
