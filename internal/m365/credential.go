package m365

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

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
// before they expire. It is safe for use by several goroutines. Its errors are
// [*SignInError], or those of the context.
type Credential struct {
	signIn SignIn
	open   func() (azcore.TokenCredential, error)

	mu     sync.Mutex
	inner  azcore.TokenCredential
	issued map[string]string // the last token per resource that inner gave out
}

// Format prints who signs in and how, whatever the verb: the fields hold the
// secret.
func (c *Credential) Format(f fmt.State, _ rune) { io.WriteString(f, c.signIn.String()) }

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
	c := &Credential{signIn: s, open: opener(cloud, s, client)}
	inner, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("preparing to sign in %v: %w", s, err)
	}
	c.reset(inner)
	return c, nil
}

// opener returns the function that makes the SDK's credential for s. A vault may
// stand in another tenant than the application's home; it names its own, which is
// then asked (AdditionallyAllowedTenants).
func opener(c Cloud, s SignIn, client *http.Client) func() (azcore.TokenCredential, error) {
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
	return func() (azcore.TokenCredential, error) {
		switch s.Method {
		case MethodCertificate:
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

// GetToken returns an access token for the scopes, a kept one if it is still good.
func (c *Credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()

	seen := new(attempt)
	token, err := inner.GetToken(context.WithValue(ctx, attemptKey{}, seen), o)
	if err != nil {
		return azcore.AccessToken{}, c.signInError(ctx, o, err, seen.err)
	}

	c.mu.Lock()
	if c.inner == inner {
		c.issued[strings.Join(o.Scopes, " ")+" "+o.TenantID] = token.Token
	}
	c.mu.Unlock()
	return token, nil
}

// Forget drops the kept tokens if the given one is among them, so that the next
// GetToken asks Entra ID. An API that answers 401 has refused the token, whatever
// its lifetime says. Of several callers that were refused the same token, the first
// causes the new one and the others find it.
func (c *Credential) Forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.issued {
		if t == token {
			if inner, err := c.open(); err == nil { // as it succeeded before
				c.reset(inner)
			}
			return
		}
	}
}

// reset is called with mu held, or before c is shared.
func (c *Credential) reset(inner azcore.TokenCredential) {
	c.inner, c.issued = inner, map[string]string{}
}
