package m365_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
)

const atResources = "https://management.core.windows.net"

// azure asks Resource Manager as the case's application, which has the roles in Azure that
// are named.
func (w *tenantWorld) azure(t *testing.T, method, path, body string, roles ...string) string {
	t.Helper()
	for _, r := range roles {
		if err := w.Grant(w.app.AppID, "resources/"+r); err != nil {
			t.Fatal(err)
		}
	}
	return w.as(t, w.app.AppID, atResources, method, w.Origins().Resources+path, body)
}

func (w *tenantWorld) subscription() string { return "/subscriptions/" + w.Tenant.SubscriptionID }

const (
	resourceVersion   = "?api-version=2023-07-01"
	assignmentVersion = "?api-version=2022-04-01"
)

// assign gives somebody the role Reader of the subscription.
func (w *tenantWorld) assign(t *testing.T, principal string, roles ...string) string {
	const authorization, reader = "/providers/Microsoft.Authorization/", "acdd72a7-3385-48ef-bd42-f606fba81ae7"
	return w.azure(t, http.MethodPut, w.subscription()+authorization+"roleAssignments/"+uuid.NewString()+assignmentVersion,
		`{"properties": {"roleDefinitionId": "`+w.subscription()+authorization+"roleDefinitions/"+reader+`", "principalId": "`+principal+`"}}`, roles...)
}

var provokedResources = map[string]provocation{
	"AuthorizationFailed": func(t *testing.T, w *tenantWorld) string { return w.assign(t, w.principal(t), "Contributor") },
	"RoleAssignmentExists": func(t *testing.T, w *tenantWorld) string {
		w.assign(t, w.principal(t), "Owner")
		return w.assign(t, w.principal(t))
	},
	"PrincipalNotFound": func(t *testing.T, w *tenantWorld) string { return w.assign(t, w.app.ID, "Owner") },
	"SubscriptionNotFound": func(t *testing.T, w *tenantWorld) string {
		return w.azure(t, http.MethodGet, "/subscriptions/"+uuid.NewString()+"/providers/Microsoft.KeyVault/vaults"+resourceVersion, "", "Owner")
	},
	"ResourceGroupNotFound": func(t *testing.T, w *tenantWorld) string {
		return w.azure(t, http.MethodGet, w.subscription()+"/resourceGroups/nothing/providers/Microsoft.KeyVault/vaults"+resourceVersion, "", "Owner")
	},
	"ResourceNotFound": func(t *testing.T, w *tenantWorld) string {
		return w.azure(t, http.MethodGet, w.subscription()+"/resourceGroups/reeve/providers/Microsoft.KeyVault/vaults/nothing"+resourceVersion, "", "Owner")
	},
}
