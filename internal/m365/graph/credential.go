package graph

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

// Type and usage of the key credentials that an application signs in with.
const (
	TypeCertificate = "AsymmetricX509Cert"
	UsageVerify     = "Verify"
)

// KeyCredential is a certificate, or another key, as Entra ID holds it. It holds
// nothing secret.
//
// One that was read keeps what Graph wrote, members that are not known here included.
// That is its JSON, and that is sent back by [Client.SetKeys], because Graph refuses
// a list in which one that is there reads differently. So its fields are for reading:
// changing them changes nothing at Entra ID.
type KeyCredential struct {
	KeyID string
	Name  string
	Type  string // AsymmetricX509Cert, X509CertAndPassword, Symmetric
	Usage string // Verify, Sign

	// Identifier is what the customKeyIdentifier stands for: the thumbprint in one
	// of several spellings, or what whoever uploaded it liked.
	Identifier []byte

	Start, End time.Time

	// Key is the DER of the public certificate; nil where Graph did not send it, as
	// it never does in listings.
	Key []byte

	raw json.RawMessage // as Graph wrote it; nil for a new one
}

// Password is a client secret as Entra ID shows it, without the secret.
type Password struct {
	KeyID string    `json:"keyId"`
	Name  string    `json:"displayName"`
	Hint  string    `json:"hint"` // the first characters of the secret
	Start time.Time `json:"startDateTime"`
	End   time.Time `json:"endDateTime"`
}

// NewKey returns the key credential that [Client.SetKeys] registers for a
// certificate under a key ID of the caller's choosing, by which it is found again.
func NewKey(cert *x509.Certificate, keyID string) KeyCredential {
	return KeyCredential{
		KeyID: keyID,
		Type:  TypeCertificate,
		Usage: UsageVerify,
		Start: cert.NotBefore.UTC(),
		End:   cert.NotAfter.UTC(),
		Key:   cert.Raw,
	}
}

// AsNew returns the key credential as one that is not at Entra ID (any more), to be
// registered again by [Client.SetKeys] under its key ID. It needs its Key.
func (k KeyCredential) AsNew() KeyCredential {
	k.raw = nil
	return k
}

// IsFor reports whether the key credential is the certificate's: by its Key if that
// is there, and else by its identifier, if that is a thumbprint in one of the
// spellings in use. An identifier that is none says nothing, so that false is not a
// proof without a Key.
func (k KeyCredential) IsFor(cert *x509.Certificate) bool {
	if der := certificateIn(k.Key); der != nil {
		return bytes.Equal(der, cert.Raw)
	}
	sum := sha1.Sum(cert.Raw)
	id := string(k.Identifier)
	// The identifier is binary, and so base64 in JSON. Tools put in the thumbprint
	// itself; or 40 digits that are then taken for base64, of 30 bytes; or a text.
	for _, digits := range []string{hex.EncodeToString(k.Identifier), base64.StdEncoding.EncodeToString(k.Identifier), id} {
		if strings.EqualFold(digits, hex.EncodeToString(sum[:])) {
			return true
		}
	}
	decoded, err := decodeBase64(id)
	return err == nil && bytes.Equal(decoded, sum[:])
}

// certificateIn returns the DER of the certificate that a key is, or nil. Some tools
// upload the text of a PEM file.
func certificateIn(key []byte) []byte {
	if block, _ := pem.Decode(key); block != nil {
		key = block.Bytes
	}
	if c, err := x509.ParseCertificate(key); err == nil {
		return c.Raw
	}
	return nil
}

// keyJSON is the documented members of a key credential.
type keyJSON struct {
	KeyID      string     `json:"keyId,omitempty"`
	Name       *string    `json:"displayName,omitempty"`
	Type       string     `json:"type"`
	Usage      string     `json:"usage"`
	Identifier string     `json:"customKeyIdentifier,omitempty"`
	Start      *time.Time `json:"startDateTime,omitempty"`
	End        *time.Time `json:"endDateTime,omitempty"`
	Key        string     `json:"key,omitempty"`
}

// UnmarshalJSON reads a key credential as Graph writes it.
func (k *KeyCredential) UnmarshalJSON(data []byte) error {
	var w keyJSON
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	key, err := decodeBase64(w.Key)
	if err != nil {
		return fmt.Errorf("the key of key credential %.60q is not base64", w.KeyID)
	}
	*k = KeyCredential{KeyID: w.KeyID, Type: w.Type, Usage: w.Usage, raw: bytes.Clone(data)}
	if len(key) > 0 {
		k.Key = key
	}
	if k.Identifier, err = decodeBase64(w.Identifier); err != nil {
		k.Identifier = []byte(w.Identifier)
	}
	if w.Name != nil {
		k.Name = *w.Name
	}
	if w.Start != nil {
		k.Start = w.Start.UTC()
	}
	if w.End != nil {
		k.End = w.End.UTC()
	}
	return nil
}

// MarshalJSON writes what Graph wrote, or what a new key credential is.
func (k KeyCredential) MarshalJSON() ([]byte, error) {
	if k.raw != nil {
		return k.raw, nil
	}
	w := keyJSON{
		KeyID: k.KeyID, Type: k.Type, Usage: k.Usage,
		Identifier: base64.StdEncoding.EncodeToString(k.Identifier),
		Key:        base64.StdEncoding.EncodeToString(k.Key),
	}
	if k.Name != "" {
		w.Name = &k.Name
	}
	if !k.Start.IsZero() {
		w.Start = &k.Start
	}
	if !k.End.IsZero() {
		w.End = &k.End
	}
	return json.Marshal(w)
}

// sent is the key credential as a list names it. Of one that is there the certificate
// is left out, which leaves it as it is; and if it was removed meanwhile, Graph then
// refuses the list instead of bringing it back.
func (k KeyCredential) sent() (any, error) {
	if k.raw == nil {
		return k, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(k.raw, &members); err != nil {
		return nil, err
	}
	members["key"] = json.RawMessage("null")
	return members, nil
}

// decodeBase64 reads base64 in either alphabet, padded or not.
func decodeBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.DecodeString(s)
}
