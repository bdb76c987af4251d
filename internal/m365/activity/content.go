package activity

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365"
)

const (
	// maxWindow and retention are the API's: a listing covers at most 24 hours, and
	// content is kept for 7 days after its creation.
	maxWindow = 24 * time.Hour
	retention = 7 * 24 * time.Hour

	maxPageBody = 32 << 20
)

// Content names a content blob: a file of audit records that the API gathered.
type Content struct {
	ContentType string
	ID          string
	URI         string    // opaque; for [Client.Blob]
	Created     time.Time // when the blob became available, not when its events happened
	Expires     time.Time // when the API forgets it
}

// Content lists the blobs of a content type that became available from start,
// inclusive, to end, exclusive, both cut to whole seconds; at most 24 hours, at most
// 7 days back. It reads page after page while the caller goes on.
//
// An error ends the listing: what came before it is not the whole window. So does a
// page that was there before, and more pages than [Options].PageLimit.
func (c *Client) Content(ctx context.Context, contentType string, start, end time.Time) iter.Seq2[Content, error] {
	op := "listing the content of " + contentType
	return func(yield func(Content, error) bool) {
		start, end := start.UTC().Truncate(time.Second), end.UTC().Truncate(time.Second)
		if !start.Before(end) || end.Sub(start) > maxWindow {
			yield(Content{}, fmt.Errorf("%s: the window from %s to %s is empty or longer than 24 hours", op, stamp(start), stamp(end)))
			return
		}
		page := c.url("subscriptions/content", url.Values{
			"contentType": {contentType},
			"startTime":   {stamp(start)},
			"endTime":     {stamp(end)},
		})
		seen := map[string]bool{}
		for page != "" {
			if seen[page] {
				yield(Content{}, fmt.Errorf("%s: page %d leads back to an earlier one: the listing would never end", op, len(seen)))
				return
			}
			if len(seen) >= c.pageLimit {
				yield(Content{}, fmt.Errorf("%s: there are more than %d pages", op, c.pageLimit))
				return
			}
			seen[page] = true
			list, next, err := c.page(ctx, op, page)
			if err != nil {
				yield(Content{}, err)
				return
			}
			for _, content := range list {
				if content.ContentType == "" {
					content.ContentType = contentType
				}
				if !yield(content, nil) {
					return
				}
			}
			page = next
		}
	}
}

// page reads one page of a listing and the link to the next one, which is empty at
// the end.
func (c *Client) page(ctx context.Context, op, page string) ([]Content, string, error) {
	resp, err := c.pipeline.Do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: page, MaxBody: maxPageBody})
	if err != nil {
		return nil, "", err
	}
	var list []Content
	if err := decodeList(op, resp, &list); err != nil {
		return nil, "", err
	}
	next, err := c.next(resp.Header.Get("NextPageUri"))
	if err != nil {
		return nil, "", fmt.Errorf("%s: the link to the next page: %w", op, err)
	}
	return list, next, nil
}

// next checks a link to a next page, which must stay with the API and the tenant.
// The API writes its own version in it as v1.0 or as v1.
func (c *Client) next(link string) (string, error) {
	if link == "" {
		return "", nil
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", err
	}
	if err := c.checkOrigin(u); err != nil {
		return "", err
	}
	part := strings.Split(u.Path, "/") // "", api, version, tenant, activity, feed, …
	if len(part) < 6 || part[1] != "api" || !strings.EqualFold(part[3], c.tenantID) ||
		part[4] != "activity" || part[5] != "feed" || slices.Contains(part, "..") {
		return "", fmt.Errorf("%s%s is not in the feed of tenant %s", u.Host, u.Path, c.tenantID)
	}
	return c.withPublisher(u), nil
}

// UnmarshalJSON reads an entry of a listing. An entry without an address is an
// error, since its records would be lost.
func (c *Content) UnmarshalJSON(data []byte) error {
	var entry struct {
		ContentType       string `json:"contentType"`
		ContentID         string `json:"contentId"`
		ContentURI        string `json:"contentUri"`
		ContentCreated    string `json:"contentCreated"`
		ContentExpiration string `json:"contentExpiration"`
	}
	if err := json.Unmarshal(data, &entry); err != nil {
		return err
	}
	if entry.ContentID == "" || entry.ContentURI == "" {
		return fmt.Errorf("an entry has no contentId or no contentUri (contentId %q)", entry.ContentID)
	}
	created, err := parseTime(entry.ContentCreated)
	if err != nil {
		return fmt.Errorf("contentCreated of %s: %w", entry.ContentID, err)
	}
	expires, err := parseTime(entry.ContentExpiration)
	if err != nil {
		expires = created.Add(retention) // as documented
	}
	*c = Content{
		ContentType: entry.ContentType,
		ID:          entry.ContentID,
		URI:         entry.ContentURI,
		Created:     created,
		Expires:     expires,
	}
	return nil
}

// stamp writes a time as the API's parameters want it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

// parseTime reads a time of the API, which is UTC when it has no zone.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse("2006-01-02T15:04:05.999999999", s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time", s)
	}
	return t.UTC(), nil
}
