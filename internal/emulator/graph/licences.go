package graph

import "net/http"

// readLicences are the permissions of the page, the least first.
var readLicences = access{permissions: []string{
	"LicenseAssignment.Read.All", "Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All",
}}

// listSkus lists the one product that the tenant pays for, of which everybody has
// a licence (learn.microsoft.com/graph/api/subscribedsku-list). Its ids are those
// of learn.microsoft.com/entra/identity/users/licensing-service-plan-reference.
func (q *request) listSkus() (answer, *graphError) {
	const e5 = "c7df2760-2c81-4ef7-b578-5b5392b571df"
	plan := func(id, name string) map[string]any {
		return map[string]any{"servicePlanId": id, "servicePlanName": name, "provisioningStatus": "Success", "appliesTo": "User"}
	}
	value := []entity{}
	if s := q.Services.State(); !s.Unlicensed && !s.Empty {
		people := len(q.view.Users())
		value = append(value, q.pick(entity{
			"id": q.Directory.TenantID + "_" + e5, "accountId": q.Directory.TenantID, "accountName": q.Directory.DisplayName, "appliesTo": "User",
			"capabilityStatus": "Enabled", "consumedUnits": people, "skuId": e5, "skuPartNumber": "ENTERPRISEPREMIUM",
			"subscriptionIds": []string{q.given("subscription", e5)},
			"prepaidUnits":    map[string]any{"enabled": people + 5, "lockedOut": 0, "suspended": 0, "warning": 0},
			"servicePlans": []any{
				plan("57ff2da0-773e-42df-b2af-ffb7a2317929", "TEAMS1"), plan("efb87545-963c-4e0d-99df-69c6916d9eb0", "EXCHANGE_S_ENTERPRISE"),
				plan("5dbe027f-2339-4123-9542-606e4d348a72", "SHAREPOINTENTERPRISE"),
			},
		}))
	}
	return answer{status: http.StatusOK, body: entity{"@odata.context": q.context(false), "value": value}}, nil
}
