// Package keyvault is an emulated Azure Key Vault: what lies in it, and its data
// plane over HTTP.
//
// It is written from Microsoft's documents. What no document confirms is marked
// [K] where it is decided.
package keyvault

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// Content types of the secret that Key Vault makes for each certificate.
const (
	PKCS12 = "application/x-pkcs12"
	PEM    = "application/x-pem-file"
)

// Vault is a key vault of the tenant, under access policies unless UseRBAC was
// called. Its methods may be called from several goroutines.
type Vault struct {
	Name string
	now  func() time.Time

	generating chan struct{} // holds a place for each key that is being made
	usage      usage

	mu    sync.RWMutex // guards what follows
	state state
}

// state is all that a vault holds, as its snapshot has it.
type state struct {
	Certificates shelf[certificate] `json:"certificates"`
	Secrets      shelf[secret]      `json:"secrets"`
	Keys         shelf[key]         `json:"keys"`

	Issuers  map[string]*issuer `json:"issuers"` // by the name that each was given first
	Contacts []contact          `json:"contacts,omitempty"`

	Retention int    `json:"retention"` // of what is deleted, in days
	Protected bool   `json:"protected"` // from purging
	Seal      []byte `json:"seal"`      // key that backups are sealed with

	Access access `json:"access"`
}

// New returns an empty vault. now is the clock of the tenant.
func New(name string, now func() time.Time) *Vault {
	seal := make([]byte, 32)
	rand.Read(seal) // crypto/rand never fails.
	return &Vault{
		Name: name, now: now, generating: make(chan struct{}, 2),
		state: state{
			Certificates: newShelf[certificate](), Secrets: newShelf[secret](), Keys: newShelf[key](),
			Issuers: map[string]*issuer{}, Retention: usualRetention, Seal: seal,
			Access: access{Policies: map[string]map[string]bool{}},
		},
	}
}

// SoftDelete sets for how many days deleted objects can be recovered, 7 to 90,
// and whether they are protected from being purged before. A real vault is told
// once, when it is made.
func (v *Vault) SoftDelete(days int, protect bool) error {
	if days < leastRetention || days > mostRetention {
		return fmt.Errorf("setting the retention of vault %s to %d days: it must be from %d to %d", v.Name, days, leastRetention, mostRetention)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Retention, v.state.Protected = days, protect
	return nil
}

// lock locks the vault and does what time has brought about. The caller gets
// the time, and the function that unlocks.
func (v *Vault) lock() (time.Time, func()) {
	v.mu.Lock()
	now := v.now()
	v.state.Certificates.expire(now)
	v.state.Secrets.expire(now)
	v.state.Keys.expire(now)
	for _, c := range v.state.Certificates.Live {
		c.progress(now)
	}
	return now, v.mu.Unlock
}

// tend renews the certificates that are due; see renew. Keys are made while
// the vault is not locked.
func (v *Vault) tend(ctx context.Context) error {
	for {
		due, ok := v.nextDue()
		if !ok {
			return nil
		}
		if err := v.renew(ctx, due); err != nil {
			return err
		}
	}
}
