package entra

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// platform is what kind of client a redirect address is registered for.
type platform int

const (
	unregistered platform = iota
	web
	singlePage
	native
)

// platformOf returns the platform under which a client has a redirect address,
// to the letter or else but for the port.
func platformOf(c client, redirect string) platform {
	type addresses struct {
		platform platform
		uris     []string
	}
	var all []addresses
	switch {
	case c.app != nil:
		all = []addresses{{web, c.app.Web.RedirectURIs}, {singlePage, c.app.SPA.RedirectURIs}, {native, c.app.PublicClient.RedirectURIs}}
	case directory.IsPublicClient(c.sp.AppID):
		all = []addresses{{native, c.sp.ReplyURLs}}
	}
	toTheLetter := func(registered, asked string) bool { return registered == asked }
	for _, same := range []func(registered, asked string) bool{toTheLetter, sameOnLoopback} {
		for _, of := range all {
			if slices.ContainsFunc(of.uris, func(u string) bool { return same(u, redirect) }) {
				return of.platform
			}
		}
	}
	return unregistered
}

// sameOnLoopback compares a registered address with the one of a request but for
// the port, which does not count on one's own machine, whatever the platform
// (learn.microsoft.com/entra/identity-platform/reply-url). That is so over http;
// of https the page has no example, and there the port counts. [K]
func sameOnLoopback(registered, asked string) bool {
	r, err := url.Parse(registered)
	a, err2 := url.Parse(asked)
	if err != nil || err2 != nil || r.Scheme != "http" || a.Scheme != "http" || a.User != nil {
		return false
	}
	local := r.Hostname() == "localhost" || r.Hostname() == "127.0.0.1" // not [::1], says the page
	return local && r.Hostname() == a.Hostname() && cmp.Or(r.Path, "/") == cmp.Or(a.Path, "/") && r.RawQuery == a.RawQuery && a.Fragment == ""
}

// question is a request to the authorization endpoint, once it is known to
// where the answer goes.
type question struct {
	client client
	tenant string
	authorization
	state  string
	mode   string // response_mode
	prompt string
	hint   string // login_hint
}

// authorize answers the authorization endpoints. GET shows a page on which
// somebody picks who signs in; its form comes back to the same address by POST.
func (e *API) authorize(v2 bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			e.writeErrorPage(w, refuse(9002313, "Invalid request. Request is malformed or invalid."))
			return
		}
		query := r.URL.Query()
		q, err := e.readQuestion(r, query)
		if err != nil {
			e.writeErrorPage(w, err) // There is nowhere safe to send it.
			return
		}
		if kind := implicit(q.client, query); kind != "" {
			e.Cloud.Log.Warn("not emulated", "api", origin.Authority, "response_type", kind)
			e.refuseAuthority(w, r, origin.Failure{Status: http.StatusNotImplemented, Text: "The emulated tenant does not know the response type " + kind + ", which the application has enabled."})
			return
		}
		if err = readWants(&q, query, v2); err == nil && q.prompt == "none" {
			err = refuse(50058, "Session information is not sufficient for single-sign-on.")
		}
		if err == nil {
			_, err = e.findResource(e.Directory.View(0), q.wish.resource)
		}
		switch {
		case err != nil:
			e.sendRefusal(w, r, q, err)
		case r.Method == http.MethodPost:
			e.decide(w, r, q)
		default:
			e.writeSignInPage(w, q, nil)
		}
	}
}

// readQuestion finds out who asks and where the answer goes.
func (e *API) readQuestion(r *http.Request, query url.Values) (question, error) {
	q := question{tenant: r.PathValue("tenant")}
	if err := e.checkTenant(q.tenant, true); err != nil {
		return q, err
	}
	if query.Get("client_id") == "" {
		return q, missingParameter("client_id")
	}
	c, err := e.findClientAt(q.tenant, e.meet(r).keys, query.Get("client_id"))
	if err != nil {
		return q, err
	}
	q.client, q.clientID, q.redirect, q.state = c, c.sp.AppID, query.Get("redirect_uri"), query.Get("state")
	q.platform = platformOf(c, q.redirect)
	if q.platform == unregistered {
		return q, refuse(50011, "The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'. Make sure the redirect URI sent in the request matches one added to your application in the Azure portal.", origin.Printable(q.redirect), c.sp.AppID)
	}
	q.mode = query.Get("response_mode")
	if q.mode == "" {
		q.mode = "query"
	}
	return q, nil
}

// implicit returns the response type of the implicit flow that is asked for and
// that the application's registration allows, or "". It is not emulated.
func implicit(c client, query url.Values) string {
	kinds := strings.Fields(query.Get("response_type"))
	switch {
	case c.app == nil:
	case slices.Contains(kinds, "id_token") && c.app.Web.ImplicitGrantSettings.EnableIDTokenIssuance:
		return "id_token"
	case slices.Contains(kinds, "token") && c.app.Web.ImplicitGrantSettings.EnableAccessTokenIssuance:
		return "token"
	}
	return ""
}

// mostNonce bounds what a client has kept for it until the code is redeemed.
const mostNonce = 2048

// readWants reads what is asked for, which is refused to the client itself.
func readWants(q *question, query url.Values, v2 bool) (err error) {
	switch q.mode {
	case "query", "fragment", "form_post":
	default:
		mode := q.mode
		q.mode = "query"
		return refuse(70007, "'%s' is not a supported value for 'response_mode'.", origin.Printable(mode))
	}
	kinds := strings.Fields(query.Get("response_type"))
	switch {
	case len(kinds) == 0:
		return missingParameter("response_type")
	case slices.Contains(kinds, "id_token"):
		return refuse(700054, "response_type 'id_token' is not enabled for the application.")
	case slices.Contains(kinds, "token"):
		return refuse(700051, "response_type 'token' is not enabled for the application.")
	case !slices.Equal(kinds, []string{"code"}):
		return refuse(70005, "The app returned an unsupported response type due to the following reasons: '%s' is not known.", origin.Printable(query.Get("response_type")))
	}
	q.prompt, q.hint, q.nonce = query.Get("prompt"), query.Get("login_hint"), query.Get("nonce")
	if !slices.Contains([]string{"", "none", "login", "consent", "select_account"}, q.prompt) {
		return refuse(90023, "Unsupported 'prompt' value.")
	}
	if len(q.nonce) > mostNonce {
		return refuse(9002313, "Invalid request. Request is malformed or invalid.")
	}
	q.challenge = query.Get("code_challenge")
	switch query.Get("code_challenge_method") {
	case "S256":
	case "", "plain":
		q.plain = true
	default:
		return refuse(9002313, "Invalid request. The code_challenge_method is not known.")
	}
	switch n := len(q.challenge); {
	case n == 0 && q.platform == singlePage:
		return refuse(9002325, "Proof Key for Code Exchange is required for cross-origin authorization code redemption.")
	case n > 0 && (n < 43 || n > 128):
		return refuse(501491, "Invalid size of Code_Challenge parameter.")
	}
	q.wish, err = readWish(query, v2)
	return err
}

// decide carries out what somebody chose on the page.
func (e *API) decide(w http.ResponseWriter, r *http.Request, q question) {
	if r.PostForm.Get("decision") == "decline" {
		e.sendRefusal(w, r, q, refuse(65004, "User declined to consent to access the app."))
		return
	}
	u, err := e.findUser(r.PostForm.Get("user"))
	if err != nil {
		e.writeErrorPage(w, err) // which the client never hears of
		return
	}
	missing, err := e.lacking(q.client, u, q.wish)
	if err == nil {
		err = e.admit(q.client, u)
	}
	switch {
	case err != nil:
		e.sendRefusal(w, r, q, err)
		return
	case r.PostForm.Get("decision") == "consent":
		if err := e.consentTo(q.client, u, q.wish, missing); err != nil {
			e.sendRefusal(w, r, q, err)
			return
		}
	case len(missing) > 0, q.prompt == "consent":
		e.writeConsentPage(w, q.client, u, missing)
		return
	}
	q.userID = u.ID
	e.send(w, r, q, url.Values{"code": {e.newCode(&q.authorization)}, "session_state": {uuid.NewString()}})
}

// lacking returns the permissions that a client asks for and that somebody
// would have to consent to.
func (e *API) lacking(c client, u *directory.User, w wish) ([]string, error) {
	resource, err := e.findResource(e.Directory.View(0), w.resource)
	if err != nil {
		return nil, err
	}
	return e.unconsented(c, resource, u, w)
}

func (e *API) consentTo(c client, u *directory.User, w wish, scopes []string) error {
	if len(scopes) == 0 {
		return nil
	}
	resource, err := e.findResource(e.Directory.View(0), w.resource)
	if err != nil {
		return err
	}
	return e.consent(c, resource, u, scopes)
}

// sendRefusal tells the client why it gets no code.
func (e *API) sendRefusal(w http.ResponseWriter, r *http.Request, q question, err error) {
	no := e.asRefusal(err)
	name := refusals[no.code].name
	if no.code == 65001 {
		name = "consent_required"
	}
	e.send(w, r, q, url.Values{
		"error":             {name},
		"error_description": {e.describe(no.code, no.text, uuid.NewString(), correlationID(r))},
		"error_uri":         {e.base(r) + "/error?code=" + codeText(no.code)},
	})
}

// send sends the browser back to the client, the way it asked for. In the query
// and in the fragment an address without a path gets one
// (learn.microsoft.com/entra/identity-platform/reply-url).
func (e *API) send(w http.ResponseWriter, r *http.Request, q question, answer url.Values) {
	if q.state != "" {
		answer.Set("state", q.state)
	}
	entraHeaders(w)
	if q.mode == "form_post" {
		e.writeReturnPage(w, q.redirect, answer)
		return
	}
	target := q.redirect
	if u, err := url.Parse(target); err == nil && u.Path == "" && (u.Scheme == "http" || u.Scheme == "https") {
		u.Path = "/"
		target = u.String()
	}
	switch {
	case q.mode == "fragment":
		target += "#" + answer.Encode()
	case strings.Contains(target, "?"):
		target += "&" + answer.Encode()
	default:
		target += "?" + answer.Encode()
	}
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusFound)
}

// serveLogout ends nothing, since nobody stays signed in; it sends the browser
// to where the client wants it.
func (e *API) serveLogout(w http.ResponseWriter, r *http.Request) {
	if err := e.checkTenant(r.PathValue("tenant"), true); err != nil {
		e.writeErrorPage(w, err)
		return
	}
	target := r.URL.Query().Get("post_logout_redirect_uri")
	for _, p := range e.Directory.View(0).ServicePrincipals() {
		if target == "" || !slices.Contains(p.ReplyURLs, target) {
			continue
		}
		entraHeaders(w)
		if state := r.URL.Query().Get("state"); state != "" && !strings.Contains(target, "?") {
			target += "?" + url.Values{"state": {state}}.Encode()
		}
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusFound)
		return
	}
	e.writePage(w, http.StatusOK, page{Title: "Signed out", Text: "You signed out of your account."})
}
