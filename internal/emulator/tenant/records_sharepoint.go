package tenant

// Records of SharePoint and OneDrive.

var (
	sites = [...]string{
		"Finance", "HumanResources", "Engineering", "Marketing", "ProjectAurora", "Legal", "Sales-EMEA", "Intranet",
		"Operations", "Research", "Procurement", "Works%20Council", "Academy", "Facilities", "CustomerSuccess", "Press",
	}
	folders = [...]string{
		"Shared Documents", "Shared Documents/2026", "Shared Documents/Reports/Q3", "Shared Documents/Contracts/Drafts",
		"Shared Documents/Überblick", "Shared Documents/Minutes", "SiteAssets", "Shared Documents/Archive/2024/Backup",
	}
	fileNames = [...]string{
		"Budget plan", "Quarterly report", "Meeting notes", "Roadmap", "Price list", "Supplier overview", "Onboarding checklist",
		"Risk register", "Travel guidelines", "Launch checklist", "Angebot Größenübersicht", "Résumé du projet", "設計書", "Org chart (final) v2",
	}
	extensions = [...]string{"docx", "xlsx", "pptx", "pdf", "msg", "png", "csv", "one", "mp4", "zip"}
	lists      = [...]string{"Tasks", "Issue tracker", "Assets", "Vacation calendar", "Change requests", "Visitors"}
	pages      = [...]string{"Home", "News", "Welcome", "Town-hall", "Policies", "Canteen", "IT-help"}
	spApps     = [...][2]string{
		{"08e18876-6177-487e-b8b5-cf950c1e598c", "SharePoint Online Web Client Extensibility"},
		{"5e3ce6c0-2b1f-4285-8d4b-75ee78787346", "Microsoft Teams Web Client"},
		{"d3590ed6-52b3-4102-aeff-aad2292ab01c", "Microsoft Office"},
		{"ab9b8c07-8f02-4f72-87fa-80105867a763", "OneDrive Sync Engine"},
	}
)

// place is where something in SharePoint lies.
type place struct {
	workload  string
	host      string
	path      string // the site's name, see prefix
	site      uint64 // its ids derive from this
	folder    string
	file, ext string
}

// somewhere picks a site, mostly of the tenant's own SharePoint.
func (w *recordWriter) somewhere(e *event) place {
	p := place{
		workload: "SharePoint",
		host:     w.log.hosts.sharePoint,
		folder:   folders[w.rng.IntN(len(folders))],
		file:     fileNames[w.rng.IntN(len(fileNames))],
		ext:      extensions[w.rng.IntN(len(extensions))],
	}
	n := w.rng.IntN(len(sites))
	p.path = sites[n]
	p.site = mix(w.log.opts.Seed, uint64(n)|3<<40)
	switch {
	case e.foreign:
		p.host = w.log.hosts.partner
		p.site++
	case w.chance(22):
		p.workload, p.host, p.folder = "OneDrive", w.log.hosts.oneDrive, "Documents"
		p.path, p.site = e.actor.personal, e.actor.site()
	}
	return p
}

// site returns a number that differs between actors.
func (a *actor) site() uint64 {
	h := uint64(14695981039346656037)
	for i := range len(a.personal) {
		h = (h ^ uint64(a.personal[i])) * 1099511628211
	}
	return h
}

// prefix is the path before the site's name.
func (p *place) prefix() string {
	if p.workload == "OneDrive" {
		return "/personal/"
	}
	return "/sites/"
}

// sharePointBase appends what records of SharePoint have in common.
func (w *recordWriter) sharePointBase(e *event, p *place, itemType string) {
	app := spApps[w.rng.IntN(len(spApps))]
	w.text("AuthenticationType", "OAuth")
	w.text("BrowserName", w.choose("Chrome", "Edge", "Safari", "Firefox", ""))
	w.text("BrowserVersion", w.choose("142.0.0.0", "26.1", "145.0"))
	w.guid("CorrelationId")
	w.text("EventSource", "SharePoint")
	w.text("GeoLocation", w.choose("NAM", "EUR", "IND", "AUS"))
	w.boolean("IsManagedDevice", w.chance(70))
	w.text("ItemType", itemType)
	w.knownGUID("ListId", p.site+1)
	w.guid("ListItemUniqueId")
	w.text("Platform", w.choose("WinDesktop", "MacOSX", "iOS", "NotSpecified"))
	w.knownGUID("Site", p.site)
	w.text("UserAgent", e.actor.agent)
	w.knownGUID("WebId", p.site+2)
	w.text("DeviceDisplayName", e.actor.ipv6)
	w.text("ApplicationDisplayName", app[1])
	w.text("ApplicationId", app[0])
	w.boolean("DoNotDistributeEvent", true)
	w.boolean("FromApp", false)
	w.integer("ListBaseType", 1)
	w.integer("ListServerTemplate", 101)
	w.accessContext(app[0], app[1])
}

// accessContext appends AppAccessContext, the token by which it was done.
func (w *recordWriter) accessContext(appID, appName string) {
	w.open("AppAccessContext", '{')
	w.guid("AADSessionId")
	w.guid("CorrelationId")
	w.guid("UniqueTokenId")
	w.text("ClientAppId", appID)
	w.text("ClientAppName", appName)
	w.text("APIId", "00000003-0000-0ff1-ce00-000000000000")
	w.close('}')
}

func (w *recordWriter) source(p *place) {
	w.text("SiteUrl", "https://", p.host, p.prefix(), p.path, "/")
	w.text("SourceRelativeUrl", p.folder)
	w.text("SourceFileName", p.file, ".", p.ext)
	w.text("SourceFileExtension", p.ext)
}

func fileOperation(w *recordWriter, e *event) {
	p := w.somewhere(e)
	operation := w.choose("FileAccessed", "FileAccessed", "FileAccessed", "FileModified", "FileModified", "FilePreviewed",
		"FileUploaded", "FileDownloaded", "FileDeleted", "FileRenamed", "FileMoved", "FileCheckedOut", "FileSyncDownloadedFull")
	w.head(e, operation, p.workload, "", ipPlain)
	w.text("ObjectId", "https://", p.host, p.prefix(), p.path, "/", p.folder, "/", p.file, ".", p.ext)
	w.source(&p)
	w.sharePointBase(e, &p, "File")
	w.integer("FileSizeBytes", 1000+w.rng.IntN(40<<20))
	w.boolean("HighPriorityMediaProcessing", false)
	switch operation {
	case "FileRenamed", "FileMoved":
		w.text("DestinationRelativeUrl", p.folder)
		w.text("DestinationFileName", p.file, " (2).", p.ext)
		w.text("DestinationFileExtension", p.ext)
	case "FileDownloaded":
		w.knownGUID("SensitivityLabelId", mix(w.log.opts.Seed, 5<<40|uint64(w.rng.IntN(4))))
		w.text("SensitivityLabelOwnerEmail", e.actor.upn)
	}
}

func pageOrSearch(w *recordWriter, e *event) {
	p := w.somewhere(e)
	if w.chance(25) {
		operation := w.choose("SearchQueryPerformed", "SearchResultReturned")
		w.head(e, operation, p.workload, "", ipPlain)
		w.text("ObjectId", "https://", p.host, p.prefix(), p.path, "/_layouts/15/search.aspx")
		w.text("EventData", `<ClientType>SPHomeWeb</ClientType><Query>`, p.file, `</Query>`)
		w.sharePointBase(e, &p, "Web")
		return
	}
	page := pages[w.rng.IntN(len(pages))]
	w.head(e, w.choose("PageViewed", "PageViewed", "PageViewed", "ClientViewSignaled", "PagePrefetched"), p.workload, "", ipPlain)
	w.text("ObjectId", "https://", p.host, p.prefix(), p.path, "/SitePages/", page, ".aspx")
	w.boolean("CustomUniqueId", true)
	w.sharePointBase(e, &p, "Page")
	w.open("ModifiedProperties", '[')
	w.close(']')
}

func listOperation(w *recordWriter, e *event) {
	p := w.somewhere(e)
	list := lists[w.rng.IntN(len(lists))]
	w.head(e, w.choose("ListItemViewed", "ListItemUpdated", "ListItemCreated", "ListViewed", "ListItemDeleted"), p.workload, "", ipPlain)
	w.text("ObjectId", "https://", p.host, p.prefix(), p.path, "/Lists/", list, "/", w.choose("1", "7", "42", "706", "1038"), "_.000")
	w.text("ListTitle", list)
	w.knownGUID("ListName", p.site+3)
	w.text("ListUrl", p.prefix(), p.path, "/Lists/", list)
	w.text("ListBaseTemplateType", "GenericList")
	w.boolean("IsHiddenList", false)
	w.boolean("IsDocLib", false)
	w.sharePointBase(e, &p, "ListItem")
}

func sharing(w *recordWriter, e *event) {
	p := w.somewhere(e)
	w.head(e, w.choose("SharingSet", "AddedToSecureLink", "SecureLinkUsed", "AnonymousLinkCreated", "SharingInvitationCreated"), p.workload, "", ipPlain)
	w.text("ObjectId", "https://", p.host, p.prefix(), p.path, "/", p.folder, "/", p.file, ".", p.ext)
	w.source(&p)
	w.text("TargetUserOrGroupType", w.choose("Guest", "Member", "Partner"))
	w.text("TargetUserOrGroupName", "partner.", w.choose("one", "two", "three"), "@fabrikam.example")
	w.text("EventData", `<Type>`, w.choose("View", "Edit"), `</Type><MembersCanShareApplied>False</MembersCanShareApplied>`)
	w.guid("UniqueSharingId")
	w.sharePointBase(e, &p, "File")
}

func oneDriveSync(w *recordWriter, e *event) {
	p := w.somewhere(e)
	w.head(e, w.choose("ManagedSyncClientAllowed", "FileSyncUploadedFull", "UnmanagedSyncClientBlocked"), "OneDrive", "", ipPlain)
	w.text("ObjectId", "https://", p.host, p.prefix(), p.path, "/", p.folder)
	w.guid("MachineId")
	w.text("MachineDomainInfo", "corp.contoso.example")
	w.source(&p)
	w.sharePointBase(e, &p, "Folder")
}

func comment(w *recordWriter, e *event) {
	p := w.somewhere(e)
	w.head(e, w.choose("CommentCreated", "CommentDeleted", "CommentLiked"), p.workload, "", ipPlain)
	w.text("ObjectId", "https://", p.host, p.prefix(), p.path, "/SitePages/", pages[w.rng.IntN(len(pages))], ".aspx")
	w.integer("CommentId", w.rng.IntN(500))
	w.sharePointBase(e, &p, "Page")
}
