package rotate

import (
	"slices"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
)

// TestRemovedWhileActive lets somebody remove the certificate in use: from the look that
// does not show it, the standby takes over within a minute, and it is told all the while.
func TestRemovedWhileActive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.change = func(o *Options) { o.Rhythm.Look = time.Minute }
	r := w.rotator()
	w.adopt(r)
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	w.until(r, time.Hour, "a look", func(a credential.Application) bool { return a.Observed.At.After(w.clock.Now().Add(-time.Second)) })
	old, _ := w.app().Active()
	key := slices.IndexFunc(w.app().Observed.Keys, func(k credential.ObservedKey) bool { return k.Ours == old.ID })
	if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, w.app().Observed.Keys[key].KeyID); err != nil {
		t.Fatal(err)
	}
	var seen time.Time
	w.until(r, 10*time.Minute, "the standby to take over", func(a credential.Application) bool {
		c, _ := a.Find(old.ID)
		if c.State != credential.Active {
			return true
		}
		if !c.Missing.IsZero() {
			seen = c.Missing
			if !slices.ContainsFunc(credential.Assess(w.clock.Now(), a), func(f credential.Finding) bool { return f.Rule == "certificate-missing" }) {
				t.Errorf("no finding says that it is missing\n%s", w.describe())
			}
		}
		return false
	})
	if took := w.clock.Now().Sub(seen); seen.IsZero() || took > time.Minute {
		t.Errorf("the standby took over %v after the look\n%s", took, w.describe())
	}
	w.until(r, 2*time.Minute, "the removed one to be lost", func(a credential.Application) bool {
		c, _ := a.Find(old.ID)
		return c.State == credential.Lost
	})
}
