package graph

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/reeve365/reeve/internal/m365"
)

// Registration is an application as far as its registration goes. Its JSON is Graph's.
type Registration struct {
	ObjectID   string           `json:"id"`
	ClientID   string           `json:"appId"`
	Name       string           `json:"displayName"`
	UniqueName string           `json:"uniqueName"` // empty unless somebody chose one
	Audience   string           `json:"signInAudience"`
	Notes      string           `json:"notes"`
	Created    time.Time        `json:"createdDateTime"`
	Deleted    time.Time        `json:"deletedDateTime"` // zero unless it is in the recycle bin
	Required   []ResourceAccess `json:"requiredResourceAccess"`
}

// ResourceAccess is what an application says that it needs of an API.
type ResourceAccess struct {
	API    string   `json:"resourceAppId"` // client ID of the API
	Access []Access `json:"resourceAccess"`
}

// Access is one permission of a [ResourceAccess].
type Access struct {
	ID   string `json:"id"`
	Type string `json:"type"` // RoleAccess or Scope
}

// RoleAccess is the type of an [Access] to an application permission.
const RoleAccess = "Role"

// Principal is a service principal as far as permissions go. Its JSON is Graph's.
type Principal struct {
	ObjectID string    `json:"id"`
	ClientID string    `json:"appId"`
	Name     string    `json:"displayName"`
	Enabled  bool      `json:"accountEnabled"`
	Roles    []AppRole `json:"appRoles"` // that it offers
}

// AppRole is a permission that an API offers to applications.
type AppRole struct {
	ID      string   `json:"id"`
	Name    string   `json:"value"`
	Enabled bool     `json:"isEnabled"`
	Members []string `json:"allowedMemberTypes"`
}

// RoleGrant is an application permission that was consented to: Entra ID calls it an app
// role assignment.
type RoleGrant struct {
	ID          string `json:"id"`
	RoleID      string `json:"appRoleId"`
	PrincipalID string `json:"principalId"` // object ID of the service principal that has it
	APIID       string `json:"resourceId"`  // object ID of the API's service principal
	APIName     string `json:"resourceDisplayName"`
}

// DirectoryRole is a role of the directory, such as Reports Reader.
type DirectoryRole struct {
	ID   string `json:"id"`
	Name string `json:"displayName"`
}

// DirectoryRoleGrant says that somebody holds a directory role.
type DirectoryRoleGrant struct {
	ID          string `json:"id"`
	RoleID      string `json:"roleDefinitionId"`
	PrincipalID string `json:"principalId"`
	Scope       string `json:"directoryScopeId"` // "/" is all of it
}

// Organization is the tenant.
type Organization struct {
	TenantID string `json:"id"`
	Name     string `json:"displayName"`
}

// Somebody is a person or a service principal, as an owner of an application.
type Somebody struct {
	ObjectID string `json:"id"`
	Name     string `json:"displayName"`
	Address  string `json:"userPrincipalName"` // of people
}

const registrationProperties = "id,appId,displayName,uniqueName,signInAudience,notes,createdDateTime,deletedDateTime,requiredResourceAccess"

// Organization reads which tenant it is.
func (c *Client) Organization(ctx context.Context) (Organization, error) {
	const op = "reading which tenant it is"
	all, err := all(ctx, c, op, "organization", url.Values{"$select": {"id,displayName"}}, func(o *Organization) string { return o.TenantID })
	if err != nil {
		return Organization{}, err
	}
	if len(all) != 1 {
		return Organization{}, &m365.Error{Op: op, Message: "Graph does not answer with one tenant"}
	}
	return all[0], nil
}

// Me reads who has signed in; a program that signs in as itself is nobody.
func (c *Client) Me(ctx context.Context) (s Somebody, err error) {
	_, err = c.read(ctx, "reading who has signed in", graphURL(c.cloud, "me", url.Values{"$select": {"id,displayName,userPrincipalName"}}), needsRead, &s)
	return s, err
}

// RegistrationByClientID reads the registration of an application.
func (c *Client) RegistrationByClientID(ctx context.Context, clientID string) (Registration, error) {
	op := "reading the application with client ID " + clientID
	if err := checkID(op, "client ID", clientID); err != nil {
		return Registration{}, err
	}
	r, err := c.registration(ctx, op, "applications(appId='"+clientID+"')")
	if err == nil && !strings.EqualFold(r.ClientID, clientID) {
		return Registration{}, otherObject(op, r.ClientID)
	}
	return r, err
}

// RegistrationByUniqueName reads the registration of the application that was made under
// a unique name.
func (c *Client) RegistrationByUniqueName(ctx context.Context, uniqueName string) (Registration, error) {
	op := "reading the application with unique name " + uniqueName
	r, err := c.registration(ctx, op, byUniqueName(uniqueName))
	if err == nil && r.UniqueName != uniqueName {
		return Registration{}, otherObject(op, r.UniqueName)
	}
	return r, err
}

func (c *Client) registration(ctx context.Context, op, path string) (r Registration, err error) {
	_, err = c.read(ctx, op, graphURL(c.cloud, path, url.Values{"$select": {registrationProperties}}), needsRead, &r)
	return r, err
}

// RegistrationsNamed lists the applications with a name, whose case does not count.
func (c *Client) RegistrationsNamed(ctx context.Context, name string) ([]Registration, error) {
	return all(ctx, c, "listing the applications with the name "+name, "applications",
		url.Values{"$select": {registrationProperties}, "$filter": {"displayName eq " + quoted(name)}}, registrationID)
}

// DeletedRegistrations lists the applications in the recycle bin, where they stay for 30
// days.
func (c *Client) DeletedRegistrations(ctx context.Context) ([]Registration, error) {
	return all(ctx, c, "listing the applications in the recycle bin", "directory/deletedItems/microsoft.graph.application",
		url.Values{"$select": {registrationProperties}}, registrationID)
}

func registrationID(r *Registration) string { return r.ObjectID }

// PrincipalByClientID reads the service principal of an application or an API.
func (c *Client) PrincipalByClientID(ctx context.Context, clientID string) (p Principal, err error) {
	op := "reading the service principal of " + clientID
	if err := checkID(op, "client ID", clientID); err != nil {
		return Principal{}, err
	}
	_, err = c.read(ctx, op, graphURL(c.cloud, "servicePrincipals(appId='"+clientID+"')",
		url.Values{"$select": {"id,appId,displayName,accountEnabled,appRoles"}}), needsRead, &p)
	if err == nil && !strings.EqualFold(p.ClientID, clientID) {
		return Principal{}, otherObject(op, p.ClientID)
	}
	return p, err
}

// RoleGrants lists the application permissions that a service principal, given by its
// object ID, has.
func (c *Client) RoleGrants(ctx context.Context, principalID string) ([]RoleGrant, error) {
	op := "listing the permissions of service principal " + principalID
	if err := checkID(op, "object ID", principalID); err != nil {
		return nil, err
	}
	return all(ctx, c, op, "servicePrincipals/"+principalID+"/appRoleAssignments", nil, func(g *RoleGrant) string { return g.ID })
}

// Owners lists who owns an application, given by its object ID.
func (c *Client) Owners(ctx context.Context, objectID string) ([]Somebody, error) {
	op := "listing the owners of application " + objectID
	if err := checkID(op, "object ID", objectID); err != nil {
		return nil, err
	}
	return all(ctx, c, op, "applications/"+objectID+"/owners", nil, func(s *Somebody) string { return s.ObjectID })
}

// DirectoryRoles lists the directory roles that there are.
func (c *Client) DirectoryRoles(ctx context.Context) ([]DirectoryRole, error) {
	return all(ctx, c, "listing the directory roles", "roleManagement/directory/roleDefinitions",
		url.Values{"$select": {"id,displayName"}}, func(r *DirectoryRole) string { return r.ID })
}

// DirectoryRoleGrants lists the directory roles that somebody, given by object ID, holds.
func (c *Client) DirectoryRoleGrants(ctx context.Context, principalID string) ([]DirectoryRoleGrant, error) {
	op := "listing the directory roles of " + principalID
	if err := checkID(op, "object ID", principalID); err != nil {
		return nil, err
	}
	return all(ctx, c, op, "roleManagement/directory/roleAssignments",
		url.Values{"$filter": {"principalId eq " + quoted(principalID)}}, func(g *DirectoryRoleGrant) string { return g.ID })
}

// CertificateLimit reads how long certificates of applications may be valid by the
// tenant's policy, from a time on at which the application is made; 0 is without limit.
// What a policy of the application's own says is not read.
func (c *Client) CertificateLimit(ctx context.Context, made time.Time) (time.Duration, error) {
	const op = "reading the tenant's policy for certificates"
	var p struct {
		Enabled      bool `json:"isEnabled"`
		Applications struct {
			Keys []struct {
				Type  string    `json:"restrictionType"`
				State string    `json:"state"`
				Most  string    `json:"maxLifetime"`
				From  time.Time `json:"restrictForAppsCreatedAfterDateTime"`
			} `json:"keyCredentials"`
		} `json:"applicationRestrictions"`
	}
	if _, err := c.read(ctx, op, graphURL(c.cloud, "policies/defaultAppManagementPolicy", nil), needsPolicy, &p); err != nil {
		return 0, err
	}
	if !p.Enabled {
		return 0, nil
	}
	for _, k := range p.Applications.Keys {
		if k.Type == "asymmetricKeyLifetime" && k.State != "disabled" && !made.Before(k.From) {
			return readSpan(op, k.Most)
		}
	}
	return 0, nil
}

// Change makes a call that was made by one of the functions of this package, once, and
// reads its answer, which may be none, into v.
func (c *Client) Change(ctx context.Context, r Request, v any) error {
	resp, err := c.do(policy.WithHTTPHeader(ctx, r.Header.Clone()), r.Call, needsSetup)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusNoContent || v == nil {
		return nil
	}
	return decode(r.Op, resp, v)
}

const (
	needsPolicy = "sign in with Policy.Read.All or Policy.Read.ApplicationConfiguration, or leave the policy unread"
	needsSetup  = "sign in as somebody who holds the directory role that this needs, active now (Privileged Identity Management), and consent to what reeve asks for"
)

// Request is a call that changes something, to be shown before it is sent.
type Request struct {
	m365.Call
	Header http.Header // besides the usual ones
}

// createIfMissing makes a PATCH create the object that its address names, unless it is
// there (learn.microsoft.com/graph/api/application-upsert).
func createIfMissing() http.Header { return http.Header{"Prefer": {"create-if-missing"}} }

// MakeApplication creates the application with a unique name, or gives the one that is
// there those members: it can be sent again when its answer was lost. The answer is a
// [Registration], or none when it was there.
func MakeApplication(cloud m365.Cloud, uniqueName, name, notes string, required []ResourceAccess) Request {
	r := request(cloud, "creating application "+name, http.MethodPatch, byUniqueName(uniqueName), struct {
		Name     string           `json:"displayName"`
		Audience string           `json:"signInAudience"`
		Notes    string           `json:"notes"`
		Required []ResourceAccess `json:"requiredResourceAccess"`
	}{name, "AzureADMyOrg", notes, required})
	r.Header = createIfMissing()
	return r
}

// MakePrincipal creates the service principal of an application, unless it is there. The
// answer is a [Principal], or none when it was there.
func MakePrincipal(cloud m365.Cloud, clientID string) Request {
	r := request(cloud, "creating the service principal of "+clientID, http.MethodPatch, "servicePrincipals(appId='"+url.PathEscape(clientID)+"')", struct{}{})
	r.Header = createIfMissing()
	return r
}

// SetRequired replaces the list of the permissions that an application says it needs.
func SetRequired(cloud m365.Cloud, objectID string, required []ResourceAccess) Request {
	return request(cloud, "setting the permissions that application "+objectID+" asks for", http.MethodPatch, "applications/"+url.PathEscape(objectID), struct {
		Required []ResourceAccess `json:"requiredResourceAccess"`
	}{required})
}

// GrantRole consents to an application permission. The answer is a [RoleGrant].
func GrantRole(cloud m365.Cloud, principalID, apiID, roleID string) Request {
	return request(cloud, "granting a permission to service principal "+principalID, http.MethodPost, "servicePrincipals/"+url.PathEscape(principalID)+"/appRoleAssignments", struct {
		Principal string `json:"principalId"`
		API       string `json:"resourceId"`
		Role      string `json:"appRoleId"`
	}{principalID, apiID, roleID})
}

// RevokeRole takes an application permission back.
func RevokeRole(cloud m365.Cloud, principalID, grantID string) Request {
	return request(cloud, "taking a permission back from service principal "+principalID, http.MethodDelete,
		"servicePrincipals/"+url.PathEscape(principalID)+"/appRoleAssignments/"+url.PathEscape(grantID), nil)
}

// AddOwner makes somebody an owner of an application.
func AddOwner(cloud m365.Cloud, objectID, ownerID string) Request {
	return request(cloud, "making "+ownerID+" an owner of application "+objectID, http.MethodPost, "applications/"+url.PathEscape(objectID)+"/owners/$ref", struct {
		ID string `json:"@odata.id"`
	}{graphURL(cloud, "directoryObjects/"+ownerID, nil)})
}

// RemoveOwner takes somebody out of the owners of an application.
func RemoveOwner(cloud m365.Cloud, objectID, ownerID string) Request {
	return request(cloud, "taking "+ownerID+" out of the owners of application "+objectID, http.MethodDelete,
		"applications/"+url.PathEscape(objectID)+"/owners/"+url.PathEscape(ownerID)+"/$ref", nil)
}

// GrantDirectoryRole gives a service principal a role in all of the directory. The answer
// is a [DirectoryRoleGrant].
func GrantDirectoryRole(cloud m365.Cloud, principalID, roleID string) Request {
	return request(cloud, "giving a directory role to service principal "+principalID, http.MethodPost, "roleManagement/directory/roleAssignments", struct {
		Principal string `json:"principalId"`
		Role      string `json:"roleDefinitionId"`
		Scope     string `json:"directoryScopeId"`
	}{principalID, roleID, "/"})
}

// RevokeDirectoryRole takes a directory role back.
func RevokeDirectoryRole(cloud m365.Cloud, grantID string) Request {
	return request(cloud, "taking a directory role back", http.MethodDelete, "roleManagement/directory/roleAssignments/"+url.PathEscape(grantID), nil)
}

// DeleteApplication moves an application to the recycle bin, its service principal with
// it.
func DeleteApplication(cloud m365.Cloud, objectID string) Request {
	return request(cloud, "deleting application "+objectID, http.MethodDelete, "applications/"+url.PathEscape(objectID), nil)
}

// DeletePrincipal moves a service principal to the recycle bin.
func DeletePrincipal(cloud m365.Cloud, principalID string) Request {
	return request(cloud, "deleting service principal "+principalID, http.MethodDelete, "servicePrincipals/"+url.PathEscape(principalID), nil)
}

// RestoreApplication takes an application out of the recycle bin, its service principal
// with it.
func RestoreApplication(cloud m365.Cloud, objectID string) Request {
	return request(cloud, "restoring application "+objectID, http.MethodPost, "directory/deletedItems/"+url.PathEscape(objectID)+"/restore", nil)
}

// request is a call that is sent once.
func request(cloud m365.Cloud, op, method, path string, body any) Request {
	r := Request{Call: change(cloud, op, method, "", "", body)}
	r.URL = graphURL(cloud, path, nil)
	if body == nil {
		r.Body = nil
	}
	return r
}

func byUniqueName(name string) string {
	return "applications(uniqueName='" + url.PathEscape(strings.ReplaceAll(name, "'", "''")) + "')"
}

// quoted is a text in a filter.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// all lists objects to the end. id returns the object ID of each.
func all[T any](ctx context.Context, c *Client, op, path string, query url.Values, id func(*T) string) ([]T, error) {
	var found []T
	page, seen := graphURL(c.cloud, path, query), map[string]bool{}
	for page != "" {
		switch {
		case seen[page]:
			return nil, &m365.Error{Op: op, Message: fmt.Sprintf("page %d leads back to an earlier one: the listing would never end", len(seen))}
		case len(seen) == c.pageLimit:
			return nil, &m365.Error{Op: op, Message: "there are too many pages"}
		}
		seen[page] = true
		objects, next, err := listPage(ctx, c, op, page, func(o *T, _ time.Time) string { return id(o) })
		if err != nil {
			return nil, err
		}
		found, page = append(found, objects...), next
	}
	return found, nil
}
