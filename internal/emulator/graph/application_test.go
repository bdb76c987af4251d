package graph_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

func TestApplicationFromCreationToTheEnd(t *testing.T) {
	w := newWorld(t)
	id, appID, principalID := w.app(t, "one")
	a := w.must(t, 200, "GET", "/applications/"+id, nil)
	if a.body["displayName"] != "one" || a.body["appId"] != appID || a.body["signInAudience"] != "AzureADMyOrg" {
		t.Errorf("after creation: %s", a.text)
	}
	if want := "https://127.0.0.1:1/v1.0/$metadata#applications/$entity"; a.body["@odata.context"] != want {
		t.Errorf("context %v, want %s", a.body["@odata.context"], want)
	}
	patched := w.must(t, 204, "PATCH", "/applications(appId='"+appID+"')", object{"displayName": "two", "notes": "n", "web": object{"redirectUris": []string{"https://x.example"}}})
	if patched.text != "" {
		t.Errorf("a PATCH answers %q", patched.text)
	}
	w.must(t, 204, "PATCH", "/applications/"+id, object{"web": object{"homePageUrl": "https://home.example"}})
	a = w.must(t, 200, "GET", "/applications/"+id+"?$select=displayName,notes,web", nil)
	web, _ := a.body["web"].(map[string]any)
	if a.body["displayName"] != "two" || a.body["notes"] != "n" || web["homePageUrl"] != "https://home.example" || len(web["redirectUris"].([]any)) != 1 {
		t.Errorf("after PATCH: %s", a.text)
	}
	if p := w.must(t, 200, "GET", "/servicePrincipals/"+principalID, nil); p.body["displayName"] != "two" || p.body["replyUrls"].([]any)[0] != "https://x.example" {
		t.Errorf("the service principal after its application's PATCH: %s", p.text)
	}

	w.must(t, 204, "DELETE", "/applications/"+id, nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/applications/"+id, nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/servicePrincipals/"+principalID, nil)
	if l := w.must(t, 200, "GET", "/directory/deletedItems/microsoft.graph.application", nil); len(l.value()) != 1 || l.value()[0]["deletedDateTime"] == nil {
		t.Errorf("recycle bin: %s", l.text)
	}
	w.must(t, 200, "GET", "/directory/deletedItems/"+id, nil)
	w.must(t, 200, "POST", "/directory/deletedItems/"+id+"/restore", nil)
	w.must(t, 200, "GET", "/servicePrincipals(appId='"+appID+"')", nil)
	w.must(t, 204, "DELETE", "/applications/"+id, nil)
	w.must(t, 204, "DELETE", "/directory/deletedItems/"+id, nil)
	w.refused(t, 404, "Request_ResourceNotFound", "POST", "/directory/deletedItems/"+id+"/restore", nil)
	if _, ok := w.directory.View(0).ServicePrincipalByAppID(appID); ok || len(w.directory.View(0).DeletedServicePrincipals()) != 0 {
		t.Error("the service principal outlived its application")
	}
}

func TestRecycleBinIsEmptiedAfter30Days(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	w.must(t, 204, "DELETE", "/applications/"+id, nil)
	w.pass(30*24*time.Hour - time.Second)
	w.must(t, 200, "GET", "/directory/deletedItems/"+id, nil)
	w.pass(time.Second)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/directory/deletedItems/"+id, nil)
	w.refused(t, 404, "Request_ResourceNotFound", "POST", "/directory/deletedItems/"+id+"/restore", nil)
}

func TestApplicationRules(t *testing.T) {
	w := newWorld(t)
	role := func(id, value string) object {
		return object{"id": id, "value": value, "displayName": "d", "description": "d", "allowedMemberTypes": []string{"Application"}}
	}
	scope := func(id, value string) object {
		return object{"id": id, "value": value, "type": "User", "isEnabled": true}
	}
	r1, r2 := uuid.NewString(), uuid.NewString()
	access := func(n, permissions int) (all []object) {
		for range n {
			var one []object
			for range permissions {
				one = append(one, object{"id": uuid.NewString(), "type": "Role"})
			}
			all = append(all, object{"resourceAppId": uuid.NewString(), "resourceAccess": one})
		}
		return all
	}
	for name, c := range map[string]struct {
		body object
		ok   bool
	}{
		"no display name":         {object{"notes": "x"}, false},
		"display name null":       {object{"displayName": nil}, false},
		"longest display name":    {object{"displayName": strings.Repeat("ä", 120)}, true},
		"display name too long":   {object{"displayName": strings.Repeat("ä", 121)}, false},
		"personal, name too long": {object{"displayName": strings.Repeat("x", 91), "signInAudience": "PersonalMicrosoftAccount"}, false},
		"personal":                {object{"displayName": "x", "signInAudience": "AzureADandPersonalMicrosoftAccount"}, true},
		"unknown audience":        {object{"displayName": "x", "signInAudience": "Everybody"}, false},
		"unknown member":          {object{"displayName": "x", "colour": "red"}, false},
		"unknown member below":    {object{"displayName": "x", "web": object{"colour": "red"}}, false},
		"wrong type":              {object{"displayName": 1}, false},
		"wrong type below":        {object{"displayName": "x", "web": object{"redirectUris": "x"}}, false},
		"null in a list":          {object{"displayName": "x", "tags": []any{nil}}, false},
		"null for a list":         {object{"displayName": "x", "tags": nil}, false},
		"immutable member":        {object{"displayName": "x", "appId": uuid.NewString()}, false},
		"empty tag":               {object{"displayName": "x", "tags": []string{""}}, false},
		"long tag":                {object{"displayName": "x", "tags": []string{strings.Repeat("x", 257)}}, false},
		"relative URI":            {object{"displayName": "x", "identifierUris": []string{"x"}}, false},
		"URI of the tenant":       {object{"displayName": "x", "identifierUris": []string{"api://" + theTenant + "/x"}}, true},
		"api URI of the domain":   {object{"displayName": "x", "identifierUris": []string{"api://x.contoso.onmicrosoft.com/x"}}, true},
		"api URI of nobody":       {object{"displayName": "x", "identifierUris": []string{"api://orders"}}, false},
		"api URI of a stranger":   {object{"displayName": "x", "identifierUris": []string{"api://" + r1}}, false},
		"api URI, many tenants":   {object{"displayName": "x", "identifierUris": []string{"api://many"}, "signInAudience": "AzureADMultipleOrgs"}, true},
		"URI of another domain":   {object{"displayName": "x", "identifierUris": []string{"https://fabrikam.example"}}, false},
		"URI of the domain":       {object{"displayName": "x", "identifierUris": []string{"https://a.contoso.onmicrosoft.com/x"}}, true},
		"long URI":                {object{"displayName": "x", "identifierUris": []string{"api://" + strings.Repeat("x", 250)}}, false},
		"roles":                   {object{"displayName": "x", "appRoles": []object{role(r1, "a"), role(r2, "b")}}, true},
		"roles of one id":         {object{"displayName": "x", "appRoles": []object{role(r1, "a"), role(r1, "b")}}, false},
		"roles of one value":      {object{"displayName": "x", "appRoles": []object{role(r1, "a"), role(r2, "A")}}, false},
		"role of a dot":           {object{"displayName": "x", "appRoles": []object{role(r1, ".a")}}, false},
		"role with an umlaut":     {object{"displayName": "x", "appRoles": []object{role(r1, "ä")}}, false},
		"scopes":                  {object{"displayName": "x", "api": object{"oauth2PermissionScopes": []object{scope(r1, "a"), scope(r2, "b")}}}, true},
		"scopes of one value":     {object{"displayName": "x", "api": object{"oauth2PermissionScopes": []object{scope(r1, "a"), scope(r2, "a")}}}, false},
		"scope with a space":      {object{"displayName": "x", "api": object{"oauth2PermissionScopes": []object{scope(r1, "a b")}}}, false},
		"role and scope of an id": {object{"displayName": "x", "appRoles": []object{role(r1, "a")}, "api": object{"oauth2PermissionScopes": []object{scope(r1, "b")}}}, false},
		"role without a GUID":     {object{"displayName": "x", "appRoles": []object{role("x", "a")}}, false},
		"resources":               {object{"displayName": "x", "requiredResourceAccess": access(50, 8)}, true},
		"too many resources":      {object{"displayName": "x", "requiredResourceAccess": access(51, 1)}, false},
		"too many permissions":    {object{"displayName": "x", "requiredResourceAccess": access(1, 401)}, false},
		"annotation":              {object{"displayName": "x", "@odata.type": "#microsoft.graph.application"}, true},
	} {
		a := w.do(t, admin, "POST", "/applications", c.body)
		if c.ok && a.status != 201 || !c.ok && (a.status != 400 || a.code() != "Request_BadRequest") {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	for name, body := range map[string]string{"no body": "", "an array": "[]", "rubbish": "{", "null": "null", "text": `"x"`} {
		if a := w.do(t, admin, "POST", "/applications", body); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 400, "Request_BadRequest", "POST", "/applications", `{"displayName":"x"}`, "Content-Type", "text/plain")
	w.refused(t, 400, "Request_BadRequest", "POST", "/applications", `{"displayName":"x"}`, "Content-Type", "application/jsonlines")
	w.must(t, 201, "POST", "/applications", `{"displayName":"x"}`, "Content-Type", "Application/JSON; charset=utf-8")
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", "/applications", object{"displayName": "y", "identifierUris": []string{"API://" + theTenant + "/x"}})
	a := w.must(t, 201, "POST", "/applications", object{"displayName": "x"})
	path, appID := "/applications/"+a.id(), a.body["appId"].(string)
	for _, uri := range []string{"api://" + appID, "api://" + appID + "/x", "api://orders/" + appID} {
		w.must(t, 204, "PATCH", path, object{"identifierUris": []string{uri}})
	}
	if r := w.refused(t, 400, "Request_BadRequest", "PATCH", path, object{"identifierUris": []string{"api://orders"}}); !strings.Contains(r.text, "HostNameNotOnVerifiedDomain") {
		t.Errorf("details: %s", r.text)
	}
	w.refused(t, 400, "Request_BadRequest", "PATCH", path, object{"displayName": nil})
}

// TestTimesStayWithinFourDigits keeps what JSON cannot hold out of the directory,
// which could not be written to a file with it.
func TestTimesStayWithinFourDigits(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	for _, credential := range []object{
		{"startDateTime": "9999-06-01T00:00:00Z"},
		{"endDateTime": "9999-12-31T23:59:59-01:00"},
		{"startDateTime": "0000-01-01T00:00:00+01:00"},
	} {
		w.refused(t, 400, "Request_BadRequest", "POST", "/applications/"+id+"/addPassword", object{"passwordCredential": credential})
		credential["type"], credential["usage"], credential["key"] = "Symmetric", "Verify", "AAAA"
		if a := w.do(t, admin, "PATCH", "/applications/"+id, object{"keyCredentials": []object{credential}}); a.status != 400 {
			t.Errorf("%v: %d %s", credential, a.status, a.text)
		}
	}
	w.must(t, 200, "POST", "/applications/"+id+"/addPassword", object{"passwordCredential": object{"endDateTime": "9999-12-31T23:59:59Z"}})
}

func TestPersonalApplicationsHaveNoSymmetricKeys(t *testing.T) {
	w := newWorld(t)
	key := []object{{"type": "Symmetric", "usage": "Verify", "key": "AAAA"}}
	w.must(t, 201, "POST", "/applications", object{"displayName": "x", "keyCredentials": key})
	w.refused(t, 400, "Request_BadRequest", "POST", "/applications", object{"displayName": "x", "keyCredentials": key, "signInAudience": "PersonalMicrosoftAccount"})
}

func TestSizeOfAnApplication(t *testing.T) {
	w := newWorld(t)
	var uris []string
	for i := range 1199 {
		uris = append(uris, fmt.Sprintf("https://x.example/%d", i))
	}
	a := w.must(t, 201, "POST", "/applications", object{"displayName": "one", "web": object{"redirectUris": uris}})
	w.must(t, 204, "PATCH", "/applications/"+a.id(), object{"tags": []string{"a"}})
	w.refused(t, 403, "Directory_ResourceSizeExceeded", "PATCH", "/applications/"+a.id(), object{"tags": []string{"a", "b"}})
	w.refused(t, 403, "Directory_ResourceSizeExceeded", "POST", "/applications/"+a.id()+"/addPassword", nil)
}

func TestRoleMustBeDisabledBeforeItIsRemoved(t *testing.T) {
	w := newWorld(t)
	id, _, principalID := w.app(t, "one")
	role := object{"id": uuid.NewString(), "value": "r.read", "displayName": "R", "description": "d", "allowedMemberTypes": []string{"Application"}}
	w.must(t, 204, "PATCH", "/applications/"+id, object{"appRoles": []object{role}})
	a := w.must(t, 200, "GET", "/myorganization/applications/"+id+"/appRoles", nil)
	if len(a.value()) != 1 || a.value()[0]["isEnabled"] != true {
		t.Errorf("appRoles: %s", a.text)
	}
	refusal := w.refused(t, 400, "Request_BadRequest", "PATCH", "/applications/"+id, object{"appRoles": []object{}})
	if !strings.Contains(refusal.text, "CannotDeleteOrUpdateEnabledEntitlement") {
		t.Errorf("details: %s", refusal.text)
	}
	role["isEnabled"] = false
	w.must(t, 204, "PATCH", "/applications/"+id, object{"appRoles": []object{role}})
	w.must(t, 204, "PATCH", "/applications/"+id, object{"appRoles": []object{}})
	if a := w.must(t, 200, "GET", "/servicePrincipals/"+principalID+"/appRoles", nil); len(a.value()) != 0 {
		t.Errorf("roles of the service principal: %s", a.text)
	}
}

func TestServicePrincipalOfAnApplication(t *testing.T) {
	w := newWorld(t)
	_, appID, id := w.app(t, "one")
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", "/servicePrincipals", object{"appId": appID})
	unknown := w.refused(t, 400, "Request_BadRequest", "POST", "/servicePrincipals", object{"appId": uuid.NewString()})
	if !strings.Contains(unknown.text, "NoBackingApplicationObject") {
		t.Errorf("an unknown application: %s", unknown.text)
	}
	w.must(t, 204, "PATCH", "/servicePrincipals/"+id, object{"accountEnabled": false, "tags": []string{"t"}})
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/servicePrincipals/"+id, object{"appId": uuid.NewString()})
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/servicePrincipals/"+id, object{"displayName": nil})
	if a := w.must(t, 200, "GET", "/servicePrincipals/"+id, nil); a.body["accountEnabled"] != false {
		t.Errorf("after PATCH: %s", a.text)
	}
	w.must(t, 204, "DELETE", "/servicePrincipals/"+id, nil)
	w.must(t, 200, "POST", "/directory/deletedItems/"+id+"/restore", nil)
	w.must(t, 200, "GET", "/servicePrincipals(appId='"+appID+"')", nil)
}

func TestKeyIsShownOnlyWhenSelectedOnOneObject(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	p := w.pair(t, 24*time.Hour)
	w.must(t, 204, "PATCH", "/applications/"+id, object{"keyCredentials": []object{{"type": "AsymmetricX509Cert", "usage": "Verify", "key": p.base64()}}})
	key := func(o map[string]any) any { return o["keyCredentials"].([]any)[0].(map[string]any)["key"] }
	got := map[string]any{
		"single":            key(w.must(t, 200, "GET", "/applications/"+id, nil).body),
		"single, selected":  key(w.must(t, 200, "GET", "/applications/"+id+"?$select=id,keyCredentials", nil).body),
		"in a list":         key(w.must(t, 200, "GET", "/applications", nil).value()[0]),
		"selected in lists": key(w.must(t, 200, "GET", "/applications?$select=keyCredentials", nil).value()[0]),
	}
	want := map[string]any{"single": nil, "single, selected": p.base64(), "in a list": nil, "selected in lists": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChangesDoNotReachBack(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	w.must(t, 204, "PATCH", "/applications/"+id, object{"api": object{"acceptMappedClaims": true, "knownClientApplications": []string{uuid.NewString()}}, "isFallbackPublicClient": true})
	before, _ := w.directory.View(0).Application(id)
	known := before.API.KnownClientApplications[0]
	w.must(t, 204, "PATCH", "/applications/"+id, object{"api": object{"acceptMappedClaims": false, "knownClientApplications": []string{uuid.NewString()}}, "isFallbackPublicClient": false})
	if !*before.API.AcceptMappedClaims || before.API.KnownClientApplications[0] != known || !*before.IsFallbackPublicClient {
		t.Error("a PATCH changed what the directory was before")
	}
}

func TestMembersThatAreOnlyKept(t *testing.T) {
	w := newWorld(t)
	id, _, principalID := w.app(t, "one")
	for path, given := range map[string]object{
		"/applications/" + id: {
			"info": object{"supportUrl": "https://support.example"}, "optionalClaims": object{"idToken": []any{object{"name": "email", "essential": true, "additionalProperties": []any{}}}},
			"serviceManagementReference": "x", "tokenEncryptionKeyId": uuid.NewString(), "isDisabled": true, "description": "d", "tags": []any{"t"},
		},
		"/servicePrincipals/" + principalID: {
			"notes": "n", "homepage": "https://home.example", "notificationEmailAddresses": []any{"a@b.example"}, "appRoleAssignmentRequired": true,
			"replyUrls": []any{"https://r.example"}, "alternativeNames": []any{"a"}, "samlSingleSignOnSettings": object{"relayState": "/x"},
		},
	} {
		w.must(t, 204, "PATCH", path, given)
		got := w.must(t, 200, "GET", path, nil).body
		for name, want := range given {
			if diff := cmp.Diff(want, got[name]); diff != "" {
				t.Errorf("%s %s: %s", path, name, diff)
			}
		}
	}
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/applications/"+id, object{"tokenEncryptionKeyId": "x"})
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/applications/"+id, object{"info": object{"supportUrl": 1}})
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/servicePrincipals/"+principalID, object{"servicePrincipalType": "ManagedIdentity"})
}

func TestScopesOfAnApplication(t *testing.T) {
	w := newWorld(t)
	id, _, principalID := w.app(t, "one")
	scope := object{"id": uuid.NewString(), "value": "read", "type": "User", "isEnabled": true, "adminConsentDisplayName": "r", "adminConsentDescription": "r"}
	scopes := func(all ...object) object { return object{"api": object{"oauth2PermissionScopes": all}} }
	w.must(t, 204, "PATCH", "/applications/"+id, scopes(scope))
	if a := w.must(t, 200, "GET", "/servicePrincipals/"+principalID+"/oauth2PermissionScopes", nil); len(a.value()) != 1 {
		t.Errorf("scopes of the service principal: %s", a.text)
	}
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/applications/"+id, object{"api": object{"oauth2PermissionScopes": []object{}}})
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/applications/"+id, object{"api": nil})
	bad := object{"id": uuid.NewString(), "value": "write", "type": "Everybody", "isEnabled": true}
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/applications/"+id, scopes(scope, bad))
	scope["isEnabled"] = false
	w.must(t, 204, "PATCH", "/applications/"+id, scopes(scope))
	w.must(t, 204, "PATCH", "/applications/"+id, object{"api": nil})
	w.must(t, 204, "GET", "/applications/"+id+"/description", nil)
}

func TestDeletedServicePrincipals(t *testing.T) {
	w := newWorld(t)
	_, appID, id := w.app(t, "one")
	w.must(t, 204, "DELETE", "/servicePrincipals/"+id, nil)
	if a := w.must(t, 200, "GET", "/directory/deletedItems/microsoft.graph.servicePrincipal", nil); len(a.value()) != 1 || a.value()[0]["id"] != id {
		t.Errorf("recycle bin: %s", a.text)
	}
	// Another took its place meanwhile.
	w.must(t, 201, "POST", "/servicePrincipals", object{"appId": appID})
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", "/directory/deletedItems/"+id+"/restore", nil)
	w.must(t, 204, "DELETE", "/directory/deletedItems/"+id, nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/directory/deletedItems/"+id, nil)
}

// TestIdentifierURIsOfBeforeStay: the restrictions are on URIs that are added.
func TestIdentifierURIsOfBeforeStay(t *testing.T) {
	w := newWorld(t)
	id, appID, _ := w.app(t, "one")
	if err := w.directory.ChangeApplication(appID, func(a *directory.Application) error {
		a.IdentifierURIs = []string{"api://orders", "https://fabrikam.example"}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	path := "/applications/" + id
	w.must(t, 204, "PATCH", path, object{"notes": "n"})
	w.must(t, 200, "POST", path+"/addPassword", object{"passwordCredential": object{}})
	w.must(t, 204, "PATCH", path, object{"identifierUris": []string{"api://orders", "api://" + appID}})
	w.refused(t, 400, "Request_BadRequest", "PATCH", path, object{"identifierUris": []string{"api://orders", "api://invoices"}})
	w.refused(t, 400, "Request_BadRequest", "PATCH", path, object{"identifierUris": []string{"https://fabrikam.example"}}) // given up above
}

func TestRolesAndScopesShareTheirValues(t *testing.T) {
	w := newWorld(t)
	r, s := uuid.NewString(), uuid.NewString()
	role := object{"id": r, "value": "Orders.Read", "displayName": "d", "description": "e", "allowedMemberTypes": []string{"Application"}}
	for name, test := range map[string]struct {
		id, value, description string
		ok                     bool
	}{
		"two permissions":                  {s, "Orders.Write", "e", true},
		"one value, two ids":               {s, "Orders.Read", "e", false},
		"one id, two values":               {r, "Orders.Write", "e", false},
		"one permission":                   {r, "Orders.Read", "e", true},
		"one permission, two descriptions": {r, "Orders.Read", "another", false},
	} {
		scope := object{
			"id": test.id, "value": test.value, "type": "Admin", "isEnabled": true,
			"adminConsentDisplayName": "d", "adminConsentDescription": test.description,
		}
		body := object{"displayName": "x", "appRoles": []object{role}, "api": object{"oauth2PermissionScopes": []object{scope}}}
		if a := w.do(t, admin, "POST", "/applications", body); a.status == 201 != test.ok || !test.ok && a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}
