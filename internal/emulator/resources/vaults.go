package resources

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

const vaultType = "Microsoft.KeyVault/vaults"

// resource is the vault as every list of resources has it.
func (e *API) resource() map[string]any {
	return map[string]any{"id": e.vaultScope(), "name": e.Vault.Name, "type": vaultType, "location": place, "tags": map[string]any{}}
}

// listResources lists the vault; nothing else is in the subscription, and no
// other filter is known.
func (q *request) listResources() (answer, *refusal) {
	if err := q.find(); err != nil {
		return answer{}, err
	}
	options := q.r.URL.Query()
	for name := range options {
		if name != "$filter" && name != "$top" && name != "api-version" {
			return answer{}, refuse(http.StatusNotImplemented, "NotImplemented", "The emulated tenant does not know the query option %s of a list of resources.", origin.Printable(name))
		}
	}
	if top := options.Get("$top"); top != "" {
		if n, err := strconv.Atoi(top); err != nil || n < 1 {
			return answer{}, refuse(http.StatusBadRequest, "InvalidQueryParameter", "The value of $top is invalid.")
		}
	}
	if filter := strings.Join(strings.Fields(options.Get("$filter")), " "); filter != "" && !strings.EqualFold(filter, "resourceType eq '"+vaultType+"'") {
		return answer{}, refuse(http.StatusNotImplemented, "NotImplemented", "The emulated tenant does not know the filter %s.", origin.Printable(filter))
	}
	if len(q.held("")) == 0 {
		return answer{}, q.denied("Microsoft.Resources/subscriptions/resources/read", q.root())
	}
	if !q.may(vaultType+"/read", q.vaultScope()) {
		return list(nil)
	}
	return list([]any{q.resource()})
}

func (q *request) listVaults() (answer, *refusal) {
	if err := q.find(); err != nil {
		return answer{}, err
	}
	scope := q.root()
	if q.parts["group"] != "" {
		scope = q.groupScope()
	}
	if !q.may(vaultType+"/read", q.vaultScope()) {
		if len(q.held("")) == 0 {
			return answer{}, q.denied(vaultType+"/read", scope)
		}
		return list(nil)
	}
	return list([]any{q.vault()})
}

func (q *request) getVault() (answer, *refusal) {
	err := q.require(vaultType+"/read", q.vaultScope())
	if missing := q.find(); missing != nil && (err == nil || missing.code == "SubscriptionNotFound") {
		return answer{}, missing
	}
	if err != nil {
		return answer{}, err
	}
	return ok(q.vault())
}

// vault is the vault's resource.
func (q *request) vault() map[string]any {
	s := q.Vault.Settings()
	properties := map[string]any{
		"sku": map[string]any{"family": "A", "name": "standard"}, "tenantId": q.Directory.TenantID,
		"accessPolicies": q.policies(), "enabledForDeployment": false, "enabledForDiskEncryption": false, "enabledForTemplateDeployment": false,
		"enableSoftDelete": true, "softDeleteRetentionInDays": s.Retention, "enableRbacAuthorization": s.RBAC,
		"vaultUri": q.Cloud.Hosts.Base(q.r, origin.Vault) + "/", "provisioningState": "Succeeded", "publicNetworkAccess": "Enabled",
	}
	if s.Protected {
		properties["enablePurgeProtection"] = true // which is never false
	}
	if s.Network != "" {
		properties["publicNetworkAccess"] = "Disabled"
	}
	v := q.resource()
	v["properties"] = properties
	return v
}

// Permissions that an access policy can give, as
// https://learn.microsoft.com/rest/api/keyvault/keyvault/vaults/update-access-policy
// lists them.
var permissions = map[string][]string{
	"certificates": {
		"all", "get", "list", "delete", "create", "import", "update", "managecontacts", "getissuers", "listissuers", "setissuers",
		"deleteissuers", "manageissuers", "recover", "purge", "backup", "restore",
	},
	"keys": {
		"all", "encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify", "get", "list", "create", "update", "import", "delete",
		"backup", "restore", "recover", "purge", "release", "rotate", "getrotationpolicy", "setrotationpolicy",
	},
	"secrets": {"all", "get", "list", "set", "delete", "backup", "restore", "recover", "purge"},
}

// policy is an access policy entry.
type policy struct {
	TenantID    string              `json:"tenantId"`
	ObjectID    string              `json:"objectId"`
	Permissions map[string][]string `json:"permissions"`
}

func (e *API) policies() []policy {
	held := e.Vault.Settings().Policies
	all := []policy{}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		if len(held[id]) == 0 {
			continue
		}
		p := policy{TenantID: e.Directory.TenantID, ObjectID: id, Permissions: map[string][]string{"certificates": {}, "keys": {}, "secrets": {}, "storage": {}}}
		for _, permission := range held[id] {
			collection, name, _ := strings.Cut(permission, "/")
			p.Permissions[collection] = append(p.Permissions[collection], name)
		}
		all = append(all, p)
	}
	return all
}

// updateAccessPolicy adds permissions to those that somebody has, or takes them
// away. It counts at once [K]; while the vault is under role assignments, it is
// kept and counts for nothing, which the answer does not tell
// (learn.microsoft.com/azure/key-vault/general/rbac-access-policy).
func (q *request) updateAccessPolicy() (answer, *refusal) {
	if err := q.require(vaultType+"/accessPolicies/write", q.vaultScope()); err != nil {
		return answer{}, err
	}
	if err := q.find(); err != nil {
		return answer{}, err
	}
	kind := strings.ToLower(q.parts["kind"])
	switch kind {
	case "add", "remove":
	case "replace":
		return answer{}, refuse(http.StatusNotImplemented, "NotImplemented", "The emulated tenant does not replace access policies.")
	default:
		return answer{}, refuse(http.StatusBadRequest, "BadRequest", "The operation kind '%s' is not one of add, replace and remove.", origin.Printable(kind))
	}
	var body struct {
		Properties struct {
			AccessPolicies []policy `json:"accessPolicies"`
		} `json:"properties"`
	}
	if err := q.read(&body); err != nil {
		return answer{}, err
	}
	wanted := map[string][]string{}
	for _, p := range body.Properties.AccessPolicies {
		if !strings.EqualFold(p.TenantID, q.Directory.TenantID) || !origin.IsGUID(p.ObjectID) {
			return answer{}, badPolicy("the tenantId or the objectId of an access policy is not valid")
		}
		for collection, names := range p.Permissions {
			if collection == "storage" && len(names) == 0 {
				continue
			}
			for _, name := range names {
				i := slices.IndexFunc(permissions[collection], func(known string) bool { return strings.EqualFold(known, name) })
				if i < 0 {
					return answer{}, badPolicy("there is no permission " + origin.Printable(collection+"/"+name))
				}
				id := strings.ToLower(p.ObjectID)
				wanted[id] = append(wanted[id], collection+"/"+permissions[collection][i])
			}
		}
	}
	if len(body.Properties.AccessPolicies) == 0 {
		return answer{}, badPolicy("the request has no access policies")
	}
	for id, names := range wanted {
		if kind == "add" {
			q.Vault.Allow(id, names...)
		} else {
			q.Vault.Deny(id, names...)
		}
	}
	return ok(map[string]any{
		"id": q.vaultScope() + "/accessPolicies/", "type": vaultType + "/accessPolicies",
		"properties": map[string]any{"accessPolicies": q.policies()},
	})
}

func badPolicy(text string) *refusal {
	return refuse(http.StatusBadRequest, "BadRequest", "The access policy was refused: %s.", text)
}

// read reads the body of a write.
func (q *request) read(into any) *refusal {
	b, err := io.ReadAll(q.r.Body)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized.")
	}
	return nil
}
