package rotate

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
)

// Services that may be down as a whole.
const (
	serviceGraph = "graph"
	serviceToken = "token"
	serviceVault = "vault"
)

// needs names the services without which a step cannot succeed, the first of all first.
func needs(a credential.Application, s credential.Step) []string {
	var all []string
	switch s.Action {
	case credential.Look, credential.Find, credential.Confirm, credential.SeeGone:
		return []string{serviceGraph}
	case credential.Register, credential.Remove:
		return []string{serviceGraph, serviceToken} // as the application itself
	case credential.Prove, credential.Advance, credential.Withdraw, credential.SeeRefused:
		all = []string{serviceToken}
	case credential.MakeKey, credential.Certify, credential.Stage, credential.Publish, credential.Destroy:
	default:
		return nil
	}
	if c, ok := a.Find(s.Credential); ok && (c.Store == credential.StoreSecrets || c.Store == credential.StoreKeys) {
		all = append(all, serviceVault) // its key is there
	} else if s.Action == credential.Publish && onlyVaults(a, c) {
		all = append(all, serviceVault)
	}
	return all
}

// onlyVaults reports that all live places that still lack a credential are in vaults.
func onlyVaults(a credential.Application, c credential.Credential) bool {
	some := false
	for _, name := range a.Policy.Targets {
		if slices.Contains(c.Published, name) {
			continue
		}
		if !strings.HasPrefix(name, string(certstore.TargetKeyVault)+":") {
			return false
		}
		some = true
	}
	return some
}

// culprit names the service that an error comes from; "" if none is to be seen in it.
func culprit(cloud m365.Cloud, needed []string, err error) string {
	var signIn *m365.SignInError
	var answer *m365.Error
	switch {
	case errors.As(err, &signIn):
		return serviceToken
	case errors.As(err, &answer):
		if graph, err := url.Parse(cloud.Graph); err == nil && (answer.URL == graph.Host || strings.HasPrefix(answer.URL, graph.Host+"/")) {
			return serviceGraph
		}
		if slices.Contains(needed, serviceVault) { // else a live place of one application's
			return serviceVault
		}
	case errors.Is(err, context.DeadlineExceeded) && len(needed) > 0:
		return needed[0] // it was silent for all of the step's time
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

// until is until when one of some services is not to be asked; zero if all may be asked
// now. Whoever is the first to ask after a pause keeps the others waiting.
func (b *breakers) until(services []string, now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	var asked []*breaker
	for _, service := range services {
		x := b.of[service]
		if x == nil || x.failures < breakerFailures {
			continue
		}
		if now.Before(x.closed) && x.closed.Sub(now) <= breakerLongest { // longer: the clock was set back
			return x.closed
		}
		asked = append(asked, x)
	}
	for _, x := range asked {
		x.closed = now.Add(breakerFirst)
	}
	return time.Time{}
}

// down reports whether a service has not answered of late, so that what can wait does.
func (b *breakers) down(service string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.of[service]
	return x != nil && x.failures >= breakerFailures
}

// record notes how a step went that needed some services: they answered, or one of them
// did not. What went wrong elsewhere says nothing of them.
func (b *breakers) record(cloud m365.Cloud, needed []string, err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		for _, service := range needed {
			delete(b.of, service)
		}
		return
	}
	service := culprit(cloud, needed, err)
	switch {
	case service == "":
		return
	case !errors.Is(err, m365.ErrTransient) && !errors.Is(err, context.DeadlineExceeded):
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
