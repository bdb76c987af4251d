package store

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// distribution is the column by which each table of facts would be spread over the nodes of
// a cluster: the record. All rows of one record are then on one node, and a day is on all.
var distribution = map[string]string{"audit_events": "id"} // the others: event_id

func distributedBy(t declaredTable) string {
	if column := distribution[t.name]; column != "" {
		return column
	}
	return "event_id"
}

// TestTablesSuitACluster holds every table of a real database against the rules of Citus
// (https://docs.citusdata.com, "Distributed Data Modeling", "SQL Support and Workarounds"):
// facts have the distribution column in every unique key, no foreign keys, triggers or
// sequences; names are small tables that every node can have whole.
func TestTablesSuitACluster(t *testing.T) {
	address := storetest.PostgreSQL(t)
	filled(t, address)
	open(t, address).Close()
	raw := storetest.Connect(t, address)
	if broken := unsuited(t, raw); broken != nil {
		t.Errorf("%q", broken)
	}
	// And the rules find what breaks them.
	for _, test := range []struct{ change, found string }{
		{`CREATE UNIQUE INDEX wrong ON event_meta_teams (tenant_id, day)`, "event_meta_teams: the unique index wrong does not have event_id"},
		{`ALTER TABLE event_meta_teams ADD FOREIGN KEY (tenant_id, day, event_id) REFERENCES audit_events`, "event_meta_teams: has a foreign key"},
		{`CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER wrong BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION f()`, "audit_events: has a trigger"},
		{`CREATE SEQUENCE wrong; ALTER TABLE users ALTER COLUMN id SET DEFAULT nextval('wrong')`, "users: id takes its value from a sequence"},
	} {
		tx, err := raw.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range strings.Split(test.change, "; ") {
			if strings.HasPrefix(statement, "END'") {
				continue
			}
			if strings.Contains(statement, "BEGIN RETURN NEW") {
				statement += "; END'"
			}
			if _, err := tx.Exec(statement); err != nil {
				t.Fatal(statement, err)
			}
		}
		if broken := unsuited(t, tx); !slices.Contains(broken, test.found) {
			t.Errorf("%s: found %q", test.change, broken)
		}
		tx.Rollback()
	}
}

type querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
}

// unsuited gives what breaks the rules.
func unsuited(t *testing.T, on querier) (broken []string) {
	t.Helper()
	texts := func(query string, args ...any) (all []string) {
		t.Helper()
		rows, err := on.Query(query, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		return all
	}
	for _, table := range declared() {
		say := func(format string, args ...any) {
			broken = append(broken, table.name+": "+fmt.Sprintf(format, args...))
		}
		if len(texts(`SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = $1::regclass`, table.name)) > 0 {
			say("has a foreign key")
		}
		if len(texts(`SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = $1::regclass`, table.name)) > 0 {
			say("has a trigger")
		}
		for _, column := range texts(`SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = current_schema()
			AND (column_default LIKE 'nextval(%' OR is_identity = 'YES')`, table.name) {
			say("%s takes its value from a sequence", column)
		}
		if !table.facts {
			continue
		}
		by := distributedBy(table)
		for _, index := range texts(`SELECT i.indexrelid::regclass::text FROM pg_index i WHERE i.indisunique AND i.indrelid = $1::regclass
			AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) AND a.attname = $2)`, table.name, by) {
			say("the unique index %s does not have %s", index, by)
		}
		if kinds := texts(`SELECT relkind::text FROM pg_class WHERE oid = $1::regclass`, table.name); !slices.Equal(kinds, []string{"p"}) {
			say("is not partitioned")
		}
		if len(texts(`SELECT conname FROM pg_constraint WHERE contype = 'f' AND confrelid = $1::regclass`, table.name)) > 0 {
			say("is referred to by a foreign key")
		}
	}
	return broken
}

// documented gives the queries of docs/operate/database.md, for PostgreSQL, as that page
// says they are written there.
func documented(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operate/database.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n## Queries\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	var all []string
	for _, m := range regexp.MustCompile("(?s)```sql\n(.*?);\n```").FindAllStringSubmatch(rest, -1) {
		query := regexp.MustCompile(`CAST\(strftime\('%Y%m%d', 'now', '-(\d+) days'\) AS INTEGER\)`).ReplaceAllString(m[1], "20261101")
		all = append(all, strings.ReplaceAll(query, "lower(hex(id)) AS id", "id"))
	}
	if len(all) < 5 {
		t.Fatalf("%d queries were found in the page", len(all))
	}
	return all
}

// TestReadsOnFourServers: facts lie on four servers, by the hash of the record's id, and are
// joined on a fifth database over postgres_fdw. Every documented query and what reeve itself
// reads gives what it gives on one server.
func TestReadsOnFourServers(t *testing.T) {
	one := storetest.PostgreSQL(t)
	db := open(t, one)
	tenant, err := db.Tenant(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for d := 1; d <= 4; d++ {
		if err := storeDay(db, tenant, time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC), 60); err != nil {
			t.Fatal(err)
		}
	}
	single := storetest.Connect(t, one)
	for _, statement := range []string{ // what the documented queries ask for
		`INSERT INTO event_operations VALUES (1, 'FileDownloaded'), (2, 'UserLoggedIn')`,
		`INSERT INTO event_workloads VALUES (1, 'SharePoint'), (2, 'AzureActiveDirectory')`,
		`INSERT INTO users SELECT i, 'user' || i FROM generate_series(0, 12) i`,
		`UPDATE audit_events SET operation_id = 1 + get_byte(uuid_send(id), 0) % 2, workload_id = 1 + get_byte(uuid_send(id), 1) % 2, user_id = get_byte(uuid_send(id), 2) % 13,
			time_stamp = time_stamp + make_interval(secs => get_byte(uuid_send(id), 3) * 256 + get_byte(uuid_send(id), 4)), defects = CASE WHEN get_byte(uuid_send(id), 5) < 10 THEN 'odd' END`,
		`INSERT INTO event_meta_sharepoint (tenant_id, day, event_id, site_url, file_name) SELECT tenant_id, day, id, 'https://site', 'file ' || id FROM audit_events`,
		`INSERT INTO event_meta_azure_ad (tenant_id, day, event_id, error_code, logon_error) SELECT tenant_id, day, id, get_byte(uuid_send(id), 6) % 3, 'e' FROM audit_events`,
		`INSERT INTO event_copilot_resources (tenant_id, day, event_id, position, role, resource_type) SELECT tenant_id, day, id, 0, 'accessed', 'type ' || get_byte(uuid_send(id), 7) % 4 FROM audit_events`,
	} {
		for _, table := range []string{"event_meta_sharepoint", "event_meta_azure_ad", "event_copilot_resources"} {
			if strings.HasPrefix(statement, "INSERT INTO "+table) {
				p := monthOf(202611)
				if _, err := single.Exec(fmt.Sprintf("CREATE TABLE %s_%s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)", table, p.name, table, p.from, p.to)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := single.Exec(statement); err != nil {
			t.Fatal(statement, err)
		}
	}

	// The coordinator has the schema as well; its facts become foreign, its names stay whole.
	many := storetest.PostgreSQL(t)
	open(t, many).Close()
	coordinator := storetest.Connect(t, many)
	exec := func(on *sql.DB, query string) {
		t.Helper()
		if _, err := on.Exec(query); err != nil {
			t.Fatal(query, err)
		}
	}
	foreign := func(name, address string) {
		t.Helper()
		host := regexp.MustCompile(`host=([^&]*)`).FindStringSubmatch(address)[1]
		host, err := url.QueryUnescape(host)
		if err != nil {
			t.Fatal(err)
		}
		exec(coordinator, fmt.Sprintf(`CREATE SERVER %s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', dbname '%s', async_capable 'true', use_remote_estimate 'true')`, name, host, databaseOf(address)))
		exec(coordinator, fmt.Sprintf(`CREATE USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (user 'reeve', password_required 'false')`, name))
	}
	exec(coordinator, `CREATE EXTENSION postgres_fdw`)
	foreign("single", one)
	var facts []declaredTable
	for _, table := range declared() {
		if table.facts {
			facts = append(facts, table)
			exec(coordinator, `DROP TABLE `+table.name+` CASCADE`) // and the views of it
			columns := ""
			for i, c := range table.columns {
				if i > 0 {
					columns += ", "
				}
				columns += c.name + " " + c.typ
			}
			exec(coordinator, fmt.Sprintf(`CREATE TABLE %s (%s) PARTITION BY HASH (%s)`, table.name, columns, distributedBy(table)))
		}
	}
	for i := range 4 {
		server := storetest.Start(t)
		address := server.Database(t)
		open(t, address).Close()
		name := fmt.Sprintf("node%d", i+1)
		foreign(name, address)
		node := storetest.Connect(t, address)
		for _, table := range facts {
			p := monthOf(202611)
			exec(node, fmt.Sprintf("CREATE TABLE %s_%s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)", table.name, p.name, table.name, p.from, p.to))
			exec(coordinator, fmt.Sprintf(`CREATE FOREIGN TABLE %[1]s_%[2]s PARTITION OF %[1]s FOR VALUES WITH (MODULUS 4, REMAINDER %[3]d) SERVER %[2]s OPTIONS (table_name '%[1]s')`, table.name, name, i))
		}
	}
	exec(coordinator, `CREATE TABLE contents_all PARTITION OF contents FOR VALUES FROM (MINVALUE) TO (MAXVALUE)`)
	exec(coordinator, `CREATE SCHEMA single`)
	exec(coordinator, `IMPORT FOREIGN SCHEMA public FROM SERVER single INTO single`)
	for _, table := range declared() {
		if table.facts || table.names() || slices.Contains([]string{"tenants", "contents", "ledger_blobs", "ledger_windows", "row_counts"}, table.name) {
			exec(coordinator, fmt.Sprintf(`INSERT INTO %[1]s SELECT * FROM single.%[1]s`, table.name))
		}
	}
	exec(coordinator, `DROP SCHEMA single CASCADE`)
	var nodes int
	if err := coordinator.QueryRow(`SELECT count(DISTINCT tableoid) FROM audit_events`).Scan(&nodes); err != nil || nodes != 4 {
		t.Fatalf("the records are on %d servers: %v", nodes, err)
	}
	exec(coordinator, `ANALYZE`)

	result := func(on *sql.DB, query string) string {
		t.Helper()
		rows, err := on.Query(query)
		if err != nil {
			t.Fatal(query, err)
		}
		defer rows.Close()
		columns, _ := rows.Columns()
		var lines []string
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			line := ""
			for _, v := range values {
				line += fmt.Sprint(*v.(*any), "\t")
			}
			lines = append(lines, line)
		}
		if len(lines) == 0 {
			t.Errorf("%s has no rows", query)
		}
		slices.Sort(lines) // which of equals comes first is nobody's
		return strings.Join(lines, "\n")
	}
	for _, v := range views() { // those of the coordinator went with its tables
		exec(coordinator, v.create)
	}
	queries := documented(t)
	for _, v := range views() {
		if v.name != "events_view_exchange" {
			queries = append(queries, `SELECT * FROM `+v.name+` WHERE tenant_id = 1`)
		}
	}
	for _, query := range queries {
		query = regexp.MustCompile(`LIMIT \d+`).ReplaceAllString(query, "LIMIT 1000")
		if diff := cmp.Diff(result(single, query), result(coordinator, query)); diff != "" {
			t.Errorf("%s\n(-one +four):\n%s", query, diff)
		}
	}
	cluster, err := Open(t.Context(), many, Options{AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	for name, read := range map[string]func(*DB) (any, error){
		"days":      func(db *DB) (any, error) { return db.CountDays(t.Context(), tenant) },
		"workloads": func(db *DB) (any, error) { return db.CountWorkloads(t.Context(), tenant) },
		"old days": func(db *DB) (any, error) {
			return db.OldDays(t.Context(), tenant, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
		},
	} {
		a, err1 := read(db)
		b, err2 := read(cluster)
		if err1 != nil || err2 != nil || !cmp.Equal(a, b) {
			t.Errorf("%s: %v on one, %v on four (%v, %v)", name, a, b, err1, err2)
		}
	}
	for _, id := range strings.Split(result(single, `SELECT id::text FROM audit_events ORDER BY id LIMIT 3`), "\t\n") {
		id = strings.TrimSpace(id)
		a, err1 := db.Record(t.Context(), tenant, id)
		b, err2 := cluster.Record(t.Context(), tenant, id)
		if err1 != nil || err2 != nil || len(a) != 1 || !cmp.Equal(a, b) {
			t.Errorf("record %s: %v, %v", id, err1, err2)
		}
	}
}
