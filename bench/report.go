package main

import (
	_ "embed"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// A bar is something that the import is meant to reach in every case.
type bar struct {
	what, short string
	aim         float64
	atLeast     bool // or at most
	of          func(*result) (x float64, ok bool)
	format      func(float64) string
	note        func(*result) string // what to know of a case that misses it; may be nil
}

// mostMemory is how many MiB an import may take.
const mostMemory = 200

var bars = []bar{
	{"processor time beside download, decode and insert", "ratio", 1.3, false, over(round.ratio), hundredths, nil},
	{"processor time beside download, decode and insert texts", "ratio with texts", 1.3, false, over(round.ratioTexts), hundredths, nil},
	{"processor time beside download, decode and merge texts", "ratio with merge", 1.3, false, ofServers(round.ratioMerge), hundredths, nil},
	{"rate beside merge texts", "of the merging driver's rate", 0.8, true, ofServers(round.besideMerge), hundredths, nil},
	{"rate beside insert texts", "of the driver's rate", 0.8, true, over(round.beside), hundredths, func(r *result) string {
		x, _ := over(func(x round) float64 { return x.download.rate() / x.texts.rate() })(r)
		return fmt.Sprintf(" (download alone %.2f)", x)
	}},
	{"peak memory, MiB", "memory", mostMemory, false, func(r *result) (float64, bool) {
		return float64(max(r.peak(func(x round) measurement { return x.imported }), r.peak(func(x round) measurement { return x.together }))) / (1 << 20), true
	}, whole, nil},
	{"a second pass beside the first", "second pass", 0.1, false, func(r *result) (float64, bool) {
		if r.latency != 0 {
			return 0, false
		}
		return over(round.second)(r)
	}, hundredths, nil},
	{fmt.Sprintf("rate of %d workers beside one", workers), "workers", 1, true, func(r *result) (float64, bool) {
		if r.latency != 0 || r.engine.server == nil {
			return 0, false
		}
		return over(round.faster)(r)
	}, hundredths, nil},
}

// ofServers is over for what is measured of servers alone.
func ofServers(f func(round) float64) func(*result) (float64, bool) {
	return func(r *result) (float64, bool) {
		if r.engine.server == nil {
			return 0, false
		}
		return over(f)(r)
	}
}

// over gives the median of f over the rounds.
func over(f func(round) float64) func(*result) (float64, bool) {
	return func(r *result) (float64, bool) { return median(r.sorted(f)), true }
}

// met tells whether x reaches the bar, as it is written.
func (b bar) met(x float64) bool {
	if b.atLeast {
		return x >= b.aim
	}
	return x <= b.aim
}

// over tells the median of f over the rounds, and the best if there are several.
func (r *result) over(f func(round) float64, most bool, format func(float64) string) string {
	all := r.sorted(f)
	text := format(median(all))
	if len(all) == 1 {
		return text
	}
	best := all[0]
	if most {
		best = all[len(all)-1]
	}
	return text + " (" + format(best) + ")"
}

// sorted gives f of every round, the smallest first.
func (r *result) sorted(f func(round) float64) []float64 {
	all := make([]float64, len(r.rounds))
	for i, round := range r.rounds {
		all[i] = f(round)
	}
	slices.Sort(all)
	return all
}

// median is that of sorted numbers.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// peak is the most memory that a part has held in any round.
func (r *result) peak(f func(round) measurement) int64 {
	var peak int64
	for _, round := range r.rounds {
		peak = max(peak, f(round).Peak)
	}
	return peak
}

// missed names the bars that the medians miss.
func (r *result) missed() string {
	var missed []string
	for _, b := range bars {
		if x, ok := b.of(r); ok && !b.met(x) {
			missed = append(missed, b.short)
		}
	}
	if missed == nil {
		return "none"
	}
	return strings.Join(missed, ", ")
}

// name tells which case it is.
func (r *result) name() string {
	return fmt.Sprintf("%s, %s/%s, %v", r.engine.name, whole(float64(r.size.records)), whole(float64(r.size.blob)), r.latency)
}

// renderBars renders for each bar the worst and the best case, and those that miss it.
func renderBars(results []*result) string {
	var b strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row("bar", "aim", "worst case", "best case", "verdict")
	row("---", "--:", "--:", "--:", "---")
	for _, bar := range bars {
		var worst, best float64
		var cases int
		var missed []string
		for _, r := range results {
			x, ok := bar.of(r)
			if !ok {
				continue
			}
			if cases++; cases == 1 {
				worst, best = x, x
			}
			if lower, higher := min(worst, x), max(best, x); bar.atLeast {
				worst, best = lower, higher
			} else {
				worst, best = max(worst, x), min(best, x)
			}
			if !bar.met(x) {
				text := fmt.Sprintf("%s: %s", r.name(), bar.format(x))
				if bar.note != nil {
					text += bar.note(r)
				}
				missed = append(missed, text)
			}
		}
		if cases == 0 {
			continue
		}
		aim := "at most "
		if bar.atLeast {
			aim = "at least "
		}
		verdict := "met"
		if len(missed) > 0 {
			verdict = fmt.Sprintf("**missed** in %d of %d: %s", len(missed), cases, strings.Join(missed, "; "))
		}
		row(bar.what, aim+strconv.FormatFloat(bar.aim, 'g', -1, 64), bar.format(worst), bar.format(best), verdict)
	}
	return b.String()
}

// asked says how many requests an import made.
func (r *result) asked() string {
	all := 0
	for _, n := range r.requests {
		all += n
	}
	return fmt.Sprintf("%s (%s listings, %s blobs)", whole(float64(all)), whole(float64(r.requests["content"])), whole(float64(r.requests["blob"])))
}

// renderTables renders the results in Markdown.
func renderTables(results []*result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", renderBars(results))
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row("database", "records", "in each blob", "latency", "runs", "records/s", "of the driver's rate", "CPU s per 100,000", "yardsticks' CPU s", "ratio", "with texts", "peak MiB", "requests", "database MiB", "aims missed")
	row("---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "---", "--:", "---")
	for _, r := range results {
		imported := func(x round) measurement { return x.imported }
		row(r.engine.name, whole(float64(r.size.records)), whole(float64(r.size.blob)), r.latency.String(), strconv.Itoa(len(r.rounds)),
			r.over(func(x round) float64 { return x.imported.rate() }, true, whole),
			r.over(round.beside, true, hundredths),
			r.over(func(x round) float64 { return x.imported.cpu() }, false, hundredths),
			r.over(round.yardsticks, false, hundredths),
			"**"+r.over(round.ratio, false, hundredths)+"**", r.over(round.ratioTexts, false, hundredths),
			mebibytes(r.peak(imported)), r.asked(), mebibytes(r.database), r.missed())
	}
	fmt.Fprint(&b, "\nBeside itself:\n\n")
	row("database", "records", "in each blob", "runs", "second pass", "its CPU s", "beside the first", fmt.Sprintf("%d workers, records/s", workers), "one worker", "beside one", "CPU beside one", "memory of each, MiB")
	row("---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, r := range results {
		if r.latency != 0 {
			continue
		}
		cells := []string{r.engine.name, whole(float64(r.size.records)), whole(float64(r.size.blob)), strconv.Itoa(len(r.rounds)),
			r.over(func(x round) float64 { return x.again.Wall.Seconds() }, false, hundredths) + " s",
			r.over(func(x round) float64 { return x.again.CPU.Seconds() }, false, hundredths),
			r.over(round.second, false, hundredths)}
		if r.engine.server == nil {
			cells = append(cells, "–", "–", "–", "–", "–")
		} else {
			cells = append(cells,
				r.over(func(x round) float64 { return x.together.rate() }, true, whole),
				r.over(func(x round) float64 { return x.alone.rate() }, true, whole),
				r.over(round.faster, true, hundredths),
				r.over(func(x round) float64 { return x.together.cpu() / x.alone.cpu() }, false, hundredths),
				mebibytes(r.peak(func(x round) measurement { return x.together })))
		}
		row(cells...)
	}

	fmt.Fprint(&b, "\nThe parts alone:\n\n")
	row("records", "in each blob", "part", "records/s", "CPU s per 100,000", "peak MiB")
	row("--:", "--:", "---", "--:", "--:", "--:")
	type measured struct {
		records    int
		name, with string
	}
	seen := map[measured]bool{}
	for _, r := range results {
		for _, part := range []struct {
			name string
			with string // what else it depends on
			of   func(round) measurement
		}{
			{"download", r.latency.String(), func(x round) measurement { return x.download }},
			{"decode", "", func(x round) measurement { return x.decode }},
			{"insert", r.engine.name, func(x round) measurement { return x.insert }},
			{"insert texts", r.engine.name, func(x round) measurement { return x.texts }},
			{"merge texts", r.engine.name, func(x round) measurement { return x.merge }},
			{"*encoding/json, for comparison*", "", func(x round) measurement { return x.reflection }},
		} {
			same := measured{r.size.records, part.name, part.with}
			if seen[same] || part.of(r.rounds[0]).Records == 0 { // told, or not measured with this engine
				continue
			}
			seen[same] = true
			name := part.name
			if part.with != "" {
				name += ", " + part.with
			}
			row(whole(float64(r.size.records)), whole(float64(r.size.blob)), name,
				r.over(func(x round) float64 { return part.of(x).rate() }, true, whole),
				r.over(func(x round) float64 { return part.of(x).cpu() }, false, hundredths),
				mebibytes(r.peak(part.of)))
		}
	}
	return b.String()
}

// whole writes a number without a fraction, with commas.
func whole(x float64) string {
	s := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func hundredths(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func mebibytes(n int64) string { return whole(float64(n) / (1 << 20)) }

//go:embed page.md.tmpl
var pageText string

// kept gives what stands between two marks of the page as it was, which tests write and
// this program keeps: <!-- name --> and <!-- /name -->, each on a line.
func kept(page, name string) string {
	_, rest, _ := strings.Cut(page, "<!-- "+name+" -->\n")
	text, _, _ := strings.Cut(rest, "<!-- /"+name+" -->\n")
	return text
}

// renderPage renders the page for people around the tables, in place of one that was.
func renderPage(tables, was string, now time.Time) (string, error) {
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = page.Execute(&b, map[string]any{
		"Kept":   func(name string) string { return kept(was, name) },
		"Tables": tables, "Month": now.Format("January 2006"), "Cores": runtime.NumCPU(),
		"Go": runtime.Version(), "System": runtime.GOOS + "/" + runtime.GOARCH,
	})
	return b.String(), err
}
