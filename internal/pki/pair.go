package pki

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"math"
	"time"
)

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
	return fmt.Sprintf("%s (thumbprint %s)", shown(FormatName(p.Certificate.Subject)), SHA1(p.Certificate))
}

// Format prints the name whatever the verb, which keeps the private key out of %#v
// and %d.
func (p Pair) Format(f fmt.State, _ rune) { io.WriteString(f, p.String()) }

// MarshalText keeps the private key out of JSON and structured logs.
func (p Pair) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// CheckKey reports why Entra ID would never accept an assertion signed with the
// pair, whatever the date: a key that is missing, of the wrong kind, too small, or
// another certificate's. Its errors are [*Problem].
func (p Pair) CheckKey() error {
	if p.Certificate == nil {
		return &Problem{"there is no certificate", "give one together with its private key"}
	}
	if p.Key == nil {
		return noKey(p)
	}
	if problem := checkEntraKey(p); problem != nil {
		return problem
	}
	if !SameKey(p.Certificate.PublicKey, p.Key.Public()) {
		return foreignKey(p)
	}
	return nil
}

// checkEntraKey reports a certificate whose key Entra ID takes no signatures of.
func checkEntraKey(p Pair) *Problem {
	remedy := fmt.Sprintf("make a new certificate with an RSA key of %d bits or more", minRSABits)
	switch pub := p.Certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits < minRSABits {
			return &Problem{fmt.Sprintf("certificate %v has an RSA key of %d bits, and Entra ID needs %d or more", p, bits, minRSABits), remedy}
		}
		return nil
	default:
		return &Problem{fmt.Sprintf("certificate %v has %s, and Entra ID accepts only RSA signatures (PS256, RS256) for signing in", p, keyKind(pub)), remedy}
	}
}

func noKey(p Pair) *Problem {
	return &Problem{fmt.Sprintf("certificate %v has no private key", p), "use the PFX or PEM file that holds both, not the .cer file"}
}

func foreignKey(p Pair) *Problem {
	return &Problem{fmt.Sprintf("the private key does not belong to certificate %v", p), "give the key that was made together with it"}
}

// UsableForSignIn reports why Entra ID would refuse an assertion signed with the
// pair at the given time. It is nil when nothing on this side speaks against it;
// whether the application knows the certificate only Entra ID can say. Its errors
// are [*Problem].
func (p Pair) UsableForSignIn(now time.Time) error {
	if err := p.CheckKey(); err != nil {
		return err
	}
	if problem := p.checkValid(now); problem != nil {
		return problem
	}
	return nil
}

// checkValid reports a certificate that is not valid at the given time.
func (p Pair) checkValid(now time.Time) *Problem {
	notBefore, notAfter := p.Certificate.NotBefore, p.Certificate.NotAfter
	switch {
	case now.Before(notBefore):
		return &Problem{
			fmt.Sprintf("certificate %v is not valid before %s and it is now %s", p, utc(notBefore), utc(now)),
			"wait, or correct this machine's clock",
		}
	case now.After(notAfter):
		return &Problem{
			fmt.Sprintf("certificate %v expired on %s (%d days ago)", p, utc(notAfter), int(now.Sub(notAfter).Hours()/24)),
			"make a new one, add it to the application in Entra ID, and use it here",
		}
	}
	return nil
}

// DaysLeft is the number of whole days until the certificate expires, negative
// once it has.
func (p Pair) DaysLeft(now time.Time) int { return daysLeft(p.Certificate, now) }

func daysLeft(c *x509.Certificate, now time.Time) int {
	const day = 24 * 60 * 60 // not as a Duration, which ends after 292 years
	return int(math.Floor(float64(c.NotAfter.Unix()-now.Unix()) / day))
}

// shown bounds what a message quotes of a certificate.
func shown(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
