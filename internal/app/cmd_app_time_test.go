package app_test

import (
	"context"
	"crypto"
	"net/url"
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
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/m365/resources"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/registration"
	"github.com/reeve365/reeve/internal/rotate"
	"github.com/reeve365/reeve/internal/store"
)

type someToken string

func (t someToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// overLag is how much longer set-up may take than the slowest of Entra ID's front ends
// does: two rounds of asking for tokens.
const overLag = 10 * time.Second

// mostSetup is how long set-up may take to its proof.
const mostSetup = 3 * time.Minute

// TestSetupTime measures how long set-up takes in a tenant with all its oddities on, by
// its clock: from the sign-in of a person to tokens that carry what the feeds need. The
// share of the tenant is the lag of its slowest front end, which starts when consent is
// given and when the key is registered; what comes on top is ours.
func TestSetupTime(t *testing.T) {
	t.Parallel()
	key, err := pki.NewKey(pki.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	seeds := uint64(10)
	if os.Getenv("TEST_LONG") != "" {
		seeds = 100
	}
	var took, steady, consented, certified, over, withVault []time.Duration
	for seed := range seeds {
		s := setupTime(t, seed, key)
		t.Logf("seed %d: consent after %v, key registered after %v, all front ends know both after %v; certificate in use after %v, proved after %v, by three in a row after %v (%+v), the vault after %v",
			seed, s.consented, s.registered, s.known(), s.certified, s.proved, s.steady, s.steady-s.known(), s.vault)
		if s.steady > s.known()+overLag {
			t.Errorf("seed %d: three tokens in a row came %v after all front ends knew consent and key", seed, s.steady-s.known())
		}
		if s.proved > mostSetup {
			t.Errorf("seed %d: it took %v to a proved token for each API", seed, s.proved)
		}
		took, steady, consented, certified = append(took, s.proved), append(steady, s.steady), append(consented, s.consented), append(certified, s.certified)
		over, withVault = append(over, s.steady-s.known()), append(withVault, s.vault)
	}
	for _, all := range [][]time.Duration{took, steady, consented, certified, over, withVault} {
		slices.Sort(all)
	}
	half, last := len(took)/2, len(took)-1
	t.Logf("of emulated time it took, median and most: consent %v, %v; certificate in use %v, %v; proved %v, %v; by three in a row %v, %v; that is beyond the lag of the slowest front end %v, %v; with a vault %v, %v",
		consented[half], consented[last], certified[half], certified[last], took[half], took[last], steady[half], steady[last], over[half], over[last], withVault[half], withVault[last])
	if consented[half] > 15*time.Second || withVault[last] > 12*time.Minute {
		t.Errorf("consent took %v, with a vault %v", consented, withVault)
	}
}

// setupTimes are when the stages of a set-up were reached, since its begin.
type setupTimes struct {
	consented  time.Duration // the last consent was given
	registered time.Duration // the key was
	certified  time.Duration // the certificate is in use
	proved     time.Duration // a token for each API carried what the feeds need
	steady     time.Duration // three in a row did
	vault      time.Duration // the vault let the application in
}

// known is when each front end knows of the consent and the key.
func (s setupTimes) known() time.Duration {
	return max(s.consented+origin.UsualDelays.Roles.Most, s.registered+origin.UsualDelays.Keys.Most)
}

// setupTime sets one up, to proved tokens and to access to a vault.
func setupTime(t *testing.T, seed uint64, key crypto.Signer) (took setupTimes) {
	clock := emulatortest.NewClock(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC))
	begin := clock.Now()
	w := emulatortest.Start(t, clock.Now, func(o *emulator.Options) { o.Calm, o.Seed = false, seed })
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	cloud.AuthorityHost, cloud.Graph, cloud.Manage, cloud.Resources = w.Origins().Authority, w.Origins().Graph, w.Origins().Manage, w.Origins().Resources
	w.Tenant.Vault.UseRBAC()
	sleep := func(ctx context.Context, d time.Duration) error { clock.Add(d); return ctx.Err() }
	who := someToken(person(t, w, registration.Permissions(false)...))
	azure, err := resources.New(resources.Options{Cloud: cloud, Credential: someToken(signedIn(t, w, directory.AzureCLI, cloud.ResourcesAudience+"/user_impersonation")), HTTP: w.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	vault, err := azure.FindVault(t.Context(), w.Origins().Vault)
	if err != nil {
		t.Fatal(err)
	}
	tenantGraph, err := graph.New(graph.Options{Cloud: cloud, Credential: who, HTTP: w.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	audit, err := permission.Lookup("audit")
	if err != nil {
		t.Fatal(err)
	}
	users, err := permission.Lookup("users")
	if err != nil {
		t.Fatal(err)
	}
	s := &registration.Setup{
		Graph: tenantGraph, Resources: azure, Cloud: cloud, Caller: registration.ReadCaller(string(who)), Now: clock.Now, Sleep: sleep,
		Say: func(string) {}, Save: func(_ context.Context, _ registration.Record, events ...registration.Event) error {
			for _, e := range events {
				if e.Outcome == store.Done && strings.HasPrefix(e.Text, "grant ") {
					took.consented = clock.Now().Sub(begin)
				}
				if testing.Verbose() {
					t.Logf("  %v %s %s", clock.Now().Sub(begin), e.Outcome, e.Text)
				}
			}
			return nil
		},
		Wanted: registration.Wanted{TenantID: w.Tenant.ID, Name: "importer", Feeds: []string{"audit", "users"}, Uses: permission.Uses([]permission.Feed{audit, users}, false),
			Vault: &registration.VaultAccess{Vault: vault, Use: registration.VaultUse{Read: true}}},
	}
	plan, err := s.Plan(t.Context())
	if err == nil {
		err = s.CarryOut(t.Context(), plan)
	}
	if err != nil {
		t.Fatal(err)
	}

	folder := t.TempDir()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(folder, "reeve.db"), store.Options{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	tenant, err := db.Tenant(t.Context(), w.Tenant.ID)
	if err != nil {
		t.Fatal(err)
	}
	keyset, err := certstore.OpenKeyset(t.Context(), certstore.KeysetSource{Entries: filepath.Join(folder, "keys"), File: filepath.Join(folder, "keys.json")})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := certstore.OpenLocal(filepath.Join(folder, "keys"), keyset)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	rotator := rotate.New(rotate.Options{DB: db, Tenant: tenant, Cloud: cloud, HTTP: w.HTTPClient(), Directory: tenantGraph, Now: clock.Now,
		Stores: map[string]certstore.Store{credential.StoreLocal: keys}, NewKey: func(context.Context, pki.KeyType) (crypto.Signer, error) { return key, nil }})
	app, err := rotator.Adopt(t.Context(), rotate.Adoption{ObjectID: s.Record.ObjectID, ClientID: s.Record.ClientID, TenantID: w.Tenant.ID, Name: "importer",
		Made: s.Record.MadeAt(), Mode: credential.On, By: "test", Policy: credential.Policy{Resources: []string{cloud.ManageAudience, cloud.GraphAudience}}.Complete(cloud.GraphAudience)})
	if err == nil {
		_, err = db.AddWish(t.Context(), tenant, app.ObjectID, credential.Wish{Kind: credential.Renew, By: "test"})
	}
	if err != nil {
		t.Fatal(err)
	}
	active, ok := credential.Credential{}, false
	for range 1000 {
		next, err := rotator.Work(t.Context(), app.ObjectID)
		if err != nil {
			t.Logf("seed %d, after %v: %v", seed, clock.Now().Sub(begin), err)
		}
		if app, err = db.Application(t.Context(), tenant, app.ObjectID); err != nil {
			t.Fatal(err)
		}
		if active, ok = app.Active(); ok {
			break
		}
		clock.Add(max(next.Sub(clock.Now()), time.Millisecond))
	}
	if !ok {
		t.Fatal("there is no certificate in use")
	}
	took.certified = clock.Now().Sub(begin)
	pair, err := rotator.Pair(t.Context(), active)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	prover := &registration.Prover{Prover: m365.Prover{Cloud: cloud, HTTP: w.HTTPClient(), Now: clock.Now}, Uses: s.Wanted.Uses, Sleep: sleep, Say: func(string) {},
		Proved:   func([]registration.Proof) { took.proved = clock.Now().Sub(begin) },
		Patience: registration.UsualPatience, Request: m365.ProofRequest{TenantID: w.Tenant.ID, ClientID: s.Record.ClientID, Pair: pair}}
	proofs, err := prover.Prove(t.Context())
	if err == nil {
		err = registration.Check(proofs)
	}
	if err != nil {
		t.Fatal(err)
	}
	took.steady = clock.Now().Sub(begin)
	entries, err := db.Journal(t.Context(), tenant, app.ObjectID, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if testing.Verbose() {
			t.Logf("  %v %s %s %s", e.At.Sub(begin), e.Step, e.Outcome, e.Text)
		}
		if e.Step == string(credential.Register) && e.Outcome == store.Done {
			took.registered = max(took.registered, e.At.Sub(begin))
		}
	}
	// The vault is asked by a token that a secret gives: what tokens wait for is over.
	if _, err := w.Tenant.Directory.AddPassword(s.Record.ClientID, "secret", begin, begin.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.Tenant.Directory.Settle()
	token := post(t, w, w.Origins().Authority+"/"+w.Tenant.ID+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {s.Record.ClientID},
		"client_secret": {"secret"}, "scope": {cloud.VaultAudience + "/.default"}})
	bearer, _ := token.Body["access_token"].(string)
	access := &registration.VaultProver{Use: s.Wanted.Vault.Use, Name: "reeve", Patience: registration.UsualPatience, Now: clock.Now, Sleep: sleep, Say: func(string) {},
		Contents: resources.Open(resources.Options{Cloud: cloud, Credential: someToken(bearer), HTTP: w.HTTPClient()}, w.Origins().Vault)}
	if _, err := access.Prove(t.Context()); err != nil {
		t.Fatal(err)
	}
	took.vault = clock.Now().Sub(begin)
	return took
}

// person signs an administrator in by device code, and returns the token.
func person(t *testing.T, w *emulatortest.World, permissions ...string) string {
	t.Helper()
	var scopes []string
	for _, name := range permissions {
		scopes = append(scopes, "https://graph.microsoft.com/"+name)
	}
	return signedIn(t, w, directory.GraphCommandLine, strings.Join(scopes, " "))
}

// post sends a form to the token service until that answers.
func post(t *testing.T, w *emulatortest.World, address string, form url.Values) emulatortest.Answer {
	t.Helper()
	for range 20 {
		a := w.Do(t, "POST", address, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if a.Status < 500 {
			return a
		}
	}
	t.Fatal("the token service does not answer")
	return emulatortest.Answer{}
}

// signedIn signs an administrator in to a client, by device code.
func signedIn(t *testing.T, w *emulatortest.World, client, scope string) string {
	t.Helper()
	authority := w.Origins().Authority
	code := post(t, w, authority+"/"+w.Tenant.ID+"/oauth2/v2.0/devicecode", url.Values{"client_id": {client}, "scope": {scope}})
	user, _ := code.Body["user_code"].(string)
	device, _ := code.Body["device_code"].(string)
	post(t, w, authority+"/common/oauth2/deviceauth", url.Values{"user_code": {user}, "user": {"admin@" + w.Tenant.Directory.Domain}, "decision": {"consent"}})
	a := post(t, w, authority+"/"+w.Tenant.ID+"/oauth2/v2.0/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
		"client_id": {client}, "device_code": {device}})
	token, ok := a.Body["access_token"].(string)
	if !ok {
		t.Fatalf("%d %s", a.Status, a.Text)
	}
	return token
}
