package consumer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/consumer"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

const (
	client = "11111111-2222-3333-4444-555555555555"
	other  = "99999999-2222-3333-4444-555555555555"
)

// world is a feed on a database that another handle writes to as another process would.
type world struct {
	t        *testing.T
	path     string
	db       *store.DB // the feed's
	outside  *store.DB // another process's
	tenant   int
	clock    *emulatortest.Clock
	feed     *consumer.Feed
	server   *httptest.Server
	token    string // of consumer api of the application client
	stop     func()
	log      *buffer
	mu       sync.Mutex
	pairs    map[string]pki.Pair // by credential
	fetching error               // what fetching fails with
}

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

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, path: "sqlite:" + filepath.Join(t.TempDir(), "x.db"), clock: emulatortest.NewClock(time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)),
		log: &buffer{}, pairs: map[string]pki.Pair{}}
	open := func() *store.DB {
		db, err := store.Open(t.Context(), w.path, store.Options{Now: w.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	w.db, w.outside = open(), open()
	var err error
	if w.tenant, err = w.db.Tenant(t.Context(), "guid"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{client, other} {
		w.must(w.outside.AddApplication(t.Context(), w.tenant, credential.Application{ObjectID: "object-" + id, ClientID: id, Name: "app " + id[:4], Mode: credential.On, Adopted: w.clock.Now()},
			store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}))
	}
	w.token = w.admit(client, "api")
	w.feed = consumer.New(consumer.Options{DB: w.db, Tenant: w.tenant, TenantID: "guid", Pair: w.pair, Now: w.clock.Now,
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	w.server = httptest.NewUnstartedServer(w.feed)
	w.server.Config.ReadTimeout, w.server.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond // shorter than waits
	w.server.Start()
	t.Cleanup(w.server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.feed.Run(ctx)
	}()
	w.stop = func() { cancel(); <-ended }
	t.Cleanup(w.stop)
	t.Cleanup(func() { w.mustHide("the log", w.log.String()) })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// admit makes a token as the command does.
func (w *world) admit(clientID, name string) string {
	w.t.Helper()
	token, hash := consumer.NewToken()
	w.must(w.outside.AddConsumerToken(w.t.Context(), w.tenant, store.ConsumerToken{ObjectID: "object-" + clientID, Consumer: name, Hash: hash, By: "test", At: w.clock.Now()}))
	return token
}

func (w *world) pair(_ context.Context, c credential.Credential) (pki.Pair, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fetching != nil {
		return pki.Pair{}, w.fetching
	}
	return w.pairs[c.ID], nil
}

func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetching = err
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// made makes a credential with a certificate.
func (w *world) made(id string, state credential.State, generation int64, key crypto.Signer) credential.Credential {
	w.t.Helper()
	subject, err := pki.ParseName("CN=" + id)
	w.must(err)
	p, err := pki.SelfSign(key, pki.Template{Subject: subject, NotBefore: w.clock.Now(), NotAfter: w.clock.Now().Add(90 * 24 * time.Hour)})
	w.must(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pairs[id] = p
	return credential.Credential{ID: id, State: state, Generation: generation, Planned: w.clock.Now(), SHA1: pki.SHA1(p.Certificate), SHA256: pki.SHA256(p.Certificate),
		NotBefore: p.Certificate.NotBefore, NotAfter: p.Certificate.NotAfter}
}

// save writes credentials as another process would.
func (w *world) save(all ...credential.Credential) {
	w.t.Helper()
	l, err := w.outside.LeaseApplication(w.t.Context(), w.tenant, "object-"+client, "test", time.Minute)
	w.must(err)
	w.must(l.Write(w.t.Context(), func(tx *store.CredentialTx) error {
		for _, c := range all {
			if err := tx.SaveCredential(c); err != nil {
				return err
			}
		}
		return nil
	}))
	w.must(l.Release(w.t.Context(), w.clock.Now(), false))
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(method, path, token, body string, header ...string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, strings.NewReader(body))
	w.must(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	return reply{resp.StatusCode, resp.Header, string(text)}
}

const at = "/v1/applications/" + client

func (w *world) get(query string) reply {
	w.t.Helper()
	return w.do("GET", at+"/credential"+query, w.token, "")
}

func (r reply) want(t *testing.T, status int, text string) reply {
	t.Helper()
	if r.status != status || !strings.Contains(r.body, text) {
		t.Errorf("%d %s; want %d %q", r.status, r.body, status, text)
	}
	return r
}

// mustHide looks for the private key and the token in what was said.
func (w *world) mustHide(what, text string) {
	w.t.Helper()
	key, err := pki.EncodeKey(rsaKey(), "")
	w.must(err)
	secrets := strings.Split(strings.TrimSpace(string(key)), "\n")[2:5]
	secrets = append(secrets, w.token, strings.TrimPrefix(w.token, "reeve_consumer_"), fmt.Sprint(rsaKey().D), fmt.Sprintf("%x", rsaKey().Primes[0]),
		base64.StdEncoding.EncodeToString([]byte(w.token)))
	for _, s := range secrets {
		if strings.Contains(text, s) {
			w.t.Errorf("%s shows %q", what, s)
		}
	}
}

type certificate struct {
	Application string    `json:"application"`
	ClientID    string    `json:"client_id"`
	TenantID    string    `json:"tenant_id"`
	Generation  int64     `json:"generation"`
	AsOf        time.Time `json:"as_of"`
	Stale       bool      `json:"stale"`
	Credential  *part     `json:"credential"`
	Standby     *part     `json:"standby"`
}

type part struct {
	ID, SHA1, SHA256 string
	NotBefore        time.Time `json:"not_before"`
	NotAfter         time.Time `json:"not_after"`
	Certificate      string
	Chain            string
	PrivateKey       string `json:"private_key"`
	KeyIdentifier    string `json:"key_identifier"`
}

func (r reply) decode(t *testing.T) (c certificate) {
	t.Helper()
	r.want(t, 200, "")
	d := json.NewDecoder(strings.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, s := w.made("one", credential.Active, 7, rsaKey()), w.made("two", credential.Standby, 0, rsaKey())
	w.save(a, s)
	w.feed.Wake()
	r := w.get("?generation=0&wait=10s&standby=1")
	c := r.decode(t)
	if c.Application != "app 1111" || c.ClientID != client || c.TenantID != "guid" || c.Generation != 7 || c.Stale || !c.AsOf.Equal(w.clock.Now()) || r.header.Get("Reeve-Generation") != "7" ||
		r.header.Get("Cache-Control") != "no-store" || r.header.Get("Reeve-Stale") != "" {
		t.Errorf("%+v, %v", c, r.header)
	}
	for _, x := range []struct {
		got  *part
		want credential.Credential
	}{{c.Credential, a}, {c.Standby, s}} {
		if x.got == nil || x.got.ID != x.want.ID || x.got.SHA1 != x.want.SHA1 || x.got.SHA256 != x.want.SHA256 || !x.got.NotAfter.Equal(x.want.NotAfter) || x.got.KeyIdentifier != "" {
			t.Fatalf("got %+v, want %+v", x.got, x.want)
		}
		p, err := pki.Parse([]byte(x.got.PrivateKey+x.got.Certificate+x.got.Chain), "")
		w.must(err)
		if pki.SHA256(p.Certificate) != x.want.SHA256 || !pki.SameKey(p.Key.Public(), rsaKey().Public()) {
			t.Errorf("it is %v", p)
		}
	}
	if c := w.get("").decode(t); c.Standby != nil {
		t.Error("there is a standby that was not asked for")
	}
	p, err := pki.Parse([]byte(w.get("?format=pem").want(t, 200, "-----BEGIN PRIVATE KEY-----").body), "")
	w.must(err)
	if pki.SHA256(p.Certificate) != a.SHA256 {
		t.Errorf("it is %v", p)
	}
	for _, password := range []string{"", "correct horse"} {
		pfx := w.do("GET", at+"/credential?format=pfx", w.token, "", "Reeve-PFX-Password", password)
		p, err := pki.Parse([]byte(pfx.body), password)
		w.must(err)
		if pki.SHA256(p.Certificate) != a.SHA256 || pfx.header.Get("Content-Type") != "application/x-pkcs12" {
			t.Errorf("it is %v, %v", p, pfx.header)
		}
	}
	for query, want := range map[string]string{
		"?format=der": "json, pem or pfx", "?wait=3m": "up to 2m", "?wait=-1s": "up to 2m", "?wait=60": "up to 2m", "?generation=x": "generation", "?generation=-1": "generation",
		"?standby=maybe": "standby", "?since=1": "no parameter", "?wait=1s&wait=2s": "twice",
	} {
		w.get(query).want(t, 400, want)
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		w.do(method, at+"/credential", w.token, "").want(t, 405, "")
	}
	w.do("GET", "/v1/applications", w.token, "").want(t, 404, "")
}

// A consumer has a new certificate within 5 seconds of its promotion by another process,
// and at once when this one has done it. One that has waited in vain is told so.
func TestWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.made("one", credential.Active, 7, rsaKey())
	w.save(old)
	w.feed.Wake()
	w.get("?generation=0&wait=10s").want(t, 200, "")
	r := w.get("?generation=7").want(t, 204, "")
	if r.header.Get("Reeve-Generation") != "7" || r.body != "" {
		t.Errorf("%v %q", r.header, r.body)
	}
	begin := time.Now()
	w.get("?generation=7&wait=1200ms").want(t, 204, "")
	if took := time.Since(begin); took < 1200*time.Millisecond || took > 5*time.Second {
		t.Errorf("it waited for %v", took)
	}
	// What a consumer has is compared for being the same, not the newest.
	w.get("?generation=8&wait=60s").want(t, 200, `"generation": 7`)

	swap := func(id string, generation int64) {
		draining, next := old, w.made(id, credential.Active, generation, rsaKey())
		draining.State = credential.Draining
		w.save(draining, next)
		old = next
	}
	const waiting = 10
	for _, test := range []struct {
		name  string
		wake  bool
		limit time.Duration
	}{{"by another process", false, 5 * time.Second}, {"by this process", true, time.Second}} {
		generation := old.Generation
		replies := make(chan reply, waiting)
		for range waiting {
			go func() { replies <- w.get(fmt.Sprintf("?generation=%d&wait=60s", generation)) }()
		}
		swap("for "+test.name, generation+1)
		promoted := time.Now()
		if test.wake {
			w.feed.Wake()
		}
		for range waiting {
			(<-replies).want(t, 200, fmt.Sprintf(`"generation": %d`, generation+1))
		}
		took := time.Since(promoted)
		t.Logf("%s: after %v", test.name, took)
		if took > test.limit {
			t.Errorf("%s: the new certificate came after %v", test.name, took)
		}
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.save(w.made("one", credential.Active, 7, rsaKey()))
	w.feed.Wake()
	w.get("?generation=0&wait=10s").want(t, 200, "")
	wrong, _ := consumer.NewToken()
	for _, token := range []string{"", "x", wrong, w.token[:len(w.token)-1], w.token + "A"} {
		r := w.do("GET", at+"/credential", token, "").want(t, 401, "Authorization: Bearer")
		if r.header.Get("WWW-Authenticate") == "" || strings.Contains(r.body, "PRIVATE") {
			t.Errorf("%v %s", r.header, r.body)
		}
	}
	w.do("GET", at+"/credential", "", "", "Authorization", "Basic "+w.token).want(t, 401, "")
	w.do("GET", at+"/credential?access_token="+w.token, "", "").want(t, 401, "")
	for _, id := range []string{other, "00000000-0000-0000-0000-000000000000"} {
		w.do("GET", "/v1/applications/"+id+"/credential", w.token, "").want(t, 403, "another application")
		w.do("POST", "/v1/applications/"+id+"/acknowledgements", w.token, "{}").want(t, 403, "another application")
	}
	w.do("GET", "/v1/applications/"+strings.ToUpper(client)+"/credential", w.token, "").want(t, 200, "")

	// A token is good from the moment on that it is made, and bad from soon after it
	// was taken back, also for who waits.
	second := w.admit(client, "second")
	w.do("GET", at+"/credential", second, "").want(t, 200, "")
	ended := make(chan reply, 1)
	go func() { ended <- w.do("GET", at+"/credential?generation=7&wait=60s", second, "") }()
	w.must(w.outside.RemoveConsumer(t.Context(), w.tenant, "object-"+client, "second", "test", ""))
	select {
	case r := <-ended:
		r.want(t, 401, "")
	case <-time.After(10 * time.Second):
		t.Error("who waits is not told that its token was taken back")
	}

	// Guesses are bounded, and do not hinder others. The clock stands still.
	bounded := false
	for range 60 {
		if r := w.do("GET", at+"/credential", "guess", ""); r.status == 429 {
			bounded = true
			if r.header.Get("Retry-After") == "" {
				t.Error("it is not said when to come again")
			}
			break
		}
	}
	if !bounded {
		t.Error("guesses are not bounded")
	}
	w.get("").want(t, 200, "")
	w.clock.Add(5 * time.Second)
	w.do("GET", at+"/credential", "guess", "").want(t, 401, "")
	if n := strings.Count(w.log.String(), "without a token that is known"); n != 1 {
		t.Errorf("%d lines in the log:\n%s", n, w.log)
	}
	if strings.Contains(w.log.String(), "guess") {
		t.Error("a guess is in the log")
	}
}

func TestWaitsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.save(w.made("one", credential.Active, 7, rsaKey()))
	w.feed.Wake()
	w.get("?generation=0&wait=10s").want(t, 200, "")
	replies := make(chan reply, 40)
	for range 40 {
		go func() { replies <- w.get("?generation=7&wait=3s") }()
	}
	status := map[int]int{}
	for range 40 {
		status[(<-replies).status]++
	}
	if status[429] == 0 || status[204] < 16 || status[204]+status[429] != 40 {
		t.Errorf("%v", status)
	}
	w.get("?generation=7").want(t, 204, "")
}

func TestAcknowledge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.made("one", credential.Active, 7, rsaKey())
	w.save(a)
	w.feed.Wake()
	w.get("?generation=0&wait=10s").want(t, 200, "")
	say := func(body string) reply { return w.do("POST", at+"/acknowledgements", w.token, body) }
	say(fmt.Sprintf(`{"generation":7,"sha256":%q,"consumer":"api"}`, strings.ToLower(a.SHA256))).want(t, 204, "")
	app, err := w.outside.Application(t.Context(), w.tenant, "object-"+client)
	w.must(err)
	if len(app.Consumers) != 1 || app.Consumers[0] != (credential.Consumer{Name: "api", Generation: 7, SHA256: a.SHA256, At: w.clock.Now()}) {
		t.Errorf("%+v", app.Consumers)
	}
	for body, want := range map[string]int{
		`{"generation":7,"sha256":"` + a.SHA256 + `","consumer":"other"}`:              403,
		`{"generation":7,"sha256":"` + strings.Repeat("0", 64) + `","consumer":"api"}`: 409,
		`{"generation":8,"sha256":"` + a.SHA256 + `","consumer":"api"}`:                409,
		`{"generation":0,"sha256":"` + a.SHA256 + `","consumer":"api"}`:                400,
		`{"generation":7,"sha256":"short","consumer":"api"}`:                           400,
		`{"generation":7,"sha256":"` + a.SHA256 + `","consumer":"api","more":1}`:       400,
		`{"generation":7,"sha256":"` + a.SHA256 + `","consumer":"api"} {}`:             400,
		``:  400,
		`[`: 400,
		`{"consumer":"` + strings.Repeat("x", 1<<20) + `"}`:                            400,
		`{"generation":6,"sha256":"` + strings.Repeat("0", 64) + `","consumer":"api"}`: 204, // it is behind
	} {
		say(body).want(t, want, "")
	}
	w.do("GET", at+"/acknowledgements", w.token, "").want(t, 405, "")
}

// While the database is away the feed answers what it knew last, and says so.
func TestDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.made("one", credential.Active, 7, rsaKey())
	w.save(a)
	w.feed.Wake()
	w.get("?generation=0&wait=10s").want(t, 200, "")
	asOf := w.clock.Now()
	w.clock.Add(time.Hour)
	w.db.Close()
	var r reply
	for range 100 {
		if r = w.get("?generation=7&wait=100ms"); r.header.Get("Reeve-Stale") != "" {
			break
		}
	}
	r.want(t, 204, "")
	since, err := time.Parse(time.RFC3339, r.header.Get("Reeve-Stale"))
	if err != nil || since.Before(asOf) || since.After(w.clock.Now()) {
		t.Errorf("stale since %q", r.header.Get("Reeve-Stale"))
	}
	r = w.get("").want(t, 200, "BEGIN PRIVATE KEY")
	if c := r.decode(t); !c.Stale || c.AsOf.After(w.clock.Now()) || c.Credential.SHA256 != a.SHA256 || r.header.Get("Reeve-Stale") == "" {
		t.Errorf("%+v", c)
	}
	w.do("POST", at+"/acknowledgements", w.token, `{"generation":7,"sha256":"`+a.SHA256+`","consumer":"api"}`).want(t, 503, "say it again")
	// Who came meanwhile is not known, which is something else than being refused.
	w.do("GET", at+"/credential", "unknown", "").want(t, 503, "not known")
	w.do("GET", at+"/credential", "", "").want(t, 401, "")
}

// A key that cannot be fetched does not take away what is held, and is fetched again.
func TestKeyCannotBeFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fail(errors.New("the vault is away"))
	a := w.made("one", credential.Active, 7, rsaKey())
	w.save(a)
	w.feed.Wake()
	w.get("?generation=0&wait=3s").want(t, 503, "cannot be fetched")
	w.fail(nil)
	w.clock.Add(time.Minute)
	w.get("?generation=0&wait=30s").want(t, 200, "")

	w.fail(errors.New("the vault is away again"))
	draining, next := a, w.made("two", credential.Active, 8, rsaKey())
	draining.State = credential.Draining
	w.save(draining, next)
	w.feed.Wake()
	var r reply
	for range 100 {
		if r = w.get("?generation=7&wait=100ms"); r.header.Get("Reeve-Stale") != "" {
			break
		}
	}
	r.want(t, 204, "")
	w.fail(nil)
	w.clock.Add(time.Minute)
	w.get("?generation=7&wait=30s").want(t, 200, `"generation": 8`)

	// Between two active ones the last is given.
	lost := next
	lost.State = credential.Compromised
	w.save(lost)
	for range 100 {
		if r = w.get("?generation=8&wait=100ms"); r.header.Get("Reeve-Stale") != "" {
			break
		}
	}
	r.want(t, 204, "")
}

func TestNoCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.get("").want(t, 404, "no active certificate")
	go w.save(w.made("one", credential.Active, 7, rsaKey()))
	w.get("?generation=0&wait=30s").want(t, 200, "")
}

// vaulted is a key as a vault's: it signs and shows where it is.
type vaulted struct{ crypto.Signer }

func (vaulted) String() string { return "https://vault.example/keys/reeve-one/0123" }

func TestKeyNeverLeavesItsVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.save(w.made("one", credential.Active, 7, vaulted{rsaKey()}))
	w.feed.Wake()
	c := w.get("?generation=0&wait=10s").decode(t)
	if c.Credential.PrivateKey != "" || c.Credential.KeyIdentifier != "https://vault.example/keys/reeve-one/0123" || !strings.Contains(c.Credential.Certificate, "BEGIN CERTIFICATE") {
		t.Errorf("%+v", c.Credential)
	}
	for _, format := range []string{"pem", "pfx"} {
		w.get("?format="+format).want(t, 409, "never leaves its vault")
	}
}

func TestStoppingEndsWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.save(w.made("one", credential.Active, 7, rsaKey()))
	w.feed.Wake()
	w.get("?generation=0&wait=10s").want(t, 200, "")
	ended := make(chan reply, 8)
	for range cap(ended) {
		go func() { ended <- w.get("?generation=7&wait=60s") }()
	}
	w.stop()
	begin := time.Now()
	for range cap(ended) {
		(<-ended).want(t, 503, "stopping")
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}
