package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Algorithms of an [Assertion].
const (
	PS256 = "PS256" // what Entra ID documents; with x5t#S256
	RS256 = "RS256" // for AD FS and others that know nothing newer; with x5t
)

// maxAssertion is how long an assertion may be good: what MSAL takes and Microsoft
// recommends at most (learn.microsoft.com/entra/identity-platform/certificate-credentials),
// and the limit for a proof of possession (learn.microsoft.com/graph/application-rollkey-prooftoken).
const maxAssertion = 10 * time.Minute

// Assertion is what a client says to Entra ID to prove who it is
// (learn.microsoft.com/entra/identity-platform/certificate-credentials). By RS256 it is
// also the proof of possession that Graph's addKey and removeKey ask for
// (learn.microsoft.com/graph/application-rollkey-prooftoken).
type Assertion struct {
	Algorithm string // "PS256" or "RS256"
	Audience  string // the address of the token endpoint
	ClientID  string // iss and sub; in a proof for Graph's addKey the object ID
	ID        string // jti
	NotBefore time.Time
	Expires   time.Time
	SendChain bool // as x5c
}

// The claims and the header are written in the order and the form of MSAL Go, which
// sorts them; MSAL for Python and for Node write the same ones in other orders, and
// iat besides. In one thing reeve differs from MSAL Go: thumbprints are base64url, as
// RFC 7515 4.1.7 has it, where MSAL Go writes padded base64. Entra ID takes both.
type (
	assertionHeader struct {
		Algorithm string   `json:"alg"`
		Type      string   `json:"typ"`
		X5C       [][]byte `json:"x5c,omitempty"` // base64, not base64url (RFC 7515 4.1.6)
		X5T       string   `json:"x5t,omitempty"`
		X5TS256   string   `json:"x5t#S256,omitempty"`
	}
	assertionClaims struct {
		Audience  string `json:"aud"`
		Expires   int64  `json:"exp"`
		Issuer    string `json:"iss"`
		ID        string `json:"jti"`
		NotBefore int64  `json:"nbf"`
		Subject   string `json:"sub"`
	}
)

// Sign returns the assertion as a JWT, signed by the pair's key, which may stand for
// one in a vault. Its errors are [*Problem], or the key's own.
func (a Assertion) Sign(p Pair) (string, error) {
	if err := a.check(); err != nil {
		return "", err
	}
	if err := p.CheckKey(); err != nil {
		return "", err
	}
	header := assertionHeader{Algorithm: a.Algorithm, Type: "JWT"}
	if a.Algorithm == RS256 {
		header.X5T = X5T(p.Certificate)
	} else {
		header.X5TS256 = X5TS256(p.Certificate)
	}
	if a.SendChain {
		header.X5C = append(header.X5C, p.Certificate.Raw)
		for _, c := range p.Chain {
			header.X5C = append(header.X5C, c.Raw)
		}
	}
	input, err := signingInput(header, assertionClaims{
		Audience:  a.Audience,
		Expires:   a.Expires.Unix(),
		Issuer:    a.ClientID,
		ID:        a.ID,
		NotBefore: a.NotBefore.Unix(),
		Subject:   a.ClientID,
	})
	if err != nil {
		return "", err
	}
	signature, err := p.signDigest(a.Algorithm, sha256.Sum256([]byte(input)))
	if err != nil {
		return "", err
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// check reports what is missing or wrong in the assertion.
func (a Assertion) check() error {
	missing := func(what string) error {
		return &Problem{"the assertion has no " + what, "give it"}
	}
	switch {
	case a.Algorithm != PS256 && a.Algorithm != RS256:
		return &Problem{fmt.Sprintf("assertions are not signed by %.20q", a.Algorithm), "use PS256, or RS256 for AD FS"}
	case strings.TrimSpace(a.Audience) == "":
		return missing("audience, the address of the token endpoint")
	case strings.TrimSpace(a.ClientID) == "":
		return missing("client ID")
	case strings.TrimSpace(a.ID) == "":
		return missing("ID (jti)")
	case a.NotBefore.IsZero() || a.Expires.IsZero():
		return missing("times")
	case !a.Expires.After(a.NotBefore):
		return &Problem{fmt.Sprintf("the assertion would expire (%s) before it begins (%s)", utc(a.Expires), utc(a.NotBefore)), "let it expire later"}
	case a.Expires.Sub(a.NotBefore) > maxAssertion:
		return &Problem{fmt.Sprintf("the assertion would be good for more than %d minutes", maxAssertion/time.Minute), "let it expire earlier: one is made for each use"}
	}
	return nil
}

// signingInput is the header and the claims of a JWT as they are signed.
func signingInput(header assertionHeader, claims assertionClaims) (string, error) {
	var parts []string
	for _, part := range []any{header, claims} {
		data, err := json.Marshal(part)
		if err != nil {
			return "", fmt.Errorf("encoding the assertion: %w", err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(data))
	}
	return strings.Join(parts, "."), nil
}

// signDigest signs, and verifies by the certificate: a key that only stands for one
// elsewhere may have been changed there.
func (p Pair) signDigest(algorithm string, digest [sha256.Size]byte) ([]byte, error) {
	pub, ok := p.Certificate.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, checkEntraKey(p)
	}
	var opts crypto.SignerOpts = crypto.SHA256
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	if algorithm == PS256 {
		opts = pss
	}
	signature, err := p.Key.Sign(rand.Reader, digest[:], opts)
	if err != nil {
		return nil, fmt.Errorf("signing with the key of certificate %v: %w", p, err)
	}
	if algorithm == PS256 {
		err = rsa.VerifyPSS(pub, crypto.SHA256, digest[:], signature, pss)
	} else {
		err = rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], signature)
	}
	if err != nil {
		return nil, &Problem{fmt.Sprintf("what the private key signed does not fit certificate %v", p), "use the key, or the version of it in the vault, that belongs to the certificate"}
	}
	return signature, nil
}
