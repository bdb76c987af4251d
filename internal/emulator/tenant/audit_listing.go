package tenant

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// A Listing is a place in a listing of content: which window, as of when, and
// how far. Everything that decides about its pages is in it, so they stay
// consistent while content is added.
type Listing struct {
	ContentType string
	Start, End  time.Time // on contentCreated, end-exclusive
	Number      uint64    // listings are numbered as they begin
	At          time.Time // when it began
	Offset      int

	// Unlike the tenant's other listings:
	PageSize    int  `json:",omitempty"` // blobs on a page, if not 0
	NewestFirst bool `json:",omitempty"`
}

const (
	calmPage   = 1000
	unkindPage = 7
)

// List begins a listing of the content created in a window. The content type
// must be one of ContentTypes. A late blob is not in the first listing that
// covers it, and is in all that begin after it.
func (l *AuditLog) List(contentType string, start, end time.Time) Listing {
	t, ok := contentTypeIndex(contentType)
	if !ok {
		panic("tenant: unknown content type " + contentType)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	l.extend(now)
	l.listings++
	f := &l.feeds[t]
	for _, place := range f.window(start, end) {
		b := &f.blobs[place]
		if b.shown == never && l.open(f, b, now) {
			b.shown = l.listings + 1
		}
	}
	return Listing{ContentType: contentType, Start: start, End: end, Number: l.listings, At: now}
}

// Page returns the blobs of a page, and the place of the next page or nil.
func (l *AuditLog) Page(p Listing) ([]Blob, *Listing) {
	t, ok := contentTypeIndex(p.ContentType)
	if !ok || p.Offset < 0 {
		return nil, nil
	}
	size := calmPage
	if !l.opts.Calm {
		size = unkindPage
	}
	if p.PageSize > 0 {
		size = p.PageSize
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &l.feeds[t]
	places := l.arrange(f, p)
	from := min(p.Offset, len(places))
	to := min(from+size, len(places))
	blobs := make([]Blob, 0, to-from)
	for _, place := range places[from:to] {
		blobs = append(blobs, l.describe(t, &f.blobs[place], int(place)))
	}
	if to == len(places) {
		return blobs, nil
	}
	p.Offset = to
	return blobs, &p
}

// window returns the places of the blobs created from start until end.
func (f *contentFeed) window(start, end time.Time) []int32 {
	at := func(t time.Time) int {
		// A fraction of a millisecond rounds up: contentCreated has none.
		ms := t.Add(time.Millisecond - 1).UnixMilli()
		return sort.Search(len(f.ordered), func(i int) bool { return f.blobs[f.ordered[i]].created >= ms })
	}
	from, to := at(start), at(end)
	return f.ordered[from:max(from, to)]
}

// open reports whether a reader who asks at a time can get a blob.
func (l *AuditLog) open(f *contentFeed, b *blob, at time.Time) bool {
	now := at.UnixMilli()
	return b.created <= now && b.created > now-Retention.Milliseconds() && f.spans.covers(b.created) &&
		l.recording.covers(b.created) && !at.Before(f.quietUntil)
}

// arrange returns what a listing shows, in its order.
func (l *AuditLog) arrange(f *contentFeed, p Listing) []int32 {
	var places []int32
	for _, place := range f.window(p.Start, p.End) {
		if b := &f.blobs[place]; b.shown <= p.Number && l.open(f, b, p.At) {
			places = append(places, place)
		}
	}
	if l.opts.Calm {
		if p.NewestFirst {
			slices.Reverse(places)
		}
		return places
	}
	salt := mix(l.opts.Seed, uint64(p.Start.UnixMilli())^uint64(p.End.UnixMilli())<<1)
	order := salt % 3
	if p.NewestFirst {
		order = 0
	}
	switch order {
	case 0: // newest first
		slices.Reverse(places)
	case 1: // in no order
		slices.SortFunc(places, func(a, b int32) int {
			return cmp.Or(cmp.Compare(mix(salt, uint64(a)), mix(salt, uint64(b))), cmp.Compare(a, b))
		})
	case 2: // as they became available, which is roughly as they were created
		became := func(place int32) int64 { return f.blobs[place].created + int64(mix(salt, uint64(place))%20*60e3) }
		slices.SortFunc(places, func(a, b int32) int {
			return cmp.Or(cmp.Compare(became(a), became(b)), cmp.Compare(a, b))
		})
	}
	return listTwice(places, salt)
}

// listTwice lists some blobs again, further on and so now and then on another
// page.
func listTwice(places []int32, salt uint64) []int32 {
	out := make([]int32, 0, len(places)+len(places)/20)
	again := map[int]int32{} // by the place after which it comes
	for i, place := range places {
		out = append(out, place)
		if h := mix(salt, uint64(place)|1<<32); h%40 == 0 {
			again[min(i+int(h>>32%20), len(places)-1)] = place
		}
		if place, ok := again[i]; ok {
			out = append(out, place)
		}
	}
	return out
}
