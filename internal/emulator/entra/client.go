package entra

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// client is the application that asks for a token.
type client struct {
	app *directory.Application // nil when it is registered in another tenant
	sp  *directory.ServicePrincipal
}

// mayBePublic reports whether it may sign people in without a credential of its
// own, as the tools of administrators do.
func (c client) mayBePublic() bool {
	if c.app == nil {
		return directory.IsPublicClient(c.sp.AppID)
	}
	return c.app.IsFallbackPublicClient != nil && *c.app.IsFallbackPublicClient
}

// credentials returns the certificates and secrets that it may sign in with. An
// application of another tenant keeps them there.
func (c client) credentials() ([]directory.KeyCredential, []directory.PasswordCredential) {
	keys, secrets := c.sp.KeyCredentials, c.sp.PasswordCredentials
	if c.app != nil {
		keys = slices.Concat(c.app.KeyCredentials, keys)
		secrets = slices.Concat(c.app.PasswordCredentials, secrets)
	}
	return keys, secrets
}

// Values of appidacr.
const (
	byNothing     = "0"
	bySecret      = "1"
	byCertificate = "2"
)

func lower(s string) string { return strings.ToLower(s) }

var domainName = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$`)

// checkTenant checks the name of the tenant in a path: its GUID or its domain.
// People may sign in without naming it; see findClientAt.
func (e *API) checkTenant(name string, people bool) error {
	switch {
	case strings.EqualFold(name, e.Directory.TenantID), strings.EqualFold(name, e.Directory.Domain):
		return nil
	case people && namesNoTenant(name):
		return nil
	case name == "common", name == "consumers":
		return refuse(9001023, "The grant type is not supported over the /common or /consumers endpoints. Please use a tenant-specific endpoint.")
	case name == "organizations":
		return refuse(50059, "No tenant-identifying information found in either the request or implied by any provided credentials.")
	case origin.IsGUID(name), domainName.MatchString(name):
		return refuse(90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", name)
	}
	return refuse(900023, "Specified tenant identifier '%s' is neither a valid DNS name, nor a valid external domain.", origin.Printable(name))
}

func namesNoTenant(name string) bool { return name == "common" || name == "organizations" }

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

// findClient returns the application that asks, as a front end knows it.
func (e *API) findClient(view directory.View, clientID string) (client, error) {
	app, registered := view.ApplicationByAppID(clientID)
	sp, present := view.ServicePrincipalByAppID(clientID)
	switch {
	case !registered && !present:
		return client{}, refuse(700016, "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", origin.Printable(clientID), e.Directory.DisplayName)
	case !present:
		return client{}, refuse(7000229, "The client application %s is missing service principal in the tenant %s.", app.AppID, e.Directory.TenantID)
	case !sp.AccountEnabled, registered && (app.IsDisabled || app.DisabledByMicrosoftStatus != nil):
		return client{}, refuse(7000112, "Application '%s'(%s) is disabled.", sp.AppID, sp.DisplayName)
	case !registered:
		return client{sp: sp}, nil
	}
	return client{app, sp}, nil
}

// findClientAt is findClient for signing people in at the endpoint of a tenant,
// or at one that leaves open from which tenant they come, which not every client
// may use.
func (e *API) findClientAt(tenant string, view directory.View, clientID string) (client, error) {
	c, err := e.findClient(view, clientID)
	if err == nil && namesNoTenant(tenant) && c.app != nil && c.app.SignInAudience == "AzureADMyOrg" {
		err = refuse(50194, "Application '%s'(%s) is not configured as a multi-tenant application. Usage of the /%s endpoint is not supported for such apps. Use a tenant-specific endpoint or configure the application to be multi-tenant.", c.app.AppID, c.app.DisplayName, tenant)
	}
	return c, err
}

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticateClient checks that the request comes from the application, and
// returns how it showed that, as appidacr says it.
func (e *API) authenticateClient(r request, c client) (method string, err error) {
	if c.app == nil && c.mayBePublic() {
		if _, err := checkPublic(r); err != nil {
			return "", err
		}
	}
	if assertion := r.form.Get("client_assertion"); assertion != "" {
		switch r.form.Get("client_assertion_type") {
		case jwtBearer:
			return byCertificate, e.checkAssertion(r, assertion, c)
		case "":
			return "", missingParameter("client_assertion_type")
		}
	} else if r.secret != "" {
		return bySecret, e.checkSecret(r.secret, c)
	}
	// Both numbers are seen for this; which of them when is not documented.
	if r.v2 && r.form.Get("grant_type") == "client_credentials" {
		return "", refuse(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	}
	return "", refuse(7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
}

// checkPublic checks a client that has no credential to show, and must not show
// any.
func checkPublic(r request) (method string, err error) {
	if r.secret != "" || r.form.Get("client_assertion") != "" {
		return "", refuse(700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
	}
	return byNothing, nil
}

// authenticateOn checks that a request comes from the application where people
// signed in to it on a platform. Programs and pages have no credential; pages
// have the address that they were loaded from, where they may read the answer,
// a refusal too. [K]
func (e *API) authenticateOn(p platform, r request, c client) (method string, err error) {
	from := r.Header.Get("Origin")
	switch {
	case p == singlePage && from == "":
		return "", refuse(9002327, "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.")
	case p != singlePage && from != "":
		return "", refuse(9002326, "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type. Request origin: '%s'.", origin.Printable(from))
	case p == web:
		return e.authenticateClient(r, c)
	case p == singlePage:
		r.answer.Set("Access-Control-Allow-Origin", from)
	}
	return checkPublic(r)
}

func (e *API) checkSecret(secret string, c client) error {
	now, known := e.Cloud.Now(), false
	_, secrets := c.credentials()
	for _, p := range secrets {
		if !p.Is(secret) {
			continue
		}
		if now.Before(p.EndDateTime) && !now.Before(p.StartDateTime) {
			return nil
		}
		known = true
	}
	if known {
		return refuse(7000222, "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app, or consider using certificate credentials for added security.", c.sp.AppID)
	}
	return refuse(7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", c.sp.AppID)
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
