package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"
)

// The chain: the seals of a tenant in one row, each with a digest over itself and the one
// before, and the last one noted in a second place. Seals that were changed or removed show;
// nothing is added to a broken chain but a seal that accepts exactly what is wrong.

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

// Accepts tells that this one seals no rows: somebody has accepted, for its Reason, what was
// wrong with the chain before it, which its Coverage tells.
func (s Seal) Accepts() bool { return s.Table == acceptedBreak }

// acceptedBreak is, in the place of a table's name, what such a seal is of.
const acceptedBreak = "seals"

// digest is what a seal's Digest has to be after the one before it.
func (s Seal) digest(before string) string {
	text, _ := json.Marshal([]any{before, s.Seq, s.Table, s.Day, s.Version, s.Records, s.Columns, s.Hash, s.Coverage, s.Reason, stamp(s.At)})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// ErrChain says that seals were changed or removed.
var ErrChain = errors.New("the chain of seals is broken")

const sealColumns = `seq, table_name, day, version, records, columns, hash, coverage, reason, sealed_at, digest`

func (s *Seal) scan(row interface{ Scan(...any) error }) error {
	return row.Scan(&s.Seq, &s.Table, &s.Day, &s.Version, &s.Records, &s.Columns, &s.Hash, &s.Coverage, &s.Reason, stamped{&s.At}, &s.Digest)
}

// Seals gives the seals of days from one to another, all versions, in the order of the chain.
func (db *DB) Seals(ctx context.Context, tenant, from, to int) ([]Seal, error) {
	return list(ctx, db, "reading the seals of", func(rows *sql.Rows, s *Seal) error { return s.scan(rows) },
		`SELECT `+sealColumns+` FROM seals WHERE tenant_id = $1 AND day >= $2 AND day <= $3 ORDER BY seq`, tenant, from, to)
}

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

type dayTable struct {
	day   int
	table string
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

// follows tells whether a number is the next one.
func (c *chain) follows(seq int64) bool {
	if seq != c.last.Seq+1 {
		c.breach(Breach{Seq: c.last.Seq + 1, Text: fmt.Sprintf("seals were removed: after number %d comes %d", c.last.Seq, seq)}, "gap", c.last.Seq, seq)
	}
	return seq == c.last.Seq+1
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

func (c *chain) breaches() []Breach {
	all := slices.Concat(c.wrong, c.ending)
	return all[:min(len(all), maxBreaches)]
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
