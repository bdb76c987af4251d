// Package emulator puts an emulated Microsoft 365 tenant on the loopback
// network, speaking HTTPS as Microsoft's services do: one origin for signing in
// (Entra), one for Microsoft Graph, one for Key Vault, one for the Office 365
// Management Activity API, one for logs, and an App Service style managed
// identity endpoint.
//
// It is written from Microsoft's documents and shares no code with the clients
// that it answers, so that it can disagree with them. It is strict: what it does
// not emulate it answers with 501 and the name of what was asked for, never with
// an empty success. It is unkind in the ways that Microsoft's services are; see
// Fault. It is not a place to keep anything: its keys are random at every
// start, it writes no file unless told to, and it listens on loopback only.
package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// Options say what to emulate.
type Options struct {
	Tenant *tenant.Tenant // required

	// Listen is the address of the first API, as IP:port with the IP 127.0.0.1
	// or ::1. The others follow on consecutive ports, in the order of Origins.
	// Port 0 gives each API a free port of its own; empty means 127.0.0.1:0.
	Listen string

	Seed         uint64        // decides what is left to chance: faults and token lifetimes
	Calm         bool          // no faults but those injected, and tokens that live 60 minutes
	RefuseReplay bool          // refuse a client assertion whose jti was seen before
	Latency      time.Duration // added to every request
	Log          *slog.Logger  // nothing is logged when nil
}

// Origins are the addresses of the APIs, without a slash at the end, such as
// https://127.0.0.1:40001. Identity is plain HTTP, as it is inside App Service.
type Origins struct {
	Authority, Graph, Vault, Manage, Logs, Identity string
}

// Names of the APIs, as Fault and the log use them.
const (
	authorityAPI = "authority"
	graphAPI     = "graph"
	vaultAPI     = "vault"
	manageAPI    = "manage"
	logsAPI      = "logs"
	identityAPI  = "identity"
)

const (
	maxRequestBody = 1 << 20
	// idleTimeout is longer than clients usually keep a connection, so that
	// it is rarely the server that closes first.
	idleTimeout = 2 * time.Minute
	closeWait   = 10 * time.Second
)

// Emulator is a running emulated tenant. Close stops it.
type Emulator struct {
	tenant       *tenant.Tenant
	origins      Origins
	log          *slog.Logger
	calm         bool
	latency      time.Duration
	refuseReplay bool

	ca             []byte // PEM
	client         *http.Client
	signing        []signingKey // the first signs; all are published
	identityHeader string
	faults         faults

	stop    context.CancelFunc
	servers []*http.Server
	serving sync.WaitGroup // one for each server
	closing sync.Once
	closed  error

	mu       sync.Mutex // guards what follows
	chance   *rand.Rand
	requests int                  // being answered
	stopping bool                 // no more requests are answered
	drained  chan struct{}        // closed when stopping and requests is 0
	replayed map[string]time.Time // jti of client assertions, until they expire
}

// api is one of the services: what answers, and how it words a refusal that
// comes before or instead of the answer.
type api struct {
	name      string
	handler   http.Handler
	operation func(*http.Request) string // "" for what is not emulated
	refuse    func(http.ResponseWriter, *http.Request, failure)
}

// failure is what can go wrong with any API, which each words in its own way.
type failure struct {
	status int
	text   string
}

// Start makes keys and certificates and starts to serve.
func Start(o Options) (*Emulator, error) {
	if o.Tenant == nil {
		return nil, errors.New("starting the emulated tenant: no tenant was given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Emulator{
		tenant: o.Tenant, log: o.Log, calm: o.Calm, latency: o.Latency, refuseReplay: o.RefuseReplay,
		identityHeader: uuid.NewString(),
		chance:         rand.New(rand.NewPCG(o.Seed, 0x656d756c61746f72)),
		drained:        make(chan struct{}),
		replayed:       map[string]time.Time{},
	}
	e.faults.start(o.Seed, o.Calm)
	if err := e.serve(o.Listen); err != nil {
		return nil, fmt.Errorf("starting the emulated tenant: %w", err)
	}
	return e, nil
}

func (e *Emulator) serve(address string) (err error) {
	apis := []struct {
		api    api
		origin *string
	}{
		{e.authority(), &e.origins.Authority},
		{e.graph(), &e.origins.Graph},
		{e.vault(), &e.origins.Vault},
		{e.manage(), &e.origins.Manage},
		{e.logs(), &e.origins.Logs},
		{e.identity(), &e.origins.Identity},
	}
	listeners, err := listen(address, len(apis))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	if e.signing, err = newSigningKeys(); err != nil {
		return err
	}
	ca, certificate, err := newServerCertificate(time.Now())
	if err != nil {
		return err
	}
	e.ca, e.client = ca, newHTTPClient(ca)

	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	// All origins are known before the first request can be answered, because
	// the APIs name each other.
	for i, a := range apis {
		scheme := "https"
		if a.api.name == identityAPI {
			scheme = "http"
		} else {
			listeners[i] = tls.NewListener(listeners[i], &tls.Config{
				Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
			})
		}
		*a.origin = scheme + "://" + listeners[i].Addr().String()
	}
	for i, a := range apis {
		server := &http.Server{
			Handler:           e.wrap(a.api),
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ErrorLog:          slog.NewLogLogger(e.log.With("api", a.api.name).Handler(), slog.LevelDebug),
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    64 << 10,
			// No WriteTimeout: a large blob goes at the reader's pace, and
			// Close ends it.
			// HTTP/1.1 only: a fault that breaks a connection must break one
			// answer, not all that share it.
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		}
		e.servers = append(e.servers, server)
		e.serving.Go(func() {
			if err := server.Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				e.log.Error("serving stopped", "api", a.api.name, "error", err)
			}
		})
	}
	return nil
}

// listen opens n listeners on consecutive ports from address on, or on any free
// ports when its port is 0. It refuses an address that others can reach: what
// is served here hands out tokens and private keys.
func listen(address string, n int) ([]net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address to listen on %q: want IP:port: %w", address, err)
	}
	if host != "127.0.0.1" && host != "::1" {
		return nil, fmt.Errorf("listening on %s: the emulated tenant listens on loopback only; use 127.0.0.1 or [::1]", address)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port+uint64(n)-1 > 65535 {
		return nil, fmt.Errorf("listening on %s: the port must be a number that leaves room for %d ports", address, n)
	}
	var listeners []net.Listener
	for i := range n {
		at := portText
		if port != 0 {
			at = strconv.FormatUint(port+uint64(i), 10)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, at))
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// Close stops serving, cuts the answers that are under way, and waits for what
// it started. It may be called more than once.
func (e *Emulator) Close() error {
	e.closing.Do(func() {
		e.stop()
		for _, s := range e.servers {
			e.closed = errors.Join(e.closed, s.Close())
		}
		e.client.CloseIdleConnections()
		e.serving.Wait()
		e.mu.Lock()
		e.stopping = true
		if e.requests == 0 {
			close(e.drained)
		}
		e.mu.Unlock()
		select {
		case <-e.drained:
		case <-time.After(closeWait):
			e.closed = errors.Join(e.closed, fmt.Errorf("closing the emulated tenant: an answer is still under way after %s", closeWait))
		}
	})
	return e.closed
}

// Origins returns the addresses of the APIs.
func (e *Emulator) Origins() Origins { return e.origins }

// enter counts a request that is being answered, until leave. It reports false
// when the emulator is stopping: a connection may have read a request just
// before Close closed it.
func (e *Emulator) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return false
	}
	e.requests++
	return true
}

func (e *Emulator) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.requests--; e.requests == 0 && e.stopping {
		close(e.drained)
	}
}

// wrap gives every request to an API what is the same for all: a bounded body,
// the tenant's time, latency, and the faults that need no knowledge of the API.
func (e *Emulator) wrap(a api) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.enter() {
			panic(http.ErrAbortHandler)
		}
		defer e.leave()
		r.Body = http.MaxBytesReader(w, r.Body, maxRequestBody)
		w.Header().Set("Date", e.tenant.Now().UTC().Format(http.TimeFormat))
		if !pause(r.Context(), e.latency) {
			panic(http.ErrAbortHandler) // Returning would answer 200.
		}
		operation := a.operation(r)
		if operation == "" {
			e.log.Warn("not emulated", "api", a.name, "request", describe(r))
			a.refuse(w, r, failure{http.StatusNotImplemented, "The emulated tenant does not know " + describe(r) + "."})
			return
		}
		e.log.Debug("request", "api", a.name, "operation", operation)
		if f := e.faults.generic(a.name, operation); f != nil {
			e.log.Debug("fault", "api", a.name, "operation", operation, "kind", f.Kind)
			f.carryOut(w, r, a)
			return
		}
		a.handler.ServeHTTP(w, r)
	})
}

// pause waits and reports whether the request is still wanted.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// describe names a request by its method, path and query parameters, without
// their values, which may be secret.
func describe(r *http.Request) string {
	s := r.Method + " " + r.URL.EscapedPath()
	if names := slices.Sorted(maps.Keys(r.URL.Query())); len(names) > 0 {
		s += " with query " + strings.Join(names, ", ")
	}
	return s
}
