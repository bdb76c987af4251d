package keyvault

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"
)

// Certificate is one version of a certificate, which is at the same time
// a version of the secret and of the key of the same name.
type Certificate struct {
	Name, Version string // Version is 32 hexadecimal digits
	ContentType   string // of the secret: PKCS12 or PEM
	Enabled       bool
	Created       time.Time
	X509          *x509.Certificate
	Secret        string // certificate and private key, in the form of ContentType
}

func (c *certificate) direct(v *certificateVersion) Certificate {
	return Certificate{
		Name: c.Name, Version: v.ID, ContentType: v.ContentType, Enabled: v.Attributes.Enabled,
		Created: time.Unix(v.Attributes.Created, 0), X509: v.leaf(), Secret: v.Secret,
	}
}

// Import adds a pair as the newest version of a certificate, under a policy that
// leaves renewing it to whoever imported it. key is RSA or EC.
func (v *Vault) Import(name, contentType string, leaf *x509.Certificate, key crypto.Signer) (Certificate, error) {
	fail := func(err error) (Certificate, error) {
		return Certificate{}, fmt.Errorf("importing certificate %s into vault %s: %w", name, v.Name, err)
	}
	kept, err := checkKey(key)
	if err != nil {
		return fail(err)
	}
	now := v.now()
	head, err := newVersion(now, nil, nil)
	if err != nil {
		return fail(err)
	}
	p := policyOf(leaf, contentType).complete(now)
	made, err := newCertificateVersion(head, chain{leaf}, kept, p, false)
	if err != nil {
		return fail(err)
	}
	if _, err := v.addVersion(name, made, p); err != nil {
		return fail(err)
	}
	return (&certificate{Name: name}).direct(&made), nil
}

// Certificate returns a version of a certificate, or with an empty version the
// newest. Names compare without regard to case.
func (v *Vault) Certificate(name, version string) (Certificate, bool) {
	var found Certificate
	one := false
	v.read(func(s *state, now time.Time) {
		c := s.Certificates.look(name, now)
		if c == nil {
			return
		}
		if at := pick(c.Versions, version); at != nil {
			found, one = c.direct(at), true
		}
	})
	return found, one
}

// Versions returns all versions of a certificate, oldest first.
func (v *Vault) Versions(name string) []Certificate {
	var all []Certificate
	v.read(func(s *state, now time.Time) {
		c := s.Certificates.look(name, now)
		if c == nil {
			return
		}
		for i := range c.Versions {
			all = append(all, c.direct(&c.Versions[i]))
		}
	})
	return all
}

// Certificates returns the newest version of each certificate, by name.
func (v *Vault) Certificates() []Certificate {
	var all []Certificate
	v.read(func(s *state, now time.Time) {
		for _, c := range sorted(s.Certificates.Live) {
			if s.Certificates.look(c.Name, now) != nil && len(c.Versions) > 0 {
				all = append(all, c.direct(pick(c.Versions, "")))
			}
		}
	})
	return all
}

// read lets f see what the vault holds, renewed if that is due.
func (v *Vault) read(f func(*state, time.Time)) {
	// What cannot be renewed stays as it is; the API says why.
	_ = v.tend(context.Background())
	now, unlock := v.lock()
	defer unlock()
	f(&v.state, now)
}

// SetEnabled enables or disables one version of a certificate.
func (v *Vault) SetEnabled(name, version string, enabled bool) error {
	if _, err := v.updateCertificate(name, version, certificateChange{Attributes: &attributeChange{Enabled: &enabled}}); err != nil {
		return fmt.Errorf("changing certificate %s of vault %s: %w", name, v.Name, err)
	}
	return nil
}
