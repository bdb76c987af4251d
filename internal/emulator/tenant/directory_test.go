package tenant

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestClientAsAnAdministratorLeftIt(t *testing.T) {
	tn := mustNew(t, Options{})
	app, ok := tn.Application(tn.Client().ClientID)
	if !ok || app.DisplayName != "reeve" || len(app.KeyCredentials) != 2 {
		t.Fatalf("the client's application: %v %q with %d key credentials", ok, app.DisplayName, len(app.KeyCredentials))
	}
	now := time.Now()
	if old, current := app.KeyCredentials[0], app.KeyCredentials[1]; !old.End.Before(now) || !current.End.After(now) || !current.Start.Before(old.End) {
		t.Errorf("one key credential ends %s, the next starts %s and ends %s; want expired, overlapping, valid", old.End, current.Start, current.End)
	}
	sp, ok := tn.ServicePrincipal(app.ClientID)
	if !ok {
		t.Fatal("the client has no service principal")
	}
	roles := map[string][]string{}
	for _, clientID := range []string{ManagementAPIs, Graph, KeyVault} {
		resource, ok := tn.ServicePrincipal(clientID)
		if !ok {
			t.Fatalf("%s has no service principal", clientID)
		}
		roles[resource.DisplayName] = tn.Roles(sp.ObjectID, resource.ObjectID)
	}
	want := map[string][]string{
		"Office 365 Management APIs": {"ActivityFeed.Read"},
		"Microsoft Graph":            {"Application.Read.All", "Directory.Read.All", "User.Read.All", "Reports.Read.All"},
		"Azure Key Vault":            nil,
	}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Error(diff)
	}
}

func TestRolesAreGrantedAndRevoked(t *testing.T) {
	tn := mustNew(t, Options{})
	client := tn.Client().ClientID
	sp, _ := tn.ServicePrincipal(client)
	manage, _ := tn.ServicePrincipal(ManagementAPIs)
	for range 2 {
		if err := tn.GrantRole(client, ManagementAPIs, "ActivityFeed.ReadDlp"); err != nil {
			t.Fatal(err)
		}
	}
	if err := tn.RevokeRole(client, ManagementAPIs, "ActivityFeed.Read"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ActivityFeed.ReadDlp"}, tn.Roles(sp.ObjectID, manage.ObjectID)); diff != "" {
		t.Error(diff)
	}
	for name, err := range map[string]error{
		"a role that is not held":    tn.RevokeRole(client, ManagementAPIs, "ActivityFeed.Read"),
		"a role that does not exist": tn.GrantRole(client, ManagementAPIs, "ActivityFeed.Write"),
		"an unknown application":     tn.GrantRole(uuid.NewString(), Graph, "User.Read.All"),
		"an unknown resource":        tn.GrantRole(client, uuid.NewString(), "User.Read.All"),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestChangesDoNotReachCopies(t *testing.T) {
	tn := mustNew(t, Options{})
	client := tn.Client()
	before, _ := tn.Application(client.ClientID)
	if err := tn.RemoveKeyCredential(client.ClientID, before.KeyCredentials[0].KeyID); err != nil {
		t.Fatal(err)
	}
	if before.KeyCredentials[0].KeyID == before.KeyCredentials[1].KeyID || before.KeyCredentials[0].Certificate == nil {
		t.Error("removing a key credential changed what was returned before")
	}
	after, _ := tn.Application(client.ClientID)
	if len(after.KeyCredentials) != 1 || after.KeyCredentials[0].KeyID != before.KeyCredentials[1].KeyID {
		t.Errorf("%d key credentials are left", len(after.KeyCredentials))
	}
}

func TestDirectoryErrors(t *testing.T) {
	tn := mustNew(t, Options{})
	client := tn.Client()
	unknown := uuid.NewString()
	now := time.Now()
	_, badCertificate := tn.AddKeyCredential(client.ClientID, []byte("x"), time.Time{}, time.Time{})
	_, badTimes := tn.AddKeyCredential(client.ClientID, client.Certificate.Raw, now, now)
	_, noApplication := tn.AddPassword(unknown, "secret", now, now)
	for name, err := range map[string]error{
		"a certificate that is none": badCertificate,
		"an end before the start":    badTimes,
		"an unknown application":     noApplication,
		"an unknown key credential":  tn.RemoveKeyCredential(client.ClientID, unknown),
		"an unknown principal":       tn.RemoveServicePrincipal(unknown),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestResourceNames(t *testing.T) {
	tn := mustNew(t, Options{})
	for name, want := range map[string]string{
		"https://graph.microsoft.com": Graph, "https://graph.microsoft.com/": Graph, Graph: Graph,
		"https://manage.office.com": ManagementAPIs, "https://manage.office.com/": ManagementAPIs,
		"https://vault.azure.net": KeyVault, tn.Client().ClientID: tn.Client().ClientID,
		"https://graph.microsoft.com//": "", "https://nobody.example.com": "", "": "", "/": "",
	} {
		sp, ok := tn.Resource(name)
		if ok != (want != "") || sp.ClientID != want {
			t.Errorf("%q is %q, want %q", name, sp.ClientID, want)
		}
	}
}

func TestRemovedServicePrincipalLosesItsGrants(t *testing.T) {
	tn := mustNew(t, Options{})
	client := tn.Client().ClientID
	sp, _ := tn.ServicePrincipal(client)
	manage, _ := tn.ServicePrincipal(ManagementAPIs)
	if err := tn.RemoveServicePrincipal(client); err != nil {
		t.Fatal(err)
	}
	if roles := tn.Roles(sp.ObjectID, manage.ObjectID); roles != nil {
		t.Errorf("roles that are left: %v", roles)
	}
	if _, ok := tn.Application(client); !ok {
		t.Error("the application went with its service principal")
	}
}
