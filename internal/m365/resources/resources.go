// Package resources is the calls of Azure Resource Manager that reeve makes: to find a
// Key Vault, to see who may do what with its contents, and to change that for one service
// principal; and the question to the vault itself whether it took effect. It decides
// nothing and remembers nothing between calls.
//
// A read is tried again when Resource Manager is busy or fails. A change is sent once, and
// can be sent again: none of them can be made twice.
package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/m365"
)

// Versions of the API, by who answers (learn.microsoft.com/rest/api).
const (
	subscriptionsVersion  = "2022-12-01"
	vaultsVersion         = "2022-07-01"
	authorizationVersion  = "2022-04-01"
	vaultContentsVersion  = "7.4"
	maxPages              = 1000
	maxPageBody           = 8 << 20
	assignmentsOfResource = "/providers/Microsoft.Authorization/roleAssignments"
)

// The kinds of an [m365.Error] that are Resource Manager's own, for errors.Is.
var (
	// ErrExists: the principal has the role at that scope, under whichever name.
	ErrExists = errors.New("assigned already")
	// ErrNoPrincipal: not all of Entra ID knows the service principal yet.
	ErrNoPrincipal = errors.New("principal not known yet")
	// ErrNetwork: the vault answers nobody who comes from here.
	ErrNetwork = errors.New("closed to this network")
)

// Options says which cloud's Resource Manager is called, and as whom.
type Options struct {
	Cloud      m365.Cloud
	Credential azcore.TokenCredential
	HTTP       *http.Client
	Retry      m365.Retry // of reads
}

// A Client calls Resource Manager. It is safe for use by several goroutines.
type Client struct {
	pipeline *m365.Pipeline
	base     string
}

// New makes a client; nothing is sent.
func New(o Options) (*Client, error) {
	if o.Cloud.Resources == "" {
		return nil, fmt.Errorf("cloud %q has no Resource Manager endpoint: set resources-endpoint", o.Cloud.Name)
	}
	if err := o.Cloud.Check(); err != nil {
		return nil, err
	}
	return &Client{base: base(o.Cloud), pipeline: m365.NewPipeline(m365.PipelineOptions{
		Audience: o.Cloud.ResourcesAudience, Credential: o.Credential, HTTP: o.HTTP, Retry: o.Retry, Classify: classify,
	})}, nil
}

// classify completes errors by what Resource Manager and the vault say.
func classify(e *m365.Error) {
	code := e.Code[strings.LastIndex(e.Code, "/")+1:]
	switch code {
	case "RoleAssignmentExists":
		e.Kind = ErrExists
	case "PrincipalNotFound":
		e.Kind = ErrNoPrincipal
	case "ForbiddenByFirewall", "ForbiddenByConnection":
		e.Kind = ErrNetwork
	}
}

// Vault is a Key Vault as Azure's resource.
type Vault struct {
	ID       string // of the resource: /subscriptions/.../vaults/NAME
	Name     string
	URL      string // without a slash at the end
	TenantID string
	// RBAC is whether role assignments count; else the access policies do.
	RBAC     bool
	Policies []Policy
}

// Policy is what an access policy gives somebody.
type Policy struct {
	ObjectID    string
	Compound    bool     // it is for the requests of another application on their behalf
	Permissions []string // such as certificates/get
}

// Has reports whether the access policies give somebody a permission.
func (v Vault) Has(objectID, permission string) bool {
	collection, _, _ := strings.Cut(permission, "/")
	for _, p := range v.Policies {
		for _, held := range p.Permissions {
			if strings.EqualFold(p.ObjectID, objectID) && !p.Compound && (strings.EqualFold(held, permission) || strings.EqualFold(held, collection+"/all")) {
				return true
			}
		}
	}
	return false
}

// Role is a built-in role of Azure's, which is the same in every tenant
// (learn.microsoft.com/azure/role-based-access-control/built-in-roles/security).
type Role struct {
	Name string
	ID   string
}

// The roles that have to do with a vault's contents.
var (
	Administrator       = Role{"Key Vault Administrator", "00482a5a-887f-4fb3-b363-3b7fe8e74483"}
	CertificateUser     = Role{"Key Vault Certificate User", "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba"}
	CertificatesOfficer = Role{"Key Vault Certificates Officer", "a4417e6f-fecd-4de8-b567-7b0420556985"}
	SecretsUser         = Role{"Key Vault Secrets User", "4633458b-17de-408a-b874-0445c86b69e6"}
	SecretsOfficer      = Role{"Key Vault Secrets Officer", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"}
	CryptoOfficer       = Role{"Key Vault Crypto Officer", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603"}
)

// Assignment says that a principal holds a role at a scope.
type Assignment struct {
	ID          string
	RoleID      string
	PrincipalID string
	Scope       string
}

// ParseAddress checks the address of a vault, and returns it without a slash at the end. In
// a cloud of Microsoft's it must be below that cloud's domain, since it is shown a token.
func ParseAddress(cloud m365.Cloud, address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Scheme != "https", u.Host == "", u.User != nil, strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return "", fmt.Errorf("%.200q is not of the form https://HOST, such as https://contoso.vault.azure.net", address)
	case cloud.Listed() && !strings.HasSuffix(strings.ToLower(u.Hostname()), "."+cloud.VaultSuffix):
		return "", fmt.Errorf("%.200q is not below %s, the domain of the vaults of cloud %q", address, cloud.VaultSuffix, cloud.Name)
	}
	return "https://" + strings.ToLower(u.Host), nil
}

// FindVault finds the vault at an address, in all subscriptions of the tenant that the
// caller sees.
func (c *Client) FindVault(ctx context.Context, address string) (Vault, error) {
	op := "looking for the key vault " + address
	subscriptions, err := list[struct {
		ID string `json:"subscriptionId"`
	}](ctx, c, "listing the subscriptions", "/subscriptions", subscriptionsVersion, "")
	if err != nil {
		return Vault{}, err
	}
	var closed error
	for _, s := range subscriptions {
		vaults, err := list[vault](ctx, c, op, "/subscriptions/"+url.PathEscape(s.ID)+"/providers/Microsoft.KeyVault/vaults", vaultsVersion, "")
		if errors.Is(err, m365.ErrForbidden) {
			closed = err
			continue
		}
		if err != nil {
			return Vault{}, err
		}
		for _, v := range vaults {
			if strings.EqualFold(strings.TrimSuffix(v.Properties.URL, "/"), address) {
				return v.vault()
			}
		}
	}
	if closed != nil {
		return Vault{}, closed
	}
	return Vault{}, &m365.Error{Op: op, URL: strings.TrimPrefix(c.base, "https://"), Kind: m365.ErrNotFound,
		Message: fmt.Sprintf("it is in none of the %d subscriptions that are shown to whoever has signed in", len(subscriptions))}
}

// Vault reads a vault by the ID of the resource.
func (c *Client) Vault(ctx context.Context, id string) (Vault, error) {
	var v vault
	if err := c.read(ctx, "reading the key vault "+nameOf(id), c.address(id, vaultsVersion, ""), &v); err != nil {
		return Vault{}, err
	}
	return v.vault()
}

// vault is Resource Manager's form.
type vault struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Properties struct {
		URL      string `json:"vaultUri"`
		TenantID string `json:"tenantId"`
		RBAC     bool   `json:"enableRbacAuthorization"`
		Policies []struct {
			ObjectID      string              `json:"objectId"`
			ApplicationID string              `json:"applicationId"`
			Permissions   map[string][]string `json:"permissions"`
		} `json:"accessPolicies"`
	} `json:"properties"`
}

func (v vault) vault() (Vault, error) {
	p := v.Properties
	if !strings.HasPrefix(v.ID, "/subscriptions/") || p.URL == "" {
		return Vault{}, &m365.Error{Op: "reading a key vault", Kind: m365.ErrTransient, Message: "not the documented answer"}
	}
	found := Vault{ID: v.ID, Name: v.Name, URL: strings.TrimSuffix(p.URL, "/"), TenantID: p.TenantID, RBAC: p.RBAC}
	for _, x := range p.Policies {
		policy := Policy{ObjectID: x.ObjectID, Compound: x.ApplicationID != "" && x.ApplicationID != uuid.Nil.String()}
		for collection, names := range x.Permissions {
			for _, name := range names {
				policy.Permissions = append(policy.Permissions, collection+"/"+strings.ToLower(name))
			}
		}
		found.Policies = append(found.Policies, policy)
	}
	return found, nil
}

// assignment is Resource Manager's form.
type assignment struct {
	ID         string `json:"id"`
	Properties struct {
		Role      string `json:"roleDefinitionId"`
		Principal string `json:"principalId"`
		Scope     string `json:"scope"`
	} `json:"properties"`
}

func (a assignment) assignment() Assignment {
	p := a.Properties
	return Assignment{ID: a.ID, RoleID: strings.ToLower(nameOf(p.Role)), PrincipalID: p.Principal, Scope: p.Scope}
}

// Assignments lists the roles that a service principal itself holds at a vault: there, or
// at what the vault is in.
func (c *Client) Assignments(ctx context.Context, vaultID, principalID string) ([]Assignment, error) {
	op := "listing the roles at the key vault " + nameOf(vaultID)
	if uuid.Validate(principalID) != nil {
		return nil, fmt.Errorf("%s: %.60q is not an object ID", op, principalID)
	}
	all, err := list[assignment](ctx, c, op, vaultID+assignmentsOfResource, authorizationVersion, "principalId eq '"+principalID+"'")
	if err != nil {
		return nil, err
	}
	var found []Assignment
	for _, a := range all {
		x := a.assignment()
		if strings.EqualFold(x.PrincipalID, principalID) && contains(x.Scope, vaultID) {
			found = append(found, x)
		}
	}
	return found, nil
}

// contains reports whether a scope is a resource, or what it is in.
func contains(scope, id string) bool {
	return strings.HasPrefix(strings.ToLower(id)+"/", strings.TrimSuffix(strings.ToLower(scope), "/")+"/")
}

// Assignment reads a role assignment.
func (c *Client) Assignment(ctx context.Context, id string) (Assignment, error) {
	var a assignment
	if err := c.read(ctx, "reading the role assignment "+nameOf(id), c.address(id, authorizationVersion, ""), &a); err != nil {
		return Assignment{}, err
	}
	return a.assignment(), nil
}

// AssignmentID is the ID under which [AssignRole] assigns a role. It follows from what is
// assigned, so that a call whose answer was lost cannot assign it twice.
func AssignmentID(vaultID, principalID string, role Role) string {
	name := uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.ToLower(vaultID+"/"+principalID+"/"+role.ID)))
	return vaultID + assignmentsOfResource + "/" + name.String()
}

// AssignRole gives a service principal a role at a vault.
func AssignRole(cloud m365.Cloud, vaultID, principalID string, role Role) m365.Call {
	type properties struct {
		Role      string `json:"roleDefinitionId"`
		Principal string `json:"principalId"`
		Type      string `json:"principalType"`
	}
	subscription := strings.Join(strings.SplitN(vaultID, "/", 4)[:3], "/")
	return change(cloud, fmt.Sprintf("giving %s at the key vault %s", role.Name, nameOf(vaultID)), http.MethodPut, AssignmentID(vaultID, principalID, role), authorizationVersion, struct {
		Properties properties `json:"properties"`
	}{properties{subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + role.ID, principalID, "ServicePrincipal"}})
}

// Unassign takes a role assignment away. That it is not there is no error.
func Unassign(cloud m365.Cloud, id string) m365.Call {
	return change(cloud, "taking away the role assignment "+nameOf(id), http.MethodDelete, id, authorizationVersion, nil)
}

// AddPermissions adds permissions, such as certificates/get, to those that the access
// policies of a vault give a service principal.
func AddPermissions(cloud m365.Cloud, v Vault, principalID string, permissions []string) m365.Call {
	return policies(cloud, "adding permissions to", "add", v, principalID, permissions)
}

// RemovePermissions takes permissions away that access policies give.
func RemovePermissions(cloud m365.Cloud, v Vault, principalID string, permissions []string) m365.Call {
	return policies(cloud, "taking permissions from", "remove", v, principalID, permissions)
}

func policies(cloud m365.Cloud, op, kind string, v Vault, principalID string, permissions []string) m365.Call {
	type entry struct {
		TenantID    string              `json:"tenantId"`
		ObjectID    string              `json:"objectId"`
		Permissions map[string][]string `json:"permissions"`
	}
	type properties struct {
		Policies []entry `json:"accessPolicies"`
	}
	e := entry{v.TenantID, principalID, map[string][]string{}}
	for _, p := range permissions {
		collection, name, _ := strings.Cut(p, "/")
		e.Permissions[collection] = append(e.Permissions[collection], name)
	}
	return change(cloud, op+" an access policy of the key vault "+v.Name, http.MethodPut, v.ID+"/accessPolicies/"+kind, vaultsVersion, struct {
		Properties properties `json:"properties"`
	}{properties{[]entry{e}}})
}

// Change sends a change.
func (c *Client) Change(ctx context.Context, call m365.Call) error {
	_, err := c.pipeline.Do(ctx, call)
	return err
}

// change is a call that is sent once.
func change(cloud m365.Cloud, op, method, id, version string, body any) m365.Call {
	call := m365.Call{Op: op, Method: method, URL: address(base(cloud), id, version, ""), Once: true, MaxBody: maxPageBody}
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			panic("resources: " + op + ": " + err.Error()) // It holds texts.
		}
		call.Body = data
	}
	return call
}

func base(cloud m365.Cloud) string { return strings.TrimSuffix(cloud.Resources, "/") }

func (c *Client) address(id, version, filter string) string {
	return address(c.base, id, version, filter)
}

// address is where a resource is asked for.
func address(base, id, version, filter string) string {
	query := url.Values{"api-version": {version}}
	if filter != "" {
		query.Set("$filter", filter)
	}
	return base + (&url.URL{Path: id}).EscapedPath() + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")
}

// nameOf is the last part of an ID.
func nameOf(id string) string { return id[strings.LastIndex(id, "/")+1:] }

// list lists to the end.
func list[T any](ctx context.Context, c *Client, op, path, version, filter string) ([]T, error) {
	var all []T
	next, seen := c.address(path, version, filter), map[string]bool{}
	for range maxPages {
		if seen[next] {
			return nil, &m365.Error{Op: op, URL: strings.TrimPrefix(c.base, "https://"), Message: fmt.Sprintf("page %d leads back to an earlier one: the listing would never end", len(seen))}
		}
		seen[next] = true
		var page struct {
			Value *[]T   `json:"value"`
			Next  string `json:"nextLink"`
		}
		if err := c.read(ctx, op, next, &page); err != nil {
			return nil, err
		}
		if page.Value == nil {
			return nil, &m365.Error{Op: op, URL: strings.TrimPrefix(c.base, "https://"), Kind: m365.ErrTransient, Message: "not the documented answer: it holds no list"}
		}
		all = append(all, *page.Value...)
		if next = page.Next; next == "" {
			return all, nil
		}
		if !c.isOurs(next) {
			return nil, &m365.Error{Op: op, URL: strings.TrimPrefix(c.base, "https://"), Message: "the next page is at another host, to which no token is sent"}
		}
	}
	return nil, &m365.Error{Op: op, Message: "there are too many pages"}
}

// isOurs reports whether a link leads where the tokens are for.
func (c *Client) isOurs(link string) bool {
	u, err := url.Parse(link)
	ours, ourErr := url.Parse(c.base)
	return err == nil && ourErr == nil && u.Scheme == ours.Scheme && u.User == nil && strings.EqualFold(strings.TrimSuffix(u.Host, ":443"), strings.TrimSuffix(ours.Host, ":443"))
}

// read gets one object.
func (c *Client) read(ctx context.Context, op, address string, v any) error {
	resp, err := c.pipeline.Do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: address, MaxBody: maxPageBody})
	if err != nil {
		return err
	}
	data, err := runtime.Payload(resp)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		e := m365.ReadError(op, resp)
		e.Message, e.Err, e.Kind = "not the documented answer", err, m365.ErrTransient
		return e
	}
	return nil
}

// Contents is the way to what is in a vault.
type Contents struct {
	pipeline *m365.Pipeline
	address  string
}

// Open prepares the way to the contents of the vault at an address that [ParseAddress] has
// checked, as whoever the credential is.
func Open(o Options, address string) *Contents {
	return &Contents{address: address, pipeline: m365.NewPipeline(m365.PipelineOptions{
		Audience: o.Cloud.VaultAudience, Credential: o.Credential, HTTP: o.HTTP, Retry: o.Retry, Classify: classify,
	})}
}

// Try asks for an object, and reports whether it is there. The vault looks at who asks
// before it looks for the object, so that an answer without an error proves the permission
// in either case. What is in the object is not kept.
func (c *Contents) Try(ctx context.Context, collection, name string) (found bool, err error) {
	op := fmt.Sprintf("trying %s/get in the key vault", collection)
	_, err = c.pipeline.Do(ctx, m365.Call{Op: op, Method: http.MethodGet, URL: c.address + "/" + collection + "/" + url.PathEscape(name) + "?api-version=" + vaultContentsVersion})
	var e *m365.Error
	if errors.As(err, &e) && errors.Is(err, m365.ErrNotFound) && (strings.HasSuffix(e.Code, "NotFound")) {
		return false, nil
	}
	return err == nil, err
}
