// Package activity is a client of the Office 365 Management Activity API: the
// subscriptions of a tenant, the listing of the content that they gather, and the
// content itself as a stream of bytes. It parses no audit record and remembers
// nothing between calls.
//
// Microsoft documents the API at
// https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference.
package activity

import (
	"bytes"
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

// ErrGone is the kind of an error about content that the API has forgotten, as it
// does after 7 days, or that it never had. Trying again is of no use.
var ErrGone = errors.New("content gone")

// Options says which tenant is read, and as whom.
type Options struct {
	Cloud m365.Cloud

	// TenantID is the tenant's GUID; the API takes no domain.
	TenantID   string
	Credential azcore.TokenCredential
	HTTP       *http.Client

	// Publisher is the GUID of the tenant of whoever runs the program, by which
	// the API allots its quota; default TenantID.
	Publisher string

	// PageLimit bounds the pages of one listing; default 10,000. A listing that
	// has more is an error.
	PageLimit int

	Retry m365.Retry
	// Pace bounds how often the API is asked. It may be nil.
	Pace *m365.Pace
}

// idleTimeout bounds the wait for the next bytes of a content blob.
const idleTimeout = time.Minute

// A Client reads one tenant. It is safe for use by several goroutines.
type Client struct {
	pipeline  *m365.Pipeline
	manage    *url.URL
	tenantID  string
	publisher string
	pageLimit int
	idle      time.Duration
}

// New makes a client; nothing is sent.
func New(o Options) (*Client, error) {
	if o.Cloud.Manage == "" {
		return nil, fmt.Errorf("cloud %q has no Management Activity endpoint: give its address", o.Cloud.Name)
	}
	if err := o.Cloud.Check(); err != nil {
		return nil, err
	}
	manage, err := url.Parse(strings.TrimSuffix(o.Cloud.Manage, "/"))
	if err != nil {
		return nil, err
	}
	if uuid.Validate(o.TenantID) != nil {
		return nil, fmt.Errorf("the tenant ID %q is not a GUID: the Management Activity API takes no domain; the GUID is at Entra ID > Overview", o.TenantID)
	}
	c := &Client{
		manage:    manage,
		tenantID:  o.TenantID,
		publisher: o.Publisher,
		pageLimit: o.PageLimit,
		idle:      idleTimeout,
	}
	if c.publisher == "" {
		c.publisher = o.TenantID
	}
	if c.pageLimit <= 0 {
		c.pageLimit = 10_000
	}
	c.pipeline = m365.NewPipeline(m365.PipelineOptions{
		Audience:   o.Cloud.ManageAudience,
		Credential: o.Credential,
		HTTP:       o.HTTP,
		Retry:      o.Retry,
		Pace:       o.Pace,
		Classify:   classify,
	})
	return c, nil
}

// Subscription is a content type that the tenant has or had a subscription to.
type Subscription struct {
	ContentType string `json:"contentType"`
	Status      string `json:"status"` // "enabled" or "disabled"
}

// Enabled reports whether the subscription gathers content.
func (s Subscription) Enabled() bool { return strings.EqualFold(s.Status, "enabled") }

// Subscriptions lists the tenant's subscriptions.
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	op := "listing the subscriptions"
	resp, err := c.pipeline.Do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: c.url("subscriptions/list", nil)})
	if err != nil {
		return nil, err
	}
	var list []Subscription
	if err := decodeList(op, resp, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// Start subscribes the tenant to a content type, such as "Audit.General". That it is
// subscribed already is success. Content is gathered from then on; the first may take
// up to 12 hours to appear, Microsoft says. It also says not to repeat a start within
// 15 minutes, so look at [Client.Subscriptions] first.
func (c *Client) Start(ctx context.Context, contentType string) error {
	op := "starting the subscription to " + contentType
	_, err := c.pipeline.Do(ctx, m365.Call{
		Op:     op,
		Method: http.MethodPost,
		URL:    c.url("subscriptions/start", url.Values{"contentType": {contentType}}),
	})
	var e *m365.Error
	if errors.As(err, &e) && e.Code == "AF20024" {
		return nil
	}
	return err
}

// url names an operation of the feed.
func (c *Client) url(operation string, query url.Values) string {
	u := *c.manage
	u.Path = "/api/v1.0/" + c.tenantID + "/activity/feed/" + operation
	u.RawQuery = query.Encode()
	return c.withPublisher(&u)
}

// withPublisher adds the publisher to a URL and leaves the rest of it as it was
// written: content URIs hold a "$" that the API wants to see again unchanged.
func (c *Client) withPublisher(u *url.URL) string {
	for name := range u.Query() {
		if strings.EqualFold(name, "PublisherIdentifier") {
			return u.String()
		}
	}
	with := *u
	if with.RawQuery != "" {
		with.RawQuery += "&"
	}
	with.RawQuery += "PublisherIdentifier=" + url.QueryEscape(c.publisher)
	return with.String()
}

// checkOrigin refuses to send the token anywhere but to the API.
func (c *Client) checkOrigin(u *url.URL) error {
	if u.Scheme != c.manage.Scheme || !strings.EqualFold(u.Hostname(), c.manage.Hostname()) || port(u) != port(c.manage) || u.User != nil {
		return fmt.Errorf("%s://%s%s is not on %s: the access token is sent nowhere else", u.Scheme, u.Host, u.Path, c.manage)
	}
	return nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "443"
}

// decodeList decodes an answer that must be a JSON array. The API has been seen to
// send errors with the status of a success, and proxies send pages; unless the answer
// names an error of the API, the next one may be whole.
func decodeList(op string, resp *http.Response, list any) error {
	data, err := runtime.Payload(resp)
	if err == nil {
		data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
		if len(data) > 0 && data[0] == '[' {
			err = json.Unmarshal(data, list)
			if err == nil {
				return nil
			}
		}
	}
	e := m365.ReadError(op, resp)
	if err != nil {
		e.Message, e.Err = "not the documented list", err
	} else {
		e.Message = "not a list: " + e.Message
	}
	if e.Code == "" {
		e.Kind = m365.ErrTransient
	}
	classify(e)
	return e
}

// classify gives errors their kinds by the API's own codes.
func classify(e *m365.Error) {
	switch e.Code {
	case "AF429":
		e.Kind = m365.ErrThrottled // often with the status 403
	case "AF50000":
		e.Kind = m365.ErrTransient
	case "AF20050", "AF20051":
		e.Kind = ErrGone
	case "AF10001":
		e.Kind = m365.ErrForbidden
	}
}
