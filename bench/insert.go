package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"
	_ "modernc.org/sqlite" // the bare driver

	"github.com/reeve365/reeve/internal/store"
)

const (
	// insertRecords is of how many records the rows are decoded beforehand and
	// then inserted in one transaction.
	insertRecords = 10_000
	// insertRows is how many rows one statement of SQLite inserts: the number that
	// costs least. The driver looks for each parameter's value among all of them, so
	// that the cost grows with their square.
	insertRows = 3
)

// insert puts the rows that the records give into plain tables of the same
// columns, types and keys as reeve's: without the records' text, without a
// ledger, without a look at what is there already. Decoding does not count.
func insert(ctx context.Context, j job) (outcome, error) { return insertAll(ctx, j, false, false) }

// insertTexts is insert with the records' text as well, compressed in pieces as
// long as reeve's. Compressing counts.
func insertTexts(ctx context.Context, j job) (outcome, error) { return insertAll(ctx, j, true, false) }

// mergeTexts is insertTexts into PostgreSQL so that no row would be there twice if it were
// done again: by way of temporary tables, from which rows that are new are taken.
func mergeTexts(ctx context.Context, j job) (outcome, error) { return insertAll(ctx, j, true, true) }

// contents are the columns for texts, as in the table of that name.
var contents = &store.Table{Name: "contents", Columns: []string{"tenant_id", "day", "id", "feed", "part", "blob", "bytes", "data"}}

func insertAll(ctx context.Context, j job, texts, merge bool) (outcome, error) {
	m, err := newRowMaker(ctx, j.Dir)
	if err != nil {
		return outcome{}, err
	}
	defer m.db.Close()
	var in inserter
	if strings.HasPrefix(j.Database, "sqlite:") {
		in, err = newSQLite(ctx, filepath.Join(j.Dir, "plain.db"), filepath.Join(j.Dir, "rows.db"))
	} else {
		in, err = newPostgres(ctx, j.Database, merge)
	}
	if err != nil {
		return outcome{}, err
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(pieceBytes))
	if err != nil {
		return outcome{}, err
	}
	var watch stopwatch
	var records int
	var size, piece int64
	var text []byte      // of the piece that is collected
	var waiting [][]byte // pieces to be compressed and inserted
	put := func(b *store.Batch) error {
		records += b.Records
		tables := b.Tables()
		in.prepare(tables)
		runtime.GC() // what decoding has left behind is not to be paid for here
		watch.start()
		defer watch.stop()
		if texts {
			rows := store.NewRows(contents, len(waiting))
			for _, t := range waiting {
				piece++
				rows.Add(1, store.Day(time.Now()), piece, "audit", "Audit.General", fmt.Sprint("blob ", piece), len(t), encoder.EncodeAll(t, nil))
			}
			waiting = nil
			tables = append(tables, rows)
		}
		return in.transaction(ctx, tables)
	}
	b := m.batch()
	err = corpus(j.Corpus).each(func(_ blobHead, body []byte) error {
		size += int64(len(body))
		err := m.decode(body, func(record []byte) (*store.Batch, error) {
			full := b
			if b.Records >= insertRecords {
				b = m.batch()
				if err := put(full); err != nil {
					return nil, err
				}
			}
			if texts {
				text = append(append(text, record...), '\n')
			}
			if len(text) >= pieceBytes {
				waiting, text = append(waiting, text), nil
			}
			return b, nil
		})
		// A piece is of one blob.
		if len(text) > 0 {
			waiting, text = append(waiting, text), nil
		}
		return err
	})
	if err == nil {
		err = put(b)
	}
	watch.start()
	err = errors.Join(err, in.Close()) // writes what is still in the journal
	watch.stop()
	return watch.outcome(records, size), err
}

// An inserter writes rows by the bare driver.
type inserter interface {
	// prepare turns values into what the driver takes fastest. It does not count.
	prepare(tables []*store.Rows)
	transaction(ctx context.Context, tables []*store.Rows) error
	Close() error
}

// sqliteInserter writes rows by database/sql and nothing else.
type sqliteInserter struct {
	db         *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

// newSQLite makes a database with the tables for the audit feed's rows, as they
// are in the database of reeve's at model.
func newSQLite(ctx context.Context, path, model string) (_ inserter, err error) {
	in := &sqliteInserter{statements: map[string]*sql.Stmt{}}
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

func (in *sqliteInserter) copyTables(ctx context.Context, model string) error {
	db, err := sql.Open("sqlite", "file:"+model)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT sql FROM sqlite_master WHERE sql IS NOT NULL
		AND (tbl_name IN ('audit_events', 'ignored_audit_events', 'contents') OR tbl_name LIKE 'event_meta_%' OR tbl_name LIKE 'event_copilot_%')
		ORDER BY type DESC`) // tables before their indexes
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

func (in *sqliteInserter) prepare([]*store.Rows) {}

func (in *sqliteInserter) Close() error {
	var err error
	for _, s := range in.statements {
		err = errors.Join(err, s.Close())
	}
	if in.conn != nil {
		err = errors.Join(err, in.conn.Close())
	}
	return errors.Join(err, in.db.Close())
}

func (in *sqliteInserter) transaction(ctx context.Context, tables []*store.Rows) error {
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

func (in *sqliteInserter) insert(ctx context.Context, rows *store.Rows) error {
	var args []any
	for at := 0; at < rows.Len(); {
		n := insertRows
		if n > rows.Len()-at {
			n = 1
		}
		stmt, err := in.statement(ctx, rows.Table, n)
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

// statement gives one that inserts n rows.
func (in *sqliteInserter) statement(ctx context.Context, t *store.Table, n int) (*sql.Stmt, error) {
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

// postgresInserter copies rows straight into the tables, by COPY and nothing else; or into
// temporary ones, to merge them from there.
type postgresInserter struct {
	conn  *pgx.Conn
	merge bool
}

// newPostgres makes reeve's tables in an empty database, with one partition for all days.
func newPostgres(ctx context.Context, address string, merge bool) (inserter, error) {
	db, err := store.Open(ctx, address, store.Options{})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	in := &postgresInserter{merge: merge}
	if in.conn, err = pgx.Connect(ctx, address); err != nil {
		return nil, err
	}
	_, err = in.conn.Exec(ctx, `DO $$ DECLARE t text; BEGIN
		FOR t IN SELECT partrelid::regclass::text FROM pg_partitioned_table LOOP
			EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (MINVALUE) TO (MAXVALUE)', t || '_all', t);
			EXECUTE format('CREATE TEMPORARY TABLE %I (LIKE %I) ON COMMIT DELETE ROWS', 'new_' || t, t);
		END LOOP; END $$`)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

func (in *postgresInserter) Close() error { return in.conn.Close(context.Background()) }

// prepare makes times of texts that are times: the driver would do so for each.
func (in *postgresInserter) prepare(tables []*store.Rows) {
	for _, rows := range tables {
		for c, name := range rows.Table.Columns {
			if name != "time_stamp" {
				continue
			}
			for i := range rows.Len() {
				if text, ok := rows.Row(i)[c].(string); ok {
					if t, err := time.Parse("2006-01-02 15:04:05.000", text); err == nil {
						rows.Row(i)[c] = t
					}
				}
			}
		}
	}
}

func (in *postgresInserter) transaction(ctx context.Context, tables []*store.Rows) error {
	tx, err := in.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	for _, rows := range tables {
		name := rows.Table.Name
		if in.merge {
			name = "new_" + name
		}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{name}, rows.Table.Columns,
			pgx.CopyFromSlice(rows.Len(), func(i int) ([]any, error) { return rows.Row(i), nil })); err != nil {
			return fmt.Errorf("copying into %s: %w", name, err)
		}
		if !in.merge {
			continue
		}
		columns := strings.Join(rows.Table.Columns, ", ")
		if _, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s ON CONFLICT DO NOTHING", rows.Table.Name, columns, columns, name)); err != nil {
			return fmt.Errorf("merging into %s: %w", rows.Table.Name, err)
		}
	}
	return tx.Commit(ctx)
}
