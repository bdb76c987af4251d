package app_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/permission"
)

// permitted is an emulated tenant whose application has those permissions and no other,
// and the settings to import the content types.
func permitted(t *testing.T, contentTypes string, granted []permission.Permission) []string {
	t.Helper()
	e := emulate(t, tenant.Options{})
	clientID := e.Client().ClientID
	err := e.Directory.Update(func(u *directory.Update) error {
		p, ok := u.ServicePrincipalByAppID(clientID)
		if !ok {
			t.Fatal("the application has no service principal")
		}
		for _, a := range u.AppRoleAssignmentsOf(p.ID) {
			u.RemoveAppRoleAssignment(a.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range granted {
		if err := e.Directory.GrantRole(clientID, g.API.AppID, g.Name); err != nil {
			t.Fatal(err)
		}
	}
	return e.client(t, "REEVE_FEEDS_AUDIT_CONTENT_TYPES="+contentTypes)
}

// For each feed that is imported: with exactly what it needs the check is green and the
// import runs; with one fewer the check is red and names it, and the import
// fails where the permission is for more than detail.
func TestEachFeedWithItsPermissions(t *testing.T) {
	t.Parallel()
	imported := map[string]string{ // by feed, the content types
		"audit": "Audit.AzureActiveDirectory,Audit.Exchange,Audit.SharePoint,Audit.General",
		"dlp":   "DLP.All",
	}
	for _, f := range permission.Feeds() {
		if f.Planned || f.Name == "credentials" { // which the autopilot needs, and no import
			continue
		}
		contentTypes, ok := imported[f.Name]
		if !ok {
			t.Errorf("the feed %s is imported, and this test knows nothing of it", f.Name)
			continue
		}
		var needs []permission.Permission
		for _, n := range f.Needs {
			needs = append(needs, n.Permission)
		}
		checked := []string{"check", "permissions", "--feeds", f.Name}
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			environ := permitted(t, contentTypes, needs)
			reeve(t, environ, checked...).want(t, 0)
			reeve(t, environ, "import", "run", "--once").want(t, 0, "FinishedImportCycle")
			reeve(t, environ, checked...).want(t, 0) // with its subscriptions, too
		})
		for i, without := range needs {
			t.Run(f.Name+" without "+without.Name, func(t *testing.T) {
				t.Parallel()
				environ := permitted(t, contentTypes, slices.Delete(slices.Clone(needs), i, i+1))
				o := reeve(t, environ, checked...)
				o.want(t, check, without.String())
				if !strings.Contains(o.out, without.Name+" of "+without.API.Name) {
					t.Errorf("the check does not name %s:\n%s", without.Name, o.out)
				}
				run := reeve(t, environ, "import", "run", "--once")
				if without.Name == "ActivityFeed.ReadDlp" {
					run.want(t, 0) // Events come, without what was found in the content.
					return
				}
				run.want(t, signIn, without.Name)
			})
		}
	}
}
