package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// BenchmarkIndexes shows what each index of PostgreSQL's own costs while rows come in, by
// pieces of 100 records as the import stores them; rows/s and bytes of all indexes.
func BenchmarkIndexes(b *testing.B) {
	table := &Table{Name: "audit_events", Key: 3, Facts: true, Columns: []string{"tenant_id", "day", "id", "time_stamp", "operation_id", "user_id", "content_id", "content_at", "content_len"}}
	for _, without := range [][]string{{"audit_events_user", "audit_events_time"}, {"audit_events_user"}, {"audit_events_time"}, nil} {
		b.Run("without "+fmt.Sprint(without), func(b *testing.B) {
			address := storetest.PostgreSQL(b)
			db := open(b, address)
			raw := storetest.Connect(b, address)
			for _, name := range without {
				if _, err := raw.Exec("DROP INDEX " + name); err != nil {
					b.Fatal(err)
				}
			}
			random := rand.New(rand.NewPCG(1, 2))
			start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
			n := 0
			b.ResetTimer()
			for range b.N {
				if err := db.WriteBeside(b.Context(), func(tx *Tx) error {
					var pieces []Piece
					for range 50 {
						p := Piece{Content{1, "audit", "Audit.General", fmt.Sprint("blob ", n)}, db.NewBatch(1, "audit", "Audit.General", fmt.Sprint("blob ", n), 0)}
						for range 100 {
							n++
							id := HashID(fmt.Sprint(n))
							at := start.Add(time.Duration(n)*time.Second + time.Duration(random.IntN(7200))*time.Second)
							p.Records++
							place := p.Keep(id[:])
							p.Add(table, 1, Day(at), id[:], stamp(at), int64(random.IntN(200)), int64(random.IntN(20000)), p.ContentID, place, 16)
						}
						p.Seal()
						pieces = append(pieces, p)
					}
					_, err := tx.Store(pieces...)
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
			var bytes float64
			if err := raw.QueryRow(`SELECT sum(pg_indexes_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass`).Scan(&bytes); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(bytes/float64(n), "index-bytes/row")
		})
	}
}
