package rotate

import (
	"context"
	"errors"
	"net/http"
)

// HookRunner runs the hooks of policies.
func HookRunner(*http.Client) func(ctx context.Context, hook string, d Deployment) (permanent bool, err error) {
	return func(context.Context, string, Deployment) (bool, error) {
		return true, errors.New("hooks are not run yet")
	}
}
