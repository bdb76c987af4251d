package app_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/handout"
)

// A private key that is given with a certificate gets into nothing that is handed out.
func TestHandoutsHoldNoPrivateKey(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	key := e.Client().Key
	var secret []string
	for _, part := range [][]byte{key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()} {
		secret = append(secret, string(part))
		for cut := range 3 { // whatever comes before it in a longer base64
			secret = append(secret, base64.StdEncoding.EncodeToString(part[cut:])[:40])
		}
	}
	secret = append(secret, "PRIVATE KEY", e.variables["PFX_PASSWORD"])
	check := func(o outcome) {
		t.Helper()
		o.want(t, ok)
		for _, s := range secret {
			if strings.Contains(o.out+o.err, s) {
				t.Errorf("reeve %s: something private is in it", strings.Join(o.args, " "))
			}
		}
	}
	environ := e.client(t, "REEVE_CLOUD=public", "REEVE_AUTHORITY_HOST=", "REEVE_GRAPH_ENDPOINT=", "REEVE_MANAGE_ENDPOINT=", "REEVE_LOGS_ENDPOINT=", "PASSWORD="+e.variables["PFX_PASSWORD"])
	for _, f := range handout.Formats() {
		for _, more := range [][]string{nil, {"--json"}} {
			check(reeve(t, environ, append([]string{"app", "script", "--format", string(f), "--certificate", e.variables["CERT_PFX"], "--password-env", "PASSWORD"}, more...)...))
			check(reeve(t, environ, append([]string{"app", "script", "--format", string(f), "--certificate", e.variables["CERT_PEM"]}, more...)...))
		}
	}
	for _, f := range []string{"html", "markdown", "json"} {
		check(reeve(t, e.client(t), "app", "consent", "--format", f))
	}
}

// The script for curl registers an application with which reeve then signs in.
func TestScriptThenToken(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed; ./test installs it", program)
		}
	}
	e := emulate(t, tenant.Options{})
	dir := t.TempDir()
	asProgram(t, "reeve", nil, "pki", "new", "--out", dir, "--no-password", "--subject", "CN=second").want(t, ok)
	pem := dir + "/second.pem"
	o := reeve(t, e.client(t), "app", "script", "--format", "http", "--name", "second", "--certificate", pem)
	o.want(t, ok)
	// The hosts are the tenant's own, and the resource that tokens are for is Microsoft's.
	c := exec.CommandContext(t.Context(), "sh", "-c", o.out)
	c.Env = append(c.Environ(), "CURL_CA_BUNDLE="+e.variables["CA_PEM"], "TOKEN=", "NO_PROXY=127.0.0.1")
	c.Stderr = t.Output()
	stdout, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		out = append(append(out, lines.Bytes()...), '\n')
		if m := deviceCode.FindStringSubmatch(lines.Text()); m != nil {
			if err := e.approve(m[1], "admin@"+e.Directory.Domain); err != nil {
				t.Error(err)
			}
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	id := regexp.MustCompile(`reeve app discover (\S+)`).FindSubmatch(bytes.TrimSpace(out))
	if id == nil {
		t.Fatalf("it does not say the client ID:\n%s", out)
	}
	environ := e.client(t, "REEVE_CLIENT_ID="+string(id[1]), "REEVE_AUTH_CERTIFICATE="+pem)
	var got claims
	r := reeve(t, environ, "token", "--claims")
	r.decode(t, &got)
	if got.Application != string(id[1]) || !slices.Equal(got.Roles, []string{"ActivityFeed.Read", "ActivityFeed.ReadDlp"}) {
		t.Errorf("%+v", got)
	}
}
