package m365_test

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

const graphResource = "https://graph.microsoft.com"

func proofRequest(tn *tenant.Tenant) m365.ProofRequest {
	c := tn.Client()
	return m365.ProofRequest{
		TenantID: tn.ID, ClientID: c.ClientID, Resource: graphResource,
		Pair: pki.Pair{Certificate: c.Certificate, Key: c.Key},
	}
}

// dialing counts the connections that a client opens.
func dialing(t *testing.T, e *emulator.Emulator) (*http.Client, *atomic.Int32) {
	t.Helper()
	client, dials := httpClient(t, e.CA()), new(atomic.Int32)
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		t.Fatal("the client has another transport")
	}
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	return client, dials
}

func TestProves(t *testing.T) {
	e, tn := start(t, 0)
	client, dials := dialing(t, e)
	p := &m365.Prover{Cloud: cloudOf(t, e), HTTP: client}
	for _, resource := range []string{graphResource, manage, "https://vault.azure.net"} {
		for _, sendChain := range []bool{false, true} {
			r := proofRequest(tn)
			r.Resource, r.SendChain = resource, sendChain
			before := time.Now()
			got, err := p.Prove(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got.At.Before(before) || "https://"+got.Host != e.Origins().Authority || got.Resource != resource || got.Algorithm != pki.PS256 ||
				got.CorrelationID == "" || got.TraceID == "" || got.TenantID != tn.ID || got.ClientID != r.ClientID || !got.ByCertificate ||
				got.ServerTime.IsZero() || got.Skew.Abs() > 2*time.Second {
				t.Errorf("got %+v", got)
			}
			if want := resource == graphResource; slices.Contains(got.Roles, "Application.Read.All") != want {
				t.Errorf("%s: roles %v", resource, got.Roles)
			}
		}
	}
	if n := dials.Load(); n != 6 {
		t.Errorf("6 proofs over %d connections", n)
	}
	r := proofRequest(tn)
	r.TenantID = tn.Domain
	if got, err := p.Prove(t.Context(), r); err != nil || got.TenantID != tn.ID {
		t.Errorf("by the domain: %+v, error %v", got, err)
	}
}

// remote stands for a key in a vault: it signs, and is no *rsa.PrivateKey.
type remote struct{ crypto.Signer }

func TestProvesWithAKeyElsewhere(t *testing.T) {
	e, tn := start(t, 0)
	r := proofRequest(tn)
	r.Pair.Key = remote{r.Pair.Key}
	p := &m365.Prover{Cloud: cloudOf(t, e), HTTP: httpClient(t, e.CA())}
	if _, err := p.Prove(t.Context(), r); err != nil {
		t.Error(err)
	}
	r.Pair.Key = silent{r.Pair.Key}
	if _, err := p.Prove(t.Context(), r); !errors.Is(err, errSilent) || errors.Is(err, m365.ErrTransient) {
		t.Errorf("got %v, want the key's own error", err)
	}
}

type silent struct{ crypto.Signer }

var errSilent = errors.New("the vault is silent")

func (silent) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errSilent }

// The token is for immediate use.
func TestTokenOfAProofWorks(t *testing.T) {
	e, tn := start(t, 0)
	p := &m365.Prover{Cloud: cloudOf(t, e), HTTP: httpClient(t, e.CA())}
	token, proof, err := p.Token(t.Context(), proofRequest(tn))
	if err != nil || proof.At.IsZero() || time.Until(token.ExpiresOn) < 50*time.Minute {
		t.Fatalf("token until %v, error %v", token.ExpiresOn, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.Origins().Graph+"/v1.0/applications", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Token)
	resp, err := httpClient(t, e.CA()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("Graph answers %s", resp.Status)
	}
}

// A wrong clock of ours shows, and what was learned of it helps.
func TestProvesInSpiteOfAWrongClock(t *testing.T) {
	for _, skew := range []time.Duration{time.Hour, -time.Hour, 30 * 24 * time.Hour} {
		e, tn := start(t, 0)
		ours := func() time.Time { return time.Now().Add(-skew) }
		p := &m365.Prover{Cloud: cloudOf(t, e), HTTP: httpClient(t, e.CA()), Now: ours}
		r := proofRequest(tn)
		_, err := p.Prove(t.Context(), r)
		var refused *m365.SignInError
		if !errors.As(err, &refused) || !refused.Has(700024) || refused.ServerTime.IsZero() {
			t.Fatalf("%s: got %v, want 700024 and the authority's time", skew, err)
		}
		r.Skew = refused.ServerTime.Sub(ours())
		got, err := p.Prove(t.Context(), r)
		if err != nil || (got.Skew-skew).Abs() > 2*time.Second || time.Since(got.At.Add(skew)).Abs() > time.Minute {
			t.Errorf("%s: got %+v, error %v", skew, got, err)
		}
	}
}

func TestRefusedProofs(t *testing.T) {
	e, tn := start(t, 0)
	client, dials := dialing(t, e)
	p := &m365.Prover{Cloud: cloudOf(t, e), HTTP: client}
	unknown := newPair(t)
	for name, test := range map[string]struct {
		fault  emulator.FaultKind
		change func(*m365.ProofRequest)
		check  func(*m365.SignInError) bool
		asked  int32
	}{
		"unknown certificate": {change: func(r *m365.ProofRequest) { r.Pair = unknown },
			check: func(e *m365.SignInError) bool { return e.Has(700027) && e.TraceID != "" }, asked: 1},
		"foreign key": {change: func(r *m365.ProofRequest) {
			r.Pair = pki.Pair{Certificate: copyOf(r.Pair.Certificate, unknown), Key: unknown.Key}
		}, check: func(e *m365.SignInError) bool { return e.Has(700027) }, asked: 2},
		"unknown application": {change: func(r *m365.ProofRequest) { r.ClientID = "6f9f3c1e-0000-4000-8000-000000000000" },
			check: func(e *m365.SignInError) bool { return e.Has(700016) && !e.Has(700027) }, asked: 1},
		"unknown resource": {change: func(r *m365.ProofRequest) { r.Resource = "https://elsewhere.example" },
			check: func(e *m365.SignInError) bool { return e.Has(500011) && e.Resource == "https://elsewhere.example" }, asked: 1},
		"throttled":   {fault: "throttle", check: func(e *m365.SignInError) bool { return e.RetryAfter > 0 && errors.Is(e, m365.ErrTransient) }, asked: 1},
		"unavailable": {fault: "unavailable", check: func(e *m365.SignInError) bool { return e.Status == 503 && errors.Is(e, m365.ErrTransient) }, asked: 1},
		"a proxy's":   {fault: "bad-gateway", check: func(e *m365.SignInError) bool { return e.Status == 502 && errors.Is(e, m365.ErrTransient) }, asked: 1},
		"reset": {fault: "reset", check: func(e *m365.SignInError) bool {
			return e.Status == 0 && e.ServerTime.IsZero() && errors.Is(e, m365.ErrTransient)
		}, asked: 1},
		"lost": {fault: "lost-response", check: func(e *m365.SignInError) bool { return errors.Is(e, m365.ErrTransient) }, asked: 1},
		"cut":  {fault: "reset-body", check: func(e *m365.SignInError) bool { return errors.Is(e, m365.ErrTransient) }, asked: 1},
		"truncated": {fault: "truncated", check: func(e *m365.SignInError) bool {
			return errors.Is(e, m365.ErrTransient) && strings.Contains(e.Message, "no JSON")
		}, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := proofRequest(tn)
			if test.change != nil {
				test.change(&r)
			}
			if test.fault != "" {
				e.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: test.fault, Times: 1})
			}
			before := dials.Load()
			token, proof, err := p.Token(t.Context(), r)
			var refused *m365.SignInError
			if !errors.As(err, &refused) || token.Token != "" || !proof.At.IsZero() {
				t.Fatalf("got %+v, error %v", proof, err)
			}
			if !test.check(refused) || refused.CorrelationID == "" || !strings.Contains(err.Error(), r.ClientID) || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("got %+v: %v", refused, err)
			}
			if refused.Status != 0 && (refused.ServerTime.IsZero() || time.Since(refused.ServerTime).Abs() > time.Minute) {
				t.Errorf("the authority's time is %v", refused.ServerTime)
			}
			if refused.Status >= 400 && refused.Status < 429 && errors.Is(err, m365.ErrTransient) {
				t.Error("the refusal counts as transient")
			}
			if n := dials.Load() - before; n != test.asked {
				t.Errorf("asked %d times, want %d", n, test.asked)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Prove(ctx, proofRequest(tn)); !errors.Is(err, context.Canceled) || errors.Is(err, m365.ErrTransient) {
		t.Errorf("got %v, want canceled", err)
	}
	untrusting := &m365.Prover{Cloud: cloudOf(t, e), HTTP: httpClient(t, nil)}
	if _, err := untrusting.Prove(t.Context(), proofRequest(tn)); errors.Is(err, m365.ErrTransient) || !explained(err, "tls-unknown-authority") {
		t.Errorf("got %v, want what to do about the authority", err)
	}
	for want, change := range map[string]func(*m365.ProofRequest){
		"resource":  func(r *m365.ProofRequest) { r.Resource = "" },
		"tenant":    func(r *m365.ProofRequest) { r.TenantID = "" },
		"GUID":      func(r *m365.ProofRequest) { r.ClientID = "reeve" },
		"no certif": func(r *m365.ProofRequest) { r.Pair = pki.Pair{} },
	} {
		r := proofRequest(tn)
		change(&r)
		if _, err := p.Prove(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// authority answers token requests as no Entra ID would, or only an old one.
func authority(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, algorithm string)) *m365.Prover {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header, _, err := m365.Claims(r.FormValue("client_assertion"))
		if err != nil {
			t.Error(err)
		}
		answer(w, r, fmt.Sprint(header["alg"]))
	}))
	t.Cleanup(server.Close)
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	client.CheckRedirect = nil // A prover follows none of its own accord.
	return &m365.Prover{Cloud: m365.Cloud{Name: "custom", AuthorityHost: server.URL}, HTTP: client}
}

const (
	aTenant = "5d1ed5d4-6b1c-4c11-9a35-1f3e8a3f7d10"
	aClient = "6f9f3c1e-0000-4000-8000-000000000000"
)

func grant(w io.Writer, claims string) {
	part := base64.RawURLEncoding.EncodeToString
	fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"%s.%s.c2ln"}`, part([]byte(`{"alg":"none"}`)), part([]byte(claims)))
}

func TestFallsBackToRS256(t *testing.T) {
	r := m365.ProofRequest{TenantID: aTenant, ClientID: aClient, Resource: graphResource, Pair: newPair(t)}
	for name, test := range map[string]struct {
		refusal string
		want    string // the algorithms that were tried
		takes   string
	}{
		"unsupported":    {"AADSTS5002738: 'PS256' is not a supported signature algorithm.", "PS256 RS256", pki.RS256},
		"no thumbprint":  {"AADSTS5002723: Invalid JWT token.", "PS256 RS256", pki.RS256},
		"signature":      {"AADSTS700027: [Reason - The provided signature value did not match the expected signature value.]", "PS256 RS256", pki.RS256},
		"never":          {"AADSTS5002738: no.", "PS256 RS256", "neither"},
		"not found":      {"AADSTS700027: [Reason - The key was not found.]", "PS256", pki.RS256},
		"expired":        {"AADSTS700027: [Reason - The key used is expired.]", "PS256", pki.RS256},
		"something else": {"AADSTS700016: no application", "PS256", pki.RS256},
	} {
		t.Run(name, func(t *testing.T) {
			var tried []string
			p := authority(t, func(w http.ResponseWriter, r *http.Request, algorithm string) {
				if tried = append(tried, algorithm); algorithm == test.takes {
					grant(w, `{"tid":"`+aTenant+`","azp":"`+aClient+`","azpacr":"2"}`)
					return
				}
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, test.refusal)
			})
			got, err := p.Prove(t.Context(), r)
			if strings.Join(tried, " ") != test.want {
				t.Errorf("tried %v, want %s", tried, test.want)
			}
			if ok := len(tried) == 2 && test.takes == pki.RS256; ok != (err == nil) || ok && (got.Algorithm != pki.RS256 || !got.ByCertificate) {
				t.Errorf("got %+v, error %v", got, err)
			}
		})
	}
}

func TestATokenOfSomebodyElseIsNoProof(t *testing.T) {
	r := m365.ProofRequest{TenantID: aTenant, ClientID: aClient, Resource: graphResource, Pair: newPair(t)}
	const secret = "c2VjcmV0"
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"tenant":      {func(w http.ResponseWriter) { grant(w, `{"tid":"`+aClient+`","appid":"`+aClient+`"}`) }, "of tenant"},
		"no tenant":   {func(w http.ResponseWriter) { grant(w, `{"appid":"`+aClient+`"}`) }, "of tenant"},
		"application": {func(w http.ResponseWriter) { grant(w, `{"tid":"`+aTenant+`","appid":"`+aTenant+`"}`) }, "is application"},
		"opaque":      {func(w http.ResponseWriter) { fmt.Fprintf(w, `{"expires_in":60,"access_token":%q}`, secret) }, "not a JWT"},
		"no lifetime": {func(w http.ResponseWriter) { fmt.Fprintf(w, `{"access_token":%q}`, secret) }, "how long"},
		"no token":    {func(w http.ResponseWriter) { io.WriteString(w, `{}`) }, "holds no token"},
		"echo":        {func(w http.ResponseWriter) { io.WriteString(w, `"eyJhbGciOi.`+secret+`.`+secret+`"`) }, "holds no token"},
		"redirect":    {func(w http.ResponseWriter) { w.Header().Set("Location", "/elsewhere"); w.WriteHeader(307) }, "307"},
		"endless":     {func(w http.ResponseWriter) { io.WriteString(w, strings.Repeat(" ", 1<<20+1)) }, "larger"},
	} {
		asked := 0
		p := authority(t, func(w http.ResponseWriter, _ *http.Request, _ string) { asked++; test.answer(w) })
		token, proof, err := p.Token(t.Context(), r)
		var e *m365.SignInError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) || errors.Is(err, m365.ErrTransient) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
		if token.Token != "" || !proof.At.IsZero() || asked != 1 {
			t.Errorf("%s: asked %d times, and got %+v", name, asked, proof)
		}
	}
}

// What is shown is what is sent, but for what is made anew.
func TestShownTokenRequest(t *testing.T) {
	var sent string
	p := authority(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		r.Form.Set("client_assertion", "<assertion>")
		for _, name := range []string{"Accept-Encoding", "Connection", "Content-Length"} { // which net/http adds
			r.Header.Del(name)
		}
		r.Header.Set("Client-Request-Id", "<a new GUID>")
		sent = fmt.Sprint(r.Method, " https://", r.Host, r.URL, " ", r.Header, " ", r.Form)
	})
	r := m365.ProofRequest{TenantID: "contoso.onmicrosoft.com", ClientID: aClient, Resource: "https://servicebus.azure.net/", Pair: newPair(t)}
	shown := p.Request(r)
	if _, err := p.Prove(t.Context(), r); err == nil {
		t.Fatal("an empty answer was taken for a proof")
	}
	if got := fmt.Sprint(shown.Method, " ", shown.URL, " ", shown.Header, " ", shown.Form); got != sent {
		t.Errorf("shown\n%s\nsent\n%s", got, sent)
	}
	if shown.Form.Get("scope") != "https://servicebus.azure.net//.default" {
		t.Errorf("the scope is %s", shown.Form.Get("scope"))
	}
}

// HTTP/2 keeps connections harder.
func TestEachProofHasItsOwnConnection(t *testing.T) {
	var connections, second atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			second.Add(1)
		}
		grant(w, `{"tid":"`+aTenant+`","appid":"`+aClient+`"}`)
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	client := httpClient(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	p := &m365.Prover{Cloud: m365.Cloud{Name: "custom", AuthorityHost: server.URL}, HTTP: client}
	r := m365.ProofRequest{TenantID: aTenant, ClientID: aClient, Resource: graphResource, Pair: newPair(t)}
	other := func() {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		resp.Body.Close()
	}
	other()
	for range 3 {
		if _, err := p.Prove(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if connections.Load() != 4 || second.Load() != 4 {
		t.Errorf("3 proofs over %d connections besides the client's own, %d requests by HTTP/2", connections.Load()-1, second.Load())
	}
	other()
	if connections.Load() != 4 {
		t.Error("the proofs have closed the client's connection")
	}
}
