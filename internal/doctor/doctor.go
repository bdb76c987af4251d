// Package doctor looks at this machine and its network as reeve needs them, and says
// what is wrong, what to do about it and who can. It signs in nowhere, sends no secret
// and changes nothing.
package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
)

// Status is how a check went.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, and will not always, or not as is meant
	Failed  Status = "failed"  // reeve cannot do its work
	Skipped Status = "skipped" // Seen says why
)

// Result is what a check has found.
type Result struct {
	Check  string `json:"check"`
	Of     string `json:"of,omitempty"` // which one, where there are several: a host, a file
	Status Status `json:"status"`
	Seen   string `json:"seen"`
	Remedy string `json:"remedy,omitempty"`
	Who    string `json:"who,omitempty"` // who can do that

	// Names are parts of the text that are the customer's, though their words may be plain.
	Names []string `json:"-"`
}

// Who can do something about it.
const (
	operator = "whoever runs reeve on this machine"
	network  = "the administrator of the network"
	machine  = "the administrator of this machine"
	vaults   = "the owner of the key vault"
)

func ok(seen string, args ...any) Result { return Result{Status: OK, Seen: fmt.Sprintf(seen, args...)} }

func skip(why string, args ...any) Result {
	return Result{Status: Skipped, Seen: fmt.Sprintf(why, args...)}
}

func (s Status) because(seen, remedy, who string) Result {
	return Result{Status: s, Seen: seen, Remedy: remedy, Who: who}
}

// File is a file or a folder that holds what is secret.
type File struct {
	What string // "auth.certificate"
	Path string
	Made bool // reeve makes it when it is missing
}

// Mail is the server that takes mail. Port 0 means the usual one.
type Mail struct {
	Host string
	Port int
	TLS  string // starttls, implicit or none
}

func (m Mail) port() int {
	switch {
	case m.Port != 0:
		return m.Port
	case m.TLS == "implicit":
		return 465
	case m.TLS == "none":
		return 25
	}
	return 587
}

// Options say what to look at. What is empty is not configured, and its check skipped.
type Options struct {
	Cloud    m365.Cloud
	TenantID string
	ClientID string
	Feeds    []permission.Feed
	Method   m365.Method // how reeve signs in
	// Identity: the machine's managed identity signs in, or opens the vault.
	Identity bool
	Vaults   []string // origins

	HTTP   *http.Client // as m365.NewHTTPClient makes it
	CA     []byte       // what ca-file holds
	CAFile string

	Certificate string // the path of auth.certificate
	Files       []File
	Database    string                                // the path of its file; empty on a server
	Look        func(context.Context) (string, error) // opens the database as it is, and says how it is
	Listen      string
	Webhook     string // the origin alone: the rest of the address is secret
	Mail        Mail

	Environ  []string
	Resolver *net.Resolver // nil means the system's
	Now      func() time.Time
	// Patience is how long each check may take; all run at once.
	Patience time.Duration
}

// Doctor looks at one machine.
type Doctor struct {
	Options
	env map[string]string

	mu   sync.Mutex // guards what follows
	seen map[string]func() *reached
}

// New returns a doctor.
func New(o Options) *Doctor {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Second
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	d := &Doctor{Options: o, env: map[string]string{}, seen: map[string]func() *reached{}}
	for _, line := range o.Environ {
		if name, value, _ := strings.Cut(line, "="); value != "" {
			d.env[strings.ToUpper(name)] = value
		}
	}
	return d
}

// kind is one kind of check, with one task for each thing to look at.
type kind struct {
	name  string
	local bool
	about string
	tasks func(*Doctor) []task
}

type task struct {
	of  string
	run func(context.Context) Result
}

// one is a kind that looks at one thing.
func one(run func(*Doctor, context.Context) Result) func(*Doctor) []task {
	return func(d *Doctor) []task {
		return []task{{run: func(ctx context.Context) Result { return run(d, ctx) }}}
	}
}

// kinds are all, in the order in which they are shown.
var kinds = []kind{
	{"environment", true, "variables that mislead reeve, or the programs beside it", (*Doctor).environment},
	{"files", true, "who may read the files that hold keys and secrets", (*Doctor).files},
	{"disk", true, "free space, and file systems that do not suit", (*Doctor).disks},
	{"database", true, "whether it opens, can be written, and has the right version", one((*Doctor).database)},
	{"listen", true, "whether the address of the status page can be had", one((*Doctor).listen)},
	{"proxy", false, "which hosts a proxy is asked for, and whether it lets reeve pass", one((*Doctor).proxies)},
	{"clock", false, "this machine's clock against that of the sign-in host", one((*Doctor).clock)},
	{"dns", false, "names and addresses, those of private endpoints told apart", (*Doctor).names},
	{"tls", false, "who has issued the certificates that hosts show here", (*Doctor).issuers},
	{"host", false, "each host and port that the chosen feeds need", (*Doctor).hosts},
	{"tenant", false, "whether the sign-in host knows the tenant", one((*Doctor).tenant)},
	{"vault", false, "whether the key vault answers, and which tenant it trusts", (*Doctor).vaults},
	{"identity", false, "whether the managed identity's service answers", one((*Doctor).identity)},
	{"webhook", false, "whether the host that is told of events answers; nothing is posted", one((*Doctor).webhook)},
	{"mail", false, "whether the mail server answers and encrypts; nothing is mailed", one((*Doctor).mail)},
	{"cloud", true, "what cannot work in this cloud, for the chosen feeds", (*Doctor).limits},
}

// Checks lists the names of all checks with what they look at, in order.
func Checks() (names, about []string) {
	for _, k := range kinds {
		names, about = append(names, k.name), append(about, k.about)
	}
	return names, about
}

// Run carries out the named checks, or all, side by side, and returns their results in
// the order of Checks. Offline, only those that need no network. It returns when
// patience ends, whatever still hangs.
func (d *Doctor) Run(ctx context.Context, offline bool, only ...string) []Result {
	ctx, cancel := context.WithTimeout(ctx, d.Patience)
	defer cancel()
	var waiting []func() Result
	for _, k := range kinds {
		if len(only) > 0 && !slices.Contains(only, k.name) {
			continue
		}
		if offline && !k.local {
			waiting = append(waiting, func() Result {
				r := skip("it needs the network, which is not used offline")
				r.Check = k.name
				return r
			})
			continue
		}
		for _, t := range k.tasks(d) {
			waiting = append(waiting, begin(ctx, k.name, t, d.Patience))
		}
	}
	results := make([]Result, 0, len(waiting))
	for _, wait := range waiting {
		results = append(results, wait())
	}
	return results
}

// begin starts a task, and returns what waits for it: no longer than ctx lasts. What
// asks the system about a file may hang in a network mount beyond that; it is left
// behind, and ends with the program.
func begin(ctx context.Context, name string, t task, patience time.Duration) func() Result {
	done := make(chan Result, 1)
	go func() { done <- t.run(ctx) }()
	return func() Result {
		var r Result
		select {
		case r = <-done:
		case <-ctx.Done():
			select { // what is there all the same is better than nothing
			case r = <-done:
			case <-time.After(grace):
				r = Failed.because(fmt.Sprintf("there is no answer within %s", patience),
					"see what hangs: a file system on the network, a firewall that drops packets", machine)
			}
		}
		r.Check, r.Of = name, t.of
		return r
	}
}

// grace is how long results are waited for that ended with the time for them.
const grace = 250 * time.Millisecond

// Worst is the most severe status of the results.
func Worst(results []Result) Status {
	worst := OK
	for _, r := range results {
		if r.Status == Failed || r.Status == Warning && worst == OK {
			worst = r.Status
		}
	}
	return worst
}
