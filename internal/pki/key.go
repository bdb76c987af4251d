package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// KeyType is a kind and size of key.
type KeyType string

const (
	RSA2048 KeyType = "rsa-2048" // the default
	RSA3072 KeyType = "rsa-3072"
	RSA4096 KeyType = "rsa-4096"
	P256    KeyType = "p-256" // not for signing in to Entra ID
	P384    KeyType = "p-384" // not for signing in to Entra ID
)

// KeyTypes lists every [KeyType] that [NewKey] makes.
func KeyTypes() []KeyType { return []KeyType{RSA2048, RSA3072, RSA4096, P256, P384} }

// RSA sizes in bits. Microsoft's guidance for application certificates asks for the
// smallest; verifying with one beyond the largest is work that no file may ask for.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// NewKey makes a private key. Its errors are [*Problem].
func NewKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, &Problem{fmt.Sprintf("there is no key type %.40q", t), fmt.Sprintf("use one of %s", list(KeyTypes()))}
}

// checkCertifiable reports why no certificate is made for a public key.
func checkCertifiable(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return &Problem{
				fmt.Sprintf("the RSA key has %d bits, and certificates are made for %d to %d", bits, minRSABits, maxRSABits),
				"make a new key: " + list(KeyTypes()),
			}
		}
		return nil
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() || pub.Curve == elliptic.P384() {
			return nil
		}
	}
	return &Problem{"certificates are not made for " + keyKind(pub), "make a new key: " + list(KeyTypes())}
}

// verifiable reports whether verifying with a public key is bounded work.
func verifiable(pub crypto.PublicKey) bool {
	key, ok := pub.(*rsa.PublicKey)
	return !ok || key.N.BitLen() <= maxRSABits
}

// exportable reports why a private key cannot be written to a file.
func exportable(key crypto.Signer) error {
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return nil
	case nil:
		return &Problem{"there is no private key to write", "give the private key of the certificate"}
	}
	return &Problem{"the private key may not leave the place where it is kept", "sign with it there, or make a new key whose policy allows export"}
}

// keyKind names a public key for people.
func keyKind(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("an RSA key (%d bits)", pub.N.BitLen())
	case *ecdsa.PublicKey:
		return "an EC key (" + pub.Curve.Params().Name + ")"
	case ed25519.PublicKey:
		return "an Ed25519 key"
	case nil:
		return "a key of an unknown kind"
	default:
		return fmt.Sprintf("a key of an unknown kind (%T)", pub)
	}
}

// SameKey reports whether two public keys are the same.
func SameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// list joins names for people: "a, b or c".
func list[T ~string](names []T) string {
	var s string
	for i, n := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			s += " or "
		default:
			s += ", "
		}
		s += string(n)
	}
	return s
}
