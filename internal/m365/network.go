package m365

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// NetworkOptions says what is particular about the network.
type NetworkOptions struct {
	// CA holds PEM certificates of authorities that are trusted besides the
	// system's: those of an inspecting proxy, or of an emulated tenant.
	CA []byte
}

// NewHTTPClient returns the client for all calls to a cloud. It takes its proxy from
// the environment (HTTPS_PROXY, NO_PROXY), but asks this machine and the link-local
// address of the managed identity service directly, gives up on a server that does not
// connect, shake hands or begin to answer, and keeps enough idle connections for 64
// downloads at a time. It has no limit on the time of a whole answer, which the
// caller's context sets. It follows no redirect: the access token would go along, so
// a redirect is an answer for the caller to judge.
func NewHTTPClient(o NetworkOptions) (*http.Client, error) {
	roots, err := trusted(o.CA)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    15 * time.Second,
			ResponseHeaderTimeout:  30 * time.Second,
			ExpectContinueTimeout:  time.Second,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConns:           128,
			MaxIdleConnsPerHost:    64,
			MaxResponseHeaderBytes: 1 << 20,
			ForceAttemptHTTP2:      true,
			// A connection that a firewall dropped silently is found by its
			// unanswered ping, not by the next caller.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// proxy is the environment's, except for addresses that no proxy can reach for us.
func proxy(r *http.Request) (*url.URL, error) {
	if ip := net.ParseIP(r.URL.Hostname()); ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// trusted returns the system's authorities and the extra ones, or nil, which means
// the system's alone.
func trusted(extra []byte) (*x509.CertPool, error) {
	if len(extra) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(extra) {
		return nil, errors.New("the extra certificate authorities hold no PEM certificate (a block that begins with -----BEGIN CERTIFICATE-----)")
	}
	return pool, nil
}
