package rotate

import (
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
)

// TestLife follows an application through its first renewals.
func TestLife(t *testing.T) {
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	first, _ := w.app().Active()

	w.until(r, 10*time.Minute, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	standby, _ := w.app().Standby()
	if len(w.atEntra()) != 3 {
		t.Errorf("the application has %d key credentials, and should have the expired one, the first and the standby", len(w.atEntra()))
	}
	w.until(r, 400*24*time.Hour, "a renewal", func(a credential.Application) bool {
		active, ok := a.Active()
		return ok && active.ID != first.ID
	})
	active, _ := w.app().Active()
	t.Logf("first standby %s made %v, active %s made %v at %v", standby.ID, standby.Planned, active.ID, active.Planned, w.clock.Now())
	if got := w.clock.Now(); !got.Before(first.NotAfter) {
		t.Errorf("renewed at %v, after the first ended at %v", got, first.NotAfter)
	}
	w.until(r, 60*24*time.Hour, "the first to be destroyed", func(a credential.Application) bool {
		c, _ := a.Find(first.ID)
		return c.State == credential.Destroyed
	})
	t.Log(w.describe())
}
