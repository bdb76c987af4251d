package keyvault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// A backup is an object with all its versions, sealed so that only the vault
// that made it can read it. A real one can be restored in other vaults of the
// same subscription and geography, too.

func (s *state) sealer() (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.Seal)
	if err != nil {
		return nil, fmt.Errorf("preparing to seal a backup: %w", err)
	}
	return cipher.NewGCM(block)
}

func (s *state) seal(k kind, object any) (string, error) {
	plain, err := json.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("writing a backup: %w", err)
	}
	sealer, err := s.sealer()
	if err != nil {
		return "", err
	}
	nonce := make([]byte, sealer.NonceSize())
	rand.Read(nonce) // crypto/rand never fails.
	return base64.RawURLEncoding.EncodeToString(sealer.Seal(nonce, nonce, plain, []byte(k))), nil
}

func (s *state) unseal(k kind, text string, object any) error {
	bad := badParameter("Property value is not a backup of a %s of this vault.", k.lower())
	sealer, err := s.sealer()
	if err != nil {
		return err
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < sealer.NonceSize() {
		return bad
	}
	plain, err := sealer.Open(nil, b[:sealer.NonceSize()], b[sealer.NonceSize():], []byte(k))
	if err != nil {
		return bad
	}
	if err := json.Unmarshal(plain, object); err != nil {
		return bad
	}
	return nil
}

// backup seals a plain object; what belongs to a certificate is in the backup of
// the certificate.
func (v *Vault) backup(k kind, name string) (string, error) {
	now, unlock := v.lock()
	defer unlock()
	s := &v.state
	var object any
	switch k {
	case certificateKind:
		c := s.Certificates.look(name, now)
		if c == nil || len(c.Versions) == 0 {
			return "", k.notFound(name)
		}
		object = &certificate{Name: c.Name, Versions: c.Versions, Policy: c.Policy}
	case secretKind:
		if found := s.Secrets.look(name, now); found != nil {
			object = found
		}
	case keyKind:
		if found := s.Keys.look(name, now); found != nil {
			object = found
		}
	}
	if object == nil {
		if s.Certificates.look(name, now) != nil {
			return "", k.managed(name)
		}
		return "", k.notFound(name)
	}
	return s.seal(k, object)
}

// restorable refuses to restore over something that exists.
func (s *state) restorable(k kind, name string, now time.Time) error {
	at := fold(name)
	taken := s.Certificates.Live[at] != nil
	if k != keyKind {
		taken = taken || s.Secrets.Live[at] != nil
	}
	if k != secretKind {
		taken = taken || s.Keys.Live[at] != nil
	}
	if taken {
		return conflict("", "The %s %s already exists in the vault and cannot be restored.", k.lower(), name)
	}
	if k == certificateKind {
		return s.freeForCertificate(name, now)
	}
	return s.freeForPlain(k, name, now)
}

func (v *Vault) restoreCertificate(text string) (certificateView, error) {
	now, unlock := v.lock()
	defer unlock()
	c := &certificate{}
	if err := v.state.unseal(certificateKind, text, c); err != nil {
		return certificateView{}, err
	}
	if err := v.state.restorable(certificateKind, c.Name, now); err != nil {
		return certificateView{}, err
	}
	v.state.Certificates.Live[fold(c.Name)] = c
	return c.view(pick(c.Versions, "")), nil
}

func (v *Vault) restoreSecret(text string) (secretView, error) {
	now, unlock := v.lock()
	defer unlock()
	s := &secret{}
	if err := v.state.unseal(secretKind, text, s); err != nil {
		return secretView{}, err
	}
	if err := v.state.restorable(secretKind, s.Name, now); err != nil {
		return secretView{}, err
	}
	v.state.Secrets.Live[fold(s.Name)] = s
	return s.view(pick(s.Versions, "")), nil
}

func (v *Vault) restoreKey(text string) (keyView, error) {
	now, unlock := v.lock()
	defer unlock()
	k := &key{}
	if err := v.state.unseal(keyKind, text, k); err != nil {
		return keyView{}, err
	}
	if err := v.state.restorable(keyKind, k.Name, now); err != nil {
		return keyView{}, err
	}
	v.state.Keys.Live[fold(k.Name)] = k
	return keyView{k.Name, *pick(k.Versions, "")}, nil
}
