package token

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// Keys are the keys of the token service. The first signs, the second is the
// next to sign, those after it did; all are published and believed. Entra always
// publishes several, and rolls them without notice.
type Keys struct {
	mu   sync.RWMutex
	keys []key // never changed in place
}

type key struct {
	id   string // base64url SHA-1 of the certificate, which is kid and x5t alike
	cert []byte // DER
	key  *rsa.PrivateKey
}

// NewKeys makes the key that signs and one that is published and signs nothing
// yet.
func NewKeys() (*Keys, error) {
	k := &Keys{}
	for range 2 {
		one, err := newKey()
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, one)
	}
	return k, nil
}

func newKey() (key, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return key{}, fmt.Errorf("making a token signing key: %w", err)
	}
	now := time.Now()
	var serial [16]byte
	rand.Read(serial[:]) // crypto/rand never fails.
	serial[0] = serial[0]&0x3f | 0x40
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]),
		Subject:      pkix.Name{CommonName: "reeve emulated tenant, token signing"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return key{}, fmt.Errorf("making a token signing certificate: %w", err)
	}
	sum := sha1.Sum(der)
	return key{id: base64.RawURLEncoding.EncodeToString(sum[:]), cert: der, key: private}, nil
}

// mostKeys is how many keys are published: the oldest goes when there are more.
const mostKeys = 6

// Roll makes the next key sign, adds one to follow it, and forgets the one that
// signed when keep is false, as in an emergency: its tokens are refused from then
// on.
func (k *Keys) Roll(keep bool) error {
	next, err := newKey()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	rolled := []key{k.keys[1], next}
	if keep {
		rolled = append(rolled, k.keys[0])
	}
	rolled = append(rolled, k.keys[2:]...)
	k.keys = rolled[:min(len(rolled), mostKeys)]
	return nil
}

func (k *Keys) current() []key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys
}

// Sign returns the claims as a JWT under RS256. Tokens of version 1.0 name the
// key by x5t as well.
func (k *Keys) Sign(claims map[string]any) (string, error) {
	signer := k.current()[0]
	names := map[string]string{"typ": "JWT", "alg": "RS256", "kid": signer.id}
	if claims["ver"] != "2.0" {
		names["x5t"] = signer.id
	}
	header, err := json.Marshal(names)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, signer.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Verify checks the signature of a token of this service's own.
func (k *Keys) Verify(t JWT) error {
	alg, err := t.Header.Text("alg")
	if err != nil || alg != "RS256" {
		return errors.New("the access token is not signed with RS256")
	}
	kid, err := t.Header.Text("kid")
	if err != nil {
		return errors.New("the access token's kid is not a string")
	}
	for _, known := range k.current() {
		if known.id != kid {
			continue
		}
		digest := sha256.Sum256([]byte(t.Signed))
		if rsa.VerifyPKCS1v15(&known.key.PublicKey, crypto.SHA256, digest[:], t.Signature) != nil {
			return errors.New("the access token's signature is invalid")
		}
		return nil
	}
	return errors.New("the access token was signed by a key that is not this token service's")
}

// JWKS returns the published keys, as the members of a JSON Web Key Set.
func (k *Keys) JWKS(issuer, instance string) []map[string]any {
	var all []map[string]any
	for _, one := range k.current() {
		all = append(all, map[string]any{
			"kty": "RSA", "use": "sig", "kid": one.id, "x5t": one.id,
			"n": base64.RawURLEncoding.EncodeToString(one.key.N.Bytes()), "e": "AQAB",
			"x5c":                 []string{base64.StdEncoding.EncodeToString(one.cert)},
			"cloud_instance_name": instance, "issuer": issuer,
		})
	}
	return all
}
