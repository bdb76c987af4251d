package m365

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

func encodeJWT(header, claims string) string {
	b := base64.RawURLEncoding.EncodeToString
	return b([]byte(header)) + "." + b([]byte(claims)) + "." + b([]byte("signature"))
}

func TestClaims(t *testing.T) {
	header, claims, err := Claims(encodeJWT(`{"alg":"RS256"}`, `{"aud":"https://manage.office.com","exp":1548701413,"roles":["ActivityFeed.Read"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if header["alg"] != "RS256" || fmt.Sprint(claims["exp"]) != "1548701413" || fmt.Sprint(claims["roles"]) != "[ActivityFeed.Read]" {
		t.Errorf("got %v and %v", header, claims)
	}
}

func TestClaimsRefuses(t *testing.T) {
	for token, want := range map[string]string{
		"opaque":                  "not a JWT",
		"a.b.c.d":                 "not a JWT",
		"§.b.c":                   "header of the token",
		encodeJWT(`{}`, `[1]`):    "claims of the token",
		encodeJWT(`null`, `{}`):   "header of the token",
		encodeJWT(`{}`, `{"exp"`): "claims of the token",
	} {
		_, _, err := Claims(token)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", token, err, want)
		}
	}
}

func FuzzClaims(f *testing.F) {
	f.Add(encodeJWT(`{"alg":"RS256"}`, `{"exp":1}`))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		header, claims, err := Claims(token)
		if (err == nil) != (header != nil && claims != nil) {
			t.Errorf("header %v, claims %v, error %v", header, claims, err)
		}
	})
}
