package keyvault

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// Refusal is an error as Key Vault words it. Code and Inner are the service's
// own (https://learn.microsoft.com/azure/key-vault/general/rest-error-codes);
// Microsoft documents no texts that could be relied on.
type Refusal struct {
	Status  int
	Code    string
	Inner   string // code of the inner error; none when empty
	Message string
}

func (e *Refusal) Error() string { return e.Code + ": " + e.Message }

func refuse(status int, code, inner, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Inner: inner, Message: fmt.Sprintf(format, args...)}
}

func badParameter(format string, args ...any) *Refusal {
	return refuse(http.StatusBadRequest, "BadParameter", "", format, args...)
}

func forbidden(inner, format string, args ...any) *Refusal {
	return refuse(http.StatusForbidden, "Forbidden", inner, format, args...)
}

func conflict(inner, format string, args ...any) *Refusal {
	return refuse(http.StatusConflict, "Conflict", inner, format, args...)
}

// kind is one of the three kinds of objects, as error codes spell it.
type kind string

const (
	certificateKind kind = "Certificate"
	secretKind      kind = "Secret"
	keyKind         kind = "Key"
)

func (k kind) lower() string { return strings.ToLower(string(k)) }

// collection is the first segment of the paths of objects of a kind.
func (k kind) collection() string { return k.lower() + "s" }

func (k kind) notFound(name string) *Refusal {
	return refuse(http.StatusNotFound, string(k)+"NotFound", "",
		"A %[1]s with (name/id) %[2]s was not found in this key vault. If you recently deleted this %[1]s you may be able to recover it using the correct recovery command.",
		k.lower(), name)
}

// disabled refuses to use a version that is disabled. The inner codes are [K].
func (k kind) disabled(operation string) *Refusal {
	return forbidden(string(k)+"Disabled", "Operation %s is not allowed on a disabled %s.", operation, k.lower())
}

// managed refuses to change what belongs to a certificate. The status is
// documented nowhere [K].
func (k kind) managed(name string) *Refusal {
	return forbidden("", "The %s %s belongs to a certificate. Change the certificate instead.", k.lower(), name)
}

func writeRefusal(w http.ResponseWriter, r *http.Request, e *Refusal) {
	answerHeaders(w, r)
	body := map[string]any{"code": e.Code, "message": e.Message}
	if e.Inner != "" {
		body["innererror"] = map[string]any{"code": e.Inner}
	}
	origin.WriteJSON(w, e.Status, map[string]any{"error": body})
}

// refuseFailure words what goes wrong before the vault is asked.
func refuseFailure(w http.ResponseWriter, r *http.Request, f origin.Failure) {
	code := "InternalServerError"
	switch f.Status {
	case http.StatusTooManyRequests:
		code = "Throttled"
	case http.StatusServiceUnavailable:
		code = "ServiceUnavailable"
	case http.StatusNotImplemented:
		code = "NotImplemented"
	}
	writeRefusal(w, r, &Refusal{Status: f.Status, Code: code, Message: f.Text})
}
