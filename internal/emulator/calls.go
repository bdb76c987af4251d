package emulator

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Call is what a client asked for, and how often.
type Call struct {
	API       string `json:"api"`                 // as in Fault, or proxy for a host that the proxy refused
	Operation string `json:"operation,omitempty"` // as in Fault; empty for what is not emulated
	Request   string `json:"request,omitempty"`   // method, path and names of parameters of what is not emulated
	Status    string `json:"status"`              // 2xx, 3xx, 4xx or 5xx; none when the answer was withheld
	Client    string `json:"client,omitempty"`    // product token of the User-Agent, and the x-client-SKU of MSAL
	Count     int    `json:"count"`
}

// mostCalls bounds how many different calls are told apart. What comes beyond
// is counted by API, operation and status alone.
const mostCalls = 2000

// mostUnknown is the same for calls of what is not emulated, whose paths a
// client can invent.
const mostUnknown = 200

// calls counts calls. It may be used from several goroutines.
type calls struct {
	mu      sync.Mutex
	counts  map[Call]int // with Count 0
	unknown int          // of them without an operation
}

func (c *calls) add(r *http.Request, api, operation string, status int) {
	call := Call{API: api, Operation: operation, Status: "none", Client: clientOf(r.Header)}
	if status > 0 {
		call.Status = strconv.Itoa(status/100) + "xx"
	}
	if operation == "" {
		call.Request = origin.Describe(r)
	}
	c.count(call)
}

func (c *calls) count(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[Call]int{}
	}
	if c.counts[call] == 0 {
		isUnknown := call.Operation == ""
		if len(c.counts) >= mostCalls || isUnknown && c.unknown >= mostUnknown {
			call.Client, call.Request = "", ""
		} else if isUnknown {
			c.unknown++
		}
	}
	c.counts[call]++
}

func (c *calls) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts, c.unknown = nil, 0
}

// list returns the calls by API, operation, client and status.
func (c *calls) list() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Call, 0, len(c.counts))
	for call, n := range c.counts {
		call.Count = n
		all = append(all, call)
	}
	slices.SortFunc(all, func(a, b Call) int {
		return cmp.Or(cmp.Compare(a.API, b.API), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Request, b.Request),
			cmp.Compare(a.Client, b.Client), cmp.Compare(a.Status, b.Status))
	})
	return all
}

// clientOf names the program that sent a request: the first product of its
// User-Agent, followed by MSAL's own name when it says so in a header.
func clientOf(h http.Header) string {
	const most = 64
	var names []string
	for _, value := range []string{h.Get("User-Agent"), h.Get("X-Client-Sku")} {
		product, _, _ := strings.Cut(value, " ")
		if product = origin.Printable(product[:min(len(product), most)]); product != "" {
			names = append(names, product)
		}
	}
	return strings.Join(names, " ")
}

// Calls returns what was asked for since the start, or since ForgetCalls: of
// each API, of what is not emulated, and of hosts that the proxy refused.
func (e *Emulator) Calls() []Call { return e.calls.list() }

// ForgetCalls makes Calls begin anew.
func (e *Emulator) ForgetCalls() { e.calls.clear() }
