package m365_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

const atGraph = "https://graph.microsoft.com"

// graph calls Graph as an application with permissions of Graph.
func (w *tenantWorld) graph(t *testing.T, method, path, body string, permissions ...string) string {
	t.Helper()
	for _, p := range permissions {
		if err := w.Tenant.Directory.GrantRole(w.app.AppID, directory.Graph, p); err != nil {
			t.Fatal(err)
		}
	}
	w.Tenant.Directory.Settle()
	return w.as(t, w.app.AppID, atGraph, method, w.Origins().Graph+"/v1.0"+path, body)
}

const writeAll = "Application.ReadWrite.All"

// listed sets the key credentials of the application.
func listed(keys func(t *testing.T, w *tenantWorld) string) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodPatch, "/applications/"+w.app.ID, `{"keyCredentials": [`+keys(t, w)+`]}`, writeAll)
	}
}

func der(cert []byte) string { return base64.StdEncoding.EncodeToString(cert) }

// kept is the key credential that the application has, and added another one.
func (w *tenantWorld) kept(t *testing.T) string {
	t.Helper()
	app, _ := w.Tenant.Directory.View(0).Application(w.app.ID)
	return fmt.Sprintf(`{"keyId": %q}`, app.KeyCredentials[0].KeyID)
}

func (w *tenantWorld) added(more string) string {
	return `{"type": "AsymmetricX509Cert", "usage": "Verify", "key": "` + der(otherPair().Certificate.Raw) + `"` + more + `}`
}

// assigned grants the application a permission of an API.
func assigned(change func(t *testing.T, w *tenantWorld, grant map[string]string)) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		view := w.Tenant.Directory.View(0)
		own, _ := view.ServicePrincipalByAppID(w.app.AppID)
		api, _ := view.ServicePrincipalByAppID(directory.ManagementAPIs)
		grant := map[string]string{"principalId": own.ID, "resourceId": api.ID, "appRoleId": api.AppRoles[0].ID}
		for _, r := range api.AppRoles {
			if r.Value == "ActivityFeed.Read" {
				grant["appRoleId"] = r.ID
			}
		}
		change(t, w, grant)
		body, err := json.Marshal(grant)
		if err != nil {
			t.Fatal(err)
		}
		return w.graph(t, http.MethodPost, "/servicePrincipals/"+api.ID+"/appRoleAssignedTo", string(body), writeAll, "AppRoleAssignment.ReadWrite.All")
	}
}

// limited is the tenant with a policy about certificates of applications.
func limited(restriction string, p provocation) provocation {
	return alone(func(t *testing.T, w *tenantWorld) string {
		if err := w.Tenant.Directory.Update(func(u *directory.Update) error {
			u.PutManagementPolicy(&directory.ManagementPolicy{ID: directory.DefaultPolicyID, Definition: json.RawMessage(
				`{"isEnabled": true, "applicationRestrictions": {"keyCredentials": [` + restriction + `]}}`)})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return p(t, w)
	})
}

// unkind is a tenant in which the oddities happen, without delays.
func unkind(t *testing.T) *tenantWorld {
	t.Helper()
	clock := emulatortest.NewClock(time.Now().Truncate(time.Second))
	w := &tenantWorld{World: emulatortest.Start(t, clock.Now, func(o *emulator.Options) { o.Calm = false }), clock: clock}
	w.SetDelays(origin.Delays{})
	return w.withApp(t)
}

// until asks again and again until what comes back holds a text.
func until(t *testing.T, text string, ask func() string) string {
	t.Helper()
	answer := ""
	for range 300 {
		if answer = ask(); strings.Contains(answer, text) {
			return answer
		}
	}
	t.Fatalf("%s does not come, and at last %s", text, answer)
	return ""
}

var newKey = listed(func(t *testing.T, w *tenantWorld) string { return w.added("") })

var provokedGraph = map[string]provocation{
	"Forbidden: license": alone(func(t *testing.T, w *tenantWorld) string {
		w.SetServices(emulator.Services{Unlicensed: true})
		return w.graph(t, http.MethodGet, "/teams", "", "Team.ReadBasic.All")
	}),
	"InvalidAuthenticationToken: expired": func(t *testing.T, w *tenantWorld) string {
		w.Inject(emulator.Fault{API: "graph", Kind: emulator.ExpiredToken, Times: 1})
		return w.graph(t, http.MethodGet, "/organization", "")
	},
	"InvalidAuthenticationToken: udience": func(t *testing.T, w *tenantWorld) string {
		return w.as(t, w.app.AppID, manage, http.MethodGet, w.Origins().Graph+"/v1.0/organization", "")
	},
	"InvalidAuthenticationToken": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, http.MethodGet, w.Origins().Graph+"/v1.0/organization", "")
	},
	"Authentication_MissingOrMalformed: /addKey": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodPost, "/applications/"+w.app.ID+"/addKey", `{"keyCredential": `+w.added("")+`, "passwordCredential": null, "proof": "x"}`, writeAll)
	},
	"Authentication_MissingOrMalformed": func(t *testing.T, w *tenantWorld) string {
		text := w.graph(t, http.MethodPost, "/applications/"+w.app.ID+"/addKey", `{"keyCredential": `+w.added("")+`, "passwordCredential": null, "proof": "x"}`, writeAll)
		return text[strings.Index(text, "{"):] // the body alone does not tell
	},
	"Authorization_RequestDenied": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodPatch, "/applications/"+w.app.ID, `{"displayName": "x"}`)
	},
	"BadRequest: /me request": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodGet, "/me", "", "User.Read.All")
	},

	"Request_ResourceNotFound": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodGet, "/applications/"+uuid.NewString(), "", writeAll)
	},
	"Request_MultipleObjectsWithSameKeyValue": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodPost, "/servicePrincipals", `{"appId": "`+w.app.AppID+`"}`, writeAll)
	},
	"Directory_ConcurrencyViolation": func(t *testing.T, _ *tenantWorld) string {
		w := unkind(t)
		if err := w.Tenant.Directory.GrantRole(w.app.AppID, directory.Graph, writeAll); err != nil {
			t.Fatal(err)
		}
		token := w.patientToken(t, atGraph)
		return until(t, "ConcurrencyViolation", func() string {
			return w.try(t, http.MethodPatch, w.Origins().Graph+"/v1.0/applications/"+w.app.ID, `{"displayName": "x"}`, token)
		})
	},
	"KeyCredentialsInvalidValue: There is no key credential with KeyId": listed(func(t *testing.T, w *tenantWorld) string {
		return `{"type": "AsymmetricX509Cert", "usage": "Verify", "keyId": "` + uuid.NewString() + `"}`
	}),
	"Request_BadRequest: Update to existing credential": listed(func(t *testing.T, w *tenantWorld) string {
		return strings.TrimSuffix(w.kept(t), "}") + `, "displayName": "another"}`
	}),
	"Request_BadRequest: conflicting key identifier": listed(func(t *testing.T, w *tenantWorld) string {
		return w.kept(t) + "," + w.added("") + "," + w.added("")
	}),
	"Request_BadRequest: No key credential found": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodPost, "/applications/"+w.app.ID+"/removeKey", `{"keyId": "`+uuid.NewString()+`", "proof": "`+w.keyProof(t)+`"}`, writeAll)
	},
	"Request_BadRequest: Permission being assigned already exists": func(t *testing.T, w *tenantWorld) string {
		again := assigned(func(*testing.T, *tenantWorld, map[string]string) {})
		again(t, w)
		return again(t, w)
	},
	"Request_BadRequest: Permission being assigned was not found": assigned(func(_ *testing.T, _ *tenantWorld, g map[string]string) { g["appRoleId"] = uuid.NewString() }),
	"Request_BadRequest: Not a valid reference update":            assigned(func(_ *testing.T, _ *tenantWorld, g map[string]string) { g["principalId"] = uuid.NewString() }),
	"KeyCredentialsInvalidValue":                                  listed(func(*testing.T, *tenantWorld) string { return `{"type": "AsymmetricX509Cert", "usage": "Verify"}` }),
	"KeyCredentialsInvalidStartDate":                              listed(func(_ *testing.T, w *tenantWorld) string { return w.added(`, "startDateTime": "2001-01-01T00:00:00Z"`) }),
	"KeyCredentialsInvalidEndDate":                                listed(func(_ *testing.T, w *tenantWorld) string { return w.added(`, "endDateTime": "2099-01-01T00:00:00Z"`) }),
	"Request_BadRequest": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodPatch, "/applications/"+w.app.ID, `{"colour": "blue"}`, writeAll)
	},

	"CredentialInvalidLifetimeAsPerAppPolicy": limited(`{"restrictionType": "asymmetricKeyLifetime", "state": "enabled", "maxLifetime": "P30D"}`, newKey),
	"CredentialTypeNotAllowedAsPerAppPolicy": limited(`{"restrictionType": "trustedCertificateAuthority", "state": "enabled", "certificateBasedApplicationConfigurationIds": ["`+
		uuid.NewString()+`"]}`, newKey),
	"Directory_ResourceSizeExceeded": listed(func(t *testing.T, w *tenantWorld) string {
		w.changed(t, func(a *directory.Application) {
			for range 700 {
				k := a.KeyCredentials[0]
				k.KeyID = uuid.NewString()
				a.KeyCredentials = append(a.KeyCredentials, k)
			}
		})
		app, _ := w.Tenant.Directory.View(0).Application(w.app.ID)
		var all []string
		for _, k := range app.KeyCredentials {
			all = append(all, fmt.Sprintf(`{"keyId": %q}`, k.KeyID))
		}
		return strings.Join(append(all, w.added("")), ",")
	}),

	"Request_UnsupportedQuery": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodGet, "/applications?$search=%22displayName:x%22", "", writeAll)
	},
	"Directory_ExpiredPageToken": func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodGet, "/applications?$skiptoken=x", "", writeAll)
	},

	"TooManyRequests": failing("graph", "", emulator.Throttle, func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodGet, "/organization", "")
	}),
	"serviceNotAvailable": failing("graph", "", emulator.Unavailable, func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodGet, "/organization", "")
	}),
	"generalException": failing("graph", "", emulator.ServerError, func(t *testing.T, w *tenantWorld) string {
		return w.graph(t, http.MethodGet, "/organization", "")
	}),
}

// keyProof is a good proof of possession.
func (w *tenantWorld) keyProof(t *testing.T) string {
	t.Helper()
	a := w.assertion()
	now := w.clock.Now()
	a.header["x5t"] = base64.RawURLEncoding.EncodeToString(directory.Thumbprint(w.own.Certificate.Raw))
	a.claims = map[string]any{"aud": "00000002-0000-0000-c000-000000000000", "iss": w.app.ID, "nbf": now.Unix(), "exp": now.Unix() + 600}
	return a.signed(t)
}

// patientToken asks for a token until nothing goes wrong by itself.
func (w *tenantWorld) patientToken(t *testing.T, resource string) string {
	t.Helper()
	form := set(w.bySecret(t), "scope", resource+"/.default")
	for range 50 {
		text := w.try(t, http.MethodPost, w.tokenURL(), form.Encode(), "")
		var body struct {
			AccessToken string `json:"access_token"`
		}
		if _, answer, ok := strings.Cut(text, "{"); ok && json.Unmarshal([]byte("{"+answer), &body) == nil && body.AccessToken != "" {
			return body.AccessToken
		}
	}
	t.Fatal("no token")
	return ""
}

// try is ask, which may fail; nothing comes back then.
func (w *tenantWorld) try(t *testing.T, method, address, body, token string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := w.HTTPClient().Do(r)
	if err != nil {
		return ""
	}
	return method + " " + address + " " + read(resp)
}
