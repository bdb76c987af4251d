package registration

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/m365/resources"
	"github.com/reeve365/reeve/internal/permission"
)

// Seen is what there is at Entra ID of what is wanted.
type Seen struct {
	Application *graph.Registration // nil: there is none
	Namesakes   []graph.Registration
	Deleted     []graph.Registration // in the recycle bin, with the unique name or the name
	Principal   *graph.Principal
	APIs        map[string]graph.Principal // by client ID; those that are there
	Grants      []graph.RoleGrant
	Owners      []graph.Somebody
	Roles       []graph.DirectoryRoleGrant
	VaultRoles  []resources.Assignment
	Vault       resources.Vault // where access policies count
	Caller      Caller
}

// Caller is who has signed in to set up.
type Caller struct {
	Name     string
	ObjectID string
	TenantID string
	// Person is whether it is one; else a program that signs in as itself.
	Person bool
	// Known is whether Roles and Permissions are known.
	Known       bool
	Roles       []string // directory roles, by template ID
	Permissions []string // of Graph, delegated or its own
}

// ReadCaller takes out of a token for Graph who the caller is.
func ReadCaller(token string) Caller {
	_, claims, err := m365.Claims(token)
	if err != nil {
		return Caller{}
	}
	text := func(names ...string) string {
		for _, n := range names {
			if s, ok := claims[n].(string); ok && s != "" {
				return s
			}
		}
		return ""
	}
	list := func(name string) (all []string) {
		values, _ := claims[name].([]any)
		for _, v := range values {
			if s, ok := v.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	c := Caller{Name: text("upn", "unique_name", "app_displayname", "appid"), ObjectID: text("oid"), TenantID: text("tid"), Known: true,
		Roles: list("wids"), Permissions: append(strings.Fields(text("scp")), list("roles")...)}
	c.Person = text("scp") != ""
	return c
}

// Look reads what there is. Where Graph's replicas lag, it may be a little old.
func (s *Setup) Look(ctx context.Context) (Seen, error) {
	seen := Seen{APIs: map[string]graph.Principal{}, Caller: s.Caller}
	if err := s.lookForApplication(ctx, &seen); err != nil {
		return Seen{}, err
	}
	for _, u := range s.Wanted.Uses {
		if err := s.lookForAPI(ctx, &seen, u.API); err != nil {
			return Seen{}, err
		}
	}
	if seen.Application == nil {
		return seen, nil
	}
	if err := s.lookAround(ctx, &seen); err != nil {
		return Seen{}, err
	}
	return seen, nil
}

// lookForAPI reads the service principal of an API, unless that is known.
func (s *Setup) lookForAPI(ctx context.Context, seen *Seen, api permission.API) error {
	if _, ok := seen.APIs[api.AppID]; ok {
		return nil
	}
	p, ok, err := there(s.Graph.PrincipalByClientID(ctx, api.AppID))
	if ok {
		seen.APIs[api.AppID] = p
	}
	return err
}

// lookAtGrants reads the consent to permissions, and the APIs that it is for where that
// takes them to be understood: those of the feeds are known by then.
func (s *Setup) lookAtGrants(ctx context.Context, seen *Seen, principalID string) (err error) {
	if seen.Grants, _, err = there(s.Graph.RoleGrants(ctx, principalID)); err != nil {
		return err
	}
	for _, api := range permission.APIs() {
		known := func(g graph.RoleGrant) bool {
			for _, p := range seen.APIs {
				if p.ObjectID == g.APIID {
					return true
				}
			}
			return false
		}
		if !slices.ContainsFunc(seen.Grants, func(g graph.RoleGrant) bool { return !known(g) }) {
			return nil
		}
		if err := s.lookForAPI(ctx, seen, api); err != nil {
			return err
		}
	}
	return nil
}

// lookForApplication finds the application that is meant, and those that are in its way.
func (s *Setup) lookForApplication(ctx context.Context, seen *Seen) error {
	var app graph.Registration
	var ok bool
	var err error
	w := s.Wanted
	if w.ClientID != "" {
		app, ok, err = there(s.Graph.RegistrationByClientID(ctx, w.ClientID))
	} else {
		app, ok, err = there(s.Graph.RegistrationByUniqueName(ctx, w.UniqueName()))
	}
	if err != nil {
		return err
	}
	if ok {
		seen.Application = &app
		return nil
	}
	if w.ClientID == "" {
		named, err := s.Graph.RegistrationsNamed(ctx, w.Name)
		if err != nil {
			return err
		}
		for _, n := range named {
			if n.UniqueName == w.UniqueName() { // which a replica that lags did not show
				seen.Application = &n
				return nil
			}
			seen.Namesakes = append(seen.Namesakes, n)
		}
	}
	deleted, err := s.Graph.DeletedRegistrations(ctx)
	if err != nil {
		return err
	}
	for _, d := range deleted {
		if w.ClientID != "" && strings.EqualFold(d.ClientID, w.ClientID) ||
			w.ClientID == "" && (d.UniqueName == w.UniqueName() || strings.EqualFold(d.Name, w.Name)) {
			seen.Deleted = append(seen.Deleted, d)
		}
	}
	return nil
}

// lookAround reads what belongs to the application.
func (s *Setup) lookAround(ctx context.Context, seen *Seen) error {
	if s.Wanted.Owner.ObjectID != "" {
		owners, _, err := there(s.Graph.Owners(ctx, seen.Application.ObjectID))
		if err != nil {
			return err
		}
		seen.Owners = owners
	}
	p, ok, err := there(s.Graph.PrincipalByClientID(ctx, seen.Application.ClientID))
	if err != nil || !ok {
		return err
	}
	seen.Principal = &p
	if err := s.lookAtGrants(ctx, seen, p.ObjectID); err != nil {
		return err
	}
	if s.Wanted.Role.ID != "" {
		if seen.Roles, _, err = there(s.Graph.DirectoryRoleGrants(ctx, p.ObjectID)); err != nil {
			return err
		}
	}
	if s.Wanted.Vault != nil {
		return s.lookAtVault(ctx, seen)
	}
	return nil
}

// there tells what is not there apart from what could not be read.
func there[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, m365.ErrNotFound) {
		var none T
		return none, false, nil
	}
	return v, err == nil, err
}
