package keyvault

import (
	"slices"
	"strings"
	"time"
)

// RoleAssignment is an Azure role that a principal holds on the vault, or on
// what the vault is in. Package resources knows the roles and the scopes; here
// those roles count that have data actions, wherever they were assigned.
type RoleAssignment struct {
	Name          string    `json:"name"`                // a GUID
	Scope         string    `json:"scope,omitempty"`     // empty for the vault itself
	ObjectID      string    `json:"objectId"`            // of the principal
	PrincipalType string    `json:"principalType"`       // ServicePrincipal, User or Group; empty for the first
	Role          string    `json:"role"`                // GUID of the role's definition
	From          time.Time `json:"from"`                // when it was made
	CreatedBy     string    `json:"createdBy,omitempty"` // object ID
}

// Owner is the GUID of the role that may do everything to resources, and nothing
// with what is in a vault.
const Owner = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"

// Assign adds a role assignment, made now. It takes effect late: see Delays.
func (v *Vault) Assign(a RoleAssignment) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a.From = v.now()
	v.state.Access.Grants = append(v.state.Access.Grants, grant{RoleAssignment: a})
}

// Unassign removes the role assignment with a name, if there is one, which takes
// effect as late.
func (v *Vault) Unassign(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.state.Access.Grants {
		if g := &v.state.Access.Grants[i]; strings.EqualFold(g.Name, name) && g.Until.IsZero() {
			g.Until = v.now()
		}
	}
}

// RoleAssignments returns the role assignments that were not removed.
func (v *Vault) RoleAssignments() []RoleAssignment {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var all []RoleAssignment
	for _, g := range v.state.Access.Grants {
		if g.Until.IsZero() {
			all = append(all, g.RoleAssignment)
		}
	}
	return all
}

// Settings are what a vault's resource says of it.
type Settings struct {
	RBAC      bool // role assignments count, and not access policies
	Network   Network
	Retention int
	Protected bool
	// Policies are the permissions that access policies give, such as
	// secrets/get, by object ID.
	Policies map[string][]string
}

// Settings returns the present settings.
func (v *Vault) Settings() Settings {
	v.mu.RLock()
	defer v.mu.RUnlock()
	s := Settings{
		RBAC: v.state.Access.RBAC, Network: v.state.Access.Network, Retention: v.state.Retention, Protected: v.state.Protected,
		Policies: map[string][]string{},
	}
	for id, held := range v.state.Access.Policies {
		for permission, given := range held {
			if given {
				s.Policies[id] = append(s.Policies[id], permission)
			}
		}
		slices.Sort(s.Policies[id])
	}
	return s
}

// IsRole reports whether a role, by the GUID of its definition, has to do with
// what is in a vault.
func IsRole(id string) bool { _, ok := roles[id]; return ok }

// DataActions returns what a role allows with what is in a vault.
func DataActions(id string) []string {
	all := []string{}
	for _, action := range roles[id].actions {
		all = append(all, "Microsoft.KeyVault/vaults/"+action)
	}
	return all
}
