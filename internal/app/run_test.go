package app_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
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
