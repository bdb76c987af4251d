package clients_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testM365 puts the CLI for Microsoft 365 to work, through the proxy.
func testM365(t *testing.T, w *world) {
	program := filepath.Join(npm(t, "m365"), "node_modules", ".bin", "m365")
	cli := newM365(t, w, program)
	cli.signIn(w.clientID(), w.variable(t, "CERT_PEM"))

	var listed []struct{ AppID string }
	cli.answer(&listed, "entra", "app", "list")
	if n := len(w.Tenant.Directory.View(0).Applications()); len(listed) != n {
		t.Errorf("%d applications were listed, want %d", len(listed), n)
	}

	certificate := filepath.Join(t.TempDir(), "certificate.cer")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.stranger.certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var added struct{ AppID, ObjectID string }
	cli.answer(&added, "entra", "app", "add", "--name", "made by m365",
		"--certificateFile", certificate, "--certificateDisplayName", "stranger",
		"--apisApplication", "https://graph.microsoft.com/Application.Read.All", "--grantAdminConsent")
	keys := w.application(t, added.ObjectID).KeyCredentials
	if len(keys) != 1 || !bytes.Equal(keys[0].Key, w.stranger.certificate.Raw) {
		t.Fatalf("the key credentials are %+v", keys)
	}
	// The new application may list applications by what was consented to.
	other := newM365(t, w, program)
	other.signIn(added.AppID, w.variable(t, "STRANGER_PEM"))
	var got struct{ ID, AppID, DisplayName string }
	other.answer(&got, "entra", "app", "get", "--name", "made by m365")
	if got.AppID != added.AppID || got.ID != added.ObjectID {
		t.Errorf("the application is %+v, want %+v", got, added)
	}
	if _, err := other.run("entra", "app", "remove", "--appId", added.AppID, "--force"); err == nil {
		t.Error("the application removed itself without the permission to write")
	}

	uri := "api://" + added.AppID
	cli.answer(nil, "entra", "app", "set", "--appId", added.AppID, "--uris", uri)
	if uris := w.application(t, added.ObjectID).IdentifierURIs; len(uris) != 1 || uris[0] != uri {
		t.Errorf("the identifier URIs are %v, want %s", uris, uri)
	}
	cli.answer(nil, "entra", "app", "role", "add", "--appId", added.AppID, "--name", "Reader",
		"--description", "reads", "--allowedMembers", "applications", "--claim", "read")
	if roles := w.application(t, added.ObjectID).AppRoles; len(roles) != 1 || roles[0].Value != "read" {
		t.Errorf("the app roles are %+v", roles)
	}
	var roles []struct{ Value string }
	cli.answer(&roles, "entra", "app", "role", "list", "--appId", added.AppID)
	if len(roles) != 1 || roles[0].Value != "read" {
		t.Errorf("the app roles are listed as %+v", roles)
	}
	cli.answer(nil, "entra", "app", "remove", "--appId", added.AppID, "--force")
	if _, ok := w.Tenant.Directory.View(0).Application(added.ObjectID); ok {
		t.Error("the application is still there")
	}

	pfx := newM365(t, w, program)
	pfx.answer(nil, "login", "--authType", "certificate", "--certificateFile", w.variable(t, "CERT_PFX"), "--password", w.variable(t, "PFX_PASSWORD"),
		"--appId", w.clientID(), "--tenant", w.Tenant.ID)
	var token string
	pfx.answer(&token, "util", "accesstoken", "get", "--resource", "https://manage.office.com")
	if len(strings.Split(token, ".")) != 3 {
		t.Error("there is no token for the Management Activity API")
	}
	if _, err := newM365(t, w, program).run("login", "--authType", "certificate", "--certificateFile", w.variable(t, "STRANGER_PEM"),
		"--appId", w.clientID(), "--tenant", w.Tenant.ID); err == nil || !strings.Contains(err.Error(), "AADSTS700027") {
		t.Errorf("signing in with an unknown certificate: %v, want AADSTS700027", err)
	}

	// The only ready-made client of the Management Activity API that we know.
	// The first listing starts the subscription, which covers what comes after.
	var records []map[string]any
	list := []string{"purview", "auditlog", "list", "--contentType", "AzureActiveDirectory"}
	cli.answer(&records, list...)
	want := []string{"first", "second", "third"}
	for i, id := range want {
		w.Tenant.Audit.AddBlob("Audit.AzureActiveDirectory", w.Tenant.Now(),
			fmt.Appendf(nil, `[{"Id": %q, "CreationTime": "2026-01-01T00:00:0%d", "Operation": "UserLoggedIn"}]`, id, i))
	}
	before := len(records)
	cli.answer(&records, list...)
	var ids []string
	for _, r := range records {
		if id, _ := r["Id"].(string); slices.Contains(want, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if slices.Sort(want); !slices.Equal(ids, want) || len(records) < before+len(want) {
		t.Errorf("of the %d records %v are new, want %v", len(records), ids, want)
	}
}

// m365 is the CLI for Microsoft 365 with a home directory of its own: it keeps
// tokens there and would go on using them for another client.
type m365 struct {
	t       *testing.T
	w       *world
	program string
	env     []string
}

func newM365(t *testing.T, w *world, program string) m365 {
	t.Helper()
	cli := m365{t, w, program, []string{
		"HOME=" + t.TempDir(), "HTTPS_PROXY=" + w.variable(t, "PROXY_URL"), "NO_PROXY=127.0.0.1",
		"NO_UPDATE_NOTIFIER=1",
	}}
	cli.answer(nil, "cli", "config", "set", "--key", "disableTelemetry", "--value", "true")
	return cli
}

func (m m365) signIn(clientID, file string) {
	m.t.Helper()
	m.answer(nil, "login", "--authType", "certificate", "--certificateFile", file, "--appId", clientID, "--tenant", m.w.Tenant.ID)
}

// answer runs a command that must succeed and decodes what it prints into into
// unless that is nil.
func (m m365) answer(into any, args ...string) {
	m.t.Helper()
	out, err := m.run(args...)
	if err == nil && into != nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		m.t.Fatalf("m365 %s: %v", strings.Join(args, " "), err)
	}
}

// run runs a command and returns what it prints; the error holds its message.
func (m m365) run(args ...string) ([]byte, error) {
	m.t.Helper()
	c := m.w.command(m.t, m.program, append(args, "--output", "json")...)
	c.Env = append(c.Env, m.env...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s%s", err, stderr.Bytes(), stdout.Bytes())
	}
	return stdout.Bytes(), nil
}
