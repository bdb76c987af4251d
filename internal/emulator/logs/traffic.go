package logs

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Traffic invents the visits of people to SharePoint pages. The same seed and
// people make the same visits, whenever and in whatever windows they are asked
// for. It is never changed once it is in use.
type Traffic struct {
	Seed   uint64
	People []string  // user names; none visit nothing
	Host   string    // such as contoso.sharepoint.com
	Since  time.Time // when the tracker was installed; nothing is older, and nothing is older than 90 days

	// Calm leaves out what readers have to cope with: items that arrive late
	// and out of order, computers whose clock is wrong, visitors who are not
	// signed in.
	Calm bool
}

// kept is how long Application Insights keeps what it was sent, unless it is
// told otherwise.
const kept = 90 * 24 * time.Hour

type itemKind int

const (
	pageView itemKind = iota + 1
	customEvent
)

// item is a page view, or a custom event that belongs to one.
type item struct {
	kind       itemKind
	at         time.Time
	id         string
	name       string
	url, path  string
	duration   float64 // until the page was there, in ms
	operation  string  // of the page view
	session    string
	visitor    string // an anonymous id
	user       string // empty when nobody is signed in
	dimensions map[string]string
	place      place
	device     device
	lag        time.Duration // until it can be queried
}

type place struct {
	city, province, country string
	ahead                   int // of UTC, in hours
}

type device struct{ system, browser string }

var (
	places = [...]place{
		{"Seattle", "Washington", "United States", -8}, {"London", "England", "United Kingdom", 0},
		{"Munich", "Bavaria", "Germany", 1}, {"Pune", "Maharashtra", "India", 5}, {"", "", "Australia", 10},
	}
	devices = [...]device{
		{"Windows 10", "Edg 142.0"}, {"Windows 10", "Chrome 142.0"}, {"Mac OS X 10.15", "Safari 26.1"}, {"iOS 26.1", "Mobile Safari 26.1"},
	}
	sites = [...]struct{ path, title string }{
		{"", "Contoso Home"}, {"/sites/hr", "Human Resources"}, {"/sites/sales", "Sales"}, {"/sites/projects", "Projects"}, {"/sites/it", "IT Help"},
	}
	pages = [...]struct{ path, title string }{
		{"", "Home"}, {"/SitePages/Welcome.aspx", "Welcome"}, {"/SitePages/News.aspx", "News"},
		{"/SitePages/Über-uns.aspx", "Über uns"}, {"/Shared Documents/Forms/AllItems.aspx", "Documents"}, {"/SitePages/Search.aspx", "Search"},
	}
	searches = [...]string{"travel policy", "quarterly report", "VPN", "Urlaubsantrag", "電話帳", `budget "2026" & forecast`}
)

// hourly is how many pages a person opens in each hour of a working day, on the
// clock of the place.
var hourly = [24]float64{6: .1, 7: .4, 8: 1.1, 9: 1.5, 10: 1.3, 11: 1.1, 12: .5, 13: .9, 14: 1.2, 15: 1.1, 16: .8, 17: .4, 18: .1, 20: .1}

// longest is how long after a page view an event of it may come.
const longest = 20 * time.Minute

// items returns the items of a kind from from until to that can be queried at a
// time, the oldest first.
func (t *Traffic) items(kind itemKind, from, to, now time.Time) []*item {
	for _, bound := range []time.Time{t.Since, now.Add(-kept)} {
		if from.Before(bound) {
			from = bound
		}
	}
	if to.After(now) {
		to = now.Add(1) // what is of now can be seen, as far as it does not lag
	}
	people := t.people()
	var all []*item
	for hour := from.Add(-longest).Truncate(time.Hour); hour.Before(to); hour = hour.Add(time.Hour) {
		for _, p := range people {
			for _, i := range t.hour(p, hour) {
				if i.kind == kind && !i.at.Before(from) && i.at.Before(to) && !i.at.Add(i.lag).After(now) {
					all = append(all, i)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *item) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.id, b.id)) })
	return all
}

// person is somebody who visits pages.
type person struct {
	number  uint64
	name    string
	visitor string // an anonymous id
	place   place
	device  device
	wrong   bool // the clock of the computer
}

func (t *Traffic) people() []person {
	all := make([]person, len(t.People))
	for i, name := range t.People {
		r := rand.New(rand.NewPCG(t.Seed, uint64(i)))
		all[i] = person{
			number: uint64(i), name: name, visitor: strconv.FormatUint(r.Uint64(), 36),
			place: places[r.IntN(len(places))], device: devices[r.IntN(len(devices))], wrong: r.IntN(40) == 0 && !t.Calm,
		}
	}
	return all
}

// hour returns the page views that a person began in an hour, and their events.
func (t *Traffic) hour(p person, hour time.Time) []*item {
	local := hour.UTC().Add(time.Duration(p.place.ahead) * time.Hour)
	expected := hourly[local.Hour()]
	if day := local.Weekday(); day == time.Saturday || day == time.Sunday {
		expected *= .05
	}
	if expected == 0 {
		return nil
	}
	r := rand.New(rand.NewPCG(t.Seed^p.number<<32, uint64(hour.Unix())))
	n := int(expected*2*r.Float64() + r.Float64())
	if n == 0 {
		return nil
	}
	// A session lasts a day.
	session := newID(rand.New(rand.NewPCG(t.Seed^p.number<<32, uint64(local.Unix()/(24*60*60)))))
	var all []*item
	for range n {
		view := item{
			kind: pageView, at: hour.Add(time.Duration(r.Int64N(int64(time.Hour/time.Millisecond))) * time.Millisecond).UTC(),
			visitor: p.visitor, session: session[:8], user: p.name, place: p.place, device: p.device,
		}
		if !t.Calm {
			view.lag = time.Duration(r.Int64N(int64(5 * time.Minute)))
			if r.IntN(30) == 0 {
				view.user = ""
			}
		}
		all = append(all, t.visit(r, view, session, p.wrong)...)
	}
	return all
}

// visit fills in a page view, and returns it with its events.
func (t *Traffic) visit(r *rand.Rand, view item, session string, wrong bool) []*item {
	site, page := sites[r.IntN(len(sites))], pages[r.IntN(len(pages))]
	root := "https://" + t.Host + site.path
	request := newID(r)
	stamp := view.at
	if wrong {
		stamp = stamp.Add(3 * time.Hour)
	}
	view.id, view.operation = newID(r), strings.ReplaceAll(newID(r), "-", "")
	view.name, view.path = page.title, site.path+page.path
	view.url = strings.ReplaceAll(root+page.path, " ", "%20")
	view.duration = float64(120 + r.IntN(4000))
	pageLoad := strconv.Itoa(int(view.duration))
	if r.IntN(3) == 0 { // a modern page that replaced another one
		pageLoad, view.duration = "0", 0
	}
	view.dimensions = map[string]string{
		"pageRequestId": request, "sessionId": session, "timeStamp": stamp.Format("2006-01-02T15:04:05.000Z"),
		"spRequestDuration": strconv.Itoa(20 + r.IntN(300)), "pageLoad": pageLoad, "webTitle": site.title, "pageTitle": page.title,
		"siteUrl": root, "webUrl": root, "aiTrackerVersion": "1.5.5",
	}
	all := []*item{&view}
	event := func(name string, after time.Duration, members map[string]string) {
		e := view
		e.kind, e.name, e.id, e.at = customEvent, name, newID(r), view.at.Add(after)
		members["aiTrackerVersion"] = "1.5.5"
		e.dimensions = members
		all = append(all, &e)
	}
	stay := time.Duration(1000+r.Int64N(600_000)) * time.Millisecond
	if page.title == "Search" {
		event("UserSearch", 0, map[string]string{"sessionId": session, "userSearch": searches[r.IntN(len(searches))]})
	}
	if r.IntN(3) == 0 {
		event("LinkClick", stay/2, map[string]string{
			"pageRequestId": request, "linkText": "Read more", "altText": "", "href": root + "/SitePages/News.aspx", "classNames": "fui-Link",
		})
	}
	if r.IntN(15) == 0 {
		event("PageMetadataUpdate", time.Second, t.metadata(r, view))
	}
	if r.IntN(10) > 0 { // others close the browser
		event("PAGE_EXIT", stay, map[string]string{
			"pageRequestId": request, "url": view.url, "activeTime": strconv.FormatFloat(stay.Seconds()*.7, 'f', -1, 64),
		})
	}
	return all
}

// metadata is what the tracker tells of a page itself: JSON in strings.
func (t *Traffic) metadata(r *rand.Rand, view item) map[string]string {
	who, when := t.People[r.IntN(len(t.People))], view.at.Add(-48*time.Hour).Format(time.RFC3339)
	number := func() string { return strconv.Itoa(1 + r.IntN(500)) }
	return map[string]string{
		"url":           view.url,
		"props":         jsonText(map[string]string{"Title": view.name, "Modified": when, "ContentTypeId": "0x0101009D1CB255DA76424F860D91F20E6C4118"}),
		"taxonomyProps": "[]",
		"pageComments": jsonText([]map[string]string{{
			"id": number(), "email": who, "comment": "Thank you for this.", "creationDate": when, "parentId": "0",
		}}),
		"pageLikes": jsonText([]map[string]string{{"id": number(), "email": who, "creationDate": when}}),
	}
}

// jsonText returns strings in maps and lists as JSON.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // cannot happen for strings
		return ""
	}
	return string(text)
}

// newID returns a GUID.
func newID(r *rand.Rand) string {
	var b [16]byte
	for i := range 2 {
		n := r.Uint64()
		for j := range 8 {
			b[8*i+j] = byte(n >> (8 * j))
		}
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return uuid.UUID(b).String()
}
