package tenant

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

func mustNew(t *testing.T, o Options) *Tenant {
	t.Helper()
	o.Users, o.Days, o.PerUser, o.Calm = 2, 1, 1, true
	tn, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tn
}

func TestSeedDecidesIdentifiersNotKeys(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC) }
	identifiers := func(tn *Tenant) (ids []string) {
		ids = append(ids, tn.ID, tn.Domain, tn.Client().ClientID, tn.WorkspaceID, tn.AppInsightsID)
		for _, a := range tn.Directory.View(0).Applications() {
			ids = append(ids, a.ID)
			for _, k := range a.KeyCredentials {
				ids = append(ids, k.KeyID)
			}
		}
		for _, p := range tn.Directory.View(0).ServicePrincipals() {
			ids = append(ids, p.ID, p.AppID)
		}
		return ids
	}
	a, b, c := mustNew(t, Options{Seed: 1, Now: now}), mustNew(t, Options{Seed: 1, Now: now}), mustNew(t, Options{Seed: 2, Now: now})
	if diff := cmp.Diff(identifiers(a), identifiers(b)); diff != "" {
		t.Errorf("the same seed: %s", diff)
	}
	if a.ID == c.ID || a.Client().ClientID == c.Client().ClientID {
		t.Error("another seed gives the same tenant")
	}
	if a.Client().Key.Equal(b.Client().Key) {
		t.Error("the same seed gives the same private key")
	}
	seen := map[string]bool{}
	for _, id := range identifiers(a) {
		// Microsoft's own client IDs aside, nothing may come twice but the
		// client's own.
		if seen[id] && id != a.Client().ClientID {
			t.Errorf("%s comes twice", id)
		}
		seen[id] = true
	}
}

func TestClientAsAnAdministratorLeftIt(t *testing.T) {
	tn := mustNew(t, Options{})
	v := tn.Directory.View(0)
	app, ok := v.ApplicationByAppID(tn.Client().ClientID)
	if !ok || app.DisplayName != "reeve" || len(app.KeyCredentials) != 2 {
		t.Fatalf("the client's application: %v %+v", ok, app)
	}
	now := time.Now()
	old, current := app.KeyCredentials[0], app.KeyCredentials[1]
	if !old.EndDateTime.Before(now) || !current.EndDateTime.After(now) || !current.StartDateTime.Before(old.EndDateTime) {
		t.Errorf("one key credential ends %s, the next starts %s and ends %s; want expired, overlapping, valid",
			old.EndDateTime, current.StartDateTime, current.EndDateTime)
	}
	sp, ok := v.ServicePrincipalByAppID(app.AppID)
	if !ok {
		t.Fatal("the client has no service principal")
	}
	roles := map[string][]string{}
	for _, appID := range []string{directory.ManagementAPIs, directory.Graph, directory.KeyVault} {
		resource, ok := v.ServicePrincipalByAppID(appID)
		if !ok {
			t.Fatalf("%s has no service principal", appID)
		}
		roles[resource.DisplayName] = v.Roles(sp.ID, resource.ID)
	}
	want := map[string][]string{
		"Office 365 Management APIs": {"ActivityFeed.Read"},
		"Microsoft Graph":            {"Application.Read.All", "Directory.Read.All", "User.Read.All", "Reports.Read.All"},
		"Azure Key Vault":            nil,
	}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Error(diff)
	}
}

func TestName(t *testing.T) {
	for name, domain := range map[string]string{
		"": "contoso.onmicrosoft.com", "Fabrikam, Inc.": "fabrikaminc.onmicrosoft.com",
		"A Company With a Very Long Name": "acompanywithaveryl.onmicrosoft.com",
	} {
		if tn := mustNew(t, Options{Name: name}); tn.Domain != domain {
			t.Errorf("the tenant %q has the domain %s, want %s", name, tn.Domain, domain)
		}
	}
	if _, err := New(Options{Name: "!"}); err == nil {
		t.Error("a name without a letter makes a domain")
	}
}

func TestNoReplicaLagsBehindANewTenant(t *testing.T) {
	tn := mustNew(t, Options{})
	if _, ok := tn.Directory.View(lookBack).ApplicationByAppID(tn.Client().ClientID); !ok {
		t.Error("a replica that lags does not know the client")
	}
}
