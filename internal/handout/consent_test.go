package handout

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/permission"
)

var update = flag.Bool("update", false, "write testdata/*.golden.md anew")

func pack(t testing.TB, names ...string) Pack {
	return Pack{
		Cloud: "public", Authority: "https://login.microsoftonline.com", TenantID: aTenant, ClientID: aReader, Name: "reeve",
		At: time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC), Feeds: feeds(t, names...),
	}
}

func mustConsent(t testing.TB, p Pack) Consent {
	t.Helper()
	c, err := p.Consent()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whoever consents is told of each permission what it opens and what it does not.
func TestEveryPermissionHasWords(t *testing.T) {
	seen := map[string]bool{}
	for _, u := range permission.Uses(permission.Feeds(), true) {
		w, ok := known[u.Name]
		seen[u.Name] = true
		if !ok || !strings.HasSuffix(w.Opens, ".") || !strings.HasSuffix(w.Least, ".") || w.Cannot == "" || strings.HasSuffix(w.Cannot, ".") {
			t.Errorf("%v: %+v", u, w)
		}
		if w.Writes != strings.Contains(u.Name, "Write") {
			t.Errorf("%v: whether it can change something", u)
		}
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("there are words on %s, which no feed needs", name)
		}
	}
}

func TestConsentSaysHowThingsStand(t *testing.T) {
	p := pack(t, "audit", "users", "usage")
	need := func(feed string, i int) permission.Permission { return feeds(t, feed)[0].Needs[i].Permission }
	directory := feeds(t, "users")[0].Needs[0].Enough[0]
	mail := permission.Permission{API: permission.Graph, Name: "Mail.Read"}
	p.Granted = []permission.Permission{need("audit", 0), directory, need("usage", 1), need("calls", 0), mail}
	states := func(c Consent) map[string]State {
		got := map[string]State{}
		for _, a := range c.Permissions {
			got[a.Name] = a.State
		}
		return got
	}
	c := mustConsent(t, p)
	if c.Count(Unknown) != 3 || len(c.Excess) != 0 {
		t.Errorf("what is granted was not read, and yet: %v, %v", states(c), c.Excess)
	}
	p.Source = "the test says"
	c = mustConsent(t, p)
	want := map[string]State{"ActivityFeed.Read": Granted, "User.Read.All": Broader, "Reports.Read.All": Missing}
	if diff := cmp.Diff(want, states(c)); diff != "" {
		t.Error(diff)
	}
	if c.Permissions[1].By != "Directory.Read.All" || c.Count(Missing) != 1 {
		t.Errorf("%+v", c.Permissions[1])
	}
	for i, why := range []struct{ name, has string }{
		{"Directory.Read.All", "does for User.Read.All"}, {"ReportSettings.Read.All", "Optional, and not asked for"},
		{"CallRecords.Read.All", "The feed calls"}, {"Mail.Read", "No feed"},
	} {
		if i >= len(c.Excess) || c.Excess[i].Name != why.name || !strings.Contains(c.Excess[i].Why, why.has) {
			t.Fatalf("excess %+v, want %+v at %d", c.Excess, why, i)
		}
	}
	if len(c.LeftOut) != 1 || c.LeftOut[0].Name != "ReportSettings.Read.All" || c.Consenter != "Privileged Role Administrator" {
		t.Errorf("left out %+v, may consent: %s", c.LeftOut, c.Consenter)
	}
	p.Optional = true
	if c := mustConsent(t, p); len(c.LeftOut) != 0 || len(c.Permissions) != 4 || len(c.Excess) != 3 {
		t.Errorf("with optional ones: %+v", c)
	}
	if c := mustConsent(t, pack(t, "audit", "dlp")); c.Consenter != "Cloud Application Administrator" || len(c.Writing()) != 0 {
		t.Errorf("%s, %v", c.Consenter, c.Writing())
	}
	p = pack(t, "credentials")
	p.Optional = true
	if c := mustConsent(t, p); !slices.Equal(c.Writing(), []string{"Application.ReadWrite.OwnedBy"}) {
		t.Errorf("what can change something: %v", c.Writing())
	}
}

func TestConsentRefuses(t *testing.T) {
	for name, change := range map[string]func(*Pack){
		"name": func(p *Pack) { p.Name = "a\nb" }, "tenant": func(p *Pack) { p.TenantID = "common" },
		"client": func(p *Pack) { p.ClientID = "x&y" }, "authority": func(p *Pack) { p.Authority = "javascript:alert(1)" },
	} {
		p := pack(t, "audit")
		change(&p)
		if _, err := p.Consent(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The page can be sent by mail and opened anywhere: it loads nothing, runs nothing, and
// no name in it becomes part of it.
func TestConsentPageStandsAlone(t *testing.T) {
	for _, client := range []string{aReader, ""} {
		p := pack(t, permission.Names()...)
		p.Name, p.ClientID, p.Optional, p.Source = nasty+` </title><script>alert(1)</script>`, client, true, "the test says"
		p.Granted = []permission.Permission{{API: permission.API{Name: "<i>An API</i>"}, Name: "<script>Evil|.All</script>"}}
		c := mustConsent(t, p)
		page, err := c.HTML()
		if err != nil {
			t.Fatal(err)
		}
		text := string(page)
		for _, bad := range []string{"<script", "<i>", "<b>&|", "src=", "@import", "url(", "<link", "<img", "onload", "ZgotmplZ", "<no value>"} {
			if strings.Contains(text, bad) {
				t.Errorf("the page has %q", bad)
			}
		}
		links := regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(text, -1)
		for _, l := range links {
			if l[1] != "https://entra.microsoft.com" && l[1] != "https://login.microsoftonline.com/"+aTenant+"/adminconsent?client_id="+aReader {
				t.Errorf("a link to %s", l[1])
			}
		}
		if want := 1 + 2*min(len(client), 1); len(links) != want {
			t.Errorf("%d links, want %d", len(links), want)
		}
		markdown, err := c.Markdown()
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"<script", "<b>", "<no value>"} {
			if strings.Contains(strings.ReplaceAll(string(markdown), `\<`, ""), bad) {
				t.Errorf("the text has %q", bad)
			}
		}
		for _, a := range c.Permissions {
			for name, s := range map[string]string{"page": text, "text": string(markdown)} {
				if !strings.Contains(s, a.Name) || name == "text" && !strings.Contains(s, a.Opens) {
					t.Errorf("the %s lacks %s", name, a.Name)
				}
			}
		}
		if _, err := json.Marshal(c); err != nil {
			t.Error(err)
		}
	}
}

// What is written is looked at by people when it changes.
func TestGolden(t *testing.T) {
	p := pack(t, "audit", "users")
	p.Source = "the tokens had it"
	p.Granted = []permission.Permission{feeds(t, "audit")[0].Needs[0].Permission}
	markdown, err := mustConsent(t, p).Markdown()
	if err != nil {
		t.Fatal(err)
	}
	o := order(t)
	o.Name, o.Feeds, o.Optional, o.Certificate, o.Role = "reeve", feeds(t, "audit", "users"), false, nil, nil
	for name, text := range map[string]string{"consent": string(markdown), "portal": mustScript(t, o, Portal)} {
		file := filepath.Join("testdata", name+".golden.md")
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text); diff != "" {
			t.Errorf("%s (go test -update writes it anew):\n%s", file, diff)
		}
	}
}
