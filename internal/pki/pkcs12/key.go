package pkcs12

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
)

// maxRSABits bounds what is computed with a private key: reading one of so many bits
// takes less than 10 ms here.
const maxRSABits = 16384

var (
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidECDSA   = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
	oidP224    = asn1.ObjectIdentifier{1, 3, 132, 0, 33}
	oidP256    = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidP384    = asn1.ObjectIdentifier{1, 3, 132, 0, 34}
	oidP521    = asn1.ObjectIdentifier{1, 3, 132, 0, 35}
	keyKinds   = map[string]string{
		"1.2.840.10040.4.1":       "a DSA key",
		"1.2.840.10046.2.1":       "a Diffie-Hellman key",
		"1.2.840.113549.1.3.1":    "a Diffie-Hellman key",
		"1.3.101.110":             "an X25519 key, which cannot sign",
		"1.3.101.111":             "an X448 key, which cannot sign",
		"1.3.101.113":             "an Ed448 key",
		"1.2.643.7.1.1.1.1":       "a GOST key",
		"1.2.643.7.1.1.1.2":       "a GOST key",
		"1.2.643.2.2.19":          "a GOST key",
		"2.16.840.1.101.3.4.3.17": "an ML-DSA key",
		"2.16.840.1.101.3.4.3.18": "an ML-DSA key",
		"2.16.840.1.101.3.4.3.19": "an ML-DSA key",
	}
	curveNames = map[string]string{
		"1.3.132.0.10":          "secp256k1",
		"1.2.156.10197.1.301":   "SM2",
		"1.3.36.3.3.2.8.1.1.7":  "brainpoolP256r1",
		"1.3.36.3.3.2.8.1.1.8":  "brainpoolP256t1",
		"1.3.36.3.3.2.8.1.1.9":  "brainpoolP320r1",
		"1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
		"1.3.36.3.3.2.8.1.1.12": "brainpoolP384t1",
		"1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
		"1.3.36.3.3.2.8.1.1.14": "brainpoolP512t1",
		"1.2.840.10045.3.1.1":   "P-192",
	}
)

const newRSA = "make a new certificate with an RSA key of 2048 bits or more, which is what Entra ID takes"

// privateKeyInfo is RFC 5958's, as far as it is looked at.
type privateKeyInfo struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
}

// rsaPrivateKey is RFC 8017's.
type rsaPrivateKey struct {
	Version               int
	N                     *big.Int
	E                     *big.Int
	D, P, Q, Dp, Dq, Qinv *big.Int
	AdditionalPrimes      asn1.RawValue `asn1:"optional"`
}

// ecPrivateKey is RFC 5915's, as far as it is looked at.
type ecPrivateKey struct {
	Version int
	Key     []byte
	Curve   asn1.RawValue `asn1:"optional,tag:0"` // explicit
}

// ParseKey reads a private key in DER: PKCS#8, PKCS#1 or SEC 1. Its errors are
// [*Error].
func ParseKey(der []byte) (crypto.Signer, error) {
	signer, err := parseKey(der)
	if err != nil {
		return nil, about("the private key", err)
	}
	return signer, nil
}

// ParseCertificate reads a certificate in DER. Its errors are [*Error].
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := parseCertificate(der)
	if err != nil {
		return nil, about("the certificate", err)
	}
	return c, nil
}

func badKey() *Error { return damaged("it is not well-formed, or its numbers do not fit together") }

func parseKey(der []byte) (crypto.Signer, *Error) {
	var info privateKeyInfo
	if unmarshal(der, &info) == nil {
		switch a := info.Algorithm; {
		case a.Algorithm.Equal(oidRSA):
			return parseRSA(info.Key)
		case a.Algorithm.Equal(oidPSS):
			// Go's type does not say that the key is for PSS alone, and Entra ID takes PSS.
			return parseRSA(info.Key)
		case a.Algorithm.Equal(oidECDSA):
			return parseEC(info.Key, a.Parameters)
		case a.Algorithm.Equal(oidEd25519):
			if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
				if key, ok := key.(ed25519.PrivateKey); ok {
					return key, nil
				}
			}
			return nil, badKey()
		default:
			return nil, unusable(kindOf(a.Algorithm))
		}
	}
	if unmarshal(der, new(ecPrivateKey)) == nil {
		return parseEC(der, asn1.RawValue{})
	}
	return parseRSA(der)
}

// parseRSA reads PKCS#1 after a look at the sizes, so that a file cannot ask for
// absurd arithmetic.
func parseRSA(der []byte) (crypto.Signer, *Error) {
	var k rsaPrivateKey
	if unmarshal(der, &k) != nil {
		return nil, badKey()
	}
	bits := k.N.BitLen()
	switch {
	case k.Version != 0 || len(k.AdditionalPrimes.FullBytes) > 0:
		return nil, &Error{Cause: "is an RSA key of more than two primes, which programs do not take", Remedy: newRSA}
	case bits > maxRSABits:
		return nil, &Error{Cause: fmt.Sprintf("is an RSA key of %d bits; up to %d are read", bits, maxRSABits), Remedy: newRSA}
	}
	for _, n := range []*big.Int{k.E, k.D, k.P, k.Q, k.Dp, k.Dq, k.Qinv} {
		if n.BitLen() > bits {
			return nil, badKey()
		}
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, badKey()
	}
	return key, nil
}

// parseEC reads SEC 1. In PKCS#8 the curve stands outside.
func parseEC(der []byte, curve asn1.RawValue) (crypto.Signer, *Error) {
	var k ecPrivateKey
	if unmarshal(der, &k) != nil {
		return nil, badKey()
	}
	if len(curve.FullBytes) == 0 && unmarshal(k.Curve.Bytes, &curve) != nil {
		return nil, damaged("its elliptic curve is not named")
	}
	if err := checkCurve(curve); err != nil {
		return nil, err
	}
	// With the curve inside and without the public key there is one form to read.
	sec1, err := asn1.Marshal(ecPrivateKey{
		Version: k.Version,
		Key:     k.Key,
		Curve:   asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: curve.FullBytes},
	})
	if err != nil {
		return nil, badKey()
	}
	key, err := x509.ParseECPrivateKey(sec1)
	if err != nil {
		return nil, badKey()
	}
	return key, nil
}

// checkCurve says of the parameters of an EC key why it cannot be used.
func checkCurve(parameters asn1.RawValue) *Error {
	switch {
	case parameters.Class != asn1.ClassUniversal:
	case parameters.Tag == asn1.TagSequence:
		return &Error{Cause: "is for an elliptic curve that is spelled out in place of being named, which programs do not take", Remedy: "name the curve (openssl ec -in FILE.pem -out NEW.pem -param_enc named_curve), or " + newRSA}
	case parameters.Tag == asn1.TagOID:
		var oid asn1.ObjectIdentifier
		if unmarshal(parameters.FullBytes, &oid) != nil {
			break
		}
		for _, c := range []asn1.ObjectIdentifier{oidP224, oidP256, oidP384, oidP521} {
			if oid.Equal(c) {
				return nil
			}
		}
		name := oid.String()
		if known, ok := curveNames[name]; ok {
			name = known
		}
		return unusable(fmt.Sprintf("an EC key on the curve %.40s", name))
	}
	return damaged("its elliptic curve is not named")
}

func kindOf(algorithm asn1.ObjectIdentifier) string {
	name := algorithm.String()
	if known, ok := keyKinds[name]; ok {
		return known
	}
	return fmt.Sprintf("a key of an unknown kind (%.40s)", name)
}

// unusable is about a key that is sound and of no use here.
func unusable(kind string) *Error {
	return &Error{Cause: "is " + kind + ", which cannot be used", Remedy: newRSA}
}

func parseCertificate(der []byte) (*x509.Certificate, *Error) {
	c, err := x509.ParseCertificate(der)
	if err == nil {
		return c, nil
	}
	if a, ok := publicKeyAlgorithm(der); ok && a.Algorithm.Equal(oidECDSA) {
		if e := checkCurve(a.Parameters); e != nil {
			return nil, &Error{Cause: "cannot be read: its public key " + e.Cause, Remedy: e.Remedy}
		}
	}
	// It quotes names of the certificate, which may be long.
	return nil, damaged(fmt.Sprintf("%.200s", strings.TrimPrefix(err.Error(), "x509: ")))
}

// publicKeyAlgorithm finds the algorithm of the public key in a certificate that
// could not be read as a whole.
func publicKeyAlgorithm(der []byte) (a pkix.AlgorithmIdentifier, ok bool) {
	var c struct {
		TBS struct {
			Version                   int `asn1:"optional,explicit,default:0,tag:0"`
			Serial                    *big.Int
			Algorithm                 asn1.RawValue
			Issuer, Validity, Subject asn1.RawValue
			PublicKey                 struct {
				Algorithm pkix.AlgorithmIdentifier
				Key       asn1.BitString
			}
		}
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		return a, false
	}
	return c.TBS.PublicKey.Algorithm, true
}
