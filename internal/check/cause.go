package check

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
)

// Who may consent. Application permissions of Graph are for fewer roles to grant
// (learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent).
const (
	consents      = "a Cloud Application Administrator, Application Administrator, Privileged Role Administrator or Global Administrator"
	consentsGraph = "a Privileged Role Administrator or Global Administrator"
)

func whoConsents(p permission.Permission) string {
	if p.API == permission.Graph {
		return consentsGraph
	}
	return consents
}

const inTokensLate = "some minutes as a rule, up to an hour; the token of a managed identity is kept for up to 24 hours"

// ungranted is the finding about a permission that is nowhere.
func ungranted(n permission.Need, granted Answer) Finding {
	f := Finding{
		Cause: fmt.Sprintf("%s of %s is not granted. %s", n.Name, n.API.Name, n.Without),
		Remedy: fmt.Sprintf("Entra ID > App registrations > the application > API permissions > Add a permission > %s > Application permissions > %s, "+
			"then Grant admin consent; a delegated permission of the same name does not do", n.API.Name, n.Name),
		Who: whoConsents(n.Permission), Waiting: inTokensLate,
	}
	if granted == Unknown {
		f.Cause = fmt.Sprintf("%s of %s is not in the token: it is not granted, or was within the last hour. %s", n.Name, n.API.Name, n.Without)
	}
	return f
}

// refusal is one way in which a call is refused though the token has the permission.
type refusal struct {
	status  int
	code    string // part of the API's
	message string // part of the API's, in lower case
	Finding
}

// refusals are looked through from the top.
var refusals = []refusal{
	{message: "unsupported app only token", Finding: Finding{
		Cause:  "the resource takes applications only by certificate, and this token was obtained with a client secret: SharePoint is such a resource",
		Remedy: "sign in with a certificate (auth.method: certificate)", Who: "an owner of the application uploads the certificate"}},
	{message: "license", Finding: Finding{
		Cause:  "a licence is missing: the service is not licensed in the tenant, or not for the person that was asked about",
		Remedy: "see which products the tenant has at Microsoft 365 admin center > Billing > Licenses, and assign one with this service", Who: "a License Administrator; a Billing Administrator buys",
		Waiting: "up to a day after a licence was assigned"}},
	{status: http.StatusPaymentRequired, Finding: Finding{
		Cause: "the API is metered or needs a licence of its own", Remedy: "license it as Microsoft's page on the API says", Who: "a Billing Administrator"}},
	{code: "AF20010", Finding: Finding{
		Cause: "the tenant ID in the configuration is not the one that the application signs in to", Remedy: "compare tenant-id with Entra ID > Overview", Who: "whoever configures reeve"}},
	{code: "AF2001", Finding: Finding{
		Cause:  "the Management Activity API does not know the tenant: the audit log is off, or the tenant is in another cloud than the configured one",
		Remedy: "switch audit logging on (Microsoft Purview > Audit), and compare the setting cloud with the tenant (GCC has manage-gcc.office.com)",
		Who:    "an Exchange administrator with the role Audit Logs, or a Global Administrator", Waiting: "up to a day after it was switched on"}},
	{code: "AF20023", Finding: Finding{
		Cause: "an administrator has disabled this subscription for the application", Remedy: "have it enabled", Who: "a Global Administrator"}},
	{code: "InsufficientAccessError", Finding: Finding{
		Cause: "the permission is there, and the workspace itself is not open to the application", Remedy: "give the application the role Log Analytics Reader on the workspace (Access control (IAM))",
		Who: "an Owner or User Access Administrator of the workspace", Waiting: "up to 30 minutes"}},
	{message: "audience", Finding: Finding{
		Cause: "the token is for another resource than the API that was called", Remedy: "compare the setting cloud with the tenant, and the endpoints if some are set", Who: "whoever configures reeve"}},
	{code: "InvalidAuthenticationToken", Finding: Finding{
		Cause: "the API does not take the token: it is for another resource or another cloud", Remedy: "compare the setting cloud with the tenant, and the endpoints if some are set", Who: "whoever configures reeve"}},
	{status: http.StatusNotFound, Finding: Finding{
		Cause: "what was asked for is not there: it was deleted a moment ago, or this cloud does not offer it", Remedy: "check again, and compare the setting cloud with the tenant", Who: "whoever configures reeve"}},
	{status: http.StatusForbidden, Finding: Finding{
		Cause:  "the call is refused though the token has the permission",
		Remedy: "see whether Conditional Access for workload identities or a policy of the service (such as a Teams application access policy) stands against the application; ask again with a token of a new permission",
		Who:    "a Conditional Access Administrator, or the service's administrator", Waiting: "up to an hour, if the permission is new"}},
}

// refused is the finding about a call that the API refused.
func refused(err error) Finding {
	var signIn *m365.SignInError
	if errors.As(err, &signIn) {
		return signInFinding(err)
	}
	var e *m365.Error
	if !errors.As(err, &e) {
		return Finding{Cause: err.Error()}
	}
	for _, r := range refusals {
		if (r.status == 0 || r.status == e.Status) && strings.Contains(e.Code, r.code) && strings.Contains(strings.ToLower(e.Message), r.message) {
			f := r.Finding
			f.Cause += ": " + err.Error()
			return f
		}
	}
	return Finding{Cause: err.Error(), Remedy: e.Remedy}
}
