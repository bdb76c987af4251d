package m365_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

const (
	graph = "https://graph.microsoft.com"
	vault = "https://vault.azure.net"
)

// keys are made once for all tests; certificates are cheap.
var keys = sync.OnceValue(func() []*rsa.PrivateKey {
	made := make([]*rsa.PrivateKey, 4)
	for i := range made {
		var err error
		if made[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return made
})

// pairUntil makes a pair of the i-th key.
func pairUntil(t testing.TB, i int, end time.Time) pki.Pair {
	t.Helper()
	key := keys()[i]
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprintf("pair %d", i)},
		NotBefore: end.AddDate(-1, 0, 0), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pki.Pair{Certificate: c, Key: key}
}

func pair(t testing.TB, i int) pki.Pair { return pairUntil(t, i, time.Now().AddDate(0, 6, 0)) }

// gate stands in the way of the requests for tokens, and sees with which certificate
// they are made.
type gate struct {
	http.RoundTripper
	mu    sync.Mutex
	tries map[string]int // by thumbprint, as it stands in the assertion

	// before is called with the thumbprint and may answer in Entra ID's place.
	before func(thumbprint string) *http.Response
	after  func(thumbprint string)
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
		return g.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	thumbprint := ""
	if form, err := url.ParseQuery(string(body)); err == nil {
		first, _, _ := strings.Cut(form.Get("client_assertion"), ".")
		var header struct {
			X5T string `json:"x5t#S256"`
		}
		if data, err := base64.RawURLEncoding.DecodeString(first); err == nil && json.Unmarshal(data, &header) == nil {
			thumbprint = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(header.X5T), "=")
		}
	}
	g.mu.Lock()
	g.tries[thumbprint]++
	before, after := g.before, g.after
	g.mu.Unlock()
	if before != nil {
		if resp := before(thumbprint); resp != nil {
			resp.Request = r
			return resp, nil
		}
	}
	resp, err := g.RoundTripper.RoundTrip(r)
	if after != nil {
		after(thumbprint)
	}
	return resp, err
}

func (g *gate) triesWith(p pki.Pair) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tries[pki.X5TS256(p.Certificate)]
}

func (g *gate) set(before func(string) *http.Response, after func(string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before, g.after = before, after
}

// refusal is an answer of Entra ID that the emulator does not give.
func refusal(status, code int, text string) *http.Response {
	body, err := json.Marshal(map[string]any{
		"error": "invalid_client", "error_codes": []int{code}, "trace_id": "t", "correlation_id": "c", "timestamp": "now",
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: t", code, text),
	})
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, "Retry-After-Ms": {"1"}}, // the SDK tries some again
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// scene is an application with two certificates that can be used, a third that it
// does not know, and a credential that signs in with the first.
type scene struct {
	*emulatortest.World
	clock *emulatortest.Clock // the credential's and the tenant's
	gate  *gate
	cred  *m365.Credential

	active, other, unknown pki.Pair
	keyIDs                 map[string]string // by thumbprint

	mu    sync.Mutex
	swaps []string // what OnSwap heard
}

func newScene(t testing.TB, change ...func(*m365.SignIn)) *scene {
	t.Helper()
	s := &scene{clock: emulatortest.NewClock(time.Now()), keyIDs: map[string]string{}}
	s.World = emulatortest.Start(t, s.clock.Now)
	err := s.Tenant.Directory.ChangeApplication(s.clientID(), func(a *directory.Application) error {
		a.KeyCredentials = nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.active, s.other, s.unknown = pair(t, 0), pair(t, 1), pair(t, 2)
	s.register(t, s.active)
	s.register(t, s.other)

	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: s.CA()})
	if err != nil {
		t.Fatal(err)
	}
	transport := client.Transport.(*http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	s.gate = &gate{RoundTripper: transport, tries: map[string]int{}}
	client.Transport = s.gate

	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	o := s.Origins()
	cloud.AuthorityHost, cloud.Graph, cloud.Manage, cloud.Logs = o.Authority, o.Graph, o.Manage, o.Logs
	signIn := m365.SignIn{Method: m365.MethodCertificate, TenantID: s.Tenant.ID, ClientID: s.clientID(), Pair: s.active}
	for _, f := range change {
		f(&signIn)
	}
	if s.cred, err = m365.NewCredential(cloud, signIn, client); err != nil {
		t.Fatal(err)
	}
	s.cred.Now = s.clock.Now
	s.cred.OnSwap = func(from, to pki.Pair, because error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.swaps = append(s.swaps, fmt.Sprintf("%v to %v: %v", from, to, because))
		s.cred.Pair() // would hang under a lock
	}
	return s
}

func (s *scene) clientID() string { return s.Tenant.Client().ClientID }

func (s *scene) register(t testing.TB, p pki.Pair) {
	s.registerUntil(t, p, s.clock.Now().AddDate(0, 3, 0))
}

func (s *scene) registerUntil(t testing.TB, p pki.Pair, end time.Time) {
	t.Helper()
	id, err := s.Tenant.Directory.AddKeyCredential(s.clientID(), p.Certificate.Raw, s.clock.Now().Add(-time.Hour), end)
	if err != nil {
		t.Fatal(err)
	}
	s.keyIDs[pki.SHA1(p.Certificate)] = id
}

func (s *scene) remove(t testing.TB, p pki.Pair) {
	t.Helper()
	if err := s.Tenant.Directory.RemoveKeyCredential(s.clientID(), s.keyIDs[pki.SHA1(p.Certificate)]); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) get(t testing.TB, resource string) string {
	t.Helper()
	token, err := m365.Token(t.Context(), s.cred, resource)
	if err != nil {
		t.Fatal(err)
	}
	return token.Token
}

func (s *scene) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.swaps)
}

func (s *scene) uses(t testing.TB, want pki.Pair) {
	t.Helper()
	if got := s.cred.Pair(); !got.Certificate.Equal(want.Certificate) {
		t.Errorf("uses %v, want %v", got, want)
	}
}

func TestSwapObtainsTokensFirst(t *testing.T) {
	s := newScene(t)
	unused := s.get(t, vault)
	s.clock.Add(3 * time.Minute)
	before := map[string]string{manage: s.get(t, manage), graph: s.get(t, graph)}
	ours := emulatortest.NewClock(time.Now().Add(2*time.Hour + time.Minute)) // nobody asked for the vault of late
	s.cred.Now = ours.Now
	if err := s.cred.Swap(t.Context(), s.other); err != nil {
		t.Fatal(err)
	}
	if n := s.gate.triesWith(s.other); n != 2 {
		t.Errorf("%d tokens were obtained before the swap, want the 2 in use", n)
	}
	s.cred.Now = s.clock.Now
	for resource, old := range before {
		if s.get(t, resource) == old {
			t.Errorf("%s: the token is the old certificate's", resource)
		}
	}
	if n := s.gate.triesWith(s.other); n != 2 {
		t.Errorf("%d requests with the new certificate: the tokens were not kept", n)
	}
	if s.get(t, vault) == unused || s.gate.triesWith(s.active) != 3 {
		t.Error("the old certificate was used after the swap")
	}
	s.uses(t, s.other)
	if got := fmt.Sprint(s.cred); !strings.Contains(got, pki.SHA1(s.other.Certificate)) {
		t.Errorf("prints %s", got)
	}
	if len(s.heard()) != 0 {
		t.Error("OnSwap was called for a Swap")
	}
}

// A token that lives for a day is asked for once a day.
func TestSwapMindsLongLivedTokens(t *testing.T) {
	s := newScene(t)
	o := policy.TokenRequestOptions{Scopes: []string{graph + "/.default"}, EnableCAE: true}
	if _, err := s.cred.GetToken(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.cred.Now = emulatortest.NewClock(s.clock.Now().Add(5 * time.Hour)).Now
	if err := s.cred.Swap(t.Context(), s.other); err != nil {
		t.Fatal(err)
	}
	if n := s.gate.triesWith(s.other); n != 1 {
		t.Errorf("%d tokens were obtained before the swap, want 1", n)
	}
}

func TestSwapLeavesTheOldPair(t *testing.T) {
	s := newScene(t)
	before := s.get(t, manage)
	for name, test := range map[string]struct {
		pair pki.Pair
		want []string
	}{
		"unregistered":   {s.unknown, []string{"AADSTS700027", manage, "stays", pki.SHA1(s.unknown.Certificate)}},
		"no certificate": {pki.Pair{}, []string{"no certificate"}},
		"no key":         {pki.Pair{Certificate: s.other.Certificate}, []string{"no private key"}},
		"foreign key":    {pki.Pair{Certificate: s.other.Certificate, Key: keys()[3]}, []string{"does not belong"}},
	} {
		err := s.cred.Swap(t.Context(), test.pair)
		if err == nil {
			t.Fatalf("%s: swapped", name)
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", name, err, want)
			}
		}
	}
	s.uses(t, s.active)
	if s.get(t, manage) != before {
		t.Error("the kept token was lost")
	}

	// One resource out of two is enough.
	s.get(t, graph)
	n := 0
	s.gate.set(func(string) *http.Response {
		if n++; n == 2 {
			return refusal(400, 500011, "The resource principal was not found.")
		}
		return nil
	}, nil)
	if err := s.cred.Swap(t.Context(), s.other); err == nil || !strings.Contains(err.Error(), "AADSTS500011") {
		t.Errorf("got %v", err)
	}
	s.uses(t, s.active)
	if s.get(t, manage) != before {
		t.Error("the kept token was lost")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.cred.Swap(ctx, s.other); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	s.uses(t, s.active)
}

func TestSwapNeedsACertificate(t *testing.T) {
	public, err := m365.LookupCloud("public")
	if err != nil {
		t.Fatal(err)
	}
	cred, err := m365.NewCredential(public, m365.SignIn{Method: m365.MethodManagedIdentity}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	if err := cred.Swap(t.Context(), pair(t, 0)); err == nil || !strings.Contains(err.Error(), "managed-identity") {
		t.Errorf("got %v, want an error that names the method", err)
	}
}

// Callers do not wait while a swap asks, and whoever asked before it gets the token.
func TestCallersDoNotWaitForASwap(t *testing.T) {
	s := newScene(t)
	kept := s.get(t, manage)
	arrived, release := make(chan string, 2), make(chan struct{})
	s.gate.set(func(thumbprint string) *http.Response {
		arrived <- thumbprint
		<-release
		return nil
	}, nil)

	var group sync.WaitGroup
	swapped := make(chan error, 1)
	group.Go(func() { swapped <- s.cred.Swap(t.Context(), s.other) })
	if got := <-arrived; got != pki.X5TS256(s.other.Certificate) {
		t.Error("the swap asks with the old certificate")
	}
	if s.get(t, manage) != kept { // while the swap hangs
		t.Error("the kept token was lost")
	}
	s.uses(t, s.active)
	late := make(chan azcore.AccessToken, 1)
	group.Go(func() {
		token, err := m365.Token(t.Context(), s.cred, graph)
		if err != nil {
			t.Error(err)
		}
		late <- token
	})
	if got := <-arrived; got != pki.X5TS256(s.active.Certificate) {
		t.Error("a caller during the swap asks with the new certificate")
	}
	// Another one that wants the same waits no longer than its own time.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m365.Token(ctx, s.cred, graph); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	close(release)
	group.Wait()
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if (<-late).Token == "" {
		t.Error("no token for the caller that began before the swap")
	}
	s.uses(t, s.other)
	if s.get(t, manage) == kept {
		t.Error("the old token is given out after the swap")
	}
}

// A certificate that is refused while another one takes its place costs nobody a
// token, even without a standby.
func TestRefusedDuringASwap(t *testing.T) {
	s := newScene(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	s.remove(t, s.active)
	s.gate.set(nil, func(thumbprint string) {
		if thumbprint == pki.X5TS256(s.active.Certificate) {
			arrived <- struct{}{}
			<-release
		}
	})
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := m365.Token(t.Context(), s.cred, manage); err != nil {
			t.Error(err)
		}
	})
	<-arrived
	if err := s.cred.Swap(t.Context(), s.other); err != nil {
		t.Error(err)
	}
	close(release)
	group.Wait()
}

// watched is a context that tells when somebody waits for its end.
type watched struct {
	context.Context
	waits func()
}

func (w *watched) Done() <-chan struct{} {
	w.waits()
	return w.Context.Done()
}

// Who asks may give up; who waits for the same token asks then.
func TestWaitingOutlivesWhoAsked(t *testing.T) {
	s := newScene(t)
	arrived := make(chan struct{}, 2)
	var first atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	s.gate.set(func(string) *http.Response {
		arrived <- struct{}{}
		if first.CompareAndSwap(false, true) {
			<-ctx.Done()
		}
		return nil
	}, nil)
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := m365.Token(ctx, s.cred, manage); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	})
	<-arrived
	for range 8 {
		waits := make(chan struct{})
		group.Go(func() {
			ctx := &watched{Context: t.Context(), waits: sync.OnceFunc(func() { close(waits) })}
			if _, err := m365.Token(ctx, s.cred, manage); err != nil {
				t.Error(err)
			}
		})
		<-waits
	}
	cancel()
	group.Wait()
	if n := s.gate.triesWith(s.active); n != 2 {
		t.Errorf("%d requests, want that of who gave up and one for all others", n)
	}
}

func TestForgetDuringSwaps(t *testing.T) {
	s := newScene(t)
	pairs := []pki.Pair{s.other, s.active}
	done := make(chan struct{})
	var group sync.WaitGroup
	for _, resource := range []string{manage, graph} {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				token, err := m365.Token(t.Context(), s.cred, resource)
				if err != nil {
					t.Error(err)
					return
				}
				s.cred.Forget(token.Token)
				next, err := m365.Token(t.Context(), s.cred, resource)
				if err != nil {
					t.Error(err)
				}
				if next.Token == token.Token {
					t.Error("the token was not forgotten")
				}
			}
		})
	}
	for i := range 20 {
		if err := s.cred.Swap(t.Context(), pairs[i%2]); err != nil {
			t.Error(err)
		}
	}
	close(done)
	group.Wait()
	s.uses(t, s.active)
}

func TestCredentialPrintsNoKey(t *testing.T) {
	s := newScene(t)
	s.cred.SetStandby(s.other)
	if err := s.cred.Swap(t.Context(), s.other); err != nil {
		t.Fatal(err)
	}
	s.cred.SetStandby(s.active)
	text, err := json.Marshal(map[string]any{"credential": s.cred})
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{string(text)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		printed = append(printed, fmt.Sprintf(verb, s.cred), fmt.Sprintf(verb, struct{ C *m365.Credential }{s.cred}), fmt.Sprintf(verb, []any{s.cred}))
	}
	for _, key := range keys() {
		for _, secret := range []*big.Int{key.D, key.Primes[0], key.Primes[1]} {
			for _, text := range printed {
				if strings.Contains(text, secret.String()) || strings.Contains(strings.ToLower(text), secret.Text(16)) {
					t.Errorf("a key is in %.80s", text)
				}
			}
		}
	}
	for _, text := range printed {
		if text == "" || len(text) > 1000 {
			t.Errorf("printed %.200q", text)
		}
	}
}

func TestSwappingLeavesNothingRunning(t *testing.T) {
	s := newScene(t)
	far := pki.Pair{Certificate: s.other.Certificate, Key: farKey{Signer: s.other.Key}}
	s.get(t, manage)
	s.cred.SetStandby(s.other)
	for range 3 {
		for _, p := range []pki.Pair{far, s.active} {
			if err := s.cred.Swap(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.cred.SetStandby(far)
	s.remove(t, s.active)
	s.get(t, graph)
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		ours := slices.DeleteFunc(strings.Split(string(stacks), "\n\n"), func(one string) bool {
			return !strings.Contains(one, "internal/m365.") || strings.Contains(one, t.Name())
		})
		if len(ours) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left:\n%s", len(ours), strings.Join(ours, "\n\n"))
		}
	}
}

// Under 1,000 requests for tokens a second the certificate changes again and again;
// TEST_LONG=1 makes it a thousand times.
func TestSwapsUnderLoad(t *testing.T) {
	const (
		callers = 50
		pause   = callers * time.Millisecond // of each caller, which makes 1,000 a second
		swaps   = 1000
		limit   = 50 * time.Millisecond * raceFactor
	)
	s := newScene(t)
	s.register(t, s.unknown)
	pairs := []pki.Pair{s.other, s.unknown, s.active}
	resources := []string{manage, graph, vault}
	for _, r := range resources {
		s.get(t, r)
	}
	stop := make(chan struct{})
	took := make([][]time.Duration, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				start := time.Now()
				_, err := m365.Token(t.Context(), s.cred, resources[n%len(resources)])
				took[i] = append(took[i], time.Since(start))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	begun, done := time.Now(), 0
	for done < swaps && (os.Getenv("TEST_LONG") != "" || time.Since(begun) < 5*time.Second) {
		if err := s.cred.Swap(t.Context(), pairs[done%len(pairs)]); err != nil {
			t.Fatal(err)
		}
		done++
	}
	elapsed := time.Since(begun)
	close(stop)
	group.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[int(share*float64(len(all)-1))] }
	t.Logf("%d swaps and %d requests in %.1f s (%.0f a second): p50 %s, p99 %s, p99.9 %s, max %s",
		done, len(all), elapsed.Seconds(), float64(len(all))/elapsed.Seconds(), at(0.5), at(0.99), at(0.999), at(1))
	if at(1) > limit {
		t.Errorf("a request was delayed for %s, want at most %s", at(1), limit)
	}
}
