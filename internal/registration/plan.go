package registration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/graph"
	"github.com/reeve365/reeve/internal/m365/resources"
	"github.com/reeve365/reeve/internal/permission"
)

// Plan is what has to be done, in order, and what speaks against it.
type Plan struct {
	Steps []Step
	// Refusals keep it from being carried out.
	Refusals []*Refusal
	// Notes are for people: what is there and not needed, what is left as it is.
	Notes []string

	seen Seen
}

// Settled reports whether nothing is left to be done.
func (p Plan) Settled() bool {
	return !slices.ContainsFunc(p.Steps, func(s Step) bool { return !s.There })
}

// Step is one thing that has to be so.
type Step struct {
	Kind  Kind
	Key   string // which of its kind
	What  string // for people
	Why   string
	There bool // it is so already
	Ours  bool // and reeve made it so

	id       string // Graph's, of what is there
	mark     string // of the application that is made: see [Made.Mark]
	name     string // of the application, or the directory role
	api      string // client ID of the API
	roleID   string
	required []graph.ResourceAccess // the whole list
	declared []string               // what reeve has added to it so far
	added    []string               // what reeve adds to it, or grants
	vault    resources.Vault
	role     resources.Role
	missing  []string // permissions in its access policies
}

// do is what a step does, after "to".
func (s Step) do() string {
	switch s.Kind {
	case Application:
		return "create the application " + s.name
	case Restored:
		return "take the application " + s.name + " out of the recycle bin"
	case Principal:
		return "create the service principal"
	case API:
		return "create the service principal of " + s.What
	case Required:
		return "declare the permissions"
	case Granted:
		return "grant " + s.Key
	case TakenBack:
		return "take " + s.Key + " back"
	case Owner:
		return "make " + s.What + " an owner"
	case VaultRole:
		return "give the application the role " + s.What
	case VaultPolicy:
		return "give the application " + strings.Join(s.missing, ", ") + " at the key vault " + s.vault.Name
	}
	return "give the directory role " + s.What
}

// told is what a step does, for the journal, in which nobody is named.
func (s Step) told() string {
	if s.Kind == Owner {
		s.What = s.Key
	}
	return s.do()
}

// IDs that a request has where they are not known yet.
const (
	unknownObject    = "OBJECT-ID"
	unknownPrincipal = "PRINCIPAL-ID"
	unknownClient    = "CLIENT-ID"
	unknownAPI       = "API-PRINCIPAL-ID"
)

// notesOf are the notes of an application that reeve makes.
func notesOf(mark string) string {
	if mark == "" {
		return "Made by reeve app setup."
	}
	return "Made by reeve app setup (" + mark + ")."
}

// ids are the objects that steps are about, as far as they are known.
type ids struct {
	object, client, principal string
	apis                      map[string]string // by client ID
}

func (s Seen) ids() ids {
	k := ids{object: unknownObject, client: unknownClient, principal: unknownPrincipal, apis: map[string]string{}}
	if s.Application != nil {
		k.object, k.client = s.Application.ObjectID, s.Application.ClientID
	}
	if s.Principal != nil {
		k.principal = s.Principal.ObjectID
	}
	for api, p := range s.APIs {
		k.apis[api] = p.ObjectID
	}
	return k
}

// request is what is sent to carry a step out.
func (s Step) request(cloud m365.Cloud, uniqueName string, k ids) graph.Request {
	switch s.Kind {
	case Application:
		return graph.MakeApplication(cloud, uniqueName, s.name, notesOf(s.mark), s.required)
	case Restored:
		return graph.RestoreApplication(cloud, s.id)
	case Principal:
		return graph.MakePrincipal(cloud, k.client)
	case API:
		return graph.MakePrincipal(cloud, s.api)
	case Required:
		return graph.SetRequired(cloud, k.object, s.required)
	case Granted:
		api, ok := k.apis[s.api]
		if !ok {
			api = unknownAPI
		}
		return graph.GrantRole(cloud, k.principal, api, s.roleID)
	case TakenBack:
		return graph.RevokeRole(cloud, k.principal, s.id)
	case Owner:
		return graph.AddOwner(cloud, k.object, s.Key)
	case VaultRole, VaultPolicy:
		return s.vaultRequest(cloud, k.principal)
	}
	return graph.GrantDirectoryRole(cloud, k.principal, s.Key)
}

// Requests lists what would be sent, in order, with stand-ins for IDs that Entra ID has
// yet to choose.
func (p Plan) Requests(cloud m365.Cloud, w Wanted) []graph.Request {
	var all []graph.Request
	for _, s := range p.Steps {
		if !s.There {
			all = append(all, s.request(cloud, w.UniqueName(), p.seen.ids()))
		}
	}
	return all
}

// MakePlan compares what is wanted with what is there. The record says what of that reeve
// has made.
func MakePlan(w Wanted, seen Seen, record Record) Plan {
	b := &planning{Plan: Plan{seen: seen}, w: w, seen: seen, record: record}
	b.application()
	b.principal()
	b.vault() // what takes longest to have effect comes first
	b.permissions()
	b.people()
	b.left()
	b.rights()
	return b.Plan
}

// planning is a plan on its way.
type planning struct {
	Plan
	w      Wanted
	seen   Seen
	record Record
}

func (b *planning) refuse(kind error, cause, remedy, who string) {
	b.Refusals = append(b.Refusals, &Refusal{Kind: kind, Cause: cause, Remedy: remedy, Who: who})
}

func (b *planning) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

func (b *planning) add(s Step) {
	s.Ours = s.There && b.record.find(s.Kind, s.Key) != nil
	b.Steps = append(b.Steps, s)
}

// application plans for the application itself, and for the list of permissions in it.
func (b *planning) application() {
	s := Step{Kind: Application, name: b.w.Name, What: b.w.Name, Why: "it is what signs in"}
	if app := b.seen.Application; app != nil {
		s.name, s.What, s.id, s.There = app.Name, fmt.Sprintf("%s, client ID %s", app.Name, app.ClientID), app.ObjectID, true
		if b.w.ClientID == "" && !b.record.owns(*app) {
			b.Refusals = append(b.Refusals, taken(*app))
		}
		b.add(s)
		b.declaration(app.Required)
		return
	}
	if b.w.ClientID != "" {
		b.notThere()
		return
	}
	for _, d := range b.seen.Deleted {
		switch {
		case d.UniqueName != b.w.UniqueName():
			b.note("An application %s (client ID %s), which reeve did not make, is in the recycle bin. It stays there.", d.Name, d.ClientID)
		case b.w.Restore:
			b.add(Step{Kind: Restored, name: d.Name, What: fmt.Sprintf("%s, client ID %s", d.Name, d.ClientID), id: d.ObjectID,
				Why: "it is in the recycle bin, and what it had comes back with it"})
			b.declaration(d.Required)
			return
		default:
			b.refuse(ErrDeleted, fmt.Sprintf("the application %s (client ID %s), which reeve made, was deleted at %s and is in the recycle bin, where it keeps its unique name for 30 days", d.Name, d.ClientID, d.Deleted.UTC().Format("2006-01-02 15:04")),
				"take it out again (--restore), or choose another name (--name)", "")
		}
	}
	for _, n := range b.seen.Namesakes {
		whose := "that reeve did not make"
		if strings.HasPrefix(n.UniqueName, uniqueNames) {
			whose = "that a reeve has made, with its name in other letters"
		}
		b.refuse(ErrTaken, fmt.Sprintf("there is an application %s already (client ID %s) %s", n.Name, n.ClientID, whose),
			"take it (--client-id "+n.ClientID+"), or choose another name (--name)", "")
	}
	s.required, s.added = merge(nil, nil, b.roles())
	b.add(s)
}

func (b *planning) notThere() {
	for _, d := range b.seen.Deleted {
		b.refuse(ErrDeleted, fmt.Sprintf("the application %s (client ID %s) is in the recycle bin", d.Name, d.ClientID),
			"restore it at Entra ID > App registrations > Deleted applications, or leave --client-id out to have one made", mayRegister.who)
		return
	}
	b.refuse(ErrNotThere, "the tenant has no application with client ID "+b.w.ClientID,
		"see that it is the right tenant and the client ID, not the object ID (Entra ID > App registrations > Overview); leave --client-id out to have one made", "")
}

// role is a permission as the tenant has it.
type role struct {
	api, id string
}

func (r role) String() string { return r.api + "/" + r.id }

// roles are the wanted permissions by the IDs that they have in the tenant.
func (b *planning) roles() []role {
	var all []role
	for _, u := range b.w.Uses {
		if id, _, ok := b.roleID(u.Permission); ok {
			all = append(all, role{u.API.AppID, id})
		}
	}
	return all
}

// roleID looks a permission up by its name. known is false when the API is not there yet,
// so that the documented ID is all there is.
func (b *planning) roleID(p permission.Permission) (id string, known, ok bool) {
	api, known := b.seen.APIs[p.API.AppID]
	if !known {
		return p.ID, false, true
	}
	for _, r := range api.Roles {
		if r.Name == p.Name && r.Enabled && slices.Contains(r.Members, "Application") {
			return r.ID, true, true
		}
	}
	return "", true, false
}

// declaration plans for the list of permissions of an application that is there.
func (b *planning) declaration(have []graph.ResourceAccess) {
	var ours []string
	if m := b.record.find(Required, ""); m != nil {
		ours = m.Required
	} else if b.record.OwnApplication() {
		if m := b.record.find(Application, ""); m != nil {
			ours = m.Required
		}
	}
	s := Step{Kind: Required, What: "permissions that it asks for", Why: "so that people see in the portal what it needs, and can consent again"}
	s.required, s.added = merge(have, ours, b.roles())
	s.declared = ours
	s.There = same(have, s.required)
	b.add(s)
}

// merge gives the list of permissions that an application is to ask for: those that it
// has, without those that reeve added and needs no longer, and the wanted ones. added are
// the wanted ones that nobody else had put there.
func merge(have []graph.ResourceAccess, ours []string, wanted []role) (all []graph.ResourceAccess, added []string) {
	all = []graph.ResourceAccess{} // [], and not null
	has := map[string]bool{}
	for _, r := range have {
		kept := graph.ResourceAccess{API: r.API}
		for _, a := range r.Access {
			key := role{r.API, a.ID}
			if a.Type == graph.RoleAccess && slices.Contains(ours, key.String()) && !slices.Contains(wanted, key) {
				continue
			}
			if a.Type == graph.RoleAccess {
				has[key.String()] = true
			}
			kept.Access = append(kept.Access, a)
		}
		if len(kept.Access) > 0 {
			all = append(all, kept)
		}
	}
	for _, w := range wanted {
		if !has[w.String()] || slices.Contains(ours, w.String()) {
			added = append(added, w.String())
		}
		if has[w.String()] {
			continue
		}
		i := slices.IndexFunc(all, func(r graph.ResourceAccess) bool { return r.API == w.api })
		if i < 0 {
			i = len(all)
			all = append(all, graph.ResourceAccess{API: w.api})
		}
		all[i].Access = append(all[i].Access, graph.Access{ID: w.id, Type: graph.RoleAccess})
	}
	return all, added
}

// same reports whether two lists ask for the same.
func same(a, b []graph.ResourceAccess) bool {
	flat := func(list []graph.ResourceAccess) (all []string) {
		for _, r := range list {
			for _, x := range r.Access {
				all = append(all, strings.ToLower(r.API+"/"+x.ID+"/"+x.Type))
			}
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	return slices.Equal(flat(a), flat(b))
}

// principal plans for the application's presence in the tenant.
func (b *planning) principal() {
	s := Step{Kind: Principal, What: "its presence in the tenant", Why: "permissions are granted to it, and without it no sign-in works", There: b.seen.Principal != nil}
	if p := b.seen.Principal; p != nil {
		s.id = p.ObjectID
		if !p.Enabled {
			b.refuse(ErrTaken, "the service principal "+p.Name+" is switched off, so that the application cannot sign in",
				"switch it on (Entra ID > Enterprise applications > the application > Properties > Enabled for users to sign-in)", mayRegister.who)
		}
	}
	b.add(s)
}

// permissions plans for the APIs, for consent to each permission, and for taking back
// what reeve granted for feeds that are not wanted any more.
func (b *planning) permissions() {
	asked := map[string]bool{}
	for _, u := range b.w.Uses {
		if _, ok := b.seen.APIs[u.API.AppID]; !ok && !asked[u.API.AppID] {
			asked[u.API.AppID] = true
			b.add(Step{Kind: API, Key: u.API.AppID, api: u.API.AppID, What: u.API.Name, Why: "the tenant does not know this API yet, and its permissions are granted on it"})
		}
	}
	var needed []string
	for _, u := range b.w.Uses {
		id, known, ok := b.roleID(u.Permission)
		switch {
		case !ok && u.Optional:
			b.note("%s of this tenant does not offer %s. %s", u.API.Name, u.Name, u.Without)
			continue
		case !ok:
			b.refuse(ErrNotThere, fmt.Sprintf("%s of this tenant does not offer the permission %s, which %s needs", u.API.Name, u.Name, strings.Join(u.Feeds, ", ")),
				"leave those feeds out (--feeds); in a national cloud not every API has every permission", "")
			continue
		case known && !strings.EqualFold(id, u.ID):
			b.note("%s has the ID %s in this tenant, and %s by Microsoft's documents. That of the tenant is taken.", u.Permission, id, u.ID)
		}
		s := Step{Kind: Granted, Key: u.Permission.String(), api: u.API.AppID, roleID: id, What: u.Permission.String(),
			Why: "to " + u.To + " (" + strings.Join(u.Feeds, ", ") + ")", added: []string{role{u.API.AppID, id}.String()}}
		if g := b.granted(u.API.AppID, id); g != nil {
			s.There, s.id = true, g.ID
		}
		needed = append(needed, s.Key)
		b.add(s)
	}
	b.excess(needed)
}

// granted finds the consent to a permission.
func (b *planning) granted(api, roleID string) *graph.RoleGrant {
	for i, g := range b.seen.Grants {
		if p, ok := b.seen.APIs[api]; ok && g.APIID == p.ObjectID && strings.EqualFold(g.RoleID, roleID) {
			return &b.seen.Grants[i]
		}
	}
	return nil
}

// excess plans to take back what reeve granted and needs no longer, and tells what others
// granted beyond what is needed.
func (b *planning) excess(needed []string) {
	ours := map[string]bool{}
	for _, m := range b.record.Made {
		if m.Kind != Granted || slices.Contains(needed, m.Key) {
			continue
		}
		if g := m.grant(b.seen); g != nil {
			ours[g.ID] = true
			b.add(Step{Kind: TakenBack, Key: m.Key, api: b.apiOf(*g), id: g.ID, What: m.Key, Why: "reeve granted it, and none of the chosen feeds needs it"})
		}
	}
	var wanted []string
	for _, s := range b.Steps {
		if s.Kind == Granted && s.There {
			wanted = append(wanted, s.id)
		}
	}
	for _, g := range b.seen.Grants {
		if !slices.Contains(wanted, g.ID) && !ours[g.ID] {
			b.note("The application has a permission of %s that the chosen feeds do not need: %s. reeve has not granted it, and it stays; to take it back: Entra ID > Enterprise applications > the application > Permissions > Revoke permission.", g.APIName, b.nameOf(g))
		}
	}
}

// grant finds the consent that was recorded. One whose answer was lost is known by its
// permission alone, and one with another ID is somebody else's.
func (m Made) grant(seen Seen) *graph.RoleGrant {
	for i, g := range seen.Grants {
		for client, api := range seen.APIs {
			if g.APIID == api.ObjectID && !m.Done && slices.Contains(m.Required, role{client, g.RoleID}.String()) {
				return &seen.Grants[i]
			}
		}
		if m.ID != "" && g.ID == m.ID {
			return &seen.Grants[i]
		}
	}
	return nil
}

// apiOf is the client ID of the API that a permission is one of, if that is known.
func (b *planning) apiOf(g graph.RoleGrant) string {
	for client, p := range b.seen.APIs {
		if p.ObjectID == g.APIID {
			return client
		}
	}
	return ""
}

// nameOf names a permission as far as that is known.
func (b *planning) nameOf(g graph.RoleGrant) string {
	for _, p := range b.seen.APIs {
		for _, r := range p.Roles {
			if p.ObjectID == g.APIID && r.ID == g.RoleID {
				return r.Name
			}
		}
	}
	return permissionName(g.RoleID)
}

// permissionName gives the name of a permission of the catalogue, or else its ID.
func permissionName(id string) string {
	for _, f := range permission.Feeds() {
		for _, n := range f.Needs {
			for _, p := range append([]permission.Permission{n.Permission}, n.Enough...) {
				if p.ID == id {
					return p.Name
				}
			}
		}
	}
	return id
}

// people plans for an owner and a directory role.
func (b *planning) people() {
	if o := b.w.Owner; o.ObjectID != "" {
		name := o.Address
		if name == "" {
			name = o.Name
		}
		b.add(Step{Kind: Owner, Key: o.ObjectID, What: name, Why: "an owner can register certificates without a directory role, and mend it when all have expired",
			There: slices.ContainsFunc(b.seen.Owners, func(s graph.Somebody) bool { return s.ObjectID == o.ObjectID })})
	}
	if r := b.w.Role; r.ID != "" {
		s := Step{Kind: Role, Key: r.ID, What: r.Name, name: r.Name, Why: "it was asked for"}
		for _, g := range b.seen.Roles {
			if g.RoleID == r.ID && g.Scope == "/" {
				s.There, s.id = true, g.ID
			}
		}
		b.add(s)
	}
}

// left tells what reeve gave that is not wanted any more, and that stays until somebody
// takes it away.
func (b *planning) left() {
	for _, m := range b.record.Made {
		wanted := func(s Step) bool { return s.Kind == m.Kind && s.Key == m.Key }
		var how string
		switch i := slices.IndexFunc(b.Steps, wanted); {
		case m.Kind == Role && i < 0:
			b.note("reeve gave the application the directory role %s, which was not asked for this time. It stays; to take it away: Entra ID > Roles & admins > the role > Assignments, or 'reeve app remove'.", cmp.Or(m.Name, m.Key))
			continue
		case m.Kind == VaultRole && i < 0:
			how = "the role " + m.Key
		case m.Kind == VaultPolicy && i < 0:
			how = strings.Join(m.Required, ", ") + " at " + m.Key
		case m.Kind == VaultPolicy:
			over := slices.DeleteFunc(slices.Clone(m.Required), func(p string) bool { return slices.Contains(b.w.Vault.Use.Permissions(), p) })
			if len(over) == 0 {
				continue
			}
			how = strings.Join(over, ", ") + " at " + m.Key
		default:
			continue
		}
		b.note("reeve gave the application %s, which what was chosen this time does not need. It stays, since programs may use it by now; to take it away: %s, or 'reeve app remove' with all else.", how, m.howToTake())
	}
}

// howToTake says how the owner of a vault takes away what reeve gave there.
func (m Made) howToTake() string {
	if m.Kind == VaultRole {
		return "az role assignment delete --ids " + m.ID
	}
	return "the vault > Access policies > the application"
}

// rights refuses what the caller may not do, before anything is begun.
func (b *planning) rights() {
	c := b.seen.Caller
	if !c.Known {
		return
	}
	told := map[string]bool{}
	for _, s := range b.Steps {
		if s.There || s.Kind.ofVault() { // what Azure allows the token for Graph does not tell
			continue
		}
		r := s.needs()
		for _, p := range r.permissions {
			if !slices.Contains(c.Permissions, p) && !told[p] {
				told[p] = true
				b.refuse(ErrRole, fmt.Sprintf("%s has signed in without the permission %s of Microsoft Graph, without which reeve cannot %s", c.Name, p, s.do()),
					"consent to it when you sign in, or have an administrator do so", r.who)
			}
		}
		holds := slices.ContainsFunc(c.Roles, func(id string) bool { return slices.Contains(r.roles, id) })
		if c.Person && !holds && !b.w.AnyRole && !told[r.who] {
			told[r.who] = true
			b.refuse(ErrRole, fmt.Sprintf("%s holds no directory role with which reeve could %s", c.Name, s.do()),
				"let somebody sign in who holds it, with the role active (Privileged Identity Management); where a role of your own allows it, say --any-role", r.who)
		}
	}
}
