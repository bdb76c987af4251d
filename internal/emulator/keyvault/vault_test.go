package keyvault_test

import (
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func newTenant(t *testing.T) *tenant.Tenant {
	t.Helper()
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 3, Days: 1, PerUser: 2, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	return tn
}

func TestVaultHoldsTheClientsPair(t *testing.T) {
	tn := newTenant(t)
	client := tn.Client()
	c, ok := tn.Vault.Certificate(strings.ToLower(tenant.CertificateName), "")
	if !ok || !c.X509.Equal(client.Certificate) {
		t.Fatal("the newest version is not the client's certificate")
	}
	pfx, err := base64.StdEncoding.DecodeString(c.Secret)
	if err != nil {
		t.Fatal(err)
	}
	key, certificate, err := pkcs12.Decode(pfx, "")
	if err != nil {
		t.Fatal(err)
	}
	if !certificate.Equal(client.Certificate) || !client.Key.Equal(key.(*rsa.PrivateKey)) {
		t.Error("the secret is another pair")
	}
	versions := tn.Vault.Versions(tenant.CertificateName)
	if len(versions) != 2 || versions[0].Version == versions[1].Version || len(versions[0].Version) != 32 {
		t.Errorf("%d versions", len(versions))
	}
	if old, ok := tn.Vault.Certificate(tenant.CertificateName, strings.ToUpper(versions[0].Version)); !ok || old.X509.Equal(client.Certificate) {
		t.Error("the older version cannot be had by its name")
	}
	for _, name := range []string{"", "x"} {
		if _, ok := tn.Vault.Certificate(name, ""); ok {
			t.Errorf("there is a certificate %q", name)
		}
	}
	if _, err := tn.Vault.Import("x", "text/plain", client.Certificate, client.Key); err == nil {
		t.Error("a pair can be a secret of any content type")
	}
}

func TestVaultPermissions(t *testing.T) {
	tn := newTenant(t)
	web, ok := tn.ManagedIdentity()
	if !ok || web.ServicePrincipalType != directory.TypeManagedIdentity {
		t.Fatal("there is no managed identity")
	}
	for permission, want := range map[string]bool{"certificates/get": true, "secrets/get": true, "certificates/list": false, "secrets/list": false} {
		if tn.Vault.Allowed(web.ID, permission) != want {
			t.Errorf("the web app and %s: want %v", permission, want)
		}
	}
	tn.Vault.Deny(web.ID, "secrets/get")
	if tn.Vault.Allowed(web.ID, "secrets/get") || !tn.Vault.Allowed(web.ID, "certificates/get") {
		t.Error("Deny took away something else")
	}
	if tn.Vault.Allowed("somebody", "secrets/get") {
		t.Error("somebody may read secrets")
	}
}
