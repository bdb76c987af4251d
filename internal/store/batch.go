package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A Batch is one piece of a content blob on its way into the database: some
// hundred records as the source sent them, and the rows made of them.
type Batch struct {
	ContentID int64
	day       int // on which it came
	// Records counts the records read, whatever became of them. The rows added
	// are made of the one counted last.
	Records int
	// OutOfScope counts those that the feed's scope leaves out.
	OutOfScope int
	db         *DB
	raw        []byte // the records kept, a line each; compressed by Seal
	memory     *[]byte
	bytes      int // length of raw before Seal
	names      Names
	tables     []*batchRows // that of the facts first

	held      []heldRecord // what cannot be stored
	heldBytes int

	again *replayed // of a piece that is kept and is decoded again
}

type batchRows struct {
	Rows
	owner  []int // for each row, the number of the record that it was made of
	memory *[]any
}

// NewBatch makes an empty piece number n of a blob.
func (db *DB) NewBatch(tenant int, feed, part, blob string, n int) *Batch {
	now := time.Now
	if db.now != nil {
		now = db.now
	}
	day := Day(now())
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%d\x00%s\x00%s\x00%s\x00%d", tenant, day, feed, part, blob, n))
	b := &Batch{db: db, names: Names{}, day: day, ContentID: int64(binary.BigEndian.Uint64(sum[:8]) >> 1)}
	b.memory = take[byte](&texts)
	b.raw = *b.memory
	return b
}

// Keep adds a record as the source sent it, and returns its offset in the
// piece.
func (b *Batch) Keep(record []byte) (at int) {
	if b.again != nil {
		return b.again.at
	}
	at = len(b.raw)
	b.raw = append(b.raw, record...)
	b.raw = append(b.raw, '\n')
	return at
}

// Add adds a row to a table.
func (b *Batch) Add(t *Table, values ...any) {
	r := b.rows(t)
	r.Add(values...)
	r.owner = append(r.owner, b.Records)
}

func (b *Batch) rows(t *Table) *batchRows {
	for _, r := range b.tables {
		if r.Table == t {
			return r
		}
	}
	r := &batchRows{}
	r.Table = t
	r.memory = take[any](&t.memory)
	r.values = *r.memory
	if t.Facts {
		b.tables = slices.Insert(b.tables, 0, r)
	} else {
		b.tables = append(b.tables, r)
	}
	return r
}

// free gives the memory of the rows back.
func (b *Batch) free() {
	for _, r := range b.tables {
		give(&r.Table.memory, r.memory, r.values)
		r.values = nil
	}
	b.tables = nil
}

// Name gives the id of a name and sees to it that the name is in its table. No
// name at all gives nil.
func (b *Batch) Name(t *NameTable, name []byte) any {
	if len(name) == 0 {
		return nil
	}
	if id, ok := b.names[t][string(name)]; ok {
		return id
	}
	if id, ok := b.db.known(t, name); ok {
		return id
	}
	s := string(name)
	id := t.ID(s)
	if b.names[t] == nil {
		b.names[t] = map[string]int64{}
	}
	b.names[t][s] = id
	return id
}

// Size is the number of bytes kept so far, those in quarantine compressed.
func (b *Batch) Size() int { return len(b.raw) + b.heldBytes }

// Seal compresses the piece. Nothing may be added after it.
func (b *Batch) Seal() {
	b.bytes = len(b.raw)
	text := b.raw
	b.raw = compress(text)
	give(&texts, b.memory, text)
}

// texts keeps the buffers of pieces for the next ones: *[]byte.
var texts sync.Pool

// take gets an empty slice from a pool, or a new one.
func take[T any](pool *sync.Pool) *[]T {
	if p, ok := pool.Get().(*[]T); ok {
		return p
	}
	return new([]T)
}

// give puts the memory of s into a pool, unless it has grown very large. p is
// what take gave.
func give[T any](pool *sync.Pool, p *[]T, s []T) {
	if cap(s) <= 1<<20 {
		clear(s)
		*p = s[:0]
		pool.Put(p)
	}
}

// Counts say what became of the records of a blob.
type Counts struct {
	Bytes                                               int64
	Records, Stored, Duplicate, OutOfScope, Quarantined int64
}

// Add adds d to c.
func (c *Counts) Add(d Counts) {
	c.Bytes += d.Bytes
	c.Records += d.Records
	c.Stored += d.Stored
	c.Duplicate += d.Duplicate
	c.OutOfScope += d.OutOfScope
	c.Quarantined += d.Quarantined
}

// Content names a blob of a feed.
type Content struct {
	Tenant           int
	Feed, Part, Blob string
	Created          time.Time
	Window           time.Time // the window that it is counted in; zero: look it up
}

// compare is the order in which a transaction writes blobs of the ledger.
func (c Content) compare(d Content) int {
	return cmp.Or(cmp.Compare(c.Tenant, d.Tenant), cmp.Compare(c.Feed, d.Feed), cmp.Compare(c.Part, d.Part), cmp.Compare(c.Blob, d.Blob))
}

// A Piece is a batch with the blob that it is of.
type Piece struct {
	Content
	*Batch
}

// Store writes sealed pieces and their rows, and takes them: they are of no use after
// it. It says for each what became of its records. A record whose key is there already
// is a duplicate if it says the same as the one there, member by member;
// otherwise it goes to quarantine, so that it is not lost.
func (tx *Tx) Store(pieces ...Piece) ([]Counts, error) {
	counts := make([]Counts, len(pieces))
	names := map[int]Names{} // by tenant
	var contents [][]any
	for i, p := range pieces {
		counts[i] = Counts{Records: int64(p.Records), OutOfScope: int64(p.OutOfScope)}
		if names[p.Tenant] == nil {
			names[p.Tenant] = Names{}
		}
		names[p.Tenant].add(p.names)
		if p.bytes > 0 && tx.db.raw == RawAll {
			contents = append(contents, []any{p.Tenant, p.day, p.ContentID, p.Feed, p.Part, p.Blob, p.bytes, p.raw})
		}
		defer p.free()
	}
	for tenant, n := range names {
		if err := tx.MergeNames(tenant, n); err != nil {
			return nil, err
		}
	}
	if _, err := tx.merge(contentsTable, contents); err != nil {
		return nil, err
	}
	// Facts first: what is made of a record whose key is taken is left out.
	known := make([]map[int]bool, len(pieces))
	held := make([][]heldRecord, len(pieces))
	for i, p := range pieces {
		held[i] = p.held
	}
	for _, t := range tablesOf(pieces) {
		var rows [][]any
		var of []origin
		for i, p := range pieces {
			for _, r := range p.tables {
				if r.Table != t {
					continue
				}
				for n := range r.Len() {
					if !known[i][r.owner[n]] {
						rows = append(rows, r.Row(n))
						of = append(of, origin{i, r.owner[n]})
					}
				}
			}
		}
		inserted, err := tx.merge(t, rows)
		if err != nil {
			return nil, err
		}
		if t.Counted {
			if err := tx.countRows(t, rows, inserted); err != nil {
				return nil, err
			}
		}
		if !t.Facts {
			continue
		}
		if err := tx.compare(t, pieces, rows, of, inserted, func(i, owner int, conflict *heldRecord) {
			if known[i] == nil {
				known[i] = map[int]bool{}
			}
			known[i][owner] = true
			if conflict != nil {
				held[i] = append(slices.Clip(held[i]), *conflict)
			} else {
				counts[i].Duplicate++
			}
		}); err != nil {
			return nil, err
		}
		for n, added := range inserted {
			if added {
				counts[of[n].piece].Stored++
			}
		}
	}
	return counts, tx.holdAll(pieces, held, counts)
}

// holdAll puts into quarantine what the pieces have for it, in the order of the keys, so
// that no two transactions wait for each other, and counts it.
func (tx *Tx) holdAll(pieces []Piece, held [][]heldRecord, counts []Counts) error {
	type heldOf struct {
		piece int
		heldRecord
	}
	var all []heldOf
	for i := range pieces {
		for _, q := range held[i] {
			all = append(all, heldOf{i, q})
		}
	}
	slices.SortStableFunc(all, func(a, b heldOf) int { return bytes.Compare(a.Digest, b.Digest) })
	for _, q := range all {
		added, err := tx.quarantine(pieces[q.piece].Content, q.heldRecord)
		if err != nil {
			return err
		}
		counts[q.piece].Quarantined += added
		counts[q.piece].Duplicate += 1 - added
	}
	return nil
}

// origin is where a row is from: the number of the piece, and of the record in it.
type origin struct{ piece, record int }

// contentsTable holds the records as the source sent them.
var contentsTable = &Table{Name: "contents", Key: 3, Columns: []string{"tenant_id", "day", "id", "feed", "part", "blob", "bytes", "data"}}

// tablesOf gives the tables that the pieces have rows for, that of the facts first.
func tablesOf(pieces []Piece) []*Table {
	var all []*Table
	for _, p := range pieces {
		for _, r := range p.tables {
			if slices.Contains(all, r.Table) {
				continue
			}
			if r.Table.Facts {
				all = slices.Insert(all, 0, r.Table)
			} else {
				all = append(all, r.Table)
			}
		}
	}
	// In one order, so that no two transactions wait for each other.
	slices.SortStableFunc(all, func(a, b *Table) int {
		if a.Facts != b.Facts {
			if a.Facts {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// compare looks at the facts that were not inserted, and tells of each record of them
// how it compares with the one that has its key.
func (tx *Tx) compare(t *Table, pieces []Piece, rows [][]any, of []origin, inserted []bool, tell func(piece, record int, conflict *heldRecord)) error {
	query := fmt.Sprintf(`SELECT content_id, content_at, content_len, content_hash FROM %s WHERE %s`, t.Name, keyCondition(t))
	loaded := map[int64][]byte{}
	for n, row := range rows {
		if inserted[n] {
			continue
		}
		var id int64
		var at, length int
		var hash sql.NullInt64
		if err := tx.queryRow(query, row[:t.Key]...).Scan(&id, &at, &length, &hash); err != nil {
			return fmt.Errorf("looking up a row of %s again: %w", t.Name, err)
		}
		p := pieces[of[n].piece]
		raw, ok := loaded[p.ContentID]
		if !ok {
			var err error
			if raw, err = decompress(p.raw); err != nil {
				return err
			}
			loaded[p.ContentID] = raw
		}
		place := row[len(row)-3:]
		ourAt, ourLen := place[1].(int), place[2].(int)
		ours := raw[ourAt : ourAt+ourLen]
		same, detail := false, "a record with the same Id is stored already, and the two differ"
		if hash.Valid {
			same = recordHash(ours) == hash.Int64
		} else {
			there, err := tx.content(p.Tenant, id, loaded)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				detail = "a row with the same Id is there already, and reeve has no text for it: it is not kept any more, or another program wrote the row. So nobody can say whether the two differ, and the row stays as it is"
			case err != nil:
				return err
			case at < 0 || length < 0 || at+length > len(there):
				return fmt.Errorf("reading a record of %s again: its place lies outside of content %d", t.Name, id)
			default:
				same = sameRecord(ours, there[at:at+length])
			}
		}
		if same {
			tell(of[n].piece, of[n].record, nil)
			continue
		}
		conflict := Quarantined{
			RecordID: recordID(t, row), Reason: ReasonConflict, Raw: ours, Bytes: int64(len(ours)), Detail: detail,
		}.seal()
		tell(of[n].piece, of[n].record, &conflict)
	}
	return nil
}

// content reads a piece, by way of those loaded before.
func (tx *Tx) content(tenant int, id int64, loaded map[int64][]byte) ([]byte, error) {
	if raw, ok := loaded[id]; ok {
		return raw, nil
	}
	var data []byte
	if err := tx.queryRow(`SELECT data FROM contents WHERE tenant_id = $1 AND id = $2`, tenant, id).Scan(&data); err != nil {
		return nil, fmt.Errorf("reading content %d: %w", id, err)
	}
	raw, err := decompress(data)
	if err != nil {
		return nil, fmt.Errorf("reading content %d: %v", id, err) // no end of the connection
	}
	if len(loaded) > maxLoaded {
		clear(loaded)
	}
	loaded[id] = raw
	return raw, nil
}

// maxLoaded bounds the pieces held while comparing: 32 of about 256 KiB.
const maxLoaded = 32

// Quarantined is a record that could not be stored.
type Quarantined struct {
	RecordID string // its own Id; empty if it could not be read
	Reason   string
	Detail   string
	Raw      []byte // as the source sent it, or its beginning
	Bytes    int64  // its full length
	Digest   []byte // the first 16 bytes of the SHA-256 of all of it; nil: that of Raw

	// Set when read.
	Tenant           int
	Feed, Part, Blob string
	SeenAt           time.Time
	Ignored          bool // somebody has said that it is no alarm
	Kept             bool // Raw is there
}

// ReasonConflict is the reason of a record whose key is taken by another one.
const ReasonConflict = "conflict"

// Hold puts a record into quarantine. Raw is compressed at once and may be used
// for something else after it.
func (b *Batch) Hold(q Quarantined) {
	b.held = append(b.held, q.seal())
	b.heldBytes += len(b.held[len(b.held)-1].data)
}

// heldRecord is a quarantined record, compressed.
type heldRecord struct {
	Quarantined
	data []byte
}

func (q Quarantined) seal() heldRecord {
	if q.Digest == nil {
		sum := sha256.Sum256(q.Raw)
		q.Digest = sum[:16]
	}
	h := heldRecord{q, compress(q.Raw)}
	h.Raw = nil
	return h
}

func (tx *Tx) quarantine(c Content, q heldRecord) (int64, error) {
	if tx.db.raw == RawNone {
		q.data = []byte{}
	}
	n, err := tx.exec(`INSERT INTO quarantine
		(tenant_id, feed, digest, part, blob, record_id, reason, detail, bytes, seen_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant_id, feed, digest) DO NOTHING`,
		c.Tenant, c.Feed, q.Digest, c.Part, c.Blob, null(q.RecordID), q.Reason, q.Detail, q.Bytes, stamp(tx.Now), q.data)
	if err != nil {
		return 0, fmt.Errorf("putting a record into quarantine: %w", err)
	}
	return n, nil
}

// keyCondition compares a table's key with the first parameters.
func keyCondition(t *Table) string {
	var b []byte
	for i, c := range t.Columns[:t.Key] {
		if i > 0 {
			b = append(b, " AND "...)
		}
		b = fmt.Appendf(b, "%s = $%d", c, i+1)
	}
	return string(b)
}

// recordID gives the Id of a fact as the source writes it.
func recordID(t *Table, row []any) string {
	if i := slices.Index(t.Columns, "record_id"); i >= 0 {
		if s, ok := row[i].(string); ok {
			return s
		}
	}
	if id, ok := row[slices.Index(t.Columns, "id")].([]byte); ok {
		return FormatID(id)
	}
	return ""
}

// The encoder and decoder are safe for concurrent use by EncodeAll and
// DecodeAll.
var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(0), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(256<<20))
)

func compress(raw []byte) []byte {
	p := take[byte](&texts)
	data := encoder.EncodeAll(raw, *p)
	defer give(&texts, p, data)
	return bytes.Clone(data)
}

func decompress(data []byte) ([]byte, error) { return decoder.DecodeAll(data, nil) }

// Tables gives the rows of the piece, by table.
func (b *Batch) Tables() []*Rows {
	var all []*Rows
	for _, r := range b.tables {
		all = append(all, &r.Rows)
	}
	return all
}
