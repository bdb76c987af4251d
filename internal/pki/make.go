package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"time"
)

// Days that a certificate may be valid. Exact dates may be shorter.
const (
	MinDays          = 30
	MaxDays          = 1095
	MaxAuthorityDays = 3650
)

// maxNames bounds the alternative names of a certificate.
const maxNames = 100

// Template is what a certificate is to say.
type Template struct {
	Subject     pkix.Name
	DNSNames    []string
	Emails      []string
	IPAddresses []net.IP
	URIs        []*url.URL
	NotBefore   time.Time
	NotAfter    time.Time
	Authority   bool // it may issue others
}

// AddName adds a subject alternative name, whose form tells its kind: an IP
// address, an email address, a URI, else a DNS name. Its errors are [*Problem].
func (t *Template) AddName(s string) error {
	with := *t
	switch ip := net.ParseIP(s); {
	case ip != nil:
		with.IPAddresses = append(with.IPAddresses, ip)
	case strings.Contains(s, "@") && !strings.Contains(s, ":"):
		with.Emails = append(with.Emails, s)
	case strings.Contains(s, ":"):
		u, err := url.Parse(s)
		if err != nil {
			return &Problem{fmt.Sprintf("the alternative name %.80q is not a URI", s), "write it as scheme://host/path"}
		}
		with.URIs = append(with.URIs, u)
	default:
		with.DNSNames = append(with.DNSNames, s)
	}
	if err := with.checkNames(); err != nil {
		return err
	}
	*t = with
	return nil
}

// Lifetime is how long a certificate of so many days is valid: its NotAfter is its
// NotBefore and this. Its errors are [*Problem].
func Lifetime(days int, authority bool) (time.Duration, error) {
	most := MaxDays
	if authority {
		most = MaxAuthorityDays
	}
	if days < MinDays || days > most {
		return 0, &Problem{fmt.Sprintf("a lifetime of %d days is outside %d to %d", days, MinDays, most), "choose another, such as 180; shorter ones by exact dates"}
	}
	return time.Duration(days) * 24 * time.Hour, nil
}

// SelfSign makes a certificate for the key, signed by itself, for the client's side
// of TLS and for signing in, or for issuing others. Its errors are [*Problem], or
// the key's own.
func SelfSign(key crypto.Signer, t Template) (Pair, error) {
	if key == nil {
		return Pair{}, &Problem{"there is no private key to make a certificate for", "make one first"}
	}
	if err := t.checkDates(); err != nil {
		return Pair{}, err
	}
	if len(t.Subject.ToRDNSequence()) == 0 {
		return Pair{}, &Problem{"the certificate has no subject", "give it a common name"}
	}
	certificate, err := t.certificate(key.Public())
	if err != nil {
		return Pair{}, err
	}
	certificate.NotBefore, certificate.NotAfter = t.NotBefore, t.NotAfter
	c, err := sign(certificate, certificate, key.Public(), key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Certificate: c, Key: key}, nil
}

// sign signs a certificate by the issuer's key. With SHA-256, and with SHA-384 for
// P-384, which is Go's choice for each kind of key.
func sign(certificate, issuer *x509.Certificate, pub crypto.PublicKey, issuerKey crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, certificate, issuer, pub, issuerKey)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, &Problem{fmt.Sprintf("the certificate would be malformed (%v)", err), "change its subject or its alternative names"}
	}
	return c, nil
}

// certificate checks the names and the key, and says all but the dates.
func (t *Template) certificate(pub crypto.PublicKey) (*x509.Certificate, error) {
	if err := t.checkNames(); err != nil {
		return nil, err
	}
	if err := checkCertifiable(pub); err != nil {
		return nil, err
	}
	id, err := keyID(pub)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               t.Subject,
		SubjectKeyId:          id,
		DNSNames:              t.DNSNames,
		EmailAddresses:        t.Emails,
		IPAddresses:           t.IPAddresses,
		URIs:                  t.URIs,
		BasicConstraintsValid: true,
		IsCA:                  t.Authority,
		KeyUsage:              keyUsage(pub, t.Authority),
	}
	if t.Authority {
		c.MaxPathLenZero = true // it issues no authorities
	} else {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return c, nil
}

func keyUsage(pub crypto.PublicKey, authority bool) x509.KeyUsage {
	if authority {
		return x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if _, ok := pub.(*ecdsa.PublicKey); ok {
		return x509.KeyUsageDigitalSignature // EC keys encipher nothing
	}
	return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
}

// newSerial is a random number of exactly 20 octets, the most that RFC 5280 4.1.2.2
// allows, and positive.
func newSerial() *big.Int {
	b := make([]byte, 20)
	rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// keyID is the subject key identifier: the first 160 bits of the SHA-256 of the
// public key (RFC 7093 section 2, method 1).
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20], nil
}

func (t *Template) checkDates() error {
	most := MaxDays
	if t.Authority {
		most = MaxAuthorityDays
	}
	return checkDates(t.NotBefore, t.NotAfter, most)
}

func checkDates(notBefore, notAfter time.Time, mostDays int) error {
	const remedy = "give other dates"
	switch {
	case notBefore.IsZero() || notAfter.IsZero():
		return &Problem{"the certificate has no dates", "say from when until when it is valid"}
	case !notAfter.After(notBefore):
		return &Problem{fmt.Sprintf("the certificate would end (%s) before it begins (%s)", utc(notAfter), utc(notBefore)), remedy}
	case notBefore.Year() < 1950 || notAfter.Year() > 9999: // RFC 5280 4.1.2.5
		return &Problem{fmt.Sprintf("no certificate can be valid from %s to %s", utc(notBefore), utc(notAfter)), remedy}
	case notAfter.Sub(notBefore) > time.Duration(mostDays)*24*time.Hour:
		return &Problem{fmt.Sprintf("the certificate would be valid from %s to %s, for more than %d days", utc(notBefore), utc(notAfter), mostDays), "choose a nearer end"}
	}
	return nil
}

// checkNames checks the alternative names.
func (t *Template) checkNames() error {
	bad := func(kind, name, remedy string) error {
		return &Problem{fmt.Sprintf("the alternative name %.80q is not %s", name, kind), remedy}
	}
	if n := len(t.DNSNames) + len(t.Emails) + len(t.IPAddresses) + len(t.URIs); n > maxNames {
		return &Problem{fmt.Sprintf("the certificate has %d alternative names, and at most %d are allowed", n, maxNames), "leave some out"}
	}
	for _, name := range t.DNSNames {
		if !isDNSName(name) {
			return bad("a DNS name", name, "use letters, digits, hyphens and dots (other letters as xn--…; * as the first label alone)")
		}
	}
	for _, email := range t.Emails {
		a, err := mail.ParseAddress(email)
		if err != nil || a.Address != email || !isASCII(email) || len(email) > 254 {
			return bad("an email address", email, "write it as name@example.com")
		}
	}
	for _, ip := range t.IPAddresses {
		if len(ip) != net.IPv4len && len(ip) != net.IPv6len {
			return bad("an IP address", ip.String(), "write it as 192.0.2.1 or 2001:db8::1")
		}
	}
	for _, u := range t.URIs {
		if u == nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" && u.Path == "" || u.User != nil || !isASCII(u.Host+u.Opaque) || len(u.String()) > 2048 {
			return bad("a URI", uriText(u), "write it as scheme://host/path, in ASCII and without a password")
		}
	}
	return nil
}

// uriText shows a URI without a password.
func uriText(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Redacted()
}

// isDNSName is RFC 1034 3.5 with the digits of RFC 1123, the underscores that
// Windows machines have, and a wildcard as the first label.
func isDNSName(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for i, label := range strings.Split(s, ".") {
		if label == "*" && i == 0 && strings.Contains(s, ".") {
			continue
		}
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	return true
}
