package rotate

import (
	"context"
	"os"
	"path/filepath"
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

// TestRemovedWhileAPlaceFails is the same while a live place takes nothing since hours, so
// that publishing there is tried ever more rarely: that holds up no proof.
func TestRemovedWhileAPlaceFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.watch(func(context.Context, string, string) error { return nil })
	opens := w.change
	w.change = func(o *Options) { opens(o); o.Rhythm.Look = time.Minute }
	r := w.rotator()
	w.adopt(r, func(o *Adoption) { o.Policy.Targets = []string{"directory:" + file} })
	active := func(a credential.Application) credential.Credential { c, _ := a.Active(); return c }
	w.until(r, 12*time.Hour, "hours between two tries", func(a credential.Application) bool {
		_, ok := a.Standby()
		return ok && active(a).RetryAt.Sub(w.clock.Now()) > time.Hour
	})
	old := active(w.app())
	w.until(r, time.Hour, "a look", func(a credential.Application) bool { return a.Observed.At.After(w.clock.Now().Add(-time.Second)) })
	key := slices.IndexFunc(w.app().Observed.Keys, func(k credential.ObservedKey) bool { return k.Ours == old.ID })
	if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, w.app().Observed.Keys[key].KeyID); err != nil {
		t.Fatal(err)
	}
	removed := w.clock.Now()
	w.until(r, 10*time.Minute, "the standby to take over", func(a credential.Application) bool { return active(a).ID != old.ID })
	if took := w.clock.Now().Sub(removed); took > 4*time.Minute {
		t.Errorf("it took %v\n%s", took, w.describe())
	}
}
