package rotate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// promote begins to make a standby, or one that is draining, the active one: after a
// fresh proof.
func (w *work) promote(ctx context.Context, c credential.Credential, s credential.Step) error {
	pair, err := w.pair(ctx, c)
	if err != nil {
		return err
	}
	// A token now, however lately there was one: somebody may just have removed it.
	if err := w.token(ctx, &c, pair); err != nil {
		return err
	}
	if c.Refusals > 0 {
		return w.save(ctx, c) // the rules have another look
	}
	active, hasActive := w.a.Active()
	if hasActive {
		c.Replaces = active.ID
	}
	now := w.r.o.Now().UTC()
	// Seconds since 1970 at least: a database that was restored from an old backup must
	// not give out a number again that consumers have seen.
	w.a.Generation = max(w.a.Generation+1, now.Unix())
	for _, name := range c.Published {
		c.Placed = placed(c, name)
	}
	c.Generation, c.Published, c.Reason = w.a.Generation, nil, s.Why
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.SaveApplication(w.a); err != nil {
			return err
		}
		return w.move(tx, c, credential.Publishing, s.Action, s.Why, map[string]any{
			"generation": c.Generation, "replaces": c.Replaces, "targets": w.a.Policy.Targets, "emergency": s.Emergency,
		})
	})
}

// publish hands a certificate to the live places, fetches it from each as a program
// would, signs in with what it got, and makes it the active one. In an emergency it is
// content with the places that can be reached; the others get it later.
func (w *work) publish(ctx context.Context, c credential.Credential, s credential.Step) error {
	pair, err := w.pair(ctx, c)
	if err != nil {
		return err
	}
	if w.a.Policy.Targets != nil && w.r.o.Now().Sub(c.Probed).Abs() > time.Second {
		// Not one program gets what Entra ID does not take.
		tried := c
		if err := w.token(ctx, &c, pair); err != nil {
			return err
		}
		if c.Refusals > 0 {
			return w.save(ctx, c)
		}
		stillUnpublished(&c, tried)
	}
	var failed []error
	for _, name := range w.a.Policy.Targets {
		if slices.Contains(c.Published, name) {
			continue
		}
		if err := w.at(ctx, name, func(ctx context.Context, t certstore.Target) error { return w.publishTo(ctx, t, name, &c, pair) }); err != nil {
			if !strings.Contains(err.Error(), name) { // the place says so itself, mostly
				err = fmt.Errorf("publishing to %s: %w", name, err)
			}
			failed = append(failed, err)
			continue // the others need not wait for it
		}
		c.Published, c.Placed = append(slices.Clone(c.Published), name), placed(c, name)
		if err := w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.Journal(w.entry(c.ID, string(credential.Publish), store.Done, "it was published to "+name+" and fetched from there", nil)); err != nil {
				return err
			}
			return tx.SaveCredential(c)
		}); err != nil {
			return err
		}
	}
	if len(failed) > 0 && (!s.Emergency || c.State == credential.Active) {
		return errors.Join(failed...)
	}
	if c.State == credential.Active { // it was missing somewhere
		w.a.Observed.Targets = nil
		return w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.SaveApplication(w.a); err != nil {
				return err
			}
			c.Attempts, c.RetryAt, c.Error, c.Remedy, c.Stuck = 0, time.Time{}, "", "", false
			return tx.SaveCredential(c)
		})
	}
	now := w.r.o.Now().UTC()
	c.Promoted, c.Missing = now, time.Time{}
	if o := &w.a.Observed; o.Locked { // tokens are given again: a look now, and not what an old one says
		o.Locked, o.Blind, o.Error, o.FailedAt, o.Attempts = false, false, "", time.Time{}, 1
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.SaveApplication(w.a); err != nil {
			return err
		}
		for _, old := range w.a.In(credential.Active) {
			old.DrainUntil = now.Add(w.a.Policy.Drain())
			if err := w.move(tx, old, credential.Draining, credential.Publish, "it was replaced by "+c.SHA1, map[string]any{"until": old.DrainUntil}); err != nil {
				return err
			}
		}
		for _, hook := range w.a.Policy.Hooks {
			if err := tx.PlanDeploy(credential.Deploy{Credential: c.ID, Hook: hook, DueAt: now}); err != nil {
				return err
			}
		}
		if err := w.post(tx, w.noticeRenewed(c)); err != nil {
			return err
		}
		return w.move(tx, c, credential.Active, credential.Publish, "it is the active one: "+c.Reason, map[string]any{"generation": c.Generation})
	})
}

// stillUnpublished keeps why a credential could not be published so far, and when that is
// tried again: that a token was obtained with it says nothing of that.
func stillUnpublished(c *credential.Credential, tried credential.Credential) {
	c.Attempts, c.FailedAt, c.RetryAt, c.Error, c.Remedy, c.Stuck = tried.Attempts, tried.FailedAt, tried.RetryAt, tried.Error, tried.Remedy, tried.Stuck
}

// supersede lets the active certificate be published again to the live places that have
// got one which does not become the active one after all.
func (w *work) supersede(tx *store.CredentialTx, c credential.Credential) error {
	active, ok := w.a.Active()
	if !ok {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(active.Published), func(name string) bool { return slices.Contains(c.Published, name) })
	if len(kept) == len(active.Published) {
		return nil
	}
	active.Published = kept
	return tx.SaveCredential(active)
}

// at does something with a live place, in a time of its own, so that one which does not
// answer costs the others nothing of theirs.
func (w *work) at(ctx context.Context, name string, f func(context.Context, certstore.Target) error) error {
	if w.r.o.OpenTarget == nil {
		return errors.New("no live places can be written from here")
	}
	target, err := w.r.o.OpenTarget(name)
	if err != nil {
		return err
	}
	if err := w.hold(ctx, w.r.callTime); err != nil {
		return err
	}
	own, cancel := context.WithTimeout(ctx, w.r.callTime)
	defer cancel()
	if err = f(own, target); err == nil {
		return nil
	}
	if own.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("it took longer than %v: %w", w.r.callTime, err)
	}
	return placeError{err}
}

// placed is where a credential may be once it is published to a place.
func placed(c credential.Credential, name string) []string {
	if slices.Contains(c.Placed, name) {
		return c.Placed
	}
	return append(slices.Clone(c.Placed), name)
}

func (w *work) publishTo(ctx context.Context, target certstore.Target, name string, c *credential.Credential, pair pki.Pair) error {
	got, err := target.Published(ctx)
	if err != nil || !got.Certificate.Equal(pair.Certificate) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.r.o.Log.Warn("What a live place holds could not be read; it is written anew.", "target", name, "error", err)
		}
		c.Placed = placed(*c, name) // whatever comes of it
		if err := w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.Journal(w.entry(c.ID, string(credential.Publish), store.Intent, "to "+name, nil)); err != nil {
				return err
			}
			return tx.SaveCredential(*c)
		}); err != nil {
			return err
		}
		if err := target.Publish(ctx, certstore.Publication{
			CredentialID: c.ID, Generation: c.Generation, Pair: pair, ClientID: w.a.ClientID, TenantID: w.a.TenantID,
		}); err != nil {
			return err
		}
		if got, err = target.Published(ctx); err != nil {
			return fmt.Errorf("fetching what was just published: %w", err)
		}
	}
	if !got.Certificate.Equal(pair.Certificate) {
		return fmt.Errorf("what was just published is not what is there: certificate %s, in place of %s", pki.SHA1(got.Certificate), c.SHA1)
	}
	_, err = w.r.obtain(ctx, m365.ProofRequest{
		TenantID: w.a.TenantID, ClientID: w.a.ClientID, Pair: got, Resource: w.a.Policy.Resources[0], Skew: w.skew(),
	})
	if err != nil {
		return fmt.Errorf("signing in with what was fetched from there: %w", err)
	}
	return nil
}

// seeTargets looks whether the live places still have the active certificate. One that
// has another is published to again, but not for ever: somebody else may do the same.
func (w *work) seeTargets(ctx context.Context) error {
	c, ok := w.a.Active()
	if !ok || w.a.Mode != credential.On || w.r.o.OpenTarget == nil || len(w.a.In(credential.Publishing)) > 0 {
		return nil
	}
	now := w.r.o.Now().UTC()
	drifted, contests := map[string]string{}, map[string]credential.Contest{}
	for _, name := range c.Published {
		if !slices.Contains(w.a.Policy.Targets, name) {
			continue // nothing is published there any more
		}
		var got pki.Pair
		err := w.at(ctx, name, func(ctx context.Context, t certstore.Target) (err error) {
			got, err = t.Published(ctx)
			return err
		})
		x, contested := w.a.Observed.Contests[name]
		calm := now.Sub(x.Last).Abs() >= contestPause
		switch {
		case errors.Is(err, store.ErrFenced):
			return err
		case errors.Is(err, fs.ErrNotExist):
			drifted[name] = "the certificate that was published there is gone"
		case err != nil: // it is told when something is published there
		case pki.SHA256(got.Certificate) != c.SHA256:
			if x.What = w.whose(got); x.Over() && !calm {
				break
			}
			if calm && !x.Over() {
				x.Times = 0
			}
			x.Times, x.Last, contested = x.Times+1, now, true
			drifted[name] = x.What
		case calm: // it has been ours for long enough
			contested = false
		}
		if contested {
			contests[name] = x
		}
	}
	if len(drifted) == 0 && maps.Equal(contests, w.a.Observed.Contests) {
		return nil
	}
	c.Published = slices.DeleteFunc(slices.Clone(c.Published), func(name string) bool { _, ok := drifted[name]; return ok })
	w.a.Observed.Contests = contests
	if len(drifted) > 0 {
		w.a.Observed.Targets = drifted
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		for name, what := range drifted {
			if err := tx.Journal(w.entry(c.ID, string(credential.Look), store.Seen, name+": "+what, nil)); err != nil {
				return err
			}
			if err := w.post(tx, w.noticeTarget(c, name, what)); err != nil {
				return err
			}
		}
		if err := tx.SaveApplication(w.a); err != nil {
			return err
		}
		return tx.SaveCredential(c)
	})
}

// contestPause is how long after somebody else's certificate was replaced for the last time
// at a live place it is tried again.
const contestPause = 24 * time.Hour

// whose says what is known of a certificate that a live place has in place of ours.
func (w *work) whose(got pki.Pair) string {
	what := "somebody else has put certificate " + pki.SHA1(got.Certificate) + " there"
	sum := pki.SHA256(got.Certificate)
	for _, c := range w.a.Credentials {
		if c.SHA256 == sum {
			return fmt.Sprintf("%s, which is one of reeve's (%s), as when a backup was put back, or another reeve looks after the application", what, c.State)
		}
	}
	if slices.ContainsFunc(w.a.Observed.Keys, func(k credential.ObservedKey) bool { return k.SHA256 == sum }) {
		return what + ", which Entra ID has for the application and this database does not know, as when another reeve looks after it"
	}
	return what + ", which Entra ID does not have for the application"
}

// seeFormer looks at the places that have, as far as is known, a key of which they should
// have none: whether somebody has cleared them, or it can be done now.
func (w *work) seeFormer(ctx context.Context) error {
	if w.a.Mode != credential.On || w.r.o.OpenTarget == nil {
		return nil
	}
	for _, c := range w.a.Credentials {
		places := w.a.Former(c)
		if c.State == credential.Destroyed {
			places = w.a.Places(c)
		}
		cleared := []string{}
		for _, name := range places {
			switch left, err := w.clear(ctx, name, c, c.State == credential.Destroyed); {
			case errors.Is(err, store.ErrFenced):
				return err
			case err == nil && !left:
				cleared = append(cleared, name)
			}
		}
		if len(cleared) == 0 {
			continue
		}
		is := func(name string) bool { return slices.Contains(cleared, name) }
		c.Placed, c.Published = slices.DeleteFunc(slices.Clone(c.Placed), is), slices.DeleteFunc(slices.Clone(c.Published), is)
		if err := w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.Journal(w.entry(c.ID, string(credential.Look), store.Seen, strings.Join(cleared, ", ")+": nothing is left there of it", nil)); err != nil {
				return err
			}
			return tx.SaveCredential(c)
		}); err != nil {
			return err
		}
	}
	return w.reread(ctx)
}

// clear takes away what a place has of a credential, and reports whether it still has the
// certificate. The current one stays in a place of the policy, whose programs get another.
// In one that the policy has no more it goes as well, when it is needless; what may still
// be needed stays there, unless somebody has cleared the place.
func (w *work) clear(ctx context.Context, name string, c credential.Credential, needless bool) (left bool, err error) {
	current := needless && slices.Contains(w.a.Former(c), name) && !slices.ContainsFunc(w.a.Credentials, func(other credential.Credential) bool {
		return other.ID != c.ID && other.SHA256 == c.SHA256 && other.State.HasKey()
	})
	err = w.at(ctx, name, func(ctx context.Context, t certstore.Target) error {
		got, err := t.Published(ctx)
		gone := errors.Is(err, fs.ErrNotExist)
		left = !gone && (err != nil || !needless || pki.SHA256(got.Certificate) == c.SHA256) // or it cannot be seen
		if !gone && !needless {
			return nil
		}
		if err := t.Forget(ctx, c.ID, current); err != nil || !current {
			return err
		}
		got, err = t.Published(ctx)
		left = err == nil && pki.SHA256(got.Certificate) == c.SHA256 // somebody else has put it there
		return nil
	})
	return left, err
}

// withdraw begins to take a certificate away, after a fresh proof of the active one.
func (w *work) withdraw(ctx context.Context, c credential.Credential, s credential.Step) error {
	active, ok := w.a.Active()
	if !ok {
		return errors.New("there is no active certificate that would remain")
	}
	if ok, err := w.fresh(ctx, &active); err != nil || !ok {
		return err
	}
	c.Removed, c.Gone, c.Reads = time.Time{}, time.Time{}, 0
	return w.into(ctx, c, credential.Retiring, s.Action, s.Why, map[string]any{"active": active.ID})
}

// hookTries is how often a hook is run before it is given up.
const hookTries = 20

// deliver runs a command or a webhook. That it fails does not undo the rotation, and is
// not forgotten.
func (w *work) deliver(ctx context.Context, c credential.Credential, s credential.Step) error {
	i := slices.IndexFunc(w.a.Deploys, func(d credential.Deploy) bool { return d.Credential == c.ID && d.Hook == s.Hook })
	if i < 0 {
		return nil
	}
	d := w.a.Deploys[i]
	if why := w.a.Moot(d); why != "" {
		d.DueAt, d.Error = time.Time{}, why
		return w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.Journal(w.entry(c.ID, string(s.Action), store.Seen, s.Hook+" is not run: "+why, nil)); err != nil {
				return err
			}
			return tx.SaveDeploy(d)
		})
	}
	run := w.r.o.RunHook
	if run == nil {
		run = func(context.Context, string, Deployment) (bool, error) {
			return false, errors.New("no hooks can be run from here")
		}
	}
	// One that ends this process, as by restarting reeve, counts, and is not run at once
	// again by the next.
	d.Attempts++
	d.DueAt, d.Error = w.r.o.Now().Add(credential.Backoff(c.ID+s.Hook, d.Attempts)).UTC(), "reeve ended while it ran"
	if d.Attempts > hookTries {
		run = func(context.Context, string, Deployment) (bool, error) { return true, errors.New(d.Error) }
	}
	if err := w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(s.Action), store.Intent, s.Hook, nil)); err != nil {
			return err
		}
		return tx.SaveDeploy(d)
	}); err != nil {
		return err
	}
	permanent, err := run(ctx, s.Hook, Deployment{
		ClientID: w.a.ClientID, ObjectID: w.a.ObjectID, TenantID: w.a.TenantID, Name: w.a.Name,
		Credential: c.ID, Generation: c.Generation, SHA1: c.SHA1, SHA256: c.SHA256, NotAfter: c.NotAfter, Targets: c.Published,
	})
	outcome, text := store.Done, s.Hook
	d.DueAt, d.Error = time.Time{}, ""
	if err != nil {
		outcome, text = store.Failed, s.Hook+": "+err.Error()
		d.Error = err.Error()
		if !permanent && d.Attempts < hookTries {
			d.DueAt = w.r.o.Now().Add(credential.Backoff(c.ID+s.Hook, d.Attempts)).UTC()
		}
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(s.Action), outcome, text, nil)); err != nil {
			return err
		}
		if d.Error != "" && d.DueAt.IsZero() {
			if err := w.post(tx, w.noticeDeploy(c, d)); err != nil {
				return err
			}
		}
		return tx.SaveDeploy(d)
	})
}
