package handout_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/resources"
	"github.com/reeve365/reeve/internal/handout"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
)

// name is one that a script must not trip over.
const name = "O'Brien \"x\" $(touch pwned) ${HOME} %{z} `touch pwned` \\ ‘q’ <b>&| #> ''' @$_ -- é"

// world is an emulated tenant with an administrator's application, and a machine from
// which an administrator's tools reach it.
type world struct {
	*emulatortest.World
	env   []string
	pair  pki.Pair
	order handout.Order
	dir   string
}

func newWorld(t *testing.T, change ...func(*emulator.Options)) *world {
	t.Helper()
	change = append(change, func(o *emulator.Options) { o.Proxy = "127.0.0.1:0" })
	w := &world{World: emulatortest.Start(t, nil, change...), dir: t.TempDir()}
	client, err := w.WriteClient(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(client, "PATH="+os.Getenv("PATH"), "LANG=C.UTF-8", "HOME="+t.TempDir(), "HTTPS_PROXY="+w.Proxy(), "NO_PROXY=127.0.0.1", "PAUSE=1")
	for _, role := range []string{"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "RoleManagement.ReadWrite.Directory"} {
		if err := w.Tenant.Directory.GrantRole(w.Tenant.Client().ClientID, directory.Graph, role); err != nil {
			t.Fatal(err)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := w.Tenant.Now()
	w.pair, err = pki.SelfSign(key, pki.Template{Subject: pkix.Name{CommonName: "reeve"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 18, 0)})
	if err != nil {
		t.Fatal(err)
	}
	w.order = handout.Order{
		Cloud: "public", Authority: "https://login.microsoftonline.com", Graph: "https://graph.microsoft.com", TenantID: w.Tenant.ID,
		Name: name, UniqueName: "reeve-0123456789abcdef", Certificate: w.pair.Certificate,
	}
	for _, name := range []string{"audit", "calls"} {
		f, err := permission.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		w.order.Feeds = append(w.order.Feeds, f)
	}
	return w
}

// command prepares a program; it is ended after some minutes.
func (w *world) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env, c.WaitDelay = w.dir, w.env, 5*time.Second
	return c
}

// script writes the script of a format.
func (w *world) script(t *testing.T, f handout.Format) string {
	t.Helper()
	text, err := handout.Script(w.order, f)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, f.File())
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// run runs a script, which has to end well.
func (w *world) run(t *testing.T, f handout.Format) string {
	t.Helper()
	c := w.command(t, "sh", w.script(t, f))
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.Bytes())
	}
	return string(out)
}

func (w *world) named() []*directory.Application {
	return slices.DeleteFunc(slices.Clone(w.Tenant.Directory.View(0).Applications()), func(a *directory.Application) bool { return a.DisplayName != name })
}

// check looks at the tenant: there is what was ordered, and nothing else.
func (w *world) check(t *testing.T, out string, foreign ...[]byte) *directory.Application {
	t.Helper()
	view := w.Tenant.Directory.View(0)
	all := w.named()
	if len(all) != 1 {
		t.Fatalf("%d applications have the name\n%s", len(all), out)
	}
	app := all[0]
	for _, want := range []string{w.Tenant.ID, app.AppID, "reeve app discover " + app.AppID} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	var keys [][]byte
	for _, k := range app.KeyCredentials {
		keys = append(keys, k.Key)
		if bytes.Equal(k.Key, w.pair.Certificate.Raw) && k.EndDateTime.Sub(w.pair.Certificate.NotAfter).Abs() > time.Minute {
			t.Errorf("the key credential ends at %v, and the certificate at %v", k.EndDateTime, w.pair.Certificate.NotAfter)
		}
	}
	want := append(slices.Clone(foreign), w.pair.Certificate.Raw)
	slices.SortFunc(keys, bytes.Compare)
	slices.SortFunc(want, bytes.Compare)
	if !slices.EqualFunc(keys, want, bytes.Equal) {
		t.Errorf("there are %d certificates, want %d", len(keys), len(want))
	}
	if len(app.PasswordCredentials) != 0 || app.SignInAudience != "AzureADMyOrg" {
		t.Errorf("secrets %d, audience %s", len(app.PasswordCredentials), app.SignInAudience)
	}
	sp, ok := view.ServicePrincipalByAppID(app.AppID)
	if !ok {
		t.Fatal("there is no service principal")
	}
	var asked, given, ordered []string
	for _, r := range app.RequiredResourceAccess {
		for _, a := range r.Access {
			asked = append(asked, r.ResourceAppID+" "+a.ID+" "+a.Type)
		}
	}
	for _, a := range view.AppRoleAssignmentsOf(sp.ID) {
		resource, _ := view.ServicePrincipal(a.ResourceID)
		given = append(given, resource.AppID+" "+a.AppRoleID+" Role")
	}
	for _, u := range permission.Uses(w.order.Feeds, w.order.Optional) {
		ordered = append(ordered, u.API.AppID+" "+u.ID+" Role")
	}
	slices.Sort(ordered)
	for what, got := range map[string][]string{"asked for": asked, "given": given} {
		if slices.Sort(got); !slices.Equal(got, ordered) {
			t.Errorf("%s: %q, want %q", what, got, ordered)
		}
	}
	var roles []string
	if w.order.Role != nil {
		roles = []string{w.order.Role.ID}
	}
	if got := view.DirectoryRoles(sp.ID); !slices.Equal(got, roles) {
		t.Errorf("directory roles %q, want %q", got, roles)
	}
	if files, _ := filepath.Glob(filepath.Join(w.dir, "pwned*")); len(files) > 0 {
		t.Error("the name of the application was executed")
	}

	// The proof: a token, got with the certificate, that has the permissions.
	endpoint := w.Origins().Authority + "/" + w.Tenant.ID + "/oauth2/v2.0/token"
	assertion, err := pki.Assertion{Algorithm: pki.PS256, Audience: endpoint, ClientID: app.AppID, ID: rand.Text(), NotBefore: w.Tenant.Now().Add(-time.Minute), Expires: w.Tenant.Now().Add(5 * time.Minute)}.Sign(w.pair)
	if err != nil {
		t.Fatal(err)
	}
	a := w.PostForm(t, "/"+w.Tenant.ID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {app.AppID}, "scope": {"https://manage.office.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	})
	token, _ := a.Body["access_token"].(string)
	if a.Status != 200 || token == "" {
		t.Fatalf("no token: %d %s", a.Status, a.Text)
	}
	return app
}

// twice runs a script, lets somebody else add a certificate, and runs it again.
func (w *world) twice(t *testing.T, f handout.Format, first string) {
	t.Helper()
	app := w.check(t, first)
	now := w.Tenant.Now()
	other := w.Tenant.Client().Certificate.Raw
	if _, err := w.Tenant.Directory.AddKeyCredential(app.AppID, other, now.Add(-time.Minute), now.AddDate(0, 1, 0)); err != nil {
		t.Fatal(err)
	}
	again := w.check(t, w.run(t, f), other)
	if again.ID != app.ID {
		t.Errorf("the second run took another application: %s, %s", app.ID, again.ID)
	}
	for _, k := range app.KeyCredentials {
		if !slices.ContainsFunc(again.KeyCredentials, func(x directory.KeyCredential) bool { return x.KeyID == k.KeyID }) {
			t.Errorf("the certificate has another key ID after the second run")
		}
	}
}

// refuses runs a script in a tenant where somebody has an application of that name.
func (w *world) refuses(t *testing.T, f handout.Format) {
	t.Helper()
	w.order.UniqueName += "-other"
	out, err := w.command(t, "sh", w.script(t, f)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another application of this name") || len(w.named()) != 1 {
		t.Errorf("beside another application of the name: %v, %d applications\n%s", err, len(w.named()), out)
	}
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("tools of others take their time")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed; ./test installs it", p)
		}
	}
}

// A person signs in by device code and runs the script; the second time it is given a token.
func TestHTTP(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "jq")
	w := newWorld(t)
	c := w.command(t, "sh", w.script(t, handout.HTTP))
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdout, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	userCode := regexp.MustCompile(`enter the code ([A-Z0-9]{8,9})`)
	var out strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Fprintln(&out, lines.Text())
		if m := userCode.FindStringSubmatch(lines.Text()); m != nil {
			a := w.Do(t, "POST", w.Origins().Control+"/devicecodes/"+m[1]+"/approve", `{"user":"admin@`+w.Tenant.Domain+`"}`, "Authorization", "Bearer "+w.Control())
			if a.Status != 204 {
				t.Fatalf("approving: %d %s", a.Status, a.Text)
			}
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), stderr.Bytes())
	}
	w.env = append(w.env, "TOKEN="+w.Token(t, "https://graph.microsoft.com"))
	w.twice(t, handout.HTTP, out.String())

	t.Run("with a directory role", func(t *testing.T) {
		w.order.Role = &handout.Roles()[0]
		other := w.Tenant.Client().Certificate.Raw
		w.check(t, w.run(t, handout.HTTP), other)
		w.check(t, w.run(t, handout.HTTP), other)
	})
	t.Run("a permission by another name", func(t *testing.T) {
		moved := *w
		moved.order.Feeds = slices.Clone(w.order.Feeds)
		audit := &moved.order.Feeds[0]
		audit.Needs = slices.Clone(audit.Needs)
		audit.Needs[0].Name = "ActivityFeed.Write"
		out, err := moved.command(t, "sh", moved.script(t, handout.HTTP)).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "is called 'ActivityFeed.Read' here") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("another tenant", func(t *testing.T) {
		moved := *w
		moved.order.TenantID = "2f7d5a1e-0b64-4f7a-9d0f-6c1f9a3b7e21"
		out, err := moved.command(t, "sh", moved.script(t, handout.HTTP)).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "The token is for the tenant "+w.Tenant.ID) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("a name that is taken", func(t *testing.T) { w.refuses(t, handout.HTTP) })
}

// Where what was made is seen later, the script waits; so it does for two writers.
func TestHTTPWithDelays(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "jq")
	w := newWorld(t, func(o *emulator.Options) {
		o.Calm = false
		o.Delays = &origin.Delays{Reads: origin.Range{Least: 2 * time.Second, Most: 3 * time.Second}}
	})
	w.Tenant.Directory.Settle()
	w.env = append(w.env, "TOKEN="+w.Token(t, "https://graph.microsoft.com"))
	out := w.run(t, handout.HTTP)
	if !strings.Contains(out, "not everywhere yet") {
		t.Errorf("nothing came late:\n%s", out)
	}
	w.Tenant.Directory.Settle()
	w.check(t, out)
	w.check(t, w.run(t, handout.HTTP))
}

func TestAzureCLI(t *testing.T) {
	t.Parallel()
	needs(t, "az")
	w := newWorld(t)
	if err := w.Grant(w.Tenant.Client().ClientID, "resources/Owner"); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "AZURE_CONFIG_DIR="+t.TempDir(), "AZURE_CORE_COLLECT_TELEMETRY=no", "AZURE_CORE_ONLY_SHOW_ERRORS=yes")
	w.env = slices.DeleteFunc(w.env, func(s string) bool { return strings.HasPrefix(s, "AZURE_AUTHORITY_HOST=") })
	signIn := w.command(t, "az", "login", "--service-principal", "--allow-no-subscriptions", "--tenant", w.Tenant.ID, "-u", w.Tenant.Client().ClientID, "-p", w.variable(t, "CERT_PEM"))
	if out, err := signIn.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	reader, ok := w.Tenant.Directory.View(0).ServicePrincipalByAppID(directory.LogAnalytics)
	if !ok {
		t.Fatal("there is no principal that could read the vault")
	}
	vault := w.Tenant.Vault
	others := vault.Settings().Policies
	w.order.Role = &handout.Roles()[1]
	w.order.Vault = &handout.Vault{Name: vault.Name, URL: "https://" + vault.Name + ".vault.azure.net", Certificate: "reeve", Reader: reader.ID}
	w.twice(t, handout.AzureCLI, w.run(t, handout.AzureCLI))
	policies := vault.Settings().Policies
	if got := policies[reader.ID]; !slices.Equal(got, []string{"certificates/get", "secrets/get"}) {
		t.Errorf("the access policy is %v", got)
	}
	delete(policies, reader.ID)
	if !maps.EqualFunc(policies, others, slices.Equal) {
		t.Errorf("access policies of others: %v, were %v", policies, others)
	}
	w.assignsRole(t, reader.ID)
	w.refuses(t, handout.AzureCLI)
}

// assignsRole runs the script for a vault that goes by roles. The emulated Resource Manager
// knows no scope below a vault, so that the vault stands in for the certificate and for
// the secret: the role for the second is there already.
func (w *world) assignsRole(t *testing.T, reader string) {
	t.Helper()
	vault := w.Tenant.Vault
	vault.UseRBAC()
	w.order.Vault.Reader = strings.ToUpper(reader) // as people paste it
	file := w.script(t, handout.AzureCLI)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.Replace(string(text), `"$vault/$1/reeve/providers`, `"$vault/providers`, 1)
	if whole == string(text) {
		t.Fatal("the script assigns no role below the vault")
	}
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := w.command(t, "sh", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the role for secrets/reeve: it is there") {
		t.Fatalf("%v\n%s", err, out)
	}
	role, _ := resources.RoleID("Key Vault Certificate User")
	given := slices.DeleteFunc(vault.RoleAssignments(), func(a keyvault.RoleAssignment) bool { return a.ObjectID != reader })
	if len(given) != 1 || given[0].Role != role {
		t.Errorf("the role assignments are %+v, want one of the role %s", given, role)
	}
}

func TestM365CLI(t *testing.T) {
	t.Parallel()
	needs(t, "node")
	bin := filepath.Join(emulatortest.NodePackages(t, filepath.Join("..", "emulator", "clients", "testdata", "m365")), "node_modules", ".bin")
	w := newWorld(t)
	w.env = append(w.env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "NO_UPDATE_NOTIFIER=1")
	for _, args := range [][]string{
		{"cli", "config", "set", "--key", "disableTelemetry", "--value", "true"},
		{"login", "--authType", "certificate", "--certificateFile", w.variable(t, "CERT_PEM"), "--appId", w.Tenant.Client().ClientID, "--tenant", w.Tenant.ID},
	} {
		if out, err := w.command(t, filepath.Join(bin, "m365"), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	w.order.Role = &handout.Roles()[1]
	w.twice(t, handout.M365CLI, w.run(t, handout.M365CLI))
	w.refuses(t, handout.M365CLI)
}

// TestShells has a linter read what shells run, with nothing that it warns of.
func TestShells(t *testing.T) {
	t.Parallel()
	needs(t, "shellcheck")
	w := newWorld(t)
	w.order.Vault = &handout.Vault{Name: "contoso", URL: "https://contoso.vault.azure.net", Certificate: "reeve", Reader: w.Tenant.ID}
	for _, f := range []handout.Format{handout.HTTP, handout.AzureCLI, handout.M365CLI} {
		// SC2016: single quotes keep a name's $ from meaning anything, as they should.
		// SC1112: a name's typographic quotes are meant.
		if out, err := w.command(t, "shellcheck", "--shell=sh", "--exclude=SC2016,SC1112", w.script(t, f)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
}

// TestParsers has parsers of others read what is not run.
func TestParsers(t *testing.T) {
	t.Parallel()
	needs(t, "node")
	packages := emulatortest.NodePackages(t, filepath.Join("testdata", "parsers"))
	program, err := filepath.Abs(filepath.Join("testdata", "parsers", "parse.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.env = append(w.env, "PACKAGES="+packages)
	w.order.Role = &handout.Roles()[0]
	for _, certificate := range []bool{true, false} {
		if !certificate {
			w.order.Certificate = nil
		}
		if out, err := w.command(t, "node", program, w.script(t, handout.PowerShell), w.script(t, handout.Bicep)).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	broken := filepath.Join(w.dir, "broken.ps1")
	if err := os.WriteFile(broken, []byte("$a = 'it isn't'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := w.command(t, "node", program, broken).CombinedOutput(); err == nil {
		t.Errorf("the parser lets everything pass: %s", out)
	}
}

// TestTerraform has Terraform read and lay out its file, without the provider.
func TestTerraform(t *testing.T) {
	t.Parallel()
	needs(t, "terraform")
	w := newWorld(t)
	w.order.Feeds, w.order.Optional, w.order.Role = permission.Feeds(), true, &handout.Roles()[0]
	for _, certificate := range []bool{true, false} {
		if !certificate {
			w.order.Certificate = nil
		}
		if out, err := w.command(t, "terraform", "fmt", "-check", "-diff", "-no-color", w.script(t, handout.Terraform)).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	// What it makes of the name, it says itself.
	text, err := os.ReadFile(filepath.Join(w.dir, handout.Terraform.File()))
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`display_name\s+= (".*")`).FindSubmatch(text)
	if literal == nil {
		t.Fatal("there is no name")
	}
	c := w.command(t, "terraform", "console")
	c.Dir, c.Stdin = t.TempDir(), strings.NewReader("jsonencode("+string(literal[1])+")\n")
	out, err := c.Output()
	var once, got string
	if err == nil {
		err = json.Unmarshal(bytes.TrimSpace(out), &once)
	}
	if err == nil {
		err = json.Unmarshal([]byte(once), &got)
	}
	if err != nil || got != name {
		t.Errorf("the name is read as %q: %v\n%s", got, err, out)
	}
}

func (w *world) variable(t testing.TB, name string) string {
	t.Helper()
	for _, v := range w.env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	t.Fatalf("there is no variable %s", name)
	return ""
}
