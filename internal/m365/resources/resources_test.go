package resources

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
)

type token string

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A vault is found by its address, and roles at it are given, read, and taken away; each can
// be sent twice.
func TestVault(t *testing.T) {
	t.Parallel()
	w := emulatortest.Start(t, nil)
	if err := w.Grant(w.Tenant.Client().ClientID, "resources/Owner"); err != nil {
		t.Fatal(err)
	}
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Cloud: cloud}); err == nil || !strings.Contains(err.Error(), "resources-endpoint") {
		t.Errorf("without an endpoint: %v", err)
	}
	cloud.Resources = w.Origins().Resources
	c, err := New(Options{Cloud: cloud, Credential: token(w.Token(t, cloud.ResourcesAudience)), HTTP: w.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.FindVault(t.Context(), w.Origins().Vault)
	if err != nil || v.Name != w.Tenant.Vault.Name || v.TenantID != w.Tenant.ID || v.RBAC {
		t.Fatalf("%+v, %v", v, err)
	}
	if _, err := c.FindVault(t.Context(), "https://contoso.vault.azure.net"); !errors.Is(err, m365.ErrNotFound) || !strings.Contains(err.Error(), "none of the 1 subscriptions") {
		t.Errorf("a vault that is not there: %v", err)
	}
	app := w.Tenant.Directory.NewApplication("worker")
	p, _ := w.Tenant.Directory.View(0).ServicePrincipalByAppID(app.AppID)
	id := AssignmentID(v.ID, p.ID, CertificateUser)
	if id != AssignmentID(strings.ToUpper(v.ID[:1])+v.ID[1:], strings.ToUpper(p.ID), CertificateUser) || id == AssignmentID(v.ID, p.ID, SecretsUser) {
		t.Errorf("the ID does not follow from what is assigned: %s", id)
	}
	for i, want := range []error{nil, ErrExists} {
		if err := c.Change(t.Context(), AssignRole(cloud, v.ID, p.ID, CertificateUser)); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
	all, err := c.Assignments(t.Context(), v.ID, p.ID)
	if err != nil || len(all) != 1 || all[0].ID != id || all[0].RoleID != CertificateUser.ID || !strings.EqualFold(all[0].Scope, v.ID) {
		t.Errorf("%+v, %v", all, err)
	}
	if a, err := c.Assignment(t.Context(), id); err != nil || a != all[0] {
		t.Errorf("%+v, %v", a, err)
	}
	for range 2 {
		if err := c.Change(t.Context(), Unassign(cloud, id)); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Assignment(t.Context(), id); !errors.Is(err, m365.ErrNotFound) {
		t.Errorf("one that is gone: %v", err)
	}

	given := []string{"certificates/get", "secrets/get"}
	for range 2 {
		if err := c.Change(t.Context(), AddPermissions(cloud, v, p.ID, given)); err != nil {
			t.Error(err)
		}
	}
	if v, err = c.Vault(t.Context(), v.ID); err != nil || !v.Has(p.ID, "secrets/get") || v.Has(p.ID, "keys/get") || v.Has(app.AppID, "secrets/get") {
		t.Errorf("%+v, %v", v, err)
	}
	if err := c.Change(t.Context(), RemovePermissions(cloud, v, p.ID, given)); err != nil {
		t.Error(err)
	}
	if v, err = c.Vault(t.Context(), v.ID); err != nil || v.Has(p.ID, "secrets/get") {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestHas(t *testing.T) {
	v := Vault{Policies: []Policy{{ObjectID: "a", Permissions: []string{"secrets/all"}}, {ObjectID: "b", Compound: true, Permissions: []string{"secrets/get"}}}}
	if !v.Has("A", "secrets/get") || v.Has("a", "keys/get") || v.Has("b", "secrets/get") {
		t.Error("all is each, and a policy for another application's requests is none")
	}
}

// Pages are followed to the end, and nowhere else.
func TestPages(t *testing.T) {
	t.Parallel()
	var next string
	asked := []string{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		io.WriteString(w, next)
	}))
	t.Cleanup(server.Close)
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	cloud.Resources = server.URL
	c, err := New(Options{Cloud: cloud, Credential: token("x"), HTTP: server.Client(), Retry: m365.Retry{Max: -1}})
	if err != nil {
		t.Fatal(err)
	}
	list := func() error {
		_, err := c.Assignments(t.Context(), "/subscriptions/s/vaults/v", "11111111-2222-3333-4444-555555555555")
		return err
	}
	for answer, says := range map[string]string{
		`{"value":[],"nextLink":"https://elsewhere.example/x"}`: "another host", `{"value":[],"nextLink":"` + server.URL + `/x"}`: "never end",
		`{}`: "holds no list", `<html>`: "not the documented answer",
	} {
		next = answer
		if err := list(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if !slices.Contains(asked, "%24filter=principalId%20eq%20%2711111111-2222-3333-4444-555555555555%27&api-version="+authorizationVersion) {
		t.Errorf("it asks %s", asked[0])
	}
	if _, err := c.Assignments(t.Context(), "/subscriptions/s/vaults/v", "' or 1 eq 1"); err == nil {
		t.Error("a principal that is none was taken")
	}
}

func TestParseAddress(t *testing.T) {
	public, err := m365.LookupCloud("public")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"https://Contoso.vault.azure.net/": "https://contoso.vault.azure.net", "https://contoso.vault.azure.net": "https://contoso.vault.azure.net",
		"http://contoso.vault.azure.net": "", "contoso": "", "https://contoso.example": "", "https://contoso.vault.azure.net/keys": "",
		"https://contoso.vault.azure.cn": "", "https://u:p@contoso.vault.azure.net": "", "https://contoso.vault.azure.net?x=1": "",
	} {
		if got, err := ParseAddress(public, address); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}
