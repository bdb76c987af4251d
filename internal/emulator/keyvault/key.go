package keyvault

import (
	"context"
	"slices"
	"strings"
	"time"
)

// key is a key with its versions, oldest first.
type key struct {
	Name     string          `json:"name"`
	Versions []keyVersion    `json:"versions"`
	Rotation *rotationPolicy `json:"rotation,omitempty"`
}

type keyVersion struct {
	version
	Key privateKey `json:"key"`
	Ops []string   `json:"ops"`

	managed bool // belongs to a certificate
}

// keyView is a key version as it was at one moment.
type keyView struct {
	name    string
	version keyVersion
}

// knownOps are what a key may be allowed to do.
var knownOps = []string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey", "import", "export"}

// defaultOps are the operations of a key that nothing is said about.
func defaultOps(kty string) []string {
	if kty == "EC" {
		return []string{"sign", "verify"}
	}
	return []string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}
}

func checkOps(kty string, ops []string) error {
	for _, op := range ops {
		if !slices.Contains(knownOps, op) || kty == "EC" && op != "sign" && op != "verify" {
			return badParameter("Property key_ops has invalid value %s for a key of type %s.", printable(op), kty)
		}
	}
	return nil
}

// keyAttributeChange is what a client may say about a key's attributes.
type keyAttributeChange struct {
	attributeChange
	Exportable *bool `json:"exportable"`

	// Read-only: taken and ignored.
	KeySize     any `json:"key_size"`
	HSMPlatform any `json:"hsmPlatform"`
	Attestation any `json:"attestation"`
}

// plain returns the change without what is a key's alone. A key may be made
// exportable only with a policy for its release, which is not emulated.
func (c *keyAttributeChange) plain() (*attributeChange, error) {
	if c == nil {
		return nil, nil
	}
	if value(c.Exportable) {
		return nil, badParameter("An exportable key needs a release policy.")
	}
	return &c.attributeChange, nil
}

// keyCreation is what a client asks to create.
type keyCreation struct {
	Type          string              `json:"kty"`
	Size          int                 `json:"key_size"`
	Curve         string              `json:"crv"`
	Exponent      int                 `json:"public_exponent"`
	Ops           []string            `json:"key_ops"`
	Attributes    *keyAttributeChange `json:"attributes"`
	Tags          map[string]string   `json:"tags"`
	ReleasePolicy any                 `json:"release_policy"`
}

// createKey makes a version of a key.
func (v *Vault) createKey(ctx context.Context, name string, in keyCreation) (keyView, error) {
	switch {
	case in.ReleasePolicy != nil:
		return keyView{}, notEmulated("release_policy")
	case in.Exponent != 0 && in.Exponent != 65537:
		return keyView{}, notEmulated("a public_exponent other than 65537")
	case in.Type == "RSA" && in.Size == 0:
		in.Size = 2048
	case in.Type == "EC" && in.Curve == "":
		in.Curve = "P-256"
	}
	if err := checkKind(in.Type, in.Size, in.Curve); err != nil {
		return keyView{}, err
	}
	if err := v.freeForKey(name); err != nil {
		return keyView{}, err
	}
	made, err := v.generate(ctx, in.Type, in.Size, in.Curve)
	if err != nil {
		return keyView{}, err
	}
	return v.addKey(name, made, in.Ops, in.Attributes, in.Tags)
}

func (v *Vault) freeForKey(name string) error {
	now, unlock := v.lock()
	defer unlock()
	return v.state.freeForPlain(keyKind, name, now)
}

// addKey adds a version of a plain key.
func (v *Vault) addKey(name string, made privateKey, ops []string, change *keyAttributeChange, tags map[string]string) (keyView, error) {
	kty, _, _ := made.kind()
	if ops == nil {
		ops = defaultOps(kty)
	}
	if err := checkOps(kty, ops); err != nil {
		return keyView{}, err
	}
	plain, err := change.plain()
	if err != nil {
		return keyView{}, err
	}
	now, unlock := v.lock()
	defer unlock()
	if err := v.state.freeForPlain(keyKind, name, now); err != nil {
		return keyView{}, err
	}
	head, err := newVersion(now, plain, tags)
	if err != nil {
		return keyView{}, err
	}
	k := v.state.Keys.Live[fold(name)]
	if k == nil {
		k = &key{Name: name}
		v.state.Keys.Live[fold(name)] = k
	}
	if err := k.expireBy(&head, now); err != nil {
		return keyView{}, err
	}
	k.Versions = append(k.Versions, keyVersion{version: head, Key: made, Ops: ops})
	return keyView{k.Name, *pick(k.Versions, "")}, nil
}

// keyImport is what a client asks to import.
type keyImport struct {
	Key           *jwk                `json:"key"`
	HSM           *bool               `json:"Hsm"`
	Attributes    *keyAttributeChange `json:"attributes"`
	Tags          map[string]string   `json:"tags"`
	ReleasePolicy any                 `json:"release_policy"`
}

func (v *Vault) importKey(name string, in keyImport) (keyView, error) {
	switch {
	case in.ReleasePolicy != nil:
		return keyView{}, notEmulated("release_policy")
	case value(in.HSM):
		return keyView{}, badParameter("A vault of the standard tier has no HSM.")
	case in.Key == nil:
		return keyView{}, badParameter("Property key is required.")
	}
	private, err := in.Key.private()
	if err != nil {
		return keyView{}, err
	}
	return v.addKey(name, private, in.Key.Ops, in.Attributes, in.Tags)
}

// key finds a key, be it plain or a certificate's.
func (s *state) key(name string, now time.Time) (*key, error) {
	if found := s.Keys.look(name, now); found != nil {
		return found, nil
	}
	if c := s.Certificates.look(name, now); c != nil && len(c.Versions) > 0 {
		return c.asKey(), nil
	}
	return nil, keyKind.notFound(name)
}

// key returns a version of a key.
func (v *Vault) key(name, id string) (keyView, error) {
	now, unlock := v.lock()
	defer unlock()
	k, err := v.state.key(name, now)
	if err != nil {
		return keyView{}, err
	}
	one := pick(k.Versions, id)
	if one == nil {
		return keyView{}, keyKind.notFound(name)
	}
	return keyView{k.Name, *one}, nil
}

// keyChange is what a client asks to change of a version.
type keyChange struct {
	Ops           []string            `json:"key_ops"`
	Attributes    *keyAttributeChange `json:"attributes"`
	Tags          map[string]string   `json:"tags"`
	ReleasePolicy any                 `json:"release_policy"`
}

// updateKey changes a version of a plain key.
func (v *Vault) updateKey(name, id string, in keyChange) (keyView, error) {
	if in.ReleasePolicy != nil {
		return keyView{}, notEmulated("release_policy")
	}
	plain, err := in.Attributes.plain()
	if err != nil {
		return keyView{}, err
	}
	now, unlock := v.lock()
	defer unlock()
	k, err := v.state.key(name, now)
	if err != nil {
		return keyView{}, err
	}
	one := pick(k.Versions, id)
	if one == nil {
		return keyView{}, keyKind.notFound(name)
	}
	if one.managed {
		return keyView{}, keyKind.managed(name)
	}
	kty, _, _ := one.Key.kind()
	if err := checkOps(kty, in.Ops); err != nil {
		return keyView{}, err
	}
	if err := one.change(now, plain, in.Tags); err != nil {
		return keyView{}, err
	}
	if in.Ops != nil {
		one.Ops = in.Ops
	}
	return keyView{k.Name, *one}, nil
}

// keys returns the newest version of every key, certificates' included, by name.
func (v *Vault) keys() []keyView {
	now, unlock := v.lock()
	defer unlock()
	var all []keyView
	for _, k := range v.state.Keys.Live {
		if v.state.Keys.look(k.Name, now) != nil {
			all = append(all, keyView{k.Name, *pick(k.Versions, "")})
		}
	}
	for _, c := range v.state.Certificates.Live {
		if k := c.asKey(); v.state.Certificates.look(c.Name, now) != nil && len(k.Versions) > 0 {
			all = append(all, keyView{k.Name, *pick(k.Versions, "")})
		}
	}
	slices.SortFunc(all, func(a, b keyView) int { return strings.Compare(fold(a.name), fold(b.name)) })
	return all
}

// keyVersions returns the versions of a key, in the order of their names.
func (v *Vault) keyVersions(name string) ([]keyView, error) {
	now, unlock := v.lock()
	defer unlock()
	k, err := v.state.key(name, now)
	if err != nil {
		return nil, err
	}
	var all []keyView
	for _, one := range k.Versions {
		all = append(all, keyView{k.Name, one})
	}
	slices.SortFunc(all, func(a, b keyView) int { return strings.Compare(a.version.ID, b.version.ID) })
	return all, nil
}
