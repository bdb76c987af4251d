package feed

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

func openDB(t testing.TB, address string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), address, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// decode gives the rows that one record becomes, as column: value, by table.
func decode(t *testing.T, scope Scope, text string) (rows map[string]string, bad string) {
	t.Helper()
	db := openDB(t, storetest.SQLite(t))
	b := db.NewBatch(1, "audit", "Audit.General", "blob", 0)
	b.Records++
	if x := newAuditDecoder(1, scope).Decode([]byte(text), b); x != nil {
		return nil, x.Reason + ": " + x.Detail
	}
	rows = map[string]string{}
	for _, r := range b.Tables() {
		for i := range r.Len() {
			var all []string
			for j, v := range r.Row(i) {
				column := r.Table.Columns[j]
				switch {
				case v == nil, column == "tenant_id", column == "content_id", column == "content_at", column == "content_len":
				case column == "id" || column == "event_id":
					if i == 0 {
						all = append(all, store.FormatID(v.([]byte)))
					}
				default:
					all = append(all, fmt.Sprintf("%s=%v", column, v))
				}
			}
			rows[r.Table.Name] += strings.Join(all, " ") + "\n"
		}
	}
	return rows, ""
}

const someID = `"Id":"0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2","CreationTime":"2026-11-02T08:45:19"`

func TestDecodeColumns(t *testing.T) {
	id := func(table *store.NameTable, name string) string { return fmt.Sprint(table.ID(name)) }
	for _, test := range []struct {
		name, in string
		want     map[string]string
	}{
		{"the least", `{` + someID + `}`, map[string]string{
			"audit_events": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000\n"}},
		{"common members", `{` + someID + `,"RecordType":20,"Operation":"ViewReport","UserType":0,"UserKey":"1003","Workload":"PowerBI",
			"ResultStatus":"Succeeded","ObjectId":"r","UserId":"Adele@contoso.example","ClientIP":"10.1.2.3:51598","More":{"a":[1]}}`, map[string]string{
			"audit_events": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 record_type=20 operation_id=" + id(operations, "ViewReport") +
				" workload_id=" + id(workloads, "PowerBI") + " user_id=" + id(users, "adele@CONTOSO.example") + " user_type=0 user_key=1003 result=Succeeded client_ip=10.1.2.3 object_id=r\n"}},
		{"odd but whole", `{"Id":"123-abc","CreationTime":"2026-11-02 08:45:19.5","RecordType":"20","ClientIP":"ffff:10.11.0.229","UserKey":7,"UserId":"a\u0000b"}`, map[string]string{
			"audit_events": "day=20261102 " + store.FormatID(hash("123-abc")) + " time_stamp=2026-11-02 08:45:19.500 record_type=20 user_id=" + id(users, "a\uFFFDb") + " user_key=7 client_ip=10.11.0.229 record_id=123-abc\n"}},
		{"wrong types", `{` + someID + `,"RecordType":"many","ClientIP":{"a":1},"UserType":99999999999,"Operation":["x"]}`, map[string]string{
			"audit_events": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 defects=RecordType is no whole number; Operation is an array; UserType is out of range; ClientIP is an object\n"}},
		{"not UTF-8", `{` + someID + `,"ObjectId":"a` + "\xff" + `b"}`, map[string]string{
			"audit_events": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 object_id=a\uFFFDb defects=text that is not UTF-8 was replaced\n"}},
		{"SharePoint", `{` + someID + `,"Workload":"OneDrive","SiteUrl":"https://c-my.example/p/","SourceRelativeUrl":"Documents","SourceFileName":"A.DOCX","SourceFileExtension":"DOCX",
			"ItemType":"File","EventSource":"SharePoint","UserAgent":"UA","UserSharedWith":"b@x.example","DestinationFileName":"B.docx"}`, map[string]string{
			"audit_events": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 workload_id=" + id(workloads, "OneDrive") + "\n",
			"event_meta_sharepoint": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 site_url=https://c-my.example/p/ relative_url=Documents file_name=A.DOCX file_extension_id=" + id(extensions, "docx") +
				" item_type_id=" + id(itemTypes, "File") + " event_source=SharePoint user_agent=UA target_user=b@x.example destination_file=B.docx\n"}},
		{"Exchange", `{` + someID + `,"Workload":"Exchange","LogonType":0,"ExternalAccess":"False","MailboxOwnerUPN":"a@x.example","Item":{"Subject":"S","ParentFolder":{"Path":"\\Inbox"},"InternetMessageId":"<m>"}}`, map[string]string{
			"audit_events":        "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 workload_id=" + id(workloads, "Exchange") + "\n",
			"event_meta_exchange": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 mailbox_owner=a@x.example logon_type=0 external_access=false subject=S folder=\\Inbox message_id=<m>\n"}},
		{"Entra, told by its RecordType", `{` + someID + `,"RecordType":15,"AzureActiveDirectoryEventType":1,"Actor":[{"ID":"1234","Type":0},{"ID":"a@x.example","Type":5}],"Target":[{"ID":"S","Type":1}],"ErrorNumber":"50126"}`, map[string]string{
			"audit_events":        "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 record_type=15\n",
			"event_meta_azure_ad": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 event_type=1 actor=a@x.example target=S error_code=50126\n"}},
		{"Teams", `{` + someID + `,"Workload":"MicrosoftTeams","TeamName":"T","TeamGuid":"19:x@thread","ChannelName":"C","Members":[{"UPN":"a"}]}`, map[string]string{
			"audit_events":     "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 workload_id=" + id(workloads, "MicrosoftTeams") + "\n",
			"event_meta_teams": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 team_id=19:x@thread team_name=T channel_name=C members=[{\"UPN\":\"a\"}]\n"}},
		{"Copilot", `{` + someID + `,"Workload":"Copilot","CopilotEventData":{"AppHost":"Word","Messages":[{"Id":"1","isPrompt":true},{"Id":"2","isPrompt":false}],
			"Contexts":[{"Id":"https://c.example/a.docx","Type":"docx"},{"Id":"m","Type":"TeamsMeeting"}],"AccessedResources":[{"Id":"R","Type":"pptx","Name":"N","SiteUrl":"s"}],"ModelTransparencyDetails":[{"ModelName":"M"}]}}`, map[string]string{
			"audit_events":        "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 time_stamp=2026-11-02 08:45:19.000 workload_id=" + id(workloads, "Copilot") + "\n",
			"event_copilot_chats": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 app_host=Word prompts=1 answers=1 model=M\n",
			"event_copilot_resources": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2 position=0 role=context resource_id=https://c.example/a.docx resource_type=docx\n" +
				"day=20261102 position=1 role=context resource_id=m resource_type=TeamsMeeting\n" +
				"day=20261102 position=2 role=accessed resource_id=R resource_type=pptx name=N site_url=s\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, bad := decode(t, Scope{}, test.in)
			if bad != "" {
				t.Fatal(bad)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func hash(s string) []byte { id := store.HashID(s); return id[:] }

func TestDecodeRefusals(t *testing.T) {
	for in, want := range map[string]string{
		`17`:                                     "not an object: the record is a number",
		`"text"`:                                 "not an object: the record is text",
		`null`:                                   "not an object: the record is null",
		`{"Id":"x"}`:                             "no time: its CreationTime (missing) is no time",
		`{"Id":"x","CreationTime":"soon"}`:       `no time: its CreationTime "soon" is no time`,
		`{"Id":"x","CreationTime":{}}`:           "no time",
		`{"CreationTime":"2026-11-02T08:45:19"}`: "no Id: its Id is missing",
		`{"Id":17,"CreationTime":"2026-11-02T08:45:19"}`:          "no Id: its Id is a number",
		`{"Id":null,"CreationTime":"2026-11-02T08:45:19"}`:        "no Id",
		`{"Id":"","CreationTime":"2026-11-02T08:45:19"}`:          "no Id",
		`{"Id":"x","CreationTime":"2026-11-02T08:45:19",}`:        "not JSON",
		`{"Id":"x","CreationTime":"2026-11-02T08:45:19","a":tru}`: "not JSON",
	} {
		if _, bad := decode(t, Scope{}, in); !strings.HasPrefix(bad, want) {
			t.Errorf("%s: %q, want %q", in, bad, want)
		}
	}
}

func TestScope(t *testing.T) {
	scope, err := NewScope([]string{"https://Contoso.example/sites/a", "=https://contoso.example/sites/b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		object, site string
		want         bool
	}{
		{"", "", true},
		{"someone@contoso.example", "", true},
		{"https://contoso.example/SITES/a/x.docx", "", true},
		{"https://contoso.example/sites/c/x.docx", "", false},
		{"https://contoso.example/sites/b/x.docx", "https://contoso.example/sites/B/", true},
		{"https://contoso.example/sites/b/sub/x.docx", "https://contoso.example/sites/b/sub", false},
		{"https://other.example/x", "", false},
	} {
		if got := scope.holds([]byte(test.object), []byte(test.site)); got != test.want {
			t.Errorf("holds(%q, %q) = %v", test.object, test.site, got)
		}
	}
	if _, err := NewScope([]string{"contoso"}); err == nil || !strings.Contains(err.Error(), `"contoso"`) {
		t.Errorf("a rule that is no address: %v", err)
	}
	got, _ := decode(t, scope, `{`+someID+`,"ObjectId":"https://other.example/x"}`)
	want := map[string]string{"ignored_audit_events": "day=20261102 0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("out of scope (-want +got):\n%s", diff)
	}
}

// fixtures finds the folder of real samples beside the repository.
func fixtures(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, "..", "shared", "fixtures", "audit")
			if _, err := os.Stat(path); err != nil {
				t.Skip("the real samples are not beside this repository")
			}
			return path
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

func TestDecodeRealRecords(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixtures(t), "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	db := openDB(t, storetest.SQLite(t))
	d := newAuditDecoder(1, Scope{})
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			b := db.NewBatch(1, "audit", "Audit.General", file, n)
			b.Records++
			bad := d.Decode(lines.Bytes(), b)
			// The one sample that is a row of Log Analytics has no Id.
			if want := strings.HasPrefix(filepath.Base(file), "otrf"); (bad != nil) != want {
				t.Errorf("%s:%d: %+v", file, n, bad)
			}
			for _, r := range b.Tables() {
				for i, c := range r.Table.Columns {
					if c == "defects" && r.Row(0)[i] != nil {
						t.Errorf("%s:%d: %v", file, n, r.Row(0)[i])
					}
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{` + someID + `}`))
	f.Add([]byte(`{` + someID + `,"Workload":"Copilot","CopilotEventData":"{\"AppHost\":\"x\"}"}`))
	f.Add([]byte(`{` + someID + `,"Workload":"Exchange","Item":[],"Folders":[1,{}],"AffectedItems":{"a":[]}}`))
	f.Add([]byte(`{` + someID + `,"Workload":"AzureActiveDirectory","Actor":[{"ID":{}},null]}`))
	f.Add([]byte(`{` + someID + `,"UserId":"\u0000a","Workload":"Share\u0000Point","ObjectId":"\u0000"}`))
	f.Add([]byte("{\"Id\":\"\xff\",\"CreationTime\":\"2026-11-02T08:45:19\"}"))
	dbs := []*store.DB{openDB(f, storetest.SQLite(f))}
	if storetest.HasPostgreSQL() {
		dbs = append(dbs, openDB(f, storetest.PostgreSQL(f)))
	}
	d := newAuditDecoder(1, Scope{})
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, db := range dbs {
			b := db.NewBatch(1, "audit", "p", "b", 0)
			b.Records++
			if bad := d.Decode(text, b); bad != nil {
				if len(b.Tables()) > 0 {
					t.Errorf("%v, but rows were added", bad)
				}
				return
			}
			b.Seal()
			if err := db.Write(t.Context(), func(tx *store.Tx) error {
				n, err := tx.Store(store.Piece{Content: store.Content{Tenant: 1, Feed: "audit", Part: "p", Blob: "b"}, Batch: b})
				if err == nil && n[0].Stored+n[0].Duplicate+n[0].Quarantined != 1 {
					t.Errorf("counts %+v", n)
				}
				return err
			}); err != nil {
				t.Errorf("storing: %v", err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	record := []byte(`{"CreationTime":"2026-11-02T08:45:19","Id":"0ce4ea97-4c79-4b04-0c99-08d5ac1b34f2","Operation":"FileAccessed","OrganizationId":"5c9f1ccc-4f47-4d71-880e-13f02fec7208","RecordType":6,"UserKey":"i:0h.f|membership|10037ffea950a3b6@live.com","UserType":0,"Version":1,"Workload":"SharePoint","ClientIP":"51.141.93.161","ObjectId":"https://contoso.example/sites/a/Shared Documents/x.docx","UserId":"admin@contoso.example","CorrelationId":"4087619e-10a4-0000-075e-b8b419e5c07e","EventSource":"SharePoint","ItemType":"File","ListId":"18954e7f-1df6-46fb-86cc-6e04d78e3c05","SiteUrl":"https://contoso.example/sites/a/","SourceFileName":"x.docx","SourceFileExtension":"docx","SourceRelativeUrl":"Shared Documents","UserAgent":"` + strings.Repeat("Mozilla/5.0 (Windows NT 10.0; WOW64) ", 8) + `","Extra":[` + strings.Repeat(`{"Name":"Identity","Value":"something of some length"},`, 17) + `{}]}`)
	db := openDB(b, storetest.SQLite(b))
	d := newAuditDecoder(1, Scope{})
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		batch := db.NewBatch(1, "audit", "p", "b", 0)
		for range 100 {
			batch.Records++
			if bad := d.Decode(record, batch); bad != nil {
				b.Fatal(bad)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/record")
}
