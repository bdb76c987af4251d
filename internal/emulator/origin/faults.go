package origin

import (
	"math/rand/v2"
	"slices"
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
	GatewayTimeout FaultKind = "gateway-timeout" // 504
	Burst          FaultKind = "burst"           // Length calls in a row fail with 503, 500 and 502 in turn
	Reset          FaultKind = "reset"           // connection reset before an answer, and before the operation is done
	LostResponse   FaultKind = "lost-response"   // the operation is done; connection reset before a byte of the answer
	ResetBody      FaultKind = "reset-body"      // the operation is done; connection reset in the middle of the answer
	Truncated      FaultKind = "truncated"       // the text ends early, after Bytes or in its middle, though the answer is complete
	Slow           FaultKind = "slow"            // the answer comes after Delay
	StaleRead      FaultKind = "stale-read"      // a replica answers that lags by Delay, or when that is 0, the one that lags most
	ClockStep      FaultKind = "clock-step"      // the tenant's clock is stepped by Delay, which may be negative, before the answer
	ExpiredToken   FaultKind = "expired-token"   // the access token is treated as expired
	ForeignToken   FaultKind = "foreign-token"   // the access token is treated as another tenant's
)

// Kinds are the kinds that can happen to any API.
var Kinds = []FaultKind{
	Throttle, ThrottleSilent, Unavailable, ServerError, BadGateway, GatewayTimeout, Burst, Reset,
	LostResponse, ResetBody, Truncated, Slow, StaleRead, ClockStep, ExpiredToken, ForeignToken,
}

// Fault is something that goes wrong on purpose, on the calls that it matches.
type Fault struct {
	API       string // one of APIs; any when empty
	Operation string // such as token, certificate, secret, content, blob; any that can meet the kind when empty
	Kind      FaultKind

	After int // so many matching calls are spared first
	Every int // happens on every n-th matching call after that; 0 and 1 mean on all
	Times int // at most so often, a burst counting once; 0 means without limit

	RetryAfter time.Duration // what Retry-After says, in whole seconds; Throttle says at least 1
	Delay      time.Duration // of Slow, StaleRead, ClockStep and an API's own
	Bytes      int64         // after which ResetBody resets and Truncated ends; 0 means in the middle, of ResetBody at most 1 KiB
	Length     int           // of Burst, 0 meaning 3, and of an API's own
}

// FaultCount tells how often a fault's calls were seen and how often it
// happened.
type FaultCount struct {
	Fault    Fault
	Ambient  bool // happens by itself
	Matched  int
	Happened int
}

// Faults decides when something goes wrong. It may be used from several
// goroutines.
type Faults struct {
	mu      sync.Mutex // guards what follows
	chance  *rand.Rand
	ambient []FaultCount // as the list of the same name has them; empty when calm
	injects []*injected
}

// injected is a fault under way.
type injected struct {
	FaultCount
	begun int // how often it happened, a burst counting once
	left  int // of the burst under way
}

// ambient are the faults that happen by themselves, and to how many calls in a
// thousand. They are what Microsoft's services show to everybody; how often is
// our choice [K].
var ambient = []struct {
	perMille int
	fault    Fault
}{
	{1, Fault{API: Authority, Kind: Unavailable}},
	{1, Fault{API: Authority, Kind: GatewayTimeout}},
	{3, Fault{API: Graph, Kind: Throttle, RetryAfter: time.Second}},
	{1, Fault{API: Graph, Kind: ThrottleSilent}},
	{2, Fault{API: Graph, Kind: Unavailable}},
	{1, Fault{API: Graph, Kind: GatewayTimeout}},
	{2, Fault{API: Vault, Kind: Throttle, RetryAfter: time.Second}},
	{1, Fault{API: Vault, Kind: ThrottleSilent}},
	{1, Fault{API: Vault, Kind: Unavailable}},
	{6, Fault{API: Manage, Kind: Throttle, RetryAfter: time.Second}},
	{4, Fault{API: Manage, Kind: Unavailable}},
}

// NewFaults returns the faults that happen by themselves, which are none when
// calm.
func NewFaults(seed uint64, calm bool) *Faults {
	f := &Faults{chance: rand.New(rand.NewPCG(seed, 0x6661756c7473))}
	if calm {
		return f
	}
	for _, a := range ambient {
		f.ambient = append(f.ambient, FaultCount{Fault: a.fault, Ambient: true})
	}
	return f
}

// Inject adds a fault. When several match a call the one injected first
// happens.
func (f *Faults) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.injects = append(f.injects, &injected{FaultCount: FaultCount{Fault: fault}})
}

// Clear forgets the injected faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.injects = nil
}

// Counts returns the faults and their counts: first those that happen by
// themselves, then the injected ones in order.
func (f *Faults) Counts() []FaultCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.ambient)
	for _, i := range f.injects {
		all = append(all, i.FaultCount)
	}
	return all
}

// Take returns the fault that is due for an operation of an API, or nil, among
// the kinds that are not generic. kinds are those that the operation can carry
// out. A fault that names the operation is returned also when it is of another
// kind: the caller then has to refuse it.
func (f *Faults) Take(api, operation string, kinds ...FaultKind) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.take(api, operation, func(fault *Fault) bool {
		return !slices.Contains(Kinds, fault.Kind) && (slices.Contains(kinds, fault.Kind) || fault.Operation != "")
	})
}

// Generic returns the fault due for a call among the kinds that any API can
// meet. Of a burst it returns the kind whose turn it is.
func (f *Faults) Generic(api, operation string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault := f.take(api, operation, func(fault *Fault) bool { return slices.Contains(Kinds, fault.Kind) }); fault != nil {
		return fault
	}
	var due *Fault
	draw, upTo := -1, 0
	for i := range f.ambient {
		c := &f.ambient[i]
		if c.Fault.API != api {
			continue
		}
		if draw < 0 {
			draw = f.chance.IntN(1000)
		}
		c.Matched++
		upTo += ambient[i].perMille
		if due == nil && draw < upTo {
			c.Happened++
			fault := c.Fault
			due = &fault
		}
	}
	return due
}

// take is called with the mutex held.
func (f *Faults) take(api, operation string, wanted func(*Fault) bool) *Fault {
	for _, i := range f.injects {
		if !wanted(&i.Fault) || !i.Fault.matches(api, operation) {
			continue
		}
		if fault := i.due(); fault != nil {
			return fault
		}
	}
	return nil
}

func (f *Fault) matches(api, operation string) bool {
	return (f.API == "" || f.API == api) && (f.Operation == "" || f.Operation == operation)
}

// burst is how the calls of a burst fail, in turn.
var burst = [...]FaultKind{Unavailable, ServerError, BadGateway}

// due counts a call that the fault matches, and returns the fault if it happens
// on this one.
func (i *injected) due() *Fault {
	i.Matched++
	over := i.Fault.Times > 0 && i.begun >= i.Fault.Times
	if over && i.left == 0 {
		return nil
	}
	if i.left == 0 {
		if n := i.Matched - i.Fault.After; n <= 0 || n%max(i.Fault.Every, 1) != 0 {
			return nil
		}
		i.begun++
		i.left = 1
		if i.Fault.Kind == Burst {
			i.left = i.Fault.length()
		}
	}
	fault := i.Fault
	if fault.Kind == Burst {
		fault.Kind = burst[(fault.length()-i.left)%len(burst)]
	}
	i.left--
	i.Happened++
	return &fault
}

func (f *Fault) length() int {
	if f.Length <= 0 {
		return 3
	}
	return f.Length
}
