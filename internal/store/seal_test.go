package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/store/storetest"
)

var (
	sealedFacts = &Table{Name: "audit_events", Key: 3, Facts: true, Counted: true, Columns: []string{"tenant_id", "day", "id", "time_stamp",
		"record_type", "workload_id", "object_id", "content_id", "content_at", "content_len"}}
	sealedMeta    = &Table{Name: "event_meta_exchange", Key: 3, Columns: []string{"tenant_id", "day", "event_id", "external_access", "subject"}}
	sealedIgnored = &Table{Name: "ignored_audit_events", Key: 3, Counted: true, Columns: []string{"tenant_id", "day", "event_id"}}
	sealedTables  = []*Table{sealedFacts, sealedMeta, sealedIgnored}
)

// estate is a database with records of three days long over, and a clock.
type estate struct {
	t   *testing.T
	db  *DB
	now time.Time
	n   int // blobs so far
}

func newEstate(t *testing.T, address string) *estate {
	t.Helper()
	e := &estate{t: t, now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
	db, err := Open(t.Context(), address, Options{Now: func() time.Time { return e.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	e.db = db
	return e
}

// add imports records of a day, by way of a blob, each numbered.
func (e *estate) add(day int, numbers ...int) {
	e.t.Helper()
	e.n++
	l := e.db.Ledger(1, "audit")
	blob := Blob{Part: "p", ID: fmt.Sprint("blob", e.n), Created: e.now.Add(-time.Minute), Forget: e.now.Add(time.Hour)}
	ctx := e.t.Context()
	if err := l.Cover(ctx, "p", e.now.Add(-time.Hour), e.now, time.Hour, time.Hour); err != nil {
		e.t.Fatal(err)
	}
	windows, err := l.DueWindows(ctx, []string{"p"}, e.now.Add(1000*time.Hour))
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := l.Found(ctx, windows, []Blob{blob}); err != nil {
		e.t.Fatal(err)
	}
	due, err := l.DueBlobs(ctx, e.now, 10)
	if err != nil || len(due) != 1 {
		e.t.Fatalf("%+v, %v", due, err)
	}
	c := l.Content(due[0])
	b := e.db.NewBatch(1, "audit", "p", blob.ID, 0)
	for _, n := range numbers {
		b.Records++
		id := HashID(fmt.Sprint(n))
		if n < 0 {
			b.OutOfScope++
			b.Add(sealedIgnored, 1, day, id[:])
			continue
		}
		text := fmt.Sprintf(`{"n":%d}`, n)
		var object any
		if n%2 == 0 {
			object = fmt.Sprintf("object \x00 %d", n) // SQLite keeps a zero, PostgreSQL has another character
		}
		b.Add(sealedFacts, 1, day, id[:], "2026-10-01 08:00:00.120", n, int64(n%3), object, b.ContentID, b.Keep([]byte(text)), len(text))
		b.Add(sealedMeta, 1, day, id[:], n%2 == 0, "subject")
	}
	b.Seal()
	if err := e.db.WriteBeside(ctx, func(tx *Tx) error {
		if _, err := tx.Claim(c); err != nil {
			return err
		}
		counts, err := tx.Store(Piece{c, b})
		if err != nil {
			return err
		}
		return tx.Count([]Content{c}, counts)
	}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *estate) seal() (made []Seal, err error) {
	e.t.Helper()
	days, err := e.db.UnsealedDays(e.t.Context(), 1, sealedTables, NewestSealable(e.now))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, day := range days {
		seals, err := e.db.SealDay(e.t.Context(), 1, sealedTables, day, "100 %", "")
		if err != nil {
			return made, err
		}
		made = append(made, seals...)
	}
	return made, nil
}

func (e *estate) mustSeal() []Seal {
	e.t.Helper()
	made, err := e.seal()
	if err != nil {
		e.t.Fatal(err)
	}
	return made
}

func (e *estate) breaches(head string) (all []string) {
	e.t.Helper()
	v, err := e.db.VerifySeals(e.t.Context(), 1, sealedTables, 0, 99999999, head)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, b := range v.Breaches {
		all = append(all, fmt.Sprintf("%d %s: %s", b.Day, b.Table, b.Text))
	}
	return all
}

func TestSealsAreTheSameWhereverTheRowsAre(t *testing.T) {
	seals := func(address string, order ...[]int) (all []string) {
		e := newEstate(t, address)
		for _, numbers := range order {
			e.add(20261001, numbers...)
		}
		for _, s := range e.mustSeal() {
			all = append(all, fmt.Sprint(s.Day, s.Table, s.Records, s.Hash, s.Digest))
		}
		if len(all) != 3 || e.breaches("") != nil {
			t.Errorf("%q, %q", all, e.breaches(""))
		}
		return all
	}
	want := seals(storetest.SQLite(t), []int{1, 2, 3, -4}, []int{5, 6})
	if diff := cmp.Diff(want, seals(storetest.SQLite(t), []int{6, 3}, []int{-4, 1}, []int{2, 1, 5})); diff != "" {
		t.Errorf("in another order:\n%s", diff)
	}
	if storetest.HasPostgreSQL() {
		if diff := cmp.Diff(want, seals(storetest.PostgreSQL(t), []int{6, 3}, []int{-4, 1}, []int{2, 1, 5})); diff != "" {
			t.Errorf("PostgreSQL:\n%s", diff)
		}
	}
}

// TestTamperingIsFound changes each thing that can be changed, and looks.
func TestTamperingIsFound(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		e := newEstate(t, address)
		e.add(20261001, 1, 2, 3, -4)
		e.add(20261002, 5, 6)
		before := e.mustSeal()
		if len(before) < 6 || e.breaches("") != nil {
			t.Fatalf("%d seals, %q", len(before), e.breaches(""))
		}
		raw := storetest.Connect(t, address)
		for _, test := range []struct {
			name, query, undo string
			want              []string // each in one breach; no others
		}{
			{"a changed row", `UPDATE audit_events SET record_type = 99 WHERE record_type = 2`, `UPDATE audit_events SET record_type = 2 WHERE record_type = 99`, []string{"20261001 audit_events: a row was changed"}},
			{"a value taken away", `UPDATE event_meta_exchange SET subject = NULL WHERE day = 20261002`, `UPDATE event_meta_exchange SET subject = 'subject' WHERE day = 20261002`, []string{"20261002 event_meta_exchange: a row was changed"}},
			{"a millisecond", `UPDATE audit_events SET time_stamp = '2026-10-01 08:00:00.121' WHERE record_type = 2`, `UPDATE audit_events SET time_stamp = '2026-10-01 08:00:00.120' WHERE record_type = 2`, []string{"20261001 audit_events: a row was changed"}},
			{"a deleted row", `DELETE FROM ignored_audit_events`, `INSERT INTO ignored_audit_events VALUES (1, 20261001, ID4)`, []string{"20261001 ignored_audit_events: rows were deleted: 1 were sealed, and there are 0"}},
			{"an added row", `INSERT INTO audit_events (tenant_id, day, id, time_stamp, content_id, content_at, content_len) VALUES (1, 20261002, IDX, '2026-10-02 00:00:00.000', 1, 0, 0)`, `DELETE FROM audit_events WHERE content_id = 1`, []string{"20261002 audit_events: rows were added, not by the import: 2 were sealed, and there are 3"}},
			{"a row on a day without any", `INSERT INTO ignored_audit_events VALUES (1, 20261002, IDX)`, `DELETE FROM ignored_audit_events WHERE day = 20261002`, []string{"20261002 ignored_audit_events: rows were added"}},
			{"a row that went to another day", `UPDATE ignored_audit_events SET day = 20261002`, `UPDATE ignored_audit_events SET day = 20261001`, []string{"20261001 ignored_audit_events: rows were deleted", "20261002 ignored_audit_events: rows were added"}},
			{"a changed seal", `UPDATE seals SET records = 4 WHERE seq = 1`, `UPDATE seals SET records = 3 WHERE seq = 1`, []string{"the seal was changed", "20261001 audit_events: rows were deleted"}},
			{"a changed reason", `UPDATE seals SET reason = 'x' WHERE seq = 2`, `UPDATE seals SET reason = 'settled' WHERE seq = 2`, []string{"the seal was changed"}},
			{"the note of the head", `UPDATE seal_heads SET digest = 'x'`, fmt.Sprintf(`UPDATE seal_heads SET digest = '%s'`, before[len(before)-1].Digest), []string{"not the one that was noted"}},
			{"a removed seal", `DELETE FROM seals WHERE seq = 2`, "", []string{"seals were removed: after number 1 comes 3"}},
			{"the last ones", `DELETE FROM seals WHERE seq > 4`, "", []string{"seals were removed: after number 1 comes 3", "seals were removed: the last one was number"}},
		} {
			change := func(query string) {
				t.Helper()
				form := "x'%x'"
				if strings.HasPrefix(address, "postgres:") {
					form = "'%x'"
				}
				four, other := HashID("-4"), HashID("other")
				query = strings.NewReplacer("ID4", fmt.Sprintf(form, four), "IDX", fmt.Sprintf(form, other)).Replace(query)
				if res, err := raw.Exec(query); err != nil {
					t.Fatalf("%s: %v", query, err)
				} else if n, _ := res.RowsAffected(); n == 0 {
					t.Fatalf("%s changes nothing", query)
				}
			}
			change(test.query)
			got := e.breaches("")
			if len(got) != len(test.want) {
				t.Errorf("%s: %q, want %q", test.name, got, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(strings.Join(got, "\n"), want) {
					t.Errorf("%s: %q lacks %q", test.name, got, want)
				}
			}
			if test.undo == "" {
				continue
			}
			change(test.undo)
			if got := e.breaches(""); got != nil {
				t.Fatalf("%s, undone: %q", test.name, got)
			}
		}
		if got := strings.Join(e.breaches("0000"), "\n"); !strings.Contains(got, "head that was noted is not in the chain") {
			t.Errorf("another head: %q", got)
		}
	})
}

// TestABrokenChainIsNotSealedOver: nothing is added to a chain that is broken until somebody
// accepts that, which stays in the chain, and is for that alone.
func TestABrokenChainIsNotSealedOver(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		for name, query := range map[string]string{
			"the last ones":       `DELETE FROM seals WHERE seq > 2`,
			"all":                 `DELETE FROM seals`,
			"one":                 `DELETE FROM seals WHERE seq = 2`,
			"a changed one":       `UPDATE seals SET hash = 'x' WHERE seq = 2`,
			"the note":            `DELETE FROM seal_heads`,
			"another note":        `UPDATE seal_heads SET digest = 'x'`,
			"the note and a last": `DELETE FROM seals WHERE seq > 2; DELETE FROM seal_heads`,
		} {
			t.Run(name, func(t *testing.T) {
				ctx := t.Context()
				if strings.HasPrefix(address, "postgres:") {
					address = storetest.PostgreSQL(t)
				} else {
					address = storetest.SQLite(t)
				}
				e := newEstate(t, address)
				e.add(20261001, 1, 2, 3, -4)
				e.add(20261002, 5, 6)
				e.mustSeal()
				if made, err := e.db.AcceptChain(ctx, 1, "a reason"); made != nil || err != nil {
					t.Errorf("nothing was wrong: %+v, %v", made, err)
				}
				raw := storetest.Connect(t, address)
				change := func(query string) {
					t.Helper()
					for q := range strings.SplitSeq(query, "; ") {
						if _, err := raw.Exec(q); err != nil {
							t.Fatal(err)
						}
					}
				}
				change(query)
				change(`UPDATE audit_events SET record_type = 99 WHERE record_type = 2`)
				count := func() (n int) {
					if err := raw.QueryRow(`SELECT count(*) FROM seals`).Scan(&n); err != nil {
						t.Fatal(err)
					}
					return n
				}
				e.add(20261003, 7)
				before := count()
				if made, err := e.seal(); !errors.Is(err, ErrChain) || made != nil {
					t.Errorf("sealed %+v: %v", made, err)
				}
				if _, err := e.db.SealDay(ctx, 1, sealedTables, 20261003, "", "on purpose"); !errors.Is(err, ErrChain) {
					t.Errorf("sealed with a reason: %v", err)
				}
				// What opens a seal does not cover it either.
				if err := e.db.Write(ctx, func(tx *Tx) error { return tx.openSeals(1, 20261001, nil, "replay") }); err != nil {
					t.Fatal(err)
				}
				wrong, err := e.db.VerifyChain(ctx, 1)
				if err != nil || len(wrong) == 0 || wrong[0].Kind != BrokenChain {
					t.Fatalf("%+v, %v", wrong, err)
				}
				opened := count() - before

				made, err := e.db.AcceptChain(ctx, 1, "the disk broke")
				if err != nil || len(made) != 1 || !made[0].Accepts() || made[0].Reason != "the disk broke" || !strings.Contains(made[0].Coverage, wrong[0].Text) {
					t.Fatalf("%+v, %v", made, err)
				}
				if wrong, err := e.db.VerifyChain(ctx, 1); err != nil || wrong != nil {
					t.Errorf("accepted: %+v, %v", wrong, err)
				}
				e.mustSeal()
				for _, day := range []int{20261001, 20261002} {
					if _, err := e.db.SealDay(ctx, 1, sealedTables, day, "", "as it stands"); err != nil {
						t.Error(err)
					}
				}
				v, err := e.db.VerifySeals(ctx, 1, sealedTables, 0, 99999999, made[0].Digest)
				if err != nil || v.Breaches != nil || len(v.Accepted) != 1 || v.Accepted[0].Digest != made[0].Digest || count() <= before+opened {
					t.Errorf("afterwards: %+v, %v", v, err)
				}
				if days, err := e.db.OpenedDays(ctx, 1); err != nil || days != nil {
					t.Errorf("opened: %v, %v", days, err)
				}
				// Another break is another one, before it and after it, and so is a changed acceptance.
				for _, query := range []string{
					fmt.Sprintf(`UPDATE seals SET reason = 'y' WHERE seq = %d`, made[0].Seq),
					fmt.Sprintf(`UPDATE seals SET reason = 'z' WHERE seq = %d`, made[0].Seq+1),
					`UPDATE seals SET reason = 'z' WHERE seq = 1`,
				} {
					change(query)
					if wrong, _ := e.db.VerifyChain(ctx, 1); len(wrong) == 0 && (before > 0 || !strings.HasSuffix(query, "= 1")) {
						t.Errorf("%s: nothing is wrong", query)
					}
					if _, err := e.db.AcceptChain(ctx, 1, "again"); err != nil {
						t.Fatal(err)
					}
					if wrong, _ := e.db.VerifyChain(ctx, 1); wrong != nil {
						t.Errorf("accepted again: %+v", wrong)
					}
				}
			})
		}
	})
}

// TestLateRowsMakeANewVersion: records that come late into a sealed day are told from
// what others do to it.
func TestLateRowsMakeANewVersion(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		e := newEstate(t, address)
		e.add(20261001, 1, 2, -3)
		first := e.mustSeal()
		e.now = e.now.Add(24 * time.Hour)
		e.add(20261001, 1, 7) // one of them is there already
		if got := e.breaches(""); got != nil {
			t.Errorf("before it is sealed again: %q", got)
		}
		var got []string
		for _, s := range e.mustSeal() {
			if s.Day == 20261001 {
				got = append(got, fmt.Sprintf("%s %d: %d rows, %s", s.Table, s.Version, s.Records, s.Reason))
			}
		}
		want := []string{"audit_events 2: 3 rows, 1 rows came late", "event_meta_exchange 2: 3 rows, 1 rows came late"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := e.breaches(first[0].Digest); got != nil {
			t.Errorf("afterwards: %q", got)
		}
		for _, s := range e.mustSeal() {
			if s.Day == 20261001 {
				t.Errorf("sealed once more: %+v", s)
			}
		}

		// Late rows do not cover up what was changed meanwhile.
		e.add(20261001, 8)
		raw := storetest.Connect(t, address)
		if _, err := raw.Exec(`UPDATE audit_events SET record_type = 99 WHERE record_type = 2`); err != nil {
			t.Fatal(err)
		}
		if _, err := e.seal(); !errors.Is(err, ErrBroken) {
			t.Errorf("sealed over a change: %v", err)
		}
		if got := e.breaches(""); len(got) != 1 || !strings.Contains(got[0], "a row was changed") {
			t.Errorf("%q", got)
		}
		// Somebody accepts it, with a reason.
		made, err := e.db.SealDay(t.Context(), 1, sealedTables, 20261001, "100 %", "looked into, a repair")
		if err != nil || len(made) != 2 || made[0].Reason != "looked into, a repair" || made[0].Version != 3 {
			t.Errorf("%+v, %v", made, err)
		}
		if got := e.breaches(""); got != nil {
			t.Errorf("accepted: %q", got)
		}
		if _, err := e.db.SealDay(t.Context(), 1, sealedTables, Day(e.now.AddDate(0, 0, -8)), "", "x"); err == nil {
			t.Error("a day that is not over for long was sealed")
		}
	})
}

// TestTwoSealAtOnce: the chain is one, and each day is sealed once.
func TestTwoSealAtOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		e := newEstate(t, address)
		for day := 20261001; day < 20261010; day++ {
			e.add(day, day, day+100)
		}
		errs := make(chan error)
		for range 4 {
			go func() {
				_, err := e.seal()
				errs <- err
			}()
		}
		for range 4 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		seals, err := e.db.Seals(t.Context(), 1, 0, 99999999)
		if err != nil || e.breaches("") != nil {
			t.Errorf("%v, %q", err, e.breaches(""))
		}
		seen := map[string]bool{}
		for _, s := range seals {
			if k := fmt.Sprint(s.Day, s.Table); s.Version != 1 || seen[k] {
				t.Errorf("%s is sealed again", k)
			} else {
				seen[k] = true
			}
		}
	})
}

// TestSealsOfADayAreOneStep: if one of the tables was sealed by somebody else meanwhile,
// nothing of the rest is there, and the chain goes on.
func TestSealsOfADayAreOneStep(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		e := newEstate(t, address)
		e.add(20261001, 1, 2, -3)
		before := e.mustSeal()
		err := e.db.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.addSeals(1, []Seal{
				{Table: sealedFacts.Name, Day: 20261001, Version: 2, Columns: sealable(sealedFacts)},
				{Table: sealedIgnored.Name, Day: 20261001, Version: 1, Columns: sealable(sealedIgnored)},
			})
			return err
		})
		if !errors.Is(err, errOvertaken) {
			t.Errorf("%v", err)
		}
		if all, err := e.db.Seals(t.Context(), 1, 0, 99999999); err != nil || len(all) != len(before) || e.breaches("") != nil {
			t.Errorf("%d seals of %d, %v, %q", len(all), len(before), err, e.breaches(""))
		}
		e.add(20261001, 5)
		if made := e.mustSeal(); len(made) != 2 || e.breaches("") != nil {
			t.Errorf("%v, %q", made, e.breaches(""))
		}
	})
}

func TestNamesThatWereChanged(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db := open(t, address)
		if err := db.Write(t.Context(), func(tx *Tx) error {
			return tx.MergeNames(1, Names{people: {"Adele": people.ID("Adele"), "z\x00": people.ID("z\x00")}})
		}); err != nil {
			t.Fatal(err)
		}
		if wrong, err := db.VerifyNames(t.Context(), []*NameTable{people}); err != nil || len(wrong) != 0 {
			t.Errorf("%q, %v", wrong, err)
		}
		if _, err := storetest.Connect(t, address).Exec(`UPDATE users SET user_name = 'Bob' WHERE user_name = 'Adele'`); err != nil {
			t.Fatal(err)
		}
		if wrong, err := db.VerifyNames(t.Context(), []*NameTable{people}); err != nil || len(wrong) != 1 || !strings.Contains(wrong[0], "Bob") {
			t.Errorf("%q, %v", wrong, err)
		}
	})
}

// TestWhatAnotherProgramWrote is left as it is, does not stop the import, and is told.
func TestWhatAnotherProgramWrote(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		e := newEstate(t, address)
		e.add(20261001, 1)
		raw := storetest.Connect(t, address)
		form := "x'%x'"
		if strings.HasPrefix(address, "postgres:") {
			form = "'%x'"
		}
		if _, err := raw.Exec(fmt.Sprintf(`INSERT INTO audit_events (tenant_id, day, id, time_stamp, object_id, content_id, content_at, content_len)
			VALUES (1, 20261001, `+form+`, '2026-10-01 00:00:00.000', 'theirs', 4711, 0, 0)`, HashID("2"))); err != nil {
			t.Fatal(err)
		}
		e.add(20261001, 2, 3)
		var object string
		if err := raw.QueryRow(`SELECT object_id FROM audit_events WHERE content_id = 4711`).Scan(&object); err != nil || object != "theirs" {
			t.Errorf("%q, %v", object, err)
		}
		found, err := e.db.CountQuarantine(t.Context(), 1)
		if err != nil || len(found) != 1 || found[0].Name != ReasonConflict {
			t.Errorf("%+v, %v", found, err)
		}
		got, err := e.db.Recount(t.Context(), 1, sealedTables, 0, 99999999)
		if err != nil || len(got) != 2 || !strings.Contains(got[0].Text, "1 rows of audit_events are not from a blob of the ledger") || !strings.Contains(got[1].Text, "has 3 rows, and the import has stored 2") {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestForgedCountsAreFound: what the ledger says of a blob is compared with what is there.
func TestForgedCountsAreFound(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		e := newEstate(t, address)
		e.add(20261001, 1, 2, 3)
		l := e.db.Ledger(1, "audit")
		recount := func() (all []string) {
			t.Helper()
			got, err := l.RecountLedger(context.Background(), e.now.AddDate(0, 0, -1), e.now)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range got {
				all = append(all, d.Text)
			}
			return all
		}
		if got := recount(); got != nil {
			t.Fatalf("%q", got)
		}
		raw := storetest.Connect(t, address)
		for query, want := range map[string]string{
			`UPDATE ledger_blobs SET stored = stored + SIGN_5, records = records + SIGN_5`: "says that 8 records of it are stored, and there are 3",
			`UPDATE ledger_blobs SET records = records + SIGN_5`:                           "8 records were read, and 3 are accounted for",
			`UPDATE ledger_windows SET blobs = blobs + SIGN_1 WHERE blobs > 0`:             "the window counts 2 blobs",
		} {
			if _, err := raw.Exec(strings.ReplaceAll(query, "SIGN_", "")); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(recount(), "\n"); !strings.Contains(got, want) {
				t.Errorf("%s: %s", query, got)
			}
			if _, err := raw.Exec(strings.ReplaceAll(query, "SIGN_", "-")); err != nil {
				t.Fatal(err)
			}
			if got := recount(); got != nil {
				t.Fatalf("%s, undone: %q", query, got)
			}
		}
	})
}
