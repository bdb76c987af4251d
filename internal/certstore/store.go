package certstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// Entry is what a [Store] keeps under an ID. It prints, logs and marshals as its ID
// and thumbprint, never as its key.
type Entry struct {
	ID          string            // 1 to 100 of [0-9A-Za-z-]; reeve uses UUIDs
	Key         crypto.Signer     // may stand for a key that never leaves a vault
	Certificate *x509.Certificate // nil while there is none yet
	Chain       []*x509.Certificate

	// Of the application that it is for, so that an entry explains itself when the
	// database is lost.
	ObjectID, ClientID, TenantID string

	Made time.Time
}

// Store keeps private keys for reeve itself. Its methods may be called from several
// goroutines.
type Store interface {
	Name() string // for people and journals: "local:/path", "keyvault:https://..."

	// Put keeps e. When it returns nil the entry outlives a loss of power, and Get
	// returns it. Putting it again changes nothing; an entry with another key under
	// the same ID is [ErrOtherKey] and never overwritten. What was missing may be
	// added: the certificate to a key, the IDs of the application.
	Put(ctx context.Context, e Entry) error

	// Get returns an entry; its error is [fs.ErrNotExist] when there is none.
	Get(ctx context.Context, id string) (Entry, error)

	// List returns the IDs of all entries, sorted.
	List(ctx context.Context) ([]string, error)

	// Delete deletes an entry; what is not there is deleted.
	Delete(ctx context.Context, id string) error
}

// Maker is a [Store] that makes keys itself, which never leave it.
type Maker interface {
	Store

	// MakeKey makes the key of e, whose Key is nil. A second call for the same ID
	// returns the same key.
	MakeKey(ctx context.Context, e Entry, t pki.KeyType) (crypto.Signer, error)
}

var (
	_ Store = (*Local)(nil)
	_ Store = (*VaultSecrets)(nil)
	_ Maker = (*VaultKeys)(nil)
)

// ErrOtherKey says that the ID is taken: by another key, or by another certificate or
// application with the same key.
var ErrOtherKey = errors.New("something else is kept under this ID")

// Pair is the entry's certificate and key.
func (e Entry) Pair() pki.Pair {
	return pki.Pair{Certificate: e.Certificate, Chain: e.Chain, Key: e.Key}
}

// String names the entry by ID and thumbprint.
func (e Entry) String() string {
	if e.Certificate == nil {
		return e.ID + " (no certificate yet)"
	}
	return fmt.Sprintf("%s (thumbprint %s)", e.ID, pki.SHA1(e.Certificate))
}

// Format prints the name whatever the verb, which keeps the private key out of %#v
// and %d.
func (e Entry) Format(f fmt.State, _ rune) { io.WriteString(f, e.String()) }

// MarshalText keeps the private key out of JSON and structured logs.
func (e Entry) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

var entryID = regexp.MustCompile(`^[0-9A-Za-z-]{1,100}$`)

func checkID(id string) error {
	if !entryID.MatchString(id) {
		return fmt.Errorf("%.120q cannot be an entry's ID: give 1 to 100 letters, digits and hyphens, such as a UUID", id)
	}
	return nil
}

// longID is the longest ID of an application that is kept; Entra's have 36 characters.
const longID = 100

// check reports why an entry cannot be kept anywhere.
func (e Entry) check() error {
	if err := checkID(e.ID); err != nil {
		return err
	}
	for _, id := range []string{e.ObjectID, e.ClientID, e.TenantID} {
		if len(id) > longID {
			return fmt.Errorf("%.20q… is too long for an ID of Entra: give the 36 characters of a UUID", id)
		}
	}
	switch {
	case e.Key == nil:
		return errors.New("the entry has no private key: make one first")
	case e.Certificate == nil && len(e.Chain) > 0:
		return errors.New("the entry has a chain and no certificate: give the certificate")
	case e.Certificate != nil && !pki.SameKey(e.Certificate.PublicKey, e.Key.Public()):
		return fmt.Errorf("the private key is not that of certificate %v: give the key that the certificate was made for", e.Pair())
	}
	return nil
}

// merge adds to an entry that is kept what more has besides, and reports whether that
// is anything.
func (e Entry) merge(more Entry) (merged Entry, changed bool, err error) {
	if !pki.SameKey(e.Key.Public(), more.Key.Public()) {
		return e, false, fmt.Errorf("%w: another private key; take a new ID", ErrOtherKey)
	}
	merged = e
	switch {
	case more.Certificate == nil:
	case e.Certificate == nil:
		merged.Certificate, merged.Chain, changed = more.Certificate, more.Chain, true
	case !e.Certificate.Equal(more.Certificate):
		return e, false, fmt.Errorf("%w: the same private key with another certificate, thumbprint %s; take a new ID", ErrOtherKey, pki.SHA1(e.Certificate))
	case len(e.Chain) == 0 && len(more.Chain) > 0:
		merged.Chain, changed = more.Chain, true
	}
	for _, id := range []struct {
		kept *string
		more string
	}{{&merged.ObjectID, more.ObjectID}, {&merged.ClientID, more.ClientID}, {&merged.TenantID, more.TenantID}} {
		switch {
		case id.more == "" || id.more == *id.kept:
		case *id.kept == "":
			*id.kept, changed = id.more, true
		default:
			return e, false, fmt.Errorf("%w: the same private key for another application (%.100q, not %.100q); take a new ID", ErrOtherKey, *id.kept, id.more)
		}
	}
	if e.Made.IsZero() && !more.Made.IsZero() {
		merged.Made, changed = more.Made, true
	}
	return merged, changed, nil
}

// same reports whether what was read back is what was written.
func (e Entry) same(read Entry) bool {
	return e.ID == read.ID && pki.SameKey(e.Key.Public(), read.Key.Public()) && e.Certificate.Equal(read.Certificate) &&
		slices.EqualFunc(e.Chain, read.Chain, (*x509.Certificate).Equal) &&
		e.ObjectID == read.ObjectID && e.ClientID == read.ClientID && e.TenantID == read.TenantID && e.Made.Equal(read.Made)
}

// noEntry is the error of an entry that is not there.
func noEntry(store, id string) error {
	return fmt.Errorf("reading the private key %s from %s: %w", id, store, fs.ErrNotExist)
}

// samePair reports whether two pairs are the same, chains aside.
func samePair(a, b pki.Pair) bool {
	return a.Certificate != nil && b.Certificate != nil && bytes.Equal(a.Certificate.Raw, b.Certificate.Raw) &&
		a.Key != nil && b.Key != nil && pki.SameKey(a.Key.Public(), b.Key.Public())
}
