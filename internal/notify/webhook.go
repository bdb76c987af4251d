package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// WebhookOptions say where to post events. They print as the host alone.
type WebhookOptions struct {
	// URL is where to post, https only except to this machine. It is a secret: with
	// most services whoever knows it may post.
	URL string `json:"-"`
	// Secret is the key of the signature of each request; empty means that there is
	// none.
	Secret string `json:"-"`
	// CA holds PEM certificates of authorities that are trusted besides the system's.
	CA []byte `json:"-"`
	// Now gives the time. Nil means time.Now.
	Now func() time.Time `json:"-"`
}

// String names the host, since the rest is secret.
func (o WebhookOptions) String() string {
	if u, err := url.Parse(o.URL); err == nil && u.Host != "" {
		return "webhook at " + u.Host
	}
	return "webhook"
}

// Format makes every verb print what String does.
func (o WebhookOptions) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

const (
	webhookTimeout = 15 * time.Second
	// maxAnswer is how much of an answer is read, and thrown away, to use the
	// connection again.
	maxAnswer = 64 << 10
)

// A Webhook posts each event as JSON, in the form of Alertmanager's webhook, version
// 4. The header X-Reeve-Event holds the event's ID; with a secret,
// X-Reeve-Signature holds "sha256=" and the HMAC-SHA256 of the body in hex. No
// redirect is followed, and what is attached to an event is left out.
type Webhook struct {
	host   string
	secret func() (target, key string) // a function prints as its address
	client *http.Client
	now    func() time.Time
}

// NewWebhook returns the target. Its errors hold nothing of the URL but the host.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("the webhook's URL is not of the form https://HOST/PATH")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, fmt.Errorf("the webhook at %s is not reached by https, which only one on this machine may do without", u.Host)
	}
	roots, err := authorities(o.CA)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dialer := &net.Dialer{Timeout: webhookTimeout}
	return &Webhook{
		host:   u.Host,
		secret: func() (string, string) { return o.URL, o.Secret },
		now:    o.Now,
		client: &http.Client{
			Timeout: webhookTimeout,
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment, // which leaves out this machine
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
				MaxIdleConnsPerHost:    1,
				IdleConnTimeout:        time.Minute,
				MaxResponseHeaderBytes: 64 << 10,
				ForceAttemptHTTP2:      true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Name is "webhook".
func (w *Webhook) Name() string { return "webhook" }

// String names the host.
func (w *Webhook) String() string { return "webhook at " + w.host }

// Format makes every verb print what String does.
func (w *Webhook) Format(f fmt.State, _ rune) { io.WriteString(f, w.String()) }

// Send posts the event. Success is any status of 200 to 299.
func (w *Webhook) Send(ctx context.Context, e Event) error {
	doing := "posting to the webhook at " + w.host
	body, err := json.Marshal(alertmanager(e))
	if err != nil {
		return Permanent(fmt.Errorf("%s: %w", doing, err))
	}
	target, key := w.secret()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return Permanent(fmt.Errorf("%s: the URL cannot be used; set notify.webhook.url", doing))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "reeve")
	req.Header.Set("X-Reeve-Event", e.ID)
	if key != "" {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		req.Header.Set("X-Reeve-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		// The error of net/http begins with the URL; what it wraps does not.
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return fmt.Errorf("%s: %w", doing, hide(err, w.hidden()...))
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, maxAnswer)
	return w.judge(doing, resp)
}

// judge says what an answer means. Its text is not repeated: it may hold the URL.
func (w *Webhook) judge(doing string, resp *http.Response) error {
	code := resp.StatusCode
	err := fmt.Errorf("%s: it answered %s", doing, strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code))))
	switch {
	case code >= 200 && code <= 299:
		return nil
	case code >= 300 && code <= 399:
		return Permanent(fmt.Errorf("%w, and redirects are not followed; set notify.webhook.url to where it leads", err))
	case code >= 400 && code <= 499 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests:
		return Permanent(fmt.Errorf("%w; look at notify.webhook.url and notify.webhook.secret", err))
	}
	if after := w.parseRetryAfter(resp.Header.Get("Retry-After")); after > 0 {
		return &laterError{err, after}
	}
	return err
}

// parseRetryAfter reads the header's two forms: seconds, and a date.
func (w *Webhook) parseRetryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
		return time.Duration(min(max(n, 0), int(longestRest/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(w.now()), 0)
	}
	return 0
}

// hidden is what no text may hold.
func (w *Webhook) hidden() []string {
	target, key := w.secret()
	secrets := []string{target, key}
	if u, err := url.Parse(target); err == nil {
		if len(u.RequestURI()) > 1 {
			secrets = append(secrets, u.RequestURI())
		}
		if password, ok := u.User.Password(); ok {
			secrets = append(secrets, password)
		}
	}
	return secrets
}

// payload is the body that Alertmanager sends to a webhook, version 4.
type payload struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []alert           `json:"alerts"`
}

type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // zero: open
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// alertmanager is the event as one alert. Its labels are the kind, the severity, the
// ID and the fields; its annotations are what people read.
func alertmanager(e Event) payload {
	labels := map[string]string{"alertname": e.Kind, "severity": string(e.Severity), "event": e.ID}
	for _, f := range e.Fields {
		name := labelName(f.Name)
		for labels[name] != "" {
			name += "_"
		}
		labels[name] = f.Value
	}
	summary, text := headline(e)
	annotations := map[string]string{"summary": summary}
	if text != "" {
		annotations["description"] = text
	}
	if e.Remedy != "" {
		annotations["remedy"] = e.Remedy
	}
	fingerprint := sha256.Sum256([]byte(e.ID))
	return payload{
		Version:           "4",
		GroupKey:          fmt.Sprintf("{}:{event=%q}", e.ID),
		Status:            "firing",
		Receiver:          "reeve",
		GroupLabels:       map[string]string{"event": e.ID},
		CommonLabels:      labels,
		CommonAnnotations: annotations,
		Alerts: []alert{{
			Status: "firing", Labels: labels, Annotations: annotations,
			StartsAt: e.At.UTC(), Fingerprint: hex.EncodeToString(fingerprint[:8]),
		}},
	}
}

// labelName is a field's name as Prometheus allows it: letters, digits and
// underscores, no digit first.
func labelName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, s)
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = "_" + s
	}
	return s
}

// isLoopback reports whether a host is this machine, without asking anybody.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// authorities returns the system's authorities and the extra ones, or nil, which
// means the system's alone.
func authorities(extra []byte) (*x509.CertPool, error) {
	if len(extra) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(extra) {
		return nil, errors.New("the extra certificate authorities hold no PEM certificate (a block that begins with -----BEGIN CERTIFICATE-----)")
	}
	return pool, nil
}
