package web

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/reeve365/reeve/internal/coverage"
	"github.com/reeve365/reeve/internal/notify"
	"github.com/reeve365/reeve/internal/store"
)

// A view is a page's template and what it shows.
type view struct {
	name string
	data any
}

// page makes a handler of a function that builds a view. Its errors become one
// page, in this one place.
func (s *Site) page(f func(*http.Request) (view, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		status := http.StatusOK
		switch {
		case errors.Is(err, store.ErrNotFound):
			status = http.StatusNotFound
			v = view{"absent.html", struct{ frame }{s.frame("Not here", "")}}
		case err != nil:
			s.Log.Error("A page could not be made.", "path", r.URL.Path, "error", err)
			status = http.StatusInternalServerError
			page := struct {
				frame
				Cause, Remedy string
			}{frame: s.frame("Trouble", "")}
			var refusal *store.Error
			if errors.As(err, &refusal) {
				page.Cause, page.Remedy = refusal.Cause, refusal.Remedy
			}
			v = view{"error.html", page}
		}
		var b bytes.Buffer
		if err := s.pages.ExecuteTemplate(&b, v.name, v.data); err != nil {
			s.Log.Error("A page could not be made.", "path", r.URL.Path, "error", err)
			http.Error(w, "This page could not be made; the log says why.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		w.Write(b.Bytes())
	})
}

// frame is what every page shows.
type frame struct {
	Title   string
	Here    string // the path of the page's place in the navigation; empty for none
	Refresh int    // seconds after which the page is made anew
	Banner  string
	At      time.Time
}

func (s *Site) frame(title, here string) frame {
	return frame{Title: title, Here: here, Refresh: 15, Banner: s.Banner, At: s.Now().UTC()}
}

type statusPage struct {
	frame
	Parts        []store.Standing
	Sum          store.Counts
	Due, Lost    int
	Oldest       time.Time
	Run          *store.Run
	Workers      []store.Worker // that are alive
	Pace         store.Pace
	Workloads    []bar
	Days         []bar
	Ignored      int64
	Quarantined  []store.Count
	Held         int64
	Findings     []store.Finding // about other things than applications
	Attention    []attention     // about applications
	Unshown      int             // of these
	Imports      bool
	Refused      *Refusal // by the database, to the import
	Arrears      []notify.Arrear
	Rows         []applicationRow // those that somebody has to see to, and those that end first
	Applications int
	Coverage     coverage.Report // of the last days
	Tight        bool
}

// coverageDays is how many days back the status page tells of coverage.
const coverageDays = 7

// mostOnStatus bounds the applications of the status page.
const mostOnStatus = 5

// bar is one bar of a chart that is a table as well.
type bar struct {
	Name  string
	Rows  int64
	Share int // of the longest, in percent
}

func bars(counts []store.Count) []bar {
	var longest int64 = 1
	for _, c := range counts {
		longest = max(longest, c.Rows)
	}
	var all []bar
	for _, c := range counts {
		all = append(all, bar{c.Name, c.Rows, int(100 * c.Rows / longest)})
	}
	return all
}

func (s *Site) status(r *http.Request) (view, error) {
	ctx := r.Context()
	p := statusPage{frame: s.frame("Status", "/"), Imports: s.Imports}
	if s.Refused != nil {
		p.Refused = s.Refused()
	}
	ledger := s.DB.Ledger(s.Tenant, "audit")
	var err error
	if p.Parts, err = ledger.Standing(ctx); err != nil {
		return view{}, err
	}
	for _, x := range p.Parts {
		p.Sum.Add(x.Counts)
		p.Due += x.Blobs[store.BlobDue] + x.WindowsDue
		p.Lost += x.Blobs[store.BlobLost] + x.Windows[store.WindowLost]
		if !x.OldestDue.IsZero() && (p.Oldest.IsZero() || x.OldestDue.Before(p.Oldest)) {
			p.Oldest = x.OldestDue
		}
	}
	runs, err := ledger.Runs(ctx, 1)
	if err != nil {
		return view{}, err
	}
	if len(runs) > 0 {
		p.Run = &runs[0]
	}
	if p.Workers, err = s.DB.Workers(ctx, s.Tenant); err != nil {
		return view{}, err
	}
	if p.Pace, err = s.DB.Pace(ctx, s.Tenant, "audit"); err != nil {
		return view{}, err
	}
	workloads, err := s.DB.CountWorkloads(ctx, s.Tenant)
	if err != nil {
		return view{}, err
	}
	p.Workloads = bars(workloads)
	days, err := s.DB.CountDays(ctx, s.Tenant)
	if err != nil {
		return view{}, err
	}
	if len(days) > 31 {
		days = days[len(days)-31:]
	}
	slices.Reverse(days)
	p.Days = bars(days)
	if p.Ignored, err = s.DB.CountIgnored(ctx, s.Tenant); err != nil {
		return view{}, err
	}
	if p.Quarantined, err = s.DB.CountQuarantine(ctx, s.Tenant); err != nil {
		return view{}, err
	}
	for _, c := range p.Quarantined {
		p.Held += c.Rows
	}
	if p.Findings, err = s.DB.Findings(ctx, s.Tenant); err != nil {
		return view{}, err
	}
	if p.Arrears, err = notify.Arrears(ctx, s.DB, s.Tenant); err != nil {
		return view{}, err
	}
	rows, _, err := s.applications(ctx)
	if err != nil {
		return view{}, err
	}
	p.Attention, p.Unshown = needsAttention(rows)
	// What is recorded about applications is what was so at the last look; the rows are now.
	ids := map[string]bool{}
	for _, row := range rows {
		ids[row.ObjectID] = true
	}
	p.Findings = slices.DeleteFunc(p.Findings, func(f store.Finding) bool {
		id, _, _ := strings.Cut(f.Subject, "/")
		return ids[id]
	})
	from := p.At.AddDate(0, 0, -coverageDays).Truncate(time.Hour)
	facts, err := ledger.Coverage(ctx, from, p.At)
	if err != nil {
		return view{}, err
	}
	p.Coverage = coverage.Assess(facts, coverage.Options{Read: from, Now: p.At, Every: s.Every})
	p.Tight = p.Coverage.Headroom.Tight()
	p.Applications, p.Rows = len(rows), rows[:min(len(rows), mostOnStatus)]
	return view{"status.html", p}, nil
}

// functions are what the templates can call.
var functions = template.FuncMap{
	// number groups the digits of n by three, with a narrow space.
	"number": func(n any) string {
		s := fmt.Sprint(n)
		var b strings.Builder
		for i, r := range s {
			if i > 0 && (len(s)-i)%3 == 0 {
				b.WriteRune('\u202f')
			}
			b.WriteRune(r)
		}
		return b.String()
	},
	"bytes": func(n int64) string {
		const unit = 1024
		switch {
		case n < unit*unit:
			return fmt.Sprintf("%.1f KiB", float64(n)/unit)
		case n < unit*unit*unit:
			return fmt.Sprintf("%.1f MiB", float64(n)/unit/unit)
		}
		return fmt.Sprintf("%.1f GiB", float64(n)/unit/unit/unit)
	},
	"time": func(t time.Time) string {
		if t.IsZero() {
			return "–"
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	},
	"date": func(t time.Time) string {
		if t.IsZero() {
			return "–"
		}
		return t.UTC().Format(time.DateOnly)
	},
	// short is the beginning of a thumbprint.
	"short": func(s string) string {
		if len(s) > 8 {
			s = s[:8] + "…"
		}
		return s
	},
	"until": until,
	"soon":  soon,
	// count is a number with what it counts.
	"percent": func(p *float64) string {
		if p == nil {
			return "–"
		}
		return strconv.FormatFloat(*p, 'f', -1, 64) + " %"
	},
	"hours":      func(t coverage.Total, state string) int { return t.Hours[coverage.State(state)] },
	"count":      func(n any, noun string) string { return fmt.Sprint(n) + " " + plural(n, noun) },
	"plural":     plural,
	"plain":      func(s string) string { plain, _ := notify.SupportIDs(s); return plain },
	"supportIDs": func(s string) string { _, ids := notify.SupportIDs(s); return ids },
	"sentence": func(s string) string {
		first, size := utf8.DecodeRuneInString(s)
		return string(unicode.ToUpper(first)) + s[size:]
	},
	"join": func(s []string) string { return strings.Join(s, ", ") },
	"day": func(s string) string {
		t, err := time.Parse("20060102", s)
		if err != nil {
			return s
		}
		return t.Format("Mon 2 Jan 2006")
	},
	"sum": func(m map[string]int) int {
		n := 0
		for _, v := range m {
			n += v
		}
		return n
	},
}

// plural is the word for n of what a noun names.
func plural(n any, noun string) string {
	if fmt.Sprint(n) == "1" {
		return noun
	}
	return noun + "s"
}

func until(t, now time.Time) string {
	if t.IsZero() {
		return "–"
	}
	d := t.Sub(now).Round(time.Minute)
	if d < 0 {
		return "already"
	}
	return fmt.Sprintf("in %d d %d h %d min", int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60)
}

// soon tells how far off a time is, roughly.
func soon(t, now time.Time) string {
	d := t.Sub(now)
	ago := func(n int, unit string) string {
		unit = plural(n, unit)
		if d < 0 {
			return fmt.Sprintf("%d %s ago", n, unit)
		}
		return fmt.Sprintf("in %d %s", n, unit)
	}
	far := d.Abs()
	switch {
	case t.IsZero():
		return "–"
	case far < time.Second:
		return "now"
	case far < time.Minute:
		return ago(int(far.Seconds()), "second")
	case far < 2*time.Hour:
		return ago(int(far.Minutes()), "minute")
	case far < 48*time.Hour:
		return ago(int(far.Hours()), "hour")
	}
	return ago(int(far.Hours())/24, "day")
}
