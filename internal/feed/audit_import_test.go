package feed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// world is an emulated tenant, and reeve importing from it into a database.
type world struct {
	t       *testing.T
	tenant  *tenant.Tenant
	emu     *emulator.Emulator
	client  *activity.Client
	address string // of the database
	db      *store.DB
	now     func() time.Time
	scope   Scope
}

func newWorld(t *testing.T, address string, o tenant.Options) *world {
	t.Helper()
	t.Parallel()
	return newWorldAlone(t, address, o)
}

// newWorldAlone is newWorld for a test that measures the whole process, and so
// does not run beside others.
func newWorldAlone(t *testing.T, address string, o tenant.Options) *world {
	t.Helper()
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &world{t: t, now: o.Now, address: address}
	var err error
	if w.tenant, err = tenant.New(o); err != nil {
		t.Fatal(err)
	}
	// Where the tenant's clock stands still, no minute ever ends.
	if w.emu, err = emulator.Start(emulator.Options{Tenant: w.tenant, Calm: o.Calm, Seed: o.Seed, ActivityLimit: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.emu.Close() })
	at := w.emu.Origins()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	cloud.AuthorityHost, cloud.Manage = at.Authority, at.Manage
	key := w.tenant.Client()
	credential, err := m365.NewCredential(cloud, m365.SignIn{Method: m365.MethodCertificate, TenantID: w.tenant.ID, ClientID: key.ClientID,
		Pair: pki.Pair{Certificate: key.Certificate, Key: key.Key}}, w.emu.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	w.client, err = activity.New(activity.Options{Cloud: cloud, TenantID: w.tenant.ID, Credential: credential, HTTP: w.emu.HTTPClient(),
		Retry: m365.Retry{Max: 3, Delay: time.Millisecond, MaxDelay: 5 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	db, err := store.Open(w.t.Context(), w.address, store.Options{Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
	w.t.Cleanup(func() { db.Close() })
}

func (w *world) options(once bool) (*ingest.Feed, ingest.Options) {
	number, err := w.db.Tenant(w.t.Context(), w.tenant.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	f := Audit(AuditOptions{Client: w.client, Tenant: number, ContentTypes: AuditContentTypes, Backfill: 7 * 24 * time.Hour, Scope: w.scope, Now: w.now})
	return f, ingest.Options{DB: w.db, Tenant: number, Now: w.now, Log: slog.New(slog.DiscardHandler), Every: 10 * time.Minute, Concurrency: 4, Once: once,
		Pause: func(int) time.Duration { return 0 }}
}

func (w *world) run(ctx context.Context) (ingest.Result, error) {
	f, o := w.options(true)
	return patiently(ctx, f, o)
}

// patiently begins a run again that did not begin because the tenant throttled:
// the world's client does not wait for the second that is asked for then.
func patiently(ctx context.Context, f *ingest.Feed, o ingest.Options) (r ingest.Result, err error) {
	for range 5 {
		if r, err = ingest.Run(ctx, f, o); r.Listings > 0 || !errors.Is(err, m365.ErrThrottled) {
			break
		}
	}
	return r, err
}

func (w *world) mustRun() ingest.Result {
	w.t.Helper()
	r, err := w.run(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if !r.Complete() {
		w.t.Fatalf("the run is not complete: %+v", r)
	}
	return r
}

// check makes sure that every record that was there before the given time is in
// the database once, and that each stored one is retrievable.
func (w *world) check(before time.Time) (stored, ignored, quarantined int) {
	w.t.Helper()
	where, err := w.db.Whereabouts(w.t.Context(), 1)
	if err != nil {
		w.t.Fatal(err)
	}
	missing := 0
	total := 0
	for r := range w.tenant.Audit.Records() {
		if !r.Created.Before(before) {
			continue
		}
		total++
		switch where(r.ID) {
		case store.IsStored:
			stored++
			if total%97 == 0 {
				w.checkRecord(r.ID)
			}
		case store.IsIgnored:
			ignored++
		case store.IsQuarantined:
			quarantined++
			if !r.Broken {
				w.t.Errorf("record %s is in quarantine", r.ID)
			}
		default:
			missing++
		}
	}
	if missing > 0 || total == 0 {
		w.t.Errorf("%d of %d records are missing", missing, total)
	}
	return stored, ignored, quarantined
}

func (w *world) checkRecord(id string) {
	w.t.Helper()
	found, err := w.db.Record(w.t.Context(), 1, id)
	if err != nil {
		w.t.Errorf("record %s: %v", id, err)
		return
	}
	var record struct{ ID string }
	if err := json.Unmarshal(found[0].Raw, &record); err != nil || record.ID != id {
		w.t.Errorf("record %s gives %s (%v)", id, found[0].Raw, err)
	}
}

// rows dumps what the import is for: every table but the ledger, and where the
// text of a record stands, which depends on the order of the blobs.
func (w *world) rows() map[string][]string {
	w.t.Helper()
	db := storetest.Connect(w.t, w.address)
	text := "quote(%s)"
	if strings.HasPrefix(w.address, "postgres:") {
		text = "quote_nullable(%s::text)"
	}
	dump := map[string][]string{}
	for _, table := range slices.Concat([]*store.Table{auditEvents, ignoredEvents, copilotResources,
		{Name: "users", Columns: []string{"id", "user_name"}}, {Name: "event_operations", Columns: []string{"id", "operation_name"}},
		{Name: "quarantine", Columns: []string{"digest", "record_id", "reason"}}}, metaTables) {
		columns := slices.DeleteFunc(slices.Clone(table.Columns), func(c string) bool { return strings.HasPrefix(c, "content_") })
		for i, c := range columns {
			columns[i] = fmt.Sprintf(text, c)
		}
		rows, err := db.Query("SELECT " + strings.Join(columns, " || ' ' || ") + " FROM " + table.Name + " ORDER BY 1")
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				w.t.Fatal(err)
			}
			dump[table.Name] = append(dump[table.Name], s)
		}
		if err := rows.Err(); err != nil {
			w.t.Fatal(err)
		}
		rows.Close()
	}
	return dump
}

var metaTables = []*store.Table{metaSharePoint, metaExchange, metaEntra, metaTeams, copilotChats}

func small(seed uint64) tenant.Options {
	return tenant.Options{Seed: seed, Users: 8, Days: 3, PerUser: 40}
}

func TestImportOfAnUnkindTenant(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		o := small(7)
		o.PerUser = 150
		w := newWorld(t, address, o)
		scope, err := NewScope([]string{"https://contoso.sharepoint.com", "https://contoso-my.sharepoint.com"})
		if err != nil {
			t.Fatal(err)
		}
		w.scope = scope
		before := w.now()
		r := w.mustRun()
		stored, ignored, quarantined := w.check(before)
		foreign := 0
		for x := range w.tenant.Audit.Records() {
			if x.Foreign && !x.Broken && x.Created.Before(before) {
				foreign++
			}
		}
		if ignored != foreign {
			t.Errorf("%d records are out of scope, want %d", ignored, foreign)
		}
		if r.Counts.Duplicate == 0 || quarantined == 0 || ignored == 0 || stored == 0 {
			t.Errorf("this tenant should show everything: %+v, %d quarantined", r.Counts, quarantined)
		}
		if r.Counts.Records != r.Counts.Stored+r.Counts.Duplicate+r.Counts.OutOfScope+r.Counts.Quarantined {
			t.Errorf("the counts do not add up: %+v", r.Counts)
		}
		again := w.mustRun()
		if again.Counts.Stored > 0 && again.Started.Sub(r.Started) < time.Minute {
			// Only what appeared in the meantime; the tenant is alive.
			if n := again.Counts.Stored; n > 50 {
				t.Errorf("a second run stored %d records", n)
			}
		}
	})
}

func TestEveryTableIsFilled(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		o := small(3)
		o.PerUser = 150
		w := newWorld(t, address, o)
		w.mustRun()
		for table, rows := range w.rows() {
			if table != "ignored_audit_events" && len(rows) == 0 {
				t.Errorf("no rows in %s", table)
			}
		}
	})
}

// TestImportLosesAndDoublesNothing is like the table of what other importers lose or
// double (see TestPeersFaults of package app), with an unkind tenant and more that can
// go wrong; reeve's figure is nought in every row.
func TestImportLosesAndDoublesNothing(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		blob := func(n int) []byte {
			return fmt.Appendf(nil, `[{"Id":"%08d-0000-4000-8000-000000000000","CreationTime":"2026-11-02T08:45:19","RecordType":25,"Workload":"MicrosoftTeams"}]`, n)
		}
		for name, fault := range map[string]func(w *world){
			"none": func(*world) {},
			"two blobs with the same contentCreated": func(w *world) {
				at := w.now().Add(-2 * time.Hour)
				w.tenant.Audit.AddBlob("Audit.General", at, blob(1))
				w.tenant.Audit.AddBlob("Audit.General", at, blob(2))
			},
			"every 10th blob answers 429": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.ThrottleSilent, Every: 10})
			},
			"every 10th blob answers 403 with AF429": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.AF429, Every: 10})
			},
			"every 10th blob answers 500": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.ServerError, Every: 10})
			},
			"every 10th blob is cut off": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Truncated, Every: 10})
			},
			"every 10th blob is reset in its midst": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.ResetBody, Every: 10})
			},
			"every 10th blob is a web page": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.NotJSON, Every: 10})
			},
			"every 10th blob is an object": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.NotArray, Every: 10})
			},
			"every 3rd listing answers 429": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "content", Kind: emulator.ThrottleSilent, Every: 3, Times: 60})
			},
			"every 5th listing is reset": func(w *world) {
				w.emu.Inject(emulator.Fault{API: "manage", Operation: "content", Kind: emulator.Reset, Every: 5, Times: 60})
			},
			"the same record in two blobs": func(w *world) {
				w.tenant.Audit.AddBlob("Audit.General", w.now().Add(-3*time.Hour), blob(1))
				w.tenant.Audit.AddBlob("Audit.General", w.now().Add(-2*time.Hour), blob(1))
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, storetest.Another(t, address), small(5)) // in pages, late, reordered and repeated, as it comes
				fault(w)
				before := w.now()
				w.mustRun()
				stored, _, quarantined := w.check(before)
				for _, f := range w.emu.Faults() {
					// The import hardly calls another API.
					if f.Happened == 0 && f.Fault.API == "manage" {
						t.Errorf("the fault %s did not happen", f.Fault)
					}
				}
				rows := w.rows()
				seen := map[string]bool{}
				for _, r := range rows["audit_events"] {
					seen[strings.Fields(r)[2]] = true // the id alone, whatever its day
				}
				if len(seen) != len(rows["audit_events"]) {
					t.Errorf("%d rows with %d ids", len(rows["audit_events"]), len(seen))
				}
				if stored == 0 || quarantined > 20 {
					t.Errorf("stored %d, quarantined %d", stored, quarantined)
				}
			})
		}
	})
}

// TestImportStoppedAnywhere ends the run after each of many points, goes on,
// and expects the rows of a run that was left alone.
func TestImportStoppedAnywhere(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		clock := time.Now().Truncate(time.Second)
		o := small(11)
		o.Users, o.Now = 4, func() time.Time { return clock } // the tenant stands still
		left := newWorld(t, storetest.Another(t, address), o)
		left.mustRun()
		want := left.rows()

		w := newWorldBeside(left)
		for n := 1; ; n += 3 {
			ctx, cancel := context.WithCancel(t.Context())
			f, o := w.options(true)
			calls := 0
			var mu sync.Mutex
			count := func() {
				mu.Lock()
				defer mu.Unlock()
				if calls++; calls == n {
					cancel()
				}
			}
			open := f.Open
			f.Open = func(ctx context.Context, b store.Blob) (io.ReadCloser, error) {
				count()
				return open(ctx, b)
			}
			_, err := ingest.Run(ctx, f, o)
			cancel()
			w.db.Close()
			w.open()
			if err == nil {
				break
			}
		}
		if diff := cmp.Diff(want, w.rows()); diff != "" {
			t.Errorf("rows (-undisturbed +stopped):\n%.2000s", diff)
		}
	})
}

// newWorldBeside imports from the same tenant into a database of its own.
func newWorldBeside(w *world) *world {
	x := *w
	x.address = storetest.Another(w.t, w.address)
	x.open()
	return &x
}

func TestTwoImportsAtOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		clock := time.Now().Truncate(time.Second)
		o := small(13)
		o.Now = func() time.Time { return clock }
		left := newWorld(t, address, o)
		left.mustRun()
		want := left.rows()

		a := newWorldBeside(left)
		b := *a
		b.open()
		var wg sync.WaitGroup
		for _, w := range []*world{a, &b} {
			wg.Add(1)
			go func() {
				defer wg.Done()
				f, o := w.options(true)
				if r, err := patiently(t.Context(), f, o); err != nil || !r.Complete() {
					t.Errorf("%+v, %v", r, err)
				}
			}()
		}
		wg.Wait()
		if diff := cmp.Diff(want, a.rows()); diff != "" {
			t.Errorf("rows (-one +two):\n%.2000s", diff)
		}
		var stored int64
		all, err := a.db.Ledger(1, "audit").Standing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			stored += s.Counts.Stored
		}
		if int(stored) != len(want["audit_events"]) {
			t.Errorf("the ledger counts %d stored records, there are %d", stored, len(want["audit_events"]))
		}
	})
}

func TestBlobThatIsGone(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := newWorld(t, address, tenant.Options{Seed: 1, Users: 2, Days: 1, PerUser: 10, Calm: true})
		w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Gone})
		r, err := w.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Lost == 0 || r.Complete() || len(r.Problems) == 0 || r.Blobs != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// TestBlobThatIsGoneForAMoment: the source says once of some blobs that they are
// gone, and has them a moment later.
func TestBlobThatIsGoneForAMoment(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := newWorld(t, address, tenant.Options{Seed: 1, Users: 4, Days: 4, PerUser: 30, Calm: true})
		w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Gone, Every: 3, Times: 8})
		before := w.now()
		w.mustRun()
		w.check(before)
	})
}

// TestSubscriptionThatIsStopped: a run that goes on starts it again.
func TestSubscriptionThatIsStopped(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := newWorld(t, storetest.Another(t, address), tenant.Options{Seed: 1, Users: 2, Days: 1, PerUser: 30, Calm: true})
		f, o := w.options(true)
		for i := range 2 {
			if r, err := ingest.Run(t.Context(), f, o); err != nil || !r.Complete() {
				t.Fatalf("%+v, %v", r, err)
			}
			if i > 0 {
				break
			}
			if err := w.tenant.Audit.StopSubscription("Audit.General"); err != nil {
				t.Fatal(err)
			}
		}
		if !w.tenant.Audit.Subscribed("Audit.General") {
			t.Error("the subscription was not started again")
		}
	})
}

func TestListingThatNeverEnds(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := newWorld(t, address, tenant.Options{Seed: 1, Users: 2, Days: 1, PerUser: 10, Calm: true})
		w.emu.Inject(emulator.Fault{API: "manage", Operation: "content", Kind: emulator.RepeatPage})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		r, err := w.run(ctx)
		if err != nil || r.Complete() || r.Left == 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestPermissionTakenAway(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		w := newWorld(t, address, tenant.Options{Seed: 1, Users: 2, Days: 1, PerUser: 10, Calm: true})
		if err := w.tenant.Directory.RevokeRole(w.tenant.Client().ClientID, directory.ManagementAPIs, "ActivityFeed.Read"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.run(t.Context()); err == nil || !strings.Contains(err.Error(), "ActivityFeed.Read") {
			t.Errorf("%v; want an error that names the permission", err)
		}
	})
}

func TestBadBlobs(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		clock := time.Now().Truncate(time.Second)
		w := newWorld(t, address, tenant.Options{Seed: 1, Users: 1, Days: 1, PerUser: 1, Calm: true, Now: func() time.Time { return clock }})
		common := `"CreationTime":"2026-11-02T08:45:19"`
		body := `[{"Id":"a1",` + common + `},
		{` + common + `},
		{"Id":"a2","CreationTime":"never"},
		{"Id":"a3",` + common + `,"RecordType":99999},
		{"Id":"a4",` + common + `,"UserId":{"not":"text"}},
		{"Id":"a5",` + common + `,"ObjectId":"` + "\xff\xfe" + `"},
		{"Id":"a6",` + common + `,"Text":"` + strings.Repeat("x", 10<<20) + `"},
		17, {"Id":"a7",` + common + `,tru},
		{"Id":"a8",` + common + `,"Text":"` + strings.Repeat("y", ingest.MaxRecord) + `"},
		{"Id":"a1",` + common + `,"Operation":"another"},
		{"Id":"a9",` + common + `}]`
		w.tenant.Audit.AddBlob("Audit.General", clock.Add(-2*time.Hour), []byte(body))
		r := w.mustRun()
		if r.Counts.Quarantined != 6 {
			t.Errorf("%d in quarantine, want 6", r.Counts.Quarantined)
		}
		got := map[string]string{}
		for _, id := range []string{"a1", "a2", "a3", "a4", "a5", "a6", "a9"} {
			found, err := w.db.Record(t.Context(), 1, id)
			if err != nil {
				t.Errorf("%s: %v", id, err)
				continue
			}
			for _, f := range found {
				got[id] += f.State + " "
			}
		}
		want := map[string]string{"a1": "stored conflict ", "a2": "no time ", "a3": "stored ", "a4": "stored ", "a5": "stored ", "a6": "stored ", "a9": "stored "}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		reasons, err := w.db.CountQuarantine(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]int64{}
		for _, c := range reasons {
			names[c.Name] = c.Rows
		}
		if diff := cmp.Diff(map[string]int64{"no Id": 1, "no time": 1, "not an object": 1, "not JSON": 1, "too long": 1, "conflict": 1}, names); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
	})
}

// TestBlobThatIsBadToTheEnd: a blob that is no array stays due, and is taken as
// far as it can be read only when the source is about to forget it.
func TestBlobThatIsBadToTheEnd(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		clock := time.Now().Truncate(time.Second)
		w := newWorld(t, storetest.Another(t, address), tenant.Options{Seed: 1, Users: 1, Days: 1, PerUser: 1, Calm: true, Now: func() time.Time { return clock }})
		broken := []byte(`[{"Id":"a1","CreationTime":"2026-11-02T08:45:19"},{"Id":"a2","Crea`)
		long := []byte(`[{"Id":"b1","CreationTime":"2026-11-02T08:45:19"}}` + strings.Repeat("x", 12<<20))
		w.tenant.Audit.AddBlob("Audit.General", clock.Add(-time.Hour), broken)
		w.tenant.Audit.AddBlob("Audit.General", clock.Add(-time.Hour), broken) // each counts
		w.tenant.Audit.AddBlob("Audit.General", clock.Add(-time.Hour), long)
		f, o := w.options(false)
		r, err := ingest.Run(t.Context(), f, o)
		if err != nil || r.Left != 3 || len(r.Problems) != 3 {
			t.Fatalf("%+v, %v", r, err)
		}
		if _, err := w.db.Record(t.Context(), 1, "a1"); err == nil {
			t.Error("part of a broken blob was stored")
		}
		later := func(d time.Duration) ingest.Result {
			t.Helper()
			w.now = func() time.Time { return clock.Add(d) }
			f, o = w.options(false)
			if r, err = ingest.Run(t.Context(), f, o); err != nil || r.Complete() {
				t.Fatalf("after %v: %+v, %v", d, r, err)
			}
			return r
		}
		if r := later(3 * 24 * time.Hour); r.Counts.Records != 0 || r.Left != 3 {
			t.Errorf("while there is time: %+v", r)
		}
		if r := later(6*24*time.Hour + 20*time.Hour); r.Counts.Quarantined != 3 || r.Counts.Stored != 2 || r.Lost == 0 {
			t.Errorf("at the end: %+v", r)
		}
		if _, err := w.db.Record(t.Context(), 1, "a1"); err != nil {
			t.Errorf("the whole record before the break: %v", err)
		}
		// What was there is kept, as far as it is of use.
		var held []store.Quarantined
		for after := []byte(nil); ; after = held[len(held)-1].Digest {
			page, err := w.db.Held(t.Context(), 1, "audit", store.QuarantineFilter{Reason: "malformed blob"}, after)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			held = append(held, page...)
		}
		if len(held) != 3 {
			t.Fatalf("%d in quarantine", len(held))
		}
		for _, q := range held {
			want := broken
			if q.Bytes != int64(len(broken)) {
				want = long
			}
			if q.Bytes != int64(len(want)) || !bytes.Equal(q.Raw, want[:min(len(want), 64<<10)]) || q.Whole() != (len(want) <= 64<<10) ||
				!strings.Contains(q.Detail, fmt.Sprintf("SHA-256 %x", sha256.Sum256(want))) {
				t.Errorf("%d of %d bytes: %s", len(q.Raw), q.Bytes, q.Detail)
			}
		}
		if n, err := ingest.Retry(t.Context(), AuditForm(1, Scope{}), ingest.RetryOptions{DB: w.db, Tenant: 1}); err != nil || n.NotWhole != 3 {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

func TestMemoryIsBoundedWhateverTheBlob(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		if testing.Short() {
			t.Skip("streams a blob of 200 MB")
		}
		w := newWorldAlone(t, address, tenant.Options{Seed: 1, Users: 1, Days: 1, PerUser: 1, Calm: true})
		w.tenant.Audit.AddBlob("Audit.General", w.now().Add(-time.Hour), []byte(`[]`))
		const size = 200 << 20
		w.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Endless, Bytes: size, Times: 1})
		peak := watchHeap(t)
		r := w.mustRun()
		if r.Counts.Bytes < size {
			t.Errorf("read %d bytes, want at least %d", r.Counts.Bytes, size)
		}
		if p := peak(); p > 100<<20 {
			t.Errorf("the heap grew to %d MiB", p>>20)
		}
	})
}

// watchHeap gives a function that tells how large the heap has been since.
func watchHeap(t *testing.T) (peak func() uint64) {
	runtime.GC()
	done, result := make(chan bool), make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-tick.C:
			case <-done:
				result <- most
				return
			}
		}
	}()
	return func() uint64 { close(done); return <-result }
}
