package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/permission"
)

// PermissionOptions say whose permissions are checked, and for which feeds.
type PermissionOptions struct {
	Cloud    m365.Cloud
	TenantID string // a GUID
	ClientID string
	// Credential signs in as the application. It should be new: a token that it kept
	// says what was granted then. One that can Forget a token is asked for several.
	Credential azcore.TokenCredential
	HTTP       *http.Client
	Now        func() time.Time // default time.Now

	Feeds []permission.Feed
	// Optional makes what the feeds can do without count as well.
	Optional bool
	// AllowEmpty makes answers with nothing in them count as well.
	AllowEmpty bool

	ContentTypes []string // of the audit feed; default all but DLP.All
	Workspace    string   // ID of the Log Analytics workspace of the web feed
}

// PermissionReport is what was found. It holds no token.
type PermissionReport struct {
	Outcome  Outcome `json:"outcome"`
	TenantID string  `json:"tenant_id"`
	ClientID string  `json:"client_id"`

	APIs  []APIReport  `json:"apis"`
	Feeds []FeedReport `json:"feeds"`

	// Missing names what counts and does not work, as manage/ActivityFeed.Read.
	Missing []string `json:"missing"`
	// Unseen names what counts and of which nobody knows whether it works.
	Unseen []string `json:"unseen"`
	// Excess is granted and needed by none of the feeds.
	Excess []Excess `json:"excess"`

	// GrantsSeen says whether the grants could be read. That takes a permission that
	// no feed needs.
	GrantsSeen Answer    `json:"grants_seen"`
	Notes      []Finding `json:"notes"`
}

// APIReport is how signing in for an API went.
type APIReport struct {
	API           string    `json:"api"`
	SignedIn      Answer    `json:"signed_in"`
	ByCertificate Answer    `json:"by_certificate"`
	Roles         []string  `json:"roles"` // in each of the tokens
	Findings      []Finding `json:"findings"`
}

// FeedReport is what was found for a feed.
type FeedReport struct {
	Name    string             `json:"name"`
	Title   string             `json:"title"`
	Planned bool               `json:"planned"`
	State   State              `json:"state"`
	Rows    []PermissionAnswer `json:"permissions"`
}

// PermissionAnswer is what was found for a permission of a feed.
type PermissionAnswer struct {
	Permission string `json:"permission"`
	To         string `json:"to"`
	Optional   bool   `json:"optional"`
	// By is the broader permission that stands in for it.
	By      string `json:"by,omitempty"`
	Granted Answer `json:"granted"`
	InToken Answer `json:"in_token"`
	Works   Answer `json:"works"`
	Rows    Answer `json:"returns_rows"`
	// Seen says what came, for people.
	Seen     string    `json:"seen,omitempty"`
	State    State     `json:"state"`
	Counts   bool      `json:"counts"` // for the outcome
	Findings []Finding `json:"findings"`
}

// Excess is a permission that could be taken away.
type Excess struct {
	Permission string `json:"permission"`
	API        string `json:"api"`
	Why        string `json:"why"`
}

// Permissions checks them. Its error is about the options alone.
func Permissions(ctx context.Context, o PermissionOptions) (*PermissionReport, error) {
	c := &permissionCheck{o: o, found: map[string]found{}}
	if c.o.Now == nil {
		c.o.Now = time.Now
	}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, checkTimeout)
	defer cancel()
	c.tokens = c.signIn(ctx)
	c.readGrants(ctx)
	c.ask(ctx)
	c.signInAgain(ctx)
	return c.report(), nil
}

// permissionCheck is one check under way.
type permissionCheck struct {
	o     PermissionOptions
	given *given
	apis  []permission.API
	asker *asker

	tokens     map[permission.API]token
	grants     []permission.Permission
	grantsSeen Answer
	grantsErr  error
	found      map[string]found // by permission
}

// token is what the tokens for an API say, or why there is none.
type token struct {
	roles []permission.Permission // in all of them
	// torn are in some of the tokens and not in others: they were granted or taken away
	// within the last minutes, and Entra ID's front ends do not agree yet.
	torn          []permission.Permission
	byCertificate Answer
	err           error
}

func (c *permissionCheck) prepare() error {
	if len(c.o.Feeds) == 0 {
		return fmt.Errorf("there is no feed to be checked: give some of %s", strings.Join(permission.Names(), ", "))
	}
	if uuid.Validate(c.o.TenantID) != nil {
		return fmt.Errorf("the tenant ID %q is not a GUID: it is at Entra ID > Overview", c.o.TenantID)
	}
	wanted := map[permission.API]bool{permission.Graph: true} // which knows the grants
	for _, f := range c.o.Feeds {
		for _, n := range f.Needs {
			wanted[n.API] = true
			if _, ok := byPermission(n.Permission); !ok {
				return fmt.Errorf("nothing is known that tries %s", n.Permission)
			}
		}
	}
	c.apis = slices.DeleteFunc(permission.APIs(), func(a permission.API) bool { return !wanted[a] })
	types := slices.DeleteFunc(slices.Clone(c.o.ContentTypes), func(t string) bool { return strings.EqualFold(t, dlp) })
	if len(types) == 0 {
		types = usualTypes
	}
	c.asker = &asker{cloud: c.o.Cloud, http: c.o.HTTP, clientID: c.o.ClientID, workspace: c.o.Workspace, contentTypes: types, now: c.o.Now}
	c.given = &given{inner: c.o.Credential, tokens: map[string][]string{}}
	var err error
	if c.asker.graph, err = graph.New(graph.Options{Cloud: c.o.Cloud, Credential: c.given, HTTP: c.o.HTTP, Retry: patience}); err != nil {
		return err
	}
	if wanted[permission.Manage] {
		c.asker.activity, err = activity.New(activity.Options{Cloud: c.o.Cloud, TenantID: c.o.TenantID, Credential: c.given, HTTP: c.o.HTTP, Retry: patience})
		if err != nil {
			return err
		}
	}
	if wanted[permission.Logs] && c.o.Cloud.Logs == "" {
		return fmt.Errorf("cloud %q has no logs endpoint: give its address", c.o.Cloud.Name)
	}
	c.asker.logs = m365.NewPipeline(m365.PipelineOptions{Audience: c.o.Cloud.LogsAudience, Credential: c.given, HTTP: c.o.HTTP, Retry: patience})
	return nil
}

func (c *permissionCheck) audience(a permission.API) string {
	switch a {
	case permission.Manage:
		return c.o.Cloud.ManageAudience
	case permission.Logs:
		return c.o.Cloud.LogsAudience
	}
	return c.o.Cloud.GraphAudience
}

// signIn obtains a token for each API.
func (c *permissionCheck) signIn(ctx context.Context) map[permission.API]token {
	tokens := map[permission.API]token{}
	var wait sync.WaitGroup
	var mu sync.Mutex
	for _, a := range c.apis {
		wait.Go(func() {
			t := c.token(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			tokens[a] = t
		})
	}
	wait.Wait()
	return tokens
}

func (c *permissionCheck) token(ctx context.Context, a permission.API) token {
	ctx, cancel := bounded(ctx, callTimeout)
	defer cancel()
	got, err := m365.Token(ctx, c.given, c.audience(a))
	if err != nil {
		return token{err: err, byCertificate: Unknown}
	}
	_, claims, err := m365.Claims(got.Token)
	if err != nil {
		return token{err: fmt.Errorf("reading the token for %s: %w", a.Name, err), byCertificate: Unknown}
	}
	tenant, _ := claims["tid"].(string)
	if !strings.EqualFold(tenant, c.o.TenantID) {
		return token{err: fmt.Errorf("the token for %s is of tenant %.64q, not %s: compare the tenant ID and the identity that signs in", a.Name, tenant, c.o.TenantID), byCertificate: Unknown}
	}
	t := token{byCertificate: Unknown}
	for _, name := range []string{"appidacr", "azpacr"} {
		if by, ok := claims[name].(string); ok {
			t.byCertificate = answer(by == "2")
		}
	}
	t.roles = rolesOf(a, claims)
	return t
}

func rolesOf(a permission.API, claims map[string]any) (all []permission.Permission) {
	roles, _ := claims["roles"].([]any)
	for _, r := range roles {
		if name, ok := r.(string); ok {
			all = append(all, permission.Named(a, name))
		}
	}
	return all
}

// tokensAsked is how many tokens are asked for, for each API. Each is of another front end
// of Entra ID, as far as that can be brought about.
const tokensAsked = 3

// signInAgain obtains more tokens for each API, and compares all that were given out with
// each other, those among them that a refused call has had replaced.
func (c *permissionCheck) signInAgain(ctx context.Context) {
	for range tokensAsked - 1 {
		for _, a := range c.apis {
			c.given.forget(c.audience(a))
		}
		if c.o.HTTP != nil {
			c.o.HTTP.CloseIdleConnections() // a connection stays with its front end
		}
		for a, t := range c.signIn(ctx) {
			// What only did not answer this time says nothing, and a refusal does.
			if t.err != nil && !isPassing(t.err) && c.tokens[a].err == nil {
				c.tokens[a] = t
			}
		}
	}
	for _, a := range c.apis {
		if t := c.tokens[a]; t.err == nil {
			t.roles, t.torn = c.given.roles(a, c.audience(a))
			c.tokens[a] = t
		}
	}
}

// given gives out the tokens of a credential, and knows which they were: what a call was
// answered says something of the token alone that it had.
type given struct {
	inner azcore.TokenCredential

	mu     sync.Mutex          // guards what follows
	tokens map[string][]string // by scope, each once
}

// GetToken implements azcore.TokenCredential.
func (g *given) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t, err := g.inner.GetToken(ctx, o)
	if err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		scope := strings.Join(o.Scopes, " ")
		if !slices.Contains(g.tokens[scope], t.Token) {
			g.tokens[scope] = append(g.tokens[scope], t.Token)
		}
	}
	return t, err
}

// Forget has the next token asked for anew, where the credential can do that.
func (g *given) Forget(token string) {
	if f, ok := g.inner.(interface{ Forget(token string) }); ok {
		f.Forget(token)
	}
}

// of lists the tokens for an audience.
func (g *given) of(audience string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.tokens[audience+"/.default"])
}

// forget is Forget for the tokens for an audience.
func (g *given) forget(audience string) {
	for _, token := range g.of(audience) {
		g.Forget(token)
	}
}

// roles are the permissions that all tokens carry, and those that only some do.
func (g *given) roles(a permission.API, audience string) (all, torn []permission.Permission) {
	tokens := g.of(audience)
	count := map[permission.Permission]int{}
	var seen []permission.Permission
	for _, token := range tokens {
		_, claims, err := m365.Claims(token)
		if err != nil {
			continue // as if it carried none
		}
		for _, p := range rolesOf(a, claims) {
			if count[p]++; count[p] == 1 {
				seen = append(seen, p)
			}
		}
	}
	for _, p := range seen {
		if count[p] == len(tokens) {
			all = append(all, p)
		} else {
			torn = append(torn, p)
		}
	}
	return all, torn
}

// readGrants reads what was consented to, if that is allowed.
func (c *permissionCheck) readGrants(ctx context.Context) {
	ctx, cancel := bounded(ctx, callTimeout)
	defer cancel()
	c.grantsSeen = Unknown
	granted, err := c.asker.graph.GrantedRoles(ctx, c.o.ClientID)
	if err != nil {
		c.grantsErr = err
		return
	}
	resources := map[string]graph.Resource{}
	for _, g := range granted {
		r, ok := resources[g.ResourceID]
		if !ok {
			if r, err = c.asker.graph.Resource(ctx, g.ResourceID); err != nil {
				c.grants, c.grantsErr = nil, err
				return
			}
			resources[g.ResourceID] = r
		}
		if name := r.Roles[strings.ToLower(g.RoleID)]; name != "" {
			c.grants = append(c.grants, permission.Named(api(r), name))
		}
	}
	c.grantsSeen = Yes
}

// api is the API that a resource is; one of which reeve needs nothing goes by its name.
func api(r graph.Resource) permission.API {
	for _, a := range permission.APIs() {
		if strings.EqualFold(a.AppID, r.ClientID) {
			return a
		}
	}
	return permission.API{Key: r.Name, Name: r.Name, AppID: r.ClientID}
}

// ask asks the question of each permission once, side by side.
func (c *permissionCheck) ask(ctx context.Context) {
	c.asker.prepare(ctx)
	var wait sync.WaitGroup
	var mu sync.Mutex
	for _, u := range permission.Uses(c.o.Feeds, true) {
		if c.tokens[u.API].err != nil {
			continue
		}
		wait.Go(func() {
			q, _ := byPermission(u.Permission)
			ctx, cancel := bounded(ctx, callTimeout)
			defer cancel()
			f := q.ask(ctx, c.asker)
			mu.Lock()
			defer mu.Unlock()
			c.found[u.String()] = f
		})
	}
	wait.Wait()
}

func (c *permissionCheck) report() *PermissionReport {
	r := &PermissionReport{TenantID: c.o.TenantID, ClientID: c.o.ClientID, GrantsSeen: c.grantsSeen,
		APIs: []APIReport{}, Feeds: []FeedReport{}, Missing: []string{}, Unseen: []string{}, Excess: []Excess{}, Notes: []Finding{}}
	signInFailed := false
	for _, a := range c.apis {
		t := c.tokens[a]
		api := APIReport{API: a.Key, SignedIn: answer(t.err == nil), ByCertificate: t.byCertificate, Roles: []string{}, Findings: []Finding{}}
		for _, p := range t.roles {
			api.Roles = append(api.Roles, p.Name)
		}
		needed := slices.ContainsFunc(c.o.Feeds, func(f permission.Feed) bool {
			return slices.ContainsFunc(f.Needs, func(n permission.Need) bool { return n.API == a })
		})
		switch {
		case t.err == nil:
		case isPassing(t.err):
			api.SignedIn = Unknown
			api.Findings = append(api.Findings, passing(t.err))
		default:
			signInFailed = signInFailed || needed
			api.Findings = append(api.Findings, signInFinding(t.err))
		}
		r.APIs = append(r.APIs, api)
	}
	missing, unseen := map[string]bool{}, map[string]bool{}
	standIns := map[permission.Permission][]string{}
	for _, f := range c.o.Feeds {
		feed := FeedReport{Name: f.Name, Title: f.Title, Planned: f.Planned, State: OK, Rows: []PermissionAnswer{}}
		for _, n := range f.Needs {
			row := c.judge(n)
			if by, ok := n.Met(c.tokens[n.API].roles); ok && by != n.Permission {
				standIns[by] = append(standIns[by], n.Name)
			}
			row.Counts = !n.Optional || c.o.Optional
			switch {
			case !row.Counts && row.State == Wrong && row.InToken == No:
				row.State = OptionalMissing
			case !row.Counts && row.State == Wrong:
				row.State = OptionalFailed
			case !row.Counts:
			case row.State == Wrong, row.State == Empty && !c.o.AllowEmpty:
				missing[row.Permission], feed.State = true, Wrong
			case row.State == Dark:
				unseen[row.Permission] = true
				if feed.State == OK {
					feed.State = Dark
				}
			}
			feed.Rows = append(feed.Rows, row)
		}
		r.Feeds = append(r.Feeds, feed)
	}
	r.Missing, r.Unseen = slices.Sorted(maps.Keys(missing)), slices.Sorted(maps.Keys(unseen))
	r.Excess = c.excess(standIns)
	r.Notes = c.notes()
	switch {
	case signInFailed:
		r.Outcome = SignInFailed
	case len(missing) > 0:
		r.Outcome = Missing
	case len(unseen) > 0:
		r.Outcome = Unseen
	default:
		r.Outcome = Green
	}
	return r
}

// judge says what was found for a need.
func (c *permissionCheck) judge(n permission.Need) PermissionAnswer {
	row := PermissionAnswer{Permission: n.String(), To: n.To, Optional: n.Optional, Granted: Unknown, InToken: Unknown, Works: Unknown, Rows: Unknown, State: Dark, Findings: []Finding{}}
	t := c.tokens[n.API]
	if c.grantsSeen == Yes {
		by, ok := n.Met(c.grants)
		row.Granted = answer(ok)
		row.By = standIn(n, by)
	}
	add := func(s State, f ...Finding) PermissionAnswer {
		row.State, row.Findings = s, append(row.Findings, f...)
		return row
	}
	switch {
	case t.err == nil:
	case isPassing(t.err):
		return add(Dark, passing(t.err))
	default:
		return add(Wrong, signInFinding(t.err))
	}
	by, in := n.Met(t.roles)
	row.InToken = answer(in)
	if in {
		row.By = standIn(n, by)
	} else if by, torn := n.Met(slices.Concat(t.roles, t.torn)); torn {
		row.InToken = Unknown
		return add(Dark, c.unsettled(n, by.Name, row.Granted))
	}
	f := c.found[n.String()]
	q, _ := byPermission(n.Permission)
	if in || !q.shared {
		row.tell(f)
	}
	broader := Finding{Cause: fmt.Sprintf("%s stands in for %s, and allows more than is needed", row.By, n.Name), Remedy: fmt.Sprintf("grant %s, and take %s away if nothing else needs it", n.Name, row.By), Who: whoConsents(n.Permission)}
	switch {
	case !in && row.Granted == Yes:
		return add(Wrong, Finding{Cause: fmt.Sprintf("%s is consented to, and not in tokens yet", n.Name), Remedy: "wait, and check again: nothing else is to be done", Waiting: inTokensLate})
	case !in && row.Works == Yes && len(t.torn) > 0: // by which of the tokens it works is not known
		return add(Dark, c.unsettled(n, names(t.torn), Unknown))
	case !in && row.Works == Yes:
		return add(Note, append(f.notes, Finding{
			Cause:  fmt.Sprintf("%s is in no token, and its call works: by another permission there (%s), which allows more", n.Name, cmp.Or(names(t.roles), "none that the token names, such as a directory role")),
			Remedy: fmt.Sprintf("grant %s, and take the other away if nothing else needs it", n.Name), Who: whoConsents(n.Permission)})...)
	case !in:
		if elsewhere := c.elsewhere(n.Permission); elsewhere != "" {
			return add(Wrong, Finding{
				Cause:  fmt.Sprintf("%s was granted of another API (%s), and it is %s of %s that is needed. %s", n.Name, elsewhere, n.Name, n.API.Name, n.Without),
				Remedy: ungranted(n, No).Remedy, Who: whoConsents(n.Permission), Waiting: inTokensLate})
		}
		return add(Wrong, ungranted(n, row.Granted))
	case row.Granted == No:
		return add(Dark, Finding{
			Cause:  fmt.Sprintf("%s is in the token, and not among the grants: it was granted within the last minute, or was taken back and works until the token ends", n.Name),
			Remedy: "check again in a minute; if it stays so, grant it again", Who: whoConsents(n.Permission), Waiting: "a minute"})
	case f.err != nil && isPassing(f.err):
		return add(Dark, passing(f.err))
	case f.err != nil:
		return add(Wrong, refused(f.err))
	case f.untried != "":
		return add(Dark, Finding{Cause: "whether " + n.Name + " works could not be tried: " + f.untried, Remedy: "see to that first, and check again"})
	case f.rows == 0 && !f.usual:
		return add(Empty, q.nothing)
	}
	row.Findings = append(row.Findings, f.notes...)
	if row.By != "" {
		row.Findings = append(row.Findings, broader)
	}
	if row.State = OK; len(row.Findings) > 0 {
		row.State = Note
	}
	return row
}

// unsettled is the finding about permissions that one token carries and another one does
// not: whether the need is met cannot be told from them.
func (c *permissionCheck) unsettled(n permission.Need, torn string, granted Answer) Finding {
	f := Finding{
		Cause:  fmt.Sprintf("of the %d tokens that were obtained just now some carry %s and some do not, since not all of Entra ID knows: ", len(c.given.of(c.audience(n.API))), torn),
		Remedy: "check again in 5 minutes; if nobody has granted it a moment ago, ask who has taken it away", Who: whoConsents(n.Permission), Waiting: inTokensLate,
	}
	f.Cause += map[Answer]string{
		Yes: "it was granted within the last minutes", No: "it was taken back within the last minutes, or granted a moment ago",
		Unknown: "it was granted or taken away within the last minutes, which cannot be told apart yet",
	}[granted]
	return f
}

// tell says what a question brought.
func (row *PermissionAnswer) tell(f found) {
	switch {
	case f.untried != "" || f.err != nil && isPassing(f.err):
		return
	case f.err != nil:
		row.Works = No
		return
	}
	row.Works, row.Rows, row.Seen = Yes, answer(f.rows > 0), f.seen
	if f.seen == "" && f.rows > 0 {
		row.Seen = fmt.Sprintf("%d", f.rows)
		if f.more {
			row.Seen += " and more"
		}
	}
}

func standIn(n permission.Need, by permission.Permission) string {
	if by == n.Permission || by.Name == "" {
		return ""
	}
	return by.Name
}

// elsewhere names the API of which a permission of the same name was granted.
func (c *permissionCheck) elsewhere(p permission.Permission) string {
	for _, g := range c.grants {
		if g.Name == p.Name && g.API != p.API {
			return g.API.Name
		}
	}
	return ""
}

// excess lists what could be taken away: of what is granted, or as far as only tokens
// tell, what is in them.
func (c *permissionCheck) excess(standIns map[permission.Permission][]string) []Excess {
	granted := c.grants
	if c.grantsSeen != Yes {
		for _, a := range c.apis {
			granted = append(granted, slices.Concat(c.tokens[a].roles, c.tokens[a].torn)...)
		}
	}
	all := []Excess{}
	for _, p := range permission.Excess(granted, permission.Uses(c.o.Feeds, true)) {
		e := Excess{Permission: p.String(), API: p.API.Name, Why: "none of the feeds needs it"}
		if needs := standIns[p]; len(needs) > 0 {
			e.Why = fmt.Sprintf("it stands in for %s, which would be enough", strings.Join(slices.Compact(slices.Sorted(slices.Values(needs))), " and "))
		} else if strings.Contains(p.Name, "Write") || strings.Contains(p.Name, "FullControl") {
			e.Why += ", and it lets the application change things"
		} else if p == permission.Named(permission.Graph, "Application.Read.All") {
			e.Why = "not for a feed: with it reeve finds its own application and sees what was granted to it, and 'reeve cert inventory' lists those of others; it can do without"
		}
		all = append(all, e)
	}
	return all
}

func (c *permissionCheck) notes() []Finding {
	notes := []Finding{}
	if c.grantsSeen != Yes {
		f := Finding{Cause: "what was granted could not be read, so that only tokens tell: " + errorText(c.grantsErr)}
		if errors.Is(c.grantsErr, m365.ErrForbidden) {
			f.Cause = "what was granted could not be read, so that only tokens tell: that takes Application.Read.All of Microsoft Graph"
			f.Remedy = "nothing: no feed needs that"
		}
		notes = append(notes, f)
	}
	if slices.ContainsFunc(c.apis, func(a permission.API) bool { return c.tokens[a].byCertificate == No }) {
		notes = append(notes, Finding{
			Cause: "the application signs in with a client secret. What these feeds ask takes that; SharePoint, which none of them asks, " +
				"answers it with 401, \"Unsupported app only token\"",
			Remedy: "sign in with a certificate: reeve cert adopt, or auth.certificate", Who: "an owner of the application uploads the certificate"})
	}
	return notes
}

func errorText(err error) string {
	if err == nil {
		return "no reason is known"
	}
	return err.Error()
}

func names(all []permission.Permission) string {
	var s []string
	for _, p := range all {
		s = append(s, p.Name)
	}
	return strings.Join(s, ", ")
}
