package keyvault_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/keyvault"
)

// document is the part of an OpenAPI document that the tests look at.
type document struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	OperationID string
	Responses   map[string]struct {
		Content map[string]struct{ Schema schema }
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Format               string
	Enum                 []any
	Properties           map[string]schema
	Items                *schema
	AllOf                []schema
	AdditionalProperties json.RawMessage
}

// readDocument reads the data plane's OpenAPI document, which lies beside the
// repository, or skips the test.
func readDocument(t *testing.T) document {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above the test")
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "fixtures", "openapi", "keyvault-data-plane.derived.openapi.json"))
	if os.IsNotExist(err) {
		t.Skip("the folder shared, with the document, is not beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// notServed are the operations that are answered with 501.
var notServed = []string{"release", "getKeyAttestation", "secureWrapKey", "secureUnwrapKey"}

func TestEveryDocumentedOperationIsServedOrNamed(t *testing.T) {
	d := readDocument(t)
	w := start(t)
	served := 0
	for template, methods := range d.Paths {
		path := template
		for name, value := range map[string]string{"-name}": "x", "-version}": strings.Repeat("0", 32)} {
			for _, kind := range []string{"certificate", "secret", "key", "issuer"} {
				path = strings.ReplaceAll(path, "{"+kind+name, value)
			}
		}
		for method, o := range methods {
			if o.OperationID == "" {
				continue
			}
			a := w.ask(t, strings.ToUpper(method), path, nil)
			if slices.Contains(notServed, o.OperationID) {
				if a.status != 501 || !strings.Contains(a.text, path) {
					t.Errorf("%s %s: %d %s, want 501 that names it", method, path, a.status, a.text)
				}
				continue
			}
			served++
			if a.status >= 500 {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.text)
			}
		}
	}
	if served != keyvault.Operations() || served != 62 {
		t.Errorf("%d of the documented operations are served, and %d in all", served, keyvault.Operations())
	}
}

// misnamed are the schemas that the document mixes up, because two of its parts
// have schemas of the same name; by the schema that refers to one.
var misnamed = map[string]map[string]string{
	"ListKeyPropertiesResult":    {"KeyProperties": "KeyKeyProperties"},
	"ListSecretPropertiesResult": {"SecretProperties": "SecretSecretProperties"},
	"KeyRotationPolicy":          {"LifetimeAction": ""}, // not in the document
}

// always are the members that an answer of a schema has whatever was asked.
var always = map[string][]string{
	"Certificate":                {"id", "kid", "sid", "x5t", "cer", "attributes", "policy", "tags"},
	"DeletedCertificate":         {"id", "kid", "sid", "x5t", "cer", "attributes", "policy", "recoveryId", "deletedDate", "scheduledPurgeDate"},
	"CertificateAttributes":      {"enabled", "created", "updated"},
	"CertificateOperation":       {"id", "issuer", "csr", "cancellation_requested", "status", "request_id"},
	"CertificatePolicy":          {"id", "key_props", "secret_props", "x509_props", "lifetime_actions", "issuer", "attributes"},
	"CertificateProperties":      {"id", "x5t", "attributes", "tags"},
	"KeyProperties":              {"exportable", "kty", "reuse_key"},
	"Secret":                     {"id", "attributes", "tags"},
	"SecretAttributes":           {"enabled", "created", "updated", "recoveryLevel", "recoverableDays"},
	"SecretSecretProperties":     {"id", "attributes"},
	"DeletedSecret":              {"id", "attributes", "recoveryId", "deletedDate", "scheduledPurgeDate"},
	"Key":                        {"key", "attributes", "tags"},
	"DeletedKey":                 {"key", "attributes", "recoveryId", "deletedDate", "scheduledPurgeDate"},
	"KeyKeyProperties":           {"kid", "attributes"},
	"JsonWebKey":                 {"kid", "kty", "key_ops"},
	"KeyOperationResult":         {"kid", "value"},
	"KeyVerifyResult":            {"value"},
	"ListSecretPropertiesResult": {"value", "nextLink"},
	"Contacts":                   {"id", "contacts"},
	"Issuer":                     {"id", "provider", "attributes"},
	"KeyVaultError":              {"error"},
	"KeyVaultErrorError":         {"code"},
}

// check compares a value with a schema, and returns what is wrong.
func (d document) check(s schema, in string, value any, at string) (wrong []string) {
	for s.Ref != "" || len(s.AllOf) > 0 {
		if s.Ref == "" {
			s = s.AllOf[0]
			continue
		}
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		if right, ok := misnamed[in][name]; ok {
			if name = right; name == "" {
				return nil
			}
		}
		in, s = name, d.Components.Schemas[name]
		object, _ := value.(map[string]any)
		for _, member := range always[name] {
			if _, ok := object[member]; !ok {
				wrong = append(wrong, at+" has no "+member)
			}
		}
	}
	fits := true
	switch s.Type {
	case "string":
		_, fits = value.(string)
		fits = fits || value == nil && strings.HasSuffix(at, ".nextLink")
		if len(s.Enum) > 0 {
			fits = slices.Contains(s.Enum, value)
		}
	case "integer":
		n, ok := value.(float64)
		fits = ok && n == float64(int64(n))
	case "boolean":
		_, fits = value.(bool)
	case "array":
		list, ok := value.([]any)
		fits = ok
		for _, one := range list {
			wrong = append(wrong, d.check(*s.Items, in, one, at+"[]")...)
		}
	case "object":
		object, ok := value.(map[string]any)
		fits = ok
		for name, one := range object {
			member, known := s.Properties[name]
			switch {
			case known:
				wrong = append(wrong, d.check(member, in, one, at+"."+name)...)
			case len(s.AdditionalProperties) > 0:
			case in == "Certificate" && name == "pending": // in older documents
			default:
				wrong = append(wrong, at+" has the member "+name)
			}
		}
	}
	if !fits {
		wrong = append(wrong, at+" is not of the documented type "+s.Type)
	}
	return wrong
}

// find returns the operation of a path.
func (d document) find(method, path string) (operation, bool) {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var found operation
	best := -1
	for template, methods := range d.Paths {
		o, ok := methods[strings.ToLower(method)]
		wanted := strings.Split(strings.Trim(template, "/"), "/")
		if i := slices.IndexFunc(wanted, func(s string) bool { return strings.HasSuffix(s, "-version}") }); i >= 0 && len(parts) == len(wanted)-1 {
			wanted = slices.Delete(wanted, i, i+1)
		}
		if !ok || len(parts) != len(wanted) {
			continue
		}
		words := 0
		for i := range parts {
			switch {
			case parts[i] == wanted[i]:
				words++
			case !strings.HasPrefix(wanted[i], "{"):
				words = -1 << 10
			}
		}
		if words > best {
			found, best = o, words
		}
	}
	return found, best >= 0
}

func TestAnswersAreAsDocumented(t *testing.T) {
	d := readDocument(t)
	w := start(t)
	seen := map[string]bool{}
	w.heard = func(method, path string, a reply) {
		o, ok := d.find(method, path)
		if !ok {
			t.Errorf("%s %s is not in the document", method, path)
			return
		}
		status := "default"
		if a.status < 300 {
			status = map[int]string{200: "200", 201: "201", 202: "202", 204: "204"}[a.status]
			seen[o.OperationID] = true
		}
		response, ok := o.Responses[status]
		if !ok {
			t.Errorf("%s %s: the status %d is not documented", method, path, a.status)
			return
		}
		for _, content := range response.Content {
			for _, wrong := range d.check(content.Schema, "", any(a.body), o.OperationID) {
				t.Errorf("%s %s: %s", method, path, wrong)
			}
		}
	}
	now := w.clock.Now()
	pair := pemOf(t, "PRIVATE KEY", rsaKey(), issue(t, "x", rsaKey(), now, now.AddDate(1, 0, 0), nil, nil))
	digest := strings.Repeat("A", 43)
	version := "?api-version=2026-04-01"
	for _, step := range []struct {
		status             int
		method, path, body string
	}{
		{202, "POST", "/certificates/c/create" + version, `{"policy":{"key_props":{"kty":"EC","crv":"P-256"},"x509_props":{"subject":"CN=x"},"issuer":{"name":"Self"}}}`},
		{200, "GET", "/certificates/c/pending" + version, ""},
		{200, "GET", "/certificates/c" + version, ""},
		{200, "PATCH", "/certificates/c", `{"tags":{"a":"b"}}`},
		{200, "GET", "/certificates/c/policy", ""},
		{200, "PATCH", "/certificates/c/policy", `{"key_props":{"exportable":true}}`},
		{202, "POST", "/certificates/u/create", `{"policy":{"key_props":{"kty":"EC"},"x509_props":{"subject":"CN=x"}}}`},
		{200, "PATCH", "/certificates/u/pending", `{"cancellation_requested":true}`},
		{200, "DELETE", "/certificates/u/pending", ""},
		{200, "GET", "/certificates", ""},
		{200, "GET", "/certificates/c/versions", ""},
		{200, "GET", "/secrets/c" + version, ""},
		{200, "GET", "/keys/c", ""},
		{200, "PUT", "/certificates/contacts", `{"contacts":[{"email":"a@b.example"}]}`},
		{200, "GET", "/certificates/contacts", ""},
		{200, "DELETE", "/certificates/contacts", ""},
		{200, "PUT", "/certificates/issuers/i", `{"provider":"Test","credentials":{"account_id":"a","pwd":"b"},"org_details":{"id":"o","admin_details":[{"email":"a@b.example"}]}}`},
		{200, "PATCH", "/certificates/issuers/i", `{"attributes":{"enabled":false}}`},
		{200, "GET", "/certificates/issuers/i", ""},
		{200, "GET", "/certificates/issuers", ""},
		{200, "DELETE", "/certificates/issuers/i", ""},
		{200, "POST", "/certificates/c/backup", ""},
		{200, "DELETE", "/certificates/c", ""},
		{200, "GET", "/deletedcertificates/c", ""},
		{200, "GET", "/deletedcertificates", ""},
		{200, "GET", "/deletedsecrets", ""},
		{200, "GET", "/deletedkeys", ""},
		{200, "GET", "/deletedsecrets/c", ""},
		{200, "GET", "/deletedkeys/c", ""},
		{200, "POST", "/deletedcertificates/c/recover", ""},
		{200, "DELETE", "/certificates/c", ""},
		{204, "DELETE", "/deletedcertificates/c", ""},
		{404, "GET", "/certificates/c", ""},
		{200, "PUT", "/secrets/s", `{"value":"x","contentType":"t","tags":{"a":"b"},"attributes":{"nbf":1,"exp":2}}`},
		{200, "PATCH", "/secrets/s", `{"attributes":{"enabled":true}}`},
		{200, "GET", "/secrets/s", ""},
		{200, "GET", "/secrets", ""},
		{200, "GET", "/secrets/s/versions", ""},
		{200, "POST", "/secrets/s/backup", ""},
		{200, "DELETE", "/secrets/s", ""},
		{409, "PUT", "/secrets/s", `{"value":"x"}`},
		{200, "GET", "/deletedsecrets/s", ""},
		{200, "POST", "/deletedsecrets/s/recover", ""},
		{200, "DELETE", "/secrets/s", ""},
		{204, "DELETE", "/deletedsecrets/s", ""},
		{200, "POST", "/keys/k/create", `{"kty":"EC","crv":"P-256","tags":{"a":"b"}}`},
		{200, "PATCH", "/keys/k", `{"attributes":{"enabled":true}}`},
		{200, "GET", "/keys/k", ""},
		{200, "GET", "/keys", ""},
		{200, "GET", "/keys/k/versions", ""},
		{200, "POST", "/keys/k/sign", `{"alg":"ES256","value":"` + digest + `"}`},
		{200, "POST", "/keys/k/verify", `{"alg":"ES256","digest":"` + digest + `","value":"AAAA"}`},
		{200, "PUT", "/keys/k/rotationpolicy", `{"attributes":{"expiryTime":"P90D"},"lifetimeActions":[]}`},
		{200, "GET", "/keys/k/rotationpolicy", ""},
		{200, "POST", "/keys/k/rotate", ""},
		{200, "POST", "/rng", `{"count":1}`},
		{200, "POST", "/keys/k/backup", ""},
		{200, "DELETE", "/keys/k", ""},
		{200, "GET", "/deletedkeys/k", ""},
		{200, "POST", "/deletedkeys/k/recover", ""},
		{200, "DELETE", "/keys/k", ""},
		{204, "DELETE", "/deletedkeys/k", ""},
	} {
		var body any
		if step.body != "" {
			body = step.body
		}
		w.must(t, step.status, step.method, step.path, body)
	}
	w.must(t, 200, "POST", "/certificates/i/import", object{"value": pair})
	w.must(t, 200, "PUT", "/keys/r", object{"key": jwkOf(t, rsaKey())})
	for _, ops := range [][2]string{{"encrypt", "decrypt"}, {"wrapkey", "unwrapkey"}} {
		a := w.must(t, 200, "POST", "/keys/r/"+ops[0], object{"alg": "RSA-OAEP", "value": "AAAA"})
		w.must(t, 200, "POST", "/keys/r/"+ops[1], object{"alg": "RSA-OAEP", "value": a.string("value")})
	}
	w.clock.Add(time.Second)
	// Merging and restoring, which need more than a step, have tests of their own.
	if len(seen) != keyvault.Operations()-4 {
		t.Errorf("%d operations were seen, want all of %d but mergeCertificate and three to restore", len(seen), keyvault.Operations())
	}
}
