package activity

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// Webhooks: how one is registered, and how it is called. What is told to it is
// in notify.go.

// webhookPatience is how long a webhook may take to answer; how long it is in
// the service, is [K].
const webhookPatience = 10 * time.Second

// WebhookClient returns a client for API.Webhooks, which trusts the roots, or
// those of the machine when nil. It connects to loopback only, whatever a name
// resolves to, and follows no redirection.
func WebhookClient(roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().IsLoopback() {
			return fmt.Errorf("%s is not a loopback address", address)
		}
		return nil
	}}
	return &http.Client{
		Timeout:       webhookPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:       dialer.DialContext,
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, // calls are rare, and Close has nothing to close
		},
	}
}

// webhookRequest is the webhook in the body of a start.
type webhookRequest struct {
	Address    string `json:"address"`
	AuthID     string `json:"authId"`
	Expiration string `json:"expiration"`
}

// parseStart reads the body of a start, which may be empty; nil means that no
// webhook is asked for.
func parseStart(text []byte) (*webhookRequest, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var body struct {
		Webhook *webhookRequest `json:"webhook"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	return body.Webhook, nil
}

// readWebhook reads the body of a start and checks its webhook as far as that
// needs no call to it.
func (e *API) readWebhook(c *activityCall) (*tenant.Webhook, error) {
	text, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, badActivity("AF20002", "The body cannot be read.") // [K]
	}
	asked, err := parseStart(text)
	if err != nil {
		return nil, badActivity("AF20002", "Invalid parameter type: the body is not {\"webhook\": {\"address\", \"authId\", \"expiration\"}}.") // [K]
	}
	if asked == nil {
		return nil, nil
	}
	if asked.Address == "" {
		return nil, badActivity("AF20001", "Missing parameter: webhook.address.") // [K]
	}
	address, err := url.Parse(asked.Address)
	if err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil {
		return nil, notValidated(asked.Address, "It must be an https address.")
	}
	webhook := &tenant.Webhook{Address: asked.Address, AuthID: asked.AuthID, ClientID: c.clientID}
	if base := e.Cloud.Hosts.Base(c.Request, origin.Manage); base != e.Cloud.Hosts.Origins.Manage {
		webhook.Host = strings.TrimPrefix(base, "https://")
	}
	if asked.Expiration != "" {
		if webhook.Expires, err = parseActivityTime(asked.Expiration); err != nil {
			return nil, badActivity("AF20002", "Invalid parameter type: webhook.expiration. Expected type: datetime.")
		}
		if webhook.Expired(e.Cloud.Now()) {
			return nil, badActivity("AF20003", "Expiration %s provided is set to past date and time.", origin.Printable(asked.Expiration))
		}
	}
	return webhook, nil
}

func notValidated(address, why string) error {
	return badActivity("AF20021", "The webhook endpoint (%s) could not be validated. %s", origin.Printable(address), why)
}

// isLoopback reports whether a host, given without a port, is this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// validateWebhook asks a webhook whether it wants to be called: it must answer
// 200, and need not repeat the code.
func (e *API) validateWebhook(ctx context.Context, w *tenant.Webhook) error {
	address, err := url.Parse(w.Address)
	if err != nil || !isLoopback(address.Hostname()) || e.Webhooks == nil {
		return notValidated(w.Address, "The emulated tenant calls addresses on loopback only.")
	}
	code := rand.Text()
	if err := e.callWebhook(ctx, w, code, map[string]string{"validationCode": code}); err != nil {
		return notValidated(w.Address, origin.Printable(err.Error()))
	}
	return nil
}

// callWebhook posts a body as JSON; code is empty when it is no validation. Any
// answer but 200 is an error.
func (e *API) callWebhook(ctx context.Context, w *tenant.Webhook, code string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Address, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if e.Webhooks == nil || !isLoopback(r.URL.Hostname()) {
		return errors.New("it is not on loopback")
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	if w.AuthID != "" {
		r.Header.Set("Webhook-AuthID", w.AuthID)
	}
	if code != "" {
		r.Header.Set("Webhook-ValidationCode", code)
	}
	answer, err := e.Webhooks.Do(r)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) { // it would say the address once more
			err = inner.Err
		}
		return fmt.Errorf("it did not answer: %w", err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %d", answer.StatusCode)
	}
	return nil
}
