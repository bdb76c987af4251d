package origin_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// An API whose one operation says how long its request's body is.
func length() origin.API {
	return origin.API{
		Name: origin.Graph,
		Operation: func(r *http.Request) string {
			if r.URL.Path == "/length" {
				return "length"
			}
			return ""
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			origin.WriteJSON(w, http.StatusOK, len(b))
		}),
		Refuse: func(w http.ResponseWriter, _ *http.Request, f origin.Failure) { http.Error(w, f.Text, f.Status) },
	}
}

func TestHandler(t *testing.T) {
	type called struct {
		API, Operation string
		Status         int
	}
	var calls []called
	var log strings.Builder
	c := &origin.Cloud{
		Now: func() time.Time { return time.Date(2031, 5, 4, 3, 2, 1, 0, time.FixedZone("", 3600)) },
		Log: slog.New(slog.NewTextHandler(&log, nil)), Faults: origin.NewFaults(1, true),
		Called: func(_ *http.Request, api, operation string, status int) {
			calls = append(calls, called{api, operation, status})
		},
	}
	h := c.Handler(length(), 0)
	do := func(target, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, target, strings.NewReader(body)))
		return w
	}
	if w := do("/length", "12345"); w.Code != 200 || w.Body.String() != "5\n" || w.Header().Get("Date") != "Sun, 04 May 2031 02:02:01 GMT" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	if w := do("/length", strings.Repeat("x", 1<<20+1)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of more than 1 MiB: %d", w.Code)
	}
	w := do("/other?token=secret&a=1", "")
	const named = "POST /other with query a, token"
	if w.Code != http.StatusNotImplemented || !strings.Contains(w.Body.String(), named) || !strings.Contains(log.String(), named) {
		t.Errorf("%d %s; log %s", w.Code, w.Body, log.String())
	}
	if strings.Contains(w.Body.String()+log.String(), "secret") {
		t.Error("the value of a parameter is told")
	}
	want := []called{{"graph", "length", 200}, {"graph", "length", 413}, {"graph", "", 501}}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Error(diff)
	}
}

// What is made slow on purpose is answered, even when it takes longer than a
// server waits for a request.
func TestLatencyOutlastsTheServersPatience(t *testing.T) {
	c := &origin.Cloud{Now: time.Now, Log: slog.New(slog.DiscardHandler), Faults: origin.NewFaults(1, true)}
	c.Faults.Inject(origin.Fault{Kind: origin.Slow, Delay: 150 * time.Millisecond})
	for _, latency := range []time.Duration{0, 150 * time.Millisecond} {
		server := httptest.NewUnstartedServer(c.Handler(length(), latency))
		server.Config.ReadTimeout = 50 * time.Millisecond
		server.Start()
		defer server.Close()
		for method, body := range map[string]string{http.MethodGet: "", http.MethodPost: strings.Repeat("x", 100_000)} {
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/length", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Errorf("%s with a latency of %s: %v", method, latency, err)
				continue
			}
			if text, err := io.ReadAll(resp.Body); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(len(body)) {
				t.Errorf("%s with a latency of %s: %s (%v)", method, latency, text, err)
			}
			resp.Body.Close()
		}
		c.Faults.Clear()
	}
}

func TestLatencyEndsWithTheRequest(t *testing.T) {
	c := &origin.Cloud{Now: time.Now, Log: slog.New(slog.DiscardHandler), Faults: origin.NewFaults(1, true)}
	server := httptest.NewServer(c.Handler(length(), time.Hour))
	defer server.Close() // waits for the handler
	client := &http.Client{Timeout: 50 * time.Millisecond}
	if resp, err := client.Get(server.URL + "/length"); err == nil {
		resp.Body.Close()
		t.Errorf("an answer at once: %d", resp.StatusCode)
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "\xff\x00", strings.Repeat("ü", 300), "\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := origin.Printable(s)
		if len(got) > 203 || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

func TestIsGUID(t *testing.T) {
	for s, want := range map[string]bool{
		"7e1880b0-ba31-4cde-a2da-860d00a7f4af": true, "7E1880B0-BA31-4CDE-A2DA-860D00A7F4AF": true,
		"{7e1880b0-ba31-4cde-a2da-860d00a7f4af}": false, "7e1880b0ba314cdea2da860d00a7f4af": false,
		"7e1880b0-ba31-4cde-a2da-860d00a7f4ag": false, "": false,
	} {
		if origin.IsGUID(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
