package web

import (
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store"
)

var now = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

func site(t *testing.T) *Site {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), store.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	tenant, err := db.Tenant(t.Context(), "guid")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(Options{Listen: "127.0.0.1:0", DB: db, Tenant: tenant, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Banner: "A banner <b>", Imports: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func get(t *testing.T, s *Site, path, host string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", strings.TrimSuffix(s.URL(), "/")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestStatusOfAnEmptyDatabase(t *testing.T) {
	resp, body := get(t, site(t), "/", "")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
	for _, want := range []string{"Nothing has been imported yet", "A banner &lt;b&gt;", "No records yet", "as of 2026-11-02 09:00:00 UTC", "</html>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestStatusSaysWhatIsSo(t *testing.T) {
	s := site(t)
	ctx := t.Context()
	l := s.DB.Ledger(s.Tenant, "audit")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	see := func(want ...string) {
		t.Helper()
		_, body := get(t, s, "/", "")
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("the page lacks %q", w)
			}
		}
	}
	must(l.Part(ctx, "Audit.General", "enabled", time.Time{}, ""))
	must(l.Part(ctx, "DLP.All", "refused", time.Time{}, "no licence <script>"))
	must(l.As("gone").Begin(ctx, now.Add(-time.Second)))
	see("ended without a word: it was killed, or its machine failed. The next one goes on from there. 0 blobs or windows are due.")
	must(l.Begin(ctx, now))
	see("is under way")

	must(l.Cover(ctx, "Audit.General", now.Add(-2*time.Hour), now, time.Hour, 7*24*time.Hour))
	windows, err := l.DueWindows(ctx, []string{"Audit.General"}, now)
	must(err)
	blob := store.Blob{Part: "Audit.General", ID: "b1", URI: "u", Created: now.Add(-time.Hour), Forget: now.Add(50 * time.Hour)}
	for i := range windows {
		windows[i].Listed, windows[i].Listings, windows[i].Due = now, 1, now.Add(time.Hour)
	}
	_, err = l.Found(ctx, windows, []store.Blob{blob})
	must(err)
	must(l.Listed(ctx, windows))
	must(l.Postpone(ctx, blob, now, "the network <is> down"))
	must(l.End(ctx, now, now, "partial", 0, "1 left, 0 lost"))
	see("The last run was partial: 1 left, 0 lost", "in 2 d 2 h 0 min", "1 × the network &lt;is&gt; down", "no licence &lt;script&gt;")

	must(s.DB.Write(ctx, func(tx *store.Tx) error {
		if ok, err := tx.Claim(l.Content(blob)); err != nil || !ok[0] {
			t.Errorf("claiming: %v, %v", ok, err)
		}
		return tx.Count([]store.Content{l.Content(blob)}, []store.Counts{{Records: 12345, Stored: 12345}})
	}))
	must(l.End(ctx, now, now, "complete", 12345, ""))
	see("Complete: everything that Microsoft listed is imported", "12\u202f345")

	must(s.DB.Find(ctx, s.Tenant, store.Finding{Rule: "r", Subject: "s", Message: "something is odd", Remedy: "mend it"}))
	see("something is odd.", "To do: mend it.")

	must(l.Lose(ctx, blob, "forgotten"))
	lost := blob
	lost.ID = "b2"
	_, err = l.Found(ctx, windows, []store.Blob{lost})
	must(err)
	must(l.Lose(ctx, lost, "forgotten"))
	see("1 blob or window was forgotten by Microsoft")
}

// TestStatusKnowsHowOftenIsImported: what is not due yet is not missing, as 'reeve coverage' says.
func TestStatusKnowsHowOftenIsImported(t *testing.T) {
	o := site(t).Options
	if err := o.DB.Ledger(o.Tenant, "audit").Cover(t.Context(), "Audit.General", now.Add(-2*time.Hour), now, time.Hour, 7*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	o.Every = 3 * time.Hour
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, body := get(t, s, "/", ""); !strings.Contains(body, `Audit.General`+strings.Repeat(`<td class="n">0`, 5)+`<td class="n">2<td class="n">–`) {
		t.Errorf("the page lacks two hours that are not due:\n%s", body)
	}
}

// TestStatusWithoutImport: where no feed is enabled, nothing is about to begin.
func TestStatusWithoutImport(t *testing.T) {
	o := site(t).Options
	o.Imports = false
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	see := func(want string) {
		t.Helper()
		if _, body := get(t, s, "/", ""); !strings.Contains(body, want) || strings.Contains(body, "The first run begins") || strings.Contains(body, "is under way") {
			t.Errorf("the page is not %q:\n%s", want, body)
		}
	}
	see(`The import is switched off (feeds.audit.enabled).</p>`)
	if err := s.DB.Ledger(s.Tenant, "audit").Begin(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	see("the last run began 2026-11-02 09:00:00 UTC")
}

// TestNoticesThatDoNotArriveAreShown until they do.
func TestNoticesThatDoNotArriveAreShown(t *testing.T) {
	s := site(t)
	outbox := s.DB.Outbox(s.Tenant)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"one", "two"} {
		must(s.DB.Write(t.Context(), func(tx *store.Tx) error {
			return tx.Post(s.Tenant, store.OutboxEvent{ID: id, At: now, Content: "{}"})
		}))
	}
	must(outbox.Address(t.Context(), []string{"mail:a@example.com", "webhook"}, now.Add(-time.Hour)))
	sent := map[string]store.Delivery{}
	for _, target := range []string{"mail:a@example.com", "mail:a@example.com", "webhook"} {
		d, err := outbox.Claim(t.Context(), target, now, now.Add(time.Minute))
		must(err)
		must(outbox.Failed(t.Context(), d, "the server <is> down", now.Add(time.Hour), now))
		sent[target] = d
	}
	_, body := get(t, s, "/", "")
	for _, want := range []string{"<b>mail:a@example.com</b>, 2 notices since 2026-11-02 08:00:00 UTC, again in 60 minutes: the server &lt;is&gt; down", "<b>webhook</b>, 1 notice since"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
	must(outbox.Sent(t.Context(), sent["webhook"], now, "notice-undelivered"))
	if _, body := get(t, s, "/", ""); strings.Contains(body, "<b>webhook</b>") {
		t.Error("what has arrived is listed")
	}
}

func TestSecurity(t *testing.T) {
	s := site(t)
	for _, path := range []string{"/", "/static/reeve.css", "/static/reeve.svg", "/nothing"} {
		resp, _ := get(t, s, path, "")
		if want := map[bool]int{true: 404, false: 200}[path == "/nothing"]; resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	for host, want := range map[string]int{"": 200, "localhost": 200, "localhost:80": 200, "[::1]:8080": 200, "evil.example": 421, "127.0.0.1.evil.example:8080": 421} {
		if resp, _ := get(t, s, "/", host); resp.StatusCode != want {
			t.Errorf("host %q: %s, want %d", host, resp.Status, want)
		}
	}
	resp, err := http.Post(s.URL(), "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("POST: %s", resp.Status)
	}
}

func TestTroubleIsAPage(t *testing.T) {
	s := site(t)
	s.DB.Close()
	resp, body := get(t, s, "/", "")
	if resp.StatusCode != 500 || !strings.Contains(body, "This page could not be made") {
		t.Errorf("%s: %s", resp.Status, body)
	}
}

func TestPortThatIsTaken(t *testing.T) {
	a := site(t)
	b, err := Start(Options{Listen: strings.TrimSuffix(strings.TrimPrefix(a.URL(), "http://"), "/"), DB: a.DB, Tenant: a.Tenant, Log: slog.New(slog.DiscardHandler), Now: a.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if a.URL() == b.URL() {
		t.Error("both have the same address")
	}
	if resp, _ := get(t, b, "/", ""); resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
}
