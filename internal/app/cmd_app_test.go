package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/app"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

var deviceCode = regexp.MustCompile(`enter the code (\w+)`)

// signsIn does what a person does who reads the device code of a run of reeve.
func (e *emulated) signsIn(t testing.TB, r *running, login string) {
	t.Helper()
	m := deviceCode.FindStringSubmatch(r.says(t, deviceCode))
	if err := e.approve(m[1], login+"@"+e.Directory.Domain); err != nil {
		t.Fatal(err)
	}
}

// withoutReeve takes the tenant's demo application away.
func (e *emulated) withoutReeve(t testing.TB) {
	t.Helper()
	if err := e.Directory.Update(func(u *directory.Update) error {
		app, _ := u.ApplicationByAppID(e.Client().ClientID)
		p, _ := u.ServicePrincipalByAppID(e.Client().ClientID)
		u.RemoveApplication(app.ID)
		u.RemoveServicePrincipal(p.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// From an empty tenant to a proved token and a configuration with which reeve works, by a
// person and a device code; then again, and away with it.
func TestAppSetup(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	e.withoutReeve(t)
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	environ := e.cloud(t)

	// What would be done is shown, and nothing is.
	r := start(t, environ, "app", "setup", "--config", file, "--feeds", "audit,users", "--dry-run")
	e.signsIn(t, r, "admin")
	o := r.wait(t)
	o.want(t, ok, "Nothing was changed")
	for _, s := range []string{
		`to do  application .* it is what signs in`, `to do  permission +manage/ActivityFeed.Read +to read the audit log`,
		`PATCH https://\S+/v1.0/applications\(uniqueName='reeve-[0-9a-f]{16}'\)\n +Prefer: create-if-missing\n +\{"displayName":"reeve"`,
		`POST https://\S+/servicePrincipals/PRINCIPAL-ID/appRoleAssignments\n +\{"principalId":"PRINCIPAL-ID","resourceId":"[0-9a-f-]{36}","appRoleId":"594c1fb6`,
	} {
		if !regexp.MustCompile(s).MatchString(o.out) {
			t.Errorf("nothing says %q:\n%s", s, o.out)
		}
	}
	if _, err := os.Stat(file); err == nil || len(e.Directory.View(0).Applications()) != 0 {
		t.Errorf("something was made: %v", err)
	}

	// Somebody else's administrator makes the same application with a script.
	unique := regexp.MustCompile(`uniqueName='(reeve-[0-9a-f]{16})'`).FindStringSubmatch(o.out)
	script := reeve(t, e.cloud(t, "REEVE_CLOUD=public", "REEVE_AUTHORITY_HOST=", "REEVE_GRAPH_ENDPOINT=", "REEVE_MANAGE_ENDPOINT=", "REEVE_LOGS_ENDPOINT=", "REEVE_TENANT_ID="+e.ID), "app", "script", "--format", "http", "--feeds", "audit,users", "--json")
	if script.want(t, ok); len(unique) != 2 || !strings.Contains(script.out, `"unique_name": "`+unique[1]+`"`) {
		t.Errorf("set up as %q, and the script says:\n%s", unique, script.out)
	}

	// It is interrupted in the middle, and goes on when it is run again.
	setup := []string{"app", "setup", "--config", file, "--feeds", "audit,users", "--yes", "--json"}
	r = startLong(t, environ, setup...)
	e.signsIn(t, r, "admin")
	r.says(t, regexp.MustCompile(`confirm +done|register +done`))
	o = r.interrupt(t)
	o.want(t, failure, "create the application reeve", "stopped. ")
	if strings.Contains(o.err, "What was stored") {
		t.Errorf("nothing was to be stored:\n%s", o.err)
	}
	r = startLong(t, environ, setup...)
	e.signsIn(t, r, "admin")
	o = r.wait(t)
	o.want(t, ok, "there  application", "waiting until all of Entra ID knows it", file+": auth.certificate is own")
	var done struct {
		Registration struct {
			ClientID string `json:"client_id"`
		}
		Proofs []struct {
			Resource string
			Roles    []string
		}
	}
	if err := json.Unmarshal([]byte(o.out), &done); err != nil || len(done.Proofs) != 2 ||
		!slices.Equal(done.Proofs[0].Roles, []string{"ActivityFeed.Read"}) || !slices.Equal(done.Proofs[1].Roles, []string{"User.Read.All"}) {
		t.Fatalf("%v: %s", err, o.out)
	}
	mustHide(t, "setup", o.out+o.err, nil)

	// The configuration is all that is needed from then on.
	alone := []string{"REEVE_CONFIG=" + file}
	reeve(t, alone, "config", "validate").want(t, ok, "the one that reeve looks after itself")
	reeve(t, alone, "doctor", "--offline", "--only", "files").want(t, ok)
	reeve(t, alone, "token", "--explain", "--as", "curl").want(t, ok, "publish it to a live place")
	if o := reeve(t, alone, "check", "permissions"); !strings.Contains(o.out, "graph/User.Read.All") {
		t.Errorf("the feeds are not those of the set-up:\n%s", o.out)
	}
	claims := reeve(t, alone, "token", "--claims", "--resource", "graph")
	claims.want(t, ok)
	if !strings.Contains(claims.out, "User.Read.All") || strings.Contains(claims.out, "ReadWrite") {
		t.Errorf("the token says\n%s", claims.out)
	}

	// Again, by the file and with answers: nothing is left to do.
	answers := filepath.Join(t.TempDir(), "answers.yaml")
	if err := os.WriteFile(answers, []byte("feeds: [audit, users]\nyes: true\nconfig: "+file+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = start(t, nil, "app", "setup", "--answers", answers)
	e.signsIn(t, r, "admin")
	o = r.wait(t)
	o.want(t, ok, "there  application")
	if strings.Contains(o.err, "create the") || !strings.Contains(o.out, "client ID "+done.Registration.ClientID) {
		t.Errorf("again:\n%s%s", o.out, o.err)
	}
	if n := len(e.Directory.View(0).Applications()); n != 1 {
		t.Errorf("there are %d applications", n)
	}

	// Where nobody can be asked, that is told before somebody signs in.
	for _, command := range []string{"setup", "remove"} {
		o := reeve(t, alone, "app", command)
		o.want(t, usage, "say --yes")
		if deviceCode.MatchString(o.err) {
			t.Errorf("somebody is asked to sign in for nothing:\n%s", o.err)
		}
	}
	// Somebody who stops it before is not told of an import.
	r = start(t, alone, "app", "remove", "--yes")
	r.says(t, deviceCode)
	o = r.interrupt(t)
	o.want(t, failure, "stopped. What was changed in the tenant by then is recorded")
	if strings.Contains(o.err, "What was stored") {
		t.Errorf("nothing was to be stored:\n%s", o.err)
	}

	// Who may not take it away leaves it as it is, and reeve goes on looking after it.
	r = start(t, alone, "app", "remove", "--yes")
	e.signsIn(t, r, "pat")
	r.wait(t).want(t, signIn, "Entra ID does not let who has signed in take away the application reeve", "Application Administrator")
	history := reeve(t, alone, "cert", "history")
	history.want(t, ok)
	if !regexp.MustCompile(`mode off, since it is removed(?s:.*)mode on, since nothing could be taken away`).MatchString(history.out) {
		t.Errorf("the history is\n%s", history.out)
	}

	// And away with it.
	r = start(t, alone, "app", "remove", "--yes")
	e.signsIn(t, r, "admin")
	o = r.wait(t)
	o.want(t, ok)
	if !strings.Contains(o.out, "goes:   the application reeve") {
		t.Errorf("removal says\n%s", o.out)
	}
	if n := len(e.Directory.View(0).Applications()); n != 0 {
		t.Errorf("there are %d applications after the removal", n)
	}
	reeve(t, alone, "cert", "show").want(t, ok)
}

// An application that was there is taken by its client ID, and is left as it was.
func TestAppSetupOfAnother(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	other := e.Directory.NewApplication("worker")
	now := func() *directory.Application {
		a, _ := e.Directory.View(0).ApplicationByAppID(other.AppID)
		return a
	}
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	environ := e.cloud(t)
	r := startLong(t, environ, "app", "setup", "--config", file, "--client-id", other.AppID, "--feeds", "audit", "--yes")
	e.signsIn(t, r, "admin")
	r.says(t, regexp.MustCompile(`confirm +done`))
	e.service.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: "unavailable", Times: 1})
	o := r.wait(t)
	o.want(t, ok)
	if strings.Count(o.err, "signing in to tenant") != 1 || !regexp.MustCompile(`prove +failed .*signing in to tenant`).MatchString(o.err) {
		t.Errorf("what failed once is not told once:\n%s", o.err)
	}
	if a := now(); len(a.KeyCredentials) == 0 || len(a.RequiredResourceAccess) != 1 || len(a.Owners) != 1 {
		t.Errorf("it is %+v", a)
	}
	alone := []string{"REEVE_CONFIG=" + file}
	for title, more := range map[string][]string{"worker": nil, "another": {"--name", "another"}} {
		if o := reeve(t, alone, append([]string{"app", "consent", "--format", "markdown", "--offline"}, more...)...); o.code != 0 || !strings.Contains(strings.SplitN(o.out, "\n", 2)[0], title) {
			t.Errorf("the page is not titled %s: %.200s%s", title, o.out, o.err)
		}
	}
	r = start(t, alone, "app", "remove", "--dry-run", "--json")
	e.signsIn(t, r, "admin")
	var dry struct {
		Goes, Stays []string
		Requests    []struct{ Method, URL, Body string }
	}
	r.wait(t).decode(t, &dry)
	if len(dry.Goes) != 4 || len(dry.Stays) != 1 { // certificates, permission, declaration, owner
		t.Errorf("it would take away %q, and leave %q", dry.Goes, dry.Stays)
	}
	if len(dry.Requests) != 4 || dry.Requests[0].Body != `{"keyCredentials":[]}` {
		t.Errorf("the requests are %+v", dry.Requests)
	}
	r = start(t, alone, "app", "remove", "--yes")
	e.signsIn(t, r, "admin")
	r.wait(t).want(t, ok)
	p, _ := e.Directory.View(0).ServicePrincipalByAppID(other.AppID)
	if a := now(); len(a.KeyCredentials)+len(a.RequiredResourceAccess)+len(a.Owners)+len(e.Directory.View(0).AppRoleAssignmentsOf(p.ID)) != 0 {
		t.Errorf("afterwards it is %+v", a)
	}
}

// What cannot be done is refused with its exit code, the reason and what helps.
func TestAppSetupRefused(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	environ := e.cloud(t)
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	setup := func(code int, login string, says []string, more ...string) {
		t.Helper()
		r := start(t, environ, append([]string{"app", "setup", "--config", file, "--yes", "--feeds", "audit"}, more...)...)
		e.signsIn(t, r, login)
		r.wait(t).want(t, code, says...)
	}
	setup(failure, "admin", []string{"there is an application reeve already", "remedy: take it (--client-id " + e.Client().ClientID + ")"})
	reeve(t, environ, "app", "setup", "--yes", "--tenant-id", "11111111-1111-1111-1111-111111111111").want(t, signIn, "AADSTS90002", "Copy the tenant ID")
	reeve(t, environ, "app", "setup", "--feeds", "everything").want(t, usage, "there is no feed")
	reeve(t, append(slices.Clone(environ), "AZURE_CLIENT_ID="+e.Client().ClientID), "app", "setup", "--yes", "--tenant-id", e.ID, "--sign-in", "certificate",
		"--sign-in-client-id", e.Client().ClientID, "--sign-in-certificate", e.variables["CERT_PEM"]).want(t, usage, "AZURE_CLIENT_ID names the application", "--client-id "+e.Client().ClientID)
	reeve(t, environ, "app", "setup", "--yes", "--name", "{nobody}", "--sign-in", "certificate").want(t, usage, "--sign-in-client-id")
	answers := filepath.Join(t.TempDir(), "answers.yaml")
	if err := os.WriteFile(answers, []byte("colour: red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reeve(t, environ, "app", "setup", "--answers", answers).want(t, usage, `"colour", which is no flag`)

	// A code that somebody declines.
	r := start(t, environ, "app", "setup", "--config", file, "--yes", "--tenant-id", e.ID)
	m := deviceCode.FindStringSubmatch(r.says(t, deviceCode))
	if err := e.decline(m[1]); err != nil {
		t.Fatal(err)
	}
	r.wait(t).want(t, signIn, "AADSTS70017", "Start again, and say yes")
	// Nobody answers.
	offline := append(slices.Clone(environ), "REEVE_AUTHORITY_HOST=https://127.0.0.1:9", "REEVE_TENANT_ID="+e.ID)
	reeve(t, offline, "app", "setup", "--yes").want(t, source, "127.0.0.1:9")
	if _, err := os.Stat(file); err == nil {
		t.Error("a configuration was written")
	}
}

// What somebody else has made is found, checked and saved, by the client ID alone, and what
// is missing is named.
func TestAppDiscover(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	file := filepath.Join(t.TempDir(), "reeve.yaml")
	environ := e.cloud(t, "REEVE_TENANT_ID="+e.ID)
	args := func(more ...string) []string {
		return append([]string{"app", "discover", e.Client().ClientID, "--config", file, "--certificate", e.variables["CERT_PEM"], "--json"}, more...)
	}
	o := reeve(t, environ, args("--feeds", "audit,calls")...)
	o.want(t, check, "nothing was saved")
	if !strings.Contains(o.out, "CallRecords.Read.All") {
		t.Errorf("what is missing is not named:\n%s", o.out)
	}
	o = reeve(t, environ, args("--feeds", "audit")...)
	o.want(t, ok, "reeve cert adopt")
	if !strings.Contains(o.out, `"saved": true`) {
		t.Errorf("it says\n%s", o.out)
	}
	text := string(mustRead(t, file))
	for _, s := range []string{"client-id: " + e.Client().ClientID, "tenant-id: " + e.ID, "certificate: " + e.variables["CERT_PEM"]} {
		if !strings.Contains(text, s) {
			t.Errorf("the configuration lacks %q:\n%s", s, text)
		}
	}
	reeve(t, []string{"REEVE_CONFIG=" + file}, "token", "--claims").want(t, ok)
	reeve(t, environ, "app", "discover", "reeve", "--certificate", e.variables["CERT_PEM"]).want(t, usage, "--device-code")
}

// restrict has the tenant's policy allow certificates of 90 days at most.
func (e *emulated) restrict(t *testing.T) *emulatortest.World {
	t.Helper()
	w := &emulatortest.World{Emulator: e.service, Tenant: e.Tenant}
	if err := e.Directory.GrantRole(e.Client().ClientID, directory.Graph, "Policy.ReadWrite.ApplicationConfiguration"); err != nil {
		t.Fatal(err)
	}
	a := w.Do(t, "PATCH", w.Origins().Graph+"/v1.0/policies/defaultAppManagementPolicy",
		`{"isEnabled":true,"applicationRestrictions":{"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","maxLifetime":"P90D","restrictForAppsCreatedAfterDateTime":"2014-10-19T10:37:00Z"}]}}`,
		"Authorization", "Bearer "+w.Token(t, "https://graph.microsoft.com"), "Content-Type", "application/json")
	if a.Status != 204 {
		t.Fatalf("%d %s", a.Status, a.Text)
	}
	return w
}

// The tenant's policy shortens certificates where it can be read, and that is said.
func TestAppSetupPolicy(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	w := e.restrict(t)
	person(t, w, "Policy.Read.All") // whose consent stays
	var dry struct {
		Policy struct{ Lifetime string }
		Steps  []struct{ Step, Why string }
	}
	r := start(t, e.cloud(t), "app", "setup", "--name", "another", "--dry-run", "--json", "--config", filepath.Join(t.TempDir(), "reeve.yaml"))
	e.signsIn(t, r, "admin")
	r.wait(t).decode(t, &dry)
	said := slices.ContainsFunc(dry.Steps, func(s struct{ Step, Why string }) bool {
		return s.Step == "certificate" && strings.Contains(s.Why, "the tenant's policy allows no more")
	})
	if dry.Policy.Lifetime != "90d" || !said {
		t.Errorf("%+v", dry)
	}
}

// Where the policy cannot be read, Entra ID's refusal is told, with what helps, and the
// same command with a shorter lifetime goes on.
func TestAppSetupPolicyUnread(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	e.restrict(t)
	environ := e.cloud(t)
	args := []string{"app", "setup", "--name", "another", "--yes", "--feeds", "audit", "--config", filepath.Join(t.TempDir(), "reeve.yaml")}
	r := startLong(t, environ, args...)
	e.signsIn(t, r, "admin")
	r.wait(t).want(t, failure, "the certificate cannot be put to use", "shorten the lifetime")
	r = startLong(t, environ, append(args, "--lifetime", "60d")...)
	e.signsIn(t, r, "admin")
	r.wait(t).want(t, ok)
}

// Another application can do it without a person, if it may; what it lacks is named.
func TestAppSetupUnattended(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	grant := func(role string) {
		t.Helper()
		if err := e.Directory.GrantRole(e.Client().ClientID, directory.Graph, role); err != nil {
			t.Fatal(err)
		}
	}
	grant("Application.ReadWrite.All")
	answers := filepath.Join(t.TempDir(), "answers.yaml")
	if err := os.WriteFile(answers, []byte("tenant-id: "+e.ID+"\nfeeds: [audit]\nname: reeve of {tenant-name}\nsign-in: certificate\nsign-in-client-id: "+
		e.Client().ClientID+"\nsign-in-certificate: "+e.variables["CERT_PEM"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"app", "setup", "--answers", answers, "--dry-run", "--config", filepath.Join(t.TempDir(), "reeve.yaml")}
	reeve(t, e.cloud(t), args...).want(t, signIn, "without the permission AppRoleAssignment.ReadWrite.All", "remedy: ")
	grant("AppRoleAssignment.ReadWrite.All")
	o := reeve(t, e.cloud(t), args...)
	o.want(t, ok)
	if !strings.Contains(o.out, `"displayName":"reeve of Contoso"`) || strings.Contains(o.out, "owner") {
		t.Errorf("it says\n%s", o.out)
	}
	o = reeve(t, e.cloud(t), slices.Delete(slices.Clone(args), 4, 5)...)
	o.want(t, usage, "say --yes")
}

// decide answers the page of a device code.
func (e *emulated) decide(code string, answer url.Values) error {
	answer.Set("user_code", code)
	resp, err := e.service.HTTPClient().PostForm(e.service.Origins().Authority+"/common/oauth2/deviceauth", answer)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return fmt.Errorf("the page answers %s", resp.Status)
	}
	return nil
}

func (e *emulated) approve(code, user string) error {
	return e.decide(code, url.Values{"user": {user}, "decision": {"consent"}})
}

func (e *emulated) decline(code string) error {
	return e.decide(code, url.Values{"decision": {"decline"}})
}

// startLong is start for a run that waits for Entra ID, which takes minutes.
func startLong(t testing.TB, environ []string, args ...string) *running {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	r := &running{args: args, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.code = app.Main(ctx, args, environ, app.Streams{In: strings.NewReader(""), Out: &r.out, Err: &r.err})
	}()
	t.Cleanup(func() { r.interrupt(t) })
	return r
}

// wait waits until a run has ended by itself.
func (r *running) wait(t testing.TB) outcome {
	t.Helper()
	<-r.done // its context has an end
	return outcome{r.args, r.code, r.out.String(), r.err.String()}
}

// What a national cloud lacks is said in the plan, and nothing of the kind elsewhere.
func TestAppSetupInNationalCloud(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ emulated, cloud, says string }{
		{"usgov", "gcc-high", "apps: the apps of a person cannot be listed by an application in this cloud"},
		{"public", "public", ""},
		{"public", "custom", ""},
	} {
		e := emulateIn(t, tt.emulated, tenant.Options{})
		e.withoutReeve(t)
		r := start(t, e.cloud(t, "REEVE_CLOUD="+tt.cloud), "app", "setup", "--feeds", "audit,apps,calls", "--dry-run", "--config", filepath.Join(t.TempDir(), "reeve.yaml"))
		e.signsIn(t, r, "admin")
		o := r.wait(t)
		o.want(t, ok)
		const note = "note: In this cloud something cannot work: "
		if n := strings.Count(o.out, note); tt.says == "" && n != 0 || tt.says != "" && (n != 1 || !strings.Contains(o.out, note+tt.says)) {
			t.Errorf("%s: it does not say %q, or says more:\n%s", tt.cloud, tt.says, o.out)
		}
	}
}
