package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

// TestCertificatesAreShown shows applications with their certificates, those first that
// somebody has to see to, and nothing that a program says of itself as markup.
func TestCertificatesAreShown(t *testing.T) {
	s := site(t)
	if _, body := get(t, s, "/", ""); !strings.Contains(body, "No application is looked after yet") {
		t.Error("an empty database has no section for certificates")
	}
	const resource = "https://graph.microsoft.com"
	add := func(a credential.Application) {
		t.Helper()
		a.Adopted, a.Policy = now, credential.Policy{}.Complete(resource)
		if err := s.DB.AddApplication(t.Context(), s.Tenant, a, store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
			t.Fatal(err)
		}
	}
	valid := func(id, sha1 string, state credential.State, from, until time.Time) credential.Credential {
		return credential.Credential{ID: id, SHA1: sha1, State: state, NotBefore: from, NotAfter: until, RenewAt: until.AddDate(0, -2, 0), Planned: from,
			Probed: now.Add(-time.Hour), Proofs: map[string]credential.Proof{resource: {Since: from, Last: now.Add(-time.Hour), Count: 3}}}
	}
	add(credential.Application{ObjectID: "o1", ClientID: "c1", Name: "A <b>bold</b> name", Mode: credential.On, Observed: credential.Observation{At: now, RungsAt: now, Rungs: []credential.Rung{{Works: credential.Yes}, {Works: credential.Yes}, {Works: credential.No}, {Works: credential.Yes}}}, Credentials: []credential.Credential{
		valid("k1", "AAAAAAAA11111111", credential.Active, now.AddDate(0, -1, 0), now.AddDate(0, 5, 0)),
		valid("k2", "BBBBBBBB22222222", credential.Standby, now.AddDate(0, 0, -1), now.AddDate(0, 12, 0)),
	}})
	add(credential.Application{ObjectID: "o2", ClientID: "c2", Name: "Sooner", Mode: credential.Observe, Credentials: []credential.Credential{
		valid("k3", "CCCC", credential.Active, now.AddDate(0, -6, 0), now.AddDate(0, 0, 10)),
	}})
	add(credential.Application{ObjectID: "o3", ClientID: "c3", Name: "New", Mode: credential.On, Credentials: []credential.Credential{{ID: "k4", State: credential.Proving, Planned: now}}})
	resp, body := get(t, s, "/certificates", "")
	if resp.StatusCode != 200 {
		t.Fatalf("%s\n%s", resp.Status, body)
	}
	for _, want := range []string{
		"A &lt;b&gt;bold&lt;/b&gt; name", "<code>AAAAAAAA…</code>", "<code>BBBBBBBB…</code>", "<code>CCCC</code>", "2027-04-02", "2027-11-02", "2026-11-12",
		`title="2026-11-02 08:00:00 UTC">60 minutes ago`, ">promote <small>in ", ">prove <small>", "in 10 days", "none yet: proving", "not tested", "3 work",
		`<p class="state wait">Somebody ought to see to 1 of 3 applications`, `<a href="/certificates/o2">Sooner</a>: <b>the certificate in use, CCCC, ends on 2026-11-12, and reeve only looks on.</b> <span>To do: let reeve renew it`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	row := func(body, name string) string {
		_, row, _ := strings.Cut(body, name+"</a>\n<td data-label")
		row, _, _ = strings.Cut(row, "</tr>")
		return row
	}
	for name, want := range map[string]string{"name": ">well<", "Sooner": ">see to it<", "New": ">under way<"} {
		if !strings.Contains(row(body, name), want) {
			t.Errorf("the row of %s is %s", name, row(body, name))
		}
	}
	at := func(name string) int { return strings.Index(body, name+"</a>\n<td") }
	if !(at("Sooner") < at("New") && at("New") < at("name")) {
		t.Errorf("the order is not that of what has to be seen to: %d, %d, %d", at("New"), at("Sooner"), at("name"))
	}
	if _, body := get(t, s, "/", ""); !strings.Contains(row(body, "Sooner"), "2026-11-12") || !strings.Contains(body, "All applications</a>, 3") {
		t.Error("the status page does not show the applications")
	}
	for i := range mostApplications {
		add(credential.Application{ObjectID: fmt.Sprint("many", i), Name: "many", Mode: credential.Off})
	}
	for path, want := range map[string]string{"/certificates": "1 to 200 of 203 <a href=\"/certificates?from=200\">", "/certificates?from=200": "<a href=\"/certificates?from=0\">Those before</a> 201 to 203 of 203", "/certificates?from=9999": "203 to 203", "/certificates?from=-1x": "1 to 200"} {
		if _, body := get(t, s, path, ""); !strings.Contains(body, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
	if _, body := get(t, s, "/", ""); strings.Count(body, `<th scope="row" title=`) != mostOnStatus {
		t.Error("the status page does not bound its rows")
	}
}

// TestApplicationIsShown shows all of one application: what is wrong, its certificates, the
// ways back and when they were tested, and its journal, newest first.
func TestApplicationIsShown(t *testing.T) {
	s := site(t)
	const ids = " (trace t1, correlation c1, 2026-11-02 08:00:00Z)"
	a := credential.Application{ObjectID: "o1", ClientID: "c1", Name: "pay<roll>", Mode: credential.On, Adopted: now, Policy: credential.Policy{Targets: []string{"directory:/srv/payroll"}}.Complete("https://graph.microsoft.com"),
		Observed: credential.Observation{At: now.Add(-time.Hour), RungsAt: now.Add(-3 * time.Hour), Keys: []credential.ObservedKey{
			{KeyID: "f1", Name: "old script", Secret: true, End: now.AddDate(0, 0, 3)}, {KeyID: "k1", SHA1: "AAAAAAAA11111111", Ours: "k1", End: now.AddDate(0, 5, 0)},
		}, Rungs: []credential.Rung{{Name: "own certificate", Works: credential.Yes, Text: "it signs in"}, {Name: "manager", Works: credential.No, Text: "refused" + ids}, {Name: "person", Works: credential.Unknown, Text: "somebody signs in"}}},
		Credentials: []credential.Credential{
			{ID: "k1", SHA1: "AAAAAAAA11111111", State: credential.Active, Reason: "it was in use", NotBefore: now.AddDate(0, 0, -50), NotAfter: now.AddDate(0, 0, 50), RenewAt: now.AddDate(0, 0, 10), Planned: now,
				Attempts: 3, Stuck: true, Error: "publishing to directory:/srv/payroll: denied" + ids},
			{ID: "k0", State: credential.Destroyed},
		}}
	if err := s.DB.AddApplication(t.Context(), s.Tenant, a, store.JournalEntry{Actor: "ann", Step: "adopt", Outcome: store.Done, Text: "first line"}); err != nil {
		t.Fatal(err)
	}
	for i := range mostHistory + 10 {
		e := store.JournalEntry{Actor: "reeve", Credential: "k1", Step: "publish", Outcome: store.Failed, Text: fmt.Sprint("line ", i, ids), Data: []byte(`{"request_id": "r1", "trace_id": "t1", "correlation_id": "c1"}`)}
		if err := s.DB.AddJournal(t.Context(), s.Tenant, "o1", e); err != nil {
			t.Fatal(err)
		}
	}
	resp, body := get(t, s, "/certificates/o1", "")
	if resp.StatusCode != 200 {
		t.Fatalf("%s\n%s", resp.Status, body)
	}
	for _, want := range []string{
		"<h1>pay&lt;roll&gt; <span class=\"badge bad\">act now</span>", "denied.</b>", "For Microsoft's support: trace t1, correlation c1",
		"the client secret old script ends on 2026-11-05", `value="50">50 %`, "AAAAAAAA11111111", "And 1 that are over",
		"Tested 3 hours ago, 2026-11-02 06:00:00 UTC", "<b>own certificate</b> <span class=\"badge good\">works</span>", "<b>manager</b> <span class=\"badge look\">does not work</span> <span>refused <small>",
		"cannot be tested", "old script", "in 3 days", "directory:/srv/payroll", "180d", "reeve cert history c1 --verify", "request r1, trace t1, correlation c1", `?before=12"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if first, last := strings.Index(body, "line 109"), strings.Index(body, "line 10 <"); first < 0 || last < first || strings.Contains(body, "line 9 <") || strings.Contains(body, "(trace") {
		t.Errorf("the journal is not the newest %d, newest first: %d, %d", mostHistory, first, last)
	}
	_, body = get(t, s, "/certificates/o1?before=12", "")
	if !strings.Contains(body, "first line") || !strings.Contains(body, "line 9 <") || strings.Contains(body, "line 10 <") || !strings.Contains(body, "The newest</a>") || strings.Contains(body, "Older ones") {
		t.Error("the older part of the journal is not as it ought to be")
	}
	for path, want := range map[string]int{"/certificates/o2": 404, "/certificates/o1?before=x": 200, "/certificates/o1/x": 404} {
		if resp, _ := get(t, s, path, ""); resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// TestPagesAgree: all pages count and list the same as what needs attention, whatever was
// recorded at the last look, and the steps are planned in the rhythm of the configuration.
func TestPagesAgree(t *testing.T) {
	o := site(t).Options
	o.Rhythm = credential.Rhythm{Look: time.Minute}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const resource = "https://graph.microsoft.com"
	a := credential.Application{ObjectID: "o1", ClientID: "c1", Name: "payroll", Mode: credential.On, Adopted: now, Policy: credential.Policy{}.Complete(resource),
		Observed: credential.Observation{At: now, Keys: []credential.ObservedKey{{KeyID: "f1", Name: "forgotten", End: now.AddDate(0, 0, -3)}}}}
	for _, state := range []credential.State{credential.Active, credential.Standby, credential.Draining} {
		c := credential.Credential{ID: string(state), SHA1: string(state), State: state, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 5, 0), RenewAt: now.AddDate(0, 3, 0),
			Planned: now, Probed: now, Proofs: map[string]credential.Proof{resource: {Since: now, Last: now, Count: 3}}}
		if state == credential.Draining {
			c.DrainUntil = now.AddDate(0, 0, 4)
		}
		a.Credentials = append(a.Credentials, c)
	}
	if err := s.DB.AddApplication(t.Context(), s.Tenant, a, store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
		t.Fatal(err)
	}
	all := credential.Assess(now, a)
	if len(all) != 1 || all[0].Severity != credential.Info {
		t.Fatalf("the findings are %v", all)
	}
	recorded := store.Finding{Rule: all[0].Rule, Subject: "o1/f1", Message: "payroll: " + all[0].Message}
	if err := s.DB.Find(t.Context(), s.Tenant, recorded); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/": {">well<"}, "/certificates": {"All is well", ">well<", "<b>1</b><span>application</span>"},
		"/certificates/o1": {"Good to know", "forgotten", ">well<", "each 1m", "until 2026-11-06 09:00:00 UTC, in 4 days"},
	} {
		_, body := get(t, s, path, "")
		if strings.Contains(body, "Needs attention") {
			t.Errorf("%s calls for attention", path)
		}
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s lacks %q:\n%s", path, text, body)
			}
		}
	}
	// What is urgent is so everywhere, and what is about nothing that is shown stays.
	urgent := a
	urgent.ObjectID, urgent.Name, urgent.Mode, urgent.Credentials = "o2", "broken", credential.Observe, slices.Clone(a.Credentials[:1])
	urgent.Credentials[0].ID, urgent.Credentials[0].NotAfter = "ending", now.AddDate(0, 0, 10)
	if err := s.DB.AddApplication(t.Context(), s.Tenant, urgent, store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
		t.Fatal(err)
	}
	if err := s.DB.Find(t.Context(), s.Tenant, store.Finding{Rule: "r", Subject: "elsewhere", Message: "something is odd"}); err != nil {
		t.Fatal(err)
	}
	worst := rowOf(urgent, now).Standing
	if worst != actNow && worst != seeToIt {
		t.Fatalf("it is %v", worst)
	}
	for _, path := range []string{"/", "/certificates"} {
		if _, body := get(t, s, path, ""); !strings.Contains(body, `<a href="/certificates/o2">broken</a>: <b>`) || strings.Contains(body, "something is odd") != (path == "/") {
			t.Errorf("%s does not list it:\n%s", path, body)
		}
	}
}

// TestProofsTestTheWaysBack: what was proved since the ways back were tested counts, and
// what was refused since does not.
func TestProofsTestTheWaysBack(t *testing.T) {
	const resource = "https://graph.microsoft.com"
	proved := func(state credential.State, at time.Time) credential.Credential {
		return credential.Credential{ID: string(state), SHA1: "AA", State: state, NotAfter: now.AddDate(1, 0, 0), Proofs: map[string]credential.Proof{resource: {Last: at, Count: 3}}}
	}
	old, fresh := now.Add(-2*time.Hour), now.Add(-time.Minute)
	a := credential.Application{Policy: credential.Policy{}.Complete(resource), Observed: credential.Observation{RungsAt: now.Add(-time.Hour), Rungs: []credential.Rung{
		{Name: "own certificate", Works: credential.No, Text: "refused"}, {Name: "standby", Works: credential.No, Text: "none waits"}, {Name: "manager", Works: credential.No, Text: "no"},
	}}}
	for name, test := range map[string]struct {
		credentials []credential.Credential
		refused     bool
		want        string
	}{
		"nothing since": {[]credential.Credential{proved(credential.Active, old)}, false, "refused, none waits, no"},
		"both proved": {[]credential.Credential{proved(credential.Active, fresh), proved(credential.Standby, fresh)}, false,
			"certificate AA signed in at 2026-11-02 08:59:00 UTC, certificate AA signed in at 2026-11-02 08:59:00 UTC, no"},
		"refused again": {[]credential.Credential{proved(credential.Active, fresh)}, true, "refused, none waits, no"},
	} {
		a.Credentials = test.credentials
		if test.refused {
			a.Credentials[0].Refusals = 1
		}
		var texts []string
		for _, r := range rungs(a) {
			texts = append(texts, r.Text)
			if (r.Works == credential.Yes) != strings.Contains(r.Text, "signed in") {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if got := strings.Join(texts, ", "); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if a.Observed.Rungs[0].Works != credential.No {
		t.Error("what is recorded was changed")
	}
}

func TestSoon(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "now", 90 * time.Second: "in 1 minute", -time.Hour: "60 minutes ago", 5 * time.Hour: "in 5 hours", 49 * time.Hour: "in 2 days", -30 * time.Second: "30 seconds ago"} {
		if got := soon(now.Add(d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := soon(time.Time{}, now); got != "–" {
		t.Errorf("never: %q", got)
	}
}

// TestHandlersAreServedUnderTheSameRules mounts a handler, which the check of the host
// name protects as well.
func TestHandlersAreServedUnderTheSameRules(t *testing.T) {
	s := site(t)
	o := s.Options
	o.Handlers = map[string]http.Handler{"/v1/": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "handled ", r.URL.Path) })}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for host, want := range map[string]int{"": 200, "localhost:1": 200, "evil.example": 421} {
		resp, body := get(t, s, "/v1/x", host)
		if resp.StatusCode != want || (want == 200) != (body == "handled /v1/x") {
			t.Errorf("host %q: %s %s", host, resp.Status, body)
		}
	}
}
