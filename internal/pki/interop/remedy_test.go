package interop_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/pki"
)

// TestRemedies follows what is said about files that are not read: the command in
// the remedy makes of the file one that is.
func TestRemedies(t *testing.T) {
	if testing.Short() {
		t.Skip("programs of others take their time")
	}
	rsa := pairOf(t, pki.RSA2048)
	key := pki.Pair{Key: rsa.Key}
	for _, test := range []struct {
		how     string
		needs   func(*testing.T)
		in, out string   // the names of the files in the command
		make    []string // what makes the file, the last argument but its path
		answers []string // what the command asks for
		want    pki.Pair
	}{
		{"JKS", needsJava, "FILE.jks", "NEW.pfx",
			[]string{"keytool", "-importkeystore", "-noprompt", "-srckeystore", pfxFile(t, rsa), "-srcstorepass", asciiPassword,
				"-deststoretype", "JKS", "-deststorepass", asciiPassword, "-destkeystore"},
			[]string{asciiPassword, asciiPassword, asciiPassword}, rsa},
		{"JCEKS", needsJava, "FILE.jceks", "NEW.pfx",
			[]string{"keytool", "-importkeystore", "-noprompt", "-srckeystore", pfxFile(t, rsa), "-srcstorepass", asciiPassword,
				"-deststoretype", "JCEKS", "-deststorepass", asciiPassword, "-destkeystore"},
			[]string{asciiPassword, asciiPassword, asciiPassword}, rsa},
		{"Camellia", needsOpenSSL3, "FILE.pfx", "FILE.pem",
			[]string{"openssl", "pkcs12", "-export", "-in", pemFile(t, rsa), "-keypbe", "CAMELLIA-256-CBC", "-certpbe", "CAMELLIA-256-CBC",
				"-passout", "pass:" + asciiPassword, "-out"},
			[]string{asciiPassword}, rsa},
		{"DEK-Info Camellia", needsOpenSSL3, "FILE.pem", "NEW.pem",
			[]string{"openssl", "rsa", "-traditional", "-in", pemFile(t, rsa), "-camellia256", "-passout", "pass:" + asciiPassword, "-out"},
			[]string{asciiPassword, asciiPassword, asciiPassword}, key},
		{"OpenSSH", func(t *testing.T) { needsProgram(t, "ssh-keygen", "openssh-client") }, "COPY", "COPY",
			[]string{"ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f"},
			nil, pki.Pair{}},
	} {
		t.Run(test.how, func(t *testing.T) {
			test.needs(t)
			dir := t.TempDir()
			in, out := filepath.Join(dir, test.in), filepath.Join(dir, test.out)
			must(t, command(t, test.make[0], append(test.make[1:], in)...))
			_, err := pki.Read(read(t, file{path: in}), asciiPassword)
			remedy := asProblem(t, err).Remedy
			line := regexp.MustCompile(`(keytool|openssl|ssh-keygen) -?[a-z][^:;)]*`).FindString(remedy[strings.LastIndexAny(remedy, "(:")+1:])
			if line == "" || !strings.Contains(line, test.in) || !strings.Contains(line, test.out) {
				t.Fatalf("the remedy names no command from %s to %s: %s", test.in, test.out, remedy)
			}
			c := command(t, "sh", "-c", line)
			c.Dir = dir
			// openssl asks on the terminal, and where there is none on its standard input.
			c.Stdin = strings.NewReader(strings.Join(append(test.answers, ""), "\n"))
			must(t, c)
			f := foreign{how: test.how, password: asciiPassword, want: test.want, slow: true}
			if f.data, err = os.ReadFile(out); err != nil {
				t.Fatal(err)
			}
			f.test(t)
		})
	}
}
