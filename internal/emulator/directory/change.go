package directory

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// What an administrator does in the portal, for those who set a tenant up.
// Graph has rules of its own, which package graph keeps.

// NewApplication registers an application without credentials, and its service
// principal.
func (d *Directory) NewApplication(displayName string) *Application {
	a := &Application{
		ID: uuid.NewString(), AppID: uuid.NewString(), CreatedDateTime: d.now().UTC(), DisplayName: displayName,
		PublisherDomain: d.Domain, SignInAudience: "AzureADMyOrg",
	}
	// The function returns no error, so neither does Update.
	d.Update(func(u *Update) error {
		u.PutApplication(a)
		u.PutServicePrincipal(d.PrincipalFor(a, uuid.NewString()))
		return nil
	})
	return a
}

// PrincipalFor returns what the service principal of an application of this
// tenant looks like when it is made. It is not part of the directory yet.
func (d *Directory) PrincipalFor(a *Application, id string) *ServicePrincipal {
	return &ServicePrincipal{
		ID: id, AppID: a.AppID, CreatedDateTime: d.now().UTC(),
		DisplayName: a.DisplayName, AppDisplayName: a.DisplayName,
		AppOwnerOrganizationID: d.TenantID, AccountEnabled: true,
		ServicePrincipalType: TypeApplication, SignInAudience: a.SignInAudience,
		ServicePrincipalNames: append([]string{a.AppID}, a.IdentifierURIs...),
		ReplyURLs:             slices.Concat(a.Web.RedirectURIs, a.SPA.RedirectURIs, a.PublicClient.RedirectURIs),
		AppRoles:              slices.Clone(a.AppRoles), OAuth2PermissionScopes: slices.Clone(a.API.OAuth2PermissionScopes),
	}
}

// ChangeApplication changes an application, given by its client ID.
func (d *Directory) ChangeApplication(appID string, change func(*Application) error) error {
	return d.Update(func(u *Update) error {
		a, ok := u.ApplicationByAppID(appID)
		if !ok {
			return fmt.Errorf("changing application %s: there is none in the tenant", appID)
		}
		a = a.Clone()
		if err := change(a); err != nil {
			return err
		}
		u.PutApplication(a)
		return nil
	})
}

// ChangeServicePrincipal changes a service principal, given by its client ID.
func (d *Directory) ChangeServicePrincipal(appID string, change func(*ServicePrincipal) error) error {
	return d.Update(func(u *Update) error {
		p, ok := u.ServicePrincipalByAppID(appID)
		if !ok {
			return fmt.Errorf("changing service principal %s: there is none in the tenant", appID)
		}
		p = p.Clone()
		if err := change(p); err != nil {
			return err
		}
		u.PutServicePrincipal(p)
		return nil
	})
}

// AddKeyCredential registers a certificate, given as DER, with an application
// and returns its key ID. Zero times are read from the certificate. A
// certificate with an elliptic-curve key is taken, as Graph takes it; it is
// refused only when somebody signs in with it.
func (d *Directory) AddKeyCredential(appID string, certificate []byte, start, end time.Time) (string, error) {
	k, err := NewKeyCredential(uuid.NewString(), certificate, start, end)
	if err != nil {
		return "", err
	}
	return k.KeyID, d.ChangeApplication(appID, func(a *Application) error {
		a.KeyCredentials = append(a.KeyCredentials, k)
		return nil
	})
}

// RemoveKeyCredential removes a certificate from an application.
func (d *Directory) RemoveKeyCredential(appID, keyID string) error {
	return d.ChangeApplication(appID, func(a *Application) error {
		n := len(a.KeyCredentials)
		a.KeyCredentials = slices.DeleteFunc(a.KeyCredentials, func(k KeyCredential) bool { return k.KeyID == keyID })
		if len(a.KeyCredentials) == n {
			return fmt.Errorf("removing key credential %s from application %s: there is none with that key ID", keyID, appID)
		}
		return nil
	})
}

// AddPassword registers a client secret with an application and returns its
// key ID.
func (d *Directory) AddPassword(appID, secret string, start, end time.Time) (string, error) {
	p := PasswordCredential{
		KeyID: uuid.NewString(), Hint: secret[:min(3, len(secret))],
		StartDateTime: start, EndDateTime: end, Hash: sha256.Sum256([]byte(secret)),
	}
	return p.KeyID, d.ChangeApplication(appID, func(a *Application) error {
		a.PasswordCredentials = append(a.PasswordCredentials, p)
		return nil
	})
}

// RemovePassword removes a client secret from an application.
func (d *Directory) RemovePassword(appID, keyID string) error {
	return d.ChangeApplication(appID, func(a *Application) error {
		n := len(a.PasswordCredentials)
		a.PasswordCredentials = slices.DeleteFunc(a.PasswordCredentials, func(p PasswordCredential) bool { return p.KeyID == keyID })
		if len(a.PasswordCredentials) == n {
			return fmt.Errorf("removing client secret %s from application %s: there is none with that key ID", keyID, appID)
		}
		return nil
	})
}

// GrantRole consents to a role, such as ActivityFeed.Read of ManagementAPIs,
// for an application; both are given by client ID. Granting a role twice
// changes nothing.
func (d *Directory) GrantRole(appID, resourceAppID, role string) error {
	return d.Update(func(u *Update) error { return u.GrantRole(appID, resourceAppID, role) })
}

// GrantRole does what Directory.GrantRole does, as part of a change.
func (u *Update) GrantRole(appID, resourceAppID, role string) error {
	a, err := u.assignment(appID, resourceAppID, role)
	if err != nil {
		return fmt.Errorf("granting %s: %w", role, err)
	}
	if a.ID == "" {
		a.ID, a.CreatedDateTime = NewAssignmentID(), u.d.now().UTC()
		u.PutAppRoleAssignment(&a)
	}
	return nil
}

// RevokeRole takes a role back. Tokens that were issued before keep it, as
// Microsoft's do.
func (d *Directory) RevokeRole(appID, resourceAppID, role string) error {
	return d.Update(func(u *Update) error {
		a, err := u.assignment(appID, resourceAppID, role)
		if err == nil && a.ID == "" {
			err = fmt.Errorf("application %s does not have it", appID)
		}
		if err != nil {
			return fmt.Errorf("revoking %s: %w", role, err)
		}
		u.RemoveAppRoleAssignment(a.ID)
		return nil
	})
}

// assignment returns the assignment of a role; one without an ID is not there
// yet.
func (u *Update) assignment(appID, resourceAppID, role string) (AppRoleAssignment, error) {
	p, ok := u.ServicePrincipalByAppID(appID)
	r, ok2 := u.ServicePrincipalByAppID(resourceAppID)
	if !ok || !ok2 {
		return AppRoleAssignment{}, fmt.Errorf("%s or %s has no service principal in the tenant", appID, resourceAppID)
	}
	i := slices.IndexFunc(r.AppRoles, func(a AppRole) bool { return a.Value == role })
	if i < 0 {
		return AppRoleAssignment{}, fmt.Errorf("%s offers no role of that name", r.DisplayName)
	}
	for _, a := range u.AppRoleAssignmentsOf(p.ID) {
		if a.ResourceID == r.ID && a.AppRoleID == r.AppRoles[i].ID {
			return *a, nil
		}
	}
	return AppRoleAssignment{
		AppRoleID: r.AppRoles[i].ID, PrincipalID: p.ID, PrincipalDisplayName: p.DisplayName,
		PrincipalType: "ServicePrincipal", ResourceID: r.ID, ResourceDisplayName: r.DisplayName,
	}, nil
}

// NewAssignmentID returns an id of the opaque form that assignments have: 43
// characters of base64url.
func NewAssignmentID() string {
	var b [32]byte
	rand.Read(b[:]) // crypto/rand never fails.
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewKeyCredential fills what Graph fills when only the certificate, in DER, is
// given: the times, the subject as display name, the thumbprint as identifier.
func NewKeyCredential(keyID string, der []byte, start, end time.Time) (KeyCredential, error) {
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
		KeyID: keyID, DisplayName: c.Subject.String(), CustomKeyIdentifier: identifier(der),
		Type: "AsymmetricX509Cert", Usage: "Verify",
		StartDateTime: start.UTC(), EndDateTime: end.UTC(), Key: slices.Clone(der),
	}, nil
}

// identifier is the customKeyIdentifier of a certificate that came without one:
// the bytes that read, as base64, like the thumbprint in hexadecimal. Graph
// shows it so, and Microsoft's scripts compare the two texts
// (learn.microsoft.com/entra/identity/authentication/howto-mfa-nps-extension).
func identifier(der []byte) []byte {
	b, err := base64.StdEncoding.DecodeString(fmt.Sprintf("%X", Thumbprint(der)))
	if err != nil {
		panic(err) // 40 hexadecimal digits are base64.
	}
	return b
}

// Thumbprint returns the SHA-1 of a certificate's DER, by which Microsoft's
// services name certificates. It identifies; it protects nothing.
func Thumbprint(der []byte) []byte {
	sum := sha1.Sum(der)
	return sum[:]
}
