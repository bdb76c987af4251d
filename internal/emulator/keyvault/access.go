package keyvault

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/token"
)

// access is who may do what.
type access struct {
	// Policies hold the permissions of each object ID, such as "secrets/get".
	// They count unless RBAC is set; then Grants do.
	Policies map[string]map[string]bool `json:"policies"`
	RBAC     bool                       `json:"rbac,omitempty"`
	Grants   []grant                    `json:"grants,omitempty"`
	Network  Network                    `json:"network,omitempty"`
}

// grant is a role assignment on the vault, or above it.
type grant struct {
	RoleAssignment
	Until time.Time `json:"until,omitzero"` // zero while it lasts
}

// Network says whom the vault answers at all.
type Network string

// What Network can be: everybody is answered, or all are refused because of the
// firewall's rules, or because public access is switched off.
const (
	Open         Network = ""
	ByFirewall   Network = "ForbiddenByFirewall"
	ByConnection Network = "ForbiddenByConnection"
)

// SetNetwork says whom the vault answers.
func (v *Vault) SetNetwork(n Network) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Access.Network = n
}

// Allow gives a service principal permissions such as "certificates/get" and
// "secrets/get". The second is what the private key takes; the first gives the
// public part only. "secrets/all" is every permission on secrets but purge.
func (v *Vault) Allow(objectID string, permissions ...string) { v.set(objectID, true, permissions) }

// IsPermission reports whether an access policy can hold a permission.
func IsPermission(permission string) bool {
	collection, name, _ := strings.Cut(permission, "/")
	return slices.ContainsFunc(operations, func(o operation) bool {
		group, _, _ := strings.Cut(o.permission, "/")
		return o.permission == permission || group == collection && (name == "all" || permission == "certificates/manageissuers")
	})
}

// Deny takes permissions away.
func (v *Vault) Deny(objectID string, permissions ...string) { v.set(objectID, false, permissions) }

func (v *Vault) set(objectID string, allowed bool, permissions []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	policies := v.state.Access.Policies
	if policies[objectID] == nil {
		policies[objectID] = map[string]bool{}
	}
	for _, p := range permissions {
		policies[objectID][p] = allowed
	}
}

// Allowed reports whether the access policies give the service principal the
// permission.
func (v *Vault) Allowed(objectID, permission string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	held := v.state.Access.Policies[objectID]
	collection, name, _ := strings.Cut(permission, "/")
	if given, said := held[permission]; said {
		return given
	}
	// That all leaves out purge is [K].
	return held[collection+"/all"] && name != "purge" ||
		held[collection+"/manageissuers"] && strings.HasSuffix(name, "issuers")
}

// roles are the built-in roles with their data actions, by the GUIDs of their
// definitions. Actions lack the prefix Microsoft.KeyVault/vaults/; a star stands
// for any part
// (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security).
var roles = map[string]struct {
	name    string
	actions []string
}{
	"00482a5a-887f-4fb3-b363-3b7fe8e74483": {"Key Vault Administrator", []string{"*"}},
	"21090545-7ca7-4776-b22c-e363652d74d2": {"Key Vault Reader", []string{"*/read", "secrets/readMetadata/action"}},
	"a4417e6f-fecd-4de8-b567-7b0420556985": {"Key Vault Certificates Officer", []string{"certificatecas/*", "certificates/*", "certificatecontacts/write"}},
	"db79e9a7-68ee-4b58-9aeb-b90e7c24fcba": {"Key Vault Certificate User", []string{"certificates/read", "secrets/getSecret/action", "secrets/readMetadata/action", "keys/read"}},
	"14b46e9e-c2b7-41b4-b07b-48a6ebf60603": {"Key Vault Crypto Officer", []string{"keys/*", "keyrotationpolicies/*"}},
	"12338af0-0e69-4776-bea7-57ae8d297424": {"Key Vault Crypto User", []string{
		"keys/read", "keys/update/action", "keys/backup/action", "keys/encrypt/action", "keys/decrypt/action",
		"keys/wrap/action", "keys/unwrap/action", "keys/sign/action", "keys/verify/action",
	}},
	"e147488a-f6f5-4113-8e2d-b22465e65bf6": {"Key Vault Crypto Service Encryption User", []string{"keys/read", "keys/wrap/action", "keys/unwrap/action"}},
	"b86a8fe4-44ce-4948-aee5-eccb2c155cd7": {"Key Vault Secrets Officer", []string{"secrets/*"}},
	"4633458b-17de-408a-b874-0445c86b69e6": {"Key Vault Secrets User", []string{"secrets/getSecret/action", "secrets/readMetadata/action"}},
	"a68e7c17-0ab2-4c09-9a58-125dae29748c": {"Key Vault Purge Operator", []string{"certificates/purge/action", "keys/purge/action", "secrets/purge/action"}},
}

// roleID returns the GUID of a role's definition, which may be given by its
// GUID or its name.
func roleID(role string) (string, bool) {
	for id, r := range roles {
		if strings.EqualFold(id, role) || strings.EqualFold(r.name, role) {
			return id, true
		}
	}
	return "", false
}

// UseRBAC makes role assignments count instead of access policies, which are
// kept but ignored, as in the service.
func (v *Vault) UseRBAC() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Access.RBAC = true
}

// AssignRole gives a service principal a built-in role on the vault, by the GUID
// of its definition or by its name. It takes effect late: see Delays.
func (v *Vault) AssignRole(objectID, role string) error {
	id, ok := roleID(role)
	if !ok {
		return fmt.Errorf("assigning a role on vault %s: there is no role %q", v.Name, role)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Access.Grants = append(v.state.Access.Grants, grant{RoleAssignment: RoleAssignment{Name: uuid.NewString(), ObjectID: objectID, Role: id, From: v.now()}})
	return nil
}

// RemoveRole takes a role away again, which takes effect as late.
func (v *Vault) RemoveRole(objectID, role string) error {
	id, _ := roleID(role)
	v.mu.Lock()
	defer v.mu.Unlock()
	found := false
	for i := range v.state.Access.Grants {
		g := &v.state.Access.Grants[i]
		if g.ObjectID == objectID && g.Role == id && g.Until.IsZero() {
			g.Until, found = v.now(), true
		}
	}
	if !found {
		return fmt.Errorf("removing a role on vault %s: %s does not have the role %q", v.Name, objectID, role)
	}
	return nil
}

// may reports whether the roles that an object ID had at a time allow an action.
func (a *access) may(objectID, action string, at time.Time) bool {
	for _, g := range a.Grants {
		if g.ObjectID != objectID || at.Before(g.From) || !g.Until.IsZero() && !at.Before(g.Until) {
			continue
		}
		for _, pattern := range roles[g.Role].actions {
			if matchAction(pattern, action) {
				return true
			}
		}
	}
	return false
}

// matchAction matches an action: a star at the end stands for all that may
// follow, one at the start for one part.
func matchAction(pattern, action string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(action, prefix)
	}
	ok, err := path.Match(pattern, action)
	return err == nil && ok
}

// authorize refuses a caller that may not do an operation on what has a name,
// which is empty when the operation is on the vault itself. lag is how far the
// role assignments lag behind.
func (v *Vault) authorize(c token.Caller, issuer string, op *operation, name string, lag time.Duration) error {
	v.mu.RLock()
	rbac, network := v.state.Access.RBAC, v.state.Access.Network
	granted := v.state.Access.may(c.ObjectID, op.action, v.now().Add(-lag))
	v.mu.RUnlock()
	who := fmt.Sprintf("appid=%s;oid=%s;iss=%s", c.ClientID, c.ObjectID, issuer)
	place := v.Name + ";location=emulated"
	collection, permission, _ := strings.Cut(op.permission, "/")
	switch {
	case network != Open:
		return forbidden(string(network), "Client address is not authorized and caller is not a trusted service. Client address: 127.0.0.1. Caller: %s. Vault: %s", who, place)
	case rbac && !granted:
		resource := "/vaults/" + fold(v.Name)
		if name != "" {
			resource += "/" + collection + "/" + fold(name)
		}
		return forbidden("ForbiddenByRbac",
			"Caller is not authorized to perform action on resource. If role assignments were changed recently, they may not have taken effect yet.\n"+
				"Caller: %s\nAction: 'Microsoft.KeyVault/vaults/%s'\nResource: '%s'\nAssignment: (not found)\nDecisionReason: null\nVault: %s\n",
			who, op.action, resource, place)
	case !rbac && !v.Allowed(c.ObjectID, op.permission):
		return forbidden("AccessDenied", "The user, group or application '%s' does not have %s %s permission on key vault '%s'.", who, collection, permission, place)
	}
	return nil
}
