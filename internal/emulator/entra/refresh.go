package entra

import "time"

// refreshToken is what a refresh token stands for. Entra does not revoke it
// when it was used.
type refreshToken struct {
	signIn
	expires time.Time
}

// refreshLife is how long a refresh token can be used: 90 days from the last
// use, or for a single-page application 24 hours from the sign-in.
func refreshLife(p platform) time.Duration {
	if p == singlePage {
		return 24 * time.Hour
	}
	return 90 * 24 * time.Hour
}

// remembered is how much longer the token service knows what was used up or has
// expired, so that it can say which.
const remembered = 24 * time.Hour

func (e *API) newRefreshToken(t refreshToken, now time.Time) string {
	secret := "1." + opaque(48)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refresh.put(secret, t, t.expires.Add(remembered), now)
	return secret
}

// redeemRefresh is the refresh token grant. The client may ask for another
// resource than when somebody signed in, if that was consented to.
func (e *API) redeemRefresh(r request) (issued, error) {
	secret := r.form.Get("refresh_token")
	if secret == "" {
		return issued{}, missingParameter("refresh_token")
	}
	c, err := e.findClientAt(r.PathValue("tenant"), r.keys, r.clientID)
	if err != nil {
		return issued{}, err
	}
	now := e.Cloud.Now()
	e.mu.Lock()
	t, ok := e.refresh.get(secret, now)
	e.mu.Unlock()
	if !ok || t.clientID != c.sp.AppID {
		return issued{}, refuse(70000, "The provided value for the input parameter 'refresh_token' or 'assertion' is not valid.")
	}
	method, err := e.authenticateOn(t.platform, r, c)
	if err != nil {
		return issued{}, err
	}
	page := t.platform == singlePage
	issuedAt := t.expires.Add(-refreshLife(t.platform))
	if now.After(t.expires) && page {
		return issued{}, refuse(700084, "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime of 1.00:00:00, which can't be extended. It is now expired and a new sign in request must be sent by the SPA to the sign in page. The token was issued on %s.", iso7(issuedAt))
	}
	if now.After(t.expires) {
		return issued{}, refuse(700082, "The refresh token has expired due to inactivity. The token was issued on %s and was inactive for 90.00:00:00.", iso7(issuedAt))
	}
	if r.form.Has("scope") || r.form.Has("resource") {
		before := t.wish
		if t.wish, err = readWish(r.form, r.v2); err != nil {
			return issued{}, err
		}
		// Those of the sign-in stay.
		t.wish.oidc = before.oidc
	}
	t.nonce = ""
	answer, err := e.forPerson(r, c, method, t.signIn)
	if err == nil && page && answer.refresh != "" {
		answer.refresh = e.newRefreshToken(t, now) // which does not live longer
	}
	return answer, err
}
