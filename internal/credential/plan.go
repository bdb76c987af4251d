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
	Drain      Action = "drain"       // leave it, which programs may have, to its overlap
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
	// Emergency steps do not wait for windows, nor long after a failure, and are carried
	// out before all others. One of Publish is content with the live places that can be
	// reached; the others get the certificate later.
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
	a = a.asOf(now)
	steps := []Step{look(now, a, r)}
	if a.Mode == On && !a.Observed.Gone {
		out := a.Out(now)
		for _, c := range a.Credentials {
			if s, ok := a.step(now, c, r); ok {
				s.Credential = c.ID
				s.Emergency = s.Emergency || out && (c.State.Coming() || c.State == Publishing)
				switch {
				case s.Action == Abandon, s.Action == Drain, s.Action == Mourn:
				case s.Action == Prove && c.State == Active && c.Failing == Publish:
					// That a live place fails does not keep anybody from seeing whether it works.
					s.At = later(s.At, c.RetryAfter)
				default:
					s.At = later(s.At, c.retryAt(s.Emergency))
				}
				steps = append(steps, s)
			}
		}
		if s, ok := a.create(now); ok {
			steps = append(steps, s)
		}
		for _, d := range a.Deploys {
			s := Step{Action: Deliver, Credential: d.Credential, Hook: d.Hook, At: d.DueAt, Why: "a certificate has become the active one"}
			if why := a.Moot(d); why != "" {
				s.At, s.Why = now, "it is dropped: "+why
			}
			steps = append(steps, s)
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

// asOf is the application as far as its record can be believed at a time. What happened
// at a time that has not come yet was written by a clock that has been set back since:
// it counts as a day ago, and a wait of more than a day as over. Otherwise a clock that
// was wrong by a year for a minute would make everything wait for a year.
func (a Application) asOf(now time.Time) Application {
	past := func(times ...*time.Time) {
		for _, t := range times {
			if t.After(now) {
				*t = now.Add(-day)
			}
		}
	}
	wait := func(t *time.Time) {
		if t.After(now.Add(day)) {
			*t = now
		}
	}
	past(&a.Wrote, &a.Observed.At, &a.Observed.FailedAt)
	wait(&a.Observed.RetryAfter)
	a.Credentials, a.Deploys = slices.Clone(a.Credentials), slices.Clone(a.Deploys)
	for i := range a.Credentials {
		c := &a.Credentials[i]
		past(&c.Since, &c.Sent, &c.Registered, &c.ReadAt, &c.Missing, &c.Removed, &c.Gone, &c.Probed, &c.Refused)
		wait(&c.RetryAt)
		wait(&c.RetryAfter)
	}
	for i := range a.Deploys {
		wait(&a.Deploys[i].DueAt)
	}
	return a
}

// retryAt is when the step under way may be tried again. In an emergency it is as if it
// had failed a few times only: the service may be back. What it asked to wait is waited.
func (c Credential) retryAt(emergency bool) time.Time {
	const few = 5
	at := c.RetryAt
	if emergency && c.Attempts > few {
		at = at.Add(Backoff(c.ID, few) - Backoff(c.ID, c.Attempts))
	}
	return later(at, c.RetryAfter)
}

// Out reports that an application which had a certificate of ours in use has none that
// works.
func (a Application) Out(now time.Time) bool {
	if active, ok := a.Active(); ok {
		return active.expired(now) || active.Refusals > 1 && (!active.Missing.IsZero() || now.Sub(active.Refused) >= refusedFor)
	}
	return slices.ContainsFunc(a.Credentials, func(c Credential) bool { return !c.Promoted.IsZero() })
}

func look(now time.Time, a Application, r Rhythm) Step {
	s := Step{Action: Look, At: now, Why: "it was never looked at"}
	if seen := later(a.Observed.At, a.Observed.FailedAt); !seen.IsZero() {
		s.At, s.Why = next(seen, r.Look, a.ObjectID, "look"), "each "+Span(r.Look).String()
		if a.Observed.Attempts > 0 && !a.Observed.Blind {
			s.At, s.Why = a.Observed.FailedAt.Add(min(Backoff(a.ObjectID, a.Observed.Attempts), r.Look)), "the last look failed"
		} else if again := a.Observed.At.Add(StaleFor); again.Before(s.At) && slices.ContainsFunc(a.Credentials, func(c Credential) bool {
			return !c.Missing.IsZero() && a.Observed.At.Sub(c.Missing) < lostAfter && slices.Contains([]State{Standby, Publishing, Active, Draining}, c.State)
		}) {
			s.At, s.Why = again, "Graph did not show what ought to be there"
		}
	}
	s.At = later(s.At, a.Observed.RetryAfter)
	return s
}

// step is what a credential needs next.
func (a Application) step(now time.Time, c Credential, r Rhythm) (Step, bool) {
	at := func(action Action, t time.Time, why string) (Step, bool) {
		return Step{Action: action, At: later(t, now.Add(-time.Hour)), Why: why}, true
	}
	none := Step{}
	wrote := a.Wrote.Add(writeGap)
	if why := a.vain(now, c); why != "" {
		return at(Abandon, now, why)
	}
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
		return at(Confirm, c.ReadAt.Add(readGap), "until Graph's replicas agree")
	case Proving:
		if !c.Refused.IsZero() && c.Refusals > 1 && now.Sub(later(c.Registered, c.Since)) > proveWithin {
			return at(Abandon, now, fmt.Sprintf("Entra ID went on refusing it (AADSTS%d)", c.RefusedCode))
		}
		return at(Prove, later(c.Registered.Add(firstProbe), c.Probed.Add(probeGap)), "before it is relied on")
	case Standby:
		return a.standbyStep(now, c, r)
	case Publishing:
		return a.publishingStep(now, c)
	case Active:
		return a.activeStep(now, c, r)
	case Draining:
		return a.drainingStep(now, c)
	case Abandoned:
		return a.removal(now, c)
	case Retiring, Compromised:
		if !c.Sent.IsZero() && c.Removed.IsZero() && !a.assured(now) {
			return none, false // for a proof of the active one: it may be the only one that works
		}
		return a.removal(now, c)
	case Retired, Lost:
		if a.skewed(now) {
			return none, false
		}
		return at(Destroy, c.DestroyAfter, "nobody needs its key any more")
	}
	return none, false
}

// vain says why nothing can become of a credential that is on its way; "" if it can.
func (a Application) vain(now time.Time, c Credential) string {
	awaited := c.State == Keyed && a.Policy.Issuer == IssuerRequest
	switch {
	case !c.State.Coming() || c.State == Registering: // it has to be found first
	case !c.NotAfter.IsZero() && a.Policy.Issuer == IssuerSelf && !c.good(now):
		return "it got old on its way"
	case c.Vanished >= vanishings && c.State == Staged:
		return fmt.Sprintf("Graph took it %d times, and did not show it", c.Vanished)
	case c.Forbidden && a.Policy.Issuer == IssuerSelf && c.lifetime() != time.Duration(a.Policy.Lifetime):
		return "a policy of the tenant does not allow it, and the lifetime was changed since"
	case c.Stuck && !awaited && !c.Forbidden && now.Sub(c.Planned) > comeWithin: // another would be forbidden as well
		return "it is stuck: " + c.Error
	case c.Stuck && slices.ContainsFunc(a.In(Standby), func(s Credential) bool { return s.works() && s.good(now) && s.Planned.After(c.Planned) }):
		return "it is stuck, and a younger one has been proved"
	}
	return ""
}

// assured reports that the active one works: tokens were just obtained with it.
func (a Application) assured(now time.Time) bool {
	active, ok := a.Active()
	return ok && active.Refusals == 0 && !active.expired(now) && now.Sub(active.Proved(a.Policy.Resources)).Abs() < FreshProof
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
	case c.State == Abandoned, c.State == Compromised && c.expired(now):
		return Step{Action: Destroy, At: now, Why: "it was given up"}, true
	case c.expired(now): // Entra ID refuses it for that, and may say nothing else any more
		return Step{Action: Destroy, At: c.Removed.Add(time.Duration(a.Policy.DestroyAfter)), Why: "nobody needs its key any more"}, true
	default:
		return Step{Action: SeeRefused, At: later(c.Removed.Add(firstProbe), c.Probed.Add(probeGap)), Why: "a removed key must not sign in"}, true
	}
}

func (a Application) standbyStep(now time.Time, c Credential, r Rhythm) (Step, bool) {
	best, _ := a.Standby()
	switch {
	case c.expired(now) && c.Refusals > 1:
		return Step{Action: Abandon, At: now, Why: "it has expired"}, true
	case c.ID != best.ID && !c.good(now) && best.good(now) && best.works():
		return Step{Action: Abandon, At: now, Why: "a younger standby has been proved"}, true
	case c.lost(now):
		return Step{Action: Mourn, At: now, Why: "Graph does not show it, and Entra ID refuses it"}, true
	case c.Refusals > 1 && now.Sub(c.Refused) > proveWithin:
		return Step{Action: Abandon, At: now, Why: fmt.Sprintf("Entra ID refuses it (AADSTS%d)", c.RefusedCode)}, true
	}
	rehearsal, rehearsed := a.rehearse(now, c, r)
	if c.Refusals == 0 {
		if s, ok := a.promotion(now, c); ok && !(rehearsed && !s.Due(now) && rehearsal.At.Before(s.At)) {
			return s, true
		}
	}
	return rehearsal, rehearsed
}

// lost reports that somebody took the credential away from Entra ID. That Graph does not
// show it is never enough, for a replica may lag: tokens have to be refused as well.
func (c Credential) lost(now time.Time) bool {
	return !c.Missing.IsZero() && now.Sub(c.Missing) >= lostAfter && c.Refusals > 1
}

// promotion says when, and why, a standby becomes the active one.
func (a Application) promotion(now time.Time, c Credential) (Step, bool) {
	out := a.Out(now)
	for _, p := range a.In(Publishing) {
		if !(out && p.Stuck) {
			return Step{}, false // one at a time
		}
	}
	best, _ := a.Standby()
	s := Step{Action: Advance, At: now}
	if w, ok := a.wish(Promote); ok && a.meant(w, c, best) {
		s.At, s.Why = later(now, w.from()), asked(w)
		return s, true
	}
	if w, ok := a.wish(Renew); ok && c.renewed(w) {
		s.Why = asked(w)
		return s, true
	}
	active, ok := a.Active()
	due := active.RenewAt
	if back, known := a.Find(active.Replaces); known && back.State == Draining && back.Planned.After(active.Planned) {
		due = later(due, back.DrainUntil) // a rollback is not undone at once
	}
	switch {
	case c.ID != best.ID:
		return Step{}, false
	case !ok && out:
		s.Why, s.Emergency = "the active one is lost or not to be trusted", true
	case !ok:
		s.At, s.Why = a.Policy.Allowed(now), "none is active"
	case active.expired(now):
		s.Why, s.Emergency = "the active one has expired", true
	case out:
		s.Why, s.Emergency = fmt.Sprintf("Entra ID refuses the active one (AADSTS%d)", active.RefusedCode), true
	case active.Stuck && c.works() && !active.FailedAt.IsZero() && now.Sub(active.FailedAt) > day && c.Probed.After(active.FailedAt):
		s.Why, s.Emergency = "the active one cannot be proved, and this one can: "+active.Error, true
	case c.good(later(now, due)):
		s.At, s.Why = a.Policy.Allowed(later(now, due)), "the active one ends on "+date(active.NotAfter)
		if e := active.Emergency(); s.At.After(e) {
			s.At, s.Why, s.Emergency = later(now, e), s.Why+", and no window comes before", true
		}
	case !c.NotAfter.After(active.NotAfter):
		return Step{}, false // nothing would be won
	default:
		// An old one is better than one that expires.
		s.At, s.Why, s.Emergency = later(now, active.Emergency()), "the active one ends on "+date(active.NotAfter)+", and no fresh one is there", true
	}
	return s, true
}

// rehearse proves a credential that works again, and soon one of which that is not sure.
func (a Application) rehearse(now time.Time, c Credential, r Rhythm) (Step, bool) {
	prove := func(t time.Time, why string) (Step, bool) { return Step{Action: Prove, At: t, Why: why}, true }
	switch {
	case c.expired(now) && c.Refusals > 1:
		return Step{}, false
	case c.Refusals > 0 && now.Sub(c.Refused) < proveWithin:
		return prove(c.Probed.Add(probeGap), "whether it still works")
	case c.Probed.IsZero():
		return prove(now, "it was never proved")
	case c.expired(now) && c.Probed.Before(c.NotAfter):
		return prove(now, "whether Entra ID takes it for expired, too")
	case !c.Missing.IsZero() && c.Probed.Before(c.Missing):
		return prove(c.Missing, "Graph does not show it")
	case !c.Missing.IsZero(): // Entra ID may go on taking it for a while after it was removed
		return prove(c.Probed.Add(min(max(c.Probed.Sub(c.Missing), probeGap), askAgain)), "Graph does not show it")
	case c.expired(now):
		return prove(c.Probed.Add(askAgain), "Entra ID's clock does not agree with ours")
	case a.skewed(now): // as long as it is, and no longer
		return prove(c.Probed.Add(askClock), "whether the clock is still off")
	}
	return prove(next(c.Probed, r.Rehearse, c.ID, "prove"), "each "+Span(r.Rehearse).String())
}

// publishingStep hands a credential to the live places for as long as that makes sense.
func (a Application) publishingStep(now time.Time, c Credential) (Step, bool) {
	active, ok := a.Active()
	switch {
	case ok && active.Generation > c.Generation:
		return Step{Action: Drain, At: now, Why: "another one was published since"}, true
	case c.lost(now):
		return Step{Action: Mourn, At: now, Why: "Graph does not show it, and Entra ID refuses it"}, true
	case c.Refusals > 1 && !c.Promoted.IsZero(): // it was to be active again
		return Step{Action: Drain, At: now, Why: fmt.Sprintf("Entra ID refuses it (AADSTS%d)", c.RefusedCode)}, true
	case c.Refusals > 1:
		return Step{Action: Abandon, At: now, Why: fmt.Sprintf("Entra ID refuses it (AADSTS%d)", c.RefusedCode)}, true
	case c.Refusals > 0:
		return Step{Action: Prove, At: c.Probed.Add(probeGap), Why: "whether it still works"}, true
	case c.Attempts <= 1 && now.Sub(c.Probed) >= FreshProof:
		return Step{Action: Prove, At: now, Why: "it was not published at once"}, true
	case c.Attempts > 1 && now.Sub(c.Probed) >= time.Hour:
		return Step{Action: Prove, At: now, Why: "whether that is why it cannot be published"}, true
	}
	pressing := c.Attempts > 1 && (a.Out(now) || ok && !now.Before(active.Emergency()))
	return Step{Action: Publish, At: now, Why: "it is becoming the active one", Emergency: pressing}, true
}

func (a Application) activeStep(now time.Time, c Credential, r Rhythm) (Step, bool) {
	if c.lost(now) {
		return Step{Action: Mourn, At: now, Why: "Graph does not show it, and Entra ID refuses it"}, true
	}
	rehearsal, ok := a.rehearse(now, c, r)
	switch {
	case ok && rehearsal.Due(now):
	case !a.assured(now) && c.Refusals == 0 && !c.expired(now) && slices.ContainsFunc(a.In(Retiring, Compromised), func(old Credential) bool {
		return !old.Sent.IsZero() && old.Removed.IsZero() && !old.retryAt(old.State == Compromised).After(now)
	}):
		return Step{Action: Prove, At: later(now, c.Probed.Add(probeGap)), Why: "before another is taken away"}, true
	default:
		if missing := a.unpublished(c); missing != "" && c.Refusals == 0 && !c.expired(now) {
			return Step{Action: Publish, At: now, Why: missing + " does not have it yet"}, true
		}
	}
	return rehearsal, ok
}

// Moot says why a command or a webhook is not to be run any more; "" if it is.
func (a Application) Moot(d Deploy) string {
	switch c, ok := a.Find(d.Credential); {
	case !slices.Contains(a.Policy.Hooks, d.Hook):
		return "the policy does not have it any more"
	case !ok || c.State != Active:
		return "the certificate is not the active one any more"
	}
	return ""
}

// unpublished is a live place that does not have a credential yet; "" if all do.
func (a Application) unpublished(c Credential) string {
	for _, t := range a.Policy.Targets {
		if !slices.Contains(c.Published, t) {
			return t
		}
	}
	return ""
}

func (a Application) drainingStep(now time.Time, c Credential) (Step, bool) {
	active, ok := a.Active()
	if c.lost(now) {
		return Step{Action: Mourn, At: now, Why: "Graph does not show it, and Entra ID refuses it"}, true
	}
	if newest, some := first(a.restorable(now)); some && len(a.In(Publishing)) == 0 {
		if w, asks := a.wish(Rollback); asks && a.meant(w, c, newest) && !c.expired(now) && c.Refusals < triesToRestore {
			s := Step{Action: Advance, At: later(now, w.from()), Why: asked(w)}
			if c.Refusals > 0 {
				s.At = later(s.At, c.Probed.Add(probeGap))
			}
			return s, true
		}
		if best, waits := a.Standby(); a.Out(now) && !(waits && best.works()) && c.ID == newest.ID && c.Refusals == 0 {
			return Step{Action: Advance, At: now, Why: "nothing else is there that works", Emergency: true}, true
		}
	}
	if !ok || active.Refusals > 0 || active.expired(now) || a.skewed(now) {
		return Step{}, false // it may be the only one that works
	}
	if w, ok := a.wish(Retire); ok && a.meant(w, c, c) {
		return Step{Action: Withdraw, At: later(now, w.from()), Why: asked(w)}, true
	}
	s := Step{Action: Withdraw, At: a.Policy.Allowed(later(now, c.DrainUntil)), Why: "its time is over, and it was replaced"}
	if c.expired(now) {
		s.At = a.Policy.Allowed(now)
		return s, true
	}
	if best, ok := a.Standby(); !ok || !best.works() || a.unpublished(active) != "" {
		return Step{}, false // it is needed as long as nothing waits, or some program cannot have another
	}
	if len(a.behind(now)) > 0 && now.Before(c.NotAfter.Add(-day)) {
		return Step{}, false
	}
	return s, true
}

// triesToRestore is how many refusals it takes until one is not made active again.
const triesToRestore = 3

// restorable lists those that may be made the active one again, the newest first.
func (a Application) restorable(now time.Time) []Credential {
	return slices.DeleteFunc(a.In(Draining), func(c Credential) bool {
		return c.Promoted.IsZero() || c.expired(now) || c.Refusals >= triesToRestore
	})
}

// behind lists the consumers that speak and have not got the active certificate yet.
func (a Application) behind(now time.Time) []Consumer {
	active, _ := a.Active()
	var behind []Consumer
	for _, c := range a.Consumers {
		if c.Generation < active.Generation && now.Sub(c.At) < silentAfter {
			behind = append(behind, c)
		}
	}
	return behind
}

// create says when a new credential is decided on: when no good standby waits and none
// is on its way, or a person wants a fresh one.
func (a Application) create(now time.Time) (Step, bool) {
	w, wished := a.wish(Renew)
	for _, c := range a.Credentials {
		fresh := wished && c.renewed(w)
		switch {
		case c.State.Coming() && (!wished || fresh):
			return Step{}, false
		case c.State == Publishing && (fresh || c.Attempts == 0):
			return Step{}, false // what is needed is known when it is active
		case c.State == Standby && fresh && c.Refusals <= 1:
			return Step{}, false
		case c.State == Active && fresh:
			wished = false // it has come true
		}
	}
	until, _ := a.brake(now)
	s := Step{Action: Create, At: later(now, until), Emergency: a.Out(now)}
	best, ok := a.Standby()
	active, hasActive := a.Active()
	switch {
	case wished:
		s.Why = asked(w)
	case !ok && !hasActive:
		s.Why = "there is none"
	case !ok:
		s.Why = "no standby waits"
	case best.Refusals > 1:
		s.Why = fmt.Sprintf("Entra ID refuses the standby (AADSTS%d)", best.RefusedCode)
	case best.Stuck:
		s.Why = "the standby cannot be proved: " + best.Error
	default:
		at := best.old()
		if soon := active.soon(); hasActive && soon.Before(at) && !best.lasts(active.RenewAt) &&
			!slices.ContainsFunc(a.In(Standby), func(c Credential) bool { return c.works() && !c.Planned.Before(soon) }) {
			at = soon // what takes over should not be due itself soon after
		}
		s.At, s.Why = later(s.At, at), "the standby gets old"
	}
	return s, true
}

// brake is until when no credential is made, and why: something is wrong that more of
// them would not mend. After so many in a row that never became a standby, or twice as
// many within a day whatever became of them, one a day is made, or one an hour while
// nothing works. A person who wants a new one takes it off; what is then made for the
// same wish counts anew.
func (a Application) brake(now time.Time) (until time.Time, why string) {
	var ready, last time.Time
	for _, c := range a.Credentials {
		if !c.Ready.After(now) {
			ready = later(ready, c.Ready)
		}
		if c.Origin == Made {
			last = later(last, c.Planned)
		}
	}
	wished := a.wishedFirst(now)
	var recent, failed int
	for _, c := range a.Credentials {
		if c.Origin != Made || c.Planned.Before(wished) {
			continue
		}
		if c.Planned.After(now.Add(-day)) {
			recent++
		}
		if c.Ready.IsZero() && c.Planned.After(ready) && slices.Contains([]State{Abandoned, Destroyed, Lost}, c.State) {
			failed++
		}
	}
	switch {
	case last.After(now):
		return time.Time{}, ""
	case failed >= maxFailures:
		why = fmt.Sprintf("%d new certificates in a row were given up", failed)
	case recent >= 2*maxFailures:
		why = fmt.Sprintf("%d new certificates were made within a day", recent)
	default:
		return time.Time{}, ""
	}
	if a.Out(now) {
		return last.Add(time.Hour), why
	}
	return last.Add(day), why
}

// wishedFirst is when the first credential was made for the last wish to renew; when that
// was asked for, if none was made for it yet; zero if nobody has wished for one.
func (a Application) wishedFirst(now time.Time) time.Time {
	made := slices.DeleteFunc(slices.Clone(a.Credentials), func(c Credential) bool { return c.Wished.IsZero() || c.Planned.After(now) })
	slices.SortStableFunc(made, func(x, y Credential) int { return x.Planned.Compare(y.Planned) })
	w, stands := a.wish(Renew)
	if !stands && len(made) > 0 {
		w.At = made[len(made)-1].Wished
	}
	if i := slices.IndexFunc(made, func(c Credential) bool { return c.renewed(w) }); i >= 0 {
		return made[i].Planned
	}
	return w.At
}

// skewed reports that the clock is so wrong that a certificate's dates would be.
func (a Application) skewed(now time.Time) bool {
	return a.Observed.Skew.Abs() > skewAllowed && now.Sub(a.Observed.SkewAt).Abs() < SkewKnown
}

// from is when a wish may be fulfilled: at any time if it names a credential, whose state
// then tells what came of it; else after it was made, since what comes of it is known by
// that. It matters when the clock was set back.
func (w Wish) from() time.Time {
	if w.Credential != "" {
		return time.Time{}
	}
	return w.At.Add(time.Millisecond)
}

// meant reports whether a wish is about a credential, which if it names none is the one
// that its kind suggests.
func (a Application) meant(w Wish, c, suggested Credential) bool {
	if w.Credential == "" {
		return c.ID == suggested.ID
	}
	named, ok := a.Find(w.Credential)
	return ok && named.ID == c.ID
}

// Fulfilled lists the wishes that have come true, and those that cannot any more.
func (a Application) Fulfilled() []Wish {
	var done []Wish
	active, _ := a.Active()
	restorable := func(c Credential) bool {
		return c.State == Publishing || c.State == Draining && c.Refusals < triesToRestore
	}
	for _, w := range a.Wishes {
		c, known := a.Find(w.Credential)
		ok := !known && w.Credential != ""
		switch {
		case ok:
		case w.Kind == Renew:
			ok = active.renewed(w)
		case w.Kind == Promote && known:
			ok = !c.State.Coming() && c.State != Standby && c.State != Publishing
		case w.Kind == Promote:
			ok = active.Promoted.After(w.At)
		case w.Kind == Rollback && known:
			ok = !restorable(c)
		case w.Kind == Rollback:
			ok = active.Promoted.After(w.At) || !slices.ContainsFunc(a.Credentials, restorable)
		case w.Kind == Retire && known:
			ok = c.State != Draining
		case w.Kind == Retire:
			ok = len(a.In(Draining)) == 0
		case w.Kind == Revoke && known:
			ok = slices.Contains([]State{Compromised, Retired, Destroyed, Lost}, c.State)
		default:
			ok = true
		}
		if ok {
			done = append(done, w)
		}
	}
	return done
}

// Begun says what has been done of a wish so far; "" while nothing has, so that it can be
// taken back.
func (a Application) Begun(w Wish) string {
	c, known := a.Find(w.Credential)
	begun := false
	switch {
	case w.Kind == Renew:
		// One that came to nothing does not count, or a renewal that goes on failing could
		// not be ended.
		i := slices.IndexFunc(a.Credentials, func(c Credential) bool {
			return c.renewed(w) && (c.State.Coming() || c.State == Standby || c.State == Publishing || c.State == Active)
		})
		if begun = i >= 0; begun {
			c = a.Credentials[i]
		}
	case w.Kind == Promote, w.Kind == Rollback:
		begun = known && (c.State == Publishing || c.State == Active)
	case known:
		begun = slices.Contains(away, c.State)
	}
	if !begun {
		return ""
	}
	name := c.SHA1
	if name == "" {
		name = c.ID
	}
	return fmt.Sprintf("certificate %s is %s", name, c.State)
}

// InVain reports whether a wish that is over (see Fulfilled) cannot come true any more.
func (a Application) InVain(w Wish) bool {
	c, known := a.Find(w.Credential)
	active, _ := a.Active()
	switch {
	case w.Credential != "" && !known:
		return true
	case w.Kind == Renew:
		return !active.renewed(w)
	case w.Kind == Promote, w.Kind == Rollback:
		if !known {
			c = active
		}
		return !c.Promoted.After(w.At) && !(known && c.State == Active)
	case w.Kind == Retire && known:
		return !slices.Contains(away, c.State)
	case w.Kind == Retire:
		return !slices.ContainsFunc(a.In(away...), func(c Credential) bool { return c.Since.After(w.At) })
	case w.Kind == Revoke:
		return !known
	}
	return true
}

// away are the states of what was taken away at Entra ID, or is being.
var away = []State{Retiring, Retired, Destroyed, Lost, Compromised}

func asked(w Wish) string { return w.Asked("asked for") }

// Asked says of what was done that it was a person's wish, and why, if that is known:
// "revoked by pat: its key leaked".
func (w Wish) Asked(done string) string {
	if w.Why == "" {
		return done + " by " + w.By
	}
	return fmt.Sprintf("%s by %s: %s", done, w.By, w.Why)
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
