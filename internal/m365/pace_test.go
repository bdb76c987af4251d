package m365

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: so many requests in any minute, as fast as they come; spread when it is slow.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(nil)
		ask := func(n int) time.Duration {
			t.Helper()
			began := time.Now()
			for range n {
				if err := p.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(began)
		}
		if took := ask(10_000); took != 0 {
			t.Errorf("without a bound it took %v", took)
		}
		time.Sleep(time.Minute)
		p.Set(100, false, time.Time{})
		if took := ask(100); took != 0 {
			t.Errorf("the first hundred took %v", took)
		}
		if took := ask(150); took != 2*time.Minute {
			t.Errorf("the next 150 took %v, want two minutes: 100 in each", took)
		}
		time.Sleep(2 * time.Minute)
		p.Set(60, true, time.Time{})
		if took := ask(11); took != 10*time.Second {
			t.Errorf("11 spread ones took %v", took)
		}
		p.Set(60, true, time.Now().Add(30*time.Second))
		if took := ask(1); took != 30*time.Second {
			t.Errorf("it was left alone for %v", took)
		}
		p.Set(60, true, time.Now().Add(10*time.Minute))
		err := p.wait(t.Context())
		var e *Error
		if !errors.Is(err, ErrThrottled) || !errors.As(err, &e) || e.RetryAfter != 10*time.Minute || retryable(err) {
			t.Errorf("left alone for long: %v", err)
		}
	})
}

// TestPaceChanges: who waits hears of a faster pace at once.
func TestPaceChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(nil)
		p.Set(1, false, time.Time{})
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(time.Second, func() { p.Set(10, false, time.Time{}) })
		if err := p.wait(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("it waited for %v, %v", time.Since(began), err)
		}
	})
}

// TestPipelineKeepsItsPace: each try is counted, and who owns the pace hears that the API
// throttles, also by a code of its own.
func TestPipelineKeepsItsPace(t *testing.T) {
	tries := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch tries++; tries {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
		case 2:
			w.WriteHeader(403)
			io.WriteString(w, `{"error":{"code":"AF429","message":"Too many requests."}}`)
		}
	}))
	defer server.Close()
	var heard []time.Duration
	pace := NewPace(func(after time.Duration) { heard = append(heard, after) })
	pace.Set(100, false, time.Time{})
	p := NewPipeline(PipelineOptions{
		Audience: "a", Credential: new(counting), HTTP: clientFor(t, server), Retry: Retry{Delay: time.Microsecond}, Pace: pace,
		Classify: func(e *Error) {
			if e.Code == "AF429" {
				e.Kind = ErrThrottled
			}
		},
	})
	for _, stream := range []bool{false, true} {
		resp, err := p.Do(t.Context(), Call{Op: "asking", Method: http.MethodGet, URL: server.URL, Stream: stream})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if tries != 4 || len(pace.sent) != 4 || !slices.Equal(heard, []time.Duration{time.Second, 0}) {
		t.Errorf("%d tries, %d counted, heard %v", tries, len(pace.sent), heard)
	}
	pace.Set(100, false, time.Now().Add(time.Hour))
	_, err := p.Do(t.Context(), Call{Op: "asking", Method: http.MethodGet, URL: server.URL})
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrThrottled) || e.Op != "asking" || e.RetryAfter < 59*time.Minute || tries != 4 {
		t.Errorf("%v after %d tries", err, tries)
	}
}
