package registration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
)

// Removal is what has to be done to take away what reeve has made.
type Removal struct {
	Steps []RemovalStep
	// Stays is what is left as it is, and why.
	Stays []string
}

// RemovalStep takes one thing away.
type RemovalStep struct {
	What    string
	Request graph.Request

	made  []Made
	vault bool // it is not Graph's
	right right
}

// PlanRemoval plans to take away what the record says that reeve has made, as far as it is
// still there. The certificates of an application that reeve did not make are the
// autopilot's to take away.
func (s *Setup) PlanRemoval(ctx context.Context) (Removal, error) {
	r := s.Record
	if err := s.letSettle(ctx); err != nil {
		return Removal{}, err
	}
	app, ok, err := s.recorded(ctx)
	if err != nil {
		return Removal{}, err
	}
	var p Removal
	if err := s.planVaultRemoval(ctx, &p); err != nil { // while there is somebody who has it
		return Removal{}, err
	}
	if !ok {
		return Removal{Steps: p.Steps, Stays: append(p.Stays, "The application is not there any more, and all that it had at Entra ID went with it.")}, nil
	}
	switch {
	case r.owns(app):
		p.Steps = append(p.Steps, RemovalStep{
			What:    fmt.Sprintf("the application %s (client ID %s), with its service principal, permissions, certificates and roles; it goes to the recycle bin, from which it can be restored for 30 days", app.Name, app.ClientID),
			Request: graph.DeleteApplication(s.Cloud, app.ObjectID), made: slices.Clone(r.Made), right: mayRegister,
		})
		return p, nil
	case r.OwnApplication():
		return Removal{Stays: append(p.Stays, fmt.Sprintf("The application %s (client ID %s) stays: somebody else made it before reeve could, which was interrupted then.", app.Name, app.ClientID))}, nil
	}
	p.Stays = append(p.Stays, fmt.Sprintf("The application %s (client ID %s) was there before, and stays.", app.Name, app.ClientID))
	if r.PrincipalID == "" && r.find(Principal, "") != nil { // it was interrupted before its ID was kept
		principal, _, err := there(s.Graph.PrincipalByClientID(ctx, app.ClientID))
		if err != nil {
			return Removal{}, err
		}
		s.Record.PrincipalID = principal.ObjectID
	}
	for _, m := range slices.Backward(r.Made) {
		if err := s.planUndo(ctx, &p, app, m); err != nil {
			return Removal{}, err
		}
	}
	return p, nil
}

// letSettle waits until what was made last shows on every replica, since what does not
// show would be left behind.
func (s *Setup) letSettle(ctx context.Context) error {
	var last time.Time
	for _, m := range s.Record.Made {
		if m.At.After(last) {
			last = m.At
		}
	}
	left := time.Minute - s.Now().Sub(last)
	if left <= 0 || left > time.Minute {
		return nil
	}
	s.Say("waiting a minute at most, until all of Entra ID shows what was made a moment ago")
	return s.Sleep(ctx, left)
}

// recorded finds the application of the record.
func (s *Setup) recorded(ctx context.Context) (graph.Registration, bool, error) {
	if s.Record.ClientID == "" {
		return there(s.Graph.RegistrationByUniqueName(ctx, s.Record.UniqueName))
	}
	return there(s.Graph.RegistrationByClientID(ctx, s.Record.ClientID))
}

// planUndo adds what takes one thing away, if it is there.
func (s *Setup) planUndo(ctx context.Context, p *Removal, app graph.Registration, m Made) error {
	add := func(what string, r graph.Request) {
		needs := Step{Kind: m.Kind}.needs()
		p.Steps = append(p.Steps, RemovalStep{What: what, Request: r, made: []Made{m}, right: needs})
	}
	switch principal := s.Record.PrincipalID; m.Kind {
	case Granted:
		seen := Seen{APIs: map[string]graph.Principal{}}
		err := s.lookAtGrants(ctx, &seen, principal)
		if g := m.grant(seen); g != nil {
			add("the permission "+m.Key, graph.RevokeRole(s.Cloud, principal, g.ID))
		}
		return err
	case Role:
		all, _, err := there(s.Graph.DirectoryRoleGrants(ctx, principal))
		for _, g := range all {
			switch name := cmp.Or(m.Name, m.Key); {
			case g.RoleID != m.Key || g.Scope != "/":
			case m.Done && g.ID != m.ID: // of one whose answer was lost the ID is not known
				p.Stays = append(p.Stays, "The directory role "+name+" stays: the one that reeve gave is not there any more, and somebody else has given it again.")
			default:
				add("the directory role "+name, graph.RevokeDirectoryRole(s.Cloud, g.ID))
			}
		}
		return err
	case Owner:
		all, _, err := there(s.Graph.Owners(ctx, app.ObjectID))
		for _, o := range all {
			if o.ObjectID == m.Key {
				add("the owner "+o.Name, graph.RemoveOwner(s.Cloud, app.ObjectID, m.Key))
			}
		}
		return err
	case Required:
		if left, _ := merge(app.Required, m.Required, nil); !same(left, app.Required) {
			add("what reeve added to the permissions that it asks for", graph.SetRequired(s.Cloud, app.ObjectID, left))
		}
	case Principal:
		if principal != "" {
			add("the service principal", graph.DeletePrincipal(s.Cloud, principal))
		}
	case API:
		p.Stays = append(p.Stays, "The service principal of the API "+m.Key+" stays: other applications may use it by now.")
	}
	return nil
}

// Remove carries a removal out.
func (s *Setup) Remove(ctx context.Context, r Removal) error {
	for _, step := range r.Steps {
		if err := s.Save(ctx, s.Record, Event{"intent", "take away " + step.told()}); err != nil {
			return err
		}
		if err := s.remove(ctx, step); err != nil {
			return s.failed(ctx, "take away "+step.told(), err)
		}
		for _, m := range step.made {
			s.Record.forget(m.Kind, m.Key)
		}
		if err := s.Save(ctx, s.Record, Event{"done", "take away " + step.told()}); err != nil {
			return err
		}
	}
	return nil
}

// told is what goes, for the journal, in which nobody is named.
func (r RemovalStep) told() string {
	if len(r.made) == 1 && r.made[0].Kind == Owner {
		return "the owner " + r.made[0].Key
	}
	return r.What
}

// remove sends one request until Graph has done it, or what it is about is gone.
func (s *Setup) remove(ctx context.Context, step RemovalStep) error {
	end := s.Now().Add(patience)
	s.Say("taking away " + step.What)
	for {
		err := s.change(ctx, step.vault, step.Request, nil)
		if err == nil || errors.Is(err, m365.ErrNotFound) {
			return nil
		}
		v, why := judgeOf(step.vault, err)
		switch {
		case ctx.Err() != nil:
			return err
		case errors.Is(err, m365.ErrForbidden) && step.vault:
			return VaultForbidden("take away "+step.What, step.made[0].Kind == VaultRole, err)
		case errors.Is(err, m365.ErrForbidden):
			return &Refusal{Kind: ErrRole, Cause: "Entra ID does not let who has signed in take away " + step.told(), Who: step.right.who, Err: err,
				Remedy: "let somebody with the role sign in, and run the same command again"}
		case v != busy, s.Now().After(end):
			return fmt.Errorf("taking away %s: %w", step.What, err)
		}
		s.Say("  waiting, for " + patience.String() + " at most: " + why)
		if err := s.wait(ctx, v, 0, err); err != nil {
			return err
		}
	}
}
