package permission

// The permissions that are used, with the IDs of their app roles from
// https://learn.microsoft.com/graph/permissions-reference and from the service principals
// of the other APIs.
var (
	activityRead    = Permission{Manage, "ActivityFeed.Read", "594c1fb6-4f81-4475-ae41-0c394909246c"}
	activityReadDLP = Permission{Manage, "ActivityFeed.ReadDlp", "4807a72c-ad38-4250-94c9-4eabfe26cd55"}

	userRead            = Permission{Graph, "User.Read.All", "df021288-bdef-4463-88db-98f22de89214"}
	licenseRead         = Permission{Graph, "LicenseAssignment.Read.All", "e2f98668-2877-4f38-a2f4-8202e0717aa1"}
	organizationRead    = Permission{Graph, "Organization.Read.All", "498476ce-e0fe-48b0-b801-37ba7e2685c6"}
	directoryRead       = Permission{Graph, "Directory.Read.All", "7ab1d382-f21e-4acd-a863-ba3e13f7da61"}
	reportsRead         = Permission{Graph, "Reports.Read.All", "230c1aed-a721-4c5d-9cb4-a90514e508ef"}
	reportSettingsRead  = Permission{Graph, "ReportSettings.Read.All", "ee353f83-55ef-4b78-82da-555bfa2b4b95"}
	teamRead            = Permission{Graph, "Team.ReadBasic.All", "2280dda6-0bfd-44ee-a2f4-cb867cfc4c1e"}
	teamMemberRead      = Permission{Graph, "TeamMember.Read.All", "660b7406-55f1-41ca-a0ed-0b035e182f3e"}
	channelRead         = Permission{Graph, "Channel.ReadBasic.All", "59a6b24b-4225-4393-8165-ebaec5f55d7a"}
	tabRead             = Permission{Graph, "TeamsTab.Read.All", "46890524-499a-4bb2-ad64-1476b4f3e1cf"}
	teamAppsRead        = Permission{Graph, "TeamsAppInstallation.ReadForTeam.All", "1f615aea-6bf9-4b05-84bd-46388e138537"}
	userAppsRead        = Permission{Graph, "TeamsAppInstallation.ReadForUser.All", "9ce09611-f4f7-4abd-a629-a05450422a97"}
	catalogRead         = Permission{Graph, "AppCatalog.Read.All", "e12dae10-5a57-4817-b79d-dfbec5348930"}
	groupRead           = Permission{Graph, "Group.Read.All", "5b567255-7703-4780-807c-7be8301ae99b"}
	callRecordsRead     = Permission{Graph, "CallRecords.Read.All", "45bbb07e-7321-4fd7-a8f6-3ff27e6a81c8"}
	applicationRead     = Permission{Graph, "Application.Read.All", "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30"}
	applicationOwned    = Permission{Graph, "Application.ReadWrite.OwnedBy", "18a4783c-866b-4cc7-a460-3d5e5662c884"}
	logsDataRead        = Permission{Logs, "Data.Read", "e8f6e161-84d0-4cd7-9441-2d46ec9ec3d5"}
	whoReadsWhoseName   = "Records name people by their address alone; departments, offices and managers are missing."
	readableByDirectory = []Permission{directoryRead}
)

// feeds are all, in the order in which pages and consent packs show them.
var feeds = []Feed{
	{
		Name: "audit", Title: "Audit log",
		Needs: []Need{{
			Permission: activityRead, To: "read the audit log of Exchange, SharePoint, Entra ID, Teams and the other services",
			Without: "No audit record is imported; after 7 days Microsoft has forgotten what was not fetched.",
		}},
	},
	{
		Name: "dlp", Title: "DLP events with their detail",
		Needs: []Need{
			{Permission: activityRead, To: "list the events", Without: "No event is imported."},
			{
				Permission: activityReadDLP, To: "read events of data loss prevention with what was found in the content",
				Without: "The content type DLP.All is refused, or comes without the detail of what was found.",
			},
		},
	},
	{
		Name: "users", Title: "People", Planned: true,
		Needs: []Need{{Permission: userRead, To: "read names, departments, offices, managers and account states", Without: whoReadsWhoseName, Enough: readableByDirectory}},
	},
	{
		Name: "licences", Title: "Licences", Planned: true,
		Needs: []Need{
			{
				Permission: licenseRead, To: "read which licences there are and how many are free",
				Without: "What the tenant pays for and does not use cannot be shown.",
				Enough:  []Permission{organizationRead, directoryRead},
			},
			{Permission: userRead, To: "read who has which licence", Without: "Licences are counted, and nobody knows whose they are.", Enough: readableByDirectory},
		},
	},
	{
		Name: "usage", Title: "Usage reports", Planned: true,
		Needs: []Need{
			{Permission: reportsRead, To: "read the usage reports of Teams, Outlook, OneDrive, SharePoint, Viva Engage, Copilot and the apps", Without: "No usage report is imported; Microsoft keeps the daily detail for 28 days."},
			{
				Permission: reportSettingsRead, Optional: true, To: "see whether the reports conceal names",
				Without: "Concealed names are recognised by how they look, and the setting is not told.",
			},
		},
	},
	{
		Name: "teams", Title: "Teams and channels", Planned: true,
		Needs: []Need{
			{Permission: teamRead, To: "list the teams", Without: "No team is imported."},
			{Permission: teamMemberRead, To: "read who owns and belongs to a team", Without: "Teams have no members and owners."},
			{Permission: channelRead, To: "list the channels, not what is written there", Without: "Teams have no channels.", Enough: []Permission{groupRead, directoryRead}},
			{Permission: teamAppsRead, Optional: true, To: "read which apps a team has", Without: "Teams have no apps."},
			{Permission: tabRead, Optional: true, To: "read the tabs of channels", Without: "Channels have no tabs.", Enough: []Permission{groupRead}},
		},
	},
	{
		Name: "apps", Title: "People's Teams apps", Planned: true,
		Needs: []Need{
			{Permission: userRead, To: "list the people", Without: "Nobody's apps are imported.", Enough: readableByDirectory},
			{Permission: userAppsRead, To: "read which Teams apps a person has", Without: "Nobody's apps are imported."},
			{Permission: catalogRead, Optional: true, To: "read the names of the organisation's own apps", Without: "Apps of the organisation's own are known by their ID alone."},
		},
	},
	{
		Name: "calls", Title: "Calls and meetings", Planned: true,
		Needs: []Need{
			{Permission: callRecordsRead, To: "read the records of calls and meetings", Without: "No call is imported; Microsoft keeps the records for 30 days."},
			{Permission: userRead, Optional: true, To: "know who took part", Without: whoReadsWhoseName, Enough: readableByDirectory},
		},
	},
	{
		Name: "web", Title: "Web traffic of sites", Planned: true,
		Needs: []Need{{
			Permission: logsDataRead, To: "ask Log Analytics or Application Insights for page views; the workspace itself is opened by the role Log Analytics Reader on it",
			Without: "No page view is imported.",
		}},
	},
	{
		Name: "credentials", Title: "Certificates and secrets of all applications",
		Needs: []Need{
			{
				Permission: applicationRead, Optional: true, To: "list the certificates and secrets of every application, with their end dates, and see what others change at reeve's own",
				Without: "Only applications whose certificates reeve itself looks after are watched. Renewing reeve's own certificate needs no permission.",
				Enough:  []Permission{directoryRead},
			},
			{
				Permission: applicationOwned, Optional: true, To: "renew the certificates of other applications of which reeve is made an owner",
				Without: "Only reeve's own certificate is renewed, for which it needs no permission.",
			},
		},
	},
}
