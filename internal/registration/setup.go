package registration

import (
	"context"
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
	// Save keeps the record; what it returns without an error is on the disk.
	Save func(context.Context, Record) error
	Say  func(message string) // what is being done and waited for
	Now  func() time.Time
	// Sleep waits, or returns the context's error.
	Sleep func(context.Context, time.Duration) error
}

const (
	// patience is for how long a step is tried that Entra ID is not ready for: by
	// experience its replicas agree within half a minute.
	patience = 3 * time.Minute
	pause    = 5 * time.Second // Graph asks for that between two changes of one object
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
	s.Record.Feeds = s.Wanted.Feeds
	s.Record.Complete = time.Time{}
	if s.Wanted.ClientID == "" {
		s.Record.UniqueName = s.Wanted.UniqueName()
	}
	s.Record.Name = s.Wanted.Name
	if app := p.seen.Application; app != nil {
		s.Record.Name, s.Record.ClientID, s.Record.ObjectID = app.Name, app.ClientID, app.ObjectID
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
			made.ID = step.id
			return s.Save(ctx, s.Record)
		}
		return nil
	}
	m := Made{Kind: step.Kind, Key: step.Key, Required: step.added, By: s.Caller.Name, At: s.Now().UTC()}
	switch step.Kind {
	case VaultRole:
		m.ID = resources.AssignmentID(step.vault.ID, k.principal, step.role)
	case TakenBack:
		// What was granted stays recorded until it is gone.
		m = *s.Record.find(Granted, step.Key)
	}
	s.Record.put(m)
	if err := s.Save(ctx, s.Record); err != nil {
		return err
	}
	s.Say(step.do())
	id, err := s.try(ctx, step, k)
	if err != nil {
		return err
	}
	switch {
	case step.Kind == TakenBack:
		s.Record.forget(Granted, step.Key)
	case step.Kind == VaultRole && !strings.EqualFold(id, m.ID):
		s.Record.forget(step.Kind, step.Key) // somebody else has given it meanwhile
	default:
		m.ID, m.Done = id, true
		s.Record.put(m)
	}
	s.Record.ClientID, s.Record.ObjectID, s.Record.PrincipalID = known(k.client, unknownClient), known(k.object, unknownObject), known(k.principal, unknownPrincipal)
	return s.Save(ctx, s.Record)
}

func known(id, unknown string) string {
	if id == unknown {
		return ""
	}
	return id
}

// try sends a step's request until it is done, and returns Graph's ID of what it made. It
// gives up after a time, or when Graph refuses.
func (s *Setup) try(ctx context.Context, step Step, k *ids) (string, error) {
	end := s.Now().Add(patience)
	said := map[string]bool{}
	for {
		id, err := s.send(ctx, step, k)
		if err == nil {
			return id, nil
		}
		v, why := judgeOf(step.Kind.ofVault(), err)
		switch {
		case ctx.Err() != nil:
			return "", err
		case v == refused && step.Kind.ofVault() && errors.Is(err, m365.ErrForbidden):
			return "", VaultForbidden(step.do(), step.Kind == VaultRole, err)
		case v == refused && errors.Is(err, m365.ErrForbidden):
			return "", forbidden(step, err)
		case v == refused:
			return "", fmt.Errorf("to %s: %w", step.do(), err)
		case step.Kind == TakenBack && errors.Is(err, m365.ErrNotFound):
			return "", nil
		case v == exists:
			return s.find(ctx, step, k, end)
		case s.Now().After(end):
			return "", timeout(step, patience.String(), err)
		}
		if !said[why] {
			said[why] = true
			s.Say("  waiting, for " + patience.String() + " at most: " + why)
		}
		if err := s.Sleep(ctx, wait(err)); err != nil {
			return "", err
		}
	}
}

// wait is how long to wait after an error.
func wait(err error) time.Duration {
	var e *m365.Error
	if errors.As(err, &e) {
		return max(pause, min(e.RetryAfter, patience))
	}
	return pause
}

// send sends a step's request once, and takes the IDs out of the answer.
func (s *Setup) send(ctx context.Context, step Step, k *ids) (string, error) {
	r := step.request(s.Cloud, s.Wanted.UniqueName(), *k)
	var answer struct {
		ID       string `json:"id"`
		ClientID string `json:"appId"`
	}
	if err := s.change(ctx, step.Kind.ofVault(), r, &answer); err != nil {
		return "", err
	}
	switch {
	case step.Kind == VaultRole:
		return resources.AssignmentID(step.vault.ID, k.principal, step.role), nil
	case step.Kind == VaultPolicy, step.Kind == Required, step.Kind == Owner, step.Kind == TakenBack:
		return "", nil
	case answer.ID == "", step.Kind == Application && answer.ClientID == "", step.Kind == Restored: // it was there, or the answer is of a kind that varies
		return s.find(ctx, step, k, s.Now().Add(patience))
	}
	s.learn(step, k, answer.ID, answer.ClientID)
	return answer.ID, nil
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
	for {
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
		if err := s.Sleep(ctx, pause); err != nil {
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
	end := s.Now().Add(patience)
	for told := false; ; {
		p, err := s.Plan(ctx)
		if err != nil {
			if v, _ := judge(err); v == refused {
				return err
			}
		} else if p.Settled() {
			return nil
		}
		if s.Now().After(end) {
			return &Refusal{Kind: ErrNotThere, Cause: "what was set up is not shown by Entra ID " + patience.String() + " later",
				Remedy: "run the same command again in a few minutes: it looks, and does what is missing", Err: err}
		}
		if !told {
			told = true
			s.Say("  waiting, for " + patience.String() + " at most: not all of Entra ID shows it yet")
		}
		if err := s.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}
