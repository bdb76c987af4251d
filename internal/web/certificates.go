package web

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/store"
)

// certificates is how the certificates of the applications stand.
type certificates struct {
	Rows []certificateRow
	More int // applications that are not shown
}

// certificateRow is one application. A time that is zero is one that is not known.
type certificateRow struct {
	Name, ClientID string
	Mode           credential.Mode
	Active         string // thumbprint; empty when there is none
	Ends           time.Time
	Proved         time.Time // the oldest of the last proofs for its resources
	Standby        string
	StandbyEnds    time.Time
	Next           string
	NextAt         time.Time
	Findings       int
}

// mostApplications bounds the rows of the page; the command line lists all.
const mostApplications = 200

// certificates gives the applications, those first whose certificate ends first.
func (s *Site) certificates(ctx context.Context, findings []store.Finding) (certificates, error) {
	applications, err := s.DB.Applications(ctx, s.Tenant)
	if err != nil {
		return certificates{}, err
	}
	found := map[string]int{} // by object ID
	for _, f := range findings {
		id, _, _ := strings.Cut(f.Subject, "/")
		found[id]++
	}
	var all certificates
	now := s.Now()
	for _, a := range applications {
		row := certificateRow{Name: a.Name, ClientID: a.ClientID, Mode: a.Mode, Findings: found[a.ObjectID]}
		if c, ok := a.Active(); ok {
			row.Active, row.Ends, row.Proved = c.SHA1, c.NotAfter, c.Proved(a.Policy.Resources)
		}
		if c, ok := a.Standby(); ok {
			row.Standby, row.StandbyEnds = c.SHA1, c.NotAfter
		}
		if step, ok := nextStep(now, a); ok {
			row.Next, row.NextAt = string(step.Action), step.At
		}
		all.Rows = append(all.Rows, row)
	}
	slices.SortStableFunc(all.Rows, func(x, y certificateRow) int { return x.Ends.Compare(y.Ends) })
	if n := len(all.Rows); n > mostApplications {
		all.Rows, all.More = all.Rows[:mostApplications], n-mostApplications
	}
	return all, nil
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
