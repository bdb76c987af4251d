package rotate

import (
	"fmt"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
)

// TestARenewalLasts looks at what is promoted when an active certificate is due: it must
// not be due itself a few days later, whatever the ids of the two are, by which their
// times are spread.
func TestARenewalLasts(t *testing.T) {
	// A rule that promotes none that would soon be due itself was tried: with it the
	// simulated years of package credential did not end.
	t.Skip("not mended yet: one certificate in three is in use for less than half of its time")
	policy := credential.Policy{}.Complete("https://graph.microsoft.com")
	made := func(i int, state credential.State, at time.Time) credential.Credential {
		id := fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
		end := at.Add(time.Duration(policy.Lifetime))
		return credential.Credential{ID: id, State: state, Origin: credential.Made, Planned: at, Since: at, Registered: at, Ready: at, Promoted: at, Probed: at,
			NotBefore: at, NotAfter: end, RenewAt: credential.RenewAt(id, at, end, policy)}
	}
	hasty := 0
	for i := range 3000 {
		// The active one was the standby for a while before it was promoted, and then the
		// present standby was made.
		waited := time.Duration(i%15) * 24 * time.Hour
		active, standby := made(2*i, credential.Active, begin), made(2*i+1, credential.Standby, begin.Add(waited+5*time.Minute))
		active.Promoted = begin.Add(waited)
		due := active.RenewAt
		a := credential.Application{Mode: credential.On, Policy: policy, Observed: credential.Observation{At: due}, Credentials: []credential.Credential{active, standby}}
		for _, s := range credential.Plan(due, a, credential.UsualRhythm) {
			if s.Action == credential.Advance && s.Due(due) && standby.RenewAt.Sub(due) < standby.RenewAt.Sub(standby.NotBefore)/2 {
				hasty++
			}
		}
	}
	if hasty > 0 {
		t.Errorf("of 3000 renewals %d promote a certificate that is due itself before half of its time is over", hasty)
	}
}
