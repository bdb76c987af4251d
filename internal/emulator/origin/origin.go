// Package origin is what the emulated APIs have in common on the network: each
// is served at an origin of its own, with bounded bodies, the tenant's clock in
// the Date header, latency, faults, and a refusal by name of everything that is
// not emulated. What an API answers is its own package's.
package origin

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Names of the APIs, as faults, the log and the control API use them.
const (
	Authority = "authority" // Entra's token service
	Graph     = "graph"     // Microsoft Graph
	Vault     = "vault"     // Key Vault's data plane
	Manage    = "manage"    // Office 365 Management Activity API
	Logs      = "logs"      // Azure Monitor's queries
	Identity  = "identity"  // App Service's managed identity endpoint
	Resources = "resources" // Azure Resource Manager
	Control   = "control"   // the emulator's own
)

// Cloud is what the APIs of one emulated tenant share.
type Cloud struct {
	Hosts  *Hosts
	Now    func() time.Time // the tenant's clock
	Log    *slog.Logger
	Chance *Chance
	Faults *Faults
	Calm   bool // nothing unkind happens but what is injected

	StepClock func(time.Duration) // moves the tenant's clock, also backwards

	// Called, unless nil, is told of each request when it is answered: the
	// operation, empty for what is not emulated, and the status, 0 when the
	// answer was withheld.
	Called func(r *http.Request, api, operation string, status int)

	delays atomic.Pointer[Delays]
}

// API is one of the services: what answers, and how it words a refusal that
// comes before or instead of the answer.
type API struct {
	Name       string
	Handler    http.Handler
	Operation  func(*http.Request) string // the name of one of Operations; "" for what is not emulated
	Operations []Operation                // all that is emulated
	Refuse     func(http.ResponseWriter, *http.Request, Failure)
}

// Operation is one thing that an API can be asked to do.
type Operation struct {
	Name    string // as faults and the log name it, such as addKey
	Request string // such as POST /applications/{id}/addKey
	Source  string // address of the page or schema that documents it
}

// Failure is what can go wrong with any API, which each words in its own way.
type Failure struct {
	Status int
	Text   string
}

const maxRequestBody = 1 << 20

// Handler gives every request to an API what is the same for all: a bounded
// body, the tenant's time, latency, and the faults that need no knowledge of
// the API.
func (c *Cloud) Handler(a API, latency time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequestBody)
		w.Header().Set("Date", c.Now().UTC().Format(http.TimeFormat))
		if !pause(w, r, latency) {
			panic(http.ErrAbortHandler) // Returning would answer 200.
		}
		operation := a.Operation(r)
		answer := &statusWriter{ResponseWriter: w}
		w = answer
		begun := time.Now()
		defer func() {
			if c.Called != nil {
				c.Called(r, a.Name, operation, answer.status)
			}
			if operation != "" {
				c.Log.Debug("request", "api", a.Name, "operation", operation, "method", r.Method, "path", Printable(r.URL.Path),
					"status", answer.status, "took", time.Since(begun).Round(time.Microsecond), "client", Printable(r.UserAgent()))
			}
		}()
		if operation == "" {
			c.Log.Warn("not emulated", "api", a.Name, "request", Describe(r))
			a.Refuse(w, r, Failure{http.StatusNotImplemented, "The emulated tenant does not know " + Describe(r) + "."})
			return
		}
		if f := c.Faults.Generic(a.Name, operation); f != nil {
			c.Log.Debug("fault", "api", a.Name, "operation", operation, "kind", f.Kind)
			f.carryOut(w, r, a, c)
			return
		}
		a.Handler.ServeHTTP(w, r)
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int // 0 until there is one
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(p)
}

// Unwrap lets a fault take the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// bodyWait is how long a client may take to send the rest of a request after a
// pause.
const bodyWait = 30 * time.Second

// pause waits and reports whether the request is still wanted. The server's
// deadline for reading a body, which would cut it meanwhile, is put off.
func pause(w http.ResponseWriter, r *http.Request, d time.Duration) bool {
	ctx := r.Context()
	if d <= 0 {
		return ctx.Err() == nil
	}
	if r.ContentLength != 0 {
		// Not supported without a connection, and then there is no deadline.
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(d + bodyWait))
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

// Describe names a request by its method, path and query parameters, without
// their values, which may be secret.
func Describe(r *http.Request) string {
	s := r.Method + " " + r.URL.EscapedPath()
	if names := slices.Sorted(maps.Keys(r.URL.Query())); len(names) > 0 {
		s += " with query " + strings.Join(names, ", ")
	}
	return Printable(s)
}

// Printable makes a value from a request fit for the text of a refusal.
func Printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// WriteJSON writes v as Microsoft's services write JSON: without escaping HTML.
// Anything that set a Content-Type before keeps it.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // The client is gone when this fails.
}

// IsGUID reports whether s is a GUID in the form with hyphens alone.
func IsGUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// Base64URL is base64url without padding, as JWTs and thumbprints have it.
func Base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Chance decides what is left to chance, in an order that its seed and the
// order of the requests decide. It may be used from several goroutines.
type Chance struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// NewChance returns a Chance; the stream keeps several of one seed apart.
func NewChance(seed, stream uint64) *Chance {
	return &Chance{rng: rand.New(rand.NewPCG(seed, stream))}
}

// Int64N returns a number from 0 up to, not including, n, which must be above 0.
func (c *Chance) Int64N(n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Int64N(n)
}

// Between returns a duration from shortest to longest.
func (c *Chance) Between(shortest, longest time.Duration) time.Duration {
	if longest <= shortest {
		return shortest
	}
	return shortest + time.Duration(c.Int64N(int64(longest-shortest)+1))
}
