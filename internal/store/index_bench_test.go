package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// BenchmarkIndexes shows what an index besides the key costs on PostgreSQL while rows come in,
// reeve's own by time and one by user that somebody may add: 5,000 in a transaction, in pieces of 100 records. The databases take turns, so that what
// else the machine does falls on all of them; the figure is the median of a transaction, and
// the bytes of all indexes for a row.
//
//	go test ./internal/store -run - -bench Indexes -benchtime 100x
func BenchmarkIndexes(b *testing.B) {
	table := &Table{Name: "audit_events", Key: 3, Facts: true, Columns: []string{"tenant_id", "day", "id", "time_stamp", "operation_id", "user_id", "content_id", "content_at", "content_len"}}
	type variant struct {
		name  string
		db    *DB
		bytes float64
		took  []time.Duration
	}
	var all []*variant
	const dropTime, addUser = "DROP INDEX audit_events_time", "CREATE INDEX audit_events_user ON audit_events (tenant_id, user_id, day)"
	for _, v := range []struct {
		name    string
		queries []string
	}{{"none", []string{dropTime}}, {"time", nil}, {"user", []string{dropTime, addUser}}, {"both", []string{addUser}}} {
		address := storetest.PostgreSQL(b)
		all = append(all, &variant{name: v.name, db: open(b, address)})
		raw := storetest.Connect(b, address)
		for _, query := range v.queries {
			if _, err := raw.Exec(query); err != nil {
				b.Fatal(err)
			}
		}
	}
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	random := rand.New(rand.NewPCG(1, 2))
	n := 0
	for range b.N {
		first := n
		for _, v := range all {
			n = first
			begun := time.Now()
			if err := v.db.WriteBeside(b.Context(), func(tx *Tx) error {
				var pieces []Piece
				for range 50 {
					blob := fmt.Sprint("blob ", n)
					p := Piece{Content{Tenant: 1, Feed: "audit", Part: "Audit.General", Blob: blob}, v.db.NewBatch(1, "audit", "Audit.General", blob, 0)}
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
			v.took = append(v.took, time.Since(begun))
		}
	}
	for _, v := range all {
		slices.Sort(v.took)
		if err := v.db.read.QueryRow(`SELECT sum(pg_indexes_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass`).Scan(&v.bytes); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(v.took[len(v.took)/2].Seconds()*1000, "ms-"+v.name)
		b.ReportMetric(v.bytes/float64(n), "bytes-"+v.name)
	}
}
