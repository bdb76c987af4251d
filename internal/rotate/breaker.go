package rotate

import (
	"errors"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
)

// Services that may be down as a whole.
const (
	serviceGraph = "graph"
	serviceToken = "token"
)

// service names the service that a step needs first of all.
func service(a credential.Action) string {
	switch a {
	case credential.Look, credential.Register, credential.Find, credential.Confirm, credential.Remove, credential.SeeGone:
		return serviceGraph
	case credential.Prove, credential.Advance, credential.Withdraw, credential.SeeRefused:
		return serviceToken
	}
	return ""
}

// breakers keep ten thousand applications from hammering a service that is down: after
// so many failures in a row, whoever's, nobody asks for a while, and then one does.
type breakers struct {
	mu sync.Mutex
	of map[string]*breaker
}

type breaker struct {
	failures int
	closed   time.Time // until when nobody asks
}

const (
	breakerFailures = 8
	breakerFirst    = 5 * time.Second
	breakerLongest  = 5 * time.Minute
)

// until is until when a service is not to be asked; zero if it may be asked now. Whoever
// is the first to ask after a pause keeps the others waiting.
func (b *breakers) until(service string, now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.of[service]
	if x == nil || x.failures < breakerFailures {
		return time.Time{}
	}
	if now.Before(x.closed) && x.closed.Sub(now) <= breakerLongest { // longer: the clock was set back
		return x.closed
	}
	x.closed = now.Add(breakerFirst)
	return time.Time{}
}

// record notes how a step went.
func (b *breakers) record(service string, err error, now time.Time) {
	if service == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.Is(err, m365.ErrTransient) {
		delete(b.of, service) // it answered
		return
	}
	if b.of == nil {
		b.of = map[string]*breaker{}
	}
	x := b.of[service]
	if x == nil {
		x = &breaker{}
		b.of[service] = x
	}
	if x.failures++; x.failures >= breakerFailures {
		wait := breakerFirst << min(x.failures-breakerFailures, 6)
		x.closed = now.Add(min(wait, breakerLongest))
	}
}
