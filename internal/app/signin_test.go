package app_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// claims are those that tell who signed in, and how.
type claims struct {
	Application string   `json:"appid"`
	Tenant      string   `json:"tid"`
	Method      string   `json:"appidacr"` // "1" by secret, "2" by certificate
	Roles       []string `json:"roles"`
}

const (
	bySecret      = "1"
	byCertificate = "2"
)

// Each form of signing in obtains a token of the same application.
func TestSignIn(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	const secret, password = "s3cr3t-of-the-test", "correct horse"
	if _, err := e.Directory.AddPassword(e.Client().ClientID, secret, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	key, certificate := e.Client().Key, e.Client().Certificate
	stranger := issue(t, "stranger", otherKey(), time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	managedIdentity := []string{"IDENTITY_ENDPOINT=" + e.variables["IDENTITY_ENDPOINT"], "IDENTITY_HEADER=" + e.variables["IDENTITY_HEADER"]}
	vaulted := []string{
		"REEVE_TENANT_ID=" + e.ID, "REEVE_CLIENT_ID=" + e.Client().ClientID, "REEVE_VAULT_URL=" + e.variables["VAULT_URL"],
	}
	asManagedIdentity := append(vaulted, managedIdentity...)
	// By an address without version the current one is meant, not the expired
	// one that is older.
	identifier := e.variables["VAULT_URL"] + "/certificates/" + tenant.CertificateName
	versions := e.Vault.Versions(tenant.CertificateName)

	for _, tt := range []struct {
		name    string
		program bool // in a process of its own
		environ []string
		args    []string
		method  string
		says    []string
	}{
		{name: "PEM file", environ: e.client(t), method: byCertificate, says: []string{"certificate CN=reeve, thumbprint "}},
		{name: "PEM file by the Azure SDK's names", method: byCertificate, environ: e.cloud(t,
			"AZURE_TENANT_ID="+e.ID, "AZURE_CLIENT_ID="+e.Client().ClientID, "AZURE_CLIENT_CERTIFICATE_PATH="+e.variables["CERT_PEM"])},
		{name: "PFX file of the emulated tenant", method: byCertificate, environ: e.client(t,
			"REEVE_AUTH_CERTIFICATE="+e.variables["CERT_PFX"], "REEVE_AUTH_CERTIFICATE_PASSWORD="+e.variables["PFX_PASSWORD"])},
		{name: "PFX file by AES-256, password in a file", method: byCertificate, environ: e.client(t,
			"REEVE_AUTH_CERTIFICATE="+writePFX(t, password, key, certificate),
			"REEVE_AUTH_CERTIFICATE_PASSWORD_FILE="+write(t, "password", []byte(password+"\n")))},
		{name: "PFX file with several certificates, another first", method: byCertificate, environ: e.client(t,
			"REEVE_AUTH_CERTIFICATE="+writePFX(t, password, key, stranger, certificate), "AZURE_CLIENT_CERTIFICATE_PASSWORD="+password)},
		{name: "PEM file with several certificates", method: byCertificate, environ: e.client(t,
			"REEVE_AUTH_CERTIFICATE="+writePEM(t, key, stranger, certificate))},
		{name: "with the certificate sent along", method: byCertificate, environ: e.client(t, "REEVE_AUTH_SEND_CHAIN=true")},
		{name: "Key Vault by name, managed identity", program: true, method: byCertificate,
			environ: e.cloud(t, append(asManagedIdentity, "REEVE_AUTH_CERTIFICATE=keyvault:O365AdvancedAnalytics")...)},
		{name: "Key Vault by identifier, managed identity", program: true, method: byCertificate,
			environ: e.cloud(t, append(asManagedIdentity, "REEVE_AUTH_CERTIFICATE="+identifier)...)},
		{name: "Key Vault by secret identifier, managed identity", program: true, method: byCertificate,
			environ: e.cloud(t, append(asManagedIdentity, "REEVE_AUTH_CERTIFICATE="+strings.Replace(identifier, "/certificates/", "/secrets/", 1))...)},
		{name: "Key Vault by version, which is warned about", program: true, method: byCertificate,
			environ: e.cloud(t, append(asManagedIdentity, "REEVE_AUTH_CERTIFICATE="+identifier+"/"+versions[1].Version)...),
			says:    []string{"so a renewed certificate is not picked up"}},
		{name: "Key Vault, by another certificate", method: byCertificate, environ: e.cloud(t, append(vaulted,
			"REEVE_AUTH_CERTIFICATE=keyvault:O365AdvancedAnalytics", "REEVE_AUTH_VAULT_METHOD=certificate", "REEVE_AUTH_VAULT_CERTIFICATE="+e.variables["CERT_PEM"])...)},
		{name: "Key Vault, by a secret, which is warned about", method: byCertificate, environ: e.cloud(t, append(vaulted,
			"REEVE_AUTH_CERTIFICATE=keyvault:O365AdvancedAnalytics", "REEVE_AUTH_VAULT_METHOD=secret", "REEVE_AUTH_CLIENT_SECRET="+secret)...),
			says: []string{"OPENING THE KEY VAULT WITH A CLIENT SECRET"}},
		{name: "the original's settings", program: true, method: byCertificate,
			environ: e.cloud(t, append(managedIdentity, "TenantGUID="+e.ID, "ClientID="+e.Client().ClientID, "ClientSecret=forgotten",
				"UseClientCertificate=True", "KeyVaultUrl="+e.variables["VAULT_URL"]+"/", "WEBSITE_LOAD_USER_PROFILE=1")...),
			says: []string{"ClientSecret is not used: UseClientCertificate is true", "WEBSITE_LOAD_USER_PROFILE has no meaning here"}},
		{name: "the original's secret", method: bySecret,
			environ: e.cloud(t, "TenantGUID="+e.ID, "ClientID="+e.Client().ClientID, "ClientSecret="+secret, "UseClientCertificate=false"),
			says:    []string{"SIGNING IN WITH A CLIENT SECRET (environment variable ClientSecret)"}},
		{name: "a secret, which is warned about", method: bySecret,
			environ: e.client(t, "REEVE_AUTH_METHOD=secret", "REEVE_AUTH_CLIENT_SECRET_FILE="+write(t, "secret", []byte(secret))),
			says:    []string{"SIGNING IN WITH A CLIENT SECRET (environment variable REEVE_AUTH_CLIENT_SECRET_FILE"}},
		{name: "a certificate though a secret lies about", method: byCertificate,
			environ: e.client(t, "AZURE_CLIENT_SECRET="+secret), says: []string{"AZURE_CLIENT_SECRET) is not used"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run := reeve
			if tt.program {
				run = func(t testing.TB, environ []string, args ...string) outcome {
					return asProgram(t, "reeve", environ, args...)
				}
			}
			o := run(t, tt.environ, "token", "--claims")
			o.want(t, ok, tt.says...)
			var got claims
			o.decode(t, &got)
			want := claims{e.Client().ClientID, e.ID, tt.method, []string{"ActivityFeed.Read"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if tt.method == byCertificate && !strings.Contains(o.err, "until "+certificate.NotAfter.UTC().Format(time.RFC3339)) {
				t.Errorf("the certificate that signs in is not told:\n%s", o.err)
			}
		})
	}
}

// The name in a certificate, which may be another's, does not steer the terminal.
func TestTokenPrintsPlainText(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	key := otherKey()
	file := writePEM(t, key, issue(t, "a\x1b[2Jb", key, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)))
	for _, args := range [][]string{{"token"}, {"token", "--explain"}} {
		o := reeve(t, e.client(t, "REEVE_AUTH_CERTIFICATE="+file), args...)
		o.want(t, signIn, "certificate CN=a", "AADSTS700027")
		if strings.Contains(o.out+o.err, "\x1b") {
			t.Errorf("%q", o.out+o.err)
		}
	}
}

// An import goes on under each kind of place where a certificate is kept.
func TestImportWithVaultCertificate(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	environ := e.cloud(t, "TenantGUID="+e.ID, "ClientID="+e.Client().ClientID,
		"UseClientCertificate=true", "KeyVaultUrl="+e.variables["VAULT_URL"],
		"IDENTITY_ENDPOINT="+e.variables["IDENTITY_ENDPOINT"], "IDENTITY_HEADER="+e.variables["IDENTITY_HEADER"])
	o := asProgram(t, "reeve", environ, "import", "run", "--once", "--json")
	o.want(t, ok, "Signing in with a certificate.", "FinishedImportCycle",
		"auth.certificate", "keyvault:O365AdvancedAnalytics", "environment variable UseClientCertificate")
	var results []struct{ Stored int64 }
	if o.decode(t, &results); len(results) != 1 || results[0].Stored == 0 {
		t.Errorf("nothing is stored:\n%s", o.out)
	}
}

// A vault that does not give the certificate says why, and the exit code is that
// of signing in: trying again does not help.
func TestVaultRefuses(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	identity, _ := e.ManagedIdentity()
	environ := func(t testing.TB, certificate string, more ...string) []string {
		return e.client(t, append([]string{"REEVE_AUTH_CERTIFICATE=" + certificate,
			"IDENTITY_ENDPOINT=" + e.variables["IDENTITY_ENDPOINT"], "IDENTITY_HEADER=" + e.variables["IDENTITY_HEADER"]}, more...)...)
	}
	run := func(t *testing.T, environ []string, texts ...string) {
		t.Helper()
		o := asProgram(t, "reeve", environ, "import", "run", "--once")
		o.want(t, signIn, texts...)
		mustNotExist(t, databasePath(environ))
	}
	t.Run("no such certificate", func(t *testing.T) {
		run(t, environ(t, "keyvault:missing"), "reading certificate missing from the key vault", "CertificateNotFound")
	})
	t.Run("wrong identity header", func(t *testing.T) {
		run(t, environ(t, "keyvault:O365AdvancedAnalytics", "IDENTITY_HEADER=wrong"), "by managed-identity for https://vault.azure.net", "X-IDENTITY-HEADER")
	})
	t.Run("only the old version", func(t *testing.T) {
		old := e.Vault.Versions(tenant.CertificateName)[0]
		run(t, environ(t, "keyvault:O365AdvancedAnalytics/"+old.Version), "cannot sign in", "expired on", "make a new one")
	})
	t.Run("no permission for the private key", func(t *testing.T) {
		e.Vault.Deny(identity.ID, "secrets/get")
		defer e.Vault.Allow(identity.ID, "secrets/get")
		run(t, environ(t, "keyvault:O365AdvancedAnalytics"), "lacks secrets/get", "its access policy needs certificates/get for the certificate and secrets/get for its private key")
	})
	t.Run("no permission at all", func(t *testing.T) {
		e.Vault.Deny(identity.ID, "certificates/get")
		defer e.Vault.Allow(identity.ID, "certificates/get")
		run(t, environ(t, "keyvault:O365AdvancedAnalytics"), "lacks certificates/get")
	})
	t.Run("disabled", func(t *testing.T) {
		version := e.Vault.Versions(tenant.CertificateName)[1].Version
		if err := e.Vault.SetEnabled(tenant.CertificateName, version, false); err != nil {
			t.Fatal(err)
		}
		defer e.Vault.SetEnabled(tenant.CertificateName, version, true)
		run(t, environ(t, "keyvault:O365AdvancedAnalytics"), "disabled", "enable it, or make a new version")
	})
	t.Run("address of another kind of thing", func(t *testing.T) {
		u, err := url.Parse(e.variables["VAULT_URL"])
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/keys/O365AdvancedAnalytics"
		o := reeve(t, environ(t, u.String()), "import", "run", "--once")
		o.want(t, configuration, "auth.certificate", "https://VAULT/certificates/NAME")
	})
}
