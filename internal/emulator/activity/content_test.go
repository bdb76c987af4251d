package activity_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/activity"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestActivityWindows(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true}) // it is 2026-11-18T15:07:31.123Z
	at := time.Date(2026, 11, 18, 10, 0, 0, 0, time.UTC)
	c.audit.AddBlob("DLP.All", at, []byte("[]"))
	for _, test := range []struct{ start, end, want string }{
		{"", "", "1"},
		{"2026-11-18", "2026-11-19", "1"},
		{"2026-11-18T10:00", "2026-11-18T10:01", "1"},
		{"2026-11-18T10:00:00", "2026-11-18T10:00:01", "1"},
		{"2026-11-18T10:00:00.000Z", "2026-11-18T10:00:00.001Z", "1"},
		{"2026-11-18T10:00:00Z", "2026-11-18T10:00:01Z", "1"},
		{"2026-11-18T10:00:00.001Z", "2026-11-18T10:00:02.000Z", "0"},
		{"2026-11-18T09:00", "2026-11-18T10:00", "0"},
		{"2026-11-17T15:07:31.123Z", "2026-11-18T15:07:31.123Z", "1"},
		{"2026-11-11T15:07:32", "2026-11-12T15:07:32", "0"},
		{"2026-11-11T15:07:31.122Z", "2026-11-12T15:07:31", "400 AF20055"}, // older than 7 days
		{"2026-11-18T10:00", "", "400 AF20030"},
		{"", "2026-11-18T10:00", "400 AF20030"},
		{"2026-11-18T10:00", "2026-11-18T10:00", "400 AF20055"},
		{"2026-11-18T11:00", "2026-11-18T10:00", "400 AF20055"},
		{"2026-11-17T10:00:00", "2026-11-18T10:00:01", "400 AF20055"},
		{"yesterday", "2026-11-18T10:00", "400 AF20002"},
		{"2026-11-18T09:00", "2026-13-18", "400 AF20002"},
		{"2026-11-18T09:00:00.5", "2026-11-18T10:00", "400 AF20002"},
		{"2026-11-18T09:00:00+01:00", "2026-11-18T10:00", "400 AF20002"},
		{"2026-11-18 09:00", "2026-11-18T10:00", "400 AF20002"},
	} {
		q := url.Values{"contentType": {"DLP.All"}}
		if test.start != "" {
			q.Set("startTime", test.start)
		}
		if test.end != "" {
			q.Set("endTime", test.end)
		}
		a := c.get("subscriptions/content?" + q.Encode())
		got := a.code()
		if a.Status == http.StatusOK {
			got = fmt.Sprint(len(mustDecode[[]contentBody](t, a)))
		}
		if got != test.want {
			t.Errorf("from %q to %q: %s, want %s\n%s", test.start, test.end, got, test.want, a.Text)
		}
	}
}

func TestContentAsListed(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true})
	id := c.audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Hour), []byte(`[{"Id":"1"}]`))
	a := c.get("subscriptions/content?contentType=DLP.All")
	want := []contentBody{{
		ContentType: "DLP.All", ContentID: id, ContentURI: c.root + feedPath + "audit/" + id,
		ContentCreated: "2026-11-18T14:07:31.123Z", ContentExpiration: "2026-11-25T14:07:31.123Z",
	}}
	if diff := cmp.Diff(want, mustDecode[[]contentBody](t, a)); diff != "" {
		t.Error(diff)
	}
	if next := a.Header.Get("NextPageUri"); next != "" {
		t.Errorf("a last page names the next one, %s", next)
	}
	for _, uri := range []string{want[0].ContentURI, want[0].ContentURI + "?PublisherIdentifier=" + tenantID, strings.ReplaceAll(want[0].ContentURI, "$", "%24")} {
		if a := c.do("GET", uri); a.Status != http.StatusOK || a.Text != `[{"Id":"1"}]` || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %s", uri, a.Status, a.Text)
		}
	}
	if a := c.get("subscriptions/content?contentType=Audit.Exchange"); a.Text != "[]\n" {
		t.Errorf("an empty listing is %q", a.Text)
	}
	if a := c.get("subscriptions/notifications?contentType=DLP.All"); a.Text != "[]\n" {
		t.Errorf("notifications: %q", a.Text)
	}
}

// Following the pages of each day finds each record that there is, in a calm
// tenant once.
func TestPagesCoverEverything(t *testing.T) {
	for _, calm := range []bool{true, false} {
		t.Run(fmt.Sprintf("calm=%v", calm), func(t *testing.T) {
			c := mustStartFeed(t, tenant.AuditOptions{Seed: 3, Users: 30, PerUser: 20, Days: 2, Calm: calm})
			want := map[string]bool{}
			for r := range c.audit.Records() {
				want[r.ID] = true
			}
			got := map[string]int{}
			fetched := map[string]bool{}
			listed, rounds, olderSpelling := 0, 2, false
			if calm {
				rounds = 1
			}
			for range rounds {
				for _, kind := range tenant.ContentTypes() {
					for day := range 3 {
						from := c.clock.Now().Add(-time.Duration(day+1) * 24 * time.Hour)
						for _, b := range c.listAll("contentType=" + kind + "&startTime=" + from.Format(activityTime) + "&endTime=" + from.Add(24*time.Hour).Format(activityTime)) {
							listed++
							if fetched[b.ContentID] {
								continue
							}
							fetched[b.ContentID] = true
							for _, r := range mustDecode[[]struct{ Id string }](t, c.do("GET", b.ContentURI)) {
								got[r.Id]++
							}
						}
						a := c.get("subscriptions/content?contentType=" + kind + "&startTime=" + from.Format(activityTime) + "&endTime=" + from.Add(24*time.Hour).Format(activityTime))
						for next := a.Header.Get("NextPageUri"); next != ""; next = a.Header.Get("NextPageUri") {
							olderSpelling = olderSpelling || strings.Contains(next, "/api/v1/")
							a = c.do("GET", next)
						}
					}
				}
			}
			for id, n := range got {
				if !want[id] || calm && n != 1 {
					t.Errorf("record %s came %d times, expected: %v", id, n, want[id])
				}
			}
			if len(got) != len(want) || len(want) == 0 {
				t.Errorf("%d records of %d", len(got), len(want))
			}
			if calm && listed != len(fetched) {
				t.Errorf("%d blobs listed, %d different ones", listed, len(fetched))
			}
			if olderSpelling == calm {
				t.Errorf("calm %v, but links of version v1: %v", calm, olderSpelling)
			}
		})
	}
}

func TestNextPageIsBoundToItsListing(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	for i := range 10 {
		c.audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Duration(i+1)*time.Hour), []byte("[]"))
	}
	a := c.get("subscriptions/content?contentType=DLP.All")
	next, err := url.Parse(a.Header.Get("NextPageUri"))
	if err != nil || next.Host == "" {
		t.Fatalf("NextPageUri %q: %v", a.Header.Get("NextPageUri"), err)
	}
	q := next.Query()
	if q.Get("startTime") != "2026-11-17T15:07:31.123Z" || q.Get("endTime") != "2026-11-18T15:07:31.123Z" {
		t.Errorf("the window that was assumed is not in %s", next)
	}
	// What is added meanwhile does not show in a listing that has begun.
	c.audit.AddBlob("DLP.All", c.clock.Now().Add(-30*time.Minute), []byte("[]"))
	c.clock.Add(time.Minute)
	if n := len(mustDecode[[]contentBody](t, c.do("GET", next.String()))); n < 3 || n > 4 {
		t.Errorf("the second page has %d blobs", n)
	}
	for name, change := range map[string]func(url.Values){
		"another content type": func(q url.Values) { q.Set("contentType", "Audit.General") },
		"another window":       func(q url.Values) { q.Set("startTime", "2026-11-18") },
		"a changed token":      func(q url.Values) { q.Set("nextPage", strings.Replace(q.Get("nextPage"), "e", "f", 1)) },
	} {
		q, u := next.Query(), *next
		change(q)
		u.RawQuery = q.Encode()
		if a := c.do("GET", u.String()); a.code() != "400 AF20031" {
			t.Errorf("%s: %s", name, a.code())
		}
	}
	for _, name := range []string{"startTime", "endTime"} {
		q.Del(name)
	}
	next.RawQuery = q.Encode()
	if a := c.do("GET", next.String()); a.Status != http.StatusOK {
		t.Errorf("nextPage without the window: %s", a.code())
	}
}

func TestContentExpires(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	id := c.audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Hour), []byte("[]"))
	c.clock.Add(7*24*time.Hour - time.Hour - time.Millisecond)
	if a := c.get("audit/" + id); a.Status != http.StatusOK {
		t.Errorf("just before it expires: %s", a.code())
	}
	c.clock.Add(time.Millisecond)
	if a := c.get("audit/" + id); a.code() != "400 AF20051" {
		t.Errorf("when it expires: %s", a.code())
	}
}

// Each fixture file comes out of the API byte for byte, record by record.
func TestFixturesThroughTheAPI(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for at := dir; len(files) == 0; at = filepath.Dir(at) {
		if files, err = filepath.Glob(filepath.Join(at, "..", "shared", "fixtures", "audit", "*.jsonl")); err != nil {
			t.Fatal(err)
		}
		if at == filepath.Dir(at) && len(files) == 0 {
			t.Skip("there is no shared/fixtures/audit beside the repository")
		}
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := mustStartFeed(t, tenant.AuditOptions{Users: 5, Days: 1, PerUser: 10})
			if err := c.audit.UseRecords(bytes.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			missing := map[string]int{}
			for line := range strings.Lines(string(text)) {
				missing[strings.TrimSpace(line)]++
			}
			fetched := map[string]bool{}
			for _, kind := range tenant.ContentTypes() {
				for _, b := range c.listAll("contentType=" + kind) {
					if fetched[b.ContentID] {
						continue
					}
					fetched[b.ContentID] = true
					for _, r := range mustDecode[[]json.RawMessage](t, c.do("GET", b.ContentURI)) {
						missing[string(r)]--
					}
				}
			}
			for line, n := range missing {
				if n != 0 {
					t.Errorf("%d times too few: %.80s", n, line)
				}
			}
		})
	}
}

func TestManyReadersAtOnce(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Seed: 2, Users: 20, PerUser: 20, Days: 1})
	token := c.token(nil)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for _, kind := range tenant.ContentTypes() {
				next := c.root + feedPath + "subscriptions/content?contentType=" + kind
				for next != "" {
					r, err := http.NewRequestWithContext(t.Context(), "GET", next, nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Authorization", "Bearer "+token)
					resp, err := c.client.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					next = resp.Header.Get("NextPageUri")
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK {
						t.Errorf("%d %v", resp.StatusCode, err)
						return
					}
				}
			}
		})
	}
	readers.Wait()
}

func FuzzDecodePage(f *testing.F) {
	f.Add(activity.PageToken{Listing: tenant.Listing{ContentType: "DLP.All", Number: 1, Offset: 7}}.Encode())
	f.Add("2")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := activity.DecodePage(s); ok && p.Number == 0 {
			t.Errorf("%q is a page of no listing", s)
		}
	})
}

// A listing keeps the order and the pages that its first page has begun with.
func TestOrderAndPagesOnRequest(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true})
	var old []string // the oldest first
	for i := range 25 {
		old = append(old, c.audit.AddBlob("DLP.All", c.clock.Now().Add(time.Duration(i-30)*time.Minute), []byte("[]")))
	}
	newest := slices.Clone(old)
	slices.Reverse(newest)
	for _, test := range []struct {
		fault string
		want  []string
		pages int
	}{
		{"", old, 1},
		{"manage/content:short-pages", old, 4},
		{"manage/content:short-pages,length=20", old, 2},
		{"manage/content:newest-first", newest, 1},
		{"manage/content:newest-first,length=10,times=1", newest, 3},
	} {
		c.cloud.Faults.Clear()
		if test.fault != "" {
			f, err := origin.ParseFault(test.fault)
			if err != nil {
				t.Fatal(err)
			}
			c.cloud.Faults.Inject(f)
		}
		var got []string
		pages := 0
		for next := c.root + feedPath + "subscriptions/content?contentType=DLP.All"; next != "" && pages < 10; pages++ {
			a := c.do("GET", next)
			for _, b := range mustDecode[[]contentBody](t, a) {
				got = append(got, b.ContentID)
			}
			next = a.Header.Get("NextPageUri")
		}
		if diff := cmp.Diff(test.want, got); diff != "" || pages != test.pages {
			t.Errorf("%q: %d pages, want %d (-want +got):\n%s", test.fault, pages, test.pages, diff)
		}
	}
}
