package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/pki"
)

// template is a valid template for a subject.
func template(t testing.TB, subject string) pki.Template {
	t.Helper()
	name, err := pki.ParseName(subject)
	if err != nil {
		t.Fatal(err)
	}
	return pki.Template{Subject: name, NotBefore: notBefore, NotAfter: notAfter}
}

// selfSigned makes a pair.
func selfSigned(t testing.TB, key crypto.Signer, template pki.Template) pki.Pair {
	t.Helper()
	pair, err := pki.SelfSign(key, template)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestSelfSign(t *testing.T) {
	rsaKey := rsaKey(t, "self", 2048)
	p384, err := pki.NewKey(pki.P384)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key       crypto.Signer
		algorithm x509.SignatureAlgorithm
		usage     x509.KeyUsage
	}{
		"RSA":   {rsaKey, x509.SHA256WithRSA, x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment},
		"P-256": {ecKey(t), x509.ECDSAWithSHA256, x509.KeyUsageDigitalSignature},
		"P-384": {p384, x509.ECDSAWithSHA384, x509.KeyUsageDigitalSignature},
	} {
		t.Run(name, func(t *testing.T) {
			in := template(t, "CN=reeve, O=Contoso")
			for _, name := range []string{"reeve.contoso.com", "*.contoso.com", "admin@contoso.com", "192.0.2.1", "2001:db8::1", "https://contoso.com/a", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"} {
				if err := in.AddName(name); err != nil {
					t.Fatal(err)
				}
			}
			pair := selfSigned(t, test.key, in)
			c := pair.Certificate
			if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
				t.Error(err)
			}
			if c.SignatureAlgorithm != test.algorithm || c.KeyUsage != test.usage {
				t.Errorf("got %v with uses %b", c.SignatureAlgorithm, c.KeyUsage)
			}
			if !cmp.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || c.IsCA || !c.BasicConstraintsValid {
				t.Errorf("got uses %v, authority %v", c.ExtKeyUsage, c.IsCA)
			}
			if !c.NotBefore.Equal(notBefore) || !c.NotAfter.Equal(notAfter) || len(c.SubjectKeyId) != 20 || c.Version != 3 {
				t.Errorf("got %v to %v, key id %x, version %d", c.NotBefore, c.NotAfter, c.SubjectKeyId, c.Version)
			}
			got := pki.Describe(c, now).AlternativeNames
			want := []string{"reeve.contoso.com", "*.contoso.com", "admin@contoso.com", "192.0.2.1", "2001:db8::1", "https://contoso.com/a", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}
			if !cmp.Equal(got, want) {
				t.Error(cmp.Diff(got, want))
			}
			if pair.Key != test.key || len(pair.Chain) != 0 {
				t.Error("the pair has another key, or a chain")
			}
		})
	}
}

func TestSelfSignAuthority(t *testing.T) {
	in := template(t, "CN=Contoso CA")
	in.Authority, in.NotAfter = true, notBefore.AddDate(0, 0, pki.MaxAuthorityDays)
	c := selfSigned(t, ecKey(t), in).Certificate
	if !c.IsCA || !c.MaxPathLenZero || c.MaxPathLen != 0 || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.ExtKeyUsage) != 0 {
		t.Errorf("got %v, path length %d, uses %b %v", c.IsCA, c.MaxPathLen, c.KeyUsage, c.ExtKeyUsage)
	}
}

// TestSerialNumbers are random, positive, and of 20 octets at most (RFC 5280 4.1.2.2).
func TestSerialNumbers(t *testing.T) {
	key := ecKey(t)
	seen := map[string]bool{}
	for range 100 {
		n := selfSigned(t, key, template(t, "reeve")).Certificate.SerialNumber
		if n.Sign() <= 0 || n.BitLen() > 159 || n.BitLen() < 152 {
			t.Errorf("got %x", n)
		}
		seen[n.String()] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d of 100 differ", len(seen))
	}
}

// TestSelfSignLint has openssl check the certificate strictly.
func TestSelfSignLint(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	in := template(t, "reeve")
	if err := in.AddName("reeve.contoso.com"); err != nil {
		t.Fatal(err)
	}
	certificate := pki.EncodeCertificates(selfSigned(t, rsaKey(t, "self", 2048), in).Certificate)
	file := filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	at := strconv.FormatInt(now.Unix(), 10)
	if out, err := exec.Command(openssl, "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslclient", "-attime", at, "-CAfile", file, file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	command := exec.Command(openssl, "x509", "-noout", "-ext", "keyUsage,extendedKeyUsage,basicConstraints,subjectAltName")
	command.Stdin = bytes.NewReader(certificate)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"Digital Signature, Key Encipherment", "TLS Web Client Authentication", "CA:FALSE", "DNS:reeve.contoso.com"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

func TestSelfSignRefuses(t *testing.T) {
	good := template(t, "reeve")
	large := vaultKey{public: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8192), E: 65537}}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key    crypto.Signer
		change func(*pki.Template)
		want   string
	}{
		"no key":              {nil, nil, "no private key"},
		"Ed25519":             {ed, nil, "not made for an Ed25519 key"},
		"small RSA":           {rsaKey(t, "small", 1024), nil, "1024 bits"},
		"large RSA":           {large, nil, "8193 bits"},
		"no subject":          {ecKey(t), func(in *pki.Template) { in.Subject.CommonName, in.Subject.ExtraNames = "", nil }, "no subject"},
		"no dates":            {ecKey(t), func(in *pki.Template) { in.NotAfter = time.Time{} }, "no dates"},
		"backwards":           {ecKey(t), func(in *pki.Template) { in.NotAfter = in.NotBefore }, "before it begins"},
		"too long":            {ecKey(t), func(in *pki.Template) { in.NotAfter = in.NotBefore.Add(1095*24*time.Hour + time.Second) }, "more than 1095 days"},
		"authority, too long": {ecKey(t), func(in *pki.Template) { in.Authority = true; in.NotAfter = in.NotBefore.AddDate(11, 0, 0) }, "more than 3650 days"},
		"the year 10000": {ecKey(t), func(in *pki.Template) {
			in.NotBefore = time.Date(9999, 12, 1, 0, 0, 0, 0, time.UTC)
			in.NotAfter = in.NotBefore.AddDate(0, 3, 0)
		}, "no certificate can be valid"},
		"the year 1":         {ecKey(t), func(in *pki.Template) { in.NotBefore = time.Date(1, 2, 1, 0, 0, 0, 0, time.UTC) }, "no certificate can be valid"},
		"DNS name, blank":    {ecKey(t), func(in *pki.Template) { in.DNSNames = []string{"a b"} }, "not a DNS name"},
		"DNS name, umlaut":   {ecKey(t), func(in *pki.Template) { in.DNSNames = []string{"münchen.de"} }, "not a DNS name"},
		"DNS name, wildcard": {ecKey(t), func(in *pki.Template) { in.DNSNames = []string{"a.*.de"} }, "not a DNS name"},
		"DNS name, empty":    {ecKey(t), func(in *pki.Template) { in.DNSNames = []string{""} }, "not a DNS name"},
		"email":              {ecKey(t), func(in *pki.Template) { in.Emails = []string{"A <a@b.de>"} }, "not an email address"},
		"IP address":         {ecKey(t), func(in *pki.Template) { in.IPAddresses = []net.IP{{1, 2, 3}} }, "not an IP address"},
		"URI, none":          {ecKey(t), func(in *pki.Template) { in.URIs = []*url.URL{nil} }, "not a URI"},
		"URI, odd host":      {ecKey(t), func(in *pki.Template) { in.URIs = []*url.URL{{Scheme: "https", Host: "contoso.com."}} }, "would be malformed"},
		"URI with a password": {ecKey(t), func(in *pki.Template) {
			in.URIs = []*url.URL{{Scheme: "https", Host: "h", User: url.UserPassword("u", "hunter2")}}
		}, "not a URI"},
		"names without number": {ecKey(t), func(in *pki.Template) { in.DNSNames = make([]string, 101) }, "101 alternative names"},
	} {
		t.Run(name, func(t *testing.T) {
			in := good
			if test.change != nil {
				test.change(&in)
			}
			_, err := pki.SelfSign(test.key, in)
			wantProblem(t, err, test.want)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error holds a password")
			}
		})
	}
}

func TestAddNameRefuses(t *testing.T) {
	for _, name := range []string{"", "a b", "-a.de", "a@", "@b", "a@b@c", "1.2.3.4:5", "http://", "https://ä.de", "::zz", "a..b", strings.Repeat("a", 64) + ".de", strings.Repeat("a.", 127) + "de"} {
		in := template(t, "reeve")
		err := in.AddName(name)
		wantProblem(t, err, "")
		if len(in.DNSNames)+len(in.Emails)+len(in.IPAddresses)+len(in.URIs) != 0 {
			t.Errorf("%q was added", name)
		}
	}
}

func TestLifetime(t *testing.T) {
	for days, authority := range map[int]bool{30: false, 1095: false, 31: true, 3650: true} {
		got, err := pki.Lifetime(days, authority)
		if err != nil || got != time.Duration(days)*24*time.Hour {
			t.Errorf("%d days: got %v, %v", days, got, err)
		}
	}
	for days, authority := range map[int]bool{29: false, 0: false, -1: true, 1096: false, 3651: true, 1 << 62: true} {
		_, err := pki.Lifetime(days, authority)
		wantProblem(t, err, "lifetime")
	}
}

// elsewhere is a private key that only signs, as one in a vault does.
type elsewhere struct {
	crypto.Signer
	err error
}

func (k elsewhere) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.err != nil {
		return nil, k.err
	}
	return k.Signer.Sign(random, digest, opts)
}

func TestSelfSignByKeyElsewhere(t *testing.T) {
	key := elsewhere{Signer: rsaKey(t, "self", 2048)}
	if err := selfSigned(t, key, template(t, "reeve")).UsableForSignIn(now); err != nil {
		t.Error(err)
	}
	key.err = errors.New("the vault is closed")
	if _, err := pki.SelfSign(key, template(t, "reeve")); !errors.Is(err, key.err) {
		t.Errorf("got %v, want the key's own error", err)
	}
}
