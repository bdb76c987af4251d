package logs

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Query is a query that is recognized by its text.
type Query struct {
	Name string
	Kind string // workspaces or apps, where it can be asked
	// Text is the KQL, with single blanks for any white space, where {time}
	// stands for a datetime literal and {count} for a number. "sort by" counts
	// as "order by", and "limit" as "take".
	Text string
	Run  func(Parameters) (Table, error)
}

// Parameters are what a query was asked with.
type Parameters struct {
	From, To time.Time   // [From, To), what the timespans leave
	Times    []time.Time // those in the text, in its order
	Count    int         // the last one in the text
	Traffic  *Traffic
	Now      time.Time
}

// Table is a result.
type Table struct {
	Columns []Column `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

// Column is a column of a result.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // bool, datetime, dynamic (JSON as a string), guid, int, long, real, string, timespan or decimal
}

// recognizer is a query and what its texts look like.
type recognizer struct {
	Query
	text     *regexp.Regexp
	literals []string // which placeholder each of the text's groups stands for
}

const (
	timeLiteral  = `datetime ?\( ?["']?([^"'()|]{1,40}?)["']? ?\)`
	countLiteral = `([0-9]{1,9})`
)

var placeholder = regexp.MustCompile(`\{time\}|\{count\}`)

func recognizers(queries []Query) []recognizer {
	all := make([]recognizer, len(queries))
	for i, q := range queries {
		text := regexp.QuoteMeta(normalize(q.Text))
		text = strings.ReplaceAll(text, regexp.QuoteMeta("{time}"), timeLiteral)
		text = strings.ReplaceAll(text, regexp.QuoteMeta("{count}"), countLiteral)
		all[i] = recognizer{q, regexp.MustCompile("^" + text + "$"), placeholder.FindAllString(q.Text, -1)}
	}
	return all
}

// normalize makes texts alike that mean the same, as far as that can be done
// without understanding them.
func normalize(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), "; \t\r\n")
	for _, mark := range []string{"|", ">=", "<="} {
		text = strings.ReplaceAll(text, mark, " "+mark+" ")
	}
	text = strings.Join(strings.Fields(text), " ")
	text = strings.ReplaceAll(text, "| sort by ", "| order by ")
	return strings.ReplaceAll(text, "| limit ", "| take ")
}

// run answers a query that is recognized, and refuses what is none at all.
func (e *API) run(q *request, kind string) (Table, error) {
	text := normalize(q.query)
	for _, known := range e.known {
		m := known.text.FindStringSubmatch(text)
		if known.Kind != kind || m == nil {
			continue
		}
		p := Parameters{From: q.from, To: q.to, Traffic: e.Traffic, Now: e.Cloud.Now()}
		for i, literal := range m[1:] {
			if known.literals[i] == "{count}" {
				p.Count, _ = strconv.Atoi(literal) // up to nine digits
				continue
			}
			at, ok := parseTime(literal)
			if !ok {
				return Table{}, badSyntax("datetime(%s) is not a time", origin.Printable(literal))
			}
			p.Times = append(p.Times, at)
		}
		return known.Run(p)
	}
	if strings.HasPrefix(text, "|") || strings.HasSuffix(text, "|") || strings.Contains(text, "| |") || !balanced(text) {
		return Table{}, badSyntax("The query could not be parsed: %s", origin.Printable(text))
	}
	return Table{}, notEmulated("this query, of which it executes only what it recognizes: %s", origin.Printable(text))
}

// balanced reports whether brackets and quotes are closed.
func balanced(text string) bool {
	var open []rune
	quote := rune(0)
	for _, r := range text {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case r == '(':
			open = append(open, ')')
		case r == '[':
			open = append(open, ']')
		case r == '{':
			open = append(open, '}')
		case r == ')' || r == ']' || r == '}':
			if len(open) == 0 || open[len(open)-1] != r {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return quote == 0 && len(open) == 0
}

// Queries returns the usual queries: of each table all rows, those since a time
// or between two, in either order or none, so many of them, or their number.
// These are the ones with which a reader of visits goes through them in windows
// of time.
func Queries() []Query {
	filters := []struct {
		name, text string
		keep       func(at time.Time, times []time.Time) bool
	}{
		{"all", "", func(time.Time, []time.Time) bool { return true }},
		{"after", " | where {t} > {time}", func(at time.Time, t []time.Time) bool { return at.After(t[0]) }},
		{"since", " | where {t} >= {time}", func(at time.Time, t []time.Time) bool { return !at.Before(t[0]) }},
		{"between", " | where {t} >= {time} and {t} < {time}", between},
		{"between, in two steps", " | where {t} >= {time} | where {t} < {time}", between},
		{"after until", " | where {t} > {time} and {t} <= {time}", func(at time.Time, t []time.Time) bool { return at.After(t[0]) && !at.After(t[1]) }},
	}
	outputs := []struct {
		name, text string
		give       func(Table, Parameters) Table
	}{
		{"", "", inNoOrder},
		{", oldest first", " | order by {t} asc", asTheyAre},
		{", newest first", " | order by {t} desc", newestFirst},
		{", the oldest", " | order by {t} asc | take {count}", first},
		{", some", " | take {count}", func(t Table, p Parameters) Table { return first(inNoOrder(t, p), p) }},
		{", counted", " | count", counted("Count")},
		{", counted as n", " | summarize n=count()", counted("n")},
	}
	var all []Query
	for _, table := range tables() {
		for _, f := range filters {
			for _, o := range outputs {
				text := strings.ReplaceAll(table.name+f.text+o.text, "{t}", table.columns[0].Name)
				all = append(all, Query{Name: table.name + " " + f.name + o.name, Kind: table.kind, Text: text, Run: func(p Parameters) (Table, error) {
					// Rows come the oldest first.
					rows := table.rows(p, func(at time.Time) bool { return f.keep(at, p.Times) })
					return o.give(Table{table.columns, rows}, p), nil
				}})
			}
		}
	}
	return all
}

func between(at time.Time, t []time.Time) bool { return !at.Before(t[0]) && at.Before(t[1]) }

func asTheyAre(t Table, _ Parameters) Table { return t }

func newestFirst(t Table, _ Parameters) Table {
	slices.Reverse(t.Rows)
	return t
}

// inNoOrder gives rows as the service does when it is not told an order: as they
// come from several machines. When calm, that is the oldest first.
func inNoOrder(t Table, p Parameters) Table {
	if p.Traffic.Calm {
		return t
	}
	const machines = 3
	rows := make([][]any, 0, len(t.Rows)) // never nil, which would be null
	for i := range machines {
		for j := machines - 1 - i; j < len(t.Rows); j += machines {
			rows = append(rows, t.Rows[j])
		}
	}
	t.Rows = rows
	return t
}

func first(t Table, p Parameters) Table {
	t.Rows = t.Rows[:min(p.Count, len(t.Rows))]
	return t
}

func counted(name string) func(Table, Parameters) Table {
	return func(t Table, _ Parameters) Table {
		return Table{[]Column{{name, "long"}}, [][]any{{len(t.Rows)}}}
	}
}
