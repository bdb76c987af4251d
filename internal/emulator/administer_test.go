package emulator_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestGrants(t *testing.T) {
	w := emulatortest.Start(t, nil, func(o *emulator.Options) {
		o.Grants = []string{"graph/Application.ReadWrite.All", "vault/secrets/all", "logs/Data.Read"}
	})
	bearer := "Bearer " + w.Token(t, "https://graph.microsoft.com")
	if a := w.Do(t, "POST", w.Origins().Graph+"/v1.0/applications", `{"displayName":"new"}`, "Authorization", bearer, "Content-Type", "application/json"); a.Status != http.StatusCreated {
		t.Errorf("creating an application: %d %s", a.Status, a.Text)
	}
	v := w.Tenant.Directory.View(0)
	client, _ := v.ServicePrincipalByAppID(w.Tenant.Client().ClientID)
	logs, _ := v.ServicePrincipalByAppID(directory.LogAnalytics)
	if roles := v.Roles(client.ID, logs.ID); !slices.Equal(roles, []string{"Data.Read"}) {
		t.Errorf("the permissions of Log Analytics: %v", roles)
	}
	vault := "Bearer " + w.Token(t, "https://vault.azure.net")
	set := func(name string) int {
		return w.Do(t, "PUT", w.Origins().Vault+"/secrets/"+name+"?api-version=7.4", `{"value":"x"}`, "Authorization", vault, "Content-Type", "application/json").Status
	}
	if status := set("one"); status != http.StatusOK {
		t.Errorf("setting a secret: %d", status)
	}
	create := func() int {
		return w.Do(t, "POST", w.Origins().Vault+"/keys/one-key/create?api-version=7.4", `{"kty":"EC","crv":"P-256"}`, "Authorization", vault, "Content-Type", "application/json").Status
	}
	if status := create(); status != http.StatusForbidden {
		t.Errorf("creating a key without the permission: %d", status)
	}
	control(t, w, "POST /applications/"+w.Tenant.Client().ClientID+"/grants", `{"permission":"vault/keys/create"}`, http.StatusNoContent)
	if status := create(); status != http.StatusOK {
		t.Errorf("creating a key with the permission: %d", status)
	}
}

func TestBadGrants(t *testing.T) {
	tn, err := tenant.New(tenant.Options{Users: 1, Days: 1, PerUser: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, permission := range []string{"", "graph", "graph/Nothing.Read", "logs/Data.Write", "resources/Emperor", "secrets/get", "vault/certificates", "vault/storage/get", "vault/keys/eat"} {
		e, err := emulator.Start(emulator.Options{Tenant: tn, Grants: []string{permission}})
		if err == nil {
			e.Close()
			t.Errorf("%q is granted", permission)
		}
	}
}

func TestControlOfApplications(t *testing.T) {
	w := emulatortest.Start(t, nil)
	client := w.Tenant.Client().ClientID
	control(t, w, "PUT /applications/"+client+"/blocked", `{"blocked":true}`, http.StatusNoContent)
	now := w.Tenant.Now()
	if _, err := w.Tenant.Directory.AddPassword(client, "for this test", now.AddDate(0, 0, -1), now.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	a := w.PostForm(t, "/"+w.Tenant.ID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {"for this test"}, "scope": {"https://graph.microsoft.com/.default"},
	})
	if !strings.Contains(a.Text, "AADSTS53003") {
		t.Errorf("a blocked application: %d %s", a.Status, a.Text)
	}
	control(t, w, "PUT /applications/"+client+"/blocked", `{"blocked":false}`, http.StatusNoContent)
	bearer := "Bearer " + w.Token(t, "https://manage.office.com")
	list := w.Origins().Manage + "/api/v1.0/" + w.Tenant.ID + "/activity/feed/subscriptions/list"
	control(t, w, "PUT /audit", `{"recording":false}`, http.StatusNoContent)
	if a := w.Do(t, "GET", list, "", "Authorization", bearer); !strings.Contains(a.Text, "AF20011") {
		t.Errorf("with auditing off: %d %s", a.Status, a.Text)
	}
	control(t, w, "POST /issuers", `{"issuer":"https://127.0.0.1:1","jwks":3}`, http.StatusBadRequest)
	control(t, w, "POST /issuers", `{"issuer":"https://127.0.0.1:1","jwks":{"keys":[]}}`, http.StatusNoContent)
	for _, request := range []string{"POST /applications/x/grants", "PUT /applications/x/blocked", "PUT /certificates/x/revoked", "PUT /audit", "POST /issuers"} {
		control(t, w, request, `{}`, http.StatusBadRequest)
		control(t, w, request, `{"other":1}`, http.StatusBadRequest)
	}
}
