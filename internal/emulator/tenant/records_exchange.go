package tenant

// Records of Exchange: administration and mailboxes.

var subjects = [...]string{
	"Weekly status", "Re: Price list", "Invitation: planning round", "Fwd: Contract draft", "Rückfrage zur Bestellung",
	"Your order has shipped", "Reminder: travel expenses", "Notes from today's call", "見積もりの件",
}

func exchangeAdmin(w *recordWriter, e *event) {
	w.head(e, w.choose("Set-Mailbox", "Add-MailboxPermission", "New-InboxRule", "Set-TransportRule", "Set-CASMailbox"), "Exchange",
		w.choose("True", "True", "True", "False"), ipPort)
	w.text("ObjectId", "EURPR01A001.PROD.OUTLOOK.COM/Microsoft Exchange Hosted Organizations/", w.log.orgID, "/", e.actor.name)
	w.guid("AppId")
	w.text("AppPoolName", "MSExchangeAdminApiNetCore")
	w.guid("ClientAppId")
	w.text("CorrelationID", "")
	w.boolean("ExternalAccess", w.chance(20))
	w.text("OrganizationName", "contoso.onmicrosoft.com")
	w.text("OriginatingServer", "AM9PR01MB4021 (15.20.9298.", w.choose("010", "014", "007"), ")")
	w.open("Parameters", '[')
	w.property("Name", "Identity", "Value", e.actor.name)
	w.property("Name", "User", "Value", `CONTOSO\\`, w.choose("helpdesk", "auditor", "backup"))
	w.property("Name", "AccessRights", "Value", w.choose("FullAccess", "ReadPermission", "SendAs"))
	w.property("Name", "InheritanceType", "Value", "All")
	w.property("Name", "DomainController", "Value", "AM9PR01A00", w.choose("1", "2", "3"), "DC001.EURPR01A001.PROD.OUTLOOK.COM")
	w.property("Name", "GrantSendOnBehalfTo", "Value", "Team Helpdesk;Team Registry;Reception Desk North;Facility Requests")
	w.close(']')
	w.guid("RequestId")
	w.guid("SessionId")
	w.guid("TokenObjectId")
	w.text("TokenTenantId", w.log.orgID)
	w.accessContext("fb78d390-0c51-40cd-8e17-fdbfab77341b", "Microsoft Exchange REST API Based Powershell")
	w.open("ModifiedProperties", '[')
	w.property("Name", "AuditEnabled", "NewValue", "True")
	w.close(']')
}

// mailbox appends what records of mailboxes have in common.
func (w *recordWriter) mailbox(e *event) {
	w.text("ClientIPAddress", e.actor.ip)
	w.text("ClientInfoString", w.choose("Client=OWA;Action=ViaProxy", "Client=MSExchangeRPC", "Client=REST;Client=RESTSystem;;", "Client=Microsoft.Exchange.Mapi;"))
	w.text("ClientProcessName", w.choose("OUTLOOK.EXE", "OLK.EXE", ""))
	w.guid("ClientRequestId")
	w.text("ClientVersion", "16.0.19328.20158")
	w.boolean("ExternalAccess", false)
	w.integer("InternalLogonType", 0)
	w.integer("LogonType", w.rng.IntN(3))
	w.text("LogonUserSid", "S-1-5-21-1004336348-1177238915-682003330-", e.actor.puid[8:])
	w.knownGUID("MailboxGuid", e.actor.site())
	w.text("MailboxOwnerSid", "S-1-5-21-1004336348-1177238915-682003330-", e.actor.puid[8:])
	w.text("MailboxOwnerUPN", e.actor.upn)
	w.text("OrganizationName", "contoso.onmicrosoft.com")
	w.text("OriginatingServer", `AM9PR01MB4021 (15.20.9298.010)\r\n`)
	w.guid("SessionId")
	w.text("ClientAppId", "00000002-0000-0ff1-ce00-000000000000")
	w.text("AuthType", "Bearer")
	w.text("TokenType", "User")
}

func (w *recordWriter) folder(key string, name string) {
	w.open(key, '{')
	w.text("Id", "LgAAAADRi2wwtjWfTq5dRv8KQ1tTAQDzr0dHXfqwTKm7kJc2mZ5RAAAAAAEMAAAB")
	w.text("Path", `\\`, name)
	w.close('}')
}

// messageID appends an internet message id, which no two messages share.
func (w *recordWriter) messageID() {
	w.key("InternetMessageId")
	w.b = append(w.b, `"<`...)
	w.b = appendGUID(w.b, w.rng.Uint64())
	w.b = append(w.b, `@AM9PR01MB4021.eurprd01.prod.outlook.com>",`...)
}

func mailboxItem(w *recordWriter, e *event) {
	w.head(e, w.choose("Send", "Create", "Update", "SendAs", "SoftDelete"), "Exchange", w.choose("Succeeded", "Succeeded", "PartiallySucceeded", "Failed"), ipPlain)
	w.mailbox(e)
	w.open("Item", '{')
	w.text("Attachments", fileNames[w.rng.IntN(len(fileNames))], ".", w.choose("pdf", "xlsx", "docx"), " (", w.choose("18233", "904112", "61220"), "b)")
	w.text("Id", "RgAAAADRi2wwtjWfTq5dRv8KQ1tTBwDzr0dHXfqwTKm7kJc2mZ5RAAAAAAEMAADzr0dHXfqwTKm7kJc2mZ5RAAFZC2mXAAAJ")
	w.messageID()
	w.boolean("IsRecord", false)
	w.folder("ParentFolder", w.choose("Inbox", "Drafts", "Sent Items"))
	w.integer("SizeInBytes", 2000+w.rng.IntN(3<<20))
	w.text("Subject", subjects[w.rng.IntN(len(subjects))])
	w.close('}')
	w.raw("ModifiedProperties", `["RecipientsTo","Subject","ItemClass"]`)
	w.integer("recipientCount", 1+w.rng.IntN(12))
}

func mailboxItems(w *recordWriter, e *event) {
	w.head(e, w.choose("Move", "MoveToDeletedItems", "HardDelete", "SoftDelete"), "Exchange", "Succeeded", ipPort)
	w.mailbox(e)
	w.boolean("CrossMailboxOperation", false)
	w.folder("Folder", "Inbox")
	w.folder("DestFolder", w.choose("Deleted Items", "Archive", "Projekte"))
	w.open("AffectedItems", '[')
	for range 1 + w.rng.IntN(5) {
		w.item('{')
		w.text("Id", "RgAAAADRi2wwtjWfTq5dRv8KQ1tTBwDzr0dHXfqwTKm7kJc2mZ5RAAAAAAEMAADzr0dHXfqwTKm7kJc2mZ5RAAFZC2mXAAAJ")
		w.messageID()
		w.folder("ParentFolder", "Inbox")
		w.text("Subject", subjects[w.rng.IntN(len(subjects))])
		w.close('}')
	}
	w.close(']')
}

func mailItemsAccessed(w *recordWriter, e *event) {
	w.head(e, "MailItemsAccessed", "Exchange", "Succeeded", ipPlain)
	w.mailbox(e)
	items := 1 + w.rng.IntN(12)
	w.integer("OperationCount", items)
	w.open("OperationProperties", '[')
	w.property("Name", "MailAccessType", "Value", w.choose("Bind", "Sync"))
	w.property("Name", "IsThrottled", "Value", "False")
	w.close(']')
	w.open("Folders", '[')
	w.item('{')
	w.open("FolderItems", '[')
	for range items {
		w.item('{')
		w.messageID()
		w.integer("SizeInBytes", 2000+w.rng.IntN(1<<20))
		w.close('}')
	}
	w.close(']')
	w.text("Id", "LgAAAADRi2wwtjWfTq5dRv8KQ1tTAQDzr0dHXfqwTKm7kJc2mZ5RAAAAAAEMAAAB")
	w.text("Path", `\\Inbox`)
	w.close('}')
	w.close(']')
}
