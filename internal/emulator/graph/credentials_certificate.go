package graph

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"

	"software.sslmate.com/src/go-pkcs12"
)

// publicCertificate returns the certificate, as DER, of what was uploaded as a
// key: the certificate itself, the text of a PEM file, or a PKCS #12 file.
// Private keys in it are forgotten: Graph does not refuse them, although
// Microsoft calls uploading them a mistake. It returns nil when there is no
// certificate to be had.
func publicCertificate(uploaded []byte, password string) []byte {
	if c, err := x509.ParseCertificate(uploaded); err == nil {
		return c.Raw
	}
	for rest := uploaded; bytes.Contains(rest, []byte("-----BEGIN")); {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		if block.Type == "CERTIFICATE" {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				return c.Raw
			}
			return nil
		}
	}
	if !affordable(uploaded) {
		return nil
	}
	if _, c, _, err := pkcs12.DecodeChain(uploaded, password); err == nil {
		return c.Raw
	}
	return nil
}

// maxRounds is how often a PKCS #12 file may have its password hashed. Files
// come with 2,048 to 600,000 rounds.
const maxRounds = 1_000_000

// affordable reports whether no number in a PKCS #12 file is larger than
// maxRounds, but for those in certificates and keys. What is encrypted is not
// looked at.
func affordable(der []byte) bool {
	for len(der) > 0 {
		var v asn1.RawValue
		var err error
		if der, err = asn1.Unmarshal(der, &v); err != nil {
			return true // not DER, and so no numbers
		}
		universal := v.Class == asn1.ClassUniversal
		switch {
		case v.IsCompound:
			if !affordable(v.Bytes) {
				return false
			}
		case universal && v.Tag == asn1.TagInteger:
			// Longer numbers are parts of keys.
			if len(v.Bytes) <= 8 && new(big.Int).SetBytes(v.Bytes).Cmp(big.NewInt(maxRounds)) > 0 {
				return false
			}
		case universal && v.Tag == asn1.TagOctetString && bytes.HasPrefix(v.Bytes, []byte{sequence}):
			if _, err := x509.ParseCertificate(v.Bytes); err != nil && !affordable(v.Bytes) {
				return false
			}
		}
	}
	return true
}

const sequence = 0x30 // the first byte of a SEQUENCE in DER
