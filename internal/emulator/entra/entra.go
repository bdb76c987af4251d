// Package entra is the token service of an emulated tenant: who may have a token,
// for what, and how a refusal reads.
//
// Applications prove who they are by a certificate, a secret or the token of
// another issuer (client.go, assertion.go, chain.go, federated.go). People are
// fictional and have no passwords: on the pages of the authorization endpoint
// and of the device code flow one picks who signs in (authorize.go, code.go,
// device.go, page.go).
package entra

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// API is the token service.
type API struct {
	Cloud        *origin.Cloud
	Keys         *token.Keys
	Directory    *directory.Directory
	RefuseReplay bool // refuse a client assertion whose jti was seen before

	// Sticky makes a front end that did not know a certificate go on refusing
	// it for two minutes, though it is registered meanwhile. [K] It is off
	// when the cloud is calm.
	Sticky bool

	// FetchIssuer reads a document of an issuer that federated credentials
	// name and that AddIssuer was not told of. Without it such an issuer is
	// refused as one that cannot be reached.
	FetchIssuer func(ctx context.Context, url string) ([]byte, error)

	mu       sync.Mutex // guards what follows
	replayed expiring[struct{}]
	unknown  expiring[struct{}] // certificates that a front end did not know
	issuers  map[string]keySet
	blocked  map[string]bool // client IDs, in lower case
	revoked  map[string]bool // thumbprints (SHA-1), in lower case
	devices  expiring[*deviceSignIn]
	codes    expiring[*authorization]
	refresh  expiring[refreshToken]
}

// Block makes Conditional Access refuse an application, given by its client ID,
// a token, or lets it have one again.
func (e *API) Block(clientID string, blocked bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.blocked == nil {
		e.blocked = map[string]bool{}
	}
	e.blocked[lower(clientID)] = blocked
}

// Revoke makes a certificate count as revoked by its authority, wherever it is
// registered, or lets it be good again. The thumbprint is the SHA-1.
func (e *API) Revoke(thumbprint string, revoked bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.revoked == nil {
		e.revoked = map[string]bool{}
	}
	e.revoked[lower(thumbprint)] = revoked
}

func (e *API) isRevoked(der []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.revoked[hex.EncodeToString(directory.Thumbprint(der))]
}

// route is an operation and what carries it out.
type route struct {
	origin.Operation
	pattern string
	handle  http.HandlerFunc
}

const (
	docs      = "https://learn.microsoft.com/entra/identity-platform/"
	tokenPath = "/{tenant}/oauth2/v2.0/"
	oldPath   = "/{tenant}/oauth2/"
)

func (e *API) routes() []route {
	one := func(name, method, path, source string, handle http.HandlerFunc) route {
		request := path
		if method != "" {
			request = method + " " + path
		}
		pattern := request
		if name == "token" || name == "devicecode" {
			pattern = path // Other methods have a refusal of their own.
		}
		return route{origin.Operation{Name: name, Request: request, Source: source}, pattern, handle}
	}
	const (
		credentials = docs + "v2-oauth2-client-creds-grant-flow"
		code        = docs + "v2-oauth2-auth-code-flow"
		device      = docs + "v2-oauth2-device-code"
		oidc        = docs + "v2-protocols-oidc"
		consent     = docs + "v2-admin-consent"
		keys        = docs + "signing-key-rollover"
		clouds      = docs + "authentication-national-cloud"
	)
	return []route{
		one("token", "POST", tokenPath+"token", credentials, e.tokens(true)),
		one("token", "POST", oldPath+"token", credentials, e.tokens(false)),
		one("authorize", "GET", tokenPath+"authorize", code, e.authorize(true)),
		one("authorize", "GET", oldPath+"authorize", code, e.authorize(false)),
		one("authorize", "POST", tokenPath+"authorize", code, e.authorize(true)),
		one("authorize", "POST", oldPath+"authorize", code, e.authorize(false)),
		one("devicecode", "POST", tokenPath+"devicecode", device, e.deviceCodes(true)),
		one("devicecode", "POST", oldPath+"devicecode", device, e.deviceCodes(false)),
		one("deviceauth", "GET", oldPath+"deviceauth", device, e.serveDevicePage),
		one("deviceauth", "POST", oldPath+"deviceauth", device, e.serveDevicePage),
		one("adminconsent", "GET", "/{tenant}/adminconsent", consent, e.serveAdminConsent),
		one("adminconsent", "POST", "/{tenant}/adminconsent", consent, e.serveAdminConsent),
		one("logout", "GET", tokenPath+"logout", oidc, e.serveLogout),
		one("logout", "GET", oldPath+"logout", oidc, e.serveLogout),
		one("configuration", "GET", "/{tenant}/v2.0/.well-known/openid-configuration", oidc, e.configuration(true)),
		one("configuration", "GET", "/{tenant}/.well-known/openid-configuration", oidc, e.configuration(false)),
		one("keys", "GET", "/{tenant}/discovery/v2.0/keys", keys, e.serveKeys),
		one("keys", "GET", "/{tenant}/discovery/keys", keys, e.serveKeys),
		one("instance", "GET", "/common/discovery/instance", clouds, e.serveInstance),
	}
}

// Origin returns the API as it is served.
func (e *API) Origin() origin.API {
	mux, names := http.NewServeMux(), map[string]string{}
	var operations []origin.Operation
	for _, r := range e.routes() {
		mux.HandleFunc(r.pattern, r.handle)
		names[r.pattern] = r.Name
		operations = append(operations, r.Operation)
	}
	return origin.API{
		Name: origin.Authority, Handler: mux, Operations: operations, Refuse: e.refuseAuthority,
		Operation: func(r *http.Request) string {
			_, pattern := mux.Handler(r)
			return names[pattern]
		},
	}
}

// frontEnd is the one of the token service's front ends that a request meets:
// the directory as that one knows it.
type frontEnd struct {
	lag   time.Duration  // tells the front ends apart
	keys  directory.View // of applications, their credentials and resources
	roles directory.View // of what was granted
}

func (e *API) meet(r *http.Request) frontEnd {
	lag := e.Cloud.KeyLag(r)
	return frontEnd{lag: lag, keys: e.Directory.View(lag), roles: e.Directory.View(e.Cloud.RoleLag(r))}
}

// request is a request to the token endpoint, taken apart.
type request struct {
	*http.Request
	answer   http.Header // of the answer
	form     url.Values
	v2       bool
	clientID string
	secret   string
	frontEnd
}

// tokens answers the token endpoints, of which v2 names what it wants by scope
// and v1 by resource.
func (e *API) tokens(v2 bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := readForm(w, r); err != nil {
			e.writeRefusal(w, r, err)
			return
		}
		grant := r.PostForm.Get("grant_type")
		if slices.Contains(notEmulatedGrants, grant) {
			e.Cloud.Log.Warn("not emulated", "api", origin.Authority, "grant_type", grant)
			e.refuseAuthority(w, r, origin.Failure{Status: http.StatusNotImplemented, Text: "The emulated tenant does not know the grant type " + grant + "."})
			return
		}
		answer, err := e.answerToken(w, r, grant, v2)
		if err != nil {
			e.writeRefusal(w, r, err)
			return
		}
		e.writeToken(w, r, answer, v2)
	}
}

// notEmulatedGrants are grants that Entra knows and this token service does
// not: nobody here has a password, and no token is exchanged for another.
var notEmulatedGrants = []string{
	"password", "urn:ietf:params:oauth:grant-type:jwt-bearer",
	"urn:ietf:params:oauth:grant-type:saml1_1-bearer", "urn:ietf:params:oauth:grant-type:saml2-bearer",
	"urn:ietf:params:oauth:grant-type:token-exchange",
}

// readForm reads the body of a request that must be a POST.
func readForm(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return refuse(900561, "The endpoint only accepts POST requests. Received a %s request.", origin.Printable(r.Method))
	}
	if err := r.ParseForm(); err != nil {
		return refuse(9002313, "Invalid request. Request is malformed or invalid.")
	}
	return nil
}

// answerToken decides about a token. Microsoft documents no order of the
// checks; this one goes from the form to the client and its credential, and
// then to the resource.
func (e *API) answerToken(w http.ResponseWriter, r *http.Request, grant string, v2 bool) (issued, error) {
	var carryOut func(request) (issued, error)
	switch grant {
	case "client_credentials":
		carryOut = e.forApplication
	case "authorization_code":
		carryOut = e.redeemCode
	case "refresh_token":
		carryOut = e.redeemRefresh
	case "device_code", "urn:ietf:params:oauth:grant-type:device_code":
		carryOut = e.redeemDevice
	}
	if err := e.checkTenant(r.PathValue("tenant"), grant != "client_credentials"); err != nil {
		return issued{}, err
	}
	switch {
	case grant == "":
		return issued{}, missingParameter("grant_type")
	case carryOut == nil:
		return issued{}, refuse(70003, "The app requested an unsupported grant type '%s'.", origin.Printable(grant))
	}
	clientID, secret, err := clientCredentials(r)
	if err != nil {
		return issued{}, err
	}
	return carryOut(request{Request: r, answer: w.Header(), form: r.PostForm, v2: v2, clientID: clientID, secret: secret, frontEnd: e.meet(r)})
}

// forApplication is the client credentials grant: a token for an application
// itself.
func (e *API) forApplication(r request) (issued, error) {
	name, err := requestedResource(r.form, r.v2)
	if err != nil {
		return issued{}, err
	}
	c, err := e.findClient(r.keys, r.clientID)
	if err != nil {
		return issued{}, err
	}
	method, err := e.authenticateClient(r, c)
	if err != nil {
		return issued{}, err
	}
	resource, err := e.findResource(r.keys, name)
	if err != nil {
		return issued{}, err
	}
	if resource.AppRoleAssignmentRequired && !assigned(r.roles, c.sp.ID, resource.ID) {
		return issued{}, refuse(501051, "Application '%s'(%s) is not assigned to a role for the application '%s'(%s).", c.sp.AppID, c.sp.DisplayName, origin.Printable(name), resource.DisplayName)
	}
	if err := e.checkBlocked(c); err != nil {
		return issued{}, err
	}
	return e.issue(access{
		client: c, resource: resource, audience: name, method: method,
		base: e.Cloud.Hosts.Base(r.Request, origin.Authority), view: r.roles,
		cae: asksForCAE(r.form.Get("claims")),
	})
}

// checkBlocked is Conditional Access, which decides once everything else is in
// order.
func (e *API) checkBlocked(c client) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.blocked[lower(c.sp.AppID)] {
		return refuse(53003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.")
	}
	return nil
}
