package emulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

const feedPath = "/activity/feed/"

// feedClient calls the Management Activity API of an emulator.
type feedClient struct {
	t     *testing.T
	e     *Emulator
	clock *clock
	root  string // up to feedPath
}

// mustStartFeed starts an emulator whose tenant has the audit log that is told.
func mustStartFeed(t *testing.T, o tenant.AuditOptions) *feedClient {
	t.Helper()
	c := &clock{now: time.Date(2026, 11, 18, 15, 7, 31, 123e6, time.UTC)}
	e := mustStart(t, c.Now, func(options *Options) {
		o.TenantID, o.Domain, o.SharePointHost = options.Tenant.ID, options.Tenant.Domain, "contoso.sharepoint.com"
		o.Now = c.Now
		options.Tenant.Audit = tenant.NewAuditLog(o)
	})
	return &feedClient{t, e, c, e.Origins().Manage + "/api/v1.0/" + e.tenant.ID}
}

// token returns an access token for the feed, with other claims if some are
// told.
func (c *feedClient) token(claims map[string]any) string {
	c.t.Helper()
	all := map[string]any{
		"iss": c.e.tokenIssuer(), "aud": manageAudience, "tid": c.e.tenant.ID, "appid": c.e.tenant.Client().ClientID,
		"roles": []string{readActivity}, "nbf": c.clock.Now().Add(-time.Minute).Unix(), "exp": c.clock.Now().Add(time.Hour).Unix(),
	}
	for k, v := range claims {
		all[k] = v
	}
	signed, err := c.e.sign(all)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

func (c *feedClient) do(method, url string) answer {
	c.t.Helper()
	return mustDo(c.t, c.e, method, url, "", "Authorization", "Bearer "+c.token(nil))
}

func (c *feedClient) get(path string) answer {
	c.t.Helper()
	return c.do("GET", c.root+feedPath+path)
}

func (c *feedClient) post(path, body string) answer {
	c.t.Helper()
	return mustDo(c.t, c.e, "POST", c.root+feedPath+path, body, "Authorization", "Bearer "+c.token(nil))
}

// code returns the status of an answer, and the code of its error.
func (a answer) code() string {
	inner, _ := a.body["error"].(map[string]any)
	code, _ := inner["code"].(string)
	return strings.TrimSpace(fmt.Sprint(a.status, " ", code))
}

func mustDecode[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), &v); a.status != http.StatusOK || err != nil {
		t.Fatalf("%d %.200s: %v", a.status, a.text, err)
	}
	return v
}

// listAll follows a listing to its end.
func (c *feedClient) listAll(query string) []contentBody {
	c.t.Helper()
	var all []contentBody
	next := c.root + feedPath + "subscriptions/content?" + query
	for pages := 0; next != ""; pages++ {
		if pages > 10000 {
			c.t.Fatal("a listing does not end")
		}
		a := c.do("GET", next)
		all = append(all, mustDecode[[]contentBody](c.t, a)...)
		next = a.header.Get("NextPageUri")
	}
	return all
}

func TestActivityAuthorization(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	other := "11111111-2222-4333-8444-555555555555"
	for _, test := range []struct {
		name   string
		claims map[string]any
		tenant string
		want   string
	}{
		{"good", nil, c.e.tenant.ID, "200"},
		{"tenant in capitals", nil, strings.ToUpper(c.e.tenant.ID), "200"},
		{"audience with a slash", map[string]any{"aud": manageAudience + "/"}, c.e.tenant.ID, "200"},
		{"token for Graph", map[string]any{"aud": "https://graph.microsoft.com"}, c.e.tenant.ID, "401"},
		{"expired", map[string]any{"exp": c.clock.Now().Unix()}, c.e.tenant.ID, "401"},
		{"no roles", map[string]any{"roles": nil}, c.e.tenant.ID, "401 AF10001"},
		{"other role", map[string]any{"roles": []string{"ServiceHealth.Read"}}, c.e.tenant.ID, "401 AF10001"},
		{"other tenant in the path", nil, other, "400 AF20010"},
		{"unknown tenant in both", map[string]any{"tid": other}, other, "400 AF20011"},
		{"domain in the path", nil, c.e.tenant.Domain, "400 AF20013"},
	} {
		a := mustDo(t, c.e, "GET", c.e.Origins().Manage+"/api/v1.0/"+test.tenant+feedPath+"subscriptions/list", "",
			"Authorization", "Bearer "+c.token(test.claims))
		if a.code() != test.want {
			t.Errorf("%s: %s, want %s\n%s", test.name, a.code(), test.want, a.text)
		}
	}
	if a := mustDo(t, c.e, "GET", c.root+feedPath+"subscriptions/list", ""); a.status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", a.status)
	}
}

func TestActivityRefusals(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	for _, test := range []struct{ method, path, body, want string }{
		{"POST", "subscriptions/start", "", "400 AF20001"},
		{"POST", "subscriptions/start?contentType=Audit.Nothing", "", "400 AF20020"},
		{"POST", "subscriptions/start?contentType=Audit.General", "", "400 AF20024"},
		{"POST", "subscriptions/start?contentType=Audit.General&PublisherIdentifier=" + c.e.tenant.ID, "{}", "400 AF20024"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":null}`, "400 AF20024"},
		{"POST", "subscriptions/start?contentType=Audit.General", `nonsense`, "400 AF20002"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"adress":"https://x"}}`, "400 AF20002"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"authId":"x"}}`, "400 AF20001"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"address":"http://hooks.contoso.example/"}}`, "400 AF20021"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"address":"https://hooks.contoso.example/","expiration":"2026-01-01T00:00:00Z"}}`, "400 AF20003"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"address":"https://hooks.contoso.example/","authId":"x","expiration":""}}`, "501 NotImplemented"},
		{"POST", "subscriptions/stop?contentType=Audit.Nothing", "", "400 AF20020"},
		{"GET", "subscriptions/stop?contentType=Audit.General", "", "501 NotImplemented"},
		{"GET", "subscriptions/pause", "", "501 NotImplemented"},
		{"GET", "subscriptions/list?contentType=Audit.General", "", "501 NotImplemented"},
		{"GET", "subscriptions/content?contentType=Audit.General&top=5", "", "501 NotImplemented"},
		{"GET", "subscriptions/content?contentType=Audit.General&contentType=DLP.All", "", "501 NotImplemented"},
		{"GET", "subscriptions/content", "", "400 AF20001"},
		{"GET", "subscriptions/content?contentType=audit.general", "", "400 AF20020"},
		{"GET", "subscriptions/content?contentType=Audit.General&nextPage=2", "", "400 AF20031"},
		{"GET", "subscriptions/content?contentType=Audit.General&nextPage=", "", "400 AF20031"},
		{"GET", "subscriptions/notifications?contentType=Audit.General&startTime=2026-11-18", "", "400 AF20030"},
		{"GET", "audit/x", "", "400 AF20052"},
		{"GET", "audit/20261118150831000000000$20261118150831000000000$dlp_all$DLP_All", "", "400 AF20050"},
		{"GET", "audit/20261118150831000000000%2420261118150831000000000%24dlp_all%24DLP_All?PublisherIdentifier=x", "", "400 AF20050"},
		{"GET", "audit/20261118150831000000000$20261118150831000000000$dlp_all$DLP_All?x=1", "", "501 NotImplemented"},
	} {
		a := mustDo(t, c.e, test.method, c.root+feedPath+test.path, test.body, "Authorization", "Bearer "+c.token(nil))
		if a.code() != test.want {
			t.Errorf("%s %s %s: %s, want %s\n%s", test.method, test.path, test.body, a.code(), test.want, a.text)
		}
	}
}

func TestActivityWindows(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true}) // it is 2026-11-18T15:07:31.123Z
	at := time.Date(2026, 11, 18, 10, 0, 0, 0, time.UTC)
	c.e.tenant.Audit.AddBlob("DLP.All", at, []byte("[]"))
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
		if a.status == http.StatusOK {
			got = fmt.Sprint(len(mustDecode[[]contentBody](t, a)))
		}
		if got != test.want {
			t.Errorf("from %q to %q: %s, want %s\n%s", test.start, test.end, got, test.want, a.text)
		}
	}
}

func TestContentAsListed(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true})
	id := c.e.tenant.Audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Hour), []byte(`[{"Id":"1"}]`))
	a := c.get("subscriptions/content?contentType=DLP.All")
	want := []contentBody{{
		ContentType: "DLP.All", ContentID: id, ContentURI: c.root + feedPath + "audit/" + id,
		ContentCreated: "2026-11-18T14:07:31.123Z", ContentExpiration: "2026-11-25T14:07:31.123Z",
	}}
	if diff := cmp.Diff(want, mustDecode[[]contentBody](t, a)); diff != "" {
		t.Error(diff)
	}
	if next := a.header.Get("NextPageUri"); next != "" {
		t.Errorf("a last page names the next one, %s", next)
	}
	for _, uri := range []string{want[0].ContentURI, want[0].ContentURI + "?PublisherIdentifier=" + c.e.tenant.ID, strings.ReplaceAll(want[0].ContentURI, "$", "%24")} {
		if a := c.do("GET", uri); a.status != http.StatusOK || a.text != `[{"Id":"1"}]` || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %s", uri, a.status, a.text)
		}
	}
	if a := c.get("subscriptions/content?contentType=Audit.Exchange"); a.text != "[]\n" {
		t.Errorf("an empty listing is %q", a.text)
	}
	if a := c.get("subscriptions/notifications?contentType=DLP.All"); a.text != "[]\n" {
		t.Errorf("notifications: %q", a.text)
	}
}

// Following the pages of each day finds each record that there is, in a calm
// tenant once.
func TestPagesCoverEverything(t *testing.T) {
	for _, calm := range []bool{true, false} {
		t.Run(fmt.Sprintf("calm=%v", calm), func(t *testing.T) {
			c := mustStartFeed(t, tenant.AuditOptions{Seed: 3, Users: 30, PerUser: 20, Days: 2, Calm: calm})
			want := map[string]bool{}
			for r := range c.e.tenant.Audit.Records() {
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
						for next := a.header.Get("NextPageUri"); next != ""; next = a.header.Get("NextPageUri") {
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
		c.e.tenant.Audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Duration(i+1)*time.Hour), []byte("[]"))
	}
	a := c.get("subscriptions/content?contentType=DLP.All")
	next, err := url.Parse(a.header.Get("NextPageUri"))
	if err != nil || next.Host == "" {
		t.Fatalf("NextPageUri %q: %v", a.header.Get("NextPageUri"), err)
	}
	q := next.Query()
	if q.Get("startTime") != "2026-11-17T15:07:31.123Z" || q.Get("endTime") != "2026-11-18T15:07:31.123Z" {
		t.Errorf("the window that was assumed is not in %s", next)
	}
	// What is added meanwhile does not show in a listing that has begun.
	c.e.tenant.Audit.AddBlob("DLP.All", c.clock.Now().Add(-30*time.Minute), []byte("[]"))
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
	if a := c.do("GET", next.String()); a.status != http.StatusOK {
		t.Errorf("nextPage without the window: %s", a.code())
	}
}

func TestSubscriptionLife(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Users: 100, PerUser: 1000, Days: 1, Calm: true})
	list := func() []subscriptionBody { return mustDecode[[]subscriptionBody](t, c.get("subscriptions/list")) }
	if n := len(list()); n != 5 {
		t.Errorf("%d subscriptions at first", n)
	}
	c.e.tenant.Audit.StopAll()
	if a := c.get("subscriptions/list"); a.text != "[]\n" {
		t.Errorf("no subscriptions are listed as %q", a.text)
	}
	const kind = "?contentType=Audit.SharePoint"
	if a := c.get("subscriptions/content" + kind); a.code() != "400 AF20022" {
		t.Errorf("listing without a subscription: %s", a.code())
	}
	if a := c.post("subscriptions/stop"+kind, ""); a.code() != "400 AF20022" {
		t.Errorf("stopping none: %s", a.code())
	}
	want := subscriptionBody{ContentType: "Audit.SharePoint", Status: "enabled"}
	a := c.post("subscriptions/start"+kind, "")
	if diff := cmp.Diff(want, mustDecode[subscriptionBody](t, a)); diff != "" || !strings.Contains(a.text, `"webhook":null`) {
		t.Error(diff, a.text)
	}
	if a := c.post("subscriptions/start"+kind, ""); a.code() != "403 AF429" || a.header.Get("Retry-After") != "" {
		t.Errorf("a second start: %s", a.code())
	}
	c.clock.Add(10 * time.Minute)
	if blobs := c.listAll("contentType=Audit.SharePoint"); len(blobs) != 0 {
		t.Errorf("%d blobs ten minutes after the start", len(blobs))
	}
	c.clock.Add(6 * time.Minute)
	if a := c.post("subscriptions/start"+kind, ""); a.code() != "400 AF20024" {
		t.Errorf("a start 16 minutes later: %s", a.code())
	}
	if blobs := c.listAll("contentType=Audit.SharePoint"); len(blobs) == 0 {
		t.Error("no content after 16 minutes")
	}
	if a := c.post("subscriptions/stop"+kind, ""); a.status != http.StatusOK || a.text != "" {
		t.Errorf("stop: %d %q", a.status, a.text)
	}
	want.Status = "disabled"
	if diff := cmp.Diff([]subscriptionBody{want}, list()); diff != "" {
		t.Error(diff)
	}
}

func TestContentExpires(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	id := c.e.tenant.Audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Hour), []byte("[]"))
	c.clock.Add(7*24*time.Hour - time.Hour - time.Millisecond)
	if a := c.get("audit/" + id); a.status != http.StatusOK {
		t.Errorf("just before it expires: %s", a.code())
	}
	c.clock.Add(time.Millisecond)
	if a := c.get("audit/" + id); a.code() != "400 AF20051" {
		t.Errorf("when it expires: %s", a.code())
	}
}

func TestSensitiveTypes(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	for _, test := range []struct{ language, want string }{
		{"", "Credit Card Number"}, {"en-US", "Credit Card Number"}, {"de", "Kreditkartennummer"}, {"de-AT;q=0.9", "Kreditkartennummer"},
		{"fr", "Credit Card Number"}, {"*", "Credit Card Number"},
		{"de,en", "400 AF20053"}, {"de;en", "400 AF20054"}, {"d", "400 AF20054"}, {"_", "400 AF20054"}, {"de-", "400 AF20054"},
	} {
		a := mustDo(t, c.e, "GET", c.root+feedPath+"resources/dlpSensitiveTypes", "",
			"Authorization", "Bearer "+c.token(nil), "Accept-Language", test.language)
		got := a.code()
		if a.status == http.StatusOK {
			got = mustDecode[[]struct{ Name string }](t, a)[0].Name
		}
		if got != test.want {
			t.Errorf("%q: %s, want %s", test.language, got, test.want)
		}
	}
}

func TestActivityFaults(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true})
	id := c.e.tenant.Audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Hour), []byte(`[{"Id":"1"},{"Id":"2"}]`))
	blob, content := "audit/"+id, "subscriptions/content?contentType=DLP.All"
	with := func(kind FaultKind, bytes int64, path string) answer {
		t.Helper()
		c.e.Inject(Fault{API: "manage", Kind: kind, Bytes: bytes, Times: 1})
		return c.get(path)
	}
	if a := with(AF429, 0, "subscriptions/list"); a.code() != "403 AF429" {
		t.Errorf("AF429: %s", a.code())
	}
	if a := with(Gone, 0, blob); a.code() != "400 AF20051" {
		t.Errorf("Gone: %s", a.code())
	}
	if a := with(Gone, 0, content); a.status != http.StatusNotImplemented {
		t.Errorf("a fault that does not suit: %s", a.code())
	}
	if a := with(Truncated, 0, blob); a.status != http.StatusOK || a.text != `[{"Id":"1"}` {
		t.Errorf("Truncated: %d %q", a.status, a.text)
	}
	if a := with(Truncated, 5, blob); a.status != http.StatusOK || a.text != `[{"Id` {
		t.Errorf("Truncated after 5: %d %q", a.status, a.text)
	}
	if a := with(Truncated, 0, content); a.status != http.StatusOK || json.Valid([]byte(a.text)) {
		t.Errorf("Truncated listing: %d %q", a.status, a.text)
	}
	for _, path := range []string{blob, content} {
		if a := with(NotArray, 0, path); a.status != http.StatusOK || a.body == nil {
			t.Errorf("NotArray: %d %q", a.status, a.text)
		}
		if a := with(NotJSON, 0, path); a.status != http.StatusOK || json.Valid([]byte(a.text)) {
			t.Errorf("NotJSON: %d %q", a.status, a.text)
		}
	}
	a := with(Endless, 300_000, blob)
	if records := mustDecode[[]struct{ Id string }](t, a); len(a.text) < 300_000 || len(a.text) > 310_000 || len(records) < 100 {
		t.Errorf("Endless: %d bytes, %d records", len(a.text), len(records))
	}
	a = with(ForeignLink, 0, content)
	if next := a.header.Get("NextPageUri"); !strings.HasPrefix(next, foreignOrigin) || !strings.HasPrefix(mustDecode[[]contentBody](t, a)[0].ContentURI, foreignOrigin) {
		t.Errorf("ForeignLink: %s %s", next, a.text)
	}
	a = with(RepeatPage, 0, content)
	first := mustDecode[[]contentBody](t, a)
	for range 3 {
		next := a.header.Get("NextPageUri")
		if next == "" {
			t.Fatal("RepeatPage ends")
		}
		a = c.do("GET", next)
		if diff := cmp.Diff(first, mustDecode[[]contentBody](t, a)); diff != "" {
			t.Error(diff)
		}
	}
	if a := c.get(blob); a.text != `[{"Id":"1"},{"Id":"2"}]` {
		t.Errorf("after the faults: %q", a.text)
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
			if err := c.e.tenant.Audit.UseRecords(bytes.NewReader(text)); err != nil {
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
					resp, err := c.e.HTTPClient().Do(r)
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
	f.Add(pageToken{Listing: tenant.Listing{ContentType: "DLP.All", Number: 1, Offset: 7}}.encode())
	f.Add("2")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := decodePage(s); ok && p.Number == 0 {
			t.Errorf("%q is a page of no listing", s)
		}
	})
}
