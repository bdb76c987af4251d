package interop_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	xcrypto "golang.org/x/crypto/pkcs12"
	gopkcs12 "software.sslmate.com/src/go-pkcs12"
)

// quiet is a log of nothing: clients that are to fail do.
var quiet = log.New(io.Discard, "", 0)

// --- Java

var javaVersion = version(`version "`+`([\d._]+)`, "java", "-version")

func needsJava(t *testing.T) {
	needsProgram(t, "java", "default-jdk-headless")
	needsProgram(t, "javac", "default-jdk-headless")
}

// keytool prepares Java's keytool; its start is shorter without the better
// compiler.
func keytool(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return command(t, "keytool", append([]string{"-J-XX:TieredStopAtLevel=1", "-J-Duser.language=en"}, args...)...)
}

// keystorePassword is of keystores that live as long as a test.
const keystorePassword = "changeit"

var keytoolPFX = each(func(t *testing.T, f file) opened {
	into := filepath.Join(t.TempDir(), "keystore")
	c := keytool(t, "-importkeystore", "-noprompt", "-srckeystore", f.path, "-srcstoretype", "PKCS12", "-srcstorepass:env", "PASSWORD",
		"-destkeystore", into, "-deststoretype", "PKCS12", "-deststorepass", keystorePassword)
	c.Env = append(c.Env, "PASSWORD="+f.password)
	if _, err := output(c); err != nil {
		return refused("%v", err)
	}
	return goPKCS12PFX(t, []file{{into, keystorePassword}})[0]
})

var keytoolCertificate = each(func(t *testing.T, f file) opened {
	out, err := output(keytool(t, "-printcert", "-rfc", "-file", f.path))
	if err != nil {
		return refused("%v", err)
	}
	return fromPEM(out)
})

func javaPFX(provider string) func(*testing.T, []file) []opened {
	return func(t *testing.T, files []file) []opened {
		t.Helper()
		return batch(t, command(t, "java", "-XX:TieredStopAtLevel=1", "-cp", bouncyCastle, testdata(t, "java", "Open.java"), provider), files)
	}
}

// bouncyCastle is where Debian puts it.
const bouncyCastle = "/usr/share/java/bcprov.jar"

func needsBouncyCastle(t *testing.T) {
	needsJava(t)
	if _, err := os.Stat(bouncyCastle); err != nil {
		t.Skip("libbcprov-java is not installed; ./test installs it")
	}
}

// bouncyCastleVersion is what Debian's link leads to.
func bouncyCastleVersion(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(bouncyCastle)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`bcprov-` + number + `\.jar$`).FindStringSubmatch(path)
	if m == nil {
		t.Fatalf("%s does not tell its version", path)
	}
	return m[1]
}

// --- Node.js

var nodeVersion = version(`v`+number, "node", "--version")

func needsNode(t *testing.T) { needsProgram(t, "node", "nodejs") }

func nodeTLS(t *testing.T, files []file) []opened {
	t.Helper()
	address, ca := mirror(t)
	results := batch(t, command(t, "node", testdata(t, "node", "tls.mjs"), address, ca), files)
	for i := range results {
		results[i] = results[i].shown()
	}
	return results
}

func needsForge(t *testing.T) {
	needsNode(t)
	npm(t, "node")
}

func forgeVersion(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(npm(t, "node"), "node_modules", "node-forge", "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var about struct{ Version string }
	if err := json.Unmarshal(text, &about); err != nil {
		t.Fatal(err)
	}
	return about.Version
}

// forge prepares a program of testdata/node that uses node-forge.
func forge(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	c := command(t, "node", append([]string{program}, args...)...)
	// Node looks for packages beside the program.
	if err := os.CopyFS(c.Dir, os.DirFS(testdata(t, "node"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(npm(t, "node"), "node_modules"), filepath.Join(c.Dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return c
}

func forgePFX(t *testing.T, files []file) []opened {
	t.Helper()
	return batch(t, forge(t, "forge.mjs"), files)
}

// --- Python

// python is Debian's own, which alone sees Debian's packages.
const python = "/usr/bin/python3"

var pythonVersion = version(number, python, "-c", "import cryptography; print(cryptography.__version__)")

func needsPython(t *testing.T) {
	t.Helper()
	if err := exec.Command(python, "-c", "import cryptography").Run(); err != nil {
		t.Skip("python3-cryptography is not installed; ./test installs it")
	}
}

func pythonOpen(t *testing.T, files []file) []opened {
	t.Helper()
	// -B: no cache of compiled files in the repository.
	return batch(t, command(t, python, "-B", testdata(t, "python", "open.py")), files)
}

// --- Go

func goNeeds(*testing.T) {}

// moduleVersion returns the version of a module by go.mod.
func moduleVersion(module string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == module {
				return strings.TrimPrefix(fields[1], "v")
			}
		}
		t.Fatalf("go.mod does not name %s", module)
		return ""
	}
}

func read(t *testing.T, f file) []byte {
	t.Helper()
	data, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func publicOf(key any) crypto.PublicKey {
	if s, ok := key.(crypto.Signer); ok {
		return s.Public()
	}
	return nil
}

var xcryptoPFX = each(func(t *testing.T, f file) opened {
	blocks, err := xcrypto.ToPEM(read(t, f), f.password)
	if err != nil {
		return refused("%v", err)
	}
	var o opened
	for _, b := range blocks {
		if b.Type == "CERTIFICATE" {
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(b.Bytes); err == nil {
				o.certificates = append(o.certificates, c)
			}
		} else {
			o.public, err = publicHalf(b.Bytes)
		}
		if err != nil {
			return refused("gives out something broken")
		}
	}
	return o
})

var goPKCS12PFX = each(func(t *testing.T, f file) opened {
	key, leaf, others, err := gopkcs12.DecodeChain(read(t, f), f.password)
	if err != nil {
		return refused("%v", err)
	}
	return opened{certificates: append(others, leaf), public: publicOf(key)}
})

var azidentityOpen = each(func(t *testing.T, f file) opened {
	certificates, key, err := azidentity.ParseCertificates(read(t, f), []byte(f.password))
	if err != nil {
		return refused("%v", err)
	}
	return opened{certificates: certificates, public: publicOf(key)}
})
