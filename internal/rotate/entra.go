package rotate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// errBlind says that Graph does not let us read the application.
var errBlind = errors.New("the application cannot be read at Graph")

// unreadable reports that Graph will not let us read the application as things stand:
// nobody is there to ask as, or who is may not, or is refused by Entra ID, as the
// application itself is when its certificates have expired.
func unreadable(err error) bool {
	var signIn *m365.SignInError
	return errors.Is(err, errBlind) || errors.Is(err, m365.ErrForbidden) || errors.As(err, &signIn) && !errors.Is(err, m365.ErrTransient)
}

// read reads the application at Graph.
func (w *work) read(ctx context.Context) (graph.Application, error) {
	if w.r.o.Directory == nil {
		return graph.Application{}, errBlind
	}
	return w.r.o.Directory.Application(ctx, w.a.ObjectID)
}

// look reads the application, and notes what there is and what has changed.
func (w *work) look(ctx context.Context) error {
	seen, err := w.read(ctx)
	if err != nil {
		return err
	}
	w.clock(ctx, w.r.o.Now().UTC(), m365.Proof{ServerTime: seen.At}, nil)
	if err := w.observe(ctx, seen); err != nil {
		return err
	}
	if err := w.seeTargets(ctx); err != nil {
		return err
	}
	if err := w.seeFormer(ctx); err != nil {
		return err
	}
	return w.checkRungs(ctx)
}

// observe notes what was read.
func (w *work) observe(ctx context.Context, seen graph.Application) error {
	now := w.r.o.Now().UTC()
	before := w.a.Observed
	o := credential.Observation{
		At: now, Skew: before.Skew, SkewAt: before.SkewAt, Targets: before.Targets, Contests: before.Contests,
		List: listSeen(w.r.o.Cloud, seen), Rungs: before.Rungs, RungsAt: before.RungsAt, RungsOf: before.RungsOf,
	}
	var moved []credential.Credential // whose Missing has changed
	for _, k := range seen.Keys {
		o.Keys = append(o.Keys, w.observed(k))
	}
	for _, p := range seen.Passwords {
		o.Keys = append(o.Keys, credential.ObservedKey{KeyID: p.KeyID, Name: p.Name, Start: p.Start, End: p.End, Secret: true})
	}
	for _, c := range w.a.Credentials {
		if !slices.Contains([]credential.State{credential.Proving, credential.Standby, credential.Publishing, credential.Active, credential.Draining}, c.State) {
			continue
		}
		shown := slices.ContainsFunc(o.Keys, func(k credential.ObservedKey) bool { return k.Ours == c.ID })
		switch {
		case shown && !c.Missing.IsZero():
			c.Missing = time.Time{}
			moved = append(moved, c)
		case !shown && c.Missing.IsZero() && now.Sub(c.Registered).Abs() > 2*time.Minute:
			c.Missing = now
			moved = append(moved, c)
		}
	}
	changes := drift(before, o)
	w.a.Observed = o
	return w.write(ctx, func(tx *store.CredentialTx) error {
		for _, c := range moved {
			if err := tx.SaveCredential(c); err != nil {
				return err
			}
		}
		for _, d := range changes {
			if err := tx.Journal(w.entry("", string(credential.Look), store.Seen, d.text, d.key)); err != nil {
				return err
			}
			if err := w.post(tx, w.noticeDrift(d)); err != nil {
				return err
			}
		}
		return tx.SaveApplication(w.a)
	})
}

// lookFailed notes that the application could not be read, and why.
func (w *work) lookFailed(ctx context.Context, err error, text string) error {
	o := &w.a.Observed
	o.FailedAt = w.r.o.Now().UTC()
	o.Error = text
	o.Attempts++
	if after := retryAfter(err); after > 0 {
		o.RetryAfter = o.FailedAt.Add(after)
	}
	var signIn *m365.SignInError
	passing := errors.Is(err, m365.ErrTransient) || errors.Is(err, m365.ErrThrottled)
	o.Blind = unreadable(err) || o.Blind && passing
	o.Locked = errors.As(err, &signIn) && !passing || o.Locked && passing
	// A replica may not know it yet.
	o.Gone = errors.Is(err, m365.ErrNotFound) && o.Attempts >= 4 || o.Gone && passing
	return w.write(ctx, func(tx *store.CredentialTx) error { return tx.SaveApplication(w.a) })
}

// observed notes a key credential, and whose it is.
func (w *work) observed(k graph.KeyCredential) credential.ObservedKey {
	seen := credential.ObservedKey{KeyID: k.KeyID, Name: k.Name, Start: k.Start, End: k.End}
	if cert, err := x509.ParseCertificate(k.Key); err == nil {
		seen.SHA1, seen.SHA256 = pki.SHA1(cert), pki.SHA256(cert)
	}
	for _, c := range w.a.Credentials {
		if isFor(k, c) {
			seen.Ours = c.ID
		}
	}
	return seen
}

// isFor reports whether a key credential is a credential's: by its certificate, else by
// the key id that we know.
func isFor(k graph.KeyCredential, c credential.Credential) bool {
	if chain, err := certificates(c); err == nil && len(chain) > 0 {
		if k.IsFor(chain[0]) {
			return true
		}
		if len(k.Key) > 0 {
			return false
		}
	}
	return c.KeyID != "" && strings.EqualFold(k.KeyID, c.KeyID)
}

// shown lists the key credentials that are a credential's. There is more than one when
// an answer was lost and Graph took the certificate twice.
func shown(seen graph.Application, c credential.Credential) []graph.KeyCredential {
	var keys []graph.KeyCredential
	for _, k := range seen.Keys {
		if isFor(k, c) {
			keys = append(keys, k)
		}
	}
	return keys
}

// drifted is a change at Entra ID that was not ours.
type drifted struct {
	text  string
	added bool
	key   credential.ObservedKey
}

// drift lists the foreign keys that have come and gone between two looks.
func drift(before, after credential.Observation) []drifted {
	if before.At.IsZero() {
		return nil
	}
	var all []drifted
	has := func(o credential.Observation, id string) bool {
		return slices.ContainsFunc(o.Keys, func(k credential.ObservedKey) bool { return k.KeyID == id })
	}
	what := func(k credential.ObservedKey) string {
		if k.Secret {
			return "client secret"
		}
		return "certificate"
	}
	for _, k := range after.Foreign() {
		if !has(before, k.KeyID) {
			all = append(all, drifted{fmt.Sprintf("somebody else added a %s: %s (%s)", what(k), k.Name, k.KeyID), true, k})
		}
	}
	for _, k := range before.Foreign() {
		if !has(after, k.KeyID) {
			all = append(all, drifted{fmt.Sprintf("somebody else removed a %s: %s (%s)", what(k), k.Name, k.KeyID), false, k})
		}
	}
	return all
}
