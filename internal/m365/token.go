package m365

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Token returns an access token for a resource, named by its App ID URI as in
// https://manage.office.com or by its application ID.
func Token(ctx context.Context, cred azcore.TokenCredential, resource string) (azcore.AccessToken, error) {
	return cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope(resource)}})
}

// scope names all permissions on a resource. A resource that ends in a slash keeps
// it, as the token's audience does.
func scope(resource string) string { return resource + "/.default" }

// Claims decodes the header and the claims of a token for display. It verifies
// nothing: a token is for its resource to judge.
func Claims(token string) (header, claims map[string]any, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, errors.New("the token is not a JWT: its contents are for its resource alone")
	}
	if header, err = decodePart(parts[0]); err != nil {
		return nil, nil, fmt.Errorf("reading the header of the token: %w", err)
	}
	if claims, err = decodePart(parts[1]); err != nil {
		return nil, nil, fmt.Errorf("reading the claims of the token: %w", err)
	}
	return header, claims, nil
}

func decodePart(s string) (map[string]any, error) {
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, errors.New("it is not base64url")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // times stay whole numbers
	var m map[string]any
	if err := decoder.Decode(&m); err != nil || m == nil {
		return nil, errors.New("it is not a JSON object")
	}
	return m, nil
}
