package m365

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
)

// PipelineOptions says for whom and how an API is called.
type PipelineOptions struct {
	// Audience is the resource that the access tokens are for.
	Audience   string
	Credential azcore.TokenCredential
	HTTP       *http.Client
	Retry      Retry
	// Pace bounds how often the API is asked. It may be nil.
	Pace *Pace

	// Classify completes an error by what the API documents: its Kind where the
	// HTTP status does not tell. An error whose Kind it makes
	// [ErrThrottled] or [ErrTransient] is retried, and a 401 to which it gives a
	// kind of the API's own does not count against the access token. It may be nil.
	Classify func(*Error)
}

// Retry says how often and after how long a request is tried again when it was
// throttled, met a failing service or lost its connection. The zero value means the
// defaults.
type Retry struct {
	// Max is how many more tries follow the first; default 3, negative none.
	Max int
	// Delay is the first wait, doubled for each further try, with jitter;
	// default 1 s.
	Delay time.Duration
	// MaxDelay bounds a wait; default 1 min. An API that asks for a longer one by
	// Retry-After is not asked again: the error tells the caller how long.
	MaxDelay time.Duration
}

// A Pipeline calls one API: it authorizes, retries, bounds and names errors. It is
// safe for use by several goroutines.
type Pipeline struct {
	pipeline runtime.Pipeline
	classify func(*Error)
	retry    policy.RetryOptions
}

// Call is one request. It prints as method, host and path: a body may hold a proof.
type Call struct {
	Op     string // what is being done, gerund, for errors
	Method string
	URL    string

	// Body is sent as application/json; nil sends none.
	Body []byte

	// Once keeps the call from being repeated when its answer is lost, or says
	// that the service failed or was busy. It is for writes: whether one was done
	// is looked up. A refused access token is still replaced, since a call that
	// was refused for it did nothing.
	Once bool

	// Stream leaves the answer's body unread, of any length; the caller closes it.
	// Otherwise the body is in memory when Do returns, and at most MaxBody bytes.
	Stream  bool
	MaxBody int64 // default 1 MiB

	// Redirected makes a redirect the answer that is wanted. It is not followed.
	Redirected bool
}

// String names the call without its query and body.
func (c Call) String() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return c.Method
	}
	return c.Method + " " + hostPath(u)
}

// Format keeps the body out of %#v and its like.
func (c Call) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// MarshalText keeps the body out of JSON and structured logs.
func (c Call) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

const (
	// tryTimeout bounds one try whose answer is read into memory.
	tryTimeout     = 2 * time.Minute
	maxErrorBody   = 64 << 10
	defaultMaxBody = int64(1 << 20)
)

// NewPipeline makes the pipeline for an API.
func NewPipeline(o PipelineOptions) *Pipeline {
	p := &Pipeline{classify: o.Classify}
	if p.classify == nil {
		p.classify = func(*Error) {}
	}
	p.retry = policy.RetryOptions{
		MaxRetries:    int32(cmp.Or(o.Retry.Max, 3)),
		TryTimeout:    tryTimeout,
		RetryDelay:    cmp.Or(o.Retry.Delay, time.Second),
		MaxRetryDelay: cmp.Or(o.Retry.MaxDelay, time.Minute),
		ShouldRetry:   p.shouldRetry,
	}
	perRetry := []policy.Policy{
		freshToken{o.Credential, p.classify},
		runtime.NewBearerTokenPolicy(o.Credential, []string{scope(o.Audience)}, nil),
	}
	if o.Pace != nil {
		perRetry = slices.Insert(perRetry, 0, policy.Policy(paced{o.Pace, p.classify}))
	}
	p.pipeline = runtime.NewPipeline("reeve", "", runtime.PipelineOptions{
		PerCall:  []policy.Policy{agent(userAgent())},
		PerRetry: perRetry,
	}, &policy.ClientOptions{
		Retry:     p.retry,
		Telemetry: policy.TelemetryOptions{Disabled: true},
		Transport: boundedTransport{o.HTTP},
	})
	return p
}

// Do makes the call. Its error is an [*Error], a [*SignInError], or the context's.
func (p *Pipeline) Do(ctx context.Context, c Call) (*http.Response, error) {
	retry, limit := p.retry, cmp.Or(c.MaxBody, defaultMaxBody)
	if c.Once {
		retry.MaxRetries = -1
	}
	if c.Stream {
		retry.TryTimeout, limit = 0, 0
	}
	callCtx := policy.WithRetryOptions(context.WithValue(ctx, maxBodyKey{}, limit), retry)
	req, err := runtime.NewRequest(callCtx, c.Method, c.URL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Op, err)
	}
	req.Raw().Header.Set("Accept", "application/json")
	if c.Body != nil {
		if err := req.SetBody(streaming.NopCloser(bytes.NewReader(c.Body)), "application/json"); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Op, err)
		}
	}
	if c.Stream {
		runtime.SkipBodyDownload(req)
	}
	resp, err := p.pipeline.Do(req)
	if err != nil {
		return nil, p.unanswered(ctx, c, req, err)
	}
	wanted := c.Redirected && resp.StatusCode/100 == 3 && resp.Header.Get("Location") != ""
	if (resp.StatusCode < 200 || resp.StatusCode > 299) && !wanted {
		defer resp.Body.Close()
		e := ReadError(c.Op, resp)
		p.classify(e)
		return nil, e
	}
	return resp, nil
}

// unanswered names an error that came instead of an answer.
func (p *Pipeline) unanswered(ctx context.Context, c Call, req *policy.Request, err error) error {
	var signIn *SignInError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", c.Op, context.Cause(ctx))
	case errors.As(err, &signIn):
		return fmt.Errorf("%s: %w", c.Op, signIn)
	}
	var unsent *Error
	if errors.Is(err, errLeftAlone) && errors.As(err, &unsent) {
		return &Error{Op: c.Op, URL: hostPath(req.Raw().URL), Kind: unsent.Kind, RetryAfter: unsent.RetryAfter, Err: errLeftAlone}
	}
	err = withoutURL(err)
	e := &Error{Op: c.Op, URL: hostPath(req.Raw().URL), Err: err}
	if retryable(err) && !errors.Is(err, errTooLarge) {
		e.Kind = ErrTransient
	}
	return e
}

// shouldRetry judges a try; error bodies are in memory by then.
func (p *Pipeline) shouldRetry(resp *http.Response, err error) bool {
	if err != nil {
		return retryable(err) && !errors.Is(err, errTooLarge)
	}
	if resp.StatusCode < 400 {
		return false
	}
	e := ReadError("", resp)
	p.classify(e)
	return errors.Is(e, ErrThrottled) || errors.Is(e, ErrTransient)
}

// ClientOptions are for the Azure SDK's own clients: they call through client, say
// who calls, and take no answer of more than 1 MiB.
func ClientOptions(client *http.Client) azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: boundedTransport{client},
		Telemetry: policy.TelemetryOptions{ApplicationID: userAgent()},
	}
}

// agent says who calls.
type agent string

func (a agent) Do(req *policy.Request) (*http.Response, error) {
	req.Raw().Header.Set("User-Agent", string(a))
	return req.Next()
}

func userAgent() string {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = strings.Trim(info.Main.Version, "()")
	}
	return "reeve/" + version
}

// freshToken answers a 401 by trying once more with a new token. The SDK's own
// policy asks its credential again, but the credential would give out the refused
// token until its lifetime ends. A lacking permission is tried again too, because it
// may have been granted since the token was issued; a 401 that the API means
// otherwise, such as one about a proof in the body, is left as it is.
type freshToken struct {
	cred     azcore.TokenCredential
	classify func(*Error)
}

func (f freshToken) Do(req *policy.Request) (*http.Response, error) {
	resp, err := req.Next()
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	cred, ok := f.cred.(interface{ Forget(token string) })
	if !ok {
		return resp, err
	}
	e := ReadError("", resp)
	f.classify(e)
	if e.Kind != ErrUnauthorized && e.Kind != ErrForbidden {
		return resp, nil
	}
	cred.Forget(strings.TrimPrefix(req.Raw().Header.Get("Authorization"), "Bearer "))
	runtime.Drain(resp)
	if err := req.RewindBody(); err != nil {
		return nil, err
	}
	return req.Next()
}

// errTooLarge ends the reading of an answer that has no business being so large.
var errTooLarge = errors.New("the answer is larger than any that is expected here")

// maxBodyKey is the context key of the most bytes that an answer may have; 0 means
// that it streams.
type maxBodyKey struct{}

// boundedTransport keeps what is read into memory bounded, since the SDK reads
// errors, and all answers that do not stream, whole.
type boundedTransport struct{ client *http.Client }

func (t boundedTransport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	limit, ok := req.Context().Value(maxBodyKey{}).(int64)
	if !ok {
		limit = defaultMaxBody
	}
	switch {
	case resp.StatusCode >= 300:
		resp.Body = &boundedBody{resp.Body, maxErrorBody, io.EOF} // the beginning says enough
	case limit > 0:
		resp.Body = &boundedBody{resp.Body, limit, errTooLarge}
	}
	return resp, nil
}

// boundedBody ends with the given error when left bytes have been read and there are
// more.
type boundedBody struct {
	io.ReadCloser
	left int64
	end  error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := b.ReadCloser.Read(one[:]); n == 0 && err != nil {
			return 0, err
		}
		return 0, b.end
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
