package app

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// life is an emulated tenant, and settings for commands, on a clock that goes fifteen
// times as fast as others: what takes Entra ID two minutes takes eight seconds.
type life struct {
	*emulatortest.World
	t       *testing.T
	now     func() time.Time
	ahead   atomic.Int64 // by how much the clock was set forward
	dir     string
	environ []string
}

func newLife(t *testing.T, more ...string) *life {
	t.Helper()
	const speed = 15
	begin := time.Now()
	l := &life{t: t, dir: t.TempDir()}
	l.now = func() time.Time { return begin.Add(speed*time.Since(begin) + time.Duration(l.ahead.Load())) }
	l.World = emulatortest.Start(t, l.now, func(o *emulator.Options) {
		o.Grants = []string{"graph/Application.ReadWrite.All", "vault/certificates/all", "vault/secrets/all", "vault/keys/all"}
	})
	variables, err := l.WriteClient(filepath.Join(l.dir, "client"))
	if err != nil {
		t.Fatal(err)
	}
	l.environ = with(variables, append([]string{
		"REEVE_DATABASE_URL=sqlite:" + filepath.Join(l.dir, "reeve.db"), "REEVE_LISTEN=127.0.0.1:0", "REEVE_FEEDS_AUDIT_ENABLED=false",
		"REEVE_AUTH_VAULT_METHOD=certificate", "REEVE_AUTH_VAULT_CERTIFICATE=" + filepath.Join(l.dir, "client", "client.pem"),
	}, more...))
	return l
}

// begin runs a command until it ends, or the test.
func (l *life) begin(args ...string) *process {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	p := &process{t: l.t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.code = (&program{Streams: Streams{In: strings.NewReader(""), Out: &p.out, Err: &p.err}, environ: l.environ, now: l.now}).run(ctx, args)
	}()
	l.t.Cleanup(func() { cancel(); <-p.done })
	return p
}

// want waits until a command has ended with a code, and has said what is wanted.
func (p *process) want(code int, patterns ...string) string {
	p.t.Helper()
	<-p.done
	text := p.out.String() + p.err.String()
	if p.code != code {
		p.t.Fatalf("it ended with %d, and %d was expected:\n%s", p.code, code, text)
	}
	for _, pattern := range patterns {
		if !regexp.MustCompile(`(?m)` + pattern).MatchString(text) {
			p.t.Errorf("it does not say %q:\n%s", pattern, text)
		}
	}
	return text
}

// says waits until a command that goes on has said something.
func (p *process) says(pattern string) []string {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); ; {
		if found := regexp.MustCompile(`(?m)` + pattern).FindStringSubmatch(p.err.String()); found != nil {
			return found
		}
		select {
		case <-tick.C:
		case <-end:
			p.t.Fatalf("it does not say %q:\n%s", pattern, p.err.String())
		case <-p.done:
			if !regexp.MustCompile(`(?m)` + pattern).MatchString(p.err.String()) {
				p.t.Fatalf("it ended with %d, and did not say %q:\n%s", p.code, pattern, p.err.String())
			}
		}
	}
}

func (l *life) want(code int, args string, patterns ...string) string {
	l.t.Helper()
	l.t.Logf("reeve %s", args)
	return l.begin(strings.Fields(args)...).want(code, patterns...)
}

// app is what reeve cert show says of an application; its own without a name.
func (l *life) app(name ...string) (s showReport) {
	l.t.Helper()
	p := l.begin(append([]string{"cert", "show", "--json"}, name...)...)
	p.want(exitOK)
	if err := json.Unmarshal([]byte(p.out.String()), &s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// atEntra are the keys that Entra ID has for reeve's own application.
func (l *life) atEntra() (ids []string) {
	app, _ := l.Tenant.Directory.View(0).ApplicationByAppID(l.Tenant.Client().ClientID)
	for _, k := range app.KeyCredentials {
		ids = append(ids, k.KeyID)
	}
	return ids
}

// takeAway removes all certificates at Entra ID, as somebody else may.
func (l *life) takeAway() {
	l.t.Helper()
	for _, id := range l.atEntra() {
		if err := l.Tenant.Directory.RemoveKeyCredential(l.Tenant.Client().ClientID, id); err != nil {
			l.t.Fatal(err)
		}
	}
}

// endSoon lets all certificates at Entra ID end in a while, and returns what sets the clock
// forward to it.
func (l *life) endSoon(after time.Duration) (end func()) {
	l.t.Helper()
	app, _ := l.Tenant.Directory.View(0).ApplicationByAppID(l.Tenant.Client().ClientID)
	ended, at := app.Clone(), l.now().Add(after)
	for i := range ended.KeyCredentials {
		ended.KeyCredentials[i].EndDateTime = at
	}
	if err := l.Tenant.Directory.Update(func(u *directory.Update) error {
		u.PutApplication(ended)
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
	return func() {
		l.ahead.Add(int64(max(at.Sub(l.now()), 0) + time.Second))
	}
}

// With the offline kit somebody else's administrator registers the certificate, and reeve
// goes on.
func TestRescueOffline(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	end := l.endSoon(time.Hour)
	l.want(exitOK, "cert adopt", `keep a copy of that file elsewhere`)
	old := l.app().Active
	end()
	l.want(exitCheck, "cert rescue", `^own certificate +no .*AADSTS700027`, `^offline kit +yes`, `a person has to`)
	kit := filepath.Join(l.dir, "kit")
	// Where something is already, nothing is made, and nothing is said to be written.
	if err := os.MkdirAll(filepath.Join(l.dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "taken", "curl.sh"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	had := len(l.app().Credentials)
	l.want(exitUsage, "cert rescue --offline "+filepath.Join(l.dir, "taken"), `exists: name another folder, .*nothing was written`)
	if n := len(l.app().Credentials); n != had {
		t.Errorf("for a kit that was refused there are %d credentials, and there were %d", n, had)
	}
	if text := l.want(exitOK, "cert history"); strings.Contains(text, "a kit for") {
		t.Errorf("the journal has a kit that was not written:\n%s", text)
	}
	l.want(exitOK, "cert rescue --offline "+kit, `Nothing in it is secret`, `--resume`)
	readme, err := os.ReadFile(filepath.Join(kit, "README.txt"))
	if err != nil || strings.Contains(string(readme), "never been able") || !strings.Contains(string(readme), "as it was read at 20") {
		t.Errorf("adopting has read the application, and the kit says otherwise (%v):\n%s", err, readme)
	}
	l.want(exitUsage, "cert rescue --offline "+kit, `exists`)
	l.want(exitSignIn, "cert rescue --resume", `is not registered yet`)

	// The administrator has a token, and what the folder holds.
	token := l.Token(t, "https://graph.microsoft.com")
	if sh, err := exec.LookPath("sh"); err == nil && onPath("curl") {
		cmd := exec.CommandContext(t.Context(), sh, filepath.Join(kit, "curl.sh"))
		cmd.Env = append(l.environ, "PATH="+os.Getenv("PATH"), "TOKEN="+token)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--resume") {
			t.Fatalf("curl.sh: %v\n%s", err, out)
		}
	} else {
		patch, err := os.ReadFile(filepath.Join(kit, "patch.json"))
		if err != nil {
			t.Fatal(err)
		}
		if a := l.Do(t, http.MethodPatch, l.Origins().Graph+"/v1.0/applications/"+l.app().ObjectID, string(patch),
			"Authorization", "Bearer "+token, "Content-Type", "application/json"); a.Status != http.StatusNoContent {
			t.Fatalf("sending patch.json: %d %s", a.Status, a.Text)
		}
	}
	l.want(exitOK, "cert rescue --resume --why drill", `is in use, until`)
	s := l.app()
	if s.Active == nil || s.Active.ID == old.ID {
		t.Errorf("the active one is %+v", s.Active)
	}
	l.want(exitOK, "cert history", `rescue +done .*a kit for registering it by hand was written`, `promote +wish .*drill`)
}

func onPath(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// Somebody who may signs in by a device code, and reeve registers a certificate with what
// they may do.
func TestRescueByDeviceCode(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.want(exitOK, "cert adopt")
	old := l.app().Active
	l.takeAway()
	p := l.begin("cert", "rescue", "--device-code", "--why", "drill")
	code := p.says(`code ([A-Z0-9]{9}) `)[1]
	if a := l.Do(t, http.MethodPost, l.Origins().Control+"/devicecodes/"+code+"/approve", `{"user":"admin@`+l.Tenant.Domain+`"}`,
		"Authorization", "Bearer "+l.Control(), "Content-Type", "application/json"); a.Status/100 != 2 {
		t.Fatalf("approving the code: %d %s", a.Status, a.Text)
	}
	p.want(exitOK, `is in use, until`, `(somebody else removed certificate `+old.SHA1+`|`+old.SHA1+` of reeve was replaced, and is not at Entra ID)`)
	s := l.app()
	if s.Active == nil || s.Active.ID == old.ID || len(l.atEntra()) != 1 {
		t.Errorf("the active one is %+v, and Entra ID has %d keys", s.Active, len(l.atEntra()))
	}
	l.want(exitOK, "cert show", `(^    Entra ID has it no more|somebody else removed certificate `+old.SHA1+`)`)
}

// A certificate of one's own authority goes out as a request and comes back, and ends up
// in use, by the commands alone.
func TestOwnAuthority(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	in := func(name string) string { return filepath.Join(l.dir, name) }
	l.want(exitOK, "cert adopt --issuer request")
	l.want(exitOK, "pki new --authority --subject CN=authority --days 900 --out "+l.dir+" --name ca")
	p := l.begin("cert", "renew", "--why", "our authority")
	p.says(`has to be made by your authority`)
	l.want(exitOK, "cert export --request --out "+l.dir, `reeve.csr`, `reeve cert import`)
	l.want(exitOK, "pki issue --ca "+in("ca.pem")+" --csr "+in("reeve.csr")+" --days 200 --out "+l.dir+" --name answer")
	l.want(exitOK, "cert import --certificate "+in("answer.chain.pem"), `is certified`)
	p.want(exitOK, `is in use, until`)
	s := l.app()
	if s.Active == nil || len(s.Active.Certificate) != 2 {
		t.Fatalf("the active one is %+v", s.Active)
	}
	cert, err := x509.ParseCertificate(s.Active.Certificate[0])
	if err != nil || cert.Issuer.CommonName != "authority" {
		t.Errorf("the active one was issued by %v (%v)", cert.Issuer, err)
	}
}

// A key that was made in the vault is used there, is not written to a file, and goes when
// it is revoked.
func TestKeyInTheVault(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.want(exitOK, "cert adopt --store keyvault-keys --certificate none")
	l.want(exitOK, "cert renew --why first", `is in use, until`)
	first := l.app().Active
	l.want(exitFailure, "cert export --out "+l.dir+" --password-out "+filepath.Join(l.dir, "password"),
		`was made in keyvault:https://.* and never leaves it: --public writes the certificate`)
	if _, err := os.Stat(filepath.Join(l.dir, "password")); err == nil {
		t.Error("there is a password for nothing")
	}
	l.want(exitOK, "cert export --public --out "+l.dir)
	cert, err := os.ReadFile(filepath.Join(l.dir, "reeve.cer"))
	if block, _ := pem.Decode(cert); err == nil && block != nil {
		cert = block.Bytes
	}
	if c, err := x509.ParseCertificate(cert); err != nil || pki.SHA1(c) != first.SHA1 {
		t.Errorf("the public file: %v", err)
	}
	l.want(exitOK, "cert revoke active --yes --why drill", first.SHA1+` of reeve is (retired|destroyed)`, `is in use, until`)
	s := l.app()
	if s.Active == nil || s.Active.ID == first.ID || s.Active.Store != credential.StoreKeys {
		t.Errorf("the active one is %+v", s.Active)
	}
	a := l.Do(t, http.MethodGet, l.Origins().Vault+"/keys?api-version=7.5", "", "Authorization", "Bearer "+l.Token(t, "https://vault.azure.net"))
	if a.Status != http.StatusOK || strings.Contains(a.Text, first.ID) || !strings.Contains(a.Text, s.Active.ID) {
		t.Errorf("the vault's keys: %d %s", a.Status, a.Text)
	}
}

// What is published is read back as another program would: from the folder, and from the
// vault by its own API.
func TestPublishing(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	live := filepath.Join(l.dir, "live")
	l.want(exitOK, "cert adopt --overlap 1h --target directory:"+live+" --target keyvault:live",
		`overlap +25h30m \(1h was given: programs may get the old one from a Key Vault for 24h`)
	l.want(exitOK, "cert rehearse", `^ok +target keyvault:`, `^ok +target directory:`)
	l.want(exitOK, "cert renew", `it was published to keyvault:live and fetched from there`, `is in use, until`)
	active := l.app().Active
	check := func(where string, data []byte, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", where, err)
			return
		}
		pair, err := pki.Parse(data, "")
		if err != nil || pki.SHA1(pair.Certificate) != active.SHA1 {
			t.Errorf("%s has %v (%v), and should have %s", where, pair, err, active.SHA1)
		}
	}
	data, err := os.ReadFile(filepath.Join(live, "current", "certificate.pem"))
	check("the folder", data, err)
	var about struct{ Thumbprint, ClientID string }
	if data, err = os.ReadFile(filepath.Join(live, "current", "credential.json")); err != nil || json.Unmarshal(data, &about) != nil ||
		about.Thumbprint != active.SHA1 || about.ClientID != l.Tenant.Client().ClientID {
		t.Errorf("credential.json says %+v (%v)", about, err)
	}
	if onPath("openssl") {
		cmd := exec.CommandContext(t.Context(), "openssl", "x509", "-in", filepath.Join(live, "current", "certificate.cer"), "-noout", "-fingerprint", "-sha1")
		out, err := cmd.CombinedOutput()
		if got := strings.ReplaceAll(string(out), ":", ""); err != nil || !strings.Contains(got, active.SHA1) {
			t.Errorf("openssl reads %s (%v)", out, err)
		}
	}
	a := l.Do(t, http.MethodGet, l.Origins().Vault+"/secrets/live?api-version=7.5", "", "Authorization", "Bearer "+l.Token(t, "https://vault.azure.net"))
	text, _ := a.Body["value"].(string)
	data, err = base64.StdEncoding.DecodeString(text)
	check("the vault", data, err)
}

// A wish that is given while another process has the application is carried out as soon
// as that is done, and by a running serve at once.
func TestWishWhileServing(t *testing.T) {
	t.Parallel()
	l := newLife(t, "REEVE_CREDENTIALS_MODE=on", "REEVE_FEEDS_AUDIT_ENABLED=true", "REEVE_VAULT_URL=https://127.0.0.1:1")
	l.want(exitOK, "cert adopt --why drill --issuer request")
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(l.dir, "reeve.db"), store.Options{Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	number, err := db.Tenant(t.Context(), l.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	s := l.app()
	lease, err := db.LeaseApplication(t.Context(), number, s.ObjectID, "another process", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	wish := l.begin("cert", "renew", "--why", "while it was busy")
	wish.says(`another process is at work on this application`)
	kit := l.begin("cert", "rescue", "--offline", filepath.Join(l.dir, "kit"))
	kit.says(`another process is at work on this application; waiting for it`)
	if got := l.app(); len(got.Credentials) != 1 || len(got.Wishes) != 1 {
		t.Errorf("while another process has it: %d certificates, %d wishes", len(got.Credentials), len(got.Wishes))
	}
	kit.stop()
	kit.want(exitFailure)
	if err := lease.Release(t.Context(), l.now(), false); err != nil {
		t.Fatal(err)
	}
	wish.says(`has to be made by your authority`)
	wish.stop()
	wish.want(exitFailure, `What was asked for stands`)

	// What is only recorded a running serve does.
	l.want(exitOK, "cert renew --no-wait", `asked for this at .*, and it is not done yet`, `carried out by 'reeve serve'`)
	l.want(exitOK, "cert policy set --issuer self")
	serve := l.begin("serve", "--role", "credentials")
	serve.says(`from=keyed to=certified(?s:.*)from=registering to=registered`)
	serve.end()
	if text := serve.err.String(); strings.Contains(text, "org-urls is empty") || strings.Contains(text, "could not be seen") || strings.Contains(text, "not used") {
		t.Errorf("a process that does not import speaks of the import, or asks a vault that no policy uses:\n%s", serve.err.String())
	}
}

// The database is lost, and the private keys are not: adopting goes on with them, although
// the certificate of the configuration was retired long ago.
func TestLostDatabase(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.want(exitOK, "cert adopt")
	l.want(exitOK, "cert renew", `is in use, until`)
	active := l.app().Active
	app, _ := l.Tenant.Directory.View(0).ApplicationByAppID(l.Tenant.Client().ClientID)
	for _, k := range app.KeyCredentials {
		if k.KeyID != active.KeyID { // that of the configuration, and what others had
			if err := l.Tenant.Directory.RemoveKeyCredential(l.Tenant.Client().ClientID, k.KeyID); err != nil {
				t.Fatal(err)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(l.dir, "reeve.db*"))
	if err != nil || len(left) == 0 {
		t.Fatal(err)
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	l.want(exitDatabase, "cert list", `holds private keys \(\d\), so that a database may have been lost: .*reeve cert adopt`)
	l.want(exitOK, "cert adopt --dry-run", `private keys of this application \(\d\) that the database does not know, .* `+active.SHA1)
	l.want(exitOK, "cert adopt", `it goes on with the newest that signs in, `+active.SHA1)
	s := l.app()
	if s.Name != "reeve" || s.Active == nil || s.Active.SHA1 != active.SHA1 || s.Active.ID != active.ID {
		t.Errorf("%s has %+v, and should have %s", s.Name, s.Active, active.ID)
	}
	l.want(exitOK, "cert rehearse", `^ok +active certificate`)
}

// What is wrong is told apart: a wrong keyset is no reason to revoke anything, and a
// standby that works is what helps when the one in use does not.
func TestRehearsalAdvises(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.want(exitOK, "cert adopt")
	l.want(exitOK, "cert renew", `is in use, until`)
	l.work(func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	s := l.app()
	if err := l.Tenant.Directory.RemoveKeyCredential(l.Tenant.Client().ClientID, s.Active.KeyID); err != nil {
		t.Fatal(err)
	}
	text := l.want(exitCheck, "cert rehearse", `^failed +active certificate, token .*\n +remedy: the standby works: make it the one in use \(reeve cert promote`)
	if strings.Contains(text, "revoke") {
		t.Error("it advises to revoke")
	}
	l.want(exitOK, "cert promote", `is in use, until`)

	other := filepath.Join(l.dir, "other")
	l.environ = with(l.environ, []string{"REEVE_CREDENTIALS_KEYSET=" + filepath.Join(other, "keyset.json")})
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	l.want(exitFailure, "cert rehearse", `restore the keyset from your backup`)
	(&life{World: l.World, t: t, now: l.now, dir: other, environ: with(l.environ, []string{"REEVE_DATABASE_URL=sqlite:" + filepath.Join(other, "reeve.db")})}).makeKeyset()
	text = l.want(exitCheck, "cert rehearse", `the keyset is not the one with which it was sealed: .*which the keyset .*other/keyset.json does not have`,
		`remedy: no certificate is to be revoked for that: give reeve the keyset`)
	if strings.Contains(text, "cert revoke") {
		t.Error("it advises to revoke")
	}
	l.want(exitCheck, "cert rescue", `nothing has to be rescued as long as the right keyset can be found`)
}

// work does what serve would, on reeve's own application, until something is so. Serve
// itself waits by a clock that is not fast.
func (l *life) work(until func(credential.Application) bool) {
	l.t.Helper()
	p := &program{Streams: Streams{Out: io.Discard, Err: l.t.Output()}, environ: l.environ, now: l.now}
	p.root()
	a, err := p.certAppSignedIn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer a.Close()
	r, err := a.rotation(l.t.Context(), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); ; {
		own, err := a.choose(l.t.Context(), nil)
		if err == nil && until(own.Application) {
			return
		}
		if err == nil {
			_, err = r.Work(l.t.Context(), own.ObjectID)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-end:
			l.t.Fatal("it does not come")
		}
	}
}

// makeKeyset has reeve make a keyset, by adopting with the certificate of the tenant.
func (l *life) makeKeyset() {
	l.t.Helper()
	l.begin("cert", "adopt").want(exitOK)
}

// A keyset in a vault that does not answer holds up whoever asks first, and nobody else
// for longer than they can wait.
func TestKeysetThatDoesNotCome(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	asked := make(chan struct{}, 100)
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			asked <- struct{}{}
		}
	}()
	l := newLife(t, "REEVE_CREDENTIALS_KEYSET=https://"+silent.Addr().String()+"/secrets/keyset")
	p := &program{Streams: Streams{Out: io.Discard, Err: io.Discard}, environ: l.environ, now: l.now}
	p.root()
	c, err := p.load(true)
	if err != nil {
		t.Fatal(err)
	}
	a := &App{Config: c, log: logger(io.Discard, c), now: l.now}
	if a.http, err = signInTo(c, &a.Cloud); err != nil {
		t.Fatal(err)
	}
	first, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.openStores(first) }()
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("waiting for the vault to be asked: not within a minute")
	}
	second, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := a.openStores(second); err == nil || time.Since(begun) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	select {
	case err := <-done:
		t.Errorf("the first has ended: %v", err)
	default:
	}
	stop()
	if err := <-done; err == nil {
		t.Error("the keyset came from nowhere")
	}
}

// TestPlansOfSeveral has a table for several applications, without what is done all the
// time and without requests.
func TestPlansOfSeveral(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.want(exitOK, "cert adopt")
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(l.dir, "reeve.db"), store.Options{Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	number, err := db.Tenant(t.Context(), l.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]credential.Mode{"a longer name": credential.On, "watched": credential.Observe} {
		if err := db.AddApplication(t.Context(), number, credential.Application{ObjectID: name, ClientID: name, Name: name, Mode: mode, Adopted: l.now(), Policy: credential.Policy{}.Complete("r")},
			store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
			t.Fatal(err)
		}
	}
	text := l.want(exitOK, "cert plan", `WHEN +APPLICATION +STEP +WHY\n`, `now   a longer name  create  there is none`, `now   reeve          create  no standby waits`, `Looking and proving again is left out \(\d steps\)`)
	if strings.Contains(text, "watched") || strings.Contains(text, "POST") {
		t.Errorf("the table has more than what is planned:\n%s", text)
	}
	l.want(exitOK, "cert plan reeve", `POST https`)
}
