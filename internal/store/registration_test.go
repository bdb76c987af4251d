package store

import (
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
		for _, data := range []string{`{"a":1}`, `{"a":2}`} {
			if err := db.SaveRegistration(ctx, one, Registration{Name: "reeve-1", ClientID: "c", Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
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
	})
}
