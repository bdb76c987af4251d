package directory

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

// snapshot is the state as JSON. Graph's own JSON of an object leaves out what
// has a path of its own there, so that is written beside it.
type snapshot struct {
	TenantID          string               `json:"tenantId"`
	Applications      []storedApplication  `json:"applications"`
	ServicePrincipals []storedPrincipal    `json:"servicePrincipals"`
	Users             []*User              `json:"users"`
	Assignments       []*AppRoleAssignment `json:"appRoleAssignments"`
	Grants            []*PermissionGrant   `json:"permissionGrants"`
	RoleAssignments   []*RoleAssignment    `json:"roleAssignments"`
	Policies          []*ManagementPolicy  `json:"managementPolicies"`
}

type storedApplication struct {
	Object               *Application               `json:"object"`
	Owners               []string                   `json:"owners"`
	FederatedCredentials []FederatedCredential      `json:"federatedCredentials"`
	Policies             []string                   `json:"policies"`
	Kept                 map[string]json.RawMessage `json:"kept"`
	TrustedSubjects      []TrustedSubject           `json:"trustedSubjects"`
	Hashes               [][]byte                   `json:"hashes"` // of the client secrets, in their order
}

type storedPrincipal struct {
	Object   *ServicePrincipal          `json:"object"`
	Owners   []string                   `json:"owners"`
	Policies []string                   `json:"policies"`
	Kept     map[string]json.RawMessage `json:"kept"`
	Hashes   [][]byte                   `json:"hashes"`
}

// Snapshot returns the whole present state as JSON, the recycle bin included.
// It holds no secret: client secrets are hashes, certificates public.
func (d *Directory) Snapshot() ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v := View{d: d, latest: true, held: true}
	s := snapshot{
		TenantID: d.TenantID, Users: everything(v, &d.users), Assignments: everything(v, &d.assignments),
		Grants: everything(v, &d.grants), RoleAssignments: everything(v, &d.roleAssignments), Policies: everything(v, &d.policies),
	}
	for _, a := range everything(v, &d.applications) {
		s.Applications = append(s.Applications, storedApplication{
			a, a.Owners, a.FederatedCredentials, a.Policies, a.Kept, a.TrustedSubjects, hashes(a.PasswordCredentials),
		})
	}
	for _, p := range everything(v, &d.principals) {
		s.ServicePrincipals = append(s.ServicePrincipals, storedPrincipal{p, p.Owners, p.Policies, p.Kept, hashes(p.PasswordCredentials)})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("taking a snapshot of the directory: %w", err)
	}
	return b, nil
}

// Restore replaces the whole state by one that Snapshot returned, of the same
// tenant. What the directory remembered of before is gone.
func (d *Directory) Restore(b []byte) error {
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("restoring the directory: %w", err)
	}
	if s.TenantID != d.TenantID {
		return fmt.Errorf("restoring the directory: the snapshot is of another tenant, %s", s.TenantID)
	}
	fresh := New(d.TenantID, d.Domain, d.DisplayName, d.now, d.memory)
	err := fresh.Update(func(u *Update) error {
		for _, stored := range s.Applications {
			a := stored.Object
			if a == nil {
				return errors.New("an application is missing")
			}
			a.Owners, a.FederatedCredentials, a.Policies = stored.Owners, stored.FederatedCredentials, stored.Policies
			a.Kept, a.TrustedSubjects = stored.Kept, stored.TrustedSubjects
			if err := setHashes(a.PasswordCredentials, stored.Hashes); err != nil {
				return err
			}
			u.PutApplication(a)
		}
		for _, stored := range s.ServicePrincipals {
			p := stored.Object
			if p == nil {
				return errors.New("a service principal is missing")
			}
			p.Owners, p.Policies, p.Kept = stored.Owners, stored.Policies, stored.Kept
			if err := setHashes(p.PasswordCredentials, stored.Hashes); err != nil {
				return err
			}
			u.PutServicePrincipal(p)
		}
		return errors.Join(
			putAll(u, &u.d.users, s.Users), putAll(u, &u.d.assignments, s.Assignments), putAll(u, &u.d.grants, s.Grants),
			putAll(u, &u.d.roleAssignments, s.RoleAssignments), putAll(u, &u.d.policies, s.Policies),
		)
	})
	if err != nil {
		return fmt.Errorf("restoring the directory: %w", err)
	}
	fresh.Settle()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applications, d.principals, d.users = fresh.applications, fresh.principals, fresh.users
	d.assignments, d.grants, d.roleAssignments, d.policies = fresh.assignments, fresh.grants, fresh.roleAssignments, fresh.policies
	return nil
}

// everything returns all objects of a table; the mutex is held.
func everything[T any](v View, t *table[T]) []*T {
	return present(v, t, func(*T) bool { return true })
}

func putAll[T any](u *Update, t *table[T], all []*T) error {
	for _, one := range all {
		if one == nil {
			return errors.New("an object is missing")
		}
		put(u, t, one)
	}
	return nil
}

func hashes(passwords []PasswordCredential) [][]byte {
	var all [][]byte
	for _, p := range passwords {
		all = append(all, p.Hash[:])
	}
	return all
}

func setHashes(passwords []PasswordCredential, hashes [][]byte) error {
	if len(hashes) != len(passwords) {
		return errors.New("the hashes of client secrets are not as many as the secrets")
	}
	for i, h := range hashes {
		if len(h) != sha256.Size {
			return errors.New("the hash of a client secret has another length")
		}
		copy(passwords[i].Hash[:], h)
	}
	return nil
}
