package feed

import "github.com/reeve365/reeve/internal/store"

// The tables of the audit feed. Names that mean the same as in the original
// engine's database are the original's.
var (
	auditEvents = &store.Table{Name: "audit_events", Key: 3, Facts: true, Counted: true, Columns: []string{
		"tenant_id", "day", "id", "time_stamp", "record_type", "operation_id", "workload_id", "user_id", "user_type", "user_key",
		"result", "client_ip", "object_id", "record_id", "defects", "content_hash", "content_id", "content_at", "content_len"}}
	ignoredEvents = &store.Table{Name: "ignored_audit_events", Key: 3, Counted: true, Columns: []string{"tenant_id", "day", "event_id"}}

	metaSharePoint = &store.Table{Name: "event_meta_sharepoint", Key: 3, Columns: []string{
		"tenant_id", "day", "event_id", "site_url", "relative_url", "file_name", "file_extension_id", "item_type_id", "event_source",
		"application", "user_agent", "target_user", "destination_url", "destination_file", "event_data"}}
	metaExchange = &store.Table{Name: "event_meta_exchange", Key: 3, Columns: []string{
		"tenant_id", "day", "event_id", "mailbox_owner", "logon_type", "external_access", "client_info", "subject", "folder",
		"message_id", "item_count", "parameters"}}
	metaEntra = &store.Table{Name: "event_meta_azure_ad", Key: 3, Columns: []string{
		"tenant_id", "day", "event_id", "event_type", "actor", "actor_ip", "target", "application_id", "error_code", "logon_error",
		"extended_properties", "modified_properties"}}
	metaTeams = &store.Table{Name: "event_meta_teams", Key: 3, Columns: []string{
		"tenant_id", "day", "event_id", "team_id", "team_name", "channel_id", "channel_name", "chat_id", "meeting_id", "message_id",
		"communication_type", "item_name", "members"}}
	copilotChats = &store.Table{Name: "event_copilot_chats", Key: 3, Columns: []string{
		"tenant_id", "day", "event_id", "app_host", "thread_id", "client_region", "prompts", "answers", "model", "plugins"}}
	copilotResources = &store.Table{Name: "event_copilot_resources", Key: 4, Columns: []string{
		"tenant_id", "day", "event_id", "position", "role", "resource_id", "resource_type", "name", "site_url"}}

	// auditTables have rows for a record that is stored.
	auditTables = []*store.Table{auditEvents, metaSharePoint, metaExchange, metaEntra, metaTeams, copilotChats, copilotResources}

	users      = &store.NameTable{Name: "users", Column: "user_name", Fold: true}
	operations = &store.NameTable{Name: "event_operations", Column: "operation_name"}
	workloads  = &store.NameTable{Name: "event_workloads", Column: "workload_name"}
	itemTypes  = &store.NameTable{Name: "event_types", Column: "type_name"}
	extensions = &store.NameTable{Name: "event_file_ext", Column: "extension_name", Fold: true}
)

// workload is a kind of audit record that has columns of its own.
type workload struct {
	names []string // values of Workload
	types []int64  // values of RecordType, for records without a Workload
	add   func(*auditRecord)
}

// auditWorkloads are the workloads with a table of their own. Records of every
// other workload have the common columns, and their text.
var auditWorkloads = []workload{
	{names: []string{"SharePoint", "OneDrive"}, types: []int64{4, 6, 7, 14, 36, 37, 54, 55, 56}, add: (*auditRecord).addSharePoint},
	{names: []string{"Exchange"}, types: []int64{1, 2, 3, 19, 50}, add: (*auditRecord).addExchange},
	{names: []string{"AzureActiveDirectory"}, types: []int64{8, 9, 15}, add: (*auditRecord).addEntra},
	{names: []string{"MicrosoftTeams"}, types: []int64{25}, add: (*auditRecord).addTeams},
	{names: []string{"Copilot"}, types: []int64{261, 334}, add: (*auditRecord).addCopilot},
}

// AuditTables are the tables of the audit feed with a row for each record, or more, by day.
func AuditTables() []*store.Table {
	return []*store.Table{auditEvents, ignoredEvents, metaSharePoint, metaExchange, metaEntra, metaTeams, copilotChats, copilotResources}
}

// AuditNames are the tables of names that rows of the audit feed refer to.
func AuditNames() []*store.NameTable {
	return []*store.NameTable{users, operations, workloads, itemTypes, extensions}
}
