package entra

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// page is what a browser shows. All pages are forms without scripts, which come
// back by POST to the address that they were shown at.
type page struct {
	Tenant string
	Title  string
	Text   string
	Action template.URL // where the form goes, or "" for here
	List   []string     // permissions
	People []person     // to pick from
	Hidden []field
	Input  string // name of a text field
	Values []button
}

type person struct {
	Name, Address string
	Picked        bool
}

type field struct{ Name, Value string }

type button struct{ Decision, Label string }

var pages = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{.Title}} - emulated tenant</title>
<style>body{font:16px/1.5 sans-serif;max-width:34em;margin:3em auto;padding:0 1em}label{display:block}aside{background:#fe9;padding:.5em}</style></head>
<body>
<aside>This is an emulated tenant: {{.Tenant}}. Its people are fictional. Never type a real password here.</aside>
<h1>{{.Title}}</h1>
{{with .Text}}<p>{{.}}</p>{{end}}
{{with .List}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
{{if .Values}}<form method="post"{{with .Action}} action="{{.}}"{{end}}>
{{range .Hidden}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}{{with .Input}}<label>Code <input name="{{.}}" autocomplete="off" required></label>
{{end}}{{range .People}}<label><input type="radio" name="user" value="{{.Address}}"{{if .Picked}} checked{{end}} required> {{.Name}} ({{.Address}})</label>
{{end}}<p>{{range .Values}}<button name="decision" value="{{.Decision}}"{{if eq .Decision "decline"}} formnovalidate{{end}}>{{.Label}}</button> {{end}}</p>
</form>{{end}}
</body></html>
`))

func (e *API) writePage(w http.ResponseWriter, status int, p page) {
	p.Tenant = e.Directory.DisplayName
	var b bytes.Buffer
	if err := pages.Execute(&b, p); err != nil {
		e.Cloud.Log.Error("making a page", "error", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	entraHeaders(w)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // The browser is gone when this fails.
}

// writeErrorPage shows a refusal that nobody but the person hears of.
func (e *API) writeErrorPage(w http.ResponseWriter, err error) {
	no := e.asRefusal(err)
	e.writePage(w, refusals[no.code].status, page{Title: "Sorry, but we're having trouble signing you in", Text: no.Error()})
}

func codeText(code int) string { return strconv.Itoa(code) }

// mostPeople is how many people a page offers.
const mostPeople = 20

// people returns those whom a page offers: administrators first, and whom hint
// names in any case.
func (e *API) people(hint string) []person {
	v := e.Directory.View(0)
	users := slices.DeleteFunc(v.Users(), func(u *directory.User) bool { return !u.AccountEnabled })
	rank := map[string]int{}
	for _, u := range users {
		switch {
		case strings.EqualFold(u.UserPrincipalName, hint):
			rank[u.ID] = 0
		case len(v.DirectoryRoles(u.ID)) > 0:
			rank[u.ID] = 1
		default:
			rank[u.ID] = 2
		}
	}
	slices.SortStableFunc(users, func(a, b *directory.User) int { return rank[a.ID] - rank[b.ID] })
	var all []person
	for _, u := range users[:min(len(users), mostPeople)] {
		all = append(all, person{u.DisplayName, u.UserPrincipalName, strings.EqualFold(u.UserPrincipalName, hint)})
	}
	return all
}

func (e *API) writeSignInPage(w http.ResponseWriter, q question, hidden []field) {
	e.writePage(w, http.StatusOK, page{
		Title: "Pick an account", Text: fmt.Sprintf("to continue to %s", q.client.sp.DisplayName),
		People: e.people(q.hint), Hidden: hidden,
		Values: []button{{"", "Sign in"}, {"decline", "Cancel"}},
	})
}

func (e *API) writeConsentPage(w http.ResponseWriter, c client, u *directory.User, scopes []string, more ...field) {
	e.writePage(w, http.StatusOK, page{
		Title: "Permissions requested", Text: fmt.Sprintf("%s asks %s for:", c.sp.DisplayName, u.UserPrincipalName), List: scopes,
		Hidden: append(more, field{"user", u.UserPrincipalName}),
		Values: []button{{"consent", "Accept"}, {"decline", "Cancel"}},
	})
}

// writeReturnPage is form_post, which real pages do by a script.
func (e *API) writeReturnPage(w http.ResponseWriter, target string, answer url.Values) {
	p := page{Title: "Continue", Text: "The answer goes back to the application.", Action: template.URL(target), Values: []button{{"", "Continue"}}} // The address is registered.
	for name := range answer {
		p.Hidden = append(p.Hidden, field{name, answer.Get(name)})
	}
	slices.SortFunc(p.Hidden, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	e.writePage(w, http.StatusOK, p)
}
