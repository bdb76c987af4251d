package keyvault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// API serves a vault.
type API struct {
	Cloud  *origin.Cloud
	Tokens *token.Reader
	Vault  *Vault
}

// Origin returns the API as it is served.
func (a *API) Origin() origin.API {
	all := make([]origin.Operation, len(operations))
	for i := range operations {
		all[i] = operations[i].Operation
	}
	return origin.API{
		Name:    origin.Vault,
		Handler: http.HandlerFunc(a.serve),
		Operation: func(r *http.Request) string {
			if op, _, _ := find(r); op != nil {
				return op.Name
			}
			return ""
		},
		Operations: all,
		Refuse:     refuseFailure,
	}
}

// call is one request, once it is known who asks for what.
type call struct {
	api     *API
	vault   *Vault
	r       *http.Request
	base    string // scheme and host under which the client reaches the vault
	version apiVersion
	name    string // of the object, or empty
	id      string // of the version, or empty
	query   url.Values

	location   string        // of the answer; none when empty
	retryAfter time.Duration // of the answer; none when 0
}

// answer is what is sent back: a body that is written as JSON, or none when nil.
type answer struct {
	status int
	body   any
}

func ok(body any) (answer, error) { return answer{http.StatusOK, body}, nil }

// apiVersion is the place of a version among apiVersions.
type apiVersion int

// apiVersions are the versions of the API that are served, oldest first. The
// service has older ones, which no client of today asks for.
var apiVersions = []string{
	"7.3", "7.4-preview.1", "7.4", "7.5-preview.1", "7.5", "7.6-preview.1", "7.6-preview.2", "7.6",
	"2025-06-01-preview", "2025-07-01", "2026-03-01-preview", "2026-04-01",
}

// since returns the place of a version that brought something new.
func since(version string) apiVersion { return apiVersion(slices.Index(apiVersions, version)) }

// Members that came later, with the version that brought them. Where no
// changelog of an SDK says it, it is [K].
var (
	sinceCertOrder       = since("7.6-preview.2")      // preserveCertOrder
	sincePreviousVersion = since("2025-06-01-preview") // previousVersion, and outContentType
	sinceMoreNames       = since("2026-03-01-preview") // ipAddresses and uris of sans; platformManaged [K]
)

func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	c := &call{api: a, vault: a.Vault, r: r, base: a.Cloud.Hosts.Base(r, origin.Vault)}
	// Before anything else, the body included: the SDKs send their first
	// request without token and body to be told where to get one.
	caller, err := a.caller(r)
	if err != nil {
		a.challenge(w, r, err)
		return
	}
	result, err := c.carryOut(caller)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	answerHeaders(w, r)
	if c.location != "" {
		w.Header().Set("Location", c.location)
	}
	if c.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(c.retryAfter.Seconds())))
	}
	if result.body == nil {
		w.WriteHeader(result.status)
		return
	}
	origin.WriteJSON(w, result.status, result.body)
}

// resource is what tokens for the vault are asked for; each of Microsoft's
// clouds has its own.
func (a *API) resource() string { return "https://" + a.Cloud.Hosts.Names.VaultDomain }

// caller returns who calls.
func (a *API) caller(r *http.Request) (token.Caller, error) {
	c, err := a.Tokens.Read(r)
	if err == nil && c.Audience != a.resource() && c.Audience != directory.KeyVault {
		err = fmt.Errorf("AKV10022: Invalid audience. Expected %s, found: %s", a.resource(), printable(c.Audience))
	}
	return c, err
}

// challenge tells a client where to get which token.
func (a *API) challenge(w http.ResponseWriter, r *http.Request, err error) {
	text := err.Error()
	switch {
	case errors.Is(err, token.ErrNone):
		text = "AKV10000: Request is missing a Bearer or PoP token."
	case errors.Is(err, token.ErrIssuer):
		text = "AKV10032: Invalid issuer. Expected one of " + token.Issuer(a.Tokens.TenantID) + ", found another."
	case !strings.HasPrefix(text, "AKV"):
		text = "AKV10001: " + text + "." // The code is [K].
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="%s/%s", resource="%s"`, a.Cloud.Hosts.Base(r, origin.Authority), a.Tokens.TenantID, a.resource()))
	writeRefusal(w, r, refuse(http.StatusUnauthorized, "Unauthorized", "", "%s", text))
}

// refuse answers with an error.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // Nobody waits for the answer.
		}
		a.Cloud.Log.Error("a request to the vault failed", "request", origin.Describe(r), "error", err)
		refusal = refuse(http.StatusInternalServerError, "InternalServerError", "", "The vault failed to answer.")
	}
	// The service leaves Retry-After out now and then.
	if refusal.Status == http.StatusTooManyRequests && (a.Cloud.Calm || a.Cloud.Chance.Int64N(2) == 0) {
		w.Header().Set("Retry-After", strconv.Itoa(int(window.Seconds())))
	}
	writeRefusal(w, r, refusal)
}

// carryOut checks what all requests have in common, and answers.
func (c *call) carryOut(caller token.Caller) (answer, error) {
	op, name, id := find(c.r)
	if op == nil {
		return answer{}, notEmulated(origin.Describe(c.r))
	}
	c.name, c.id = name, id
	// Query decodes the names of parameters, too; JavaScript's SDK sends
	// api%2Dversion.
	c.query = c.r.URL.Query()
	version := c.query.Get("api-version")
	if version == "" {
		return answer{}, badParameter("The request is missing the query parameter api-version.")
	}
	c.version = since(version)
	switch {
	case c.version < 0:
		return answer{}, badParameter("The specified version (%s) is not recognized. Consider using the latest supported version (%s).", printable(version), apiVersions[len(apiVersions)-1])
	case name != "" && !objectName.MatchString(name):
		return answer{}, badParameter("The request URI contains an invalid name: %s", printable(name))
	case id != "" && !versionID.MatchString(id):
		return answer{}, badParameter("The request URI contains an invalid version: %s", printable(id))
	}
	if err := c.vault.authorize(caller, token.Issuer(c.api.Tokens.TenantID), op, name, c.api.Cloud.VaultLag(c.r)); err != nil {
		return answer{}, err
	}
	if err := c.vault.charge(c.api.Cloud.Calm, op.pool(), op.cost); err != nil {
		return answer{}, err
	}
	if err := c.vault.tend(c.r.Context()); err != nil {
		return answer{}, err
	}
	return op.handle(c)
}

// settle is how long something takes that a calm vault does at once [K].
func (c *call) settle() time.Duration {
	if c.api.Cloud.Calm {
		return 0
	}
	return c.api.Cloud.Chance.Between(2*time.Second, 10*time.Second)
}

// read reads the body, which must be a JSON object without unknown members.
func (c *call) read(into any) error {
	b, err := io.ReadAll(c.r.Body)
	if err != nil {
		return badParameter("The request body is too long or broke off.")
	}
	switch trimmed := bytes.TrimSpace(b); {
	case len(trimmed) == 0:
		return badParameter("The request body is missing.")
	case trimmed[0] != '{':
		return badParameter("The request body is not a JSON object.")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return badParameter("Property %s has invalid value.", printable(wrong.Field))
		}
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return badParameter("Property %s is not known.", printable(strings.Trim(name, `"`)))
		}
		return badParameter("The request body is not valid JSON of the expected form.")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badParameter("The request body goes on after its JSON object.")
	}
	return nil
}

// link returns the address of something in the vault.
func (c *call) link(parts ...string) string { return c.base + "/" + strings.Join(parts, "/") }

// pageSize is the most that a list of the vault holds.
const pageSize = 25

// page answers with the part of a list that the client asks for.
func page[T any](c *call, all []T, item func(T) any) (answer, error) {
	size, from := pageSize, 0
	if text := c.query.Get("maxresults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pageSize {
			return answer{}, badParameter("The parameter maxresults must be between 1 and %d.", pageSize)
		}
		size = n
	}
	if text := c.query.Get("$skiptoken"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return answer{}, badParameter("The parameter $skiptoken is invalid.")
		}
		from = n
	}
	rest := all[min(from, len(all)):]
	value := []any{}
	for _, one := range rest[:min(size, len(rest))] {
		value = append(value, item(one))
	}
	var next any
	if len(rest) > size {
		c.query.Set("$skiptoken", strconv.Itoa(from+size))
		next = c.base + c.r.URL.Path + "?" + c.query.Encode()
	}
	return ok(map[string]any{"value": value, "nextLink": next})
}

func answerHeaders(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("x-ms-request-id", uuid.NewString())
	h.Set("x-ms-keyvault-region", "emulated")
	h.Set("x-ms-keyvault-service-version", "0.0.0.0")
	h.Set("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;")
	if id := r.Header.Get("x-ms-client-request-id"); origin.IsGUID(id) {
		h.Set("x-ms-client-request-id", id)
	}
}
