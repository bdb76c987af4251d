package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/pki"
	ourpkcs12 "github.com/reeve365/reeve/internal/pki/pkcs12"
)

const password = "correct horse"

var (
	notBefore = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	now       = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
)

// rsaKey makes each named key once for all tests.
func rsaKey(t testing.TB, name string, bits int) *rsa.PrivateKey {
	t.Helper()
	v, _ := keys.LoadOrStore(fmt.Sprint(name, bits), sync.OnceValues(func() (*rsa.PrivateKey, error) {
		return rsa.GenerateKey(rand.Reader, bits)
	}))
	key, err := v.(func() (*rsa.PrivateKey, error))()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var keys sync.Map

// issue makes a certificate; without an issuer it signs itself.
func issue(t testing.TB, name string, key crypto.Signer, issuer *x509.Certificate, issuerKey crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// chain makes a root, an intermediate and a leaf.
func chain(t testing.TB) (leaf *x509.Certificate, key *rsa.PrivateKey, issuers []*x509.Certificate) {
	t.Helper()
	key = rsaKey(t, "leaf", 2048)
	rootKey, middleKey := rsaKey(t, "root", 2048), rsaKey(t, "middle", 2048)
	root := issue(t, "Root", rootKey, nil, nil)
	middle := issue(t, "Middle", middleKey, root, rootKey)
	return issue(t, "reeve", key, middle, middleKey), key, []*x509.Certificate{middle, root}
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func keyPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func encryptedPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = ourpkcs12.EncryptKey(der, password); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
}

func encode(t testing.TB, e *pkcs12.Encoder, key any, c *x509.Certificate, ca []*x509.Certificate, password string) []byte {
	t.Helper()
	data, err := e.Encode(key, c, ca, password)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestParseReads(t *testing.T) {
	leaf, key, issuers := chain(t)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	modern := encode(t, pkcs12.Modern2023, key, leaf, issuers, password)
	tests := []struct {
		name     string
		data     []byte
		password string
		chain    []*x509.Certificate
	}{
		{"PEM, certificate first", join(certificatePEM(leaf), keyPEM(t, key)), "", nil},
		{"PEM, key first", join(keyPEM(t, key), certificatePEM(leaf)), "", nil},
		{"PEM, PKCS#1 key", join(certificatePEM(leaf), pkcs1), "", nil},
		{"PEM, with a password that it does not need", join(certificatePEM(leaf), pkcs1), password, nil},
		{"PEM, text around and a mark before", join([]byte("\xef\xbb\xbfBag Attributes\n"), certificatePEM(leaf), []byte("\r\nkey:\r\n"), pkcs1), "", nil},
		{"PEM, leaf last", join(certificatePEM(issuers[1]), certificatePEM(issuers[0]), keyPEM(t, key), certificatePEM(leaf)), "", issuers},
		{"PFX AES-256", modern, password, issuers},
		{"PFX 3DES", encode(t, pkcs12.LegacyDES, key, leaf, issuers, password), password, issuers},
		{"PFX RC2-40", encode(t, pkcs12.LegacyRC2, key, leaf, issuers, password), password, issuers},
		{"PFX PBMAC1", encode(t, pkcs12.Modern2026, key, leaf, issuers, password), password, issuers},
		{"PFX, leaf last", encode(t, pkcs12.Modern2023, key, issuers[1], []*x509.Certificate{issuers[0], leaf}, password), password, issuers},
		{"PFX, empty password", encode(t, pkcs12.Modern2023, key, leaf, nil, ""), "", nil},
		{"PFX, unprotected", encode(t, pkcs12.Passwordless, key, leaf, nil, ""), "", nil},
		{"PFX, unprotected, with a password", encode(t, pkcs12.Passwordless, key, leaf, nil, ""), password, nil},
		{"PFX as base64", []byte(base64.StdEncoding.EncodeToString(modern)), password, issuers},
		{"PFX as base64 in lines", []byte(wrap(base64.StdEncoding.EncodeToString(modern)) + "\n"), password, issuers},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pair, err := pki.Parse(test.data, test.password)
			if err != nil {
				t.Fatal(err)
			}
			if !pair.Certificate.Equal(leaf) || !key.Equal(pair.Key) {
				t.Errorf("got %v with another key, want %v", pair, leaf.Subject)
			}
			if len(pair.Chain) != len(test.chain) {
				t.Fatalf("the chain has %d certificates, want %d", len(pair.Chain), len(test.chain))
			}
			for i, c := range test.chain {
				if !pair.Chain[i].Equal(c) {
					t.Errorf("issuer %d is %v, want %v", i, pair.Chain[i].Subject, c.Subject)
				}
			}
			if err := pair.UsableForSignIn(now); err != nil {
				t.Error(err)
			}
		})
	}
}

func wrap(s string) string {
	var lines []string
	for ; len(s) > 64; s = s[64:] {
		lines = append(lines, s[:64])
	}
	return strings.Join(append(lines, s), "\r\n")
}

func TestParseTakesTheLatestCertificateOfAKey(t *testing.T) {
	key := rsaKey(t, "leaf", 2048)
	var both []byte
	var latest *x509.Certificate
	for _, years := range []int{2, 1} {
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(years)), NotBefore: notBefore, NotAfter: notAfter.AddDate(years, 0, 0)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if latest == nil {
			latest = c
		}
		both = append(both, certificatePEM(c)...)
	}
	pair, err := pki.Parse(append(both, keyPEM(t, key)...), "")
	if err != nil {
		t.Fatal(err)
	}
	if !pair.Certificate.Equal(latest) || len(pair.Chain) != 0 {
		t.Errorf("took serial %v with %d issuers, want %v with none", pair.Certificate.SerialNumber, len(pair.Chain), latest.SerialNumber)
	}
}

func TestParseRefuses(t *testing.T) {
	leaf, key, issuers := chain(t)
	other := rsaKey(t, "other", 2048)
	good := encode(t, pkcs12.Modern2023, key, leaf, nil, password)
	broken := bytes.Clone(good)
	broken[len(broken)/2] ^= 0xff
	truststore, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{leaf}, password)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		data     []byte
		password string
		want     string
	}{
		{"nothing", nil, "", "is empty"},
		{"blanks", []byte(" \n"), "", "is empty"},
		{"too large", make([]byte, pki.MaxFileSize+1), "", "more than 1048576 bytes"},
		{"text", []byte("hello, certificate"), "", "neither PEM text nor a PKCS#12"},
		{"UTF-16", []byte("\xff\xfe-\x00-\x00"), "", "neither PEM text nor a PKCS#12"},
		{"wrong password", good, "wrong", "password of the PFX file is wrong"},
		{"no password", good, "", "has a password and none was given"},
		{"wrong password, old PFX", encode(t, pkcs12.LegacyRC2, key, leaf, nil, password), "wrong", "password of the PFX file is wrong"},
		{"changed PFX", broken, password, "the password is right and yet its integrity check fails"},
		{"cut PFX", good[:len(good)-7], password, "cannot be read"},
		{"BER of indefinite length", []byte{0x30, 0x80, 0x02, 0x01, 0x03}, "", "cut off"},
		{"PFX without a key", truststore, password, "holds no private key"},
		{"PFX, foreign key", encode(t, pkcs12.Modern2023, other, leaf, issuers, password), password, "does not belong"},
		{".cer", leaf.Raw, "", "public half alone"},
		{"PEM without a key", certificatePEM(leaf), "", "no private key"},
		{"PEM without a certificate", keyPEM(t, key), "", "no certificate"},
		{"PEM, foreign key", join(certificatePEM(leaf), keyPEM(t, other)), "", "does not belong"},
		{"PEM, two pairs", join(certificatePEM(leaf), keyPEM(t, key), keyPEM(t, other), certificatePEM(issue(t, "other", other, nil, nil))), "", "several private keys with their certificates: CN=reeve"},
		{"PEM, encrypted", join(certificatePEM(leaf), encryptedPEM(t, key)), "", "has a password and none was given"},
		{"PEM, encrypted, wrong password", join(certificatePEM(leaf), encryptedPEM(t, key)), "wrong", "password of the encrypted private key is wrong"},
		{"PEM, encrypted long ago", join(certificatePEM(leaf), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}})), "", "is encrypted"},
		{"PEM, broken certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw[:50]}), "", "block 1 of the PEM text (certificate) cannot be read: it is cut off"},
		{"PEM, cut", certificatePEM(leaf)[:200], "", "it is cut off"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pair, err := pki.Parse(test.data, test.password)
			if err == nil {
				t.Fatalf("got %v, want an error", pair)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q in it", err, test.want)
			}
			for _, secret := range []string{password, "wrong "} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds the password: %q", err)
				}
			}
		})
	}
}

func TestParseRefusesAbsurdWork(t *testing.T) {
	leaf, key, _ := chain(t)
	data := encode(t, pkcs12.Modern2023.WithIterations(0x12345), key, leaf, nil, password)
	rounds := []byte{2, 3, 0x01, 0x23, 0x45} // INTEGER
	// Each place of the number is made absurd in turn: those of the certificate's
	// and the key's protection, and that of the MAC. The number grows by a byte,
	// which the salt before it, an OCTET STRING of 16 bytes, gives.
	places := 0
	for at := 0; ; at += len(rounds) {
		i := bytes.Index(data[at:], rounds)
		if i < 0 {
			break
		}
		at += i
		places++
		absurd := bytes.Clone(data)
		if salt := absurd[at-18:]; salt[0] != 4 || salt[1] != 16 {
			t.Fatalf("no salt before the number of rounds: % x", salt[:2])
		}
		absurd[at-17] = 15
		copy(absurd[at-1:], []byte{2, 4, 0x7f, 0xff, 0xff, 0xff})
		start := time.Now()
		_, err := pki.Parse(absurd, password)
		if err == nil || !strings.Contains(err.Error(), "rounds") {
			t.Errorf("got %v, want the number of rounds refused", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("refusing took %s", took)
		}
	}
	if places != 3 {
		t.Errorf("the number of rounds stands %d times in the file, want 3", places)
	}
}

// TestParseReadsOpenSSL reads what another program wrote.
func TestParseReadsOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	leaf, key, _ := chain(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "source.pem")
	if err := os.WriteFile(source, join(certificatePEM(leaf), keyPEM(t, key)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{
		"default": nil,
		"3DES":    {"-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"},
		"SHA-512": {"-macalg", "sha512", "-iter", "20000"},
		"legacy":  {"-legacy"},
	} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "out.pfx")
			args := append([]string{"pkcs12", "-export", "-in", source, "-out", target, "-passout", "pass:" + password}, flags...)
			if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
				t.Skipf("this openssl does not write it: %v: %s", err, out)
			}
			data, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			pair, err := pki.Parse(data, password)
			if err != nil {
				t.Fatal(err)
			}
			if !pair.Certificate.Equal(leaf) {
				t.Errorf("got %v", pair)
			}
			if _, err := pki.Parse(data, "wrong"); err == nil || !strings.Contains(err.Error(), "wrong") {
				t.Errorf("with a wrong password: %v", err)
			}
		})
	}
}

func TestUsableForSignIn(t *testing.T) {
	leaf, key, _ := chain(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small := rsaKey(t, "small", 1024)
	good := pki.Pair{Certificate: leaf, Key: key}
	tests := []struct {
		name string
		pair pki.Pair
		now  time.Time
		want string
	}{
		{"good", good, now, ""},
		{"first moment", good, notBefore, ""},
		{"last moment", good, notAfter, ""},
		{"early", good, notBefore.Add(-time.Second), "not valid before 2026-03-01 00:00 UTC"},
		{"late", good, notAfter.AddDate(0, 0, 3), "expired on 2027-03-01 12:00 UTC (3 days ago)"},
		{"no certificate", pki.Pair{Key: key}, now, "no certificate"},
		{"no key", pki.Pair{Certificate: leaf}, now, "no private key"},
		{"foreign key", pki.Pair{Certificate: leaf, Key: rsaKey(t, "other", 2048)}, now, "does not belong"},
		{"EC", pki.Pair{Certificate: issue(t, "ec", ec, nil, nil), Key: ec}, now, "EC key (P-256)"},
		{"small", pki.Pair{Certificate: issue(t, "small", small, nil, nil), Key: small}, now, "1024 bits"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.pair.UsableForSignIn(test.now)
			if test.want == "" && err == nil {
				return
			}
			if err == nil || test.want == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestDaysLeft(t *testing.T) {
	leaf, _, _ := chain(t)
	for after, want := range map[time.Duration]int{
		-50 * time.Hour: 2, -24 * time.Hour: 1, -23 * time.Hour: 0, 0: 0, time.Hour: -1, 25 * time.Hour: -2,
	} {
		if got := (pki.Pair{Certificate: leaf}).DaysLeft(notAfter.Add(after)); got != want {
			t.Errorf("%s after the end: got %d, want %d", after, got, want)
		}
	}
}

// TestThumbprints compares with what openssl says of the same certificate.
func TestThumbprints(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	leaf, _, _ := chain(t)
	for digest, got := range map[string]string{"-sha1": pki.SHA1(leaf), "-sha256": pki.SHA256(leaf)} {
		command := exec.Command(openssl, "x509", "-noout", "-fingerprint", digest)
		command.Stdin = bytes.NewReader(certificatePEM(leaf))
		out, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		_, want, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
		if want = strings.ReplaceAll(want, ":", ""); got != want {
			t.Errorf("%s: got %s, want %s", digest, got, want)
		}
	}
	for header, hex := range map[string]string{pki.X5T(leaf): pki.SHA1(leaf), pki.X5TS256(leaf): pki.SHA256(leaf)} {
		raw, err := base64.RawURLEncoding.DecodeString(header)
		if err != nil || fmt.Sprintf("%X", raw) != hex {
			t.Errorf("%s is not %s: %v", header, hex, err)
		}
	}
}

func TestPairHidesItsKey(t *testing.T) {
	leaf, key, _ := chain(t)
	pair := pki.Pair{Certificate: leaf, Key: key}
	marshaled, err := json.Marshal(pair)
	if err != nil {
		t.Fatal(err)
	}
	secret := key.D.String()
	for _, s := range []string{fmt.Sprint(pair), fmt.Sprintf("%+v", pair), fmt.Sprintf("%#v", pair), fmt.Sprintf("%+v", []pki.Pair{pair}), string(marshaled)} {
		if strings.Contains(s, secret) || !strings.Contains(s, pki.SHA1(leaf)) {
			t.Errorf("printed as %.100s", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	leaf, key, issuers := chain(f)
	f.Add(join(certificatePEM(leaf), keyPEM(f, key)), "")
	for _, e := range []*pkcs12.Encoder{pkcs12.Modern2023.WithIterations(1), pkcs12.LegacyDES.WithIterations(1), pkcs12.LegacyRC2.WithIterations(1), pkcs12.Modern2026.WithIterations(1)} {
		f.Add(encode(f, e, key, leaf, issuers, password), password)
	}
	f.Add(encode(f, pkcs12.Passwordless, key, leaf, nil, ""), "")
	f.Add([]byte{0x30, 0x80}, "")
	f.Fuzz(func(t *testing.T, data []byte, password string) {
		pair, err := pki.Parse(data, password)
		if err != nil {
			return
		}
		if pair.Certificate == nil || pair.Key == nil {
			t.Error("a pair without certificate or key, and no error")
		}
		if err := pair.CheckKey(); err != nil && strings.Contains(err.Error(), "does not belong") {
			t.Error(err)
		}
	})
}
