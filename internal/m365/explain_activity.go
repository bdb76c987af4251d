package m365

const (
	docActivity = "https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference"
	docAudit    = "https://learn.microsoft.com/purview/audit-log-enable-disable"
	docManage   = "https://learn.microsoft.com/office/office-365-management-api/get-started-with-office-365-management-apis"
)

// activityExplanations are about the Office 365 Management Activity API.
var activityExplanations = []Explanation{
	// Who may read which tenant.
	{
		Code:    "AF10001",
		Title:   "the application may not read the audit log",
		Cause:   "The access token lacks the permission that the message names.",
		Remedy:  "Give the application the permission ActivityFeed.Read of the Office 365 Management APIs (type Application) and grant admin consent; records of data loss prevention take ActivityFeed.ReadDlp besides.",
		Who:     []string{rolesAdmin, globalAdmin},
		Waiting: waitToken,
		Source:  docManage,
	},
	{
		Code: "token-refused", When: []string{"Authorization has been denied for this request"},
		Title:   "the Management Activity API refuses the access token",
		Cause:   "The token is missing, expired, or for another resource or cloud. The API says no more.",
		Remedy:  "Look at the token (`reeve token --resource manage --claims`): its audience must be that of this cloud's API, its tenant the one that is read; and see that the clock is right.",
		Who:     []string{operator},
		Waiting: noWait,
		Source:  docManage,
	},
	{
		Code:    "AF20010",
		Title:   "the tenant in the address is not the one of the token",
		Cause:   "The tenant ID in the configuration is not the one that the application signs in to.",
		Remedy:  "Set tenant-id to the ID at Entra ID > Overview of the tenant that is to be read.",
		Who:     []string{operator},
		Waiting: noWait,
	},
	{
		Code:    "AF20011",
		Title:   "the API does not know the tenant",
		Cause:   "Audit logging is switched off in the tenant, or its ID is wrong, or it is a tenant of another cloud.",
		Remedy:  "See that the tenant ID and the cloud are right (GCC has a host of its own), and switch audit logging on (Microsoft Purview > Audit, or Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true).",
		Who:     []string{auditAdmin, globalAdmin},
		Waiting: "Yes, up to a day, if audit logging was switched on just now. Otherwise no.",
		Source:  docAudit,
	},
	{
		Code:    "AF20012",
		Title:   "the tenant is not configured in the API",
		Cause:   "Audit logging is switched off, was switched on just now, or Microsoft has not finished making the tenant.",
		Remedy:  "Switch audit logging on (Microsoft Purview > Audit), and give Microsoft's support the tenant ID if it lasts for more than a day.",
		Who:     []string{auditAdmin, microsoft},
		Waiting: "Yes, up to a day, if audit logging was switched on just now. Otherwise no.",
		Source:  docAudit,
	},
	{
		Code:    "AF20013",
		Title:   "the tenant's ID is no GUID",
		Cause:   "This API takes no domain in the place of the tenant's ID.",
		Remedy:  "Copy the tenant ID from Entra ID > Overview.",
		Who:     []string{operator},
		Waiting: noWait,
	},

	// Subscriptions.
	{
		Code:    "AF20020",
		Title:   "there is no such content type",
		Cause:   "The name is none of Audit.AzureActiveDirectory, Audit.Exchange, Audit.SharePoint, Audit.General and DLP.All.",
		Remedy:  "Correct the name; capitals count.",
		Who:     []string{operator},
		Waiting: noWait,
	},
	{
		Code:    "AF20021",
		Title:   "the webhook did not answer as it must",
		Cause:   "Before it starts a subscription with a webhook, the API sends it a message and wants 200 in return, over https, with a certificate of a public authority.",
		Remedy:  "See that the webhook's address can be reached from the internet and answers; reeve itself uses none.",
		Who:     []string{networkPeople, developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20022",
		Title:   "the tenant has no subscription to this content type",
		Cause:   "The subscription was never started, or was stopped. Each application and publisher starts its own.",
		Remedy:  "Start the subscription; `reeve import run` does.",
		Who:     []string{operator},
		Waiting: "No; but after the start the first content may take up to 12 hours.",
	},
	{
		Code:    "AF20023",
		Title:   "the subscription was disabled by an administrator",
		Cause:   "An administrator of the tenant, or Microsoft, has disabled this subscription for the application.",
		Remedy:  "Ask who did and why; it has to be enabled by them.",
		Who:     []string{globalAdmin, microsoft},
		Waiting: noWait,
	},
	{
		Code:    "AF20024",
		Title:   "the subscription is started already",
		Cause:   "A start was repeated, and changes nothing. This is as good as success.",
		Remedy:  "Nothing; a start should not be repeated within 15 minutes.",
		Who:     []string{nobody},
		Waiting: noWait,
	},

	// The listing.
	{
		Code:    "AF20030",
		Title:   "one end of the time window is missing",
		Cause:   "Start and end must both be given, or neither.",
		Remedy:  "Give both, in UTC, at most 24 hours apart and not more than 7 days back.",
		Who:     []string{developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20055",
		Title:   "the time window is too long or too old",
		Cause:   "A listing covers at most 24 hours, and begins at most 7 days back. A wrong clock makes a good window a bad one.",
		Remedy:  "Ask for a shorter or later window, and compare `date -u` with the right time.",
		Who:     []string{operator, developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20031",
		Title:   "the link to the next page is not valid",
		Cause:   "The link was changed on its way, or is too old.",
		Remedy:  "List the window again from its first page, and use the header NextPageUri as it is.",
		Who:     []string{nobody, developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20050",
		Title:   "there is no such content",
		Cause:   "The API has never had it, or not for this tenant.",
		Remedy:  "List the window again, and use the addresses as they are; the \"$\" in them must not be encoded.",
		Who:     []string{nobody, developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20051",
		Title:   "the content has expired",
		Cause:   "The API keeps content for 7 days. What was not fetched by then is gone here.",
		Remedy:  "Let the import run more often. The records themselves may still be in Microsoft Purview > Audit, for 180 days or longer.",
		Who:     []string{operator},
		Waiting: noWait,
	},
	{
		Code:    "AF20052",
		Title:   "the content's ID is not valid",
		Cause:   "The address was cut or encoded anew on its way.",
		Remedy:  "Use the addresses of the listing as they are.",
		Who:     []string{developers},
		Waiting: noWait,
	},

	// The request.
	{
		Code:    "AF20001",
		Title:   "a parameter is missing",
		Cause:   "The request lacks the parameter that the message names.",
		Remedy:  "Add it.",
		Who:     []string{developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20002",
		Title:   "a parameter is of the wrong kind",
		Cause:   "The value of the parameter that the message names cannot be read, as a time that is not written 2026-01-31T12:00:00.",
		Remedy:  "Correct it.",
		Who:     []string{developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20003",
		Title:   "the webhook's expiration is in the past",
		Cause:   "The time that was given is over, or this machine's clock is wrong.",
		Remedy:  "Give a later time, or none.",
		Who:     []string{developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20053",
		Title:   "two languages were asked for",
		Cause:   "The header Accept-Language may name one.",
		Remedy:  "Name one language, or send no such header.",
		Who:     []string{developers},
		Waiting: noWait,
	},
	{
		Code:    "AF20054",
		Title:   "the language cannot be read",
		Cause:   "The header Accept-Language is not written as it must be.",
		Remedy:  "Name one language, such as en-US, or send no such header.",
		Who:     []string{developers},
		Waiting: noWait,
	},

	// The service.
	{
		Code:    "AF429",
		Title:   "the Management Activity API throttles",
		Cause:   "There are more requests than the publisher's share: 2,000 a minute, more for large tenants. Requests without a publisher share one pool with everybody's.",
		Remedy:  "Nothing; it is tried again. If it lasts, see that nothing else reads this tenant as the same publisher.",
		Who:     []string{nobody, operator},
		Waiting: "Yes, a minute, or as long as the answer says.",
	},
	{
		Code:    "AF50000",
		Title:   "the Management Activity API has failed",
		Cause:   "An error of the service's own.",
		Remedy:  "Nothing; it is tried again. If it lasts, look at https://status.cloud.microsoft.",
		Who:     []string{nobody, microsoft},
		Waiting: waitMinutes,
	},
}
