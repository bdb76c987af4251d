package graph

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// entity is an object as Graph writes it.
type entity map[string]any

// query is the query options of a request, checked against its route.
type query struct {
	selected   []string
	filter     func(entity) bool // nil without $filter
	search     func(entity) bool // nil without $search
	order      string            // property; "" for the order of ids
	descending bool
	top        int // 0 when none was asked for
	count      bool
	expand     bool // of owners, the one that is emulated
	skip       string
	advanced   string // what needs ConsistencyLevel: eventual; "" when nothing does
}

const (
	defaultPage = 100
	largestPage = 999
)

// parseQuery reads query options. Those that the route does not take are
// refused.
func parseQuery(raw string, rt *route) (query, *graphError) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, badRequest("The query string of the request cannot be read.")
	}
	var q query
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all := values[name]
		switch {
		case len(all) > 1 && strings.HasPrefix(name, "$"):
			return q, badRequest("Query option '%s' was specified more than once, but it must be specified at most once.", origin.Printable(name))
		case name == "$select" && rt.typ != nil && !rt.count:
		case name == "$expand" && rt.expand:
		case name == "$format" && (all[0] == "json" || all[0] == "application/json"):
		case rt.list && (name == "$filter" || name == "$search" || name == "$count" && !rt.count):
		case rt.list && !rt.count && (name == "$top" || name == "$orderby" || name == "$skiptoken"):
		case strings.HasPrefix(name, "$") && !rt.list && slices.Contains([]string{"$filter", "$search", "$count", "$top", "$orderby", "$skip", "$skiptoken"}, name):
			return q, unsupported("Query option '%s' is not allowed here.", strings.TrimPrefix(name, "$"))
		default:
			return q, notEmulated("the query option %s of %s %s", origin.Printable(name), rt.method, rt.path)
		}
	}
	if values.Has("$select") {
		for name := range strings.SplitSeq(values.Get("$select"), ",") {
			name = strings.TrimSpace(name)
			if name != "*" && !rt.typ.selectable(name) {
				return q, badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", origin.Printable(name), rt.typ.name)
			}
			if name == "*" {
				q.selected = nil
				break
			}
			q.selected = append(q.selected, name)
		}
	}
	if values.Has("$expand") {
		if values.Get("$expand") != "owners" {
			return q, notEmulated("$expand of anything but owners")
		}
		q.expand = true
	}
	if values.Has("$filter") {
		f, err := parseFilter(values.Get("$filter"), rt.typ)
		if err != nil {
			return q, err
		}
		q.filter = f.matches
		if f.advanced {
			q.advanced = "$filter"
		}
	}
	if values.Has("$search") {
		var err *graphError
		if q.search, err = parseSearch(values.Get("$search"), rt.typ); err != nil {
			return q, err
		}
		q.advanced = "$search"
	}
	return q, q.parseList(values, rt)
}

// parseList reads the options about the list as such.
func (q *query) parseList(values url.Values, rt *route) *graphError {
	if values.Has("$top") {
		n, err := strconv.Atoi(values.Get("$top"))
		if err != nil || n < 1 || n > largestPage {
			return badRequest("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", origin.Printable(values.Get("$top")), largestPage)
		}
		q.top = n
	}
	if values.Has("$count") {
		switch values.Get("$count") {
		case "true":
			q.count, q.advanced = true, cmp.Or(q.advanced, "$count")
		case "false":
		default:
			return badRequest("Invalid value for $count query option found. Valid values are 'true' or 'false'.")
		}
	}
	if values.Has("$orderby") {
		name, direction, _ := strings.Cut(strings.TrimSpace(values.Get("$orderby")), " ")
		direction = strings.TrimSpace(direction)
		p, ok := rt.typ.properties[name]
		switch {
		case !ok:
			return badRequest("Could not find a property named '%s' on type 'microsoft.graph.%s'.", origin.Printable(name), rt.typ.name)
		case direction != "" && direction != "asc" && direction != "desc":
			return notEmulated("$orderby by more than one property")
		case !p.order:
			return unsupported("Sorting not supported for current query.")
		}
		q.order, q.descending = name, direction == "desc"
		if q.filter != nil {
			q.advanced = "$orderby with $filter"
		}
	}
	if rt.count {
		q.advanced = "$count"
	}
	q.skip = values.Get("$skiptoken")
	if values.Has("$skiptoken") && q.skip == "" {
		return expiredPage()
	}
	return nil
}

// parseSearch reads "property:text", which finds words that begin with it.
func parseSearch(text string, typ *entityType) (func(entity) bool, *graphError) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(text), `"`)
	inner, ok2 := strings.CutSuffix(inner, `"`)
	if !ok || !ok2 || strings.Contains(inner, `"`) {
		if strings.Count(text, `"`) > 2 {
			return nil, notEmulated("$search for more than one clause")
		}
		return nil, badRequest(`Syntax error: the $search clause must be of the form "property:text".`)
	}
	name, want, ok := strings.Cut(inner, ":")
	p, known := typ.properties[name]
	switch {
	case !ok || want == "":
		return nil, badRequest(`Syntax error: the $search clause must be of the form "property:text".`)
	case !known:
		return nil, badRequest("Could not find a property named '%s' on type 'microsoft.graph.%s'.", origin.Printable(name), typ.name)
	case !p.search:
		return nil, unsupported("Searching by property '%s' is not supported.", name)
	}
	words := strings.Fields(strings.ToLower(want))
	return func(e entity) bool {
		s, _ := e[name].(string)
		have := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune(" -_.@,;:/", r) })
		for _, w := range words {
			if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) }) && !strings.HasPrefix(strings.ToLower(s), w) {
				return false
			}
		}
		return len(words) > 0
	}, nil
}

// checkConsistency refuses advanced options without the header that they need.
func (q *request) checkConsistency() *graphError {
	if q.query.advanced == "" {
		return nil
	}
	eventual := strings.EqualFold(q.r.Header.Get("ConsistencyLevel"), "eventual")
	if !eventual {
		return unsupported("Request with %s query parameter requires the header ConsistencyLevel with the value eventual.", q.query.advanced)
	}
	if !q.query.count && (q.query.advanced == "$filter" || q.query.advanced == "$orderby with $filter") {
		return unsupported("Request with this %s query parameter requires $count to be true.", q.query.advanced)
	}
	return nil
}

// list answers with those of the objects that the options ask for. The order of
// pages is that of the ids, so that nothing is lost or repeated when objects
// come and go between two pages.
func list[T any](q *request, objects []T, id func(T) string, render func(T) entity) (answer, *graphError) {
	if err := q.checkConsistency(); err != nil {
		return answer{}, err
	}
	type row struct {
		key, id string
		object  T
		entity  entity
	}
	rows := make([]row, 0, len(objects))
	for _, o := range objects {
		r := row{id: id(o), object: o}
		if q.query.filter != nil || q.query.search != nil || q.query.order != "" {
			r.entity = render(o)
			if q.query.filter != nil && !q.query.filter(r.entity) || q.query.search != nil && !q.query.search(r.entity) {
				continue
			}
			r.key = sortKey(r.entity[q.query.order], q.route.typ.properties[q.query.order])
		}
		rows = append(rows, r)
	}
	if q.route.count {
		return answer{status: http.StatusOK, text: strconv.Itoa(len(rows))}, nil
	}
	compare := func(a, b row) int {
		order := strings.Compare(a.key, b.key)
		if q.query.descending {
			order = -order
		}
		return cmp.Or(order, strings.Compare(a.id, b.id))
	}
	slices.SortFunc(rows, compare)
	total := len(rows)
	if q.query.skip != "" {
		after, err := q.openPage()
		if err != nil {
			return answer{}, err
		}
		start, _ := slices.BinarySearchFunc(rows, row{key: after.Key, id: after.ID}, compare)
		if start < len(rows) && rows[start].id == after.ID {
			start++
		}
		rows = rows[start:]
	}
	body := entity{"@odata.context": q.context(false)}
	if q.query.count {
		body["@odata.count"] = total
	}
	size := cmp.Or(q.query.top, defaultPage)
	if len(rows) > size {
		rows = rows[:size]
		last := rows[size-1]
		body["@odata.nextLink"] = q.nextLink(page{Key: last.key, ID: last.id})
	}
	value := make([]entity, 0, len(rows))
	for _, r := range rows {
		if r.entity == nil {
			r.entity = render(r.object)
		}
		value = append(value, q.pick(r.entity))
	}
	body["value"] = value
	return answer{status: http.StatusOK, body: body}, nil
}

// sortKey is a text for a property's value that sorts as the value does. Times
// are written with as many decimals as they need, and do not.
func sortKey(v any, p property) string {
	s, _ := v.(string)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil && p.typ == "date" {
		return t.Format("2006-01-02T15:04:05.0000000")
	}
	return strings.ToLower(s)
}

// one answers with one object.
func (q *request) one(status int, e entity) (answer, *graphError) {
	e = q.pick(e)
	e["@odata.context"] = q.context(true)
	return answer{status: status, body: e}, nil
}

// pick keeps the selected properties, the type's name and what was expanded.
func (q *request) pick(e entity) entity {
	if len(q.query.selected) == 0 {
		return e
	}
	picked := entity{}
	for _, name := range q.query.selected {
		if v, ok := e[name]; ok { // In lists of several types not every one has it.
			picked[name] = v
		}
	}
	for _, name := range []string{"@odata.type", "owners"} {
		if v, ok := e[name]; ok {
			picked[name] = v
		}
	}
	return picked
}

func (q *request) context(single bool) string {
	s := q.base() + "/$metadata#" + q.route.set
	if len(q.query.selected) > 0 {
		s += "(" + strings.Join(q.query.selected, ",") + ")"
	}
	if single && !q.route.plain {
		s += "/$entity"
	}
	return s
}

// page is where a list goes on: after the object with the key and the id.
type page struct {
	Key    string    `json:"k,omitempty"`
	ID     string    `json:"i"`
	Issued time.Time `json:"t"`
}

// pageLife is how long a page token is taken. Microsoft gives no number [K].
const pageLife = time.Hour

func expiredPage() *graphError {
	return refusal(http.StatusBadRequest, "Directory_ExpiredPageToken", "The specified page token value has expired and can no longer be included in your request.")
}

// nextLink is the request's own address with the token of the next page.
func (q *request) nextLink(p page) string {
	p.Issued = q.Cloud.Now()
	b, err := json.Marshal(p)
	if err != nil {
		panic("graph: writing a page token: " + err.Error()) // It has only text and a time.
	}
	token := base64.RawURLEncoding.EncodeToString(append(q.signPage(b), b...))
	parts := slices.DeleteFunc(strings.Split(q.r.URL.RawQuery, "&"), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		name, err := url.QueryUnescape(name)
		return err != nil || name == "" || name == "$skiptoken"
	})
	return q.base() + q.path + "?" + strings.Join(append(parts, "$skiptoken="+token), "&")
}

// openPage reads the request's page token: one of this server's, for the same
// list with the same options, and not too old.
func (q *request) openPage() (page, *graphError) {
	b, err := base64.RawURLEncoding.DecodeString(q.query.skip)
	if err != nil || len(b) < sha256.Size || !hmac.Equal(q.signPage(b[sha256.Size:]), b[:sha256.Size]) {
		return page{}, expiredPage()
	}
	var p page
	if err := json.Unmarshal(b[sha256.Size:], &p); err != nil || q.Cloud.Now().Sub(p.Issued) > pageLife {
		return page{}, expiredPage()
	}
	return p, nil
}

func (q *request) signPage(b []byte) []byte {
	q.once.Do(func() {
		q.pageKey = make([]byte, 32)
		rand.Read(q.pageKey) // crypto/rand never fails.
	})
	h := hmac.New(sha256.New, q.pageKey)
	h.Write([]byte(q.version + q.path + "\n"))
	options := q.r.URL.Query()
	options.Del("$skiptoken")
	h.Write([]byte(options.Encode() + "\n"))
	h.Write(b)
	return h.Sum(nil)
}
