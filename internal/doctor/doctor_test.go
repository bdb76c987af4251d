package doctor

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
)

// feeds looks up feeds by name.
func feeds(t *testing.T, names ...string) []permission.Feed {
	t.Helper()
	var all []permission.Feed
	for _, name := range names {
		f, err := permission.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

// atTenant are the options for an emulated tenant.
func atTenant(t *testing.T, w *emulatortest.World) Options {
	t.Helper()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	o := w.Origins()
	cloud.AuthorityHost, cloud.Graph, cloud.Manage, cloud.Logs = o.Authority, o.Graph, o.Manage, o.Logs
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: w.CA()})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Cloud: cloud, TenantID: w.Tenant.ID, HTTP: client, CA: w.CA(), CAFile: "ca.pem", Vaults: []string{o.Vault},
		Feeds: feeds(t, "audit", "users", "web"), Method: m365.MethodCertificate}
}

// run makes the named checks, and gives their results.
func run(t *testing.T, o Options, only ...string) []Result {
	t.Helper()
	return New(o).Run(t.Context(), false, only...)
}

// want looks for a result with a status, whose text matches all of some parts.
func want(t *testing.T, results []Result, check string, status Status, parts ...string) {
	t.Helper()
	for _, r := range results {
		text := fmt.Sprintf("%s\n%s\n%s\n%s", r.Of, r.Seen, r.Remedy, r.Who)
		if r.Check == check && r.Status == status && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) }) {
			if status != OK && status != Skipped && (r.Remedy == "" || r.Who == "") {
				t.Errorf("%s has no remedy, or nobody for it: %+v", check, r)
			}
			return
		}
	}
	t.Errorf("no result %s %s with %q:\n%+v", check, status, parts, results)
}

func TestHealthy(t *testing.T) {
	w := emulatortest.Start(t, nil)
	results := run(t, atTenant(t, w), "proxy", "clock", "dns", "tls", "host", "tenant", "vault", "cloud")
	for _, r := range results {
		if r.Status != OK {
			t.Errorf("%+v", r)
		}
	}
	for _, h := range []string{w.Origins().Authority, w.Origins().Graph, w.Origins().Manage, w.Origins().Logs, w.Origins().Vault} {
		want(t, results, "host", OK, strings.TrimPrefix(h, "https://"))
	}
	var order []string
	for _, r := range results {
		if len(order) == 0 || order[len(order)-1] != r.Check {
			order = append(order, r.Check)
		}
	}
	if got := strings.Join(order, " "); got != "proxy clock dns tls host tenant vault cloud" {
		t.Errorf("order: %s", got)
	}
	for _, call := range w.Calls() {
		if !slices.Contains([]string{"configuration", "getSecrets"}, call.Operation) && !strings.HasPrefix(call.Request, "GET ") || call.Count != 1 {
			t.Errorf("it asked for %+v", call)
		}
	}
}

func TestClock(t *testing.T) {
	// Date names whole seconds; in the middle of one nothing is lost.
	clock := emulatortest.NewClock(time.Now().Truncate(time.Second).Add(500 * time.Millisecond))
	w := emulatortest.Start(t, clock.Now)
	o := atTenant(t, w)
	o.Now = clock.Now
	for _, c := range []struct {
		step   time.Duration
		status Status
		part   string
	}{
		{0, OK, "0s"},
		{2 * time.Minute, Warning, "2m0s behind"},
		{5 * time.Minute, Failed, "7m0s behind"},
		{-14 * time.Minute, Failed, "7m0s ahead"},
	} {
		w.StepClock(c.step)
		want(t, run(t, o, "clock"), "clock", c.status, c.part)
	}
}

func TestTenant(t *testing.T) {
	w := emulatortest.Start(t, nil)
	o := atTenant(t, w)
	o.TenantID = "99999999-2222-4333-8444-555555555555"
	results := run(t, o, "tenant", "vault")
	want(t, results, "tenant", Failed, "knows no tenant", "tenant-id")
	want(t, results, "vault", Failed, "it trusts the tenant "+w.Tenant.ID)
	o = atTenant(t, w)
	o.Vaults = []string{w.Origins().Graph}
	want(t, run(t, o, "vault"), "vault", Failed, "without the challenge")
}

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	a := authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// serve returns a certificate for a name, until an end.
func (a authority) serve(t *testing.T, name string, end time.Time) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: a.key}
}

// inspector is a proxy that opens TLS, with an authority of its own, whatever the host.
type inspector struct {
	*httptest.Server
	status int    // what CONNECT is answered
	wants  string // the credentials that it wants, as in Proxy-Authorization
}

func newInspector(t *testing.T, certificate func(host string) *tls.Certificate) *inspector {
	t.Helper()
	i := &inspector{status: http.StatusOK}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodConnect:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		case i.wants != "" && r.Header.Get("Proxy-Authorization") != i.wants:
			w.Header().Set("Proxy-Authenticate", "Basic realm=\"proxy\"")
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		case i.status != http.StatusOK:
			w.WriteHeader(i.status)
			return
		}
		raw, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer raw.Close()
		io.WriteString(raw, "HTTP/1.1 200 Connection Established\r\n\r\n")
		host, _, _ := net.SplitHostPort(r.Host)
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{*certificate(host)}})
		if conn.Handshake() != nil {
			return
		}
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 0\r\n\r\n", time.Now().UTC().Format(http.TimeFormat))
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// through are the options of somebody in the public cloud behind a proxy.
func through(t *testing.T, proxy string, ca []byte) Options {
	t.Helper()
	cloud, err := m365.LookupCloud("public")
	if err != nil {
		t.Fatal(err)
	}
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(u)
	return Options{Cloud: cloud, HTTP: client, CA: ca, Feeds: feeds(t, "audit"), Patience: 5 * time.Second}
}

func TestInterception(t *testing.T) {
	own := newAuthority(t, "Fabrikam Inspection CA")
	end := time.Now().Add(time.Hour)
	name := func(host string) string { return host }
	proxy := newInspector(t, func(host string) *tls.Certificate {
		c := own.serve(t, name(host), end)
		return &c
	})
	results := run(t, through(t, proxy.URL, nil), "tls", "host", "clock")
	want(t, results, "tls", Failed, "login.microsoftonline.com:443", "Fabrikam Inspection CA", "ca-file", "administrator of the network")
	want(t, results, "tls", Failed, "manage.office.com:443", "Fabrikam Inspection CA")
	want(t, results, "host", OK, "by the proxy")
	want(t, results, "clock", OK) // known all the same

	o := through(t, proxy.URL, newAuthority(t, "Another").pem())
	o.CAFile = "ca.pem"
	want(t, run(t, o, "tls"), "tls", Failed, "add the PEM certificate")
	want(t, run(t, through(t, proxy.URL, own.pem()), "tls"), "tls", Warning, "Fabrikam Inspection CA", "ca-file trusts it", "every token")

	name = func(string) string { return "portal.fabrikam.example" }
	want(t, run(t, through(t, proxy.URL, own.pem()), "tls"), "tls", Failed, "another name")
	name, end = func(host string) string { return host }, time.Now().Add(-time.Minute)
	want(t, run(t, through(t, proxy.URL, own.pem()), "tls"), "tls", Failed, "clock")

	// An authority that the system trusts, and that is none of Microsoft's.
	d := New(through(t, proxy.URL, nil))
	for _, c := range []struct {
		r      reached
		status Status
	}{
		{reached{host: "graph.microsoft.com", issuer: "CN=Fabrikam", trust: foreign}, Warning},
		{reached{host: "graph.fabrikam.example", issuer: "CN=Fabrikam", trust: foreign}, OK},
		{reached{host: "graph.microsoft.com", issuer: "CN=DigiCert Global Root G2", trust: known}, OK},
	} {
		if got := d.interception(&c.r); got.Status != c.status {
			t.Errorf("%+v: %+v", c.r, got)
		}
	}
}

func TestProxy(t *testing.T) {
	own := newAuthority(t, "CA")
	proxy := newInspector(t, func(host string) *tls.Certificate {
		c := own.serve(t, host, time.Now().Add(time.Hour))
		return &c
	})
	proxy.wants = "Basic " + base64.StdEncoding.EncodeToString([]byte("quill:open sesame"))
	results := run(t, through(t, proxy.URL, own.pem()), "proxy", "host")
	want(t, results, "proxy", Failed, "407", "HTTPS_PROXY")
	want(t, results, "host", Failed, "407 Proxy Authentication Required")

	with := strings.Replace(proxy.URL, "://", "://quill:open%20sesame@", 1)
	results = run(t, through(t, with, own.pem()), "proxy", "host", "tls", "dns")
	want(t, results, "proxy", OK, "is asked for login.microsoftonline.com:443, manage.office.com:443")
	for _, r := range results {
		if text := fmt.Sprint(r); strings.Contains(text, "sesame") || strings.Contains(text, "quill") {
			t.Errorf("the password is shown: %s", text)
		}
	}
	proxy.wants, proxy.status = "", http.StatusForbidden
	results = run(t, through(t, proxy.URL, own.pem()), "proxy", "host", "tls")
	want(t, results, "proxy", Failed, "403 Forbidden")
	want(t, results, "host", Failed, "let the proxy")
	want(t, results, "tls", Skipped, "403")

	// What Go cannot read, it passes over without a word.
	for value, status := range map[string]Status{"http://quill:sesame%zz@proxy:3128": Failed, "quill:sesame@proxy:31x28": Failed, "": OK} {
		o := through(t, proxy.URL, own.pem())
		o.HTTP.Transport.(*http.Transport).Proxy, o.Environ = nil, []string{"https_proxy=" + value}
		if u, err := url.Parse(value); err == nil && value != "" { // as Go takes it
			o.HTTP.Transport.(*http.Transport).Proxy = http.ProxyURL(u)
		}
		o.Resolver = resolver(t, nil)
		results := run(t, o, "proxy")
		want(t, results, "proxy", status, "HTTPS_PROXY")
		if strings.Contains(fmt.Sprint(results), "sesame") {
			t.Errorf("the password is shown: %+v", results)
		}
	}

	gone := httptest.NewServer(nil)
	gone.Close()
	results = run(t, through(t, gone.URL, nil), "host", "proxy")
	want(t, results, "host", Failed, "the connection was refused", "HTTPS_PROXY names the right proxy")
	want(t, results, "proxy", Failed, "it does not answer")
}

// record is what the test's name server knows of a name.
type record struct {
	cname string
	a     []string
}

// resolver asks a name server of the test's own. Of what it does not know it says that
// there is no such name.
func resolver(t *testing.T, known map[string]record) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { conn.Close(); serving.Wait() })
	serving.Go(func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			conn.WriteTo(answer(buffer[:n], known), from)
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answer makes the answer to one question (RFC 1035, section 4).
func answer(q []byte, known map[string]record) []byte {
	var labels []string
	at := 12
	for q[at] != 0 {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	kind := binary.BigEndian.Uint16(q[at+1:])
	question := q[12 : at+5]
	name := strings.ToLower(strings.Join(labels, "."))
	var answers [][]byte
	rr := func(name string, kind uint16, data []byte) {
		b := append(pack(name), byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 60, byte(len(data)>>8), byte(len(data)))
		answers = append(answers, append(b, data...))
	}
	r, found := known[name]
	for ; found && r.cname != ""; r, found = known[name] {
		rr(name, 5, pack(r.cname))
		name = r.cname
	}
	for _, a := range r.a {
		ip := netip.MustParseAddr(a)
		if ip.Is4() == (kind == 1) {
			rr(name, kind, ip.AsSlice())
		}
	}
	code := byte(0)
	if !found {
		code = 3 // no such name
	}
	out := append(slices.Clone(q[:2]), 0x81, 0x80|code, 0, 1, 0, byte(len(answers)), 0, 0, 0, 0)
	return append(append(out, question...), slices.Concat(answers...)...)
}

func pack(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

func TestNames(t *testing.T) {
	const twin = "fabrikam.privatelink.vaultcore.azure.net"
	client, err := m365.NewHTTPClient(m365.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client.Transport.(*http.Transport).Proxy = nil
	for name, c := range map[string]struct {
		host   string
		known  map[string]record
		status Status
		parts  []string
	}{
		"public":     {"graph.microsoft.com", map[string]record{"graph.microsoft.com": {"ags.trafficmanager.net", nil}, "ags.trafficmanager.net": {"", []string{"20.190.159.1"}}}, OK, []string{"public addresses", "by way of ags.trafficmanager.net"}},
		"IPv6":       {"graph.microsoft.com", map[string]record{"graph.microsoft.com": {"", []string{"2603:1036::1", "20.190.159.1"}}}, OK, []string{"public addresses"}},
		"private":    {"fabrikam.vault.azure.net", map[string]record{"fabrikam.vault.azure.net": {twin, nil}, twin: {"", []string{"10.1.2.3"}}}, OK, []string{"a private endpoint", twin}},
		"not linked": {"fabrikam.vault.azure.net", map[string]record{"fabrikam.vault.azure.net": {twin, nil}, twin: {"data-prod.vaultcore.azure.net", nil}, "data-prod.vaultcore.azure.net": {"", []string{"52.1.2.3"}}}, Warning, []string{"leads to its public address here", "privatelink.vaultcore.azure.net"}},
		"only there": {"fabrikam.vault.azure.net", map[string]record{"fabrikam.vault.azure.net": {twin, nil}, twin: {"", []string{"52.1.2.3"}}}, Warning, []string{"public address", "link the private zone"}},
		"both":       {"fabrikam.vault.azure.net", map[string]record{"fabrikam.vault.azure.net": {"", []string{"10.1.2.3", "52.1.2.3"}}}, Warning, []string{"at once"}},
		"no record":  {"fabrikam.vault.azure.net", nil, Failed, []string{"no such name", "lacks the record fabrikam"}},
		"no name":    {"graph.microsoft.com", nil, Failed, []string{"no such name"}},
		"split":      {"graph.microsoft.com", map[string]record{"graph.microsoft.com": {"", []string{"10.0.0.7"}}}, Warning, []string{"private addresses"}},
		"shared":     {"graph.microsoft.com", map[string]record{"graph.microsoft.com": {"", []string{"100.64.0.7"}}}, Warning, []string{"private addresses"}},
		"blocked":    {"graph.microsoft.com", map[string]record{"graph.microsoft.com": {"", []string{"0.0.0.0"}}}, Failed, []string{"this machine itself"}},
		"own front":  {"graph.fabrikam.example", map[string]record{"graph.fabrikam.example": {"", []string{"10.0.0.7"}}}, OK, []string{"private addresses"}},
		"an address": {"127.0.0.1", nil, OK, []string{"an address"}},
	} {
		o := Options{Cloud: m365.Cloud{Name: m365.Custom, AuthorityHost: "https://" + c.host}, HTTP: client, Resolver: resolver(t, c.known), Patience: 5 * time.Second}
		t.Run(name, func(t *testing.T) { want(t, run(t, o, "dns"), "dns", c.status, c.parts...) })
	}
	// A private endpoint that a proxy is asked for.
	o := through(t, "http://127.0.0.1:1", nil)
	o.Cloud, o.Vaults, o.Feeds = m365.Cloud{Name: m365.Custom}, []string{"https://fabrikam.vault.azure.net"}, nil
	o.Resolver = resolver(t, map[string]record{"fabrikam.vault.azure.net": {twin, nil}, twin: {"", []string{"10.1.2.3"}}})
	want(t, run(t, o, "dns"), "dns", Warning, "NO_PROXY")
	o.Resolver = resolver(t, nil)
	want(t, run(t, o, "dns"), "dns", OK, "the proxy 127.0.0.1:1 resolves it")
}

// TestHanging: what does not answer costs no more than patience, together.
func TestHanging(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // whoever connects waits in its queue
	at := silent.Addr().String()
	client, err := m365.NewHTTPClient(m365.NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	forever := make(chan struct{})
	defer close(forever)
	file := filepath.Join(t.TempDir(), "reeve.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(at)
	var number int
	fmt.Sscan(port, &number)
	o := Options{
		Cloud:    m365.Cloud{Name: m365.Custom, AuthorityHost: "https://" + at, Graph: "https://graph.fabrikam.example", Manage: "https://" + at},
		TenantID: "t", Feeds: feeds(t, "audit", "users"), HTTP: client, Vaults: []string{"https://" + at}, Webhook: "https://" + at,
		Mail: Mail{host, number, "starttls"}, Database: file, Look: func(context.Context) (string, error) { <-forever; return "", nil },
		Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }},
		Patience: 400 * time.Millisecond,
	}
	client.Transport.(*http.Transport).Proxy = nil
	begun := time.Now()
	results := run(t, o)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	want(t, results, "host", Failed, "the TLS handshake took longer than 320ms")
	want(t, results, "host", Failed, "graph.fabrikam.example:443")
	want(t, results, "dns", Failed, "does not answer")
	want(t, results, "clock", Skipped, "not reached")
	want(t, results, "tls", Skipped)
	want(t, results, "vault", Failed)
	want(t, results, "webhook", Failed)
	want(t, results, "mail", Failed, "took too long")
	want(t, results, "database", Failed, "no answer within 400ms")
	want(t, results, "identity", Skipped)
}

func TestOffline(t *testing.T) {
	w := emulatortest.Start(t, nil)
	o := atTenant(t, w)
	results := New(o).Run(t.Context(), true)
	want(t, results, "host", Skipped, "offline")
	want(t, results, "cloud", OK)
	if calls := w.Calls(); len(calls) > 0 {
		t.Errorf("it asked %+v", calls)
	}
}

func TestEnvironment(t *testing.T) {
	base := Options{Method: m365.MethodCertificate, Certificate: "/etc/reeve/c.pem", TenantID: "t", ClientID: "c", Cloud: m365.Cloud{AuthorityHost: "https://login.microsoftonline.com"}}
	for variables, traps := range map[string]string{
		"":                         "",
		"AZURE_CLIENT_SECRET=hush": "AZURE_CLIENT_SECRET",
		"azure_client_secret=hush": "AZURE_CLIENT_SECRET",
		"AZURE_CLIENT_SECRET=":     "",
		"AZURE_CLIENT_CERTIFICATE_PATH=/etc/reeve/hush.pem":       "AZURE_CLIENT_CERTIFICATE_PATH",
		"AZURE_CLIENT_CERTIFICATE_PATH=/etc//reeve/c.pem":         "",
		"AZURE_TENANT_ID=hush":                                    "AZURE_TENANT_ID",
		"AZURE_TENANT_ID=T":                                       "",
		"AZURE_CLIENT_ID=hush":                                    "AZURE_CLIENT_ID",
		"AZURE_AUTHORITY_HOST=https://hush":                       "AZURE_AUTHORITY_HOST",
		"AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/": "",
		"SSL_CERT_DIR=/hush":                                      "SSL_CERT_FILE",
		"TZ=Hush/Nowhere":                                         "TZ",
		"TZ=UTC":                                                  "",
		"GODEBUG=netdns=hush":                                     "GODEBUG",
		"HTTP_PROXY=hush":                                         "HTTPS_PROXY",
		"HTTP_PROXY=a HTTPS_PROXY=b":                              "",
		"ALL_PROXY=hush":                                          "ALL_PROXY",
		"NO_PROXY=https://hush":                                   "NO_PROXY",
		"NO_PROXY=.a.example,10.0.0.0/8":                          "",
		"ClientSecret=hush UseClientCertificate=true":             "UseClientCertificate",
	} {
		o := base
		o.Environ = strings.Fields(variables)
		var got []string
		for _, r := range run(t, o, "environment") {
			if r.Status == Warning {
				got = append(got, r.Of)
			}
			if strings.Contains(fmt.Sprint(r), "hush") {
				t.Errorf("%s: a value is shown: %+v", variables, r)
			}
		}
		if s := strings.Join(got, " "); s != traps {
			t.Errorf("%q: %q, want %q", variables, s, traps)
		}
	}
	o := base
	o.Method, o.Environ = m365.MethodSecret, []string{"AZURE_CLIENT_SECRET=hush"}
	want(t, run(t, o, "environment"), "environment", OK)
}

func TestFiles(t *testing.T) {
	if !modes {
		t.Skip("files have no modes here")
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		mode   os.FileMode
		status Status
		part   string
	}{
		"own":     {0o600, OK, "0600"},
		"group":   {0o640, Warning, "its group"},
		"all":     {0o644, Warning, "everybody"},
		"written": {0o662, Failed, "others can change it"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		want(t, run(t, Options{Files: []File{{"auth.certificate", path, false}}}, "files"), "files", c.status, c.part, path)
	}
	none := filepath.Join(dir, "none")
	want(t, run(t, Options{Files: []File{{"auth.certificate", none, false}}}, "files"), "files", Failed, "no such file")
	want(t, run(t, Options{Files: []File{{"the keyset", none, true}}}, "files"), "files", OK, "makes it")
}

func TestDisk(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		v      volume
		what   string
		status Status
		part   string
	}{
		"roomy":           {volume{name: "ext4", free: 9 * gib, total: 10 * gib, nodes: 1e6, counted: true}, "database", OK, "9.0 GiB free of 10.0 GiB"},
		"network":         {volume{name: "nfs", bad: true, trouble: shares, free: 9 * gib}, "database", Failed, "nfs"},
		"network, keys":   {volume{name: "nfs", bad: true, trouble: shares, free: 9 * gib}, "keys", Warning, "nfs"},
		"memory":          {volume{name: "tmpfs", trouble: "it is lost", free: 9 * gib}, "database", Warning, "lost"},
		"memory, passing": {volume{name: "tmpfs", trouble: "it is lost", free: 9 * gib}, "temporary files", OK, "tmpfs"},
		"full":            {volume{free: 1 << 20}, "keys", Failed, "too little"},
		"nearly full":     {volume{free: gib}, "database", Warning, "soon"},
		"no inodes":       {volume{free: 9 * gib, nodes: 3, counted: true}, "database", Failed, "inodes"},
		"inodes unknown":  {volume{free: 9 * gib}, "database", OK, "free"},
	} {
		if got := c.v.judge(c.what); got.Status != c.status || !strings.Contains(got.Seen, c.part) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	results := run(t, Options{Database: filepath.Join(t.TempDir(), "a", "b", "reeve.db")}, "disk")
	if len(results) != 2 || strings.Contains(results[0].Seen, "cannot") {
		t.Errorf("%+v", results)
	}
}

type hinted struct{ error }

func (hinted) Hint() string { return "do this" }

func TestDatabase(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "reeve.db")
	look := func(context.Context) (string, error) { return "it opens", nil }
	want(t, run(t, Options{}, "database"), "database", Skipped)
	want(t, run(t, Options{Database: file, Look: look}, "database"), "database", OK, "there is none yet")
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, run(t, Options{Database: file, Look: look}, "database"), "database", OK, "it opens")
	look = func(context.Context) (string, error) { return "", hinted{errors.New("it is damaged")} }
	want(t, run(t, Options{Database: file, Look: look}, "database"), "database", Failed, "it is damaged", "do this")
}

func TestListen(t *testing.T) {
	want(t, run(t, Options{Listen: "192.0.2.1:8080"}, "listen"), "listen", Failed, "no such address")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	want(t, run(t, Options{Listen: l.Addr().String()}, "listen"), "listen", Warning, "in use")
	l.Close()
	want(t, run(t, Options{Listen: l.Addr().String()}, "listen"), "listen", OK, "free")
}

// TestWebhook: the host is asked, and of the address nothing is sent.
func TestWebhook(t *testing.T) {
	var asked []string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String())
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	o := through(t, "http://127.0.0.1:1", ca)
	o.HTTP.Transport.(*http.Transport).Proxy = nil
	o.Webhook = Origin(s.URL + "/T0KEN/secret?x=y")
	want(t, run(t, o, "webhook"), "webhook", OK, "nothing was posted")
	if len(asked) != 1 || asked[0] != "GET /" {
		t.Errorf("it asked for %q", asked)
	}
	o.CA = nil
	want(t, run(t, o, "webhook"), "webhook", Failed, "nothing here trusts")
	want(t, run(t, Options{}, "webhook"), "webhook", Skipped)

	// Whose authority it is stays out of a bundle, though it is called by plain words.
	own := httptest.NewUnstartedServer(nil)
	own.TLS = &tls.Config{Certificates: []tls.Certificate{newAuthority(t, `the "open" network, and key`).serve(t, "127.0.0.1", time.Now().Add(time.Hour))}}
	own.StartTLS()
	defer own.Close()
	o.Webhook = Origin(own.URL)
	results := run(t, o, "webhook")
	want(t, results, "webhook", Failed, "and key")
	scrub := NewScrubber(nil, nil)
	for _, name := range results[0].Names {
		scrub.Always("authority", name)
	}
	if text := scrub.Text(results[0].Seen); strings.Contains(text, "open") || strings.Contains(text, "network") {
		t.Errorf("the bundle would say: %s", text)
	}
}

// mailServer speaks as much SMTP as a greeting takes.
func mailServer(t *testing.T, offer bool, config *tls.Config) (Mail, func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var heard []string
	serving.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		r := bufio.NewReader(conn)
		fmt.Fprint(conn, "220 mail\r\n")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSpace(line)
			heard = append(heard, line)
			switch word, _, _ := strings.Cut(line, " "); {
			case word == "EHLO" && offer:
				fmt.Fprint(conn, "250-mail\r\n250 STARTTLS\r\n")
			case word == "STARTTLS":
				fmt.Fprint(conn, "220 go\r\n")
				secured := tls.Server(conn, config)
				conn, r, offer = secured, bufio.NewReader(secured), false
			case word == "QUIT":
				fmt.Fprint(conn, "221 bye\r\n")
				return
			default:
				fmt.Fprint(conn, "250 mail\r\n")
			}
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	m := Mail{Host: "127.0.0.1", TLS: "starttls"}
	fmt.Sscan(port, &m.Port)
	return m, func() []string { l.Close(); serving.Wait(); return heard }
}

func TestMail(t *testing.T) {
	own := newAuthority(t, "CA")
	config := &tls.Config{Certificates: []tls.Certificate{own.serve(t, "127.0.0.1", time.Now().Add(time.Hour))}}
	o := through(t, "http://127.0.0.1:1", own.pem())
	var heard func() []string
	o.Mail, heard = mailServer(t, true, config)
	want(t, run(t, o, "mail"), "mail", OK, "STARTTLS", "nothing was mailed")
	if got := strings.Join(heard(), ", "); got != "EHLO localhost, STARTTLS, EHLO localhost, QUIT" {
		t.Errorf("it said %s", got)
	}
	o.Mail, _ = mailServer(t, false, nil)
	want(t, run(t, o, "mail"), "mail", Failed, "does not offer STARTTLS")
	o = through(t, "http://127.0.0.1:1", nil)
	o.Mail, _ = mailServer(t, true, config)
	want(t, run(t, o, "mail"), "mail", Failed, "nothing here trusts", "ca-file")
	want(t, run(t, Options{}, "mail"), "mail", Skipped)
}

func TestIdentity(t *testing.T) {
	w := emulatortest.Start(t, nil)
	o := atTenant(t, w)
	want(t, run(t, o, "identity"), "identity", Skipped)
	o.Identity, o.Environ = true, []string{"IDENTITY_ENDPOINT=" + w.Origins().Identity + "/msi/token"}
	want(t, run(t, o, "identity"), "identity", OK)
	gone := httptest.NewServer(nil)
	gone.Close()
	o.Environ = []string{"IDENTITY_ENDPOINT=" + gone.URL}
	want(t, run(t, o, "identity"), "identity", Failed, "auth.method")

	// The metadata service: what Azure answers to a question without its header, and what
	// another cloud does.
	for status, expected := range map[int]Status{http.StatusBadRequest: OK, http.StatusUnauthorized: Warning, http.StatusNotFound: Warning} {
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Metadata") != "" {
				t.Error("it asks for a token")
			}
			w.WriteHeader(status)
		}))
		if r := New(o).metadata(t.Context(), service.URL); r.Status != expected {
			t.Errorf("%d: %+v", status, r)
		}
		service.Close()
	}
	if r := New(o).metadata(t.Context(), gone.URL); r.Status != Failed {
		t.Errorf("nobody there: %+v", r)
	}
}

// TestHosts: one setting gives all hosts.
func TestHosts(t *testing.T) {
	for name, hosts := range map[string]string{
		"public":   "login.microsoftonline.com manage.office.com graph.microsoft.com api.loganalytics.azure.com *.office.com *.vault.azure.net management.azure.com",
		"gcc":      "login.microsoftonline.com manage-gcc.office.com graph.microsoft.com api.loganalytics.azure.com *.office.com *.vault.azure.net management.azure.com",
		"gcc-high": "login.microsoftonline.us manage.office365.us graph.microsoft.us api.loganalytics.us *.vault.usgovcloudapi.net management.usgovcloudapi.net",
		"dod":      "login.microsoftonline.us manage.protection.apps.mil dod-graph.microsoft.us api.loganalytics.us *.vault.usgovcloudapi.net management.usgovcloudapi.net",
		"china":    "login.partner.microsoftonline.cn manage.office365.cn microsoftgraph.chinacloudapi.cn api.loganalytics.azure.cn *.vault.azure.cn management.chinacloudapi.cn",
	} {
		cloud, err := m365.LookupCloud(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range Hosts(cloud, permission.Feeds(), nil) {
			got = append(got, h.Host)
			if h.Port != "443" || h.Protocol != "https" || h.Why == "" || h.Cloud != name {
				t.Errorf("%+v", h)
			}
			if !isMicrosofts(strings.TrimPrefix(h.Host, "*.")) {
				t.Errorf("%s is not known as Microsoft's", h.Host)
			}
		}
		if s := strings.Join(got, " "); s != hosts {
			t.Errorf("%s: %s\nwant %s", name, s, hosts)
		}
	}
	public, _ := m365.LookupCloud("public")
	var got []string
	for _, h := range Hosts(public, feeds(t, "audit"), []string{"https://fabrikam.vault.azure.net"}) {
		got = append(got, h.Host)
	}
	if s := strings.Join(got, " "); s != "login.microsoftonline.com manage.office.com fabrikam.vault.azure.net management.azure.com" {
		t.Errorf("the audit log alone: %s", s)
	}
	// Who is told of events is not asked by HTTPS alone.
	for want, told := range map[string][]Host{
		"https hooks.fabrikam.example:443": Told("public", "https://hooks.fabrikam.example", Mail{}),
		"https hooks.fabrikam.example:844": Told("public", "https://hooks.fabrikam.example:844", Mail{}),
		"smtp mail.fabrikam.example:587":   Told("public", "", Mail{Host: "mail.fabrikam.example", TLS: "starttls"}),
		"smtp mail.fabrikam.example:465":   Told("public", "", Mail{Host: "mail.fabrikam.example", TLS: "implicit"}),
		"smtp mail.fabrikam.example:2525":  Told("public", "", Mail{Host: "mail.fabrikam.example", TLS: "none", Port: 2525}),
	} {
		if len(told) != 1 || told[0].Protocol+" "+told[0].address() != want || told[0].Why == "" {
			t.Errorf("%+v, want %s", told, want)
		}
	}
	custom := m365.Cloud{Name: m365.Custom, Resources: "https://resources.fabrikam.example:8444"}
	if all := Hosts(custom, nil, nil); len(all) != 1 || all[0].address() != "resources.fabrikam.example:8444" {
		t.Errorf("Resource Manager: %+v", all)
	}
	custom = m365.Cloud{Name: m365.Custom, AuthorityHost: "https://login.fabrikam.example:8443", Manage: "https://manage.fabrikam.example"}
	got = nil
	for _, h := range Hosts(custom, feeds(t, "audit"), nil) {
		got = append(got, h.address())
	}
	if s := strings.Join(got, " "); s != "login.fabrikam.example:8443 manage.fabrikam.example:443" {
		t.Errorf("hosts of one's own: %s", s)
	}
}

// TestLimits: what cannot work is said, and not tried.
func TestLimits(t *testing.T) {
	for cloud, missing := range map[string]string{
		"public": "", "gcc": "", "gcc-high": "usage apps", "dod": "usage apps", "china": "usage teams apps calls", m365.Custom: "calls",
	} {
		var got []string
		for _, r := range run(t, Options{Cloud: m365.Cloud{Name: cloud}, Feeds: permission.Feeds()}, "cloud") {
			if r.Status == Warning {
				got = append(got, r.Of)
				if !strings.Contains(r.Seen, "https://learn.microsoft.com/") {
					t.Errorf("no document says so: %+v", r)
				}
			}
		}
		if s := strings.Join(got, " "); s != missing {
			t.Errorf("%s: %q, want %q", cloud, s, missing)
		}
	}
	// Of what nobody misses it is not said that it cannot work.
	if got := Limits(m365.Custom, permission.Feeds()); len(got) != 1 || !strings.HasPrefix(got[0], "calls: ") {
		t.Errorf("with hosts of one's own cannot work: %q", got)
	}
	if got := run(t, Options{Cloud: m365.Cloud{Name: "china"}, Feeds: feeds(t, "audit")}, "cloud"); len(got) != 1 || got[0].Status != OK {
		t.Errorf("the audit log alone: %+v", got)
	}
}

// TestPage: the page names each check, each host of each cloud and each document.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/operate/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	names, _ := Checks()
	for _, name := range names {
		if !strings.Contains(string(page), "| `"+name+"` |") {
			t.Errorf("it lacks the check %s", name)
		}
	}
	for _, name := range m365.CloudNames() {
		cloud, err := m365.LookupCloud(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range Hosts(cloud, permission.Feeds(), nil) {
			if !strings.Contains(string(page), "`"+h.Host+"`") {
				t.Errorf("it lacks the host %s of %s", h.Host, name)
			}
		}
	}
	for _, l := range limits {
		if l.remedy != "" && !strings.Contains(string(page), l.source) {
			t.Errorf("it lacks %s", l.source)
		}
	}
}
