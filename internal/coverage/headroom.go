package coverage

import (
	"slices"
	"time"
)

// Headroom says whether reading keeps up.
type Headroom struct {
	Arriving float64 `json:"arriving_per_hour"` // blobs, over the last day
	Readable float64 `json:"readable_per_hour"` // blobs, were there nothing but reading to do
	// Ratio is how many times as much could be read as arrives.
	Ratio float64 `json:"ratio"`
}

// Enough is the least ratio with which an import is at ease: below it, a backlog does
// not go away.
const Enough = 1.2

// Tight tells whether the rate of reading does not suffice.
func (h *Headroom) Tight() bool { return h != nil && h.Ratio < Enough }

// span is the time that the headroom is told from: a day, since tenants sleep at night.
const span = 24 * time.Hour

// headroom compares what arrives with what can be read. It is nil if nothing was read
// with a clock running, and so nobody knows.
func headroom(f Facts, now time.Time) *Headroom {
	since := now.Add(-span)
	arrived, waiting := 0, 0
	first := now
	for _, w := range f.Windows {
		waiting += w.Blobs - w.Read
		if w.End.After(since) && w.Listings > 0 {
			arrived += w.Blobs
			if w.Start.Before(first) {
				first = w.Start
			}
		}
	}
	if first.Before(since) {
		first = since
	}
	var read int64
	var busy, at, together time.Duration
	var until time.Time
	rates := slices.Clone(f.Rates)
	slices.SortFunc(rates, func(a, b Rate) int { return a.From.Compare(b.From) })
	for _, r := range rates {
		if !r.To.After(since) {
			continue
		}
		read += r.Blobs
		busy += r.Busy
		// Processes that work at the same time add up; one after the other, they do not.
		at += r.To.Sub(r.From)
		if r.From.Before(until) {
			r.From = until
		}
		if r.To.After(until) {
			together += r.To.Sub(r.From)
			until = r.To
		}
	}
	hours := now.Sub(first).Hours()
	if arrived == 0 || hours <= 0 || read == 0 && waiting == 0 || read > 0 && busy < time.Second {
		return nil
	}
	h := &Headroom{Arriving: float64(arrived) / hours}
	if read > 0 {
		h.Readable = float64(read) / busy.Hours()
		if together > 0 {
			h.Readable *= float64(at) / float64(together)
		}
	}
	h.Ratio = h.Readable / h.Arriving
	return h
}
