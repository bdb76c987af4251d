package activity_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/activity"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// hook is a subscriber's webhook.
type hook struct {
	*httptest.Server
	mu     sync.Mutex // guards what follows
	status int
	calls  []call
}

// call is one call of a webhook.
type call struct {
	AuthID, Code, Type, Body string
}

func newHook(t *testing.T) *hook {
	h := &hook{status: http.StatusOK}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("a webhook was called with %s: %v", r.Method, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.calls = append(h.calls, call{r.Header.Get("Webhook-AuthID"), r.Header.Get("Webhook-ValidationCode"), r.Header.Get("Content-Type"), string(text)})
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(h.status)
	}))
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug) // of those who do not trust it
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

// answer sets what the hook answers from now on.
func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

// take returns the calls since the last time.
func (h *hook) take() []call {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls = nil
	return calls
}

// startHooked starts a feed with no subscription, and a hook that it may call.
func startHooked(t *testing.T, o tenant.AuditOptions) (*feed, *hook) {
	h := newHook(t)
	c := mustStartFeed(t, o, func(a *activity.API) {
		a.Webhooks = activity.WebhookClient(h.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
	})
	c.audit.StopAll()
	return c, h
}

func (c *feed) hooked(h *hook, contentType, more string) answer {
	c.t.Helper()
	return c.post("subscriptions/start?contentType="+contentType, `{"webhook":{"address":"`+h.URL+`/told"`+more+`}}`)
}

func (c *feed) webhook(contentType string) *webhookBody {
	c.t.Helper()
	for _, s := range mustDecode[[]subscriptionBody](c.t, c.get("subscriptions/list")) {
		if s.ContentType == contentType {
			return s.Webhook
		}
	}
	c.t.Fatalf("%s is not listed", contentType)
	return nil
}

func TestWebhookIsValidated(t *testing.T) {
	c, h := startHooked(t, tenant.AuditOptions{Calm: true})
	h.answer(http.StatusFound)
	if a := c.hooked(h, "DLP.All", ""); a.code() != "400 AF20021" {
		t.Errorf("a webhook that redirects: %s", a.code())
	}
	if n := len(h.take()); n != 1 {
		t.Errorf("%d calls, want one that is not redirected", n)
	}
	h.answer(http.StatusOK)
	if a := c.get("subscriptions/list"); a.Text != "[]\n" {
		t.Errorf("a start that failed left %s", a.Text)
	}
	a := c.hooked(h, "DLP.All", `,"authId":"o365-1","expiration":"2026-11-20T00:00:00"`)
	want := subscriptionBody{"DLP.All", "enabled", &webhookBody{"enabled", h.URL + "/told", "o365-1", "2026-11-20T00:00:00.000Z"}}
	if diff := cmp.Diff(want, mustDecode[subscriptionBody](t, a)); diff != "" {
		t.Error(diff)
	}
	calls := h.take()
	if len(calls) != 1 {
		t.Fatalf("%d calls", len(calls))
	}
	if got := calls[0]; got.AuthID != "o365-1" || len(got.Code) < 16 || got.Body != `{"validationCode":"`+got.Code+`"}` || !strings.HasPrefix(got.Type, "application/json") {
		t.Errorf("validated with %+v", got)
	}
	if diff := cmp.Diff(want.Webhook, c.webhook("DLP.All")); diff != "" {
		t.Error(diff)
	}
	if a := c.hooked(h, "DLP.All", ""); a.code() != "403 AF429" || len(h.take()) != 0 {
		t.Errorf("a second start: %s, or the hook was called for it", a.code())
	}
	c.clock.Add(16 * time.Minute)
	if a := c.hooked(h, "DLP.All", `,"authId":"o365-1","expiration":"2026-11-20T00:00:00"`); a.code() != "400 AF20024" {
		t.Errorf("a start that changes nothing: %s", a.code())
	}
	if a := c.hooked(h, "DLP.All", ""); a.Status != http.StatusOK || !strings.Contains(a.Text, `"authId":null,"expiration":null`) {
		t.Errorf("a start that changes the webhook: %d %s", a.Status, a.Text)
	}
	c.clock.Add(16 * time.Minute)
	if a := c.post("subscriptions/start?contentType=DLP.All", ""); a.Status != http.StatusOK || c.webhook("DLP.All") != nil {
		t.Errorf("a start without the webhook: %d %s", a.Status, a.Text)
	}
}

// Nobody is called who is not on this machine or whose certificate is not
// trusted.
func TestWebhookGuard(t *testing.T) {
	c, h := startHooked(t, tenant.AuditOptions{Calm: true})
	port := strings.TrimPrefix(h.URL, "https://127.0.0.1:")
	for address, want := range map[string]string{
		"https://hooks.contoso.example/": "loopback", "https://192.0.2.1/": "loopback", "https://[2001:db8::1]/": "loopback",
		"https://169.254.169.254/": "loopback", "https://127.0.0.1.contoso.example/": "loopback", "https://0.0.0.0:" + port + "/": "loopback",
		"http://127.0.0.1:" + port + "/": "https", "https://user:secret@127.0.0.1:" + port + "/": "https", "127.0.0.1": "https",
		"https://": "https", "https://127.0.0.1:1/": "did not answer", "https://LOCALHOST:1/": "did not answer", "https://[::1]:1/": "did not answer",
	} {
		a := c.post("subscriptions/start?contentType=DLP.All", `{"webhook":{"address":"`+address+`"}}`)
		if a.code() != "400 AF20021" || !strings.Contains(a.Text, want) {
			t.Errorf("%s: %d %s, want a word of %s", address, a.Status, a.Text, want)
		}
	}
	if calls := h.take(); len(calls) != 0 {
		t.Errorf("the hook was called: %v", calls)
	}
	other := newHook(t) // httptest's servers share a certificate
	c.api.Webhooks = activity.WebhookClient(nil)
	if a := c.hooked(other, "DLP.All", ""); a.code() != "400 AF20021" || len(other.take()) != 0 {
		t.Errorf("a certificate that nobody trusts: %s", a.code())
	}
	c.api.Webhooks = nil
	if a := c.hooked(other, "DLP.All", ""); a.code() != "400 AF20021" {
		t.Errorf("without a client: %s", a.code())
	}
	// The client's own guard holds where a name resolves to another machine.
	for _, address := range []string{"https://192.0.2.1:" + port, "https://[::ffff:192.0.2.1]:" + port} {
		if _, err := activity.WebhookClient(nil).Get(address); err == nil || !strings.Contains(err.Error(), "not a loopback address") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestWebhookHasADeadline(t *testing.T) {
	c, _ := startHooked(t, tenant.AuditOptions{Calm: true})
	gone := make(chan struct{})
	slow := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // so that the server notices when the caller hangs up
		<-r.Context().Done()
		close(gone)
	}))
	defer slow.Close()
	c.api.Webhooks = slow.Client()
	c.api.Webhooks.Timeout = 50 * time.Millisecond
	if a := c.post("subscriptions/start?contentType=DLP.All", `{"webhook":{"address":"`+slow.URL+`"}}`); a.code() != "400 AF20021" {
		t.Errorf("a webhook that does not answer: %s", a.code())
	}
	<-gone
}

func TestNotifications(t *testing.T) {
	c, h := startHooked(t, tenant.AuditOptions{Seed: 3, Users: 200, PerUser: 60, Days: 1, Calm: true, BlobRecords: 5})
	const kind = "Audit.SharePoint"
	mustDecode[subscriptionBody](t, c.hooked(h, kind, `,"authId":"o365-1"`))
	h.take()
	c.api.Deliver(t.Context())
	if calls := h.take(); len(calls) != 0 {
		t.Errorf("%d calls at once", len(calls))
	}
	c.clock.Add(3 * time.Hour)
	want := c.listAll("contentType=" + kind)
	c.clock.Add(time.Second)
	c.api.Deliver(t.Context())
	var got []contentBody
	for _, call := range h.take() {
		if call.AuthID != "o365-1" || call.Code != "" {
			t.Errorf("notified with %+v", call)
		}
		var some []contentBody
		if err := json.Unmarshal([]byte(call.Body), &some); err != nil || len(some) == 0 || len(some) > 100 {
			t.Fatalf("%d notifications in a call: %v", len(some), err)
		}
		got = append(got, some...)
	}
	if len(got) <= 100 {
		t.Errorf("%d notifications are too few for two calls", len(got))
	}
	for i := range got {
		if got[i].TenantID != tenantID || got[i].ClientID != clientID {
			t.Fatalf("a notification for %s, %s", got[i].TenantID, got[i].ClientID)
		}
		got[i].TenantID, got[i].ClientID = "", ""
	}
	if diff := cmp.Diff(want, got[:min(len(got), len(want))]); diff != "" {
		t.Error(diff)
	}
	mustDecode[[]json.RawMessage](t, c.do("GET", got[0].ContentURI))
	c.api.Deliver(t.Context())
	if calls := h.take(); len(calls) != 0 {
		t.Errorf("told again: %v", calls)
	}

	c.clock.Add(time.Second)
	sent := c.follow("notifications", "contentType="+kind)
	for i := range sent {
		if sent[i].NotificationSent != "2026-11-18T18:07:32.123Z" || sent[i].NotificationStatus != "success" {
			t.Fatalf("listed as %+v", sent[i])
		}
		sent[i].NotificationSent, sent[i].NotificationStatus = "", ""
	}
	if diff := cmp.Diff(got, sent); diff != "" {
		t.Error(diff)
	}
	if sent := c.follow("notifications", "contentType="+kind+"&startTime=2026-11-18T18:07:33&endTime=2026-11-18T19:00:00"); len(sent) != 0 {
		t.Errorf("%d notifications after the last", len(sent))
	}
	if a := c.get("subscriptions/notifications?contentType=DLP.All"); a.code() != "400 AF20022" {
		t.Errorf("notifications of no subscription: %s", a.code())
	}
}

func TestNotificationPages(t *testing.T) {
	c, h := startHooked(t, tenant.AuditOptions{})
	mustDecode[subscriptionBody](t, c.hooked(h, "DLP.All", ""))
	c.clock.Add(time.Hour)
	for range 10 {
		c.audit.AddBlob("DLP.All", c.clock.Now(), []byte("[]"))
	}
	c.api.Deliver(t.Context())
	c.clock.Add(time.Second)
	a := c.get("subscriptions/notifications?contentType=DLP.All")
	next := a.Header.Get("NextPageUri")
	if n := len(mustDecode[[]contentBody](t, a)); n >= 10 || next == "" {
		t.Errorf("%d notifications on the first page, the next is %q", n, next)
	}
	if n := len(c.follow("notifications", "contentType=DLP.All")); n != 10 {
		t.Errorf("%d notifications", n)
	}
	other := strings.Replace(next, "/subscriptions/notifications?", "/subscriptions/content?", 1)
	if a := c.do("GET", other); a.code() != "400 AF20031" {
		t.Errorf("a page of notifications as one of content: %s", a.code())
	}
	u, err := url.Parse(next)
	if err != nil || u.Query().Get("startTime") == "" {
		t.Errorf("%s: %v", next, err)
	}
}

func TestWebhookThatFails(t *testing.T) {
	c, h := startHooked(t, tenant.AuditOptions{Calm: true})
	mustDecode[subscriptionBody](t, c.hooked(h, "DLP.All", ""))
	h.take()
	c.clock.Add(time.Hour)
	id := c.audit.AddBlob("DLP.All", c.clock.Now(), []byte("[]"))
	h.answer(http.StatusAccepted) // anything but 200 is a failure
	c.api.Deliver(t.Context())
	c.api.Deliver(t.Context())
	if n := len(h.take()); n != 1 {
		t.Errorf("%d calls without a pause", n)
	}
	c.clock.Add(59 * time.Second)
	c.api.Deliver(t.Context())
	if n := len(h.take()); n != 0 {
		t.Errorf("%d calls before a minute has passed", n)
	}
	c.clock.Add(time.Second)
	h.answer(http.StatusOK)
	c.api.Deliver(t.Context())
	if calls := h.take(); len(calls) != 1 || !strings.Contains(calls[0].Body, id) {
		t.Errorf("after a minute: %v", calls)
	}
	c.clock.Add(time.Second)
	var statuses []string
	for _, n := range c.follow("notifications", "contentType=DLP.All") {
		statuses = append(statuses, n.ContentID+" "+n.NotificationStatus)
	}
	if diff := cmp.Diff([]string{id + " failed", id + " success"}, statuses); diff != "" {
		t.Error(diff)
	}

	// It is disabled after failing for a long time, and a start enables it.
	h.answer(http.StatusInternalServerError)
	c.audit.AddBlob("DLP.All", c.clock.Now(), []byte("[]"))
	failed := 0
	for c.webhook("DLP.All").Status == "enabled" {
		c.api.Deliver(t.Context())
		failed += len(h.take())
		if failed > 20 {
			t.Fatal("it is never disabled")
		}
		c.clock.Add(3 * time.Hour)
	}
	if status := c.webhook("DLP.All").Status; status != "disabled" || failed < 3 {
		t.Errorf("%s after %d failures", status, failed)
	}
	c.api.Deliver(t.Context())
	if n := len(h.take()); n != 0 {
		t.Errorf("a disabled webhook was called")
	}
	if !c.audit.Subscribed("DLP.All") {
		t.Error("with the webhook the subscription was disabled")
	}
	h.answer(http.StatusOK)
	mustDecode[subscriptionBody](t, c.hooked(h, "DLP.All", ""))
	if status := c.webhook("DLP.All").Status; status != "enabled" {
		t.Errorf("after a start it is %s", status)
	}
	h.take()
	c.clock.Add(time.Minute)
	c.audit.AddBlob("DLP.All", c.clock.Now(), []byte("[]"))
	c.api.Deliver(t.Context())
	if n := len(h.take()); n != 1 {
		t.Errorf("%d calls after it was enabled again", n)
	}
	if a := c.post("subscriptions/stop?contentType=DLP.All", ""); a.Status != http.StatusOK {
		t.Errorf("stop: %s", a.code())
	}
	c.audit.AddBlob("DLP.All", c.clock.Now().Add(-time.Second), []byte("[]"))
	c.clock.Add(time.Minute)
	c.api.Deliver(t.Context())
	if n := len(h.take()); n != 0 {
		t.Errorf("a webhook was told of a subscription that was stopped")
	}
}

func TestWebhookExpires(t *testing.T) {
	c, h := startHooked(t, tenant.AuditOptions{Calm: true})
	mustDecode[subscriptionBody](t, c.hooked(h, "DLP.All", `,"expiration":"2026-11-18T16:00:00Z"`))
	h.take()
	c.clock.Add(time.Hour)
	c.audit.AddBlob("DLP.All", c.clock.Now(), []byte("[]"))
	c.api.Deliver(t.Context())
	if n := len(h.take()); n != 0 || c.webhook("DLP.All").Status != "expired" {
		t.Errorf("%d calls of a webhook that is %s", n, c.webhook("DLP.All").Status)
	}
}

// A subscriber that knows the cloud's names alone gets links with them.
func TestNotificationsNameTheCloud(t *testing.T) {
	for _, host := range []string{"manage.office.com", "manage-gcc.office.com"} {
		c, h := startHooked(t, tenant.AuditOptions{Calm: true})
		a := c.send("POST", c.root+feedPath+"subscriptions/start?contentType=DLP.All", `{"webhook":{"address":"`+h.URL+`"}}`,
			"Authorization", "Bearer "+c.token(nil), "Host", host)
		mustDecode[subscriptionBody](t, a)
		h.take()
		c.clock.Add(time.Hour)
		c.audit.AddBlob("DLP.All", c.clock.Now(), []byte("[]"))
		c.api.Deliver(t.Context())
		if calls := h.take(); len(calls) != 1 || !strings.Contains(calls[0].Body, `"contentUri":"https://`+host+`/api/v1.0/`+tenantID) {
			t.Errorf("%s: %v", host, calls)
		}
	}
}

func TestRunDelivers(t *testing.T) {
	c, h := startHooked(t, tenant.AuditOptions{Calm: true})
	mustDecode[subscriptionBody](t, c.hooked(h, "DLP.All", ""))
	told := make(chan struct{})
	c.api.Webhooks = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		close(told)
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	})}
	c.clock.Add(time.Hour)
	c.audit.AddBlob("DLP.All", c.clock.Now(), []byte("[]"))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.api.Run(ctx) })
	<-told
	stop()
	running.Wait()
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzParseStart(f *testing.F) {
	for _, s := range []string{"", " ", "{}", `{"webhook":null}`, `{"webhook":{"address":"https://127.0.0.1","authId":"x","expiration":null}}`, "[]", "{} {}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := activity.ParseStart(text)
		if w == nil || err != nil {
			return
		}
		again, err := json.Marshal(map[string]any{"webhook": w})
		if err != nil {
			t.Fatal(err)
		}
		if same, err := activity.ParseStart(again); err != nil || *same != *w {
			t.Errorf("%q reads as %+v, and that as %+v: %v", text, w, same, err)
		}
	})
}

func TestOperationsAreNamedOnce(t *testing.T) {
	api := mustStartFeed(t, tenant.AuditOptions{}).api.Origin()
	var names []string
	for _, op := range api.Operations {
		method, path, _ := strings.Cut(op.Request, " ")
		path = strings.NewReplacer("{tenant}", tenantID, "{contentId}", "x").Replace(path)
		if got := api.Operation(httptest.NewRequest(method, path, nil)); got != op.Name {
			t.Errorf("%s is operation %q, want %q", op.Request, got, op.Name)
		}
		if u, err := url.Parse(op.Source); err != nil || u.Host != "learn.microsoft.com" || u.Fragment == "" {
			t.Errorf("%s is documented at %q", op.Name, op.Source)
		}
		names = append(names, op.Name)
	}
	if sorted := slices.Sorted(slices.Values(names)); len(slices.Compact(sorted)) != len(names) || len(names) != 7 {
		t.Errorf("%q", names)
	}
}
