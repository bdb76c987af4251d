package graph

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Limits of an application, from the page about limits of the service and the
// page about differences by signInAudience.
const (
	maxDisplayName           = 120
	maxPersonalDisplayName   = 90
	maxIdentifierURI         = 255
	maxPersonalIdentifierURI = 120
	maxTag                   = 256
	maxResources             = 50
	maxPermissions           = 400
	maxPersonalSecrets       = 2
	maxItems                 = 1200 // over all lists
)

var audiences = []string{"AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"}

// setApplication sets the members of a body on a, which is a clone of before,
// or new when before is nil, and then checks a as a whole.
func (q *request) setApplication(u *directory.Update, before, a *directory.Application, members map[string]json.RawMessage) *graphError {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := q.setApplicationMember(u, a, name, members[name]); err != nil {
			return err
		}
	}
	if before == nil && isPersonal(a) && a.API.RequestedAccessTokenVersion == nil {
		version := 2
		a.API.RequestedAccessTokenVersion = &version
	}
	if before != nil {
		if err := checkRemovedRoles(before.AppRoles, a.AppRoles); err != nil {
			return err
		}
		if err := checkRemovedScopes(before.API.OAuth2PermissionScopes, a.API.OAuth2PermissionScopes); err != nil {
			return err
		}
	}
	if err := checkApplication(a); err != nil {
		return err
	}
	for _, uri := range a.IdentifierURIs {
		if before != nil && slices.Contains(before.IdentifierURIs, uri) {
			continue // The restrictions are on what is added.
		}
		if err := q.checkNewIdentifierURI(a, uri); err != nil {
			return err
		}
	}
	if err := q.checkTaken(u, a); err != nil {
		return err
	}
	if before != nil {
		q.passOn(u, before, a)
	}
	return nil
}

// setApplicationMember sets one member. The ids by which others look are kept in
// lower case.
func (q *request) setApplicationMember(u *directory.Update, a *directory.Application, name string, raw json.RawMessage) *graphError {
	var ok bool
	switch name {
	case "displayName":
		a.DisplayName = "" // which null leaves as it is
		ok = json.Unmarshal(raw, &a.DisplayName) == nil
	case "description":
		ok = setOptional(&a.Description, raw)
	case "notes":
		ok = setOptional(&a.Notes, raw)
	case "uniqueName":
		ok = setOptional(&a.UniqueName, raw)
	case "signInAudience":
		ok = json.Unmarshal(raw, &a.SignInAudience) == nil
	case "isDisabled":
		a.IsDisabled = false
		ok = json.Unmarshal(raw, &a.IsDisabled) == nil
	case "isFallbackPublicClient":
		ok = setOptional(&a.IsFallbackPublicClient, raw)
	case "identifierUris":
		ok = setList(&a.IdentifierURIs, raw)
	case "tags":
		ok = setList(&a.Tags, raw)
	case "appRoles":
		ok = setRoles(&a.AppRoles, raw)
	case "requiredResourceAccess":
		ok = setList(&a.RequiredResourceAccess, raw)
		for i := range a.RequiredResourceAccess {
			r := &a.RequiredResourceAccess[i]
			r.ResourceAppID = strings.ToLower(r.ResourceAppID)
			for j := range r.Access {
				r.Access[j].ID = strings.ToLower(r.Access[j].ID)
			}
		}
	case "api":
		ok = merge(&a.API, raw)
		for i := range a.API.OAuth2PermissionScopes {
			a.API.OAuth2PermissionScopes[i].ID = strings.ToLower(a.API.OAuth2PermissionScopes[i].ID)
		}
	case "web":
		ok = merge(&a.Web, raw)
	case "spa":
		ok = merge(&a.SPA, raw)
	case "publicClient":
		ok = merge(&a.PublicClient, raw)
	case "keyCredentials":
		wanted, err := parseKeyInputs(raw)
		if err != nil {
			return err
		}
		keys, err := replaceKeyCredentials(a.KeyCredentials, wanted, q.now())
		if err != nil {
			return err
		}
		if err := applicationRules(u, a).checkNewKeys(a.KeyCredentials, keys, a.CreatedDateTime); err != nil {
			return err
		}
		a.KeyCredentials, ok = keys, true
	case "passwordCredentials":
		passwords, err := replacePasswordCredentials(a.PasswordCredentials, raw)
		if err != nil {
			return err
		}
		a.PasswordCredentials, ok = passwords, true
	default:
		if a.Kept == nil {
			a.Kept = map[string]json.RawMessage{}
		}
		a.Kept[name], ok = slices.Clone(raw), true
	}
	if !ok {
		return badValue(name)
	}
	return nil
}

func setOptional[T any](to **T, raw json.RawMessage) bool {
	*to = nil // What it points to is shared with what was before.
	return json.Unmarshal(raw, to) == nil
}

// setRequired sets texts that must be there, and refuses the first by name that
// is not.
func setRequired(resource string, members map[string]json.RawMessage, to map[string]*string) *graphError {
	for _, name := range slices.Sorted(maps.Keys(to)) {
		if raw, ok := members[name]; !ok || json.Unmarshal(raw, to[name]) != nil || *to[name] == "" {
			return badRequest("A value is required for property '%s' of resource '%s'.", name, resource)
		}
	}
	return nil
}

func setList[T any](to *[]T, raw json.RawMessage) bool {
	*to = nil
	return json.Unmarshal(raw, to) == nil
}

// setRoles reads app roles, which are enabled unless they say otherwise: CLI for
// Microsoft 365 leaves it out.
func setRoles(to *[]directory.AppRole, raw json.RawMessage) bool {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return false
	}
	*to = nil
	for _, one := range list {
		r := directory.AppRole{IsEnabled: true, Origin: "Application"}
		if json.Unmarshal(one, &r) != nil {
			return false
		}
		r.ID = strings.ToLower(r.ID)
		*to = append(*to, r)
	}
	return true
}

// merge sets the members of an object and keeps the others, as OData says;
// Graph's pages do not [K]. Nothing that the
// value before points to is changed.
func merge[T any](to *T, raw json.RawMessage) bool {
	var fresh T
	if string(raw) != "null" {
		b, err := json.Marshal(*to)
		if err != nil || json.Unmarshal(b, &fresh) != nil {
			return false
		}
		// Lists are replaced as wholes: their elements are not merged.
		var members map[string]json.RawMessage
		if json.Unmarshal(b, &members) != nil {
			return false
		}
		var given map[string]json.RawMessage
		if json.Unmarshal(raw, &given) != nil {
			return false
		}
		maps.Copy(members, given)
		b, err = json.Marshal(members)
		fresh = *new(T)
		if err != nil || json.Unmarshal(b, &fresh) != nil {
			return false
		}
	}
	*to = fresh
	return true
}

// isPersonal reports whether people may sign in with accounts of no tenant.
func isPersonal(a *directory.Application) bool {
	return a.SignInAudience == "AzureADandPersonalMicrosoftAccount" || a.SignInAudience == "PersonalMicrosoftAccount"
}

// checkApplication checks what must hold of an application by itself.
func checkApplication(a *directory.Application) *graphError {
	personal := isPersonal(a)
	longest := maxDisplayName
	if personal {
		longest = maxPersonalDisplayName
	}
	switch n := utf8.RuneCountInString(a.DisplayName); {
	case n == 0:
		return badRequest("A value is required for property 'displayName' of resource 'Application'.")
	case n > longest:
		return badValue("displayName")
	case !slices.Contains(audiences, a.SignInAudience):
		return badValue("signInAudience")
	case personal && len(a.PasswordCredentials) > maxPersonalSecrets:
		return badRequest("The application allows personal accounts and can have %d passwordCredentials at most.", maxPersonalSecrets)
	}
	if personal && slices.ContainsFunc(a.KeyCredentials, func(k directory.KeyCredential) bool { return k.Type == keySymmetric }) {
		return badRequest("The application allows personal accounts and can have asymmetric keyCredentials only.")
	}
	if v := a.API.RequestedAccessTokenVersion; v != nil && *v != 1 && *v != 2 || personal && (v == nil || *v != 2) {
		return badValue("api.requestedAccessTokenVersion")
	}
	for _, tag := range a.Tags {
		if n := utf8.RuneCountInString(tag); n < 1 || n > maxTag {
			return badValue("tags")
		}
	}
	for i, uri := range a.IdentifierURIs {
		if err := checkIdentifierURI(a, uri); err != nil {
			return err
		}
		if slices.ContainsFunc(a.IdentifierURIs[:i], func(s string) bool { return strings.EqualFold(s, uri) }) {
			return badRequest("Property identifierUris has duplicate values.")
		}
	}
	if err := checkRoles(a); err != nil {
		return err
	}
	if err := checkResourceAccess(a.RequiredResourceAccess); err != nil {
		return err
	}
	if items := countItems(a); items > maxItems {
		// The page gives the limit but not the refusal [K].
		return refusal(http.StatusForbidden, "Directory_ResourceSizeExceeded",
			"The size of the object has exceeded its limit: it has %d items in its lists, of %d. Reduce the number of values and retry.", items, maxItems)
	}
	return nil
}

func countItems(a *directory.Application) int {
	n := len(a.IdentifierURIs) + len(a.Tags) + len(a.AppRoles) + len(a.API.OAuth2PermissionScopes) + len(a.API.KnownClientApplications) +
		len(a.API.PreAuthorizedApplications) + len(a.Web.RedirectURIs) + len(a.SPA.RedirectURIs) + len(a.PublicClient.RedirectURIs) +
		len(a.KeyCredentials) + len(a.PasswordCredentials)
	for _, r := range a.RequiredResourceAccess {
		n += len(r.Access)
	}
	return n
}

// checkIdentifierURI checks the form of an App ID URI.
func checkIdentifierURI(a *directory.Application, uri string) *graphError {
	u, err := url.Parse(uri)
	longest := maxIdentifierURI
	if isPersonal(a) {
		longest = maxPersonalIdentifierURI
	}
	if err != nil || u.Scheme == "" || len(uri) > longest || strings.ContainsAny(uri, " *\t") || u.Host == "" && u.Opaque == "" || strings.HasSuffix(uri, "/") && u.Scheme == "api" {
		return badRequest("Invalid value specified for property 'identifierUris' of resource 'Application'.")
	}
	switch u.Scheme {
	case "http", "https", "api", "urn", "ms-appx":
	default:
		return badRequest("Invalid value specified for property 'identifierUris' of resource 'Application'.")
	}
	return nil
}

// checkNewIdentifierURI checks an App ID URI that the application did not have
// before (learn.microsoft.com/entra/identity-platform/identifier-uri-restrictions).
// One of https has a domain that the tenant verified. So has one of api, unless
// it contains the client ID or the tenant's; applications of other audiences may
// have any [K].
func (q *request) checkNewIdentifierURI(a *directory.Application, uri string) *graphError {
	u, err := url.Parse(uri)
	if err != nil {
		return badValue("identifierUris")
	}
	parts := strings.Split(strings.ToLower(u.Host+u.Path), "/")
	switch {
	case u.Scheme == "http" || u.Scheme == "https":
	case u.Scheme != "api" || a.SignInAudience != "AzureADMyOrg",
		slices.Contains(parts, strings.ToLower(a.AppID)), slices.Contains(parts, strings.ToLower(q.Directory.TenantID)):
		return nil
	}
	host := strings.ToLower(u.Hostname())
	if host != a.PublisherDomain && !strings.HasSuffix(host, "."+a.PublisherDomain) {
		return &graphError{
			Status: http.StatusBadRequest, Code: "Request_BadRequest",
			Message: "Values of identifierUris property must use a verified domain of the organization or its subdomain: '" + origin.Printable(host) + "'",
			Details: []errorDetail{{Code: "HostNameNotOnVerifiedDomain", Target: "identifierUris", Message: "The host is on no verified domain."}},
		}
	}
	return nil
}

// permission is what an app role and a scope have in common.
type permission struct {
	value, displayName, description string
	enabled                         bool
}

// checkRoles checks app roles and delegated permissions. They share their ids and
// their values: none is there twice, but that a role and a scope may be one
// permission, which then is the same in both
// (github.com/MicrosoftDocs/azure-docs/issues/81899). Microsoft's own services do
// without that rule.
func checkRoles(a *directory.Application) *graphError {
	roles, scopes, holders := map[string]permission{}, map[string]permission{}, map[string]string{}
	add := func(property string, all map[string]permission, id string, p permission) *graphError {
		id = strings.ToLower(id)
		value := strings.ToLower(p.value)
		_, known := all[id]
		role, both := roles[id]
		holder, taken := holders[value]
		switch {
		case !origin.IsGUID(id) || !isPermissionValue(value):
			return badValue(property)
		case known:
			return badRequest("It contains duplicate value. Please Provide unique value. Property '%s' has the id '%s' twice.", property, id)
		case both && role != p:
			return badRequest("The following values must match for the 'oauth2Permissions' and 'appRoles' properties with identifier '%s': (description, adminConsentDescription),(displayName, adminConsentDisplayName),(isEnabled, isEnabled),(origin, origin),(value, value).", id)
		case value != "" && taken && holder != id:
			return badRequest("It contains duplicate value. Please Provide unique value. Property '%s' has the value '%s', which another app role or scope has.", property, origin.Printable(value))
		}
		all[id], holders[value] = p, id
		return nil
	}
	for _, r := range a.AppRoles {
		if err := add("appRoles", roles, r.ID, permission{r.Value, r.DisplayName, r.Description, r.IsEnabled}); err != nil {
			return err
		}
		if r.DisplayName == "" || r.Description == "" || len(r.AllowedMemberTypes) == 0 {
			return badValue("appRoles")
		}
		for _, m := range r.AllowedMemberTypes {
			if m != "User" && m != "Application" {
				return badValue("allowedMemberTypes")
			}
		}
	}
	for _, s := range a.API.OAuth2PermissionScopes {
		if err := add("api.oauth2PermissionScopes", scopes, s.ID, permission{s.Value, s.AdminConsentDisplayName, s.AdminConsentDescription, s.IsEnabled}); err != nil {
			return err
		}
		if s.Value == "" || s.Type != "User" && s.Type != "Admin" {
			return badValue("api.oauth2PermissionScopes")
		}
	}
	return nil
}

// isPermissionValue reports whether a role or a scope may have the value. Roles
// may have none.
func isPermissionValue(s string) bool {
	return len(s) <= 120 && !strings.HasPrefix(s, ".") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// checkRemovedRoles refuses that an enabled role goes away.
func checkRemovedRoles(before, after []directory.AppRole) *graphError {
	for _, b := range before {
		if b.IsEnabled && !slices.ContainsFunc(after, func(r directory.AppRole) bool { return strings.EqualFold(r.ID, b.ID) }) {
			return cannotDelete("appRoles")
		}
	}
	return nil
}

func checkRemovedScopes(before, after []directory.PermissionScope) *graphError {
	for _, b := range before {
		if b.IsEnabled && !slices.ContainsFunc(after, func(s directory.PermissionScope) bool { return strings.EqualFold(s.ID, b.ID) }) {
			return cannotDelete("api.oauth2PermissionScopes")
		}
	}
	return nil
}

func cannotDelete(property string) *graphError {
	return &graphError{
		Status: http.StatusBadRequest, Code: "Request_BadRequest",
		Message: "Property cannot be deleted unless it is disabled first.",
		Details: []errorDetail{{Code: "CannotDeleteOrUpdateEnabledEntitlement", Target: property, Message: "Permission (scope or role) cannot be deleted or updated unless disabled first."}},
	}
}

func checkResourceAccess(all []directory.ResourceAccess) *graphError {
	permissions := 0
	for i, r := range all {
		switch {
		case !origin.IsGUID(r.ResourceAppID):
			return badValue("requiredResourceAccess")
		case slices.ContainsFunc(all[:i], func(o directory.ResourceAccess) bool { return strings.EqualFold(o.ResourceAppID, r.ResourceAppID) }):
			return badRequest("Property requiredResourceAccess has the resourceAppId '%s' more than once.", r.ResourceAppID)
		}
		for _, a := range r.Access {
			if a.Type != "Role" && a.Type != "Scope" {
				return badValue("requiredResourceAccess")
			}
		}
		permissions += len(r.Access)
	}
	if len(all) > maxResources || permissions > maxPermissions {
		return badRequest("Property requiredResourceAccess names more than %d resources or %d permissions.", maxResources, maxPermissions)
	}
	return nil
}

// checkTaken checks what must be unique in the tenant. Deleted applications
// count: they may be restored.
func (q *request) checkTaken(u *directory.Update, a *directory.Application) *graphError {
	if len(a.IdentifierURIs) == 0 && a.UniqueName == nil {
		return nil
	}
	for _, other := range slices.Concat(u.Applications(), q.deletedApplications(u.View)) {
		if other.ID == a.ID {
			continue
		}
		if a.UniqueName != nil && other.UniqueName != nil && *a.UniqueName == *other.UniqueName {
			return duplicate("uniqueName")
		}
		for _, uri := range a.IdentifierURIs {
			if slices.ContainsFunc(other.IdentifierURIs, func(s string) bool { return strings.EqualFold(s, uri) }) {
				return duplicate("identifierUris")
			}
		}
	}
	return nil
}

// passOn gives the service principal in the tenant what it takes over from its
// application.
func (q *request) passOn(u *directory.Update, before, a *directory.Application) {
	p, ok := u.ServicePrincipalByAppID(a.AppID)
	if !ok {
		return
	}
	wanted := q.Directory.PrincipalFor(a, p.ID)
	p = p.Clone()
	p.AppDisplayName, p.SignInAudience = wanted.AppDisplayName, wanted.SignInAudience
	p.ReplyURLs, p.AppRoles, p.OAuth2PermissionScopes = wanted.ReplyURLs, wanted.AppRoles, wanted.OAuth2PermissionScopes
	p.ServicePrincipalNames = wanted.ServicePrincipalNames
	if p.DisplayName == before.DisplayName {
		p.DisplayName = a.DisplayName
	}
	u.PutServicePrincipal(p)
}
