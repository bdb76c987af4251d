package tenant

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
		ids = append(ids, tn.ID, tn.Domain, tn.Client().ClientID)
		for _, a := range tn.Applications() {
			ids = append(ids, a.ObjectID)
			for _, k := range a.KeyCredentials {
				ids = append(ids, k.KeyID)
			}
		}
		for _, p := range tn.ServicePrincipals() {
			ids = append(ids, p.ObjectID, p.ClientID)
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
