package graph

import (
	"net/http"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// role is a built-in directory role.
type role struct{ templateID, name, description string }

var builtInRoles = []role{
	{directory.GlobalAdministrator, "Global Administrator", "Can manage everything in the directory and in the services that use its identities."},
	{directory.ApplicationAdministrator, "Application Administrator", "Can manage all of app registrations and enterprise apps."},
	{directory.CloudApplicationAdministrator, "Cloud Application Administrator", "Can manage all of app registrations and enterprise apps except the application proxy."},
	{directory.PrivilegedRoleAdministrator, "Privileged Role Administrator", "Can manage who holds which role, and consent to any permission."},
	{directory.ApplicationDeveloper, "Application Developer", "Can register applications whatever the tenant lets its people do."},
	{directory.GlobalReader, "Global Reader", "Can read what a Global Administrator can read, and change nothing."},
	{directory.ReportsReader, "Reports Reader", "Can read sign-in and audit reports."},
}

func roleID(r role) string { return r.templateID }

func renderRoleDefinition(r role) entity {
	return entity{
		"id": r.templateID, "templateId": r.templateID, "displayName": r.name, "description": r.description,
		"isBuiltIn": true, "isEnabled": true, "resourceScopes": []string{"/"}, "version": "1",
		// What a role allows is not emulated beyond its name.
		"rolePermissions": []any{},
	}
}

// renderDirectoryRole gives a role the id of its template: the tenant's own ids
// of roles are not emulated [K].
func renderDirectoryRole(r role) entity {
	return entity{"id": r.templateID, "deletedDateTime": nil, "roleTemplateId": r.templateID, "displayName": r.name, "description": r.description}
}

func (q *request) role() (role, *graphError) {
	i := slices.IndexFunc(builtInRoles, func(r role) bool { return strings.EqualFold(r.templateID, q.keys[0].value) })
	if i < 0 || q.keys[0].name != "id" && q.keys[0].name != "roleTemplateId" {
		return role{}, notFound(q.keys[0].value)
	}
	return builtInRoles[i], nil
}

func (q *request) listRoleDefinitions() (answer, *graphError) {
	return list(q, slices.Clone(builtInRoles), roleID, renderRoleDefinition)
}

func (q *request) getRoleDefinition() (answer, *graphError) {
	r, err := q.role()
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderRoleDefinition(r))
}

func (q *request) listDirectoryRoles() (answer, *graphError) {
	return list(q, slices.Clone(builtInRoles), roleID, renderDirectoryRole)
}

func (q *request) getDirectoryRole() (answer, *graphError) {
	r, err := q.role()
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderDirectoryRole(r))
}

func (q *request) listRoleMembers() (answer, *graphError) {
	r, err := q.role()
	if err != nil {
		return answer{}, err
	}
	var ids []string
	for _, a := range q.view.RoleAssignments() {
		if a.RoleDefinitionID == r.templateID && a.DirectoryScopeID == "/" {
			ids = append(ids, a.PrincipalID)
		}
	}
	return list(q, q.objects(ids), entityID, itself)
}

// listMemberOf lists the directory roles of a service principal; it is in no
// group, as none are emulated.
func (q *request) listMemberOf() (answer, *graphError) {
	p, err := q.principal()
	if err != nil {
		return answer{}, err
	}
	held := q.view.DirectoryRoles(p.ID)
	roles := slices.DeleteFunc(slices.Clone(builtInRoles), func(r role) bool { return !slices.Contains(held, r.templateID) })
	return list(q, roles, roleID, func(r role) entity {
		e := renderDirectoryRole(r)
		e["@odata.type"] = "#microsoft.graph.directoryRole"
		return e
	})
}

func roleAssignmentID(a *directory.RoleAssignment) string { return a.ID }

func (q *request) renderRoleAssignment(a *directory.RoleAssignment) entity {
	return entity{
		"id": a.ID, "principalId": a.PrincipalID, "roleDefinitionId": a.RoleDefinitionID, "directoryScopeId": a.DirectoryScopeID,
		"appScopeId": nil, "condition": nil, "principalOrganizationId": q.Directory.TenantID,
	}
}

func (q *request) listRoleAssignments() (answer, *graphError) {
	return list(q, q.view.RoleAssignments(), roleAssignmentID, q.renderRoleAssignment)
}

func (q *request) findRoleAssignment() (*directory.RoleAssignment, *graphError) {
	a, ok := q.view.RoleAssignment(q.keys[0].value)
	if !ok {
		return nil, notFound(q.keys[0].value)
	}
	return a, q.allowed(nil)
}

func (q *request) getRoleAssignment() (answer, *graphError) {
	a, err := q.findRoleAssignment()
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, q.renderRoleAssignment(a))
}

func (q *request) createRoleAssignment() (answer, *graphError) {
	members, err := roleAssignmentType.members(q.body, true)
	if err != nil {
		return answer{}, err
	}
	a := &directory.RoleAssignment{ID: directory.NewAssignmentID()}
	if err := setRequired("UnifiedRoleAssignment", members, map[string]*string{"principalId": &a.PrincipalID, "roleDefinitionId": &a.RoleDefinitionID, "directoryScopeId": &a.DirectoryScopeID}); err != nil {
		return answer{}, err
	}
	a.PrincipalID, a.RoleDefinitionID, a.DirectoryScopeID = strings.ToLower(a.PrincipalID), strings.ToLower(a.RoleDefinitionID), strings.ToLower(a.DirectoryScopeID)
	if !slices.ContainsFunc(builtInRoles, func(r role) bool { return r.templateID == a.RoleDefinitionID }) {
		return answer{}, notFound(a.RoleDefinitionID)
	}
	if err := q.checkRoleScope(a.DirectoryScopeID); err != nil {
		return answer{}, err
	}
	if !q.isActor(a.PrincipalID) {
		return answer{}, notFound(a.PrincipalID) // [K] for the id of an application
	}
	err = q.update(a.PrincipalID, func(u *directory.Update) *graphError {
		for _, other := range u.RoleAssignments() {
			if other.PrincipalID == a.PrincipalID && other.RoleDefinitionID == a.RoleDefinitionID && other.DirectoryScopeID == a.DirectoryScopeID {
				// [K]
				return badRequest("A conflicting object with one or more of the specified property values is present in the directory.")
			}
		}
		u.PutRoleAssignment(a)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusCreated, q.renderRoleAssignment(a))
}

// checkRoleScope takes the whole directory, or one application or service
// principal as /{id}.
func (q *request) checkRoleScope(scope string) *graphError {
	id, ok := strings.CutPrefix(scope, "/")
	if !ok {
		return badValue("directoryScopeId")
	}
	if strings.Contains(id, "/") {
		return notEmulated("the directoryScopeId of a role in an administrative unit")
	}
	if _, ok := q.object(id); id != "" && !ok {
		return notFound(id)
	}
	return nil
}

func (q *request) deleteRoleAssignment() (answer, *graphError) {
	a, err := q.findRoleAssignment()
	if err != nil {
		return answer{}, err
	}
	return noContent, q.update(a.PrincipalID, func(u *directory.Update) *graphError {
		if _, ok := u.RoleAssignment(a.ID); !ok {
			return notFound(a.ID)
		}
		u.RemoveRoleAssignment(a.ID)
		return nil
	})
}
