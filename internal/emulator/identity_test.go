package emulator_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	tokens "github.com/reeve365/reeve/internal/emulator/token"
)

func TestManagedIdentityReadsTheVault(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	t.Setenv("IDENTITY_ENDPOINT", e.Origins().Identity+emulator.IdentityPath)
	t.Setenv("IDENTITY_HEADER", e.IdentityHeader())
	credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: azureOptions(e)})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := azsecrets.NewClient(e.Origins().Vault, credential, &azsecrets.ClientOptions{
		ClientOptions: azureOptions(e), DisableChallengeResourceVerification: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.GetSecret(context.Background(), tenant.CertificateName, "", nil); err != nil {
		t.Error(err)
	}
	token, err := credential.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://manage.office.com/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	sp, _ := e.Tenant.ManagedIdentity()
	jwt, err := tokens.Parse(token.Token)
	if err != nil {
		t.Fatal(err)
	}
	oid, err := jwt.Claims.Text("oid")
	if err != nil || oid != sp.ID || jwt.Claims["roles"] != nil {
		t.Errorf("the web app's own token has oid %s and roles %s, %v", oid, jwt.Claims["roles"], err)
	}
}

func TestIdentityRefusals(t *testing.T) {
	e := emulatortest.Start(t, time.Now)
	sp, _ := e.Tenant.ManagedIdentity()
	const good = "?api-version=2019-08-01&resource=https://vault.azure.net"
	for _, test := range []struct {
		query, header string
		status        int
	}{
		{good, e.IdentityHeader(), 200},
		{good + "&client_id=" + sp.AppID, e.IdentityHeader(), 200},
		{good, "", 401},
		{good, "wrong", 401},
		{good + "&client_id=" + uuid.NewString(), e.IdentityHeader(), 400},
		{good + "&mi_res_id=" + url.QueryEscape("/subscriptions/x"), e.IdentityHeader(), 400},
		{"?resource=https://vault.azure.net", e.IdentityHeader(), 400},
		{"?api-version=2019-08-01", e.IdentityHeader(), 400},
		{"?api-version=2019-08-01&resource=https://nobody.example.com", e.IdentityHeader(), 400},
	} {
		a := e.Do(t, "GET", e.Origins().Identity+emulator.IdentityPath+test.query, "", "X-IDENTITY-HEADER", test.header)
		if a.Status != test.status {
			t.Errorf("%s: %d %s, want %d", test.query, a.Status, a.Text, test.status)
		}
	}
}
