package directory

import (
	"slices"
	"time"
)

// TokenExchange is the client ID of the service that tokens of managed
// identities are for when they are used as federated credentials.
const TokenExchange = "fb60f99c-7a34-4190-8149-302f77469936"

// Client IDs of programs of Microsoft's that administrators sign in with, the
// same in every tenant.
const (
	AzureCLI          = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	AzurePowerShell   = "1950a258-227b-4e31-a9cf-717495945fc2"
	GraphCommandLine  = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
	serviceManagement = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
	nativeRedirect    = "https://login.microsoftonline.com/common/oauth2/nativeclient"
)

// publicClient is one of those programs. What Microsoft allows them without anybody's
// consent, by resource, is in no grant that a directory shows. [K] For Graph
// Command Line Tools it stands for what an administrator once consented to.
type publicClient struct {
	appID, displayName string
	preauthorized      map[string][]string
}

var publicClients = []publicClient{
	{AzureCLI, "Microsoft Azure CLI", map[string][]string{
		Graph:             {"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "AuditLog.Read.All", "DelegatedPermissionGrant.ReadWrite.All", "Directory.AccessAsUser.All", "Group.ReadWrite.All", "User.Read.All", "User.ReadWrite.All"},
		KeyVault:          {"user_impersonation"},
		serviceManagement: {"user_impersonation"},
	}},
	{AzurePowerShell, "Microsoft Azure PowerShell", map[string][]string{
		Graph:             {"Application.ReadWrite.All", "AuditLog.Read.All", "Directory.AccessAsUser.All", "Group.ReadWrite.All", "User.ReadWrite.All"},
		KeyVault:          {"user_impersonation"},
		serviceManagement: {"user_impersonation"},
	}},
	{GraphCommandLine, "Microsoft Graph Command Line Tools", map[string][]string{
		Graph: {"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "Directory.Read.All", "User.Read"},
	}},
}

// AddMicrosoftClients gives the tenant the service principals of Microsoft's
// public clients, and of TokenExchange. Their object IDs, which next makes, are
// the tenant's own.
func (d *Directory) AddMicrosoftClients(next func() string, created time.Time) {
	add := func(u *Update, appID, displayName string, names, replies []string) {
		u.PutServicePrincipal(&ServicePrincipal{
			ID: next(), AppID: appID, CreatedDateTime: created,
			DisplayName: displayName, AppDisplayName: displayName,
			AppOwnerOrganizationID: microsoftTenant,
			AccountEnabled:         true, ServicePrincipalType: TypeApplication,
			SignInAudience:        "AzureADandPersonalMicrosoftAccount",
			ServicePrincipalNames: append(names, appID), ReplyURLs: replies,
		})
	}
	// The function returns no error, so neither does Update.
	d.Update(func(u *Update) error {
		for _, c := range publicClients {
			add(u, c.appID, c.displayName, nil, []string{"http://localhost", nativeRedirect})
		}
		add(u, TokenExchange, "AAD Token Exchange", []string{"api://AzureADTokenExchange", "api://AzureADTokenExchangeUSGov", "api://AzureADTokenExchangeChina"}, nil)
		return nil
	})
}

// IsPublicClient reports whether a client ID is that of one of Microsoft's
// public clients.
func IsPublicClient(appID string) bool {
	return slices.ContainsFunc(publicClients, func(c publicClient) bool { return c.appID == appID })
}

// Preauthorized returns the delegated permissions of a resource that one of
// Microsoft's public clients has in every tenant.
func Preauthorized(clientAppID, resourceAppID string) []string {
	for _, c := range publicClients {
		if c.appID == clientAppID {
			return c.preauthorized[resourceAppID]
		}
	}
	return nil
}
