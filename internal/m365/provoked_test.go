package m365_test

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// tenantWorld is an emulated tenant, and an application of a case's own in it. What a
// case changes besides, it does in a world of its own: see alone.
type tenantWorld struct {
	*emulatortest.World
	clock *emulatortest.Clock
	app   *directory.Application
	own   pki.Pair
}

// provocation gets an error out of the emulated tenant, as whoever pastes it has it.
type provocation func(*testing.T, *tenantWorld) string

// provoked says, for every explanation that the emulated tenant can show, how.
var provoked = join(provokedSignIns, provokedPeople, provokedGraph, provokedVault, provokedResources, provokedActivity, provokedLogs, provokedNetwork)

func join(all ...map[string]provocation) map[string]provocation {
	joined := map[string]provocation{}
	for _, one := range all {
		for key, p := range one {
			if joined[key] != nil {
				panic(key + " is provoked twice")
			}
			joined[key] = p
		}
	}
	return joined
}

// notProvoked says why, for every other one.
var notProvoked = map[string]string{
	"AADSTS7000214": "the emulator says 7000277",
	"AADSTS1000502": "the emulator says 700027 of a certificate that has ended",
	"AADSTS50196":   "which requests count as a loop is documented nowhere; the emulator throttles with 90055",
	"AADSTS50013":   "no application acts on behalf of people in the emulator",
	"AADSTS70021":   "the older number for what the emulator tells apart as 700211 to 700213",
	"AADSTS90019":   "the emulator says 50059",
	"AADSTS650052":  "the emulator says 500011 or 650057 of a resource that the tenant has not",
	"AADSTS650056":  "what brings it about is documented nowhere well enough",
	"AADSTS700229":  "it takes a token that Entra ID signs for a person, for the exchange of tokens: none is given to people",

	"AADSTS90020":  "no sign-in service of an organization's own is emulated",
	"AADSTS500021": "it takes a proxy that restricts tenants",
	"AADSTS500113": "the emulated pages say 50011 of an application without a reply address",

	"AADSTS50020":  "people of the emulator have no passwords, second factors, devices or other tenants",
	"AADSTS50053":  "as AADSTS50020",
	"AADSTS50055":  "as AADSTS50020",
	"AADSTS50126":  "as AADSTS50020",
	"AADSTS50173":  "as AADSTS50020",
	"AADSTS50076":  "as AADSTS50020",
	"AADSTS50079":  "as AADSTS50020",
	"AADSTS53000":  "as AADSTS50020",
	"AADSTS530032": "as AADSTS50020",

	"Authorization_IdentityNotFound": "the emulator takes what a token says, and does not look up who has it",
	"app-only-secret":                "SharePoint and OneDrive are not emulated",
	"accessDenied":                   "SharePoint and OneDrive are not emulated",
	"activityLimitReached":           "SharePoint and OneDrive are not emulated",
	"PaymentRequired":                "exports of Teams are not emulated",
	"Directory_QuotaExceeded":        "the emulated directory has no quota",
	"resyncRequired":                 "delta queries are not emulated",
	"syncStateNotFound":              "delta queries are not emulated",
	"Service_ServiceUnavailable":     "the emulator says serviceNotAvailable",
	"UnknownError":                   "the emulator has reasons",

	"ForbiddenByPolicy": "access policies for applications on behalf of people are not emulated",
	"Unauthorized":      "the emulator always gives the number of the reason, which is more particular",
	"Forbidden":         "the emulator always gives a reason, which is more particular",

	"RoleAssignmentLimitExceeded": "the emulated subscription has no limit",

	"AF20012": "Microsoft does not say when it comes and when AF20011",
	"AF20023": "no administrator of the emulator disables subscriptions",

	"tls-refused":         "it takes a machine between that breaks handshakes",
	"no-answer":           "it takes a machine that drops packets, and 15 seconds",
	"way-closed":          "it is what is left when none of the others is told",
	"dns-failing":         "it takes a name server that is down",
	"network-unreachable": "it takes a machine without routes",
}

// keyOf names an explanation in the two lists.
func keyOf(x m365.Explanation) string {
	if len(x.When) == 0 || strings.Contains(x.Code, "-") {
		return x.Code
	}
	return x.Code + ": " + x.When[0]
}

// Every explanation is shown by an error of the emulated tenant's, or there is a reason
// why it cannot be.
func TestEveryExplanationIsProvoked(t *testing.T) {
	shared := startWorld(t)
	keys := map[string]bool{}
	for _, x := range m365.Explanations() {
		key := keyOf(x)
		keys[key] = true
		t.Run(key, func(t *testing.T) {
			provoke := provoked[key]
			if why := notProvoked[key]; provoke == nil || why != "" {
				if provoke != nil || why == "" {
					t.Fatal("it is to be provoked, or there is to be a reason why it is not, and not both")
				}
				t.Skip(why)
			}
			text := provoke(t, shared.withApp(t))
			r := m365.Explain(text)
			if !slices.ContainsFunc(r.Explanations, func(y m365.Explanation) bool { return y.Code == x.Code && y.Title == x.Title }) {
				t.Errorf("%s\n is explained by %+v", text, r.Explanations)
			}
			if len(r.Unknown) > 0 {
				t.Errorf("%s\n has unknown codes: %v", text, r.Unknown)
			}
		})
	}
	for key := range maps.Keys(provoked) {
		if !keys[key] {
			t.Errorf("%q is provoked, and is no explanation", key)
		}
	}
	for key := range maps.Keys(notProvoked) {
		if !keys[key] {
			t.Errorf("%q is said not to be provoked, and is no explanation", key)
		}
	}
}

func startWorld(t testing.TB) *tenantWorld {
	t.Helper()
	clock := emulatortest.NewClock(time.Now().Truncate(time.Second))
	return &tenantWorld{World: emulatortest.Start(t, clock.Now), clock: clock}
}

// withApp is the world with an application that has a certificate.
func (w *tenantWorld) withApp(t testing.TB) *tenantWorld {
	t.Helper()
	own := *w
	own.own = sharedPair()
	app := w.Tenant.Directory.NewApplication("reeve " + uuid.NewString())
	if _, err := w.Tenant.Directory.AddKeyCredential(app.AppID, own.own.Certificate.Raw, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.Tenant.Directory.Settle()
	own.app = app
	return &own
}

// alone is a provocation in a world of its own.
func alone(p provocation) provocation {
	return func(t *testing.T, _ *tenantWorld) string { return p(t, startWorld(t).withApp(t)) }
}

// ask sends one request, and returns what came back with its address, as people paste
// it. Redirects are not followed: they are answers.
func (w *tenantWorld) ask(t *testing.T, method, address, body string, header ...string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := *w.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	back, err := url.QueryUnescape(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return method + " " + address + " " + resp.Status + " " + back + " " + string(answer)
}

// as is ask with an access token for a resource.
func (w *tenantWorld) as(t *testing.T, clientID, resource, method, address string, body string, header ...string) string {
	t.Helper()
	return w.ask(t, method, address, body, append([]string{"Authorization", "Bearer " + w.TokenOf(t, clientID, resource), "Content-Type", "application/json"}, header...)...)
}

// set gives a form with values set, or when empty taken away.
func set(form url.Values, values ...string) url.Values {
	for i := 0; i+1 < len(values); i += 2 {
		if form.Set(values[i], values[i+1]); values[i+1] == "" {
			form.Del(values[i])
		}
	}
	return form
}
