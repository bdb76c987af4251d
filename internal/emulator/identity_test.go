package emulator

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestManagedIdentityReadsTheVault(t *testing.T) {
	e := mustStart(t, time.Now)
	t.Setenv("IDENTITY_ENDPOINT", e.Origins().Identity+identityPath)
	t.Setenv("IDENTITY_HEADER", e.identityHeader)
	credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: azureOptions(e)})
	if err != nil {
		t.Fatal(err)
	}
	_, secrets := vaultClients(t, e, credential)
	if _, err := secrets.GetSecret(context.Background(), tenant.CertificateName, "", nil); err != nil {
		t.Error(err)
	}
	token, err := credential.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://manage.office.com/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	sp, _ := e.tenant.ManagedIdentity()
	claims := claimsOf(t, token.Token)
	if claims["oid"] != sp.ObjectID || claims["roles"] != nil {
		t.Errorf("the web app's own token has oid %v and roles %v", claims["oid"], claims["roles"])
	}
}

func TestIdentityRefusals(t *testing.T) {
	e := mustStart(t, time.Now)
	sp, _ := e.tenant.ManagedIdentity()
	const good = "?api-version=2019-08-01&resource=https://vault.azure.net"
	for _, test := range []struct {
		query, header string
		status        int
	}{
		{good, e.identityHeader, 200},
		{good + "&client_id=" + sp.ClientID, e.identityHeader, 200},
		{good, "", 401},
		{good, "wrong", 401},
		{good + "&client_id=" + uuid.NewString(), e.identityHeader, 400},
		{good + "&mi_res_id=" + url.QueryEscape("/subscriptions/x"), e.identityHeader, 400},
		{"?resource=https://vault.azure.net", e.identityHeader, 400},
		{"?api-version=2019-08-01", e.identityHeader, 400},
		{"?api-version=2019-08-01&resource=https://nobody.example.com", e.identityHeader, 400},
	} {
		a := mustDo(t, e, "GET", e.Origins().Identity+identityPath+test.query, "", "X-IDENTITY-HEADER", test.header)
		if a.status != test.status {
			t.Errorf("%s: %d %s, want %d", test.query, a.status, a.text, test.status)
		}
	}
}
