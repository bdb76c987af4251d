package store

import (
	"errors"
	"testing"

	"github.com/reeve365/reeve/internal/store/storetest"
)

// What was made is kept for each tenant, in place of what was kept before, until it is
// forgotten.
func TestRegistrations(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		ctx := t.Context()
		db, err := Open(ctx, address, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		one, err := db.Tenant(ctx, "11111111-2222-3333-4444-555555555555")
		if err != nil {
			t.Fatal(err)
		}
		other, err := db.Tenant(ctx, "66666666-2222-3333-4444-555555555555")
		if err != nil {
			t.Fatal(err)
		}
		const first, second = `{"a":1}`, `{"a":2}`
		save := func(before []byte, data string) error {
			return db.SaveRegistration(ctx, one, Registration{Name: "reeve-1", ClientID: "c", ObjectID: "o", Data: []byte(data)}, before, JournalEntry{Actor: "somebody", Step: "setup", Outcome: Done, Text: data})
		}
		if err := errors.Join(save(nil, first), save([]byte(first), second)); err != nil {
			t.Fatal(err)
		}
		// Who goes by what was before the last change changes nothing.
		for _, before := range [][]byte{nil, []byte(first)} {
			if err := save(before, `{"a":3}`); !errors.Is(err, ErrChanged) {
				t.Errorf("over a change of somebody else's: %v", err)
			}
		}
		if entries, err := db.Journal(ctx, one, "o", 0, 10); err != nil || len(entries) != 2 || entries[1].Text != second {
			t.Errorf("the journal has %+v, %v", entries, err)
		}
		all, err := db.Registrations(ctx, one)
		if err != nil || len(all) != 1 || string(all[0].Data) != `{"a":2}` || all[0].ClientID != "c" {
			t.Errorf("%+v, %v", all, err)
		}
		if all, err := db.Registrations(ctx, other); err != nil || len(all) != 0 {
			t.Errorf("another tenant has %+v, %v", all, err)
		}
		if err := db.RemoveRegistration(ctx, one, "reeve-1"); err != nil {
			t.Fatal(err)
		}
		if all, err := db.Registrations(ctx, one); err != nil || len(all) != 0 {
			t.Errorf("afterwards: %+v, %v", all, err)
		}
		if err := save([]byte(second), first); !errors.Is(err, ErrChanged) {
			t.Errorf("over one that is forgotten: %v", err)
		}
	})
}
