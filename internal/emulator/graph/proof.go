package graph

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/token"
)

const (
	// proofLifetime is the most that may lie between nbf and exp of a proof.
	proofLifetime = 10 * time.Minute
	// proofSkew is how far ahead a client's clock may be. [K]
	proofSkew = 5 * time.Minute
)

// checkProof checks the proof of addKey and removeKey: a JWT by which the caller
// shows that it holds the private key of a certificate that is registered with
// the object, and valid, now. objectID is the object's id, not its client ID.
// Graph says nothing of what is wrong with a proof
// (learn.microsoft.com/graph/application-rollkey-prooftoken).
func checkProof(proof, objectID string, keys []directory.KeyCredential, now time.Time) *graphError {
	t, err := token.Parse(proof)
	if err == nil {
		err = checkProofClaims(t.Claims, objectID, now)
	}
	if err == nil {
		err = checkProofSignature(t, keys, now)
	}
	if err != nil {
		return refusal(http.StatusUnauthorized, "Authentication_MissingOrMalformed", "Access Token missing or malformed.")
	}
	return nil
}

func checkProofClaims(claims token.Members, objectID string, now time.Time) error {
	audience, err := claims.Text("aud")
	if err != nil {
		return err
	}
	issuer, err := claims.Text("iss")
	if err != nil {
		return err
	}
	from, hasFrom, err := claims.Date("nbf")
	if err != nil {
		return err
	}
	until, hasUntil, err := claims.Date("exp")
	if err != nil {
		return err
	}
	switch {
	case audience != directory.AADGraph:
		return errors.New("its audience is not the directory")
	case !strings.EqualFold(issuer, objectID):
		return errors.New("its issuer is not the object")
	case !hasFrom || !hasUntil:
		return errors.New("it lacks nbf or exp")
	case until.Sub(from) > proofLifetime:
		return errors.New("it is valid for too long")
	case now.Before(from.Add(-proofSkew)) || !now.Before(until):
		return errors.New("it is not valid now")
	}
	return nil
}

// checkProofSignature looks for the certificate whose key signed. The documented
// sample signs with RS256 and names the certificate by x5t; a proof that names
// none is tried with all. [K]
func checkProofSignature(t token.JWT, keys []directory.KeyCredential, now time.Time) error {
	alg, err := t.Header.Text("alg")
	if err != nil || alg != "RS256" {
		return errors.New("it is not signed with RS256")
	}
	named, err := t.Header.Text("x5t")
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(t.Signed))
	if slices.ContainsFunc(keys, func(k directory.KeyCredential) bool {
		if now.Before(k.StartDateTime) || !now.Before(k.EndDateTime) ||
			named != "" && named != base64.RawURLEncoding.EncodeToString(directory.Thumbprint(k.Key)) {
			return false
		}
		c, err := x509.ParseCertificate(k.Key)
		if err != nil {
			return false
		}
		key, ok := c.PublicKey.(*rsa.PublicKey)
		return ok && rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.Signature) == nil
	}) {
		return nil
	}
	return errors.New("no valid certificate of the object signed it")
}
