package feed

// field numbers the members of an audit record that are read, over all
// workloads. Everything else stays in the record's text.
type field int

const (
	fID field = iota
	fRecordType
	fCreationTime
	fOperation
	fUserType
	fUserKey
	fWorkload
	fResultStatus
	fObjectID
	fUserID
	fClientIP

	fSiteURL
	fSourceRelativeURL
	fSourceFileName
	fSourceFileExtension
	fItemType
	fEventSource
	fApplicationDisplayName
	fUserAgent
	fTargetUserOrGroupName
	fUserSharedWith
	fDestinationRelativeURL
	fDestinationFileName
	fEventData

	fMailboxOwnerUPN
	fLogonType
	fExternalAccess
	fClientInfoString
	fItem
	fFolder
	fFolders
	fAffectedItems
	fOperationCount
	fParameters

	fEntraEventType
	fActor
	fActorIPAddress
	fTarget
	fApplicationID
	fErrorCode
	fErrorNumber
	fLogonError
	fExtendedProperties
	fModifiedProperties

	fAADGroupID
	fTeamGUID
	fTeamName
	fChannelGUID
	fChannelName
	fChatThreadID
	fMeetingDetailID
	fMessageID
	fCommunicationType
	fAddOnName
	fTabType
	fName
	fMembers

	fCopilotEventData
	fClientRegion

	fields
)

// fieldNames are the members as Microsoft spells them. The schema is documented
// as "Office 365 Management Activity API schema".
var fieldNames = [fields]string{
	"Id", "RecordType", "CreationTime", "Operation", "UserType", "UserKey", "Workload", "ResultStatus", "ObjectId", "UserId", "ClientIP",
	"SiteUrl", "SourceRelativeUrl", "SourceFileName", "SourceFileExtension", "ItemType", "EventSource", "ApplicationDisplayName",
	"UserAgent", "TargetUserOrGroupName", "UserSharedWith", "DestinationRelativeUrl", "DestinationFileName", "EventData",
	"MailboxOwnerUPN", "LogonType", "ExternalAccess", "ClientInfoString", "Item", "Folder", "Folders", "AffectedItems",
	"OperationCount", "Parameters",
	"AzureActiveDirectoryEventType", "Actor", "ActorIpAddress", "Target", "ApplicationId", "ErrorCode", "ErrorNumber", "LogonError",
	"ExtendedProperties", "ModifiedProperties",
	"AADGroupId", "TeamGuid", "TeamName", "ChannelGuid", "ChannelName", "ChatThreadId", "MeetingDetailId", "MessageId",
	"CommunicationType", "AddOnName", "TabType", "Name", "Members",
	"CopilotEventData", "ClientRegion",
}

var fieldByName = func() map[string]field {
	m := make(map[string]field, fields)
	for i, name := range fieldNames {
		m[name] = field(i)
	}
	return m
}()
