package rotate

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// Adoption says which application to look after from now on.
type Adoption struct {
	ObjectID, ClientID, TenantID, Name string
	Mode                               credential.Mode
	Made                               time.Time         // when reeve made the application; zero if it was there before
	Policy                             credential.Policy // complete and checked

	// Pair is the certificate in use, with its private key, if reeve is to go on with
	// it. It is proved with a token before anything is written.
	Pair pki.Pair
	// Entry is the id under which the policy's store has Pair already, as when the
	// database was lost; empty when it has not.
	Entry string
	// Seen is what Graph showed of the application; nil if it could not be read. It is
	// kept for a rescue until reeve has looked itself.
	Seen *graph.Application

	By, Why string
}

// Adopt begins to look after an application. Nothing at Entra ID changes by it. What the
// application has stays; of that, what Pair is becomes the active credential.
func (r *Rotator) Adopt(ctx context.Context, o Adoption) (credential.Application, error) {
	if errs := o.Policy.Check(); len(errs) > 0 {
		return credential.Application{}, fmt.Errorf("the policy of application %s: %w", o.Name, errors.Join(errs...))
	}
	now := r.o.Now().UTC()
	a := credential.Application{
		TenantID: o.TenantID, ObjectID: o.ObjectID, ClientID: o.ClientID, Name: o.Name,
		Mode: o.Mode, Policy: o.Policy, Adopted: now, Made: o.Made,
	}
	if _, err := r.o.DB.Application(ctx, r.o.Tenant, o.ObjectID); err == nil {
		return credential.Application{}, fmt.Errorf("application %s: %w", o.Name, store.ErrExists)
	} else if !errors.Is(err, store.ErrNotFound) {
		return credential.Application{}, err
	}
	if o.Seen != nil {
		a.Observed.List = listSeen(r.o.Cloud, *o.Seen)
	}
	text := "it is looked after from now on"
	if o.Pair.Certificate != nil {
		c, err := r.takeOver(ctx, a, o.Pair, o.Entry)
		if err != nil {
			return credential.Application{}, err
		}
		c.Generation = now.Unix()
		a.Generation = c.Generation
		a.Credentials = append(a.Credentials, c)
		text += ", with certificate " + c.SHA1
	}
	data, err := json.Marshal(map[string]any{"mode": o.Mode, "policy": o.Policy, "why": o.Why})
	if err != nil {
		return credential.Application{}, err
	}
	err = r.o.DB.AddApplication(ctx, r.o.Tenant, a, store.JournalEntry{At: now, Actor: o.By, Step: "adopt", Outcome: store.Done, Text: text, Data: data})
	r.Wake()
	return a, err
}

// TakeIn goes on with the certificate that an application has in use, when reeve looks
// after the application and has no certificate of it yet, as when it only observed so far.
func (r *Rotator) TakeIn(ctx context.Context, objectID string, pair pki.Pair, by string) error {
	err := r.under(ctx, objectID, func(w *work) error {
		if c, ok := w.a.Active(); ok {
			return fmt.Errorf("reeve has certificate %s of the application in use: %w", c.SHA1, store.ErrExists)
		}
		var c credential.Credential
		if err := w.within(ctx, func(ctx context.Context) (err error) {
			c, err = r.takeOver(ctx, w.a, pair, "")
			return err
		}); err != nil {
			return err
		}
		w.a.Generation = max(w.a.Generation+1, r.o.Now().Unix())
		c.Generation = w.a.Generation
		w.changed = true
		return w.write(ctx, func(tx *store.CredentialTx) error {
			e := w.entry(c.ID, "adopt", store.Done, "the certificate in use was taken in: "+c.SHA1, nil)
			e.Actor = by
			if err := tx.Journal(e); err != nil {
				return err
			}
			if err := tx.SaveApplication(w.a); err != nil {
				return err
			}
			return tx.SaveCredential(c)
		})
	})
	r.Wake()
	return err
}

// takeOver proves a pair that is in use, and keeps it, as the entry of the store that it
// is already if one is named.
func (r *Rotator) takeOver(ctx context.Context, a credential.Application, pair pki.Pair, entry string) (credential.Credential, error) {
	now := r.o.Now().UTC()
	if err := pair.UsableForSignIn(now); err != nil {
		return credential.Credential{}, fmt.Errorf("the certificate to go on with: %w", err)
	}
	// An adoption that was interrupted leaves an entry in the store: the next one has the
	// same id, so that the certificate is not kept twice.
	id := cmp.Or(entry, uuid.NewSHA1(uuid.NameSpaceOID, []byte(a.ObjectID+"/"+pki.SHA256(pair.Certificate))).String())
	c := credential.Credential{
		ID: id, State: credential.Active, Origin: credential.Adopted, Reason: "it was in use",
		Store: a.Policy.Store, Planned: now, Since: now, Sent: now, Registered: now, Promoted: now,
		Proofs: map[string]credential.Proof{},
	}
	setCertificate(&c, pair, a.Policy)
	for _, resource := range a.Policy.Resources {
		proof, err := r.obtain(ctx, m365.ProofRequest{TenantID: a.TenantID, ClientID: a.ClientID, Pair: pair, Resource: resource})
		if err != nil {
			return credential.Credential{}, fmt.Errorf("proving the certificate to go on with: %w", err)
		}
		c.Proofs[resource] = credential.Proof{Since: now, Last: now, Count: 1, Roles: proof.Roles}
	}
	c.Probed = now
	keys, err := r.store(c.Store)
	if err != nil {
		return credential.Credential{}, err
	}
	if _, makes := keys.(certstore.Maker); makes {
		return credential.Credential{}, fmt.Errorf("%s makes its keys itself and takes none in: adopt the application without its certificate, and a new one is made", keys.Name())
	}
	if entry == "" {
		err = keys.Put(ctx, certstore.Entry{
			ID: c.ID, Key: pair.Key, Certificate: pair.Certificate, Chain: pair.Chain,
			ObjectID: a.ObjectID, ClientID: a.ClientID, TenantID: a.TenantID, Made: now,
		})
	}
	if err != nil {
		return credential.Credential{}, err
	}
	if _, err := r.Pair(ctx, c); err != nil {
		return credential.Credential{}, err
	}
	return c, nil
}

// Import gives a credential that waits for its authority the certificate that was made
// from its request. An authority may give it less time than the policy asks for, which the
// journal tells; one that would have to be replaced at once, or is far shorter and ends
// before the one in use is due, is refused, and the credential waits for another.
func (r *Rotator) Import(ctx context.Context, objectID string, answer *pki.Contents, by string) (credential.Credential, error) {
	var c credential.Credential
	err := r.under(ctx, objectID, func(w *work) error {
		var refusal error
		for _, waiting := range w.a.In(credential.Keyed) {
			keys, err := r.store(waiting.Store)
			if err != nil {
				return err
			}
			e, err := keys.Get(ctx, waiting.ID)
			if err != nil {
				return err
			}
			pair, err := pki.Join(e.Key, answer.Certificates)
			if err == nil {
				err = pair.UsableForSignIn(r.o.Now())
			}
			if err != nil {
				refusal = err
				continue
			}
			fits := waiting
			setCertificate(&fits, pair, w.a.Policy)
			if err := w.worthwhile(fits); err != nil {
				refusal = err
				continue
			}
			c = fits
			text := "the authority's answer was imported by " + by
			if left, wanted := c.NotAfter.Sub(r.o.Now()), time.Duration(w.a.Policy.Lifetime); left < wanted-24*time.Hour {
				text += fmt.Sprintf("; it is valid for %v, and the policy asks for %v", credential.Span(left.Truncate(time.Hour)), credential.Span(wanted))
			}
			return w.certified(ctx, c, pair, text)
		}
		if refusal != nil {
			return refusal
		}
		return errors.New("no credential of the application waits for a certificate: see reeve cert show")
	})
	r.Wake()
	return c, err
}

// worthwhile reports why a certificate that an authority gave is too short to be used.
func (w *work) worthwhile(c credential.Credential) error {
	const use = 24 * time.Hour
	active, ok := w.a.Active()
	now := w.r.o.Now()
	why := ""
	switch {
	case c.RenewAt.Sub(now) < use, c.NotAfter.Sub(now) < 2*use:
		why = fmt.Sprintf("would have to be replaced at %s already", c.RenewAt.Format(time.RFC3339))
	case ok && active.Refusals == 0 && now.Before(active.NotAfter) && !c.NotAfter.After(active.RenewAt) &&
		c.NotAfter.Sub(now) < time.Duration(w.a.Policy.Lifetime)/2: // else the policy wants it so
		why = fmt.Sprintf("ends before the one in use has to be replaced, at %s", active.RenewAt.Format(time.RFC3339))
	default:
		return nil
	}
	return fmt.Errorf("the certificate %s is valid until %s, so that it %s: ask the authority for one of %v, from the same request",
		c.SHA1, c.NotAfter.Format(time.RFC3339), why, w.a.Policy.Lifetime)
}

// Request is the certificate signing request of a credential that waits for its
// authority, in DER.
func (r *Rotator) Request(ctx context.Context, a credential.Application, c credential.Credential) ([]byte, error) {
	keys, err := r.store(c.Store)
	if err != nil {
		return nil, err
	}
	e, err := keys.Get(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	subject, err := a.Policy.SubjectOf(a)
	if err != nil {
		return nil, err
	}
	name, err := pki.ParseName(subject)
	if err != nil {
		return nil, err
	}
	return pki.NewRequest(e.Key, pki.Template{Subject: name})
}

// under runs f on an application under its lease.
func (r *Rotator) under(ctx context.Context, objectID string, f func(*work) error) error {
	lease, err := r.o.DB.LeaseApplication(ctx, r.o.Tenant, objectID, r.o.Holder+"/"+uuid.NewString(), leaseTime)
	if err != nil {
		return err
	}
	w := &work{r: r, lease: lease}
	if err = w.reread(ctx); err == nil {
		err = f(w)
	}
	if releaseErr := lease.Release(context.WithoutCancel(ctx), r.o.Now(), w.urgent()); err == nil {
		err = releaseErr
	}
	return err
}

// ErrBegun says that what a person asked for cannot be taken back any more.
var ErrBegun = errors.New("it has begun")

// TakeBack takes back what a person asked for, if nothing was done of it yet. The error
// matches [ErrBegun] if something was, and store.ErrNotFound if it is not asked for any more.
func (r *Rotator) TakeBack(ctx context.Context, objectID string, wish credential.Wish, by, why string) error {
	return r.under(ctx, objectID, func(w *work) error {
		if !slices.ContainsFunc(w.a.Wishes, func(x credential.Wish) bool {
			return x.Kind == wish.Kind && x.Credential == wish.Credential && x.At.Equal(wish.At)
		}) {
			return store.ErrNotFound
		}
		if done := w.a.Begun(wish); done != "" {
			return fmt.Errorf("%w: %s", ErrBegun, done)
		}
		return w.write(ctx, func(tx *store.CredentialTx) error {
			e := w.entry(wish.Credential, string(wish.Kind), store.Wished, credential.Wish{By: by, Why: why}.Asked("taken back"), nil)
			e.Actor = by
			if err := tx.Journal(e); err != nil {
				return err
			}
			return tx.Fulfil(wish)
		})
	})
}

// Reconcile looks for private keys in the stores that the database knows nothing of, as
// after it was restored from an older backup: what is of an application that is looked
// after is taken up again, and the plan sees what becomes of it. It reports what it
// found. Of the stores those are asked that an application uses, and the local one,
// which costs nothing.
func (r *Rotator) Reconcile(ctx context.Context) ([]string, error) {
	applications, err := r.o.DB.Applications(ctx, r.o.Tenant)
	if err != nil {
		return nil, err
	}
	known, byObject := map[string]bool{}, map[string]credential.Application{}
	used := map[string]bool{credential.StoreLocal: true}
	for _, a := range applications {
		byObject[a.ObjectID] = a
		used[a.Policy.Store] = used[a.Policy.Store] || a.Mode != credential.Off
		for _, c := range a.Credentials {
			known[c.ID] = true
			used[c.Store] = used[c.Store] || c.State.HasKey()
		}
	}
	var found []string
	var errs []error
	for word, keys := range r.o.Stores {
		if !used[word] {
			continue
		}
		ids, err := keys.List(ctx)
		if err != nil {
			errs = append(errs, err) // the others may be there
			continue
		}
		slices.Sort(ids)
		for _, id := range ids {
			if known[id] {
				continue
			}
			e, err := keys.Get(ctx, id)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
				found = append(found, fmt.Sprintf("%s in %s cannot be read: %v", id, keys.Name(), err))
				continue
			}
			a, ok := byObject[e.ObjectID]
			if !ok {
				found = append(found, fmt.Sprintf("%s in %s is of application %s, which is not looked after: it is left alone; if the database was lost: reeve cert adopt %s", id, keys.Name(), e.ClientID, e.ClientID))
				continue
			}
			if _, makes := keys.(certstore.Maker); makes {
				// Such a store keeps no certificates: what the key is for shows at Entra ID alone.
				if e.Certificate, err = r.certificateOf(ctx, a, e); err != nil {
					found = append(found, fmt.Sprintf("whether %s in %s is in use for application %s cannot be seen, so that it is left alone: %v", id, keys.Name(), a.Name, err))
					continue
				}
			}
			switch taken, err := r.takeUp(ctx, a, word, e); {
			case err != nil:
				return found, errors.Join(append(errs, err)...)
			case !taken:
				continue
			}
			found = append(found, fmt.Sprintf("%s in %s is taken up again for application %s", id, keys.Name(), a.Name))
		}
	}
	return found, errors.Join(errs...)
}

// certificateOf finds the certificate of a key among those that an application has at
// Entra ID; nil if it has none.
func (r *Rotator) certificateOf(ctx context.Context, a credential.Application, e certstore.Entry) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	seen, err := (&work{r: r, a: a}).read(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range seen.Keys {
		if cert, err := x509.ParseCertificate(k.Key); err == nil && pki.SameKey(cert.PublicKey, e.Key.Public()) {
			return cert, nil
		}
	}
	return nil, nil
}

// takeUp enters a key that the database did not know. What has a certificate may be at
// Entra ID: it is looked for there, proved, and waits as a standby, or is cleaned up.
func (r *Rotator) takeUp(ctx context.Context, a credential.Application, word string, e certstore.Entry) (taken bool, err error) {
	err = r.under(ctx, a.ObjectID, func(w *work) error {
		if _, ok := w.find(e.ID); ok {
			return nil // it was made a moment ago
		}
		if e.Certificate != nil && slices.ContainsFunc(w.a.Credentials, func(c credential.Credential) bool { return c.SHA256 == pki.SHA256(e.Certificate) }) {
			return nil // it is known, and kept twice: taking it up would end in removing it
		}
		now := r.o.Now().UTC()
		c := credential.Credential{
			ID: e.ID, Origin: credential.Made, Store: word, Planned: e.Made, Since: now,
			State: credential.Abandoned, Reason: "the database did not know it, and it has no certificate",
		}
		if e.Certificate != nil {
			setCertificate(&c, pki.Pair{Certificate: e.Certificate, Chain: e.Chain}, w.a.Policy)
			c.State, c.Sent, c.Method, c.Reason = credential.Registering, now, byStore, "the database did not know it"
			c.Since = now.Add(-time.Hour) // no answer is on its way any more
		}
		taken = true
		return w.write(ctx, func(tx *store.CredentialTx) error {
			if err := tx.Journal(w.entry(c.ID, "reconcile", store.Seen, c.Reason, nil)); err != nil {
				return err
			}
			return tx.SaveCredential(c)
		})
	})
	return taken && err == nil, err
}
