package directory_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// clock is a clock that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// memory is how long the directories of these tests remember what they were.
const memory = time.Minute

// mustNew returns the directory of a tenant with one application besides
// Microsoft's, which may read the audit log.
func mustNew(t *testing.T) (*directory.Directory, *directory.Application, *clock) {
	t.Helper()
	c := &clock{at: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	d := directory.New(uuid.NewString(), "contoso.onmicrosoft.com", "Contoso", c.now, memory)
	d.AddMicrosoftServices(uuid.NewString, "contoso.sharepoint.com", c.at)
	app := d.NewApplication("reeve")
	if err := d.GrantRole(app.AppID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	return d, app, c
}

func certificate(t *testing.T, start, end time.Time) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// roles returns the roles that an application holds on a resource, both given
// by client ID.
func roles(t *testing.T, d *directory.Directory, appID, resourceAppID string) []string {
	t.Helper()
	p, ok := d.View(0).ServicePrincipalByAppID(appID)
	r, ok2 := d.View(0).ServicePrincipalByAppID(resourceAppID)
	if !ok || !ok2 {
		t.Fatalf("%s or %s has no service principal", appID, resourceAppID)
	}
	return d.View(0).Roles(p.ID, r.ID)
}

func TestRolesAreGrantedAndRevoked(t *testing.T) {
	d, app, _ := mustNew(t)
	for range 2 {
		if err := d.GrantRole(app.AppID, directory.ManagementAPIs, "ActivityFeed.ReadDlp"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.RevokeRole(app.AppID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ActivityFeed.ReadDlp"}, roles(t, d, app.AppID, directory.ManagementAPIs)); diff != "" {
		t.Error(diff)
	}
	for name, err := range map[string]error{
		"a role that is not held":    d.RevokeRole(app.AppID, directory.ManagementAPIs, "ActivityFeed.Read"),
		"a role that does not exist": d.GrantRole(app.AppID, directory.ManagementAPIs, "ActivityFeed.Write"),
		"an unknown application":     d.GrantRole(uuid.NewString(), directory.Graph, "User.Read.All"),
		"an unknown resource":        d.GrantRole(app.AppID, uuid.NewString(), "User.Read.All"),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestChangesDoNotReachCopies(t *testing.T) {
	d, app, c := mustNew(t)
	for range 2 {
		if _, err := d.AddKeyCredential(app.AppID, certificate(t, c.at, c.at.AddDate(1, 0, 0)), time.Time{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := d.View(0).ApplicationByAppID(app.AppID)
	if err := d.RemoveKeyCredential(app.AppID, before.KeyCredentials[0].KeyID); err != nil {
		t.Fatal(err)
	}
	if before.KeyCredentials[0].KeyID == before.KeyCredentials[1].KeyID || before.KeyCredentials[0].Key == nil {
		t.Error("removing a key credential changed what was returned before")
	}
	after, _ := d.View(0).ApplicationByAppID(app.AppID)
	if len(after.KeyCredentials) != 1 || after.KeyCredentials[0].KeyID != before.KeyCredentials[1].KeyID {
		t.Errorf("%d key credentials are left", len(after.KeyCredentials))
	}
}

func TestKeyCredentialIsFilledFromItsCertificate(t *testing.T) {
	d, app, c := mustNew(t)
	der := certificate(t, c.at, c.at.AddDate(1, 0, 0))
	id, err := d.AddKeyCredential(app.AppID, der, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	after, _ := d.View(0).ApplicationByAppID(app.AppID)
	// On the wire the identifier reads like the thumbprint in hexadecimal.
	identifier, err := base64.StdEncoding.DecodeString(strings.ToUpper(hex.EncodeToString(directory.Thumbprint(der))))
	if err != nil {
		t.Fatal(err)
	}
	want := []directory.KeyCredential{{
		KeyID: id, CustomKeyIdentifier: identifier, Type: "AsymmetricX509Cert", Usage: "Verify",
		StartDateTime: c.at, EndDateTime: c.at.AddDate(1, 0, 0), Key: der,
	}}
	if diff := cmp.Diff(want, after.KeyCredentials); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	d, app, c := mustNew(t)
	unknown, now := uuid.NewString(), c.at
	_, badCertificate := d.AddKeyCredential(app.AppID, []byte("x"), time.Time{}, time.Time{})
	_, badTimes := d.AddKeyCredential(app.AppID, certificate(t, now, now.Add(time.Hour)), now, now)
	_, noApplication := d.AddPassword(unknown, "secret", now, now)
	for name, err := range map[string]error{
		"a certificate that is none":   badCertificate,
		"an end before the start":      badTimes,
		"an unknown application":       noApplication,
		"an unknown key credential":    d.RemoveKeyCredential(app.AppID, unknown),
		"an unknown client secret":     d.RemovePassword(app.AppID, unknown),
		"an unknown service principal": d.ChangeServicePrincipal(unknown, func(*directory.ServicePrincipal) error { return nil }),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestResourceNames(t *testing.T) {
	d, app, _ := mustNew(t)
	for name, want := range map[string]string{
		"https://graph.microsoft.com": directory.Graph, "https://graph.microsoft.com/": directory.Graph, directory.Graph: directory.Graph,
		"https://manage.office.com": directory.ManagementAPIs, "https://manage.office.com/": directory.ManagementAPIs,
		"https://vault.azure.net": directory.KeyVault, "https://contoso.sharepoint.com": directory.SharePoint, app.AppID: app.AppID,
		"https://graph.microsoft.com//": "", "https://nobody.example.com": "", "": "", "/": "",
	} {
		p, ok := d.View(0).Resource(name)
		if ok != (want != "") || ok && p.AppID != want {
			t.Errorf("%q is %v, want %q", name, p, want)
		}
	}
}

func TestRemovedServicePrincipalLosesItsGrants(t *testing.T) {
	d, app, _ := mustNew(t)
	p, _ := d.View(0).ServicePrincipalByAppID(app.AppID)
	graph, _ := d.View(0).ServicePrincipalByAppID(directory.Graph)
	err := d.Update(func(u *directory.Update) error {
		u.PutPermissionGrant(&directory.PermissionGrant{ID: "g", ClientID: p.ID, ConsentType: "AllPrincipals", ResourceID: graph.ID, Scope: "User.Read"})
		u.PutRoleAssignment(&directory.RoleAssignment{ID: "r", PrincipalID: p.ID, RoleDefinitionID: directory.GlobalReader, DirectoryScopeID: "/"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.View(0).DirectoryRoles(p.ID); len(got) != 1 {
		t.Errorf("directory roles: %v", got)
	}
	err = d.Update(func(u *directory.Update) error { u.RemoveServicePrincipal(p.ID); return nil })
	if err != nil {
		t.Fatal(err)
	}
	v := d.View(0)
	if n := len(v.AppRoleAssignments()) + len(v.PermissionGrants()) + len(v.RoleAssignments()); n != 0 {
		t.Errorf("%d grants are left", n)
	}
	if _, ok := v.ApplicationByAppID(app.AppID); !ok {
		t.Error("the application went with its service principal")
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	d, app, _ := mustNew(t)
	stop := errors.New("stop")
	err := d.Update(func(u *directory.Update) error {
		a, _ := u.Application(app.ID)
		a = a.Clone()
		a.DisplayName = "changed"
		u.PutApplication(a)
		u.PutUser(&directory.User{ID: "new", UserPrincipalName: "new@contoso.onmicrosoft.com"})
		p, _ := u.ServicePrincipalByAppID(app.AppID)
		u.RemoveServicePrincipal(p.ID)
		if got, _ := u.Application(app.ID); got.DisplayName != "changed" {
			t.Error("an update does not see its own writes")
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	v := d.View(0)
	if got, _ := v.Application(app.ID); got.DisplayName != "reeve" {
		t.Errorf("the name is %q", got.DisplayName)
	}
	if _, ok := v.User("new@contoso.onmicrosoft.com"); ok || len(v.Users()) != 0 {
		t.Error("a person was added")
	}
	if got := roles(t, d, app.AppID, directory.ManagementAPIs); len(got) != 1 {
		t.Errorf("roles: %v", got)
	}
}

func TestViewLagsBehind(t *testing.T) {
	d, app, c := mustNew(t)
	rename := func(name string) {
		t.Helper()
		if err := d.ChangeApplication(app.AppID, func(a *directory.Application) error { a.DisplayName = name; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(10 * time.Second)
	rename("second")
	c.pass(10 * time.Second)
	if err := d.Update(func(u *directory.Update) error { u.RemoveApplication(app.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	for lag, want := range map[time.Duration]string{
		0: "", 1: "second", 10 * time.Second: "second", 10*time.Second + 1: "reeve", 20 * time.Second: "reeve", 20*time.Second + 1: "",
	} {
		a, ok := d.View(lag).Application(app.ID)
		if ok != (want != "") || ok && a.DisplayName != want {
			t.Errorf("%s ago: %v, want %q", lag, a, want)
		}
		if _, listed := d.View(lag).ApplicationByAppID(strings.ToUpper(app.AppID)); listed != ok {
			t.Errorf("%s ago: by client ID %v, by object ID %v", lag, listed, ok)
		}
	}
	c.pass(memory)
	d.NewApplication("other")
	d.Settle()
	if all := d.View(memory).Applications(); len(all) != 1 || all[0].DisplayName != "other" {
		t.Errorf("settled: %d applications", len(all))
	}
}

func TestSnapshotRestoresEverything(t *testing.T) {
	d, app, c := mustNew(t)
	if _, err := d.AddKeyCredential(app.AppID, certificate(t, c.at, c.at.AddDate(1, 0, 0)), time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	const secret = "a secret that must not be in the snapshot"
	if _, err := d.AddPassword(app.AppID, secret, c.at, c.at.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	deleted := d.NewApplication("deleted")
	err := d.Update(func(u *directory.Update) error {
		a, _ := u.Application(app.ID)
		a = a.Clone()
		description := "d"
		a.Owners, a.Policies, a.Description = []string{"owner"}, []string{"policy"}, &description
		a.Kept = map[string]json.RawMessage{"addIns": json.RawMessage(`[]`)}
		a.FederatedCredentials = []directory.FederatedCredential{{ID: "f", Name: "n", Audiences: []string{"x"}}}
		a.TrustedSubjects = []directory.TrustedSubject{{SubjectName: "s", Authority: []byte{1}}}
		u.PutApplication(a)
		p, _ := u.ServicePrincipalByAppID(app.AppID)
		p = p.Clone()
		p.Owners, p.Kept = []string{"owner"}, map[string]json.RawMessage{"notes": json.RawMessage(`"n"`)}
		u.PutServicePrincipal(p)
		gone, at := deleted.Clone(), c.at
		gone.DeletedDateTime = &at
		u.PutApplication(gone)
		u.PutUser(&directory.User{ID: "u", UserPrincipalName: "u@contoso.onmicrosoft.com"})
		u.PutPermissionGrant(&directory.PermissionGrant{ID: "g", ClientID: p.ID})
		u.PutRoleAssignment(&directory.RoleAssignment{ID: "r", PrincipalID: p.ID})
		u.PutManagementPolicy(&directory.ManagementPolicy{ID: "m", Definition: json.RawMessage(`{"isEnabled":true}`)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secret) {
		t.Error("the snapshot holds a client secret")
	}
	restored := directory.New(d.TenantID, d.Domain, d.DisplayName, c.now, memory)
	restored.NewApplication("not in the snapshot")
	if err := restored.Restore(b); err != nil {
		t.Fatal(err)
	}
	all := func(d *directory.Directory) []any {
		v := d.View(0)
		return []any{
			v.Applications(), v.DeletedApplications(), v.ServicePrincipals(), v.Users(), v.AppRoleAssignments(), v.PermissionGrants(),
			v.RoleAssignments(), v.ManagementPolicies(),
		}
	}
	if diff := cmp.Diff(all(d), all(restored)); diff != "" {
		t.Error(diff)
	}
	if a, _ := restored.View(0).ApplicationByAppID(app.AppID); !a.PasswordCredentials[0].Is(secret) {
		t.Error("the client secret is not known any more")
	}
	if _, ok := restored.View(memory).Application(app.ID); !ok {
		t.Error("what was restored is not there for a replica that lags behind")
	}

	before := all(restored)
	for name, bad := range map[string]string{
		"rubbish": "{", "another tenant": `{"tenantId":"x"}`,
		"no object":      `{"tenantId":"` + d.TenantID + `","applications":[{}]}`,
		"null":           `{"tenantId":"` + d.TenantID + `","users":[null]}`,
		"a hash too few": strings.Replace(string(b), `"hashes":["`, `"hashes":["AA==","`, 1),
	} {
		if err := restored.Restore([]byte(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if diff := cmp.Diff(before, all(restored)); diff != "" {
		t.Errorf("a refused snapshot changed something: %s", diff)
	}
}

func TestWhatCountsAsARole(t *testing.T) {
	d, app, _ := mustNew(t)
	v := d.View(0)
	sp, _ := v.ServicePrincipalByAppID(app.AppID)
	service, _ := v.ServicePrincipalByAppID(directory.ManagementAPIs)
	err := d.ChangeServicePrincipal(directory.ManagementAPIs, func(p *directory.ServicePrincipal) error {
		for i := range p.AppRoles {
			p.AppRoles[i].IsEnabled = false
		}
		return nil
	})
	if roles := d.View(0).Roles(sp.ID, service.ID); err != nil || roles != nil {
		t.Errorf("of a service whose roles are off: %v, %v", roles, err)
	}
	err = d.Update(func(u *directory.Update) error {
		u.PutRoleAssignment(&directory.RoleAssignment{ID: "one", PrincipalID: sp.ID, RoleDefinitionID: directory.GlobalReader, DirectoryScopeID: "/" + app.ID})
		u.PutRoleAssignment(&directory.RoleAssignment{ID: "all", PrincipalID: sp.ID, RoleDefinitionID: directory.ReportsReader, DirectoryScopeID: "/"})
		return nil
	})
	if diff := cmp.Diff([]string{directory.ReportsReader}, d.View(0).DirectoryRoles(sp.ID)); err != nil || diff != "" {
		t.Errorf("roles over the directory: %s %v", diff, err)
	}
}

// fill gives every list and map in a struct one element.
func fill(v reflect.Value) {
	for _, f := range v.Fields() {
		switch f.Kind() {
		case reflect.Struct:
			if f.Type() != reflect.TypeFor[time.Time]() {
				fill(f)
			}
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
		}
	}
}

// shared returns the lists and maps that two structs have in common.
func shared(a, b reflect.Value) (names []string) {
	for field, f := range a.Fields() {
		g := b.FieldByIndex(field.Index)
		switch f.Kind() {
		case reflect.Struct:
			if f.Type() != reflect.TypeFor[time.Time]() {
				names = append(names, shared(f, g)...)
			}
		case reflect.Slice, reflect.Map:
			if f.Pointer() == g.Pointer() || g.Len() != f.Len() {
				names = append(names, field.Name)
			}
		}
	}
	return names
}

func TestClonesShareNoLists(t *testing.T) {
	var a directory.Application
	var p directory.ServicePrincipal
	fill(reflect.ValueOf(&a).Elem())
	fill(reflect.ValueOf(&p).Elem())
	if names := shared(reflect.ValueOf(a), reflect.ValueOf(*a.Clone())); names != nil {
		t.Errorf("an application and its clone share %v", names)
	}
	if names := shared(reflect.ValueOf(p), reflect.ValueOf(*p.Clone())); names != nil {
		t.Errorf("a service principal and its clone share %v", names)
	}
}

func TestRemovedObjectsAreForgotten(t *testing.T) {
	d, app, clock := mustNew(t)
	before := d.Remembered()
	put := func() *directory.Application { return d.NewApplication("short-lived") }
	remove := func(a *directory.Application) {
		err := d.Update(func(u *directory.Update) error {
			sp, _ := u.ServicePrincipalByAppID(a.AppID)
			u.RemoveServicePrincipal(sp.ID)
			u.RemoveApplication(a.ID)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		remove(put())
		clock.pass(memory / 50)
	}
	if after := d.Remembered(); after > before+2*50+1000 {
		t.Errorf("%d objects are remembered, %d before any was removed", after, before)
	}
	// What a replica may still have is not forgotten.
	last := put()
	clock.pass(memory / 2)
	remove(last)
	clock.pass(memory / 4)
	for range 1000 {
		put()
	}
	for _, a := range []*directory.Application{app, last} {
		if _, ok := d.View(memory / 2).Application(a.ID); !ok {
			t.Errorf("looking back, the application %s is not there", a.DisplayName)
		}
	}
	if _, ok := d.View(0).Application(last.ID); ok {
		t.Error("a removed application is there")
	}
	if _, ok := d.View(0).ApplicationByAppID(app.AppID); !ok {
		t.Error("an application that was there all the time is not found")
	}
}

// TestNamesAreForgotten: those of objects that were removed, and of those that
// were never there because the change came to nothing.
func TestNamesAreForgotten(t *testing.T) {
	d, _, clock := mustNew(t)
	before := d.RememberedNames()
	for i := range 2000 {
		removed := i%2 == 0
		p := &directory.ServicePrincipal{ID: uuid.NewString(), AppID: uuid.NewString()}
		p.ServicePrincipalNames = []string{p.AppID}
		err := d.Update(func(u *directory.Update) error {
			u.PutServicePrincipal(p)
			if !removed {
				return errors.New("no")
			}
			u.RemoveServicePrincipal(p.ID)
			return nil
		})
		if (err == nil) != removed {
			t.Fatal(err)
		}
		clock.pass(memory / 50)
	}
	if after := d.RememberedNames(); after > before+1000 {
		t.Errorf("%d names are remembered, %d before", after, before)
	}
}

// BenchmarkChange changes one object again and again within what the directory
// remembers.
func BenchmarkChange(b *testing.B) {
	d := directory.New(uuid.NewString(), "contoso.onmicrosoft.com", "Contoso", time.Now, time.Hour)
	app := d.NewApplication("reeve")
	for b.Loop() {
		if err := d.ChangeApplication(app.AppID, func(*directory.Application) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
