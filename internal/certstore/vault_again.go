package certstore

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/m365"
)

const (
	// vaultTimeout bounds what is done with the vault in one call of this package.
	vaultTimeout = 2 * time.Minute

	// A step is tried vaultTries times, with waits of 1, 2, 4, 8, 8 and 8 seconds:
	// deleting and recovering take the vault some seconds.
	vaultTries  = 7
	longestWait = 8 * time.Second
	longestHint = 30 * time.Second // of a Retry-After that is waited for
)

// errAgain says that a step has changed something and is to look again.
var errAgain = errors.New("the vault has not finished what was asked of it: try again later")

// again runs a step that looks at the vault before it changes anything, until it
// succeeds or what keeps it from that does not pass. The SDK tries nothing twice
// meanwhile: whether a request whose answer was lost was fulfilled is found by looking.
func (v *KeyVault) again(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, vaultTimeout)
	defer cancel()
	once := policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	var err error
	for try := range vaultTries {
		err = step(once)
		hint, passes := passing(err)
		if !passes || try == vaultTries-1 || hint > longestHint {
			break
		}
		if v.pause(ctx, max(hint, min(time.Second<<try, longestWait))) != nil {
			break // the step's error says more than that time is up
		}
	}
	return err
}

// passing reports whether an error is of a state that passes by itself, and how long
// the vault asked to wait.
func passing(err error) (time.Duration, bool) {
	var e *m365.Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errAgain):
		return 0, true
	case errors.As(err, &untrusted) || !errors.As(err, &e):
		return 0, false
	case errors.Is(e, m365.ErrThrottled) || errors.Is(e, m365.ErrTransient):
		return e.RetryAfter, true
	}
	return 0, hasCode(err, "ObjectIsBeingDeleted") || hasCode(err, "ObjectIsBeingRecovered")
}

// isDeleted reports an error of a name that something deleted and recoverable has.
func isDeleted(err error) bool { return hasCode(err, "ObjectIsDeletedButRecoverable") }

func hasCode(err error, code string) bool {
	var e *m365.Error
	return errors.As(err, &e) && strings.HasSuffix(e.Code, code)
}

func isNotFound(err error) bool { return errors.Is(err, m365.ErrNotFound) }

// pause waits, unless the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
