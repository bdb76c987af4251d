package entra

import (
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// consented returns the delegated permissions of a resource that a client has
// for a person: what Microsoft gave its own clients, what an administrator
// consented to for everybody, and what the person did.
func consented(v directory.View, c client, resource *directory.ServicePrincipal, userID string) []string {
	scopes := slices.Clone(directory.Preauthorized(c.sp.AppID, resource.AppID))
	for _, g := range v.PermissionGrantsOf(c.sp.ID) {
		if g.ResourceID == resource.ID && (g.ConsentType == "AllPrincipals" || g.PrincipalID != nil && *g.PrincipalID == userID) {
			scopes = append(scopes, strings.Fields(g.Scope)...)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// permitted returns the permissions that a token for a person carries, or
// refuses when one that was asked for was never consented to.
func (e *API) permitted(c client, resource *directory.ServicePrincipal, u *directory.User, w wish) ([]string, error) {
	missing, err := e.unconsented(c, resource, u, w)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, refuse(65001, "The user or administrator has not consented to use the application with ID '%s' named '%s'. Send an interactive authorization request for this user and resource.", c.sp.AppID, c.sp.DisplayName)
	}
	// Entra puts all that was consented to into a token, not only what was
	// asked for. Scopes of OpenID Connect are Graph's.
	scopes := consented(e.Directory.View(0), c, resource, u.ID)
	if resource.AppID != directory.Graph {
		return scopes, nil
	}
	for _, s := range w.oidc {
		if s != "offline_access" && !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes, nil
}

// unconsented returns the permissions that are asked for and were not consented
// to. Those of OpenID Connect need no consent here.
func (e *API) unconsented(c client, resource *directory.ServicePrincipal, u *directory.User, w wish) ([]string, error) {
	have := consented(e.Directory.View(0), c, resource, u.ID)
	if w.all {
		asked := required(c, resource)
		if len(have) == 0 && len(asked) == 0 && len(directory.Preauthorized(c.sp.AppID, resource.AppID)) == 0 {
			return nil, refuse(650057, "Invalid resource. The client has requested access to a resource which is not listed in the requested permissions in the client's application registration. Client app ID: %s(%s). Resource value from request: %s. Resource app ID: %s.", c.sp.AppID, c.sp.DisplayName, origin.Printable(w.resource), resource.AppID)
		}
		if len(have) > 0 {
			return nil, nil // .default is what there is.
		}
		return asked, nil
	}
	var missing []string
	for _, s := range w.scopes {
		same := func(o string) bool { return strings.EqualFold(o, s) }
		if slices.ContainsFunc(have, same) {
			continue
		}
		i := slices.IndexFunc(resource.OAuth2PermissionScopes, func(p directory.PermissionScope) bool { return p.IsEnabled && same(p.Value) })
		if i < 0 {
			return nil, refuse(650053, "The application '%s' asked for scope '%s' that doesn't exist on the resource '%s'.", c.sp.DisplayName, origin.Printable(s), resource.AppID)
		}
		missing = append(missing, resource.OAuth2PermissionScopes[i].Value)
	}
	return missing, nil
}

// required returns the delegated permissions of a resource that the client's
// registration asks for.
func required(c client, resource *directory.ServicePrincipal) []string {
	if c.app == nil {
		return nil
	}
	var values []string
	for _, r := range c.app.RequiredResourceAccess {
		for _, a := range r.Access {
			i := slices.IndexFunc(resource.OAuth2PermissionScopes, func(s directory.PermissionScope) bool { return s.ID == a.ID && s.IsEnabled })
			if r.ResourceAppID == resource.AppID && a.Type == "Scope" && i >= 0 {
				values = append(values, resource.OAuth2PermissionScopes[i].Value)
			}
		}
	}
	return values
}

// isAdministrator reports whether a person may consent for everybody; see
// mayConsentForAll for what application administrators may not.
func (e *API) isAdministrator(u *directory.User) bool {
	return slices.ContainsFunc(e.Directory.View(0).DirectoryRoles(u.ID), func(role string) bool {
		return role == directory.GlobalAdministrator || role == directory.PrivilegedRoleAdministrator ||
			role == directory.ApplicationAdministrator || role == directory.CloudApplicationAdministrator
	})
}

// mayConsentForAll reports whether a person may consent to all that an
// application's registration asks for. Application administrators may not give
// roles of Graph; see IsDirectoryService.
func (e *API) mayConsentForAll(u *directory.User, c client) bool {
	v := e.Directory.View(0)
	roles := v.DirectoryRoles(u.ID)
	if slices.Contains(roles, directory.GlobalAdministrator) || slices.Contains(roles, directory.PrivilegedRoleAdministrator) {
		return true
	}
	return e.isAdministrator(u) && (c.app == nil || !slices.ContainsFunc(c.app.RequiredResourceAccess, func(r directory.ResourceAccess) bool {
		return directory.IsDirectoryService(r.ResourceAppID) &&
			slices.ContainsFunc(r.Access, func(a directory.Access) bool { return a.Type == "Role" })
	}))
}

// consent records that a person lets a client have permissions: an administrator
// for everybody, others for themselves, and only those that people may give.
func (e *API) consent(c client, resource *directory.ServicePrincipal, u *directory.User, scopes []string) error {
	g := directory.PermissionGrant{ClientID: c.sp.ID, ConsentType: "AllPrincipals", ResourceID: resource.ID}
	if !e.isAdministrator(u) {
		g.ConsentType, g.PrincipalID = "Principal", &u.ID
		for _, s := range scopes {
			i := slices.IndexFunc(resource.OAuth2PermissionScopes, func(p directory.PermissionScope) bool { return p.Value == s })
			if i < 0 || resource.OAuth2PermissionScopes[i].Type != "User" {
				return refuse(90094, "The grant requires admin permission. An administrator of %s must consent to '%s' for the application '%s'.", e.Directory.DisplayName, s, c.sp.DisplayName)
			}
		}
	}
	return e.Directory.Update(func(up *directory.Update) error {
		putGrant(up, g, scopes)
		return nil
	})
}

// putGrant adds scopes to the grant that a client has already, or makes one.
func putGrant(u *directory.Update, g directory.PermissionGrant, scopes []string) {
	for _, old := range u.PermissionGrantsOf(g.ClientID) {
		sameHolder := old.PrincipalID == nil && g.PrincipalID == nil || old.PrincipalID != nil && g.PrincipalID != nil && *old.PrincipalID == *g.PrincipalID
		if old.ResourceID == g.ResourceID && old.ConsentType == g.ConsentType && sameHolder {
			g.ID, g.Scope = old.ID, old.Scope
		}
	}
	if g.ID == "" {
		g.ID = directory.NewAssignmentID()
	}
	all := append(strings.Fields(g.Scope), scopes...)
	slices.Sort(all)
	g.Scope = strings.Join(slices.Compact(all), " ")
	u.PutPermissionGrant(&g)
}

// consentForAll is an administrator's consent to all that an application's
// registration asks for: delegated permissions and roles.
func (e *API) consentForAll(c client) error {
	if c.app == nil {
		return nil
	}
	return e.Directory.Update(func(u *directory.Update) error {
		for _, r := range c.app.RequiredResourceAccess {
			resource, ok := u.ServicePrincipalByAppID(r.ResourceAppID)
			if !ok {
				return refuse(650057, "Invalid resource. The client's application registration asks for permissions of %s, which has no service principal in the tenant.", r.ResourceAppID)
			}
			if scopes := required(c, resource); len(scopes) > 0 {
				putGrant(u, directory.PermissionGrant{ClientID: c.sp.ID, ConsentType: "AllPrincipals", ResourceID: resource.ID}, scopes)
			}
			for _, role := range requiredRoles(r, resource) {
				if err := u.GrantRole(c.sp.AppID, resource.AppID, role); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
