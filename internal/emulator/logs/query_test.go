package logs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/logs"
)

func TestPageViews(t *testing.T) {
	w := start(t)
	rows := w.rows("pageViews\n| where timestamp > datetime(2026-11-10 00:00:00)\r\n| order by timestamp asc", "P14D")
	if len(rows) < 500 {
		t.Fatalf("%d page views in a week of 30 people", len(rows))
	}
	last, requests, people := "", map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		at := r["timestamp"].(string)
		if at < last || at <= "2026-11-10" || at > "2026-11-18T12:00:00Z" {
			t.Fatalf("%s after %s", at, last)
		}
		last = at
		var d map[string]string
		if err := json.Unmarshal([]byte(r["customDimensions"].(string)), &d); err != nil {
			t.Fatalf("customDimensions %v: %v", r["customDimensions"], err)
		}
		for _, name := range []string{"timeStamp", "sessionId", "pageRequestId", "spRequestDuration", "pageLoad", "webTitle", "pageTitle", "siteUrl", "webUrl"} {
			if d[name] == "" {
				t.Errorf("a page view without %s: %v", name, d)
			}
		}
		if requests[d["pageRequestId"]] || !strings.HasPrefix(r["url"].(string), "https://contoso.sharepoint.com") || strings.Contains(r["url"].(string), " ") {
			t.Errorf("page request %s twice, or the address %s", d["pageRequestId"], r["url"])
		}
		requests[d["pageRequestId"]] = true
		people[r["user_AuthenticatedId"].(string)] = true
		if _, ok := r["duration"].(float64); !ok || r["itemType"] != "pageView" || r["itemCount"] != 1.0 {
			t.Errorf("%v", r)
		}
	}
	if len(people) < 25 || people[""] {
		t.Errorf("%d people", len(people))
	}

	// Events tell of page views that there are.
	names := map[string]int{}
	for _, r := range w.rows("customEvents | where timestamp > datetime(2026-11-11) | sort by timestamp asc", "P14D") {
		names[r["name"].(string)]++
		var d map[string]string
		if err := json.Unmarshal([]byte(r["customDimensions"].(string)), &d); err != nil {
			t.Fatal(err)
		}
		if id, ok := d["pageRequestId"]; ok && !requests[id] {
			t.Errorf("an event of page request %s, which there is none", id)
		}
		for _, name := range []string{"props", "taxonomyProps", "pageComments", "pageLikes"} {
			if text, ok := d[name]; ok && !json.Valid([]byte(text)) {
				t.Errorf("%s is not JSON: %s", name, text)
			}
		}
		if _, ok := r["url"]; ok {
			t.Error("an event has an address")
		}
	}
	for _, name := range []string{"PAGE_EXIT", "LinkClick", "UserSearch", "PageMetadataUpdate"} {
		if names[name] == 0 {
			t.Errorf("no %s among %v", name, names)
		}
	}
}

// Going through the visits in windows finds each of them once, the same ones as
// all at once, from either side.
func TestWindowsCoverEverything(t *testing.T) {
	for _, calm := range []bool{true, false} {
		w := start(t, func(a *logs.API) { a.Traffic = traffic(calm) })
		ids := func(rows []map[string]any) (all []string) {
			for _, r := range rows {
				all = append(all, r["itemId"].(string))
			}
			return all
		}
		const layout = "2006-01-02T15:04:05.000Z"
		var got []string
		for from := noon.Add(-48 * time.Hour); from.Before(noon); from = from.Add(97 * time.Minute) {
			to := from.Add(97 * time.Minute)
			if to.After(noon) {
				to = noon
			}
			got = append(got, ids(w.rows(fmt.Sprintf("customEvents | where timestamp >= datetime(%q) and timestamp < datetime('%s') | order by timestamp asc", from.Format(layout), to.Format(layout)), ""))...)
		}
		want := ids(w.rows("customEvents | order by timestamp asc", "P2D"))
		if diff := cmp.Diff(want, got); diff != "" || len(want) < 100 {
			t.Errorf("calm %v: %d events: %s", calm, len(want), diff)
		}
		newest := ids(w.rows("customEvents|order by timestamp desc;", "P2D"))
		slices.Reverse(newest)
		if diff := cmp.Diff(want, newest); diff != "" {
			t.Error(diff)
		}
		unordered := ids(w.rows("customEvents", "P2D"))
		if slices.Equal(unordered, want) != calm {
			t.Errorf("calm %v: without an order the rows are in order: %v", calm, !calm)
		}
		if slices.Sort(unordered); !slices.Equal(unordered, slices.Sorted(slices.Values(want))) {
			t.Error("without an order there are other rows")
		}
	}
}

func TestForms(t *testing.T) {
	w := start(t)
	all := w.rows("pageViews | order by timestamp asc", "P1D")
	at := all[10]["timestamp"].(string)
	later := all[20]["timestamp"].(string)
	if n := len(w.rows("pageViews | order by timestamp asc | limit 5", "P1D")); n != 5 {
		t.Errorf("%d rows, want 5", n)
	}
	if n := len(w.rows("pageViews | take 7", "P1D")); n != 7 {
		t.Errorf("%d rows, want 7", n)
	}
	for query, want := range map[string]int{
		"pageViews | count": len(all), "pageViews|summarize n=count()": len(all),
		"pageViews | where timestamp > datetime(" + at + ") | count":                                                    len(all) - 11,
		"pageViews | where timestamp>=datetime(" + at + ") | count":                                                     len(all) - 10,
		"pageViews | where timestamp >= datetime(" + at + ") and timestamp < datetime(" + later + ") | count":           10,
		"pageViews | where timestamp >= datetime(" + at + ") | where timestamp < datetime( \"" + later + "\" ) | count": 10,
		"pageViews | where timestamp > datetime(" + at + ") and timestamp <= datetime(" + later + ") | count":           10,
	} {
		rows := w.rows(query, "P1D")
		n := rows[0]["Count"]
		if n == nil {
			n = rows[0]["n"]
		}
		if len(rows) != 1 || n != float64(want) {
			t.Errorf("%s: %v, want %d", query, rows, want)
		}
	}
	// The workspace has the same rows under its own names.
	a := w.post(workspacePath, `{"query":"AppPageViews | order by TimeGenerated asc","timespan":"P1D"}`)
	if len(a.Tables) != 1 || len(a.Tables[0].Rows) != len(all) || a.Tables[0].Columns[0] != (logs.Column{Name: "TimeGenerated", Type: "datetime"}) {
		t.Fatalf("in the workspace: %.300s", a.Text)
	}
	if a.Tables[0].Rows[10][0] != at || !strings.Contains(a.Text, `{"name":"Properties","type":"dynamic"}`) || !strings.Contains(a.Text, `{"name":"DurationMs","type":"real"}`) {
		t.Errorf("in the workspace: %.900s", a.Text)
	}
}

// A timespan in the URL, one in the body and the times of the query leave what
// they have in common.
func TestTimespansIntersect(t *testing.T) {
	w := start(t)
	count := func(url, body, query string) any {
		t.Helper()
		a := w.post(appPath+url, `{"query":"`+query+` | count"`+body+`}`)
		if a.code() != "200" {
			t.Fatalf("%s %s: %s", url, body, a.Text)
		}
		return a.Tables[0].Rows[0][0]
	}
	want := count("", `,"timespan":"2026-11-17T06:00:00Z/2026-11-17T12:00:00Z"`, "pageViews")
	if want == 0.0 {
		t.Fatal("no visits in a morning")
	}
	for _, test := range [][3]string{
		{"?timespan=2026-11-17T06:00:00Z/2026-11-17T18:00:00Z", `,"timespan":"2026-11-17/2026-11-17T12:00:00Z"`, "pageViews"},
		{"?timespan=P14D", `,"timespan":"PT6H/2026-11-17T12:00:00Z"`, "pageViews"},
		{"", `,"timespan":"2026-11-17T06:00:00Z/PT6H"`, "pageViews"},
		{"", `,"timespan":"2026-11-17T06:00:00Z/P1D"`, "pageViews | where timestamp >= datetime(2026-11-01) and timestamp < datetime(2026-11-17T12:00:00Z)"},
	} {
		if got := count(test[0], test[1], test[2]); got != want {
			t.Errorf("%s: %v, want %v", test, got, want)
		}
	}
	if got := count("?timespan=P1D", `,"timespan":"2026-11-01/2026-11-02"`, "pageViews"); got != 0.0 {
		t.Errorf("timespans that have nothing in common: %v", got)
	}
}

// What is not calm comes late, of computers whose clock is wrong, and of people
// who are not signed in.
func TestUnkindTraffic(t *testing.T) {
	w := start(t, func(a *logs.API) {
		a.Traffic = traffic(false)
		for i := range 120 {
			a.Traffic.People = append(a.Traffic.People, fmt.Sprintf("one%d@contoso.example", i))
		}
	})
	before := w.rows("pageViews | where timestamp >= datetime(2026-11-18T11:50:00) and timestamp < datetime(2026-11-18T12:00:00) | order by timestamp asc", "")
	all := w.rows("pageViews", "P2D")
	w.now = w.now.Add(5 * time.Minute)
	after := w.rows("pageViews | where timestamp >= datetime(2026-11-18T11:50:00) and timestamp < datetime(2026-11-18T12:00:00) | order by timestamp asc", "")
	if len(after) <= len(before) {
		t.Errorf("%d visits of ten minutes at once, %d later", len(before), len(after))
	}
	anonymous, wrong := 0, 0
	for _, r := range all {
		var d struct{ TimeStamp time.Time }
		at, err := time.Parse(time.RFC3339, r["timestamp"].(string))
		if err != nil || json.Unmarshal([]byte(r["customDimensions"].(string)), &d) != nil {
			t.Fatal(r)
		}
		if r["user_AuthenticatedId"] == "" {
			anonymous++
		}
		if d.TimeStamp.Sub(at) > time.Hour {
			wrong++
		}
	}
	if anonymous == 0 || wrong == 0 || anonymous > len(all)/5 || wrong > len(all)/5 {
		t.Errorf("of %d visits %d are anonymous and %d are of a wrong clock", len(all), anonymous, wrong)
	}
}

// An answer without rows has an empty list of them, in whatever order they were
// to come.
func TestNoRowsAreAnEmptyList(t *testing.T) {
	for _, calm := range []bool{true, false} {
		w := start(t, func(a *logs.API) { a.Traffic = traffic(calm) })
		for _, query := range []string{"pageViews", "pageViews | take 3", "pageViews | order by timestamp desc", "traces"} {
			if a := w.ask(query, "2020-01-01/P1D"); a.code() != "200" || !strings.Contains(a.Text, `"rows":[]`) {
				t.Errorf("calm %t, %s: %s %.300s", calm, query, a.code(), a.Text)
			}
		}
	}
}

// A time is a time and a count a count, also where both are digits alone.
func TestDigitsAloneAreNoTime(t *testing.T) {
	w := start(t)
	for _, query := range []string{
		"pageViews | where timestamp >= datetime(2026) | order by timestamp asc | take 5",
		"pageViews | where timestamp >= datetime(2026-11-11) and timestamp < datetime(20261118) | take 5",
	} {
		if a := w.ask(query, "P1D"); a.code() != "400 BadArgumentError SyntaxError" {
			t.Errorf("%s: %s %.300s", query, a.code(), a.Text)
		}
	}
}

// Nothing is older than the tracker, nor than 90 days.
func TestTrafficIsKept(t *testing.T) {
	w := start(t)
	oldest := func() string {
		return w.rows("pageViews | order by timestamp asc | take 1", "")[0]["timestamp"].(string)
	}
	if at := oldest(); at < "2026-10-29T12" || at > "2026-10-31" {
		t.Errorf("the tracker came on 2026-10-29T12, and the oldest visit is of %s", at)
	}
	w.now = w.now.AddDate(0, 0, 90)
	if at := oldest(); at < "2026-11-18T12" || at > "2026-11-20" {
		t.Errorf("90 days after 2026-11-18T12 the oldest visit is of %s", at)
	}
}

func TestOwnQueriesComeFirst(t *testing.T) {
	w := start(t, func(a *logs.API) {
		a.Queries = []logs.Query{{Name: "one", Kind: "apps", Text: "pageViews | count", Run: func(logs.Parameters) (logs.Table, error) {
			return logs.Table{Columns: []logs.Column{{Name: "Count", Type: "long"}}, Rows: [][]any{{-1}}}, nil
		}}}
	})
	if rows := w.rows("pageViews | count", ""); rows[0]["Count"] != -1.0 {
		t.Errorf("%v", rows)
	}
}

func TestQueriesDiffer(t *testing.T) {
	names, texts := map[string]bool{}, map[string]bool{}
	for _, q := range logs.Queries() {
		if names[q.Name] || texts[q.Kind+" "+q.Text] || logs.Normalize(q.Text) != q.Text {
			t.Errorf("%s: %s is there twice, or not in the normal form", q.Name, q.Text)
		}
		names[q.Name], texts[q.Kind+" "+q.Text] = true, true
	}
}

func TestParseTimespan(t *testing.T) {
	const layout = "2006-01-02T15:04:05"
	for s, want := range map[string]string{
		"P1D": "2026-11-17T12:00:00 2026-11-18T12:00:00", "PT86400.0S": "2026-11-17T12:00:00 2026-11-18T12:00:00",
		"P1DT1H30M": "2026-11-17T10:30:00 2026-11-18T12:00:00", "P1W": "2026-11-11T12:00:00 2026-11-18T12:00:00",
		"P1M": "2026-10-19T12:00:00 2026-11-18T12:00:00", "PT0S": "2026-11-18T12:00:00 2026-11-18T12:00:00",
		"2026-11-01/2026-11-02":                         "2026-11-01T00:00:00 2026-11-02T00:00:00",
		"2026-11-01T10:00:00+02:00/2026-11-01T10:00:00": "2026-11-01T08:00:00 2026-11-01T10:00:00",
		"P1D/2026-11-02":                                "2026-11-01T00:00:00 2026-11-02T00:00:00", "2026-11-01/P1D": "2026-11-01T00:00:00 2026-11-02T00:00:00",
		"": "", "P": "", "PT": "", "P1DT": "", "1D": "", "p1d": "", "P1D/P1D": "", "2026-11-01": "", "2026-11-02/2026-11-01": "", "P-1D": "", "P1.5D": "", "/": "",
	} {
		from, to, ok := logs.ParseTimespan(s, noon)
		got := ""
		if ok {
			got = from.Format(layout) + " " + to.Format(layout)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func FuzzParseTimespan(f *testing.F) {
	for _, s := range []string{"P1D", "PT86400.0S", "P999999999Y", "2026-11-01/2026-11-02", "PT1H/2026-11-01T00:00:00Z", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if from, to, ok := logs.ParseTimespan(s, noon); ok && to.Before(from) {
			t.Errorf("%q ends before it begins", s)
		}
	})
}

func FuzzReadBody(f *testing.F) {
	for _, s := range []string{"", "{}", "null", `{"query":"pageViews","timespan":"P1D","workspaces":null}`, `{"query":"x"}{}`, `{"timespan":"P1D/"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if query, err := logs.ReadBody(text); err == nil && query != "" && !json.Valid(text) {
			t.Errorf("%q was read from %q", query, text)
		}
	})
}

func FuzzReadBatch(f *testing.F) {
	for _, s := range []string{"", "{}", `{"requests":[{"id":"1","body":{"query":"x"},"path":"/query","method":"POST","workspace":"w"}]}`, `{"requests":[{},{}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		batch, err := logs.ReadBatch(text)
		if err == nil && (len(batch) == 0 || batch[0].ID == "") {
			t.Errorf("%q is a batch of %d", text, len(batch))
		}
	})
}

func FuzzNormalize(f *testing.F) {
	for _, q := range logs.Queries()[:20] {
		f.Add(q.Text)
	}
	f.Add("a|sort by b|limit 1 ; ;")
	f.Fuzz(func(t *testing.T, s string) {
		if once := logs.Normalize(s); logs.Normalize(once) != once {
			t.Errorf("%q becomes %q, and that %q", s, once, logs.Normalize(once))
		}
	})
}
