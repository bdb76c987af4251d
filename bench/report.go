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

// What the import is meant to reach in every case.
const (
	aimRatio  = 1.3
	aimBeside = 0.8
	aimPeak   = 200 << 20
)

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

// missed names the aims that the medians miss.
func (r *result) missed() string {
	var missed []string
	if median(r.sorted(round.ratio)) > aimRatio {
		missed = append(missed, "ratio")
	}
	if median(r.sorted(round.beside)) < aimBeside {
		missed = append(missed, "of the driver's rate")
	}
	if r.peak(func(x round) measurement { return x.imported }) > aimPeak {
		missed = append(missed, "memory")
	}
	if missed == nil {
		return "none"
	}
	return strings.Join(missed, ", ")
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
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row("database", "records", "in each blob", "latency", "runs", "records/s", "of the driver's rate", "CPU s per 100,000", "yardsticks' CPU s", "ratio", "peak MiB", "requests", "database MiB", "aims missed")
	row("---", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "--:", "---", "--:", "---")
	for _, r := range results {
		imported := func(x round) measurement { return x.imported }
		row(r.engine.name, whole(float64(r.size.records)), whole(float64(r.size.blob)), r.latency.String(), strconv.Itoa(len(r.rounds)),
			r.over(func(x round) float64 { return x.imported.rate() }, true, whole),
			r.over(round.beside, true, hundredths),
			r.over(func(x round) float64 { return x.imported.cpu() }, false, hundredths),
			r.over(round.yardsticks, false, hundredths),
			"**"+r.over(round.ratio, false, hundredths)+"**",
			mebibytes(r.peak(imported)), r.asked(), mebibytes(r.database), r.missed())
	}
	fmt.Fprintf(&b, "| *aim* | | | | | | *at least %v* | | | *at most %v* | *under %d* | | | |\n", aimBeside, aimRatio, aimPeak>>20)

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
			{"*encoding/json, for comparison*", "", func(x round) measurement { return x.reflection }},
		} {
			same := measured{r.size.records, part.name, part.with}
			if seen[same] {
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
