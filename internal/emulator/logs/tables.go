package logs

import (
	"time"
)

// The tables, under the names that they have in Application Insights and in the
// workspace where its data lie. The columns are [K].

// table is one that can be queried. Its first column is the time.
type table struct {
	name, kind string
	columns    []Column
	// rows returns the rows of a span of time that keep accepts, the oldest
	// first; never nil.
	rows func(p Parameters, keep func(time.Time) bool) [][]any
}

// field is a column of visits.
type field struct {
	app, workspace string // its names; without one it is not there
	kind           string
	of             itemKind // the only one that has it; 0 for all
	value          func(*item) any
}

func fixed(v any) func(*item) any { return func(*item) any { return v } }

var fields = []field{
	{"timestamp", "TimeGenerated", "datetime", 0, func(i *item) any { return i.at.Format("2006-01-02T15:04:05.999Z") }},
	{"id", "Id", "string", pageView, func(i *item) any { return i.operation }},
	{"name", "Name", "string", 0, func(i *item) any { return i.name }},
	{"url", "Url", "string", pageView, func(i *item) any { return i.url }},
	{"duration", "DurationMs", "real", pageView, func(i *item) any { return i.duration }},
	{"performanceBucket", "PerformanceBucket", "string", pageView, func(i *item) any { return bucket(i.duration) }},
	{"itemType", "", "string", 0, func(i *item) any { return i.kind.itemType() }},
	{"customDimensions", "Properties", "dynamic", 0, func(i *item) any { return jsonText(i.dimensions) }},
	{"customMeasurements", "Measurements", "dynamic", 0, fixed("")},
	{"operation_Name", "OperationName", "string", 0, func(i *item) any { return i.path }},
	{"operation_Id", "OperationId", "string", 0, func(i *item) any { return i.operation }},
	{"operation_ParentId", "ParentId", "string", 0, func(i *item) any { return i.operation }},
	{"operation_SyntheticSource", "SyntheticSource", "string", 0, fixed("")},
	{"session_Id", "SessionId", "string", 0, func(i *item) any { return i.session }},
	{"user_Id", "UserId", "string", 0, func(i *item) any { return i.visitor }},
	{"user_AuthenticatedId", "UserAuthenticatedId", "string", 0, func(i *item) any { return i.user }},
	{"user_AccountId", "UserAccountId", "string", 0, fixed("")},
	{"application_Version", "AppVersion", "string", 0, fixed("")},
	{"client_Type", "ClientType", "string", 0, fixed("Browser")},
	{"client_Model", "ClientModel", "string", 0, fixed("Other")},
	{"client_OS", "ClientOS", "string", 0, func(i *item) any { return i.device.system }},
	{"client_IP", "ClientIP", "string", 0, fixed("0.0.0.0")},
	{"client_City", "ClientCity", "string", 0, func(i *item) any { return i.place.city }},
	{"client_StateOrProvince", "ClientStateOrProvince", "string", 0, func(i *item) any { return i.place.province }},
	{"client_CountryOrRegion", "ClientCountryOrRegion", "string", 0, func(i *item) any { return i.place.country }},
	{"client_Browser", "ClientBrowser", "string", 0, func(i *item) any { return i.device.browser }},
	{"cloud_RoleName", "AppRoleName", "string", 0, fixed("")},
	{"cloud_RoleInstance", "AppRoleInstance", "string", 0, fixed("")},
	{"sdkVersion", "SDKVersion", "string", 0, fixed("javascript:3.3.9")},
	{"itemId", "", "string", 0, func(i *item) any { return i.id }},
	{"itemCount", "ItemCount", "int", 0, fixed(1)},
	{"", "Type", "string", 0, func(i *item) any { return i.kind.workspaceTable() }},
}

// bucket names the span in which a page's loading time lies.
func bucket(ms float64) string {
	switch {
	case ms < 250:
		return "<250ms"
	case ms < 500:
		return "250ms-500ms"
	case ms < 1000:
		return "500ms-1sec"
	case ms < 3000:
		return "1sec-3sec"
	}
	return "3sec-7sec"
}

func (k itemKind) itemType() string {
	if k == pageView {
		return "pageView"
	}
	return "customEvent"
}

func (k itemKind) workspaceTable() string {
	if k == pageView {
		return "AppPageViews"
	}
	return "AppEvents"
}

// tables returns those of visits, and those of traces, of which a tracker in
// pages sends none.
func tables() []table {
	empty := func(Parameters, func(time.Time) bool) [][]any { return [][]any{} }
	var all []table
	for _, kind := range []itemKind{pageView, customEvent} {
		all = append(all, visits(kind, apps, kind.itemType()+"s"), visits(kind, workspaces, kind.workspaceTable()))
	}
	return append(all,
		table{"traces", apps, []Column{{"timestamp", "datetime"}, {"message", "string"}, {"severityLevel", "int"}, {"customDimensions", "dynamic"}}, empty},
		table{"AppTraces", workspaces, []Column{{"TimeGenerated", "datetime"}, {"Message", "string"}, {"SeverityLevel", "int"}, {"Properties", "dynamic"}}, empty})
}

func visits(kind itemKind, where, name string) table {
	t := table{name: name, kind: where}
	var values []func(*item) any
	for _, f := range fields {
		column := f.app
		if where == workspaces {
			column = f.workspace
		}
		if column != "" && (f.of == 0 || f.of == kind) {
			t.columns = append(t.columns, Column{column, f.kind})
			values = append(values, f.value)
		}
	}
	t.rows = func(p Parameters, keep func(time.Time) bool) [][]any {
		rows := [][]any{}
		for _, i := range p.Traffic.items(kind, p.From, p.To, p.Now) {
			if !keep(i.at) {
				continue
			}
			row := make([]any, len(values))
			for n, value := range values {
				row[n] = value(i)
			}
			rows = append(rows, row)
		}
		return rows
	}
	return t
}
