package clients_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/golang-jwt/jwt/v5"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// graphClient calls Graph through azcore's pipeline, which is what the Graph
// SDK for Go is built on, and a good deal quicker to compile.
type graphClient struct {
	w        *world
	pipeline runtime.Pipeline
}

func (w *world) graph(c azcore.TokenCredential) graphClient {
	options := w.azure()
	return graphClient{w, runtime.NewPipeline("clients", "v0.0.0", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(c, []string{graphScope}, nil)},
	}, &options)}
}

// do sends a request to a path below v1.0, or to an address, and decodes the
// answer into into unless that is nil or the answer is empty.
func (g graphClient) do(ctx context.Context, method, path string, body, into any) error {
	address := path
	if !strings.HasPrefix(path, "https://") {
		address = g.w.Origins().Graph + "/v1.0" + path
	}
	r, err := runtime.NewRequest(ctx, method, address)
	if err != nil {
		return err
	}
	if body != nil {
		if err := runtime.MarshalAsJSON(r, body); err != nil {
			return err
		}
	}
	resp, err := g.pipeline.Do(r)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return runtime.NewResponseError(resp)
	}
	if into == nil || resp.StatusCode == http.StatusNoContent {
		return resp.Body.Close()
	}
	return runtime.UnmarshalAsJSON(resp, into)
}

func azcoreKeepsApplications(t *testing.T, w *world) {
	ctx, g := t.Context(), w.graph(w.credential(t, w.clientID(), w.own(), false))
	type list struct {
		Value []struct{ ID string }
		Next  string `json:"@odata.nextLink"`
	}
	seen, pages := map[string]bool{}, 0
	for next := "/applications?$select=id"; next != ""; pages++ {
		var page list
		if err := g.do(ctx, http.MethodGet, next, nil, &page); err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Value {
			seen[a.ID] = true
		}
		next = page.Next
	}
	if len(seen) < applications || pages < 2 {
		t.Errorf("%d applications on %d pages, want at least %d on 2", len(seen), pages, applications)
	}

	var app struct{ ID, AppID string }
	if err := g.do(ctx, http.MethodPost, "/applications", map[string]any{"displayName": "made by azcore"}, &app); err != nil {
		t.Fatal(err)
	}
	if err := g.do(ctx, http.MethodPost, "/servicePrincipals", map[string]any{"appId": app.AppID}, nil); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, g.do(ctx, http.MethodPost, "/servicePrincipals", map[string]any{"appId": app.AppID}, nil),
		http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue")
	upsert := policy.WithHTTPHeader(ctx, http.Header{"Prefer": {"create-if-missing"}})
	var named struct{ ID, AppID, UniqueName string }
	const name = "/applications(uniqueName='upserted-by-azcore')"
	for range 2 { // creates it, and changes it
		if err := g.do(upsert, http.MethodPatch, name, map[string]any{"displayName": "upserted by azcore"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.do(ctx, http.MethodGet, name, nil, &named); err != nil || named.UniqueName != "upserted-by-azcore" {
		t.Fatalf("%v %+v", err, named)
	}
	for range 2 {
		if err := g.do(upsert, http.MethodPatch, "/servicePrincipals(appId='"+named.AppID+"')", map[string]any{"tags": []string{"azcore"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.principal(t, named.AppID).Tags; !slices.Equal(got, []string{"azcore"}) {
		t.Errorf("the tags are %q, want azcore", got)
	}
	p := newPair(t, "azcore")
	registered := map[string]any{"keyCredentials": []map[string]any{{
		"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.StdEncoding.EncodeToString(p.certificate.Raw),
	}}}
	if err := g.do(ctx, http.MethodPatch, "/applications/"+app.ID, registered, nil); err != nil {
		t.Fatal(err)
	}
	keys := w.application(t, app.ID).KeyCredentials
	if len(keys) != 1 || !bytes.Equal(keys[0].Key, p.certificate.Raw) || !p.isIdentified(base64.StdEncoding.EncodeToString(keys[0].CustomKeyIdentifier)) {
		t.Errorf("the key credentials are %+v", keys)
	}
	token, err := w.credential(t, app.AppID, p, false).GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{graphScope}})
	if err != nil || token.Token == "" {
		t.Errorf("signing in with the registered certificate: %v", err)
	}
	wantStatus(t, w.graph(w.credential(t, app.AppID, p, false)).do(ctx, http.MethodGet, "/applications", nil, &list{}),
		http.StatusForbidden, "Authorization_RequestDenied")

	if err := g.do(ctx, http.MethodDelete, "/applications/"+app.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, g.do(ctx, http.MethodGet, "/applications/"+app.ID, nil, &app), http.StatusNotFound, "Request_ResourceNotFound")
	_, err = w.credential(t, app.AppID, p, false).GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{graphScope}})
	wantRefusal(t, err, "AADSTS700016")
}

// azcoreAsksServices asks for a little of each service behind Graph.
func azcoreAsksServices(t *testing.T, w *world) {
	for _, permission := range []string{
		"LicenseAssignment.Read.All", "ReportSettings.Read.All", "Team.ReadBasic.All", "TeamMember.Read.All", "Channel.ReadBasic.All", "Group.Read.All",
		"TeamsAppInstallation.ReadForUser.All", "TeamsAppInstallation.ReadForTeam.All", "TeamsTab.Read.All", "AppCatalog.Read.All", "CallRecords.Read.All",
		"Policy.ReadWrite.Authorization",
	} {
		if err := w.Grant(w.clientID(), "graph/"+permission); err != nil {
			t.Fatal(err)
		}
	}
	s := steps{t, w.graph(w.credential(t, w.clientID(), w.own(), false))}
	teams := s.ids("/teams")
	if len(teams) == 0 {
		t.Fatal("there are no teams")
	}
	channels := s.ids("/teams/" + teams[0] + "/channels")
	if len(channels) == 0 {
		t.Fatal("the team has no channels")
	}
	for _, path := range []string{
		"/teams/" + teams[0] + "/installedApps", "/teams/" + teams[0] + "/channels/" + channels[0] + "/tabs", "/appCatalogs/teamsApps",
		"/subscribedSkus", "/groups?$filter=resourceProvisioningOptions/Any(x:x%20eq%20'Team')",
		"/teams/" + teams[0] + "/members", "/users/admin@" + w.Tenant.Domain + "/teamwork/installedApps", "/communications/callRecords",
	} {
		if len(s.ids(path)) == 0 {
			t.Errorf("%s lists nothing", path)
		}
	}
	s.do(http.MethodGet, "/admin/reportSettings", nil)
	s.do(http.MethodPatch, "/policies/authorizationPolicy", map[string]any{"defaultUserRolePermissions": map[string]any{"allowedToCreateApps": true}})
	s.do(http.MethodGet, "/policies/authorizationPolicy", nil)

	// azcore follows the link to the report.
	r, err := runtime.NewRequest(t.Context(), http.MethodGet, w.Origins().Graph+"/v1.0/reports/getOffice365ActiveUserDetail(period='D7')")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.pipeline.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := runtime.Payload(resp)
	if err != nil || !bytes.Contains(text, []byte("Report Refresh Date,")) {
		t.Errorf("the report: %d %v %.100s", resp.StatusCode, err, text)
	}
}

// object is any object of Graph, as far as it is looked at here.
type object struct {
	ID, AppID, DisplayName, SecretText, KeyID string
}

// steps are calls of Graph one after the other, each of which must succeed.
type steps struct {
	t *testing.T
	graphClient
}

// do does a call and returns the object that it answers, if it answers one.
func (s steps) do(method, path string, body any) object {
	s.t.Helper()
	var o object
	if err := s.graphClient.do(s.t.Context(), method, path, body, &o); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return o
}

// ids lists a collection of one page and returns the ids in it.
func (s steps) ids(path string) []string {
	s.t.Helper()
	var list struct{ Value []object }
	if err := s.graphClient.do(s.t.Context(), http.MethodGet, path, nil, &list); err != nil {
		s.t.Fatalf("listing %s: %v", path, err)
	}
	var all []string
	for _, o := range list.Value {
		all = append(all, o.ID)
	}
	return all
}

// count returns how many objects a set has.
func (s steps) count(set string) int {
	s.t.Helper()
	var list struct {
		Count int `json:"@odata.count"`
	}
	advanced := policy.WithHTTPHeader(s.t.Context(), http.Header{"ConsistencyLevel": {"eventual"}})
	if err := s.graphClient.do(advanced, http.MethodGet, "/"+set+"?$count=true&$top=1", nil, &list); err != nil {
		s.t.Fatal(err)
	}
	// The same as plain text.
	if err := s.graphClient.do(advanced, http.MethodGet, "/"+set+"/$count", nil, nil); err != nil {
		s.t.Fatal(err)
	}
	return list.Count
}

// has checks that a collection has an object, or that it has not.
func (s steps) has(path, id string, want bool) {
	s.t.Helper()
	if all := s.ids(path); slices.Contains(all, id) != want {
		s.t.Errorf("%s: %v; has %s: %t, want %t", path, all, id, !want, want)
	}
}

// azcoreKeepsRelations goes around an application: keys that it rolls itself,
// owners, roles, consent, policies, the recycle bin.
func azcoreKeepsRelations(t *testing.T, w *world) {
	s := steps{t, w.graph(w.credential(t, w.clientID(), w.own(), false))}
	post, get, patch, remove := http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete
	app := s.do(post, "/applications", map[string]any{"displayName": "relations by azcore"})
	sp := s.do(post, "/servicePrincipals", map[string]any{"appId": app.AppID})
	at, spAt := "/applications/"+app.ID, "/servicePrincipals/"+sp.ID

	// It rolls its own key with the proof that it holds the old one, for which
	// it needs no permission.
	first, second := newPair(t, "first"), newPair(t, "second")
	s.do(patch, at, map[string]any{"keyCredentials": []any{first.credential()}})
	self := steps{t, w.graph(w.credential(t, app.AppID, first, false))}
	added := self.do(post, at+"/addKey", map[string]any{"keyCredential": second.credential(), "passwordCredential": nil, "proof": first.proof(t, app.ID)})
	err := self.graphClient.do(t.Context(), post, at+"/addKey",
		map[string]any{"keyCredential": newPair(t, "third").credential(), "passwordCredential": nil, "proof": w.stranger.proof(t, app.ID)}, nil)
	wantStatus(t, err, http.StatusUnauthorized, "Authentication_MissingOrMalformed")
	keys := w.application(t, app.ID).KeyCredentials
	if len(keys) != 2 || !bytes.Equal(keys[1].Key, second.certificate.Raw) || keys[1].KeyID != added.KeyID {
		t.Fatalf("the key credentials are %+v", keys)
	}
	self = steps{t, w.graph(w.credential(t, app.AppID, second, false))}
	self.do(post, at+"/removeKey", map[string]any{"keyId": keys[0].KeyID, "proof": second.proof(t, app.ID)})
	if keys := w.application(t, app.ID).KeyCredentials; len(keys) != 1 || keys[0].KeyID != added.KeyID {
		t.Errorf("the key credentials are %+v, want the second", keys)
	}

	// Owners.
	people := s.ids("/users")
	if len(people) == 0 {
		t.Fatal("there are no people")
	}
	owner := people[0]
	s.do(post, at+"/owners/$ref", map[string]any{"@odata.id": w.Origins().Graph + "/v1.0/directoryObjects/" + owner})
	s.has(at+"/owners", owner, true)
	s.do(remove, at+"/owners/"+owner+"/$ref", nil)
	s.has(at+"/owners", owner, false)
	s.has("/servicePrincipals/"+w.principal(t, w.clientID()).ID+"/ownedObjects", app.ID, false)

	// Application permissions and delegated ones.
	resource := w.principal(t, directory.Graph)
	role, err := directory.RoleID(directory.Graph, "User.Read.All")
	if err != nil {
		t.Fatal(err)
	}
	assignment := s.do(post, spAt+"/appRoleAssignments", map[string]any{"principalId": sp.ID, "resourceId": resource.ID, "appRoleId": role})
	s.has(spAt+"/appRoleAssignments", assignment.ID, true)
	s.do(get, spAt+"/appRoleAssignments/"+assignment.ID, nil)
	if err := self.graphClient.do(t.Context(), get, "/users/"+owner, nil, nil); err == nil {
		t.Error("a token from before has the new role")
	}
	if self := (steps{t, w.graph(w.credential(t, app.AppID, second, false))}); self.do(get, "/users/"+owner, nil).ID != owner {
		t.Error("with the role another person was read")
	}
	s.do(remove, spAt+"/appRoleAssignments/"+assignment.ID, nil)
	s.has(spAt+"/appRoleAssignments", assignment.ID, false)
	to := "/servicePrincipals/" + resource.ID + "/appRoleAssignedTo"
	assignment = s.do(post, to, map[string]any{"principalId": sp.ID, "resourceId": resource.ID, "appRoleId": role})
	s.has(to, assignment.ID, true)
	s.do(remove, to+"/"+assignment.ID, nil)
	grant := s.do(post, "/oauth2PermissionGrants", map[string]any{
		"clientId": sp.ID, "consentType": "AllPrincipals", "resourceId": resource.ID, "scope": "User.Read",
	})
	s.has(spAt+"/oauth2PermissionGrants", grant.ID, true)
	s.do(patch, "/oauth2PermissionGrants/"+grant.ID, map[string]any{"scope": "User.Read Mail.Read"})
	s.do(get, "/oauth2PermissionGrants/"+grant.ID, nil)
	s.has("/oauth2PermissionGrants", grant.ID, true)
	s.do(remove, "/oauth2PermissionGrants/"+grant.ID, nil)
	s.has("/oauth2PermissionGrants", grant.ID, false)

	s.do(get, to+"/"+s.ids(to)[0], nil)

	// What stands beside it in the directory.
	s.do(patch, spAt, map[string]any{"tags": []string{"azcore"}})
	if got := w.principal(t, app.AppID).Tags; !slices.Equal(got, []string{"azcore"}) {
		t.Errorf("the tags are %q, want azcore", got)
	}
	if got := s.do(get, "/servicePrincipals(appId='"+app.AppID+"')", nil); got.ID != sp.ID {
		t.Errorf("the service principal is %s, want %s", got.ID, sp.ID)
	}
	s.do(get, spAt+"/displayName", nil)
	if got := s.do(get, "/directoryObjects/"+sp.ID, nil); got.ID != sp.ID {
		t.Errorf("the object is %s, want %s", got.ID, sp.ID)
	}
	s.do(post, "/directoryObjects/getByIds", map[string]any{"ids": []string{app.ID, sp.ID}})
	for _, set := range []string{"applications", "servicePrincipals", "users"} {
		if n := s.count(set); n < 1 {
			t.Errorf("%d %s, want some", n, set)
		}
	}
	s.has("/domains", w.Tenant.Domain, true)
	s.do(get, "/domains/"+w.Tenant.Domain, nil)
	federated := s.do(post, at+"/federatedIdentityCredentials", map[string]any{
		"name": "azcore", "issuer": "https://issuer.contoso.example", "subject": "one", "audiences": []string{"api://AzureADTokenExchange"},
	})
	s.do(patch, at+"/federatedIdentityCredentials/"+federated.ID, map[string]any{"subject": "another"})
	s.do(get, at+"/federatedIdentityCredentials/azcore", nil)
	if f := w.application(t, app.ID).FederatedCredentials; len(f) != 1 || f[0].Subject != "another" {
		t.Errorf("the federated credentials are %+v", f)
	}

	// Directory roles.
	held := s.do(post, "/roleManagement/directory/roleAssignments", map[string]any{
		"principalId": sp.ID, "roleDefinitionId": directory.ReportsReader, "directoryScopeId": "/",
	})
	s.has("/roleManagement/directory/roleAssignments?$filter=principalId%20eq%20'"+sp.ID+"'", held.ID, true)
	s.do(get, "/roleManagement/directory/roleDefinitions/"+directory.ReportsReader, nil)
	s.has("/roleManagement/directory/roleDefinitions", directory.ReportsReader, true)
	s.do(get, "/roleManagement/directory/roleAssignments/"+held.ID, nil)
	activated := s.ids("/directoryRoles?$filter=roleTemplateId%20eq%20'" + directory.ReportsReader + "'")
	if len(activated) != 1 {
		t.Fatalf("the role was activated as %v, want one", activated)
	}
	s.do(get, "/directoryRoles/"+activated[0], nil)
	s.has("/directoryRoles/"+activated[0]+"/members", sp.ID, true)
	s.has(spAt+"/memberOf", activated[0], true)
	s.do(remove, "/roleManagement/directory/roleAssignments/"+held.ID, nil)

	// A policy that allows short-lived secrets only.
	policy := s.do(post, "/policies/appManagementPolicies", map[string]any{
		"displayName": "short secrets", "isEnabled": true,
		"restrictions": map[string]any{"passwordCredentials": []any{map[string]any{
			"restrictionType": "passwordLifetime", "maxLifetime": "P7D", "restrictForAppsCreatedAfterDateTime": "2020-01-01T00:00:00Z",
		}}},
	})
	s.do(post, at+"/appManagementPolicies/$ref", map[string]any{"@odata.id": w.Origins().Graph + "/v1.0/policies/appManagementPolicies/" + policy.ID})
	s.has(at+"/appManagementPolicies", policy.ID, true)
	secret := func(days int) map[string]any {
		return map[string]any{"passwordCredential": map[string]any{"endDateTime": w.Tenant.Now().AddDate(0, 0, days).UTC().Format(time.RFC3339)}}
	}
	if err := s.graphClient.do(t.Context(), post, at+"/addPassword", secret(30), nil); err == nil {
		t.Error("the policy lets a secret live 30 days")
	}
	if got := s.do(post, at+"/addPassword", secret(3)); got.SecretText == "" {
		t.Error("there is no secret")
	}
	s.has("/policies/appManagementPolicies/"+policy.ID+"/appliesTo", app.ID, true)
	s.has("/policies/appManagementPolicies", policy.ID, true)
	s.do(patch, "/policies/appManagementPolicies/"+policy.ID, map[string]any{"isEnabled": false})
	s.do(get, "/policies/appManagementPolicies/"+policy.ID, nil)
	s.do(post, at+"/addPassword", secret(30))
	s.do(remove, at+"/appManagementPolicies/"+policy.ID+"/$ref", nil)
	s.do(remove, "/policies/appManagementPolicies/"+policy.ID, nil)
	s.do(patch, "/policies/defaultAppManagementPolicy", map[string]any{"isEnabled": false})
	s.do(get, "/policies/defaultAppManagementPolicy", nil)

	// The recycle bin.
	s.do(remove, spAt, nil)
	s.has("/directory/deletedItems/microsoft.graph.servicePrincipal", sp.ID, true)
	s.do(post, "/directory/deletedItems/"+sp.ID+"/restore", nil)
	s.do(remove, at, nil)
	s.has("/directory/deletedItems/microsoft.graph.application", app.ID, true)
	s.do(get, "/directory/deletedItems/"+app.ID, nil)
	s.do(remove, "/directory/deletedItems/"+app.ID, nil)
	s.has("/directory/deletedItems/microsoft.graph.application", app.ID, false)
	s.do(get, "/organization", nil)
}

// credential is p's certificate as a key credential of Graph.
func (p pair) credential() map[string]any {
	return map[string]any{
		"type": "AsymmetricX509Cert", "usage": "Verify", "key": base64.StdEncoding.EncodeToString(p.certificate.Raw),
	}
}

// proof is what addKey and removeKey want to see: that their caller holds the
// private key of a certificate that the object has.
func (p pair) proof(t testing.TB, objectID string) string {
	t.Helper()
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"aud": directory.AADGraph, "iss": objectID, "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	})
	token.Header["x5t"] = base64.RawURLEncoding.EncodeToString(directory.Thumbprint(p.certificate.Raw))
	signed, err := token.SignedString(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
