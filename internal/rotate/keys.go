package rotate

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// backdate is how far before now a certificate begins to be valid, since clocks differ.
const backdate = 5 * time.Minute

// create decides on a new credential. Its identity is chosen here, before anything is
// made, so that what was made can be found again.
func (w *work) create(ctx context.Context, s credential.Step) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("choosing an id: %w", err)
	}
	now := w.r.o.Now().UTC()
	c := credential.Credential{
		ID: id.String(), State: credential.Planned, Origin: credential.Made, Reason: s.Why,
		Store: w.a.Policy.Store, Planned: now, Since: now, Wished: w.a.Wished(),
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := tx.Journal(w.entry(c.ID, string(s.Action), store.Done, s.Why, map[string]any{"policy": w.a.Policy})); err != nil {
			return err
		}
		return tx.SaveCredential(c)
	})
}

// makeKey makes the private key and keeps it. One that is in the store already was made
// before we were interrupted.
func (w *work) makeKey(ctx context.Context, c credential.Credential) error {
	keys, err := w.r.store(c.Store)
	if err != nil {
		return err
	}
	var made crypto.PublicKey // nil if not now
	text := "a key was made and is kept in " + keys.Name()
	_, err = keys.Get(ctx, c.ID)
	switch maker, makes := keys.(certstore.Maker); {
	case err == nil:
		text = "a key had been made and is kept in " + keys.Name()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case makes:
		key, err := maker.MakeKey(ctx, w.storeEntry(c, nil, nil), w.a.Policy.KeyType)
		if err != nil {
			return err
		}
		made = key.Public()
	default:
		key, err := w.r.o.NewKey(ctx, w.a.Policy.KeyType)
		if err != nil {
			return err
		}
		if err := keys.Put(ctx, w.storeEntry(c, key, nil)); err != nil {
			return err
		}
		made = key.Public()
	}
	switch kept, err := keys.Get(ctx, c.ID); {
	case err != nil:
		return fmt.Errorf("reading back what was just kept: %w", err)
	case made != nil && !pki.SameKey(kept.Key.Public(), made):
		return fmt.Errorf("reading back what was just kept: %s gives back another key under %s: see who else writes there", keys.Name(), c.ID)
	}
	return w.into(ctx, c, credential.Keyed, credential.MakeKey, text, nil)
}

func (w *work) storeEntry(c credential.Credential, key crypto.Signer, chain []*x509.Certificate) certstore.Entry {
	e := certstore.Entry{
		ID: c.ID, Key: key, ObjectID: w.a.ObjectID, ClientID: w.a.ClientID, TenantID: w.a.TenantID, Made: c.Planned,
	}
	if len(chain) > 0 {
		e.Certificate, e.Chain = chain[0], chain[1:]
	}
	return e
}

// certify makes the certificate. What is made anew after an interruption is another
// certificate of the same key; nobody has seen the first.
func (w *work) certify(ctx context.Context, c credential.Credential) error {
	keys, err := w.r.store(c.Store)
	if err != nil {
		return err
	}
	e, err := keys.Get(ctx, c.ID)
	if err != nil {
		return err
	}
	if e.Certificate != nil { // the database was restored from an older backup
		return w.certified(ctx, c, e.Pair(), "the store had its certificate already")
	}
	now := w.r.o.Now().UTC().Truncate(time.Second)
	subject, err := w.a.Policy.SubjectOf(w.a)
	if err != nil {
		return err
	}
	name, err := pki.ParseName(subject)
	if err != nil {
		return err
	}
	begin := now.Add(-backdate)
	pair, err := pki.SelfSign(e.Key, pki.Template{Subject: name, NotBefore: begin, NotAfter: begin.Add(time.Duration(w.a.Policy.Lifetime))})
	if err != nil {
		return err
	}
	return w.certified(ctx, c, pair, "it was signed by itself")
}

// certified records a credential's certificate.
func (w *work) certified(ctx context.Context, c credential.Credential, pair pki.Pair, text string) error {
	setCertificate(&c, pair, w.a.Policy)
	return w.into(ctx, c, credential.Certified, credential.Certify, text, map[string]any{
		"sha1": c.SHA1, "sha256": c.SHA256, "serial": c.Serial, "not_after": c.NotAfter,
	})
}

func setCertificate(c *credential.Credential, pair pki.Pair, p credential.Policy) {
	cert := pair.Certificate
	c.SHA1, c.SHA256 = pki.SHA1(cert), pki.SHA256(cert)
	c.Serial, c.Subject = fmt.Sprintf("%X", cert.SerialNumber), pki.FormatName(cert.Subject)
	c.NotBefore, c.NotAfter = cert.NotBefore.UTC(), cert.NotAfter.UTC()
	c.RenewAt = credential.RenewAt(c.ID, c.NotBefore, c.NotAfter, p)
	c.Certificate = [][]byte{cert.Raw}
	for _, issuer := range pair.Chain {
		c.Certificate = append(c.Certificate, issuer.Raw)
	}
}

// stage keeps key and certificate together and reads them back. From here on the public
// half may leave.
func (w *work) stage(ctx context.Context, c credential.Credential) error {
	keys, err := w.r.store(c.Store)
	if err != nil {
		return err
	}
	pair, err := w.pair(ctx, c)
	if err != nil {
		return err
	}
	if err := pair.CheckKey(); err != nil {
		return err
	}
	if err := keys.Put(ctx, w.storeEntry(c, pair.Key, append([]*x509.Certificate{pair.Certificate}, pair.Chain...))); err != nil {
		return err
	}
	kept, err := keys.Get(ctx, c.ID)
	_, keyOnly := keys.(certstore.Maker) // what keeps keys that never leave it has no place for certificates
	switch {
	case err != nil:
		return fmt.Errorf("reading back what was just kept: %w", err)
	case !pki.SameKey(kept.Key.Public(), pair.Certificate.PublicKey),
		!pair.Certificate.Equal(kept.Certificate) && !(kept.Certificate == nil && keyOnly):
		return fmt.Errorf("reading back what was just kept: %s gives back another key or certificate under %s: see who else writes there", keys.Name(), c.ID)
	}
	return w.into(ctx, c, credential.Staged, credential.Stage, "key and certificate were read back from "+keys.Name(), nil)
}

// destroy deletes the private key, and what the live places may still have of it: the
// end. What remains at a place is recorded, for a person to remove; one that the policy
// has no more, and that cannot be reached, does not keep the key in our store.
func (w *work) destroy(ctx context.Context, c credential.Credential, s credential.Step) error {
	var failed []error
	var left []string
	former := w.a.Former(c)
	for _, name := range w.a.Places(c) {
		if w.r.o.OpenTarget == nil {
			left = c.Placed
			break
		}
		if active, ok := w.a.Active(); ok && !slices.Contains(former, name) && slices.Contains(slices.Concat(c.Placed, c.Published), name) && !slices.Contains(active.Published, name) {
			failed = append(failed, fmt.Errorf("clearing %s: the active certificate was not published there yet, so that this one may still be in use", name))
			continue
		}
		there, err := w.clear(ctx, name, c, true)
		switch {
		case errors.Is(err, store.ErrFenced):
			return err
		case err != nil && !slices.Contains(former, name):
			failed = append(failed, fmt.Errorf("clearing %s: %w", name, err))
		case err != nil || there:
			left = append(left, name)
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	c.Placed, c.Published = left, nil
	if keys, err := w.r.store(c.Store); err == nil {
		if err := keys.Delete(ctx, c.ID); err != nil {
			return err
		}
	} else if c.Store != "" {
		return err
	}
	text := s.Why
	if len(left) > 0 {
		text += "; not cleared: " + strings.Join(left, ", ")
	}
	return w.into(ctx, c, credential.Destroyed, credential.Destroy, text, nil)
}

// abandon gives a credential up that was never in use.
func (w *work) abandon(ctx context.Context, c credential.Credential, s credential.Step) error {
	c.Reason, c.Reads, c.Probed = s.Why, 0, time.Time{}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if c.Ready.IsZero() || c.Refusals > 0 { // a standby that a younger one replaces is no news
			if err := w.post(tx, w.noticeAbandoned(c, s.Why)); err != nil {
				return err
			}
		}
		return w.move(tx, c, credential.Abandoned, credential.Abandon, s.Why, nil)
	})
}

// drain records that a credential does not become the active one after all. Programs may
// have got it already, or have it still, so it is taken away like one that was replaced.
func (w *work) drain(ctx context.Context, c credential.Credential, s credential.Step) error {
	c.Reason = s.Why
	if until := w.r.o.Now().Add(w.a.Policy.Drain()).UTC(); until.After(c.DrainUntil) {
		c.DrainUntil = until
	}
	return w.write(ctx, func(tx *store.CredentialTx) error {
		return w.move(tx, c, credential.Draining, credential.Drain, s.Why, nil)
	})
}

// mourn records that somebody else took a credential away.
func (w *work) mourn(ctx context.Context, c credential.Credential, s credential.Step) error {
	c.Reason = s.Why
	c.DestroyAfter = w.r.o.Now().Add(time.Duration(w.a.Policy.DestroyAfter)).UTC()
	return w.write(ctx, func(tx *store.CredentialTx) error {
		if err := w.post(tx, w.noticeLost(c)); err != nil {
			return err
		}
		return w.move(tx, c, credential.Lost, credential.Mourn, s.Why, nil)
	})
}
