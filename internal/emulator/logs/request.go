package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// request is one query, wherever it stood.
type request struct {
	query      string
	from, to   time.Time // [from, to), which the timespans leave
	elsewhere  []string  // other workspaces or applications to ask
	statistics bool      // as the Prefer header has it
	render     bool
}

// readRequest reads a query from the URL and the body. It returns nil for a body
// that does not say that it is JSON.
func readRequest(r *http.Request, now time.Time) (*request, error) {
	q := &request{from: time.Unix(0, 0), to: now.Add(time.Hour)}
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badArgument("The query string cannot be read.")
	}
	for name, values := range parameters {
		known := name == "timespan" || r.Method == http.MethodGet && slices.Contains([]string{"query", "workspaces", "applications"}, name)
		if !known || len(values) > 1 {
			return nil, notEmulated("the query parameter %s, or not more than once", origin.Printable(name))
		}
	}
	if parameters.Has("timespan") {
		if err := q.limit(parameters.Get("timespan"), now); err != nil {
			return nil, err
		}
	}
	if r.Method == http.MethodPost {
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != "application/json" {
			return nil, nil
		}
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, badArgument("The body cannot be read.")
		}
		if err := q.readBody(text, now); err != nil {
			return nil, err
		}
	} else {
		q.query = parameters.Get("query")
		for _, name := range []string{"workspaces", "applications"} {
			if parameters.Get(name) != "" {
				q.elsewhere = append(q.elsewhere, strings.Split(parameters.Get(name), ",")...)
			}
		}
	}
	q.readPrefer(r.Header.Values("Prefer"))
	if strings.TrimSpace(q.query) == "" {
		return nil, badArgument("The query is missing.")
	}
	return q, nil
}

// readBody reads the members of a body. It may be called for any text.
func (q *request) readBody(text []byte, now time.Time) error {
	var body struct {
		Query        *string  `json:"query"`
		Timespan     *string  `json:"timespan"`
		Workspaces   []string `json:"workspaces"`
		Applications []string `json:"applications"`
	}
	if err := decode(text, &body); err != nil {
		return err
	}
	if body.Query != nil {
		q.query = *body.Query
	}
	q.elsewhere = append(q.elsewhere, append(body.Workspaces, body.Applications...)...)
	if body.Timespan == nil {
		return nil
	}
	return q.limit(*body.Timespan, now)
}

// decode reads a JSON object that must have known members alone.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err := d.Token(); err != io.EOF {
			return badArgument("Something follows the JSON object of the body.")
		}
		return nil
	}
	var value *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &value):
		return badArgument("The body's member %s is of the wrong type.", origin.Printable(value.Field))
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badArgument("The body is not a JSON object.")
	}
	return notEmulated("a member of the body: %s", origin.Printable(err.Error()))
}

// readPrefer reads Prefer headers, of which unknown preferences are ignored (RFC
// 7240). Everything is answered well before any wait is over.
func (q *request) readPrefer(headers []string) {
	for preference := range strings.FieldsFuncSeq(strings.Join(headers, ","), func(r rune) bool { return r == ',' || r == ';' }) {
		name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
		wanted := strings.EqualFold(strings.Trim(value, `"`), "true")
		switch strings.ToLower(name) {
		case "include-statistics":
			q.statistics = wanted
		case "include-render":
			q.render = wanted
		}
	}
}

// limit narrows the time to what a timespan leaves of it. A timespan in the URL
// and one in the body leave what they have in common.
func (q *request) limit(timespan string, now time.Time) error {
	if timespan == "" {
		return nil
	}
	from, to, ok := parseTimespan(timespan, now)
	if !ok {
		return badArgument("The timespan is not an ISO 8601 duration or interval: %s", origin.Printable(timespan))
	}
	if from.After(q.from) {
		q.from = from
	}
	if to.Before(q.to) {
		q.to = to
	}
	return nil
}

// parseTimespan reads an ISO 8601 duration back from now, or an interval of two
// times or of a time and a duration.
func parseTimespan(s string, now time.Time) (from, to time.Time, ok bool) {
	first, second, interval := strings.Cut(s, "/")
	a, aTime := parseTime(first)
	b, bTime := parseTime(second)
	d, aDuration := parseDuration(first)
	e, bDuration := parseDuration(second)
	switch {
	case !interval && aDuration:
		from, to = now.Add(-d), now
	case aTime && bTime:
		from, to = a, b
	case aTime && bDuration:
		from, to = a, a.Add(e)
	case aDuration && bTime:
		from, to = b.Add(-d), b
	default:
		return from, to, false
	}
	return from, to, !to.Before(from)
}

// parseTime reads the forms of times that timespans and KQL have; without an
// offset it is UTC.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02",
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04",
	} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

var duration = regexp.MustCompile(`^P(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,12}(?:\.\d{1,9})?)S)?)?$`)

// parseDuration reads an ISO 8601 duration. A year has 365 days and a month 30
// [K].
func parseDuration(s string) (time.Duration, bool) {
	m := duration.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "T") || s == "P" {
		return 0, false
	}
	const day = 24 * 60 * 60
	seconds := 0.0
	for i, unit := range []float64{365 * day, 30 * day, 7 * day, day, 60 * 60, 60, 1} {
		if m[i+1] != "" {
			n, err := strconv.ParseFloat(m[i+1], 64)
			if err != nil {
				return 0, false
			}
			seconds += n * unit
		}
	}
	// Whatever is longer than any data is old is as good as that.
	return time.Duration(math.Min(seconds, 100*365*day) * float64(time.Second)), true
}
