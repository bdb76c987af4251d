//go:build unix

package app

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store/storetest"
)

var update = flag.Bool("update", false, "write what went wrong, and what it cost, into docs/benchmarks.md")

// What other importers lose or store twice was measured with each of these faults. The
// tables in docs/benchmarks.md have their figures beside what the tests here find for
// reeve, which has to be nought each time.

// A peerFault is a row of the first table.
type peerFault struct {
	name    string
	others  []string // missing/doubled of the other importers, in the order of peerNames
	faults  []emulator.Fault
	latency time.Duration
	blobs   func([]peerBlob) // what is changed about the blobs
	late    bool             // every 10th blob appears when the others have been read
}

var peerNames = []string{"go-office365 `fetch`", "`watch`", "o365beat", "filebeat 7", "filebeat 9 `cel`"}

var peerFaults = []peerFault{
	{name: "none", others: []string{"0/0", "0/0", "0/0", "0/0", "0/0"}},
	{
		name: "listing in pages of 20", others: []string{"0/0", "0/0", "800/800", "0/0", "0/0"},
		faults: onContent(emulator.Fault{Kind: emulator.ShortPages, Length: 20}),
	}, {
		name: "two blobs with the same `contentCreated`", others: []string{"0/0", "500/0", "0/0", "500/0", "0/0"},
		blobs: func(all []peerBlob) {
			for i := 1; i < len(all); i += 2 {
				all[i].created = all[i-1].created
			}
		},
	}, {
		name: "every 10th blob answers 429 first", others: []string{"100/0", "100/0", "90/0", "0/0", "0/0"},
		faults: onBlob(emulator.Fault{Kind: emulator.Throttle, Every: 10}),
	}, {
		name: "every 10th blob answers 500 first", others: []string{"100/0", "100/0", "90/0", "0/0", "0/0"},
		faults: onBlob(emulator.Fault{Kind: emulator.ServerError, Every: 10}),
	}, {
		name: "every 10th blob is cut off first", others: []string{"1000/0, stops", "100/0", "100/0", "0/0", "0/0"},
		faults: onBlob(emulator.Fault{Kind: emulator.Truncated, Every: 20}, emulator.Fault{Kind: emulator.ResetBody, After: 9, Every: 20}),
	}, {
		name: "every 3rd listing answers 429", others: []string{"0/0", "0/0", "1000/0, stops", "0/0, error records", "0/0"},
		faults: onContent(emulator.Fault{Kind: emulator.Throttle, Every: 3}),
	}, {
		name: "the same record in two blobs", others: []string{"0/198", "0/198", "0/198", "0/198", "0/198"},
		blobs: func(all []peerBlob) {
			for i := len(all) - 1; i > 0; i-- {
				all[i].records = slices.Concat(all[i].records, all[i-1].records[:2])
			}
		},
	}, {
		name: "blobs that appear late with an old `contentCreated`", others: []string{"100/0", "90/0", "90/0", "90/0", "100/0"},
		late: true,
	}, {
		name: "newest listed first", others: []string{"0/0", "990/0", "0/0", "0/0", "0/0"},
		faults: onContent(emulator.Fault{Kind: emulator.NewestFirst}),
	}, {
		name: "the same, in pages", others: []string{"0/0", "990/0", "0/2000", "800/0", "0/2000"},
		faults: onContent(emulator.Fault{Kind: emulator.NewestFirst, Length: 20}),
	}, {
		name: "tokens that live 3 s", others: []string{"0/0", "0/0", "0/0", "0/0", "0/0"},
		faults: []emulator.Fault{{API: "authority", Kind: emulator.ShortToken, Delay: 3 * time.Second}}, latency: 300 * time.Millisecond,
	},
}

func onBlob(faults ...emulator.Fault) []emulator.Fault    { return on("blob", faults) }
func onContent(faults ...emulator.Fault) []emulator.Fault { return on("content", faults) }

func on(operation string, faults []emulator.Fault) []emulator.Fault {
	for i := range faults {
		faults[i].API, faults[i].Operation = "manage", operation
	}
	return faults
}

// TestPeersFaults imports 1,000 records in 100 blobs with each of the faults.
func TestPeersFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	found := newPeerResults()
	t.Run("import", func(t *testing.T) {
		storetest.Engines(t, func(t *testing.T, address string) {
			t.Parallel()
			engine, _, _ := strings.Cut(address, ":")
			var undisturbed map[string]int // the rows of each table
			for i, row := range peerFaults {
				t.Run(row.name, func(t *testing.T) {
					if i > 0 { // the first one says what the others have to come to
						t.Parallel()
					}
					got := importWith(t, storetest.Another(t, address), row, &undisturbed)
					found.add(engine, row.name, got)
					t.Logf("missing/doubled: %s", got)
				})
			}
		})
	})
	if t.Failed() || !found.complete(2*len(peerFaults)) {
		return
	}
	var table strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&table, "| %s |\n", strings.Join(cells, " | ")) }
	line(slices.Concat([]string{"what goes wrong"}, peerNames, []string{"reeve, SQLite", "reeve, PostgreSQL"})...)
	line(strings.Split("---"+strings.Repeat(" --:", len(peerNames)+2), " ")...)
	for _, row := range peerFaults {
		cells := []string{row.name}
		for _, other := range row.others {
			if !strings.HasPrefix(other, "0/0") {
				other = "**" + other + "**"
			}
			cells = append(cells, other)
		}
		line(append(cells, found.of("sqlite", row.name), found.of("postgres", row.name))...)
	}
	published(t, "faults", table.String())
}

// importWith imports what a fault happens to, once and again, and tells what became of it.
func importWith(t *testing.T, address string, row peerFault, undisturbed *map[string]int) tally {
	w := newWorked(t, "", address, tenant.Options{Calm: true}, emulator.Options{Calm: true, Latency: row.latency, Faults: row.faults},
		"REEVE_FEEDS_AUDIT_DAYS=2", "REEVE_FEEDS_AUDIT_REQUESTS_PER_MINUTE=100000")
	blobs := peerBlobs(t, 1000, 10, w.tenant.Now())
	var ids []string
	for _, b := range blobs {
		ids = append(ids, b.ids...)
	}
	if row.blobs != nil {
		row.blobs(blobs)
	}
	began := time.Now()
	var late []peerBlob
	for i, b := range blobs {
		if row.late && i%10 == 9 {
			late = append(late, b)
			continue
		}
		w.add(b)
	}
	if row.late {
		w.cycle(65 * time.Minute) // windows of that age are listed hourly
		if n := w.done(); n != len(blobs)-len(late) {
			t.Errorf("%d blobs were read before the late ones appeared", n)
		}
		for _, b := range late {
			w.add(b)
		}
		w.cycle(0)
	} else if code := w.once(); code != exitOK {
		t.Errorf("the import ended with %d", code)
	}
	for _, f := range w.emu.Faults() {
		if f.Happened == 0 || f.Fault.Kind == emulator.ShortToken && (f.Happened < 2 || time.Since(began) < f.Fault.Delay) {
			t.Errorf("%s happened %d times in %v", f.Fault, f.Happened, time.Since(began))
		}
	}
	got := count(t, w.look, ids, *undisturbed)
	if *undisturbed == nil {
		*undisturbed = got.rows
	}
	// Importing again changes nothing.
	if row.latency == 0 && w.once() != exitOK {
		t.Error("the second import failed")
	}
	if again := count(t, w.look, ids, *undisturbed); again.missing+again.doubled > 0 || len(again.wrong) > 0 {
		got = again
	}
	if got.missing+got.doubled > 0 || len(got.wrong) > 0 {
		t.Errorf("%d of %d records are missing, %d are doubled; %s", got.missing, len(ids), got.doubled, strings.Join(got.wrong, "; "))
	}
	return got
}

// cycle imports as it is done at each interval, without listing everything again, by a
// clock that is so much behind.
func (w *worked) cycle(behind time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var out, said said
	ended := make(chan int, 1)
	now := func() time.Time { return time.Now().Add(-behind) }
	go func() {
		ended <- (&program{Streams: Streams{In: strings.NewReader(""), Out: &out, Err: &said}, environ: w.environ, now: now}).run(ctx, []string{"import", "run"})
	}()
	w.until("a cycle to be finished", time.Minute, func() bool { return strings.Contains(said.String(), "FinishedImportCycle") })
	cancel()
	if code := <-ended; code != exitOK {
		w.t.Errorf("import run ended with %d:\n%s", code, said.String())
	}
}

// TestPeersKills kills the import of 30,000 records with SIGKILL again and again, starts
// it anew each time, and lets the last one go on to the end.
//
// With TEST_LONG=1 it does so with 20 databases of each engine.
func TestPeersKills(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a while")
	}
	t.Parallel()
	rounds, seed := uint64(1), uint64(1)
	if os.Getenv("TEST_LONG") != "" {
		rounds = 20
	}
	if n, err := strconv.ParseUint(os.Getenv("TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	found := newPeerResults()
	bin := buildReeve(t)
	blobs := peerBlobs(t, 30_000, 10, time.Now())
	t.Run("import", func(t *testing.T) {
		storetest.Engines(t, func(t *testing.T, address string) {
			t.Parallel() // they wait for what dead processes had a hold on
			engine, _, _ := strings.Cut(address, ":")
			for round := seed; round < seed+rounds; round++ {
				t.Run(fmt.Sprint("seed ", round), func(t *testing.T) {
					found.add(engine, "", importKilled(t, bin, storetest.Another(t, address), blobs, round))
				})
			}
		})
	})
	if t.Failed() || !found.complete(2) {
		return
	}
	var table strings.Builder
	table.WriteString("| program | killed | missing | doubled |\n| --- | --: | --: | --: |\n")
	for _, other := range [][3]string{
		{"go-office365 `watch`", "0", "10,200"}, {"o365beat", "360", "0"}, {"filebeat 7 `o365audit`", "0", "1,300"},
		{"filebeat 9 `cel`, batches of 24 h", "0", "10,850"}, {"the same, batches of 1 h", "0", "760"}, {"OpenTelemetry `m365receiver`", "0", "10,800"},
	} {
		fmt.Fprintf(&table, "| %s | once | %s | %s |\n", other[0], other[1], other[2])
	}
	for _, engine := range [][2]string{{"SQLite", "sqlite"}, {"PostgreSQL", "postgres"}} {
		missing, doubled, _ := strings.Cut(found.of(engine[1], ""), "/")
		fmt.Fprintf(&table, "| reeve, %s | %d times | %s | %s |\n", engine[0], peerKills, missing, doubled)
	}
	published(t, "kills", table.String())
}

const peerKills = 5

// importKilled is one import, which is killed at moments that the seed draws.
func importKilled(t *testing.T, bin, address string, blobs []peerBlob, seed uint64) tally {
	w := newWorked(t, bin, address, tenant.Options{Calm: true}, emulator.Options{Calm: true, Latency: 20 * time.Millisecond},
		"REEVE_FEEDS_AUDIT_DAYS=2", "REEVE_FEEDS_AUDIT_REQUESTS_PER_MINUTE=100000")
	var ids []string
	for _, b := range blobs {
		w.add(b)
		ids = append(ids, b.ids...)
	}
	random := rand.New(rand.NewPCG(seed, 11))
	var at []int // blobs stored when it was killed
	amid := 0
	for range peerKills {
		run := w.begin("import", "run", "--once")
		goal := w.done() + 1 + random.IntN(len(blobs)/10)
		w.await(10*time.Second, func() bool { return w.done() >= goal })
		<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
		run.kill()
		if run.code >= 0 {
			t.Errorf("it ended by itself with %d:\n%s", run.code, run.err.String())
		}
		at = append(at, w.done())
		if n := at[len(at)-1]; n > 0 && n < len(blobs) {
			amid++
		}
	}
	if amid < peerKills {
		t.Errorf("it was killed with %d of %d blobs stored: only %d times in the middle", at, len(blobs), amid)
	}
	last := w.begin("import", "run", "--once")
	<-last.done
	if last.code != exitOK {
		t.Errorf("the last import ended with %d:\n%s", last.code, last.err.String())
	}
	got := count(t, w.look, ids, nil)
	t.Logf("killed with %d of %d blobs stored; missing/doubled: %s", at, len(blobs), got)
	if got.missing+got.doubled > 0 || len(got.wrong) > 0 {
		t.Errorf("%d of %d records are missing, %d are doubled; %s", got.missing, len(ids), got.doubled, strings.Join(got.wrong, "; "))
	}
	return got
}

// A peerBlob is a blob of generated records.
type peerBlob struct {
	created time.Time
	records []json.RawMessage
	ids     []string // of those that were generated for it
}

// peersBegan is when the records of peerBlobs are generated, whatever the time of a test:
// imports that are compared with each other need the same records.
var peersBegan = time.Now()

// peerBlobs makes n records of all workloads, 2,200 bytes each, in blobs of a size that
// were created one after another within the last 20 hours.
func peerBlobs(t *testing.T, n, size int, now time.Time) (blobs []peerBlob) {
	t.Helper()
	log := tenant.NewAuditLog(tenant.AuditOptions{
		TenantID: "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", Domain: "contoso.onmicrosoft.com", SharePointHost: "contoso.sharepoint.com",
		Seed: 1, Users: 100, Days: 2, Total: n, RecordBytes: 2200, Calm: true,
		Now: func() time.Time { return peersBegan },
	})
	for _, part := range tenant.ContentTypes() {
		at := log.Now()
		page := new(log.List(part, at.Add(-tenant.Retention), at))
		for page != nil {
			var listed []tenant.Blob
			listed, page = log.Page(*page)
			for _, b := range listed {
				var text bytes.Buffer
				var records []json.RawMessage
				if err := log.WriteBody(&text, b.ID); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(text.Bytes(), &records); err != nil {
					t.Fatal(err)
				}
				for _, r := range records {
					var record struct{ ID string }
					if err := json.Unmarshal(r, &record); err != nil || record.ID == "" {
						t.Fatalf("%v in %s", err, r)
					}
					if len(blobs) == 0 || len(blobs[len(blobs)-1].records) == size {
						blobs = append(blobs, peerBlob{})
					}
					b := &blobs[len(blobs)-1]
					b.records, b.ids = append(b.records, r), append(b.ids, record.ID)
				}
			}
		}
	}
	if len(blobs) != n/size || len(blobs[len(blobs)-1].records) != size {
		t.Fatalf("%d blobs of %d records were made, want %d", len(blobs), size, n/size)
	}
	const span = 19 * time.Hour
	for i := range blobs {
		blobs[i].created = now.Add(-time.Hour - span + span*time.Duration(i)/time.Duration(len(blobs)))
	}
	return blobs
}

// add makes a blob appear. They are all of one content type, so that pages are as long as
// with one.
func (w *worked) add(b peerBlob) {
	w.t.Helper()
	text, err := json.Marshal(b.records)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tenant.Audit.AddBlob("Audit.General", b.created, text)
}

// A tally is what has become of generated records.
type tally struct {
	missing int // neither stored nor out of scope nor in quarantine
	doubled int // stored twice in a table, or counted twice
	wrong   []string
	rows    map[string]int // of each table
}

func (n tally) String() string { return fmt.Sprintf("%d/%d", n.missing, n.doubled) }

// factTables are the tables that have rows for records, with what tells the rows of a
// record apart. The day is not part of it: with another day a record would be there twice.
var factTables = map[string]string{
	"audit_events": "id", "ignored_audit_events": "event_id",
	"event_meta_sharepoint": "event_id", "event_meta_exchange": "event_id", "event_meta_azure_ad": "event_id", "event_meta_teams": "event_id",
	"event_copilot_chats": "event_id", "event_copilot_resources": "event_id, position",
}

// count looks for each generated record, as another program that knows the tables alone.
// Where it is known how many rows an undisturbed import leaves in each table, a
// difference to that counts as well.
func count(t testing.TB, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, ids []string, undisturbed map[string]int) (n tally) {
	t.Helper()
	read := func(query string, into ...any) func(yield func() bool) {
		return func(yield func() bool) {
			rows, err := db.QueryContext(t.Context(), query)
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			defer rows.Close()
			for rows.Next() {
				if err := rows.Scan(into...); err != nil {
					t.Fatalf("%s: %v", query, err)
				}
				if !yield() {
					return
				}
			}
			if err := rows.Err(); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
	}
	number := func(query string) (v int) {
		for range read(query, &v) {
		}
		return v
	}
	unlike := func(what string, got, want int) {
		if got != want {
			n.wrong = append(n.wrong, fmt.Sprintf("%s: %d, want %d", what, got, want))
		}
	}

	n.rows = map[string]int{}
	stored, ignored, twice := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for table, key := range factTables {
		id, _, _ := strings.Cut(key, ",")
		var v any
		var times int
		for range read("SELECT "+id+", count(*) FROM "+table+" GROUP BY "+key, &v, &times) {
			name := idText(v)
			n.rows[table] += times
			switch table {
			case "audit_events":
				stored[name] = true
			case "ignored_audit_events":
				ignored[name] = true
			}
			if times > 1 {
				twice[name] = true
			}
		}
	}
	n.doubled = len(twice)
	for _, table := range slices.Sorted(maps.Keys(undisturbed)) {
		got, want := n.rows[table], undisturbed[table]
		n.missing, n.doubled = max(n.missing, want-got), max(n.doubled, got-want)
		unlike("rows of "+table, got, want)
	}
	held := map[string]bool{}
	var v any
	for range read("SELECT record_id FROM quarantine WHERE record_id IS NOT NULL", &v) {
		held[idText(v)] = true
	}
	missing, elsewhere := 0, 0
	for _, id := range ids {
		switch id = idText(id); {
		case stored[id]:
		case ignored[id], held[id]:
			elsewhere++
		default:
			missing++
		}
	}
	n.missing = max(n.missing, missing)
	unlike("records that should be stored, and are out of scope or in quarantine", elsewhere, 0)
	unlike("records that are stored", len(stored), len(ids)-missing-elsewhere)

	for _, table := range []string{"ledger_windows", "ledger_blobs"} {
		counted := number("SELECT coalesce(sum(stored), 0) FROM " + table)
		n.doubled = max(n.doubled, counted-len(ids))
		unlike("stored records in "+table, counted, len(stored))
		unlike("records in "+table+" without what became of them",
			number("SELECT coalesce(sum(records - stored - duplicate - out_of_scope - quarantined), 0) FROM "+table), 0)
	}
	var table string
	var rows int
	counted := map[string]int{}
	for range read("SELECT table_name, sum(records) FROM row_counts GROUP BY table_name", &table, &rows) {
		counted[table] = rows
	}
	for _, table := range []string{"audit_events", "ignored_audit_events"} {
		n.doubled = max(n.doubled, counted[table]-max(n.rows[table], undisturbed[table]))
		unlike("rows that are counted of "+table, counted[table], n.rows[table])
	}
	return n
}

// idText is an id as each engine and each record have it, in one form.
func idText(v any) string {
	switch v := v.(type) {
	case []byte:
		if len(v) == 16 {
			return hex.EncodeToString(v)
		}
		return idText(string(v))
	case string:
		return strings.ToLower(strings.ReplaceAll(v, "-", ""))
	}
	return fmt.Sprint(v)
}

// TestPeersCountCanFail: what is missing or there twice is found, wherever it is.
func TestPeersCountCanFail(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, address string) {
		t.Parallel()
		w := newWorked(t, "", address, tenant.Options{Calm: true}, emulator.Options{Calm: true}, "REEVE_FEEDS_AUDIT_DAYS=2")
		var ids []string
		for _, b := range peerBlobs(t, 400, 100, time.Now()) {
			w.add(b)
			ids = append(ids, b.ids...)
		}
		if code := w.once(); code != exitOK {
			t.Fatalf("the import ended with %d", code)
		}
		whole := count(t, w.look, ids, nil)
		if whole.missing+whole.doubled > 0 || len(whole.wrong) > 0 {
			t.Fatalf("%s %v", whole, whole.wrong)
		}
		text := "CAST(%s AS text)"
		if strings.HasPrefix(address, "sqlite:") {
			text = "hex(%s)"
		}
		one := func(table, id string) string { // where it is one record
			id = fmt.Sprintf(text, id)
			return " WHERE " + id + " = (SELECT min(" + id + ") FROM " + table + ")"
		}
		first := func(table string) string { // likewise, one count
			return " WHERE table_name = '" + table + "' ORDER BY day, workload_id LIMIT 1"
		}
		again := func(table, id string) []string {
			return []string{
				"CREATE TEMPORARY TABLE twin AS SELECT * FROM " + table + one(table, id),
				"UPDATE twin SET day = day + 1",
				"INSERT INTO " + table + " SELECT * FROM twin",
			}
		}
		for _, test := range []struct {
			name             string
			do               []string
			missing, doubled int
		}{
			{"a record is gone", []string{"DELETE FROM audit_events" + one("audit_events", "id")}, 1, 0},
			{"what a workload's table had is gone", []string{"DELETE FROM event_meta_exchange" + one("event_meta_exchange", "event_id")}, 1, 0},
			{"a record is there twice", again("audit_events", "id"), 0, 1},
			{"a workload's row is there twice", again("event_meta_azure_ad", "event_id"), 0, 1},
			{"a row is counted twice", []string{"CREATE TEMPORARY TABLE twin AS SELECT * FROM row_counts" + first("audit_events"),
				"INSERT INTO row_counts SELECT tenant_id, table_name, day, workload_id + 1000, 1 FROM twin"}, 0, 1},
			{"a blob is counted twice", []string{"UPDATE ledger_blobs SET stored = stored + 1, records = records + 1 WHERE blob = (SELECT min(blob) FROM ledger_blobs)"}, 0, 1},
			{"a window is counted twice", []string{"UPDATE ledger_windows SET stored = stored + 1, records = records + 1 WHERE start_at = (SELECT min(start_at) FROM ledger_windows) AND part = 'Audit.General'"}, 0, 1},
		} {
			tx, err := w.look.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range test.do {
				if _, err := tx.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %s: %v", test.name, statement, err)
				}
			}
			got := count(t, tx, ids, whole.rows)
			if got.missing != test.missing || got.doubled != test.doubled || len(got.wrong) == 0 {
				t.Errorf("%s: %d missing, %d doubled, %v; want %d and %d", test.name, got.missing, got.doubled, got.wrong, test.missing, test.doubled)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
		}
		if got := count(t, w.look, append(ids, "00000000-0000-4000-8000-000000000000"), whole.rows); got.missing != 1 || got.doubled != 0 {
			t.Errorf("of a record that never came: %+v", got)
		}
	})
}

// peerResults are what was found of each engine and row: of several imports the worst.
type peerResults struct {
	mu    sync.Mutex
	worst map[[2]string]tally
}

func newPeerResults() *peerResults { return &peerResults{worst: map[[2]string]tally{}} }

func (r *peerResults) add(engine, row string, n tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := [2]string{engine, row}
	r.worst[k] = tally{missing: max(n.missing, r.worst[k].missing), doubled: max(n.doubled, r.worst[k].doubled)}
}

// complete tells whether there are so many results: where PostgreSQL is missing, or only
// a part of the tests is run, there is nothing to publish.
func (r *peerResults) complete(n int) bool { return len(r.worst) == n }

func (r *peerResults) of(engine, row string) string { return r.worst[[2]string{engine, row}].String() }

// published compares a table with the one in docs/benchmarks.md, between two marks.
func published(t *testing.T, name, table string) {
	t.Helper()
	file := filepath.Join("..", "..", "docs", "benchmarks.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	before, rest, ok := strings.Cut(string(page), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", file, begin, end)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table, have); diff != "" {
		t.Errorf("docs/benchmarks.md is not what was found; write it with: go test ./internal/app -run %s -update\n(-found +page):\n%s", t.Name(), diff)
	}
}
