package graph

import (
	"slices"
	"strings"
)

// entityType is a type of Graph's metadata: what a resource of it has, and what
// may be asked and said about each property.
type entityType struct {
	name       string
	properties map[string]property
}

// property is one property of a type.
type property struct {
	typ      string // of the wire: text, flag, number, guid, date, binary, a complex type, or [x] for a collection of x
	required bool   // never null
	write    bool   // a client may change it
	create   bool   // a client may give it at creation
	filter   []string
	search   bool
	order    bool
}

// may reports whether $filter may use the property with an operator.
func (p property) may(operator string) bool { return slices.Contains(p.filter, operator) }

// newType reads a table with a line for each property: its name, its type with
// ! when it is never null, and then what applies of
//
//	write             may be changed, and given at creation
//	create            may be given at creation alone
//	filter=eq,in,...  operators of $filter; any for a collection
//	search, order     may be used in $search, $orderby
//
// It panics when the table is wrong, which is part of the program.
func newType(name, table string) *entityType {
	t := &entityType{name: name, properties: map[string]property{}}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			panic("graph: the table of " + name + " has the line " + line)
		}
		p := property{typ: strings.TrimSuffix(fields[1], "!"), required: strings.HasSuffix(fields[1], "!")}
		for _, f := range fields[2:] {
			operators, isFilter := strings.CutPrefix(f, "filter=")
			switch {
			case isFilter:
				p.filter = strings.Split(operators, ",")
			case f == "write":
				p.write, p.create = true, true
			case f == "create":
				p.create = true
			case f == "search":
				p.search = true
			case f == "order":
				p.order = true
			default:
				panic("graph: the table of " + name + " says " + f)
			}
		}
		t.properties[fields[0]] = p
	}
	return t
}

// The tables follow Graph's metadata v1.0; what may be filtered, searched and
// ordered by follows the pages of the resource types.

var applicationType = newType("application", `
	id                    text!   filter=eq,ne,not,in
	deletedDateTime       date    filter=eq,ne,not,ge,le,in
	addIns                [addIn]! write
	api                   apiApplication write
	appId                 text    filter=eq,ne,not,in
	applicationTemplateId text    filter=eq,ne,not
	appRoles              [appRole]! write filter=any
	authenticationBehaviors authenticationBehaviors write
	certification         certification
	createdByAppId        text
	createdDateTime       date    filter=eq,ne,not,ge,le,in order
	defaultRedirectUri    text    write
	description           text    write filter=eq,ne,not,ge,le,startswith search
	disabledByMicrosoftStatus text filter=eq,ne,not
	displayName           text    write filter=eq,ne,not,ge,le,in,startswith search order
	groupMembershipClaims text    write
	identifierUris        [text]! write filter=any
	info                  informationalUrl write
	isDeviceOnlyAuthSupported flag write
	isDisabled            flag    write filter=eq,ne,not
	isFallbackPublicClient flag   write
	keyCredentials        [keyCredential]! write filter=any
	logo                  binary
	managerApplications   [guid]!
	nativeAuthenticationApisEnabled text write
	notes                 text    write
	oauth2RequirePostResponse flag! write
	optionalClaims        optionalClaims write
	parentalControlSettings parentalControlSettings write
	passwordCredentials   [passwordCredential]! write filter=any
	publicClient          publicClientApplication write
	publisherDomain       text    filter=eq,ne,ge,le,startswith
	requestSignatureVerification requestSignatureVerification write
	requiredResourceAccess [requiredResourceAccess]! write filter=any
	samlMetadataUrl       text    write
	serviceManagementReference text write
	servicePrincipalLockConfiguration servicePrincipalLockConfiguration write
	signInAudience        text    write filter=eq,ne,not
	spa                   spaApplication write
	tags                  [text]! write filter=any
	tokenEncryptionKeyId  guid    write
	uniqueName            text    create filter=eq,ne,not,in,startswith
	verifiedPublisher     verifiedPublisher
	web                   webApplication write
`)

var servicePrincipalType = newType("servicePrincipal", `
	id                    text!   filter=eq,ne,not,in
	deletedDateTime       date    filter=eq,ne,not,ge,le,in
	accountEnabled        flag    write filter=eq,ne,not,in
	addIns                [addIn]! write
	alternativeNames      [text]! write filter=any
	appDescription        text
	appDisplayName        text
	appId                 text    create filter=eq,ne,not,in,startswith
	applicationTemplateId text    filter=eq,ne,not,in
	appOwnerOrganizationId guid   filter=eq,ne,not,ge,le
	appRoleAssignmentRequired flag! write filter=eq,ne,not
	appRoles              [appRole]! filter=any
	createdByAppId        text
	createdDateTime       date    filter=eq,ne,not,ge,le order
	description           text    write filter=eq,ne,not,ge,le,startswith search
	disabledByMicrosoftStatus text filter=eq,ne,not
	displayName           text    write filter=eq,ne,not,ge,le,in,startswith search order
	homepage              text    write filter=eq,ne,not
	info                  informationalUrl
	isDisabled            flag    write
	keyCredentials        [keyCredential]! write filter=any
	loginUrl              text    write
	logoutUrl             text    write
	notes                 text    write
	notificationEmailAddresses [text]! write
	oauth2PermissionScopes [permissionScope]! filter=any
	passwordCredentials   [passwordCredential]! write filter=any
	preferredSingleSignOnMode text write
	preferredTokenSigningKeyThumbprint text write
	replyUrls             [text]! write
	resourceSpecificApplicationPermissions [any]!
	samlSingleSignOnSettings samlSingleSignOnSettings write
	servicePrincipalNames [text]! write filter=any
	servicePrincipalType  text    write filter=eq,ne,not,in
	signInAudience        text
	tags                  [text]! write filter=any
	tokenEncryptionKeyId  guid    write
	verifiedPublisher     verifiedPublisher
`)

var userType = newType("user", `
	id                text! filter=eq,ne,not,in
	deletedDateTime   date
	accountEnabled    flag  filter=eq,ne,not,in
	createdDateTime   date  filter=eq,ne,not,ge,le,in order
	displayName       text  filter=eq,ne,not,ge,le,in,startswith search order
	mail              text  filter=eq,ne,not,ge,le,in,startswith,endswith search
	userPrincipalName text  filter=eq,ne,not,ge,le,in,startswith,endswith search order
	businessPhones    [text]!
	givenName         text
	jobTitle          text
	mobilePhone       text
	officeLocation    text
	preferredLanguage text
	surname           text
	userType          text  filter=eq,ne,not,in
`)

var organizationType = newType("organization", `
	id                text!
	deletedDateTime   date
	countryLetterCode text
	createdDateTime   date
	displayName       text
	onPremisesSyncEnabled flag
	tenantType        text
	verifiedDomains   [any]!
`)

var domainType = newType("domain", `
	id                 text!
	authenticationType text!
	availabilityStatus text
	isAdminManaged     flag!
	isDefault          flag!
	isInitial          flag!
	isRoot             flag!
	isVerified         flag!
	supportedServices  [text]!
`)

var assignmentType = newType("appRoleAssignment", `
	id                   text!
	deletedDateTime      date
	appRoleId            guid! create
	createdDateTime      date
	principalDisplayName text  filter=eq,startswith
	principalId          guid  create filter=eq
	principalType        text
	resourceDisplayName  text
	resourceId           guid  create filter=eq
`)

var grantType = newType("oAuth2PermissionGrant", `
	id          text!
	clientId    text! create filter=eq
	consentType text  create filter=eq
	principalId text  create filter=eq
	resourceId  text! create filter=eq
	scope       text  write
`)

var roleAssignmentType = newType("unifiedRoleAssignment", `
	id               text!
	appScopeId       text
	condition        text
	directoryScopeId text create
	principalId      text create filter=eq
	principalOrganizationId text
	roleDefinitionId text create filter=eq
`)

var roleDefinitionType = newType("unifiedRoleDefinition", `
	id              text!
	description     text
	displayName     text filter=eq,in
	isBuiltIn       flag filter=eq
	isEnabled       flag
	resourceScopes  [text]!
	rolePermissions [any]!
	templateId      text
	version         text
`)

var directoryRoleType = newType("directoryRole", `
	id              text!
	deletedDateTime date
	description     text
	displayName     text filter=eq
	roleTemplateId  text filter=eq
`)

var federatedType = newType("federatedIdentityCredential", `
	id          text!
	audiences   [text]! write
	description text    write
	issuer      text!   write
	name        text!   create filter=eq
	subject     text    write filter=eq
`)

var policyType = newType("appManagementPolicy", `
	id              text!
	deletedDateTime date
	description     text  write
	displayName     text  write
	isEnabled       flag! write
	restrictions    any   write
`)

var defaultPolicyType = newType("tenantAppManagementPolicy", `
	id              text!
	deletedDateTime date
	description     text  write
	displayName     text  write
	isEnabled       flag! write
	applicationRestrictions      any write
	servicePrincipalRestrictions any write
`)

var authorizationPolicyType = newType("authorizationPolicy", `
	id              text!
	deletedDateTime date
	allowEmailVerifiedUsersToJoinOrganization flag! write
	allowInvitesFrom text write
	allowUserConsentForRiskyApps flag write
	allowedToSignUpEmailBasedSubscriptions flag! write
	allowedToUseSSPR flag! write
	blockMsolPowerShell flag write
	defaultUserRolePermissions defaultUserRolePermissions! write
	description     text write
	displayName     text write
	guestUserRoleId guid write
`)

var subscribedSkuType = newType("subscribedSku", `
	id               text!
	accountId        text
	accountName      text
	appliesTo        text
	capabilityStatus text
	consumedUnits    number
	prepaidUnits     any
	servicePlans     [any]!
	skuId            guid
	skuPartNumber    text
	subscriptionIds  [text]!
`)

var reportSettingsType = newType("adminReportSettings", `
	id                    text!
	displayConcealedNames flag
`)

var groupType = newType("group", `
	id                          text! filter=eq,ne,not,in
	description                 text  filter=eq,ne,not,ge,le,startswith
	displayName                 text  filter=eq,ne,not,ge,le,in,startswith search order
	groupTypes                  [text]! filter=any
	mailEnabled                 flag  filter=eq,ne,not
	resourceProvisioningOptions [text]! filter=any
	securityEnabled             flag  filter=eq,ne,not,in
	visibility                  text
`)

var teamType = newType("team", `
	id          text!
	description text
	displayName text filter=eq,startswith
`)

var channelType = newType("channel", `
	id              text!
	createdDateTime date
	description     text
	displayName     text filter=eq,startswith
	membershipType  text filter=eq
	isArchived      flag
`)

var memberType = newType("aadUserConversationMember", `
	id          text!
	displayName text
	email       text
	roles       [text]!
	tenantId    text
	userId      text
	visibleHistoryStartDateTime date
`)

var installedAppType = newType("userScopeTeamsAppInstallation", `
	id text!
`)

var teamAppType = newType("teamsAppInstallation", `
	id text!
`)

var tabType = newType("teamsTab", `
	id            text!
	configuration any
	displayName   text filter=eq
	webUrl        text
`)

var teamsAppType = newType("teamsApp", `
	id                 text! filter=eq,ne,not
	displayName        text  filter=eq,ne,not
	distributionMethod text  filter=eq,ne,not
	externalId         text  filter=eq,ne,not
`)

var callRecordType = newType("callRecord", `
	id                   text!
	endDateTime          date
	lastModifiedDateTime date
	modalities           [text]!
	organizer            any
	organizer_v2         any
	startDateTime        date filter=ge,le,gt,lt
	type                 text
	version              number
`)

// directoryObjectType is the base of what a list of several types holds.
var directoryObjectType = newType("directoryObject", `
	id              text! filter=eq,in
	deletedDateTime date
`)

// selectable reports whether $select may name a property: in lists of several
// types, that of any.
func (t *entityType) selectable(name string) bool {
	types := []*entityType{t}
	if t == directoryObjectType {
		types = append(types, applicationType, servicePrincipalType, userType)
	}
	return slices.ContainsFunc(types, func(t *entityType) bool { _, ok := t.properties[name]; return ok })
}

// complexTypes are the types of members that are objects themselves.
var complexTypes = map[string]*entityType{}

func init() {
	for name, table := range map[string]string{
		"addIn": `
			id         guid!
			properties [keyValue]!
			type       text!`,
		"keyValue": `
			key   text
			value text`,
		"apiApplication": `
			acceptMappedClaims          flag
			knownClientApplications     [guid]
			oauth2PermissionScopes      [permissionScope]!
			preAuthorizedApplications   [preAuthorizedApplication]
			requestedAccessTokenVersion number`,
		"preAuthorizedApplication": `
			appId                  text
			delegatedPermissionIds [text]!`,
		"permissionScope": `
			adminConsentDescription text
			adminConsentDisplayName text
			id                      guid!
			isEnabled               flag!
			origin                  text
			type                    text
			userConsentDescription  text
			userConsentDisplayName  text
			value                   text`,
		"appRole": `
			allowedMemberTypes [text]!
			description        text
			displayName        text
			id                 guid!
			isEnabled          flag!
			origin             text
			value              text`,
		"authenticationBehaviors": `
			blockAzureADGraphAccess       flag
			removeUnverifiedEmailClaim    flag
			requireClientServicePrincipal flag`,
		"certification": `
			certificationDetailsUrl text`,
		"informationalUrl": `
			logoUrl             text
			marketingUrl        text
			privacyStatementUrl text
			supportUrl          text
			termsOfServiceUrl   text`,
		"keyCredential": `
			customKeyIdentifier binary
			displayName         text
			endDateTime         date
			key                 binary
			keyId               guid
			startDateTime       date
			type                text
			usage               text`,
		"passwordCredential": `
			customKeyIdentifier binary
			displayName         text
			endDateTime         date
			hint                text
			keyId               guid
			secretText          text
			startDateTime       date`,
		"optionalClaims": `
			accessToken [optionalClaim]
			idToken     [optionalClaim]
			saml2Token  [optionalClaim]`,
		"optionalClaim": `
			additionalProperties [text]!
			essential            flag!
			name                 text!
			source               text`,
		"parentalControlSettings": `
			countriesBlockedForMinors [text]
			legalAgeGroupRule         text`,
		"publicClientApplication": `
			redirectUris [text]!`,
		"spaApplication": `
			redirectUris [text]!`,
		"requestSignatureVerification": `
			allowedWeakAlgorithms   text
			isSignedRequestRequired flag!`,
		"requiredResourceAccess": `
			resourceAccess [resourceAccess]!
			resourceAppId  text!`,
		"resourceAccess": `
			id   guid!
			type text`,
		"servicePrincipalLockConfiguration": `
			allProperties              flag
			credentialsWithUsageSign   flag
			credentialsWithUsageVerify flag
			isEnabled                  flag!
			tokenEncryptionKeyId       flag`,
		"samlSingleSignOnSettings": `
			relayState text`,
		"verifiedPublisher": `
			addedDateTime       date
			displayName         text
			verifiedPublisherId text`,
		"defaultUserRolePermissions": `
			allowedToCreateApps             flag!
			allowedToCreateSecurityGroups   flag!
			allowedToCreateTenants          flag
			allowedToReadBitlockerKeysForOwnedDevice flag
			allowedToReadOtherUsers         flag!
			permissionGrantPoliciesAssigned [text]`,
		"webApplication": `
			homePageUrl           text
			implicitGrantSettings implicitGrantSettings
			logoutUrl             text
			redirectUris          [text]!
			redirectUriSettings   [redirectUriSettings]!`,
		"redirectUriSettings": `
			index number
			uri   text`,
		"implicitGrantSettings": `
			enableAccessTokenIssuance flag
			enableIdTokenIssuance     flag`,
	} {
		complexTypes[name] = newType(name, table)
	}
}
