package m365

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// people are all who can mend something.
var people = []string{
	globalAdmin, rolesAdmin, applicationAdmin, conditionalAdmin, userAdmin, auditAdmin, billingAdmin, licenseAdmin, applicationOwner, vaultOwner,
	vaultAssigner, vaultManager, workspaceOwner, networkPeople, issuerPeople, authorityPeople, operator, whoSignsIn, developers, microsoft, nobody,
}

func TestExplanationsAreComplete(t *testing.T) {
	if n := len(explanations); n < 90 {
		t.Errorf("there are %d explanations", n)
	}
	general, titles := map[string]bool{}, map[string]string{}
	for _, x := range explanations {
		for name, s := range map[string]string{"cause": x.Cause, "remedy": x.Remedy, "waiting": x.Waiting} {
			if !strings.HasSuffix(s, ".") || s != capital(s) {
				t.Errorf("%s: the %s is no sentence: %q", x.Code, name, s)
			}
		}
		if x.Title == "" || strings.HasSuffix(x.Title, ".") {
			t.Errorf("%s: title %q", x.Code, x.Title)
		}
		if other, ok := titles[x.Title]; ok && other != "AADSTS7000277" { // which has two numbers
			t.Errorf("%s: %s has the same title", x.Code, other)
		}
		titles[x.Title] = x.Code
		if general[x.Code] {
			t.Errorf("%s: an entry stands behind the general one and is never found", x.Code)
		}
		general[x.Code] = len(x.When) == 0
		if x.nameless() && len(x.When) == 0 {
			t.Errorf("%s: nothing tells that it is this", x.Code)
		}
		if len(x.Who) == 0 {
			t.Errorf("%s: nobody can mend it", x.Code)
		}
		for _, who := range x.Who {
			if !slices.Contains(people, who) {
				t.Errorf("%s: %q is not in the list of people", x.Code, who)
			}
		}
		u, err := url.Parse(x.Source)
		if err != nil || u.Scheme != "https" || u.Host != "learn.microsoft.com" || strings.Contains(u.Path, "/en-us/") {
			t.Errorf("%s: documented at %q", x.Code, x.Source)
		}
		if y, ok := explain(x.Code, strings.Join(x.When, " ")); !ok || y.Title != x.Title {
			t.Errorf("%s: its own message leads to %q", x.Code, y.Title)
		}
	}
}

func TestExplainTellsReasonsApart(t *testing.T) {
	titles := map[string]bool{}
	for _, reason := range []string{
		"[Reason - The key was not found., Thumbprint of key used by client: 'AB']",
		"[Reason - The provided signature value did not match the expected signature value.]",
		"[Reason - Key was found, but use of the key to verify the signature failed.]",
		"[Reason - The key used is expired.]",
		"something new",
	} {
		r := Explain("AADSTS700027: " + reason)
		if len(r.Explanations) != 1 || titles[r.Explanations[0].Title] {
			t.Errorf("%s: %+v", reason, r)
			continue
		}
		titles[r.Explanations[0].Title] = true
	}
}

func TestExplainCodes(t *testing.T) {
	for _, test := range []struct {
		text          string
		codes         string // explained, joined
		unknown, near string
	}{
		{text: "700027", codes: "AADSTS700027"},
		{text: " aadsts700027\n", codes: "AADSTS700027"},
		{text: "20022", codes: "AF20022"},
		{text: "af429", codes: "AF429"},
		{text: "10022", codes: "AKV10022"},
		{text: "forbiddenbyrbac", codes: "ForbiddenByRbac"},
		{text: "Forbidden/ForbiddenByRbac", codes: "ForbiddenByRbac"},
		{text: "Forbidden", codes: "Forbidden"},
		{text: "proxy-authentication", codes: "proxy-authentication"},
		{text: "700072", unknown: "AADSTS700072", near: "AADSTS700022 AADSTS700027 AADSTS7000272 AADSTS700082 AADSTS70000"},
		{text: "AADSTS123456789", unknown: "AADSTS123456789"},
		{text: "AF20029", unknown: "AF20029", near: "AF20020 AF20021 AF20022 AF20023 AF20024"},
		{text: "ForbidenByRbca", unknown: "ForbidenByRbca", near: "ForbiddenByRbac"},
		{text: "Authorisation_RequestDenied", unknown: "Authorisation_RequestDenied", near: "Authorization_RequestDenied"},
		{text: "good morning"},
		{text: ""},
		{text: "403"},
		{text: "The request is Forbidden by somebody, a Conflict, and Unauthorized."},
		{text: "2026-11-21 level=ERROR msg=x error=\"answered 403 Forbidden: Forbidden/ForbiddenByRbac, no role: y\"", codes: "ForbiddenByRbac"},
		{text: `Status=403 Code="Forbidden" Message="no" InnerError={"code":"ForbiddenByPolicy"}`, codes: "ForbiddenByPolicy"},
		{text: `{"error":{"code":"Forbidden","message":"The secret belongs to a certificate."}}`, codes: "Forbidden"},
		{text: `{"error":"invalid_client","error_description":"x","error_codes":[70002, 7000222]}`, codes: "AADSTS7000222", unknown: "AADSTS70002"},
		{text: `body="{\"error\":{\"code\":\"Authorization_RequestDenied\",\"message\":\"Insufficient privileges\"}}"`, codes: "Authorization_RequestDenied"},
		{text: "see https://login.microsoftonline.com/error?code=50076 and AADSTS50079: no", codes: "AADSTS50076 AADSTS50079"},
		{text: `POST https://graph.microsoft.com/v1.0/applications/x/addKey {"error":{"code":"Authentication_MissingOrMalformed"}}`, codes: "Authentication_MissingOrMalformed"},
		{text: `Get "https://x": tls: failed to verify certificate: x509: certificate signed by unknown authority`, codes: "tls-unknown-authority"},
		{text: `tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2020`, codes: "tls-expired"},
		{text: `tls: failed to verify certificate: x509: certificate is valid for a, not b`, codes: "tls-wrong-name"},
		{text: "dial tcp: lookup login.microsoftonline.us: no such host", codes: "dns-unknown-name"},
		{text: "proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused", codes: "connection-refused"},
		{text: "Proxy Authentication Required", codes: "proxy-authentication"},
	} {
		r := Explain(test.text)
		var codes []string
		for _, x := range r.Explanations {
			codes = append(codes, x.Code)
		}
		if got := strings.Join(codes, " "); got != test.codes {
			t.Errorf("%q: explains %q, want %q", test.text, got, test.codes)
		}
		if got := strings.Join(r.Unknown, " "); got != test.unknown || len(r.Unknown) > 0 && got == "" {
			t.Errorf("%q: does not know %q, want %q", test.text, got, test.unknown)
		}
		if got := strings.Join(r.Near, " "); got != test.near {
			t.Errorf("%q: near are %q, want %q", test.text, got, test.near)
		}
	}
}

// What a text tells is named, and nothing else of it.
func TestExplainNamesFacts(t *testing.T) {
	const (
		assertion = "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJodHRwczovL2xvZ2luIn0.c2lnbmF0dXJlLW9mLWl0"
		secret    = "Zx8Q~NotToBeShownAnywhere.123456789"
		app       = "11111111-2222-3333-4444-555555555555"
		tenant    = "66666666-7777-8888-9999-aaaaaaaaaaaa"
		trace     = "bbbbbbbb-cccc-dddd-eeee-ffffffffffff"
		other     = "12345678-1234-1234-1234-123456789012"
		print     = "0123456789ABCDEF0123456789ABCDEF01234567"
	)
	for _, test := range []struct {
		text string
		want []Fact
	}{
		{
			`client_assertion=` + assertion + `&client_secret=` + secret + ` {"error":"invalid_client","error_description":"AADSTS700027: no. [Reason - The key used is expired., Thumbprint of key used by client: '` + print +
				`', Found key 'Start=01/02/2025 03:04:05, End=01/02/2026 03:04:05', Please visit, for app Id '` + app + `'] Trace ID: ` + trace + ` Correlation ID: ` + other + ` Timestamp: 2026-11-21 20:00:00Z","error_codes":[700027]}`,
			[]Fact{{"thumbprint used", print}, {"key credential from", "01/02/2025 03:04:05"}, {"key credential until", "01/02/2026 03:04:05"}, {"application", app}, {"trace ID", trace}, {"correlation ID", other}, {"time", "2026-11-21 20:00:00Z"}},
		},
		{
			"AADSTS700016: Application with identifier '" + app + "' was not found in the directory '" + tenant + "'. " + assertion,
			[]Fact{{"application", app}, {"tenant", tenant}},
		},
		{
			"ForbiddenByRbac Caller: appid=" + app + ";oid=" + other + ";iss=https://sts.windows.net/" + tenant + "/\r\nAction: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\nVault: contoso-kv;location=westeurope",
			[]Fact{{"application", app}, {"tenant", tenant}, {"object", other}, {"key vault", "contoso-kv"}, {"action", "Microsoft.KeyVault/vaults/secrets/getSecret/action"}},
		},
		{
			"(trace " + trace + ", correlation " + other + ", 2026-11-21 20:00:00Z)",
			[]Fact{{"trace ID", trace}, {"correlation ID", other}, {"time", "2026-11-21 20:00:00Z"}},
		},
		{
			"AADSTS700024: Current time: 2026-11-21T20:00:00.1234567Z, assertion valid from 2026-11-21T21:00:00.0000000Z, expiry time of assertion 2026-11-21T21:10:00.0000000Z.",
			[]Fact{{"Entra ID's clock", "2026-11-21T20:00:00.1234567Z"}, {"assertion from", "2026-11-21T21:00:00.0000000Z"}, {"assertion until", "2026-11-21T21:10:00.0000000Z"}},
		},
		{
			`{"error":{"code":"TooManyRequests","innerError":{"request-id":"` + trace + `","client-request-id":"` + other + `"}}} Retry-After: 17`,
			[]Fact{{"retry after", "17"}, {"request ID", trace}},
		},
		{
			"AuthorizationFailed: The client '" + app + "' with object id '" + other + "' does not have authorization to perform action 'Microsoft.Authorization/roleAssignments/write' over scope '/subscriptions/" + tenant + "'",
			[]Fact{{"object", other}, {"action", "Microsoft.Authorization/roleAssignments/write"}},
		},
		{secret, nil},
		{assertion, nil},
	} {
		r := Explain(test.text)
		if !slices.Equal(r.Facts, test.want) {
			t.Errorf("%s:\n got %v\nwant %v", test.text, r.Facts, test.want)
		}
		for _, s := range append(r.Unknown, r.Near...) {
			if strings.Contains(s, "eyJ") || strings.Contains(s, secret) {
				t.Errorf("%s: it gives back %q", test.text, s)
			}
		}
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("")
	f.Add("AADSTS700027: no")
	f.Add(`{"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByRbac"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r := Explain(text)
		for _, s := range r.Unknown {
			if len(s) > 100 || !coded.MatchString(s) && !spelt.MatchString(s) {
				t.Errorf("%q gives back %q", text, s)
			}
		}
		for _, fact := range r.Facts {
			if len(fact.Value) > 120 {
				t.Errorf("%q gives back %q", text, fact)
			}
		}
	})
}
