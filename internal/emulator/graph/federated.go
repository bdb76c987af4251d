package graph

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

const maxFederated = 20

var federatedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{2,119}$`)

func renderFederated(c directory.FederatedCredential) entity {
	return entity{
		"id": c.ID, "name": c.Name, "issuer": c.Issuer, "subject": c.Subject,
		"audiences": some(c.Audiences), "description": optional(c.Description),
	}
}

// federated returns the index of the credential that the path names by its id
// or its name.
func federated(all []directory.FederatedCredential, k key) int {
	return slices.IndexFunc(all, func(c directory.FederatedCredential) bool {
		// Names tell case apart, ids do not.
		return k.name == "id" && strings.EqualFold(c.ID, k.value) || (k.name == "id" || k.name == "name") && c.Name == k.value
	})
}

func (q *request) listFederated() (answer, *graphError) {
	a, err := q.application()
	if err != nil {
		return answer{}, err
	}
	return list(q, a.FederatedCredentials, func(c directory.FederatedCredential) string { return c.ID }, renderFederated)
}

func (q *request) getFederated() (answer, *graphError) {
	a, err := q.application()
	if err != nil {
		return answer{}, err
	}
	i := federated(a.FederatedCredentials, q.keys[1])
	if i < 0 {
		return answer{}, notFound(q.keys[1].value)
	}
	return q.one(http.StatusOK, renderFederated(a.FederatedCredentials[i]))
}

func (q *request) createFederated() (answer, *graphError) {
	members, err := federatedType.members(q.body, true)
	if err != nil {
		return answer{}, err
	}
	c := directory.FederatedCredential{ID: uuid.NewString()}
	err = q.changeApplication(func(_ *directory.Update, a *directory.Application) *graphError {
		if err := setFederated(&c, members); err != nil {
			return err
		}
		a.FederatedCredentials = append(a.FederatedCredentials, c)
		return checkFederated(a.FederatedCredentials)
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusCreated, renderFederated(c))
}

// patchFederated changes a credential, or creates it when the path names it and
// the client asks for that.
func (q *request) patchFederated() (answer, *graphError) {
	members, err := federatedType.members(q.body, false)
	if err != nil {
		return answer{}, err
	}
	k := q.keys[1]
	created := false
	var c directory.FederatedCredential
	err = q.changeApplication(func(_ *directory.Update, a *directory.Application) *graphError {
		i := federated(a.FederatedCredentials, k)
		switch {
		case i < 0 && k.name == "name" && q.createsMissing():
			created = true
			a.FederatedCredentials = append(a.FederatedCredentials, directory.FederatedCredential{ID: uuid.NewString(), Name: k.value})
			i = len(a.FederatedCredentials) - 1
		case i < 0:
			return notFound(k.value)
		}
		c = a.FederatedCredentials[i]
		if err := setFederated(&c, members); err != nil {
			return err
		}
		a.FederatedCredentials[i] = c
		return checkFederated(a.FederatedCredentials)
	})
	if err != nil || !created {
		return noContent, err
	}
	return q.one(http.StatusCreated, renderFederated(c))
}

func (q *request) deleteFederated() (answer, *graphError) {
	return noContent, q.changeApplication(func(_ *directory.Update, a *directory.Application) *graphError {
		i := federated(a.FederatedCredentials, q.keys[1])
		if i < 0 {
			return notFound(q.keys[1].value)
		}
		a.FederatedCredentials = slices.Delete(a.FederatedCredentials, i, i+1)
		return nil
	})
}

func setFederated(c *directory.FederatedCredential, members map[string]json.RawMessage) *graphError {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		raw, ok := members[name], true
		switch name {
		case "name":
			ok = json.Unmarshal(raw, &c.Name) == nil
		case "issuer":
			ok = json.Unmarshal(raw, &c.Issuer) == nil
		case "subject":
			c.Subject = ""
			ok = json.Unmarshal(raw, &c.Subject) == nil
		case "audiences":
			ok = setList(&c.Audiences, raw)
		case "description":
			ok = setOptional(&c.Description, raw)
		}
		if !ok {
			return badValue(name)
		}
	}
	return nil
}

// checkFederated checks the credentials of an application, the last change
// included.
func checkFederated(all []directory.FederatedCredential) *graphError {
	if len(all) > maxFederated {
		return badRequest("The application has %d federatedIdentityCredentials, which is the most.", maxFederated)
	}
	for i, c := range all {
		issuer, err := url.Parse(c.Issuer)
		switch {
		case !federatedName.MatchString(c.Name):
			return badValue("name")
		case err != nil || issuer.Scheme != "https" || issuer.Host == "" || len(c.Issuer) > 600:
			return badValue("issuer")
		case c.Subject == "" || len(c.Subject) > 600:
			return badValue("subject")
		case len(c.Audiences) != 1 || c.Audiences[0] == "" || len(c.Audiences[0]) > 600:
			return badValue("audiences")
		case c.Description != nil && len(*c.Description) > 600:
			return badValue("description")
		}
		for _, other := range all[:i] {
			if other.Name == c.Name {
				return duplicate("name")
			}
			if other.Issuer == c.Issuer && other.Subject == c.Subject {
				return badRequest("FederatedIdentityCredential with issuer and subject already exists on application.")
			}
		}
	}
	return nil
}
