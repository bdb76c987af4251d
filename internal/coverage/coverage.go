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
	Complete State = "complete"    // listed whole, and everything listed is in
	Empty    State = "empty"       // listed whole, twice at least, and there was nothing
	Late     State = "late"        // complete, and some of it came after the hour had been listed whole
	Missing  State = "missing"     // something of it is not in yet, or nobody knows
	Lost     State = "lost"        // something of it will never come
	Pending  State = "not due"     // it is not over, or only just; or one listing was empty and the second is to come
	Before   State = "not covered" // it was before reeve began with the part: nothing is known of it, and nothing is wanting
)

// States are all of them, in the order in which they are shown.
var States = []State{Complete, Empty, Late, Missing, Lost, Pending, Before}

// covered tells whether nothing of the hour is wanting.
func (s State) covered() bool { return s == Complete || s == Empty || s == Late }

// counts tells whether the hour is one of which there is a percentage.
func (s State) counts() bool { return s != Pending && s != Before }

// told tells whether reasons for the state are told of all hours together.
func (s State) told() bool { return s == Missing || s == Lost || s == Before }

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
	Began    time.Time // the ledger's first window of it, also where Windows has it not; zero: there is none, or nobody looked
	Ended    time.Time // the end of its last one, likewise
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
	// that is told of only if it was asked for, and then is not covered.
	From, To time.Time
	// Read is from when on the windows were read; zero: all were. Without From nothing
	// before it is told of.
	Read time.Time
	Now  time.Time
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

	reasons []reason
}

// A reason is one of the reasons for an hour's state.
type reason struct {
	state State // that it alone would be a reason for
	blobs int   // with which it begins; 0: not with blobs
	text  string
}

func (h *Hour) say(state State, text string) {
	h.reasons = append(h.reasons, reason{state, 0, text})
	h.Why = append(h.Why, text)
}

// failed adds that something has failed so many times, the last time with an error.
func (h *Hour) failed(state State, what string, n int, err string) {
	h.reasons = append(h.reasons, reason{state, 0, what + ": " + err})
	h.Why = append(h.Why, what+" "+times(n)+": "+err)
}

// of adds a reason that so many blobs are.
func (h *Hour) of(state State, n int, text string) {
	h.reasons = append(h.reasons, reason{state, n, text})
	h.Why = append(h.Why, blobs(n)+" "+text)
}

// A Reason is why hours of a part are missing, lost or not covered, told once for all of
// them. An hour with several reasons is in each.
type Reason struct {
	State State     `json:"state"`
	Part  string    `json:"content_type"`
	Why   string    `json:"why"`
	Hours int       `json:"hours"`
	Blobs int       `json:"blobs,omitempty"`
	From  time.Time `json:"from"` // the beginning of the oldest of these hours
	To    time.Time `json:"to"`   // the end of the newest
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
	// What is not covered is none of them.
	Percent *float64 `json:"percent"`
	// Began is when reeve began with the part, or with the first of all.
	Began *time.Time `json:"covered_from,omitempty"`
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
		if state.counts() {
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
	Reasons  []Reason  `json:"reasons"`         // by part, then by time
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
	r := Report{From: o.From, To: o.To, Reasons: []Reason{}, Headroom: headroom(f, o.Now)}
	days := map[[2]string]*Total{}
	for _, p := range a.parts() {
		if o.Part != "" && p.Name != o.Part {
			continue
		}
		part := Total{Part: p.Name, Hours: map[State]int{}}
		hours, began := a.hours(p)
		if !began.IsZero() {
			part.Began = &began
			if r.Total.Began == nil || began.Before(*r.Total.Began) {
				r.Total.Began = &began
			}
		}
		r.Reasons = append(r.Reasons, reasonsOf(hours)...)
		for _, h := range hours {
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

// reasonsOf tells the reasons of a part's hours, those with one reason together.
func reasonsOf(hours []Hour) (all []Reason) {
	at := map[reason]int{}
	for _, h := range hours {
		for _, why := range h.reasons {
			if !why.state.told() {
				continue
			}
			n := why.blobs
			why.blobs = 0
			i, ok := at[why]
			if !ok {
				i = len(all)
				at[why] = i
				all = append(all, Reason{State: why.state, Part: h.Part, Why: why.text, From: h.Start})
			}
			all[i].Hours++
			all[i].Blobs += n
			all[i].To = h.End
		}
	}
	for i, r := range all {
		if r.Blobs > 0 {
			all[i].Why = blobs(r.Blobs) + " " + r.Why
		}
	}
	return all
}

// begin is where the hours of a part begin that are told of; first where the ledger does,
// and covered where what happened is said to be covered: both zero if it has nothing at all.
func (a *assessment) begin(p Part, windows []Window) (at, first, covered time.Time) {
	switch {
	case !p.Began.IsZero():
		first = p.Began
	case len(windows) > 0:
		first = windows[0].Start
	default:
		// It was refused from the beginning: that is not nothing.
		for _, other := range a.Parts {
			first = earlier(first, other.Began)
		}
		for _, w := range a.Windows {
			first = earlier(first, w.Start)
		}
	}
	for _, g := range a.Gaps {
		if g.Part != p.Name || !g.First {
			continue
		}
		first = earlier(first, g.To) // from then on the source has collected, listed or not
		covered = later(covered, g.To.Truncate(time.Hour))
	}
	if !first.IsZero() {
		covered = later(covered, first)
	}
	switch {
	case !a.From.IsZero():
		at = a.From.UTC().Truncate(time.Hour)
	case first.IsZero():
		at = a.To
	default:
		at = later(covered, a.Read.UTC().Truncate(time.Hour))
	}
	return at, first, covered
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
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

// hours goes through the time of a part, and leaves nothing out. It tells since when the
// part is covered; zero if the ledger has nothing.
func (a *assessment) hours(p Part) (all []Hour, covered time.Time) {
	i, _ := slices.BinarySearchFunc(a.Windows, p.Name, func(w Window, name string) int { return cmp.Compare(w.Part, name) })
	windows := a.Windows[i:]
	if n := slices.IndexFunc(windows, func(w Window) bool { return w.Part != p.Name }); n >= 0 {
		windows = windows[:n]
	}
	at, first, covered := a.begin(p, windows)
	end := a.To
	if a.retired(p) {
		last := p.Ended
		if len(windows) > 0 {
			last = windows[len(windows)-1].End
		}
		if !last.IsZero() && last.Before(end) {
			end = last
		}
	}
	all = make([]Hour, 0, max(0, int(end.Sub(at).Hours())+1))
	hole := func(to time.Time, state State, why string) {
		for at.Before(to) && at.Before(end) {
			h := Hour{Part: p.Name, Start: at, End: at.Truncate(time.Hour).Add(time.Hour), State: state}
			if h.End.After(to) && to.After(at) {
				h.End = to
			}
			switch {
			case state == Before:
				h.say(state, why)
			case a.Now.Before(h.End.Add(a.grace)):
				h.State = Pending
			case p.Refused != "":
				h.say(state, "the source refuses it: "+p.Refused)
			default:
				h.say(state, why)
			}
			if state != Before {
				a.gaps(&h)
			}
			all = append(all, h)
			at = h.End
		}
	}
	switch {
	case a.From.IsZero():
	case first.IsZero():
		hole(end, Before, "the ledger has nothing yet: the import has not begun")
	default:
		hole(first, Before, "the ledger begins later, "+first.UTC().Format(time.RFC3339))
	}
	for _, w := range windows {
		if !w.End.After(at) || !w.Start.Before(end) {
			continue
		}
		hole(w.Start, Missing, "the ledger has no window for it: it was deleted, or never made")
		all = append(all, a.hour(p, w))
		at = w.End
	}
	rest := "it was never listed: the import has not run since"
	if len(windows) == 0 && p.Began.IsZero() {
		rest = "the ledger has no window for it: it was deleted, or never made"
	}
	hole(end, Missing, rest)
	return all, covered
}

// hour judges a window.
func (a *assessment) hour(p Part, w Window) Hour {
	h := Hour{Part: w.Part, Start: w.Start, End: w.End, Settled: w.Settled && w.Whole && w.Read == w.Blobs, Sums: Sums{
		Blobs: w.Blobs, BlobsLate: w.Late, BlobsEmpty: w.Empty, BlobsPartial: w.Partial,
		Records: w.Records, Stored: w.Stored, Duplicate: w.Duplicate, OutOfScope: w.OutOfScope, Quarantined: w.Quarantined}}
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
		h.of(Late, w.Late, "came after the hour had been listed whole")
	}
	var failing int
	for _, t := range a.troubles[hourKey{w.Part, w.Start.Unix()}] {
		switch {
		case t.Lost:
			h.BlobsLost += t.Blobs
			worse(Lost)
			h.of(Lost, t.Blobs, "lost: "+t.Why)
		case t.Partial:
			h.of(Lost, t.Blobs, "could be read in part only: "+t.Why)
		default:
			failing += t.Blobs
			h.of(Missing, t.Blobs, "could not be read yet: "+t.Why)
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
			h.of(Missing, n, "listed and not yet read")
		}
	case h.BlobsDue > 0:
		worse(Pending)
	}
	switch {
	case w.Forgotten:
		worse(Lost)
		h.say(Lost, w.Error)
	case w.Whole && (w.Blobs > 0 || w.Listings > 1 || w.Settled):
		// Listed, and what was listed is told above.
	case w.Attempts > 0:
		worse(Missing)
		h.failed(Missing, "listing it has failed", w.Attempts, w.Error)
	case p.Refused != "" && !young:
		worse(Missing)
		h.say(Missing, "the source refuses it: "+p.Refused)
	case young:
		worse(Pending)
	case w.Whole && a.Now.Before(w.Due.Add(a.grace)):
		worse(Pending)
		h.say(Pending, "it was listed once and was empty, which is not trusted alone; it is to be listed again at "+w.Due.UTC().Format(time.RFC3339))
	case w.Whole:
		worse(Missing)
		h.say(Missing, "it was listed once and was empty, which is not trusted; since then it was not listed again")
	case w.Listings > 0:
		worse(Missing)
		h.say(Missing, "it was listed in part, and since then not again")
	default:
		worse(Missing)
		h.say(Missing, "it was not listed yet")
	}
	if w.Whole && w.Attempts > 0 {
		h.failed(Complete, "listing it again has failed", w.Attempts, w.Error)
	}
	if w.Empty > 0 {
		h.of(Complete, w.Empty, "had no record")
	}
	a.gaps(&h)
	return h
}

// severity orders states: an hour has the worst of what is true of it.
var severity = []State{Empty, Complete, Late, Pending, Missing, Lost}

// gaps tells of an hour in which the source may not have collected anything. Before the
// subscription's very first start nothing is covered; but what was listed even so is due.
func (a *assessment) gaps(h *Hour) {
	for _, g := range a.Gaps {
		if g.Part != h.Part || !g.From.Before(h.End) || !g.To.After(h.Start) {
			continue
		}
		if !g.First {
			h.say(Lost, fmt.Sprintf("the subscription was found stopped %s, and last seen running %s: what happened in between may not have been kept",
				g.To.Format(time.RFC3339), g.From.Format(time.RFC3339)))
			h.State = Lost
			continue
		}
		if h.Start.Truncate(time.Hour).Equal(g.To.Truncate(time.Hour)) {
			continue // the hour of the start: from then on
		}
		state := h.State
		if h.BlobsDue+h.BlobsLost+h.BlobsPartial == 0 {
			state, h.State, h.Why, h.reasons = Before, Before, nil, nil
		}
		h.say(state, "the subscription began later, "+g.To.UTC().Format(time.RFC3339))
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
