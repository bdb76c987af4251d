package app

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

type numbered int

func (c *numbered) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	*c++
	return azcore.AccessToken{Token: fmt.Sprint(*c), ExpiresOn: time.Unix(3600, 0)}, nil
}

// A person is asked once, until the token ends or the API asks for claims that it has not.
func TestHeld(t *testing.T) {
	now := time.Unix(0, 0)
	h := &held{inner: new(numbered), now: func() time.Time { return now }}
	for _, step := range []struct {
		at     time.Duration
		claims string
		want   string
	}{{0, "", "1"}, {time.Minute, "", "1"}, {2 * time.Minute, `{"access_token":{}}`, "2"}, {3 * time.Minute, "", "2"}, {56 * time.Minute, "", "3"}} {
		now = time.Unix(0, 0).Add(step.at)
		token, err := h.GetToken(t.Context(), policy.TokenRequestOptions{Claims: step.claims})
		if err != nil || token.Token != step.want {
			t.Errorf("after %v, claims %q: %q, %v, want %s", step.at, step.claims, token.Token, err, step.want)
		}
	}
}
