package credential

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"
)

// What is waited for, and how often something is asked. The numbers have their reasons
// in docs/rotation.md.
const (
	// ReadsNeeded is how often in a row Graph must show a change before all of its replicas
	// are believed to.
	ReadsNeeded = 5
	readGap     = time.Second // between two reads
	readWithin  = 15 * time.Minute
	// StaleFor is how long a replica of Graph may lag.
	StaleFor = 35 * time.Second

	// firstProbe spares Entra ID's front ends a question whose refusal they would
	// remember for minutes.
	firstProbe   = 40 * time.Second
	probeGap     = 30 * time.Second
	proofsNeeded = 3
	proofSpan    = time.Minute
	proveWithin  = 30 * time.Minute
	// FreshProof is how old a proof may be when something is decided by it.
	FreshProof = 10 * time.Minute

	writeGap    = 5 * time.Second // between two changes of one application
	lostAfter   = time.Minute     // of not being shown, and refused: then somebody has removed it, and no replica lags
	refusedFor  = time.Minute     // of refusals, before the active one that Graph shows is given up
	silentAfter = 3 * day         // of a consumer that does not speak any more
	skewAllowed = 5 * time.Minute // Entra ID's own tolerance

	// SkewKnown is how long a clock that was seen to be off is believed to be, unless it
	// is seen again; askClock how soon that is tried.
	SkewKnown = time.Hour
	askClock  = 5 * time.Minute

	askAgain   = 30 * time.Minute // while Entra ID and the record disagree
	comeWithin = 3 * day          // of one that is stuck, before another is tried in its place

	vanishings  = 5 // of a new credential at Entra ID, before another is tried in its place
	maxFailures = 3 // of new credentials in a row, before a person should look
)

// Rhythm says how often an application is looked at, and its certificates are proved
// again.
type Rhythm struct {
	Look     time.Duration
	Rehearse time.Duration
}

// UsualRhythm is what reeve does unless told otherwise.
var UsualRhythm = Rhythm{Look: 15 * time.Minute, Rehearse: day}

// share is a number in [0,1) that belongs to an ID: always the same, and spread evenly
// over IDs, so that nothing has to be coordinated or stored.
func share(id, purpose string) float64 {
	sum := sha256.Sum256([]byte(purpose + "\x00" + id))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// next is the first time after t at which it is the turn of an ID, if each has one turn
// in every period.
func next(t time.Time, every time.Duration, id, purpose string) time.Time {
	every = max(every, time.Minute)
	phase := time.Duration(share(id, purpose) * float64(every))
	n := t.Truncate(every).Add(phase)
	if !n.After(t) {
		n = n.Add(every)
	}
	return n
}

// RenewAt is when a certificate is due to be replaced: renew-before its end, and up to a
// tenth of that earlier, by its ID, so that certificates made in one minute are not all
// replaced in one. An authority may give less time than the policy asks for: some of it
// is for use in any case.
func RenewAt(id string, notBefore, notAfter time.Time, p Policy) time.Time {
	life := notAfter.Sub(notBefore)
	before := min(p.RenewBefore.Of(life), life-min(2*day, life/3))
	spread := min(before/10, (life-before)/4)
	return notAfter.Add(-before - time.Duration(share(id, "renew")*float64(spread))).UTC()
}

// Emergency is when the windows of a policy do not count any more: a twentieth of its
// lifetime before a certificate ends, and not before half of the time is over in which
// it ought to be replaced.
func (c Credential) Emergency() time.Time {
	return c.NotAfter.Add(-min(c.lifetime()/20, c.NotAfter.Sub(c.RenewAt)/2))
}

// old is when a standby is not young enough any more to become the active one. That is a
// while before an active one made with it can be due, so that a fresh one waits by then,
// and what becomes the active one is not itself due a few days later.
func (c Credential) old() time.Time {
	spread := min(c.NotAfter.Sub(c.RenewAt)/10, c.use()/3)
	return c.soon().Add(-spread)
}

// use is how long a certificate is meant to be in use.
func (c Credential) use() time.Duration { return c.RenewAt.Sub(c.NotBefore) }

// soon is when the one that takes over from an active one should be there.
func (c Credential) soon() time.Time { return c.RenewAt.Add(-min(2*day, c.use()/8)) }

// lasts reports whether a standby that takes over at a time is then in use for at least
// half as long as it was meant to be.
func (c Credential) lasts(t time.Time) bool { return c.RenewAt.Sub(t) >= c.use()/2 }

// good reports whether a standby is young enough to become the active one.
func (c Credential) good(now time.Time) bool { return now.Before(c.old()) }

// Backoff is how long to wait after so many failures of one step in a row: 15 seconds
// doubled for each, up to six hours, and of that a share between a half and all, by ID.
func Backoff(id string, attempts int) time.Duration {
	d := math.Min(float64(15*time.Second)*math.Pow(2, float64(max(attempts, 1)-1)), float64(6*time.Hour))
	u := share(id, "backoff"+time.Duration(attempts).String())
	return time.Duration(d * (0.5 + u/2))
}
