package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/store"
)

// linger is how long a transaction waits for more readings to share it. Each one
// writes pages of the same indexes again, so that few cost less than many.
const linger = 500 * time.Millisecond

// storeAll stores the readings as they become ready. Whole ones share a
// transaction, up to groupRows of them. Its error is the database's or ctx's.
func (r *run) storeAll(ctx context.Context, ready <-chan *reading) error {
	var next *reading
	for {
		rd := next
		next = nil
		if rd == nil {
			var ok bool
			if rd, ok = <-ready; !ok {
				return nil
			}
		}
		if rd.partial {
			if err := r.storePartial(ctx, rd); err != nil {
				return err
			}
			continue
		}
		group := []*reading{rd}
		timer := time.NewTimer(linger)
	collect:
		for rows := rd.rows(); rows < groupRows; {
			select {
			case rd, ok := <-ready:
				if !ok {
					break collect
				}
				if rd.partial {
					next = rd
					break collect
				}
				group = append(group, rd)
				rows += rd.rows()
			case <-timer.C:
				break collect
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
		timer.Stop()
		if err := r.storeGroup(ctx, group); err != nil {
			return err
		}
	}
}

// rows estimates the rows of a whole reading, to bound a transaction.
func (rd *reading) rows() int { return max(rd.records, len(rd.pieces)*100) }

// storeGroup stores readings that are whole in one transaction. What another process
// has read before is left out.
func (r *run) storeGroup(ctx context.Context, group []*reading) error {
	blobs := make([]store.Content, len(group))
	var pieces []store.Piece
	var owner []int // for each piece, the number of its reading
	for i, rd := range group {
		blobs[i] = r.ledger.Content(rd.Blob)
		for b := range rd.pieces {
			pieces, owner = append(pieces, store.Piece{Content: blobs[i], Batch: b}), append(owner, i)
		}
	}
	var sums []store.Counts
	var fresh []bool
	err := r.DB.WriteBeside(ctx, func(tx *store.Tx) (err error) {
		if fresh, err = tx.Claim(blobs...); err != nil {
			return err
		}
		var ours []store.Piece
		var of []int
		for n, p := range pieces {
			if fresh[owner[n]] {
				ours, of = append(ours, p), append(of, owner[n])
			}
		}
		counts, err := tx.Store(ours...)
		if err != nil {
			return err
		}
		sums = make([]store.Counts, len(group))
		for n, c := range counts {
			sums[of[n]].Add(c)
		}
		var claimed []store.Content
		var results []store.Counts
		for i, rd := range group {
			sums[i].Bytes = rd.bytes
			if fresh[i] {
				claimed, results = append(claimed, blobs[i]), append(results, sums[i])
			}
		}
		if err := tx.Count(claimed, results); err != nil {
			return err
		}
		for i, rd := range group {
			if fresh[i] {
				if err := r.note(tx, rd); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if met(err) {
		for _, rd := range group {
			r.held.Release(rd.held)
			if err := r.failedBlob(ctx, rd.Blob, err); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	for i, rd := range group {
		r.stored(rd, sums[i], fresh[i])
	}
	return nil
}

// met tells whether a transaction met another one that wrote the same, so that it has
// only to be done again.
func met(err error) bool {
	var refusal *store.Error
	return errors.As(err, &refusal) && refusal.Met
}

// errCut ends the transaction of a reading that broke off in the midst.
var errCut = errors.New("the reading broke off")

// storePartial stores a long blob while it is read. If the reading breaks off,
// nothing of it is stored.
func (r *run) storePartial(ctx context.Context, rd *reading) error {
	var counts store.Counts
	var fresh bool
	err := r.DB.WriteBeside(ctx, func(tx *store.Tx) (err error) {
		counts, fresh, err = r.store(ctx, tx, rd)
		return err
	})
	switch {
	case errors.Is(err, errCut):
		return r.failedBlob(ctx, rd.Blob, rd.err)
	case met(err):
		for range rd.pieces { // whoever reads it must not wait
		}
		return r.failedBlob(ctx, rd.Blob, err)
	}
	if err != nil {
		return err
	}
	r.stored(rd, counts, fresh)
	return nil
}

// store marks a reading's blob as read and writes all its pieces, waiting for
// them. fresh is false if another process has read it before: then nothing is
// written.
func (r *run) store(ctx context.Context, tx *store.Tx, rd *reading) (sum store.Counts, fresh bool, err error) {
	c := r.ledger.Content(rd.Blob)
	claimed, err := tx.Claim(c)
	if err != nil {
		return sum, false, err
	}
	fresh = claimed[0]
	gctx, cancel := context.WithCancel(ctx)
	groups := make(chan []store.Piece)
	var gathering sync.WaitGroup
	gathering.Go(func() { gather(gctx, c, rd.pieces, groups) })
	defer gathering.Wait()
	defer cancel()
	for group := range groups {
		if !fresh {
			continue
		}
		counts, err := tx.Store(group...)
		if err != nil {
			return sum, false, err
		}
		for _, n := range counts {
			sum.Add(n)
		}
	}
	if err := ctx.Err(); err != nil {
		return sum, false, err
	}
	if rd.err != nil {
		return sum, false, errCut
	}
	if !fresh {
		return sum, false, nil
	}
	sum.Bytes = rd.bytes
	if err := tx.Count([]store.Content{c}, []store.Counts{sum}); err != nil {
		return sum, true, err
	}
	return sum, true, r.note(tx, rd)
}

// together is how many pieces of a long blob are stored at once, since many cost less
// together. As many are gathered meanwhile.
const together = 24

// gather puts pieces together, until there are no more or ctx ends.
func gather(ctx context.Context, c store.Content, pieces <-chan *store.Batch, groups chan<- []store.Piece) {
	defer close(groups)
	for more := true; more; {
		var group []store.Piece
		for more && len(group) < together {
			var piece *store.Batch
			select {
			case piece, more = <-pieces:
			case <-ctx.Done():
				return
			}
			if more {
				group = append(group, store.Piece{Content: c, Batch: piece})
			}
		}
		if len(group) > 0 && send(ctx, groups, group) != nil {
			return
		}
	}
}

// note notes for coverage what a reading was like that is stored: how long this process
// was busy since the last one, and what was left of a damaged blob.
func (r *run) note(tx *store.Tx, rd *reading) error {
	now := r.Now()
	tx.Busy(r.ledger, now.Sub(r.busySince))
	r.busySince = now
	if rd.damaged == nil {
		return nil
	}
	return tx.Salvaged(r.ledger.Content(rd.Blob), rd.damaged.Error())
}

func (r *run) stored(rd *reading, n store.Counts, fresh bool) {
	r.held.Release(rd.held)
	if rd.damaged != nil {
		r.lose("of blob %s only the beginning could be read: %v", rd.ID, rd.damaged)
	}
	r.mu.Lock()
	delete(r.tried, blobKey(rd.Blob))
	if fresh {
		r.result.Blobs++
		r.result.Counts.Add(n)
	}
	r.mu.Unlock()
	r.progress(func(p *Progress) { p.Done++; p.Records += n.Records })
}
