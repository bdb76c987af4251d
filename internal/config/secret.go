package config

import (
	"fmt"
	"io"
	"log/slog"
)

// A Secret is a setting that must not be seen. It prints as <secret> in logs,
// encodings and every format but %p, which go vet refuses; only Reveal gives
// its text.
type Secret string

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String returns "<secret>", or nothing when there is none.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "<secret>"
}

// Format answers every verb alike: with String alone, a wrong verb such as %d
// would print the text.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// GoString is what %#v prints.
func (s Secret) GoString() string { return s.String() }

// MarshalText serves JSON, YAML and their like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue serves log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
