package web

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

// standing is how an application stands, in a word and a colour.
type standing struct{ Class, Word string }

var (
	actNow   = standing{"bad", "act now"}
	seeToIt  = standing{"look", "see to it"}
	underWay = standing{"wait", "under way"}
	isWell   = standing{"good", "well"}
	watched  = standing{"off", "watched"}
	leftOut  = standing{"off", "off"}
)

// standings are those that there are, the worst first.
var standings = []standing{actNow, seeToIt, underWay, isWell, watched, leftOut}

// applicationRow is one application. A time that is zero is one that is not known.
type applicationRow struct {
	Name, ClientID, ObjectID string
	Mode                     credential.Mode
	Standing                 standing
	Active                   string // thumbprint; empty when there is none
	Ends                     time.Time
	Proved                   time.Time // the oldest of the last proofs for its resources
	Standby                  string
	StandbyEnds              time.Time
	Coming                   credential.State // of one that is on its way to be the standby
	Next                     string
	NextAt                   time.Time
	Ways                     int // back to a certificate, that were tested and work
	Tested                   time.Time
	Findings                 []credential.Finding
}

// overview is how all applications stood at a time.
type overview struct {
	mu    sync.Mutex // held while it is made, so that it is made once for all who wait
	at    time.Time
	rows  []applicationRow
	until time.Time // when it is made anew, by the system's clock
}

// An overview that took long to make is shown again for so many times as long, so that a
// page which is made anew all the time takes a twentieth of a processor at most.
const (
	tookLong  = time.Second
	shownLong = 20
)

// applications gives all of them as they stood at a time, those first that somebody has to
// see to, and then by the end of their certificate.
func (s *Site) applications(ctx context.Context) (rows []applicationRow, at time.Time, err error) {
	o := &s.overview
	o.mu.Lock()
	defer o.mu.Unlock()
	begun := time.Now()
	if begun.Before(o.until) {
		return o.rows, o.at, nil
	}
	at = s.Now().UTC()
	if err := s.DB.EachLivingApplication(ctx, s.Tenant, at, func(a credential.Application) { rows = append(rows, rowOf(a, at)) }); err != nil {
		return nil, at, err
	}
	slices.SortFunc(rows, func(x, y applicationRow) int {
		return cmp.Or(slices.Index(standings, x.Standing)-slices.Index(standings, y.Standing), x.Ends.Compare(y.Ends),
			strings.Compare(x.Name, y.Name), strings.Compare(x.ObjectID, y.ObjectID))
	})
	o.at, o.rows = at, rows
	if took := time.Since(begun); took > tookLong {
		o.until = begun.Add(shownLong * took)
	}
	return rows, at, nil
}

func rowOf(a credential.Application, now time.Time) applicationRow {
	row := applicationRow{Name: a.Name, ClientID: a.ClientID, ObjectID: a.ObjectID, Mode: a.Mode,
		Findings: credential.Assess(now, a), Tested: a.Observed.RungsAt}
	active, hasActive := a.Active()
	if hasActive {
		row.Active, row.Ends, row.Proved = active.SHA1, active.NotAfter, active.Proved(a.Policy.Resources)
	}
	standby, hasStandby := a.Standby()
	if hasStandby {
		row.Standby, row.StandbyEnds = standby.SHA1, standby.NotAfter
	}
	for _, c := range a.Credentials {
		if c.State.Coming() {
			row.Coming = c.State
		}
	}
	if step, ok := nextStep(now, a); ok {
		row.Next, row.NextAt = string(step.Action), step.At
	}
	for _, r := range rungs(a) {
		if r.Works == credential.Yes {
			row.Ways++
		}
	}
	worst := func(severity credential.Severity) bool {
		return slices.ContainsFunc(row.Findings, func(f credential.Finding) bool { return f.Severity == severity })
	}
	switch {
	case worst(credential.Critical):
		row.Standing = actNow
	case worst(credential.Warning):
		row.Standing = seeToIt
	case a.Mode == credential.Off:
		row.Standing = leftOut
	case a.Mode == credential.Observe:
		row.Standing = watched
	case !hasActive || !hasStandby:
		row.Standing = underWay
	default:
		row.Standing = isWell
	}
	return row
}

type certificatesPage struct {
	frame
	Rows          []applicationRow
	From, To, All int            // which of all the rows are shown
	Before, After int            // where the rows before and after these begin; -1 for none
	Count         map[string]int // of applications, by the class of their standing
	Standbys      int
	Renewals      int // within 30 days
	Attention     []attention
	Unshown       int // findings
}

// attention is a finding about an application.
type attention struct {
	credential.Finding
	Name, ObjectID string
}

// forTheRecord reports a finding that is good to know and needs nobody's attention: the one
// rule for what all pages count, list and call urgent.
func forTheRecord(f credential.Finding) bool { return f.Severity == credential.Info }

// needsAttention lists what somebody has to see to, the worst first, and how much more
// there is.
func needsAttention(rows []applicationRow) (all []attention, unshown int) {
	for _, row := range rows {
		for _, f := range row.Findings {
			if !forTheRecord(f) {
				all = append(all, attention{f, row.Name, row.ObjectID})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y attention) int {
		return strings.Compare(string(x.Severity), string(y.Severity)) // critical, warning
	})
	if n := len(all); n > mostAttention {
		return all[:mostAttention], n - mostAttention
	}
	return all, 0
}

const (
	// mostApplications and mostAttention bound a page.
	mostApplications = 200
	mostAttention    = 50
)

// certificates is the page of all applications.
func (s *Site) certificates(r *http.Request) (view, error) {
	rows, at, err := s.applications(r.Context())
	if err != nil {
		return view{}, err
	}
	p := certificatesPage{frame: s.frame("Certificates", "/certificates"), All: len(rows), Before: -1, After: -1, Count: map[string]int{}}
	p.At = at
	for _, row := range rows {
		p.Count[row.Standing.Class]++
		if row.Standby != "" {
			p.Standbys++
		}
		if row.Mode == credential.On && row.Next != "" && row.NextAt.Before(p.At.AddDate(0, 0, 30)) && (row.Next == string(credential.Advance) || row.Next == string(credential.Create)) {
			p.Renewals++
		}
	}
	p.Attention, p.Unshown = needsAttention(rows)
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	from = min(max(from, 0), max(len(rows)-1, 0))
	to := min(from+mostApplications, len(rows))
	p.Rows, p.From, p.To = rows[from:to], from+1, to
	if from > 0 {
		p.Before = max(from-mostApplications, 0)
	}
	if to < len(rows) {
		p.After = to
	}
	return view{"certificates.html", p}, nil
}

type applicationPage struct {
	frame
	applicationRow
	App     credential.Application
	Ours    []certificateRow // those that are not over
	Over    int
	Known   []credential.Finding // of Findings, those that need nobody's attention
	Foreign []credential.ObservedKey
	Steps   []stepRow
	Rungs   []rungRow
	History []historyRow
	Newer   bool  // entries than these
	Older   int64 // the number before which older ones are; 0 for none
}

// certificateRow is one certificate of reeve's.
type certificateRow struct {
	credential.Credential
	ProvedAt time.Time
	Spent    int // of its lifetime, in percent
	What     string
}

type stepRow struct {
	credential.Step
	Of string // the thumbprint that it is about
}

type rungRow struct {
	credential.Rung
	standing
}

type historyRow struct {
	store.JournalEntry
	Of  string // the thumbprint that it is about
	IDs string // for Microsoft's support
}

// mostHistory bounds the lines of the journal on a page.
const mostHistory = 100

// meanings say what the states are to somebody who does not know them.
var meanings = map[credential.State]string{
	credential.Active: "in use", credential.Standby: "waits, proved", credential.Publishing: "being handed to the live places",
	credential.Draining: "replaced, still usable", credential.Retiring: "being taken away", credential.Retired: "refused by Entra ID",
	credential.Proving: "tokens are being obtained with it", credential.Registering: "being put at Entra ID",
	credential.Registered: "at Entra ID, not everywhere yet", credential.Compromised: "revoked", credential.Lost: "removed by somebody else",
	credential.Abandoned: "given up before it was used",
}

// application is the page of one of them, with its journal.
func (s *Site) application(r *http.Request) (view, error) {
	ctx, now := r.Context(), s.Now()
	a, err := s.DB.Application(ctx, s.Tenant, r.PathValue("object"))
	if err != nil {
		return view{}, err
	}
	p := applicationPage{frame: s.frame(a.Name, "/certificates"), applicationRow: rowOf(a, now), App: a, Foreign: a.Observed.Foreign()}
	p.Refresh = 60
	for _, f := range p.Findings {
		if forTheRecord(f) {
			p.Known = append(p.Known, f)
		}
	}
	p.Findings = slices.DeleteFunc(p.Findings, forTheRecord)
	for _, c := range a.In(credential.States()...) {
		if c.State == credential.Destroyed {
			p.Over++
			continue
		}
		row := certificateRow{Credential: c, ProvedAt: c.Proved(a.Policy.Resources), What: meanings[c.State]}
		if life := c.NotAfter.Sub(c.NotBefore); life > 0 {
			row.Spent = int(100 * min(max(now.Sub(c.NotBefore), 0), life) / life)
		}
		p.Ours = append(p.Ours, row)
	}
	slices.SortStableFunc(p.Ours, func(x, y certificateRow) int { return place(x.State) - place(y.State) })
	thumbprint := func(id string) string {
		if c, ok := a.Find(id); ok && id != "" {
			return c.SHA1
		}
		return ""
	}
	for _, step := range credential.Plan(now, a, s.Rhythm) {
		p.Steps = append(p.Steps, stepRow{step, thumbprint(step.Credential)})
	}
	for _, rung := range rungs(a) {
		row := rungRow{rung, map[credential.Certainty]standing{credential.Yes: {"good", "works"}, credential.No: {"look", "does not work"}}[rung.Works]}
		if row.Class == "" {
			row.standing = standing{"off", "cannot be tested"}
		}
		p.Rungs = append(p.Rungs, row)
	}
	end, err := s.DB.JournalEnd(ctx, s.Tenant, a.ObjectID)
	if err != nil {
		return view{}, err
	}
	if before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64); err == nil && before > 0 && before <= end {
		end, p.Newer = before-1, true
	}
	entries, err := s.DB.Journal(ctx, s.Tenant, a.ObjectID, max(end-mostHistory, 0), int(min(end, mostHistory)))
	if err != nil {
		return view{}, err
	}
	for _, e := range slices.Backward(entries) {
		p.History = append(p.History, historyRow{e, thumbprint(e.Credential), idsOf(e)})
	}
	if end > mostHistory {
		p.Older = end - mostHistory + 1
	}
	return view{"application.html", p}, nil
}

// rungs are the ways back as they were tested last. A certificate that was proved, or made,
// since then was tested by that.
func rungs(a credential.Application) []credential.Rung {
	all := slices.Clone(a.Observed.Rungs)
	for i, r := range all {
		of := map[string]func() (credential.Credential, bool){"own certificate": a.Active, "standby": a.Standby}[r.Name]
		if of == nil {
			continue
		}
		if c, ok := of(); ok && c.Refusals == 0 && c.Proved(a.Policy.Resources).After(a.Observed.RungsAt) {
			all[i].Works = credential.Yes
			all[i].Text = "certificate " + c.SHA1 + " signed in at " + c.Proved(a.Policy.Resources).UTC().Format("2006-01-02 15:04:05 UTC")
		}
	}
	return all
}

// place orders certificates by what they are to a reader: in use, waiting, on the way, old.
func place(state credential.State) int {
	switch {
	case state == credential.Active:
		return 0
	case state == credential.Standby:
		return 1
	case state.Coming(), state == credential.Publishing:
		return 2
	case state == credential.Draining:
		return 3
	}
	return 4
}

// idsOf are the ids by which Microsoft's support finds a request.
func idsOf(e store.JournalEntry) string {
	var ids struct {
		Request     string `json:"request_id"`
		Trace       string `json:"trace_id"`
		Correlation string `json:"correlation_id"`
	}
	if len(e.Data) == 0 || json.Unmarshal(e.Data, &ids) != nil {
		return "" // other data has none of them
	}
	var shown []string
	for _, id := range [][2]string{{"request", ids.Request}, {"trace", ids.Trace}, {"correlation", ids.Correlation}} {
		if id[1] != "" {
			shown = append(shown, id[0]+" "+id[1])
		}
	}
	return strings.Join(shown, ", ")
}

// seldom lets a plan say what comes besides looking and proving again, which is done
// all the time and would stand before everything else.
var seldom = credential.Rhythm{Look: 200 * 365 * 24 * time.Hour, Rehearse: 200 * 365 * 24 * time.Hour}

// nextStep is the first step that is planned and is no routine.
func nextStep(now time.Time, a credential.Application) (credential.Step, bool) {
	for _, step := range credential.Plan(now, a, seldom) {
		c, _ := a.Find(step.Credential)
		routine := step.Action == credential.Look ||
			step.Action == credential.Prove && (c.State == credential.Active || c.State == credential.Standby)
		if !routine {
			return step, true
		}
	}
	return credential.Step{}, false
}
