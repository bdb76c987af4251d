package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// served is an emulated tenant, and settings with which reeve serves it.
type served struct {
	t       *testing.T
	tenant  *tenant.Tenant
	environ []string
	db      *store.DB // another process's
	number  int
}

func newServed(t *testing.T, more ...string) *served {
	t.Helper()
	return newServedWith(t, emulator.Options{}, more...)
}

// newServedWith is newServed with a tenant that is unlike the calm one in some way.
func newServedWith(t *testing.T, o emulator.Options, more ...string) *served {
	t.Helper()
	tn, err := tenant.New(tenant.Options{Users: 3, Days: 1, PerUser: 10, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	o.Tenant, o.Calm, o.Grants = tn, true, []string{"graph/Application.ReadWrite.All"}
	e, err := emulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	dir := t.TempDir()
	variables, err := e.WriteClient(filepath.Join(dir, "client"))
	if err != nil {
		t.Fatal(err)
	}
	path := cmp.Or(byNames(more)["REEVE_DATABASE_URL"], "sqlite:"+filepath.Join(dir, "data", "reeve.db"))
	s := &served{t: t, tenant: tn, environ: with(variables, append([]string{
		"REEVE_DATABASE_URL=" + path, "REEVE_FEEDS_AUDIT_DAYS=1", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true", "REEVE_FEEDS_AUDIT_INTERVAL=1s",
		"REEVE_LISTEN=127.0.0.1:0", "REEVE_CREDENTIALS_MODE=on",
	}, more...))}
	if s.db, err = store.Open(t.Context(), path, store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	if s.number, err = s.db.Tenant(t.Context(), tn.ID); err != nil {
		t.Fatal(err)
	}
	return s
}

// setup builds what a process of reeve works with, for a test that looks or prepares.
func (s *served) setup() *App {
	s.t.Helper()
	p := &program{Streams: Streams{Out: io.Discard, Err: io.Discard}, environ: s.environ, now: time.Now}
	p.root()
	c, err := p.load(true)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := p.setup(s.t.Context(), c, logger(io.Discard, c))
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// process is a run of reeve in this process.
type process struct {
	t    *testing.T
	stop context.CancelFunc
	done chan struct{}
	out  said
	err  said
	code int // once done
}

// said is what was written so far.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *served) run(args ...string) *process {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: s.t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.code = Main(ctx, args, s.environ, Streams{In: strings.NewReader(""), Out: &p.out, Err: &p.err})
	}()
	s.t.Cleanup(func() { cancel(); <-p.done })
	return p
}

// end stops a process, which has to end in time and well.
func (p *process) end() {
	p.t.Helper()
	begin := time.Now()
	p.stop()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.t.Fatal("it does not end")
	}
	if took := time.Since(begin); p.code != 0 || took > 10*time.Second || !strings.Contains(p.err.String(), "Stopped.") {
		p.t.Errorf("it ended with %d after %v:\n%s", p.code, took, p.err.String())
	}
}

// until waits until something is so.
func (s *served) until(what string, limit time.Duration, ok func() bool) {
	s.t.Helper()
	end := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			s.t.Fatalf("waiting for %s: not within %v", what, limit)
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		}
	}
}

// page waits for the address of the status page.
func (s *served) page(p *process) string {
	s.t.Helper()
	pattern := regexp.MustCompile(`Status page: (http://[^/\s]+)/`)
	var found []string
	s.until("the status page", time.Minute, func() bool {
		found = pattern.FindStringSubmatch(p.err.String())
		select {
		case <-p.done:
			s.t.Fatalf("it ended with %d:\n%s", p.code, p.err.String())
		default:
		}
		return found != nil
	})
	return found[1]
}

// own is reeve's own application; none before it is adopted.
func (s *served) own() credential.Application {
	s.t.Helper()
	all, err := s.db.Applications(s.t.Context(), s.number)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(all) == 0 {
		return credential.Application{}
	}
	return all[0]
}

// atEntra counts the certificates that Entra ID has for reeve's own application.
func (s *served) atEntra() int {
	s.t.Helper()
	app, ok := s.tenant.Directory.View(0).ApplicationByAppID(s.tenant.Client().ClientID)
	if !ok {
		s.t.Fatal("the tenant has no such application")
	}
	return len(app.KeyCredentials)
}

func (s *served) get(url, token string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// consumers runs reeve cert consumer.
func (s *served) consumers(args ...string) (int, string, string) {
	s.t.Helper()
	var out, err said
	code := Main(s.t.Context(), append([]string{"cert", "consumer"}, args...), s.environ, Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return code, out.String(), err.String()
}

// example is the piece of code of docs/operate/serve.md that begins with a comment.
func example(t *testing.T, comment string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operate", "serve.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(text), "\n# "+comment+"\n")
	code, _, end := strings.Cut(code, "\n```")
	if !ok || !end {
		t.Fatalf("the document has no code that begins with %q", comment)
	}
	return code + "\n"
}

// TestServe serves for as long as a renewal takes, which is real time here: reeve adopts
// itself, a standby appears, and somebody elsewhere asks for a renewal. Two processes are
// at it, programs take their certificate from the feed, and the import goes on.
func TestServe(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes two minutes")
	}
	storetest.Engines(t, testServe)
}

func testServe(t *testing.T, address string) {
	t.Parallel()
	settings := []string{"REEVE_DATABASE_URL=" + address}
	keys := filepath.Join(t.TempDir(), "keys")
	if !strings.HasPrefix(address, "sqlite:") { // by default they are beside the file
		settings = append(settings, "REEVE_CREDENTIALS_DIR="+keys)
	}
	s := newServed(t, settings...)
	atFirst := s.atEntra()
	first := s.run("serve")
	page := s.page(first)
	s.until("the adoption", time.Minute, func() bool { return len(s.own().Credentials) > 0 })
	second := s.run("serve", "--role", roleCredentials)
	s.page(second)
	third := s.run("import", "run")
	app := s.own()
	adopted, _ := app.Active()
	if app.Mode != credential.On || adopted.Origin != credential.Adopted || adopted.SHA256 != pki.SHA256(s.tenant.Client().Certificate) || len(app.Policy.Resources) != 2 {
		t.Errorf("adopted: %+v", app)
	}

	code, token, text := s.consumers("add", app.Name, "--name", "go")
	if token = strings.TrimSpace(token); code != 0 || !strings.HasPrefix(token, "reeve_consumer_") {
		t.Fatalf("adding a consumer: %d, %s", code, text)
	}
	feed := page + "/v1/applications/" + app.ClientID
	if code, text := s.get(feed+"/credential?format=pem&generation=0&wait=30s", token); code != 200 || !strings.Contains(text, "PRIVATE KEY") {
		t.Fatalf("the feed: %d %.100s", code, text)
	}
	examples := s.startConsumers(feed, app.Name)

	if _, err := s.db.AddWish(t.Context(), s.number, app.ObjectID, credential.Wish{Kind: credential.Renew, By: "somebody elsewhere", Why: "to see it", At: time.Now().UTC()}); err != nil {
		t.Fatal(err)
	}
	// A program that waits at the feed, longer than for a page, has the new certificate
	// within five seconds.
	type answer struct {
		at         time.Time
		generation int64
		text       string
	}
	got := make(chan answer, 1)
	go func() {
		for end := time.Now().Add(9 * time.Minute); ; { // later than what is waited for below
			code, text := s.get(fmt.Sprintf("%s/credential?generation=%d&wait=45s", feed, adopted.Generation), token)
			if code == 204 && time.Now().Before(end) {
				continue
			}
			var a struct{ Generation int64 }
			if code != 200 || json.Unmarshal([]byte(text), &a) != nil {
				t.Errorf("the feed: %d %s", code, text)
			}
			got <- answer{time.Now(), a.Generation, text}
			return
		}
	}()
	s.until("a standby", 4*time.Minute, func() bool { _, ok := s.own().Standby(); return ok })
	s.until("the renewal", 4*time.Minute, func() bool { c, ok := s.own().Active(); return ok && c.ID != adopted.ID })
	app = s.own()
	active, _ := app.Active()
	a := <-got
	t.Logf("active %v after it was decided on; in the feed %v after it was the active one", active.Promoted.Sub(active.Planned).Round(time.Second), a.at.Sub(active.Promoted))
	if a.at.Sub(active.Promoted) > 5*time.Second || a.generation != active.Generation || !strings.Contains(a.text, active.SHA256) {
		t.Errorf("the feed had generation %d at %v; %d was active at %v", a.generation, a.at, active.Generation, active.Promoted)
	}

	// The imports take it, and go on: the one that renewed it or runs beside, and one that
	// knows of it by the database alone.
	for _, p := range []*process{first, third} {
		s.until("the importer to take it", time.Minute, func() bool {
			_, after, ok := strings.Cut(p.err.String(), "Signing in with a renewed certificate from now on.")
			return ok && strings.Contains(after, active.SHA1) && strings.Count(after, "FinishedImportCycle") >= 2
		})
	}
	for name, p := range map[string]*process{"first": first, "second": second, "third": third} {
		if text := p.err.String(); strings.Contains(text, "The import cycle failed") || strings.Contains(text, "level=ERROR") || strings.Contains(text, "panic") {
			t.Errorf("the %s process:\n%s", name, text)
		}
	}
	s.until("the standby that was made first to be all that waits", 2*time.Minute, func() bool {
		return len(s.own().In(credential.Standby)) > 0 && len(s.own().Wishes) == 0
	})
	made := 0
	for _, c := range s.own().Credentials {
		if c.Origin == credential.Made {
			made++
		}
	}
	// One as standby, since none was there, and one for the renewal.
	if made != 2 {
		t.Errorf("%d certificates were made by two processes, want 2", made)
	} else if n := s.atEntra(); n != atFirst+2 {
		t.Errorf("Entra ID has %d certificates, want two more than %d", n, atFirst)
	}

	// What the examples of the document have.
	s.until("the programs of the document to have it", time.Minute, func() bool {
		has := 0
		for _, c := range s.own().Consumers {
			if c.Generation == active.Generation && strings.EqualFold(c.SHA256, active.SHA256) {
				has++
			}
		}
		return has == len(examples)
	})
	code, out, text := s.consumers("list", "--json")
	if code != 0 || strings.Count(out, `"current": true`) != len(examples) {
		t.Errorf("the list of consumers: %d\n%s\n%s", code, out, text)
	}

	if code, text := s.get(page+"/", ""); code != 200 || !strings.Contains(text, active.SHA1[:8]) || !strings.Contains(text, app.Name) {
		t.Errorf("the status page, %d, does not show the certificate:\n%s", code, text)
	}
	if code, text := s.get(page+"/certificates/"+app.ObjectID, ""); code != 200 || !strings.Contains(text, active.SHA1) || !strings.Contains(text, "somebody elsewhere") {
		t.Errorf("the application's page, %d, does not show the certificate and who asked for it:\n%s", code, text)
	}
	if code, _, text := s.consumers("remove", app.ClientID, "--name", "go"); code != 0 {
		t.Errorf("removing a consumer: %s", text)
	}
	if code, _, text := s.consumers("remove", app.ClientID, "--name", "go"); code == 0 || !strings.Contains(text, "has no consumer") {
		t.Errorf("removing a consumer again: %d %s", code, text)
	}
	s.until("the token to be refused", 10*time.Second, func() bool { code, _ := s.get(feed+"/credential", token); return code == 401 })

	third.end()
	second.end()
	first.end()

	// Nothing secret was said, and nothing is in the database.
	var secrets []string
	for line := range strings.Lines(a.text) {
		if _, key, ok := strings.Cut(line, "PRIVATE KEY-----"); ok {
			secrets = append(secrets, strings.Split(key, `\n`)[2:10]...)
		}
	}
	if len(secrets) < 8 {
		t.Fatal("the answer has no private key")
	}
	secrets = append(secrets, token, strings.TrimPrefix(token, "reeve_consumer_"))
	files := map[string]string{"the first log": first.err.String(), "the second log": second.err.String(), "the third log": third.err.String(), "standard output": first.out.String()}
	folder := filepath.Dir(strings.TrimPrefix(address, "sqlite:"))
	if !strings.HasPrefix(address, "sqlite:") {
		folder = filepath.Dir(keys)
		files["the database"] = storetest.Text(t, address)
	}
	filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, _ := os.ReadFile(path)
			files[path] = string(data)
		}
		return err
	})
	for name, text := range files {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q", name, secret)
			}
		}
	}
}

func byNames(environ []string) map[string]string {
	m := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		m[name] = value
	}
	return m
}

// startConsumers runs the programs of the document until the test ends, as far as this
// machine has what they need, and gives their names.
func (s *served) startConsumers(feed, application string) []string {
	s.t.Helper()
	var names []string
	for name, needs := range map[string][]string{"shell": {"sh", "curl", "openssl"}, "python": {"python3"}} {
		missing := false
		for _, program := range needs {
			if _, err := exec.LookPath(program); err != nil {
				s.t.Logf("there is no %s here, so that the consumer in %s is not tried", program, name)
				missing = true
			}
		}
		if missing {
			continue
		}
		code, token, text := s.consumers("add", application, "--name", name)
		if code != 0 {
			s.t.Fatal(text)
		}
		dir := s.t.TempDir()
		file := filepath.Join(dir, "token")
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			s.t.Fatal(err)
		}
		run := func(interpreter, code string) *exec.Cmd {
			ctx, cancel := context.WithCancel(context.Background())
			cmd := exec.CommandContext(ctx, interpreter, "-c", code)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FEED=" + feed, "TOKEN_FILE=" + file, "NAME=" + name}
			cmd.WaitDelay = time.Second
			s.t.Cleanup(cancel)
			return cmd
		}
		interpreter := needs[0]
		if name == "shell" {
			cmd := run(interpreter, example(s.t, "feed: one certificate"))
			if out, err := cmd.CombinedOutput(); err != nil {
				s.t.Errorf("one certificate by curl: %v\n%s", err, out)
			}
			data, err := os.ReadFile(filepath.Join(dir, "certificate.pem"))
			if err == nil {
				_, err = pki.Parse(data, "")
			}
			if err != nil {
				s.t.Errorf("one certificate by curl: %v", err)
			}
		}
		cmd := run(interpreter, example(s.t, "feed: "+name))
		var out said
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() {
			cmd.Cancel()
			cmd.Wait()
			if s.t.Failed() {
				s.t.Logf("the consumer in %s:\n%s", name, out.String())
			}
		})
		names = append(names, name)
	}
	return names
}

// TestServeObserves looks at its own application and changes nothing; off does neither.
func TestServeObserves(t *testing.T) {
	t.Parallel()
	s := newServed(t, "REEVE_CREDENTIALS_MODE=observe")
	p := s.run("serve", "--role", "credentials")
	page := s.page(p)
	s.until("a look", time.Minute, func() bool { return !s.own().Observed.At.IsZero() })
	app := s.own()
	if app.Mode != credential.Observe || len(app.Credentials) != 1 || app.Credentials[0].Origin != credential.Adopted || len(app.Observed.Foreign()) != s.atEntra()-1 || s.atEntra() < 2 {
		t.Errorf("%+v", app)
	}
	// The tenant's application has an older certificate that has expired.
	s.until("the finding", time.Minute, func() bool {
		_, text := s.get(page+"/certificates/"+app.ObjectID, "") // which is for the record, and so on this page alone
		return strings.Contains(text, "the certificate CN=reeve expired on ") && strings.Contains(text, "To do: it is not reeve&#39;s") && strings.Contains(text, ">watched<")
	})
	p.end()
	if strings.Contains(p.err.String(), "FinishedImportCycle") {
		t.Error("the role credentials has imported")
	}

	off := newServed(t, "REEVE_CREDENTIALS_MODE=off")
	p = off.run("serve", "--role", "import")
	page = off.page(p)
	off.until("an import", time.Minute, func() bool { return strings.Count(p.err.String(), "FinishedImportCycle") > 1 })
	if app := off.own(); app.ObjectID != "" {
		t.Errorf("it was adopted: %+v", app)
	}
	if code, _ := off.get(page+"/v1/applications/x/credential", ""); code != 404 {
		t.Errorf("the role import has a feed: %d", code)
	}
	p.end()
}

// TestServeGoesOn serves although reeve cannot read Graph, although the address is that of
// another program, and although the private keys cannot be opened: each is said, and the
// import goes on.
func TestServeGoesOn(t *testing.T) {
	t.Parallel()
	s := newServed(t, "REEVE_CREDENTIALS_KEYSET_TEXT=nonsense", "REEVE_LISTEN=127.0.0.1:1")
	p := s.run("serve")
	s.until("an import", time.Minute, func() bool { return strings.Count(p.err.String(), "FinishedImportCycle") > 1 })
	text := p.err.String()
	for _, want := range []string{`part=certificates`, "A part of reeve failed; the others go on"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	p.end()
	if strings.Contains(p.err.String(), "nonsense") {
		t.Error("the keyset is in the log")
	}

	s = newServed(t, "REEVE_GRAPH_ENDPOINT=https://127.0.0.1:1")
	p = s.run("serve")
	s.until("the complaint", 2*time.Minute, func() bool { return strings.Contains(p.err.String(), "reeve cert adopt --object-id") })
	p.end()
}

// TestServeRoles: the pages alone need no sign-in, and show who imports; a worker has no
// page.
func TestServeRoles(t *testing.T) {
	t.Parallel()
	s := newServed(t, "REEVE_CREDENTIALS_MODE=off")
	worker := s.run("serve", "--role", "worker")
	s.until("an import", time.Minute, func() bool { return strings.Contains(worker.err.String(), "FinishedImportCycle") })
	pages := &served{t: t, environ: []string{"REEVE_TENANT_ID=" + s.tenant.ID, "REEVE_DATABASE_URL=" + byNames(s.environ)["REEVE_DATABASE_URL"], "REEVE_LISTEN=127.0.0.1:0", "REEVE_ROLE=web"}}
	web := pages.run("serve")
	address := pages.page(web)
	workers, err := s.db.Workers(t.Context(), s.number)
	if err != nil || len(workers) != 1 {
		t.Fatalf("%v, %v", workers, err)
	}
	if code, text := s.get(address+"/", ""); code != 200 || !strings.Contains(text, workers[0].Name) || !strings.Contains(text, "<td>worker<") {
		t.Errorf("%d; the page does not name %v:\n%s", code, workers, text)
	}
	if code, _ := s.get(address+"/v1/applications/x/credential", ""); code != 404 {
		t.Errorf("the role web has a feed: %d", code)
	}
	var out said
	if code := Main(t.Context(), []string{"import", "status"}, s.environ, Streams{Out: &out, Err: io.Discard}); code != exitOK || !strings.Contains(out.String(), "worker: "+workers[0].Name+", worker, since ") {
		t.Errorf("%d %s", code, out.String())
	}
	worker.end()
	if strings.Contains(worker.err.String(), "Status page:") {
		t.Error("the role worker has a page")
	}
	if code, text := s.get(address+"/", ""); code != 200 || !strings.Contains(text, "No process imports at this time.") {
		t.Errorf("%d; after its end:\n%s", code, text)
	}
	web.end()
}

func TestServeIsUsed(t *testing.T) {
	t.Parallel()
	var err said
	if code := Main(t.Context(), []string{"serve", "--role", "boss"}, nil, Streams{Out: io.Discard, Err: &err}); code != exitConfig || !strings.Contains(err.String(), `"boss"`) {
		t.Errorf("%d %s", code, err.String())
	}
	s := newServed(t)
	if code, _, text := s.consumers("add", "x", "--name", "a b"); code != exitUsage || !strings.Contains(text, "--name") {
		t.Errorf("%d %s", code, text)
	}
	if code, _, text := s.consumers("add", "nobody", "--name", "a"); code == 0 || !strings.Contains(text, "nobody") {
		t.Errorf("%d %s", code, text)
	}
	if code, out, text := s.consumers("list", "--json"); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("%d %q %s", code, out, text)
	}
}

// TestStandbySignsInAfterALongTime starts reeve when the certificate in use has expired
// since it ran last, or its key cannot be fetched: the one that waited signs in.
func TestStandbySignsInAfterALongTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end time.Duration // of the one in use
		key bool          // it is in the store
	}{
		"expired": {-time.Hour, true},
		"no key":  {time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) { testStandbySignsIn(t, test.end, test.key) })
	}
}

func testStandbySignsIn(t *testing.T, left time.Duration, withKey bool) {
	s := newServed(t)
	a := s.setup()
	if err := a.openStores(t.Context()); err != nil {
		t.Fatal(err)
	}
	app := credential.Application{ObjectID: "o", ClientID: a.Config.ClientID, Name: "reeve", Mode: credential.On, Adopted: time.Now()}
	for id, state := range map[string]credential.State{"0197aaaa": credential.Active, "0197bbbb": credential.Standby} {
		key, err := pki.NewKey(pki.RSA2048)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := pki.ParseName("CN=" + id)
		end := time.Now().Add(left)
		if state == credential.Standby {
			end = end.AddDate(0, 1, 0)
		}
		pair, err := pki.SelfSign(key, pki.Template{Subject: name, NotBefore: end.AddDate(0, -6, 0), NotAfter: end})
		if err != nil {
			t.Fatal(err)
		}
		if state == credential.Standby || withKey {
			if err := a.stores[credential.StoreLocal].Put(t.Context(), certstore.Entry{ID: id, Key: key, Certificate: pair.Certificate, ObjectID: "o", ClientID: app.ClientID, TenantID: a.Config.TenantID, Made: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		app.Credentials = append(app.Credentials, credential.Credential{ID: id, State: state, Store: credential.StoreLocal, NotAfter: end, Certificate: [][]byte{pair.Certificate.Raw}})
	}
	if err := a.DB.AddApplication(t.Context(), a.Tenant, app, store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
		t.Fatal(err)
	}
	a.Close()
	a = s.setup()
	defer a.Close()
	if got := a.Pair.Certificate.Subject.CommonName; got != "0197bbbb" {
		t.Errorf("%s signs in", got)
	}
}
