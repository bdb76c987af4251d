package graph_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

func TestAppRoleAssignments(t *testing.T) {
	w := newWorld(t)
	_, _, client := w.app(t, "one")
	resource, _ := w.directory.View(0).ServicePrincipalByAppID(directory.ManagementAPIs)
	role, err := directory.RoleID(directory.ManagementAPIs, "ActivityFeed.Read")
	if err != nil {
		t.Fatal(err)
	}
	body := object{"principalId": client, "resourceId": resource.ID, "appRoleId": role}
	held, given := "/servicePrincipals/"+client+"/appRoleAssignments", "/servicePrincipals/"+resource.ID+"/appRoleAssignedTo"
	a := w.must(t, 201, "POST", given, body)
	if len(a.id()) != 43 || a.body["principalType"] != "ServicePrincipal" || a.body["resourceDisplayName"] != resource.DisplayName {
		t.Errorf("created: %s", a.text)
	}
	if got := w.directory.View(0).Roles(client, resource.ID); len(got) != 1 || got[0] != "ActivityFeed.Read" {
		t.Errorf("roles: %v", got)
	}
	if again := w.refused(t, 400, "Request_BadRequest", "POST", held, body); again.message() != "Permission being assigned already exists on the object" {
		t.Errorf("again: %s", again.text)
	}
	for _, path := range []string{held, given, held + "?$filter=resourceId eq " + resource.ID} {
		if l := w.must(t, 200, "GET", path, nil); len(l.value()) != 1 || l.value()[0]["id"] != a.id() {
			t.Errorf("%s: %s", path, l.text)
		}
	}
	if got := w.must(t, 200, "GET", held+"/"+a.id(), nil); got.body["appRoleId"] != role {
		t.Errorf("an assignment: %s", got.text)
	}
	for name, bad := range map[string]object{
		"unknown role":   {"principalId": client, "resourceId": resource.ID, "appRoleId": uuid.NewString()},
		"no role":        {"principalId": client, "resourceId": resource.ID},
		"another client": {"principalId": resource.ID, "resourceId": resource.ID, "appRoleId": role},
		"not a GUID":     {"principalId": client, "resourceId": "x", "appRoleId": role},
	} {
		if a := w.do(t, admin, "POST", held, bad); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 404, "Request_ResourceNotFound", "POST", held, object{"principalId": client, "resourceId": uuid.NewString(), "appRoleId": role})
	w.must(t, 201, "POST", held, object{"principalId": client, "resourceId": resource.ID, "appRoleId": uuid.Nil.String()})
	w.must(t, 204, "DELETE", held+"/"+a.id(), nil)
	w.refused(t, 404, "Request_ResourceNotFound", "DELETE", held+"/"+a.id(), nil)
	if got := w.directory.View(0).Roles(client, resource.ID); got != nil {
		t.Errorf("roles that are left: %v", got)
	}
}

func TestPermissionGrants(t *testing.T) {
	w := newWorld(t)
	_, _, client := w.app(t, "one")
	graph, _ := w.directory.View(0).ServicePrincipalByAppID(directory.Graph)
	body := func(scope string) object {
		return object{"clientId": client, "consentType": "AllPrincipals", "resourceId": graph.ID, "scope": scope}
	}
	const set = "/oauth2PermissionGrants"
	a := w.must(t, 201, "POST", set, body("User.Read openid"))
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", set, body("User.Read"))
	w.must(t, 204, "PATCH", set+"/"+a.id(), object{"scope": "User.Read"})
	w.refused(t, 400, "Request_BadRequest", "PATCH", set+"/"+a.id(), object{"scope": "No.Such.Scope"})
	w.refused(t, 400, "Request_BadRequest", "PATCH", set+"/"+a.id(), object{"clientId": client})
	if l := w.must(t, 200, "GET", "/servicePrincipals/"+client+set, nil); len(l.value()) != 1 || l.value()[0]["scope"] != "User.Read" {
		t.Errorf("after PATCH: %s", l.text)
	}
	if l := w.must(t, 200, "GET", set+"?$filter=clientId eq '"+client+"'", nil); len(l.value()) != 1 {
		t.Errorf("by client: %s", l.text)
	}
	for name, bad := range map[string]object{
		"Principal without one":  {"clientId": client, "consentType": "Principal", "resourceId": graph.ID, "scope": "User.Read"},
		"unknown consent":        {"clientId": client, "consentType": "All", "resourceId": graph.ID, "scope": "User.Read"},
		"AllPrincipals with one": {"clientId": client, "consentType": "AllPrincipals", "principalId": client, "resourceId": graph.ID, "scope": "User.Read"},
		"legacy member":          {"clientId": client, "consentType": "AllPrincipals", "resourceId": graph.ID, "scope": "User.Read", "startTime": "2026-01-01T00:00:00Z"},
	} {
		if a := w.do(t, admin, "POST", set, bad); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	w.refused(t, 404, "Request_ResourceNotFound", "POST", set, object{"clientId": uuid.NewString(), "consentType": "AllPrincipals", "resourceId": graph.ID, "scope": "User.Read"})
	w.must(t, 204, "DELETE", set+"/"+a.id(), nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", set+"/"+a.id(), nil)
}

func TestIDsTellNoCaseApart(t *testing.T) {
	w := newWorld(t)
	id, _, client := w.app(t, "one")
	graph, _ := w.directory.View(0).ServicePrincipalByAppID(directory.Graph)
	grant := object{"clientId": strings.ToUpper(client), "consentType": "AllPrincipals", "resourceId": strings.ToUpper(graph.ID), "scope": "User.Read"}
	if a := w.must(t, 201, "POST", "/oauth2PermissionGrants", grant); a.body["clientId"] != client || a.body["resourceId"] != graph.ID {
		t.Errorf("a grant: %s", a.text)
	}
	role := object{"principalId": strings.ToUpper(client), "roleDefinitionId": strings.ToUpper(directory.ApplicationAdministrator), "directoryScopeId": "/"}
	w.must(t, 201, "POST", "/roleManagement/directory/roleAssignments", role)
	if got := w.directory.View(0).DirectoryRoles(client); len(got) != 1 || got[0] != directory.ApplicationAdministrator {
		t.Errorf("roles: %v", got)
	}
	w.must(t, 204, "POST", "/applications/"+id+"/owners/$ref", object{"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/" + strings.ToUpper(client)})
	if a, _ := w.directory.View(0).Application(id); len(a.Owners) != 1 || a.Owners[0] != client {
		t.Errorf("owners: %v", a.Owners)
	}
	roleID, scopeID := uuid.NewString(), uuid.NewString()
	a := w.must(t, 201, "POST", "/applications", object{
		"displayName":            "two",
		"appRoles":               []object{{"id": strings.ToUpper(roleID), "value": "r", "displayName": "R", "description": "d", "allowedMemberTypes": []string{"Application"}}},
		"api":                    object{"oauth2PermissionScopes": []object{{"id": strings.ToUpper(scopeID), "value": "s", "type": "User", "isEnabled": true}}},
		"requiredResourceAccess": []object{{"resourceAppId": strings.ToUpper(directory.Graph), "resourceAccess": []object{{"id": strings.ToUpper(scopeID), "type": "Scope"}}}},
	})
	for _, id := range []string{roleID, scopeID, directory.Graph} {
		if !strings.Contains(a.text, id) {
			t.Errorf("%s is not in %s", id, a.text)
		}
	}
	if strings.Contains(a.text, strings.ToUpper(scopeID)) {
		t.Errorf("an id as it was sent: %s", a.text)
	}
}

func TestDirectoryRoles(t *testing.T) {
	w := newWorld(t)
	id, _, client := w.app(t, "one")
	const set = "/roleManagement/directory/roleAssignments"
	body := object{"@odata.type": "#microsoft.graph.unifiedRoleAssignment", "principalId": client, "roleDefinitionId": directory.ApplicationAdministrator, "directoryScopeId": "/"}
	a := w.must(t, 201, "POST", set, body)
	w.refused(t, 400, "Request_BadRequest", "POST", set, body)
	body["directoryScopeId"] = "/" + id
	w.must(t, 201, "POST", set, body)
	if l := w.must(t, 200, "GET", set+"?$filter=principalId eq '"+client+"'", nil); len(l.value()) != 2 {
		t.Errorf("by principal: %s", l.text)
	}
	if got := w.must(t, 200, "GET", set+"/"+a.id(), nil); got.body["principalId"] != client || got.body["directoryScopeId"] != "/" || got.body["principalOrganizationId"] != theTenant {
		t.Errorf("an assignment: %s", got.text)
	}
	if l := w.must(t, 200, "GET", "/directoryRoles", nil); len(l.value()) == 0 {
		t.Errorf("directory roles: %s", l.text)
	}
	for _, path := range []string{"/directoryRoles/", "/roleManagement/directory/roleDefinitions/"} {
		if got := w.must(t, 200, "GET", path+directory.ApplicationAdministrator, nil); got.body["displayName"] != "Application Administrator" {
			t.Errorf("%s: %s", path, got.text)
		}
		w.refused(t, 404, "Request_ResourceNotFound", "GET", path+uuid.NewString(), nil)
	}
	members := w.must(t, 200, "GET", "/directoryRoles(roleTemplateId='"+directory.ApplicationAdministrator+"')/members", nil)
	if len(members.value()) != 1 || members.value()[0]["id"] != client {
		t.Errorf("members: %s", members.text)
	}
	if l := w.must(t, 200, "GET", "/servicePrincipals/"+client+"/memberOf", nil); len(l.value()) != 1 {
		t.Errorf("memberOf: %s", l.text)
	}
	if l := w.must(t, 200, "GET", "/roleManagement/directory/roleDefinitions?$filter=displayName eq 'Global Reader'", nil); len(l.value()) != 1 || l.value()[0]["id"] != directory.GlobalReader {
		t.Errorf("definitions: %s", l.text)
	}
	w.refused(t, 404, "Request_ResourceNotFound", "POST", set, object{"principalId": client, "roleDefinitionId": uuid.NewString(), "directoryScopeId": "/"})
	// The id of the application, where that of its service principal belongs.
	w.refused(t, 404, "Request_ResourceNotFound", "POST", set, object{"principalId": id, "roleDefinitionId": directory.GlobalReader, "directoryScopeId": "/"})
	w.refused(t, 501, "notImplemented", "POST", set, object{"principalId": client, "roleDefinitionId": directory.GlobalReader, "directoryScopeId": "/administrativeUnits/x"})
	w.must(t, 204, "DELETE", set+"/"+a.id(), nil)
	w.refused(t, 404, "Request_ResourceNotFound", "DELETE", set+"/"+a.id(), nil)
}

func TestOwnersAndObjects(t *testing.T) {
	w := newWorld(t)
	id, _, client := w.app(t, "one")
	owners := "/applications/" + id + "/owners"
	ref := func(address string) object { return object{"@odata.id": address} }
	w.must(t, 204, "POST", owners+"/$ref", ref("https://graph.microsoft.com/v1.0/directoryObjects/"+client))
	w.refused(t, 400, "Request_BadRequest", "POST", owners+"/$ref", ref("https://graph.microsoft.com/v1.0/directoryObjects/"+client))
	w.refused(t, 400, "Request_BadRequest", "POST", owners+"/$ref", ref("https://elsewhere.example/v1.0/directoryObjects/"+client))
	w.refused(t, 400, "Request_BadRequest", "POST", owners+"/$ref", ref("x"))
	w.refused(t, 404, "Request_ResourceNotFound", "POST", owners+"/$ref", ref("https://graph.microsoft.com/v1.0/directoryObjects/"+id))
	if l := w.must(t, 200, "GET", "/servicePrincipals/"+client+"/ownedObjects", nil); len(l.value()) != 1 || l.value()[0]["@odata.type"] != "#microsoft.graph.application" {
		t.Errorf("owned: %s", l.text)
	}
	if l := w.must(t, 200, "GET", owners+"?$select=displayName,userPrincipalName", nil); len(l.value()) != 1 || l.value()[0]["displayName"] != "one" || len(l.value()[0]) != 2 {
		t.Errorf("owners, selected: %s", l.text)
	}
	w.refused(t, 400, "Request_BadRequest", "GET", owners+"?$select=colour", nil)
	w.must(t, 204, "DELETE", owners+"/"+client+"/$ref", nil)
	w.refused(t, 404, "Request_ResourceNotFound", "DELETE", owners+"/"+client+"/$ref", nil)

	if o := w.must(t, 200, "GET", "/directoryObjects/"+client, nil); o.body["@odata.type"] != "#microsoft.graph.servicePrincipal" {
		t.Errorf("an object: %s", o.text)
	}
	l := w.must(t, 200, "POST", "/directoryObjects/getByIds", object{"ids": []string{id, client, id, uuid.NewString()}, "types": []string{"application"}})
	if len(l.value()) != 1 || l.value()[0]["id"] != id {
		t.Errorf("by ids: %s", l.text)
	}
	w.refused(t, 400, "Request_BadRequest", "POST", "/directoryObjects/getByIds", object{"ids": []string{}})
	w.refused(t, 400, "Request_BadRequest", "POST", "/directoryObjects/getByIds", object{"ids": []string{id}, "x": 1})
}

func TestOrganizationAndUsers(t *testing.T) {
	w := newWorld(t)
	u := &directory.User{ID: uuid.NewString(), UserPrincipalName: "anna@contoso.onmicrosoft.com", DisplayName: "Anna Alt", AccountEnabled: true}
	w.directory.Update(func(up *directory.Update) error { up.PutUser(u); return nil })
	if a := w.must(t, 200, "GET", "/organization", nil); a.value()[0]["id"] != theTenant || a.value()[0]["tenantType"] != "AAD" {
		t.Errorf("organization: %s", a.text)
	}
	w.must(t, 200, "GET", "/organization/"+theTenant, nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/organization/"+uuid.NewString(), nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/domains/fabrikam.example", nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/users/nobody@contoso.onmicrosoft.com", nil)
	if a := w.must(t, 200, "GET", "/domains", nil); len(a.value()) != 1 || a.value()[0]["id"] != "contoso.onmicrosoft.com" {
		t.Errorf("domains: %s", a.text)
	}
	w.refused(t, 400, "Request_UnsupportedQuery", "GET", "/organization?$filter=displayName eq 'x'", nil)
	if a := w.must(t, 200, "GET", "/domains/contoso.onmicrosoft.com", nil); a.body["isDefault"] != true {
		t.Errorf("domain: %s", a.text)
	}
	for _, path := range []string{"/users/" + u.ID, "/users/anna@contoso.onmicrosoft.com", "/users('ANNA@contoso.onmicrosoft.com')"} {
		if a := w.must(t, 200, "GET", path, nil); a.id() != u.ID || a.body["accountEnabled"] != nil {
			t.Errorf("%s: %s", path, a.text)
		}
	}
	if a := w.must(t, 200, "GET", "/users?$filter=accountEnabled eq true", nil); len(a.value()) != 1 || a.value()[0]["accountEnabled"] != nil {
		t.Errorf("by a property that is not selected: %s", a.text)
	}
	ends := "/users?$count=true&$filter=endswith(userPrincipalName,'@CONTOSO.onmicrosoft.com')"
	if a := w.must(t, 200, "GET", ends, nil, "ConsistencyLevel", "eventual"); len(a.value()) != 1 {
		t.Errorf("by the end of the name: %s", a.text)
	}
	w.refused(t, 400, "Request_UnsupportedQuery", "GET", ends, nil)
	w.refused(t, 400, "Request_BadRequest", "GET", "/users?$filter=startswith(accountEnabled,'t')", nil)
	w.refused(t, 400, "Request_BadRequest", "GET", "/users?$filter=startswith(displayName,null)", nil)
	if a := w.must(t, 200, "GET", "/users?$select=accountEnabled", nil); a.value()[0]["accountEnabled"] != true {
		t.Errorf("selected: %s", a.text)
	}
	w.must(t, 200, "GET", "/beta/applications", nil)
	if a := w.do(t, admin, "GET", "https://graph.microsoft.com/v2.0/applications", nil); a.status != 501 {
		t.Errorf("an unknown version: %d", a.status)
	}
}

func TestTheFirstMissingMemberIsNamed(t *testing.T) {
	w := newWorld(t)
	_, _, client := w.app(t, "one")
	for path, first := range map[string]string{
		"/oauth2PermissionGrants":                              "clientId",
		"/roleManagement/directory/roleAssignments":            "directoryScopeId",
		"/servicePrincipals/" + client + "/appRoleAssignments": "appRoleId",
	} {
		for range 20 {
			if a := w.refused(t, 400, "Request_BadRequest", "POST", path, object{}); !strings.Contains(a.text, "'"+first+"'") {
				t.Fatalf("%s: %s", path, a.text)
			}
		}
	}
}
