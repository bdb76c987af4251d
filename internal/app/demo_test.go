package app

import (
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// A demo does not take for missing what the tenant has published since the
// import looked.
func TestAccountWhileTheTenantGoesOn(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	state, err := tenant.New(tenant.Options{Users: 5, Days: 1, PerUser: 50, Calm: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	e, err := emulator.Start(emulator.Options{Tenant: state, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := t.TempDir()
	environ, err := e.WriteClient(filepath.Join(dir, "client"))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{Streams: Streams{Out: io.Discard, Err: io.Discard}, now: now}
	p.environ = append(environ, "REEVE_DATABASE_URL=sqlite:"+filepath.Join(dir, "reeve.db"), "REEVE_FEEDS_AUDIT_DAYS=2")
	p.root()
	c, err := p.load(true)
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.setup(t.Context(), c, logger(io.Discard, c))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	began := state.Now()
	if _, err := a.cycle(t.Context(), true, backfill{}, nil); err != nil {
		t.Fatal(err)
	}
	before, err := a.account(t.Context(), state, began)
	if err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(72 * time.Hour)) // a working day is among any three
	after, err := a.account(t.Context(), state, began)
	if err != nil {
		t.Fatal(err)
	}
	if before.Generated == 0 || before.Missing != 0 || after.Generated != before.Generated || after.Missing != 0 {
		t.Errorf("generated %d and later %d, missing %d and later %d",
			before.Generated, after.Generated, before.Missing, after.Missing)
	}
	// What was published before, and is not there, is missing.
	if late, err := a.account(t.Context(), state, state.Now()); err != nil || late.Missing == 0 || len(late.MissingIDs) == 0 {
		t.Errorf("missing %+v, %v", late, err)
	}
}
