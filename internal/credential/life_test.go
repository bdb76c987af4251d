package credential

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLife lets applications live for three years in a world where everything goes wrong
// now and then, carrying out what is planned as package rotate does, and looks at each
// step and after each instant whether the promises are kept.
func TestLife(t *testing.T) {
	seeds := 16
	switch {
	case os.Getenv("TEST_LONG") != "":
		seeds = 600
	case raceEnabled:
		seeds = 3 // the rules have no goroutines
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newLife(t, uint64(seed))
			w.run(3 * 365 * day)
		})
	}
}

// life is one application, Entra ID, and all that may happen to them. Nothing in it is
// real but the rules.
type life struct {
	t      *testing.T
	rng    *rand.Rand
	real   time.Time
	offset time.Duration // of our clock
	a      Application
	rhythm Rhythm

	entra  map[string]entry // what is registered, by the credential's ID
	down   map[string]time.Time
	calm   time.Time // since when nothing has been wrong
	known  map[string]time.Time
	events []event
	last   []string // what was done, for a failure's report
	counts map[Action]int
	made   []time.Time
	busy   time.Time // the beginning of an hour, and the steps in it
	steps  int
	n      int
}

type entry struct {
	since    time.Time // when front ends know it
	notAfter time.Time
}

type event struct {
	at time.Time
	do func()
}

var birth = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func newLife(t *testing.T, seed uint64) *life {
	w := &life{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), real: birth, calm: birth,
		rhythm: Rhythm{Look: 6 * time.Hour, Rehearse: day},
		entra:  map[string]entry{}, down: map[string]time.Time{}, known: map[string]time.Time{}, counts: map[Action]int{},
	}
	w.a = Application{TenantID: "t", ObjectID: fmt.Sprintf("object-%d", seed), ClientID: "c", Name: "app", Mode: On, Adopted: birth}
	w.a.Policy = Policy{}.Complete("https://graph")
	w.changePolicy()
	if w.rng.IntN(2) == 0 { // with the certificate that it has
		c := Credential{ID: w.id(), State: Active, Origin: Adopted, Store: StoreLocal, Planned: birth, Since: birth, Sent: birth, Registered: birth, Promoted: birth,
			NotBefore: birth.Add(-300 * day), NotAfter: birth.Add(time.Duration(20+w.rng.IntN(700)) * day), Probed: birth,
			Proofs: map[string]Proof{"https://graph": {Since: birth, Last: birth, Count: 1}}, Generation: birth.Unix()}
		c.SHA1 = "sha1-" + c.ID
		c.RenewAt = RenewAt(c.ID, c.NotBefore, c.NotAfter, w.a.Policy)
		w.a.Generation = c.Generation
		w.a.Credentials = append(w.a.Credentials, c)
		w.entra[c.ID] = entry{birth, c.NotAfter}
	}
	return w
}

func (w *life) id() string {
	w.n++
	return fmt.Sprintf("%s/%04d", w.a.ObjectID, w.n)
}

func (w *life) wall() time.Time { return w.real.Add(w.offset) }

func (w *life) chance(p float64) bool { return w.rng.Float64() < p }

func (w *life) within(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func (w *life) later(d time.Duration, do func()) {
	w.events = append(w.events, event{w.real.Add(d), do})
	slices.SortStableFunc(w.events, func(x, y event) int { return x.at.Compare(y.at) })
}

func (w *life) note(format string, args ...any) {
	w.last = append(w.last, w.real.Format("2006-01-02 15:04:05 ")+fmt.Sprintf(format, args...))
}

func (w *life) fail(format string, args ...any) {
	w.t.Helper()
	var b strings.Builder
	for _, c := range w.a.Credentials {
		if c.State != Destroyed {
			e, at := w.entra[c.ID]
			fmt.Fprintf(&b, "  %s %s since %v, %v to %v, renew %v, refusals %d, stuck %v, attempts %d, retry %v, at Entra ID %v %v\n", c.ID, c.State, c.Since, c.NotBefore, c.NotAfter, c.RenewAt, c.Refusals, c.Stuck, c.Attempts, c.RetryAt, at, e.since)
		}
	}
	for _, s := range Plan(w.wall(), w.a, w.rhythm) {
		fmt.Fprintf(&b, "  plan: %s %s at %v: %s\n", s.Action, s.Credential, s.At, s.Why)
	}
	w.t.Fatalf("%s\nreal %v, our clock %v, calm since %v, wishes %+v, policy %+v\n%s%s", fmt.Sprintf(format, args...), w.real, w.wall(), w.calm, w.a.Wishes, w.a.Policy,
		b.String(), strings.Join(w.last[max(0, len(w.last)-25):], "\n"))
}

// run lives until an age, in troubled times.
func (w *life) run(age time.Duration) {
	w.disturb()
	w.calmly(age)
}

func (w *life) calmly(age time.Duration) {
	end := birth.Add(age)
	for w.real.Before(end) {
		for n := 0; ; n++ {
			if n > 60 {
				w.fail("%d steps at one instant", n)
			}
			w.fulfil()
			s, next := w.due()
			if s == nil {
				w.check()
				jump := max(next.Sub(w.wall()), time.Millisecond)
				if len(w.events) > 0 && w.events[0].at.Before(w.real.Add(jump)) {
					e := w.events[0]
					w.events = w.events[1:]
					w.real = later(w.real, e.at)
					e.do()
				} else {
					w.real = w.real.Add(jump)
				}
				break
			}
			w.do(*s)
		}
	}
	if w.counts[Publish] < 3 && w.a.Policy.Lifetime <= Span(365*day) {
		w.t.Logf("only %d publications in %v", w.counts[Publish], age)
	}
}

func (w *life) due() (*Step, time.Time) {
	steps := Plan(w.wall(), w.a, w.rhythm)
	if len(steps) == 0 {
		return nil, w.wall().Add(day)
	}
	next := steps[0].At
	for _, s := range steps {
		if s.Due(w.wall()) {
			return &s, time.Time{}
		}
		if s.At.Before(next) {
			next = s.At
		}
	}
	return nil, next
}

// disturb makes something go wrong, again and again.
func (w *life) disturb() {
	w.later(w.within(60*day), func() {
		w.disturb()
		w.calm = w.real
		trouble := func(until time.Duration, end func()) {
			w.later(until, func() { end(); w.calm = w.real })
		}
		switch w.rng.IntN(11) {
		case 0, 1, 2: // a service is down
			service := []string{"graph", "token", "vault"}[w.rng.IntN(3)]
			d := w.within(4 * day)
			w.note("event: %s is down for %v", service, d)
			w.down[service] = later(w.down[service], w.real.Add(d))
			trouble(d, func() {})
		case 3: // somebody removes certificates of ours
			for _, c := range w.a.Credentials {
				if _, at := w.entra[c.ID]; at && w.chance(0.5) {
					w.note("event: somebody removes %s (%s)", c.ID, c.State)
					delete(w.entra, c.ID)
				}
			}
		case 4:
			if w.offset == 0 {
				w.offset = time.Hour
				if w.chance(0.5) {
					w.offset = -time.Hour
				}
				w.note("event: our clock is off by %v", w.offset)
				trouble(w.within(3*day), func() { w.offset = 0; w.note("event: our clock is right again") })
			}
		case 5:
			w.changePolicy()
			w.note("event: policy %+v", w.a.Policy)
		case 6:
			w.a.Mode = Observe
			w.note("event: observe")
			trouble(w.within(20*day), func() { w.a.Mode = On; w.note("event: on") })
		case 7: // the tenant forbids it
			d := w.within(6 * day)
			w.note("event: nothing may be registered for %v", d)
			w.down["register"] = later(w.down["register"], w.real.Add(d))
			trouble(d, func() {})
		default:
			wish := Wish{Kind: []WishKind{Renew, Promote, Rollback, Retire, Revoke}[w.rng.IntN(5)], By: "test", At: w.wall()}
			if n := len(w.a.Credentials); n > 0 && (wish.Kind == Revoke || w.chance(0.4)) && wish.Kind != Renew {
				wish.Credential = w.a.Credentials[w.rng.IntN(n)].ID
			}
			w.note("event: wish %s %s", wish.Kind, wish.Credential)
			w.a.Wishes = append(slices.DeleteFunc(w.a.Wishes, func(x Wish) bool { return x.Kind == wish.Kind && x.Credential == wish.Credential }), wish)
			w.known[string(wish.Kind)+wish.Credential] = w.real
			if w.chance(0.3) && w.offset == 0 { // and just then the clock is set back
				d := w.within(3 * time.Hour)
				w.offset = -time.Hour
				w.note("event: our clock is set back by an hour for %v", d)
				trouble(d, func() { w.offset = 0 })
			}
		}
	})
}

func (w *life) changePolicy() {
	for {
		p := Policy{Lifetime: Span(time.Duration(30+w.rng.IntN(400)) * day), Overlap: Span(w.within(12 * day).Truncate(time.Hour))}
		if w.chance(0.5) {
			p.RenewBefore = Before{Span: Span(time.Duration(2+w.rng.IntN(60)) * day)}
		}
		if w.chance(0.3) {
			p.Issuer = IssuerRequest
		}
		if w.chance(0.4) {
			p.Targets = []string{"directory:/a", "keyvault:b"}[:1+w.rng.IntN(2)]
		}
		if w.chance(0.4) {
			p.Windows = []Window{{Days: []time.Weekday{time.Weekday(w.rng.IntN(7))}, From: 22 * time.Hour, To: 4 * time.Hour}}
		}
		p = p.Complete("https://graph")
		if len(p.Check()) == 0 {
			w.a.Policy = p
			return
		}
	}
}

func (w *life) isDown(service string) bool { return w.real.Before(w.down[service]) }

// fulfil is as in package rotate.
func (w *life) fulfil() {
	for _, wish := range w.a.Wishes {
		if c := w.get(wish.Credential); wish.Kind == Revoke && c != nil && c.State.HasKey() && !slices.Contains([]State{Compromised, Retired, Lost}, c.State) {
			w.into(c, Compromised)
		}
	}
	done := w.a.Fulfilled()
	w.a.Wishes = slices.DeleteFunc(w.a.Wishes, func(x Wish) bool { return slices.Contains(done, x) })
}

func (w *life) get(id string) *Credential {
	for i := range w.a.Credentials {
		if w.a.Credentials[i].ID == id {
			return &w.a.Credentials[i]
		}
	}
	return nil
}

func (w *life) into(c *Credential, s State) {
	w.note("%s: %s -> %s", c.ID, c.State, s)
	c.State, c.Since = s, w.wall()
	c.Attempts, c.RetryAt, c.Error, c.Stuck = 0, time.Time{}, "", false
}

// works reports whether Entra ID takes a credential now.
func (w *life) works(id string) bool {
	e, at := w.entra[id]
	return at && !w.real.Before(e.since) && w.real.Before(e.notAfter)
}

var (
	errTransient = fmt.Errorf("it is down")
	errForbidden = fmt.Errorf("it is forbidden")
)

// token asks for a token, as in package rotate.
func (w *life) token(c *Credential) error {
	if w.isDown("token") || w.chance(0.05) {
		return errTransient
	}
	known := w.a.Observed.Skew
	if w.wall().Sub(w.a.Observed.SkewAt).Abs() > time.Hour {
		known = 0
	}
	if (w.offset + known).Abs() > skewAllowed {
		w.a.Observed.Skew, w.a.Observed.SkewAt = -w.offset, w.wall()
		return errForbidden
	}
	w.a.Observed.Skew, w.a.Observed.SkewAt = -w.offset, w.wall()
	now := w.wall()
	proofs := map[string]Proof{}
	for r, p := range c.Proofs {
		proofs[r] = p
	}
	c.Proofs, c.Probed = proofs, now
	for _, r := range w.a.Policy.Resources {
		if !w.works(c.ID) {
			if c.Refused.IsZero() {
				c.Refused = now
			}
			c.Refusals++
			c.RefusedCode = 700027
			proofs[r] = Proof{}
			return nil
		}
		p := proofs[r]
		if p.Count == 0 {
			p.Since = now
		}
		p.Count++
		p.Last = now
		proofs[r] = p
	}
	c.Refused, c.Refusals = time.Time{}, 0
	c.Attempts, c.RetryAt, c.Error, c.Stuck = 0, time.Time{}, "", false
	return nil
}

func (w *life) fresh(c *Credential) (bool, error) {
	if w.wall().Sub(c.Proved(w.a.Policy.Resources)).Abs() < FreshProof && c.Refusals == 0 {
		return true, nil
	}
	err := w.token(c)
	return err == nil && c.Refusals == 0, err
}

func (w *life) do(s Step) {
	w.counts[s.Action]++
	if w.steps++; w.real.Sub(w.busy) > time.Hour {
		w.busy, w.steps = w.real, 0
	}
	if w.steps > 500 {
		w.fail("%d steps within an hour", w.steps)
	}
	if s.Action != Look && s.Action != Prove {
		w.note("%s %s: %s", s.Action, s.Credential, s.Why)
	}
	c := w.get(s.Credential)
	if c == nil && s.Action != Look && s.Action != Create {
		w.fail("step %q is of no credential", s.Action)
	}
	err := w.carryOut(s, c)
	if err == nil || s.Action == Look {
		return
	}
	c.Attempts++
	c.RetryAt = w.wall().Add(Backoff(c.ID, c.Attempts))
	c.Error = err.Error()
	c.Stuck = err != errTransient && c.Attempts >= 3
}

// carryOut does what package rotate does, as far as the record shows it.
func (w *life) carryOut(s Step, c *Credential) error {
	now, real := w.wall(), w.real
	graph := func() bool { return w.isDown("graph") || w.chance(0.05) }
	registered := func() {
		c.Registered, c.Reads, c.ReadAt = now, 0, time.Time{}
		c.Proofs, c.Probed, c.Refused, c.Refusals = nil, time.Time{}, time.Time{}, 0
		w.into(c, Registered)
	}
	_, there := Credential{}, false
	if c != nil {
		_, there = w.entra[c.ID]
	}
	switch s.Action {
	case Look:
		if graph() {
			w.a.Observed.FailedAt, w.a.Observed.Error = now, "down"
			w.a.Observed.Attempts++
			return nil
		}
		w.a.Observed = Observation{At: now, Skew: w.a.Observed.Skew, SkewAt: w.a.Observed.SkewAt}
		for i := range w.a.Credentials {
			c := &w.a.Credentials[i]
			if !slices.Contains([]State{Proving, Standby, Publishing, Active, Draining}, c.State) {
				continue
			}
			if _, at := w.entra[c.ID]; at {
				c.Missing = time.Time{}
			} else if c.Missing.IsZero() && now.Sub(c.Registered) > 15*time.Minute {
				c.Missing = now
			}
		}
	case Create:
		w.made = append(w.made, real)
		if n := len(w.made); n > 8 && real.Sub(w.made[n-9]) < day {
			w.fail("nine new credentials within a day")
		}
		w.a.Credentials = append(w.a.Credentials, Credential{ID: w.id(), State: Planned, Origin: Made, Reason: s.Why, Store: w.a.Policy.Store, Planned: now, Since: now, Wished: w.a.Wished()})
	case MakeKey:
		if w.chance(0.05) {
			return errTransient
		}
		w.into(c, Keyed)
		if id := c.ID; w.a.Policy.Issuer == IssuerRequest {
			w.import_(id)
		}
	case Certify:
		w.certify(c)
	case Stage:
		if w.chance(0.05) {
			return errTransient
		}
		w.into(c, Staged)
	case Register:
		c.Sent = later(c.Sent, now)
		w.a.Wrote = now
		switch {
		case w.isDown("register"):
			w.into(c, Staged)
			return errForbidden
		case graph():
			w.into(c, Registering) // the answer is lost, and maybe the question
			if w.chance(0.5) {
				w.entra[c.ID] = entry{real.Add(w.within(90 * time.Second)), c.NotAfter}
			}
			return errTransient
		}
		w.entra[c.ID] = entry{real.Add(w.within(90 * time.Second)), c.NotAfter}
		registered()
	case Find:
		switch {
		case graph():
			return errTransient
		case there:
			registered()
		case now.Sub(c.Since).Abs() > StaleFor:
			w.into(c, Staged)
		default:
			c.RetryAt = now.Add(5 * time.Second)
		}
	case Confirm:
		if graph() {
			return errTransient
		}
		c.ReadAt = now
		if c.Reads++; !there || w.chance(0.1) {
			c.Reads = 0
		}
		if c.Reads == ReadsNeeded {
			c.Reads = 0
			w.into(c, Proving)
		}
	case Prove:
		if err := w.token(c); err != nil {
			return err
		}
		if c.State == Proving && c.Proven(w.a.Policy.Resources) {
			c.Ready = now
			w.into(c, Standby)
		}
	case Advance:
		if ok, err := w.fresh(c); err != nil || !ok {
			return err
		}
		active, has := w.a.Active()
		if has {
			c.Replaces = active.ID
			if w.onTime(active) && c.State == Standby && now.Before(active.RenewAt) {
				w.fail("%s replaces %s before its time, %v", c.ID, active.ID, active.RenewAt)
			}
			if !s.Emergency && len(w.a.Wishes) == 0 && !w.a.Policy.Allowed(now).Equal(now) {
				w.fail("promoted outside of the windows")
			}
		}
		w.a.Generation = max(w.a.Generation+1, now.Unix())
		c.Generation, c.Published = w.a.Generation, nil
		w.into(c, Publishing)
	case Publish:
		var err error
		for _, t := range w.a.Policy.Targets {
			if slices.Contains(c.Published, t) {
				continue
			}
			if w.chance(0.05) || w.isDown("vault") && strings.HasPrefix(t, "keyvault:") {
				err = errForbidden
				continue
			}
			if !w.works(c.ID) || w.isDown("token") {
				err = errForbidden
				continue
			}
			c.Published = append(slices.Clone(c.Published), t)
		}
		if c.State == Active {
			if err == nil {
				c.Attempts, c.RetryAt, c.Stuck = 0, time.Time{}, false
			}
			return err
		}
		if err != nil && !s.Emergency {
			return err
		}
		for i := range w.a.Credentials {
			if old := &w.a.Credentials[i]; old.State == Active {
				old.DrainUntil = now.Add(w.a.Policy.Drain())
				w.into(old, Draining)
			}
		}
		c.Promoted, c.Missing = now, time.Time{}
		w.into(c, Active)
	case Withdraw:
		active, ok := w.a.Active()
		if !ok {
			w.fail("%s is withdrawn with no other active", c.ID)
		}
		if ok, err := w.fresh(w.get(active.ID)); err != nil || !ok {
			return err
		}
		c.Removed, c.Gone, c.Reads = time.Time{}, time.Time{}, 0
		w.into(c, Retiring)
	case Remove:
		w.removal(c)
		if graph() {
			if w.chance(0.5) {
				delete(w.entra, c.ID)
			}
			return errTransient
		}
		w.a.Wrote = now
		delete(w.entra, c.ID)
		c.Removed, c.Reads, c.ReadAt, c.Probed, c.Gone = now, 0, time.Time{}, time.Time{}, time.Time{}
	case SeeGone:
		if graph() {
			return errTransient
		}
		c.ReadAt = now
		if c.Reads++; c.Reads >= ReadsNeeded {
			c.Gone = now
		}
	case SeeRefused:
		if w.isDown("token") || w.chance(0.05) {
			return errTransient
		}
		c.Probed = now
		if w.chance(0.7) {
			c.DestroyAfter = now.Add(time.Duration(w.a.Policy.DestroyAfter))
			w.into(c, Retired)
		}
	case Destroy:
		if there {
			w.fail("the key of %s is destroyed, and it is at Entra ID", c.ID)
		}
		w.into(c, Destroyed)
	case Abandon:
		c.Reads, c.Probed = 0, time.Time{}
		w.into(c, Abandoned)
	case Drain:
		c.DrainUntil = later(c.DrainUntil, now.Add(w.a.Policy.Drain()))
		w.into(c, Draining)
	case Mourn:
		if there {
			w.fail("%s is given up as lost, and it is there", c.ID)
		}
		c.DestroyAfter = now.Add(time.Duration(w.a.Policy.DestroyAfter))
		w.into(c, Lost)
	default:
		w.fail("step %q", s.Action)
	}
	return nil
}

func (w *life) certify(c *Credential) {
	c.NotBefore = w.wall().Add(-5 * time.Minute)
	c.NotAfter = c.NotBefore.Add(time.Duration(w.a.Policy.Lifetime))
	c.SHA1 = "sha1-" + c.ID
	c.RenewAt = RenewAt(c.ID, c.NotBefore, c.NotAfter, w.a.Policy)
	w.into(c, Certified)
}

// import_ is the authority's answer, after some days.
func (w *life) import_(id string) {
	w.later(w.within(3*day), func() {
		if c := w.get(id); c != nil && c.State == Keyed {
			w.certify(c)
		}
	})
}

// onTime reports that nothing but its age is a reason to replace the active one.
func (w *life) onTime(active Credential) bool {
	return len(w.a.Wishes) == 0 && !active.expired(w.wall()) && active.Refusals == 0 && !active.Stuck
}

// removal is asked before a certificate is taken away from Entra ID.
func (w *life) removal(c *Credential) {
	if !slices.Contains([]State{Retiring, Abandoned, Compromised}, c.State) {
		w.fail("%s is removed, which is %s", c.ID, c.State)
	}
	if !w.works(c.ID) {
		return // it was good for nothing
	}
	for _, other := range w.a.Credentials {
		if other.ID == c.ID || other.State != Active || other.Refusals > 0 || other.expired(w.wall()) {
			continue
		}
		if c.State == Abandoned || w.wall().Sub(other.Proved(w.a.Policy.Resources)).Abs() < FreshProof {
			return
		}
	}
	if c.State == Abandoned && c.Promoted.IsZero() && c.Ready.IsZero() {
		return // it was never relied on
	}
	w.fail("%s is removed, and no other was just proved", c.ID)
}

// check looks at the promises when nothing is to be done at once.
func (w *life) check() {
	down := false
	for _, until := range w.down {
		down = down || w.real.Before(until)
	}
	if w.a.Mode != On || w.offset != 0 || down {
		w.calm = w.real
		return
	}
	if len(w.a.In(Keyed)) > 0 && w.a.Policy.Issuer == IssuerRequest {
		if len(w.a.In(Keyed)) > 0 && !slices.ContainsFunc(w.events, func(event) bool { return true }) {
			w.fail("the authority was not asked")
		}
		for _, c := range w.a.In(Keyed) {
			if w.real.Sub(c.Since) > 4*day {
				w.import_(c.ID) // the policy changed when it was there already
			}
		}
		w.calm = w.real
		return
	}
	quiet := w.real.Sub(w.calm)
	active, ok := w.a.Active()
	if quiet > day+time.Hour && ok && w.real.After(active.Emergency().Add(2*time.Hour)) {
		w.fail("%s is not renewed in its time", active.ID)
	}
	if quiet < 5*day {
		return
	}
	if standby, waits := w.a.Standby(); !ok && len(w.a.Policy.Windows) == 0 || !waits && len(w.a.In(Publishing)) == 0 && w.idle() || waits && (standby.Refusals > 0 || standby.Stuck) && quiet > 7*day {
		w.fail("after days of quiet there is no active one or no standby")
	}
	for _, x := range w.a.Wishes {
		if w.real.Sub(w.known[string(x.Kind)+x.Credential]) > 5*day {
			w.fail("the wish stands since %v", x.At)
		}
	}
	for _, c := range w.a.Credentials {
		if (c.State.Coming() || slices.Contains([]State{Publishing, Retiring, Abandoned, Compromised}, c.State)) && !c.expired(w.real) && w.real.Sub(c.Since) > 5*day {
			w.fail("%s stands still", c.ID)
		}
	}
}

// idle reports that no credential is on its way.
func (w *life) idle() bool {
	return !slices.ContainsFunc(w.a.Credentials, func(c Credential) bool { return c.State.Coming() })
}

// TestARenewalLasts lets applications live where nothing worse happens than a call in
// twenty that fails. What takes over must not be due itself soon after: each certificate
// is in use for at least half of the time that it was made for.
func TestARenewalLasts(t *testing.T) {
	var served, hasty int
	for seed := range 40 {
		w := newLife(t, uint64(seed))
		w.a.Policy.Issuer = IssuerSelf // an authority takes days
		w.rhythm = Rhythm{Look: 5 * day, Rehearse: 5 * day}
		w.calmly(6 * 365 * day)
		in := slices.DeleteFunc(slices.Clone(w.a.Credentials), func(c Credential) bool { return c.Promoted.IsZero() || c.Origin == Adopted })
		slices.SortFunc(in, func(x, y Credential) int { return x.Promoted.Compare(y.Promoted) })
		for i := 1; i < len(in); i++ {
			served++
			if in[i].Promoted.Sub(in[i-1].Promoted) < in[i-1].use()/2 {
				hasty++
				t.Logf("%s: in use from %v to %v, made for %v; policy %+v", in[i-1].ID, in[i-1].Promoted, in[i].Promoted, Span(in[i-1].use()), w.a.Policy)
			}
		}
	}
	if served < 300 || hasty > 0 {
		t.Errorf("%d of %d certificates were in use for less than half of their time", hasty, served)
	}
}
