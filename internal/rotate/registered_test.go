package rotate

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// swapped is a certificate store that gives back something else than was put there.
type swapped struct {
	certstore.Store
	swap func(*certstore.Entry)
}

func (s *swapped) Get(ctx context.Context, id string) (certstore.Entry, error) {
	e, err := s.Store.Get(ctx, id)
	if err == nil {
		s.swap(&e)
	}
	return e, err
}

// TestAStoreThatGivesBackSomethingElse is no place for a key: nothing made there gets to
// Entra ID.
func TestAStoreThatGivesBackSomethingElse(t *testing.T) {
	t.Parallel()
	other, err := pki.NewKey(pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := pki.SelfSign(other, pki.Template{Subject: mustName(t, "CN=other"), NotBefore: begin, NotAfter: begin.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		swap  func(*certstore.Entry)
		fails credential.Action // first
		says  string            // in the end
	}{
		"another key":         {func(e *certstore.Entry) { e.Key = other }, credential.MakeKey, "another key"},
		"another certificate": {func(e *certstore.Entry) { set(e, foreign) }, credential.Stage, "another key or certificate"},
		"no certificate":      {func(e *certstore.Entry) { e.Certificate = nil }, credential.Stage, "another key or certificate"},
		"another key later": {func(e *certstore.Entry) {
			if e.Certificate != nil {
				e.Key = other
			}
		}, credential.Stage, "is not that of certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			keys := &swapped{Store: w.keys, swap: func(*certstore.Entry) {}}
			w.change = func(o *Options) { o.Stores = map[string]certstore.Store{credential.StoreLocal: keys} }
			r := w.rotator()
			w.adopt(r)
			before := len(w.atEntra())
			keys.swap = test.swap
			w.until(r, 24*time.Hour, "a failure", func(a credential.Application) bool {
				return slices.ContainsFunc(a.Credentials, func(c credential.Credential) bool { return c.Origin == credential.Made && c.Stuck })
			})
			for _, c := range w.app().Credentials {
				if c.Origin == credential.Made && (c.State != credential.Certified || !strings.Contains(c.Error, test.says)) {
					t.Errorf("it is %s, for %s", c.State, c.Error)
				}
				if c.Origin == credential.Made && w.journal(c.ID, string(test.fails), store.Failed) == 0 {
					t.Errorf("%q has not failed\n%s", test.fails, w.describe())
				}
			}
			if got := len(w.atEntra()); got != before {
				t.Errorf("Entra ID has %d keys, and had %d", got, before)
			}
		})
	}
}

// set puts another certificate in an entry that has one.
func set(e *certstore.Entry, p pki.Pair) {
	if e.Certificate != nil {
		e.Certificate = p.Certificate
	}
}

// TestPairOfAnotherKey does not hand out a certificate with a key that is not its own.
func TestPairOfAnotherKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := &swapped{Store: w.keys, swap: func(*certstore.Entry) {}}
	w.change = func(o *Options) { o.Stores = map[string]certstore.Store{credential.StoreLocal: keys} }
	r := w.rotator()
	w.adopt(r)
	active, _ := w.app().Active()
	if _, err := r.Pair(t.Context(), active); err != nil {
		t.Fatal(err)
	}
	other, err := pki.NewKey(pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	keys.swap = func(e *certstore.Entry) { e.Key = other }
	if _, err := r.Pair(t.Context(), active); err == nil || !strings.Contains(err.Error(), "is not that of certificate "+active.SHA1) {
		t.Errorf("with another key: %v", err)
	}
}

// withSecret lets reeve read and change applications as one that has a client secret.
func (w *world) withSecret() {
	w.change = func(o *Options) { o.Directory = newDirectory(w.t, w.cloud, w.HTTPClient(), secretToken{w}) }
}

// putBack registers a certificate of ours once more, as somebody else's list would.
func (w *world) putBack(c credential.Credential) string {
	w.t.Helper()
	id, err := w.Tenant.Directory.AddKeyCredential(w.Tenant.Client().ClientID, c.Certificate[0], time.Time{}, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) isAtEntra(c credential.Credential) bool {
	return slices.ContainsFunc(w.atEntra(), func(k directory.KeyCredential) bool { return slices.Equal(k.Key, c.Certificate[0]) })
}

// TestSeeRefusedWithToken puts a certificate back that was just removed and seen to be
// gone: tokens are given for it, and it is taken away again.
func TestSeeRefusedWithToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSecret()
	r := w.rotator()
	w.adopt(r, func(a *Adoption) { a.Policy.Overlap = credential.Span(time.Hour) })
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	old, _ := w.app().Active()
	w.wish(r, credential.Promote, "")
	w.until(r, 24*time.Hour, "the old one to be gone", func(a credential.Application) bool {
		c, _ := a.Find(old.ID)
		return !c.Gone.IsZero()
	})
	w.putBack(old)
	w.until(r, 24*time.Hour, "the old one to be refused", func(a credential.Application) bool {
		c, _ := a.Find(old.ID)
		return c.State == credential.Retired
	})
	if w.isAtEntra(old) {
		t.Errorf("the certificate is at Entra ID\n%s", w.describe())
	}
	if got := w.journal(old.ID, string(credential.SeeRefused), store.Failed); got != 1 {
		t.Errorf("the journal says %d times that it was taken for long", got)
	}
}

// TestSeeRefusedByAPrincipal has the removed certificate at the service principal, too,
// where reeve does not look: a person is told, and when it is gone there, all is well.
func TestSeeRefusedByAPrincipal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSecret()
	r := w.rotator()
	w.adopt(r, func(a *Adoption) { a.Policy.Overlap = credential.Span(time.Hour) })
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	old, _ := w.app().Active()
	at := func(keys ...directory.KeyCredential) {
		if err := w.Tenant.Directory.ChangeServicePrincipal(w.Tenant.Client().ClientID, func(p *directory.ServicePrincipal) error {
			p.KeyCredentials = keys
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	key, err := directory.NewKeyCredential(uuid.NewString(), old.Certificate[0], time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	at(key)
	w.wish(r, credential.Promote, "")
	told := func(a credential.Application) bool {
		return slices.ContainsFunc(credential.Assess(w.clock.Now(), a), func(f credential.Finding) bool {
			return f.Rule == "certificate-stuck" && f.Credential == old.ID && strings.Contains(f.Remedy, "service principal")
		})
	}
	w.until(r, 24*time.Hour, "the finding", told)
	end := w.clock.Now().Add(10 * time.Hour)
	w.until(r, 12*time.Hour, "ten hours", func(a credential.Application) bool {
		if !told(a) {
			t.Fatalf("the finding is gone, and the certificate is taken\n%s", w.describe())
		}
		return w.clock.Now().After(end)
	})
	if failed, seen := w.journal(old.ID, string(credential.SeeRefused), store.Failed), w.journal(old.ID, string(credential.Remove), store.Seen); failed+seen != 1 {
		t.Errorf("the journal says %d times that it is taken, and %d times that it is not there", failed, seen)
	}
	at()
	w.until(r, 3*time.Hour, "the old one to be refused", func(a credential.Application) bool {
		c, _ := a.Find(old.ID)
		return c.State == credential.Retired
	})
}

func (w *world) journal(id, step, outcome string) (count int) {
	w.t.Helper()
	entries, err := w.db.Journal(context.Background(), w.tenant, w.object, 0, 100000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Credential == id && e.Step == step && e.Outcome == outcome {
			count++
		}
	}
	return count
}

// TestTwins has somebody register reeve's certificate a second time under another key id:
// both go when it is removed, by a proof and by the list.
func TestTwins(t *testing.T) {
	t.Parallel()
	for _, byList := range []bool{false, true} {
		w := newWorld(t)
		n := &failsOnce{next: w.HTTPClient().Transport, answer: func() (*http.Response, error) { return forbidden(), nil }, failed: !byList}
		w.change = func(o *Options) {
			o.HTTP = &http.Client{Transport: n}
			o.Directory = newDirectory(t, w.cloud, o.HTTP, secretToken{w})
		}
		r := w.rotator()
		w.adopt(r, func(a *Adoption) { a.Policy.Overlap = credential.Span(time.Hour) })
		w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
		old, _ := w.app().Active()
		others := len(w.atEntra())
		w.putBack(old)
		w.wish(r, credential.Promote, "")
		w.until(r, 24*time.Hour, "the old one to be refused", func(a credential.Application) bool {
			c, _ := a.Find(old.ID)
			return c.State == credential.Retired
		})
		w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
		if w.isAtEntra(old) || len(w.atEntra()) != others {
			t.Errorf("by a list %t: the certificate is at Entra ID: %t, which has %d keys\n%s", byList, w.isAtEntra(old), len(w.atEntra()), w.describe())
		}
		if (n.lists == 1) != byList {
			t.Errorf("by a list %t: %d lists were sent", byList, n.lists)
		}
	}
}

// TestPermissionTakenAway takes the permission to read the application away in the middle
// of a renewal. Registering, proving, promoting and removing go on by proofs alone, and
// that Graph cannot be read is said.
func TestPermissionTakenAway(t *testing.T) {
	t.Parallel()
	blind := func(w *world) bool {
		return slices.ContainsFunc(credential.Assess(w.clock.Now(), w.app()), func(f credential.Finding) bool { return f.Rule == "application-unreadable" })
	}
	for name, when := range map[string]func(a credential.Application, old string) bool{
		"before confirming": func(a credential.Application, _ string) bool { return len(a.In(credential.Registered)) > 0 },
		"before removing": func(a credential.Application, old string) bool {
			c, _ := a.Find(old)
			return c.State == credential.Draining
		},
		"while it is removed": func(a credential.Application, _ string) bool {
			return slices.ContainsFunc(a.In(credential.Retiring), func(c credential.Credential) bool { return !c.Removed.IsZero() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			forbid := &forbidsGraph{next: w.HTTPClient().Transport}
			w.change = func(o *Options) {
				o.Directory = newDirectory(t, w.cloud, &http.Client{Transport: forbid}, secretToken{w})
			}
			r := w.rotator()
			w.adopt(r, func(a *Adoption) { a.Policy.Overlap = credential.Span(time.Hour) })
			w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
			// From here on all key ids are known.
			first, _ := w.app().Active()
			w.wish(r, credential.Promote, "")
			w.until(r, time.Hour, "the next one in use", func(a credential.Application) bool {
				c, _ := a.Active()
				_, ok := a.Standby()
				return c.ID != first.ID && ok
			})
			old, _ := w.app().Active()
			w.wish(r, credential.Renew, "")
			w.until(r, 24*time.Hour, name, func(a credential.Application) bool { return when(a, old.ID) })
			forbid.on = true
			w.until(r, 48*time.Hour, "the end of the old one", func(a credential.Application) bool {
				c, _ := a.Find(old.ID)
				_, ok := a.Standby()
				return c.State == credential.Retired && ok
			})
			if w.isAtEntra(old) {
				t.Error("the old one is at Entra ID")
			}
			active, _ := w.app().Active()
			if active.Refusals > 0 || !w.isAtEntra(active) {
				t.Error("the active one does not work")
			}
			w.until(r, 24*time.Hour, "the finding", func(credential.Application) bool { return blind(w) })
			forbid.on = false
			w.until(r, 24*time.Hour, "the finding to be over", func(credential.Application) bool { return !blind(w) })
		})
	}
}

// forbidsGraph answers as Graph does to whoever lacks a permission.
type forbidsGraph struct {
	next http.RoundTripper
	on   bool
}

func (f *forbidsGraph) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.on {
		return forbidden(), nil
	}
	return f.next.RoundTrip(r)
}

// TestPermissionTakenAwayAfterAList takes the permission away right after the first
// certificate was registered by the list: it is proved all the same.
func TestPermissionTakenAwayAfterAList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	forbid := &forbidsGraph{next: w.HTTPClient().Transport}
	w.change = func(o *Options) {
		o.Directory = newDirectory(t, w.cloud, &http.Client{Transport: forbid}, secretToken{w})
	}
	r := w.rotator()
	w.adopt(r, func(a *Adoption) { a.Pair = pki.Pair{} })
	w.until(r, time.Hour, "the list", func(a credential.Application) bool { return len(a.In(credential.Registered)) > 0 })
	forbid.on = true
	w.until(r, time.Hour, "an active one", hasActive)
	if c, _ := w.app().Active(); !c.Replaced.IsZero() {
		t.Error("what others have lost is still looked for, which nobody can see")
	}
}

// TestDeletedOnItsWay has a person delete reeve's new key in the portal, before Graph's
// replicas show it and before it is proved: another takes its place, and what is in use
// stays.
func TestDeletedOnItsWay(t *testing.T) {
	t.Parallel()
	for _, state := range []credential.State{credential.Registered, credential.Proving} {
		t.Run(string(state), func(t *testing.T) {
			w := newWorld(t)
			w.withSecret()
			r := w.rotator()
			w.adopt(r)
			w.until(r, time.Hour, "a new one", func(a credential.Application) bool { return len(a.In(state)) > 0 })
			fresh, old := w.app().In(state)[0], w.atEntra()
			if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, fresh.KeyID); err != nil {
				t.Fatal(err)
			}
			w.until(r, 2*time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
			standby, _ := w.app().Standby()
			active, _ := w.app().Active()
			if !w.isAtEntra(standby) || !w.isAtEntra(active) || len(w.atEntra()) != len(old) {
				t.Errorf("the standby is at Entra ID: %t, the active one: %t; there are %d keys\n%s", w.isAtEntra(standby), w.isAtEntra(active), len(w.atEntra()), w.describe())
			}
			if made := len(w.app().Credentials); made > 3 {
				t.Errorf("%d credentials were made\n%s", made-1, w.describe())
			}
			if c, _ := w.app().Find(fresh.ID); state == credential.Proving && (c.ID == standby.ID || c.State != credential.Destroyed) {
				t.Errorf("the one that was deleted is %s\n%s", c.State, w.describe())
			}
		})
	}
}

// TestRenamed has a person rename reeve's keys in the portal. They are reeve's all the
// same: nobody is told of a change, and they are removed in the end.
func TestRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSecret()
	r := w.rotator()
	w.adopt(r, func(a *Adoption) { a.Policy.Overlap = credential.Span(time.Hour) })
	rename := func() {
		if err := w.Tenant.Directory.ChangeApplication(w.Tenant.Client().ClientID, func(a *directory.Application) error {
			for i := range a.KeyCredentials {
				a.KeyCredentials[i].DisplayName = "mine " + uuid.NewString()[:8]
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.until(r, time.Hour, "a new one", func(a credential.Application) bool { return len(a.In(credential.Registered)) > 0 })
	rename()
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	rename()
	old, _ := w.app().Active()
	w.wish(r, credential.Promote, "")
	w.until(r, 24*time.Hour, "the end of the old one", func(a credential.Application) bool {
		c, _ := a.Find(old.ID)
		_, ok := a.Standby()
		return c.State == credential.Retired && ok
	})
	active, _ := w.app().Active()
	if w.isAtEntra(old) || !w.isAtEntra(active) {
		t.Errorf("the old one is at Entra ID: %t; the active one: %t", w.isAtEntra(old), w.isAtEntra(active))
	}
	if got := w.journal("", string(credential.Look), store.Seen); got != 0 {
		t.Errorf("%d changes by others were seen\n%s", got, w.describe())
	}
}

// TestForbiddenLifetime has the tenant forbid certificates of the lifetime that the policy
// wants: a finding says what helps, no key after key is made, and when the lifetime is
// shortened a certificate that fits is made at once.
func TestForbiddenLifetime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *emulator.Options) {
		o.Grants = append(o.Grants, "graph/Policy.ReadWrite.ApplicationConfiguration")
	})
	w.withSecret()
	answer := w.Do(t, http.MethodPatch, w.Origins().Graph+"/v1.0/policies/defaultAppManagementPolicy",
		`{"isEnabled":true,"applicationRestrictions":{"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","state":"enabled","maxLifetime":"P90D"}]}}`,
		"Authorization", "Bearer "+w.Token(t, "https://graph.microsoft.com"), "Content-Type", "application/json")
	if answer.Status != http.StatusNoContent {
		t.Fatal(answer.Status, answer.Text)
	}
	r := w.rotator()
	w.adopt(r)
	made := func() (n int) {
		for _, c := range w.app().Credentials {
			if c.Origin == credential.Made {
				n++
			}
		}
		return n
	}
	w.until(r, time.Hour, "the finding", func(a credential.Application) bool {
		return slices.ContainsFunc(credential.Assess(w.clock.Now(), a), func(f credential.Finding) bool {
			return f.Rule == "certificate-stuck" && strings.Contains(f.Message, "AsPerAppPolicy") && strings.Contains(f.Remedy, "reeve cert policy set --lifetime")
		})
	})
	end := w.clock.Now().Add(20 * 24 * time.Hour)
	w.until(r, 21*24*time.Hour, "twenty days", func(credential.Application) bool { return w.clock.Now().After(end) })
	if made() != 1 {
		t.Errorf("%d keys were made in twenty days\n%s", made(), w.describe())
	}
	w.changePolicy(func(p *credential.Policy) { p.Lifetime = credential.Span(80 * 24 * time.Hour) })
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	if made() != 2 {
		t.Errorf("%d keys were made", made())
	}
}

// TestRemovedEachTime has somebody remove whatever reeve registers. It is registered anew,
// later each time, then another is tried, and then a person is told.
func TestRemovedEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSecret()
	r := w.rotator()
	w.adopt(r)
	begun, sent := w.clock.Now(), map[string]time.Time{}
	w.until(r, 2*24*time.Hour, "a day", func(a credential.Application) bool {
		for _, c := range a.In(credential.Registered) {
			if !sent[c.ID].Equal(c.Registered) {
				sent[c.ID] = c.Registered
				if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, c.KeyID); err != nil {
					t.Fatal(err)
				}
			}
		}
		return w.clock.Now().Sub(begun) > 24*time.Hour
	})
	times := 0
	for _, c := range w.app().Credentials {
		times += w.journal(c.ID, string(credential.Register), store.Intent)
	}
	if times > 30 {
		t.Errorf("in a day it was registered %d times\n%s", times, w.describe())
	}
	if !slices.ContainsFunc(credential.Assess(w.clock.Now(), w.app()), func(f credential.Finding) bool { return f.Rule == "certificate-given-up" }) {
		t.Errorf("nobody is told\n%s", w.describe())
	}
}

// TestRetiringWithoutItsKey takes the private key of a replaced certificate out of the
// store, as when the database is older than the store: nobody can ask whether it is
// refused, and it comes to its end all the same.
func TestRetiringWithoutItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r, func(o *Adoption) {
		o.Policy.Overlap, o.Policy.DestroyAfter = credential.Span(2*time.Hour), credential.Span(time.Hour)
	})
	old, _ := w.app().Active()
	w.wish(r, credential.Renew, "")
	w.until(r, time.Hour, "a renewal", func(a credential.Application) bool { return len(a.In(credential.Draining)) == 1 && isStandby(a) })
	if err := w.keys.Delete(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	w.until(r, 24*time.Hour, "its end", func(a credential.Application) bool {
		c, _ := a.Find(old.ID)
		return c.State == credential.Destroyed
	})
	if w.isAtEntra(old) {
		t.Error("it is at Entra ID")
	}
}
