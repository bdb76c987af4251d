package coverage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func at(h int) time.Time { return noon.Add(time.Duration(h) * time.Hour) }

// whole is a window that was listed whole, with so many blobs, all read.
func whole(h, blobs int) Window {
	return Window{Part: "p", Start: at(h), End: at(h + 1), Whole: true, Listings: 3, Blobs: blobs, Read: blobs, Records: int64(blobs), Stored: int64(blobs),
		Due: at(h + 25), Forget: at(h + 168)}
}

func with(w Window, change func(*Window)) Window {
	change(&w)
	return w
}

// TestHourSaysWhatHappened has a row for each thing that can be so, and nothing else is said.
func TestHourSaysWhatHappened(t *testing.T) {
	now := at(10)
	for _, test := range []struct {
		name     string
		window   Window
		troubles []Trouble
		refused  string
		want     State
		why      string // all of it, joined
	}{
		{name: "read", window: whole(0, 2), want: Complete},
		{name: "nothing happened", window: whole(0, 0), want: Empty},
		{name: "nothing, listed once, the second to come", window: with(whole(0, 0), func(w *Window) { w.Listings, w.Due = 1, at(11) }), want: Pending,
			why: "it was listed once and was empty, which is not trusted alone; it is to be listed again at 2026-11-02T23:00:00Z"},
		{name: "nothing, listed once, and the second never came", window: with(whole(0, 0), func(w *Window) { w.Listings, w.Due = 1, at(2) }), want: Missing,
			why: "it was listed once and was empty, which is not trusted; since then it was not listed again"},
		{name: "nothing, listed once, then closed", window: with(whole(0, 0), func(w *Window) { w.Listings, w.Settled = 1, true }), want: Empty},
		{name: "late", window: with(whole(0, 3), func(w *Window) { w.Late = 1 }), want: Late, why: "1 blob came after the hour had been listed whole"},
		{name: "late and not read", window: with(whole(0, 3), func(w *Window) { w.Late, w.Read = 1, 2 }), want: Missing,
			why: "1 blob came after the hour had been listed whole; 1 blob listed and not yet read"},
		{name: "listed and not read", window: with(whole(0, 3), func(w *Window) { w.Read = 1 }), want: Missing, why: "2 blobs listed and not yet read"},
		{name: "listed and not read, only just", window: with(whole(9, 3), func(w *Window) { w.Read = 1 }), want: Pending},
		{name: "failing", window: with(whole(0, 3), func(w *Window) { w.Read = 1 }), troubles: []Trouble{{Blobs: 1, Why: "cut off"}}, want: Missing,
			why: "1 blob could not be read yet: cut off; 1 blob listed and not yet read"},
		{name: "failing, only just", window: with(whole(9, 3), func(w *Window) { w.Read = 2 }), troubles: []Trouble{{Blobs: 1, Why: "cut off"}}, want: Missing,
			why: "1 blob could not be read yet: cut off"},
		{name: "gone", window: with(whole(0, 3), func(w *Window) { w.Read = 2 }), troubles: []Trouble{{Lost: true, Blobs: 1, Why: "AF20051"}}, want: Lost, why: "1 blob lost: AF20051"},
		{name: "gone, and another to be read", window: with(whole(0, 3), func(w *Window) { w.Read = 1 }), troubles: []Trouble{{Lost: true, Blobs: 1, Why: "AF20051"}}, want: Lost,
			why: "1 blob lost: AF20051; 1 blob listed and not yet read"},
		{name: "read in part", window: with(whole(0, 3), func(w *Window) { w.Partial = 1 }), troubles: []Trouble{{Partial: true, Blobs: 1, Why: "it ends at 17"}}, want: Lost,
			why: "1 blob could be read in part only: it ends at 17"},
		{name: "emptied", window: with(whole(0, 3), func(w *Window) { w.Empty = 1 }), want: Complete, why: "1 blob had no record"},
		{name: "doubled", window: with(whole(0, 3), func(w *Window) { w.Duplicate = 2 }), want: Complete},
		{name: "listing fails", window: Window{Start: at(0), End: at(1), Attempts: 7, Error: "AF50000"}, want: Missing, why: "listing it has failed 7 times: AF50000"},
		{name: "listing it again fails", window: with(whole(0, 3), func(w *Window) { w.Attempts, w.Error = 2, "AF50000" }), want: Complete, why: "listing it again has failed 2 times: AF50000"},
		{name: "forgotten", window: Window{Start: at(0), End: at(1), Forgotten: true, Error: "forgotten before it was listed"}, want: Lost, why: "forgotten before it was listed"},
		{name: "not over", window: Window{Start: at(9), End: at(10).Add(time.Minute), Listings: 4}, want: Pending},
		{name: "listed in part", window: Window{Start: at(0), End: at(1), Listings: 1}, want: Missing, why: "it was listed in part, and since then not again"},
		{name: "never listed", window: Window{Start: at(0), End: at(1)}, want: Missing, why: "it was not listed yet"},
		{name: "refused", window: Window{Start: at(0), End: at(1)}, refused: "no permission", want: Missing, why: "the source refuses it: no permission"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.window.Part = "p"
			for i := range test.troubles {
				test.troubles[i].Part, test.troubles[i].Window = "p", test.window.Start
			}
			r := Assess(Facts{Parts: []Part{{Name: "p", Checked: now, Refused: test.refused}}, Windows: []Window{test.window}, Troubles: test.troubles},
				Options{From: test.window.Start, To: test.window.End, Now: now})
			if len(r.Hours) != 1 || r.Hours[0].State != test.want || strings.Join(r.Hours[0].Why, "; ") != test.why {
				t.Errorf("%+v\nwant %s: %q", r.Hours, test.want, test.why)
			}
			switch p := r.Total.Percent; {
			case test.want == Pending && p != nil:
				t.Errorf("%v of what is not due", *p)
			case test.want != Pending && (p == nil || *p == 100 != test.want.covered()):
				t.Errorf("percent %v", p)
			}
		})
	}
}

// TestNothingIsLeftOut: whatever the ledger has, every hour that is asked for is told of
// once, and what it does not know is missing, or was before it began.
func TestNothingIsLeftOut(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var f Facts
		have := map[int]bool{}
		for h := range 48 {
			if r.IntN(3) > 0 {
				f.Windows = append(f.Windows, whole(h, r.IntN(2)))
				have[h] = true
			}
		}
		from, to := r.IntN(60)-10, 0
		to = from + 1 + r.IntN(20)
		report := Assess(f, Options{From: at(from), To: at(to), Now: at(100)})
		if len(have) == 0 {
			continue
		}
		next := at(from)
		for _, h := range report.Hours {
			if !h.Start.Equal(next) || !h.End.After(h.Start) {
				t.Fatalf("seed %d: after %v comes %v to %v", seed, next, h.Start, h.End)
			}
			next = h.End
			if h.Start.Before(f.Windows[0].Start) {
				if h.State != Before || len(h.Why) != 1 {
					t.Fatalf("seed %d: %+v, before the ledger", seed, h)
				}
				continue
			}
			if known := have[int(h.Start.Sub(noon).Hours())]; known != h.State.covered() || known == (h.State == Missing) || h.State == Missing && len(h.Why) != 1 {
				t.Fatalf("seed %d: %+v, known: %v", seed, h, known)
			}
		}
		if !next.Equal(at(to)) {
			t.Fatalf("seed %d: it ends at %v, want %v", seed, next, at(to))
		}
	}
}

func TestWithoutFromTheLedgersBeginCounts(t *testing.T) {
	f := Facts{Parts: []Part{{Name: "p", Checked: at(5)}, {Name: "q", Checked: at(5), Refused: "no"}}, Windows: []Window{whole(1, 1), whole(2, 1), whole(3, 1)},
		Gaps: []Gap{{Part: "p", To: at(2).Add(10 * time.Minute), First: true}}}
	r := Assess(f, Options{Now: at(6).Add(30 * time.Minute)})
	var got []string
	for _, h := range r.Hours {
		got = append(got, fmt.Sprintf("%s %d %s", h.Part, int(h.Start.Sub(noon).Hours()), h.State))
	}
	// What was before the subscription is nobody's loss; q was never there.
	want := []string{"p 2 complete", "p 3 complete", "p 4 missing", "p 5 not due", "p 6 not due", "q 1 missing", "q 2 missing", "q 3 missing", "q 4 missing", "q 5 not due", "q 6 not due"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	// Asked for, it is told as what it is, and is neither due nor covered.
	r = Assess(f, Options{From: at(0), To: at(2), Now: at(5), Part: "p"})
	if len(r.Hours) != 2 || r.Hours[0].State != Before || r.Hours[1].State != Before || r.Total.Percent != nil || !strings.Contains(strings.Join(r.Hours[1].Why, ""), "began later") {
		t.Errorf("%+v", r.Hours)
	}
	r = Assess(f, Options{From: at(0), To: at(5), Now: at(6).Add(30 * time.Minute), Part: "p"})
	if r.Total.Hours[Before] != 2 || r.Total.Hours[Complete] != 2 || r.Total.Hours[Missing] != 1 || r.Total.Percent == nil || *r.Total.Percent != 66.666 || r.Total.Began == nil || !r.Total.Began.Equal(at(2)) {
		t.Errorf("%+v", r.Total)
	}
	// What was listed of the time before, and is not in, is wanting even so.
	f.Windows[0].Read = 0
	if r = Assess(f, Options{From: at(0), To: at(2), Now: at(5), Part: "p"}); r.Hours[1].State != Missing || *r.Total.Percent != 0 {
		t.Errorf("%+v", r.Hours)
	}
	// Of a part that was refused from the beginning, it is the others' beginning.
	if r = Assess(f, Options{From: at(0), To: at(2), Now: at(5), Part: "q"}); r.Hours[0].State != Before || r.Hours[1].State != Missing {
		t.Errorf("%+v", r.Hours)
	}
}

// TestAHoleIsNotBeforeTheBeginning: the windows that were read begin with those asked for;
// the ledger may have begun long before.
func TestAHoleIsNotBeforeTheBeginning(t *testing.T) {
	for _, windows := range [][]Window{{whole(2, 1)}, nil} {
		f := Facts{Parts: []Part{{Name: "p", Checked: at(5), Began: at(-50)}}, Windows: windows}
		r := Assess(f, Options{From: at(0), To: at(3), Now: at(9)})
		if r.Total.Hours[Missing] != 3-len(windows) || r.Total.Hours[Before] > 0 {
			t.Errorf("%+v", r.Hours)
		}
	}
	// A ledger without any window covers nothing.
	r := Assess(Facts{Parts: []Part{{Name: "p", Refused: "no"}}}, Options{From: at(0), To: at(3), Now: at(9)})
	if r.Total.Hours[Before] != 3 || r.Total.Percent != nil || r.Total.Began != nil {
		t.Errorf("%+v", r)
	}
}

// TestWithoutFromAHoleAtTheBeginningIsMissing: what was read of the ledger begins with a hole.
func TestWithoutFromAHoleAtTheBeginningIsMissing(t *testing.T) {
	f := Facts{Parts: []Part{{Name: "p", Checked: at(5), Began: at(-50), Ended: at(5)}}, Windows: []Window{whole(3, 1), whole(4, 1)}}
	r := Assess(f, Options{Read: at(0), Now: at(5).Add(time.Minute)})
	if r.Total.Hours[Missing] != 3 || r.Total.Hours[Complete] != 2 || !r.From.Equal(at(0)) || *r.Total.Percent == 100 {
		t.Errorf("%+v", r.Total)
	}
	// The subscription was started, and what it collected from then on was not listed.
	f = Facts{Parts: []Part{{Name: "p", Checked: at(5), Began: at(3), Ended: at(5)}}, Windows: f.Windows,
		Gaps: []Gap{{Part: "p", To: at(1).Add(10 * time.Minute), First: true}}}
	for _, o := range []Options{{Read: at(-9)}, {From: at(-9)}} {
		o.Now = at(5).Add(time.Minute)
		if r := Assess(f, o); r.Total.Hours[Missing] != 2 || r.Total.Hours[Complete] != 2 || *r.Total.Percent == 100 {
			t.Errorf("%+v: %+v", o, r.Hours)
		}
	}
}

// TestReasonsAreToldOnce: however many hours there are, a reason is told once for each part,
// with how many blobs it is about, and when.
func TestReasonsAreToldOnce(t *testing.T) {
	var f Facts
	for h := range 40 {
		f.Windows = append(f.Windows, with(whole(h, 3), func(w *Window) {
			switch {
			case h%2 == 0:
				w.Read = h % 3
			case h == 5 || h == 7:
				w.Whole, w.Blobs, w.Read, w.Listings, w.Attempts, w.Error = false, 0, 0, 0, h, "AF50000"
			case h == 9:
				w.Late = 1
			}
		}))
	}
	f.Troubles = []Trouble{{Part: "p", Window: at(4), Blobs: 1, Why: "cut off"}, {Part: "p", Window: at(6), Blobs: 2, Why: "cut off"}}
	unread := 0
	for _, w := range f.Windows {
		unread += w.Blobs - w.Read
	}
	got := Assess(f, Options{From: at(-3), To: at(40), Now: at(60)}).Reasons
	want := []Reason{
		{Before, "p", "the ledger begins later, 2026-11-02T12:00:00Z", 3, 0, at(-3), at(0)},
		{Missing, "p", fmt.Sprintf("%d blobs listed and not yet read", unread-3), 20, unread - 3, at(0), at(39)},
		{Missing, "p", "3 blobs could not be read yet: cut off", 2, 3, at(4), at(7)},
		{Missing, "p", "listing it has failed: AF50000", 2, 0, at(5), at(8)},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestSubscriptionThatWasStopped(t *testing.T) {
	f := Facts{Parts: []Part{{Name: "p", Checked: at(6)}}, Windows: []Window{whole(0, 1), whole(1, 0), whole(2, 0), whole(3, 1)},
		Gaps: []Gap{{Part: "p", From: at(1).Add(time.Minute), To: at(2).Add(time.Minute)}}}
	r := Assess(f, Options{To: at(4), Now: at(6)})
	for i, want := range []State{Complete, Lost, Lost, Complete} {
		if r.Hours[i].State != want {
			t.Errorf("hour %d: %+v, want %s", i, r.Hours[i], want)
		}
	}
}

func TestPartThatIsNoLongerWanted(t *testing.T) {
	f := Facts{Parts: []Part{{Name: "p", Checked: at(1)}, {Name: "q", Checked: at(20)}}, Windows: []Window{whole(0, 1)}}
	if r := Assess(f, Options{Now: at(20), Part: "p"}); len(r.Hours) != 1 || r.Total.Percent == nil || *r.Total.Percent != 100 {
		t.Errorf("%+v", r)
	}
}

// TestPartThatIsLongNoLongerWanted: the time read has none of its windows, and it owes none.
func TestPartThatIsLongNoLongerWanted(t *testing.T) {
	f := Facts{Parts: []Part{{Name: "p", Checked: at(19), Began: at(0), Ended: at(20)}, {Name: "q", Checked: at(2), Began: at(0), Ended: at(3)}}}
	for h := range 10 {
		f.Windows = append(f.Windows, whole(10+h, 1))
	}
	for _, o := range []Options{{Read: at(10)}, {From: at(10)}} {
		o.Now = at(20).Add(time.Minute)
		if r := Assess(f, o); r.Total.Hours[Missing] > 0 || r.Total.Hours[Complete] != 10 || *r.Total.Percent != 100 {
			t.Errorf("%+v: %+v", o, r.Total)
		}
	}
}

// TestNothingIsDueBeforeTheImportHasRun: where it runs seldom, an hour waits longer.
func TestNothingIsDueBeforeTheImportHasRun(t *testing.T) {
	f := Facts{Windows: []Window{{Part: "p", Start: at(0), End: at(1)}}}
	for every, want := range map[time.Duration]State{10 * time.Minute: Missing, 2 * time.Hour: Pending} {
		if r := Assess(f, Options{Now: at(3), To: at(1), Every: every}); len(r.Hours) != 1 || r.Hours[0].State != want {
			t.Errorf("every %v: %+v", every, r.Hours)
		}
	}
	if r := Assess(f, Options{Now: at(3), To: at(-9)}); !r.From.Equal(at(-9)) || len(r.Hours) > 0 {
		t.Errorf("before the ledger: %+v", r)
	}
}

func TestPercentIsNeverRoundedUp(t *testing.T) {
	var f Facts
	for h := range 100_000 {
		f.Windows = append(f.Windows, whole(h, 1))
	}
	f.Windows[7].Read = 0
	r := Assess(f, Options{Now: at(200_000), To: at(100_000)})
	if *r.Total.Percent != 99.999 {
		t.Errorf("%v", *r.Total.Percent)
	}
	f.Windows[8].Read = 0
	if r := Assess(f, Options{Now: at(200_000), To: at(100_000)}); *r.Total.Percent != 99.998 {
		t.Errorf("%v", *r.Total.Percent)
	}
}

func TestWhatIsForgottenFirst(t *testing.T) {
	unlisted := Window{Part: "p", Start: at(3), End: at(4), Forget: at(171)}
	for _, test := range []struct {
		name string
		f    Facts
		want *Deadline
	}{
		{"nothing", Facts{Windows: []Window{whole(0, 1)}}, nil},
		{"a window", Facts{Windows: []Window{whole(0, 1), unlisted}}, &Deadline{"p", at(171)}},
		{"a blob before it", Facts{Parts: []Part{{Name: "q", FirstDue: at(100)}}, Windows: []Window{unlisted}}, &Deadline{"q", at(100)}},
		{"what is forgotten is no longer to be saved", Facts{Windows: []Window{{Part: "p", Start: at(3), End: at(4), Forget: at(171), Forgotten: true}}}, nil},
		{"the present hour is not late", Facts{Windows: []Window{{Part: "p", Start: at(9), End: at(11), Forget: at(171)}}}, nil},
	} {
		got := Assess(test.f, Options{Now: at(10)}).First
		if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestHeadroom(t *testing.T) {
	var arriving []Window // 100 an hour
	for h := range 24 {
		arriving = append(arriving, whole(h, 100))
	}
	hour := func(h int, blobs int64, busy time.Duration) Rate { return Rate{at(h), at(h + 1), blobs, busy} }
	var steady, two, restarted []Rate
	for h := range 24 {
		steady = append(steady, hour(h, 100, 15*time.Minute))
		two = append(two, hour(h, 50, 30*time.Minute), hour(h, 50, 30*time.Minute))
		half := at(h).Add(30 * time.Minute)
		restarted = append(restarted, Rate{at(h), half, 50, 20 * time.Minute}, Rate{half, at(h + 1), 50, 20 * time.Minute})
	}
	unread := slices.Clone(arriving)
	unread[3].Read = 0
	for _, test := range []struct {
		name  string
		f     Facts
		ratio float64 // 0: not known
		tight bool
	}{
		{"a quarter of the time", Facts{Windows: arriving, Rates: steady}, 4, false},
		{"two processes, each half of the time", Facts{Windows: arriving, Rates: two}, 2, false},
		{"one after the other is one", Facts{Windows: arriving, Rates: restarted}, 1.5, false},
		{"all of the time, and it does not suffice", Facts{Windows: unread, Rates: []Rate{hour(0, 60, time.Hour), hour(1, 60, time.Hour)}}, 0.6, true},
		{"the day before yesterday does not count", Facts{Windows: arriving, Rates: append([]Rate{hour(-30, 1, time.Hour)}, steady...)}, 4, false},
		{"nothing is read", Facts{Windows: unread}, 0, true},
		{"all was read before rates were kept", Facts{Windows: arriving}, 0, false},
		{"nothing arrives", Facts{Windows: []Window{whole(0, 0)}}, 0, false},
		{"a clock that stands", Facts{Windows: arriving, Rates: []Rate{hour(0, 100, 0)}}, 0, false},
	} {
		h := Assess(test.f, Options{Now: at(24)}).Headroom
		if h.Tight() != test.tight {
			t.Errorf("%s: %+v, tight %v", test.name, h, h.Tight())
		}
		if h != nil && (h.Ratio < test.ratio-0.01 || h.Ratio > test.ratio+0.01) || h == nil && (test.ratio != 0 || test.tight) {
			t.Errorf("%s: %+v, want %v", test.name, h, test.ratio)
		}
	}
}
