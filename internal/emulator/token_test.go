package emulator

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// mustToken returns an access token of the demo client for a resource.
func mustToken(t *testing.T, e *Emulator, resource string) string {
	t.Helper()
	form := tokenForm(goodAssertion(e).mustSign(t))
	form.Set("client_id", e.tenant.Client().ClientID)
	form.Set("scope", resource+"/.default")
	got := mustPostToken(t, e, tokenPath(e), form)
	access, ok := got.body["access_token"].(string)
	if !ok {
		t.Fatalf("asking for a token: %d %s", got.status, got.text)
	}
	return access
}

func TestAuthenticate(t *testing.T) {
	c := &clock{now: time.Now()}
	e := mustStart(t, c.Now)
	access := mustToken(t, e, "https://manage.office.com")
	request := func(authorization string) *http.Request {
		r, err := http.NewRequest("GET", "https://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		return r
	}
	got, err := e.authenticate(request("Bearer " + access))
	if err != nil {
		t.Fatal(err)
	}
	if got.TenantID != e.tenant.ID || got.ClientID != e.tenant.Client().ClientID || got.AuthMethod != "2" ||
		got.Audience != "https://manage.office.com" || !slices.Equal(got.Roles, []string{"ActivityFeed.Read"}) {
		t.Errorf("the caller is %+v", got)
	}

	claims := claimsOf(t, access)
	issue := func(change func(), key *rsa.PrivateKey) string {
		claims = claimsOf(t, access)
		change()
		own := e.signing[0].key
		e.signing[0].key = key
		defer func() { e.signing[0].key = own }()
		s, err := e.sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + s
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	own := e.signing[0].key
	parts := strings.Split(access, ".")
	for name, authorization := range map[string]string{
		"none":              "",
		"Basic":             "Basic " + access,
		"empty":             "Bearer ",
		"no JWT":            "Bearer x",
		"unsigned":          "Bearer " + base64url([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"other claims":      "Bearer " + parts[0] + "." + base64url([]byte(`{"roles":["ActivityFeed.Read"]}`)) + "." + parts[2],
		"another's key":     issue(func() {}, stranger),
		"another's issuer":  issue(func() { claims["iss"] = "https://sts.windows.net/x/" }, own),
		"not valid yet":     issue(func() { claims["nbf"] = c.Now().Add(time.Minute).Unix() }, own),
		"expired":           issue(func() { claims["exp"] = c.Now().Unix() }, own),
		"expiry not a date": issue(func() { claims["exp"] = "never" }, own),
	} {
		if got, err := e.authenticate(request(authorization)); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		} else if strings.Contains(err.Error(), parts[2]) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
	c.Add(time.Hour)
	if _, err := e.authenticate(request("Bearer " + access)); err != errTokenExpired {
		t.Errorf("after an hour: %v", err)
	}
}
