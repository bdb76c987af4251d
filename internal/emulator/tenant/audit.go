package tenant

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// Retention is how long content stays available after it was created. Microsoft
// documents seven days.
const Retention = 7 * 24 * time.Hour

var (
	// ErrBadContentID reports a content id that no blob could ever have had.
	ErrBadContentID = errors.New("not a content id")
	// ErrNoContent reports a well-formed content id of a blob that never existed.
	ErrNoContent = errors.New("no such content")
	// ErrContentExpired reports a blob that existed and is older than Retention.
	ErrContentExpired = errors.New("content has expired")
)

// AuditOptions says what the audit log of the emulated tenant holds.
type AuditOptions struct {
	TenantID       string // OrganizationId of every record, a GUID
	Domain         string // what follows the @ in user names
	SharePointHost string // "contoso.sharepoint.com"; OneDrive is its "-my" sibling

	Seed        uint64 // the same seed and start give the same blobs, ids and bytes
	Users       int    // people; none generate nothing
	Days        int    // days back from Start, 1 to 7
	PerUser     int    // mean records per person and working day
	Total       int    // exactly so many records instead of PerUser, all of them available at the start
	BlobRecords int    // records per content blob; 0 = varying from 1 to 120
	RecordBytes int    // 0 = records as they come (1–4 KB), otherwise padded or trimmed to this size

	// Calm leaves out what real services do to their readers: repeated, late
	// and reordered blobs, small pages, odd and broken records.
	Calm bool

	// FirstContentDelay is how long a type stays without content after its
	// first start; 0 = 15 minutes. Microsoft documents up to 12 hours.
	FirstContentDelay time.Duration

	// Now is the tenant's clock; nil is the machine's.
	Now func() time.Time

	// Start is when the log began to go on, for one that is made again; zero
	// is now. What has happened since is there.
	Start time.Time
}

// AuditLog is the audit log of the emulated tenant as the Management Activity
// API shows it: content blobs of five types, and a subscription to each. Blobs
// are planned a day at a time, as the clock reaches that day, and a body is
// rendered when it is read, so that a log holds little however much it serves.
// Its methods may be called concurrently.
type AuditLog struct {
	opts   AuditOptions
	begin  int64 // no event is older (Unix seconds)
	end    int64 // with Total, no event is younger; otherwise 0
	actors actors
	hosts  hosts
	orgID  string

	mu        sync.Mutex // guards what follows
	feeds     [numContentTypes]contentFeed
	recording spans   // when auditing was turned on
	listings  uint64  // how many listings were begun
	planned   int64   // first day that is not planned yet, in days since 1970; the largest if none ever will be
	carry     float64 // what rounding to whole records has left over
	scale     float64 // records per unit of weight
}

// contentFeed is the content of one type.
type contentFeed struct {
	blobs   []blob  // as planned; a blob's place is part of its content id
	ordered []int32 // places of blobs, by time of creation
	subscription
}

// blob is one content blob, less its text unless that was given.
type blob struct {
	key      uint64 // seeds the records
	created  int64  // contentCreated, Unix milliseconds
	from, to int64  // the events' times, Unix seconds, end-exclusive
	records  int32
	given    bool
	shown    uint64 // the first listing that shows the blob
	text     *text  // given or rendered beforehand; nil otherwise
}

// text is the text of a blob, and for given records what to expect of them.
type text struct {
	body    []byte
	records []Record
}

// A Blob describes a content blob in a listing.
type Blob struct {
	ID          string // contentId
	ContentType string
	Created     time.Time // contentCreated
	Expires     time.Time // contentExpiration
}

// A Record is what a reader of the audit log may expect to find.
type Record struct {
	ID          string // empty if a given record has none
	ContentType string
	Created     time.Time // contentCreated of the blob that brings it first
	Broken      bool      // it cannot be stored: its CreationTime is unusable, or its Id is missing
	Foreign     bool      // a generated SharePoint record of another organization's host
}

// contentType is one of the content types that Microsoft documents.
type contentType struct {
	name   string
	suffix string // how content ids end
	share  float64
	mix    []shape
}

// ContentTypes returns the five documented content types.
func ContentTypes() []string {
	names := make([]string, len(contentTypes))
	for i, t := range contentTypes {
		names[i] = t.name
	}
	return names
}

func contentTypeIndex(name string) (int, bool) {
	for i := range contentTypes {
		if contentTypes[i].name == name {
			return i, true
		}
	}
	return 0, false
}

// NewAuditLog returns a log with content from Days before Start until now, and
// further content as the clock goes on (unless Total is set). With seven days
// the content begins two hours inside them, so that a reader who starts at once
// can reach all of it. Subscriptions to every type are enabled.
func NewAuditLog(o AuditOptions) *AuditLog {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FirstContentDelay == 0 {
		o.FirstContentDelay = 15 * time.Minute
	}
	o.Days = min(max(o.Days, 1), 7)
	l := &AuditLog{opts: o, recording: always}
	if o.Start.IsZero() {
		o.Start = o.Now()
	}
	begin := o.Start.Add(-time.Duration(o.Days) * 24 * time.Hour)
	if o.Days == 7 {
		begin = begin.Add(2 * time.Hour)
	}
	l.begin = begin.Unix()
	l.orgID = jsonText(o.TenantID)
	l.hosts = newHosts(o.SharePointHost)
	l.actors = newActors(o)
	for i := range l.feeds {
		l.feeds[i].subscription = subscription{started: true, spans: always}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startPlan(o.Start)
	l.extend(o.Now())
	return l
}

// Calm reports whether the log was made with Calm set.
func (l *AuditLog) Calm() bool { return l.opts.Calm }

// Now returns the time on the tenant's clock, in UTC.
func (l *AuditLog) Now() time.Time { return l.opts.Now().UTC() }

// AddBlob adds a blob with the given body, whatever that is, and returns its
// content id. It panics if the content type is unknown. The records in it are
// not among Records.
func (l *AuditLog) AddBlob(contentType string, created time.Time, body []byte) (contentID string) {
	t, ok := contentTypeIndex(contentType)
	if !ok {
		panic(fmt.Sprintf("tenant: unknown content type %q", contentType))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addBlob(t, blob{created: created.UnixMilli(), given: true, text: &text{body: body}})
}

// addBlob adds a given blob; l.mu is held.
func (l *AuditLog) addBlob(t int, b blob) string {
	f := &l.feeds[t]
	b.shown = l.listings + 1
	f.blobs = append(f.blobs, b)
	f.reorder()
	return l.contentID(t, &b, len(f.blobs)-1)
}

// reorder brings ordered up to date with blobs. The old order stays as it is,
// for those who read it.
func (f *contentFeed) reorder() {
	ordered := make([]int32, len(f.blobs))
	for i := range ordered {
		ordered[i] = int32(i)
	}
	f.ordered = ordered
	slices.SortFunc(f.ordered, func(a, b int32) int {
		return cmp.Or(cmp.Compare(f.blobs[a].created, f.blobs[b].created), cmp.Compare(a, b))
	})
}

func (l *AuditLog) describe(t int, b *blob, place int) Blob {
	created := time.UnixMilli(b.created).UTC()
	return Blob{
		ID:          l.contentID(t, b, place),
		ContentType: contentTypes[t].name,
		Created:     created,
		Expires:     created.Add(Retention),
	}
}

// Records returns every record that was published until now under an enabled
// subscription, each once however often it is repeated, whether a listing has
// shown it yet or not. Content that has expired since is still part of it; see
// Created.
func (l *AuditLog) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for t := range contentTypes {
			if !l.recordsOf(t, yield) {
				return
			}
		}
	}
}

func (l *AuditLog) recordsOf(t int, yield func(Record) bool) bool {
	l.mu.Lock()
	now := l.Now()
	l.extend(now)
	f, recording := l.feeds[t], l.recording
	// What is reachable here is never changed in place, but for what listing
	// and rendering beforehand note in a blob. That is not read below.
	l.mu.Unlock()

	open := func(b *blob) bool {
		return f.spans.covers(b.created) && recording.covers(b.created) && b.created <= now.UnixMilli()
	}
	seen := map[string]bool{} // given ids, and repeats whose first blob is not open
	for _, place := range f.ordered {
		b := &f.blobs[place]
		if !open(b) {
			continue
		}
		created := time.UnixMilli(b.created).UTC()
		if b.given {
			for _, r := range b.text.records {
				if r.ID != "" && seen[r.ID] {
					continue
				}
				seen[r.ID] = true
				r.Created = created
				if !yield(r) {
					return false
				}
			}
			continue
		}
		for i := range b.records {
			if !yield(l.record(t, b, int(i), created)) {
				return false
			}
		}
		for _, again := range l.repeats(f.blobs, int(place)) {
			r := l.record(t, &f.blobs[again.place], again.record, created)
			if open(&f.blobs[again.place]) || seen[r.ID] {
				continue
			}
			seen[r.ID] = true
			if !yield(r) {
				return false
			}
		}
	}
	return true
}

// record tells what is to be expected of a generated record.
func (l *AuditLog) record(t int, b *blob, i int, created time.Time) Record {
	e := l.event(t, b, i)
	return Record{
		ID:          string(appendGUID(nil, e.key)),
		ContentType: contentTypes[t].name,
		Created:     created,
		Broken:      e.oddity == oddBroken,
		Foreign:     e.foreign,
	}
}
