package graph

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// members takes the object of a request's body apart. Members that the type
// does not have, or that a client may not set, are refused, as are values of
// another type at any depth. Annotations, such as @odata.type, are left out.
func (t *entityType) members(body []byte, creating bool) (map[string]json.RawMessage, *graphError) {
	raw, err := object(body)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		p, ok := t.properties[name]
		switch {
		case !ok:
			return nil, badRequest("Invalid property '%s'.", origin.Printable(name))
		case !p.write && !(creating && p.create):
			return nil, badRequest("Property '%s' is read-only and cannot be set.", name)
		}
		if err := checkValue(name, p, raw[name]); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// object reads a JSON object, without its annotations.
func object(body []byte) (map[string]json.RawMessage, *graphError) {
	var raw map[string]json.RawMessage
	if len(body) == 0 {
		return nil, badRequest("Empty Payload. JSON content expected.")
	}
	if err := json.Unmarshal(body, &raw); err != nil || raw == nil {
		return nil, badRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	maps.DeleteFunc(raw, func(name string, _ json.RawMessage) bool { return strings.Contains(name, "@") })
	return raw, nil
}

// checkValue refuses a value that is not of the property's type.
func checkValue(name string, p property, raw json.RawMessage) *graphError {
	if string(raw) == "null" {
		if p.required {
			return badValue(name)
		}
		return nil
	}
	if p.typ == "[keyCredential]" || p.typ == "[passwordCredential]" {
		return nil // What sets them reads them, with refusals of its own.
	}
	if element, isList := strings.CutPrefix(p.typ, "["); isList {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return badValue(name)
		}
		for _, one := range list {
			if err := checkValue(name, property{typ: strings.TrimSuffix(element, "]"), required: true}, one); err != nil {
				return err
			}
		}
		return nil
	}
	if t, ok := complexTypes[p.typ]; ok {
		members, err := object(raw)
		if err != nil {
			return badValue(name)
		}
		for _, member := range slices.Sorted(maps.Keys(members)) {
			mp, ok := t.properties[member]
			if !ok {
				return badRequest("Invalid property '%s'.", origin.Printable(member))
			}
			if err := checkValue(member, mp, members[member]); err != nil {
				return err
			}
		}
		return nil
	}
	if !isOf(p.typ, raw) {
		return badValue(name)
	}
	return nil
}

// isOf reports whether raw, which is not null, is a value of a simple type.
func isOf(typ string, raw json.RawMessage) bool {
	var s string
	switch typ {
	case "any":
		return true
	case "flag":
		var b bool
		return json.Unmarshal(raw, &b) == nil
	case "number":
		var n int32
		return json.Unmarshal(raw, &n) == nil
	}
	if json.Unmarshal(raw, &s) != nil {
		return false
	}
	switch typ {
	case "guid":
		return origin.IsGUID(s)
	case "date":
		_, err := time.Parse(time.RFC3339, s)
		return err == nil
	}
	return true
}
