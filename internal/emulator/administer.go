package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/keyvault"
	"github.com/reeve365/reeve/internal/emulator/origin"
	"github.com/reeve365/reeve/internal/emulator/resources"
)

// What an administrator of the tenant does in a portal, and no API that is
// emulated offers, or only to those who have the permission already.

// Grant gives an application, named by its client ID, a permission such as
// graph/Application.ReadWrite.All, manage/ActivityFeed.ReadDlp, logs/Data.Read,
// vault/certificates/import or resources/Reader. One that it has already is no error.
func (e *Emulator) Grant(clientID, permission string) error {
	api, name, _ := strings.Cut(permission, "/")
	var err error
	switch api {
	case origin.Graph:
		err = e.tenant.Directory.GrantRole(clientID, directory.Graph, name)
	case origin.Manage:
		err = e.tenant.Directory.GrantRole(clientID, directory.ManagementAPIs, name)
	case origin.Logs:
		err = e.tenant.Directory.GrantRole(clientID, directory.LogAnalytics, name)
	case origin.Vault:
		err = e.grantVault(clientID, name)
	case origin.Resources:
		err = e.grantResources(clientID, name)
	default:
		err = fmt.Errorf("it must begin with %s/, %s/, %s/, %s/ or %s/", origin.Graph, origin.Manage, origin.Logs, origin.Vault, origin.Resources)
	}
	if err != nil {
		return fmt.Errorf("granting %q to application %s: %w", permission, clientID, err)
	}
	return nil
}

func (e *Emulator) grantVault(clientID, permission string) error {
	principal, ok := e.tenant.Directory.View(0).ServicePrincipalByAppID(clientID)
	if !ok {
		return errors.New("it has no service principal in the tenant")
	}
	if !keyvault.IsPermission(permission) {
		return errors.New("there is no such permission on a vault; it is one as vault/certificates/get, vault/secrets/all or vault/keys/sign")
	}
	e.tenant.Vault.Allow(principal.ID, permission)
	return nil
}

// grantResources assigns an Azure role, such as Reader, over the whole
// subscription.
func (e *Emulator) grantResources(clientID, role string) error {
	principal, ok := e.tenant.Directory.View(0).ServicePrincipalByAppID(clientID)
	if !ok {
		return errors.New("it has no service principal in the tenant")
	}
	id, ok := resources.RoleID(role)
	if !ok {
		return errors.New("there is no such Azure role here; it is one as Owner, Reader or Key Vault Contributor")
	}
	e.tenant.Vault.Assign(keyvault.RoleAssignment{
		Name: uuid.NewString(), Scope: "/subscriptions/" + e.tenant.SubscriptionID, Role: id,
		ObjectID: principal.ID, PrincipalType: "ServicePrincipal",
	})
	return nil
}

func (e *Emulator) controlGrant(r *http.Request) (any, error) {
	var body struct {
		Permission string `json:"permission"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if err := e.Grant(r.PathValue("clientId"), body.Permission); err != nil {
		return nil, badControl(err)
	}
	return nil, nil
}

func (e *Emulator) controlBlock(r *http.Request) (any, error) {
	var body struct {
		Blocked *bool `json:"blocked"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if body.Blocked == nil {
		return nil, &controlError{http.StatusBadRequest, "The member blocked is missing."}
	}
	e.entra.Block(r.PathValue("clientId"), *body.Blocked)
	return nil, nil
}

func (e *Emulator) controlRevoke(r *http.Request) (any, error) {
	var body struct {
		Revoked *bool `json:"revoked"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if body.Revoked == nil {
		return nil, &controlError{http.StatusBadRequest, "The member revoked is missing."}
	}
	e.entra.Revoke(r.PathValue("thumbprint"), *body.Revoked)
	return nil, nil
}

func (e *Emulator) controlIssuer(r *http.Request) (any, error) {
	var body struct {
		Issuer string          `json:"issuer"`
		JWKS   json.RawMessage `json:"jwks"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if err := e.entra.AddIssuer(body.Issuer, body.JWKS); err != nil {
		return nil, badControl(err)
	}
	return nil, nil
}

func (e *Emulator) controlServices(r *http.Request) (any, error) {
	var body Services
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	e.SetServices(body)
	return nil, nil
}

func (e *Emulator) controlRecording(r *http.Request) (any, error) {
	var body struct {
		Recording *bool `json:"recording"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if body.Recording == nil {
		return nil, &controlError{http.StatusBadRequest, "The member recording is missing."}
	}
	e.tenant.Audit.Record(*body.Recording)
	return nil, nil
}
