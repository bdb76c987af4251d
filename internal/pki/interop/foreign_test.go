package interop_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/pki/pkcs12"
)

// foreign is a file that a program of others wrote.
type foreign struct {
	how      string // the options, or what is particular
	data     []byte
	password string
	want     pki.Pair // key and certificates, as far as the file has them

	protection string // of a PKCS#12 file, or of the key in another; not checked if empty
	slow       bool   // a wrong password is not tried, because of the many rounds
	refused    string // among the words of why reeve does not read it, which it does if empty
}

// writers are the programs whose files are read.
var writers = []struct {
	name  string
	needs func(*testing.T)
	write func(*testing.T) []foreign
}{
	{"openssl", needsOpenSSL3, opensslFiles},
	{"openssl keys", needsOpenSSL3, opensslKeys},
	{"openssl certificates", needsOpenSSL, opensslCertificates},
	{"keytool", needsJava, keytoolFiles},
	{"Bouncy Castle", needsBouncyCastle, bouncyCastleFiles},
	{"node-forge", needsForge, forgeFiles},
	{"Python", needsPython, pythonFiles},
	{"GnuTLS", needsCerttool, certtoolFiles},
	{"NSS", needsNSS, nssFiles},
	{"gpgsm", needsGPGSM, gpgsmFiles},
	{"ssh-keygen", func(t *testing.T) { needsProgram(t, "ssh-keygen", "openssh-client") }, sshFiles},
	{"go-pkcs12", goNeeds, goPKCS12Files},
}

// TestForeign reads files that programs of others write.
func TestForeign(t *testing.T) {
	if testing.Short() {
		t.Skip("programs of others take their time")
	}
	for _, w := range writers {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.needs(t)
			for _, f := range w.write(t) {
				t.Run(f.how, f.test)
			}
		})
	}
}

func (f foreign) test(t *testing.T) {
	c, err := pki.Read(f.data, f.password)
	if f.refused != "" {
		problem := asProblem(t, err)
		if !strings.Contains(problem.Cause, f.refused) {
			t.Errorf("it is refused by %q, want %q in it", problem.Cause, f.refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := protection(c); f.protection != "" && got != f.protection {
		t.Errorf("its protection is told as\n%s, want\n%s", got, f.protection)
	}
	if f.want.Key != nil && (len(c.Keys) == 0 || !equal(c.Keys[0].Public(), f.want.Key.Public())) {
		t.Errorf("it holds %d keys, of which the first is another than was written", len(c.Keys))
	}
	o := opened{certificates: c.Certificates}
	if f.want.Certificate != nil {
		if reason := o.check(pki.Pair{Certificate: f.want.Certificate, Chain: f.want.Chain}); reason != "" {
			t.Error(reason)
		}
	}
	if f.want.Key != nil && f.want.Certificate != nil {
		p, err := c.Pair()
		if err != nil {
			t.Fatal(err)
		}
		if !p.Certificate.Equal(f.want.Certificate) || !equal(p.Key.Public(), f.want.Key.Public()) || len(p.Chain) != len(f.want.Chain) {
			t.Errorf("its pair is %v with %d issuers, want %v with %d", p, len(p.Chain), f.want, len(f.want.Chain))
		}
	}
	if f.slow || f.password == "" || !strings.Contains(protection(c), "iterations") {
		return
	}
	_, err = pki.Read(f.data, wrongPassword)
	if problem := asProblem(t, err); !strings.Contains(problem.Cause, "password") {
		t.Errorf("a wrong password: %q, want that said", problem.Cause)
	}
}

func asProblem(t *testing.T, err error) *pki.Problem {
	t.Helper()
	var p *pki.Problem
	if !errors.As(err, &p) || p.Cause == "" || p.Remedy == "" {
		t.Fatalf("it gives %v, want a problem with cause and remedy", err)
	}
	return p
}

// protection tells how a file is protected, in a line.
func protection(c *pki.Contents) string {
	cipher := func(c pkcs12.Cipher) string {
		if c.Name == "" {
			return "none"
		}
		return fmt.Sprintf("%s by %s, %d iterations", c.Name, c.KDF, c.Iterations)
	}
	if c.PKCS12 == nil {
		if c.KeyCipher == nil {
			return ""
		}
		return cipher(*c.KeyCipher)
	}
	var parts []string
	for _, k := range c.PKCS12.Keys {
		parts = append(parts, "key "+cipher(k))
	}
	for _, k := range c.PKCS12.Certificates {
		parts = append(parts, "certificates "+cipher(k))
	}
	if m := c.PKCS12.MAC; m.Name != "" {
		parts = append(parts, fmt.Sprintf("%s, %d iterations", m.Name, m.Iterations))
	}
	if c.PKCS12.BER {
		parts = append(parts, "BER")
	}
	return strings.Join(parts, "; ")
}

// pemFile writes a pair as PEM, the leaf first, the key last.
func pemFile(t *testing.T, p pki.Pair) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, c := range append([]*x509.Certificate{p.Certificate}, p.Chain...) {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	b.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	return newFile(t, "source.pem", b.Bytes())
}

// pfxFile writes a pair as a PFX file that every program opens, with the ASCII
// password.
func pfxFile(t *testing.T, p pki.Pair) string {
	t.Helper()
	data, err := gopkcs12.LegacyDES.WithIterations(2048).Encode(p.Key, p.Certificate, p.Chain, asciiPassword)
	if err != nil {
		t.Fatal(err)
	}
	return newFile(t, "source.pfx", data)
}

// cipherBy and both are the words of protection.
func cipherBy(cipher, kdf string, iterations int) string {
	return fmt.Sprintf("%s by %s, %d iterations", cipher, kdf, iterations)
}

func both(cipher, kdf string, iterations int, mac string, macIterations int) string {
	c := cipherBy(cipher, kdf, iterations)
	return fmt.Sprintf("key %s; certificates %s; %s, %d iterations", c, c, mac, macIterations)
}

const (
	pbkdf2SHA1   = "PBKDF2-HMAC-SHA-1"
	pbkdf2SHA256 = "PBKDF2-HMAC-SHA-256"
	pkcs12SHA1   = "PKCS#12 SHA-1"
)

func opensslFiles(t *testing.T) []foreign {
	var all []foreign
	export := func(how, password string, p pki.Pair, protection, refused string, options ...string) {
		t.Helper()
		args := append([]string{"pkcs12", "-export", "-in", pemFile(t, p), "-passout", "stdin"}, options...)
		all = append(all, foreign{how: how, data: must(t, openssl(t, password, args...)), password: password, want: p, protection: protection, refused: refused})
	}
	rsa, ec := pairOf(t, pki.RSA2048), pairOf(t, pki.P256)
	modern := both("AES-256-CBC", pbkdf2SHA256, 2048, "HMAC-SHA-256", 2048)
	for _, password := range passwords {
		export("default, password "+password.kind, password.text, rsa, modern, "")
	}
	export("default, P-256", asciiPassword, ec, modern, "")
	export("default, P-384", asciiPassword, pairOf(t, pki.P384), modern, "")
	export("default, RSA 4096", asciiPassword, pairOf(t, pki.RSA4096), modern, "")
	export("default with a name", asciiPassword, rsa, modern, "", "-name", "Schlüssel", "-caname", "authority")
	chain := chainedPair(t)
	export("a chain", asciiPassword, chain, modern, "")
	leaf := chain
	leaf.Chain = nil
	export("-certfile", asciiPassword, chain, modern, "", "-in", pemFile(t, leaf),
		"-certfile", newFile(t, "chain.pem", pki.EncodeCertificates(chain.Chain...)))
	all[len(all)-1].want = chain
	export("-legacy", asciiPassword, rsa,
		"key "+cipherBy("3DES-CBC", pkcs12SHA1, 2048)+"; certificates "+cipherBy("RC2-40-CBC", pkcs12SHA1, 2048)+"; HMAC-SHA-1, 2048 iterations", "",
		"-legacy")
	export("-legacy, non-ASCII password", passwords[2].text, rsa, "", "", "-legacy")
	export("-legacy, empty password", "", rsa, "", "", "-legacy")
	pbe := func(name string, options ...string) []string {
		return append([]string{"-keypbe", name, "-certpbe", name}, options...)
	}
	for _, password := range passwords {
		export("3DES and SHA-1, password "+password.kind, password.text, rsa, both("3DES-CBC", pkcs12SHA1, 2048, "HMAC-SHA-1", 2048), "",
			pbe("PBE-SHA1-3DES", "-macalg", "sha1")...)
	}
	export("two-key 3DES", asciiPassword, rsa, "", "", pbe("PBE-SHA1-2DES", "-legacy")...)
	export("RC2-128", asciiPassword, rsa, both("RC2-128-CBC", pkcs12SHA1, 2048, "HMAC-SHA-1", 2048), "", pbe("PBE-SHA1-RC2-128", "-legacy")...)
	export("RC2-40", asciiPassword, rsa, both("RC2-40-CBC", pkcs12SHA1, 2048, "HMAC-SHA-1", 2048), "", pbe("PBE-SHA1-RC2-40", "-legacy")...)
	export("RC4-128", asciiPassword, rsa, "", "", pbe("PBE-SHA1-RC4-128", "-legacy")...)
	export("RC4-40", asciiPassword, rsa, "", "", pbe("PBE-SHA1-RC4-40", "-legacy")...)
	export("AES-128", asciiPassword, rsa, both("AES-128-CBC", pbkdf2SHA256, 2048, "HMAC-SHA-256", 2048), "", pbe("AES-128-CBC")...)
	export("AES-192", asciiPassword, rsa, both("AES-192-CBC", pbkdf2SHA256, 2048, "HMAC-SHA-256", 2048), "", pbe("AES-192-CBC")...)
	export("3DES by PBES2", asciiPassword, rsa, both("3DES-CBC", pbkdf2SHA256, 2048, "HMAC-SHA-256", 2048), "", pbe("DES-EDE3-CBC")...)
	export("Camellia", asciiPassword, rsa, "", "Camellia", pbe("CAMELLIA-256-CBC")...)
	export("ARIA", asciiPassword, rsa, "", "ARIA", pbe("ARIA-256-CBC")...)
	for _, mac := range []string{"sha1", "sha224", "sha384", "sha512"} {
		name := "HMAC-" + strings.ToUpper(mac[:3]) + "-" + mac[3:]
		export("-macalg "+mac, asciiPassword, rsa, both("AES-256-CBC", pbkdf2SHA256, 2048, name, 2048), "", "-macalg", mac)
	}
	export("one iteration", asciiPassword, rsa, both("AES-256-CBC", pbkdf2SHA256, 1, "HMAC-SHA-256", 1), "", "-noiter", "-nomaciter")
	export("100,000 iterations", asciiPassword, rsa, both("AES-256-CBC", pbkdf2SHA256, 100_000, "HMAC-SHA-256", 100_000), "", "-iter", "100000")
	export("-nomac", asciiPassword, rsa, "", "", "-nomac")
	none := "key none; certificates none; HMAC-SHA-256, 2048 iterations"
	export("no encryption", asciiPassword, rsa, none, "", pbe("NONE")...)
	export("no encryption, empty password", "", rsa, none, "", pbe("NONE")...)
	export("no encryption, no MAC", "", rsa, "key none; certificates none", "", pbe("NONE", "-nomac")...)
	export("-certpbe NONE", asciiPassword, rsa, "", "", "-certpbe", "NONE")
	export("-keyex", asciiPassword, rsa, modern, "", "-keyex", "-CSP", "Microsoft Enhanced RSA and AES Cryptographic Provider")
	export("-nokeys", asciiPassword, rsa, "", "", "-nokeys")
	all[len(all)-1].want.Key = nil
	export("-nocerts", asciiPassword, rsa, "", "", "-nocerts")
	all[len(all)-1].want.Certificate = nil
	return all
}

func opensslKeys(t *testing.T) []foreign {
	var all []foreign
	rsa, ec := pairOf(t, pki.RSA2048), pairOf(t, pki.P256)
	convert := func(how, password string, p pki.Pair, protection, refused string, args ...string) {
		t.Helper()
		c := openssl(t, password, append(args, "-in", pemFile(t, p))...)
		if password != "" {
			c.Args = append(c.Args, "-passout", "stdin")
		}
		all = append(all, foreign{how: how, data: must(t, c), password: password, want: pki.Pair{Key: p.Key}, protection: protection, refused: refused})
	}
	convert("PKCS#8", "", rsa, "", "", "pkey")
	convert("PKCS#8 of P-256", "", ec, "", "", "pkey")
	convert("PKCS#8 in DER", "", rsa, "", "", "pkey", "-outform", "DER")
	convert("PKCS#1", "", rsa, "", "", "rsa", "-traditional")
	convert("PKCS#1 in DER", "", rsa, "", "", "rsa", "-traditional", "-outform", "DER")
	convert("SEC 1", "", ec, "", "", "ec")
	convert("SEC 1 in DER", "", ec, "", "", "ec", "-outform", "DER")
	convert("with text", "", rsa, "", "", "pkey", "-text")
	for _, password := range passwords[:3] {
		convert("PKCS#8 -aes256, password "+password.kind, password.text, rsa, cipherBy("AES-256-CBC", pbkdf2SHA256, 2048), "", "pkey", "-aes256")
	}
	convert("PKCS#8 -aes128", asciiPassword, ec, cipherBy("AES-128-CBC", pbkdf2SHA256, 2048), "", "pkey", "-aes128")
	convert("PKCS#8 encrypted, in DER", asciiPassword, rsa, cipherBy("AES-256-CBC", pbkdf2SHA256, 2048), "", "pkcs8", "-topk8", "-outform", "DER")
	convert("PKCS#8 -v2 des3", asciiPassword, rsa, cipherBy("3DES-CBC", pbkdf2SHA256, 2048), "", "pkcs8", "-topk8", "-v2", "des3")
	convert("PKCS#8 hmacWithSHA1", asciiPassword, rsa, cipherBy("AES-256-CBC", pbkdf2SHA1, 2048), "", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1")
	convert("PKCS#8 hmacWithSHA512", asciiPassword, rsa, cipherBy("AES-256-CBC", "PBKDF2-HMAC-SHA-512", 2048), "", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512")
	convert("PKCS#8 -v1 PBE-SHA1-3DES", asciiPassword, rsa, cipherBy("3DES-CBC", pkcs12SHA1, 2048), "", "pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES")
	convert("PKCS#8 -v1 PBE-MD5-DES", asciiPassword, rsa, "", "", "pkcs8", "-topk8", "-v1", "PBE-MD5-DES", "-provider", "legacy", "-provider", "default")
	convert("PKCS#8 -scrypt", asciiPassword, rsa, "", "", "pkcs8", "-topk8", "-scrypt")
	for _, cipher := range []string{"aes128", "aes192", "aes256", "des3"} {
		convert("PKCS#1 -"+cipher+", DEK-Info", asciiPassword, rsa, "", "", "rsa", "-traditional", "-"+cipher)
	}
	convert("SEC 1 -aes256, DEK-Info", asciiPassword, ec, "", "", "ec", "-aes256")
	convert("PKCS#1 -camellia256, DEK-Info", asciiPassword, rsa, "", "CAMELLIA", "rsa", "-traditional", "-camellia256")
	return all
}

func opensslCertificates(t *testing.T) []foreign {
	chain := chainedPair(t)
	only := pki.Pair{Certificate: chain.Certificate}
	whole := pki.Pair{Certificate: chain.Certificate, Chain: chain.Chain}
	source := pemFile(t, chain)
	var all []foreign
	add := func(how string, want pki.Pair, args ...string) {
		t.Helper()
		all = append(all, foreign{how: how, data: must(t, command(t, "openssl", args...)), want: want})
	}
	add("PEM", only, "x509", "-in", source)
	add("DER", only, "x509", "-in", source, "-outform", "DER")
	add("PEM with text", only, "x509", "-in", source, "-text")
	add("trusted", only, "x509", "-in", source, "-addtrust", "clientAuth", "-trustout")
	add("PKCS#7 in PEM", whole, "crl2pkcs7", "-nocrl", "-certfile", source)
	add("PKCS#7 in DER", whole, "crl2pkcs7", "-nocrl", "-certfile", source, "-outform", "DER")
	return all
}

func keytoolFiles(t *testing.T) []foreign {
	rsa, chain := pairOf(t, pki.RSA2048), chainedPair(t)
	// The keystore's own password may not be the source's.
	into := func(p pki.Pair, options ...string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "keystore")
		must(t, keytool(t, append([]string{"-importkeystore", "-noprompt", "-srckeystore", pfxFile(t, p), "-srcstorepass", asciiPassword,
			"-destkeystore", path, "-deststorepass", keystorePassword, "-destalias", "one", "-srcalias", "1"}, options...)...))
		return path
	}
	var all []foreign
	add := func(how string, p pki.Pair, protection, refused string, options ...string) {
		t.Helper()
		data := read(t, file{path: into(p, options...)})
		all = append(all, foreign{how: how, data: data, password: keystorePassword, want: p, protection: protection, refused: refused})
	}
	modern := both("AES-256-CBC", pbkdf2SHA256, 10_000, "HMAC-SHA-256", 10_000)
	add("PKCS12", rsa, modern, "")
	add("PKCS12 of P-256", pairOf(t, pki.P256), modern, "")
	add("PKCS12, a chain", chain, modern, "")
	add("PKCS12, legacy", rsa,
		"key "+cipherBy("3DES-CBC", pkcs12SHA1, 50_000)+"; certificates "+cipherBy("RC2-40-CBC", pkcs12SHA1, 50_000)+"; HMAC-SHA-1, 100000 iterations", "",
		"-J-Dkeystore.pkcs12.legacy")
	add("PKCS12, AES-128 and SHA-512", rsa, "", "",
		"-J-Dkeystore.pkcs12.keyProtectionAlgorithm=PBEWithHmacSHA512AndAES_128",
		"-J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithHmacSHA384AndAES_256",
		"-J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA512")
	add("PKCS12, certificates in clear, no MAC", rsa, "key "+cipherBy("AES-256-CBC", pbkdf2SHA256, 10_000)+"; certificates none", "",
		"-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE", "-J-Dkeystore.pkcs12.macAlgorithm=NONE")
	all[len(all)-1].password = asciiPassword // keytool keeps the key's own for such keystores
	add("JKS", rsa, "", "JKS", "-deststoretype", "JKS")
	add("JCEKS", rsa, "", "JCEKS", "-deststoretype", "JCEKS")

	trusted := filepath.Join(t.TempDir(), "trusted")
	must(t, keytool(t, "-importcert", "-noprompt", "-file", newFile(t, "one.pem", pki.EncodeCertificates(rsa.Certificate)),
		"-alias", "one", "-keystore", trusted, "-storepass", keystorePassword, "-storetype", "PKCS12"))
	all = append(all, foreign{how: "PKCS12, a certificate alone", data: read(t, file{path: trusted}), password: keystorePassword, want: pki.Pair{Certificate: rsa.Certificate}})
	return all
}

// TestSeveralEntries reads a keystore with two entries: all of both is there, and
// which of them is the pair is not guessed.
func TestSeveralEntries(t *testing.T) {
	needsJava(t)
	path := filepath.Join(t.TempDir(), "keystore")
	two := []pki.Pair{pairOf(t, pki.RSA2048), pairOf(t, pki.P256)}
	for i, p := range two {
		must(t, keytool(t, "-importkeystore", "-noprompt", "-srckeystore", pfxFile(t, p), "-srcstorepass", asciiPassword,
			"-destkeystore", path, "-deststorepass", keystorePassword, "-deststoretype", "PKCS12", "-srcalias", "1", "-destalias", fmt.Sprint("entry", i)))
	}
	c, err := pki.Read(read(t, file{path: path}), keystorePassword)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Keys) != 2 || len(c.Certificates) != 2 {
		t.Errorf("there are %d keys and %d certificates, want 2 and 2", len(c.Keys), len(c.Certificates))
	}
	for _, p := range two {
		found := false
		for _, k := range c.Keys {
			found = found || equal(k.Public(), p.Key.Public())
		}
		if !found {
			t.Errorf("the key of %v is missing", p)
		}
	}
	_, err = c.Pair()
	asProblem(t, err)
}

func bouncyCastleFiles(t *testing.T) []foreign {
	p := pairOf(t, pki.RSA2048)
	dir := t.TempDir()
	must(t, command(t, "java", "-XX:TieredStopAtLevel=1", "-cp", bouncyCastle, testdata(t, "java", "Write.java"), pfxFile(t, p), dir, asciiPassword))
	return folder(t, dir, asciiPassword, p, nil)
}

// folder returns the files that a program wrote into a folder.
func folder(t *testing.T, dir, password string, p pki.Pair, protections map[string]string) []foreign {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 3 {
		t.Fatalf("it wrote %d files", len(entries))
	}
	var all []foreign
	for _, e := range entries {
		f := foreign{how: e.Name(), data: read(t, file{path: filepath.Join(dir, e.Name())}), password: password, want: p, protection: protections[e.Name()]}
		switch filepath.Ext(e.Name()) {
		case ".pem":
			f.want = pki.Pair{Key: p.Key}
		case ".p7b":
			f.want = pki.Pair{Certificate: p.Certificate}
		}
		all = append(all, f)
	}
	return all
}

func forgeFiles(t *testing.T) []foreign {
	p := pairOf(t, pki.RSA2048)
	dir := t.TempDir()
	must(t, forge(t, "write.mjs", pemFile(t, p), dir, asciiPassword))
	return folder(t, dir, asciiPassword, p, map[string]string{"none.pfx": "key none; certificates none"})
}

func pythonFiles(t *testing.T) []foreign {
	p := pairOf(t, pki.RSA2048)
	dir := t.TempDir()
	must(t, command(t, python, "-B", testdata(t, "python", "write.py"), pemFile(t, p), dir, asciiPassword))
	all := folder(t, dir, asciiPassword, p, map[string]string{
		"3des.pfx":   both("3DES-CBC", pkcs12SHA1, 50_000, "HMAC-SHA-1", 1),
		"aes256.pfx": both("AES-256-CBC", pbkdf2SHA256, 50_000, "HMAC-SHA-256", 1),
	})
	for i := range all {
		if all[i].how == "none.pfx" {
			all[i].password = "" // it has a MAC of that
		}
	}
	return all
}

// certtool and pk12util do 600,000 rounds for each key that is derived, so that of
// what they can write most is for TEST_LONG.
const manyRounds = 600_000

var long = os.Getenv("TEST_LONG") != ""

func certtoolFiles(t *testing.T) []foreign {
	var all []foreign
	add := func(how string, k pki.KeyType, password string, protection string, options ...string) {
		t.Helper()
		p := pairOf(t, k)
		source := pemFile(t, p)
		args := append([]string{"--to-p12", "--outder", "--load-privkey", source, "--load-certificate", source, "--p12-name", "from certtool"}, options...)
		all = append(all, foreign{how: how + ", " + string(k), data: must(t, command(t, "certtool", args...)), password: password, want: p,
			protection: protection, slow: !long && len(all) > 0})
	}
	cipher := func(name string, k pki.KeyType, is, kdf string) {
		t.Helper()
		add(name, k, asciiPassword, both(is, kdf, manyRounds, "HMAC-SHA-256", manyRounds), "--password", asciiPassword, "--pkcs-cipher", name)
	}
	cipher("aes-256", pki.RSA2048, "AES-256-CBC", pbkdf2SHA256)
	cipher("3des-pkcs12", pki.P256, "3DES-CBC", pkcs12SHA1)
	cipher("rc2-40", pki.RSA2048, "RC2-40-CBC", pkcs12SHA1)
	cipher("arcfour", pki.RSA2048, "RC4-128", pkcs12SHA1)
	add("--null-password", pki.RSA2048, "", "", "--null-password")
	if long {
		cipher("aes-128", pki.P256, "AES-128-CBC", pbkdf2SHA256)
		cipher("aes-192", pki.RSA2048, "AES-192-CBC", pbkdf2SHA256)
		cipher("3des", pki.RSA2048, "3DES-CBC", pbkdf2SHA256)
		add("--empty-password", pki.RSA2048, "", "", "--empty-password")
	}
	return all
}

func nssFiles(t *testing.T) []foreign {
	var all []foreign
	for _, k := range []pki.KeyType{pki.RSA2048, pki.P256} {
		p := pairOf(t, k)
		db := nssDatabase(t)
		must(t, command(t, "pk12util", "-i", pfxFile(t, p), "-d", db, "-W", asciiPassword, "-K", ""))
		m := nickname.FindSubmatch([]byte("interop" + strings.SplitN(string(must(t, command(t, "certutil", "-L", "-d", db))), "interop", 2)[1]))
		export := func(how, refused string, options ...string) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "out.pfx")
			must(t, command(t, "pk12util", append([]string{"-o", path, "-n", string(m[1]), "-d", db, "-W", asciiPassword, "-K", ""}, options...)...))
			all = append(all, foreign{how: how + ", " + string(k), data: read(t, file{path: path}), password: asciiPassword, want: p,
				refused: refused, slow: !long && len(all) > 0})
		}
		cipher := func(name string) {
			t.Helper()
			export(name, "", "-c", name, "-C", name)
		}
		export("default", "")
		if k != pki.RSA2048 && !long {
			continue
		}
		all[len(all)-1].protection = "key " + cipherBy("AES-256-CBC", pbkdf2SHA256, manyRounds) + "; certificates " + cipherBy("AES-128-CBC", pbkdf2SHA256, manyRounds) +
			"; HMAC-SHA-256, 600000 iterations; BER"
		cipher("PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC")
		cipher("PKCS #12 V2 PBE With SHA-1 And 128 Bit RC2 CBC")
		export("CAMELLIA-256-CBC", "Camellia", "-c", "CAMELLIA-256-CBC", "-C", "CAMELLIA-256-CBC")
		export("certificates in clear", "", "-C", "none")
		// 600,000 rounds of SHA-512 thrice are more than the work that is done for a file.
		export("SHA-512", "too much work", "-M", "SHA-512")
		if long {
			cipher("AES-128-CBC")
			cipher("AES-192-CBC")
			cipher("AES-256-CBC")
			cipher("PKCS #12 V2 PBE With SHA-1 And 128 Bit RC4")
			cipher("PKCS #12 V2 PBE With SHA-1 And 40 Bit RC4")
			cipher("PKCS #12 V2 PBE With SHA-1 And 40 Bit RC2 CBC")
		}
	}
	return all
}

func gpgsmFiles(t *testing.T) []foreign {
	p := pairOf(t, pki.RSA2048)
	g := newGnuPG(t)
	g.forget(t)
	for range gnupgAgain {
		if _, err := output(g.gpgsm(t, asciiPassword, "--import", pfxFile(t, p))); err == nil {
			break
		}
	}
	data := must(t, g.gpgsm(t, asciiPassword, "--export-secret-key-p12", "0x"+pki.SHA1(p.Certificate)))
	return []foreign{{how: "--export-secret-key-p12", data: data, password: asciiPassword, want: p}}
}

func sshFiles(t *testing.T) []foreign {
	var all []foreign
	for _, key := range []struct{ how, kind, format, password, refused string }{
		{"RSA -m PEM", "rsa", "PEM", "", ""},
		{"RSA -m PEM, encrypted", "rsa", "PEM", asciiPassword, ""},
		{"ECDSA -m PEM", "ecdsa", "PEM", "", ""},
		{"RSA -m PKCS8", "rsa", "PKCS8", asciiPassword, ""},
		{"RSA -m RFC4716", "rsa", "RFC4716", "", "OpenSSH"},
	} {
		path := filepath.Join(t.TempDir(), "key")
		must(t, command(t, "ssh-keygen", "-q", "-t", key.kind, "-m", key.format, "-N", key.password, "-f", path))
		all = append(all, foreign{how: key.how, data: read(t, file{path: path}), password: key.password, refused: key.refused})
	}
	return all
}

func goPKCS12Files(t *testing.T) []foreign {
	p := chainedPair(t)
	var all []foreign
	for _, w := range []struct {
		name       string
		encoder    *gopkcs12.Encoder
		password   string
		protection string
	}{
		{"LegacyRC2", gopkcs12.LegacyRC2, asciiPassword, "key " + cipherBy("3DES-CBC", pkcs12SHA1, 2048) + "; certificates " + cipherBy("RC2-40-CBC", pkcs12SHA1, 2048) + "; HMAC-SHA-1, 1 iterations"},
		{"LegacyDES", gopkcs12.LegacyDES, asciiPassword, both("3DES-CBC", pkcs12SHA1, 2048, "HMAC-SHA-1", 1)},
		{"Modern2023", gopkcs12.Modern2023, asciiPassword, both("AES-256-CBC", pbkdf2SHA256, 2048, "HMAC-SHA-256", 2048)},
		{"Modern2026", gopkcs12.Modern2026, asciiPassword, both("AES-256-CBC", pbkdf2SHA256, 2048, "PBMAC1-HMAC-SHA-256", 2048)},
		{"Passwordless", gopkcs12.Passwordless, "", "key none; certificates none"},
	} {
		data, err := w.encoder.WithRand(rand.Reader).Encode(p.Key, p.Certificate, p.Chain, w.password)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, foreign{how: w.name, data: data, password: w.password, want: p, protection: w.protection})
	}
	data, err := gopkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{p.Certificate}, asciiPassword)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, foreign{how: "trust store", data: data, password: asciiPassword, want: pki.Pair{Certificate: p.Certificate}})
}
