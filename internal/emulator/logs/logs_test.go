package logs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/logs"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

const (
	tenantID    = "7a3f8b1e-0c5d-4e9a-b1f2-93d0c4a85e61"
	clientID    = "0d9c6f52-5b1e-4c07-8f6a-2e4b9d3f7a10"
	workspaceID = "5f0f4a3e-2a57-4d5c-9d0a-7f1f3b6c8e21"
	appID       = "c1a7e9b4-6d28-4b1f-8f3e-0b5d2a9c7e64"
)

// noon is a Wednesday.
var noon = time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)

// world is the API alone, and keys to make tokens for it.
type world struct {
	t    testing.TB
	now  time.Time
	keys *token.Keys
	api  *logs.API
	root string
	*http.Client
}

// signingKeys are the same for all tests, because they take long to make.
var signingKeys = sync.OnceValues(token.NewKeys)

func start(t testing.TB, change ...func(*logs.API)) *world {
	t.Helper()
	keys, err := signingKeys()
	if err != nil {
		t.Fatal(err)
	}
	names, ok := origin.LookupCloud("")
	if !ok {
		t.Fatal("there is no public cloud")
	}
	w := &world{t: t, now: noon, keys: keys}
	now := func() time.Time { return w.now }
	w.api = &logs.API{
		Cloud: &origin.Cloud{
			Hosts: &origin.Hosts{Names: names}, Now: now, Log: slog.New(slog.DiscardHandler), Calm: true,
			Chance: origin.NewChance(1, 1), Faults: origin.NewFaults(1, true),
		},
		Tokens:      &token.Reader{Keys: keys, TenantID: tenantID, Now: now},
		WorkspaceID: workspaceID, AppID: appID, Readers: []string{clientID}, Traffic: traffic(true),
	}
	for _, f := range change {
		f(w.api)
	}
	server := httptest.NewTLSServer(w.api.Cloud.Handler(w.api.Origin(), 0))
	t.Cleanup(server.Close)
	w.root, w.Client = server.URL, server.Client()
	w.api.Cloud.Hosts.Origins.Logs = server.URL
	return w
}

func traffic(calm bool) *logs.Traffic {
	people := make([]string, 30)
	for i := range people {
		people[i] = fmt.Sprintf("person%d@contoso.example", i)
	}
	return &logs.Traffic{Seed: 7, People: people, Host: "contoso.sharepoint.com", Since: noon.AddDate(0, 0, -20), Calm: calm}
}

// token returns an access token for an audience, with other claims if some are
// told.
func (w *world) token(audience string, claims map[string]any) string {
	w.t.Helper()
	all := map[string]any{
		"iss": token.Issuer(tenantID), "aud": audience, "tid": tenantID, "appid": clientID,
		"nbf": w.now.Add(-time.Minute).Unix(), "exp": w.now.Add(time.Hour).Unix(),
	}
	for k, v := range claims {
		all[k] = v
	}
	signed, err := w.keys.Sign(all)
	if err != nil {
		w.t.Fatal(err)
	}
	return signed
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Text   string
	result
}

type result struct {
	Tables []struct {
		Name    string
		Columns []logs.Column
		Rows    [][]any
	}
	Statistics, Render any
	Error              struct {
		Code, Message string
		InnerError    struct{ Code string }
		Details       []any
	}
	Responses []struct {
		ID     string
		Status int
		Body   json.RawMessage
	}
}

// code returns the status, and the codes of the error.
func (a answer) code() string {
	return strings.TrimSpace(fmt.Sprint(a.Status, " ", strings.TrimSpace(a.Error.Code+" "+a.Error.InnerError.Code)))
}

func (w *world) send(method, url, body string, header ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := w.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Header: resp.Header, Text: string(b)}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a.result); err != nil {
			w.t.Fatalf("%d %.200s: %v", a.Status, a.Text, err)
		}
	}
	return a
}

const (
	workspacePath = "/v1/workspaces/" + workspaceID + "/query"
	appPath       = "/v1/apps/" + appID + "/query"
)

// post posts a body to a path with a token that fits.
func (w *world) post(path, body string, header ...string) answer {
	w.t.Helper()
	audience := "https://api.loganalytics.io"
	if strings.HasPrefix(path, "/v1/apps/") {
		audience = "https://api.applicationinsights.io"
	}
	return w.send("POST", w.root+path, body, append([]string{
		"Content-Type", "application/json", "Authorization", "Bearer " + w.token(audience, nil),
	}, header...)...)
}

// ask asks a query of the app.
func (w *world) ask(query, timespan string) answer {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"query": query, "timespan": timespan})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.post(appPath, string(body))
}

// rows returns the rows of a query that must be answered, by column.
func (w *world) rows(query, timespan string) []map[string]any {
	w.t.Helper()
	a := w.ask(query, timespan)
	if a.code() != "200" || len(a.Tables) != 1 || a.Tables[0].Name != "PrimaryResult" {
		w.t.Fatalf("%s: %s %.300s", query, a.code(), a.Text)
	}
	all := make([]map[string]any, len(a.Tables[0].Rows))
	for i, row := range a.Tables[0].Rows {
		all[i] = map[string]any{}
		for j, c := range a.Tables[0].Columns {
			all[i][c.Name] = row[j]
		}
	}
	return all
}

func TestAuthorization(t *testing.T) {
	w := start(t)
	const body = `{"query":"pageViews | count"}`
	for _, test := range []struct {
		name, path, audience string
		claims               map[string]any
		want                 string
	}{
		{"workspace", workspacePath, "https://api.loganalytics.io", nil, "501 NotImplemented"}, // its tables have other names
		{"its newer name", workspacePath, "https://api.loganalytics.azure.com", nil, "501 NotImplemented"},
		{"the address itself", workspacePath, w.root, nil, "501 NotImplemented"},
		{"app", appPath, "https://api.applicationinsights.io", nil, "200"},
		{"audience with a slash", appPath, "https://api.applicationinsights.io/", nil, "200"},
		{"id in capitals", strings.Replace(appPath, appID, strings.ToUpper(appID), 1), "https://api.applicationinsights.io", nil, "200"},
		{"the workspace's for the app", appPath, "https://api.loganalytics.io", nil, "403 InvalidAuthenticationTokenAudience"},
		{"the app's for the workspace", workspacePath, "https://api.applicationinsights.io", nil, "403 InvalidAuthenticationTokenAudience"},
		{"Graph's", appPath, "https://graph.microsoft.com", nil, "403 InvalidAuthenticationTokenAudience"},
		{"expired", appPath, "https://api.applicationinsights.io", map[string]any{"exp": noon.Unix()}, "403 InvalidAuthenticationToken"},
		{"another application", appPath, "https://api.applicationinsights.io", map[string]any{"appid": tenantID}, "403 InsufficientAccessError"},
		{"another app", "/v1/apps/" + workspaceID + "/query", "https://api.applicationinsights.io", nil, "404 PathNotFoundError"},
		{"another workspace", "/v1/workspaces/" + appID + "/query", "https://api.loganalytics.io", nil, "404 PathNotFoundError"},
		{"no GUID", "/v1/workspaces/x/query", "https://api.loganalytics.io", nil, "404 PathNotFoundError"},
	} {
		a := w.send("POST", w.root+test.path, body, "Content-Type", "application/json", "Authorization", "Bearer "+w.token(test.audience, test.claims))
		if a.code() != test.want {
			t.Errorf("%s: %s, want %s\n%s", test.name, a.code(), test.want, a.Text)
		}
	}
	if a := w.send("POST", w.root+appPath, body); a.code() != "401 AuthenticationFailed" || a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a token: %s", a.code())
	}
	if a := w.send("POST", w.root+appPath, body, "X-Api-Key", "x"); a.code() != "401 AuthenticationFailed" || !strings.Contains(a.Text, "API keys") {
		t.Errorf("with an API key: %s", a.Text)
	}
	if a := w.send("POST", w.root+appPath, body, "Authorization", "Bearer x"); a.code() != "403 InvalidAuthenticationToken" {
		t.Errorf("with nonsense: %s", a.code())
	}
	for host, want := range map[string]string{"api.applicationinsights.io": "200", "api.loganalytics.io": "404 PathNotFoundError"} {
		if a := w.post(appPath, body, "Host", host); a.code() != want {
			t.Errorf("the app at %s: %s, want %s", host, a.code(), want)
		}
	}
}

func TestRequests(t *testing.T) {
	w := start(t)
	const good = `{"query":"pageViews | count"}`
	for _, test := range []struct{ method, path, body, want string }{
		{"POST", appPath, good, "200"},
		{"POST", appPath, `{"query":"pageViews | count","timespan":null,"workspaces":null,"applications":[]}`, "200"},
		{"POST", appPath, `{"query":"pageViews | count","applications":["` + appID + `"]}`, "200"},
		{"POST", appPath, `{"query":"pageViews | count","applications":["` + workspaceID + `"]}`, "501 NotImplemented"},
		{"POST", appPath + "?timespan=P1D", good, "200"},
		{"POST", appPath + "?timespan=1D", good, "400 BadArgumentError BadArgumentError"},
		{"POST", appPath + "?query=x", good, "501 NotImplemented"},
		{"POST", appPath + "?timespan=P1D&timespan=P2D", good, "501 NotImplemented"},
		{"POST", appPath + "?a;b", good, "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, "", "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, "{}", "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, `{"query":" "}`, "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, `{"query":5}`, "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, `[]`, "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, good + "{}", "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, `{"query":"pageViews | count","timespan":"yesterday"}`, "400 BadArgumentError BadArgumentError"},
		{"POST", appPath, `{"query":"pageViews | count","options":{}}`, "501 NotImplemented"},
		{"POST", appPath, `{"query":"requests | take 5"}`, "501 NotImplemented"},
		{"POST", appPath, `{"query":"foo bar baz |"}`, "400 BadArgumentError SyntaxError"},
		{"POST", appPath, `{"query":"pageViews | where (timestamp > 1"}`, "400 BadArgumentError SyntaxError"},
		{"POST", appPath, `{"query":"pageViews | where name in [1)"}`, "400 BadArgumentError SyntaxError"},
		{"POST", appPath, `{"query":"pageViews } | where name == '('"}`, "400 BadArgumentError SyntaxError"},
		{"POST", appPath, `{"query":"| take 5"}`, "400 BadArgumentError SyntaxError"},
		{"POST", appPath, `{"query":"pageViews | where name in ({[1]}) and url == ')'"}`, "501 NotImplemented"},
		{"POST", appPath, `{"query":"pageViews | where name == \"x"}`, "400 BadArgumentError SyntaxError"},
		{"POST", appPath, `{"query":"pageViews | where timestamp > datetime(yesterday)"}`, "400 BadArgumentError SyntaxError"},
		{"GET", appPath + "?query=pageViews%20%7C%20count&timespan=P14D", "", "200"},
		{"GET", appPath + "?query=pageViews%20%7C%20count&applications=" + workspaceID, "", "501 NotImplemented"},
		{"GET", appPath + "?query=pageViews%20%7C%20count&prettify=1", "", "501 NotImplemented"},
		{"GET", appPath, "", "400 BadArgumentError BadArgumentError"},
		{"PUT", appPath, good, "501 NotImplemented"},
		{"GET", "/v1/apps/" + appID + "/metadata", "", "501 NotImplemented"},
		{"GET", "/v1/apps/" + appID + "/query/", "", "501 NotImplemented"},
		{"POST", "/beta/apps/" + appID + "/query", good, "501 NotImplemented"},
		{"GET", "/v1/$batch", "", "501 NotImplemented"},
	} {
		a := w.send(test.method, w.root+test.path, test.body, "Content-Type", "application/json; charset=utf-8",
			"Authorization", "Bearer "+w.token("https://api.applicationinsights.io", nil))
		if a.code() != test.want {
			t.Errorf("%s %s %s: %s, want %s\n%s", test.method, test.path, test.body, a.code(), test.want, a.Text)
		}
	}
	if a := w.post(workspacePath, `{"query": "AppTraces | summarize n=count()", "timespan": "PT86400.0S", "workspaces": null}`, "Prefer", ""); a.code() != "200" || fmt.Sprint(a.Tables[0].Rows) != "[[0]]" {
		t.Errorf("what the SDK for Python sends: %s", a.Text)
	}
	if a := w.post(workspacePath, `{"query":"AppTraces | take 1","timespan":"P1D"}`); a.code() != "200" || !strings.Contains(a.Text, `"rows":[]`) {
		t.Errorf("what the SDK for JavaScript sends: %s", a.Text)
	}
}

// The odd answers that are documented.
func TestEmptyAnswers(t *testing.T) {
	w := start(t)
	for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", ";"} {
		if a := w.post(appPath, `{"query":"pageViews"}`, "Content-Type", media); a.Status != http.StatusOK || a.Text != "" {
			t.Errorf("a body of type %s: %d %q", media, a.Status, a.Text)
		}
	}
	w = start(t, func(a *logs.API) { a.Traffic.People = nil })
	if a := w.ask("pageViews", ""); a.Status != http.StatusNoContent || a.Text != "" {
		t.Errorf("without any data: %d %q", a.Status, a.Text)
	}
	w = start(t, func(a *logs.API) { a.Traffic = nil })
	if a := w.ask("pageViews", ""); a.Status != http.StatusNoContent {
		t.Errorf("without traffic: %d %q", a.Status, a.Text)
	}
}

func TestPrefer(t *testing.T) {
	w := start(t)
	for header, want := range map[string][2]bool{
		"":                        {},
		"wait=600":                {},
		"include-statistics=true": {true, false},
		"wait=600, include-statistics=true,include-render=true": {true, true},
		"wait=600;include-render=true":                          {false, true},
		"include-statistics=false, respond-async":               {},
	} {
		a := w.post(appPath, `{"query":"pageViews | count"}`, "Prefer", header)
		if got := [2]bool{a.Statistics != nil, a.Render != nil}; got != want || a.Status != http.StatusOK {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func TestBatch(t *testing.T) {
	w := start(t)
	one := func(id, query string) string {
		return `{"id":"` + id + `","body":{"query":"` + query + `","timespan":"P1D"},"path":"/query","method":"POST","workspace":"` + workspaceID + `","headers":{"prefer":"include-statistics=true"}}`
	}
	a := w.post("/v1/$batch", `{"requests":[`+one("0", "AppPageViews | count")+","+one("b", "foo bar baz |")+","+
		strings.Replace(one("c", "AppEvents | count"), workspaceID, appID, 1)+","+strings.Replace(one("d", "AppEvents | count"), `"POST"`, `"GET"`, 1)+`]}`)
	var got []string
	for _, r := range a.Responses {
		one := answer{Status: r.Status}
		if err := json.Unmarshal(r.Body, &one.result); err != nil {
			t.Fatal(err)
		}
		got = append(got, r.ID+": "+one.code())
	}
	if want := "[0: 200 b: 400 BadArgumentError SyntaxError c: 404 PathNotFoundError d: 501 NotImplemented]"; fmt.Sprint(got) != want {
		t.Errorf("%s, want %s\n%s", got, want, a.Text)
	}
	if !strings.Contains(a.Text, `"statistics"`) {
		t.Errorf("the headers of a request were not read: %s", a.Text)
	}
	for _, body := range []string{"", "{}", `{"requests":[]}`, `{"requests":[{"path":"/query"}]}`, `{"requests":[` + one("a", "x") + "," + one("a", "x") + `]}`,
		`{"requests":[` + strings.TrimSuffix(strings.Repeat(one("a", "x")+",", 101), ",") + `]}`} {
		if a := w.post("/v1/$batch", body); a.code() != "400 BadArgumentError BadArgumentError" {
			t.Errorf("%.80s: %s", body, a.code())
		}
	}
}

func TestLimits(t *testing.T) {
	w := start(t, func(a *logs.API) { a.Limit, a.Rows = 3, 10 })
	a := w.ask("pageViews | order by timestamp asc", "P14D")
	if a.Status != http.StatusOK || a.Error.Code != "PartialError" || len(a.Error.Details) == 0 || len(a.Tables[0].Rows) != 10 {
		t.Errorf("too many rows: %.300s", a.Text)
	}
	for _, want := range []string{"200", "200", "429 ThrottledError"} {
		if a := w.ask("pageViews | count", ""); a.code() != want || want != "200" && a.Header.Get("Retry-After") != "30" {
			t.Errorf("%s, want %s, to retry after %q", a.code(), want, a.Header.Get("Retry-After"))
		}
	}
	w.now = w.now.Add(30 * time.Second)
	if a := w.ask("pageViews | count", ""); a.code() != "200" {
		t.Errorf("30 seconds later: %s", a.code())
	}
}

// Without a limit of its own a calm cloud has none, another the documented one.
func TestUsualLimit(t *testing.T) {
	for _, calm := range []bool{true, false} {
		w := start(t, func(a *logs.API) { a.Cloud.Calm = calm })
		handler, bearer := w.api.Origin().Handler, "Bearer "+w.token("https://api.applicationinsights.io", nil)
		last := 0
		for i := range 201 {
			r, rec := httptest.NewRequest("POST", appPath, strings.NewReader(`{"query":"traces | count"}`)), httptest.NewRecorder()
			r.Header.Set("Authorization", bearer)
			r.Header.Set("Content-Type", "application/json")
			handler.ServeHTTP(rec, r)
			if last = rec.Code; last != http.StatusOK && i < 200 {
				t.Fatalf("calm %v: query %d: %d", calm, i, last)
			}
		}
		if want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[calm]; last != want {
			t.Errorf("calm %v: query 201: %d, want %d", calm, last, want)
		}
	}
}

func TestFaults(t *testing.T) {
	w := start(t)
	all := len(w.rows("pageViews", "P1D"))
	w.api.Cloud.Faults.Inject(origin.Fault{API: origin.Logs, Operation: "appQuery", Kind: logs.Partial, Times: 1})
	if a := w.ask("pageViews", "P1D"); a.Status != http.StatusOK || a.Error.Code != "PartialError" || len(a.Tables[0].Rows) != all/2 {
		t.Errorf("%s: %d rows of %d", a.code(), len(a.Tables[0].Rows), all)
	}
	w.api.Cloud.Faults.Inject(origin.Fault{API: origin.Logs, Kind: logs.Timeout, Times: 2})
	if a := w.ask("pageViews", "P1D"); a.code() != "504 GatewayTimeout" {
		t.Errorf("Timeout: %s", a.code())
	}
	a := w.post("/v1/$batch", `{"requests":[{"id":"1","body":{"query":"AppEvents"},"path":"/query","method":"POST","workspace":"`+workspaceID+`"}]}`)
	if len(a.Responses) != 1 || a.Responses[0].Status != http.StatusGatewayTimeout {
		t.Errorf("Timeout in a batch: %s", a.Text)
	}
	w.api.Cloud.Faults.Inject(origin.Fault{API: origin.Logs, Kind: origin.Throttle, Times: 1})
	if a := w.ask("pageViews", "P1D"); a.code() != "429 ThrottledError" {
		t.Errorf("Throttle: %s", a.code())
	}
	w.api.Cloud.Faults.Inject(origin.Fault{API: origin.Logs, Kind: origin.Unavailable, Times: 1})
	if a := w.ask("pageViews", "P1D"); a.code() != "503 ServiceUnavailable" {
		t.Errorf("Unavailable: %s", a.code())
	}
	w.api.Cloud.Faults.Inject(origin.Fault{API: origin.Logs, Operation: "appQuery", Kind: "unheard-of", Times: 1})
	if a := w.ask("pageViews", "P1D"); a.code() != "501 NotImplemented" {
		t.Errorf("a fault that is not known: %s", a.code())
	}
}

func TestOperationsAreNamed(t *testing.T) {
	api := start(t).api.Origin()
	for _, op := range api.Operations {
		method, path, _ := strings.Cut(op.Request, " ")
		if got := api.Operation(httptest.NewRequest(method, path, nil)); got != op.Name {
			t.Errorf("%s is operation %q, want %q", op.Request, got, op.Name)
		}
		if u, err := url.Parse(op.Source); err != nil || u.Host != "learn.microsoft.com" {
			t.Errorf("%s is documented at %q", op.Name, op.Source)
		}
	}
}
