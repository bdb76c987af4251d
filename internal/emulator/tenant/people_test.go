package tenant_test

import (
	"slices"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestPeopleWhoCanSignIn(t *testing.T) {
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 1, Days: 1, PerUser: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	v := tn.Directory.View(0)
	for login, want := range map[string][]string{
		"admin": {directory.GlobalAdministrator}, "pat": nil, "appadmin": {directory.ApplicationAdministrator},
		"cloudappadmin": {directory.CloudApplicationAdministrator}, "roleadmin": {directory.PrivilegedRoleAdministrator},
		"developer": {directory.ApplicationDeveloper},
	} {
		u, ok := v.User(login + "@" + tn.Domain)
		if !ok || !u.AccountEnabled || u.DisplayName == "" {
			t.Errorf("%s is %+v", login, u)
			continue
		}
		if got := v.DirectoryRoles(u.ID); !slices.Equal(got, want) {
			t.Errorf("%s holds the roles %v, want %v", login, got, want)
		}
	}
}
