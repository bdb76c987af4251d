package m365

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/pki"
)

// A Prover proves that a pair signs in, by signing in with it: past every cache, on a
// new connection each time, so that over several proofs several of Entra ID's front
// ends answer. It keeps nothing between proofs, and is safe for use by several
// goroutines.
type Prover struct {
	Cloud Cloud
	// HTTP says how the network is reached. Its connections are not used: a
	// transport other than an [*http.Transport] sees to that itself.
	HTTP *http.Client
	Now  func() time.Time // default time.Now
}

// ProofRequest says whose token is asked for, with which pair.
type ProofRequest struct {
	TenantID string // a GUID or a domain
	ClientID string
	// Pair's key may stand for one in a vault. A key that has to be reached bounds
	// its own time.
	Pair     pki.Pair
	Resource string // audience, such as https://graph.microsoft.com

	// Skew is how far the authority's clock is ahead of ours, as an earlier proof
	// or the ServerTime of its error told.
	Skew      time.Duration
	SendChain bool
}

// Proof says that a token was really obtained, and what stood in it. The token itself
// is no part of it.
type Proof struct {
	At       time.Time // by our clock
	Host     string    // that answered
	Resource string
	// Algorithm signed the assertion: PS256, or RS256 where Entra ID did not take
	// the former.
	Algorithm string

	CorrelationID string // ours
	TraceID       string // Entra ID's

	// What the token says.
	TenantID      string
	ClientID      string
	ByCertificate bool
	Roles         []string

	ServerTime time.Time     // the authority's clock, to the second; zero when it did not say
	Skew       time.Duration // how far that is ahead of ours
}

// TokenRequest is a request for a token, to be shown before it is sent.
type TokenRequest struct {
	Method string
	URL    string
	Header http.Header
	Form   url.Values
}

// Stand-ins for what is made anew for each request.
const (
	shownAssertion   = "<assertion>"
	shownCorrelation = "<a new GUID>"
)

const (
	// proofTimeout bounds asking for a token, the second try included.
	proofTimeout = 30 * time.Second
	maxTokenBody = 1 << 20

	// An assertion is valid from a little before its use to a little after.
	assertionBefore = time.Minute
	assertionAfter  = 5 * time.Minute
)

// Prove obtains a token and throws it away. Its errors are those of
// [Prover.Token].
func (p *Prover) Prove(ctx context.Context, r ProofRequest) (Proof, error) {
	_, proof, err := p.Token(ctx, r)
	return proof, err
}

// Token is [Prover.Prove] for a caller that uses the token at once.
//
// A refusal is a [*SignInError], as is the network's failing, which is an
// [ErrTransient], and a token that is somebody else's. There is one try: when to ask
// again is for the caller to know, because asking too early makes a front end
// remember that it does not know the certificate. Only a complaint about the form of
// the signature is answered at once, by the other algorithm.
func (p *Prover) Token(ctx context.Context, r ProofRequest) (azcore.AccessToken, Proof, error) {
	if err := r.check(p.Cloud); err != nil {
		return azcore.AccessToken{}, Proof{}, fmt.Errorf("proving: %w", err)
	}
	asking, cancel := context.WithTimeoutCause(ctx, proofTimeout, errSlowAuthority)
	defer cancel()
	token, proof, err := p.ask(asking, r, pki.PS256)
	if refusesForm(err) {
		// Of two refusals the first one counts.
		if token, proof, err := p.ask(asking, r, pki.RS256); err == nil {
			return token, proof, nil
		}
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("signing in %v: %w", r.signIn(), context.Cause(ctx))
	}
	return token, proof, err
}

// Request returns the request of a proof without sending it: a stand-in is where the
// assertion goes.
func (p *Prover) Request(r ProofRequest) TokenRequest {
	return p.request(r, shownAssertion, shownCorrelation)
}

// SignedRequest is [Prover.Request] with an assertion of its own in it, by PS256. Until
// that ends, some minutes later, who has the request is the application.
func (p *Prover) SignedRequest(r ProofRequest) (TokenRequest, error) {
	if err := r.check(p.Cloud); err != nil {
		return TokenRequest{}, fmt.Errorf("preparing the request for a token: %w", err)
	}
	assertion, err := p.assertion(r, pki.PS256)
	if err != nil {
		return TokenRequest{}, fmt.Errorf("preparing the request for a token %v: %w", r.signIn(), err)
	}
	return p.request(r, assertion, uuid.NewString()), nil
}

func (p *Prover) request(r ProofRequest, assertion, correlationID string) TokenRequest {
	return TokenRequest{
		Method: http.MethodPost,
		URL:    tokenEndpoint(p.Cloud, r.TenantID),
		Header: http.Header{
			"Accept":                   {"application/json"},
			"Client-Request-Id":        {correlationID},
			"Content-Type":             {"application/x-www-form-urlencoded"},
			"Return-Client-Request-Id": {"true"},
			"User-Agent":               {userAgent()},
		},
		Form: url.Values{
			"client_id":             {r.ClientID},
			"scope":                 {scope(r.Resource)},
			"grant_type":            {"client_credentials"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion":      {assertion},
		},
	}
}

func tokenEndpoint(c Cloud, tenantID string) string {
	return strings.TrimSuffix(c.AuthorityHost, "/") + "/" + url.PathEscape(tenantID) + "/oauth2/v2.0/token"
}

func (r ProofRequest) signIn() SignIn {
	return SignIn{Method: MethodCertificate, TenantID: r.TenantID, ClientID: r.ClientID, Pair: r.Pair}
}

// check reports what is missing or wrong as far as that shows without asking.
func (r ProofRequest) check(c Cloud) error {
	switch {
	case c.AuthorityHost == "":
		return fmt.Errorf("cloud %q has no authority host: give the address at which to sign in", c.Name)
	case r.Resource == "":
		return errors.New("the resource is missing: give the one that the program calls, such as https://graph.microsoft.com")
	}
	if err := c.Check(); err != nil {
		return err
	}
	return r.signIn().Check()
}

// ask asks once for a token.
func (p *Prover) ask(ctx context.Context, r ProofRequest, algorithm string) (azcore.AccessToken, Proof, error) {
	assertion, err := p.assertion(r, algorithm)
	if err != nil {
		return azcore.AccessToken{}, Proof{}, fmt.Errorf("signing in %v: %w", r.signIn(), err)
	}
	failed := &SignInError{SignIn: r.signIn().String(), Resource: r.Resource, CorrelationID: uuid.NewString()}
	resp, body, err := p.send(ctx, p.request(r, assertion, failed.CorrelationID))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		failed.unanswered(err)
		return azcore.AccessToken{}, Proof{}, failed
	}
	at := p.now()
	if resp.StatusCode != http.StatusOK {
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		failed.read(resp)
		failed.Message = withoutTokens(failed.Message)
		return azcore.AccessToken{}, Proof{}, failed
	}
	failed.Status = resp.StatusCode
	failed.TraceID = resp.Header.Get("x-ms-request-id")
	failed.ServerTime = serverTime(resp.Header)
	proof := Proof{
		At:            at,
		Host:          resp.Request.URL.Host,
		Resource:      r.Resource,
		Algorithm:     algorithm,
		CorrelationID: failed.CorrelationID,
		TraceID:       failed.TraceID,
		ServerTime:    failed.ServerTime,
	}
	if !proof.ServerTime.IsZero() {
		proof.Skew = proof.ServerTime.Sub(at.Truncate(time.Second))
	}
	token, err := proof.read(r, body)
	if err != nil {
		failed.Message = err.Error()
		if errors.Is(err, errCutShort) { // as if there had been none
			failed.Status, failed.cause = 0, err
		}
		return azcore.AccessToken{}, Proof{}, failed
	}
	return token, proof, nil
}

func (p *Prover) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

func (p *Prover) assertion(r ProofRequest, algorithm string) (string, error) {
	now := p.now().Add(r.Skew)
	return pki.Assertion{
		Algorithm: algorithm,
		Audience:  tokenEndpoint(p.Cloud, r.TenantID),
		ClientID:  r.ClientID,
		ID:        uuid.NewString(),
		NotBefore: now.Add(-assertionBefore),
		Expires:   now.Add(assertionAfter),
		SendChain: r.SendChain,
	}.Sign(r.Pair)
}

// send sends a request on a connection of its own and reads the answer whole.
func (p *Prover) send(ctx context.Context, t TokenRequest) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, t.Method, t.URL, strings.NewReader(t.Form.Encode()))
	if err != nil {
		return nil, nil, err
	}
	req.Header = t.Header
	client, closeConnection := p.newConnection()
	defer closeConnection()
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(&boundedBody{resp.Body, maxTokenBody, errTooLarge})
	return resp, body, err
}

// newConnection returns a client that shares no connection with any other. It
// follows no redirect: the assertion would go along.
func (p *Prover) newConnection() (client *http.Client, closeConnection func()) {
	c := *p.HTTP
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	shared, ok := c.Transport.(*http.Transport)
	if !ok {
		return &c, func() {}
	}
	own := shared.Clone()
	own.DisableKeepAlives = true
	c.Transport = own
	return &c, own.CloseIdleConnections
}

// errCutShort is an answer that the network, or somebody between, has spoilt.
var errCutShort = errors.New("the authority's answer is no JSON")

// read takes the token out of an answer, and out of the token what the proof tells. A
// token that is not what was asked for is an error.
func (p *Proof) read(r ProofRequest, body []byte) (azcore.AccessToken, error) {
	var answer struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case !json.Valid(body) && len(body) > 0:
		return azcore.AccessToken{}, fmt.Errorf("%w: %s", errCutShort, excerpt(body))
	case err != nil || answer.AccessToken == "":
		return azcore.AccessToken{}, fmt.Errorf("the authority's answer holds no token: %s", excerpt(body))
	}
	seconds, err := answer.ExpiresIn.Int64()
	if err != nil || seconds <= 0 {
		return azcore.AccessToken{}, errors.New("the authority's answer does not say how long the token lives")
	}
	_, claims, err := Claims(answer.AccessToken)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	text := func(names ...string) string {
		for _, name := range names {
			if s, ok := claims[name].(string); ok {
				return s
			}
		}
		return ""
	}
	p.TenantID = text("tid")
	p.ClientID = text("appid", "azp")
	p.ByCertificate = text("appidacr", "azpacr") == "2"
	if roles, ok := claims["roles"].([]any); ok {
		for _, role := range roles {
			if s, ok := role.(string); ok {
				p.Roles = append(p.Roles, s)
			}
		}
	}
	if !strings.EqualFold(p.ClientID, r.ClientID) {
		return azcore.AccessToken{}, fmt.Errorf("the token is application %.64q's: compare the client ID, and see who answers for %s", p.ClientID, p.Host)
	}
	// A domain says nothing of the GUID.
	if p.TenantID == "" || uuid.Validate(r.TenantID) == nil && !strings.EqualFold(p.TenantID, r.TenantID) {
		return azcore.AccessToken{}, fmt.Errorf("the token is of tenant %.64q: compare the tenant ID, and see who answers for %s", p.TenantID, p.Host)
	}
	return azcore.AccessToken{Token: answer.AccessToken, ExpiresOn: p.At.Add(time.Duration(min(seconds, 7*24*60*60)) * time.Second)}, nil
}

// errSlowAuthority is why a proof ends that takes too long.
var errSlowAuthority = fmt.Errorf("there was no whole answer within %s", proofTimeout)

// refusesForm reports whether a refusal is about how the assertion is signed or
// headed, so that the other algorithm may pass. A certificate that is unknown or has
// expired is no such matter.
func refusesForm(err error) bool {
	var e *SignInError
	if !errors.As(err, &e) {
		return false
	}
	switch {
	case e.Has(5002738), e.Has(5002723), e.Has(50027), e.Has(7000274):
		return true
	case e.Has(700027):
		return strings.Contains(e.Message, "did not match the expected signature") ||
			strings.Contains(e.Message, "use of the key to verify the signature failed")
	}
	return false
}
