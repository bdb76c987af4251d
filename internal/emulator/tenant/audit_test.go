package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// testClock is a tenant's clock that tests set.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newClock starts on a Wednesday afternoon.
func newClock() *testClock {
	return &testClock{now: time.Date(2026, 11, 18, 15, 7, 31, 0, time.UTC)}
}

func testOptions(c *testClock) AuditOptions {
	return AuditOptions{
		TenantID: "7a3f8b1e-0c5d-4e9a-b1f2-93d0c4a85e61", Domain: "contoso.example", SharePointHost: "contoso.sharepoint.com",
		Seed: 7, Users: 60, Days: 7, PerUser: 30, Now: c.Now,
	}
}

// listAll walks through all pages of a listing.
func listAll(t testing.TB, l *AuditLog, contentType string, start, end time.Time) []Blob {
	t.Helper()
	var all []Blob
	p := l.List(contentType, start, end)
	for next, pages := &p, 0; next != nil; pages++ {
		if pages > 100000 {
			t.Fatal("a listing does not end")
		}
		var blobs []Blob
		blobs, next = l.Page(*next)
		all = append(all, blobs...)
	}
	return all
}

func body(t testing.TB, l *AuditLog, id string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := l.WriteBody(&b, id); err != nil {
		t.Fatalf("reading blob %s: %v", id, err)
	}
	return b.Bytes()
}

// readBlob reads the records of a blob, as texts.
func readBlob(t testing.TB, l *AuditLog, id string) []json.RawMessage {
	t.Helper()
	var records []json.RawMessage
	if err := json.Unmarshal(body(t, l, id), &records); err != nil {
		t.Fatalf("reading blob %s: %v", id, err)
	}
	return records
}

func idOf(t testing.TB, record json.RawMessage) string {
	t.Helper()
	var r struct{ Id string }
	if err := json.Unmarshal(record, &r); err != nil {
		t.Fatal(err)
	}
	return r.Id
}

func TestSameSeedSameLog(t *testing.T) {
	dump := func(o AuditOptions) string {
		l := NewAuditLog(o)
		var b strings.Builder
		for _, kind := range ContentTypes() {
			for _, blob := range listAll(t, l, kind, l.Now().Add(-24*time.Hour), l.Now()) {
				fmt.Fprintln(&b, blob, string(body(t, l, blob.ID)))
			}
		}
		return b.String()
	}
	o := testOptions(newClock())
	first, second := dump(o), dump(o)
	if first != second {
		t.Error("the same options gave different logs")
	}
	if len(first) < 100_000 {
		t.Errorf("a day of 60 people is only %d bytes", len(first))
	}
	o.Seed++
	if dump(o) == first {
		t.Error("another seed gave the same log")
	}
}

// Reading everything twice finds exactly the records that Records announces,
// by id, and in a calm log each of them once, in whole pages.
func TestReadingFindsAllRecords(t *testing.T) {
	for _, calm := range []bool{true, false} {
		t.Run(fmt.Sprintf("calm=%v", calm), func(t *testing.T) {
			o := testOptions(newClock())
			o.Calm = calm
			l := NewAuditLog(o)
			want := map[string]int{}
			for r := range l.Records() {
				want[r.ID]++
			}
			for id, n := range want {
				if n != 1 {
					t.Errorf("Records has %s %d times", id, n)
				}
			}
			got := map[string]int{}
			rounds := 2
			if calm {
				rounds = 1
			}
			fetched := map[string]bool{}
			listed := 0
			for range rounds {
				for _, kind := range ContentTypes() {
					for from := l.Now().Add(-Retention); from.Before(l.Now()); from = from.Add(24 * time.Hour) {
						for _, blob := range listAll(t, l, kind, from, from.Add(24*time.Hour)) {
							listed++
							if fetched[blob.ID] {
								continue
							}
							fetched[blob.ID] = true
							for _, r := range readBlob(t, l, blob.ID) {
								got[idOf(t, r)]++
							}
						}
					}
				}
			}
			repeated := 0
			for id, n := range got {
				if want[id] == 0 {
					t.Errorf("record %s was not announced", id)
				}
				repeated += n - 1
			}
			if len(got) != len(want) {
				t.Errorf("found %d records of %d", len(got), len(want))
			}
			if calm && (repeated != 0 || listed != len(fetched)) {
				t.Errorf("calm log: %d records repeated, %d blobs listed for %d", repeated, listed, len(fetched))
			}
			if !calm && (repeated*300 < len(want) || repeated*30 > len(want)) {
				t.Errorf("%d of %d records repeated, want about 1 in 100", repeated, len(want))
			}
			t.Logf("%d records in %d blobs, %d repeated", len(want), len(fetched), repeated)
		})
	}
}

func TestTotalIsExact(t *testing.T) {
	for _, blobRecords := range []int{0, 100, 10000} {
		o := testOptions(newClock())
		o.Total, o.BlobRecords, o.Calm, o.Days = 30000, blobRecords, true, 3
		l := NewAuditLog(o)
		n := 0
		for range l.Records() {
			n++
		}
		if n != o.Total {
			t.Errorf("blobs of %d: %d records, want %d", blobRecords, n, o.Total)
		}
	}
}

func TestCalendar(t *testing.T) {
	o := testOptions(newClock())
	o.Users, o.Calm = 400, true
	l := NewAuditLog(o)
	var days [7]int
	for place := range l.feeds {
		for _, b := range l.feeds[place].blobs {
			for i := range b.records {
				at := time.Unix(l.event(place, &b, int(i)).at, 0).UTC()
				if at.Before(l.Now().Add(-24*7*time.Hour)) || at.After(l.Now().Add(24*time.Hour)) {
					t.Fatalf("an event at %v", at)
				}
				days[at.Weekday()]++
			}
		}
	}
	for _, d := range []time.Weekday{time.Monday, time.Tuesday, time.Friday} {
		// Some of Saturday in UTC is still Friday in America.
		if days[d] < 5*days[time.Saturday] || days[d] < 5*days[time.Sunday] {
			t.Errorf("%v has %d events, the weekend %d and %d", d, days[d], days[time.Saturday], days[time.Sunday])
		}
	}
	// Monday: people times PerUser, and the service accounts.
	if mean := float64(days[time.Monday]) / float64(o.Users*o.PerUser); mean < .85 || mean > 1.25 {
		t.Errorf("Monday has %.2f times the records asked for", mean)
	}

	const monday = 4 * daySeconds // 5 January 1970
	hour := func(h int) float64 { return officeWeight(monday+int64(h)*3600, 0) }
	if hour(12) > .6*hour(11) || hour(12) > .6*hour(14) {
		t.Error("no lunch")
	}
	if hour(3)*20 > hour(10) {
		t.Error("the office is busy at night")
	}
	if officeWeight(monday+9*3600, 60) != hour(10) {
		t.Error("an office an hour ahead does not live by its clock")
	}
	if serviceWeight(monday+2*3600) <= serviceWeight(monday+12*3600) {
		t.Error("service accounts do not prefer the night")
	}
	sum := 0.0
	for q := range int64(quartersPerDay) {
		sum += officeWeight(monday+q*quarter, 0)
	}
	if sum < .999 || sum > 1.001 {
		t.Errorf("a working day's weights sum to %v", sum)
	}
}

func TestLatency(t *testing.T) {
	o := testOptions(newClock())
	l := NewAuditLog(o)
	late, all := 0, 0
	for i := range l.feeds {
		for _, b := range l.feeds[i].blobs {
			all++
			if min := b.created - b.to*1000; min < 5*60e3 {
				t.Errorf("a blob was created %d ms after its last event", min)
			}
			if b.created-b.from*1000 > 90*60e3 {
				late++
			}
		}
	}
	if late*100 > all*6 || late == 0 {
		t.Errorf("%d of %d blobs took more than 90 minutes, want a few in a hundred", late, all)
	}
}

func TestLateBlobsComeWithTheSecondListing(t *testing.T) {
	l := NewAuditLog(testOptions(newClock()))
	start, end := l.Now().Add(-24*time.Hour), l.Now()
	ids := func(blobs []Blob) map[string]bool {
		m := map[string]bool{}
		for _, b := range blobs {
			m[b.ID] = true
		}
		return m
	}
	first := ids(listAll(t, l, "Audit.SharePoint", start, end))
	second := ids(listAll(t, l, "Audit.SharePoint", start, end))
	for id := range first {
		if !second[id] {
			t.Errorf("blob %s went away", id)
		}
	}
	if late := len(second) - len(first); late == 0 || late*8 > len(second) {
		t.Errorf("%d of %d blobs were late", late, len(second))
	}
	if third := ids(listAll(t, l, "Audit.SharePoint", start, end)); len(third) != len(second) {
		t.Errorf("the third listing has %d blobs, the second %d", len(third), len(second))
	}
}

func TestListingIsUnkind(t *testing.T) {
	l := NewAuditLog(testOptions(newClock()))
	disordered, twice := false, false
	for hour := range 24 {
		seen := map[string]bool{}
		var last time.Time
		for _, b := range listAll(t, l, "Audit.SharePoint", l.Now().Add(-time.Duration(hour+24)*time.Hour), l.Now().Add(-time.Duration(hour)*time.Hour)) {
			disordered = disordered || b.Created.Before(last)
			twice = twice || seen[b.ID]
			last, seen[b.ID] = b.Created, true
		}
	}
	if !disordered || !twice {
		t.Errorf("listings out of order: %v, a blob listed twice: %v", disordered, twice)
	}
	p := l.List("Audit.SharePoint", l.Now().Add(-24*time.Hour), l.Now())
	if blobs, next := l.Page(p); len(blobs) != unkindPage || next == nil {
		t.Errorf("a page has %d blobs", len(blobs))
	}
}

func TestWindowIsHalfOpen(t *testing.T) {
	c := newClock()
	l := NewAuditLog(AuditOptions{Now: c.Now, Calm: true})
	at := c.Now().Add(-time.Hour)
	id := l.AddBlob("Audit.General", at, []byte("[]"))
	for _, test := range []struct {
		from, to time.Duration
		want     int
	}{
		{0, time.Second, 1}, {-time.Second, 0, 0}, {time.Millisecond, time.Second, 0}, {-time.Millisecond, time.Millisecond, 1}, {0, 0, 0},
		{-2 * time.Hour, -time.Hour, 0}, {time.Second, 2 * time.Second, 0},
	} {
		if got := len(listAll(t, l, "Audit.General", at.Add(test.from), at.Add(test.to))); got != test.want {
			t.Errorf("window from %v to %v has %d blobs, want %d", test.from, test.to, got, test.want)
		}
	}
	if got := string(body(t, l, id)); got != "[]" {
		t.Errorf("body = %q", got)
	}
}

func TestContentGoesOnAndIsForgotten(t *testing.T) {
	c := newClock()
	l := NewAuditLog(testOptions(c))
	blobs := listAll(t, l, "Audit.SharePoint", c.Now().Add(-24*time.Hour), c.Now())
	c.add(26 * time.Hour)
	if later := listAll(t, l, "Audit.SharePoint", c.Now().Add(-24*time.Hour), c.Now()); len(later) < len(blobs)/3 {
		t.Errorf("a day later there are only %d new blobs, after %d", len(later), len(blobs))
	}
	if err := l.WriteBody(io.Discard, blobs[0].ID); err != nil {
		t.Errorf("a day later: %v", err)
	}
	c.add(6 * 24 * time.Hour)
	if err := l.WriteBody(io.Discard, blobs[0].ID); !errors.Is(err, ErrContentExpired) {
		t.Errorf("after a week: %v", err)
	}
}

func TestContentIDs(t *testing.T) {
	c := newClock()
	l := NewAuditLog(AuditOptions{Now: c.Now})
	id := l.AddBlob("DLP.All", c.Now().Add(time.Minute), []byte("[]"))
	if want := "20261118150831000000000$20261118150831000000000$dlp_all$DLP_All"; id != want {
		t.Errorf("content id %s, want %s", id, want)
	}
	for _, test := range []struct {
		id   string
		want error
	}{
		{id, ErrNoContent}, // not before it was created
		{strings.ReplaceAll(id, "000000000$", "000000001$"), ErrNoContent},
		{strings.ReplaceAll(id, "20261118", "20261117"), ErrNoContent},
		{strings.Replace(id, "20261118", "20261117", 1), ErrBadContentID},
		{strings.ToUpper(id), ErrBadContentID},
		{"", ErrBadContentID}, {"1$1$dlp_all$DLP_All", ErrBadContentID}, {"$$$", ErrBadContentID},
	} {
		if err := l.WriteBody(io.Discard, test.id); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.id, err, test.want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	c := newClock()
	o := testOptions(c)
	o.Users = 20
	l := NewAuditLog(o)
	var readers sync.WaitGroup
	for n := range 4 {
		readers.Go(func() {
			for i, kind := range ContentTypes() {
				for _, b := range listAll(t, l, kind, c.Now().Add(-24*time.Hour), c.Now()) {
					if err := l.WriteBody(io.Discard, b.ID); err != nil {
						t.Error(err)
					}
				}
				if i == n {
					l.AddBlob(kind, c.Now(), nil)
					c.add(time.Hour)
				}
				for range l.Records() {
				}
			}
		})
	}
	readers.Wait()
}

func TestPrerenderChangesNothing(t *testing.T) {
	o := testOptions(newClock())
	o.Days, o.Users = 2, 20
	lazy, eager := NewAuditLog(o), NewAuditLog(o)
	eager.Prerender()
	for _, kind := range ContentTypes() {
		for _, b := range listAll(t, lazy, kind, lazy.Now().Add(-24*time.Hour), lazy.Now()) {
			if !bytes.Equal(body(t, lazy, b.ID), body(t, eager, b.ID)) {
				t.Fatalf("blob %s differs", b.ID)
			}
		}
	}
}
