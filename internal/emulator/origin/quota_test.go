package origin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

func TestQuota(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	q := &origin.Quota{Most: 2, Per: time.Minute}
	take := func(pool string, at time.Duration, want bool) {
		t.Helper()
		if ok, wait := q.Take(pool, now.Add(at)); ok != want || !ok && (wait <= 0 || wait > time.Minute) {
			t.Errorf("pool %q at %s: %v, wait %s", pool, at, ok, wait)
		}
	}
	take("a", 0, true)
	take("a", time.Second, true)
	take("a", 2*time.Second, false)
	take("b", 2*time.Second, true)
	take("a", time.Minute-1, false)
	take("a", time.Minute, true)
	take("a", -time.Hour, true) // the clock was set back
	for i := range 2000 {
		q.Take(fmt.Sprint("other ", i), now.Add(-time.Hour))
	}
	take("one more", -time.Hour, false)
	q = &origin.Quota{Per: time.Minute}
	for range 10 {
		take("a", 0, true)
	}
}
