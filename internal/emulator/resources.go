package emulator

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// resources is Azure Resource Manager as far as the Azure CLI asks it when it
// signs in: which tenants and subscriptions there are for the caller. There is
// this tenant, and it has no subscription.
//
// What Resource Manager says of a token that it refuses is [K].
type resources struct {
	*Emulator
	tokens *token.Reader
}

const (
	subscriptionsPath = "/subscriptions"
	tenantsPath       = "/tenants"
	resourcesDocument = "https://learn.microsoft.com/rest/api/resources/"
)

// resourceAudiences are what a token for Resource Manager is for, besides its
// hosts: what the older service management API is called.
var resourceAudiences = []string{
	"https://management.core.windows.net", "https://management.core.usgovcloudapi.net",
	"https://management.core.chinacloudapi.cn", "797f4846-ba00-4fd7-ba43-dac1f8f63013",
}

// resourceVersion is a version of Resource Manager's.
var resourceVersion = regexp.MustCompile(`^20[0-9]{2}-[01][0-9]-[0-3][0-9](-preview)?$`)

func (e resources) Origin() origin.API {
	return origin.API{
		Name:    origin.Resources,
		Handler: http.HandlerFunc(e.serve),
		Operation: func(r *http.Request) string {
			path := strings.TrimSuffix(strings.ToLower(r.URL.Path), "/")
			if r.Method == http.MethodGet && (path == subscriptionsPath || path == tenantsPath) {
				return path[1:]
			}
			return ""
		},
		Operations: []origin.Operation{
			{Name: "subscriptions", Request: "GET " + subscriptionsPath, Source: resourcesDocument + "subscriptions/list"},
			{Name: "tenants", Request: "GET " + tenantsPath, Source: resourcesDocument + "tenants/list"},
		},
		Refuse: func(w http.ResponseWriter, _ *http.Request, f origin.Failure) {
			code := map[int]string{
				http.StatusNotImplemented: "NotImplemented", http.StatusTooManyRequests: "TooManyRequests",
				http.StatusServiceUnavailable: "ServiceUnavailable",
			}[f.Status]
			if code == "" {
				code = "InternalServerError"
			}
			writeResourcesError(w, f.Status, code, f.Text)
		},
	}
}

func (e resources) serve(w http.ResponseWriter, r *http.Request) {
	c, err := e.tokens.Read(r)
	if err == nil {
		names := append(e.cloud.Hosts.Bases(origin.Resources), resourceAudiences...)
		if !slices.Contains(names, strings.TrimRight(c.Audience, "/")) {
			err = errors.New("the access token is for " + origin.Printable(c.Audience))
		}
	}
	version := r.URL.Query().Get("api-version")
	switch {
	case err != nil:
		w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="`+e.cloud.Hosts.Base(r, origin.Authority)+"/"+e.tenant.ID+`", error="invalid_token"`)
		writeResourcesError(w, http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed: "+err.Error()+".")
	case version == "":
		writeResourcesError(w, http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	case !resourceVersion.MatchString(version):
		writeResourcesError(w, http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version '"+origin.Printable(version)+"' is invalid.")
	case strings.EqualFold(strings.TrimSuffix(r.URL.Path, "/"), tenantsPath):
		origin.WriteJSON(w, http.StatusOK, map[string]any{"value": []any{map[string]any{
			"id": tenantsPath + "/" + e.tenant.ID, "tenantId": e.tenant.ID, "tenantCategory": "Home",
			"displayName": e.tenant.DisplayName, "defaultDomain": e.tenant.Domain, "domains": []string{e.tenant.Domain},
		}}})
	default:
		origin.WriteJSON(w, http.StatusOK, map[string]any{"value": []any{}})
	}
}

func writeResourcesError(w http.ResponseWriter, status int, code, text string) {
	origin.WriteJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": text}})
}
