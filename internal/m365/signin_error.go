package m365

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// SignInError is a token that was not given: refused by Entra ID, in which case
// Codes names the reasons, or never answered for, in which case Unwrap gives the
// network's error.
type SignInError struct {
	SignIn   string // who tried and how, for people
	Resource string // for which resource

	Status  int   // HTTP; 0 without an answer
	Codes   []int // AADSTS numbers, most specific first
	Message string

	TraceID       string
	CorrelationID string
	Timestamp     string // as Entra ID wrote it
	RetryAfter    time.Duration

	// ServerTime is the authority's clock as it answered, by which a wrong clock
	// here shows (AADSTS700024); zero without an answer.
	ServerTime time.Time

	cause error
}

func (e *SignInError) Error() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "signing in %s", e.SignIn)
	if e.Resource != "" {
		fmt.Fprintf(b, " for %s", e.Resource)
	}
	message := e.Message
	if x, ok := e.Explanation(); ok {
		fmt.Fprintf(b, ": %s, %s", x.Code, x.Title)
		message = strings.TrimPrefix(message, x.Code+": ")
	}
	fmt.Fprintf(b, ": %s", message)
	if e.TraceID != "" {
		fmt.Fprintf(b, " (trace %s, correlation %s, %s)", e.TraceID, e.CorrelationID, e.Timestamp)
	}
	return b.String()
}

// Unwrap returns the network's error, if that is what stopped the sign-in.
func (e *SignInError) Unwrap() error { return e.cause }

// Is makes a sign-in that was throttled or never answered an [ErrTransient].
func (e *SignInError) Is(target error) bool {
	unanswered := e.Status == 0 && e.cause != nil && retryable(e.cause) && !errors.Is(e.cause, errTooLarge)
	return target == ErrTransient && (unanswered || e.Status == http.StatusTooManyRequests || e.Status >= 500)
}

// Has reports whether Entra ID named the AADSTS number.
func (e *SignInError) Has(code int) bool { return slices.Contains(e.Codes, code) }

// Explanation returns what the first of the codes that is known means, or what the
// network's error does.
func (e *SignInError) Explanation() (Explanation, bool) {
	for _, code := range e.Codes {
		if x, ok := explain(sts(code), e.Message); ok {
			return x, true
		}
	}
	if len(e.Codes) > 0 {
		return Explanation{}, false
	}
	x, ok := explainWords(e.Message)
	if !ok && e.cause != nil {
		x, ok = lookUp(wayClosed)
	}
	return x, ok
}

// signInError names an error of the SDK's credential. It keeps nothing of the
// request, which holds the secret or the assertion; network is the error of the last
// request that got no answer.
func (c *Credential) signInError(ctx context.Context, o policy.TokenRequestOptions, err, network error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("signing in %v: %w", c.signIn, context.Cause(ctx))
	}
	e := &SignInError{
		SignIn:   c.signIn.String(),
		Resource: strings.TrimSuffix(strings.Join(o.Scopes, " "), "/.default"),
	}
	var failed *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &failed) && failed.RawResponse != nil:
		e.read(failed.RawResponse)
	case network != nil:
		e.unanswered(network)
	default:
		e.Message = err.Error()
		e.Codes = codesIn(e.Message)
	}
	e.Message = c.scrub(e.Message)
	return e
}

// unanswered says that the network stopped the sign-in.
func (e *SignInError) unanswered(network error) {
	e.cause = withoutURL(network)
	e.Message = e.cause.Error()
}

// read takes the error out of Entra ID's answer, whose body the SDK keeps in memory.
func (e *SignInError) read(resp *http.Response) {
	e.Status = resp.StatusCode
	e.RetryAfter = retryAfter(resp.Header)
	e.ServerTime = serverTime(resp.Header)
	data, err := runtime.Payload(resp)
	var body struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
		Timestamp     string `json:"timestamp"`
	}
	if err != nil || json.Unmarshal(data, &body) != nil || body.Error == "" {
		e.Message = fmt.Sprintf("the authority answered %s without saying why: %s", status(resp.StatusCode), excerpt(data))
		e.Codes = codesIn(string(data))
		return
	}
	// The number that opens the description is the most specific one.
	e.Codes = codesIn(body.Description)
	if len(e.Codes) == 0 {
		e.Codes = body.Codes
	}
	e.Message, _, _ = strings.Cut(body.Description, "Trace ID:")
	e.Message = strings.Join(strings.Fields(e.Message), " ")
	if e.Message == "" {
		e.Message = body.Error
	}
	e.TraceID, e.CorrelationID, e.Timestamp = body.TraceID, body.CorrelationID, body.Timestamp
}

var aadsts = regexp.MustCompile(`AADSTS(\d{3,10})`)

func codesIn(s string) []int {
	var codes []int
	for _, m := range aadsts.FindAllStringSubmatch(s, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			codes = append(codes, n)
		}
	}
	return codes
}

// jwt matches tokens and assertions, which some answers echo.
var jwt = regexp.MustCompile(`eyJ[\w-]{5,}(\.[\w-]*){0,2}`)

func withoutTokens(s string) string { return jwt.ReplaceAllString(s, "<token>") }

func (c *Credential) scrub(s string) string {
	s = withoutTokens(s)
	if c.signIn.Secret != "" {
		s = strings.ReplaceAll(s, c.signIn.Secret, "<secret>")
	}
	return s
}

// attempt carries past the SDK what it loses: the error of a request that got no answer,
// of which it keeps no more than the text, and what the last refusal said.
type attempt struct {
	err     error
	givenUp bool // err is that whoever asked did not wait any longer
	refusal []byte
}

type attemptKey struct{}

// signInTransport sends the requests of the SDK's credentials.
type signInTransport struct{ client *http.Client }

// Do bounds the answer and notes what [attempt] carries.
func (t signInTransport) Do(req *http.Request) (*http.Response, error) {
	const maxBody = 1 << 20 // tokens and discovery documents have a few KiB
	resp, err := t.client.Do(req)
	seen, ok := req.Context().Value(attemptKey{}).(*attempt)
	if ok {
		seen.err, seen.givenUp = err, err != nil && req.Context().Err() != nil
	}
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxBody), resp.Body}
	if ok && resp.StatusCode >= 400 {
		seen.refusal, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			seen.err = err
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(seen.refusal))
	}
	return resp, nil
}

// withoutURL drops the URL from an error of the HTTP client, because its query may
// hold what nobody should read. It keeps the host.
func withoutURL(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	host := u.URL
	if parsed, parseErr := url.Parse(u.URL); parseErr == nil {
		host = parsed.Host
	}
	return fmt.Errorf("reaching %s: %w", host, u.Err)
}
