package emulator

import (
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

// identityPath is where App Service serves its identity endpoint.
const identityPath = "/msi/token"

// identity is the managed identity endpoint that App Service gives a web app:
// GET with api-version 2019-08-01 and a secret header, plain HTTP. Its tokens
// are for the web app's own principal, which has no credential to keep.
func (e *Emulator) identity() origin.API {
	return origin.API{
		Name:    origin.Identity,
		Handler: http.HandlerFunc(e.serveIdentity),
		Operation: func(r *http.Request) string {
			if r.Method == http.MethodGet && r.URL.Path == identityPath {
				return "token"
			}
			return ""
		},
		Operations: []origin.Operation{{
			Name: "token", Request: "GET " + identityPath,
			Source: "https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference",
		}},
		Refuse: func(w http.ResponseWriter, r *http.Request, f origin.Failure) {
			writeIdentityError(w, f.Status, f.Text)
		},
	}
}

func (e *Emulator) serveIdentity(w http.ResponseWriter, r *http.Request) {
	header := r.Header.Get("X-IDENTITY-HEADER")
	if subtle.ConstantTimeCompare([]byte(header), []byte(e.kept.IdentityHeader)) != 1 {
		// The header keeps a web app from being tricked into asking for
		// others. Which status its lack gives is not documented.
		writeIdentityError(w, http.StatusUnauthorized, "The X-IDENTITY-HEADER is missing or wrong.")
		return
	}
	query := r.URL.Query()
	principal, ok := e.tenant.ManagedIdentity()
	resource, known := e.tenant.Directory.View(0).Resource(query.Get("resource"))
	switch {
	case query.Get("api-version") != "2019-08-01":
		writeIdentityError(w, http.StatusBadRequest, "The api-version must be 2019-08-01.")
		return
	case query.Get("resource") == "":
		writeIdentityError(w, http.StatusBadRequest, "The parameter resource is missing.")
		return
	case !ok, !ownIdentity(principal.AppID, query.Get("client_id")),
		!ownIdentity(principal.ID, query.Get("principal_id")), query.Has("mi_res_id"):
		writeIdentityError(w, http.StatusBadRequest, "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.")
		return
	case !known:
		writeIdentityError(w, http.StatusBadRequest, "AADSTS500011: The resource principal named "+origin.Printable(query.Get("resource"))+" was not found in the tenant named "+e.tenant.DisplayName+".")
		return
	}
	issued, err := e.entra.IssueToIdentity(principal, resource, query.Get("resource"))
	if err != nil {
		e.cloud.Log.Error("answering a request for a token", "error", err)
		writeIdentityError(w, http.StatusInternalServerError, "An internal server error has occurred.")
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	origin.WriteJSON(w, http.StatusOK, map[string]any{
		"access_token": issued.Text, "token_type": "Bearer",
		"expires_on": strconv.FormatInt(issued.Expires.Unix(), 10),
		"resource":   query.Get("resource"), "client_id": principal.AppID,
	})
}

// ownIdentity reports whether the web app has the identity that was asked for;
// without a name it is its own.
func ownIdentity(own, asked string) bool { return asked == "" || strings.EqualFold(own, asked) }

func writeIdentityError(w http.ResponseWriter, status int, text string) {
	origin.WriteJSON(w, status, map[string]any{"statusCode": status, "message": text})
}
