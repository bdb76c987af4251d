package graph

import (
	"errors"
	"net/http"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
)

// The kinds of an [m365.Error] that are Graph's own, for errors.Is.
var (
	// ErrConflict: the object was changed at the same time, or is not what the
	// change was made for. Read it again, and make the change anew.
	ErrConflict = errors.New("changed meanwhile")
	// ErrPolicy: a policy of the tenant forbids the credential. Trying again is of
	// no use.
	ErrPolicy = errors.New("forbidden by a policy of the tenant")
	// ErrFull: the application holds as many credentials as it can.
	ErrFull = errors.New("full")
	// ErrProof: the proof of possession was refused. Graph does not say why, and the
	// access token has nothing to do with it.
	ErrProof = errors.New("proof refused")
	// ErrDuplicate: the application has the certificate already.
	ErrDuplicate = errors.New("duplicate")
)

// What a caller lacks whom Graph forbids something.
const (
	needsRead    = "give the application that signs in the permission Application.Read.All of Microsoft Graph (type Application) and grant admin consent, or Application.ReadWrite.OwnedBy for the applications that it owns; a new permission shows in tokens up to an hour later"
	needsReadAll = "give the application that signs in the permission Application.Read.All of Microsoft Graph (type Application) and grant admin consent; a new permission shows in tokens up to an hour later"
	needsWrite   = "give the application that signs in the permission Application.ReadWrite.OwnedBy of Microsoft Graph (type Application), grant admin consent, and make its service principal an owner of the application that is changed; Application.ReadWrite.All does without the owner and may change all applications"
	needsRoll    = "an application needs no permission to change its own keys: for that, sign in as it. To change those of another, sign in with Application.ReadWrite.OwnedBy of Microsoft Graph as an owner of it, or with Application.ReadWrite.All"
)

// refusals give errors their kinds, and are looked through from the top. What stands
// in a field must be found in the error's; Graph documents few of its codes, and tells
// some refusals apart by their text alone. What people are told about them stands with
// the explanations of m365.
var refusals = []struct {
	kind    error
	status  int
	code    string
	message string
	paths   []string // endings of the address; any when empty
}{
	{kind: ErrConflict, code: "ConcurrencyViolation"},
	{kind: ErrConflict, message: "There is no key credential with KeyId"},
	{kind: ErrPolicy, code: "AsPerAppPolicy"},
	{kind: ErrFull, code: "QuotaExceeded"},
	{kind: ErrFull, code: "SizeExceeded"},
	{kind: ErrProof, status: http.StatusUnauthorized, code: "Authentication_MissingOrMalformed", paths: []string{"/addKey", "/removeKey"}},
	{kind: ErrDuplicate, message: "conflicting key identifier"},
	{kind: m365.ErrNotFound, message: "No key credential found"},
}

// classify completes errors by what Graph says.
func classify(e *m365.Error) {
	for _, r := range refusals {
		if (r.status == 0 || r.status == e.Status) && strings.Contains(e.Code, r.code) && strings.Contains(e.Message, r.message) && endsIn(e.URL, r.paths) {
			e.Kind = r.kind
			return
		}
	}
}

func endsIn(address string, paths []string) bool {
	for _, p := range paths {
		if strings.HasSuffix(address, p) {
			return true
		}
	}
	return len(paths) == 0
}
