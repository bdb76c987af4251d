package m365

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// The kinds of an [Error], for errors.Is.
var (
	// ErrThrottled: too many requests. Error.RetryAfter says how long to wait, if
	// the API said so.
	ErrThrottled = errors.New("throttled")
	// ErrUnauthorized: the access token was refused, a fresh one too.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: the application lacks a permission.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound: it is not there, or not any more.
	ErrNotFound = errors.New("not found")
	// ErrTransient: the network or the service failed; the same request may
	// succeed later.
	ErrTransient = errors.New("transient")
)

// Error is a request that an API did not fulfil. Its text and fields hold no token
// and no query of a URL.
type Error struct {
	Op     string // what was being done, gerund: "listing the content of Audit.General"
	URL    string // host and path
	Status int    // HTTP; 0 when there was no answer

	Code      string // the API's, such as AF20022
	Message   string // the API's
	RequestID string // the API's, for Microsoft's support

	// Remedy says what to do about it, where more is known than [Error.Explanation]
	// says of the code.
	Remedy string

	// RetryAfter is how long the API asked to wait; 0 when it did not say.
	RetryAfter time.Duration

	// Kind is one of the package's kinds, an API's own, or nil.
	Kind error

	// Err is the network's error when there was no answer, or a broken one.
	Err error
}

func (e *Error) Error() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "%s: %s", e.Op, e.URL)
	if e.Status != 0 {
		fmt.Fprintf(b, " answered %s", status(e.Status))
	}
	code, remedy := e.Code, e.Remedy
	if x, ok := e.Explanation(); ok {
		code, remedy = strings.TrimPrefix(code+", "+x.Title, ", "), clause(x.Remedy)
	}
	for _, s := range []string{code, strings.TrimSuffix(e.Message, ".")} {
		if s != "" {
			fmt.Fprintf(b, ": %s", s)
		}
	}
	if e.Err != nil {
		fmt.Fprintf(b, ": %v", e.Err)
	}
	if remedy != "" {
		fmt.Fprintf(b, "; %s", remedy)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(b, " (retry after %s)", e.RetryAfter)
	}
	if e.RequestID != "" {
		fmt.Fprintf(b, " (request %s)", e.RequestID)
	}
	return b.String()
}

// Explanation returns what the most particular of the codes that is known means, or
// what the network's error does.
func (e *Error) Explanation() (Explanation, bool) {
	said := e.URL + " " + e.Message
	if e.Err != nil {
		said += " " + e.Err.Error()
	}
	codes := strings.Split(e.Code, "/") // the inner one stands last
	slices.Reverse(codes)
	codes = append(coded.FindAllString(e.Message, -1), codes...)
	for _, code := range codes {
		if x, ok := explain(code, said); ok {
			return e.with(x), true
		}
	}
	if e.Code != "" {
		return Explanation{}, false
	}
	x, ok := explainWords(said)
	if !ok && e.Status == 0 && e.Err != nil {
		x, ok = lookUp(wayClosed)
	}
	return e.with(x), ok
}

// with is an explanation with the remedy that is more particular.
func (e *Error) with(x Explanation) Explanation {
	if e.Remedy != "" {
		x.Remedy = sentence(e.Remedy)
	}
	return x
}

// Unwrap returns the kind and the cause, those that there are.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// ReadError makes an [Error] of an answer that an azcore pipeline returned. It looks
// for the error forms of the APIs in use: {"error":{"code","message"}} and
// {"Message"}.
func ReadError(op string, resp *http.Response) *Error {
	e := &Error{
		Op:         op,
		Status:     resp.StatusCode,
		RetryAfter: retryAfter(resp.Header),
		Kind:       kindOf(resp.StatusCode),
	}
	if resp.Request != nil {
		e.URL = hostPath(resp.Request.URL)
	}
	for _, name := range []string{"x-ms-request-id", "request-id", "client-request-id"} {
		if e.RequestID = resp.Header.Get(name); e.RequestID != "" {
			break
		}
	}
	data, err := runtime.Payload(resp)
	if err != nil {
		e.Err = err
		return e
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Inner   struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
		Message string `json:"Message"`
	}
	if json.Unmarshal(data, &body) == nil && (body.Error.Code != "" || body.Message != "") {
		e.Code, e.Message = body.Error.Code, body.Error.Message
		if body.Error.Inner.Code != "" {
			e.Code += "/" + body.Error.Inner.Code
		}
		if e.Message == "" {
			e.Message = body.Message
		}
	} else {
		e.Message = excerpt(data)
	}
	e.Message = withoutTokens(e.Message)
	return e
}

func kindOf(status int) error {
	switch status {
	case http.StatusTooManyRequests:
		return ErrThrottled
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound, http.StatusGone:
		return ErrNotFound
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return ErrTransient
	}
	return nil
}

// retryable reports whether a request that got no answer may get one later. A
// server's certificate that is not trusted stays so.
func retryable(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return !errors.As(err, &untrusted) && !errors.Is(err, errLeftAlone)
}

// retryAfter reads Retry-After, in seconds or as a date. A date is compared with the
// one that the same clock wrote on the answer.
func retryAfter(h http.Header) time.Duration {
	const month = 30 * 24 * 60 * 60
	s := h.Get("Retry-After")
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(min(n, month)) * time.Second
	}
	until, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	now := serverTime(h)
	if now.IsZero() {
		now = time.Now()
	}
	return max(0, until.Sub(now))
}

// serverTime is the clock of whoever answered, to the second; zero when it did not
// say.
func serverTime(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func status(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

func hostPath(u *url.URL) string { return u.Host + u.Path }

// excerpt is the beginning of an answer that has no known form, on one line.
func excerpt(data []byte) string {
	const limit = 200
	data = jwt.ReplaceAll(bytes.Join(bytes.Fields(data), []byte(" ")), []byte("<token>"))
	switch {
	case len(data) == 0:
		return "an empty answer"
	case data[0] == '<':
		return "a page of HTML or XML, perhaps a proxy's"
	case !utf8.Valid(data):
		return "an answer that is no text"
	case len(data) > limit:
		return strings.ToValidUTF8(string(data[:limit]), "") + "…"
	}
	return string(data)
}
