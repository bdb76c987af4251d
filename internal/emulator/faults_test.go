package emulator

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
)

func TestFaultsInEachAPIsOwnWords(t *testing.T) {
	e := mustStart(t, time.Now)
	o := e.Origins()
	apis := map[string]struct{ url, throttled, unavailable, failed string }{
		"authority": {o.Authority + "/x/discovery/keys", `"error":"temporarily_unavailable"`, "AADSTS90033", `"error":"server_error"`},
		"graph":     {o.Graph + "/v1.0/applications", `"code":"TooManyRequests"`, `"code":"serviceNotAvailable"`, `"code":"generalException"`},
		"vault":     {o.Vault + "/certificates?api-version=7.6", `"code":"Throttled"`, `"code":"ServiceUnavailable"`, `"code":"InternalServerError"`},
		"manage":    {o.Manage + "/api/v1.0/x/activity/feed/subscriptions/list", `"code":"AF429"`, `"code":"AF50000"`, `"code":"AF50000"`},
		"identity":  {o.Identity + identityPath, `"statusCode":429`, `"statusCode":503`, `"statusCode":500`},
	}
	for name, api := range apis {
		for _, test := range []struct {
			fault      Fault
			status     int
			want       string
			retryAfter string
		}{
			{Fault{Kind: Throttle, RetryAfter: 7 * time.Second}, 429, api.throttled, "7"},
			{Fault{Kind: Throttle}, 429, api.throttled, "1"},
			{Fault{Kind: ThrottleSilent}, 429, api.throttled, ""},
			{Fault{Kind: Unavailable}, 503, api.unavailable, ""},
			{Fault{Kind: Unavailable, RetryAfter: 2 * time.Second}, 503, api.unavailable, "2"},
			{Fault{Kind: ServerError}, 500, api.failed, ""},
			{Fault{Kind: BadGateway}, 502, "<html>", ""},
		} {
			test.fault.API, test.fault.Times = name, 1
			e.Inject(test.fault)
			a := mustDo(t, e, "GET", api.url, "")
			if a.status != test.status || !strings.Contains(a.text, test.want) || a.header.Get("Retry-After") != test.retryAfter {
				t.Errorf("%s %s: %d %s, Retry-After %q", name, test.fault.Kind, a.status, a.text, a.header.Get("Retry-After"))
			}
		}
	}
}

func TestFaultsHappenOnTheirCallsOnly(t *testing.T) {
	e := mustStart(t, time.Now)
	e.Inject(Fault{API: "authority", Operation: "keys", Kind: ServerError, Every: 3, Times: 2})
	keys, configuration := e.Origins().Authority+"/"+e.tenant.ID+"/discovery/keys", e.Origins().Authority+"/"+e.tenant.ID+"/.well-known/openid-configuration"
	var got []int
	for range 10 {
		got = append(got, mustDo(t, e, "GET", keys, "").status)
		if a := mustDo(t, e, "GET", configuration, ""); a.status != 200 {
			t.Errorf("another operation: %d", a.status)
		}
	}
	if diff := cmp.Diff([]int{200, 200, 500, 200, 200, 500, 200, 200, 200, 200}, got); diff != "" {
		t.Error(diff)
	}
	counts := e.Faults()
	if len(counts) != 1 || counts[0].Matched != 6 || counts[0].Happened != 2 {
		t.Errorf("counts: %+v", counts)
	}
}

func TestTakeFaultLeavesGenericKinds(t *testing.T) {
	e := mustStart(t, time.Now)
	e.Inject(Fault{API: "manage", Operation: "content", Kind: Throttle})
	e.Inject(Fault{API: "manage", Operation: "content", Kind: "repeat-page", Times: 1, Bytes: 9})
	if f := e.takeFault("manage", "blob"); f != nil {
		t.Errorf("for another operation: %+v", f)
	}
	if f := e.takeFault("manage", "content"); f == nil || f.Kind != "repeat-page" || f.Bytes != 9 {
		t.Errorf("the API's own fault: %+v", f)
	}
	if f := e.takeFault("manage", "content"); f != nil {
		t.Errorf("after its only time: %+v", f)
	}
}

func TestResets(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		e := mustStart(t, time.Now)
		url := e.Origins().Authority + "/" + e.tenant.ID + "/discovery/keys"
		if scheme == "http" {
			url = e.Origins().Identity + identityPath
		}
		whole := mustDo(t, e, "GET", url, "").text

		// A client repeats a GET by itself when a kept connection breaks;
		// what the fault does is seen on a new one.
		e.HTTPClient().CloseIdleConnections()
		e.Inject(Fault{Kind: Reset, Times: 1})
		if resp, err := e.HTTPClient().Get(url); err == nil {
			t.Errorf("%s: an answer %d in spite of the reset", scheme, resp.StatusCode)
			resp.Body.Close()
		} else if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", scheme, err)
		}

		for _, bytes := range []int64{0, 10} {
			e.Inject(Fault{Kind: ResetBody, Times: 1, Bytes: bytes})
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
		if a := mustDo(t, e, "GET", url, ""); a.text == "" {
			t.Errorf("%s: no answer afterwards", scheme)
		}
	}
}

func TestResetBodyLongerThanTheAnswer(t *testing.T) {
	e := mustStart(t, time.Now)
	e.Inject(Fault{Kind: ResetBody, Times: 1, Bytes: 1 << 20})
	a := mustDo(t, e, "GET", e.Origins().Authority+"/"+e.tenant.ID+"/discovery/keys", "")
	if a.status != 200 || !json.Valid([]byte(a.text)) {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestAmbientFaults(t *testing.T) {
	var f faults
	f.start(1, false)
	count := func() (n int) {
		for range 10_000 {
			if f.generic(manageAPI, "content") != nil {
				n++
			}
			if f.generic(graphAPI, "applications") != nil {
				t.Fatal("a fault by itself in another API")
			}
		}
		return n
	}
	n := count()
	if n < 60 || n > 140 {
		t.Errorf("%d of 10,000 calls failed by themselves, want about 100", n)
	}
	counts := f.counts()
	if len(counts) != 2 || counts[0].Happened+counts[1].Happened != n || counts[0].Matched != 10_000 {
		t.Errorf("%d faults are counted as %+v", n, counts)
	}
	f = faults{}
	f.start(1, false)
	if again := count(); again != n {
		t.Errorf("the same seed gives %d faults and then %d", n, again)
	}
	f = faults{}
	f.start(1, true)
	if n := count(); n != 0 {
		t.Errorf("%d faults when calm", n)
	}
}

func TestActivityOperations(t *testing.T) {
	const feed = "/api/v1.0/d0d4b9d2-0000-4000-8000-000000000000/activity/feed/"
	for path, want := range map[string]string{
		feed + "subscriptions/start": "start", feed + "subscriptions/stop": "stop", feed + "subscriptions/list": "list",
		feed + "subscriptions/content": "content", feed + "subscriptions/notifications": "notifications",
		feed + "resources/dlpSensitiveTypes":                       "dlp",
		feed + "audit/2017$2017$audit_sharepoint$Audit_SharePoint": "blob",
		feed + "subscriptions/x":                                   "", feed + "list": "", "/subscriptions/list": "", "/": "",
	} {
		r, err := http.NewRequest("GET", "https://127.0.0.1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := activityOperation(r); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}
