package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/smtp"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/reeve365/reeve/internal/m365"
)

func fixed(r Result) func(context.Context) Result { return func(context.Context) Result { return r } }

// each makes a task for each host that is asked.
func (d *Doctor) each(run func(context.Context, Host) Result) []task {
	var tasks []task
	for _, h := range d.asked() {
		tasks = append(tasks, task{h.address(), func(ctx context.Context) Result { return run(ctx, h) }})
	}
	if tasks == nil {
		return []task{{run: fixed(skip("no host is known: the cloud %s has none configured", d.Cloud.Name))}}
	}
	return tasks
}

// hosts asks each host without credentials. Any answer will do.
func (d *Doctor) hosts() []task {
	return d.each(func(ctx context.Context, h Host) Result {
		r := d.reach(ctx, d.question(h))
		if r.err != nil {
			return Failed.because(r.trouble())
		}
		by := ""
		if r.proxy != "" {
			by = " by the proxy " + r.proxy
		}
		return ok("it answers%s (%d), for %s", by, r.status, h.Why)
	})
}

// question is what a host is asked: harmless, and known to need no token.
func (d *Doctor) question(h Host) string {
	switch {
	case h.url == strings.TrimSuffix(d.Cloud.AuthorityHost, "/") && d.TenantID != "":
		return h.url + "/" + url.PathEscape(d.TenantID) + "/v2.0/.well-known/openid-configuration"
	case slices.ContainsFunc(d.Vaults, func(v string) bool { return strings.TrimSuffix(v, "/") == h.url }):
		return h.url + "/secrets?api-version=7.4"
	}
	return h.url + "/"
}

// clockLimit is how far a clock may be off before Entra ID refuses assertions as not
// valid yet or expired.
const clockLimit = 5 * time.Minute

func (d *Doctor) clock(ctx context.Context) Result {
	if d.Cloud.AuthorityHost == "" {
		return skip("no sign-in host is configured")
	}
	r := d.reach(ctx, d.question(Host{url: strings.TrimSuffix(d.Cloud.AuthorityHost, "/")}))
	if r.err != nil {
		return skip("the sign-in host %s was not reached: %s", r.host, r.why())
	}
	theirs, err := http.ParseTime(r.header.Get("Date"))
	if err != nil {
		return skip("the sign-in host did not say what time it is")
	}
	// Date names the second that has begun.
	off := r.at.Sub(theirs.Add(500 * time.Millisecond))
	way := "ahead of"
	if off < 0 {
		way = "behind"
	}
	seen := fmt.Sprintf("this machine's clock is %s %s that of the sign-in host", off.Abs().Round(time.Second), way)
	remedy := "set the clock, and have it kept by a time service (chrony, systemd-timesyncd, w32tm)"
	switch {
	case off.Abs() > clockLimit:
		return Failed.because(seen+": assertions are refused", remedy, machine)
	case off.Abs() > clockLimit/5:
		return Warning.because(seen+fmt.Sprintf("; beyond %s signing in fails", clockLimit), remedy, machine)
	}
	return ok("%s", seen)
}

// tenant reads the sign-in host's public description of the tenant.
func (d *Doctor) tenant(ctx context.Context) Result {
	if d.Cloud.AuthorityHost == "" || d.TenantID == "" {
		return skip("tenant-id is not set")
	}
	r := d.reach(ctx, d.question(Host{url: strings.TrimSuffix(d.Cloud.AuthorityHost, "/")}))
	if r.err != nil {
		return skip("the sign-in host %s was not reached: %s", r.host, r.why())
	}
	var said struct {
		Issuer string `json:"issuer"`
		Scope  string `json:"tenant_region_sub_scope"`
	}
	err := json.Unmarshal(r.body, &said)
	switch {
	case r.status == http.StatusBadRequest || r.status == http.StatusNotFound:
		return Failed.because(fmt.Sprintf("the sign-in host knows no tenant %s (it answered %d)", d.TenantID, r.status),
			"look at tenant-id, and whether the tenant is in the cloud "+d.Cloud.Name, operator)
	case r.status != http.StatusOK || err != nil || said.Issuer == "":
		return Warning.because(fmt.Sprintf("the sign-in host answered %d, and not with the description of a tenant", r.status),
			"see whether something in between answers in its place", network)
	case !strings.Contains(strings.ToLower(said.Issuer), strings.ToLower(d.TenantID)):
		return Failed.because(fmt.Sprintf("the sign-in host describes %s, and tenant-id is %s", said.Issuer, d.TenantID),
			"give the tenant's ID, a GUID, as tenant-id", operator)
	}
	want := map[string]string{"gcc-high": "DODCON", "dod": "DOD", "gcc": "GCC"}[d.Cloud.Name]
	if d.Cloud.Name != m365.Custom && said.Scope != "" && said.Scope != want {
		return Warning.because(fmt.Sprintf("the sign-in host calls the tenant's part of the cloud %s, and cloud is %s", said.Scope, d.Cloud.Name),
			"see which cloud the tenant is in: GCC is gcc, DODCON gcc-high, DOD dod", operator)
	}
	return ok("the sign-in host knows the tenant")
}

// issuers says who has issued the certificate that each host shows here.
func (d *Doctor) issuers() []task {
	return d.each(func(ctx context.Context, h Host) Result {
		seen := d.reach(ctx, d.question(h))
		r := d.interception(seen)
		if seen.trust != known {
			r.Names = quotable(seen.issuer)
		}
		return r
	})
}

// quotable is a name as it is, and as it stands in quotation marks.
func quotable(name string) []string {
	if name == "" {
		return nil
	}
	quoted := strconv.Quote(name)
	return []string{name, quoted[1 : len(quoted)-1]}
}

func (d *Doctor) interception(r *reached) Result {
	if r.issuer == "" {
		return skip("no certificate was seen: %s", r.why())
	}
	inspected := fmt.Sprintf("its certificate is issued by %q, no authority of Microsoft's: something in between opens TLS", r.issuer)
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case r.trust == known:
		return ok("issued under %s", r.issuer)
	case r.trust == foreign && isMicrosofts(r.host):
		return Warning.because(inspected+", and the system trusts it. It sees every token",
			"if that is meant, nothing; else let "+r.host+" pass uninspected, as Microsoft recommends", network)
	case r.trust == foreign:
		return ok("issued under %s, which the system trusts", r.issuer)
	case r.trust == extra && isMicrosofts(r.host):
		return Warning.because(inspected+", and ca-file trusts it. It sees every token",
			"if that is meant, nothing; else let "+r.host+" pass uninspected, as Microsoft recommends", network)
	case r.trust == extra:
		return ok("issued under %s, which ca-file trusts", r.issuer)
	case errors.As(r.doubt, &wrongName):
		return Failed.because(fmt.Sprintf("it shows a certificate for another name, issued by %q", r.issuer),
			"see where the name leads here: to a portal, a filter, or another host", network)
	case errors.As(r.doubt, &invalid) && invalid.Reason == x509.Expired:
		return Failed.because("its certificate is not valid at the time that this machine's clock shows",
			"look at the check clock; if the clock is right, whoever runs the host, or the proxy in between, has to renew it", machine)
	}
	remedy := "put the PEM certificate of that authority into a file and name it in ca-file; ask the network's administrator for it"
	if d.CAFile != "" {
		remedy = "add the PEM certificate of that authority to the file of ca-file, which has others; ask the network's administrator for it"
	}
	if isMicrosofts(r.host) {
		return Failed.because(inspected+", and nothing here trusts it", remedy, network)
	}
	return Failed.because(fmt.Sprintf("its certificate is issued by %q, which nothing here trusts", r.issuer), remedy, operator)
}

// proxies says which hosts go by a proxy, and whether that lets them.
func (d *Doctor) proxies(ctx context.Context) Result {
	var asking sync.WaitGroup
	for _, h := range d.asked() {
		if name, err := d.proxyFor(h); err == nil && name != "" {
			asking.Go(func() { d.reach(ctx, d.question(h)) })
		}
	}
	asking.Wait()
	by, direct := map[string][]string{}, []string{}
	var refused []string
	needs, answers := false, false
	for _, h := range d.asked() {
		name, err := d.proxyFor(h)
		switch {
		case err != nil:
			return Failed.because("the proxy's address in the environment cannot be read", "write HTTPS_PROXY as http://HOST:PORT", operator)
		case name == "":
			direct = append(direct, h.address())
			continue
		}
		by[name] = append(by[name], h.address())
		if r := d.reach(ctx, d.question(h)); r.err != nil {
			refused = append(refused, h.Host+" ("+strings.TrimPrefix(r.why(), "the proxy "+name+": ")+")")
			needs = needs || r.proxyStatus == http.StatusProxyAuthRequired
			answers = answers || r.proxyStatus != 0
		} else {
			answers = true
		}
	}
	if len(by) == 0 && !readable(d.env["HTTPS_PROXY"]) {
		return Failed.because("HTTPS_PROXY is set, cannot be read as an address, and is passed over: no proxy is asked for",
			"write HTTPS_PROXY as http://HOST:PORT; in a name or password write signs that have a meaning as codes: % as %25, @ as %40", operator)
	}
	if len(by) == 0 {
		return ok("no proxy is asked for: HTTPS_PROXY is not set, or NO_PROXY names the hosts")
	}
	var seen []string
	for _, h := range d.asked() {
		if name, _ := d.proxyFor(h); name != "" && by[name] != nil {
			seen = append(seen, fmt.Sprintf("%s is asked for %s", name, strings.Join(by[name], ", ")))
			by[name] = nil
		}
	}
	if len(direct) > 0 {
		seen = append(seen, "not for "+strings.Join(direct, ", "))
	}
	text := "the proxy " + strings.Join(seen, "; ")
	switch {
	case needs:
		return Failed.because(text+"; it wants a name and a password (407)",
			"write them into HTTPS_PROXY as http://NAME:PASSWORD@HOST:PORT (only Basic is spoken), or let the proxy pass this machine without", network)
	case !answers:
		return Failed.because(text+"; it does not answer: "+strings.Join(refused, ", "), "see that HTTPS_PROXY names the right proxy, and that this machine reaches it", network)
	case len(refused) > 0:
		return Failed.because(text+"; not reached: "+strings.Join(refused, ", "), "let the proxy open these hosts on port 443", network)
	}
	return ok("%s", text)
}

// readable reports whether Go takes the address of a proxy; of one that it does not, it
// says nothing.
func readable(proxy string) bool {
	if u, err := url.Parse(proxy); err == nil && (proxy == "" || u.Scheme != "" && u.Host != "") {
		return true
	}
	_, err := url.Parse("http://" + proxy)
	return err == nil
}

// proxyFor gives host and port of the proxy for a host; its name and password are kept
// out.
func (d *Doctor) proxyFor(h Host) (string, error) {
	t := d.HTTP.Transport.(*http.Transport)
	if t.Proxy == nil {
		return "", nil
	}
	u, err := url.Parse(h.url)
	if err != nil {
		return "", err
	}
	p, err := t.Proxy(&http.Request{URL: u})
	if err != nil || p == nil {
		return "", err
	}
	if p.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, p.Scheme) {
		return "", errors.New("it is no address of a proxy")
	}
	return p.Host, nil
}

// names looks up each host, and its private twin if it is a vault.
func (d *Doctor) names() []task {
	return d.each(d.name)
}

// privateZones are the zones of private endpoints for vaults, by the domain of vaults:
// https://learn.microsoft.com/azure/private-link/private-endpoint-dns
var privateZones = map[string]string{
	"vault.azure.net":         "privatelink.vaultcore.azure.net",
	"vault.usgovcloudapi.net": "privatelink.vaultcore.usgovcloudapi.net",
	"vault.azure.cn":          "privatelink.vaultcore.azure.cn",
}

// shared is the range that carriers and overlay networks use (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

func (d *Doctor) name(ctx context.Context, h Host) Result {
	if _, err := netip.ParseAddr(h.Host); err == nil {
		return ok("it is an address, and no name is asked for")
	}
	ctx, cancel := d.short(ctx)
	defer cancel()
	proxy, _ := d.proxyFor(h)
	addresses, err := d.Resolver.LookupNetIP(ctx, "ip", h.Host)
	if err != nil {
		if proxy != "" {
			return ok("not known here, which does not matter: the proxy %s resolves it", proxy)
		}
		var dns *net.DNSError
		vault, domain, _ := strings.Cut(h.Host, ".")
		switch {
		case errors.As(err, &dns) && dns.IsNotFound && privateZones[domain] != "":
			return Failed.because("there is no such name",
				fmt.Sprintf("look at the vault's name; if it is right and has a private endpoint, the zone %s that this network uses lacks the record %s",
					privateZones[domain], vault), network)
		case errors.As(err, &dns) && dns.IsNotFound:
			return Failed.because("there is no such name", "see that this machine's name server resolves names outside; where only a proxy leads outside, set HTTPS_PROXY", network)
		}
		return Failed.because("the name server does not answer", "see which name server this machine asks, and whether it can be reached", network)
	}
	var private, public []string
	for _, a := range addresses {
		a = a.Unmap()
		switch {
		case a.IsLoopback() || a.IsUnspecified():
			if isMicrosofts(h.Host) {
				return Failed.because(fmt.Sprintf("it leads to this machine itself (%s)", a), "see the hosts file, and whether a filter of names blocks it", machine)
			}
			private = append(private, a.String())
		case a.IsPrivate() || a.IsLinkLocalUnicast() || shared.Contains(a):
			private = append(private, a.String())
		default:
			public = append(public, a.String())
		}
	}
	slices.Sort(private)
	slices.Sort(public)
	return d.split(ctx, h, proxy, private, public)
}

// split judges addresses: those of a private endpoint, of a public one, and of both at
// once, which is a mistake.
func (d *Doctor) split(ctx context.Context, h Host, proxy string, private, public []string) Result {
	canonical, _ := d.Resolver.LookupCNAME(ctx, h.Host)
	canonical = strings.TrimSuffix(strings.ToLower(canonical), ".")
	alias := ""
	if canonical != "" && canonical != strings.ToLower(h.Host) {
		alias = " by way of " + canonical
	}
	vault, domain, _ := strings.Cut(h.Host, ".")
	zone := privateZones[domain]
	linked := strings.Contains(canonical, ".privatelink.")
	all := strings.Join(slices.Concat(private, public), ", ")
	switch {
	case len(private) > 0 && len(public) > 0:
		return Warning.because(fmt.Sprintf("%s%s: private and public addresses at once", all, alias),
			"let this network's name servers agree: either all know the private zone or none", network)
	case len(private) > 0 && (linked || zone != ""):
		if proxy != "" {
			return Warning.because(fmt.Sprintf("%s%s: a private endpoint, which the proxy %s is asked for", all, alias, proxy),
				"add "+h.Host+" to NO_PROXY, unless the proxy reaches the private endpoint", network)
		}
		return ok("%s%s: a private endpoint", all, alias)
	case len(private) > 0 && isMicrosofts(h.Host):
		return Warning.because(fmt.Sprintf("%s%s: private addresses, and Microsoft has no private endpoint of this name", all, alias),
			"see the hosts file, and whether a proxy or a gateway answers for it; the check tls says who does", network)
	case len(private) > 0:
		return ok("%s%s: private addresses", all, alias)
	case linked:
		return Warning.because(fmt.Sprintf("%s%s: it has a private endpoint, and leads to its public address here", all, alias),
			"link the private zone to this network, or forward its names to a name server that knows it", network)
	}
	if zone != "" {
		// In the public zones the twin exists as soon as the vault has a private endpoint.
		if _, err := d.Resolver.LookupNetIP(ctx, "ip", vault+"."+zone); err == nil {
			return Warning.because(fmt.Sprintf("%s%s: the vault has a private endpoint, and leads to its public address here", all, alias),
				"link the private zone "+zone+" to this network, or forward its names to a name server that knows it", network)
		}
	}
	return ok("%s%s: public addresses", all, alias)
}

// vaults asks each vault without a token, for its challenge.
func (d *Doctor) vaults() []task {
	if len(d.Vaults) == 0 {
		return []task{{run: fixed(skip("no key vault is configured"))}}
	}
	var tasks []task
	for _, v := range d.Vaults {
		u, err := url.Parse(v)
		if err != nil {
			continue
		}
		tasks = append(tasks, task{u.Host, func(ctx context.Context) Result { return d.vault(ctx, strings.TrimSuffix(v, "/")) }})
	}
	return tasks
}

func (d *Doctor) vault(ctx context.Context, origin string) Result {
	r := d.reach(ctx, d.question(Host{url: origin}))
	if r.err != nil {
		return Failed.because(r.trouble())
	}
	scheme, rest, _ := strings.Cut(r.header.Get("WWW-Authenticate"), " ")
	says := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		says[strings.ToLower(name)] = strings.Trim(value, `"`)
	}
	authority, err := url.Parse(says["authorization"])
	switch {
	case r.status == http.StatusForbidden:
		return Failed.because("it answered 403 before it was shown who asks: its firewall does not let this machine in",
			"add this machine's network to the vault's firewall, or use its private endpoint", vaults)
	case r.status != http.StatusUnauthorized || !strings.EqualFold(scheme, "Bearer") || err != nil || authority.Host == "":
		return Failed.because(fmt.Sprintf("it answered %d without the challenge of a key vault", r.status),
			"look at vault-url, and whether something in between answers in its place", operator)
	}
	tenant := strings.Trim(authority.Path, "/")
	home, _ := url.Parse(d.Cloud.AuthorityHost)
	switch {
	case isGUID(d.TenantID) && isGUID(tenant) && !strings.EqualFold(tenant, d.TenantID):
		return Failed.because(fmt.Sprintf("it trusts the tenant %s, and tenant-id is %s: tokens of the one do not open the other", tenant, d.TenantID),
			"name a vault of the tenant, or open this one as an identity of its tenant", vaults)
	case home != nil && home.Host != "" && !sameAuthority(home.Host, authority.Host):
		return Warning.because(fmt.Sprintf("it sends to sign in at %s, and cloud %s signs in at %s", authority.Host, d.Cloud.Name, home.Host),
			"see that vault and cloud belong together", operator)
	case says["resource"] != "" && d.Cloud.VaultAudience != "" && strings.TrimSuffix(says["resource"], "/") != d.Cloud.VaultAudience:
		return Warning.because(fmt.Sprintf("it wants tokens for %s, and cloud %s has them for %s", says["resource"], d.Cloud.Name, d.Cloud.VaultAudience),
			"see that vault and cloud belong together", operator)
	}
	return ok("it answers with its challenge, and trusts the tenant")
}

// sameAuthority knows that the public cloud has two names in use.
func sameAuthority(a, b string) bool {
	public := []string{"login.microsoftonline.com", "login.windows.net"}
	china := []string{"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}
	return strings.EqualFold(a, b) ||
		slices.Contains(public, a) && slices.Contains(public, b) || slices.Contains(china, a) && slices.Contains(china, b)
}

func isGUID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
}

// metadataService is where Azure serves managed identities to its machines; it is on the
// machine's own network.
const metadataService = "http://169.254.169.254"

// identity looks whether the service of the machine's managed identity answers. It asks
// for no token.
func (d *Doctor) identity(ctx context.Context) Result {
	if !d.Identity {
		return skip("no managed identity is used")
	}
	endpoint := d.env["IDENTITY_ENDPOINT"]
	if endpoint == "" {
		return d.metadata(ctx, metadataService)
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return Failed.because("IDENTITY_ENDPOINT is no address", "unset it, unless the platform sets it", operator)
	}
	address := u.Host
	if u.Port() == "" {
		port := "80"
		if u.Scheme == "https" {
			port = "443"
		}
		address = net.JoinHostPort(u.Hostname(), port)
	}
	ctx, cancel := d.short(ctx)
	defer cancel()
	conn, err := (&net.Dialer{Resolver: d.Resolver}).DialContext(ctx, "tcp", address)
	if err != nil {
		return noIdentity(address)
	}
	conn.Close()
	return ok("the service of managed identities answers at %s", address)
}

func noIdentity(address string) Result {
	return Failed.because(fmt.Sprintf("the service of managed identities does not answer at %s", address),
		"run reeve on a machine of Azure that has a managed identity, or sign in another way (auth.method, auth.vault-method)", operator)
}

// metadata asks the metadata service without the header that each request must have: Azure
// answers 400. Other clouds have services of their own at the same address, and connect, too
// (learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling).
func (d *Doctor) metadata(ctx context.Context, origin string) Result {
	ctx, cancel := d.short(ctx)
	defer cancel()
	host := strings.TrimPrefix(origin, "http://")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/metadata/identity/oauth2/token?api-version=2018-02-01", nil)
	if err != nil {
		return noIdentity(host)
	}
	t := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10} // never by a proxy
	resp, err := t.RoundTrip(req)
	if err != nil {
		return noIdentity(host)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		return Warning.because(fmt.Sprintf("%s answers %d, and not as Azure's service of managed identities does: it may be that of another cloud", host, resp.StatusCode),
			"run reeve on a machine of Azure that has a managed identity, or sign in another way (auth.method, auth.vault-method)", operator)
	}
	return ok("the service of managed identities answers at %s", host)
}

// webhook asks the host of notify.webhook.url, and not the address itself.
func (d *Doctor) webhook(ctx context.Context) Result {
	if d.Webhook == "" {
		return skip("notify.webhook.url is not set")
	}
	r := d.reach(ctx, strings.TrimSuffix(d.Webhook, "/")+"/")
	switch {
	case r.err != nil:
		return Failed.because(r.trouble())
	case r.issuer != "" && r.trust == none:
		bad := Failed.because(fmt.Sprintf("%s shows a certificate of %q, which nothing here trusts", r.host, r.issuer),
			"name the authority in ca-file", operator)
		bad.Names = quotable(r.issuer)
		return bad
	}
	return ok("%s answers; nothing was posted", r.host)
}

// listen tries to have the address of the status page.
func (d *Doctor) listen(ctx context.Context) Result {
	if d.Listen == "" {
		return skip("listen is not set")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.Listen)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Failed.because(d.Listen+" cannot be had: this user may not take that port", "set listen to a port from 1024 on", operator)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return Failed.because(d.Listen+" cannot be had: this machine has no such address", "set listen to an address that it has, such as 127.0.0.1", operator)
	case err != nil:
		return Warning.because(fmt.Sprintf("%s cannot be had: it is in use, by a reeve that serves or by another program", d.Listen),
			"nothing, if reeve serve is running; else set listen to a free port", operator)
	}
	l.Close()
	return ok("%s is free: no reeve serves there now", d.Listen)
}

// mail greets the mail server, as far as it takes before signing in.
func (d *Doctor) mail(ctx context.Context) Result {
	m := d.Mail
	if m.Host == "" {
		return skip("notify.mail.host is not set")
	}
	ctx, cancel := d.short(ctx)
	defer cancel()
	address := net.JoinHostPort(m.Host, strconv.Itoa(m.port()))
	cannot := func(what string, err error) Result {
		var untrusted *tls.CertificateVerificationError
		switch {
		case errors.As(err, &untrusted):
			return Failed.because(address+" shows a certificate that nothing here trusts, or of another name",
				"name its authority in ca-file, and the server as its certificate does in notify.mail.host", operator)
		case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
			return Failed.because(fmt.Sprintf("%s: %s took too long", address, what), "open the firewall to it, and see that notify.mail.port and notify.mail.tls belong together", network)
		}
		return Failed.because(fmt.Sprintf("%s: %s: %v", address, what, err), "look at notify.mail.host, notify.mail.port and notify.mail.tls, and open the firewall to it", network)
	}
	conn, err := (&net.Dialer{Resolver: d.Resolver}).DialContext(ctx, "tcp", address)
	if err != nil {
		return cannot("connecting", err)
	}
	defer conn.Close()
	if until, limited := ctx.Deadline(); limited {
		conn.SetDeadline(until)
	}
	config := &tls.Config{ServerName: m.Host, MinVersion: tls.VersionTLS12, RootCAs: d.HTTP.Transport.(*http.Transport).TLSClientConfig.RootCAs}
	var line net.Conn = &bounded{conn, io.LimitReader(conn, 64<<10)}
	if m.TLS == "implicit" {
		line = tls.Client(line, config)
	}
	c, err := smtp.NewClient(line, m.Host)
	if err != nil {
		return cannot("waiting for the greeting", err)
	}
	if err := c.Hello("localhost"); err != nil {
		return cannot("greeting it (EHLO)", err)
	}
	offered, _ := c.Extension("STARTTLS")
	switch {
	case m.TLS == "starttls" && !offered:
		return Failed.because(address+" does not offer STARTTLS", "use the port for submitting mail (587), or notify.mail.tls implicit with port 465", operator)
	case m.TLS == "starttls":
		if err := c.StartTLS(config); err != nil {
			return cannot("encrypting (STARTTLS)", err)
		}
	}
	c.Quit()
	return ok("%s takes mail, %s; nothing was mailed", address, map[string]string{"starttls": "encrypted by STARTTLS", "implicit": "encrypted from the start"}[m.TLS])
}

// bounded is a connection whose other side may not say more than a limit.
type bounded struct {
	net.Conn
	limited io.Reader
}

func (b *bounded) Read(p []byte) (int, error) { return b.limited.Read(p) }
