package registration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
)

// People may call the application something else: it stays the one that it is.
func TestRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	s := w.setup(tok, w.wanted("audit"))
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Tenant.Directory.ChangeApplication(s.Record.ClientID, func(a *directory.Application) error {
		a.DisplayName = "Importer"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wanted := s.Wanted
		wanted.Name = s.Record.Name // as reeve app setup takes it from the record
		s = w.setup(tok, wanted)
		p, err := s.Plan(t.Context())
		if err != nil || !p.Settled() || len(p.Refusals) > 0 {
			t.Fatalf("%v, settled %v, %v", err, p.Settled(), p.Refusals)
		}
		if err := s.CarryOut(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := s.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.Tenant.Directory.View(0).Applications()); n != 1 {
		t.Errorf("there are %d applications", n)
	}
}

// killAtGrant ends a run when the n-th permission was granted, before the answer comes.
func (w *world) killAtGrant(ctx context.Context, n int) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/appRoleAssignments") {
			if n--; n == 0 {
				resp.Body.Close()
				cancel(errKilled)
				return nil, errKilled
			}
		}
		return resp, err
	}
	return ctx
}

// A consent whose answer was lost is taken back when the feed is not wanted any more, even
// if none that is wanted uses its API; and it is taken away from an application that was
// there.
func TestLostConsent(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{true, false} {
		w := newWorld(t)
		tok := w.person(admin, Permissions(false)...)
		wanted := w.wanted("audit", "users")
		app := w.Tenant.Directory.NewApplication("worker")
		wanted.ClientID = app.AppID
		before := w.state(wanted)
		if err := w.setup(tok, wanted).run(w.killAtGrant(t.Context(), 2)); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		w.see = nil
		if n := len(w.state(wanted).grants); n != 2 {
			t.Fatalf("%d permissions are granted", n)
		}
		less := w.wanted("audit")
		less.ClientID = app.AppID
		s := w.setup(tok, less)
		if again {
			if err := s.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := w.state(less).grants; !slices.Equal(got, less.permissions()) {
				t.Errorf("granted %v, want %v", got, less.permissions())
			}
			s = w.setup(tok, less)
		}
		r, err := s.PlanRemoval(t.Context())
		if err == nil {
			err = s.Remove(t.Context(), r)
		}
		if after := w.state(wanted); err != nil || len(after.grants) != len(before.grants) || len(after.declared) != len(before.declared) {
			t.Errorf("again %v: afterwards it has %+v, %v", again, after, err)
		}
	}
}

// What somebody else grants between the plan and its carrying out is theirs, and is not
// taken away with what reeve made.
func TestAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	app := w.Tenant.Directory.NewApplication("worker")
	wanted := w.wanted("audit", "users")
	wanted.ClientID = app.AppID
	u, _ := w.Tenant.Directory.View(0).User(w.address(another))
	wanted.Owner = graph.Somebody{ObjectID: u.ID, Name: u.DisplayName}
	s := w.setup(tok, wanted)
	p, err := s.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Tenant.Directory.GrantRole(app.AppID, directory.Graph, "User.Read.All"); err != nil {
		t.Fatal(err)
	}
	if err := w.Tenant.Directory.ChangeApplication(app.AppID, func(a *directory.Application) error {
		a.Owners = append(a.Owners, u.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.CarryOut(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(w.events, func(e Event) bool {
		return e.Outcome == "seen" && e.Text == "grant graph/User.Read.All: somebody else did it at the same time"
	}) {
		t.Errorf("events: %v", w.events)
	}
	s = w.setup(tok, wanted)
	r, err := s.PlanRemoval(t.Context())
	if err == nil {
		err = s.Remove(t.Context(), r)
	}
	if st := w.state(wanted); err != nil || len(st.grants) != 1 || !slices.Equal(st.owners, []string{u.ID}) {
		t.Errorf("afterwards it has %+v, %v", st, err)
	}
}

// Of two that make the same application at once, with a database each, one is told that it
// is the other's, and takes nothing away.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	one := w.setup(tok, w.wanted("audit"))
	p, err := one.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mine := w.file
	w.file = filepath.Join(t.TempDir(), "other.json")
	other := w.setup(tok, w.wanted("audit"))
	if err := other.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.file = mine
	if err := one.CarryOut(t.Context(), p); !errors.Is(err, ErrTaken) {
		t.Fatal(err)
	}
	if one = w.setup(tok, w.wanted("audit")); one.Record.OwnApplication() {
		t.Errorf("it is taken for its own: %+v", one.Record)
	}
	if err := one.run(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("again: %v", err)
	}
	w.mustBe(other.Wanted)
}

// A Privileged Role Administrator may consent to the permissions of each API.
func TestPrivilegedRoleAdministrator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup(w.person(admin, Permissions(false)...), w.wanted("audit", "users"))
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for api, name := range map[string]string{directory.ManagementAPIs: "ActivityFeed.Read", directory.Graph: "User.Read.All"} {
		if err := w.Tenant.Directory.RevokeRole(s.Record.ClientID, api, name); err != nil {
			t.Fatal(err)
		}
	}
	give(w, another, directory.PrivilegedRoleAdministrator)
	s = w.setup(w.person(another, Permissions(false)...), s.Wanted)
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBe(s.Wanted)
}

// The least that may consent is the same wherever it is said.
func TestConsenters(t *testing.T) {
	t.Parallel()
	for _, api := range permission.APIs() {
		who := Step{Kind: Granted, api: api.AppID}.needs().who
		for _, role := range api.Consenters() {
			if !strings.Contains(who, role) {
				t.Errorf("%s: %q lacks %s", api.Name, who, role)
			}
		}
	}
}

// What reeve gave and what is chosen now does not need is named, with how to take it away.
func TestLeft(t *testing.T) {
	t.Parallel()
	for _, rbac := range []bool{false, true} {
		w := newVaultWorld(t, rbac)
		tok, azure := w.person(admin, Permissions(true)...), w.azure(admin)
		s := w.mustInVault(w.setup(tok, w.wanted("audit")), azure, VaultUse{Publish: true, Keys: true})
		s.Wanted.Role = graph.DirectoryRole{ID: directory.ReportsReader, Name: "Reports Reader"}
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		notes := func(s *Setup) string {
			p, err := s.Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(p.Notes, "\n")
		}
		if all := notes(s); all != "" {
			t.Errorf("nothing is left, and it says %s", all)
		}
		less := w.mustInVault(w.setup(tok, w.wanted("audit")), azure, VaultUse{Publish: true})
		none := w.setup(tok, w.wanted("audit"))
		want := []string{"keys/get, keys/list, keys/create, keys/sign, keys/delete, keys/recover at ", "the vault > Access policies"}
		if rbac {
			want = []string{"Key Vault Crypto Officer at ", "az role assignment delete --ids /subscriptions/"}
		}
		for _, says := range append(want, "the directory role Reports Reader", "'reeve app remove'") {
			for what, s := range map[string]*Setup{"less": less, "none": none} {
				want := says
				if what == "none" && strings.HasPrefix(says, "keys/") {
					want = "certificates/get, secrets/get, "
				}
				if all := notes(s); !strings.Contains(all, want) {
					t.Errorf("%s: nothing says %q: %s", what, want, all)
				}
			}
		}
		if all := notes(less); strings.Contains(all, "certificates/") || strings.Contains(all, "Certificates Officer") {
			t.Errorf("what is needed is told as left: %s", all)
		}
	}
}

// The journal is told what is about to be done and what was done, and no person's name.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	s := w.setup(tok, w.wanted("audit"))
	me, err := s.Graph.Me(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Wanted.Owner = me
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.PlanRemoval(t.Context())
	if err == nil {
		err = s.Remove(t.Context(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{"intent", "create the application reeve: it is what signs in"}, {"done", "create the application reeve"},
		{"intent", "grant manage/ActivityFeed.Read: to read the audit log of Exchange, SharePoint, Entra ID, Teams and the other services (audit)"},
		{"done", "grant manage/ActivityFeed.Read"}, {"intent", "make " + me.ObjectID + " an owner: an owner can register certificates without a directory role, and mend it when all have expired"},
	}
	for _, e := range want {
		if !slices.Contains(w.events, e) {
			t.Errorf("nothing says %v", e)
		}
	}
	for i, e := range w.events {
		if strings.Contains(e.Text, me.Address) || strings.Contains(e.Text, me.Name) {
			t.Errorf("event %d names a person: %v", i, e)
		}
	}
	if last := w.events[len(w.events)-1]; last.Outcome != "done" || !strings.HasPrefix(last.Text, "take away the application reeve") {
		t.Errorf("the last is %v", last)
	}
}

// What Entra ID refuses was not made, is not kept as made, and is told; the remedy names
// who can do it.
func TestRefusedIsNotMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	app := w.Tenant.Directory.NewApplication("worker")
	wanted := w.wanted("audit", "users")
	wanted.ClientID, wanted.AnyRole = app.AppID, true
	give(w, another, directory.ApplicationAdministrator)
	pat := w.person(another, Permissions(false)...)
	s := w.setup(pat, wanted)
	if err := s.run(t.Context()); !errors.Is(err, ErrRole) {
		t.Fatal(err)
	}
	if s = w.setup(pat, wanted); s.Record.find(Granted, "graph/User.Read.All") != nil {
		t.Errorf("the record has what was refused: %+v", s.Record.Made)
	}
	if e := w.events[len(w.events)-1]; e.Outcome != "failed" || !strings.Contains(e.Text, "grant graph/User.Read.All: ") {
		t.Errorf("the last event is %v", e)
	}
	// Somebody else grants it, and it stays theirs.
	if err := w.Tenant.Directory.GrantRole(app.AppID, directory.Graph, "User.Read.All"); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = w.setup(tok, wanted)
	r, err := s.PlanRemoval(t.Context())
	if err == nil {
		err = s.Remove(t.Context(), r)
	}
	if st := w.state(wanted); err != nil || len(st.grants) != 1 {
		t.Errorf("afterwards it has %+v, %v", st, err)
	}
}

// Who may not take an application away is told who may.
func TestRemovalForbidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup(w.person(admin, Permissions(false)...), w.wanted("audit"))
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = w.setup(w.person(another, Permissions(false)...), s.Wanted)
	r, err := s.PlanRemoval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var refused *Refusal
	if err := s.Remove(t.Context(), r); !errors.As(err, &refused) || !strings.Contains(refused.Who, "Application Administrator") {
		t.Errorf("%v: %+v", err, refused)
	}
	w.mustBe(s.Wanted)
}

// A declaration that is refused, or killed before it is sent, does not make what reeve had
// declared before somebody else's: the next run takes that away.
func TestDeclarationInterrupted(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"refused", "killed"} {
		w := newWorld(t)
		tok := w.person(admin, Permissions(false)...)
		app := w.Tenant.Directory.NewApplication("worker")
		wanted := w.wanted("audit", "users")
		wanted.ClientID = app.AppID
		if err := w.setup(tok, wanted).run(t.Context()); err != nil {
			t.Fatal(err)
		}
		less := w.wanted("audit")
		less.ClientID = app.AppID
		ctx, cancel := context.WithCancelCause(t.Context())
		w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			switch {
			case r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/applications/"):
				return send()
			case how == "refused":
				return answer(r, http.StatusForbidden, `{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges to complete the operation."}}`), nil
			}
			cancel(errKilled)
			return nil, errKilled
		}
		if err := w.setup(tok, less).run(ctx); err == nil {
			t.Fatalf("%s: nothing was", how)
		}
		w.see = nil
		s := w.setup(tok, less)
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mustBe(less)
		if m := w.setup(tok, less).Record.find(Required, ""); !m.Done || !slices.Equal(m.Required, less.permissions()) {
			t.Errorf("%s: the record has %+v", how, m)
		}
	}
}

// Killed before its request for the application, while a reeve with another database makes
// one of the same name: that is not taken, and not removed.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	wanted := w.wanted("audit")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if r.Method == http.MethodPatch {
			cancel(errKilled)
			return nil, errKilled
		}
		return send()
	}
	if err := w.setup(tok, wanted).run(ctx); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.see = nil
	ours := w.file
	w.file = filepath.Join(t.TempDir(), "other.json")
	if err := w.setup(tok, wanted).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.file = ours
	s := w.setup(tok, wanted)
	if s.Record.find(Application, "") == nil {
		t.Fatal("the record does not have what was about to be made")
	}
	if err := s.run(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("again: %v", err)
	}
	s = w.setup(tok, wanted)
	s.Now = func() time.Time { return w.clock.Now() }
	r, err := s.PlanRemoval(t.Context())
	if err == nil && len(r.Steps) == 0 && len(r.Stays) > 0 {
		err = s.Remove(t.Context(), r)
	}
	if st := w.state(wanted); err != nil || st.applications != 1 || len(r.Steps) > 0 {
		t.Errorf("it plans %+v; afterwards %d applications, %v", r.Steps, st.applications, err)
	}
}

// A service principal whose ID was not kept any more is taken away all the same.
func TestLostPrincipal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	app := w.Tenant.Directory.NewApplication("worker")
	if err := w.Tenant.Directory.Update(func(u *directory.Update) error {
		p, _ := u.ServicePrincipalByAppID(app.AppID)
		u.RemoveServicePrincipal(p.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.Tenant.Directory.Settle()
	wanted := w.wanted("audit")
	wanted.ClientID = app.AppID
	ctx, cancel := context.WithCancelCause(t.Context())
	w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/servicePrincipals") {
			resp.Body.Close()
			cancel(errKilled)
			return nil, errKilled
		}
		return resp, err
	}
	if err := w.setup(tok, wanted).run(ctx); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w.see = nil
	if n := w.state(wanted).principals; n != 1 {
		t.Fatalf("there are %d service principals", n)
	}
	s := w.setup(tok, wanted)
	r, err := s.PlanRemoval(t.Context())
	if err == nil {
		err = s.Remove(t.Context(), r)
	}
	if n := w.state(wanted).principals; err != nil || n != 0 {
		t.Errorf("afterwards there are %d service principals, %v", n, err)
	}
}

// A directory role that somebody else gave stays, also where reeve's own was taken away
// before.
func TestRoleOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for _, replaced := range []bool{false, true} {
		w := newWorld(t)
		tok := w.person(admin, Permissions(true)...)
		wanted := w.wanted("audit")
		wanted.ClientID = w.Tenant.Directory.NewApplication("worker").AppID
		wanted.Role = graph.DirectoryRole{ID: directory.ReportsReader, Name: "Reports Reader"}
		if err := w.setup(tok, wanted).run(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := w.setup(tok, wanted)
		if replaced {
			if err := w.Tenant.Directory.Update(func(u *directory.Update) error {
				u.RemoveRoleAssignment(s.Record.find(Role, directory.ReportsReader).ID)
				u.PutRoleAssignment(&directory.RoleAssignment{ID: "somebody-elses", PrincipalID: s.Record.PrincipalID, RoleDefinitionID: directory.ReportsReader, DirectoryScopeID: "/"})
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := s.PlanRemoval(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		goes := slices.ContainsFunc(r.Steps, func(s RemovalStep) bool { return s.What == "the directory role Reports Reader" })
		stays := strings.Contains(strings.Join(r.Stays, " "), "The directory role Reports Reader stays")
		if goes == replaced || stays != replaced {
			t.Errorf("given again by somebody else: %v; it goes: %v, it stays: %v", replaced, goes, stays)
		}
	}
}

// A service that asks to be left alone for longer than is waited is: what was done stays,
// and the same command goes on when the time is over.
func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	for _, asked := range []time.Duration{patience, 10 * time.Minute} {
		w := newWorld(t)
		tok := w.person(admin, Permissions(false)...)
		var until time.Time
		w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			switch {
			case w.clock.Now().Before(until):
				t.Errorf("%s %s is sent %v too early", r.Method, r.URL.Path, until.Sub(w.clock.Now()))
			case until.IsZero() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/appRoleAssignments"):
				until = w.clock.Now().Add(asked)
				resp := answer(r, http.StatusTooManyRequests, `{"error":{"code":"TooManyRequests","message":"Too many requests."}}`)
				resp.Header.Set("Retry-After", fmt.Sprint(int(asked.Seconds())))
				return resp, nil
			}
			return send()
		}
		err := w.setup(tok, w.wanted("audit")).run(t.Context())
		if asked > patience {
			var why *Refusal
			if !errors.As(err, &why) || !errors.Is(err, ErrBusy) || !strings.Contains(why.Remedy, "after 2026-03-02 08:10:0") {
				t.Fatalf("asked to wait %v: %v", asked, err)
			}
			w.clock.Add(asked + time.Second)
			err = w.setup(tok, w.wanted("audit")).run(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		w.mustBe(w.wanted("audit"))
	}
}
