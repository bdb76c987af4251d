package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/resources"
)

// newVaultWorld is a world whose vault is of one kind or the other.
func newVaultWorld(t testing.TB, rbac bool, change ...func(*emulator.Options)) *world {
	t.Helper()
	w := newWorld(t, change...)
	if rbac {
		w.Tenant.Vault.UseRBAC()
	}
	return w
}

// inVault adds access to the tenant's vault to what a setup wants.
func (w *world) inVault(s *Setup, azure string, use VaultUse) (*Setup, error) {
	w.t.Helper()
	client, err := resources.New(resources.Options{Cloud: w.cloud, Credential: token(azure), HTTP: w.http,
		Retry: m365.Retry{Max: 5, Delay: time.Microsecond, MaxDelay: 2 * time.Second}})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Resources = client
	v, err := client.FindVault(context.Background(), w.Origins().Vault)
	if err != nil {
		return s, err
	}
	s.Wanted.Vault = &VaultAccess{Vault: v, Use: use}
	return s, nil
}

func (w *world) mustInVault(s *Setup, azure string, use VaultUse) *Setup {
	w.t.Helper()
	s, err := w.inVault(s, azure, use)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// access is what somebody may do at the vault, of either kind.
func (w *world) access(objectID string) []string {
	all := slices.Clone(w.Tenant.Vault.Settings().Policies[objectID])
	for _, a := range w.Tenant.Vault.RoleAssignments() {
		if a.ObjectID == objectID {
			all = append(all, a.Role)
		}
	}
	slices.Sort(all)
	return all
}

// wantedAccess is what a use takes, as access shows it.
func wantedAccess(use VaultUse, rbac bool) []string {
	all := use.Permissions()
	if rbac {
		all = nil
		for _, r := range use.Roles() {
			all = append(all, r.ID)
		}
	}
	slices.Sort(all)
	return all
}

// What a vault takes for each use, of either kind, and no more.
func TestVaultUses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		use                VaultUse
		roles, permissions string
	}{
		{VaultUse{}, "Certificate User", "certificates/get secrets/get"},
		{VaultUse{Read: true}, "Certificate User", "certificates/get secrets/get"},
		{VaultUse{Publish: true}, "Certificates Officer, Secrets User", "certificates/get secrets/get certificates/list certificates/import certificates/update certificates/recover"},
		{VaultUse{Secrets: true}, "Secrets Officer", "secrets/get secrets/list secrets/set secrets/delete secrets/recover"},
		{VaultUse{Read: true, Secrets: true}, "Certificate User, Secrets Officer", "certificates/get secrets/get secrets/list secrets/set secrets/delete secrets/recover"},
		{VaultUse{Keys: true}, "Crypto Officer", "keys/get keys/list keys/create keys/sign keys/delete keys/recover"},
		{VaultUse{Read: true, Keys: true}, "Certificate User, Crypto Officer", "certificates/get secrets/get keys/get keys/list keys/create keys/sign keys/delete keys/recover"},
		{VaultUse{Publish: true, Secrets: true}, "Certificates Officer, Secrets Officer",
			"certificates/get secrets/get certificates/list certificates/import certificates/update certificates/recover secrets/list secrets/set secrets/delete secrets/recover"},
	} {
		var roles []string
		for _, r := range c.use.Roles() {
			roles = append(roles, strings.TrimPrefix(r.Name, "Key Vault "))
			if !keyvault.IsRole(r.ID) {
				t.Errorf("there is no role %s", r.ID)
			}
		}
		if got := strings.Join(roles, ", "); got != c.roles {
			t.Errorf("%+v: roles %s, want %s", c.use, got, c.roles)
		}
		if got := strings.Join(c.use.Permissions(), " "); got != c.permissions {
			t.Errorf("%+v: permissions %s, want %s", c.use, got, c.permissions)
		}
	}
}

// Access is given, takes effect, is proved with the application's own token, and is taken
// away again, with all the oddities on.
func TestVaultAccess(t *testing.T) {
	t.Parallel()
	for _, rbac := range []bool{false, true} {
		for i, use := range []VaultUse{{Read: true}, {Publish: true, Keys: true}} {
			w := newVaultWorld(t, rbac, unkind, func(o *emulator.Options) { o.Seed = uint64(i) })
			tok := w.person(admin, Permissions(false)...)
			s := w.mustInVault(w.setup(tok, w.wanted("audit")), w.azure(admin), use)
			if p, err := s.Plan(t.Context()); err != nil || rbac && !strings.Contains(fmt.Sprint(p.Requests(w.cloud, s.Wanted)), unknownAssignment) {
				t.Errorf("the plan: %v", err)
			}
			if err := s.run(t.Context()); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(w.said, "\n"))
			}
			w.mustBe(s.Wanted)
			principal := s.Record.PrincipalID
			if got, want := w.access(principal), wantedAccess(use, rbac); !slices.Equal(got, want) {
				t.Errorf("it has %v, want %v", got, want)
			}

			given := w.clock.Now()
			bearer := w.tokenAs(s.Record.ClientID, w.cloud.VaultAudience)
			prover := &VaultProver{Use: use, Name: "reeve", Patience: UsualPatience, Now: w.clock.Now, Sleep: s.Sleep, Say: s.Say,
				Contents: resources.Open(resources.Options{Cloud: w.cloud, Credential: token(bearer), HTTP: w.http, Retry: m365.Retry{Delay: time.Microsecond}}, w.Origins().Vault)}
			proofs, err := prover.Prove(t.Context())
			if err != nil {
				t.Fatalf("after %v: %v", w.clock.Now().Sub(given), err)
			}
			want := 2
			if use.Keys {
				want = 3
			}
			if len(proofs) != want {
				t.Errorf("proofs %+v", proofs)
			}
			t.Logf("by roles %v: it took effect after %v", rbac, w.clock.Now().Sub(given))

			s = w.setup(tok, w.wanted("audit")) // without a vault
			if p, err := s.Plan(t.Context()); err != nil || !p.Settled() {
				t.Errorf("without the vault it is not settled: %v", err)
			}
			w.clock.Add(time.Minute)
			s = w.mustInVault(w.setup(tok, w.wanted("audit")), w.azure(admin), use)
			if p, err := s.Plan(t.Context()); err != nil || !p.Settled() {
				t.Errorf("again: it is not settled: %v", err)
			}
			removeAll(t, w, tok, s.Wanted, w.azure(admin))
			if got := w.access(principal); len(got) > 0 {
				t.Errorf("afterwards it has %v", got)
			}
		}
	}
}

// tokenAs obtains a token as an application, by a secret that is known everywhere at once:
// what tokens wait for is the matter of other tests.
func (w *world) tokenAs(clientID, resource string) string {
	w.t.Helper()
	if _, err := w.Tenant.Directory.AddPassword(clientID, "secret", begin, begin.Add(time.Hour)); err != nil {
		w.t.Fatal(err)
	}
	w.Tenant.Directory.Settle()
	var a emulatortest.Answer
	for range 20 {
		a = w.PostForm(w.t, "/"+w.Tenant.ID+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID},
			"client_secret": {"secret"}, "scope": {resource + "/.default"}})
		if access, ok := a.Body["access_token"].(string); ok {
			return access
		}
	}
	w.t.Fatalf("%d %s", a.Status, a.Text)
	return ""
}

// Wherever it is killed, and whichever answer is lost, the next run ends the same, and all
// is taken away.
func TestVaultKilledAnywhere(t *testing.T) {
	t.Parallel()
	stride := 5
	if os.Getenv("TEST_LONG") != "" {
		stride = 1
	}
	use := VaultUse{Publish: true}
	for i, how := range []string{"before", "after", "lost"} {
		for _, rbac := range []bool{false, true} {
			t.Run(fmt.Sprint(how, rbac), func(t *testing.T) {
				t.Parallel()
				for n := 1 + i%stride; ; n += stride {
					w := newVaultWorld(t, rbac, unkind, func(o *emulator.Options) { o.Seed = uint64(n) })
					tok, azure := w.person(admin, Permissions(false)...), w.azure(admin)
					s := w.mustInVault(w.setup(tok, w.wanted("audit")), azure, use)
					ctx, count := w.killer(t.Context(), n, how)
					err := s.run(ctx)
					if *count < n {
						t.Logf("struck at %d requests, one after the other", (n-1-i%stride)/stride)
						return
					}
					if how != "lost" && !errors.Is(err, errKilled) {
						t.Fatalf("killed at request %d: %v", n, err)
					}
					w.see = nil
					s = w.mustInVault(w.setup(tok, w.wanted("audit")), azure, use)
					if err := s.run(t.Context()); err != nil {
						t.Fatalf("%s request %d, and again: %v\n%s", how, n, err, strings.Join(w.said, "\n"))
					}
					principal := s.Record.PrincipalID
					if got, want := w.access(principal), wantedAccess(use, rbac); !slices.Equal(got, want) {
						t.Errorf("%s request %d, and again: it has %v, want %v", how, n, got, want)
					}
					// The removal is struck as well, and goes on.
					s = w.mustInVault(w.setup(tok, w.wanted("audit")), azure, use)
					ctx, _ = w.killer(t.Context(), n%8+1, how)
					if r, err := s.PlanRemoval(ctx); err == nil {
						s.Remove(ctx, r)
					}
					w.see = nil
					if w.state(s.Wanted).applications > 0 {
						removeAll(t, w, tok, s.Wanted, azure)
					}
					if got := w.access(principal); len(got) > 0 {
						t.Errorf("%s request %d: afterwards it has %v", how, n, got)
					}
				}
			})
		}
	}
}

// What is there already is left, and stays when the rest is taken away; a role above counts.
func TestVaultLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, rbac := range []bool{false, true} {
		w := newVaultWorld(t, rbac)
		tok, azure := w.person(admin, Permissions(false)...), w.azure(admin)
		app := w.Tenant.Directory.NewApplication("worker")
		p, _ := w.Tenant.Directory.View(0).ServicePrincipalByAppID(app.AppID)
		if rbac {
			w.Tenant.Vault.Assign(keyvault.RoleAssignment{Name: "5f6b9d0e-9d4b-4a0b-9a59-9b5a0d4b7a11", ObjectID: p.ID, Role: resources.SecretsUser.ID, Scope: "/subscriptions/" + w.Tenant.SubscriptionID})
		} else {
			w.Tenant.Vault.Allow(p.ID, "secrets/get", "secrets/list")
		}
		before := w.access(p.ID)
		wanted := w.wanted("audit")
		wanted.ClientID = app.AppID
		use := VaultUse{Publish: true}
		s := w.mustInVault(w.setup(tok, wanted), azure, use)
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := wantedAccess(use, rbac)
		if !rbac {
			want = append(want, "secrets/list")
			slices.Sort(want)
		}
		if got := w.access(p.ID); !slices.Equal(got, want) {
			t.Errorf("it has %v, want %v", got, want)
		}
		s = w.mustInVault(w.setup(tok, wanted), azure, use)
		r, err := s.PlanRemoval(t.Context())
		if err == nil {
			err = s.Remove(t.Context(), r)
		}
		if got := w.access(p.ID); err != nil || !slices.Equal(got, before) {
			t.Errorf("afterwards it has %v, and had %v: %v", got, before, err)
		}
	}
}

// answer is an answer in place of the service's.
func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Request: r, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// A principal that Azure does not know yet is waited for; a role that somebody else gave in
// the meantime is success, and stays theirs.
func TestVaultMeanwhile(t *testing.T) {
	t.Parallel()
	w := newVaultWorld(t, true)
	tok, azure := w.person(admin, Permissions(false)...), w.azure(admin)
	s := w.mustInVault(w.setup(tok, w.wanted("audit")), azure, VaultUse{Read: true})
	puts := 0
	w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if r.Method != http.MethodPut {
			return send()
		}
		if puts++; puts < 4 {
			return answer(r, 400, `{"error":{"code":"PrincipalNotFound","message":"Principal x does not exist in the directory y."}}`), nil
		}
		var body struct{ Properties struct{ PrincipalID string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		w.Tenant.Vault.Assign(keyvault.RoleAssignment{Name: "5f6b9d0e-9d4b-4a0b-9a59-9b5a0d4b7a11", ObjectID: body.Properties.PrincipalID, Role: resources.CertificateUser.ID})
		return answer(r, 409, `{"error":{"code":"RoleAssignmentExists","message":"The role assignment already exists."}}`), nil
	}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.see = nil
	if puts != 4 || s.Record.InVaults() {
		t.Errorf("after %d requests the record says %+v", puts, s.Record.Made)
	}

	// For ever it is not.
	w = newVaultWorld(t, true)
	s = w.mustInVault(w.setup(w.person(admin, Permissions(false)...), w.wanted("audit")), w.azure(admin), VaultUse{Read: true})
	w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if r.Method != http.MethodPut {
			return send()
		}
		return answer(r, 400, `{"error":{"code":"PrincipalNotFound","message":"Principal x does not exist in the directory y."}}`), nil
	}
	var r *Refusal
	if err := s.run(t.Context()); !errors.As(err, &r) || !errors.Is(err, ErrNotThere) || !strings.Contains(r.Cause, "Certificate User") {
		t.Errorf("a principal that never comes: %v", err)
	}
}

// azureReader is the role Reader, which sees everything and changes nothing.
const azureReader = "acdd72a7-3385-48ef-bd42-f606fba81ae7"

// Who may not do it is told who can, and of the script; who does not see the vault, too.
func TestVaultRefusals(t *testing.T) {
	t.Parallel()
	for _, rbac := range []bool{false, true} {
		w := newVaultWorld(t, rbac)
		tok := w.person(admin, Permissions(false)...)
		if _, err := w.inVault(w.setup(tok, w.wanted("audit")), w.azure(another), VaultUse{}); !errors.Is(err, m365.ErrNotFound) {
			t.Errorf("without any role: %v", err)
		}
		u, _ := w.Tenant.Directory.View(0).User(w.address(another))
		w.Tenant.Vault.Assign(keyvault.RoleAssignment{Name: "5f6b9d0e-9d4b-4a0b-9a59-9b5a0d4b7a12", ObjectID: u.ID, PrincipalType: "User", Role: azureReader, Scope: "/subscriptions/" + w.Tenant.SubscriptionID})
		s := w.mustInVault(w.setup(tok, w.wanted("audit")), w.azure(another), VaultUse{Read: true})
		var r *Refusal
		err := s.run(t.Context())
		who := "Key Vault Contributor"
		if rbac {
			who = "Key Vault Data Access Administrator"
		}
		if !errors.As(err, &r) || !errors.Is(err, ErrRole) || !strings.Contains(r.Who, who) || !strings.Contains(r.Remedy, "--vault-script") || !strings.Contains(err.Error(), "AuthorizationFailed") {
			t.Errorf("a reader: %v, %+v", err, r)
		}
		// Another goes on.
		s = w.mustInVault(w.setup(tok, w.wanted("audit")), w.azure(admin), VaultUse{Read: true})
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := w.access(s.Record.PrincipalID), wantedAccess(VaultUse{Read: true}, rbac); !slices.Equal(got, want) {
			t.Errorf("it has %v, want %v", got, want)
		}
		// Taking it away is refused to the reader, and nothing goes.
		s = w.mustInVault(w.setup(tok, w.wanted("audit")), w.azure(another), VaultUse{Read: true})
		p, err := s.PlanRemoval(t.Context())
		if err == nil {
			err = s.Remove(t.Context(), p)
		}
		if !errors.Is(err, ErrRole) || w.state(s.Wanted).applications != 1 {
			t.Errorf("a reader takes it away: %v", err)
		}
		// Without Azure it is told what stays.
		s = w.setup(tok, w.wanted("audit"))
		if p, err = s.PlanRemoval(t.Context()); err != nil || len(p.Steps) != 1 || len(p.Stays) != 1 || !strings.Contains(p.Stays[0], "the vault's owner takes it away") {
			t.Errorf("without Azure: %v, %+v", err, p)
		}
	}
	w := newVaultWorld(t, true)
	s := w.mustInVault(w.setup(w.person(admin, Permissions(false)...), w.wanted("audit")), w.azure(admin), VaultUse{})
	s.Wanted.Vault.Vault.TenantID = "11111111-2222-3333-4444-555555555555"
	if err := s.run(t.Context()); !errors.Is(err, ErrTenant) || w.state(s.Wanted).applications != 0 {
		t.Errorf("another tenant's vault: %v", err)
	}
}

// What the vault says is told apart: its network, and roles that never take effect.
func TestVaultProofRefused(t *testing.T) {
	t.Parallel()
	w := newVaultWorld(t, true)
	app := w.Tenant.Directory.NewApplication("worker")
	w.setup("", w.wanted("audit")) // its client
	prover := &VaultProver{Use: VaultUse{Read: true}, Name: "reeve", Patience: time.Minute, Now: w.clock.Now, Say: func(text string) { w.said = append(w.said, text) },
		Sleep:    func(_ context.Context, d time.Duration) error { w.clock.Add(d); return nil },
		Contents: resources.Open(resources.Options{Cloud: w.cloud, Credential: token(w.TokenOf(t, app.AppID, w.cloud.VaultAudience)), HTTP: w.http}, w.Origins().Vault)}
	var r *Refusal
	if _, err := prover.Prove(t.Context()); !errors.As(err, &r) || !strings.Contains(r.Cause, "1m0s") || len(w.said) != 1 || !strings.Contains(w.said[0], "10 minutes") {
		t.Errorf("without access: %v, %q", err, w.said)
	}
	w.Tenant.Vault.SetNetwork(keyvault.ByFirewall)
	if _, err := prover.Prove(t.Context()); !errors.As(err, &r) || !strings.Contains(r.Remedy, "firewall") {
		t.Errorf("behind a firewall: %v", err)
	}
}

// The script for the vault's owner gives what was planned, by either kind, as the Azure CLI
// is called by it.
func TestVaultScript(t *testing.T) {
	t.Parallel()
	const principal = "0d6c2d36-6a7e-4dbb-8d9d-2f0f3a2b7c11"
	use := VaultUse{Publish: true}
	script, err := VaultScript("https://contoso.vault.azure.net", principal, use)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"https://127.0.0.1:9443", "https://a b.vault.azure.net", "https://x;y.vault.azure.net"} {
		if _, err := VaultScript(address, principal, use); err == nil {
			t.Errorf("%s was taken", address)
		}
	}
	if _, err := VaultScript("https://contoso.vault.azure.net", "$(id)", use); err == nil {
		t.Error("an object ID that is none was taken")
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	for _, rbac := range []string{"true", "false"} {
		folder := t.TempDir()
		log := filepath.Join(folder, "log")
		az := "#!/bin/sh\ncase \"$*\" in\n*enableRbac*) echo " + rbac + ";;\n*'--query id'*) echo /subscriptions/s/vaults/contoso;;\n*properties.tenantId*) echo t;;\n*) for a in \"$@\"; do printf '%s\\n' \"$a\"; done >>'" + log + "';;\nesac\n"
		if err := os.WriteFile(filepath.Join(folder, "az"), []byte(az), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(shell)
		cmd.Stdin, cmd.Env = strings.NewReader(script), append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, script)
		}
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		said := string(data)
		if rbac == "true" {
			for _, r := range use.Roles() {
				if !strings.Contains(said, "--assignee-object-id\n"+principal+"\n") || !strings.Contains(said, "--role\n"+r.ID+"\n--scope\n/subscriptions/s/vaults/contoso\n") {
					t.Errorf("it runs\n%s", said)
				}
			}
			continue
		}
		_, body, _ := strings.Cut(strings.TrimSpace(said), "--body\n")
		want := resources.AddPermissions(m365.Cloud{}, resources.Vault{ID: "/subscriptions/s/vaults/contoso", TenantID: "t"}, principal, use.Permissions())
		if body != string(want.Body) || !strings.Contains(said, "--url\n"+want.URL+"\n") {
			t.Errorf("it runs\n%s\nwant %s %s", said, want.URL, want.Body)
		}
	}
	removal := VaultRemovalScript(Record{PrincipalID: principal, Made: []Made{{Kind: VaultRole, ID: "/x/y", Key: "A at /x"}, {Kind: VaultPolicy, Key: "/x", Required: []string{"secrets/get"}}}}, "t")
	for _, s := range []string{"az role assignment delete --ids '/x/y'", "'/x/accessPolicies/remove?api-version=", `"permissions":{"secrets":["get"]}`} {
		if !strings.Contains(removal, s) {
			t.Errorf("the removal lacks %q:\n%s", s, removal)
		}
	}
}
