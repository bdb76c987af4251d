package keyvault

import (
	"encoding/json"
	"fmt"
)

// Snapshot returns all that the vault holds as JSON: objects, deleted objects,
// private keys in the clear, and who may do what.
func (v *Vault) Snapshot() ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	b, err := json.Marshal(&v.state)
	if err != nil {
		return nil, fmt.Errorf("writing the state of vault %s: %w", v.Name, err)
	}
	return b, nil
}

// Restore replaces all that the vault holds by a snapshot. When it fails
// nothing is changed.
func (v *Vault) Restore(snapshot []byte) error {
	next := New(v.Name, v.now).state
	if err := json.Unmarshal(snapshot, &next); err != nil {
		return fmt.Errorf("reading the state of vault %s: %w", v.Name, err)
	}
	if !next.whole() {
		return fmt.Errorf("reading the state of vault %s: it is not a vault's snapshot", v.Name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = next
	return nil
}

// whole reports whether a state has everything that the vault relies on.
func (s *state) whole() bool {
	for _, i := range s.Issuers {
		if i == nil || i.Attributes == nil || i.Attributes.Enabled == nil {
			return false
		}
	}
	return len(s.Seal) == 32 && s.Retention >= leastRetention && s.Retention <= mostRetention &&
		s.Issuers != nil && s.Access.Policies != nil &&
		s.Certificates.whole((*certificate).whole) && s.Secrets.whole((*secret).whole) && s.Keys.whole((*key).whole)
}

func (s *shelf[O]) whole(object func(*O) bool) bool {
	if s.Live == nil || s.Deleted == nil || s.Recovering == nil || s.Purging == nil {
		return false
	}
	for _, o := range s.Live {
		if o == nil || !object(o) {
			return false
		}
	}
	for _, g := range s.Deleted {
		if g == nil || g.Object == nil || !object(g.Object) {
			return false
		}
	}
	return true
}

func (c *certificate) whole() bool {
	for _, v := range c.Versions {
		if len(v.Chain) == 0 || v.Key.Signer == nil {
			return false
		}
	}
	if p := c.Pending; p != nil && (p.Key.Signer == nil || !p.Policy.whole()) {
		return false
	}
	return c.Policy.whole() && (len(c.Versions) > 0 || c.Pending != nil)
}

func (p *policy) whole() bool {
	return p.Key != nil && p.Key.Exportable != nil && p.Key.Reuse != nil && p.Secret != nil && p.X509 != nil && p.X509.Months != nil &&
		p.Issuer != nil && p.Attributes != nil && p.Attributes.Enabled != nil
}

func (s *secret) whole() bool { return len(s.Versions) > 0 }

func (k *key) whole() bool {
	for _, v := range k.Versions {
		if v.Key.Signer == nil {
			return false
		}
	}
	return len(k.Versions) > 0 && (k.Rotation == nil || k.Rotation.Attributes != nil)
}
