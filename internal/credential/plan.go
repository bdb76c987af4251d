package credential

import (
	"fmt"
	"slices"
	"time"
)

// Action is what a step does.
type Action string

// Actions, in the order in which those of one time are carried out.
const (
	Look       Action = "look"        // read the application's key credentials
	Create     Action = "create"      // decide on a new credential
	MakeKey    Action = "make key"    // make a private key, keep it, read it back
	Certify    Action = "certify"     // make its certificate
	Stage      Action = "stage"       // keep both, read them back
	Register   Action = "register"    // put the certificate at Entra ID
	Find       Action = "find"        // see whether it is there, after an answer that was lost
	Confirm    Action = "confirm"     // read until Graph's replicas agree
	Prove      Action = "prove"       // obtain a token with it
	Advance    Action = "promote"     // make a standby, or a draining one, the active one
	Publish    Action = "publish"     // hand it to the live places
	Withdraw   Action = "retire"      // begin to take it away
	Remove     Action = "remove"      // take it away from Entra ID
	SeeGone    Action = "see it gone" // read until Graph's replicas agree
	SeeRefused Action = "see refused" // ask for a token, which must be refused
	Destroy    Action = "destroy"     // delete its private key
	Abandon    Action = "abandon"     // give it up
	Mourn      Action = "give up"     // it was taken away by somebody else
	Deliver    Action = "deploy"      // run a command or a webhook
)

// Step is the next thing to be done for a credential, or for the application.
type Step struct {
	Action     Action
	Credential string // empty for the application itself
	Hook       string // of Deliver
	At         time.Time
	Why        string
	// Emergency steps do not wait for windows, and are carried out before all others.
	Emergency bool
}

// Due reports whether the step's time has come.
func (s Step) Due(now time.Time) bool { return !s.At.After(now) }

// Plan says what is to be done for an application: at most one step for each of its
// credentials, and those of the application itself, soonest first. A step whose time has
// come may be carried out at once; after it the plan must be made anew. What waits for a
// person has no step, and a finding (see Assess).
func Plan(now time.Time, a Application, r Rhythm) []Step {
	if a.Mode == Off {
		return nil
	}
	steps := []Step{look(now, a, r)}
	if a.Mode == On && !a.Observed.Gone {
		for _, c := range a.Credentials {
			if s, ok := a.step(now, c, r); ok {
				s.Credential = c.ID
				if s.At.Before(c.RetryAt) && !(s.Action == Abandon || s.Action == Mourn) {
					s.At = c.RetryAt
				}
				steps = append(steps, s)
			}
		}
		if s, ok := a.create(now); ok {
			steps = append(steps, s)
		}
		for _, d := range a.Deploys {
			steps = append(steps, Step{Action: Deliver, Credential: d.Credential, Hook: d.Hook, At: d.DueAt, Why: "a certificate has become the active one"})
		}
	}
	slices.SortStableFunc(steps, func(x, y Step) int {
		if x.Due(now) && y.Due(now) && x.Emergency != y.Emergency {
			if x.Emergency {
				return -1
			}
			return 1
		}
		return x.At.Compare(y.At)
	})
	return steps
}

func look(now time.Time, a Application, r Rhythm) Step {
	s := Step{Action: Look, At: now, Why: "it was never looked at"}
	if seen := later(a.Observed.At, a.Observed.FailedAt); !seen.IsZero() {
		s.At, s.Why = next(seen, r.Look, a.ObjectID, "look"), "each "+Span(r.Look).String()
		if a.Observed.Attempts > 0 && !a.Observed.Blind {
			s.At, s.Why = a.Observed.FailedAt.Add(min(Backoff(a.ObjectID, a.Observed.Attempts), r.Look)), "the last look failed"
		}
	}
	return s
}

// step is what a credential needs next.
func (a Application) step(now time.Time, c Credential, r Rhythm) (Step, bool) {
	at := func(action Action, t time.Time, why string) (Step, bool) {
		return Step{Action: action, At: later(t, now.Add(-time.Hour)), Why: why}, true
	}
	none := Step{}
	wrote := a.Wrote.Add(writeGap)
	switch c.State {
	case Planned:
		return at(MakeKey, now, c.Reason)
	case Keyed:
		if a.Policy.Issuer == IssuerRequest || a.skewed(now) {
			return none, false // for the authority's answer, or for the clock
		}
		return at(Certify, now, c.Reason)
	case Certified:
		return at(Stage, now, c.Reason)
	case Staged:
		return at(Register, wrote, c.Reason)
	case Registering:
		return at(Find, c.Since.Add(readGap), "whether it was registered is not known")
	case Registered:
		if c.Reads == 0 && c.ReadAt.Sub(c.Since) > readWithin {
			return at(Abandon, now, "Graph took it and did not show it for "+Span(readWithin).String())
		}
		return at(Confirm, c.ReadAt.Add(readGap), "until Graph's replicas agree")
	case Proving:
		if !c.Refused.IsZero() && c.Refusals > 1 && now.Sub(later(c.Registered, c.Since)) > proveWithin {
			return at(Abandon, now, fmt.Sprintf("Entra ID went on refusing it (AADSTS%d)", c.RefusedCode))
		}
		return at(Prove, later(c.Registered.Add(firstProbe), c.Probed.Add(probeGap)), "before it is relied on")
	case Standby:
		return a.standbyStep(now, c, r)
	case Publishing:
		return at(Publish, now, "it is becoming the active one")
	case Active:
		if !c.Missing.IsZero() && now.Sub(c.Missing) > lostAfter && c.Refusals > 1 {
			return at(Mourn, now, "Graph does not show it, and Entra ID refuses it")
		}
		return a.rehearse(now, c, r)
	case Draining:
		return a.drainingStep(now, c)
	case Retiring, Abandoned, Compromised:
		if c.State == Compromised {
			if _, ok := a.Active(); !ok {
				return none, false // it is the only one
			}
		}
		return a.removal(now, c)
	case Retired, Lost:
		return at(Destroy, c.DestroyAfter, "nobody needs its key any more")
	}
	return none, false
}

// removal takes a credential away from Entra ID, if it may be there, and sees that it
// is gone and refused.
func (a Application) removal(now time.Time, c Credential) (Step, bool) {
	switch {
	case c.Sent.IsZero():
		return Step{Action: Destroy, At: now, Why: "it never left the store"}, true
	case c.Removed.IsZero():
		return Step{Action: Remove, At: later(a.Wrote.Add(writeGap), c.Since), Why: string(c.State), Emergency: c.State == Compromised}, true
	case c.Gone.IsZero() && !a.Observed.Blind:
		return Step{Action: SeeGone, At: c.ReadAt.Add(readGap), Why: "until Graph's replicas agree"}, true
	case c.State == Abandoned || c.expired(now):
		return Step{Action: Destroy, At: now, Why: "it was given up"}, true
	default:
		return Step{Action: SeeRefused, At: later(c.Removed.Add(firstProbe), c.Probed.Add(probeGap)), Why: "a removed key must not sign in"}, true
	}
}

func (a Application) standbyStep(now time.Time, c Credential, r Rhythm) (Step, bool) {
	best, _ := a.Standby()
	switch {
	case c.expired(now):
		return Step{Action: Abandon, At: now, Why: "it has expired"}, true
	case c.ID != best.ID && !c.good(now) && best.good(now):
		return Step{Action: Abandon, At: now, Why: "a younger standby has been proved"}, true
	case !c.Missing.IsZero() && now.Sub(c.Missing) > lostAfter && c.Refusals > 1:
		return Step{Action: Mourn, At: now, Why: "Graph does not show it, and Entra ID refuses it"}, true
	case c.Refusals > 1 && now.Sub(c.Refused) > proveWithin:
		return Step{Action: Abandon, At: now, Why: fmt.Sprintf("Entra ID refuses it (AADSTS%d)", c.RefusedCode)}, true
	}
	if c.ID == best.ID && c.Refusals == 0 {
		if s, ok := a.promotion(now, c); ok {
			if rehearsal, _ := a.rehearse(now, c, r); !s.Due(now) && rehearsal.At.Before(s.At) {
				return rehearsal, true
			}
			return s, true
		}
	}
	return a.rehearse(now, c, r)
}

// promotion says when, and why, the best standby becomes the active one.
func (a Application) promotion(now time.Time, c Credential) (Step, bool) {
	if len(a.In(Publishing)) > 0 {
		return Step{}, false // one at a time
	}
	s := Step{Action: Advance, At: now}
	if w, ok := a.wish(Promote); ok && (w.Credential == "" || w.Credential == c.ID) {
		s.Why = asked(w)
		return s, true
	}
	if w, ok := a.wish(Renew); ok && c.Planned.After(w.At) {
		s.Why = asked(w)
		return s, true
	}
	active, ok := a.Active()
	switch {
	case !ok && len(a.In(Compromised, Lost)) > 0:
		s.Why, s.Emergency = "the active one is lost or not to be trusted", true
	case !ok:
		s.At, s.Why = a.Policy.Allowed(now), "none is active"
	case active.expired(now):
		s.Why, s.Emergency = "the active one has expired", true
	case active.Refusals > 1 && now.Sub(active.Refused) >= refusedFor:
		s.Why, s.Emergency = fmt.Sprintf("Entra ID refuses the active one (AADSTS%d)", active.RefusedCode), true
	case !c.NotAfter.After(active.NotAfter):
		return Step{}, false // nothing would be won
	case c.good(later(now, active.RenewAt)):
		s.At, s.Why = a.Policy.Allowed(later(now, active.RenewAt)), "the active one ends on "+date(active.NotAfter)
		if e := active.Emergency(); s.At.After(e) {
			s.At, s.Why, s.Emergency = later(now, e), s.Why+", and no window comes before", true
		}
	default:
		// An old one is better than one that expires.
		s.At, s.Why, s.Emergency = later(now, active.Emergency()), "the active one ends on "+date(active.NotAfter)+", and no fresh one is there", true
	}
	return s, true
}

// rehearse proves a credential that works again, and one that was refused soon.
func (a Application) rehearse(now time.Time, c Credential, r Rhythm) (Step, bool) {
	switch {
	case c.expired(now):
		return Step{}, false
	case c.Refusals > 0 && now.Sub(c.Refused) < proveWithin, !c.Missing.IsZero() && c.Probed.Before(c.Missing.Add(lostAfter)):
		return Step{Action: Prove, At: later(c.Probed.Add(probeGap), c.Missing.Add(lostAfter)), Why: "whether it still works"}, true
	}
	since := c.Probed
	if since.IsZero() {
		return Step{Action: Prove, At: now, Why: "it was never proved"}, true
	}
	return Step{Action: Prove, At: next(since, r.Rehearse, c.ID, "prove"), Why: "each " + Span(r.Rehearse).String()}, true
}

func (a Application) drainingStep(now time.Time, c Credential) (Step, bool) {
	if w, ok := a.wish(Rollback); ok && (w.Credential == c.ID || w.Credential == "") && !c.expired(now) && len(a.In(Publishing)) == 0 {
		if newest := a.In(Draining)[0]; w.Credential == c.ID || newest.ID == c.ID {
			return Step{Action: Advance, At: now, Why: asked(w)}, true
		}
	}
	active, ok := a.Active()
	if !ok {
		return Step{}, false // it may be the only one that works
	}
	if w, ok := a.wish(Retire); ok && (w.Credential == "" || w.Credential == c.ID) {
		return Step{Action: Withdraw, At: now, Why: asked(w)}, true
	}
	s := Step{Action: Withdraw, At: a.Policy.Allowed(later(now, c.DrainUntil)), Why: "its time is over, and it was replaced"}
	if c.expired(now) {
		return s, true
	}
	if _, ok := a.Standby(); !ok || active.Refusals > 0 {
		return Step{}, false // it is needed as long as nothing waits
	}
	if len(a.behind(now)) > 0 && now.Before(c.NotAfter.Add(-day)) {
		return Step{}, false
	}
	return s, true
}

// behind lists the consumers that speak and have not got the active certificate yet.
func (a Application) behind(now time.Time) []Consumer {
	var behind []Consumer
	for _, c := range a.Consumers {
		if c.Generation < a.Generation && now.Sub(c.At) < silentAfter {
			behind = append(behind, c)
		}
	}
	return behind
}

// create says when a new credential is decided on: when no good standby waits and none
// is on its way, or a person wants a fresh one.
func (a Application) create(now time.Time) (Step, bool) {
	s := Step{Action: Create, At: now}
	w, wished := a.wish(Renew)
	for _, c := range a.Credentials {
		switch {
		case c.State.Coming() && (!wished || c.Planned.After(w.At)):
			return Step{}, false
		case c.State == Publishing:
			return Step{}, false // what is needed is known when it is active
		case wished && c.State == Standby && c.Planned.After(w.At):
			return Step{}, false
		}
	}
	best, ok := a.Standby()
	active, hasActive := a.Active()
	switch {
	case wished:
		s.Why = asked(w)
	case !ok && !hasActive:
		s.Why = "there is none"
	case !ok:
		s.Why = "no standby waits"
	case hasActive && !now.Before(active.RenewAt) && !best.NotAfter.After(active.NotAfter) && now.Add(time.Duration(a.Policy.Lifetime)-day).After(active.NotAfter):
		s.Why = "the active one ends on " + date(active.NotAfter) + ", and the standby before that"
	case best.good(now):
		lead := min(2*day, best.RenewAt.Sub(best.NotBefore)/8)
		s.At, s.Why = best.RenewAt.Add(-lead), "the standby gets old"
	default:
		s.Why = "the standby gets old"
	}
	if !wished {
		s.At = later(s.At, a.brake(now))
	}
	s.Emergency = hasActive && active.expired(now)
	return s, true
}

// brake is until when no credential is made, because something is wrong that more of
// them would not mend: after so many in a row that never became a standby, one a day.
func (a Application) brake(now time.Time) time.Time {
	var ready time.Time
	for _, c := range a.Credentials {
		ready = later(ready, c.Ready)
	}
	var failed []time.Time
	for _, c := range a.Credentials {
		if c.Origin == Made && c.Ready.IsZero() && c.Planned.After(ready) && slices.Contains([]State{Abandoned, Destroyed, Lost}, c.State) {
			failed = append(failed, c.Planned)
		}
	}
	if len(failed) < maxFailures {
		return time.Time{}
	}
	return slices.MaxFunc(failed, time.Time.Compare).Add(day)
}

// skewed reports that the clock is so wrong that a certificate's dates would be.
func (a Application) skewed(now time.Time) bool {
	return a.Observed.Skew.Abs() > skewAllowed && now.Sub(a.Observed.SkewAt) < skewKnown
}

// Fulfilled lists the wishes that have come true, and those that cannot any more.
func (a Application) Fulfilled() []Wish {
	var done []Wish
	active, _ := a.Active()
	for _, w := range a.Wishes {
		c, known := a.Find(w.Credential)
		ok := false
		switch w.Kind {
		case Renew:
			ok = active.Promoted.After(w.At) && active.Planned.After(w.At)
		case Promote:
			ok = active.Promoted.After(w.At)
		case Rollback:
			ok = active.Promoted.After(w.At) || (len(a.In(Draining, Publishing)) == 0)
		case Retire:
			ok = known && !slices.Contains([]State{Active, Draining, Standby}, c.State) || (w.Credential == "" && len(a.In(Draining)) == 0)
		case Revoke:
			ok = !known || c.State == Compromised || c.State == Retired || c.State == Destroyed || c.State == Lost
		}
		if ok {
			done = append(done, w)
		}
	}
	return done
}

func asked(w Wish) string {
	if w.Why == "" {
		return "asked for by " + w.By
	}
	return fmt.Sprintf("asked for by %s: %s", w.By, w.Why)
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
