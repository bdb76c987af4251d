package app_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// permissionsOf are the IDs of the permissions that an application has.
func (e *emulated) permissionsOf(clientID string) []string {
	v := e.Directory.View(0)
	p, _ := v.ServicePrincipalByAppID(clientID)
	var all []string
	for _, g := range v.AppRoleAssignmentsOf(p.ID) {
		all = append(all, g.AppRoleID)
	}
	slices.Sort(all)
	return all
}

// Another application sets up in place of a person, with two permissions and no more, and
// takes it away; the journal says who did what, and why.
func TestAppSetupByApplication(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	demo, _ := e.Directory.View(0).ApplicationByAppID(e.Client().ClientID)
	deployer := e.Directory.NewApplication("deployer")
	if err := e.Directory.ChangeApplication(deployer.AppID, func(a *directory.Application) error {
		a.KeyCredentials = demo.KeyCredentials
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	e.withoutReeve(t)
	for _, role := range []string{"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All"} {
		if err := e.Directory.GrantRole(deployer.AppID, directory.Graph, role); err != nil {
			t.Fatal(err)
		}
	}
	file, answers := filepath.Join(t.TempDir(), "reeve.yaml"), filepath.Join(t.TempDir(), "answers.yaml")
	if err := os.WriteFile(answers, []byte("config: "+file+"\nsign-in: certificate\nsign-in-client-id: "+deployer.AppID+"\nsign-in-certificate: "+e.variables["CERT_PEM"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := e.cloud(t, "REEVE_TENANT_ID="+e.ID)
	setup := func(more ...string) outcome {
		t.Helper()
		return startLong(t, environ, append([]string{"app", "setup", "--answers", answers}, more...)...).wait(t)
	}
	setup("--name", "reeve of {tenant-name}", "--dry-run").want(t, usage, "Organization.Read.All")
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := setup("--feeds", "audit,calls", "--optional", "--hook", "command:"+hook, "--yes", "--json")
	o.want(t, ok, "Tenant "+e.ID)
	var done struct {
		Registration struct {
			ClientID string `json:"client_id"`
		}
		Proofs []struct{ Roles []string }
	}
	if err := json.Unmarshal([]byte(o.out), &done); err != nil || len(done.Proofs) != 2 {
		t.Fatalf("%v: %s", err, o.out)
	}
	granted := e.permissionsOf(done.Registration.ClientID)
	if len(granted) != 3 { // the one of audit, and the two of calls
		t.Errorf("it has %v", granted)
	}
	mustHide(t, "setup", o.out+o.err, nil)

	// A later run without feeds takes nothing back of what the first was asked for.
	o = setup("--dry-run")
	o.want(t, ok)
	if !strings.Contains(o.out, "The feeds are those of the run before: audit, calls") || strings.Contains(o.out, "to do") {
		t.Errorf("again:\n%s", o.out)
	}
	// A policy that cannot work is refused before anything is changed.
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	setup("--feeds", "audit", "--yes").want(t, usage, "would not work", hook)
	if now := e.permissionsOf(done.Registration.ClientID); !slices.Equal(now, granted) {
		t.Errorf("it has %v", now)
	}

	alone := []string{"REEVE_CONFIG=" + file}
	startLong(t, alone, "app", "remove", "--yes", "--sign-in", "certificate", "--sign-in-client-id", deployer.AppID, "--sign-in-certificate", e.variables["CERT_PEM"]).wait(t).want(t, ok)
	if n := len(e.Directory.View(0).Applications()); n != 1 {
		t.Errorf("there are %d applications", n)
	}
	o = reeve(t, alone, "cert", "history", "--verify", "--json")
	o.want(t, ok)
	type line struct{ Actor, Step, Outcome, Text string }
	var lines []line
	for decoder := json.NewDecoder(strings.NewReader(o.out)); ; {
		var l line
		if err := decoder.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	for _, want := range []line{
		{Outcome: "done", Text: "create the application reeve"},
		{Outcome: "intent", Text: "grant graph/CallRecords.Read.All: to read the records of calls and meetings (calls)"},
		{Outcome: "done", Text: "grant graph/CallRecords.Read.All"},
		{Outcome: "intent", Text: "take away the application reeve"},
		{Outcome: "done", Text: "take away the application reeve"},
	} {
		if !slices.ContainsFunc(lines, func(l line) bool {
			return l.Step == "setup" && l.Outcome == want.Outcome && strings.HasPrefix(l.Text, want.Text) && l.Actor == "deployer"
		}) {
			t.Errorf("nothing says %+v:\n%s", want, o.out)
		}
	}
}

// A device code is good for a quarter of an hour: whether Entra ID says that it is over, or
// the time is up before it says so.
func TestAppSetupExpired(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	r := start(t, e.cloud(t), "app", "setup", "--config", file, "--yes")
	r.says(t, deviceCode)
	e.Step(16 * time.Minute)
	r.wait(t).want(t, signIn, "AADSTS70019", "Start again, and enter the new code in time")

	var address, ca string
	address, ca = e.through(t, "REEVE_AUTHORITY_HOST", func(r *http.Response) {
		rewrite(t, r, "/openid-configuration", e.variables["REEVE_AUTHORITY_HOST"], address)
		rewrite(t, r, "/devicecode", `"expires_in":900`, `"expires_in":1`)
	})
	r = start(t, e.cloud(t, "REEVE_AUTHORITY_HOST="+address, "REEVE_CA_FILE="+ca), "app", "setup", "--config", file, "--yes")
	r.wait(t).want(t, signIn, "the code has expired", "Start again, and enter the new code in time")
	if _, err := os.Stat(file); err == nil {
		t.Error("a configuration was written")
	}
}

// through is the address of a proxy before one of Microsoft's hosts, which changes answers,
// and the file of the authorities to trust there and elsewhere.
func (e *emulated) through(t testing.TB, setting string, change func(*http.Response)) (address, ca string) {
	t.Helper()
	host, err := url.Parse(e.variables[setting])
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(&httputil.ReverseProxy{
		Transport:      e.service.HTTPClient().Transport,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(host) },
		ModifyResponse: func(r *http.Response) error { change(r); return nil },
	})
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	both := append(mustRead(t, e.variables["REEVE_CA_FILE"]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})...)
	if err := os.WriteFile(ca, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, ca
}

// rewrite puts one text in place of another in the answers of a path.
func rewrite(t testing.TB, r *http.Response, path, old, with string) {
	if !strings.HasSuffix(r.Request.URL.Path, path) {
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil || !bytes.Contains(data, []byte(old)) {
		t.Errorf("%s: %v, and no %s in %s", path, err, old, data)
	}
	data = bytes.ReplaceAll(data, []byte(old), []byte(with))
	r.Body = io.NopCloser(bytes.NewReader(data))
	r.Header.Set("Content-Length", strconv.Itoa(len(data)))
}

// Who has signed in to another tenant than tenant-id says changes nothing there.
func TestAppSetupOtherTenant(t *testing.T) {
	t.Parallel()
	const other = "99999999-8888-4777-8666-555555555555"
	e := emulate(t, tenant.Options{})
	var writes atomic.Int32
	address, ca := e.through(t, "REEVE_GRAPH_ENDPOINT", func(r *http.Response) { // a way on which Graph is another tenant's
		if r.Request.Method != http.MethodGet {
			writes.Add(1)
		}
		rewrite(t, r, "/organization", e.ID, other)
	})
	environ := e.cloud(t, "REEVE_TENANT_ID="+e.ID, "REEVE_GRAPH_ENDPOINT="+address, "REEVE_CA_FILE="+ca)
	for _, command := range []string{"setup", "discover"} {
		args := []string{"app", command, "--config", filepath.Join(t.TempDir(), "reeve.yaml")}
		if command == "setup" {
			args = append(args, "--yes")
		} else {
			args = append(args, "reeve", "--device-code", "--certificate", e.variables["CERT_PEM"])
		}
		r := start(t, environ, args...)
		e.signsIn(t, r, "admin")
		r.wait(t).want(t, configuration, "has signed in to tenant Contoso ("+other+"), and tenant-id is "+e.ID, "remedy: sign in with an account of the tenant")
	}
	if n := writes.Load(); n > 0 {
		t.Errorf("%d requests would have changed it", n)
	}
}

// A person who signs in finds an application by its name, in the tenant that is theirs, and
// what is at Entra ID is compared.
func TestAppDiscoverByName(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	environ := e.cloud(t)
	discover := func(name string, more ...string) outcome {
		t.Helper()
		r := start(t, environ, append([]string{"app", "discover", name, "--device-code", "--config", file, "--certificate", e.variables["CERT_PEM"], "--feeds", "audit"}, more...)...)
		e.signsIn(t, r, "admin")
		return r.wait(t)
	}
	discover("nobody").want(t, failure, "0 applications with the name nobody")
	o := discover("reeve", "--dry-run", "--feeds", "dlp,web")
	o.want(t, check, "nothing was saved")
	if !strings.Contains(o.out, "logs/Data.Read") {
		t.Errorf("what is missing is not named:\n%s", o.out)
	}
	o = discover("REEVE", "--json")
	o.want(t, ok, "admin@"+e.Directory.Domain+" has signed in to tenant Contoso ("+e.ID+")", "reeve cert adopt")
	for _, says := range []string{`"saved": true`, `"client_id": "` + e.Client().ClientID, "is registered, until", "manage/ActivityFeed.Read"} {
		if !strings.Contains(o.out, says) {
			t.Errorf("nothing says %q:\n%s", says, o.out)
		}
	}
	if text := string(mustRead(t, file)); !strings.Contains(text, "tenant-id: "+e.ID) {
		t.Errorf("the configuration is\n%s", text)
	}
	e.Directory.NewApplication("reeve")
	discover("reeve").want(t, failure, "2 applications with the name reeve", "give the client ID")
}
