// Package emulator puts an emulated Microsoft 365 tenant on the loopback
// network, speaking HTTPS as Microsoft's services do: one origin for signing in
// (Entra), one for Microsoft Graph, one for Key Vault, one for the Office 365
// Management Activity API, one for logs, an App Service style managed identity
// endpoint, and of Azure Resource Manager as much as signing in and giving access
// to the vault take.
//
// It is written from Microsoft's documents and shares no code with the clients
// that it answers, so that it can disagree with them. It is strict: what it does
// not emulate it answers with 501 and the name of what was asked for, never with
// an empty success. It is unkind in the ways that Microsoft's services are; see
// Fault. Its keys are random, it writes no file unless told to, and unless told
// to it listens on loopback only.
//
// Beside the APIs there are the control API (control.go), by which those who run
// it steer it, and a proxy (proxy.go) for clients that have the hosts of
// Microsoft's cloud built in. What was asked for is counted (calls.go), and all
// that it is can be kept in a file (state.go).
package emulator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/emulator/activity"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/graph"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/logs"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/resources"
	"github.com/reeve365/reeve/internal/emulator/tenant"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// Options say what to emulate.
type Options struct {
	Tenant *tenant.Tenant // required

	// Listen is the address of the first API, as IP:port. The others follow on
	// consecutive ports, in the order of Origins. Port 0 gives each API a free
	// port of its own; empty means the addresses of State, or 127.0.0.1:0.
	Listen string
	// Expose allows addresses that are not 127.0.0.1 or ::1. What is served
	// hands out tokens and private keys to whoever asks.
	Expose bool
	// Proxy is the address of a proxy, as IP:port, for clients that have the
	// hosts of Microsoft's cloud built in; none when empty.
	Proxy string

	Seed         uint64        // decides what is left to chance: faults, lags and token lifetimes
	Calm         bool          // no faults but those injected, no lags, and tokens that live 60 minutes
	RefuseReplay bool          // refuse a client assertion whose jti was seen before
	Latency      time.Duration // added to every request

	// ActivityLimit is how many requests a minute the Management Activity API
	// grants a publisher, by the tenant's clock: 0 means 2,000, or no limit when
	// calm, and below 0 none.
	ActivityLimit int

	Delays *origin.Delays // how far replicas lag; when nil as is usual, or not at all when calm
	Faults []Fault        // injected from the start; checked, unlike those of Inject
	Grants []string       // permissions that the demo application has besides its own, as Grant takes them
	Cloud  string         // whose hosts the tenant is in: public, usgov, usgovdod or china; that of State or public when empty

	State     *State // what was saved, of which Tenant was made; nil for a new tenant
	StateFile string // where Save writes; with a State it is usually where that was read

	// WebhookRoots are trusted in webhooks of the Management Activity API,
	// besides CA.
	WebhookRoots []*x509.Certificate

	Log *slog.Logger // nothing is logged when nil
}

// ErrOptions reports options that cannot be followed.
var ErrOptions = errors.New("the options cannot be followed")

// optionsError says what is wrong with the options. It is ErrOptions.
type optionsError struct{ error }

func badOptions(format string, args ...any) error { return optionsError{fmt.Errorf(format, args...)} }

func (optionsError) Is(target error) bool { return target == ErrOptions }
func (e optionsError) Unwrap() error      { return e.error }

// Origins are the addresses of the APIs.
type Origins = origin.Origins

const (
	// idleTimeout is longer than clients usually keep a connection, so that
	// it is rarely the server that closes first.
	idleTimeout = 2 * time.Minute
	closeWait   = 10 * time.Second
)

// Emulator is a running emulated tenant. Close stops it.
type Emulator struct {
	tenant *tenant.Tenant
	cloud  *origin.Cloud
	keys   *token.Keys
	entra  *entra.API
	graph  *graph.API
	apis   []origin.API // in the order of Origins, without control
	calls  calls

	kept      kept
	stateFile string
	saving    sync.Mutex // held by Save; guards what follows
	onFile    []byte     // the digest of what the state file holds as far as we know; nil for no file
	proxyURL  string     // empty when there is none
	client    *http.Client

	context context.Context // ends with Close
	stop    context.CancelFunc
	servers []*http.Server
	serving sync.WaitGroup // one for each server, and for what runs beside them
	closing sync.Once
	closed  error

	mu       sync.Mutex    // guards what follows
	requests int           // being answered
	stopping bool          // no more requests are answered
	drained  chan struct{} // closed when stopping and requests is 0
}

// apiCount is how many origins there are.
const apiCount = 8

// Start makes keys and certificates, or takes those of a state, and starts to
// serve. The error wraps ErrOptions when other options would help.
func Start(o Options) (*Emulator, error) {
	e, err := start(o)
	if err != nil {
		return nil, fmt.Errorf("starting the emulated tenant: %w", err)
	}
	return e, nil
}

func start(o Options) (*Emulator, error) {
	if o.Tenant == nil {
		return nil, badOptions("no tenant was given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.State != nil {
		switch o.Cloud {
		case "", o.State.Cloud():
			o.Cloud = o.State.Cloud()
		default:
			return nil, badOptions("the state is of a tenant in the cloud %s, not %s", o.State.Cloud(), o.Cloud)
		}
	}
	names, ok := origin.LookupCloud(o.Cloud)
	if !ok {
		return nil, badOptions("there is no cloud %q; use public, usgov, usgovdod or china", o.Cloud)
	}
	if err := checkStateFile(o); err != nil {
		return nil, badOptions("%w", err)
	}
	addresses, err := apiAddresses(o)
	if err != nil {
		return nil, badOptions("%w", err)
	}
	e := &Emulator{
		tenant: o.Tenant, stateFile: o.StateFile, onFile: o.State.digest(o.StateFile),
		cloud: &origin.Cloud{
			Hosts: &origin.Hosts{Names: names.ForVault(o.Tenant.Vault.Name)},
			Now:   o.Tenant.Now, Log: o.Log, Calm: o.Calm,
			Chance:    origin.NewChance(o.Seed, 0x656d756c61746f72),
			Faults:    origin.NewFaults(o.Seed, o.Calm),
			StepClock: o.Tenant.Step,
		},
		drained: make(chan struct{}),
	}
	e.cloud.Called = e.calls.add
	switch {
	case o.Delays != nil:
		e.cloud.SetDelays(*o.Delays)
	case !o.Calm:
		e.cloud.SetDelays(origin.UsualDelays)
	}
	ip, _, _ := net.SplitHostPort(addresses[0])
	if err := e.keep(o.State, e.cloud.Hosts.Names, ip); err != nil {
		return nil, err
	}
	for _, permission := range o.Grants {
		if err := e.Grant(o.Tenant.Client().ClientID, permission); err != nil {
			return nil, badOptions("%w", err)
		}
	}
	if len(o.Grants) > 0 {
		o.Tenant.Directory.Settle()
	}
	if o.Latency < 0 {
		return nil, badOptions("a latency of %s is less than none", o.Latency)
	}
	audit := e.compose(o)
	for _, f := range o.Faults {
		if err := f.Check(e.apis, ownFaults); err != nil {
			return nil, badOptions("%w", err)
		}
		e.Inject(f)
	}
	if err := e.serve(o, addresses); err != nil {
		return nil, err
	}
	e.serving.Go(func() { audit.Run(e.context) })
	if e.stateFile != "" {
		// So that a file which cannot be written is noticed before the work, and
		// that another tenant does not begin in its place.
		if err := e.Save(); err != nil {
			e.Close()
			return nil, badOptions("%w", err)
		}
	}
	return e, nil
}

// compose makes the APIs of the tenant.
func (e *Emulator) compose(o Options) *activity.API {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(e.CA())
	for _, c := range o.WebhookRoots {
		roots.AddCert(c)
	}
	tokens := &token.Reader{Keys: e.keys, TenantID: e.tenant.ID, Now: e.cloud.Now}
	e.entra = &entra.API{
		Cloud: e.cloud, Keys: e.keys, Directory: e.tenant.Directory, RefuseReplay: o.RefuseReplay, Sticky: !o.Calm,
	}
	e.graph = &graph.API{Cloud: e.cloud, Tokens: tokens, Directory: e.tenant.Directory}
	e.graph.Services.Set(graph.UsualState)
	if !o.Calm {
		e.graph.Unkindness = graph.UsualUnkindness
	}
	audit := &activity.API{
		Cloud: e.cloud, Tokens: tokens, Audit: e.tenant.Audit, Webhooks: activity.WebhookClient(roots),
		Limit: o.ActivityLimit,
	}
	e.apis = []origin.API{
		e.entra.Origin(),
		e.graph.Origin(),
		(&keyvault.API{Cloud: e.cloud, Tokens: tokens, Vault: e.tenant.Vault}).Origin(),
		audit.Origin(),
		(&logs.API{
			Cloud: e.cloud, Tokens: tokens, WorkspaceID: e.tenant.WorkspaceID, AppID: e.tenant.AppInsightsID,
			Readers: []string{e.tenant.Client().ClientID},
			Traffic: &logs.Traffic{
				Seed: o.Seed, People: e.tenant.Audit.People(), Host: e.tenant.Audit.SharePointHost(),
				Since: e.tenant.Audit.Begin(), Calm: o.Calm,
			},
		}).Origin(),
		e.identity(),
		(&resources.API{
			Cloud: e.cloud, Tokens: tokens, Directory: e.tenant.Directory, Vault: e.tenant.Vault, SubscriptionID: e.tenant.SubscriptionID,
		}).Origin(),
	}
	return audit
}

// serve opens the origins and the proxy.
func (e *Emulator) serve(o Options, addresses []string) (err error) {
	listeners, err := openAll(addresses)
	if err != nil {
		if o.Listen == "" && o.State != nil {
			return badOptions("%w. The address is the one that the state keeps: does another tenant run from it? With the option to listen at 127.0.0.1:0 this one gets other ports", err)
		}
		return badOptions("%w", err)
	}
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	if o.Proxy != "" {
		l, err := net.Listen("tcp", o.Proxy)
		if err != nil {
			return badOptions("opening the proxy: %w", err)
		}
		listeners = append(listeners, l)
		e.proxyURL = "http://" + l.Addr().String()
	}
	certificate, err := e.kept.pair()
	if err != nil {
		return err
	}
	e.client = newHTTPClient(e.CA())
	e.kept.Addresses = nil
	for _, l := range listeners[:apiCount] {
		e.kept.Addresses = append(e.kept.Addresses, l.Addr().String())
	}
	// All origins are known before the first request can be answered, because
	// the APIs name each other.
	at := e.kept.Addresses
	e.cloud.Hosts.Origins = Origins{
		Authority: "https://" + at[0], Graph: "https://" + at[1], Vault: "https://" + at[2],
		Manage: "https://" + at[3], Logs: "https://" + at[4],
		Identity: "http://" + at[5], Resources: "https://" + at[6], Control: "http://" + at[7],
	}
	ctx, stop := context.WithCancel(context.Background())
	e.context, e.stop = ctx, stop
	for i, a := range e.apis {
		if a.Name != origin.Identity {
			listeners[i] = tls.NewListener(listeners[i], &tls.Config{
				Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
			})
		}
		e.open(listeners[i], a.Name, e.cloud.Handler(a, o.Latency))
	}
	e.open(listeners[apiCount-1], origin.Control, e.control())
	if e.proxyURL != "" {
		e.open(listeners[apiCount], "proxy", newProxy(e.cloud.Hosts, e.cloud.Log, &e.calls))
	}
	return nil
}

// open starts a server.
func (e *Emulator) open(l net.Listener, name string, h http.Handler) {
	server := &http.Server{
		Handler:           e.admit(h),
		BaseContext:       func(net.Listener) context.Context { return e.context },
		ErrorLog:          slog.NewLogLogger(e.cloud.Log.With("api", name).Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		// No WriteTimeout: a large blob goes at the reader's pace, and Close
		// ends it.
		// HTTP/1.1 only: a fault that breaks a connection must break one
		// answer, not all that share it.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	e.servers = append(e.servers, server)
	e.serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.cloud.Log.Error("serving stopped", "api", name, "error", err)
		}
	})
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
func (e *Emulator) Origins() Origins { return e.cloud.Hosts.Origins }

// Proxy returns the address of the proxy as a URL, empty when there is none.
func (e *Emulator) Proxy() string { return e.proxyURL }

// Control returns the secret of the control API, which is at Origins().Control.
func (e *Emulator) Control() string { return e.kept.ControlToken }

// Operations returns what each API can be asked to do.
func (e *Emulator) Operations() map[string][]origin.Operation {
	all := map[string][]origin.Operation{}
	for _, a := range e.apis {
		all[a.Name] = a.Operations
	}
	return all
}

// StepClock moves the tenant's clock, back when d is negative.
func (e *Emulator) StepClock(d time.Duration) { e.cloud.StepClock(d) }

// SetDelays changes how far replicas lag.
func (e *Emulator) SetDelays(d origin.Delays) { e.cloud.SetDelays(d) }

// Services is in which state licences, reports, Teams and calls are.
type Services = graph.ServicesState

// SetServices changes the state of licences, reports, Teams and calls. To begin
// with everything is licensed and in use, and reports conceal names. It is not
// kept in a state file.
func (e *Emulator) SetServices(s Services) { e.graph.Services.Set(s) }

// Fault is something that goes wrong on purpose.
type Fault = origin.Fault

// Inject adds a fault. When several match a call the one injected first
// happens.
func (e *Emulator) Inject(f Fault) { e.cloud.Faults.Inject(f) }

// Faults returns the faults and how often they happened: first those that
// happen by themselves unless the emulator is calm, then the injected ones in
// order.
func (e *Emulator) Faults() []origin.FaultCount { return e.cloud.Faults.Counts() }

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

// admit counts the requests that a handler answers, so that Close can wait for
// them, and logs it when one panics: a client sees no more than the connection's
// end.
func (e *Emulator) admit(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !e.enter() {
			panic(http.ErrAbortHandler)
		}
		defer e.leave()
		defer func() {
			if p := recover(); p != nil {
				if p != http.ErrAbortHandler {
					e.cloud.Log.Error("panic, which is a mistake of the emulator's", "request", origin.Describe(r), "panic", p, "stack", string(debug.Stack()))
				}
				panic(p)
			}
		}()
		h.ServeHTTP(w, r)
	})
}
