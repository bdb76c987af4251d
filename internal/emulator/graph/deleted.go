package graph

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// binLife is how long the recycle bin keeps an object.
const binLife = 30 * 24 * time.Hour

func (q *request) stillInBin(deleted *time.Time) bool {
	return deleted != nil && q.Cloud.Now().Sub(*deleted) < binLife
}

func (q *request) deletedApplications(v directory.View) []*directory.Application {
	return slices.DeleteFunc(v.DeletedApplications(), func(a *directory.Application) bool { return !q.stillInBin(a.DeletedDateTime) })
}

func (q *request) deletedPrincipals(v directory.View) []*directory.ServicePrincipal {
	return slices.DeleteFunc(v.DeletedServicePrincipals(), func(p *directory.ServicePrincipal) bool { return !q.stillInBin(p.DeletedDateTime) })
}

func (q *request) listDeletedApplications() (answer, *graphError) {
	return list(q, readable(q, q.deletedApplications(q.view), ownersOfApplication), applicationID, func(a *directory.Application) entity { return renderApplication(a, false) })
}

func (q *request) listDeletedPrincipals() (answer, *graphError) {
	all := readable(q, q.deletedPrincipals(q.view), func(p *directory.ServicePrincipal) []string { return p.Owners })
	return list(q, all, principalID, func(p *directory.ServicePrincipal) entity { return renderPrincipal(p, false) })
}

// findDeleted returns the object of the path that is in the recycle bin: one of
// both.
func (q *request) findDeleted(v directory.View) (*directory.Application, *directory.ServicePrincipal, *graphError) {
	id := q.keys[0].value
	for _, a := range q.deletedApplications(v) {
		if strings.EqualFold(a.ID, id) {
			return a, nil, q.allowed(a.Owners)
		}
	}
	for _, p := range q.deletedPrincipals(v) {
		if strings.EqualFold(p.ID, id) {
			return nil, p, q.allowed(p.Owners)
		}
	}
	return nil, nil, notFound(id)
}

func renderDeleted(a *directory.Application, p *directory.ServicePrincipal) entity {
	if a != nil {
		e := renderApplication(a, false)
		e["@odata.type"] = "#microsoft.graph.application"
		return e
	}
	e := renderPrincipal(p, false)
	e["@odata.type"] = "#microsoft.graph.servicePrincipal"
	return e
}

func (q *request) getDeleted() (answer, *graphError) {
	a, p, err := q.findDeleted(q.view)
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, renderDeleted(a, p))
}

// restore takes an object out of the recycle bin, an application together with
// the service principal that went with it.
func (q *request) restore() (answer, *graphError) {
	if len(q.body) > 0 {
		if _, err := q.read("autoReconcileProxyConflict", "newUserPrincipalName"); err != nil {
			return answer{}, err
		}
	}
	if _, _, err := q.findDeleted(q.view); err != nil {
		return answer{}, err
	}
	var restored entity
	err := q.update(q.keys[0].value, func(u *directory.Update) *graphError {
		a, p, err := q.findDeleted(u.View)
		if err != nil {
			return err
		}
		if a != nil {
			for _, other := range q.deletedPrincipals(u.View) {
				if other.AppID == a.AppID && other.DeletedDateTime.Equal(*a.DeletedDateTime) {
					p = other
				}
			}
			a = a.Clone()
			a.DeletedDateTime = nil
			u.PutApplication(a)
		}
		if p != nil {
			if _, taken := u.ServicePrincipalByAppID(p.AppID); taken {
				return duplicate("appId")
			}
			p = p.Clone()
			p.DeletedDateTime = nil
			u.PutServicePrincipal(p)
		}
		restored = renderDeleted(a, p)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, restored)
}

func (q *request) deleteForGood() (answer, *graphError) {
	if _, _, err := q.findDeleted(q.view); err != nil {
		return answer{}, err
	}
	return noContent, q.update(q.keys[0].value, func(u *directory.Update) *graphError {
		a, p, err := q.findDeleted(u.View)
		if err != nil {
			return err
		}
		if p != nil {
			u.RemoveServicePrincipal(p.ID)
			return nil
		}
		u.RemoveApplication(a.ID)
		for _, other := range u.DeletedServicePrincipals() {
			if other.AppID == a.AppID {
				u.RemoveServicePrincipal(other.ID)
			}
		}
		return nil
	})
}
