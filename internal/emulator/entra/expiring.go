package entra

import "time"

// expiring holds things by name, each until a time. Whoever uses it holds the
// mutex that guards it.
type expiring[V any] struct {
	held map[string]heldUntil[V]
	full int // so many are held that it is time to look for what has expired
}

type heldUntil[V any] struct {
	value V
	until time.Time
}

// get returns what is held under a name now.
func (x *expiring[V]) get(name string, now time.Time) (V, bool) {
	h, ok := x.held[name]
	if !ok || now.After(h.until) {
		var none V
		return none, false
	}
	return h.value, true
}

// put holds a value under a name until a time.
func (x *expiring[V]) put(name string, value V, until, now time.Time) {
	const least = 256
	if x.held == nil {
		x.held, x.full = map[string]heldUntil[V]{}, least
	}
	if len(x.held) >= x.full {
		for name, h := range x.held {
			if now.After(h.until) {
				delete(x.held, name)
			}
		}
		x.full = max(least, 2*len(x.held))
	}
	x.held[name] = heldUntil[V]{value, until}
}
