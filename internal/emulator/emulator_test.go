package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// clock is a clock that a test sets.
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

// mustStart starts an emulator with a small tenant on the given clock.
func mustStart(t *testing.T, now func() time.Time, change ...func(*Options)) *Emulator {
	t.Helper()
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 3, Days: 1, PerUser: 2, Now: now, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Tenant: tn, Seed: 1, Calm: true}
	for _, f := range change {
		f(&o)
	}
	e, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any // when it is a JSON object
}

func mustDo(t *testing.T, e *Emulator, method, url, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := e.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(b)}
	json.Unmarshal(b, &a.body) // The test that wants an object looks for its members.
	return a
}

func TestListensOnLoopbackOnly(t *testing.T) {
	tn, err := tenant.New(tenant.Options{Users: 1, Days: 1, PerUser: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:8080", "example.com:80", "localhost:0", "127.0.0.1", "127.0.0.1:http", "127.0.0.2:0", "127.0.0.1:65533"} {
		e, err := Start(Options{Tenant: tn, Listen: address})
		if err == nil {
			t.Errorf("Start listens on %q", address)
			e.Close()
		}
	}
	if _, err := Start(Options{}); err == nil {
		t.Error("Start needs no tenant")
	}
}

func TestPortInUseLeavesNothingOpen(t *testing.T) {
	tn, err := tenant.New(tenant.Options{Users: 1, Days: 1, PerUser: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	first := fmt.Sprintf("127.0.0.1:%d", used.Addr().(*net.TCPAddr).Port-1)
	probe, err := net.Listen("tcp", first)
	if err != nil {
		t.Skip("the port before a free one is in use")
	}
	probe.Close()
	if e, err := Start(Options{Tenant: tn, Listen: first}); err == nil {
		e.Close()
		t.Fatal("Start took a port in use")
	}
	probe, err = net.Listen("tcp", first)
	if err != nil {
		t.Fatalf("after Start: %v", err)
	}
	probe.Close()
}

func TestUnknownRoutesAreNamed(t *testing.T) {
	e := mustStart(t, time.Now)
	o := e.Origins()
	for _, test := range []struct{ method, url, want string }{
		{"GET", o.Authority + "/x/oauth2/v2.0/authorize?prompt=none", "GET /x/oauth2/v2.0/authorize with query prompt"},
		{"POST", o.Authority + "/x/discovery/keys", "POST /x/discovery/keys"},
		{"GET", o.Authority + "/common/v2.0/.well-known/openid-configuration", "/common"},
		{"GET", o.Graph + "/v1.0/users", "GET /v1.0/users"},
		{"GET", o.Graph + "/beta/applications", "GET /beta/applications"},
		{"PATCH", o.Graph + "/v1.0/applications/1", "PATCH /v1.0/applications/1"},
		{"GET", o.Graph + "/v1.0/applications?$expand=owners", "with query $expand"},
		{"GET", o.Graph + "/v1.0/applications?$filter=startswith(displayName,'x')", "with query $filter"},
		{"POST", o.Vault + "/certificates/x/create?api-version=7.6", "POST /certificates/x/create"},
		{"GET", o.Vault + "/certificates/x/policy?api-version=7.6", "GET /certificates/x/policy"},
		{"GET", o.Manage + "/api/v1.0/x/ServiceComms/Services", "GET /api/v1.0/x/ServiceComms/Services"},
		{"POST", o.Logs + "/v1/workspaces/x/query", "POST /v1/workspaces/x/query"},
		{"GET", o.Identity + "/metadata/identity/oauth2/token", "GET /metadata/identity/oauth2/token"},
	} {
		a := mustDo(t, e, test.method, test.url, "")
		if a.status != http.StatusNotImplemented || !strings.Contains(a.text, test.want) {
			t.Errorf("%s %s: %d %s, want 501 naming %q", test.method, test.url, a.status, a.text, test.want)
		}
	}
}

// logged reports each line of a log that contains a text.
type logged struct {
	text string
	seen chan struct{}
}

func (l logged) Write(p []byte) (int, error) {
	if strings.Contains(string(p), l.text) {
		l.seen <- struct{}{}
	}
	return len(p), nil
}

func TestCloseTwiceAndDuringAnAnswer(t *testing.T) {
	arrived := logged{"msg=fault", make(chan struct{}, 1)}
	e := mustStart(t, time.Now, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(arrived, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	e.Inject(Fault{API: "identity", Kind: Slow, Delay: time.Hour, Times: 1})
	failed := make(chan error, 1)
	go func() {
		resp, err := e.HTTPClient().Get(e.Origins().Identity + identityPath)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-arrived.seen
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-failed; err == nil {
		t.Error("the answer under way was not cut")
	}
}

func TestDateIsTheTenants(t *testing.T) {
	c := &clock{now: time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC)}
	e := mustStart(t, c.Now)
	a := mustDo(t, e, "GET", e.Origins().Vault+"/certificates?api-version=7.6", "")
	if got, want := a.header.Get("Date"), "Sun, 04 May 2031 03:02:01 GMT"; got != want {
		t.Errorf("Date is %q, want %q", got, want)
	}
}

func TestLargeRequestBodyIsRefused(t *testing.T) {
	e := mustStart(t, time.Now)
	a := mustDo(t, e, "POST", e.Origins().Authority+"/"+e.tenant.ID+"/oauth2/v2.0/token",
		"grant_type="+strings.Repeat("x", maxRequestBody), "Content-Type", "application/x-www-form-urlencoded")
	if a.status != http.StatusBadRequest {
		t.Errorf("a body of more than 1 MiB: %d %s", a.status, a.text)
	}
}
