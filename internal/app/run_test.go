package app_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/store"
	"github.com/reeve365/reeve/internal/store/storetest"
)

// Without --once an import goes on, cycle after cycle, until it is interrupted,
// which is how it is meant to end.
func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	r := start(t, e.client(t, "REEVE_FEEDS_AUDIT_INTERVAL=1s"), "import", "run")
	r.says(t, regexp.MustCompile(`(?s)FinishedImportCycle.*Waiting for the next cycle.*FinishedImportCycle`))
	r.interrupt(t).want(t, ok)
}

// An import that is interrupted before it is complete says so by its exit code,
// and the next one goes on where it was.
func TestInterruptedImport(t *testing.T) {
	t.Parallel()
	environ := append(emulateCommand(t, "--calm", "--users", "3", "--days", "1", "--per-user", "10", "--latency", "5ms"),
		"REEVE_DATABASE_URL=sqlite:"+t.TempDir()+"/reeve.db", "REEVE_FEEDS_AUDIT_DAYS=1", "REEVE_FEEDS_AUDIT_IMPORT_EVERYTHING=true")
	r := start(t, environ, "import", "run", "--once", "--json")
	r.says(t, regexp.MustCompile("Subscription started|Signing in with a certificate"))
	o := r.interrupt(t)
	o.want(t, failure, "reeve: stopped. What was stored is complete in itself; the next run goes on from here.")
	if o.out != "" || strings.Contains(o.err, "Finished") {
		t.Errorf("it says that something is done:\n%s\n%s", o.out, o.err)
	}
	reeve(t, environ, "import", "run", "--once").want(t, ok, "FinishedImportCycle")
}

// An import that could not get what there is says that it is not complete: by its exit code, in its result and in the status. None of
// the events by which others know that an import has finished is emitted.
func TestIncompleteImport(t *testing.T) {
	t.Parallel()
	e := emulate(t, tenant.Options{})
	e.service.Inject(emulator.Fault{API: "manage", Operation: "blob", Kind: emulator.Gone})
	environ := e.client(t)
	o := reeve(t, environ, "import", "run", "--once", "--json")
	o.want(t, source, "level=WARN", "is not complete", "are lost; see 'reeve import status'")
	if strings.Contains(o.err, "Finished") {
		t.Errorf("it says that something is finished:\n%s", o.err)
	}
	for path, want := range map[string]string{"0.complete": "false", "0.left": "0", "0.stored": "0"} {
		if got, err := member(o.out, path); got != want {
			t.Errorf("%s is %q (%v), want %s", path, got, err, want)
		}
	}
	if n, err := member(o.out, "0.lost"); n == "0" {
		t.Errorf("%s are lost (%v)", n, err)
	}
	if problem, err := member(o.out, "0.problems.0"); err != nil {
		t.Errorf("the problem is %q (%v)", problem, err)
	}
	var s standing
	if reeve(t, environ, "import", "status", "--json").decode(t, &s); s.LastRun.Outcome != "partial" {
		t.Errorf("the last run was %q", s.LastRun.Outcome)
	}
}

// TestStatusTellsARunFromAKilledOne: a run goes on while its worker says that it is alive.
// What an older reeve has begun nobody knows.
func TestStatusTellsARunFromAKilledOne(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, address string) {
		t.Parallel()
		e := emulate(t, tenant.Options{})
		environ := e.client(t, "REEVE_DATABASE_URL="+address)
		reeve(t, environ, "import", "run", "--once").want(t, ok)
		db, err := store.Open(t.Context(), address, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		beat := func(lease time.Duration) {
			t.Helper()
			if _, _, err := db.Beat(t.Context(), 1, store.Worker{Name: "host/1/x", Role: "run", Started: time.Now()}, lease, "audit", func(p store.Pace, _ time.Time) store.Pace { return p }); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		for _, test := range []struct {
			what, worker  string
			lease         time.Duration
			text, outcome string
		}{
			{"its worker is alive", "host/1/x", time.Hour, ", running\n", "running"},
			{"its worker is silent", "host/1/x", -time.Second, ", ended without a word (killed?); the next one goes on from there\n", "ended without a word"},
			{"its worker is gone", "host/2/y", time.Hour, ", ended without a word (killed?); the next one goes on from there\n", "ended without a word"},
			{"nobody knows its worker", "", time.Hour, ", still running, or killed\n", ""},
		} {
			begun = begun.Add(time.Second)
			beat(test.lease)
			if err := db.Ledger(1, "audit").As(test.worker).Begin(t.Context(), begun); err != nil {
				t.Fatal(err)
			}
			o := reeve(t, environ, "import", "status")
			o.want(t, ok)
			if !strings.Contains(o.out, "last run: ") || !strings.Contains(o.out, test.text) {
				t.Errorf("%s: it lacks %q:\n%s", test.what, test.text, o.out)
			}
			o = reeve(t, environ, "import", "status", "--json")
			if got, err := member(o.out, "last_run.outcome"); err != nil || got != test.outcome {
				t.Errorf("%s: the outcome is %q, want %q (%v)", test.what, got, test.outcome, err)
			}
			for _, name := range []string{"stored", "detail", "ended"} {
				if got, err := member(o.out, "last_run."+name); err == nil {
					t.Errorf("%s: it has %s %q, of which nobody knows", test.what, name, got)
				}
			}
		}
		// Its end is as it says, whatever stood there before.
		if err := db.Ledger(1, "audit").End(t.Context(), begun, begun, "partial", 7, "3 left"); err != nil {
			t.Fatal(err)
		}
		if o := reeve(t, environ, "import", "status"); !strings.Contains(o.out, ", partial, 7 stored, 3 left\n") {
			t.Errorf("%s", o.out)
		}
	})
}
