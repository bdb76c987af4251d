package graph

import (
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// graphError is a refusal as Graph words it. Codes are Microsoft's own; the
// messages follow the documented ones where a client may look for them.
type graphError struct {
	Status        int
	Code, Message string
	Details       []errorDetail
}

// errorDetail says what is wrong with one member, which Target names.
type errorDetail struct {
	Code    string `json:"code"`
	Target  string `json:"target,omitempty"`
	Message string `json:"message"`
}

func (e *graphError) Error() string { return e.Code + ": " + e.Message }

func refusal(status int, code, format string, args ...any) *graphError {
	return &graphError{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *graphError {
	return refusal(http.StatusBadRequest, "Request_BadRequest", format, args...)
}

func badValue(name string) *graphError {
	return badRequest("Invalid value specified for property '%s' of resource.", origin.Printable(name))
}

func unsupported(format string, args ...any) *graphError {
	return refusal(http.StatusBadRequest, "Request_UnsupportedQuery", format, args...)
}

func notFound(id string) *graphError {
	return refusal(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", origin.Printable(id))
}

// duplicate refuses a value that must be unique. Graph was seen to answer 409,
// and elsewhere 400 [K].
func duplicate(property string) *graphError {
	return &graphError{
		Status: http.StatusConflict, Code: "Request_MultipleObjectsWithSameKeyValue",
		Message: "Another object with the same value for property " + property + " already exists.",
		Details: []errorDetail{{Code: "ObjectConflict", Target: property, Message: "The value is in use by another object."}},
	}
}

func denied() *graphError {
	return refusal(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

// notEmulated refuses what Graph can do and this one cannot, by its name.
func notEmulated(format string, args ...any) *graphError {
	return refusal(http.StatusNotImplemented, "notImplemented", "The emulated tenant does not know "+format+".", args...)
}

// setHeaders sets what every answer carries, and returns the ids of the request
// that an error repeats.
func (e *API) setHeaders(w http.ResponseWriter, r *http.Request) (requestID, clientRequestID string) {
	requestID = uuid.NewString()
	clientRequestID = r.Header.Get("client-request-id")
	if !origin.IsGUID(clientRequestID) {
		clientRequestID = requestID
	}
	h := w.Header()
	h.Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("request-id", requestID)
	h.Set("client-request-id", clientRequestID)
	h.Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Emulated","Slice":"E","Ring":"0","ScaleUnit":"000","RoleInstance":"REEVE"}}`)
	h.Set("OData-Version", "4.0")
	return requestID, clientRequestID
}

func (e *API) writeError(w http.ResponseWriter, r *http.Request, err *graphError) {
	requestID, clientRequestID := e.setHeaders(w, r)
	body := map[string]any{
		"code": err.Code, "message": err.Message,
		"innerError": map[string]any{
			"date":       e.Cloud.Now().UTC().Format("2006-01-02T15:04:05"),
			"request-id": requestID, "client-request-id": clientRequestID,
		},
	}
	if len(err.Details) > 0 {
		body["details"] = err.Details
	}
	origin.WriteJSON(w, err.Status, map[string]any{"error": body})
}

// refuse words what goes wrong before or instead of the answer.
func (e *API) refuse(w http.ResponseWriter, r *http.Request, f origin.Failure) {
	code := "generalException"
	switch f.Status {
	case http.StatusTooManyRequests:
		code = "TooManyRequests"
	case http.StatusServiceUnavailable:
		code = "serviceNotAvailable"
	case http.StatusNotImplemented:
		code = "notImplemented"
	}
	e.writeError(w, r, &graphError{Status: f.Status, Code: code, Message: f.Text})
}
