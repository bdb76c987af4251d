package m365_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// farKey is a key that only stands for one elsewhere.
type farKey struct {
	crypto.Signer
	err error
}

func (k farKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if k.err != nil {
		return nil, k.err
	}
	return k.Signer.Sign(r, digest, o)
}

func TestSignsWithAKeyElsewhere(t *testing.T) {
	s := newScene(t, func(s *m365.SignIn) { s.Pair.Key = farKey{Signer: s.Pair.Key} })
	first := s.get(t, manage)
	if s.get(t, manage) != first {
		t.Error("the token was not kept")
	}
	if _, claims, err := m365.Claims(first); err != nil || claims["appidacr"] != "2" {
		t.Errorf("got %v, %v", claims, err)
	}
	// The assertion is for the tenant that is asked.
	for _, tenantID := range []string{s.Tenant.ID, s.Tenant.Domain} {
		if _, err := s.cred.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graph + "/.default"}, TenantID: tenantID, EnableCAE: true}); err != nil {
			t.Error(err)
		}
	}
	if err := s.cred.Swap(t.Context(), pki.Pair{Certificate: s.other.Certificate, Key: farKey{Signer: s.other.Key}}); err != nil {
		t.Fatal(err)
	}
	if s.get(t, manage) == first {
		t.Error("the token is the old certificate's")
	}
}

func TestSendsTheChain(t *testing.T) {
	for name, far := range map[string]bool{"a key here": false, "a key elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			authority := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
				IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			}
			der, err := x509.CreateCertificate(rand.Reader, authority, authority, keys()[3].Public(), keys()[3])
			if err != nil {
				t.Fatal(err)
			}
			if authority, err = x509.ParseCertificate(der); err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
				SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "reeve.contoso.com"}, DNSNames: []string{"reeve.contoso.com"},
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
			}, authority, keys()[2].Public(), keys()[3])
			if err != nil {
				t.Fatal(err)
			}
			issued := pki.Pair{Chain: []*x509.Certificate{authority}, Key: keys()[2]}
			if issued.Certificate, err = x509.ParseCertificate(leaf); err != nil {
				t.Fatal(err)
			}
			if far {
				issued.Key = farKey{Signer: issued.Key}
			}
			s := newScene(t, func(s *m365.SignIn) { s.SendChain = true })
			if err := s.Tenant.Directory.ChangeApplication(s.clientID(), func(a *directory.Application) error {
				a.TrustedSubjects = []directory.TrustedSubject{{SubjectName: "reeve.contoso.com", Authority: authority.Raw}}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			s.get(t, manage)
			if err := s.cred.Swap(t.Context(), issued); err != nil {
				t.Fatal(err)
			}
			s.uses(t, issued)
		})
	}
}

func TestSigningFailsByName(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		transient bool
	}{
		"refused":      {&m365.Error{Op: "signing with key reeve", URL: "https://contoso.vault.azure.net", Status: 403, Kind: m365.ErrForbidden}, false},
		"unauthorized": {&m365.Error{Op: "signing with key reeve", URL: "https://contoso.vault.azure.net", Status: 401, Kind: m365.ErrUnauthorized}, false},
		"throttled":    {&m365.Error{Op: "signing with key reeve", URL: "https://contoso.vault.azure.net", Status: 429, Kind: m365.ErrThrottled}, true},
		"SDK refused":  {fmt.Errorf("contoso.vault.azure.net: %w", &azcore.ResponseError{StatusCode: 403}), false},
		"SDK fails":    {fmt.Errorf("contoso.vault.azure.net: %w", &azcore.ResponseError{StatusCode: 503}), true},
		"unreachable":  {fmt.Errorf("contoso.vault.azure.net: %w", &url.Error{Op: "Post", URL: "https://contoso.vault.azure.net/keys", Err: io.ErrUnexpectedEOF}), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, func(s *m365.SignIn) { s.Pair.Key = farKey{s.Pair.Key, test.err} })
			s.cred.SetStandby(s.other)
			_, err := m365.Token(t.Context(), s.cred, manage)
			var failed *m365.SignInError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), "contoso.vault.azure.net") || !strings.Contains(err.Error(), pki.SHA1(s.active.Certificate)) {
				t.Fatalf("got %v, want a *SignInError that names vault and certificate", err)
			}
			if errors.Is(err, m365.ErrUnauthorized) || errors.Is(err, m365.ErrForbidden) || errors.Is(err, m365.ErrTransient) != test.transient {
				t.Errorf("%v is of the wrong kind", err)
			}
			if len(s.heard()) != 0 || s.gate.triesWith(s.other) != 0 {
				t.Error("the standby was tried")
			}
		})
	}
}
