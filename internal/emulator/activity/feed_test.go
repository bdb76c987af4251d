package activity_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/activity"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/emulator/token"
)

const (
	feedPath     = "/activity/feed/"
	readActivity = "ActivityFeed.Read"
	activityTime = "2006-01-02T15:04:05.000Z"
	tenantID     = "7a3f8b1e-0c5d-4e9a-b1f2-93d0c4a85e61"
	clientID     = "0d9c6f52-5b1e-4c07-8f6a-2e4b9d3f7a10"
)

// clock is the tenant's clock, which a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// feed is the API alone, served over TLS, and keys to make tokens for it.
type feed struct {
	t      testing.TB
	clock  *clock
	audit  *tenant.AuditLog
	cloud  *origin.Cloud
	keys   *token.Keys
	api    *activity.API
	client *http.Client
	origin string
	root   string // up to feedPath
}

// signingKeys are the same for all tests, because they take long to make.
var signingKeys = sync.OnceValues(token.NewKeys)

// mustStartFeed serves a tenant that has the audit log that is told.
func mustStartFeed(t testing.TB, o tenant.AuditOptions, change ...func(*activity.API)) *feed {
	t.Helper()
	keys, err := signingKeys()
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: time.Date(2026, 11, 18, 15, 7, 31, 123e6, time.UTC)}
	o.TenantID, o.Domain, o.SharePointHost, o.Now = tenantID, "contoso.onmicrosoft.com", "contoso.sharepoint.com", c.Now
	names, ok := origin.LookupCloud("")
	if !ok {
		t.Fatal("there is no public cloud")
	}
	f := &feed{
		t: t, clock: c, audit: tenant.NewAuditLog(o), keys: keys,
		cloud: &origin.Cloud{
			Hosts: &origin.Hosts{Names: names}, Now: c.Now, Log: slog.New(slog.DiscardHandler), Calm: true,
			Chance: origin.NewChance(1, 1), Faults: origin.NewFaults(1, true),
		},
	}
	f.api = &activity.API{Cloud: f.cloud, Tokens: &token.Reader{Keys: keys, TenantID: tenantID, Now: c.Now}, Audit: f.audit}
	for _, f2 := range change {
		f2(f.api)
	}
	server := httptest.NewTLSServer(f.cloud.Handler(f.api.Origin(), 0))
	t.Cleanup(server.Close)
	f.client, f.origin = server.Client(), server.URL
	f.cloud.Hosts.Origins.Manage = server.URL
	f.root = server.URL + "/api/v1.0/" + tenantID
	return f
}

// token returns an access token for the feed, with other claims if some are
// told.
func (c *feed) token(claims map[string]any) string {
	c.t.Helper()
	all := map[string]any{
		"iss": token.Issuer(tenantID), "aud": "https://manage.office.com", "tid": tenantID, "appid": clientID,
		"roles": []string{readActivity}, "nbf": c.clock.Now().Add(-time.Minute).Unix(), "exp": c.clock.Now().Add(time.Hour).Unix(),
	}
	for k, v := range claims {
		all[k] = v
	}
	signed, err := c.keys.Sign(all)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Text   string
	Body   map[string]any // when it is a JSON object
}

// send sends one request. The headers are names and values in turn.
func (c *feed) send(method, url, body string, header ...string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Header: resp.Header, Text: string(b)}
	json.Unmarshal(b, &a.Body) // The test that wants an object looks for its members.
	return a
}

func (c *feed) do(method, url string) answer {
	c.t.Helper()
	return c.send(method, url, "", "Authorization", "Bearer "+c.token(nil))
}

func (c *feed) get(path string) answer {
	c.t.Helper()
	return c.do("GET", c.root+feedPath+path)
}

func (c *feed) post(path, body string) answer {
	c.t.Helper()
	return c.send("POST", c.root+feedPath+path, body, "Authorization", "Bearer "+c.token(nil))
}

// code returns the status of an answer, and the code of its error.
func (a answer) code() string {
	inner, _ := a.Body["error"].(map[string]any)
	code, _ := inner["code"].(string)
	return strings.TrimSpace(fmt.Sprint(a.Status, " ", code))
}

func mustDecode[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Text), &v); a.Status != http.StatusOK || err != nil {
		t.Fatalf("%d %.200s: %v", a.Status, a.Text, err)
	}
	return v
}

// contentBody is a blob as it is listed, and a notification of one.
type contentBody struct {
	ContentType       string `json:"contentType"`
	ContentID         string `json:"contentId"`
	ContentURI        string `json:"contentUri"`
	ContentCreated    string `json:"contentCreated"`
	ContentExpiration string `json:"contentExpiration"`

	TenantID           string `json:"tenantId"`
	ClientID           string `json:"clientId"`
	NotificationSent   string `json:"notificationSent"`
	NotificationStatus string `json:"notificationStatus"`
}

// webhookBody is a webhook as it is listed.
type webhookBody struct {
	Status     string `json:"status"`
	Address    string `json:"address"`
	AuthID     any    `json:"authId"`
	Expiration any    `json:"expiration"`
}

// subscriptionBody is a subscription as it is listed.
type subscriptionBody struct {
	ContentType string       `json:"contentType"`
	Status      string       `json:"status"`
	Webhook     *webhookBody `json:"webhook"`
}

// listAll follows a listing to its end.
func (c *feed) listAll(query string) []contentBody { return c.follow("content", query) }

func (c *feed) follow(operation, query string) []contentBody {
	c.t.Helper()
	var all []contentBody
	next := c.root + feedPath + "subscriptions/" + operation + "?" + query
	for pages := 0; next != ""; pages++ {
		if pages > 10000 {
			c.t.Fatal("a listing does not end")
		}
		a := c.do("GET", next)
		all = append(all, mustDecode[[]contentBody](c.t, a)...)
		next = a.Header.Get("NextPageUri")
	}
	return all
}
