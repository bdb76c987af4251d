package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Reader finds out who calls an API, from the access token of the request.
type Reader struct {
	Keys     *Keys
	TenantID string
	Now      func() time.Time // the tenant's clock

	mu   sync.Mutex        // guards what follows
	seen map[string]seenAs // tokens whose signature was good; clients send one a thousand times
	keys []key             // by which they were
}

// seenAs is what a token says.
type seenAs struct {
	Caller
	from, until int64 // nbf and exp, in seconds
}

// mostSeen is how many tokens are remembered.
const mostSeen = 1000

// Caller is who calls an API, as the access token says.
type Caller struct {
	TenantID, ClientID, ObjectID string
	Audience                     string // the resource as the client spelled it
	AuthMethod                   string // appidacr: "0" public client, "1" secret, "2" certificate
	Roles                        []string
	Scopes                       []string // of somebody who signed in; empty for an application by itself
	DirectoryRoles               []string // wids: template ids of the directory roles held
}

// App reports whether an application calls as itself, and not for somebody.
func (c Caller) App() bool { return c.Scopes == nil }

// May reports whether the token carries one of the permissions, as a role of
// the application or a scope of the person.
func (c Caller) May(permissions ...string) bool {
	return slices.ContainsFunc(permissions, func(p string) bool {
		return slices.Contains(c.Roles, p) || slices.Contains(c.Scopes, p)
	})
}

// Reasons for which Read refuses. None contains anything of the token.
var (
	ErrNone    = errors.New("the request has no bearer token")
	ErrExpired = errors.New("the access token has expired")
	ErrIssuer  = errors.New("the access token's issuer is not this tenant's")
)

// Issuer returns the iss of a tenant's tokens of version 1.0.
func Issuer(tenantID string) string { return "https://sts.windows.net/" + tenantID + "/" }

// Read returns who calls, if the bearer token is one that this token service
// issued and that has not expired by the tenant's clock. For whom the token is
// meant, and what its holder may do, is the API's to check.
func (s *Reader) Read(r *http.Request) (Caller, error) {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return Caller{}, ErrNone
	}
	t, err := s.look(bearer)
	if err != nil {
		return Caller{}, err
	}
	if origin.TokenForeign(r) {
		return Caller{}, ErrIssuer
	}
	now := s.Now().Unix()
	if now >= t.until || origin.TokenExpired(r) {
		return Caller{}, ErrExpired
	}
	if now < t.from {
		return Caller{}, errors.New("the access token is not valid yet")
	}
	return t.Caller, nil
}

// look returns what a token of this tenant says, and remembers it until the
// keys change.
func (s *Reader) look(bearer string) (seenAs, error) {
	keys := s.Keys.current()
	s.mu.Lock()
	if len(s.seen) >= mostSeen || !sameKeys(keys, s.keys) {
		s.seen, s.keys = map[string]seenAs{}, keys
	}
	t, ok := s.seen[bearer]
	s.mu.Unlock()
	if ok {
		return t, nil
	}
	t, err := s.parse(bearer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && sameKeys(keys, s.keys) { // or they were rolled meanwhile
		s.seen[bearer] = t
	}
	return t, err
}

func (s *Reader) parse(bearer string) (seenAs, error) {
	t, err := Parse(bearer)
	if err != nil {
		return seenAs{}, fmt.Errorf("the access token is malformed: %w", err)
	}
	if err := s.Keys.Verify(t); err != nil {
		return seenAs{}, err
	}
	var claims struct {
		Aud, Iss, Tid, AppID, OID, AppIDACR string
		Exp, Nbf                            int64
		Roles, WIDs                         []string
		SCP                                 *string
	}
	payload, err := json.Marshal(t.Claims)
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		return seenAs{}, errors.New("the access token's claims cannot be read")
	}
	if claims.Iss != Issuer(s.TenantID) {
		return seenAs{}, ErrIssuer
	}
	c := Caller{
		TenantID: claims.Tid, ClientID: claims.AppID, ObjectID: claims.OID, Audience: claims.Aud,
		AuthMethod: claims.AppIDACR, Roles: claims.Roles, DirectoryRoles: claims.WIDs,
	}
	if claims.SCP != nil {
		c.Scopes = append([]string{}, strings.Fields(*claims.SCP)...)
	}
	return seenAs{c, claims.Nbf, claims.Exp}, nil
}

func sameKeys(a, b []key) bool {
	return slices.EqualFunc(a, b, func(x, y key) bool { return x.id == y.id })
}
