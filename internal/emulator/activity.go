package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// The Office 365 Management Activity API, as Microsoft documents it. What is
// marked [K] no document tells, and the service may do it otherwise.

const (
	manageAudience = "https://manage.office.com"
	readActivity   = "ActivityFeed.Read"
	// publisher names the vendor of the client, on any call.
	publisher = "PublisherIdentifier"
)

// activityCall is one request to the API.
type activityCall struct {
	*http.Request
	tenantID  string // as in the path
	query     url.Values
	contentID string // of a blob
	fault     *Fault // of the API's own kinds, or nil
}

// activityOp is one operation of the API.
type activityOp struct {
	name, method, path string
	parameters         []string // those that the operation knows besides the publisher
	serve              func(*Emulator, http.ResponseWriter, *activityCall) error
}

func activityOps() []activityOp {
	kind := []string{"contentType"}
	window := []string{"contentType", "startTime", "endTime", "nextPage"}
	return []activityOp{
		{"start", http.MethodPost, "subscriptions/start", kind, (*Emulator).startSubscription},
		{"stop", http.MethodPost, "subscriptions/stop", kind, (*Emulator).stopSubscription},
		{"list", http.MethodGet, "subscriptions/list", nil, (*Emulator).listSubscriptions},
		{"content", http.MethodGet, "subscriptions/content", window, (*Emulator).listContent},
		{"notifications", http.MethodGet, "subscriptions/notifications", window, (*Emulator).listNotifications},
		{"dlp", http.MethodGet, "resources/dlpSensitiveTypes", nil, (*Emulator).listSensitiveTypes},
		{"blob", http.MethodGet, "audit/", nil, (*Emulator).serveBlob},
	}
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

func (e *Emulator) activityHandler() http.Handler {
	ops := activityOps()
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
		writeJSON(w, refused.status, refused.body())
	})
}

func (e *Emulator) serveActivity(w http.ResponseWriter, r *http.Request, ops []activityOp) error {
	c, op, err := routeActivity(r, ops)
	if err != nil {
		return err
	}
	if err := e.authorizeActivity(w, c); err != nil {
		return err
	}
	c.fault = e.takeFault(manageAPI, op.name)
	switch {
	case c.fault == nil:
	case !c.fault.Kind.suits(op.name):
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
		return nil, activityOp{}, notEmulated("%s", describe(r))
	}
	op := ops[i]
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, op, badActivity("AF20002", "The query string cannot be read.") // [K]
	}
	for name, values := range query {
		if name != publisher && !slices.Contains(op.parameters, name) {
			return nil, op, notEmulated("the query parameter %s of %s", printable(name), op.name)
		}
		if len(values) > 1 {
			return nil, op, notEmulated("a repeated query parameter %s", name)
		}
	}
	c := &activityCall{Request: r, tenantID: tenantID, query: query}
	if op.name == "blob" {
		c.contentID = strings.TrimPrefix(path, op.path)
	}
	return c, op, nil
}

// authorizeActivity checks the token, for whom it is, and the tenant in the
// path. That 401 is the status of a missing permission is [K].
func (e *Emulator) authorizeActivity(w http.ResponseWriter, c *activityCall) error {
	who, err := e.authenticate(c.Request)
	if err == nil && strings.TrimSuffix(who.Audience, "/") != manageAudience {
		err = fmt.Errorf("the token is for %s", who.Audience)
	}
	if err != nil {
		// The service says no more than this; the reason is in a header of
		// ours.
		w.Header().Set("X-Emulator-Reason", printable(err.Error()))
		w.Header().Set("WWW-Authenticate", "Bearer")
		return &activityError{http.StatusUnauthorized, "", "Authorization has been denied for this request."}
	}
	switch {
	case !isGUID(c.tenantID):
		return badActivity("AF20013", "The tenant ID passed in the URL (%s) is not a valid GUID.", printable(c.tenantID))
	case !strings.EqualFold(c.tenantID, who.TenantID):
		return badActivity("AF20010", "The tenant ID passed in the URL (%s) does not match the tenant ID passed in the access token (%s).", c.tenantID, who.TenantID)
	case !strings.EqualFold(c.tenantID, e.tenant.ID):
		return badActivity("AF20011", "Specified tenant ID (%s) does not exist in the system or has been deleted.", c.tenantID)
	case !slices.Contains(who.Roles, readActivity):
		return &activityError{http.StatusUnauthorized, "AF10001", fmt.Sprintf(
			"The permission set (%s) sent in the request does not include the expected permission %s.", strings.Join(who.Roles, ","), readActivity)}
	}
	return nil
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

func noSubscription() error {
	return badActivity("AF20022", "No subscription found for the specified content type.")
}

// subscriptionBody is a subscription as it is listed. Webhooks are not
// emulated, so that there never is one.
type subscriptionBody struct {
	ContentType string `json:"contentType"`
	Status      string `json:"status"`
	Webhook     any    `json:"webhook"`
}

func (e *Emulator) startSubscription(w http.ResponseWriter, c *activityCall) error {
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	if err := e.checkWebhook(c); err != nil {
		return err
	}
	switch err := e.tenant.Audit.StartSubscription(contentType); err {
	case nil:
	case tenant.ErrStartedLately:
		// Documented: one has to wait 15 minutes; with which error, is [K].
		return tooManyRequests(c)
	case tenant.ErrAlreadyEnabled:
		return badActivity("AF20024", "The subscription is already enabled. No property change.") // [K]
	default:
		return noSubscription()
	}
	writeJSON(w, http.StatusOK, subscriptionBody{ContentType: contentType, Status: "enabled"})
	return nil
}

// checkWebhook reads the body of a start. It may be absent; a webhook in it is
// checked as the service checks it, as far as that needs no call to it.
func (e *Emulator) checkWebhook(c *activityCall) error {
	text, err := io.ReadAll(c.Body)
	if err != nil {
		return badActivity("AF20002", "The body cannot be read.") // [K]
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil
	}
	var body struct {
		Webhook *struct {
			Address    string `json:"address"`
			AuthID     string `json:"authId"`
			Expiration string `json:"expiration"`
		} `json:"webhook"`
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return badActivity("AF20002", "Invalid parameter type: the body is not {\"webhook\": {\"address\", \"authId\", \"expiration\"}}.") // [K]
	}
	if body.Webhook == nil {
		return nil
	}
	address, err := url.Parse(body.Webhook.Address)
	switch {
	case body.Webhook.Address == "":
		return badActivity("AF20001", "Missing parameter: webhook.address.") // [K]
	case err != nil, address.Scheme != "https", address.Host == "":
		return badActivity("AF20021", "The webhook endpoint (%s) could not be validated. It must be an https address.", printable(body.Webhook.Address))
	}
	if body.Webhook.Expiration != "" {
		expires, err := parseActivityTime(body.Webhook.Expiration)
		if err != nil {
			return badActivity("AF20002", "Invalid parameter type: webhook.expiration. Expected type: datetime.")
		}
		if !expires.After(e.tenant.Now()) {
			return badActivity("AF20003", "Expiration %s provided is set to past date and time.", printable(body.Webhook.Expiration))
		}
	}
	return notEmulated("webhooks: it would call none; start the subscription without one and poll")
}

func (e *Emulator) stopSubscription(_ http.ResponseWriter, c *activityCall) error {
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	if err := e.tenant.Audit.StopSubscription(contentType); err != nil {
		return noSubscription()
	}
	return nil // 200 with an empty body
}

// listSubscriptions answers with all that were ever started; a stopped one is
// listed as disabled [K].
func (e *Emulator) listSubscriptions(w http.ResponseWriter, _ *activityCall) error {
	list := []subscriptionBody{}
	for _, s := range e.tenant.Audit.Subscriptions() {
		status := "disabled"
		if s.Enabled {
			status = "enabled"
		}
		list = append(list, subscriptionBody{ContentType: s.ContentType, Status: status})
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

// listNotifications answers with none, because no webhook is ever called.
func (e *Emulator) listNotifications(w http.ResponseWriter, c *activityCall) error {
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	if _, _, err := e.window(c); err != nil {
		return err
	}
	if c.query.Has("nextPage") {
		return badActivity("AF20031", "Invalid nextPage Input: %s.", printable(c.query.Get("nextPage")))
	}
	if !e.tenant.Audit.Subscribed(contentType) {
		return noSubscription()
	}
	writeJSON(w, http.StatusOK, []any{})
	return nil
}

// sensitiveTypes are a few of the kinds of text that data loss prevention
// looks for, with their documented ids, in English and German.
var sensitiveTypes = [...]struct{ id, english, german string }{
	{"50842eb7-edc8-4019-85dd-5a5c1f2bb085", "Credit Card Number", "Kreditkartennummer"},
	{"a44669fe-0d48-453d-a9b1-2cc83f2cba77", "U.S. Social Security Number (SSN)", "US-Sozialversicherungsnummer (SSN)"},
	{"e7dc4711-11b7-4cb0-b88b-2c394a771f0e", "International Banking Account Number (IBAN)", "Internationale Bankkontonummer (IBAN)"},
	{"cb353f78-2b72-4c3c-8827-92ebe4f69fdf", "ABA Routing Number", "ABA-Bankleitzahl"},
}

// listSensitiveTypes answers in the language that Accept-Language names, of
// which there may be one.
func (e *Emulator) listSensitiveTypes(w http.ResponseWriter, c *activityCall) error {
	language := strings.TrimSpace(strings.Join(c.Header.Values("Accept-Language"), ","))
	tag, quality, weighted := strings.Cut(language, ";")
	switch {
	case strings.Contains(language, ","):
		return badActivity("AF20053", "Only one language may be present in the Accept-Language header.")
	case language != "" && !isLanguage(strings.TrimSpace(tag)), weighted && !strings.HasPrefix(strings.TrimSpace(quality), "q="):
		return badActivity("AF20054", "Invalid syntax in Accept-Language header.")
	}
	type name struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	var list []name
	for _, s := range sensitiveTypes {
		n := name{s.id, s.english}
		if main, _, _ := strings.Cut(tag, "-"); strings.EqualFold(main, "de") {
			n.Name = s.german
		}
		list = append(list, n)
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

// isLanguage reports whether s has the syntax of a language tag (RFC 5646, the
// outline of it) or is the wildcard.
func isLanguage(s string) bool {
	if s == "*" {
		return true
	}
	for i, part := range strings.Split(s, "-") {
		if len(part) < 1 || len(part) > 8 || i == 0 && len(part) < 2 {
			return false
		}
		for _, r := range part {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
			if !letter && (i == 0 || r < '0' || r > '9') {
				return false
			}
		}
	}
	return true
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
