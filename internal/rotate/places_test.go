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

// TestPlacesOfAnOlderPolicy takes a live place out of the policy. As long as the
// certificate is good that lies there, it stays, and a finding says where the key is, until
// somebody has deleted it. When it is revoked, no place keeps its key.
func TestPlacesOfAnOlderPolicy(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"the current one", "the one before", "a person deletes it"} {
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
			before := name == "the one before"
			if before {
				renewed()
			}
			w.changePolicy(func(p *credential.Policy) { p.Targets = p.Targets[:1] })
			if !before {
				if left := w.left(); !strings.Contains(left, old.SHA1) || !strings.Contains(left, dropped+"/current/key.pem") || strings.Contains(left, kept) {
					t.Errorf("the policy has the place no more, and the findings are %q", left)
				}
				renewed()
				if _, err := os.Stat(filepath.Join(dropped, "current", "key.pem")); err != nil {
					t.Errorf("a program may still read what lies in %s: %v", dropped, err)
				}
			}
			if name == "a person deletes it" {
				if err := os.RemoveAll(dropped); err != nil {
					t.Fatal(err)
				}
				w.until(r, 7*time.Hour, "the finding to end", func(credential.Application) bool { return w.left() == "" })
				return
			}
			w.wish(r, credential.Revoke, old.ID)
			w.until(r, time.Hour, "the old one to be destroyed", func(a credential.Application) bool {
				c, _ := a.Find(old.ID)
				return c.State == credential.Destroyed
			})
			folders := []string{filepath.Join(kept, "previous"), filepath.Join(dropped, "previous")}
			if !before { // else what is the current one there is the active one
				folders = append(folders, filepath.Join(dropped, "current"))
				if left := w.left(); left != "" {
					t.Errorf("its key is gone, and the findings are %q", left)
				}
				if entries, _ := filepath.Glob(filepath.Join(dropped, "generation-*")); len(entries) > 0 {
					t.Errorf("%q still has a key", entries)
				}
			}
			for _, folder := range folders {
				if _, err := os.Lstat(folder); err == nil {
					t.Errorf("%s is still there", folder)
				}
			}
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
