// Package directory is the directory of one emulated tenant: its applications,
// service principals and people, and what was granted to whom. It knows nothing
// of HTTP or tokens.
//
// Objects have the members of their Graph resources, under Graph's names: ID is
// what people call the object ID, AppID what they call the client ID.
//
// The directory remembers for a while what it was, because Microsoft's does not
// look the same to everybody at once: see View.
package directory

import (
	"iter"
	"strings"
	"sync"
	"time"
)

// Directory is the state. It may be used from several goroutines.
type Directory struct {
	TenantID    string // a GUID
	Domain      string // the initial domain, such as contoso.onmicrosoft.com
	DisplayName string

	now    func() time.Time
	memory time.Duration

	mu sync.RWMutex // guards what follows

	applications    table[Application]
	principals      table[ServicePrincipal]
	users           table[User]
	assignments     table[AppRoleAssignment]
	grants          table[PermissionGrant]
	roleAssignments table[RoleAssignment]
	policies        table[ManagementPolicy]
}

// New returns a directory without objects. It remembers what it was for the
// time of memory, which is the longest that View can look back. now must not be
// stepped backwards; it need not be the tenant's own clock.
func New(tenantID, domain, displayName string, now func() time.Time, memory time.Duration) *Directory {
	d := &Directory{TenantID: tenantID, Domain: domain, DisplayName: displayName, now: now, memory: memory}
	d.applications.key = func(a *Application) (string, string) { return a.ID, a.AppID }
	d.principals.key = func(p *ServicePrincipal) (string, string) { return p.ID, p.AppID }
	d.principals.names = func(p *ServicePrincipal) (names []string) {
		for _, n := range p.ServicePrincipalNames {
			names = append(names, resourceName(n))
		}
		return names
	}
	d.users.key = func(u *User) (string, string) { return u.ID, u.UserPrincipalName }
	d.assignments.key = func(a *AppRoleAssignment) (string, string) { return a.ID, a.PrincipalID }
	d.grants.key = func(g *PermissionGrant) (string, string) { return g.ID, g.ClientID }
	d.roleAssignments.key = func(a *RoleAssignment) (string, string) { return a.ID, a.PrincipalID }
	d.policies.key = func(p *ManagementPolicy) (string, string) { return p.ID, "" }
	return d
}

// View is the directory as a replica has it that lags behind: all that was
// written up to then is there, and nothing later. What it returns must not be
// changed.
type View struct {
	d      *Directory
	at     time.Time
	latest bool // all that is there, whatever the clock says
	held   bool // the mutex is held by an Update
}

// View returns the directory as it was lag ago; with no lag, as it is now.
func (d *Directory) View(lag time.Duration) View {
	return View{d: d, at: d.now().Add(-lag), latest: lag <= 0}
}

func (v View) lock() (unlock func()) {
	if v.held {
		return func() {}
	}
	v.d.mu.RLock()
	return v.d.mu.RUnlock
}

// Update is a change under way. It sees its own writes. What it writes must not
// be changed afterwards; change a clone and put that.
type Update struct {
	View
	undo []func()
}

// Update carries out a change: all of it, or when f returns an error nothing.
func (d *Directory) Update(f func(*Update) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := &Update{View: View{d: d, latest: true, held: true}}
	err := f(u)
	if err != nil {
		for i := len(u.undo) - 1; i >= 0; i-- {
			u.undo[i]()
		}
	}
	return err
}

// Application returns the app registration with the object ID, unless it is
// deleted.
func (v View) Application(id string) (*Application, bool) {
	defer v.lock()()
	a := v.d.applications.get(id, v)
	return a, a != nil && a.DeletedDateTime == nil
}

// ApplicationByAppID returns the app registration with the client ID, unless it
// is deleted.
func (v View) ApplicationByAppID(appID string) (*Application, bool) {
	for a := range byIndex(v, &v.d.applications, appID) {
		if a.DeletedDateTime == nil {
			return a, true
		}
	}
	return nil, false
}

// Applications returns all app registrations that are not deleted, oldest
// first.
func (v View) Applications() []*Application {
	return present(v, &v.d.applications, func(a *Application) bool { return a.DeletedDateTime == nil })
}

// DeletedApplications returns the app registrations in the recycle bin.
func (v View) DeletedApplications() []*Application {
	return present(v, &v.d.applications, func(a *Application) bool { return a.DeletedDateTime != nil })
}

// ServicePrincipal returns the service principal with the object ID, unless it
// is deleted.
func (v View) ServicePrincipal(id string) (*ServicePrincipal, bool) {
	defer v.lock()()
	p := v.d.principals.get(id, v)
	return p, p != nil && p.DeletedDateTime == nil
}

// ServicePrincipalByAppID returns the service principal of the application with
// the client ID, unless it is deleted.
func (v View) ServicePrincipalByAppID(appID string) (*ServicePrincipal, bool) {
	for p := range byIndex(v, &v.d.principals, appID) {
		if p.DeletedDateTime == nil {
			return p, true
		}
	}
	return nil, false
}

// ServicePrincipals returns all service principals that are not deleted,
// Microsoft's own first.
func (v View) ServicePrincipals() []*ServicePrincipal {
	return present(v, &v.d.principals, func(p *ServicePrincipal) bool { return p.DeletedDateTime == nil })
}

// DeletedServicePrincipals returns the service principals in the recycle bin.
func (v View) DeletedServicePrincipals() []*ServicePrincipal {
	return present(v, &v.d.principals, func(p *ServicePrincipal) bool { return p.DeletedDateTime != nil })
}

// Resource returns the service principal that a token for name would be for.
// The name is one of its App ID URIs, with or without a slash at the end, or
// its client ID.
func (v View) Resource(name string) (*ServicePrincipal, bool) {
	p := named(v, &v.d.principals, resourceName(name), func(p *ServicePrincipal) bool { return p.DeletedDateTime == nil })
	return p, p != nil
}

func resourceName(name string) string { return strings.ToLower(strings.TrimSuffix(name, "/")) }

// User returns the person with the object ID or the user principal name.
func (v View) User(name string) (*User, bool) {
	for u := range byIndex(v, &v.d.users, name) {
		return u, true
	}
	defer v.lock()()
	u := v.d.users.get(name, v)
	return u, u != nil
}

// Users returns all people.
func (v View) Users() []*User {
	return present(v, &v.d.users, func(*User) bool { return true })
}

// AppRoleAssignment returns the assignment with the ID.
func (v View) AppRoleAssignment(id string) (*AppRoleAssignment, bool) {
	defer v.lock()()
	a := v.d.assignments.get(id, v)
	return a, a != nil
}

// AppRoleAssignments returns all roles that were assigned, in that order.
func (v View) AppRoleAssignments() []*AppRoleAssignment {
	return present(v, &v.d.assignments, func(*AppRoleAssignment) bool { return true })
}

// AppRoleAssignmentsOf returns the roles that were assigned to a principal,
// given by its object ID.
func (v View) AppRoleAssignmentsOf(principalID string) []*AppRoleAssignment {
	return collect(byIndex(v, &v.d.assignments, principalID))
}

// Roles returns the values of the roles that a principal holds on a resource,
// both given by object ID, in the order in which they were assigned.
func (v View) Roles(principalID, resourceID string) []string {
	resource, ok := v.ServicePrincipal(resourceID)
	if !ok {
		return nil
	}
	var roles []string
	for _, a := range v.AppRoleAssignmentsOf(principalID) {
		if a.ResourceID != resourceID {
			continue
		}
		for _, r := range resource.AppRoles {
			if r.ID == a.AppRoleID && r.IsEnabled {
				roles = append(roles, r.Value)
			}
		}
	}
	return roles
}

// PermissionGrant returns the delegated permission grant with the ID.
func (v View) PermissionGrant(id string) (*PermissionGrant, bool) {
	defer v.lock()()
	g := v.d.grants.get(id, v)
	return g, g != nil
}

// PermissionGrants returns all delegated permission grants.
func (v View) PermissionGrants() []*PermissionGrant {
	return present(v, &v.d.grants, func(*PermissionGrant) bool { return true })
}

// PermissionGrantsOf returns the grants to a client, given by the object ID of
// its service principal.
func (v View) PermissionGrantsOf(clientID string) []*PermissionGrant {
	return collect(byIndex(v, &v.d.grants, clientID))
}

// RoleAssignment returns the assignment of a directory role with the ID.
func (v View) RoleAssignment(id string) (*RoleAssignment, bool) {
	defer v.lock()()
	a := v.d.roleAssignments.get(id, v)
	return a, a != nil
}

// RoleAssignments returns all assignments of directory roles.
func (v View) RoleAssignments() []*RoleAssignment {
	return present(v, &v.d.roleAssignments, func(*RoleAssignment) bool { return true })
}

// DirectoryRoles returns the template ids of the directory roles that a
// principal, a person or an application, holds over the whole directory.
func (v View) DirectoryRoles(principalID string) []string {
	var ids []string
	for a := range byIndex(v, &v.d.roleAssignments, principalID) {
		if a.DirectoryScopeID == "/" {
			ids = append(ids, a.RoleDefinitionID)
		}
	}
	return ids
}

// ManagementPolicy returns the policy with the ID; the tenant's own have
// DefaultPolicyID and AuthorizationPolicyID, and are not there until somebody
// changes them.
func (v View) ManagementPolicy(id string) (*ManagementPolicy, bool) {
	defer v.lock()()
	p := v.d.policies.get(id, v)
	return p, p != nil
}

// ManagementPolicies returns all app management policies but the tenant's own.
func (v View) ManagementPolicies() []*ManagementPolicy {
	return present(v, &v.d.policies, func(p *ManagementPolicy) bool { return p.ID != DefaultPolicyID && p.ID != AuthorizationPolicyID })
}

// PutApplication adds or replaces an app registration.
func (u *Update) PutApplication(a *Application) { put(u, &u.d.applications, a) }

// RemoveApplication removes an app registration for good.
func (u *Update) RemoveApplication(id string) { remove(u, &u.d.applications, id) }

// PutServicePrincipal adds or replaces a service principal.
func (u *Update) PutServicePrincipal(p *ServicePrincipal) { put(u, &u.d.principals, p) }

// RemoveServicePrincipal removes a service principal for good, with everything
// that was granted to it or by it.
func (u *Update) RemoveServicePrincipal(id string) {
	for _, a := range u.AppRoleAssignments() {
		if a.PrincipalID == id || a.ResourceID == id {
			u.RemoveAppRoleAssignment(a.ID)
		}
	}
	for _, g := range u.PermissionGrants() {
		if g.ClientID == id || g.ResourceID == id {
			u.RemovePermissionGrant(g.ID)
		}
	}
	for _, a := range u.RoleAssignments() {
		if a.PrincipalID == id {
			u.RemoveRoleAssignment(a.ID)
		}
	}
	remove(u, &u.d.principals, id)
}

// PutUser adds or replaces a person.
func (u *Update) PutUser(one *User) { put(u, &u.d.users, one) }

// PutAppRoleAssignment adds or replaces an assignment of an app role.
func (u *Update) PutAppRoleAssignment(a *AppRoleAssignment) { put(u, &u.d.assignments, a) }

// RemoveAppRoleAssignment takes a role back. Tokens that were issued before
// keep it, as Microsoft's do.
func (u *Update) RemoveAppRoleAssignment(id string) { remove(u, &u.d.assignments, id) }

// PutPermissionGrant adds or replaces a delegated permission grant.
func (u *Update) PutPermissionGrant(g *PermissionGrant) { put(u, &u.d.grants, g) }

// RemovePermissionGrant removes a delegated permission grant.
func (u *Update) RemovePermissionGrant(id string) { remove(u, &u.d.grants, id) }

// PutRoleAssignment adds or replaces an assignment of a directory role.
func (u *Update) PutRoleAssignment(a *RoleAssignment) { put(u, &u.d.roleAssignments, a) }

// RemoveRoleAssignment removes an assignment of a directory role.
func (u *Update) RemoveRoleAssignment(id string) { remove(u, &u.d.roleAssignments, id) }

// PutManagementPolicy adds or replaces an app management policy.
func (u *Update) PutManagementPolicy(p *ManagementPolicy) { put(u, &u.d.policies, p) }

// RemoveManagementPolicy removes an app management policy.
func (u *Update) RemoveManagementPolicy(id string) { remove(u, &u.d.policies, id) }

func collect[T any](all iter.Seq[*T]) []*T {
	var list []*T
	for v := range all {
		list = append(list, v)
	}
	return list
}
