package credential

import (
	"fmt"
	"testing"
	"time"
)

// TestRenewalsAreSpread makes ten thousand certificates in one second: the busiest hour
// of their renewals has at most twice the mean.
func TestRenewalsAreSpread(t *testing.T) {
	p := Policy{}.Complete(token)
	const n = 10000
	begin, end := at, at.Add(time.Duration(p.Lifetime))
	hours := map[int64]int{}
	first, last := end, begin
	for i := range n {
		r := RenewAt(fmt.Sprint("credential ", i), begin, end, p)
		hours[r.Unix()/3600]++
		if r.Before(first) {
			first = r
		}
		last = later(last, r)
	}
	mean := n / (last.Sub(first).Hours() + 1)
	for h, count := range hours {
		// The mean is 69 an hour; 138 are 8 standard deviations more.
		if float64(count) > 2*mean {
			t.Errorf("hour %d has %d renewals, the mean is %.1f", h, count, mean)
		}
	}
	if latest := end.Add(-60 * day); last.After(latest) || first.Before(latest.Add(-6*day)) {
		t.Errorf("renewals from %v to %v, not in the six days before %v", first, last, latest)
	}
}

// TestRenewAt is stable, and leaves time for use under every policy that is accepted,
// and under one that does not fit the certificate.
func TestRenewAt(t *testing.T) {
	p := Policy{}.Complete(token)
	if a, b := RenewAt("x", at, at.Add(90*day), p), RenewAt("x", at, at.Add(90*day), p); !a.Equal(b) {
		t.Errorf("%v, then %v", a, b)
	}
	for _, before := range []Before{{Share: 0.02}, {Share: 1.0 / 3}, {Share: 0.9}, {Span: Span(day)}, {Span: Span(28 * day)}, {Span: Span(365 * day)}} {
		for _, days := range []int{1, 7, 30, 180, 1095, 7300} {
			p.RenewBefore = before
			c := Credential{ID: "x", NotBefore: at, NotAfter: at.Add(time.Duration(days) * day)}
			c.RenewAt = RenewAt(c.ID, c.NotBefore, c.NotAfter, p)
			if !c.NotBefore.Before(c.old()) || !c.old().Before(c.RenewAt) || !c.RenewAt.Before(c.Emergency()) || !c.Emergency().Before(c.NotAfter) {
				t.Errorf("%v of %d days: old %v, renewed %v, emergency %v", before, days, c.old(), c.RenewAt, c.Emergency())
			}
		}
	}
}

// TestStandbyIsReplacedFirst promotes no standby that was made with the active one and
// would be due itself a few days later.
func TestStandbyIsReplacedFirst(t *testing.T) {
	p := Policy{}.Complete(token)
	for i := range 1000 {
		made := func(id string) Credential {
			c := Credential{ID: fmt.Sprint(id, i), NotBefore: at, NotAfter: at.Add(180 * day)}
			c.RenewAt = RenewAt(c.ID, c.NotBefore, c.NotAfter, p)
			return c
		}
		if active, standby := made("a"), made("s"); standby.good(active.RenewAt) {
			t.Fatalf("at %v the standby is taken for young, and is due at %v", active.RenewAt, standby.RenewAt)
		}
	}
}

// TestBackoff waits between a half and all of 15 seconds doubled, up to six hours.
func TestBackoff(t *testing.T) {
	for attempts := -1; attempts < 2000; attempts++ {
		want := 6 * time.Hour
		if n := max(attempts, 1) - 1; n < 12 {
			want = min(want, 15*time.Second<<n)
		}
		for _, id := range []string{"a", "b", "c"} {
			if got := Backoff(id, attempts); got < want/2 || got > want {
				t.Errorf("%s, %d attempts: %v, want %v to %v", id, attempts, got, want/2, want)
			}
		}
	}
	if again := Backoff("a", 3); again != Backoff("a", 3) || again == Backoff("b", 3) {
		t.Error("it is not by ID")
	}
}

// TestNext gives each ID one turn in every period, always later than now.
func TestNext(t *testing.T) {
	for _, every := range []time.Duration{0, time.Nanosecond, time.Minute, 15 * time.Minute, day, 30 * day} {
		now := at
		for i := range 200 {
			n := next(now, every, fmt.Sprint(i%3), "look")
			if !n.After(now) || n.Sub(now) > max(every, time.Minute) {
				t.Fatalf("each %v: %v after %v", every, n, now)
			}
			now = n.Add(time.Duration(i%7) * time.Second)
		}
	}
}

// TestShare is even.
func TestShare(t *testing.T) {
	var tenths [10]int
	for i := range 10000 {
		s := share(fmt.Sprint(i), "test")
		if s < 0 || s >= 1 {
			t.Fatal(s)
		}
		tenths[int(s*10)]++
	}
	for i, n := range tenths {
		if n < 880 || n > 1120 { // four standard deviations
			t.Errorf("tenth %d has %d of 10000", i, n)
		}
	}
}
