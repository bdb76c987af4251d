package graph

import (
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// An upsert changes what an alternate key names, and creates it if it is not
// there. Whether it is there the replica decides that the request meets: one that
// does not know yet what was just created runs into it, with 409 [K], as a POST
// does.

// createsMissing reports whether the client asks for that; without it, an upsert
// is an update.
func (q *request) createsMissing() bool {
	return slices.ContainsFunc(strings.Split(strings.Join(q.r.Header.Values("Prefer"), ","), ","), func(preference string) bool {
		return strings.EqualFold(strings.TrimSpace(preference), "create-if-missing")
	})
}

// upsertApplication changes or creates the application with the unique name, of
// which the body must have the display name
// (learn.microsoft.com/graph/api/application-upsert). To create one it takes
// Application.ReadWrite.All, or of an application that of its own, and not
// Directory.ReadWrite.All. A name in the recycle bin is taken [K].
func (q *request) upsertApplication() (answer, *graphError) {
	name := q.keys[0].value
	_, ok := byUniqueName(q.view, name)
	if !q.createsMissing() {
		return q.patchApplication()
	}
	body, err := object(q.body)
	switch {
	case err != nil:
		return answer{}, err
	case body["displayName"] == nil:
		return answer{}, badRequest("A value is required for property 'displayName' of resource 'Application'.") // [K] the wording
	case ok:
		return q.patchApplication()
	case !q.caller.May("Application.ReadWrite.All", "Application.ReadWrite.OwnedBy"):
		return answer{}, denied()
	case len(name) > maxUniqueName:
		return answer{}, badValue("uniqueName")
	}
	if err := q.mayRegister(); err != nil {
		return answer{}, err
	}
	return q.makeApplication(&name)
}

// maxUniqueName is in UTF-8 [K]: no page tells a limit, and other names of the
// directory have this one.
const maxUniqueName = 256

// upsertPrincipal changes or creates the service principal of the application
// with the client ID (learn.microsoft.com/graph/api/serviceprincipal-upsert).
func (q *request) upsertPrincipal() (answer, *graphError) {
	appID := q.keys[0].value
	if _, ok := q.view.ServicePrincipalByAppID(appID); ok || !q.createsMissing() {
		return q.patchPrincipal()
	}
	if err := q.mayProvide(); err != nil {
		return answer{}, err
	}
	return q.makePrincipal(appID)
}

// mayRegister refuses a person who may not register applications: without one of
// the roles, that is for the tenant's authorization policy to say
// (learn.microsoft.com/entra/identity/role-based-access-control/delegate-app-roles).
func (q *request) mayRegister() *graphError {
	if q.caller.App() || q.isAdmin(applicationAdmins) || q.isAdmin(developers) || mayCreateApps(q.view) {
		return nil
	}
	return denied()
}

// mayProvide refuses a person who may not create service principals. Who is no
// administrator needs the role of an application developer, whatever the tenant
// lets people register, and to own the application
// (learn.microsoft.com/graph/api/serviceprincipal-post-serviceprincipals); see
// allowedToCreateFor.
func (q *request) mayProvide() *graphError {
	if q.caller.App() || q.isAdmin(applicationAdmins) || q.isAdmin(developers) {
		return nil
	}
	return denied()
}

var developers = []string{directory.ApplicationDeveloper}
