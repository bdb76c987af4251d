package origin_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/origin"
)

func hosts(t *testing.T, cloud string) *origin.Hosts {
	t.Helper()
	names, ok := origin.LookupCloud(cloud)
	if !ok {
		t.Fatalf("there is no cloud %s", cloud)
	}
	return &origin.Hosts{
		Names: names.ForVault("Contoso-Vault"),
		Origins: origin.Origins{
			Authority: "https://127.0.0.1:1", Graph: "https://127.0.0.1:2", Vault: "https://127.0.0.1:3", Manage: "https://127.0.0.1:4",
			Logs: "https://127.0.0.1:5", Identity: "http://127.0.0.1:6", Control: "http://127.0.0.1:7",
		},
	}
}

func TestBaseIsHowTheClientReachesAnAPI(t *testing.T) {
	for _, test := range []struct{ cloud, host, api, want string }{
		{"public", "127.0.0.1:2", origin.Graph, "https://127.0.0.1:2"},
		{"public", "127.0.0.1:2", origin.Authority, "https://127.0.0.1:1"},
		{"public", "localhost:2", origin.Identity, "http://127.0.0.1:6"},
		{"public", "localhost:2", origin.Control, "http://127.0.0.1:7"},
		{"public", "graph.microsoft.com", origin.Graph, "https://graph.microsoft.com"},
		{"public", "Graph.Microsoft.com:443", origin.Authority, "https://login.microsoftonline.com"},
		{"public", "sts.windows.net", origin.Authority, "https://sts.windows.net"},
		{"public", "login.windows.net", origin.Vault, "https://contoso-vault.vault.azure.net"},
		{"public", "graph.microsoft.us", origin.Graph, "https://127.0.0.1:2"},
		{"", "manage.office.com", origin.Logs, "https://api.loganalytics.azure.com"},
		{"usgov", "graph.microsoft.us", origin.Vault, "https://contoso-vault.vault.usgovcloudapi.net"},
		{"usgovdod", "dod-graph.microsoft.us", origin.Manage, "https://manage.protection.apps.mil"},
		{"china", "contoso-vault.vault.azure.cn", origin.Authority, "https://login.chinacloudapi.cn"},
	} {
		r := &http.Request{Host: test.host}
		if got := hosts(t, test.cloud).Base(r, test.api); got != test.want {
			t.Errorf("%s, to %s, %s: %s, want %s", test.cloud, test.host, test.api, got, test.want)
		}
	}
	if _, ok := origin.LookupCloud("mars"); ok {
		t.Error("there is a cloud mars")
	}
}

func TestHostsOfTheCloudLeadToTheirAPI(t *testing.T) {
	h := hosts(t, "public")
	for host, want := range map[string]string{
		"login.microsoftonline.com": "127.0.0.1:1", "Graph.Microsoft.Com": "127.0.0.1:2", "contoso-vault.vault.azure.net": "127.0.0.1:3",
		"manage.office.com": "127.0.0.1:4", "api.loganalytics.io": "127.0.0.1:5",
		"another.vault.azure.net": "", "graph.microsoft.us": "", "example.com": "", "": "", "127.0.0.1": "",
	} {
		if _, address, ok := h.API(host); address != want || ok != (want != "") {
			t.Errorf("%q leads to %q, want %q", host, address, want)
		}
	}
	want := []string{"https://127.0.0.1:5", "https://api.loganalytics.azure.com", "https://api.loganalytics.io", "https://api.applicationinsights.io"}
	if diff := cmp.Diff(want, h.Bases(origin.Logs)); diff != "" {
		t.Error(diff)
	}
}
