package m365_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
)

// replaying is a tenant that refuses assertions that came before.
func replaying(t *testing.T, clock *emulatortest.Clock) *emulatortest.World {
	return emulatortest.Start(t, clock.Now, func(o *emulator.Options) { o.RefuseReplay = true })
}

const (
	redirect = "http://localhost"
	verifier = "a verifier that is long enough, as RFC 7636 wants"
)

func (w *tenantWorld) organizations() string {
	return w.Origins().Authority + "/organizations/oauth2/v2.0/"
}

// device begins a sign-in by device code.
func (w *tenantWorld) device(t *testing.T) (userCode string, poll url.Values) {
	t.Helper()
	a := w.PostForm(t, "/organizations/oauth2/v2.0/devicecode", url.Values{"client_id": {directory.AzureCLI}, "scope": {"https://graph.microsoft.com//.default openid"}})
	code, ok := a.Body["device_code"].(string)
	if !ok {
		t.Fatalf("no device code: %d %s", a.Status, a.Text)
	}
	return a.Body["user_code"].(string), url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {directory.AzureCLI}, "device_code": {code},
	}
}

// polled asks for the token of a device code after something has happened.
func polled(meanwhile func(t *testing.T, w *tenantWorld, userCode string)) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		code, poll := w.device(t)
		meanwhile(t, w, code)
		return w.form(t, w.organizations()+"token", poll)
	}
}

// question is the address to which a browser is sent to sign somebody in.
func (w *tenantWorld) question(t *testing.T, values ...string) string {
	t.Helper()
	w.changed(t, func(a *directory.Application) { a.PublicClient.RedirectURIs = []string{redirect} })
	sum := sha256.Sum256([]byte(verifier))
	query := set(url.Values{
		"client_id": {w.app.AppID}, "response_type": {"code"}, "redirect_uri": {redirect}, "state": {"s"},
		"scope":          {"https://graph.microsoft.com/User.Read openid offline_access"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}, values...)
	return strings.TrimSuffix(w.tokenURL(), "token") + "authorize?" + query.Encode()
}

// picked answers the page as somebody who picks an account and decides.
func picked(user, decision string, values ...string) provocation {
	return func(t *testing.T, w *tenantWorld) string {
		name := user
		switch user {
		case "admin":
			name = w.admin()
		case "somebody":
			name = w.somebody(t)
		}
		return w.form(t, w.question(t, values...), url.Values{"user": {name}, "decision": {decision}})
	}
}

func (w *tenantWorld) admin() string { return "admin@" + w.Tenant.Domain }

// somebody is a user without a role.
func (w *tenantWorld) somebody(t *testing.T) string {
	t.Helper()
	view := w.Tenant.Directory.View(0)
	for _, u := range view.Users() {
		if u.AccountEnabled && len(view.DirectoryRoles(u.ID)) == 0 {
			return u.UserPrincipalName
		}
	}
	t.Fatal("everybody has a role")
	return ""
}

// code lets an administrator sign in, and returns the form that redeems the code.
func (w *tenantWorld) code(t *testing.T) url.Values {
	t.Helper()
	text := picked("admin", "consent")(t, w)
	_, rest, _ := strings.Cut(text, redirect)
	rest, _, _ = strings.Cut(rest, " ")
	back, err := url.Parse(strings.TrimPrefix(rest, "/"))
	if err != nil || back.Query().Get("code") == "" {
		t.Fatalf("no code: %s", text)
	}
	return url.Values{
		"grant_type": {"authorization_code"}, "client_id": {w.app.AppID}, "code": {back.Query().Get("code")},
		"redirect_uri": {redirect}, "code_verifier": {verifier},
	}
}

// refreshToken lets an administrator sign in, and returns the form that asks again.
func (w *tenantWorld) refreshToken(t *testing.T) url.Values {
	t.Helper()
	text := w.form(t, w.tokenURL(), w.code(t))
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &body); err != nil || body.RefreshToken == "" {
		t.Fatalf("no refresh token: %v", err)
	}
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {w.app.AppID}, "refresh_token": {body.RefreshToken}}
}

// provokedPeople are the refusals of people.
var provokedPeople = map[string]provocation{
	"AADSTS70016": polled(func(*testing.T, *tenantWorld, string) {}),
	"AADSTS70017": polled(func(t *testing.T, w *tenantWorld, code string) {
		w.control(t, "POST", "/devicecodes/"+code+"/decline", "")
	}),
	"AADSTS70018": func(t *testing.T, w *tenantWorld) string {
		return w.form(t, w.organizations()+"token", url.Values{"grant_type": {"device_code"}, "client_id": {directory.AzureCLI}, "device_code": {"x"}})
	},
	"AADSTS70019": alone(polled(func(_ *testing.T, w *tenantWorld, _ string) { w.clock.Add(time.Hour) })),

	"AADSTS50034": picked("nobody@example.com", ""),
	"AADSTS50057": alone(func(t *testing.T, w *tenantWorld) string {
		name := w.somebody(t)
		u, _ := w.Tenant.Directory.View(0).User(name)
		blocked := *u
		blocked.AccountEnabled = false
		if err := w.Tenant.Directory.Update(func(u *directory.Update) error { u.PutUser(&blocked); return nil }); err != nil {
			t.Fatal(err)
		}
		return picked(name, "")(t, w)
	}),
	"AADSTS50058": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, http.MethodGet, w.question(t, "prompt", "none"), "")
	},
	"AADSTS50105": func(t *testing.T, w *tenantWorld) string {
		w.changedPrincipal(t, w.app.AppID, func(p *directory.ServicePrincipal) { p.AppRoleAssignmentRequired = true })
		return picked("somebody", "")(t, w)
	},

	"AADSTS65004": picked("", "decline"),
	"AADSTS90094": picked("somebody", "consent", "scope", "Application.ReadWrite.All"),
	"AADSTS65001": func(t *testing.T, w *tenantWorld) string {
		return w.form(t, w.tokenURL(), set(w.refreshToken(t), "scope", "https://graph.microsoft.com/Mail.Read"))
	},
	"AADSTS650053": picked("admin", "", "scope", "https://graph.microsoft.com/No.Such"),
	"AADSTS650057": picked("admin", "", "scope", "https://vault.azure.net/.default"),

	"AADSTS50011": func(t *testing.T, w *tenantWorld) string {
		return w.ask(t, http.MethodGet, w.question(t, "redirect_uri", "https://evil.example.com/"), "")
	},
	"AADSTS54005": func(t *testing.T, w *tenantWorld) string {
		form := w.code(t)
		w.form(t, w.tokenURL(), form)
		return w.form(t, w.tokenURL(), form)
	},
	"AADSTS70000": func(t *testing.T, w *tenantWorld) string {
		return w.form(t, w.tokenURL(), set(w.code(t), "code", "1.other"))
	},
	"AADSTS70008": alone(func(t *testing.T, w *tenantWorld) string {
		form := w.code(t)
		w.clock.Add(time.Hour)
		return w.form(t, w.tokenURL(), form)
	}),
	"AADSTS700082": alone(func(t *testing.T, w *tenantWorld) string {
		form := w.refreshToken(t)
		w.clock.Add(91 * 24 * time.Hour)
		return w.form(t, w.tokenURL(), form)
	}),
}
