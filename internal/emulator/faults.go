package emulator

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FaultKind says what goes wrong. The kinds below can happen to any API; an API
// may know kinds of its own.
type FaultKind string

const (
	Throttle       FaultKind = "throttle"        // 429 with Retry-After
	ThrottleSilent FaultKind = "throttle-silent" // 429 without
	Unavailable    FaultKind = "unavailable"     // 503, with Retry-After when RetryAfter is set
	ServerError    FaultKind = "server-error"    // 500
	BadGateway     FaultKind = "bad-gateway"     // 502, in HTML, as from a proxy before the API
	Reset          FaultKind = "reset"           // connection reset before an answer, and before the operation is done
	ResetBody      FaultKind = "reset-body"      // the operation is done; connection reset in the middle of the answer
	Slow           FaultKind = "slow"            // the answer comes after Delay
)

// Fault is something that goes wrong on purpose, on the calls that it matches.
type Fault struct {
	API       string // authority, graph, vault, manage, logs or identity; any when empty
	Operation string // such as token, certificate, secret, content, blob; any when empty
	Kind      FaultKind

	Every int // happens on every n-th matching call; 0 and 1 mean on all
	Times int // at most so often; 0 means without limit

	RetryAfter time.Duration // what Retry-After says, in whole seconds; Throttle says at least 1
	Delay      time.Duration // of Slow
	Bytes      int64         // after which ResetBody resets; 0 means in the middle of a short answer and after 1 KiB of a longer one
}

// FaultCount tells how often a fault's calls were seen and how often it
// happened.
type FaultCount struct {
	Fault    Fault
	Matched  int
	Happened int
}

// Inject adds a fault. When several match a call the one injected first
// happens.
func (e *Emulator) Inject(f Fault) { e.faults.inject(f) }

// Faults returns the faults and their counts: first those that happen by
// themselves unless the emulator is calm, then the injected ones in order.
func (e *Emulator) Faults() []FaultCount { return e.faults.counts() }

// takeFault returns the fault that is due for an operation of an API, among
// those of kinds that only the API itself can carry out, or nil.
func (e *Emulator) takeFault(api, operation string) *Fault {
	return e.faults.take(api, operation, false)
}

// faults decides when something goes wrong.
type faults struct {
	mu      sync.Mutex // guards what follows
	chance  *rand.Rand
	ambient []FaultCount
	injects []FaultCount
}

// ambientPerMille is how many calls in a thousand to the activity API meet each
// of the faults that happen by themselves, in their order.
var ambientPerMille = [...]int{6, 4}

func (f *faults) start(seed uint64, calm bool) {
	f.chance = rand.New(rand.NewPCG(seed, 0x6661756c7473))
	if calm {
		return
	}
	f.ambient = []FaultCount{
		{Fault: Fault{API: manageAPI, Kind: Throttle, RetryAfter: time.Second}},
		{Fault: Fault{API: manageAPI, Kind: Unavailable}},
	}
}

func (f *faults) inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.injects = append(f.injects, FaultCount{Fault: fault})
}

func (f *faults) counts() []FaultCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(append([]FaultCount(nil), f.ambient...), f.injects...)
}

// generic returns the fault due for a call among the kinds that any API can
// meet.
func (f *faults) generic(api, operation string) *Fault {
	if fault := f.take(api, operation, true); fault != nil {
		return fault
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ambient) == 0 || api != manageAPI {
		return nil
	}
	draw, upTo := f.chance.IntN(1000), 0
	var due *Fault
	for i := range f.ambient {
		c := &f.ambient[i]
		c.Matched++
		upTo += ambientPerMille[i]
		if due == nil && draw < upTo {
			c.Happened++
			fault := c.Fault
			due = &fault
		}
	}
	return due
}

func (f *faults) take(api, operation string, generic bool) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.injects {
		c := &f.injects[i]
		if c.Fault.generic() != generic || !c.Fault.matches(api, operation) ||
			c.Fault.Times > 0 && c.Happened >= c.Fault.Times {
			continue
		}
		c.Matched++
		if c.Matched%max(c.Fault.Every, 1) == 0 {
			c.Happened++
			fault := c.Fault
			return &fault
		}
	}
	return nil
}

func (f *Fault) matches(api, operation string) bool {
	return (f.API == "" || f.API == api) && (f.Operation == "" || f.Operation == operation)
}

func (f *Fault) generic() bool {
	switch f.Kind {
	case Throttle, ThrottleSilent, Unavailable, ServerError, BadGateway, Reset, ResetBody, Slow:
		return true
	}
	return false
}

func (f *Fault) carryOut(w http.ResponseWriter, r *http.Request, a api) {
	switch f.Kind {
	case Throttle:
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(f.RetryAfter/time.Second))))
		a.refuse(w, r, failure{http.StatusTooManyRequests, "Too many requests. Please retry later."})
	case ThrottleSilent:
		a.refuse(w, r, failure{http.StatusTooManyRequests, "Too many requests. Please retry later."})
	case Unavailable:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		}
		a.refuse(w, r, failure{http.StatusServiceUnavailable, "The service is temporarily unavailable. Please retry later."})
	case ServerError:
		a.refuse(w, r, failure{http.StatusInternalServerError, "An internal server error has occurred."})
	case BadGateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		w.Write([]byte("<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"))
	case Reset:
		reset(w)
	case ResetBody:
		limit := f.Bytes
		if limit <= 0 {
			limit = 1 << 10
		}
		cut := &cutWriter{ResponseWriter: w, limit: limit, short: f.Bytes <= 0}
		a.handler.ServeHTTP(cut, r)
		cut.finish()
	case Slow:
		if !pause(r.Context(), f.Delay) {
			panic(http.ErrAbortHandler) // Returning would answer 200.
		}
		a.handler.ServeHTTP(w, r)
	}
}

// reset ends the connection with a TCP reset, so that the client sees neither
// an answer nor an orderly end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the next best way to give no answer
	}
	inner := conn
	if t, ok := conn.(*tls.Conn); ok {
		// Closing the TLS layer would say goodbye first.
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	inner.Close()
}

// cutWriter lets the first bytes of an answer pass and then resets the
// connection. An answer that ends before is cut in its middle, or when a number
// of bytes was asked for, passes whole.
type cutWriter struct {
	http.ResponseWriter
	limit int64
	short bool         // cut answers that are shorter than limit, too
	held  bytes.Buffer // what was written, until it passes limit
	cut   bool
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if c.cut {
		return 0, net.ErrClosed
	}
	if int64(c.held.Len()+len(p)) <= c.limit {
		return c.held.Write(p)
	}
	c.held.Write(p[:c.limit-int64(c.held.Len())])
	c.reset(c.held.Bytes())
	return 0, net.ErrClosed
}

func (c *cutWriter) finish() {
	switch {
	case c.cut:
	case c.short:
		c.reset(c.held.Bytes()[:c.held.Len()/2])
	default:
		c.ResponseWriter.Write(c.held.Bytes())
	}
}

func (c *cutWriter) reset(sent []byte) {
	c.cut = true
	c.ResponseWriter.Write(sent)
	http.NewResponseController(c.ResponseWriter).Flush()
	reset(c.ResponseWriter)
}

// activityOperation names an operation of the Management Activity API by its
// path.
func activityOperation(r *http.Request) string {
	_, path, ok := strings.Cut(r.URL.Path, "/activity/feed/")
	if !ok {
		return ""
	}
	switch {
	case strings.HasPrefix(path, "audit/"):
		return "blob"
	case path == "resources/dlpSensitiveTypes":
		return "dlp"
	}
	operation, ok := strings.CutPrefix(path, "subscriptions/")
	switch operation {
	case "start", "stop", "list", "content", "notifications":
		if ok {
			return operation
		}
	}
	return ""
}
