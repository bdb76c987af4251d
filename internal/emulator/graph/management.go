package graph

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// loadPolicy reads a policy that the directory holds.
func loadPolicy(v directory.View, id string) (managementPolicy, bool) {
	stored, ok := v.ManagementPolicy(id)
	if !ok {
		return managementPolicy{}, false
	}
	var p managementPolicy
	if err := json.Unmarshal(stored.Definition, &p); err != nil {
		return managementPolicy{}, false
	}
	return p, true
}

// tenantPolicy is the tenant's own, which restricts nothing until it is changed.
func tenantPolicy(v directory.View) managementPolicy {
	if p, ok := loadPolicy(v, directory.DefaultPolicyID); ok {
		return p
	}
	name, description := "Default app management tenant policy", "Default tenant policy that enforces app management restrictions on applications and service principals."
	return managementPolicy{
		ID: directory.DefaultPolicyID, DisplayName: &name, Description: &description,
		ApplicationRestrictions:      &restrictions{Passwords: []restriction{}, Keys: []restriction{}},
		ServicePrincipalRestrictions: &restrictions{Passwords: []restriction{}, Keys: []restriction{}},
	}
}

func storePolicy(u *directory.Update, p managementPolicy) *graphError {
	definition, err := json.Marshal(p)
	if err != nil {
		return badRequest("The policy cannot be kept.")
	}
	u.PutManagementPolicy(&directory.ManagementPolicy{ID: p.ID, Definition: definition})
	return nil
}

func assignedPolicy(v directory.View, ids []string) *managementPolicy {
	for _, id := range ids {
		if p, ok := loadPolicy(v, id); ok {
			return &p
		}
	}
	return nil
}

func applicationRules(u *directory.Update, a *directory.Application) credentialRules {
	tenant := tenantPolicy(u.View)
	return rulesFor(tenant, tenant.ApplicationRestrictions, assignedPolicy(u.View, a.Policies))
}

func principalRules(u *directory.Update, p *directory.ServicePrincipal) credentialRules {
	tenant := tenantPolicy(u.View)
	return rulesFor(tenant, tenant.ServicePrincipalRestrictions, assignedPolicy(u.View, p.Policies))
}

func policyID(p managementPolicy) string { return p.ID }

func renderPolicy(p managementPolicy) entity {
	e := entity{
		"id": p.ID, "deletedDateTime": nil, "displayName": optional(p.DisplayName), "description": optional(p.Description), "isEnabled": p.IsEnabled,
	}
	if p.ID == directory.DefaultPolicyID {
		e["applicationRestrictions"], e["servicePrincipalRestrictions"] = optional(p.ApplicationRestrictions), optional(p.ServicePrincipalRestrictions)
	} else {
		e["restrictions"] = optional(p.Restrictions)
	}
	return e
}

func (q *request) getDefaultPolicy() (answer, *graphError) {
	return q.one(http.StatusOK, renderPolicy(tenantPolicy(q.view)))
}

func (q *request) patchDefaultPolicy() (answer, *graphError) {
	return noContent, q.update(directory.DefaultPolicyID, func(u *directory.Update) *graphError {
		p, err := patchTenantPolicy(tenantPolicy(u.View), q.body)
		if err != nil {
			return err
		}
		return storePolicy(u, p)
	})
}

func (q *request) listPolicies() (answer, *graphError) {
	var all []managementPolicy
	for _, stored := range q.view.ManagementPolicies() {
		if p, ok := loadPolicy(q.view, stored.ID); ok {
			all = append(all, p)
		}
	}
	return list(q, all, policyID, renderPolicy)
}

func (q *request) findPolicy(v directory.View) (managementPolicy, *graphError) {
	id := strings.ToLower(q.keys[0].value)
	p, ok := loadPolicy(v, id)
	if !ok || id == directory.DefaultPolicyID || strings.EqualFold(id, directory.AuthorizationPolicyID) {
		return p, notFound(id)
	}
	return p, q.allowed(nil)
}

func (q *request) getPolicy() (answer, *graphError) {
	p, err := q.findPolicy(q.view)
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderPolicy(p))
}

func (q *request) createPolicy() (answer, *graphError) {
	p, err := patchAppPolicy(managementPolicy{ID: uuid.NewString()}, q.body)
	if err != nil {
		return answer{}, err
	}
	err = q.update(p.ID, func(u *directory.Update) *graphError { return storePolicy(u, p) })
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusCreated, renderPolicy(p))
}

func (q *request) patchPolicy() (answer, *graphError) {
	seen, err := q.findPolicy(q.view)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.update(seen.ID, func(u *directory.Update) *graphError {
		before, err := q.findPolicy(u.View)
		if err != nil {
			return err
		}
		p, err := patchAppPolicy(before, q.body)
		if err != nil {
			return err
		}
		return storePolicy(u, p)
	})
}

// deletePolicy removes a policy, and with it its assignments.
func (q *request) deletePolicy() (answer, *graphError) {
	seen, err := q.findPolicy(q.view)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.update(seen.ID, func(u *directory.Update) *graphError {
		for _, a := range u.Applications() {
			if slices.Contains(a.Policies, seen.ID) {
				a = a.Clone()
				a.Policies = nil
				u.PutApplication(a)
			}
		}
		for _, p := range u.ServicePrincipals() {
			if slices.Contains(p.Policies, seen.ID) {
				p = p.Clone()
				p.Policies = nil
				u.PutServicePrincipal(p)
			}
		}
		u.RemoveManagementPolicy(seen.ID)
		return nil
	})
}

// listAppliesTo lists the objects to which a policy is assigned.
func (q *request) listAppliesTo() (answer, *graphError) {
	p, err := q.findPolicy(q.view)
	if err != nil {
		return answer{}, err
	}
	var ids []string
	for _, a := range q.view.Applications() {
		if slices.Contains(a.Policies, p.ID) {
			ids = append(ids, a.ID)
		}
	}
	for _, sp := range q.view.ServicePrincipals() {
		if slices.Contains(sp.Policies, p.ID) {
			ids = append(ids, sp.ID)
		}
	}
	return list(q, q.objects(ids), entityID, itself)
}

// policiesOf finds the policies of the path's application or service principal.
func (q *request) policiesOf() ([]string, *graphError) {
	if q.onApplication() {
		a, err := q.application()
		if err != nil {
			return nil, err
		}
		return a.Policies, nil
	}
	p, err := q.principal()
	if err != nil {
		return nil, err
	}
	return p.Policies, nil
}

func (q *request) listPoliciesOf() (answer, *graphError) {
	ids, err := q.policiesOf()
	if err != nil {
		return answer{}, err
	}
	var all []managementPolicy
	if p := assignedPolicy(q.view, ids); p != nil {
		all = append(all, *p)
	}
	return list(q, all, policyID, renderPolicy)
}

func (q *request) changePolicies(f func([]string) ([]string, *graphError)) *graphError {
	if q.onApplication() {
		return q.changeApplication(func(_ *directory.Update, a *directory.Application) (err *graphError) {
			a.Policies, err = f(a.Policies)
			return err
		})
	}
	return q.changePrincipal(func(_ *directory.Update, p *directory.ServicePrincipal) (err *graphError) {
		p.Policies, err = f(p.Policies)
		return err
	})
}

func (q *request) assignPolicy() (answer, *graphError) {
	id, err := q.reference()
	if err != nil {
		return answer{}, err
	}
	if _, ok := loadPolicy(q.view, id); !ok || id == directory.DefaultPolicyID {
		return answer{}, notFound(id)
	}
	return noContent, q.changePolicies(func(ids []string) ([]string, *graphError) {
		switch {
		case slices.Contains(ids, id):
			return nil, alreadyReferenced("appManagementPolicies")
		case len(ids) > 0:
			return nil, badRequest("An object can have one appManagementPolicy at most.")
		}
		return []string{id}, nil
	})
}

func (q *request) unassignPolicy() (answer, *graphError) {
	id := strings.ToLower(q.keys[1].value)
	return noContent, q.changePolicies(func(ids []string) ([]string, *graphError) {
		left := slices.DeleteFunc(ids, func(i string) bool { return i == id })
		if len(left) == len(ids) {
			return nil, notFound(id)
		}
		return left, nil
	})
}
