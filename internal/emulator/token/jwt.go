// Package token makes and checks the tokens of one emulated tenant: it holds the
// keys that sign them, and knows how a JWT is taken apart. Who gets a token, and
// for what, is decided by package entra.
package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// JWT is a JSON web token, taken apart but not yet believed.
type JWT struct {
	Header, Claims Members
	Signed         string // what the signature is over
	Signature      []byte
}

// Members are a JSON object's, by their exact names.
type Members map[string]json.RawMessage

// Parse takes a JWT in compact form apart. RFC 7515 wants its parts in
// base64url without padding, and Entra refuses them with it.
func Parse(s string) (JWT, error) {
	var t JWT
	header, rest, ok := strings.Cut(s, ".")
	claims, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return t, errors.New("it does not have three parts")
	}
	for _, part := range []struct {
		text string
		into *Members
	}{{header, &t.Header}, {claims, &t.Claims}} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part.text)
		if err != nil {
			return t, errors.New("a part is not base64url without padding")
		}
		if err := json.Unmarshal(b, part.into); err != nil || *part.into == nil {
			return t, errors.New("a part is not a JSON object")
		}
	}
	var err error
	if t.Signature, err = base64.RawURLEncoding.Strict().DecodeString(signature); err != nil {
		return t, errors.New("a part is not base64url without padding")
	}
	t.Signed = s[:len(header)+1+len(claims)]
	return t, nil
}

// Text returns a member that is a string, or "" when there is none.
func (m Members) Text(name string) (string, error) {
	raw, ok := m[name]
	if !ok {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("its %s is not a string", name)
	}
	return *s, nil
}

// Texts returns a member that is a string or a list of strings, as RFC 7519 has
// aud; none when there is no such member or it is empty.
func (m Members) Texts(name string) (all []string, err error) {
	if raw := m[name]; len(raw) > 0 && raw[0] == '[' {
		if json.Unmarshal(raw, &all) != nil {
			return nil, fmt.Errorf("its %s is not a list of strings", name)
		}
		return all, nil
	}
	if s, err := m.Text(name); err != nil || s != "" {
		return []string{s}, err
	}
	return nil, nil
}

// Date returns a member that is a NumericDate. RFC 7519 allows fractions, and
// MSAL for Python sends them.
func (m Members) Date(name string) (_ time.Time, present bool, _ error) {
	raw, ok := m[name]
	if !ok {
		return time.Unix(0, 0), false, nil
	}
	var seconds *float64
	if err := json.Unmarshal(raw, &seconds); err != nil || seconds == nil {
		return time.Time{}, true, fmt.Errorf("its %s is not a number", name)
	}
	whole, fraction := math.Modf(min(max(*seconds, 0), 1<<37)) // 1970 to the year 6325
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}
