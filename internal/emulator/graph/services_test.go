package graph_test

import (
	"encoding/csv"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/graph"
)

// withPeople is a world with two people, of whom the first is the administrator.
func withPeople(t *testing.T) (*world, []*directory.User) {
	t.Helper()
	w := newWorld(t)
	var people []*directory.User
	for _, name := range []string{"admin", "anna"} {
		mail := name + "@contoso.onmicrosoft.com"
		people = append(people, &directory.User{
			ID: uuid.NewString(), UserPrincipalName: mail, DisplayName: strings.ToUpper(name), Mail: &mail, AccountEnabled: true, CreatedDateTime: w.now().AddDate(-1, 0, 0),
		})
	}
	w.directory.Update(func(u *directory.Update) error {
		for _, p := range people {
			u.PutUser(p)
		}
		return nil
	})
	return w, people
}

func app(roles ...string) caller {
	return caller{oid: uuid.NewString(), appID: uuid.NewString(), roles: roles}
}

// TestServicesAskForTheirPermission: one harmless call of each feed works with
// the least permission, and not with one that has to do with another.
func TestServicesAskForTheirPermission(t *testing.T) {
	w, people := withPeople(t)
	team := w.do(t, app("Team.ReadBasic.All"), "GET", "/teams?$filter=displayName eq 'Sales'", nil).value()[0]["id"].(string)
	channels := w.do(t, app("Channel.ReadBasic.All"), "GET", "/teams/"+team+"/channels", nil).value()
	for _, c := range []struct {
		path, permission, other, code string
		status, rows                  int // rows of a list, -1 for what is none
	}{
		{"/subscribedSkus", "LicenseAssignment.Read.All", "User.Read.All", "Authorization_RequestDenied", 200, 1},
		{"/subscribedSkus", "Organization.Read.All", "Reports.Read.All", "Authorization_RequestDenied", 200, 1},
		{"/admin/reportSettings", "ReportSettings.Read.All", "Reports.Read.All", "S2SUnauthorized", 200, -1},
		{"/reports/getOffice365ActiveUserDetail(period='D7')", "Reports.Read.All", "ReportSettings.Read.All", "S2SUnauthorized", 302, -1},
		{"/groups", "Group.Read.All", "Team.ReadBasic.All", "Authorization_RequestDenied", 200, 3},
		{"/groups?$filter=resourceProvisioningOptions/any(x:x eq 'Team')", "GroupMember.Read.All", "User.Read.All", "Authorization_RequestDenied", 200, 2},
		{"/groups?$filter=resourceProvisioningOptions/Any(x:x eq 'Team')&$select=id,displayName", "Group.Read.All", "User.Read.All", "Authorization_RequestDenied", 200, 2},
		{"/teams", "Team.ReadBasic.All", "Group.Read.All", "Forbidden", 200, 2},
		{"/teams?$filter=startswith(displayName,'S')&$top=1", "TeamSettings.Read.All", "Directory.Read.All", "Forbidden", 200, 1},
		{"/teams/" + team + "/channels", "Channel.ReadBasic.All", "TeamMember.Read.All", "Forbidden", 200, 2},
		{"/teams/" + team + "/channels", "Group.Read.All", "Team.ReadBasic.All", "Forbidden", 200, 2},
		{"/teams/" + team + "/members", "TeamMember.Read.All", "Group.Read.All", "Forbidden", 200, 2},
		{"/teams/" + team + "/installedApps", "TeamsAppInstallation.ReadForTeam.All", "TeamsAppInstallation.ReadForUser.All", "Forbidden", 200, 1},
		{"/teams/" + team + "/channels/" + channels[0]["id"].(string) + "/tabs", "TeamsTab.Read.All", "Channel.ReadBasic.All", "Forbidden", 200, 1},
		{"/teams/" + team + "/channels/" + channels[1]["id"].(string) + "/tabs", "Group.Read.All", "Team.ReadBasic.All", "Forbidden", 200, 1},
		{"/appCatalogs/teamsApps", "AppCatalog.Read.All", "TeamsAppInstallation.ReadForTeam.All", "Forbidden", 200, 2},
		{"/appCatalogs/teamsApps?$filter=distributionMethod eq 'organization'", "AppCatalog.ReadWrite.All", "Directory.Read.All", "Forbidden", 200, 1},
		{"/users/" + people[1].ID + "/teamwork/installedApps", "TeamsAppInstallation.ReadForUser.All", "TeamsAppInstallation.ReadForTeam.All", "Forbidden", 200, 1},
		{"/communications/callRecords", "CallRecords.Read.All", "CallRecord-PstnCalls.Read.All", "Forbidden", 200, 6},
	} {
		a := w.do(t, app(c.permission), "GET", c.path, nil)
		if a.status != c.status || c.rows >= 0 && len(a.value()) != c.rows {
			t.Errorf("%s by %s: %d %s, want %d and %d rows", c.path, c.permission, a.status, a.text, c.status, c.rows)
		}
		if a := w.do(t, app(c.other), "GET", c.path, nil); a.status != 403 || a.code() != c.code {
			t.Errorf("%s by %s: %d %s, want 403 %s", c.path, c.other, a.status, a.text, c.code)
		}
	}
	if a := w.do(t, app("Team.Create"), "GET", "/teams", nil); !strings.Contains(a.message(), "requires one of 'Team.ReadBasic.All, ") || !strings.Contains(a.message(), "Roles on the request 'Team.Create'") {
		t.Errorf("the refusal of Teams: %s", a.text)
	}
	if a := w.do(t, app("Channel.ReadBasic.All"), "GET", "/teams/"+uuid.NewString()+"/channels", nil); a.status != 404 || a.code() != "NotFound" {
		t.Errorf("a team that there is not: %d %s", a.status, a.text)
	}
	if a := w.do(t, app("TeamsTab.Read.All"), "GET", "/teams/"+team+"/channels/19:x@thread.tacv2/tabs", nil); a.status != 404 || a.code() != "NotFound" {
		t.Errorf("a channel that there is not: %d %s", a.status, a.text)
	}
	if a := w.do(t, app("TeamsAppInstallation.ReadForUser.All"), "GET", "/users/"+uuid.NewString()+"/teamwork/installedApps", nil); a.status != 404 {
		t.Errorf("a person that there is not: %d %s", a.status, a.text)
	}
	for _, option := range []string{"$filter=skuPartNumber eq 'X'", "$top=1"} {
		if a := w.do(t, app("Organization.Read.All"), "GET", "/subscribedSkus?"+option, nil); a.status != 400 {
			t.Errorf("licences with %s: %d %s", option, a.status, a.text)
		}
	}
	members := w.do(t, app("TeamMember.Read.All"), "GET", "/teams/"+team+"/members", nil).value()
	for _, m := range members {
		owner := len(m["roles"].([]any)) == 1
		if owner != (m["userId"] == people[0].ID) || m["@odata.type"] != "#microsoft.graph.aadUserConversationMember" {
			t.Errorf("a member: %v", m)
		}
	}
	since := url.QueryEscape("startDateTime ge " + w.now().AddDate(0, 0, -1).Truncate(24*time.Hour).Format(time.RFC3339))
	if a := w.do(t, app("CallRecords.Read.All"), "GET", "/communications/callRecords?$filter="+since, nil); len(a.value()) != 2 {
		t.Errorf("calls since yesterday: %d %s", a.status, a.text)
	}
}

// TestPeopleReadReportsByTheirRole: calls are not people's at all, and reports
// are theirs who hold a role.
func TestPeopleReadReportsByTheirRole(t *testing.T) {
	w, people := withPeople(t)
	person := caller{oid: people[1].ID, appID: uuid.NewString(), scopes: "CallRecords.Read.All Reports.Read.All ReportSettings.Read.All"}
	if a := w.do(t, person, "GET", "/communications/callRecords", nil); a.status != 403 {
		t.Errorf("calls for a person: %d %s", a.status, a.text)
	}
	for role, want := range map[string]int{"": 403, directory.ApplicationAdministrator: 403, directory.ReportsReader: 302, directory.GlobalReader: 302} {
		person.wids = nil
		if role != "" {
			person.wids = []string{role}
		}
		if a := w.do(t, person, "GET", "/reports/getOffice365ActiveUserDetail(period='D30')", nil); a.status != want {
			t.Errorf("a report by the role %q: %d %s, want %d", role, a.status, a.text, want)
		}
		if a := w.do(t, person, "GET", "/admin/reportSettings", nil); a.status != map[int]int{403: 403, 302: 200}[want] {
			t.Errorf("the settings by the role %q: %d %s", role, a.status, a.text)
		}
	}
}

// download follows a report to its rows, without a token.
func (w *world) download(t *testing.T, location string) (status int, rows [][]string) {
	t.Helper()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequest("GET", strings.TrimPrefix(location, "https://127.0.0.1:1"), nil))
	text, ok := strings.CutPrefix(rec.Body.String(), "\ufeff")
	if rec.Code != 200 {
		return rec.Code, nil
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || !ok {
		t.Fatalf("%v: %s", err, rec.Body.String())
	}
	return rec.Code, rows
}

func TestReportConcealsNames(t *testing.T) {
	w, people := withPeople(t)
	reader := app("Reports.Read.All", "ReportSettings.Read.All")
	ask := func() string {
		t.Helper()
		a := w.do(t, reader, "GET", "/reports/getOffice365ActiveUserDetail(period='D7')", nil)
		location := a.header.Get("Location")
		if a.status != 302 || a.text != "" || !strings.HasPrefix(location, "https://127.0.0.1:1/") {
			t.Fatalf("%d %s to %s", a.status, a.text, location)
		}
		return location
	}
	location := ask()
	_, rows := w.download(t, location)
	if len(rows) != 3 || len(rows[0]) != 24 || rows[0][1] != "User Principal Name" || rows[1][0] != "2026-02-27" || rows[1][1] != people[0].UserPrincipalName && rows[2][1] != people[0].UserPrincipalName {
		t.Errorf("the report: %v", rows)
	}
	w.api.Services.Set(graph.UsualState)
	if a := w.do(t, reader, "GET", "/admin/reportSettings", nil); a.body["displayConcealedNames"] != true {
		t.Errorf("the settings: %s", a.text)
	}
	first := ask()
	_, concealed := w.download(t, first)
	_, again := w.download(t, ask())
	for i, row := range concealed[1:] {
		if strings.Contains(row[1]+row[2], "@") || len(row[1]) != 32 || row[1] == row[2] || row[1] != again[i+1][1] {
			t.Errorf("a concealed row: %v, then %v", row, again[i+1])
		}
	}
	w.pass(5 * time.Minute)
	if status, _ := w.download(t, first); status != 403 {
		t.Errorf("after some minutes: %d", status)
	}
	if status, _ := w.download(t, "https://127.0.0.1:1/data/download/nothing"); status != 403 {
		t.Errorf("an address of nothing: %d", status)
	}
	if a := w.do(t, reader, "GET", "/reports/getOffice365ActiveUserDetail(period='D8')", nil); a.status != 400 {
		t.Errorf("a period that there is not: %d %s", a.status, a.text)
	}
}

func TestServicesWithoutLicencesOrUse(t *testing.T) {
	w, people := withPeople(t)
	all := app("LicenseAssignment.Read.All", "Reports.Read.All", "Team.ReadBasic.All", "TeamsAppInstallation.ReadForUser.All", "AppCatalog.Read.All", "CallRecords.Read.All", "Group.Read.All")
	lists := map[string]bool{ // whether it is of Teams
		"/subscribedSkus": false, "/teams": true, "/appCatalogs/teamsApps": true, "/users/" + people[0].ID + "/teamwork/installedApps": true, "/communications/callRecords": false, "/groups": false,
	}
	report := func() int {
		t.Helper()
		_, rows := w.download(t, w.do(t, all, "GET", "/reports/getOffice365ActiveUserDetail(period='D7')", nil).header.Get("Location"))
		return len(rows)
	}
	w.api.Services.Set(graph.ServicesState{Empty: true})
	for path := range lists {
		if a := w.do(t, all, "GET", path, nil); a.status != 200 || a.body["value"] == nil || len(a.value()) != 0 {
			t.Errorf("%s, when there is nothing: %d %s", path, a.status, a.text)
		}
	}
	if n := report(); n != 1 {
		t.Errorf("the report has %d rows, want its columns alone", n)
	}
	w.api.Services.Set(graph.ServicesState{Unlicensed: true})
	for path, ofTeams := range lists {
		if path == "/groups" {
			continue // They stay.
		}
		a := w.do(t, all, "GET", path, nil)
		if ofTeams && (a.status != 403 || !strings.Contains(a.message(), "license")) || !ofTeams && (a.status != 200 || len(a.value()) != 0) {
			t.Errorf("%s, without a licence: %d %s", path, a.status, a.text)
		}
	}
	if n := report(); n != 1 {
		t.Errorf("the report has %d rows, want its columns alone", n)
	}
}
