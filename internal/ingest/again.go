package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/reeve365/reeve/internal/store"
)

// A Form is what a feed's records become: enough to decode again those that are kept,
// without the source.
type Form struct {
	Name       string         // the feed's
	Tables     []*store.Table // those with a row or rows for a record that is stored; one is of facts
	NewDecoder func() Decoder
}

// ReplayOptions say what to decode again.
type ReplayOptions struct {
	DB     *store.DB
	Tenant int
	// First and Last are the days, inclusive, on which the text came. Last 0 means all
	// that follow.
	First, Last int
	// Dry leaves everything as it is.
	Dry bool
	// Progress is told how far it is. It may be nil.
	Progress func(Replayed)
}

// Replayed is what was decoded again, and what became of it.
type Replayed struct {
	Pieces   int64
	Bytes    int64
	Problems []string // pieces and records that could not be read, a few of them
	store.Replayed
	Unreadable int64 // pieces
	Days       store.ReplayedDays
}

// maxReplayProblems bounds what is told.
const maxReplayProblems = 10

func (r *Replayed) problem(format string, args ...any) {
	if len(r.Problems) < maxReplayProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Replay makes the rows of a feed's records anew from the text that is kept of them, some
// pieces in a transaction. Records of whose text nothing is kept stay as they are. It may
// end anywhere, and be run again.
func Replay(ctx context.Context, form Form, o ReplayOptions) (sum Replayed, err error) {
	if o.Progress == nil {
		o.Progress = func(Replayed) {}
	}
	days, err := o.DB.KeptDays(ctx, o.Tenant, o.First, o.Last)
	if err != nil {
		return sum, err
	}
	decoder := form.NewDecoder()
	for _, day := range days {
		for after := int64(-1); ; {
			if err := ctx.Err(); err != nil {
				return sum, err
			}
			pieces, err := o.DB.Kept(ctx, o.Tenant, form.Name, day, after)
			if err != nil {
				return sum, err
			}
			if len(pieces) == 0 {
				break
			}
			after = pieces[len(pieces)-1].ID
			var batches []*store.Batch
			for _, k := range pieces {
				sum.Pieces++
				sum.Bytes += int64(len(k.Text))
				b := o.DB.Rebuild(k)
				if k.Err == nil {
					k.Err = rebuild(k, decoder, b, &sum)
				}
				if k.Err != nil {
					sum.Unreadable++
					sum.problem("the piece %d of blob %s, which came on %d, cannot be read: %v", k.ID, k.Blob, k.Day, k.Err)
				}
				batches = append(batches, b)
			}
			n, err := o.DB.Replay(ctx, o.Tenant, form.Tables, batches, &sum.Days, o.Dry)
			if err != nil {
				return sum, err
			}
			sum.Add(n)
			o.Progress(sum)
		}
	}
	return sum, nil
}

// rebuild decodes the records of a piece. Those before an error are in the batch.
func rebuild(k store.Kept, decoder Decoder, b *store.Batch, sum *Replayed) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(k.Text), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	for {
		v, err := dec.ReadValue()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		end := int(dec.InputOffset())
		at := end - len(v)
		record := k.Text[at:end]
		b.Again(record, at)
		if bad := decoder.Decode(record, b); bad != nil {
			sum.problem("record %s of blob %s was stored once, and cannot be decoded now (%s): %s", bad.RecordID, k.Blob, bad.Reason, bad.Detail)
		}
	}
}

// RetryOptions say what of the quarantine to decode again.
type RetryOptions struct {
	DB     *store.DB
	Tenant int
	Which  store.QuarantineFilter
	Dry    bool // leaves everything as it is
}

// Retried is what became of records in quarantine. Each is one of Stored, Duplicate,
// OutOfScope, Held and NotWhole.
type Retried struct {
	Records    int64
	Stored     int64
	Duplicate  int64 // the same is stored already
	OutOfScope int64
	Held       int64 // still in quarantine
	NotWhole   int64 // likewise, since not all of its text is kept
}

// errDry ends a transaction of which nothing is to remain.
var errDry = errors.New("nothing is to remain")

// Retry decodes a feed's records in quarantine again, and stores those that can be stored
// now, some records in a transaction. It may end anywhere, and be run again.
func Retry(ctx context.Context, form Form, o RetryOptions) (sum Retried, err error) {
	decoder := form.NewDecoder()
	var after []byte
	for {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		var n Retried
		last := after
		err := o.DB.WriteFacts(ctx, func(tx *store.Tx) error {
			held, err := tx.Held(o.Tenant, form.Name, o.Which, after)
			if err != nil || len(held) == 0 {
				return err
			}
			last = held[len(held)-1].Digest
			if n, err = retry(tx, o, decoder, held); err == nil && o.Dry {
				err = errDry
			}
			return err
		})
		if err != nil && !errors.Is(err, errDry) {
			return sum, err
		}
		if n.Records == 0 {
			return sum, nil
		}
		after = last
		sum.Records += n.Records
		sum.Stored += n.Stored
		sum.Duplicate += n.Duplicate
		sum.OutOfScope += n.OutOfScope
		sum.Held += n.Held
		sum.NotWhole += n.NotWhole
	}
}

// retry decodes some records, those of a blob together.
func retry(tx *store.Tx, o RetryOptions, decoder Decoder, held []store.Quarantined) (n Retried, err error) {
	var blobs []store.Content
	byBlob := map[store.Content][]store.Quarantined{}
	for _, q := range held {
		n.Records++
		if !q.Whole() || q.Reason == reasonMalformed {
			n.NotWhole++
			continue
		}
		c := store.Content{Tenant: q.Tenant, Feed: q.Feed, Part: q.Part, Blob: q.Blob}
		if byBlob[c] == nil {
			blobs = append(blobs, c)
		}
		byBlob[c] = append(byBlob[c], q)
	}
	for _, c := range blobs {
		b := o.DB.RetryBatch(c, byBlob[c])
		var ready []store.Quarantined
		for _, q := range byBlob[c] {
			b.Records++
			bad := decoder.Decode(q.Raw, b)
			if bad == nil {
				ready = append(ready, q)
				continue
			}
			b.Records-- // it has added nothing
			n.Held++
			if bad.Reason != q.Reason || bad.Detail != q.Detail {
				q.Reason, q.Detail, q.RecordID = bad.Reason, bad.Detail, bad.RecordID
				if err := tx.Condemn(q); err != nil {
					return n, err
				}
			}
		}
		if len(ready) == 0 {
			continue
		}
		counts, err := tx.Release(c, ready, b)
		if err != nil {
			return n, err
		}
		n.Stored += counts.Stored
		n.Duplicate += counts.Duplicate
		n.OutOfScope += counts.OutOfScope
		n.Held += counts.Quarantined
	}
	return n, nil
}
