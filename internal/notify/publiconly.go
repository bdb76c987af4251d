package notify

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var errPrivateKey = errors.New("there is a private key in it, and notices are kept where nobody controls them; tell the thumbprint, attach the certificate")

// checkAttachment refuses all but certificates: what is allowed is a shorter list
// than what is not.
func checkAttachment(a Attachment) error {
	if a.Name == "" {
		return errors.New("an attachment has no name")
	}
	if hasPrivateKey(a.Data) {
		return fmt.Errorf("attachment %q: %w", a.Name, errPrivateKey)
	}
	if !onlyCertificates(a.Data) {
		return fmt.Errorf("attachment %q is not a certificate in DER or PEM, and nothing else may be attached", a.Name)
	}
	return nil
}

func onlyCertificates(data []byte) bool {
	if _, err := x509.ParseCertificate(data); err == nil {
		return true
	}
	// Text around the blocks is refused as well: pem.Decode passes over it.
	rest := bytes.TrimSpace(data)
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN CERTIFICATE-----")) {
			return false
		}
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return false
		}
		// A block that cannot be decoded is passed over too, with what follows it.
		if bytes.Count(rest[:len(rest)-len(after)], []byte("-----BEGIN")) != 1 {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		rest = bytes.TrimSpace(after)
	}
	return len(data) > 0
}

// A heading of PEM, of OpenPGP or of SSH's own format; and the private members of a
// JSON Web Key, of which every kind but the symmetric has "d". Quotes may be escaped.
var (
	privatePEM = regexp.MustCompile(`(?i)-{4,5}\s*BEGIN[^\r\n]{0,60}?PRIVATE\s+KEY`)
	privateJWK = regexp.MustCompile(`\\*"(?:d|k|dp|dq|qi)\\*"\s*:\s*\\*"[A-Za-z0-9_\-+/=]{16,}`)
)

// hasPrivateKey reports whether there is a private key in data: in PEM, as a JSON
// Web Key, or in DER (PKCS#12 and PKCS#8, also encrypted, PKCS#1, SEC 1), be it as it
// is or in base64.
func hasPrivateKey(data []byte) bool {
	if privatePEM.Match(data) || privateJWK.Match(data) {
		return true
	}
	for i, b := range data {
		switch {
		case b == 0x30 && isPrivateKey(data[i:]):
			return true
		case b == 'M' && isPrivateKey(fromBase64(data[i:])):
			return true // the first six bits of a SEQUENCE are an M
		}
	}
	return false
}

// hideKeys is a text that may be shown.
func hideKeys(s string) string {
	if hasPrivateKey([]byte(s)) {
		return "<secret>"
	}
	return s
}

// fromBase64 decodes the SEQUENCE that text begins with, or gives nil. White space
// does not count, and padding may be missing.
func fromBase64(text []byte) []byte {
	const head = 4 // characters: three bytes, enough to see that it is none
	var run []byte
	need := head
	for _, c := range text {
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		case c == '-':
			c = '+'
		case c == '_':
			c = '/'
		}
		if c != '+' && c != '/' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			break
		}
		if run = append(run, c); len(run) < need {
			continue
		}
		if need > head+2 {
			break
		}
		// Two more characters make four bytes, which tell the length.
		if need == head {
			if der := decode(run); der[1] >= 0x80 && der[1] != 0x81 && der[1] != 0x82 {
				return nil
			}
			need += 2
			continue
		}
		length := lengthOf(decode(run))
		if length == 0 || length > len(text) {
			return nil
		}
		need = max(base64.RawStdEncoding.EncodedLen(length), head+3)
	}
	if len(run) < need {
		return nil
	}
	return decode(run)
}

// decode gives the whole bytes of characters that are base64.
func decode(run []byte) []byte {
	if len(run)%4 == 1 {
		run = run[:len(run)-1]
	}
	der := make([]byte, base64.RawStdEncoding.DecodedLen(len(run)))
	n, _ := base64.RawStdEncoding.Decode(der, run)
	return der[:n]
}

// lengthOf is how long the SEQUENCE is whose first four bytes are given, or 0.
func lengthOf(der []byte) int {
	switch {
	case der[0] != 0x30:
		return 0
	case der[1] < 0x80:
		return 2 + int(der[1])
	case der[1] == 0x81:
		return 3 + int(der[2])
	case der[1] == 0x82:
		return 4 + int(der[2])<<8 + int(der[3])
	}
	return 0 // longer than anything that may be posted, or of indefinite length
}

// minKey is shorter than any private key in DER: that of an Ed25519 key has 48 bytes.
const minKey = 40

var oidPKCS7 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7}

// isPrivateKey reports whether data begins with a private key in DER, going by its
// shape alone: what is in it may be encrypted.
func isPrivateKey(data []byte) bool {
	if len(data) < minKey || data[0] != 0x30 {
		return false
	}
	if data[1] == 0x80 { // a PKCS#12 file of indefinite length
		return bytes.HasPrefix(data[2:], []byte{2, 1, 3, 0x30})
	}
	var seq, first, second cryptobyte.String
	input := cryptobyte.String(data)
	if !input.ReadASN1(&seq, casn1.SEQUENCE) || len(seq) < minKey {
		return false
	}
	var version int64
	if !seq.PeekASN1Tag(casn1.INTEGER) {
		// EncryptedPrivateKeyInfo: an algorithm, then octets.
		var oid asn1.ObjectIdentifier
		return seq.ReadASN1(&first, casn1.SEQUENCE) && first.ReadASN1ObjectIdentifier(&oid) &&
			seq.ReadASN1(&second, casn1.OCTET_STRING) && len(second) >= minKey && seq.Empty()
	}
	if !seq.ReadASN1Integer(&version) {
		return false
	}
	switch {
	case version == 3: // PFX: an outer ContentInfo
		var oid asn1.ObjectIdentifier
		return seq.ReadASN1(&first, casn1.SEQUENCE) && first.ReadASN1ObjectIdentifier(&oid) && len(oid) == 7 && oid[:6].Equal(oidPKCS7)
	case version != 0 && version != 1:
		return false
	case seq.PeekASN1Tag(casn1.OCTET_STRING): // SEC 1
		return version == 1 && seq.ReadASN1(&first, casn1.OCTET_STRING) && len(first) >= 16
	case seq.PeekASN1Tag(casn1.SEQUENCE): // PKCS#8
		return seq.ReadASN1(&first, casn1.SEQUENCE) && seq.ReadASN1(&second, casn1.OCTET_STRING)
	}
	for range 3 { // PKCS#1: modulus, public and private exponent
		if !seq.ReadASN1(&first, casn1.INTEGER) {
			return false
		}
	}
	return true
}
