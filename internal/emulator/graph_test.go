package emulator

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestGraphApplication(t *testing.T) {
	e := mustStart(t, time.Now)
	bearer := "Bearer " + mustToken(t, e, "https://graph.microsoft.com")
	client := e.tenant.Client()
	app, _ := e.tenant.Application(client.ClientID)
	get := func(path string) answer {
		return mustDo(t, e, "GET", e.Origins().Graph+"/v1.0/"+path, "", "Authorization", bearer)
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
	value, _ := list.body["value"].([]any)
	if list.status != 200 || len(value) != 1 || value[0].(map[string]any)["id"] != app.ObjectID {
		t.Fatalf("by filter: %d %s", list.status, list.text)
	}
	if diff := cmp.Diff([]any{nil, nil}, keys(value[0])); diff != "" {
		t.Errorf("keys in a list: %s", diff)
	}
	if got := get("applications?$filter=" + url.QueryEscape("appId eq '"+uuid.NewString()+"'")); !strings.Contains(got.text, `"value":[]`) {
		t.Errorf("a filter that fits none: %s", got.text)
	}
	if got := get("applications?$select=keyCredentials"); !strings.Contains(got.text, `"key":null`) || strings.Contains(got.text, `"key":"`) {
		t.Errorf("$select=keyCredentials on a list: %s", got.text)
	}

	want := []any{nil, base64.StdEncoding.EncodeToString(client.Certificate.Raw)}
	want[0] = base64.StdEncoding.EncodeToString(app.KeyCredentials[0].Certificate)
	for _, one := range []string{"applications/" + app.ObjectID, "applications(appId='" + client.ClientID + "')"} {
		if diff := cmp.Diff([]any{nil, nil}, keys(get(one).body)); diff != "" {
			t.Errorf("%s: keys that were not selected: %s", one, diff)
		}
		got := get(one + "?$select=id,keyCredentials")
		if diff := cmp.Diff(want, keys(got.body)); diff != "" {
			t.Errorf("%s: selected keys: %s", one, diff)
		}
		if _, has := got.body["displayName"]; has || got.body["id"] != app.ObjectID {
			t.Errorf("%s: selected %s", one, got.text)
		}
	}

	for path, code := range map[string]string{
		"applications/" + client.ClientID:                               "Request_ResourceNotFound", // the classic mistake
		"applications?$select=keyCredential":                            "Request_BadRequest",
		"organization?$filter=" + url.QueryEscape("displayName eq 'x'"): "Request_UnsupportedQuery",
	} {
		a := get(path)
		inner, _ := a.body["error"].(map[string]any)
		if inner["code"] != code || inner["innerError"].(map[string]any)["request-id"] != a.header.Get("request-id") {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.text, code)
		}
	}
	if got := get("organization"); !strings.Contains(got.text, e.tenant.Domain) {
		t.Errorf("organization: %d %s", got.status, got.text)
	}
	if got := get("servicePrincipals?$filter=" + url.QueryEscape("appId eq '"+tenant.ManagementAPIs+"'")); !strings.Contains(got.text, "594c1fb6-4f81-4475-ae41-0c394909246c") {
		t.Errorf("the Management APIs' service principal: %d %s", got.status, got.text)
	}
}

func TestGraphChecksTokenAndRole(t *testing.T) {
	c := &clock{now: time.Now()}
	e := mustStart(t, c.Now)
	clientID := e.tenant.Client().ClientID
	get := func(bearer string) answer {
		return mustDo(t, e, "GET", e.Origins().Graph+"/v1.0/applications", "", "Authorization", bearer)
	}
	good := "Bearer " + mustToken(t, e, "https://graph.microsoft.com")
	for name, bearer := range map[string]string{
		"none": "", "rubbish": "Bearer x", "for another API": "Bearer " + mustToken(t, e, "https://manage.office.com"),
	} {
		a := get(bearer)
		if a.status != 401 || !strings.Contains(a.text, "InvalidAuthenticationToken") || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	for _, resource := range []string{"https://graph.microsoft.com/", tenant.Graph} {
		if a := get("Bearer " + mustToken(t, e, resource)); a.status != 200 {
			t.Errorf("audience %s: %d %s", resource, a.status, a.text)
		}
	}
	for _, role := range []string{"Application.Read.All", "Directory.Read.All"} {
		if err := e.tenant.RevokeRole(clientID, tenant.Graph, role); err != nil {
			t.Fatal(err)
		}
	}
	if a := get("Bearer " + mustToken(t, e, "https://graph.microsoft.com")); a.status != 403 || !strings.Contains(a.text, "Authorization_RequestDenied") {
		t.Errorf("without a role: %d %s", a.status, a.text)
	}
	if a := get(good); a.status != 200 {
		t.Errorf("with a token from before: %d %s", a.status, a.text)
	}
	c.Add(2 * time.Hour)
	if a := get(good); a.status != 401 || !strings.Contains(a.text, "expired") {
		t.Errorf("with an expired token: %d %s", a.status, a.text)
	}
}
