package feed

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"github.com/reeve365/reeve/internal/store"
)

// A Scope says which records are imported, by the addresses of what they are
// about: the original engine's org_urls. A record about nothing, or about
// something that is no web address (a mailbox, a user, a policy), is always in
// scope. An empty scope holds everything.
type Scope struct {
	rules []scopeRule
}

type scopeRule struct {
	base  []byte // lower case
	exact bool
}

// NewScope reads rules: an address is in scope if it begins with one of them,
// whatever the case of its letters. A rule with = in front is one site alone:
// the record's SiteUrl must be that address.
func NewScope(rules []string) (Scope, error) {
	var s Scope
	for _, r := range rules {
		base, exact := strings.CutPrefix(r, "=")
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return Scope{}, fmt.Errorf("%q in feeds.audit.org-urls is not a web address: write it like https://contoso.sharepoint.com/sites/hr", r)
		}
		s.rules = append(s.rules, scopeRule{base: []byte(strings.ToLower(base)), exact: exact})
	}
	return s, nil
}

// Everything tells whether nothing is left out.
func (s Scope) Everything() bool { return len(s.rules) == 0 }

// Rules lists the rules, for the table org_urls.
func (s Scope) Rules() []store.ScopeRule {
	var all []store.ScopeRule
	for _, r := range s.rules {
		all = append(all, store.ScopeRule{Base: string(r.base), Exact: r.exact})
	}
	return all
}

// holds tells whether a record about object, reported by site, is in scope.
func (s Scope) holds(object, site []byte) bool {
	if len(s.rules) == 0 || !hasPrefixFold(object, "http://") && !hasPrefixFold(object, "https://") {
		return true
	}
	object = bytes.ToLower(object)
	for _, r := range s.rules {
		if !bytes.HasPrefix(object, r.base) {
			continue
		}
		if !r.exact || bytes.Equal(bytes.TrimSuffix(bytes.ToLower(site), []byte("/")), bytes.TrimSuffix(r.base, []byte("/"))) {
			return true
		}
	}
	return false
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}
