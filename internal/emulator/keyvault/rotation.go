package keyvault

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// rotationPolicy says when a key is rotated, in Key Vault's own names. The vault
// keeps it; rotating is left to whoever asks for it.
type rotationPolicy struct {
	ID         string              `json:"id,omitempty"` // of answers
	Actions    []rotationAction    `json:"lifetimeActions"`
	Attributes *rotationAttributes `json:"attributes"`
}

type rotationAction struct {
	Trigger struct {
		AfterCreate  string `json:"timeAfterCreate,omitempty"`
		BeforeExpiry string `json:"timeBeforeExpiry,omitempty"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"type"` // Rotate or Notify
	} `json:"action"`
}

type rotationAttributes struct {
	Expiry  string `json:"expiryTime,omitempty"` // from creation, such as P90D
	Created int64  `json:"created,omitempty"`
	Updated int64  `json:"updated,omitempty"`
}

// defaultRotation is the policy of a key that was given none.
func defaultRotation() rotationPolicy {
	notify := rotationAction{}
	notify.Trigger.BeforeExpiry = "P30D"
	notify.Action.Type = "Notify"
	return rotationPolicy{Actions: []rotationAction{notify}, Attributes: &rotationAttributes{}}
}

// Least times of a rotation policy
// (https://learn.microsoft.com/azure/key-vault/keys/how-to-configure-key-rotation).
const (
	leastExpiry = 28
	leastRotate = 7
)

func (p rotationPolicy) check() error {
	expiry := 0
	if text := value(p.Attributes).Expiry; text != "" {
		var err error
		if expiry, err = parseDays(text); err != nil || expiry < leastExpiry {
			return badParameter("Property attributes.expiryTime has invalid value %s; it must be a duration of at least %d days.", printable(text), leastExpiry)
		}
	}
	kinds := map[string]bool{}
	for _, a := range p.Actions {
		after, before := a.Trigger.AfterCreate, a.Trigger.BeforeExpiry
		days, err := parseDays(after + before)
		switch {
		case a.Action.Type != "Rotate" && a.Action.Type != "Notify" || kinds[a.Action.Type]:
			return badParameter("Property lifetimeActions must have at most one action Rotate and one action Notify.")
		case (after == "") == (before == "") || err != nil || days < leastRotate:
			return badParameter("Property lifetimeActions.trigger must have either timeAfterCreate or timeBeforeExpiry, a duration of at least %d days.", leastRotate)
		case a.Action.Type == "Notify" && before == "":
			return badParameter("Property lifetimeActions.trigger of the action Notify must have timeBeforeExpiry.")
		case before != "" && a.Action.Type == "Rotate" && expiry == 0:
			return badParameter("Property lifetimeActions.trigger.timeBeforeExpiry needs attributes.expiryTime.")
		case expiry != 0 && days+leastRotate > expiry:
			return badParameter("Property lifetimeActions.trigger must be at least %d days from the creation and from the expiry of the key.", leastRotate)
		}
		kinds[a.Action.Type] = true
	}
	return nil
}

var durationForm = regexp.MustCompile(`^P(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,5})D)?$`)

// parseDays reads an ISO 8601 duration of years, months and days, and returns
// about how many days it is.
func parseDays(s string) (int, error) {
	m := durationForm.FindStringSubmatch(strings.ToUpper(s))
	if m == nil || m[1]+m[2]+m[3] == "" {
		return 0, fmt.Errorf("%q is not a duration in years, months and days", printable(s))
	}
	days := 0
	for i, length := range []int{365, 30, 1} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return 0, err
		}
		days += n * length
	}
	return days, nil
}

// expireBy gives a new version the expiry that the rotation policy says, unless
// it has one.
func (k *key) expireBy(head *version, now time.Time) error {
	if k.Rotation == nil || k.Rotation.Attributes.Expiry == "" || head.Attributes.Expires != nil {
		return nil
	}
	days, err := parseDays(k.Rotation.Attributes.Expiry)
	if err != nil {
		return err
	}
	return head.change(now, &attributeChange{Expires: new(now.AddDate(0, 0, days).Unix())}, nil)
}

// plainKey finds a key that is no certificate's.
func (s *state) plainKey(name string, now time.Time) (*key, error) {
	k, err := s.key(name, now)
	if err != nil {
		return nil, err
	}
	if k.Versions[0].managed {
		return nil, keyKind.managed(name)
	}
	return k, nil
}

// rotation returns the rotation policy of a key.
func (v *Vault) rotation(name string) (rotationPolicy, error) {
	now, unlock := v.lock()
	defer unlock()
	k, err := v.state.key(name, now)
	if err != nil {
		return rotationPolicy{}, err
	}
	if k.Rotation == nil {
		return defaultRotation(), nil
	}
	return *k.Rotation, nil
}

// setRotation replaces the rotation policy of a key.
func (v *Vault) setRotation(name string, p rotationPolicy) (rotationPolicy, error) {
	if err := p.check(); err != nil {
		return rotationPolicy{}, err
	}
	now, unlock := v.lock()
	defer unlock()
	k, err := v.state.plainKey(name, now)
	if err != nil {
		return rotationPolicy{}, err
	}
	created := now.Unix()
	if k.Rotation != nil {
		created = k.Rotation.Attributes.Created
	}
	if p.Actions == nil {
		p.Actions = []rotationAction{}
	}
	p.ID = ""
	p.Attributes = &rotationAttributes{Expiry: value(p.Attributes).Expiry, Created: created, Updated: now.Unix()}
	k.Rotation = &p
	return p, nil
}

// rotate adds a version of a key of the same kind as the newest.
func (v *Vault) rotate(ctx context.Context, name string) (keyView, error) {
	newest, err := v.key(name, "")
	if err != nil {
		return keyView{}, err
	}
	if newest.version.managed {
		return keyView{}, keyKind.managed(name)
	}
	kty, size, curve := newest.version.Key.kind()
	made, err := v.generate(ctx, kty, size, curve)
	if err != nil {
		return keyView{}, err
	}
	return v.addKey(name, made, newest.version.Ops, nil, newest.version.Tags)
}
