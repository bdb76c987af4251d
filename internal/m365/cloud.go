// Package m365 is the way to Microsoft's cloud: which hosts a cloud has, signing in
// to it, and the HTTP pipeline through which its APIs are called, with their errors
// named. It knows no API in particular; those are its subpackages.
package m365

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Cloud says where a Microsoft cloud answers and which resources its tokens are
// for. Endpoints are origins such as https://graph.microsoft.com, without a path;
// audiences are the resource URIs as the token's "aud" spells them.
type Cloud struct {
	Name          string
	AuthorityHost string
	Graph         string
	Manage        string
	Logs          string
	Resources     string // Azure Resource Manager

	GraphAudience     string
	ManageAudience    string
	LogsAudience      string
	VaultAudience     string
	ResourcesAudience string

	// VaultSuffix is the domain below which the cloud's key vaults answer, such
	// as vault.azure.net. It is empty in a custom cloud, where a vault is known
	// by its URL alone.
	VaultSuffix string
}

// Custom is the name of the cloud whose endpoints the caller gives: a private
// network's front, a proxy, an emulated tenant.
const Custom = "custom"

// clouds are Microsoft's, with the endpoints and token resources that Microsoft
// documents for them (the reference of the Office 365 Management Activity API names
// the Manage hosts; those of China are the ones that operators there report).
var clouds = []Cloud{
	publicCloud("public", "https://manage.office.com"),
	publicCloud("gcc", "https://manage-gcc.office.com"),
	governmentCloud("gcc-high", "https://graph.microsoft.us", "https://manage.office365.us"),
	governmentCloud("dod", "https://dod-graph.microsoft.us", "https://manage.protection.apps.mil"),
	{
		Name:              "china",
		AuthorityHost:     "https://login.partner.microsoftonline.cn",
		Graph:             "https://microsoftgraph.chinacloudapi.cn",
		Manage:            "https://manage.office365.cn",
		Logs:              "https://api.loganalytics.azure.cn",
		Resources:         "https://management.chinacloudapi.cn",
		GraphAudience:     "https://microsoftgraph.chinacloudapi.cn",
		ManageAudience:    "https://manage.office365.cn",
		LogsAudience:      "https://api.loganalytics.azure.cn",
		VaultAudience:     "https://vault.azure.cn",
		ResourcesAudience: "https://management.core.chinacloudapi.cn",
		VaultSuffix:       "vault.azure.cn",
	},
}

func publicCloud(name, manage string) Cloud {
	return Cloud{
		Name:              name,
		AuthorityHost:     "https://login.microsoftonline.com",
		Graph:             "https://graph.microsoft.com",
		Manage:            manage,
		Logs:              "https://api.loganalytics.azure.com",
		Resources:         "https://management.azure.com",
		GraphAudience:     "https://graph.microsoft.com",
		ManageAudience:    manage,
		LogsAudience:      "https://api.loganalytics.io",
		VaultAudience:     "https://vault.azure.net",
		ResourcesAudience: "https://management.core.windows.net",
		VaultSuffix:       "vault.azure.net",
	}
}

func governmentCloud(name, graph, manage string) Cloud {
	return Cloud{
		Name:              name,
		AuthorityHost:     "https://login.microsoftonline.us",
		Graph:             graph,
		Manage:            manage,
		Logs:              "https://api.loganalytics.us",
		Resources:         "https://management.usgovcloudapi.net",
		GraphAudience:     graph,
		ManageAudience:    manage,
		LogsAudience:      "https://api.loganalytics.us",
		VaultAudience:     "https://vault.usgovcloudapi.net",
		ResourcesAudience: "https://management.core.usgovcloudapi.net",
		VaultSuffix:       "vault.usgovcloudapi.net",
	}
}

// CloudNames lists the names that [LookupCloud] knows.
func CloudNames() []string {
	names := make([]string, 0, len(clouds)+1)
	for _, c := range clouds {
		names = append(names, c.Name)
	}
	return append(names, Custom)
}

// LookupCloud returns a cloud by name; the empty name means the public cloud. For
// [Custom] it returns the public cloud's audiences and no endpoint: the caller fills
// in those that it uses and calls [Cloud.Check].
func LookupCloud(name string) (Cloud, error) {
	if name == "" {
		return clouds[0], nil
	}
	if name == Custom {
		c := clouds[0]
		return Cloud{
			Name:              Custom,
			GraphAudience:     c.GraphAudience,
			ManageAudience:    c.ManageAudience,
			LogsAudience:      c.LogsAudience,
			VaultAudience:     c.VaultAudience,
			ResourcesAudience: c.ResourcesAudience,
		}, nil
	}
	for _, c := range clouds {
		if c.Name == name {
			return c, nil
		}
	}
	return Cloud{}, fmt.Errorf("there is no cloud named %q: use one of %s", name, strings.Join(CloudNames(), ", "))
}

// Check reports an endpoint that is not an https origin. Endpoints that are empty
// pass: not every program uses all of them.
func (c Cloud) Check() error {
	for _, e := range []struct{ name, url string }{
		{"authority host", c.AuthorityHost}, {"Graph endpoint", c.Graph},
		{"Management Activity endpoint", c.Manage}, {"logs endpoint", c.Logs},
		{"Resource Manager endpoint", c.Resources},
	} {
		if e.url == "" {
			continue
		}
		if err := checkOrigin(e.url); err != nil {
			return fmt.Errorf("the %s of cloud %q: %w", e.name, c.Name, err)
		}
	}
	return nil
}

func checkOrigin(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return err
	case u.Scheme != "https" || u.Host == "" || u.User != nil:
		return fmt.Errorf("%q is not of the form https://HOST: a token is sent over https only", s)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q has a path: give only https://HOST", s)
	}
	return nil
}

// listedAuthorities are the hosts that Microsoft signs its own clouds' users in at.
var listedAuthorities = []string{
	"login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net",
	"login.microsoftonline.us", "login.usgovcloudapi.net",
	"login.partner.microsoftonline.cn", "login.chinacloudapi.cn",
}

// Listed reports whether the cloud signs in at a host of Microsoft's. Where it does
// not, the SDKs' checks against Microsoft's list of authorities (instance discovery)
// and of vault domains cannot hold and are left out.
func (c Cloud) Listed() bool {
	u, err := url.Parse(c.AuthorityHost)
	return err == nil && slices.Contains(listedAuthorities, strings.ToLower(u.Host))
}
