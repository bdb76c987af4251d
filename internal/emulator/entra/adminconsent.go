package entra

import (
	"net/http"
	"net/url"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// serveAdminConsent is the page on which an administrator lets an application
// have, for the whole tenant, all that its registration asks for.
func (e *API) serveAdminConsent(w http.ResponseWriter, r *http.Request) {
	if r.ParseForm() != nil {
		e.writeErrorPage(w, refuse(9002313, "Invalid request. Request is malformed or invalid."))
		return
	}
	q, err := e.readQuestion(r, r.URL.Query())
	if err != nil {
		e.writeErrorPage(w, err)
		return
	}
	q.mode = "query"
	if r.Method == http.MethodGet {
		asked := e.asked(q.client)
		e.writePage(w, http.StatusOK, page{
			Title: "Permissions requested", Text: "Review for your organization: " + q.client.sp.DisplayName + " asks for:", List: asked,
			People: e.people(""), Values: []button{{"consent", "Accept"}, {"decline", "Cancel"}},
		})
		return
	}
	if r.PostForm.Get("decision") == "decline" {
		e.send(w, r, q, url.Values{"error": {"permission_denied"}, "error_description": {"The admin canceled the request"}})
		return
	}
	u, err := e.findUser(r.PostForm.Get("user"))
	if err == nil && !e.mayConsentForAll(u, q.client) {
		err = refuse(90094, "The grant requires admin permission. %s does not have it in %s.", u.UserPrincipalName, e.Directory.DisplayName)
	}
	if err == nil {
		err = e.consentForAll(q.client)
	}
	if err != nil {
		e.writeErrorPage(w, err)
		return
	}
	e.send(w, r, q, url.Values{"admin_consent": {"True"}, "tenant": {e.Directory.TenantID}})
}

// asked returns the permissions that an application's registration asks for.
func (e *API) asked(c client) []string {
	if c.app == nil {
		return nil
	}
	var all []string
	for _, r := range c.app.RequiredResourceAccess {
		resource, ok := e.Directory.View(0).ServicePrincipalByAppID(r.ResourceAppID)
		if !ok {
			continue
		}
		for _, s := range required(c, resource) {
			all = append(all, resource.DisplayName+": "+s)
		}
		for _, role := range requiredRoles(r, resource) {
			all = append(all, resource.DisplayName+": "+role)
		}
	}
	return all
}

// requiredRoles returns the values of the roles of a resource that a
// registration asks for.
func requiredRoles(access directory.ResourceAccess, resource *directory.ServicePrincipal) []string {
	var values []string
	for _, a := range access.Access {
		for _, o := range resource.AppRoles {
			if a.Type == "Role" && o.ID == a.ID {
				values = append(values, o.Value)
			}
		}
	}
	return values
}
