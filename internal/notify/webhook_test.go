package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	webhookPath = "/hooks/canary-webhook-token?sig=canary-webhook-signature"
	webhookKey  = "canary-hmac-key"
)

// startServer starts a server that speaks TLS, and gives its certificate.
func startServer(t *testing.T, h http.HandlerFunc) (*httptest.Server, []byte) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func newWebhook(t *testing.T, s *httptest.Server, ca []byte) *Webhook {
	t.Helper()
	w, err := NewWebhook(WebhookOptions{URL: s.URL + webhookPath, Secret: webhookKey, CA: ca,
		Now: func() time.Time { return time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

func TestWebhookPostsAlert(t *testing.T) {
	type request struct {
		method, uri string
		header      http.Header
		body        []byte
	}
	requests := make(chan request, 1)
	s, ca := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Method, r.RequestURI, r.Header, body}
		w.WriteHeader(http.StatusNoContent)
	})
	e := renewed(t)
	e.Fields = append(e.Fields, Field{"severity", "mild"}, Field{"7", "seven"}, Field{"client.id", "another"})
	if err := newWebhook(t, s, ca).Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	mac := hmac.New(sha256.New, []byte(webhookKey))
	mac.Write(r.body)
	for name, want := range map[string]string{
		"Content-Type":      "application/json",
		"X-Reeve-Event":     e.ID,
		"X-Reeve-Signature": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if r.method != "POST" || r.uri != webhookPath {
		t.Errorf("it was %s %s", r.method, r.uri)
	}
	var got, want any
	if err := json.Unmarshal(r.body, &got); err != nil {
		t.Fatal(err)
	}
	const labels = `{"alertname": "certificate-renewed", "severity": "warning", "event": "certificate-renewed/6f1c/0a1b2c",
		"application": "Überwachung", "client_id": "11111111-2222-3333-4444-555555555555", "not_after": "2027-11-02",
		"severity_": "mild", "_7": "seven", "client_id_": "another"}`
	const annotations = `{"summary": "The certificate of Überwachung was renewed",
		"description": "A new certificate is active.\n.\nThe old one <drains> & goes.",
		"remedy": "Deploy the certificate to programs that do not read the vault."}`
	fingerprint := sha256.Sum256([]byte(e.ID))
	if err := json.Unmarshal(fmt.Appendf(nil, `{"version": "4", "groupKey": "{}:{event=\"certificate-renewed/6f1c/0a1b2c\"}",
		"truncatedAlerts": 0, "status": "firing", "receiver": "reeve", "groupLabels": {"event": "certificate-renewed/6f1c/0a1b2c"},
		"commonLabels": %[1]s, "commonAnnotations": %[2]s, "externalURL": "",
		"alerts": [{"status": "firing", "labels": %[1]s, "annotations": %[2]s, "startsAt": "2026-11-02T09:00:00Z",
			"endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "%[3]x"}]}`, labels, annotations, fingerprint[:8]), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWebhookAnswers(t *testing.T) {
	for _, test := range []struct {
		name      string
		code      int
		header    map[string]string
		permanent bool
		after     time.Duration
	}{
		{name: "accepted", code: 202},
		{name: "failing", code: 500},
		{name: "away", code: 503, header: map[string]string{"Retry-After": "Mon, 02 Nov 2026 09:10:00 GMT"}, after: 10 * time.Minute},
		{name: "back already", code: 503, header: map[string]string{"Retry-After": "Mon, 02 Nov 2026 08:10:00 GMT"}},
		{name: "slow", code: 408},
		{name: "throttled", code: 429, header: map[string]string{"Retry-After": "120"}, after: 2 * time.Minute},
		{name: "throttled for ever", code: 429, header: map[string]string{"Retry-After": "99999999999"}, after: longestRest},
		{name: "throttled, nonsense", code: 429, header: map[string]string{"Retry-After": "-5"}},
		{name: "bad request", code: 400, permanent: true},
		{name: "unauthorized", code: 401, permanent: true},
		{name: "gone", code: 410, permanent: true},
		{name: "moved", code: 308, header: map[string]string{"Location": "/elsewhere"}, permanent: true},
		{name: "odd", code: 299},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			s, ca := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				for k, v := range test.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(test.code)
				fmt.Fprintf(w, "you posted to %s", r.RequestURI)
			})
			err := newWebhook(t, s, ca).Send(t.Context(), renewed(t))
			if (err == nil) != (test.code < 300) || isPermanent(err) != test.permanent || retryAfter(err) != test.after {
				t.Errorf("got %v, permanent %t, after %s", err, isPermanent(err), retryAfter(err))
			}
			if calls != 1 {
				t.Errorf("it was called %d times", calls)
			}
			if err != nil && !strings.Contains(err.Error(), "posting to the webhook at 127.0.0.1:") {
				t.Errorf("%v does not say what was being done", err)
			}
			checkNoCanary(t, err)
		})
	}
}

func TestWebhookFailsWithoutAnswer(t *testing.T) {
	stop := make(chan struct{})
	hang, ca := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	defer close(stop)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := newWebhook(t, hang, ca).Send(ctx, renewed(t))
	if err == nil || isPermanent(err) {
		t.Errorf("got %v", err)
	}
	checkNoCanary(t, err)

	abort, ca2 := startServer(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	err = newWebhook(t, abort, ca2).Send(t.Context(), renewed(t))
	if err == nil || isPermanent(err) {
		t.Errorf("got %v", err)
	}
	checkNoCanary(t, err)

	// An authority that is not trusted, and an endless answer, which is not waited for.
	err = newWebhook(t, abort, nil).Send(t.Context(), renewed(t))
	if err == nil || isPermanent(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	checkNoCanary(t, err)
	endless, ca3 := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	if err := newWebhook(t, endless, ca3).Send(t.Context(), renewed(t)); err != nil {
		t.Error(err)
	}
	closed, ca4 := startServer(t, nil)
	w := newWebhook(t, closed, ca4)
	closed.Close()
	err = w.Send(t.Context(), renewed(t))
	if err == nil || isPermanent(err) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	checkNoCanary(t, err)
}

func TestNewWebhookRefuses(t *testing.T) {
	for _, u := range []string{"", "hooks.example" + webhookPath, "http://hooks.example" + webhookPath, "ftp://127.0.0.1" + webhookPath,
		"https:" + webhookPath, "https://%zz" + webhookPath, "https://hooks.example:x" + webhookPath, "https://user:canary-webhook-token@/\x00"} {
		w, err := NewWebhook(WebhookOptions{URL: u})
		if err == nil {
			t.Errorf("%q gave %v", u, w)
		}
		checkNoCanary(t, err)
	}
	for _, u := range []string{"http://localhost:1" + webhookPath, "http://[::1]:1" + webhookPath, "HTTPS://hooks.example" + webhookPath} {
		if _, err := NewWebhook(WebhookOptions{URL: u}); err != nil {
			t.Errorf("%q: %v", u, err)
		}
	}
}

// checkNoCanary looks for secrets of the tests in a value, as it prints.
func checkNoCanary(t *testing.T, v any) {
	t.Helper()
	var text strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&text, verb+"\n", v)
	}
	if err, ok := v.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&text, "%v %#v\n", err, err)
		}
	}
	if encoded, err := json.Marshal(v); err == nil {
		text.Write(encoded)
	}
	for _, secret := range append(canaries(smtpPassword, "\x00reeve\x00"+smtpPassword), "canary-webhook-token", "canary-webhook-signature", webhookKey) {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret))} {
			if strings.Contains(text.String(), form) {
				t.Errorf("%q shows in %s", secret, text.String())
			}
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	mailOptions := MailOptions{Host: "mail.example", From: "a@b.example", To: []string{"c@d.example"}, Username: "reeve", Password: smtpPassword}
	webhookOptions := WebhookOptions{URL: "https://user:canary-webhook-token@hooks.example" + webhookPath, Secret: webhookKey}
	mails := newMail(t, mailOptions)
	webhook, err := NewWebhook(webhookOptions)
	if err != nil {
		t.Fatal(err)
	}
	type nested struct{ v any }
	for _, v := range []any{mailOptions, &mailOptions, webhookOptions, &webhookOptions, mails, mails[0], *mails[0].(*Mail), webhook, *webhook,
		Sender{Targets: append(mails, webhook)}, nested{mails[0]}, nested{webhook}, struct{ o *Mail }{mails[0].(*Mail)}} {
		checkNoCanary(t, v)
	}
}
