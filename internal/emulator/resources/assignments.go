package resources

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

const definitions = "/providers/Microsoft.Authorization/roleDefinitions/"

// scope returns the scope of the path as it is spelled here: the subscription,
// its resource group or the vault.
func (q *request) scope() (string, *refusal) {
	asked := q.parts["scope"]
	for _, known := range []string{q.root(), q.groupScope(), q.vaultScope()} {
		if strings.EqualFold(asked, known) {
			return known, nil
		}
	}
	switch {
	case !within(asked, q.root()):
		return "", refuse(http.StatusNotFound, "SubscriptionNotFound", "The subscription of the scope '%s' could not be found.", origin.Printable(asked))
	case !within(asked, q.groupScope()):
		return "", refuse(http.StatusNotFound, "ResourceGroupNotFound", "The resource group of the scope '%s' could not be found.", origin.Printable(asked))
	}
	return "", refuse(http.StatusNotFound, "ResourceNotFound", "The resource '%s' was not found.", origin.Printable(asked))
}

func (q *request) render(a keyvault.RoleAssignment) map[string]any {
	scope := q.scopeOf(a)
	kind := a.PrincipalType
	if kind == "" {
		kind = "ServicePrincipal"
	}
	var by any
	if a.CreatedBy != "" {
		by = a.CreatedBy
	}
	at := a.From.UTC().Format("2006-01-02T15:04:05.0000000Z")
	return map[string]any{
		"id": scope + "/providers/Microsoft.Authorization/roleAssignments/" + a.Name, "name": a.Name, "type": "Microsoft.Authorization/roleAssignments",
		"properties": map[string]any{
			"roleDefinitionId": q.root() + definitions + a.Role, "principalId": a.ObjectID, "principalType": kind, "scope": scope,
			"condition": nil, "conditionVersion": nil, "description": nil, "delegatedManagedIdentityResourceId": nil,
			"createdOn": at, "updatedOn": at, "createdBy": by, "updatedBy": by,
		},
	}
}

// listAssignments lists what was assigned at the scope and above it, and without
// the filter atScope() below it, too.
func (q *request) listAssignments() (answer, *refusal) {
	scope, err := q.scope()
	if err == nil {
		err = q.require("Microsoft.Authorization/roleAssignments/read", scope)
	}
	if err != nil {
		return answer{}, err
	}
	filter := strings.ReplaceAll(q.r.URL.Query().Get("$filter"), " ", "")
	principal, byPrincipal := strings.CutPrefix(filter, "principalIdeq'")
	if !byPrincipal {
		principal, byPrincipal = strings.CutPrefix(filter, "assignedTo('")
	}
	principal = strings.Trim(principal, "')")
	if filter != "" && filter != "atScope()" && !byPrincipal {
		return answer{}, refuse(http.StatusNotImplemented, "NotImplemented", "The emulated tenant does not know the filter %s.", origin.Printable(filter))
	}
	var all []any
	for _, a := range q.Vault.RoleAssignments() {
		at := q.scopeOf(a)
		if (within(scope, at) || filter != "atScope()" && within(at, scope)) && (!byPrincipal || strings.EqualFold(principal, a.ObjectID)) {
			all = append(all, q.render(a))
		}
	}
	return list(all)
}

// findAssignment returns the assignment of the path, if it is there.
func (q *request) findAssignment(scope string) (keyvault.RoleAssignment, bool) {
	all := q.Vault.RoleAssignments()
	i := slices.IndexFunc(all, func(a keyvault.RoleAssignment) bool {
		return strings.EqualFold(a.Name, q.parts["name"]) && strings.EqualFold(q.scopeOf(a), scope)
	})
	if i < 0 {
		return keyvault.RoleAssignment{}, false
	}
	return all[i], true
}

func (q *request) getAssignment() (answer, *refusal) {
	scope, err := q.scope()
	if err == nil {
		err = q.require("Microsoft.Authorization/roleAssignments/read", scope)
	}
	if err != nil {
		return answer{}, err
	}
	a, found := q.findAssignment(scope)
	if !found {
		return answer{}, refuse(http.StatusNotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", origin.Printable(q.parts["name"]))
	}
	return ok(q.render(a))
}

// Versions from which principalType counts, and until which roles cannot be
// assigned at all
// (learn.microsoft.com/azure/role-based-access-control/role-assignments-rest).
const (
	firstVersion  = "2015-07-01"
	typedVersion  = "2018-09-01"
	personVersion = "2020-03-01"
)

// createAssignment assigns a role. What is assigned already is 409, under
// whichever name, and even when the request is the same; a name that is taken by
// another is 400
// (learn.microsoft.com/azure/role-based-access-control/troubleshooting,
// github.com/Azure/azure-cli/pull/8599).
func (q *request) createAssignment() (answer, *refusal) {
	scope, err := q.scope()
	if err == nil {
		err = q.require("Microsoft.Authorization/roleAssignments/write", scope)
	}
	if err != nil {
		return answer{}, err
	}
	var body struct {
		Properties struct {
			RoleDefinitionID string `json:"roleDefinitionId"`
			PrincipalID      string `json:"principalId"`
			PrincipalType    string `json:"principalType"`
			Condition        string `json:"condition"`
		} `json:"properties"`
	}
	if err := q.read(&body); err != nil {
		return answer{}, err
	}
	p := body.Properties
	name := strings.ToLower(q.parts["name"])
	id := strings.ToLower(p.RoleDefinitionID[strings.LastIndex(p.RoleDefinitionID, "/")+1:])
	r, known := lookup(id)
	switch {
	case q.version < firstVersion:
		return answer{}, refuse(http.StatusBadRequest, "NoRegisteredProviderFound", "No registered resource provider found for the API version '%s' for type 'roleAssignments'.", q.version)
	case !origin.IsGUID(name):
		return answer{}, refuse(http.StatusBadRequest, "InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", origin.Printable(name))
	case !origin.IsGUID(p.PrincipalID):
		return answer{}, refuse(http.StatusBadRequest, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
	case !origin.IsGUID(id), !known:
		return answer{}, refuse(http.StatusBadRequest, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", origin.Printable(id))
	case p.Condition != "":
		return answer{}, refuse(http.StatusNotImplemented, "NotImplemented", "The emulated tenant does not know conditions of role assignments.")
	case !q.mayAssign(r, scope):
		return answer{}, q.denied("Microsoft.Authorization/roleAssignments/write", scope)
	}
	a := keyvault.RoleAssignment{Name: name, Scope: scope, Role: r.id, ObjectID: strings.ToLower(p.PrincipalID), CreatedBy: q.caller.ObjectID}
	if a.PrincipalType, err = q.principalType(a.ObjectID, p.PrincipalType); err != nil {
		return answer{}, err
	}
	for _, other := range q.Vault.RoleAssignments() {
		same := other.ObjectID == a.ObjectID && other.Role == a.Role && strings.EqualFold(q.scopeOf(other), scope)
		switch {
		case same:
			return answer{}, refuse(http.StatusConflict, "RoleAssignmentExists", "The role assignment already exists. The ID of the existing role assignment is %s.", strings.ReplaceAll(other.Name, "-", ""))
		case strings.EqualFold(other.Name, name):
			return answer{}, refuse(http.StatusBadRequest, "RoleAssignmentUpdateNotPermitted", "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
		}
	}
	a.From = q.Cloud.Now()
	q.Vault.Assign(a)
	return answer{http.StatusCreated, q.render(a)}, nil
}

// mayAssign keeps a Key Vault Data Access Administrator to the roles of the
// vault's contents.
func (q *request) mayAssign(r role, scope string) bool {
	const write = "Microsoft.Authorization/roleAssignments/write"
	return slices.ContainsFunc(q.held(scope), func(h role) bool {
		return h.allows(write) && (h.id != dataAccessAdministrator || keyvault.IsRole(r.id))
	})
}

// principalType says what the principal is. It is looked up at a replica of the
// directory, which may not have a new one yet, unless the request says what it
// is: that spares the look [K] even if there is none of that ID.
func (q *request) principalType(id, said string) (string, *refusal) {
	v := q.Directory.View(q.Cloud.ReadLag(q.r))
	kind := ""
	if _, ok := v.ServicePrincipal(id); ok {
		kind = "ServicePrincipal"
	} else if u, ok := v.User(id); ok && strings.EqualFold(u.ID, id) {
		kind = "User"
	}
	switch said {
	case "ServicePrincipal":
		if q.version < typedVersion {
			said = ""
		}
	case "User", "Group", "ForeignGroup", "Device":
		if q.version < personVersion {
			said = ""
		}
	case "":
	default:
		return "", refuse(http.StatusBadRequest, "InvalidPrincipalType", "The principal type '%s' is not valid.", origin.Printable(said)) // [K] the code
	}
	switch {
	case kind == "" && said == "":
		return "", refuse(http.StatusBadRequest, "PrincipalNotFound",
			"Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
			strings.ReplaceAll(id, "-", ""), q.Directory.TenantID)
	case kind != "" && said != "" && said != kind:
		return "", refuse(http.StatusBadRequest, "UnmatchedPrincipalType", "The PrincipalId '%s' has type '%s' , which is different from specified PrincipalType '%s'.", id, kind, said) // [K]
	case kind == "":
		return said, nil
	}
	return kind, nil
}

// deleteAssignment takes a role back; of one that is not there it says 204.
func (q *request) deleteAssignment() (answer, *refusal) {
	scope, err := q.scope()
	if err == nil {
		err = q.require("Microsoft.Authorization/roleAssignments/delete", scope)
	}
	if err != nil {
		return answer{}, err
	}
	a, found := q.findAssignment(scope)
	if !found {
		return answer{http.StatusNoContent, nil}, nil
	}
	if r, ok := lookup(a.Role); ok && !q.mayAssign(r, scope) {
		return answer{}, q.denied("Microsoft.Authorization/roleAssignments/delete", scope)
	}
	if lastOwner(q.Vault.RoleAssignments(), a, q.root()) {
		return answer{}, refuse(http.StatusBadRequest, "CannotDeleteLastRbacAdminAssignment", "Cannot delete the last RBAC admin assignment.") // [K] the status
	}
	q.Vault.Unassign(a.Name)
	return ok(q.render(a))
}

// lastOwner reports whether an assignment is the last of an owner over the
// subscription.
func lastOwner(all []keyvault.RoleAssignment, a keyvault.RoleAssignment, root string) bool {
	owns := func(o keyvault.RoleAssignment) bool {
		return o.Role == keyvault.Owner && strings.EqualFold(o.Scope, root)
	}
	return owns(a) && !slices.ContainsFunc(all, func(o keyvault.RoleAssignment) bool { return o.Name != a.Name && owns(o) })
}

// listRoles lists role definitions, all or the one with a name.
func (q *request) listRoles() (answer, *refusal) {
	scope, err := q.scope()
	if err == nil {
		err = q.require("Microsoft.Authorization/roleDefinitions/read", scope)
	}
	if err != nil {
		return answer{}, err
	}
	filter := q.r.URL.Query().Get("$filter")
	name, byName := strings.CutPrefix(filter, "roleName eq '")
	name, closed := strings.CutSuffix(name, "'")
	if filter != "" && (!byName || !closed) {
		return answer{}, refuse(http.StatusNotImplemented, "NotImplemented", "The emulated tenant does not know the filter %s.", origin.Printable(filter))
	}
	var all []any
	for _, r := range roles {
		if byName && !strings.EqualFold(r.name, name) {
			continue
		}
		all = append(all, map[string]any{
			"id": q.root() + definitions + r.id, "name": r.id, "type": "Microsoft.Authorization/roleDefinitions",
			"properties": map[string]any{
				"roleName": r.name, "type": "BuiltInRole", "description": "", "assignableScopes": []string{"/"},
				"permissions": []any{map[string]any{
					"actions": some(r.actions), "notActions": some(r.denials), "dataActions": keyvault.DataActions(r.id), "notDataActions": []string{},
				}},
				"createdOn": time.Unix(0, 0).UTC(), "updatedOn": time.Unix(0, 0).UTC(), "createdBy": nil, "updatedBy": nil,
			},
		})
	}
	return list(all)
}

// some is a list that is never null.
func some(all []string) []string { return append([]string{}, all...) }
