package graph

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

func applicationID(a *directory.Application) string { return a.ID }

func ownersOfApplication(a *directory.Application) []string { return a.Owners }

// renderApplication returns an application as Graph writes it; the certificates
// themselves are there withKey alone.
func renderApplication(a *directory.Application, withKey bool) entity {
	e := entity{
		"addIns": []any{}, "applicationTemplateId": nil, "authenticationBehaviors": nil, "certification": nil,
		"createdByAppId": nil, "defaultRedirectUri": nil, "groupMembershipClaims": nil,
		"info":                      map[string]any{"logoUrl": nil, "marketingUrl": nil, "privacyStatementUrl": nil, "supportUrl": nil, "termsOfServiceUrl": nil},
		"isDeviceOnlyAuthSupported": nil, "managerApplications": []any{}, "nativeAuthenticationApisEnabled": nil,
		"oauth2RequirePostResponse": false, "optionalClaims": nil,
		"parentalControlSettings":      map[string]any{"countriesBlockedForMinors": []any{}, "legalAgeGroupRule": "Allow"},
		"requestSignatureVerification": nil, "samlMetadataUrl": nil, "serviceManagementReference": nil,
		"servicePrincipalLockConfiguration": nil, "tokenEncryptionKeyId": nil,
		"verifiedPublisher": map[string]any{"addedDateTime": nil, "displayName": nil, "verifiedPublisherId": nil},

		"id": a.ID, "deletedDateTime": optionalTime(a.DeletedDateTime), "appId": a.AppID,
		"createdDateTime": edmTime(a.CreatedDateTime), "displayName": a.DisplayName,
		"description": optional(a.Description), "notes": optional(a.Notes), "uniqueName": optional(a.UniqueName),
		"publisherDomain": a.PublisherDomain, "signInAudience": a.SignInAudience, "isDisabled": a.IsDisabled,
		"disabledByMicrosoftStatus": optional(a.DisabledByMicrosoftStatus),
		"identifierUris":            some(a.IdentifierURIs), "isFallbackPublicClient": optional(a.IsFallbackPublicClient),
		"tags": some(a.Tags), "appRoles": some(a.AppRoles),
		"api": map[string]any{
			"acceptMappedClaims": optional(a.API.AcceptMappedClaims), "knownClientApplications": some(a.API.KnownClientApplications),
			"oauth2PermissionScopes": some(a.API.OAuth2PermissionScopes), "preAuthorizedApplications": some(a.API.PreAuthorizedApplications),
			"requestedAccessTokenVersion": optional(a.API.RequestedAccessTokenVersion),
		},
		"web": map[string]any{
			"homePageUrl": optional(a.Web.HomePageURL), "logoutUrl": optional(a.Web.LogoutURL), "redirectUris": some(a.Web.RedirectURIs),
			"redirectUriSettings": some(a.Web.RedirectURISettings), "implicitGrantSettings": a.Web.ImplicitGrantSettings,
		},
		"spa":                    map[string]any{"redirectUris": some(a.SPA.RedirectURIs)},
		"publicClient":           map[string]any{"redirectUris": some(a.PublicClient.RedirectURIs)},
		"keyCredentials":         renderKeyCredentials(a.KeyCredentials, withKey),
		"passwordCredentials":    renderPasswordCredentials(a.PasswordCredentials),
		"requiredResourceAccess": some(a.RequiredResourceAccess),
	}
	keep(e, a.Kept)
	return e
}

// keep adds members that the directory only keeps.
func keep(e entity, kept map[string]json.RawMessage) {
	for name, raw := range kept {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			e[name] = v
		}
	}
}

// some is a list that is never null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func optional[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

func optionalTime(t *time.Time) any {
	if t == nil {
		return nil
	}
	return edmTime(*t)
}

// key is how a path names an object: by its object ID, or by an alternate key.
type key struct{ name, value string }

// onApplication reports whether the path names an application, and not a service
// principal, on operations that both have.
func (q *request) onApplication() bool { return strings.HasPrefix(q.route.path, "/applications") }

// application finds the application that the path names, as the request's
// replica has it, and refuses a caller who may not.
func (q *request) application() (*directory.Application, *graphError) {
	k := q.keys[0]
	var a *directory.Application
	ok := false
	switch k.name {
	case "id":
		a, ok = q.view.Application(k.value)
	case "appId":
		a, ok = q.view.ApplicationByAppID(k.value)
	case "uniqueName":
		a, ok = byUniqueName(q.view, k.value)
	default:
		return nil, badRequest("The key property '%s' is not one of applications.", k.name)
	}
	if !ok {
		return nil, notFound(k.value)
	}
	return a, q.allowed(a.Owners)
}

func byUniqueName(v directory.View, name string) (*directory.Application, bool) {
	for _, a := range v.Applications() {
		if a.UniqueName != nil && *a.UniqueName == name {
			return a, true
		}
	}
	return nil, false
}

func (q *request) listApplications() (answer, *graphError) {
	return list(q, readable(q, q.view.Applications(), ownersOfApplication), applicationID, func(a *directory.Application) entity {
		return q.withOwners(renderApplication(a, false), a.Owners)
	})
}

func (q *request) getApplication() (answer, *graphError) {
	a, err := q.application()
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusOK, q.withOwners(renderApplication(a, q.selects("keyCredentials")), a.Owners))
}

func (q *request) selects(name string) bool { return slices.Contains(q.query.selected, name) }

// property answers with one property of an object, as /applications/{id}/appRoles
// asks for.
func (q *request) property(e entity, name string) (answer, *graphError) {
	v, ok := e[name]
	if !ok {
		return answer{}, notEmulated("the property %s", name)
	}
	if v == nil {
		return noContent, nil
	}
	return answer{status: http.StatusOK, body: entity{"@odata.context": q.base() + "/$metadata#" + q.route.set + "('" + e["id"].(string) + "')/" + name, "value": v}}, nil
}

func (q *request) getApplicationProperty() (answer, *graphError) {
	a, err := q.application()
	if err != nil {
		return answer{}, err
	}
	return q.property(renderApplication(a, false), q.keys[1].value)
}

func (q *request) createApplication() (answer, *graphError) {
	if err := q.mayRegister(); err != nil {
		return answer{}, err
	}
	return q.makeApplication(nil)
}

// makeApplication creates an application from the body. uniqueName is given when
// the path names what is to be created.
func (q *request) makeApplication(uniqueName *string) (answer, *graphError) {
	members, err := applicationType.members(q.body, true)
	if err != nil {
		return answer{}, err
	}
	a := &directory.Application{
		ID: uuid.NewString(), AppID: uuid.NewString(), CreatedDateTime: q.now(),
		PublisherDomain: q.Directory.Domain, SignInAudience: "AzureADMyOrg", UniqueName: uniqueName,
	}
	if !q.caller.App() || !q.caller.May(writeApplications.permissions...) {
		a.Owners = []string{q.caller.ObjectID}
	}
	a.Kept = map[string]json.RawMessage{}
	err = q.update(a.ID, func(u *directory.Update) *graphError {
		if err := q.setApplication(u, nil, a, members); err != nil {
			return err
		}
		u.PutApplication(a)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return q.one(http.StatusCreated, renderApplication(a, false))
}

// update writes to the directory: all or nothing.
func (q *request) update(id string, f func(*directory.Update) *graphError) *graphError {
	if err := q.contend(id); err != nil {
		return err
	}
	var refused *graphError
	q.Directory.Update(func(u *directory.Update) error {
		if refused = f(u); refused != nil {
			return refused
		}
		return nil
	}) // The error is refused itself.
	return refused
}

// changeApplication changes the application of the path in its newest state.
func (q *request) changeApplication(f func(*directory.Update, *directory.Application) *graphError) *graphError {
	seen, err := q.application()
	if err != nil {
		return err
	}
	return q.update(seen.ID, func(u *directory.Update) *graphError {
		before, ok := u.Application(seen.ID)
		if !ok {
			return notFound(seen.ID)
		}
		if err := q.allowed(before.Owners); err != nil {
			return err
		}
		a := before.Clone()
		if err := f(u, a); err != nil {
			return err
		}
		u.PutApplication(a)
		return nil
	})
}

func (q *request) patchApplication() (answer, *graphError) {
	members, err := applicationType.members(q.body, false)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.changeApplication(func(u *directory.Update, a *directory.Application) *graphError {
		before, _ := u.Application(a.ID)
		return q.setApplication(u, before, a, members)
	})
}

func (q *request) deleteApplication() (answer, *graphError) {
	now := q.now()
	return noContent, q.changeApplication(func(u *directory.Update, a *directory.Application) *graphError {
		a.DeletedDateTime = &now
		if p, ok := u.ServicePrincipalByAppID(a.AppID); ok {
			p = p.Clone()
			p.DeletedDateTime = &now
			u.PutServicePrincipal(p)
		}
		return nil
	})
}
