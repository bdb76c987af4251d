package logs

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// mostInBatch is how many queries a batch may have [K].
const mostInBatch = 100

// batchRequest is one query of a batch.
type batchRequest struct {
	ID        string            `json:"id"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	Method    string            `json:"method"`
	Path      string            `json:"path"`
	Workspace string            `json:"workspace"`
}

// batchResponse is the answer to one.
type batchResponse struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    any               `json:"body"`
}

// serveBatch answers the queries of a batch in their order. What is wrong with
// one is no matter of the others.
func (e *API) serveBatch(w http.ResponseWriter, r *http.Request, who token.Caller) error {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return badArgument("The body cannot be read.")
	}
	batch, err := readBatch(text)
	if err != nil {
		return err
	}
	responses := make([]batchResponse, len(batch))
	for i, one := range batch {
		a := batchResponse{ID: one.ID, Status: http.StatusOK, Headers: map[string]string{"Content-Type": "application/json; charset=utf-8"}}
		if result, err := e.answerOne(r, who, one); err != nil {
			f := &failure{status: http.StatusInternalServerError, code: "ServiceError", text: "An internal error has occurred."}
			errors.As(err, &f)
			a.Status, a.Body = f.status, f.body()
		} else if result == nil {
			a.Status = http.StatusNoContent
		} else {
			a.Body = result
		}
		responses[i] = a
	}
	origin.WriteJSON(w, http.StatusOK, map[string]any{"responses": responses})
	return nil
}

// readBatch reads the body of a batch, whose queries must each have an id of
// their own.
func readBatch(text []byte) ([]batchRequest, error) {
	var body struct {
		Requests []batchRequest `json:"requests"`
	}
	if err := decode(text, &body); err != nil {
		return nil, err
	}
	if len(body.Requests) == 0 || len(body.Requests) > mostInBatch {
		return nil, badArgument("A batch has from 1 to %d requests.", mostInBatch)
	}
	seen := map[string]bool{}
	for _, one := range body.Requests {
		if one.ID == "" || seen[one.ID] {
			return nil, badArgument("Each request of a batch needs an id of its own.")
		}
		seen[one.ID] = true
	}
	return body.Requests, nil
}

func (e *API) answerOne(r *http.Request, who token.Caller, one batchRequest) (*answer, error) {
	if err := e.authorize(r, who, workspaces, one.Workspace); err != nil {
		return nil, err
	}
	if one.Path != "/query" || one.Method != http.MethodPost {
		return nil, notEmulated("%s %s in a batch", origin.Printable(one.Method), origin.Printable(one.Path))
	}
	fault := e.Cloud.Faults.Take(origin.Logs, "batch", Partial, Timeout)
	if fault != nil && fault.Kind == Timeout {
		return nil, timedOut()
	}
	now := e.Cloud.Now()
	q := &request{from: time.Unix(0, 0), to: now.Add(time.Hour)}
	if err := q.readBody(one.Body, now); err != nil {
		return nil, err
	}
	for name, value := range one.Headers {
		if strings.EqualFold(name, "Prefer") {
			q.readPrefer([]string{value})
		}
	}
	if strings.TrimSpace(q.query) == "" {
		return nil, badArgument("The query is missing.")
	}
	return e.answer(q, workspaces, fault)
}
