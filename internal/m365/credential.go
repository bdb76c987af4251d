package m365

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/pki"
)

// Method is a way of proving to Entra ID who is calling. It is always chosen; there
// is no falling from one to the next, in which a forgotten secret would win over a
// certificate.
type Method string

const (
	MethodCertificate      Method = "certificate"
	MethodSecret           Method = "secret"
	MethodWorkloadIdentity Method = "workload-identity"
	MethodManagedIdentity  Method = "managed-identity"
	MethodAzureCLI         Method = "azure-cli"
)

// Methods lists every [Method].
func Methods() []Method {
	return []Method{MethodCertificate, MethodSecret, MethodWorkloadIdentity, MethodManagedIdentity, MethodAzureCLI}
}

// SignIn says who signs in and how. It prints as who and how, never as the secret.
type SignIn struct {
	Method Method

	// TenantID is the tenant's GUID or one of its verified domains. Managed
	// identities do without.
	TenantID string

	// ClientID is the application (client) ID, a GUID. For a managed identity it
	// chooses a user-assigned one and may be empty; for the Azure CLI it is unused.
	ClientID string

	// Pair signs in with MethodCertificate.
	Pair pki.Pair

	// SendChain sends the certificate and its chain along, which signing in by
	// subject name and issuer needs.
	SendChain bool

	// Secret is the value of a client secret (not its ID), for MethodSecret.
	Secret string

	// FederatedTokenFile holds the token of the outside issuer, for
	// MethodWorkloadIdentity.
	FederatedTokenFile string
}

// String says who signs in and how, for people.
func (s SignIn) String() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "to tenant %s as application %s ", orUnset(s.TenantID), orUnset(s.ClientID))
	switch {
	case s.Method == MethodCertificate && s.Pair.Certificate != nil:
		fmt.Fprintf(b, "with certificate %s", pki.SHA1(s.Pair.Certificate))
	default:
		fmt.Fprintf(b, "by %s", s.Method)
	}
	return b.String()
}

// GoString keeps the secret out of %#v.
func (s SignIn) GoString() string { return "m365.SignIn{" + s.String() + "}" }

// MarshalText keeps the secret out of JSON and structured logs.
func (s SignIn) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func orUnset(s string) string {
	if s == "" {
		return "(not set)"
	}
	return s
}

// Check reports what is missing or wrong in s as far as that shows without asking
// Entra ID.
func (s SignIn) Check() error {
	if !slices.Contains(Methods(), s.Method) {
		return fmt.Errorf("there is no sign-in method %q: use one of %q", s.Method, Methods())
	}
	if s.Method == MethodManagedIdentity || s.Method == MethodAzureCLI {
		return nil
	}
	switch strings.ToLower(s.TenantID) {
	case "":
		return errors.New("the tenant ID is missing: it is at Entra ID > Overview")
	case "common", "organizations", "consumers":
		return fmt.Errorf("the tenant ID is %q: an application signs in to one tenant, named by its GUID or domain", s.TenantID)
	}
	if uuid.Validate(s.ClientID) != nil {
		return fmt.Errorf("the client ID %q is not a GUID: give the Application (client) ID at Entra ID > App registrations", s.ClientID)
	}
	switch {
	case s.Method == MethodCertificate:
		return s.Pair.CheckKey()
	case s.Method == MethodSecret && s.Secret == "":
		return errors.New("the client secret is missing")
	case s.Method == MethodWorkloadIdentity && s.FederatedTokenFile == "":
		return errors.New("the file of the federated token is missing (AZURE_FEDERATED_TOKEN_FILE)")
	}
	return nil
}

// Credential obtains access tokens for one [SignIn] and keeps them until shortly
// before they expire. The certificate that it signs in with can be changed while it is
// in use, by [Credential.Swap], or by Entra ID's refusing it when there is a standby
// ([Credential.SetStandby]). It is safe for use by several goroutines. Its errors are
// [*SignInError], or those of the context.
type Credential struct {
	// OnSwap hears that the standby has taken the place of a certificate that
	// Entra ID refused, once for each time. Only the GetToken that found it out
	// waits for OnSwap to return. It may be nil; set it before the first use.
	OnSwap func(from, to pki.Pair, because error)

	// Now is the clock, time.Now when nil; set it before the first use.
	Now func() time.Time

	signIn SignIn // without the pair, which is the session's
	open   func(SignIn) (azcore.TokenCredential, error)

	// Each holds a place while there is a Swap, or a standby is tried.
	swapping, falling chan struct{}

	mu      sync.Mutex // guards what follows, and what sessions keep; nothing slow is done under it
	active  *session
	standby standby
	asked   map[use]time.Time // when a token was last given
}

// session is a sign-in that tokens are asked for under. The SDK's credential keeps
// tokens too, in itself alone, so that no session gives out another one's.
type session struct {
	signIn SignIn
	inner  azcore.TokenCredential

	kept   map[use]azcore.AccessToken
	asking map[use]*asking // under way
}

// asking is the asking for a token on behalf of all who want the same.
type asking struct {
	done chan struct{} // closed once the rest is set

	token     azcore.AccessToken
	err       error
	abandoned bool // who asked had no time left: another has to ask
}

// use is what a token is for. One with claims answers a challenge, and no kept token
// does.
type use struct {
	scopes   string // with blanks between
	tenantID string
	claims   string
	cae      bool
}

func useOf(o policy.TokenRequestOptions) use {
	return use{scopes: strings.Join(o.Scopes, " "), tenantID: o.TenantID, claims: o.Claims, cae: o.EnableCAE}
}

func (u use) options() policy.TokenRequestOptions {
	return policy.TokenRequestOptions{Scopes: strings.Fields(u.scopes), TenantID: u.tenantID, Claims: u.claims, EnableCAE: u.cae}
}

// Format prints who signs in and how, whatever the verb: the fields hold the
// secret.
func (c *Credential) Format(f fmt.State, _ rune) { io.WriteString(f, c.current().signIn.String()) }

// MarshalText keeps the secret out of JSON and structured logs.
func (c *Credential) MarshalText() ([]byte, error) { return c.current().signIn.MarshalText() }

// NewCredential prepares signing in; nothing is sent before the first token is
// asked for.
func NewCredential(cloud Cloud, s SignIn, client *http.Client) (*Credential, error) {
	if err := cloud.Check(); err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	if cloud.AuthorityHost == "" && s.Method != MethodManagedIdentity && s.Method != MethodAzureCLI {
		return nil, fmt.Errorf("cloud %q has no authority host: give the address at which to sign in", cloud.Name)
	}
	c := &Credential{
		signIn:   s,
		swapping: make(chan struct{}, 1),
		falling:  make(chan struct{}, 1),
		asked:    map[use]time.Time{},
	}
	c.signIn.Pair = pki.Pair{}
	c.open = opener(cloud, client, c.now)
	var err error
	if c.active, err = c.newSession(s.Pair); err != nil {
		return nil, err
	}
	return c, nil
}

// newSession prepares signing in with a pair, which only the method certificate has.
func (c *Credential) newSession(pair pki.Pair) (*session, error) {
	s := &session{signIn: c.signIn, kept: map[use]azcore.AccessToken{}, asking: map[use]*asking{}}
	s.signIn.Pair = pair
	if err := s.signIn.Check(); err != nil {
		return nil, err
	}
	var err error
	if s.inner, err = c.open(s.signIn); err != nil {
		return nil, fmt.Errorf("preparing to sign in %v: %w", s.signIn, err)
	}
	return s, nil
}

func (c *Credential) current() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active
}

func (c *Credential) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// opener returns the function that makes the SDK's credential for a sign-in. A vault may
// stand in another tenant than the application's home; it names its own, which is
// then asked (AdditionallyAllowedTenants).
func opener(c Cloud, client *http.Client, now func() time.Time) func(SignIn) (azcore.TokenCredential, error) {
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: c.AuthorityHost},
		Transport: signInTransport{client},
		Telemetry: policy.TelemetryOptions{ApplicationID: userAgent()},
		Retry: policy.RetryOptions{ShouldRetry: func(resp *http.Response, err error) bool {
			if err != nil {
				return retryable(err)
			}
			kind := kindOf(resp.StatusCode)
			return kind == ErrThrottled || kind == ErrTransient
		}},
	}
	anyTenant := []string{"*"}
	return func(s SignIn) (azcore.TokenCredential, error) {
		switch s.Method {
		case MethodCertificate:
			if _, here := s.Pair.Key.(*rsa.PrivateKey); !here {
				return azidentity.NewClientAssertionCredential(s.TenantID, s.ClientID, asserter(c, s, now),
					&azidentity.ClientAssertionCredentialOptions{
						ClientOptions:              options,
						AdditionallyAllowedTenants: anyTenant,
						DisableInstanceDiscovery:   !c.Listed(),
					})
			}
			certificates := append([]*x509.Certificate{s.Pair.Certificate}, s.Pair.Chain...)
			return azidentity.NewClientCertificateCredential(s.TenantID, s.ClientID, certificates, s.Pair.Key,
				&azidentity.ClientCertificateCredentialOptions{
					ClientOptions:              options,
					AdditionallyAllowedTenants: anyTenant,
					DisableInstanceDiscovery:   !c.Listed(),
					SendCertificateChain:       s.SendChain,
				})
		case MethodSecret:
			return azidentity.NewClientSecretCredential(s.TenantID, s.ClientID, s.Secret,
				&azidentity.ClientSecretCredentialOptions{
					ClientOptions:              options,
					AdditionallyAllowedTenants: anyTenant,
					DisableInstanceDiscovery:   !c.Listed(),
				})
		case MethodWorkloadIdentity:
			return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
				ClientOptions:              options,
				AdditionallyAllowedTenants: anyTenant,
				DisableInstanceDiscovery:   !c.Listed(),
				TenantID:                   s.TenantID,
				ClientID:                   s.ClientID,
				TokenFilePath:              s.FederatedTokenFile,
			})
		case MethodManagedIdentity:
			o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
			o.Retry = policy.RetryOptions{} // the identity's endpoint has rules of its own, which the SDK knows
			if s.ClientID != "" {
				o.ID = azidentity.ClientID(s.ClientID)
			}
			return azidentity.NewManagedIdentityCredential(o)
		case MethodAzureCLI:
			return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{
				TenantID:                   s.TenantID,
				AdditionallyAllowedTenants: anyTenant,
			})
		}
		return nil, fmt.Errorf("there is no sign-in method %q", s.Method)
	}
}

// GetToken returns an access token for the scopes, a kept one at once if it is still
// good. Of several callers that want the same token one asks Entra ID for all.
func (c *Credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	u := useOf(o)
	for {
		c.mu.Lock()
		s, now := c.active, c.now()
		if token, ok := s.kept[u]; ok && isFresh(token, now) {
			c.asked[u] = now
			c.mu.Unlock()
			return token, nil
		}
		a, underWay := s.asking[u]
		if !underWay {
			a = &asking{done: make(chan struct{})}
			s.asking[u] = a
		}
		c.mu.Unlock()

		if !underWay {
			return c.ask(ctx, s, u, a)
		}
		select {
		case <-a.done:
			if !a.abandoned {
				return a.token, a.err
			}
		case <-ctx.Done():
			return azcore.AccessToken{}, s.signInError(ctx, o, ctx.Err(), nil)
		}
	}
}

// isFresh reports whether a token may still be given out: not shortly before its end,
// nor once its issuer wants it renewed.
func isFresh(t azcore.AccessToken, now time.Time) bool {
	const margin = 5 * time.Minute // as the SDK has it
	return now.Before(t.ExpiresOn.Add(-margin)) && (t.RefreshOn.IsZero() || now.Before(t.RefreshOn))
}

// ask asks under s on behalf of all who wait for a, and of the standby if it must.
func (c *Credential) ask(ctx context.Context, s *session, u use, a *asking) (azcore.AccessToken, error) {
	var fell *fall
	a.token, a.err = s.getToken(ctx, u.options())
	if a.err == nil {
		c.keep(s, u, a.token)
	} else if c.refusesCertificate(a.err, s.signIn) {
		a.token, fell, a.err = c.fallBack(ctx, s, u, a.err)
	}
	a.abandoned = a.err != nil && ctx.Err() != nil
	c.mu.Lock()
	delete(s.asking, u)
	c.mu.Unlock()
	close(a.done)
	if fell != nil && c.OnSwap != nil {
		c.OnSwap(fell.from, fell.to, fell.because)
	}
	return a.token, a.err
}

func (c *Credential) keep(s *session, u use, token azcore.AccessToken) {
	u.claims = ""
	c.mu.Lock()
	defer c.mu.Unlock()
	s.kept[u] = token
	c.asked[u] = c.now()
}

// getToken asks the SDK's credential.
func (s *session) getToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	seen := new(attempt)
	assertion := &assertionAttempt{tenantID: cmp.Or(o.TenantID, s.signIn.TenantID)}
	asking := context.WithValue(context.WithValue(ctx, attemptKey{}, seen), assertionKey{}, assertion)
	token, err := s.inner.GetToken(asking, o)
	switch {
	case err == nil:
		return token, nil
	case assertion.err != nil && ctx.Err() == nil:
		return azcore.AccessToken{}, s.unsigned(o, assertion.err)
	}
	return azcore.AccessToken{}, s.signInError(ctx, o, err, seen.err)
}

// signInError is [Credential.signInError] for the sign-in of s.
func (s *session) signInError(ctx context.Context, o policy.TokenRequestOptions, err, network error) error {
	return (&Credential{signIn: s.signIn}).signInError(ctx, o, err, network)
}

// Forget drops the given token if it is kept, so that the next GetToken asks Entra
// ID. An API that answers 401 has refused the token, whatever its lifetime says. Of
// several callers that were refused the same token, the first causes the new one and
// the others find it.
func (c *Credential) Forget(token string) {
	isIt := func(_ use, t azcore.AccessToken) bool { return t.Token == token }
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := maps.Clone(c.active.kept)
	if maps.DeleteFunc(rest, isIt); len(rest) == len(c.active.kept) {
		return
	}
	// The SDK's credential keeps the token as well, and cannot be told to forget it.
	if s, err := c.newSession(c.active.signIn.Pair); err == nil { // as it succeeded before
		s.kept = rest
		c.active = s
	}
}

// assertionAttempt carries past the SDK for which tenant an assertion is, and why
// there was none.
type assertionAttempt struct {
	tenantID string
	err      error
}

type assertionKey struct{}

// signTimeout bounds signing an assertion with a key that is somewhere else.
const signTimeout = 30 * time.Second

// asserter returns the function that signs assertions for s with a key that the SDK
// does not take, such as one that stays in a vault.
func asserter(c Cloud, s SignIn, now func() time.Time) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		asked, ok := ctx.Value(assertionKey{}).(*assertionAttempt)
		if !ok {
			return "", errors.New("the SDK lost for which tenant the assertion is")
		}
		at := now()
		text, err := signWithin(ctx, signTimeout, s.Pair, pki.Assertion{
			Algorithm: pki.PS256,
			Audience:  tokenEndpoint(c, asked.tenantID),
			ClientID:  s.ClientID,
			ID:        uuid.NewString(),
			NotBefore: at,
			Expires:   at.Add(10 * time.Minute),
			SendChain: s.SendChain,
		})
		asked.err = err
		return text, err
	}
}

// signWithin bounds the time of a signature, because [crypto.Signer] knows no
// context. A key that answers later is not waited for.
func signWithin(ctx context.Context, limit time.Duration, pair pki.Pair, a pki.Assertion) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("signing with the key of certificate %v: there was no signature within %s: %w", pair, limit, context.DeadlineExceeded))
	defer cancel()
	type result struct {
		text string
		err  error
	}
	signed := make(chan result, 1)
	go func() {
		text, err := a.Sign(pair)
		signed <- result{text, err}
	}()
	select {
	case r := <-signed:
		return r.text, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// unsigned names the error of a key that did not sign. Where trying again is of no
// use the error tells no kind, for whoever looks for one would take the vault's
// refusal for that of the API that is called.
func (s *session) unsigned(o policy.TokenRequestOptions, err error) error {
	e := &SignInError{SignIn: s.signIn.String(), Resource: resourceOf(o), Message: withoutTokens(err.Error())}
	if isPassing(err) {
		e.cause = err
	}
	return e
}

// isPassing reports whether an error of a key that is reached over the network may be
// gone the next time.
func isPassing(err error) bool {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		kind := kindOf(answer.StatusCode)
		return kind == ErrThrottled || kind == ErrTransient
	}
	var network net.Error
	return errors.Is(err, ErrThrottled) || errors.Is(err, ErrTransient) || errors.As(err, &network) && retryable(err)
}

func resourceOf(o policy.TokenRequestOptions) string {
	return strings.TrimSuffix(strings.Join(o.Scopes, " "), "/.default")
}
