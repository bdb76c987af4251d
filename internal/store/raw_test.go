package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// hashing is facts with the column of what is not kept.
var hashing = &Table{Name: "audit_events", Key: 3, Facts: true,
	Columns: []string{"tenant_id", "day", "id", "time_stamp", "record_id", "content_hash", "content_id", "content_at", "content_len"}}

// openAs opens a database that keeps so much, on a day.
func openAs(t testing.TB, address string, raw Raw, now time.Time) *DB {
	t.Helper()
	db, err := Open(t.Context(), address, Options{Raw: raw, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// put stores records of a blob; the first letter of each is its Id.
func put(t testing.TB, db *DB, tenant int, blob string, records ...string) Counts {
	t.Helper()
	b := db.NewBatch(tenant, "audit", "p", blob, 0)
	for _, r := range records {
		b.Records++
		id, text := HashID(r[:1]), []byte(r[1:])
		b.Add(hashing, tenant, 20261102, id[:], "2026-11-02 00:00:00.000", r[:1], b.Hash(text), b.ContentID, b.Keep(text), len(text))
	}
	b.Seal()
	var counts []Counts
	if err := db.Write(t.Context(), func(tx *Tx) (err error) {
		counts, err = tx.Store(Piece{Content{Tenant: tenant, Feed: "audit", Part: "p", Blob: blob}, b})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return counts[0]
}

var november = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// TestSameAndDifferentWithoutText: a record that comes again is known, and one that
// differs is told from it, whatever is kept of the first.
func TestSameAndDifferentWithoutText(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		for _, raw := range []Raw{RawAll, RawQuarantined, RawNone} {
			t.Run(string(raw), func(t *testing.T) {
				db := openAs(t, storetest.Another(t, address), raw, november)
				if got := put(t, db, 1, "a", `a{"x":1,"y":[1,{"p":1,"q":2}]}`, `b{"x":9007199254740993}`); got.Stored != 2 {
					t.Fatalf("%+v", got)
				}
				again := put(t, db, 1, "b", `a{"y":[1, {"q":2,"p":1}],"x":1}`, `b{"x":9007199254740992}`, `a{"x":1,"y":[]}`)
				if want := (Counts{Records: 3, Duplicate: 1, Quarantined: 2}); again != want {
					t.Errorf("%+v, want %+v", again, want)
				}
				found, err := db.Record(t.Context(), 1, "a")
				if err != nil || len(found) != 2 || found[0].State != "stored" || found[1].State != ReasonConflict {
					t.Fatalf("%+v, %v", found, err)
				}
				if kept := len(found[0].Raw) > 0; kept != (raw == RawAll) || !kept && !strings.Contains(found[0].Detail, "its text is not kept") {
					t.Errorf("of what is stored: %+v", found[0])
				}
				if kept := string(found[1].Raw) == `{"x":1,"y":[]}`; kept != (raw != RawNone) {
					t.Errorf("of what is in quarantine: %+v", found[1])
				}
				size, err := db.RawSize(t.Context(), 1)
				if err != nil || (size.Pieces > 0) != (raw == RawAll) || (size.HeldStored > 0) != (raw != RawNone) || size.Held != 2 {
					t.Errorf("%+v, %v", size, err)
				}
			})
		}
		// What was kept once and is not any more cannot be compared: it is not lost.
		db := openAs(t, address, RawAll, november)
		put(t, db, 1, "a", `a{"x":1}`)
		if pieces, _, more, err := db.Forget(t.Context(), 1, "audit", november.AddDate(0, 1, 0)); pieces != 1 || more || err != nil {
			t.Fatalf("%d pieces, %v, %v", pieces, more, err)
		}
		later := openAs(t, address, RawAll, november.AddDate(0, 1, 0))
		if got := put(t, later, 1, "b", `a{"x":1}`); got.Quarantined != 1 || got.Stored != 0 {
			t.Errorf("%+v", got)
		}
		if kinds, err := later.Quarantine(t.Context(), 1, QuarantineFilter{Reason: ReasonConflict, Has: "nobody can say"}, nil, 5); err != nil || len(kinds) != 1 {
			t.Errorf("%+v, %v", kinds, err)
		}
	})
}

// TestForget: old text goes by day, in bounded steps, and only that which is meant.
func TestForget(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		postgres := strings.HasPrefix(address, "postgres:")
		days := []time.Time{
			time.Date(2026, 8, 30, 9, 0, 0, 0, time.UTC), time.Date(2026, 9, 15, 9, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC), time.Date(2026, 10, 20, 9, 0, 0, 0, time.UTC), november,
		}
		letter := byte('a')
		for i, day := range days {
			db := openAs(t, address, RawAll, day)
			for tenant := 1; tenant <= 2; tenant++ {
				if tenant == 2 && i > 1 {
					continue // the second tenant has text of August and September only
				}
				blobs := 1
				if i == 1 {
					blobs = forgetPieces + 3
				}
				for n := range blobs {
					put(t, db, tenant, fmt.Sprintf("%d %d", i, n), string(letter)+fmt.Sprintf(`{"i":%d}`, i))
				}
			}
			letter++
		}
		db := openAs(t, address, RawAll, november)
		left := func(tenant int) []int {
			t.Helper()
			all, err := db.KeptDays(t.Context(), tenant, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		before := left(2)
		pieces, _, more, err := db.Forget(t.Context(), 1, "audit", time.Date(2026, 10, 15, 0, 0, 0, 0, time.UTC))
		if err != nil || more {
			t.Fatal(more, err)
		}
		want, gone := []int{20261020, 20261102}, int64(forgetPieces+5)
		if postgres { // whole months
			want, gone = []int{20261001, 20261020, 20261102}, forgetPieces+4
		}
		if diff := cmp.Diff(want, left(1)); diff != "" || pieces != gone {
			t.Errorf("%d pieces, want %d; days (-want +got):\n%s", pieces, gone, diff)
		}
		if diff := cmp.Diff(before, left(2)); diff != "" {
			t.Errorf("the other tenant's (-before +after):\n%s", diff)
		}
		if pieces, _, _, err = db.Forget(t.Context(), 2, "audit", november); err != nil || pieces != forgetPieces+4 || len(left(2)) != 0 {
			t.Errorf("%d pieces, %v left, %v", pieces, left(2), err)
		}
		var rows int
		if err := db.read.QueryRow(`SELECT count(*) FROM audit_events WHERE tenant_id = 1`).Scan(&rows); err != nil || rows != len(days) {
			t.Errorf("%d rows, %v", rows, err)
		}
		if postgres {
			var months int
			if err := db.read.QueryRow(`SELECT count(*) FROM pg_inherits WHERE inhparent = 'contents'::regclass`).Scan(&months); err != nil || months > 3 {
				t.Errorf("%d months are left, %v", months, err)
			}
			// One who reads an old month, a backup for instance, makes it wait for the next
			// time, and not all others for ever.
			old := openAs(t, address, RawAll, days[0])
			put(t, old, 1, "again", `z{}`)
			reader, err := storetest.Connect(t, address).BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := reader.Exec("LOCK TABLE contents_202608 IN ACCESS SHARE MODE"); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := old.Forget(t.Context(), 1, "audit", november); err == nil {
				t.Error("a month that is read was dropped")
			}
			if err := reader.Rollback(); err != nil {
				t.Fatal(err)
			}
			if n, _, _, err := old.Forget(t.Context(), 1, "audit", november); err != nil || n == 0 {
				t.Errorf("%d, %v", n, err)
			}
		}
	})
}

// TestForgetsWhatIsIgnored: of what is in quarantine only that loses its text.
func TestForgetsWhatIsIgnored(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := openAs(t, address, RawAll, november)
		hold := func(reason, detail, text string) {
			t.Helper()
			b := db.NewBatch(1, "audit", "p", text, 0)
			b.Records++
			b.Hold(Quarantined{Reason: reason, Detail: detail, Raw: []byte(text), Bytes: int64(len(text))})
			b.Seal()
			if err := db.Write(t.Context(), func(tx *Tx) error {
				_, err := tx.Store(Piece{Content{Tenant: 1, Feed: "audit", Part: "p", Blob: text}, b})
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		hold("no time", "it is never", "one")
		hold("no time", "it is 100%_", "two")
		hold("not JSON", "it is never", "three")
		ignore := func(i Ignored) {
			t.Helper()
			if err := db.Ignore(t.Context(), 1, i); err != nil {
				t.Fatal(err)
			}
		}
		ignore(Ignored{Reason: "no time", Has: "%_", Why: "a test"})
		count := func() (all []string) {
			t.Helper()
			kinds, err := db.Kinds(t.Context(), 1, QuarantineFilter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range kinds {
				all = append(all, fmt.Sprintf("%s %d %d", k.Reason, k.Records, k.Ignored))
			}
			alarms, err := db.CountQuarantine(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range alarms {
				all = append(all, fmt.Sprintf("%s %d", c.Name, c.Rows))
			}
			return all
		}
		if diff := cmp.Diff([]string{"no time 2 1", "not JSON 1 0", "no time 1", "not JSON 1"}, count()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, n, _, err := db.Forget(t.Context(), 1, "audit", november.Add(-time.Hour)); n != 0 || err != nil {
			t.Errorf("%d of what is new, %v", n, err)
		}
		if _, n, _, err := db.Forget(t.Context(), 1, "audit", november.Add(time.Hour)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		held, err := db.Held(t.Context(), 1, "audit", QuarantineFilter{}, nil)
		if err != nil || len(held) != 3 {
			t.Fatalf("%+v, %v", held, err)
		}
		for _, q := range held {
			if q.Kept == q.Ignored || q.Kept != q.Whole() || q.Ignored != strings.Contains(q.Detail, "%_") {
				t.Errorf("%+v", q)
			}
		}
		ignore(Ignored{Reason: "not JSON", Why: "another"})
		kinds, err := db.IgnoredKinds(t.Context(), 1)
		if err != nil || len(kinds) != 2 || kinds[0].Records != 1 || kinds[1].Why != "another" || !kinds[1].Since.Equal(november) {
			t.Errorf("%+v, %v", kinds, err)
		}
		if err := db.Heed(t.Context(), 1, "no time", "%_"); err != nil {
			t.Error(err)
		}
		if err := db.Heed(t.Context(), 1, "no time", "%_"); err != ErrNotFound {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"no time 2 0", "not JSON 1 1", "no time 2"}, count()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestQuarantineIsListedInPages: the newest first, each once.
func TestQuarantineIsListedInPages(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		var want []string
		for i := range 3 {
			db := openAs(t, address, RawAll, november.Add(time.Duration(i)*time.Hour))
			b := db.NewBatch(1, "audit", "p", "blob", i)
			for n := range 4 {
				b.Records++
				text := fmt.Sprintf("%d %d", i, n)
				b.Hold(Quarantined{Reason: "not JSON", Raw: []byte(text), Bytes: 3})
				want = append(want, text)
			}
			b.Seal()
			if err := db.Write(t.Context(), func(tx *Tx) error {
				_, err := tx.Store(Piece{Content{Tenant: 1, Feed: "audit", Part: "p", Blob: "blob"}, b})
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		db := openAs(t, address, RawAll, november)
		var got []string
		var after []byte
		for newest := (time.Time{}); ; {
			page, err := db.Quarantine(t.Context(), 1, QuarantineFilter{}, after, 5)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, q := range page {
				if !newest.IsZero() && q.SeenAt.After(newest) {
					t.Errorf("%v follows %v", q.SeenAt, newest)
				}
				newest, after = q.SeenAt, q.Digest
				whole, err := db.Quarantined(t.Context(), 1, fmt.Sprintf("%x", q.Digest)[:20])
				if err != nil || len(q.Raw) != 0 {
					t.Fatalf("%+v, %v", q, err)
				}
				got = append(got, string(whole.Raw))
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, err := db.Quarantined(t.Context(), 1, ""); err != ErrAmbiguous {
			t.Error(err)
		}
		for _, digest := range []string{"xyz", strings.Repeat("0", 32), strings.Repeat("0", 40)} {
			if _, err := db.Quarantined(t.Context(), 1, digest); err != ErrNotFound {
				t.Errorf("%s: %v", digest, err)
			}
		}
		recent, err := db.Quarantine(t.Context(), 1, QuarantineFilter{Since: november.Add(2 * time.Hour)}, nil, 100)
		if err != nil || len(recent) != 4 {
			t.Errorf("%d, %v", len(recent), err)
		}
	})
}

// TestContentsOfBefore: what a database holds that was made before contents had a day gets
// that on which its blob was read, and is found by its records.
func TestContentsOfBefore(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		e, _, err := newEngine(address, "")
		if err != nil {
			t.Fatal(err)
		}
		defer e.close()
		read, err := e.open(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		on, dialect, err := e.schema(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := goose.NewProvider(dialect, on, e.words(migrationFiles))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.UpTo(context.Background(), 5); err != nil {
			t.Fatal(err)
		}
		for i, query := range []string{
			`INSERT INTO ledger_blobs (tenant_id, feed, part, blob, uri, created_at, forget_at, listed_at, state, due_at, done_at)
				VALUES (1, 'audit', 'p', 'old', 'u', '2026-08-01 00:00:00.000', '2026-08-08 00:00:00.000', '2026-08-01 00:00:00.000', 'done', '2026-08-01 00:00:00.000', '2025-12-31 23:59:59.999')`,
			`INSERT INTO contents (id, tenant_id, feed, part, blob, bytes, data) VALUES (4711, 1, 'audit', 'p', 'old', 8, $1)`,
			`INSERT INTO contents (id, tenant_id, feed, part, blob, bytes, data) VALUES (4712, 1, 'audit', 'p', 'nobody knows', 8, $1)`,
		} {
			var args []any
			if i > 0 {
				args = []any{compress([]byte("{\"x\":1}\n"))}
			}
			if _, err := on.ExecContext(t.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
		id := HashID("a")
		if strings.HasPrefix(address, "postgres:") {
			if _, err := on.ExecContext(t.Context(), `CREATE TABLE audit_events_202611 PARTITION OF audit_events FOR VALUES FROM (20261101) TO (20261201)`); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := on.ExecContext(t.Context(), `INSERT INTO audit_events (tenant_id, day, id, time_stamp, content_id, content_at, content_len)
			VALUES (1, 20261102, $1, '2026-11-02 00:00:00.000', 4711, 0, 7)`, id[:]); err != nil {
			t.Fatal(err)
		}
		db := openAs(t, address, RawAll, november)
		days, err := db.KeptDays(t.Context(), 1, 0, 0)
		if today := Day(time.Now()); err != nil || len(days) != 2 || days[0] != 20251231 || days[1] < today-1 || days[1] > today {
			t.Errorf("%v, %v", days, err)
		}
		found, err := db.Record(t.Context(), 1, "a")
		if err != nil || len(found) != 1 || string(found[0].Raw) != `{"x":1}` || found[0].Blob != "old" {
			t.Errorf("%+v, %v", found, err)
		}
		if got := put(t, db, 1, "new", `a{"x":1}`, `b{"x":2}`); got.Duplicate != 1 || got.Stored != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// TestReplayAndDroppingDoNotMeetCrosswise: who replays waits for who drops a month before
// it has looked at a table, which the other one wants for itself.
func TestReplayAndDroppingDoNotMeetCrosswise(t *testing.T) {
	address := storetest.PostgreSQL(t)
	db := openAs(t, address, RawAll, november)
	tenant, err := db.Tenant(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, tenant, "blob", `a{"n":1}`)
	kept, err := db.Kept(t.Context(), tenant, "audit", Day(november), -1)
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	b := db.Rebuild(kept[0])
	b.Again([]byte(`{"n":1}`), 0)
	id := HashID("a")
	b.Add(hashing, tenant, 20261102, id[:], "2026-11-02 00:00:00.000", "changed", nil, b.ContentID, 0, 7)
	raw := storetest.Connect(t, address)
	dropping, err := raw.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dropping.Rollback()
	if _, err := dropping.Exec(`SELECT pg_advisory_xact_lock($1)`, int64(turnToDrop)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		n, err := db.Replay(t.Context(), tenant, []*Table{hashing}, []*Batch{b}, new(ReplayedDays), false)
		if err == nil && n.Changed != 1 {
			err = fmt.Errorf("%+v", n)
		}
		done <- err
	}()
	if err := storetest.Blocked(raw); err != nil {
		t.Fatal(err)
	}
	if _, err := dropping.Exec(`LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Error(err)
	}
	if err := dropping.Commit(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWhatIsHeldGoesInInOneOrder: two transactions with the same records for quarantine, in
// whatever order they came, wait for each other, and never crosswise.
func TestWhatIsHeldGoesInInOneOrder(t *testing.T) {
	address := storetest.PostgreSQL(t)
	db := openAs(t, address, RawAll, november)
	tenant, err := db.Tenant(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	digests := [][]byte{bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16)}
	raw := storetest.Connect(t, address)
	other, err := raw.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	hold := func(n int) {
		t.Helper()
		if _, err := other.Exec(`INSERT INTO quarantine (tenant_id, feed, digest, part, blob, reason, detail, bytes, seen_at, data)
			VALUES ($1, 'audit', $2, 'p', 'other', 'r', 'd', 0, now(), '')`, tenant, digests[n]); err != nil {
			t.Fatal(err)
		}
	}
	hold(0)
	done := make(chan error, 1)
	go func() {
		b := db.NewBatch(tenant, "audit", "p", "blob", 0)
		for _, n := range []int{1, 0} {
			b.Records++
			b.Hold(Quarantined{Reason: "r", Detail: "d", Digest: digests[n]})
		}
		b.Seal()
		done <- db.WriteBeside(t.Context(), func(tx *Tx) error {
			counts, err := tx.Store(Piece{Content{Tenant: tenant, Feed: "audit", Part: "p", Blob: "blob"}, b})
			if err == nil && (counts[0].Duplicate != 2 || counts[0].Quarantined != 0) {
				err = fmt.Errorf("%+v", counts)
			}
			return err
		})
	}()
	if err := storetest.Blocked(raw); err != nil {
		t.Fatal(err)
	}
	hold(1)
	if err := other.Commit(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
