package keyvault

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// version is what each version of an object has, whatever the object is. Tags
// and the dates are replaced as a whole, never changed in place, so that a copy
// of a version stays as it was.
type version struct {
	ID         string            `json:"version"` // 32 lower-case hexadecimal digits
	Attributes attributes        `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
}

func (v *version) head() *version { return v }

// attributes are the dates of a version, in Unix seconds, and its switch.
type attributes struct {
	Enabled   bool   `json:"enabled"`
	NotBefore *int64 `json:"nbf,omitempty"`
	Expires   *int64 `json:"exp,omitempty"`
	Created   int64  `json:"created"`
	Updated   int64  `json:"updated"`
}

// attributeChange is what a client may say about a version's attributes.
type attributeChange struct {
	Enabled   *bool  `json:"enabled"`
	NotBefore *int64 `json:"nbf"`
	Expires   *int64 `json:"exp"`

	// Read-only: taken and ignored, because clients send back what they read.
	Created         any `json:"created"`
	Updated         any `json:"updated"`
	RecoveryLevel   any `json:"recoveryLevel"`
	RecoverableDays any `json:"recoverableDays"`
}

// newVersion returns the head of a version that is made now.
func newVersion(now time.Time, change *attributeChange, tags map[string]string) (version, error) {
	var id [16]byte
	rand.Read(id[:]) // crypto/rand never fails.
	v := version{ID: hex.EncodeToString(id[:]), Attributes: attributes{Enabled: true, Created: now.Unix(), Updated: now.Unix()}}
	return v, v.change(now, change, tags)
}

// change changes what the client names; tags replace all that were there.
func (v *version) change(now time.Time, change *attributeChange, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	next := v.Attributes
	if change != nil {
		if change.Enabled != nil {
			next.Enabled = *change.Enabled
		}
		if change.NotBefore != nil {
			next.NotBefore = change.NotBefore
		}
		if change.Expires != nil {
			next.Expires = change.Expires
		}
		for name, date := range map[string]*int64{"nbf": next.NotBefore, "exp": next.Expires} {
			if date != nil && (*date < 0 || *date > latest) {
				return badParameter("Property attributes.%s is not a date that can be represented.", name)
			}
		}
		if next.NotBefore != nil && next.Expires != nil && *next.NotBefore > *next.Expires {
			return badParameter("Property attributes.nbf must not be after attributes.exp.")
		}
	}
	next.Updated = now.Unix()
	v.Attributes = next
	if tags != nil {
		v.Tags = maps.Clone(tags)
	}
	return nil
}

// latest is the last second of the year 9999.
const latest = 253402300799

// Limits of tags, as Microsoft documents them.
const (
	mostTags = 15
	longTag  = 256 // characters of a name or a value
)

func checkTags(tags map[string]string) error {
	if len(tags) > mostTags {
		return badParameter("Property tags has %d items; at most %d are allowed.", len(tags), mostTags)
	}
	for name, value := range tags {
		if name == "" || utf8.RuneCountInString(name) > longTag || utf8.RuneCountInString(value) > longTag {
			return badParameter("Property tags has a name or value of a length that is not allowed; names have 1 to %d characters, values up to %d.", longTag, longTag)
		}
	}
	return nil
}

// Forms of names and versions, as Microsoft documents them.
var (
	objectName = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)
	versionID  = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)
)

// fold is the form by which names are compared.
func fold(name string) string { return strings.ToLower(name) }

// headed is a pointer to a version of some kind of object.
type headed[V any] interface {
	*V
	head() *version
}

// pick returns one of an object's versions, which are oldest first; the newest
// when id is empty; nil when there is none.
func pick[V any, P headed[V]](versions []V, id string) P {
	if id == "" {
		if len(versions) == 0 {
			return nil
		}
		return &versions[len(versions)-1]
	}
	for i := range versions {
		if P(&versions[i]).head().ID == fold(id) {
			return &versions[i]
		}
	}
	return nil
}

// sorted returns the values of a map in the order of its keys.
func sorted[V any](m map[string]V) []V {
	all := make([]V, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[name])
	}
	return all
}
