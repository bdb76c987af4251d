package keyvault_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func azureOptions(e *emulatortest.World) azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: e.Origins().Authority, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{}},
		Transport: e.HTTPClient(),
		Retry:     policy.RetryOptions{MaxRetries: -1},
	}
}

// mustCredential returns the demo client's certificate as the SDKs want it.
func mustCredential(t *testing.T, e *emulatortest.World) azcore.TokenCredential {
	t.Helper()
	client := e.Tenant.Client()
	credential, err := azidentity.NewClientCertificateCredential(e.Tenant.ID, client.ClientID,
		[]*x509.Certificate{client.Certificate}, client.Key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: azureOptions(e), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// vaultClients returns clients of the Azure SDK for the vault.
func vaultClients(t *testing.T, e *emulatortest.World, c azcore.TokenCredential) (*azcertificates.Client, *azsecrets.Client) {
	t.Helper()
	certificates, err := azcertificates.NewClient(e.Origins().Vault, c, &azcertificates.ClientOptions{
		ClientOptions: azureOptions(e), DisableChallengeResourceVerification: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := azsecrets.NewClient(e.Origins().Vault, c, &azsecrets.ClientOptions{
		ClientOptions: azureOptions(e), DisableChallengeResourceVerification: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return certificates, secrets
}

func TestAzureSDKReadsTheVault(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	ctx := context.Background()
	client := e.Tenant.Client()
	certificates, secrets := vaultClients(t, e, mustCredential(t, e))

	c, err := certificates.GetCertificate(ctx, tenant.CertificateName, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.CER, client.Certificate.Raw) || !bytes.Equal(c.X509Thumbprint, directory.Thumbprint(client.Certificate.Raw)) {
		t.Error("the newest version is not the client's certificate")
	}
	if !c.Attributes.Expires.Equal(client.Certificate.NotAfter) || c.SID.Version() != c.ID.Version() || !strings.HasPrefix(string(*c.ID), e.Origins().Vault) {
		t.Errorf("certificate %s expires %s", *c.ID, c.Attributes.Expires)
	}
	s, err := secrets.GetSecret(ctx, c.SID.Name(), c.SID.Version(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := base64.StdEncoding.DecodeString(*s.Value)
	if err != nil {
		t.Fatal(err)
	}
	// As Microsoft's samples do.
	chain, key, err := azidentity.ParseCertificates(pfx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !chain[0].Equal(client.Certificate) || !client.Key.Equal(key.(*rsa.PrivateKey)) || *s.ContentType != keyvault.PKCS12 || !*s.Managed {
		t.Error("the secret is not the client's pair")
	}

	if _, err := e.Tenant.Vault.Import("pem", keyvault.PEM, client.Certificate, client.Key); err != nil {
		t.Fatal(err)
	}
	p, err := secrets.GetSecret(ctx, "pem", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if chain, _, err := azidentity.ParseCertificates([]byte(*p.Value), nil); err != nil || !chain[0].Equal(client.Certificate) {
		t.Errorf("reading the PEM secret: %v", err)
	}

	versions := 0
	for pager := certificates.NewListCertificatePropertiesVersionsPager(tenant.CertificateName, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		versions += len(page.Value)
	}
	if versions != 2 {
		t.Errorf("%d versions, want 2", versions)
	}
	for range 30 {
		if _, err := e.Tenant.Vault.Import("more", keyvault.PEM, client.Certificate, client.Key); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	pages := 0
	for pager := certificates.NewListCertificatePropertiesVersionsPager("more", nil); pager.More(); pages++ {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Value {
			seen[c.ID.Version()] = true
		}
	}
	if pages != 2 || len(seen) != 30 {
		t.Errorf("%d versions on %d pages, want 30 on 2", len(seen), pages)
	}
	pager := certificates.NewListCertificatePropertiesPager(nil)
	page, err := pager.NextPage(ctx)
	if err != nil || len(page.Value) != 3 || page.Value[0].ID.Version() != "" {
		t.Errorf("listing: %v, %d certificates", err, len(page.Value))
	}
}

func TestVaultPermissionsOverTheSDK(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	ctx := context.Background()
	sp, _ := e.Tenant.Directory.View(0).ServicePrincipalByAppID(e.Tenant.Client().ClientID)
	certificates, secrets := vaultClients(t, e, mustCredential(t, e))
	e.Tenant.Vault.Deny(sp.ID, "secrets/get")
	if _, err := certificates.GetCertificate(ctx, tenant.CertificateName, "", nil); err != nil {
		t.Errorf("the public part: %v", err)
	}
	_, err := secrets.GetSecret(ctx, tenant.CertificateName, "", nil)
	if failed, ok := errors.AsType[*azcore.ResponseError](err); !ok || failed.StatusCode != 403 || failed.ErrorCode != "Forbidden" || !strings.Contains(err.Error(), "does not have secrets get permission") {
		t.Errorf("the private key without secrets/get: %v", err)
	}
	e.Tenant.Vault.Allow(sp.ID, "secrets/get")
	c, _ := e.Tenant.Vault.Certificate(tenant.CertificateName, "")
	if err := e.Tenant.Vault.SetEnabled(c.Name, c.Version, false); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.GetSecret(ctx, tenant.CertificateName, "", nil); err == nil || !strings.Contains(err.Error(), "SecretDisabled") {
		t.Errorf("a disabled version: %v", err)
	}
	if _, err := certificates.GetCertificate(ctx, tenant.CertificateName, "", nil); err != nil {
		t.Errorf("the public part of a disabled version: %v", err)
	}
}

func TestVaultAnswers(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	bearer := "Bearer " + e.Token(t, "https://vault.azure.net")
	for _, test := range []struct {
		path, bearer string
		status       int
		want         string
	}{
		// Nothing is looked at before the token.
		{"/certificates/no_name", "", 401, "AKV10000"},
		{"/secrets/x?api-version=7.6", "Bearer x", 401, "Unauthorized"},
		{"/secrets/x?api-version=7.6", "Bearer " + e.Token(t, "https://vault.azure.net/"), 401, "AKV10022"},
		{"/secrets/x?api-version=7.6", "Bearer " + e.Token(t, "https://graph.microsoft.com"), 401, "AKV10022"},
		{"/secrets/x?api-version=7.6", "Bearer " + e.Token(t, directory.KeyVault), 404, "SecretNotFound"},
		{"/secrets/" + tenant.CertificateName, bearer, 400, "api-version"},
		{"/secrets/" + tenant.CertificateName + "?api-version=", bearer, 400, "api-version"},
		{"/secrets/" + tenant.CertificateName + "/?api%2Dversion=2025-07-01", bearer, 200, `"managed":true`},
		{"/certificates/" + strings.ToLower(tenant.CertificateName) + "?api-version=7.6", bearer, 200, tenant.CertificateName},
		{"/certificates/no_name?api-version=7.6", bearer, 400, "BadParameter"},
		{"/certificates/x/latest?api-version=7.6", bearer, 400, "BadParameter"},
		{"/certificates/x?api-version=7.6", bearer, 404, "CertificateNotFound"},
		{"/certificates/x/" + strings.Repeat("0", 32) + "?api-version=7.6", bearer, 404, "CertificateNotFound"},
		{"/certificates?api-version=7.6&maxresults=26", bearer, 400, "maxresults"},
		{"/certificates?api-version=7.6&$skiptoken=-1", bearer, 400, "skiptoken"},
		{"/certificates?api-version=7.6&$skiptoken=9999999", bearer, 200, `"value":[]`},
	} {
		a := e.Do(t, "GET", e.Origins().Vault+test.path, "", "Authorization", test.bearer)
		if a.Status != test.status || !strings.Contains(a.Text, test.want) {
			t.Errorf("%s: %d %s, want %d with %s", test.path, a.Status, a.Text, test.status, test.want)
		}
		want := `Bearer authorization="` + e.Origins().Authority + "/" + e.Tenant.ID + `", resource="https://vault.azure.net"`
		if got := a.Header.Get("WWW-Authenticate"); test.status == 401 && got != want {
			t.Errorf("%s: challenge %s", test.path, got)
		}
	}
}
