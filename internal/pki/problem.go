package pki

import "errors"

// Problem says what is wrong with a file, a certificate or a request, and what to
// do about it. It holds no byte of a key and no password.
type Problem struct {
	Cause  string `json:"cause"`  // what is wrong, and where
	Remedy string `json:"remedy"` // what to do
}

func (p *Problem) Error() string { return p.Cause + ": " + p.Remedy }

// ErrNoPassword is what a [*Problem] also is when a file has a password and none was
// given.
var ErrNoPassword = errors.New("the file has a password and none was given")

type noPassword struct{ *Problem }

func (noPassword) Is(target error) bool { return target == ErrNoPassword }
func (n noPassword) Unwrap() error      { return n.Problem }
