package graph

import (
	"net/url"
	"strings"
)

// path takes a request's path apart: what version it is of, and its segments. A
// key in parentheses becomes a segment of its own.
func path(escaped string) (version string, segments []segment, ok bool) {
	parts := strings.Split(strings.TrimPrefix(strings.TrimSuffix(escaped, "/"), "/"), "/")
	version, parts = parts[0], parts[1:]
	if version == "oidc" { // which stands beside the versions
		version, parts = "v1.0", append([]string{version}, parts...)
	}
	if version != "v1.0" && version != "beta" {
		return "", nil, false
	}
	if len(parts) > 0 && parts[0] == "myorganization" {
		parts = parts[1:] // what the retired Azure AD Graph had; Graph still takes it
	}
	for _, part := range parts {
		text, err := url.PathUnescape(part)
		if err != nil || text == "" {
			return "", nil, false
		}
		name, inner, hasKey := strings.Cut(text, "(")
		inner, closed := strings.CutSuffix(inner, ")")
		if !hasKey {
			segments = append(segments, segment{text: text})
			continue
		}
		k, ok := parseKey(inner)
		if !closed || !ok {
			return "", nil, false
		}
		segments = append(segments, segment{text: name}, segment{key: &k})
	}
	return version, segments, len(segments) > 0
}

// segment is a part of a path: a name, or a key in parentheses.
type segment struct {
	text string
	key  *key
}

// parseKey reads name='value' or 'value'; a quote in the value is doubled.
func parseKey(s string) (key, bool) {
	name, quoted, named := strings.Cut(s, "=")
	if !named {
		name, quoted = "id", s
	}
	value, ok := strings.CutPrefix(quoted, "'")
	value, ok2 := strings.CutSuffix(value, "'")
	if !ok || !ok2 || strings.Contains(strings.ReplaceAll(value, "''", ""), "'") || value == "" {
		return key{}, false
	}
	return key{strings.TrimSpace(name), strings.ReplaceAll(value, "''", "'")}, true
}

// match finds the route of a request, and the keys of its placeholders.
func match(method, escaped string) (rt *route, version string, keys []key, ok bool) {
	version, segments, ok := path(escaped)
	if !ok {
		return nil, "", nil, false
	}
	for _, rt := range routes() {
		if rt.method != method || len(rt.parts) != len(segments) {
			continue
		}
		if keys, ok := rt.match(segments); ok {
			return rt, version, keys, true
		}
	}
	return nil, "", nil, false
}

func (rt *route) match(segments []segment) (keys []key, ok bool) {
	for i, part := range rt.parts {
		s := segments[i]
		switch {
		case part == "{property}":
			if p, known := rt.of.properties[s.text]; s.key != nil || !known || p.typ == "binary" {
				return nil, false
			}
			keys = append(keys, key{"property", s.text})
		case strings.HasPrefix(part, "{") && part != "{id}":
			if s.key == nil || "{"+s.key.name+"}" != part {
				return nil, false
			}
			keys = append(keys, *s.key)
		case part == "{id}":
			if s.key != nil {
				keys = append(keys, *s.key)
			} else if isFunction(s.text) {
				return nil, false
			} else {
				keys = append(keys, key{"id", s.text})
			}
		case s.key != nil || s.text != part:
			return nil, false
		}
	}
	return keys, true
}

// isFunction reports whether a segment where an id could be is something else:
// a function of the set, a cast, or an option such as $count.
func isFunction(text string) bool {
	switch text {
	case "delta", "getByIds", "validateProperties", "getAvailableExtensionProperties", "getUserOwnedObjects":
		return true
	}
	return strings.HasPrefix(text, "$") || strings.HasPrefix(text, "microsoft.graph.")
}
