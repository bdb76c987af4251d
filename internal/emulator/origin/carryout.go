package origin

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"time"
)

// carryOut answers a request as the fault wants it.
func (f *Fault) carryOut(w http.ResponseWriter, r *http.Request, a API, c *Cloud) {
	switch f.Kind {
	case Throttle:
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(f.RetryAfter/time.Second))))
		a.Refuse(w, r, Failure{http.StatusTooManyRequests, "Too many requests. Please retry later."})
	case ThrottleSilent:
		a.Refuse(w, r, Failure{http.StatusTooManyRequests, "Too many requests. Please retry later."})
	case Unavailable:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
		}
		a.Refuse(w, r, Failure{http.StatusServiceUnavailable, "The service is temporarily unavailable. Please retry later."})
	case ServerError:
		a.Refuse(w, r, Failure{http.StatusInternalServerError, "An internal server error has occurred."})
	case BadGateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		w.Write([]byte("<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"))
	case GatewayTimeout:
		a.Refuse(w, r, Failure{http.StatusGatewayTimeout, "The service did not answer in time. Please retry later."})
	case Reset:
		reset(w)
	case LostResponse:
		a.Handler.ServeHTTP(&unheard{header: w.Header().Clone()}, r)
		reset(w)
	case ResetBody:
		limit := f.Bytes
		if limit <= 0 {
			limit = 1 << 10
		}
		cut := &cutWriter{ResponseWriter: w, limit: limit, short: f.Bytes <= 0}
		a.Handler.ServeHTTP(cut, r)
		cut.finish()
	case Truncated:
		held := &headWriter{ResponseWriter: w, limit: f.Bytes}
		a.Handler.ServeHTTP(held, r)
		held.finish()
	case Slow:
		if !pause(w, r, f.Delay) {
			panic(http.ErrAbortHandler) // Returning would answer 200.
		}
		a.Handler.ServeHTTP(w, r)
	case StaleRead:
		a.Handler.ServeHTTP(w, mark{stale: true, lag: f.Delay}.on(r))
	case ExpiredToken:
		a.Handler.ServeHTTP(w, mark{expired: true}.on(r))
	case ForeignToken:
		a.Handler.ServeHTTP(w, mark{foreign: true}.on(r))
	case ClockStep:
		c.StepClock(f.Delay)
		w.Header().Set("Date", c.Now().UTC().Format(http.TimeFormat))
		a.Handler.ServeHTTP(w, r)
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

// unheard takes an answer that nobody will hear.
type unheard struct{ header http.Header }

func (u *unheard) Header() http.Header         { return u.header }
func (u *unheard) WriteHeader(int)             {}
func (u *unheard) Write(p []byte) (int, error) { return len(p), nil }

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

// mostHeld bounds what a headWriter holds to find the middle of an answer.
const mostHeld = 32 << 20

// headWriter gives the first part of an answer as if it were all of it: so many
// bytes, or half. The half of an answer longer than mostHeld is half of that.
type headWriter struct {
	http.ResponseWriter
	limit  int64 // 0 for half
	held   bytes.Buffer
	status int
}

func (h *headWriter) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *headWriter) Write(p []byte) (int, error) {
	most := int64(mostHeld)
	if h.limit > 0 {
		most = min(most, h.limit)
	}
	h.held.Write(p[:min(int64(len(p)), most-int64(h.held.Len()))])
	return len(p), nil
}

func (h *headWriter) finish() {
	text := h.held.Bytes()
	if h.limit <= 0 {
		text = text[:len(text)/2]
	}
	h.Header().Del("Content-Length")
	if h.status != 0 {
		h.ResponseWriter.WriteHeader(h.status)
	}
	h.ResponseWriter.Write(text)
}
