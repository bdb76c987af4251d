package graph

import (
	"strings"
	"sync"

	"github.com/google/uuid"
)

// What stands behind Graph besides the directory: licences (licences.go), usage
// reports (reports.go), Teams (teams.go) and calls (calls.go). Each answers one
// harmless question about the people of the directory, by which a client can
// tell whether its permissions work.

// Services are the states of those services. It may be used from several
// goroutines. The zero value is a tenant with licences in which everything is in
// use, and whose reports show names; see UsualState.
type Services struct {
	mu    sync.Mutex
	state ServicesState
}

// ServicesState is one state.
type ServicesState struct {
	// ConcealNames makes reports show identifiers in place of names.
	ConcealNames bool `json:"concealNames"`
	// Unlicensed takes away all licences: Teams refuses, reports and calls are
	// empty.
	Unlicensed bool `json:"unlicensed"`
	// Empty makes everything answer that there is nothing yet.
	Empty bool `json:"empty"`
}

// UsualState is that of a new tenant, in which reports conceal names
// (learn.microsoft.com/microsoft-365/admin/activity-reports/activity-reports).
var UsualState = ServicesState{ConcealNames: true}

// Set changes the state.
func (s *Services) Set(state ServicesState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// State returns the state.
func (s *Services) State() ServicesState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func serviceRoutes() []*route {
	const team = "/teams/{id}"
	return []*route{
		{name: "subscribedSkus", method: "GET", path: "/subscribedSkus", page: "subscribedsku-list", access: readLicences,
			serve: (*request).listSkus, typ: subscribedSkuType, set: "subscribedSkus"},
		{name: "reportSettings", method: "GET", path: "/admin/reportSettings", page: "adminreportsettings-get", access: readReportSettings,
			serve: (*request).getReportSettings, typ: reportSettingsType, set: "admin/reportSettings"},
		{name: "activeUserDetail", method: "GET", path: "/reports/getOffice365ActiveUserDetail(period='{period}')", page: "reportroot-getoffice365activeuserdetail",
			access: readReports, serve: (*request).reportActiveUsers},
		{name: "groups", method: "GET", path: "/groups", page: "group-list", access: readGroups,
			serve: (*request).listGroups, typ: groupType, set: "groups", list: true, costly: true},
		{name: "teams", method: "GET", path: "/teams", page: "teams-list", access: readTeams,
			serve: (*request).listTeams, typ: teamType, set: "teams", list: true},
		{name: "channels", method: "GET", path: team + "/channels", page: "channel-list", access: readChannels,
			serve: (*request).listChannels, typ: channelType, set: "teams/channels", list: true},
		{name: "teamMembers", method: "GET", path: team + "/members", page: "team-list-members", access: readTeamMembers,
			serve: (*request).listTeamMembers, typ: memberType, set: "teams/members", list: true},
		{name: "teamApps", method: "GET", path: team + "/installedApps", page: "team-list-installedapps", access: readTeamApps,
			serve: (*request).listTeamApps, typ: teamAppType, set: "teams/installedApps", list: true},
		{name: "tabs", method: "GET", path: team + "/channels/{id}/tabs", page: "channel-list-tabs", access: readTabs,
			serve: (*request).listTabs, typ: tabType, set: "teams/channels/tabs", list: true},
		{name: "teamsApps", method: "GET", path: "/appCatalogs/teamsApps", page: "appcatalogs-list-teamsapps", access: readCatalog,
			serve: (*request).listCatalog, typ: teamsAppType, set: "appCatalogs/teamsApps", list: true},
		{name: "installedApps", method: "GET", path: "/users/{id}/teamwork/installedApps", page: "userteamwork-list-installedapps", access: readInstalledApps,
			serve: (*request).listInstalledApps, typ: installedAppType, set: "users/teamwork/installedApps", list: true},
		{name: "callRecords", method: "GET", path: "/communications/callRecords", page: "callrecords-cloudcommunications-list-callrecords", access: readCalls,
			serve: (*request).listCalls, typ: callRecordType, set: "communications/callRecords", list: true},
	}
}

// given returns an id that the tenant's own decides, so that it is the same at
// each start.
func (q *request) given(what ...string) string {
	space, err := uuid.Parse(q.Directory.TenantID)
	if err != nil {
		space = uuid.Nil
	}
	id := uuid.NewSHA1(space, []byte(strings.Join(what, "/")))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // as Microsoft's look
	return id.String()
}
