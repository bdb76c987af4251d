package origin

import (
	"context"
	"net/http"
	"time"
)

// mark is what a fault asks of those who answer a request further in.
type mark struct {
	stale   bool
	lag     time.Duration // with stale: how far the replica lags; 0 means the most
	expired bool
	foreign bool
}

type markKey struct{}

func markOf(r *http.Request) mark {
	m, _ := r.Context().Value(markKey{}).(mark)
	return m
}

func (m mark) on(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), markKey{}, m))
}

// TokenExpired reports whether a fault wants the access token of a request to be
// treated as expired, whatever it says.
func TokenExpired(r *http.Request) bool { return markOf(r).expired }

// TokenForeign reports whether a fault wants the access token of a request to be
// treated as another tenant's.
func TokenForeign(r *http.Request) bool { return markOf(r).foreign }
