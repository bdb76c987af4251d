package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

// TestManyApplications makes the pages of so many applications, each with some years of
// certificates: how long that takes, and how much memory, is bounded.
func TestManyApplications(t *testing.T) {
	many := 300
	if os.Getenv("TEST_LONG") != "" {
		many = 10000
	}
	s := site(t)
	const resource = "https://graph.microsoft.com"
	der := bytes.Repeat([]byte{7}, 900)
	for i := range many {
		id := fmt.Sprintf("%08d-0000-0000-0000-000000000000", i*7919%1000003)
		a := credential.Application{ObjectID: id, ClientID: id, Name: fmt.Sprint("application ", i), Mode: credential.On, Adopted: now.AddDate(-2, 0, 0),
			Policy: credential.Policy{}.Complete(resource)}
		a.Observed = credential.Observation{At: now, RungsAt: now, Rungs: []credential.Rung{{Name: "standby", Works: credential.Yes, Text: "certificate waits, and has just signed in"}}}
		var list []map[string]any
		for j, state := range []credential.State{credential.Active, credential.Standby, credential.Draining, credential.Retired, credential.Destroyed, credential.Destroyed} {
			from := now.AddDate(0, -1-j, -i%28)
			c := credential.Credential{ID: fmt.Sprintf("%s-%d", id, j), State: state, Origin: credential.Made, SHA1: fmt.Sprintf("%040X", i*10+j), SHA256: fmt.Sprintf("%064X", i*10+j),
				NotBefore: from, NotAfter: from.AddDate(0, 9, 0), RenewAt: from.AddDate(0, 6, 0), Planned: from, Since: from, Probed: now.Add(-time.Hour), Registered: from, Sent: from,
				Certificate: [][]byte{der}, Proofs: map[string]credential.Proof{resource: {Since: from, Last: now.Add(-time.Hour), Count: 30}}}
			a.Credentials = append(a.Credentials, c)
			a.Observed.Keys = append(a.Observed.Keys, credential.ObservedKey{KeyID: c.ID, Name: "CN=x", SHA1: c.SHA1, SHA256: c.SHA256, Start: c.NotBefore, End: c.NotAfter, Ours: c.ID})
			list = append(list, map[string]any{"keyId": c.ID, "key": base64.StdEncoding.EncodeToString(der), "type": "AsymmetricX509Cert", "usage": "Verify"})
		}
		a.Observed.List, _ = json.Marshal(map[string]any{"keyCredentials": list})
		if err := s.DB.AddApplication(t.Context(), s.Tenant, a, store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, err := s.applications(t.Context())
	if err != nil || len(rows) != many {
		t.Fatalf("%d applications (%v)", len(rows), err)
	}
	s.overview.until = time.Time{}
	for _, path := range []string{"/certificates", "/certificates", "/certificates?from=200", "/"} {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		most, stop := make(chan uint64), make(chan bool)
		go func() { // the heap at its largest
			var m runtime.MemStats
			var top uint64
			for {
				runtime.ReadMemStats(&m)
				top = max(top, m.HeapInuse)
				select {
				case <-stop:
					most <- top
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
		begun := time.Now()
		resp, body := get(t, s, path, "")
		took := time.Since(begun)
		stop <- true
		top := <-most
		runtime.ReadMemStats(&after)
		t.Logf("%s: %v, %d KiB of HTML, %d MiB allocated, the heap grew by at most %d MiB", path, took.Round(time.Millisecond), len(body)>>10,
			(after.TotalAlloc-before.TotalAlloc)>>20, (max(top, before.HeapInuse)-before.HeapInuse)>>20)
		if grown := (max(top, before.HeapInuse) - before.HeapInuse) >> 20; grown > 200 {
			t.Errorf("%s: the heap grew by %d MiB", path, grown)
		}
		if resp.StatusCode != 200 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}
