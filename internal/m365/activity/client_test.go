package activity

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/m365"
)

const tenantID = "41463f53-8812-40f4-890f-865bf6e35190"

var (
	start = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	end   = start.Add(24 * time.Hour)
)

type staticToken struct{}

func (staticToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// serve makes a client of an API that answers by handler.
func serve(t *testing.T, handler http.HandlerFunc) (*Client, string) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	cloud.Manage = server.URL
	c, err := New(Options{
		Cloud:      cloud,
		TenantID:   tenantID,
		Credential: staticToken{},
		HTTP:       client,
		PageLimit:  5,
		Retry:      m365.Retry{Max: 2, Delay: time.Microsecond, MaxDelay: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, server.URL
}

func entry(id, uri string) string {
	return fmt.Sprintf(`{"contentType":"Audit.General","contentId":%q,"contentUri":%q,"contentCreated":"2026-11-20T09:00:00.123Z","contentExpiration":"2026-11-27T09:00:00.123Z"}`, id, uri)
}

// collect walks a listing to its end.
func collect(c *Client, contentType string) (ids []string, err error) {
	for content, err := range c.Content(context.Background(), contentType, start, end) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, content.ID)
	}
	return ids, nil
}

func TestContentFollowsPages(t *testing.T) {
	var asked []string
	var c *Client
	c, origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		switch r.URL.Query().Get("nextPage") {
		case "":
			w.Header().Set("NextPageUri", c.manage.String()+"/api/v1/"+strings.ToUpper(tenantID)+"/activity/feed/subscriptions/content?contentType=Audit.General&nextPage=2$2")
			fmt.Fprintf(w, "[%s,%s]", entry("a", "https://x/a"), entry("b", "https://x/b"))
		default:
			fmt.Fprintf(w, "\xef\xbb\xbf[%s]", entry("c", "https://x/c"))
		}
	})
	ids, err := collect(c, "Audit.General")
	if err != nil || !slices.Equal(ids, []string{"a", "b", "c"}) {
		t.Errorf("got %v, error %v", ids, err)
	}
	want := []string{
		"/api/v1.0/" + tenantID + "/activity/feed/subscriptions/content?contentType=Audit.General&endTime=2026-11-21T08%3A00%3A00&startTime=2026-11-20T08%3A00%3A00&PublisherIdentifier=" + tenantID,
		"/api/v1/" + strings.ToUpper(tenantID) + "/activity/feed/subscriptions/content?contentType=Audit.General&nextPage=2$2&PublisherIdentifier=" + tenantID,
	}
	if d := cmp.Diff(want, asked); d != "" {
		t.Errorf("requests to %s (-want +got):\n%s", origin, d)
	}
}

func TestContentEndsWithAnError(t *testing.T) {
	page := func(next, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if next != "" {
				w.Header().Set("NextPageUri", strings.ReplaceAll(next, "ORIGIN", "https://"+r.Host))
			}
			io.WriteString(w, body)
		}
	}
	feed := "/api/v1.0/" + tenantID + "/activity/feed/"
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"same page", page("ORIGIN"+feed+"subscriptions/content?nextPage=1", "[]"), "leads back"},
		{"ever new pages", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("NextPageUri", fmt.Sprintf("https://%s%ssubscriptions/content?nextPage=%d", r.Host, feed, time.Now().UnixNano()))
			io.WriteString(w, "[]")
		}, "more than 5 pages"},
		{"foreign host", page("https://evil.example"+feed+"subscriptions/content?nextPage=1", "[]"), "sent nowhere else"},
		{"foreign port", page("https://127.0.0.1:1"+feed+"subscriptions/content?nextPage=1", "[]"), "sent nowhere else"},
		{"host as user", page("https://127.0.0.1@evil.example"+feed+"?nextPage=1", "[]"), "sent nowhere else"},
		{"without TLS", page("http://127.0.0.1"+feed+"?nextPage=1", "[]"), "sent nowhere else"},
		{"foreign tenant", page("ORIGIN/api/v1.0/00000000-0000-0000-0000-000000000000/activity/feed/subscriptions/content?nextPage=1", "[]"), "not in the feed of tenant"},
		{"out of the feed", page("ORIGIN"+feed+"../../../other", "[]"), "not in the feed of tenant"},
		{"no URL", page("%zz", "[]"), "link to the next page"},
		{"relative", page("/api/v1.0/x", "[]"), "sent nowhere else"},
		{"error as success", page("", `{"error":{"code":"AF20011","message":"no such tenant"}}`), "AF20011, the API does not know the tenant: not a list: no such tenant"},
		{"empty answer", page("", ""), "not a list"},
		{"null", page("", "null"), "not a list"},
		{"cut list", page("", "["+entry("a", "u")), "documented list"},
		{"more after the list", page("", "[] []"), "documented list"},
		{"entry without address", page("", "["+entry("a", "")+"]"), "contentUri"},
		{"entry without id", page("", "["+entry("", "u")+"]"), "contentId"},
		{"entry without time", page("", `[{"contentId":"a","contentUri":"u","contentCreated":"soon"}]`), "contentCreated of a"},
		{"list of numbers", page("", "[1]"), "documented list"},
		{"HTML", page("", "<html>"), "not a list"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := serve(t, test.handler)
			_, err := collect(c, "Audit.General")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestContentChecksItsWindow(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	for _, until := range []time.Time{start, start.Add(-time.Hour), start.Add(24*time.Hour + time.Second), start.Add(time.Millisecond)} {
		for _, err := range c.Content(t.Context(), "Audit.General", start, until) {
			if err == nil || !strings.Contains(err.Error(), "window") {
				t.Errorf("until %s: got %v", until, err)
			}
		}
	}
}

func TestContentStopsWithItsCaller(t *testing.T) {
	pages := 0
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		pages++
		w.Header().Set("NextPageUri", "https://"+r.Host+"/api/v1.0/"+tenantID+"/activity/feed/subscriptions/content?nextPage=1")
		fmt.Fprintf(w, "[%s,%s]", entry("a", "u"), entry("b", "u"))
	})
	for range c.Content(t.Context(), "Audit.General", start, end) {
		break
	}
	if pages != 1 {
		t.Errorf("read %d pages for one entry", pages)
	}
}

func TestContentTimes(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `[{"contentId":"a","contentUri":"u","contentCreated":"2026-11-20T09:00:00"}]`)
	})
	for got, err := range c.Content(t.Context(), "DLP.All", start, end) {
		created := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
		want := Content{ContentType: "DLP.All", ID: "a", URI: "u", Created: created, Expires: created.Add(7 * 24 * time.Hour)}
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("error %v (-want +got):\n%s", err, d)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `[{"contentType":"Audit.General","status":"enabled","webhook":null},{"contentType":"DLP.All","status":"disabled","webhook":{"status":"expired"}}]`)
	})
	got, err := c.Subscriptions(t.Context())
	want := []Subscription{{"Audit.General", "enabled"}, {"DLP.All", "disabled"}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("error %v (-want +got):\n%s", err, d)
	}
	if !got[0].Enabled() || got[1].Enabled() {
		t.Error("the wrong one is enabled")
	}
}

func TestStart(t *testing.T) {
	for code, fails := range map[string]bool{"": false, "AF20024": false, "AF20020": true} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.URL.Query().Get("contentType") != "Audit.General" || r.URL.Query().Get("PublisherIdentifier") == "" {
				t.Errorf("sent %s %s", r.Method, r.URL)
			}
			if code != "" {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"error":{"code":%q,"message":"m"}}`, code)
			}
		})
		if err := c.Start(t.Context(), "Audit.General"); (err != nil) != fails {
			t.Errorf("code %q: error %v", code, err)
		}
	}
}

func TestErrorsAreClassified(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
		kind   error
		tries  int
	}{
		{403, "AF429", m365.ErrThrottled, 3},
		{429, "AF429", m365.ErrThrottled, 3},
		{400, "AF50000", m365.ErrTransient, 3},
		{400, "AF20050", ErrGone, 1},
		{400, "AF20051", ErrGone, 1},
		{401, "AF10001", m365.ErrForbidden, 1},
		{403, "AF10001", m365.ErrForbidden, 1},
	} {
		tries := 0
		c, origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
			tries++
			w.WriteHeader(test.status)
			fmt.Fprintf(w, `{"error":{"code":%q,"message":"m"}}`, test.code)
		})
		_, err := c.Blob(t.Context(), origin+"/x")
		var e *m365.Error
		if !errors.Is(err, test.kind) || !errors.As(err, &e) || e.Code != test.code || tries != test.tries {
			t.Errorf("%d %s: got %v of kind %v after %d tries", test.status, test.code, err, e.Kind, tries)
		}
	}
}

func TestBlobStreams(t *testing.T) {
	var asked string
	sent := make(chan bool)
	c, origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		io.WriteString(w, `[{"Id":1},`)
		w.(http.Flusher).Flush()
		<-sent
		io.WriteString(w, `{"Id":2}]`)
	})
	body, err := c.Blob(t.Context(), origin+"/api/v1.0/x/activity/feed/audit/2017$2017$audit_general$Audit_General")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	first := make([]byte, 10)
	if _, err := io.ReadFull(body, first); err != nil {
		t.Fatal(err)
	}
	close(sent)
	rest, err := io.ReadAll(body)
	if err != nil || string(first)+string(rest) != `[{"Id":1},{"Id":2}]` {
		t.Errorf("got %s%s, error %v", first, rest, err)
	}
	if want := "/api/v1.0/x/activity/feed/audit/2017$2017$audit_general$Audit_General?PublisherIdentifier=" + tenantID; asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
}

func TestBlobThatBreaksOff(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"short of its length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `[{"Id":1},`)
		},
		"in mid-chunk": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `[{"Id":1},`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, origin := serve(t, handler)
			body, err := c.Blob(t.Context(), origin+"/x")
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if _, err := io.ReadAll(body); err == nil || !errors.Is(err, m365.ErrTransient) {
				t.Errorf("got %v, want a transient error", err)
			}
		})
	}
}

func TestBlobThatStalls(t *testing.T) {
	c, origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "[")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c.idle = 10 * time.Millisecond
	body, err := c.Blob(t.Context(), origin+"/x")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	_, err = io.ReadAll(body)
	if !errors.Is(err, errStalled) || !errors.Is(err, m365.ErrTransient) {
		t.Errorf("got %v, want stalled", err)
	}
}

func TestBlobStopsWithItsCaller(t *testing.T) {
	c, origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "[")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, err := c.Blob(ctx, origin+"/x")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err = io.ReadAll(body); !errors.Is(err, context.Canceled) || errors.Is(err, m365.ErrTransient) {
		t.Errorf("got %v, want canceled and not transient", err)
	}
}

func TestBlobKeepsTheToken(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		t.Error("the request was sent")
	})
	for _, uri := range []string{"https://evil.example/x", "http://" + c.manage.Host + "/x", "/x", "", "https://127.0.0.1.evil.example/x", "https://u:p@" + c.manage.Host + "/x"} {
		if _, err := c.Blob(t.Context(), uri); err == nil || !strings.Contains(err.Error(), "sent nowhere else") && uri != "" {
			t.Errorf("%q: got %v", uri, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	public, err := m365.LookupCloud("public")
	if err != nil {
		t.Fatal(err)
	}
	custom, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"takes no domain":                 {Cloud: public, TenantID: "contoso.onmicrosoft.com"},
		"no Management Activity endpoint": {Cloud: custom, TenantID: tenantID},
		"https only":                      {Cloud: m365.Cloud{Manage: "http://x"}, TenantID: tenantID},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestWithPublisher(t *testing.T) {
	c := &Client{publisher: "p q"}
	for in, want := range map[string]string{
		"https://h/a$b":                        "https://h/a$b?PublisherIdentifier=p+q",
		"https://h/a%24b?x=%41$":               "https://h/a%24b?x=%41$&PublisherIdentifier=p+q",
		"https://h/a?publisheridentifier=mine": "https://h/a?publisheridentifier=mine",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.withPublisher(u); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func FuzzContent(f *testing.F) {
	f.Add([]byte(entry("a", "u")))
	f.Add([]byte(`{"contentId":"a","contentUri":"u","contentCreated":"2026-11-20T09:00:00"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Content
		if err := c.UnmarshalJSON(data); err == nil && (c.ID == "" || c.URI == "" || c.Expires.IsZero()) {
			t.Errorf("took %+v", c)
		}
	})
}
