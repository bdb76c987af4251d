package store

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"testing"
)

// BenchmarkMerge shows how many rows one statement should insert: few cost
// calls, and many cost the driver's search for each parameter among all.
func BenchmarkMerge(b *testing.B) {
	events := &Table{Name: "audit_events", Key: 3, Facts: true, Columns: []string{
		"tenant_id", "day", "id", "time_stamp", "record_type", "operation_id", "workload_id", "user_id", "user_type", "user_key",
		"result", "client_ip", "object_id", "record_id", "defects", "content_id", "content_at", "content_len"}}
	defer func(sizes []int) { mergeSizes = sizes }(mergeSizes)
	for _, size := range []int{1, 4, 8, 16, 32, 100} {
		b.Run(string(rune('0'+size/100))+string(rune('0'+size/10%10))+string(rune('0'+size%10)), func(b *testing.B) {
			mergeSizes = []int{size, 1}
			db, err := Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "x.db"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			n := uint64(0)
			const batch = 1600
			for b.Loop() {
				rows := NewRows(events, batch)
				for range batch {
					n++
					id := make([]byte, 16)
					binary.BigEndian.PutUint64(id, n*0x9e3779b97f4a7c15)
					rows.Add(1, 20261102, id, "2026-11-02 08:45:19.000", int64(6), int64(1)<<60+int64(n%50), int64(1)<<59, int64(1)<<58+int64(n%500), int64(0),
						"i:0h.f|membership|10037ffea950a3b6@live.com", nil, "10.1.2.3", "https://contoso.example/sites/a/Shared Documents/x.docx", nil, nil, int64(7), 100, 2200)
				}
				if err := db.Write(context.Background(), func(tx *Tx) error { _, err := tx.Merge(context.Background(), rows); return err }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batch), "µs/row")
		})
	}
}
