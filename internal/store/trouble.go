package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Error is a refusal by the database, with what to do about it.
type Error struct {
	URL    string // the database's address; it holds no password
	Doing  string // what was being done, as a gerund
	Cause  string // what is wrong, in a sentence without its full stop
	Remedy string // what to do
	Err    error  // what the engine said; may be nil
	Away   bool   // the server does not answer, or not now: the same may be tried again
	Met    bool   // it met another transaction: the same may be tried again at once
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %s", e.Doing, e.URL, e.Cause)
	if e.Err != nil {
		s += " (" + oneLine(e.Err.Error()) + ")"
	}
	return s
}

// oneLine is a text in one line, in which nothing is said twice: a server is tried with TLS
// and without, and refuses both in the same words.
func oneLine(text string) string {
	var said []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	head, rest := "", said
	if len(said) > 1 && strings.HasSuffix(said[0], ":") {
		head, rest = said[0]+" ", said[1:]
	}
	return head + strings.Join(rest, "; ")
}

func (e *Error) Unwrap() error { return e.Err }

// Hint is the remedy, for whoever prints the error.
func (e *Error) Hint() string { return e.Remedy }

// explain makes an engine's error an *Error where it is known what it means.
// Errors that are not the database's pass as they are.
func (db *DB) explain(doing string, err error) error {
	return explain(db.engine, db.url, doing, err)
}

func explain(e engine, url, doing string, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		if known != nil && known.URL == "" {
			known.URL = url
		}
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	// A server that does not answer is a deadline that has passed, too.
	if cause, remedy := e.trouble(err); cause != "" {
		away, met := e.passing(err)
		return &Error{URL: url, Doing: doing, Cause: cause, Remedy: remedy, Err: err, Away: away, Met: met}
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return &Error{URL: url, Doing: doing, Cause: "its file or folder cannot be used",
			Remedy: "make sure that the folder of database.url exists and that this user may write there", Err: err}
	}
	return err
}
