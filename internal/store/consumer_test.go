package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

func TestConsumers(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
		db, err := store.Open(t.Context(), address, store.Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		tenant, err := db.Tenant(t.Context(), "guid")
		must(err)
		for _, id := range []string{"one", "two"} {
			must(db.AddApplication(t.Context(), tenant, credential.Application{ObjectID: id, ClientID: "client-" + id, Name: id, Mode: credential.On, Adopted: now,
				Credentials: []credential.Credential{
					{ID: id + "-active", State: credential.Active}, {ID: id + "-standby", State: credential.Standby}, {ID: id + "-gone", State: credential.Destroyed},
				}}, store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}))
		}
		token := store.ConsumerToken{ObjectID: "two", Consumer: "api", Hash: "ab", By: "test", At: now}
		if all, err := db.ConsumedApplications(t.Context(), tenant); err != nil || len(all) != 0 {
			t.Errorf("before there is a consumer: %v, %v", all, err)
		}
		must(db.AddConsumerToken(t.Context(), tenant, token))
		if err := db.AddConsumerToken(t.Context(), tenant, token); !errors.Is(err, store.ErrExists) {
			t.Errorf("again: %v", err)
		}
		stranger := token
		stranger.ObjectID = "three"
		if err := db.AddConsumerToken(t.Context(), tenant, stranger); err == nil {
			t.Error("an application that there is not has a consumer")
		}
		tokens, err := db.ConsumerTokens(t.Context(), tenant)
		must(err)
		if d := cmp.Diff([]store.ConsumerToken{token}, tokens); d != "" {
			t.Error(d)
		}
		all, err := db.ConsumedApplications(t.Context(), tenant)
		must(err)
		if len(all) != 1 || all[0].ObjectID != "two" || all[0].ClientID != "client-two" || len(all[0].Credentials) != 2 {
			t.Errorf("%+v", all)
		}

		must(db.Acknowledge(t.Context(), tenant, "two", credential.Consumer{Name: "api", Generation: 1, SHA256: "x", At: now}))
		must(db.RemoveConsumer(t.Context(), tenant, "two", "api", "test", "it is gone"))
		a, err := db.Application(t.Context(), tenant, "two")
		must(err)
		if len(a.Consumers) != 0 {
			t.Errorf("%v is still waited for", a.Consumers)
		}
		if err := db.RemoveConsumer(t.Context(), tenant, "two", "api", "test", "it is gone"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		if n, err := db.CheckJournal(t.Context(), tenant, "two"); err != nil || n != 3 {
			t.Errorf("%d entries in the journal, %v", n, err)
		}
	})
}
