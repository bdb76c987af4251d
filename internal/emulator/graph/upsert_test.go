package graph_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// ifMissing is the header that makes an update an upsert.
var ifMissing = []string{"Prefer", "create-if-missing"}

func TestUpsertByUniqueName(t *testing.T) {
	w := newWorld(t)
	const path = "/applications(uniqueName='reeve-1')"
	w.refused(t, 404, "Request_ResourceNotFound", "PATCH", path, object{"displayName": "x"})
	w.refused(t, 400, "Request_BadRequest", "PATCH", path, object{"notes": "no display name"}, ifMissing...)
	w.refused(t, 400, "Request_BadRequest", "PATCH", path, "", ifMissing...)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", path, nil)
	w.refused(t, 400, "Request_BadRequest", "PATCH", "/applications(uniqueName='"+strings.Repeat("x", 257)+"')", object{"displayName": "x"}, ifMissing...)
	a := w.must(t, 201, "PATCH", path, object{"displayName": "x"}, "Prefer", "return=minimal, Create-If-Missing")
	if a.body["uniqueName"] != "reeve-1" || a.body["displayName"] != "x" || a.body["appId"] == nil {
		t.Errorf("what was created: %s", a.text)
	}
	w.must(t, 204, "PATCH", path, object{"displayName": "y"}, ifMissing...)
	w.refused(t, 400, "Request_BadRequest", "PATCH", path, object{"notes": "n"}, ifMissing...)
	w.must(t, 204, "PATCH", path, object{"notes": "n"}) // an update as any other
	if got := w.must(t, 200, "GET", path, nil); got.id() != a.id() || got.body["displayName"] != "y" || got.body["notes"] != "n" {
		t.Errorf("after two upserts: %s", got.text)
	}
	if all := w.must(t, 200, "GET", "/applications?$filter=uniqueName eq 'reeve-1'", nil); len(all.value()) != 1 {
		t.Errorf("after two upserts there are %s", all.text)
	}
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "POST", "/applications", object{"displayName": "z", "uniqueName": "reeve-1"})
	for _, at := range []string{path, "/applications/" + a.id()} {
		w.refused(t, 400, "Request_BadRequest", "PATCH", at, object{"uniqueName": "other"})
	}

	// In the recycle bin the name is taken still.
	w.must(t, 204, "DELETE", path, nil)
	w.refused(t, 404, "Request_ResourceNotFound", "GET", path, nil)
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "PATCH", path, object{"displayName": "x"}, ifMissing...)
	w.must(t, 204, "DELETE", "/directory/deletedItems/"+a.id(), nil)
	w.must(t, 201, "PATCH", path, object{"displayName": "x"}, ifMissing...)
}

func TestUpsertServicePrincipal(t *testing.T) {
	w := newWorld(t)
	app := w.must(t, 201, "POST", "/applications", object{"displayName": "one"})
	appID, _ := app.body["appId"].(string)
	path := "/servicePrincipals(appId='" + appID + "')"
	w.refused(t, 404, "Request_ResourceNotFound", "PATCH", path, object{"tags": []string{"t"}})
	p := w.must(t, 201, "PATCH", path, object{"tags": []string{"t"}}, ifMissing...)
	if p.body["appId"] != appID || p.body["displayName"] != "one" {
		t.Errorf("what was created: %s", p.text)
	}
	w.must(t, 204, "PATCH", path, object{"tags": []string{"u"}}, ifMissing...)
	if got := w.must(t, 200, "GET", path, nil); got.id() != p.id() || got.body["tags"].([]any)[0] != "u" {
		t.Errorf("after two upserts: %s", got.text)
	}
	unknown := w.refused(t, 400, "Request_BadRequest", "PATCH", "/servicePrincipals(appId='"+uuid.NewString()+"')", object{}, ifMissing...)
	if !strings.Contains(unknown.text, "NoBackingApplicationObject") {
		t.Errorf("of an unknown application: %s", unknown.text)
	}
}

// TestUpsertOnReplicas: a replica that lags behind does not make a second one of
// what another has just made.
func TestUpsertOnReplicas(t *testing.T) {
	w := newWorld(t)
	w.cloud.SetDelays(origin.Delays{Reads: origin.Range{Least: 30 * time.Second, Most: 30 * time.Second}})
	const path = "/applications(uniqueName='reeve-1')"
	app := w.must(t, 201, "PATCH", path, object{"displayName": "x"}, ifMissing...)
	appID, _ := app.body["appId"].(string)
	principal := "/servicePrincipals(appId='" + appID + "')"
	w.refused(t, 404, "Request_ResourceNotFound", "GET", path, nil)
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "PATCH", path, object{"displayName": "x"}, ifMissing...)
	w.refused(t, 400, "Request_BadRequest", "PATCH", principal, object{}, ifMissing...)
	w.pass(30 * time.Second)
	w.must(t, 204, "PATCH", path, object{"displayName": "y"}, ifMissing...)
	if got := w.must(t, 200, "GET", path, nil); got.body["displayName"] != "x" {
		t.Errorf("right after a change: %s", got.text)
	}
	p := w.must(t, 201, "PATCH", principal, object{}, ifMissing...)
	w.refused(t, 409, "Request_MultipleObjectsWithSameKeyValue", "PATCH", principal, object{}, ifMissing...)
	w.pass(30 * time.Second)
	w.must(t, 204, "PATCH", principal, object{}, ifMissing...)
	if got := w.must(t, 200, "GET", principal, nil); got.id() != p.id() {
		t.Errorf("the service principal is %s, want %s", got.id(), p.id())
	}
}

func TestWhoMayUpsert(t *testing.T) {
	w := newWorld(t)
	_, foreignAppID, foreign := w.app(t, "foreign")
	w.must(t, 201, "PATCH", "/applications(uniqueName='taken')", object{"displayName": "x"}, ifMissing...)
	n := 0
	try := func(c caller, want int) answer {
		t.Helper()
		n++
		a := w.do(t, c, "PATCH", "/applications(uniqueName='n"+string(rune('a'+n))+"')", object{"displayName": "x"}, ifMissing...)
		if a.status != want {
			t.Errorf("%v: %d %s, want %d", c, a.status, a.text, want)
		}
		return a
	}
	app := func(roles ...string) caller {
		return caller{oid: uuid.NewString(), appID: uuid.NewString(), roles: roles}
	}
	person := func(scopes string, wids ...string) caller {
		return caller{oid: uuid.NewString(), appID: uuid.NewString(), scopes: scopes, wids: wids}
	}

	try(app("Application.Read.All"), 403)
	try(app("Directory.ReadWrite.All"), 403)
	if a := try(app("Application.ReadWrite.All"), 201); len(w.owners(a.id())) != 0 {
		t.Errorf("the full permission makes owners: %v", w.owners(a.id()))
	}
	owner := app("Application.ReadWrite.OwnedBy")
	mine := try(owner, 201)
	if got := w.owners(mine.id()); !slices.Equal(got, []string{owner.oid}) {
		t.Errorf("the owners are %v, want the caller's service principal", got)
	}
	appID, _ := mine.body["appId"].(string)
	for _, want := range []int{201, 204} {
		if a := w.do(t, owner, "PATCH", "/servicePrincipals(appId='"+appID+"')", object{}, ifMissing...); a.status != want {
			t.Errorf("a service principal of its own: %d %s, want %d", a.status, a.text, want)
		}
	}
	if a := w.do(t, owner, "PATCH", "/applications(uniqueName='taken')", object{"displayName": "mine"}, ifMissing...); a.status != 403 {
		t.Errorf("another's application: %d %s", a.status, a.text)
	}
	w.directory.Update(func(u *directory.Update) error { u.RemoveServicePrincipal(foreign); return nil })
	if a := w.do(t, owner, "PATCH", "/servicePrincipals(appId='"+foreignAppID+"')", object{}, ifMissing...); a.status != 403 {
		t.Errorf("a service principal of another's: %d %s", a.status, a.text)
	}

	for _, role := range []string{directory.GlobalAdministrator, directory.ApplicationAdministrator, directory.CloudApplicationAdministrator, directory.ApplicationDeveloper} {
		one := person("Application.ReadWrite.All", role)
		if got := w.owners(try(one, 201).id()); !slices.Equal(got, []string{one.oid}) {
			t.Errorf("a person's is owned by %v", got)
		}
	}
	try(person("Application.ReadWrite.All", directory.PrivilegedRoleAdministrator), 403)
	try(person("User.Read", directory.GlobalAdministrator), 403)
}

// owners returns who owns an application.
func (w *world) owners(id string) []string {
	a, ok := w.directory.View(0).Application(id)
	if !ok {
		return nil
	}
	return a.Owners
}
