package emulator

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// graph is as much of Microsoft Graph as signing in needs: to look at the
// application, its key credentials, its service principal and the organization.
func (e *Emulator) graph() api {
	return api{
		name:    graphAPI,
		handler: http.HandlerFunc(e.serveGraph),
		operation: func(r *http.Request) string {
			set, id, ok := graphPath(r.URL.EscapedPath())
			if !ok || r.Method != http.MethodGet || graphOptions(r.URL.Query()) != nil {
				return ""
			}
			if id != "" {
				return strings.TrimSuffix(set, "s")
			}
			return set
		},
		refuse: e.refuseGraph,
	}
}

// graphSet says for a set of Graph its type, and which roles let an application
// read it: any one is enough.
type graphSet struct {
	kind  string
	roles []string
}

var graphSets = map[string]graphSet{
	"applications":      {"application", []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All"}},
	"servicePrincipals": {"servicePrincipal", []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All"}},
	"organization":      {"organization", []string{"Organization.Read.All", "Directory.Read.All"}},
}

var (
	alternateKey = regexp.MustCompile(`^([A-Za-z]+)\(appId='([^']*)'\)$`)
	equality     = regexp.MustCompile(`^\s*(appId|displayName)\s+eq\s+'((?:[^']|'')*)'\s*$`)
)

// graphPath takes a path to a set, or to an object by its object ID or its
// client ID, apart. The client ID comes back as "appId=" and itself.
func graphPath(path string) (set, id string, ok bool) {
	path, ok = strings.CutPrefix(path, "/v1.0/")
	if !ok {
		return "", "", false
	}
	set, id, hasID := strings.Cut(path, "/")
	set, err := url.PathUnescape(set)
	if err != nil {
		return "", "", false
	}
	if m := alternateKey.FindStringSubmatch(set); m != nil && !hasID && m[1] != "organization" {
		set, id, hasID = m[1], "appId="+m[2], true
	}
	if _, known := graphSets[set]; !known || hasID && (id == "" || strings.Contains(id, "/")) {
		return "", "", false
	}
	return set, id, true
}

// graphOptions refuses query options that are not emulated.
func graphOptions(q url.Values) error {
	for name := range q {
		if name != "$filter" && name != "$select" {
			return fmt.Errorf("the query option %s is not emulated", name)
		}
	}
	if f := q.Get("$filter"); q.Has("$filter") && !equality.MatchString(f) {
		return errors.New("this $filter is not emulated")
	}
	return nil
}

func (e *Emulator) serveGraph(w http.ResponseWriter, r *http.Request) {
	set, id, _ := graphPath(r.URL.EscapedPath())
	if !e.mayGraph(w, r, graphSets[set]) {
		return
	}
	objects := e.graphObjects(set, id != "")
	if id != "" {
		objects = slices.DeleteFunc(objects, func(o map[string]any) bool {
			clientID, byClientID := strings.CutPrefix(id, "appId=")
			return byClientID && !isText(o["appId"], clientID) || !byClientID && !isText(o["id"], id)
		})
		if len(objects) == 0 {
			e.writeGraphError(w, r, http.StatusNotFound, "Request_ResourceNotFound",
				"Resource '"+printable(strings.TrimPrefix(id, "appId="))+"' does not exist or one of its queried reference-property objects are not present.")
			return
		}
	}
	if m := equality.FindStringSubmatch(r.URL.Query().Get("$filter")); m != nil {
		if id != "" || set == "organization" {
			e.writeGraphError(w, r, http.StatusBadRequest, "Request_UnsupportedQuery", "Query option 'Filter' is not allowed here.")
			return
		}
		value := strings.ReplaceAll(m[2], "''", "'")
		objects = slices.DeleteFunc(objects, func(o map[string]any) bool { return !isText(o[m[1]], value) })
	}
	context := e.origins.Graph + "/v1.0/$metadata#" + set
	if names := r.URL.Query().Get("$select"); names != "" {
		for i := range objects {
			selected, unknown := selectProperties(objects[i], names)
			if unknown != "" {
				e.writeGraphError(w, r, http.StatusBadRequest, "Request_BadRequest",
					fmt.Sprintf("Could not find a property named '%s' on type 'microsoft.graph.%s'.", printable(unknown), graphSets[set].kind))
				return
			}
			objects[i] = selected
		}
		context += "(" + names + ")"
	}
	graphHeaders(w, r)
	if id != "" {
		objects[0]["@odata.context"] = context + "/$entity"
		writeJSON(w, http.StatusOK, objects[0])
		return
	}
	if objects == nil {
		objects = []map[string]any{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"@odata.context": context, "value": objects})
}

// mayGraph checks the token and the roles, and answers when they do not do.
func (e *Emulator) mayGraph(w http.ResponseWriter, r *http.Request, set graphSet) bool {
	c, err := e.authenticate(r)
	message := ""
	switch {
	case errors.Is(err, errNoToken):
		message = "Access token is empty."
	case errors.Is(err, errTokenExpired):
		message = "Lifetime validation failed, the token is expired."
	case err != nil:
		message = "Access token validation failure: " + err.Error() + "."
	case strings.TrimSuffix(c.Audience, "/") != "https://graph.microsoft.com" && c.Audience != tenant.Graph:
		message = "Access token validation failure. Invalid audience."
	}
	if message != "" {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="", authorization_uri="%s/common/oauth2/authorize", client_id="%s"`, e.origins.Authority, tenant.Graph))
		e.writeGraphError(w, r, http.StatusUnauthorized, "InvalidAuthenticationToken", message)
		return false
	}
	if !slices.ContainsFunc(set.roles, func(role string) bool { return slices.Contains(c.Roles, role) }) {
		e.writeGraphError(w, r, http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
		return false
	}
	return true
}

func isText(v any, s string) bool {
	text, ok := v.(string)
	return ok && strings.EqualFold(text, s)
}

// selectProperties returns the properties of o that a $select names, and the
// first name that is none. The public key of a key credential appears for
// $select on a single object alone, which is why it is kept apart in o.
func selectProperties(o map[string]any, names string) (selected map[string]any, unknown string) {
	selected = map[string]any{}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		v, ok := o[name]
		if !ok || strings.HasPrefix(name, "@") {
			return nil, name
		}
		if with, ok := v.(keyCredentials); ok && with.single {
			v = with.json(true)
		}
		selected[name] = v
	}
	return selected, ""
}

// graphObjects returns the objects of a set with all the properties that are
// emulated. single says that one is asked for and not a list.
func (e *Emulator) graphObjects(set string, single bool) (objects []map[string]any) {
	switch set {
	case "applications":
		for _, a := range e.tenant.Applications() {
			objects = append(objects, map[string]any{
				"id": a.ObjectID, "appId": a.ClientID, "displayName": a.DisplayName,
				"createdDateTime": a.CreatedAt.UTC().Format(time.RFC3339), "deletedDateTime": nil,
				"identifierUris": []string{}, "publisherDomain": e.tenant.Domain, "signInAudience": "AzureADMyOrg",
				"disabledByMicrosoftStatus": nil, "tags": []string{}, "appRoles": []any{},
				"keyCredentials":         keyCredentials{a.KeyCredentials, single},
				"passwordCredentials":    passwordCredentials(a.PasswordCredentials),
				"requiredResourceAccess": resourceAccess(a.RequiredResourceAccess),
			})
		}
	case "servicePrincipals":
		for _, p := range e.tenant.ServicePrincipals() {
			objects = append(objects, map[string]any{
				"id": p.ObjectID, "appId": p.ClientID, "displayName": p.DisplayName, "appDisplayName": p.DisplayName,
				"createdDateTime": p.CreatedAt.UTC().Format(time.RFC3339), "deletedDateTime": nil,
				"accountEnabled": !p.Disabled, "servicePrincipalType": p.Type,
				"servicePrincipalNames": append([]string{}, p.Names...), "tags": []string{},
				"appRoles":            appRoles(p.AppRoles),
				"keyCredentials":      keyCredentials{p.KeyCredentials, single},
				"passwordCredentials": passwordCredentials(p.PasswordCredentials),
			})
		}
	case "organization":
		objects = append(objects, map[string]any{
			"id": e.tenant.ID, "displayName": e.tenant.DisplayName, "deletedDateTime": nil,
			"countryLetterCode": "DE", "tenantType": "AAD",
			"verifiedDomains": []map[string]any{
				{"name": e.tenant.Domain, "isDefault": true, "isInitial": true, "type": "Managed", "capabilities": "Email, OfficeCommunicationsOnline"},
			},
		})
	}
	return objects
}

// keyCredentials are written without the certificates themselves, unless they
// were selected on a single object.
type keyCredentials struct {
	keys   []tenant.KeyCredential
	single bool
}

func (k keyCredentials) MarshalJSON() ([]byte, error) { return json.Marshal(k.json(false)) }

func (k keyCredentials) json(withKey bool) []map[string]any {
	all := []map[string]any{}
	for _, c := range k.keys {
		one := map[string]any{
			"keyId": c.KeyID, "displayName": c.DisplayName, "type": c.Type, "usage": c.Usage,
			"customKeyIdentifier": base64.StdEncoding.EncodeToString(c.CustomKeyIdentifier),
			"startDateTime":       c.Start.UTC().Format(time.RFC3339), "endDateTime": c.End.UTC().Format(time.RFC3339),
			"key": nil,
		}
		if withKey {
			one["key"] = base64.StdEncoding.EncodeToString(c.Certificate)
		}
		all = append(all, one)
	}
	return all
}

func passwordCredentials(passwords []tenant.PasswordCredential) []map[string]any {
	all := []map[string]any{}
	for _, p := range passwords {
		all = append(all, map[string]any{
			"keyId": p.KeyID, "hint": p.Hint, "displayName": nil, "secretText": nil, "customKeyIdentifier": nil,
			"startDateTime": p.Start.UTC().Format(time.RFC3339), "endDateTime": p.End.UTC().Format(time.RFC3339),
		})
	}
	return all
}

func resourceAccess(access []tenant.ResourceAccess) []map[string]any {
	all := []map[string]any{}
	for _, a := range access {
		roles := []map[string]any{}
		for _, role := range a.Roles {
			roles = append(roles, map[string]any{"id": role, "type": "Role"})
		}
		all = append(all, map[string]any{"resourceAppId": a.ResourceClientID, "resourceAccess": roles})
	}
	return all
}

func appRoles(roles []tenant.AppRole) []map[string]any {
	all := []map[string]any{}
	for _, r := range roles {
		all = append(all, map[string]any{
			"id": r.ID, "value": r.Value, "displayName": r.Value, "description": r.Value,
			"isEnabled": true, "allowedMemberTypes": []string{"Application"},
		})
	}
	return all
}

func graphHeaders(w http.ResponseWriter, r *http.Request) (requestID, clientRequestID string) {
	requestID = uuid.NewString()
	clientRequestID = r.Header.Get("client-request-id")
	if !isGUID(clientRequestID) {
		clientRequestID = requestID
	}
	h := w.Header()
	h.Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("request-id", requestID)
	h.Set("client-request-id", clientRequestID)
	h.Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Emulated","Slice":"E","Ring":"0","ScaleUnit":"000","RoleInstance":"REEVE"}}`)
	h.Set("x-ms-resource-unit", "1")
	h.Set("OData-Version", "4.0")
	return requestID, clientRequestID
}

func (e *Emulator) writeGraphError(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	requestID, clientRequestID := graphHeaders(w, r)
	writeJSON(w, status, map[string]any{"error": map[string]any{
		"code": code, "message": message,
		"innerError": map[string]any{
			"date":       e.tenant.Now().UTC().Format("2006-01-02T15:04:05"),
			"request-id": requestID, "client-request-id": clientRequestID,
		},
	}})
}

func (e *Emulator) refuseGraph(w http.ResponseWriter, r *http.Request, f failure) {
	code := "generalException"
	switch f.status {
	case http.StatusTooManyRequests:
		code = "TooManyRequests"
	case http.StatusServiceUnavailable:
		code = "serviceNotAvailable"
	case http.StatusNotImplemented:
		code = "notImplemented"
	}
	e.writeGraphError(w, r, f.status, code, f.text)
}
