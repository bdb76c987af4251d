package entra

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// authorization is what an authorization code stands for.
type authorization struct {
	signIn
	redirect  string
	challenge string // of PKCE, or ""
	plain     bool   // the challenge is the verifier itself
	expires   time.Time
	used      bool
}

// codeLife is how long an authorization code can be redeemed. [K]
const codeLife = 10 * time.Minute

func (e *API) newCode(a *authorization) string {
	code, now := "1."+opaque(96), e.Cloud.Now()
	a.expires = now.Add(codeLife)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.codes.put(code, a, a.expires.Add(remembered), now)
	return code
}

// redeemCode is the authorization code grant. A code is used up by the first
// request that is in order.
func (e *API) redeemCode(r request) (issued, error) {
	code := r.form.Get("code")
	if code == "" {
		return issued{}, missingParameter("code")
	}
	c, err := e.findClientAt(r.PathValue("tenant"), r.keys, r.clientID)
	if err != nil {
		return issued{}, err
	}
	now := e.Cloud.Now()
	e.mu.Lock()
	found, ok := e.codes.get(code, now)
	var a authorization
	if ok {
		a = *found
	}
	e.mu.Unlock()
	if !ok || a.clientID != c.sp.AppID {
		return issued{}, refuse(70000, "The provided value for the 'code' parameter is not valid.")
	}
	method, err := e.authenticateOn(a.platform, r, c)
	if err != nil {
		return issued{}, err
	}
	if now.After(a.expires) {
		return issued{}, refuse(70008, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.")
	}
	switch redirect := r.form.Get("redirect_uri"); redirect {
	case a.redirect:
	case "":
		return issued{}, missingParameter("redirect_uri")
	default:
		return issued{}, refuse(500112, "The reply address '%s' does not match the reply address '%s' provided when requesting Authorization code.", origin.Printable(redirect), a.redirect)
	}
	if a.challenge != "" && !a.proves(r.form.Get("code_verifier")) {
		return issued{}, refuse(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	}
	if !e.useUp(&found.used) {
		return issued{}, refuse(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
	}
	return e.forPerson(r, c, method, a.signIn)
}

// useUp marks something as used, and reports false when it was already.
func (e *API) useUp(used *bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := *used
	*used = true
	return !before
}

// proves reports whether a verifier is the one of the challenge.
func (a *authorization) proves(verifier string) bool {
	if !a.plain {
		sum := sha256.Sum256([]byte(verifier))
		verifier = origin.Base64URL(sum[:])
	}
	return subtle.ConstantTimeCompare([]byte(verifier), []byte(a.challenge)) == 1
}
