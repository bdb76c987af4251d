// Package graph is the calls of Microsoft Graph that reeve makes: the certificates and
// client secrets of a tenant's applications, read one by one and listed, and the
// changes to an application's key credentials. It decides nothing and remembers
// nothing between calls.
//
// A read is tried again when Graph is busy or fails. A change is sent once: whether
// one whose answer was lost was made is to be looked up.
package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/m365"
)

// Options says which cloud's Graph is called, and as whom.
type Options struct {
	Cloud      m365.Cloud
	Credential azcore.TokenCredential
	HTTP       *http.Client
	Retry      m365.Retry // of reads
}

// A Client calls Graph. It is safe for use by several goroutines.
type Client struct {
	pipeline  *m365.Pipeline
	cloud     m365.Cloud
	pageLimit int
}

// New makes a client; nothing is sent.
func New(o Options) (*Client, error) {
	if o.Cloud.Graph == "" {
		return nil, fmt.Errorf("cloud %q has no Graph endpoint: give its address", o.Cloud.Name)
	}
	if err := o.Cloud.Check(); err != nil {
		return nil, err
	}
	return &Client{
		cloud:     o.Cloud,
		pageLimit: 10_000,
		pipeline: m365.NewPipeline(m365.PipelineOptions{
			Audience:   o.Cloud.GraphAudience,
			Credential: o.Credential,
			HTTP:       o.HTTP,
			Retry:      o.Retry,
			Classify:   classify,
		}),
	}, nil
}

// do makes a call; permission says what a caller lacks whom Graph forbids it.
func (c *Client) do(ctx context.Context, call m365.Call, permission string) (*http.Response, error) {
	resp, err := c.pipeline.Do(ctx, call)
	var e *m365.Error
	if errors.As(err, &e) && e.Kind == m365.ErrForbidden && e.Remedy == "" {
		e.Remedy = permission
	}
	return resp, err
}

// read gets one object into v, and returns the time of the answer.
func (c *Client) read(ctx context.Context, op, address, permission string, v any) (time.Time, error) {
	resp, err := c.do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: address, MaxBody: maxObjectBody}, permission)
	if err != nil {
		return time.Time{}, err
	}
	return answered(resp), decode(op, resp, v)
}

// maxObjectBody leaves room for an application that is full of certificates.
const maxObjectBody = 8 << 20

// answered is when Graph answered, by its clock; zero when it did not say.
func answered(resp *http.Response) time.Time {
	t, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// decode reads an answer that must be a JSON object. One that is not may be a
// proxy's, or cut short, and the next one whole.
func decode(op string, resp *http.Response, v any) error {
	data, err := runtime.Payload(resp)
	if err == nil {
		if err = json.Unmarshal(data, v); err == nil {
			return nil
		}
	}
	return unexpected(op, resp, err)
}

// unexpected is an answer that counts as a success and is not what Graph documents.
func unexpected(op string, resp *http.Response, err error) error {
	e := m365.ReadError(op, resp)
	e.Message, e.Err, e.Kind = "not the documented answer", err, m365.ErrTransient
	return e
}

// graphURL is the address of a path, whose parts are escaped already.
func graphURL(c m365.Cloud, path string, query url.Values) string {
	s := strings.TrimSuffix(c.Graph, "/") + "/v1.0/" + path
	if len(query) > 0 {
		s += "?" + query.Encode()
	}
	return s
}

// checkID refuses what cannot be an ID before it becomes part of an address.
func checkID(op, name, id string) error {
	if uuid.Validate(id) != nil {
		return fmt.Errorf("%s: the %s %.60q is not a GUID: see Entra ID > App registrations > the application > Overview", op, name, id)
	}
	return nil
}
