package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestMergeMeetsAnother: a transaction that writes keys which another one is writing waits
// for it, and then writes those that are new, however it went about it.
func TestMergeMeetsAnother(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	row := func(n int) []any {
		id := HashID(fmt.Sprint(n))
		return []any{1, Day(now) + n%3, id[:], stamp(now), 1, int64(1), nil, int64(n), 0, 100}
	}
	rows := func(numbers ...int) (all [][]any) {
		for _, n := range numbers {
			all = append(all, row(n))
		}
		return all
	}
	broken := errors.New("broken off")
	for _, c := range []struct {
		name   string
		first  []int // what the first transaction writes
		end    error // how that ends
		second []int // what the second one writes
		want   []bool
	}{
		{"by surprise", []int{0, 1, 2, 3}, nil, []int{5, 4, 3, 2}, []bool{true, true, false, false}},
		{"by surprise, all of it", []int{3, 2, 1}, nil, []int{1, 2, 3}, []bool{false, false, false}},
		// One row twice makes it ask before it writes: then nothing is there yet.
		{"after it has asked", []int{0, 1, 2, 3}, nil, []int{5, 4, 4, 3, 2}, []bool{true, true, false, false, false}},
		{"in vain", []int{0, 1, 2, 3}, broken, []int{5, 4, 3, 2}, []bool{true, true, true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := storetest.PostgreSQL(t)
			db, watch := open(t, address), storetest.Connect(t, address)
			written, end := make(chan error), make(chan error)
			go func() {
				written <- db.WriteBeside(t.Context(), func(tx *Tx) error {
					_, err := tx.merge(sealedFacts, rows(c.first...))
					written <- err
					return errors.Join(err, <-end)
				})
			}()
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			go func() {
				// It ends once the second one waits for it.
				if err := storetest.Blocked(watch); err != nil {
					end <- err
					return
				}
				end <- c.end
			}()
			var inserted []bool
			if err := db.WriteBeside(t.Context(), func(tx *Tx) (err error) {
				inserted, err = tx.merge(sealedFacts, rows(c.second...))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := <-written; !errors.Is(err, c.end) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, inserted); diff != "" {
				t.Errorf("inserted (-want +got):\n%s", diff)
			}
			want := slices.Clone(c.second)
			if c.end == nil {
				want = append(want, c.first...)
			}
			slices.Sort(want)
			var there []int
			got, err := watch.Query(`SELECT content_id FROM audit_events ORDER BY content_id`)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			for got.Next() {
				var n int
				if err := got.Scan(&n); err != nil {
					t.Fatal(err)
				}
				there = append(there, n)
			}
			if diff := cmp.Diff(slices.Compact(want), there); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMergesLeaveNoSavepoint: in a long transaction they would lie one within another.
func TestMergesLeaveNoSavepoint(t *testing.T) {
	db := open(t, storetest.PostgreSQL(t))
	id := HashID("a")
	rows := [][]any{{1, 20261102, id[:], "2026-11-02 08:00:00.000", 1, int64(1), nil, int64(1), 0, 100}}
	err := db.WriteBeside(t.Context(), func(tx *Tx) error {
		for _, want := range []bool{true, false} {
			if inserted, err := tx.merge(sealedFacts, rows); err != nil || inserted[0] != want {
				t.Errorf("%v, %v", inserted, err)
			}
		}
		_, err := tx.exec("RELEASE SAVEPOINT copied")
		return err
	})
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Code != "3B001" { // there is none
		t.Errorf("%v", err)
	}
}

// TestMergesByMany: workers that store the same records at the same time, in whatever order
// and whichever way, do not meet crosswise, and what each has stored is counted once.
func TestMergesByMany(t *testing.T) {
	address := storetest.PostgreSQL(t)
	db := open(t, address)
	var workers sync.WaitGroup
	for worker := range 6 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for round := range 15 {
				var facts, ignored [][]any
				for range 400 {
					n := round*300 + random.IntN(900)
					id, day := HashID(fmt.Sprint(n)), 20260901+n%3*100+n%7
					facts = append(facts, []any{1, day, id[:], "2026-10-01 08:00:00.120", 1, int64(1), nil, int64(worker), len(facts), 100})
					if n%4 == 0 {
						ignored = append(ignored, []any{1, day, id[:]})
					}
				}
				if err := db.WriteBeside(t.Context(), func(tx *Tx) error {
					inserted, err := tx.merge(sealedFacts, facts)
					if err == nil {
						err = tx.countRows(sealedFacts, facts, inserted)
					}
					if err != nil {
						return err
					}
					if inserted, err = tx.merge(sealedIgnored, ignored); err != nil {
						return err
					}
					return tx.countRows(sealedIgnored, ignored, inserted)
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	differ, err := db.Recount(t.Context(), 1, []*Table{sealedIgnored}, 0, 99999999)
	if err != nil || len(differ) > 0 {
		t.Errorf("%+v, %v", differ, err)
	}
	var there, counted int
	if err := storetest.Connect(t, address).QueryRow(`SELECT (SELECT count(*) FROM audit_events), (SELECT sum(records) FROM row_counts WHERE table_name = 'audit_events')`).
		Scan(&there, &counted); err != nil || there == 0 || there != counted {
		t.Errorf("%d rows are there, and %d counted (%v)", there, counted, err)
	}
}
