package graph_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/graph"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// TestEveryRouteChecksThePermission tries every operation with a token that
// carries none.
func TestEveryRouteChecksThePermission(t *testing.T) {
	w := newWorld(t)
	id, _, principalID := w.app(t, "one")
	powerless := caller{oid: uuid.NewString(), appID: uuid.NewString()}
	n := 0
	for _, o := range w.api.Origin().Operations {
		method, path, _ := strings.Cut(o.Request, " ")
		if !strings.HasPrefix(o.Source, "https://learn.microsoft.com/") || o.Name == "" {
			t.Errorf("%+v: what is documented has a source and a name", o)
		}
		if o.Name == "batch" {
			continue
		}
		object := id
		if strings.HasPrefix(path, "/servicePrincipals") {
			object = principalID
		}
		path = strings.NewReplacer("{id}", object, "{property}", "tags").Replace(path)
		if o.Name == "downloadReport" {
			continue // which is for whoever has the address
		}
		body := ""
		if method == "POST" || method == "PATCH" {
			body = `{}`
		}
		a := w.do(t, powerless, method, path, body)
		// Applications and service principals have operations of one name.
		if below, ok := strings.CutPrefix(path, "/applications/"+id); ok && o.Name != "addKey" && o.Name != "removeKey" {
			if twin := w.do(t, powerless, method, "/servicePrincipals/"+principalID+below, body); twin.status != 403 && twin.status != 501 {
				t.Errorf("%s of a service principal: %d %s", o.Request, twin.status, twin.text)
			}
		}
		switch {
		case o.Name == "me" || o.Name == "userinfo":
			if a.status != 400 {
				t.Errorf("%s: %d %s", o.Request, a.status, a.text)
			}
		case o.Name == "addKey" || o.Name == "removeKey": // see the tests of keys
		default:
			// Services behind Graph have words of their own.
			own := slices.Contains([]string{"Forbidden", "S2SUnauthorized"}, a.code())
			if a.status != 403 || a.code() != "Authorization_RequestDenied" && !own {
				t.Errorf("%s: %d %s", o.Request, a.status, a.text)
			}
		}
		n++
	}
	if n < 60 {
		t.Errorf("%d operations", n)
	}
}

func TestOwnedByReachesOnlyWhatIsOwned(t *testing.T) {
	w := newWorld(t)
	foreign, foreignAppID, foreignPrincipal := w.app(t, "foreign")
	_, appID, principalID := w.app(t, "self")
	self := caller{oid: principalID, appID: appID, roles: []string{"Application.ReadWrite.OwnedBy"}}
	a := w.do(t, self, "POST", "/applications", object{"displayName": "mine"})
	if a.status != 201 {
		t.Fatalf("creating: %d %s", a.status, a.text)
	}
	mine, _ := a.body["appId"].(string)
	if owners := w.must(t, 200, "GET", "/applications/"+a.id()+"/owners", nil); len(owners.value()) != 1 || owners.value()[0]["id"] != principalID {
		t.Errorf("owners of what it created: %s", owners.text)
	}
	if p := w.do(t, self, "POST", "/servicePrincipals", object{"appId": mine}); p.status != 201 {
		t.Errorf("a service principal for its own: %d %s", p.status, p.text)
	}
	if p := w.do(t, self, "PATCH", "/applications/"+a.id(), object{"notes": "x"}); p.status != 204 {
		t.Errorf("changing its own: %d %s", p.status, p.text)
	}
	if l := w.do(t, self, "GET", "/applications", nil); l.status != 200 || len(l.value()) != 1 {
		t.Errorf("listing: %d %s", l.status, l.text)
	}
	for path, method := range map[string]string{
		"/applications/" + foreign: "PATCH", "/servicePrincipals/" + foreignPrincipal: "PATCH",
		"/applications/" + foreign + "/addPassword": "POST", "/applications/" + foreign + "/owners": "GET",
	} {
		if p := w.do(t, self, method, path, map[string]string{"GET": "", "PATCH": "{}", "POST": "{}"}[method]); p.status != 403 {
			t.Errorf("%s %s: %d %s", method, path, p.status, p.text)
		}
	}
	w.directory.Update(func(u *directory.Update) error { u.RemoveServicePrincipal(foreignPrincipal); return nil })
	if p := w.do(t, self, "POST", "/servicePrincipals", object{"appId": foreignAppID}); p.status != 403 {
		t.Errorf("a service principal for another's: %d %s", p.status, p.text)
	}
}

func TestOwnedBySeesInTheBinOnlyWhatIsOwned(t *testing.T) {
	w := newWorld(t)
	foreign, _, _ := w.app(t, "foreign")
	_, appID, principalID := w.app(t, "self")
	self := caller{oid: principalID, appID: appID, roles: []string{"Application.ReadWrite.OwnedBy"}}
	mine := w.do(t, self, "POST", "/applications", object{"displayName": "mine"})
	w.do(t, self, "POST", "/servicePrincipals", object{"appId": mine.body["appId"]})
	owned := w.do(t, self, "GET", "/servicePrincipals/"+principalID+"/ownedObjects", nil)
	if owned.status != 200 || len(owned.value()) != 2 {
		t.Errorf("what it owns: %d %s", owned.status, owned.text)
	}
	w.must(t, 204, "DELETE", "/applications/"+foreign, nil)
	w.must(t, 204, "DELETE", "/applications/"+mine.id(), nil)
	for _, kind := range []string{"application", "servicePrincipal"} {
		if l := w.do(t, self, "GET", "/directory/deletedItems/microsoft.graph."+kind, nil); l.status != 200 || len(l.value()) != 1 || l.value()[0]["displayName"] != "mine" {
			t.Errorf("%s: %d %s", kind, l.status, l.text)
		}
	}
}

func TestSomeOperationsNeedTwoPermissions(t *testing.T) {
	w := newWorld(t)
	id, _, client := w.app(t, "one")
	policy := w.must(t, 201, "POST", "/policies/appManagementPolicies", object{"displayName": "p"}).id()
	assign := func(c caller) answer {
		return w.do(t, c, "POST", "/applications/"+id+"/appManagementPolicies/$ref", object{"@odata.id": "https://graph.microsoft.com/v1.0/policies/appManagementPolicies/" + policy})
	}
	grant := func(c caller) answer {
		return w.do(t, c, "POST", "/servicePrincipals/"+client+"/appRoleAssignments", object{"principalId": client, "resourceId": client, "appRoleId": uuid.Nil.String()})
	}
	for _, c := range []struct {
		do    func(caller) answer
		want  int
		roles []string
	}{
		{assign, 403, []string{"Application.ReadWrite.All"}},
		{assign, 403, []string{"Policy.ReadWrite.ApplicationConfiguration"}},
		{assign, 204, []string{"Policy.ReadWrite.ApplicationConfiguration", "Application.Read.All"}},
		{grant, 403, []string{"AppRoleAssignment.ReadWrite.All"}},
		{grant, 201, []string{"AppRoleAssignment.ReadWrite.All", "Application.Read.All"}},
	} {
		if a := c.do(caller{oid: uuid.NewString(), appID: uuid.NewString(), roles: c.roles}); a.status != c.want {
			t.Errorf("%v: %d %s, want %d", c.roles, a.status, a.text, c.want)
		}
	}
	reader := caller{oid: uuid.NewString(), appID: uuid.NewString(), roles: []string{"Application.Read.All"}}
	if a := w.do(t, reader, "GET", "/servicePrincipals/"+client+"/oauth2PermissionGrants", nil); a.status != 403 {
		t.Errorf("delegated grants by Application.Read.All: %d %s", a.status, a.text)
	}
}

func TestApplicationAdministratorDoesNotGrantGraph(t *testing.T) {
	w := newWorld(t)
	_, _, client := w.app(t, "one")
	person := caller{oid: uuid.NewString(), appID: uuid.NewString(), scopes: "AppRoleAssignment.ReadWrite.All Application.Read.All"}
	grant := func(appID, role, wid string, want int) {
		t.Helper()
		resource, _ := w.directory.View(0).ServicePrincipalByAppID(appID)
		id, err := directory.RoleID(appID, role)
		if err != nil {
			t.Fatal(err)
		}
		person.wids = []string{wid}
		body := object{"principalId": client, "resourceId": resource.ID, "appRoleId": id}
		if a := w.do(t, person, "POST", "/servicePrincipals/"+client+"/appRoleAssignments", body); a.status != want {
			t.Errorf("%s by %s: %d %s, want %d", role, wid, a.status, a.text, want)
		}
	}
	grant(directory.ManagementAPIs, "ActivityFeed.Read", directory.ApplicationAdministrator, 201)
	grant(directory.Graph, "User.Read.All", directory.ApplicationAdministrator, 403)
	grant(directory.Graph, "User.Read.All", directory.CloudApplicationAdministrator, 403)
	grant(directory.Graph, "User.Read.All", directory.ApplicationDeveloper, 403)
	grant(directory.ManagementAPIs, "ActivityFeed.ReadDlp", directory.ApplicationDeveloper, 403)
	grant(directory.Graph, "User.Read.All", directory.GlobalAdministrator, 201)
	grant(directory.Graph, "Group.Read.All", directory.PrivilegedRoleAdministrator, 201)
	grant(directory.ManagementAPIs, "ActivityFeed.ReadDlp", directory.CloudApplicationAdministrator, 201)

	// Default access is no role, and an application's permission is enough.
	graph, _ := w.directory.View(0).ServicePrincipalByAppID(directory.Graph)
	body := object{"principalId": client, "resourceId": graph.ID, "appRoleId": uuid.Nil.String()}
	person.wids = []string{directory.ApplicationAdministrator}
	if a := w.do(t, person, "POST", "/servicePrincipals/"+client+"/appRoleAssignments", body); a.status != 201 {
		t.Errorf("default access: %d %s", a.status, a.text)
	}
	id, _ := directory.RoleID(directory.Graph, "Reports.Read.All")
	body["appRoleId"] = id
	app := caller{oid: uuid.NewString(), appID: uuid.NewString(), roles: []string{"AppRoleAssignment.ReadWrite.All", "Application.Read.All"}}
	if a := w.do(t, app, "POST", "/servicePrincipals/"+client+"/appRoleAssignments", body); a.status != 201 {
		t.Errorf("a role of Graph by an application: %d %s", a.status, a.text)
	}
}

func TestPersonNeedsADirectoryRoleOrOwnsIt(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	mail := "anna@contoso.onmicrosoft.com"
	anna := &directory.User{ID: uuid.NewString(), UserPrincipalName: mail, DisplayName: "Anna Alt", Mail: &mail, AccountEnabled: true}
	w.directory.Update(func(u *directory.Update) error { u.PutUser(anna); return nil })
	person := caller{oid: anna.ID, appID: uuid.NewString(), scopes: "Application.ReadWrite.All User.Read"}
	try := func(want int) {
		t.Helper()
		if a := w.do(t, person, "PATCH", "/applications/"+id, object{"notes": "x"}); a.status != want {
			t.Errorf("%d %s, want %d", a.status, a.text, want)
		}
	}
	try(403)
	if a := w.do(t, person, "POST", "/applications", object{"displayName": "x"}); a.status != 403 {
		t.Errorf("creating: %d %s", a.status, a.text)
	}
	person.wids = []string{directory.GlobalReader}
	try(403)
	person.wids = []string{directory.CloudApplicationAdministrator}
	try(204)
	person.wids = nil
	w.must(t, 204, "POST", "/applications/"+id+"/owners/$ref", object{"@odata.id": "https://127.0.0.1:1/v1.0/users/" + anna.ID})
	try(204)
	_, _, client := w.app(t, "owned")
	w.must(t, 204, "POST", "/servicePrincipals/"+client+"/owners/$ref", object{"@odata.id": "https://127.0.0.1:1/v1.0/users/" + anna.ID})
	person.scopes = "AppRoleAssignment.ReadWrite.All"
	if a := w.do(t, person, "POST", "/servicePrincipals/"+client+"/appRoleAssignments", object{}); a.status != 403 {
		t.Errorf("an owner grants permissions: %d %s", a.status, a.text)
	}
	person.scopes = "User.Read"
	try(403)
	if a := w.do(t, person, "GET", "/me", nil); a.status != 200 || a.body["userPrincipalName"] != mail {
		t.Errorf("/me: %d %s", a.status, a.text)
	}
	if a := w.do(t, person, "GET", "/organization/"+theTenant, nil); a.status != 200 || a.body["displayName"] != "Contoso" || a.body["verifiedDomains"] == nil || a.body["tenantType"] != nil {
		t.Errorf("the organization by User.Read: %d %s", a.status, a.text)
	}
	if a := w.do(t, person, "GET", "/users/"+mail, nil); a.status != 200 || a.id() != anna.ID {
		t.Errorf("herself by User.Read: %d %s", a.status, a.text)
	}
	other := &directory.User{ID: uuid.NewString(), UserPrincipalName: "berta@contoso.onmicrosoft.com", DisplayName: "Berta Alt"}
	w.directory.Update(func(u *directory.Update) error { u.PutUser(other); return nil })
	for _, path := range []string{"/users", "/users/" + other.ID, "/users/" + uuid.NewString()} {
		if a := w.do(t, person, "GET", path, nil); a.status != 403 {
			t.Errorf("%s by User.Read: %d %s", path, a.status, a.text)
		}
	}
	if a := w.do(t, person, "GET", "/domains", nil); a.status != 403 {
		t.Errorf("domains by User.Read: %d %s", a.status, a.text)
	}
	if a := w.do(t, person, "GET", "/oidc/userinfo", nil); a.status != 200 || a.body["sub"] != anna.ID {
		t.Errorf("userinfo: %d %s", a.status, a.text)
	}
	if a := w.do(t, admin, "GET", "/me", nil); a.status != 400 || a.code() != "BadRequest" {
		t.Errorf("/me of an application: %d %s", a.status, a.text)
	}
}

func TestReplicasLagBehind(t *testing.T) {
	w := newWorld(t)
	id, appID, _ := w.app(t, "one")
	w.directory.Settle()
	w.cloud.SetDelays(origin.Delays{Reads: origin.Range{Least: 30 * time.Second, Most: 30 * time.Second}})
	w.must(t, 204, "PATCH", "/applications/"+id, object{"displayName": "two"})
	name := func(path string) any { return w.must(t, 200, "GET", path, nil).body["displayName"] }
	if got := name("/applications/" + id); got != "one" {
		t.Errorf("right after a change: %v", got)
	}
	// A write is addressed by what the replica sees and made to the newest.
	w.must(t, 204, "PATCH", "/applications/"+id, object{"notes": "n"})
	w.pass(30 * time.Second)
	if a := w.must(t, 200, "GET", "/applications/"+id, nil); a.body["displayName"] != "two" || a.body["notes"] != "n" {
		t.Errorf("after a while: %s", a.text)
	}

	created := w.must(t, 201, "POST", "/applications", object{"displayName": "new"})
	newAppID, _ := created.body["appId"].(string)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/applications/"+created.id(), nil)
	w.refused(t, 404, "Request_ResourceNotFound", "PATCH", "/applications/"+created.id(), object{"notes": "n"})
	w.refused(t, 400, "Request_BadRequest", "POST", "/servicePrincipals", object{"appId": newAppID})
	w.pass(30 * time.Second)
	p := w.must(t, 201, "POST", "/servicePrincipals", object{"appId": newAppID})
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", "/servicePrincipals", object{"appId": newAppID})
	role := object{"principalId": p.id(), "roleDefinitionId": directory.GlobalReader, "directoryScopeId": "/"}
	w.refused(t, 404, "Request_ResourceNotFound", "POST", "/roleManagement/directory/roleAssignments", role)
	w.pass(30 * time.Second)
	w.must(t, 201, "POST", "/roleManagement/directory/roleAssignments", role)
	_ = appID
}

// TestOwnerOfBeforeWritesNothing: what a replica has still shown is no leave to
// write.
func TestOwnerOfBeforeWritesNothing(t *testing.T) {
	w := newWorld(t)
	id, _, principalID := w.app(t, "one")
	_, appID, self := w.app(t, "self")
	owner := caller{oid: self, appID: appID, roles: []string{"Application.ReadWrite.OwnedBy"}}
	paths := []string{"/applications/" + id, "/servicePrincipals/" + principalID}
	for _, path := range paths {
		w.must(t, 204, "POST", path+"/owners/$ref", object{"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/" + self})
	}
	w.directory.Settle()
	w.cloud.SetDelays(origin.Delays{Reads: origin.Range{Least: 30 * time.Second, Most: 30 * time.Second}})
	for _, path := range paths {
		w.must(t, 204, "DELETE", path+"/owners/"+self+"/$ref", nil)
	}
	for _, path := range paths {
		if a := w.do(t, owner, "GET", path, nil); a.status != 200 {
			t.Errorf("reading %s: %d %s", path, a.status, a.text)
		}
		for method, body := range map[string]any{"PATCH": object{"notes": "n"}, "DELETE": nil} {
			if a := w.do(t, owner, method, path, body); a.status != 403 {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.text)
			}
		}
	}
}

// TestServicePrincipalOfTheNewestApplication: nor is it one to create what
// belongs to an application, whatever the replica still has of that.
func TestServicePrincipalOfTheNewestApplication(t *testing.T) {
	w := newWorld(t)
	_, appID, self := w.app(t, "self")
	owner := caller{oid: self, appID: appID, roles: []string{"Application.ReadWrite.OwnedBy"}}
	mine := w.do(t, owner, "POST", "/applications", object{"displayName": "before"})
	gone := w.do(t, owner, "POST", "/applications", object{"displayName": "gone"})
	given := w.do(t, owner, "POST", "/applications", object{"displayName": "given away"})
	w.directory.Settle()
	w.cloud.SetDelays(origin.Delays{Reads: origin.Range{Least: 30 * time.Second, Most: 30 * time.Second}})
	w.must(t, 204, "PATCH", "/applications/"+mine.id(), object{"displayName": "after"})
	w.must(t, 204, "DELETE", "/applications/"+gone.id(), nil)
	w.must(t, 204, "DELETE", "/applications/"+given.id()+"/owners/"+self+"/$ref", nil)
	create := func(a answer) answer {
		return w.do(t, owner, "POST", "/servicePrincipals", object{"appId": a.body["appId"]})
	}
	if a := create(mine); a.status != 201 || a.body["displayName"] != "after" || !slices.Contains(w.ownersOf(a.id()), self) {
		t.Errorf("of an application of its own: %d %s", a.status, a.text)
	}
	if a := create(gone); a.status != 400 || !strings.Contains(a.text, "NoBackingApplicationObject") {
		t.Errorf("of an application that was deleted: %d %s", a.status, a.text)
	}
	if a := create(given); a.status != 403 {
		t.Errorf("of an application that it does not own any more: %d %s", a.status, a.text)
	}
}

// ownersOf returns who owns a service principal by itself.
func (w *world) ownersOf(id string) []string {
	p, ok := w.directory.View(0).ServicePrincipal(id)
	if !ok {
		return nil
	}
	return p.Owners
}

func TestFullPermissionMakesNoOwner(t *testing.T) {
	w := newWorld(t)
	a := w.must(t, 201, "POST", "/applications", object{"displayName": "one"})
	if one, _ := w.directory.View(0).Application(a.id()); len(one.Owners) != 0 {
		t.Errorf("owners of the application: %v", one.Owners)
	}
	p := w.must(t, 201, "POST", "/servicePrincipals", object{"appId": a.body["appId"]})
	if owners := w.ownersOf(p.id()); len(owners) != 0 {
		t.Errorf("owners of the service principal: %v", owners)
	}
	person := caller{oid: uuid.NewString(), appID: uuid.NewString(), scopes: "Application.ReadWrite.All", wids: []string{directory.ApplicationAdministrator}}
	b := w.do(t, person, "POST", "/applications", object{"displayName": "two"})
	if two, ok := w.directory.View(0).Application(b.id()); !ok || !slices.Equal(two.Owners, []string{person.oid}) {
		t.Errorf("a person's: %d %s", b.status, b.text)
	}
}

func TestWritesThatComeTooSoon(t *testing.T) {
	hurried := func(w *world) {
		w.cloud.Calm = false
		w.api.Unkindness = graph.Unkindness{Contention: 1000}
	}
	w := newWorld(t, hurried)
	a := w.must(t, 201, "POST", "/applications", object{"displayName": "one"})
	w.pass(5 * time.Second)
	w.must(t, 204, "PATCH", "/applications/"+a.id(), object{"notes": "1"})
	w.pass(5*time.Second - 1)
	w.refused(t, 409, "Directory_ConcurrencyViolation", "PATCH", "/applications/"+a.id(), object{"notes": "2"})
	w.pass(1)
	w.must(t, 204, "PATCH", "/applications/"+a.id(), object{"notes": "3"})
	w.pass(-time.Hour) // A clock that is set back leaves nothing behind.
	w.must(t, 204, "PATCH", "/applications/"+a.id(), object{"notes": "4"})

	calm := newWorld(t, hurried, func(w *world) { w.cloud.Calm = true })
	b := calm.must(t, 201, "POST", "/applications", object{"displayName": "one"})
	calm.must(t, 204, "PATCH", "/applications/"+b.id(), object{"notes": "1"})
}

func TestThrottling(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.cloud.Calm = false
		w.api.Unkindness = graph.Unkindness{Throttle: true}
	})
	bearer := w.token(t, admin)
	get := func() answer { return w.send(t, bearer, "GET", "/applications", nil) }
	var a answer
	n := 0
	for ; n < 2000; n++ {
		if a = get(); a.status != 200 {
			break
		}
		if a.header.Get("x-ms-resource-unit") != "2" {
			t.Fatalf("a list costs %s", a.header.Get("x-ms-resource-unit"))
		}
		if share := a.header.Get("x-ms-throttle-limit-percentage"); (share != "") != (n >= 1399) {
			t.Fatalf("after %d lists the share is %q", n+1, share)
		}
	}
	if n != 1750 || a.status != 429 || a.code() != "TooManyRequests" || a.header.Get("Retry-After") != "10" ||
		a.header.Get("x-ms-throttle-scope") != "Tenant_Application/ReadWrite/"+admin.appID+"/"+theTenant {
		t.Errorf("after %d lists: %d %v %s", n, a.status, a.header, a.text)
	}
	if other := w.do(t, caller{oid: uuid.NewString(), appID: uuid.NewString(), roles: admin.roles}, "GET", "/applications?$select=id", nil); other.status != 200 || other.header.Get("x-ms-resource-unit") != "1" {
		t.Errorf("another application: %d %v", other.status, other.header)
	}
	w.pass(-time.Hour) // A clock that is set back does not make anybody wait for an hour.
	bearer = w.token(t, admin)
	if a := get(); a.status != 200 {
		t.Errorf("after the clock was set back: %d", a.status)
	}
	for range 1749 {
		get()
	}
	if a := get(); a.status != 429 {
		t.Errorf("after as many lists again: %d", a.status)
	}
	w.pass(10 * time.Second)
	if a := get(); a.status != 200 {
		t.Errorf("after the period: %d", a.status)
	}
}

func TestErrorBody(t *testing.T) {
	w := newWorld(t)
	id := uuid.NewString()
	a := w.do(t, admin, "GET", "/applications/"+uuid.NewString(), nil, "client-request-id", id)
	e, _ := a.body["error"].(map[string]any)
	inner, _ := e["innerError"].(map[string]any)
	if inner["client-request-id"] != id || a.header.Get("client-request-id") != id || inner["request-id"] != a.header.Get("request-id") || inner["date"] != "2026-03-01T09:00:00" {
		t.Errorf("%v %s", a.header, a.text)
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	bearer := w.token(t, admin)
	shared := w.must(t, 201, "POST", "/applications", object{"displayName": "shared"}).id()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			a := w.send(t, bearer, "POST", "/applications", object{"displayName": "one"})
			for _, c := range []struct {
				status               int
				method, target, body string
			}{
				{204, "PATCH", "/applications/" + a.id(), `{"notes":"n"}`},
				{200, "POST", "/applications/" + shared + "/addPassword", ``},
				{200, "GET", "/applications?$top=2&$orderby=displayName", ``},
				{204, "DELETE", "/applications/" + a.id(), ``},
			} {
				if got := w.send(t, bearer, c.method, c.target, c.body); got.status != c.status {
					t.Errorf("%s %s: %d %s", c.method, c.target, got.status, got.text)
				}
			}
		})
	}
	all.Wait()
	if a := w.must(t, 200, "GET", "/applications/"+shared+"/passwordCredentials", nil); len(a.value()) != 8 {
		t.Errorf("%d of 8 secrets were kept", len(a.value()))
	}
}
