package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// ParseID reads a GUID, with or without hyphens and braces, in either case. ok
// is false if s is no GUID.
func ParseID(s []byte) (id [16]byte, ok bool) {
	if len(s) == 38 && s[0] == '{' && s[37] == '}' {
		s = s[1:37]
	}
	var digits [32]byte
	switch len(s) {
	case 36:
		if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return id, false
		}
		copy(digits[0:], s[0:8])
		copy(digits[8:], s[9:13])
		copy(digits[12:], s[14:18])
		copy(digits[16:], s[19:23])
		copy(digits[20:], s[24:36])
	case 32:
		copy(digits[:], s)
	default:
		return id, false
	}
	_, err := hex.Decode(id[:], digits[:])
	return id, err == nil
}

// scannedID reads an id: SQLite gives its bytes, PostgreSQL its text.
type scannedID struct{ id *[16]byte }

func (s scannedID) Scan(v any) error {
	ok := false
	switch v := v.(type) {
	case []byte:
		if ok = len(v) == 16; ok {
			*s.id = [16]byte(v)
		} else {
			*s.id, ok = ParseID(v)
		}
	case string:
		*s.id, ok = ParseID([]byte(v))
	}
	if !ok {
		return fmt.Errorf("reading an id from the database: it is a %T", v)
	}
	return nil
}

// HashID makes an id of a text that is no GUID: a version 8 UUID of its
// SHA-256.
func HashID(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	id := [16]byte(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// FormatID writes an id as a GUID.
func FormatID(id []byte) string {
	if len(id) != 16 {
		return hex.EncodeToString(id)
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}

// sameRecord tells whether two JSON texts say the same: the same members with
// the same values, in whatever order. The source sends a record again with its
// members in another order.
func sameRecord(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err := canonical(a)
	if err != nil {
		return false
	}
	y, err := canonical(b)
	return err == nil && bytes.Equal(x, y)
}

// canonical is a JSON text with its members in order and no space. No number is rounded.
func canonical(text []byte) ([]byte, error) {
	v := jsontext.Value(bytes.Clone(text))
	err := v.Canonicalize(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true),
		jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	return v, err
}

// ErrNotFound says that there is no such record.
var ErrNotFound = errors.New("not found")

// A Found record is one that the database holds, as the source sent it.
type Found struct {
	Raw []byte
	// State is "stored", "out of scope" (then Raw is empty) or the reason of
	// its quarantine.
	State, Detail string
	Part, Blob    string
}

// Record finds every record with the given Id: the one that is stored, and
// those in quarantine. If there is none the error matches ErrNotFound.
func (db *DB) Record(ctx context.Context, tenant int, recordID string) ([]Found, error) {
	id, ok := ParseID([]byte(recordID))
	if !ok {
		id = HashID(recordID)
	}
	var found []Found
	days, err := db.days(ctx, tenant, "audit_events")
	if err != nil {
		return nil, err
	}
	for _, day := range days {
		f, err := db.stored(ctx, tenant, day, id[:])
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, db.explain("reading a record from", err)
		}
		found = append(found, f)
	}
	held, err := list(ctx, db, "reading the quarantine of", scanQuarantined,
		`SELECT `+quarantineColumns+` FROM quarantine q WHERE tenant_id = $1 AND record_id = $2 ORDER BY seen_at, digest`, tenant, recordID)
	if err != nil {
		return nil, err
	}
	for _, q := range held {
		found = append(found, Found{Raw: q.Raw, State: q.Reason, Detail: q.Detail, Part: q.Part, Blob: q.Blob})
	}
	if len(found) == 0 {
		ignored, err := db.ignored(ctx, tenant, id[:])
		if err != nil {
			return nil, err
		}
		if !ignored {
			return nil, ErrNotFound
		}
		found = append(found, Found{State: "out of scope", Detail: "org-urls leaves it out; only its Id was kept"})
	}
	return found, nil
}

// days lists the days that a table of facts has rows for. The key begins with
// tenant and day, so that each step is one look into the index.
func (db *DB) days(ctx context.Context, tenant int, table string) ([]int, error) {
	return list(ctx, db, "reading", func(rows *sql.Rows, day *int) error { return rows.Scan(day) }, strings.ReplaceAll(`
		WITH RECURSIVE days (day) AS (
			SELECT max(day) FROM TABLE_ WHERE tenant_id = $1
			UNION ALL
			SELECT (SELECT max(day) FROM TABLE_ WHERE tenant_id = $1 AND day < days.day)
			FROM days WHERE days.day IS NOT NULL)
		SELECT day FROM days WHERE day IS NOT NULL`, "TABLE_", table), tenant)
}

func (db *DB) stored(ctx context.Context, tenant, day int, id []byte) (Found, error) {
	f := Found{State: "stored"}
	var at, length int
	var defects sql.NullString
	var data []byte
	err := db.read.QueryRowContext(ctx, `
		SELECT e.content_at, e.content_len, e.defects, coalesce(c.part, ''), coalesce(c.blob, ''), c.data
		FROM audit_events e LEFT JOIN contents c ON c.tenant_id = e.tenant_id AND c.id = e.content_id
		WHERE e.tenant_id = $1 AND e.day = $2 AND e.id = $3`, tenant, day, id).
		Scan(&at, &length, &defects, &f.Part, &f.Blob, &data)
	if err != nil {
		return f, err
	}
	f.Detail = defects.String
	if data == nil {
		f.Detail = strings.TrimPrefix(f.Detail+"; its text is not kept, or not any more", "; ")
		return f, nil
	}
	raw, err := decompress(data)
	if err != nil {
		return f, fmt.Errorf("reading the content of blob %s: %w", f.Blob, err)
	}
	if at < 0 || length < 0 || at+length > len(raw) {
		return f, fmt.Errorf("reading the content of blob %s: the record's place lies outside of it", f.Blob)
	}
	f.Raw = raw[at : at+length]
	return f, nil
}

func (db *DB) ignored(ctx context.Context, tenant int, id []byte) (bool, error) {
	days, err := db.days(ctx, tenant, "ignored_audit_events")
	if err != nil {
		return false, err
	}
	for _, day := range days {
		var n int
		if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM ignored_audit_events
			WHERE tenant_id = $1 AND day = $2 AND event_id = $3`, tenant, day, id).Scan(&n); err != nil {
			return false, db.explain("reading", err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

// Where a record is.
type Where int

const (
	IsMissing Where = iota
	IsStored
	IsIgnored // out of scope: only its Id was kept
	IsQuarantined
)

// Whereabouts reads the ids of all records, and gives a function that tells
// where a record is; records without an Id have the empty one. It needs about 40 bytes of memory for each; a record that
// is both stored and in quarantine is stored.
func (db *DB) Whereabouts(ctx context.Context, tenant int) (func(recordID string) Where, error) {
	ids := map[[16]byte]Where{}
	for _, kind := range []struct {
		query string
		where Where
	}{
		{`SELECT event_id FROM ignored_audit_events WHERE tenant_id = $1`, IsIgnored},
		{`SELECT id FROM audit_events WHERE tenant_id = $1`, IsStored},
	} {
		rows, err := db.read.QueryContext(ctx, kind.query, tenant)
		if err != nil {
			return nil, db.explain("reading the ids of", err)
		}
		for rows.Next() {
			var id [16]byte
			if err := rows.Scan(scannedID{&id}); err != nil {
				rows.Close()
				return nil, err
			}
			ids[id] = kind.where
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, db.explain("reading the ids of", err)
		}
	}
	held, err := list(ctx, db, "reading the quarantine of", func(rows *sql.Rows, id *string) error { return rows.Scan(id) },
		`SELECT DISTINCT coalesce(record_id, '') FROM quarantine WHERE tenant_id = $1`, tenant)
	if err != nil {
		return nil, err
	}
	quarantined := map[string]bool{}
	for _, id := range held {
		quarantined[id] = true
	}
	return func(recordID string) Where {
		id, ok := ParseID([]byte(recordID))
		if !ok {
			id = HashID(recordID)
		}
		if w := ids[id]; w != IsMissing {
			return w
		}
		if quarantined[recordID] {
			return IsQuarantined
		}
		return IsMissing
	}, nil
}
