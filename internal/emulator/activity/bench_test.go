package activity_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// BenchmarkBlob reads blobs of 100 records over TLS, each once as long as there
// are enough. The readers share the processors with the API.
func BenchmarkBlob(b *testing.B) {
	for _, test := range []struct {
		name string
		size int // of a record; 0 as they come
	}{{"natural", 0}, {"small", 512}} {
		b.Run(test.name, func(b *testing.B) {
			c := mustStartFeed(b, tenant.AuditOptions{
				Seed: 1, Users: 2000, Total: 500_000, Days: 1, BlobRecords: 100, RecordBytes: test.size, Calm: true,
			})
			bearer := "Bearer " + c.token(nil)
			var all []string
			for _, kind := range tenant.ContentTypes() {
				for _, blob := range c.listAll("contentType=" + kind) {
					all = append(all, blob.ContentURI)
				}
			}
			trusted := c.client.Transport.(*http.Transport).TLSClientConfig.RootCAs
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, MaxIdleConnsPerHost: 64, DisableCompression: true}
			defer transport.CloseIdleConnections()
			var next, size atomic.Int64
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, all[int(next.Add(1))%len(all)], nil)
					if err != nil {
						b.Error(err)
						return
					}
					r.Header.Set("Authorization", bearer)
					answer, err := transport.RoundTrip(r)
					if err != nil {
						b.Error(err)
						return
					}
					n, err := io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					if err != nil || answer.StatusCode != http.StatusOK {
						b.Errorf("%d %v", answer.StatusCode, err)
						return
					}
					size.Add(n)
				}
			})
			b.SetBytes(size.Load() / int64(b.N))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blobs/s")
		})
	}
}
