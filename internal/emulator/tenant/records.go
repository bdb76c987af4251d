package tenant

import (
	"io"
	"sync"
)

// How records come about: an event is derived from its blob's key and its place
// in it, so that each record can be rendered alone and always alike.

// shape is one kind of record.
type shape struct {
	recordType int
	weight     int  // how frequent it is in its content type
	service    bool // service accounts do this too
	render     func(w *recordWriter, e *event)
}

// event is what a record tells.
type event struct {
	key     uint64
	at      int64 // Unix seconds
	actor   *actor
	shape   *shape
	foreign bool
	oddity  oddity
}

// oddity is what is unusual about a record.
type oddity uint8

const (
	ordinary    oddity = iota
	oddTextType        // RecordType as a string
	oddBlank           // a blank instead of the T in CreationTime
	oddMembers         // members that no schema has
	oddLarge           // 100 KB in one member
	oddScript          // scripts beyond Latin, and writing direction marks
	oddControls        // escaped control characters, also U+0000
	oddBroken          // CreationTime unusable
)

// oddityOf says what is odd about the record of a key: about one in 50 is odd
// but can be stored, one in 5,000 is large, one in 1,000 is broken.
func oddityOf(key uint64) oddity {
	switch n := mix(key, 7) % 10000; {
	case n < 10:
		return oddBroken
	case n < 12:
		return oddLarge
	case n < 52:
		return oddTextType
	case n < 92:
		return oddBlank
	case n < 132:
		return oddMembers
	case n < 172:
		return oddScript
	case n < 212:
		return oddControls
	}
	return ordinary
}

// foreignPercent of SharePoint records tell of a partner's site.
const foreignPercent = 4

// event derives what the i-th record of a blob tells.
func (l *AuditLog) event(t int, b *blob, i int) event {
	key := mix(b.key, 16+uint64(i))
	e := event{key: key, at: b.from + int64(mix(key, 1)%uint64(b.to-b.from))}
	e.actor = l.actors.at(e.at, mix(key, 2))
	e.shape = contentTypes[t].pick(mix(key, 3), e.actor.service)
	e.foreign = contentTypes[t].name == "Audit.SharePoint" && !e.actor.service && mix(key, 4)%100 < foreignPercent
	if !l.opts.Calm {
		e.oddity = oddityOf(key)
	}
	return e
}

// pick chooses a shape by its weight, for service accounts among those that are
// theirs.
func (c *contentType) pick(h uint64, service bool) *shape {
	total := 0
	for i := range c.mix {
		if !service || c.mix[i].service {
			total += c.mix[i].weight
		}
	}
	n := int(h % uint64(total))
	for i := range c.mix {
		if service && !c.mix[i].service {
			continue
		}
		if n -= c.mix[i].weight; n < 0 {
			return &c.mix[i]
		}
	}
	panic("tenant: weights changed")
}

// again is a record that comes a second time.
type again struct {
	place    int // of the blob that had it first
	record   int
	shuffled bool // its members stand in another order
}

// repeatReach is how many blobs back a repeated record may come from.
const repeatReach = 40

// repeats returns the records of earlier blobs that come again in the blob at
// a place: about one for every hundred of its own.
func (l *AuditLog) repeats(blobs []blob, place int) []again {
	b := &blobs[place]
	if l.opts.Calm || b.given {
		return nil
	}
	h := mix(b.key, 6)
	n := int(b.records) / 100
	if h%100 < uint64(b.records)%100 {
		n++
	}
	var out []again
	for i := range n {
		h = mix(b.key, 8|uint64(i)<<8)
		first := place - 1 - int(h%repeatReach)
		if first < 0 || blobs[first].given || blobs[first].created > b.created {
			continue
		}
		out = append(out, again{
			place:    first,
			record:   int(h >> 8 % uint64(blobs[first].records)),
			shuffled: h>>60&1 == 1,
		})
	}
	return out
}

// rendering is what is needed to render a blob without holding the lock.
type rendering struct {
	kind    int
	blob    blob
	repeats []again
	blobs   []blob // those that repeats point into
}

// WriteBody writes the JSON text of the blob with a content id. It returns
// ErrBadContentID, ErrNoContent or ErrContentExpired before writing anything.
func (l *AuditLog) WriteBody(w io.Writer, contentID string) error {
	l.mu.Lock()
	now := l.Now()
	l.extend(now)
	t, place, err := l.find(contentID)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	f := &l.feeds[t]
	b := &f.blobs[place]
	switch {
	case b.created > now.UnixMilli(), !f.spans.covers(b.created), !l.recording.covers(b.created):
		err = ErrNoContent
	case b.created <= now.Add(-Retention).UnixMilli():
		err = ErrContentExpired
	}
	wanted, blobs := *b, f.blobs
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if wanted.text != nil {
		_, err := w.Write(wanted.text.body)
		return err
	}
	return l.render(w, rendering{kind: t, blob: wanted, repeats: l.repeats(blobs, place), blobs: blobs})
}

// Prerender renders all blobs that were planned so far into memory, so that
// serving them costs nothing. It is meant for benchmarks.
func (l *AuditLog) Prerender() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.extend(l.Now())
	for t := range l.feeds {
		f := &l.feeds[t]
		for place := range f.blobs {
			if b := &f.blobs[place]; b.text == nil {
				var body memory
				// Writing to memory cannot fail.
				_ = l.render(&body, rendering{kind: t, blob: *b, repeats: l.repeats(f.blobs, place), blobs: f.blobs})
				b.text = &text{body: body}
			}
		}
	}
}

// memory is an io.Writer that keeps what it is given.
type memory []byte

func (m *memory) Write(p []byte) (int, error) {
	*m = append(*m, p...)
	return len(p), nil
}

// flushSize is how much of a blob is rendered before it is written.
const flushSize = 64 << 10

var writers = sync.Pool{New: func() any { return newRecordWriter() }}

// render writes a blob's text.
func (l *AuditLog) render(out io.Writer, r rendering) error {
	w := writers.Get().(*recordWriter)
	defer writers.Put(w)
	w.log, w.b = l, append(w.b[:0], '[')
	for i := range r.blob.records {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.record(l.event(r.kind, &r.blob, int(i)))
		if len(w.b) >= flushSize {
			if _, err := out.Write(w.b); err != nil {
				return err
			}
			w.b = w.b[:0]
		}
	}
	for _, again := range r.repeats {
		w.b = append(w.b, ',')
		w.record(l.event(r.kind, &r.blobs[again.place], again.record))
		if again.shuffled {
			w.shuffle()
		}
	}
	w.b = append(w.b, ']')
	_, err := out.Write(w.b)
	return err
}
