package clients_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// pair is a certificate and its private key.
type pair struct {
	certificate *x509.Certificate
	key         *rsa.PrivateKey
}

// newPair makes a self-signed pair that is good from an hour ago for a year.
func newPair(t testing.TB, name string) pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{c, key}
}

// pem returns the private key and the certificate, in that order.
func (p pair) pem(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.certificate.Raw})...)
}

// sign issues what a request asks for, with p as the authority.
func (p pair) sign(t testing.TB, request *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: request.Subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 6, 0),
	}, p.certificate, request.PublicKey, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// isIdentified reports whether the customKeyIdentifier of a key credential, as
// Graph shows it, is that of p's certificate: its thumbprint in hexadecimal, or
// in base64. Both are seen.
func (p pair) isIdentified(shown string) bool {
	thumbprint := directory.Thumbprint(p.certificate.Raw)
	return strings.EqualFold(shown, hex.EncodeToString(thumbprint)) || shown == base64.StdEncoding.EncodeToString(thumbprint)
}
