package app_test

import (
	"archive/zip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store"
)

// TestBundleHoldsNoSecretsAndNames puts secrets and names into every setting, variable
// and row that a support file is made of, and looks for them in what is written.
func TestBundleHoldsNoSecretsAndNames(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	const (
		person  = "Zoe Quillfeather"
		mail    = "quillfeather@fabrikam.example"
		access  = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
		address = "10.77.66.55"
		object  = "5f0c0e6a-1111-4222-8333-9d1e6f1a2b3c"
	)
	secrets := map[string]string{ // by setting
		"REEVE_AUTH_CERTIFICATE_PASSWORD": "canary-pfx-password", "REEVE_AUTH_CLIENT_SECRET": "Canary~8Q~client.secret-value",
		"REEVE_CREDENTIALS_KEYSET_TEXT": "canary-keyset", "REEVE_NOTIFY_MAIL_PASSWORD": "canary mail password",
		"REEVE_NOTIFY_WEBHOOK_URL": "https://127.0.0.1:1/services/zzyzx", "REEVE_NOTIFY_WEBHOOK_SECRET": "canary-hmac",
		"REEVE_DATABASE_PASSWORD": "canary-database",
	}
	for _, k := range config.Keys() {
		if k.Secret() && secrets[k.Env] == "" {
			t.Errorf("the secret %s has no canary: add one here, and see that secretsOf in cmd_doctor.go has it", k.Name)
		}
	}
	home := filepath.Join(t.TempDir(), "home", "zquillfeather")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	environ := e.client(t, "REEVE_DATABASE_URL=sqlite:"+filepath.Join(home, "reeve.db"), "REEVE_NOTIFY_MAIL_HOST=127.0.0.1", "REEVE_NOTIFY_MAIL_PORT=1",
		"REEVE_NOTIFY_MAIL_FROM="+mail, "REEVE_NOTIFY_MAIL_TO="+mail, "REEVE_NOTIFY_MAIL_SUBJECT_PREFIX="+person, "REEVE_NOTIFY_MAIL_USERNAME=import", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=false",
		"REEVE_FEEDS_AUDIT_ORG_URLS=https://fabrikam.sharepoint.com/sites/quillfeather", "REEVE_CREDENTIALS_DIR="+filepath.Join(home, "keys"),
		"AZURE_CLIENT_SECRET=canary-of-the-azure-sdk", "AZURE_CLIENT_CERTIFICATE_PATH=/home/zquillfeather/other.pem", "TZ=Fabrikam/Quillfeather",
		"NO_PROXY=https://fabrikam.example")
	for name, value := range secrets {
		environ = append(environ, name+"="+value)
	}
	ctx := t.Context()
	db, err := store.Open(ctx, byName(environ)["REEVE_DATABASE_URL"], store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text := "AADSTS700027 for " + person + " (" + mail + ") at " + address + " with Bearer " + access + " in /home/zquillfeather of fabrikam.example"
	tn, err := db.Tenant(ctx, e.ID)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	now := time.Now().UTC()
	must(db.Find(ctx, tn, store.Finding{Rule: "org-urls-empty", Subject: text, Message: text, Remedy: text}))
	ledger := db.Ledger(tn, "audit")
	must(ledger.Part(ctx, "Audit.General", "refused", now, text))
	must(ledger.Begin(ctx, now))
	must(ledger.End(ctx, now, now, "failed", 7, text))
	must(db.AddApplication(ctx, tn, credential.Application{ClientID: e.Client().ClientID, ObjectID: object, Name: person, Mode: credential.Observe, Adopted: now},
		store.JournalEntry{At: now, Actor: mail, Credential: object, Step: "adopt", Outcome: "done", Text: text, Data: json.RawMessage(`{"name":"` + person + `"}`)}))
	must(db.Write(ctx, func(tx *store.Tx) error {
		return tx.Post(tn, store.OutboxEvent{ID: "e", At: now, Content: `{"Text":"` + text + `"}`})
	}))
	box := db.Outbox(tn)
	must(box.Address(ctx, []string{"mail"}, now))
	sent, err := box.Claim(ctx, "mail", now, now.Add(time.Minute))
	must(err)
	must(box.Failed(ctx, sent, text, now.Add(time.Minute), now))
	must(db.Close())

	path := filepath.Join(home, "support.zip")
	o := reeve(t, environ, "doctor", "--patience", "5s", "--bundle", path)
	o.want(t, check, "support.zip will hold, without secrets and names") // nobody takes mail at port 1
	z, err := zip.OpenReader(path)
	must(err)
	defer z.Close()
	all := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		must(err)
		content, err := io.ReadAll(r)
		must(err)
		all[f.Name] = string(content)
	}
	hidden := []string{person, "Quillfeather", mail, "fabrikam", access, "c2lnbmF0dXJlLXNpZ25hdHVyZQ", address, object, e.ID, e.Client().ClientID, "zquillfeather", "zzyzx",
		"canary-of-the-azure-sdk", home, e.variables["CERT_PEM"]}
	for _, s := range secrets {
		hidden = append(hidden, s)
	}
	for name, content := range all {
		for _, h := range hidden {
			for _, form := range []string{h, hex.EncodeToString([]byte(h)), base64.StdEncoding.EncodeToString([]byte(h)), base64.RawURLEncoding.EncodeToString([]byte(h))} {
				if strings.Contains(strings.ToLower(content), strings.ToLower(form)) {
					t.Errorf("%s shows %q", name, form)
				}
			}
		}
		mustHide(t, name, content, nil)
		mustHide(t, "standard output", o.out, []canary{{"the secret of the webhook", "zzyzx"}, {"a secret", "canary"}})
	}
	for name, parts := range map[string][]string{
		"README.txt":    {"It holds no secret", "journal.json"},
		"version.json":  {`"go": "go1.`},
		"checks.json":   {`"check": "clock"`, "this machine's clock is", `"check": "mail"`},
		"settings.json": {`"key": "auth.client-secret",`, `"value": "<secret>"`, `"origin": "environment variable REEVE_TENANT_ID"`, `"value": "guid-`, `"value": "certificate"`},
		"import.json":   {"AADSTS700027", `"failed"`, "Audit.General", "refused", "org-urls-empty"},
		"journal.json":  {"AADSTS700027", `"observe"`, `"adopt"`, `"mail"`},
	} {
		for _, p := range parts {
			if !strings.Contains(all[name], p) {
				t.Errorf("%s lacks %s:\n%s", name, p, all[name])
			}
		}
	}
	// A name that is a plain word is a name all the same, as is the one of an authority.
	for name, word := range map[string]string{"settings.json": `"value": "import"`, "checks.json": "Not a real authority"} {
		if strings.Contains(all[name], word) {
			t.Errorf("%s shows %s", name, word)
		}
	}
	// The application has one pseudonym throughout.
	var settings struct{ Settings []struct{ Key, Value string } }
	must(json.Unmarshal([]byte(all["settings.json"]), &settings))
	for _, s := range settings.Settings {
		if s.Key == "client-id" && !strings.Contains(all["journal.json"], s.Value) {
			t.Errorf("the application is %s in the settings, and something else in the journal:\n%s", s.Value, all["journal.json"])
		}
	}
}

// What answers in a host's place does not steer the terminal.
func TestDoctorPrintsPlainText(t *testing.T) {
	t.Parallel()
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"issuer": "https://x/\u001b]0;gone\u0007\r\u001b[2J"}`)
	}))
	defer host.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: host.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := reeve(t, []string{"REEVE_CLOUD=custom", "REEVE_AUTHORITY_HOST=" + host.URL, "REEVE_CA_FILE=" + ca, "REEVE_TENANT_ID=11111111-2222-4333-8444-555555555555"},
		"doctor", "--only", "tenant")
	o.want(t, check)
	if !strings.Contains(o.out, "describes https://x/") || strings.ContainsAny(o.out, "\x1b\a\r") {
		t.Errorf("%q", o.out)
	}
}
