package keyvault

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"time"
)

// usable returns a version of a key for one of its operations.
//
// Outside its dates a key makes nothing new, but what was made can still be
// verified and decrypted; documented for nbf and exp, but not with which code
// [K].
func (v *Vault) usable(name, id, operation string) (keyView, error) {
	k, err := v.key(name, id)
	if err != nil {
		return keyView{}, err
	}
	a := k.version.Attributes
	if !a.Enabled {
		return keyView{}, keyKind.disabled(operation)
	}
	if !slices.Contains(k.version.Ops, operation) {
		return keyView{}, forbidden("KeyOperationForbidden", "Operation %s is not permitted on this key.", operation)
	}
	if operation == "sign" || operation == "encrypt" || operation == "wrapKey" {
		now := v.now()
		if a.NotBefore != nil && now.Before(time.Unix(*a.NotBefore, 0)) {
			return keyView{}, forbidden("KeyNotYetValid", "Operation %s is not allowed on a key that is not valid yet.", operation)
		}
		if a.Expires != nil && !now.Before(time.Unix(*a.Expires, 0)) {
			return keyView{}, forbidden("KeyExpired", "Operation %s is not allowed on an expired key.", operation)
		}
	}
	return k, nil
}

// signing is how an algorithm signs.
type signing struct {
	hash  crypto.Hash
	curve string // of ES*
	pss   bool   // of PS*
}

var signings = map[string]signing{
	"RS256": {hash: crypto.SHA256}, "RS384": {hash: crypto.SHA384}, "RS512": {hash: crypto.SHA512},
	"PS256": {hash: crypto.SHA256, pss: true}, "PS384": {hash: crypto.SHA384, pss: true}, "PS512": {hash: crypto.SHA512, pss: true},
	"ES256": {hash: crypto.SHA256, curve: "P-256"}, "ES384": {hash: crypto.SHA384, curve: "P-384"}, "ES512": {hash: crypto.SHA512, curve: "P-521"},
	"RSNULL": {},
}

// signingOf returns how a key signs under an algorithm, if it can.
func signingOf(k privateKey, alg string, digest []byte) (signing, error) {
	how, ok := signings[alg]
	if !ok {
		return how, badParameter("Property alg has invalid value %s.", printable(alg))
	}
	_, _, curve := k.kind()
	if curve != how.curve {
		return how, badParameter("Key and signing algorithm are incompatible. Algorithm %s does not fit the key.", alg)
	}
	if how.hash != 0 && len(digest) != how.hash.Size() {
		return how, badParameter("Invalid length of value: %d bytes. Algorithm %s takes a digest of %d bytes.", len(digest), alg, how.hash.Size())
	}
	return how, nil
}

// pssOptions salts as long as the digest is (RFC 7518, section 3.5).
var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

// sign signs a digest. EC signatures are r and s side by side, as RFC 7518 has
// them.
func sign(k privateKey, alg string, digest []byte) ([]byte, error) {
	how, err := signingOf(k, alg, digest)
	if err != nil {
		return nil, err
	}
	switch key := k.Signer.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, fmt.Errorf("signing with a key: %w", err)
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
	case *rsa.PrivateKey:
		var signature []byte
		if how.pss {
			signature, err = rsa.SignPSS(rand.Reader, key, how.hash, digest, pssOptions)
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, key, how.hash, digest)
		}
		if err != nil {
			return nil, badParameter("The value cannot be signed under %s with this key.", alg)
		}
		return signature, nil
	}
	return nil, notEmulated("signing with this key")
}

// verify reports whether a signature is of a digest and a key.
func verify(k privateKey, alg string, digest, signature []byte) (bool, error) {
	how, err := signingOf(k, alg, digest)
	if err != nil {
		return false, err
	}
	switch key := k.Signer.(type) {
	case *ecdsa.PrivateKey:
		size := (key.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false, nil
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(&key.PublicKey, digest, r, s), nil
	case *rsa.PrivateKey:
		if how.pss {
			return rsa.VerifyPSS(&key.PublicKey, how.hash, digest, signature, pssOptions) == nil, nil
		}
		return rsa.VerifyPKCS1v15(&key.PublicKey, how.hash, digest, signature) == nil, nil
	}
	return false, notEmulated("verifying with this key")
}

// oaep are the encryption algorithms with their hash; none for PKCS#1 v1.5.
var oaep = map[string]func() hash.Hash{"RSA-OAEP": sha1.New, "RSA-OAEP-256": sha256.New, "RSA1_5": nil}

func encryptionKey(k privateKey, alg string) (*rsa.PrivateKey, func() hash.Hash, error) {
	h, ok := oaep[alg]
	key, isRSA := k.Signer.(*rsa.PrivateKey)
	if !ok || !isRSA {
		return nil, nil, badParameter("Algorithm %s does not fit the key.", printable(alg))
	}
	return key, h, nil
}

// encrypt encrypts, or wraps a key, which is the same.
func encrypt(k privateKey, alg string, plain []byte) ([]byte, error) {
	key, h, err := encryptionKey(k, alg)
	if err != nil {
		return nil, err
	}
	var out []byte
	if h == nil {
		//lint:ignore SA1019 RSA1_5 is what the client asked for, and Key Vault offers it.
		out, err = rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, plain)
	} else {
		out, err = rsa.EncryptOAEP(h(), rand.Reader, &key.PublicKey, plain, nil)
	}
	if err != nil {
		return nil, badParameter("The value is too long for %s with this key.", alg)
	}
	return out, nil
}

// decrypt decrypts, or unwraps a key.
func decrypt(k privateKey, alg string, sealed []byte) ([]byte, error) {
	key, h, err := encryptionKey(k, alg)
	if err != nil {
		return nil, err
	}
	var out []byte
	if h == nil {
		//lint:ignore SA1019 RSA1_5 is what the client asked for, and Key Vault offers it.
		out, err = rsa.DecryptPKCS1v15(rand.Reader, key, sealed)
	} else {
		out, err = rsa.DecryptOAEP(h(), nil, key, sealed, nil)
	}
	if err != nil {
		return nil, badParameter("The value cannot be decrypted under %s with this key.", alg)
	}
	return out, nil
}
