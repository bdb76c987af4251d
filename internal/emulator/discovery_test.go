package emulator

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestConfigurationNamesThisOrigin(t *testing.T) {
	e := mustStart(t, time.Now)
	origin := e.Origins().Authority
	base := origin + "/" + e.tenant.ID
	for path, want := range map[string]map[string]string{
		"/v2.0": {"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "jwks_uri": base + "/discovery/v2.0/keys"},
		"":      {"issuer": "https://sts.windows.net/" + e.tenant.ID + "/", "token_endpoint": base + "/oauth2/token", "jwks_uri": base + "/discovery/keys"},
	} {
		for _, name := range []string{e.tenant.ID, e.tenant.Domain, strings.ToUpper(e.tenant.ID)} {
			a := mustDo(t, e, "GET", origin+"/"+name+path+"/.well-known/openid-configuration?", "")
			if a.status != 200 || a.header.Get("Cache-Control") != "max-age=86400, private" {
				t.Fatalf("%s%s: %d %v", name, path, a.status, a.header)
			}
			for member, value := range want {
				if a.body[member] != value {
					t.Errorf("%s%s: %s is %v, want %s", name, path, member, a.body[member], value)
				}
			}
		}
	}
	a := mustDo(t, e, "GET", origin+"/nobody.example.com/v2.0/.well-known/openid-configuration", "")
	if a.status != 400 || a.body["error"] != "invalid_tenant" || !strings.Contains(a.text, "AADSTS90002") {
		t.Errorf("an unknown tenant: %d %s", a.status, a.text)
	}
}

func TestKeysVerifyTokens(t *testing.T) {
	e := mustStart(t, time.Now)
	parts := strings.Split(mustToken(t, e, "https://graph.microsoft.com"), ".")
	header, err := parseJWT(strings.Join(parts, "."))
	if err != nil {
		t.Fatal(err)
	}
	kid, _ := header.header.text("kid")
	x5t, _ := header.header.text("x5t")
	for _, path := range []string{"/discovery/v2.0/keys", "/discovery/keys"} {
		a := mustDo(t, e, "GET", e.Origins().Authority+"/"+e.tenant.ID+path, "")
		keys, _ := a.body["keys"].([]any)
		if len(keys) != 2 {
			t.Fatalf("%s: %d keys", path, len(keys))
		}
		verified := false
		for _, k := range keys {
			k := k.(map[string]any)
			if k["kid"] != kid || k["x5t"] != x5t {
				continue
			}
			der, err := base64.StdEncoding.DecodeString(k["x5c"].([]any)[0].(string))
			if err != nil {
				t.Fatal(err)
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
			if err := rsa.VerifyPKCS1v15(c.PublicKey.(*rsa.PublicKey), crypto.SHA256, digest[:], header.signature); err != nil {
				t.Error(err)
			}
			verified = true
		}
		if !verified {
			t.Errorf("%s has no key %s", path, kid)
		}
	}
}

func TestInstanceDiscovery(t *testing.T) {
	e := mustStart(t, time.Now)
	own := e.Origins().Authority
	ask := func(host string) answer {
		return mustDo(t, e, "GET", own+"/common/discovery/instance?api-version=1.1&authorization_endpoint="+
			url.QueryEscape(host+"/"+e.tenant.ID+"/oauth2/v2.0/authorize"), "")
	}
	for _, host := range []string{own, "https://login.microsoftonline.com"} {
		a := ask(host)
		if want := host + "/" + e.tenant.ID + "/v2.0/.well-known/openid-configuration"; a.body["tenant_discovery_endpoint"] != want {
			t.Errorf("%s: %v, want %s", host, a.body["tenant_discovery_endpoint"], want)
		}
		if !strings.Contains(a.text, `"aliases":["`+strings.TrimPrefix(own, "https://")+`"]`) {
			t.Errorf("%s: this origin is no alias in %s", host, a.text)
		}
	}
	for _, host := range []string{"https://login.example.com", "http://login.microsoftonline.com", ""} {
		checkRefusal(t, e, ask(host), 50049)
	}
}
