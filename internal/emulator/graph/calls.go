package graph

import (
	"net/http"
	"time"
)

// readCalls is for applications alone
// (learn.microsoft.com/graph/api/callrecords-cloudcommunications-list-callrecords).
// The words of the refusal are [K].
var readCalls = access{permissions: []string{"CallRecords.Read.All"}, app: true, refuse: func(*request, access) *graphError {
	return refusal(http.StatusForbidden, "Forbidden", "Application is not authorized to perform this operation.")
}}

// listCalls lists one call of each of the last days of everybody who has a
// licence.
func (q *request) listCalls() (answer, *graphError) {
	const days = 3
	var all []entity
	users := q.view.Users()
	if s := q.Services.State(); s.Empty || s.Unlicensed {
		users = nil
	}
	today := q.Cloud.Now().UTC().Truncate(24 * time.Hour)
	for day := 1; day <= days; day++ {
		for n, u := range users {
			start := today.AddDate(0, 0, -day).Add(9*time.Hour + time.Duration(n)*7*time.Minute)
			end := start.Add(11 * time.Minute)
			who := map[string]any{"user": map[string]any{"id": u.ID, "displayName": u.DisplayName, "tenantId": q.Directory.TenantID}}
			all = append(all, entity{
				"id": q.given("call", u.ID, start.Format(time.DateOnly)), "version": 1, "type": "groupCall", "modalities": []string{"audio"},
				"startDateTime": edmTime(start), "endDateTime": edmTime(end), "lastModifiedDateTime": edmTime(end.Add(15 * time.Minute)),
				"organizer": who, "organizer_v2": map[string]any{"id": u.ID, "identity": who},
			})
		}
	}
	return list(q, all, entityID, itself)
}
