// Package check looks whether what was set up works: the permissions of the feeds
// (permissions.go), and the certificate with which programs sign in (certificate.go).
// It changes nothing at Microsoft.
//
// What could not be seen is unknown, which is never taken for well.
package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/reeve365/reeve/internal/m365"
)

// Answer is yes, no, or unknown.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

func answer(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// State is how one check ended.
type State string

const (
	OK    State = "ok"
	Note  State = "note"    // it works, and there is something to know
	Empty State = "empty"   // it is allowed, and brought nothing
	Wrong State = "failed"  // it is missing, or does not work
	Dark  State = "unknown" // whether it works could not be seen
	Skip  State = "skipped" // there was nothing to be checked

	// What the feed can do without, and does not count.
	OptionalMissing State = "optional, missing"
	OptionalFailed  State = "optional, failed" // it is there, and does not work
)

// Finding says why something is not as it should be, what to do, and who can.
type Finding struct {
	Cause   string `json:"cause"`
	Remedy  string `json:"remedy,omitempty"`
	Who     string `json:"who,omitempty"`     // who can do that, by the role's name
	Waiting string `json:"waiting,omitempty"` // whether waiting helps, and how long
}

// Outcome is how all checks together ended.
type Outcome string

const (
	Green        Outcome = "green"
	Missing      Outcome = "missing"        // something is missing, or does not work
	SignInFailed Outcome = "sign-in failed" // Entra ID gave no token
	Unseen       Outcome = "unseen"         // nothing known is wrong, and not all could be seen
)

// callTimeout bounds one question, its repetitions included.
const callTimeout = 40 * time.Second

// checkTimeout bounds a whole check.
const checkTimeout = 3 * time.Minute

// patience is how often a question is repeated. A service that asks to be left alone for
// longer is: what it would have said is unknown.
var patience = m365.Retry{Max: 2, Delay: 500 * time.Millisecond, MaxDelay: 10 * time.Second}

// bounded gives an operation its time, and the check's at most.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("there was no answer within %s: %w", limit, context.DeadlineExceeded))
}

// isPassing reports an error that says nothing of what was asked: the network or the
// service failed, or time was up.
func isPassing(err error) bool {
	var e *m365.Error
	return errors.Is(err, m365.ErrTransient) || errors.Is(err, m365.ErrThrottled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &e) && (e.Status == 0 || e.Status >= 500)
}

// passing is the finding about such an error.
func passing(err error) Finding {
	f := Finding{Cause: err.Error(), Remedy: "check again later", Waiting: "a minute or two"}
	var e *m365.Error
	switch {
	case errors.Is(err, m365.ErrThrottled):
		f.Cause = "the service is busy with this application's requests, and did not answer this one: " + err.Error()
		if errors.As(err, &e) && e.RetryAfter > 0 {
			f.Waiting = e.RetryAfter.String()
		}
	case errors.As(err, &e) && e.Status == 501:
		f.Remedy, f.Waiting = "this service does not offer the question: see whether the cloud is the right one", ""
	case errors.As(err, &e) && e.Status == 0:
		f.Remedy = "see that the host can be reached from here (reeve doctor), and check again"
	}
	return f
}

// signInFinding is the finding about a token that was not given.
func signInFinding(err error) Finding {
	f := explained(err)
	if f.Remedy == "" {
		f.Remedy = "see 'reeve token', which tells more of it"
	}
	return f
}
