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

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// authority is Entra's token service, as far as applications that sign in as
// themselves need it.
func (e *Emulator) authority() api {
	mux := http.NewServeMux()
	mux.HandleFunc("/{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) { e.serveToken(w, r, true) })
	mux.HandleFunc("/{tenant}/oauth2/token", func(w http.ResponseWriter, r *http.Request) { e.serveToken(w, r, false) })
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", e.serveConfiguration)
	mux.HandleFunc("GET /{tenant}/.well-known/openid-configuration", e.serveConfiguration)
	mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", e.serveKeys)
	mux.HandleFunc("GET /{tenant}/discovery/keys", e.serveKeys)
	mux.HandleFunc("GET /common/discovery/instance", e.serveInstance)
	return api{
		name:    authorityAPI,
		handler: mux,
		operation: func(r *http.Request) string {
			_, pattern := mux.Handler(r)
			switch {
			case strings.HasSuffix(pattern, "/token"):
				return "token"
			case strings.HasSuffix(pattern, "/openid-configuration"):
				return "configuration"
			case strings.HasSuffix(pattern, "keys"):
				return "keys"
			case strings.HasSuffix(pattern, "/instance"):
				return "instance"
			}
			return ""
		},
		refuse: e.refuseAuthority,
	}
}

// refusal is an answer of Entra that is not a token. Microsoft documents the
// numbers and asks clients to match on nothing else; the texts change.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return fmt.Sprintf("AADSTS%d: %s", r.code, r.text) }

func refuse(code int, format string, a ...any) error {
	return &refusal{code, fmt.Sprintf(format, a...)}
}

// refusals lists the OAuth error and the HTTP status of every AADSTS number
// that this token service gives.
var refusals = map[int]struct {
	name   string
	status int
}{
	50012:   {"invalid_client", 401},
	50027:   {"invalid_request", 400},
	50049:   {"invalid_instance", 400},
	50059:   {"invalid_request", 400},
	70003:   {"unsupported_grant_type", 400},
	70011:   {"invalid_scope", 400},
	90002:   {"invalid_request", 400},
	90014:   {"invalid_request", 400},
	90033:   {"temporarily_unavailable", 503},
	90055:   {"temporarily_unavailable", 429},
	500011:  {"invalid_resource", 400},
	500014:  {"invalid_resource", 400},
	700016:  {"unauthorized_client", 400},
	700021:  {"invalid_client", 401},
	700022:  {"invalid_scope", 400},
	700023:  {"invalid_client", 401},
	700024:  {"invalid_client", 401},
	700026:  {"invalid_client", 401},
	700027:  {"invalid_client", 401},
	900023:  {"invalid_request", 400},
	900144:  {"invalid_request", 400},
	900561:  {"invalid_request", 405},
	901002:  {"invalid_request", 400},
	1002012: {"invalid_scope", 400},
	5002723: {"invalid_client", 401},
	5002738: {"invalid_client", 401},
	7000112: {"unauthorized_client", 400},
	7000215: {"invalid_client", 401},
	7000216: {"invalid_client", 401},
	7000218: {"invalid_client", 401},
	7000222: {"invalid_client", 401},
	7000229: {"invalid_client", 401},
	9001023: {"invalid_request", 400},
	9002313: {"invalid_request", 400},
}

// serveToken answers the token endpoints, of which v2 names what it wants by
// scope and v1 by resource.
func (e *Emulator) serveToken(w http.ResponseWriter, r *http.Request, v2 bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		e.writeRefusal(w, r, refuse(900561, "The endpoint only accepts POST requests. Received a %s request.", r.Method))
		return
	}
	if err := r.ParseForm(); err != nil {
		e.writeRefusal(w, r, refuse(9002313, "Invalid request. Request is malformed or invalid."))
		return
	}
	if grant := r.PostForm.Get("grant_type"); slices.Contains(notEmulatedGrants, grant) {
		e.log.Warn("not emulated", "api", authorityAPI, "grant_type", grant)
		e.refuseAuthority(w, r, failure{http.StatusNotImplemented, "The emulated tenant does not know the grant type " + grant + "."})
		return
	}
	want, err := e.readTokenRequest(r, v2)
	if err != nil {
		e.writeRefusal(w, r, err)
		return
	}
	e.writeToken(w, r, want, v2)
}

// notEmulatedGrants are grants that Entra knows and this token service does
// not. They are for people who sign in; here only applications do.
var notEmulatedGrants = []string{
	"authorization_code", "refresh_token", "password", "device_code",
	"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:jwt-bearer",
	"urn:ietf:params:oauth:grant-type:saml2-bearer",
}

// tokenRequest is what a token is asked for, once all was found to be in order.
type tokenRequest struct {
	principal tenant.ServicePrincipal // who asks
	resource  tenant.ServicePrincipal // for what
	audience  string                  // by which name
	method    string                  // how it proved who it is, as appidacr says it
	cae       bool                    // the client understands continuous access evaluation
}

// Values of appidacr.
const (
	bySecret      = "1"
	byCertificate = "2"
)

// readTokenRequest checks a request for a token. Microsoft documents no order
// of the checks; this one goes from the form to the client and its credential,
// and then to the resource.
func (e *Emulator) readTokenRequest(r *http.Request, v2 bool) (tokenRequest, error) {
	form := r.PostForm
	if err := e.checkTenant(r.PathValue("tenant")); err != nil {
		return tokenRequest{}, err
	}
	switch grant := form.Get("grant_type"); grant {
	case "client_credentials":
	case "":
		return tokenRequest{}, missingParameter("grant_type")
	default:
		return tokenRequest{}, refuse(70003, "The app requested an unsupported grant type '%s'.", printable(grant))
	}
	clientID, secret, err := clientCredentials(r)
	if err != nil {
		return tokenRequest{}, err
	}
	resourceName, err := requestedResource(form, v2)
	if err != nil {
		return tokenRequest{}, err
	}
	app, principal, err := e.findClient(clientID)
	if err != nil {
		return tokenRequest{}, err
	}
	method, err := e.authenticateClient(r, app, principal, secret, v2)
	if err != nil {
		return tokenRequest{}, err
	}
	resource, ok := e.tenant.Resource(resourceName)
	if !ok {
		return tokenRequest{}, refuse(500011, "The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.", printable(resourceName), e.tenant.DisplayName)
	}
	if resource.Disabled {
		return tokenRequest{}, refuse(500014, "The service principal for resource '%s' is disabled.", printable(resourceName))
	}
	return tokenRequest{
		principal: principal, resource: resource, audience: resourceName, method: method,
		cae: asksForCAE(form.Get("claims")),
	}, nil
}

var domainName = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$`)

// checkTenant checks the name of the tenant in a path: its GUID or its domain.
func (e *Emulator) checkTenant(name string) error {
	switch {
	case strings.EqualFold(name, e.tenant.ID), strings.EqualFold(name, e.tenant.Domain):
		return nil
	case name == "common", name == "consumers":
		return refuse(9001023, "The grant type is not supported over the /common or /consumers endpoints. Please use a tenant-specific endpoint.")
	case name == "organizations":
		return refuse(50059, "No tenant-identifying information found in either the request or implied by any provided credentials.")
	case isGUID(name), domainName.MatchString(name):
		return refuse(90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", name)
	}
	return refuse(900023, "Specified tenant identifier '%s' is neither a valid DNS name, nor a valid external domain.", printable(name))
}

func isGUID(s string) bool {
	return len(s) == 36 && uuid.Validate(s) == nil
}

// clientCredentials reads the client ID and a client secret from the body, or
// from HTTP Basic, whose two halves RFC 6749 wants form-encoded.
func clientCredentials(r *http.Request) (clientID, secret string, err error) {
	clientID, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		if user, err = url.QueryUnescape(user); err == nil {
			password, err = url.QueryUnescape(password)
		}
		if err != nil {
			return "", "", refuse(9002313, "Invalid request. The Authorization header is malformed.")
		}
		if clientID == "" {
			clientID = user
		}
		if secret == "" && clientID == user {
			secret = password
		}
	}
	if clientID == "" {
		return "", "", missingParameter("client_id")
	}
	return clientID, secret, nil
}

func missingParameter(name string) error {
	return refuse(900144, "The request body must contain the following parameter: '%s'.", name)
}

// requestedResource returns the one resource that a token is asked for, as the
// request spells it.
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

func resourceOfScope(scope string) (string, error) {
	if scope == "" {
		return "", missingParameter("scope")
	}
	resource, other := "", ""
	for s := range strings.FieldsSeq(scope) {
		if !scopeToken.MatchString(s) {
			return "", refuse(70011, "The provided value for the input parameter 'scope' isn't valid.")
		}
		r, isDefault := strings.CutSuffix(s, "/.default")
		switch {
		case isDefault && resource != "" && r != resource:
			return "", refuse(700022, "The provided value for the input parameter 'scope' is not valid because it contains more than one resource.")
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
		return "", refuse(1002012, "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", printable(other))
	}
	return resource, nil
}

// findClient returns the application that signs in and its service principal.
func (e *Emulator) findClient(clientID string) (app tenant.Application, sp tenant.ServicePrincipal, err error) {
	app, ok := e.tenant.Application(clientID)
	if !ok {
		return app, sp, refuse(700016, "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", printable(clientID), e.tenant.DisplayName)
	}
	sp, ok = e.tenant.ServicePrincipal(clientID)
	if !ok {
		return app, sp, refuse(7000229, "The client application %s is missing service principal in the tenant %s.", app.ClientID, e.tenant.ID)
	}
	if app.Disabled || sp.Disabled {
		return app, sp, refuse(7000112, "Application '%s'(%s) is disabled.", app.ClientID, app.DisplayName)
	}
	return app, sp, nil
}

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticateClient checks that the request comes from the application, and
// returns how it showed that.
func (e *Emulator) authenticateClient(r *http.Request, app tenant.Application, sp tenant.ServicePrincipal, secret string, v2 bool) (method string, err error) {
	form := r.PostForm
	switch {
	case form.Get("client_assertion") != "":
		switch form.Get("client_assertion_type") {
		case jwtBearer:
			return byCertificate, e.checkAssertion(form.Get("client_assertion"), app, sp)
		case "":
			return "", missingParameter("client_assertion_type")
		}
	case secret != "":
		return bySecret, e.checkSecret(secret, app, sp)
	}
	// Both numbers are seen for this; which of them when is not documented.
	if v2 {
		return "", refuse(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	}
	return "", refuse(7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
}

func (e *Emulator) checkSecret(secret string, app tenant.Application, sp tenant.ServicePrincipal) error {
	now, known := e.tenant.Now(), false
	for _, p := range append(app.PasswordCredentials, sp.PasswordCredentials...) {
		if !p.Is(secret) {
			continue
		}
		if now.Before(p.End) && !now.Before(p.Start) {
			return nil
		}
		known = true
	}
	if known {
		return refuse(7000222, "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app, or consider using certificate credentials for added security.", app.ClientID)
	}
	return refuse(7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", app.ClientID)
}

// asksForCAE reads the claims parameter, in which a client that understands
// continuous access evaluation says so by cp1, in either case.
func asksForCAE(claims string) bool {
	var want struct {
		AccessToken struct {
			ClientCapabilities struct {
				Values []string `json:"values"`
			} `json:"xms_cc"`
		} `json:"access_token"`
	}
	if claims == "" || json.Unmarshal([]byte(claims), &want) != nil {
		return false
	}
	return slices.ContainsFunc(want.AccessToken.ClientCapabilities.Values, func(v string) bool { return strings.EqualFold(v, "cp1") })
}

// printable makes a value from a request fit for the text of a refusal.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// writeRefusal writes the documented body, with the trailer that support asks
// people for.
func (e *Emulator) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	var no *refusal
	if !errors.As(err, &no) {
		e.log.Error("answering a request for a token", "error", err)
		no = &refusal{90033, "A transient error has occurred. Please try again."}
	}
	kind := refusals[no.code]
	if no.code == 90002 && r.Method == http.MethodGet {
		kind.name = "invalid_tenant" // which is what openid-configuration says
	}
	e.log.Debug("refused", "api", authorityAPI, "code", no.code)
	e.writeOAuthError(w, r, kind.status, kind.name, no.code, no.text)
}

func (e *Emulator) writeOAuthError(w http.ResponseWriter, r *http.Request, status int, name string, code int, text string) {
	at := e.tenant.Now().UTC().Format("2006-01-02 15:04:05Z")
	trace, correlation := uuid.NewString(), correlationID(r)
	body := map[string]any{
		"error": name,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			code, text, trace, correlation, at),
		"error_codes": []int{code}, "timestamp": at, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("%s/error?code=%d", e.origins.Authority, code),
	}
	w.Header().Set("x-ms-request-id", trace)
	entraHeaders(w)
	writeJSON(w, status, body)
}

// correlationID is the client's own id of the request, which JavaScript's MSAL
// sends in the query and in the body, and others as a header.
func correlationID(r *http.Request) string {
	for _, id := range []string{r.Header.Get("client-request-id"), r.Form.Get("client-request-id"), r.URL.Query().Get("client-request-id")} {
		if isGUID(id) {
			return id
		}
	}
	return uuid.NewString()
}

func entraHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("x-ms-ests-server", "0.0.0 - emulated tenant")
	if h.Get("x-ms-request-id") == "" {
		h.Set("x-ms-request-id", uuid.NewString())
	}
}

func (e *Emulator) refuseAuthority(w http.ResponseWriter, r *http.Request, f failure) {
	name, code := "server_error", 90020
	switch f.status {
	case http.StatusTooManyRequests:
		name, code = "temporarily_unavailable", 90055
	case http.StatusServiceUnavailable:
		name, code = "temporarily_unavailable", 90033
	case http.StatusNotImplemented:
		// Entra has no number for this; it is the emulated tenant that speaks.
		writeJSON(w, f.status, map[string]any{"error": "not_implemented", "error_description": f.text})
		return
	}
	e.writeOAuthError(w, r, f.status, name, code, f.text)
}

// writeJSON writes v as Microsoft's services write JSON: without escaping HTML.
// Anything that set a Content-Type before keeps it.
func writeJSON(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // The client is gone when this fails.
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
