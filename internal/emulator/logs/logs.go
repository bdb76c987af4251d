// Package logs is Azure Monitor's query API over HTTP, for Application Insights
// and Log Analytics: the visits of the tenant's people to its SharePoint pages,
// as a tracker in the pages would have sent them.
//
// It executes no KQL. It knows the queries that readers of visits send, see
// Queries, and refuses any other by name.
package logs

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

const (
	usualLimit = 200 // queries of a caller in usualSpan, as documented
	usualSpan  = 30 * time.Second
	usualRows  = 500_000 // in an answer, as documented
)

// API answers queries.
type API struct {
	Cloud  *origin.Cloud
	Tokens *token.Reader

	WorkspaceID string // of the Log Analytics workspace
	AppID       string // of the Application Insights resource, which keeps its data in the workspace
	Traffic     *Traffic

	// Readers are the client IDs of applications that may query. In Azure these
	// are role assignments (Monitoring Reader, Log Analytics Reader), which
	// neither the directory nor a token knows.
	Readers []string

	// Limit is how many queries a caller may send in 30 seconds. 0 means 200,
	// and no limit when the cloud is calm; below 0 there is none.
	Limit int
	// Rows is how many rows an answer has at most; 0 means 500,000.
	Rows int
	// Queries are recognized besides the usual ones, and before them.
	Queries []Query

	requests origin.Quota
	known    []recognizer
}

// Origin returns the API as it is served.
func (e *API) Origin() origin.API {
	e.requests = origin.Quota{Most: e.Limit, Per: usualSpan}
	if e.Limit == 0 && !e.Cloud.Calm {
		e.requests.Most = usualLimit
	}
	e.known = recognizers(append(slices.Clone(e.Queries), Queries()...))
	return origin.API{
		Name: origin.Logs, Handler: http.HandlerFunc(e.serve), Operation: operation, Operations: operations, Refuse: refuse,
	}
}

const documents = "https://learn.microsoft.com/azure/azure-monitor/logs/api/"

var operations = []origin.Operation{
	{Name: "workspaceQuery", Request: "POST /v1/workspaces/{workspaceId}/query", Source: documents + "request-format"},
	{Name: "workspaceQuery", Request: "GET /v1/workspaces/{workspaceId}/query", Source: documents + "request-format"},
	{Name: "appQuery", Request: "POST /v1/apps/{appId}/query", Source: "https://learn.microsoft.com/rest/api/application-insights/query/execute"},
	{Name: "appQuery", Request: "GET /v1/apps/{appId}/query", Source: "https://learn.microsoft.com/rest/api/application-insights/query/get"},
	{Name: "batch", Request: "POST /v1/$batch", Source: documents + "batch-queries"},
}

// operation names an operation by the path.
func operation(r *http.Request) string {
	kind, _, ok := target(r.URL.Path)
	post := r.Method == http.MethodPost
	switch {
	case r.URL.Path == "/v1/$batch" && post:
		return "batch"
	case !ok || !post && r.Method != http.MethodGet:
		return ""
	case kind == apps:
		return "appQuery"
	}
	return "workspaceQuery"
}

// Kinds of resources that can be queried, as they stand in the path.
const (
	workspaces = "workspaces"
	apps       = "apps"
)

// target takes /v1/{kind}/{id}/query apart.
func target(path string) (kind, id string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "v1" || parts[4] != "query" || parts[2] != workspaces && parts[2] != apps {
		return "", "", false
	}
	return parts[2], parts[3], true
}

// failure is a refusal as the API words it. Clients should look at the codes
// alone.
type failure struct {
	status     int
	code, text string
	inner      string // code of the innererror, if there is one
	retry      time.Duration
}

func (f *failure) Error() string { return f.code + ": " + f.text }

func (f *failure) body() map[string]any {
	inside := map[string]any{"code": f.code, "message": f.text}
	if f.inner != "" {
		inside["message"] = "The request had some invalid properties"
		inside["innererror"] = map[string]string{"code": f.inner, "message": f.text}
	}
	return map[string]any{"error": inside}
}

func badArgument(format string, a ...any) error {
	return &failure{status: http.StatusBadRequest, code: "BadArgumentError", inner: "BadArgumentError", text: fmt.Sprintf(format, a...)}
}

func badSyntax(format string, a ...any) error {
	return &failure{status: http.StatusBadRequest, code: "BadArgumentError", inner: "SyntaxError", text: fmt.Sprintf(format, a...)}
}

func notEmulated(format string, a ...any) error {
	return &failure{status: http.StatusNotImplemented, code: "NotImplemented", text: "The emulated tenant does not know " + fmt.Sprintf(format, a...) + "."}
}

// refuse words what can go wrong with any API.
func refuse(w http.ResponseWriter, _ *http.Request, f origin.Failure) {
	code := "ServiceError" // [K], as are the others
	switch f.Status {
	case http.StatusTooManyRequests:
		code = "ThrottledError"
	case http.StatusServiceUnavailable:
		code = "ServiceUnavailable"
	case http.StatusNotImplemented:
		code = "NotImplemented"
	}
	origin.WriteJSON(w, f.Status, (&failure{code: code, text: f.Text}).body())
}

func (e *API) serve(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err == nil {
		if r.URL.Path == "/v1/$batch" {
			err = e.serveBatch(w, r, who)
		} else {
			err = e.serveQuery(w, r, who)
		}
	}
	var f *failure
	if errors.As(err, &f) {
		if f.retry > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((f.retry+time.Second-1)/time.Second)))
		}
		if f.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		origin.WriteJSON(w, f.status, f.body())
	}
}

// caller finds out who asks. The statuses are documented, odd as they are. That
// an API key gets this answer since its end in 2026 is [K].
func (e *API) caller(r *http.Request) (token.Caller, error) {
	who, err := e.Tokens.Read(r)
	switch {
	case errors.Is(err, token.ErrNone) && r.Header.Get("X-Api-Key") != "":
		return who, &failure{status: http.StatusUnauthorized, code: "AuthenticationFailed", text: "API keys are not accepted any more. Use a token of Microsoft Entra ID."}
	case errors.Is(err, token.ErrNone):
		return who, &failure{status: http.StatusUnauthorized, code: "AuthenticationFailed", text: "The request has no Authorization header."}
	case err != nil:
		return who, &failure{status: http.StatusForbidden, code: "InvalidAuthenticationToken", text: origin.Printable("The access token is invalid: " + err.Error())}
	}
	return who, nil
}

// authorize checks that a caller may query a resource: the token must be for the
// API of its kind, or for the very address that is called, as older SDKs for
// Python have it.
func (e *API) authorize(r *http.Request, who token.Caller, kind, id string) error {
	host, own := "api.loganalytics.", e.WorkspaceID
	if kind == apps {
		host, own = "api.applicationinsights.", e.AppID
	}
	audience := strings.TrimSuffix(who.Audience, "/")
	if !strings.HasPrefix(audience, "https://"+host) && audience != e.Cloud.Hosts.Base(r, origin.Logs) {
		return &failure{status: http.StatusForbidden, code: "InvalidAuthenticationTokenAudience", text: origin.Printable(fmt.Sprintf(
			"The access token is for the wrong audience or resource '%s'. It must be for one of 'https://%s*'.", who.Audience, host))}
	}
	// Each of the cloud's hosts serves one kind.
	called := strings.ToLower(r.Host)
	other := strings.HasPrefix(called, "api.") && !strings.HasPrefix(called, host)
	if other || !strings.EqualFold(id, own) {
		return &failure{status: http.StatusNotFound, code: "PathNotFoundError", text: "The requested path does not exist."}
	}
	if !slices.Contains(e.Readers, who.ClientID) {
		return &failure{status: http.StatusForbidden, code: "InsufficientAccessError", text: "The provided credentials have insufficient access to perform the requested operation."}
	}
	if ok, wait := e.requests.Take(who.ClientID, e.Cloud.Now()); !ok {
		return &failure{status: http.StatusTooManyRequests, code: "ThrottledError", text: "Too many queries.", retry: wait} // the code is [K]
	}
	return nil
}

func (e *API) serveQuery(w http.ResponseWriter, r *http.Request, who token.Caller) error {
	kind, id, _ := target(r.URL.Path)
	if err := e.authorize(r, who, kind, id); err != nil {
		return err
	}
	fault := e.Cloud.Faults.Take(origin.Logs, operation(r), Partial, Timeout)
	if fault != nil && fault.Kind == Timeout {
		return timedOut()
	}
	q, err := readRequest(r, e.Cloud.Now())
	if err != nil {
		return err
	}
	if q == nil { // documented: no JSON, no answer, and no error
		w.WriteHeader(http.StatusOK)
		return nil
	}
	a, err := e.answer(q, kind, fault)
	if err != nil {
		return err
	}
	if a == nil { // documented: a workspace without data
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	origin.WriteJSON(w, http.StatusOK, a)
	return nil
}
