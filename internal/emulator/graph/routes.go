package graph

import (
	"regexp"
	"strings"
	"sync"
)

// route is one operation on one path.
type route struct {
	name   string // of the operation
	method string
	path   string // with placeholders, such as /applications/{id}, or /applications(uniqueName='{uniqueName}') for that key alone
	page   string // of the documentation, below learn.microsoft.com/graph/api/ or, with a slash, learn.microsoft.com
	access access
	serve  func(*request) (answer, *graphError)

	typ    *entityType // of what is answered; nil when nothing can be selected
	set    string      // for @odata.context
	of     *entityType // whose properties {property} is one of
	list   bool        // answers a collection
	count  bool        // answers the number of its elements alone
	expand bool        // takes $expand=owners
	costly bool        // takes two resource units
	body   bool        // must have a body
	batch  bool
	plain  bool // the context names a type, not a set

	source string
	parts  []string
}

// alternateKey is a key of a path that goes by its name.
var alternateKey = regexp.MustCompile(`\((\w+)='\{\w+\}'\)`)

// routes are all that is emulated, in the order in which they are tried.
var routes = sync.OnceValue(func() []*route {
	all := []*route{{
		name: "batch", method: "POST", path: "/$batch", page: "/graph/json-batching", access: anyCaller, body: true, batch: true,
	}}
	all = append(all, applicationRoutes()...)
	all = append(all, principalRoutes()...)
	for _, set := range []struct {
		path, page string
		of         *entityType
	}{{"/applications", "application", applicationType}, {"/servicePrincipals", "serviceprincipal", servicePrincipalType}} {
		all = append(all, credentialRoutes(set.path, set.page)...)
		all = append(all, ownerRoutes(set.path, set.page)...)
		all = append(all, assignedPolicyRoutes(set.path, set.page)...)
	}
	// After all other paths below an object.
	all = append(all,
		&route{name: "applicationProperty", method: "GET", path: "/applications/{id}/{property}", page: "application-get", access: readApplications,
			serve: (*request).getApplicationProperty, set: "applications", of: applicationType},
		&route{name: "servicePrincipalProperty", method: "GET", path: "/servicePrincipals/{id}/{property}", page: "serviceprincipal-get", access: readApplications,
			serve: (*request).getPrincipalProperty, set: "servicePrincipals", of: servicePrincipalType},
	)
	all = append(all, grantRoutes()...)
	all = append(all, roleRoutes()...)
	all = append(all, policyRoutes()...)
	all = append(all, organizationRoutes()...)
	all = append(all, objectRoutes()...)
	all = append(all, serviceRoutes()...)
	for _, rt := range all {
		rt.parts = strings.Split(alternateKey.ReplaceAllString(rt.path[1:], "/{$1}"), "/")
		rt.source = "https://learn.microsoft.com/graph/api/" + rt.page
		if strings.HasPrefix(rt.page, "/") {
			rt.source = "https://learn.microsoft.com" + rt.page
		}
	}
	return all
})

func applicationRoutes() []*route {
	return []*route{
		{name: "applications", method: "GET", path: "/applications", page: "application-list", access: readApplications,
			serve: (*request).listApplications, typ: applicationType, set: "applications", list: true, expand: true, costly: true},
		{name: "applicationsCount", method: "GET", path: "/applications/$count", page: "application-list", access: readApplications,
			serve: (*request).listApplications, typ: applicationType, list: true, count: true},
		{name: "createApplication", method: "POST", path: "/applications", page: "application-post-applications", access: createApplications,
			serve: (*request).createApplication, set: "applications", body: true},
		{name: "application", method: "GET", path: "/applications/{id}", page: "application-get", access: readApplications,
			serve: (*request).getApplication, typ: applicationType, set: "applications", expand: true},
		{name: "upsertApplication", method: "PATCH", path: "/applications(uniqueName='{uniqueName}')", page: "application-upsert", access: writeApplications,
			serve: (*request).upsertApplication, set: "applications", body: true},
		{name: "updateApplication", method: "PATCH", path: "/applications/{id}", page: "application-update", access: writeApplications,
			serve: (*request).patchApplication, set: "applications", body: true},
		{name: "deleteApplication", method: "DELETE", path: "/applications/{id}", page: "application-delete", access: writeApplications,
			serve: (*request).deleteApplication},
		{name: "federatedCredentials", method: "GET", path: "/applications/{id}/federatedIdentityCredentials", page: "application-list-federatedidentitycredentials",
			access: readApplications, serve: (*request).listFederated, typ: federatedType, set: "federatedIdentityCredentials", list: true},
		{name: "createFederatedCredential", method: "POST", path: "/applications/{id}/federatedIdentityCredentials", page: "application-post-federatedidentitycredentials",
			access: writeApplications, serve: (*request).createFederated, set: "federatedIdentityCredentials", body: true},
		{name: "federatedCredential", method: "GET", path: "/applications/{id}/federatedIdentityCredentials/{id}", page: "federatedidentitycredential-get",
			access: readApplications, serve: (*request).getFederated, typ: federatedType, set: "federatedIdentityCredentials"},
		{name: "updateFederatedCredential", method: "PATCH", path: "/applications/{id}/federatedIdentityCredentials/{id}", page: "federatedidentitycredential-update",
			access: writeApplications, serve: (*request).patchFederated, set: "federatedIdentityCredentials", body: true},
		{name: "deleteFederatedCredential", method: "DELETE", path: "/applications/{id}/federatedIdentityCredentials/{id}", page: "federatedidentitycredential-delete",
			access: writeApplications, serve: (*request).deleteFederated},
	}
}

func principalRoutes() []*route {
	return []*route{
		{name: "servicePrincipals", method: "GET", path: "/servicePrincipals", page: "serviceprincipal-list", access: readApplications,
			serve: (*request).listPrincipals, typ: servicePrincipalType, set: "servicePrincipals", list: true, expand: true},
		{name: "servicePrincipalsCount", method: "GET", path: "/servicePrincipals/$count", page: "serviceprincipal-list", access: readApplications,
			serve: (*request).listPrincipals, typ: servicePrincipalType, list: true, count: true},
		{name: "createServicePrincipal", method: "POST", path: "/servicePrincipals", page: "serviceprincipal-post-serviceprincipals", access: createApplications,
			serve: (*request).createPrincipal, set: "servicePrincipals", body: true},
		{name: "servicePrincipal", method: "GET", path: "/servicePrincipals/{id}", page: "serviceprincipal-get", access: readApplications,
			serve: (*request).getPrincipal, typ: servicePrincipalType, set: "servicePrincipals", expand: true},
		{name: "upsertServicePrincipal", method: "PATCH", path: "/servicePrincipals(appId='{appId}')", page: "serviceprincipal-upsert", access: writeApplications,
			serve: (*request).upsertPrincipal, set: "servicePrincipals", body: true},
		{name: "updateServicePrincipal", method: "PATCH", path: "/servicePrincipals/{id}", page: "serviceprincipal-update", access: writeApplications,
			serve: (*request).patchPrincipal, set: "servicePrincipals", body: true},
		{name: "deleteServicePrincipal", method: "DELETE", path: "/servicePrincipals/{id}", page: "serviceprincipal-delete", access: writeApplications,
			serve: (*request).deletePrincipal},
		{name: "ownedObjects", method: "GET", path: "/servicePrincipals/{id}/ownedObjects", page: "serviceprincipal-list-ownedobjects", access: readApplications,
			serve: (*request).listOwnedObjects, typ: directoryObjectType, set: "directoryObjects", list: true},
		{name: "memberOf", method: "GET", path: "/servicePrincipals/{id}/memberOf", page: "serviceprincipal-list-memberof", access: readApplications,
			serve: (*request).listMemberOf, typ: directoryRoleType, set: "directoryObjects", list: true},
		{name: "servicePrincipalGrants", method: "GET", path: "/servicePrincipals/{id}/oauth2PermissionGrants", page: "serviceprincipal-list-oauth2permissiongrants",
			access: readGrants, serve: (*request).listGrantsOf, typ: grantType, set: "oauth2PermissionGrants", list: true, costly: true},
	}
}

// credentialRoutes are what applications and service principals have alike.
func credentialRoutes(set, page string) []*route {
	return []*route{
		{name: "addKey", method: "POST", path: set + "/{id}/addKey", page: page + "-addkey", access: rollKeys,
			serve: (*request).addKey, set: "microsoft.graph.keyCredential", plain: true, body: true},
		{name: "removeKey", method: "POST", path: set + "/{id}/removeKey", page: page + "-removekey", access: rollKeys,
			serve: (*request).removeKey, body: true},
		{name: "addPassword", method: "POST", path: set + "/{id}/addPassword", page: page + "-addpassword", access: writeApplications,
			serve: (*request).addPassword, set: "microsoft.graph.passwordCredential", plain: true},
		{name: "removePassword", method: "POST", path: set + "/{id}/removePassword", page: page + "-removepassword", access: writeApplications,
			serve: (*request).removePassword, body: true},
	}
}

func ownerRoutes(set, page string) []*route {
	return []*route{
		{name: "owners", method: "GET", path: set + "/{id}/owners", page: page + "-list-owners", access: readApplications,
			serve: (*request).listOwners, typ: directoryObjectType, set: "directoryObjects", list: true},
		{name: "addOwner", method: "POST", path: set + "/{id}/owners/$ref", page: page + "-post-owners", access: writeApplications,
			serve: (*request).addOwner, body: true},
		{name: "removeOwner", method: "DELETE", path: set + "/{id}/owners/{id}/$ref", page: page + "-delete-owners", access: writeApplications,
			serve: (*request).removeOwner},
	}
}

func assignedPolicyRoutes(set, _ string) []*route {
	return []*route{
		{name: "assignedPolicies", method: "GET", path: set + "/{id}/appManagementPolicies", page: "appmanagementpolicy-list", access: readAssignedPolicies,
			serve: (*request).listPoliciesOf, typ: policyType, set: "policies/appManagementPolicies", list: true},
		{name: "assignPolicy", method: "POST", path: set + "/{id}/appManagementPolicies/$ref", page: "appmanagementpolicy-post-appliesto", access: assignPolicies,
			serve: (*request).assignPolicy, body: true},
		{name: "unassignPolicy", method: "DELETE", path: set + "/{id}/appManagementPolicies/{id}/$ref", page: "appmanagementpolicy-delete-appliesto", access: assignPolicies,
			serve: (*request).unassignPolicy},
	}
}

func grantRoutes() []*route {
	var all []*route
	for _, end := range []struct{ name, segment, page string }{
		{"AppRoleAssignment", "appRoleAssignments", "serviceprincipal-%s-approleassignments"},
		{"AppRoleAssignedTo", "appRoleAssignedTo", "serviceprincipal-%s-approleassignedto"},
	} {
		set := "/servicePrincipals/{id}/" + end.segment
		page := func(verb string) string { return strings.ReplaceAll(end.page, "%s", verb) }
		all = append(all,
			&route{name: end.segment, method: "GET", path: set, page: page("list"), access: readAssignments,
				serve: (*request).listAssignments, typ: assignmentType, set: "appRoleAssignments", list: true},
			&route{name: "create" + end.name, method: "POST", path: set, page: page("post"), access: createAssignments,
				serve: (*request).createAssignment, set: "appRoleAssignments", body: true},
			&route{name: "get" + end.name, method: "GET", path: set + "/{id}", page: page("list"), access: readAssignments,
				serve: (*request).getAssignment, typ: assignmentType, set: "appRoleAssignments"},
			&route{name: "delete" + end.name, method: "DELETE", path: set + "/{id}", page: page("delete"), access: deleteAssignments,
				serve: (*request).deleteAssignment},
		)
	}
	const grants = "/oauth2PermissionGrants"
	return append(all,
		&route{name: "permissionGrants", method: "GET", path: grants, page: "oauth2permissiongrant-list", access: readGrants,
			serve: (*request).listGrants, typ: grantType, set: "oauth2PermissionGrants", list: true, costly: true},
		&route{name: "createPermissionGrant", method: "POST", path: grants, page: "oauth2permissiongrant-post", access: writeGrants,
			serve: (*request).createGrant, set: "oauth2PermissionGrants", body: true},
		&route{name: "permissionGrant", method: "GET", path: grants + "/{id}", page: "oauth2permissiongrant-get", access: readGrants,
			serve: (*request).getGrant, typ: grantType, set: "oauth2PermissionGrants"},
		&route{name: "updatePermissionGrant", method: "PATCH", path: grants + "/{id}", page: "oauth2permissiongrant-update", access: writeGrants,
			serve: (*request).patchGrant, body: true},
		&route{name: "deletePermissionGrant", method: "DELETE", path: grants + "/{id}", page: "oauth2permissiongrant-delete", access: writeGrants,
			serve: (*request).deleteGrant},
	)
}

func roleRoutes() []*route {
	const assignments, definitions = "/roleManagement/directory/roleAssignments", "/roleManagement/directory/roleDefinitions"
	return []*route{
		{name: "roleAssignments", method: "GET", path: assignments, page: "rbacapplication-list-roleassignments", access: readRoles,
			serve: (*request).listRoleAssignments, typ: roleAssignmentType, set: "roleManagement/directory/roleAssignments", list: true},
		{name: "createRoleAssignment", method: "POST", path: assignments, page: "rbacapplication-post-roleassignments", access: writeRoles,
			serve: (*request).createRoleAssignment, set: "roleManagement/directory/roleAssignments", body: true},
		{name: "roleAssignment", method: "GET", path: assignments + "/{id}", page: "unifiedroleassignment-get", access: readRoles,
			serve: (*request).getRoleAssignment, typ: roleAssignmentType, set: "roleManagement/directory/roleAssignments"},
		{name: "deleteRoleAssignment", method: "DELETE", path: assignments + "/{id}", page: "unifiedroleassignment-delete", access: writeRoles,
			serve: (*request).deleteRoleAssignment},
		{name: "roleDefinitions", method: "GET", path: definitions, page: "rbacapplication-list-roledefinitions", access: readRoles,
			serve: (*request).listRoleDefinitions, typ: roleDefinitionType, set: "roleManagement/directory/roleDefinitions", list: true},
		{name: "roleDefinition", method: "GET", path: definitions + "/{id}", page: "unifiedroledefinition-get", access: readRoles,
			serve: (*request).getRoleDefinition, typ: roleDefinitionType, set: "roleManagement/directory/roleDefinitions"},
		{name: "directoryRoles", method: "GET", path: "/directoryRoles", page: "directoryrole-list", access: readRoles,
			serve: (*request).listDirectoryRoles, typ: directoryRoleType, set: "directoryRoles", list: true},
		{name: "directoryRole", method: "GET", path: "/directoryRoles/{id}", page: "directoryrole-get", access: readRoles,
			serve: (*request).getDirectoryRole, typ: directoryRoleType, set: "directoryRoles"},
		{name: "directoryRoleMembers", method: "GET", path: "/directoryRoles/{id}/members", page: "directoryrole-list-members", access: readRoles,
			serve: (*request).listRoleMembers, typ: directoryObjectType, set: "directoryObjects", list: true},
	}
}

func policyRoutes() []*route {
	const standard, policies = "/policies/defaultAppManagementPolicy", "/policies/appManagementPolicies"
	const authorization = "/policies/authorizationPolicy"
	return []*route{
		{name: "defaultPolicy", method: "GET", path: standard, page: "tenantappmanagementpolicy-get", access: readPolicies,
			serve: (*request).getDefaultPolicy, typ: defaultPolicyType, set: "policies/defaultAppManagementPolicy"},
		{name: "updateDefaultPolicy", method: "PATCH", path: standard, page: "tenantappmanagementpolicy-update", access: writePolicies,
			serve: (*request).patchDefaultPolicy, body: true},
		{name: "authorizationPolicy", method: "GET", path: authorization, page: "authorizationpolicy-get", access: readAuthorization,
			serve: (*request).getAuthorizationPolicy, typ: authorizationPolicyType, set: "policies/authorizationPolicy"},
		{name: "updateAuthorizationPolicy", method: "PATCH", path: authorization, page: "authorizationpolicy-update", access: writeAuthorization,
			serve: (*request).patchAuthorizationPolicy, body: true},
		{name: "policies", method: "GET", path: policies, page: "appmanagementpolicy-list", access: readPolicies,
			serve: (*request).listPolicies, typ: policyType, set: "policies/appManagementPolicies", list: true},
		{name: "createPolicy", method: "POST", path: policies, page: "appmanagementpolicy-post", access: writePolicies,
			serve: (*request).createPolicy, set: "policies/appManagementPolicies", body: true},
		{name: "policy", method: "GET", path: policies + "/{id}", page: "appmanagementpolicy-get", access: readPolicies,
			serve: (*request).getPolicy, typ: policyType, set: "policies/appManagementPolicies"},
		{name: "updatePolicy", method: "PATCH", path: policies + "/{id}", page: "appmanagementpolicy-update", access: writePolicies,
			serve: (*request).patchPolicy, body: true},
		{name: "deletePolicy", method: "DELETE", path: policies + "/{id}", page: "appmanagementpolicy-delete", access: writePolicies,
			serve: (*request).deletePolicy},
		{name: "policyAppliesTo", method: "GET", path: policies + "/{id}/appliesTo", page: "appmanagementpolicy-list-appliesto", access: readPolicies,
			serve: (*request).listAppliesTo, typ: directoryObjectType, set: "directoryObjects", list: true},
	}
}

func organizationRoutes() []*route {
	return []*route{
		{name: "organization", method: "GET", path: "/organization", page: "organization-list", access: readOrganization,
			serve: (*request).listOrganization, typ: organizationType, set: "organization", list: true},
		{name: "organization", method: "GET", path: "/organization/{id}", page: "organization-get", access: readOrganization,
			serve: (*request).getOrganization, typ: organizationType, set: "organization"},
		{name: "domains", method: "GET", path: "/domains", page: "domain-list", access: readDomains,
			serve: (*request).listDomains, typ: domainType, set: "domains", list: true},
		{name: "domain", method: "GET", path: "/domains/{id}", page: "domain-get", access: readDomains,
			serve: (*request).getDomain, typ: domainType, set: "domains"},
		{name: "users", method: "GET", path: "/users", page: "user-list", access: readUsers,
			serve: (*request).listUsers, typ: userType, set: "users", list: true, costly: true},
		{name: "usersCount", method: "GET", path: "/users/$count", page: "user-list", access: readUsers,
			serve: (*request).listUsers, typ: userType, list: true, count: true},
		{name: "user", method: "GET", path: "/users/{id}", page: "user-get", access: readUser,
			serve: (*request).getUser, typ: userType, set: "users"},
		{name: "me", method: "GET", path: "/me", page: "user-get", access: readSelf,
			serve: (*request).getMe, typ: userType, set: "users"},
		{name: "userinfo", method: "GET", path: "/oidc/userinfo", page: "/entra/identity-platform/userinfo", access: readProfile,
			serve: (*request).getUserinfo},
	}
}

func objectRoutes() []*route {
	const deleted = "/directory/deletedItems"
	return []*route{
		{name: "deletedApplications", method: "GET", path: deleted + "/microsoft.graph.application", page: "directory-deleteditems-list", access: readApplications,
			serve: (*request).listDeletedApplications, typ: applicationType, set: "applications", list: true},
		{name: "deletedServicePrincipals", method: "GET", path: deleted + "/microsoft.graph.servicePrincipal", page: "directory-deleteditems-list", access: readApplications,
			serve: (*request).listDeletedPrincipals, typ: servicePrincipalType, set: "servicePrincipals", list: true},
		{name: "deletedItem", method: "GET", path: deleted + "/{id}", page: "directory-deleteditems-get", access: readApplications,
			serve: (*request).getDeleted, typ: directoryObjectType, set: "directoryObjects"},
		{name: "restoreDeletedItem", method: "POST", path: deleted + "/{id}/restore", page: "directory-deleteditems-restore", access: writeApplications,
			serve: (*request).restore, set: "directoryObjects"},
		{name: "deleteDeletedItem", method: "DELETE", path: deleted + "/{id}", page: "directory-deleteditems-delete", access: writeApplications,
			serve: (*request).deleteForGood},
		{name: "objectsByIds", method: "POST", path: "/directoryObjects/getByIds", page: "directoryobject-getbyids", access: readObjects,
			serve: (*request).getByIDs, set: "directoryObjects", body: true},
		{name: "directoryObject", method: "GET", path: "/directoryObjects/{id}", page: "directoryobject-get", access: readObjects,
			serve: (*request).getObject, typ: directoryObjectType, set: "directoryObjects"},
	}
}
