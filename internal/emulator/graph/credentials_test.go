package graph

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

var (
	noon     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	nextYear = noon.AddDate(1, 0, 0)
)

// newRSA is a key for the tests that need one; making them takes long.
var newRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newEC(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue returns a certificate for key, as DER: signed by the authority's key, or
// by itself when authority is nil.
func issue(t testing.TB, name string, key crypto.Signer, from, until time.Time, authority *x509.Certificate, authorityKey crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until,
		BasicConstraintsValid: true, IsCA: strings.HasSuffix(name, "CA"),
	}
	if authority == nil {
		authority, authorityKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// certificate returns one with an elliptic-curve key, valid for a year from
// noon.
func certificate(t testing.TB, name string) []byte {
	t.Helper()
	return issue(t, name, newEC(t), noon, nextYear, nil, nil)
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func asJSON(t testing.TB, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// members are a JSON object that a test writes.
type members map[string]any

// uploaded is the least that registers a certificate, with more members or other
// values.
func uploaded(der []byte, more members) members {
	k := members{"type": "AsymmetricX509Cert", "usage": "Verify", "key": b64(der)}
	for name, v := range more {
		k[name] = v
	}
	return k
}

// patch is what a PATCH of keyCredentials does.
func patch(t testing.TB, current []directory.KeyCredential, wanted ...members) ([]directory.KeyCredential, *graphError) {
	t.Helper()
	inputs, err := parseKeyInputs(asJSON(t, append([]members{}, wanted...)))
	if err != nil {
		return nil, err
	}
	return replaceKeyCredentials(current, inputs, noon)
}

func mustPatch(t testing.TB, current []directory.KeyCredential, wanted ...members) []directory.KeyCredential {
	t.Helper()
	all, err := patch(t, current, wanted...)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return all
}

// wantRefusal checks how something was refused; message is a part of the text.
func wantRefusal(t testing.TB, got *graphError, status int, code, message string) {
	t.Helper()
	if got == nil {
		t.Fatalf("accepted, want %d %s", status, code)
	}
	if got.Status != status || got.Code != code || !strings.Contains(got.Message, message) {
		t.Fatalf("refused with %d %s: %s\nwant %d %s: ...%s", got.Status, got.Code, got.Message, status, code, message)
	}
}

func TestRenderKeyCredentials(t *testing.T) {
	k := directory.KeyCredential{
		KeyID: "11111111-1111-1111-1111-111111111111", DisplayName: "CN=a", CustomKeyIdentifier: []byte("id"),
		Type: keyCertificate, Usage: usageVerify, StartDateTime: noon, EndDateTime: noon.Add(1500 * time.Millisecond), Key: []byte("der"),
	}
	want := `[{"customKeyIdentifier":"aWQ=","displayName":"CN=a","endDateTime":"2026-11-21T12:00:01.5Z","key":%s,` +
		`"keyId":"11111111-1111-1111-1111-111111111111","startDateTime":"2026-11-21T12:00:00Z","type":"AsymmetricX509Cert","usage":"Verify"}]`
	for withKey, key := range map[bool]string{false: `null`, true: `"ZGVy"`} {
		got := string(asJSON(t, renderKeyCredentials([]directory.KeyCredential{k}, withKey)))
		if diff := cmp.Diff(fmt.Sprintf(want, key), got); diff != "" {
			t.Errorf("withKey %t (-want +got):\n%s", withKey, diff)
		}
	}
	if got := string(asJSON(t, renderKeyCredentials(nil, true))); got != "[]" {
		t.Errorf("no keys are %s, want []", got)
	}
}

func TestRenderPasswordCredentials(t *testing.T) {
	name := "pw"
	p := directory.PasswordCredential{
		KeyID: "11111111-1111-1111-1111-111111111111", DisplayName: &name, Hint: "abc",
		StartDateTime: noon.Add(123456789 * time.Nanosecond), EndDateTime: nextYear,
	}
	want := `[{"customKeyIdentifier":null,"displayName":"pw","endDateTime":"2027-11-21T12:00:00Z","hint":"abc",` +
		`"keyId":"11111111-1111-1111-1111-111111111111","secretText":null,"startDateTime":"2026-11-21T12:00:00.1234567Z"}]`
	if diff := cmp.Diff(want, string(asJSON(t, renderPasswordCredentials([]directory.PasswordCredential{p})))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := renderPasswordCredential(p, "secret")["secretText"]; got != "secret" {
		t.Errorf("the answer of addPassword has secretText %v", got)
	}
}
