package certstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/m365"
)

func TestParseTarget(t *testing.T) {
	vault := "https://contoso.vault.azure.net"
	for in, want := range map[string]certstore.TargetReference{
		"keyvault:" + vault + "/certificates/app":            {Kind: certstore.TargetKeyVault, VaultURL: vault, Name: "app"},
		"keyvault:" + vault + "/certificates/app,format=pem": {Kind: certstore.TargetKeyVault, VaultURL: vault, Name: "app", PEM: true},
		"keyvault:app":                                         {Kind: certstore.TargetKeyVault, Name: "app"},
		"directory:/etc/app/cert":                              {Kind: certstore.TargetDirectory, Path: "/etc/app/cert", Mode: 0o600},
		"directory:/etc/app/cert,mode=0400":                    {Kind: certstore.TargetDirectory, Path: "/etc/app/cert", Mode: 0o400},
		"directory:/etc/app/cert,mode=0640,group=app":          {Kind: certstore.TargetDirectory, Path: "/etc/app/cert", Mode: 0o640, Group: "app"},
		"directory:/c,mode=0440,group=7,password-file=/secret": {Kind: certstore.TargetDirectory, Path: "/c", Mode: 0o440, Group: "7", PasswordFile: "/secret"},
	} {
		got, err := certstore.ParseTarget(in)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%q: error %v (-want +got):\n%s", in, err, d)
		}
		if got.String() != in {
			t.Errorf("%q prints as %q", in, got)
		}
	}
	if r, err := certstore.ParseTarget("directory:/etc/app/../cert/,group=app,mode=640"); err != nil || r.String() != "directory:/etc/cert,mode=0640,group=app" {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestParseTargetRefuses(t *testing.T) {
	vault := "keyvault:https://contoso.vault.azure.net"
	for in, want := range map[string]string{
		"":                                       "names no kind",
		"/etc/app":                               "names no kind",
		"https://contoso.vault.azure.net/x":      "is not known",
		"file:/etc/app":                          "is not known",
		vault + "/secrets/app":                   "is a secret",
		vault + "/certificates/app/" + version:   "leave the version out",
		vault + "/certificates/a_b":              "cannot be the name",
		"keyvault:":                              "cannot be the name",
		"keyvault:http://contoso/certificates/a": "not over https",
		"keyvault:app,format=der":                "format=pfx",
		"keyvault:app,mode=0640":                 "leave it out",
		"keyvault:app,format":                    "name=value",
		"directory:":                             "from the root",
		"directory:etc/app":                      "from the root",
		"directory:/":                            "is the root",
		"directory:/a,b":                         "cannot have a comma",
		"directory:/a,mode=0644":                 "nobody else's",
		"directory:/a,mode=0200":                 "nobody else's",
		"directory:/a,mode=rw":                   "nobody else's",
		"directory:/a,mode=0640":                 "add group",
		"directory:/a,mode=0600,group=app":       "mode=0640",
		"directory:/a,group=a,group=b":           "twice",
		"directory:/a,colour=red":                "leave it out",
		"directory:/a,password-file=x":           "from the root",
	} {
		_, err := certstore.ParseTarget(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

// A token is shown to no vault that is not the cloud's.
func TestTargetOfAForeignVault(t *testing.T) {
	public, err := m365.LookupCloud("public")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"keyvault:https://contoso.vault.azure.net/certificates/a": "",
		"keyvault:a": "",
		"keyvault:https://evil.example.com/certificates/a":            "is not below vault.azure.net",
		"keyvault:https://vault.azure.net.example.com/certificates/a": "is not below vault.azure.net",
	} {
		r, err := certstore.ParseTarget(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(public); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
		if err := r.Check(m365.Cloud{Name: m365.Custom, AuthorityHost: "https://127.0.0.1/"}); err != nil {
			t.Errorf("%s in a custom cloud: %v", name, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("keyvault:https://contoso.vault.azure.net/certificates/reeve,format=pem")
	f.Add("directory:/etc/app,mode=0640,group=app,password-file=/p")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := certstore.ParseTarget(s)
		if err != nil {
			return
		}
		again, err := certstore.ParseTarget(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %+v, which reads as %+v, %v", s, r, again, err)
		}
	})
}

func openTarget(t *testing.T, reference string, vault *certstore.KeyVault, notice func(string)) certstore.Target {
	t.Helper()
	r, err := certstore.ParseTarget(reference)
	if err != nil {
		t.Fatal(err)
	}
	target, err := r.Open(certstore.TargetOptions{Vault: vault, Notice: notice})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestForget takes a credential away from a place: the current one stays unless it is meant
// too, and nobody else's goes.
func TestForget(t *testing.T) {
	w := manager(t)
	dir := t.TempDir()
	for _, name := range []string{"keyvault:" + w.Origins().Vault + "/certificates/left", "directory:" + dir} {
		target := openTarget(t, name, w.vault, func(string) {})
		other := publication(1, made()[0])
		other.CredentialID = "another"
		mustPublish(t, target, other)
		ours := publication(2, made()[1])
		mustPublish(t, target, ours)
		forget := func(id string, current bool) {
			t.Helper()
			for range 2 { // it can be repeated
				if err := target.Forget(t.Context(), id, current); err != nil {
					t.Fatal(err)
				}
			}
		}
		forget("nobody's", true)
		forget(ours.CredentialID, false)
		wantPublished(t, target, ours.Pair)
		forget(other.CredentialID, true)
		wantPublished(t, target, ours.Pair)
		forget(ours.CredentialID, true)
		if got, err := target.Published(t.Context()); err == nil {
			t.Errorf("%s still has %v", name, got)
		}
	}
	for _, v := range w.tenant.Vault.Versions("left") {
		if v.Enabled {
			t.Errorf("version %s can still be used", v.Version)
		}
	}
	for file := range tree(t, dir) {
		if strings.HasSuffix(file, ".pem") {
			t.Errorf("%s is still there", file)
		}
	}
	// Killed between the two: what nothing leads to goes the next time.
	target := openTarget(t, "directory:"+dir, w.vault, func(string) {})
	mustPublish(t, target, publication(3, made()[0]))
	if err := os.Remove(filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	if err := target.Forget(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "generation-*")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}
