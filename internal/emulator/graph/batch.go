package graph

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const maxBatch = 20

// batchItem is one request of a $batch.
type batchItem struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

// batchAnswer is what came of it.
type batchAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    any               `json:"body,omitempty"`
}

// recorder keeps an answer that is part of another.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// batch answers the requests one after the other, each as if it had come by
// itself with the token of the $batch.
func (q *request) batch() (answer, *graphError) {
	items, err := readBatch(q.body)
	if err != nil {
		return answer{}, err
	}
	responses := []batchAnswer{}
	failed := map[string]bool{}
	for _, item := range items {
		var one batchAnswer
		if slices.ContainsFunc(item.DependsOn, func(id string) bool { return failed[strings.ToLower(id)] }) {
			one = batchAnswer{ID: item.ID, Status: http.StatusFailedDependency, Headers: map[string]string{"Content-Type": "application/json"},
				Body: map[string]any{"error": map[string]any{"code": "FailedDependency", "message": "A request that this one depends on has failed."}}}
		} else {
			one = q.answerItem(item)
		}
		failed[strings.ToLower(item.ID)] = one.Status >= http.StatusBadRequest
		responses = append(responses, one)
	}
	return answer{status: http.StatusOK, body: map[string]any{"responses": responses}}, nil
}

// readBatch reads and checks the body of a $batch.
func readBatch(body []byte) ([]batchItem, *graphError) {
	raw, err := object(body)
	if err != nil {
		return nil, err
	}
	var items []batchItem
	if raw["requests"] == nil || len(raw) != 1 || json.Unmarshal(raw["requests"], &items) != nil {
		return nil, badBatch("Invalid batch payload format.")
	}
	if len(items) == 0 || len(items) > maxBatch {
		return nil, badBatch("Number of batch request steps must be from 1 to 20.")
	}
	seen := map[string]bool{}
	for _, item := range items {
		id := strings.ToLower(item.ID)
		u, err := url.Parse(item.URL)
		switch {
		case id == "":
			return nil, badBatch("A batch request step must have an id.")
		case seen[id]:
			return nil, badBatch("The ids of batch request steps must be unique.")
		case err != nil || u.IsAbs() || u.Host != "" || item.URL == "" || item.Method == "":
			return nil, badBatch("A batch request step must have a method and a relative url.")
		case hasBody(item) && header(item, "Content-Type") == "":
			return nil, badBatch("A batch request step with a body must have the header Content-Type.")
		}
		for _, other := range item.DependsOn {
			if !seen[strings.ToLower(other)] { // A later one is refused as well [K].
				return nil, badBatch("A batch request step depends on one that does not come before it.")
			}
		}
		seen[id] = true
	}
	return items, nil
}

func badBatch(message string) *graphError {
	return &graphError{Status: http.StatusBadRequest, Code: "BadRequest", Message: message}
}

func hasBody(item batchItem) bool { return len(item.Body) > 0 && string(item.Body) != "null" }

func header(item batchItem, name string) string {
	for n, v := range item.Headers {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

func (q *request) answerItem(item batchItem) batchAnswer {
	var body []byte
	if hasBody(item) {
		body = item.Body
	}
	bad := func(message string) batchAnswer {
		return batchAnswer{ID: item.ID, Status: http.StatusBadRequest, Headers: map[string]string{"Content-Type": "application/json"},
			Body: map[string]any{"error": map[string]any{"code": "BadRequest", "message": message}}}
	}
	address := "/" + q.version + "/" + strings.TrimPrefix(item.URL, "/")
	r, err := http.NewRequestWithContext(q.r.Context(), strings.ToUpper(item.Method), address, bytes.NewReader(body))
	if err != nil {
		return bad("The batch request step cannot be read.")
	}
	for name, value := range item.Headers {
		if !strings.EqualFold(name, "Authorization") && !strings.EqualFold(name, "Host") {
			r.Header.Set(name, value)
		}
	}
	r.Header.Set("Authorization", q.r.Header.Get("Authorization"))
	r.Host = q.r.Host
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	q.serve(w, r, false)
	one := batchAnswer{ID: item.ID, Status: w.status, Headers: map[string]string{}}
	for _, name := range []string{"Content-Type", "Location", "Retry-After", "Cache-Control"} {
		if v := w.header.Get(name); v != "" {
			one.Headers[name] = v
		}
	}
	switch {
	case w.body.Len() == 0:
	case json.Valid(w.body.Bytes()) && strings.HasPrefix(w.header.Get("Content-Type"), "application/json"):
		one.Body = json.RawMessage(bytes.TrimSpace(w.body.Bytes()))
	default:
		one.Body = base64.StdEncoding.EncodeToString(w.body.Bytes())
	}
	return one
}
