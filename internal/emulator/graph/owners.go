package graph

import (
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

const maxOwners = 100

// object returns a person, an application or a service principal with its type,
// as lists of several types have it.
func (q *request) object(id string) (entity, bool) {
	var e entity
	kind := ""
	if a, ok := q.view.Application(id); ok {
		e, kind = renderApplication(a, false), "application"
	} else if p, ok := q.view.ServicePrincipal(id); ok {
		e, kind = renderPrincipal(p, false), "servicePrincipal"
	} else if u, ok := q.view.User(id); ok && strings.EqualFold(u.ID, id) {
		e, kind = q.renderUser(u), "user"
	} else {
		return nil, false
	}
	e["@odata.type"] = "#microsoft.graph." + kind
	return e, true
}

// isActor reports whether the id is of a person or a service principal: only
// they own something or hold a directory role.
func (q *request) isActor(id string) bool {
	if _, ok := q.view.ServicePrincipal(id); ok {
		return true
	}
	u, ok := q.view.User(id)
	return ok && strings.EqualFold(u.ID, id)
}

func entityID(e entity) string {
	id, _ := e["id"].(string)
	return id
}

func itself(e entity) entity { return e }

// objects returns those of the ids that are there.
func (q *request) objects(ids []string) []entity {
	var all []entity
	for _, id := range ids {
		if e, ok := q.object(id); ok {
			all = append(all, e)
		}
	}
	return all
}

// withOwners adds the owners when $expand asks for them.
func (q *request) withOwners(e entity, owners []string) entity {
	if q.query.expand {
		e["owners"] = some(q.objects(owners))
	}
	return e
}

// owned finds the owners of the application or service principal of the path.
func (q *request) owned() ([]string, *graphError) {
	if q.onApplication() {
		a, err := q.application()
		if err != nil {
			return nil, err
		}
		return a.Owners, nil
	}
	p, err := q.principal()
	if err != nil {
		return nil, err
	}
	return p.Owners, nil
}

func (q *request) listOwners() (answer, *graphError) {
	ids, err := q.owned()
	if err != nil {
		return answer{}, err
	}
	return list(q, q.objects(ids), entityID, itself)
}

func (q *request) changeOwners(f func([]string) ([]string, *graphError)) *graphError {
	if q.onApplication() {
		return q.changeApplication(func(_ *directory.Update, a *directory.Application) (err *graphError) {
			a.Owners, err = f(a.Owners)
			return err
		})
	}
	return q.changePrincipal(func(_ *directory.Update, p *directory.ServicePrincipal) (err *graphError) {
		p.Owners, err = f(p.Owners)
		return err
	})
}

func (q *request) addOwner() (answer, *graphError) {
	id, err := q.reference()
	if err != nil {
		return answer{}, err
	}
	if !q.isActor(id) {
		return answer{}, notFound(id)
	}
	return noContent, q.changeOwners(func(owners []string) ([]string, *graphError) {
		switch {
		case slices.ContainsFunc(owners, func(o string) bool { return strings.EqualFold(o, id) }):
			return nil, alreadyReferenced("owners")
		case len(owners) >= maxOwners:
			return nil, refusal(403, "Directory_QuotaExceeded", "The object has %d owners, which is the most.", maxOwners) // [K]
		}
		return append(owners, id), nil
	})
}

func alreadyReferenced(link string) *graphError {
	return badRequest("One or more added object references already exist for the following modified properties: '%s'.", link)
}

func (q *request) removeOwner() (answer, *graphError) {
	id := q.keys[1].value
	return noContent, q.changeOwners(func(owners []string) ([]string, *graphError) {
		left := slices.DeleteFunc(owners, func(o string) bool { return strings.EqualFold(o, id) })
		if len(left) == len(owners) {
			return nil, notFound(id)
		}
		return left, nil
	})
}

// listOwnedObjects lists what a service principal owns, to itself as well: so
// an application that may read only what it owns finds out what that is.
func (q *request) listOwnedObjects() (answer, *graphError) {
	p, err := q.findPrincipal()
	if err != nil {
		return answer{}, err
	}
	if err := q.allowed(append(slices.Clone(ownersOf(q.view, p)), p.ID)); err != nil {
		return answer{}, err
	}
	var ids []string
	for _, a := range q.view.Applications() {
		if slices.Contains(a.Owners, p.ID) {
			ids = append(ids, a.ID)
		}
	}
	for _, other := range q.view.ServicePrincipals() {
		if slices.Contains(other.Owners, p.ID) {
			ids = append(ids, other.ID)
		}
	}
	return list(q, q.objects(ids), entityID, itself)
}

// getObject is /directoryObjects/{id}.
func (q *request) getObject() (answer, *graphError) {
	e, ok := q.object(q.keys[0].value)
	if !ok || q.keys[0].name != "id" {
		return answer{}, notFound(q.keys[0].value)
	}
	return q.one(200, e)
}

const maxIDs = 1000

// getByIDs leaves out ids that are not there, and types that were not asked for.
func (q *request) getByIDs() (answer, *graphError) {
	raw, err := q.read("ids", "types")
	if err != nil {
		return answer{}, err
	}
	var ids, types []string
	if !setList(&ids, raw["ids"]) || len(ids) == 0 || len(ids) > maxIDs {
		return answer{}, badValue("ids")
	}
	if t, ok := raw["types"]; ok && !setList(&types, t) {
		return answer{}, badValue("types")
	}
	slices.Sort(ids)
	value := []entity{}
	for _, e := range q.objects(slices.Compact(ids)) {
		kind := strings.TrimPrefix(e["@odata.type"].(string), "#microsoft.graph.")
		if len(types) == 0 || slices.Contains(types, kind) || slices.Contains(types, "directoryObject") {
			value = append(value, e)
		}
	}
	return answer{status: 200, body: entity{"@odata.context": q.context(false), "value": value}}, nil
}
