package pkcs12_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
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

	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

const password = "correct horse"

// identity is a key with its certificate, made once for all tests.
type identity struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	pkcs8       []byte
}

var theIdentity = sync.OnceValues(func() (identity, error) {
	var i identity
	var err error
	if i.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return i, err
	}
	if i.pkcs8, err = x509.MarshalPKCS8PrivateKey(i.key); err != nil {
		return i, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "reeve"},
		NotBefore:    time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.key.Public(), i.key)
	if err != nil {
		return i, err
	}
	i.certificate, err = x509.ParseCertificate(der)
	return i, err
})

func newIdentity(t testing.TB) identity {
	t.Helper()
	i, err := theIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (i identity) pem() []byte {
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: i.pkcs8})...)
}

// run runs a program that may not be there.
func run(t testing.TB, in []byte, name string, args ...string) (out []byte, err error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s here", name)
	}
	command := exec.Command(path, args...)
	command.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	command.Stderr = &stderr
	if out, err = command.Output(); err != nil {
		if said := strings.ToLower(stderr.String()); strings.Contains(said, "unsupported") || strings.Contains(said, "unknown") || strings.Contains(said, "unable to load provider") {
			t.Skipf("this %s does not have it: %s", name, said)
		}
		err = fmt.Errorf("%s %s: %w: %s", name, args[0], err, stderr.String())
	}
	return out, err
}

// check checks that a file holds the identity.
func (i identity) check(t *testing.T, data []byte, password string) *pkcs12.File {
	t.Helper()
	f, err := pkcs12.Read(data, password)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Keys) != 1 || len(f.Certificates) != 1 {
		t.Fatalf("got %d keys and %d certificates", len(f.Keys), len(f.Certificates))
	}
	if !i.key.Equal(f.Keys[0].Signer) || !f.Certificates[0].Equal(i.certificate) {
		t.Error("got another key or certificate")
	}
	return f
}

func openssl(t testing.TB, in []byte, password string, args ...string) ([]byte, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in.pem") // it reads its input twice
	if err := os.WriteFile(file, in, 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, nil, "openssl", append([]string{"pkcs12", "-export", "-in", file, "-passout", "pass:" + password}, args...)...)
}

// TestOpenSSLCiphers reads files with each way of encrypting that openssl has.
func TestOpenSSLCiphers(t *testing.T) {
	i := newIdentity(t)
	for flag, name := range map[string]string{
		"PBE-SHA1-RC4-128": "RC4-128",
		"PBE-SHA1-RC4-40":  "RC4-40",
		"PBE-SHA1-3DES":    "3DES-CBC",
		"PBE-SHA1-2DES":    "3DES-2KEY-CBC",
		"PBE-SHA1-RC2-128": "RC2-128-CBC",
		"PBE-SHA1-RC2-40":  "RC2-40-CBC",
		"PBE-MD5-DES":      "DES-CBC",
		"PBE-SHA1-DES":     "DES-CBC",
		"PBE-MD5-RC2-64":   "RC2-64-CBC",
		"PBE-SHA1-RC2-64":  "RC2-64-CBC",
		"AES-128-CBC":      "AES-128-CBC",
		"AES-192-CBC":      "AES-192-CBC",
		"AES-256-CBC":      "AES-256-CBC",
		"DES-CBC":          "DES-CBC",
		"DES-EDE3-CBC":     "3DES-CBC",
		"RC2-CBC":          "RC2-128-CBC",
		"RC2-64-CBC":       "RC2-64-CBC",
		"RC2-40-CBC":       "RC2-40-CBC",
		"NONE":             "",
	} {
		t.Run(flag, func(t *testing.T) {
			data, err := openssl(t, i.pem(), password, "-legacy", "-certpbe", flag, "-keypbe", flag, "-iter", "1000", "-name", "Zoë")
			if err != nil {
				t.Fatal(err)
			}
			f := i.check(t, data, password)
			if p := f.Protection; len(p.Keys) != 1 || len(p.Certificates) != 1 || p.Keys[0].Name != name || p.Certificates[0] != p.Keys[0] || name != "" && p.Keys[0].Iterations != 1000 {
				t.Errorf("the protection is %+v, want %s", p, name)
			}
			if f.Keys[0].Name != "Zoë" || len(f.Keys[0].ID) != 20 || !bytes.Equal(f.Keys[0].ID, f.Certificates[0].ID) || f.Certificates[0].Name != "Zoë" {
				t.Errorf("named %q and %q, by %x and %x", f.Keys[0].Name, f.Certificates[0].Name, f.Keys[0].ID, f.Certificates[0].ID)
			}
			refuse(t, data, "wrong", "the password of the PFX file is wrong", true)
			refuse(t, data, "", "has a password and none was given", true)
		})
	}
}

func TestOpenSSLWithoutMAC(t *testing.T) {
	i := newIdentity(t)
	for _, flag := range []string{"AES-256-CBC", "PBE-SHA1-3DES", "PBE-SHA1-RC4-128", "NONE"} {
		t.Run(flag, func(t *testing.T) {
			data, err := openssl(t, i.pem(), password, "-legacy", "-certpbe", flag, "-keypbe", flag, "-nomac")
			if err != nil {
				t.Fatal(err)
			}
			if f := i.check(t, data, password); f.Protection.MAC != (pkcs12.MAC{}) {
				t.Errorf("the MAC is %+v", f.Protection.MAC)
			}
			if flag == "NONE" {
				i.check(t, data, "")
				return
			}
			refuse(t, data, "wrong", "the password of the PFX file is wrong, or the file is damaged", true)
		})
	}
}

func TestOpenSSLMACs(t *testing.T) {
	i := newIdentity(t)
	for flag, name := range map[string]string{
		"md5": "HMAC-MD5", "sha1": "HMAC-SHA-1", "sha224": "HMAC-SHA-224", "sha256": "HMAC-SHA-256", "sha384": "HMAC-SHA-384",
		"sha512": "HMAC-SHA-512", "sha512-224": "HMAC-SHA-512/224", "sha512-256": "HMAC-SHA-512/256", "sha3-256": "HMAC-SHA3-256",
	} {
		t.Run(flag, func(t *testing.T) {
			data, err := openssl(t, i.pem(), password, "-macalg", flag)
			if err != nil {
				t.Fatal(err)
			}
			if f := i.check(t, data, password); f.Protection.MAC != (pkcs12.MAC{Name: name, Iterations: 2048}) {
				t.Errorf("the MAC is %+v, want %s", f.Protection.MAC, name)
			}
			data[len(data)-6] ^= 1 // in the salt of the MAC
			if _, err := pkcs12.Read(data, password); err == nil || !strings.Contains(err.Error(), "the password is right and yet its integrity check fails") {
				t.Errorf("with another MAC: %v", err)
			}
		})
	}
}

func TestOpenSSLPasswords(t *testing.T) {
	i := newIdentity(t)
	for _, password := range []string{"", "x", "pässwörd", "пароль", "a😀b", strings.Repeat("0123456789abcdef", 4), strings.Repeat("ä", 200)} {
		for _, flag := range []string{"PBE-SHA1-3DES", "AES-256-CBC"} {
			for _, mac := range []string{"-maciter", "-nomac"} {
				t.Run(flag+" "+mac+" "+password, func(t *testing.T) {
					data, err := openssl(t, i.pem(), password, "-certpbe", flag, "-keypbe", flag, mac)
					if err != nil {
						t.Fatal(err)
					}
					i.check(t, data, password)
					want := "the password of the PFX file is wrong"
					if password == "" && mac != "-nomac" {
						want = "is wrong: it is empty and one was given"
					}
					refuse(t, data, "another", want, true)
				})
			}
		}
	}
}

func TestRefusesUnknownCiphers(t *testing.T) {
	i := newIdentity(t)
	for flag, name := range map[string]string{"CAMELLIA-256-CBC": "Camellia-256-CBC", "ARIA-256-CBC": "ARIA-256-CBC"} {
		data, err := openssl(t, i.pem(), password, "-certpbe", flag, "-keypbe", flag)
		if err != nil {
			t.Fatal(err)
		}
		refuse(t, data, password, name, false)
	}
}

func refuse(t *testing.T, data []byte, password, want string, isPassword bool) {
	t.Helper()
	_, err := pkcs12.Read(data, password)
	if err == nil {
		t.Errorf("the password %q opens it", password)
		return
	}
	e, ok := err.(*pkcs12.Error)
	if !ok || e.Cause == "" || e.Remedy == "" || e.Password != isPassword {
		t.Fatalf("got %#v", err)
	}
	if !strings.Contains(e.Cause, want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}

// TestOpenSSLKeys decrypts keys in each way of encrypting that openssl has.
func TestOpenSSLKeys(t *testing.T) {
	i := newIdentity(t)
	for _, v := range []struct {
		args, cipher, kdf string
		iterations        int
	}{
		{"-v2 aes-256-cbc", "AES-256-CBC", "PBKDF2-HMAC-SHA-256", 2048},
		{"-v2 aes-192-cbc -v2prf hmacWithSHA1", "AES-192-CBC", "PBKDF2-HMAC-SHA-1", 2048},
		{"-v2 aes-128-cbc -v2prf hmacWithSHA512 -iter 5000", "AES-128-CBC", "PBKDF2-HMAC-SHA-512", 5000},
		{"-v2 des3 -v2prf hmacWithSHA224", "3DES-CBC", "PBKDF2-HMAC-SHA-224", 2048},
		{"-v2 aes256 -v2prf hmacWithSHA384", "AES-256-CBC", "PBKDF2-HMAC-SHA-384", 2048},
		{"-v2 aes256 -v2prf hmacWithSHA512-256", "AES-256-CBC", "PBKDF2-HMAC-SHA-512/256", 2048},
		{"-v2 des", "DES-CBC", "PBKDF2-HMAC-SHA-256", 2048},
		{"-v2 rc2", "RC2-128-CBC", "PBKDF2-HMAC-SHA-256", 2048},
		{"-scrypt", "AES-256-CBC", "scrypt", 16384},
		{"-scrypt -scrypt_N 1024 -scrypt_r 4 -scrypt_p 3 -v2 aes-128-cbc", "AES-128-CBC", "scrypt", 1024},
		{"-v1 PBE-MD5-DES", "DES-CBC", "PBKDF1 MD5", 2048},
		{"-v1 PBE-SHA1-RC2-64", "RC2-64-CBC", "PBKDF1 SHA-1", 2048},
		{"-v1 PBE-SHA1-3DES", "3DES-CBC", "PKCS#12 SHA-1", 2048},
		{"-v1 PBE-SHA1-RC2-40", "RC2-40-CBC", "PKCS#12 SHA-1", 2048},
		{"-v1 PBE-SHA1-RC4-128", "RC4-128", "PKCS#12 SHA-1", 2048},
	} {
		t.Run(v.args, func(t *testing.T) {
			args := append([]string{"pkcs8", "-topk8", "-outform", "DER", "-passout", "pass:" + password, "-provider", "legacy", "-provider", "default"}, strings.Fields(v.args)...)
			data, err := run(t, i.pem(), "openssl", args...)
			if err != nil {
				t.Fatal(err)
			}
			pkcs8, cipher, err := pkcs12.DecryptKey(data, password)
			if err != nil {
				t.Fatal(err)
			}
			if cipher != (pkcs12.Cipher{Name: v.cipher, KDF: v.kdf, Iterations: v.iterations}) {
				t.Errorf("encrypted by %+v, want %s, %s", cipher, v.cipher, v.kdf)
			}
			if !bytes.Equal(pkcs8, i.pkcs8) {
				t.Error("got another key")
			}
			for wrong, want := range map[string]string{"wrong": "the password of the encrypted private key is wrong", "": "none was given"} {
				if _, _, err := pkcs12.DecryptKey(data, wrong); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("with password %q: %v", wrong, err)
				}
			}
		})
	}
}

func TestEncryptKey(t *testing.T) {
	i := newIdentity(t)
	for _, password := range []string{"", password, "pässwörd"} {
		data, err := pkcs12.EncryptKey(i.pkcs8, password)
		if err != nil {
			t.Fatal(err)
		}
		pkcs8, cipher, err := pkcs12.DecryptKey(data, password)
		if err != nil || !bytes.Equal(pkcs8, i.pkcs8) || cipher.Name != "AES-256-CBC" || cipher.KDF != "PBKDF2-HMAC-SHA-256" || cipher.Iterations < 100_000 {
			t.Errorf("got another key, or %v: %+v", err, cipher)
		}
		if password == "" {
			continue // openssl asks for one
		}
		out, err := run(t, data, "openssl", "pkey", "-inform", "DER", "-outform", "DER", "-passin", "pass:"+password)
		if err != nil {
			t.Fatal(err)
		}
		key, err := pkcs12.ParseKey(out)
		if err != nil || !i.key.Equal(key) {
			t.Errorf("openssl reads another key: %v", err)
		}
	}
}

// TestNSS reads what pk12util writes: BER of indefinite length.
func TestNSS(t *testing.T) {
	i := newIdentity(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pfx"), filepath.Join(dir, "out.pfx")
	data, err := openssl(t, i.pem(), password, "-name", "reeve")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, nil, "certutil", "-N", "-d", dir, "--empty-password"); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, nil, "pk12util", "-i", in, "-d", dir, "-W", password); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"-c", "PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC"}, {"-c", "AES-128-CBC", "-C", "none"}} {
		if _, err := run(t, nil, "pk12util", append([]string{"-o", out, "-n", "reeve", "-d", dir, "-W", password}, args...)...); err != nil {
			t.Fatal(err)
		}
		if data, err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
		if f := i.check(t, data, password); !f.Protection.BER {
			t.Errorf("%q: BER was not noticed", args)
		}
		refuse(t, data, "wrong", "the password of the PFX file is wrong", true)
	}
}

func TestKeytool(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.p12")
	for _, alias := range []string{"one", "two"} {
		if _, err := run(t, nil, "keytool", "-genkeypair", "-alias", alias, "-keyalg", "EC", "-dname", "CN="+alias, "-storetype", "PKCS12", "-keystore", out, "-storepass", password); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pkcs12.Read(data, password)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Keys) != 2 || len(f.Certificates) != 2 || f.Keys[0].Name != "one" && f.Keys[0].Name != "two" {
		t.Errorf("got %d keys and %d certificates", len(f.Keys), len(f.Certificates))
	}
	for _, k := range f.Keys {
		for _, c := range f.Certificates {
			if bytes.Equal(k.ID, c.ID) != c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Signer.Public()) {
				t.Error("the local key id leads to another certificate")
			}
		}
	}
}

func TestExplicitCurve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "explicit.pem")
	key, err := run(t, nil, "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	certificate, err := run(t, nil, "openssl", "req", "-x509", "-new", "-key", file, "-subj", "/CN=x", "-outform", "DER")
	if err != nil {
		t.Fatal(err)
	}
	const want = "spelled out in place of being named"
	if _, err := pkcs12.ParseCertificate(certificate); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("certificate: %v", err)
	}
	block, _ := pem.Decode(key)
	if _, err := pkcs12.ParseKey(block.Bytes); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("key: %v", err)
	}
}
