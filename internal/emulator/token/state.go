package token

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// keyState is one key as Snapshot writes it.
type keyState struct {
	Certificate []byte `json:"certificate"` // DER
	Key         []byte `json:"key"`         // PKCS #8
}

// Snapshot returns the keys, private ones, as JSON.
func (k *Keys) Snapshot() ([]byte, error) {
	var state []keyState
	for _, one := range k.current() {
		private, err := x509.MarshalPKCS8PrivateKey(one.key)
		if err != nil {
			return nil, fmt.Errorf("keeping the token signing keys: %w", err)
		}
		state = append(state, keyState{one.cert, private})
	}
	return json.Marshal(state)
}

// RestoreKeys returns the keys of a snapshot.
func RestoreKeys(snapshot []byte) (*Keys, error) {
	var state []keyState
	if err := json.Unmarshal(snapshot, &state); err != nil {
		return nil, fmt.Errorf("restoring the token signing keys: %w", err)
	}
	if len(state) < 2 {
		return nil, errors.New("restoring the token signing keys: there must be one that signs and one that follows it")
	}
	k := &Keys{}
	for _, s := range state {
		certificate, err := x509.ParseCertificate(s.Certificate)
		if err != nil {
			return nil, fmt.Errorf("restoring a token signing certificate: %w", err)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(s.Key)
		if err != nil {
			return nil, fmt.Errorf("restoring a token signing key: %w", err)
		}
		private, ok := parsed.(*rsa.PrivateKey)
		if !ok || !private.PublicKey.Equal(certificate.PublicKey) {
			return nil, errors.New("restoring a token signing key: it is not that of its certificate")
		}
		sum := sha1.Sum(certificate.Raw)
		k.keys = append(k.keys, key{id: base64.RawURLEncoding.EncodeToString(sum[:]), cert: certificate.Raw, key: private})
	}
	return k, nil
}
