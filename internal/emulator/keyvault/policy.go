package keyvault

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Names of issuers that every vault knows.
const (
	issuerSelf    = "Self"    // the vault signs
	issuerUnknown = "Unknown" // somebody signs the request, and the client merges the answer
)

// What a lifetime action does.
const (
	autoRenew     = "AutoRenew"
	emailContacts = "EmailContacts"
)

// policy says how the next version of a certificate is made, in Key Vault's own
// names. One that is kept has all members but sans, curve and size as the kind
// of key has them. A list that is empty was emptied by the client, and stays so;
// one that is missing gets the default.
type policy struct {
	ID              string            `json:"id,omitempty"` // of answers
	Key             *keyProps         `json:"key_props,omitempty"`
	Secret          *secretProps      `json:"secret_props,omitempty"`
	X509            *x509Props        `json:"x509_props,omitempty"`
	Actions         []lifetimeAction  `json:"lifetime_actions,omitzero"`
	Issuer          *issuerProps      `json:"issuer,omitempty"`
	Attributes      *policyAttributes `json:"attributes,omitempty"`
	PlatformManaged json.RawMessage   `json:"platformManaged,omitempty"`
}

type keyProps struct {
	Exportable *bool  `json:"exportable,omitempty"`
	Type       string `json:"kty,omitempty"`
	Size       int    `json:"key_size,omitempty"`
	Reuse      *bool  `json:"reuse_key,omitempty"`
	Curve      string `json:"crv,omitempty"`
}

type secretProps struct {
	ContentType string `json:"contentType,omitempty"`
}

type x509Props struct {
	Subject string        `json:"subject,omitempty"`
	Names   *subjectNames `json:"sans,omitempty"`
	Usages  []string      `json:"ekus,omitzero"` // object identifiers
	Uses    []string      `json:"key_usage,omitzero"`
	Months  *int          `json:"validity_months,omitempty"`
}

type lifetimeAction struct {
	Trigger struct {
		Percentage *int `json:"lifetime_percentage,omitempty"`
		Days       *int `json:"days_before_expiry,omitempty"`
	} `json:"trigger"`
	Action struct {
		Type string `json:"action_type"`
	} `json:"action"`
}

type issuerProps struct {
	Name         string `json:"name,omitempty"`
	Type         string `json:"cty,omitempty"`
	Transparency *bool  `json:"cert_transparency,omitempty"`
}

type policyAttributes struct {
	Enabled *bool `json:"enabled,omitempty"`
	Created int64 `json:"created,omitempty"`
	Updated int64 `json:"updated,omitempty"`

	// Taken and ignored, because clients send back what they read.
	NotBefore       any `json:"nbf,omitempty"`
	Expires         any `json:"exp,omitempty"`
	RecoveryLevel   any `json:"recoveryLevel,omitempty"`
	RecoverableDays any `json:"recoverableDays,omitempty"`
}

// with returns the policy changed by what the client names; lists are replaced.
func (p policy) with(change *policy) policy {
	if change == nil {
		return p
	}
	if c := change.Key; c != nil {
		k := value(p.Key)
		if c.Exportable != nil {
			k.Exportable = c.Exportable
		}
		if c.Type != "" && c.Type != k.Type {
			k.Type, k.Size, k.Curve = c.Type, 0, ""
		}
		if c.Curve != "" && c.Curve != k.Curve {
			k.Curve, k.Size = c.Curve, 0
		}
		if c.Size != 0 {
			k.Size = c.Size
		}
		if c.Reuse != nil {
			k.Reuse = c.Reuse
		}
		p.Key = &k
	}
	if c := change.Secret; c != nil && c.ContentType != "" {
		p.Secret = &secretProps{c.ContentType}
	}
	if c := change.X509; c != nil {
		x := value(p.X509)
		if c.Subject != "" {
			x.Subject = c.Subject
		}
		if c.Names != nil {
			x.Names = c.Names
		}
		if c.Usages != nil {
			x.Usages = c.Usages
		}
		if c.Uses != nil {
			x.Uses = c.Uses
		}
		if c.Months != nil {
			x.Months = c.Months
		}
		p.X509 = &x
	}
	if change.Actions != nil {
		p.Actions = change.Actions
	}
	if c := change.Issuer; c != nil && c.Name != "" {
		p.Issuer = c
	}
	if c := change.Attributes; c != nil && c.Enabled != nil {
		p.Attributes = &policyAttributes{Enabled: c.Enabled, Created: value(p.Attributes).Created}
	}
	if change.PlatformManaged != nil {
		p.PlatformManaged = change.PlatformManaged
	}
	return p
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// complete returns the policy with defaults for what is missing. Only some of
// the defaults are documented; the rest is what is known of the service [K].
func (p policy) complete(now time.Time) policy {
	k, x, a := value(p.Key), value(p.X509), value(p.Attributes)
	if k.Type == "" {
		k.Type = "RSA"
		if k.Curve != "" {
			k.Type = "EC"
		}
	}
	switch k.Type {
	case "RSA":
		if k.Size == 0 {
			k.Size = 2048
		}
	case "EC":
		if k.Curve == "" {
			k.Curve = "P-256"
		}
		if k.Size == 0 {
			k.Size = curveSize(k.Curve)
		}
	}
	if k.Exportable == nil {
		k.Exportable = new(true)
	}
	if k.Reuse == nil {
		k.Reuse = new(false)
	}
	if p.Issuer == nil || p.Issuer.Name == "" {
		p.Issuer = &issuerProps{Name: issuerUnknown}
	}
	if x.Months == nil {
		x.Months = new(12)
	}
	if x.Usages == nil {
		x.Usages = []string{"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"}
	}
	if x.Uses == nil {
		x.Uses = []string{"digitalSignature", "keyEncipherment"}
	}
	if value(p.Secret).ContentType == "" {
		p.Secret = &secretProps{PKCS12}
	}
	if p.Actions == nil {
		action := lifetimeAction{}
		action.Trigger.Percentage = new(80)
		action.Action.Type = autoRenew
		if p.issuer(issuerUnknown) {
			action.Action.Type = emailContacts
		}
		p.Actions = []lifetimeAction{action}
	}
	if a.Enabled == nil {
		a.Enabled = new(true)
	}
	if a.Created == 0 {
		a.Created = now.Unix()
	}
	p.Key, p.X509 = &k, &x
	p.Attributes = &policyAttributes{Enabled: a.Enabled, Created: a.Created, Updated: now.Unix()}
	return p
}

// mostMonths bounds validity_months; Microsoft documents no bound [K].
const mostMonths = 1200

// check refuses a complete policy that cannot be carried out.
func (p policy) check() error {
	if p.PlatformManaged != nil && string(p.PlatformManaged) != "null" {
		return notEmulated("platformManaged")
	}
	if err := checkKind(p.Key.Type, p.Key.Size, p.Key.Curve); err != nil {
		return err
	}
	if c := p.Secret.ContentType; c != PKCS12 && c != PEM {
		return badParameter("Property policy.secret_props.contentType has invalid value %s.", printable(c))
	}
	if m := *p.X509.Months; m < 1 || m > mostMonths {
		return badParameter("Property policy.x509_props.validity_months has invalid value %d.", m)
	}
	if _, err := parseSubject(p.X509.Subject); err != nil {
		return badParameter("Property policy.x509_props.subject has invalid value: it %s.", err)
	}
	if _, err := p.X509.Names.extension(); err != nil {
		return err
	}
	if p.X509.Subject == "" && p.X509.Names.empty() {
		return badParameter("Property policy.x509_props needs a subject or sans.")
	}
	for _, text := range p.X509.Usages {
		if _, err := parseOID(text); err != nil {
			return badParameter("Property policy.x509_props.ekus has invalid value %s.", printable(text))
		}
	}
	for _, use := range p.X509.Uses {
		if _, ok := keyUses[use]; !ok {
			return badParameter("Property policy.x509_props.key_usage has invalid value %s.", printable(use))
		}
	}
	for _, a := range p.Actions {
		percentage, days := a.Trigger.Percentage, a.Trigger.Days
		switch {
		case a.Action.Type != autoRenew && a.Action.Type != emailContacts:
			return badParameter("Property policy.lifetime_actions.action.action_type has invalid value %s.", printable(a.Action.Type))
		case (percentage == nil) == (days == nil):
			return badParameter("Property policy.lifetime_actions.trigger needs either lifetime_percentage or days_before_expiry.")
		case percentage != nil && (*percentage < 1 || *percentage > 99):
			return badParameter("Property policy.lifetime_actions.trigger.lifetime_percentage must be between 1 and 99.")
		case days != nil && (*days < 1 || *days > *p.X509.Months*27):
			return badParameter("Property policy.lifetime_actions.trigger.days_before_expiry must be between 1 and %d, the validity in months times 27.", *p.X509.Months*27)
		}
	}
	return nil
}

// due reports whether the newest version of a certificate is to be renewed.
func (p policy) due(now, notBefore, notAfter time.Time) bool {
	return slices.ContainsFunc(p.Actions, func(a lifetimeAction) bool {
		if a.Action.Type != autoRenew {
			return false
		}
		if days := a.Trigger.Days; days != nil {
			return !now.Before(notAfter.AddDate(0, 0, -*days))
		}
		life := notAfter.Sub(notBefore) / 100
		return a.Trigger.Percentage != nil && !now.Before(notBefore.Add(life*time.Duration(*a.Trigger.Percentage)))
	})
}

func (p policy) issuer(name string) bool { return strings.EqualFold(p.Issuer.Name, name) }

// keyUses are the uses of a certificate's key, and the key operations that each
// allows (https://learn.microsoft.com/azure/key-vault/certificates/about-certificates).
var keyUses = map[string]struct {
	bit x509.KeyUsage
	ops []string
}{
	"digitalSignature": {x509.KeyUsageDigitalSignature, []string{"sign", "verify"}},
	"nonRepudiation":   {x509.KeyUsageContentCommitment, []string{"sign", "verify"}},
	"keyEncipherment":  {x509.KeyUsageKeyEncipherment, []string{"wrapKey", "unwrapKey"}},
	"dataEncipherment": {x509.KeyUsageDataEncipherment, []string{"encrypt", "decrypt"}},
	"keyAgreement":     {x509.KeyUsageKeyAgreement, nil},
	"keyCertSign":      {x509.KeyUsageCertSign, []string{"sign", "verify"}},
	"cRLSign":          {x509.KeyUsageCRLSign, []string{"sign", "verify"}},
	"encipherOnly":     {x509.KeyUsageEncipherOnly, nil},
	"decipherOnly":     {x509.KeyUsageDecipherOnly, nil},
}

// operations returns what the certificate's key may do.
func (p policy) operations() []string {
	var ops []string
	for _, use := range p.X509.Uses {
		for _, op := range keyUses[use].ops {
			if p.Key.Type == "EC" && op != "sign" && op != "verify" || slices.Contains(ops, op) {
				continue
			}
			ops = append(ops, op)
		}
	}
	return ops
}

// policyOf returns the policy that a certificate from elsewhere is given: what
// the certificate itself says, and who can renew it.
func policyOf(c *x509.Certificate, contentType string) policy {
	p := policy{
		Key: &keyProps{}, Secret: &secretProps{contentType}, Issuer: &issuerProps{Name: issuerUnknown},
		X509: &x509Props{Subject: c.Subject.String(), Usages: []string{}, Uses: []string{}},
	}
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		p.Key.Type, p.Key.Size = "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		p.Key.Type, p.Key.Size, p.Key.Curve = "EC", key.Curve.Params().BitSize, key.Curve.Params().Name
	}
	months := int(c.NotAfter.Sub(c.NotBefore).Hours()/24/30.4 + 0.5)
	p.X509.Months = new(min(max(months, 1), mostMonths))
	for _, e := range c.Extensions {
		var usages []asn1.ObjectIdentifier
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &usages); err != nil {
			continue // x509 would have refused the certificate.
		}
		for _, u := range usages {
			p.X509.Usages = append(p.X509.Usages, u.String())
		}
	}
	for name, use := range keyUses {
		if c.KeyUsage&use.bit != 0 {
			p.X509.Uses = append(p.X509.Uses, name)
		}
	}
	slices.Sort(p.X509.Uses)
	p.X509.Names = namesOf(c)
	return p
}

// notEmulated refuses what Key Vault can do and this one cannot.
func notEmulated(what string) *Refusal {
	return refuse(http.StatusNotImplemented, "NotImplemented", "", "The emulated tenant does not know %s.", what)
}
