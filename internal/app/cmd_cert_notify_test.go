package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/notify"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

// A test notice arrives, or it is said of each target why it did not, and the exit code
// tells; what is waiting in the outbox is shown with the application.
func TestTestNotice(t *testing.T) {
	t.Parallel()
	var refuses atomic.Bool
	var got atomic.Value
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("X-Reeve-Event"))
		if refuses.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer hook.Close()
	quiet := newLife(t)
	quiet.want(exitCheck, "cert notify", `nothing was sent: of the certificates of anybody the log alone is told`)

	l := newLife(t, "REEVE_NOTIFY_WEBHOOK_URL="+hook.URL+"/canary-path")
	// Before there is a database.
	l.want(exitOK, "cert notify", `^sent +webhook`, `1 target took it over`)
	if id, _ := got.Load().(string); !strings.HasPrefix(id, "test/") {
		t.Errorf("the webhook was told of %q", id)
	}
	l.want(exitOK, "cert adopt --notify log")
	l.want(exitCheck, "cert notify reeve", `of the certificates of reeve the log alone is told`)
	l.want(exitOK, "cert policy set --notify webhook")
	l.want(exitOK, "cert notify reeve", `^sent +webhook`)
	refuses.Store(true)
	text := l.want(exitCheck, "cert notify reeve", `^failed +webhook: .*500`, `1 of 1 who are to be told did not get it`)
	text += l.want(exitCheck, "cert notify --json", `"sent": false`, `"ok": false`)
	if strings.Contains(text, "canary") {
		t.Errorf("the address of the webhook is shown:\n%s", text)
	}

	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(l.dir, "reeve.db"), store.Options{Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tenant, err := db.Tenant(t.Context(), l.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	if unsent := l.app().Unsent; len(unsent) != 0 {
		t.Errorf("a test is tried again: %v", unsent)
	}
	outbox := db.Outbox(tenant)
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		return notify.Post(tx, tenant, notify.Event{ID: "one", At: l.now(), Kind: "k", Subject: "s", Severity: notify.Info})
	}); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"webhook", "mail:other@contoso.example"} {
		if err := outbox.Address(t.Context(), []string{"webhook", "mail:other@contoso.example"}, l.now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		d, err := outbox.Claim(t.Context(), target, l.now(), l.now().Add(time.Minute))
		if err == nil {
			err = outbox.Failed(t.Context(), d, "it is down", l.now().Add(time.Hour), l.now())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.want(exitOK, "cert show", `^Notices that did not arrive yet`, `^  webhook, 1 notice since .*: it is down$`)
	if unsent := l.app().Unsent; len(unsent) != 1 || unsent[0].Target != "webhook" {
		t.Errorf("what did not arrive is %v", unsent)
	}
}

// What fails is journaled with its reason and where it was tried, and says what would help.
func TestFilesThatAreThere(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.want(exitOK, "cert adopt")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, l.dir)
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(l.dir, "reeve.pfx")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.want(exitUsage, "cert export --out "+relative+" --password-out "+filepath.Join(l.dir, "password"), `--force`)
	l.want(exitOK, "cert history", `export +failed .*the private key is written to `+regexp.QuoteMeta(file)+`; it was not, since .*exist`)

	kit := filepath.Join(l.dir, "kit")
	l.want(exitOK, "cert rescue --offline "+kit)
	l.want(exitUsage, "cert rescue --offline "+kit, `replaced by --force; nothing was written`)
	l.want(exitOK, "cert rescue --force --offline "+kit)
	for _, line := range strings.Split(l.want(exitOK, "cert history", `rescue, asked for by`), "\n") {
		if strings.HasSuffix(line, ":") {
			t.Errorf("a reason is left out: %s", line)
		}
	}
	l.want(exitUsage, "cert policy set --lifetime 0", `0 is no lifetime: write 30d to 1095d`)
	l.want(exitOK, "cert history --verify", `entries of the journal`)
	active := l.app().Active.SHA1
	l.want(exitOK, "cert list --all --within 5000d", `^ENDS.* THUMBPRINT `, active+` +`, `Of \d+ applications?, `)
	if text := l.want(exitOK, "cert list --all --within 5000d --json"); !strings.Contains(text, `"sha1": "`+active+`"`) {
		t.Errorf("the thumbprint is not in JSON:\n%s", text)
	}
}

// TestNoCommandReplacesAFileUnasked: each command that writes files says of one that is
// there already that it was used wrongly, and leaves the file alone.
func TestNoCommandReplacesAFileUnasked(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.want(exitOK, "cert adopt")
	in := func(name string) string { return filepath.Join(l.dir, name) }
	for _, c := range []struct{ command, file string }{ // in this order: some take what others have written
		{"pki new --format pem --name one --out " + in("pki"), "pki/one.pem"},
		{"pki new --authority --subject CA --key p-256 --format pem --out " + in("pki"), "pki/CA.pem"},
		{"pki csr --name two --subject CN=two --out " + in("pki"), "pki/two.csr"},
		{"pki issue --ca " + in("pki/CA.pem") + " --csr " + in("pki/two.csr") + " --out " + in("issued"), "issued/two.cer"},
		{"pki convert " + in("pki/one.pem") + " --to cer --out " + in("pki/other.cer"), "pki/other.cer"},
		{"cert export --format pem --out " + in("export"), "export/reeve.pem"},
		{"cert export --public --out " + in("public"), "public/reeve.cer"},
		{"cert rescue --offline " + in("kit"), "kit/README.txt"},
		{"app sample --language go --out " + in("sample"), "sample/main.go"},
		{"app script --format http --out " + in("script/reeve.http"), "script/reeve.http"},
		{"app script --format http --json --out " + in("json/reeve.http"), "json/reeve.http"},
		{"app consent --offline --out " + in("consent/consent.html"), "consent/consent.html"},
		{"doctor --offline --only clock --bundle " + in("support.zip"), "support.zip"},
		{"db backup " + in("copy.db"), "copy.db"},
	} {
		text := l.want(exitOK, c.command)
		if folder := filepath.Dir(in(c.file)); strings.HasPrefix(c.command, "app script ") || strings.HasPrefix(c.command, "app consent ") {
			if !strings.Contains(text, "Folder made: "+folder+". Only this user can open it.\n") {
				t.Errorf("%s does not say that it made a folder:\n%s", c.command, text)
			}
		}
		before, err := os.ReadFile(in(c.file))
		if err != nil {
			t.Fatal(err)
		}
		if text := l.want(exitUsage, c.command, `exists|is there already`); strings.Contains(text, "Folder made") {
			t.Errorf("%s:\n%s", c.command, text)
		}
		if after, err := os.ReadFile(in(c.file)); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file is another one (%v)", c.command, err)
		}
	}
}

func TestThumbprintOfAListedKey(t *testing.T) {
	const digits = "0123456789abcdef0123456789ABCDEF01234567"
	for text, want := range map[string]string{
		`"ASNFZ4mrze8BI0VniavN7wEjRWc="`: strings.ToUpper(digits), // binary
		`"` + digits + `"`:               strings.ToUpper(digits), // taken for base64
		`"bmFtZQ=="`:                     "",
		`null`:                           "",
	} {
		var k graph.KeyCredential
		if err := json.Unmarshal([]byte(`{"keyId":"k","type":"AsymmetricX509Cert","usage":"Verify","customKeyIdentifier":`+text+`}`), &k); err != nil {
			t.Fatal(err)
		}
		if got := thumbprintOf(k); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// A name that several certificates have says which; one that is too short says so.
func TestNamesOfSeveralCertificates(t *testing.T) {
	app := credential.Application{Name: "payroll", Credentials: []credential.Credential{
		{ID: "a", SHA1: "ABCD1111", State: credential.Active}, {ID: "b", SHA1: "ABCD2222", State: credential.Draining}, {ID: "c", SHA1: "EF003333", State: credential.Draining},
	}}
	for name, want := range map[string]string{
		"abcd":     `has 2 certificates that "abcd" names, say which: ABCD1111 (active), ABCD2222 (draining)`,
		"draining": `has 2 certificates that "draining" names, say which: ABCD2222 (draining), EF003333 (draining)`,
		"EF":       `"EF" is too short for the name of a certificate: EF003333 (draining) may be meant`,
		"9999":     `has no certificate "9999"; there are: `,
	} {
		if c, err := oneCredential(app, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", name, c.SHA1, err, want)
		}
	}
	if c, err := oneCredential(app, "abcd2"); err != nil || c.ID != "b" {
		t.Errorf("got %v, %v", c, err)
	}
}

// A request is shown in full once, and then by its number.
func TestRequestsAreShownOnce(t *testing.T) {
	token := rotate.Request{Method: "POST", URL: "https://login/token", Header: http.Header{"A": {"b"}}, Body: "scope=x", Note: "signed by 1"}
	again, other := token, token
	again.Note, other.Body = "signed by 2", "scope=y"
	var out strings.Builder
	p := requestPrinter{}
	p.print(&out, []rotate.Request{token, other})
	p.print(&out, []rotate.Request{again})
	want := `      [1] POST https://login/token
        # signed by 1
        A: b
        scope=x
      [2] POST https://login/token
        # signed by 1
        A: b
        scope=y
      [1] POST https://login/token
        # signed by 2
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

func TestFindingsAreCounted(t *testing.T) {
	found := []assessment{{Severity: credential.Critical}, {Severity: credential.Warning}}
	if got := countFindings(found); got != "1 critical, 1 warning" {
		t.Error(got)
	}
	if got := countFindings(append(found, found...)); got != "2 critical, 2 warnings" {
		t.Error(got)
	}
}

// When one that was replaced stops being usable is said with the application, and with the
// certificate.
func TestDrainingIsShown(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	app := credential.Application{Name: "payroll", Mode: credential.On, Credentials: []credential.Credential{
		{ID: "a", SHA1: "AAAA", State: credential.Active}, {ID: "b", SHA1: "BBBB", State: credential.Draining, DrainUntil: now.AddDate(0, 0, 2)},
		{ID: "c", SHA1: "CCCC", State: credential.Draining, DrainUntil: now.AddDate(0, 0, 4)},
	}}
	a := &App{Config: &config.Config{}, now: func() time.Time { return now }}
	r := a.report(app)
	if r.Drains == nil || !r.Drains.Equal(now.AddDate(0, 0, 4)) {
		t.Errorf("it drains until %v", r.Drains)
	}
	var out strings.Builder
	printShow(&out, showReport{applicationReport: r, Credentials: app.Credentials}, now)
	if !strings.Contains(out.String(), "it stays usable until 2026-11-04 09:00 UTC") {
		t.Errorf("it shows\n%s", out.String())
	}
}
