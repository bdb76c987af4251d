package origin

import (
	"net/http"
	"slices"
	"strings"
)

// Origins are the addresses of the APIs on this machine, without a slash at the
// end, such as https://127.0.0.1:40001. Identity and Control are plain HTTP.
type Origins struct {
	Authority, Graph, Vault, Manage, Logs, Identity, Resources, Control string
}

// Hosts says under which names the APIs are reached: the origins on this
// machine, and the hosts of Microsoft's cloud, for a client that has them built
// in and comes through a proxy that maps them to the origins.
//
// An API that names itself or another in an answer names it as the client
// reaches it: see Base.
type Hosts struct {
	Origins Origins // known before the first request is answered
	Names   CloudNames
}

// CloudNames are the hosts of one of Microsoft's clouds. The first of a list is
// the one that answers name.
type CloudNames struct {
	Cloud       string // public, usgov, usgovdod or china
	Authority   []string
	Graph       []string
	Vault       []string // of the one vault, such as contoso-vault.vault.azure.net
	Manage      []string
	Logs        []string
	Resources   []string
	Instance    string // cloud_instance_name of tokens' documents
	VaultDomain string // such as vault.azure.net
}

// ForVault returns the names of a cloud in which the tenant's vault has a name.
func (n CloudNames) ForVault(name string) CloudNames {
	n.Vault = []string{strings.ToLower(name) + "." + n.VaultDomain}
	return n
}

// Clouds are Microsoft's clouds, as its documents list their hosts.
var Clouds = []CloudNames{
	{
		Cloud:     "public",
		Authority: []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"},
		Graph:     []string{"graph.microsoft.com"},
		Manage:    []string{"manage.office.com", "manage-gcc.office.com"},
		Logs:      []string{"api.loganalytics.azure.com", "api.loganalytics.io", "api.applicationinsights.io"},
		Resources: []string{"management.azure.com"},
		Instance:  "microsoftonline.com", VaultDomain: "vault.azure.net",
	},
	{
		Cloud:     "usgov",
		Authority: []string{"login.microsoftonline.us", "login.usgovcloudapi.net"},
		Graph:     []string{"graph.microsoft.us"},
		Manage:    []string{"manage.office365.us"},
		Logs:      []string{"api.loganalytics.us", "api.applicationinsights.us"},
		Resources: []string{"management.usgovcloudapi.net"},
		Instance:  "microsoftonline.us", VaultDomain: "vault.usgovcloudapi.net",
	},
	{
		Cloud:     "usgovdod",
		Authority: []string{"login.microsoftonline.us", "login.usgovcloudapi.net"},
		Graph:     []string{"dod-graph.microsoft.us"},
		Manage:    []string{"manage.protection.apps.mil"},
		Logs:      []string{"api.loganalytics.us", "api.applicationinsights.us"},
		Resources: []string{"management.usgovcloudapi.net"},
		Instance:  "microsoftonline.us", VaultDomain: "vault.usgovcloudapi.net",
	},
	{
		Cloud:     "china",
		Authority: []string{"login.chinacloudapi.cn", "login.partner.microsoftonline.cn"},
		Graph:     []string{"microsoftgraph.chinacloudapi.cn"},
		Manage:    []string{"manage.office365.cn"},
		Logs:      []string{"api.loganalytics.azure.cn", "api.applicationinsights.azure.cn"},
		Resources: []string{"management.chinacloudapi.cn"},
		Instance:  "partner.microsoftonline.cn", VaultDomain: "vault.azure.cn",
	},
}

// LookupCloud returns the names of a cloud; public when name is empty.
func LookupCloud(name string) (CloudNames, bool) {
	if name == "" {
		name = "public"
	}
	i := slices.IndexFunc(Clouds, func(c CloudNames) bool { return c.Cloud == name })
	if i < 0 {
		return CloudNames{}, false
	}
	return Clouds[i], true
}

// names returns the cloud's hosts of an API.
func (h *Hosts) names(api string) []string {
	switch api {
	case Authority:
		return h.Names.Authority
	case Graph:
		return h.Names.Graph
	case Vault:
		return h.Names.Vault
	case Manage:
		return h.Names.Manage
	case Logs:
		return h.Names.Logs
	case Resources:
		return h.Names.Resources
	}
	return nil
}

// origin returns the address of an API on this machine.
func (h *Hosts) origin(api string) string {
	switch api {
	case Authority:
		return h.Origins.Authority
	case Graph:
		return h.Origins.Graph
	case Vault:
		return h.Origins.Vault
	case Manage:
		return h.Origins.Manage
	case Logs:
		return h.Origins.Logs
	case Identity:
		return h.Origins.Identity
	case Resources:
		return h.Origins.Resources
	}
	return h.Origins.Control
}

// Base returns the scheme and host by which the client that sent r reaches an
// API: the origin on this machine, or when r came under a name of the cloud,
// the cloud's name of the API.
func (h *Hosts) Base(r *http.Request, api string) string {
	host := strings.TrimSuffix(strings.ToLower(r.Host), ":443")
	for _, of := range []string{Authority, Graph, Vault, Manage, Logs, Resources} {
		if !slices.Contains(h.names(of), host) {
			continue
		}
		if of == api {
			return "https://" + host
		}
		return "https://" + h.names(api)[0]
	}
	return h.origin(api)
}

// Bases returns every scheme and host by which an API may be named.
func (h *Hosts) Bases(api string) []string {
	all := []string{h.origin(api)}
	for _, name := range h.names(api) {
		all = append(all, "https://"+name)
	}
	return all
}

// API returns which API has a host of the cloud, given without a port, and its
// address on this machine as host:port; ok is false for a host that is none of
// this tenant's cloud.
func (h *Hosts) API(host string) (api, address string, ok bool) {
	host = strings.ToLower(host)
	for _, api := range []string{Authority, Graph, Vault, Manage, Logs, Resources} {
		if slices.Contains(h.names(api), host) {
			return api, strings.TrimPrefix(h.origin(api), "https://"), true
		}
	}
	return "", "", false
}
