package emulator

import (
	"net/http"
	"net/url"
	"strings"
)

// serveConfiguration answers the OpenID configuration. Its addresses are of
// this origin, the issuer's too, because MSAL refuses an issuer of another host;
// the tenant in them is the GUID even when the path has the domain.
func (e *Emulator) serveConfiguration(w http.ResponseWriter, r *http.Request) {
	switch name := r.PathValue("tenant"); name {
	case "common", "organizations", "consumers":
		e.log.Warn("not emulated", "api", authorityAPI, "request", describe(r))
		e.refuseAuthority(w, r, failure{http.StatusNotImplemented, "The emulated tenant does not know the configuration of /" + name + "; use the tenant's ID."})
		return
	}
	if err := e.checkTenant(r.PathValue("tenant")); err != nil {
		e.writeRefusal(w, r, err)
		return
	}
	base := e.origins.Authority + "/" + e.tenant.ID
	v2 := strings.Contains(r.URL.Path, "/v2.0/")
	issuer, keys, oauth := e.tokenIssuer(), base+"/discovery/keys", base+"/oauth2/"
	if v2 {
		issuer, keys, oauth = base+"/v2.0", base+"/discovery/v2.0/keys", base+"/oauth2/v2.0/"
	}
	discoveryHeaders(w)
	writeJSON(w, http.StatusOK, map[string]any{
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
		"userinfo_endpoint":                     e.origins.Graph + "/oidc/userinfo",
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
		"cloud_instance_name":   "microsoftonline.com",
		"cloud_graph_host_name": "graph.windows.net",
		"msgraph_host":          strings.TrimPrefix(e.origins.Graph, "https://"),
		"rbac_url":              "https://pas.windows.net",
	})
}

// serveKeys answers the keys that tokens may be signed with. The v1 document
// does not name an issuer per key of its own; both are the same here.
func (e *Emulator) serveKeys(w http.ResponseWriter, r *http.Request) {
	if err := e.checkTenant(r.PathValue("tenant")); err != nil {
		e.writeRefusal(w, r, err)
		return
	}
	issuer := e.origins.Authority + "/" + e.tenant.ID + "/v2.0"
	var keys []map[string]any
	for _, k := range e.signing {
		keys = append(keys, k.jwk(issuer))
	}
	discoveryHeaders(w)
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

// publicAliases are the hosts of the public cloud's token service.
var publicAliases = []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"}

// serveInstance tells a client whether a token service that it was configured
// with is one of Microsoft's: this origin is, and so are the public cloud's
// hosts, for a client that comes through a proxy.
func (e *Emulator) serveInstance(w http.ResponseWriter, r *http.Request) {
	own := strings.TrimPrefix(e.origins.Authority, "https://")
	authorize, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	known := err == nil && authorize.Scheme == "https" && authorize.Host == own
	for _, alias := range publicAliases {
		known = known || err == nil && authorize.Scheme == "https" && authorize.Host == alias
	}
	name := ""
	if known {
		name, _, _ = strings.Cut(strings.TrimPrefix(authorize.Path, "/"), "/")
	}
	if name == "" {
		e.writeRefusal(w, r, refuse(50049, "Unknown or invalid instance."))
		return
	}
	discoveryHeaders(w)
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + authorize.Host + "/" + name + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []map[string]any{
			{"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net", "aliases": publicAliases},
			{"preferred_network": own, "preferred_cache": own, "aliases": []string{own}},
		},
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
