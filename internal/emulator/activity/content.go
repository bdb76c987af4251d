package activity

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
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
func (e *API) window(c *activityCall) (start, end time.Time, err error) {
	from, to := c.query.Get("startTime"), c.query.Get("endTime")
	now := e.Cloud.Now().UTC()
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

func describeContent(b tenant.Blob, base, tenantID string) contentBody {
	return contentBody{
		ContentType: b.ContentType, ContentID: b.ID,
		ContentURI:     base + "/api/v1.0/" + tenantID + "/activity/feed/audit/" + b.ID,
		ContentCreated: b.Created.Format(activityTime), ContentExpiration: b.Expires.Format(activityTime),
	}
}

// foreignOrigin is where the links of ForeignLink lead: another organization's
// host, which must not get to see the token.
const foreignOrigin = "https://manage.fabrikam.example"

func (e *API) listContent(w http.ResponseWriter, c *activityCall) error {
	page, err := e.page(c)
	if err != nil {
		return err
	}
	base, repeat, kind := e.Cloud.Hosts.Base(c.Request, origin.Manage), page.Repeat, c.faultKind()
	if page.Number == 0 {
		page.Listing = e.Audit.List(page.ContentType, page.Start, page.End)
		switch kind { // of what a listing is like, its first page decides
		case ShortPages:
			page.PageSize = cmp.Or(c.fault.Length, 7)
		case NewestFirst:
			page.NewestFirst, page.PageSize = true, c.fault.Length
		}
	}
	if kind == RepeatPage {
		repeat = true
	}
	if kind == ForeignLink {
		base = foreignOrigin
	}
	blobs, next := e.Audit.Page(page.Listing)
	if repeat {
		next = &page.Listing
	}
	list := make([]contentBody, 0, len(blobs))
	for _, b := range blobs {
		list = append(list, describeContent(b, base, c.tenantID))
	}
	if next == nil && kind == ForeignLink {
		next = &page.Listing
	}
	if next != nil {
		w.Header().Set("NextPageUri", e.nextPageURI(base, c.tenantID, "content", pageToken{Listing: *next, Repeat: repeat}))
	}
	if spoil, ok := spoiled[kind]; ok {
		return spoil(w, c.fault)
	}
	origin.WriteJSON(w, http.StatusOK, list)
	return nil
}

// pageToken is what nextPage holds.
type pageToken struct {
	tenant.Listing
	Repeat        bool // the page leads to itself, see RepeatPage
	Notifications bool // it is one of notifications, of which Offset is the number
}

// nextPageURI returns the address of a page. It repeats the window, also when
// that was not asked for, and as the service does now and then it spells the
// version in another way.
func (e *API) nextPageURI(base, tenantID, operation string, p pageToken) string {
	version := "v1.0"
	if !e.Audit.Calm() && p.Offset%3 == 2 {
		version = "v1"
	}
	q := url.Values{}
	q.Set("contentType", p.ContentType)
	q.Set("startTime", p.Start.Format(activityTime))
	q.Set("endTime", p.End.Format(activityTime))
	q.Set("nextPage", p.encode())
	return base + "/api/" + version + "/" + tenantID + "/activity/feed/subscriptions/" + operation + "?" + q.Encode()
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

// page returns which page a call asks for, of a content type that is subscribed
// to: the first of a window, whose Number is zero, or the one that nextPage
// names.
func (e *API) page(c *activityCall) (p pageToken, err error) {
	contentType, err := c.contentType()
	if err != nil {
		return p, err
	}
	if c.query.Has("nextPage") {
		p, err = c.nextPage(contentType)
	} else {
		p.ContentType = contentType
		p.Start, p.End, err = e.window(c)
	}
	if err == nil && !e.Audit.Subscribed(contentType) {
		err = noSubscription()
	}
	return p, err
}

// nextPage returns the page that nextPage names. The window may be left out; if
// it is there it must be the same.
func (c *activityCall) nextPage(contentType string) (pageToken, error) {
	p, ok := decodePage(c.query.Get("nextPage"))
	for name, want := range map[string]time.Time{"startTime": p.Start, "endTime": p.End} {
		if !c.query.Has(name) {
			continue
		}
		got, err := parseActivityTime(c.query.Get(name))
		ok = ok && err == nil && got.Equal(want.Truncate(time.Millisecond))
	}
	if !ok || p.ContentType != contentType || p.Notifications != (c.operation == "notifications") {
		return p, badActivity("AF20031", "Invalid nextPage Input: %s.", origin.Printable(c.query.Get("nextPage")))
	}
	return p, nil
}

func (e *API) serveBlob(w http.ResponseWriter, c *activityCall) error {
	if c.faultKind() == Gone {
		return expiredContent(c.contentID)
	}
	if spoil, ok := spoiled[c.faultKind()]; ok {
		return spoil(w, c.fault)
	}
	return e.writeBlob(w, c)
}

// writeBlob writes a blob's records as they are rendered, so that a large blob
// needs no more memory than a small one.
func (e *API) writeBlob(w http.ResponseWriter, c *activityCall) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	err := e.Audit.WriteBody(w, c.contentID)
	switch {
	case errors.Is(err, tenant.ErrBadContentID):
		return badActivity("AF20052", "Content ID %s in the URL is invalid.", origin.Printable(c.contentID))
	case errors.Is(err, tenant.ErrNoContent):
		return badActivity("AF20050", "The specified content (%s) does not exist.", origin.Printable(c.contentID))
	case errors.Is(err, tenant.ErrContentExpired):
		return expiredContent(c.contentID)
	}
	return err // the client has gone, if it is not nil
}

// expiredContent refuses content that is older than seven days; with 400, as
// [K] for all of these.
func expiredContent(id string) error {
	return badActivity("AF20051", "Content requested with the key %s has already expired. Content older than 7 days cannot be retrieved.",
		origin.Printable(strings.TrimSpace(id)))
}
