package emulator_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// resume starts an emulator with a saved state on a clock.
func resume(t *testing.T, file string, now func() time.Time, change ...func(*emulator.Options)) *emulatortest.World {
	t.Helper()
	state, err := emulator.ReadState(file)
	if err != nil {
		t.Fatal(err)
	}
	tn, err := state.Tenant(now)
	if err != nil {
		t.Fatal(err)
	}
	return emulatortest.StartTenant(t, tn, append([]func(*emulator.Options){func(o *emulator.Options) {
		o.State, o.StateFile = state, file
	}}, change...)...)
}

// published returns what a reader of the audit log may expect.
func published(t *testing.T, w *emulatortest.World) (all []tenant.Record) {
	t.Helper()
	for r := range w.Tenant.Audit.Records() {
		all = append(all, r)
	}
	if len(all) == 0 {
		t.Fatal("the audit log is empty")
	}
	return all
}

func TestStateIsKept(t *testing.T) {
	clock := emulatortest.NewClock(time.Now().Add(-90 * time.Minute))
	file, files := filepath.Join(t.TempDir(), "tenant.json"), t.TempDir()
	// Enough people that somebody does something on a Saturday night, too.
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 30, Days: 3, PerUser: 5, Now: clock.Now, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	w := emulatortest.StartTenant(t, tn, func(o *emulator.Options) { o.StateFile = file })
	clock.Add(time.Hour)
	w.StepClock(30 * time.Minute)
	variables, err := w.WriteClient(files)
	if err != nil {
		t.Fatal(err)
	}
	w.Tenant.Directory.NewApplication("kept")
	client := w.Tenant.Client()
	if _, err := w.Tenant.Vault.Import("kept", "application/x-pem-file", client.Certificate, client.Key); err != nil {
		t.Fatal(err)
	}
	if err := w.Tenant.Audit.StopSubscription("Audit.General"); err != nil {
		t.Fatal(err)
	}
	if err := w.Grant(client.ClientID, "resources/Reader"); err != nil {
		t.Fatal(err)
	}
	bearer := "Bearer " + w.Token(t, "https://manage.office.com")
	records, now := published(t, w), w.Tenant.Now()
	for range 2 { // the second takes the place of the first
		if err := w.Save(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("beside the state: %v, %v", entries, err)
	}
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	again := resume(t, file, clock.Now)
	if !again.Tenant.Now().Equal(now) {
		t.Errorf("the clock shows %s, and showed %s", again.Tenant.Now(), now)
	}
	if got, err := again.WriteClient(files); err != nil || !cmp.Equal(variables, got) {
		t.Errorf("a client must be told anew: %v %s", err, cmp.Diff(variables, got))
	}
	if !bytes.Equal(w.CA(), again.CA()) {
		t.Error("the certificate authority is another")
	}
	if diff := cmp.Diff(records, published(t, again)); diff != "" {
		t.Errorf("the audit records: %.500s", diff)
	}
	if again.Tenant.Audit.Subscribed("Audit.General") || !again.Tenant.Audit.Subscribed("Audit.Exchange") {
		t.Error("the subscriptions are not those that were saved")
	}
	if !names(again)["kept"] || !names(again)["reeve"] {
		t.Errorf("the applications are %v", names(again))
	}
	if _, ok := again.Tenant.Vault.Certificate("kept", ""); !ok {
		t.Error("the vault does not have the imported certificate")
	}
	if diff := cmp.Diff(w.Tenant.Vault.RoleAssignments(), again.Tenant.Vault.RoleAssignments()); diff != "" || again.Tenant.SubscriptionID != w.Tenant.SubscriptionID {
		t.Errorf("the role assignments: %s", diff)
	}
	if _, ok := again.Tenant.ManagedIdentity(); !ok {
		t.Error("there is no managed identity")
	}
	// The same files and an old token are still good.
	list := again.Origins().Manage + "/api/v1.0/" + again.Tenant.ID + "/activity/feed/subscriptions/list"
	if a := again.Do(t, "GET", list, "", "Authorization", bearer); a.Status != 200 {
		t.Errorf("with an earlier token: %d %s", a.Status, a.Text)
	}
	mustSignIn(t, again, filepath.Join(files, "client.pem"))

	if err := again.Save(); err != nil {
		t.Fatal(err)
	}
	resaved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(saved), string(resaved)); diff != "" {
		t.Errorf("nothing happened, and the state is another: %.500s", diff)
	}
}

func TestExposedAndMovedToAnotherAddress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tenant.json")
	w := emulatortest.Start(t, nil, func(o *emulator.Options) { o.StateFile = file })
	if err := w.Save(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	state, err := emulator.ReadState(file)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := emulator.Start(emulator.Options{Tenant: w.Tenant, State: state, Listen: "127.0.0.2:0"}); err == nil {
		e.Close()
		t.Error("it is exposed without being told to")
	}
	var log strings.Builder
	again := resume(t, file, nil, func(o *emulator.Options) {
		o.Listen, o.Expose, o.Log = "127.0.0.2:0", true, slog.New(slog.NewTextHandler(&log, nil))
	})
	if !strings.HasPrefix(again.Origins().Graph, "https://127.0.0.2:") {
		t.Errorf("Graph is at %s", again.Origins().Graph)
	}
	// The certificate of before does not name the address; the client is told
	// of a new one.
	if a := again.Do(t, "GET", again.Origins().Authority+"/"+again.Tenant.ID+"/discovery/keys", ""); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	if bytes.Equal(w.CA(), again.CA()) || !strings.Contains(log.String(), "which clients must be told") {
		t.Errorf("the certificate authority is the same, or nothing is said: %s", log.String())
	}
}

func TestStateThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tenant.json")
	if _, err := emulator.ReadState(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	w := emulatortest.Start(t, nil, func(o *emulator.Options) { o.StateFile = file })
	if err := w.Save(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":      "",
		"a text":     "dear diary",
		"foreign":    `{"version":1}`,
		"cut":        string(good[:len(good)/2]),
		"newer":      strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"unknown":    strings.Replace(string(good), `"version": 1`, `"version": 1, "colour": "blue"`, 1),
		"no tenant":  `{"format":"reeve emulated tenant","version":1}`,
		"no key":     strings.Replace(string(good), "BEGIN PRIVATE KEY", "BEGIN NOTHING", 1),
		"no CA":      regexp.MustCompile(`"ca": "[^"]*"`).ReplaceAllString(string(good), `"ca": ""`),
		"no address": strings.Replace(string(good), `"addresses": [`, `"addresses": [], "x": [`, 1),
	} {
		other := filepath.Join(dir, "other.json")
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := emulator.ReadState(other); err == nil || !strings.Contains(err.Error(), other) {
			t.Errorf("%s: %v", name, err)
		}
		// Who does not read it does not overwrite it.
		e, err := emulator.Start(emulator.Options{Tenant: w.Tenant, StateFile: other})
		if err == nil {
			e.Close()
			t.Errorf("%s: a tenant takes its place", name)
		}
		if left, err := os.ReadFile(other); err != nil || string(left) != text {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	state, err := emulator.ReadState(file)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := emulator.Start(emulator.Options{Tenant: w.Tenant, State: state, StateFile: file, Cloud: "china"}); err == nil {
		e.Close()
		t.Error("a tenant moves to another cloud")
	}
	broken, err := emulator.ParseState(bytes.Replace(good, []byte(`"clientId": "`), []byte(`"clientIdentity": "`), 1))
	if err == nil {
		_, err = broken.Tenant(nil)
	}
	if err == nil {
		t.Error("a tenant out of a damaged state")
	}
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"format":"reeve emulated tenant","version":1,"tenant":{},"tokenSigningKeys":[]}`))
	f.Add([]byte(`{"format":"reeve emulated tenant","version":1,"cloud":"public","addresses":["a","b","c","d","e","f","g"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := emulator.ParseState(text); err == nil && s.Cloud() == "" {
			t.Error("a state of no cloud")
		}
	})
}

// small makes a tenant that costs little.
func small(t *testing.T) *tenant.Tenant {
	t.Helper()
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 1, Days: 1, PerUser: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	return tn
}

func refused(t *testing.T, o emulator.Options, says string) {
	t.Helper()
	e, err := emulator.Start(o)
	if err == nil {
		e.Close()
	}
	if !errors.Is(err, emulator.ErrOptions) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), ".json-") {
		t.Errorf("want an error about %s, got %v", says, err)
	}
}

func TestTwoTenantsOfOneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	first := emulatortest.StartTenant(t, small(t), func(o *emulator.Options) { o.StateFile = file })
	refused(t, emulator.Options{Tenant: small(t), StateFile: file}, file)
	state, err := emulator.ReadState(file)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, emulator.Options{Tenant: small(t), State: state, StateFile: file}, "does another tenant run from it")
	second := resume(t, file, nil, func(o *emulator.Options) { o.Listen = "127.0.0.1:0" })
	second.Tenant.Directory.NewApplication("second")
	if err := second.Save(); err != nil {
		t.Fatal(err)
	}
	was := mustRead(t, file)
	first.Tenant.Directory.NewApplication("first")
	if err := first.Save(); err == nil || !strings.Contains(err.Error(), file+".conflict") {
		t.Errorf("what the other wrote: %v", err)
	}
	if !bytes.Equal(mustRead(t, file), was) {
		t.Error("the other's file was written")
	}
	if !bytes.Contains(mustRead(t, file+".conflict"), []byte(`"first"`)) {
		t.Error("the first is lost")
	}
}

func TestStateThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "missing", "state.json")
	refused(t, emulator.Options{Tenant: small(t), StateFile: file}, file)
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
