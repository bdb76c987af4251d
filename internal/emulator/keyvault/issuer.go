package keyvault

import (
	"net/http"
	"regexp"
)

// issuer is who signs certificates for the vault, in Key Vault's own names. The
// password of its account is taken and never answered.
type issuer struct {
	Name        string            `json:"-"`
	ID          string            `json:"id,omitempty"` // of answers
	Provider    string            `json:"provider,omitempty"`
	Credentials *issuerAccount    `json:"credentials,omitempty"`
	Details     *issuerDetails    `json:"org_details,omitempty"`
	Attributes  *issuerAttributes `json:"attributes,omitempty"`
}

type issuerAccount struct {
	Account  string `json:"account_id,omitempty"`
	Password string `json:"pwd,omitempty"`
}

type issuerDetails struct {
	ID     string        `json:"id,omitempty"`
	Admins []issuerAdmin `json:"admin_details,omitempty"`
}

type issuerAdmin struct {
	First string `json:"first_name,omitempty"`
	Last  string `json:"last_name,omitempty"`
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"`
}

type issuerAttributes struct {
	Enabled *bool `json:"enabled,omitempty"`
	Created int64 `json:"created,omitempty"`
	Updated int64 `json:"updated,omitempty"`
}

// contact is who hears of certificates that are about to expire.
type contact struct {
	Email string `json:"email,omitempty"`
	Name  string `json:"name,omitempty"`
	Phone string `json:"phone,omitempty"`
}

// Limits of issuers and contacts [K].
const (
	mostIssuers  = 100
	mostContacts = 100
)

// providers are those of which a vault can be a customer. Test is no partner,
// but the SDKs' samples use it [K].
var providers = regexp.MustCompile(`(?i)^(DigiCert|GlobalSign|OneCert|OneCertV2-PublicCA|OneCertV2-PrivateCA|SslAdminV2|Test)$`)

// mailForm is all that is asked of an address.
var mailForm = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)

// issuer finds an issuer, and the name that it was given first; nil when there
// is none.
func (s *state) issuer(name string) (string, *issuer) {
	for kept, i := range s.Issuers {
		if fold(kept) == fold(name) {
			return kept, i
		}
	}
	return name, nil
}

func noIssuer(name string) *Refusal {
	return refuse(http.StatusNotFound, "CertificateIssuerNotFound", "", "Issuer not found: %s", name)
}

// knownIssuer refuses a policy whose issuer the vault does not know. With which
// code is [K].
func (s *state) knownIssuer(p policy) error {
	if p.issuer(issuerSelf) || p.issuer(issuerUnknown) {
		return nil
	}
	_, i := s.issuer(p.Issuer.Name)
	if i == nil {
		return badParameter("Property policy.issuer.name has invalid value %s; the vault has no such issuer.", printable(p.Issuer.Name))
	}
	if !*i.Attributes.Enabled {
		return badParameter("The issuer %s is disabled.", printable(p.Issuer.Name))
	}
	return nil
}

// issuers returns the issuers by name.
func (v *Vault) issuers() map[string]issuer {
	v.mu.RLock()
	defer v.mu.RUnlock()
	all := map[string]issuer{}
	for name, i := range v.state.Issuers {
		all[name] = i.answer(name)
	}
	return all
}

// issuer returns an issuer as answers have it.
func (v *Vault) issuer(name string) (issuer, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	kept, i := v.state.issuer(name)
	if i == nil {
		return issuer{}, noIssuer(name)
	}
	return i.answer(kept), nil
}

func (i issuer) answer(name string) issuer {
	i.Name = name
	if i.Credentials != nil {
		i.Credentials = &issuerAccount{Account: i.Credentials.Account}
	}
	return i
}

// setIssuer replaces an issuer, or with update changes what is given of one
// that exists.
func (v *Vault) setIssuer(name string, in issuer, update bool) (issuer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	name, old := v.state.issuer(name)
	next := issuer{Provider: in.Provider, Credentials: in.Credentials, Details: in.Details}
	switch {
	case fold(name) == "self" || fold(name) == "unknown":
		return issuer{}, badParameter("The issuer name %s is reserved.", name)
	case update && old == nil:
		return issuer{}, noIssuer(name)
	case old == nil && len(v.state.Issuers) == mostIssuers:
		return issuer{}, badParameter("The vault has %d issuers already.", mostIssuers)
	case update:
		if next.Provider == "" {
			next.Provider = old.Provider
		}
		if next.Credentials == nil {
			next.Credentials = old.Credentials
		}
		if next.Details == nil {
			next.Details = old.Details
		}
	}
	if !providers.MatchString(next.Provider) {
		return issuer{}, badParameter("Property provider has invalid value %s.", printable(next.Provider))
	}
	for _, a := range value(next.Details).Admins {
		if !mailForm.MatchString(a.Email) {
			return issuer{}, badParameter("Property org_details.admin_details.email has invalid value.")
		}
	}
	next.Attributes = &issuerAttributes{Enabled: new(true), Created: now.Unix(), Updated: now.Unix()}
	if old != nil {
		next.Attributes.Created = old.Attributes.Created
		if update {
			next.Attributes.Enabled = old.Attributes.Enabled
		}
	}
	if e := value(in.Attributes).Enabled; e != nil {
		next.Attributes.Enabled = e
	}
	v.state.Issuers[name] = &next
	return next.answer(name), nil
}

func (v *Vault) deleteIssuer(name string) (issuer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	kept, i := v.state.issuer(name)
	if i == nil {
		return issuer{}, noIssuer(name)
	}
	delete(v.state.Issuers, kept)
	return i.answer(kept), nil
}

// contacts returns who hears of the vault's certificates. That there are none
// is an error, whose code is [K].
func (v *Vault) contacts() ([]contact, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if len(v.state.Contacts) == 0 {
		return nil, refuse(http.StatusNotFound, "ContactsNotFound", "", "Contacts not found")
	}
	return v.state.Contacts, nil
}

func (v *Vault) setContacts(all []contact) error {
	if len(all) == 0 || len(all) > mostContacts {
		return badParameter("Property contacts must have from 1 to %d items.", mostContacts)
	}
	for _, c := range all {
		if !mailForm.MatchString(c.Email) {
			return badParameter("Property contacts.email has invalid value.")
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Contacts = all
	return nil
}

func (v *Vault) deleteContacts() ([]contact, error) {
	all, err := v.contacts()
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.Contacts = nil
	return all, nil
}
