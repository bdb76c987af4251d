package graph

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/token"
)

// access says who may take a route. The permissions have the same names as
// roles of an application and as scopes of a person; any one is enough.
type access struct {
	permissions []string
	// besides are permissions of which one is needed as well, if there are any.
	besides []string
	// owned are permissions that suffice for an object that the caller owns, as
	// people do themselves.
	owned []string
	// admins are the directory roles of which a person needs one besides the
	// scope, unless it is something that an owner may do and the person is one.
	admins []string
	// anyone who has a token for Graph may; the route looks further itself.
	anyone bool
	// person says that only somebody who signed in can, and app that only an
	// application by itself can.
	person, app bool
	// refuse words the refusal of a service that has words of its own.
	refuse func(*request, access) *graphError
}

var (
	applicationAdmins = []string{directory.GlobalAdministrator, directory.ApplicationAdministrator, directory.CloudApplicationAdministrator}
	globalAdmins      = []string{directory.GlobalAdministrator}
	// roleAdmins may grant any permission; the application administrators may
	// not grant Graph's roles
	// (learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent).
	roleAdmins = []string{directory.GlobalAdministrator, directory.PrivilegedRoleAdministrator}
	grantors   = append([]string{directory.PrivilegedRoleAdministrator}, applicationAdmins...)
)

// fullOrganization are the permissions that show more of the organization than
// its name.
var fullOrganization = []string{"Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}

// The permissions of the pages on each operation.
var (
	readApplications = access{
		permissions: []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"},
		owned:       []string{"Application.ReadWrite.OwnedBy"},
	}
	// createApplications leaves to mayRegister which people may.
	createApplications = access{
		permissions: []string{"Application.ReadWrite.All", "Directory.ReadWrite.All", "Application.ReadWrite.OwnedBy"},
	}
	writeApplications = access{
		permissions: []string{"Application.ReadWrite.All", "Directory.ReadWrite.All"},
		owned:       []string{"Application.ReadWrite.OwnedBy"},
		admins:      applicationAdmins,
	}
	// rollKeys lets an application roll its own keys without a permission.
	rollKeys        = access{anyone: true}
	readAssignments = access{
		permissions: []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All", "AppRoleAssignment.ReadWrite.All"},
		owned:       []string{"Application.ReadWrite.OwnedBy"},
	}
	createAssignments = access{permissions: []string{"AppRoleAssignment.ReadWrite.All"}, besides: readApplications.permissions, admins: grantors}
	deleteAssignments = access{permissions: []string{"AppRoleAssignment.ReadWrite.All"}, admins: grantors}
	readGrants        = access{permissions: []string{
		"DelegatedPermissionGrant.Read.All", "DelegatedPermissionGrant.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All",
	}}
	writeGrants = access{permissions: []string{"DelegatedPermissionGrant.ReadWrite.All", "Directory.ReadWrite.All"}, admins: grantors}
	readRoles   = access{permissions: []string{
		"RoleManagement.Read.Directory", "RoleManagement.ReadWrite.Directory", "RoleManagement.Read.All", "Directory.Read.All", "Directory.ReadWrite.All",
	}}
	writeRoles           = access{permissions: []string{"RoleManagement.ReadWrite.Directory"}, admins: roleAdmins}
	readPolicies         = access{permissions: []string{"Policy.Read.All", "Policy.Read.ApplicationConfiguration", "Policy.ReadWrite.ApplicationConfiguration"}}
	writePolicies        = access{permissions: []string{"Policy.ReadWrite.ApplicationConfiguration"}, admins: globalAdmins}
	readAuthorization    = access{permissions: []string{"Policy.Read.All", "Policy.ReadWrite.Authorization"}}
	writeAuthorization   = access{permissions: []string{"Policy.ReadWrite.Authorization"}, admins: roleAdmins}
	readAssignedPolicies = access{permissions: append([]string{"Application.Read.All", "Application.ReadWrite.All"}, readPolicies.permissions...)}
	assignPolicies       = access{permissions: []string{"Policy.ReadWrite.ApplicationConfiguration"}, besides: readApplications.permissions, admins: applicationAdmins}
	readOrganization     = access{permissions: append([]string{"User.Read"}, fullOrganization...)}
	readDomains          = access{permissions: []string{"Domain.Read.All", "Domain.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}}
	readUsers            = access{permissions: []string{
		"User.Read.All", "User.ReadBasic.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All",
	}}
	readUser    = access{permissions: readUsers.permissions, owned: []string{"User.Read", "User.ReadWrite"}}
	readSelf    = access{permissions: append([]string{"User.Read", "User.ReadWrite"}, readUsers.permissions...), person: true}
	readProfile = access{permissions: []string{"openid", "profile", "User.Read"}, person: true}
	readObjects = access{permissions: []string{"Directory.Read.All", "Directory.ReadWrite.All", "Application.Read.All", "Application.ReadWrite.All"}}
	anyCaller   = access{anyone: true}
)

// granted reports whether the caller's token carries what a asks for, whoever
// owns the object.
func (a access) granted(c token.Caller) bool {
	return c.May(a.permissions...) && (len(a.besides) == 0 || c.May(a.besides...))
}

// authorize refuses what the caller may not do by any permission. What depends
// on the object is left to allowed.
func (q *request) authorize() *graphError {
	a := q.route.access
	switch {
	case a.person && q.caller.App():
		return refusal(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
	case a.anyone:
		return nil
	case len(a.owned) > 0 && q.caller.May(a.owned...):
		return nil
	case !a.granted(q.caller), a.app && !q.caller.App():
		return a.denied(q)
	case !q.caller.App() && len(a.admins) > 0 && len(q.keys) == 0 && !q.isAdmin(a.admins):
		return a.denied(q)
	}
	return nil
}

func (a access) denied(q *request) *graphError {
	if a.refuse != nil {
		return a.refuse(q, a)
	}
	return denied()
}

// allowed refuses what the caller may not do to an object with these owners.
func (q *request) allowed(owners []string) *graphError { return q.permit(q.route.access, owners) }

func (q *request) permit(a access, owners []string) *graphError {
	owner := len(a.owned) > 0 && slices.Contains(owners, q.caller.ObjectID)
	switch {
	case a.anyone:
		return nil
	case !q.caller.App() && len(a.admins) > 0 && !owner && !q.isAdmin(a.admins):
		return denied()
	case a.granted(q.caller), owner && q.caller.May(a.owned...):
		return nil
	}
	return denied()
}

// readable leaves out what others own when the caller may read only what it
// owns itself.
func readable[T any](q *request, all []T, owners func(T) []string) []T {
	if q.route.access.granted(q.caller) {
		return all
	}
	return slices.DeleteFunc(all, func(o T) bool { return !slices.Contains(owners(o), q.caller.ObjectID) })
}

func (q *request) isAdmin(roles []string) bool {
	return slices.ContainsFunc(q.caller.DirectoryRoles, func(id string) bool { return slices.Contains(roles, id) })
}

// contend refuses a write that comes too soon after another to the object.
func (q *request) contend(id string) *graphError {
	const apart = 5 * time.Second
	if q.Cloud.Calm || q.Unkindness.Contention <= 0 {
		return nil
	}
	now := q.Cloud.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writes == nil {
		q.writes = map[string]time.Time{}
	}
	before, ok := q.writes[id]
	if ok && now.Sub(before).Abs() < apart && q.Cloud.Chance.Int64N(1000) < int64(q.Unkindness.Contention) {
		return refusal(http.StatusConflict, "Directory_ConcurrencyViolation",
			"A conflicting object with one or more of the specified property values is present in the directory. Due to concurrent requests, please retry.")
	}
	for other, at := range q.writes {
		if now.Sub(at).Abs() >= apart {
			delete(q.writes, other)
		}
	}
	q.writes[id] = now
	return nil
}

// bucket is what an application has used of its resource units.
type bucket struct {
	units int
	since time.Time
}

// Resource units of an application in a tenant with fewer than 50 people.
const (
	bucketUnits  = 3500
	bucketPeriod = 10 * time.Second
)

// cost is how many resource units the request takes, after the table on the
// page about throttling.
func (q *request) cost() int {
	units := 1
	switch {
	case q.r.Method != http.MethodGet:
		return 1
	case q.route.costly:
		units = 2
	}
	if len(q.query.selected) > 0 {
		units--
	}
	if q.query.expand {
		units++
	}
	if q.query.top > 0 && q.query.top < 20 {
		units--
	}
	return max(units, 1)
}

func (q *request) throttle(w http.ResponseWriter) *graphError {
	units := q.cost()
	w.Header().Set("x-ms-resource-unit", strconv.Itoa(units))
	if q.Cloud.Calm || !q.Unkindness.Throttle {
		return nil
	}
	now := q.Cloud.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bucket == nil {
		q.bucket = map[string]*bucket{}
	}
	b := q.bucket[q.caller.ClientID]
	if b == nil || now.Sub(b.since).Abs() >= bucketPeriod {
		b = &bucket{since: now}
		q.bucket[q.caller.ClientID] = b
	}
	b.units += units
	used := float64(b.units) / bucketUnits
	if used >= 0.8 {
		w.Header().Set("x-ms-throttle-limit-percentage", strconv.FormatFloat(min(used, 1.8), 'f', 2, 64))
	}
	if b.units <= bucketUnits {
		return nil
	}
	left := b.since.Add(bucketPeriod).Sub(now)
	w.Header().Set("Retry-After", strconv.Itoa(int((left+time.Second-1)/time.Second)))
	w.Header().Set("x-ms-throttle-scope", strings.Join([]string{"Tenant_Application", "ReadWrite", q.caller.ClientID, q.Directory.TenantID}, "/"))
	w.Header().Set("x-ms-throttle-information", "ResourceUnitLimitExceeded")
	return refusal(http.StatusTooManyRequests, "TooManyRequests", "The application has used up its resource units. Please retry later.")
}
