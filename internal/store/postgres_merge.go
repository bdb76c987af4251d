package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// merge copies the rows straight into the table, in the order of their keys, so that no
// two transactions wait for each other crosswise. That fails as a whole if one key is
// there: then it asks which are, and copies the others; and if another transaction has
// been quicker even so, rows go by a staging table, which never fails and costs twice as
// much.
func (e *postgresEngine) merge(tx *Tx, t *Table, rows [][]any) (inserted []bool, err error) {
	s := tx.session.(*postgresSession)
	if i := slices.Index(t.Columns, "day"); i >= 0 {
		if err := e.keepMonths(s); err != nil {
			return nil, err
		}
		if err := e.partition(tx.ctx, t, i, rows); err != nil {
			return nil, err
		}
	}
	fresh := inOrder(t, rows)
	told := t.Facts || t.Counted
	for looked := false; ; looked = true {
		if told && (looked || e.doubts(t, len(fresh) < len(rows))) {
			before := len(fresh)
			if fresh, err = e.notThere(tx, t, rows, fresh); err != nil {
				return nil, err
			}
			e.learn(t, len(fresh) < before)
			looked = true
		}
		done, err := s.copyNew(e, t, rows, fresh)
		if err != nil {
			return nil, err
		}
		if done {
			inserted = make([]bool, len(rows))
			for _, i := range fresh {
				inserted[i] = true
			}
			return inserted, nil
		}
		if looked || !told {
			return e.mergeStaged(tx, t, rows)
		}
	}
}

// doubt is for how many merges into a table one asks first which keys are there, after
// some were.
const doubt = 50

// doubts tells whether to ask first.
func (e *postgresEngine) doubts(t *Table, twice bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return twice || e.doubtful[t.Name] > 0
}

// learn notes whether there were keys of the rows in the table.
func (e *postgresEngine) learn(t *Table, there bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if there {
		e.doubtful[t.Name] = doubt
	} else if e.doubtful[t.Name] > 0 {
		e.doubtful[t.Name]--
	}
}

// inOrder gives the numbers of the rows in the order of their keys; of rows with one key
// that of the first.
func inOrder(t *Table, rows [][]any) []int {
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	byKey := func(a, b int) int {
		for k := range t.Key {
			if c := compareKeys(rows[a][k], rows[b][k]); c != 0 {
				return c
			}
		}
		return 0
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(byKey(a, b), cmp.Compare(a, b)) })
	return slices.CompactFunc(order, func(a, b int) bool { return byKey(a, b) == 0 })
}

// compareKeys compares two values of one column of a key as the server does.
func compareKeys(a, b any) int {
	switch a := a.(type) {
	case int:
		return cmp.Compare(a, b.(int))
	case int64:
		return cmp.Compare(a, b.(int64))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	}
	panic(fmt.Sprintf("store: a %T in a key", a))
}

// notThere gives those of the numbered rows whose keys are not in the table: tenant, day
// and an id.
func (e *postgresEngine) notThere(tx *Tx, t *Table, rows [][]any, numbers []int) ([]int, error) {
	if err := e.byKeys(tx); err != nil {
		return nil, err
	}
	var tenants, days []int32
	var ids [][]byte
	for _, i := range numbers {
		tenants, days, ids = append(tenants, int32(rows[i][0].(int))), append(days, int32(rows[i][1].(int))), append(ids, rows[i][2].([]byte))
	}
	r, err := tx.query(fmt.Sprintf(`SELECT k.n FROM unnest($1::int[], $2::int[], $3::uuid[]) WITH ORDINALITY AS k (tenant_id, day, id, n)
		JOIN %s t ON t.tenant_id = k.tenant_id AND t.day = k.day AND t.%s = k.id`, t.Name, t.Columns[2]), tenants, days, ids)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	there := map[int]bool{}
	for r.Next() {
		var n int
		if err := r.Scan(&n); err != nil {
			return nil, err
		}
		there[n-1] = true
	}
	if err := r.Err(); err != nil || len(there) == 0 {
		return numbers, err
	}
	var rest []int
	for n, i := range numbers {
		if !there[n] {
			rest = append(rest, i)
		}
	}
	return rest, nil
}

// copyNew copies the numbered rows into the table. It is false, and nothing has been
// copied, if the key of one is there.
func (s *postgresSession) copyNew(e *postgresEngine, t *Table, rows [][]any, numbers []int) (bool, error) {
	if len(numbers) == 0 {
		return true, nil
	}
	columns := strings.Join(t.Columns, ", ")
	types, err := e.types(s, t, columns)
	if err != nil {
		return false, err
	}
	sorted := make([][]any, len(numbers))
	for n, i := range numbers {
		sorted[n] = rows[i]
	}
	if _, err := s.exec("SAVEPOINT copied"); err != nil {
		return false, err
	}
	err = s.copy(fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", t.Name, columns), types, sorted)
	var refusal *pgconn.PgError
	taken := errors.As(err, &refusal) && refusal.Code == keyTaken
	if taken {
		_, err = s.exec("ROLLBACK TO SAVEPOINT copied")
	}
	if err == nil { // it would be there after a rollback, too, with the next ones within it
		_, err = s.exec("RELEASE SAVEPOINT copied")
	}
	return err == nil && !taken, err
}

// keyTaken is the server's code for a key that is there already.
const keyTaken = "23505"

// mergeStaged copies the rows into a staging table, which lives as long as the
// transaction, and from there inserts those that are new, in the order of their keys.
func (e *postgresEngine) mergeStaged(tx *Tx, t *Table, rows [][]any) (inserted []bool, err error) {
	s := tx.session.(*postgresSession)
	stage, err := e.stage(tx, t, rows)
	if err != nil {
		return nil, err
	}
	columns := strings.Join(t.Columns, ", ")
	key := strings.Join(t.Columns[:t.Key], ", ")
	insert := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s ORDER BY %s ON CONFLICT (%s) DO NOTHING", t.Name, columns, columns, stage, key, key)
	if !t.Facts && !t.Counted {
		_, err := s.exec(insert)
		return nil, err
	}
	// A fact is known by the place of its record, which no other has; another row by its
	// key, and of two with one key the first is it.
	type mark struct {
		number int64
		at     int
		id     [16]byte
	}
	added := map[mark]bool{}
	returning := " RETURNING content_id, content_at"
	if !t.Facts {
		returning = " RETURNING day, " + t.Columns[2]
	}
	r, err := s.query(insert + returning)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for r.Next() {
		var m mark
		if t.Facts {
			err = r.Scan(&m.number, &m.at)
		} else {
			err = r.Scan(&m.at, scannedID{&m.id})
		}
		if err != nil {
			return nil, err
		}
		added[m] = true
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	inserted = make([]bool, len(rows))
	for i, row := range rows {
		var m mark
		if t.Facts {
			m.number, m.at = row[len(row)-3].(int64), row[len(row)-2].(int)
		} else {
			m.at, m.id = row[1].(int), [16]byte(row[2].([]byte))
		}
		if added[m] {
			inserted[i] = true
			delete(added, m)
		}
	}
	return inserted, nil
}

// stage fills a temporary table.
func (e *postgresEngine) stage(tx *Tx, t *Table, rows [][]any) (name string, err error) {
	s := tx.session.(*postgresSession)
	columns, name := strings.Join(t.Columns, ", "), "stage_"+t.Name
	if slices.Contains(t.Columns, "day") { // who drops a month holds that lock, and waits for who reads the table
		if err := e.keepMonths(s); err != nil {
			return "", err
		}
	}
	types, err := e.types(s, t, columns)
	if err != nil {
		return "", err
	}
	if _, err := s.exec(fmt.Sprintf(`CREATE TEMP TABLE IF NOT EXISTS %s (LIKE %s) ON COMMIT DELETE ROWS`, name, t.Name)); err != nil {
		return "", err
	}
	if _, err := s.exec("TRUNCATE " + name); err != nil {
		return "", err
	}
	return name, s.copy(fmt.Sprintf("COPY %s (%s) FROM STDIN (FORMAT binary)", name, columns), types, rows)
}

// byKeys is needed since the server knows nothing of a staging table by which it could
// see that reading a whole month for it is slower. To compile such a query takes longer
// than to run it.
func (*postgresEngine) byKeys(tx *Tx) error {
	_, err := tx.exec(`SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit']) AS name`)
	return err
}

func (e *postgresEngine) mergeNames(tx *Tx, t *NameTable, names []name) (there map[int64]string, err error) {
	var ids []int64
	var texts []string
	for _, n := range names {
		ids, texts = append(ids, n.id), append(texts, withoutZero(n.text))
	}
	query := fmt.Sprintf(`WITH added AS (
			INSERT INTO %[1]s (id, %[2]s) SELECT * FROM unnest($1::bigint[], $2::text[]) ON CONFLICT (id) DO NOTHING RETURNING id)
		SELECT t.id, t.%[2]s FROM %[1]s t WHERE t.id = ANY($1) AND t.id NOT IN (SELECT id FROM added)`, t.Name, t.Column)
	r, err := tx.query(query, ids, texts)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	there = map[int64]string{}
	for r.Next() {
		var n name
		if err := r.Scan(&n.id, &n.text); err != nil {
			return nil, err
		}
		there[n.id] = n.text
	}
	return there, r.Err()
}

// types gives the types of the columns, as the server numbers them.
func (e *postgresEngine) types(s *postgresSession, t *Table, columns string) ([]uint32, error) {
	key := t.Name + ": " + columns
	e.mu.Lock()
	defer e.mu.Unlock()
	if types, ok := e.columns[key]; ok {
		return types, nil
	}
	byName := map[string]uint32{}
	rows, err := s.query(`SELECT attname, atttypid::bigint FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`, t.Name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var column string
		var oid int64
		if err := rows.Scan(&column, &oid); err != nil {
			return nil, err
		}
		byName[column] = uint32(oid)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var types []uint32
	for _, c := range t.Columns {
		oid, ok := byName[c]
		if !ok {
			return nil, fmt.Errorf("table %s has no column %s", t.Name, c)
		}
		types = append(types, oid)
	}
	e.columns[key] = types
	return types, nil
}

// copy sends rows by the binary form of COPY.
func (s *postgresSession) copy(query string, types []uint32, rows [][]any) error {
	ctx, cancel := context.WithTimeout(s.ctx, statementTimeout+slack)
	defer cancel()
	return s.raw(func(c *pgx.Conn) error {
		_, err := c.PgConn().CopyFrom(ctx, &copyReader{types: types, rows: rows}, query)
		return err
	})
}

// copyReader writes rows in the binary form of COPY, see
// https://www.postgresql.org/docs/15/sql-copy.html ("Binary Format").
type copyReader struct {
	types []uint32
	rows  [][]any
	buf   []byte
	begun bool
	done  bool
}

// copyChunk is about how many bytes are made at once.
const copyChunk = 64 << 10

func (r *copyReader) Read(p []byte) (int, error) {
	for len(r.buf) == 0 {
		if r.done {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

func (r *copyReader) fill() (err error) {
	b := r.buf[:0]
	if !r.begun {
		r.begun = true
		b = append(b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	}
	for len(b) < copyChunk {
		if len(r.rows) == 0 {
			r.done = true
			b = append(b, 0xff, 0xff)
			break
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.types)))
		for i, v := range r.rows[0] {
			if b, err = appendValue(b, r.types[i], v); err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
		}
		r.rows = r.rows[1:]
	}
	r.buf = b
	return nil
}

// appendValue appends a value in the binary form of its column's type.
func appendValue(b []byte, oid uint32, v any) ([]byte, error) {
	number := func(n int64) ([]byte, error) {
		switch oid {
		case pgtype.Int8OID:
			return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(n)), nil
		case pgtype.Int4OID:
			if n < math.MinInt32 || n > math.MaxInt32 {
				return nil, fmt.Errorf("%d does not fit", n)
			}
			return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 4), uint32(n)), nil
		}
		return nil, errors.New("it takes no number")
	}
	switch v := v.(type) {
	case nil:
		return append(b, 0xff, 0xff, 0xff, 0xff), nil
	case int:
		return number(int64(v))
	case int64:
		return number(v)
	case bool:
		if oid != pgtype.BoolOID {
			return nil, errors.New("it takes no truth value")
		}
		if v {
			return append(b, 0, 0, 0, 1, 1), nil
		}
		return append(b, 0, 0, 0, 1, 0), nil
	case []byte:
		if oid != pgtype.ByteaOID && (oid != pgtype.UUIDOID || len(v) != 16) {
			return nil, fmt.Errorf("it takes no %d bytes", len(v))
		}
		return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...), nil
	case string:
		switch oid {
		case pgtype.TextOID:
			v = withoutZero(v)
			return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...), nil
		case pgtype.TimestampOID:
			t, err := time.Parse(timeLayout, v)
			if err != nil {
				return nil, err
			}
			return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(t.UnixMicro()-epoch)), nil
		}
		return nil, errors.New("it takes no text")
	}
	return nil, fmt.Errorf("a %T has no place in a database", v)
}

// epoch is when PostgreSQL's time begins, 2000-01-01, in microseconds since 1970.
const epoch = 946_684_800_000_000

// withoutZero replaces zero characters, which PostgreSQL's text cannot hold; the
// record's own text keeps them.
func withoutZero(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "\uFFFD")
}

// partition sees to it that there is a partition for the month of each row.
func (e *postgresEngine) partition(ctx context.Context, t *Table, column int, rows [][]any) error {
	last := -1
	for _, row := range rows {
		month := row[column].(int) / 100
		if month == last {
			continue
		}
		last = month
		p := monthOf(month)
		name := t.Name + "_" + p.name
		e.mu.Lock()
		known := e.months[name]
		e.mu.Unlock()
		if known {
			continue
		}
		if err := e.makePartition(ctx, t.Name, name, p); err != nil {
			return fmt.Errorf("making partition %s: %w", name, err)
		}
		e.mu.Lock()
		e.months[name] = true
		e.mu.Unlock()
	}
	return nil
}

// span is what one partition holds: days from (inclusive) to (exclusive).
type span struct {
	name     string
	from, to string
}

// monthOf gives the span for a month, YYYYMM. Months before 2010 and after 2099 share
// one each: no service of Microsoft's is as old, and a wrong date must not make
// thousands of tables.
func monthOf(month int) span {
	switch {
	case month < 201001:
		return span{"early", "MINVALUE", "20100101"}
	case month > 209912:
		return span{"late", "21000101", "MAXVALUE"}
	}
	next := month + 1
	if next%100 == 13 {
		next += 88
	}
	return span{fmt.Sprint(month), fmt.Sprint(month*100 + 1), fmt.Sprint(next*100 + 1)}
}

// makePartition makes one on a connection of its own, beside a transaction that may
// already write to the table: attaching a partition lets others write on.
func (e *postgresEngine) makePartition(ctx context.Context, table, name string, p span) error {
	tx, err := e.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(turnToShape)); err != nil {
		return err
	}
	var there, partitioned bool
	if err := tx.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL,
		EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = $2::regclass)`, name, table).Scan(&there, &partitioned); err != nil {
		return err
	}
	if there || !partitioned {
		return nil
	}
	for _, query := range []string{
		fmt.Sprintf("CREATE TABLE %s (LIKE %s INCLUDING ALL)", name, table),
		fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)", table, name, p.from, p.to),
	} {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	return tx.Commit()
}
