package tenant

import (
	"math"
	"testing"
	"time"
)

func TestStep(t *testing.T) {
	base := time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC)
	tn := mustNew(t, Options{Now: func() time.Time { return base }})
	for _, test := range []struct{ step, ahead time.Duration }{
		{0, 0}, {time.Hour, time.Hour}, {-3 * time.Hour, -2 * time.Hour},
		{math.MinInt64, -mostAhead}, {math.MaxInt64, mostAhead}, {math.MaxInt64, mostAhead}, {-mostAhead, 0},
	} {
		tn.Step(test.step)
		if tn.Ahead() != test.ahead || !tn.Now().Equal(base.Add(test.ahead)) || !tn.Audit.Now().Equal(tn.Now()) {
			t.Errorf("after %s the clock is %s ahead and shows %s, and the audit log's %s", test.step, tn.Ahead(), tn.Now(), tn.Audit.Now())
		}
	}
}
