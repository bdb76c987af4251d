package graph

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// managementPolicy says which credentials applications may get. It is a
// tenantAppManagementPolicy, of which the tenant has one, or an
// appManagementPolicy, which is assigned to applications and service principals.
// The former has ApplicationRestrictions and ServicePrincipalRestrictions, the
// latter Restrictions. Its JSON is that of Graph.
type managementPolicy struct {
	ID                           string        `json:"id"`
	DisplayName                  *string       `json:"displayName"`
	Description                  *string       `json:"description"`
	IsEnabled                    bool          `json:"isEnabled"`
	ApplicationRestrictions      *restrictions `json:"applicationRestrictions,omitempty"`
	ServicePrincipalRestrictions *restrictions `json:"servicePrincipalRestrictions,omitempty"`
	Restrictions                 *restrictions `json:"restrictions,omitempty"`
}

// restrictions are what a policy says for one kind of object.
type restrictions struct {
	Passwords []restriction `json:"passwordCredentials"`
	Keys      []restriction `json:"keyCredentials"`
}

// restriction is a passwordCredentialConfiguration or a
// keyCredentialConfiguration. Each type is at most once in a list.
type restriction struct {
	Type         string     `json:"restrictionType"`
	State        string     `json:"state"`                               // enabled or disabled
	MaxLifetime  *string    `json:"maxLifetime"`                         // ISO 8601, as the client wrote it
	CreatedAfter *time.Time `json:"restrictForAppsCreatedAfterDateTime"` // nil: whenever
	// AuthorityIDs are of certificateBasedApplicationConfigurations.
	AuthorityIDs []string `json:"certificateBasedApplicationConfigurationIds,omitempty"`
}

// Types of restriction. Microsoft documents in the beta version alone that
// certificates can be limited to those of trusted authorities.
const (
	passwordAddition            = "passwordAddition"
	passwordLifetime            = "passwordLifetime"
	customPasswordAddition      = "customPasswordAddition" // nobody can violate it: addPassword alone makes secrets
	symmetricKeyAddition        = "symmetricKeyAddition"
	symmetricKeyLifetime        = "symmetricKeyLifetime"
	asymmetricKeyLifetime       = "asymmetricKeyLifetime"
	trustedCertificateAuthority = "trustedCertificateAuthority"
)

var (
	passwordRestrictions = []string{passwordAddition, passwordLifetime, customPasswordAddition, symmetricKeyAddition, symmetricKeyLifetime}
	keyRestrictions      = []string{asymmetricKeyLifetime, trustedCertificateAuthority}
)

// patchTenantPolicy returns what the tenant's policy is after a PATCH. A list of
// restrictions is replaced as a whole, as are applicationRestrictions and
// servicePrincipalRestrictions.
func patchTenantPolicy(p managementPolicy, body json.RawMessage) (managementPolicy, *graphError) {
	in := readInput(body, "displayName", "description", "isEnabled", "applicationRestrictions", "servicePrincipalRestrictions")
	in.policy(&p)
	in.restrictions("applicationRestrictions", &p.ApplicationRestrictions)
	in.restrictions("servicePrincipalRestrictions", &p.ServicePrincipalRestrictions)
	return p, in.refused
}

// patchAppPolicy returns what a policy for applications is after a PATCH, or,
// when p is new, after its creation.
func patchAppPolicy(p managementPolicy, body json.RawMessage) (managementPolicy, *graphError) {
	in := readInput(body, "displayName", "description", "isEnabled", "restrictions")
	in.policy(&p)
	in.restrictions("restrictions", &p.Restrictions)
	return p, in.refused
}

// policy reads what both kinds of policy have.
func (in *input) policy(p *managementPolicy) {
	if _, ok := in.members["displayName"]; ok {
		p.DisplayName = in.text("displayName")
	}
	if _, ok := in.members["description"]; ok {
		p.Description = in.text("description")
	}
	if b := in.boolean("isEnabled"); b != nil {
		p.IsEnabled = *b
	} else if _, ok := in.members["isEnabled"]; ok {
		in.mistyped("isEnabled")
	}
}

func (in *input) restrictions(name string, to **restrictions) {
	if !in.has(name) || in.refused != nil {
		return
	}
	r, err := parseRestrictions(in.members[name])
	if err != nil {
		in.refused = err
		return
	}
	*to = &r
}

func parseRestrictions(raw json.RawMessage) (r restrictions, err *graphError) {
	in := readInput(raw, "passwordCredentials", "keyCredentials", "identifierUris", "applicationRestrictions")
	if in.refused != nil {
		return r, in.refused
	}
	for _, name := range []string{"identifierUris", "applicationRestrictions"} {
		if in.has(name) {
			return r, notEmulated("restrictions on identifierUris")
		}
	}
	r = restrictions{Passwords: []restriction{}, Keys: []restriction{}}
	for _, list := range []struct {
		name  string
		types []string
		to    *[]restriction
	}{{"passwordCredentials", passwordRestrictions, &r.Passwords}, {"keyCredentials", keyRestrictions, &r.Keys}} {
		if !in.has(list.name) {
			continue
		}
		if *list.to, err = readInputs(list.name, in.members[list.name], parseRestriction); err != nil {
			return r, err
		}
		seen := map[string]bool{}
		for _, one := range *list.to {
			if !slices.Contains(list.types, one.Type) {
				return r, badRequest("The restrictionType '%s' is not one for %s.", origin.Printable(one.Type), list.name)
			}
			if seen[one.Type] {
				return r, badRequest("The restrictionType '%s' is used more than once in %s.", one.Type, list.name)
			}
			seen[one.Type] = true
		}
	}
	return r, nil
}

func parseRestriction(raw json.RawMessage) (restriction, *graphError) {
	in := readInput(raw, "restrictionType", "state", "maxLifetime", "restrictForAppsCreatedAfterDateTime",
		"excludeActors", "certificateBasedApplicationConfigurationIds")
	kind, state := in.text("restrictionType"), in.text("state")
	r := restriction{
		State:       "enabled", // the documented samples of older versions leave it out
		MaxLifetime: in.text("maxLifetime"), CreatedAfter: in.date("restrictForAppsCreatedAfterDateTime"),
	}
	in.read("certificateBasedApplicationConfigurationIds", &r.AuthorityIDs)
	if kind == nil {
		in.refuse("A restriction needs a restrictionType.")
	}
	if state != nil {
		r.State = *state
	}
	if r.State != "enabled" && r.State != "disabled" {
		in.refuse("The state of a restriction is enabled or disabled.")
	}
	if in.refused != nil {
		return r, in.refused
	}
	if in.has("excludeActors") {
		return r, notEmulated("excludeActors")
	}
	r.Type = *kind
	return r, r.check()
}

// check says whether a restriction has what its type needs, and nothing else.
func (r restriction) check() *graphError {
	limits := strings.HasSuffix(r.Type, "Lifetime")
	switch {
	case limits && r.MaxLifetime == nil:
		return badRequest("The restrictionType '%s' needs a maxLifetime.", r.Type)
	case limits:
		if _, ok := parseDuration(*r.MaxLifetime); !ok {
			return badValue("maxLifetime")
		}
	case r.MaxLifetime != nil:
		return badRequest("The restrictionType '%s' has no maxLifetime.", origin.Printable(r.Type)) // [K]
	}
	if trusts := r.Type == trustedCertificateAuthority; trusts != (len(r.AuthorityIDs) > 0) {
		return badRequest("Restrictions of type trustedCertificateAuthority, and no others, need certificateBasedApplicationConfigurationIds.") // [K]
	}
	return nil
}

var duration = regexp.MustCompile(`^P(?:(\d{1,5})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,7})M)?(?:(\d{1,9})(?:\.\d{1,7})?S)?)?$`)

// parseDuration reads an Edm.Duration, such as P4DT12H30M5S: days and less, no
// years, months or weeks. Fractions of a second are dropped. A lifetime is more
// than nothing.
func parseDuration(s string) (time.Duration, bool) {
	m := duration.FindStringSubmatch(s)
	if m == nil || strings.HasSuffix(s, "T") {
		return 0, false
	}
	var sum time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return 0, false
		}
		sum += time.Duration(n) * unit
	}
	return sum, sum > 0
}
