package graph

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

func principalID(p *directory.ServicePrincipal) string { return p.ID }

// renderPrincipal returns a service principal as Graph writes it; the
// certificates themselves are there withKey alone.
func renderPrincipal(p *directory.ServicePrincipal, withKey bool) entity {
	e := entity{
		"addIns": []any{}, "appDescription": nil, "applicationTemplateId": nil, "createdByAppId": nil, "description": nil,
		"disabledByMicrosoftStatus": nil, "homepage": nil,
		"info":       map[string]any{"logoUrl": nil, "marketingUrl": nil, "privacyStatementUrl": nil, "supportUrl": nil, "termsOfServiceUrl": nil},
		"isDisabled": nil, "loginUrl": nil, "logoutUrl": nil, "notes": nil, "notificationEmailAddresses": []any{},
		"preferredSingleSignOnMode": nil, "preferredTokenSigningKeyThumbprint": nil,
		"resourceSpecificApplicationPermissions": []any{}, "samlSingleSignOnSettings": nil, "tokenEncryptionKeyId": nil,
		"verifiedPublisher": map[string]any{"addedDateTime": nil, "displayName": nil, "verifiedPublisherId": nil},

		"id": p.ID, "deletedDateTime": optionalTime(p.DeletedDateTime), "appId": p.AppID, "createdDateTime": edmTime(p.CreatedDateTime),
		"displayName": p.DisplayName, "appDisplayName": p.AppDisplayName, "appOwnerOrganizationId": nil,
		"accountEnabled": p.AccountEnabled, "appRoleAssignmentRequired": p.AppRoleAssignmentRequired,
		"servicePrincipalType": p.ServicePrincipalType, "signInAudience": p.SignInAudience,
		"servicePrincipalNames": some(p.ServicePrincipalNames), "alternativeNames": some(p.AlternativeNames),
		"replyUrls": some(p.ReplyURLs), "tags": some(p.Tags), "appRoles": some(p.AppRoles),
		"oauth2PermissionScopes": some(p.OAuth2PermissionScopes),
		"keyCredentials":         renderKeyCredentials(p.KeyCredentials, withKey),
		"passwordCredentials":    renderPasswordCredentials(p.PasswordCredentials),
	}
	if p.AppOwnerOrganizationID != "" {
		e["appOwnerOrganizationId"] = p.AppOwnerOrganizationID
	}
	keep(e, p.Kept)
	return e
}

// principal finds the service principal that the path names, as application
// does.
func (q *request) principal() (*directory.ServicePrincipal, *graphError) {
	p, err := q.findPrincipal()
	if err != nil {
		return nil, err
	}
	return p, q.allowed(ownersOf(q.view, p))
}

// findPrincipal is principal for whoever asks.
func (q *request) findPrincipal() (*directory.ServicePrincipal, *graphError) {
	k := q.keys[0]
	var p *directory.ServicePrincipal
	ok := false
	switch k.name {
	case "id":
		p, ok = q.view.ServicePrincipal(k.value)
	case "appId":
		p, ok = q.view.ServicePrincipalByAppID(k.value)
	default:
		return nil, badRequest("The key property '%s' is not one of servicePrincipals.", k.name)
	}
	if !ok {
		return nil, notFound(k.value)
	}
	return p, nil
}

// ownersOf returns who owns a service principal: its own owners, and those of
// its application.
func ownersOf(v directory.View, p *directory.ServicePrincipal) []string {
	if a, ok := v.ApplicationByAppID(p.AppID); ok {
		return slices.Concat(p.Owners, a.Owners)
	}
	return p.Owners
}

func (q *request) listPrincipals() (answer, *graphError) {
	all := readable(q, q.view.ServicePrincipals(), func(p *directory.ServicePrincipal) []string { return ownersOf(q.view, p) })
	return list(q, all, principalID, func(p *directory.ServicePrincipal) entity {
		return q.withOwners(renderPrincipal(p, false), p.Owners)
	})
}

func (q *request) getPrincipal() (answer, *graphError) {
	p, err := q.principal()
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, q.withOwners(renderPrincipal(p, q.selects("keyCredentials")), p.Owners))
}

func (q *request) getPrincipalProperty() (answer, *graphError) {
	p, err := q.principal()
	if err != nil {
		return answer{}, err
	}
	return q.property(renderPrincipal(p, false), q.keys[1].value)
}

// createPrincipal makes the service principal of an application of this tenant.
// A replica that does not have the application yet knows nothing of it.
func (q *request) createPrincipal() (answer, *graphError) {
	if err := q.mayProvide(); err != nil {
		return answer{}, err
	}
	return q.makePrincipal("")
}

// makePrincipal creates a service principal from the body; appID is given when
// the path names it.
func (q *request) makePrincipal(appID string) (answer, *graphError) {
	members, err := servicePrincipalType.members(q.body, true)
	if err != nil {
		return answer{}, err
	}
	if raw, ok := members["appId"]; ok && (json.Unmarshal(raw, &appID) != nil || !origin.IsGUID(appID)) {
		return answer{}, badValue("appId")
	}
	if appID == "" {
		return answer{}, badRequest("A value is required for property 'appId' of resource 'ServicePrincipal'.")
	}
	delete(members, "appId")
	if _, ok := q.view.ApplicationByAppID(appID); !ok {
		return answer{}, noBackingApplication(appID)
	}
	id := uuid.NewString()
	var p *directory.ServicePrincipal
	err = q.update(id, func(u *directory.Update) *graphError {
		a, ok := u.ApplicationByAppID(appID)
		if !ok {
			return noBackingApplication(appID)
		}
		if err := q.allowedToCreateFor(a); err != nil {
			return err
		}
		p = q.Directory.PrincipalFor(a, id)
		p.CreatedDateTime = q.now()
		p.Kept = map[string]json.RawMessage{}
		if q.caller.App() && !q.caller.May(writeApplications.permissions...) {
			p.Owners = []string{q.caller.ObjectID}
		}
		if _, taken := u.ServicePrincipalByAppID(appID); taken {
			err := duplicate("appId")
			err.Message = "The service principal cannot be created, updated, or restored because the service principal name " + appID + " is already in use."
			return err
		}
		if err := q.setPrincipal(u, p, members); err != nil {
			return err
		}
		u.PutServicePrincipal(p)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusCreated, renderPrincipal(p, false))
}

func noBackingApplication(appID string) *graphError {
	return &graphError{
		Status: http.StatusBadRequest, Code: "Request_BadRequest",
		Message: "When using this permission, the backing application of the service principal being created must in the local tenant",
		Details: []errorDetail{{Code: "NoBackingApplicationObject", Target: "appId", Message: "The appId '" + appID + "' of the service principal does not reference a valid application object."}},
	}
}

// allowedToCreateFor keeps callers that may only write what they own, and people
// who are no administrators, to applications that they own.
func (q *request) allowedToCreateFor(a *directory.Application) *graphError {
	if slices.Contains(a.Owners, q.caller.ObjectID) {
		return nil
	}
	if q.caller.May(writeApplications.permissions...) && (q.caller.App() || q.isAdmin(applicationAdmins)) {
		return nil
	}
	return denied()
}

func (q *request) changePrincipal(f func(*directory.Update, *directory.ServicePrincipal) *graphError) *graphError {
	seen, err := q.principal()
	if err != nil {
		return err
	}
	return q.update(seen.ID, func(u *directory.Update) *graphError {
		before, ok := u.ServicePrincipal(seen.ID)
		if !ok {
			return notFound(seen.ID)
		}
		if err := q.allowed(ownersOf(u.View, before)); err != nil {
			return err
		}
		p := before.Clone()
		if err := f(u, p); err != nil {
			return err
		}
		u.PutServicePrincipal(p)
		return nil
	})
}

func (q *request) patchPrincipal() (answer, *graphError) {
	members, err := servicePrincipalType.members(q.body, false)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.changePrincipal(func(u *directory.Update, p *directory.ServicePrincipal) *graphError {
		return q.setPrincipal(u, p, members)
	})
}

// setPrincipal sets the members of a body on p, a clone.
func (q *request) setPrincipal(u *directory.Update, p *directory.ServicePrincipal, members map[string]json.RawMessage) *graphError {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		raw := members[name]
		ok := true
		switch name {
		case "displayName":
			p.DisplayName = "" // which null leaves as it is
			ok = json.Unmarshal(raw, &p.DisplayName) == nil && p.DisplayName != "" && utf8.RuneCountInString(p.DisplayName) <= 256
		case "accountEnabled":
			ok = string(raw) != "null" && json.Unmarshal(raw, &p.AccountEnabled) == nil
		case "appRoleAssignmentRequired":
			ok = json.Unmarshal(raw, &p.AppRoleAssignmentRequired) == nil
		case "servicePrincipalType":
			kind := ""
			ok = json.Unmarshal(raw, &kind) == nil && kind == p.ServicePrincipalType
		case "servicePrincipalNames":
			ok = setList(&p.ServicePrincipalNames, raw)
			if ok && !slices.ContainsFunc(p.ServicePrincipalNames, func(s string) bool { return strings.EqualFold(s, p.AppID) }) {
				p.ServicePrincipalNames = append(p.ServicePrincipalNames, p.AppID)
			}
		case "alternativeNames":
			ok = setList(&p.AlternativeNames, raw)
		case "replyUrls":
			ok = setList(&p.ReplyURLs, raw)
		case "tags":
			ok = setList(&p.Tags, raw)
		case "keyCredentials":
			wanted, err := parseKeyInputs(raw)
			if err != nil {
				return err
			}
			keys, err := replaceKeyCredentials(p.KeyCredentials, wanted, q.now())
			if err != nil {
				return err
			}
			if err := principalRules(u, p).checkNewKeys(p.KeyCredentials, keys, p.CreatedDateTime); err != nil {
				return err
			}
			p.KeyCredentials = keys
		case "passwordCredentials":
			passwords, err := replacePasswordCredentials(p.PasswordCredentials, raw)
			if err != nil {
				return err
			}
			p.PasswordCredentials = passwords
		default:
			if p.Kept == nil {
				p.Kept = map[string]json.RawMessage{}
			}
			p.Kept[name] = slices.Clone(raw)
		}
		if !ok {
			return badValue(name)
		}
	}
	return nil
}

func (q *request) deletePrincipal() (answer, *graphError) {
	now := q.now()
	return noContent, q.changePrincipal(func(_ *directory.Update, p *directory.ServicePrincipal) *graphError {
		p.DeletedDateTime = &now
		return nil
	})
}
