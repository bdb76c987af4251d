package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// isIgnored is true of the rows q of quarantine that are no alarm.
const isIgnored = `EXISTS (SELECT 1 FROM quarantine_ignored i WHERE i.tenant_id = q.tenant_id AND i.reason = q.reason
	AND (i.detail_has = '' OR replace(q.detail, i.detail_has, '') <> q.detail))`

const quarantineColumns = `q.tenant_id, q.feed, q.digest, q.part, q.blob, coalesce(q.record_id, ''), q.reason, q.detail, q.bytes, q.seen_at,
	CASE WHEN ` + isIgnored + ` THEN 1 ELSE 0 END, q.data`

func scanQuarantined(rows *sql.Rows, q *Quarantined) error {
	var ignored int
	var data []byte
	err := rows.Scan(&q.Tenant, &q.Feed, &q.Digest, &q.Part, &q.Blob, &q.RecordID, &q.Reason, &q.Detail, &q.Bytes, stamped{&q.SeenAt}, &ignored, &data)
	if err != nil {
		return err
	}
	q.Ignored, q.Kept = ignored == 1, len(data) > 0 || q.Bytes == 0
	q.Raw, err = decompress(data)
	return err
}

// Whole tells whether Raw is the whole record.
func (q *Quarantined) Whole() bool { return q.Kept && int64(len(q.Raw)) == q.Bytes }

// CountQuarantine counts what is in quarantine and not ignored, by reason.
func (db *DB) CountQuarantine(ctx context.Context, tenant int) ([]Count, error) {
	return list(ctx, db, "reading the quarantine of", scanCount,
		`SELECT reason, count(*) FROM quarantine q WHERE tenant_id = $1 AND NOT `+isIgnored+` GROUP BY reason ORDER BY 2 DESC, 1`, tenant)
}

// A Kind is what is in quarantine for one reason.
type Kind struct {
	Reason          string
	Records         int64
	Ignored         int64 // of them
	Oldest, Newest  time.Time
	Bytes, KeptData int64 // as the source sent them; what is kept of them, compressed
}

// Kinds sums up what is in quarantine, the most first. Whatever the filter says, what is
// ignored is counted too.
func (db *DB) Kinds(ctx context.Context, tenant int, f QuarantineFilter) ([]Kind, error) {
	f.Alarms = false
	condition, args := f.where(1)
	return list(ctx, db, "reading the quarantine of", func(rows *sql.Rows, k *Kind) error {
		return rows.Scan(&k.Reason, &k.Records, &k.Ignored, stamped{&k.Oldest}, stamped{&k.Newest}, &k.Bytes, &k.KeptData)
	}, `SELECT reason, count(*), sum(CASE WHEN `+isIgnored+` THEN 1 ELSE 0 END), min(seen_at), max(seen_at), CAST(sum(bytes) AS BIGINT), sum(octet_length(data))
		FROM quarantine q WHERE tenant_id = $1 AND `+condition+` GROUP BY reason ORDER BY 2 DESC, 1`, append([]any{tenant}, args...)...)
}

// QuarantineFilter says which rows of quarantine are meant.
type QuarantineFilter struct {
	Reason string // empty: each
	// Has is a text that is in the detail.
	Has   string
	Since time.Time
	// Alarms leaves out what is ignored.
	Alarms bool
}

// where gives the condition with its parameters, which follow n others.
func (f QuarantineFilter) where(n int) (string, []any) {
	args := []any{f.Reason, f.Has, stamp(f.Since)}
	condition := fmt.Sprintf(`($%[1]d = '' OR q.reason = $%[1]d) AND ($%[2]d = '' OR replace(q.detail, $%[2]d, '') <> q.detail)`, n+1, n+2)
	if f.Since.IsZero() {
		args = args[:2]
	} else {
		condition += fmt.Sprintf(" AND q.seen_at >= $%d", n+3)
	}
	if f.Alarms {
		condition += " AND NOT " + isIgnored
	}
	return condition, args
}

// Quarantine lists up to limit of what is in quarantine, the newest first, without the
// text: those that follow the one with the digest after, if that is not nil.
func (db *DB) Quarantine(ctx context.Context, tenant int, f QuarantineFilter, after []byte, limit int) ([]Quarantined, error) {
	condition, args := f.where(2)
	args = append([]any{tenant, limit}, args...)
	if after != nil {
		condition += fmt.Sprintf(` AND (q.seen_at, q.digest) < (SELECT a.seen_at, a.digest FROM quarantine a WHERE a.tenant_id = $1 AND a.digest = $%d)`, len(args)+1)
		args = append(args, after)
	}
	return list(ctx, db, "reading the quarantine of", func(rows *sql.Rows, q *Quarantined) error {
		var ignored, kept int
		err := rows.Scan(&q.Tenant, &q.Feed, &q.Digest, &q.Part, &q.Blob, &q.RecordID, &q.Reason, &q.Detail, &q.Bytes, stamped{&q.SeenAt}, &ignored, &kept)
		q.Ignored, q.Kept = ignored == 1, kept == 1 || q.Bytes == 0
		return err
	}, `SELECT `+strings.TrimSuffix(quarantineColumns, "q.data")+` CASE WHEN octet_length(q.data) > 0 THEN 1 ELSE 0 END
		FROM quarantine q WHERE q.tenant_id = $1 AND `+condition+` ORDER BY q.seen_at DESC, q.digest DESC LIMIT $2`, args...)
}

// ErrAmbiguous says that a digest's beginning fits more than one record.
var ErrAmbiguous = errors.New("more than one fits")

// Quarantined finds what is in quarantine by its digest, or the beginning of that, in
// hexadecimal. The error matches ErrNotFound if there is none.
func (db *DB) Quarantined(ctx context.Context, tenant int, digest string) (Quarantined, error) {
	digest = strings.ToLower(digest)
	first, err1 := hex.DecodeString(digest + strings.Repeat("0", max(0, 32-len(digest))))
	last, err2 := hex.DecodeString(digest + strings.Repeat("f", max(0, 32-len(digest))))
	if err := errors.Join(err1, err2); err != nil || len(first) != 16 {
		return Quarantined{}, ErrNotFound
	}
	found, err := list(ctx, db, "reading the quarantine of", scanQuarantined, `SELECT `+quarantineColumns+`
		FROM quarantine q WHERE q.tenant_id = $1 AND q.digest >= $2 AND q.digest <= $3 ORDER BY q.digest LIMIT 2`, tenant, first, last)
	switch {
	case err != nil:
		return Quarantined{}, err
	case len(found) == 0:
		return Quarantined{}, ErrNotFound
	case len(found) > 1:
		return Quarantined{}, ErrAmbiguous
	}
	return found[0], nil
}

// An Ignored is a kind of quarantined records that is no alarm: those of a reason, in
// whose detail a text is.
type Ignored struct {
	Reason, Has string
	Why         string
	Since       time.Time
	Records     int64 // that are in quarantine
}

// Ignore makes a kind no alarm from now on, what is there already included. Of one that is
// ignored already it changes why.
func (db *DB) Ignore(ctx context.Context, tenant int, i Ignored) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO quarantine_ignored (tenant_id, reason, detail_has, why, since) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant_id, reason, detail_has) DO UPDATE SET why = excluded.why, since = excluded.since`,
			tenant, i.Reason, i.Has, i.Why, stamp(tx.Now))
		return err
	})
}

// Heed makes a kind an alarm again. The error matches ErrNotFound if it was not ignored.
func (db *DB) Heed(ctx context.Context, tenant int, reason, has string) error {
	return db.Write(ctx, func(tx *Tx) error {
		n, err := tx.exec(`DELETE FROM quarantine_ignored WHERE tenant_id = $1 AND reason = $2 AND detail_has = $3`, tenant, reason, has)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

// IgnoredKinds lists the kinds that are no alarm.
func (db *DB) IgnoredKinds(ctx context.Context, tenant int) ([]Ignored, error) {
	return list(ctx, db, "reading the quarantine of", func(rows *sql.Rows, i *Ignored) error {
		return rows.Scan(&i.Reason, &i.Has, &i.Why, stamped{&i.Since}, &i.Records)
	}, `SELECT i.reason, i.detail_has, i.why, i.since, (SELECT count(*) FROM quarantine q WHERE q.tenant_id = i.tenant_id AND q.reason = i.reason
			AND (i.detail_has = '' OR replace(q.detail, i.detail_has, '') <> q.detail))
		FROM quarantine_ignored i WHERE i.tenant_id = $1 ORDER BY i.reason, i.detail_has`, tenant)
}

const (
	heldRecords = 200     // of one page
	heldText    = 4 << 20 // beyond which a page ends; one record alone may be longer
)

// Held gives some of a feed's records in quarantine with their text, in the order of their
// digests: those after a digest, nil for the first. None are left when it gives none.
func (db *DB) Held(ctx context.Context, tenant int, feed string, f QuarantineFilter, after []byte) ([]Quarantined, error) {
	return held(func(query string, args ...any) (*sql.Rows, error) { return db.read.QueryContext(ctx, query, args...) }, tenant, feed, f, after)
}

// Held is the same within a transaction.
func (tx *Tx) Held(tenant int, feed string, f QuarantineFilter, after []byte) ([]Quarantined, error) {
	return held(tx.query, tenant, feed, f, after)
}

func held(query func(string, ...any) (*sql.Rows, error), tenant int, feed string, f QuarantineFilter, after []byte) ([]Quarantined, error) {
	if after == nil {
		after = []byte{0} // a digest is longer
	}
	condition, args := f.where(4)
	args = append([]any{tenant, feed, after, heldRecords}, args...)
	// First how much there is, since one may be very long.
	rows, err := query(`SELECT q.digest, q.bytes FROM quarantine q
		WHERE q.tenant_id = $1 AND q.feed = $2 AND q.digest > $3 AND `+condition+` ORDER BY q.digest LIMIT $4`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var last []byte
	for size := int64(0); size < heldText && rows.Next(); {
		var bytes int64
		if err := rows.Scan(&last, &bytes); err != nil {
			return nil, err
		}
		size += bytes
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || last == nil {
		return nil, err
	}
	args = append(args, last)
	rows, err = query(fmt.Sprintf(`SELECT %s FROM quarantine q
		WHERE q.tenant_id = $1 AND q.feed = $2 AND q.digest > $3 AND q.digest <= $%d AND %s ORDER BY q.digest LIMIT $4`, quarantineColumns, len(args), condition), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Quarantined
	for rows.Next() {
		var q Quarantined
		if err := scanQuarantined(rows, &q); err != nil {
			return nil, err
		}
		all = append(all, q)
	}
	return all, rows.Err()
}

// Release takes records of one blob out of quarantine and stores what was made of them,
// in one transaction with what Held gave. It gives what became of them; those that
// another record keeps from being stored are in quarantine again, and no newer than
// they were.
func (tx *Tx) Release(c Content, records []Quarantined, b *Batch) (Counts, error) {
	var args [][]any
	for _, q := range records {
		args = append(args, []any{c.Tenant, c.Feed, q.Digest})
	}
	gone, err := tx.each(`DELETE FROM quarantine WHERE tenant_id = $1 AND feed = $2 AND digest = $3`, args)
	if err != nil {
		return Counts{}, fmt.Errorf("taking records out of quarantine: %w", err)
	}
	b.Seal()
	counts, err := tx.Store(Piece{c, b})
	if err != nil {
		return Counts{}, err
	}
	n := counts[0]
	released := int64(0)
	for i, q := range records {
		released += gone[i]
		args[i] = append(args[i], stamp(q.SeenAt))
	}
	if n.Quarantined > 0 {
		if _, err := tx.each(`UPDATE quarantine SET seen_at = $4 WHERE tenant_id = $1 AND feed = $2 AND digest = $3`, args); err != nil {
			return Counts{}, err
		}
	}
	// The ledger counted them when they came.
	if err := tx.findWindow(&c); err != nil {
		return Counts{}, err
	}
	more := Counts{Stored: n.Stored, Duplicate: n.Duplicate, OutOfScope: n.OutOfScope, Quarantined: n.Quarantined - released}
	tx.count(c.Tenant, c.Feed, c.Part, c.Window, windowSums{Counts: more})
	_, err = tx.exec(`UPDATE ledger_blobs SET stored = stored + $5, duplicate = duplicate + $6, out_of_scope = out_of_scope + $7, quarantined = quarantined + $8
		WHERE tenant_id = $1 AND feed = $2 AND part = $3 AND blob = $4`,
		c.Tenant, c.Feed, c.Part, c.Blob, more.Stored, more.Duplicate, more.OutOfScope, more.Quarantined)
	return n, err
}

// Condemn records that a record in quarantine cannot be stored for another reason now.
func (tx *Tx) Condemn(q Quarantined) error {
	_, err := tx.exec(`UPDATE quarantine SET reason = $4, detail = $5, record_id = $6 WHERE tenant_id = $1 AND feed = $2 AND digest = $3`,
		q.Tenant, q.Feed, q.Digest, q.Reason, q.Detail, null(q.RecordID))
	return err
}

// RetryBatch makes a batch for records of one blob that were in quarantine.
func (db *DB) RetryBatch(c Content, records []Quarantined) *Batch {
	var digests bytes.Buffer
	for _, q := range records {
		digests.Write(q.Digest)
	}
	// A piece of its own, whenever it is.
	return db.NewBatch(c.Tenant, c.Feed, c.Part, fmt.Sprintf("%s\x00%x\x00%d", c.Blob, digests.Bytes(), db.now().UnixNano()), 0)
}
