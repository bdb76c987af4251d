package rotate

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/store"
)

// yearsRhythm is the rhythm of the long simulation: with the usual one, a look at each
// application in a quarter of an hour, ten years would be 350,000 looks at each, none of
// which would find anything.
var yearsRhythm = credential.Rhythm{Look: 30 * 24 * time.Hour, Rehearse: 90 * 24 * time.Hour}

// yearsLifetimes are those of the applications' certificates, in turn, in days.
var yearsLifetimes = []int{180, 365, 730, 1095}

// TestYears lets applications live for years at an unkind tenant: each twentieth call
// fails in some way, replicas lag, the clocks of two processes that look after the same
// applications are set wrong by an hour now and then, and both are at work in turns and
// at once.
func TestYears(t *testing.T) {
	t.Parallel()
	count, years, tenants := 8, 2, 2
	if os.Getenv("TEST_LONG") != "" {
		count, years = 1000, 10
	}
	if raceEnabled {
		count, years = 4, 1
	}
	if n, err := strconv.Atoi(os.Getenv("TEST_APPLICATIONS")); err == nil {
		count = n
	}
	if n, err := strconv.Atoi(os.Getenv("TEST_YEARS")); err == nil {
		years = n
	}
	// Each tenant has a processor: they have nothing to do with each other.
	all := make([]*yearsOf, tenants)
	var running sync.WaitGroup
	began := time.Now()
	for i := range all {
		all[i] = newYears(t, uint64(i+1), count/tenants)
		running.Go(func() { all[i].live(begin.AddDate(years, 0, 0)) })
	}
	running.Wait()
	sum := &yearsOf{faults: map[string]int{}}
	for _, y := range all {
		if len(y.wrong) > 0 {
			t.Errorf("%d things are wrong; the first ones: %v", len(y.wrong), y.wrong[:min(3, len(y.wrong))])
		}
		sum.renewed = append(sum.renewed, y.renewed...)
		sum.works += y.works
		sum.both += y.both
		sum.made += y.made
		sum.steps += y.steps
		sum.leased += y.leased
		sum.fenced += y.fenced
		sum.entries += y.entries
		sum.latest = max(sum.latest, y.latest)
		sum.hasty += y.hasty
		for _, p := range y.processes {
			sum.calls += p.network.calls
			for name, n := range p.network.faults {
				sum.faults[name] += n
			}
		}
	}
	least := 0
	for i := range count {
		least += years * 365 / yearsLifetimes[i/tenants%len(yearsLifetimes)]
	}
	if len(sum.renewed) < least {
		t.Errorf("only %d renewals, and %d at least were due", len(sum.renewed), least)
	}
	failed := 0
	for _, n := range sum.faults {
		failed += n
	}
	t.Logf("%d applications, %d years, %d databases with two processes each: %v of real time", count, years, tenants, time.Since(began).Round(time.Second))
	t.Logf("%d renewals, %d certificates made, %d calls of which %d (%.1f %%) went wrong: %v", len(sum.renewed), sum.made, sum.calls, failed, 100*float64(failed)/float64(sum.calls), sum.faults)
	t.Logf("%d times at work, %d of them both at once (%d times one found the other at it, %d times it was fenced off), %d steps of a clock, %d entries in the journals",
		sum.works, sum.both, sum.leased, sum.fenced, sum.steps, sum.entries)
	t.Logf("the latest renewal was %v after it was due; %d certificates were in use for less than half of their time", sum.latest.Round(time.Second), sum.hasty)
	tellPeaks(t, sum.renewed)
}

// renewal is one certificate's taking another's place.
type renewal struct {
	at    time.Time
	round int // of its application
	days  int // of the certificates
}

// tellPeaks tells how evenly renewals are spread. Certificates made in one moment are
// due over a tenth of renew-before, and the next ones over more and more.
func tellPeaks(t *testing.T, all []renewal) {
	type group struct{ days, round int }
	rounds := map[group][]time.Time{}
	for _, r := range all {
		g := group{r.days, r.round}
		rounds[g] = append(rounds[g], r.at)
	}
	tell := func(name string, at []time.Time) {
		slices.SortFunc(at, time.Time.Compare)
		hours := map[int64]int{}
		for _, x := range at {
			hours[x.Unix()/3600]++
		}
		span := at[len(at)-1].Sub(at[0]).Hours() + 1
		mean := float64(len(at)) / span
		most := slices.Max(slices.Collect(maps.Values(hours)))
		t.Logf("%s: %d over %.0f hours, %.2f in an hour on average; %d in the busiest hour, %.1f times the mean", name, len(at), span, mean, most, float64(most)/mean)
	}
	for _, days := range yearsLifetimes {
		for _, round := range []int{1, 2, 5, 10, 20} {
			if at := rounds[group{days, round}]; len(at) > 0 {
				tell(fmt.Sprintf("renewals number %d of those with %d days", round, days), at)
			}
		}
	}
	var at []time.Time
	for _, r := range all {
		at = append(at, r.at)
	}
	tell("all renewals", at)
}

// yearsOf is one tenant's simulation.
type yearsOf struct {
	*inside
	file      string
	keys      *shelf
	processes []*process
	random    *rand.Rand
	due       agenda
	lives     map[string]*lifeOf

	wrong   []string
	renewed []renewal
	latest  time.Duration
	faults  map[string]int

	works, both, made, steps, leased, fenced, calls, hasty int
	entries                                                int64

	mu      sync.Mutex
	changed map[string]credential.Application // told by Changed, in this step
}

// lifeOf is one application of a simulation.
type lifeOf struct {
	*subject
	at     time.Time // when it is due, by the database
	active credential.Credential
	rounds int
	index  int // in the agenda
}

func newYears(t *testing.T, seed uint64, count int) *yearsOf {
	y := &yearsOf{
		inside: newInside(t, seed, origin.UsualDelays), keys: openKeys(t, "").(*shelf), random: rand.New(rand.NewPCG(seed, 3)),
		lives: map[string]*lifeOf{}, changed: map[string]credential.Application{},
	}
	file := filepath.Join(place(t), "reeve.db")
	y.file = file
	for i, holder := range []string{"first", "second"} {
		y.processes = append(y.processes, y.start(file, holder, y.keys, seed*100+uint64(i), 0.05, func(o *Options) {
			o.Rhythm = yearsRhythm
			o.Changed = func(a credential.Application) {
				y.mu.Lock()
				defer y.mu.Unlock()
				y.changed[a.ObjectID] = a
			}
		}))
	}
	lifetime := func(i int) time.Duration {
		return time.Duration(yearsLifetimes[i%len(yearsLifetimes)]) * 24 * time.Hour
	}
	for _, s := range y.applications(count, lifetime) {
		a := y.adopt(y.processes[0], s, credential.Policy{Lifetime: credential.Span(lifetime(s.id))}.Complete(y.cloud.GraphAudience))
		life := &lifeOf{subject: s, at: y.clock.Now()}
		life.active, _ = a.Active()
		y.lives[s.object] = life
		heap.Push(&y.due, life)
	}
	return y
}

// live goes on until a time.
func (y *yearsOf) live(end time.Time) {
	nextStep := make([]time.Time, len(y.processes))
	for i := range nextStep {
		nextStep[i] = y.clock.Now().Add(y.between(time.Hour, 40*24*time.Hour))
	}
	for len(y.wrong) < 20 {
		life := y.due[0]
		at := life.at.Add(-y.ahead()) // the first process that finds it due works on it
		for i, p := range y.processes {
			if nextStep[i].Before(at) {
				y.moveTo(nextStep[i])
				y.step(p)
				nextStep[i] = y.clock.Now().Add(y.between(time.Hour, 6*time.Hour))
				if p.ahead.Load() == 0 {
					nextStep[i] = y.clock.Now().Add(y.between(time.Hour, 40*24*time.Hour))
				}
				at = time.Time{}
			}
		}
		if at.IsZero() {
			continue
		}
		if at.After(end) {
			break
		}
		y.moveTo(at)
		y.work(life)
		heap.Fix(&y.due, life.index)
	}
	y.finish()
}

func (y *yearsOf) between(a, b time.Duration) time.Duration {
	return a + time.Duration(y.random.Int64N(int64(b-a)))
}

func (y *yearsOf) moveTo(at time.Time) {
	y.clock.Add(max(at.Sub(y.clock.Now()), time.Millisecond))
}

// ahead is how far the clock that is fastest is ahead.
func (y *yearsOf) ahead() time.Duration {
	return time.Duration(max(y.processes[0].ahead.Load(), y.processes[1].ahead.Load()))
}

// step sets a process's clock wrong by an hour, or right again.
func (y *yearsOf) step(p *process) {
	y.steps++
	switch {
	case p.ahead.Load() != 0:
		p.ahead.Store(0)
	case y.random.IntN(2) == 0:
		p.ahead.Store(int64(time.Hour))
	default:
		p.ahead.Store(-int64(time.Hour))
	}
}

// work lets one of the processes that find an application due work on it, or both.
func (y *yearsOf) work(life *lifeOf) {
	y.works++
	now := y.clock.Now()
	var at []*process
	for _, p := range y.processes {
		if !p.Now().Before(life.at) {
			at = append(at, p)
		}
	}
	if len(at) == 2 && y.random.IntN(20) != 0 {
		at = at[y.random.IntN(2):][:1]
	}
	next := make([]time.Time, len(at))
	errs := make([]error, len(at))
	if len(at) > 1 {
		y.both++
		var working sync.WaitGroup
		for i, p := range at {
			working.Go(func() { next[i], errs[i] = p.Work(context.Background(), life.object) })
		}
		working.Wait()
	} else if len(at) == 1 {
		next[0], errs[0] = at[0].Work(context.Background(), life.object)
	}
	doubtful := false
	life.at = time.Time{}
	for i, err := range errs {
		switch {
		case err == nil:
			if life.at.IsZero() || next[i].Before(life.at) {
				life.at = next[i]
			}
		case errors.Is(err, store.ErrLeased):
			y.leased++
		case errors.Is(err, store.ErrFenced):
			y.fenced++
			doubtful = true
		default:
			y.fault(life, err.Error())
		}
	}
	if life.at.IsZero() { // as the processes would, who look each minute at least
		life.at = now.Add(y.ahead() + time.Minute)
	}
	y.mu.Lock()
	a, changed := y.changed[life.object]
	delete(y.changed, life.object)
	y.mu.Unlock()
	if doubtful || len(at) > 1 || y.works%50 == 0 {
		fresh, err := y.processes[0].db.Application(context.Background(), y.processes[0].o.Tenant, life.object)
		if err != nil {
			y.fault(life, err.Error())
			return
		}
		if got, _ := fresh.Active(); got.ID != life.active.ID && !changed && !doubtful {
			y.fault(life, "another certificate is active, and nobody was told")
		}
		a, changed = fresh, true
	}
	if changed {
		active, ok := a.Active()
		if !ok {
			y.fault(life, "no credential is active")
			return
		}
		if active.ID != life.active.ID {
			y.replaced(life, active)
		}
	}
	if why := y.outage(life.subject, life.active); why != "" {
		y.fault(life, why)
	}
}

// replaced judges a renewal.
func (y *yearsOf) replaced(life *lifeOf, active credential.Credential) {
	now, old := y.clock.Now(), life.active
	// A process whose clock is an hour ahead is an hour early.
	if now.Before(old.RenewAt.Add(-time.Hour)) || now.After(old.Emergency()) {
		y.fault(life, fmt.Sprintf("%s was replaced at %v, outside of %v to %v", old.SHA1, now, old.RenewAt, old.Emergency()))
	}
	y.latest = max(y.latest, now.Sub(old.RenewAt))
	if life.rounds > 0 && old.RenewAt.Sub(old.Promoted) < old.RenewAt.Sub(old.NotBefore)/2 {
		y.hasty++
		if os.Getenv("TEST_LOG") != "" {
			fmt.Fprintf(os.Stderr, "app %d: %s was made %v, promoted %v, replaced %v\n%s", life.id, old.SHA1, old.Planned, old.Promoted, now, describe(y.processes[0].db, y.processes[0].o.Tenant, life.object, now))
		}
	}
	life.rounds++
	y.renewed = append(y.renewed, renewal{now, life.rounds, yearsLifetimes[life.id%len(yearsLifetimes)]})
	life.active = active
}

func (y *yearsOf) fault(life *lifeOf, why string) {
	y.wrong = append(y.wrong, fmt.Sprintf("app %d: %s\n%s", life.id, why, describe(y.processes[0].db, y.processes[0].o.Tenant, life.object, y.clock.Now())))
}

// finish ends what is under way, without faults, and looks at what is left.
func (y *yearsOf) finish() {
	for _, p := range y.processes {
		p.network.calm()
		p.ahead.Store(0)
	}
	// Longer than anything is tried again after.
	for end := y.clock.Now().Add(12 * time.Hour); y.due[0].at.Before(end) && len(y.wrong) < 20; {
		life := y.due[0]
		y.moveTo(life.at)
		y.work(life)
		heap.Fix(&y.due, life.index)
	}
	kept := map[string]bool{}
	ids, err := y.keys.List(context.Background())
	if err != nil {
		y.wrong = append(y.wrong, err.Error())
	}
	for _, id := range ids {
		kept[id] = true
	}
	for _, life := range y.lives {
		y.judge(life, kept)
	}
	for id := range kept {
		e, _ := y.keys.Get(context.Background(), id)
		if _, ours := y.lives[e.ObjectID]; ours {
			y.wrong = append(y.wrong, "the key "+id+" is in the store, and nobody knows it")
		}
	}
}

// judge looks for what is left over of one application, and takes the keys that it has
// from those in the store.
func (y *yearsOf) judge(life *lifeOf, kept map[string]bool) {
	db, number := y.processes[0].db, y.processes[0].o.Tenant
	a, err := db.Application(context.Background(), number, life.object)
	if err != nil {
		y.fault(life, err.Error())
		return
	}
	app, _ := y.tenant.Directory.View(0).Application(life.object)
	left := map[string]int{}
	for _, k := range app.KeyCredentials {
		left[string(k.Key)]++
	}
	for _, c := range a.Credentials {
		y.made++
		if c.State.HasKey() != kept[c.ID] {
			y.fault(life, fmt.Sprintf("%s is %s, and that its key is in the store is %v", c.ID, c.State, kept[c.ID]))
		}
		delete(kept, c.ID)
		if len(c.Certificate) == 0 {
			continue
		}
		n := left[string(c.Certificate[0])]
		want := slices.Contains([]credential.State{credential.Standby, credential.Active, credential.Draining, credential.Publishing, credential.Proving}, c.State)
		if n > 1 || want && n == 0 || n == 1 && !c.State.AtEntra() {
			y.fault(life, fmt.Sprintf("%s is %s, and is %d times at Entra ID", c.ID, c.State, n))
		}
		delete(left, string(c.Certificate[0]))
	}
	if len(left) != len(life.foreign) {
		y.fault(life, fmt.Sprintf("%d certificates at Entra ID are not known, of which %d are somebody else's", len(left), len(life.foreign)))
	}
	if _, ok := a.Standby(); !ok {
		coming := slices.ContainsFunc(a.Credentials, func(c credential.Credential) bool { return c.State.Coming() })
		if !coming {
			y.fault(life, "no standby waits, and none is on its way")
		}
	}
	n, err := db.CheckJournal(context.Background(), number, life.object)
	if err != nil {
		y.fault(life, err.Error())
	}
	y.entries += n
}

// agenda is the applications by when they are due.
type agenda []*lifeOf

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return cmp.Or(a[i].at.Compare(a[j].at), cmp.Compare(a[i].id, a[j].id)) < 0
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i]; a[i].index, a[j].index = i, j }
func (a *agenda) Push(x any) {
	life := x.(*lifeOf)
	life.index = len(*a)
	*a = append(*a, life)
}
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}
