package m365_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

const manage = "https://manage.office.com"

// start emulates a tenant whose clock is ahead of ours by skew.
func start(t *testing.T, skew time.Duration) (*emulator.Emulator, *tenant.Tenant) {
	t.Helper()
	tn, err := tenant.New(tenant.Options{Seed: 1, Calm: true, Now: func() time.Time { return time.Now().Add(skew) }})
	if err != nil {
		t.Fatal(err)
	}
	e, err := emulator.Start(emulator.Options{Tenant: tn, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, tn
}

func cloudOf(t *testing.T, e *emulator.Emulator) m365.Cloud {
	t.Helper()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	o := e.Origins()
	cloud.AuthorityHost, cloud.Graph, cloud.Manage, cloud.Logs = o.Authority, o.Graph, o.Manage, o.Logs
	return cloud
}

func httpClient(t *testing.T, ca []byte) *http.Client {
	t.Helper()
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// certificateSignIn is how the tenant's client signs in.
func certificateSignIn(tn *tenant.Tenant) m365.SignIn {
	c := tn.Client()
	return m365.SignIn{
		Method:   m365.MethodCertificate,
		TenantID: tn.ID,
		ClientID: c.ClientID,
		Pair:     pki.Pair{Certificate: c.Certificate, Key: c.Key},
	}
}

func newPair(t *testing.T) pki.Pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
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

func TestSignsInWithACertificate(t *testing.T) {
	e, tn := start(t, 0)
	for _, sendChain := range []bool{false, true} {
		s := certificateSignIn(tn)
		s.SendChain = sendChain
		cred, err := m365.NewCredential(cloudOf(t, e), s, httpClient(t, e.CA()))
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range []string{manage, "https://graph.microsoft.com", "https://vault.azure.net"} {
			token, err := m365.Token(t.Context(), cred, resource)
			if err != nil {
				t.Fatal(err)
			}
			_, claims, err := m365.Claims(token.Token)
			if err != nil {
				t.Fatal(err)
			}
			if claims["aud"] != resource || claims["tid"] != tn.ID || claims["appidacr"] != "2" {
				t.Errorf("%s: got %v", resource, claims)
			}
		}
	}
}

func TestSignsInWithTheDomain(t *testing.T) {
	e, tn := start(t, 0)
	s := certificateSignIn(tn)
	s.TenantID = tn.Domain
	cred, err := m365.NewCredential(cloudOf(t, e), s, httpClient(t, e.CA()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m365.Token(t.Context(), cred, manage); err != nil {
		t.Error(err)
	}
}

func TestSignsInWithASecret(t *testing.T) {
	e, tn := start(t, 0)
	const secret = "a~secret+with/signs="
	if _, err := tn.Directory.AddPassword(tn.Client().ClientID, secret, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s := m365.SignIn{Method: m365.MethodSecret, TenantID: tn.ID, ClientID: tn.Client().ClientID, Secret: secret}
	cred, err := m365.NewCredential(cloudOf(t, e), s, httpClient(t, e.CA()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m365.Token(t.Context(), cred, manage); err != nil {
		t.Error(err)
	}
}

func TestRefusalsAreExplained(t *testing.T) {
	const wrong = "0123-wrong-secret"
	foreign := newPair(t)
	tests := []struct {
		name   string
		skew   time.Duration
		change func(*testing.T, *tenant.Tenant, *m365.SignIn)
		code   int
		want   string // in the title of the explanation
	}{
		{"certificate not uploaded", 0, func(_ *testing.T, _ *tenant.Tenant, s *m365.SignIn) { s.Pair = foreign }, 700027, "does not know this certificate"},
		{"foreign key", 0, func(_ *testing.T, tn *tenant.Tenant, s *m365.SignIn) {
			s.Pair.Certificate = copyOf(tn.Client().Certificate, foreign) // claims the known thumbprint
			s.Pair.Key = foreign.Key
		}, 700027, "does not fit"},
		{"expired in the directory", 0, func(t *testing.T, tn *tenant.Tenant, s *m365.SignIn) {
			s.Pair = foreign
			if _, err := tn.Directory.AddKeyCredential(s.ClientID, foreign.Certificate.Raw, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, 700027, "has expired"},
		{"clock behind", time.Hour, func(*testing.T, *tenant.Tenant, *m365.SignIn) {}, 700024, "outside its time"},
		{"unknown application", 0, func(_ *testing.T, _ *tenant.Tenant, s *m365.SignIn) {
			s.ClientID = "6f9f3c1e-0000-4000-8000-000000000000"
		}, 700016, "no such application"},
		{"unknown tenant", 0, func(_ *testing.T, _ *tenant.Tenant, s *m365.SignIn) {
			s.TenantID = "6f9f3c1e-0000-4000-8000-000000000000"
		}, 90002, "no such tenant"},
		{"malformed tenant", 0, func(_ *testing.T, _ *tenant.Tenant, s *m365.SignIn) { s.TenantID = "contoso" }, 900023, "malformed"},
		{"disabled application", 0, func(t *testing.T, tn *tenant.Tenant, s *m365.SignIn) {
			err := tn.Directory.ChangeApplication(s.ClientID, func(a *directory.Application) error {
				a.IsDisabled = true
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}, 7000112, "disabled"},
		{"no service principal", 0, func(t *testing.T, tn *tenant.Tenant, s *m365.SignIn) {
			err := tn.Directory.Update(func(u *directory.Update) error {
				p, ok := u.ServicePrincipalByAppID(s.ClientID)
				if !ok {
					return errors.New("the application has none")
				}
				u.RemoveServicePrincipal(p.ID)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}, 7000229, "no service principal"},
		{"wrong secret", 0, func(_ *testing.T, _ *tenant.Tenant, s *m365.SignIn) { s.Method, s.Secret = m365.MethodSecret, wrong }, 7000215, "secret is wrong"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, tn := start(t, test.skew)
			s := certificateSignIn(tn)
			test.change(t, tn, &s)
			cred, err := m365.NewCredential(cloudOf(t, e), s, httpClient(t, e.CA()))
			if err != nil {
				t.Fatal(err)
			}
			_, err = m365.Token(t.Context(), cred, manage)
			var refused *m365.SignInError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a *SignInError", err)
			}
			x, ok := refused.Explanation()
			if !ok || x.Code != fmt.Sprintf("AADSTS%d", test.code) || !strings.Contains(x.Title, test.want) {
				t.Errorf("got %s %q of codes %v: %v", x.Code, x.Title, refused.Codes, err)
			}
			if errors.Is(err, m365.ErrTransient) {
				t.Error("the refusal counts as transient")
			}
			if !slices.Contains(refused.Codes, test.code) || refused.Status < 400 || refused.TraceID == "" || refused.CorrelationID == "" || refused.Timestamp == "" {
				t.Errorf("the error is incomplete: %+v", refused)
			}
			if strings.Contains(refused.Message, "Trace ID") || strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("the message holds what it should not: %v", err)
			}
			if s.Method == m365.MethodCertificate && !strings.Contains(err.Error(), pki.SHA1(s.Pair.Certificate)) {
				t.Errorf("the message does not name the certificate: %v", err)
			}
		})
	}
}

// copyOf pretends that a certificate has another's key, and so passes the checks on
// this side.
func copyOf(c *x509.Certificate, other pki.Pair) *x509.Certificate {
	pretender := *c
	pretender.PublicKey = other.Certificate.PublicKey
	return &pretender
}

func TestSignInSurvivesAPassingFailure(t *testing.T) {
	e, tn := start(t, 0)
	e.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: emulator.Reset, Times: 1})
	cred, err := m365.NewCredential(cloudOf(t, e), certificateSignIn(tn), httpClient(t, e.CA()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m365.Token(t.Context(), cred, manage); err != nil {
		t.Error(err)
	}
}

func explained(err error, code string) bool {
	x, ok := m365.ExplanationOf(err)
	return ok && x.Code == code
}

func TestSignInNamesTheNetwork(t *testing.T) {
	e, tn := start(t, 0)
	cloud := cloudOf(t, e)

	cred, err := m365.NewCredential(cloud, certificateSignIn(tn), httpClient(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = m365.Token(ctx, cred, manage)
	var untrusted x509.UnknownAuthorityError
	if !errors.As(err, &untrusted) || errors.Is(err, m365.ErrTransient) || !explained(err, "tls-unknown-authority") {
		t.Errorf("got %v, want the unknown authority and what to do", err)
	}

	cred, err = m365.NewCredential(cloud, certificateSignIn(tn), httpClient(t, e.CA()))
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	if _, err := m365.Token(canceled, cred, manage); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestForgetTakesAFreshTokenOnce(t *testing.T) {
	e, tn := start(t, 0)
	cred, err := m365.NewCredential(cloudOf(t, e), certificateSignIn(tn), httpClient(t, e.CA()))
	if err != nil {
		t.Fatal(err)
	}
	get := func() string {
		token, err := m365.Token(t.Context(), cred, manage)
		if err != nil {
			t.Error(err)
		}
		return token.Token
	}
	first := get()
	if get() != first {
		t.Fatal("the token was not kept")
	}
	cred.Forget("another")
	if get() != first {
		t.Error("a token was forgotten that was not meant")
	}
	cred.Forget(first)
	second := get()
	if second == first {
		t.Error("the token was not forgotten")
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			cred.Forget(first) // refused earlier, and heard of late
			if get() != second {
				t.Error("the fresh token was forgotten too")
			}
		})
	}
	group.Wait()
}

func TestSignInCheck(t *testing.T) {
	pair := newPair(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := pki.Pair{Certificate: &x509.Certificate{PublicKey: key.Public()}, Key: key}
	const id = "6f9f3c1e-0000-4000-8000-000000000000"
	for name, test := range map[string]struct {
		signIn m365.SignIn
		want   string
	}{
		"no method":         {m365.SignIn{TenantID: id, ClientID: id}, "workload-identity"},
		"no tenant":         {m365.SignIn{Method: m365.MethodSecret, ClientID: id, Secret: "x"}, "tenant ID is missing"},
		"common":            {m365.SignIn{Method: m365.MethodSecret, TenantID: "Common", ClientID: id, Secret: "x"}, "one tenant"},
		"name for an ID":    {m365.SignIn{Method: m365.MethodSecret, TenantID: id, ClientID: "reeve", Secret: "x"}, "not a GUID"},
		"no secret":         {m365.SignIn{Method: m365.MethodSecret, TenantID: id, ClientID: id}, "secret is missing"},
		"no certificate":    {m365.SignIn{Method: m365.MethodCertificate, TenantID: id, ClientID: id}, "no certificate"},
		"EC":                {m365.SignIn{Method: m365.MethodCertificate, TenantID: id, ClientID: id, Pair: ec}, "EC key"},
		"no token file":     {m365.SignIn{Method: m365.MethodWorkloadIdentity, TenantID: id, ClientID: id}, "federated token"},
		"certificate":       {m365.SignIn{Method: m365.MethodCertificate, TenantID: id, ClientID: id, Pair: pair}, ""},
		"workload identity": {m365.SignIn{Method: m365.MethodWorkloadIdentity, TenantID: id, ClientID: id, FederatedTokenFile: "f"}, ""},
		"managed identity":  {m365.SignIn{Method: m365.MethodManagedIdentity}, ""},
		"azure-cli":         {m365.SignIn{Method: m365.MethodAzureCLI}, ""},
	} {
		public, err := m365.LookupCloud("public")
		if err != nil {
			t.Fatal(err)
		}
		_, err = m365.NewCredential(public, test.signIn, http.DefaultClient)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestSignInHidesItsSecret(t *testing.T) {
	s := m365.SignIn{Method: m365.MethodSecret, TenantID: "t", ClientID: "c", Secret: "hush-hush"}
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), string(text)} {
		if strings.Contains(got, "hush") {
			t.Errorf("printed as %s", got)
		}
	}
}
