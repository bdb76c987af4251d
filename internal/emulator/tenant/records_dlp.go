package tenant

// Records of data loss prevention. They carry no detail about the sensitive
// text, as for readers without ActivityFeed.ReadDlp.

// dlpHead appends the head of a record of a policy's agent.
func (w *recordWriter) dlpHead(e *event, workload string) {
	w.head(e, w.choose("DlpRuleMatch", "DlpRuleMatch", "DlpRuleUndo", "DlpInfo"), workload, "", ipNone)
	w.guid("IncidentId")
	w.boolean("SensitiveInfoDetectionIsIncluded", false)
}

func (w *recordWriter) dlpPolicy() {
	n := uint64(w.rng.IntN(4))
	policy := mix(w.log.opts.Seed, n|7<<40)
	w.open("PolicyDetails", '[')
	w.item('{')
	w.knownGUID("PolicyId", policy)
	w.text("PolicyName", w.choose("Payment data", "Personal data", "Contracts", "Health data"))
	w.open("Rules", '[')
	for i := range 1 + w.rng.IntN(2) {
		w.item('{')
		w.raw("Actions", `["NotifyUser","GenerateIncidentReport","BlockAccess"]`)
		w.raw("ConditionsMatched", `{"ConditionMatchedInNewScheme":true,"OtherConditions":[{"Name":"AccessScope","Value":"NotInOrganization"}],"SensitiveInformation":[]}`)
		w.knownGUID("RuleId", policy+1+uint64(i))
		w.text("RuleMode", w.choose("Enable", "TestWithNotifications"))
		w.text("RuleName", w.choose("Low volume of content detected", "High volume of content detected"))
		w.text("Severity", w.choose("Low", "Medium", "High"))
		w.text("ManagementRuleId", "6f1c0b3d-7c3b-43ff-ad8f-7c1c2b8a9f10")
		w.close('}')
	}
	w.close(']')
	w.close('}')
	w.close(']')
	w.open("ExceptionInfo", '{')
	w.text("Reason", w.choose("", "Override", "FalsePositive"))
	w.text("Justification", "")
	w.close('}')
}

func dlpSharePoint(w *recordWriter, e *event) {
	p := place{workload: "SharePoint", path: sites[w.rng.IntN(len(sites))]}
	file := fileNames[w.rng.IntN(len(fileNames))]
	w.dlpHead(e, w.choose("SharePoint", "OneDrive"))
	w.text("ObjectId", "https://", w.log.hosts.sharePoint, p.prefix(), p.path, "/Shared Documents/", file, ".xlsx")
	w.open("SharePointMetaData", '{')
	w.text("FileID", e.actor.id)
	w.text("FileName", file, ".xlsx")
	w.text("FileOwner", e.actor.name)
	w.text("FilePathUrl", "https://", w.log.hosts.sharePoint, p.prefix(), p.path, "/Shared Documents/", file, ".xlsx")
	w.integer("FileSize", w.rng.IntN(9<<20))
	w.text("From", e.actor.upn)
	w.when("ItemCreationTime", e.at-int64(w.rng.IntN(90*daySeconds)))
	w.when("ItemLastModifiedTime", e.at-40)
	w.when("ItemLastSharedTime", e.at-5)
	w.text("SiteCollectionUrl", "https://", w.log.hosts.sharePoint, p.prefix(), p.path)
	w.raw("SharedBy", "[]")
	w.raw("UniqueIDs", `["6b8f7f0a-0000-4000-8000-2a1f00c3d401"]`)
	w.close('}')
	w.dlpPolicy()
}

func dlpExchange(w *recordWriter, e *event) {
	w.dlpHead(e, "Exchange")
	w.key("ObjectId")
	w.b = append(appendGUID(append(w.b, `"<`...), w.rng.Uint64()), `@contoso.example>",`...)
	w.open("ExchangeMetaData", '{')
	w.raw("BCC", "[]")
	w.raw("CC", `["registry@contoso.example"]`)
	w.text("From", e.actor.upn)
	w.key("MessageID")
	w.b = append(appendGUID(append(w.b, `"<`...), w.rng.Uint64()), `@contoso.example>",`...)
	w.integer("RecipientCount", 1+w.rng.IntN(9))
	w.when("Sent", e.at-3)
	w.text("Subject", subjects[w.rng.IntN(len(subjects))])
	w.raw("To", `["orders@northwind.example","accounts@fabrikam.example"]`)
	w.guid("UniqueID")
	w.close('}')
	w.dlpPolicy()
}

func dlpEndpoint(w *recordWriter, e *event) {
	file := fileNames[w.rng.IntN(len(fileNames))]
	w.dlpHead(e, "Endpoint")
	w.text("ObjectId", `C:\\Users\\`, e.actor.personal, `\\Documents\\`, file, ".docx")
	w.open("EndpointMetaData", '{')
	w.text("Application", w.choose("explorer.exe", "msedge.exe", "WINWORD.EXE"))
	w.text("DestinationLocationType", w.choose("Cloud", "RemovableMedia", "Printer"))
	w.text("DeviceName", "lap-", e.actor.puid[8:])
	w.text("EndpointOperation", w.choose("FileCopiedToRemovableMedia", "FileUploadedToCloud", "FilePrinted"))
	w.text("EnforcementMode", w.choose("Audit", "Block", "WarnAndBypass"))
	w.text("FileExtension", "docx")
	w.integer("FileSize", w.rng.IntN(9<<20))
	w.text("FileType", "Word")
	w.boolean("Hidden", false)
	w.text("Sha256", "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")
	w.text("SourceLocationType", "Local")
	w.text("TargetDomain", "files.fabrikam.example")
	w.close('}')
	w.dlpPolicy()
}
