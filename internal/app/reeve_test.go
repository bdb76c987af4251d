// The commands, tested as people use them: the scripts in testdata/script run
// reeve as a program, and the other tests call [app.Main] with an environment of
// their own. What all of them share is in this file.
package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/reeve365/reeve/internal/app"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

func TestMain(m *testing.M) {
	// Those that run in parallel wait most of the time, for an emulated directory in which
	// changes take a minute to show.
	flag.Set("test.parallel", "8")
	testscript.Main(m, map[string]func(){
		"reeve":              program,
		"reeve-unprivileged": func() { dropPrivileges(); program() },
	})
}

// program is what cmd/reeve does.
func program() {
	ctx, stop := interruptible()
	defer stop()
	os.Exit(app.Main(ctx, os.Args[1:], os.Environ(), app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// Exit codes, as the documents promise them.
const (
	ok            = 0
	failure       = 1
	usage         = 2
	configuration = 3
	signIn        = 4
	source        = 5
	database      = 6
	check         = 7
)

// deadline is far beyond what any command here takes.
const deadline = 2 * time.Minute

// outcome is how a run of reeve ended, and what it said.
type outcome struct {
	args     []string
	code     int
	out, err string
}

// reeve runs a command in this process. It sees the given environment, and of
// the process's own only what the SDKs read by themselves.
func reeve(t testing.TB, environ []string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var out, err bytes.Buffer
	code := app.Main(ctx, args, environ, app.Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return outcome{args, code, out.String(), err.String()}
}

// endAtOnce spares a program that was built with the race detector the second
// that it else waits at its end.
const endAtOnce = "GORACE=atexit_sleep_ms=0"

// asProgram runs reeve as a process of its own, for what the Azure SDK reads
// from the process's environment by itself.
func asProgram(t testing.TB, name string, environ []string, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env, cmd.Dir = append(environ, endAtOnce), t.TempDir()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, e)
	}
	return outcome{args, cmd.ProcessState.ExitCode(), out.String(), err.String()}
}

// want checks the exit code, and that standard error has each of the texts.
func (o outcome) want(t testing.TB, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("reeve %s: exit code %d, want %d", strings.Join(o.args, " "), o.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(o.err, text) {
			t.Errorf("reeve %s: standard error lacks %q", strings.Join(o.args, " "), text)
		}
	}
	if t.Failed() {
		t.Logf("reeve %s\nstandard output:\n%s\nstandard error:\n%s", strings.Join(o.args, " "), o.out, o.err)
	}
}

// decode reads standard output as JSON.
func (o outcome) decode(t testing.TB, to any) {
	t.Helper()
	o.want(t, ok)
	if err := json.Unmarshal([]byte(o.out), to); err != nil {
		t.Fatalf("reeve %s: %v in\n%s", strings.Join(o.args, " "), err, o.out)
	}
}

// emulated is an emulated tenant served by this process, so that a test can
// change what is in it.
type emulated struct {
	*tenant.Tenant
	service   *emulator.Emulator
	variables map[string]string
}

// emulate serves a small tenant without faults, until the test ends.
func emulate(t testing.TB, o tenant.Options) *emulated {
	t.Helper()
	return emulateIn(t, "", o)
}

// emulateIn is emulate in one of Microsoft's clouds, by the emulator's name.
func emulateIn(t testing.TB, cloud string, o tenant.Options) *emulated {
	t.Helper()
	o.Calm = true
	if o.Users == 0 {
		o.Users, o.Days, o.PerUser = 3, 1, 10
	}
	state, err := tenant.New(o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := emulator.Start(emulator.Options{Tenant: state, Calm: true, Cloud: cloud})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	variables, err := e.WriteClient(filepath.Join(t.TempDir(), "client"))
	if err != nil {
		t.Fatal(err)
	}
	return &emulated{state, e, byName(variables)}
}

func byName(variables []string) map[string]string {
	m := map[string]string{}
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		m[name] = value
	}
	return m
}

// cloud gives the settings that replace Microsoft's hosts by the emulated ones,
// and a database that is not there yet.
func (e *emulated) cloud(t testing.TB, more ...string) []string {
	environ := []string{
		"REEVE_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "reeve.db"),
		"REEVE_FEEDS_AUDIT_DAYS=1",
		"REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true",
	}
	for _, name := range []string{"REEVE_CLOUD", "REEVE_AUTHORITY_HOST", "REEVE_GRAPH_ENDPOINT", "REEVE_MANAGE_ENDPOINT", "REEVE_LOGS_ENDPOINT", "REEVE_CA_FILE"} {
		environ = append(environ, name+"="+e.variables[name])
	}
	return append(environ, more...)
}

// client adds to cloud who signs in, with the registered certificate unless
// more says otherwise.
func (e *emulated) client(t testing.TB, more ...string) []string {
	return e.cloud(t, append([]string{
		"REEVE_TENANT_ID=" + e.ID,
		"REEVE_CLIENT_ID=" + e.Client().ClientID,
		"REEVE_AUTH_CERTIFICATE=" + e.variables["CERT_PEM"],
		"REEVE_VAULT_URL=" + e.variables["VAULT_URL"],
	}, more...)...)
}

// databasePath is where the environment says that the database is.
func databasePath(environ []string) string {
	return strings.TrimPrefix(byName(environ)["REEVE_DATABASE_URL"], "sqlite:")
}

// emulateCommand runs "reeve emulate" with the arguments until the test ends,
// and gives the variables of its env-file.
func emulateCommand(t testing.TB, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "tenant.env")
	r := start(t, nil, append([]string{"emulate", "--env-file", file, "--dir", filepath.Join(dir, "client")}, args...)...)
	t.Cleanup(func() { r.interrupt(t).want(t, ok) })
	r.says(t, regexp.MustCompile(regexp.QuoteMeta(file)))
	return exported(string(mustRead(t, file)))
}

// running is a run of reeve that goes on until it is interrupted.
type running struct {
	args     []string
	cancel   context.CancelFunc
	out, err buffer
	done     chan struct{} // closed at the end
	code     int           // after that
}

func start(t testing.TB, environ []string, args ...string) *running {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	r := &running{args: args, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.code = app.Main(ctx, args, environ, app.Streams{In: strings.NewReader(""), Out: &r.out, Err: &r.err})
	}()
	t.Cleanup(func() { r.interrupt(t) })
	return r
}

// says waits until standard error matches, and gives it.
func (r *running) says(t testing.TB, pattern *regexp.Regexp) string {
	t.Helper()
	for range ticks() {
		if said := r.err.String(); pattern.MatchString(said) {
			return said
		}
		select {
		case <-r.done:
			t.Fatalf("reeve %s ended with %d:\n%s", strings.Join(r.args, " "), r.code, r.err.String())
		default:
		}
	}
	t.Fatalf("reeve %s does not say %s:\n%s", strings.Join(r.args, " "), pattern, r.err.String())
	return ""
}

// interrupt ends the run, if it has not ended yet.
func (r *running) interrupt(t testing.TB) outcome {
	t.Helper()
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(deadline):
		t.Fatalf("reeve %s does not end when it is interrupted", strings.Join(r.args, " "))
	}
	return outcome{r.args, r.code, r.out.String(), r.err.String()}
}

// buffer is a buffer that one can look into while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// exported reads lines of the form export NAME='VALUE'.
func exported(text string) []string {
	var variables []string
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		variables = append(variables, name+"="+strings.ReplaceAll(strings.Trim(value, "'"), `'\''`, "'"))
	}
	return variables
}

// ticks gives a look at something every few milliseconds, until it has taken too
// long.
func ticks() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		end := time.After(deadline)
		for n := 0; yield(n); n++ {
			select {
			case <-ticker.C:
			case <-end:
				return
			}
		}
	}
}

// otherKey is a key that no tenant knows.
var otherKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// issue makes a certificate that the key signs itself.
func issue(t testing.TB, name string, key crypto.Signer, from, until time.Time) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: from, NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// writePEM writes a private key and certificates into a new file.
func writePEM(t testing.TB, key crypto.Signer, certificates ...*x509.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return write(t, "pair.pem", text)
}

// writePFX writes a private key and certificates into a new file with a
// password, by AES-256 and SHA-256.
func writePFX(t testing.TB, password string, key crypto.Signer, first *x509.Certificate, others ...*x509.Certificate) string {
	t.Helper()
	pfx, err := pkcs12.Modern2023.Encode(key, first, others, password)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "pair.pfx", pfx)
}

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustNotExist(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s was made (%v)", path, err)
	}
}
