package registration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/m365/resources"
)

// Setup carries out what is planned.
type Setup struct {
	Graph *graph.Client
	// Resources is needed for access to a Key Vault alone.
	Resources *resources.Client
	Cloud     m365.Cloud
	Wanted    Wanted
	Caller    Caller
	Record    Record
	// Save keeps the record, and what happened; what it returns without an error is on the
	// disk.
	Save func(context.Context, Record, ...Event) error
	Say  func(message string) // what is being done and waited for
	Now  func() time.Time
	// Sleep waits, or returns the context's error.
	Sleep func(context.Context, time.Duration) error

	undone time.Time // when something was changed last that was otherwise before
}

// calmLooks is how often in a row all has to show, when something was changed back a
// moment ago.
const calmLooks = 3

// Event is something for the journal of the application: who did it is [Setup.Caller].
type Event struct {
	Outcome string // as in the journal: intent, done, failed, seen
	Text    string
}

const (
	// patience is for how long a step is tried that Entra ID is not ready for: by
	// experience its replicas agree within half a minute.
	patience = 3 * time.Minute
	// lag is for how long it is taken for possible that a replica answers as things were
	// before: twice as long as by experience.
	lag   = time.Minute
	pause = 5 * time.Second // Graph asks for that between two changes of one object
)

// Plan looks, and plans.
func (s *Setup) Plan(ctx context.Context) (Plan, error) {
	seen, err := s.Look(ctx)
	if err != nil {
		return Plan{}, err
	}
	return MakePlan(s.Wanted, seen, s.Record), nil
}

// CarryOut does what the plan says. When it fails it can be planned and carried out again.
// What was done may not show everywhere yet: see [Setup.Confirm].
func (s *Setup) CarryOut(ctx context.Context, p Plan) error {
	if len(p.Refusals) > 0 {
		return p.Refusals[0]
	}
	k := p.seen.ids()
	s.begin(p)
	for _, step := range p.Steps {
		if err := s.carryOut(ctx, step, &k); err != nil {
			return err
		}
	}
	return nil
}

// Confirm looks until all that is wanted shows, and keeps that it did.
func (s *Setup) Confirm(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.Record.Complete = s.Now().UTC()
	return s.Save(ctx, s.Record)
}

// begin enters what is known from the start.
func (s *Setup) begin(p Plan) {
	s.Record.Feeds, s.Record.Optional = s.Wanted.Feeds, s.Wanted.Optional
	s.Record.Complete = time.Time{}
	if s.Wanted.ClientID == "" {
		s.Record.UniqueName = s.Wanted.UniqueName()
	}
	s.Record.Name = s.Wanted.Name // the unique name follows from it, whatever people call the application later
	if app := p.seen.Application; app != nil {
		s.Record.ClientID, s.Record.ObjectID = app.ClientID, app.ObjectID
		if s.Record.UniqueName == "" {
			s.Record.Name = app.Name
		}
	}
	if p.seen.Principal != nil {
		s.Record.PrincipalID = p.seen.Principal.ObjectID
	}
}

// carryOut does one step: its intent is kept before, its outcome after.
func (s *Setup) carryOut(ctx context.Context, step Step, k *ids) error {
	made := s.Record.find(step.Kind, step.Key)
	if step.There {
		if made != nil && !made.Done { // it was interrupted before its outcome was kept
			if made.Done = true; step.Kind == VaultRole && !strings.EqualFold(made.ID, step.id) {
				s.Record.forget(step.Kind, step.Key) // somebody else has given it
				return s.Save(ctx, s.Record)
			}
			if made.ID = step.id; step.Kind == Required {
				made.Required = step.added
			}
			return s.Save(ctx, s.Record, Event{"seen", step.told() + ": it was done before the interruption"})
		}
		return nil
	}
	m := Made{Kind: step.Kind, Key: step.Key, Required: step.added, By: s.Caller.Name, At: s.Now().UTC()}
	if step.Kind == Role {
		m.Name = step.name
	}
	switch step.Kind {
	case Application:
		if m.Mark = rand.Text()[:16]; made != nil && made.Mark != "" {
			m.Mark = made.Mark // it may be there by now
		}
		if made != nil { // and be there with what it was made with, where a replica does not show it yet
			m.Required = slices.Compact(slices.Sorted(slices.Values(slices.Concat(made.Required, step.added))))
		}
		step.mark = m.Mark
	case VaultRole:
		m.ID = resources.AssignmentID(step.vault.ID, k.principal, step.role)
	case TakenBack:
		// What was granted stays recorded until it is gone.
		m = *s.Record.find(Granted, step.Key)
	}
	intent := m
	if step.Kind == Required { // what it declared before is reeve's until it is seen to be gone
		intent.Required = slices.Compact(slices.Sorted(slices.Values(slices.Concat(step.declared, step.added))))
	}
	s.Record.put(intent)
	if err := s.Save(ctx, s.Record, Event{"intent", step.told() + ": " + step.Why}); err != nil {
		return err
	}
	s.Say(step.do())
	id, ours, err := s.try(ctx, step, k, made != nil)
	if err != nil {
		if !ours {
			s.Record.forget(step.Kind, step.Key)
		}
		return s.failed(ctx, step.told(), err)
	}
	if step.Kind == TakenBack || step.Kind == Required {
		s.undone = s.Now()
	}
	happened := Event{"done", step.told()}
	switch {
	case step.Kind == TakenBack:
		s.Record.forget(Granted, step.Key)
	case !ours && (step.Kind == Application || step.Kind == API || !s.Record.OwnApplication()),
		step.Kind == VaultRole && !strings.EqualFold(id, m.ID):
		s.Record.forget(step.Kind, step.Key)
		happened = Event{"seen", step.told() + ": somebody else did it at the same time"}
	default:
		m.ID, m.Done = id, true
		s.Record.put(m)
	}
	s.Record.ClientID, s.Record.ObjectID, s.Record.PrincipalID = known(k.client, unknownClient), known(k.object, unknownObject), known(k.principal, unknownPrincipal)
	if err := s.Save(ctx, s.Record, happened); err != nil {
		return err
	}
	if !ours && step.Kind == Application {
		return taken(graph.Registration{Name: step.name, ClientID: k.client})
	}
	return nil
}

// failed keeps what failed. A run that was interrupted keeps nothing: whether it was done
// is seen by the next one.
func (s *Setup) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if saveErr := s.Save(ctx, s.Record, Event{"failed", what + ": " + err.Error()}); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	return err
}

func known(id, unknown string) string {
	if id == unknown {
		return ""
	}
	return id
}

// try sends a step's request until it is done, and returns Graph's ID of what it made, or
// of what was there. ours is whether a request of reeve's can have made it: again is
// whether one was sent before. It gives up after a time, or when Graph refuses.
func (s *Setup) try(ctx context.Context, step Step, k *ids, again bool) (id string, ours bool, err error) {
	end := s.Now().Add(patience)
	var missing time.Time // since when Graph says that there is nothing to take away
	said := map[string]bool{}
	for n := 0; ; n++ {
		id, existed, err := s.send(ctx, step, k)
		if err == nil {
			return id, again || !existed, nil
		}
		v, why := judgeOf(step.Kind.ofVault(), err)
		again = again || ctx.Err() != nil || v != exists && !wasRefused(err)
		switch {
		case ctx.Err() != nil:
			return "", again, err
		case v == refused && step.Kind.ofVault() && errors.Is(err, m365.ErrForbidden):
			return "", again, VaultForbidden(step.do(), step.Kind == VaultRole, err)
		case v == refused && errors.Is(err, m365.ErrForbidden):
			return "", again, forbidden(step, err)
		case v == refused:
			return "", again, fmt.Errorf("to %s: %w", step.do(), err)
		case step.Kind == TakenBack && errors.Is(err, m365.ErrNotFound):
			// It is gone, or a replica does not know of it yet, that it was granted.
			if missing.IsZero() {
				missing = s.Now()
			}
			if s.Now().Sub(missing) >= lag {
				return "", again, nil
			}
			v, why = early, "Entra ID says that it is not there, and not all of it may know it yet"
		case v == exists:
			id, err := s.find(ctx, step, k, end)
			return id, again, err
		case s.Now().After(end):
			return "", again, timeout(step, patience.String(), err)
		}
		if !said[why] {
			said[why] = true
			s.Say("  waiting, for " + patience.String() + " at most: " + why)
		}
		if err := s.wait(ctx, v, n, err); err != nil {
			return "", again, err
		}
	}
}

// wasRefused reports whether it is certain that a request did nothing.
func wasRefused(err error) bool {
	var e *m365.Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500
}

// wait waits after the n-th error. What is only not known everywhere yet is known to some
// of Graph's replicas, and another one answers each time: it is asked each second for as
// long as they differ by experience. All that comes later waits for it, and consent most of
// all, which takes minutes to have effect. Nobody is asked sooner than they say.
func (s *Setup) wait(ctx context.Context, v verdict, n int, err error) error {
	d := pause
	if v == early && n < 30 {
		d = time.Second
	}
	told := retryAfter(err)
	if told > patience {
		return tooBusy(told, s.Now(), err)
	}
	return s.Sleep(ctx, max(d, told))
}

// retryAfter is how long a service asked to be left alone.
func retryAfter(err error) time.Duration {
	var answer *m365.Error
	var signIn *m365.SignInError
	switch {
	case errors.As(err, &answer):
		return answer.RetryAfter
	case errors.As(err, &signIn):
		return signIn.RetryAfter
	}
	return 0
}

// send sends a step's request once, and takes the IDs out of the answer. existed is
// whether what it was to make was there.
func (s *Setup) send(ctx context.Context, step Step, k *ids) (id string, existed bool, err error) {
	r := step.request(s.Cloud, s.Wanted.UniqueName(), *k)
	var answer struct {
		ID       string `json:"id"`
		ClientID string `json:"appId"`
	}
	if err := s.change(ctx, step.Kind.ofVault(), r, &answer); err != nil {
		return "", false, err
	}
	switch {
	case step.Kind == VaultRole:
		return resources.AssignmentID(step.vault.ID, k.principal, step.role), false, nil
	case step.Kind == VaultPolicy, step.Kind == Required, step.Kind == Owner, step.Kind == TakenBack:
		return "", false, nil
	case answer.ID == "", step.Kind == Application && answer.ClientID == "", step.Kind == Restored: // it was there, or the answer is of a kind that varies
		id, err := s.find(ctx, step, k, s.Now().Add(patience))
		return id, answer.ID == "" && step.Kind != Restored, err
	}
	s.learn(step, k, answer.ID, answer.ClientID)
	return answer.ID, false, nil
}

// learn takes in the IDs of what a step made.
func (s *Setup) learn(step Step, k *ids, id, clientID string) {
	switch step.Kind {
	case Application, Restored:
		k.object, k.client = id, clientID
	case Principal:
		k.principal = id
	case API:
		k.apis[step.api] = id
	}
}

// find looks until what a step made, or was made before it, shows, and returns its ID.
func (s *Setup) find(ctx context.Context, step Step, k *ids, end time.Time) (string, error) {
	for n := 0; ; n++ {
		id, ok, err := s.look(ctx, step, k)
		if err == nil && ok {
			return id, nil
		}
		if err != nil {
			if v, _ := judgeOf(step.Kind.ofVault(), err); v == refused || ctx.Err() != nil {
				return "", err
			}
		}
		if s.Now().After(end) {
			return "", timeout(step, patience.String(), err)
		}
		if err := s.wait(ctx, early, n, err); err != nil {
			return "", err
		}
	}
}

// look looks once for what a step makes.
func (s *Setup) look(ctx context.Context, step Step, k *ids) (string, bool, error) {
	switch step.Kind {
	case Application, Restored:
		app, ok, err := there(s.Graph.RegistrationByUniqueName(ctx, s.Wanted.UniqueName()))
		if ok {
			s.learn(step, k, app.ObjectID, app.ClientID)
		}
		return app.ObjectID, ok, err
	case Principal, API:
		client := k.client
		if step.Kind == API {
			client = step.api
		}
		p, ok, err := there(s.Graph.PrincipalByClientID(ctx, client))
		if ok {
			s.learn(step, k, p.ObjectID, p.ClientID)
		}
		return p.ObjectID, ok, err
	case Granted:
		all, _, err := there(s.Graph.RoleGrants(ctx, k.principal))
		i := slices.IndexFunc(all, func(g graph.RoleGrant) bool {
			return g.APIID == k.apis[step.api] && strings.EqualFold(g.RoleID, step.roleID)
		})
		if err != nil || i < 0 {
			return "", false, err
		}
		return all[i].ID, true, nil
	case Role:
		all, _, err := there(s.Graph.DirectoryRoleGrants(ctx, k.principal))
		i := slices.IndexFunc(all, func(g graph.DirectoryRoleGrant) bool { return g.RoleID == step.Key && g.Scope == "/" })
		if err != nil || i < 0 {
			return "", false, err
		}
		return all[i].ID, true, nil
	case VaultRole, VaultPolicy:
		return s.lookForAccess(ctx, step, k)
	}
	return "", true, nil // of the others Graph's word is enough
}

// settle looks until nothing of the plan is left.
func (s *Setup) settle(ctx context.Context) error {
	began := s.Now()
	redone, told := began, false
	for n := 0; ; {
		looks := 1
		if s.Now().Sub(s.undone) < lag {
			looks = calmLooks // one may come from a replica that shows what was wanted before
		}
		p, err := s.Plan(ctx)
		switch {
		case err != nil:
			if v, _ := judge(err); v == refused {
				return err
			}
		case !p.Settled():
			n = 0
		case n+1 == looks:
			return nil
		default:
			n++
		}
		now := s.Now()
		if now.After(began.Add(patience)) {
			return &Refusal{Kind: ErrNotThere, Cause: "what was set up is not shown by Entra ID " + patience.String() + " later",
				Remedy: "run the same command again in a few minutes: it looks, and does what is missing", Err: err}
		}
		// What is missing for so long was not seen to be missing when it was planned.
		if err == nil && !p.Settled() && len(p.Refusals) == 0 && now.Sub(redone) >= lag {
			redone = now
			if err := s.CarryOut(ctx, p); err != nil {
				return err
			}
			continue
		}
		if !told {
			told = true
			s.Say("  waiting, for " + patience.String() + " at most: not all of Entra ID shows it yet")
		}
		if err := s.wait(ctx, busy, 0, err); err != nil {
			return err
		}
	}
}
