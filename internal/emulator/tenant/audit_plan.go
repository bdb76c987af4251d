package tenant

import (
	"math"
	"time"
)

// The calendar: how many events there are in each quarter of an hour, and how
// they are cut into blobs.

const (
	quarter         = 15 * 60 // seconds
	quartersPerDay  = 24 * 4
	quartersPerWeek = 7 * quartersPerDay
	daySeconds      = 24 * 60 * 60
	never           = math.MaxUint64 // blob.shown of a late blob that no listing has covered yet
)

// hourly is how a working day's activity is spread over the hours on the
// office's clock, with a dip at lunch. It sums to one.
var hourly = [24]float64{
	0: .001, 1: .001, 2: .001, 3: .001, 4: .001, 5: .003, 6: .011, 7: .038,
	8: .086, 9: .115, 10: .118, 11: .100, 12: .047, 13: .088, 14: .117, 15: .109,
	16: .085, 17: .045, 18: .014, 19: .008, 20: .006, 21: .003, 22: .001, 23: .001,
}

// weekend is how busy a day off is beside a working day.
const weekend = 0.04

// services is how much the service accounts do beside the people, most of it
// between 22:00 and 04:00 UTC.
const services = 0.05

// weekQuarter returns the quarter of the week, counted from Sunday 00:00, in
// which a second lies. 1 January 1970 was a Thursday.
func weekQuarter(unix int64) int {
	q := (unix/quarter + 4*quartersPerDay) % quartersPerWeek
	return int((q + quartersPerWeek) % quartersPerWeek)
}

// officeWeight returns the share of a working day's activity that people on a
// clock so many minutes ahead of UTC show in the quarter that begins at unix.
func officeWeight(unix int64, ahead int) float64 {
	q := weekQuarter(unix + int64(ahead)*60)
	w := hourly[q%quartersPerDay/4] / 4
	if day := q / quartersPerDay; day == 0 || day == 6 {
		w *= weekend
	}
	return w
}

// serviceWeight is the same for the service accounts.
func serviceWeight(unix int64) float64 {
	if hour := unix / 3600 % 24; hour >= 22 || hour < 4 {
		return 3.0 / (6*3 + 18) / 4
	}
	return 1.0 / (6*3 + 18) / 4
}

// weight returns how much happens in the quarter that begins at unix, in
// person-days; it is zero outside the time that the log covers.
func (l *AuditLog) weight(unix int64) float64 {
	if unix < l.begin || l.end != 0 && unix+quarter > l.end {
		return 0
	}
	return l.actors.week[weekQuarter(unix)].total
}

// startPlan fixes from where and how densely content is planned; l.mu is held.
func (l *AuditLog) startPlan(now time.Time) {
	l.planned = l.begin / daySeconds
	if l.opts.Users <= 0 {
		l.planned = math.MaxInt64
	}
	if l.opts.Total == 0 {
		l.scale = float64(l.opts.PerUser)
		return
	}
	// All of it is to be available now, so the events end before the longest
	// ordinary delay.
	l.end = now.Unix() - 2*60*60
	sum := 0.0
	for t := l.planned * daySeconds; t < l.end; t += quarter {
		sum += l.weight(t)
	}
	if sum > 0 {
		l.scale = float64(l.opts.Total) / sum
	}
}

// extend plans the days that the clock has reached; l.mu is held.
func (l *AuditLog) extend(now time.Time) {
	if l.planned > now.Unix()/daySeconds {
		return
	}
	for ; l.planned <= now.Unix()/daySeconds; l.planned++ {
		if l.end != 0 && l.planned*daySeconds > l.end {
			l.planned = math.MaxInt64 // all is planned
			break
		}
		for t := range contentTypes {
			l.planDay(t, l.planned)
		}
	}
	for i := range l.feeds {
		l.feeds[i].reorder()
	}
}

// planDay plans one content type for one day, given in days since 1970.
func (l *AuditLog) planDay(t int, day int64) {
	f := &l.feeds[t]
	c := cutter{log: l, feed: f, base: mix(l.opts.Seed, uint64(day)<<8|uint64(t))}
	for q := range int64(quartersPerDay) {
		at := day*daySeconds + q*quarter
		expected := l.weight(at) * l.scale * contentTypes[t].share
		if l.opts.Total == 0 {
			// No two hours are alike.
			expected *= 0.6 + 0.8*unit(mix(c.base, uint64(q)))
		}
		// Rounding carries over, so that the total is exact.
		l.carry += expected
		n := math.Floor(l.carry + 1e-6)
		l.carry -= n
		c.add(at, int(n))
	}
	end := (day + 1) * daySeconds
	if l.end != 0 {
		end = min(end, l.end)
	}
	c.cut(end)
}

// cutter cuts a stream of events into blobs.
type cutter struct {
	log     *AuditLog
	feed    *contentFeed
	base    uint64
	blobs   uint64 // cut so far
	pending int    // records that wait for their blob
	from    int64  // since when they wait
	size    int    // how many the blob is to have
}

// longestSpan is how long events wait for their blob to fill.
const longestSpan = 30 * 60

// add adds the events of the quarter of an hour that begins at a second.
func (c *cutter) add(at int64, n int) {
	for left := n; left > 0; {
		if c.pending == 0 {
			c.from = at + int64(n-left)*quarter/int64(n)
			c.size = c.log.blobSize(mix(c.base, c.blobs<<8|1))
		}
		take := min(left, c.size-c.pending)
		c.pending += take
		left -= take
		if c.pending == c.size {
			c.cut(at + int64(n-left)*quarter/int64(n))
		}
	}
	if c.log.opts.BlobRecords == 0 && c.pending > 0 && at+quarter-c.from >= longestSpan {
		c.cut(at + quarter)
	}
}

// blobSize returns how many records a blob is to have: as told, or varying from
// 1 to 120 with small ones more frequent, as the service does it.
func (l *AuditLog) blobSize(h uint64) int {
	if l.opts.BlobRecords > 0 {
		return l.opts.BlobRecords
	}
	u := unit(h)
	return 1 + int(119.999*u*math.Sqrt(u))
}

// cut makes a blob of what is pending, with events that end before to.
func (c *cutter) cut(to int64) {
	if c.pending == 0 {
		return
	}
	b := blob{
		key:     mix(c.base, c.blobs<<8|2),
		from:    c.from,
		to:      max(to, c.from+1),
		records: int32(c.pending),
	}
	b.created = b.to*1000 + c.log.latency(b.key)
	if !c.log.opts.Calm && mix(b.key, 3)%50 == 0 {
		b.shown = never
	}
	c.feed.blobs = append(c.feed.blobs, b)
	c.blobs++
	c.pending = 0
}

// latency returns the milliseconds from the last event of a blob to its
// creation: 5 to 60 minutes, which with the time that events wait for their
// blob makes 5 to 90, and hours for a few.
func (l *AuditLog) latency(key uint64) int64 {
	u := unit(mix(key, 4))
	ms := int64((5 + 55*u*u) * 60e3)
	if !l.opts.Calm && l.opts.Total == 0 && mix(key, 5)%40 == 0 {
		ms += int64((1 + 7*u) * 3600e3)
	}
	return ms
}

// mix scrambles two numbers into one (SplitMix64's finisher, twice), so that
// whatever is derived from neighboring numbers is unrelated.
func mix(a, b uint64) uint64 {
	return scramble(scramble(a+0x9e3779b97f4a7c15) ^ b*0xd1342543de82ef95)
}

func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit maps a scrambled number to [0, 1).
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }
