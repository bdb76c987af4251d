package entra

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// signIn is somebody's signing in to a client: what the client asked for, and
// once known, who it was.
type signIn struct {
	clientID string
	platform platform
	wish     wish
	nonce    string
	userID   string
}

// findUser returns who signs in, by user principal name or object ID.
func (e *API) findUser(name string) (*directory.User, error) {
	u, ok := e.Directory.View(0).User(strings.TrimSpace(name))
	if !ok {
		return nil, refuse(50034, "The user account %s does not exist in the %s directory. To sign into this application, the account must be added to the directory.", origin.Printable(name), e.Directory.DisplayName)
	}
	if !u.AccountEnabled {
		return nil, refuse(50057, "The user account is disabled.")
	}
	return u, nil
}

// admit checks that a person may use a client at all.
func (e *API) admit(c client, u *directory.User) error {
	if c.sp.AppRoleAssignmentRequired && !assigned(e.Directory.View(0), u.ID, c.sp.ID) {
		return refuse(50105, "The signed in user '%s' is not assigned to a role for the application '%s'(%s).", u.UserPrincipalName, c.sp.AppID, c.sp.DisplayName)
	}
	return e.checkBlocked(c)
}

// assigned reports whether a principal was assigned to a service, with a role or
// without one; both are given by object ID.
func assigned(v directory.View, principalID, resourceID string) bool {
	return slices.ContainsFunc(v.AppRoleAssignmentsOf(principalID), func(a *directory.AppRoleAssignment) bool {
		return a.ResourceID == resourceID
	})
}

// forPerson issues what a client gets for somebody who signed in: an access
// token, and an ID token and a refresh token when it asked for them.
func (e *API) forPerson(r request, c client, method string, s signIn) (issued, error) {
	u, err := e.findUser(s.userID)
	if err == nil {
		err = e.admit(c, u)
	}
	if err != nil {
		return issued{}, err
	}
	resource, err := e.findResource(r.keys, s.wish.resource)
	if err != nil {
		return issued{}, err
	}
	scopes, err := e.permitted(c, resource, u, s.wish)
	if err != nil {
		return issued{}, err
	}
	base := e.base(r.Request)
	i, err := e.issue(access{
		client: c, resource: resource, audience: s.wish.resource, method: method, base: base, view: r.roles,
		cae: asksForCAE(r.form.Get("claims")), user: u, scopes: scopes,
	})
	if err != nil {
		return issued{}, err
	}
	i.person = true
	i.scope = strings.Join(scopes, " ")
	if r.v2 {
		i.scope = spellScopes(s.wish, scopes)
	}
	if s.wish.has("openid") {
		if i.id, err = e.Keys.Sign(e.idClaims(r, c, u, s, base, i.at)); err != nil {
			return issued{}, err
		}
	}
	if s.wish.has("offline_access") {
		i.refresh = e.newRefreshToken(refreshToken{s, i.at.Add(refreshLife(s.platform))}, i.at)
	}
	if r.form.Get("client_info") == "1" || s.wish.has("openid") {
		if i.info, err = e.clientInfo(u); err != nil {
			return issued{}, err
		}
	}
	return i, nil
}

func (e *API) base(r *http.Request) string { return e.Cloud.Hosts.Base(r, origin.Authority) }

// spellScopes names the permissions of a token as the v2 endpoint does: each with
// its resource, and then those of OpenID Connect.
func spellScopes(w wish, scopes []string) string {
	var all []string
	for _, s := range scopes {
		if slices.Contains(oidcScopes, s) {
			continue
		}
		if w.resource != directory.Graph {
			s = w.resource + "/" + s
		}
		all = append(all, s)
	}
	if w.all {
		all = append(all, w.resource+"/.default")
	}
	for _, s := range w.oidc {
		if s != "offline_access" {
			all = append(all, s)
		}
	}
	return strings.Join(all, " ")
}

// idLife is how long an ID token lives.
const idLife = time.Hour

// idClaims are the claims of an ID token.
func (e *API) idClaims(r request, c client, u *directory.User, s signIn, base string, at time.Time) map[string]any {
	claims := e.commonClaims(base, at, idLife, r.v2)
	claims["aud"], claims["oid"] = c.sp.AppID, u.ID
	e.describeUser(claims, u, c.sp)
	if s.nonce != "" {
		claims["nonce"] = s.nonce
	}
	if s.wish.has("email") && u.Mail != nil {
		claims["email"] = *u.Mail
	}
	if roles := r.roles.Roles(u.ID, c.sp.ID); len(roles) > 0 {
		claims["roles"] = roles
	}
	return claims
}
