// Package graph is the part of Microsoft Graph that is about applications, what
// was granted to them, and the organization, over HTTP.
//
// routes.go lists what is emulated. A request is matched to a route, its token
// and permissions are checked (access.go), its query options are read
// (query.go, filter.go), and the route's function answers from the directory.
// schema.go holds Graph's types, by which bodies and options are checked.
package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// API serves the directory.
type API struct {
	Cloud     *origin.Cloud
	Tokens    *token.Reader
	Directory *directory.Directory

	// Unkindness is what happens unless the cloud is calm.
	Unkindness Unkindness

	// Services say in which state the services behind Graph are.
	Services Services

	once    sync.Once
	pageKey []byte // signs page tokens

	mu     sync.Mutex // guards what follows
	writes map[string]time.Time
	bucket map[string]*bucket
	files  map[string]file // to be downloaded without a token, by their paths
}

// Unkindness is what Graph does to clients that are in a hurry. The zero value
// does nothing.
type Unkindness struct {
	// Contention is how many in a thousand writes are refused with
	// Directory_ConcurrencyViolation because another to the same object came
	// less than 5 seconds before. Users report it; Microsoft's pages do not
	// say when it happens [K].
	Contention int
	// Throttle refuses requests that cost more than the documented resource
	// units of a small tenant.
	Throttle bool
}

// UsualUnkindness is that of a tenant that is not calm.
var UsualUnkindness = Unkindness{Contention: 200, Throttle: true}

// Origin returns the API as it is served.
func (e *API) Origin() origin.API {
	all := make([]origin.Operation, 0, len(routes()))
	seen := map[string]bool{}
	for _, rt := range routes() {
		if !seen[rt.name] {
			all = append(all, origin.Operation{Name: rt.name, Request: rt.method + " " + rt.path, Source: rt.source})
		}
		seen[rt.name] = true
	}
	all = append(all, downloadOperation)
	return origin.API{
		Name: origin.Graph,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isDownload(r) {
				e.download(w, r)
				return
			}
			e.serve(w, r, true)
		}),
		Operation: func(r *http.Request) string {
			if isDownload(r) {
				return downloadOperation.Name
			}
			if rt, _, _, ok := match(r.Method, r.URL.EscapedPath()); ok {
				return rt.name
			}
			return ""
		},
		Operations: all,
		Refuse:     e.refuse,
	}
}

// request is a request to Graph whose route is known and whose caller may take
// it.
type request struct {
	*API
	r       *http.Request
	route   *route
	version string // v1.0 or beta
	path    string // after the version, as it came, such as /applications/{id}
	keys    []key  // of the route's placeholders
	body    []byte
	caller  token.Caller
	view    directory.View // one replica's, for the whole request
	query   query
}

// answer is what a route gives back: JSON, or text for a $count, or an address
// to go to, or nothing.
type answer struct {
	status   int
	body     any
	text     string
	location string
}

var noContent = answer{status: http.StatusNoContent}

// serve answers a request. batch says that it may be a $batch, which must not
// be one of its own.
func (e *API) serve(w http.ResponseWriter, r *http.Request, batch bool) {
	a, err := e.answer(w, r, batch)
	if err != nil {
		e.writeError(w, r, err)
		return
	}
	e.setHeaders(w, r)
	if strings.Contains(strings.ToLower(r.Header.Get("Accept")), "odata.metadata=none") {
		w.Header().Set("Content-Type", strings.Replace(w.Header().Get("Content-Type"), "minimal", "none", 1))
		withoutMetadata(a.body)
	}
	switch {
	case a.status == http.StatusNoContent:
		w.Header().Del("Content-Type")
		w.WriteHeader(a.status)
	case a.location != "":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Location", a.location)
		w.WriteHeader(a.status)
	case a.text != "":
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(a.status)
		io.WriteString(w, a.text) // The client is gone when this fails.
	default:
		origin.WriteJSON(w, a.status, a.body)
	}
}

// withoutMetadata takes away what describes an answer and is not needed to go on
// reading. CLI for Microsoft 365 asks for that.
func withoutMetadata(body any) {
	e, ok := body.(entity)
	if !ok {
		return
	}
	delete(e, "@odata.context")
	delete(e, "@odata.type")
	if value, ok := e["value"].([]entity); ok {
		for _, one := range value {
			delete(one, "@odata.type")
		}
	}
}

func (e *API) answer(w http.ResponseWriter, r *http.Request, batch bool) (answer, *graphError) {
	rt, version, keys, ok := match(r.Method, r.URL.EscapedPath())
	if !ok || rt.batch && !batch {
		return answer{}, notEmulated("%s", origin.Describe(r))
	}
	q := &request{API: e, r: r, route: rt, version: version, keys: keys}
	var err *graphError
	if q.caller, err = e.authenticate(w, r); err != nil {
		return answer{}, err
	}
	if err := q.readBody(); err != nil {
		return answer{}, err
	}
	q.path = strings.TrimPrefix(r.URL.EscapedPath(), "/"+version)
	q.view = e.Directory.View(e.Cloud.ReadLag(r))
	if q.query, err = parseQuery(r.URL.RawQuery, rt); err != nil {
		return answer{}, err
	}
	if err := q.throttle(w); err != nil {
		return answer{}, err
	}
	if err := q.authorize(); err != nil {
		return answer{}, err
	}
	if rt.batch {
		return q.batch()
	}
	return rt.serve(q)
}

// authenticate reads the token. Its refusals are the ones of Graph's front.
func (e *API) authenticate(w http.ResponseWriter, r *http.Request) (token.Caller, *graphError) {
	c, err := e.Tokens.Read(r)
	message := ""
	switch {
	case errors.Is(err, token.ErrNone):
		message = "Access token is empty."
	case errors.Is(err, token.ErrExpired):
		message = "Lifetime validation failed, the token is expired."
	case err != nil:
		message = "Access token validation failure: " + err.Error() + "."
	case !isGraph(c.Audience):
		message = "Access token validation failure. Invalid audience."
	}
	if message == "" {
		return c, nil
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="", authorization_uri="%s/common/oauth2/authorize", client_id="%s"`,
		e.Cloud.Hosts.Base(r, origin.Authority), directory.Graph))
	return c, refusal(http.StatusUnauthorized, "InvalidAuthenticationToken", "%s", message)
}

// isGraph reports whether a token's audience is Graph, in any of the clouds.
func isGraph(audience string) bool {
	if audience == directory.Graph {
		return true
	}
	host, ok := strings.CutPrefix(strings.TrimSuffix(audience, "/"), "https://")
	for _, c := range origin.Clouds {
		for _, name := range c.Graph {
			if ok && host == name {
				return true
			}
		}
	}
	return false
}

// readBody reads the body of a write. Its size is bounded before.
func (q *request) readBody() *graphError {
	body, err := io.ReadAll(q.r.Body)
	if err != nil {
		return refusal(http.StatusRequestEntityTooLarge, "Request_BadRequest", "The request body cannot be read or is too large.")
	}
	mediaType, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type")) // "" when it cannot be read
	if len(body) > 0 && q.r.Method != http.MethodGet && mediaType != "application/json" {
		return badRequest("Write requests are only supported with a Content-Type of application/json.")
	}
	if q.route.body && len(body) == 0 {
		return badRequest("Empty Payload. JSON content expected.")
	}
	q.body = body
	return nil
}

// read reads the body of an action, whose parameters are all known.
func (q *request) read(parameters ...string) (map[string]json.RawMessage, *graphError) {
	raw, err := object(q.body)
	if err != nil {
		return nil, err
	}
	for name := range raw {
		known := false
		for _, p := range parameters {
			known = known || p == name
		}
		if !known {
			return nil, badRequest("The parameter '%s' in the request payload is not a valid parameter for the operation '%s'.", origin.Printable(name), q.route.name)
		}
	}
	return raw, nil
}

// base is the scheme, host and version by which the client reached Graph.
func (q *request) base() string { return q.Cloud.Hosts.Base(q.r, origin.Graph) + "/" + q.version }

// now is the tenant's time, as the directory keeps times.
func (q *request) now() time.Time { return q.Cloud.Now().UTC().Truncate(time.Millisecond) }

// reference reads the body of a $ref, and returns the id of the object in lower
// case.
func (q *request) reference() (string, *graphError) {
	var body map[string]string
	if json.Unmarshal(q.body, &body) != nil || len(body) != 1 || body["@odata.id"] == "" {
		return "", badRequest("Invalid value specified for property '@odata.id' of resource.")
	}
	u, err := url.Parse(body["@odata.id"])
	if err != nil {
		return "", badRequest("Invalid value specified for property '@odata.id' of resource.")
	}
	id := u.Path[strings.LastIndex(u.Path, "/")+1:]
	if u.Host != "" {
		known := false
		for _, base := range q.Cloud.Hosts.Bases(origin.Graph) {
			known = known || strings.EqualFold(u.Scheme+"://"+u.Host, base)
		}
		if !known {
			return "", badRequest("The resource link does not belong to this service.")
		}
	}
	if !origin.IsGUID(id) {
		return "", badRequest("Invalid object identifier '%s'.", origin.Printable(id))
	}
	return strings.ToLower(id), nil
}
