package keyvault

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// certificate is a certificate with its versions, oldest first. Its first
// version may still be under way.
type certificate struct {
	Name     string               `json:"name"`
	Versions []certificateVersion `json:"versions"`
	Policy   policy               `json:"policy"`
	Pending  *pending             `json:"pending,omitempty"` // the newest operation, done or not
}

// certificateVersion is at the same time a version of the secret and of the key
// of the same name.
type certificateVersion struct {
	version
	Chain       chain      `json:"chain"` // the certificate itself, and what followed it
	Key         privateKey `json:"key"`
	KeyOps      []string   `json:"keyOps"`
	Exportable  bool       `json:"exportable"`
	ContentType string     `json:"contentType"`
	Secret      string     `json:"secret"` // made once, so that it stays the same
	KeepOrder   bool       `json:"keepOrder,omitempty"`
}

func (c *certificateVersion) leaf() *x509.Certificate {
	i := slices.IndexFunc(c.Chain, func(one *x509.Certificate) bool { return samePublic(one, c.Key) })
	return c.Chain[max(i, 0)]
}

// newCertificateVersion makes a version from a chain and its key, under a
// complete policy. Its dates are the certificate's own.
func newCertificateVersion(head version, all chain, key privateKey, p policy, keepOrder bool) (certificateVersion, error) {
	ordered := all
	// In PKCS#12 the first certificate is the one that the key goes with.
	if !keepOrder || p.Secret.ContentType == PKCS12 {
		var err error
		if ordered, err = all.leafFirst(key, keepOrder); err != nil {
			return certificateVersion{}, badParameter("The chain does not fit the private key: %s.", err)
		}
	}
	c := certificateVersion{
		version: head, Chain: ordered, Key: key, KeyOps: p.operations(),
		Exportable: *p.Key.Exportable, ContentType: p.Secret.ContentType, KeepOrder: keepOrder,
	}
	leaf := c.leaf()
	c.Attributes.NotBefore, c.Attributes.Expires = new(leaf.NotBefore.Unix()), new(leaf.NotAfter.Unix())
	var inSecret crypto.Signer // none, when the key may not leave the vault
	if c.Exportable {
		inSecret = key.Signer
	}
	var err error
	if c.Secret, err = secretText(c.ContentType, ordered, inSecret); err != nil {
		return certificateVersion{}, fmt.Errorf("making the secret of a certificate: %w", err)
	}
	return c, nil
}

// asSecret returns the secret that belongs to a certificate.
func (c *certificate) asSecret() *secret {
	s := &secret{Name: c.Name}
	for _, v := range c.Versions {
		s.Versions = append(s.Versions, secretVersion{version: v.version, Value: v.Secret, ContentType: v.ContentType, managed: true})
	}
	return s
}

// asKey returns the key that belongs to a certificate.
func (c *certificate) asKey() *key {
	k := &key{Name: c.Name}
	for _, v := range c.Versions {
		k.Versions = append(k.Versions, keyVersion{version: v.version, Key: v.Key, Ops: v.KeyOps, managed: true})
	}
	return k
}

// freeForCertificate refuses a name under which no certificate can be made now.
func (s *state) freeForCertificate(name string, now time.Time) error {
	if err := s.Certificates.free(certificateKind, name, now); err != nil {
		return err
	}
	if c := s.Certificates.Live[fold(name)]; c != nil {
		if c.Pending != nil && c.Pending.Status == inProgress {
			// The code is Forbidden although the status is 409, as documented.
			return refuse(409, "Forbidden", "", "A new certificate cannot be created or imported while a pending certificate's status is inProgress.")
		}
		return nil
	}
	if s.Secrets.Live[fold(name)] != nil || s.Keys.Live[fold(name)] != nil {
		return conflict("", "A key or secret named %s exists already, so that no certificate of that name can be made.", name)
	}
	if err := s.Secrets.free(secretKind, name, now); err != nil {
		return err
	}
	return s.Keys.free(keyKind, name, now)
}

func (v *Vault) freeForCertificate(name string) error {
	now, unlock := v.lock()
	defer unlock()
	return v.state.freeForCertificate(name, now)
}

// importation is what a client asks to import.
type importation struct {
	Value      string            `json:"value"`
	Password   string            `json:"pwd"`
	Policy     *policy           `json:"policy"`
	Attributes *attributeChange  `json:"attributes"`
	Tags       map[string]string `json:"tags"`
	KeepOrder  *bool             `json:"preserveCertOrder"`
}

// importCertificate adds a pair from elsewhere as the newest version.
//
// Without a policy the version gets one with the defaults. For a self-signed
// certificate they are that the vault issues and renews: when the certificate
// has lived through most of its time, the vault makes one of its own, which
// becomes the newest. Users report it; which issuer the service puts down for
// an import without a policy is [K].
func (v *Vault) importCertificate(name string, in importation) (certificateView, error) {
	if err := v.freeForCertificate(name); err != nil {
		return certificateView{}, err
	}
	p, err := parsePair(in.Value, in.Password)
	if err != nil {
		return certificateView{}, err
	}
	ordered, err := p.chain.leafFirst(p.key, false)
	if err != nil {
		return certificateView{}, badParameter("The chain does not fit the private key: %s.", err)
	}
	leaf := ordered[0]
	// PEM that no policy announces is taken, because the JavaScript SDK sends no
	// policy; the reference of .NET says that the service takes it for PKCS#12 [K].
	base := policyOf(leaf, p.contentType)
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		base.Issuer.Name = issuerSelf
	}
	now := v.now()
	kept := base.with(in.Policy).complete(now)
	if in.Policy != nil {
		// Users report that a policy without it is refused, for PKCS#12 too; in
		// which cases is [K].
		if value(in.Policy.Secret).ContentType == "" {
			return certificateView{}, badParameter("Property policy has invalid value: secret_props.contentType is missing.")
		}
		if err := kept.check(); err != nil {
			return certificateView{}, err
		}
		if kept.Key.Type != base.Key.Type || kept.Key.Size != base.Key.Size || kept.Key.Curve != base.Key.Curve {
			return certificateView{}, badParameter("The key properties of the policy are not those of the imported key.")
		}
		if kept.Secret.ContentType != p.contentType {
			return certificateView{}, badParameter("The content type %s of the policy is not that of the imported value, which is %s.", kept.Secret.ContentType, p.contentType)
		}
	}
	head, err := newVersion(now, in.Attributes, in.Tags)
	if err != nil {
		return certificateView{}, err
	}
	made, err := newCertificateVersion(head, p.chain, p.key, kept, value(in.KeepOrder))
	if err != nil {
		return certificateView{}, err
	}
	return v.addVersion(name, made, kept)
}

// addVersion adds the newest version of a certificate, and keeps its policy.
func (v *Vault) addVersion(name string, made certificateVersion, kept policy) (certificateView, error) {
	now, unlock := v.lock()
	defer unlock()
	if err := v.state.freeForCertificate(name, now); err != nil {
		return certificateView{}, err
	}
	if err := v.state.knownIssuer(kept); err != nil {
		return certificateView{}, err
	}
	c := v.state.Certificates.Live[fold(name)]
	if c == nil {
		c = &certificate{Name: name}
		v.state.Certificates.Live[fold(name)] = c
	}
	c.Versions = append(c.Versions, made)
	c.Policy = kept
	return c.view(&c.Versions[len(c.Versions)-1]), nil
}

// certificateView is a certificate as it was at one moment. While the first
// version is under way it has the head of that, disabled, with the dates that it
// would have if it were made when it was asked for.
type certificateView struct {
	name    string
	version certificateVersion
	first   bool // the first version is under way
	policy  policy
	pending bool
}

func (c *certificate) view(v *certificateVersion) certificateView {
	view := certificateView{name: c.Name, policy: c.Policy, pending: c.Pending != nil}
	if v == nil {
		view.first = true
		if op := c.Pending; op != nil {
			head := op.Head
			from, to := op.Policy.validity(time.Unix(head.Attributes.Created, 0).UTC())
			head.Attributes.Enabled = false
			head.Attributes.NotBefore, head.Attributes.Expires = new(from.Unix()), new(to.Unix())
			view.version.version = head
		}
		return view
	}
	view.version = *v
	return view
}

// certificate returns a version of a certificate.
func (v *Vault) certificate(name, id string) (certificateView, error) {
	now, unlock := v.lock()
	defer unlock()
	c, one, err := v.state.certificate(name, id, now)
	if err != nil {
		return certificateView{}, err
	}
	return c.view(one), nil
}

// certificate finds a version; it is nil while the first is under way.
func (s *state) certificate(name, id string, now time.Time) (*certificate, *certificateVersion, error) {
	c := s.Certificates.look(name, now)
	if c == nil {
		return nil, nil, certificateKind.notFound(name)
	}
	one := pick(c.Versions, id)
	if one == nil && (id != "" || c.Pending == nil) {
		return nil, nil, certificateKind.notFound(name)
	}
	return c, one, nil
}

// certificates returns the newest version of every certificate, by name, and
// if asked for also those whose first version is under way.
func (v *Vault) certificates(pendingToo bool) []certificateView {
	now, unlock := v.lock()
	defer unlock()
	var all []certificateView
	for _, c := range sorted(v.state.Certificates.Live) {
		if v.state.Certificates.look(c.Name, now) == nil || len(c.Versions) == 0 && !pendingToo {
			continue
		}
		all = append(all, c.view(pick(c.Versions, "")))
	}
	return all
}

// certificateVersions returns the versions of a certificate, in the order of
// their names, which is none in time.
func (v *Vault) certificateVersions(name string) ([]certificateView, error) {
	now, unlock := v.lock()
	defer unlock()
	c := v.state.Certificates.look(name, now)
	if c == nil {
		return nil, certificateKind.notFound(name)
	}
	var all []certificateView
	for i := range c.Versions {
		all = append(all, c.view(&c.Versions[i]))
	}
	slices.SortFunc(all, func(a, b certificateView) int { return strings.Compare(a.version.ID, b.version.ID) })
	return all, nil
}

// certificateChange is what a client asks to change of a version.
type certificateChange struct {
	Attributes *attributeChange  `json:"attributes"`
	Tags       map[string]string `json:"tags"`
	Policy     *policy           `json:"policy"`
}

// updateCertificate changes a version, and with a policy the certificate's. The
// dates are the certificate's own, so that what is said about them is ignored.
func (v *Vault) updateCertificate(name, id string, in certificateChange) (certificateView, error) {
	now, unlock := v.lock()
	defer unlock()
	c, one, err := v.state.certificate(name, id, now)
	if err != nil {
		return certificateView{}, err
	}
	if one == nil {
		return certificateView{}, certificateKind.notFound(name)
	}
	kept := c.Policy
	if in.Policy != nil {
		if kept, err = v.state.changedPolicy(c, in.Policy, now); err != nil {
			return certificateView{}, err
		}
	}
	change := in.Attributes
	if change != nil {
		change = &attributeChange{Enabled: change.Enabled}
	}
	if err := one.change(now, change, in.Tags); err != nil {
		return certificateView{}, err
	}
	c.Policy = kept
	return c.view(one), nil
}

func (s *state) changedPolicy(c *certificate, change *policy, now time.Time) (policy, error) {
	next := c.Policy.with(change).complete(now)
	if err := next.check(); err != nil {
		return policy{}, err
	}
	return next, s.knownIssuer(next)
}

// policy returns the policy of a certificate.
func (v *Vault) policy(name string) (policy, error) {
	now, unlock := v.lock()
	defer unlock()
	c := v.state.Certificates.look(name, now)
	if c == nil {
		return policy{}, certificateKind.notFound(name)
	}
	return c.Policy, nil
}

// updatePolicy changes the policy of a certificate for versions to come.
func (v *Vault) updatePolicy(name string, change *policy) (policy, error) {
	now, unlock := v.lock()
	defer unlock()
	c := v.state.Certificates.look(name, now)
	if c == nil {
		return policy{}, certificateKind.notFound(name)
	}
	next, err := v.state.changedPolicy(c, change, now)
	if err != nil {
		return policy{}, err
	}
	c.Policy = next
	return next, nil
}

// nextDue returns a certificate that the vault is to renew now. Only those of
// the issuer Self are renewed.
func (v *Vault) nextDue() (string, bool) {
	now, unlock := v.lock()
	defer unlock()
	for _, c := range v.state.Certificates.Live {
		if c.due(now) {
			return c.Name, true
		}
	}
	return "", false
}

func (c *certificate) due(now time.Time) bool {
	newest := pick(c.Versions, "")
	if newest == nil || !newest.Attributes.Enabled || !*c.Policy.Attributes.Enabled || !c.Policy.issuer(issuerSelf) ||
		c.Pending != nil && c.Pending.Status == inProgress {
		return false
	}
	leaf := newest.leaf()
	return c.Policy.due(now, leaf.NotBefore, leaf.NotAfter) && c.Policy.check() == nil
}

// renew adds a version that the vault signs itself.
func (v *Vault) renew(ctx context.Context, name string) error {
	v.mu.RLock()
	c := v.state.Certificates.Live[fold(name)]
	if c == nil {
		v.mu.RUnlock()
		return nil
	}
	p, key := c.Policy, c.reusable()
	v.mu.RUnlock()
	if key.Signer == nil {
		var err error
		if key, err = v.generate(ctx, p.Key.Type, p.Key.Size, p.Key.Curve); err != nil {
			return err
		}
	}
	now, unlock := v.lock()
	defer unlock()
	if c = v.state.Certificates.Live[fold(name)]; c == nil || !c.due(now) {
		return nil
	}
	head, err := newVersion(now, nil, pick(c.Versions, "").Tags)
	if err != nil {
		return err
	}
	return c.selfSign(head, key, p, now, false)
}

// reusable returns the key of the newest version, if the policy says to keep
// it and it is of the kind that the policy wants.
func (c *certificate) reusable() privateKey {
	newest := pick(c.Versions, "")
	if newest == nil || !*c.Policy.Key.Reuse {
		return privateKey{}
	}
	if kty, size, curve := newest.Key.kind(); kty != c.Policy.Key.Type || size != c.Policy.Key.Size || curve != c.Policy.Key.Curve {
		return privateKey{}
	}
	return newest.Key
}
