package tenant

import (
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// addPeople adds those who can sign in, as far as a directory needs them: the
// Global Administrator that every tenant begins with, admin@ its domain,
// somebody who holds no role, pat@ it, and those who hold the roles that decide
// who may register applications and consent. None exists outside.
func (t *Tenant) addPeople(ids *identifiers, now time.Time) error {
	return t.Directory.Update(func(u *directory.Update) error {
		for _, p := range []struct{ login, name, role string }{
			{"admin", "Robin Ashgrove", directory.GlobalAdministrator},
			{"pat", "Pat Merriweather", ""},
			{"appadmin", "Ines Tallow", directory.ApplicationAdministrator},
			{"cloudappadmin", "Bela Quist", directory.CloudApplicationAdministrator},
			{"roleadmin", "Noor Hallam", directory.PrivilegedRoleAdministrator},
			{"developer", "Sami Oake", directory.ApplicationDeveloper},
		} {
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
