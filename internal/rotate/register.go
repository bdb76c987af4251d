package rotate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// Ways of registering a certificate.
const (
	byAddKey = "addKey" // as the application itself, with a proof: needs no permission, and adds
	byPatch  = "PATCH"  // of the complete list, by whoever may write the application
	byStore  = "store"  // it was found in the store, and may have been registered once
	byList   = "list"   // it is to be removed by PATCH, for a proof was refused
)

// signer finds a credential of ours that can speak for the application now, other than
// one: the active one, else one that works.
func (w *work) signer(ctx context.Context, not string) (pki.Pair, credential.Credential, bool) {
	for _, c := range speakers(w.a, not, w.r.o.Now()) {
		if pair, err := w.pair(ctx, c); err == nil {
			return pair, c, true
		}
	}
	return pki.Pair{}, credential.Credential{}, false
}

// speakers lists the credentials of an application that can speak for it, other than one,
// the likeliest first.
func speakers(a credential.Application, not string, now time.Time) []credential.Credential {
	var all []credential.Credential
	for _, state := range []credential.State{credential.Active, credential.Standby, credential.Draining, credential.Compromised} {
		for _, c := range a.In(state) {
			if c.ID != not && c.Refusals == 0 && now.Before(c.NotAfter) && c.Missing.IsZero() && len(c.Proofs) > 0 {
				all = append(all, c)
			}
		}
	}
	return all
}

// self is Graph as the application itself sees it. It needs no permission there for its
// own keys.
func (w *work) self(pair pki.Pair) (*graph.Client, error) {
	// A write is never repeated unseen: its answer may have been lost.
	return graph.New(graph.Options{
		Cloud: w.r.o.Cloud, HTTP: w.r.o.HTTP, Retry: m365.Retry{Max: -1},
		Credential: provenToken{w.r.prover, m365.ProofRequest{TenantID: w.a.TenantID, ClientID: w.a.ClientID, Pair: pair, Skew: w.skew()}},
	})
}

// provenToken gives out tokens as they are obtained, none twice, by a clock that may be
// corrected by what Entra ID's shows.
type provenToken struct {
	prover  m365.Prover
	request m365.ProofRequest
}

// GetToken obtains a token.
func (t provenToken) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t.request.Resource = strings.TrimSuffix(o.Scopes[0], "/.default")
	token, _, err := t.prover.Token(ctx, t.request)
	return token, err
}

// register puts a certificate at Entra ID.
func (w *work) register(ctx context.Context, c credential.Credential) error {
	chain, err := certificates(c)
	if err != nil {
		return err
	}
	pair, by, ok := w.signer(ctx, c.ID)
	if !ok || c.Method == byPatch {
		return w.registerByList(ctx, c, chain[0])
	}
	client, err := w.self(pair)
	if err != nil {
		return err
	}
	proof, err := graph.KeyProof(pair, w.a.ObjectID, w.r.o.Now().Add(w.skew()))
	if err != nil {
		return err
	}
	c.Method, c.Replaced = byAddKey, time.Time{}
	if err := w.intend(ctx, &c, credential.Registering, credential.Register, preimage{Method: byAddKey, SHA256: c.SHA256, Signer: by.ID}); err != nil {
		return err
	}
	key, err := client.AddKey(ctx, w.a.ObjectID, chain[0], proof)
	switch {
	case errors.Is(err, graph.ErrDuplicate):
		return w.registered(ctx, c, "it was there already")
	case errors.Is(err, graph.ErrProof), errors.Is(err, m365.ErrForbidden), keyRefusal(err) != 0:
		// Whether the proof was too early for a front end or is not taken at all, or the
		// signer has been taken away: the other way may work.
		if code := keyRefusal(err); code != 0 { // the next time another signs
			by.Refused, by.RefusedCode, by.Refusals, by.Probed = w.r.o.Now().UTC(), code, by.Refusals+1, w.r.o.Now().UTC()
			if err := w.save(ctx, by); err != nil {
				return err
			}
		} else {
			c.Method = byPatch
		}
		return w.back(ctx, c, credential.Staged, err)
	case refused(err):
		c.Forbidden = errors.Is(err, graph.ErrPolicy)
		return w.back(ctx, c, credential.Staged, err)
	case err != nil:
		return err // it may be there or not: findAgain looks
	}
	c.KeyID = key.KeyID
	return w.registered(ctx, c, "it was added with a proof by "+by.SHA1)
}

// refused reports that Graph has certainly not done what it was asked for.
func refused(err error) bool {
	var answer *m365.Error
	if errors.As(err, &answer) {
		return answer.Status >= 400 && answer.Status < 500 && answer.Status != 408
	}
	var signIn *m365.SignInError
	return errors.As(err, &signIn) // no token, no request
}

// intend records that a credential is about to change at Entra ID.
func (w *work) intend(ctx context.Context, c *credential.Credential, state credential.State, step credential.Action, data any) error {
	now := w.r.o.Now().UTC()
	if c.State != state {
		c.State, c.Since = state, now
	}
	if state == credential.Registering && c.Sent.IsZero() {
		c.Sent = now
	}
	c.Reads = 0
	w.a.Wrote = now
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(step), store.Intent, "", data)); err != nil {
			return err
		}
		if err := tx.SaveApplication(w.a); err != nil {
			return err
		}
		return tx.SaveCredential(*c)
	})
}

// back returns a credential to the state before an effect that certainly did not happen,
// and passes the reason on.
func (w *work) back(ctx context.Context, c credential.Credential, state credential.State, because error) error {
	c.State, c.Since = state, w.r.o.Now().UTC()
	if err := w.save(ctx, c); err != nil {
		return err
	}
	return because
}

// registered records that a certificate is at Entra ID.
func (w *work) registered(ctx context.Context, c credential.Credential, text string) error {
	now := w.r.o.Now().UTC()
	c.Registered, c.Reads, c.ReadAt, c.Forbidden = now, 0, time.Time{}, false
	c.Restless, c.Changes, c.Changed = time.Time{}, 0, ""
	if !c.Replaced.IsZero() {
		c.Replaced = now // at the latest
	}
	c.Proofs, c.Probed, c.Refused, c.Refusals = nil, time.Time{}, time.Time{}, 0
	return w.into(ctx, c, credential.Registered, credential.Register, text, map[string]any{"key_id": c.KeyID, "method": c.Method})
}

// registerByList replaces the list of key credentials by itself and one more. Graph has
// no way of making that depend on the list being what was read, so it is the way for an
// application's first certificate alone.
func (w *work) registerByList(ctx context.Context, c credential.Credential, cert *x509.Certificate) error {
	if w.r.o.Directory == nil {
		return fmt.Errorf("%w, and no certificate of it is here that could sign a proof: sign reeve in with Application.ReadWrite.OwnedBy as an owner of the application, or adopt a certificate that the application has, with its private key", errBlind)
	}
	seen, err := w.read(ctx)
	if err != nil {
		return w.notYet(ctx, c, err)
	}
	if len(shown(seen, c)) > 0 {
		c.KeyID = shown(seen, c)[0].KeyID
		return w.registered(ctx, c, "it was there already")
	}
	if !w.untouched(seen.Keys) && !w.settled(&c, seen.Keys) {
		return w.save(ctx, c)
	}
	list, err := w.gather(ctx, c, seen.Keys, looksBefore)
	if err != nil {
		return w.notYet(ctx, c, err)
	}
	lost, err := w.owed(ctx, c, credential.Register)
	if err != nil {
		return err
	}
	c.Method, c.Replaced, c.Compared = byPatch, w.r.o.Now().UTC(), false
	if c.KeyID == "" {
		c.KeyID = uuid.NewString()
	}
	if err := w.intend(ctx, &c, credential.Registering, credential.Register, preimage{Method: byPatch, KeyID: c.KeyID, SHA256: c.SHA256, Keys: list, Lost: lost}); err != nil {
		return err
	}
	err = w.r.o.Directory.SetKeys(ctx, w.a.ObjectID, append(list, graph.NewKey(cert, c.KeyID)))
	switch {
	case errors.Is(err, graph.ErrDuplicate):
		c.Replaced = time.Time{}
		return w.registered(ctx, c, "it was there already")
	case refused(err):
		c.Method, c.Replaced = "", time.Time{} // the other way is tried, if there is one by then
		c.Forbidden = errors.Is(err, graph.ErrPolicy)
		return w.back(ctx, c, credential.Staged, err)
	case err != nil:
		return w.unanswered(ctx, c, credential.Register, err)
	}
	return w.registered(ctx, c, "it was added to the list")
}

// findAgain finds out whether a certificate was registered, when the answer was lost.
func (w *work) findAgain(ctx context.Context, c credential.Credential) error {
	seen, err := w.read(ctx)
	switch {
	case unreadable(err):
		return w.registered(ctx, c, "whether it was registered cannot be seen: tokens will tell")
	case err != nil:
		return err
	}
	if keys := shown(seen, c); len(keys) > 0 {
		c.KeyID = keys[0].KeyID
		return w.registered(ctx, c, "it was registered, and the answer lost")
	}
	now := w.r.o.Now().UTC()
	if now.Sub(c.Since).Abs() > credential.StaleFor {
		if c.Method == byStore {
			return w.into(ctx, c, credential.Abandoned, credential.Find, "it is not at Entra ID", nil)
		}
		return w.again(ctx, c, credential.Find, "it was not registered")
	}
	if _, err := w.compare(ctx, &c, credential.Register, seen, false); err != nil {
		return err
	}
	c.RetryAt = now.Add(5 * time.Second)
	if !c.Replaced.IsZero() {
		c.RetryAt = now.Add(time.Second)
	}
	return w.save(ctx, c)
}

// again registers a certificate once more, later each time.
func (w *work) again(ctx context.Context, c credential.Credential, step credential.Action, text string) error {
	now := w.r.o.Now().UTC()
	attempts := max(c.Attempts, c.Vanished) + 1
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := w.move(tx, c, credential.Staged, step, text, nil); err != nil {
			return err
		}
		c.State, c.Since, c.Replaced = credential.Staged, now, time.Time{}
		c.Attempts, c.RetryAt = attempts, now.Add(credential.Backoff(c.ID, attempts))
		return tx.SaveCredential(c)
	})
}

// confirm reads until Graph's replicas agree that the certificate is there, and until
// others have back what they have lost by a list of ours.
func (w *work) confirm(ctx context.Context, c credential.Credential) error {
	seen, err := w.read(ctx)
	switch {
	case unreadable(err):
		if err := w.unguard(ctx, &c, credential.Register); err != nil {
			return err
		}
		return w.into(ctx, c, credential.Proving, credential.Confirm, "Graph cannot be read: tokens will tell", nil)
	case err != nil:
		return err
	}
	c.ReadAt = w.r.o.Now().UTC()
	keys := shown(seen, c)
	over, err := w.guard(ctx, &c, credential.Register, seen, len(keys) > 0)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		c.Reads = 0
		if c.ReadAt.Sub(c.Registered).Abs() > 2*credential.StaleFor { // a list of somebody else's has taken it away again
			c.Vanished++
			return w.again(ctx, c, credential.Confirm, "Graph took it, and does not show it")
		}
		return w.save(ctx, c)
	}
	c.KeyID = keys[0].KeyID
	if c.Reads++; c.Reads < credential.ReadsNeeded || !over {
		return w.save(ctx, c)
	}
	if err := w.observe(ctx, seen); err != nil {
		return err
	}
	c.Reads = 0
	return w.into(ctx, c, credential.Proving, credential.Confirm, fmt.Sprintf("Graph has shown it %d times in a row", credential.ReadsNeeded), map[string]any{"key_id": c.KeyID})
}

// remove takes a certificate away from Entra ID.
func (w *work) remove(ctx context.Context, c credential.Credential) error {
	for _, other := range w.a.Credentials {
		if other.ID != c.ID && other.SHA256 == c.SHA256 && other.State.AtEntra() {
			return w.destroy(ctx, c, credential.Step{Why: "credential " + other.ID + " has the same certificate, which stays"})
		}
	}
	seen, err := w.read(ctx)
	blind := unreadable(err)
	if err != nil && !blind {
		return err
	}
	ids := []string{}
	if blind && c.KeyID != "" {
		ids = append(ids, c.KeyID)
	}
	for _, k := range shown(seen, c) {
		ids = append(ids, k.KeyID)
	}
	c.Replaced = time.Time{}
	if len(ids) == 0 {
		if blind {
			return fmt.Errorf("%w, so that the key id of certificate %s, which was lost with an answer, cannot be found: remove that certificate by hand in the portal (Certificates & secrets), or give reeve Application.Read.All", errBlind, c.SHA1)
		}
		return w.notThere(ctx, c, "Graph does not show it")
	}
	pair, by, ok := w.signer(ctx, c.ID)
	switch {
	case !ok && blind:
		return fmt.Errorf("%w, and no other certificate of it is here that could sign a proof", errBlind)
	case !ok, c.Method == byList && !blind:
		return w.removeByList(ctx, c, seen)
	}
	client, err := w.self(pair)
	if err != nil {
		return err
	}
	if err := w.intend(ctx, &c, c.State, credential.Remove, preimage{Method: byAddKey, KeyID: strings.Join(ids, " "), SHA256: c.SHA256, Keys: seen.Keys, Signer: by.ID}); err != nil {
		return err
	}
	found := false
	for _, id := range ids {
		proof, err := graph.KeyProof(pair, w.a.ObjectID, w.r.o.Now().Add(w.skew()))
		if err != nil {
			return err
		}
		switch err := client.RemoveKey(ctx, w.a.ObjectID, id, proof); {
		case err == nil:
			found = true
		case errors.Is(err, m365.ErrNotFound):
		case errors.Is(err, graph.ErrProof), errors.Is(err, m365.ErrForbidden):
			c.Method = byList
			return w.back(ctx, c, c.State, err)
		case err != nil:
			return err
		}
	}
	if !found {
		return w.notThere(ctx, c, "it was removed already")
	}
	return w.removed(ctx, c, "it was removed with a proof by "+by.SHA1)
}

// removeByList replaces the list by one without the certificate. Whether it did, if it is
// ended in the middle, seeGone finds out.
func (w *work) removeByList(ctx context.Context, c credential.Credential, seen graph.Application) error {
	if !w.settled(&c, seen.Keys) {
		return w.save(ctx, c)
	}
	list, err := w.gather(ctx, c, seen.Keys, looksBefore)
	if err != nil {
		return err
	}
	lost, err := w.owed(ctx, c, credential.Remove)
	if err != nil {
		return err
	}
	keep := slices.DeleteFunc(slices.Clone(list), func(k graph.KeyCredential) bool { return isFor(k, c) })
	now := w.r.o.Now().UTC()
	c.Removed, c.ReadAt, c.Probed, c.Gone = now, time.Time{}, time.Time{}, time.Time{}
	c.Replaced, c.Compared = now, false
	if err := w.intend(ctx, &c, c.State, credential.Remove, preimage{Method: byPatch, KeyID: c.KeyID, SHA256: c.SHA256, Keys: list, Lost: lost}); err != nil {
		return err
	}
	err = w.r.o.Directory.SetKeys(ctx, w.a.ObjectID, keep)
	switch {
	case refused(err):
		c.Method = "" // a proof is tried again, if there is one by then
		c.Removed, c.Replaced = time.Time{}, time.Time{}
		return w.back(ctx, c, c.State, err)
	case err != nil:
		return w.unanswered(ctx, c, credential.Remove, err)
	}
	return w.removed(ctx, c, "it was taken out of the list")
}

// notThere records that there was nothing to remove. What is wrong with the credential
// stays so until it is seen to be refused.
func (w *work) notThere(ctx context.Context, c credential.Credential, text string) error {
	c.Removed, c.Reads, c.Probed = w.r.o.Now().UTC(), 0, time.Time{}
	if c.Stuck { // it was said, and is looked for again and again
		return w.save(ctx, c)
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(credential.Remove), store.Seen, text, nil)); err != nil {
			return err
		}
		return tx.SaveCredential(c)
	})
}

func (w *work) removed(ctx context.Context, c credential.Credential, text string) error {
	now := w.r.o.Now().UTC()
	c.Removed, c.Reads, c.ReadAt, c.Probed, c.Gone = now, 0, time.Time{}, time.Time{}, time.Time{}
	c.Restless, c.Changes, c.Changed = time.Time{}, 0, ""
	if !c.Replaced.IsZero() {
		c.Replaced = now
	}
	c.Attempts, c.RetryAt, c.Error, c.Remedy, c.Stuck = 0, time.Time{}, "", "", false
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(credential.Remove), store.Done, text, nil)); err != nil {
			return err
		}
		return tx.SaveCredential(c)
	})
}

// seeGone reads until Graph's replicas agree that the certificate is not there any more,
// and until others have back what they have lost by a list of ours.
func (w *work) seeGone(ctx context.Context, c credential.Credential) error {
	seen, err := w.read(ctx)
	now := w.r.o.Now().UTC()
	switch {
	case unreadable(err):
		if err := w.unguard(ctx, &c, credential.Remove); err != nil {
			return err
		}
		w.a.Observed.Blind = true
		c.Gone = now
		return w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.SaveApplication(w.a); err != nil {
				return err
			}
			return tx.SaveCredential(c)
		})
	case err != nil:
		return err
	}
	c.ReadAt = now
	gone := len(shown(seen, c)) == 0
	over, err := w.guard(ctx, &c, credential.Remove, seen, gone)
	if err != nil {
		return err
	}
	switch {
	case gone:
		if c.Reads++; c.Reads >= credential.ReadsNeeded && over {
			c.Gone, c.Reads = now, 0
		}
	case now.Sub(c.Removed).Abs() > time.Minute:
		c.Reads, c.Removed, c.Replaced = 0, time.Time{}, time.Time{} // again
	default:
		c.Reads = 0
	}
	if err := w.save(ctx, c); err != nil {
		return err
	}
	if !c.Gone.IsZero() {
		if err := w.reread(ctx); err != nil {
			return err
		}
		return w.observe(ctx, seen)
	}
	return nil
}
