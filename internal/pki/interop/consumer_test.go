package interop_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/pki"
)

// consumer is a program, or a library in a small program, that opens files.
type consumer struct {
	name    string // as docs/formats.md has it
	how     string // how it is asked, and by what it shows that it opened a file
	needs   func(*testing.T)
	version func(*testing.T) string
	// Each opens the files in turn; nil if it does not take such files.
	pfx         func(*testing.T, []file) []opened
	pem         func(*testing.T, []file) []opened // certificate and key
	certificate func(*testing.T, []file) []opened // certificate alone
	// again is how often it may try again with a file that is written anew. Its own
	// fault makes it fail with some salts.
	again int
}

var consumers = []consumer{
	{
		"openssl", "`openssl pkcs12`, `pkey`, `x509`: the key itself",
		needsOpenSSL, opensslVersion, opensslPFX(), opensslPEM, opensslCertificate, 0,
	},
	{
		"openssl -legacy", "`openssl pkcs12 -legacy`: the key itself",
		needsOpenSSL3, opensslVersion, opensslPFX("-legacy"), nil, nil, 0,
	},
	{
		"keytool", "`keytool -importkeystore`, `-printcert`: the key itself, from the keystore it wrote",
		needsJava, javaVersion, keytoolPFX, nil, keytoolCertificate, 0,
	},
	{
		"Java KeyStore", "`KeyStore.getInstance(\"PKCS12\")`: the key itself",
		needsJava, javaVersion, javaPFX("SUN"), nil, nil, 0,
	},
	{
		"Bouncy Castle", "`KeyStore.getInstance(\"PKCS12\", \"BC\")`: the key itself",
		needsBouncyCastle, bouncyCastleVersion, javaPFX("BC"), nil, nil, 0,
	},
	{
		"Node tls", "`https.request` with `pfx`, or `key` and `cert`: TLS handshake",
		needsNode, nodeVersion, nodeTLS, nodeTLS, nil, 0,
	},
	{
		"node-forge", "`forge.pkcs12.pkcs12FromAsn1`: the key itself, EC keys as ASN.1",
		needsForge, forgeVersion, forgePFX, nil, nil, 0,
	},
	{
		"Python", "`cryptography`, `load_key_and_certificates` and its kind: the key itself",
		needsPython, pythonVersion, pythonOpen, pythonOpen, pythonOpen, 0,
	},
	{
		"GnuTLS", "`certtool --p12-info`, `--key-info`, `--certificate-info`: the key itself",
		needsCerttool, certtoolVersion, certtoolPFX, certtoolPEM, certtoolCertificate, 0,
	},
	{
		"NSS", "`pk12util -i`: a request signed by `certutil -R`",
		needsNSS, nssVersion, nssPFX, nil, nil, 0,
	},
	{
		"gpgsm", "`gpgsm --import`: the key itself, by `--export-secret-key-raw`",
		needsGPGSM, gpgsmVersion, gpgsmPFX, nil, nil, gnupgAgain,
	},
	{
		"curl", "`curl --cert`: TLS handshake",
		needsCurl, curlVersion, curlPFX, curlPEM, nil, 0,
	},
	{
		"x/crypto", "`golang.org/x/crypto/pkcs12`, `ToPEM`: the key itself",
		goNeeds, moduleVersion("golang.org/x/crypto"), xcryptoPFX, nil, nil, 0,
	},
	{
		"go-pkcs12", "`software.sslmate.com/src/go-pkcs12`, `DecodeChain`: the key itself",
		goNeeds, moduleVersion("software.sslmate.com/src/go-pkcs12"), goPKCS12PFX, nil, nil, 0,
	},
	{
		"azidentity", "`azidentity.ParseCertificates`: the key itself",
		goNeeds, moduleVersion("github.com/Azure/azure-sdk-for-go/sdk/azidentity"), azidentityOpen, azidentityOpen, nil, 0,
	},
}

// file is a file to open.
type file struct {
	path, password string
}

// opened is what a consumer gave out of a file.
type opened struct {
	certificates []*x509.Certificate
	public       crypto.PublicKey // the public half of the private key
	reason       string           // why it did not open, in its words
}

func refused(format string, args ...any) opened {
	return opened{reason: shorten(fmt.Sprintf(format, args...))}
}

// check says why what was opened is not the pair with its chain, or nothing. A
// pair without a key is a certificate alone.
func (o opened) check(p pki.Pair) string {
	switch {
	case o.reason != "":
		return o.reason
	case p.Key != nil && (o.public == nil || !equal(o.public, p.Key.Public())):
		return "gives out another private key, or none"
	}
	for _, want := range append([]*x509.Certificate{p.Certificate}, p.Chain...) {
		found := false
		for _, c := range o.certificates {
			found = found || c.Equal(want)
		}
		if !found {
			return "gives out other certificates, or too few"
		}
	}
	return ""
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// fromPEM takes keys and certificates from text. Their private halves go no
// further.
func fromPEM(text []byte) opened {
	var o opened
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var err error
		switch block.Type {
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				o.certificates = append(o.certificates, c)
			}
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			o.public, err = publicHalf(block.Bytes)
		}
		if err != nil {
			return refused("gives out a broken %s", strings.ToLower(block.Type))
		}
	}
	return o
}

// publicHalf returns the public half of a private key in DER.
func publicHalf(der []byte) (crypto.PublicKey, error) {
	var key any
	var err error
	for _, parse := range []func() (any, error){
		func() (any, error) { return x509.ParsePKCS8PrivateKey(der) },
		func() (any, error) { return x509.ParsePKCS1PrivateKey(der) },
		func() (any, error) { return x509.ParseECPrivateKey(der) },
		func() (any, error) { return parseCurveless(der) },
	} {
		if key, err = parse(); err == nil {
			return key.(crypto.Signer).Public(), nil
		}
	}
	return nil, err
}

// parseCurveless parses an EC key (RFC 5915) that does not name its curve, as
// certtool writes them.
func parseCurveless(der []byte) (*ecdsa.PrivateKey, error) {
	var key struct {
		Version int
		D       []byte
		Rest    asn1.RawValue `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		return nil, err
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		if len(key.D)*8 == curve.Params().BitSize {
			return ecdsa.ParseRawPrivateKey(curve, key.D)
		}
	}
	return nil, errors.New("no private key")
}

// programTime is the longest that one program may take.
const programTime = 2 * time.Minute

// command prepares a program that sees nothing of the variables of the test and
// has a home directory of its own.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programTime)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = t.TempDir()
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir, "LANG=C.UTF-8"}
	c.WaitDelay = 5 * time.Second
	return c
}

// output runs a program and returns what it wrote to its standard output. The
// error is its words, or that it crashed.
func output(c *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() < 0 || strings.Contains(stderr.String(), "Segmentation fault") {
		return nil, errors.New("crashes")
	}
	// What a program says on its standard output may be a key, so that only
	// Java's errors are taken from there.
	text := stderr.String()
	for line := range strings.Lines(stdout.String()) {
		if strings.HasPrefix(line, "keytool error:") {
			text = line
		}
	}
	if text == "" {
		text = err.Error()
	}
	return nil, errors.New(text)
}

// must is output of a program that is no consumer and has to succeed.
func must(t *testing.T, c *exec.Cmd) []byte {
	t.Helper()
	out, err := output(c)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(c.Args[:min(2, len(c.Args))], " "), err)
	}
	return out
}

var (
	// noise is what programs put before their reasons, and what is not the same in
	// every run.
	noise = regexp.MustCompile(`^(WARNING|Warning): .*$|^gpgsm: decryption failed; trying charset .*$|^gpgsm: .*error at "outer.*$|` +
		`^(keytool error: |java\.[\w.]+: |pk12util: |gpgsm: |curl: \(\d+\) |Error: |[0-9A-F]{6,}:error:[0-9A-F]+:)+|\S*/\S*\.(pfx|pem|cer)\S*:? ?`)
	space = regexp.MustCompile(`\s+`)
)

// shorten takes the first words of what a program said that tell something.
func shorten(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(noise.ReplaceAllString(strings.TrimSpace(space.ReplaceAllString(line, " ")), ""))
		if line == "" {
			continue
		}
		if runes := []rune(line); len(runes) > 110 {
			line = strings.TrimSpace(string(runes[:110])) + " …"
		}
		return line
	}
	return "says nothing"
}

func needsProgram(t *testing.T, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed; ./test installs it", debian)
	}
}

// batch runs a program that opens many files. It reads a line for each, the
// password in base64 and the path, and writes a line for each: "opened", the
// private key as PKCS#8 or nothing if it was proved otherwise or there is none,
// and the certificates, all in base64; or "refused" and why. The fields are
// separated by tabs.
func batch(t *testing.T, c *exec.Cmd, files []file) []opened {
	t.Helper()
	var in bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&in, "%s\t%s\n", base64.StdEncoding.EncodeToString([]byte(f.password)), f.path)
	}
	c.Stdin = &in
	var results []opened
	for line := range strings.Lines(string(must(t, c))) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if fields[0] != "opened" {
			results = append(results, refused("%s", strings.Join(fields[1:], " ")))
			continue
		}
		var o opened
		for i, field := range fields[1:] {
			der, err := base64.StdEncoding.DecodeString(field)
			switch {
			case err != nil:
			case i > 0:
				var leaf *x509.Certificate
				if leaf, err = x509.ParseCertificate(der); err == nil {
					o.certificates = append(o.certificates, leaf)
				}
			case len(der) > 0:
				o.public, err = publicHalf(der)
			}
			if err != nil {
				o = refused("gives out something broken")
				break
			}
		}
		results = append(results, o)
	}
	if len(results) != len(files) {
		t.Fatalf("%s answered for %d files, want %d", filepath.Base(c.Args[0]), len(results), len(files))
	}
	return results
}

// each opens one file after the other.
func each(open func(*testing.T, file) opened) func(*testing.T, []file) []opened {
	return func(t *testing.T, files []file) []opened {
		t.Helper()
		results := make([]opened, len(files))
		for i, f := range files {
			results[i] = open(t, f)
		}
		return results
	}
}

// testdata returns the absolute path of a file below testdata.
func testdata(t *testing.T, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"testdata"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// npm returns the folder in which ./test installed the npm packages that a folder
// of testdata names.
func npm(t *testing.T, folder string) string {
	t.Helper()
	lock, err := os.ReadFile(testdata(t, folder, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("there is no cache directory: ", err)
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "reeve-test", "clients-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		t.Skipf("the npm packages of testdata/%s are not installed; ./test installs them", folder)
	}
	return dir
}

// newFile writes a file into the test's own folder and returns its path.
func newFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
