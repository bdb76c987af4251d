package graph

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// input is a JSON object of a request body, whose members are read one by one.
// The first member that is not what it should be is kept in refused; what is
// read after that is meaningless.
type input struct {
	members map[string]json.RawMessage
	refused *graphError
}

// readInput takes an object apart. Members other than those named are refused.
func readInput(raw json.RawMessage, names ...string) *input {
	members, err := object(raw)
	in := &input{members: members, refused: err}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(names, name) {
			in.refuse("Invalid property '%s'.", origin.Printable(name))
		}
	}
	return in
}

// readInputs takes an array apart whose elements parse reads.
func readInputs[T any](property string, raw json.RawMessage, parse func(json.RawMessage) (T, *graphError)) ([]T, *graphError) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil || elements == nil {
		return nil, badRequest("The property '%s' is not an array.", property)
	}
	all := []T{}
	for _, e := range elements {
		one, err := parse(e)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (in *input) refuse(format string, args ...any) {
	if in.refused == nil {
		in.refused = badRequest(format, args...)
	}
}

// has reports whether a member is there and not null.
func (in *input) has(name string) bool {
	raw, ok := in.members[name]
	return ok && string(raw) != "null"
}

// read decodes a member into v and reports whether there is one.
func (in *input) read(name string, v any) bool {
	if !in.has(name) {
		return false
	}
	if json.Unmarshal(in.members[name], v) != nil {
		in.mistyped(name)
		return false
	}
	return true
}

// mistyped does not repeat the value, which may be a secret.
func (in *input) mistyped(name string) {
	if in.refused == nil {
		in.refused = badValue(name)
	}
}

// text returns nil for a member that is null or not there, as its siblings do.
func (in *input) text(name string) *string {
	var s string
	if !in.read(name, &s) {
		return nil
	}
	return &s
}

func (in *input) boolean(name string) *bool {
	var b bool
	if !in.read(name, &b) {
		return nil
	}
	return &b
}

// binary reads standard base64 with padding, among which white space may be:
// the Azure CLI sends certificates with the line breaks of their PEM.
func (in *input) binary(name string) []byte {
	var s string
	if !in.read(name, &s) {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s))
	if err != nil {
		in.mistyped(name)
	}
	return b
}

const lastYear = 9999

// date reads a point of time, which must say its offset from UTC. In UTC its
// year has four digits too: nothing else can be written as JSON.
func (in *input) date(name string) *time.Time {
	var s string
	if !in.read(name, &s) {
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	t = t.UTC()
	if err != nil || t.Year() < 1 || t.Year() > lastYear {
		in.mistyped(name)
		return nil
	}
	return &t
}

// guid returns a GUID in lower case, or "".
func (in *input) guid(name string) string {
	var s string
	if !in.read(name, &s) {
		return ""
	}
	if !origin.IsGUID(s) {
		in.mistyped(name)
		return ""
	}
	return strings.ToLower(s)
}
