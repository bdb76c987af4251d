package graph

import (
	"net/http"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

func (q *request) organization() entity {
	e := entity{
		"id": q.Directory.TenantID, "displayName": q.Directory.DisplayName, "deletedDateTime": nil,
		"countryLetterCode": "DE", "createdDateTime": nil, "onPremisesSyncEnabled": nil, "tenantType": "AAD",
		"verifiedDomains": []map[string]any{
			{"name": q.Directory.Domain, "isDefault": true, "isInitial": true, "type": "Managed", "capabilities": "Email, OfficeCommunicationsOnline"},
		},
	}
	if !q.caller.May(fullOrganization...) {
		for name := range e {
			if name != "id" && name != "displayName" && name != "verifiedDomains" {
				e[name] = nil
			}
		}
	}
	return e
}

func (q *request) listOrganization() (answer, *graphError) {
	return list(q, []entity{q.organization()}, entityID, itself)
}

func (q *request) getOrganization() (answer, *graphError) {
	if k := q.keys[0]; k.name != "id" || !strings.EqualFold(k.value, q.Directory.TenantID) {
		return answer{}, notFound(k.value)
	}
	return q.one(http.StatusOK, q.organization())
}

func (q *request) domain() entity {
	return entity{
		"id": q.Directory.Domain, "authenticationType": "Managed", "availabilityStatus": nil, "isAdminManaged": true,
		"isDefault": true, "isInitial": true, "isRoot": true, "isVerified": true,
		"supportedServices": []string{"Email", "OfficeCommunicationsOnline"},
	}
}

func (q *request) listDomains() (answer, *graphError) {
	return list(q, []entity{q.domain()}, entityID, itself)
}

func (q *request) getDomain() (answer, *graphError) {
	if k := q.keys[0]; k.name != "id" || !strings.EqualFold(k.value, q.Directory.Domain) {
		return answer{}, notFound(k.value)
	}
	return q.one(http.StatusOK, q.domain())
}

func userID(u *directory.User) string { return u.ID }

// renderUser returns what Graph writes of a person. Of the properties that come
// only when they are selected, those that the directory has are there when they
// are.
func (q *request) renderUser(u *directory.User) entity {
	given, surname, _ := strings.Cut(u.DisplayName, " ")
	e := entity{
		"id": u.ID, "displayName": u.DisplayName, "userPrincipalName": u.UserPrincipalName, "mail": optional(u.Mail),
		"businessPhones": []string{}, "givenName": given, "surname": surname, "jobTitle": nil, "mobilePhone": nil,
		"officeLocation": nil, "preferredLanguage": nil,
	}
	if len(q.query.selected) > 0 || q.query.filter != nil || q.query.order != "" {
		e["accountEnabled"], e["createdDateTime"], e["userType"], e["deletedDateTime"] = u.AccountEnabled, edmTime(u.CreatedDateTime), "Member", nil
	}
	return e
}

func (q *request) listUsers() (answer, *graphError) {
	a, err := list(q, q.view.Users(), userID, q.renderUser)
	if err == nil && len(q.query.selected) == 0 && (q.query.filter != nil || q.query.order != "") {
		if body, ok := a.body.(entity); ok {
			for _, e := range body["value"].([]entity) {
				for _, name := range []string{"accountEnabled", "createdDateTime", "userType", "deletedDateTime"} {
					delete(e, name)
				}
			}
		}
	}
	return a, err
}

func (q *request) getUser() (answer, *graphError) {
	u, ok := q.view.User(q.keys[0].value)
	var owners []string
	if ok {
		owners = []string{u.ID}
	}
	if err := q.allowed(owners); err != nil {
		return answer{}, err
	}
	if !ok || q.keys[0].name != "id" && q.keys[0].name != "userPrincipalName" {
		return answer{}, notFound(q.keys[0].value)
	}
	return q.one(http.StatusOK, q.renderUser(u))
}

func (q *request) getMe() (answer, *graphError) {
	u, ok := q.view.User(q.caller.ObjectID)
	if !ok {
		return answer{}, notFound(q.caller.ObjectID)
	}
	return q.one(http.StatusOK, q.renderUser(u))
}

// getUserinfo is the UserInfo endpoint of OpenID Connect.
func (q *request) getUserinfo() (answer, *graphError) {
	u, ok := q.view.User(q.caller.ObjectID)
	if !ok {
		return answer{}, notFound(q.caller.ObjectID)
	}
	given, family, _ := strings.Cut(u.DisplayName, " ")
	claims := map[string]any{"sub": u.ID, "name": u.DisplayName, "given_name": given, "family_name": family,
		"picture": q.Cloud.Hosts.Base(q.r, origin.Graph) + "/v1.0/me/photo/$value"}
	if u.Mail != nil {
		claims["email"] = *u.Mail
	}
	return answer{status: http.StatusOK, body: claims}, nil
}
