package entra

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// requestedResource returns the one resource that an application asks a token
// for, as the request spells it.
func requestedResource(form url.Values, v2 bool) (string, error) {
	resource := form.Get("resource")
	switch {
	case v2 && form.Has("resource"):
		return "", refuse(901002, "The 'resource' request parameter isn't supported.")
	case v2:
		return resourceOfScope(form.Get("scope"))
	case resource == "":
		return "", missingParameter("resource")
	}
	return resource, nil
}

// oidcScopes are about people who sign in. MSAL for Go sends them beside every
// scope, and Entra passes over them beside a resource's .default.
var oidcScopes = []string{"openid", "offline_access", "profile", "email"}

// scopeToken is what RFC 6749 allows as one scope.
var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

func malformedScope() error {
	return refuse(70011, "The provided value for the input parameter 'scope' isn't valid.")
}

func severalResources() error {
	return refuse(700022, "The provided value for the input parameter 'scope' is not valid because it contains more than one resource.")
}

func resourceOfScope(scope string) (string, error) {
	if scope == "" {
		return "", missingParameter("scope")
	}
	resource, other := "", ""
	for s := range strings.FieldsSeq(scope) {
		if !scopeToken.MatchString(s) {
			return "", malformedScope()
		}
		r, isDefault := strings.CutSuffix(s, "/.default")
		switch {
		case isDefault && resource != "" && r != resource:
			return "", severalResources()
		case isDefault && r != "":
			resource = r
		case other == "" && !slices.Contains(oidcScopes, s):
			other = s
		}
	}
	if resource == "" && other == "" {
		other = strings.TrimSpace(scope)
	}
	if other != "" {
		return "", refuse(1002012, "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", origin.Printable(other))
	}
	return resource, nil
}

// wish is what a client asks for on behalf of somebody who signs in.
type wish struct {
	resource string   // as the client spells it
	all      bool     // .default: all that was consented to
	scopes   []string // the permissions by name, when not all
	oidc     []string // those of oidcScopes
}

// readWish reads what a client wants for somebody. A permission without a
// resource is one of Graph's, which is what scopes of OpenID Connect alone are
// for, too. Version 1 names a resource, and means all there is.
func readWish(form url.Values, v2 bool) (wish, error) {
	if !v2 {
		resource := form.Get("resource")
		if resource == "" {
			resource = directory.Graph
		}
		return wish{resource: resource, all: true, oidc: oidcScopes}, nil
	}
	if form.Has("resource") {
		return wish{}, refuse(901002, "The 'resource' request parameter isn't supported.")
	}
	scope := form.Get("scope")
	if strings.TrimSpace(scope) == "" {
		return wish{}, missingParameter("scope")
	}
	var w wish
	for s := range strings.FieldsSeq(scope) {
		if !scopeToken.MatchString(s) {
			return wish{}, malformedScope()
		}
		if slices.Contains(oidcScopes, lower(s)) {
			w.oidc = append(w.oidc, lower(s))
			continue
		}
		resource, permission := directory.Graph, s
		if i := strings.LastIndexByte(s, '/'); i >= 0 {
			resource, permission = s[:i], s[i+1:]
		}
		if resource == "" || permission == "" {
			return wish{}, malformedScope()
		}
		if w.resource != "" && w.resource != resource {
			return wish{}, severalResources()
		}
		w.resource = resource
		if permission == ".default" {
			w.all = true
		} else {
			w.scopes = append(w.scopes, permission)
		}
	}
	if w.all && len(w.scopes) > 0 {
		return wish{}, refuse(70011, "The provided value for the input parameter 'scope' isn't valid. .default scope can't be combined with resource-specific scopes.")
	}
	if w.resource == "" {
		w.resource = directory.Graph
	}
	return w, nil
}

func (w wish) has(oidc string) bool { return slices.Contains(w.oidc, oidc) }

// findResource returns the service that a token is for, as a front end knows
// it.
func (e *API) findResource(view directory.View, name string) (*directory.ServicePrincipal, error) {
	if family := cloudOf(name); family != "" && family != cloudFamily(e.Cloud.Hosts.Names.Cloud) {
		return nil, refuse(900382, "Confidential Client is not supported in Cross Cloud request.")
	}
	resource, ok := view.Resource(name)
	if !ok {
		return nil, refuse(500011, "The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.", origin.Printable(name), e.Directory.DisplayName)
	}
	if !resource.AccountEnabled {
		return nil, refuse(500014, "The service principal for resource '%s' is disabled.", origin.Printable(name))
	}
	return resource, nil
}

// cloudDomains are the domains under which the services of Microsoft's clouds
// have their App ID URIs. Both US government clouds share a token service.
var cloudDomains = map[string][]string{
	"public": {"microsoft.com", "office.com", "azure.com", "azure.net", "windows.net", "loganalytics.io", "applicationinsights.io"},
	"usgov":  {"microsoft.us", "office365.us", "usgovcloudapi.net", "apps.mil", "loganalytics.us", "applicationinsights.us"},
	"china":  {"chinacloudapi.cn", "azure.cn", "office365.cn"},
}

func cloudFamily(cloud string) string {
	if cloud == "usgovdod" {
		return "usgov"
	}
	return cloud
}

// cloudOf returns the cloud that a resource's name belongs to, or "" when that
// cannot be told from it.
func cloudOf(resource string) string {
	u, err := url.Parse(resource)
	if err != nil {
		return ""
	}
	host := lower(u.Hostname())
	for cloud, domains := range cloudDomains {
		if slices.ContainsFunc(domains, func(d string) bool { return strings.HasSuffix(host, "."+d) }) {
			return cloud
		}
	}
	return ""
}
