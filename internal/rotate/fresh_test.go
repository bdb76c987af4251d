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
	policy := credential.Policy{}.Complete("https://graph.microsoft.com")
	made := func(i int, state credential.State, at time.Time) credential.Credential {
		id := fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
		end := at.Add(time.Duration(policy.Lifetime))
		return credential.Credential{ID: id, State: state, Origin: credential.Made, Planned: at, Since: at, Registered: at, Ready: at, Promoted: at, Probed: at,
			NotBefore: at, NotAfter: end, RenewAt: credential.RenewAt(id, at, end, policy)}
	}
	hasty := 0
	const pairs = 1000
	for i := range pairs {
		// Both as reeve makes them: the standby as soon as the other is active.
		active, standby := made(2*i, credential.Active, begin), made(2*i+1, credential.Standby, begin.Add(5*time.Minute))
		a := credential.Application{Mode: credential.On, Policy: policy, Observed: credential.Observation{At: active.RenewAt}, Credentials: []credential.Credential{active, standby}}
		for _, s := range credential.Plan(active.RenewAt, a, credential.UsualRhythm) {
			if s.Action == credential.Advance && s.Due(active.RenewAt) && standby.RenewAt.Sub(active.RenewAt) < 20*24*time.Hour {
				hasty++
			}
		}
	}
	if hasty > 0 {
		t.Errorf("of %d renewals %d promote a certificate that is due itself within 20 days", pairs, hasty)
	}
}
