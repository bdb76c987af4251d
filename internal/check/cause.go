package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/permission"
)

func whoConsents(p permission.Permission) string {
	return strings.Join(p.API.Consenters(), ", or ")
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

// explained is the finding about an error, by m365's table of codes.
func explained(err error) Finding {
	x, ok := m365.ExplanationOf(err)
	if !ok {
		f := Finding{Cause: err.Error()}
		var e *m365.Error
		if errors.As(err, &e) {
			f.Remedy = e.Remedy
		}
		return f
	}
	return Finding{Cause: fmt.Sprintf("%s (%v)", x.Cause, err), Remedy: x.Remedy, Who: strings.Join(x.Who, ", or "), Waiting: x.Waiting}
}

// noPermission are codes that say that a permission is missing.
var noPermission = []string{"Authorization_RequestDenied", "Forbidden", "AF10001"}

// refused is the finding about a call that the API refused though the token has the
// permission, and whose object should be there: what codes say of these is not the cause.
func refused(err error) Finding {
	x, known := m365.ExplanationOf(err)
	general := !known || len(x.When) == 0 && slices.Contains(noPermission, x.Code)
	switch {
	case general && errors.Is(err, m365.ErrForbidden):
		return Finding{
			Cause:  fmt.Sprintf("the call is refused though the token has the permission: %v", err),
			Remedy: "see whether Conditional Access for workload identities or a policy of the service (such as a Teams application access policy) stands against the application; ask again with a token of a new permission",
			Who:    "a Conditional Access Administrator, or the service's administrator", Waiting: "up to an hour, if the permission is new"}
	case errors.Is(err, m365.ErrNotFound) && (!known || x.Code == "Request_ResourceNotFound"):
		return Finding{
			Cause:  fmt.Sprintf("what was asked for is not there: it was deleted a moment ago, or this cloud does not offer it: %v", err),
			Remedy: "check again, and compare the setting cloud with the tenant", Who: "whoever configures reeve"}
	}
	return explained(err)
}
