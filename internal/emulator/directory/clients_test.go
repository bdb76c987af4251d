package directory_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

func TestMicrosoftClients(t *testing.T) {
	d := directory.New(uuid.NewString(), "contoso.onmicrosoft.com", "Contoso", time.Now, time.Minute)
	d.AddMicrosoftServices(uuid.NewString, "contoso.sharepoint.com", time.Now())
	d.AddMicrosoftClients(uuid.NewString, time.Now())
	v := d.View(0)
	for _, id := range []string{directory.AzureCLI, directory.AzurePowerShell, directory.GraphCommandLine} {
		p, ok := v.ServicePrincipalByAppID(id)
		if !ok || !p.AccountEnabled || !slices.Contains(p.ReplyURLs, "http://localhost") {
			t.Errorf("the client %s is %+v", id, p)
		}
		if _, ok := v.ApplicationByAppID(id); ok {
			t.Errorf("the client %s is registered in this tenant", id)
		}
		graph, _ := v.ServicePrincipalByAppID(directory.Graph)
		scopes := directory.Preauthorized(id, directory.Graph)
		if len(scopes) == 0 {
			t.Errorf("the client %s may do nothing", id)
		}
		for _, s := range scopes {
			if !slices.ContainsFunc(graph.OAuth2PermissionScopes, func(p directory.PermissionScope) bool { return p.Value == s }) {
				t.Errorf("Graph has no permission %s", s)
			}
		}
	}
	if directory.IsPublicClient(directory.Graph) || directory.Preauthorized(directory.Graph, directory.Graph) != nil {
		t.Error("a service passes for a public client")
	}
	if p, ok := v.Resource("api://AzureADTokenExchange"); !ok || p.AppID != directory.TokenExchange {
		t.Errorf("the token exchange is %+v", p)
	}
}

func TestResourceGoesByNamesOfNow(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	d := directory.New(uuid.NewString(), "contoso.onmicrosoft.com", "Contoso", func() time.Time { return now }, time.Hour)
	app := d.NewApplication("api")
	rename := func(name string) {
		t.Helper()
		now = now.Add(time.Minute)
		if err := d.ChangeServicePrincipal(app.AppID, func(p *directory.ServicePrincipal) error {
			p.ServicePrincipalNames = []string{name}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	rename("https://Old.example.com/")
	rename("https://new.example.com")
	for _, test := range []struct {
		name string
		lag  time.Duration
		want bool
	}{
		{"https://new.example.com", 0, true},
		{"HTTPS://NEW.example.com/", 0, true},
		{"https://old.example.com", 0, false},
		{app.AppID, 0, false},
		{"https://old.example.com", 30 * time.Second, true},
		{"https://new.example.com", 30 * time.Second, false},
		{strings.ToUpper(app.AppID), 90 * time.Second, true},
	} {
		if p, ok := d.View(test.lag).Resource(test.name); ok != test.want || ok && p.AppID != app.AppID {
			t.Errorf("%s %s ago: %v, want %v", test.name, test.lag, ok, test.want)
		}
	}
}
