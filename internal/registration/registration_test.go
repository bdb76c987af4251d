package registration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
)

// From an empty tenant with all its oddities on to what the feeds need, and no more.
func TestFromNothing(t *testing.T) {
	t.Parallel()
	var longest time.Duration
	for seed := range 4 {
		w := newWorld(t, unkind, func(o *emulator.Options) { o.Seed = uint64(seed) })
		s := w.setup(w.person(admin, Permissions(true)...), w.wanted("audit", "users", "calls"))
		me, err := s.Graph.Me(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Wanted.Owner = me
		s.Wanted.Role = graph.DirectoryRole{ID: directory.ReportsReader, Name: "Reports Reader"}
		if err := s.run(t.Context()); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(w.said, "\n"))
		}
		w.mustBe(s.Wanted)
		if st := w.state(s.Wanted); !slices.Contains(st.owners, me.ObjectID) || !slices.Equal(st.roles, []string{directory.ReportsReader}) {
			t.Errorf("owners %v, roles %v", st.owners, st.roles)
		}
		longest = max(longest, w.clock.Now().Sub(begin))
		// A second time there is nothing to do.
		w.clock.Add(time.Minute)
		again := w.setup(string(token(w.person(admin, Permissions(true)...))), s.Wanted)
		p, err := again.Plan(t.Context())
		if err != nil || !p.Settled() || len(p.Refusals) > 0 || again.Record.Complete.IsZero() {
			t.Errorf("afterwards: %v, settled %v, %v", err, p.Settled(), p.Refusals)
		}
	}
	t.Logf("the longest took %v of emulated time", longest)
	if longest > 2*time.Minute {
		t.Errorf("it took %v", longest)
	}
}

// Wherever it is killed, and whichever answer is lost, the next run ends the same. By
// default a third of the requests is struck, and all of them with TEST_LONG=1.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	stride := 3
	if os.Getenv("TEST_LONG") != "" {
		stride = 1
	}
	for i, how := range []string{"before", "after", "lost"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for n := 1 + i%stride; ; n += stride {
				w := newWorld(t, unkind, func(o *emulator.Options) { o.Seed = uint64(n) })
				tok := w.person(admin, Permissions(false)...)
				s := w.setup(tok, w.wanted("audit", "users"))
				ctx, count := w.killer(t.Context(), n, how)
				err := s.run(ctx)
				if *count < n {
					if n < 15 {
						t.Errorf("there were %d requests only", *count)
					}
					t.Logf("struck at %d requests, one after the other", (n-1-i%stride)/stride)
					return
				}
				if how != "lost" && !errors.Is(err, errKilled) {
					t.Fatalf("killed at request %d: %v", n, err)
				}
				w.see = nil
				s = w.setup(tok, w.wanted("audit", "users"))
				if err := s.run(t.Context()); err != nil {
					t.Fatalf("%s request %d, and again: %v\n%s", how, n, err, strings.Join(w.said, "\n"))
				}
				w.mustBe(s.Wanted)
				removeAll(t, w, tok, s.Wanted)
			}
		})
	}
}

// Or between its requests, when something is kept.
func TestKilledWhenKeeping(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld(t)
			tok := w.person(admin, Permissions(false)...)
			s := w.setup(tok, w.wanted("audit", "dlp"))
			count := 0
			s.Save = func(_ context.Context, r Record, _ ...Event) error {
				if count++; count != n {
					return w.save(r)
				}
				if after {
					w.save(r)
				}
				return errKilled
			}
			err := s.run(t.Context())
			if count < n {
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			s = w.setup(tok, w.wanted("audit", "dlp"))
			if err := s.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.mustBe(s.Wanted)
			removeAll(t, w, tok, s.Wanted)
		}
	}
}

// removeAll takes away what was made, and looks that all of it is gone.
func removeAll(t *testing.T, w *world, tok string, wanted Wanted, azure ...string) {
	t.Helper()
	s := w.setup(tok, wanted)
	if len(azure) > 0 {
		s = w.mustInVault(s, azure[0], wanted.Vault.Use)
	}
	if !s.Record.OwnApplication() {
		t.Fatalf("the record does not know that the application is reeve's: %+v", s.Record)
	}
	r, err := s.PlanRemoval(t.Context())
	if err == nil {
		err = s.Remove(t.Context(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if st := w.state(wanted); st.applications != 0 || len(s.Record.Made) != 0 {
		t.Errorf("after the removal: %+v, %+v", st, s.Record)
	}
	if n := len(w.Tenant.Directory.View(0).DeletedApplications()); n != 1 {
		t.Errorf("%d applications are in the recycle bin", n)
	}
}

// Other feeds later: what is missing is added, and what reeve granted for the earlier
// ones is taken back. What others granted stays.
func TestOtherFeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	if err := w.setup(tok, w.wanted("audit", "users")).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	app := w.setup(tok, w.wanted("audit")).Record.ClientID
	if err := w.Tenant.Directory.GrantRole(app, directory.Graph, "Group.Read.All"); err != nil {
		t.Fatal(err)
	}
	s := w.setup(tok, w.wanted("audit", "calls"))
	p, err := s.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "Group.Read.All") && strings.Contains(n, "stays") }) {
		t.Errorf("notes: %v", p.Notes)
	}
	if err := s.CarryOut(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := w.state(s.Wanted)
	want := append(s.Wanted.permissions(), directory.Graph+"/5b567255-7703-4780-807c-7be8301ae99b")
	slices.Sort(want)
	if !slices.Equal(st.grants, want) || !slices.Equal(st.declared, s.Wanted.permissions()) {
		t.Errorf("granted %v, declared %v, want %v", st.grants, st.declared, want)
	}
}

// Other feeds at once, while not every replica knows yet what was granted for the first:
// what is not needed any more is gone, and nothing is forgotten.
func TestOtherFeedsAtOnce(t *testing.T) {
	t.Parallel()
	for seed := range 8 {
		w := newWorld(t, unkind, func(o *emulator.Options) { o.Seed = uint64(seed) })
		tok := w.person(admin, Permissions(false)...)
		if err := w.setup(tok, w.wanted("audit", "users", "usage", "calls")).run(t.Context()); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(w.said, "\n"))
		}
		s := w.setup(tok, w.wanted("audit"))
		if err := s.run(t.Context()); err != nil {
			t.Fatalf("seed %d, other feeds: %v\n%s", seed, err, strings.Join(w.said, "\n"))
		}
		w.mustBe(s.Wanted)
		for _, m := range s.Record.Made {
			if m.Kind == Granted && !slices.ContainsFunc(s.Wanted.Uses, func(u permission.Use) bool { return u.String() == m.Key }) {
				t.Errorf("seed %d: the record still has %+v", seed, m)
			}
		}
	}
}

// The same where the replica that is looked at does not show the application yet: what it
// was made with is not taken for somebody else's later.
func TestOtherFeedsUnseen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	if err := w.setup(tok, w.wanted("audit", "users", "calls")).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.setup(tok, w.wanted("audit"))
	seen, err := s.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen.Application, seen.Principal, seen.Grants = nil, nil, nil
	w.see = func(r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "uniqueName") { // as that replica answers
			return answer(r, http.StatusConflict, `{"error":{"code":"Request_MultipleObjectsWithSameKeyValue","message":"Another object with the same value for property uniqueName already exists."}}`), nil
		}
		return send()
	}
	if err := s.CarryOut(t.Context(), MakePlan(s.Wanted, seen, s.Record)); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBe(s.Wanted)
}

// An application that was there is taken by its client ID alone, and afterwards has what
// it had before.
func TestAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	app := w.Tenant.Directory.NewApplication("reeve")
	if err := w.Tenant.Directory.GrantRole(app.AppID, directory.Graph, "User.Read.All"); err != nil {
		t.Fatal(err)
	}
	if err := w.Tenant.Directory.ChangeApplication(app.AppID, func(a *directory.Application) error {
		a.RequiredResourceAccess = []directory.ResourceAccess{{ResourceAppID: directory.Graph, Access: []directory.Access{{ID: "e1fe6dd8-ba31-4d61-89e7-88639da4683d", Type: "Scope"}}}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wanted := w.wanted("audit", "users")
	if err := w.setup(tok, wanted).run(t.Context()); !errors.Is(err, ErrTaken) || !strings.Contains(err.(*Refusal).Remedy, "--client-id "+app.AppID) {
		t.Fatalf("one of the same name: %v", err)
	}
	wanted.ClientID = app.AppID
	before := w.state(wanted)
	s := w.setup(tok, wanted)
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := w.state(wanted)
	if !slices.Equal(after.grants, wanted.permissions()) || len(after.declared) != 3 || after.applications != 1 {
		t.Errorf("it has %+v", after)
	}
	s = w.setup(tok, wanted)
	r, err := s.PlanRemoval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if now := w.state(wanted); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("afterwards it has %+v, and had %+v", now, before)
	}
}

// What was deleted is offered to be restored, and is restored whole.
func TestRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.person(admin, Permissions(false)...)
	s := w.setup(tok, w.wanted("audit"))
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := s.Record.ClientID
	if err := s.Graph.Change(t.Context(), graph.DeleteApplication(w.cloud, s.Record.ObjectID), nil); err != nil {
		t.Fatal(err)
	}
	s = w.setup(tok, w.wanted("audit"))
	var r *Refusal
	if err := s.run(t.Context()); !errors.As(err, &r) || !errors.Is(err, ErrDeleted) || !strings.Contains(r.Remedy, "--restore") {
		t.Fatalf("one in the recycle bin: %v", err)
	}
	s.Wanted.Restore = true
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBe(s.Wanted)
	if s.Record.ClientID != client {
		t.Errorf("the client ID is %s, and was %s", s.Record.ClientID, client)
	}
}

// What speaks against it is said before anything is changed, with what would help and who
// can do it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(*world) *Setup
		kind error
		says string
		who  string
	}{
		"a person without a role": {func(w *world) *Setup {
			w.see = nil
			give(w, another, directory.GlobalReader)
			consentForAll(w)
			return w.setup(w.person(another, Permissions(false)...), w.wanted("audit"))
		}, ErrRole, "holds no directory role", "Application Administrator"},
		"an application administrator and Graph": {func(w *world) *Setup {
			give(w, another, directory.ApplicationAdministrator)
			return w.setup(w.person(another, Permissions(false)...), w.wanted("users"))
		}, ErrRole, "grant graph/User.Read.All", "Privileged Role Administrator"},
		"too few permissions": {func(w *world) *Setup {
			s := w.setup(w.person(admin, "User.Read"), w.wanted("audit"))
			s.Caller.Permissions = []string{"User.Read"}
			return s
		}, ErrRole, "without the permission Application.ReadWrite.All", ""},
		"another database": {func(w *world) *Setup {
			tok := w.person(admin, Permissions(false)...)
			if err := w.setup(tok, w.wanted("audit")).run(context.Background()); err != nil {
				w.t.Fatal(err)
			}
			os.Remove(w.file)
			return w.setup(tok, w.wanted("audit"))
		}, ErrTaken, "made by a reeve with another database", ""},
		"a name in other letters": {func(w *world) *Setup {
			tok := w.person(admin, Permissions(false)...)
			if err := w.setup(tok, w.wanted("audit")).run(context.Background()); err != nil {
				w.t.Fatal(err)
			}
			wanted := w.wanted("audit")
			wanted.Name = strings.ToUpper(wanted.Name)
			return w.setup(tok, wanted)
		}, ErrTaken, "that a reeve has made", ""},
		"no such application": {func(w *world) *Setup {
			wanted := w.wanted("audit")
			wanted.ClientID = "11111111-2222-3333-4444-555555555555"
			return w.setup(w.person(admin, Permissions(false)...), wanted)
		}, ErrNotThere, "no application with client ID", ""},
		"a service principal that is off": {func(w *world) *Setup {
			app := w.Tenant.Directory.NewApplication("other")
			if err := w.Tenant.Directory.ChangeServicePrincipal(app.AppID, func(p *directory.ServicePrincipal) error {
				p.AccountEnabled = false
				return nil
			}); err != nil {
				w.t.Fatal(err)
			}
			wanted := w.wanted("audit")
			wanted.ClientID = app.AppID
			return w.setup(w.person(admin, Permissions(false)...), wanted)
		}, ErrTaken, "switched off", "Application Administrator"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := c.do(w)
			before := w.state(s.Wanted)
			err := s.run(t.Context())
			var r *Refusal
			if !errors.Is(err, c.kind) || !errors.As(err, &r) || !strings.Contains(r.Error(), c.says) || !strings.Contains(r.Who, c.who) || r.Remedy == "" {
				t.Errorf("%v: %+v", err, r)
			}
			if after := w.state(s.Wanted); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("something was changed: %+v", after)
			}
		})
	}
}

// A role that the token does not tell, and Graph does not accept, is told when it is met,
// and somebody else can go on.
func TestForbiddenInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	give(w, another, directory.ApplicationAdministrator)
	s := w.setup(w.person(another, Permissions(false)...), w.wanted("audit", "users"))
	s.Wanted.AnyRole = true
	var r *Refusal
	if err := s.run(t.Context()); !errors.As(err, &r) || !errors.Is(err, ErrRole) || !strings.Contains(r.Hint(), "it goes on from there") {
		t.Fatal(err)
	}
	s = w.setup(w.person(admin, Permissions(false)...), w.wanted("audit", "users"))
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBe(s.Wanted)
}

// give gives a person a directory role.
func give(w *world, login, role string) {
	u, _ := w.Tenant.Directory.View(0).User(w.address(login))
	if err := w.Tenant.Directory.Update(func(up *directory.Update) error {
		up.PutRoleAssignment(&directory.RoleAssignment{ID: directory.NewAssignmentID(), PrincipalID: u.ID, RoleDefinitionID: role, DirectoryScopeID: "/"})
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// consentForAll has the administrator consent to what setting up asks for.
func consentForAll(w *world) { w.person(admin, Permissions(true)...) }

// What an application is found by belongs to a tenant and a name.
func TestUniqueName(t *testing.T) {
	t.Parallel()
	const a, b = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"
	of := func(tenant, name string) string {
		return Wanted{TenantID: tenant, Name: name}.UniqueName()
	}
	if of(a, "reeve") != of(strings.ToUpper(a), "reeve") {
		t.Error("one application has two unique names")
	}
	if of(a, "reeve") == of(a, "reeve 2") || of(a, "reeve") == of(b, "reeve") {
		t.Error("two applications have one unique name")
	}
}
