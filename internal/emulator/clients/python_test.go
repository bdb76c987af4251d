package clients_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// python is Debian's own, which alone sees Debian's packages.
const python = "/usr/bin/python3"

func needsPython(t *testing.T) {
	t.Helper()
	if err := exec.Command(python, "-c", "import azure.identity, azure.keyvault.certificates, azure.monitor.query, msal").Run(); err != nil {
		t.Skip("python3-azure and python3-msal are not installed; ./test installs them")
	}
}

// testPython puts the Python clients to work: msal, azure.identity,
// azure.keyvault and azure.monitor.query.
func testPython(t *testing.T, w *world) {
	program := func(t *testing.T, name string) map[string]step {
		t.Parallel()
		file, err := filepath.Abs(filepath.Join("testdata", "python", name))
		if err != nil {
			t.Fatal(err)
		}
		// -B: no cache of compiled files in the repository.
		c := w.command(t, python, "-B", file)
		if name == "public_cloud.py" {
			c.Env = append(c.Env, w.publicCloud(t)...)
		}
		return run(t, c)
	}
	t.Run("sign in", func(t *testing.T) {
		steps := program(t, "sign_in.py")
		own := w.principal(t, w.Tenant.Client().ClientID).ID
		for name, evidence := range map[string]string{"msal certificate": "2", "msal secret": "1", "identity certificate from PFX": "2"} {
			if got := steps[name].text(t, "oid"); got != own {
				t.Errorf("%s: the token is of the object %s, want %s", name, got, own)
			}
			if got := steps[name].text(t, "appidacr"); got != evidence {
				t.Errorf("%s: appidacr is %q, want %q", name, got, evidence)
			}
		}
	})
	t.Run("people", func(t *testing.T) { program(t, "people.py") })
	t.Run("vault", func(t *testing.T) { program(t, "vault.py") })
	t.Run("public cloud", func(t *testing.T) { program(t, "public_cloud.py") })
}
