package keyvault

import (
	"net/http"
	"sync"
	"time"
)

// What the vault allows in any ten seconds. Costs are parts of budget, so that
// a limit of n is a cost of budget/n
// (https://learn.microsoft.com/azure/key-vault/general/service-limits).
const (
	window = 10 * time.Second
	budget = 12000

	costTransaction  = budget / 4000 // secrets, certificates, and keys of 2048 bits or on a curve
	cost3072         = budget / 1000
	cost4096         = budget / 500
	costKeyCreate    = budget / 20
	costSecretCreate = budget / 300 // [K]
)

// usage is what was asked of a vault lately.
type usage struct {
	mu     sync.Mutex // guards what follows
	always bool       // counts even in a calm tenant
	taken  map[string][]charge
}

type charge struct {
	at   time.Time
	cost int
}

// Limits makes the service's limits count, or not, even in a calm tenant. In
// one that is not calm they always count.
func (v *Vault) Limits(on bool) {
	v.usage.mu.Lock()
	defer v.usage.mu.Unlock()
	v.usage.always = on
}

// charge counts a request of a pool, and refuses it when the pool is used up.
// What is refused does not count.
func (v *Vault) charge(calm bool, pool string, cost int) error {
	u := &v.usage
	now := v.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if calm && !u.always {
		return nil
	}
	if u.taken == nil {
		u.taken = map[string][]charge{}
	}
	recent, sum := u.taken[pool][:0], cost
	for _, c := range u.taken[pool] {
		if age := now.Sub(c.at); age >= 0 && age < window {
			recent = append(recent, c)
			sum += c.cost
		}
	}
	u.taken[pool] = recent
	if sum > budget {
		return refuse(http.StatusTooManyRequests, "Throttled", "", "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached")
	}
	u.taken[pool] = append(recent, charge{now, cost})
	return nil
}

// keyCost is what an operation with a key costs.
func keyCost(k privateKey) int {
	switch kty, size, _ := k.kind(); {
	case kty == "RSA" && size > 3072:
		return cost4096
	case kty == "RSA" && size > 2048:
		return cost3072
	}
	return costTransaction
}
