package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reeve365/reeve/internal/store"
)

const (
	// pieceBytes is how much of a blob is compressed together and kept as one.
	pieceBytes = 256 << 10
	// pieceRecords bounds the rows of a piece whose records are tiny or left out.
	pieceRecords = 250
	// pieces is how many pieces of one blob are held. A blob of no more is
	// read whole before the database is touched; what follows in a longer one
	// goes through a temporary file, so that the database never waits for the
	// network. So memory is bounded by Concurrency × pieces + maxHeld + 2 × together,
	// whatever the length of a blob.
	pieces = 8
	// maxHeld is how many pieces of blobs that were read whole may wait to be
	// stored, those in the transaction under way included. One with more than
	// pieceRows records counts as several: then its rows weigh more than its text.
	maxHeld   = 192
	pieceRows = 120
	// groupRows is how many rows one transaction collects from small blobs.
	groupRows = 10_000
)

// A reading is a blob on its way from the source to the database.
type reading struct {
	store.Blob
	pieces  chan *store.Batch // closed at the end
	bytes   int64             // valid once pieces is closed
	err     error             // likewise; nil if the blob was read whole
	partial bool              // handed over before it was read whole
	records int               // in pieces, until it is handed over
	held    int64             // pieces that it has of run.held
	damaged error             // why the blob could be read in part only, if it is taken all the same
}

// read reads every blob that is due, but for those that other workers are at, and
// stores it. Blobs that fail are tried again a few times.
func (r *run) read(ctx context.Context) error {
	r.progress(func(p *Progress) { *p = Progress{Doing: "reading", Records: p.Records} })
	for first := (time.Time{}); ; {
		if ok, err := r.rest(ctx); !ok || err != nil {
			return err
		}
		now := r.now(first)
		due, err := r.take(ctx, now, r.fewest())
		if err != nil {
			return err
		}
		if len(due) == 0 {
			again, err := r.failedBefore(ctx, now)
			if err != nil {
				return err
			}
			if first, err = waitForFirst(ctx, now, again); first.IsZero() || err != nil {
				return err
			}
			continue
		}
		if err := r.carry(ctx, due); err != nil {
			return err
		}
		if err := r.halted(); err != nil {
			return err
		}
	}
}

const (
	// maxTake is how many blobs a worker takes at once at the most.
	maxTake = 1000
	// A worker takes more at once if what it took lasted less than tooShort, and
	// fewer if more than tooLong: others are to have some, too.
	tooShort, tooLong = time.Second, 4 * time.Second
)

// fewest is how many blobs a worker takes at once at the least.
func (r *run) fewest() int { return 2 * r.Concurrency }

// take takes up to n blobs that are due at a time.
func (r *run) take(ctx context.Context, now time.Time, n int) ([]store.Blob, error) {
	due, err := r.ledger.TakeBlobs(ctx, now, n+r.failing(), func(b store.Blob) bool { return r.exhausted(blobKey(b)) })
	r.progress(func(p *Progress) { p.Total += len(due) })
	return due, err
}

// failedBefore gives the times at which blobs that failed, by this run or one before it,
// are due again soon.
func (r *run) failedBefore(ctx context.Context, now time.Time) (again []time.Time, err error) {
	all, err := r.ledger.DueBlobs(ctx, now.Add(longestWait), maxTake+r.failing())
	for _, b := range all {
		if !b.Theirs && !r.exhausted(blobKey(b)) {
			again = append(again, b.Due)
		}
	}
	return again, err
}

func blobKey(b store.Blob) string { return "blob " + b.Part + " " + b.ID }

func (r *run) failing() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tried)
}

// carry reads the given blobs, and takes more as long as there are, several at once, and
// stores them one after another. It ends early when the source is to be left alone.
func (r *run) carry(whole context.Context, due []store.Blob) error {
	r.busySince = r.Now()
	g, ctx := errgroup.WithContext(whole)
	batches := make(chan []store.Blob)
	work := make(chan store.Blob)
	ready := make(chan *reading, maxHeld)
	enough := make(chan struct{}) // closed when no more are to be taken
	g.Go(func() error {           // one batch is taken while the one before it is read
		defer close(batches)
		n := r.fewest()
		for len(due) > 0 {
			began := time.Now()
			select {
			case batches <- due:
			case <-enough:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
			switch lasted := time.Since(began); {
			case lasted < tooShort:
				n = min(2*n, max(maxTake, r.fewest()))
			case lasted > tooLong:
				n = max(n/2, r.fewest())
			}
			var err error
			if due, err = r.take(ctx, r.Now(), n); err != nil {
				return err
			}
		}
		return nil
	})
	early := false
	g.Go(func() error {
		defer close(work)
		defer close(enough)
		for batch := range batches {
			for _, b := range batch {
				if ok, err := r.rest(ctx); !ok || err != nil {
					early = true
					return err
				}
				if err := send(ctx, work, b); err != nil || r.halted() != nil {
					return err
				}
			}
		}
		return nil
	})
	var readers sync.WaitGroup
	for range r.Concurrency {
		readers.Add(1)
		g.Go(func() error {
			defer readers.Done()
			p := r.newParser()
			for b := range work {
				if err := r.readBlob(ctx, p, b, ready); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		readers.Wait()
		close(ready)
		return nil
	})
	g.Go(func() error { return r.storeAll(ctx, ready) })
	if err := g.Wait(); err != nil || !early {
		return err
	}
	return r.ledger.Release(whole) // what was taken and not begun
}

// readBlob reads one blob into pieces, and hands it over once it is whole, or
// once as much of it is held as may be. Its error is ctx's or the database's.
func (r *run) readBlob(ctx context.Context, p *parser, b store.Blob, ready chan<- *reading) error {
	rd := &reading{Blob: b, pieces: make(chan *store.Batch, pieces)}
	rd.err = r.parseBlob(ctx, p, rd, func(piece *store.Batch) error {
		select {
		case rd.pieces <- piece:
			rd.records += piece.Records
			return nil
		default:
		}
		if !rd.partial {
			if err := p.spool(r.DB.Dir()); err != nil {
				return err
			}
			rd.partial = true
			if err := send(ctx, ready, rd); err != nil {
				return err
			}
		}
		return send(ctx, rd.pieces, piece)
	})
	close(rd.pieces)
	p.unspool()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case rd.partial:
		return nil // whoever stores it looks at the error
	case rd.err != nil:
		return r.failedBlob(ctx, b, rd.err)
	}
	rd.held = int64(max(len(rd.pieces), rd.records/pieceRows))
	if err := r.held.Acquire(ctx, rd.held); err != nil {
		return err
	}
	return send(ctx, ready, rd)
}

func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failedBlob records that a blob could not be read. Its error is the
// database's or ctx's.
func (r *run) failedBlob(ctx context.Context, b store.Blob, why error) error {
	f := r.feed.Classify(why)
	r.leaveAlone(f.After)
	if f.Stop {
		r.halt(fmt.Errorf("reading blob %s: %w", b.ID, why))
	}
	n, again := r.failed(blobKey(b))
	// The source may say once that a blob is gone, and have it a minute later.
	if gone := f.Gone && b.Attempts+1 >= goneAttempts; gone || !r.Now().Before(b.Forget) {
		r.lose("blob %s was forgotten by the source before it could be read: %v", b.ID, why)
		r.mu.Lock()
		delete(r.tried, blobKey(b))
		r.mu.Unlock()
		return r.ledger.Lose(ctx, b, why.Error())
	}
	if !again {
		r.problem("reading blob %s: %v", b.ID, why)
	}
	r.Log.Warn("Reading a blob failed.", "part", b.Part, "blob", b.ID, "attempt", n, "error", why)
	return r.ledger.Postpone(ctx, b, r.Now().Add(max(f.After, r.Pause(b.Attempts+1))), why.Error())
}

// goneAttempts is how often the source must say that a blob is gone.
const goneAttempts = 3

// A parser turns the text of a blob into pieces. One goroutine uses it.
type parser struct {
	split   *Splitter
	decoder Decoder
	file    *os.File // what follows in a long blob
}

// spool reads the rest of the blob into a temporary file, and goes on from there.
// The file can be read by this user only.
func (p *parser) spool(dir string) error {
	file, err := os.CreateTemp(dir, "reeve-blob-*")
	if err != nil {
		return fmt.Errorf("keeping a long blob: %w", err)
	}
	os.Remove(file.Name()) // where the system allows it now: nothing remains after a kill
	p.file = file
	if _, err := io.Copy(file, p.split.r); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("keeping a long blob: %w", err)
	}
	p.split.r = file
	return nil
}

// unspool removes the temporary file, if there is one.
func (p *parser) unspool() {
	if p.file != nil {
		p.file.Close()
		os.Remove(p.file.Name())
		p.file = nil
	}
}

func (r *run) newParser() *parser {
	return &parser{split: NewSplitter(nil, MaxRecord), decoder: r.feed.NewDecoder()}
}

func (r *run) parseBlob(ctx context.Context, p *parser, rd *reading, emit func(*store.Batch) error) (err error) {
	body, err := r.feed.Open(ctx, rd.Blob)
	if err != nil {
		return err
	}
	defer body.Close()
	c := r.ledger.Content(rd.Blob)
	n := 0
	var piece *store.Batch
	flush := func() error {
		if piece == nil {
			return nil
		}
		full := piece
		piece = nil
		full.Seal()
		return emit(full)
	}
	// Of what may be salvaged the text is wanted even if it cannot be split.
	var whole *beginning
	if r.last(rd) {
		whole = begin(body)
		body = whole
	}
	p.split.Reset(body)
	defer func() { rd.bytes = p.split.Offset() }()
	for {
		record, err := p.split.Next()
		if err == io.EOF {
			return flush()
		}
		if piece == nil {
			piece = r.DB.NewBatch(c.Tenant, c.Feed, c.Part, c.Blob, n)
			n++
		}
		var long *TooLongError
		switch {
		case errors.As(err, &long):
			piece.Records++
			piece.Hold(store.Quarantined{
				RecordID: idIn(record), Reason: reasonTooLong, Raw: record, Bytes: long.Length, Digest: long.Digest,
				Detail: fmt.Sprintf("%v; its beginning is kept", long)})
		case err != nil:
			if err := r.salvage(rd, piece, whole, err); err != nil {
				return err
			}
			return flush()
		default:
			piece.Records++
			if bad := p.decoder.Decode(record, piece); bad != nil {
				piece.Hold(store.Quarantined{
					RecordID: bad.RecordID, Reason: bad.Reason, Detail: bad.Detail,
					Raw: record, Bytes: int64(len(record))})
			}
		}
		if piece.Size() >= pieceBytes || piece.Records >= pieceRecords {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// Reasons for quarantine that ingest itself gives; a feed's decoder has others.
const (
	reasonTooLong   = "too long"
	reasonMalformed = "malformed blob"
)

// Reasons lists the reasons for quarantine that come with any feed.
func Reasons() []string { return []string{store.ReasonConflict, reasonMalformed, reasonTooLong} }

// idIn finds the Id in the beginning of a record that is too long to be decoded.
func idIn(text []byte) string {
	if m := idMember.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

var idMember = regexp.MustCompile(`"Id"\s*:\s*"([^"\\]{1,100})"`)

const (
	// A blob that never was a whole JSON array is taken as far as it can be read
	// after so many attempts,
	salvageAttempts = 2 * tries
	// and if the source forgets it so soon.
	salvageTime = 6 * time.Hour
)

// last tells whether a blob is taken as far as it can be read, if it cannot be read whole.
func (r *run) last(rd *reading) bool {
	return rd.Attempts >= salvageAttempts && rd.Forget.Sub(r.Now()) <= salvageTime
}

// salvage ends the reading of a blob that is cut off or no array. That is an
// error, to be tried again: it may have been a proxy's page. Shortly before the
// source forgets it, and after many attempts, the records that can be read are
// stored, the beginning of its text goes to quarantine, and the rest is lost.
func (r *run) salvage(rd *reading, piece *store.Batch, whole *beginning, why error) error {
	var m *MalformedError
	if !errors.As(why, &m) || whole == nil {
		return why
	}
	rd.damaged = m
	length, sum, cut := whole.rest()
	detail := fmt.Sprintf("blob %s: %v; the whole records before that place are stored; it has %d bytes with the SHA-256 %x", rd.ID, m, length, sum)
	if cut != nil {
		detail += fmt.Sprintf("; what follows could not be read: %v", cut)
	}
	// Blobs that say the same are as many.
	digest := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%x", rd.Part, rd.ID, sum))
	piece.Hold(store.Quarantined{Reason: reasonMalformed, Raw: whole.head, Bytes: length, Digest: digest[:16], Detail: detail})
	piece.Records++
	return nil
}

// A beginning is a reader that keeps the first headLength bytes that are read, and counts
// and sums up all of them.
type beginning struct {
	io.ReadCloser
	head   []byte
	length int64
	sum    hash.Hash
}

func begin(r io.ReadCloser) *beginning { return &beginning{ReadCloser: r, sum: sha256.New()} }

func (b *beginning) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.head = append(b.head, p[:min(n, headLength-len(b.head))]...)
	b.length += int64(n)
	b.sum.Write(p[:n])
	return n, err
}

// maxRest bounds how much of a text is read that cannot be used.
const maxRest = 1 << 30

// rest reads what is left, and gives the length and the SHA-256 of all. cut says why that
// is not all there is.
func (b *beginning) rest() (length int64, sum []byte, cut error) {
	n, cut := io.CopyN(io.Discard, b, maxRest)
	switch {
	case cut == io.EOF:
		cut = nil
	case cut == nil && n == maxRest:
		cut = fmt.Errorf("more than %d bytes follow", maxRest)
	}
	return b.length, b.sum.Sum(nil), cut
}
