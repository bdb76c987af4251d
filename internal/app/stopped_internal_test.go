package app

import (
	"context"
	"strings"
	"testing"
)

// TestStoppedLooking: who stops a dry run is not told that something was changed.
func TestStoppedLooking(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := stopped(ctx, stoppedLooking(ctx, ctx.Err()))
	if exitCode(err) != exitFailure || !strings.Contains(err.Error(), "Nothing was changed in the tenant") {
		t.Error(err)
	}
}
