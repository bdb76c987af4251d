package feed

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// unkind is a tenant that stands still, whose records show everything.
func unkind(t *testing.T, address string, seed uint64) *world {
	clock := time.Now().Truncate(time.Second)
	o := small(seed)
	o.PerUser, o.Now = 80, func() time.Time { return clock }
	return newWorld(t, address, o)
}

func (w *world) exec(query string) {
	w.t.Helper()
	if _, err := storetest.Connect(w.t, w.address).Exec(query); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

func (w *world) replay(o ingest.ReplayOptions) ingest.Replayed {
	w.t.Helper()
	o.DB, o.Tenant = w.db, 1
	r, err := ingest.Replay(w.t.Context(), AuditForm(1, Scope{}), o)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Records != r.Unchanged+r.Changed+r.New+r.Repeated+r.Held+r.Failed+r.Dropped || r.Failed+r.Unreadable > 0 {
		w.t.Errorf("the counts do not add up: %+v", r)
	}
	return r
}

// places dumps where the text of records stands.
func (w *world) places() (all []string) {
	w.t.Helper()
	rows, err := storetest.Connect(w.t, w.address).Query("SELECT content_id, content_at, content_len, coalesce(content_hash, -1) FROM audit_events")
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var p [4]int64
		if err := rows.Scan(&p[0], &p[1], &p[2], &p[3]); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, fmt.Sprint(p))
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// whole is all that a replay can change.
func (w *world) whole() map[string][]string {
	dump := w.rows()
	dump["places"] = w.places()
	return dump
}

// An older reeve is played by what it would have left: columns and tables that it did not
// know are empty, others say something else.
var older = []string{
	"UPDATE audit_events SET user_id = NULL, client_ip = NULL, defects = 'old'",
	"UPDATE event_meta_sharepoint SET file_name = NULL, file_extension_id = NULL",
	"UPDATE event_meta_azure_ad SET error_code = 'x' WHERE error_code IS NOT NULL",
	"DELETE FROM event_meta_exchange",
	"DELETE FROM event_copilot_resources WHERE position > 0",
	// A row that this reeve does not make.
	"INSERT INTO event_meta_teams (tenant_id, day, event_id, team_name) SELECT tenant_id, day, event_id, 'x' FROM event_meta_sharepoint",
	"DELETE FROM event_operations",
}

func TestReplay(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := unkind(t, address, 21)
		w.mustRun()
		want := w.whole()

		// With the same version nothing changes.
		r := w.replay(ingest.ReplayOptions{})
		if r.Changed+r.New > 0 || int(r.Unchanged) != len(want["audit_events"]) || r.Repeated == 0 {
			t.Errorf("with the same version: %+v", r)
		}
		if diff := cmp.Diff(want, w.whole()); diff != "" {
			t.Errorf("with the same version (-before +after):\n%.2000s", diff)
		}

		// What an older one left is as this one makes it, at once, and nobody else's row is
		// touched.
		const foreign = "INSERT INTO audit_events (tenant_id, day, id, time_stamp, result, content_id, content_at, content_len) SELECT tenant_id, day, %s, time_stamp, 'theirs', -1, 0, 0 FROM audit_events WHERE day = (SELECT max(day) FROM audit_events) ORDER BY id LIMIT 1"
		id := "x'00112233445566778899aabbccddeeff'"
		if strings.HasPrefix(address, "postgres:") {
			id = "'00112233-4455-6677-8899-aabbccddeeff'::uuid"
		}
		w.exec(fmt.Sprintf(foreign, id))
		want = w.whole()
		for _, query := range older {
			if strings.HasPrefix(query, "UPDATE audit_events ") {
				query += " WHERE content_id <> -1"
			}
			w.exec(query)
		}
		w.db.Close()
		w.open() // names that are known to be there no longer are
		before := w.whole()
		dry := w.replay(ingest.ReplayOptions{Dry: true})
		if diff := cmp.Diff(before, w.whole()); diff != "" {
			t.Errorf("a dry run (-before +after):\n%.2000s", diff)
		}
		r = w.replay(ingest.ReplayOptions{})
		if r.Unchanged > 0 || int(r.Changed) != len(want["audit_events"])-1 || r.New > 0 {
			t.Errorf("after an older version: %+v", r)
		}
		if diff := cmp.Diff(dry, r); diff != "" {
			t.Errorf("(-dry run +run):\n%s", diff)
		}
		if diff := cmp.Diff(want, w.whole()); diff != "" {
			t.Errorf("after an older version (-this one +replayed):\n%.2000s", diff)
		}

		// Rows that are gone come back, save those of others. Which of several copies of a
		// record is named does not matter, and what was in conflict stays so.
		for _, table := range []string{"audit_events", "event_meta_sharepoint", "event_meta_teams"} {
			w.exec("DELETE FROM " + table)
		}
		r = w.replay(ingest.ReplayOptions{})
		if int(r.New) != len(want["audit_events"])-1 || r.Changed+r.Unchanged > 0 {
			t.Errorf("without rows: %+v", r)
		}
		got := w.rows()
		delete(want, "places")
		want["audit_events"] = slices.DeleteFunc(want["audit_events"], func(s string) bool { return strings.Contains(s, "theirs") })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("without rows (-before +replayed):\n%.2000s", diff)
		}
		w.checkRecords()

		// Only the text of those days is read.
		tomorrow := store.Day(w.now().AddDate(0, 0, 1))
		if r := w.replay(ingest.ReplayOptions{First: tomorrow}); r.Pieces > 0 {
			t.Errorf("of tomorrow: %+v", r)
		}
		if r := w.replay(ingest.ReplayOptions{Last: store.Day(w.now()), First: store.Day(w.now())}); r.Pieces == 0 {
			t.Errorf("of today: %+v", r)
		}
	})
}

// checkRecords reads the text of some records.
func (w *world) checkRecords() {
	n := 0
	for r := range w.tenant.Audit.Records() {
		if n++; n%50 == 0 && !r.Broken {
			w.checkRecord(r.ID)
		}
	}
}

// TestReplayReportsWhatItCannotRead: a damaged piece, and a record that cannot be decoded any
// more, cost themselves alone.
func TestReplayReportsWhatItCannotRead(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := unkind(t, address, 22)
		w.mustRun()
		want := w.whole()
		w.exec("UPDATE contents SET bytes = bytes + 1 WHERE id = (SELECT min(id) FROM contents)")
		form := AuditForm(1, Scope{})
		decoder := form.NewDecoder
		form.NewDecoder = func() ingest.Decoder { return &refusing{Decoder: decoder(), every: 10} }
		r, err := ingest.Replay(t.Context(), form, ingest.ReplayOptions{DB: w.db, Tenant: 1})
		if err != nil || r.Unreadable != 1 || r.Failed == 0 || len(r.Problems) == 0 || r.Changed+r.New > 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if diff := cmp.Diff(want, w.whole()); diff != "" {
			t.Errorf("(-before +after):\n%.2000s", diff)
		}
	})
}

// refusing is a decoder of an older version, which does not understand some records.
type refusing struct {
	ingest.Decoder
	every int
}

func (d *refusing) Decode(text []byte, b *store.Batch) *ingest.Bad {
	if len(text)%d.every == 0 { // always the same ones
		return &ingest.Bad{RecordID: "?", Reason: "too new", Detail: fmt.Sprintf("one of %d bytes", len(text))}
	}
	return d.Decoder.Decode(text, b)
}

// TestRetry: what an older version could not store leaves the quarantine, and the rows and
// the ledger are those of an import by this version.
func TestRetry(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		for _, raw := range []store.Raw{store.RawAll, store.RawQuarantined} {
			t.Run(string(raw), func(t *testing.T) {
				w := unkind(t, storetest.Another(t, address), 23)
				w.raw(raw)
				left := newWorldBeside(w)
				left.raw(raw)
				left.mustRun()
				want := left.rows()
				f, o := w.options(true)
				decoder := f.NewDecoder
				f.NewDecoder = func() ingest.Decoder { return &refusing{Decoder: decoder(), every: 5} }
				if r, err := patiently(t.Context(), f, o); err != nil || !r.Complete() || r.Counts.Quarantined < 50 {
					t.Fatalf("%+v, %v", r, err)
				}
				before := w.rows()
				try := func(o ingest.RetryOptions) ingest.Retried {
					t.Helper()
					o.DB, o.Tenant = w.db, 1
					n, err := ingest.Retry(t.Context(), AuditForm(1, Scope{}), o)
					if err != nil || n.Records != n.Stored+n.Duplicate+n.OutOfScope+n.Held+n.NotWhole {
						t.Errorf("%+v, %v", n, err)
					}
					return n
				}
				if n := try(ingest.RetryOptions{Which: store.QuarantineFilter{Reason: "nothing"}}); n.Records > 0 {
					t.Errorf("%+v", n)
				}
				dry := try(ingest.RetryOptions{Dry: true, Which: store.QuarantineFilter{Reason: "too new"}})
				if diff := cmp.Diff(before, w.rows()); diff != "" {
					t.Errorf("a dry run (-before +after):\n%.2000s", diff)
				}
				n := try(ingest.RetryOptions{Which: store.QuarantineFilter{Reason: "too new"}})
				// A dry run sees copies of what it has not stored as new.
				if n.Stored == 0 || n.Records != dry.Records || n.Stored > dry.Stored || dry.Stored > n.Stored+n.Duplicate+n.Held {
					t.Errorf("%+v, dry %+v", n, dry)
				}
				sameButConflicts(t, want, w.rows())
				if w.counts() != left.counts() {
					t.Errorf("the ledger counts %+v, and %+v after an import by this version", w.counts(), left.counts())
				}
				// Windows say the same as their blobs.
				if differ, err := w.db.Ledger(1, "audit").RecountLedger(t.Context(), time.Time{}, time.Now().Add(time.Hour)); err != nil || len(differ) > 0 {
					t.Errorf("the sums of windows: %v, %v", differ, err)
				}
				if raw == store.RawAll {
					w.checkRecords()
				}
				after := w.rows()
				if n := try(ingest.RetryOptions{}); n.Stored+n.Duplicate > 0 {
					t.Errorf("again: %+v", n)
				}
				if diff := cmp.Diff(after, w.rows()); diff != "" {
					t.Errorf("again (-before +after):\n%.2000s", diff)
				}
			})
		}
	})
}

// raw opens the database with a setting.
func (w *world) raw(raw store.Raw) {
	w.t.Helper()
	db, err := store.Open(w.t.Context(), w.address, store.Options{Now: w.now, Raw: raw})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
	w.t.Cleanup(func() { db.Close() })
}

// counts sums up what the ledger says of records.
func (w *world) counts() (sum store.Counts) {
	w.t.Helper()
	all, err := w.db.Ledger(1, "audit").Standing(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range all {
		sum.Add(s.Counts)
	}
	return sum
}

// sameButConflicts compares the rows of two imports in which records came in another
// order: of two that have one Id the first is stored, so that these are as many.
func sameButConflicts(t *testing.T, want, got map[string][]string) {
	t.Helper()
	for _, table := range slices.Sorted(maps.Keys(want)) {
		if len(want[table]) != len(got[table]) {
			t.Errorf("%s: %d rows, want %d", table, len(got[table]), len(want[table]))
		}
	}
	conflicts := 0
	for _, row := range want["quarantine"] {
		if strings.Contains(row, "conflict") {
			conflicts++
		}
	}
	other := 0
	for i, row := range want["audit_events"] {
		if i < len(got["audit_events"]) && got["audit_events"][i] != row {
			other++
		}
	}
	if other > conflicts {
		t.Errorf("%d rows differ, with %d conflicts", other, conflicts)
	}
}

// TestKilledWhileDecodingAgain: a replay and a retry are killed at each of their
// transactions, at its beginning, before and after it is committed, and run again.
func TestKilledWhileDecodingAgain(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := newWorld(t, address, tenant.Options{Seed: 24, Users: 8, Days: 3, PerUser: 60, Calm: true, Now: standing()})
		w.mustRun()
		left := w.whole()
		kills := 0
		for _, doing := range []string{"replay", "retry"} {
			t.Run(doing, func(t *testing.T) {
				step := 1
				if doing == "retry" && os.Getenv("TEST_LONG") == "" {
					step = 4
				}
				x := *w
				x.t = t
				want := left
				if doing == "retry" {
					x.address = storetest.Another(t, address)
					x.open()
					f, o := x.options(true)
					decoder := f.NewDecoder
					f.NewDecoder = func() ingest.Decoder { return &refusing{Decoder: decoder(), every: 2} }
					if r, err := patiently(t.Context(), f, o); err != nil || !r.Complete() || r.Counts.Quarantined < 400 {
						t.Fatalf("%+v, %v", r, err)
					}
					want = w.rows()
				} else {
					for _, query := range older {
						x.exec(query)
					}
				}
				x.db.Close()
				for n := 1; ; n += step {
					killed := again(t, doing, x.address, n)
					if !killed {
						break
					}
					kills++
				}
				x.open()
				got := x.whole()
				if doing == "retry" {
					delete(got, "places")
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-undisturbed +killed):\n%.2000s", diff)
				}
			})
		}
		t.Logf("killed %d times", kills)
		if kills < 4 {
			t.Errorf("it was killed %d times only", kills)
		}
	})
}

func standing() func() time.Time {
	clock := time.Now().Truncate(time.Second)
	return func() time.Time { return clock }
}

// again runs a replay or retry as a program that ends itself by SIGKILL at its n-th
// transaction event. It tells whether that came.
func again(t *testing.T, doing, address string, n int) (killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDecodeAgainUntilKilled$", "-test.count=1")
	cmd.Env = append(os.Environ(), "AGAIN_DOING="+doing, "AGAIN_ADDRESS="+address, "AGAIN_KILL="+strconv.Itoa(n), "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return false
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("%v\n%s", err, &out)
	}
	return true
}

// TestDecodeAgainUntilKilled is the program that again runs.
func TestDecodeAgainUntilKilled(t *testing.T) {
	doing := os.Getenv("AGAIN_DOING")
	if doing == "" {
		t.Skip("it is run by TestKilledWhileDecodingAgain")
	}
	kill, err := strconv.Atoi(os.Getenv("AGAIN_KILL"))
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	db, err := store.Open(t.Context(), os.Getenv("AGAIN_ADDRESS"), store.Options{Trace: func(string) {
		if events++; events == kill {
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				self.Kill()
			}
			select {} // the signal is on its way
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	form := AuditForm(1, Scope{})
	if doing == "replay" {
		_, err = ingest.Replay(context.Background(), form, ingest.ReplayOptions{DB: db, Tenant: 1})
	} else {
		_, err = ingest.Retry(context.Background(), form, ingest.RetryOptions{DB: db, Tenant: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
}
