package emulator_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestListensOnLoopbackOnly(t *testing.T) {
	tn, err := tenant.New(tenant.Options{Users: 1, Days: 1, PerUser: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:8080", "example.com:80", "localhost:0", "127.0.0.1", "127.0.0.1:http", "127.0.0.2:0", "127.0.0.1:65533"} {
		e, err := emulator.Start(emulator.Options{Tenant: tn, Listen: address})
		if err == nil {
			t.Errorf("Start listens on %q", address)
			e.Close()
		} else if !errors.Is(err, emulator.ErrOptions) {
			t.Errorf("%q: %v is not said to be a wrong option", address, err)
		}
	}
	for _, o := range []emulator.Options{
		{},
		{Tenant: tn, Cloud: "mars"},
		{Tenant: tn, Proxy: "0.0.0.0:0"},
		{Tenant: tn, Listen: "0.0.0.0:0", Expose: true},
		{Tenant: tn, Faults: []emulator.Fault{{Kind: "no-such-kind"}}},
		{Tenant: tn, Faults: []emulator.Fault{{API: "graph", Kind: emulator.Gone}}},
		{Tenant: tn, Faults: []emulator.Fault{{API: "identity", Operation: "addKey", Kind: emulator.Slow}}},
	} {
		if e, err := emulator.Start(o); err == nil {
			t.Errorf("Start takes %+v", o)
			e.Close()
		} else if !errors.Is(err, emulator.ErrOptions) {
			t.Errorf("%+v: %v is not said to be a wrong option", o, err)
		}
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
	if e, err := emulator.Start(emulator.Options{Tenant: tn, Listen: first}); err == nil {
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
	e := emulatortest.Start(t, time.Now)
	o := e.Origins()
	for _, test := range []struct{ method, url, want string }{
		{"GET", o.Authority + "/x/oauth2/v2.0/nothing?prompt=none", "GET /x/oauth2/v2.0/nothing with query prompt"},
		{"POST", o.Authority + "/x/discovery/keys", "POST /x/discovery/keys"},
		{"GET", o.Graph + "/v1.0/nothing", "GET /v1.0/nothing"},
		{"GET", o.Graph + "/v2.0/applications", "GET /v2.0/applications"},
		{"GET", o.Vault + "/nothing/x?api-version=7.6", "GET /nothing/x"},
		{"GET", o.Manage + "/api/v1.0/x/ServiceComms/Services", "GET /api/v1.0/x/ServiceComms/Services"},
		{"POST", o.Logs + "/v1/nothing/x/query", "POST /v1/nothing/x/query"},
		{"GET", o.Identity + "/metadata/identity/oauth2/token", "GET /metadata/identity/oauth2/token"},
	} {
		a := e.Do(t, test.method, test.url, "")
		if a.Status != http.StatusNotImplemented || !strings.Contains(a.Text, test.want) {
			t.Errorf("%s %s: %d %s, want 501 naming %q", test.method, test.url, a.Status, a.Text, test.want)
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
	e := emulatortest.Start(t, time.Now, func(o *emulator.Options) {
		o.Log = slog.New(slog.NewTextHandler(arrived, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	e.Inject(emulator.Fault{API: "identity", Kind: emulator.Slow, Delay: time.Hour, Times: 1})
	failed := make(chan error, 1)
	go func() {
		resp, err := e.HTTPClient().Get(e.Origins().Identity + emulator.IdentityPath)
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

// A mistake of the emulator's is seen by who runs it, and an answer that is cut
// on purpose is none.
func TestPanicsAreLogged(t *testing.T) {
	var log strings.Builder
	e := emulatortest.Start(t, nil, func(o *emulator.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, test := range []struct {
		value any
		want  bool
	}{{"odd", true}, {http.ErrAbortHandler, false}} {
		log.Reset()
		h := e.Admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(test.value) }))
		got := func() (p any) {
			defer func() { p = recover() }()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/path?code=secret", nil))
			return nil
		}()
		logged := strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), "GET /path with query code") && strings.Contains(log.String(), "TestPanicsAreLogged")
		if got != test.value || logged != test.want || strings.Contains(log.String(), "secret") {
			t.Errorf("%v: panics with %v, and logs %q", test.value, got, log.String())
		}
	}
}

func TestDateIsTheTenants(t *testing.T) {
	c := emulatortest.NewClock(time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC))
	e := emulatortest.Start(t, c.Now)
	a := e.Do(t, "GET", e.Origins().Vault+"/certificates?api-version=7.6", "")
	if got, want := a.Header.Get("Date"), "Sun, 04 May 2031 03:02:01 GMT"; got != want {
		t.Errorf("Date is %q, want %q", got, want)
	}
}

func TestLargeRequestBodyIsRefused(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	a := e.Do(t, "POST", e.Origins().Authority+"/"+e.Tenant.ID+"/oauth2/v2.0/token",
		"grant_type="+strings.Repeat("x", 1<<20), "Content-Type", "application/x-www-form-urlencoded")
	if a.Status != http.StatusBadRequest {
		t.Errorf("a body of more than 1 MiB: %d %s", a.Status, a.Text)
	}
}
