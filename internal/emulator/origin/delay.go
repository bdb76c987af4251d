package origin

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Delays are how far the parts of Microsoft's cloud lag behind a change. Each
// part has replicas that lag differently, and a request meets any of them, so
// that what has been seen may be gone again.
type Delays struct {
	Reads Range // until Graph shows it
	Keys  Range // until the token service takes a new certificate or secret
	Roles Range // until a permission is in new tokens
	Vault Range // until a role assignment counts at the vault
}

// Range is the least and the greatest lag of a part's replicas.
type Range struct{ Least, Most time.Duration }

// UsualDelays are the delays of a tenant that is not calm. Microsoft documents
// that of a vault's roles alone, as up to ten minutes; the others are what users
// of its services report.
var UsualDelays = Delays{
	Reads: Range{0, 30 * time.Second},
	Keys:  Range{4 * time.Second, time.Minute},
	Roles: Range{10 * time.Second, 3 * time.Minute},
	Vault: Range{time.Minute, 10 * time.Minute},
}

// MostLag is the longest that a replica can lag behind: the directory remembers
// no more of what it was.
const MostLag = 10 * time.Minute

// replicas is how many replicas a part has.
const replicas = 4

// Delays returns the present delays.
func (c *Cloud) Delays() Delays {
	if d := c.delays.Load(); d != nil {
		return *d
	}
	return Delays{}
}

// SetDelays changes the delays for the requests that follow.
func (c *Cloud) SetDelays(d Delays) { c.delays.Store(&d) }

// ReadLag returns how far the replica of Graph lags behind that a request meets.
func (c *Cloud) ReadLag(r *http.Request) time.Duration {
	return c.lag(r, c.Delays().Reads, UsualDelays.Reads)
}

// KeyLag returns how far the credentials lag behind at the front end of the
// token service that a request meets.
func (c *Cloud) KeyLag(r *http.Request) time.Duration {
	return c.lag(r, c.Delays().Keys, UsualDelays.Keys)
}

// RoleLag returns how far the permissions lag behind at the front end of the
// token service that a request meets.
func (c *Cloud) RoleLag(r *http.Request) time.Duration {
	return c.lag(r, c.Delays().Roles, UsualDelays.Roles)
}

// VaultLag returns how far the role assignments lag behind at the vault's
// replica that a request meets.
func (c *Cloud) VaultLag(r *http.Request) time.Duration {
	return c.lag(r, c.Delays().Vault, UsualDelays.Vault)
}

// lag draws a replica: the first lags least, the last most. The fault StaleRead
// makes it the last, which in a tenant without delays lags as is usual.
func (c *Cloud) lag(r *http.Request, d, usual Range) time.Duration {
	if m := markOf(r); m.stale {
		switch {
		case m.lag > 0:
			return m.lag
		case d.Most > 0:
			return d.Most
		}
		return usual.Most
	}
	if d.Most <= 0 {
		return 0
	}
	return d.Least + time.Duration(c.Chance.Int64N(replicas))*(d.Most-d.Least)/(replicas-1)
}

// parts are the delays by the names that ParseDelays knows, in their order.
func (d *Delays) parts() []struct {
	name string
	r    *Range
} {
	return []struct {
		name string
		r    *Range
	}{{"reads", &d.Reads}, {"keys", &d.Keys}, {"roles", &d.Roles}, {"vault", &d.Vault}}
}

// ParseDelays reads "none", "usual", or a list such as
// reads=0s-30s,keys=4s-60s,roles=10s-3m,vault=1m-10m. A single duration is both
// ends, and a part that is not named has no delay.
func ParseDelays(s string) (Delays, error) {
	var d Delays
	switch s {
	case "none":
		return d, nil
	case "usual":
		return UsualDelays, nil
	}
	seen := map[string]bool{}
	for item := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(item, "=")
		var into *Range
		var names []string
		for _, p := range d.parts() {
			names = append(names, p.name)
			if p.name == name {
				into = p.r
			}
		}
		if into == nil {
			return Delays{}, fmt.Errorf("delays: %q is neither none, usual nor one of %s, each with a range such as reads=0s-30s", Printable(item), strings.Join(names, ", "))
		}
		if seen[name] {
			return Delays{}, fmt.Errorf("delays: %s comes twice", name)
		}
		seen[name] = true
		r, err := parseRange(value)
		if err != nil {
			return Delays{}, fmt.Errorf("delays: %s: %w", name, err)
		}
		*into = r
	}
	return d, nil
}

func parseRange(s string) (Range, error) {
	least, most, two := strings.Cut(s, "-")
	if !two {
		most = least
	}
	var r Range
	var err error
	if r.Least, err = time.ParseDuration(least); err == nil {
		r.Most, err = time.ParseDuration(most)
	}
	switch {
	case err != nil:
		return Range{}, fmt.Errorf("%q is not a range such as 4s-60s", Printable(s))
	case r.Least < 0 || r.Least > r.Most || r.Most > MostLag:
		return Range{}, fmt.Errorf("%q must go from the shorter to the longer, and not beyond %s", Printable(s), MostLag)
	}
	return r, nil
}

// String is the inverse of ParseDelays.
func (d Delays) String() string {
	switch d {
	case Delays{}:
		return "none"
	case UsualDelays:
		return "usual"
	}
	var list []string
	for _, p := range d.parts() {
		if *p.r != (Range{}) {
			list = append(list, fmt.Sprintf("%s=%s-%s", p.name, p.r.Least, p.r.Most))
		}
	}
	return strings.Join(list, ",")
}
