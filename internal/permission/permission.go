// Package permission says which permissions of Microsoft's APIs each feed needs, for
// what, and what stops without them.
package permission

import (
	"fmt"
	"slices"
	"strings"
)

// API is one of Microsoft's, as every tenant knows it.
type API struct {
	Key   string // "graph"; the same word as in `reeve token --resource`
	Name  string // as Entra ID shows it
	AppID string // the client ID of its service principal
}

// APIs whose application permissions reeve may need.
var (
	Graph  = API{"graph", "Microsoft Graph", "00000003-0000-0000-c000-000000000000"}
	Manage = API{"manage", "Office 365 Management APIs", "c5393580-f805-4401-95e8-94b7a6ef2fc2"}
	Logs   = API{"logs", "Log Analytics API", "ca7f3f0b-7d91-482c-8e09-c5d840d0eac5"}
)

// APIs lists them.
func APIs() []API { return []API{Manage, Graph, Logs} }

// Consenters are the roles that may consent to the API's application permissions, the
// least first. To those of Microsoft Graph fewer may
// (learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent).
func (a API) Consenters() []string {
	if a == Graph {
		return []string{"Privileged Role Administrator", "Global Administrator"}
	}
	return []string{"Cloud Application Administrator", "Application Administrator", "Privileged Role Administrator", "Global Administrator"}
}

// Permission is an application permission: what a program may do that acts for itself,
// once an administrator has consented. Entra ID calls it an app role.
type Permission struct {
	API  API
	Name string // "ActivityFeed.Read", which is what a token's "roles" say
	ID   string // of the app role, the same in every tenant and cloud
}

// String names it with its API: manage/ActivityFeed.Read.
func (p Permission) String() string { return p.API.Key + "/" + p.Name }

// Named gives a permission as the feeds know it, or one that none of them knows, which
// has no ID.
func Named(api API, name string) Permission {
	for _, f := range feeds {
		for _, n := range f.Needs {
			for _, p := range append([]Permission{n.Permission}, n.Enough...) {
				if p.API == api && p.Name == name {
					return p
				}
			}
		}
	}
	return Permission{API: api, Name: name}
}

// Need is a permission that a feed uses.
type Need struct {
	Permission
	To      string // what it is for, after "to"
	Without string // what happens without it, a sentence
	// Optional: the feed runs without it, as Without says.
	Optional bool
	// Enough are broader permissions that do as well, where somebody has granted them.
	Enough []Permission
}

// Met reports whether one of the granted permissions fulfils the need, and which.
func (n Need) Met(granted []Permission) (Permission, bool) {
	for _, p := range append([]Permission{n.Permission}, n.Enough...) {
		if slices.Contains(granted, p) {
			return p, true
		}
	}
	return Permission{}, false
}

// Feed is something to be imported, with the permissions for it.
type Feed struct {
	Name  string // as in the configuration
	Title string
	Needs []Need
	// Planned: this version of reeve checks and requests its permissions, and does not
	// import it yet.
	Planned bool
}

// Lookup returns a feed by its name.
func Lookup(name string) (Feed, error) {
	for _, f := range feeds {
		if f.Name == name {
			return f, nil
		}
	}
	return Feed{}, fmt.Errorf("there is no feed %q: there are %s", name, strings.Join(Names(), ", "))
}

// All is the name that stands for all feeds.
const All = "all"

// Choose returns the feeds of the names, each once.
func Choose(names []string) ([]Feed, error) {
	var chosen []Feed
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name == All {
			return Feeds(), nil
		}
		f, err := Lookup(name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(chosen, func(c Feed) bool { return c.Name == f.Name }) {
			chosen = append(chosen, f)
		}
	}
	return chosen, nil
}

// Feeds lists all feeds.
func Feeds() []Feed { return slices.Clone(feeds) }

// Names lists the names of all feeds.
func Names() []string {
	var names []string
	for _, f := range feeds {
		names = append(names, f.Name)
	}
	return names
}

// Use is a need with the feeds that have it.
type Use struct {
	Need
	Feeds []string
}

// Uses lists each permission that the feeds need once, in the order of the feeds: it is
// optional if all that use it can do without. Optional ones are left out unless they are
// wanted.
func Uses(chosen []Feed, optional bool) []Use {
	var uses []Use
	for _, f := range chosen {
		for _, n := range f.Needs {
			i := slices.IndexFunc(uses, func(u Use) bool { return u.Permission == n.Permission })
			if i < 0 {
				uses = append(uses, Use{Need: n, Feeds: []string{f.Name}})
				continue
			}
			u := &uses[i]
			u.Feeds = append(u.Feeds, f.Name)
			if u.Optional && !n.Optional { // what it is needed for matters most
				u.Need = n
			}
		}
	}
	return slices.DeleteFunc(uses, func(u Use) bool { return u.Optional && !optional })
}

// Excess lists those of the granted permissions that no use needs, or for which a
// narrower one would do.
func Excess(granted []Permission, uses []Use) []Permission {
	var excess []Permission
	for _, p := range granted {
		if !slices.ContainsFunc(uses, func(u Use) bool { return u.Permission == p }) {
			excess = append(excess, p)
		}
	}
	return excess
}
