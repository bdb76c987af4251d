package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

func TestEncodePFX(t *testing.T) {
	leaf, key, issuers := chain(t)
	ec := selfSigned(t, ecKey(t), template(t, "ec"))
	for _, profile := range pki.Profiles() {
		for name, pair := range map[string]pki.Pair{"RSA with chain": {Certificate: leaf, Chain: issuers, Key: key}, "EC": ec} {
			for _, password := range []string{"", password, strings.Repeat("p", 64), "Schlüssel €"} {
				data, err := pki.EncodePFX(pair, profile, password)
				if err != nil {
					t.Fatalf("%s, %s: %v", profile, name, err)
				}
				k, c, ca, err := gopkcs12.DecodeChain(data, password)
				if err != nil {
					t.Fatalf("%s, %s: %v", profile, name, err)
				}
				if !c.Equal(pair.Certificate) || len(ca) != len(pair.Chain) || !k.(interface{ Equal(crypto.PrivateKey) bool }).Equal(pair.Key) {
					t.Errorf("%s, %s: got %v with a chain of %d", profile, name, c.Subject, len(ca))
				}
				if _, _, _, err := gopkcs12.DecodeChain(data, password+"x"); err == nil {
					t.Errorf("%s, %s: a wrong password opens it", profile, name)
				}
			}
		}
	}
}

// TestProfiles are what they say.
func TestProfiles(t *testing.T) {
	for profile, want := range map[pki.Profile]pkcs12.Protection{
		pki.Modern: {
			Keys:         []pkcs12.Cipher{{Name: "AES-256-CBC", KDF: "PBKDF2-HMAC-SHA-256", Iterations: 10_000}},
			Certificates: []pkcs12.Cipher{{Name: "AES-256-CBC", KDF: "PBKDF2-HMAC-SHA-256", Iterations: 10_000}},
			MAC:          pkcs12.MAC{Name: "HMAC-SHA-256", Iterations: 10_000},
		},
		pki.Compat: {
			Keys:         []pkcs12.Cipher{{Name: "3DES-CBC", KDF: "PKCS#12 SHA-1", Iterations: 2048}},
			Certificates: []pkcs12.Cipher{{Name: "3DES-CBC", KDF: "PKCS#12 SHA-1", Iterations: 2048}},
			MAC:          pkcs12.MAC{Name: "HMAC-SHA-1", Iterations: 2048},
		},
	} {
		data, err := pki.EncodePFX(selfSigned(t, ecKey(t), template(t, "reeve")), profile, password)
		if err != nil {
			t.Fatal(err)
		}
		file, err := pkcs12.Read(data, password)
		if err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(file.Protection, want) {
			t.Error(profile, cmp.Diff(file.Protection, want))
		}
		if profile.Why() == "" {
			t.Errorf("%s: there is no reason", profile)
		}
	}
	if pki.Profile("rc2").Why() != "" {
		t.Error("there is a reason for a profile that is none")
	}
}

func TestEncodePFXRefuses(t *testing.T) {
	pair := selfSigned(t, ecKey(t), template(t, "reeve"))
	for name, test := range map[string]struct {
		pair     pki.Pair
		profile  pki.Profile
		password string
		want     string
	}{
		"profile":        {pair, "legacy", password, `no PFX profile "legacy"`},
		"no certificate": {pki.Pair{Key: pair.Key}, pki.Modern, password, "no certificate"},
		"no key":         {pki.Pair{Certificate: pair.Certificate}, pki.Modern, password, "no private key"},
		"foreign key":    {pki.Pair{Certificate: pair.Certificate, Key: ecKey(t)}, pki.Modern, password, "does not belong"},
		"key elsewhere":  {pki.Pair{Certificate: pair.Certificate, Key: elsewhere{Signer: pair.Key}}, pki.Modern, password, "may not leave"},
		"line end":       {pair, pki.Modern, "secret-4711\n", "control characters"},
		"emoji":          {pair, pki.Compat, "secret-4711😀", "beyond"},
		"no UTF-8":       {pair, pki.Compat, "secret-4711\xff", "not UTF-8"},
		"long":           {pair, pki.Compat, strings.Repeat("secret-4711", 20), "more than 200 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pki.EncodePFX(test.pair, test.profile, test.password)
			wantProblem(t, err, test.want)
			if err != nil && (strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), password)) {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}

func TestNewPassword(t *testing.T) {
	seen, used := map[string]bool{}, map[rune]int{}
	for range 500 {
		p := pki.NewPassword()
		if len(p) != 24 || strings.ContainsAny(p, "0Oo1IiLl") || pki.CheckPassword(p) != nil || len(pki.PasswordAdvice(p)) != 0 {
			t.Fatalf("got a password of %d characters, %v", len(p), pki.PasswordAdvice(p))
		}
		seen[p] = true
		for _, r := range p {
			if (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') {
				t.Fatalf("%q is neither a letter nor a digit", r)
			}
			used[r]++
		}
	}
	if len(seen) != 500 {
		t.Errorf("%d of 500 differ", len(seen))
	}
	// Each of the 54 is there 222 times on average, with a deviation of 15.
	if len(used) != 54 {
		t.Errorf("%d characters are used, want 54", len(used))
	}
	for r, n := range used {
		if n < 120 || n > 330 {
			t.Errorf("%q is there %d times", r, n)
		}
	}
}

func TestPasswordAdvice(t *testing.T) {
	for password, want := range map[string]string{
		"correct horse":         "",
		"":                      "Bouncy Castle",
		"Schlüssel":             "keytool",
		strings.Repeat("x", 31): "",
		strings.Repeat("x", 32): "gpgsm",
	} {
		advice := pki.PasswordAdvice(password)
		if want == "" && len(advice) == 0 {
			continue
		}
		if len(advice) != 1 {
			t.Fatalf("%q: got %v", password, advice)
		}
		wantProblem(t, &advice[0], want)
	}
}

func TestEncodeKey(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{rsaKey(t, "leaf", 2048), ecKey(t), ed} {
		for _, password := range []string{"", password, "Schlüssel"} {
			data, err := pki.EncodeKey(key, password)
			if err != nil {
				t.Fatal(err)
			}
			block, rest := pem.Decode(data)
			if block == nil || len(rest) != 0 {
				t.Fatal("this is not one PEM block")
			}
			der := block.Bytes
			switch {
			case password == "" && block.Type != "PRIVATE KEY", password != "" && block.Type != "ENCRYPTED PRIVATE KEY":
				t.Errorf("the block is %q", block.Type)
			case password != "":
				if der, _, err = pkcs12.DecryptKey(der, password); err != nil {
					t.Fatal(err)
				}
			}
			got, err := x509.ParsePKCS8PrivateKey(der)
			if err != nil || !got.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
				t.Errorf("got %T, %v", got, err)
			}
		}
	}
	_, err = pki.EncodeKey(nil, "")
	wantProblem(t, err, "no private key")
	_, err = pki.EncodeKey(elsewhere{Signer: ed}, "")
	wantProblem(t, err, "may not leave")
	_, err = pki.EncodeKey(ed, "a\nb")
	wantProblem(t, err, "control characters")
}

func TestEncodeCertificates(t *testing.T) {
	leaf, _, issuers := chain(t)
	data := pki.EncodeCertificates(leaf, issuers[0])
	if !bytes.Equal(data, join(certificatePEM(leaf), certificatePEM(issuers[0]))) {
		t.Errorf("got %s", data)
	}
	if len(pki.EncodeCertificates()) != 0 {
		t.Error("nothing is written as something")
	}
}

func TestEncodeGraphKey(t *testing.T) {
	leaf, _, _ := chain(t)
	data, err := pki.EncodeGraphKey(leaf, "reeve")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	var key []byte
	if s, ok := got["key"].(string); ok {
		if err := json.Unmarshal([]byte(`"`+s+`"`), &key); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(key, leaf.Raw) {
		t.Error("the key is not the certificate's DER")
	}
	delete(got, "key")
	want := map[string]any{
		"type":                "AsymmetricX509Cert",
		"usage":               "Verify",
		"displayName":         "reeve",
		"startDateTime":       "2026-03-01T00:00:00Z",
		"endDateTime":         "2027-03-01T12:00:00Z",
		"customKeyIdentifier": pki.CustomKeyIdentifier(leaf),
	}
	if !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}

	for name, want := range map[string]string{"": "CN=reeve", strings.Repeat("ä", 91): strings.Repeat("ä", 90)} {
		data, err := pki.EncodeGraphKey(leaf, name)
		if err != nil || !bytes.Contains(data, []byte(`"displayName": "`+want+`"`)) {
			t.Errorf("%q: got %s, %v", name, data, err)
		}
	}
}
