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
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// renew makes a certification authority and one certificate from it for all
// origins. The authority's private key is forgotten on return, so nothing else
// can ever be issued under it. The certificate also names the hosts of the real
// cloud, for clients that have them built in and come through a proxy that maps
// those hosts to here, and ip.
func (k *kept) renew(names origin.CloudNames, ip string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("making the server's certificate: %w", err)
		}
	}()
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caTemplate := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{Organization: []string{"reeve emulated tenant"}, CommonName: "Not a real authority " + now.UTC().Format("2006-01-02 15:04")},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	caCert, err := x509.ParseCertificate(caDER)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(),
		Subject:      pkix.Name{CommonName: "reeve emulated tenant"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		DNSNames:    serverNames(names),
	}
	if at := net.ParseIP(ip); at != nil && !slices.ContainsFunc(template.IPAddresses, at.Equal) {
		template.IPAddresses = append(template.IPAddresses, at)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, caCert, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	k.CA = string(ca)
	k.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + k.CA
	k.Key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return nil
}

// serverNames are the names that the server's certificate has.
func serverNames(n origin.CloudNames) []string {
	return slices.Concat([]string{"localhost"}, n.Authority, n.Graph, []string{"*." + n.VaultDomain}, n.Manage, n.Logs, n.Resources)
}

// unfit says why the server's certificate cannot be used, if it cannot.
func (k *kept) unfit(names origin.CloudNames, ip string) string {
	pair, err := k.pair()
	if err != nil {
		return "the certificate cannot be read"
	}
	if time.Now().AddDate(0, 0, 1).After(pair.Leaf.NotAfter) {
		return "the certificate expires"
	}
	for _, name := range append(serverNames(names), ip) {
		if strings.HasPrefix(name, "*.") {
			name = "a" + name[1:]
		}
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			return "the certificate does not name " + name
		}
	}
	return ""
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
func (e *Emulator) CA() []byte { return append([]byte(nil), e.kept.CA...) }

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
