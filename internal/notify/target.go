package notify

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"
	"unicode"
)

// A Target is somebody, or a program, that is told of events.
type Target interface {
	// Name names the target in the outbox, in logs and in findings. It stays the
	// same from one start of the program to the next, and holds no secret.
	Name() string
	// Send tells the target of an event and returns nil when the target has taken
	// it over. It ends soon after ctx does. An error that Permanent made says that
	// trying again is of no use. No error holds a secret.
	Send(ctx context.Context, e Event) error
}

// Permanent marks the error of a target that would say the same to every other
// attempt.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// A laterError is a target's wish to be left alone for some time.
type laterError struct {
	err   error
	after time.Duration
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

func isPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// retryAfter is how long a target wishes to be left alone, or 0.
func retryAfter(err error) time.Duration {
	var l *laterError
	if errors.As(err, &l) {
		return l.after
	}
	return 0
}

// oneLine is a text without what could begin another line or change how the rest is
// read: control and format characters.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r):
			return -1
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return strings.Join(strings.Fields(s), " ")
}

// hide is what an error says, on one line, without the secrets that a server might
// repeat, as they are or in base64.
func hide(err error, secrets ...string) error {
	text := err.Error()
	for _, s := range secrets {
		if s == "" {
			continue
		}
		for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s))} {
			text = strings.ReplaceAll(text, form, "<secret>")
		}
	}
	if text = oneLine(text); len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	return errors.New(text)
}
