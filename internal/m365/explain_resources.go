package m365

const (
	docRoles        = "https://learn.microsoft.com/azure/role-based-access-control/troubleshooting"
	docRolesLimits  = "https://learn.microsoft.com/azure/role-based-access-control/troubleshoot-limits"
	docResources    = "https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors"
	docResourceGone = "https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-not-found"
)

// resourcesExplanations are about Azure Resource Manager, which gives access to a vault.
var resourcesExplanations = []Explanation{
	{
		Code:    "AuthorizationFailed",
		Title:   "whoever has signed in may not do this in Azure",
		Cause:   "No role of theirs at the scope that the message names, or above it, has the action. Roles of Entra ID do not count in Azure, not even that of a Global Administrator; nor does Contributor where a role is to be given.",
		Remedy:  "Let somebody do it who has the role: to give a role at a vault, an Owner or User Access Administrator; to change its access policies, a Contributor, too. `reeve app setup --vault-script` prints the steps for them.",
		Who:     []string{vaultAssigner, vaultManager},
		Waiting: "Yes, up to 10 minutes, if the role was given just now; sign in anew then. Otherwise no.",
	},
	{
		Code:    "RoleAssignmentExists",
		Title:   "the role is given already",
		Cause:   "The identity has this role at this scope, perhaps under another name of the assignment; giving it a second time is an error to Azure.",
		Remedy:  "Nothing is left to do.",
		Who:     []string{nobody},
		Waiting: noWait,
	},
	{
		Code:    "PrincipalNotFound",
		Title:   "Azure does not know whom the role is for",
		Cause:   "The service principal was made a moment ago, and not every server knows it; or the ID is that of the application (its object ID or client ID) in place of the service principal's object ID, or of another tenant.",
		Remedy:  "Repeat it a little later, and say what it is (principalType ServicePrincipal), which spares the look. If it lasts, copy the Object ID from Entra ID > Enterprise applications, not from App registrations.",
		Who:     []string{nobody, operator},
		Waiting: "Yes, up to some minutes, if it was made just now. Otherwise no.",
	},
	{
		Code:    "RoleAssignmentLimitExceeded",
		Title:   "the subscription has as many role assignments as it can",
		Cause:   "A subscription takes 4,000 role assignments, all scopes in it together.",
		Remedy:  "Remove those of identities that were deleted, and give roles to groups in place of single identities.",
		Who:     []string{vaultAssigner},
		Waiting: noWait,
		Source:  docRolesLimits,
	},
	{
		Code:    "SubscriptionNotFound",
		Title:   "the subscription is not found",
		Cause:   "The ID is wrong, the subscription is in another tenant or cloud, or whoever has signed in has no role in it.",
		Remedy:  "Sign in to the tenant that the subscription trusts (Azure portal > Subscriptions shows the directory), and compare the cloud.",
		Who:     []string{operator, vaultOwner},
		Waiting: noWait,
		Source:  docResources,
	},
	{
		Code:    "ResourceGroupNotFound",
		Title:   "the resource group is not found",
		Cause:   "The name is wrong, or the group is in another subscription.",
		Remedy:  "Copy the vault's Resource ID from its Properties: it names subscription and resource group.",
		Who:     []string{operator, vaultOwner},
		Waiting: noWait,
		Source:  docResources,
	},
	{
		Code:    "ResourceNotFound",
		Title:   "Azure has no such resource there",
		Cause:   "The name is wrong, or the resource is in another resource group or was deleted. A deleted vault can be recovered for 7 to 90 days.",
		Remedy:  "Copy the vault's Resource ID from its Properties; look under Key vaults > Manage deleted vaults.",
		Who:     []string{operator, vaultOwner},
		Waiting: noWait,
		Source:  docResourceGone,
	},
}
