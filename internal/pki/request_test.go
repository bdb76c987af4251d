package pki_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/pki"
)

// authority makes one that is valid from notBefore for ten years.
func authority(t testing.TB, subject string) pki.Pair {
	t.Helper()
	in := template(t, subject)
	in.Authority, in.NotAfter = true, notBefore.AddDate(0, 0, pki.MaxAuthorityDays)
	return selfSigned(t, ecKey(t), in)
}

// request makes a request.
func request(t testing.TB, key crypto.Signer, in pki.Template) *x509.CertificateRequest {
	t.Helper()
	der, err := pki.NewRequest(key, in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// withNames is a template with a name of each kind.
func withNames(t testing.TB, subject string) pki.Template {
	t.Helper()
	in := template(t, subject)
	for _, name := range []string{"reeve.contoso.com", "admin@contoso.com", "192.0.2.1", "https://contoso.com/a"} {
		if err := in.AddName(name); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

func TestRequestAndIssue(t *testing.T) {
	key := rsaKey(t, "leaf", 2048)
	in := withNames(t, "CN=reeve, O=Contoso, DC=contoso")
	in.NotBefore, in.NotAfter = time.Time{}, time.Time{} // a request has none
	r := request(t, key, in)
	if err := r.CheckSignature(); err != nil {
		t.Fatal(err)
	}
	ca := authority(t, "CN=Contoso CA")
	c, err := pki.Issue(ca, r, notBefore, notAfter)
	if err != nil {
		t.Fatal(err)
	}
	self := selfSigned(t, key, withNames(t, "CN=reeve, O=Contoso, DC=contoso")).Certificate
	if err := c.CheckSignatureFrom(ca.Certificate); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(c.RawSubject, self.RawSubject) || !bytes.Equal(c.AuthorityKeyId, ca.Certificate.SubjectKeyId) || !bytes.Equal(c.SubjectKeyId, self.SubjectKeyId) {
		t.Errorf("got subject %v, authority key %x, subject key %x", c.Subject, c.AuthorityKeyId, c.SubjectKeyId)
	}
	if c.IsCA || c.KeyUsage != self.KeyUsage || !slices.Equal(c.ExtKeyUsage, self.ExtKeyUsage) || !c.NotAfter.Equal(notAfter) {
		t.Errorf("got authority %v, uses %b %v, until %v", c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.NotAfter)
	}
	if got, want := pki.Describe(c, now).AlternativeNames, pki.Describe(self, now).AlternativeNames; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
	pair, err := pki.Join(key, []*x509.Certificate{ca.Certificate, c})
	if err != nil {
		t.Fatal(err)
	}
	if !pair.Certificate.Equal(c) || len(pair.Chain) != 1 || !pair.Chain[0].Equal(ca.Certificate) {
		t.Errorf("joined %v with a chain of %d", pair, len(pair.Chain))
	}
	if err := pair.UsableForSignIn(now); err != nil {
		t.Error(err)
	}
}

// TestRequestAsks for the uses that a self-signed certificate would have.
func TestRequestAsks(t *testing.T) {
	for name, test := range map[string]struct {
		key       crypto.Signer
		authority bool
	}{"RSA": {rsaKey(t, "leaf", 2048), false}, "EC": {ecKey(t), false}, "authority": {ecKey(t), true}} {
		t.Run(name, func(t *testing.T) {
			in := withNames(t, "reeve")
			in.Authority = test.authority
			r := request(t, test.key, in)
			c := selfSigned(t, test.key, in).Certificate
			for _, id := range []asn1.ObjectIdentifier{{2, 5, 29, 15}, {2, 5, 29, 19}, {2, 5, 29, 37}, {2, 5, 29, 17}} {
				of := func(e pkix.Extension) bool { return e.Id.Equal(id) }
				got, want := slices.IndexFunc(r.Extensions, of), slices.IndexFunc(c.Extensions, of)
				switch {
				case got < 0 && want < 0:
				case got < 0 || want < 0:
					t.Errorf("extension %v is in one alone", id)
				case !cmp.Equal(r.Extensions[got], c.Extensions[want]):
					t.Errorf("extension %v: %s", id, cmp.Diff(r.Extensions[got], c.Extensions[want]))
				}
			}
		})
	}
}

func TestRequestRefuses(t *testing.T) {
	_, err := pki.NewRequest(nil, template(t, "reeve"))
	wantProblem(t, err, "no private key")
	_, err = pki.NewRequest(ecKey(t), pki.Template{})
	wantProblem(t, err, "neither a subject nor an alternative name")
	odd := template(t, "reeve")
	odd.URIs = []*url.URL{{Scheme: "https", Host: "contoso.com."}}
	_, err = pki.NewRequest(ecKey(t), odd)
	wantProblem(t, err, "would be malformed")
	_, err = pki.NewRequest(rsaKey(t, "small", 1024), template(t, "reeve"))
	wantProblem(t, err, "1024 bits")
}

func TestRequestReadByOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	command := exec.Command(openssl, "req", "-verify", "-noout", "-text")
	command.Stdin = bytes.NewReader(pki.EncodeRequest(request(t, rsaKey(t, "leaf", 2048), withNames(t, "CN=reeve, C=DE")).Raw))
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"verify OK", "Digital Signature, Key Encipherment", "TLS Web Client Authentication", "CA:FALSE", "DNS:reeve.contoso.com", "CN = reeve"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := authority(t, "CN=Contoso CA")
	key := ecKey(t)
	good := request(t, key, template(t, "reeve"))
	forged := *good
	forged.Signature = bytes.Clone(good.Signature)
	forged.Signature[len(forged.Signature)-1] ^= 1
	tooSmall := func() *x509.CertificateRequest {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, rsaKey(t, "small", 1024))
		if err != nil {
			t.Fatal(err)
		}
		r, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}()
	nameless := *good
	nameless.Subject, nameless.RawSubject = pkix.Name{}, []byte{0x30, 0}
	own := request(t, ca.Key, template(t, "reeve"))
	namesake := request(t, key, template(t, "CN=Contoso CA"))

	leaf := selfSigned(t, ecKey(t), template(t, "leaf"))
	noSign := special(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	server := special(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	elsewhereOnly := special(t, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	})
	for name, test := range map[string]struct {
		authority pki.Pair
		request   *x509.CertificateRequest
		from, to  time.Time
		want      string
	}{
		"no authority":            {pki.Pair{}, good, notBefore, notAfter, "no certificate"},
		"authority without key":   {pki.Pair{Certificate: ca.Certificate}, good, notBefore, notAfter, "no private key"},
		"authority's foreign key": {pki.Pair{Certificate: ca.Certificate, Key: key}, good, notBefore, notAfter, "does not belong"},
		"no CA":                   {leaf, good, notBefore, notAfter, "not an authority's"},
		"no keyCertSign":          {noSign, good, notBefore, notAfter, "keyCertSign"},
		"for servers alone":       {server, good, notBefore, notAfter, "may not issue this certificate"},
		"for another domain":      {elsewhereOnly, request(t, key, withNames(t, "reeve")), notBefore, notAfter, "may not issue this certificate"},
		"before the authority":    {ca, good, notBefore.Add(-time.Second), notAfter, "before the authority"},
		"outlives the authority":  {ca, good, ca.Certificate.NotAfter.AddDate(0, -1, 0), ca.Certificate.NotAfter.Add(time.Second), "after the authority"},
		"too long":                {ca, good, notBefore, notBefore.AddDate(4, 0, 0), "more than 1095 days"},
		"backwards":               {ca, good, notAfter, notBefore, "before it begins"},
		"no request":              {ca, nil, notBefore, notAfter, "no certificate signing request"},
		"no dates":                {ca, good, time.Time{}, notAfter, "has no dates"},
		"forged":                  {ca, &forged, notBefore, notAfter, "not signed by the key"},
		"small key":               {ca, tooSmall, notBefore, notAfter, "1024 bits"},
		"nameless":                {ca, &nameless, notBefore, notAfter, "neither a subject nor"},
		"own key":                 {ca, own, notBefore, notAfter, "authority's own key"},
		"own subject":             {ca, namesake, notBefore, notAfter, "authority's own subject"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pki.Issue(test.authority, test.request, test.from, test.to)
			wantProblem(t, err, test.want)
		})
	}
	if _, err := pki.Issue(special(t, func(c *x509.Certificate) { c.KeyUsage = 0 }), good, notBefore, notAfter); err != nil {
		t.Errorf("an authority without key usage, as openssl makes it: %v", err)
	}
}

// special is an authority that reeve would not make.
func special(t testing.TB, change func(*x509.Certificate)) pki.Pair {
	t.Helper()
	key := ecKey(t)
	c := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Special CA"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pki.Pair{Certificate: c, Key: key}
}

// TestIssueDropsTheRest of what a request asks for.
func TestIssueDropsTheRest(t *testing.T) {
	key := ecKey(t)
	in := template(t, "reeve")
	in.Authority = true
	c, err := pki.Issue(authority(t, "CN=Contoso CA"), request(t, key, in), notBefore, notAfter)
	if err != nil {
		t.Fatal(err)
	}
	if c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("got authority %v, uses %b", c.IsCA, c.KeyUsage)
	}
}

func TestIssueTellsOfTheKey(t *testing.T) {
	ca := authority(t, "CN=Contoso CA")
	closed := errors.New("the vault is closed")
	ca.Key = elsewhere{ca.Key, closed}
	if _, err := pki.Issue(ca, request(t, ecKey(t), template(t, "reeve")), notBefore, notAfter); !errors.Is(err, closed) {
		t.Errorf("got %v", err)
	}
}

func TestJoin(t *testing.T) {
	leaf, key, issuers := chain(t)
	middle, root := issuers[0], issuers[1]
	for name, test := range map[string]struct {
		certificates []*x509.Certificate
		want         []*x509.Certificate
	}{
		"in order":     {[]*x509.Certificate{leaf, middle, root}, []*x509.Certificate{middle, root}},
		"any order":    {[]*x509.Certificate{root, leaf, middle}, []*x509.Certificate{middle, root}},
		"without root": {[]*x509.Certificate{middle, leaf}, []*x509.Certificate{middle}},
		"alone":        {[]*x509.Certificate{leaf}, nil},
		"doubled":      {[]*x509.Certificate{leaf, middle, leaf, middle, nil}, []*x509.Certificate{middle}},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := pki.Join(key, test.certificates)
			if err != nil {
				t.Fatal(err)
			}
			if !pair.Certificate.Equal(leaf) || !slices.EqualFunc(pair.Chain, test.want, (*x509.Certificate).Equal) {
				t.Errorf("got %v with a chain of %d", pair, len(pair.Chain))
			}
		})
	}
}

// TestJoinTakesTheAnswer of an authority when the key has a certificate of its own
// already, which may expire later; of several answers none is the one that is meant.
func TestJoinTakesTheAnswer(t *testing.T) {
	key, ca := ecKey(t), authority(t, "Root")
	later := template(t, "reeve")
	later.NotAfter = notAfter.AddDate(1, 0, 0)
	own := selfSigned(t, key, later).Certificate
	answer := issue(t, "reeve", key, ca.Certificate, ca.Key)
	another := issue(t, "other", key, ca.Certificate, ca.Key)
	for _, certificates := range [][]*x509.Certificate{{own, answer}, {answer, own, ca.Certificate}} {
		pair, err := pki.Join(key, certificates)
		if err != nil || !pair.Certificate.Equal(answer) {
			t.Errorf("got %v, %v", pair, err)
		}
	}
	_, err := pki.Join(key, []*x509.Certificate{answer, another, ca.Certificate})
	wantProblem(t, err, "several certificates are for this private key")
}

func TestJoinRefuses(t *testing.T) {
	leaf, key, issuers := chain(t)
	middle, root := issuers[0], issuers[1]
	stranger := selfSigned(t, ecKey(t), template(t, "Stranger")).Certificate
	// One with the issuer's name and another key.
	namesake := issue(t, "Middle", ecKey(t), nil, nil)
	for name, test := range map[string]struct {
		key          crypto.Signer
		certificates []*x509.Certificate
		want         string
	}{
		"no key":           {nil, []*x509.Certificate{leaf}, "no private key"},
		"nothing":          {key, nil, "no certificate"},
		"foreign key":      {ecKey(t), []*x509.Certificate{leaf, middle}, "belongs to none of the certificates"},
		"missing issuer":   {key, []*x509.Certificate{leaf, root}, "the issuer of CN=reeve (thumbprint " + pki.SHA1(leaf) + "), CN=Middle, is missing"},
		"stranger":         {key, []*x509.Certificate{leaf, middle, root, stranger}, "do not belong to the chain"},
		"stranger instead": {key, []*x509.Certificate{leaf, middle, stranger}, "CN=Root, is missing"},
		"false issuer":     {key, []*x509.Certificate{leaf, namesake}, "does not prove to have signed it"},
		"crowd":            {key, make([]*x509.Certificate, 33), "33 certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pki.Join(test.key, test.certificates)
			wantProblem(t, err, test.want)
		})
	}
	if _, err := pki.Join(key, []*x509.Certificate{leaf, namesake, middle}); err == nil || !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("with the issuer and its namesake: %v", err)
	}
}
