package activity_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/activity"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestActivityAuthorization(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	other := "11111111-2222-4333-8444-555555555555"
	for _, test := range []struct {
		name   string
		claims map[string]any
		tenant string
		want   string
	}{
		{"good", nil, tenantID, "200"},
		{"tenant in capitals", nil, strings.ToUpper(tenantID), "200"},
		{"audience with a slash", map[string]any{"aud": "https://manage.office.com" + "/"}, tenantID, "200"},
		{"token for Graph", map[string]any{"aud": "https://graph.microsoft.com"}, tenantID, "401"},
		{"expired", map[string]any{"exp": c.clock.Now().Unix()}, tenantID, "401"},
		{"no roles", map[string]any{"roles": nil}, tenantID, "401 AF10001"},
		{"other role", map[string]any{"roles": []string{"ServiceHealth.Read"}}, tenantID, "401 AF10001"},
		{"a person with the scope", map[string]any{"roles": nil, "scp": readActivity}, tenantID, "200"},
		{"a person with another scope", map[string]any{"roles": nil, "scp": "ServiceHealth.Read"}, tenantID, "401 AF10001"},
		{"other tenant in the path", nil, other, "400 AF20010"},
		{"unknown tenant in both", map[string]any{"tid": other}, other, "400 AF20011"},
		{"domain in the path", nil, "contoso.onmicrosoft.com", "400 AF20013"},
	} {
		a := c.send("GET", c.origin+"/api/v1.0/"+test.tenant+feedPath+"subscriptions/list", "",
			"Authorization", "Bearer "+c.token(test.claims))
		if a.code() != test.want {
			t.Errorf("%s: %s, want %s\n%s", test.name, a.code(), test.want, a.Text)
		}
	}
	if a := c.send("GET", c.root+feedPath+"subscriptions/list", ""); a.Status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", a.Status)
	}
}

// Each cloud has hosts of its own, for which tokens are.
func TestAudienceIsOfTheCloud(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	for _, names := range origin.Clouds {
		c.cloud.Hosts.Names = names
		for _, other := range origin.Clouds {
			for _, host := range other.Manage {
				want := "401"
				if other.Cloud == names.Cloud || host == "manage.office.com" {
					want = "200"
				}
				a := c.send("GET", c.root+feedPath+"subscriptions/list", "", "Authorization", "Bearer "+c.token(map[string]any{"aud": "https://" + host}))
				if a.code() != want {
					t.Errorf("in the cloud %s a token for %s: %s, want %s", names.Cloud, host, a.code(), want)
				}
			}
		}
	}
}

func TestActivityRefusals(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	for _, test := range []struct{ method, path, body, want string }{
		{"POST", "subscriptions/start", "", "400 AF20001"},
		{"POST", "subscriptions/start?contentType=Audit.Nothing", "", "400 AF20020"},
		{"POST", "subscriptions/start?contentType=Audit.General", "", "400 AF20024"},
		{"POST", "subscriptions/start?contentType=Audit.General&PublisherIdentifier=" + tenantID, "{}", "400 AF20024"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":null}`, "400 AF20024"},
		{"POST", "subscriptions/start?contentType=Audit.General", `nonsense`, "400 AF20002"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"adress":"https://x"}}`, "400 AF20002"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"authId":"x"}}`, "400 AF20001"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"address":"http://hooks.contoso.example/"}}`, "400 AF20021"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"address":"https://hooks.contoso.example/","expiration":"2026-01-01T00:00:00Z"}}`, "400 AF20003"},
		{"POST", "subscriptions/start?contentType=Audit.General", `{"webhook":{"address":"https://hooks.contoso.example/","authId":"x","expiration":""}}`, "400 AF20021"},
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
		a := c.send(test.method, c.root+feedPath+test.path, test.body, "Authorization", "Bearer "+c.token(nil))
		if a.code() != test.want {
			t.Errorf("%s %s %s: %s, want %s\n%s", test.method, test.path, test.body, a.code(), test.want, a.Text)
		}
	}
}

func TestSubscriptionLife(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Users: 100, PerUser: 1000, Days: 1, Calm: true})
	list := func() []subscriptionBody { return mustDecode[[]subscriptionBody](t, c.get("subscriptions/list")) }
	if n := len(list()); n != 5 {
		t.Errorf("%d subscriptions at first", n)
	}
	c.audit.StopAll()
	if a := c.get("subscriptions/list"); a.Text != "[]\n" {
		t.Errorf("no subscriptions are listed as %q", a.Text)
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
	if diff := cmp.Diff(want, mustDecode[subscriptionBody](t, a)); diff != "" || !strings.Contains(a.Text, `"webhook":null`) {
		t.Error(diff, a.Text)
	}
	if a := c.post("subscriptions/start"+kind, ""); a.code() != "403 AF429" || a.Header.Get("Retry-After") != "" {
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
	if a := c.post("subscriptions/stop"+kind, ""); a.Status != http.StatusOK || a.Text != "" {
		t.Errorf("stop: %d %q", a.Status, a.Text)
	}
	want.Status = "disabled"
	if diff := cmp.Diff([]subscriptionBody{want}, list()); diff != "" {
		t.Error(diff)
	}
}

func TestSensitiveTypes(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	for _, test := range []struct{ language, want string }{
		{"", "Credit Card Number"}, {"en-US", "Credit Card Number"}, {"de", "Kreditkartennummer"}, {"de-AT;q=0.9", "Kreditkartennummer"},
		{"fr", "Credit Card Number"}, {"*", "Credit Card Number"},
		{"de,en", "400 AF20053"}, {"de;en", "400 AF20054"}, {"d", "400 AF20054"}, {"_", "400 AF20054"}, {"de-", "400 AF20054"},
	} {
		a := c.send("GET", c.root+feedPath+"resources/dlpSensitiveTypes", "",
			"Authorization", "Bearer "+c.token(nil), "Accept-Language", test.language)
		got := a.code()
		if a.Status == http.StatusOK {
			got = mustDecode[[]struct{ Name string }](t, a)[0].Name
		}
		if got != test.want {
			t.Errorf("%q: %s, want %s", test.language, got, test.want)
		}
	}
}

func TestActivityFaults(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true})
	id := c.audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Hour), []byte(`[{"Id":"1"},{"Id":"2"}]`))
	blob, content := "audit/"+id, "subscriptions/content?contentType=DLP.All"
	with := func(kind origin.FaultKind, bytes int64, path string) answer {
		t.Helper()
		c.cloud.Faults.Inject(origin.Fault{API: "manage", Kind: kind, Bytes: bytes, Times: 1})
		return c.get(path)
	}
	if a := with(activity.AF429, 0, "subscriptions/list"); a.code() != "403 AF429" {
		t.Errorf("AF429: %s", a.code())
	}
	if a := with(activity.Gone, 0, blob); a.code() != "400 AF20051" {
		t.Errorf("Gone: %s", a.code())
	}
	c.cloud.Faults.Inject(origin.Fault{API: "manage", Operation: "content", Kind: activity.Gone, Times: 1})
	if a := c.get(content); a.Status != http.StatusNotImplemented {
		t.Errorf("a fault that does not suit: %s", a.code())
	}
	if a := with(activity.Gone, 0, content); a.code() != "200" {
		t.Errorf("a fault of blobs meets a listing: %s", a.code())
	}
	if a := c.get(blob); a.code() != "400 AF20051" {
		t.Errorf("it does not wait for a blob: %s", a.code())
	}
	if a := with(origin.Truncated, 0, blob); a.Status != http.StatusOK || a.Text != `[{"Id":"1"}` {
		t.Errorf("Truncated: %d %q", a.Status, a.Text)
	}
	if a := with(origin.Truncated, 5, blob); a.Status != http.StatusOK || a.Text != `[{"Id` {
		t.Errorf("Truncated after 5: %d %q", a.Status, a.Text)
	}
	if a := with(origin.Truncated, 0, content); a.Status != http.StatusOK || json.Valid([]byte(a.Text)) {
		t.Errorf("Truncated listing: %d %q", a.Status, a.Text)
	}
	for _, path := range []string{blob, content} {
		if a := with(activity.NotArray, 0, path); a.Status != http.StatusOK || a.Body == nil {
			t.Errorf("NotArray: %d %q", a.Status, a.Text)
		}
		if a := with(activity.NotJSON, 0, path); a.Status != http.StatusOK || json.Valid([]byte(a.Text)) {
			t.Errorf("NotJSON: %d %q", a.Status, a.Text)
		}
	}
	a := with(activity.Endless, 300_000, blob)
	if records := mustDecode[[]struct{ Id string }](t, a); len(a.Text) < 300_000 || len(a.Text) > 310_000 || len(records) < 100 {
		t.Errorf("Endless: %d bytes, %d records", len(a.Text), len(records))
	}
	a = with(activity.ForeignLink, 0, content)
	if next := a.Header.Get("NextPageUri"); !strings.HasPrefix(next, "https://manage.fabrikam.example") || !strings.HasPrefix(mustDecode[[]contentBody](t, a)[0].ContentURI, "https://manage.fabrikam.example") {
		t.Errorf("ForeignLink: %s %s", next, a.Text)
	}
	a = with(activity.RepeatPage, 0, content)
	first := mustDecode[[]contentBody](t, a)
	for range 3 {
		next := a.Header.Get("NextPageUri")
		if next == "" {
			t.Fatal("RepeatPage ends")
		}
		a = c.do("GET", next)
		if diff := cmp.Diff(first, mustDecode[[]contentBody](t, a)); diff != "" {
			t.Error(diff)
		}
	}
	if a := c.get(blob); a.Text != `[{"Id":"1"},{"Id":"2"}]` {
		t.Errorf("after the faults: %q", a.Text)
	}
}

// When no length is asked for, a blob without end is longer than anybody wants to
// read: a GiB, of which this reads some.
func TestEndlessGoesOn(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true})
	id := c.audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Hour), []byte(`[]`))
	c.cloud.Faults.Inject(origin.Fault{API: "manage", Kind: activity.Endless})
	r, err := http.NewRequestWithContext(t.Context(), "GET", c.root+feedPath+"audit/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token(nil))
	resp, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.CopyN(io.Discard, resp.Body, 16<<20); err != nil {
		t.Errorf("it ends after %d bytes: %v", n, err)
	}
}

// Each publisher has a number of requests a minute, and all who do not say who
// they are have one together.
func TestPublishersAreThrottledApart(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true}, func(a *activity.API) { a.Limit = 3 })
	const list = "subscriptions/list"
	one, two := "?PublisherIdentifier=11111111-2222-4333-8444-555555555555", "?PublisherIdentifier=aaaaaaaa-2222-4333-8444-555555555555"
	for i, test := range []struct{ path, want string }{
		{list + one, "200"}, {list + one, "200"}, {list + one, "200"}, {list + one, "403 AF429"},
		{list + two, "200"}, {list + two, "200"}, {list + strings.Replace(two, "aaaa", "AAAA", 1), "200"}, {list + two, "403 AF429"},
		{list, "200"}, {list + "?PublisherIdentifier=", "200"}, {list + "?PublisherIdentifier=reeve", "200"}, {list, "403 AF429"},
	} {
		a := c.get(test.path)
		if a.code() != test.want || a.Header.Get("Retry-After") != "" {
			t.Errorf("%d. %s: %s, want %s", i, test.path, a.code(), test.want)
		}
	}
	if a := c.get(list + one); !strings.Contains(a.Text, "11111111-2222-4333-8444-555555555555") {
		t.Errorf("the refusal does not name the publisher: %s", a.Text)
	}
	c.clock.Add(time.Minute)
	if a := c.get(list); a.Status != http.StatusOK {
		t.Errorf("a minute later: %s", a.code())
	}
}

// Without a limit of its own a calm cloud has none, another the documented one.
func TestUsualLimit(t *testing.T) {
	for _, test := range []struct {
		calm  bool
		limit int
		want  bool
	}{{true, 0, false}, {false, 0, true}, {false, -1, false}} {
		c := mustStartFeed(t, tenant.AuditOptions{Calm: true}, func(a *activity.API) { a.Cloud.Calm, a.Limit = test.calm, test.limit })
		handler, bearer := c.api.Origin().Handler, "Bearer "+c.token(nil)
		refused := 0
		for i := range 2001 {
			r, w := httptest.NewRequest("GET", c.root+feedPath+"subscriptions/list", nil), httptest.NewRecorder()
			r.Header.Set("Authorization", bearer)
			handler.ServeHTTP(w, r)
			if w.Code == http.StatusForbidden && i == 2000 {
				refused++
			} else if w.Code != http.StatusOK {
				t.Fatalf("calm %v, limit %d: request %d: %d", test.calm, test.limit, i, w.Code)
			}
		}
		if refused == 1 != test.want {
			t.Errorf("calm %v, limit %d: %d refused", test.calm, test.limit, refused)
		}
	}
}

func TestAuditingTurnedOff(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{Calm: true})
	c.audit.Record(false)
	if a := c.get("subscriptions/list"); a.code() != "400 AF20011" || !strings.Contains(a.Text, "does not exist") {
		t.Errorf("%s %s", a.code(), a.Text)
	}
	c.audit.Record(true)
	if a := c.get("subscriptions/list"); a.Status != http.StatusOK {
		t.Errorf("turned on again: %s", a.code())
	}
}

// Links name the API as the client reaches it.
func TestLinksNameTheCloud(t *testing.T) {
	c := mustStartFeed(t, tenant.AuditOptions{})
	for i := range 10 {
		c.audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Duration(i+1)*time.Hour), []byte("[]"))
	}
	a := c.send("GET", c.root+feedPath+"subscriptions/content?contentType=DLP.All", "", "Authorization", "Bearer "+c.token(nil), "Host", "manage.office.com")
	const want = "https://manage.office.com/api/v1"
	if uri := mustDecode[[]contentBody](t, a)[0].ContentURI; !strings.HasPrefix(uri, want) || !strings.HasPrefix(a.Header.Get("NextPageUri"), want) {
		t.Errorf("contentUri %s, NextPageUri %s", uri, a.Header.Get("NextPageUri"))
	}
}
