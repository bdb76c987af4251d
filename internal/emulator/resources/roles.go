package resources

import (
	"net/http"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/keyvault"
)

// role is a built-in role with what it allows on resources; a star stands for
// anything. What the roles of a vault allow with its contents, package keyvault
// knows.
type role struct {
	id, name         string
	actions, denials []string
}

// roles are those of https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
// that have to do with the vault. The condition that keeps a Key Vault Data
// Access Administrator to the vault's roles is in mayAssign.
var roles = []role{
	{keyvault.Owner, "Owner", []string{"*"}, nil},
	{"b24988ac-6180-42a0-ab88-20f7382dd24c", "Contributor", []string{"*"},
		[]string{"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action"}},
	{"acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", []string{"*/read"}, nil},
	{"18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", "User Access Administrator", []string{"*/read", "Microsoft.Authorization/*"}, nil},
	{"f58310d9-a9f6-439a-9e8d-f62e7b41a168", "Role Based Access Control Administrator",
		[]string{"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "*/read"}, nil},
	{"f25e0fa2-a7c8-4377-a976-54943a77a395", "Key Vault Contributor", []string{
		"Microsoft.Authorization/*/read", "Microsoft.KeyVault/*", "Microsoft.Resources/subscriptions/resourceGroups/read",
	}, []string{"Microsoft.KeyVault/locations/deletedVaults/purge/action", "Microsoft.KeyVault/hsmPools/*", "Microsoft.KeyVault/managedHsms/*"}},
	{dataAccessAdministrator, "Key Vault Data Access Administrator", []string{
		"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "Microsoft.Authorization/*/read",
		"Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.Resources/subscriptions/read", "Microsoft.KeyVault/vaults/*/read",
	}, nil},
	{"00482a5a-887f-4fb3-b363-3b7fe8e74483", "Key Vault Administrator", dataPlane, nil},
	{"21090545-7ca7-4776-b22c-e363652d74d2", "Key Vault Reader", dataPlane, nil},
	{"a4417e6f-fecd-4de8-b567-7b0420556985", "Key Vault Certificates Officer", dataPlane, nil},
	{"db79e9a7-68ee-4b58-9aeb-b90e7c24fcba", "Key Vault Certificate User", nil, nil},
	{"14b46e9e-c2b7-41b4-b07b-48a6ebf60603", "Key Vault Crypto Officer", dataPlane, nil},
	{"12338af0-0e69-4776-bea7-57ae8d297424", "Key Vault Crypto User", nil, nil},
	{"e147488a-f6f5-4113-8e2d-b22465e65bf6", "Key Vault Crypto Service Encryption User", nil, nil},
	{"b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "Key Vault Secrets Officer", dataPlane, nil},
	{"4633458b-17de-408a-b874-0445c86b69e6", "Key Vault Secrets User", nil, nil},
	{"a68e7c17-0ab2-4c09-9a58-125dae29748c", "Key Vault Purge Operator", nil, nil},
}

const dataAccessAdministrator = "8b54135c-b56d-4d72-a534-26097cfdc8d8"

// dataPlane is what most roles of a vault's contents allow with its resource.
var dataPlane = []string{
	"Microsoft.Authorization/*/read", "Microsoft.Resources/subscriptions/resourceGroups/read", "Microsoft.KeyVault/vaults/*/read",
}

// RoleID returns the GUID of a role by its name.
func RoleID(name string) (string, bool) {
	i := slices.IndexFunc(roles, func(r role) bool { return strings.EqualFold(r.name, name) })
	if i < 0 {
		return "", false
	}
	return roles[i].id, true
}

func lookup(id string) (role, bool) {
	i := slices.IndexFunc(roles, func(r role) bool { return strings.EqualFold(r.id, id) })
	if i < 0 {
		return role{}, false
	}
	return roles[i], true
}

func (r role) allows(action string) bool {
	matches := func(pattern string) bool { return matchAction(pattern, action) }
	return slices.ContainsFunc(r.actions, matches) && !slices.ContainsFunc(r.denials, matches)
}

// matchAction matches an action, whose case does not count, with a pattern of at
// most one star.
func matchAction(pattern, action string) bool {
	pattern, action = strings.ToLower(pattern), strings.ToLower(action)
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == action
	}
	return len(action) >= len(before)+len(after) && strings.HasPrefix(action, before) && strings.HasSuffix(action, after)
}

// held returns the roles that the caller holds at a scope or above it, and
// without a scope those anywhere.
func (q *request) held(scope string) []role {
	var all []role
	for _, a := range q.Vault.RoleAssignments() {
		r, ok := lookup(a.Role)
		if ok && a.ObjectID == q.caller.ObjectID && (scope == "" || within(scope, q.scopeOf(a))) {
			all = append(all, r)
		}
	}
	return all
}

// within reports whether a scope is another, or in it.
func within(scope, other string) bool {
	scope, other = strings.ToLower(scope)+"/", strings.ToLower(other)+"/"
	return strings.HasPrefix(scope, other)
}

func (e *API) scopeOf(a keyvault.RoleAssignment) string {
	if a.Scope == "" {
		return e.vaultScope()
	}
	return a.Scope
}

func (q *request) may(action, scope string) bool {
	return slices.ContainsFunc(q.held(scope), func(r role) bool { return r.allows(action) })
}

// denied is the refusal of
// https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
func (q *request) denied(action, scope string) *refusal {
	return refuse(http.StatusForbidden, "AuthorizationFailed",
		"The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		q.caller.ClientID, q.caller.ObjectID, action, scope)
}

// require refuses a caller who may not do an action.
func (q *request) require(action, scope string) *refusal {
	if !q.may(action, scope) {
		return q.denied(action, scope)
	}
	return nil
}
