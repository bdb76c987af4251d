package rotate

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/m365"
)

// Services that may be down as a whole. A vault is named by [vaultAt].
const (
	serviceGraph = "graph"
	serviceToken = "token"
)

// vaultAt names a vault as a service, by its host.
func vaultAt(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		address = u.Host
	}
	return "vault " + strings.ToLower(address)
}

// needs names the services without which a step cannot succeed, the first of all first.
func (r *Rotator) needs(a credential.Application, s credential.Step) []string {
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
		all = append(all, vaultAt(r.o.VaultURL)) // its key is there
	} else if vault := r.onlyVault(a, c); s.Action == credential.Publish && vault != "" {
		all = append(all, vault)
	}
	return all
}

// onlyVault is the vault in which all live places are that still lack a credential; "" if
// there is none.
func (r *Rotator) onlyVault(a credential.Application, c credential.Credential) (vault string) {
	for _, name := range a.Policy.Targets {
		if slices.Contains(c.Published, name) {
			continue
		}
		ref, err := certstore.ParseTarget(name)
		if err != nil || ref.Kind != certstore.TargetKeyVault {
			return ""
		}
		at := vaultAt(cmp.Or(ref.VaultURL, r.o.VaultURL))
		if vault != "" && at != vault {
			return ""
		}
		vault = at
	}
	return vault
}

// placeError is what went wrong at a live place, which is one application's: if it is none
// of the services by its address, it says nothing of them, also where it was silent.
type placeError struct{ error }

func (e placeError) Unwrap() error { return e.error }

// silentError is a step's time that was over while one service was asked.
type silentError struct {
	error
	service string
}

func (e silentError) Unwrap() error { return e.error }

// silent notes which service was asked when a step's time was over.
func silent(ctx context.Context, service string, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return silentError{err, service}
	}
	return err
}

// culprit names the service that an error comes from, "" if none is to be seen in it, and
// says whether that service has answered.
func culprit(cloud m365.Cloud, needed []string, err error) (service string, answered bool) {
	var signIn *m365.SignInError
	var answer *m365.Error
	var quiet silentError
	var place placeError
	// What asks to wait, or refuses one application, is there for the others.
	says := func(status int) bool { return status != 0 && status < 500 && status != http.StatusRequestTimeout }
	switch {
	case errors.As(err, &signIn):
		return serviceToken, says(signIn.Status)
	case errors.As(err, &answer):
		_, rest, full := strings.Cut(answer.URL, "://")
		if !full {
			rest = answer.URL
		}
		host, _, _ := strings.Cut(rest, "/")
		at := vaultAt(host)
		if graph, err := url.Parse(cloud.Graph); err == nil && host == graph.Host {
			at = serviceGraph
		}
		if at == serviceGraph || slices.Contains(needed, at) { // else a live place of one application's
			return at, says(answer.Status) && !errors.Is(answer, m365.ErrTransient)
		}
	case errors.As(err, &quiet):
		return quiet.service, false
	case errors.As(err, &place):
	case errors.Is(err, context.DeadlineExceeded) && len(needed) > 0:
		return needed[0], false // it was silent for all of the step's time
	}
	return "", false
}

// breakers keep ten thousand applications from hammering a service that is down: when it
// has failed so many of them, and none has had an answer since, nobody asks for a while,
// and then one does. That one application's requests fail, however often, keeps no other
// waiting.
type breakers struct {
	mu sync.Mutex
	of map[string]*breaker
}

type breaker struct {
	failed map[string]bool // the applications, until there are enough
	pauses int             // so far
	closed time.Time       // until when nobody asks
}

func (x *breaker) open() bool { return x != nil && len(x.failed) >= breakerFailures }

const (
	breakerFailures = 8 // applications
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
		if !x.open() {
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
	return b.of[service].open()
}

// record notes how a step for an application went that needed some services: they
// answered, or one of them did not. What went wrong elsewhere says nothing of them.
func (b *breakers) record(cloud m365.Cloud, objectID string, needed []string, err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		for _, service := range needed {
			delete(b.of, service)
		}
		return
	}
	service, answered := culprit(cloud, needed, err)
	switch {
	case service == "":
		return
	case answered:
		delete(b.of, service)
		return
	}
	if b.of == nil {
		b.of = map[string]*breaker{}
	}
	x := b.of[service]
	if x == nil {
		x = &breaker{failed: map[string]bool{}}
		b.of[service] = x
	}
	if !x.open() {
		x.failed[objectID] = true
	}
	if x.open() {
		x.closed = now.Add(min(breakerFirst<<min(x.pauses, 6), breakerLongest))
		x.pauses++
	}
}
