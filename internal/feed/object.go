package feed

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A scanner walks over JSON objects without making Go values of them. Members
// are given as they stand in the text. It takes what real records hold: invalid
// UTF-8 and repeated names, of which the first counts.
type scanner struct {
	dec *jsontext.Decoder
	buf bytes.Buffer
}

var lenient = []jsontext.Options{jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)}

func newScanner() *scanner {
	s := &scanner{}
	s.dec = jsontext.NewDecoder(&s.buf, lenient...)
	return s
}

func (s *scanner) reset(text []byte) {
	s.buf = *bytes.NewBuffer(text) // the decoder reads it in place
	s.dec.Reset(&s.buf, lenient...)
}

// object calls f for every member of the JSON object text, with the name and
// the value as they stand in text. It checks the whole of it.
func (s *scanner) object(text []byte, f func(name, value []byte)) error {
	s.reset(text)
	if _, err := s.dec.ReadToken(); err != nil { // the brace; the caller has looked
		return err
	}
	for s.dec.PeekKind() != '}' {
		name, err := s.read(text)
		if err != nil {
			return err
		}
		value, err := s.read(text)
		if err != nil {
			return err
		}
		f(plain(name), value)
	}
	_, err := s.dec.ReadToken()
	return err
}

// array calls f for every element of the JSON array text.
func (s *scanner) array(text []byte, f func(value []byte)) error {
	s.reset(text)
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	for s.dec.PeekKind() != ']' {
		value, err := s.read(text)
		if err != nil {
			return err
		}
		f(value)
	}
	_, err := s.dec.ReadToken()
	return err
}

// read gives the next value, as a part of text.
func (s *scanner) read(text []byte) ([]byte, error) {
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := s.dec.InputOffset()
	return text[end-int64(len(v)) : end], nil
}

// kindOf names the type of a JSON value, as people say it.
func kindOf(v []byte) string {
	if len(v) == 0 {
		return "missing"
	}
	switch v[0] {
	case '"':
		return "text"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

func absent(v []byte) bool { return len(v) == 0 || v[0] == 'n' }

// plain gives the text of a JSON string: in place if nothing in it is escaped.
func plain(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	out, err := jsontext.AppendUnquote(nil, v)
	if err != nil && len(out) == 0 {
		return inner
	}
	return out
}

// clean makes a text that any database takes: valid UTF-8, without NUL.
func clean(b []byte) []byte {
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	if bytes.IndexByte(b, 0) >= 0 {
		b = bytes.ReplaceAll(b, []byte{0}, []byte("\uFFFD"))
	}
	return b
}

// scalar gives the text of a string, number, true or false; nil for null and
// for a missing value. ok is false for objects and arrays.
func scalar(v []byte) (text []byte, ok bool) {
	switch {
	case absent(v):
		return nil, true
	case v[0] == '"':
		return clean(plain(v)), true
	case v[0] == '{' || v[0] == '[':
		return nil, false
	}
	return v, true
}

// integer reads a number, or a string that holds one.
func integer(v []byte) (n int64, ok bool) {
	text, ok := scalar(v)
	if !ok || len(text) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	return n, err == nil
}

// creationTime reads a time as records write it: UTC without zone, sometimes
// with a blank for the T, a fraction or a zone.
func creationTime(text []byte) (time.Time, bool) {
	s := string(bytes.TrimSpace(text))
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	layout := "2006-01-02T15:04:05.999999999"
	if len(s) > 19 && strings.ContainsAny(s[19:], "Zz+-") {
		layout += "Z07:00"
	}
	t, err := time.Parse(layout, s)
	if err != nil || t.Year() < 1900 {
		return time.Time{}, false
	}
	return t.UTC(), true
}
