package interop_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/pki"
)

// TestGraph registers a certificate with an application by the JSON of its key
// credential, and signs in with it, as reeve does and as azidentity does.
func TestGraph(t *testing.T) {
	w := emulatortest.Start(t, nil)
	client := w.Tenant.Client().ClientID
	if err := w.Tenant.Directory.GrantRole(client, directory.Graph, "Application.ReadWrite.All"); err != nil {
		t.Fatal(err)
	}
	token := w.Token(t, "https://graph.microsoft.com")
	pair := pairOf(t, pki.RSA2048)
	signIn := func(p pki.Pair, algorithm string) emulatortest.Answer {
		t.Helper()
		path := "/" + w.Tenant.ID + "/oauth2/v2.0/token"
		assertion, err := pki.Assertion{
			Algorithm: algorithm, Audience: w.Origins().Authority + path, ClientID: client, ID: fmt.Sprint("interop ", algorithm, time.Now().UnixNano()),
			NotBefore: w.Tenant.Now(), Expires: w.Tenant.Now().Add(5 * time.Minute),
		}.Sign(p)
		if err != nil {
			t.Fatal(err)
		}
		return w.PostForm(t, path, url.Values{
			"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {"https://graph.microsoft.com/.default"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
		})
	}
	if a := signIn(pair, pki.PS256); a.Status == http.StatusOK {
		t.Fatal("it signs in before the certificate is registered")
	}

	credential, err := pki.EncodeGraphKey(pair.Certificate, "interop")
	if err != nil {
		t.Fatal(err)
	}
	application := w.Origins().Graph + "/v1.0/applications(appId='" + client + "')"
	bearer := []string{"Authorization", "Bearer " + token, "Content-Type", "application/json"}
	if a := w.Do(t, http.MethodPatch, application, `{"keyCredentials": [`+string(credential)+`]}`, bearer...); a.Status != http.StatusNoContent {
		t.Fatalf("registering the certificate: %d %s", a.Status, a.Text)
	}
	var registered struct {
		KeyCredentials []struct {
			CustomKeyIdentifier, DisplayName, Usage string
			EndDateTime                             time.Time
			Key                                     []byte
		}
	}
	a := w.Do(t, http.MethodGet, application+"?$select=keyCredentials", "", bearer...)
	if err := json.Unmarshal([]byte(a.Text), &registered); err != nil || len(registered.KeyCredentials) != 1 {
		t.Fatalf("Graph answers %s", a.Text)
	}
	got := registered.KeyCredentials[0]
	if c, err := x509.ParseCertificate(got.Key); err != nil || !c.Equal(pair.Certificate) {
		t.Errorf("Graph holds another certificate")
	}
	if got.CustomKeyIdentifier != pki.CustomKeyIdentifier(pair.Certificate) || got.DisplayName != "interop" || got.Usage != "Verify" || !got.EndDateTime.Equal(pair.Certificate.NotAfter) {
		t.Errorf("Graph shows it as %s, %s, %s until %v", got.CustomKeyIdentifier, got.DisplayName, got.Usage, got.EndDateTime)
	}

	for _, algorithm := range []string{pki.PS256, pki.RS256} {
		if a := signIn(pair, algorithm); a.Status != http.StatusOK {
			t.Errorf("signing in by %s: %d %s", algorithm, a.Status, a.Text)
		}
	}
	// From files, as the Azure SDK reads them.
	compat, err := pki.EncodePFX(pair, pki.Compat, asciiPassword)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := pki.EncodeKey(pair.Key, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]struct {
		data     []byte
		password []byte
	}{
		"PFX": {compat, []byte(asciiPassword)},
		"PEM": {append(pki.EncodeCertificates(pair.Certificate), plain...), nil},
	} {
		certificates, key, err := azidentity.ParseCertificates(f.data, f.password)
		if err != nil {
			t.Fatal(err)
		}
		c, err := azidentity.NewClientCertificateCredential(w.Tenant.ID, client, certificates, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Transport: w.HTTPClient(),
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: w.Origins().Authority},
			},
			DisableInstanceDiscovery: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}}); err != nil {
			t.Errorf("azidentity, %s: %v", name, err)
		}
	}
}
