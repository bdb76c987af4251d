package graph

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// The authorization policy says what people may do who hold no role
// (learn.microsoft.com/graph/api/resources/authorizationpolicy). Of all that it
// holds, defaultUserRolePermissions/allowedToCreateApps has an effect here.

// legacyConsent is the permission grant policy that the token service follows:
// people consent to what needs no administrator.
const legacyConsent = "ManagePermissionGrantsForSelf.microsoft-user-default-legacy"

// authorizationPolicy is a real tenant's to begin with, but that people do not
// register applications, which cautious administrators switch off.
func authorizationPolicy(v directory.View) entity {
	p := entity{
		"id": directory.AuthorizationPolicyID, "deletedDateTime": nil, "displayName": "Authorization Policy",
		"description":      "Used to manage authorization related settings across the company.",
		"allowInvitesFrom": "everyone", "allowUserConsentForRiskyApps": nil, "allowEmailVerifiedUsersToJoinOrganization": false,
		"allowedToSignUpEmailBasedSubscriptions": true, "allowedToUseSSPR": true, "blockMsolPowerShell": false,
		"guestUserRoleId": "10dae51f-b6af-4016-8d66-8c2a99b929b3",
		"defaultUserRolePermissions": map[string]any{
			"allowedToCreateApps": false, "allowedToCreateSecurityGroups": true, "allowedToCreateTenants": true,
			"allowedToReadBitlockerKeysForOwnedDevice": true, "allowedToReadOtherUsers": true,
			"permissionGrantPoliciesAssigned": []any{legacyConsent},
		},
	}
	if stored, ok := v.ManagementPolicy(directory.AuthorizationPolicyID); ok {
		var changed entity
		if json.Unmarshal(stored.Definition, &changed) == nil {
			p = changed
		}
	}
	return p
}

// mayCreateApps reports whether people without a role may register applications.
func mayCreateApps(v directory.View) bool {
	people, _ := authorizationPolicy(v)["defaultUserRolePermissions"].(map[string]any)
	return people["allowedToCreateApps"] == true
}

func (q *request) getAuthorizationPolicy() (answer, *graphError) {
	return q.one(http.StatusOK, authorizationPolicy(q.view))
}

// patchAuthorizationPolicy merges the members of defaultUserRolePermissions, as
// the page's examples need it.
func (q *request) patchAuthorizationPolicy() (answer, *graphError) {
	members, err := authorizationPolicyType.members(q.body, false)
	if err != nil {
		return answer{}, err
	}
	return noContent, q.update(directory.AuthorizationPolicyID, func(u *directory.Update) *graphError {
		p := authorizationPolicy(u.View)
		for _, name := range slices.Sorted(maps.Keys(members)) {
			var value any
			if json.Unmarshal(members[name], &value) != nil {
				return badValue(name)
			}
			if given, ok := value.(map[string]any); ok {
				if _, ok := given["permissionGrantPoliciesAssigned"]; ok {
					return notEmulated("another way of people's consent")
				}
				merged, _ := p[name].(map[string]any)
				merged = maps.Clone(merged)
				maps.Copy(merged, given)
				value = merged
			}
			p[name] = value
		}
		definition, err := json.Marshal(p)
		if err != nil {
			return badRequest("The policy cannot be kept.")
		}
		u.PutManagementPolicy(&directory.ManagementPolicy{ID: directory.AuthorizationPolicyID, Definition: definition})
		return nil
	})
}
