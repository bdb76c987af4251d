package m365

import (
	"strings"
	"testing"
)

func TestLookupCloud(t *testing.T) {
	for name, want := range map[string][3]string{
		"":         {"https://login.microsoftonline.com", "https://graph.microsoft.com", "https://manage.office.com"},
		"public":   {"https://login.microsoftonline.com", "https://graph.microsoft.com", "https://manage.office.com"},
		"gcc":      {"https://login.microsoftonline.com", "https://graph.microsoft.com", "https://manage-gcc.office.com"},
		"gcc-high": {"https://login.microsoftonline.us", "https://graph.microsoft.us", "https://manage.office365.us"},
		"dod":      {"https://login.microsoftonline.us", "https://dod-graph.microsoft.us", "https://manage.protection.apps.mil"},
		"china":    {"https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn", "https://manage.office365.cn"},
	} {
		c, err := LookupCloud(name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got := [3]string{c.AuthorityHost, c.Graph, c.Manage}; got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
		if err := c.Check(); err != nil || !c.Listed() {
			t.Errorf("%q: Check says %v, Listed says %t", name, err, c.Listed())
		}
		for _, s := range []string{c.GraphAudience, c.ManageAudience, c.LogsAudience, c.VaultAudience, c.VaultSuffix, c.Resources, c.ResourcesAudience} {
			if s == "" {
				t.Errorf("%q has an empty audience or vault suffix: %+v", name, c)
			}
		}
	}
	if _, err := LookupCloud("mars"); err == nil || !strings.Contains(err.Error(), "gcc-high") {
		t.Errorf("got %v, want the names that there are", err)
	}
}

func TestCustomCloudHasPublicAudiences(t *testing.T) {
	c, err := LookupCloud(Custom)
	if err != nil {
		t.Fatal(err)
	}
	c.AuthorityHost = "https://127.0.0.1:9443/"
	if c.ManageAudience != "https://manage.office.com" || c.Manage != "" || c.Listed() {
		t.Errorf("got %+v, listed %t", c, c.Listed())
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestCloudCheck(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://manage.office.com":               "https only",
		"manage.office.com":                      "https://HOST",
		"https://manage.office.com/api":          "has a path",
		"https://manage.office.com?x=1":          "has a path",
		"https://user:secret@manage.office.com/": "https://HOST",
	} {
		if err := (Cloud{Manage: endpoint}).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", endpoint, err, want)
		}
	}
}
