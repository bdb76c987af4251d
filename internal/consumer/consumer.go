// Package consumer is the feed over which programs on this host get their certificate:
//
//	GET  /v1/applications/{clientID}/credential?generation=N&wait=60s&format=json|pem|pfx&standby=1
//	POST /v1/applications/{clientID}/acknowledgements
//
// Each program has a token of its own, for one application. What it is given is the
// active certificate with its private key, from memory, so that it is answered while the
// database is away. docs/operate/serve.md is for those who write such programs.
package consumer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/store"
)

// Options say what a Feed works with.
type Options struct {
	DB       *store.DB
	Tenant   int
	TenantID string
	// Pair fetches a credential with its private key.
	Pair func(context.Context, credential.Credential) (pki.Pair, error)
	Now  func() time.Time
	Log  *slog.Logger
}

const (
	// lookEvery is how often the database is asked for what other processes did; a
	// consumer has a new certificate within this and the time of fetching it.
	lookEvery = 2 * time.Second
	lookTime  = 5 * time.Second
	// lookGap keeps those who wake the feed from keeping it busy.
	lookGap = 100 * time.Millisecond
	// fetchTime bounds the fetching of a private key, fetchAgain is when it is tried
	// again.
	fetchTime  = time.Minute
	fetchAgain = 10 * time.Second
	fetches    = 8 // at a time
)

// A Feed hands out certificates. It is an http.Handler, and answers what it knows from
// [Feed.Run].
type Feed struct {
	o    Options
	mux  *http.ServeMux
	wake chan struct{}
	done chan struct{} // closed when Run has ended
	jobs sync.WaitGroup
	free chan struct{} // holds a place for each fetch under way

	mu       sync.Mutex // guards what follows
	tokens   []token
	holdings map[string]*holding // by client ID, in lower case: of all that have a token
	lost     bool                // the last look failed, or there was none yet
	told     bool                // that it did is in the log
	looked   chan struct{}       // closed, and replaced, after each look
	changed  chan struct{}       // closed, and replaced, when an answer has changed
	waiting  map[string]int      // requests, by the hash of their token
	refusals refusals
}

// token admits one consumer to one application.
type token struct {
	hash               [sha256.Size]byte
	objectID, clientID string
	consumer           string
}

// holding is what is known of an application.
type holding struct {
	objectID, name  string
	active, standby holds
	wanted          [2]string // what the database has, active and standby: see name
	asOf            time.Time // when active was last seen to be the active one
	fetching        bool
	fetchAt         time.Time // not before that, after a failure
	trouble         string    // the last failure, as it was logged
}

// holds is a certificate that can be handed out; its pair is empty when there is none.
type holds struct {
	credential credential.Credential
	pair       pki.Pair
}

// name tells two of them apart.
func name(c credential.Credential) string {
	if c.ID == "" {
		return ""
	}
	return c.ID + " " + c.SHA256 + " " + time.Unix(c.Generation, 0).UTC().Format(time.RFC3339)
}

// current reports whether what is held is what the database has.
func (h *holding) current() bool {
	return h.wanted == [2]string{name(h.active.credential), name(h.standby.credential)}
}

// New makes a Feed.
func New(o Options) *Feed {
	f := &Feed{
		o: o, mux: http.NewServeMux(), wake: make(chan struct{}, 1), done: make(chan struct{}), free: make(chan struct{}, fetches),
		lost: true, holdings: map[string]*holding{}, looked: make(chan struct{}), changed: make(chan struct{}), waiting: map[string]int{},
	}
	f.mux.HandleFunc("GET /v1/applications/{clientID}/credential", f.handle(f.credential))
	f.mux.HandleFunc("POST /v1/applications/{clientID}/acknowledgements", f.handle(f.acknowledge))
	return f
}

// Run keeps the feed up to date until ctx ends, once. All waits end with it.
func (f *Feed) Run(ctx context.Context) error {
	defer func() {
		close(f.done)
		f.jobs.Wait()
	}()
	for {
		f.look(ctx)
		gap := time.NewTimer(lookGap)
		select {
		case <-ctx.Done():
			gap.Stop()
			return context.Cause(ctx)
		case <-gap.C:
		}
		timer := time.NewTimer(lookEvery - lookGap)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		case <-f.wake:
			timer.Stop()
		}
	}
}

// Wake makes the feed look at once, as when this process has changed a certificate.
func (f *Feed) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// look reads from the database who may have what, and begins to fetch what is new. What
// is held stays as it is when that fails.
func (f *Feed) look(ctx context.Context) {
	timed, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	applications, err := f.o.DB.ConsumedApplications(timed, f.o.Tenant)
	var rows []store.ConsumerToken
	if err == nil {
		rows, err = f.o.DB.ConsumerTokens(timed, f.o.Tenant)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		close(f.looked)
		f.looked = make(chan struct{})
	}()
	if err != nil {
		if !f.told && ctx.Err() == nil {
			f.told = true
			f.o.Log.Warn("The feed of certificates cannot read the database; programs are given what was known last.", "error", err)
		}
		f.lost = true
		return
	}
	if f.lost {
		f.lost, f.told = false, false
		f.announce()
	}
	clients := map[string]string{} // by object ID
	known := map[string]*holding{}
	for _, a := range applications {
		client := strings.ToLower(a.ClientID)
		clients[a.ObjectID] = client
		h := f.holdings[client]
		if h == nil || h.objectID != a.ObjectID {
			h = &holding{objectID: a.ObjectID}
		}
		h.name, known[client] = a.Name, h
		f.want(ctx, h, a)
	}
	tokens := make([]token, 0, len(rows))
	for _, r := range rows {
		t := token{objectID: r.ObjectID, clientID: clients[r.ObjectID], consumer: r.Consumer}
		if n, err := hex.Decode(t.hash[:], []byte(r.Hash)); err == nil && n == len(t.hash) && len(r.Hash) == 2*n && t.clientID != "" {
			tokens = append(tokens, t)
		}
	}
	if !slices.Equal(tokens, f.tokens) {
		f.tokens = tokens
		f.announce() // who waits may not any more
	}
	f.holdings = known
}

// announce wakes all who wait. The lock is held.
func (f *Feed) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// want notes what the database has for an application, and begins to fetch what is not
// held. The lock is held.
func (f *Feed) want(ctx context.Context, h *holding, a credential.Application) {
	active, ok := a.Active()
	if !ok { // between two: what is held is the best there is
		h.wanted = [2]string{}
		return
	}
	standby, _ := a.Standby()
	now := f.o.Now()
	h.wanted = [2]string{name(active), name(standby)}
	if h.active.credential.ID != "" && name(h.active.credential) == h.wanted[0] {
		h.asOf = now
	}
	if h.current() || h.fetching || now.Before(h.fetchAt) {
		return
	}
	h.fetching = true
	f.jobs.Go(func() { f.fetch(ctx, h, active, standby) })
}

// fetch fetches the certificates of an application. One that is held is not fetched
// again, and one that cannot be fetched does not keep the other back.
func (f *Feed) fetch(ctx context.Context, h *holding, active, standby credential.Credential) {
	f.free <- struct{}{}
	defer func() { <-f.free }()
	f.mu.Lock()
	had := []holds{h.active, h.standby}
	f.mu.Unlock()
	get := func(c credential.Credential) (holds, error) {
		for _, x := range had {
			if x.pair.Certificate != nil && x.credential.ID == c.ID && x.credential.SHA256 == c.SHA256 {
				return holds{c, x.pair}, nil
			}
		}
		if c.ID == "" {
			return holds{}, nil
		}
		timed, cancel := context.WithTimeout(ctx, fetchTime)
		defer cancel()
		pair, err := f.o.Pair(timed, c)
		return holds{c, pair}, err
	}
	newActive, err := get(active)
	newStandby, standbyErr := get(standby)
	f.mu.Lock()
	defer f.mu.Unlock()
	h.fetching = false
	now := f.o.Now()
	trouble := ""
	if failed := errors.Join(err, standbyErr); failed != nil {
		h.fetchAt, trouble = now.Add(fetchAgain), failed.Error()
	}
	if trouble != "" && trouble != h.trouble && ctx.Err() == nil {
		f.o.Log.Warn("A certificate cannot be handed out yet; it is tried again.", "application", h.name, "error", trouble)
	}
	h.trouble = trouble
	if err == nil {
		if newActive.credential.Generation != h.active.credential.Generation {
			f.o.Log.Info("Programs are given a certificate from now on.", "application", h.name, "generation", active.Generation, "sha1", active.SHA1, "not_after", active.NotAfter)
		}
		h.active, h.asOf = newActive, now
	}
	if standbyErr == nil {
		h.standby = newStandby
	}
	f.announce()
}
