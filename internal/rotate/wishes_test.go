package rotate

import (
	"errors"
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

// TestTakeBack takes back what was asked for, as long as nothing was done of it.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, time.Hour, "a standby", isStandby)
	standby, _ := w.app().Standby()
	ask := func(kind credential.WishKind, id string) credential.Wish {
		t.Helper()
		if _, err := w.db.AddWish(t.Context(), w.tenant, w.object, credential.Wish{Kind: kind, Credential: id, By: "pat"}); err != nil {
			t.Fatal(err)
		}
		return w.app().Wishes[0]
	}
	promote := ask(credential.Promote, standby.ID)
	if err := r.TakeBack(t.Context(), w.object, promote, "kim", "not today"); err != nil {
		t.Fatal(err)
	}
	if err := r.TakeBack(t.Context(), w.object, promote, "kim", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("taken back twice: %v", err)
	}
	if w.journal(standby.ID, "promote", store.Wished) != 2 {
		t.Errorf("the journal does not have who asked and who took it back\n%s", w.describe())
	}
	w.until(r, time.Hour, "some time", func(credential.Application) bool { return !w.clock.Now().Before(promote.At.Add(30 * time.Minute)) })
	if c, _ := w.app().Find(standby.ID); c.State != credential.Standby {
		t.Errorf("it was promoted all the same: it is %s", c.State)
	}
	renew := ask(credential.Renew, "")
	w.clock.Add(time.Second)
	w.until(r, time.Hour, "a new one", func(a credential.Application) bool { return len(a.Credentials) > 2 })
	if err := r.TakeBack(t.Context(), w.object, renew, "kim", ""); !errors.Is(err, ErrBegun) {
		t.Errorf("it has begun: %v", err)
	}
	w.until(r, time.Hour, "its end", func(a credential.Application) bool { return len(a.Wishes) == 0 })
}
