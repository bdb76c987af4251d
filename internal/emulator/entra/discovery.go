package entra

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// companions are the hosts, beside those of origin.Clouds, that a cloud's
// configuration names. [K] but for the public cloud
var companions = map[string]struct{ graph, rbac string }{
	"public": {"graph.windows.net", "https://pas.windows.net"},
	"usgov":  {"graph.microsoftazure.us", "https://pas.usgovcloudapi.net"},
	"china":  {"graph.chinacloudapi.cn", "https://pas.chinacloudapi.cn"},
}

// anyTenant stands for the tenant in documents that are not one tenant's.
const anyTenant = "{tenantid}"

// configuration answers the OpenID configuration. Its addresses are of this
// origin, the issuer's too, because MSAL refuses an issuer of another host; the
// tenant in them is the GUID even when the path has the domain.
func (e *API) configuration(v2 bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("tenant")
		if name == "consumers" {
			e.Cloud.Log.Warn("not emulated", "api", origin.Authority, "request", origin.Describe(r))
			e.refuseAuthority(w, r, origin.Failure{Status: http.StatusNotImplemented, Text: "The emulated tenant does not know the configuration of /consumers; use the tenant's ID."})
			return
		}
		if err := e.checkTenant(name, true); err != nil {
			e.writeRefusal(w, r, err)
			return
		}
		issuerOf := anyTenant
		if !namesNoTenant(name) {
			name, issuerOf = e.Directory.TenantID, e.Directory.TenantID
		}
		discoveryHeaders(w)
		origin.WriteJSON(w, http.StatusOK, e.configurationOf(r, name, issuerOf, v2))
	}
}

func (e *API) configurationOf(r *http.Request, name, issuerOf string, v2 bool) map[string]any {
	host := e.base(r)
	base := host + "/" + name
	issuer, keys, oauth := token.Issuer(issuerOf), base+"/discovery/keys", base+"/oauth2/"
	if v2 {
		issuer, keys, oauth = host+"/"+issuerOf+"/v2.0", base+"/discovery/v2.0/keys", base+"/oauth2/v2.0/"
	}
	companion := companions[cloudFamily(e.Cloud.Hosts.Names.Cloud)]
	return map[string]any{
		"token_endpoint":                        oauth + "token",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"jwks_uri":                              keys,
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"issuer":                                issuer,
		"request_uri_parameter_supported":       false,
		"userinfo_endpoint":                     e.Cloud.Hosts.Base(r, origin.Graph) + "/oidc/userinfo",
		"authorization_endpoint":                oauth + "authorize",
		"device_authorization_endpoint":         oauth + "devicecode",
		"http_logout_supported":                 true,
		"frontchannel_logout_supported":         true,
		"end_session_endpoint":                  oauth + "logout",
		"claims_supported": []string{
			"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name",
			"msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username",
			"name", "tid", "ver", "at_hash", "c_hash", "email",
		},
		"kerberos_endpoint":     base + "/kerberos",
		"tenant_region_scope":   "EU",
		"cloud_instance_name":   e.Cloud.Hosts.Names.Instance,
		"cloud_graph_host_name": companion.graph,
		"msgraph_host":          strings.TrimPrefix(e.Cloud.Hosts.Base(r, origin.Graph), "https://"),
		"rbac_url":              companion.rbac,
	}
}

// serveKeys answers the keys that tokens may be signed with. The v1 document
// does not name an issuer per key of its own; both are the same here.
func (e *API) serveKeys(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("tenant")
	if err := e.checkTenant(name, true); err != nil {
		e.writeRefusal(w, r, err)
		return
	}
	issuerOf := e.Directory.TenantID
	if namesNoTenant(name) {
		issuerOf = anyTenant
	}
	discoveryHeaders(w)
	origin.WriteJSON(w, http.StatusOK, map[string]any{"keys": e.Keys.JWKS(e.base(r)+"/"+issuerOf+"/v2.0", e.Cloud.Hosts.Names.Instance)})
}

// serveInstance tells a client whether a token service that it was configured
// with is one of Microsoft's: this origin is, and so are the hosts of all of
// Microsoft's clouds.
func (e *API) serveInstance(w http.ResponseWriter, r *http.Request) {
	own := strings.TrimPrefix(e.base(r), "https://")
	var metadata []map[string]any
	var known []string
	for _, cloud := range origin.Clouds {
		if slices.Contains(known, cloud.Authority[0]) {
			continue // Two clouds share a token service.
		}
		known = append(known, cloud.Authority...)
		metadata = append(metadata, map[string]any{
			"preferred_network": cloud.Authority[0], "preferred_cache": cloud.Authority[1], "aliases": cloud.Authority,
		})
	}
	if !slices.Contains(known, own) {
		known = append(known, own)
		metadata = append(metadata, map[string]any{"preferred_network": own, "preferred_cache": own, "aliases": []string{own}})
	}
	name := ""
	authorize, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err == nil && authorize.Scheme == "https" && slices.Contains(known, authorize.Host) {
		name, _, _ = strings.Cut(strings.TrimPrefix(authorize.Path, "/"), "/")
	}
	if name == "" {
		e.writeRefusal(w, r, refuse(50049, "Unknown or invalid instance."))
		return
	}
	discoveryHeaders(w)
	origin.WriteJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + authorize.Host + "/" + name + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata":                  metadata,
	})
}

func discoveryHeaders(w http.ResponseWriter) {
	entraHeaders(w)
	h := w.Header()
	h.Set("Cache-Control", "max-age=86400, private")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Del("Pragma")
	h.Del("Expires")
}
