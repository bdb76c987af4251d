package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// world is an emulated tenant in which the demo client may do everything that
// the clients are put through, and the files and variables of a client.
type world struct {
	*emulatortest.World
	dir string   // the client's files: ca.pem, client.pem, client.pfx, stranger.pem
	env []string // KEY=value

	secret   string // a client secret of the demo client
	expired  string // one that has expired
	stranger pair   // registered nowhere
}

// applications is how many there are besides those that every tenant has: more
// than Graph puts on a page.
const applications = 120

func newWorld(t *testing.T) *world {
	t.Helper()
	withProxy := func(o *emulator.Options) { o.Proxy = "127.0.0.1:0" }
	// A week of an office, so that there are visits of its pages whatever day it is.
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 20, Days: 7, PerUser: 20, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{World: emulatortest.StartTenant(t, tn, withProxy), dir: t.TempDir()}
	env, err := w.WriteClient(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	d, client, now := w.Tenant.Directory, w.Tenant.Client().ClientID, w.Tenant.Now()
	for resource, roles := range map[string][]string{
		directory.Graph: {
			"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All",
			"RoleManagement.ReadWrite.Directory", "Policy.ReadWrite.ApplicationConfiguration",
		},
		directory.ManagementAPIs: {"ActivityFeed.Read"},
	} {
		for _, role := range roles {
			if err := d.GrantRole(client, resource, role); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, collection := range []string{"certificates", "secrets", "keys"} {
		w.Tenant.Vault.Allow(w.principal(t, client).ID, collection+"/all", collection+"/purge")
	}
	for i := range applications {
		d.NewApplication(fmt.Sprintf("application %03d", i))
	}
	w.secret, w.expired = "a secret that is good", "a secret that is over"
	if _, err := d.AddPassword(client, w.secret, now.Add(-time.Hour), now.AddDate(0, 6, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddPassword(client, w.expired, now.AddDate(-1, 0, 0), now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.stranger = newPair(t, "stranger")
	strangerFile := filepath.Join(w.dir, "stranger.pem")
	if err := os.WriteFile(strangerFile, w.stranger.pem(t), 0o600); err != nil {
		t.Fatal(err)
	}
	identity, ok := w.Tenant.ManagedIdentity()
	if !ok {
		t.Fatal("the tenant has no managed identity")
	}
	w.env = append(env,
		"CLIENT_SECRET="+w.secret, "EXPIRED_SECRET="+w.expired, "STRANGER_PEM="+strangerFile,
		"MANAGED_IDENTITY="+identity.ID,
		"VAULT_HOST="+w.Tenant.Vault.Name+".vault.azure.net", "CERT_NAME="+tenant.CertificateName,
		"ADMINISTRATOR=admin@"+w.Tenant.Domain, "GRAPH_COMMAND_LINE="+directory.GraphCommandLine,
		"LOGS_QUERY=AppPageViews | order by TimeGenerated asc | take 10")
	return w
}

func (w *world) principal(t testing.TB, clientID string) *directory.ServicePrincipal {
	t.Helper()
	p, ok := w.Tenant.Directory.View(0).ServicePrincipalByAppID(clientID)
	if !ok {
		t.Fatalf("application %s has no service principal", clientID)
	}
	return p
}

// application returns an app registration as it is in the directory now.
func (w *world) application(t testing.TB, id string) *directory.Application {
	t.Helper()
	a, ok := w.Tenant.Directory.View(0).Application(id)
	if !ok {
		t.Fatalf("the directory has no application %s", id)
	}
	return a
}

// variable returns the value of a variable of the client.
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

// publicCloud returns the variables by which an SDK takes the tenant for one of
// Microsoft's public cloud. The authority host is its usual one, which the
// client's variables would otherwise take the place of.
func (w *world) publicCloud(t testing.TB) []string {
	t.Helper()
	return []string{"HTTPS_PROXY=" + w.variable(t, "PROXY_URL"), "AZURE_AUTHORITY_HOST=https://login.microsoftonline.com"}
}

// programTime is the longest that one program of a client may take.
const programTime = 2 * time.Minute

// command prepares a program of a client: it sees the client's variables and
// nothing of those of the test, and has a home directory of its own.
func (w *world) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programTime)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = t.TempDir()
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir, "LANG=C.UTF-8"}, w.env...)
	c.WaitDelay = 5 * time.Second
	return c
}

// step is a line of a program.
type step struct {
	Step   string
	OK     bool
	Error  string
	Values map[string]any
}

// text returns a value of the step that is a string.
func (s step) text(t testing.TB, name string) string {
	t.Helper()
	v, ok := s.Values[name].(string)
	if !ok {
		t.Fatalf("step %q gave %v, without a text %q", s.Step, s.Values, name)
	}
	return v
}

// number returns a value of the step that is a number.
func (s step) number(t testing.TB, name string) int {
	t.Helper()
	v, ok := s.Values[name].(float64)
	if !ok {
		t.Fatalf("step %q gave %v, without a number %q", s.Step, s.Values, name)
	}
	return int(v)
}

// run runs a program, makes a subtest of each of its steps and returns them.
func run(t *testing.T, c *exec.Cmd) map[string]step {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	steps := map[string]step{}
	lines := bufio.NewScanner(&stdout)
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil || s.Step == "" {
			t.Errorf("a line that is not a step: %s", lines.Text())
			continue
		}
		if _, twice := steps[s.Step]; twice {
			t.Errorf("step %q came twice", s.Step)
		}
		steps[s.Step] = s
		if s.Step == "end" {
			continue
		}
		t.Run(s.Step, func(t *testing.T) {
			if !s.OK {
				t.Error(s.Error)
			}
		})
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	if err != nil || !steps["end"].OK {
		t.Errorf("%s did not come to its end: %v\n%s", filepath.Base(c.Args[len(c.Args)-1]), err, stderr.String())
	}
	return steps
}

// npm returns the folder with the npm packages that a folder of testdata names.
func npm(t *testing.T, folder string) string {
	t.Helper()
	return emulatortest.NodePackages(t, filepath.Join("testdata", folder))
}
