package certstore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

func publication(generation int64, p pki.Pair) certstore.Publication {
	return certstore.Publication{CredentialID: id, Generation: generation, Pair: p, ClientID: "client", TenantID: "tenant"}
}

func wantPublished(t *testing.T, target certstore.Target, want pki.Pair) {
	t.Helper()
	got, err := target.Published(t.Context())
	if err != nil || !got.Certificate.Equal(want.Certificate) || !pki.SameKey(got.Key.Public(), want.Key.Public()) {
		t.Errorf("%s has %v, %v; want %v", target.Name(), got, err, want)
	}
}

func mustPublish(t *testing.T, target certstore.Target, p certstore.Publication) {
	t.Helper()
	if err := target.Publish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	wantPublished(t, target, p.Pair)
}

// renewing is a policy under which the vault makes versions of its own.
var renewing = map[string]any{
	"key_props":    map[string]any{"kty": "RSA", "key_size": 2048, "exportable": true},
	"secret_props": map[string]any{"contentType": "application/x-pkcs12"},
	"x509_props":   map[string]any{"subject": "CN=vault", "validity_months": 12},
	"issuer":       map[string]any{"name": "Self"},
	"lifetime_actions": []any{map[string]any{
		"trigger": map[string]any{"lifetime_percentage": 50}, "action": map[string]any{"action_type": "AutoRenew"},
	}},
}

func policyOf(t *testing.T, w *world, name string) string {
	t.Helper()
	p := ask(t, w, http.MethodGet, "/certificates/"+name+"/policy", nil)
	return fmt.Sprint(p["issuer"], p["lifetime_actions"])
}

func TestVaultTarget(t *testing.T) {
	for _, format := range []string{"", ",format=pem"} {
		w := manager(t)
		target := openTarget(t, "keyvault:"+w.Origins().Vault+"/certificates/live"+format, w.vault, func(s string) { t.Error(s) })
		if want := "keyvault:" + w.Origins().Vault + "/certificates/live" + format; target.Name() != want {
			t.Errorf("its name is %s", target.Name())
		}
		if _, err := target.Published(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("before anything: %v", err)
		}
		w.tenant.Vault.Deny(w.reader, "certificates/update") // the import itself brings the right policy
		for range 3 {
			mustPublish(t, target, publication(1, made()[0]))
		}
		if n := len(w.tenant.Vault.Versions("live")); n != 1 {
			t.Errorf("%d versions", n)
		}
		mustPublish(t, target, publication(2, made()[1]))
		mustPublish(t, target, publication(3, made()[0])) // rolled back
		if n := len(w.tenant.Vault.Versions("live")); n != 3 {
			t.Errorf("%d versions", n)
		}
		latest := ask(t, w, http.MethodGet, "/certificates/live", nil)
		want := map[string]any{"reeve-credential": id, "reeve-generation": "3", "sha256": pki.SHA256(made()[0].Certificate)}
		if fmt.Sprint(latest["tags"]) != fmt.Sprint(want) {
			t.Errorf("tags %v, want %v", latest["tags"], want)
		}
		if p := policyOf(t, w, "live"); !strings.Contains(p, "Unknown") || !strings.Contains(p, "EmailContacts") || strings.Contains(p, "AutoRenew") {
			t.Errorf("the policy is %s", p)
		}
		// Through its whole life the vault makes no version of its own.
		w.tenant.Vault.Versions("live")
		w.StepClock(85 * 24 * time.Hour)
		if n := len(w.tenant.Vault.Versions("live")); n != 3 {
			t.Errorf("%d versions", n)
		}
	}
}

func TestVaultTargetCorrectsThePolicy(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, w *world, target certstore.Target){
		"of the vault's own certificate": func(t *testing.T, w *world, _ certstore.Target) {
			ask(t, w, http.MethodPost, "/certificates/live/create", map[string]any{"policy": renewing})
		},
		"of ours, changed since": func(t *testing.T, w *world, target certstore.Target) {
			mustPublish(t, target, publication(1, made()[0]))
			ask(t, w, http.MethodPatch, "/certificates/live/policy", map[string]any{"issuer": renewing["issuer"], "lifetime_actions": renewing["lifetime_actions"]})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := manager(t)
			var notices []string
			target := openTarget(t, "keyvault:live", w.vault, func(s string) { notices = append(notices, s) })
			begin(t, w, target)
			if !strings.Contains(policyOf(t, w, "live"), "AutoRenew") {
				t.Fatal("the vault does not renew it")
			}
			mustPublish(t, target, publication(1, made()[0]))
			if p := policyOf(t, w, "live"); strings.Contains(p, "AutoRenew") || !strings.Contains(p, "Unknown") {
				t.Errorf("the policy is %s", p)
			}
			if len(notices) != 1 || !strings.Contains(notices[0], "versions of its own") {
				t.Errorf("said: %q", notices)
			}
		})
	}
}

// A version that the vault made itself is what a program would get, and seen.
func TestVaultTargetShowsTheVaultsOwnVersion(t *testing.T) {
	w := manager(t)
	target := openTarget(t, "keyvault:live", w.vault, nil)
	mustPublish(t, target, publication(1, made()[0]))
	ask(t, w, http.MethodPost, "/certificates/live/create", map[string]any{"policy": renewing})
	got, err := target.Published(t.Context())
	if err != nil || got.Certificate.Equal(made()[0].Certificate) {
		t.Errorf("got %v, %v", got, err)
	}
	mustPublish(t, target, publication(1, made()[0]))
}

func TestVaultTargetDeleted(t *testing.T) {
	for name, change := range map[string]func(*tenant.Options, *emulator.Options){"calm": func(*tenant.Options, *emulator.Options) {}, "unkind": unkind(3)} {
		t.Run(name, func(t *testing.T) {
			w := manager(t, change)
			var notices []string
			target := openTarget(t, "keyvault:live", w.vault, func(s string) { notices = append(notices, s) })
			mustPublish(t, target, publication(1, made()[0]))
			for i, p := range []pki.Pair{made()[0], made()[1]} {
				ask(t, w, http.MethodDelete, "/certificates/live", nil)
				if err := target.Check(t.Context()); err != nil {
					t.Errorf("checking: %v", err)
				}
				mustPublish(t, target, publication(2, p))
				if len(notices) < i+1 || !strings.Contains(notices[i], "had been deleted") {
					t.Errorf("said: %q", notices)
				}
			}
		})
	}
}

func TestVaultTargetPending(t *testing.T) {
	unknown := map[string]any{}
	for k, v := range renewing {
		unknown[k] = v
	}
	unknown["issuer"] = map[string]any{"name": "Unknown"}
	delete(unknown, "lifetime_actions")
	begin := func(t *testing.T, w *world, tags map[string]string) {
		t.Helper()
		ask(t, w, http.MethodPost, "/certificates/live/create", map[string]any{"policy": unknown, "tags": tags})
	}
	for name, test := range map[string]struct {
		change func(*tenant.Options, *emulator.Options)
		first  bool // nothing was published before
		tags   map[string]string
		ours   bool
	}{
		"ours":               {first: true, tags: map[string]string{"reeve-credential": id}, ours: true},
		"ours, unkind":       {change: unkind(5), first: true, tags: map[string]string{"reeve-credential": id}, ours: true},
		"a person's":         {first: true},
		"a person's renewal": {},
	} {
		t.Run(name, func(t *testing.T) {
			if test.change == nil {
				test.change = func(*tenant.Options, *emulator.Options) {}
			}
			w := manager(t, test.change)
			target := openTarget(t, "keyvault:live", w.vault, nil)
			if !test.first {
				mustPublish(t, target, publication(1, made()[0]))
			}
			begin(t, w, test.tags)
			if err := target.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "pending operation") {
				t.Errorf("checking: %v", err)
			}
			if test.first {
				if _, err := target.Published(t.Context()); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("published: %v", err)
				}
			}
			err := target.Publish(t.Context(), publication(2, made()[1]))
			switch {
			case test.ours && err != nil:
				t.Error(err)
			case test.ours:
				wantPublished(t, target, made()[1])
			case err == nil || !strings.Contains(err.Error(), "reeve did not begin (issuer Unknown, request "):
				t.Errorf("got %v", err)
			default:
				if op := ask(t, w, http.MethodGet, "/certificates/live/pending", nil); op["status"] != "inProgress" {
					t.Errorf("the operation was touched: %v", op)
				}
			}
		})
	}
}

func TestVaultTargetUnderFaults(t *testing.T) {
	w := manager(t)
	for _, operation := range []string{"getCertificate", "importCertificate", "getCertificatePolicy", "getSecret"} {
		for _, kind := range []emulator.FaultKind{emulator.Throttle, emulator.ThrottleSilent, emulator.Unavailable, emulator.Reset, emulator.LostResponse, emulator.ResetBody, emulator.Truncated} {
			t.Run(operation+" "+string(kind), func(t *testing.T) {
				name := operation + "-" + string(kind)
				target := openTarget(t, "keyvault:"+name, w.vault, nil)
				mustPublish(t, target, publication(1, made()[0])) // connects
				w.inject(t, emulator.Fault{Operation: operation, Kind: kind, Times: timesOf(kind)})
				mustPublish(t, target, publication(2, made()[1]))
				if n := len(w.tenant.Vault.Versions(name)); n != 2 {
					t.Errorf("%d versions", n)
				}
			})
		}
	}
}

func TestVaultTargetUnkind(t *testing.T) {
	w := manager(t, unkind(11))
	target := openTarget(t, "keyvault:live", w.vault, nil)
	for i := range 30 {
		mustPublish(t, target, publication(int64(i), made()[i%2]))
	}
	if n := len(w.tenant.Vault.Versions("live")); n != 30 {
		t.Errorf("%d versions", n)
	}
}

func TestVaultTargetSaysWhatIsMissing(t *testing.T) {
	for _, permission := range []string{"certificates/get", "certificates/import", "secrets/get"} {
		w := manager(t)
		target := openTarget(t, "keyvault:live", w.vault, nil)
		w.tenant.Vault.Deny(w.reader, permission)
		for what, err := range map[string]error{"check": target.Check(t.Context()), "publish": target.Publish(t.Context(), publication(1, made()[0]))} {
			if !errors.Is(err, m365.ErrForbidden) || !strings.Contains(err.Error(), "lacks "+permission) {
				t.Errorf("%s without %s: %v", what, permission, err)
			}
		}
	}
	w := manager(t)
	target := openTarget(t, "keyvault:live", w.vault, nil)
	mustPublish(t, target, publication(1, made()[0]))
	ask(t, w, http.MethodDelete, "/certificates/live", nil)
	w.tenant.Vault.Deny(w.reader, "certificates/recover")
	if err := target.Publish(t.Context(), publication(1, made()[0])); err == nil || !strings.Contains(err.Error(), "lacks certificates/recover") {
		t.Errorf("got %v", err)
	}
	w.tenant.Vault.SetNetwork(keyvault.ByFirewall)
	if err := target.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "firewall") {
		t.Errorf("got %v", err)
	}
}

func TestVaultTargetCheckChangesNothing(t *testing.T) {
	w := manager(t)
	target := openTarget(t, "keyvault:live", w.vault, func(s string) { t.Error(s) })
	if err := target.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok := w.tenant.Vault.Certificate("live", ""); ok {
		t.Error("it was made")
	}
	mustPublish(t, target, publication(1, made()[0]))
	before := fmt.Sprint(w.tenant.Vault.Versions("live"))
	if err := target.Check(t.Context()); err != nil || fmt.Sprint(w.tenant.Vault.Versions("live")) != before {
		t.Errorf("it was changed (%v)", err)
	}
}

func TestVaultTargetRefuses(t *testing.T) {
	w := manager(t)
	target := openTarget(t, "keyvault:live", w.vault, nil)
	pair := made()[0]
	vaulted, err := certstore.NewVaultKeys(t.Context(), w.vault).MakeKey(t.Context(), certstore.Entry{ID: id}, pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		pair pki.Pair
		want string
	}{
		"nothing":                       {pki.Pair{}, "no certificate"},
		"no key":                        {pki.Pair{Certificate: pair.Certificate}, "missing"},
		"another's key":                 {pki.Pair{Certificate: pair.Certificate, Key: made()[1].Key}, "another's"},
		"a key that stays in the vault": {pki.Pair{Certificate: selfSigned(t, vaulted), Key: vaulted}, "may not leave"},
	} {
		if err := target.Publish(t.Context(), publication(1, test.pair)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	mustPublish(t, target, publication(1, pair))
	version := w.tenant.Vault.Versions("live")[0].Version
	if err := w.tenant.Vault.SetEnabled("live", version, false); err != nil {
		t.Fatal(err)
	}
	if err := target.Publish(t.Context(), publication(1, pair)); err == nil || !strings.Contains(err.Error(), "disabled: enable it") {
		t.Errorf("what a person disabled: %v", err)
	}

	setSecret(t, w, "plain", "x", nil)
	for _, f := range []func(certstore.Target) error{
		func(p certstore.Target) error { return p.Check(t.Context()) },
		func(p certstore.Target) error { return p.Publish(t.Context(), publication(1, pair)) },
	} {
		if err := f(openTarget(t, "keyvault:plain", w.vault, nil)); err == nil || !strings.Contains(err.Error(), "409") {
			t.Errorf("a plain secret has the name: %v", err)
		}
	}
	r, err := certstore.ParseTarget("keyvault:https://other.example/certificates/live")
	if err != nil {
		t.Fatal(err)
	}
	for _, vault := range []*certstore.KeyVault{nil, w.vault} {
		if _, err := r.Open(certstore.TargetOptions{Vault: vault}); err == nil {
			t.Error("it was opened with another vault's client")
		}
	}
}
