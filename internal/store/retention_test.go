package store

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store/storetest"
)

var eventsTable = &Table{Name: "audit_events", Key: 3, Facts: true,
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
