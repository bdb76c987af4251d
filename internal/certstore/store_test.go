package certstore_test

import (
	"bytes"

	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/pki"
)

// made are the pairs that tests use: making RSA keys takes its time.
var made = sync.OnceValue(func() [3]pki.Pair {
	var pairs [3]pki.Pair
	for i := range pairs {
		key, err := pki.NewKey(pki.RSA2048)
		if err != nil {
			panic(err)
		}
		from := time.Now().Add(-time.Hour).Truncate(time.Second)
		pairs[i], err = pki.SelfSign(key, pki.Template{
			Subject: pkix.Name{CommonName: fmt.Sprintf("Pair %d", i)}, NotBefore: from, NotAfter: from.AddDate(0, 3, 0),
		})
		if err != nil {
			panic(err)
		}
	}
	return pairs
})

func entryOf(id string, p pki.Pair) certstore.Entry {
	return certstore.Entry{
		ID: id, Key: p.Key, Certificate: p.Certificate, Chain: p.Chain,
		ObjectID: "4c0ae4e0-0f4a-4a3b-9f3e-000000000001", ClientID: "4c0ae4e0-0f4a-4a3b-9f3e-000000000002", TenantID: "4c0ae4e0-0f4a-4a3b-9f3e-000000000003",
		Made: time.Date(2026, 11, 21, 12, 30, 0, 123456000, time.UTC),
	}
}

const id = "0b4f5e2e-58cc-4d0e-9a0c-1c6f7f0a2b3c"

// cmpEntry compares what is kept of entries.
func diffEntry(want, got certstore.Entry) string {
	flat := func(e certstore.Entry) map[string]any {
		m := map[string]any{"id": e.ID, "object": e.ObjectID, "client": e.ClientID, "tenant": e.TenantID, "made": e.Made.UTC().String(), "chain": len(e.Chain)}
		if e.Key != nil {
			der, err := x509.MarshalPKIXPublicKey(e.Key.Public())
			m["key"], m["error"] = der, err
		}
		if e.Certificate != nil {
			m["certificate"] = e.Certificate.Raw
		}
		return m
	}
	return cmp.Diff(flat(want), flat(got))
}

// manager is a world whose identity may do everything in the vault, and waits for
// nothing.
func manager(t *testing.T, change ...func(*tenant.Options, *emulator.Options)) *world {
	t.Helper()
	w := newWorld(t, change...)
	w.tenant.Vault.Allow(w.reader, "certificates/all", "secrets/all", "keys/all")
	w.SetDelays(origin.Delays{}) // what the identity may do is known everywhere
	w.vault.SetPause(func(d time.Duration) { w.StepClock(d) })
	return w
}

func openLocal(t *testing.T) *certstore.Local {
	t.Helper()
	k, err := certstore.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return openLocalIn(t, filepath.Join(t.TempDir(), "keys"), k)
}

func openLocalIn(t *testing.T, dir string, k *certstore.Keyset) *certstore.Local {
	t.Helper()
	l, err := certstore.OpenLocal(dir, k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestStore is what every store that is given keys promises.
func TestStore(t *testing.T) {
	for name, open := range map[string]func(*testing.T) certstore.Store{
		"local":   func(t *testing.T) certstore.Store { return openLocal(t) },
		"secrets": func(t *testing.T) certstore.Store { return certstore.NewVaultSecrets(manager(t).vault) },
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := open(t), t.Context()
			pair, other := made()[0], made()[1]
			if _, err := s.Get(ctx, id); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("before anything was kept: %v", err)
			}
			if err := s.Delete(ctx, id); err != nil {
				t.Errorf("deleting what is not there: %v", err)
			}
			if ids, err := s.List(ctx); err != nil || len(ids) != 0 {
				t.Errorf("an empty store lists %v, %v", ids, err)
			}
			get := func(want certstore.Entry) {
				t.Helper()
				got, err := s.Get(ctx, id)
				if d := diffEntry(want, got); err != nil || d != "" {
					t.Errorf("error %v (-want +got):\n%s", err, d)
				}
			}
			put := func(e certstore.Entry, want error) {
				t.Helper()
				if err := s.Put(ctx, e); !errors.Is(err, want) {
					t.Errorf("keeping %v: %v, want %v", e, err, want)
				}
			}
			whole := entryOf(id, pair)
			bare := certstore.Entry{ID: id, Key: pair.Key, ClientID: whole.ClientID, Made: whole.Made}
			put(bare, nil)
			get(bare)
			put(bare, nil)
			put(whole, nil)
			get(whole)
			put(bare, nil)
			get(whole)
			put(entryOf(id, other), certstore.ErrOtherKey)
			renewed := whole
			renewed.Certificate = selfSigned(t, pair.Key)
			put(renewed, certstore.ErrOtherKey)
			moved := whole
			moved.ClientID = "another"
			put(moved, certstore.ErrOtherKey)
			get(whole)
			put(entryOf("A-2", other), nil)
			if ids, err := s.List(ctx); err != nil || !slices.Equal(ids, []string{id, "A-2"}) {
				t.Errorf("got %v, %v", ids, err)
			}
			if key, err := s.Get(ctx, id); err != nil || (pki.Pair{Certificate: pair.Certificate, Key: key.Key}).CheckKey() != nil {
				t.Errorf("the key that is read does not fit: %v", err)
			}
			for range 2 {
				if err := s.Delete(ctx, id); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.Get(ctx, id); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("deleted, it gives %v", err)
			}
			if ids, err := s.List(ctx); err != nil || !slices.Equal(ids, []string{"A-2"}) {
				t.Errorf("got %v, %v", ids, err)
			}
		})
	}
}

func selfSigned(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	p, err := pki.SelfSign(key, pki.Template{Subject: pkix.Name{CommonName: "again"}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return p.Certificate
}

func TestStoreKeepsTheChain(t *testing.T) {
	authority := made()[0]
	e := entryOf(id, made()[1])
	e.Chain = []*x509.Certificate{authority.Certificate}
	for _, s := range []certstore.Store{openLocal(t), certstore.NewVaultSecrets(manager(t).vault)} {
		if err := s.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), id)
		if err != nil || len(got.Chain) != 1 || !got.Chain[0].Equal(authority.Certificate) {
			t.Errorf("%s: %v, %d certificates in the chain", s.Name(), err, len(got.Chain))
		}
	}
}

func TestStoreRefuses(t *testing.T) {
	pair := made()[0]
	w := manager(t)
	keys := certstore.NewVaultKeys(t.Context(), w.vault)
	if _, err := keys.MakeKey(t.Context(), certstore.Entry{ID: "vaulted"}, pki.RSA2048); err != nil {
		t.Fatal(err)
	}
	vaulted, err := keys.Get(t.Context(), "vaulted")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []certstore.Store{openLocal(t), certstore.NewVaultSecrets(w.vault), keys} {
		for name, e := range map[string]certstore.Entry{
			"no id":            {Key: pair.Key},
			"a path":           {ID: "../../etc/passwd", Key: pair.Key},
			"a long id":        {ID: strings.Repeat("a", 101), Key: pair.Key},
			"no key":           {ID: id},
			"another's key":    {ID: id, Key: made()[1].Key, Certificate: pair.Certificate},
			"a chain alone":    {ID: id, Key: pair.Key, Chain: []*x509.Certificate{pair.Certificate}},
			"a long client ID": {ID: id, Key: pair.Key, ClientID: strings.Repeat("a", 300)},
		} {
			if err := s.Put(t.Context(), e); err == nil {
				t.Errorf("%s: %s was kept", s.Name(), name)
			}
		}
		for _, id := range []string{"", "a/b", "..", "a.b"} {
			if _, err := s.Get(t.Context(), id); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: getting %q gives %v", s.Name(), id, err)
			}
			if err := s.Delete(t.Context(), id); err == nil {
				t.Errorf("%s: deleting %q succeeds", s.Name(), id)
			}
		}
		if s != certstore.Store(keys) {
			if err := s.Put(t.Context(), certstore.Entry{ID: id, Key: vaulted.Key}); err == nil || !strings.Contains(err.Error(), "vault") && !strings.Contains(err.Error(), "may not leave") {
				t.Errorf("%s: a key that stays in the vault: %v", s.Name(), err)
			}
		}
	}
}

// spellings are the forms in which bytes of a key would leak.
func spellings(t *testing.T, key crypto.Signer) [][]byte {
	t.Helper()
	k, ok := key.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("%T is no RSA key", key)
	}
	var all [][]byte
	for _, b := range [][]byte{k.D.Bytes(), k.Primes[0].Bytes(), k.Primes[1].Bytes(), k.Precomputed.Dp.Bytes(), k.Precomputed.Dq.Bytes()} {
		for i := 0; i+12 <= len(b); i += 12 {
			p := b[i : i+12]
			all = append(all, p, []byte(hex.EncodeToString(p)), []byte(strings.Trim(fmt.Sprint(p), "[]")))
			for shift := range 3 {
				all = append(all, []byte(base64.StdEncoding.EncodeToString(p[shift:shift+9])), []byte(base64.URLEncoding.EncodeToString(p[shift:shift+9])))
			}
		}
		all = append(all, []byte(fmt.Sprint(k.D)), []byte(fmt.Sprint(k.Primes[0])))
	}
	return all
}

// printed is a value as it would come into logs, messages and JSON.
func printed(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	b.Write(text)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v)
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v)
	return b.Bytes()
}

func TestNothingPrintsAKey(t *testing.T) {
	pair := made()[0]
	k, err := certstore.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	var keyset struct {
		Key []struct{ KeyData struct{ Value string } }
	}
	if err := json.Unmarshal([]byte(k.Reveal()), &keyset); err != nil || len(keyset.Key) != 1 {
		t.Fatal(err, keyset)
	}
	ed := ed25519.NewKeyFromSeed([]byte("canary-4711-seed-of-an-ed25519-k"))
	secret := append(spellings(t, pair.Key), []byte("canary-4711"), []byte(hex.EncodeToString(ed[:8])), []byte("99 97 110 97 114 121"), []byte("0x63, 0x61, 0x6e"),
		[]byte(base64.StdEncoding.EncodeToString(ed[:9])), []byte(keyset.Key[0].KeyData.Value), []byte(keyset.Key[0].KeyData.Value)[4:24])

	w := manager(t)
	local := openLocalIn(t, filepath.Join(t.TempDir(), "keys"), k)
	secrets := certstore.NewVaultSecrets(w.vault)
	var said bytes.Buffer
	say := func(v any) { said.Write(printed(t, v)) }
	e := entryOf(id, pair)
	say(e)
	say(&e)
	say(certstore.Entry{ID: id, Key: ed})
	say([]certstore.Entry{{ID: id, Key: ed}})
	say([]certstore.Entry{e})
	say(map[string]any{"entry": struct{ E certstore.Entry }{e}})
	say(k)
	say(certstore.KeysetSource{Text: k.Reveal()})
	say(struct{ S certstore.KeysetSource }{certstore.KeysetSource{Text: k.Reveal()}})
	fail := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error")
			return
		}
		fmt.Fprintf(&said, "%v %+v %#v %s\n", err, err, err, printed(t, err.Error()))
	}
	for _, s := range []certstore.Store{local, secrets} {
		if err := s.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		other := entryOf(id, made()[1])
		fail(s.Put(t.Context(), other))
		other.Certificate = pair.Certificate
		fail(s.Put(t.Context(), other))
		_, err := s.Get(t.Context(), "absent")
		fail(err)
	}
	text, err := pki.EncodeKey(pair.Key, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{string(text)[:len(text)/2], strings.Replace(string(text), "A", "!", 1), "{" + k.Reveal(), strings.Replace(k.Reveal(), `"value":"`, `"value":"$$`, 1), strings.Replace(k.Reveal(), "AesGcmKey", "AesEaxKey", 1)} {
		_, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{Text: broken})
		fail(err)
		setSecret(t, w, "reeve-"+id, broken, map[string]string{"reeve-id": id})
		_, err = secrets.Get(t.Context(), id)
		fail(err)
	}
	w.tenant.Vault.Deny(w.reader, "secrets/set", "certificates/import")
	fail(secrets.Put(t.Context(), entryOf("another", pair)))
	for _, text := range []string{"keyvault:" + w.Origins().Vault + "/certificates/live", "keyvault:live,format=pem"} {
		fail(openTarget(t, text, w.vault, nil).Publish(t.Context(), certstore.Publication{CredentialID: id, Generation: 1, Pair: pair}))
	}
	for _, s := range secret {
		if bytes.Contains(said.Bytes(), s) {
			t.Fatalf("%q was said", s)
		}
	}
	if !bytes.Contains(said.Bytes(), []byte(pki.SHA1(pair.Certificate))) || !bytes.Contains(said.Bytes(), []byte("<keyset>")) {
		t.Error("nothing was said at all")
	}
}

// inject lets something go wrong with an operation of the vault, and sees to it that
// it did.
func (w *world) inject(t *testing.T, f emulator.Fault) {
	t.Helper()
	f.API = "vault"
	w.Inject(f)
	t.Cleanup(func() {
		for _, c := range w.Faults() {
			if c.Fault == f && c.Happened == 0 {
				t.Errorf("%v did not happen", f)
			}
		}
	})
}

// timesOf is how often a kind of fault is met by who looks first: what was done though
// the answer was lost is not asked for again.
func timesOf(kind emulator.FaultKind) int {
	switch kind {
	case emulator.LostResponse, emulator.ResetBody, emulator.Truncated:
		return 1
	}
	return 3
}
