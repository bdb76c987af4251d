package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Verifying: the chain, rows and names are compared with what was sealed. It changes nothing,
// and of what does not fit it tells maxBreaches at most.

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
