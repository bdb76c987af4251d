package directory

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Client IDs of Microsoft's own services, the same in every tenant.
const (
	Graph          = "00000003-0000-0000-c000-000000000000"
	AADGraph       = "00000002-0000-0000-c000-000000000000" // retired; still the audience of addKey's proof
	ManagementAPIs = "c5393580-f805-4401-95e8-94b7a6ef2fc2"
	KeyVault       = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
	SharePoint     = "00000003-0000-0ff1-ce00-000000000000"
	LogAnalytics   = "ca7f3f0b-7d91-482c-8e09-c5d840d0eac5"
)

// Template ids of directory roles, which are the same in every tenant.
const (
	GlobalAdministrator           = "62e90394-69f5-4237-9190-012177145e10"
	ApplicationAdministrator      = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"
	CloudApplicationAdministrator = "158c047a-c907-4556-b7ef-446551a6b5f7"
	PrivilegedRoleAdministrator   = "e8611ab8-c189-46e8-94e1-60213ab1f814"
	ApplicationDeveloper          = "cf1c38e5-3621-4004-a7cb-879624dced7c"
	GlobalReader                  = "f2ef992c-3afb-46b9-b7cf-a126ee74c451"
	ReportsReader                 = "4a5d8f65-41da-4de4-8968-e035b65339cf"
)

// Kinds of service principal.
const (
	TypeApplication     = "Application"
	TypeManagedIdentity = "ManagedIdentity"
)

// Application is an app registration.
type Application struct {
	ID              string     `json:"id"`
	DeletedDateTime *time.Time `json:"deletedDateTime"`
	AppID           string     `json:"appId"`
	CreatedDateTime time.Time  `json:"createdDateTime"`
	DisplayName     string     `json:"displayName"`
	Description     *string    `json:"description"`
	Notes           *string    `json:"notes"`
	UniqueName      *string    `json:"uniqueName"`
	PublisherDomain string     `json:"publisherDomain"`
	SignInAudience  string     `json:"signInAudience"`
	// IsDisabled and DisabledByMicrosoftStatus both keep it from signing in.
	IsDisabled                bool                 `json:"isDisabled"`
	DisabledByMicrosoftStatus *string              `json:"disabledByMicrosoftStatus"`
	IdentifierURIs            []string             `json:"identifierUris"`
	IsFallbackPublicClient    *bool                `json:"isFallbackPublicClient"`
	Tags                      []string             `json:"tags"`
	AppRoles                  []AppRole            `json:"appRoles"`
	API                       API                  `json:"api"`
	Web                       Web                  `json:"web"`
	SPA                       Redirects            `json:"spa"`
	PublicClient              Redirects            `json:"publicClient"`
	KeyCredentials            []KeyCredential      `json:"keyCredentials"`
	PasswordCredentials       []PasswordCredential `json:"passwordCredentials"`
	RequiredResourceAccess    []ResourceAccess     `json:"requiredResourceAccess"`

	// Relations, which Graph serves under paths of their own.
	Owners               []string              `json:"-"` // object ids
	FederatedCredentials []FederatedCredential `json:"-"`
	Policies             []string              `json:"-"` // ids of app management policies; at most one

	// Kept are members that Graph takes and gives back and that nothing here
	// depends on, such as info, optionalClaims and samlMetadataUrl.
	Kept map[string]json.RawMessage `json:"-"`
	// TrustedSubjects lets any certificate with one of the subject names, from
	// one of the issuers, sign in when it comes with its chain (x5c). It is a
	// feature that Microsoft keeps to its own applications.
	TrustedSubjects []TrustedSubject `json:"-"`
}

// TrustedSubject is a subject name together with the certificate of its issuer.
type TrustedSubject struct {
	SubjectName string // such as reeve.contoso.com: the common name or a DNS name
	Authority   []byte // DER
}

// API is what an application offers as a service.
type API struct {
	RequestedAccessTokenVersion *int              `json:"requestedAccessTokenVersion"`
	OAuth2PermissionScopes      []PermissionScope `json:"oauth2PermissionScopes"`
	KnownClientApplications     []string          `json:"knownClientApplications"`
	PreAuthorizedApplications   []json.RawMessage `json:"preAuthorizedApplications"`
	AcceptMappedClaims          *bool             `json:"acceptMappedClaims"`
}

// Web is where a web application takes people who signed in.
type Web struct {
	RedirectURIs          []string          `json:"redirectUris"`
	HomePageURL           *string           `json:"homePageUrl"`
	LogoutURL             *string           `json:"logoutUrl"`
	RedirectURISettings   []json.RawMessage `json:"redirectUriSettings"`
	ImplicitGrantSettings ImplicitGrant     `json:"implicitGrantSettings"`
}

// ImplicitGrant says which tokens the authorization endpoint may hand out.
type ImplicitGrant struct {
	EnableAccessTokenIssuance bool `json:"enableAccessTokenIssuance"`
	EnableIDTokenIssuance     bool `json:"enableIdTokenIssuance"`
}

// Redirects are the redirect addresses of a platform.
type Redirects struct {
	RedirectURIs []string `json:"redirectUris"`
}

// AppRole is an application permission that a service offers.
type AppRole struct {
	ID                 string   `json:"id"`
	Value              string   `json:"value"`
	DisplayName        string   `json:"displayName"`
	Description        string   `json:"description"`
	IsEnabled          bool     `json:"isEnabled"`
	AllowedMemberTypes []string `json:"allowedMemberTypes"`
	Origin             string   `json:"origin,omitempty"`
}

// PermissionScope is a delegated permission that a service offers.
type PermissionScope struct {
	ID                      string  `json:"id"`
	Value                   string  `json:"value"`
	Type                    string  `json:"type"` // User or Admin: who may consent
	IsEnabled               bool    `json:"isEnabled"`
	AdminConsentDisplayName string  `json:"adminConsentDisplayName"`
	AdminConsentDescription string  `json:"adminConsentDescription"`
	UserConsentDisplayName  *string `json:"userConsentDisplayName"`
	UserConsentDescription  *string `json:"userConsentDescription"`
}

// KeyCredential is a certificate as the directory holds it, without a private
// key.
type KeyCredential struct {
	KeyID               string    `json:"keyId"`
	DisplayName         string    `json:"displayName"`
	CustomKeyIdentifier []byte    `json:"customKeyIdentifier"` // shows the thumbprint, unless the uploader chose another
	Type                string    `json:"type"`                // AsymmetricX509Cert and Verify, for signing in
	Usage               string    `json:"usage"`
	StartDateTime       time.Time `json:"startDateTime"`
	EndDateTime         time.Time `json:"endDateTime"`
	Key                 []byte    `json:"key"` // DER of the certificate
}

// PasswordCredential is a client secret as the directory holds it: its hash.
type PasswordCredential struct {
	KeyID               string            `json:"keyId"`
	DisplayName         *string           `json:"displayName"`
	Hint                string            `json:"hint"`
	CustomKeyIdentifier []byte            `json:"customKeyIdentifier"`
	StartDateTime       time.Time         `json:"startDateTime"`
	EndDateTime         time.Time         `json:"endDateTime"`
	Hash                [sha256.Size]byte `json:"-"`
}

// Is reports whether secret is this client secret.
func (p PasswordCredential) Is(secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(sum[:], p.Hash[:]) == 1
}

// FederatedCredential lets tokens of another issuer stand for the application.
type FederatedCredential struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Issuer      string   `json:"issuer"`
	Subject     string   `json:"subject"`
	Audiences   []string `json:"audiences"`
	Description *string  `json:"description"`
}

// ResourceAccess is what an application asks for of one service.
type ResourceAccess struct {
	ResourceAppID string   `json:"resourceAppId"`
	Access        []Access `json:"resourceAccess"`
}

// Access is one permission: its Type is Role or Scope.
type Access struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// ServicePrincipal is an application's presence in the tenant.
type ServicePrincipal struct {
	ID                        string               `json:"id"`
	DeletedDateTime           *time.Time           `json:"deletedDateTime"`
	AppID                     string               `json:"appId"`
	CreatedDateTime           time.Time            `json:"createdDateTime"`
	DisplayName               string               `json:"displayName"`
	AppDisplayName            string               `json:"appDisplayName"`
	AppOwnerOrganizationID    string               `json:"appOwnerOrganizationId"`
	AccountEnabled            bool                 `json:"accountEnabled"`
	AppRoleAssignmentRequired bool                 `json:"appRoleAssignmentRequired"`
	ServicePrincipalType      string               `json:"servicePrincipalType"`
	SignInAudience            string               `json:"signInAudience"`
	ServicePrincipalNames     []string             `json:"servicePrincipalNames"` // App ID URIs and client ID by which a token can be asked for
	AlternativeNames          []string             `json:"alternativeNames"`
	ReplyURLs                 []string             `json:"replyUrls"`
	Tags                      []string             `json:"tags"`
	AppRoles                  []AppRole            `json:"appRoles"`
	OAuth2PermissionScopes    []PermissionScope    `json:"oauth2PermissionScopes"`
	KeyCredentials            []KeyCredential      `json:"keyCredentials"`
	PasswordCredentials       []PasswordCredential `json:"passwordCredentials"`

	Owners   []string                   `json:"-"`
	Policies []string                   `json:"-"`
	Kept     map[string]json.RawMessage `json:"-"`
}

// User is a person.
type User struct {
	ID                string    `json:"id"`
	UserPrincipalName string    `json:"userPrincipalName"`
	DisplayName       string    `json:"displayName"`
	Mail              *string   `json:"mail"`
	AccountEnabled    bool      `json:"accountEnabled"`
	CreatedDateTime   time.Time `json:"createdDateTime"`
}

// AppRoleAssignment is an app role that a principal holds on a resource.
type AppRoleAssignment struct {
	ID                   string    `json:"id"`
	CreatedDateTime      time.Time `json:"createdDateTime"`
	AppRoleID            string    `json:"appRoleId"`
	PrincipalDisplayName string    `json:"principalDisplayName"`
	PrincipalID          string    `json:"principalId"`
	PrincipalType        string    `json:"principalType"`
	ResourceDisplayName  string    `json:"resourceDisplayName"`
	ResourceID           string    `json:"resourceId"`
}

// PermissionGrant is what a client may do for people; all its ids are object
// ids.
type PermissionGrant struct {
	ID          string  `json:"id"`
	ClientID    string  `json:"clientId"`
	ConsentType string  `json:"consentType"` // AllPrincipals or Principal
	PrincipalID *string `json:"principalId"`
	ResourceID  string  `json:"resourceId"`
	Scope       string  `json:"scope"` // separated by blanks
}

// RoleAssignment is a directory role that a principal holds.
type RoleAssignment struct {
	ID               string `json:"id"`
	PrincipalID      string `json:"principalId"`
	RoleDefinitionID string `json:"roleDefinitionId"` // a template id
	DirectoryScopeID string `json:"directoryScopeId"` // "/" for the whole directory
}

// ManagementPolicy says which credentials applications may get, or, under
// AuthorizationPolicyID, what people may do. Package graph knows what is in it.
type ManagementPolicy struct {
	ID         string          `json:"id"`
	Definition json.RawMessage `json:"definition"`
}

// DefaultPolicyID is the id of the tenant's own app management policy, the same
// in every tenant.
const DefaultPolicyID = "00000000-0000-0000-0000-000000000000"

// AuthorizationPolicyID is the id of the tenant's authorization policy, the same
// in every tenant.
const AuthorizationPolicyID = "authorizationPolicy"

// Clone returns a copy whose lists can be changed. What an element of a list
// points to is shared and must not be changed.
func (a *Application) Clone() *Application {
	c := *a
	c.IdentifierURIs = slices.Clone(a.IdentifierURIs)
	c.Tags = slices.Clone(a.Tags)
	c.AppRoles = slices.Clone(a.AppRoles)
	c.API.OAuth2PermissionScopes = slices.Clone(a.API.OAuth2PermissionScopes)
	c.API.KnownClientApplications = slices.Clone(a.API.KnownClientApplications)
	c.API.PreAuthorizedApplications = slices.Clone(a.API.PreAuthorizedApplications)
	c.Web.RedirectURIs = slices.Clone(a.Web.RedirectURIs)
	c.Web.RedirectURISettings = slices.Clone(a.Web.RedirectURISettings)
	c.SPA.RedirectURIs = slices.Clone(a.SPA.RedirectURIs)
	c.PublicClient.RedirectURIs = slices.Clone(a.PublicClient.RedirectURIs)
	c.KeyCredentials = slices.Clone(a.KeyCredentials)
	c.PasswordCredentials = slices.Clone(a.PasswordCredentials)
	c.RequiredResourceAccess = slices.Clone(a.RequiredResourceAccess)
	c.Owners = slices.Clone(a.Owners)
	c.FederatedCredentials = slices.Clone(a.FederatedCredentials)
	c.Policies = slices.Clone(a.Policies)
	c.Kept = maps.Clone(a.Kept)
	c.TrustedSubjects = slices.Clone(a.TrustedSubjects)
	return &c
}

// Clone returns a copy whose lists can be changed, as Application.Clone does.
func (p *ServicePrincipal) Clone() *ServicePrincipal {
	c := *p
	c.ServicePrincipalNames = slices.Clone(p.ServicePrincipalNames)
	c.AlternativeNames = slices.Clone(p.AlternativeNames)
	c.ReplyURLs = slices.Clone(p.ReplyURLs)
	c.Tags = slices.Clone(p.Tags)
	c.AppRoles = slices.Clone(p.AppRoles)
	c.OAuth2PermissionScopes = slices.Clone(p.OAuth2PermissionScopes)
	c.KeyCredentials = slices.Clone(p.KeyCredentials)
	c.PasswordCredentials = slices.Clone(p.PasswordCredentials)
	c.Owners = slices.Clone(p.Owners)
	c.Policies = slices.Clone(p.Policies)
	c.Kept = maps.Clone(p.Kept)
	return &c
}
