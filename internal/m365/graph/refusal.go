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

// refusals are looked through from the top. What stands in a field must be found in
// the error's; Graph documents few of its codes, and tells some refusals apart by
// their text alone.
var refusals = []struct {
	status  int
	code    string
	message string
	paths   []string // endings of the address; any when empty

	kind   error
	remedy string
}{
	{
		code: "ConcurrencyViolation",
		kind: ErrConflict, remedy: "somebody else changes the application too: wait 5 seconds or more, read it again, and repeat what is still to be done",
	}, {
		message: "There is no key credential with KeyId",
		kind:    ErrConflict, remedy: "one of the keys that were to stay has been removed since the list was read: read the application again, and make the list anew",
	}, {
		message: "Update to existing credential",
		remedy:  "a key credential that is there cannot be changed: send it as Graph shows it, or add another one under a new key ID",
	}, {
		code: "InvalidLifetimeAsPerAppPolicy",
		kind: ErrPolicy, remedy: "a policy of the tenant limits how long a certificate may be valid (Entra ID > Enterprise applications > Application policies): shorten the lifetime, or have the application excepted",
	}, {
		code: "AsPerAppPolicy",
		kind: ErrPolicy, remedy: "a policy of the tenant does not allow this credential (Entra ID > Enterprise applications > Application policies): use a certificate of an authority that the policy trusts, or have the application excepted",
	}, {
		code: "QuotaExceeded",
		kind: ErrFull, remedy: fullRemedy,
	}, {
		code: "SizeExceeded",
		kind: ErrFull, remedy: fullRemedy,
	}, {
		status: http.StatusUnauthorized, code: "Authentication_MissingOrMalformed", paths: []string{"/addKey", "/removeKey"},
		kind: ErrProof, remedy: "see that the proof is signed with a certificate that the application has and that is valid now, that the object ID is the application's own (not its client ID), and that the clock is right; without a valid certificate, set the keys with Application.ReadWrite.OwnedBy or Application.ReadWrite.All",
	}, {
		message: "conflicting key identifier",
		kind:    ErrDuplicate, remedy: "the application has this certificate already: use the key credential that is there",
	}, {
		message: "No key credential found",
		kind:    m365.ErrNotFound, remedy: "it has been removed already, or never was there: nothing is left to do",
	}, {
		code:   "Request_ResourceNotFound",
		remedy: "see that the ID is right (the object ID and the client ID of an application differ) and that it is not deleted; one that was made within the last minute may not show yet",
	}, {
		code:   "Directory_ExpiredPageToken",
		remedy: "list again from the beginning",
	},
}

const fullRemedy = "remove expired certificates and client secrets that nobody uses from the application: all its lists together hold about 1,000 entries, and some 600 certificates fill it"

// classify completes errors by what Graph says.
func classify(e *m365.Error) {
	for _, r := range refusals {
		if r.status != 0 && r.status != e.Status || !strings.Contains(e.Code, r.code) || !strings.Contains(e.Message, r.message) || !endsIn(e.URL, r.paths) {
			continue
		}
		if r.kind != nil {
			e.Kind = r.kind
		}
		e.Remedy = r.remedy
		return
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
