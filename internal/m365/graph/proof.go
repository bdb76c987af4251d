package graph

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// proofAudience is the old directory service, to which Graph passes a proof.
const proofAudience = "00000002-0000-0000-c000-000000000000"

// A proof is valid from a little before its use to a little after; 10 minutes are
// the most that Graph takes.
const (
	proofBefore = time.Minute
	proofAfter  = 5 * time.Minute
)

// KeyProof returns the proof of possession that [Client.AddKey] and
// [Client.RemoveKey] ask for: a JWT by which the pair says that it is the
// application's, whose object ID, not client ID, it names
// (learn.microsoft.com/graph/application-rollkey-prooftoken). The certificate must be
// registered and valid; now is Entra ID's time as far as that is known. It is a secret
// while it is good.
//
// The header is that of Microsoft's sample, which names the certificate twice.
func KeyProof(pair pki.Pair, objectID string, now time.Time) (string, error) {
	op := "signing a proof for application " + objectID
	if err := checkID(op, "object ID", objectID); err != nil {
		return "", err
	}
	if err := pair.CheckKey(); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	var input string
	for _, part := range []any{
		struct {
			Algorithm string `json:"alg"`
			KeyID     string `json:"kid"`
			Type      string `json:"typ"`
			X5T       string `json:"x5t"`
		}{pki.RS256, pki.SHA1(pair.Certificate), "JWT", pki.X5T(pair.Certificate)},
		struct {
			Audience  string `json:"aud"`
			Expires   int64  `json:"exp"`
			Issuer    string `json:"iss"`
			NotBefore int64  `json:"nbf"`
		}{proofAudience, now.Add(proofAfter).Unix(), objectID, now.Add(-proofBefore).Unix()},
	} {
		data, err := json.Marshal(part)
		if err != nil {
			return "", fmt.Errorf("%s: %w", op, err)
		}
		if input != "" {
			input += "."
		}
		input += base64.RawURLEncoding.EncodeToString(data)
	}
	digest := sha256.Sum256([]byte(input))
	signature, err := pair.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	// A key that stands for one elsewhere may have been changed there. CheckKey has
	// seen that it is an RSA key.
	pub, ok := pair.Certificate.PublicKey.(*rsa.PublicKey)
	if !ok || rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], signature) != nil {
		return "", fmt.Errorf("%s: what the private key signed does not fit certificate %v: use the key, or the version of it in the vault, that belongs to the certificate", op, pair)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
