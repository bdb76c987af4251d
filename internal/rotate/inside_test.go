package rotate

import (
	"bytes"
	"context"
	"crypto"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/entra"
	emulated "github.com/reeve365/reeve/internal/emulator/graph"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/emulator/token"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// inside is an unkind emulated tenant for long simulations. It is the emulator's own
// token service and Graph, but requests go to their handlers without a network, which
// would take most of the time.
type inside struct {
	t        testing.TB
	clock    *emulatortest.Clock
	tenant   *tenant.Tenant
	keys     *token.Keys
	services *origin.Cloud
	cloud    m365.Cloud
	handlers map[string]http.Handler // by host

	once  sync.Once
	token string // of whoever may read and write all applications
}

func newInside(t testing.TB, seed uint64, delays origin.Delays) *inside {
	t.Helper()
	w := &inside{t: t, clock: emulatortest.NewClock(begin)}
	var err error
	if w.tenant, err = tenant.New(tenant.Options{Seed: 1, Users: 3, Days: 1, PerUser: 2, Now: w.clock.Now, Calm: true}); err != nil {
		t.Fatal(err)
	}
	if w.keys, err = token.NewKeys(); err != nil {
		t.Fatal(err)
	}
	names, _ := origin.LookupCloud("")
	at := origin.Origins{Authority: "https://login.inside.test", Graph: "https://graph.inside.test"}
	w.services = &origin.Cloud{
		Hosts: &origin.Hosts{Names: names, Origins: at}, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
		Chance: origin.NewChance(seed, 1), Faults: origin.NewFaults(seed, false), StepClock: w.tenant.Step,
	}
	w.services.SetDelays(delays)
	signIn := &entra.API{Cloud: w.services, Keys: w.keys, Directory: w.tenant.Directory, Sticky: true}
	reading := &token.Reader{Keys: w.keys, TenantID: w.tenant.ID, Now: w.clock.Now}
	about := &emulated.API{Cloud: w.services, Tokens: reading, Directory: w.tenant.Directory, Unkindness: emulated.UsualUnkindness}
	w.handlers = map[string]http.Handler{
		"login.inside.test": w.services.Handler(signIn.Origin(), 0),
		"graph.inside.test": w.services.Handler(about.Origin(), 0),
	}
	if w.cloud, err = m365.LookupCloud(m365.Custom); err != nil {
		t.Fatal(err)
	}
	w.cloud.AuthorityHost, w.cloud.Graph = at.Authority, at.Graph
	if err := w.tenant.Directory.GrantRole(w.tenant.Client().ClientID, directory.Graph, "Application.ReadWrite.All"); err != nil {
		t.Fatal(err)
	}
	w.tenant.Directory.Settle()
	return w
}

// RoundTrip hands a request to the service that it is for.
func (w *inside) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	h, ok := w.handlers[r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("there is no host %s", r.URL.Host)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "127.0.0.1:1", r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	answer := httptest.NewRecorder()
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			resp, err = nil, io.ErrUnexpectedEOF
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(answer, in)
	resp = answer.Result()
	resp.Request = r
	return resp, nil
}

// GetToken gives the token of an administrator's program, which is good for the whole
// simulation: that one is not what is tried here.
func (w *inside) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	w.once.Do(func() { w.token = w.longToken(ctx, o) })
	return azcore.AccessToken{Token: w.token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (w *inside) longToken(ctx context.Context, o policy.TokenRequestOptions) string {
	client := w.tenant.Client()
	request := m365.ProofRequest{TenantID: w.tenant.ID, ClientID: client.ClientID, Pair: pki.Pair{Certificate: client.Certificate, Key: client.Key}}
	calm := provenToken{m365.Prover{Cloud: w.cloud, HTTP: &http.Client{Transport: w}, Now: w.clock.Now}, request}
	var short azcore.AccessToken
	var err error
	for range 100 { // the service is down now and then
		if short, err = calm.GetToken(ctx, o); err == nil {
			break
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(short.Token, ".")[1])
	claims := map[string]any{}
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	claims["exp"], claims["nbf"] = w.clock.Now().AddDate(20, 0, 0).Unix(), begin.AddDate(-1, 0, 0).Unix()
	long, err := w.keys.Sign(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return long
}

// network is the way from one process to the tenant, on which a share of the calls goes
// wrong. What goes wrong is drawn for each.
type network struct {
	next  http.RoundTripper
	share float64

	mu     sync.Mutex
	random *rand.Rand
	calls  int
	faults map[string]int
}

var faultNames = []string{"no connection", "answer lost", "429", "503", "500 and done", "answer cut short"}

func newNetwork(next http.RoundTripper, seed uint64, share float64) *network {
	return &network{next: next, share: share, random: rand.New(rand.NewPCG(seed, 7)), faults: map[string]int{}}
}

func (n *network) draw() (fault string, wait int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	if n.random.Float64() >= n.share {
		return "", 0
	}
	fault, wait = faultNames[n.random.IntN(len(faultNames))], 1+n.random.IntN(20)
	n.faults[fault]++
	return fault, wait
}

// calm ends the faults.
func (n *network) calm() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.share = 0
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	fault, wait := n.draw()
	refused := func(status int, header ...string) *http.Response {
		resp := &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}
		for i := 0; i+1 < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp
	}
	switch fault {
	case "no connection":
		return nil, &url.Error{Op: r.Method, URL: r.URL.Host, Err: errLost}
	case "429":
		return refused(http.StatusTooManyRequests, "Retry-After", fmt.Sprint(wait)), nil
	case "503":
		return refused(http.StatusServiceUnavailable), nil
	}
	resp, err := n.next.RoundTrip(r)
	if err != nil || fault == "" {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	switch fault {
	case "answer lost":
		return nil, errLost
	case "500 and done":
		return refused(http.StatusInternalServerError), nil
	}
	cut := body[:len(body)/2]
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(cut)), int64(len(cut))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// process is one reeve among others on a database, with a clock of its own.
type process struct {
	*Rotator
	db      *store.DB
	network *network
	ahead   atomic.Int64 // of the tenant's clock
	clock   *emulatortest.Clock
}

func (p *process) Now() time.Time { return p.clock.Now().Add(time.Duration(p.ahead.Load())) }

// start starts a process on the database in a file. What it keeps in memory is its own.
func (w *inside) start(file, holder string, keys certstore.Store, seed uint64, share float64, change ...func(*Options)) *process {
	w.t.Helper()
	p := &process{network: newNetwork(w, seed, share), clock: w.clock}
	var err error
	if p.db, err = store.Open(w.t.Context(), database(w.t, file), store.Options{Now: p.Now}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.db.Close() })
	number, err := p.db.Tenant(w.t.Context(), w.tenant.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	client := &http.Client{Transport: p.network}
	o := Options{
		DB: p.db, Tenant: number, Cloud: w.cloud, HTTP: client, Stores: map[string]certstore.Store{credential.StoreLocal: keys},
		NewKey: nextKey, Rhythm: credential.Rhythm{Look: time.Hour, Rehearse: 24 * time.Hour}, Workers: 1, Holder: holder, Now: p.Now,
		Directory: newDirectory(w.t, w.cloud, client, w),
	}
	if os.Getenv("TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	}
	for _, f := range change {
		f(&o)
	}
	p.Rotator = New(o)
	return p
}

// place is a folder for a database of a simulation: in memory where the system has such
// a place, since a disk's time is not what is measured.
func place(t testing.TB) string {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "reeve-test-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// applications makes applications with a certificate in use and two of somebody else's,
// which every replica knows.
func (w *inside) applications(count int, lifetime func(i int) time.Duration) []*subject {
	w.t.Helper()
	now := w.clock.Now()
	key, err := nextKey(context.Background(), pki.RSA2048)
	if err != nil {
		w.t.Fatal(err)
	}
	pair := func(name string, key crypto.Signer, end time.Time) pki.Pair {
		p, err := pki.SelfSign(key, pki.Template{Subject: mustName(w.t, name), NotBefore: now.Add(-5 * time.Minute), NotAfter: end})
		if err != nil {
			w.t.Fatal(err)
		}
		return p
	}
	foreign := []pki.Pair{pair("CN=other 1", key, now.AddDate(0, 0, 1000)), pair("CN=other 2", key, now.AddDate(0, 0, 1000))}
	var all []*subject
	var apps []*directory.Application
	d := w.tenant.Directory
	for i := range count {
		s := &subject{id: i, pair: pair(fmt.Sprintf("CN=app %d", i), key, now.Add(lifetime(i)-5*time.Minute))}
		app := d.NewApplication(fmt.Sprintf("app %d", i))
		for j, p := range append([]pki.Pair{s.pair}, foreign...) {
			k, err := directory.NewKeyCredential(uuid.NewString(), p.Certificate.Raw, time.Time{}, time.Time{})
			if err != nil {
				w.t.Fatal(err)
			}
			if j > 0 {
				s.foreign = append(s.foreign, k.KeyID)
			}
			app.KeyCredentials = append(app.KeyCredentials, k)
		}
		s.object, s.client = app.ID, app.AppID
		all, apps = append(all, s), append(apps, app)
	}
	for _, app := range apps {
		principal := d.PrincipalFor(app, uuid.NewString())
		if err := d.Update(func(u *directory.Update) error {
			u.PutApplication(app)
			u.PutServicePrincipal(principal)
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	d.Settle()
	return all
}

// adopt begins to look after an application, however often that takes.
func (w *inside) adopt(p *process, s *subject, policy credential.Policy, change ...func(*Adoption)) credential.Application {
	w.t.Helper()
	o := Adoption{ObjectID: s.object, ClientID: s.client, TenantID: w.tenant.ID, Name: fmt.Sprint("app ", s.id),
		Mode: credential.On, Policy: policy, Pair: s.pair, By: "test"}
	for _, f := range change {
		f(&o)
	}
	for range 100 {
		a, err := p.Adopt(w.t.Context(), o)
		var refused *m365.SignInError
		switch {
		case err == nil:
			return a
		case !errors.As(err, &refused):
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("it could not be adopted")
	return credential.Application{}
}

// forget takes the credentials that are destroyed out of a database, as nothing in reeve
// does: each step reads all that an application ever had, which in simulations of
// thousands of renewals would take most of the time.
func forget(t testing.TB, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err == nil {
		_, err = db.Exec(`DELETE FROM credentials WHERE state = 'destroyed'`)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lags are those of the front ends at which a consumer may be.
var lags = []time.Duration{0, 20 * time.Second, 40 * time.Second, time.Minute}

// outage is why a program that has a certificate could not sign in at every front end
// now; "" if it could.
func (w *inside) outage(s *subject, c credential.Credential) string {
	now := w.clock.Now()
	if now.Before(c.NotBefore) || !now.Before(c.NotAfter) {
		return fmt.Sprintf("the active certificate %s is not valid: it is from %v to %v", c.SHA1, c.NotBefore, c.NotAfter)
	}
	for _, lag := range lags {
		app, ok := w.tenant.Directory.View(lag).Application(s.object)
		if !ok {
			return "the application is gone"
		}
		if !hasCertificate(app, c.Certificate[0]) {
			return fmt.Sprintf("the active certificate %s would be refused by a front end that lags by %v", c.SHA1, lag)
		}
		for _, id := range s.foreign {
			if !hasKey(app, id) {
				return "the key " + id + " of somebody else is gone"
			}
		}
	}
	return ""
}
