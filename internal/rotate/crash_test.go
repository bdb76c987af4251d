package rotate

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// killed is what a simulated end of the process panics with.
type killed struct{ at string }

// doom decides at each point of a run whether the process ends there, or an answer is
// lost.
type doom struct {
	count  int
	strike func(n int, point string) string // "", "kill", "lose"
	struck []string
}

func (d *doom) at(point string) string {
	if d == nil || d.strike == nil {
		return ""
	}
	d.count++
	what := d.strike(d.count, point)
	if what != "" {
		d.struck = append(d.struck, fmt.Sprintf("%s at %d, %s", what, d.count, point))
	}
	if what == "kill" {
		panic(killed{point})
	}
	return what
}

// errLost is a connection that ended before the answer came.
var errLost = errors.New("the connection was reset")

// doomedTransport is the network: a request may be killed before it is sent, after it
// was answered, in the middle of either, and its answer may be lost.
type doomedTransport struct {
	w    *arena
	next http.RoundTripper
}

func (d doomedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	point := r.Method + " " + r.URL.Path
	doom := d.w.doom
	if doom.at("before "+point) == "lose" {
		return nil, errLost
	}
	if r.Body != nil && doom.at("in the middle of "+point) == "lose" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), broken{}))
		resp, err := d.next.RoundTrip(r)
		if err == nil {
			resp.Body.Close()
		}
		return nil, errLost
	}
	resp, err := d.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if doom.at("after "+point) == "lose" {
		resp.Body.Close()
		return nil, errLost
	}
	return resp, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errLost }

// doomedShelf is the certificate store with the process's end before and after each
// effect.
type doomedShelf struct {
	certstore.Store
	w *arena
}

func (s doomedShelf) Put(ctx context.Context, e certstore.Entry) error {
	s.w.doom.at("before put")
	err := s.Store.Put(ctx, e)
	s.w.doom.at("after put")
	return err
}

func (s doomedShelf) Delete(ctx context.Context, id string) error {
	s.w.doom.at("before delete")
	err := s.Store.Delete(ctx, id)
	s.w.doom.at("after delete")
	return err
}

// doomedTarget is a live place with the same.
type doomedTarget struct {
	w    *arena
	held map[string]certstore.Publication
	name string
}

func (t doomedTarget) Name() string                { return t.name }
func (t doomedTarget) Check(context.Context) error { return nil }

func (t doomedTarget) Publish(_ context.Context, p certstore.Publication) error {
	if t.w.doom.at("before publish") == "lose" {
		return errLost
	}
	t.held[t.name] = p
	if t.w.doom.at("after publish") == "lose" {
		return errLost
	}
	return nil
}

func (t doomedTarget) Forget(context.Context, string, bool) error {
	if t.w.doom.at("forget") == "lose" {
		return errLost
	}
	return nil
}

func (t doomedTarget) Published(context.Context) (pki.Pair, error) {
	p, ok := t.held[t.name]
	if !ok {
		return pki.Pair{}, os.ErrNotExist
	}
	return p.Pair, nil
}

// arena is one unkind tenant and one database in which application after application
// lives through a renewal, with whatever happens to it.
type arena struct {
	*emulatortest.World
	t      testing.TB
	clock  *emulatortest.Clock
	cloud  m365.Cloud
	db     *store.DB
	tenant int
	keys   certstore.Store
	doom   *doom
	live   map[string]certstore.Publication

	commits int // so far; guards seen
	seen    map[string]credential.Application
	seenAt  int

	token   string // of the reading identity
	tokenAt time.Time
}

func newArena(t testing.TB, seed uint64, change ...func(*emulator.Options)) *arena {
	t.Helper()
	a := &arena{t: t, clock: emulatortest.NewClock(begin), live: map[string]certstore.Publication{}}
	a.World = emulatortest.Start(t, a.clock.Now, append([]func(*emulator.Options){func(o *emulator.Options) {
		o.Grants = []string{"graph/Application.ReadWrite.All"}
		o.Seed, o.Calm = seed, false
	}}, change...)...)
	a.cloud = testCloud(a.Emulator)
	var err error
	a.db, err = store.Open(t.Context(), database(t, filepath.Join(t.TempDir(), "reeve.db")), store.Options{
		Now: a.clock.Now, Trace: func(event string) {
			if event == "committed" {
				a.commits++
			}
			a.doom.at("transaction: " + event)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.db.Close() })
	if a.tenant, err = a.db.Tenant(t.Context(), a.Tenant.ID); err != nil {
		t.Fatal(err)
	}
	a.keys = openKeys(t, "")
	if _, err := a.Tenant.Directory.AddPassword(a.Tenant.Client().ClientID, readerSecret, begin.Add(-time.Hour), begin.AddDate(500, 0, 0)); err != nil {
		t.Fatal(err)
	}
	a.Tenant.Directory.Settle()
	return a
}

// rotator makes a Rotator as at a start of the program: nothing that was in memory is
// left.
func (a *arena) rotator() *Rotator {
	client := &http.Client{Transport: doomedTransport{a, a.HTTPClient().Transport}}
	o := Options{
		DB: a.db, Tenant: a.tenant, Cloud: a.cloud, HTTP: client,
		Stores:     map[string]certstore.Store{credential.StoreLocal: doomedShelf{a.keys, a}},
		OpenTarget: func(name string) (certstore.Target, error) { return doomedTarget{a, a.live, name}, nil },
		RunHook: func(_ context.Context, hook string, d Deployment) (bool, error) {
			if a.doom.at("hook") == "lose" {
				return false, errLost
			}
			return false, nil
		},
		NewKey: nextKey, Rhythm: credential.Rhythm{Look: time.Hour, Rehearse: 24 * time.Hour}, Workers: 1, Now: a.clock.Now,
	}
	if os.Getenv("TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(a.t.Output(), nil))
	}
	o.Directory = newDirectory(a.t, a.cloud, client, reader{a})
	return New(o)
}

// subject is the application of one run.
type subject struct {
	id      int
	object  string
	client  string
	pair    pki.Pair
	foreign []string // key ids that are not ours

	plot   string // what is asked for when the first standby waits
	asked  time.Time
	rolled bool // it was asked to roll back

	// The consumer looks which certificate is the active one every three quarters of
	// an hour, and goes on with what it has until then.
	held   []byte
	heldAt time.Time
}

// plots are what may happen to an application.
var plots = []string{"renew", "revoke", "rollback", "delete", "age"}

// newSubject makes an application with a certificate in use and two of somebody else's.
func (a *arena) newSubject(plot string, n int) *subject {
	a.t.Helper()
	s := &subject{id: n, plot: plot}
	now := a.clock.Now()
	key, err := nextKey(context.Background(), pki.RSA2048)
	if err != nil {
		a.t.Fatal(err)
	}
	pair := func(name string, key crypto.Signer) pki.Pair {
		p, err := pki.SelfSign(key, pki.Template{Subject: mustName(a.t, name), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(200 * 24 * time.Hour)})
		if err != nil {
			a.t.Fatal(err)
		}
		return p
	}
	s.pair = pair(fmt.Sprintf("CN=app %d", n), key)
	d := a.Tenant.Directory
	app := d.NewApplication(fmt.Sprintf("app %d", n))
	for i, cert := range []pki.Pair{s.pair, pair("CN=other 1", key), pair("CN=other 2", key)} {
		k, err := directory.NewKeyCredential(uuid.NewString(), cert.Certificate.Raw, time.Time{}, time.Time{})
		if err != nil {
			a.t.Fatal(err)
		}
		if i > 0 {
			s.foreign = append(s.foreign, k.KeyID)
		}
		app.KeyCredentials = append(app.KeyCredentials, k)
	}
	principal := d.PrincipalFor(app, uuid.NewString())
	if err := d.Update(func(u *directory.Update) error {
		u.PutApplication(app)
		u.PutServicePrincipal(principal)
		return nil
	}); err != nil {
		a.t.Fatal(err)
	}
	s.object, s.client = app.ID, app.AppID
	a.clock.Add(2 * time.Minute) // until every replica knows it
	return s
}

// run lets an application live through one renewal and returns what is wrong at its
// end, or "".
func (a *arena) run(s *subject) (wrong string) {
	ctx := context.Background()
	alive := func(f func()) (died bool) {
		defer func() {
			if p := recover(); p != nil {
				if _, ok := p.(killed); !ok {
					panic(p)
				}
				died = true
			}
		}()
		f()
		return false
	}
	r := a.rotator()
	policy := credential.Policy{Overlap: credential.Span(time.Hour), DestroyAfter: credential.Span(time.Hour), Targets: []string{"directory:/live"}, Hooks: []string{"command:reload"}}.Complete(a.cloud.GraphAudience)
	adopted := false
	end := a.clock.Now().Add(24 * time.Hour)
	for range 5000 {
		if a.clock.Now().After(end) {
			return "it did not come to its end within a day\n" + a.describe(s)
		}
		var next time.Time
		died := alive(func() {
			if !adopted {
				if _, err := r.Adopt(ctx, Adoption{ObjectID: s.object, ClientID: s.client, TenantID: a.Tenant.ID, Name: fmt.Sprint("app ", s.id),
					Mode: credential.On, Policy: policy, Pair: s.pair, By: "test"}); err != nil && !errors.Is(err, store.ErrExists) {
					next = a.clock.Now().Add(10 * time.Second)
					return
				}
				adopted = true
			}
			var err error
			if next, err = r.Work(ctx, s.object); err != nil && !errors.Is(err, store.ErrLeased) {
				wrong = err.Error()
			}
		})
		if wrong != "" {
			return wrong
		}
		now := a.clock.Now()
		if died {
			r = a.rotator()
			next = now.Add(time.Second)
			if bad := a.check(s); bad != "" {
				return bad
			}
		}
		if next.IsZero() { // somebody who is dead has the lease
			next = now.Add(30 * time.Second)
		}
		if adopted {
			app, err := a.read(s)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err.Error()
			}
			adopted = err == nil
			if _, ok := app.Standby(); ok && s.asked.IsZero() {
				if alive(func() { wrong = a.ask(s, app) }) {
					s.asked = time.Time{}
				}
				if s.plot == "age" && !s.asked.IsZero() {
					end = a.clock.Now().Add(48 * time.Hour)
				}
				next = a.clock.Now()
			}
			if s.plot == "rollback" && !s.rolled && !s.asked.IsZero() && len(app.Wishes) == 0 && len(app.In(credential.Draining)) > 0 && len(app.In(credential.Publishing)) == 0 {
				if active, _ := app.Active(); active.Origin == credential.Made && active.Promoted.After(s.asked) {
					alive(func() {
						s.rolled = true
						if _, err := a.db.AddWish(ctx, a.tenant, s.object, credential.Wish{Kind: credential.Rollback, By: "test", At: a.clock.Now()}); err != nil {
							wrong = err.Error()
						}
					})
					next = a.clock.Now()
				}
			}
			if !s.asked.IsZero() && a.finished(app, s) {
				return a.judge(s, app)
			}
		}
		if bad := a.check(s); bad != "" {
			return bad
		}
		// While things are under way the consumer is asked about more often.
		a.clock.Add(min(max(next.Sub(now), time.Millisecond), 20*time.Minute))
		if bad := a.check(s); bad != "" {
			return bad
		}
	}
	return "it did not come to its end\n" + a.describe(s)
}

// read reads the application, again only if something was committed since.
func (a *arena) read(s *subject) (credential.Application, error) {
	if app, ok := a.seen[s.object]; ok && a.seenAt == a.commits {
		return app, nil
	}
	app, err := a.db.Application(context.Background(), a.tenant, s.object)
	if err == nil {
		a.seen, a.seenAt = map[string]credential.Application{s.object: app}, a.commits
	}
	return app, err
}

// ask does what the plot says, now that a standby waits.
func (a *arena) ask(s *subject, app credential.Application) string {
	now := a.clock.Now()
	wish := func(kind credential.WishKind, id string) string {
		s.asked = now
		_, err := a.db.AddWish(context.Background(), a.tenant, s.object, credential.Wish{Kind: kind, Credential: id, By: "test", Why: "the plot", At: now})
		if err != nil {
			return err.Error()
		}
		return ""
	}
	active, _ := app.Active()
	standby, _ := app.Standby()
	switch s.plot {
	case "renew":
		return wish(credential.Renew, "")
	case "revoke":
		return wish(credential.Revoke, active.ID)
	case "rollback":
		return wish(credential.Promote, "")
	case "delete":
		s.asked = now
		if err := a.Tenant.Directory.RemoveKeyCredential(s.client, standby.KeyID); err != nil {
			return err.Error()
		}
	case "age":
		s.asked = now
		a.clock.Add(125 * 24 * time.Hour)
	}
	return ""
}

// finished reports whether the renewal that was asked for is over: a new one is active,
// a standby waits, and all others are gone.
func (a *arena) finished(app credential.Application, s *subject) bool {
	active, ok := app.Active()
	standby, waits := app.Standby()
	if !ok || !waits || len(app.Wishes) > 0 || len(app.Deploys) > 0 {
		return false
	}
	switch s.plot {
	case "renew", "revoke", "rollback":
		if !active.Promoted.After(s.asked) {
			return false
		}
	}
	if (s.plot == "delete" || s.plot == "age") && (!standby.Ready.After(s.asked) || len(app.In(credential.Standby)) > 1) {
		return false
	}
	if s.plot == "rollback" && !s.rolled {
		return false
	}
	for _, c := range app.Credentials {
		switch c.State {
		case credential.Active, credential.Standby, credential.Destroyed:
		default:
			return false
		}
	}
	return true
}

// check is the consumer: could a program sign in now, at every front end of Entra ID,
// with the certificate that is active? And are the keys of others there?
func (a *arena) check(s *subject) string {
	app, err := a.read(s)
	if errors.Is(err, store.ErrNotFound) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	now := a.clock.Now()
	active, ok := app.Active()
	if !ok {
		if len(app.In(credential.Compromised)) > 0 { // programs have been told, and wait for the next
			return ""
		}
		return "no credential is active\n" + a.describe(s)
	}
	for _, c := range app.Credentials { // people have told the program that holds it
		if s.plot == "revoke" && len(c.Certificate) > 0 && !c.State.Coming() && c.State != credential.Active && c.State != credential.Standby && bytes.Equal(s.held, c.Certificate[0]) {
			s.held = nil
		}
	}
	if s.held == nil || now.Sub(s.heldAt) > 45*time.Minute {
		s.held, s.heldAt = active.Certificate[0], now
	}
	if now.Before(active.NotBefore) || !now.Before(active.NotAfter) {
		return "the active certificate is not valid\n" + a.describe(s)
	}
	for _, lag := range []time.Duration{0, time.Minute} {
		seen, ok := a.Tenant.Directory.View(lag).Application(s.object)
		if !ok {
			return "the application is gone"
		}
		if !hasCertificate(seen, active.Certificate[0]) {
			return fmt.Sprintf("the active certificate would be refused by a front end that lags by %v\n%s", lag, a.describe(s))
		}
		if !hasCertificate(seen, s.held) {
			return fmt.Sprintf("the certificate that a program has had since %s would be refused\n%s", s.heldAt.Format(time.TimeOnly), a.describe(s))
		}
		for _, id := range s.foreign {
			if !hasKey(seen, id) {
				return "the key " + id + " of somebody else is gone\n" + a.describe(s)
			}
		}
	}
	return ""
}

// judge looks at what is left at the end of a run.
func (a *arena) judge(s *subject, app credential.Application) string {
	seen, _ := a.Tenant.Directory.View(0).Application(s.object)
	// A second standby is there when front ends refused the first for a while: a new one
	// was begun, and both are good.
	standbys := app.In(credential.Standby)
	if len(seen.KeyCredentials) != len(s.foreign)+1+len(standbys) || len(standbys) > 2 {
		return fmt.Sprintf("the application has %d keys at the end, and should have %d of others, the active one and %d standbys\n%s", len(seen.KeyCredentials), len(s.foreign), len(standbys), a.describe(s))
	}
	ids, err := a.keys.List(context.Background())
	if err != nil {
		return err.Error()
	}
	for _, id := range ids {
		e, err := a.keys.Get(context.Background(), id)
		if err != nil {
			return err.Error()
		}
		if e.ObjectID != s.object {
			continue
		}
		if c, ok := app.Find(id); ok && c.State == credential.Destroyed {
			return "the key of " + id + " is still in the store\n" + a.describe(s)
		}
	}
	for _, state := range []credential.State{credential.Active, credential.Standby} {
		for _, c := range app.In(state) {
			e, err := a.keys.Get(context.Background(), c.ID)
			if err != nil {
				return "the key of the " + string(state) + " one is lost: " + err.Error()
			}
			if !hasCertificate(seen, e.Certificate.Raw) {
				return "the " + string(state) + " one is not at Entra ID\n" + a.describe(s)
			}
		}
	}
	active, _ := app.Active()
	if held := a.live["directory:/live"]; held.CredentialID != active.ID {
		return "the live place has another certificate\n" + a.describe(s)
	}
	if _, err := a.db.CheckJournal(context.Background(), a.tenant, s.object); err != nil {
		return err.Error()
	}
	return ""
}

func (a *arena) describe(s *subject) string {
	return describe(a.db, a.tenant, s.object, a.clock.Now())
}

func hasCertificate(app *directory.Application, der []byte) bool {
	for _, k := range app.KeyCredentials {
		if bytes.Equal(k.Key, der) {
			return true
		}
	}
	return false
}

func hasKey(app *directory.Application, id string) bool {
	for _, k := range app.KeyCredentials {
		if strings.EqualFold(k.KeyID, id) {
			return true
		}
	}
	return false
}

// TestCrash ends the process, or loses an answer, at each point of a renewal in turn,
// and then at several points of each.
func TestCrash(t *testing.T) {
	t.Parallel()
	runs, seeds := 1000, 4
	switch {
	case os.Getenv("TEST_LONG") != "":
		runs, seeds = 15000, 20
	case raceEnabled:
		runs, seeds = 60, 2 // the other 940 are run without the race detector
	}
	first := uint64(1)
	if n, err := strconv.ParseUint(os.Getenv("TEST_SEED"), 10, 64); err == nil {
		first = n
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			crashes(t, seed, runs/seeds)
		})
	}
}

func crashes(t *testing.T, seed uint64, runs int) {
	a := newArena(t, seed)
	random := rand.New(rand.NewPCG(seed, 1))
	failed, points := 0, 0
	for p, plot := range plots {
		// Where blows may fall, by an undisturbed run.
		var names []string
		a.doom = &doom{strike: func(_ int, point string) string { names = append(names, point); return "" }}
		if wrong := a.run(a.newSubject(plot, p)); wrong != "" {
			t.Fatalf("%s without any harm: %s", plot, wrong)
		}
		points += len(names)
		blows := a.blows(names, runs/len(plots), random)
		for n, blow := range blows {
			a.doom = &doom{strike: blow}
			if wrong := a.run(a.newSubject(plot, n)); wrong != "" {
				t.Errorf("%s %d (%v): %s", plot, n, a.doom.struck, wrong)
				if failed++; failed > 2 {
					t.Fatal("that is enough")
				}
			}
			a.doom = nil
		}
	}
	t.Logf("%d runs, %d points at which the process may end or an answer be lost", runs, points)
}

// blows are so many ways of striking: first each kind of point, once the first of it and
// once the last, with either blow; then points at random; and a quarter strikes again
// and again.
func (a *arena) blows(names []string, n int, random *rand.Rand) []func(int, string) string {
	once := func(at int, what string) func(int, string) string {
		return func(i int, _ string) string {
			if i == at {
				return what
			}
			return ""
		}
	}
	kinds := []string{"kill", "lose"}
	first, last := map[string]int{}, map[string]int{}
	for i, name := range names {
		name = identifiers.ReplaceAllString(name, "-")
		if _, ok := first[name]; !ok {
			first[name] = i + 1
		}
		last[name] = i + 1
	}
	var all []func(int, string) string
	for name := range first {
		for _, kind := range kinds {
			if kind == "lose" && !strings.Contains(name, "POST") && !strings.Contains(name, "PATCH") && !strings.Contains(name, "publish") && !strings.Contains(name, "GET") && !strings.Contains(name, "hook") {
				continue
			}
			all = append(all, once(first[name], kind), once(last[name], kind))
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) < n*3/4 {
		all = append(all, once(1+random.IntN(len(names)), kinds[random.IntN(2)]))
	}
	all = all[:n*3/4]
	for len(all) < n {
		p := 0.002 + 0.02*random.Float64()
		all = append(all, func(int, string) string {
			if random.Float64() < p {
				return kinds[random.IntN(2)]
			}
			return ""
		})
	}
	return all
}

// identifiers differ from run to run.
var identifiers = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// readerSecret is a client secret of the demo application: the arena's clock outlives
// every certificate.
const readerSecret = "of the identity that reads"

// reader signs in as the demo application, which may read and write all others. Its
// tokens are kept as long as they are good by the clock of the test.
type reader struct{ a *arena }

func (r reader) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	a := r.a
	now := a.clock.Now()
	if a.token == "" || now.Sub(a.tokenAt) > 50*time.Minute || now.Before(a.tokenAt) {
		answer := a.PostForm(a.t, "/"+a.Tenant.ID+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {a.Tenant.Client().ClientID}, "client_secret": {readerSecret}, "scope": {o.Scopes[0]},
		})
		token, ok := answer.Body["access_token"].(string)
		if !ok {
			return azcore.AccessToken{}, errLost // Entra ID was unkind: what comes is tried again
		}
		a.token, a.tokenAt = token, now
	}
	return azcore.AccessToken{Token: a.token, ExpiresOn: time.Now()}, nil
}
