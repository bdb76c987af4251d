package sample_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/sample"
)

// nasty is the name of a folder in which every language and shell would stumble if it
// were not quoted.
const nasty = `it's "a" $HOME ` + "`b`" + ` \n #{c} %d {{d}} <e>&é😀’*`

// debianPython alone sees Debian's packages.
const debianPython = "/usr/bin/python3"

// world is an emulated tenant, and the files of a client with nasty names.
type world struct {
	*emulatortest.World
	env  []string
	pem  string // the certificate and its private key
	ca   string
	pair pki.Pair
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{World: emulatortest.Start(t, nil)}
	if err := w.Tenant.Directory.GrantRole(w.Tenant.Client().ClientID, directory.Graph, "Organization.Read.All"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), nasty)
	variables, err := w.WriteClient(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variables {
		// The program has to know the rest by itself.
		if strings.HasPrefix(v, "IDENTITY_") {
			w.env = append(w.env, v)
		}
	}
	w.pem, w.ca = filepath.Join(dir, "client.pem"), filepath.Join(dir, "ca.pem")
	c := w.Tenant.Client()
	w.pair = pki.Pair{Certificate: c.Certificate, Key: c.Key}
	return w
}

func (w *world) cloud() m365.Cloud {
	c, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		panic(err)
	}
	c.AuthorityHost, c.Graph = w.Origins().Authority, w.Origins().Graph
	return c
}

// settings are those of a program that takes the certificate from the file.
func (w *world) settings() sample.Settings {
	return sample.Settings{
		Cloud: w.cloud(), TenantID: w.Tenant.ID, ClientID: w.Tenant.Client().ClientID,
		Path: w.pem, CAFile: w.ca, Call: "/organization",
	}
}

// vaulted are those of one that takes it from the vault.
func (w *world) vaulted() sample.Settings {
	s := w.settings()
	s.Path, s.VaultURL, s.Name = "", w.Origins().Vault, tenant.CertificateName
	return s
}

// command prepares a program that sees nothing of the variables of the test.
func (w *world) command(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}, w.env...)
	c.WaitDelay = 5 * time.Second
	return c
}

// shell runs the shell lines of a README, in its folder.
func (w *world) shell(t *testing.T, dir, lines string, env ...string) (string, error) {
	t.Helper()
	c := w.command(t, dir, "sh", "-euc", lines)
	c.Env = append(c.Env, env...)
	out, err := c.CombinedOutput()
	return string(out), err
}

func needs(t *testing.T, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed; ./test installs it", debian)
	}
}

// runners prepare what the README has people install, and give the line that runs the
// program as the test has it, from the README's.
var runners = map[string]func(t *testing.T, dir, run string) (line string, env []string){
	"go": func(t *testing.T, dir, run string) (string, []string) {
		// It is built in this module: go.mod of the program names the same versions,
		// which another test sees to.
		if err := os.Remove(filepath.Join(dir, "go.mod")); err != nil {
			t.Fatal(err)
		}
		here, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		var env []string
		for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB"} {
			value, err := exec.Command("go", "env", name).Output()
			if err != nil {
				t.Fatal(err)
			}
			env = append(env, name+"="+strings.TrimSpace(string(value)))
		}
		built := filepath.Join(dir, "sample")
		c := exec.Command("go", "build", "-o", built, filepath.Join(dir, "main.go"))
		c.Dir = here
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.Replace(run, "go run .", "./sample", 1), env
	},
	"node": func(t *testing.T, dir, run string) (string, []string) {
		if err := os.Symlink(filepath.Join(emulatortest.NodePackages(t, filepath.Join("..", "emulator", "clients", "testdata", "node")), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		return run, nil
	},
	"python": func(t *testing.T, dir, run string) (string, []string) {
		if err := exec.Command(debianPython, "-c", "import azure.identity, azure.keyvault.secrets, requests").Run(); err != nil {
			t.Skip("python3-azure is not installed; ./test installs it")
		}
		// Before its release 1.13.0 azure-identity called it so. Debian 12 has 1.13.0b2.
		probe := "import sys; from azure.identity import _version; sys.exit('b' in _version.VERSION)"
		if exec.Command(debianPython, "-c", probe).Run() != nil {
			main := filepath.Join(dir, "main.py")
			text, err := os.ReadFile(main)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.ReplaceAll(text, []byte("disable_instance_discovery=True"), []byte("instance_discovery=False"))
			if err := os.WriteFile(main, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Replace(run, "venv/bin/python", debianPython+" -B", 1), nil
	},
	"java": func(t *testing.T, dir, run string) (string, []string) {
		needs(t, "javac", "default-jdk-headless")
		return run, nil
	},
	"php": func(t *testing.T, dir, run string) (string, []string) {
		needs(t, "php", "php-cli")
		if exec.Command("php", "-r", "exit(function_exists('curl_init') ? 0 : 1);").Run() != nil {
			t.Skip("php-curl is not installed; ./test installs it")
		}
		return run, nil
	},
}

// runLine is the last shell block of "Running it" without its installing.
func runLine(t *testing.T, l sample.Language, readme string) string {
	t.Helper()
	_, block, ok := strings.Cut(readme, "```sh\n")
	block, _, closed := strings.Cut(block, "```\n")
	if !ok || !closed {
		t.Fatalf("the README has no block to run:\n%s", readme)
	}
	var lines []string
	for line := range strings.Lines(block) {
		switch first, _, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(line, "go mod"), first == "npm", strings.Contains(line, "-m venv"), strings.Contains(line, "pip install"):
		default:
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Each program that can be run here signs in and asks Graph, as it and its README stand,
// from a path that needs quoting, from the vault, and from the one version of it that
// is named; what Entra ID and Graph refuse makes it fail and say so.
func TestProgramsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("programs of others take their time")
	}
	w := start(t)
	c := w.Tenant.Client()
	unpermitted := w.Tenant.Directory.NewApplication("without permissions")
	if _, err := w.Tenant.Directory.AddKeyCredential(unpermitted.AppID, c.Certificate.Raw, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	newest, _ := w.Tenant.Vault.Certificate(tenant.CertificateName, "")
	if _, err := w.Tenant.Vault.Import("as-pem", "application/x-pem-file", c.Certificate, c.Key); err != nil {
		t.Fatal(err)
	}
	for _, l := range sample.Languages() {
		if l.Unrun != "" {
			continue
		}
		prepare := runners[l.Name]
		if prepare == nil {
			t.Errorf("%s is said to be run, and nothing is known to run it", l.Name)
			continue
		}
		stranger := w.settings()
		stranger.ClientID = "00000000-0000-4000-8000-00000000000a"
		forbidden := w.settings()
		forbidden.ClientID = unpermitted.AppID
		version := w.vaulted()
		version.Version = newest.Version
		asPEM := w.vaulted()
		asPEM.Name = "as-pem"
		for _, tt := range []struct {
			name     string
			settings sample.Settings
			want     string
			refused  bool
		}{
			{"file", w.settings(), w.Tenant.Domain, false},
			{"vault", w.vaulted(), w.Tenant.Domain, false},
			{"vault, a version", version, w.Tenant.Domain, false},
			{"vault, PEM", asPEM, w.Tenant.Domain, false},
			{"unknown application", stranger, "AADSTS700016", true},
			{"no permission", forbidden, "403", true},
		} {
			t.Run(l.Name+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				files, err := tt.settings.Program(l.Name)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				for _, f := range files {
					if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				line, env := prepare(t, dir, runLine(t, l, files[len(files)-1].Text))
				out, err := w.shell(t, dir, line, env...)
				var exit *exec.ExitError
				if refused := errors.As(err, &exit); refused != tt.refused || err != nil && !refused || !strings.Contains(out, tt.want) {
					t.Errorf("%v, want refused %v with %q:\n%s", err, tt.refused, tt.want, out)
				}
				if strings.Contains(out, "PRIVATE KEY") {
					t.Error("it prints the private key")
				}
			})
		}
	}
}

// prover proves at the emulated tenant.
func (w *world) prover() (*m365.Prover, m365.ProofRequest) {
	p := &m365.Prover{Cloud: w.cloud(), HTTP: w.HTTPClient()}
	return p, m365.ProofRequest{
		TenantID: w.Tenant.ID, ClientID: w.Tenant.Client().ClientID, Pair: w.pair, Resource: "https://graph.microsoft.com",
	}
}

// Each form of the request that can be run here gets a token, with the certificate and
// with a ready assertion.
func TestScriptsGetTokens(t *testing.T) {
	w := start(t)
	p, r := w.prover()
	signed, err := p.SignedRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	for form, run := range map[string]func(t *testing.T, text string) *exec.Cmd{
		"curl": func(t *testing.T, text string) *exec.Cmd {
			needs(t, "curl", "curl")
			needs(t, "openssl", "openssl")
			return w.command(t, t.TempDir(), "sh", "-c", text)
		},
		"python": func(t *testing.T, text string) *exec.Cmd {
			if err := exec.Command(debianPython, "-c", "import cryptography").Run(); err != nil {
				t.Skip("python3-cryptography is not installed; ./test installs it")
			}
			return w.command(t, t.TempDir(), debianPython, "-c", text)
		},
		"javascript": func(t *testing.T, text string) *exec.Cmd {
			needs(t, "node", "Node.js")
			// As the comment in it says.
			_, line, ok := strings.Cut(text, "//   ")
			line, _, _ = strings.Cut(line, "\n")
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "FILE.mjs"), []byte(text), 0o600); err != nil || !ok {
				t.Fatal(err, "or no line that runs it")
			}
			return w.command(t, dir, "sh", "-c", line)
		},
	} {
		for name, script := range map[string]sample.Script{
			"from the certificate": {Request: p.Request(r), Path: w.pem, CAFile: w.ca},
			"ready":                {Request: signed, CAFile: w.ca, Until: time.Now().Add(5 * time.Minute)},
		} {
			t.Run(form+" "+name, func(t *testing.T) {
				t.Parallel()
				text, err := script.In(form)
				if err != nil {
					t.Fatal(err)
				}
				if ready := strings.Contains(text, "eyJ"); ready != (name == "ready") || ready != strings.Contains(text, "SO IS THIS SCRIPT") {
					t.Errorf("it has a ready assertion: %v", ready)
				}
				c := run(t, text)
				var stderr strings.Builder
				c.Stderr = &stderr
				out, err := c.Output()
				var answer struct {
					AccessToken string `json:"access_token"`
				}
				if err == nil {
					err = json.Unmarshal(out, &answer)
				}
				if err != nil || answer.AccessToken == "" {
					t.Fatalf("%v\n%s%s", err, out, stderr.String())
				}
				_, claims, err := m365.Claims(answer.AccessToken)
				if err != nil || claims["appid"] != w.Tenant.Client().ClientID || claims["appidacr"] != "2" {
					t.Errorf("%v: the token says %v", err, claims)
				}
			})
		}
	}
}

// The plain request is what the emulator takes, as it stands.
func TestRequestAsHTTP(t *testing.T) {
	w := start(t)
	p, r := w.prover()
	signed, err := p.SignedRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := sample.Script{Request: signed, Until: time.Now()}.In("http")
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	path, ok := strings.CutSuffix(strings.TrimPrefix(lines[0], "POST "), " HTTP/1.1")
	var header []string
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if name != "Host" && name != "Content-Length" {
			header = append(header, name, value)
		}
	}
	a := w.Do(t, http.MethodPost, w.Origins().Authority+path, strings.TrimSuffix(body, "\n"), header...)
	if !ok || a.Status != http.StatusOK {
		t.Errorf("%d %s:\n%s", a.Status, a.Text, text)
	}
	if shown, err := (sample.Script{Request: p.Request(r)}).In("http"); err != nil || !strings.Contains(shown, "client_assertion=<assertion>&") || strings.Contains(shown, "eyJ") {
		t.Errorf("%v:\n%s", err, shown)
	}
}
