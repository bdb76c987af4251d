package emulator_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// TestOddRequests sends each API a thousand requests that nobody would send on
// purpose: its own operations with strange names, queries, bodies and tokens.
// None may panic or be answered with a 500, none may be answered with an empty
// success that the operation does not have, and what is not emulated is named.
func TestOddRequests(t *testing.T) {
	w := emulatortest.Start(t, nil, func(o *emulator.Options) {
		o.Log = slog.New(slog.NewTextHandler(panics{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	// A client that may do everything, so that the requests get past the door.
	client := w.Tenant.Client().ClientID
	principal, ok := w.Tenant.Directory.View(0).ServicePrincipalByAppID(client)
	if !ok {
		t.Fatal("the demo client has no service principal")
	}
	w.Tenant.Vault.Allow(principal.ID, "certificates/all", "secrets/all", "keys/all", "certificates/purge", "secrets/purge", "keys/purge")
	for _, role := range []string{
		"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "RoleManagement.ReadWrite.Directory",
		"Policy.ReadWrite.ApplicationConfiguration", "Policy.Read.All", "DelegatedPermissionGrant.ReadWrite.All", "Domain.Read.All", "Organization.Read.All",
	} {
		if err := w.Tenant.Directory.GrantRole(client, directory.Graph, role); err != nil {
			t.Fatal(err)
		}
	}
	variables, err := w.WriteClient(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	identity := ""
	for _, v := range variables {
		if value, ok := strings.CutPrefix(v, "IDENTITY_HEADER="); ok {
			identity = value
		}
	}
	resources := map[string]string{
		origin.Graph: "https://graph.microsoft.com", origin.Vault: "https://vault.azure.net",
		origin.Manage: "https://manage.office.com", origin.Logs: "https://api.loganalytics.io",
		origin.Resources: "https://management.azure.com",
	}
	at := w.Origins()
	origins := map[string]string{
		origin.Authority: at.Authority, origin.Graph: at.Graph, origin.Vault: at.Vault,
		origin.Manage: at.Manage, origin.Logs: at.Logs, origin.Identity: at.Identity,
		origin.Resources: at.Resources,
	}
	for name, operations := range w.Operations() {
		t.Run(name, func(t *testing.T) {
			if len(operations) == 0 || origins[name] == "" {
				t.Fatalf("the API has %d operations and the origin %q", len(operations), origins[name])
			}
			o := odd{Rand: rand.New(rand.NewPCG(7, uint64(len(name)))), w: w, api: name, origin: origins[name], operations: operations}
			o.names, o.identity = realNames(w), identity
			if resource, ok := resources[name]; ok {
				o.bearer = w.Token(t, resource)
			}
			for range 1000 {
				o.send(t)
			}
		})
	}
}

// realNames returns what the demo client and its things are called.
func realNames(w *emulatortest.World) []string {
	client, view := w.Tenant.Client().ClientID, w.Tenant.Directory.View(0)
	app, _ := view.ApplicationByAppID(client)
	principal, _ := view.ServicePrincipalByAppID(client)
	return []string{
		client, app.ID, principal.ID, app.KeyCredentials[0].KeyID, w.Tenant.ID, w.Tenant.WorkspaceID, w.Tenant.AppInsightsID,
		tenant.CertificateName, w.Tenant.Vault.Certificates()[0].Version, "name",
	}
}

// panics reports what net/http logs when a handler panics.
type panics struct{ t *testing.T }

func (p panics) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "panic serving") {
		p.t.Errorf("%s", line)
	}
	return len(line), nil
}

// odd sends odd requests to one API.
type odd struct {
	*rand.Rand
	w           *emulatortest.World
	api, origin string
	operations  []origin.Operation
	bearer      string   // an access token for it
	identity    string   // what the managed identity endpoint wants to be told
	names       []string // of things that are there
}

// strange are values in the place of names, numbers and texts.
var strange = []string{
	"", " ", ".", "..", "%00", "%2F", "%", "'", "''", `"`, "\\", "$", "(", ")", "{}", "[]", "null", "true", "0", "-1", "1e400",
	"00000000-0000-0000-0000-000000000000", "9999-12-31T23:59:59Z", "0001-01-01", "2026-02-30", "a b", "ä", "\u202e", "😀", "\x7f",
	"x' or '1' eq '1", "appId eq", "not not not", "((((((((((", "any(x:x", "<script>alert(1)</script>", "../../etc/passwd",
	strings.Repeat("a", 200), strings.Repeat("(", 2000), strings.Repeat("9", 400), "%F0%28%8C%28", "$skiptoken", "https://example.com/",
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

func (o *odd) one(values ...string) string { return values[o.IntN(len(values))] }

func (o *odd) send(t *testing.T) {
	operation := o.operations[o.IntN(len(o.operations))]
	method, path, _ := strings.Cut(operation.Request, " ")
	path, _, _ = strings.Cut(path, "?")
	if o.api == origin.Graph {
		path = o.one("/v1.0", "/v1.0", "/beta", "/v1.0/myorganization") + path
	}
	path = placeholder.ReplaceAllStringFunc(path, func(name string) string {
		switch {
		case o.IntN(5) == 0:
			return url.PathEscape(o.one(strange...))
		case strings.Contains(name, "tenant"):
			return o.w.Tenant.ID
		}
		return o.one(o.names...)
	})
	if o.IntN(12) == 0 {
		method = o.one("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND")
	}
	if o.IntN(12) == 0 {
		path += "/" + url.PathEscape(o.one(strange...))
	}
	query := url.Values{}
	if o.api == origin.Vault && o.IntN(6) > 0 {
		query.Set("api-version", "7.4")
	}
	for range max(0, o.IntN(6)-3) {
		query.Add(o.one("$filter", "$select", "$top", "$skiptoken", "$orderby", "$expand", "$count", "$search", "api-version", "maxresults",
			"contentType", "startTime", "endTime", "nextPage", "resource", "client_id", "redirect_uri", "response_type", "scope", "state", "query", "timespan", "x"),
			o.one(strange...))
	}
	address := o.origin + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	body := o.body(4)
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		return // not even a client can say it
	}
	request.Header.Set("Content-Type", o.one("application/json", "application/json", "application/x-www-form-urlencoded", "text/plain", "", ";;"))
	if o.api == origin.Identity {
		request.Header.Set("X-IDENTITY-HEADER", o.identity)
	}
	switch o.IntN(16) {
	case 0:
	case 1:
		request.Header.Set("Authorization", "Bearer "+o.one("x", "a.b.c", "..", "e30.e30.", o.bearer+"x", strings.Repeat("A", 5000)))
	default:
		request.Header.Set("Authorization", "Bearer "+o.bearer)
	}
	answer, err := o.w.HTTPClient().Do(request)
	describe := func() string {
		if len(body) > 300 {
			body = body[:300] + "…"
		}
		return fmt.Sprintf("%s %s with %q", method, address, body)
	}
	if err != nil {
		t.Errorf("%s: %v", describe(), err)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		t.Errorf("%s: reading the answer: %v", describe(), err)
		return
	}
	switch {
	case answer.StatusCode == http.StatusNotImplemented && method != "HEAD" && len(text) == 0:
		t.Errorf("%s: 501 that does not say what was asked", describe())
	case answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented:
		t.Errorf("%s: %d %s", describe(), answer.StatusCode, text)
	case o.api == origin.Logs && !strings.HasPrefix(request.Header.Get("Content-Type"), "application/json"):
		// What Azure Monitor does with a query that it cannot take for JSON.
	case answer.StatusCode == http.StatusOK && len(text) == 0 && method != "HEAD" && !mayBeEmpty[o.api+"/"+operation.Name]:
		t.Errorf("%s: an empty success", describe())
	}
}

// mayBeEmpty are the operations whose success is documented to have no text.
var mayBeEmpty = map[string]bool{
	"manage/stop": true,
}

// body returns a text that is JSON now and then, of the shapes that APIs take.
func (o *odd) body(depth int) string {
	switch o.IntN(10) {
	case 0:
		return ""
	case 1:
		return o.one(strange...)
	case 2:
		return o.one("grant_type", "client_id", "scope", "client_assertion", "code") + "=" + url.QueryEscape(o.one(strange...))
	}
	return o.value(depth)
}

func (o *odd) value(depth int) string {
	kind := o.IntN(8)
	if depth == 0 {
		kind = o.IntN(4)
	}
	switch kind {
	case 0:
		return o.one("null", "true", "false", "0", "-1", "1e400", "123456789012345678901234567890")
	case 1, 2, 3:
		return fmt.Sprintf("%q", o.one(append(strange, time.Now().UTC().Format(time.RFC3339), "AsymmetricX509Cert", "Verify", "Self", "RSA", "RS256", "AQAB")...))
	case 4:
		var items []string
		for range o.IntN(4) {
			items = append(items, o.value(depth-1))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	var members []string
	for range o.IntN(5) {
		name := o.one("id", "displayName", "keyCredentials", "passwordCredential", "keyCredential", "proof", "key", "keyId", "type", "usage",
			"startDateTime", "endDateTime", "appId", "requests", "method", "url", "headers", "body", "policy", "key_props", "kty", "key_size", "x509_props",
			"subject", "issuer", "name", "value", "pwd", "attributes", "exp", "nbf", "tags", "alg", "x5c", "webhook", "address", "expiration", "query",
			"timespan", "requiredResourceAccess", "appRoles", "identifierUris", "@odata.id", "audiences", "principalId", "resourceId", "appRoleId", "lifetime_actions")
		members = append(members, fmt.Sprintf("%q:%s", name, o.value(depth-1)))
	}
	return "{" + strings.Join(members, ",") + "}"
}
