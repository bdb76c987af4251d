package rotate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// keyRefused are the AADSTS numbers by which Entra ID says that it does not take a key,
// whatever else is right: it does not know the certificate, it was revoked, it is
// outside of its dates, there is none.
var keyRefused = []int{700027, 7000214, 1000502, 700026}

// keyRefusal is the AADSTS number by which Entra ID refused a key; 0 if it did not.
func keyRefusal(err error) int {
	var signIn *m365.SignInError
	if errors.As(err, &signIn) && slices.ContainsFunc(keyRefused, signIn.Has) {
		return signIn.Codes[0]
	}
	return 0
}

// prove obtains a token for each resource with a credential, and notes how that went.
func (w *work) prove(ctx context.Context, c credential.Credential) error {
	pair, err := w.pair(ctx, c)
	switch {
	case errors.Is(err, fs.ErrNotExist): // without its key it works as little as when it is refused
		now := w.r.o.Now().UTC()
		if c.Refused.IsZero() {
			c.Refused = now
		}
		c.Probed, c.Refusals, c.RefusedCode = now, c.Refusals+1, 0
		c.Error, c.Remedy = err.Error(), "restore the certificate store from a backup"
		return w.save(ctx, c)
	case err != nil:
		return err
	}
	tried := c
	if err := w.token(ctx, &c, pair); err != nil {
		return err
	}
	if c.State == credential.Active && c.Refusals == 0 && tried.Failing == credential.Publish && tried.Attempts > 0 {
		stillUnpublished(&c, tried)
	}
	if c.State == credential.Proving && c.Proven(w.a.Policy.Resources) {
		c.Ready = w.r.o.Now().UTC()
		return w.write(ctx, func(tx *store.CredentialTx) error {
			if err := w.post(tx, w.noticeGenerated(c)); err != nil {
				return err
			}
			return w.move(tx, c, credential.Standby, credential.Prove, "tokens were obtained with it for each resource", proofs(c))
		})
	}
	return w.save(ctx, c)
}

// proofs are what the journal keeps of them.
func proofs(c credential.Credential) any { return map[string]any{"proofs": c.Proofs} }

// token obtains one token for each resource, and notes it in c. A refusal of the key is
// noted and is no error; all else is one.
func (w *work) token(ctx context.Context, c *credential.Credential, pair pki.Pair) error {
	for _, resource := range w.a.Policy.Resources {
		proof, err := w.r.obtain(ctx, m365.ProofRequest{
			TenantID: w.a.TenantID, ClientID: w.a.ClientID, Pair: pair, Resource: resource, Skew: w.skew(),
		})
		now := w.r.o.Now().UTC()
		w.clock(ctx, now, proof, err)
		switch {
		case err == nil:
			p := c.Proofs[resource]
			if p.Count == 0 {
				p.Since = now
			}
			p.Count++
			p.Last, p.Roles = now, proof.Roles
			c.Proofs = with(c.Proofs, resource, p)
		case keyRefusal(err) != 0:
			if c.Refused.IsZero() {
				c.Refused = now
			}
			c.Refusals++
			c.RefusedCode = keyRefusal(err)
			c.Probed = now
			c.Proofs = with(c.Proofs, resource, credential.Proof{})
			c.Error, c.Remedy = explain(err)
			return nil
		default:
			return err
		}
	}
	c.Probed = w.r.o.Now().UTC()
	c.Refused, c.Refusals, c.RefusedCode = time.Time{}, 0, 0
	c.Attempts, c.RetryAt, c.Error, c.Remedy, c.Stuck = 0, time.Time{}, "", "", false
	return nil
}

// with returns proofs with one replaced. The map that is in the application's copy stays
// as it was.
func with(proofs map[string]credential.Proof, resource string, p credential.Proof) map[string]credential.Proof {
	fresh := map[string]credential.Proof{resource: p}
	for r, q := range proofs {
		if r != resource {
			fresh[r] = q
		}
	}
	return fresh
}

// skew is how far Entra ID's clock is ahead of ours, as far as that was seen lately.
func (w *work) skew() time.Duration { return skew(w.a, w.r.o.Now()) }

func skew(a credential.Application, now time.Time) time.Duration {
	if now.Sub(a.Observed.SkewAt).Abs() > credential.SkewKnown {
		return 0
	}
	return a.Observed.Skew
}

// obtain obtains a token and throws it away. Where the authority's answer shows that the
// clock by which the request was signed is wrong, it is asked once more, by its own.
func (r *Rotator) obtain(ctx context.Context, q m365.ProofRequest) (m365.Proof, error) {
	proof, err := r.prover.Prove(ctx, q)
	if off, ok := skewOf(err, r.o.Now()); ok && keyRefusal(err) == 0 && (off-q.Skew).Abs() > time.Minute {
		q.Skew = off
		proof, err = r.prover.Prove(ctx, q)
	}
	return proof, silent(ctx, serviceToken, err)
}

// skewOf is how far the authority's clock was ahead of ours when it refused to sign in.
func skewOf(err error, now time.Time) (time.Duration, bool) {
	var signIn *m365.SignInError
	if !errors.As(err, &signIn) || signIn.ServerTime.IsZero() {
		return 0, false
	}
	return signIn.ServerTime.Sub(now), true
}

// clock notes how far the clock of who answered with a proof or an error is from ours,
// if that has changed much, or has to be confirmed.
func (w *work) clock(ctx context.Context, now time.Time, proof m365.Proof, err error) {
	server := proof.ServerTime
	if off, ok := skewOf(err, now); ok {
		server = now.Add(off)
	}
	if server.IsZero() {
		return
	}
	skew := server.Sub(now).Round(time.Second)
	if skew.Abs() <= 30*time.Second {
		skew = 0
	}
	if (skew-w.a.Observed.Skew).Abs() < 5*time.Second && (skew == 0 || now.Sub(w.a.Observed.SkewAt).Abs() < time.Minute) {
		return
	}
	w.a.Observed.Skew, w.a.Observed.SkewAt = skew, now
	if err := w.write(ctx, func(tx *store.CredentialTx) error { return tx.SaveApplication(w.a) }); err != nil {
		w.r.o.Log.Warn("That the clocks differ could not be recorded.", "error", err)
	}
}

// fresh makes sure that a credential was proved within the last minutes, and proves it
// now if not. It reports false if Entra ID refuses it.
func (w *work) fresh(ctx context.Context, c *credential.Credential) (bool, error) {
	if w.r.o.Now().Sub(c.Proved(w.a.Policy.Resources)).Abs() < credential.FreshProof && c.Refusals == 0 {
		return true, nil
	}
	pair, err := w.pair(ctx, *c)
	if err != nil {
		return false, err
	}
	if err := w.token(ctx, c, pair); err != nil {
		return false, err
	}
	return c.Refusals == 0, w.save(ctx, *c)
}

const (
	// acceptedFor is how long Entra ID may go on taking a certificate that was taken away,
	// before it is looked for again; acceptedAgain the same when that has not helped.
	acceptedFor   = 30 * time.Minute
	acceptedAgain = 2 * time.Minute
)

// seeRefused asks for a token with a certificate that was taken away. It must be refused.
// If it is not for long, somebody may have put it back: it is taken away again. Without
// its private key, as when the database is older than the store, nobody can ask.
func (w *work) seeRefused(ctx context.Context, c credential.Credential) error {
	pair, err := w.pair(ctx, c)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return w.retired(ctx, c, "its private key is not in the store any more, so that no token can be asked for")
	case err != nil:
		return err
	}
	_, err = w.r.obtain(ctx, m365.ProofRequest{
		TenantID: w.a.TenantID, ClientID: w.a.ClientID, Pair: pair, Resource: w.a.Policy.Resources[0], Skew: w.skew(),
	})
	now := w.r.o.Now().UTC()
	c.Probed = now
	switch {
	case keyRefusal(err) != 0:
		return w.retired(ctx, c, fmt.Sprintf("Entra ID refuses it (AADSTS%d)", keyRefusal(err)))
	case err != nil:
		return err
	case now.Sub(c.Removed).Abs() > acceptedFor, c.Stuck && now.Sub(c.Removed).Abs() > acceptedAgain:
		return w.removeAgain(ctx, c)
	}
	return w.save(ctx, c)
}

// retired records that nobody signs in any more with a certificate that was taken away.
func (w *work) retired(ctx context.Context, c credential.Credential, text string) error {
	c.DestroyAfter = w.r.o.Now().UTC().Add(time.Duration(w.a.Policy.DestroyAfter))
	if c.State == credential.Compromised {
		c.DestroyAfter = w.r.o.Now().UTC() // nobody should have it
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := w.post(tx, w.noticeRetired(c, text)); err != nil {
			return err
		}
		return w.move(tx, c, credential.Retired, credential.SeeRefused, text, nil)
	})
}

// removeAgain lets a certificate be removed once more that Entra ID still takes though it
// is gone by Graph: at once, and then each hour.
func (w *work) removeAgain(ctx context.Context, c credential.Credential) error {
	known := c.Stuck
	c.Attempts++
	c.Failing = credential.SeeRefused
	if c.Stuck = true; known {
		c.RetryAfter = w.r.o.Now().UTC().Add(time.Hour)
	} else {
		c.Error = "Entra ID still gives tokens for certificate " + c.SHA1 + ", which was removed at " + c.Removed.Format(time.RFC3339)
		c.Remedy = "look whether the service principal (Enterprise application) has the certificate as well, and remove it there"
	}
	c.Removed, c.Gone, c.Reads, c.ReadAt = time.Time{}, time.Time{}, 0, time.Time{}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if !known { // once, however often it is tried
			if err := tx.Journal(w.entry(c.ID, string(credential.SeeRefused), store.Failed, c.Error+"; it is looked for again", nil)); err != nil {
				return err
			}
		}
		return tx.SaveCredential(c)
	})
}
