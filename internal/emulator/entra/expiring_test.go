package entra

import (
	"strconv"
	"testing"
	"time"
)

func TestExpiringForgets(t *testing.T) {
	var held expiring[int]
	now := time.Unix(1000, 0)
	for i := range 10_000 {
		now = now.Add(time.Second)
		held.put(strconv.Itoa(i), i, now.Add(time.Minute), now)
	}
	if n := len(held.held); n > 1000 {
		t.Errorf("%d things are held, of which 61 have not expired", n)
	}
	if v, ok := held.get("9950", now); !ok || v != 9950 {
		t.Errorf("what has not expired: %d, %v", v, ok)
	}
	if _, ok := held.get("9938", now); ok {
		t.Error("what has expired is held")
	}
}
