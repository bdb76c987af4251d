package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A Problem is one thing that is wrong with the settings.
type Problem struct {
	Key    string // the setting, or what was written in place of one; may be empty
	Origin string // "reeve.yaml:12", "environment variable NAME" or "flag --x"; may be empty
	Value  string // as given; empty if secret or if there is none
	Text   string // what is wrong and what to do
}

// Error gives the problem in one line.
func (p Problem) Error() string {
	var b strings.Builder
	if p.Origin != "" {
		b.WriteString(p.Origin + ": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	if p.Value != "" {
		fmt.Fprintf(&b, "%q: ", p.Value)
	}
	return b.String() + p.Text
}

// Problems is the error of Load: everything that is wrong, not only the first.
type Problems []Problem

// Error gives a line for each problem.
func (ps *Problems) Error() string {
	if len(*ps) == 1 {
		return "configuration: " + (*ps)[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d problems:", len(*ps))
	for _, p := range *ps {
		b.WriteString("\n  " + p.Error())
	}
	return b.String()
}

// userinfo matches the name and password in a URL, greedily, as a password may
// hold an @.
var userinfo = regexp.MustCompile(`://.*@`)

// shown returns a value as a problem may show it: short, and without the
// password of a URL.
func shown(value string) string {
	const most = 80
	value = userinfo.ReplaceAllString(value, "://<secret>@")
	if utf8.RuneCountInString(value) > most {
		return string([]rune(value)[:most]) + "…"
	}
	return value
}

// hint returns "; did you mean X?" for the candidate nearest to a misspelled
// name, or nothing when none is near. A key without its section is near, and
// so is one in other clothes (tenantId, TENANT_ID).
func hint(name string, candidates []string) string {
	if len(name) > 100 {
		return ""
	}
	best, least := "", 1+max(2, len(name)/4)
	for _, c := range candidates {
		d := distance(bare(name), bare(c))
		if _, n, _ := cutLast(name); d > 1 {
			if _, last, _ := cutLast(c); bare(n) == bare(last) {
				d = 1
			}
		}
		if d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// cutLast splits a key into its section, if it has one, and its own name.
func cutLast(key string) (section, name string, ok bool) {
	i := strings.LastIndexByte(key, '.')
	return key[:max(i, 0)], key[i+1:], i > 0
}

// bare returns the letters and digits of a name in lower case.
func bare(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// distance is the Levenshtein distance of two short strings, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
