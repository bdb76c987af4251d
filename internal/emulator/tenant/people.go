package tenant

import (
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// person is somebody who can sign in, with the directory role that they hold.
type person struct{ login, name, role string }

// firstPeople are, as far as a directory needs them, the Global Administrator
// that every tenant begins with, admin@ its domain, and somebody who holds no
// role, pat@ it. roleHolders hold the roles that decide who may register
// applications and consent. None exists outside.
var (
	firstPeople = []person{
		{"admin", "Robin Ashgrove", directory.GlobalAdministrator},
		{"pat", "Pat Merriweather", ""},
	}
	roleHolders = []person{
		{"appadmin", "Ines Tallow", directory.ApplicationAdministrator},
		{"cloudappadmin", "Bela Quist", directory.CloudApplicationAdministrator},
		{"roleadmin", "Noor Hallam", directory.PrivilegedRoleAdministrator},
		{"developer", "Sami Oake", directory.ApplicationDeveloper},
	}
)

// addPeople adds people to the directory.
func (t *Tenant) addPeople(ids *identifiers, now time.Time, people []person) error {
	return t.Directory.Update(func(u *directory.Update) error {
		for _, p := range people {
			address := p.login + "@" + t.Domain
			one := &directory.User{
				ID: ids.next(), UserPrincipalName: address, DisplayName: p.name, Mail: &address,
				AccountEnabled: true, CreatedDateTime: now.AddDate(-2, 0, 0).UTC(),
			}
			u.PutUser(one)
			if p.role != "" {
				u.PutRoleAssignment(&directory.RoleAssignment{
					ID: ids.next(), PrincipalID: one.ID, RoleDefinitionID: p.role, DirectoryScopeID: "/",
				})
			}
		}
		return nil
	})
}
