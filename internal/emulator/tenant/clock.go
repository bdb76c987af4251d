package tenant

import (
	"sync/atomic"
	"time"
)

// clock is the tenant's clock: another that was set forward or back.
type clock struct {
	base  func() time.Time
	ahead atomic.Int64 // of base, in nanoseconds
}

func (c *clock) Now() time.Time { return c.base().Add(time.Duration(c.ahead.Load())) }

// mostAhead is how far the clock can be moved in all, either way: what is
// dated by it stays something that every client can write.
const mostAhead = 20 * 365 * 24 * time.Hour

// Step moves the tenant's clock, back when d is negative, as somebody does who
// sets a machine's; not farther than 20 years in all. Lags of replicas are not
// measured by it.
func (t *Tenant) Step(d time.Duration) {
	d = min(max(d, -2*mostAhead), 2*mostAhead)
	for {
		was := t.clock.ahead.Load()
		next := min(max(time.Duration(was)+d, -mostAhead), mostAhead)
		if t.clock.ahead.CompareAndSwap(was, int64(next)) {
			return
		}
	}
}

// Ahead returns how far the tenant's clock was moved in all.
func (t *Tenant) Ahead() time.Duration { return time.Duration(t.clock.ahead.Load()) }
