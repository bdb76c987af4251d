package m365

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// graphCommandLine is the client ID of Microsoft Graph Command Line Tools, a public
// client that every tenant knows, as which people sign in
// (learn.microsoft.com/powershell/microsoftgraph/authentication-commands).
const graphCommandLine = "14d82eec-204b-4c2f-b7e8-296a70dab67e"

// azureCommandLine is that of the Azure CLI, which every tenant lets ask Azure Resource
// Manager without anybody's consent; Graph Command Line Tools it does not
// (learn.microsoft.com/troubleshoot/entra/entra-id/governance/verify-first-party-apps-sign-in).
const azureCommandLine = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

// NewPerson prepares the signing in of a person by a device code: say tells them the
// address to open and the code to enter there. Their tokens are for the delegated
// permissions of Graph that are named, such as Application.ReadWrite.All, and for nothing
// else; nothing is kept when the program ends.
func NewPerson(c Cloud, tenantID string, client *http.Client, say func(message string), permissions ...string) (azcore.TokenCredential, error) {
	return newPerson(graphCommandLine, c, tenantID, client, say, permissions)
}

// NewAzurePerson is [NewPerson] for Azure Resource Manager, with a code of its own.
func NewAzurePerson(c Cloud, tenantID string, client *http.Client, say func(message string)) (azcore.TokenCredential, error) {
	return newPerson(azureCommandLine, c, tenantID, client, say, []string{"user_impersonation"})
}

func newPerson(clientID string, c Cloud, tenantID string, client *http.Client, say func(message string), permissions []string) (azcore.TokenCredential, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	inner, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
		ClientOptions: azcore.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: c.AuthorityHost},
			Transport: signInTransport{client},
			Telemetry: policy.TelemetryOptions{ApplicationID: userAgent()},
		},
		TenantID:                 tenantID,
		ClientID:                 clientID,
		DisableInstanceDiscovery: !c.Listed(),
		UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error {
			say(m.Message)
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing to sign in a person: %w", err)
	}
	return person{inner, SignIn{Method: "device-code", TenantID: cmp.Or(tenantID, "organizations"), ClientID: clientID}, permissions}, nil
}

// person asks for the permissions by name: the default ones are those that somebody has
// consented to before.
type person struct {
	inner       azcore.TokenCredential
	signIn      SignIn
	permissions []string
}

func (p person) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	resource := ""
	if len(o.Scopes) > 0 {
		resource = strings.TrimSuffix(o.Scopes[0], "/.default")
	}
	o.Scopes = nil
	for _, name := range p.permissions {
		o.Scopes = append(o.Scopes, resource+"/"+name)
	}
	seen := new(attempt)
	token, err := p.inner.GetToken(context.WithValue(ctx, attemptKey{}, seen), o)
	if err != nil {
		return azcore.AccessToken{}, p.signInError(ctx, o, err, seen)
	}
	return token, nil
}

// codeExpired is what Entra ID says of a code that was not entered in time.
const codeExpired = 70019

// signInError is [Credential.signInError] for a device code. While the SDK waits for the
// person it takes each refusal apart, so that it hands on an empty one; and it gives up at
// the end of the code's time as if somebody had said when.
func (p person) signInError(ctx context.Context, o policy.TokenRequestOptions, err error, seen *attempt) error {
	var failed *azidentity.AuthenticationFailedError
	switch {
	case !errors.As(err, &failed):
	case failed.RawResponse != nil:
		failed.RawResponse.Body = io.NopCloser(bytes.NewReader(seen.refusal))
	case ctx.Err() == nil && (seen.err == nil || seen.givenUp) && strings.Contains(err.Error(), context.DeadlineExceeded.Error()):
		return &SignInError{SignIn: p.signIn.String(), Resource: strings.Join(o.Scopes, " "), Codes: []int{codeExpired}, Message: "the code has expired: nobody entered it in time"}
	}
	return (&Credential{signIn: p.signIn}).signInError(ctx, o, err, seen.err)
}
