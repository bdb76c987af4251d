package feed

import (
	"bytes"
	"strings"
)

// What the workloads with a table of their own add to it.

func (r *auditRecord) addSharePoint() {
	ext := bytes.ToLower(bytes.TrimPrefix(r.bytes(fSourceFileExtension), []byte(".")))
	r.batch.Add(metaSharePoint, r.d.tenant, r.day, r.id,
		r.text(fSiteURL), r.text(fSourceRelativeURL), r.text(fSourceFileName), r.batch.Name(extensions, ext), r.name(itemTypes, fItemType),
		r.text(fEventSource), r.text(fApplicationDisplayName), r.text(fUserAgent), r.first(fTargetUserOrGroupName, fUserSharedWith),
		r.text(fDestinationRelativeURL), r.text(fDestinationFileName), r.text(fEventData))
}

func (r *auditRecord) addExchange() {
	item := r.members(r.values[fItem], "Subject", "ParentFolder", "InternetMessageId")
	folder := r.members(item[1], "Path")[0]
	if folder == nil {
		folder = r.members(r.values[fFolder], "Path")[0]
	}
	if folders := r.elements(r.values[fFolders]); folder == nil && len(folders) > 0 {
		folder = r.members(folders[0], "Path")[0]
	}
	items := r.number(fOperationCount)
	affected := r.elements(r.values[fAffectedItems])
	if items == nil && affected != nil {
		items = len(affected)
	}
	subject := item[0]
	if subject == nil && len(affected) > 0 {
		subject = r.members(affected[0], "Subject")[0]
	}
	r.batch.Add(metaExchange, r.d.tenant, r.day, r.id,
		r.text(fMailboxOwnerUPN), r.number(fLogonType), r.truth(fExternalAccess), r.text(fClientInfoString),
		value(subject), value(folder), value(item[2]), items, r.json(fParameters))
}

// Types of the identities in Actor and Target, as the schema numbers them.
const (
	identityObject = "0"
	identityName   = "1"
	identityUPN    = "5"
)

// identity picks the identity that people would know from a list like Actor.
func (r *auditRecord) identity(f field) any {
	var best any
	rank := 0
	for _, e := range r.elements(r.values[f]) {
		m := r.members(e, "ID", "Type")
		kind, _ := scalar(m[1])
		now := 1
		switch string(kind) {
		case identityUPN:
			now = 4
		case identityName:
			now = 3
		case identityObject:
			now = 2
		}
		if id := value(m[0]); id != nil && now > rank {
			best, rank = id, now
		}
	}
	return best
}

func (r *auditRecord) addEntra() {
	r.batch.Add(metaEntra, r.d.tenant, r.day, r.id,
		r.number(fEntraEventType), r.identity(fActor), r.address(fActorIPAddress), r.identity(fTarget), r.text(fApplicationID),
		r.first(fErrorCode, fErrorNumber), r.text(fLogonError), r.json(fExtendedProperties), r.json(fModifiedProperties))
}

func (r *auditRecord) addTeams() {
	r.batch.Add(metaTeams, r.d.tenant, r.day, r.id,
		r.first(fAADGroupID, fTeamGUID), r.text(fTeamName), r.text(fChannelGUID), r.text(fChannelName), r.text(fChatThreadID),
		r.text(fMeetingDetailID), r.text(fMessageID), r.text(fCommunicationType), r.first(fAddOnName, fTabType, fName), r.json(fMembers))
}

func (r *auditRecord) addCopilot() {
	data := r.values[fCopilotEventData]
	if len(data) > 0 && data[0] == '"' {
		data = plain(data) // sometimes JSON within a string
	}
	m := r.members(data, "AppHost", "ThreadId", "Messages", "Contexts", "AccessedResources", "ModelTransparencyDetails", "AISystemPlugin")
	prompts, answers := 0, 0
	for _, e := range r.elements(m[2]) {
		if isPrompt, _ := scalar(r.members(e, "isPrompt")[0]); string(isPrompt) == "true" {
			prompts++
		} else {
			answers++
		}
	}
	r.batch.Add(copilotChats, r.d.tenant, r.day, r.id, value(m[0]), value(m[1]), r.text(fClientRegion), prompts, answers,
		r.list(m[5], "ModelName"), r.list(m[6], "Name", "Id"))
	position := 0
	for _, e := range r.elements(m[3]) {
		c := r.members(e, "Id", "Type", "ContainerId")
		r.batch.Add(copilotResources, r.d.tenant, r.day, r.id, position, "context", value(c[0]), value(c[1]), nil, value(c[2]))
		position++
	}
	for _, e := range r.elements(m[4]) {
		c := r.members(e, "Id", "Type", "Name", "SiteUrl")
		r.batch.Add(copilotResources, r.d.tenant, r.day, r.id, position, "accessed", value(c[0]), value(c[1]), value(c[2]), value(c[3]))
		position++
	}
}

// list gives, of the objects in an array, the first of the named members that
// each has, joined by commas.
func (r *auditRecord) list(text []byte, names ...string) any {
	var all []string
	for _, e := range r.elements(text) {
		for _, v := range r.members(e, names...) {
			if s, ok := scalar(v); ok && len(s) > 0 {
				all = append(all, string(s))
				break
			}
		}
	}
	if all == nil {
		return nil
	}
	return strings.Join(all, ", ")
}
