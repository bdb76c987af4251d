package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Seal says what a table held of a day. Seals of a tenant form one chain: each has a
// digest over itself and the one before.
type Seal struct {
	Seq      int64     `json:"seq"`
	Table    string    `json:"table"`
	Day      int       `json:"day"`
	Version  int       `json:"version"`
	Records  int64     `json:"rows"`
	Columns  string    `json:"columns"`
	Hash     string    `json:"hash"`
	Coverage string    `json:"coverage"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"sealed_at"`
	Digest   string    `json:"digest"`
}

// Opened tells that this version seals nothing: rows of the day were changed on purpose,
// for its Reason, after it had been sealed.
func (s Seal) Opened() bool { return s.Hash == "" }

// digest is what a seal's Digest has to be after the one before it.
func (s Seal) digest(before string) string {
	text, _ := json.Marshal([]any{before, s.Seq, s.Table, s.Day, s.Version, s.Records, s.Columns, s.Hash, s.Coverage, s.Reason, stamp(s.At)})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// sealable gives the columns of a table that are sealed: all but the tenant's number,
// which is this database's own, and the place of a record's text, which depends on the
// order in which blobs came.
func sealable(t *Table) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(t.Columns), func(c string) bool {
		return c == "tenant_id" || strings.HasPrefix(c, "content_")
	}), ",")
}

// Accepts tells that this one seals no rows: somebody has accepted, for its Reason, what was
// wrong with the chain before it, which its Coverage tells.
func (s Seal) Accepts() bool { return s.Table == acceptedBreak }

// acceptedBreak is, in the place of a table's name, what such a seal is of.
const acceptedBreak = "seals"

// ErrBroken says that a sealed day is no longer what its seal says.
var ErrBroken = errors.New("a sealed day was changed")

// ErrChain says that seals were changed or removed.
var ErrChain = errors.New("the chain of seals is broken")

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

// newestSeal is true of a seal s that no other version follows.
const newestSeal = `NOT EXISTS (SELECT 1 FROM seals n WHERE n.tenant_id = s.tenant_id AND n.day = s.day AND n.table_name = s.table_name AND n.version > s.version)`

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

// addSeals adds seals to the chain, in a transaction that has its turn: all, or with an
// error none.
func (tx *Tx) addSeals(tenant int, fresh []Seal) (made []Seal, err error) {
	if len(fresh) == 0 {
		return nil, nil
	}
	head, noted, err := tx.sealHead(tenant)
	if err != nil {
		return nil, err
	}
	if made, err = tx.appendSeals(tenant, head, fresh); err != nil {
		return nil, err
	}
	// A note that was removed stays away: that it was shows by that.
	if noted || head.Seq == 0 {
		err = tx.noteHead(tenant, made[len(made)-1])
	}
	return made, err
}

// appendSeals puts seals behind the given one.
func (tx *Tx) appendSeals(tenant int, head Seal, fresh []Seal) (made []Seal, err error) {
	for _, s := range fresh {
		var version int
		if err := tx.queryRow(`SELECT coalesce(max(version), 0) FROM seals WHERE tenant_id = $1 AND day = $2 AND table_name = $3`,
			tenant, s.Day, s.Table).Scan(&version); err != nil {
			return nil, err
		}
		if version != s.Version-1 {
			return nil, errOvertaken
		}
		s.Seq, s.At = head.Seq+1, tx.Now.Truncate(time.Millisecond)
		s.Digest = s.digest(head.Digest)
		if _, err := tx.exec(`INSERT INTO seals (tenant_id, seq, table_name, day, version, records, columns, hash, coverage, reason, sealed_at, digest)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			tenant, s.Seq, s.Table, s.Day, s.Version, s.Records, s.Columns, s.Hash, s.Coverage, s.Reason, stamp(s.At), s.Digest); err != nil {
			return nil, err
		}
		head = s
		made = append(made, s)
	}
	return made, nil
}

// noteHead notes the last seal in the second place.
func (tx *Tx) noteHead(tenant int, head Seal) error {
	_, err := tx.exec(`INSERT INTO seal_heads (tenant_id, seq, digest) VALUES ($1, $2, $3)
		ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq, digest = excluded.digest`, tenant, head.Seq, head.Digest)
	return err
}

// AcceptChain accepts what is wrong with the chain of seals, for a reason: with a seal that
// says so, and by whose hash exactly that is accepted, and nothing that is done later to
// seals before it. If nothing is wrong, nothing is made.
func (db *DB) AcceptChain(ctx context.Context, tenant int, reason string) (made []Seal, err error) {
	err = db.Write(ctx, func(tx *Tx) error {
		c, err := readChain(tx.query, tenant, "")
		if err != nil {
			return err
		}
		wrong := c.breaches()
		if len(wrong) == 0 {
			return nil
		}
		var texts []string
		for _, b := range wrong[:min(len(wrong), maxAccepted)] {
			text := b.Text
			if b.Seq > 0 {
				text = fmt.Sprintf("seal %d: %s", b.Seq, text)
			}
			texts = append(texts, text)
		}
		if n := len(wrong) - len(texts); n > 0 {
			texts = append(texts, fmt.Sprintf("and %d more", n))
		}
		// It comes after all that were ever there, and after the one that is the last now.
		head := Seal{Seq: max(c.last.Seq, c.noted.Seq), Digest: c.last.Digest}
		s := Seal{Table: acceptedBreak, Version: c.newest[dayTable{0, acceptedBreak}].Version + 1, Coverage: strings.Join(texts, "; "), Reason: reason}
		c.follows(head.Seq + 1)
		s.Hash = c.print()
		if made, err = tx.appendSeals(tenant, head, []Seal{s}); err != nil {
			return err
		}
		return tx.noteHead(tenant, made[0])
	})
	return made, db.explain("sealing", err)
}

// maxAccepted bounds what a seal tells of what it accepts.
const maxAccepted = 20

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

// sealsHold tells whether rows of a day of the tables are what was sealed of them.
func (db *DB) sealsHold(ctx context.Context, tenant int, tables []*Table, day int) (holds bool, err error) {
	_, err = db.atOnce(ctx, func(tx *sql.Tx) (map[[16]byte]bool, error) {
		late, err := lateOf(ctx, tx, tenant, day)
		if err != nil {
			return nil, err
		}
		for _, t := range tables {
			s, err := lastSeal(ctx, tx, tenant, day, t.Name)
			if err != nil {
				return nil, err
			}
			if s.Version == 0 || s.Opened() {
				continue
			}
			if _, rest, err := hashDay(ctx, tx, t, s.Columns, tenant, day, late); err != nil || rest.hash != s.Hash {
				return nil, err
			}
		}
		holds = true
		return nil, nil
	})
	return holds, db.explain("reading a sealed day of", err)
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

// sealHead gives the number and digest of the last seal, and whether that is noted.
func (tx *Tx) sealHead(tenant int) (head Seal, noted bool, err error) {
	err = tx.queryRow(`SELECT seq, digest FROM seal_heads WHERE tenant_id = $1`, tenant).Scan(&head.Seq, &head.Digest)
	noted = err == nil
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.queryRow(`SELECT seq, digest FROM seals WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1`, tenant).Scan(&head.Seq, &head.Digest)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return head, noted, err
}

const sealColumns = `seq, table_name, day, version, records, columns, hash, coverage, reason, sealed_at, digest`

func (s *Seal) scan(row interface{ Scan(...any) error }) error {
	return row.Scan(&s.Seq, &s.Table, &s.Day, &s.Version, &s.Records, &s.Columns, &s.Hash, &s.Coverage, &s.Reason, stamped{&s.At}, &s.Digest)
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

// Seals gives the seals of days from one to another, all versions, in the order of the chain.
func (db *DB) Seals(ctx context.Context, tenant, from, to int) ([]Seal, error) {
	return list(ctx, db, "reading the seals of", func(rows *sql.Rows, s *Seal) error { return s.scan(rows) },
		`SELECT `+sealColumns+` FROM seals WHERE tenant_id = $1 AND day >= $2 AND day <= $3 ORDER BY seq`, tenant, from, to)
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

// A Breach is something that does not fit the seals.
type Breach struct {
	Kind   BreachKind `json:"kind,omitempty"`
	Day    int        `json:"day,omitempty"`
	Table  string     `json:"table,omitempty"`
	Seq    int64      `json:"seq,omitempty"` // of the seal
	Text   string     `json:"text"`
	Remedy string     `json:"remedy,omitempty"` // for whoever tells of it to fill in
}

// BreachKind is what a breach is of.
type BreachKind string

const (
	BrokenChain BreachKind = "chain"   // a seal was changed or removed
	OtherHead   BreachKind = "head"    // the head that was noted elsewhere is not in the chain
	ChangedRows BreachKind = "changed" // rows of a sealed day
	DeletedRows BreachKind = "deleted"
	AddedRows   BreachKind = "added"
)

// Verification is what was found by verifying seals.
type Verification struct {
	Seals    int      `json:"seals"`    // in the chain
	Days     int      `json:"days"`     // whose rows were read
	Rows     int64    `json:"rows"`     // that were read
	Opened   []Opened `json:"opened"`   // days that are not sealed at present, though they were
	Accepted []Seal   `json:"accepted"` // which accept what was wrong with the chain before them
	Breaches []Breach `json:"breaches"` // at most maxBreaches
	Head     string   `json:"head"`     // the digest of the last seal
}

// Opened is a day whose seal was opened, and why.
type Opened struct {
	Day    int    `json:"day"`
	Reason string `json:"reason"`
}

// maxBreaches bounds what is told.
const maxBreaches = 100

// VerifySeals checks the chain of all seals, and that the rows of days from one to
// another are what the newest seals say. A head that was noted before must be in the
// chain; empty: none is asked for.
func (db *DB) VerifySeals(ctx context.Context, tenant int, tables []*Table, from, to int, noted string) (v Verification, err error) {
	breach := func(b Breach) {
		if len(v.Breaches) < maxBreaches {
			v.Breaches = append(v.Breaches, b)
		}
	}
	_, err = db.atOnce(ctx, func(tx *sql.Tx) (map[[16]byte]bool, error) {
		c, err := readChain(asked(ctx, tx), tenant, noted)
		if err != nil {
			return nil, err
		}
		v.Seals, v.Head, v.Accepted, v.Breaches = c.seals, c.last.Digest, c.accepted, c.breaches()
		if !c.found {
			breach(Breach{Kind: OtherHead, Text: "the head that was noted is not in the chain: the seals were made anew since, or removed"})
		}
		days := map[int]bool{}
		keys := make([]dayTable, 0, len(c.newest))
		for k, s := range c.newest {
			if k.day >= from && k.day <= to && !s.Accepts() {
				keys = append(keys, k)
			}
		}
		slices.SortFunc(keys, func(a, b dayTable) int {
			if a.day != b.day {
				return a.day - b.day
			}
			return strings.Compare(a.table, b.table)
		})
		for _, k := range keys {
			s := c.newest[k]
			if s.Opened() {
				if o := (Opened{s.Day, s.Reason}); !slices.Contains(v.Opened, o) {
					v.Opened = append(v.Opened, o)
				}
				continue
			}
			i := slices.IndexFunc(tables, func(t *Table) bool { return t.Name == k.table })
			if i < 0 {
				breach(Breach{Day: k.day, Table: k.table, Seq: s.Seq, Text: "the seal is of a table that this reeve does not know"})
				continue
			}
			late, err := lateOf(ctx, tx, tenant, k.day)
			if err != nil {
				return nil, err
			}
			_, rest, err := hashDay(ctx, tx, tables[i], s.Columns, tenant, k.day, late)
			if err != nil {
				return nil, err
			}
			v.Rows += rest.n
			days[k.day] = true
			switch {
			case rest.hash == s.Hash && rest.n == s.Records:
			case rest.n < s.Records:
				breach(Breach{Kind: DeletedRows, Day: k.day, Table: k.table, Seq: s.Seq, Text: fmt.Sprintf("rows were deleted: %d were sealed, and there are %d", s.Records, rest.n)})
			case rest.n > s.Records:
				breach(Breach{Kind: AddedRows, Day: k.day, Table: k.table, Seq: s.Seq, Text: fmt.Sprintf("rows were added, not by the import: %d were sealed, and there are %d", s.Records, rest.n)})
			default:
				breach(Breach{Kind: ChangedRows, Day: k.day, Table: k.table, Seq: s.Seq, Text: fmt.Sprintf("a row was changed, or replaced by another: there are %d, as sealed, but they are not the same", rest.n)})
			}
		}
		v.Days = len(days)
		return nil, nil
	})
	return v, db.explain("verifying the seals of", err)
}

type dayTable struct {
	day   int
	table string
}

// VerifyChain checks the chain of all seals, and reads no rows but these.
func (db *DB) VerifyChain(ctx context.Context, tenant int) (wrong []Breach, err error) {
	_, err = db.atOnce(ctx, func(tx *sql.Tx) (map[[16]byte]bool, error) {
		c, err := readChain(asked(ctx, tx), tenant, "")
		if err != nil {
			return nil, err
		}
		wrong = c.breaches()
		return nil, nil
	})
	return wrong, db.explain("reading the seals of", err)
}

// A chain is what was read of the seals, in their order.
type chain struct {
	seals       int
	newest      map[dayTable]Seal
	last, noted Seal // noted: by the second place; of number 0 if it is not
	found       bool // a head that was asked for

	wrong    []Breach  // and nobody has accepted it; at most maxBreaches
	sum      hash.Hash // over all that is wrong
	accepted []Seal
	ending   []Breach // what is wrong with the end
}

func (c *chain) breaches() []Breach {
	all := slices.Concat(c.wrong, c.ending)
	return all[:min(len(all), maxBreaches)]
}

// breach notes what is wrong; print identifies it, also to a later version of reeve.
func (c *chain) breach(b Breach, print ...any) {
	b.Kind = BrokenChain
	if len(c.wrong) < maxBreaches {
		c.wrong = append(c.wrong, b)
	}
	text, _ := json.Marshal(print)
	c.sum.Write(text)
}

// print is the hash of what is wrong and not accepted.
func (c *chain) print() string { return hex.EncodeToString(c.sum.Sum(nil)) }

// follows tells whether a number is the next one.
func (c *chain) follows(seq int64) bool {
	if seq != c.last.Seq+1 {
		c.breach(Breach{Seq: c.last.Seq + 1, Text: fmt.Sprintf("seals were removed: after number %d comes %d", c.last.Seq, seq)}, "gap", c.last.Seq, seq)
	}
	return seq == c.last.Seq+1
}

func (c *chain) add(s Seal) {
	k := dayTable{s.Day, s.Table}
	follows := c.follows(s.Seq)
	fits := s.digest(c.last.Digest)
	switch {
	case s.Accepts() && fits == s.Digest && s.Hash == c.print():
		c.wrong = nil
		c.sum.Reset()
		c.accepted = append(c.accepted, s)
	case fits != s.Digest && (follows || s.Accepts()):
		c.breach(Breach{Day: s.Day, Table: s.Table, Seq: s.Seq, Text: "the seal was changed: its digest is not that of what it says and of the seal before it"}, "digest", s.Seq, s.Digest, fits)
	case s.Accepts():
		c.breach(Breach{Seq: s.Seq, Text: "seals before it were changed or removed, others than it accepts"}, "accepted", s.Seq, s.Hash)
	case follows && s.Version != c.newest[k].Version+1:
		c.breach(Breach{Day: s.Day, Table: s.Table, Seq: s.Seq, Text: fmt.Sprintf("it is version %d of this day, after version %d", s.Version, c.newest[k].Version)},
			"version", s.Seq, s.Version, c.newest[k].Version)
	}
	c.newest[k], c.last = s, s
	c.seals++
}

// end compares the last seal with what is noted of it.
func (c *chain) end(noted bool) {
	wrong := func(seq int64, format string, args ...any) {
		c.ending = append(c.ending, Breach{Kind: BrokenChain, Seq: seq, Text: fmt.Sprintf(format, args...)})
	}
	switch {
	case !noted && c.seals > 0:
		wrong(0, "the note of the last seal was removed, so that it cannot be seen whether the last seals were")
	case !noted:
	case c.noted.Seq > c.last.Seq:
		wrong(c.noted.Seq, "seals were removed: the last one was number %d, and there are none after %d", c.noted.Seq, c.last.Seq)
	case c.noted.Seq != c.last.Seq || c.noted.Digest != c.last.Digest:
		wrong(c.last.Seq, "the last seal is not the one that was noted: it, or the note, was changed")
	}
}

// readChain reads all seals. A head may be asked for; empty: none is.
func readChain(query func(string, ...any) (*sql.Rows, error), tenant int, head string) (*chain, error) {
	c := &chain{newest: map[dayTable]Seal{}, sum: sha256.New(), found: head == ""}
	rows, err := query(`SELECT `+sealColumns+` FROM seals WHERE tenant_id = $1 ORDER BY seq`, tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s Seal
		if err := s.scan(rows); err != nil {
			return nil, err
		}
		c.add(s)
		c.found = c.found || s.Digest == head
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	if rows, err = query(`SELECT seq, digest FROM seal_heads WHERE tenant_id = $1`, tenant); err != nil {
		return nil, err
	}
	defer rows.Close()
	noted := rows.Next()
	if noted {
		if err := rows.Scan(&c.noted.Seq, &c.noted.Digest); err != nil {
			return nil, err
		}
	}
	c.end(noted)
	return c, rows.Err()
}

// asked runs queries in a transaction that only reads.
func asked(ctx context.Context, tx *sql.Tx) func(string, ...any) (*sql.Rows, error) {
	return func(query string, args ...any) (*sql.Rows, error) { return tx.QueryContext(ctx, query, args...) }
}

// VerifyNames checks that names have the ids that are their hashes, so that a name that
// was changed shows. It tells of those that do not, some of them.
func (db *DB) VerifyNames(ctx context.Context, tables []*NameTable) ([]string, error) {
	var wrong []string
	for _, t := range tables {
		rows, err := db.read.QueryContext(ctx, fmt.Sprintf(`SELECT id, %s FROM %s`, t.Column, t.Name))
		if err != nil {
			return nil, db.explain("reading the names of", err)
		}
		for rows.Next() {
			var n name
			if err := rows.Scan(&n.id, &n.text); err != nil {
				rows.Close()
				return nil, err
			}
			// PostgreSQL has another character in the place of a zero.
			if t.ID(n.text) != n.id && !strings.ContainsRune(n.text, '\uFFFD') && len(wrong) < maxBreaches {
				wrong = append(wrong, fmt.Sprintf("%s %d is %q, which has another id: the name was changed", t.Name, n.id, n.text))
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, db.explain("reading the names of", err)
		}
	}
	return wrong, nil
}
