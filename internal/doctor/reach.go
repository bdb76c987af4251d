package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// reached is what came of asking a host once. Several checks read it.
type reached struct {
	host        string
	proxy       string // host and port of the proxy that was asked; empty for none
	proxyStatus int    // what the proxy answered, if it did
	doing       string // the last thing that was begun
	err         error

	root   *x509.Certificate // what the certificate that was shown goes back to, or its issuer's place in the chain
	issuer string
	trust  trust
	doubt  error // why it is not trusted

	status int
	header http.Header
	body   []byte
	at     time.Time // halfway between question and answer, by this machine's clock
}

// trust is by what a certificate is trusted.
type trust int

const (
	none    trust = iota
	known         // an authority that Microsoft names for its services
	foreign       // another authority of the system's
	extra         // the authorities of ca-file alone
)

// rootsOfMicrosoft are the organisations whose roots Microsoft names for its services:
// https://learn.microsoft.com/azure/security/fundamentals/azure-ca-details
var rootsOfMicrosoft = []string{"DigiCert Inc", "Microsoft Corporation", "Baltimore", "Entrust, Inc."}

// reach asks a host, once for all checks that want to know.
func (d *Doctor) reach(ctx context.Context, address string) *reached {
	d.mu.Lock()
	ask, there := d.seen[address]
	if !there {
		ask = sync.OnceValue(func() *reached { return d.ask(ctx, address) })
		d.seen[address] = ask
	}
	d.mu.Unlock()
	return ask()
}

// patience of asking is a little shorter than that of the checks that wait for it.
func (d *Doctor) short(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.Patience*8/10)
}

// ask sends one request without credentials, the way that all calls go: by the proxy
// that they would take. The certificate that is shown is judged afterwards, so that it
// can be told what is wrong; nothing that the host says is believed but its clock.
func (d *Doctor) ask(ctx context.Context, address string) *reached {
	ctx, cancel := d.short(ctx)
	defer cancel()
	r := &reached{}
	u, err := url.Parse(address)
	if err != nil {
		r.err = errors.New("the address cannot be read")
		return r
	}
	r.host = u.Hostname()
	base := d.HTTP.Transport.(*http.Transport)
	var mu sync.Mutex // guards what follows: the transport may go on when the time is over
	var through *url.URL
	var proxyStatus int
	var chain []*x509.Certificate
	doing := "beginning"
	begin := func(what string) { mu.Lock(); defer mu.Unlock(); doing = what }
	t := &http.Transport{
		Proxy: func(q *http.Request) (*url.URL, error) {
			if base.Proxy == nil {
				return nil, nil
			}
			p, err := base.Proxy(q)
			mu.Lock()
			defer mu.Unlock()
			through = p
			return p, err
		},
		DialContext:       (&net.Dialer{Resolver: d.Resolver}).DialContext,
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, // judged below
			VerifyConnection: func(s tls.ConnectionState) error {
				mu.Lock()
				defer mu.Unlock()
				if through != nil && through.Scheme == "https" && proxyStatus == 0 {
					// The proxy's own: it may be given a password.
					_, _, err := d.judge(through.Hostname(), s.PeerCertificates)
					return err
				}
				chain = s.PeerCertificates
				return nil
			},
		},
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			mu.Lock()
			defer mu.Unlock()
			proxyStatus = resp.StatusCode
			return nil
		},
		MaxResponseHeaderBytes: 64 << 10,
	}
	defer t.CloseIdleConnections()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:          func(i httptrace.DNSStartInfo) { begin("asking for the address of " + i.Host) },
		ConnectStart:      func(_, address string) { begin("connecting to " + address) },
		TLSHandshakeStart: func() { begin("the TLS handshake") },
		WroteRequest:      func(httptrace.WroteRequestInfo) { begin("waiting for an answer") },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		r.err = errors.New("the address cannot be read")
		return r
	}
	req.Header.Set("User-Agent", "reeve-doctor")
	asked := d.Now()
	resp, err := t.RoundTrip(req)
	answered := d.Now()
	mu.Lock()
	if through != nil {
		r.proxy = through.Host
	}
	r.proxyStatus, r.doing = proxyStatus, doing
	served := slices.Clone(chain)
	mu.Unlock()
	if len(served) > 0 {
		r.root, r.trust, r.doubt = d.judge(r.host, served)
		r.issuer = served[len(served)-1].Issuer.String()
		if r.root != nil {
			r.issuer = r.root.Subject.String()
		}
	}
	if err != nil {
		r.err = err
		if ctx.Err() != nil {
			r.err = fmt.Errorf("%s took longer than %s", r.doing, d.Patience*8/10)
		}
		return r
	}
	defer resp.Body.Close()
	r.status, r.header, r.at = resp.StatusCode, resp.Header, asked.Add(answered.Sub(asked)/2)
	r.body, _ = io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what is missing shows when it is read
	return r
}

// judge says by what a certificate is trusted, and up to which root.
func (d *Doctor) judge(host string, chain []*x509.Certificate) (*x509.Certificate, trust, error) {
	if len(chain) == 0 {
		return nil, none, errors.New("no certificate was shown")
	}
	o := x509.VerifyOptions{DNSName: host, Intermediates: x509.NewCertPool(), CurrentTime: d.Now()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	verified, err := chain[0].Verify(o)
	if err == nil {
		root := verified[0][len(verified[0])-1]
		if slices.ContainsFunc(root.Subject.Organization, func(name string) bool { return slices.Contains(rootsOfMicrosoft, name) }) {
			return root, known, nil
		}
		return root, foreign, nil
	}
	if o.Roots = x509.NewCertPool(); o.Roots.AppendCertsFromPEM(d.CA) {
		own, ownErr := chain[0].Verify(o)
		if ownErr == nil {
			return own[0][len(own[0])-1], extra, nil
		}
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			err = ownErr
		}
	}
	return nil, none, err
}

// trouble says why a host was not reached, in a sentence, and what to do.
func (r *reached) trouble() (seen, remedy, who string) {
	seen = r.why()
	switch {
	case r.proxyStatus == http.StatusProxyAuthRequired:
		return seen, "give the proxy's name and password in HTTPS_PROXY (http://NAME:PASSWORD@HOST:PORT), or let it pass this machine without", network
	case r.proxy != "" && r.proxyStatus == 0:
		return seen, fmt.Sprintf("see that HTTPS_PROXY names the right proxy, and that this machine reaches %s", r.proxy), network
	case r.proxy != "":
		return seen, fmt.Sprintf("let the proxy %s open port 443 of %s, or name the host in NO_PROXY if it can be reached without", r.proxy, r.host), network
	}
	var dns *net.DNSError
	if errors.As(r.err, &dns) {
		return seen, "see that this machine's name server knows the name; where only a proxy leads outside, set HTTPS_PROXY", network
	}
	return seen, fmt.Sprintf("open the firewall to %s; where only a proxy leads outside, set HTTPS_PROXY", r.host), network
}

func (r *reached) why() string {
	var by string
	if r.proxy != "" {
		by = "the proxy " + r.proxy + ": "
	}
	var dns *net.DNSError
	var plain tls.RecordHeaderError
	switch {
	case r.proxyStatus != 0 && r.proxyStatus != http.StatusOK:
		return fmt.Sprintf("%sit answered %d %s", by, r.proxyStatus, http.StatusText(r.proxyStatus))
	case errors.As(r.err, &dns) && dns.IsNotFound:
		return by + "there is no such name: " + dns.Name
	case errors.As(r.err, &dns):
		return by + "the name server does not answer for " + dns.Name
	case errors.Is(r.err, syscall.ECONNREFUSED):
		return by + "the connection was refused"
	case errors.As(r.err, &plain):
		return by + "what answers does not speak TLS: a portal, or a proxy in the way"
	case errors.Is(r.err, io.EOF), errors.Is(r.err, io.ErrUnexpectedEOF), errors.Is(r.err, syscall.ECONNRESET):
		return by + "the connection was cut while " + r.doing
	}
	return by + strings.TrimSuffix(r.err.Error(), ".")
}
