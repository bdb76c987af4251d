package entra_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// device starts the device code flow of Azure's command line.
func (w *world) device(t testing.TB, set ...string) (userCode string, poll url.Values) {
	t.Helper()
	a := w.post(t, "/organizations/oauth2/v2.0/devicecode", with(url.Values{
		"client_id": {directory.AzureCLI}, "scope": {"https://graph.microsoft.com//.default openid offline_access profile"},
	}, set...))
	userCode, is := a.Body["user_code"].(string)
	if !is || !regexp.MustCompile(`^[A-Z0-9]{9}$`).MatchString(userCode) || a.Body["expires_in"] != 900.0 || a.Body["interval"] != 5.0 ||
		a.Body["verification_uri"] != w.host+"/common/oauth2/deviceauth" || !strings.Contains(a.Body["message"].(string), userCode) {
		t.Fatalf("%d %s", a.Status, a.Text)
	}
	return userCode, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {directory.AzureCLI},
		"device_code": {a.Body["device_code"].(string)},
	}
}

func TestDeviceCode(t *testing.T) {
	w := start(t)
	userCode, poll := w.device(t)
	path := "/organizations/oauth2/v2.0/token"
	checkRefusal(t, w, w.post(t, path, poll), 70016)
	ok(t, w.ApproveDeviceCode(strings.ToLower(userCode), w.admin))
	a := w.post(t, path, with(poll, "client_info", "1"))
	claims := mustToken(t, a)
	if claims["aud"] != "https://graph.microsoft.com/" || claims["appidacr"] != "0" || claims["upn"] != w.admin || !strings.Contains(claims["scp"].(string), "Application.ReadWrite.All") {
		t.Errorf("the claims are %v", claims)
	}
	if a.Body["refresh_token"] == nil || a.Body["id_token"] == nil || a.Body["client_info"] == nil {
		t.Errorf("the answer is %s", a.Text)
	}
	checkRefusal(t, w, w.post(t, path, poll), 70018) // once only

	// The refresh token opens other resources, as az needs it to.
	other := w.post(t, path, url.Values{
		"grant_type": {"refresh_token"}, "client_id": {directory.AzureCLI}, "refresh_token": {a.Body["refresh_token"].(string)},
		"scope": {"https://management.core.windows.net//.default"},
	})
	if claims := mustToken(t, other); claims["aud"] != "https://management.core.windows.net/" || claims["scp"] != "user_impersonation" {
		t.Errorf("the claims for another resource are %v", claims)
	}

	userCode, poll = w.device(t)
	ok(t, w.DeclineDeviceCode(userCode))
	checkRefusal(t, w, w.post(t, path, poll), 70017)

	userCode, poll = w.device(t)
	w.pass(15*time.Minute + time.Second)
	checkRefusal(t, w, w.post(t, path, poll), 70019)
	if err := w.ApproveDeviceCode(userCode, w.admin); err == nil || !strings.Contains(err.Error(), "AADSTS70018") {
		t.Errorf("approving too late: %v", err)
	}
}

func TestDeviceCodeOfVersion1(t *testing.T) {
	w := start(t)
	a := w.post(t, w.v1("devicecode"), url.Values{"client_id": {directory.AzureCLI}, "resource": {"https://graph.microsoft.com"}})
	if a.Body["verification_url"] == nil || a.Body["expires_in"] != "900" {
		t.Fatalf("%d %s", a.Status, a.Text)
	}
	ok(t, w.ApproveDeviceCode(a.Body["user_code"].(string), w.admin))
	a = w.post(t, w.v1("token"), url.Values{"grant_type": {"device_code"}, "client_id": {directory.AzureCLI}, "code": {a.Body["device_code"].(string)}, "resource": {"https://graph.microsoft.com"}})
	if mustToken(t, a)["aud"] != "https://graph.microsoft.com" || a.Body["expires_in"] != "3599" || a.Body["refresh_token"] == nil {
		t.Errorf("%d %s", a.Status, a.Text)
	}
}

func TestDevicePage(t *testing.T) {
	w := start(t)
	const page = "/common/oauth2/deviceauth"
	if a := w.get(t, page); a.Status != 200 || !strings.Contains(a.Text, `name="user_code"`) || !strings.Contains(a.Text, "emulated tenant") {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	if a := w.post(t, page, url.Values{"user_code": {"NOTACODE1"}}); a.Status != 400 || !strings.Contains(a.Text, "AADSTS70018") {
		t.Errorf("a wrong code: %d %s", a.Status, a.Text)
	}
	userCode, poll := w.device(t)
	if a := w.post(t, page, url.Values{"user_code": {userCode}}); !strings.Contains(a.Text, "Microsoft Azure CLI") || !strings.Contains(a.Text, w.admin) {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	if a := w.post(t, page, url.Values{"user_code": {userCode}, "user": {w.admin}}); !strings.Contains(a.Text, `value="consent"`) {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	checkRefusal(t, w, w.post(t, "/organizations/oauth2/v2.0/token", poll), 70016)
	if a := w.post(t, page, url.Values{"user_code": {userCode}, "user": {w.admin}, "decision": {"consent"}}); !strings.Contains(a.Text, "You have signed in") {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	mustToken(t, w.post(t, "/organizations/oauth2/v2.0/token", poll))

	userCode, poll = w.device(t)
	if a := w.post(t, page, url.Values{"user_code": {userCode}, "decision": {"decline"}}); !strings.Contains(a.Text, "Declined") {
		t.Errorf("%d %s", a.Status, a.Text)
	}
	checkRefusal(t, w, w.post(t, "/organizations/oauth2/v2.0/token", poll), 70017)
}
