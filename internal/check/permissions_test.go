package check_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/check"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
	"github.com/reeve365/reeve/internal/pki"
)

// world is an emulated tenant on the wall clock.
type world struct {
	*emulatortest.World
}

func newWorld(t testing.TB, change ...func(*emulator.Options)) world {
	t.Helper()
	// Six days have a working day in them, whatever the day of the test.
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 3, Days: 6, PerUser: 10, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	w := world{emulatortest.StartTenant(t, tn, change...)}
	w.SetServices(emulator.Services{})
	return w
}

func (w world) cloud(t testing.TB) m365.Cloud {
	t.Helper()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	o := w.Origins()
	cloud.AuthorityHost, cloud.Graph, cloud.Manage, cloud.Logs = o.Authority, o.Graph, o.Manage, o.Logs
	return cloud
}

func (w world) http(t testing.TB) *http.Client {
	t.Helper()
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: w.CA()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// pair is that of the tenant's own client, which all applications of the tests have.
func (w world) pair() pki.Pair {
	c := w.Tenant.Client()
	return pki.Pair{Certificate: c.Certificate, Key: c.Key}
}

// application makes one that has the permissions.
func (w world) application(t testing.TB, permissions ...permission.Permission) string {
	t.Helper()
	// Which Microsoft's has as well.
	err := w.Tenant.Directory.ChangeServicePrincipal(sharePoint.AppID, func(p *directory.ServicePrincipal) error {
		if !slices.ContainsFunc(p.AppRoles, func(r directory.AppRole) bool { return r.Value == "User.Read.All" }) {
			p.AppRoles = append(p.AppRoles, directory.AppRole{ID: uuid.NewString(), Value: "User.Read.All", IsEnabled: true, AllowedMemberTypes: []string{"Application"}})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	a := w.Tenant.Directory.NewApplication("checked")
	if _, err := w.Tenant.Directory.AddKeyCredential(a.AppID, w.pair().Certificate.Raw, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.grant(t, a.AppID, permissions...)
	return a.AppID
}

// reader is an application that may read the Log Analytics workspace: the tenant's own
// alone may, whose other permissions are taken away.
func reader(t testing.TB, permissions ...permission.Permission) (world, string) {
	t.Helper()
	w := newWorld(t)
	clientID := w.Tenant.Client().ClientID
	for _, name := range []string{"Application.Read.All", "Directory.Read.All", "User.Read.All", "Reports.Read.All"} {
		if err := w.Tenant.Directory.RevokeRole(clientID, directory.Graph, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Tenant.Directory.RevokeRole(clientID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	w.grant(t, clientID, permissions...)
	return w, clientID
}

func (w world) grant(t testing.TB, clientID string, permissions ...permission.Permission) {
	t.Helper()
	for _, p := range permissions {
		if err := w.Tenant.Directory.GrantRole(clientID, p.API.AppID, p.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func (w world) options(t testing.TB, clientID string, feeds ...string) check.PermissionOptions {
	t.Helper()
	o := check.PermissionOptions{Cloud: w.cloud(t), TenantID: w.Tenant.ID, ClientID: clientID, HTTP: w.http(t), Optional: true, Workspace: w.Tenant.WorkspaceID}
	var err error
	o.Credential, err = m365.NewCredential(o.Cloud, m365.SignIn{Method: m365.MethodCertificate, TenantID: w.Tenant.ID, ClientID: clientID, Pair: w.pair()}, o.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range feeds {
		f, err := permission.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		o.Feeds = append(o.Feeds, f)
	}
	return o
}

func permissions(t testing.TB, o check.PermissionOptions) *check.PermissionReport {
	t.Helper()
	r, err := check.Permissions(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	keepsSecrets(t, r, "/data/download/")
	return r
}

// keepsSecrets checks that neither tokens nor those texts are in a report, which is shown
// when the test has failed.
func keepsSecrets(t testing.TB, report any, secrets ...string) {
	t.Helper()
	text, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(secrets, "eyJ") {
		if strings.Contains(string(text), s) {
			t.Errorf("something secret is in the report:\n%s", text)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", text)
		}
	})
}

// row finds what was found for a permission of the first feed that has it.
func row(t testing.TB, r *check.PermissionReport, name string) check.PermissionAnswer {
	t.Helper()
	for _, f := range r.Feeds {
		for _, p := range f.Rows {
			if p.Permission == name {
				return p
			}
		}
	}
	t.Fatalf("%s is not in the report", name)
	return check.PermissionAnswer{}
}

func needs(f permission.Feed) []permission.Permission {
	var all []permission.Permission
	for _, n := range f.Needs {
		all = append(all, n.Permission)
	}
	return all
}

// With exactly the permissions of a feed its check is green; with one fewer it is red
// and names that one.
func TestEachPermissionOfEachFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, f := range permission.Feeds() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			with := func(all ...permission.Permission) check.PermissionOptions {
				if f.Name == "web" {
					w, clientID := reader(t, all...)
					return w.options(t, clientID, f.Name)
				}
				return w.options(t, w.application(t, all...), f.Name)
			}
			r := permissions(t, with(needs(f)...))
			if r.Outcome != check.Green || len(r.Missing)+len(r.Unseen)+len(r.Excess) > 0 {
				t.Errorf("with all: %s, missing %v, unseen %v, excess %v", r.Outcome, r.Missing, r.Unseen, r.Excess)
			}
			for i, without := range needs(f) {
				o := with(slices.Delete(needs(f), i, i+1)...)
				r := permissions(t, o)
				if r.Outcome != check.Missing || !slices.Equal(r.Missing, []string{without.String()}) {
					t.Errorf("without %v: %s, missing %v", without, r.Outcome, r.Missing)
				}
				got := row(t, r, without.String())
				if len(got.Findings) == 0 || !strings.Contains(got.Findings[0].Cause, without.Name) || got.Findings[0].Remedy == "" || got.Findings[0].Who == "" {
					t.Errorf("without %v: %+v", without, got.Findings)
				}
				// The same, for somebody who can do without: red only if the feed cannot.
				o.Optional = false
				r = permissions(t, o)
				if red := r.Outcome == check.Missing; red == f.Needs[i].Optional {
					t.Errorf("without %v, which is optional: %v: %s", without, f.Needs[i].Optional, r.Outcome)
				}
				want := check.Wrong
				if f.Needs[i].Optional {
					want = check.OptionalMissing
				}
				if got := row(t, r, without.String()); got.State != want {
					t.Errorf("without %v, which is optional: %v, it says %q, want %q", without, f.Needs[i].Optional, got.State, want)
				}
			}
		})
	}
}

// Every need of every feed is tried by a call.
func TestEveryNeedIsTried(t *testing.T) {
	t.Parallel()
	var all []permission.Permission
	for _, f := range permission.Feeds() {
		all = append(all, needs(f)...)
	}
	w, clientID := reader(t, all...)
	r := permissions(t, w.options(t, clientID, permission.Names()...))
	if len(r.Missing) > 0 || r.GrantsSeen != check.Yes {
		t.Errorf("missing %v, grants seen: %s", r.Missing, r.GrantsSeen)
	}
	for _, f := range r.Feeds {
		for _, p := range f.Rows {
			tried := p.Works == check.Yes && p.InToken == check.Yes && p.Granted == check.Yes && (p.State == check.OK || p.State == check.Note)
			if !tried {
				t.Errorf("%s: %+v", f.Name, p)
			}
		}
	}
}

func named(t testing.TB, api permission.API, name string) permission.Permission {
	t.Helper()
	return permission.Permission{API: api, Name: name}
}

// What stands against a feed is told with its cause, and what to do, and who can.
func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		feed    string
		change  func(t *testing.T, w world, clientID string, o *check.PermissionOptions)
		granted []permission.Permission // in place of the needs
		outcome check.Outcome
		state   check.State
		of      string
		says    string // in the causes and remedies of the row
		who     string
	}{
		"names concealed, by the setting": {feed: "usage", outcome: check.Green, state: check.Note, of: "graph/Reports.Read.All", says: "the tenant's setting says so", who: "Global Administrator",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.SetServices(emulator.Services{ConcealNames: true})
			}},
		"names concealed, as they look": {feed: "usage", outcome: check.Missing, state: check.Note, of: "graph/Reports.Read.All", says: "identifiers of 32 digits",
			granted: []permission.Permission{{API: permission.Graph, Name: "Reports.Read.All"}},
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.SetServices(emulator.Services{ConcealNames: true})
			}},
		"nothing in the report": {feed: "usage", outcome: check.Missing, state: check.Empty, of: "graph/Reports.Read.All", says: "nobody has a licence",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.SetServices(emulator.Services{Empty: true})
			}},
		"nothing, which is allowed": {feed: "usage", outcome: check.Green, state: check.Empty, of: "graph/Reports.Read.All",
			change: func(_ *testing.T, w world, _ string, o *check.PermissionOptions) {
				w.SetServices(emulator.Services{Empty: true})
				o.AllowEmpty = true
			}},
		"no licence for Teams": {feed: "teams", outcome: check.Missing, state: check.Wrong, of: "graph/Team.ReadBasic.All", says: "is not licensed for the service", who: "License Administrator",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.SetServices(emulator.Services{Unlicensed: true})
			}},
		"no licences at all": {feed: "licences", outcome: check.Missing, state: check.Empty, of: "graph/LicenseAssignment.Read.All", says: "the tenant has no licences",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.SetServices(emulator.Services{Unlicensed: true})
			}},
		"no calls": {feed: "calls", outcome: check.Missing, state: check.Empty, of: "graph/CallRecords.Read.All", says: "nobody has called",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.SetServices(emulator.Services{Empty: true})
			}},
		"the audit log is off": {feed: "audit", outcome: check.Missing, state: check.Wrong, of: "manage/ActivityFeed.Read", says: "Audit logging is switched off", who: "Audit Logs",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) { w.Tenant.Audit.Record(false) }},
		"a broader permission": {feed: "users", outcome: check.Green, state: check.Note, of: "graph/User.Read.All", says: "Directory.Read.All stands in for User.Read.All",
			granted: []permission.Permission{{API: permission.Graph, Name: "Directory.Read.All"}}},
		"a broader permission that is not listed": {feed: "users", outcome: check.Green, state: check.Note, of: "graph/User.Read.All", says: "(User.ReadWrite.All)",
			granted: []permission.Permission{{API: permission.Graph, Name: "User.ReadWrite.All"}}},
		"the permission of another API": {feed: "users", outcome: check.Missing, state: check.Wrong, of: "graph/User.Read.All", says: "of another API (Office 365 SharePoint Online)",
			granted: []permission.Permission{{API: permission.Graph, Name: "Application.Read.All"}, {API: sharePoint, Name: "User.Read.All"}}},
		"too many requests": {feed: "users", outcome: check.Unseen, state: check.Dark, of: "graph/User.Read.All", says: "busy",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.Inject(emulator.Fault{API: "graph", Operation: "users", Kind: "throttle", RetryAfter: time.Minute})
			}},
		"the service fails": {feed: "audit", outcome: check.Unseen, state: check.Dark, of: "manage/ActivityFeed.Read", says: "503",
			change: func(_ *testing.T, w world, _ string, _ *check.PermissionOptions) {
				w.Inject(emulator.Fault{API: "manage", Kind: "unavailable"})
			}},
		"Conditional Access": {feed: "users", outcome: check.SignInFailed, state: check.Wrong, of: "graph/User.Read.All", says: "AADSTS53003", who: "Conditional Access",
			change: func(t *testing.T, w world, clientID string, _ *check.PermissionOptions) {
				a := w.Do(t, http.MethodPut, w.Origins().Control+"/applications/"+clientID+"/blocked", `{"blocked": true}`,
					"Authorization", "Bearer "+w.Control(), "Content-Type", "application/json")
				if a.Status/100 != 2 {
					t.Fatal(a)
				}
			}},
		"no workspace": {feed: "web", outcome: check.Unseen, state: check.Dark, of: "logs/Data.Read", says: "--workspace",
			change: func(_ *testing.T, _ world, _ string, o *check.PermissionOptions) { o.Workspace = "" }},
		"taken back a moment ago": {feed: "credentials", outcome: check.Unseen, state: check.Dark, of: "graph/Application.ReadWrite.OwnedBy", says: "was taken back within the last minutes",
			change: func(t *testing.T, w world, clientID string, o *check.PermissionOptions) {
				if _, err := m365.Token(t.Context(), o.Credential, o.Cloud.GraphAudience); err != nil {
					t.Fatal(err)
				}
				if err := w.Tenant.Directory.RevokeRole(clientID, directory.Graph, "Application.ReadWrite.OwnedBy"); err != nil {
					t.Fatal(err)
				}
			}},
		"consented after the token": {feed: "usage", outcome: check.Missing, state: check.Wrong, of: "graph/ReportSettings.Read.All", says: "not in tokens yet",
			granted: []permission.Permission{{API: permission.Graph, Name: "Reports.Read.All"}, {API: permission.Graph, Name: "Application.Read.All"}},
			change: func(t *testing.T, w world, clientID string, o *check.PermissionOptions) {
				w.SetDelays(origin.Delays{Roles: origin.Range{Least: 3 * time.Minute, Most: 3 * time.Minute}})
				w.grant(t, clientID, named(t, permission.Graph, "ReportSettings.Read.All"))
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f, err := permission.Lookup(tt.feed)
			if err != nil {
				t.Fatal(err)
			}
			granted := tt.granted
			if granted == nil {
				granted = needs(f)
			}
			clientID := w.application(t, granted...)
			w.Tenant.Directory.Settle()
			o := w.options(t, clientID, tt.feed)
			if tt.change != nil {
				tt.change(t, w, clientID, &o)
			}
			r := permissions(t, o)
			got := row(t, r, tt.of)
			if r.Outcome != tt.outcome || got.State != tt.state {
				t.Errorf("%s, %s; want %s, %s", r.Outcome, got.State, tt.outcome, tt.state)
			}
			said := fmt.Sprintf("%+v", got.Findings)
			if !strings.Contains(said, tt.says) || !strings.Contains(said, tt.who) {
				t.Errorf("it says %s, and not %q and %q", said, tt.says, tt.who)
			}
			for _, f := range got.Findings {
				if f.Cause == "" || f.Remedy == "" {
					t.Errorf("a finding lacks something: %+v", f)
				}
			}
		})
	}
}

var sharePoint = permission.API{Key: "sharepoint", Name: "Office 365 SharePoint Online", AppID: "00000003-0000-0ff1-ce00-000000000000"}

// What nobody needs is named, by the grants or as far as tokens tell.
func TestExcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	granted := []permission.Permission{
		named(t, permission.Manage, "ActivityFeed.Read"), named(t, permission.Graph, "Application.ReadWrite.All"), named(t, permission.Graph, "Directory.Read.All"),
		named(t, permission.Graph, "User.Read.All"), named(t, sharePoint, "Sites.FullControl.All"),
	}
	r := permissions(t, w.options(t, w.application(t, granted...), "audit", "users"))
	got := fmt.Sprint(r.Excess)
	if r.Outcome != check.Green || len(r.Excess) != 3 || !strings.Contains(got, "lets the application change things") || !strings.Contains(got, "Sites.FullControl.All") {
		t.Errorf("%s: %v", r.Outcome, r.Excess)
	}
	r = permissions(t, w.options(t, w.application(t, granted[0], granted[3], named(t, permission.Graph, "Reports.Read.All")), "audit", "users"))
	if r.GrantsSeen != check.Unknown || len(r.Excess) != 1 || r.Excess[0].Permission != "graph/Reports.Read.All" || len(r.Notes) != 1 {
		t.Errorf("grants seen: %s, %v, %v", r.GrantsSeen, r.Excess, r.Notes)
	}
	r = permissions(t, w.options(t, w.application(t, granted[0], named(t, permission.Graph, "Application.Read.All")), "audit"))
	if len(r.Excess) != 1 || !strings.Contains(r.Excess[0].Why, "reeve finds its own application") || strings.Contains(r.Excess[0].Why, "none of the feeds") {
		t.Errorf("what reeve uses beside the feeds: %v", r.Excess)
	}
}

// A secret signs in, and what that means elsewhere is told.
func TestBySecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clientID := w.application(t, named(t, permission.Graph, "User.Read.All"))
	if _, err := w.Tenant.Directory.AddPassword(clientID, "a-secret-of-the-test", time.Now().Add(-time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	o := w.options(t, clientID, "users")
	var err error
	o.Credential, err = m365.NewCredential(o.Cloud, m365.SignIn{Method: m365.MethodSecret, TenantID: w.Tenant.ID, ClientID: clientID, Secret: "a-secret-of-the-test"}, o.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	r := permissions(t, o)
	if r.Outcome != check.Green || !strings.Contains(fmt.Sprint(r.Notes), "Unsupported app only token") {
		t.Errorf("%s: %v", r.Outcome, r.Notes)
	}
}

// While permissions spread through the directory no check is green too early, and in
// the end it is.
func TestWhilePermissionsSpread(t *testing.T) {
	t.Parallel()
	clock := emulatortest.NewClock(time.Now())
	w := world{emulatortest.Start(t, clock.Now, func(o *emulator.Options) { o.Delays = &origin.UsualDelays })}
	w.SetServices(emulator.Services{})
	f, err := permission.Lookup("calls")
	if err != nil {
		t.Fatal(err)
	}
	clientID := w.application(t, named(t, permission.Graph, "Application.Read.All"))
	clock.Add(11 * time.Minute)
	w.grant(t, clientID, needs(f)...)
	for range 40 {
		o := w.options(t, clientID, "calls")
		o.Now = clock.Now
		r := permissions(t, o)
		for _, p := range r.Feeds[0].Rows {
			if (p.State == check.OK || p.State == check.Note) && (p.Works != check.Yes || p.InToken != check.Yes) {
				t.Errorf("green too early: %+v", p)
			}
		}
		if r.Outcome == check.Green {
			return
		}
		clock.Add(15 * time.Second)
	}
	t.Error("it is never green")
}

// While a permission that was taken away goes out of the directory, what one token was
// allowed is not taken for another one's: it is green only as long as no token has shown
// that it is gone.
func TestWhilePermissionsGo(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		clock := emulatortest.NewClock(time.Now())
		w := world{emulatortest.Start(t, clock.Now, func(o *emulator.Options) { o.Delays, o.Seed = &origin.UsualDelays, seed })}
		w.SetServices(emulator.Services{})
		f, err := permission.Lookup("dlp")
		if err != nil {
			t.Fatal(err)
		}
		clientID := w.application(t, needs(f)...)
		clock.Add(11 * time.Minute)
		if err := w.Tenant.Directory.RevokeRole(clientID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
			t.Fatal(err)
		}
		var outcomes []check.Outcome
		for range 20 {
			o := w.options(t, clientID, "dlp")
			o.Now = clock.Now
			r := permissions(t, o)
			outcomes = append(outcomes, r.Outcome)
			for _, p := range r.Feeds[0].Rows {
				if (p.State == check.OK || p.State == check.Note) && p.InToken != check.Yes {
					t.Errorf("seed %d: green by an inference: %+v", seed, p)
				}
			}
			clock.Add(10 * time.Second)
		}
		if last := outcomes[len(outcomes)-1]; last != check.Missing || !slices.Contains(outcomes, check.Unseen) {
			t.Errorf("seed %d: %v", seed, outcomes)
		}
	}
}

// One token that carries a permission, of a front end that has not heard yet that it was
// taken away, makes no check green when another one lacks it.
func TestTokensThatDisagree(t *testing.T) {
	t.Parallel()
	for after := range 6 {
		clock := emulatortest.NewClock(time.Now())
		w := world{emulatortest.Start(t, clock.Now)}
		w.SetServices(emulator.Services{})
		clientID := w.application(t, named(t, permission.Manage, "ActivityFeed.Read"))
		clock.Add(11 * time.Minute)
		if err := w.Tenant.Directory.RevokeRole(clientID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
			t.Fatal(err)
		}
		clock.Add(time.Second)
		w.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: "stale-read", After: after, Times: 1, Delay: time.Minute})
		o := w.options(t, clientID, "audit")
		o.Now = clock.Now
		r := permissions(t, o)
		got := row(t, r, "manage/ActivityFeed.Read")
		if r.Outcome != check.Unseen && r.Outcome != check.Missing || got.InToken == check.Yes {
			t.Errorf("token %d is the odd one: %s, %+v", after, r.Outcome, got)
		}
		if r.Outcome == check.Unseen && (len(r.Unseen) != 1 || !strings.Contains(fmt.Sprint(got.Findings), "cannot be told apart yet")) {
			t.Errorf("token %d is the odd one: %v, %v", after, r.Unseen, got.Findings)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, w.Tenant.Client().ClientID, "users")
	o.Feeds = nil
	if _, err := check.Permissions(t.Context(), o); err == nil || !strings.Contains(err.Error(), "audit, dlp") {
		t.Errorf("no feed: %v", err)
	}
	o = w.options(t, w.Tenant.Client().ClientID, "users")
	o.TenantID = w.Tenant.Domain
	if _, err := check.Permissions(t.Context(), o); err == nil || !strings.Contains(err.Error(), "GUID") {
		t.Errorf("a domain: %v", err)
	}
}
