package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"
)

// newServerCertificate makes a certification authority and one certificate
// from it for all origins. The authority's private key is forgotten on return,
// so nothing else can ever be issued under it. The certificate also names the
// hosts of the real cloud, for clients that have them built in and come through
// a proxy that maps those hosts to here.
func newServerCertificate(now time.Time) (ca []byte, server tls.Certificate, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("making the server's certificate: %w", err)
		}
	}()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, server, err
	}
	caTemplate := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{Organization: []string{"reeve emulated tenant"}, CommonName: "Not a real authority " + now.UTC().Format("2006-01-02 15:04")},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, server, err
	}
	caCert, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, server, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, server, err
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: "reeve emulated tenant"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		DNSNames: []string{
			"localhost", "login.microsoftonline.com", "login.windows.net", "login.microsoft.com",
			"graph.microsoft.com", "*.vault.azure.net", "manage.office.com",
			"api.loganalytics.io", "api.loganalytics.azure.com", "api.applicationinsights.io",
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, caCert, &key.PublicKey, caKey)
	if err != nil {
		return nil, server, err
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return ca, tls.Certificate{Certificate: [][]byte{der, caDER}, PrivateKey: key}, nil
}

// serialNumber returns 16 random bytes, of which the first is neither zero nor
// negative.
func serialNumber() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // crypto/rand never fails.
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// CA returns the PEM of the certificate under which the origins are served.
func (e *Emulator) CA() []byte { return append([]byte(nil), e.ca...) }

// HTTPClient returns a client that trusts CA and nothing else. All calls return
// the same one; Close closes its idle connections.
func (e *Emulator) HTTPClient() *http.Client { return e.client }

func newHTTPClient(ca []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout: 2 * time.Minute,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     time.Minute,
		},
	}
}
