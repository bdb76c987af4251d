package doctor

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
)

// Host is one that reeve connects to, as the people need it who look after a firewall.
// Nothing has to be reachable from outside.
type Host struct {
	Cloud string   `json:"cloud"`
	Host  string   `json:"host"` // "*." in front stands for any name below
	Port  string   `json:"port"`
	Feeds []string `json:"feeds"` // none: whatever is imported
	Why   string   `json:"why"`

	Protocol string `json:"protocol"` // https, but for who is told of events

	url string // where it is asked; empty when it is a pattern, or not asked
}

const https = "https"

// Hosts lists the hosts that the feeds need in a cloud, with the vaults that are
// configured. Where none is, it names the domain of all vaults.
func Hosts(cloud m365.Cloud, feeds []permission.Feed, vaults []string) []Host {
	var all []Host
	add := func(origin, why string, feeds []string) {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" {
			return
		}
		port := u.Port()
		if port == "" {
			port = "443"
		}
		all = append(all, Host{cloud.Name, u.Hostname(), port, feeds, why, https, strings.TrimSuffix(origin, "/")})
	}
	by := map[string][]string{}
	for _, f := range feeds {
		for _, n := range f.Needs {
			if !slices.Contains(by[n.API.Key], f.Name) {
				by[n.API.Key] = append(by[n.API.Key], f.Name)
			}
		}
	}
	add(cloud.AuthorityHost, "signing in: every token comes from here", nil)
	for _, api := range []struct{ key, origin, why string }{
		{permission.Manage.Key, cloud.Manage, "the Office 365 Management Activity API: listing and reading the audit log"},
		{permission.Graph.Key, cloud.Graph, "Microsoft Graph"},
		{permission.Logs.Key, cloud.Logs, "queries of Log Analytics and Application Insights"},
	} {
		if len(by[api.key]) > 0 {
			add(api.origin, api.why, by[api.key])
		}
	}
	if slices.ContainsFunc(feeds, func(f permission.Feed) bool { return f.Name == "usage" }) && cloud.AuthorityHost == "https://login.microsoftonline.com" {
		all = append(all, Host{Cloud: cloud.Name, Host: "*.office.com", Port: "443", Protocol: https, Feeds: []string{"usage"},
			Why: "downloading usage reports, to which Microsoft Graph redirects; seen are reports.office.com and such names as reportsweu.office.com for a region"})
	}
	for _, v := range vaults {
		add(v, "the key vault with certificates and keys", nil)
	}
	if len(vaults) == 0 && cloud.VaultSuffix != "" {
		all = append(all, Host{Cloud: cloud.Name, Host: "*." + cloud.VaultSuffix, Port: "443", Protocol: https,
			Why: "key vaults, if certificates are kept in one; the vault's own name is enough"})
	}
	if cloud.Resources != "" {
		before := len(all)
		add(cloud.Resources, "Azure Resource Manager, only while setting up, to give access to a key vault", nil)
		for i := range all[before:] {
			all[before+i].url = "" // and so not asked
		}
	}
	return all
}

// Told are the hosts that take what people are told: a webhook, by its origin, and a mail
// server. Either may be empty.
func Told(cloud, webhook string, mail Mail) []Host {
	var all []Host
	if u, err := url.Parse(webhook); err == nil && u.Host != "" {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		all = append(all, Host{Cloud: cloud, Host: u.Hostname(), Port: port, Protocol: u.Scheme, Why: "notify.webhook: telling programs of events"})
	}
	if mail.Host != "" {
		all = append(all, Host{Cloud: cloud, Host: mail.Host, Port: strconv.Itoa(mail.port()), Protocol: "smtp", Why: "notify.mail: telling people of events; never by the proxy"})
	}
	return all
}

// limit is what cannot work, whatever the network lets pass.
type limit struct {
	clouds []string
	feed   string
	text   string
	remedy string
	source string // the document that says so
}

var limits = []limit{
	{
		[]string{"gcc-high", "dod", "china"}, "usage",
		"Microsoft lists the usage reports (v1.0) for the global service alone, so none can be expected here",
		"leave the feed usage out", "https://learn.microsoft.com/graph/api/resources/report",
	},
	{
		[]string{"gcc-high", "dod"}, "apps",
		"the apps of a person cannot be listed by an application in this cloud",
		"leave the feed apps out", "https://learn.microsoft.com/graph/teamwork-national-cloud-differences",
	},
	{
		[]string{"china"}, "teams", "Microsoft Graph has no Teams APIs in this cloud",
		"leave the feed teams out", "https://learn.microsoft.com/graph/teamwork-national-cloud-differences",
	},
	{
		[]string{"china"}, "apps", "Microsoft Graph has no Teams APIs in this cloud",
		"leave the feed apps out", "https://learn.microsoft.com/graph/teamwork-national-cloud-differences",
	},
	{
		[]string{"china"}, "calls", "Microsoft Graph has no call records in this cloud: they are for the global service and the US government's",
		"leave the feed calls out", "https://learn.microsoft.com/graph/api/callrecords-callrecord-get",
	},
	{
		[]string{m365.Custom}, "calls",
		"Microsoft Graph sends change notifications only to an address that is public: behind private endpoints they do not arrive",
		"let the feed calls ask for records instead of being told of them, or give it a public address", "https://learn.microsoft.com/graph/change-notifications-delivery-webhooks",
	},
	{
		[]string{m365.Custom}, "audit",
		"the webhooks of the Management Activity API would have to reach this machine from Microsoft's network; reeve has none and asks by itself, so that nothing is missing",
		"", "https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference",
	},
}

// limits says what cannot work in the cloud. It is not tried.
func (d *Doctor) limits() []task {
	var tasks []task
	for _, l := range limits {
		if slices.Contains(l.clouds, d.Cloud.Name) && slices.ContainsFunc(d.Feeds, func(f permission.Feed) bool { return f.Name == l.feed }) {
			tasks = append(tasks, task{l.feed, fixed(l.result())})
		}
	}
	if tasks == nil {
		return []task{{run: fixed(ok("nothing is known that cannot work for the chosen feeds in the cloud %s", d.Cloud.Name))}}
	}
	return tasks
}

func (l limit) result() Result {
	if l.remedy == "" {
		return ok("%s (%s)", l.text, l.source)
	}
	return Warning.because(l.text+" ("+l.source+")", l.remedy, operator)
}

// Limits says what cannot work in a cloud for the feeds, a line each. What nobody misses is
// none.
func Limits(cloud string, feeds []permission.Feed) []string {
	var all []string
	for _, l := range limits {
		if l.remedy != "" && slices.Contains(l.clouds, cloud) && slices.ContainsFunc(feeds, func(f permission.Feed) bool { return f.Name == l.feed }) {
			all = append(all, l.feed+": "+l.text+" ("+l.source+")")
		}
	}
	return all
}

// microsofts are the domains in which Microsoft's clouds answer.
var microsofts = []string{
	"microsoftonline.com", "microsoft.com", "microsoft.us", "microsoftonline.us", "microsoftonline.cn", "chinacloudapi.cn",
	"office.com", "office365.us", "apps.mil", "office365.cn", "azure.net", "azure.com", "azure.cn", "usgovcloudapi.net", "loganalytics.us",
	"applicationinsights.io",
}

// isMicrosofts reports whether a host is in one of Microsoft's domains.
func isMicrosofts(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(microsofts, func(d string) bool { return host == d || strings.HasSuffix(host, "."+d) })
}

// asked are the hosts that can be asked, each once.
func (d *Doctor) asked() []Host {
	var all []Host
	for _, h := range Hosts(d.Cloud, d.Feeds, d.Vaults) {
		if h.url == "" || slices.ContainsFunc(all, func(o Host) bool { return o.url == h.url }) {
			continue
		}
		all = append(all, h)
	}
	return all
}

func (h Host) address() string { return net.JoinHostPort(h.Host, h.Port) }
