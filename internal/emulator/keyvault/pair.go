package keyvault

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// pair is what an import brings: certificates and the key of one of them.
type pair struct {
	key         privateKey
	chain       chain
	contentType string // the form that it came in: PKCS12 or PEM
}

// mostInPair bounds the certificates of an import [K].
const mostInPair = 50

// parsePair reads the value of an import: PEM, base64 of PEM, or base64 of
// PKCS#12. Clients send all three.
func parsePair(value, password string) (pair, error) {
	if strings.Contains(value, "-----BEGIN") {
		return parsePEM(value)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
	if err != nil || len(der) == 0 {
		return pair{}, badParameter("Property value is neither PEM nor base64.")
	}
	if strings.Contains(string(der), "-----BEGIN") {
		return parsePEM(string(der))
	}
	return parsePFX(der, password)
}

func parsePEM(text string) (pair, error) {
	p := pair{contentType: PEM}
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil || len(p.chain) == mostInPair {
				return pair{}, badParameter("Property value holds a certificate that cannot be read, or too many.")
			}
			p.chain = append(p.chain, c)
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil || p.key.Signer != nil {
				return pair{}, badParameter("Property value holds a private key that cannot be read, or more than one.")
			}
			if p.key, err = checkKey(parsed); err != nil {
				return pair{}, err
			}
		default:
			return pair{}, badParameter("Property value holds %s; the private key must be unencrypted PKCS#8, in a PEM block PRIVATE KEY.", printable(block.Type))
		}
	}
	return p.complete()
}

func parsePFX(der []byte, password string) (pair, error) {
	if err := checkIterations(der); err != nil {
		return pair{}, err
	}
	key, leaf, others, err := pkcs12.DecodeChain(der, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return pair{}, badParameter("The specified PKCS#12 X.509 certificate content can not be read. Please check the password.")
	case err != nil:
		return pair{}, badParameter("The specified PKCS#12 X.509 certificate content can not be read. Please check if certificate is in valid PKCS#12 format.")
	case len(others) >= mostInPair:
		return pair{}, badParameter("Property value holds too many certificates.")
	}
	p := pair{contentType: PKCS12, chain: append(chain{leaf}, others...)}
	if p.key, err = checkKey(key); err != nil {
		return pair{}, err
	}
	return p.complete()
}

func (p pair) complete() (pair, error) {
	if p.key.Signer == nil {
		return pair{}, badParameter("Property value has no private key.")
	}
	if len(p.chain) == 0 {
		return pair{}, badParameter("Property value has no certificate.")
	}
	if _, err := p.chain.leafFirst(p.key, true); err != nil {
		return pair{}, badParameter("The private key is not that of a certificate in property value.")
	}
	return p, nil
}

// mostIterations is how often a PKCS#12 file may have its password hashed.
// Without a bound, one request could keep the emulator busy for hours.
const mostIterations = 1_000_000

// checkIterations refuses a file in which any number beside an octet string
// could be a count of iterations beyond the bound. It looks at everything that
// is not encrypted, so that it needs to know nothing of the algorithms.
func checkIterations(der []byte) error {
	tooMany := badParameter("The PKCS#12 file has too many iterations or is nested too deeply.")
	var walk func(der []byte, depth int) bool
	walk = func(der []byte, depth int) bool {
		salted := false
		for len(der) > 0 {
			var v asn1.RawValue
			rest, err := asn1.Unmarshal(der, &v)
			if err != nil {
				return true // Not DER, so not for us to judge.
			}
			if depth > 32 {
				return false
			}
			universal := v.Class == asn1.ClassUniversal
			switch {
			case universal && v.Tag == asn1.TagInteger && salted:
				n := 0
				if _, err := asn1.Unmarshal(v.FullBytes, &n); err != nil || n > mostIterations || n < 0 {
					return false
				}
			case v.IsCompound || universal && v.Tag == asn1.TagOctetString && len(v.Bytes) > 32:
				if !walk(v.Bytes, depth+1) {
					return false
				}
			}
			// A count follows a salt or, in a MAC, the salt of the MAC.
			salted = universal && v.Tag == asn1.TagOctetString
			der = rest
		}
		return true
	}
	if !walk(der, 0) {
		return tooMany
	}
	return nil
}
