package graph

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

func mustTenantPolicy(t testing.TB, p managementPolicy, body string) managementPolicy {
	t.Helper()
	p, err := patchTenantPolicy(p, json.RawMessage(body))
	if err != nil {
		t.Fatalf("refused %s: %v", body, err)
	}
	return p
}

func mustAppPolicy(t testing.TB, body string) managementPolicy {
	t.Helper()
	p, err := patchAppPolicy(managementPolicy{ID: "p"}, json.RawMessage(body))
	if err != nil {
		t.Fatalf("refused %s: %v", body, err)
	}
	return p
}

func TestPatchOfTenantPolicyChangesWhatItNames(t *testing.T) {
	p := mustTenantPolicy(t, managementPolicy{ID: "tenant"}, `{"isEnabled":true,"displayName":"d","applicationRestrictions":{
		"passwordCredentials":[{"restrictionType":"passwordAddition","state":"enabled","maxLifetime":null,"restrictForAppsCreatedAfterDateTime":"2026-01-01T01:00:00+01:00"}],
		"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","state":"disabled","maxLifetime":"P90D","restrictForAppsCreatedAfterDateTime":null}]}}`)
	p = mustTenantPolicy(t, p, `{"servicePrincipalRestrictions":{"passwordCredentials":[]},"description":"e"}`)
	p = mustTenantPolicy(t, p, `{"displayName":null}`)
	want := `{"id":"tenant","displayName":null,"description":"e","isEnabled":true,` +
		`"applicationRestrictions":{"passwordCredentials":[{"restrictionType":"passwordAddition","state":"enabled","maxLifetime":null,"restrictForAppsCreatedAfterDateTime":"2026-01-01T00:00:00Z"}],` +
		`"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","state":"disabled","maxLifetime":"P90D","restrictForAppsCreatedAfterDateTime":null}]},` +
		`"servicePrincipalRestrictions":{"passwordCredentials":[],"keyCredentials":[]}}`
	if diff := cmp.Diff(want, string(asJSON(t, p))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var kept managementPolicy
	if err := json.Unmarshal(asJSON(t, p), &kept); err != nil || !cmp.Equal(p, kept) {
		t.Errorf("read back it is %+v, %v", kept, err)
	}
}

func TestPolicyIsRefused(t *testing.T) {
	passwords := func(list string) string { return `{"restrictions":{"passwordCredentials":` + list + `}}` }
	keys := func(list string) string { return `{"restrictions":{"keyCredentials":` + list + `}}` }
	for name, c := range map[string]struct{ body, message string }{
		"unknown member":            {`{"x":1}`, "'x'"},
		"tenant's member":           {`{"applicationRestrictions":{}}`, "'applicationRestrictions'"},
		"isEnabled null":            {`{"isEnabled":null}`, "'isEnabled'"},
		"isEnabled text":            {`{"isEnabled":"true"}`, "'isEnabled'"},
		"restrictions no object":    {`{"restrictions":[]}`, ""},
		"unknown list":              {`{"restrictions":{"x":[]}}`, "'x'"},
		"list no array":             {keys(`{}`), "keyCredentials"},
		"unknown type":              {keys(`[{"restrictionType":"keyLifetime","state":"enabled","maxLifetime":"P1D"}]`), "'keyLifetime'"},
		"unknownFutureValue":        {passwords(`[{"restrictionType":"unknownFutureValue","state":"enabled"}]`), "'unknownFutureValue'"},
		"type of the other list":    {passwords(`[{"restrictionType":"asymmetricKeyLifetime","state":"enabled","maxLifetime":"P1D"}]`), "'asymmetricKeyLifetime'"},
		"no type":                   {passwords(`[{"state":"enabled"}]`), "restrictionType"},
		"type twice":                {passwords(`[{"restrictionType":"passwordAddition","state":"enabled"},{"restrictionType":"passwordAddition","state":"disabled"}]`), "more than once"},
		"unknown state":             {passwords(`[{"restrictionType":"passwordAddition","state":"on"}]`), "state"},
		"unknown member within":     {passwords(`[{"restrictionType":"passwordAddition","state":"enabled","x":1}]`), "'x'"},
		"lifetime without duration": {passwords(`[{"restrictionType":"passwordLifetime","state":"enabled"}]`), "maxLifetime"},
		"duration no duration":      {passwords(`[{"restrictionType":"passwordLifetime","state":"enabled","maxLifetime":"90"}]`), "'maxLifetime'"},
		"addition with duration":    {passwords(`[{"restrictionType":"passwordAddition","state":"enabled","maxLifetime":"P1D"}]`), "maxLifetime"},
		"date no date":              {passwords(`[{"restrictionType":"passwordAddition","state":"enabled","restrictForAppsCreatedAfterDateTime":"2026"}]`), "'restrictForAppsCreatedAfterDateTime'"},
		"authority without ids":     {keys(`[{"restrictionType":"trustedCertificateAuthority","state":"enabled"}]`), "certificateBasedApplicationConfigurationIds"},
		"ids with another type":     {keys(`[{"restrictionType":"asymmetricKeyLifetime","state":"enabled","maxLifetime":"P1D","certificateBasedApplicationConfigurationIds":["a"]}]`), "certificateBasedApplicationConfigurationIds"},
		"ids no list":               {keys(`[{"restrictionType":"trustedCertificateAuthority","state":"enabled","certificateBasedApplicationConfigurationIds":"a"}]`), "certificateBasedApplicationConfigurationIds"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := patchAppPolicy(managementPolicy{}, json.RawMessage(c.body))
			wantRefusal(t, err, http.StatusBadRequest, badRequestCode, c.message)
		})
	}
	for name, body := range map[string]string{
		"excludeActors":  passwords(`[{"restrictionType":"passwordAddition","state":"enabled","excludeActors":{}}]`),
		"identifierUris": `{"restrictions":{"applicationRestrictions":{"identifierUris":{}}}}`,
	} {
		_, err := patchAppPolicy(managementPolicy{}, json.RawMessage(body))
		wantRefusal(t, err, http.StatusNotImplemented, "notImplemented", name)
	}
	_, err := patchTenantPolicy(managementPolicy{}, json.RawMessage(`{"restrictions":{}}`))
	wantRefusal(t, err, http.StatusBadRequest, badRequestCode, "'restrictions'")
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"P4DT12H30M5S": 4*day + 12*time.Hour + 30*time.Minute + 5*time.Second,
		"P365D":        365 * day, "PT1S": time.Second, "PT1.5S": time.Second, "PT90M": 90 * time.Minute, "P99999D": 99999 * day,
	} {
		if got, ok := parseDuration(s); !ok || got != want {
			t.Errorf("%s is %s, %t; want %s", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "P", "PT", "P1DT", "P1Y", "P1M", "P2W", "1D", "-P1D", "P-1D", "P0D", "PT0S", "p1d", "P1D ", "PT1H1D", "P100000D", "P1.5D"} {
		if got, ok := parseDuration(s); ok {
			t.Errorf("%q is accepted as %s", s, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("P4DT12H30M5S")
	f.Add("PT0.1S")
	f.Add("P99999DT99999H9999999M999999999S")
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := parseDuration(s); ok != (d > 0) {
			t.Errorf("%q is %s, %t", s, d, ok)
		}
	})
}

func TestTenantPolicyRestrictsSecrets(t *testing.T) {
	const week = `{"isEnabled":true,"applicationRestrictions":{"passwordCredentials":[{"restrictionType":"passwordLifetime","state":"enabled","maxLifetime":"P7D","restrictForAppsCreatedAfterDateTime":"2026-01-01T00:00:00Z"}]}}`
	p := mustTenantPolicy(t, managementPolicy{}, week)
	rules := rulesFor(p, p.ApplicationRestrictions, nil)
	lasting := func(d time.Duration) directory.PasswordCredential {
		return directory.PasswordCredential{StartDateTime: noon, EndDateTime: noon.Add(d)}
	}
	const most = 7 * 24 * time.Hour
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := rules.checkPassword(lasting(most), noon); err != nil {
		t.Errorf("seven days are refused: %v", err)
	}
	if err := rules.checkPassword(lasting(most+tick), since.Add(-tick)); err != nil {
		t.Errorf("an older application is restricted: %v", err)
	}
	wantRefusal(t, rules.checkPassword(lasting(most+tick), since), http.StatusBadRequest, "CredentialInvalidLifetimeAsPerAppPolicy", "Credential lifetime exceeds the max value allowed as per assigned policy.")
	for name, rules := range map[string]credentialRules{
		"policy off":           rulesFor(mustTenantPolicy(t, p, `{"isEnabled":false}`), p.ApplicationRestrictions, nil),
		"of service principal": rulesFor(p, p.ServicePrincipalRestrictions, nil),
	} {
		if err := rules.checkPassword(lasting(2*most), noon); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	p = mustTenantPolicy(t, p, `{"applicationRestrictions":{"passwordCredentials":[{"restrictionType":"passwordAddition","state":"enabled"}]}}`)
	err := rulesFor(p, p.ApplicationRestrictions, nil).checkPassword(lasting(time.Hour), noon)
	wantRefusal(t, err, http.StatusBadRequest, "CredentialTypeNotAllowedAsPerAppPolicy", "Credential type not allowed as per assigned policy.")
}

func TestAssignedPolicyOverridesTheTenants(t *testing.T) {
	tenant := mustTenantPolicy(t, managementPolicy{}, `{"isEnabled":true,"applicationRestrictions":{
		"passwordCredentials":[{"restrictionType":"passwordAddition","state":"enabled"}],
		"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","state":"enabled","maxLifetime":"P30D"}]}}`)
	secret := directory.PasswordCredential{StartDateTime: noon, EndDateTime: nextYear}
	key := mustPatch(t, nil, uploaded(certificate(t, "year"), nil))[0]
	check := func(assigned string) (ofSecret, ofKey *graphError) {
		p := mustAppPolicy(t, assigned)
		rules := rulesFor(tenant, tenant.ApplicationRestrictions, &p)
		return rules.checkPassword(secret, noon), rules.checkKey(key, noon)
	}
	const exempt = `"restrictions":{"passwordCredentials":[{"restrictionType":"passwordAddition","state":"disabled"}]}`
	ofSecret, ofKey := check(`{"isEnabled":true,` + exempt + `}`)
	if ofSecret != nil {
		t.Errorf("an exempt application may have no secret: %v", ofSecret)
	}
	wantRefusal(t, ofKey, http.StatusBadRequest, "CredentialInvalidLifetimeAsPerAppPolicy", "")
	ofSecret, _ = check(`{"isEnabled":false,` + exempt + `}`)
	wantRefusal(t, ofSecret, http.StatusBadRequest, "CredentialTypeNotAllowedAsPerAppPolicy", "")
	if _, ofKey = check(`{"isEnabled":true,"restrictions":{"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","state":"enabled","maxLifetime":"P365D"}]}}`); ofKey != nil {
		t.Errorf("the longer lifetime of the assigned policy does not count: %v", ofKey)
	}
	if general := tenant.ApplicationRestrictions; len(general.Passwords) != 1 || general.Passwords[0].State != "enabled" {
		t.Errorf("evaluating it changed the tenant's policy: %+v", general)
	}
}

func TestPolicyIsForNewKeys(t *testing.T) {
	p := mustTenantPolicy(t, managementPolicy{}, `{"isEnabled":true,"applicationRestrictions":{
		"passwordCredentials":[{"restrictionType":"symmetricKeyLifetime","state":"enabled","maxLifetime":"P30D"}],
		"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","state":"enabled","maxLifetime":"P30D"}]}}`)
	rules := rulesFor(p, p.ApplicationRestrictions, nil)
	symmetric := members{"type": "Symmetric", "usage": "Sign", "key": "AAAA"}
	before := mustPatch(t, nil, uploaded(certificate(t, "old"), nil), symmetric)
	month := members{"endDateTime": "2026-12-21T12:00:00Z"}
	after := mustPatch(t, before, members{"keyId": before[0].KeyID}, uploaded(certificate(t, "month"), month))
	if err := rules.checkNewKeys(before, after, noon); err != nil {
		t.Errorf("a key of before, or one for a month, is refused: %v", err)
	}
	wantRefusal(t, rules.checkNewKeys(nil, after, noon), http.StatusBadRequest, "CredentialInvalidLifetimeAsPerAppPolicy", "")
	wantRefusal(t, rules.checkKey(before[1], noon), http.StatusBadRequest, "CredentialInvalidLifetimeAsPerAppPolicy", "")

	p = mustTenantPolicy(t, p, `{"applicationRestrictions":{"passwordCredentials":[{"restrictionType":"symmetricKeyAddition","state":"enabled"}]}}`)
	rules = rulesFor(p, p.ApplicationRestrictions, nil)
	wantRefusal(t, rules.checkKey(before[1], noon), http.StatusBadRequest, "CredentialTypeNotAllowedAsPerAppPolicy", "")
	if err := rules.checkKey(before[0], noon); err != nil {
		t.Errorf("certificates are restricted like symmetric keys: %v", err)
	}
}

func TestTrustedCertificateAuthority(t *testing.T) {
	caKey, strangerKey := newEC(t), newEC(t)
	ca := issue(t, "Contoso CA", caKey, noon, nextYear, nil, nil)
	parsed, err := x509.ParseCertificate(ca)
	if err != nil {
		t.Fatal(err)
	}
	p := mustAppPolicy(t, `{"isEnabled":true,"restrictions":{"keyCredentials":[
		{"restrictionType":"trustedCertificateAuthority","state":"enabled","certificateBasedApplicationConfigurationIds":["contoso"]}]}}`)
	rules := rulesFor(managementPolicy{}, nil, &p)
	rules.Authorities = map[string][][]byte{"contoso": {ca}}
	check := func(der []byte) *graphError { return rules.checkKey(mustPatch(t, nil, uploaded(der, nil))[0], noon) }

	issued := issue(t, "leaf", newEC(t), noon, nextYear, parsed, caKey)
	if err := check(issued); err != nil {
		t.Errorf("a certificate of the authority is refused: %v", err)
	}
	namesake, err := x509.ParseCertificate(issue(t, "Contoso CA", strangerKey, noon, nextYear, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, check(certificate(t, "self-signed")), http.StatusBadRequest, "CredentialTypeNotAllowedAsPerAppPolicy", "")
	wantRefusal(t, check(issue(t, "leaf", newEC(t), noon, nextYear, namesake, strangerKey)), http.StatusBadRequest, "CredentialTypeNotAllowedAsPerAppPolicy", "")
	rules.Authorities = nil
	wantRefusal(t, check(issued), http.StatusBadRequest, "CredentialTypeNotAllowedAsPerAppPolicy", "")
}
