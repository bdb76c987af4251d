package graph

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// The permissions of the pages. Teams lists to nobody by Group.Read.All or
// Directory.Read.All, nor are its members theirs; channels are.
var (
	readTeams    = access{permissions: []string{"Team.ReadBasic.All", "TeamSettings.Read.All", "TeamSettings.ReadWrite.All"}, refuse: teamsRefuse}
	readChannels = access{permissions: []string{
		"Channel.ReadBasic.All", "ChannelSettings.Read.All", "ChannelSettings.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All",
		"Group.Read.All", "Group.ReadWrite.All",
	}, refuse: teamsRefuse}
	readTeamMembers   = access{permissions: []string{"TeamMember.Read.All", "TeamMember.ReadWrite.All"}, refuse: teamsRefuse}
	readInstalledApps = access{permissions: []string{
		"TeamsAppInstallation.ReadForUser.All", "TeamsAppInstallation.ReadWriteForUser.All", "TeamsAppInstallation.ReadWriteSelfForUser.All",
		"TeamsAppInstallation.ReadWriteAndConsentForUser.All", "TeamsAppInstallation.ReadWriteAndConsentSelfForUser.All",
		"TeamsAppInstallation.ReadForUser", "TeamsAppInstallation.ReadWriteForUser", "TeamsAppInstallation.ReadWriteSelfForUser",
	}, refuse: teamsRefuse}
	readTeamApps = access{permissions: []string{
		"TeamsAppInstallation.ReadForTeam.All", "TeamsAppInstallation.Read.All", "TeamsAppInstallation.ReadWriteSelfForTeam.All", "TeamsAppInstallation.ReadWriteForTeam.All",
		"TeamsAppInstallation.ManageSelectedForTeam.All", "TeamsAppInstallation.ReadWriteAndConsentForTeam.All", "TeamsAppInstallation.ReadWriteAndConsentSelfForTeam.All",
		"TeamsAppInstallation.ReadForTeam", "TeamsAppInstallation.ReadWriteSelfForTeam", "TeamsAppInstallation.ReadWriteForTeam",
		"TeamsAppInstallation.ManageSelectedForTeam", "TeamsAppInstallation.ReadWriteAndConsentForTeam", "TeamsAppInstallation.ReadWriteAndConsentSelfForTeam",
		"Directory.Read.All", "Directory.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All",
	}, refuse: teamsRefuse}
	readTabs = access{permissions: []string{
		"TeamsTab.Read.All", "TeamsTab.ReadWrite.All", "TeamsTab.ReadWriteForTeam.All", "TeamsTab.ReadWriteSelfForTeam.All", "TeamsTab.ReadWriteForTeam", "TeamsTab.ReadWriteSelfForTeam",
		"Directory.Read.All", "Directory.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All",
	}, refuse: teamsRefuse}
	readCatalog = access{permissions: []string{"AppCatalog.Read.All", "AppCatalog.ReadWrite.All"}, refuse: teamsRefuse}
	readGroups  = access{permissions: []string{
		"GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All",
	}}
)

// teamsRefuse is as users report it
// (github.com/microsoftgraph/microsoft-graph-docs/issues/19105).
func teamsRefuse(q *request, a access) *graphError {
	kind, held := "role", "Roles"
	have := q.caller.Roles
	if !q.caller.App() {
		kind, held, have = "scope", "Scopes", q.caller.Scopes
	}
	return refusal(http.StatusForbidden, "Forbidden", "Missing %s permissions on the request. API requires one of '%s'. %s on the request '%s'.",
		kind, strings.Join(a.permissions, ", "), held, strings.Join(have, ", "))
}

// licensed refuses when the tenant has no licence for Teams. What an application
// is told then no page says [K]; people are told this
// (github.com/microsoftgraph/msgraph-sdk-powershell/issues/1270).
func (q *request) licensed() *graphError {
	if q.Services.State().Unlicensed {
		return refusal(http.StatusForbidden, "Forbidden", "Failed to get license information for the user. Ensure user has a valid Office365 license assigned to them.")
	}
	return nil
}

// team is a team with its channels besides General. The administrator owns all,
// and everybody belongs to them.
type team struct {
	id, name, description string
	channels              []string
}

func (q *request) teams() []team {
	if s := q.Services.State(); s.Empty || s.Unlicensed {
		return nil
	}
	return []team{
		{q.given("team", "Sales"), "Sales", "All of sales", []string{"Offers"}},
		{q.given("team", "Operations"), "Operations", "Those who keep it running", nil},
	}
}

// listGroups lists the groups behind the teams, and one that has none.
func (q *request) listGroups() (answer, *graphError) {
	var all []entity
	group := func(id, name, description string, options ...string) {
		all = append(all, entity{
			"id": id, "displayName": name, "description": description, "groupTypes": []string{"Unified"}, "mailEnabled": true,
			"securityEnabled": false, "visibility": "Private", "resourceProvisioningOptions": some(options),
		})
	}
	for _, t := range q.teams() {
		group(t.id, t.name, t.description, "Team")
	}
	if !q.Services.State().Empty {
		group(q.given("group", "Canteen"), "Canteen", "What there is to eat")
	}
	return list(q, all, entityID, itself)
}

func (q *request) listTeams() (answer, *graphError) {
	if err := q.licensed(); err != nil {
		return answer{}, err
	}
	var all []entity
	for _, t := range q.teams() {
		all = append(all, entity{"id": t.id, "displayName": t.name, "description": t.description})
	}
	return list(q, all, entityID, itself)
}

// team finds the team of the path.
func (q *request) team() (team, *graphError) {
	if err := q.licensed(); err != nil {
		return team{}, err
	}
	for _, t := range q.teams() {
		if q.keys[0].name == "id" && strings.EqualFold(t.id, q.keys[0].value) {
			return t, nil
		}
	}
	return team{}, refusal(http.StatusNotFound, "NotFound", "No team found with Group Id %s", q.keys[0].value)
}

// general is the channel that every team has.
const general = "General"

func (q *request) channelID(t team, name string) string {
	return "19:" + strings.ReplaceAll(q.given("channel", t.name, name), "-", "") + "@thread.tacv2"
}

func (q *request) listChannels() (answer, *graphError) {
	t, err := q.team()
	if err != nil {
		return answer{}, err
	}
	var all []entity
	for _, name := range append([]string{general}, t.channels...) {
		all = append(all, entity{
			"id": q.channelID(t, name), "displayName": name, "description": nil,
			"createdDateTime": nil, "membershipType": "standard", "isArchived": false,
		})
	}
	return list(q, all, entityID, itself)
}

func (q *request) listTeamMembers() (answer, *graphError) {
	t, err := q.team()
	if err != nil {
		return answer{}, err
	}
	return list(q, q.view.Users(), userID, func(u *directory.User) entity {
		roles := []string{}
		if strings.HasPrefix(u.UserPrincipalName, "admin@") {
			roles = append(roles, "owner")
		}
		return entity{
			"@odata.type": "#microsoft.graph.aadUserConversationMember", "id": membership(t.id, u.ID), "roles": roles,
			"displayName": u.DisplayName, "userId": u.ID, "email": optional(u.Mail), "tenantId": q.Directory.TenantID,
			"visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
		}
	})
}

// membership is the opaque id of what belongs to something.
func membership(of, what string) string {
	return base64.StdEncoding.EncodeToString([]byte(of + "##" + what))
}

// oneNote is the id of an app of Microsoft's, which everybody and every team has.
const oneNote = "0d820ecd-def2-4297-adad-78056cde7c78"

func (q *request) listTeamApps() (answer, *graphError) {
	t, err := q.team()
	if err != nil {
		return answer{}, err
	}
	return list(q, []entity{{"id": membership(t.id, oneNote)}}, entityID, itself)
}

// listTabs lists the one tab that each channel has.
func (q *request) listTabs() (answer, *graphError) {
	t, err := q.team()
	if err != nil {
		return answer{}, err
	}
	for _, name := range append([]string{general}, t.channels...) {
		if q.channelID(t, name) == q.keys[1].value {
			id := q.given("tab", t.name, name)
			return list(q, []entity{{"id": id, "displayName": "Notes", "configuration": nil,
				"webUrl": "https://teams.microsoft.com/l/channel/" + url.QueryEscape(q.keys[1].value) + "/tab%3A%3A" + id + "?label=Notes"}}, entityID, itself)
		}
	}
	return answer{}, refusal(http.StatusNotFound, "NotFound", "The channel was not found.") // [K] the words
}

// listCatalog lists an app of the store, and one of the organisation's own.
func (q *request) listCatalog() (answer, *graphError) {
	if err := q.licensed(); err != nil {
		return answer{}, err
	}
	var all []entity
	if !q.Services.State().Empty {
		all = append(all,
			entity{"id": oneNote, "externalId": nil, "displayName": "OneNote", "distributionMethod": "store"},
			entity{"id": q.given("app", "Travel"), "externalId": q.given("manifest", "Travel"), "displayName": "Travel", "distributionMethod": "organization"})
	}
	return list(q, all, entityID, itself)
}

// listInstalledApps lists an app that everybody has.
func (q *request) listInstalledApps() (answer, *graphError) {
	if err := q.licensed(); err != nil {
		return answer{}, err
	}
	u, ok := q.view.User(q.keys[0].value)
	if !ok {
		return answer{}, refusal(http.StatusNotFound, "NotFound", "The user was not found.") // [K] the words
	}
	var all []entity
	if !q.Services.State().Empty {
		all = append(all, entity{"id": membership(u.ID, oneNote)})
	}
	return list(q, all, entityID, itself)
}
