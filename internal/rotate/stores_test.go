package rotate

import (
	"context"
	"crypto"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// openRealKeys opens the encrypted store on the disk.
func openRealKeys(t testing.TB, dir string) *certstore.Local {
	t.Helper()
	keyset, err := certstore.OpenKeyset(context.Background(), certstore.KeysetSource{File: filepath.Join(dir, "keyset.json"), Entries: filepath.Join(dir, "keys")})
	if err != nil {
		t.Fatal(err)
	}
	local, err := certstore.OpenLocal(filepath.Join(dir, "keys"), keyset)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })
	return local
}

// vaultToken signs in to the vault by the clock of the test.
type vaultToken struct{ w *world }

func (v vaultToken) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: v.w.Token(v.w.t, strings.TrimSuffix(o.Scopes[0], "/.default")), ExpiresOn: time.Now().Add(5 * time.Minute)}, nil
}

func (w *world) vault() *certstore.KeyVault {
	w.t.Helper()
	v, err := certstore.OpenKeyVault(w.Origins().Vault, w.cloud, vaultToken{w}, w.HTTPClient())
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// TestStores lets an application live in each kind of store, published to each kind of
// live place.
func TestStores(t *testing.T) {
	t.Parallel()
	for _, store := range []string{credential.StoreLocal, credential.StoreSecrets, credential.StoreKeys} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *emulator.Options) {
				o.Grants = append(o.Grants, "vault/keys/all", "vault/secrets/all", "vault/certificates/all")
			})
			dir := t.TempDir()
			var keys certstore.Store
			targets := []string{"keyvault:live", "directory:" + filepath.Join(dir, "live")}
			switch store {
			case credential.StoreLocal:
				keys = openRealKeys(t, dir)
			case credential.StoreSecrets:
				keys = certstore.NewVaultSecrets(w.vault())
			case credential.StoreKeys:
				keys = certstore.NewVaultKeys(t.Context(), w.vault())
				targets = nil
			}
			w.keys = keys
			open := func(name string) (certstore.Target, error) {
				ref, err := certstore.ParseTarget(name)
				if err != nil {
					return nil, err
				}
				return ref.Open(certstore.TargetOptions{Vault: w.vault()})
			}
			w.change = func(o *Options) {
				o.Stores = map[string]certstore.Store{store: keys}
				o.OpenTarget = open
				o.Directory = newDirectory(t, w.cloud, w.HTTPClient(), secretToken{w})
			}
			r := w.rotator()
			w.adopt(r, func(o *Adoption) {
				o.Policy.Store, o.Policy.Targets = store, targets
				o.Policy.Overlap, o.Policy.DestroyAfter = credential.Span(time.Hour), credential.Span(time.Hour)
				if store == credential.StoreKeys {
					o.Pair = pki.Pair{}
				}
			})
			w.until(r, time.Hour, "an active one and a standby", func(a credential.Application) bool {
				_, active := a.Active()
				_, standby := a.Standby()
				return active && standby
			})
			old, _ := w.app().Active()
			w.wish(r, credential.Renew, "")
			w.until(r, 50*time.Hour, "the renewal, and the end of the old one", func(a credential.Application) bool {
				active, _ := a.Active()
				c, _ := a.Find(old.ID)
				return active.ID != old.ID && c.State == credential.Destroyed
			})
			app := w.app()
			active, _ := app.Active()
			if left, err := os.ReadFile(filepath.Join(dir, "live", "previous", "key.pem")); err == nil {
				t.Errorf("the live folder still has the key of the one that was destroyed: %d bytes", len(left))
			}
			if len(targets) > 0 {
				answer := w.Do(t, http.MethodGet, w.Origins().Vault+"/certificates/live/versions?api-version=7.5", "",
					"Authorization", "Bearer "+w.Token(t, "https://vault.azure.net"))
				if on := strings.Count(answer.Text, `"enabled":true`); on != 1 || !strings.Contains(answer.Text, `"enabled":false`) {
					t.Errorf("of the vault's versions %d are enabled, and the current one should be: %s", on, answer.Text)
				}
			}
			for _, name := range targets {
				target, err := open(name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := target.Published(t.Context())
				if err != nil || pki.SHA256(got.Certificate) != active.SHA256 {
					t.Errorf("%s has %v, %v, and should have %s", name, got, err, active.SHA256)
				}
			}
			ids, err := keys.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(ids, old.ID) {
				t.Errorf("the key of the destroyed credential is in the store: %v", ids)
			}
			for _, c := range append(app.In(credential.Active), app.In(credential.Standby)...) {
				if !slices.Contains(ids, c.ID) {
					t.Errorf("the key of %s is not in the store: %v", c.ID, ids)
				}
			}
		})
	}
}

// wish asks for something, as a person does.
func (w *world) wish(r *Rotator, kind credential.WishKind, id string) {
	w.t.Helper()
	if _, err := w.db.AddWish(w.t.Context(), w.tenant, w.object, credential.Wish{Kind: kind, Credential: id, By: "pat", Why: "a test", At: w.clock.Now()}); err != nil {
		w.t.Fatal(err)
	}
	w.clock.Add(time.Millisecond)
	r.Wake()
}

// changePolicy changes the policy, as a person does.
func (w *world) changePolicy(change func(*credential.Policy)) {
	w.t.Helper()
	if err := w.db.ChangeApplication(w.t.Context(), w.tenant, w.object, func(a *credential.Application) (*store.JournalEntry, error) {
		e := entryForTest()
		change(&a.Policy)
		return &e, nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// TestBlind renews an application that nobody may read: by proofs of its own keys alone.
func TestBlind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.change = func(o *Options) { o.Directory = nil }
	r := w.rotator()
	w.adopt(r, func(o *Adoption) { o.Policy.DestroyAfter = credential.Span(time.Hour) })
	before := len(w.atEntra())
	w.until(r, time.Hour, "a standby", func(a credential.Application) bool { _, ok := a.Standby(); return ok })
	old, _ := w.app().Active()
	w.wish(r, credential.Renew, "")
	w.until(r, 10*24*time.Hour, "the renewal", func(a credential.Application) bool {
		active, _ := a.Active()
		return active.ID != old.ID
	})
	// The key id of the adopted one was never seen, so a person must remove it; reeve's own
	// it removes by itself.
	second, _ := w.app().Active()
	w.wish(r, credential.Renew, "")
	w.until(r, 10*24*time.Hour, "the end of the second", func(a credential.Application) bool {
		c, _ := a.Find(second.ID)
		return c.State == credential.Destroyed
	})
	c, _ := w.app().Find(old.ID)
	if !c.Stuck || !strings.Contains(c.Error, "remove that certificate by hand") {
		t.Errorf("the adopted one is %s: %s", c.State, c.Error)
	}
	if got := len(w.atEntra()); got != before+2 {
		t.Errorf("the application has %d keys; before it had %d, and there should be the active one and the standby besides", got, before)
	}
}

// TestRestoredBackup goes back to the database of half a year ago: the keys made since
// are in the store, and the one that the database believes in is gone.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	for _, store := range []string{credential.StoreLocal, credential.StoreKeys} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			testRestoredBackup(t, store)
		})
	}
}

func testRestoredBackup(t *testing.T, store string) {
	w := newWorld(t, func(o *emulator.Options) { o.Grants = append(o.Grants, "vault/keys/all") })
	if store == credential.StoreKeys {
		w.keys = certstore.NewVaultKeys(t.Context(), w.vault())
	}
	w.change = func(o *Options) {
		o.Stores = map[string]certstore.Store{store: w.keys}
		o.Directory = newDirectory(t, w.cloud, w.HTTPClient(), secretToken{w})
	}
	r := w.rotator()
	w.adopt(r, func(o *Adoption) {
		o.Policy.Store, o.Policy.DestroyAfter = store, credential.Span(time.Hour)
		if store == credential.StoreKeys {
			o.Pair = pki.Pair{}
		}
	})
	w.until(r, time.Hour, "an active one and a standby", func(a credential.Application) bool {
		_, active := a.Active()
		_, standby := a.Standby()
		return active && standby
	})
	backup := w.app()
	old, _ := backup.Active()
	for range 2 {
		active, _ := w.app().Active()
		w.wish(r, credential.Renew, "")
		w.until(r, 20*24*time.Hour, "a renewal and the end of the old one", func(a credential.Application) bool {
			c, _ := a.Find(active.ID)
			return c.State == credential.Destroyed
		})
	}
	now, _ := w.app().Active()

	// Another database, in which the application stands as it did.
	w.dir = t.TempDir()
	keys := w.keys
	w.open()
	w.keys = keys
	if err := w.db.AddApplication(t.Context(), w.tenant, backup, entryForTest()); err != nil {
		t.Fatal(err)
	}
	if store == credential.StoreKeys { // nobody can tell what the keys are for
		seeing := w.change
		w.change = func(o *Options) { seeing(o); o.Directory = nil }
		if found, err := w.rotator().Reconcile(t.Context()); err != nil || len(found) == 0 || len(w.app().Credentials) != len(backup.Credentials) {
			t.Errorf("without Graph: %q, %v, %d credentials; before there were %d", found, err, len(w.app().Credentials), len(backup.Credentials))
		}
		w.change = seeing
	}
	r = w.rotator()
	found, err := r.Reconcile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("nothing was found in the store that the database does not know")
	}
	w.until(r, time.Hour, "a certificate that works", func(a credential.Application) bool {
		c, ok := a.Active()
		return ok && c.ID != old.ID && c.Refusals == 0
	})
	if _, err := w.keys.Get(t.Context(), now.ID); err != nil {
		t.Errorf("the key that was in use is gone: %v", err)
	}
	active, _ := w.app().Active()
	if active.Generation <= now.Generation {
		t.Errorf("generation %d is given out again: consumers have seen %d", active.Generation, now.Generation)
	}
	w.until(r, 24*time.Hour, "all to be settled", func(a credential.Application) bool {
		return len(a.In(credential.Standby)) == 1 && len(a.In(credential.Retiring, credential.Registering, credential.Registered, credential.Proving)) == 0
	})
}

// TestReconcileAsksWhatIsUsed leaves a vault alone that no application uses, where reeve may
// well have no business; and that one store fails keeps nothing from the others.
func TestReconcileAsksWhatIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // without a permission for the vault
	w.change = func(o *Options) {
		o.Stores = map[string]certstore.Store{credential.StoreLocal: w.keys, credential.StoreSecrets: certstore.NewVaultSecrets(w.vault())}
	}
	r := w.rotator()
	w.adopt(r)
	if found, err := r.Reconcile(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("%q, %v", found, err)
	}
	w.changePolicy(func(p *credential.Policy) { p.Store = credential.StoreSecrets })
	if err := w.keys.Put(t.Context(), certstore.Entry{ID: "stranger", Key: mustKey(t), ObjectID: "elsewhere", ClientID: "their-client", Made: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	found, err := r.Reconcile(t.Context())
	if err == nil || !strings.Contains(err.Error(), "secrets/list") {
		t.Errorf("the vault does not let us look, and that is not said: %v", err)
	}
	if len(found) != 1 || !strings.Contains(found[0], "reeve cert adopt their-client") {
		t.Errorf("found %q", found)
	}
}

func mustKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pki.NewKey(pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
