package m365

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Explanation says in people's words what a code of Microsoft's means. What stands
// in the tables is our own reading of Microsoft's documents.
type Explanation struct {
	API  string `json:"api"`  // whose code it is, for people
	Code string `json:"code"` // as Microsoft writes it, or a name of ours in small letters and hyphens

	// When holds parts of messages, of which one tells this reason from the others
	// behind the code. It is empty for the general reason. What Microsoft gives no
	// code, as with all that goes wrong on the way there, is known by these alone.
	When []string `json:"when,omitempty"`

	Title   string   `json:"title"`   // completes "AADSTS700027, …"
	Cause   string   `json:"cause"`   // why the API says so
	Remedy  string   `json:"remedy"`  // what to do, and where
	Who     []string `json:"who"`     // who can do it, any of them
	Waiting string   `json:"waiting"` // whether waiting helps, and how long
	Source  string   `json:"source"`  // the page of Microsoft's about it
}

// Explanations returns all that there are, by API.
func Explanations() []Explanation { return slices.Clone(explanations) }

// ExplanationOf explains the error of a call or of signing in that is in an error's
// chain. What reeve itself says of the remedy is more particular than the table, and
// takes its place.
func ExplanationOf(err error) (Explanation, bool) {
	var signIn *SignInError
	var answer *Error
	switch {
	case errors.As(err, &signIn):
		return signIn.Explanation()
	case errors.As(err, &answer):
		return answer.Explanation()
	}
	return Explanation{}, false
}

// The people who can mend something. Roles of Entra ID are called as they are there;
// an Application Administrator stands for a Cloud Application Administrator, too.
const (
	globalAdmin      = "Global Administrator"
	rolesAdmin       = "Privileged Role Administrator"
	applicationAdmin = "Application Administrator"
	conditionalAdmin = "Conditional Access Administrator"
	userAdmin        = "User Administrator"
	auditAdmin       = "holder of the role Audit Logs in Exchange Online"
	billingAdmin     = "Billing Administrator"
	licenseAdmin     = "License Administrator"
	applicationOwner = "an owner of the application"
	vaultOwner       = "the owner of the key vault"
	vaultAssigner    = "an Owner, User Access Administrator or Key Vault Data Access Administrator of the vault"
	vaultManager     = "an Owner, Contributor or Key Vault Contributor of the vault"
	workspaceOwner   = "an Owner or User Access Administrator of the workspace"
	networkPeople    = "the people who run the network"
	issuerPeople     = "whoever runs the issuer of the outside token"
	authorityPeople  = "the authority that issued the certificate"
	operator         = "whoever runs reeve"
	whoSignsIn       = "the person who signs in"
	developers       = "the developers of the program"
	microsoft        = "nobody but Microsoft"
	nobody           = "nobody has to"
)

// How long waiting helps.
const (
	noWait        = "No."
	waitDirectory = "Only if the change was made within the last minutes: the directory needs up to 10 to spread it."
	waitToken     = "Only if the permission was granted within the last hour: it shows in new tokens."
	waitRetryTime = "Yes, as long as the answer says."
	waitMinutes   = "Yes, minutes."
)

// explanations are looked through from the top, so that a particular reason stands
// before the general one of its code.
var explanations = slices.Concat(
	table("Microsoft Entra ID", docSignIn, signInExplanations),
	table("Microsoft Entra ID", docSignIn, requestExplanations),
	table("Microsoft Entra ID", docSignIn, personExplanations),
	table("Microsoft Graph", docGraph, graphExplanations),
	table("Azure Key Vault", docVault, vaultExplanations),
	table("Azure Resource Manager", docRoles, resourcesExplanations),
	table("Management Activity API", docActivity, activityExplanations),
	table("Azure Monitor Logs", docLogs, logsExplanations),
	table("the network", docNetwork, networkExplanations),
)

// table completes the explanations of an API.
func table(api, source string, all []Explanation) []Explanation {
	for i := range all {
		all[i].API = api
		if all[i].Source == "" {
			all[i].Source = source
		}
	}
	return all
}

// explain finds what a code means in a message.
func explain(code, message string) (Explanation, bool) {
	for _, x := range explanations {
		if x.Code == code && (len(x.When) == 0 || x.says(message)) {
			return x, true
		}
	}
	return Explanation{}, false
}

// explainWords finds what a message means that holds no code.
func explainWords(message string) (Explanation, bool) {
	for _, x := range explanations {
		if x.nameless() && x.says(message) {
			return x, true
		}
	}
	return Explanation{}, false
}

// nameless reports whether Microsoft gives no code, and the one here is ours.
func (x Explanation) nameless() bool { return strings.Contains(x.Code, "-") }

// says reports whether a message gives this particular reason.
func (x Explanation) says(message string) bool {
	return slices.ContainsFunc(x.When, func(part string) bool { return strings.Contains(message, part) })
}

// sts is a number of Entra ID's token service as people see it.
func sts(code int) string { return "AADSTS" + strconv.Itoa(code) }

// clause makes sentences a part of a line.
func clause(s string) string {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// sentence is the other way round.
func sentence(s string) string { return capital(strings.TrimSuffix(s, ".")) + "." }

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
