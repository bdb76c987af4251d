package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// Description is what there is to say about a certificate, for people and in JSON.
type Description struct {
	Subject            string    `json:"subject"`
	Issuer             string    `json:"issuer"`
	SerialNumber       string    `json:"serial_number"` // hexadecimal, as Windows and the portals show it
	NotBefore          time.Time `json:"not_before"`
	NotAfter           time.Time `json:"not_after"`
	DaysLeft           int       `json:"days_left"`
	Key                string    `json:"key"`
	SignatureAlgorithm string    `json:"signature_algorithm"`
	AlternativeNames   []string  `json:"alternative_names"`
	Uses               []string  `json:"uses"` // by their names in RFC 5280
	Authority          bool      `json:"authority"`
	SelfSigned         bool      `json:"self_signed"`

	SHA1                   string `json:"sha1"`
	SHA256                 string `json:"sha256"`
	X5T                    string `json:"x5t"`
	X5TS256                string `json:"x5t_s256"`
	CustomKeyIdentifier    string `json:"custom_key_identifier"`     // as Graph makes it
	CustomKeyIdentifierHex string `json:"custom_key_identifier_hex"` // as some tools send it
}

// Describe describes a certificate at a time.
func Describe(c *x509.Certificate, now time.Time) Description {
	return Description{
		Subject:                FormatName(c.Subject),
		Issuer:                 FormatName(c.Issuer),
		SerialNumber:           serialNumber(c),
		NotBefore:              c.NotBefore.UTC(),
		NotAfter:               c.NotAfter.UTC(),
		DaysLeft:               daysLeft(c, now),
		Key:                    strings.TrimPrefix(strings.TrimPrefix(keyKind(c.PublicKey), "an "), "a "),
		SignatureAlgorithm:     c.SignatureAlgorithm.String(),
		AlternativeNames:       alternativeNames(c),
		Uses:                   uses(c),
		Authority:              c.BasicConstraintsValid && c.IsCA,
		SelfSigned:             selfSigned(c),
		SHA1:                   SHA1(c),
		SHA256:                 SHA256(c),
		X5T:                    X5T(c),
		X5TS256:                X5TS256(c),
		CustomKeyIdentifier:    CustomKeyIdentifier(c),
		CustomKeyIdentifierHex: CustomKeyIdentifierHex(c),
	}
}

// serialNumber is the octets of the number; with the leading zero that keeps a large
// one positive, as Windows shows it.
func serialNumber(c *x509.Certificate) string {
	if c.SerialNumber == nil {
		return ""
	}
	octets := c.SerialNumber.Bytes()
	if len(octets) == 0 || octets[0]&0x80 != 0 {
		octets = append([]byte{0}, octets...)
	}
	return strings.ToUpper(hex.EncodeToString(octets))
}

func alternativeNames(c *x509.Certificate) []string {
	all := []string{} // in JSON a list, not null
	all = append(all, c.DNSNames...)
	all = append(all, c.EmailAddresses...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	for _, u := range c.URIs {
		all = append(all, u.Redacted())
	}
	for i, name := range all {
		all[i] = strings.Map(func(r rune) rune {
			if isUnseen(r) {
				return utf8.RuneError
			}
			return r
		}, name)
	}
	return all
}

// keyUsages holds the names of the bits of x509.KeyUsage in their order.
var keyUsages = []string{
	"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
	"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
}

var extKeyUsages = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny:             "anyExtendedKeyUsage",
	x509.ExtKeyUsageServerAuth:      "serverAuth",
	x509.ExtKeyUsageClientAuth:      "clientAuth",
	x509.ExtKeyUsageCodeSigning:     "codeSigning",
	x509.ExtKeyUsageEmailProtection: "emailProtection",
	x509.ExtKeyUsageTimeStamping:    "timeStamping",
	x509.ExtKeyUsageOCSPSigning:     "OCSPSigning",
}

func uses(c *x509.Certificate) []string {
	all := []string{}
	for i, name := range keyUsages {
		if c.KeyUsage&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	for _, u := range c.ExtKeyUsage {
		if name := extKeyUsages[u]; name != "" {
			all = append(all, name)
		} else {
			all = append(all, "another extended use")
		}
	}
	for _, id := range c.UnknownExtKeyUsage {
		all = append(all, id.String())
	}
	return all
}

// selfSigned reports whether the certificate's own key signed it.
func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && signatureFits(c, c)
}

// signedBy reports whether the issuer's key signed the certificate.
func signedBy(c, issuer *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, issuer.RawSubject) && signatureFits(c, issuer)
}

// signatureFits is about who signed, not how well: an old algorithm, which Go does
// not verify, fits.
func signatureFits(c, issuer *x509.Certificate) bool {
	if !verifiable(issuer.PublicKey) {
		return false
	}
	err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	var old x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &old)
}
