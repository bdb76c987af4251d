package graph

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

func mustPassword(t testing.TB, body string) (directory.PasswordCredential, string) {
	t.Helper()
	p, secret, err := newPassword(json.RawMessage(body), noon.Add(50*time.Nanosecond))
	if err != nil {
		t.Fatalf("refused %s: %v", body, err)
	}
	return p, secret
}

func TestNewPasswordLastsTwoYears(t *testing.T) {
	for _, body := range []string{``, `{}`, `{"passwordCredential":null}`, `{"passwordCredential":{}}`,
		`{"passwordCredential":{"displayName":null,"endDateTime":null,"secretText":null}}`} {
		p, _ := mustPassword(t, body)
		if !p.StartDateTime.Equal(noon) || !p.EndDateTime.Equal(noon.AddDate(2, 0, 0)) || p.DisplayName != nil {
			t.Errorf("%s: from %s to %s, named %v", body, p.StartDateTime, p.EndDateTime, p.DisplayName)
		}
	}
}

func TestNewPasswordAsAskedFor(t *testing.T) {
	p, _ := mustPassword(t, `{"passwordCredential":{"@odata.type":"#microsoft.graph.passwordCredential","displayName":"pw","startDateTime":"2027-01-01T00:00:00Z","endDateTime":"2040-01-01T00:00:00.103Z"}}`)
	if p.DisplayName == nil || *p.DisplayName != "pw" || !p.StartDateTime.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) ||
		!p.EndDateTime.Equal(time.Date(2040, 1, 1, 0, 0, 0, 103e6, time.UTC)) {
		t.Errorf("got %+v", p)
	}
	p, _ = mustPassword(t, `{"passwordCredential":{"startDateTime":"2027-01-01T00:00:00Z"}}`)
	if !p.EndDateTime.Equal(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("ends %s, want two years after its start", p.EndDateTime)
	}
}

func TestSecretText(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9~_]{40}$`)
	seen, used := map[string]bool{}, map[rune]bool{}
	for range 100 {
		p, secret := mustPassword(t, `{}`)
		if !form.MatchString(secret) || seen[secret] || p.Hint != secret[:3] {
			t.Fatalf("a secret of %d characters with hint %q", len(secret), p.Hint)
		}
		if !p.Is(secret) || p.Is(secret[:39]) {
			t.Fatal("the hash is not that of the secret")
		}
		seen[secret] = true
		for _, c := range secret {
			used[c] = true
		}
	}
	if len(used) != 64 {
		t.Errorf("4,000 characters are of %d kinds, want 64", len(used))
	}
}

func TestNewPasswordRefuses(t *testing.T) {
	for body, message := range map[string]string{
		`[]`:                             "",
		`{"displayName":"x"}`:            "'displayName'",
		`{"passwordCredential":[]}`:      "",
		`{"passwordCredential":{"x":1}}`: "'x'",
		`{"passwordCredential":{"secretText":"my own secret"}}`:                                                "only displayName",
		`{"passwordCredential":{"keyId":"11111111-1111-4111-8111-111111111111"}}`:                              "only displayName",
		`{"passwordCredential":{"customKeyIdentifier":"AAAA"}}`:                                                "only displayName",
		`{"passwordCredential":{"hint":"abc"}}`:                                                                "only displayName",
		`{"passwordCredential":{"endDateTime":"2026-11-21T12:00:00Z"}}`:                                        "end date",
		`{"passwordCredential":{"endDateTime":"tomorrow"}}`:                                                    "'endDateTime'",
		`{"passwordCredential":{"startDateTime":"2027-01-01T00:00:00Z","endDateTime":"2026-12-01T00:00:00Z"}}`: "end date",
	} {
		_, secret, err := newPassword(json.RawMessage(body), noon)
		if err == nil {
			t.Errorf("accepted %s", body)
			continue
		}
		wantRefusal(t, err, http.StatusBadRequest, badRequestCode, message)
		if secret != "" || strings.Contains(err.Message, "my own secret") {
			t.Errorf("%s: a secret came with the refusal %v", body, err)
		}
	}
}

func TestPatchOfPasswordsKeepsWhatItRepeats(t *testing.T) {
	one, _ := mustPassword(t, `{"passwordCredential":{"displayName":"one","endDateTime":"2027-01-01T00:00:00.1234567Z"}}`)
	two, _ := mustPassword(t, `{}`)
	before := []directory.PasswordCredential{one, two}
	for name, body := range map[string]json.RawMessage{
		"as read":      asJSON(t, renderPasswordCredentials(before[:1])),
		"by the keyId": asJSON(t, []members{{"keyId": strings.ToUpper(one.KeyID)}}),
	} {
		after, err := replacePasswordCredentials(before, body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before[:1], after); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if after, err := replacePasswordCredentials(before, json.RawMessage(`[]`)); err != nil || len(after) != 0 {
		t.Errorf("an empty list left %+v, %v", after, err)
	}
}

func TestPatchOfPasswordsSetsNothing(t *testing.T) {
	p, secret := mustPassword(t, `{}`)
	before := []directory.PasswordCredential{p}
	for name, value := range map[string]any{
		"secretText": secret, "displayName": "x", "hint": "???", "customKeyIdentifier": "AAAA",
		"startDateTime": "2026-11-21T12:00:01Z", "endDateTime": "2030-01-01T00:00:00Z",
	} {
		_, err := replacePasswordCredentials(before, asJSON(t, []members{{"keyId": p.KeyID, name: value}}))
		wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "Update to existing credential with KeyId '"+p.KeyID+"' is not allowed.")
		if err.Details[0].Target != "passwordCredentials" {
			t.Errorf("%s: details %+v", name, err.Details)
		}
	}
	for _, fresh := range []members{{}, {"displayName": "new"}, {"secretText": "mine"}, {"keyId": "11111111-1111-4111-8111-111111111111"}} {
		_, err := replacePasswordCredentials(before, asJSON(t, []members{fresh}))
		wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "New password credentials must be generated using service actions.")
	}
	_, err := replacePasswordCredentials(before, asJSON(t, []members{{"keyId": p.KeyID}, {"keyId": p.KeyID}}))
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, p.KeyID)
	_, err = replacePasswordCredentials(before, asJSON(t, []members{{"keyId": p.KeyID, "value": "x"}}))
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "'value'")
}

func TestRemovePassword(t *testing.T) {
	p, _ := mustPassword(t, `{}`)
	keyID, err := parseRemovePassword(asJSON(t, members{"keyId": strings.ToUpper(p.KeyID)}))
	if err != nil || keyID != p.KeyID {
		t.Fatalf("got %s, %v", keyID, err)
	}
	before := []directory.PasswordCredential{p}
	if left, err := removePasswordCredential(before, keyID); err != nil || len(left) != 0 || before[0].KeyID != p.KeyID {
		t.Errorf("left %+v of %+v, %v", left, before, err)
	}
	_, err = removePasswordCredential(nil, keyID)
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "No password credential found with keyId")
	for _, body := range []string{``, `{}`, `{"keyId":null}`, `{"keyId":"x"}`, `{"keyId":"` + p.KeyID + `","x":1}`} {
		if _, err := parseRemovePassword(json.RawMessage(body)); err == nil {
			t.Errorf("accepted %s", body)
		}
	}
}
