package m365

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/reeve365/reeve/internal/pki"
)

const (
	// inUse is for how long after a token was given it counts as needed, or longer
	// while the token lives. Most live for 60 to 90 minutes, and whoever has one asks
	// for the next by then.
	inUse = 2 * time.Hour

	// swapTimeout bounds obtaining the tokens for a swap.
	swapTimeout = 2 * time.Minute

	// standbyRest is for how long a certificate that Entra ID refused is not tried as the
	// standby, so that two bad ones do not take turns.
	standbyRest = 5 * time.Minute
)

// standby is the pair that waits; because and refused are set when it was refused of
// late.
type standby struct {
	pair    pki.Pair
	refused time.Time
	because error
}

// fall is that the standby took the active one's place.
type fall struct {
	from, to pki.Pair
	because  error
}

// Pair is the certificate and the key that tokens are asked for with. It is the zero
// one for every method but certificate.
func (c *Credential) Pair() pki.Pair { return c.current().signIn.Pair }

// Swap asks for tokens with the given pair from now on. First it obtains with it a
// token for everything that one was given for of late; until it has them all, and
// when one is refused, which the error tells, everything stays as it is. Callers of
// GetToken do not wait for it: they have the tokens of the former pair until the
// change and those of the new one after it. Tokens that were handed out stay good. A
// standby stays the standby, unless it is the pair.
//
// If nothing was asked for of late there is no resource to try the pair with, and it
// is taken untried.
func (c *Credential) Swap(ctx context.Context, pair pki.Pair) error {
	if c.signIn.Method != MethodCertificate {
		return fmt.Errorf("changing the certificate: signing in %v uses none; configure the method %q first", c, MethodCertificate)
	}
	next, err := c.newSession(pair)
	if err != nil {
		return fmt.Errorf("changing the certificate: %w", err)
	}
	select {
	case c.swapping <- struct{}{}:
		defer func() { <-c.swapping }()
	case <-ctx.Done():
		return fmt.Errorf("changing to certificate %v: waiting for the change before: %w", pair, context.Cause(ctx))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, swapTimeout, fmt.Errorf("it took longer than %s: %w", swapTimeout, context.DeadlineExceeded))
	defer cancel()
	for {
		lacking := c.take(next)
		if len(lacking) == 0 {
			return nil
		}
		for _, u := range lacking { // More may be asked for meanwhile; the deadline ends it.
			token, err := next.getToken(ctx, u.options())
			if err != nil {
				return fmt.Errorf("changing to certificate %v: the one in use stays: obtaining a token for %s: %w", pair, resourceOf(u.options()), err)
			}
			next.kept[u] = token
		}
	}
}

// take makes next the active session if it has a token for everything in use, and
// otherwise returns what it lacks.
func (c *Credential) take(next *session) (lacking []use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	maps.DeleteFunc(c.asked, func(u use, at time.Time) bool {
		return now.Sub(at) > inUse && now.After(c.active.kept[u].ExpiresOn)
	})
	for u := range c.asked {
		if _, ok := next.kept[u]; !ok {
			lacking = append(lacking, u)
		}
	}
	if len(lacking) > 0 {
		return lacking
	}
	c.active = next
	if isSamePair(c.standby.pair, next.signIn.Pair) {
		c.standby = standby{}
	}
	return nil
}

// SetStandby says which pair is tried, in the same GetToken, when Entra ID refuses the
// active one: because the application does not know the certificate, or no longer, or
// the certificate has expired or was revoked. If it gets a token it is the active one
// from then on, and the other one the standby. A pair that was refused is not tried
// for five minutes, which only another one changes. The zero Pair means that there is
// no standby. Methods other than certificate have no use for one.
func (c *Credential) SetStandby(pair pki.Pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !isSamePair(c.standby.pair, pair) {
		c.standby = standby{}
	}
	c.standby.pair = pair
}

func isSamePair(a, b pki.Pair) bool {
	return a.Certificate != nil && b.Certificate != nil && a.Certificate.Equal(b.Certificate)
}

// refusesCertificate reports whether Entra ID refused the certificate itself, so that
// another one may do better. A disabled application, a policy or a failing service
// would refuse that as well.
func (c *Credential) refusesCertificate(err error, s SignIn) bool {
	var e *SignInError
	if s.Method != MethodCertificate || !errors.As(err, &e) || len(e.Codes) == 0 || errors.Is(err, ErrTransient) {
		return false
	}
	switch e.Codes[0] {
	case 700027, // the key was not found, has expired, or does not fit
		700026,           // the application has no keys
		7000214, 7000277, // revoked
		1000502: // outside its validity
		return true
	case 700024: // the assertion's time, mostly for a wrong clock
		return c.now().After(s.Pair.Certificate.NotAfter)
	}
	return false
}

// fallBack gets the token with the standby, after the pair of the given session was
// refused. Of several callers one tries it, and the others find what it found out.
func (c *Credential) fallBack(ctx context.Context, refused *session, u use, because error) (azcore.AccessToken, *fall, error) {
	select {
	case c.falling <- struct{}{}:
	case <-ctx.Done():
		return azcore.AccessToken{}, nil, refused.signInError(ctx, u.options(), ctx.Err(), nil)
	}
	from := refused.signIn.Pair
	c.mu.Lock()
	changed, other := !isSamePair(c.active.signIn.Pair, from), c.standby
	c.mu.Unlock()
	if changed {
		<-c.falling
		token, err := c.GetToken(ctx, u.options())
		return token, nil, err
	}
	defer func() { <-c.falling }()
	switch {
	case other.pair.Certificate == nil || isSamePair(other.pair, from):
		return azcore.AccessToken{}, nil, because
	case other.because != nil && c.now().Before(other.refused.Add(standbyRest)):
		return azcore.AccessToken{}, nil, alsoFailed(because, other.pair, fmt.Sprintf("was refused at %s (%s) and is not tried again before %s",
			timeOfDay(other.refused), inShort(other.because), timeOfDay(other.refused.Add(standbyRest))))
	}
	next, err := c.newSession(other.pair)
	if err != nil {
		return azcore.AccessToken{}, nil, alsoFailed(because, other.pair, "cannot be used: "+err.Error())
	}
	token, err := next.getToken(ctx, u.options())
	switch {
	case err == nil:
		c.keep(next, u, token)
		return token, c.fallTo(next, refused, because), nil
	case ctx.Err() != nil:
		return azcore.AccessToken{}, nil, err
	case c.refusesCertificate(err, next.signIn):
		c.mu.Lock()
		if isSamePair(c.standby.pair, other.pair) {
			c.standby.refused, c.standby.because = c.now(), err
		}
		c.mu.Unlock()
		return azcore.AccessToken{}, nil, alsoFailed(because, other.pair, "was refused too: "+inShort(err))
	}
	return azcore.AccessToken{}, nil, alsoFailed(because, other.pair, "got no token either: "+inShort(err))
}

// fallTo makes the standby's session the active one, unless the refused pair is active
// no more. The tokens that were given to that pair are still good.
func (c *Credential) fallTo(next, refused *session, because error) *fall {
	from, to := refused.signIn.Pair, next.signIn.Pair
	c.mu.Lock()
	defer c.mu.Unlock()
	if !isSamePair(c.active.signIn.Pair, from) {
		return nil
	}
	for u, token := range c.active.kept {
		if _, ok := next.kept[u]; !ok {
			next.kept[u] = token
		}
	}
	c.active = next
	if isSamePair(c.standby.pair, to) {
		c.standby = standby{pair: from, refused: c.now(), because: because}
	}
	return &fall{from, to, because}
}

// alsoFailed is the error of the active certificate, and says what became of the
// standby.
func alsoFailed(active error, other pki.Pair, what string) error {
	var e *SignInError
	if !errors.As(active, &e) {
		return active
	}
	both := *e
	both.Message = fmt.Sprintf("%s; the standby, certificate %s, %s", strings.TrimSuffix(e.Message, "."), pki.SHA1(other.Certificate), what)
	return &both
}

// inShort is an error of signing in without who signed in.
func inShort(err error) string {
	var e *SignInError
	if !errors.As(err, &e) {
		return err.Error()
	}
	if x, ok := e.Explanation(); ok {
		return x.Code + ", " + x.Title
	}
	return strings.TrimSuffix(e.Message, ".")
}

func timeOfDay(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
