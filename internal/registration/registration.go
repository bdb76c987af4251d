// Package registration knows what an application's registration at Entra ID has to be
// for the feeds that were chosen: the application, its service principal, the permissions
// and the consent to them, an owner; and its access to a Key Vault, if it is to have any.
// It looks at what is there, plans what is missing, and carries that out, one change at a
// time.
//
// Each change is recorded before it is sent and after it was answered, and can be sent
// again: Graph and Azure refuse to make any of them twice. So a set-up may be killed anywhere, and
// the next one goes on; and what it has made, and nothing else, can be taken away.
package registration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
)

// Wanted is what somebody wants to be set up.
type Wanted struct {
	TenantID string
	// Name is the application's, for one that is to be made.
	Name string
	// ClientID is that of an application that is there and is to be taken; empty for one
	// that is to be made.
	ClientID string
	Feeds    []string
	Optional bool // the permissions that the feeds can do without are wanted as well
	Uses     []permission.Use
	// Owner is made an owner of the application; none when its ObjectID is empty.
	Owner graph.Somebody
	// Role is given to the service principal; none when its ID is empty.
	Role graph.DirectoryRole
	// Restore takes the application out of the recycle bin, if it is there.
	Restore bool
	// AnyRole goes on although nobody knows whether who has signed in may do it: a role
	// of the tenant's own may allow it.
	AnyRole bool
	// Vault is access to a Key Vault; none when nil.
	Vault *VaultAccess
}

// uniqueNames is what all of them begin with.
const uniqueNames = "reeve-"

// UniqueName is what an application that reeve makes is known by in the tenant. It follows
// from the tenant and the name, so that a set-up whose answer was lost finds what it made.
func (w Wanted) UniqueName() string {
	sum := sha256.Sum256([]byte(strings.ToLower(w.TenantID) + "/" + w.Name))
	return uniqueNames + hex.EncodeToString(sum[:8])
}

// Key names the record of a set-up.
func (w Wanted) Key() string {
	if w.ClientID != "" {
		return strings.ToLower(w.ClientID)
	}
	return w.UniqueName()
}

// Kind is a kind of [Step].
type Kind string

// The kinds, in the order in which they are carried out.
const (
	Application Kind = "application"       // make it
	Restored    Kind = "restored"          // take it out of the recycle bin
	Principal   Kind = "service principal" // make it
	VaultRole   Kind = "vault role"        // at a Key Vault in which roles count
	VaultPolicy Kind = "vault policy"      // at one in which access policies count
	API         Kind = "API"               // make the service principal of one of Microsoft's APIs
	Required    Kind = "declaration"       // of the permissions that the application asks for
	Granted     Kind = "permission"        // consent to one
	TakenBack   Kind = "excess"            // a permission that reeve granted and needs no longer
	Owner       Kind = "owner"
	Role        Kind = "directory role"
)

// Record is what reeve has made for one application.
type Record struct {
	Name        string   `json:"name"`
	UniqueName  string   `json:"unique_name,omitempty"` // of an application that reeve made
	ClientID    string   `json:"client_id,omitempty"`
	ObjectID    string   `json:"object_id,omitempty"`
	PrincipalID string   `json:"principal_id,omitempty"`
	Feeds       []string `json:"feeds"`
	Optional    bool     `json:"optional,omitempty"`
	Made        []Made   `json:"made"`
	// Complete is when all of it was seen to be there; zero while it is being made.
	Complete time.Time `json:"complete,omitzero"`
}

// Made is something that reeve has made, or was about to make.
type Made struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"key,omitempty"`  // which of its kind: manage/ActivityFeed.Read
	ID   string `json:"id,omitempty"`   // Graph's, or Azure's
	Name string `json:"name,omitempty"` // for people, where the key is none
	// Required are the permissions that a declaration added or a consent is to, each as
	// API/role, or those of an access policy.
	Required []string `json:"required,omitempty"`
	// Mark stands in the notes of an application that reeve was about to make: without it
	// somebody else made the one of that name.
	Mark string    `json:"mark,omitempty"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Done bool      `json:"done"` // else it was about to be made, and may have been
}

// find returns the record of something that was made.
func (r *Record) find(kind Kind, key string) *Made {
	for i := range r.Made {
		if r.Made[i].Kind == kind && r.Made[i].Key == key {
			return &r.Made[i]
		}
	}
	return nil
}

// OwnApplication reports whether reeve made the application.
func (r *Record) OwnApplication() bool {
	return r.find(Application, "") != nil || r.find(Restored, "") != nil
}

// owns reports whether reeve made this application: it knows, or the application says so.
func (r *Record) owns(app graph.Registration) bool {
	m := r.find(Application, "")
	if m == nil || m.Done {
		return r.OwnApplication()
	}
	return m.Mark != "" && strings.Contains(app.Notes, m.Mark)
}

// MadeAt is when reeve made the application; zero if it was there before.
func (r *Record) MadeAt() time.Time {
	if m := r.find(Application, ""); m != nil {
		return m.At
	}
	return time.Time{}
}

// put records a step, in place of an earlier one of the same.
func (r *Record) put(m Made) {
	r.forget(m.Kind, m.Key)
	r.Made = append(r.Made, m)
}

func (r *Record) forget(kind Kind, key string) {
	r.Made = slices.DeleteFunc(r.Made, func(m Made) bool { return m.Kind == kind && m.Key == key })
}

// Encode and [ReadRecord] are how a record is kept.
func (r Record) Encode() ([]byte, error) { return json.Marshal(r) }

// ReadRecord reads a record that was kept.
func ReadRecord(data []byte) (r Record, err error) {
	err = json.Unmarshal(data, &r)
	return r, err
}
