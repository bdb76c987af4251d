package emulator_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
)

// azureOptions point a client of the Azure SDK at the emulator.
func azureOptions(e *emulatortest.World) azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: e.Origins().Authority, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{}},
		Transport: e.HTTPClient(),
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

// mustSignIn signs the demo client in with the pair in a file, and returns the
// pair.
func mustSignIn(t *testing.T, w *emulatortest.World, file string) (chain []*x509.Certificate, key crypto.PrivateKey) {
	t.Helper()
	pair, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err = azidentity.ParseCertificates(pair, nil)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := azidentity.NewClientCertificateCredential(w.Tenant.ID, w.Tenant.Client().ClientID, chain, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: azureOptions(w), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://manage.office.com/.default"}}); err != nil {
		t.Error(err)
	}
	return chain, key
}

func TestWriteClient(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	dir := filepath.Join(t.TempDir(), "a client")
	variables, err := e.WriteClient(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	values := map[string]string{}
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		names = append(names, name)
		values[name] = value
	}
	want := strings.Fields(`AUTHORITY_HOST GRAPH_BASE VAULT_URL MANAGE_BASE LOGS_BASE RESOURCES_BASE TENANT_ID CLIENT_ID CERT_PEM CERT_PFX
		PFX_PASSWORD CA_PEM AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_CERTIFICATE_PATH AZURE_AUTHORITY_HOST
		IDENTITY_ENDPOINT IDENTITY_HEADER REEVE_CLOUD REEVE_AUTHORITY_HOST REEVE_GRAPH_ENDPOINT REEVE_MANAGE_ENDPOINT
		REEVE_LOGS_ENDPOINT REEVE_RESOURCES_ENDPOINT REEVE_VAULT_URL REEVE_CA_FILE SSL_CERT_FILE NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE REQUESTS_CA_BUNDLE
		LOGS_WORKSPACE_ID APP_INSIGHTS_ID CONTROL_URL CONTROL_TOKEN`)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}

	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%v, %d files", err, len(entries))
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, mode %v", entry.Name(), err, info.Mode())
		}
	}

	chain, key := mustSignIn(t, e, values["CERT_PEM"])
	pfx, err := os.ReadFile(values["CERT_PFX"])
	if err != nil {
		t.Fatal(err)
	}
	pfxKey, pfxCertificate, err := pkcs12.Decode(pfx, values["PFX_PASSWORD"])
	if err != nil {
		t.Fatal(err)
	}
	if !pfxCertificate.Equal(chain[0]) || !key.(*rsa.PrivateKey).Equal(pfxKey) {
		t.Error("client.pfx and client.pem are not the same pair")
	}
	if ca, err := os.ReadFile(values["CA_PEM"]); err != nil || string(ca) != string(e.CA()) {
		t.Errorf("ca.pem: %v", err)
	}
}

func TestShellExports(t *testing.T) {
	variables := []string{"A=plain", "B=it's $HOME `id` \"x\" \\ & ;", "C=", "D=a=b\nc"}
	script := emulator.ShellExports(variables)
	if !strings.HasPrefix(script, "export A='plain'\nexport B='it'\\''s ") {
		t.Errorf("the script is %q", script)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell to read the script")
	}
	out, err := exec.Command(sh, "-c", script+`printf '%s|%s|%s|%s' "$A" "$B" "$C" "$D"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "plain|it's $HOME `id` \"x\" \\ & ;||a=b\nc"; string(out) != want {
		t.Errorf("the shell reads %q, want %q", out, want)
	}
}
