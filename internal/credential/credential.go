// Package credential holds the rules by which certificates of applications live:
// what is wrong (Assess) and what to do next, and when (Plan). Both are functions of
// what is recorded, a policy and the time; nothing here reads a clock, a network, a
// database or a log. Package rotate carries out what is planned.
package credential

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// State is how far a credential has come in its life. docs/rotation.md has the table
// of states, with what is stored before each effect.
type State string

// The life of a credential.
const (
	Planned     State = "planned"     // decided; nothing exists
	Keyed       State = "keyed"       // the private key is in the store
	Certified   State = "certified"   // it has a certificate
	Staged      State = "staged"      // key and certificate were read back from the store
	Registering State = "registering" // it may be at Entra ID: it is being put there
	Registered  State = "registered"  // Graph has shown it; it is being read until all replicas do
	Proving     State = "proving"     // tokens are being obtained with it
	Standby     State = "standby"     // proved, and waiting
	Publishing  State = "publishing"  // being handed to the live places
	Active      State = "active"      // the one in use
	Draining    State = "draining"    // replaced; some may still use it
	Retiring    State = "retiring"    // being taken away from Entra ID
	Retired     State = "retired"     // gone from Entra ID, and seen to be refused
	Destroyed   State = "destroyed"   // its private key is gone: the end

	Abandoned   State = "abandoned"   // given up before it was used; what is left of it is being cleaned up
	Compromised State = "compromised" // its key may be known to others: it goes as soon as another is active
	Lost        State = "lost"        // somebody else took it away from Entra ID
)

// States lists every State, in the order of a life.
func States() []State {
	return []State{Planned, Keyed, Certified, Staged, Registering, Registered, Proving, Standby, Publishing,
		Active, Draining, Retiring, Retired, Destroyed, Abandoned, Compromised, Lost}
}

// Coming reports whether a credential in the state is on its way to be a standby.
func (s State) Coming() bool {
	return slices.Contains([]State{Planned, Keyed, Certified, Staged, Registering, Registered, Proving}, s)
}

// AtEntra reports whether a credential in the state ought to be, or may be, at Entra ID.
func (s State) AtEntra() bool {
	return slices.Contains([]State{Registering, Registered, Proving, Standby, Publishing, Active, Draining, Retiring, Compromised}, s)
}

// HasKey reports whether the private key of a credential in the state is in the store.
func (s State) HasKey() bool { return s != Planned && s != Destroyed }

// Origin says where a credential comes from.
type Origin string

// Origins.
const (
	Made    Origin = "made"    // by reeve
	Adopted Origin = "adopted" // it was in use before reeve looked after the application
)

// Credential is a certificate of an application, with its private key in a store of
// ours. One that is at Entra ID and not in a store of ours is foreign: an Observation
// has it, and it is never touched.
type Credential struct {
	ID     string    `json:"id"` // chosen by us, a UUID; also the entry's name in the store
	State  State     `json:"state"`
	Origin Origin    `json:"origin"`
	Reason string    `json:"reason"`          // why it was made
	Wished time.Time `json:"wished,omitzero"` // when a person asked for it
	Store  string    `json:"store"`           // the name of the store that keeps its key

	Planned time.Time `json:"planned"`
	Since   time.Time `json:"since"` // when it came into State

	KeyID       string    `json:"key_id,omitempty"` // of the key credential; chosen by us, or by Graph's addKey
	SHA1        string    `json:"sha1,omitempty"`
	SHA256      string    `json:"sha256,omitempty"`
	Serial      string    `json:"serial,omitempty"`
	Subject     string    `json:"subject,omitempty"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	RenewAt     time.Time `json:"renew_at,omitzero"`     // when a successor is due, chosen once
	Certificate [][]byte  `json:"certificate,omitempty"` // DER, and its issuers

	// At Entra ID.
	Method     string    `json:"method,omitempty"`    // how it is registered: addKey, PATCH
	Sent       time.Time `json:"sent,omitzero"`       // when it was first meant to be put there
	Registered time.Time `json:"registered,omitzero"` // when it was known to be there
	Vanished   int       `json:"vanished,omitempty"`  // how often Graph took it, and did not show it afterwards
	Reads      int       `json:"reads,omitempty"`     // how often in a row Graph has shown it, or no longer shown it
	ReadAt     time.Time `json:"read_at,omitzero"`
	List       string    `json:"list,omitempty"`      // what the list of keys was when it was read last, before it is replaced
	ListSince  time.Time `json:"list_since,omitzero"` // since when
	Restless   time.Time `json:"restless,omitzero"`   // since when it changes before it has been the same for long enough
	Changes    int       `json:"changes,omitempty"`   // how often since then
	Changed    string    `json:"changed,omitempty"`   // what the last change was
	Replaced   time.Time `json:"replaced,omitzero"`   // when it was replaced, until every replica knows that and others have what they lost by it
	Compared   bool      `json:"compared,omitempty"`  // the first list after that was compared with the one before
	Forbidden  bool      `json:"forbidden,omitempty"` // a policy of the tenant does not allow the certificate, nor another like it
	Missing    time.Time `json:"missing,omitzero"`    // since when Graph does not show it though it ought to
	Removed    time.Time `json:"removed,omitzero"`    // when we took it away
	Gone       time.Time `json:"gone,omitzero"`       // when Graph had not shown it any more for long enough

	// Proofs, by resource, and when the last was tried.
	Probed time.Time        `json:"probed,omitzero"`
	Proofs map[string]Proof `json:"proofs,omitempty"`
	Ready  time.Time        `json:"ready,omitzero"` // when it became a standby
	// Refused is when Entra ID first refused it, of late, with no token given since.
	Refused     time.Time `json:"refused,omitzero"`
	RefusedCode int       `json:"refused_code,omitempty"`
	Refusals    int       `json:"refusals,omitempty"`

	// After promotion.
	Generation   int64     `json:"generation,omitempty"`
	Replaces     string    `json:"replaces,omitempty"` // the credential that was active before
	Promoted     time.Time `json:"promoted,omitzero"`
	Published    []string  `json:"published,omitempty"` // the targets that have it
	Placed       []string  `json:"placed,omitempty"`    // those that may have something of it still, of whatever policy
	DrainUntil   time.Time `json:"drain_until,omitzero"`
	DestroyAfter time.Time `json:"destroy_after,omitzero"`

	// The step under way.
	Attempts int       `json:"attempts,omitempty"`
	Failing  Action    `json:"failing,omitempty"`  // what failed last
	FailedAt time.Time `json:"failed_at,omitzero"` // when the first of these failed
	RetryAt  time.Time `json:"retry_at,omitzero"`
	// RetryAfter is until when a service asked to wait, or reeve wants to whatever the
	// emergency: it is never shortened.
	RetryAfter time.Time `json:"retry_after,omitzero"`
	Error      string    `json:"error,omitempty"`
	Remedy     string    `json:"remedy,omitempty"`
	Stuck      bool      `json:"stuck,omitempty"` // a person must act: it is still tried, rarely
}

// Proof is what tokens for one resource have shown: since Since there were Count, the
// last at Last, with no refusal between.
type Proof struct {
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`
	Roles []string  `json:"roles,omitempty"`
}

// Proved reports the earliest of the last proofs over all resources: since when, at the
// latest, the credential is known to work for each of them. It is zero if one is missing.
func (c Credential) Proved(resources []string) time.Time {
	var oldest time.Time
	for _, r := range resources {
		p, ok := c.Proofs[r]
		if !ok || p.Count == 0 {
			return time.Time{}
		}
		if oldest.IsZero() || p.Last.Before(oldest) {
			oldest = p.Last
		}
	}
	return oldest
}

// Proven reports whether the tokens needed for a standby were obtained: for each
// resource enough of them in a row, over long enough.
func (c Credential) Proven(resources []string) bool {
	for _, r := range resources {
		p := c.Proofs[r]
		if p.Count < proofsNeeded || p.Last.Sub(p.Since).Abs() < proofSpan { // negative: the clock was set back
			return false
		}
	}
	return len(resources) > 0
}

// expired reports whether Entra ID would refuse the credential for its dates.
func (c Credential) expired(now time.Time) bool { return !now.Before(c.NotAfter) }

// lifetime is how long its certificate is valid.
func (c Credential) lifetime() time.Duration { return c.NotAfter.Sub(c.NotBefore) }

// Mode says what reeve may do for an application.
type Mode string

// Modes.
const (
	Off     Mode = "off"
	Observe Mode = "observe" // look, and tell; change nothing
	On      Mode = "on"
)

// Modes lists every Mode.
func Modes() []Mode { return []Mode{On, Observe, Off} }

// Application is an application whose certificates reeve looks after, with all that is
// recorded of it.
type Application struct {
	TenantID string `json:"tenant_id"`
	ObjectID string `json:"object_id"`
	ClientID string `json:"client_id"`
	Name     string `json:"name"`
	Mode     Mode   `json:"mode"`
	Policy   Policy `json:"policy"`

	Vault      string    `json:"vault,omitempty"` // the address of the one that a live place means which names none
	Generation int64     `json:"generation"`      // of the credential published last
	Wrote      time.Time `json:"wrote,omitzero"`  // when its key credentials were last changed by us
	Adopted    time.Time `json:"adopted"`
	Made       time.Time `json:"made,omitzero"` // when reeve made it; zero if it was there before

	Observed Observation `json:"observed"`
	Told     string      `json:"told,omitempty"` // a digest of the findings that were written last
	Wishes   []Wish      `json:"wishes,omitempty"`

	Credentials []Credential `json:"-"`
	Consumers   []Consumer   `json:"-"`
	Deploys     []Deploy     `json:"-"` // those not done
}

// Observation is the last look at the application at Entra ID.
type Observation struct {
	At    time.Time     `json:"at,omitzero"` // of the last answer; zero: never
	Keys  []ObservedKey `json:"keys,omitempty"`
	Error string        `json:"error,omitempty"` // why the last look failed; Keys are then older
	// Blind: Graph does not let us read the application. Then tokens alone tell what
	// is there.
	Blind bool `json:"blind,omitempty"`
	// Locked: Entra ID refuses to sign in whoever reads the application.
	Locked   bool      `json:"locked,omitempty"`
	FailedAt time.Time `json:"failed_at,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
	// RetryAfter is until when a service asked to wait with the next look.
	RetryAfter time.Time `json:"retry_after,omitzero"`
	Gone       bool      `json:"gone,omitempty"` // there is no such application
	// Skew is how far the authority's clock was ahead of ours, at SkewAt.
	Skew   time.Duration `json:"skew,omitempty"`
	SkewAt time.Time     `json:"skew_at,omitzero"`
	// Warnings are what the live places said last, by target.
	Targets map[string]string `json:"targets,omitempty"`
	// Contests are the live places at which somebody else's certificate was found.
	Contests map[string]Contest `json:"contests,omitempty"`
	// List is the body of the request that would leave the keys as they are, for a person
	// who has to change them by hand.
	List json.RawMessage `json:"list,omitempty"`
	// Rungs are the ways to a new certificate if the one in use were lost.
	Rungs   []Rung    `json:"rungs,omitempty"`
	RungsAt time.Time `json:"rungs_at,omitzero"`
	RungsOf string    `json:"rungs_of,omitempty"` // the credentials that they were tried with
}

// Contest is a live place to which somebody else publishes as well.
type Contest struct {
	Times int       `json:"times"` // how often what is ours was published there again
	Last  time.Time `json:"last"`
	What  string    `json:"what"` // what was found there last
}

// Over reports that it was so often that ours is published there once a day only.
func (c Contest) Over() bool { return c.Times >= contestTries }

const contestTries = 3

// Rung is a way by which an application gets a working certificate again.
type Rung struct {
	Name  string    `json:"name"`
	Works Certainty `json:"works"`
	Text  string    `json:"text"`
}

// Certainty is an answer that may not be known.
type Certainty string

// Certainties.
const (
	Yes     Certainty = "yes"
	No      Certainty = "no"
	Unknown Certainty = "unknown"
)

// ObservedKey is a certificate or a secret that Entra ID has for an application.
type ObservedKey struct {
	KeyID  string    `json:"key_id"`
	Name   string    `json:"name"`
	SHA1   string    `json:"sha1,omitempty"`
	SHA256 string    `json:"sha256,omitempty"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Secret bool      `json:"secret,omitempty"` // a client secret
	Ours   string    `json:"ours,omitempty"`   // the ID of our credential
}

// Foreign lists the keys that are not ours.
func (o Observation) Foreign() []ObservedKey {
	var keys []ObservedKey
	for _, k := range o.Keys {
		if k.Ours == "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// WishKind is what a person can ask for.
type WishKind string

// Wishes.
const (
	Renew    WishKind = "renew"    // make a fresh one, prove it, make it the active one
	Promote  WishKind = "promote"  // make the standby the active one
	Rollback WishKind = "rollback" // make the one that is draining the active one again
	Retire   WishKind = "retire"   // take the one that is draining away before its time
	Revoke   WishKind = "revoke"   // its key may be known to others
)

// Wish is what a person asked for. It stands until it is fulfilled or taken back.
type Wish struct {
	Kind       WishKind  `json:"kind"`
	Credential string    `json:"credential,omitempty"` // empty: the one that the kind suggests
	By         string    `json:"by"`
	Why        string    `json:"why,omitempty"`
	At         time.Time `json:"at"`
}

// renewed reports whether a credential is what a wish to renew has led to. Times do not
// tell: a clock that was wrong for a while may have dated either.
func (c Credential) renewed(w Wish) bool { return c.Wished.Equal(w.At) }

// Consumer is a program that gets its certificate from reeve's own feed and says which
// one it has.
type Consumer struct {
	Name       string    `json:"name"`
	Generation int64     `json:"generation"`
	SHA256     string    `json:"sha256"`
	At         time.Time `json:"at"` // when it last said so
}

// Deploy is a command or a webhook to be run for a new certificate.
type Deploy struct {
	Credential string    `json:"credential"`
	Hook       string    `json:"hook"`
	Attempts   int       `json:"attempts"`
	DueAt      time.Time `json:"due_at"`
	Error      string    `json:"error,omitempty"`
}

// In returns the credentials in one of the states, the newest first.
func (a Application) In(states ...State) []Credential {
	var in []Credential
	for _, c := range a.Credentials {
		if slices.Contains(states, c.State) {
			in = append(in, c)
		}
	}
	slices.SortStableFunc(in, func(x, y Credential) int { return y.Planned.Compare(x.Planned) })
	return in
}

// Find returns a credential by its ID, its thumbprint or the beginning of one of them.
func (a Application) Find(id string) (Credential, bool) {
	var found []Credential
	for _, c := range a.Credentials {
		if c.ID == id {
			return c, true
		}
		if len(id) >= 4 && (hasPrefixFold(c.ID, id) || hasPrefixFold(c.SHA1, id) || hasPrefixFold(c.SHA256, id)) {
			found = append(found, c)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	return Credential{}, false
}

// Active returns the credential in use.
func (a Application) Active() (Credential, bool) { return first(a.In(Active)) }

// Standby returns the credential that would be promoted next: of those that were
// proved, and still work, the one that stays young the longest. That need not be the one
// that expires last: the policy may have changed to a shorter lifetime.
func (a Application) Standby() (Credential, bool) {
	s := a.In(Standby)
	slices.SortStableFunc(s, func(x, y Credential) int {
		if x.works() != y.works() {
			if x.works() {
				return -1
			}
			return 1
		}
		return y.old().Compare(x.old())
	})
	return first(s)
}

// works reports that nothing speaks against the credential: it was not refused, and no
// proof of it fails for long.
func (c Credential) works() bool { return c.Refusals == 0 && !c.Stuck }

// Places lists the live places that may have something of a credential: those of the
// policy, if it was ever published, and those that the policy had once.
func (a Application) Places(c Credential) []string {
	if c.Promoted.IsZero() && len(c.Placed) == 0 && len(c.Published) == 0 {
		return nil
	}
	places := slices.Clone(a.Policy.Targets)
	if c.State == Destroyed { // what is left was looked for
		places = slices.DeleteFunc(places, func(t string) bool { return !slices.ContainsFunc(c.Placed, a.samePlace(t)) })
	}
	return append(places, a.Former(c)...)
}

// Former lists the live places that the policy has no more, and that may have something of
// a credential still.
func (a Application) Former(c Credential) []string {
	var former []string
	for _, t := range slices.Concat(c.Placed, c.Published) {
		if !slices.ContainsFunc(a.Policy.Targets, a.samePlace(t)) && !slices.ContainsFunc(former, a.samePlace(t)) {
			former = append(former, t)
		}
	}
	return former
}

// samePlace reports whether another target is the same place, perhaps with other options
// or, in a vault, under its short name.
func (a Application) samePlace(target string) func(string) bool {
	return func(other string) bool { return a.place(other) == a.place(target) }
}

// place is what a target names, whichever way it names it.
func (a Application) place(target string) string {
	target, _, _ = strings.Cut(target, ",")
	name, vault := strings.CutPrefix(target, "keyvault:")
	if !vault {
		return target
	}
	if !strings.Contains(name, "/") {
		name = strings.TrimSuffix(a.Vault, "/") + "/certificates/" + name
	}
	return "keyvault:" + strings.ToLower(name) // names in a vault have no case
}

func first(cs []Credential) (Credential, bool) {
	if len(cs) == 0 {
		return Credential{}, false
	}
	return cs[0], true
}

// Wished is when a person asked for a new credential, which stands; zero when nobody has.
func (a Application) Wished() time.Time {
	w, _ := a.wish(Renew)
	return w.At
}

func (a Application) wish(kind WishKind) (Wish, bool) {
	for _, w := range a.Wishes {
		if w.Kind == kind {
			return w, true
		}
	}
	return Wish{}, false
}
