package store

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/store/storetest"
)

var update = flag.Bool("update", false, "write docs/schema.md")

// originals are the original engine's tables, and where the same is here.
var originals = [][2]string{
	{"`audit_events`", "`audit_events`; its `event_data` is in the table of the workload, the whole record in `contents`"},
	{"`users`", "`users`: the name alone; departments and the like come with a feed of people"},
	{"`event_operations`", "`event_operations`"},
	{"`event_types`", "`event_types`"},
	{"`event_file_ext`", "`event_file_ext`"},
	{"`event_file_names`, `urls`, `webs`", "columns of `event_meta_sharepoint`: `file_name`, `relative_url`, `site_url`"},
	{"`event_meta_sharepoint`", "`event_meta_sharepoint`"},
	{"`event_meta_exchange`, `audit_event_exchange_props`", "`event_meta_exchange`, its column `parameters`"},
	{"`event_meta_azure_ad`, `audit_event_azure_ad_props`", "`event_meta_azure_ad`, its columns `extended_properties` and `modified_properties`"},
	{"`audit_event_prop_names`, `audit_event_prop_vals`", "the same columns, as JSON"},
	{"`event_meta_general`", "`audit_events.workload_id`, and the record in `contents`"},
	{"`event_copilot_chats`", "`event_copilot_chats`"},
	{"`event_copilot_files`, `event_copilot_meetings`", "`event_copilot_resources`: all that an exchange had, not one of each"},
	{"`ignored_audit_events`", "`ignored_audit_events`: filled here"},
	{"`org_urls`", "`org_urls`"},
	{"`import_log`", "`import_runs`, `quarantine`, `findings`"},
	{"`events_view`, `events_view_sharepoint`, `events_view_exchange`, `events_view_azure_ad`", "views of the same names"},
	{"`__MigrationHistory`", "`goose_db_version`"},
	{"tables of Teams, calls, web traffic, usage reports, profiling", "not yet: those feeds are not imported"},
}

// TestSchemaDocument: docs/schema.md is what the migrations say.
func TestSchemaDocument(t *testing.T) {
	var b strings.Builder
	version, err := newest()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, `# The schema

Written from the comments in `+"`internal/store/migrations`"+` by `+"`go test ./internal/store -run SchemaDocument -update`"+`.
This is version %d. What the tables are good for, with queries, is in [the database](operate/database.md).

| type here | SQLite | PostgreSQL |
|---|---|---|
| INTEGER, BIGINT | integer | integer, bigint |
| TEXT | text | text; a zero character in it becomes U+FFFD |
| BOOLEAN | 0 or 1 | boolean |
| TIMESTAMP | text, `+"`YYYY-MM-DD HH:MM:SS.mmm`"+`, UTC | timestamp, UTC |
| UUID | blob of 16 bytes | uuid |
| BYTEA | blob | bytea |

Tables **of facts** have rows for records. On PostgreSQL they are partitioned by the month of `+"`day`"+`
(`+"`audit_events_202611`; `_early` before 2010, `_late` after 2099"+`), and old months are dropped as a whole. No
foreign key leads anywhere; what a column refers to is in its meaning. Columns may be empty where it
says *null*.

## The original engine's tables

| the original's | here |
|---|---|
`, version)
	for _, o := range originals {
		fmt.Fprintf(&b, "| %s | %s |\n", o[0], o[1])
	}
	b.WriteString("\n## Views\n\nFor people who read by SQL. They are made anew when reeve's text of them changes.\n\n| view | columns |\n|---|---|\n")
	db := open(t, storetest.SQLite(t))
	for _, v := range views() {
		rows, err := db.read.QueryContext(t.Context(), "SELECT * FROM "+v.name+" WHERE 1 = 0")
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		rows.Close()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", v.name, strings.Join(columns, ", "))
	}
	for _, group := range []struct {
		title string
		of    func(declaredTable) bool
	}{
		{"Facts", func(t declaredTable) bool { return t.facts }},
		{"Names", declaredTable.names},
		{"The rest", func(t declaredTable) bool { return !t.facts && !t.names() }},
	} {
		fmt.Fprintf(&b, "\n## %s\n", group.title)
		for _, table := range declared() {
			if !group.of(table) {
				continue
			}
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| column | type | null | meaning |\n|---|---|---|---|\n", table.name, sentence(table.meaning))
			for _, c := range table.columns {
				null, meaning := "", c.meaning
				if c.null {
					null = "null"
				}
				if to := references[c.name]; to != "" && table.facts {
					meaning = strings.TrimPrefix(meaning+"; `"+to+".id`", "; ")
				}
				if slices.Contains(table.key, c.name) {
					meaning = strings.TrimSuffix("*key*; "+meaning, "; ")
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.name, c.typ, null, strings.ReplaceAll(meaning, "|", "\\|"))
			}
			if len(table.indexes) > 0 {
				b.WriteString("\nIndexes:")
				for i, x := range table.indexes {
					fmt.Fprintf(&b, "%s `%s` on %s", map[bool]string{true: ";"}[i > 0], x.name, strings.ReplaceAll(x.on, "USING brin ", "BRIN "))
					if x.postgres {
						b.WriteString(", on PostgreSQL alone")
					}
				}
				b.WriteString("\n")
			}
		}
	}
	path := filepath.Join("..", "..", "docs", "schema.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil || string(have) != b.String() {
		t.Errorf("docs/schema.md is stale (%v); write it with: go test ./internal/store -run SchemaDocument -update", err)
	}
}

func sentence(s string) string {
	if s != "" && !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "…") {
		s += "."
	}
	return s
}
