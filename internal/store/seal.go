package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Sealing: each day of a table is sealed when it is settled, by a hash over its rows.
// A day gets another version only if records came late, if its seal was opened before its rows
// were changed on purpose, or for a reason that somebody gives; else what was changed is an
// error. What another process changes while rows are read is never sealed.

// sealable gives the columns of a table that are sealed: all but the tenant's number,
// which is this database's own, and the place of a record's text, which depends on the
// order in which blobs came.
func sealable(t *Table) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(t.Columns), func(c string) bool {
		return c == "tenant_id" || strings.HasPrefix(c, "content_")
	}), ",")
}

// ErrBroken says that a sealed day is no longer what its seal says.
var ErrBroken = errors.New("a sealed day was changed")

// UnsealedDays gives the days up to the given one that have no seal yet for one of the
// tables, those whose seal was opened, and those that have records which came late. Days
// without a row count from the first one of the ledger on; those that were dropped do not.
func (db *DB) UnsealedDays(ctx context.Context, tenant int, tables []*Table, upTo int) ([]int, error) {
	want := map[int]bool{}
	var first time.Time
	if err := db.read.QueryRowContext(ctx, `SELECT min(start_at) FROM ledger_windows WHERE tenant_id = $1`, tenant).Scan(stamped{&first}); err != nil {
		return nil, db.explain("reading the ledger of", err)
	}
	if !first.IsZero() {
		for t := first; Day(t) <= upTo; t = t.Add(24 * time.Hour) {
			want[Day(t)] = true
		}
	}
	for _, t := range tables {
		days, err := db.days(ctx, tenant, t.Name)
		if err != nil {
			return nil, err
		}
		for _, day := range days {
			want[day] = true
		}
	}
	type count struct{ day, tables int }
	sealed, err := list(ctx, db, "reading the seals of", func(rows *sql.Rows, c *count) error { return rows.Scan(&c.day, &c.tables) },
		`SELECT day, count(DISTINCT table_name) FROM seals WHERE tenant_id = $1 GROUP BY day`, tenant)
	if err != nil {
		return nil, err
	}
	for _, c := range sealed {
		if c.tables >= len(tables) {
			delete(want, c.day)
		}
	}
	late, err := list(ctx, db, "reading", func(rows *sql.Rows, day *int) error { return rows.Scan(day) },
		`SELECT DISTINCT day FROM late_events WHERE tenant_id = $1`, tenant)
	if err != nil {
		return nil, err
	}
	opened, err := db.OpenedDays(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, day := range append(late, opened...) {
		want[day] = true
	}
	dropped, err := list(ctx, db, "reading", func(rows *sql.Rows, day *int) error { return rows.Scan(day) },
		`SELECT DISTINCT day FROM dropped_days WHERE tenant_id = $1`, tenant)
	if err != nil {
		return nil, err
	}
	for _, day := range dropped {
		delete(want, day)
	}
	var days []int
	for day := range want {
		if day <= upTo {
			days = append(days, day)
		}
	}
	slices.Sort(days)
	return days, nil
}

// OpenedDays gives the days of which a seal was opened and that are to be sealed anew: not
// those that were dropped.
func (db *DB) OpenedDays(ctx context.Context, tenant int) ([]int, error) {
	return list(ctx, db, "reading the seals of", func(rows *sql.Rows, day *int) error { return rows.Scan(day) },
		`SELECT DISTINCT day FROM seals s WHERE tenant_id = $1 AND hash = '' AND `+newestSeal+`
			AND day NOT IN (SELECT day FROM dropped_days WHERE tenant_id = $1) ORDER BY day`, tenant)
}

// NewestSealable is the newest day that may be sealed at a time.
func NewestSealable(now time.Time) int { return Day(now.Add(-lateAfter - 48*time.Hour)) }

// SealDay seals a day of the tables, with what is known of its coverage. What is sealed
// already gets a new version if it was opened, or if records came late and nothing else has
// changed; else the error matches ErrBroken, and nothing is sealed. With a reason, whatever
// has changed is accepted for it. Nothing is added to a chain that is broken, reason or not:
// then the error matches ErrChain. If somebody changes or seals rows at the same moment,
// nothing is sealed, which is an error with a reason; without, the next one reads it again.
func (db *DB) SealDay(ctx context.Context, tenant int, tables []*Table, day int, known, reason string) (made []Seal, err error) {
	if day > NewestSealable(db.now()) {
		return nil, fmt.Errorf("sealing %d: it is not over for long enough, so that records of it may be on their way", day)
	}
	r, err := db.readDay(ctx, tenant, tables, day, known, reason)
	if err != nil {
		return nil, db.explain("sealing a day of", err)
	}
	if len(r.wrong) > 0 && len(r.fresh) > 0 {
		return nil, fmt.Errorf("sealing %d: %w: %s", day, ErrChain, r.wrong[0].Text)
	}
	err = db.Write(ctx, func(tx *Tx) (err error) {
		made, err = tx.sealDay(tenant, day, r)
		return err
	})
	switch {
	case errors.Is(err, errOvertaken) && reason == "":
		return nil, nil
	case errors.Is(err, errOvertaken):
		return nil, fmt.Errorf("sealing %d: %w", day, err)
	}
	return made, err
}

// PlanSeal tells what SealDay would make with a reason, and makes nothing.
func (db *DB) PlanSeal(ctx context.Context, tenant int, tables []*Table, day int, known, reason string) ([]Seal, error) {
	r, err := db.readDay(ctx, tenant, tables, day, known, reason)
	return r.fresh, db.explain("reading a day of", err)
}

// A dayRead is what was read of a day to seal it.
type dayRead struct {
	wrong   []Breach          // of the chain
	fresh   []Seal            // what there is to be sealed
	late    map[[16]byte]bool // records that came late, and are in these
	changes string            // how often rows had been changed on purpose by then
}

func (db *DB) readDay(ctx context.Context, tenant int, tables []*Table, day int, known, reason string) (r dayRead, err error) {
	accept := reason != ""
	r.late, err = db.atOnce(ctx, func(tx *sql.Tx) (late map[[16]byte]bool, err error) {
		if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(value), '0') FROM schema_state WHERE name = $1`, changesOf(tenant)).Scan(&r.changes); err != nil {
			return nil, err
		}
		if late, err = lateOf(ctx, tx, tenant, day); err != nil {
			return nil, err
		}
		for _, t := range tables {
			last, err := lastSeal(ctx, tx, tenant, day, t.Name)
			if err != nil {
				return nil, err
			}
			columns := sealable(t)
			if last.Version > 0 && len(late) == 0 && !accept && !last.Opened() {
				continue
			}
			all, rest, err := hashDay(ctx, tx, t, columns, tenant, day, late)
			if err != nil {
				return nil, err
			}
			s := Seal{Table: t.Name, Day: day, Version: last.Version + 1, Records: all.n, Columns: columns, Hash: all.hash, Coverage: known, Reason: reason}
			switch {
			case last.Version == 0:
				if !accept {
					s.Reason = "settled"
				}
			case last.Hash == all.hash && last.Columns == columns:
				continue
			case accept:
			case last.Opened():
				s.Reason = last.Reason
			default:
				if last.Columns != columns {
					if _, rest, err = hashDay(ctx, tx, t, last.Columns, tenant, day, late); err != nil {
						return nil, err
					}
				}
				if rest.hash != last.Hash {
					return nil, fmt.Errorf("sealing %d again, since %d records came late: %s had %d rows and has %d besides these: %w",
						day, len(late), t.Name, last.Records, rest.n, ErrBroken)
				}
				if all.n == rest.n {
					continue // none of them is in this table
				}
				s.Reason = fmt.Sprintf("%d rows came late", all.n-rest.n)
			}
			r.fresh = append(r.fresh, s)
		}
		if len(r.fresh) > 0 {
			c, err := readChain(asked(ctx, tx), tenant, "")
			if err != nil {
				return nil, err
			}
			r.wrong = c.breaches()
		}
		return late, nil
	})
	return r, err
}

// sealDay adds what was read to the chain, unless rows or seals have become others since:
// then the error is errOvertaken.
func (tx *Tx) sealDay(tenant, day int, r dayRead) (made []Seal, err error) {
	now, err := tx.changes(tenant)
	if err == nil && now != r.changes {
		err = errOvertaken
	}
	if err != nil {
		return nil, err
	}
	if made, err = tx.addSeals(tenant, r.fresh); err != nil {
		return nil, err
	}
	var args [][]any
	for id := range r.late {
		args = append(args, []any{tenant, day, slices.Clone(id[:])})
	}
	slices.SortFunc(args, func(a, b []any) int { return bytes.Compare(a[2].([]byte), b[2].([]byte)) })
	_, err = tx.each(`DELETE FROM late_events WHERE tenant_id = $1 AND day = $2 AND event_id = $3`, args)
	return made, err
}

// errOvertaken says that somebody has changed rows on purpose, or sealed the day, meanwhile.
var errOvertaken = errors.New("rows were changed or sealed by another process at the same moment: do it again")

// openSeals opens the seals of a day of the tables; none means all. It is for a transaction
// that has its turn, before or while rows of the day are changed on purpose.
func (tx *Tx) openSeals(tenant, day int, tables []*Table, reason string) error {
	closed, err := tx.closedSeals(tenant, day, tables)
	if err != nil {
		return err
	}
	for i := range closed {
		closed[i].Version++
		closed[i].Reason = reason
	}
	_, err = tx.addSeals(tenant, closed)
	return err
}

// closedSeals gives table, day and version of the seals of a day that are not opened.
func (tx *Tx) closedSeals(tenant, day int, tables []*Table) (closed []Seal, err error) {
	rows, err := tx.query(`SELECT table_name, version FROM seals s WHERE tenant_id = $1 AND day = $2 AND hash <> '' AND `+newestSeal+` ORDER BY table_name`, tenant, day)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		s := Seal{Day: day}
		if err := rows.Scan(&s.Table, &s.Version); err != nil {
			return nil, err
		}
		if tables == nil || slices.ContainsFunc(tables, func(t *Table) bool { return t.Name == s.Table }) {
			closed = append(closed, s)
		}
	}
	return closed, rows.Err()
}

// newestSeal is true of a seal s that no other version follows.
const newestSeal = `NOT EXISTS (SELECT 1 FROM seals n WHERE n.tenant_id = s.tenant_id AND n.day = s.day AND n.table_name = s.table_name AND n.version > s.version)`

// changesOf is the name under which it is counted how often rows that may be sealed were
// changed on purpose: whoever has read rows to seal them sees by it that they are others now.
func changesOf(tenant int) string { return fmt.Sprintf("rows changed: tenant %d", tenant) }

// rowsChanged counts one more. Until the transaction ends nobody seals.
func (tx *Tx) rowsChanged(tenant int) error {
	_, err := tx.exec(`INSERT INTO schema_state (name, value) VALUES ($1, '1')
		ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(schema_state.value AS BIGINT) + 1 AS TEXT)`, changesOf(tenant))
	return err
}

// changes gives the count, and waits for those who are about to add to it.
func (tx *Tx) changes(tenant int) (n string, err error) {
	if _, err := tx.exec(`INSERT INTO schema_state (name, value) VALUES ($1, '0') ON CONFLICT (name) DO UPDATE SET value = schema_state.value`, changesOf(tenant)); err != nil {
		return "", err
	}
	return n, tx.queryRow(`SELECT value FROM schema_state WHERE name = $1`, changesOf(tenant)).Scan(&n)
}

// atOnce reads several times from one moment.
func (db *DB) atOnce(ctx context.Context, f func(*sql.Tx) (map[[16]byte]bool, error)) (map[[16]byte]bool, error) {
	tx, err := db.read.BeginTx(ctx, db.engine.snapshot())
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	return f(tx)
}

// lastSeal gives the newest version of a table's seal of a day; of version 0 if there is none.
func lastSeal(ctx context.Context, tx *sql.Tx, tenant, day int, table string) (s Seal, err error) {
	err = s.scan(tx.QueryRowContext(ctx, `SELECT `+sealColumns+` FROM seals
		WHERE tenant_id = $1 AND day = $2 AND table_name = $3 ORDER BY version DESC LIMIT 1`, tenant, day, table))
	if errors.Is(err, sql.ErrNoRows) {
		return Seal{}, nil
	}
	return s, err
}

// lateOf gives the ids of the records of a day that are in no seal yet.
func lateOf(ctx context.Context, tx *sql.Tx, tenant, day int) (map[[16]byte]bool, error) {
	rows, err := tx.QueryContext(ctx, `SELECT event_id FROM late_events WHERE tenant_id = $1 AND day = $2`, tenant, day)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ids := map[[16]byte]bool{}
	for rows.Next() {
		var id [16]byte
		if err := rows.Scan(scannedID{&id}); err != nil {
			return nil, err
		}
		ids[id] = true
	}
	return ids, rows.Err()
}

// hashed is the hash of so many rows.
type hashed struct {
	n    int64
	hash string
}

// plainName is what a column may be called.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// hashDay hashes the rows of a day in the order of their keys: all, and the rest without
// those of the given ids. The same rows give the same hash on each engine and whatever
// the order in which they were inserted.
func hashDay(ctx context.Context, tx *sql.Tx, t *Table, columns string, tenant, day int, without map[[16]byte]bool) (all, rest hashed, err error) {
	names := strings.Split(columns, ",")
	key := t.Columns[2:t.Key]
	id := slices.Index(names, key[0])
	for _, name := range names {
		if !plainName.MatchString(name) {
			return all, rest, fmt.Errorf("the seal names a column %q", name)
		}
	}
	if id < 0 {
		return all, rest, fmt.Errorf("the seal does not name the column %s", key[0])
	}
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(`SELECT %s FROM %s WHERE tenant_id = $1 AND day = $2 ORDER BY %s`,
		strings.Join(names, ", "), t.Name, strings.Join(key, ", ")), tenant, day)
	if err != nil {
		return all, rest, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return all, rest, err
	}
	values, to := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		to[i] = &values[i]
	}
	one, other := sha256.New(), sha256.New()
	head := t.Name + "\x00" + columns + "\x00"
	one.Write([]byte(head))
	other.Write([]byte(head))
	var text []byte
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return all, rest, err
		}
		text = text[:0]
		var event [16]byte
		for i, v := range values {
			from := len(text)
			if text, err = appendSealed(text, types[i].DatabaseTypeName(), v); err != nil {
				return all, rest, fmt.Errorf("reading %s.%s: %w", t.Name, names[i], err)
			}
			if i == id && len(text)-from == 21 {
				copy(event[:], text[from+5:])
			}
		}
		one.Write(text)
		all.n++
		if !without[event] {
			other.Write(text)
			rest.n++
		}
	}
	all.hash, rest.hash = hex.EncodeToString(one.Sum(nil)), hex.EncodeToString(other.Sum(nil))
	return all, rest, rows.Err()
}

// appendSealed appends a value in the form in which it is sealed: a letter for what it
// is, its length, and its bytes.
func appendSealed(b []byte, kind string, v any) ([]byte, error) {
	put := func(letter byte, s []byte) ([]byte, error) {
		b = append(b, letter)
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		return append(b, s...), nil
	}
	number := func(n int64) ([]byte, error) { return put('n', fmt.Append(nil, n)) }
	switch {
	case v == nil:
		return put('0', nil)
	case kind == "UUID":
		var id [16]byte
		if (scannedID{&id}).Scan(v) == nil {
			return put('u', id[:])
		}
	case kind == "TIMESTAMP":
		var t time.Time
		if (stamped{&t}).Scan(v) == nil {
			return put('t', t.UTC().AppendFormat(nil, time.RFC3339Nano))
		}
	}
	switch v := v.(type) {
	case bool:
		if v {
			return number(1)
		}
		return number(0)
	case int64:
		return number(v)
	case int32:
		return number(int64(v))
	case string:
		return put('s', []byte(withoutZero(v))) // PostgreSQL keeps no zero characters
	case []byte:
		return put('s', []byte(withoutZero(string(v))))
	case float64:
		return put('f', fmt.Append(nil, v)) // where another program wrote one
	}
	return nil, fmt.Errorf("a %T cannot be sealed", v)
}
