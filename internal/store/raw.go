package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Raw is how much is kept of records as the source sent them.
type Raw string

const (
	RawAll         Raw = "all"         // the text of every record that is stored or in quarantine
	RawQuarantined Raw = "quarantined" // that of those in quarantine
	RawNone        Raw = "none"        // no text at all
)

// Hash is the value for the column content_hash of a record's row: nothing if its text is
// kept. It makes the same of texts that say the same.
func (b *Batch) Hash(record []byte) any {
	if b.again != nil || b.db.raw == RawAll || b.db.raw == "" {
		return nil
	}
	return recordHash(record)
}

func recordHash(record []byte) int64 {
	text, err := canonical(record)
	if err != nil {
		text = record
	}
	sum := sha256.Sum256(text)
	return int64(binary.BigEndian.Uint64(sum[:8]) >> 1)
}

// RawSize is how much is kept of records as the source sent them.
type RawSize struct {
	Pieces, Bytes, Stored int64 // of contents; Bytes before compression, Stored after it
	Oldest                int   // the day on which the oldest of them came; 0 if there is none
	Held, HeldStored      int64 // in quarantine: records, and their text after compression
}

// RawSize looks through all of it.
func (db *DB) RawSize(ctx context.Context, tenant int) (s RawSize, err error) {
	if err = db.read.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(octet_length(data)), 0), coalesce(min(day), 0)
		FROM contents WHERE tenant_id = $1`, tenant).Scan(&s.Pieces, &s.Bytes, &s.Stored, &s.Oldest); err == nil {
		err = db.read.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(octet_length(data)), 0)
			FROM quarantine WHERE tenant_id = $1`, tenant).Scan(&s.Held, &s.HeldStored)
	}
	return s, db.explain("measuring", err)
}

const (
	forgetPieces  = 100 // of one transaction
	forgetRecords = 200
	forgetSteps   = 200 // of one call: some 5 GB of text as it was sent
)

// textsGivenUp is the entry of schema_state by which one knows that text was given up on
// purpose.
const textsGivenUp = "texts given up"

// Forget gives up the text of a feed's records that came before a time: the pieces of
// contents, by day, and what is in quarantine and ignored. Rows stay. PostgreSQL gives up
// whole months. It does so in small transactions, a bounded number of them, and says
// whether more is left for the next call.
func (db *DB) Forget(ctx context.Context, tenant int, feed string, before time.Time) (pieces, records int64, more bool, err error) {
	// Before anything: so that what is given up on purpose is not looked for.
	if err := db.WriteBeside(ctx, func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO schema_state (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, textsGivenUp, stamp(tx.Now))
		return err
	}); err != nil {
		return 0, 0, false, err
	}
	pieces, first, err := db.engine.dropMonths(ctx, tenant, feed, Day(before))
	if err != nil {
		return pieces, 0, false, db.explain("giving up old text in", err)
	}
	days, err := db.days(ctx, tenant, "contents") // the newest first
	if err != nil {
		return pieces, 0, false, err
	}
	steps := forgetSteps
	for i := len(days) - 1; i >= 0 && days[i] < first; i-- {
		for {
			if steps--; steps < 0 {
				return pieces, records, true, nil
			}
			n, err := db.forgetSome(ctx, `DELETE FROM contents WHERE tenant_id = $1 AND day = $2 AND id IN (
				SELECT id FROM contents WHERE tenant_id = $1 AND day = $2 AND feed = $3 ORDER BY id LIMIT $4)`, tenant, days[i], feed, forgetPieces)
			pieces += n
			if err != nil {
				return pieces, records, false, err
			}
			if n < forgetPieces {
				break
			}
		}
	}
	for {
		if steps--; steps < 0 {
			return pieces, records, true, nil
		}
		n, err := db.forgetSome(ctx, `UPDATE quarantine SET data = $5 WHERE tenant_id = $1 AND feed = $2 AND digest IN (
			SELECT digest FROM quarantine q WHERE tenant_id = $1 AND feed = $2 AND seen_at < $3 AND octet_length(data) > 0 AND `+isIgnored+`
			ORDER BY seen_at LIMIT $4)`, tenant, feed, stamp(before), forgetRecords, []byte{})
		records += n
		if err != nil || n < forgetRecords {
			return pieces, records, false, err
		}
	}
}

func (db *DB) forgetSome(ctx context.Context, query string, args ...any) (n int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err = db.WriteBeside(ctx, func(tx *Tx) (err error) {
		if n, err = tx.exec(query, args...); err != nil {
			return fmt.Errorf("giving up old text: %w", err)
		}
		return nil
	})
	return n, err
}

// dropMonths has nothing to drop as a whole.
func (e *sqliteEngine) dropMonths(_ context.Context, _ int, _ string, before int) (int64, int, error) {
	return 0, before, nil
}

// dropPatience is how long dropping a month waits for those who read it; what comes after
// it waits meanwhile.
const dropPatience = 2 * time.Second

// dropMonths drops the partitions of contents that end before a day and hold nothing but
// the feed's. Of months that hold others' text, too, the rows are left to be deleted.
func (e *postgresEngine) dropMonths(ctx context.Context, tenant int, feed string, before int) (pieces int64, first int, err error) {
	first = before/100*100 + 1
	rows, err := e.pool.QueryContext(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'contents'::regclass AND c.relname < $1 AND c.relname ~ '^contents_[0-9]{6}$'
		ORDER BY c.relname`, fmt.Sprintf("contents_%d", before/100))
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return 0, 0, err
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		n, err := e.dropTexts(ctx, name, tenant, feed)
		if err != nil {
			return pieces, 0, fmt.Errorf("dropping %s: %w", name, err)
		}
		pieces += n
	}
	return pieces, first, nil
}

// dropTexts drops one month. Who imports waits, and learns that it is gone.
func (e *postgresEngine) dropTexts(ctx context.Context, name string, tenant int, feed string) (pieces int64, err error) {
	tx, err := e.pool.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	var others bool
	for _, query := range []string{
		fmt.Sprintf("SET LOCAL lock_timeout = %d", dropPatience.Milliseconds()),
		fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(turnToDrop)),
	} {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return 0, err
		}
	}
	if err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FILTER (WHERE tenant_id = $1 AND feed = $2),
		count(*) FILTER (WHERE tenant_id <> $1 OR feed <> $2) > 0 FROM %s`, name), tenant, feed).Scan(&pieces, &others); err != nil {
		return 0, err
	}
	if others {
		return 0, nil
	}
	for _, query := range []string{"DROP TABLE " + name, countDrop} {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return 0, err
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	return pieces, nil
}
