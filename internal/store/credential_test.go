package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// credentials opens a database with one application, by a clock that the test moves.
func credentials(t *testing.T, address string) (db *store.DB, tenant int, clock *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	db, err := store.Open(t.Context(), address, store.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if tenant, err = db.Tenant(t.Context(), "guid"); err != nil {
		t.Fatal(err)
	}
	if err := db.AddApplication(t.Context(), tenant, credential.Application{ObjectID: "one", Name: "one", Mode: credential.On, Adopted: now},
		store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
		t.Fatal(err)
	}
	return db, tenant, &now
}

// TestLease lets a second process take over what the first has held for too long: the
// first writes nothing from then on.
func TestLease(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, tenant, now := credentials(t, address)
		lease := func(holder string) (*store.Lease, error) {
			return db.LeaseApplication(t.Context(), tenant, "one", holder, 5*time.Minute)
		}
		first, err := lease("first")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lease("second"); !errors.Is(err, store.ErrLeased) {
			t.Errorf("while the first has it: %v", err)
		}
		*now = now.Add(4 * time.Minute)
		if err := first.Extend(t.Context(), 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		*now = now.Add(4 * time.Minute)
		if _, err := lease("second"); !errors.Is(err, store.ErrLeased) {
			t.Errorf("after it was extended: %v", err)
		}
		*now = now.Add(time.Minute)
		second, err := lease("second")
		if err != nil {
			t.Fatalf("when its time is over: %v", err)
		}
		if second.Fence() <= first.Fence() {
			t.Errorf("the second lease has number %d, and the first %d", second.Fence(), first.Fence())
		}
		written := func(l *store.Lease) error {
			return l.Write(t.Context(), func(tx *store.CredentialTx) error {
				return tx.SaveCredential(credential.Credential{ID: "c", Reason: l.ObjectID})
			})
		}
		for what, err := range map[string]error{
			"writing": written(first), "extending": first.Extend(t.Context(), time.Minute), "releasing": first.Release(t.Context(), *now, false),
		} {
			if !errors.Is(err, store.ErrFenced) {
				t.Errorf("%s under the old lease: %v", what, err)
			}
		}
		if a, err := db.Application(t.Context(), tenant, "one"); err != nil || len(a.Credentials) != 0 {
			t.Errorf("what was written under the old lease: %v, %v", a.Credentials, err)
		}
		if err := written(second); err != nil {
			t.Error(err)
		}
		*now = now.Add(-time.Hour) // a lease that ends later than any can
		if _, err := lease("third"); err != nil {
			t.Errorf("after the clock was set back: %v", err)
		}
	})
}

// TestUrgentFirst: what is urgent is looked at before what has been due for longer, and
// leaves half of the places to it.
func TestUrgentFirst(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, tenant, now := credentials(t, address)
		for i, name := range []string{"one", "two", "three", "four", "five"} {
			if i > 0 {
				if err := db.AddApplication(t.Context(), tenant, credential.Application{ObjectID: name, Name: name, Mode: credential.On, Adopted: *now},
					store.JournalEntry{Actor: "test", Step: "adopt", Outcome: store.Done}); err != nil {
					t.Fatal(err)
				}
			}
			l, err := db.LeaseApplication(t.Context(), tenant, name, "test", time.Minute)
			if err == nil {
				err = l.Release(t.Context(), now.Add(time.Duration(i)*time.Second), i > 1)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		at := *now
		for _, c := range []struct {
			after time.Duration
			limit int
			want  []string
		}{
			{2 * time.Second, 10, []string{"three", "one", "two"}},
			{time.Minute, 10, []string{"three", "four", "five", "one", "two"}},
			{time.Minute, 4, []string{"three", "four", "one", "two"}},
			{time.Minute, 3, []string{"three", "four", "one"}},
			{time.Minute, 1, []string{"three"}},
		} {
			due, err := db.DueApplications(t.Context(), tenant, at.Add(c.after), at.Add(time.Hour), c.limit)
			if diff := cmp.Diff(c.want, due); err != nil || diff != "" {
				t.Errorf("%d after %v (-want +got):\n%s%v", c.limit, c.after, diff, err)
			}
		}
	})
}

// TestWishesOfTheMeantime asks for something, twice, while a process is at work: it is not
// overlooked, nor taken away with the first.
func TestWishesOfTheMeantime(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, tenant, now := credentials(t, address)
		ask := func() {
			if _, err := db.AddWish(t.Context(), tenant, "one", credential.Wish{Kind: credential.Renew, By: "pat"}); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		l, err := db.LeaseApplication(t.Context(), tenant, "one", "test", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.Read(t.Context())
		if err != nil || len(a.Wishes) != 1 {
			t.Fatalf("%v, %v", a.Wishes, err)
		}
		*now = now.Add(time.Second)
		ask()
		if err := l.Write(t.Context(), func(tx *store.CredentialTx) error { return tx.Fulfil(a.Wishes[0]) }); err != nil {
			t.Fatal(err)
		}
		if err := l.Release(t.Context(), now.Add(time.Hour), false); err != nil {
			t.Fatal(err)
		}
		if next, err := db.NextApplication(t.Context(), tenant); err != nil || !next.Equal(*now) {
			t.Errorf("it is due at %v, %v, and not at once", next, err)
		}
		if a, err = db.Application(t.Context(), tenant, "one"); err != nil || len(a.Wishes) != 1 || !a.Wishes[0].At.Equal(*now) {
			t.Errorf("what is asked for: %v, %v", a.Wishes, err)
		}
	})
}

// TestJournalIsAChain changes lines of the journal by other means than reeve.
func TestJournalIsAChain(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		for name, change := range map[string]string{
			"a line is changed":   `UPDATE credential_journal SET text = 'else' WHERE seq = 2`,
			"a line is taken out": `DELETE FROM credential_journal WHERE seq = 2`,
			"lines are pushed up": `DELETE FROM credential_journal WHERE seq = 1; UPDATE credential_journal SET seq = seq - 1`,
		} {
			address := storetest.Another(t, address)
			db, tenant, _ := credentials(t, address)
			for range 3 {
				if err := db.AddJournal(t.Context(), tenant, "one", store.JournalEntry{Actor: "test", Step: "export", Outcome: store.Done, Text: "a line"}); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := db.CheckJournal(t.Context(), tenant, "one"); n != 4 || err != nil {
				t.Errorf("as it was written: %d lines, %v", n, err)
			}
			if _, err := storetest.Connect(t, address).Exec(change); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := db.CheckJournal(t.Context(), tenant, "one"); err == nil {
				t.Errorf("%s: nothing is found", name)
			}
		}
	})
}

// TestJournalHangsTogether changes a line and its digest: the next one shows it.
func TestJournalHangsTogether(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, tenant, now := credentials(t, address)
		for _, text := range []string{"a line", "another"} {
			if err := db.AddJournal(t.Context(), tenant, "one", store.JournalEntry{Actor: "test", Step: "export", Outcome: store.Done, Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		// A forger has reeve itself write another second line, in another database, and takes
		// that with its digest.
		forged, forgedTenant, forgedNow := credentials(t, storetest.Another(t, address))
		*forgedNow = *now
		if err := forged.AddJournal(t.Context(), forgedTenant, "one", store.JournalEntry{Actor: "test", Step: "export", Outcome: store.Done, Text: "forged"}); err != nil {
			t.Fatal(err)
		}
		lines, err := forged.Journal(t.Context(), forgedTenant, "one", 1, 1)
		if err != nil || len(lines) != 1 {
			t.Fatalf("%v, %v", lines, err)
		}
		if _, err := storetest.Connect(t, address).Exec(`UPDATE credential_journal SET text = 'forged', digest = $1 WHERE seq = 2`, lines[0].Digest); err != nil {
			t.Fatal(err)
		}
		if n, err := db.CheckJournal(t.Context(), tenant, "one"); err == nil || n != 2 {
			t.Errorf("%d lines are in order, and then: %v", n, err)
		}
	})
}

// TestPoliciesOfManyAtOnce lets many people change the policy of one application at once,
// by two programs: what each of them wanted is in it, and in the journal.
func TestPoliciesOfManyAtOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, tenant, now := credentials(t, address)
		other, err := store.Open(t.Context(), address, store.Options{Now: func() time.Time { return *now }})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		const people = 40
		var all sync.WaitGroup
		for i := range people {
			all.Go(func() {
				name := fmt.Sprintf("person %d", i)
				err := []*store.DB{db, other}[i%2].ChangeApplication(t.Context(), tenant, "one", func(a *credential.Application) (*store.JournalEntry, error) {
					a.Policy.Notify = append(a.Policy.Notify, name)
					return &store.JournalEntry{Actor: name, Step: "policy", Outcome: store.Done}, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		a, err := db.Application(t.Context(), tenant, "one")
		if err != nil || len(a.Policy.Notify) != people {
			t.Errorf("of %d changes %d are there: %v", people, len(a.Policy.Notify), err)
		}
		if n, err := db.CheckJournal(t.Context(), tenant, "one"); n != people+1 || err != nil {
			t.Errorf("the journal has %d lines: %v", n, err)
		}
	})
}

// TestPolicyThatStays changes nothing, or is refused: nothing is written.
func TestPolicyThatStays(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, tenant, _ := credentials(t, address)
		refusal := errors.New("it cannot work")
		for _, want := range []error{nil, refusal} {
			if err := db.ChangeApplication(t.Context(), tenant, "one", func(a *credential.Application) (*store.JournalEntry, error) {
				a.Name = "else"
				return nil, want
			}); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		if a, err := db.Application(t.Context(), tenant, "one"); err != nil || a.Name != "one" {
			t.Errorf("its name is %q, %v", a.Name, err)
		}
		if err := db.ChangeApplication(t.Context(), tenant, "two", nil); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("one that is not looked after: %v", err)
		}
	})
}

// TestEachLivingApplication leaves out what is over, and nothing else.
func TestEachLivingApplication(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		db, tenant, now := credentials(t, address)
		lease, err := db.LeaseApplication(t.Context(), tenant, "one", "test", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Write(t.Context(), func(tx *store.CredentialTx) error {
			for _, c := range []credential.Credential{
				{ID: "in use", State: credential.Active, NotAfter: now.Add(time.Hour)},
				{ID: "expired", State: credential.Active, NotAfter: now.Add(-time.Hour)},
				{ID: "destroyed", State: credential.Destroyed, NotAfter: now.Add(time.Hour)},
				{ID: "never had a certificate", State: credential.Destroyed},
				{ID: "over", State: credential.Destroyed, NotAfter: now.Add(-time.Hour)},
			} {
				if err := tx.SaveCredential(c); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var all []credential.Application
		err = db.EachLivingApplication(t.Context(), tenant, *now, func(a credential.Application) { all = append(all, a) })
		if err != nil || len(all) != 1 || len(all[0].Credentials) != 4 {
			t.Fatalf("%+v (%v)", all, err)
		}
		if _, ok := all[0].Find("over"); ok {
			t.Error("what is over is among them")
		}
	})
}
