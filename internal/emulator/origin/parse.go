package origin

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// APIs are the names of the APIs to which a fault can happen.
var APIs = []string{Authority, Graph, Vault, Manage, Logs, Identity, Resources}

// ParseFault reads a fault in the form
//
//	[API[/OPERATION]:]KIND[,after=N][,every=N][,times=N][,delay=1s][,retry-after=2s][,bytes=N][,length=N]
//
// such as graph/addKey:lost-response,every=3,times=2. Which operations an API
// has, and which kinds of its own, is not checked here: see Check.
func ParseFault(s string) (Fault, error) {
	where, what, found := strings.Cut(s, ":")
	if !found {
		where, what = "", s
	}
	var f Fault
	f.API, f.Operation, _ = strings.Cut(where, "/")
	if (found || f.API != "") && !slices.Contains(APIs, f.API) {
		return Fault{}, fmt.Errorf("fault %q: there is no API %q; there are %s", Printable(s), Printable(f.API), strings.Join(APIs, ", "))
	}
	if strings.Contains(where, "/") && f.Operation == "" {
		return Fault{}, fmt.Errorf("fault %q: the operation after %s/ is missing", Printable(s), f.API)
	}
	kind, rest, more := strings.Cut(what, ",")
	f.Kind = FaultKind(kind)
	if !isWord(kind) || f.Operation != "" && !isWord(f.Operation) {
		return Fault{}, fmt.Errorf("fault %q: want [API[/OPERATION]:]KIND and then such as ,every=3", Printable(s))
	}
	seen := map[string]bool{}
	for more {
		var item string
		item, rest, more = strings.Cut(rest, ",")
		name, value, _ := strings.Cut(item, "=")
		if seen[name] {
			return Fault{}, fmt.Errorf("fault %q: %s comes twice", Printable(s), Printable(name))
		}
		seen[name] = true
		if err := f.set(name, value); err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", Printable(s), err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fitting)) {
		if kinds := fitting[name]; seen[name] && !slices.Contains(kinds, f.Kind) {
			return Fault{}, fmt.Errorf("fault %q: %s is for %s alone", Printable(s), name, join(kinds))
		}
	}
	if f.Kind == ClockStep && f.Delay == 0 {
		return Fault{}, fmt.Errorf("fault %q: by how much the clock steps is missing: add ,delay=-5m", Printable(s))
	}
	if (f.Kind == Slow || f.Kind == "short-token") && f.Delay == 0 {
		return Fault{}, fmt.Errorf("fault %q: by how much is missing: add ,delay=5s", Printable(s))
	}
	if f.Delay < 0 && f.Kind != ClockStep {
		return Fault{}, fmt.Errorf("fault %q: delay must not be negative", Printable(s))
	}
	if f.Kind == StaleRead && f.Delay > MostLag {
		return Fault{}, fmt.Errorf("fault %q: no replica lags by more than %s", Printable(s), MostLag)
	}
	return f, nil
}

// fitting names the kinds that look at an option, of those that not all do. Kinds of
// one API alone are here by their names.
var fitting = map[string][]FaultKind{
	"delay":       {Slow, StaleRead, ClockStep, "short-token"},
	"retry-after": {Throttle, Unavailable},
	"bytes":       {ResetBody, Truncated},
	"length":      {Burst, "short-pages", "newest-first"},
}

// isWord reports whether s can be a kind or an operation.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

const mostCount = 1_000_000_000

func (f *Fault) set(name, value string) (err error) {
	switch name {
	case "after", "every", "times", "length":
		var n uint64
		if n, err = strconv.ParseUint(value, 10, 31); err != nil || n == 0 || n > mostCount {
			return fmt.Errorf("%s must be a number from 1", name)
		}
		*map[string]*int{"after": &f.After, "every": &f.Every, "times": &f.Times, "length": &f.Length}[name] = int(n)
	case "bytes":
		if f.Bytes, err = strconv.ParseInt(value, 10, 64); err != nil || f.Bytes <= 0 {
			return errors.New("bytes must be a number from 1")
		}
	case "delay":
		if f.Delay, err = time.ParseDuration(value); err != nil || f.Delay == 0 {
			return errors.New("delay must be a duration such as 1s")
		}
	case "retry-after":
		if f.RetryAfter, err = time.ParseDuration(value); err != nil || f.RetryAfter < time.Second || f.RetryAfter%time.Second != 0 {
			return errors.New("retry-after must be whole seconds such as 2s")
		}
	default:
		return fmt.Errorf("there is no %q; there are after, every, times, delay, retry-after, bytes and length", Printable(name))
	}
	return nil
}

// String is the inverse of ParseFault.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.API)
	if f.Operation != "" {
		b.WriteString("/" + f.Operation)
	}
	if b.Len() > 0 {
		b.WriteByte(':')
	}
	b.WriteString(string(f.Kind))
	for _, n := range []struct {
		name  string
		value int64
	}{{"after", int64(f.After)}, {"every", int64(f.Every)}, {"times", int64(f.Times)}, {"bytes", f.Bytes}, {"length", int64(f.Length)}} {
		if n.value != 0 {
			fmt.Fprintf(&b, ",%s=%d", n.name, n.value)
		}
	}
	if f.Delay != 0 {
		fmt.Fprintf(&b, ",delay=%s", f.Delay)
	}
	if f.RetryAfter != 0 {
		fmt.Fprintf(&b, ",retry-after=%s", f.RetryAfter)
	}
	return b.String()
}

// Check reports an error when a fault could never happen: its API does not have
// the operation, or neither it nor all APIs know the kind. own are the kinds
// that each API alone carries out.
func (f Fault) Check(apis []API, own map[string][]FaultKind) error {
	var operations []string
	known := slices.Clone(Kinds)
	complete := true // whether every API that the fault matches lists what it can do
	for _, a := range apis {
		if f.API != "" && f.API != a.Name {
			continue
		}
		known = append(known, own[a.Name]...)
		complete = complete && len(a.Operations) > 0
		for _, o := range a.Operations {
			if !slices.Contains(operations, o.Name) {
				operations = append(operations, o.Name)
			}
		}
	}
	if !slices.Contains(known, f.Kind) {
		return fmt.Errorf("fault %q: there is no kind %q; there are %s", f, f.Kind, join(known))
	}
	if f.Operation != "" && complete && !slices.Contains(operations, f.Operation) {
		return fmt.Errorf("fault %q: there is no operation %q of %s; there are %s", f, f.Operation, f.API, strings.Join(operations, ", "))
	}
	if (f.Kind == ExpiredToken || f.Kind == ForeignToken) && (f.API == Authority || f.API == Identity) {
		return fmt.Errorf("fault %q: %s takes no access token", f, f.API)
	}
	return nil
}

func join(kinds []FaultKind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
