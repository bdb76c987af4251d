// Package resources is the part of Azure Resource Manager that is about the
// tenant's one subscription, the vault in it, and who may do what with both:
// what the Azure CLI asks when it signs in, and what giving an application access
// to the vault takes.
//
// Without a role in the subscription a caller does not see it; what a role allows
// is in roles.go. What Resource Manager says of a token that it refuses is [K].
package resources

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// API serves the subscription.
type API struct {
	Cloud          *origin.Cloud
	Tokens         *token.Reader
	Directory      *directory.Directory
	Vault          *keyvault.Vault
	SubscriptionID string
}

// group is the resource group that the vault is in, place the region of both.
const (
	group = "reeve"
	place = "westeurope"
)

// audiences are what a token for Resource Manager is for, besides its hosts:
// what the older service management API is called.
var audiences = []string{
	"https://management.core.windows.net", "https://management.core.usgovcloudapi.net",
	"https://management.core.chinacloudapi.cn", "797f4846-ba00-4fd7-ba43-dac1f8f63013",
}

// apiVersion is a version of Resource Manager's.
var apiVersion = regexp.MustCompile(`^20[0-9]{2}-[01][0-9]-[0-3][0-9](-preview)?$`)

// refusal is an answer of Resource Manager that is an error.
type refusal struct {
	status     int
	code, text string
}

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

// request is a request whose route is known and whose caller is, too.
type request struct {
	*API
	r      *http.Request
	caller token.Caller
	parts  map[string]string // of the path, by the names of the route's pattern
	// version is the api-version.
	version string
}

// answer is a status and what is written as JSON, unless it is nil.
type answer struct {
	status int
	body   any
}

// route is one operation. Paths tell no case apart.
type route struct {
	name, method, request, source string
	path                          *regexp.Regexp
	serve                         func(*request) (answer, *refusal)
}

// Pieces of paths.
const (
	inSubscription = `/subscriptions/(?P<subscription>[^/]+)`
	inGroup        = inSubscription + `/resourceGroups/(?P<group>[^/]+)`
	vaultsIn       = `/providers/Microsoft\.KeyVault/vaults`
	atScope        = `(?P<scope>/subscriptions/[^/]+(?:/resourceGroups/[^/]+(?:/providers/[^/]+/[^/]+/[^/]+)?)?)/providers/Microsoft\.Authorization`
)

// Where the operations are documented.
const (
	resourcesPage     = "https://learn.microsoft.com/rest/api/resources/"
	vaultsPage        = "https://learn.microsoft.com/rest/api/keyvault/keyvault/vaults/"
	authorizationPage = "https://learn.microsoft.com/rest/api/authorization/"
)

var routes = []route{
	{name: "subscriptions", method: "GET", request: "/subscriptions", source: resourcesPage + "subscriptions/list",
		path: path(`/subscriptions`), serve: (*request).listSubscriptions},
	{name: "tenants", method: "GET", request: "/tenants", source: resourcesPage + "tenants/list",
		path: path(`/tenants`), serve: (*request).listTenants},
	{name: "subscription", method: "GET", request: "/subscriptions/{id}", source: resourcesPage + "subscriptions/get",
		path: path(inSubscription), serve: (*request).getSubscription},
	{name: "resources", method: "GET", request: "/subscriptions/{id}/resources", source: vaultsPage + "list",
		path: path(inSubscription + `/resources`), serve: (*request).listResources},
	{name: "vaults", method: "GET", request: "/subscriptions/{id}/providers/Microsoft.KeyVault/vaults", source: vaultsPage + "list-by-subscription",
		path: path(inSubscription + vaultsIn), serve: (*request).listVaults},
	{name: "vaults", method: "GET", request: "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults", source: vaultsPage + "list-by-resource-group",
		path: path(inGroup + vaultsIn), serve: (*request).listVaults},
	{name: "vault", method: "GET", request: "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}", source: vaultsPage + "get",
		path: path(inGroup + vaultsIn + `/(?P<vault>[^/]+)`), serve: (*request).getVault},
	{name: "updateAccessPolicy", method: "PUT", request: "/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}/accessPolicies/{operationKind}", source: vaultsPage + "update-access-policy",
		path: path(inGroup + vaultsIn + `/(?P<vault>[^/]+)/accessPolicies/(?P<kind>[^/]+)`), serve: (*request).updateAccessPolicy},
	{name: "roleAssignments", method: "GET", request: "/{scope}/providers/Microsoft.Authorization/roleAssignments", source: authorizationPage + "role-assignments/list-for-scope",
		path: path(atScope + `/roleAssignments`), serve: (*request).listAssignments},
	{name: "roleDefinitions", method: "GET", request: "/{scope}/providers/Microsoft.Authorization/roleDefinitions", source: authorizationPage + "role-definitions/list",
		path: path(atScope + `/roleDefinitions`), serve: (*request).listRoles},
	{name: "roleAssignment", method: "GET", request: assignment, source: authorizationPage + "role-assignments/get",
		path: path(atScope + `/roleAssignments/(?P<name>[^/]+)`), serve: (*request).getAssignment},
	{name: "createRoleAssignment", method: "PUT", request: assignment, source: authorizationPage + "role-assignments/create",
		path: path(atScope + `/roleAssignments/(?P<name>[^/]+)`), serve: (*request).createAssignment},
	{name: "deleteRoleAssignment", method: "DELETE", request: assignment, source: authorizationPage + "role-assignments/delete",
		path: path(atScope + `/roleAssignments/(?P<name>[^/]+)`), serve: (*request).deleteAssignment},
}

const assignment = "/{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"

func path(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?i)^` + pattern + `/?$`) }

// match finds the route of a request and the parts of its path.
func match(r *http.Request) (*route, map[string]string) {
	for i := range routes {
		rt := &routes[i]
		if rt.method != r.Method {
			continue
		}
		if m := rt.path.FindStringSubmatch(r.URL.Path); m != nil {
			parts := map[string]string{}
			for i, name := range rt.path.SubexpNames() {
				if name != "" {
					parts[name] = m[i]
				}
			}
			return rt, parts
		}
	}
	return nil, nil
}

// Origin returns the API as it is served.
func (e *API) Origin() origin.API {
	var all []origin.Operation
	for _, rt := range routes {
		all = append(all, origin.Operation{Name: rt.name, Request: rt.method + " " + rt.request, Source: rt.source})
	}
	return origin.API{
		Name:    origin.Resources,
		Handler: http.HandlerFunc(e.serve),
		Operation: func(r *http.Request) string {
			if rt, _ := match(r); rt != nil {
				return rt.name
			}
			return ""
		},
		Operations: all,
		Refuse: func(w http.ResponseWriter, _ *http.Request, f origin.Failure) {
			code := map[int]string{
				http.StatusNotImplemented: "NotImplemented", http.StatusTooManyRequests: "TooManyRequests",
				http.StatusServiceUnavailable: "ServiceUnavailable",
			}[f.Status]
			if code == "" {
				code = "InternalServerError"
			}
			write(w, &refusal{f.Status, code, f.Text})
		},
	}
}

func (e *API) serve(w http.ResponseWriter, r *http.Request) {
	c, err := e.Tokens.Read(r)
	if err == nil {
		names := append(e.Cloud.Hosts.Bases(origin.Resources), audiences...)
		if !slices.Contains(names, strings.TrimRight(c.Audience, "/")) {
			err = errors.New("the access token is for " + origin.Printable(c.Audience))
		}
	}
	rt, parts := match(r)
	version := r.URL.Query().Get("api-version")
	switch {
	case err != nil:
		w.Header().Set("WWW-Authenticate", `Bearer authorization_uri="`+e.Cloud.Hosts.Base(r, origin.Authority)+"/"+e.Directory.TenantID+`", error="invalid_token"`)
		write(w, refuse(http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed: %s.", err))
		return
	case version == "":
		write(w, refuse(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."))
		return
	case !apiVersion.MatchString(version):
		write(w, refuse(http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version '%s' is invalid.", origin.Printable(version)))
		return
	}
	a, refused := rt.serve(&request{e, r, c, parts, strings.TrimSuffix(version, "-preview")})
	switch {
	case refused != nil:
		write(w, refused)
	case a.body == nil:
		w.WriteHeader(a.status)
	default:
		origin.WriteJSON(w, a.status, a.body)
	}
}

func write(w http.ResponseWriter, f *refusal) {
	origin.WriteJSON(w, f.status, map[string]any{"error": map[string]string{"code": f.code, "message": f.text}})
}

func ok(body any) (answer, *refusal) { return answer{http.StatusOK, body}, nil }

func list(all []any) (answer, *refusal) {
	if all == nil {
		all = []any{}
	}
	return ok(map[string]any{"value": all})
}

func (q *request) listTenants() (answer, *refusal) {
	d := q.Directory
	return list([]any{map[string]any{
		"id": "/tenants/" + d.TenantID, "tenantId": d.TenantID, "tenantCategory": "Home",
		"displayName": d.DisplayName, "defaultDomain": d.Domain, "domains": []string{d.Domain},
	}})
}

// listSubscriptions lists the subscription to those who have any role in it.
func (q *request) listSubscriptions() (answer, *refusal) {
	if len(q.held("")) == 0 {
		return list(nil)
	}
	return list([]any{q.subscription()})
}

func (q *request) getSubscription() (answer, *refusal) {
	if err := q.find(); err != nil {
		return answer{}, err
	}
	if len(q.held("")) == 0 {
		return answer{}, q.denied("Microsoft.Resources/subscriptions/read", q.root())
	}
	return ok(q.subscription())
}

func (q *request) subscription() map[string]any {
	return map[string]any{
		"id": q.root(), "subscriptionId": q.SubscriptionID, "tenantId": q.Directory.TenantID, "displayName": q.Directory.DisplayName,
		"state": "Enabled", "authorizationSource": "RoleBased", "managedByTenants": []any{},
		"subscriptionPolicies": map[string]any{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
	}
}

// root is the scope of the subscription, groupScope that of the resource group,
// vaultScope that of the vault.
func (e *API) root() string       { return "/subscriptions/" + e.SubscriptionID }
func (e *API) groupScope() string { return e.root() + "/resourceGroups/" + group }
func (e *API) vaultScope() string {
	return e.groupScope() + "/providers/Microsoft.KeyVault/vaults/" + e.Vault.Name
}

// find refuses a path that names what is not there.
func (q *request) find() *refusal {
	p := q.parts
	switch {
	case !strings.EqualFold(p["subscription"], q.SubscriptionID):
		return refuse(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", origin.Printable(p["subscription"]))
	case p["group"] != "" && !strings.EqualFold(p["group"], group):
		return refuse(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", origin.Printable(p["group"]))
	case p["vault"] != "" && !strings.EqualFold(p["vault"], q.Vault.Name):
		return refuse(http.StatusNotFound, "ResourceNotFound", "The Resource 'Microsoft.KeyVault/vaults/%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
			origin.Printable(p["vault"]), group)
	}
	return nil
}
