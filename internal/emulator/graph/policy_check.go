package graph

import (
	"crypto/x509"
	"net/http"
	"slices"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// credentialRules are the restrictions in force for one object.
type credentialRules struct {
	Passwords, Keys []restriction
	// Authorities are the certificates, as DER, of each
	// certificateBasedApplicationConfiguration, by its id.
	Authorities map[string][][]byte
}

// rulesFor returns what is in force for an object: what the tenant's policy says
// for objects of its kind, of which a restriction of an assigned policy takes
// the place of the one of the same type. An assigned policy can so disable what
// the tenant restricts.
//
// general is the tenant's restrictions for the kind of object, and assigned is
// nil for an object without a policy of its own. Policies that are not enabled
// say nothing.
func rulesFor(tenant managementPolicy, general *restrictions, assigned *managementPolicy) credentialRules {
	var rules credentialRules
	if tenant.IsEnabled && general != nil {
		rules.Passwords, rules.Keys = slices.Clone(general.Passwords), slices.Clone(general.Keys)
	}
	if assigned != nil && assigned.IsEnabled && assigned.Restrictions != nil {
		rules.Passwords = override(rules.Passwords, assigned.Restrictions.Passwords)
		rules.Keys = override(rules.Keys, assigned.Restrictions.Keys)
	}
	return rules
}

func override(general, own []restriction) []restriction {
	for _, o := range own {
		general = slices.DeleteFunc(general, func(g restriction) bool { return g.Type == o.Type })
		general = append(general, o)
	}
	return general
}

// checkNewKeys checks the keys that are in after and were not in before, which
// appCreated, when their object was made, decides as well. Keys that were there
// before a policy stay.
func (c credentialRules) checkNewKeys(before, after []directory.KeyCredential, appCreated time.Time) *graphError {
	for _, k := range after {
		if slices.ContainsFunc(before, func(b directory.KeyCredential) bool { return b.KeyID == k.KeyID }) {
			continue
		}
		if err := c.checkKey(k, appCreated); err != nil {
			return err
		}
	}
	return nil
}

// checkKey checks a key that is to be added to an object made at appCreated.
func (c credentialRules) checkKey(k directory.KeyCredential, appCreated time.Time) *graphError {
	lifetime := k.EndDateTime.Sub(k.StartDateTime)
	if k.Type == keySymmetric {
		if inForce(c.Passwords, symmetricKeyAddition, appCreated) != nil {
			return typeNotAllowed()
		}
		return checkLifetime(c.Passwords, symmetricKeyLifetime, lifetime, appCreated)
	}
	if r := inForce(c.Keys, trustedCertificateAuthority, appCreated); r != nil && !c.trusted(k.Key, r.AuthorityIDs) {
		return typeNotAllowed() // [K]: no code is documented
	}
	return checkLifetime(c.Keys, asymmetricKeyLifetime, lifetime, appCreated)
}

// checkPassword checks a client secret that is to be added to an object made at
// appCreated.
func (c credentialRules) checkPassword(p directory.PasswordCredential, appCreated time.Time) *graphError {
	if inForce(c.Passwords, passwordAddition, appCreated) != nil {
		return typeNotAllowed()
	}
	return checkLifetime(c.Passwords, passwordLifetime, p.EndDateTime.Sub(p.StartDateTime), appCreated)
}

// inForce returns the restriction of a type, or nil when there is none that is
// for an object made at appCreated.
func inForce(list []restriction, kind string, appCreated time.Time) *restriction {
	for _, r := range list {
		if r.Type == kind && r.State == "enabled" && (r.CreatedAfter == nil || !appCreated.Before(*r.CreatedAfter)) {
			return &r
		}
	}
	return nil
}

func checkLifetime(list []restriction, kind string, lifetime time.Duration, appCreated time.Time) *graphError {
	r := inForce(list, kind, appCreated)
	if r == nil || r.MaxLifetime == nil {
		return nil
	}
	if most, _ := parseDuration(*r.MaxLifetime); lifetime > most {
		return refusal(http.StatusBadRequest, "CredentialInvalidLifetimeAsPerAppPolicy",
			"Credential lifetime exceeds the max value allowed as per assigned policy.")
	}
	return nil
}

func typeNotAllowed() *graphError {
	return refusal(http.StatusBadRequest, "CredentialTypeNotAllowedAsPerAppPolicy",
		"Credential type not allowed as per assigned policy.")
}

// trusted reports whether a certificate was issued directly by one of the
// authorities. What the certificate is for and when it is valid do not matter.
func (c credentialRules) trusted(der []byte, authorityIDs []string) bool {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return false
	}
	for _, id := range authorityIDs {
		for _, authority := range c.Authorities[id] {
			ca, err := x509.ParseCertificate(authority)
			if err == nil && leaf.CheckSignatureFrom(ca) == nil {
				return true
			}
		}
	}
	return false
}
