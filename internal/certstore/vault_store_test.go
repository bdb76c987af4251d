package certstore_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// ask sends the vault a plain request, as a person with all permissions.
func ask(t *testing.T, w *world, method, path string, body any) map[string]any {
	t.Helper()
	plain := &emulatortest.World{Emulator: w.Emulator, Tenant: w.tenant}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	a := plain.Do(t, method, w.Origins().Vault+path+"?api-version=7.5", string(text),
		"Authorization", "Bearer "+plain.Token(t, "https://vault.azure.net"), "Content-Type", "application/json")
	if a.Status > 299 {
		t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Text)
	}
	return a.Body
}

func setSecret(t *testing.T, w *world, name, value string, tags map[string]string) {
	t.Helper()
	ask(t, w, http.MethodPut, "/secrets/"+name, map[string]any{"value": value, "tags": tags})
}

// unkind is a tenant in which deleting and recovering takes time and requests fail by
// themselves.
func unkind(seed uint64) func(*tenant.Options, *emulator.Options) {
	return func(of *tenant.Options, o *emulator.Options) { o.Calm, o.Seed = false, seed }
}

func TestVaultSecretsUnderFaults(t *testing.T) {
	w := manager(t)
	s := certstore.NewVaultSecrets(w.vault)
	for _, operation := range []string{"getSecret", "setSecret"} {
		for _, kind := range []emulator.FaultKind{
			emulator.Throttle, emulator.ThrottleSilent, emulator.Unavailable, emulator.ServerError, emulator.BadGateway,
			emulator.Reset, emulator.LostResponse, emulator.ResetBody, emulator.Truncated,
		} {
			t.Run(operation+" "+string(kind), func(t *testing.T) {
				e := entryOf(operation+"-"+string(kind), made()[0])
				w.inject(t, emulator.Fault{Operation: operation, Kind: kind, Times: timesOf(kind)})
				if err := s.Put(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				got, err := s.Get(t.Context(), e.ID)
				if d := diffEntry(e, got); err != nil || d != "" {
					t.Errorf("error %v (-want +got):\n%s", err, d)
				}
			})
		}
	}
}

func TestVaultThatStaysDown(t *testing.T) {
	w := manager(t)
	var waited time.Duration
	w.vault.SetPause(func(d time.Duration) { waited += d })
	w.inject(t, emulator.Fault{Operation: "setSecret", Kind: emulator.Unavailable, Times: 0})
	err := certstore.NewVaultSecrets(w.vault).Put(t.Context(), entryOf(id, made()[0]))
	if !errors.Is(err, m365.ErrTransient) || waited < 10*time.Second || waited > time.Minute {
		t.Errorf("got %v after waiting for %v", err, waited)
	}
}

func TestVaultSecretsDeleted(t *testing.T) {
	for name, change := range map[string]func(*tenant.Options, *emulator.Options){"calm": func(*tenant.Options, *emulator.Options) {}, "unkind": unkind(7)} {
		t.Run(name, func(t *testing.T) {
			w := manager(t, change)
			s := certstore.NewVaultSecrets(w.vault)
			whole := entryOf(id, made()[0])
			bare := whole
			bare.Certificate = nil
			for _, e := range []certstore.Entry{bare, whole} { // and recovered, the certificate is added
				if err := s.Put(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				if err := s.Delete(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Put(t.Context(), entryOf(id, made()[1])); !errors.Is(err, certstore.ErrOtherKey) {
				t.Errorf("another key in the place of a deleted one: %v", err)
			}
			got, err := s.Get(t.Context(), id)
			if d := diffEntry(whole, got); err != nil || d != "" {
				t.Errorf("error %v (-want +got):\n%s", err, d)
			}
		})
	}
}

// Another process makes the same entry while this one waits.
func TestVaultSecretsMadeMeanwhile(t *testing.T) {
	w := manager(t)
	s := certstore.NewVaultSecrets(w.vault)
	w.inject(t, emulator.Fault{Operation: "setSecret", Kind: emulator.Unavailable, Times: 1})
	key, err := pki.EncodeKey(made()[0].Key, "")
	if err != nil {
		t.Fatal(err)
	}
	w.vault.SetPause(func(time.Duration) { setSecret(t, w, "reeve-"+id, string(key), map[string]string{"reeve-id": id}) })
	if err := s.Put(t.Context(), entryOf(id, made()[1])); !errors.Is(err, certstore.ErrOtherKey) {
		t.Errorf("got %v", err)
	}
	got, err := s.Get(t.Context(), id)
	if err != nil || !pki.SameKey(got.Key.Public(), made()[0].Key.Public()) {
		t.Errorf("the first key is gone: %v", err)
	}
}

// Two processes make the same entry at once. At most one is told that its key is kept,
// and that one is.
func TestVaultSecretsRace(t *testing.T) {
	w := manager(t)
	s := certstore.NewVaultSecrets(w.vault)
	kept, lost := 0, 0
	for round := range 20 {
		id := fmt.Sprintf("race-%d", round)
		var errs [2]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = s.Put(t.Context(), entryOf(id, made()[i])) })
		}
		wg.Wait()
		got, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range errs {
			switch {
			case errors.Is(err, certstore.ErrOtherKey):
				lost++
			case err != nil:
				t.Error(err)
			case !pki.SameKey(got.Key.Public(), made()[i].Key.Public()):
				t.Errorf("round %d: the key that was said to be kept is not", round)
			default:
				kept++
			}
		}
	}
	t.Logf("%d kept, %d told that the ID is taken", kept, lost)
	if lost < 20 {
		t.Errorf("only %d of 20 were told", lost)
	}
}

func TestVaultStoresSayWhatIsMissing(t *testing.T) {
	w := manager(t)
	secrets, keys := certstore.NewVaultSecrets(w.vault), certstore.NewVaultKeys(t.Context(), w.vault)
	if err := secrets.Put(t.Context(), entryOf(id, made()[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.MakeKey(t.Context(), certstore.Entry{ID: id}, pki.RSA2048); err != nil {
		t.Fatal(err)
	}
	kept, err := keys.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	sign := func() error {
		digest := sha256.Sum256(nil)
		_, err := kept.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
		return err
	}
	for permission, do := range map[string]func() error{
		"secrets/get":    func() error { _, err := secrets.Get(t.Context(), id); return err },
		"secrets/list":   func() error { _, err := secrets.List(t.Context()); return err },
		"secrets/set":    func() error { return secrets.Put(t.Context(), entryOf("new", made()[1])) },
		"secrets/delete": func() error { return secrets.Delete(t.Context(), id) },
		"keys/get":       func() error { _, err := keys.Get(t.Context(), id); return err },
		"keys/list":      func() error { _, err := keys.List(t.Context()); return err },
		"keys/create": func() error {
			_, err := keys.MakeKey(t.Context(), certstore.Entry{ID: "new"}, pki.RSA2048)
			return err
		},
		"keys/sign":   sign,
		"keys/delete": func() error { return keys.Delete(t.Context(), id) },
	} {
		w.tenant.Vault.Deny(w.reader, permission)
		if err := do(); !errors.Is(err, m365.ErrForbidden) || !strings.Contains(err.Error(), "lacks "+permission) {
			t.Errorf("without %s: %v", permission, err)
		}
		w.tenant.Vault.Allow(w.reader, permission)
	}
	w.tenant.Vault.UseRBAC()
	if err := w.tenant.Vault.AssignRole(w.reader, "Key Vault Reader"); err != nil {
		t.Fatal(err)
	}
	if err := sign(); err == nil || !strings.Contains(err.Error(), "Key Vault Crypto User") {
		t.Errorf("got %v", err)
	}
	if err := secrets.Delete(t.Context(), id); err == nil || !strings.Contains(err.Error(), "Certificate User") {
		t.Errorf("got %v", err)
	}
}

// What has one of our names and is not ours is left alone.
func TestVaultStoresLeaveForeign(t *testing.T) {
	w := manager(t)
	w.tenant.Vault.Allow(w.reader, "keys/all", "secrets/all")
	setSecret(t, w, "reeve-"+id, "theirs", nil)
	ask(t, w, http.MethodPost, "/keys/reeve-"+id+"/create", map[string]any{"kty": "RSA"})
	secrets, keys := certstore.NewVaultSecrets(w.vault), certstore.NewVaultKeys(t.Context(), w.vault)
	_, get := secrets.Get(t.Context(), id)
	_, getKey := keys.Get(t.Context(), id)
	_, makeKey := keys.MakeKey(t.Context(), certstore.Entry{ID: id}, pki.RSA2048)
	for what, err := range map[string]error{
		"put": secrets.Put(t.Context(), entryOf(id, made()[0])), "get": get, "delete": secrets.Delete(t.Context(), id),
		"get key": getKey, "make key": makeKey, "delete key": keys.Delete(t.Context(), id),
	} {
		if err == nil || !strings.Contains(err.Error(), "not reeve's") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, s := range []certstore.Store{secrets, keys} {
		if ids, err := s.List(t.Context()); err != nil || len(ids) > 0 {
			t.Errorf("%s lists %v, %v", s.Name(), ids, err)
		}
	}
	if a := ask(t, w, http.MethodGet, "/secrets/reeve-"+id, nil); a["value"] != "theirs" {
		t.Errorf("it was changed: %v", a)
	}
}

func TestVaultListHasPages(t *testing.T) {
	w := manager(t)
	for i := range 60 {
		setSecret(t, w, fmt.Sprintf("reeve-%03d", i), "x", map[string]string{"reeve-id": fmt.Sprintf("%03d", i)})
	}
	ids, err := certstore.NewVaultSecrets(w.vault).List(t.Context())
	if err != nil || len(ids) != 60 || ids[0] != "000" || ids[59] != "059" {
		t.Errorf("got %v, %v", ids, err)
	}
	w.inject(t, emulator.Fault{Operation: "getSecrets", Kind: emulator.Unavailable, After: 1})
	if ids, err := certstore.NewVaultSecrets(w.vault).List(t.Context()); err == nil || ids != nil {
		t.Errorf("a part was taken for all: %v, %v", ids, err)
	}
}

func TestVaultKeys(t *testing.T) {
	w := manager(t)
	keys := certstore.NewVaultKeys(t.Context(), w.vault)
	e := entryOf(id, pki.Pair{})
	if _, err := keys.Get(t.Context(), id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	key, err := keys.MakeKey(t.Context(), e, pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	again, err := keys.MakeKey(t.Context(), e, pki.RSA2048)
	if err != nil || !pki.SameKey(key.Public(), again.Public()) {
		t.Errorf("a second call makes another key (%v)", err)
	}
	if _, err := keys.MakeKey(t.Context(), e, pki.RSA3072); !errors.Is(err, certstore.ErrOtherKey) {
		t.Errorf("another size under the same ID: %v", err)
	}
	if _, err := keys.MakeKey(t.Context(), e, pki.P256); err == nil {
		t.Error("a key that Entra ID takes no signatures of was made")
	}
	answer := ask(t, w, http.MethodGet, "/keys/reeve-"+id+"/", nil)
	if ops := fmt.Sprint(answer["key"].(map[string]any)["key_ops"]); ops != "[sign verify]" {
		t.Errorf("the key may %s", ops)
	}
	got, err := keys.Get(t.Context(), id)
	want := e
	want.Key = key
	if d := diffEntry(want, got); err != nil || d != "" {
		t.Errorf("error %v (-want +got):\n%s", err, d)
	}
	if ids, err := keys.List(t.Context()); err != nil || len(ids) != 1 || ids[0] != id {
		t.Errorf("got %v, %v", ids, err)
	}
	if text := string(printed(t, key)); !strings.Contains(text, "/keys/reeve-"+id) {
		t.Errorf("it prints as %s", text)
	}

	// It signs certificates and assertions.
	now := time.Now()
	pair, err := pki.SelfSign(key, pki.Template{Subject: pkix.Name{CommonName: "in the vault"}, NotBefore: now, NotAfter: now.AddDate(0, 1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{pki.PS256, pki.RS256} {
		a := pki.Assertion{Algorithm: algorithm, Audience: "https://login.example/token", ClientID: e.ClientID, ID: "1", NotBefore: now, Expires: now.Add(time.Minute)}
		if _, err := a.Sign(pair); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	certified := got
	certified.Certificate = pair.Certificate
	if err := keys.Put(t.Context(), certified); err != nil {
		t.Errorf("adding the certificate: %v", err)
	}
	if err := keys.Put(t.Context(), entryOf(id, made()[0])); !errors.Is(err, certstore.ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
	if err := keys.Put(t.Context(), entryOf("absent", made()[0])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key from elsewhere: %v", err)
	}

	for range 2 {
		if err := keys.Delete(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if _, err := keys.Get(t.Context(), id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted: %v", err)
	}
	back, err := keys.MakeKey(t.Context(), e, pki.RSA2048)
	if err != nil || !pki.SameKey(key.Public(), back.Public()) {
		t.Errorf("the deleted key was not recovered (%v)", err)
	}
}

func TestVaultKeySigns(t *testing.T) {
	w := manager(t)
	keys := certstore.NewVaultKeys(t.Context(), w.vault)
	key, err := keys.MakeKey(t.Context(), certstore.Entry{ID: id}, pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public().(*rsa.PublicKey)
	d256, d384, d512 := sha256.Sum256([]byte("x")), sha512.Sum384([]byte("x")), sha512.Sum512([]byte("x"))
	for hash, digest := range map[crypto.Hash][]byte{crypto.SHA256: d256[:], crypto.SHA384: d384[:], crypto.SHA512: d512[:]} {
		signature, err := key.Sign(nil, digest, hash)
		if err != nil || rsa.VerifyPKCS1v15(public, hash, digest, signature) != nil {
			t.Errorf("PKCS #1 v1.5 with %v: %v", hash, err)
		}
		for _, salt := range []int{rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, hash.Size()} {
			opts := &rsa.PSSOptions{SaltLength: salt, Hash: hash}
			signature, err := key.Sign(nil, digest, opts)
			if err != nil || rsa.VerifyPSS(public, hash, digest, signature, opts) != nil {
				t.Errorf("PSS with %v and salt %d: %v", hash, salt, err)
			}
		}
	}
	for name, sign := range map[string]func() ([]byte, error){
		"a short digest": func() ([]byte, error) { return key.Sign(nil, d256[:31], crypto.SHA256) },
		"another digest": func() ([]byte, error) { return key.Sign(nil, d384[:], crypto.SHA256) },
		"SHA-1":          func() ([]byte, error) { return key.Sign(nil, make([]byte, 20), crypto.SHA1) },
		"no hash":        func() ([]byte, error) { return key.Sign(nil, d256[:], crypto.Hash(0)) },
		"no options":     func() ([]byte, error) { return key.Sign(nil, d256[:], nil) },
		"a salt of its own": func() ([]byte, error) {
			return key.Sign(nil, d256[:], &rsa.PSSOptions{SaltLength: 7, Hash: crypto.SHA256})
		},
	} {
		if s, err := sign(); err == nil {
			t.Errorf("%s: signed %x", name, s)
		}
	}
}

// Key Vault says created to the second: versions are told apart by time only when they
// are that far apart.
func TestVaultKeyIsTheFirstVersion(t *testing.T) {
	w := manager(t)
	keys := certstore.NewVaultKeys(t.Context(), w.vault)
	key, err := keys.MakeKey(t.Context(), certstore.Entry{ID: id}, pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	w.StepClock(2 * time.Second)
	ask(t, w, http.MethodPost, "/keys/reeve-"+id+"/rotate", nil)
	got, err := keys.Get(t.Context(), id)
	if err != nil || !pki.SameKey(got.Key.Public(), key.Public()) {
		t.Errorf("the key is another now (%v)", err)
	}
	digest := sha256.Sum256(nil)
	signature, err := got.Key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil || rsa.VerifyPKCS1v15(key.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature) != nil {
		t.Errorf("another version signs (%v)", err)
	}
}

func TestVaultKeysUnderFaults(t *testing.T) {
	w := manager(t)
	keys := certstore.NewVaultKeys(t.Context(), w.vault)
	for _, operation := range []string{"getKeyVersions", "createKey", "getKey"} {
		for _, kind := range []emulator.FaultKind{emulator.Throttle, emulator.ServerError, emulator.LostResponse, emulator.ResetBody, emulator.Truncated} {
			t.Run(operation+" "+string(kind), func(t *testing.T) {
				id := operation + "-" + string(kind)
				w.inject(t, emulator.Fault{Operation: operation, Kind: kind, Times: timesOf(kind)})
				key, err := keys.MakeKey(t.Context(), certstore.Entry{ID: id}, pki.RSA2048)
				if err != nil {
					t.Fatal(err)
				}
				versions, _ := ask(t, w, http.MethodGet, "/keys/reeve-"+id+"/versions", nil)["value"].([]any)
				if len(versions) != 1 {
					t.Errorf("%d versions were made", len(versions))
				}
				if got, err := keys.Get(t.Context(), id); err != nil || !pki.SameKey(got.Key.Public(), key.Public()) {
					t.Errorf("another key is read (%v)", err)
				}
			})
		}
	}
}

func TestVaultKeySignsWhileItsStoreLives(t *testing.T) {
	w := manager(t)
	ctx, cancel := context.WithCancel(t.Context())
	keys := certstore.NewVaultKeys(ctx, w.vault)
	key, err := keys.MakeKey(t.Context(), certstore.Entry{ID: id}, pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	digest := sha256.Sum256(nil)
	if _, err := key.Sign(nil, digest[:], crypto.SHA256); err == nil {
		t.Error("it signed after its store was closed")
	}
}
