package handout

import (
	"bytes"
	"fmt"
	"html/template"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/reeve365/reeve/internal/permission"
)

// Pack is what a consent pack is made of: what an administrator has to know before
// permissions are given to the application, and after.
type Pack struct {
	Cloud     string
	Authority string
	TenantID  string
	ClientID  string // empty while there is no application yet
	Name      string
	At        time.Time

	Feeds    []permission.Feed
	Optional bool // ask for the permissions that feeds can do without as well

	// Sites are the rules of feeds.audit.org-urls; empty: nothing is dropped.
	Sites []string

	// Granted is what the application has now. Source says how that is known, after
	// "as"; empty: it is not known, and Granted does not count.
	Granted []permission.Permission
	Source  string
}

// State is how a permission stands.
type State string

const (
	Granted State = "granted"
	Missing State = "missing"
	Broader State = "granted by a broader one"
	Unknown State = "not known"
)

// Consent is a consent pack's content.
type Consent struct {
	TenantID    string        `json:"tenant_id"`
	ClientID    string        `json:"client_id,omitempty"`
	Cloud       string        `json:"cloud"`
	Name        string        `json:"name"`
	At          time.Time     `json:"made_at"`
	Feeds       []ConsentFeed `json:"feeds"`
	Permissions []Asked       `json:"permissions"`
	LeftOut     []Asked       `json:"left_out"` // optional ones that are not asked for
	Excess      []Excess      `json:"excess"`
	Source      string        `json:"granted_as,omitempty"`
	Link        string        `json:"consent_link,omitempty"`
	Consenter   string        `json:"least_role"` // that may consent

	Portal string `json:"portal"`
}

// ConsentFeed is a feed that was chosen.
type ConsentFeed struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Planned bool   `json:"planned"`
	Asks    bool   `json:"asks"` // for one of the permissions
}

// Asked is a permission that is asked for.
type Asked struct {
	API      string   `json:"api"`
	APIID    string   `json:"api_id"`
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	To       string   `json:"to"`
	Without  string   `json:"without"`
	Optional bool     `json:"optional"`
	Feeds    []string `json:"feeds"`
	Enough   []string `json:"enough"` // broader ones that would do
	Opens    string   `json:"opens"`
	Cannot   string   `json:"cannot"`
	Least    string   `json:"least"`
	Writes   bool     `json:"writes"`
	State    State    `json:"state"`
	By       string   `json:"by,omitempty"` // the broader one that is granted
}

// Excess is a permission that is granted and not needed.
type Excess struct {
	API  string `json:"api"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Consent works out the content.
func (p Pack) Consent() (Consent, error) {
	fail := func(err error) (Consent, error) {
		return Consent{}, fmt.Errorf("writing the consent pack: %w", err)
	}
	if err := checkName(p.Name); err != nil {
		return fail(err)
	}
	if !guid.MatchString(p.TenantID) {
		return fail(fmt.Errorf("the tenant ID %q is not a GUID", p.TenantID))
	}
	if p.ClientID != "" && !guid.MatchString(p.ClientID) {
		return fail(fmt.Errorf("the client ID %q is not a GUID", p.ClientID))
	}
	if err := checkOrigin(p.Authority); err != nil {
		return fail(err)
	}
	uses := permission.Uses(p.Feeds, p.Optional)
	all := permission.Uses(p.Feeds, true)
	c := Consent{
		TenantID: p.TenantID, ClientID: p.ClientID, Cloud: p.Cloud, Name: p.Name, At: p.At.UTC().Truncate(time.Second),
		Feeds: []ConsentFeed{}, Permissions: []Asked{}, LeftOut: []Asked{}, Excess: []Excess{}, Source: p.Source, Consenter: consenter(uses),
		Portal: clouds[p.Cloud].portal,
	}
	if c.Portal == "" {
		c.Portal = clouds["public"].portal
	}
	if p.ClientID != "" {
		c.Link = p.Authority + "/" + p.TenantID + "/adminconsent?client_id=" + p.ClientID
	}
	for _, f := range p.Feeds {
		asks := slices.ContainsFunc(uses, func(u permission.Use) bool { return slices.Contains(u.Feeds, f.Name) })
		c.Feeds = append(c.Feeds, ConsentFeed{f.Name, f.Title, f.Planned, asks})
	}
	for _, u := range all {
		if slices.ContainsFunc(uses, func(x permission.Use) bool { return x.Permission == u.Permission }) {
			c.Permissions = append(c.Permissions, p.asked(u))
		} else {
			c.LeftOut = append(c.LeftOut, p.asked(u))
		}
	}
	if p.Source != "" {
		for _, x := range permission.Excess(p.Granted, uses) {
			c.Excess = append(c.Excess, Excess{x.API.Name, x.Name, whyExcess(x, uses, all)})
		}
	}
	return c, nil
}

func (p Pack) asked(u permission.Use) Asked {
	w := known[u.Name]
	a := Asked{
		API: u.API.Name, APIID: u.API.AppID, Name: u.Name, ID: u.ID, To: u.To, Without: u.Without, Optional: u.Optional, Feeds: u.Feeds,
		Enough: []string{}, Opens: w.Opens, Cannot: w.Cannot, Least: w.Least, Writes: w.Writes, State: Unknown,
	}
	if u.Name == auditLog {
		a.Opens += " " + p.keeps()
	}
	for _, e := range u.Enough {
		a.Enough = append(a.Enough, e.Name)
	}
	if p.Source == "" {
		return a
	}
	switch by, ok := u.Met(p.Granted); {
	case !ok:
		a.State = Missing
	case by == u.Permission:
		a.State = Granted
	default:
		a.State, a.By = Broader, by.Name
	}
	return a
}

// auditLog is the permission that opens the audit log.
const auditLog = "ActivityFeed.Read"

// keeps says what of the audit log stays in the database, by the setting in force.
func (p Pack) keeps() string {
	if len(p.Sites) == 0 {
		return "reeve is set to keep all of it: the records of mailboxes and people, and of every site, everybody's OneDrive included. feeds.audit.org-urls would limit the sites, and is empty."
	}
	return "reeve reads all of it, and drops the records of sites other than those in feeds.audit.org-urls (" + list(p.Sites) + "); the records of mailboxes and people are always kept."
}

// whyExcess says why a permission is not needed.
func whyExcess(p permission.Permission, uses, all []permission.Use) string {
	for _, u := range uses {
		if slices.Contains(u.Enough, p) {
			return "It does for " + u.Name + ", and opens more. Give that one first, and take this one back then."
		}
	}
	for _, u := range all {
		if u.Permission == p {
			return "Optional, and not asked for here: " + u.Without
		}
	}
	for _, f := range permission.Feeds() {
		for _, n := range f.Needs {
			if n.Permission == p {
				return "The feed " + f.Name + " needs it, which is not among those chosen here."
			}
		}
	}
	return "No feed of reeve's needs it. Take it back, unless somebody else uses this application."
}

// Writing lists the permissions that let reeve change something.
func (c Consent) Writing() []string {
	var names []string
	for _, a := range c.Permissions {
		if a.Writes {
			names = append(names, a.Name)
		}
	}
	return names
}

// Has reports whether a permission is asked for.
func (c Consent) Has(name string) bool {
	return slices.ContainsFunc(c.Permissions, func(a Asked) bool { return a.Name == name })
}

// Count is how many permissions stand so.
func (c Consent) Count(s State) int {
	n := 0
	for _, a := range c.Permissions {
		if a.State == s {
			n++
		}
	}
	return n
}

// Class is the state's name in the style sheet.
func (s State) Class() string {
	if s == Granted || s == Missing {
		return string(s)
	}
	return ""
}

var (
	consentHTML     = template.Must(template.New("consent.html").Funcs(template.FuncMap{"list": list}).ParseFS(templates, "templates/consent.html"))
	consentMarkdown = texttemplate.Must(texttemplate.New("consent.md").Funcs(texttemplate.FuncMap{"md": escapeMarkdown, "list": list}).ParseFS(templates, "templates/consent.md"))
)

// list names several things.
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// HTML writes one page that needs nothing else.
func (c Consent) HTML() ([]byte, error) {
	var b bytes.Buffer
	if err := consentHTML.Execute(&b, c); err != nil {
		return nil, fmt.Errorf("writing the consent pack: %w", err)
	}
	return b.Bytes(), nil
}

// Markdown writes the same as text.
func (c Consent) Markdown() ([]byte, error) {
	var b bytes.Buffer
	if err := consentMarkdown.Execute(&b, c); err != nil {
		return nil, fmt.Errorf("writing the consent pack: %w", err)
	}
	return b.Bytes(), nil
}
