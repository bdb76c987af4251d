package emulator_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
)

func TestFaultsInEachAPIsOwnWords(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	o := e.Origins()
	apis := map[string]struct{ url, throttled, unavailable, failed string }{
		"authority": {o.Authority + "/x/discovery/keys", `"error":"temporarily_unavailable"`, "AADSTS90033", `"error":"server_error"`},
		"graph":     {o.Graph + "/v1.0/applications", `"code":"TooManyRequests"`, `"code":"serviceNotAvailable"`, `"code":"generalException"`},
		"vault":     {o.Vault + "/certificates?api-version=7.6", `"code":"Throttled"`, `"code":"ServiceUnavailable"`, `"code":"InternalServerError"`},
		"manage":    {o.Manage + "/api/v1.0/x/activity/feed/subscriptions/list", `"code":"AF429"`, `"code":"AF50000"`, `"code":"AF50000"`},
		"identity":  {o.Identity + emulator.IdentityPath, `"statusCode":429`, `"statusCode":503`, `"statusCode":500`},
	}
	for name, api := range apis {
		for _, test := range []struct {
			fault      emulator.Fault
			status     int
			want       string
			retryAfter string
		}{
			{emulator.Fault{Kind: emulator.Throttle, RetryAfter: 7 * time.Second}, 429, api.throttled, "7"},
			{emulator.Fault{Kind: emulator.Throttle}, 429, api.throttled, "1"},
			{emulator.Fault{Kind: emulator.ThrottleSilent}, 429, api.throttled, ""},
			{emulator.Fault{Kind: emulator.Unavailable}, 503, api.unavailable, ""},
			{emulator.Fault{Kind: emulator.Unavailable, RetryAfter: 2 * time.Second}, 503, api.unavailable, "2"},
			{emulator.Fault{Kind: emulator.ServerError}, 500, api.failed, ""},
			{emulator.Fault{Kind: emulator.BadGateway}, 502, "<html>", ""},
			{emulator.Fault{Kind: emulator.GatewayTimeout}, 504, "", ""},
		} {
			test.fault.API, test.fault.Times = name, 1
			e.Inject(test.fault)
			a := e.Do(t, "GET", api.url, "")
			if a.Status != test.status || !strings.Contains(a.Text, test.want) || a.Header.Get("Retry-After") != test.retryAfter {
				t.Errorf("%s %s: %d %s, Retry-After %q", name, test.fault.Kind, a.Status, a.Text, a.Header.Get("Retry-After"))
			}
		}
	}
}

func TestFaultsHappenOnTheirCallsOnly(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	e.Inject(emulator.Fault{API: "authority", Operation: "keys", Kind: emulator.ServerError, Every: 3, Times: 2})
	keys, configuration := e.Origins().Authority+"/"+e.Tenant.ID+"/discovery/keys", e.Origins().Authority+"/"+e.Tenant.ID+"/.well-known/openid-configuration"
	var got []int
	for range 10 {
		got = append(got, e.Do(t, "GET", keys, "").Status)
		if a := e.Do(t, "GET", configuration, ""); a.Status != 200 {
			t.Errorf("another operation: %d", a.Status)
		}
	}
	if diff := cmp.Diff([]int{200, 200, 500, 200, 200, 500, 200, 200, 200, 200}, got); diff != "" {
		t.Error(diff)
	}
	counts := e.Faults()
	if len(counts) != 1 || counts[0].Matched != 10 || counts[0].Happened != 2 {
		t.Errorf("counts: %+v", counts)
	}
}

func TestResets(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		e := emulatortest.Start(t, time.Now)
		url := e.Origins().Authority + "/" + e.Tenant.ID + "/discovery/keys"
		if scheme == "http" {
			url = e.Origins().Identity + emulator.IdentityPath
		}
		whole := e.Do(t, "GET", url, "").Text

		// A client repeats a GET by itself when a kept connection breaks;
		// what the fault does is seen on a new one.
		e.HTTPClient().CloseIdleConnections()
		e.Inject(emulator.Fault{Kind: emulator.Reset, Times: 1})
		if resp, err := e.HTTPClient().Get(url); err == nil {
			t.Errorf("%s: an answer %d in spite of the reset", scheme, resp.StatusCode)
			resp.Body.Close()
		} else if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", scheme, err)
		}

		for _, bytes := range []int64{0, 10} {
			e.Inject(emulator.Fault{Kind: emulator.ResetBody, Times: 1, Bytes: bytes})
			resp, err := e.HTTPClient().Get(url)
			if err != nil {
				continue // The reset overtook the header.
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil || len(b) >= len(whole) {
				t.Errorf("%s: read %d of %d bytes, error %v", scheme, len(b), len(whole), err)
			}
			if bytes > 0 && int64(len(b)) > bytes {
				t.Errorf("%s: read %d bytes, want at most %d", scheme, len(b), bytes)
			}
		}
		if a := e.Do(t, "GET", url, ""); a.Text == "" {
			t.Errorf("%s: no answer afterwards", scheme)
		}
	}
}

func TestResetBodyLongerThanTheAnswer(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	e.Inject(emulator.Fault{Kind: emulator.ResetBody, Times: 1, Bytes: 1 << 20})
	a := e.Do(t, "GET", e.Origins().Authority+"/"+e.Tenant.ID+"/discovery/keys", "")
	if a.Status != 200 || !json.Valid([]byte(a.Text)) {
		t.Errorf("%d %s", a.Status, a.Text)
	}
}

// names returns the display names of the registered applications.
func names(w *emulatortest.World) map[string]bool {
	all := map[string]bool{}
	for _, a := range w.Tenant.Directory.View(0).Applications() {
		all[a.DisplayName] = true
	}
	return all
}

// writer starts a tenant in which the demo client may register applications,
// and returns its token.
func writer(t *testing.T, now func() time.Time) (w *emulatortest.World, bearer string) {
	t.Helper()
	w = emulatortest.Start(t, now)
	if err := w.Tenant.Directory.GrantRole(w.Tenant.Client().ClientID, directory.Graph, "Application.ReadWrite.All"); err != nil {
		t.Fatal(err)
	}
	return w, "Bearer " + w.Token(t, "https://graph.microsoft.com")
}

func register(t *testing.T, w *emulatortest.World, bearer, name string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Origins().Graph+"/v1.0/applications", strings.NewReader(`{"displayName":"`+name+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", bearer)
	r.Header.Set("Content-Type", "application/json")
	// On a new connection: a client sends a request again by itself when a
	// kept one breaks.
	r.Close = true
	resp, err := w.HTTPClient().Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(resp.Body) // for the message alone
		t.Fatalf("registering %s: %d %s", name, resp.StatusCode, b)
	}
	return nil
}

func TestLostResponseIsDoneAndResetIsNot(t *testing.T) {
	w, bearer := writer(t, nil)
	w.Inject(emulator.Fault{API: "graph", Kind: emulator.LostResponse, Times: 1})
	if err := register(t, w, bearer, "lost"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("lost-response: %v, want a reset", err)
	}
	if !names(w)["lost"] {
		t.Error("lost-response: the application was not registered")
	}
	w.Inject(emulator.Fault{API: "graph", Kind: emulator.Reset, Times: 1})
	if err := register(t, w, bearer, "reset"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v, want a reset", err)
	}
	if names(w)["reset"] {
		t.Error("reset: the application was registered")
	}
	if err := register(t, w, bearer, "afterwards"); err != nil || !names(w)["afterwards"] {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTruncated(t *testing.T) {
	e := emulatortest.Start(t, nil)
	url := e.Origins().Authority + "/" + e.Tenant.ID + "/discovery/keys"
	whole := e.Do(t, "GET", url, "")
	for bytes, want := range map[int64]int{0: len(whole.Text) / 2, 7: 7, 1 << 30: len(whole.Text)} {
		e.Inject(emulator.Fault{Kind: emulator.Truncated, Bytes: bytes, Times: 1})
		a := e.Do(t, "GET", url, "")
		if a.Status != 200 || a.Text != whole.Text[:want] || a.Header.Get("Content-Type") != whole.Header.Get("Content-Type") {
			t.Errorf("after %d bytes: %d with %d bytes, want %d", bytes, a.Status, len(a.Text), want)
		}
	}
}

func TestBurst(t *testing.T) {
	e := emulatortest.Start(t, nil)
	e.Inject(emulator.Fault{API: "authority", Kind: emulator.Burst, After: 1, Length: 4, Times: 1})
	var got []int
	for range 7 {
		got = append(got, e.Do(t, "GET", e.Origins().Authority+"/"+e.Tenant.ID+"/discovery/keys", "").Status)
	}
	if diff := cmp.Diff([]int{200, 503, 500, 502, 503, 200, 200}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStaleRead(t *testing.T) {
	clock := emulatortest.NewClock(time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC))
	w, bearer := writer(t, clock.Now)
	clock.Add(time.Minute)
	if err := register(t, w, bearer, "fresh"); err != nil {
		t.Fatal(err)
	}
	list := func(f *emulator.Fault) bool {
		t.Helper()
		if f != nil {
			f.Times, f.Kind, f.API = 1, emulator.StaleRead, "graph"
			w.Inject(*f)
		}
		a := w.Do(t, "GET", w.Origins().Graph+"/v1.0/applications", "", "Authorization", bearer)
		if a.Status != 200 || !strings.Contains(a.Text, `"reeve"`) {
			t.Fatalf("%d %s", a.Status, a.Text)
		}
		return strings.Contains(a.Text, `"fresh"`)
	}
	for range 2 {
		clock.Add(10 * time.Second)
		if !list(nil) || list(&emulator.Fault{}) || list(&emulator.Fault{Delay: time.Minute}) || !list(&emulator.Fault{Delay: time.Second}) {
			t.Errorf("the application is seen by a replica that lags by more than its age, or not by one that lags by less")
		}
	}
	clock.Add(time.Minute)
	if !list(&emulator.Fault{}) {
		t.Error("the application is not seen after the usual lag")
	}
}

func TestRefusedToken(t *testing.T) {
	w, bearer := writer(t, nil)
	subscriptions := w.Origins().Manage + "/api/v1.0/" + w.Tenant.ID + "/activity/feed/subscriptions/list"
	for _, api := range []struct{ name, url, bearer string }{
		{"graph", w.Origins().Graph + "/v1.0/applications", bearer},
		{"manage", subscriptions, "Bearer " + w.Token(t, "https://manage.office.com")},
		{"vault", w.Origins().Vault + "/certificates?api-version=7.6", "Bearer " + w.Token(t, "https://vault.azure.net")},
	} {
		w.Inject(emulator.Fault{API: api.name, Kind: emulator.ExpiredToken, Times: 1})
		w.Inject(emulator.Fault{API: api.name, Kind: emulator.ForeignToken, Times: 1})
		for _, want := range []int{401, 401, 200} {
			if a := w.Do(t, "GET", api.url, "", "Authorization", api.bearer); a.Status != want {
				t.Errorf("%s: %d %s, want %d", api.name, a.Status, a.Text, want)
			}
		}
	}
}

func TestClockSteps(t *testing.T) {
	clock := emulatortest.NewClock(time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC))
	w, bearer := writer(t, clock.Now)
	keys := w.Origins().Authority + "/" + w.Tenant.ID + "/discovery/keys"
	date := func() string { return w.Do(t, "GET", keys, "").Header.Get("Date") }
	w.Inject(emulator.Fault{API: "authority", Kind: emulator.ClockStep, Delay: -2 * time.Hour, Times: 1})
	for range 2 {
		if got := date(); got != "Sun, 04 May 2031 01:02:01 GMT" {
			t.Errorf("after a step back it is %s", got)
		}
	}
	// What is written while the clock shows an earlier time is there all the
	// same, and replicas lag as they did.
	if err := register(t, w, "Bearer "+w.Token(t, "https://graph.microsoft.com"), "early"); err != nil || !names(w)["early"] {
		t.Errorf("after a step back: %v", err)
	}
	w.StepClock(26 * time.Hour)
	if got := date(); got != "Mon, 05 May 2031 03:02:01 GMT" {
		t.Errorf("after a step forward it is %s", got)
	}
	if !w.Tenant.Now().Equal(clock.Now().Add(24*time.Hour)) || w.Tenant.Ahead() != 24*time.Hour {
		t.Errorf("the tenant is %s ahead", w.Tenant.Ahead())
	}
	if a := w.Do(t, "GET", w.Origins().Graph+"/v1.0/applications", "", "Authorization", bearer); a.Status != 401 {
		t.Errorf("a token of yesterday: %d", a.Status)
	}
}

// A token that lives for some seconds says so, and is refused afterwards.
func TestShortTokens(t *testing.T) {
	clock := emulatortest.NewClock(time.Now())
	e := emulatortest.Start(t, clock.Now)
	e.Inject(emulator.Fault{API: "authority", Kind: emulator.ShortToken, Delay: 3 * time.Second, Times: 1})
	const resource = "https://manage.office.com"
	short, long := e.Token(t, resource), e.Token(t, resource)
	list := func(token string) int {
		return e.Do(t, "GET", e.Origins().Manage+"/api/v1.0/"+e.Tenant.ID+"/activity/feed/subscriptions/list", "", "Authorization", "Bearer "+token).Status
	}
	if a, b := list(short), list(long); a != 200 || b != 200 {
		t.Errorf("at first: %d and %d", a, b)
	}
	clock.Add(4 * time.Second)
	if a, b := list(short), list(long); a != 401 || b != 200 {
		t.Errorf("after four seconds: %d and %d", a, b)
	}
}
