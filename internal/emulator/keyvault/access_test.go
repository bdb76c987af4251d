package keyvault_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

func TestChallengeComesFirst(t *testing.T) {
	w := start(t)
	for name, test := range map[string]struct {
		bearer, want string
	}{
		"none":         {"", "AKV10000"},
		"broken":       {"x", "AKV10001"},
		"audience":     {w.bearer(t, map[string]any{"aud": "https://vault.azure.net/"}), "AKV10022"},
		"other tenant": {w.bearer(t, map[string]any{"iss": token.Issuer("another")}), "AKV10032"},
		"expired":      {w.bearer(t, map[string]any{"exp": w.clock.Now().Unix()}), "expired"},
	} {
		// Name, version of the API and body are wrong, too.
		a := w.send(t, "PUT", "/secrets/no_name", "not JSON", test.bearer)
		want := `Bearer authorization="https://login.example/` + tenantID + `", resource="https://vault.azure.net"`
		if a.status != 401 || a.at("error", "code") != "Unauthorized" || !strings.Contains(a.text, test.want) || a.header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: %d %s, challenge %s", name, a.status, a.text, a.header.Get("WWW-Authenticate"))
		}
	}
}

func TestAPIVersions(t *testing.T) {
	w := start(t)
	for _, version := range []string{"7.3", "7.4-preview.1", "7.4", "7.5", "7.6-preview.2", "7.6", "2025-07-01", "2026-04-01"} {
		w.must(t, 200, "GET", "/secrets?api-version="+version, nil)
	}
	for _, version := range []string{"", "7", "7.60", "2026-04-01-preview", "latest"} {
		w.refused(t, 400, "BadParameter", "", "GET", "/secrets?api-version="+version, nil)
	}
}

func TestAccessPolicies(t *testing.T) {
	w := start(t)
	w.must(t, 200, "PUT", "/secrets/s", object{"value": "x"})
	w.Deny(somebody, "secrets/get")
	w.refused(t, 403, "Forbidden", "AccessDenied", "GET", "/secrets/s", nil)
	w.must(t, 200, "GET", "/secrets", nil)
	w.Allow("another", "secrets/all", "certificates/manageissuers")
	for permission, want := range map[string]bool{"secrets/get": true, "secrets/purge": false, "keys/get": false, "certificates/setissuers": true, "certificates/get": false} {
		if w.Allowed("another", permission) != want {
			t.Errorf("%s: want %v", permission, want)
		}
	}
}

func TestRoles(t *testing.T) {
	requests := []struct{ name, method, path string }{
		{"read certificate", "GET", "/certificates/x"}, {"create certificate", "POST", "/certificates/x/create"},
		{"read secret", "GET", "/secrets/x"}, {"list secrets", "GET", "/secrets"}, {"set secret", "PUT", "/secrets/x"},
		{"sign", "POST", "/keys/x/sign"}, {"create key", "POST", "/keys/x/create"}, {"set issuer", "PUT", "/certificates/issuers/x"},
		{"purge", "DELETE", "/deletedsecrets/x"}, {"rotation", "GET", "/keys/x/rotationpolicy"},
	}
	for role, want := range map[string]string{
		"":                                     "",
		"Key Vault Administrator":              "read certificate, create certificate, read secret, list secrets, set secret, sign, create key, set issuer, purge, rotation",
		"Key Vault Reader":                     "read certificate, list secrets, rotation",
		"Key Vault Certificates Officer":       "read certificate, create certificate, set issuer",
		"db79e9a7-68ee-4b58-9aeb-b90e7c24fcba": "read certificate, read secret, list secrets",
		"Key Vault Secrets User":               "read secret, list secrets",
		"Key Vault Secrets Officer":            "read secret, list secrets, set secret, purge",
		"Key Vault Crypto Officer":             "sign, create key, rotation",
		"Key Vault Crypto User":                "sign",
		"Key Vault Purge Operator":             "purge",
	} {
		w := start(t)
		w.UseRBAC()
		if role != "" {
			if err := w.AssignRole(somebody, role); err != nil {
				t.Fatal(err)
			}
		}
		var may []string
		for _, r := range requests {
			a := w.ask(t, r.method, r.path, nil)
			if a.status != 403 {
				may = append(may, r.name)
			} else if a.at("error", "innererror", "code") != "ForbiddenByRbac" || !strings.Contains(a.text, "Action: 'Microsoft.KeyVault/vaults/") {
				t.Errorf("%s, %s: %s", role, r.name, a.text)
			}
		}
		if got := strings.Join(may, ", "); got != want {
			t.Errorf("%q may %s, want %s", role, got, want)
		}
	}
	if err := start(t).AssignRole(somebody, "Owner"); err == nil {
		t.Error("a role that is not the vault's was assigned")
	}
}

func TestRolesTakeEffectLate(t *testing.T) {
	w := start(t, func(c *origin.Cloud) { c.SetDelays(origin.Delays{Vault: origin.UsualDelays.Vault}) })
	w.UseRBAC()
	if err := w.AssignRole(somebody, "Key Vault Secrets User"); err != nil {
		t.Fatal(err)
	}
	statuses := func() string {
		seen := map[int]bool{}
		for range 40 {
			seen[w.ask(t, "GET", "/secrets", nil).status] = true
		}
		return fmt.Sprint(seen)
	}
	w.clock.Add(59 * time.Second)
	if got := statuses(); got != "map[403:true]" {
		t.Errorf("before a minute: %s", got)
	}
	w.clock.Add(4 * time.Minute)
	if got := statuses(); got != "map[200:true 403:true]" {
		t.Errorf("after five minutes: %s", got)
	}
	w.clock.Add(6 * time.Minute)
	if got := statuses(); got != "map[200:true]" {
		t.Errorf("after eleven minutes: %s", got)
	}
	if err := w.RemoveRole(somebody, "Key Vault Secrets User"); err != nil {
		t.Fatal(err)
	}
	if got := statuses(); got != "map[200:true]" {
		t.Errorf("just after the removal: %s", got)
	}
	w.clock.Add(11 * time.Minute)
	if got := statuses(); got != "map[403:true]" {
		t.Errorf("long after the removal: %s", got)
	}
	if err := w.RemoveRole(somebody, "Key Vault Secrets User"); err == nil {
		t.Error("a role was removed twice")
	}
}

func TestNetwork(t *testing.T) {
	w := start(t)
	for _, n := range []keyvault.Network{keyvault.ByFirewall, keyvault.ByConnection} {
		w.SetNetwork(n)
		w.refused(t, 403, "Forbidden", string(n), "GET", "/secrets", nil)
		if a := w.send(t, "GET", "/secrets", nil, ""); a.status != 401 {
			t.Errorf("%s without a token: %d, want the challenge", n, a.status)
		}
	}
	w.SetNetwork(keyvault.Open)
	w.must(t, 200, "GET", "/secrets", nil)
}

func TestLimits(t *testing.T) {
	w := start(t)
	key := object{"kty": "EC"}
	for range 21 {
		w.must(t, 200, "POST", "/keys/k/create", key)
	}
	w.Limits(true)
	for range 20 {
		w.must(t, 200, "POST", "/keys/k/create", key)
	}
	w.refused(t, 429, "Throttled", "", "POST", "/keys/k/create", key)
	if a := w.ask(t, "POST", "/keys/k/create", key); a.header.Get("Retry-After") == "" {
		t.Error("a calm vault says when to try again")
	}
	w.must(t, 200, "GET", "/keys/k", nil)
	w.clock.Add(9 * time.Second)
	w.refused(t, 429, "Throttled", "", "POST", "/keys/k/create", key)
	w.clock.Add(time.Second)
	w.must(t, 200, "POST", "/keys/k/create", key)
}

func TestRetryAfterIsSometimesMissing(t *testing.T) {
	w := start(t, func(c *origin.Cloud) { c.Calm = false })
	seen := map[bool]bool{}
	for range 60 {
		if a := w.ask(t, "POST", "/keys/k/create", object{"kty": "EC"}); a.status == 429 {
			seen[a.header.Get("Retry-After") != ""] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("Retry-After was given: %v, want sometimes", seen)
	}
}

func TestNationalClouds(t *testing.T) {
	for cloud, resource := range map[string]string{
		"usgov": "https://vault.usgovcloudapi.net", "usgovdod": "https://vault.usgovcloudapi.net", "china": "https://vault.azure.cn",
	} {
		names, ok := origin.LookupCloud(cloud)
		if !ok {
			t.Fatalf("there is no cloud %s", cloud)
		}
		w := start(t, func(c *origin.Cloud) { c.Hosts.Names = names.ForVault("contoso-vault") })
		a := w.send(t, "GET", "/secrets?api-version=7.6", nil, "")
		if got := a.header.Get("WWW-Authenticate"); !strings.HasSuffix(got, `resource="`+resource+`"`) {
			t.Errorf("%s: challenge %s", cloud, got)
		}
		if a := w.send(t, "GET", "/secrets?api-version=7.6", nil, w.bearer(t, map[string]any{"aud": resource})); a.status != 200 {
			t.Errorf("%s: %d %s", cloud, a.status, a.text)
		}
		a = w.send(t, "GET", "/secrets?api-version=7.6", nil, w.bearer(t, map[string]any{"aud": "https://vault.azure.net"}))
		if a.status != 401 || !strings.Contains(a.text, "AKV10022: Invalid audience. Expected "+resource) {
			t.Errorf("%s, with a token for another cloud: %d %s", cloud, a.status, a.text)
		}
	}
}
