package registration

import (
	"context"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// One token with the permissions is the proof, and that is told at once; while a front end
// gives out others, it is asked until several in a row carry them.
func TestTokensInARow(t *testing.T) {
	t.Parallel()
	for odd := range 2 + inARow {
		w := newWorld(t)
		client := w.Tenant.Client()
		app := w.Tenant.Directory.NewApplication("importer")
		if _, err := w.Tenant.Directory.AddKeyCredential(app.AppID, client.Certificate.Raw, time.Time{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(5 * time.Minute)
		if err := w.Tenant.Directory.GrantRole(app.AppID, directory.Graph, "User.Read.All"); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(time.Minute)
		w.Inject(emulator.Fault{API: "authority", Operation: "token", Kind: "stale-read", After: odd, Times: 1, Delay: 2 * time.Minute})
		slept, provedAfter := 0, -1
		p := &Prover{Prover: m365.Prover{Cloud: w.cloud, HTTP: w.HTTPClient(), Now: w.clock.Now}, Uses: w.wanted("users").Uses, Patience: UsualPatience, Say: func(string) {},
			Proved:  func([]Proof) { provedAfter = slept },
			Sleep:   func(ctx context.Context, d time.Duration) error { slept++; w.clock.Add(d); return ctx.Err() },
			Request: m365.ProofRequest{TenantID: w.Tenant.ID, ClientID: app.AppID, Pair: pki.Pair{Certificate: client.Certificate, Key: client.Key}}}
		proofs, err := p.Prove(t.Context())
		if err == nil {
			err = Check(proofs)
		}
		if err != nil {
			t.Fatal(err)
		}
		if waited := slept > 0; waited != (odd < 1+inARow) {
			t.Errorf("token %d lacks the permission, and it was waited %d times", odd+1, slept)
		}
		if (provedAfter > 0) != (odd == 0) || provedAfter < 0 {
			t.Errorf("token %d lacks the permission, and it was proved when it had been waited %d times", odd+1, provedAfter)
		}
	}
}
