package registration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
)

// world is an emulated tenant without reeve, on a clock that moves when somebody waits.
type world struct {
	*emulatortest.World
	t     testing.TB
	clock *emulatortest.Clock
	cloud m365.Cloud
	file  string // of the record
	said  []string
	// events are what the journal would be told.
	events []Event
	http   *http.Client // of the last setup
	// see is told of each request to Graph; it may change what becomes of it.
	see func(*http.Request, func() (*http.Response, error)) (*http.Response, error)
}

var begin = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

const (
	admin   = "admin" // at the tenant's domain: a Global Administrator
	another = "pat"   // who holds no role
)

func newWorld(t testing.TB, change ...func(*emulator.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: emulatortest.NewClock(begin), file: filepath.Join(t.TempDir(), "record.json")}
	w.World = emulatortest.Start(t, w.clock.Now, change...)
	var err error
	if w.cloud, err = m365.LookupCloud(m365.Custom); err != nil {
		t.Fatal(err)
	}
	w.cloud.AuthorityHost, w.cloud.Graph, w.cloud.Resources = w.Origins().Authority, w.Origins().Graph, w.Origins().Resources
	client := w.Tenant.Client().ClientID
	if err := w.Tenant.Directory.Update(func(u *directory.Update) error {
		app, _ := u.ApplicationByAppID(client)
		p, _ := u.ServicePrincipalByAppID(client)
		u.RemoveApplication(app.ID)
		u.RemoveServicePrincipal(p.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.Tenant.Directory.Settle()
	return w
}

// unkind is a tenant with all its oddities.
func unkind(o *emulator.Options) { o.Calm = false }

// address is a person's.
func (w *world) address(login string) string {
	for _, u := range w.Tenant.Directory.View(0).Users() {
		if strings.HasPrefix(u.UserPrincipalName, login+"@") {
			return u.UserPrincipalName
		}
	}
	w.t.Fatalf("nobody is called %s", login)
	return ""
}

// person signs a person in by device code, and returns the token.
func (w *world) person(login string, permissions ...string) string {
	w.t.Helper()
	var scopes []string
	for _, p := range permissions {
		scopes = append(scopes, "https://graph.microsoft.com/"+p)
	}
	return w.signIn(login, directory.GraphCommandLine, strings.Join(scopes, " "))
}

// azure signs a person in to Azure, and returns the token.
func (w *world) azure(login string) string {
	w.t.Helper()
	return w.signIn(login, directory.AzureCLI, w.cloud.ResourcesAudience+"/user_impersonation")
}

func (w *world) signIn(login, client, scope string) string {
	w.t.Helper()
	form := url.Values{"client_id": {client}, "scope": {scope}}
	post := func(path string, form url.Values) emulatortest.Answer {
		for range 20 {
			if a := w.PostForm(w.t, "/"+w.Tenant.ID+path, form); a.Status < 500 {
				return a
			}
		}
		w.t.Fatal("the token service does not answer")
		return emulatortest.Answer{}
	}
	code := post("/oauth2/v2.0/devicecode", form)
	user, _ := code.Body["user_code"].(string)
	device, _ := code.Body["device_code"].(string)
	w.approve(user, w.address(login))
	a := post("/oauth2/v2.0/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
		"client_id": {client}, "device_code": {device}})
	token, ok := a.Body["access_token"].(string)
	if !ok {
		w.t.Fatalf("%d %s", a.Status, a.Text)
	}
	return token
}

// approve does what a person does at the page of the device code.
func (w *world) approve(code, user string) {
	w.t.Helper()
	page := w.Origins().Authority + "/common/oauth2/deviceauth"
	for range 20 {
		a := w.Do(w.t, http.MethodPost, page, url.Values{"user_code": {code}, "user": {user}, "decision": {"consent"}}.Encode(),
			"Content-Type", "application/x-www-form-urlencoded")
		if a.Status < 400 {
			return
		}
	}
	w.t.Fatalf("the device code could not be approved")
}

type token string

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// wanted is what an administrator would want.
func (w *world) wanted(feeds ...string) Wanted {
	w.t.Helper()
	var chosen []permission.Feed
	for _, name := range feeds {
		f, err := permission.Lookup(name)
		if err != nil {
			w.t.Fatal(err)
		}
		chosen = append(chosen, f)
	}
	return Wanted{TenantID: w.Tenant.ID, Name: "reeve", Feeds: feeds, Uses: permission.Uses(chosen, false)}
}

// setup makes a Setup as at a start of the program: it knows what was kept.
func (w *world) setup(token_ string, wanted Wanted) *Setup {
	w.t.Helper()
	client, err := m365.NewHTTPClient(m365.NetworkOptions{CA: w.CA()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.CloseIdleConnections)
	client.Transport = seen{w, client.Transport}
	w.http = client
	g, err := graph.New(graph.Options{Cloud: w.cloud, Credential: token(token_), HTTP: client,
		Retry: m365.Retry{Max: 5, Delay: time.Microsecond, MaxDelay: 2 * time.Second}})
	if err != nil {
		w.t.Fatal(err)
	}
	s := &Setup{Graph: g, Cloud: w.cloud, Wanted: wanted, Caller: ReadCaller(token_), Now: w.clock.Now,
		Say: func(text string) { w.said = append(w.said, text) },
		Save: func(_ context.Context, r Record, events ...Event) error {
			w.events = append(w.events, events...)
			return w.save(r)
		},
		Sleep: func(ctx context.Context, d time.Duration) error {
			w.clock.Add(d)
			return ctx.Err()
		}}
	data, err := os.ReadFile(w.file)
	if err == nil {
		if s.Record, err = ReadRecord(data); err != nil {
			w.t.Fatal(err)
		}
	}
	return s
}

func (w *world) save(r Record) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(w.file, data, 0o600)
}

type seen struct {
	w *world
	http.RoundTripper
}

func (s seen) RoundTrip(r *http.Request) (*http.Response, error) {
	go_ := func() (*http.Response, error) { return s.RoundTripper.RoundTrip(r) }
	if s.w.see == nil {
		return go_()
	}
	return s.w.see(r, go_)
}

// run plans and carries out.
func (s *Setup) run(ctx context.Context) error {
	p, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	if err := s.CarryOut(ctx, p); err != nil {
		return err
	}
	return s.Confirm(ctx)
}

// state is what the tenant has of the wanted application, without lag.
type state struct {
	applications, principals int
	grants, declared, owners []string
	roles                    []string
}

func (w *world) state(wanted Wanted) state {
	v := w.Tenant.Directory.View(0)
	var s state
	for _, a := range v.Applications() {
		if a.DisplayName != wanted.Name && !(wanted.ClientID != "" && a.AppID == wanted.ClientID) {
			continue
		}
		s.applications++
		s.owners = append(s.owners, a.Owners...)
		for _, r := range a.RequiredResourceAccess {
			for _, x := range r.Access {
				s.declared = append(s.declared, r.ResourceAppID+"/"+x.ID)
			}
		}
		for _, p := range v.ServicePrincipals() {
			if p.AppID != a.AppID {
				continue
			}
			s.principals++
			s.roles = append(s.roles, v.DirectoryRoles(p.ID)...)
			for _, g := range v.AppRoleAssignmentsOf(p.ID) {
				api, _ := v.ServicePrincipal(g.ResourceID)
				s.grants = append(s.grants, api.AppID+"/"+g.AppRoleID)
			}
		}
	}
	slices.Sort(s.grants)
	slices.Sort(s.declared)
	return s
}

// permissions are the wanted ones as state shows them.
func (x Wanted) permissions() []string {
	var all []string
	for _, u := range x.Uses {
		all = append(all, u.API.AppID+"/"+u.ID)
	}
	slices.Sort(all)
	return all
}

// mustBe looks that the tenant has exactly what was wanted.
func (w *world) mustBe(wanted Wanted) {
	w.t.Helper()
	s := w.state(wanted)
	if s.applications != 1 || s.principals != 1 {
		w.t.Errorf("there are %d applications and %d service principals, want one of each", s.applications, s.principals)
	}
	if !slices.Equal(s.grants, wanted.permissions()) {
		w.t.Errorf("granted %v, want %v", s.grants, wanted.permissions())
	}
	if !slices.Equal(s.declared, wanted.permissions()) {
		w.t.Errorf("declared %v, want %v", s.declared, wanted.permissions())
	}
}

var errKilled = errors.New("killed")

// killer ends a run at its n-th request to Graph: before it is sent, when it was done, or
// it only loses the answer.
func (w *world) killer(ctx context.Context, n int, how string) (context.Context, *int) {
	ctx, cancel := context.WithCancelCause(ctx)
	count := new(int)
	w.see = func(_ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if *count++; *count != n {
			return send()
		}
		if how != "before" {
			if resp, err := send(); err == nil {
				resp.Body.Close()
			}
		}
		if how != "lost" {
			cancel(errKilled)
			return nil, errKilled
		}
		return nil, fmt.Errorf("the connection was reset")
	}
	return ctx, count
}
