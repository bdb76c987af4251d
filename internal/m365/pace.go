package m365

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// A Pace bounds how often an API is asked, retries included: so many requests in any
// minute, as fast as they come; and while it is slow, evenly spread. Who owns it says how
// many, and is told when the API throttles. It is safe for use by several goroutines.
type Pace struct {
	mu        sync.Mutex
	most      int                 // requests in a minute; 0: any number
	apart     time.Duration       // between two requests
	notBefore time.Time           // the API asked to be left alone until then
	sent      []time.Time         // of the last minute, oldest first
	changed   chan struct{}       // closed when another pace is set
	throttled func(time.Duration) // told that the API throttles, and how long it asked to wait
}

// NewPace makes a pace without a bound. throttled must not block; it may be nil.
func NewPace(throttled func(after time.Duration)) *Pace {
	if throttled == nil {
		throttled = func(time.Duration) {}
	}
	return &Pace{changed: make(chan struct{}), throttled: throttled}
}

// Set bounds the requests of a minute; 0 is no bound. Slow ones are spread evenly. Before
// a time nothing is asked.
func (p *Pace) Set(perMinute int, slow bool, notBefore time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	apart := time.Duration(0)
	if slow && perMinute > 0 {
		apart = time.Minute / time.Duration(perMinute)
	}
	if p.most == perMinute && p.apart == apart && !notBefore.After(p.notBefore) {
		return
	}
	p.most, p.apart = perMinute, apart
	if notBefore.After(p.notBefore) {
		p.notBefore = notBefore
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// longestPause is the longest that a request waits for its turn because the API asked to
// be left alone: else the caller is told how long that is.
const longestPause = time.Minute

// wait waits for a request's turn.
func (p *Pace) wait(ctx context.Context) error {
	for {
		now := time.Now()
		p.mu.Lock()
		at := p.turn(now)
		if !at.After(now) {
			p.sent = append(p.sent, now)
			p.mu.Unlock()
			return ctx.Err()
		}
		changed, pause := p.changed, p.notBefore.Sub(now)
		p.mu.Unlock()
		if pause > longestPause {
			return &Error{Kind: ErrThrottled, RetryAfter: pause, Err: errLeftAlone}
		}
		timer := time.NewTimer(at.Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

var errLeftAlone = errors.New("the API asked to be left alone")

// turn is the earliest time for another request; p.mu is held.
func (p *Pace) turn(now time.Time) time.Time {
	at := now
	if p.notBefore.After(at) {
		at = p.notBefore
	}
	old := 0
	for old < len(p.sent) && now.Sub(p.sent[old]) >= time.Minute {
		old++
	}
	p.sent = p.sent[:copy(p.sent, p.sent[old:])]
	if p.most == 0 {
		p.sent = p.sent[:0]
		return at
	}
	if n := len(p.sent); n >= p.most {
		at = later(at, p.sent[n-p.most].Add(time.Minute))
	}
	if n := len(p.sent); n > 0 {
		at = later(at, p.sent[n-1].Add(p.apart))
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// slow is told that the API throttles: what waits, waits at least as long as it asked for.
func (p *Pace) slow(after time.Duration) {
	p.mu.Lock()
	p.notBefore = later(p.notBefore, time.Now().Add(min(after, time.Duration(math.MaxInt64)/2)))
	p.mu.Unlock()
	p.throttled(after)
}

// paced is the pace as a policy for each try.
type paced struct {
	pace     *Pace
	classify func(*Error)
}

func (d paced) Do(req *policy.Request) (*http.Response, error) {
	if err := d.pace.wait(req.Raw().Context()); err != nil {
		return nil, err
	}
	resp, err := req.Next()
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	e := ReadError("", resp)
	d.classify(e)
	if errors.Is(e, ErrThrottled) {
		d.pace.slow(e.RetryAfter)
	}
	return resp, nil
}
