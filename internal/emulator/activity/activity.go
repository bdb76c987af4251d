// Package activity is the Office 365 Management Activity API over HTTP.
package activity

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// The Office 365 Management Activity API, as Microsoft documents it. What is
// marked [K] no document tells, and the service may do it otherwise.

const (
	manageAudience = "https://manage.office.com" // taken in every cloud [K], besides the cloud's own hosts
	readActivity   = "ActivityFeed.Read"
	// publisher names the vendor of the client, on any call.
	publisher = "PublisherIdentifier"
)

// activityCall is one request to the API.
type activityCall struct {
	*http.Request
	operation string
	tenantID  string // as in the path
	query     url.Values
	contentID string        // of a blob
	clientID  string        // of the application that calls
	fault     *origin.Fault // of the API's own kinds, or nil
}

// activityOp is one operation of the API.
type activityOp struct {
	name, method, path string
	parameters         []string // those that the operation knows besides the publisher
	serve              func(*API, http.ResponseWriter, *activityCall) error
	section            string // of the reference that documents it
}

const reference = "https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference"

func activityOps() []activityOp {
	kind := []string{"contentType"}
	window := []string{"contentType", "startTime", "endTime", "nextPage"}
	return []activityOp{
		{"start", http.MethodPost, "subscriptions/start", kind, (*API).startSubscription, "start-a-subscription"},
		{"stop", http.MethodPost, "subscriptions/stop", kind, (*API).stopSubscription, "stop-a-subscription"},
		{"list", http.MethodGet, "subscriptions/list", nil, (*API).listSubscriptions, "list-current-subscriptions"},
		{"content", http.MethodGet, "subscriptions/content", window, (*API).listContent, "list-available-content"},
		{"notifications", http.MethodGet, "subscriptions/notifications", window, (*API).listNotifications, "list-notifications"},
		{"dlp", http.MethodGet, "resources/dlpSensitiveTypes", nil, (*API).listSensitiveTypes, "retrieve-resource-friendly-names"},
		{"blob", http.MethodGet, "audit/", nil, (*API).serveBlob, "retrieving-content"},
	}
}

// operations are the same as package origin has them.
func operations(ops []activityOp) []origin.Operation {
	all := make([]origin.Operation, len(ops))
	for i, op := range ops {
		path := "/api/v1.0/{tenant}/activity/feed/" + op.path
		if strings.HasSuffix(path, "/") {
			path += "{contentId}"
		}
		all[i] = origin.Operation{Name: op.name, Request: op.method + " " + path, Source: reference + "#" + op.section}
	}
	return all
}

// activityError is a refusal in the words of the API. Clients should look at
// the code alone.
type activityError struct {
	status int
	code   string
	text   string
}

func (e *activityError) Error() string { return e.code + ": " + e.text }

// body returns what the error looks like on the wire. One without a code comes
// from the gate before the API, which words it in its own way [K].
func (e *activityError) body() any {
	if e.code == "" {
		return map[string]string{"Message": e.text}
	}
	return map[string]any{"error": map[string]string{"code": e.code, "message": e.text}}
}

// badActivity refuses with 400, which is documented for no code in particular
// [K].
func badActivity(code, format string, a ...any) error {
	return &activityError{http.StatusBadRequest, code, fmt.Sprintf(format, a...)}
}

func notEmulated(format string, a ...any) error {
	return &activityError{http.StatusNotImplemented, "NotImplemented", "The emulated tenant does not know " + fmt.Sprintf(format, a...) + "."}
}

// tooManyRequests is how the service throttles in practice: with 403, and
// without saying for how long.
func tooManyRequests(r *activityCall) error {
	return &activityError{http.StatusForbidden, "AF429", fmt.Sprintf("Too many requests. Method=%s, PublisherId=%s", r.Method, r.query.Get(publisher))}
}

// usualLimit is how many requests a minute Microsoft documents as the least
// that a tenant has.
const usualLimit = 2000

// API serves the audit log, and tells webhooks of it while Run runs.
type API struct {
	Cloud  *origin.Cloud
	Tokens *token.Reader
	Audit  *tenant.AuditLog

	// Limit is how many requests a minute each publisher may make, and all
	// without one together. 0 means 2,000, and no limit when the cloud is calm;
	// below 0 there is none.
	Limit int

	// Webhooks calls subscribers, see WebhookClient. Without it no webhook
	// can be registered.
	Webhooks *http.Client

	requests origin.Quota
	notifier
}

// Origin returns the API as it is served.
func (e *API) Origin() origin.API {
	ops := activityOps()
	e.requests = origin.Quota{Most: e.Limit, Per: time.Minute}
	if e.Limit == 0 && !e.Cloud.Calm {
		e.requests.Most = usualLimit
	}
	return origin.API{
		Name: origin.Manage, Handler: e.activityHandler(ops), Operation: activityOperation,
		Operations: operations(ops), Refuse: refuseManage,
	}
}

// refuseManage words an error as the API does. AF50000 is documented as an
// internal error after which to try again.
func refuseManage(w http.ResponseWriter, _ *http.Request, f origin.Failure) {
	code := "AF50000"
	switch f.Status {
	case http.StatusTooManyRequests:
		code = "AF429"
	case http.StatusNotImplemented:
		code = "NotImplemented"
	}
	origin.WriteJSON(w, f.Status, map[string]any{"error": map[string]any{"code": code, "message": f.Text}})
}

// activityOperation names an operation by its path.
func activityOperation(r *http.Request) string {
	_, path, ok := strings.Cut(r.URL.Path, "/activity/feed/")
	if !ok {
		return ""
	}
	switch {
	case strings.HasPrefix(path, "audit/"):
		return "blob"
	case path == "resources/dlpSensitiveTypes":
		return "dlp"
	}
	operation, ok := strings.CutPrefix(path, "subscriptions/")
	switch operation {
	case "start", "stop", "list", "content", "notifications":
		if ok {
			return operation
		}
	}
	return ""
}

func (e *API) activityHandler(ops []activityOp) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := e.serveActivity(w, r, ops)
		if err == nil {
			return
		}
		var refused *activityError
		if !errors.As(err, &refused) {
			// The answer has begun: the client must not take what it has
			// for all of it.
			panic(http.ErrAbortHandler)
		}
		origin.WriteJSON(w, refused.status, refused.body())
	})
}

func (e *API) serveActivity(w http.ResponseWriter, r *http.Request, ops []activityOp) error {
	c, op, err := routeActivity(r, ops)
	if err != nil {
		return err
	}
	if err := e.authorizeActivity(w, c); err != nil {
		return err
	}
	if ok, _ := e.requests.Take(c.pool(), e.Cloud.Now()); !ok {
		return tooManyRequests(c)
	}
	can := kinds(op.name)
	c.fault = e.Cloud.Faults.Take(origin.Manage, op.name, can...)
	switch {
	case c.fault == nil:
	case !slices.Contains(can, c.fault.Kind):
		return notEmulated("the fault %s of operation %s", c.fault.Kind, op.name)
	case c.fault.Kind == AF429:
		return tooManyRequests(c)
	}
	return op.serve(e, w, c)
}

// routeActivity finds out what a request is for. The version in the path is
// v1.0; links of the service itself sometimes say v1.
func routeActivity(r *http.Request, ops []activityOp) (*activityCall, activityOp, error) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1.0/")
	if !ok {
		rest, ok = strings.CutPrefix(r.URL.Path, "/api/v1/")
	}
	tenantID, path, feed := strings.Cut(rest, "/activity/feed/")
	i := slices.IndexFunc(ops, func(op activityOp) bool {
		return op.path == path || strings.HasSuffix(op.path, "/") && strings.HasPrefix(path, op.path)
	})
	if !ok || !feed || i < 0 || ops[i].method != r.Method {
		return nil, activityOp{}, notEmulated("%s", origin.Describe(r))
	}
	op := ops[i]
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, op, badActivity("AF20002", "The query string cannot be read.") // [K]
	}
	for name, values := range query {
		if name != publisher && !slices.Contains(op.parameters, name) {
			return nil, op, notEmulated("the query parameter %s of %s", origin.Printable(name), op.name)
		}
		if len(values) > 1 {
			return nil, op, notEmulated("a repeated query parameter %s", name)
		}
	}
	c := &activityCall{Request: r, operation: op.name, tenantID: tenantID, query: query}
	if op.name == "blob" {
		c.contentID = strings.TrimPrefix(path, op.path)
	}
	return c, op, nil
}

// authorizeActivity checks the token, for whom it is, and the tenant in the
// path. That 401 is the status of a missing permission is [K].
func (e *API) authorizeActivity(w http.ResponseWriter, c *activityCall) error {
	who, err := e.Tokens.Read(c.Request)
	audiences := append(e.Cloud.Hosts.Bases(origin.Manage), manageAudience)
	if err == nil && !slices.Contains(audiences, strings.TrimSuffix(who.Audience, "/")) {
		err = fmt.Errorf("the token is for %s", who.Audience)
	}
	if err != nil {
		// The service says no more than this; the reason is in a header of
		// ours.
		w.Header().Set("X-Emulator-Reason", origin.Printable(err.Error()))
		w.Header().Set("WWW-Authenticate", "Bearer")
		return &activityError{http.StatusUnauthorized, "", "Authorization has been denied for this request."}
	}
	switch {
	case !origin.IsGUID(c.tenantID):
		return badActivity("AF20013", "The tenant ID passed in the URL (%s) is not a valid GUID.", origin.Printable(c.tenantID))
	case !strings.EqualFold(c.tenantID, who.TenantID):
		return badActivity("AF20010", "The tenant ID passed in the URL (%s) does not match the tenant ID passed in the access token (%s).", c.tenantID, who.TenantID)
	case !strings.EqualFold(c.tenantID, e.Tokens.TenantID):
		return badActivity("AF20011", "Specified tenant ID (%s) does not exist in the system or has been deleted.", c.tenantID)
	case !e.Audit.Recording():
		// The service says of a tenant whose auditing is turned off that it
		// does not exist; with this code is [K].
		return badActivity("AF20011", "Tenant %s does not exist.", c.tenantID)
	case !who.May(readActivity): // which the service publishes for applications and for people
		return &activityError{http.StatusUnauthorized, "AF10001", fmt.Sprintf(
			"The permission set (%s) sent in the request does not include the expected permission %s.", strings.Join(slices.Concat(who.Roles, who.Scopes), ","), readActivity)}
	}
	c.clientID = who.ClientID
	return nil
}

// pool names the pool of requests that a call counts in: the publisher's own,
// or the one that all share who do not say who they are. A publisher is the
// GUID of its tenant; what else it may be, no document says [K].
func (c *activityCall) pool() string {
	if id := c.query.Get(publisher); origin.IsGUID(id) {
		return strings.ToLower(id)
	}
	return ""
}

// contentType returns the content type that a call asks for.
func (c *activityCall) contentType() (string, error) {
	name := c.query.Get("contentType")
	switch {
	case name == "":
		return "", badActivity("AF20001", "Missing parameter: contentType.")
	case !slices.Contains(tenant.ContentTypes(), name):
		return "", badActivity("AF20020", "The specified content type is not valid.")
	}
	return name, nil
}

// activityTimes are the documented forms of times in queries, all UTC, and the
// one with Z and a fraction of a second, which the CLI for Microsoft 365 sends.
var activityTimes = [...]string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z"}

func parseActivityTime(s string) (time.Time, error) {
	for _, layout := range activityTimes {
		if len(s) < len(layout) {
			continue
		}
		// Parse takes a fraction after the seconds on its own account; only
		// the last form may have one.
		if t, err := time.Parse(layout, s); err == nil && (len(s) == len(layout) || strings.HasSuffix(s, "Z")) {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time", s)
}
