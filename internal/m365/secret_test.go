package m365

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestCredentialPrintsNoSecret(t *testing.T) {
	const secret = "the-client-secret"
	c, err := NewCredential(clouds[0], SignIn{Method: MethodSecret, TenantID: "contoso.example",
		ClientID: "11111111-2222-3333-4444-555555555555", Secret: secret}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if s := fmt.Sprintf(verb, c); strings.Contains(s, secret) || s == "" {
			t.Errorf("%s prints %q", verb, s)
		}
	}
}

func TestExcerptHidesTokens(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("payload", 60) + ".signature"
	for _, text := range []string{"Authorization: Bearer " + token, token[:100], "x " + token[:30]} {
		if s := excerpt([]byte(text)); strings.Contains(s, "eyJ") || strings.Contains(s, "payload") {
			t.Errorf("%.40s gives %q", text, s)
		}
	}
}
