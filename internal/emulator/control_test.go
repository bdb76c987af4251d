package emulator_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// control sends a request to the control API and wants a status.
func control(t *testing.T, w *emulatortest.World, request, body string, want int) emulatortest.Answer {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	a := w.Do(t, method, w.Origins().Control+path, body, "Authorization", "Bearer "+w.Control())
	if a.Status != want {
		t.Fatalf("%s %s: %d %s, want %d", request, body, a.Status, a.Text, want)
	}
	return a
}

func TestControlNeedsItsSecret(t *testing.T) {
	w := emulatortest.Start(t, nil)
	for _, header := range []string{"", "Bearer", "Bearer wrong", "Basic " + w.Control(), w.Control(), "Bearer " + w.Control() + "x"} {
		for _, request := range []string{"GET /faults", "DELETE /faults", "GET /nothing"} {
			method, path, _ := strings.Cut(request, " ")
			if a := w.Do(t, method, w.Origins().Control+path, "", "Authorization", header); a.Status != 401 || a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %q: %d", request, header, a.Status)
			}
		}
	}
	if !strings.HasPrefix(w.Origins().Control, "http://127.0.0.1:") {
		t.Errorf("the control API is at %s", w.Origins().Control)
	}
}

func TestControlFaults(t *testing.T) {
	w := emulatortest.Start(t, nil)
	control(t, w, "POST /faults", `{"fault":"authority/keys:server-error,times=1"}`, 200)
	keys := w.Origins().Authority + "/" + w.Tenant.ID + "/discovery/keys"
	if a := w.Do(t, "GET", keys, ""); a.Status != 500 {
		t.Errorf("the injected fault does not happen: %d", a.Status)
	}
	a := control(t, w, "GET /faults", "", 200)
	var got any
	if err := json.Unmarshal([]byte(a.Text), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"faults": []any{map[string]any{
		"fault": "authority/keys:server-error,times=1", "ambient": false, "matched": 1.0, "happened": 1.0,
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	control(t, w, "DELETE /faults", "", 204)
	if a := control(t, w, "GET /faults", "", 200); strings.TrimSpace(a.Text) != `{"faults":[]}` {
		t.Errorf("after clearing: %s", a.Text)
	}
	for _, body := range []string{
		"", "[]", `{}`, `{"fault":"mars:slow"}`, `{"fault":"no-such-kind"}`, `{"fault":"identity/list:slow"}`,
		`{"fault":"slow","more":1}`, `{"fault":"slow"}{}`, `{"fault":1}`,
	} {
		control(t, w, "POST /faults", body, 400)
	}
	control(t, w, "DELETE /calls", "", 204)
	if n := len(w.Faults()); n != 0 {
		t.Errorf("%d faults were injected by refused requests", n)
	}
}

func TestControlClockAndDelays(t *testing.T) {
	clock := emulatortest.NewClock(time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC))
	w := emulatortest.Start(t, clock.Now)
	if a := control(t, w, "POST /clock", `{"step":"-90m"}`, 200); a.Body["now"] != "2031-05-04T01:32:01Z" || a.Body["ahead"] != "-1h30m0s" {
		t.Errorf("after a step: %s", a.Text)
	}
	if a := control(t, w, "GET /clock", "", 200); a.Body["now"] != "2031-05-04T01:32:01Z" || !w.Tenant.Now().Equal(clock.Now().Add(-90*time.Minute)) {
		t.Errorf("the clock: %s", a.Text)
	}
	for _, body := range []string{`{}`, `{"step":"soon"}`, `{"step":"200000h"}`, `{"step":"-200000h"}`} {
		control(t, w, "POST /clock", body, 400)
	}
	if a := control(t, w, "GET /delays", "", 200); a.Body["delays"] != "none" {
		t.Errorf("the delays of a calm tenant: %s", a.Text)
	}
	const some = "reads=1s-2s,vault=1m0s-2m0s"
	control(t, w, "PUT /delays", `{"delays":"`+some+`"}`, 200)
	control(t, w, "PUT /delays", `{"delays":"soon"}`, 400)
	if a := control(t, w, "GET /delays", "", 200); a.Body["delays"] != some {
		t.Errorf("the delays: %s", a.Text)
	}
	unkind := emulatortest.Start(t, nil, func(o *emulator.Options) { o.Calm = false })
	if a := control(t, unkind, "GET /delays", "", 200); a.Body["delays"] != "usual" {
		t.Errorf("the delays of a tenant that is not calm: %s", a.Text)
	}
	delays := origin.UsualDelays
	other := emulatortest.Start(t, nil, func(o *emulator.Options) { o.Delays = &delays })
	if a := control(t, other, "GET /delays", "", 200); a.Body["delays"] != "usual" {
		t.Errorf("the delays that were asked for: %s", a.Text)
	}
}

func TestControlRollsKeys(t *testing.T) {
	w := emulatortest.Start(t, nil)
	list := w.Origins().Manage + "/api/v1.0/" + w.Tenant.ID + "/activity/feed/subscriptions/list"
	bearer := "Bearer " + w.Token(t, "https://manage.office.com")
	for _, step := range []struct {
		body string
		want int
	}{{`{"keep":true}`, 200}, {`{"keep":true}`, 200}, {`{"keep":false}`, 200}} {
		control(t, w, "POST /keys/roll", step.body, 204)
		if a := w.Do(t, "GET", list, "", "Authorization", bearer); a.Status != step.want {
			t.Errorf("after %s: %d", step.body, a.Status)
		}
	}
	bearer = "Bearer " + w.Token(t, "https://manage.office.com")
	control(t, w, "POST /keys/roll", `{"keep":false}`, 204)
	if a := w.Do(t, "GET", list, "", "Authorization", bearer); a.Status != 401 {
		t.Errorf("a token signed by a forgotten key: %d", a.Status)
	}
	control(t, w, "POST /keys/roll", `{}`, 400)
}

func TestControlSettlesDeviceCodes(t *testing.T) {
	w := emulatortest.Start(t, nil)
	const cli = "04b07795-8ddb-461a-bbee-02f9e1bf7b46" // Azure CLI
	user := w.Tenant.Directory.View(0).Users()[0].UserPrincipalName
	begin := func() (userCode string, poll func() emulatortest.Answer) {
		t.Helper()
		a := w.PostForm(t, "/"+w.Tenant.ID+"/oauth2/v2.0/devicecode", url.Values{"client_id": {cli}, "scope": {"https://graph.microsoft.com/.default"}})
		code, ok := a.Body["device_code"].(string)
		userCode, ok2 := a.Body["user_code"].(string)
		if !ok || !ok2 {
			t.Fatalf("asking for a device code: %d %s", a.Status, a.Text)
		}
		return userCode, func() emulatortest.Answer {
			return w.PostForm(t, "/"+w.Tenant.ID+"/oauth2/v2.0/token", url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {cli}, "device_code": {code},
			})
		}
	}
	code, poll := begin()
	if a := poll(); a.Body["error"] != "authorization_pending" {
		t.Errorf("before: %d %s", a.Status, a.Text)
	}
	control(t, w, "POST /devicecodes/"+code+"/approve", `{"user":"nobody@example.com"}`, 400)
	control(t, w, "POST /devicecodes/"+code+"/approve", `{"user":"`+user+`"}`, 204)
	if a := poll(); a.Body["access_token"] == nil {
		t.Errorf("after approval: %d %s", a.Status, a.Text)
	}
	code, poll = begin()
	control(t, w, "POST /devicecodes/"+code+"/decline", "", 204)
	if a := poll(); a.Body["error"] != "authorization_declined" {
		t.Errorf("after declining: %d %s", a.Status, a.Text)
	}
	control(t, w, "POST /devicecodes/NOSUCHCODE/decline", "", 400)
}

func TestControlSetsServices(t *testing.T) {
	w := emulatortest.Start(t, nil)
	control := func(method, body string) emulatortest.Answer {
		t.Helper()
		return w.Do(t, method, w.Origins().Control+"/services", body, "Authorization", "Bearer "+w.Control(), "Content-Type", "application/json")
	}
	if a := control("GET", ""); a.Body["concealNames"] != true || a.Body["unlicensed"] != false {
		t.Errorf("to begin with: %d %s", a.Status, a.Text)
	}
	if a := control("PUT", `{"empty": true}`); a.Status != 204 {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	if a := control("GET", ""); a.Body["concealNames"] != false || a.Body["empty"] != true {
		t.Errorf("then: %d %s", a.Status, a.Text)
	}
	if a := control("PUT", `{"full": true}`); a.Status != 400 {
		t.Errorf("what there is not: %d %s", a.Status, a.Text)
	}
	client := w.Tenant.Client().ClientID
	for _, permission := range []string{"graph/ReportSettings.Read.All", "graph/CallRecords.Read.All"} {
		if err := w.Grant(client, permission); err != nil {
			t.Fatal(err)
		}
	}
	bearer := "Bearer " + w.Token(t, "https://graph.microsoft.com")
	if a := w.Do(t, "GET", w.Origins().Graph+"/v1.0/admin/reportSettings", "", "Authorization", bearer); a.Body["displayConcealedNames"] != false {
		t.Errorf("the report settings: %d %s", a.Status, a.Text)
	}
	if a := w.Do(t, "GET", w.Origins().Graph+"/v1.0/communications/callRecords", "", "Authorization", bearer); a.Status != 200 || len(a.Body["value"].([]any)) != 0 {
		t.Errorf("the calls: %d %s", a.Status, a.Text)
	}
}

func TestControlNamesWhatItKnows(t *testing.T) {
	w := emulatortest.Start(t, nil)
	a := control(t, w, "GET /nothing", "", 404)
	if !strings.Contains(a.Text, "POST /faults") || !strings.Contains(a.Text, "GET /nothing") {
		t.Errorf("%s", a.Text)
	}
	a = control(t, w, "GET /operations", "", 200)
	if !strings.Contains(a.Text, `{"api":"identity","operation":"token","request":"GET /msi/token","source":"https://learn.microsoft.com/`) {
		t.Errorf("the operations: %.300s", a.Text)
	}
	control(t, w, "POST /state", "", 409)
}

func TestControlSavesTheState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tenant.json")
	w := emulatortest.Start(t, nil, func(o *emulator.Options) { o.StateFile = file })
	if a := control(t, w, "POST /state", "", 200); a.Body["file"] != file {
		t.Errorf("%s", a.Text)
	}
	if _, err := emulator.ReadState(file); err != nil {
		t.Error(err)
	}
}

func TestCalls(t *testing.T) {
	w := emulatortest.Start(t, nil)
	o := w.Origins()
	keys := o.Authority + "/" + w.Tenant.ID + "/discovery/keys"
	w.Do(t, "GET", keys, "", "User-Agent", "one/1.0 (more)")
	w.Do(t, "GET", keys, "", "User-Agent", "one/1.0")
	w.Do(t, "GET", keys, "", "User-Agent", "two/2.0", "x-client-SKU", "MSAL.Go")
	w.Do(t, "GET", o.Identity+emulator.IdentityPath, "", "User-Agent", "three")
	w.Do(t, "GET", o.Identity+"/unknown?secret=value", "", "User-Agent", "three")
	control(t, w, "GET /clock", "", 200)
	w.Inject(emulator.Fault{API: "identity", Kind: emulator.Reset, Times: 1})
	if resp, err := w.HTTPClient().Get(o.Identity + emulator.IdentityPath); err == nil {
		// The client sent it again by itself.
		resp.Body.Close()
	}
	a := control(t, w, "GET /calls", "", 200)
	var shown struct{ Calls []emulator.Call }
	if err := json.Unmarshal([]byte(a.Text), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Calls) < 4 {
		t.Errorf("the control API shows %+v", shown.Calls)
	}
	// Close waits for what is under way, which a reset is when the client sees
	// it.
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got []emulator.Call
	none := 0
	for _, c := range w.Calls() {
		switch {
		case c.Status == "none" && c.API == "identity":
			none++
		case c.Client != "Go-http-client/1.1":
			got = append(got, c)
		}
	}
	want := []emulator.Call{
		{API: "authority", Operation: "keys", Status: "2xx", Client: "one/1.0", Count: 2},
		{API: "authority", Operation: "keys", Status: "2xx", Client: "two/2.0 MSAL.Go", Count: 1},
		{API: "identity", Request: "GET /unknown with query secret", Status: "5xx", Client: "three", Count: 1},
		{API: "identity", Operation: "token", Status: "4xx", Client: "three", Count: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" || none != 1 {
		t.Errorf("%d withheld; %s", none, diff)
	}
	w.ForgetCalls()
	if left := w.Calls(); len(left) != 0 {
		t.Errorf("after forgetting: %+v", left)
	}
}

func TestCallsAreBounded(t *testing.T) {
	w := emulatortest.Start(t, nil)
	const more = 50
	for i := range emulator.MostUnknown + more {
		w.Do(t, "GET", fmt.Sprintf("%s/%d", w.Origins().Identity, i), "")
	}
	all := w.Calls()
	if len(all) != emulator.MostUnknown+1 || all[0].Request != "" || all[0].Count != more {
		t.Errorf("%d are told apart, and %+v is the rest", len(all), all[0])
	}
}
