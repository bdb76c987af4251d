package emulator_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/emulatortest"
)

func TestResources(t *testing.T) {
	clock := emulatortest.NewClock(time.Now())
	w := emulatortest.Start(t, clock.Now)
	at := w.Origins().Resources
	manager := w.Token(t, "https://management.azure.com/")
	other := w.Token(t, "https://graph.microsoft.com")
	const version = "?api-version=2019-11-01"
	for _, c := range []struct {
		name, method, path, token string
		status                    int
		code                      string
	}{
		{"subscriptions", "GET", "/subscriptions" + version, manager, http.StatusOK, ""},
		{"in any case", "GET", "/Subscriptions/" + version, manager, http.StatusOK, ""},
		{"tenants", "GET", "/tenants" + version, manager, http.StatusOK, ""},
		{"by its other name", "GET", "/tenants" + version, w.Token(t, "https://management.core.windows.net/"), http.StatusOK, ""},
		{"without a token", "GET", "/subscriptions" + version, "", http.StatusUnauthorized, "AuthenticationFailed"},
		{"another's token", "GET", "/subscriptions" + version, other, http.StatusUnauthorized, "AuthenticationFailed"},
		{"without a version", "GET", "/subscriptions", manager, http.StatusBadRequest, "MissingApiVersionParameter"},
		{"a version that is none", "GET", "/subscriptions?api-version=7.3", manager, http.StatusBadRequest, "InvalidApiVersionParameter"},
		{"what is not emulated", "GET", "/subscriptions/x" + version, manager, http.StatusNotImplemented, "NotImplemented"},
		{"writing", "PUT", "/subscriptions" + version, manager, http.StatusNotImplemented, "NotImplemented"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var header []string
			if c.token != "" {
				header = []string{"Authorization", "Bearer " + c.token}
			}
			a := w.Do(t, c.method, at+c.path, "", header...)
			failure, _ := a.Body["error"].(map[string]any)
			if code, _ := failure["code"].(string); a.Status != c.status || code != c.code {
				t.Errorf("%d %s, want %d %s", a.Status, a.Text, c.status, c.code)
			}
		})
	}
	a := w.Do(t, "GET", at+"/tenants"+version, "", "Authorization", "Bearer "+manager)
	if value, _ := a.Body["value"].([]any); len(value) != 1 || value[0].(map[string]any)["tenantId"] != w.Tenant.ID {
		t.Errorf("the tenants are %s, want %s", a.Text, w.Tenant.ID)
	}
	clock.Add(48 * time.Hour)
	if a := w.Do(t, "GET", at+"/tenants"+version, "", "Authorization", "Bearer "+manager); a.Status != http.StatusUnauthorized {
		t.Errorf("with a token that has expired: %d, want 401", a.Status)
	}
}
