package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// TestRetain: what serve runs deletes what is older than the settings say, and no more. What
// was found of days that are gone it settles, though whoever dropped them was killed before
// that.
func TestRetain(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, err := store.Open(t.Context(), address, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		tenant, err := db.Tenant(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		raw := storetest.Connect(t, address)
		if address[0] == 'p' {
			for _, query := range []string{`CREATE TABLE audit_events_202609 PARTITION OF audit_events FOR VALUES FROM (20260901) TO (20261001)`,
				`CREATE TABLE audit_events_202611 PARTITION OF audit_events FOR VALUES FROM (20261101) TO (20261201)`} {
				if _, err := raw.Exec(query); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, day := range []int{20260910, 20261110} {
			if _, err := raw.Exec(`INSERT INTO audit_events (tenant_id, day, id, time_stamp, content_id, content_at, content_len) VALUES ($1, $2, $3, $4, 1, 0, 0)`,
				tenant, day, append(make([]byte, 15), byte(i)), "2026-09-10 08:00:00.000"); err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Exec(`INSERT INTO row_counts (tenant_id, table_name, day, workload_id, records) VALUES ($1, 'audit_events', $2, 0, 1)`, tenant, day); err != nil {
				t.Fatal(err)
			}
		}
		a := &App{Config: &config.Config{Retention: config.Retention{AuditDays: 30}}, DB: db, Tenant: tenant, log: slog.New(slog.DiscardHandler),
			now: func() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) }}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.retain(ctx) }()
		for deadline := time.Now().Add(time.Minute); ; {
			dropped, err := db.DroppedDays(t.Context(), tenant, "audit", 0, 99999999)
			if err != nil || time.Now().After(deadline) {
				t.Fatal("nothing is deleted: ", err)
			}
			if len(dropped) == 1 && dropped[0] == (store.OldDay{Day: 20260910, Records: 1}) {
				break
			}
		}
		stop()
		if err := <-done; err != context.Canceled {
			t.Error(err)
		}
		if days, err := db.CountDays(t.Context(), tenant); err != nil || len(days) != 1 || days[0].Name != "20261110" {
			t.Errorf("%v, %v", days, err)
		}

		if _, err := raw.Exec(`INSERT INTO dropped_days (tenant_id, feed, day, records, dropped_at) VALUES ($1, 'audit', 20261110, 1, '2026-11-20 00:00:00.000')`, tenant); err != nil {
			t.Fatal(err)
		}
		for _, day := range []string{"2026-09-10", "2026-10-01", "2026-11-10"} { // of the last one there is something again
			if err := db.Find(t.Context(), tenant, store.Finding{Rule: ruleSeals, Subject: day, Message: "m", Remedy: "r"}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop = context.WithCancel(t.Context())
		go func() { done <- a.retain(ctx) }()
		for deadline := time.Now().Add(time.Minute); ; {
			left, err := db.Findings(t.Context(), tenant)
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("found and not settled: %+v, %v", left, err)
			}
			if len(left) == 2 && left[0].Subject == "2026-10-01" && left[1].Subject == "2026-11-10" {
				break
			}
		}
		stop()
		if err := <-done; err != context.Canceled {
			t.Error(err)
		}
	})
}
