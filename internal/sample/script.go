package sample

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365"
)

// Script is a request for a token as something that one can run, without any library
// of Microsoft's.
type Script struct {
	// Request is what [m365.Prover.Request] gives: the script makes the assertion
	// from the PEM file at Path. With one of [m365.Prover.SignedRequest] the assertion
	// stands in the script, which is a secret then.
	Request m365.TokenRequest
	Path    string
	CAFile  string    // as in [Settings]
	Until   time.Time // when the assertion of a SignedRequest ends; zero for the other
}

// forms are the forms of a script, by the template.
var forms = []struct{ name, file string }{
	{"http", "request.http"},
	{"curl", "request.sh"},
	{"powershell", "request.ps1"},
	{"python", "request.py"},
	{"javascript", "request.mjs"},
}

// Forms names the forms in which there is a script.
func Forms() []string {
	var names []string
	for _, f := range forms {
		names = append(names, f.name)
	}
	return names
}

// In writes the script in a form.
func (s Script) In(form string) (string, error) {
	for _, v := range []struct{ name, value string }{
		{"address", s.Request.URL}, {"path", s.Path}, {"CA file", s.CAFile},
		{"client ID", s.ClientID()}, {"scope", s.Scope()},
	} {
		if err := writable(v.value); err != nil {
			return "", fmt.Errorf("the %s %+q cannot stand in a script: %w", v.name, v.value, err)
		}
	}
	if strings.ContainsAny(s.Request.URL+s.ClientID(), `"\`) {
		return "", errors.New("the address or the client ID has a quotation mark or a backslash in it, which neither has")
	}
	for _, f := range forms {
		switch {
		case f.name != form:
		case s.Path == "" && s.Until.IsZero() && form != "http":
			return "", errors.New("it is not said where the script finds the certificate")
		default:
			return fill("request/"+f.file, s)
		}
	}
	return "", fmt.Errorf("there is no request in the form %q: choose one of %s", form, strings.Join(Forms(), ", "))
}

// ClientID says who asks.
func (s Script) ClientID() string { return s.Request.Form.Get("client_id") }

// Scope says what for.
func (s Script) Scope() string { return s.Request.Form.Get("scope") }

// Assertion is empty where the script makes it.
func (s Script) Assertion() string {
	if s.Until.IsZero() {
		return ""
	}
	return s.Request.Form.Get("client_assertion")
}

// Ends says when the assertion ends.
func (s Script) Ends() string { return s.Until.UTC().Format("15:04:05 UTC") }

// Body is the form as it is sent. A stand-in for the assertion stays readable.
func (s Script) Body() string {
	var fields []string
	for name, values := range s.Request.Form {
		for _, value := range values {
			if !strings.HasPrefix(value, "<") {
				value = url.QueryEscape(value)
			}
			fields = append(fields, name+"="+value)
		}
	}
	slices.Sort(fields)
	return strings.Join(fields, "&")
}

// Target is the request's path.
func (s Script) Target() string {
	u, err := url.Parse(s.Request.URL)
	if err != nil {
		return s.Request.URL
	}
	return u.EscapedPath()
}

// Host is where the request goes.
func (s Script) Host() string {
	u, err := url.Parse(s.Request.URL)
	if err != nil {
		return ""
	}
	return u.Host
}
