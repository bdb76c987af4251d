package graph

import (
	"context"
	"iter"
	"net/url"
	"strings"
	"time"
)

// Application is an app registration with its credentials. Its JSON is Graph's.
type Application struct {
	ObjectID  string          `json:"id"`
	ClientID  string          `json:"appId"`
	Name      string          `json:"displayName"`
	Created   time.Time       `json:"createdDateTime"`
	Keys      []KeyCredential `json:"keyCredentials"`
	Passwords []Password      `json:"passwordCredentials"`

	// At is when Graph answered, by its clock, to the second; zero when it did not
	// say. Which of its replicas answered, and how old that one's copy was, nothing
	// tells.
	At time.Time `json:"-"`
}

// ServicePrincipal is an application's presence in the tenant with its credentials,
// among which are the certificates that sign SAML tokens. Its JSON is Graph's.
type ServicePrincipal struct {
	ObjectID  string          `json:"id"`
	ClientID  string          `json:"appId"`
	Name      string          `json:"displayName"`
	Type      string          `json:"servicePrincipalType"` // Application, ManagedIdentity and others
	Keys      []KeyCredential `json:"keyCredentials"`
	Passwords []Password      `json:"passwordCredentials"`

	// SigningThumbprint is the SHA-1, in hexadecimal, of the certificate that signs
	// SAML tokens; empty where none is chosen.
	SigningThumbprint string `json:"preferredTokenSigningKeyThumbprint"`

	At time.Time `json:"-"` // as of an Application
}

// What is asked for. Only because the key credentials are named does Graph send their
// certificates, and only with a single object.
const (
	applicationProperties = "id,appId,displayName,createdDateTime,keyCredentials,passwordCredentials"
	principalProperties   = "id,appId,displayName,servicePrincipalType,keyCredentials,passwordCredentials,preferredTokenSigningKeyThumbprint"
)

// Application reads the application with the object ID, the certificates included.
func (c *Client) Application(ctx context.Context, objectID string) (Application, error) {
	op := "reading application " + objectID
	if err := checkID(op, "object ID", objectID); err != nil {
		return Application{}, err
	}
	a, err := c.application(ctx, op, "applications/"+objectID)
	if err == nil && !strings.EqualFold(a.ObjectID, objectID) {
		return Application{}, otherObject(op, a.ObjectID)
	}
	return a, err
}

// ApplicationByClientID is [Client.Application] by the client ID.
func (c *Client) ApplicationByClientID(ctx context.Context, clientID string) (Application, error) {
	op := "reading the application with client ID " + clientID
	if err := checkID(op, "client ID", clientID); err != nil {
		return Application{}, err
	}
	a, err := c.application(ctx, op, "applications(appId='"+clientID+"')")
	if err == nil && !strings.EqualFold(a.ClientID, clientID) {
		return Application{}, otherObject(op, a.ClientID)
	}
	return a, err
}

func (c *Client) application(ctx context.Context, op, path string) (a Application, err error) {
	address := graphURL(c.cloud, path, url.Values{"$select": {applicationProperties}})
	if a.At, err = c.read(ctx, op, address, needsRead, &a); err != nil {
		return Application{}, err
	}
	return a, nil
}

// Applications lists all applications of the tenant, without their certificates. It
// reads page after page while the caller goes on.
//
// An error ends the listing: what came before it is not the whole tenant. For a caller
// that may read only the applications that it owns, those are the whole. Graph may
// list an application twice, or not yet or still, that changes while it is listed.
func (c *Client) Applications(ctx context.Context) iter.Seq2[Application, error] {
	return list(ctx, c, "listing the applications", "applications", applicationProperties, func(a *Application, at time.Time) string {
		a.At = at
		return a.ObjectID
	})
}

// ServicePrincipals lists all service principals of the tenant, those of Microsoft's
// own applications included, as [Client.Applications] does.
func (c *Client) ServicePrincipals(ctx context.Context) iter.Seq2[ServicePrincipal, error] {
	return list(ctx, c, "listing the service principals", "servicePrincipals", principalProperties, func(p *ServicePrincipal, at time.Time) string {
		p.At = at
		return p.ObjectID
	})
}

// Owns reports whether the application with a client ID, by its service principal, is an
// owner of an application, given by its object ID.
func (c *Client) Owns(ctx context.Context, objectID, clientID string) (bool, error) {
	op := "listing the owners of application " + objectID
	if err := checkID(op, "object ID", objectID); err != nil {
		return false, err
	}
	type owner struct {
		ID       string `json:"id"`
		ClientID string `json:"appId"` // of service principals alone
	}
	for o, err := range list(ctx, c, op, "applications/"+objectID+"/owners", "id,appId", func(o *owner, _ time.Time) string { return o.ID }) {
		if err != nil {
			return false, err
		}
		if strings.EqualFold(o.ClientID, clientID) {
			return true, nil
		}
	}
	return false, nil
}
