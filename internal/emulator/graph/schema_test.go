package graph

import (
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// TestObjectsHaveEveryPropertyOfTheirType holds what is written against the
// types, so that whatever can be selected is there.
func TestObjectsHaveEveryPropertyOfTheirType(t *testing.T) {
	d := directory.New("5d1ed5d4-6b1c-4c11-9a35-1f3e8a3f7d10", "contoso.onmicrosoft.com", "Contoso", time.Now, 0)
	q := &request{API: &API{Directory: d}, query: query{selected: []string{"id"}}}
	for _, c := range []struct {
		typ     *entityType
		entity  entity
		without string // a stream, which is no part of the JSON
	}{
		{applicationType, renderApplication(&directory.Application{}, false), "logo"},
		{servicePrincipalType, renderPrincipal(&directory.ServicePrincipal{}, false), ""},
		{userType, q.renderUser(&directory.User{}), ""},
		{organizationType, q.organization(), ""},
		{domainType, q.domain(), ""},
		{assignmentType, renderAssignment(&directory.AppRoleAssignment{}), ""},
		{grantType, renderGrant(&directory.PermissionGrant{}), ""},
		{roleAssignmentType, q.renderRoleAssignment(&directory.RoleAssignment{}), ""},
		{roleDefinitionType, renderRoleDefinition(role{}), ""},
		{directoryRoleType, renderDirectoryRole(role{}), ""},
		{federatedType, renderFederated(directory.FederatedCredential{}), ""},
		{policyType, renderPolicy(managementPolicy{}), ""},
		{defaultPolicyType, renderPolicy(managementPolicy{ID: directory.DefaultPolicyID}), ""},
	} {
		for name := range c.typ.properties {
			if _, ok := c.entity[name]; !ok && name != c.without {
				t.Errorf("%s: the property %s is not written", c.typ.name, name)
			}
		}
		for name := range c.entity {
			if _, ok := c.typ.properties[name]; !ok {
				t.Errorf("%s: %s is written and no property", c.typ.name, name)
			}
		}
	}
}

// TestTypesAreKnown finds names in the tables that nothing describes.
func TestTypesAreKnown(t *testing.T) {
	simple := map[string]bool{"text": true, "flag": true, "number": true, "guid": true, "date": true, "binary": true, "any": true}
	all := []*entityType{applicationType, servicePrincipalType, userType, organizationType, domainType, assignmentType, grantType,
		roleAssignmentType, roleDefinitionType, directoryRoleType, federatedType, policyType, defaultPolicyType, directoryObjectType}
	for _, t := range complexTypes {
		all = append(all, t)
	}
	for _, typ := range all {
		for name, p := range typ.properties {
			element := p.typ
			if element[0] == '[' {
				element = element[1 : len(element)-1]
			}
			if !simple[element] && complexTypes[element] == nil {
				t.Errorf("%s.%s is a %s, which nothing describes", typ.name, name, p.typ)
			}
		}
	}
}
