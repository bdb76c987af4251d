package keyvault

import (
	"crypto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// secret is a secret with its versions, oldest first.
type secret struct {
	Name     string          `json:"name"`
	Versions []secretVersion `json:"versions"`
}

type secretVersion struct {
	version
	Value       string `json:"value"`
	ContentType string `json:"contentType,omitempty"`

	managed bool // belongs to a certificate
}

// Limits of secrets, as Microsoft documents them.
const (
	largeSecret     = 25 << 10 // bytes
	longContentType = 255      // characters
)

// secretView is a secret version as it was at one moment.
type secretView struct {
	name     string
	version  secretVersion
	previous string // the version before, or empty
}

func (s *secret) view(v *secretVersion) secretView {
	view := secretView{name: s.Name, version: *v}
	for i := range s.Versions {
		if i > 0 && s.Versions[i].ID == v.ID {
			view.previous = s.Versions[i-1].ID
		}
	}
	return view
}

// secret finds a secret, be it plain or a certificate's.
func (s *state) secret(name string, now time.Time) (*secret, error) {
	if found := s.Secrets.look(name, now); found != nil {
		return found, nil
	}
	if c := s.Certificates.look(name, now); c != nil && len(c.Versions) > 0 {
		return c.asSecret(), nil
	}
	return nil, secretKind.notFound(name)
}

// freeForPlain refuses to make a plain secret or key under a name that belongs
// to a certificate or to something deleted.
func (s *state) freeForPlain(k kind, name string, now time.Time) error {
	if s.Certificates.Live[fold(name)] != nil {
		return k.managed(name)
	}
	if err := s.Certificates.free(certificateKind, name, now); err != nil {
		return err
	}
	if k == secretKind {
		return s.Secrets.free(k, name, now)
	}
	return s.Keys.free(k, name, now)
}

// secretSetting is what a client asks to set.
type secretSetting struct {
	Value       *string           `json:"value"`
	ContentType string            `json:"contentType"`
	Attributes  *attributeChange  `json:"attributes"`
	Tags        map[string]string `json:"tags"`
}

// setSecret adds a version of a secret.
func (v *Vault) setSecret(name string, in secretSetting) (secretView, error) {
	if in.Value == nil {
		return secretView{}, badParameter("Property value is required.")
	}
	if len(*in.Value) > largeSecret {
		return secretView{}, badParameter("Property value is too long; a secret has at most %d bytes.", largeSecret)
	}
	if utf8.RuneCountInString(in.ContentType) > longContentType {
		return secretView{}, badParameter("Property contentType is too long; it has at most %d characters.", longContentType)
	}
	now, unlock := v.lock()
	defer unlock()
	if err := v.state.freeForPlain(secretKind, name, now); err != nil {
		return secretView{}, err
	}
	head, err := newVersion(now, in.Attributes, in.Tags)
	if err != nil {
		return secretView{}, err
	}
	s := v.state.Secrets.Live[fold(name)]
	if s == nil {
		s = &secret{Name: name}
		v.state.Secrets.Live[fold(name)] = s
	}
	s.Versions = append(s.Versions, secretVersion{version: head, Value: *in.Value, ContentType: in.ContentType})
	return s.view(pick(s.Versions, "")), nil
}

// secret returns a version of a secret. A disabled one is refused; one outside
// its dates is not, so that what it protects can be recovered.
func (v *Vault) secret(name, id string) (secretView, error) {
	now, unlock := v.lock()
	defer unlock()
	s, err := v.state.secret(name, now)
	if err != nil {
		return secretView{}, err
	}
	one := pick(s.Versions, id)
	if one == nil {
		return secretView{}, secretKind.notFound(name)
	}
	if !one.Attributes.Enabled {
		return secretView{}, secretKind.disabled("get")
	}
	return s.view(one), nil
}

// secretChange is what a client asks to change of a version.
type secretChange struct {
	ContentType *string           `json:"contentType"`
	Attributes  *attributeChange  `json:"attributes"`
	Tags        map[string]string `json:"tags"`
}

// updateSecret changes a version of a plain secret.
func (v *Vault) updateSecret(name, id string, in secretChange) (secretView, error) {
	if in.ContentType != nil && utf8.RuneCountInString(*in.ContentType) > longContentType {
		return secretView{}, badParameter("Property contentType is too long; it has at most %d characters.", longContentType)
	}
	now, unlock := v.lock()
	defer unlock()
	s, err := v.state.secret(name, now)
	if err != nil {
		return secretView{}, err
	}
	one := pick(s.Versions, id)
	if one == nil {
		return secretView{}, secretKind.notFound(name)
	}
	if one.managed {
		return secretView{}, secretKind.managed(name)
	}
	if err := one.change(now, in.Attributes, in.Tags); err != nil {
		return secretView{}, err
	}
	if in.ContentType != nil {
		one.ContentType = *in.ContentType
	}
	return s.view(one), nil
}

// secrets returns the newest version of every secret, certificates' included,
// by name.
func (v *Vault) secrets() []secretView {
	now, unlock := v.lock()
	defer unlock()
	var all []secretView
	for _, s := range v.state.Secrets.Live {
		if v.state.Secrets.look(s.Name, now) != nil {
			all = append(all, s.view(pick(s.Versions, "")))
		}
	}
	for _, c := range v.state.Certificates.Live {
		if s := c.asSecret(); v.state.Certificates.look(c.Name, now) != nil && len(s.Versions) > 0 {
			all = append(all, s.view(pick(s.Versions, "")))
		}
	}
	slices.SortFunc(all, func(a, b secretView) int { return strings.Compare(fold(a.name), fold(b.name)) })
	return all
}

// secretVersions returns the versions of a secret, in the order of their names.
func (v *Vault) secretVersions(name string) ([]secretView, error) {
	now, unlock := v.lock()
	defer unlock()
	s, err := v.state.secret(name, now)
	if err != nil {
		return nil, err
	}
	var all []secretView
	for i := range s.Versions {
		all = append(all, s.view(&s.Versions[i]))
	}
	slices.SortFunc(all, func(a, b secretView) int { return strings.Compare(a.version.ID, b.version.ID) })
	return all, nil
}

// secretAs returns a certificate's secret in another form. Only PKCS#12 can be
// had as PEM, as documented for outContentType.
func (v *Vault) secretAs(s secretView, contentType string) (secretView, error) {
	if contentType != PKCS12 && contentType != PEM {
		return secretView{}, badParameter("The parameter outContentType has invalid value %s.", printable(contentType))
	}
	if !s.version.managed || contentType == s.version.ContentType {
		return s, nil
	}
	if contentType != PEM {
		return secretView{}, badParameter("A secret of the content type %s cannot be had as %s.", s.version.ContentType, contentType)
	}
	c, err := v.certificate(s.name, s.version.ID)
	if err != nil {
		return secretView{}, err
	}
	var key crypto.Signer
	if c.version.Exportable {
		key = c.version.Key.Signer
	}
	if s.version.Value, err = secretText(PEM, c.version.Chain, key); err != nil {
		return secretView{}, err
	}
	s.version.ContentType = PEM
	return s, nil
}
