package sample

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
)

// Exchange is a request for a token and what was answered, taken apart and explained.
// It holds neither assertion nor token unless it is told to.
type Exchange struct {
	Method          string          `json:"method"`
	URL             string          `json:"url"`
	Meaning         string          `json:"meaning"` // of the URL
	Header          []Part          `json:"header"`
	Body            []Part          `json:"body"`
	AssertionHeader []Part          `json:"assertion_header"`
	AssertionClaims []Part          `json:"assertion_claims"`
	Certificate     pki.Description `json:"certificate"`

	// One of them, if the request was sent and answered.
	Token   *Token   `json:"token,omitempty"`
	Refusal *Refusal `json:"refusal,omitempty"`
}

// Part is a part of a request, or of a token.
type Part struct {
	Name    string `json:"name"`
	Value   any    `json:"value"`
	Meaning string `json:"meaning,omitempty"`
}

// Token is an answer with a token.
type Token struct {
	Claims        []Part `json:"claims"`
	CorrelationID string `json:"correlation_id"`
	TraceID       string `json:"trace_id"`
	Algorithm     string `json:"algorithm"` // of the assertion that was taken
	Text          string `json:"access_token,omitempty"`
}

// Refusal is why there is no token.
type Refusal struct {
	Status        int               `json:"status"`
	Codes         []int             `json:"codes"`
	Message       string            `json:"message"`
	Explanation   *m365.Explanation `json:"explanation,omitempty"`
	CorrelationID string            `json:"correlation_id,omitempty"`
	TraceID       string            `json:"trace_id,omitempty"`
}

const hidden = "<assertion>"

// Explain takes apart a request that [m365.Prover.SignedRequest] made.
//
// It is not the one that is sent, whose assertion is made when it is: that differs in ID
// and times.
func Explain(r m365.TokenRequest, certificate pki.Description, reveal bool) (*Exchange, error) {
	assertion := r.Form.Get("client_assertion")
	header, claims, err := m365.Claims(assertion)
	if err != nil {
		return nil, fmt.Errorf("explaining the request for a token: %w", err)
	}
	e := &Exchange{Method: r.Method, URL: r.URL, Meaning: urlMeaning, Certificate: certificate}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		e.Header = append(e.Header, Part{name, strings.Join(r.Header[name], ", "), headerMeanings[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Form)) {
		value := r.Form.Get(name)
		if value == assertion && !reveal {
			value = hidden
		}
		e.Body = append(e.Body, Part{name, value, formMeanings[name]})
	}
	e.AssertionHeader = parts(header, assertionMeanings)
	e.AssertionClaims = parts(claims, assertionMeanings)
	return e, nil
}

// Answered adds what was answered: a token, or an error. An error that is no
// [*m365.SignInError] is no answer and is left out.
func (e *Exchange) Answered(token string, proof m365.Proof, refused error, reveal bool) error {
	var signIn *m365.SignInError
	switch {
	case errors.As(refused, &signIn):
		e.correlate(signIn.CorrelationID)
		r := &Refusal{Status: signIn.Status, Codes: signIn.Codes, Message: signIn.Message, CorrelationID: signIn.CorrelationID, TraceID: signIn.TraceID}
		if x, ok := signIn.Explanation(); ok {
			r.Explanation = &x
		}
		e.Refusal = r
	case refused == nil:
		e.correlate(proof.CorrelationID)
		_, claims, err := m365.Claims(token)
		if err != nil {
			return err
		}
		e.Token = &Token{Claims: parts(claims, tokenMeanings), CorrelationID: proof.CorrelationID, TraceID: proof.TraceID, Algorithm: proof.Algorithm}
		if reveal {
			e.Token.Text = token
		}
	}
	return nil
}

// correlate puts the correlation ID that was really sent into the headers.
func (e *Exchange) correlate(id string) {
	for i, p := range e.Header {
		if p.Name == "Client-Request-Id" && id != "" {
			e.Header[i].Value = id
		}
	}
}

// parts puts what has a meaning first, in alphabetical order.
func parts(claims map[string]any, meanings map[string]string) []Part {
	var known, others []Part
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		if meaning := meanings[name]; meaning != "" {
			known = append(known, Part{name, claims[name], meaning})
		} else {
			others = append(others, Part{name, claims[name], ""})
		}
	}
	return append(known, others...)
}

// Text is the exchange for a terminal.
func (e *Exchange) Text() string {
	b := new(strings.Builder)
	line := func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
	list := func(parts []Part) {
		for _, p := range parts {
			line("  %s: %s", plain(p.Name), p.text())
			if p.Meaning != "" {
				line("      %s", p.Meaning)
			}
		}
	}
	line("THE REQUEST\n")
	line("%s %s", e.Method, e.URL)
	line("      %s\n", e.Meaning)
	line("Headers")
	list(e.Header)
	line("\nBody, as a form: names and values are percent-encoded")
	list(e.Body)
	line("\nTHE ASSERTION, decoded: a JWT, made anew for each request, with another jti and other times\n")
	line("Header")
	list(e.AssertionHeader)
	line("\nClaims")
	list(e.AssertionClaims)
	line("\nSignature\n  Made with the private key over header and claims. The key itself goes nowhere.")
	c := e.Certificate
	line("\nTHE CERTIFICATE\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"subject", c.Subject}, {"issuer", c.Issuer},
		{"SHA-1", c.SHA1 + ", as Entra ID's pages and x5t show it"}, {"SHA-256", c.SHA256 + ", which x5t#S256 is in base64url"},
		{"valid from", c.NotBefore.Format(time.RFC3339)}, {"until", fmt.Sprintf("%s, %d days left", c.NotAfter.Format(time.RFC3339), c.DaysLeft)},
	} {
		fmt.Fprintf(t, "  %s\t%s\n", row[0], plain(row[1]))
	}
	t.Flush()
	line("      %s", certificateMeaning)
	switch {
	case e.Token != nil:
		line("\nTHE ANSWER: 200, with an access token, here decoded\n")
		list(e.Token.Claims)
		line("\n  It was signed by Entra ID, for the resource to verify; %s of the assertion was taken.", e.Token.Algorithm)
		line("  correlation %s, trace %s: by these Microsoft's support finds the request.", plain(e.Token.CorrelationID), plain(e.Token.TraceID))
		if e.Token.Text != "" {
			line("\nThe token, a secret until it ends:\n%s", e.Token.Text)
		}
	case e.Refusal != nil:
		r := e.Refusal
		if r.Status == 0 {
			line("\nTHERE WAS NO ANSWER\n")
		} else {
			line("\nTHE ANSWER: %d, refused\n", r.Status)
		}
		line("  %s", plain(r.Message))
		if x := r.Explanation; x != nil {
			for _, row := range [][2]string{{"code", x.Code + ", " + x.Title}, {"cause", x.Cause}, {"remedy", x.Remedy}, {"who", strings.Join(x.Who, ", or ")}, {"waiting", x.Waiting}} {
				line("  %-8s %s", row[0]+":", row[1])
			}
		}
		if r.TraceID != "" {
			line("  correlation %s, trace %s: by these Microsoft's support finds the request.", plain(r.CorrelationID), plain(r.TraceID))
		}
	}
	return b.String()
}

func (p Part) text() string {
	switch v := p.Value.(type) {
	case string:
		return plain(v)
	case json.Number:
		seconds, err := v.Int64()
		if err == nil && (p.Name == "exp" || p.Name == "nbf" || p.Name == "iat") {
			return fmt.Sprintf("%d (%s)", seconds, time.Unix(seconds, 0).UTC().Format(time.RFC3339))
		}
		return plain(v.String())
	}
	data, err := json.Marshal(p.Value)
	if err != nil {
		return "?"
	}
	return plain(string(data))
}

// plain keeps what others wrote from steering the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

const (
	urlMeaning = "The sign-in host of the cloud, then the tenant, by its ID or a domain, then the token endpoint. " +
		"Where the tenant is left out, Entra ID takes the next word for it: AADSTS90002, Tenant 'token' not found. " +
		"It is POST; a GET is refused as well (AADSTS900561)."
	certificateMeaning = "Its public part has to be registered with the application; a thumbprint alone is not enough. " +
		"It may be self-signed or issued by an authority, public or your own: Entra ID compares the key and asks no issuer. " +
		"The key has to be RSA."
)

var headerMeanings = map[string]string{
	"Accept":                   "The answer is to be JSON.",
	"Client-Request-Id":        "The correlation ID: made up here, for finding this request in sign-in logs. Not required.",
	"Content-Type":             "The body is a form, not JSON.",
	"Return-Client-Request-Id": "The answer is to repeat the correlation ID. Not required.",
	"User-Agent":               "Which program asks. Not required.",
}

var formMeanings = map[string]string{
	"client_assertion":      "The proof, in place of a client secret: the assertion below. Until it ends it is a secret.",
	"client_assertion_type": "Says that the proof is a JWT. It is always this text; there is no requested_token_use or resource in this flow.",
	"client_id":             "Which application asks: the Application (client) ID, not the object ID.",
	"grant_type":            "The application asks for itself: no person is signed in, and there is no refresh token.",
	"scope":                 "The resource's URI with /.default: all permissions that were granted. Single ones cannot be named (AADSTS70011, AADSTS1002012).",
}

var assertionMeanings = map[string]string{
	"alg":      "How it is signed: PS256 is RSA-PSS with SHA-256. Elsewhere one sees RS256, which Entra ID takes too.",
	"typ":      "It is a JWT.",
	"x5t":      "Which certificate: the SHA-1 of its DER form, in base64url.",
	"x5t#S256": "Which certificate: the SHA-256 of its DER form, in base64url, not of the PEM text and not in hexadecimal.",
	"x5c":      "The certificate and its issuers themselves, for applications that trust an issuer and a subject name.",
	"aud":      "Whom it is for: the address of the token endpoint, exactly as above.",
	"iss":      "Who wrote it: the client ID.",
	"sub":      "About whom: the client ID again.",
	"jti":      "A new text for each assertion.",
	"nbf":      "From when it is good: a minute ago, for clocks that go differently.",
	"exp":      "Until when it is good: some minutes. A wrong clock or time zone ends in AADSTS700024.",
	"iat":      "When it was written.",
}

var tokenMeanings = map[string]string{
	"aud":      "For which resource: another one refuses the token.",
	"appid":    "Which application it stands for: the client ID.",
	"azp":      "Which application it stands for: the client ID.",
	"appidacr": "How the application proved itself: 2 is a certificate, 1 a client secret. Some APIs, SharePoint for one, take only 2.",
	"azpacr":   "How the application proved itself: 2 is a certificate, 1 a client secret. Some APIs, SharePoint for one, take only 2.",
	"roles":    "The application permissions that were granted for this resource. Where there is no such claim, there are none; a new grant shows up to an hour later.",
	"tid":      "In which tenant.",
	"oid":      "The object ID of the application's service principal there.",
	"iss":      "Who gave it.",
	"iat":      "When it was given.",
	"nbf":      "From when it is good.",
	"exp":      "Until when it is good. After that a new one is asked for, by a new assertion.",
	"ver":      "The version of the token, which the resource chooses.",
}
