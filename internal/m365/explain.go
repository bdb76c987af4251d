package m365

import "strings"

// Explanation says in people's words what an AADSTS code means.
type Explanation struct {
	Code   int
	Title  string // completes "AADSTS700027, …"
	Cause  string // why Entra ID says so
	Remedy string // what to do, and where
	// Waiting says whether waiting helps, and how long.
	Waiting string

	// when is a part of Entra ID's message that tells apart the reasons behind one
	// code; empty for the general one.
	when string
}

// Explain returns what a code means in general. A [SignInError] gives the more
// particular reason where Entra ID's message names one.
func Explain(code int) (Explanation, bool) { return explain(code, "") }

func explain(code int, message string) (Explanation, bool) {
	for _, x := range explanations {
		if x.Code == code && (x.when == "" || strings.Contains(message, x.when)) {
			return x, true
		}
	}
	return Explanation{}, false
}

const (
	noWait        = "No."
	waitDirectory = "Only if the change was made within the last minutes: the directory needs up to 10 to spread it."
)

// explanations are looked through from the top, so that a particular reason stands
// before the general one of its code. Microsoft lists the codes at
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes; what
// stands here is our own reading of them.
var explanations = []Explanation{
	// The certificate.
	{
		Code: 700027, when: "The key was not found",
		Title:   "the application does not know this certificate",
		Cause:   "The assertion was signed with a certificate whose thumbprint is not among those of the application: it was never uploaded, was removed, was uploaded to another application, or has not spread yet.",
		Remedy:  "Compare the thumbprint that was used with those at Entra ID > App registrations > your application > Certificates & secrets > Certificates. If it is missing, upload the certificate's public part (.cer) there. `reeve token` prints the thumbprint in use.",
		Waiting: "Yes, up to 10 minutes, if the certificate was uploaded just now. Otherwise no.",
	},
	{
		Code: 700027, when: "did not match the expected signature",
		Title:   "the signature does not fit the certificate",
		Cause:   "The application knows a certificate with this thumbprint, but the assertion was signed with another private key, or was changed on its way.",
		Remedy:  "Take certificate and private key from the same PFX file, made in one go; a renewed certificate has a new key. If they come from a key vault, read both from the same version.",
		Waiting: noWait,
	},
	{
		Code: 700027, when: "use of the key to verify the signature failed",
		Title:   "the certificate's key cannot verify the signature",
		Cause:   "The application knows this certificate, but its key and the algorithm of the assertion do not go together, as with an EC certificate, or one that Entra ID holds damaged.",
		Remedy:  "Use a certificate with an RSA key of 2048 bits or more. If it is one, remove it from the application and upload its public part (.cer) again.",
		Waiting: noWait,
	},
	{
		Code: 700027, when: "The key used is expired",
		Title:   "the certificate has expired",
		Cause:   "The application knows this certificate, but its end date has passed.",
		Remedy:  "Make a new certificate, upload its public part at Entra ID > App registrations > your application > Certificates & secrets, and configure it here. The expired one can be removed afterwards.",
		Waiting: noWait,
	},
	{
		Code:    700027,
		Title:   "the assertion's signature was refused",
		Cause:   "Entra ID found no certificate of the application that verifies the assertion: the certificate is unknown to it, has expired, or does not belong to the private key.",
		Remedy:  "Compare thumbprint and end date of the certificate in use (`reeve token` prints it) with those at Entra ID > App registrations > your application > Certificates & secrets.",
		Waiting: waitDirectory,
	},
	{
		Code:    700026,
		Title:   "the application has no certificate at all",
		Cause:   "A certificate was used, and the application has none, neither valid nor expired.",
		Remedy:  "Upload the certificate's public part (.cer) at Entra ID > App registrations > your application > Certificates & secrets > Certificates, and see that the client ID is that application's.",
		Waiting: waitDirectory,
	},
	{
		Code:    7000277,
		Title:   "the certificate was revoked",
		Cause:   "The authority that issued the certificate has withdrawn it.",
		Remedy:  "Find out from that authority why, make a new certificate with a new key, upload its public part to the application, and configure it here.",
		Waiting: noWait,
	},
	{
		Code:    7000214,
		Title:   "the certificate was revoked",
		Cause:   "Entra ID found the certificate on the revocation list of the authority that issued it. Its key may be known to others.",
		Remedy:  "Find out from that authority why, make a new certificate with a new key, upload its public part to the application, configure it here, and remove the revoked one from the application. Where reeve looks after the application, `reeve cert revoke` does that.",
		Waiting: noWait,
	},
	{
		Code:    1000502,
		Title:   "the certificate is outside its validity",
		Cause:   "By Entra ID's clock the certificate has ended, or does not begin yet, as when it was made on a machine whose clock is ahead.",
		Remedy:  "Compare the certificate's dates (`reeve token` prints the end, `reeve pki show FILE` both) with the time. If it has ended, make a new one, upload its public part at Entra ID > App registrations > your application > Certificates & secrets, and configure it here; if it begins later, set the clock of the machine that makes certificates.",
		Waiting: "Only if the certificate does not begin yet: until it does.",
	},
	{
		Code:    700024,
		Title:   "the assertion is outside its time",
		Cause:   "An assertion is good for a few minutes around this machine's time, and Entra ID's clock says otherwise. Almost always this machine's clock is wrong.",
		Remedy:  "Compare `date -u` with the current time in the message and set the clock, best by a time service (chrony, systemd-timesyncd, w32time; for a virtual machine also the host's).",
		Waiting: "No; a clock does not mend itself.",
	},
	{
		Code:    700023,
		Title:   "the assertion is for another authority",
		Cause:   "The audience in the assertion is not the token endpoint of the tenant that was asked.",
		Remedy:  "See that cloud, authority host and tenant belong together. A proxy in between must not rewrite the host.",
		Waiting: noWait,
	},
	{
		Code:    700021,
		Title:   "the assertion names another application",
		Cause:   "The assertion's issuer and subject are not the client ID of the request.",
		Remedy:  "For a federated token, see that it was issued for this client ID; with a certificate, report this as an error of the program.",
		Waiting: noWait,
	},
	{
		Code:    50027,
		Title:   "the assertion cannot be read",
		Cause:   "What was sent as the assertion is no complete JWT.",
		Remedy:  "For workload identity, look into the file of the federated token: it must hold one JWT and nothing else. With a certificate, see whether a proxy changes or cuts the request.",
		Waiting: noWait,
	},
	{
		Code:    5002723,
		Title:   "the assertion names no certificate",
		Cause:   "The assertion's header has neither a thumbprint nor a key ID, so Entra ID cannot look up the certificate. A federated token that was sent as if it were a certificate's looks so too.",
		Remedy:  "For workload identity, see that the application has a federated credential for the token's issuer.",
		Waiting: noWait,
	},
	{
		Code:    5002738,
		Title:   "the assertion is signed with an unsupported algorithm",
		Cause:   "Entra ID verifies PS256 and RS256, thus RSA keys only.",
		Remedy:  "Use a certificate with an RSA key of 2048 bits or more, not an EC one.",
		Waiting: noWait,
	},
	{
		Code:    90014,
		Title:   "a required field is missing",
		Cause:   "The request or its assertion lacks a field that the message names.",
		Remedy:  "For workload identity, see that the federated token has iss, sub and aud. Otherwise see whether a proxy cuts the request.",
		Waiting: noWait,
	},

	// The application and the tenant.
	{
		Code:    700016,
		Title:   "the tenant has no such application",
		Cause:   "The client ID does not exist in this tenant: it is mistyped, is an object ID or a secret's ID, belongs to another tenant, or the application was deleted.",
		Remedy:  "Copy Application (client) ID and Directory (tenant) ID from the same page, Entra ID > App registrations > your application > Overview.",
		Waiting: "Yes, a few minutes, if the application was registered just now. Otherwise no.",
	},
	{
		Code:    7000229,
		Title:   "the application has no service principal in this tenant",
		Cause:   "The application is registered, but has no presence in this tenant to which permissions could be granted.",
		Remedy:  "Grant admin consent (Entra ID > App registrations > your application > API permissions), or run `az ad sp create --id CLIENT_ID`.",
		Waiting: waitDirectory,
	},
	{
		Code:    7000112,
		Title:   "the application is disabled",
		Cause:   "Somebody, or Microsoft after an abuse report, has disabled the application or its sign-in.",
		Remedy:  "Look at Entra ID > Enterprise applications > your application > Properties, \"Enabled for users to sign in?\", and ask in the audit log who switched it off and why before switching it on.",
		Waiting: noWait,
	},
	{
		Code:    90002,
		Title:   "there is no such tenant",
		Cause:   "The tenant ID or domain is not known to this cloud: it is mistyped, or the tenant is in another cloud (GCC High, DoD, China).",
		Remedy:  "Copy the tenant ID from Entra ID > Overview, and see that the configured cloud is the tenant's.",
		Waiting: noWait,
	},
	{
		Code:    900023,
		Title:   "the tenant ID is malformed",
		Cause:   "The tenant is given neither by a GUID nor by a domain name.",
		Remedy:  "Copy the tenant ID from Entra ID > Overview; look for blanks, quotes and placeholders that were not filled in.",
		Waiting: noWait,
	},
	{
		Code:    700025,
		Title:   "the application is a public client",
		Cause:   "A certificate or secret was presented for an application that is registered as a public client, which may not have one.",
		Remedy:  "Use an application of its own for this, or set \"Allow public client flows\" to No at Entra ID > App registrations > your application > Authentication.",
		Waiting: waitDirectory,
	},

	// The secret.
	{
		Code:    7000215,
		Title:   "the client secret is wrong",
		Cause:   "The secret is not one of the application's. Often the secret's ID was copied in place of its value, or a shell changed a special character.",
		Remedy:  "Make a new secret and copy its Value at once, it is shown only then; better, use a certificate.",
		Waiting: waitDirectory,
	},
	{
		Code:    7000222,
		Title:   "the client secret has expired",
		Cause:   "The secret is right, and its end date has passed.",
		Remedy:  "Make a new secret at Entra ID > App registrations > your application > Certificates & secrets; better, use a certificate, which this program watches over.",
		Waiting: noWait,
	},
	{
		Code:    7000218,
		Title:   "no certificate and no secret was sent",
		Cause:   "The request held neither an assertion nor a secret.",
		Remedy:  "See that the sign-in method is certificate (or secret) and that the certificate is configured. A proxy that drops the body of requests has the same effect.",
		Waiting: noWait,
	},

	// Federated credentials.
	{
		Code:    700211,
		Title:   "no federated credential has this issuer",
		Cause:   "The outside token's issuer differs from that of every federated credential of the application; the comparison is exact, a trailing slash and the case of letters count.",
		Remedy:  "Compare the issuer in the message with Entra ID > App registrations > your application > Certificates & secrets > Federated credentials.",
		Waiting: waitDirectory,
	},
	{
		Code:    700212,
		Title:   "no federated credential has this audience",
		Cause:   "The outside token is for another audience than the federated credential says.",
		Remedy:  "Let the issuer make tokens for api://AzureADTokenExchange, or correct the audience of the federated credential.",
		Waiting: waitDirectory,
	},
	{
		Code:    700213,
		Title:   "no federated credential has this subject",
		Cause:   "The outside token's subject (a service account, a repository and branch) is not that of any federated credential; the comparison is exact, the case of letters counts.",
		Remedy:  "Compare the subject in the message with Entra ID > App registrations > your application > Certificates & secrets > Federated credentials.",
		Waiting: waitDirectory,
	},

	// The resource and the permissions.
	{
		Code:    500011,
		Title:   "the tenant does not know this resource",
		Cause:   "The API for which the token was asked has no service principal in the tenant: its address belongs to another cloud, or the tenant has no subscription with that service.",
		Remedy:  "See that the configured cloud is the tenant's. If it is, create the service principal; for the Office 365 Management APIs: `az ad sp create --id c5393580-f805-4401-95e8-94b7a6ef2fc2`.",
		Waiting: waitDirectory,
	},
	{
		Code:    500014,
		Title:   "the resource is disabled",
		Cause:   "The service principal of the API is disabled in this tenant, by an administrator or because the subscription lapsed.",
		Remedy:  "Look at Entra ID > Enterprise applications, all application types, for the API that the message names, and at the tenant's subscriptions.",
		Waiting: noWait,
	},
	{
		Code:    501051,
		Title:   "the application is not assigned to the resource",
		Cause:   "The API demands an assignment, and the application has no role there.",
		Remedy:  "Add the API's application permission to the application and grant admin consent.",
		Waiting: waitDirectory,
	},
	{
		Code:    65001,
		Title:   "consent is missing",
		Cause:   "No administrator has consented to the permissions of the application.",
		Remedy:  "An administrator clicks \"Grant admin consent\" at Entra ID > App registrations > your application > API permissions. Permissions must be of the type Application, not Delegated.",
		Waiting: waitDirectory,
	},
	{
		Code:    1002012,
		Title:   "the scope does not end in /.default",
		Cause:   "An application asks for a whole resource, and a single permission was asked for.",
		Remedy:  "Give the resource alone, such as https://manage.office.com; /.default is added.",
		Waiting: noWait,
	},
	{
		Code:    70011,
		Title:   "the scope is malformed",
		Cause:   "What was asked for is no resource that Entra ID can parse.",
		Remedy:  "Give the resource as its App ID URI, such as https://manage.office.com, without blanks.",
		Waiting: noWait,
	},

	// Policies and limits.
	{
		Code:    53003,
		Title:   "a Conditional Access policy forbids it",
		Cause:   "A policy for workload identities blocks this application, mostly because of the network that it calls from.",
		Remedy:  "Look at Entra ID > Sign-in logs > Service principal sign-ins, entry with the correlation ID of the message, tab Conditional Access; then add this machine's public address to the allowed locations or exclude the application.",
		Waiting: noWait,
	},
	{
		Code:    50196,
		Title:   "too many sign-ins of the same kind",
		Cause:   "Entra ID saw the same request again and again in a short time and stopped answering it.",
		Remedy:  "Look for a second copy of the program, or one that is restarted all the time: a running one asks about once an hour.",
		Waiting: "Yes, some minutes, with the program stopped or waiting.",
	},
	{
		Code:    90033,
		Title:   "Entra ID is unavailable for a moment",
		Cause:   "The service had a passing failure.",
		Remedy:  "Nothing; it is tried again. If it lasts, look at https://status.cloud.microsoft.",
		Waiting: "Yes, minutes.",
	},
	{
		Code:    90055,
		Title:   "the tenant is throttled",
		Cause:   "The tenant sends Entra ID too many requests.",
		Remedy:  "Find out which application does; this one asks about once an hour.",
		Waiting: "Yes, as long as the answer says.",
	},
}
