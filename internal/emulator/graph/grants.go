package graph

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// defaultRole is the appRoleId of an assignment without a role.
const defaultRole = "00000000-0000-0000-0000-000000000000"

func assignmentID(a *directory.AppRoleAssignment) string { return a.ID }

func renderAssignment(a *directory.AppRoleAssignment) entity {
	return entity{
		"id": a.ID, "deletedDateTime": nil, "appRoleId": a.AppRoleID, "createdDateTime": edmTime(a.CreatedDateTime),
		"principalDisplayName": a.PrincipalDisplayName, "principalId": a.PrincipalID, "principalType": a.PrincipalType,
		"resourceDisplayName": a.ResourceDisplayName, "resourceId": a.ResourceID,
	}
}

// onResource says which end of its assignments the path's service principal is.
func (q *request) onResource() bool { return strings.Contains(q.route.path, "/appRoleAssignedTo") }

// assignments returns the assignments of the path's service principal, or on it.
func (q *request) assignments(v directory.View, id string) []*directory.AppRoleAssignment {
	if !q.onResource() {
		return v.AppRoleAssignmentsOf(id)
	}
	return slices.DeleteFunc(v.AppRoleAssignments(), func(a *directory.AppRoleAssignment) bool { return a.ResourceID != id })
}

func (q *request) listAssignments() (answer, *graphError) {
	p, err := q.principal()
	if err != nil {
		return answer{}, err
	}
	return list(q, q.assignments(q.view, p.ID), assignmentID, renderAssignment)
}

// findAssignment returns the assignment of the path.
func (q *request) findAssignment() (*directory.AppRoleAssignment, *graphError) {
	p, err := q.principal()
	if err != nil {
		return nil, err
	}
	for _, a := range q.assignments(q.view, p.ID) {
		if a.ID == q.keys[1].value { // Base64 tells case apart.
			return a, nil
		}
	}
	return nil, notFound(q.keys[1].value)
}

func (q *request) getAssignment() (answer, *graphError) {
	a, err := q.findAssignment()
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderAssignment(a))
}

func (q *request) createAssignment() (answer, *graphError) {
	p, err := q.principal()
	if err != nil {
		return answer{}, err
	}
	members, err := assignmentType.members(q.body, true)
	if err != nil {
		return answer{}, err
	}
	var a directory.AppRoleAssignment
	if err := setRequired("AppRoleAssignment", members, map[string]*string{"principalId": &a.PrincipalID, "resourceId": &a.ResourceID, "appRoleId": &a.AppRoleID}); err != nil {
		return answer{}, err
	}
	a.PrincipalID, a.ResourceID, a.AppRoleID = strings.ToLower(a.PrincipalID), strings.ToLower(a.ResourceID), strings.ToLower(a.AppRoleID)
	end := a.PrincipalID
	if q.onResource() {
		end = a.ResourceID
	}
	if !strings.EqualFold(end, p.ID) {
		return answer{}, badRequest("The path and the request body name different service principals.")
	}
	if err := q.describeAssignment(&a); err != nil {
		return answer{}, err
	}
	err = q.update(a.PrincipalID, func(u *directory.Update) *graphError {
		for _, other := range u.AppRoleAssignmentsOf(a.PrincipalID) {
			if other.ResourceID == a.ResourceID && other.AppRoleID == a.AppRoleID {
				err := badRequest("Permission being assigned already exists on the object") // [K]
				err.Details = []errorDetail{{Code: "InvalidUpdate", Target: "appRoleAssignments", Message: err.Message}}
				return err
			}
		}
		if _, ok := u.ServicePrincipal(a.ResourceID); !ok {
			return notFound(a.ResourceID)
		}
		u.PutAppRoleAssignment(&a)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusCreated, renderAssignment(&a))
}

// describeAssignment checks both ends and the role as the replica has them, and
// that the caller may grant it, and fills in what Graph does.
func (q *request) describeAssignment(a *directory.AppRoleAssignment) *graphError {
	resource, ok := q.view.ServicePrincipal(a.ResourceID)
	if !ok {
		return notFound(a.ResourceID)
	}
	member := ""
	if p, ok := q.view.ServicePrincipal(a.PrincipalID); ok {
		a.PrincipalDisplayName, a.PrincipalType, member = p.DisplayName, "ServicePrincipal", "Application"
	} else if u, ok := q.view.User(a.PrincipalID); ok {
		a.PrincipalDisplayName, a.PrincipalType, member = u.DisplayName, "User", "User"
	} else {
		return badRequest("Not a valid reference update.")
	}
	allowed := a.AppRoleID == defaultRole
	for _, r := range resource.AppRoles {
		if strings.EqualFold(r.ID, a.AppRoleID) && r.IsEnabled && slices.Contains(r.AllowedMemberTypes, member) {
			allowed = true
		}
	}
	if !allowed {
		return badRequest("Permission being assigned was not found on application")
	}
	if directory.IsDirectoryService(resource.AppID) && a.AppRoleID != defaultRole && !q.caller.App() && !q.isAdmin(roleAdmins) {
		return denied() // These alone are not the application administrators' to grant.
	}
	a.ID, a.CreatedDateTime, a.ResourceDisplayName = directory.NewAssignmentID(), q.now(), resource.DisplayName
	return nil
}

func (q *request) deleteAssignment() (answer, *graphError) {
	a, err := q.findAssignment()
	if err != nil {
		return answer{}, err
	}
	return noContent, q.update(a.PrincipalID, func(u *directory.Update) *graphError {
		if _, ok := u.AppRoleAssignment(a.ID); !ok {
			return notFound(a.ID)
		}
		u.RemoveAppRoleAssignment(a.ID)
		return nil
	})
}

func grantID(g *directory.PermissionGrant) string { return g.ID }

func renderGrant(g *directory.PermissionGrant) entity {
	return entity{
		"id": g.ID, "clientId": g.ClientID, "consentType": g.ConsentType, "principalId": optional(g.PrincipalID),
		"resourceId": g.ResourceID, "scope": g.Scope,
	}
}

func (q *request) listGrants() (answer, *graphError) {
	return list(q, q.view.PermissionGrants(), grantID, renderGrant)
}

func (q *request) listGrantsOf() (answer, *graphError) {
	p, err := q.principal()
	if err != nil {
		return answer{}, err
	}
	return list(q, q.view.PermissionGrantsOf(p.ID), grantID, renderGrant)
}

func (q *request) findGrant() (*directory.PermissionGrant, *graphError) {
	g, ok := q.view.PermissionGrant(q.keys[0].value)
	if !ok {
		return nil, notFound(q.keys[0].value)
	}
	return g, q.allowed(nil)
}

func (q *request) getGrant() (answer, *graphError) {
	g, err := q.findGrant()
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderGrant(g))
}

func (q *request) createGrant() (answer, *graphError) {
	members, err := grantType.members(q.body, true)
	if err != nil {
		return answer{}, err
	}
	g := &directory.PermissionGrant{ID: directory.NewAssignmentID()}
	if err := setRequired("OAuth2PermissionGrant", members, map[string]*string{"clientId": &g.ClientID, "resourceId": &g.ResourceID, "consentType": &g.ConsentType, "scope": &g.Scope}); err != nil {
		return answer{}, err
	}
	if raw, ok := members["principalId"]; ok && !setOptional(&g.PrincipalID, raw) {
		return answer{}, badValue("principalId")
	}
	g.ClientID, g.ResourceID = strings.ToLower(g.ClientID), strings.ToLower(g.ResourceID)
	if g.PrincipalID != nil {
		*g.PrincipalID = strings.ToLower(*g.PrincipalID)
	}
	if (g.ConsentType == "Principal") != (g.PrincipalID != nil) || g.ConsentType != "Principal" && g.ConsentType != "AllPrincipals" {
		return answer{}, badValue("consentType")
	}
	resource, err := q.checkGrant(g)
	if err != nil {
		return answer{}, err
	}
	if err := checkScope(resource, g.Scope); err != nil {
		return answer{}, err
	}
	err = q.update(g.ClientID, func(u *directory.Update) *graphError {
		for _, other := range u.PermissionGrantsOf(g.ClientID) {
			if other.ResourceID == g.ResourceID && other.ConsentType == g.ConsentType && optional(other.PrincipalID) == optional(g.PrincipalID) {
				return refusal(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "Permission entry already exists.")
			}
		}
		u.PutPermissionGrant(g)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusCreated, renderGrant(g))
}

// checkGrant checks the ids of a grant, all of which are object ids.
func (q *request) checkGrant(g *directory.PermissionGrant) (*directory.ServicePrincipal, *graphError) {
	if _, ok := q.view.ServicePrincipal(g.ClientID); !ok {
		return nil, notFound(g.ClientID)
	}
	if g.PrincipalID != nil {
		if u, ok := q.view.User(*g.PrincipalID); !ok || !strings.EqualFold(u.ID, *g.PrincipalID) {
			return nil, notFound(*g.PrincipalID)
		}
	}
	resource, ok := q.view.ServicePrincipal(g.ResourceID)
	if !ok {
		return nil, notFound(g.ResourceID)
	}
	return resource, nil
}

// checkScope refuses scopes that the resource does not offer.
func checkScope(resource *directory.ServicePrincipal, scope string) *graphError {
	words := strings.Fields(scope)
	if len(words) == 0 {
		return badValue("scope")
	}
	for _, w := range words {
		offered := slices.Contains([]string{"openid", "profile", "email", "offline_access"}, w) && resource.AppID == directory.Graph
		for _, s := range resource.OAuth2PermissionScopes {
			offered = offered || s.Value == w
		}
		if !offered {
			return badRequest("The scope '%s' is not offered by the resource.", origin.Printable(w)) // [K]
		}
	}
	return nil
}

func (q *request) patchGrant() (answer, *graphError) {
	seen, err := q.findGrant()
	if err != nil {
		return answer{}, err
	}
	members, err := grantType.members(q.body, false)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.update(seen.ClientID, func(u *directory.Update) *graphError {
		before, ok := u.PermissionGrant(seen.ID)
		if !ok {
			return notFound(seen.ID)
		}
		g := *before
		if raw, ok := members["scope"]; ok && json.Unmarshal(raw, &g.Scope) != nil {
			return badValue("scope")
		}
		resource, ok := u.ServicePrincipal(g.ResourceID)
		if !ok {
			return notFound(g.ResourceID)
		}
		if err := checkScope(resource, g.Scope); err != nil {
			return err
		}
		u.PutPermissionGrant(&g)
		return nil
	})
}

func (q *request) deleteGrant() (answer, *graphError) {
	g, err := q.findGrant()
	if err != nil {
		return answer{}, err
	}
	return noContent, q.update(g.ClientID, func(u *directory.Update) *graphError {
		if _, ok := u.PermissionGrant(g.ID); !ok {
			return notFound(g.ID)
		}
		u.RemovePermissionGrant(g.ID)
		return nil
	})
}
