package m365

const (
	docNetwork      = "https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges"
	docInterception = "https://learn.microsoft.com/microsoft-365/enterprise/microsoft-365-network-connectivity-principles"
)

// wayClosed is what is left when nothing more is known.
const wayClosed = "way-closed"

// networkExplanations are about what goes wrong before an API can answer. It has no
// codes: the names are ours, and the texts those of Go's network packages and of the
// tools that people paste from.
var networkExplanations = []Explanation{
	{
		Code: "proxy-authentication", When: []string{"Proxy Authentication Required", "407 Proxy", "ERR_PROXY_AUTH"},
		Title:   "the proxy wants to know who calls",
		Cause:   "The proxy in HTTPS_PROXY lets nobody through without a name and a password.",
		Remedy:  "Have this machine let through without, or put name and password into HTTPS_PROXY (http://NAME:PASSWORD@HOST:PORT), which then is a secret. A proxy that takes only Kerberos or NTLM needs a local one in between.",
		Who:     []string{networkPeople, operator},
		Waiting: noWait,
	},
	{
		Code: "tls-expired", When: []string{"certificate has expired or is not yet valid", "certificate is not yet valid", "CERT_HAS_EXPIRED"},
		Title:   "the server's certificate is out of its time, or this machine's clock is",
		Cause:   "Microsoft's certificates are renewed in time, so that nearly always the clock here is wrong by days; else a proxy shows a certificate of its own that has expired.",
		Remedy:  "Compare `date -u` with the right time and set the clock, best by a time service. If it is right, see who issued the certificate: `openssl s_client -connect HOST:443`.",
		Who:     []string{operator, networkPeople},
		Waiting: "No; a clock does not mend itself.",
		Source:  docInterception,
	},
	{
		Code: "tls-wrong-name", When: []string{"x509: certificate is valid for", "x509: certificate is not valid for any names", "cannot validate certificate for", "certificate relies on legacy Common Name", "ERR_TLS_CERT_ALTNAME_INVALID"},
		Title:   "the server's certificate is for another name",
		Cause:   "The name resolves to another server (a page of the network's for guests, a private endpoint of something else), or an address of one's own stands in the place of Microsoft's.",
		Remedy:  "See which address the name has here (`nslookup HOST`), and give hosts by the names in their certificates.",
		Who:     []string{networkPeople, operator},
		Waiting: noWait,
	},
	{
		Code: "tls-unknown-authority", When: []string{
			"signed by unknown authority", "certificate is not trusted", "certificate is not standards compliant", "failed to verify certificate",
			"unable to get local issuer certificate", "self-signed certificate", "self signed certificate", "CERTIFICATE_VERIFY_FAILED",
		},
		Title:   "this machine does not trust the server's certificate",
		Cause:   "Somebody on the way opens the encryption: an inspecting proxy shows certificates of its own authority, which this machine does not know. On a bare system or container the authorities may be missing altogether; and an emulated cloud has one of its own.",
		Remedy:  "Have the hosts of Microsoft 365 excepted from inspection, as Microsoft advises; or give the authority's certificate as ca-file. Never switch verification off.",
		Who:     []string{networkPeople, operator},
		Waiting: noWait,
		Source:  docInterception,
	},
	{
		Code: "tls-not-spoken", When: []string{"first record does not look like a TLS handshake", "server gave HTTP response to HTTPS client", "wrong version number"},
		Title:   "what answers does not speak TLS",
		Cause:   "The port is a plain one: a proxy given as https:// that is http://, a wrong port, or a page of the network's that wants somebody to sign in first.",
		Remedy:  "Write HTTPS_PROXY with http:// if the proxy itself is plain, as most are, and see that the port is right.",
		Who:     []string{operator, networkPeople},
		Waiting: noWait,
	},
	{
		Code: "tls-refused", When: []string{"remote error: tls:", "tls: handshake failure", "protocol version not supported", "TLS handshake timeout"},
		Title:   "the encryption could not be agreed on",
		Cause:   "Something in between lets the connection be made and then breaks the handshake: a firewall that goes by host names, or one that knows no TLS 1.2 and 1.3.",
		Remedy:  "Have the host let through; compare with `openssl s_client -connect HOST:443` from another network.",
		Who:     []string{networkPeople},
		Waiting: noWait,
		Source:  docInterception,
	},
	{
		Code: "dns-unknown-name", When: []string{"no such host", "Name or service not known", "getaddrinfo ENOTFOUND", "nodename nor servname", "Could not resolve host"},
		Title:   "the host's name is not known",
		Cause:   "The name is mistyped, is of another cloud, or this machine's name server does not know names of the internet. A vault that was deleted has no name any more; one behind a private endpoint needs the private zone.",
		Remedy:  "Look the name up here and elsewhere (`nslookup HOST`); correct the address, or have the name server ask on. Behind a proxy that looks names up itself, set HTTPS_PROXY.",
		Who:     []string{operator, networkPeople},
		Waiting: noWait,
	},
	{
		Code: "dns-failing", When: []string{"server misbehaving", "Temporary failure in name resolution", "EAI_AGAIN"},
		Title:   "the name server does not answer well",
		Cause:   "This machine's name server is down, overloaded, or cannot be reached.",
		Remedy:  "Look at the name server in /etc/resolv.conf (or the network settings) and whether it answers: `nslookup HOST`.",
		Who:     []string{networkPeople},
		Waiting: "Yes, minutes, if the name server is restarted. Otherwise no.",
	},
	{
		Code: "connection-refused", When: []string{"connection refused", "actively refused", "ECONNREFUSED"},
		Title:   "nothing listens at that address",
		Cause:   "The proxy in HTTPS_PROXY is not running or has another port, a firewall refuses, or a host of one's own is down. Microsoft's hosts do not refuse.",
		Remedy:  "See which address the message names: if it is the proxy's, correct HTTPS_PROXY; if it is an emulated cloud's, start it.",
		Who:     []string{operator, networkPeople},
		Waiting: "Yes, if what should listen is starting. Otherwise no.",
	},
	{
		Code: "network-unreachable", When: []string{"network is unreachable", "no route to host", "ENETUNREACH", "EHOSTUNREACH"},
		Title:   "there is no way to that address",
		Cause:   "This machine has no network, no route to the internet, or an IPv6 address that leads nowhere.",
		Remedy:  "See the routes (`ip route`); on a machine without internet set HTTPS_PROXY, or use private endpoints.",
		Who:     []string{networkPeople, operator},
		Waiting: noWait,
	},
	{
		Code: "connection-lost", When: []string{"connection reset by peer", "forcibly closed", "broken pipe", "unexpected EOF", ": EOF", "server closed idle connection", "ECONNRESET"},
		Title:   "the connection was lost",
		Cause:   "A firewall, a proxy or the service ended it in the middle.",
		Remedy:  "Nothing if it is rare; it is tried again. If it comes at once each time, have the host let through; if after minutes, raise the time limit of the firewall.",
		Who:     []string{nobody, networkPeople},
		Waiting: waitMinutes,
	},
	{
		Code: "no-answer", When: []string{"i/o timeout", "context deadline exceeded", "Client.Timeout", "timeout awaiting response headers", "connection timed out", "ETIMEDOUT"},
		Title:   "there was no answer in time",
		Cause:   "A firewall drops the packets without a word, the proxy is needed and not set, or the service is slow.",
		Remedy:  "See that the host can be reached from here on port 443 (name, firewall, HTTPS_PROXY and NO_PROXY).",
		Who:     []string{networkPeople, operator},
		Waiting: "Yes, minutes, if it has worked before. Otherwise no.",
	},
	{
		Code: "foreign-page", When: []string{"a page of HTML or XML"},
		Title:   "somebody else answered",
		Cause:   "The answer is a page for people: a proxy's that forbids the host or wants somebody to sign in, or that of a web server which has taken the name.",
		Remedy:  "Open the address in a browser on this machine and read the page; have the host let through.",
		Who:     []string{networkPeople},
		Waiting: noWait,
		Source:  docInterception,
	},
	{
		Code: wayClosed, When: []string{"dial tcp", "proxyconnect"},
		Title:   "the host could not be reached",
		Cause:   "The network failed before anything was asked.",
		Remedy:  "See that the host can be reached from here (name, firewall, HTTPS_PROXY and NO_PROXY), and that cloud is the right one; an authority of your own network goes into ca-file.",
		Who:     []string{networkPeople, operator},
		Waiting: "Yes, minutes, if it has worked before. Otherwise no.",
	},
}
