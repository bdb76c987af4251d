package interop_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// version returns the first match of a program's words about itself.
func version(pattern, name string, args ...string) func(*testing.T) string {
	expression := regexp.MustCompile(pattern)
	return func(t *testing.T) string {
		t.Helper()
		// Some of them do not say it with success.
		out, _ := command(t, name, args...).CombinedOutput()
		match := expression.FindSubmatch(out)
		if match == nil {
			t.Fatalf("%s does not tell its version: %.200q", name, out)
		}
		return string(match[1])
	}
}

const number = `(\d+(?:\.\d+)+)`

// --- openssl

var opensslVersion = version(`OpenSSL `+number, "openssl", "version")

func needsOpenSSL(t *testing.T) { needsProgram(t, "openssl", "openssl") }

func needsOpenSSL3(t *testing.T) {
	needsOpenSSL(t)
	if v := opensslVersion(t); v < "3" {
		t.Skipf("openssl %s has no -legacy", v)
	}
}

// openssl runs openssl with the password on its standard input, as -passin stdin
// takes it.
func openssl(t *testing.T, password string, args ...string) *exec.Cmd {
	t.Helper()
	c := command(t, "openssl", args...)
	c.Stdin = strings.NewReader(password + "\n")
	return c
}

func opensslPFX(options ...string) func(*testing.T, []file) []opened {
	return each(func(t *testing.T, f file) opened {
		args := append([]string{"pkcs12", "-in", f.path, "-passin", "stdin", "-nodes"}, options...)
		out, err := output(openssl(t, f.password, args...))
		if err != nil {
			return refused("%v", err)
		}
		return fromPEM(out)
	})
}

var opensslPEM = each(func(t *testing.T, f file) opened {
	key, err := output(openssl(t, f.password, "pkey", "-in", f.path, "-passin", "stdin"))
	if err != nil {
		return refused("%v", err)
	}
	// It alone puts out all certificates of a file.
	bundle, err := output(command(t, "openssl", "crl2pkcs7", "-nocrl", "-certfile", f.path))
	if err != nil {
		return refused("%v", err)
	}
	c := command(t, "openssl", "pkcs7", "-print_certs")
	c.Stdin = bytes.NewReader(bundle)
	certificates, err := output(c)
	if err != nil {
		return refused("%v", err)
	}
	return fromPEM(append(key, certificates...))
})

var opensslCertificate = each(func(t *testing.T, f file) opened {
	out, err := output(command(t, "openssl", "x509", "-in", f.path))
	if err != nil {
		return refused("%v", err)
	}
	return fromPEM(out)
})

// --- GnuTLS

var certtoolVersion = version(`certtool `+number, "certtool", "--version")

func needsCerttool(t *testing.T) { needsProgram(t, "certtool", "gnutls-bin") }

func certtoolPassword(password string) string {
	if password == "" {
		return "--empty-password"
	}
	return "--password=" + password
}

// With --p12-info it verifies the MAC and decrypts the certificates, and puts out
// the key as it is in the file. That is decrypted in a second step.
var certtoolPFX = each(func(t *testing.T, f file) opened {
	out, err := output(command(t, "certtool", "--p12-info", "--inder", "--infile", f.path, certtoolPassword(f.password)))
	if err != nil {
		return refused("%v", err)
	}
	o := fromPEM(out)
	for block, rest := pem.Decode(out); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" {
			key := certtoolKey(t, newFile(t, "key.pem", pem.EncodeToMemory(block)), f.password)
			o.public, o.reason = key.public, key.reason
		}
	}
	return o
})

func certtoolKey(t *testing.T, path, password string) opened {
	t.Helper()
	out, err := output(command(t, "certtool", "--key-info", "--infile", path, certtoolPassword(password)))
	if err != nil {
		return refused("%v", err)
	}
	return fromPEM(out)
}

// signed takes the public half from a certificate signing request.
func signed(der []byte) opened {
	r, err := x509.ParseCertificateRequest(der)
	if err != nil || r.CheckSignature() != nil {
		return refused("signs falsely")
	}
	return opened{public: r.PublicKey}
}

var certtoolPEM = each(func(t *testing.T, f file) opened {
	o := certtoolKey(t, f.path, f.password)
	if o.reason == "" {
		certificates := certtoolCertificate(t, []file{f})[0]
		o.certificates, o.reason = certificates.certificates, certificates.reason
	}
	return o
})

var certtoolCertificate = each(func(t *testing.T, f file) opened {
	args := []string{"--certificate-info", "--infile", f.path}
	if strings.HasSuffix(f.path, ".cer") {
		args = append(args, "--inder")
	}
	out, err := output(command(t, "certtool", args...))
	if err != nil {
		return refused("%v", err)
	}
	return fromPEM(out)
})

// --- NSS

func needsNSS(t *testing.T) {
	needsProgram(t, "pk12util", "libnss3-tools")
	needsProgram(t, "certutil", "libnss3-tools")
}

// nssVersion is the library's, which alone tells.
func nssVersion(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/*/libnss3.so", "/usr/lib64/libnss3.so"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if m := regexp.MustCompile(`Version: NSS ` + number).FindSubmatch(data); m != nil {
				return string(m[1])
			}
		}
	}
	return "unknown"
}

// nickname is a line of certutil -L: a nickname, and what the certificate is
// trusted for.
var nickname = regexp.MustCompile(`(?m)^(.+?) +[a-zA-Z]*,[a-zA-Z]*,[a-zA-Z]*\s*$`)

// keyID is the beginning of a line of certutil -K.
var keyID = regexp.MustCompile(`(?m)^<[ \d]+> +(?:rsa|ec) +([0-9a-f]{20,})`)

func nssDatabase(t *testing.T) string {
	t.Helper()
	db := "sql:" + t.TempDir()
	must(t, command(t, "certutil", "-N", "-d", db, "--empty-password"))
	return db
}

var nssPFX = each(func(t *testing.T, f file) opened {
	db := nssDatabase(t)
	if _, err := output(command(t, "pk12util", "-i", f.path, "-d", db, "-W", f.password, "-K", "")); err != nil {
		return refused("%v", err)
	}
	var o opened
	for _, m := range nickname.FindAllSubmatch(must(t, command(t, "certutil", "-L", "-d", db)), -1) {
		all := fromPEM(must(t, command(t, "certutil", "-L", "-d", db, "-n", string(m[1]), "-a")))
		o.certificates = append(o.certificates, all.certificates...)
	}
	keys, err := output(command(t, "certutil", "-K", "-d", db))
	m := keyID.FindSubmatch(keys)
	if err != nil || m == nil {
		return refused("imports no key")
	}
	request, err := output(command(t, "certutil", "-R", "-d", db, "-k", string(m[1]), "-s", "CN=interop"))
	if err != nil {
		return refused("%v", err)
	}
	key := signed(request)
	o.public, o.reason = key.public, key.reason
	return o
})

// --- gpgsm

var gpgsmVersion = version(`GnuPG\) `+number, "gpgsm", "--version")

func needsGPGSM(t *testing.T) {
	needsProgram(t, "gpgsm", "gpgsm")
	needsProgram(t, "gpg-connect-agent", "gpgconf")
	needsProgram(t, "gpg-agent", "gpg-agent")
}

// gnupgAgain is how often gpgsm gets another file: version 2.2 does not derive the
// right key from about one salt in 60, whoever wrote the 3DES file.
const gnupgAgain = 3

// gnupg is a home of GnuPG with an agent of its own.
type gnupg struct{ home string }

func newGnuPG(t *testing.T) gnupg {
	t.Helper()
	// The agent's socket is in there, and its path may not be long.
	home, err := os.MkdirTemp("", "gnupg")
	if err != nil {
		t.Fatal(err)
	}
	g := gnupg{home}
	for name, text := range map[string]string{
		"gpg-agent.conf": "allow-loopback-pinentry\n",
		"gpgsm.conf":     "pinentry-mode loopback\ndisable-dirmngr\nbatch\nno-tty\nquiet\n",
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		c := exec.Command("gpg-connect-agent", "--no-autostart", "--homedir", home, "killagent", "/bye")
		c.Env = g.env()
		_ = c.Run() // It may never have been started.
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g gnupg) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.home, "GNUPGHOME=" + g.home, "LANG=C.UTF-8"}
}

// gpgsm prepares gpgsm with the password where --passphrase-fd finds it.
func (g gnupg) gpgsm(t *testing.T, password string, args ...string) *exec.Cmd {
	t.Helper()
	c := command(t, "gpgsm", append([]string{"--passphrase-fd", "0"}, args...)...)
	c.Env = g.env()
	c.Stdin = strings.NewReader(password + "\n")
	return c
}

// forget removes all keys and certificates. The agent keeps none in memory.
func (g gnupg) forget(t *testing.T) {
	t.Helper()
	for _, name := range []string{"private-keys-v1.d", "pubring.kbx"} {
		if err := os.RemoveAll(filepath.Join(g.home, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(g.home, "private-keys-v1.d"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func gpgsmPFX(t *testing.T, files []file) []opened {
	t.Helper()
	g := newGnuPG(t)
	return each(func(t *testing.T, f file) opened {
		g.forget(t)
		if _, err := output(g.gpgsm(t, f.password, "--import", f.path)); err != nil {
			return refused("%v", err)
		}
		list := string(must(t, g.gpgsm(t, "", "--list-secret-keys", "--with-colons")))
		m := regexp.MustCompile(`(?m)^fpr:+([0-9A-F]{40}):`).FindStringSubmatch(list)
		if m == nil {
			return refused("imports no key")
		}
		key, err := output(g.gpgsm(t, f.password, "--export-secret-key-raw", "--armor", "0x"+m[1]))
		if err != nil {
			return refused("%v", err)
		}
		return fromPEM(append(key, must(t, g.gpgsm(t, "", "--export", "--armor"))...))
	})(t, files)
}

// --- curl

var curlVersion = version(`curl `+number, "curl", "--version")

func needsCurl(t *testing.T) { needsProgram(t, "curl", "curl") }

// mirror starts a server that answers with the certificates that it was shown,
// in base64, and returns its address and its own certificate as a file.
func mirror(t *testing.T) (address, ca string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, c := range r.TLS.PeerCertificates {
			if i > 0 {
				io.WriteString(w, "\t")
			}
			io.WriteString(w, base64.StdEncoding.EncodeToString(c.Raw))
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server.URL, newFile(t, "ca.pem", own)
}

// shown makes of the certificates that were shown in a handshake what was opened:
// the client has signed with the key of the first.
func (o opened) shown() opened {
	if len(o.certificates) > 0 {
		o.public = o.certificates[0].PublicKey
	}
	return o
}

func curl(kind string) func(*testing.T, []file) []opened {
	return func(t *testing.T, files []file) []opened {
		t.Helper()
		address, ca := mirror(t)
		return each(func(t *testing.T, f file) opened {
			out, err := output(command(t, "curl", "--silent", "--show-error", "--max-time", "30", "--noproxy", "*",
				"--cacert", ca, "--cert-type", kind, "--cert", f.path, "--pass", f.password, address))
			if err != nil {
				return refused("%v", err)
			}
			var o opened
			for field := range strings.SplitSeq(string(out), "\t") {
				der, err := base64.StdEncoding.DecodeString(field)
				if err != nil {
					return refused("shows something broken")
				}
				c, err := x509.ParseCertificate(der)
				if err != nil {
					return refused("shows something broken")
				}
				o.certificates = append(o.certificates, c)
			}
			return o.shown()
		})(t, files)
	}
}

var (
	curlPFX = curl("P12")
	curlPEM = curl("PEM")
)
