package rotate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

// TestAWishInVain asks to go back where nothing is to go back to: the journal says that it
// has failed, and of a wish that has come true that it is done.
func TestAWishInVain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, time.Hour, "a standby", isStandby)
	w.wish(r, credential.Rollback, "")
	if _, err := r.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.journal("", string(credential.Rollback), store.Failed) != 1 {
		t.Errorf("the journal does not say that nothing was rolled back\n%s", w.describe())
	}
	w.wish(r, credential.Promote, "")
	w.until(r, time.Minute, "the standby to be active", func(a credential.Application) bool { return len(a.Wishes) == 0 })
	if w.journal("", string(credential.Promote), store.Done) != 1 {
		t.Errorf("the journal does not say that it was promoted\n%s", w.describe())
	}
}

// TestWordsOfNotices says of a revocation what comes of it, and of a certificate that is
// only planned no dates.
func TestWordsOfNotices(t *testing.T) {
	t.Parallel()
	w := &work{r: New(Options{}), a: credential.Application{Name: "app"}}
	wish := credential.Wish{Kind: credential.Revoke, By: "pat"}
	for state, takesOver := range map[credential.State]bool{credential.Active: true, credential.Draining: false} {
		if e := w.noticeRevoked(credential.Credential{State: state}, wish); strings.Contains(e.Text, "takes over") != takesOver || strings.Contains(e.Text, ": .") {
			t.Errorf("of one that is %s: %s", state, e.Text)
		}
	}
	for _, f := range w.noticeAbandoned(credential.Credential{ID: "1", State: credential.Planned}, "a test").Fields {
		if f.Name == "valid until" || f.Value == "" {
			t.Errorf("of what has no certificate: %s %q", f.Name, f.Value)
		}
	}
}

// TestRungsOfAStandby tries the ways back anew at the next look when a standby has appeared.
func TestRungsOfAStandby(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.change = func(o *Options) { o.Rhythm.Look = 5 * time.Minute }
	r := w.rotator()
	w.adopt(r)
	standby := func(want credential.Certainty) func(a credential.Application) bool {
		return func(a credential.Application) bool {
			return slices.ContainsFunc(a.Observed.Rungs, func(g credential.Rung) bool { return g.Name == RungStandby && g.Works == want })
		}
	}
	w.until(r, time.Minute, "the first look", standby(credential.No))
	w.until(r, 10*time.Minute, "a look that sees the standby", standby(credential.Yes))
}
