package credential

import (
	"math/rand/v2"
	"testing"
	"time"
)

func mustWindow(t testing.TB, s string) Window {
	t.Helper()
	w, err := ParseWindow(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustTime(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestAllowed finds the first time in a window.
func TestAllowed(t *testing.T) {
	for what, c := range map[string]struct{ window, from, want string }{
		"before it":                 {"02:00-06:00", "2026-06-10T01:00:00Z", "2026-06-10T02:00:00Z"},
		"at its beginning":          {"02:00-06:00", "2026-06-10T02:00:00Z", "2026-06-10T02:00:00Z"},
		"in it":                     {"02:00-06:00", "2026-06-10T05:59:59Z", "2026-06-10T05:59:59Z"},
		"at its end":                {"02:00-06:00", "2026-06-10T06:00:00Z", "2026-06-11T02:00:00Z"},
		"in another zone":           {"02:00-06:00 Europe/Berlin", "2026-06-10T04:30:00Z", "2026-06-11T00:00:00Z"},
		"on another day there":      {"Thu 00:00-01:00 Pacific/Auckland", "2026-06-10T11:00:00Z", "2026-06-10T12:00:00Z"},
		"over midnight, before":     {"22:00-04:00", "2026-06-10T12:00:00Z", "2026-06-10T22:00:00Z"},
		"over midnight, after":      {"22:00-04:00", "2026-06-10T03:00:00Z", "2026-06-10T03:00:00Z"},
		"over the week's end":       {"Sat 22:00-04:00", "2026-06-14T03:59:00Z", "2026-06-14T03:59:00Z"},
		"after the week's end":      {"Sat 22:00-04:00", "2026-06-14T04:00:00Z", "2026-06-20T22:00:00Z"},
		"until midnight":            {"Mon 20:00-24:00", "2026-06-15T23:59:59Z", "2026-06-15T23:59:59Z"},
		"until midnight, over":      {"Mon 20:00-24:00", "2026-06-16T00:00:00Z", "2026-06-22T20:00:00Z"},
		"all day":                   {"Sun 00:00-24:00", "2026-06-13T12:00:00Z", "2026-06-14T00:00:00Z"},
		"several days":              {"Sat,Sun 02:00-06:00", "2026-06-13T07:00:00Z", "2026-06-14T02:00:00Z"},
		"a day of 23 hours":         {"Sun 01:00-04:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z"},
		"in the hour that is not":   {"Sun 02:00-03:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-04-05T00:00:00Z"},
		"half in that hour":         {"Sun 02:30-03:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-04-05T00:30:00Z"},
		"after that hour":           {"Sun 01:30-02:30 Europe/Berlin", "2026-03-29T00:45:00Z", "2026-03-29T00:45:00Z"},
		"a day of 25 hours":         {"Sun 01:00-04:00 Europe/Berlin", "2026-10-25T02:30:00Z", "2026-10-25T02:30:00Z"},
		"after a day of 25 hours":   {"Sun 01:00-04:00 Europe/Berlin", "2026-10-25T03:00:00Z", "2026-11-01T00:00:00Z"},
		"on a day with no midnight": {"Fri 03:00-04:00 Africa/Cairo", "2026-04-23T20:00:00Z", "2026-04-24T00:00:00Z"},
	} {
		t.Run(what, func(t *testing.T) {
			p := Policy{Windows: []Window{mustWindow(t, c.window)}}
			if got := p.Allowed(mustTime(t, c.from)); !got.Equal(mustTime(t, c.want)) {
				t.Errorf("from %s on: %v, want %s", c.from, got, c.want)
			}
		})
	}
}

// TestAllowedAlways, without windows, is now.
func TestAllowedAlways(t *testing.T) {
	if got := (Policy{}).Allowed(at); !got.Equal(at) {
		t.Error(got)
	}
}

// TestAllowedSoonest is in the window that begins first.
func TestAllowedSoonest(t *testing.T) {
	p := Policy{Windows: []Window{mustWindow(t, "Fri 01:00-02:00"), mustWindow(t, "Thu 01:00-02:00")}}
	if got, want := p.Allowed(at), mustTime(t, "2027-03-11T01:00:00Z"); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestAllowedEndsInAWindow tries times of ten years in zones with all kinds of clocks: it
// never goes back, is at most two weeks away, ends in the window by the wall clock there,
// and stays where it is when asked again.
func TestAllowedEndsInAWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"} {
		place, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			w := Window{From: time.Duration(rng.IntN(48)) * 30 * time.Minute, To: time.Duration(rng.IntN(48)) * 30 * time.Minute, Zone: zone}
			if w.From == w.To || w.check() != nil {
				continue
			}
			if rng.IntN(2) == 0 {
				w.Days = []time.Weekday{time.Weekday(rng.IntN(7))}
			}
			from := birth.Add(time.Duration(rng.Int64N(int64(3650 * day))))
			got := w.next(from)
			switch {
			case got.Before(from):
				t.Fatalf("%v from %v on: %v goes back", w, from, got)
			case got.Sub(from) > 15*day:
				t.Fatalf("%v from %v on: %v is too far", w, from, got)
			case !w.next(got).Equal(got):
				t.Fatalf("%v from %v on: %v, and then %v", w, from, got, w.next(got))
			}
			local := got.In(place)
			clock := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute
			in := clock >= w.From && clock < w.To
			if w.To < w.From {
				in = clock >= w.From || clock < w.To
			}
			// Where the clock is changed within it the hours may be off by that change.
			_, before := local.Add(-3 * time.Hour).Zone()
			if _, after := local.Add(3 * time.Hour).Zone(); !in && before == after {
				t.Fatalf("%v from %v on: %v is outside", w, from, local)
			}
		}
	}
}
