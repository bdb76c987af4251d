package graph_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
)

// An application is made once, however often it is asked for, is found under each of its
// names, and goes to the recycle bin and comes back.
func TestRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, cloud := w.writer(t), w.cloud(t)
	ctx := t.Context()
	const unique, name = "reeve-it's one", "O'Brien's reeve"
	required := []graph.ResourceAccess{{API: directory.Graph, Access: []graph.Access{{ID: "df021288-bdef-4463-88db-98f22de89214", Type: graph.RoleAccess}}}}
	var made graph.Registration
	for i := range 3 {
		var r graph.Registration
		if err := c.Change(ctx, graph.MakeApplication(cloud, unique, name, "a note", required), &r); err != nil {
			t.Fatal(err)
		}
		if (i == 0) != (r.ObjectID != "") {
			t.Errorf("answer %d is of %q", i, r.ObjectID)
		}
		if i == 0 {
			made = r
		}
	}
	for what, find := range map[string]func() (graph.Registration, error){
		"unique name": func() (graph.Registration, error) { return c.RegistrationByUniqueName(ctx, unique) },
		"client ID":   func() (graph.Registration, error) { return c.RegistrationByClientID(ctx, made.ClientID) },
		"name": func() (graph.Registration, error) {
			all, err := c.RegistrationsNamed(ctx, name)
			if len(all) != 1 {
				t.Fatalf("%d are called %s: %v", len(all), name, err)
			}
			return all[0], err
		},
	} {
		r, err := find()
		if err != nil || r.ObjectID != made.ObjectID || r.Name != name || r.UniqueName != unique || len(r.Required) != 1 || r.Audience != "AzureADMyOrg" {
			t.Errorf("by %s: %+v, %v", what, r, err)
		}
	}
	if err := c.Change(ctx, graph.DeleteApplication(cloud, made.ObjectID), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RegistrationByUniqueName(ctx, unique); !errors.Is(err, m365.ErrNotFound) {
		t.Errorf("a deleted one: %v", err)
	}
	deleted, err := c.DeletedRegistrations(ctx)
	if err != nil || len(deleted) != 1 || deleted[0].UniqueName != unique || deleted[0].Deleted.IsZero() {
		t.Errorf("in the recycle bin: %+v, %v", deleted, err)
	}
	if err := c.Change(ctx, graph.RestoreApplication(cloud, made.ObjectID), nil); err != nil {
		t.Fatal(err)
	}
	if r, err := c.RegistrationByClientID(ctx, made.ClientID); err != nil || !r.Deleted.IsZero() {
		t.Errorf("restored: %+v, %v", r, err)
	}
	if o, err := c.Organization(ctx); err != nil || o.TenantID != w.Tenant.ID || o.Name == "" {
		t.Errorf("the tenant: %+v, %v", o, err)
	}
}

// What the tenant's policy allows a certificate is read, with its date, and who may not
// read it is told so.
func TestCertificateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, _ := w.demo()
	c := w.reader(t)
	if _, err := c.CertificateLimit(t.Context(), time.Now()); !errors.Is(err, m365.ErrForbidden) {
		t.Errorf("without a permission: %v", err)
	}
	if err := w.Tenant.Directory.GrantRole(client, directory.Graph, "Policy.ReadWrite.ApplicationConfiguration"); err != nil {
		t.Fatal(err)
	}
	c = w.reader(t)
	for body, want := range map[string]time.Duration{
		`{"isEnabled":false}`: 0,
		`{"isEnabled":true,"applicationRestrictions":{"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","maxLifetime":"P90D","restrictForAppsCreatedAfterDateTime":"2014-10-19T10:37:00Z"}]}}`:                    90 * 24 * time.Hour,
		`{"isEnabled":true,"applicationRestrictions":{"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","maxLifetime":"P4DT12H30M5S","restrictForAppsCreatedAfterDateTime":"2099-10-19T10:37:00Z"}]}}`:            0,
		`{"isEnabled":true,"applicationRestrictions":{"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","state":"disabled","maxLifetime":"P90D","restrictForAppsCreatedAfterDateTime":"2014-10-19T10:37:00Z"}]}}`: 0,
		`{"isEnabled":true,"applicationRestrictions":{"keyCredentials":[{"restrictionType":"asymmetricKeyLifetime","maxLifetime":"P1DT12H30M5S","restrictForAppsCreatedAfterDateTime":"2014-10-19T10:37:00Z"}]}}`:            36*time.Hour + 30*time.Minute + 5*time.Second,
	} {
		a := w.Do(t, http.MethodPatch, w.Origins().Graph+"/v1.0/policies/defaultAppManagementPolicy", body,
			"Authorization", "Bearer "+w.Token(t, "https://graph.microsoft.com"), "Content-Type", "application/json")
		if a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Text)
		}
		if got, err := c.CertificateLimit(t.Context(), time.Now()); err != nil || got != want {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}
