package feed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/coverage"
	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/ingest"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// silent is a tenant in which nothing happens but what a test does, on a clock that the
// test moves.
type silent struct {
	*world
	clock *emulatortest.Clock
	begin time.Time // the hour in which it begins
	fails func(part string, start, end time.Time) error
}

func newSilent(t *testing.T, address string) *silent {
	t.Helper()
	t.Parallel()
	s := &silent{clock: emulatortest.NewClock(time.Now().UTC().Truncate(time.Hour).Add(5 * time.Minute)), fails: func(string, time.Time, time.Time) error { return nil }}
	s.begin = s.clock.Now().Truncate(time.Hour)
	s.world = newWorldAlone(t, address, tenant.Options{Seed: 1, Users: 1, Days: 1, PerUser: 1, Calm: true, Now: s.clock.Now})
	if err := s.tenant.Audit.UseRecords(strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	at := s.emu.Origins()
	cloud, err := m365.LookupCloud(m365.Custom)
	if err != nil {
		t.Fatal(err)
	}
	cloud.AuthorityHost, cloud.Manage = at.Authority, at.Manage
	key := s.tenant.Client()
	s.client, err = activity.New(activity.Options{Cloud: cloud, TenantID: s.tenant.ID, HTTP: s.emu.HTTPClient(),
		Retry: m365.Retry{Max: 1, Delay: time.Millisecond, MaxDelay: time.Millisecond},
		Credential: clocked{m365.Prover{Cloud: cloud, HTTP: s.emu.HTTPClient(), Now: s.now},
			m365.ProofRequest{TenantID: s.tenant.ID, ClientID: key.ClientID, Pair: pki.Pair{Certificate: key.Certificate, Key: key.Key}}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clocked signs in by the clock of a test.
type clocked struct {
	prover  m365.Prover
	request m365.ProofRequest
}

func (c clocked) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.request.Resource = strings.TrimSuffix(o.Scopes[0], "/.default")
	token, _, err := c.prover.Token(ctx, c.request)
	token.ExpiresOn, token.RefreshOn = time.Now(), time.Time{} // by this machine's clock nobody may keep it
	return token, err
}

// at is a time so many hours and ten minutes after the beginning.
func (s *silent) at(hour int) time.Time {
	return s.begin.Add(time.Duration(hour)*time.Hour + 10*time.Minute)
}

// blob adds a blob that was created in an hour, with so many records.
func (s *silent) blob(hour int, text string) {
	s.tenant.Audit.AddBlob("DLP.All", s.at(hour), []byte(text))
}

func (s *silent) record(n int) string {
	return fmt.Sprintf(`{"Id":"%08d-0000-4000-8000-000000000000","CreationTime":"%s","RecordType":11,"Workload":"Exchange"}`, n, s.begin.Format("2006-01-02T15:04:05"))
}

// importNow runs the import once as a serving process does.
func (s *silent) importNow() ingest.Result {
	s.t.Helper()
	f, o := s.options(false)
	list := f.List
	f.List = func(ctx context.Context, part string, start, end time.Time) iter.Seq2[store.Blob, error] {
		if err := s.fails(part, start, end); err != nil {
			return func(yield func(store.Blob, error) bool) { yield(store.Blob{}, err) }
		}
		return list(ctx, part, start, end)
	}
	r, err := ingest.Run(s.t.Context(), f, o)
	if err != nil {
		s.t.Fatalf("%v: %v", s.clock.Now(), err)
	}
	return r
}

// goTo lets the time pass until an hour, with an import every so often.
func (s *silent) goTo(hour int, every time.Duration) {
	s.t.Helper()
	for until := s.at(hour); s.clock.Now().Before(until); {
		s.clock.Add(min(every, until.Sub(s.clock.Now())))
		s.importNow()
	}
}

func (s *silent) report() coverage.Report {
	s.t.Helper()
	facts, err := s.db.Ledger(1, "audit").Coverage(s.t.Context(), time.Time{}, s.clock.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return coverage.Assess(facts, coverage.Options{Now: s.clock.Now()})
}

// want compares what coverage says of the hours since the beginning: of those that are
// named, "state: reasons", with the reasons' beginnings; every other one has to be empty,
// or not due, with nothing to say.
func (s *silent) want(when string, hours map[int]string) {
	s.t.Helper()
	seen := 0
	for _, h := range s.report().Hours {
		n := int(h.Start.Sub(s.begin).Hours())
		got := fmt.Sprintf("%s: %s", h.State, strings.Join(h.Why, "; "))
		want, named := hours[n]
		if named = named && h.Part == "DLP.All" && !h.Start.Before(s.begin); named {
			seen++
		}
		switch {
		case named && !strings.HasPrefix(got, want):
			s.t.Errorf("%s, hour %d: %q, want %q", when, n, got, want)
		case named:
		case h.State == coverage.Empty || h.State == coverage.Pending && s.clock.Now().Sub(h.End) < 7*time.Hour: // imports may be six hours apart
			once := h.State == coverage.Pending && strings.HasPrefix(got, "not due: it was listed once and was empty")
			if len(h.Why) > 0 && !once || h.Blobs > 0 {
				s.t.Errorf("%s, %s, hour %d: %q, %d blobs; nothing has happened there", when, h.Part, n, got, h.Blobs)
			}
		default:
			s.t.Errorf("%s, %s, hour %d: %q, and nothing has happened there", when, h.Part, n, got)
		}
	}
	if seen != len(hours) {
		s.t.Errorf("%s: %d of %d hours are told of", when, seen, len(hours))
	}
}

// TestCoverageSaysWhatHappened: each thing that can happen to content is told of its
// hour, for as long as it is so, and nothing is told of the others.
func TestCoverageSaysWhatHappened(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		s := newSilent(t, address)
		s.importNow()
		s.goTo(0, time.Minute)
		const read, nothing, emptied, doubled, gone, broken, late, unlisted = 1, 2, 3, 4, 5, 6, 7, 8
		refused := errors.New("AF50000: An internal error occurred. Retry the request.")
		s.fails = func(part string, start, end time.Time) error {
			if part == "DLP.All" && start.Before(s.at(unlisted)) && end.After(s.at(unlisted)) {
				return refused
			}
			return nil
		}
		s.blob(read, "["+s.record(1)+","+s.record(2)+"]")
		s.blob(emptied, "[]")
		s.blob(doubled, "["+s.record(3)+"]")
		s.blob(doubled, "["+s.record(3)+"]")
		s.blob(broken, "["+s.record(4)+","+s.record(5)[:40])
		s.blob(unlisted, "["+s.record(6)+"]")
		s.goTo(gone, time.Hour) // what is there by now has been read
		s.blob(gone, "["+s.record(7)+"]")
		s.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Gone, Times: 3})
		s.goTo(14, time.Hour)
		so := map[int]string{
			read: "complete: ", nothing: "empty: ", emptied: "complete: 1 blob had no record", doubled: "complete: ", gone: "lost: 1 blob lost: ",
			broken: "missing: 1 blob could not be read yet: ", late: "empty: ", unlisted: "missing: listing it has failed ",
		}
		s.want("on the first day", so)
		for _, h := range s.report().Hours {
			if h.Part == "DLP.All" && h.Start.Equal(s.begin.Add(doubled*time.Hour)) && (h.Duplicate != 1 || h.Stored != 1 || h.Blobs != 2) {
				t.Errorf("doubled: %+v", h)
			}
		}
		if d := s.report().First; d == nil || d.Part != "DLP.All" || !d.At.Equal(s.at(broken).Add(7*24*time.Hour)) {
			t.Errorf("forgotten first: %+v", d)
		}

		s.goTo(late+48, 6*time.Hour)
		s.blob(late, "["+s.record(8)+"]")
		s.want("before the next listing", so)
		s.goTo(late+96, 6*time.Hour)
		so[late] = "late: 1 blob came after the hour had been listed whole"
		s.want("after four days", so)

		s.goTo(7*24, 6*time.Hour)
		s.goTo(7*24+24, 3*time.Hour)
		so[broken] = "lost: 1 blob could be read in part only: "
		so[unlisted] = "lost: what the source created from "
		s.want("after eight days", so)
		r := s.report()
		if r.First != nil {
			t.Errorf("forgotten first: %+v", r.First)
		}
		for _, h := range r.Hours {
			if h.Part == "DLP.All" && h.Start.Equal(s.begin.Add(unlisted*time.Hour)) && !strings.Contains(h.Why[0], refused.Error()) {
				t.Errorf("why it could not be listed is not told: %q", h.Why)
			}
		}
		var dlp coverage.Total
		for _, p := range r.Parts {
			if p.Part == "DLP.All" {
				dlp = p
			} else if *p.Percent != 100 {
				t.Errorf("%s: %v", p.Part, *p.Percent)
			}
		}
		if dlp.Hours[coverage.Lost] != 3 || dlp.Stored != 5 || *dlp.Percent >= 100 || *r.Total.Percent >= 100 {
			t.Errorf("%+v", dlp)
		}

		s.sealed()
	})
}

// sealed seals the day of the records, and finds a row of it that was changed.
func (s *silent) sealed() {
	s.t.Helper()
	ctx, day := s.t.Context(), store.Day(s.begin)
	s.clock.Add(5 * 24 * time.Hour)
	if _, err := s.db.SealDay(ctx, 1, AuditTables(), day, "known", ""); err != nil {
		s.t.Fatal(err)
	}
	verify := func() []store.Breach {
		s.t.Helper()
		v, err := s.db.VerifySeals(ctx, 1, AuditTables(), day, day, "")
		if err != nil {
			s.t.Fatal(err)
		}
		return v.Breaches
	}
	if b := verify(); b != nil {
		s.t.Errorf("%+v", b)
	}
	if differ, err := s.db.Recount(ctx, 1, AuditTables(), 0, 99999999); err != nil || differ != nil {
		s.t.Errorf("%+v, %v", differ, err)
	}
	if differ, err := s.db.Ledger(1, "audit").RecountLedger(ctx, time.Time{}, s.clock.Now()); err != nil || differ != nil {
		s.t.Errorf("%+v, %v", differ, err)
	}
	db := storetest.Connect(s.t, s.address)
	if _, err := db.Exec(`UPDATE audit_events SET record_type = 12 WHERE content_at = 0 AND record_type = 11 AND content_id = (SELECT min(content_id) FROM audit_events)`); err != nil {
		s.t.Fatal(err)
	}
	if b := verify(); len(b) != 1 || b[0].Table != "audit_events" || !strings.Contains(b[0].Text, "a row was changed") {
		s.t.Errorf("a changed row: %+v", b)
	}
}

// TestCoverageOfASubscriptionThatWasStopped: what happened in between may be lacking, and so is not
// called complete.
func TestCoverageOfASubscriptionThatWasStopped(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		s := newSilent(t, address)
		s.importNow()
		s.goTo(3, time.Hour)
		if err := s.tenant.Audit.StopSubscription("DLP.All"); err != nil {
			t.Fatal(err)
		}
		s.clock.Add(s.at(5).Sub(s.clock.Now()))
		s.goTo(10, time.Hour)
		lost := "lost: the subscription was found stopped "
		s.want("later", map[int]string{3: lost, 4: lost, 5: lost, 6: lost})
	})
}

// TestForgedCounts: what the ledger says is compared with what is there, and what was forged
// is told, of the blob or hour in which it was, and nothing else is.
func TestForgedCounts(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		s := newSilent(t, address)
		s.importNow()
		s.goTo(0, time.Minute)
		s.blob(1, "["+s.record(1)+","+s.record(2)+"]")
		s.blob(2, "["+s.record(3)+"]")
		s.blob(3, "[]")
		s.goTo(12, time.Hour)
		so := map[int]string{1: "complete: ", 2: "complete: ", 3: "complete: 1 blob had no record"}
		s.want("before", so)
		if found := s.differences(); found != nil {
			t.Fatalf("%q", found)
		}
		db := storetest.Connect(t, address)
		blob := func(condition string) (is string) {
			t.Helper()
			if err := db.QueryRow("SELECT blob FROM ledger_blobs WHERE state = 'done' AND " + condition).Scan(&is); err != nil {
				t.Fatal(err)
			}
			return "blob = '" + is + "'"
		}
		one, three := blob("stored = 1"), blob("records = 0")
		for forged, want := range map[string][]string{
			// A blob that has more than was stored, or less.
			`UPDATE ledger_blobs SET stored = stored + SIGN_7, records = records + SIGN_7 WHERE ` + one: {
				"say that 10 records are stored, and there are 3", "says that 8 records of it are stored, and there are 1", "1 records, by its blobs 8; 1 records stored, by its blobs 8"},
			`UPDATE ledger_blobs SET records = records + SIGN_7 WHERE ` + one: {"8 records were read, and 1 are accounted for", "1 records, by its blobs 8"},
			// An empty one that is to have had records.
			`UPDATE ledger_blobs SET stored = stored + SIGN_7, error = CASE WHEN SIGN_7 > 0 THEN 'read in part' END WHERE ` + three: {
				"say that 10 records are stored, and there are 3", "0 records stored, by its blobs 7"},
			`UPDATE ledger_windows SET stored = stored + SIGN_7 WHERE records = 2`: {"9 records stored, by its blobs 2"},
			// The day's.
			`UPDATE row_counts SET records = records + SIGN_7 WHERE table_name = 'audit_events'`: {"audit_events has 3 rows, and the import has stored 10"},
		} {
			s.exec(strings.ReplaceAll(forged, "SIGN_", ""))
			found := strings.Join(s.differences(), "\n")
			for _, text := range want {
				if !strings.Contains(found, text) {
					t.Errorf("%s: %s\nlacks %q", forged, found, text)
				}
			}
			s.exec(strings.ReplaceAll(forged, "SIGN_", "-"))
			if found := s.differences(); found != nil {
				t.Fatalf("%s, undone: %q", forged, found)
			}
		}
		s.want("after", so)
	})
}

// TestWhatOthersWroteStays: rows that another program put into reeve's tables stay as they
// are, whatever reeve imports, decodes again or seals; what does not fit is told.
func TestWhatOthersWroteStays(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		s := newSilent(t, address)
		s.importNow()
		s.goTo(0, time.Minute)
		id := func(n int) string {
			if strings.HasPrefix(address, "postgres:") {
				return fmt.Sprintf("'%08d-0000-4000-8000-000000000000'", n)
			}
			return fmt.Sprintf("x'%08d000040008000000000000000'", n)
		}
		day := store.Day(s.begin)
		if strings.HasPrefix(address, "postgres:") {
			month := s.begin.Format("200601")
			next := s.begin.AddDate(0, 0, 1-s.begin.Day()).AddDate(0, 1, 0).Format("200601")
			for _, table := range []string{"audit_events", "event_meta_exchange", "ignored_audit_events"} {
				s.exec(fmt.Sprintf("CREATE TABLE IF NOT EXISTS %[1]s_%[2]s PARTITION OF %[1]s FOR VALUES FROM (%[2]s01) TO (%[3]s01)", table, month, next))
			}
		}
		// A record that reeve will get, one that it never gets, and what belongs to one of
		// reeve's; a person of another name.
		theirs := []string{
			fmt.Sprintf("INSERT INTO audit_events (tenant_id, day, id, time_stamp, object_id, content_id, content_at, content_len) VALUES (1, %d, %s, '2026-10-01 00:00:00.000', 'theirs', 4711, 0, 0)", day, id(1)),
			fmt.Sprintf("INSERT INTO audit_events (tenant_id, day, id, time_stamp, object_id, content_id, content_at, content_len) VALUES (1, %d, %s, '2026-10-01 00:00:00.000', 'theirs', 4711, 0, 0)", day, id(77)),
			fmt.Sprintf("INSERT INTO event_meta_exchange (tenant_id, day, event_id, subject) VALUES (1, %d, %s, 'theirs')", day, id(2)),
			fmt.Sprintf("INSERT INTO event_workloads (id, workload_name) VALUES (%d, 'theirs')", workloads.ID("Exchange")),
		}
		for _, query := range theirs {
			s.exec(query)
		}
		stays := func(when string) {
			t.Helper()
			for query, want := range map[string]int{
				"SELECT count(*) FROM audit_events WHERE object_id = 'theirs' AND content_id = 4711 AND record_type IS NULL": 2,
				"SELECT count(*) FROM event_meta_exchange WHERE subject = 'theirs'":                                          1,
				"SELECT count(*) FROM event_workloads WHERE workload_name = 'theirs'":                                        1,
				"SELECT count(*) FROM audit_events":                                                                          4,
			} {
				var n int
				if err := storetest.Connect(t, address).QueryRow(query).Scan(&n); err != nil || n != want {
					t.Errorf("%s: %s: %d, want %d (%v)", when, query, n, want, err)
				}
			}
		}
		s.blob(1, "["+s.record(1)+","+s.record(2)+"]")
		s.blob(2, "["+s.record(3)+"]")
		s.goTo(12, time.Hour)
		s.want("imported", map[int]string{1: "complete: ", 2: "complete: "})
		stays("imported")
		held, err := s.db.CountQuarantine(t.Context(), 1)
		if err != nil || len(held) != 1 || held[0] != (store.Count{Name: store.ReasonConflict, Rows: 1}) {
			t.Errorf("%+v, %v", held, err)
		}
		findings, err := s.db.Findings(t.Context(), 1)
		if err != nil || len(findings) != 1 || findings[0].Rule != "name-collision" {
			t.Errorf("%+v, %v", findings, err)
		}
		told := func(when string) {
			t.Helper()
			found, err := s.db.Recount(t.Context(), 1, AuditTables(), 0, 99999999)
			if err != nil || len(found) != 2 || !strings.Contains(found[0].Text, "2 rows of audit_events are not from a blob") || !strings.Contains(found[1].Text, "has 4 rows, and the import has stored 2") {
				t.Errorf("%s: %+v, %v", when, found, err)
			}
		}
		told("imported")

		// The same again, on purpose.
		f, o := s.options(true)
		o.From, o.To = s.begin, s.at(12)
		if r, err := ingest.Run(t.Context(), f, o); err != nil || r.Counts.Stored > 0 {
			t.Errorf("%+v, %v", r, err)
		}
		stays("back-filled")
		if n, err := ingest.Retry(t.Context(), AuditForm(1, Scope{}), ingest.RetryOptions{DB: s.db, Tenant: 1}); err != nil || n.Stored > 0 || n.Held != 1 {
			t.Errorf("%+v, %v", n, err)
		}
		stays("tried again")
		s.clock.Add(12 * 24 * time.Hour)
		if _, err := s.db.SealDay(t.Context(), 1, AuditTables(), day, "known", ""); err != nil {
			t.Error(err)
		}
		stays("sealed")
		told("sealed")
	})
}

// TestBackfill: what was given up is listed and read again when somebody asks for it.
func TestBackfill(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, address string) {
		s := newSilent(t, address)
		s.importNow()
		s.goTo(1, time.Hour)
		s.blob(1, "["+s.record(1)+"]")
		s.emu.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Gone, Times: 3})
		s.goTo(30, time.Hour)
		s.want("given up", map[int]string{1: "lost: 1 blob lost"})
		// The windows are closed, as by a clock that was a week ahead.
		if _, err := storetest.Connect(t, address).Exec(`UPDATE ledger_windows SET state = 'lost', due_at = NULL, error = 'by a clock that was wrong'
			WHERE part = 'DLP.All'`); err != nil {
			t.Fatal(err)
		}
		s.blob(2, "["+s.record(2)+"]")
		s.importNow()
		f, o := s.options(true)
		o.From, o.To = s.begin, s.at(3)
		r, err := ingest.Run(t.Context(), f, o)
		if err != nil || r.Counts.Stored != 2 || !r.Complete() {
			t.Errorf("%+v, %v", r, err)
		}
		for _, h := range s.report().Hours {
			n := int(h.Start.Sub(s.begin).Hours())
			if h.Part != "DLP.All" || h.Start.Before(s.begin) {
				continue
			}
			want := map[int]coverage.State{0: coverage.Empty, 1: coverage.Complete, 2: coverage.Late, 3: coverage.Empty}[n]
			if n > 3 && n < 28 {
				want = coverage.Lost // nobody has asked for it
			}
			if want != "" && h.State != want {
				t.Errorf("hour %d: %s %q, want %s", n, h.State, h.Why, want)
			}
		}
	})
}
