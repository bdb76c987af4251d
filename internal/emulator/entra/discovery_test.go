package entra_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

func TestConfigurationNamesThisOrigin(t *testing.T) {
	w := start(t)
	base := w.host + "/" + w.Directory.TenantID
	for path, want := range map[string]map[string]string{
		"/v2.0": {"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "jwks_uri": base + "/discovery/v2.0/keys"},
		"":      {"issuer": "https://sts.windows.net/" + w.Directory.TenantID + "/", "token_endpoint": base + "/oauth2/token", "jwks_uri": base + "/discovery/keys"},
	} {
		for _, name := range []string{w.Directory.TenantID, domain, strings.ToUpper(w.Directory.TenantID)} {
			a := w.get(t, "/"+name+path+"/.well-known/openid-configuration?")
			if a.Status != 200 || a.Header.Get("Cache-Control") != "max-age=86400, private" {
				t.Fatalf("%s%s: %d %v", name, path, a.Status, a.Header)
			}
			for member, value := range want {
				if a.Body[member] != value {
					t.Errorf("%s%s: %s is %v, want %s", name, path, member, a.Body[member], value)
				}
			}
		}
	}
	a := w.get(t, "/nobody.example.com/v2.0/.well-known/openid-configuration")
	if a.Status != 400 || a.Body["error"] != "invalid_tenant" || !strings.Contains(a.Text, "AADSTS90002") {
		t.Errorf("an unknown tenant: %d %s", a.Status, a.Text)
	}
}

func TestKeysVerifyTokens(t *testing.T) {
	w := start(t)
	parts := strings.Split(w.post(t, w.v2("token"), w.bySecret(t)).Body["access_token"].(string), ".")
	header, err := token.Parse(strings.Join(parts, "."))
	if err != nil {
		t.Fatal(err)
	}
	kid, _ := header.Header.Text("kid")
	x5t, _ := header.Header.Text("x5t")
	for _, path := range []string{"/discovery/v2.0/keys", "/discovery/keys"} {
		a := w.get(t, "/"+w.Directory.TenantID+path)
		keys, _ := a.Body["keys"].([]any)
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
			if err := rsa.VerifyPKCS1v15(c.PublicKey.(*rsa.PublicKey), crypto.SHA256, digest[:], header.Signature); err != nil {
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
	w := start(t)
	own := w.host
	ask := func(host string) answer {
		return w.get(t, "/common/discovery/instance?api-version=1.1&authorization_endpoint="+
			url.QueryEscape(host+"/"+w.Directory.TenantID+"/oauth2/v2.0/authorize"))
	}
	for _, host := range []string{own, "https://login.microsoftonline.com"} {
		a := ask(host)
		if want := host + "/" + w.Directory.TenantID + "/v2.0/.well-known/openid-configuration"; a.Body["tenant_discovery_endpoint"] != want {
			t.Errorf("%s: %v, want %s", host, a.Body["tenant_discovery_endpoint"], want)
		}
		if !strings.Contains(a.Text, `"aliases":["`+strings.TrimPrefix(own, "https://")+`"]`) {
			t.Errorf("%s: this origin is no alias in %s", host, a.Text)
		}
	}
	for _, host := range []string{"https://login.example.com", "http://login.microsoftonline.com", ""} {
		checkRefusal(t, w, ask(host), 50049)
	}
}

func TestConfigurationOfAnyTenant(t *testing.T) {
	w := start(t)
	for _, name := range []string{"common", "organizations"} {
		base := w.host + "/" + name
		for path, want := range map[string]map[string]string{
			"/v2.0": {"issuer": w.host + "/{tenantid}/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "device_authorization_endpoint": base + "/oauth2/v2.0/devicecode"},
			"":      {"issuer": "https://sts.windows.net/{tenantid}/", "authorization_endpoint": base + "/oauth2/authorize", "jwks_uri": base + "/discovery/keys"},
		} {
			a := w.get(t, "/"+name+path+"/.well-known/openid-configuration")
			for member, value := range want {
				if a.Body[member] != value {
					t.Errorf("%s%s: %s is %v, want %s", name, path, member, a.Body[member], value)
				}
			}
		}
		a := w.get(t, "/"+name+"/discovery/v2.0/keys")
		if !strings.Contains(a.Text, `"issuer":"`+w.host+`/{tenantid}/v2.0"`) {
			t.Errorf("the keys of %s: %s", name, a.Text)
		}
	}
	if a := w.get(t, "/consumers/v2.0/.well-known/openid-configuration"); a.Status != 501 || !strings.Contains(a.Text, "/consumers") {
		t.Errorf("consumers: %d %s", a.Status, a.Text)
	}
}

func TestConfigurationOfEachCloud(t *testing.T) {
	for _, cloud := range origin.Clouds {
		w := start(t, func(e *entra.API) { e.Cloud.Hosts.Names = cloud })
		host := cloud.Authority[0]
		// As a client comes that has the cloud's names built in.
		a := w.get(t, "/"+w.Directory.TenantID+"/v2.0/.well-known/openid-configuration", "Host", host)
		for member, want := range map[string]string{
			"issuer":              "https://" + host + "/" + w.Directory.TenantID + "/v2.0",
			"token_endpoint":      "https://" + host + "/" + w.Directory.TenantID + "/oauth2/v2.0/token",
			"cloud_instance_name": cloud.Instance,
			"msgraph_host":        cloud.Graph[0],
		} {
			if a.Body[member] != want {
				t.Errorf("%s: %s is %v, want %s", cloud.Cloud, member, a.Body[member], want)
			}
		}
		if a.Body["cloud_graph_host_name"] == nil || a.Body["rbac_url"] == "" {
			t.Errorf("%s: %s", cloud.Cloud, a.Text)
		}
		a = w.get(t, "/common/discovery/instance?authorization_endpoint="+url.QueryEscape("https://"+host+"/common/oauth2/authorize"))
		if want := "https://" + host + "/common/v2.0/.well-known/openid-configuration"; a.Body["tenant_discovery_endpoint"] != want {
			t.Errorf("%s: %s", cloud.Cloud, a.Text)
		}
		if strings.Count(a.Text, `"`+host+`"`) < 2 {
			t.Errorf("%s is no alias in %s", host, a.Text)
		}
	}
}

func TestKeysRoll(t *testing.T) {
	keys, err := token.NewKeys()
	ok(t, err)
	w := start(t, func(e *entra.API) { e.Keys = keys })
	kid := func() string {
		parsed, err := token.Parse(w.post(t, w.v2("token"), w.bySecret(t)).Body["access_token"].(string))
		ok(t, err)
		id, err := parsed.Header.Text("kid")
		ok(t, err)
		return id
	}
	path := "/" + w.Directory.TenantID + "/discovery/v2.0/keys"
	before, published := kid(), w.get(t, path).Text
	ok(t, keys.Roll(false))
	after := kid()
	if before == after || !strings.Contains(published, after) {
		t.Errorf("the key %s was not published before it signed", after)
	}
	if now := w.get(t, path).Text; strings.Contains(now, before) || !strings.Contains(now, after) {
		t.Errorf("after the key %s was dropped: %s", before, now)
	}
}

func TestOperations(t *testing.T) {
	w := start(t)
	api := w.Origin()
	names := map[string]bool{}
	for _, o := range api.Operations {
		names[o.Name] = true
		if !strings.HasPrefix(o.Source, "https://learn.microsoft.com/") {
			t.Errorf("%s has no source", o.Request)
		}
		method, path, _ := strings.Cut(o.Request, " ")
		r := httptest.NewRequest(method, w.host+strings.ReplaceAll(path, "{tenant}", domain), nil)
		if got := api.Operation(r); got != o.Name {
			t.Errorf("%s is %q, want %s", o.Request, got, o.Name)
		}
	}
	for _, name := range []string{"token", "authorize", "devicecode", "deviceauth", "adminconsent", "logout", "configuration", "keys", "instance"} {
		if !names[name] {
			t.Errorf("there is no %s", name)
		}
	}
	for _, path := range []string{"/", "/x/oauth2/v2.0/other", "/x/saml2", "/x/kerberos"} {
		if a := w.get(t, path+"?q=1"); a.Status != 501 || !strings.Contains(a.Text, path) {
			t.Errorf("%s: %d %s", path, a.Status, a.Text)
		}
	}
}

func TestScriptsMayReadTheConfiguration(t *testing.T) {
	w := start(t)
	tenant := "/" + w.Directory.TenantID
	for _, path := range []string{tenant + "/v2.0/.well-known/openid-configuration", tenant + "/discovery/v2.0/keys"} {
		if a := w.get(t, path, "Origin", "https://spa.example.com"); a.Status != 200 || a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %v", path, a.Status, a.Header)
		}
	}
}
