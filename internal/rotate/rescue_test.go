package rotate

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// TestRescue lets every certificate of an application expire while reeve is off, and has
// a person register the one of the kit.
func TestRescue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, 10*time.Minute, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	if app := w.app(); len(app.Observed.Rungs) != 5 || app.Observed.Rungs[0].Works != credential.Yes {
		t.Errorf("the rungs of a healthy application are %+v", app.Observed.Rungs)
	}
	w.clock.Add(1000 * 24 * time.Hour)

	// The manager is the application itself: it cannot sign in any more, and says so.
	for range 30 {
		next, err := r.Pass(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Add(max(next.Sub(w.clock.Now()), time.Millisecond))
	}
	app := w.app()
	found := credential.Assess(w.clock.Now(), app)
	if !slices.ContainsFunc(found, func(f credential.Finding) bool {
		return f.Rule == "certificate-expired" && strings.Contains(f.Remedy, "reeve cert rescue")
	}) {
		t.Fatalf("nothing says that the certificate has expired and what helps: %+v", found)
	}

	kit, err := r.MakeKit(t.Context(), w.object, "pat", "all have expired", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.MakeKit(t.Context(), w.object, "pat", "once more", nil)
	if err != nil || again.Credential.ID != kit.Credential.ID {
		t.Errorf("a second kit is for %s, the first for %s (%v)", again.Credential.ID, kit.Credential.ID, err)
	}
	var patch []byte
	for _, f := range kit.Files {
		if bytes.Contains(f.Data, []byte("PRIVATE KEY")) {
			t.Errorf("%s holds a private key", f.Path)
		}
		if bytes.Contains(f.Data, []byte("{")) && f.Path != "patch.json" && strings.ContainsAny(string(f.Data), "{}") && strings.Contains(string(f.Data), "{CLIENT}") {
			t.Errorf("%s has words that were not filled in", f.Path)
		}
		if f.Path == "patch.json" {
			patch = f.Data
		}
	}
	if _, err := r.ResumeKit(t.Context(), w.object, "pat"); err == nil || !strings.Contains(err.Error(), "not registered yet") {
		t.Errorf("resuming before it was registered: %v", err)
	}

	// What curl.sh sends, as an administrator.
	before := len(w.atEntra())
	token := w.Token(t, "https://graph.microsoft.com")
	answer := w.Do(t, http.MethodPatch, w.Origins().Graph+"/v1.0/applications/"+w.object, string(patch),
		"Authorization", "Bearer "+token, "Content-Type", "application/json")
	if answer.Status != http.StatusNoContent {
		t.Fatalf("sending patch.json: %d %s", answer.Status, answer.Text)
	}
	if got := len(w.atEntra()); got != before+1 {
		t.Errorf("there were %d keys and now there are %d", before, got)
	}
	if _, err := r.ResumeKit(t.Context(), w.object, "pat"); err != nil {
		t.Fatal(err)
	}
	w.until(r, time.Hour, "the new one to be active", func(a credential.Application) bool {
		c, ok := a.Active()
		return ok && c.ID == kit.Credential.ID
	})
	for _, f := range credential.Assess(w.clock.Now(), w.app()) {
		if f.Severity == credential.Critical {
			t.Errorf("it is in use, and still it is said: %s", f.Message)
		}
	}
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
}

// TestRescueByManager lets every certificate expire while reeve is off; another identity
// may change the application.
func TestRescueByManager(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, 10*time.Minute, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	old, _ := w.app().Active()
	w.clock.Add(1000 * 24 * time.Hour)

	// As the tenant's demo application with a client secret: what a managed identity
	// would be.
	w.change = func(o *Options) {
		o.Directory = newDirectory(t, w.cloud, w.HTTPClient(), secretToken{w})
	}
	r = w.rotator()
	w.until(r, 10*time.Minute, "a new one to be active", func(a credential.Application) bool {
		c, ok := a.Active()
		return ok && c.ID != old.ID && w.clock.Now().Before(c.NotAfter)
	})
}

// TestKitKeepsWhatIsThere makes sure that the list of the kit is what Graph was read to
// hold, and the new one.
func TestKitKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, time.Minute, "a look", func(a credential.Application) bool { return !a.Observed.At.IsZero() })
	kit, err := r.MakeKit(t.Context(), w.object, "pat", "to see it", nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(kit.Files, func(f certstore.NewFile) bool { return f.Path == "patch.json" })
	var body struct{ KeyCredentials []graph.KeyCredential }
	if err := json.Unmarshal(kit.Files[i].Data, &body); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range body.KeyCredentials {
		ids = append(ids, k.KeyID)
	}
	for _, k := range w.atEntra() {
		if !slices.Contains(ids, k.KeyID) {
			t.Errorf("the kit leaves out %s", k.KeyID)
		}
	}
	if !slices.Contains(ids, kit.Credential.KeyID) {
		t.Errorf("the kit leaves out the new one")
	}
}

// TestRescueByPerson lets somebody sign in with a device code when every certificate of
// an application has been taken away.
func TestRescueByPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	w.until(r, 10*time.Minute, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	before := w.app()
	for _, k := range w.atEntra() {
		if err := w.Tenant.Directory.RemoveKeyCredential(w.Tenant.Client().ClientID, k.KeyID); err != nil {
			t.Fatal(err)
		}
	}
	admin := "admin@" + w.Tenant.Domain
	who, err := m365.NewPerson(w.cloud, w.Tenant.ID, w.HTTPClient(), func(message string) {
		code := regexp.MustCompile(`[A-Z0-9]{9}`).FindString(message)
		answer := w.Do(t, http.MethodPost, w.Origins().Control+"/devicecodes/"+code+"/approve", `{"user":"`+admin+`"}`,
			"Authorization", "Bearer "+w.Control(), "Content-Type", "application/json")
		if answer.Status != http.StatusOK && answer.Status != http.StatusNoContent {
			t.Errorf("approving %q of %q: %d %s", code, message, answer.Status, answer.Text)
		}
	}, "Application.ReadWrite.All")
	if err != nil {
		t.Fatal(err)
	}
	w.change = func(o *Options) { o.Directory = newDirectory(t, w.cloud, w.HTTPClient(), who) }
	r = w.rotator()
	w.wish(r, credential.Renew, "")
	w.until(r, time.Hour, "a new one to be active", func(a credential.Application) bool {
		c, ok := a.Active()
		return ok && !slices.ContainsFunc(before.Credentials, func(old credential.Credential) bool { return old.ID == c.ID })
	})
}

// TestAdoptionInterrupted keeps the certificate in use from being taken up a second time,
// which would end in its removal.
func TestAdoptionInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	entry := certstore.Entry{ID: "left-behind", Key: w.pair.Key, Certificate: w.pair.Certificate, ObjectID: w.object,
		ClientID: w.Tenant.Client().ClientID, TenantID: w.Tenant.ID, Made: w.clock.Now()}
	if err := w.keys.Put(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	a := w.adopt(r)
	if _, err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.app().Credentials; len(got) != len(a.Credentials) {
		t.Errorf("the certificate is there %d times", len(got))
	}
	twice, err := r.Adopt(t.Context(), Adoption{ObjectID: w.object, ClientID: w.Tenant.Client().ClientID, TenantID: w.Tenant.ID, Name: "reeve",
		Mode: credential.On, Policy: w.policy(), Pair: w.pair, By: "test"})
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("adopting twice: %v, %v", twice.Name, err)
	}
	ids, err := w.keys.List(t.Context())
	if err != nil || len(ids) != 2 {
		t.Errorf("the store has %v, %v, and should have the one left behind and the adopted one", ids, err)
	}
}

// TestASlowKit makes a kit whose key takes long: nobody else gets the application before
// its files are written.
func TestASlowKit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rotator()
	w.adopt(r)
	r.o.NewKey = func(ctx context.Context, k pki.KeyType) (crypto.Signer, error) {
		w.clock.Add(50 * time.Second)
		return nextKey(ctx, k)
	}
	if _, err := r.MakeKit(t.Context(), w.object, "pat", "", func(Kit) error {
		w.clock.Add(45 * time.Second)
		if _, err := w.db.LeaseApplication(t.Context(), w.tenant, w.object, "another", time.Minute); !errors.Is(err, store.ErrLeased) {
			t.Errorf("another gets the lease: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
