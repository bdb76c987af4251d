package certstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

const version = "0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	vault := "https://contoso.vault.azure.net"
	for in, want := range map[string]certstore.Reference{
		"reeve.pfx":                                      {Kind: certstore.KindFile, Path: "reeve.pfx"},
		" /etc/reeve/reeve.pem ":                         {Kind: certstore.KindFile, Path: "/etc/reeve/reeve.pem"},
		"file:reeve.pfx":                                 {Kind: certstore.KindFile, Path: "reeve.pfx"},
		`C:\certs\reeve.pfx`:                             {Kind: certstore.KindFile, Path: `C:\certs\reeve.pfx`},
		"keyvault:O365AdvancedAnalytics":                 {Kind: certstore.KindCertificate, Name: "O365AdvancedAnalytics"},
		"keyvault:reeve/" + version:                      {Kind: certstore.KindCertificate, Name: "reeve", Version: version},
		vault + "/certificates/reeve":                    {Kind: certstore.KindCertificate, VaultURL: vault, Name: "reeve"},
		vault + "/certificates/reeve/":                   {Kind: certstore.KindCertificate, VaultURL: vault, Name: "reeve"},
		vault + "/Certificates/reeve/" + version:         {Kind: certstore.KindCertificate, VaultURL: vault, Name: "reeve", Version: version},
		"https://127.0.0.1:8443/secrets/reeve":           {Kind: certstore.KindSecret, VaultURL: "https://127.0.0.1:8443", Name: "reeve"},
		vault + "/secrets/reeve/" + version:              {Kind: certstore.KindSecret, VaultURL: vault, Name: "reeve", Version: version},
		"HTTPS://CONTOSO.vault.azure.net/secrets/reeve/": {Kind: certstore.KindSecret, VaultURL: "https://CONTOSO.vault.azure.net", Name: "reeve"},
	} {
		got, err := certstore.ParseReference(in)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%q: error %v (-want +got):\n%s", in, err, d)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":           "is empty",
		"file:":      "names no file",
		"keyvault:":  "cannot be the name",
		"keyvault:a": "",
		"@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/reeve/)": "App Service did not resolve",
		"@microsoft.keyvault(VaultName=contoso;SecretName=reeve)":                       "App Service did not resolve",
		"http://contoso.vault.azure.net/certificates/reeve":                             "over https only",
		"https://contoso.vault.azure.net/":                                              "is not of the form",
		"https://contoso.vault.azure.net/keys/reeve":                                    "/certificates/reeve",
		"https://contoso.vault.azure.net/things/reeve":                                  "neither a certificate nor a secret",
		"https://contoso.vault.azure.net/certificates/a_b":                              "cannot be the name",
		"https://contoso.vault.azure.net/certificates/reeve/latest":                     "cannot be a version",
		"https://contoso.vault.azure.net/certificates/reeve?api-version=7.4":            "is not of the form",
	} {
		_, err := certstore.ParseReference(in)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("keyvault:reeve/" + version)
	f.Add("https://contoso.vault.azure.net/certificates/reeve")
	f.Add("@Microsoft.KeyVault(SecretUri=x)")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := certstore.ParseReference(s)
		if err == nil && r.Path == "" && r.Name == "" {
			t.Errorf("%q names nothing: %+v", s, r)
		}
	})
}

// world is an emulated tenant with a vault that its managed identity reads.
type world struct {
	*emulator.Emulator
	tenant *tenant.Tenant
	reader string // object ID of the service principal that reads the vault
	vault  *certstore.KeyVault
}

func newWorld(t *testing.T, change ...func(*tenant.Options, *emulator.Options)) *world {
	t.Helper()
	w := new(world)
	var err error
	of, o := tenant.Options{Seed: 1, Calm: true}, emulator.Options{Calm: true}
	for _, f := range change {
		f(&of, &o)
	}
	if w.tenant, err = tenant.New(of); err != nil {
		t.Fatal(err)
	}
	o.Tenant = w.tenant
	if w.Emulator, err = emulator.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	identity := w.tenant.Client()
	principal, ok := w.tenant.Directory.View(0).ServicePrincipalByAppID(identity.ClientID)
	if !ok {
		t.Fatal("the client has no service principal")
	}
	w.reader = principal.ID
	w.tenant.Vault.Allow(w.reader, "certificates/get", "certificates/list", "secrets/get")

	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: w.CA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	cloud := customCloud(t)
	cloud.AuthorityHost = w.Origins().Authority
	cred, err := m365.NewCredential(cloud, m365.SignIn{
		Method:   m365.MethodCertificate,
		TenantID: w.tenant.Domain, // the vault's challenge names the tenant by its ID
		ClientID: identity.ClientID,
		Pair:     pki.Pair{Certificate: identity.Certificate, Key: identity.Key},
	}, client)
	if err != nil {
		t.Fatal(err)
	}
	if w.vault, err = certstore.OpenKeyVault(w.Origins().Vault+"/", cloud, cred, client); err != nil {
		t.Fatal(err)
	}
	return w
}

func customCloud(t *testing.T) m365.Cloud {
	t.Helper()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	return cloud
}

func TestKeyVaultGet(t *testing.T) {
	w := newWorld(t)
	current := w.tenant.Client()
	old := w.tenant.Vault.Versions(tenant.CertificateName)[0]
	if _, err := w.tenant.Vault.Import("as-pem", keyvault.PEM, current.Certificate, current.Key); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, version string
		want          []byte
	}{
		{tenant.CertificateName, "", current.Certificate.Raw},
		{tenant.CertificateName, old.Version, old.X509.Raw},
		{"as-pem", "", current.Certificate.Raw},
	} {
		for way, get := range map[string]func() (pki.Pair, error){
			"certificate": func() (pki.Pair, error) { return w.vault.Get(t.Context(), test.name, test.version) },
			"secret":      func() (pki.Pair, error) { return w.vault.Secret(t.Context(), test.name, test.version) },
		} {
			pair, err := get()
			if err != nil {
				t.Errorf("%s %s/%s: %v", way, test.name, test.version, err)
				continue
			}
			if string(pair.Certificate.Raw) != string(test.want) || pair.CheckKey() != nil {
				t.Errorf("%s %s/%s: got %v, key %v", way, test.name, test.version, pair, pair.CheckKey())
			}
		}
	}
}

func TestKeyVaultSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *world)
		object string
		want   []string
	}{
		{"certificates/get missing", func(_ *testing.T, w *world) { w.tenant.Vault.Deny(w.reader, "certificates/get") }, tenant.CertificateName,
			[]string{"lacks certificates/get", "secrets/get for its private key"}},
		{"secrets/get missing", func(_ *testing.T, w *world) { w.tenant.Vault.Deny(w.reader, "secrets/get") }, tenant.CertificateName,
			[]string{"lacks secrets/get"}},
		{"no such certificate", func(*testing.T, *world) {}, "reeve",
			[]string{"the vault has " + tenant.CertificateName}},
		{"no such certificate, no list", func(_ *testing.T, w *world) { w.tenant.Vault.Deny(w.reader, "certificates/list") }, "reeve",
			[]string{"cannot be listed without certificates/list"}},
		{"disabled", func(t *testing.T, w *world) {
			versions := w.tenant.Vault.Versions(tenant.CertificateName)
			if err := w.tenant.Vault.SetEnabled(tenant.CertificateName, versions[len(versions)-1].Version, false); err != nil {
				t.Fatal(err)
			}
		}, tenant.CertificateName, []string{"enable it"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.change(t, w)
			pair, err := w.vault.Get(t.Context(), test.object, "")
			if err == nil {
				t.Fatalf("got %v, want an error", pair)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

// TestKeyVaultByManagedIdentity reads the certificate as the original engine does:
// in App Service, by the identity of the web app.
func TestKeyVaultByManagedIdentity(t *testing.T) {
	w := newWorld(t)
	variables, err := w.WriteClient(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variables {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "IDENTITY_") {
			t.Setenv(name, value)
		}
	}
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: w.CA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	cred, err := m365.NewCredential(customCloud(t), m365.SignIn{Method: m365.MethodManagedIdentity}, client)
	if err != nil {
		t.Fatal(err)
	}
	cloud := customCloud(t)
	cloud.AuthorityHost = w.Origins().Authority
	vault, err := certstore.OpenKeyVault(w.Origins().Vault, cloud, cred, client)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := vault.Get(t.Context(), tenant.CertificateName, "")
	if err != nil {
		t.Fatal(err)
	}
	if !pair.Certificate.Equal(w.tenant.Client().Certificate) {
		t.Errorf("got %v", pair)
	}
}

func TestKeyVaultKinds(t *testing.T) {
	w := newWorld(t)
	if _, err := w.vault.Get(t.Context(), "absent", ""); !errors.Is(err, m365.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
	w.tenant.Vault.Deny(w.reader, "certificates/get")
	if _, err := w.vault.Get(t.Context(), tenant.CertificateName, ""); !errors.Is(err, m365.ErrForbidden) {
		t.Errorf("got %v, want forbidden", err)
	}
}

type staticToken struct{}

func (staticToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestKeyVaultRefusesWhatCannotSignIn has a vault of its own, since the emulated one
// makes no such certificates.
func TestKeyVaultRefusesWhatCannotSignIn(t *testing.T) {
	w := newWorld(t)
	current, old := w.tenant.Client().Certificate, w.tenant.Vault.Versions(tenant.CertificateName)[0]
	for want, answers := range map[string]struct {
		exportable bool
		cer        []byte
		secret     string
	}{
		"may not leave the vault":   {false, current.Raw, old.Secret},
		"holds another certificate": {true, current.Raw, old.Secret},
		"neither PEM text nor":      {true, current.Raw, "a password"},
		"is empty":                  {true, current.Raw, ""},
	} {
		var server *httptest.Server
		server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			id := server.URL + strings.TrimSuffix(r.URL.Path, "/") + "/" + version
			switch {
			case r.Header.Get("Authorization") == "":
				rw.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.example/t", resource="https://vault.azure.net"`)
				rw.WriteHeader(http.StatusUnauthorized)
			case strings.HasPrefix(r.URL.Path, "/certificates/"):
				json.NewEncoder(rw).Encode(map[string]any{"id": id, "cer": answers.cer, "policy": map[string]any{"key_props": map[string]any{"exportable": answers.exportable}}})
			default:
				json.NewEncoder(rw).Encode(map[string]any{"id": id, "value": answers.secret, "contentType": keyvault.PKCS12})
			}
		}))
		vault, err := certstore.OpenKeyVault(server.URL, customCloud(t), staticToken{}, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		pair, err := vault.Get(t.Context(), "reeve", "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v and %v, want %q", pair, err, want)
		}
		server.Close()
	}
}

func TestOpenKeyVaultKeepsTheToken(t *testing.T) {
	public, err := m365.LookupCloud("public")
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{
		"https://vault.azure.net", "https://contoso.vault.azure.net.evil.example", "https://evil.example",
		"http://contoso.vault.azure.net", "contoso", "https://contoso.vault.azure.net/certificates/x", "https://u@contoso.vault.azure.net",
	} {
		if _, err := certstore.OpenKeyVault(address, public, nil, http.DefaultClient); err == nil {
			t.Errorf("%s was taken for a vault of the public cloud", address)
		}
	}
	if _, err := certstore.OpenKeyVault("https://contoso.vault.azure.net", public, nil, http.DefaultClient); err != nil {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	variables, err := w.WriteClient(dir)
	if err != nil {
		t.Fatal(err)
	}
	value := map[string]string{}
	for _, v := range variables {
		name, text, _ := strings.Cut(v, "=")
		value[name] = text
	}
	for path, password := range map[string]string{value["CERT_PEM"]: "", value["CERT_PFX"]: value["PFX_PASSWORD"]} {
		pair, err := certstore.File(path, password)
		if err != nil {
			t.Error(err)
			continue
		}
		if !pair.Certificate.Equal(w.tenant.Client().Certificate) {
			t.Errorf("%s holds %v", path, pair)
		}
	}

	if _, err := certstore.File(value["CERT_PFX"], "wrong"); err == nil || !strings.Contains(err.Error(), value["CERT_PFX"]) || !strings.Contains(err.Error(), "password") {
		t.Errorf("got %v, want the file and its password named", err)
	}
	if _, err := certstore.File(filepath.Join(dir, "absent"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
	if _, err := certstore.File(dir, ""); err == nil {
		t.Error("a folder was read")
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, pki.MaxFileSize+100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := certstore.File(large, ""); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v, want the size refused", err)
	}
}
