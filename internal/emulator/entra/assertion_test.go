package entra_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// assertion is a client assertion that a test spoils in one way.
type assertion struct {
	header, claims map[string]any
	key            *rsa.PrivateKey
	pss            bool // sign with PSS whatever alg says
	hmac           bool
	padded         bool   // write the parts with padding
	spoil          string // appended to the finished JWT
}

// goodAssertion is what MSAL for Go sends: PS256, the thumbprint in padded
// standard base64, no iat.
func (w *world) goodAssertion() *assertion {
	sum := sha256.Sum256(w.cert.Raw)
	now := w.Now()
	return &assertion{
		header: map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.StdEncoding.EncodeToString(sum[:])},
		claims: map[string]any{
			"aud": w.host + w.v2("token"),
			"iss": w.app.AppID, "sub": w.app.AppID, "jti": uuid.NewString(),
			"nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		},
		key: w.key, pss: true,
	}
}

// named replaces how the header names the certificate.
func (a *assertion) named(header map[string]any) {
	delete(a.header, "x5t#S256")
	maps.Copy(a.header, header)
}

func (a *assertion) mustSign(t testing.TB) string {
	t.Helper()
	encoding := base64.RawURLEncoding
	if a.padded {
		encoding = base64.URLEncoding
	}
	var parts []string
	for _, part := range []any{a.header, a.claims} {
		b, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		for a.padded && len(b)%3 == 0 {
			b = append(b, ' ')
		}
		parts = append(parts, encoding.EncodeToString(b))
	}
	signed := strings.Join(parts, ".")
	digest := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	switch {
	case a.hmac:
		mac := hmac.New(sha256.New, []byte("key"))
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	case a.pss:
		signature, err = rsa.SignPSS(rand.Reader, a.key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	default:
		signature, err = rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, digest[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encoding.EncodeToString(signature) + a.spoil
}

func TestAssertionFormsThatRealClientsSend(t *testing.T) {
	w := start(t)
	sha1Sum, sha256Sum := sha1.Sum(w.cert.Raw), sha256.Sum256(w.cert.Raw)
	base := w.host + "/"
	for name, change := range map[string]func(*assertion){
		"MSAL Go": func(a *assertion) {},
		"msal-node SHA-256": func(a *assertion) {
			a.named(map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sha256Sum[:])})
		},
		"msal-node SHA-1, RS256": func(a *assertion) {
			a.header["alg"], a.pss = "RS256", false
			a.named(map[string]any{"x5t": base64.RawURLEncoding.EncodeToString(sha1Sum[:])})
		},
		"MSAL Python, padded x5t": func(a *assertion) { a.named(map[string]any{"x5t": base64.URLEncoding.EncodeToString(sha1Sum[:])}) },
		"float dates, no nbf": func(a *assertion) {
			now := float64(w.Now().UnixNano()) / 1e9
			delete(a.claims, "nbf")
			a.claims["iat"], a.claims["exp"] = now, now+600
		},
		"hexadecimal kid":   func(a *assertion) { a.named(map[string]any{"kid": strings.ToUpper(hex.EncodeToString(sha1Sum[:]))}) },
		"base64 kid":        func(a *assertion) { a.named(map[string]any{"kid": base64.StdEncoding.EncodeToString(sha1Sum[:])}) },
		"nbf a bit ahead":   func(a *assertion) { a.claims["nbf"] = w.Now().Add(4 * time.Minute).Unix() },
		"expired a bit ago": func(a *assertion) { a.claims["exp"] = w.Now().Add(-4 * time.Minute).Unix(); a.claims["nbf"] = 0 },
		"v1 endpoint":       func(a *assertion) { a.claims["aud"] = base + w.Directory.TenantID + "/oauth2/token" },
		"domain":            func(a *assertion) { a.claims["aud"] = base + domain + "/oauth2/v2.0/token" },
		"v2 issuer":         func(a *assertion) { a.claims["aud"] = base + w.Directory.TenantID + "/v2.0" },
		"v1 issuer":         func(a *assertion) { a.claims["aud"] = "https://sts.windows.net/" + w.Directory.TenantID + "/" },
		"upper-case issuer": func(a *assertion) { a.claims["iss"] = strings.ToUpper(w.app.AppID) },
		"x5c beside": func(a *assertion) {
			a.header["x5c"] = []string{base64.StdEncoding.EncodeToString(w.cert.Raw)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.goodAssertion()
			change(a)
			form := w.byAssertion(a.mustSign(t))
			if got := w.post(t, w.v2("token"), form); got.Status != 200 {
				t.Errorf("%d %s", got.Status, got.Text)
			}
		})
	}
}

func TestAssertionRefusals(t *testing.T) {
	w := start(t)
	now := w.Now()
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec := ecCertificate(t, now)
	if _, err := w.Directory.AddKeyCredential(w.app.AppID, ec, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	expired := w.expired
	ecSum, expiredSum, ownSum := sha1.Sum(ec), sha1.Sum(expired.Raw), sha1.Sum(w.cert.Raw)
	unknownSum := sha1.Sum([]byte("unknown"))
	own := strings.ToUpper(hex.EncodeToString(ownSum[:]))
	x5t := func(sum [20]byte) map[string]any { return map[string]any{"x5t": origin.Base64URL(sum[:])} }

	for _, test := range []struct {
		name   string
		change func(*assertion)
		code   int
		want   []string // parts of the description
	}{
		{"two parts", func(a *assertion) { a.spoil = ".more" }, 50027, nil},
		{"padded parts", func(a *assertion) { a.padded = true }, 50027, nil},
		{"text instead of a date", func(a *assertion) { a.claims["exp"] = "soon" }, 50027, nil},
		{"number instead of text", func(a *assertion) { a.claims["iss"] = 7 }, 50027, nil},
		{"HS256", func(a *assertion) { a.header["alg"], a.hmac = "HS256", true }, 5002738, []string{"'HS256'"}},
		{"none", func(a *assertion) { a.header["alg"] = "none" }, 5002738, nil},
		{"no thumbprint", func(a *assertion) { a.named(nil) }, 5002723, nil},
		{"no issuer", func(a *assertion) { delete(a.claims, "iss") }, 90014, []string{"'iss'"}},
		{"no subject", func(a *assertion) { delete(a.claims, "sub") }, 90014, []string{"'sub'"}},
		{"no audience", func(a *assertion) { delete(a.claims, "aud") }, 90014, []string{"'aud'"}},
		{"no expiry", func(a *assertion) { delete(a.claims, "exp") }, 90014, []string{"'exp'"}},
		{"another issuer", func(a *assertion) { a.claims["iss"] = uuid.NewString() }, 700021, nil},
		{"another subject", func(a *assertion) { a.claims["sub"] = uuid.NewString() }, 700021, nil},
		{"audience of another tenant", func(a *assertion) {
			a.claims["aud"] = w.host + "/" + uuid.NewString() + "/oauth2/v2.0/token"
		}, 700023, nil},
		{"audience elsewhere", func(a *assertion) { a.claims["aud"] = "https://example.com/" }, 700023, nil},
		{"expired", func(a *assertion) {
			a.claims["nbf"], a.claims["exp"] = now.Add(-time.Hour).Unix(), now.Add(-6*time.Minute).Unix()
		}, 700024, []string{now.UTC().Format("2006-01-02T15:04:05.0000000Z")}},
		{"expired without nbf", func(a *assertion) {
			delete(a.claims, "nbf")
			a.claims["exp"] = now.Add(-6 * time.Minute).Unix()
		}, 700024, []string{"valid from 1970-01-01T00:00:00.0000000Z"}},
		{"not valid yet", func(a *assertion) { a.claims["nbf"] = now.Add(6 * time.Minute).Unix() }, 700024, nil},
		{"unknown certificate", func(a *assertion) { a.named(x5t(unknownSum)) }, 700027,
			[]string{"Reason - The key was not found.", strings.ToUpper(hex.EncodeToString(unknownSum[:])), "configured keys for app Id '" + w.app.AppID + "'"}},
		{"unusable thumbprint", func(a *assertion) { a.named(map[string]any{"x5t": "!"}) }, 700027, []string{"Reason - The key was not found., Please"}},
		{"another's signature", func(a *assertion) { a.key = stranger }, 700027,
			[]string{"The provided signature value did not match the expected signature value.", "'" + own + "'",
				"Found key 'Start=" + w.cert.NotBefore.UTC().Format("01/02/2006 15:04:05")}},
		{"other padding", func(a *assertion) { a.pss = false }, 700027, []string{"Key was found, but use of the key to verify the signature failed."}},
		{"elliptic curve", func(a *assertion) { a.named(x5t(ecSum)) }, 700027, []string{"Key was found, but use of the key to verify the signature failed."}},
		{"expired certificate", func(a *assertion) { a.named(x5t(expiredSum)) }, 700027,
			[]string{"The key used is expired.", "End=" + expired.NotAfter.UTC().Format("01/02/2006 15:04:05")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := w.goodAssertion()
			test.change(a)
			form := w.byAssertion(a.mustSign(t))
			got := w.post(t, w.v2("token"), form)
			checkRefusal(t, w, got, test.code)
			for _, part := range test.want {
				if text, _ := got.Body["error_description"].(string); !strings.Contains(text, part) {
					t.Errorf("the description lacks %q: %s", part, text)
				}
			}
		})
	}
}

func ecCertificate(t *testing.T, now time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ec"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestKeyCredentialsOfNowDecide(t *testing.T) {
	w := start(t)
	now := w.Now()
	sign := func() answer {
		form := w.byAssertion(w.goodAssertion().mustSign(t))
		return w.post(t, w.v2("token"), form)
	}
	app, _ := w.Directory.View(0).ApplicationByAppID(w.app.AppID)
	for _, k := range app.KeyCredentials {
		if err := w.Directory.RemoveKeyCredential(w.app.AppID, k.KeyID); err != nil {
			t.Fatal(err)
		}
	}
	checkRefusal(t, w, sign(), 700026)

	later, err := w.Directory.AddKeyCredential(w.app.AppID, w.cert.Raw, now.Add(time.Hour), now.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, w, sign(), 700027)

	// A second registration of the same certificate, valid now, decides.
	if _, err := w.Directory.AddKeyCredential(w.app.AppID, w.cert.Raw, now.Add(-time.Hour), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := sign(); got.Status != 200 {
		t.Errorf("with a credential that is valid now: %d %s", got.Status, got.Text)
	}
	if err := w.Directory.RemoveKeyCredential(w.app.AppID, later); err != nil {
		t.Fatal(err)
	}
	app, _ = w.Directory.View(0).ApplicationByAppID(w.app.AppID)
	if err := w.Directory.RemoveKeyCredential(w.app.AppID, app.KeyCredentials[0].KeyID); err != nil {
		t.Fatal(err)
	}
	key, err := directory.NewKeyCredential(uuid.NewString(), w.cert.Raw, time.Time{}, time.Time{})
	ok(t, err)
	ok(t, w.Directory.ChangeServicePrincipal(w.app.AppID, func(p *directory.ServicePrincipal) error {
		p.KeyCredentials = append(p.KeyCredentials, key)
		return nil
	}))
	if got := sign(); got.Status != 200 {
		t.Errorf("with the service principal's credential: %d %s", got.Status, got.Text)
	}
}

func TestReplayIsRefusedWhenAskedFor(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		w := start(t, func(e *entra.API) { e.RefuseReplay = refuse })
		form := w.byAssertion(w.goodAssertion().mustSign(t))
		if got := w.post(t, w.v2("token"), form); got.Status != 200 {
			t.Fatalf("first: %d %s", got.Status, got.Text)
		}
		got := w.post(t, w.v2("token"), form)
		if refuse {
			checkRefusal(t, w, got, 50012)
		} else if got.Status != 200 {
			t.Errorf("second: %d %s", got.Status, got.Text)
		}
		if got := w.post(t, w.v2("token"), w.byAssertion(w.goodAssertion().mustSign(t))); got.Status != 200 {
			t.Errorf("another: %d %s", got.Status, got.Text)
		}
	}
}

func FuzzAssertion(f *testing.F) {
	for _, seed := range []string{
		"", ".", "..", "...", "e30.e30.", "e30.e30.AA", "e30=.e30.", "bnVsbA.e30.", "W10.e30.", "e30.e30.A",
		origin.Base64URL([]byte(`{"alg":"RS256","alg":"none"}`)) + "." + origin.Base64URL([]byte(`{"exp":1e999,"nbf":-1e300,"iat":1.5}`)) + ".AAAA",
		origin.Base64URL([]byte(`{"alg":"RS256","x5t":"AA","x5c":["AA==",7]}`)) + "." + origin.Base64URL([]byte(`{"iss":"https://x"}`)) + ".AAAA",
	} {
		f.Add(seed)
	}
	w := start(f)
	f.Fuzz(func(t *testing.T, s string) {
		if a := w.serve("POST", w.v2("token"), w.byAssertion(s).Encode()); a.Code != 400 && a.Code != 401 {
			t.Errorf("the assertion %q gives %d", s, a.Code)
		}
		parsed, err := token.Parse(s)
		if err != nil {
			return
		}
		if id, named, err := entra.KeyIdentifier(parsed.Header); err == nil && id != nil && (!named || len(id) != 20 && len(id) != 32) {
			t.Errorf("the thumbprint is %x", id)
		}
		if n, err := entra.CertificateChain(parsed.Header); err == nil && n > 10 {
			t.Errorf("the chain has %d certificates", n)
		}
	})
}
