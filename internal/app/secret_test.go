package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// canary is a secret that must not be seen.
type canary struct{ name, text string }

// tokenShape is how every access token and every client assertion begins: the
// base64 of {" and of the name of a member, which is one of a few.
var tokenShape = regexp.MustCompile(`eyJ(0eXAi|hbGci|raWQi|ub25jZ|4NX|4NWMi|hdWQi)`) // typ, alg, kid, nonce, x5t, x5c, aud

// canaries adds to more what must not be seen of the private keys in a PEM file:
// their lines, and their bytes, as they are and in hexadecimal.
func canaries(t testing.TB, pemFile string, more ...canary) []canary {
	t.Helper()
	for rest := mustRead(t, pemFile); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return more
		}
		if block.Type != "PRIVATE KEY" {
			continue
		}
		text := base64.StdEncoding.EncodeToString(block.Bytes)
		for i := 64; i+64 <= len(text); i += 64 { // the first line is the same for all RSA keys
			more = append(more, canary{"a line of the private key", text[i : i+64]})
		}
		inner := block.Bytes[len(block.Bytes)/2:][:24]
		more = append(more, canary{"the private key", string(inner)}, canary{"the private key in hexadecimal", hex.EncodeToString(inner)})
	}
}

// mustHide looks for secrets, and for tokens, in what reeve has said or written.
func mustHide(t testing.TB, what, text string, secrets []canary) {
	t.Helper()
	for _, c := range secrets {
		if strings.Contains(text, c.text) {
			t.Errorf("%s shows %s", what, c.name)
		}
	}
	if at := tokenShape.FindStringIndex(text); at != nil {
		t.Errorf("%s shows a token after %q", what, text[max(0, at[0]-80):at[0]])
	}
}

// mustHideFiles does the same for each file of a folder.
func mustHideFiles(t testing.TB, folder string, secrets []canary) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		mustHide(t, path, string(mustRead(t, path)), secrets)
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d files were looked at: %v", n, err)
	}
}

// The tests below would find a secret: they find those that are there.
func TestCanariesAreFound(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	o := reeve(t, e.client(t), "token")
	o.want(t, ok)
	secrets := canaries(t, e.variables["CERT_PEM"])
	for name, text := range map[string]string{
		"a token":     o.out,
		"a PEM file":  string(mustRead(t, e.variables["CERT_PEM"])),
		"half a file": string(mustRead(t, e.variables["CERT_PEM"])[600:900]),
	} {
		found := &silent{TB: t}
		if mustHide(found, name, text, secrets); !found.failed {
			t.Errorf("nothing is found in %s", name)
		}
	}
}

// silent takes errors as an answer.
type silent struct {
	testing.TB
	failed bool
}

func (s *silent) Errorf(string, ...any) { s.failed = true }

// Whatever reeve does, and however it fails, no secret is in what it prints,
// logs or stores; a token only where one was asked for.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	const (
		secret   = "Canary~8Q~client.secret-value_0123456789"
		password = "canary pfx pässword and more"
		wrong    = "wrong-canary-password-123"
	)
	if _, err := e.Directory.AddPassword(e.Client().ClientID, secret, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	stranger := writePEM(t, otherKey(), issue(t, "stranger", otherKey(), time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)))
	pfx := writePFX(t, password, e.Client().Key, e.Client().Certificate)
	secrets := canaries(t, e.variables["CERT_PEM"],
		canary{"the client secret", secret}, canary{"the PFX password", password}, canary{"the wrong PFX password", wrong},
		canary{"the secret of the managed identity", e.variables["IDENTITY_HEADER"]})
	secrets = canaries(t, stranger, secrets...)

	byPFX := []string{"REEVE_AUTH_CERTIFICATE=" + pfx, "REEVE_AUTH_CERTIFICATE_PASSWORD=" + password}
	bySecret := []string{"REEVE_AUTH_METHOD=secret", "REEVE_AUTH_CLIENT_SECRET=" + secret}
	byVault := []string{"REEVE_AUTH_CERTIFICATE=keyvault:" + tenant.CertificateName,
		"IDENTITY_ENDPOINT=" + e.variables["IDENTITY_ENDPOINT"], "IDENTITY_HEADER=" + e.variables["IDENTITY_HEADER"]}
	for _, tt := range []struct {
		name    string
		environ []string
		code    int
		args    []string
	}{
		{"import by PFX", byPFX, ok, []string{"import", "run", "--once", "--json"}},
		{"import by secret", bySecret, ok, []string{"import", "run", "--once"}},
		{"import by vault", byVault, ok, []string{"import", "run", "--once"}},
		{"claims by PFX", byPFX, ok, []string{"token", "--claims"}},
		{"claims by secret", bySecret, ok, []string{"token", "--claims"}},
		{"settings", append(byPFX, bySecret...), ok, []string{"config", "show"}},
		{"settings as JSON", append(byPFX, bySecret...), ok, []string{"config", "show", "--json"}},
		{"validation", bySecret, ok, []string{"config", "validate"}},
		{"status", byPFX, database, []string{"import", "status", "--json"}},
		{"secret as a flag", nil, ok, []string{"token", "--claims", "--auth-method", "secret", "--auth-client-secret", secret}},
		{"wrong setting beside a secret", append(byPFX, "REEVE_LISTEN=x"), configuration, []string{"import", "run"}},
		{"secret with a wrong name", []string{"REEVE_AUTH_CLIENT_SECRETT=" + secret}, configuration, []string{"import", "run"}},
		{"secret given twice", append(bySecret, "REEVE_AUTH_CLIENT_SECRET_FILE="+stranger), configuration, []string{"token"}},
		{"secret in the place of a method", []string{"REEVE_AUTH_METHOD=certificate", "UseClientCertificate=maybe", "ClientSecret=" + secret}, configuration, []string{"token"}},
		{"wrong secret", []string{"REEVE_AUTH_METHOD=secret", "REEVE_AUTH_CLIENT_SECRET=" + wrong}, signIn, []string{"import", "run", "--once"}},
		{"right secret, wrong application", append(bySecret, "REEVE_CLIENT_ID=11111111-2222-3333-4444-555555555555"), signIn, []string{"import", "run", "--once"}},
		{"right secret, no authority", append(bySecret, "REEVE_AUTHORITY_HOST="+e.variables["MANAGE_BASE"]), source, []string{"import", "run", "--once"}},
		{"wrong password", []string{"REEVE_AUTH_CERTIFICATE=" + pfx, "REEVE_AUTH_CERTIFICATE_PASSWORD=" + wrong}, configuration, []string{"import", "run", "--once"}},
		{"unknown certificate", []string{"REEVE_AUTH_CERTIFICATE=" + stranger}, signIn, []string{"import", "run", "--once"}},
		{"private key in the place of the authority", []string{"REEVE_CA_FILE=" + writePEM(t, otherKey())}, configuration, []string{"import", "run", "--once"}},
		{"private key in the place of the configuration", []string{"REEVE_CONFIG=" + stranger}, configuration, []string{"import", "run", "--once"}},
		{"source that is not one", append(byPFX, "REEVE_MANAGE_ENDPOINT="+e.variables["GRAPH_BASE"]), source, []string{"import", "run", "--once"}},
	} {
		for _, format := range []string{"text", "json"} {
			if format == "json" && tt.args[0] != "import" {
				continue // what it says is not in the log
			}
			t.Run(tt.name+", "+format, func(t *testing.T) {
				t.Parallel()
				environ := e.client(t, append(tt.environ, "REEVE_LOG_LEVEL=debug", "REEVE_LOG_FORMAT="+format,
					"AZURE_SDK_GO_LOGGING=all")...) // by which the SDK writes a log of its own
				o := asProgram(t, "reeve", environ, tt.args...)
				o.want(t, tt.code)
				mustHide(t, "standard output", o.out, secrets)
				mustHide(t, "standard error", o.err, secrets)
				if _, err := os.Stat(databasePath(environ)); err == nil {
					mustHideFiles(t, filepath.Dir(databasePath(environ)), secrets)
				}
			})
		}
	}
}

// A server that repeats in its refusal what it was sent, as some proxies do,
// does not bring the secret, the assertion or the token to light.
func TestEchoesAreHidden(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	const secret = "Canary~8Q~client.secret-value_0123456789"
	if _, err := e.Directory.AddPassword(e.Client().ClientID, secret, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		more   []string
		code   int
		echoes string // what the server was sent
	}{
		{"assertion", []string{"REEVE_AUTHORITY_HOST=ECHO"}, signIn, "client_assertion=eyJ"},
		{"secret", []string{"REEVE_AUTHORITY_HOST=ECHO", "REEVE_AUTH_METHOD=secret", "REEVE_AUTH_CLIENT_SECRET=" + secret}, signIn, "client_secret=" + secret},
		{"token", []string{"REEVE_MANAGE_ENDPOINT=ECHO"}, signIn, "Authorization: Bearer eyJ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, sent := echo(t)
			for i := range tt.more {
				tt.more[i] = strings.Replace(tt.more[i], "ECHO", server.URL, 1)
			}
			ca := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), mustRead(t, e.variables["CA_PEM"])...)
			environ := e.client(t, append(tt.more, "REEVE_CA_FILE="+write(t, "ca.pem", ca), "REEVE_LOG_LEVEL=debug")...)
			o := reeve(t, environ, "import", "run", "--once")
			o.want(t, tt.code, "you sent")
			if !strings.Contains(sent.String(), tt.echoes) {
				t.Errorf("the server was not sent %s...", tt.echoes)
			}
			secrets := canaries(t, e.variables["CERT_PEM"], canary{"the client secret", secret})
			mustHide(t, "standard output", o.out, secrets)
			mustHide(t, "standard error", o.err, secrets)
			mustHideFiles(t, filepath.Dir(databasePath(environ)), secrets)
		})
	}
}

// echo serves every path but discovery with a refusal that repeats the request.
func echo(t testing.TB) (*httptest.Server, *buffer) {
	sent := new(buffer)
	var server *httptest.Server
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if base, ok := strings.CutSuffix(r.URL.Path, "/v2.0/.well-known/openid-configuration"); ok {
			json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL + base + "/v2.0",
				"token_endpoint": server.URL + base + "/oauth2/v2.0/token", "authorization_endpoint": server.URL + base + "/oauth2/v2.0/authorize"})
			return
		}
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		text := "Authorization: " + r.Header.Get("Authorization") + " " + string(body)
		io.WriteString(sent, text)
		w.WriteHeader(http.StatusBadRequest)
		if len(body) > 0 {
			json.NewEncoder(w).Encode(map[string]any{"error": "invalid_request", "error_description": "AADSTS90014: you sent " + text})
		} else {
			json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "AF10001", "message": "you sent " + text}})
		}
	}))
	t.Cleanup(server.Close)
	return server, sent
}

// The file for clients of an emulated tenant names the password of its PFX file,
// which they need, and no private key. Nobody else can read it.
func TestEnvFileSecrets(t *testing.T) {
	t.Parallel()
	variables := byName(emulateCommand(t, "--calm", "--users", "2", "--days", "1", "--per-user", "5"))
	folder := filepath.Dir(filepath.Dir(variables["CERT_PEM"]))
	text := string(mustRead(t, filepath.Join(folder, "tenant.env")))
	mustHide(t, "the env-file", text, canaries(t, variables["CERT_PEM"]))
	if strings.Count(text, variables["PFX_PASSWORD"]) != 1 {
		t.Errorf("the env-file has the password %d times", strings.Count(text, variables["PFX_PASSWORD"]))
	}
	for _, name := range []string{filepath.Join(folder, "tenant.env"), variables["CERT_PEM"], variables["CERT_PFX"]} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// The demo goes on with a status page, which shows what was imported, and ends
// when it is interrupted, without a trace.
func TestDemoPage(t *testing.T) {
	t.Parallel()
	demo := start(t, nil, "demo", "--calm", "--users", "3", "--days", "1", "--per-user", "10",
		"--listen", "127.0.0.1:0", "--log-level", "debug")
	page := regexp.MustCompile(`Status page: (http://127\.0\.0\.1:\d+/) .*the database is sqlite:(\S+)\)`)
	found := page.FindStringSubmatch(demo.says(t, page))
	demo.says(t, regexp.MustCompile("The tenant goes on"))
	folder := filepath.Dir(found[2])
	secrets := canaries(t, filepath.Join(folder, "tenant", "client.pem"))
	resp, err := http.Get(found[1])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	for _, want := range []string{"Nothing here is real", "Audit.SharePoint", "Audit.Exchange", "DLP.All"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("the status page lacks %q", want)
		}
	}
	mustHide(t, "the status page", string(body), secrets)
	for _, name := range []string{found[2], found[2] + "-wal"} {
		mustHide(t, name, string(mustRead(t, name)), secrets)
	}

	o := demo.interrupt(t)
	o.want(t, ok)
	mustHide(t, "standard output", o.out, secrets)
	mustHide(t, "standard error", o.err, secrets)
	if !strings.Contains(o.out, " 0 missing\n") {
		t.Errorf("standard output:\n%s", o.out)
	}
	mustNotExist(t, folder)
}
