package rotate

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
)

// TestPlacesOfAnOlderPolicy takes a live place out of the policy, and revokes what lies
// there: the folder before the current one is cleared like that of any other place, and of
// the current one a finding says where the key is, until somebody has deleted it.
func TestPlacesOfAnOlderPolicy(t *testing.T) {
	t.Parallel()
	for name, twice := range map[string]bool{"the current one": false, "the one before": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			kept, dropped := filepath.Join(dir, "kept"), filepath.Join(dir, "dropped")
			w.watch(func(context.Context, string, string) error { return nil })
			r := w.rotator()
			w.adopt(r, func(o *Adoption) {
				o.Policy.Targets = []string{"directory:" + kept, "directory:" + dropped + ",mode=0400"}
			})
			renewed := func() {
				old, _ := w.app().Active()
				w.wish(r, credential.Renew, "")
				w.until(r, time.Hour, "a renewal", func(a credential.Application) bool { c, _ := a.Active(); return c.ID != old.ID })
			}
			w.until(r, time.Hour, "a standby", isStandby)
			old, _ := w.app().Active()
			if twice {
				renewed()
			}
			w.changePolicy(func(p *credential.Policy) { p.Targets = p.Targets[:1] })
			if !twice {
				if left := w.left(); !strings.Contains(left, dropped+"/current/key.pem") || strings.Contains(left, kept) {
					t.Errorf("the policy has the place no more, and the findings are %q", left)
				}
				renewed()
			}
			w.wish(r, credential.Revoke, old.ID)
			w.until(r, time.Hour, "the old one to be destroyed", func(a credential.Application) bool {
				c, _ := a.Find(old.ID)
				return c.State == credential.Destroyed
			})
			for _, folder := range []string{kept, dropped} {
				if _, err := os.Stat(filepath.Join(folder, "previous")); err == nil {
					t.Errorf("%s still has the folder before the current one", folder)
				}
			}
			if twice {
				return // what is the current one there is the active one
			}
			if left := w.left(); !strings.Contains(left, old.SHA1) || !strings.Contains(left, dropped+"/current/key.pem") {
				t.Errorf("its key lies there, and the findings are %q", left)
			}
			if err := os.RemoveAll(dropped); err != nil {
				t.Fatal(err)
			}
			w.until(r, 7*time.Hour, "the finding to end", func(credential.Application) bool { return w.left() == "" })
		})
	}
}

// left is what the findings say of keys that are where they should not be.
func (w *world) left() string {
	var left []string
	for _, f := range credential.Assess(w.clock.Now(), w.app()) {
		if f.Rule == "key-left" {
			left = append(left, f.Message+": "+f.Remedy)
		}
	}
	slices.Sort(left)
	return strings.Join(left, "\n")
}
