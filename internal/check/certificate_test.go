package check_test

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/check"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
)

// mended is a policy by which the vault makes no version of its own.
const mended = `{"issuer":{"name":"Unknown"},"lifetime_actions":[{"trigger":{"lifetime_percentage":90},"action":{"action_type":"EmailContacts"}}]}`

// vaulted are the options for the tenant's own client and its certificate in the vault,
// which the client opens with the same certificate from a file.
func (w world) vaulted(t testing.TB) check.CertificateOptions {
	t.Helper()
	o := w.plain(t)
	cred := w.credential(t)
	cloud := w.cloud(t)
	var err error
	if o.Vault, err = certstore.OpenKeyVault(w.Origins().Vault, cloud, cred, o.HTTP); err != nil {
		t.Fatal(err)
	}
	o.Name = tenant.CertificateName
	return o
}

func (w world) credential(t testing.TB) *m365.Credential {
	t.Helper()
	cred, err := m365.NewCredential(w.cloud(t), m365.SignIn{Method: m365.MethodCertificate, TenantID: w.Tenant.ID, ClientID: w.Tenant.Client().ClientID, Pair: w.pair()}, w.http(t))
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

// plain are the options without a vault.
func (w world) plain(t testing.TB) check.CertificateOptions {
	t.Helper()
	cloud, client := w.cloud(t), w.http(t)
	g, err := graph.New(graph.Options{Cloud: cloud, Credential: w.credential(t), HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	return check.CertificateOptions{
		Cloud: cloud, HTTP: client, TenantID: w.Tenant.ID, ClientID: w.Tenant.Client().ClientID, Graph: g, Days: 30,
		Resources: []string{cloud.GraphAudience, cloud.ManageAudience}, Place: "a file",
		Pair: func(context.Context) (pki.Pair, error) { return w.pair(), nil },
	}
}

// mend takes from the vault the right to make versions of its own.
func (w world) mend(t testing.TB) {
	t.Helper()
	w.allow("certificates/update")
	a := w.Do(t, "PATCH", w.Origins().Vault+"/certificates/"+tenant.CertificateName+"/policy?api-version=7.4", mended,
		"Authorization", "Bearer "+w.Token(t, "https://vault.azure.net"), "Content-Type", "application/json")
	if a.Status != 200 {
		t.Fatal(a.Text)
	}
}

// self is the object ID of the client's service principal.
func (w world) self() string {
	p, _ := w.Tenant.Directory.View(0).ServicePrincipalByAppID(w.Tenant.Client().ClientID)
	return p.ID
}

func (w world) allow(permissions ...string) { w.Tenant.Vault.Allow(w.self(), permissions...) }
func (w world) deny(permissions ...string)  { w.Tenant.Vault.Deny(w.self(), permissions...) }

func certificate(t testing.TB, o check.CertificateOptions) *check.CertificateReport {
	t.Helper()
	r := check.Certificate(t.Context(), o)
	keepsSecrets(t, r, "PRIVATE", "hush")
	return r
}

func line(t testing.TB, r *check.CertificateReport, name string) check.Line {
	t.Helper()
	for _, l := range r.Lines {
		if l.Check == name {
			return l
		}
	}
	t.Fatalf("%s is not checked", name)
	return check.Line{}
}

func settings(t testing.TB, text string) *check.OriginalSettings {
	t.Helper()
	s, err := check.ParseOriginal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCertificateInVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mend(t)
	r := certificate(t, w.vaulted(t))
	if r.Outcome != check.Green || r.Thumbprint != pki.SHA1(w.pair().Certificate) {
		t.Errorf("%s, %s", r.Outcome, r.Thumbprint)
	}
	var all []string
	for _, l := range r.Lines {
		all = append(all, l.Check)
		if l.State != check.OK || l.Seen == "" {
			t.Errorf("%+v", l)
		}
	}
	want := "vault reachable, vault's tenant, certificate get, secret get, enabled, renewal by the vault, versions, private key, validity, " +
		"thumbprint at Entra ID, credential at Entra ID, token for https://graph.microsoft.com, token for https://manage.office.com"
	if got := strings.Join(all, ", "); got != want {
		t.Errorf("checked %s", got)
	}
}

func TestWhatIsWrongWithACertificate(t *testing.T) {
	t.Parallel()
	another := func(t *testing.T, w world, from, to time.Duration) pki.Pair {
		t.Helper()
		now := time.Now().UTC().Truncate(time.Second)
		p, err := pki.SelfSign(w.Tenant.Client().Key, pki.Template{Subject: pkix.Name{CommonName: "another"}, NotBefore: now.Add(from), NotAfter: now.Add(to)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		file    bool
		change  func(t *testing.T, w world, o *check.CertificateOptions)
		outcome check.Outcome
		lines   map[string]check.State
		of      string
		says    string
		who     string
	}{
		"no certificate get, by policy": {outcome: check.Missing, lines: map[string]check.State{"certificate get": check.Wrong, "secret get": check.OK}, of: "certificate get", says: "goes by access policies", who: "Key Vault Contributor",
			change: func(_ *testing.T, w world, _ *check.CertificateOptions) { w.deny("certificates/get") }},
		"no secret get, by policy": {outcome: check.Missing, lines: map[string]check.State{"certificate get": check.OK, "secret get": check.Wrong, "private key": check.Skip}, of: "secret get", says: "What is missing is secrets/get",
			change: func(_ *testing.T, w world, _ *check.CertificateOptions) { w.deny("secrets/get") }},
		"no role": {outcome: check.Missing, lines: map[string]check.State{"certificate get": check.Wrong, "secret get": check.Wrong}, of: "secret get", says: "goes by roles", who: "User Access Administrator",
			change: func(_ *testing.T, w world, _ *check.CertificateOptions) { w.Tenant.Vault.UseRBAC() }},
		"a role without secrets": {outcome: check.Missing, lines: map[string]check.State{"certificate get": check.OK, "secret get": check.Wrong}, of: "secret get", says: "Certificates Officer alone reads no private key",
			change: func(t *testing.T, w world, _ *check.CertificateOptions) {
				w.Tenant.Vault.UseRBAC()
				if err := w.Tenant.Vault.AssignRole(w.self(), "Key Vault Certificates Officer"); err != nil {
					t.Fatal(err)
				}
			}},
		"the role that has both": {outcome: check.Green, lines: map[string]check.State{"certificate get": check.OK, "secret get": check.OK}, of: "secret get",
			change: func(t *testing.T, w world, _ *check.CertificateOptions) {
				w.Tenant.Vault.UseRBAC()
				if err := w.Tenant.Vault.AssignRole(w.self(), "Key Vault Certificate User"); err != nil {
					t.Fatal(err)
				}
			}},
		"the firewall": {outcome: check.Missing, lines: map[string]check.State{"certificate get": check.Wrong, "versions": check.Wrong}, of: "certificate get", says: "firewall refuses", who: "Key Vault Contributor",
			change: func(_ *testing.T, w world, _ *check.CertificateOptions) {
				w.Tenant.Vault.SetNetwork(keyvault.ByFirewall)
			}},
		"no public network": {outcome: check.Missing, lines: map[string]check.State{"secret get": check.Wrong}, of: "secret get", says: "private endpoint",
			change: func(_ *testing.T, w world, _ *check.CertificateOptions) {
				w.Tenant.Vault.SetNetwork(keyvault.ByConnection)
			}},
		"no such name": {outcome: check.Missing, lines: map[string]check.State{"certificate get": check.Wrong, "validity": check.Skip}, of: "certificate get", says: "no such certificate",
			change: func(_ *testing.T, _ world, o *check.CertificateOptions) { o.Name = "nobody" }},
		"no vault there": {outcome: check.Unseen, lines: map[string]check.State{"vault reachable": check.Dark, "certificate get": check.Dark}, of: "vault reachable", says: "resolved from here",
			change: func(t *testing.T, w world, o *check.CertificateOptions) {
				var err error
				if o.Vault, err = certstore.OpenKeyVault("https://127.0.0.1:1", o.Cloud, w.credential(t), o.HTTP); err != nil {
					t.Fatal(err)
				}
			}},
		"another tenant's vault": {outcome: check.Missing, lines: map[string]check.State{"vault's tenant": check.Wrong}, of: "vault's tenant", says: "belongs to tenant",
			change: func(_ *testing.T, _ world, o *check.CertificateOptions) {
				o.TenantID = "aaaaaaaa-0000-4000-8000-000000000000"
			}},
		"disabled": {outcome: check.Missing, lines: map[string]check.State{"enabled": check.Wrong, "secret get": check.Wrong}, of: "secret get", says: "disabled",
			change: func(t *testing.T, w world, _ *check.CertificateOptions) {
				v := w.Tenant.Vault.Versions(tenant.CertificateName)
				for _, each := range v {
					if err := w.Tenant.Vault.SetEnabled(tenant.CertificateName, each.Version, false); err != nil {
						t.Fatal(err)
					}
				}
			}},
		"a version that Entra ID does not know": {outcome: check.Missing, lines: map[string]check.State{"thumbprint at Entra ID": check.Wrong, "token for https://graph.microsoft.com": check.Wrong}, of: "thumbprint at Entra ID", says: "does not have this certificate",
			change: func(t *testing.T, w world, _ *check.CertificateOptions) {
				p := another(t, w, -time.Hour, 300*day)
				if _, err := w.Tenant.Vault.Import(tenant.CertificateName, keyvault.PKCS12, p.Certificate, p.Key); err != nil {
					t.Fatal(err)
				}
			}},
		"expired": {file: true, outcome: check.Missing, lines: map[string]check.State{"validity": check.Wrong}, of: "validity", says: "expired",
			change: func(t *testing.T, w world, o *check.CertificateOptions) {
				p := another(t, w, -100*day, -day)
				o.Pair = func(context.Context) (pki.Pair, error) { return p, nil }
			}},
		"soon expired": {file: true, outcome: check.Missing, lines: map[string]check.State{"validity": check.Wrong}, of: "validity", says: "fewer than 30 days",
			change: func(t *testing.T, w world, o *check.CertificateOptions) {
				p := another(t, w, -100*day, 20*day)
				o.Pair = func(context.Context) (pki.Pair, error) { return p, nil }
			}},
		"not valid yet": {file: true, outcome: check.Missing, lines: map[string]check.State{"validity": check.Wrong}, of: "validity", says: "not valid yet",
			change: func(t *testing.T, w world, o *check.CertificateOptions) {
				p := another(t, w, day, 300*day)
				o.Pair = func(context.Context) (pki.Pair, error) { return p, nil }
			}},
		"the credential ends earlier": {file: true, outcome: check.Green, lines: map[string]check.State{"credential at Entra ID": check.Note}, of: "credential at Entra ID", says: "the earlier date counts",
			change: func(t *testing.T, w world, _ *check.CertificateOptions) { w.credentialEnds(t, time.Now().Add(90*day)) }},
		"the credential has ended": {file: true, outcome: check.Missing, lines: map[string]check.State{"credential at Entra ID": check.Wrong, "token for https://graph.microsoft.com": check.Wrong}, of: "credential at Entra ID", says: "whatever the certificate's own date",
			change: func(t *testing.T, w world, o *check.CertificateOptions) {
				// Graph is asked as somebody else, or nothing could be read.
				o.Graph = w.otherGraph(t)
				w.credentialEnds(t, time.Now().Add(-day))
			}},
		"the application cannot be read": {file: true, outcome: check.Green, lines: map[string]check.State{"thumbprint at Entra ID": check.OK, "credential at Entra ID": check.Skip}, of: "thumbprint at Entra ID",
			change: func(_ *testing.T, _ world, o *check.CertificateOptions) { o.Graph = nil }},
		"no key": {file: true, outcome: check.Missing, lines: map[string]check.State{"private key": check.Wrong, "token for https://graph.microsoft.com": check.Skip}, of: "private key", says: "no private key",
			change: func(_ *testing.T, w world, o *check.CertificateOptions) {
				p := w.pair()
				p.Key = nil
				o.Pair = func(context.Context) (pki.Pair, error) { return p, nil }
			}},
		"no file": {file: true, outcome: check.Missing, lines: map[string]check.State{"readable": check.Wrong, "validity": check.Skip}, of: "readable", says: "PEM or PFX",
			change: func(_ *testing.T, _ world, o *check.CertificateOptions) {
				o.Pair = func(context.Context) (pki.Pair, error) { return certstore.File("/nowhere/reeve.pem", "") }
			}},
		"Entra ID is busy": {file: true, outcome: check.Unseen, lines: map[string]check.State{"token for https://graph.microsoft.com": check.Dark}, of: "token for https://graph.microsoft.com", says: "AADSTS90033",
			change: func(_ *testing.T, w world, o *check.CertificateOptions) {
				o.Graph = nil
				w.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: "unavailable"})
			}},
		"the original, as it should be": {outcome: check.Green, lines: map[string]check.State{"name": check.OK, "subject": check.OK, "UseClientCertificate": check.OK, "ClientSecret": check.Note, "WEBSITE_LOAD_USER_PROFILE": check.OK, "KeyVaultUrl": check.OK}, of: "ClientSecret", says: "importers ignore it",
			change: func(t *testing.T, w world, o *check.CertificateOptions) {
				w.original(t)
				o.Original = settings(t, `[{"name": "UseClientCertificate", "value": "true"}, {"name": "ClientSecret", "value": "hush"}, {"name": "WEBSITE_LOAD_USER_PROFILE", "value": "1"}, {"name": "KeyVaultUrl", "value": "`+o.Vault.URL()+`/"}]`)
			}},
		"the original, by secret": {outcome: check.Missing, lines: map[string]check.State{"UseClientCertificate": check.Wrong, "WEBSITE_LOAD_USER_PROFILE": check.Wrong, "subject": check.Wrong}, of: "UseClientCertificate", says: "signs in with ClientSecret", who: "Website Contributor",
			change: func(t *testing.T, _ world, o *check.CertificateOptions) {
				o.Original = settings(t, "ClientSecret='hush'\n# a comment\nUseClientCertificate=1\n")
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.plain(t)
			if !tt.file {
				w.mend(t)
				o = w.vaulted(t)
			}
			tt.change(t, w, &o)
			r := certificate(t, o)
			if r.Outcome != tt.outcome {
				t.Errorf("%s, want %s", r.Outcome, tt.outcome)
			}
			for name, state := range tt.lines {
				if l := line(t, r, name); l.State != state {
					t.Errorf("%s is %s, want %s", name, l.State, state)
				}
			}
			if said := fmt.Sprintf("%+v", line(t, r, tt.of).Finding); !strings.Contains(said, tt.says) || !strings.Contains(said, tt.who) {
				t.Errorf("%s: it says %s, and not %q and %q", tt.of, said, tt.says, tt.who)
			}
			for _, l := range r.Lines {
				if (l.State == check.Wrong || l.State == check.Dark) && (l.Finding == nil || l.Cause == "" || l.Remedy == "") {
					t.Errorf("a line lacks cause or remedy: %+v", l)
				}
			}
		})
	}
}

// The vault that renews by itself is a danger, of which nothing shows yet.
func TestVaultRenewsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.allow("certificates/update")
	a := w.Do(t, "PATCH", w.Origins().Vault+"/certificates/"+tenant.CertificateName+"/policy?api-version=7.4",
		strings.NewReplacer("Unknown", "Self", "EmailContacts", "AutoRenew").Replace(mended),
		"Authorization", "Bearer "+w.Token(t, "https://vault.azure.net"), "Content-Type", "application/json")
	if a.Status != 200 {
		t.Fatal(a.Text)
	}
	r := certificate(t, w.vaulted(t))
	if l := line(t, r, "renewal by the vault"); r.Outcome != check.Missing || l.State != check.Wrong || !strings.Contains(l.Seen, "at 90 % of its lifetime, by issuer Self") {
		t.Errorf("%s: %+v", r.Outcome, l)
	}
}

// credentialEnds changes what Entra ID holds, and not the certificate.
func (w world) credentialEnds(t testing.TB, end time.Time) {
	t.Helper()
	err := w.Tenant.Directory.ChangeApplication(w.Tenant.Client().ClientID, func(a *directory.Application) error {
		for i := range a.KeyCredentials {
			a.KeyCredentials[i].StartDateTime, a.KeyCredentials[i].EndDateTime = end.Add(-200*24*time.Hour), end
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// otherGraph is Graph as seen by another application.
func (w world) otherGraph(t testing.TB) *graph.Client {
	t.Helper()
	o := w.options(t, w.application(t, permission.Permission{API: permission.Graph, Name: "Application.Read.All"}), "users")
	g, err := graph.New(graph.Options{Cloud: o.Cloud, Credential: o.Credential, HTTP: o.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// original gives the client a certificate that the original takes.
func (w world) original(t testing.TB) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	p, err := pki.SelfSign(w.Tenant.Client().Key, pki.Template{Subject: pkix.Name{CommonName: tenant.CertificateName}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Tenant.Directory.AddKeyCredential(w.Tenant.Client().ClientID, p.Certificate.Raw, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Tenant.Vault.Import(tenant.CertificateName, keyvault.PKCS12, p.Certificate, p.Key); err != nil {
		t.Fatal(err)
	}
}

func TestParseOriginal(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"UseClientCertificate": true, "ClientSecret": "hush"}`, `{"IsEncrypted": false, "Values": {"UseClientCertificate": "true", "ClientSecret": "hush"}}`,
		"export UseClientCertificate=true\r\nClientSecret=\"hush\"\r\n", "\ufeff" + `[{"name":"useclientcertificate","value":"true","slotSetting":false},{"name":"ClientSecret","value":"hush"}]`,
	} {
		s := settings(t, text)
		if got := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); !strings.Contains(got, "clientsecret, useclientcertificate") {
			t.Errorf("%s: %s", text, got)
		}
		for _, got := range []string{fmt.Sprintf("%v", s), fmt.Sprintf("%#v", s)} {
			if strings.Contains(got, "hush") {
				t.Errorf("the secret is shown: %s", got)
			}
		}
	}
	for _, text := range []string{"", "  ", "{}", "[]", "[{", "{1}", "hush", "=hush"} {
		if s, err := check.ParseOriginal([]byte(text)); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v, error %v", text, s, err)
		}
	}
}
