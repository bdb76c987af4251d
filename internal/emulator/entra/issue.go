package entra

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// ShortToken is a fault that the token service alone knows: the access token lives
// for Delay, and says so.
const ShortToken origin.FaultKind = "short-token"

// access is what an access token says, once all was found to be in order.
type access struct {
	client   client
	resource *directory.ServicePrincipal
	audience string         // the resource's name as the client spells it
	method   string         // how the client proved who it is, as appidacr says it
	base     string         // the address of the token service as the client has it
	view     directory.View // of what was granted
	cae      bool           // the client says that it understands continuous access evaluation

	user   *directory.User // who signed in; nil for an application by itself
	scopes []string        // what the client may do for the user
}

// issued is what the token endpoint answers.
type issued struct {
	access   string
	audience string
	at       time.Time
	lifetime time.Duration
	cae      bool

	// The rest is for somebody who signed in.
	person  bool
	scope   string
	id      string // ID token
	refresh string
	info    string // client_info
}

func (e *API) issue(a access) (issued, error) {
	a.cae = a.cae && evaluates(a.resource.AppID, a.user != nil)
	long := a.cae || a.client.sp.ServicePrincipalType == directory.TypeManagedIdentity
	i := issued{audience: a.audience, at: e.Cloud.Now(), lifetime: e.lifetime(long), cae: a.cae}
	if f := e.Cloud.Faults.Take(origin.Authority, "token", ShortToken); f != nil {
		if f.Kind != ShortToken {
			return i, fmt.Errorf("carrying out the fault %s: the token service does not know it", f)
		}
		i.lifetime = f.Delay
	}
	var err error
	if i.access, err = e.Keys.Sign(e.accessClaims(a, i.at, i.lifetime)); err != nil {
		return i, fmt.Errorf("signing an access token: %w", err)
	}
	return i, nil
}

// writeToken answers with a token. Numbers are numbers at the v2 endpoint and
// strings at the v1 endpoint.
func (e *API) writeToken(w http.ResponseWriter, r *http.Request, i issued, v2 bool) {
	seconds := int64(i.lifetime/time.Second) - 1
	body := map[string]any{"token_type": "Bearer", "access_token": i.access}
	if v2 {
		body["expires_in"], body["ext_expires_in"] = seconds, seconds
		if i.cae { // [K]
			body["refresh_in"] = seconds / 2
		}
	} else {
		text := strconv.FormatInt(seconds, 10)
		body["expires_in"], body["ext_expires_in"] = text, text
		body["expires_on"] = strconv.FormatInt(i.at.Unix()+seconds, 10)
		body["not_before"] = strconv.FormatInt(i.at.Add(-clockSkew).Unix(), 10)
		body["resource"] = i.audience
	}
	if i.person {
		body["scope"] = i.scope
		for name, value := range map[string]string{"id_token": i.id, "refresh_token": i.refresh, "client_info": i.info} {
			if value != "" {
				body[name] = value
			}
		}
	}
	entraHeaders(w)
	origin.WriteJSON(w, http.StatusOK, body)
}

// evaluates reports whether a service evaluates access continuously: for people
// Graph and SharePoint, of those that are here, and for applications Graph alone
// (learn.microsoft.com/entra/identity/conditional-access/concept-continuous-access-evaluation-workload).
func evaluates(resourceAppID string, person bool) bool {
	return resourceAppID == directory.Graph || person && resourceAppID == directory.SharePoint
}

// lifetime draws how long a token lives: 60 to 90 minutes, or 24 to 28 hours
// for a managed identity and where access is evaluated continuously.
func (e *API) lifetime(long bool) time.Duration {
	shortest, spread := time.Hour, 30*time.Minute
	if long {
		shortest, spread = 24*time.Hour, 4*time.Hour
	}
	if e.Cloud.Calm {
		return shortest
	}
	return shortest + time.Duration(e.Cloud.Chance.Int64N(int64(spread/time.Second)))*time.Second
}

// accessClaims are the claims of an access token. Its version is the
// resource's to choose, whichever endpoint issues it: Microsoft's own services
// have tokens of version 1.0.
func (e *API) accessClaims(a access, at time.Time, lifetime time.Duration) map[string]any {
	sp := a.client.sp
	claims := e.commonClaims(a.base, at, lifetime, isVersion2(e.Directory.View(0), a.resource))
	if claims["ver"] == "2.0" {
		claims["aud"], claims["azp"], claims["azpacr"] = a.resource.AppID, sp.AppID, a.method
	} else {
		claims["aud"], claims["appid"], claims["appidacr"] = a.audience, sp.AppID, a.method
		claims["app_displayname"] = sp.DisplayName
		claims["idp"] = claims["iss"]
		claims["tenant_region_scope"] = "EU"
	}
	holder := sp.ID
	if a.user == nil {
		claims["sub"] = sp.ID // The subject of an application is its object ID.
	} else {
		holder = a.user.ID
		e.describeUser(claims, a.user, sp)
		claims["scp"] = strings.Join(a.scopes, " ")
	}
	if claims["ver"] == "1.0" {
		describeKind(claims, a, holder)
	}
	claims["oid"] = holder
	if roles := a.view.Roles(holder, a.resource.ID); len(roles) > 0 {
		claims["roles"] = roles
	}
	if a.cae {
		claims["xms_cc"] = []string{"cp1"}
	}
	return claims
}

// describeKind adds what tokens of version 1.0 say of who holds them.
func describeKind(claims map[string]any, a access, holder string) {
	claims["idtyp"] = "app"
	if a.user != nil {
		claims["idtyp"], claims["acr"], claims["amr"] = "user", "1", []string{"pwd", "mfa"}
	}
	if roles := a.view.DirectoryRoles(holder); len(roles) > 0 {
		claims["wids"] = roles
	}
}

// commonClaims are those that access tokens and ID tokens share.
func (e *API) commonClaims(base string, at time.Time, lifetime time.Duration, v2 bool) map[string]any {
	tenant, from := e.Directory.TenantID, at.Add(-clockSkew).Unix()
	claims := map[string]any{
		"iss": token.Issuer(tenant), "ver": "1.0", "tid": tenant,
		"iat": from, "nbf": from, "exp": at.Add(lifetime).Unix(),
		"aio": opaque(27), "rh": "1." + opaque(36) + ".", "uti": opaque(16),
	}
	if v2 {
		claims["iss"], claims["ver"] = base+"/"+tenant+"/v2.0", "2.0"
	}
	return claims
}

// describeUser adds who signed in. The subject of a person is another for every
// client.
func (e *API) describeUser(claims map[string]any, u *directory.User, sp *directory.ServicePrincipal) {
	claims["name"] = u.DisplayName
	if claims["ver"] == "2.0" {
		claims["preferred_username"] = u.UserPrincipalName
	} else {
		claims["upn"], claims["unique_name"] = u.UserPrincipalName, u.UserPrincipalName
	}
	subject := sha256.Sum256([]byte(lower(sp.AppID + " " + u.ID)))
	claims["sub"] = origin.Base64URL(subject[:])
}

// isVersion2 reports whether a resource asks for tokens of version 2.0.
func isVersion2(v directory.View, resource *directory.ServicePrincipal) bool {
	if resource.AppID == directory.TokenExchange {
		return true
	}
	app, ok := v.ApplicationByAppID(resource.AppID)
	return ok && app.API.RequestedAccessTokenVersion != nil && *app.API.RequestedAccessTokenVersion == 2
}

func opaque(n int) string {
	b := make([]byte, n)
	rand.Read(b) // crypto/rand never fails.
	return origin.Base64URL(b)
}

// clientInfo tells MSAL whose tokens it caches.
func (e *API) clientInfo(u *directory.User) (string, error) {
	b, err := json.Marshal(map[string]string{"uid": u.ID, "utid": e.Directory.TenantID})
	if err != nil {
		return "", fmt.Errorf("writing client_info: %w", err)
	}
	return origin.Base64URL(b), nil
}

// Issued is an access token that was issued in another way than over HTTP.
type Issued struct {
	Text    string
	Expires time.Time
}

// IssueToIdentity issues an access token to a managed identity, which App
// Service vouches for. Such tokens live for a day.
func (e *API) IssueToIdentity(p, resource *directory.ServicePrincipal, audience string) (Issued, error) {
	i, err := e.issue(access{
		client: client{sp: p}, resource: resource, audience: audience, method: byCertificate,
		base: e.Cloud.Hosts.Origins.Authority, view: e.Directory.View(0),
	})
	return Issued{Text: i.access, Expires: i.at.Add(i.lifetime)}, err
}
