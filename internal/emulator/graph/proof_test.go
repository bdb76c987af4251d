package graph

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

const objectID = "aaaaaaaa-0000-4000-8000-000000000001"

// proofClaims are those of a good proof at noon, with some changed; nil leaves
// one out.
func proofClaims(changed members) members {
	claims := members{
		"aud": "00000002-0000-0000-c000-000000000000", "iss": objectID,
		"nbf": noon.Unix(), "exp": noon.Add(10 * time.Minute).Unix(),
	}
	for name, v := range changed {
		if claims[name] = v; v == nil {
			delete(claims, name)
		}
	}
	return claims
}

func signProof(t testing.TB, header, claims members, key *rsa.PrivateKey) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	return signText(t, encode(asJSON(t, header))+"."+encode(asJSON(t, claims)), header["alg"] == "PS256", key)
}

func signText(t testing.TB, signed string, pss bool, key *rsa.PrivateKey) string {
	t.Helper()
	digest := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	if pss {
		signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil)
	} else {
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// registered is an object's keys: an elliptic-curve certificate, and one for
// newRSA.
func registered(t testing.TB) []directory.KeyCredential {
	t.Helper()
	return mustPatch(t, nil, uploaded(certificate(t, "other"), nil),
		uploaded(issue(t, "signer", newRSA(), noon, nextYear, nil, nil), nil))
}

func TestProof(t *testing.T) {
	keys := registered(t)
	x5t := base64.RawURLEncoding.EncodeToString(directory.Thumbprint(keys[1].Key))
	rs256 := members{"alg": "RS256", "typ": "JWT"}
	named := members{"alg": "RS256", "typ": "JWT", "x5t": x5t, "kid": strings.ToUpper(x5t)}
	for name, proof := range map[string]string{
		"sample":               signProof(t, named, proofClaims(nil), newRSA()),
		"names no certificate": signProof(t, rs256, proofClaims(nil), newRSA()),
		"issuer in capitals":   signProof(t, rs256, proofClaims(members{"iss": strings.ToUpper(objectID)}), newRSA()),
		"clock a bit ahead":    signProof(t, rs256, proofClaims(members{"nbf": noon.Unix() + 299, "exp": noon.Unix() + 899}), newRSA()),
		"last second":          signProof(t, rs256, proofClaims(members{"nbf": noon.Unix() - 599, "exp": noon.Unix() + 1}), newRSA()),
	} {
		if err := checkProof(proof, objectID, keys, noon); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProofIsRefused(t *testing.T) {
	keys := registered(t)
	good := func(changed members) string {
		return signProof(t, members{"alg": "RS256"}, proofClaims(changed), newRSA())
	}
	parts := strings.Split(good(nil), ".")
	header := base64.URLEncoding.EncodeToString(asJSON(t, members{"alg": "RS256", "x": "1"}))
	claims := base64.URLEncoding.EncodeToString(asJSON(t, proofClaims(members{"x": "1"})))
	if !strings.HasSuffix(header, "=") || !strings.HasSuffix(claims, "=") || len(parts[2])%4 == 0 {
		t.Fatalf("there is no padding to test with in %s, %s, %s", header, claims, parts[2])
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	otherX5t := base64.RawURLEncoding.EncodeToString(directory.Thumbprint(keys[0].Key))
	for name, proof := range map[string]string{
		"unsigned":                     parts[0] + "." + parts[1] + ".",
		"empty":                        "",
		"two parts":                    parts[0] + "." + parts[1],
		"padded signature":             good(nil) + strings.Repeat("=", 4-len(parts[2])%4),
		"padded header":                signText(t, header+"."+parts[1], false, newRSA()),
		"padded claims":                signText(t, parts[0]+"."+claims, false, newRSA()),
		"claims are no object":         parts[0] + ".W10." + parts[2],
		"no audience":                  good(members{"aud": nil}),
		"audience is Graph":            good(members{"aud": "00000003-0000-0000-c000-000000000000"}),
		"audience is a list":           good(members{"aud": []string{"00000002-0000-0000-c000-000000000000"}}),
		"issuer is the client ID":      good(members{"iss": "bbbbbbbb-0000-4000-8000-000000000002"}),
		"no issuer":                    good(members{"iss": nil}),
		"issuer no string":             good(members{"iss": 1}),
		"no nbf":                       good(members{"nbf": nil}),
		"no exp":                       good(members{"exp": nil}),
		"exp a string":                 good(members{"exp": "soon"}),
		"nbf a string":                 good(members{"nbf": "now"}),
		"valid for too long":           good(members{"exp": noon.Unix() + 601}),
		"expired":                      good(members{"nbf": noon.Unix() - 600, "exp": noon.Unix()}),
		"local time instead of UTC":    good(members{"nbf": noon.Unix() + 3600, "exp": noon.Unix() + 4200}),
		"PS256":                        signProof(t, members{"alg": "PS256"}, proofClaims(nil), newRSA()),
		"RS512":                        signProof(t, members{"alg": "RS512"}, proofClaims(nil), newRSA()),
		"no algorithm":                 signProof(t, members{}, proofClaims(nil), newRSA()),
		"none":                         signProof(t, members{"alg": "none"}, proofClaims(nil), newRSA()),
		"another key":                  signProof(t, members{"alg": "RS256"}, proofClaims(nil), stranger),
		"names another certificate":    signProof(t, members{"alg": "RS256", "x5t": otherX5t}, proofClaims(nil), newRSA()),
		"x5t no string":                signProof(t, members{"alg": "RS256", "x5t": 1}, proofClaims(nil), newRSA()),
		"claims changed after signing": parts[0] + "." + base64.RawURLEncoding.EncodeToString(asJSON(t, proofClaims(members{"jti": "x"}))) + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, checkProof(proof, objectID, keys, noon), http.StatusUnauthorized, "Authentication_MissingOrMalformed", "Access Token missing or malformed.")
		})
	}
	if err := checkProof(good(nil), objectID, keys, noon); err != nil {
		t.Errorf("the proof that the others were made from is refused: %v", err)
	}
}

func TestProofNeedsAValidCertificate(t *testing.T) {
	proofAt := func(now time.Time) string {
		return signProof(t, members{"alg": "RS256"}, proofClaims(members{"nbf": now.Unix(), "exp": now.Unix() + 600}), newRSA())
	}
	keys := registered(t)
	for name, c := range map[string]struct {
		keys []directory.KeyCredential
		now  time.Time
	}{
		"none registered": {nil, noon},
		"not valid yet":   {keys, noon.Add(-time.Second)},
		"expired":         {keys, nextYear},
		"a shorter end":   {mustPatch(t, nil, uploaded(keys[1].Key, members{"endDateTime": "2026-12-01T00:00:00Z"})), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
	} {
		wantRefusal(t, checkProof(proofAt(c.now), objectID, c.keys, c.now), http.StatusUnauthorized, "Authentication_MissingOrMalformed", "")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	last := nextYear.Add(-time.Second)
	if err := checkProof(proofAt(last), objectID, keys, last); err != nil {
		t.Errorf("in the certificate's last second: %v", err)
	}
}

func FuzzCheckProof(f *testing.F) {
	keys := registered(f)
	good := signProof(f, members{"alg": "RS256"}, proofClaims(nil), newRSA())
	f.Add(good)
	f.Add(signProof(f, members{"alg": "RS256", "x5t": "AAAA"}, proofClaims(members{"exp": 1e300}), newRSA()))
	f.Add("e30.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, proof string) {
		// The signature decides, so that only the signed text itself can pass.
		err := checkProof(proof, objectID, keys, noon)
		if err == nil && proof != good {
			t.Fatalf("accepted %q", proof)
		}
		if err != nil && (err.Status != http.StatusUnauthorized || err.Code != "Authentication_MissingOrMalformed") {
			t.Fatalf("refused with %v", err)
		}
	})
}
