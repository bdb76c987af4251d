package pki_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/golang-jwt/jwt/v5"

	"github.com/reeve365/reeve/internal/pki"
)

const (
	tenant   = "8f3c1f5e-0b3a-4c3e-9d51-2a4f0c7e6b10"
	clientID = "5b1f2f0e-7a52-4a2e-8a76-0d5c2b9f3e44"
	endpoint = "https://login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token"
)

// assertion is a valid one.
func assertion() pki.Assertion {
	return pki.Assertion{
		Algorithm: pki.PS256,
		Audience:  endpoint,
		ClientID:  clientID,
		ID:        "2f1c6f0a-5a41-4f4e-9a5e-3f6f1f0b7c21",
		NotBefore: now,
		Expires:   now.Add(10 * time.Minute),
	}
}

// rsaPair makes a pair with a chain.
func rsaPair(t testing.TB) pki.Pair {
	t.Helper()
	leaf, key, issuers := chain(t)
	return pki.Pair{Certificate: leaf, Chain: issuers, Key: key}
}

func signAssertion(t testing.TB, a pki.Assertion, p pki.Pair) string {
	t.Helper()
	s, err := a.Sign(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// segments decodes the header, the claims and the signature of a JWT.
func segments(t testing.TB, jwt string) (header, claims string, signature []byte) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			t.Fatal(err)
		}
	}
	return string(decoded[0]), string(decoded[1]), decoded[2]
}

func TestAssertion(t *testing.T) {
	pair := rsaPair(t)
	b64 := func(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }
	x5c := `"x5c":["` + b64(pair.Certificate) + `","` + b64(pair.Chain[0]) + `","` + b64(pair.Chain[1]) + `"],`
	for name, test := range map[string]struct {
		algorithm string
		sendChain bool
		header    string
	}{
		"PS256":            {pki.PS256, false, `{"alg":"PS256","typ":"JWT","x5t#S256":"` + pki.X5TS256(pair.Certificate) + `"}`},
		"RS256":            {pki.RS256, false, `{"alg":"RS256","typ":"JWT","x5t":"` + pki.X5T(pair.Certificate) + `"}`},
		"PS256 with chain": {pki.PS256, true, `{"alg":"PS256","typ":"JWT",` + x5c + `"x5t#S256":"` + pki.X5TS256(pair.Certificate) + `"}`},
		"RS256 with chain": {pki.RS256, true, `{"alg":"RS256","typ":"JWT",` + x5c + `"x5t":"` + pki.X5T(pair.Certificate) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			a := assertion()
			a.Algorithm, a.SendChain = test.algorithm, test.sendChain
			s := signAssertion(t, a, pair)
			header, claims, _ := segments(t, s)
			if header != test.header {
				t.Errorf("the header is %s, want %s", header, test.header)
			}
			want := `{"aud":"` + endpoint + `","exp":1795252200,"iss":"` + clientID + `","jti":"2f1c6f0a-5a41-4f4e-9a5e-3f6f1f0b7c21","nbf":1795251600,"sub":"` + clientID + `"}`
			if claims != want {
				t.Errorf("the claims are %s, want %s", claims, want)
			}
			_, err := jwt.Parse(s, func(*jwt.Token) (any, error) { return pair.Certificate.PublicKey, nil },
				jwt.WithValidMethods([]string{test.algorithm}), jwt.WithTimeFunc(func() time.Time { return now }))
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// capture answers MSAL as Entra ID would and keeps the assertion that it sent.
type capture struct{ assertion string }

func (c *capture) Do(r *http.Request) (*http.Response, error) {
	body := `{"token_type":"Bearer","expires_in":3599,"access_token":"token"}`
	switch {
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		issuer := "https://login.microsoftonline.com/" + tenant
		body = `{"issuer":"` + issuer + `/v2.0","authorization_endpoint":"` + issuer + `/oauth2/v2.0/authorize","token_endpoint":"` + endpoint + `"}`
	case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
		body = `{"tenant_discovery_endpoint":"https://login.microsoftonline.com/` + tenant + `/v2.0/.well-known/openid-configuration","metadata":[]}`
	case r.Body != nil:
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(data))
		if err != nil {
			return nil, err
		}
		c.assertion = form.Get("client_assertion")
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (c *capture) CloseIdleConnections() {}

// TestAssertionEqualsMSAL has MSAL Go sign one and makes the same one of its ID and
// times.
func TestAssertionEqualsMSAL(t *testing.T) {
	pair := rsaPair(t)
	certificates := append([]*x509.Certificate{pair.Certificate}, pair.Chain...)
	credential, err := confidential.NewCredFromCert(certificates, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string][]confidential.Option{"plain": nil, "with chain": {confidential.WithX5C()}} {
		t.Run(name, func(t *testing.T) {
			sent := &capture{}
			client, err := confidential.New("https://login.microsoftonline.com/"+tenant, clientID, credential,
				append(options, confidential.WithHTTPClient(sent), confidential.WithInstanceDiscovery(false))...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.AcquireTokenByCredential(context.Background(), []string{"https://graph.microsoft.com/.default"}); err != nil {
				t.Fatal(err)
			}
			theirHeader, theirClaims, _ := segments(t, sent.assertion)
			var claims struct {
				JTI      string
				NBF, EXP int64
			}
			if err := json.Unmarshal([]byte(theirClaims), &claims); err != nil {
				t.Fatal(err)
			}
			a := assertion()
			a.ID, a.NotBefore, a.Expires, a.SendChain = claims.JTI, time.Unix(claims.NBF, 0), time.Unix(claims.EXP, 0), len(options) > 0
			ours := signAssertion(t, a, pair)
			if got, want := strings.Split(ours, ".")[1], strings.Split(sent.assertion, ".")[1]; got != want {
				t.Errorf("the claims are %s, MSAL's %s", got, want)
			}
			// MSAL Go spells the thumbprint in padded base64.
			ourHeader, _, _ := segments(t, ours)
			raw, err := base64.RawURLEncoding.DecodeString(pki.X5TS256(pair.Certificate))
			if err != nil {
				t.Fatal(err)
			}
			ourHeader = strings.Replace(ourHeader, pki.X5TS256(pair.Certificate), base64.StdEncoding.EncodeToString(raw), 1)
			if ourHeader != theirHeader {
				t.Errorf("the header is %s, MSAL's %s", ourHeader, theirHeader)
			}
		})
	}
}

// TestAssertionByOpenSSL compares the signature with openssl's, or has it verified.
func TestAssertionByOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	pair := rsaPair(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	run := func(input string, args ...string) []byte {
		command := exec.Command(openssl, args...)
		command.Stdin = strings.NewReader(input)
		out, err := command.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v: %s", args[0], err, out)
		}
		return out
	}
	key := file("key.pem", keyPEM(t, pair.Key))
	public := file("public.pem", run(string(keyPEM(t, pair.Key)), "pkey", "-pubout"))

	a := assertion()
	a.Algorithm = pki.RS256
	s := signAssertion(t, a, pair)
	_, _, signature := segments(t, s)
	if want := run(s[:strings.LastIndex(s, ".")], "dgst", "-sha256", "-sign", key); !bytes.Equal(signature, want) {
		t.Error("RS256: openssl signs otherwise")
	}

	s = signAssertion(t, assertion(), pair)
	_, _, signature = segments(t, s)
	out := run(s[:strings.LastIndex(s, ".")], "dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32",
		"-verify", public, "-signature", file("signature", signature))
	if !strings.Contains(string(out), "Verified OK") {
		t.Errorf("PS256: openssl says %s", out)
	}
}

// vaultKey is a key in a vault: it signs the digests that it is sent and tells the
// public key that it is said to have.
type vaultKey struct {
	public crypto.PublicKey
	key    *rsa.PrivateKey
	err    error
}

func (k vaultKey) Public() crypto.PublicKey { return k.public }

func (k vaultKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.err != nil || len(digest) != sha256.Size {
		return nil, k.err
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		if pss.SaltLength != rsa.PSSSaltLengthEqualsHash {
			return nil, errors.New("vaults salt with as many bytes as the hash has")
		}
		return rsa.SignPSS(rand.Reader, k.key, pss.Hash, digest, pss)
	}
	return rsa.SignPKCS1v15(nil, k.key, opts.HashFunc(), digest)
}

func TestAssertionByKeyInVault(t *testing.T) {
	pair := rsaPair(t)
	key := pair.Key.(*rsa.PrivateKey)
	for _, algorithm := range []string{pki.PS256, pki.RS256} {
		a := assertion()
		a.Algorithm = algorithm
		pair.Key = vaultKey{key.Public(), key, nil}
		signAssertion(t, a, pair)

		// The vault has a newer version of the key than was believed.
		pair.Key = vaultKey{key.Public(), rsaKey(t, "newer", 2048), nil}
		_, err := a.Sign(pair)
		wantProblem(t, err, "does not fit certificate")

		closed := errors.New("the vault is closed")
		pair.Key = vaultKey{key.Public(), key, closed}
		if _, err := a.Sign(pair); !errors.Is(err, closed) {
			t.Errorf("got %v, want the vault's own error", err)
		}
	}
}

// unused is a key that must not sign.
type unused struct {
	crypto.Signer
	t *testing.T
}

func (k unused) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	k.t.Error("the key signed")
	return nil, errors.New("signed")
}

func TestAssertionRefuses(t *testing.T) {
	pair := rsaPair(t)
	ec := selfSigned(t, ecKey(t), template(t, "ec"))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small := rsaKey(t, "small", 1024)
	for name, test := range map[string]struct {
		pair   pki.Pair
		change func(*pki.Assertion)
		want   string
	}{
		"EC":             {ec, nil, "EC key (P-256), and Entra ID accepts only RSA"},
		"Ed25519":        {pki.Pair{Certificate: issue(t, "ed", ed, nil, nil), Key: ed}, nil, "Ed25519 key"},
		"small":          {pki.Pair{Certificate: issue(t, "small", small, nil, nil), Key: small}, nil, "1024 bits"},
		"EC key":         {pki.Pair{Certificate: pair.Certificate, Key: ec.Key}, nil, "does not belong"},
		"foreign key":    {pki.Pair{Certificate: pair.Certificate, Key: rsaKey(t, "other", 2048)}, nil, "does not belong"},
		"no key":         {pki.Pair{Certificate: pair.Certificate}, nil, "no private key"},
		"no certificate": {pki.Pair{Key: pair.Key}, nil, "no certificate"},
		"algorithm":      {pair, func(a *pki.Assertion) { a.Algorithm = "ES256" }, `not signed by "ES256"`},
		"no algorithm":   {pair, func(a *pki.Assertion) { a.Algorithm = "" }, "PS256"},
		"no audience":    {pair, func(a *pki.Assertion) { a.Audience = "" }, "no audience"},
		"no client ID":   {pair, func(a *pki.Assertion) { a.ClientID = " " }, "no client ID"},
		"no ID":          {pair, func(a *pki.Assertion) { a.ID = "" }, "no ID (jti)"},
		"no times":       {pair, func(a *pki.Assertion) { a.NotBefore = time.Time{} }, "no times"},
		"backwards":      {pair, func(a *pki.Assertion) { a.Expires = a.NotBefore }, "before it begins"},
		"too long":       {pair, func(a *pki.Assertion) { a.Expires = a.Expires.Add(time.Second) }, "more than 10 minutes"},
	} {
		t.Run(name, func(t *testing.T) {
			a := assertion()
			if test.change != nil {
				test.change(&a)
			}
			if test.pair.Key != nil {
				test.pair.Key = unused{test.pair.Key, t}
			}
			_, err := a.Sign(test.pair)
			wantProblem(t, err, test.want)
		})
	}
}
