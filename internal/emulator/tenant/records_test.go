package tenant

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// eachRecord calls f with all records of a log as they are rendered.
func eachRecord(t testing.TB, l *AuditLog, f func(kind int, e event, text []byte)) {
	t.Helper()
	w := newRecordWriter()
	w.log = l
	for kind := range l.feeds {
		for i := range l.feeds[kind].blobs {
			b := &l.feeds[kind].blobs[i]
			for n := range b.records {
				e := l.event(kind, b, int(n))
				w.b = w.b[:0]
				w.record(e)
				f(kind, e, w.b)
			}
		}
	}
}

var (
	guid         = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	creationTime = regexp.MustCompile(`^2026-11-\d\d[T ]\d\d:\d\d:\d\d$`)
)

func TestRecordsHaveWhatIsMandatory(t *testing.T) {
	o := testOptions(newClock())
	o.PerUser = 60
	l := NewAuditLog(o)
	types, odd := map[int]int{}, map[oddity]int{}
	foreign, sharePoint := 0, 0
	eachRecord(t, l, func(kind int, e event, text []byte) {
		var r struct {
			Id, CreationTime, Operation, OrganizationId, UserKey, Workload, UserId *string
			RecordType                                                             any
			UserType                                                               *int
			ObjectId, SiteUrl                                                      string
		}
		if err := json.Unmarshal(text, &r); err != nil {
			if e.oddity != oddBroken || !json.Valid(text) {
				t.Fatalf("type %d: %v\n%s", e.shape.recordType, err, text)
			}
			return
		}
		types[e.shape.recordType]++
		odd[e.oddity]++
		for name, p := range map[string]*string{
			"Id": r.Id, "Operation": r.Operation, "OrganizationId": r.OrganizationId, "UserKey": r.UserKey, "Workload": r.Workload, "UserId": r.UserId,
		} {
			if p == nil || *p == "" {
				t.Fatalf("no %s in %s", name, text)
			}
		}
		if !guid.MatchString(*r.Id) || *r.OrganizationId != o.TenantID || r.UserType == nil {
			t.Fatalf("head of %s", text)
		}
		if e.oddity != oddBroken && !creationTime.MatchString(*r.CreationTime) {
			t.Fatalf("CreationTime of %s", text)
		}
		if _, number := r.RecordType.(float64); number == (e.oddity == oddTextType) {
			t.Fatalf("RecordType of %s", text)
		}
		if kind == 2 {
			sharePoint++
			if isForeign := !strings.HasPrefix(r.ObjectId, "https://contoso"); isForeign != e.foreign {
				t.Fatalf("foreign = %v: %s", e.foreign, text)
			}
			if e.foreign {
				foreign++
			}
		}
	})
	if len(types) < 20 {
		t.Errorf("only %d record types: %v", len(types), types)
	}
	for _, must := range []int{1, 2, 4, 6, 8, 11, 13, 14, 15, 20, 22, 25, 30, 36, 40, 43, 50, 63, 66, 261} {
		if types[must] == 0 {
			t.Errorf("no record of type %d", must)
		}
	}
	for kind := oddTextType; kind <= oddBroken; kind++ {
		if odd[kind] == 0 {
			t.Errorf("no record with oddity %d", kind)
		}
	}
	if foreign*100 < 2*sharePoint || foreign*100 > 6*sharePoint {
		t.Errorf("%d of %d SharePoint records are foreign", foreign, sharePoint)
	}
}

// No record names a member twice: decoders differ in which one they take.
func TestMembersAreUnique(t *testing.T) {
	l := NewAuditLog(testOptions(newClock()))
	eachRecord(t, l, func(_ int, e event, text []byte) {
		d := json.NewDecoder(bytes.NewReader(text))
		seen := map[string]bool{}
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			if seen[name.(string)] {
				t.Fatalf("type %d has %s twice: %s", e.shape.recordType, name, text)
			}
			seen[name.(string)] = true
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSizes(t *testing.T) {
	o := testOptions(newClock())
	var sizes []int
	sums, counts := map[int]int{}, map[int]int{}
	eachRecord(t, NewAuditLog(o), func(_ int, e event, text []byte) {
		if e.oddity == oddLarge {
			if len(text) < 100<<10 {
				t.Errorf("a large record of %d bytes", len(text))
			}
			return
		}
		sizes = append(sizes, len(text))
		sums[e.shape.recordType] += len(text)
		counts[e.shape.recordType]++
	})
	slices.Sort(sizes)
	if low, high := sizes[len(sizes)/20], sizes[len(sizes)*99/100]; low < 950 || high > 4096 {
		t.Errorf("records have from %d (5%%) to %d (99%%) bytes, want 1 to 4 KB", low, high)
	}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("type %4d: %5d records of %d bytes", kind, counts[kind], sums[kind]/counts[kind])
	}
	for _, size := range []int{800, 2200, 9000} {
		o.RecordBytes, o.Calm = size, true
		eachRecord(t, NewAuditLog(o), func(_ int, e event, text []byte) {
			if !json.Valid(text) {
				t.Fatalf("not JSON: %s", text)
			}
			if len(text) < size-24 || len(text) > size+1 {
				t.Fatalf("type %d: %d bytes, want about %d", e.shape.recordType, len(text), size)
			}
		})
	}
}

// A repeated record is the first one byte for byte, or the same with its
// members in another order.
func TestRepeatedRecords(t *testing.T) {
	o := testOptions(newClock())
	l := NewAuditLog(o)
	first := map[string]string{}
	eachRecord(t, l, func(_ int, e event, text []byte) {
		first[string(appendGUID(nil, e.key))] = string(text)
	})
	same, shuffled := 0, 0
	for kind := range l.feeds {
		f := &l.feeds[kind]
		for place := range f.blobs {
			var out memory
			b := f.blobs[place]
			again := l.repeats(f.blobs, place)
			if err := l.render(&out, rendering{kind: kind, blob: b, repeats: again, blobs: f.blobs}); err != nil {
				t.Fatal(err)
			}
			var records []json.RawMessage
			if err := json.Unmarshal(out, &records); err != nil {
				t.Fatal(err)
			}
			for i, r := range records[b.records:] {
				id := idOf(t, r)
				if string(r) == first[id] {
					same++
					continue
				}
				var x, y map[string]any
				if json.Unmarshal(r, &x) != nil || json.Unmarshal([]byte(first[id]), &y) != nil || !cmp.Equal(x, y) {
					t.Fatalf("again (shuffled %v): %s\nfirst: %s", again[i].shuffled, r, first[id])
				}
				shuffled++
			}
		}
	}
	if same == 0 || shuffled == 0 {
		t.Errorf("%d repeated as they were, %d with members in another order", same, shuffled)
	}
}

func TestMillionRecordsAreSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("plans a million records")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	o := testOptions(newClock())
	o.Users, o.Total, o.Calm = 5000, 1_000_000, true
	l := NewAuditLog(o)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 30<<20 {
		t.Errorf("a million records hold %d MB", held>>20)
	}
	runtime.KeepAlive(l)
}

func BenchmarkRender(b *testing.B) {
	for _, size := range []int{0, 2200} {
		b.Run(map[int]string{0: "asTheyCome", 2200: "2200bytes"}[size], func(b *testing.B) {
			o := testOptions(newClock())
			o.Calm, o.RecordBytes, o.BlobRecords = true, size, 1000
			l := NewAuditLog(o)
			blobs := listAll(b, l, "Audit.SharePoint", l.Now().Add(-24*time.Hour), l.Now())
			var n countingWriter
			b.ReportAllocs()
			records := 0
			for b.Loop() {
				if err := l.WriteBody(&n, blobs[records/1000%len(blobs)].ID); err != nil {
					b.Fatal(err)
				}
				records += 1000
			}
			b.SetBytes(int64(n) / int64(b.N))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
	}
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}

var _ io.Writer = (*countingWriter)(nil)
