package m365

import (
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// counting gives out tokens numbered by how often it forgot one.
type counting struct {
	mu     sync.Mutex
	number int
	scopes []string
}

func (c *counting) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scopes = o.Scopes
	return azcore.AccessToken{Token: fmt.Sprint("token-", c.number), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (c *counting) Forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token == fmt.Sprint("token-", c.number) {
		c.number++
	}
}

// call sends one request through a pipeline to a server that answers by handler.
func call(t *testing.T, c Call, handler http.HandlerFunc) (*http.Response, *counting, error) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	cred := new(counting)
	p := NewPipeline(PipelineOptions{
		Audience:   "https://api.example",
		Credential: cred,
		HTTP:       clientFor(t, server),
		Retry:      Retry{Max: 3, Delay: time.Microsecond, MaxDelay: 2 * time.Second},
	})
	c.Op, c.Method, c.URL = "asking", cmp.Or(c.Method, http.MethodGet), server.URL+"/thing?secret=query"
	resp, err := p.Do(t.Context(), c)
	return resp, cred, err
}

func clientFor(t *testing.T, server *httptest.Server) *http.Client {
	t.Helper()
	client, err := NewHTTPClient(NetworkOptions{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func TestPipelineAuthorizesAndNamesItself(t *testing.T) {
	resp, cred, err := call(t, Call{}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s", r.Header.Get("Authorization"), r.Header.Get("User-Agent"))
	})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(body), "Bearer token-0|reeve/") {
		t.Errorf("sent %s", body)
	}
	if got := strings.Join(cred.scopes, " "); got != "https://api.example/.default" {
		t.Errorf("asked for the scope %s", got)
	}
}

func TestPipelineRetries(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter){
		"429":      func(w http.ResponseWriter) { w.WriteHeader(429) },
		"408":      func(w http.ResponseWriter) { w.WriteHeader(408) },
		"500":      func(w http.ResponseWriter) { w.WriteHeader(500) },
		"502 HTML": func(w http.ResponseWriter) { w.WriteHeader(502); io.WriteString(w, "<html>") },
		"503":      func(w http.ResponseWriter) { w.WriteHeader(503) },
		"504":      func(w http.ResponseWriter) { w.WriteHeader(504) },
		"reset":    func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"cut body": func(w http.ResponseWriter) { w.Header().Set("Content-Length", "10"); io.WriteString(w, "[") },
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			_, _, err := call(t, Call{}, func(w http.ResponseWriter, r *http.Request) {
				if tries++; tries <= 3 {
					fail(w)
				}
			})
			if err != nil || tries != 4 {
				t.Errorf("%d tries, error %v; want success at the fourth", tries, err)
			}
		})
	}
}

func TestPipelineGivesUp(t *testing.T) {
	tests := []struct {
		name   string
		answer func(http.ResponseWriter)
		tries  int
		kind   error
		want   string
	}{
		{"throttled for ever", func(w http.ResponseWriter) { w.WriteHeader(429) }, 4, ErrThrottled, "429"},
		{"failing for ever", func(w http.ResponseWriter) { w.WriteHeader(503) }, 4, ErrTransient, "503"},
		{"asked to wait too long", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "120"); w.WriteHeader(429) }, 1, ErrThrottled, "retry after 2m0s"},
		{"forbidden", func(w http.ResponseWriter) {
			w.Header().Set("x-ms-request-id", "r-1")
			w.WriteHeader(403)
			io.WriteString(w, `{"error":{"code":"Nope","message":"not you","innererror":{"code":"Inner"}}}`)
		}, 1, ErrForbidden, "127.0.0.1"},
		{"not found", func(w http.ResponseWriter) { w.WriteHeader(404); io.WriteString(w, `{"Message":"gone away"}`) }, 1, ErrNotFound, "gone away"},
		{"bad request", func(w http.ResponseWriter) { w.WriteHeader(400); io.WriteString(w, `no JSON`) }, 1, nil, "no JSON"},
		{"redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(302)
		}, 1, nil, "302 Found"},
		{"echoed token", func(w http.ResponseWriter) {
			w.WriteHeader(400)
			io.WriteString(w, `{"error":{"code":"X","message":"bad token eyJhbGciOi.eyJzZWNyZXQi.c2lnbmF0"}}`)
		}, 1, nil, "bad token <token>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tries := 0
			_, _, err := call(t, Call{}, func(w http.ResponseWriter, r *http.Request) { tries++; test.answer(w) })
			if tries != test.tries {
				t.Errorf("%d tries, want %d", tries, test.tries)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if test.kind != nil && !errors.Is(err, test.kind) || e.Kind != test.kind {
				t.Errorf("kind %v, want %v", e.Kind, test.kind)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "query") {
				t.Errorf("got %q, want %q in it and no query", err, test.want)
			}
		})
	}
}

func TestPipelineReadsErrors(t *testing.T) {
	_, _, err := call(t, Call{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-ms-request-id", "r-1")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(403)
		io.WriteString(w, `{"error":{"code":"Nope","message":"not you","innererror":{"code":"Inner"}}}`)
	})
	var e *Error
	if !errors.As(err, &e) || e.Status != 403 || e.Code != "Nope/Inner" || e.Message != "not you" || e.RequestID != "r-1" || e.RetryAfter != 7*time.Second {
		t.Errorf("got %+v", e)
	}
}

func TestPipelineObeysRetryAfter(t *testing.T) {
	var at []time.Time
	_, _, err := call(t, Call{}, func(w http.ResponseWriter, r *http.Request) {
		if at = append(at, time.Now()); len(at) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
		}
	})
	if err != nil || len(at) != 2 {
		t.Fatalf("%d tries, error %v", len(at), err)
	}
	if waited := at[1].Sub(at[0]); waited < time.Second {
		t.Errorf("waited %s, want a second", waited)
	}
}

func TestPipelineTakesAFreshToken(t *testing.T) {
	var got []string
	_, _, err := call(t, Call{}, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		if len(got) == 1 {
			w.WriteHeader(401)
		}
	})
	if want := "[Bearer token-0 Bearer token-1]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("sent %v, error %v; want %s", got, err, want)
	}
}

func TestPipelineStopsAtASecondRefusal(t *testing.T) {
	tries := 0
	_, _, err := call(t, Call{}, func(w http.ResponseWriter, r *http.Request) { tries++; w.WriteHeader(401) })
	if !errors.Is(err, ErrUnauthorized) || tries != 2 {
		t.Errorf("%d tries, error %v; want two and unauthorized", tries, err)
	}
}

func TestPipelineSendsItsBodyEachTime(t *testing.T) {
	const body = `{"a":"b"}`
	tries := 0
	_, cred, err := call(t, Call{Method: http.MethodPatch, Body: []byte(body)}, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body || r.Header.Get("Content-Type") != "application/json" || r.ContentLength != int64(len(body)) {
			t.Errorf("try %d: got %q of %s, error %v", tries, got, r.Header.Get("Content-Type"), err)
		}
		switch tries++; tries {
		case 1:
			w.WriteHeader(503)
		case 2:
			w.WriteHeader(401)
		case 3:
			panic(http.ErrAbortHandler)
		}
	})
	if err != nil || tries != 4 || cred.number != 1 {
		t.Errorf("%d tries, error %v; want success at the fourth", tries, err)
	}
}

// What is sent once is sent once, over a connection that is kept too; a pipeline
// without retries does the same.
func TestPipelineSendsOnce(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter){
		"429":   func(w http.ResponseWriter) { w.Header().Set("Retry-After", "1"); w.WriteHeader(429) },
		"503":   func(w http.ResponseWriter) { w.WriteHeader(503) },
		"reset": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		for _, method := range []string{http.MethodPatch, http.MethodGet} {
			for _, retry := range []Retry{{Max: 3, Delay: time.Microsecond}, {Max: -1}} {
				tries := 0
				server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if tries++; tries > 1 {
						fail(w)
					}
				}))
				p := NewPipeline(PipelineOptions{Audience: "a", Credential: new(counting), HTTP: clientFor(t, server), Retry: retry})
				for _, ok := range []bool{true, false} {
					c := Call{Op: "writing", Method: method, URL: server.URL, Once: retry.Max > 0}
					if method == http.MethodPatch {
						c.Body = []byte("{}")
					}
					resp, err := p.Do(t.Context(), c)
					if (err == nil) != ok {
						t.Fatalf("%s %s: %v", name, method, err)
					}
					if err == nil {
						resp.Body.Close()
					}
				}
				// net/http itself asks again for what only reads, when a kept
				// connection breaks.
				most := 2
				if method == http.MethodGet && name == "reset" {
					most = 3
				}
				if tries < 2 || tries > most {
					t.Errorf("%s %s, %+v: sent %d times besides the first", name, method, retry, tries-1)
				}
				server.Close()
			}
		}
	}
}

// A 401 of another meaning leaves the token alone; a lacking permission does not.
func TestPipelineKnowsWhatA401IsAbout(t *testing.T) {
	errOwn := errors.New("own")
	for kind, want := range map[error]int{errOwn: 1, ErrForbidden: 2, ErrUnauthorized: 2} {
		tries := 0
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tries++; w.WriteHeader(401) }))
		p := NewPipeline(PipelineOptions{
			Audience: "a", Credential: new(counting), HTTP: clientFor(t, server), Retry: Retry{Delay: time.Microsecond},
			Classify: func(e *Error) { e.Kind = kind },
		})
		_, err := p.Do(t.Context(), Call{Op: "asking", Method: http.MethodGet, URL: server.URL})
		if !errors.Is(err, kind) || tries != want {
			t.Errorf("%v: %d tries, want %d, error %v", kind, tries, want, err)
		}
		server.Close()
	}
}

func TestPipelineBoundsAnswers(t *testing.T) {
	endless := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}
	}
	if _, _, err := call(t, Call{MaxBody: 1000}, endless(200)); !errors.Is(err, errTooLarge) || errors.Is(err, ErrTransient) {
		t.Errorf("got %v, want the answer refused for its size", err)
	}
	if _, _, err := call(t, Call{MaxBody: 1000}, endless(404)); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want the error in spite of its size", err)
	}
	exact := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("x", 1000)) }
	if _, _, err := call(t, Call{MaxBody: 1000}, exact); err != nil {
		t.Errorf("an answer of exactly the limit: %v", err)
	}
	resp, _, err := call(t, Call{Stream: true}, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 3<<20))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != 3<<20 || err != nil {
		t.Errorf("streamed %d bytes, error %v", n, err)
	}
}

func TestPipelineNamesAnUntrustedServer(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	client, err := NewHTTPClient(NetworkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPipeline(PipelineOptions{Audience: "a", Credential: new(counting), HTTP: client, Retry: Retry{Delay: time.Microsecond}})
	_, err = p.Do(t.Context(), Call{Op: "asking", Method: "GET", URL: server.URL + "/x?secret=query"})
	if err == nil || errors.Is(err, ErrTransient) || !strings.Contains(err.Error(), "as ca-file") || strings.Contains(err.Error(), "query") {
		t.Errorf("got %v, want what to do about the authority", err)
	}
}

func TestPipelineNamesALostNetwork(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	client := clientFor(t, server)
	server.Close()
	p := NewPipeline(PipelineOptions{Audience: "a", Credential: new(counting), HTTP: client, Retry: Retry{Max: 1, Delay: time.Microsecond}})
	_, err := p.Do(t.Context(), Call{Op: "asking", Method: "GET", URL: server.URL + "/x?secret=query"})
	if !errors.Is(err, ErrTransient) || strings.Contains(err.Error(), "query") {
		t.Errorf("got %v, want a transient error without the query", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Do(ctx, Call{Op: "asking", Method: "GET", URL: server.URL})
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrTransient) {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestNewHTTPClientRefusesCA(t *testing.T) {
	if _, err := NewHTTPClient(NetworkOptions{CA: []byte("nothing")}); err == nil {
		t.Error("text without a certificate was taken for an authority")
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "99999999999999999999": 0,
		"999999999999":                  30 * 24 * time.Hour,
		"Sat, 21 Nov 2026 09:01:30 GMT": 90 * time.Second,
		"Sat, 21 Nov 2026 08:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}, "Date": {"Sat, 21 Nov 2026 09:00:00 GMT"}}); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
