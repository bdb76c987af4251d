package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

// TestCertificatesAreShown shows applications with their certificates, the one first
// that ends first, and nothing that a program says of itself as markup.
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
	add(credential.Application{ObjectID: "o1", ClientID: "c1", Name: "A <b>bold</b> name", Mode: credential.On, Observed: credential.Observation{At: now}, Credentials: []credential.Credential{
		valid("k1", "AAAAAAAA11111111", credential.Active, now.AddDate(0, -1, 0), now.AddDate(0, 5, 0)),
		valid("k2", "BBBBBBBB22222222", credential.Standby, now.AddDate(0, 0, -1), now.AddDate(0, 6, 0)),
	}})
	add(credential.Application{ObjectID: "o2", ClientID: "c2", Name: "Sooner", Mode: credential.Observe, Credentials: []credential.Credential{
		valid("k3", "CCCC", credential.Active, now.AddDate(0, -6, 0), now.AddDate(0, 0, 10)),
	}})
	add(credential.Application{ObjectID: "o3", ClientID: "c3", Name: "New", Mode: credential.On})
	if err := s.DB.Find(t.Context(), s.Tenant, store.Finding{Rule: "certificate-due", Subject: "o2/k3", Message: "Sooner: it ends", Remedy: "see"}); err != nil {
		t.Fatal(err)
	}
	resp, body := get(t, s, "/", "")
	if resp.StatusCode != 200 {
		t.Fatalf("%s\n%s", resp.Status, body)
	}
	for _, want := range []string{
		"A &lt;b&gt;bold&lt;/b&gt; name", "<code>AAAAAAAA…</code>", "<code>BBBBBBBB…</code>", "<code>CCCC</code>", "2027-04-02", "2027-05-02", "2026-11-12",
		"2026-11-02 08:00:00 UTC", ">promote, in ", ">create, now", "Sooner: it ends.",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	at := func(name string) int { return strings.Index(body, name+"<td>") }
	if !(at("New") < at("Sooner") && at("Sooner") < at("name")) {
		t.Errorf("the order is not that of their ends: %d, %d, %d", at("New"), at("Sooner"), at("name"))
	}
	row := body[at("Sooner"):]
	if row = row[:strings.Index(row, "</tr>")]; !strings.HasSuffix(row, `<td class="n">1`) {
		t.Errorf("the row of what has a finding is %s", row)
	}
	for i := range mostApplications {
		add(credential.Application{ObjectID: fmt.Sprint("many", i), Name: "many", Mode: credential.Off})
	}
	if _, body := get(t, s, "/", ""); !strings.Contains(body, "and 3 more") || strings.Count(body, `<th scope="row" title=`) != mostApplications {
		t.Error("the rows are not bounded")
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
