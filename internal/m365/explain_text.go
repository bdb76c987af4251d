package m365

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Reading is what [Explain] finds in a text. It holds nothing of the text but codes,
// and the values of Facts, whose forms are narrow: no token, assertion or secret.
type Reading struct {
	Explanations []Explanation `json:"explanations"` // in the order of the text
	Unknown      []string      `json:"unknown"`      // codes by their form that have no explanation
	Near         []string      `json:"near"`         // codes that are spelt much like the unknown one, when all are unknown
	Facts        []Fact        `json:"facts"`
}

// Fact is something that a text tells about its error.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Explain reads a code, or a text with codes in it: an error, the body of an answer, a
// line of a log. The message tells particular reasons apart.
func Explain(text string) Reading {
	text = withoutTokens(unquote.Replace(text))
	r := Reading{Explanations: []Explanation{}, Unknown: []string{}, Near: []string{}, Facts: []Fact{}}
	if word := strings.TrimSpace(text); !strings.ContainsAny(word, " \t\n{") {
		r.add(readWord(word))
	}
	if len(r.Explanations) == 0 {
		r.add(readText(text))
	}
	if len(r.Explanations) == 0 && len(r.Unknown) > 0 {
		r.Near = append(r.Near, near(r.Unknown[0])...)
	}
	r.Facts = append(r.Facts, facts(text)...)
	return r
}

// unquote takes back what JSON within JSON, and logs, do to a text.
var unquote = strings.NewReplacer(`\"`, `"`, `\r`, " ", `\n`, " ", `\u0027`, "'", "\r", " ")

func (r *Reading) add(other Reading) {
	r.Explanations = append(r.Explanations, other.Explanations...)
	for _, code := range other.Unknown {
		if !slices.Contains(r.Unknown, code) {
			r.Unknown = append(r.Unknown, code)
		}
	}
}

// coded matches the codes that can be told in any text.
var coded = regexp.MustCompile(`\b(?:AADSTS\d{3,10}|AKV\d{5}|AF\d{3,5})\b`)

var (
	digits = regexp.MustCompile(`^\d{3,10}$`)
	// spelt is a word that may be a code and cannot be a secret.
	spelt = regexp.MustCompile(`^[A-Za-z]{2,45}([_-][A-Za-z]{2,45})?$`)
)

// readWord explains one word, in whatever case it is written; digits are a number of
// Entra ID's before anybody else's.
func readWord(word string) Reading {
	if digits.MatchString(word) {
		for _, prefix := range []string{"AADSTS", "AF", "AKV"} {
			if x, ok := lookUp(prefix + word); ok {
				return Reading{Explanations: []Explanation{x}}
			}
		}
		if len(word) > 3 { // and no status of HTTP
			return Reading{Unknown: []string{"AADSTS" + word}}
		}
		return Reading{}
	}
	if x, ok := lookUp(word); ok {
		return Reading{Explanations: []Explanation{x}}
	}
	if up := strings.ToUpper(word); up != "" && coded.FindString(up) == up {
		return Reading{Unknown: []string{up}}
	}
	if spelt.MatchString(word) {
		return Reading{Unknown: []string{word}}
	}
	return Reading{}
}

// lookUp finds the general reason of a code, and the only one of one that has no
// general reason.
func lookUp(code string) (found Explanation, ok bool) {
	for _, x := range explanations {
		if strings.EqualFold(x.Code, code) {
			found, ok = x, true
		}
		if ok && strings.EqualFold(x.Code, code) && len(x.When) == 0 {
			return x, true
		}
	}
	return found, ok
}

var (
	// codeMember matches where an answer, or an SDK's error, says that a word is a code.
	codeMember = regexp.MustCompile(`(?i)"?\b(?:error ?)?code"?\s*[:=]\s*"?([A-Za-z][\w./-]{1,80})`)
	codeList   = regexp.MustCompile(`"error_codes"\s*:\s*\[([\d,\s]{1,100})\]`)
	codePage   = regexp.MustCompile(`/error\?code=(\d{3,10})`)
	codeNumber = regexp.MustCompile(`\d{3,10}`)
	codeWord   = regexp.MustCompile(`[A-Za-z][\w]{2,60}`)
)

// readText finds the codes in a text.
func readText(text string) Reading {
	type hit struct {
		at   int
		code string
	}
	var hits []hit
	for _, at := range coded.FindAllStringIndex(text, -1) {
		hits = append(hits, hit{at[0], text[at[0]:at[1]]})
	}
	for _, at := range codeMember.FindAllStringSubmatchIndex(text, -1) {
		for _, code := range strings.Split(text[at[2]:at[3]], "/") {
			hits = append(hits, hit{at[0], code})
		}
	}
	for _, at := range codeList.FindAllStringSubmatchIndex(text, -1) {
		for _, n := range codeNumber.FindAllString(text[at[2]:at[3]], -1) {
			hits = append(hits, hit{at[0], "AADSTS" + n})
		}
	}
	for _, at := range codePage.FindAllStringSubmatchIndex(text, -1) {
		hits = append(hits, hit{at[0], "AADSTS" + text[at[2]:at[3]]})
	}
	for _, at := range codeWord.FindAllStringIndex(text, -1) {
		if s := text[at[0]:at[1]]; striking(s) {
			hits = append(hits, hit{at[0], s})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(a.at, b.at) })

	var r Reading
	seen := map[string]bool{}
	for _, h := range hits {
		if seen[h.code] {
			continue
		}
		seen[h.code] = true
		if x, ok := explain(h.code, text); ok && !x.nameless() {
			r.Explanations = append(r.Explanations, x)
		} else if coded.MatchString(h.code) {
			r.Unknown = append(r.Unknown, h.code)
		}
	}
	if x, ok := explainWords(text); ok && len(r.Explanations) == 0 {
		r.Explanations = append(r.Explanations, x)
	}
	r.Explanations = particular(r.Explanations)
	return r
}

// striking reports whether a word is a code wherever it stands, and no word of a
// sentence: one with a capital, a digit or an underscore within.
func striking(s string) bool {
	return strings.IndexFunc(s[1:], func(c rune) bool { return c < 'a' || c > 'z' }) >= 0
}

// particular leaves out plain words, such as Forbidden, where the same API says more.
func particular(all []Explanation) []Explanation {
	return slices.DeleteFunc(slices.Clone(all), func(x Explanation) bool {
		return !striking(x.Code) && slices.ContainsFunc(all, func(y Explanation) bool {
			return y.API == x.API && striking(y.Code)
		})
	})
}

// near returns the codes that are spelt like one, but for a typing error or two; the
// few that are nearest.
func near(code string) []string {
	const few = 5
	code = strings.ToLower(code)
	distances := map[string]int{}
	for _, x := range explanations {
		if d := distance(code, strings.ToLower(x.Code)); d <= 2 && 2*d < len(code) {
			distances[x.Code] = d
		}
	}
	all := slices.SortedFunc(maps.Keys(distances), func(a, b string) int {
		return cmp.Or(cmp.Compare(distances[a], distances[b]), strings.Compare(a, b))
	})
	return all[:min(few, len(all))]
}

// distance counts the signs to be added, removed, changed or swapped with the next.
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

const guid = `([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})`

// told are the forms in which texts tell facts. Each value is of a form that no secret
// has.
var told = []struct {
	name string
	form *regexp.Regexp
}{
	{"thumbprint used", regexp.MustCompile(`(?i)thumbprint(?: of key used by client)?["':=\s]+([0-9a-f]{40})\b`)},
	{"key credential from", regexp.MustCompile(`Found key 'Start=([\d/]{8,10} [\d:]{8})`)},
	{"key credential until", regexp.MustCompile(`Found key 'Start=[^']{1,40}End=([\d/]{8,10} [\d:]{8})`)},
	{"application", regexp.MustCompile(`(?i)(?:\bapplication(?: with identifier)?|client application|\bapp(?:lication)? ?id|\bapp)["':=\s]+` + guid)},
	{"tenant", regexp.MustCompile(`(?i)(?:directory|tenant(?: named|[ _]?id)?|sts\.windows\.net)["':=/\s]+` + guid)},
	{"object", regexp.MustCompile(`(?i)\b(?:oid|object ?id)["':=\s]+` + guid)},
	{"key vault", regexp.MustCompile(`(?i)(?:\bkey vault '|\bVault: )([A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9])\b`)},
	{"action", regexp.MustCompile(`Action: '(Microsoft\.KeyVault/[A-Za-z/]{3,100})'`)},
	{"action", regexp.MustCompile(`perform action '(Microsoft\.[A-Za-z]{2,40}/[A-Za-z/]{3,100})'`)},
	{"permission missing", regexp.MustCompile(`does not have ((?:certificates|secrets|keys) [a-z]{2,20}) permission`)},
	{"permission missing", regexp.MustCompile(`expected permission ([A-Za-z]{2,40}\.[A-Za-z.]{2,60}[A-Za-z])`)},
	{"address refused", regexp.MustCompile(`Client address: ([0-9a-fA-F.:]{3,45}[0-9a-fA-F])`)},
	{"Entra ID's clock", regexp.MustCompile(`Current time: (\d{4}-\d\d-\d\dT[\d:.]{8,16}Z?)`)},
	{"assertion from", regexp.MustCompile(`assertion valid from (\d{4}-\d\d-\d\dT[\d:.]{8,16}Z?)`)},
	{"assertion until", regexp.MustCompile(`expiry time of assertion (\d{4}-\d\d-\d\dT[\d:.]{8,16}Z?)`)},
	{"retry after", regexp.MustCompile(`(?i)retry[- ]after["':=\s]+(\d{1,6}(?:h|m|s|\d|\.)*)`)},
	{"trace ID", regexp.MustCompile(`(?i)\btrace(?:[ _]?id)?["':=\s]+` + guid)},
	{"correlation ID", regexp.MustCompile(`(?i)\bcorrelation(?:[ _]?id)?["':=\s]+` + guid)},
	{"request ID", regexp.MustCompile(`(?i)(?:^|[^-\w])(?:x-ms-)?request(?:[-_ ]?id)?["':=\s]+` + guid)},
	{"time", regexp.MustCompile(`(?i)timestamp["':=\s]+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ)`)},
	{"time", regexp.MustCompile(`correlation ` + `[0-9a-fA-F-]{36}, (\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ)`)},
}

// facts finds what a text tells about its error.
func facts(text string) []Fact {
	var all []Fact
	for _, f := range told {
		if m := f.form.FindStringSubmatch(text); m != nil && !slices.ContainsFunc(all, func(a Fact) bool { return a.Name == f.name }) {
			all = append(all, Fact{f.name, m[1]})
		}
	}
	return all
}
