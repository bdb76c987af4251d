package graph_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// TestPeopleRegisterWhatTheTenantLetsThem: who holds no role registers
// applications only while the authorization policy says so, owns what came of
// it, and never provides service principals or grants roles.
func TestPeopleRegisterWhatTheTenantLetsThem(t *testing.T) {
	w := newWorld(t)
	const policy = "/policies/authorizationPolicy"
	pat := caller{oid: uuid.NewString(), appID: uuid.NewString(), scopes: "Application.ReadWrite.All AppRoleAssignment.ReadWrite.All Policy.ReadWrite.Authorization"}
	developer := pat
	developer.oid, developer.wids = uuid.NewString(), []string{directory.ApplicationDeveloper}
	setter := caller{oid: uuid.NewString(), appID: uuid.NewString(), roles: []string{"Policy.ReadWrite.Authorization"}}
	allow := func(on bool) {
		t.Helper()
		body := object{"defaultUserRolePermissions": object{"allowedToCreateApps": on}}
		if a := w.do(t, setter, "PATCH", policy, body); a.status != 204 {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	register := func(c caller, want int) answer {
		t.Helper()
		a := w.do(t, c, "POST", "/applications", object{"displayName": "x"})
		b := w.do(t, c, "PATCH", "/applications(uniqueName='u"+uuid.NewString()+"')", object{"displayName": "x"}, ifMissing...)
		if a.status != want || b.status != want || want == 403 && (a.code() != "Authorization_RequestDenied" || b.code() != a.code()) {
			t.Errorf("registering: %d %s, %d %s, want %d", a.status, a.text, b.status, b.text, want)
		}
		return b
	}
	provide := func(c caller, of answer, want int) {
		t.Helper()
		for _, prefer := range []string{"POST", "PATCH"} {
			at, body := "/servicePrincipals", object{"appId": of.body["appId"]}
			if prefer == "PATCH" {
				at, body = "/servicePrincipals(appId='"+of.body["appId"].(string)+"')", object{}
			}
			if a := w.do(t, c, prefer, at, body, ifMissing...); a.status != want {
				t.Errorf("%s %s: %d %s, want %d", prefer, at, a.status, a.text, want)
			}
			if want == 201 {
				want = 204 // for the upsert it is there
			}
		}
	}

	register(pat, 403)
	provide(developer, register(developer, 201), 201)
	allow(true)
	mine := register(pat, 201)
	if got := w.owners(mine.id()); len(got) != 1 || got[0] != pat.oid {
		t.Errorf("the owners are %v", got)
	}
	provide(pat, mine, 403)
	provide(developer, mine, 403) // who does not own it
	got := w.do(t, setter, "GET", policy, nil)
	people, _ := got.body["defaultUserRolePermissions"].(map[string]any)
	if got.id() != "authorizationPolicy" || people["allowedToCreateApps"] != true || people["allowedToReadOtherUsers"] != true {
		t.Errorf("the policy: %s", got.text)
	}
	allow(false)
	register(pat, 403)
	if a := w.do(t, pat, "PATCH", "/applications/"+mine.id(), object{"notes": "n"}); a.status != 204 {
		t.Errorf("what is theirs already: %d %s", a.status, a.text)
	}

	// Neither may people change the policy, nor is it among those for applications.
	if a := w.do(t, pat, "PATCH", policy, object{"allowedToUseSSPR": false}); a.status != 403 {
		t.Errorf("by somebody without a role: %d %s", a.status, a.text)
	}
	admin := pat
	admin.wids = []string{directory.PrivilegedRoleAdministrator}
	if a := w.do(t, admin, "PATCH", policy, object{"allowedToUseSSPR": false}); a.status != 204 {
		t.Errorf("by a Privileged Role Administrator: %d %s", a.status, a.text)
	}
	for _, body := range []object{{"id": "x"}, {"allowedToUseSSPR": "no"}, {"defaultUserRolePermissions": object{"unknown": true}}} {
		if a := w.do(t, setter, "PATCH", policy, body); a.status != 400 {
			t.Errorf("%v: %d %s", body, a.status, a.text)
		}
	}
	if a := w.do(t, setter, "PATCH", policy, object{"defaultUserRolePermissions": object{"permissionGrantPoliciesAssigned": []string{}}}); a.status != 501 {
		t.Errorf("what has no effect here: %d %s", a.status, a.text)
	}
	if a := w.must(t, 200, "GET", "/policies/appManagementPolicies", nil); len(a.value()) != 0 {
		t.Errorf("app management policies: %s", a.text)
	}
	w.refused(t, 404, "Request_ResourceNotFound", "GET", "/policies/appManagementPolicies/authorizationPolicy", nil)
}
