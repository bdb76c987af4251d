package tenant

import "time"

// Records of everything that has no content type of its own.

var (
	teamNames = [...]string{"Project Aurora", "Finance", "Marketing EMEA", "IT Operations", "Produktentwicklung", "Field Sales", "All hands"}
	channels  = [...]string{"General", "Standup", "Releases", "Ideen", "Customer questions"}
	reports   = [...]string{"Revenue overview", "Stock by region", "Support backlog", "Auslastung"}
)

func teams(w *recordWriter, e *event) {
	operation := w.choose("MessageSent", "MessageSent", "MessagesListed", "TeamsSessionStarted", "MemberAdded", "ChannelAdded", "TabAdded", "MeetingParticipantDetail", "ReactedToMessage")
	n := w.rng.IntN(len(teamNames))
	team := mix(w.log.opts.Seed, uint64(n)|4<<40)
	w.head(e, operation, "MicrosoftTeams", "Success", ipMapped)
	w.text("ObjectId", w.choose("Unknown (Unknown)", "Web (1415/1.0.0.2026110740)", "Windows (27/1.0.0.2026103007)"))
	w.knownGUID("AADGroupId", team)
	w.text("TeamName", teamNames[n])
	w.thread("TeamGuid", team)
	w.text("ChannelName", channels[w.rng.IntN(len(channels))])
	w.thread("ChannelGuid", team+uint64(1+w.rng.IntN(len(channels))))
	w.text("ChannelType", w.choose("Standard", "Private", "Shared"))
	w.text("CommunicationType", w.choose("Team", "GroupChat", "OneOnOne", "Meeting"))
	w.thread("ChatThreadId", w.rng.Uint64())
	switch operation {
	case "TabAdded":
		w.text("AddOnGuid", "tab::", e.actor.id)
		w.text("AddOnName", "Planner")
		w.integer("AddOnType", 3)
		w.text("TabType", "extension")
	case "MeetingParticipantDetail":
		w.guid("MeetingDetailId")
	}
	w.open("Members", '[')
	for i := range 1 + w.rng.IntN(4) {
		p := &w.log.actors.people[w.rng.IntN(len(w.log.actors.people))]
		w.item('{')
		w.text("DisplayName", p.name)
		w.integer("Role", i%3)
		w.text("UPN", p.upn)
		w.close('}')
	}
	w.close(']')
	w.integer("MessageId", 1790000000000+w.rng.IntN(6000000000))
	w.text("MessageVersion", "1790000000001")
	w.integer("MessageSizeInBytes", 20+w.rng.IntN(4000))
	w.raw("MessageURLs", `["https://www.contoso.example/news","https://www.fabrikam.example/"]`)
	w.open("ExtraProperties", '[')
	w.property("Key", "TimeZone", "Value", w.choose("Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"))
	w.property("Key", "OsName", "Value", w.choose("windows", "macos", "ios"))
	w.property("Key", "Country", "Value", w.choose("us", "de", "in", "gb"))
	w.property("Key", "ClientName", "Value", "skypeteams")
	w.close(']')
	w.accessContext("1fec8e78-bce4-4aaf-ab1b-5451cc387264", "Microsoft Teams")
	w.text("DeviceInformation", e.actor.agent)
	w.text("ItemName", teamNames[n])
}

// thread appends a member with the id of a Teams thread.
func (w *recordWriter) thread(key string, n uint64) {
	w.key(key)
	w.b = append(w.b, `"19:`...)
	w.b = appendGUID(w.b, n)
	w.b = append(w.b, `@thread.tacv2",`...)
}

// copilot tells of an interaction with Copilot. Records have neither the prompt
// nor the answer.
func copilot(w *recordWriter, e *event) {
	p := place{workload: "SharePoint", host: w.log.hosts.sharePoint, path: sites[w.rng.IntN(len(sites))], folder: folders[w.rng.IntN(len(folders))]}
	app := w.choose("Word", "Excel", "PowerPoint", "Teams", "Outlook", "Office", "Bing", "M365App", "bizchat", "Loop")
	w.head(e, "CopilotInteraction", "Copilot", "", ipMapped)
	w.text("AppIdentity", "Copilot.", w.choose("MicrosoftCopilot", "Studio", "Security"), ".", app)
	w.text("ClientRegion", w.choose("us", "de", "gb", "in"))
	w.text("CopilotLogVersion", "1.0.0.0")
	w.open("CopilotEventData", '{')
	w.raw("AISystemPlugin", `[{"Id":"BingWebSearch","Name":"BuiltIn","Version":"1.2"}]`)
	w.open("AccessedResources", '[')
	for range w.rng.IntN(4) {
		file, ext := fileNames[w.rng.IntN(len(fileNames))], extensions[w.rng.IntN(4)]
		w.item('{')
		w.text("Action", "Read")
		w.guid("Id")
		w.text("Name", file, ".", ext)
		w.knownGUID("SensitivityLabelId", mix(w.log.opts.Seed, 5<<40|uint64(w.rng.IntN(4))))
		w.text("SiteUrl", "https://", p.host, p.prefix(), p.path, "/", p.folder, "/", file, ".", ext)
		w.text("Type", ext)
		w.guid("listItemUniqueId")
		w.close('}')
	}
	w.close(']')
	w.text("AppHost", app)
	w.open("Contexts", '[')
	w.item('{')
	w.text("Id", "https://", w.log.hosts.oneDrive, "/personal/", e.actor.personal, "/_layouts/15/Doc.aspx?sourcedoc=%7B", e.actor.id, "%7D&file=Notes.docx&action=default")
	w.text("Type", "docx")
	w.close('}')
	w.close(']')
	w.raw("MessageIds", "[]")
	w.open("Messages", '[')
	id := 1790000000000 + w.rng.IntN(6000000000)
	for i := range 2 {
		w.item('{')
		w.integer("Id", id+i*703)
		w.integer("Size", 20+w.rng.IntN(3000))
		w.boolean("isPrompt", i == 0)
		w.close('}')
	}
	w.close(']')
	w.raw("ModelTransparencyDetails", `[{"ModelName":"DEEP_LEO","ModelProviderName":"Contoso Models","ModelVersion":"2026-05"}]`)
	w.thread("ThreadId", w.rng.Uint64())
	w.close('}')
	w.accessContext("fb8d773d-7ef8-4ec0-a117-179f88add510", "Enterprise Copilot Platform")
}

func powerBI(w *recordWriter, e *event) {
	n := w.rng.IntN(len(reports))
	id := mix(w.log.opts.Seed, uint64(n)|6<<40)
	w.head(e, w.choose("ViewReport", "ViewReport", "ExportReport", "GetDatasets", "RefreshDataset", "ShareReport"), "PowerBI", "", ipPlain)
	w.text("Activity", "ViewReport")
	w.text("AppName", "Contoso reporting")
	w.text("ItemName", reports[n])
	w.text("WorkSpaceName", teamNames[n])
	w.knownGUID("WorkspaceId", id+1)
	w.text("DatasetName", reports[n])
	w.knownGUID("DatasetId", id+2)
	w.text("ReportName", reports[n])
	w.knownGUID("ReportId", id)
	w.text("ReportType", "PowerBIReport")
	w.knownGUID("ObjectId", id)
	w.knownGUID("CapacityId", id+3)
	w.text("CapacityName", "Premium Per User - Reserved")
	w.text("ConsumptionMethod", w.choose("Power BI Web", "Power BI Mobile", "Embedded"))
	w.text("DistributionMethod", "Workspace")
	w.text("UserAgent", e.actor.agent)
	w.boolean("IsSuccess", true)
	w.guid("RequestId")
	w.guid("ActivityId")
	w.boolean("HasFullReportAttachment", false)
	w.raw("Datasets", `[{"DatasetId":"6ae12f1b-9ad1-4c1e-8a2c-5a90b0f7be2d","DatasetName":"Sales model"}]`)
	w.raw("DataflowAccessTokenRequestParameters", `{"entityName":"Orders","tokenLifetimeInMinutes":60,"permissions":2}`)
	w.open("ModelsSnapshots", '[')
	w.item('{')
	w.text("Name", reports[n])
	w.close('}')
	w.close(']')
	w.accessContext("871c010f-5e61-4fb1-83ac-98610a7e9110", "Power BI Service")
}

func vivaEngage(w *recordWriter, e *event) {
	w.head(e, w.choose("MessageViewed", "ThreadViewed", "MessageCreated", "FileVisited", "GroupCreation"), "Yammer", "TRUE", ipPlain)
	w.text("ObjectId", w.choose("Thread 2918274", "Message 81726354", "Town hall questions"))
	w.text("ActorUserId", e.actor.upn)
	w.integer("ActorYammerUserId", 100000+int(e.actor.site()%900000))
	w.integer("FileId", w.rng.IntN(1e9))
	w.text("FileName", fileNames[w.rng.IntN(len(fileNames))], ".pdf")
	w.text("GroupName", teamNames[w.rng.IntN(len(teamNames))])
	w.integer("MessageId", w.rng.IntN(1e12))
	w.integer("ThreadId", w.rng.IntN(1e12))
	w.integer("YammerNetworkId", 5582911)
	w.text("TargetUserId", e.actor.upn)
	w.integer("TargetYammerUserId", 100000+w.rng.IntN(900000))
	w.integer("VersionId", w.rng.IntN(1000))
	w.text("DataExportType", "")
	w.boolean("IsSoftDelete", false)
	w.text("UserAgent", e.actor.agent)
	w.accessContext("00000005-0000-0ff1-ce00-000000000000", "Viva Engage")
}

func forms(w *recordWriter, e *event) {
	w.head(e, w.choose("ViewForm", "CreateResponse", "CreateForm", "EditForm", "ExportForm"), "MicrosoftForms", "Succeeded", ipPlain)
	w.guid("FormId")
	w.text("FormName", w.choose("Canteen survey", "Event registration", "Feedback Schulung"))
	w.raw("FormTypes", `["Form","Quiz"]`)
	w.text("FormUserType", "Owner")
	w.raw("FormUserTypes", `["Owner"]`)
	w.text("ActivityParameters", `{\"formId\":\"`, e.actor.id, `\",\"responseCount\":17,\"sharedWith\":\"organization\",\"collects\":\"names\"}`)
	w.text("SourceApp", "Forms")
	w.text("UserAgent", e.actor.agent)
	w.guid("RequestId")
	w.accessContext("c9a559d2-7aab-4f13-a6ed-e7e9c52aec87", "Microsoft Forms")
}

func flow(w *recordWriter, e *event) {
	w.head(e, w.choose("CreateFlow", "EditFlow", "DeleteFlow", "PutPermissions"), "MicrosoftFlow", "Success", ipPlain)
	w.text("ObjectId", "/providers/Microsoft.ProcessSimple/environments/Default-", w.log.orgID, "/flows/", e.actor.id)
	w.text("FlowConnectorNames", "Office 365 Outlook, SharePoint, Approvals, Microsoft Teams, SQL Server")
	w.text("FlowDetailsUrl", "https://make.powerautomate.com/environments/Default-", w.log.orgID, "/flows/", e.actor.id, "/details")
	w.text("LicenseDisplayName", "Microsoft Power Automate Premium")
	w.text("RecipientUPN", e.actor.upn)
	w.text("SharingPermission", "2")
	w.text("UserTypeInitiated", "1")
	w.text("UserUPN", e.actor.upn)
	w.text("UserAgent", e.actor.agent)
	w.raw("PropertyCollection", `[{"Name":"powerplatform.analytics.resource.tenant.license.display_name","Value":"Premium"},`+
		`{"Name":"targetuser.id","Value":"3f1d8a6c-2f3b-4a7e-9d0c-5b7a1e2c4d6f"}]`)
	w.accessContext("7df0a125-d3be-4c96-aa54-591f83ff541c", "Microsoft Flow Service")
}

func label(w *recordWriter, e *event) {
	p := place{workload: "SharePoint", path: sites[w.rng.IntN(len(sites))]}
	w.head(e, "MipLabel", "Exchange", "", ipPort)
	w.text("ObjectId", "https://", w.log.hosts.sharePoint, p.prefix(), p.path, "/Shared Documents/", fileNames[w.rng.IntN(len(fileNames))], ".docx")
	w.knownGUID("LabelId", mix(w.log.opts.Seed, 5<<40|uint64(w.rng.IntN(4))))
	w.text("LabelName", w.choose("Internal", "Confidential", "Strictly confidential", "Public"))
	w.text("LabelAction", w.choose("LabelApplied", "LabelUpgraded", "LabelRemoved"))
	w.when("LabelAppliedDateTime", e.at-2)
	w.text("ApplicationMode", w.choose("Privileged", "Standard", "Automatic"))
	w.text("ItemName", subjects[w.rng.IntN(len(subjects))])
	w.raw("Receivers", `["team.north@fabrikam.example","orders@northwind.example","registry@contoso.example"]`)
	w.text("Sender", e.actor.upn)
	w.text("UserAgent", e.actor.agent)
	w.accessContext("c00e9d32-3c8d-4a7d-832b-029040e7db99", "Microsoft Information Protection")
}

// alertActor is who alerts say has done it.
var alertActor = actor{upn: "SecurityComplianceAlerts", name: "SecurityComplianceAlerts", id: "SecurityComplianceAlerts", puid: "SecurityComplianceAlerts", service: true}

func securityAlert(w *recordWriter, e *event) {
	user := e.actor
	e.actor = &alertActor
	w.head(e, w.choose("AlertTriggered", "AlertEntityGenerated", "AlertUpdated"), "SecurityComplianceCenter", "Succeeded", ipNone)
	e.actor = user
	at := time.Unix(e.at, 0).UTC().Format("2006-01-02T15:04:05.0000000Z")
	w.guid("ObjectId")
	w.guid("AlertId")
	w.text("AlertType", "System")
	w.text("AlertEntityId", user.upn)
	w.text("EntityType", "User")
	w.text("Name", w.choose("Unusual volume of file deletion", "Creation of forwarding rule", "Elevation of administrative privilege"))
	w.guid("PolicyId")
	w.text("Status", w.choose("Active", "Investigating", "Resolved"))
	w.text("Severity", w.choose("Low", "Medium", "High", "Informational"))
	w.text("Category", w.choose("DataGovernance", "ThreatManagement", "AccessGovernance"))
	w.text("Source", "Office 365 Security & Compliance")
	w.text("Comments", "New alert")
	w.text("Data", `{\"f3u\":\"`, user.upn, `\",\"ts\":\"`, at, `\",\"te\":\"`, at, `\",\"op\":\"FileDeleted\",`,
		`\"wl\":\"SharePoint\",\"tid\":\"`, w.log.orgID, `\",\"tdc\":\"114\",\"reid\":\"`, user.id, `\",\"rid\":\"`, user.id, `\",\"cid\":\"`, user.id,
		`\",\"ad\":\"This alert is triggered when a user deletes an unusual number of files within a short time.\",\"lon\":\"FileDeleted\",\"an\":\"Unusual volume of file deletion\",\"sev\":\"Medium\"}`)
	w.text("ThreatIntelNote", "")
}

// unheardOf is a record of a type that no list has yet.
func unheardOf(w *recordWriter, e *event) {
	w.head(e, "OrbitDocked", "VivaOrbit", "Success", ipPlain)
	w.text("ObjectId", "orbit://stations/", e.actor.id)
	w.open("Orbit", '{')
	w.integer("Apogee", w.rng.IntN(40000))
	w.integer("Perigee", w.rng.IntN(4000))
	w.raw("Elements", `{"inclination":51.64,"eccentricity":0.0006703,"epoch":"2026-11-02T08:12:44.123Z","tags":[]}`)
	w.close('}')
	w.text("UserAgent", e.actor.agent)
	w.accessContext("0f9b7a4e-5a57-4b0e-8c31-2f6e9c1d7a55", "Contoso Orbit")
	w.text("Remarks", filler)
}
