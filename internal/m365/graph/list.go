package graph

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365"
)

const (
	pageSize = "999" // the most that Graph takes
	// maxPageBody leaves room for a page of applications with 100 credentials each.
	maxPageBody = 64 << 20
)

// list lists the objects at a path. stamp sets when one was answered and returns its
// object ID.
func list[T any](ctx context.Context, c *Client, op, path, properties string, stamp func(*T, time.Time) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		page := graphURL(c.cloud, path, url.Values{"$select": {properties}, "$top": {pageSize}})
		seen := map[string]bool{}
		for page != "" {
			if seen[page] {
				yield(none, fmt.Errorf("%s: page %d leads back to an earlier one: the listing would never end", op, len(seen)))
				return
			}
			if len(seen) >= c.pageLimit {
				yield(none, fmt.Errorf("%s: there are more than %d pages", op, c.pageLimit))
				return
			}
			seen[page] = true
			objects, next, err := listPage(ctx, c, op, page, stamp)
			if err != nil {
				yield(none, err)
				return
			}
			for _, o := range objects {
				if !yield(o, nil) {
					return
				}
			}
			page = next
		}
	}
}

// listPage reads one page of a listing and the link to the next one, which is empty
// at the end.
func listPage[T any](ctx context.Context, c *Client, op, page string, stamp func(*T, time.Time) string) ([]T, string, error) {
	resp, err := c.do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: page, MaxBody: maxPageBody}, needsReadAll)
	if err != nil {
		return nil, "", err
	}
	var body struct {
		Value *[]T   `json:"value"`
		Next  string `json:"@odata.nextLink"`
	}
	if err := decode(op, resp, &body); err != nil {
		return nil, "", err
	}
	if body.Value == nil {
		return nil, "", unexpected(op, resp, fmt.Errorf("it holds no list"))
	}
	at := answered(resp)
	for i := range *body.Value {
		if stamp(&(*body.Value)[i], at) == "" {
			return nil, "", unexpected(op, resp, fmt.Errorf("entry %d has no ID", i+1))
		}
	}
	if err := c.checkOrigin(body.Next); err != nil {
		return nil, "", fmt.Errorf("%s: the link to the next page: %w", op, err)
	}
	return *body.Value, body.Next, nil
}

// checkOrigin refuses to send the token anywhere but to Graph.
func (c *Client) checkOrigin(link string) error {
	if link == "" {
		return nil
	}
	u, err := url.Parse(link)
	if err != nil {
		return fmt.Errorf("it cannot be read")
	}
	graph, err := url.Parse(c.cloud.Graph)
	if err != nil {
		return err
	}
	if u.Scheme != graph.Scheme || !strings.EqualFold(u.Hostname(), graph.Hostname()) || port(u) != port(graph) || u.User != nil {
		return fmt.Errorf("%s://%s%s is not on %s: the access token is sent nowhere else", u.Scheme, u.Host, u.Path, c.cloud.Graph)
	}
	return nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return "443"
}
