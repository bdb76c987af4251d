package tenant

// Records of Entra ID: sign-ins and changes to the directory.

// entraBase appends who did it to what.
func (w *recordWriter) entraBase(e *event, target string, targetType int) {
	w.open("Actor", '[')
	w.identity(e.actor.id, 0)
	w.identity(e.actor.upn, 5)
	w.identity(e.actor.puid, 3)
	w.close(']')
	w.text("ActorContextId", w.log.orgID)
	w.guid("InterSystemsId")
	w.guid("IntraSystemId")
	w.text("SupportTicketId", "")
	w.open("Target", '[')
	w.identity(target, targetType)
	w.close(']')
	w.text("TargetContextId", w.log.orgID)
}

// identity appends an element of Actor or Target. The types are numbers: 0
// object id, 1 name, 2 other, 3 PUID, 4 SPN, 5 UPN.
func (w *recordWriter) identity(id string, kind int) {
	w.item('{')
	w.text("ID", id)
	w.integer("Type", kind)
	w.close('}')
}

func signIn(w *recordWriter, e *event) {
	operation, result, detail := "UserLoggedIn", "Success", "Redirect"
	failed := w.chance(6)
	if failed {
		operation, result, detail = "UserLoginFailed", "Failed", "UserError"
	}
	w.head(e, operation, "AzureActiveDirectory", result, ipPlain)
	w.text("ObjectId", w.choose("00000003-0000-0000-c000-000000000000", "00000002-0000-0ff1-ce00-000000000000", "Unknown"))
	w.text("ApplicationId", w.choose("d3590ed6-52b3-4102-aeff-aad2292ab01c", "5e3ce6c0-2b1f-4285-8d4b-75ee78787346", "1fec8e78-bce4-4aaf-ab1b-5451cc387264"))
	w.integer("AzureActiveDirectoryEventType", 1)
	w.text("ActorIpAddress", e.actor.ip)
	w.open("DeviceProperties", '[')
	w.property("Name", "OS", "Value", w.choose("Windows10", "MacOs", "Ios", "Android"))
	w.property("Name", "BrowserType", "Value", w.choose("Edge", "Chrome", "Safari"))
	w.property("Name", "IsCompliantAndManaged", "Value", w.choose("True", "False"))
	w.property("Name", "SessionId", "Value", e.actor.id)
	w.close(']')
	if failed {
		w.text("ErrorNumber", w.choose("50126", "50076", "50140", "53003"))
		w.text("LogonError", w.choose("InvalidUserNameOrPassword", "UserStrongAuthClientAuthNRequiredInterrupt", "BlockedByConditionalAccess"))
	} else {
		w.text("ErrorNumber", "0")
	}
	w.open("ExtendedProperties", '[')
	w.property("Name", "ResultStatusDetail", "Value", detail)
	w.property("Name", "UserAgent", "Value", e.actor.agent)
	w.property("Name", "UserAuthenticationMethod", "Value", w.choose("1", "16457", "272"))
	w.property("Name", "RequestType", "Value", w.choose("OAuth2:Authorize", "OAuth2:Token", "SAS:ProcessAuth", "Login:reprocess"))
	w.close(']')
	w.raw("ModifiedProperties", "[]")
	w.entraBase(e, "00000003-0000-0000-c000-000000000000", 0)
}

func directoryChange(w *recordWriter, e *event) {
	operation := w.choose("Update user.", "Add member to group.", "Add user.", "Update application.", "Add service principal.",
		"Update application – Certificates and secrets management ", "Change user license.", "Reset user password.")
	w.head(e, operation, "AzureActiveDirectory", w.choose("Success", "Success", "Success", "Failure"), ipNone)
	w.text("ObjectId", e.actor.upn)
	w.integer("AzureActiveDirectoryEventType", 1)
	w.open("ExtendedProperties", '[')
	w.property("Name", "additionalDetails", "Value", `{\"User-Agent\":\"`, e.actor.agent, `\",\"AppId\":\"18ed3507-a475-4ccb-b669-d66bc9f2a36e\"}`)
	w.property("Name", "extendedAuditEventCategory", "Value", w.choose("User", "Group", "Application", "ServicePrincipal"))
	w.close(']')
	w.open("ModifiedProperties", '[')
	w.item('{')
	w.text("Name", "StrongAuthenticationMethod")
	w.text("NewValue", `[\r\n  {\r\n    \"MethodType\": 7,\r\n    \"Default\": true\r\n  }\r\n]`)
	w.text("OldValue", "[]")
	w.close('}')
	w.item('{')
	w.text("Name", "Included Updated Properties")
	w.text("NewValue", "StrongAuthenticationMethod, Department, AccountEnabled")
	w.text("OldValue", "")
	w.close('}')
	w.item('{')
	w.text("Name", "TargetId.UserType")
	w.text("NewValue", "Member")
	w.text("OldValue", "")
	w.close('}')
	w.close(']')
	w.entraBase(e, e.actor.upn, 5)
}
