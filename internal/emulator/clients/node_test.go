package clients_test

import (
	"os"
	"path/filepath"
	"testing"
)

// testNode puts the JavaScript clients to work: @azure/msal-node,
// @azure/identity, @azure/keyvault-*, @microsoft/microsoft-graph-client and
// @azure/monitor-query-logs.
func testNode(t *testing.T, w *world) {
	installed := npm(t, "node")
	program := func(t *testing.T, name string) map[string]step {
		t.Parallel()
		c := w.command(t, "node", name)
		// Node looks for packages beside the program, and keeps to where a
		// symbolic link of a folder leads.
		if err := os.CopyFS(c.Dir, os.DirFS(filepath.Join("testdata", "node"))); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(c.Dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		if name == "public_cloud.mjs" {
			c.Env = append(c.Env, w.publicCloud(t)...)
		}
		return run(t, c)
	}
	t.Run("sign in", func(t *testing.T) {
		steps := program(t, "sign_in.mjs")
		own := w.principal(t, w.Tenant.Client().ClientID).ID
		for name, evidence := range map[string]string{"msal-node certificate": "2", "msal-node secret": "1", "identity certificate file": "2"} {
			if got := steps[name].text(t, "oid"); got != own {
				t.Errorf("%s: the token is of the object %s, want %s", name, got, own)
			}
			if got := steps[name].text(t, "appidacr"); got != evidence {
				t.Errorf("%s: appidacr is %q, want %q", name, got, evidence)
			}
		}
	})
	t.Run("graph", func(t *testing.T) {
		before := len(w.Tenant.Directory.View(0).Applications())
		steps := program(t, "graph.mjs")
		// Others add to the tenant at the same time.
		if got := steps["list every application"].number(t, "count"); got < before {
			t.Errorf("%d applications were listed, want at least %d", got, before)
		}
		if got := steps["list every application"].number(t, "pages"); got < (before+49)/50 {
			t.Errorf("there were %d pages of 50, want at least %d", got, (before+49)/50)
		}
		a := w.application(t, steps["create an application"].text(t, "id"))
		if a.AppID != steps["create an application"].text(t, "appId") || len(a.PasswordCredentials) != 0 {
			t.Errorf("the application is %+v", a)
		}
		if len(a.KeyCredentials) != 1 || a.KeyCredentials[0].KeyID != steps["register a certificate"].text(t, "keyId") ||
			!w.stranger.isIdentified(steps["register a certificate"].text(t, "customKeyIdentifier")) {
			t.Errorf("its key credentials are %+v", a.KeyCredentials)
		}
	})
	t.Run("people", func(t *testing.T) { program(t, "people.mjs") })
	t.Run("vault", func(t *testing.T) { program(t, "vault.mjs") })
	t.Run("logs", func(t *testing.T) { program(t, "logs.mjs") })
	t.Run("public cloud", func(t *testing.T) { program(t, "public_cloud.mjs") })
}
