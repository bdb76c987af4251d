package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/store"
)

// RuleUndelivered is the rule of the finding that a target was not told of an event,
// and will not be. Its subject is the target. The next event that arrives settles it.
const RuleUndelivered = "notice-undelivered"

const (
	// sendTimeout is how long an attempt may take, lease how long until it counts as
	// lost. What lies between is for recording its outcome.
	sendTimeout = time.Minute
	lease       = 2 * time.Minute

	// A delivery is tried again after a random part of a pause that doubles from
	// firstPause to longestPause, and given up when giveUpAfter has passed. A target
	// that asks for more time gets it, up to longestRest.
	firstPause   = 30 * time.Second
	longestPause = 6 * time.Hour
	longestRest  = 24 * time.Hour
	giveUpAfter  = 3 * 24 * time.Hour

	// perPass bounds the deliveries to one target in one pass.
	perPass = 100
)

// A Sender sends what is in the outbox of a tenant to the targets, and to the log
// in any case. Every Sender of the same database has the same targets, since an event
// is addressed by the one that comes first. Several may run at once: each delivery is
// leased to one of them.
type Sender struct {
	DB      *store.DB
	Tenant  int
	Targets []Target // their names differ
	Now     func() time.Time
	Log     *slog.Logger

	// Rand gives a number from 0 up to 1 that spreads attempts. Nil means a random
	// one.
	Rand func() float64
}

// Deliver makes one pass: it sends what is due, to all targets at once and to each
// target one event at a time, and ends. It returns when to call it again; the zero
// time means when something was posted. What a target refuses is recorded and
// tried again later; the error is the database's alone. What was being sent when ctx
// ended may be sent again.
func (s *Sender) Deliver(ctx context.Context) (next time.Time, err error) {
	outbox := s.DB.Outbox(s.Tenant)
	targets := append([]Target{logTarget{s.Log}}, s.Targets...)
	known := map[string]bool{}
	var names []string
	for _, t := range targets {
		if known[t.Name()] {
			return time.Time{}, fmt.Errorf("sending notices: two targets are called %s", t.Name())
		}
		known[t.Name()] = true
		names = append(names, t.Name())
	}
	if err := outbox.Address(ctx, names, s.Now()); err != nil {
		return time.Time{}, err
	}
	due, err := outbox.Due(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if err := s.drop(ctx, outbox, known, due); err != nil {
		return time.Time{}, err
	}
	ended := make(chan error, len(targets))
	for _, t := range targets {
		go func() { ended <- s.serve(ctx, outbox, t, due) }()
	}
	for range targets {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return time.Time{}, err
	}
	return s.next(ctx, outbox, known)
}

// next is when something is due for a known target.
func (s *Sender) next(ctx context.Context, outbox *store.Outbox, known map[string]bool) (time.Time, error) {
	if n, err := outbox.Unaddressed(ctx); err != nil {
		return time.Time{}, err
	} else if n > 0 { // posted meanwhile
		return s.Now(), nil
	}
	due, err := outbox.Due(ctx)
	var next time.Time
	for target, at := range due {
		if known[target] && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, err
}

// drop ends what is for targets that are no longer configured: what they were not
// told in time, and the findings about them.
func (s *Sender) drop(ctx context.Context, outbox *store.Outbox, known map[string]bool, due map[string]time.Time) error {
	now := s.Now()
	for target := range due {
		if known[target] {
			continue
		}
		n, err := outbox.Drop(ctx, target, "the target is no longer configured", now.Add(-giveUpAfter), now)
		if err != nil {
			return err
		}
		if n > 0 {
			s.Log.Warn("gave up notices: their target is no longer configured", "target", target, "notices", n)
		}
	}
	findings, err := s.DB.Findings(ctx, s.Tenant)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Rule == RuleUndelivered && !known[f.Subject] {
			if err := s.DB.Settle(ctx, s.Tenant, f.Rule, f.Subject); err != nil {
				return err
			}
		}
	}
	return nil
}

// serve sends what is due for one target, until nothing is or the target fails.
func (s *Sender) serve(ctx context.Context, outbox *store.Outbox, t Target, due map[string]time.Time) error {
	if at, ok := due[t.Name()]; !ok || at.After(s.Now()) {
		return nil
	}
	for range perPass {
		now := s.Now()
		d, err := outbox.Claim(ctx, t.Name(), now, now.Add(lease))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		// Here the attempt is on record. A process that is killed from here on tries
		// again when the lease has run out.
		err = s.send(ctx, t, d)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		goOn, err := s.record(context.WithoutCancel(ctx), outbox, d, err)
		if err != nil || !goOn {
			return err
		}
	}
	return nil
}

func (s *Sender) send(ctx context.Context, t Target, d store.Delivery) error {
	e, err := readRow(d.Event)
	if err != nil {
		return Permanent(err)
	}
	if len(e.Targets) > 0 && t.Name() != (logTarget{}).Name() && !slices.Contains(e.Targets, t.Name()) {
		return nil // it is not for this one
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return t.Send(ctx, e)
}

// An Attempt is one of telling a target something.
type Attempt struct {
	Target string
	Err    error // why it was not told; nil if it took the event over
}

// Try tells the targets of these names, or all of them when there are none, of an event at
// once: past the outbox, so that nothing is recorded or tried again. The log is not among
// them.
func (s *Sender) Try(ctx context.Context, e Event, names []string) ([]Attempt, error) {
	if _, err := e.Row(); err != nil {
		return nil, err
	}
	targets := slices.Clone(s.Targets)
	if len(names) > 0 {
		targets = slices.DeleteFunc(targets, func(t Target) bool { return !slices.Contains(names, t.Name()) })
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	all := make([]Attempt, len(targets))
	var under sync.WaitGroup
	for i, t := range targets {
		under.Go(func() { all[i] = Attempt{t.Name(), t.Send(ctx, e)} })
	}
	under.Wait()
	return all, nil
}

// An Arrear is what a target was not told yet, though it was tried.
type Arrear struct {
	Target  string
	Notices int       // that were tried and are tried again
	Since   time.Time // of the oldest of them
	Again   time.Time
	Error   string // of the last attempt
}

// maxArrears bounds how far back the outbox is looked at.
const maxArrears = 1000

// Arrears lists the targets of a tenant that could not be told of the newest events yet, by
// name.
func Arrears(ctx context.Context, db *store.DB, tenant int) ([]Arrear, error) {
	all, err := db.Outbox(tenant).Deliveries(ctx, maxArrears)
	if err != nil {
		return nil, err
	}
	var arrears []Arrear
	for _, d := range all {
		if d.State != store.DeliveryDue || d.Error == "" {
			continue
		}
		i := slices.IndexFunc(arrears, func(a Arrear) bool { return a.Target == d.Target })
		if i < 0 {
			i = len(arrears)
			arrears = append(arrears, Arrear{Target: d.Target, Since: d.Since, Again: d.Due, Error: d.Error})
		}
		a := &arrears[i]
		a.Notices++
		if d.Since.Before(a.Since) {
			a.Since = d.Since
		}
		if d.Due.Before(a.Again) {
			a.Again = d.Due
		}
	}
	slices.SortFunc(arrears, func(x, y Arrear) int { return strings.Compare(x.Target, y.Target) })
	return arrears, nil
}

// record writes down how an attempt ended, and reports whether the target can take
// the next event.
func (s *Sender) record(ctx context.Context, outbox *store.Outbox, d store.Delivery, failure error) (bool, error) {
	now := s.Now()
	log := s.Log.With("target", d.Target, "event", d.Event.ID, "attempts", d.Attempts)
	switch {
	case failure == nil:
		return true, outbox.Sent(ctx, d, now, RuleUndelivered)
	case isPermanent(failure), now.Sub(d.Since) >= giveUpAfter:
		log.Error("gave up a notice", "error", failure)
		return isPermanent(failure), outbox.GiveUp(ctx, d, failure.Error(), now, store.Finding{
			Rule: RuleUndelivered, Subject: d.Target,
			Message: fmt.Sprintf("%s was not told of event %s, and will not be, after %d attempts: %v", d.Target, d.Event.ID, d.Attempts, failure),
			Remedy:  "look at the settings under notify and at the target itself; what was to be told stands in the log",
		})
	}
	pause, rest := s.pause(d.Attempts), firstPause
	if after := min(retryAfter(failure), longestRest); after > 0 {
		pause, rest = max(pause, after), after
	}
	log.Warn("a notice was not sent", "error", failure, "again", now.Add(pause))
	return false, outbox.Failed(ctx, d, failure.Error(), now.Add(pause), now.Add(rest))
}

// pause is how long to wait after the n-th failure, n ≥ 1.
func (s *Sender) pause(n int) time.Duration {
	whole := longestPause
	if n < 20 {
		whole = min(whole, firstPause<<(n-1))
	}
	random := s.Rand
	if random == nil {
		random = rand.Float64
	}
	return time.Duration(random() * float64(whole))
}
