package logs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/reeve365/reeve/internal/emulator"
	"github.com/reeve365/reeve/internal/emulator/emulatortest"
	"github.com/reeve365/reeve/internal/emulator/tenant"
)

// The demo client of a whole tenant gets tokens for both APIs, without any
// permission in them, and may query both resources with them.
func TestWholeTenant(t *testing.T) {
	tn, err := tenant.New(tenant.Options{Seed: 1, Users: 200, Days: 7, PerUser: 1, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	w := emulatortest.StartTenant(t, tn, func(o *emulator.Options) { o.Calm = true })
	for _, test := range []struct{ path, audience, query string }{
		{"/v1/workspaces/" + tn.WorkspaceID + "/query", "https://api.loganalytics.io", "AppPageViews | order by TimeGenerated asc"},
		{"/v1/apps/" + tn.AppInsightsID + "/query", "https://api.applicationinsights.io", "pageViews | order by timestamp asc"},
	} {
		a := w.Do(t, http.MethodPost, w.Origins().Logs+test.path, `{"query":"`+test.query+`"}`,
			"Content-Type", "application/json", "Authorization", "Bearer "+w.Token(t, test.audience))
		if a.Status != http.StatusOK || !strings.Contains(a.Text, tn.Audit.People()[0]) || !strings.Contains(a.Text, tn.Audit.SharePointHost()) {
			t.Errorf("%s: %d %.300s", test.path, a.Status, a.Text)
		}
	}
}
