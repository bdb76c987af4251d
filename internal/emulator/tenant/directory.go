package tenant

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Client IDs of Microsoft's own services, the same in every tenant.
const (
	Graph          = "00000003-0000-0000-c000-000000000000"
	AADGraph       = "00000002-0000-0000-c000-000000000000" // retired; still the audience of addKey's proof
	ManagementAPIs = "c5393580-f805-4401-95e8-94b7a6ef2fc2"
	KeyVault       = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	SharePoint     = "00000003-0000-0ff1-ce00-000000000000"
)

// Kinds of service principal, in Graph's words.
const (
	TypeApplication     = "Application"
	TypeManagedIdentity = "ManagedIdentity"
)

// Application is an app registration. ObjectID is Graph's id and ClientID its
// appId; Graph takes the first where people expect the second.
type Application struct {
	ObjectID, ClientID, DisplayName string
	CreatedAt                       time.Time
	Disabled                        bool
	KeyCredentials                  []KeyCredential
	PasswordCredentials             []PasswordCredential
	RequiredResourceAccess          []ResourceAccess
}

// KeyCredential is a certificate as the directory holds it, without a private
// key.
type KeyCredential struct {
	KeyID, DisplayName  string
	CustomKeyIdentifier []byte // the thumbprint, unless the uploader chose another
	Type, Usage         string // AsymmetricX509Cert and Verify, for signing in
	Start, End          time.Time
	Certificate         []byte // DER
}

// PasswordCredential is a client secret as the directory holds it: its hash.
type PasswordCredential struct {
	KeyID, Hint string
	Start, End  time.Time
	hash        [sha256.Size]byte
}

// Is reports whether secret is this client secret.
func (p PasswordCredential) Is(secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(sum[:], p.hash[:]) == 1
}

// ResourceAccess names roles that an application asks for, by the roles' ids.
type ResourceAccess struct {
	ResourceClientID string
	Roles            []string
}

// AppRole is an application permission that a service offers.
type AppRole struct{ ID, Value string }

// ServicePrincipal is an application's presence in the tenant.
type ServicePrincipal struct {
	ObjectID, ClientID, DisplayName string
	Type                            string
	CreatedAt                       time.Time
	Disabled                        bool
	Names                           []string // App ID URIs and client ID by which a token can be asked for
	AppRoles                        []AppRole
	KeyCredentials                  []KeyCredential
	PasswordCredentials             []PasswordCredential
}

// grant is an app role assignment; all three are object or role ids.
type grant struct{ principal, resource, role string }

// Applications returns all app registrations, oldest first.
func (t *Tenant) Applications() []Application {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []Application
	for _, a := range t.applications {
		all = append(all, a.clone())
	}
	return all
}

// Application returns the app registration with the client ID.
func (t *Tenant) Application(clientID string) (Application, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if a := t.application(clientID); a != nil {
		return a.clone(), true
	}
	return Application{}, false
}

// ServicePrincipals returns all service principals, Microsoft's own first.
func (t *Tenant) ServicePrincipals() []ServicePrincipal {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []ServicePrincipal
	for _, p := range t.principals {
		all = append(all, p.clone())
	}
	return all
}

// ServicePrincipal returns the service principal with the client ID.
func (t *Tenant) ServicePrincipal(clientID string) (ServicePrincipal, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if p := t.principal(clientID); p != nil {
		return p.clone(), true
	}
	return ServicePrincipal{}, false
}

// Resource returns the service principal that a token for name would be for.
// The name is one of its App ID URIs, with or without a slash at the end, or
// its client ID.
func (t *Tenant) Resource(name string) (ServicePrincipal, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	name = strings.TrimSuffix(name, "/")
	for _, p := range t.principals {
		for _, n := range p.Names {
			if strings.EqualFold(strings.TrimSuffix(n, "/"), name) {
				return p.clone(), true
			}
		}
	}
	return ServicePrincipal{}, false
}

// Roles returns the values of the roles that the principal holds on the
// resource, both given by object ID, in the order in which they were granted.
func (t *Tenant) Roles(principalID, resourceID string) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var roles []string
	for _, p := range t.principals {
		if p.ObjectID != resourceID {
			continue
		}
		for _, g := range t.grants {
			if g.principal != principalID || g.resource != resourceID {
				continue
			}
			if i := slices.IndexFunc(p.AppRoles, func(r AppRole) bool { return r.ID == g.role }); i >= 0 {
				roles = append(roles, p.AppRoles[i].Value)
			}
		}
	}
	return roles
}

// AddApplication registers an application without credentials, and its service
// principal.
func (t *Tenant) AddApplication(displayName string) Application {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &Application{
		ObjectID: uuid.NewString(), ClientID: uuid.NewString(),
		DisplayName: displayName, CreatedAt: t.Now(),
	}
	t.applications = append(t.applications, a)
	t.principals = append(t.principals, &ServicePrincipal{
		ObjectID: uuid.NewString(), ClientID: a.ClientID, DisplayName: displayName,
		Type: TypeApplication, Names: []string{a.ClientID}, CreatedAt: a.CreatedAt,
	})
	return a.clone()
}

// SetApplicationDisabled disables or enables an application.
func (t *Tenant) SetApplicationDisabled(clientID string, disabled bool) error {
	return t.change(clientID, func(a *Application) error {
		a.Disabled = disabled
		return nil
	})
}

// AddKeyCredential registers a certificate, given as DER, with an application
// and returns its key ID. Zero times are read from the certificate. A
// certificate with an elliptic-curve key is taken, as Graph takes it; it is
// refused only when somebody signs in with it.
func (t *Tenant) AddKeyCredential(clientID string, certificate []byte, start, end time.Time) (string, error) {
	k, err := newKeyCredential(uuid.NewString(), certificate, start, end)
	if err != nil {
		return "", err
	}
	return k.KeyID, t.change(clientID, func(a *Application) error {
		a.KeyCredentials = append(a.KeyCredentials, k)
		return nil
	})
}

// RemoveKeyCredential removes a certificate from an application.
func (t *Tenant) RemoveKeyCredential(clientID, keyID string) error {
	return t.change(clientID, func(a *Application) error {
		n := len(a.KeyCredentials)
		a.KeyCredentials = slices.DeleteFunc(a.KeyCredentials, func(k KeyCredential) bool { return k.KeyID == keyID })
		if len(a.KeyCredentials) == n {
			return fmt.Errorf("removing key credential %s from application %s: there is none with that key ID", keyID, clientID)
		}
		return nil
	})
}

// AddPassword registers a client secret with an application and returns its
// key ID.
func (t *Tenant) AddPassword(clientID, secret string, start, end time.Time) (string, error) {
	p := PasswordCredential{
		KeyID: uuid.NewString(), Hint: secret[:min(3, len(secret))],
		Start: start, End: end, hash: sha256.Sum256([]byte(secret)),
	}
	return p.KeyID, t.change(clientID, func(a *Application) error {
		a.PasswordCredentials = append(a.PasswordCredentials, p)
		return nil
	})
}

// SetServicePrincipalKeys replaces the key credentials of a service principal
// by certificates given as DER. Entra accepts these for signing in as it does
// the application's own.
func (t *Tenant) SetServicePrincipalKeys(clientID string, certificates ...[]byte) error {
	var keys []KeyCredential
	for _, c := range certificates {
		k, err := newKeyCredential(uuid.NewString(), c, time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	return t.changePrincipal(clientID, func(p *ServicePrincipal) { p.KeyCredentials = keys })
}

// SetServicePrincipalDisabled disables or enables a service principal.
func (t *Tenant) SetServicePrincipalDisabled(clientID string, disabled bool) error {
	return t.changePrincipal(clientID, func(p *ServicePrincipal) { p.Disabled = disabled })
}

// RemoveServicePrincipal removes a service principal with everything that was
// granted to it or by it, and leaves its application registered.
func (t *Tenant) RemoveServicePrincipal(clientID string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.principal(clientID)
	if p == nil {
		return fmt.Errorf("removing service principal %s: there is none in the tenant", clientID)
	}
	t.grants = slices.DeleteFunc(t.grants, func(g grant) bool {
		return g.principal == p.ObjectID || g.resource == p.ObjectID
	})
	t.principals = slices.DeleteFunc(t.principals, func(other *ServicePrincipal) bool { return other == p })
	return nil
}

// GrantRole consents to a role, such as ActivityFeed.Read of ManagementAPIs,
// for an application. Granting a role twice changes nothing.
func (t *Tenant) GrantRole(clientID, resourceClientID, role string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, err := t.findGrant(clientID, resourceClientID, role)
	if err != nil {
		return fmt.Errorf("granting %s: %w", role, err)
	}
	if !slices.Contains(t.grants, g) {
		t.grants = append(t.grants, g)
	}
	return nil
}

// RevokeRole takes a role back. Tokens that were issued before keep it, as
// Microsoft's do.
func (t *Tenant) RevokeRole(clientID, resourceClientID, role string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, err := t.findGrant(clientID, resourceClientID, role)
	if err != nil {
		return fmt.Errorf("revoking %s: %w", role, err)
	}
	i := slices.Index(t.grants, g)
	if i < 0 {
		return fmt.Errorf("revoking %s: application %s does not have it", role, clientID)
	}
	t.grants = slices.Delete(t.grants, i, i+1)
	return nil
}

// findGrant is called with the mutex held.
func (t *Tenant) findGrant(clientID, resourceClientID, role string) (grant, error) {
	p, r := t.principal(clientID), t.principal(resourceClientID)
	if p == nil || r == nil {
		return grant{}, fmt.Errorf("%s or %s has no service principal in the tenant", clientID, resourceClientID)
	}
	i := slices.IndexFunc(r.AppRoles, func(a AppRole) bool { return a.Value == role })
	if i < 0 {
		return grant{}, fmt.Errorf("%s offers no role of that name", r.DisplayName)
	}
	return grant{principal: p.ObjectID, resource: r.ObjectID, role: r.AppRoles[i].ID}, nil
}

func (t *Tenant) change(clientID string, f func(*Application) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.application(clientID)
	if a == nil {
		return fmt.Errorf("changing application %s: there is none in the tenant", clientID)
	}
	return f(a)
}

func (t *Tenant) changePrincipal(clientID string, f func(*ServicePrincipal)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.principal(clientID)
	if p == nil {
		return fmt.Errorf("changing service principal %s: there is none in the tenant", clientID)
	}
	f(p)
	return nil
}

// application is called with the mutex held.
func (t *Tenant) application(clientID string) *Application {
	for _, a := range t.applications {
		if strings.EqualFold(a.ClientID, clientID) {
			return a
		}
	}
	return nil
}

// principal is called with the mutex held.
func (t *Tenant) principal(clientID string) *ServicePrincipal {
	for _, p := range t.principals {
		if strings.EqualFold(p.ClientID, clientID) {
			return p
		}
	}
	return nil
}

// clone copies what a later change could reach. What a credential or a role
// holds is never changed in place.
func (a *Application) clone() Application {
	c := *a
	c.KeyCredentials = slices.Clone(a.KeyCredentials)
	c.PasswordCredentials = slices.Clone(a.PasswordCredentials)
	c.RequiredResourceAccess = slices.Clone(a.RequiredResourceAccess)
	return c
}

func (p *ServicePrincipal) clone() ServicePrincipal {
	c := *p
	c.KeyCredentials = slices.Clone(p.KeyCredentials)
	c.PasswordCredentials = slices.Clone(p.PasswordCredentials)
	c.AppRoles = slices.Clone(p.AppRoles)
	c.Names = slices.Clone(p.Names)
	return c
}

// newKeyCredential fills what Graph fills when only the certificate is given:
// the times, the subject as display name, the thumbprint as identifier.
func newKeyCredential(keyID string, der []byte, start, end time.Time) (KeyCredential, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return KeyCredential{}, fmt.Errorf("reading the certificate of a key credential: %w", err)
	}
	if start.IsZero() {
		start = c.NotBefore
	}
	if end.IsZero() {
		end = c.NotAfter
	}
	if !end.After(start) {
		return KeyCredential{}, fmt.Errorf("registering a key credential: it would end %s, before it starts %s", end, start)
	}
	return KeyCredential{
		KeyID: keyID, DisplayName: c.Subject.String(), CustomKeyIdentifier: Thumbprint(der),
		Type: "AsymmetricX509Cert", Usage: "Verify",
		Start: start, End: end, Certificate: slices.Clone(der),
	}, nil
}

// addMicrosoftServices gives the tenant Microsoft's own service principals.
// Their client IDs and role ids are the same in every tenant; their object IDs
// are the tenant's own.
func (t *Tenant) addMicrosoftServices(ids *identifiers, now time.Time) {
	for _, s := range microsoftServices() {
		s.ObjectID, s.Type, s.CreatedAt = ids.next(), TypeApplication, now.AddDate(-2, 0, 0)
		s.Names = append(s.Names, s.ClientID)
		t.principals = append(t.principals, &s)
	}
}

func roleID(clientID, value string) string {
	for _, s := range microsoftServices() {
		for _, r := range s.AppRoles {
			if s.ClientID == clientID && r.Value == value {
				return r.ID
			}
		}
	}
	return ""
}

// microsoftServices lists the services that a token can be asked for, with
// those of their roles that matter to a reader of a tenant's activity.
func microsoftServices() []ServicePrincipal {
	return []ServicePrincipal{
		{
			ClientID: Graph, DisplayName: "Microsoft Graph",
			Names: []string{"https://graph.microsoft.com", "https://graph.microsoft.com/"},
			AppRoles: []AppRole{
				{"df021288-bdef-4463-88db-98f22de89214", "User.Read.All"},
				{"7ab1d382-f21e-4acd-a863-ba3e13f7da61", "Directory.Read.All"},
				{"498476ce-e0fe-48b0-b801-37ba7e2685c6", "Organization.Read.All"},
				{"9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30", "Application.Read.All"},
				{"1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9", "Application.ReadWrite.All"},
				{"18a4783c-866b-4cc7-a460-3d5e5662c884", "Application.ReadWrite.OwnedBy"},
				{"06b708a9-e830-4db3-a914-8e69da51d44f", "AppRoleAssignment.ReadWrite.All"},
				{"230c1aed-a721-4c5d-9cb4-a90514e508ef", "Reports.Read.All"},
				{"45bbb07e-7321-4fd7-a8f6-3ff27e6a81c8", "CallRecords.Read.All"},
				{"b0afded3-3588-46d8-8b3d-9842eff778da", "AuditLog.Read.All"},
				{"7b2449af-6ccd-4f4d-9f78-e550c193f0d1", "ChannelMessage.Read.All"},
				{"5b567255-7703-4780-807c-7be8301ae99b", "Group.Read.All"},
				{"2280dda6-0bfd-44ee-a2f4-cb867cfc4c1e", "Team.ReadBasic.All"},
				{"332a536c-c7ef-4017-ab91-336970924f0d", "Sites.Read.All"},
				{"a82116e5-55eb-4c41-a434-62fe8a61c773", "Sites.FullControl.All"},
				{"883ea226-0bf2-4a8f-9f9d-92c9162a727d", "Sites.Selected"},
			},
		},
		{
			ClientID: ManagementAPIs, DisplayName: "Office 365 Management APIs",
			Names: []string{"https://manage.office.com"},
			AppRoles: []AppRole{
				{"594c1fb6-4f81-4475-ae41-0c394909246c", "ActivityFeed.Read"},
				{"4807a72c-ad38-4250-94c9-4eabfe26cd55", "ActivityFeed.ReadDlp"},
				{"e2cea78f-e743-4d8f-a16a-75b629a038ae", "ServiceHealth.Read"},
			},
		},
		{
			ClientID: KeyVault, DisplayName: "Azure Key Vault",
			Names: []string{"https://vault.azure.net"},
		},
		{
			ClientID: AADGraph, DisplayName: "Windows Azure Active Directory",
			Names: []string{"https://graph.windows.net"},
		},
		{
			ClientID: SharePoint, DisplayName: "Office 365 SharePoint Online",
			AppRoles: []AppRole{
				{"678536fe-1083-478a-9c59-b99265e6b0d3", "Sites.FullControl.All"},
			},
		},
	}
}
