package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/credential"
	"github.com/reeve365/reeve/internal/pki"
)

const (
	longestWait = 2 * time.Minute
	// patience is for what is being fetched for the first time.
	patience = 5 * time.Second
	// waitsAtOnce bounds the requests of one consumer that wait.
	waitsAtOnce = 16
	maxBody     = 4 << 10
)

// Headers of answers and requests.
const (
	generationHeader = "Reeve-Generation"
	// staleHeader is there while it is not known whether the answer is still the
	// current one, and says as of when it was.
	staleHeader = "Reeve-Stale"
	// passwordHeader is that for a PFX file; there is none without it.
	passwordHeader = "Reeve-PFX-Password"
)

// refusal is an answer that is an error.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// ServeHTTP answers a consumer.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

// handle lets in who has a token for the application, and makes answers of errors.
func (f *Feed) handle(answer func(http.ResponseWriter, *http.Request, token) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		t, err := f.authorize(r)
		if err == nil {
			err = answer(w, r, t)
		}
		if err == nil {
			return
		}
		no := &refusal{http.StatusInternalServerError, "reeve could not answer; its log says why"}
		if !errors.As(err, &no) {
			f.o.Log.Error("A program could not be given its certificate.", "consumer", t.consumer, "error", err)
		}
		switch no.status {
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", `Bearer realm="reeve"`)
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "2")
		}
		writeJSON(w, no.status, map[string]string{"error": no.text})
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error": "the answer could not be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}

// bearer is the token of a request; empty if it has none.
func bearer(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}

// authorize tells who asks. A token that is not known may be a moment old, so that the
// database is looked into once more: by a second look if one was under way.
func (f *Feed) authorize(r *http.Request) (token, error) {
	text := bearer(r)
	f.mu.Lock()
	t, ok := f.admitted(text)
	if !ok {
		now := f.o.Now()
		if n := f.refusals.tell(now); n > 0 {
			f.o.Log.Warn("Requests for a certificate came without a token that is known.", "requests", n)
		}
		if !f.refusals.allow(now) {
			f.mu.Unlock()
			return token{}, refuse(http.StatusTooManyRequests, "too many requests without a good token")
		}
	}
	for look := 0; !ok && text != "" && look < 2 && f.await(r.Context()); look++ {
		t, ok = f.admitted(text)
	}
	lost := f.lost
	f.mu.Unlock()
	switch {
	case !ok && text != "" && lost:
		return token{}, refuse(http.StatusServiceUnavailable, "the database cannot be read, so that it is not known whose token this is")
	case !ok:
		return token{}, refuse(http.StatusUnauthorized, "give the token of this program: Authorization: Bearer TOKEN. It is made by: reeve cert consumer add APPLICATION --name NAME")
	case !strings.EqualFold(r.PathValue("clientID"), t.clientID):
		return t, refuse(http.StatusForbidden, "the token is for another application")
	}
	return t, nil
}

// await waits for the end of the next look, and reports whether there was one. The lock
// is held, and given up meanwhile.
func (f *Feed) await(ctx context.Context) bool {
	looked := f.looked
	f.mu.Unlock()
	defer f.mu.Lock()
	f.Wake()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-looked:
		return true
	case <-timer.C:
	case <-f.done:
	case <-ctx.Done():
	}
	return false
}

// question is what a consumer asks.
type question struct {
	generation int64
	known      bool // generation was given
	wait       time.Duration
	format     string
	standby    bool
}

func parseQuestion(values url.Values) (q question, err error) {
	q.format = "json"
	for name, all := range values {
		if len(all) != 1 {
			return q, refuse(http.StatusBadRequest, "%.40s is given twice", name)
		}
		switch text := all[0]; name {
		case "generation":
			q.generation, err = strconv.ParseInt(text, 10, 64)
			q.known = true
			if err != nil || q.generation < 0 {
				return q, refuse(http.StatusBadRequest, "generation: give the number from the last answer")
			}
		case "wait":
			q.wait, err = time.ParseDuration(text)
			if err != nil || q.wait < 0 || q.wait > longestWait {
				return q, refuse(http.StatusBadRequest, "wait: give up to 2m, such as 60s")
			}
		case "format":
			if text != "json" && text != "pem" && text != "pfx" {
				return q, refuse(http.StatusBadRequest, "format: give json, pem or pfx")
			}
			q.format = text
		case "standby":
			if q.standby, err = strconv.ParseBool(text); err != nil {
				return q, refuse(http.StatusBadRequest, "standby: give 1 or 0")
			}
		default:
			return q, refuse(http.StatusBadRequest, "there is no parameter %.40q: generation, wait, format and standby there are", name)
		}
	}
	return q, nil
}

// credential answers with the active certificate, as soon as it is another than the
// consumer has.
func (f *Feed) credential(w http.ResponseWriter, r *http.Request, t token) error {
	q, err := parseQuestion(r.URL.Query())
	if err != nil {
		return err
	}
	if !f.enter(t) {
		return refuse(http.StatusTooManyRequests, "%d requests of this program wait already", waitsAtOnce)
	}
	defer f.leave(t)
	// The server's deadline is for pages. Where it cannot be moved the wait is cut short.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(q.wait + patience + 30*time.Second))
	over := time.NewTimer(q.wait)
	defer over.Stop()
	first := time.NewTimer(max(q.wait, patience))
	defer first.Stop()
	for {
		f.mu.Lock()
		_, ok := f.admitted(bearer(r))
		var h holding
		if at := f.holdings[t.clientID]; ok && at != nil {
			h = *at
		}
		stale, changed := f.lost || name(h.active.credential) != h.wanted[0], f.changed
		f.mu.Unlock()
		has := h.active.credential
		end := over.C
		switch {
		case !ok:
			return refuse(http.StatusUnauthorized, "the token was taken back")
		case has.ID == "" && h.wanted[0] != "":
			end = first.C // it is being fetched
		case has.ID != "" && !(q.known && q.generation == has.Generation):
			return f.give(w, r, q, h, stale)
		}
		select {
		case <-changed:
			continue
		case <-f.done:
			return refuse(http.StatusServiceUnavailable, "reeve is stopping")
		case <-r.Context().Done():
			// Whoever asked has gone; if not, an empty answer must not look like one.
			return refuse(http.StatusServiceUnavailable, "the wait was broken off")
		case <-end:
		}
		switch {
		case has.ID == "" && h.wanted[0] != "":
			return refuse(http.StatusServiceUnavailable, "the certificate cannot be fetched from where it is kept; the log of reeve says why")
		case has.ID == "":
			return refuse(http.StatusNotFound, "the application has no active certificate")
		}
		setHeaders(w, h, stale)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// enter counts a request of a consumer, unless it has too many.
func (f *Feed) enter(t token) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := t.objectID + "/" + t.consumer
	if f.waiting[key] >= waitsAtOnce {
		return false
	}
	f.waiting[key]++
	return true
}

func (f *Feed) leave(t token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := t.objectID + "/" + t.consumer
	if f.waiting[key]--; f.waiting[key] == 0 {
		delete(f.waiting, key)
	}
}

func setHeaders(w http.ResponseWriter, h holding, stale bool) {
	w.Header().Set(generationHeader, strconv.FormatInt(h.active.credential.Generation, 10))
	if stale {
		w.Header().Set(staleHeader, h.asOf.UTC().Format(time.RFC3339))
	}
}

// answer is what a consumer is given.
type answer struct {
	Application string    `json:"application"`
	ClientID    string    `json:"client_id"`
	TenantID    string    `json:"tenant_id"`
	Generation  int64     `json:"generation"`
	AsOf        time.Time `json:"as_of"` // when it was last seen to be the current one
	Stale       bool      `json:"stale"` // whether it still is, is not known
	Credential  *part     `json:"credential"`
	Standby     *part     `json:"standby,omitempty"`
}

// part is one certificate of an answer. It holds a private key: it is made to be
// written to who asked, and goes nowhere else.
type part struct {
	ID          string    `json:"id"`
	SHA1        string    `json:"sha1"`
	SHA256      string    `json:"sha256"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Certificate string    `json:"certificate"`
	Chain       string    `json:"chain"`
	PrivateKey  string    `json:"private_key,omitempty"`
	// KeyIdentifier is where a key is that never leaves its vault.
	KeyIdentifier string `json:"key_identifier,omitempty"`
}

func describe(x holds) (*part, error) {
	if x.pair.Certificate == nil {
		return nil, nil
	}
	c := x.credential
	p := &part{
		ID: c.ID, SHA1: c.SHA1, SHA256: c.SHA256, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
		Certificate: string(pki.EncodeCertificates(x.pair.Certificate)), Chain: string(pki.EncodeCertificates(x.pair.Chain...)),
	}
	if place, ok := vaulted(x.pair); ok {
		p.KeyIdentifier = place
		return p, nil
	}
	key, err := pki.EncodeKey(x.pair.Key, "")
	p.PrivateKey = string(key)
	return p, err
}

// vaulted is where the key of a pair is, if it never leaves a vault: such keys print as
// their address.
func vaulted(p pki.Pair) (string, bool) {
	place, ok := p.Key.(fmt.Stringer)
	if !ok {
		return "", false
	}
	return place.String(), true
}

// give writes the certificate in the form that was asked for.
func (f *Feed) give(w http.ResponseWriter, r *http.Request, q question, h holding, stale bool) error {
	var data []byte
	var kind string
	active, err := describe(h.active)
	switch {
	case err != nil:
		return err
	case q.format != "json" && active.KeyIdentifier != "":
		return refuse(http.StatusConflict, "the private key never leaves its vault, so that there is no %s of it: ask for json, which has its identifier", q.format)
	case q.format == "pem":
		kind, data = "application/x-pem-file", []byte(active.PrivateKey+active.Certificate+active.Chain)
	case q.format == "pfx":
		kind = "application/x-pkcs12"
		if data, err = pki.EncodePFX(h.active.pair, pki.Modern, r.Header.Get(passwordHeader)); err != nil {
			return refuse(http.StatusBadRequest, "%v", err)
		}
	}
	if q.format != "json" {
		setHeaders(w, h, stale)
		w.Header().Set("Content-Type", kind)
		w.Write(data)
		return nil
	}
	a := answer{
		Application: h.name, ClientID: r.PathValue("clientID"), TenantID: f.o.TenantID, Generation: h.active.credential.Generation,
		AsOf: h.asOf.UTC(), Stale: stale, Credential: active,
	}
	if q.standby {
		if a.Standby, err = describe(h.standby); err != nil {
			return err
		}
	}
	setHeaders(w, h, stale)
	writeJSON(w, http.StatusOK, a)
	return nil
}

var sha256Text = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// acknowledge records which certificate a consumer has. It is written by the time that
// it is answered.
func (f *Feed) acknowledge(w http.ResponseWriter, r *http.Request, t token) error {
	var said struct {
		Generation int64  `json:"generation"`
		SHA256     string `json:"sha256"`
		Consumer   string `json:"consumer"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&said); err != nil || d.Decode(new(any)) != io.EOF {
		return refuse(http.StatusBadRequest, `the body is not {"generation": N, "sha256": "...", "consumer": "NAME"}`)
	}
	f.mu.Lock()
	var has credential.Credential
	if h := f.holdings[t.clientID]; h != nil {
		has = h.active.credential
	}
	f.mu.Unlock()
	switch {
	case said.Consumer != t.consumer:
		return refuse(http.StatusForbidden, "the token is that of another consumer")
	case said.Generation <= 0 || !sha256Text.MatchString(said.SHA256):
		return refuse(http.StatusBadRequest, "give the generation, and the SHA-256 of the certificate in hexadecimal, from the answer that had it")
	case has.ID != "" && said.Generation > has.Generation:
		return refuse(http.StatusConflict, "generation %d has not been given out; the current one is %d", said.Generation, has.Generation)
	case said.Generation == has.Generation && !strings.EqualFold(said.SHA256, has.SHA256):
		return refuse(http.StatusConflict, "the certificate of generation %d is another one", said.Generation)
	}
	if err := f.o.DB.Acknowledge(r.Context(), f.o.Tenant, t.objectID, credential.Consumer{
		Name: t.consumer, Generation: said.Generation, SHA256: strings.ToUpper(said.SHA256), At: f.o.Now().UTC(),
	}); err != nil {
		f.o.Log.Warn("What a program said of its certificate could not be written.", "consumer", t.consumer, "error", err)
		return refuse(http.StatusServiceUnavailable, "it could not be written: say it again")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
