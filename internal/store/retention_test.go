package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store/storetest"
)

var eventsTable = &Table{Name: "audit_events", Key: 3, Facts: true, Counted: true,
	Columns: []string{"tenant_id", "day", "id", "time_stamp", "operation_id", "content_id", "content_at", "content_len"}}

var teamsTable = &Table{Name: "event_meta_teams", Key: 3, Columns: []string{"tenant_id", "day", "event_id", "team_name"}}

// storeDay imports a blob of some records of a day, as the import does.
func storeDay(db *DB, tenant int, day time.Time, records int) error {
	blob := Blob{Part: "Audit.General", ID: fmt.Sprintf("blob-%d-%d", Day(day), time.Now().UnixNano()), URI: "u", Created: day.Add(20 * time.Hour), Forget: day.AddDate(0, 0, 7)}
	l := db.Ledger(tenant, "audit")
	if _, err := l.Found(context.Background(), []Window{{Part: blob.Part, Start: day, End: day.AddDate(0, 0, 1)}}, []Blob{blob}); err != nil {
		return err
	}
	return db.WriteBeside(context.Background(), func(tx *Tx) error {
		c := l.Content(blob)
		ours, err := tx.Claim(c)
		if err != nil || !ours[0] {
			return err
		}
		b := db.NewBatch(tenant, c.Feed, c.Part, c.Blob, 0)
		for i := range records {
			id := HashID(fmt.Sprint(blob.ID, i))
			record := []byte(fmt.Sprintf(`{"Id":%q}`, FormatID(id[:])))
			b.Records++
			at := b.Keep(record)
			b.Add(eventsTable, tenant, Day(day), id[:], stamp(day.Add(time.Hour)), nil, b.ContentID, at, len(record))
			b.Add(teamsTable, tenant, Day(day), id[:], "team")
		}
		b.Seal()
		counts, err := tx.Store(Piece{c, b})
		if err != nil {
			return err
		}
		return tx.Count([]Content{c}, counts)
	})
}

// TestPrune: what is too old is deleted with all that belongs to it, it is noted, and the
// rest stays whole.
func TestPrune(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		tenant, err := db.Tenant(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		day := func(month, day int) time.Time { return time.Date(2026, time.Month(month), day, 0, 0, 0, 0, time.UTC) }
		for _, d := range []time.Time{day(7, 30), day(7, 31), day(8, 1), day(8, 20), day(10, 1)} {
			if err := storeDay(db, tenant, d, 3); err != nil {
				t.Fatal(err)
			}
		}
		older := day(8, 15)
		want := []OldDay{{20260730, 3}, {20260731, 3}}
		if strings.HasPrefix(address, "sqlite:") {
			want = append(want, OldDay{20260801, 3})
		}
		if old, err := db.OldDays(t.Context(), tenant, older); err != nil || !slices.Equal(old, want) {
			t.Fatalf("%v, %v", old, err)
		}
		var waiting []OldDay
		if !strings.HasPrefix(address, "sqlite:") {
			waiting = []OldDay{{20260801, 3}}
		}
		if got, err := db.WaitingDays(t.Context(), tenant, older); err != nil || !slices.Equal(got, waiting) {
			t.Errorf("what goes with its month: %v, %v", got, err)
		}
		for range 2 { // the second time nothing is left
			if _, err := db.Prune(t.Context(), tenant, "audit", older); err != nil {
				t.Fatal(err)
			}
			if dropped, err := db.DroppedDays(t.Context(), tenant, "audit", 0, 99999999); err != nil || !slices.Equal(dropped, want) {
				t.Errorf("%v, %v", dropped, err)
			}
			if found := wrong(t, db); found != nil {
				t.Error(found)
			}
			for _, count := range []struct {
				query string
				want  int
			}{
				{`SELECT count(*) FROM audit_events`, 15 - 3*len(want)}, {`SELECT count(*) FROM event_meta_teams`, 15 - 3*len(want)},
				{`SELECT count(*) FROM contents`, 5 - len(want)}, {`SELECT count(*) FROM ledger_blobs`, 5},
			} {
				var n int
				if err := db.read.QueryRowContext(t.Context(), count.query).Scan(&n); err != nil || n != count.want {
					t.Errorf("%s: %d, want %d (%v)", count.query, n, count.want, err)
				}
			}
		}

		// Another process, which knows the month that was dropped, and late records.
		if err := storeDay(db, tenant, day(7, 30), 2); err != nil {
			t.Fatal("late records: ", err)
		}
		if n, err := db.Prune(t.Context(), tenant, "audit", older); err != nil || n != 2 {
			t.Error(n, err)
		}
		if found := wrong(t, db); found != nil {
			t.Error(found)
		}

		// A month that another tenant has rows of is not dropped as a whole.
		other, err := db.Tenant(t.Context(), "another")
		if err != nil {
			t.Fatal(err)
		}
		for _, who := range []int{tenant, other} {
			if err := storeDay(db, who, day(6, 2), 4); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := db.Prune(t.Context(), tenant, "audit", older); err != nil || n != 4 {
			t.Error(n, err)
		}
		var left int
		if err := db.read.QueryRowContext(t.Context(), `SELECT count(*) FROM event_meta_teams WHERE tenant_id = $1`, other).Scan(&left); err != nil || left != 4 {
			t.Errorf("the other tenant has %d rows: %v", left, err)
		}
		if found := wrong(t, db); found != nil {
			t.Error(found)
		}
	})
}

// TestPruneBesideImport: months are dropped while another process imports into them, and
// nothing fails or is counted wrongly.
func TestPruneBesideImport(t *testing.T) {
	address := storetest.PostgreSQL(t)
	one, two := open(t, address), open(t, address)
	tenant, err := one.Tenant(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	rounds := 15
	if os.Getenv("TEST_LONG") != "" {
		rounds = 200
	}
	day := time.Date(2026, 7, 30, 0, 0, 0, 0, time.UTC)
	done := make(chan error, 2)
	go func() {
		for range rounds {
			if err := storeDay(one, tenant, day, 5); err != nil {
				done <- fmt.Errorf("importing: %w", err)
				return
			}
		}
		done <- nil
	}()
	stop := make(chan struct{})
	go func() {
		for {
			if _, err := two.Prune(context.Background(), tenant, "audit", day.AddDate(0, 2, 0)); err != nil {
				done <- fmt.Errorf("pruning: %w", err)
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	err = <-done
	close(stop)
	if err2 := <-done; err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if found := wrong(t, one); found != nil {
		t.Error(found)
	}
}

// agrees fails the test if anything does not fit what is there: what was counted, the
// ledger's sums, the seals.
func (e *estate) agrees(when string) {
	e.t.Helper()
	for _, d := range e.differences() {
		e.t.Errorf("%s: %d: %s", when, d.Day, d.Text)
	}
	if found := e.breaches(""); found != nil {
		e.t.Errorf("%s: %q", when, found)
	}
}

func (e *estate) differences() []Difference {
	e.t.Helper()
	rows, err := e.db.Recount(e.t.Context(), 1, sealedTables, 0, 99999999)
	if err != nil {
		e.t.Fatal(err)
	}
	sums, err := e.db.Ledger(1, "audit").RecountLedger(e.t.Context(), time.Time{}, e.now)
	if err != nil {
		e.t.Fatal(err)
	}
	return append(rows, sums...)
}

// opened gives the days whose seals are opened.
func (e *estate) opened() []Opened {
	e.t.Helper()
	v, err := e.db.VerifySeals(e.t.Context(), 1, sealedTables, 0, 99999999, "")
	if err != nil {
		e.t.Fatal(err)
	}
	return v.Opened
}

func (e *estate) prune(older time.Time) int64 {
	e.t.Helper()
	n, err := e.db.Prune(e.t.Context(), 1, "audit", older)
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// others adds a row of another tenant, so that no month goes as a whole.
func (e *estate) others(address string) {
	e.t.Helper()
	if err := e.db.Write(e.t.Context(), func(tx *Tx) error {
		for _, day := range []int{20260901, 20261001} {
			id := HashID("theirs")
			if _, err := tx.merge(sealedFacts, [][]any{{2, day, id[:], "2026-09-01 00:00:00.000", 1, nil, nil, int64(1), 0, 0}}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		e.t.Fatal(err)
	}
}

var september = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC) // it ends there

// TestDroppedDaysAreNoAlarm: what retention drops is neither tampered with nor lost, it is
// said that it was dropped, and what is kept is guarded as before.
func TestDroppedDaysAreNoAlarm(t *testing.T) {
	for _, alone := range []bool{true, false} {
		t.Run(map[bool]string{true: "alone", false: "others"}[alone], func(t *testing.T) {
			storetest.Engines(t, func(t *testing.T, address string) {
				e := newEstate(t, address)
				if !alone {
					e.others(address)
				}
				e.add(20260901, 1, 2, -3, -4)
				e.add(20260902, 5)
				e.add(20261001, 6, 7, -8)
				// A blob of which a part stays, and one that adds a row to a sealed day.
				e.add(20260902, 9)
				head := e.mustSeal()
				e.add(20260901, 10)
				e.agrees("before")
				if n := e.prune(september); n != 5 {
					t.Errorf("%d records were dropped", n)
				}
				e.agrees("dropped")
				if got, want := e.opened(), []Opened{{20260901, "retention"}, {20260902, "retention"}}; !slices.Equal(got, want) {
					t.Errorf("%+v, want %+v", got, want)
				}
				if got := e.breaches(head[len(head)-1].Digest); got != nil {
					t.Errorf("the head noted before: %q", got)
				}
				if days, err := e.db.CountDays(t.Context(), 1); err != nil || len(days) != 1 || days[0] != (Count{"20261001", 2}) {
					t.Errorf("counted: %+v, %v", days, err)
				}
				for _, s := range e.mustSeal() {
					if s.Day < 20261001 {
						t.Errorf("a dropped day was sealed: %+v", s)
					}
				}
				e.agrees("sealed after it")

				// A late one, which goes the next time.
				e.add(20260901, 11, -12)
				e.agrees("a late record")
				e.mustSeal()
				e.agrees("a late record, sealed")
				e.prune(september)
				e.agrees("dropped again")

				// What was wrong with a day is gone with it.
				raw := storetest.Connect(t, address)
				e.add(20260903, 13, 14)
				if _, err := raw.Exec(`DELETE FROM audit_events WHERE tenant_id = 1 AND day = 20260903 AND record_type = 13`); err != nil {
					t.Fatal(err)
				}
				if found := e.differences(); len(found) != 2 {
					t.Errorf("a row that was deleted: %+v", found)
				}
				e.prune(september)
				e.agrees("a day that was tampered with, dropped")

				if _, err := raw.Exec(`UPDATE audit_events SET record_type = 99 WHERE record_type = 6`); err != nil {
					t.Fatal(err)
				}
				if got := e.breaches(""); len(got) != 1 || !strings.Contains(got[0], "20261001 audit_events: a row was changed") {
					t.Errorf("a changed row of a day that is kept: %q", got)
				}
			})
		})
	}
}

// TestDayThatComesWhileItsMonthGoes: a first record of a day, stored after retention has
// looked which days there are, goes with its month and is noted.
func TestDayThatComesWhileItsMonthGoes(t *testing.T) {
	address := storetest.PostgreSQL(t)
	e := newEstate(t, address)
	e.add(20260901, 1)
	raw := storetest.Connect(t, address)
	importing, err := raw.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer importing.Rollback()
	if _, err := importing.Exec(`SELECT pg_advisory_xact_lock_shared($1)`, int64(turnToDrop)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := e.db.Prune(t.Context(), 1, "audit", september)
		done <- err
	}()
	if err := storetest.Blocked(raw); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		`INSERT INTO audit_events SELECT (jsonb_populate_record(e, '{"day": 20260902, "id": "00112233-4455-6677-8899-aabbccddeeff"}')).* FROM audit_events e`,
		`INSERT INTO row_counts SELECT tenant_id, table_name, 20260902, workload_id, records FROM row_counts WHERE table_name = 'audit_events'`,
		`UPDATE ledger_blobs SET records = records + 1, stored = stored + 1`,
		`UPDATE ledger_windows SET records = records + 1, stored = stored + 1 WHERE blobs > 0`,
	} {
		if _, err := importing.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	if err := importing.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	e.agrees("dropped")
	days, err := e.db.DroppedDays(t.Context(), 1, "audit", 0, 99999999)
	if want := []OldDay{{20260901, 1}, {20260902, 1}}; err != nil || !slices.Equal(days, want) {
		t.Errorf("dropped %+v, want %+v (%v)", days, want, err)
	}
}

// TestSealingWhatIsDropped: a day that is dropped, or sealed by somebody else, after it was
// read and before its seal is written is not sealed as it was.
func TestSealingWhatIsDropped(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		for _, sealedBefore := range []bool{false, true} {
			e := newEstate(t, storetest.Another(t, address))
			e.add(20260901, 1, 2, -3)
			e.add(20261001, 4)
			if sealedBefore {
				e.mustSeal()
				e.add(20260901, 5)
			}
			read := func(day int) dayRead {
				r, err := e.db.readDay(t.Context(), 1, sealedTables, day, "", "")
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			write := func(day int, r dayRead) {
				t.Helper()
				if err := e.db.Write(t.Context(), func(tx *Tx) error { _, err := tx.sealDay(1, day, r); return err }); !errors.Is(err, errOvertaken) {
					t.Errorf("it was sealed: %v", err)
				}
			}
			r := read(20260901)
			if len(r.fresh) == 0 {
				t.Fatal("there is nothing to seal")
			}
			e.prune(september)
			write(20260901, r)
			e.agrees("dropped meanwhile")
			e.mustSeal()

			// Somebody else has sealed it, and knew less of what came late.
			e.add(20261001, 6)
			first := read(20261001)
			e.add(20261001, 7)
			second := read(20261001)
			if err := e.db.Write(t.Context(), func(tx *Tx) error { _, err := tx.sealDay(1, 20261001, first); return err }); err != nil {
				t.Error(err)
			}
			write(20261001, second)
			e.agrees("sealed by two")
			e.mustSeal()
			e.agrees("sealed by two, and again")
		}
	})
}

// TestSealingForAReasonIsDoneOrRefused: who accepts what has changed is told if it was not
// sealed, since a replay was at it at the same moment.
func TestSealingForAReasonIsDoneOrRefused(t *testing.T) {
	address := storetest.PostgreSQL(t)
	e := newEstate(t, address)
	e.add(20261001, 1)
	raw := storetest.Connect(t, address)
	for reason, want := range map[string]error{"": nil, "accepted": errOvertaken} {
		other, err := raw.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Rollback()
		if _, err := other.Exec(`SELECT pg_advisory_xact_lock($1)`, int64(turnToWrite)); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			made, err := e.db.SealDay(t.Context(), 1, sealedTables, 20261001, "", reason)
			if len(made) > 0 {
				err = fmt.Errorf("sealed %+v, %v", made, err)
			}
			done <- err
		}()
		if err := storetest.Blocked(raw); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Exec(`INSERT INTO schema_state (name, value) VALUES ($1, '7') ON CONFLICT (name) DO UPDATE SET value = schema_state.value || '7'`, changesOf(1)); err != nil {
			t.Fatal(err)
		}
		if err := other.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, want) {
			t.Errorf("for the reason %q: %v, want %v", reason, err, want)
		}
	}
}

// TestDroppingKilled: wherever it is killed, everything agrees, and the next one ends it.
func TestDroppingKilled(t *testing.T) {
	before := atOnce
	atOnce = 2
	defer func() { atOnce = before }()
	storetest.Engines(t, func(t *testing.T, address string) {
		step := 2
		if os.Getenv("TEST_LONG") != "" {
			step = 1
		}
		for kill := 1; ; kill += step {
			address := storetest.Another(t, address)
			e := newEstate(t, address)
			e.others(address)
			e.add(20260901, 1, 2, 3, -6, -7, -8)
			e.add(20261001, 9)
			e.mustSeal()
			events := 0
			dying, err := Open(t.Context(), address, Options{Now: func() time.Time { return e.now }, Trace: func(event string) {
				if event == "committed" {
					if events++; events == kill {
						panic("killed")
					}
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			ended := func() (ended bool) {
				defer func() { ended = recover() == nil }()
				if _, err := dying.Prune(t.Context(), 1, "audit", september); err != nil {
					t.Fatal(err)
				}
				return true
			}()
			if ended {
				break
			}
			e.agrees(fmt.Sprint("killed at ", kill))
			e.mustSeal()
			e.agrees(fmt.Sprint("killed and sealed, at ", kill))
			e.prune(september)
			e.agrees(fmt.Sprint("ended after it was killed at ", kill))
			if days, err := e.db.CountDays(t.Context(), 1); err != nil || len(days) != 1 || days[0] != (Count{"20261001", 1}) {
				t.Errorf("killed at %d: %+v, %v", kill, days, err)
			}
			if dropped, err := e.db.DroppedDays(t.Context(), 1, "audit", 0, 99999999); err != nil || !slices.Equal(dropped, []OldDay{{20260901, 3}}) {
				t.Errorf("killed at %d: %+v, %v", kill, dropped, err)
			}
			e.db.Close()
			dying.Close()
		}
	})
}

// TestIndexOfSomebodyElse: an index that somebody has made for questions of their own stays,
// and new months have it.
func TestIndexOfSomebodyElse(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		tenant, err := db.Tenant(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		raw := storetest.Connect(t, address)
		if _, err := raw.Exec(`CREATE INDEX contoso_by_user ON audit_events (tenant_id, user_id, day)`); err != nil {
			t.Fatal(err)
		}
		db.Close()
		db = open(t, address)
		for _, day := range []time.Time{september.AddDate(0, -1, 0), september} {
			if err := storeDay(db, tenant, day, 2); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := db.Prune(t.Context(), tenant, "audit", september); err != nil || n != 2 {
			t.Error(n, err)
		}
		if found := wrong(t, db); found != nil {
			t.Error(found)
		}
		query, want := `SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%(tenant_id, user_id, day)'`, 2 // the table's and the month's
		if strings.HasPrefix(address, "sqlite:") {
			query, want = `SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = 'contoso_by_user'`, 1
		}
		var n int
		if err := raw.QueryRow(query).Scan(&n); err != nil || n != want {
			t.Errorf("%d indexes, want %d (%v)", n, want, err)
		}
	})
}
