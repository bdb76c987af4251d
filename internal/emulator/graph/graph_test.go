package graph_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
)

func TestGraphApplication(t *testing.T) {
	e := emulatortest.Start(t, nil)
	bearer := "Bearer " + e.Token(t, "https://graph.microsoft.com")
	client := e.Tenant.Client()
	app, _ := e.Tenant.Directory.View(0).ApplicationByAppID(client.ClientID)
	get := func(path string) emulatortest.Answer {
		return e.Do(t, "GET", e.Origins().Graph+"/v1.0/"+path, "", "Authorization", bearer)
	}
	// keys returns the key member of each key credential.
	keys := func(o any) (keys []any) {
		credentials, _ := o.(map[string]any)["keyCredentials"].([]any)
		for _, k := range credentials {
			keys = append(keys, k.(map[string]any)["key"])
		}
		return keys
	}

	list := get("applications?$filter=" + url.QueryEscape("appId eq '"+client.ClientID+"'"))
	value, _ := list.Body["value"].([]any)
	if list.Status != 200 || len(value) != 1 || value[0].(map[string]any)["id"] != app.ID {
		t.Fatalf("by filter: %d %s", list.Status, list.Text)
	}
	if diff := cmp.Diff([]any{nil, nil}, keys(value[0])); diff != "" {
		t.Errorf("keys in a list: %s", diff)
	}
	if got := get("applications?$filter=" + url.QueryEscape("appId eq '"+uuid.NewString()+"'")); !strings.Contains(got.Text, `"value":[]`) {
		t.Errorf("a filter that fits none: %s", got.Text)
	}
	if got := get("applications?$select=keyCredentials"); !strings.Contains(got.Text, `"key":null`) || strings.Contains(got.Text, `"key":"`) {
		t.Errorf("$select=keyCredentials on a list: %s", got.Text)
	}

	want := []any{nil, base64.StdEncoding.EncodeToString(client.Certificate.Raw)}
	want[0] = base64.StdEncoding.EncodeToString(app.KeyCredentials[0].Key)
	for _, one := range []string{"applications/" + app.ID, "applications(appId='" + client.ClientID + "')"} {
		if diff := cmp.Diff([]any{nil, nil}, keys(get(one).Body)); diff != "" {
			t.Errorf("%s: keys that were not selected: %s", one, diff)
		}
		got := get(one + "?$select=id,keyCredentials")
		if diff := cmp.Diff(want, keys(got.Body)); diff != "" {
			t.Errorf("%s: selected keys: %s", one, diff)
		}
		if _, has := got.Body["displayName"]; has || got.Body["id"] != app.ID {
			t.Errorf("%s: selected %s", one, got.Text)
		}
	}

	for path, code := range map[string]string{
		"applications/" + client.ClientID:                               "Request_ResourceNotFound", // the classic mistake
		"applications?$select=keyCredential":                            "Request_BadRequest",
		"organization?$filter=" + url.QueryEscape("displayName eq 'x'"): "Request_UnsupportedQuery",
	} {
		a := get(path)
		inner, _ := a.Body["error"].(map[string]any)
		if inner["code"] != code || inner["innerError"].(map[string]any)["request-id"] != a.Header.Get("request-id") {
			t.Errorf("%s: %d %s, want %s", path, a.Status, a.Text, code)
		}
	}
	if got := get("organization"); !strings.Contains(got.Text, e.Tenant.Domain) {
		t.Errorf("organization: %d %s", got.Status, got.Text)
	}
	if got := get("servicePrincipals?$filter=" + url.QueryEscape("appId eq '"+directory.ManagementAPIs+"'")); !strings.Contains(got.Text, "594c1fb6-4f81-4475-ae41-0c394909246c") {
		t.Errorf("the Management APIs' service principal: %d %s", got.Status, got.Text)
	}
}

func TestGraphChecksTokenAndRole(t *testing.T) {
	c := emulatortest.NewClock(time.Now())
	e := emulatortest.Start(t, c.Now)
	clientID := e.Tenant.Client().ClientID
	get := func(bearer string) emulatortest.Answer {
		return e.Do(t, "GET", e.Origins().Graph+"/v1.0/applications", "", "Authorization", bearer)
	}
	good := "Bearer " + e.Token(t, "https://graph.microsoft.com")
	for name, bearer := range map[string]string{
		"none": "", "rubbish": "Bearer x", "for another API": "Bearer " + e.Token(t, "https://manage.office.com"),
	} {
		a := get(bearer)
		if a.Status != 401 || !strings.Contains(a.Text, "InvalidAuthenticationToken") || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: %d %s", name, a.Status, a.Text)
		}
	}
	for _, resource := range []string{"https://graph.microsoft.com/", directory.Graph} {
		if a := get("Bearer " + e.Token(t, resource)); a.Status != 200 {
			t.Errorf("audience %s: %d %s", resource, a.Status, a.Text)
		}
	}
	for _, role := range []string{"Application.Read.All", "Directory.Read.All"} {
		if err := e.Tenant.Directory.RevokeRole(clientID, directory.Graph, role); err != nil {
			t.Fatal(err)
		}
	}
	if a := get("Bearer " + e.Token(t, "https://graph.microsoft.com")); a.Status != 403 || !strings.Contains(a.Text, "Authorization_RequestDenied") {
		t.Errorf("without a role: %d %s", a.Status, a.Text)
	}
	if a := get(good); a.Status != 200 {
		t.Errorf("with a token from before: %d %s", a.Status, a.Text)
	}
	c.Add(2 * time.Hour)
	if a := get(good); a.Status != 401 || !strings.Contains(a.Text, "expired") {
		t.Errorf("with an expired token: %d %s", a.Status, a.Text)
	}
}
