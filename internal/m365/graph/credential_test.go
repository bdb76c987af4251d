package graph_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
)

// Identifiers as they were seen in tenants: customKeyIdentifier, as JSON has it.
func TestIsForKnowsEverySpelling(t *testing.T) {
	p, other := pair(t, 0, year).Certificate, pair(t, 1, year).Certificate
	sum := directory.Thumbprint(p.Raw)
	upper := strings.ToUpper(hex.EncodeToString(sum))
	std := base64.StdEncoding.EncodeToString
	for name, wire := range map[string]string{
		"the bytes":                      std(sum),
		"the bytes, not padded":          base64.RawURLEncoding.EncodeToString(sum),
		"digits taken for base64":        upper,
		"small digits taken for base64":  strings.ToLower(upper), // which are other bytes
		"the digits as a text":           std([]byte(upper)),
		"the small digits as a text":     std([]byte(strings.ToLower(upper))),
		"base64 as a text":               std([]byte(std(sum))),
		"base64url as a text, unpadded":  std([]byte(pki.X5T(p))),
		"what pki says Graph shows":      pki.CustomKeyIdentifier(p),
		"what pki says Graph shows, hex": pki.CustomKeyIdentifierHex(p),
	} {
		var k graph.KeyCredential
		if err := json.Unmarshal([]byte(`{"keyId": "k", "customKeyIdentifier": "`+wire+`", "key": null}`), &k); err != nil {
			t.Fatal(err)
		}
		if !k.IsFor(p) || k.IsFor(other) {
			t.Errorf("%s (%s) is not known", name, wire)
		}
	}
	for _, wire := range []string{`null`, `""`, `"bm90IGEgdGh1bWJwcmludA=="`, `"not base64!"`} {
		var k graph.KeyCredential
		if err := json.Unmarshal([]byte(`{"customKeyIdentifier": `+wire+`}`), &k); err != nil {
			t.Fatal(err)
		}
		if k.IsFor(p) {
			t.Errorf("%s stands for the certificate", wire)
		}
	}
	// The certificate itself decides.
	for name, key := range map[string][]byte{"DER": other.Raw, "PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Raw})} {
		k := graph.KeyCredential{Identifier: sum, Key: key}
		if k.IsFor(p) || !k.IsFor(other) {
			t.Errorf("%s: the identifier wins over the key", name)
		}
	}
}

func TestKeyCredentialKeepsWhatItDoesNotKnow(t *testing.T) {
	const wire = `{"keyId":"k","endDateTime":"9999-12-31T23:59:59.9999999Z","startDateTime":null,"displayName":null,"new":{"a":1.0},"key":null}`
	var k graph.KeyCredential
	if err := json.Unmarshal([]byte(wire), &k); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(k); err != nil || string(got) != wire {
		t.Errorf("got %s, error %v", got, err)
	}
	for _, wire := range []string{`{"key": "!"}`, `{"endDateTime": "soon"}`, `[]`} {
		if err := json.Unmarshal([]byte(wire), &k); err == nil {
			t.Errorf("%s was taken", wire)
		}
	}
}
