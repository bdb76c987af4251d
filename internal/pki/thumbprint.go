package pki

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// SHA1 is the certificate's thumbprint as Microsoft's portals show it: the SHA-1 of
// its DER in upper-case hexadecimal. It identifies and protects nothing.
func SHA1(c *x509.Certificate) string {
	sum := sha1Sum(c)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// SHA256 is the SHA-256 of the certificate's DER in upper-case hexadecimal.
func SHA256(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// X5T is the SHA-1 thumbprint as the header "x5t" of a JWT spells it (RFC 7515).
func X5T(c *x509.Certificate) string {
	sum := sha1Sum(c)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// X5TS256 is the SHA-256 thumbprint as the header "x5t#S256" of a JWT spells it
// (RFC 7515).
func X5TS256(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// CustomKeyIdentifier is the thumbprint as Graph shows it when it chose the
// identifier of a key credential itself: the base64 of the SHA-1. Tools that send
// the 40 digits of [SHA1] get back what [CustomKeyIdentifierHex] says.
func CustomKeyIdentifier(c *x509.Certificate) string {
	sum := sha1Sum(c)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// CustomKeyIdentifierHex is the base64 of the 40 digits of [SHA1].
func CustomKeyIdentifierHex(c *x509.Certificate) string {
	return base64.StdEncoding.EncodeToString([]byte(SHA1(c)))
}

func sha1Sum(c *x509.Certificate) [sha1.Size]byte { return sha1.Sum(c.Raw) }
