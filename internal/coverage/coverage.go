// Package coverage tells, from what the ledger holds, how much of what happened at the
// source has been imported: hour by hour, with reasons. It computes from what it is
// given, and reads no clock and no database.
package coverage

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// State is what is known of an hour.
type State string

const (
	Complete State = "complete" // listed whole, and everything listed is in
	Empty    State = "empty"    // listed whole, twice at least, and there was nothing
	Late     State = "late"     // complete, and some of it came after the hour had been listed whole
	Missing  State = "missing"  // something of it is not in yet, or nobody knows
	Lost     State = "lost"     // something of it will never come
	Pending  State = "not due"  // it is not over, or only just; or one listing was empty and the second is to come
)

// States are all of them, in the order in which they are shown.
var States = []State{Complete, Empty, Late, Missing, Lost, Pending}

// covered tells whether nothing of the hour is wanting.
func (s State) covered() bool { return s == Complete || s == Empty || s == Late }

// Facts are what the ledger of a feed says.
type Facts struct {
	Parts    []Part
	Windows  []Window // by part, then by time
	Troubles []Trouble
	Gaps     []Gap
	Rates    []Rate
}

// A Part is what is listed by itself: a content type.
type Part struct {
	Name     string
	Checked  time.Time // when its collection was last looked at
	Refused  string    // why the source does not give it; empty if it does
	FirstDue time.Time // when the source forgets the first blob not read; zero for none
}

// A Window is an interval that was listed, or is to be, an hour at most.
type Window struct {
	Part        string
	Start, End  time.Time
	Whole       bool // a complete listing has reached its end
	Settled     bool // listed after a day and more, or closed
	Forgotten   bool // the source forgot a part of it before that was listed
	Listings    int
	Attempts    int    // failed listings since the last complete one
	Error       string // of these, or what was forgotten
	Due, Forget time.Time

	Blobs   int // listed
	Read    int // of these
	Late    int // listed after a listing of the whole window had not shown them
	Empty   int // read, and without a record
	Partial int // read in part only

	Records, Stored, Duplicate, OutOfScope, Quarantined int64
}

// A Trouble is what is wrong with blobs of a window: they could not be read yet, are
// lost, or could be read in part.
type Trouble struct {
	Part          string
	Window        time.Time
	Lost, Partial bool
	Blobs         int
	Why           string // of one of them
}

// A Gap is a time in which a part may not have been collected at the source.
type Gap struct {
	Part     string
	From, To time.Time
	First    bool // before the very first start, which nobody expects to have
}

// A Rate is what one process has read within some time, an hour at most.
type Rate struct {
	From, To time.Time
	Blobs    int64
	Busy     time.Duration // of that time: downloading and storing
}

// Options say what is asked.
type Options struct {
	// From is where to begin; zero: where each part's ledger begins. What lies before
	// that is missing only if it was asked for.
	From, To time.Time
	Now      time.Time
	// Every is how often the import runs. An hour is due when that has been twice since its
	// end, and an hour after it at the soonest.
	Every time.Duration
	// Part is the one that is asked for; empty for all.
	Part string
}

// An Hour is what became of one hour of one part.
type Hour struct {
	Part    string    `json:"content_type"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	State   State     `json:"state"`
	Settled bool      `json:"settled"` // nothing more is expected
	Why     []string  `json:"why,omitempty"`
	Sums
}

// Sums are what is counted of hours.
type Sums struct {
	Blobs        int   `json:"blobs"`
	BlobsDue     int   `json:"blobs_due,omitempty"`
	BlobsLost    int   `json:"blobs_lost,omitempty"`
	BlobsLate    int   `json:"blobs_late,omitempty"`
	BlobsEmpty   int   `json:"blobs_empty,omitempty"`
	BlobsPartial int   `json:"blobs_partial,omitempty"`
	Records      int64 `json:"records"`
	Stored       int64 `json:"stored"`
	Duplicate    int64 `json:"duplicate,omitempty"`
	OutOfScope   int64 `json:"out_of_scope,omitempty"`
	Quarantined  int64 `json:"quarantined,omitempty"`
}

func (s *Sums) add(t Sums) {
	s.Blobs += t.Blobs
	s.BlobsDue += t.BlobsDue
	s.BlobsLost += t.BlobsLost
	s.BlobsLate += t.BlobsLate
	s.BlobsEmpty += t.BlobsEmpty
	s.BlobsPartial += t.BlobsPartial
	s.Records += t.Records
	s.Stored += t.Stored
	s.Duplicate += t.Duplicate
	s.OutOfScope += t.OutOfScope
	s.Quarantined += t.Quarantined
}

// A Total is what became of several hours.
type Total struct {
	Part  string        `json:"content_type,omitempty"` // empty: all
	Day   string        `json:"day,omitempty"`          // empty: all
	Hours map[State]int `json:"hours"`
	// Percent is the share of hours of which nothing is wanting among those that are due,
	// cut off after the third place so that it is 100 only if that is so; nil if none is due.
	Percent *float64 `json:"percent"`
	Sums
}

func (t *Total) add(h Hour) {
	if t.Hours == nil {
		t.Hours = map[State]int{}
	}
	t.Hours[h.State]++
	t.Sums.add(h.Sums)
}

func (t *Total) conclude() {
	covered, due := 0, 0
	for state, n := range t.Hours {
		if state.covered() {
			covered += n
		}
		if state != Pending {
			due += n
		}
	}
	if due > 0 {
		p := math.Floor(100_000*float64(covered)/float64(due)) / 1000
		t.Percent = &p
	}
}

// A Deadline is what the source forgets first of what is not in yet.
type Deadline struct {
	Part string    `json:"content_type"`
	At   time.Time `json:"at"`
}

// A Report is the answer.
type Report struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Total    Total     `json:"total"`
	Parts    []Total   `json:"content_types"`
	Days     []Total   `json:"days"`            // by day, then by part
	Hours    []Hour    `json:"hours,omitempty"` // by part, then by time
	First    *Deadline `json:"forgotten_first"` // nil: there is nothing to forget
	Headroom *Headroom `json:"headroom"`        // nil: not known
}

// Assess tells what became of each hour.
func Assess(f Facts, o Options) Report {
	if o.To.IsZero() || o.To.After(o.Now) {
		o.To = o.Now
	}
	a := assessment{Facts: f, Options: o, grace: max(time.Hour, 2*o.Every), troubles: map[hourKey][]Trouble{}}
	for _, t := range f.Troubles {
		k := hourKey{t.Part, t.Window.Unix()}
		a.troubles[k] = append(a.troubles[k], t)
	}
	r := Report{From: o.From, To: o.To, Headroom: headroom(f, o.Now)}
	days := map[[2]string]*Total{}
	for _, p := range a.parts() {
		if o.Part != "" && p.Name != o.Part {
			continue
		}
		part := Total{Part: p.Name, Hours: map[State]int{}}
		for _, h := range a.hours(p) {
			r.Hours = append(r.Hours, h)
			r.Total.add(h)
			part.add(h)
			k := [2]string{h.Start.Format(time.DateOnly), p.Name}
			if days[k] == nil {
				days[k] = &Total{Day: k[0], Part: k[1]}
			}
			days[k].add(h)
			if r.From.IsZero() || h.Start.Before(r.From) {
				r.From = h.Start
			}
		}
		part.conclude()
		r.Parts = append(r.Parts, part)
		r.First = sooner(r.First, p.Name, p.FirstDue)
	}
	for _, w := range f.Windows {
		if (o.Part == "" || w.Part == o.Part) && (!w.Whole && !w.Forgotten && w.End.Add(a.grace).Before(o.Now)) {
			r.First = sooner(r.First, w.Part, w.Forget)
		}
	}
	for _, t := range days {
		t.conclude()
		r.Days = append(r.Days, *t)
	}
	slices.SortFunc(r.Days, func(a, b Total) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Part, b.Part)) })
	if r.Total.Hours == nil { // there is none in that time
		r.Total.Hours = map[State]int{}
	}
	if r.From.IsZero() {
		r.From = r.To
	}
	r.Total.conclude()
	return r
}

func sooner(d *Deadline, part string, at time.Time) *Deadline {
	if at.IsZero() || d != nil && !at.Before(d.At) {
		return d
	}
	return &Deadline{part, at}
}

type hourKey struct {
	part string
	unix int64
}

type assessment struct {
	Facts
	Options
	grace    time.Duration // for so long after its end an hour is not yet due
	troubles map[hourKey][]Trouble
}

// parts are those that the ledger knows, however it does.
func (a *assessment) parts() []Part {
	all := slices.Clone(a.Parts)
	for i, w := range a.Windows {
		if i > 0 && a.Windows[i-1].Part == w.Part || slices.ContainsFunc(all, func(p Part) bool { return p.Name == w.Part }) {
			continue
		}
		all = append(all, Part{Name: w.Part})
	}
	slices.SortFunc(all, func(x, y Part) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

// begin is where the hours of a part begin.
func (a *assessment) begin(p Part, windows []Window) time.Time {
	if !a.From.IsZero() {
		return a.From.UTC().Truncate(time.Hour)
	}
	var from time.Time
	switch {
	case len(windows) > 0:
		from = windows[0].Start
	case len(a.Windows) > 0:
		// It was refused from the beginning: that is not nothing.
		from = slices.MinFunc(a.Windows, func(x, y Window) int { return x.Start.Compare(y.Start) }).Start
	default:
		return a.To
	}
	for _, g := range a.Gaps {
		if g.Part == p.Name && g.First && g.To.After(from) {
			from = g.To.Truncate(time.Hour)
		}
	}
	return from
}

// retired tells whether a part is no longer looked at, while others are.
func (a *assessment) retired(p Part) bool {
	for _, other := range a.Parts {
		if other.Checked.Sub(p.Checked) > time.Hour {
			return true
		}
	}
	return false
}

// hours goes through the time of a part, and leaves nothing out.
func (a *assessment) hours(p Part) []Hour {
	first, _ := slices.BinarySearchFunc(a.Windows, p.Name, func(w Window, name string) int { return cmp.Compare(w.Part, name) })
	windows := a.Windows[first:]
	if n := slices.IndexFunc(windows, func(w Window) bool { return w.Part != p.Name }); n >= 0 {
		windows = windows[:n]
	}
	at := a.begin(p, windows)
	end := a.To
	if len(windows) > 0 && a.retired(p) && windows[len(windows)-1].End.Before(end) {
		end = windows[len(windows)-1].End
	}
	all := make([]Hour, 0, max(0, int(end.Sub(at).Hours())+1))
	hole := func(to time.Time, why string) {
		for at.Before(to) && at.Before(end) {
			h := Hour{Part: p.Name, Start: at, End: at.Truncate(time.Hour).Add(time.Hour)}
			if h.End.After(to) && to.After(at) {
				h.End = to
			}
			h.State, h.Why = Missing, []string{why}
			switch {
			case a.Now.Before(h.End.Add(a.grace)):
				h.State, h.Why = Pending, nil
			case p.Refused != "":
				h.Why = []string{"the source refuses it: " + p.Refused}
			}
			a.gaps(&h)
			all = append(all, h)
			at = h.End
		}
	}
	before := "the ledger begins after it: nothing is known of it"
	for _, w := range windows {
		if !w.End.After(at) || !w.Start.Before(end) {
			continue
		}
		hole(w.Start, before)
		before = "the ledger has no window for it: it was deleted, or never made"
		all = append(all, a.hour(p, w))
		at = w.End
	}
	if len(windows) > 0 {
		before = "it was never listed: the import has not run since"
	}
	hole(end, before)
	return all
}

// hour judges a window.
func (a *assessment) hour(p Part, w Window) Hour {
	h := Hour{Part: w.Part, Start: w.Start, End: w.End, Settled: w.Settled && w.Whole && w.Read == w.Blobs, Sums: Sums{
		Blobs: w.Blobs, BlobsLate: w.Late, BlobsEmpty: w.Empty, BlobsPartial: w.Partial,
		Records: w.Records, Stored: w.Stored, Duplicate: w.Duplicate, OutOfScope: w.OutOfScope, Quarantined: w.Quarantined}}
	say := func(format string, args ...any) { h.Why = append(h.Why, fmt.Sprintf(format, args...)) }
	young := a.Now.Before(w.End.Add(a.grace))
	h.State = Complete
	if w.Blobs == 0 {
		h.State = Empty
	}
	worse := func(s State) {
		if slices.Index(severity, s) > slices.Index(severity, h.State) {
			h.State = s
		}
	}
	if w.Late > 0 {
		worse(Late)
		say("%s came after the hour had been listed whole", blobs(w.Late))
	}
	var failing int
	for _, t := range a.troubles[hourKey{w.Part, w.Start.Unix()}] {
		switch {
		case t.Lost:
			h.BlobsLost += t.Blobs
			worse(Lost)
			say("%s lost: %s", blobs(t.Blobs), t.Why)
		case t.Partial:
			say("%s could be read in part only: %s", blobs(t.Blobs), t.Why)
		default:
			failing += t.Blobs
			say("%s could not be read yet: %s", blobs(t.Blobs), t.Why)
		}
	}
	if w.Partial > 0 {
		worse(Lost)
	}
	h.BlobsDue = max(0, w.Blobs-w.Read-h.BlobsLost)
	switch {
	case failing > 0 || h.BlobsDue > 0 && !young:
		worse(Missing)
		if n := h.BlobsDue - failing; n > 0 {
			say("%s listed and not yet read", blobs(n))
		}
	case h.BlobsDue > 0:
		worse(Pending)
	}
	switch {
	case w.Forgotten:
		worse(Lost)
		say("%s", w.Error)
	case w.Whole && (w.Blobs > 0 || w.Listings > 1 || w.Settled):
		// Listed, and what was listed is told above.
	case w.Attempts > 0:
		worse(Missing)
		say("listing it has failed %s: %s", times(w.Attempts), w.Error)
	case p.Refused != "" && !young:
		worse(Missing)
		say("the source refuses it: %s", p.Refused)
	case young:
		worse(Pending)
	case w.Whole && a.Now.Before(w.Due.Add(a.grace)):
		worse(Pending)
		say("it was listed once and was empty, which is not trusted alone; it is to be listed again at %s", w.Due.UTC().Format(time.RFC3339))
	case w.Whole:
		worse(Missing)
		say("it was listed once and was empty, which is not trusted; since then it was not listed again")
	case w.Listings > 0:
		worse(Missing)
		say("it was listed in part, and since then not again")
	default:
		worse(Missing)
		say("it was not listed yet")
	}
	if w.Whole && w.Attempts > 0 {
		say("listing it again has failed %s: %s", times(w.Attempts), w.Error)
	}
	if w.Empty > 0 {
		say("%s had no record", blobs(w.Empty))
	}
	a.gaps(&h)
	return h
}

// severity orders states: an hour has the worst of what is true of it.
var severity = []State{Empty, Complete, Late, Pending, Missing, Lost}

// gaps tells of an hour in which the source may not have collected anything.
func (a *assessment) gaps(h *Hour) {
	for _, g := range a.Gaps {
		if g.Part != h.Part || !g.From.Before(h.End) || !g.To.After(h.Start) {
			continue
		}
		if g.First {
			if h.Start.Truncate(time.Hour).Equal(g.To.Truncate(time.Hour)) {
				continue // the hour of the start: from then on
			}
			h.Why = append(h.Why, "the subscription began later, "+g.To.Format(time.RFC3339))
		} else {
			h.Why = append(h.Why, fmt.Sprintf("the subscription was found stopped %s, and last seen running %s: what happened in between may not have been kept",
				g.To.Format(time.RFC3339), g.From.Format(time.RFC3339)))
		}
		h.State = Lost
	}
}

func blobs(n int) string {
	if n == 1 {
		return "1 blob"
	}
	return fmt.Sprintf("%d blobs", n)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
