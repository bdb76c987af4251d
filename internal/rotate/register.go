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

// preimage is what the journal keeps of the list before it is changed, from which a
// person could restore it.
type preimage struct {
	Method string                `json:"method"`
	KeyID  string                `json:"key_id,omitempty"`
	SHA256 string                `json:"sha256"`
	Keys   []graph.KeyCredential `json:"keys,omitempty"`
	Signer string                `json:"signer,omitempty"`
}

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
	proof, err := graph.KeyProof(pair, w.a.ObjectID, w.r.o.Now().Add(w.a.Observed.Skew))
	if err != nil {
		return err
	}
	c.Method = byAddKey
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
	c.Registered, c.Reads, c.ReadAt = now, 0, time.Time{}
	c.Proofs, c.Probed, c.Refused, c.Refusals = nil, time.Time{}, time.Time{}, 0
	return w.into(ctx, c, credential.Registered, credential.Register, text, map[string]any{"key_id": c.KeyID, "method": c.Method})
}

// What is read before the complete list is replaced: reads that agree, over longer than
// a replica lags, so that what somebody else has just added is not overlooked.
const (
	listReads = 3
	listSpan  = 36 * time.Second
	listGap   = 12 * time.Second
)

// registerByList replaces the list of key credentials by itself and one more. Graph has
// no way of making that depend on the list being what was read, so it is the way for an
// application's first certificate alone.
func (w *work) registerByList(ctx context.Context, c credential.Credential, cert *x509.Certificate) error {
	if w.r.o.Directory == nil {
		return fmt.Errorf("%w, and no certificate of it is here that could sign a proof: sign reeve in with Application.ReadWrite.OwnedBy as an owner of the application, or adopt a certificate that the application has, with its private key", errBlind)
	}
	seen, err := w.read(ctx)
	if err != nil {
		return err
	}
	if len(shown(seen, c)) > 0 {
		c.KeyID = shown(seen, c)[0].KeyID
		return w.registered(ctx, c, "it was there already")
	}
	if !w.settled(&c, seen.Keys) {
		return w.save(ctx, c)
	}
	list, err := w.gather(ctx, c, seen.Keys, looksBefore)
	if err != nil {
		return err
	}
	c.Method = byPatch
	if c.KeyID == "" {
		c.KeyID = uuid.NewString()
	}
	if err := w.intend(ctx, &c, credential.Registering, credential.Register, preimage{Method: byPatch, KeyID: c.KeyID, SHA256: c.SHA256, Keys: list}); err != nil {
		return err
	}
	err = w.replace(ctx, c, list, graph.NewKey(cert, c.KeyID))
	switch {
	case errors.Is(err, graph.ErrDuplicate):
		return w.registered(ctx, c, "it was there already")
	case refused(err):
		c.Method = "" // the other way is tried, if there is one by then
		return w.back(ctx, c, credential.Staged, err)
	case err != nil:
		return err
	}
	return w.registered(ctx, c, "it was added to the list")
}

// How often the application is read in a row around a list that replaces its keys: each
// answer may come from a replica that lags differently.
const (
	looksBefore = 8
	looksAfter  = 24
)

// gather reads the application again and again and adds to a list whatever key of others
// one of the answers shows.
func (w *work) gather(ctx context.Context, c credential.Credential, list []graph.KeyCredential, looks int) ([]graph.KeyCredential, error) {
	all := slices.Clone(list)
	for range looks {
		seen, err := w.read(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range seen.Keys {
			if !isFor(k, c) && !slices.ContainsFunc(all, func(known graph.KeyCredential) bool { return strings.EqualFold(known.KeyID, k.KeyID) }) {
				all = append(all, k)
			}
		}
	}
	return all, nil
}

// replace replaces the application's keys by a list and more. Afterwards it looks for keys
// of others that a replica which lags still shows and the list did not have: somebody had
// just added them, and they are gone by the list. The journal gets them, so that confirm
// puts them back.
func (w *work) replace(ctx context.Context, c credential.Credential, list []graph.KeyCredential, more ...graph.KeyCredential) error {
	if err := w.r.o.Directory.SetKeys(ctx, w.a.ObjectID, append(slices.Clone(list), more...)); err != nil {
		return err
	}
	all, err := w.gather(ctx, c, list, looksAfter)
	if err != nil || len(all) == len(list) {
		return nil // what was sent is done; that it could not be read often enough is no reason to send it again
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		return tx.Journal(w.entry(c.ID, string(credential.Register), store.Intent, "keys that others had just added",
			preimage{Method: byPatch, KeyID: c.KeyID, SHA256: c.SHA256, Keys: all}))
	})
}

// settled notes a read of the list before it is replaced, and reports whether reads have
// agreed for long enough. If not, it says when to read again.
func (w *work) settled(c *credential.Credential, keys []graph.KeyCredential) bool {
	now := w.r.o.Now().UTC()
	// After a long pause the reads before it tell nothing of what was added of late.
	if list := fingerprint(keys); list != c.List || c.ListSince.IsZero() || now.Sub(c.ReadAt).Abs() > listSpan {
		c.List, c.ListSince, c.Reads = list, now, 0
	}
	c.Reads, c.ReadAt = c.Reads+1, now
	if c.Reads < listReads || now.Sub(c.ListSince).Abs() < listSpan {
		c.RetryAt = now.Add(listGap)
		return false
	}
	c.List, c.ListSince, c.Reads = "", time.Time{}, 0
	return true
}

// fingerprint is the same for equal lists.
func fingerprint(keys []graph.KeyCredential) string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, strings.ToLower(k.KeyID))
	}
	slices.Sort(ids)
	return fmt.Sprint(len(ids), " ", strings.Join(ids, " "))
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
	c.RetryAt = now.Add(5 * time.Second)
	return w.save(ctx, c)
}

// again registers a certificate once more, later each time.
func (w *work) again(ctx context.Context, c credential.Credential, step credential.Action, text string) error {
	now := w.r.o.Now().UTC()
	attempts := c.Attempts + 1
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := w.move(tx, c, credential.Staged, step, text, nil); err != nil {
			return err
		}
		c.State, c.Since = credential.Staged, now
		c.Attempts, c.RetryAt = attempts, now.Add(credential.Backoff(c.ID, attempts))
		return tx.SaveCredential(c)
	})
}

// confirm reads until Graph's replicas agree that the certificate is there, and gives
// back what others have lost by a list of ours.
func (w *work) confirm(ctx context.Context, c credential.Credential) error {
	seen, err := w.read(ctx)
	switch {
	case unreadable(err):
		return w.into(ctx, c, credential.Proving, credential.Confirm, "Graph cannot be read: tokens will tell", nil)
	case err != nil:
		return err
	}
	c.ReadAt = w.r.o.Now().UTC()
	keys := shown(seen, c)
	if len(keys) == 0 {
		c.Reads = 0
		if c.ReadAt.Sub(c.Registered).Abs() > 2*credential.StaleFor { // a list of somebody else's has taken it away again
			return w.again(ctx, c, credential.Confirm, "Graph took it, and does not show it")
		}
		return w.save(ctx, c)
	}
	c.KeyID = keys[0].KeyID
	if c.Reads++; c.Reads < credential.ReadsNeeded {
		return w.save(ctx, c)
	}
	if c.Method == byPatch {
		if restored, err := w.restore(ctx, c, seen); err != nil || restored {
			return err
		}
	}
	if err := w.observe(ctx, seen); err != nil {
		return err
	}
	c.Reads = 0
	return w.into(ctx, c, credential.Proving, credential.Confirm, fmt.Sprintf("Graph has shown it %d times in a row", credential.ReadsNeeded), map[string]any{"key_id": c.KeyID})
}

// restore puts back the key credentials of others that were in the list before ours was
// added, and are no longer.
func (w *work) restore(ctx context.Context, c credential.Credential, seen graph.Application) (bool, error) {
	before, ok, err := w.preimage(ctx, c)
	if err != nil || !ok {
		return false, err
	}
	var lost []graph.KeyCredential
	for _, k := range before.Keys {
		there := slices.ContainsFunc(seen.Keys, func(s graph.KeyCredential) bool { return strings.EqualFold(s.KeyID, k.KeyID) })
		if !there && len(k.Key) > 0 && w.r.o.Now().Before(k.End) {
			lost = append(lost, k.AsNew())
		}
	}
	if len(lost) == 0 {
		return false, nil
	}
	c.Reads = 0
	var names []string
	for _, k := range lost {
		names = append(names, k.KeyID)
	}
	list, err := w.gather(ctx, credential.Credential{}, seen.Keys, looksBefore)
	if err != nil {
		return false, err
	}
	// One that is back by itself is sent as it is.
	lost = slices.DeleteFunc(lost, func(k graph.KeyCredential) bool {
		return slices.ContainsFunc(list, func(known graph.KeyCredential) bool { return strings.EqualFold(known.KeyID, k.KeyID) })
	})
	text := "key credentials of others were lost when ours was added, and are put back: " + strings.Join(names, ", ")
	if err := w.write(ctx, func(tx *store.CredentialTx) error {
		// The next look compares with this list.
		if err := tx.Journal(w.entry(c.ID, string(credential.Register), store.Intent, text,
			preimage{Method: byPatch, KeyID: c.KeyID, SHA256: c.SHA256, Keys: append(slices.Clone(list), lost...)})); err != nil {
			return err
		}
		if err := w.post(tx, w.noticeRestored(c, names)); err != nil {
			return err
		}
		return tx.SaveCredential(c)
	}); err != nil {
		return false, err
	}
	return true, w.replace(ctx, c, list, lost...)
}

// preimage finds the list that the journal holds from before a certificate was added.
func (w *work) preimage(ctx context.Context, c credential.Credential) (preimage, bool, error) {
	return readPreimage(ctx, w.r.o.DB, w.r.o.Tenant, w.a.ObjectID, c.ID)
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
	if len(ids) == 0 {
		if blind {
			return fmt.Errorf("%w, so that the key id of certificate %s, which was lost with an answer, cannot be found: remove that certificate by hand in the portal (Certificates & secrets), or give reeve Application.Read.All", errBlind, c.SHA1)
		}
		c.Removed, c.Reads, c.Probed = w.r.o.Now().UTC(), 0, time.Time{}
		return w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.Journal(w.entry(c.ID, string(credential.Remove), store.Seen, "Graph does not show it", nil)); err != nil {
				return err
			}
			return tx.SaveCredential(c)
		})
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
	for _, id := range ids {
		proof, err := graph.KeyProof(pair, w.a.ObjectID, w.r.o.Now().Add(w.a.Observed.Skew))
		if err != nil {
			return err
		}
		switch err := client.RemoveKey(ctx, w.a.ObjectID, id, proof); {
		case errors.Is(err, m365.ErrNotFound):
		case errors.Is(err, graph.ErrProof), errors.Is(err, m365.ErrForbidden):
			c.Method = byList
			return w.back(ctx, c, c.State, err)
		case err != nil:
			return err
		}
	}
	return w.removed(ctx, c, "it was removed with a proof by "+by.SHA1)
}

// removeByList replaces the list by one without the certificate.
func (w *work) removeByList(ctx context.Context, c credential.Credential, seen graph.Application) error {
	if !w.settled(&c, seen.Keys) {
		return w.save(ctx, c)
	}
	keep := slices.DeleteFunc(slices.Clone(seen.Keys), func(k graph.KeyCredential) bool { return isFor(k, c) })
	if err := w.intend(ctx, &c, c.State, credential.Remove, preimage{Method: byPatch, KeyID: c.KeyID, SHA256: c.SHA256, Keys: seen.Keys}); err != nil {
		return err
	}
	err := w.r.o.Directory.SetKeys(ctx, w.a.ObjectID, keep)
	switch {
	case refused(err):
		c.Method = "" // a proof is tried again, if there is one by then
		return w.back(ctx, c, c.State, err)
	case err != nil:
		return err
	}
	return w.removed(ctx, c, "it was taken out of the list")
}

func (w *work) removed(ctx context.Context, c credential.Credential, text string) error {
	c.Removed, c.Reads, c.ReadAt, c.Probed, c.Gone = w.r.o.Now().UTC(), 0, time.Time{}, time.Time{}, time.Time{}
	c.Attempts, c.RetryAt, c.Error, c.Remedy, c.Stuck = 0, time.Time{}, "", "", false
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(credential.Remove), store.Done, text, nil)); err != nil {
			return err
		}
		return tx.SaveCredential(c)
	})
}

// seeGone reads until Graph's replicas agree that the certificate is not there any more.
func (w *work) seeGone(ctx context.Context, c credential.Credential) error {
	seen, err := w.read(ctx)
	now := w.r.o.Now().UTC()
	switch {
	case unreadable(err):
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
	switch {
	case len(shown(seen, c)) == 0:
		if c.Reads++; c.Reads >= credential.ReadsNeeded {
			c.Gone, c.Reads = now, 0
		}
	case now.Sub(c.Removed).Abs() > time.Minute:
		c.Reads, c.Removed = 0, time.Time{} // again
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
