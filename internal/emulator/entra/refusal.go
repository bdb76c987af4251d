package entra

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

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

func missingParameter(name string) error {
	return refuse(900144, "The request body must contain the following parameter: '%s'.", name)
}

// refusals lists the OAuth error and the HTTP status of every AADSTS number
// that this token service gives. The numbers are those of
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes and
// of reports by users; what they go with is, for some, a guess. [K]
var refusals = map[int]struct {
	name   string
	status int
}{
	// The request.
	50059:   {"invalid_request", 400},
	70003:   {"unsupported_grant_type", 400},
	90002:   {"invalid_request", 400},
	90023:   {"invalid_request", 400},
	900023:  {"invalid_request", 400},
	900144:  {"invalid_request", 400},
	900561:  {"invalid_request", 405},
	901002:  {"invalid_request", 400},
	9001023: {"invalid_request", 400},
	9002313: {"invalid_request", 400},
	50049:   {"invalid_instance", 400},

	// The client and its credential.
	50012:   {"invalid_client", 401},
	50027:   {"invalid_request", 400},
	50194:   {"invalid_request", 400},
	90014:   {"invalid_request", 400},
	700016:  {"unauthorized_client", 400},
	700021:  {"invalid_client", 401},
	700023:  {"invalid_client", 401},
	700024:  {"invalid_client", 401},
	700025:  {"invalid_client", 401},
	700026:  {"invalid_client", 401},
	700027:  {"invalid_client", 401},
	700030:  {"invalid_client", 401},
	5002723: {"invalid_client", 401},
	5002738: {"invalid_client", 401},
	7000112: {"unauthorized_client", 400},
	7000215: {"invalid_client", 401},
	7000216: {"invalid_client", 401},
	7000218: {"invalid_client", 401},
	7000222: {"invalid_client", 401},
	7000229: {"invalid_client", 401},
	7000274: {"invalid_client", 401},

	// Federated credentials.
	501661:  {"invalid_request", 400},
	700211:  {"invalid_client", 401},
	700212:  {"invalid_client", 401},
	700213:  {"invalid_client", 401},
	700229:  {"invalid_client", 401},
	7000272: {"invalid_client", 401},
	7000277: {"invalid_client", 401},
	7002138: {"invalid_client", 401},

	// The resource, and what may be had of it.
	53003:   {"access_denied", 400},
	65001:   {"invalid_grant", 400},
	70011:   {"invalid_scope", 400},
	500011:  {"invalid_resource", 400},
	500014:  {"invalid_resource", 400},
	501051:  {"invalid_grant", 400},
	650053:  {"invalid_client", 400},
	650057:  {"invalid_resource", 400},
	700022:  {"invalid_scope", 400},
	900382:  {"invalid_request", 400},
	1002012: {"invalid_scope", 400},

	// People, and what stands for their signing in.
	50034:   {"invalid_grant", 400},
	50057:   {"invalid_grant", 400},
	50058:   {"login_required", 400},
	50105:   {"access_denied", 400},
	54005:   {"invalid_grant", 400},
	65004:   {"access_denied", 400},
	70000:   {"invalid_grant", 400},
	70008:   {"invalid_grant", 400},
	70016:   {"authorization_pending", 400},
	70017:   {"authorization_declined", 400},
	70018:   {"bad_verification_code", 400},
	70019:   {"expired_token", 400},
	90094:   {"access_denied", 400},
	500112:  {"invalid_client", 400},
	501481:  {"invalid_grant", 400},
	700082:  {"invalid_grant", 400},
	700084:  {"invalid_grant", 400},
	9002326: {"invalid_request", 400},
	9002327: {"invalid_request", 400},

	// The authorization endpoint.
	50011:   {"invalid_request", 400},
	70005:   {"unsupported_response_type", 400},
	70007:   {"invalid_request", 400},
	501491:  {"invalid_request", 400},
	700051:  {"unsupported_response_type", 400},
	700054:  {"unsupported_response_type", 400},
	9002325: {"invalid_request", 400},

	// The token service itself.
	50000: {"server_error", 500},
	90033: {"temporarily_unavailable", 503},
	90055: {"temporarily_unavailable", 429},
}

// asRefusal returns the refusal that an error is. One that is none is a failure
// of the token service's own.
func (e *API) asRefusal(err error) *refusal {
	var no *refusal
	if !errors.As(err, &no) {
		e.Cloud.Log.Error("answering a request for a token", "error", err)
		no = &refusal{90033, "A transient error has occurred. Please try again."}
	}
	e.Cloud.Log.Debug("refused", "api", origin.Authority, "code", no.code)
	return no
}

// writeRefusal writes the documented body, with the trailer that support asks
// people for.
func (e *API) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	no := e.asRefusal(err)
	kind := refusals[no.code]
	if no.code == 90002 && r.Method == http.MethodGet {
		kind.name = "invalid_tenant" // which is what openid-configuration says
	}
	e.writeOAuthError(w, r, kind.status, kind.name, no.code, no.text)
}

func (e *API) writeOAuthError(w http.ResponseWriter, r *http.Request, status int, name string, code int, text string) {
	trace, correlation := uuid.NewString(), correlationID(r)
	body := map[string]any{
		"error":             name,
		"error_description": e.describe(code, text, trace, correlation),
		"error_codes":       []int{code}, "timestamp": e.timestamp(), "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("%s/error?code=%d", e.Cloud.Hosts.Base(r, origin.Authority), code),
	}
	if code == 65001 {
		body["suberror"] = "consent_required"
	}
	w.Header().Set("x-ms-request-id", trace)
	entraHeaders(w)
	origin.WriteJSON(w, status, body)
}

func (e *API) timestamp() string { return e.Cloud.Now().UTC().Format("2006-01-02 15:04:05Z") }

func (e *API) describe(code int, text, trace, correlation string) string {
	return fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", code, text, trace, correlation, e.timestamp())
}

// correlationID is the client's own id of the request, which JavaScript's MSAL
// sends in the query and in the body, and others as a header.
func correlationID(r *http.Request) string {
	for _, id := range []string{r.Header.Get("client-request-id"), r.Form.Get("client-request-id"), r.URL.Query().Get("client-request-id")} {
		if origin.IsGUID(id) {
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

// refuseAuthority words what can go wrong with any API.
func (e *API) refuseAuthority(w http.ResponseWriter, r *http.Request, f origin.Failure) {
	code := 50000
	switch f.Status {
	case http.StatusTooManyRequests:
		code = 90055
	case http.StatusServiceUnavailable:
		code = 90033
	case http.StatusNotImplemented:
		// Entra has no number for this; it is the emulated tenant that speaks.
		origin.WriteJSON(w, f.Status, map[string]any{"error": "not_implemented", "error_description": f.Text})
		return
	}
	e.writeOAuthError(w, r, f.Status, refusals[code].name, code, f.Text)
}
