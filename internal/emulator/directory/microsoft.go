package directory

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// microsoft.json lists Microsoft's own services that a token can be asked for:
// their client IDs, App ID URIs, app roles as [id, value], and delegated
// permissions as [id, value, who may consent]. The ids are the same in every
// tenant. Graph's are as CLI for Microsoft 365's tests hold them; a few of the
// others come from Microsoft's pages on the services.
//
//go:embed microsoft.json
var microsoftJSON []byte

type service struct {
	AppID       string      `json:"appId"`
	DisplayName string      `json:"displayName"`
	Names       []string    `json:"names"`
	Roles       [][2]string `json:"roles"`
	Scopes      [][3]string `json:"scopes"`
}

var services = sync.OnceValue(func() (all []service) {
	if err := json.Unmarshal(microsoftJSON, &all); err != nil {
		panic("reading microsoft.json: " + err.Error()) // it is part of the program
	}
	return all
})

// microsoftTenant is the tenant that owns Microsoft's own applications.
const microsoftTenant = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"

// AddMicrosoftServices gives the tenant Microsoft's own service principals.
// Their object IDs, which next makes, are the tenant's own. host is the
// tenant's SharePoint host.
func (d *Directory) AddMicrosoftServices(next func() string, sharePointHost string, created time.Time) {
	// The function returns no error, so neither does Update.
	d.Update(func(u *Update) error {
		for _, s := range services() {
			p := &ServicePrincipal{
				ID: next(), AppID: s.AppID, CreatedDateTime: created,
				DisplayName: s.DisplayName, AppDisplayName: s.DisplayName,
				AppOwnerOrganizationID: microsoftTenant,
				AccountEnabled:         true, ServicePrincipalType: TypeApplication,
				SignInAudience:        "AzureADMultipleOrgs",
				ServicePrincipalNames: append(slices.Clone(s.Names), s.AppID),
			}
			if s.AppID == SharePoint {
				p.ServicePrincipalNames = append(p.ServicePrincipalNames, "https://"+sharePointHost)
			}
			for _, r := range s.Roles {
				p.AppRoles = append(p.AppRoles, AppRole{
					ID: r[0], Value: r[1], DisplayName: r[1], Description: r[1],
					IsEnabled: true, AllowedMemberTypes: []string{"Application"}, Origin: "Application",
				})
			}
			for _, c := range s.Scopes {
				p.OAuth2PermissionScopes = append(p.OAuth2PermissionScopes, PermissionScope{
					ID: c[0], Value: c[1], Type: c[2], IsEnabled: true,
					AdminConsentDisplayName: c[1], AdminConsentDescription: c[1],
				})
			}
			u.PutServicePrincipal(p)
		}
		return nil
	})
}

// IsDirectoryService reports whether a service, given by its client ID, is Graph
// or the one before it. Their roles are not the application administrators' to
// grant (learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent).
func IsDirectoryService(appID string) bool { return appID == Graph || appID == AADGraph }

// RoleID returns the id of an app role of one of Microsoft's services, such as
// ActivityFeed.Read of ManagementAPIs.
func RoleID(appID, value string) (string, error) {
	for _, s := range services() {
		for _, r := range s.Roles {
			if s.AppID == appID && strings.EqualFold(r[1], value) {
				return r[0], nil
			}
		}
	}
	return "", fmt.Errorf("looking up the role %s of %s: Microsoft's services here offer none of that name", value, appID)
}
