package emulator

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// Listings of content, their pages, and the blobs.

// longestWindow is how far apart the ends of a listing may be.
const longestWindow = 24 * time.Hour

// activityTime is how the service writes times.
const activityTime = "2006-01-02T15:04:05.000Z"

// window returns the interval that a call asks for: by default the last 24
// hours. Both ends or neither must be given, at most 24 hours apart, and the
// start at most seven days ago. Documented are two codes for any of this;
// which of them is for what, is [K].
func (e *Emulator) window(c *activityCall) (start, end time.Time, err error) {
	from, to := c.query.Get("startTime"), c.query.Get("endTime")
	now := e.tenant.Now().UTC()
	if from == "" && to == "" {
		return now.Add(-longestWindow), now, nil
	}
	if from == "" || to == "" {
		return start, end, badActivity("AF20030", "Start time and end time must both be specified (or both omitted).")
	}
	if start, err = parseActivityTime(from); err != nil {
		return start, end, badActivity("AF20002", "Invalid parameter type: startTime. Expected type: datetime.")
	}
	if end, err = parseActivityTime(to); err != nil {
		return start, end, badActivity("AF20002", "Invalid parameter type: endTime. Expected type: datetime.")
	}
	if !start.Before(end) || end.Sub(start) > longestWindow || start.Before(now.Add(-tenant.Retention)) {
		return start, end, badActivity("AF20055", "Start time and end time must be less than or equal to 24 hours apart, "+
			"with the start time prior to end time and start time no more than 7 days in the past.")
	}
	return start, end, nil
}

// contentBody is a blob as it is listed.
type contentBody struct {
	ContentType       string `json:"contentType"`
	ContentID         string `json:"contentId"`
	ContentURI        string `json:"contentUri"`
	ContentCreated    string `json:"contentCreated"`
	ContentExpiration string `json:"contentExpiration"`
}

// foreignOrigin is where the links of ForeignLink lead: another organization's
// host, which must not get to see the token.
const foreignOrigin = "https://manage.fabrikam.example"

func (e *Emulator) listContent(w http.ResponseWriter, c *activityCall) error {
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	page, err := e.page(c, contentType)
	if err != nil {
		return err
	}
	if !e.tenant.Audit.Subscribed(contentType) {
		return noSubscription()
	}
	if page.Number == 0 {
		page.Listing = e.tenant.Audit.List(contentType, page.Start, page.End)
	}
	origin, repeat, kind := c.origin(), page.Repeat, c.faultKind()
	if kind == RepeatPage {
		repeat = true
	}
	if kind == ForeignLink {
		origin = foreignOrigin
	}
	blobs, next := e.tenant.Audit.Page(page.Listing)
	if repeat {
		next = &page.Listing
	}
	list := make([]contentBody, 0, len(blobs))
	for _, b := range blobs {
		list = append(list, contentBody{
			ContentType: b.ContentType, ContentID: b.ID,
			ContentURI:     origin + "/api/v1.0/" + c.tenantID + "/activity/feed/audit/" + b.ID,
			ContentCreated: b.Created.Format(activityTime), ContentExpiration: b.Expires.Format(activityTime),
		})
	}
	if next == nil && kind == ForeignLink {
		next = &page.Listing
	}
	if next != nil {
		w.Header().Set("NextPageUri", e.nextPageURI(origin, c.tenantID, pageToken{*next, repeat}))
	}
	return e.writeContent(w, c, list)
}

func (e *Emulator) writeContent(w http.ResponseWriter, c *activityCall, list []contentBody) error {
	write := func(w http.ResponseWriter) error {
		writeJSON(w, http.StatusOK, list)
		return nil
	}
	if spoil, ok := spoiled[c.faultKind()]; ok {
		return spoil(w, c.fault, write)
	}
	return write(w)
}

// origin returns the scheme and host that the client used, so that links work
// for it also through a proxy.
func (c *activityCall) origin() string {
	if c.TLS == nil {
		return "http://" + c.Host
	}
	return "https://" + c.Host
}

// pageToken is what nextPage holds.
type pageToken struct {
	tenant.Listing
	Repeat bool // the page leads to itself, see RepeatPage
}

// nextPageURI returns the address of a page. It repeats the window, also when
// that was not asked for, and as the service does now and then it spells the
// version in another way.
func (e *Emulator) nextPageURI(origin, tenantID string, p pageToken) string {
	version := "v1.0"
	if !e.tenant.Audit.Calm() && p.Offset%3 == 2 {
		version = "v1"
	}
	q := url.Values{}
	q.Set("contentType", p.ContentType)
	q.Set("startTime", p.Start.Format(activityTime))
	q.Set("endTime", p.End.Format(activityTime))
	q.Set("nextPage", p.encode())
	return origin + "/api/" + version + "/" + tenantID + "/activity/feed/subscriptions/content?" + q.Encode()
}

// encode writes the token so that it can be told from one that was changed.
func (p pageToken) encode() string {
	text, err := json.Marshal(p)
	if err != nil { // only a year beyond 9999 can do that
		return ""
	}
	sum := crc32.ChecksumIEEE(text)
	text = append(text, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
	return base64.RawURLEncoding.EncodeToString(text)
}

func decodePage(s string) (p pageToken, ok bool) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(text) < 4 {
		return p, false
	}
	text, sum := text[:len(text)-4], text[len(text)-4:]
	if crc32.ChecksumIEEE(text) != uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3]) {
		return p, false
	}
	return p, json.Unmarshal(text, &p) == nil && p.Number > 0
}

// page returns which page a call asks for: the first of a window, whose Number
// is zero, or the one that nextPage names. The window may then be left out; if
// it is there it must be the same.
func (e *Emulator) page(c *activityCall, contentType string) (pageToken, error) {
	if !c.query.Has("nextPage") {
		start, end, err := e.window(c)
		return pageToken{Listing: tenant.Listing{Start: start, End: end}}, err
	}
	p, ok := decodePage(c.query.Get("nextPage"))
	for name, want := range map[string]time.Time{"startTime": p.Start, "endTime": p.End} {
		if !c.query.Has(name) {
			continue
		}
		got, err := parseActivityTime(c.query.Get(name))
		ok = ok && err == nil && got.Equal(want.Truncate(time.Millisecond))
	}
	if !ok || p.ContentType != contentType {
		return p, badActivity("AF20031", "Invalid nextPage Input: %s.", printable(c.query.Get("nextPage")))
	}
	return p, nil
}

func (e *Emulator) serveBlob(w http.ResponseWriter, c *activityCall) error {
	if c.faultKind() == Gone {
		return expiredContent(c.contentID)
	}
	if spoil, ok := spoiled[c.faultKind()]; ok {
		return spoil(w, c.fault, func(w http.ResponseWriter) error { return e.writeBlob(w, c) })
	}
	return e.writeBlob(w, c)
}

// writeBlob writes a blob's records as they are rendered, so that a large blob
// needs no more memory than a small one.
func (e *Emulator) writeBlob(w http.ResponseWriter, c *activityCall) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	err := e.tenant.Audit.WriteBody(w, c.contentID)
	switch {
	case errors.Is(err, tenant.ErrBadContentID):
		return badActivity("AF20052", "Content ID %s in the URL is invalid.", printable(c.contentID))
	case errors.Is(err, tenant.ErrNoContent):
		return badActivity("AF20050", "The specified content (%s) does not exist.", printable(c.contentID))
	case errors.Is(err, tenant.ErrContentExpired):
		return expiredContent(c.contentID)
	}
	return err // the client has gone, if it is not nil
}

// expiredContent refuses content that is older than seven days; with 400, as
// [K] for all of these.
func expiredContent(id string) error {
	return badActivity("AF20051", "Content requested with the key %s has already expired. Content older than 7 days cannot be retrieved.",
		printable(strings.TrimSpace(id)))
}
