package clients_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// testCurl does by hand what the SDKs do, with curl, once by the addresses on
// this machine and once by Microsoft's through the proxy.
func testCurl(t *testing.T, w *world) {
	for name, at := range map[string]struct {
		authority, graph, manage, logs string
		// A subscription can be started again after a quarter of an hour only.
		contentType string
		args        []string
	}{
		"directly": {w.Origins().Authority, w.Origins().Graph, w.Origins().Manage, w.Origins().Logs, "DLP.All", nil},
		"through the proxy": {
			"https://login.microsoftonline.com", "https://graph.microsoft.com", "https://manage.office.com", "https://api.applicationinsights.io",
			"Audit.General", []string{"--proxy", w.variable(t, "PROXY_URL")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Decodes the answer into into unless that is nil.
			curl := func(into any, args ...string) {
				t.Helper()
				args = append([]string{"--silent", "--show-error", "--fail-with-body", "--max-time", "30"}, args...)
				out, err := w.command(t, "curl", append(args, at.args...)...).Output()
				if err == nil && into != nil {
					err = json.Unmarshal(out, into)
				}
				if err != nil {
					t.Fatalf("%s: %v: %s", args[len(args)-1], err, out)
				}
			}
			bearer := func(resource string) string {
				t.Helper()
				var token struct {
					AccessToken string `json:"access_token"`
					ExpiresIn   int    `json:"expires_in"`
				}
				curl(&token,
					"--data-urlencode", "grant_type=client_credentials", "--data-urlencode", "client_id="+w.clientID(),
					"--data-urlencode", "client_secret="+w.secret, "--data-urlencode", "scope="+resource+"/.default",
					at.authority+"/"+w.Tenant.ID+"/oauth2/v2.0/token")
				if token.ExpiresIn < 1800 {
					t.Errorf("the token ends in %d s", token.ExpiresIn)
				}
				return "Authorization: Bearer " + token.AccessToken
			}
			var keys struct{ Keys []struct{ Kid string } }
			curl(&keys, at.authority+"/"+w.Tenant.ID+"/discovery/v2.0/keys")
			if len(keys.Keys) == 0 {
				t.Error("there are no keys by which tokens can be verified")
			}
			curl(nil, at.authority+"/"+w.Tenant.ID+"/oauth2/v2.0/logout")

			token := bearer("https://graph.microsoft.com")
			seen := 0
			for next := at.graph + "/v1.0/applications"; next != ""; {
				if !strings.HasPrefix(next, at.graph+"/") {
					t.Fatalf("the next page is at %s, want it below %s", next, at.graph)
				}
				var page struct {
					Value []json.RawMessage
					Next  string `json:"@odata.nextLink"`
				}
				curl(&page, "--header", token, next)
				seen, next = seen+len(page.Value), page.Next
			}
			if n := len(w.Tenant.Directory.View(0).Applications()); seen != n {
				t.Errorf("%d applications, want %d", seen, n)
			}

			token = bearer("https://manage.office.com")
			feed := at.manage + "/api/v1.0/" + w.Tenant.ID + "/activity/feed/"
			status := func() string {
				t.Helper()
				var list []struct{ ContentType, Status string }
				curl(&list, "--header", token, feed+"subscriptions/list")
				for _, s := range list {
					if s.ContentType == at.contentType {
						return s.Status
					}
				}
				return "none"
			}
			of := "?contentType=" + at.contentType
			curl(nil, "--header", token, "--request", "POST", "--data", "", feed+"subscriptions/stop"+of)
			if got := status(); got == "enabled" {
				t.Errorf("the subscription is %s after it was stopped", got)
			}
			curl(nil, "--header", token, "--request", "POST", "--data", "", feed+"subscriptions/start"+of)
			if got := status(); got != "enabled" {
				t.Errorf("the subscription is %s after it was started", got)
			}
			var list []json.RawMessage
			curl(&list, "--header", token, feed+"subscriptions/content"+of)
			curl(&list, "--header", token, feed+"subscriptions/notifications"+of)
			curl(&list, "--header", token, feed+"resources/dlpSensitiveTypes")
			if len(list) == 0 {
				t.Error("there are no sensitive types")
			}

			token = bearer("https://api.applicationinsights.io")
			var visits struct{ Tables []struct{ Rows [][]any } }
			curl(&visits, "--header", token, "--json", `{"query": "pageViews | take 3", "timespan": "P7D"}`, at.logs+"/v1/apps/"+w.Tenant.AppInsightsID+"/query")
			if len(visits.Tables) != 1 || len(visits.Tables[0].Rows) != 3 {
				t.Errorf("the visits are %+v, want 3", visits)
			}
		})
	}
	// The proxy leads nowhere else.
	out, err := w.command(t, "curl", "--silent", "--show-error", "--max-time", "30", "--proxy", w.variable(t, "PROXY_URL"), "https://www.example.com/").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "403") {
		t.Errorf("a host of nobody's: %v %s, want the proxy to refuse it", err, out)
	}
}
