package permission_test

import (
	"testing"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/permission"
)

// TestTenantOffersThem: the service principal of each API has the permissions
// under their IDs and names. The emulated tenant has them from elsewhere.
func TestTenantOffersThem(t *testing.T) {
	v := emulatortest.Start(t, nil).Tenant.Directory.View(0)
	offered := map[permission.Permission]bool{}
	for _, api := range permission.APIs() {
		p, ok := v.ServicePrincipalByAppID(api.AppID)
		if !ok || p.DisplayName != api.Name {
			t.Errorf("%s: %v, found %v", api.Name, p, ok)
			continue
		}
		for _, r := range p.AppRoles {
			offered[permission.Permission{API: api, Name: r.Value, ID: r.ID}] = r.IsEnabled
		}
	}
	for _, f := range permission.Feeds() {
		for _, n := range f.Needs {
			for _, p := range append([]permission.Permission{n.Permission}, n.Enough...) {
				if !offered[p] {
					t.Errorf("feed %s: the tenant has no permission %s with the id %s", f.Name, p, p.ID)
				}
			}
		}
	}
}
