// Package pki reads certificates with their private keys and says what they are
// good for. It is pure: no clock, no network, no file. It makes no decision about
// renewal and keeps nothing.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// minRSABits is the smallest RSA key that Microsoft's guidance for application
// certificates allows.
const minRSABits = 2048

// Pair is a certificate and the private key that belongs to it. A Pair prints,
// logs and marshals as the name of its certificate, never as its key.
type Pair struct {
	Certificate *x509.Certificate
	// Chain holds the certificate's issuers as far as the source named them,
	// nearest first, without the certificate itself.
	Chain []*x509.Certificate
	Key   crypto.Signer
}

// String names the certificate by subject and thumbprint.
func (p Pair) String() string {
	if p.Certificate == nil {
		return "no certificate"
	}
	return fmt.Sprintf("%s (thumbprint %s)", p.Certificate.Subject, SHA1(p.Certificate))
}

// GoString keeps the private key out of %#v.
func (p Pair) GoString() string { return "pki.Pair{" + p.String() + "}" }

// MarshalText keeps the private key out of JSON and structured logs.
func (p Pair) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// CheckKey reports why Entra ID would never accept an assertion signed with the
// pair, whatever the date: a key that is missing, of the wrong kind, too small, or
// another certificate's.
func (p Pair) CheckKey() error {
	if p.Certificate == nil {
		return errors.New("there is no certificate")
	}
	if p.Key == nil {
		return fmt.Errorf("certificate %v has no private key", p)
	}
	switch pub := p.Key.Public().(type) {
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("certificate %v has an RSA key of %d bits: Entra ID needs %d or more; make a new certificate", p, bits, minRSABits)
		}
	default:
		return fmt.Errorf("certificate %v has %s: Entra ID accepts only RSA signatures (PS256, RS256) for signing in; make a new certificate with an RSA key of %d bits or more", p, keyKind(pub), minRSABits)
	}
	if !sameKey(p.Certificate.PublicKey, p.Key.Public()) {
		return fmt.Errorf("the private key does not belong to certificate %v", p)
	}
	return nil
}

// UsableForSignIn reports why Entra ID would refuse an assertion signed with the
// pair at the given time. It is nil when nothing on this side speaks against it;
// whether the application knows the certificate only Entra ID can say.
func (p Pair) UsableForSignIn(now time.Time) error {
	if err := p.CheckKey(); err != nil {
		return err
	}
	notBefore, notAfter := p.Certificate.NotBefore, p.Certificate.NotAfter
	switch {
	case now.Before(notBefore):
		return fmt.Errorf("certificate %v is not valid before %s and it is now %s: wait, or correct this machine's clock", p, utc(notBefore), utc(now))
	case now.After(notAfter):
		return fmt.Errorf("certificate %v expired on %s (%d days ago): make a new one, add it to the application in Entra ID, and use it here", p, utc(notAfter), int(now.Sub(notAfter).Hours()/24))
	}
	return nil
}

// DaysLeft is the number of whole days until the certificate expires, negative
// once it has.
func (p Pair) DaysLeft(now time.Time) int {
	return int(math.Floor(p.Certificate.NotAfter.Sub(now).Hours() / 24))
}

// SHA1 is the certificate's thumbprint as Microsoft's portals show it: the SHA-1 of
// its DER in upper-case hexadecimal. It identifies and protects nothing.
func SHA1(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// SHA256 is the SHA-256 of the certificate's DER in upper-case hexadecimal.
func SHA256(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// X5T is the SHA-1 thumbprint as the header "x5t" of a JWT spells it (RFC 7515).
func X5T(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// X5TS256 is the SHA-256 thumbprint as the header "x5t#S256" of a JWT spells it
// (RFC 7515).
func X5TS256(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func keyKind(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return "an EC key (" + pub.Curve.Params().Name + ")"
	case ed25519.PublicKey:
		return "an Ed25519 key"
	default:
		return fmt.Sprintf("a key of an unknown kind (%T)", pub)
	}
}
