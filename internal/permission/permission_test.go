package permission

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestFeeds reads the list as somebody does who has to consent to it: every name and id
// is there once, and each permission says what it is for and what is missing without it.
func TestFeeds(t *testing.T) {
	guid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	names, ids := map[string]string{}, map[string]string{}
	for _, f := range Feeds() {
		if f.Name == "" || f.Title == "" || len(f.Needs) == 0 {
			t.Errorf("the feed %q lacks a name, a title or needs", f.Name)
		}
		for _, n := range f.Needs {
			for _, p := range append([]Permission{n.Permission}, n.Enough...) {
				if !guid.MatchString(p.ID) || !slices.Contains(APIs(), p.API) {
					t.Errorf("%v: id %q, API %q", p, p.ID, p.API.Name)
				}
				if id, ok := ids[p.String()]; ok && id != p.ID {
					t.Errorf("%v has the ids %s and %s", p, id, p.ID)
				}
				if name, ok := names[p.API.Key+p.ID]; ok && name != p.Name {
					t.Errorf("%s is the id of %s and %s", p.ID, name, p.Name)
				}
				ids[p.String()], names[p.API.Key+p.ID] = p.ID, p.Name
			}
			if n.To == "" || strings.HasSuffix(n.To, ".") || !strings.HasSuffix(n.Without, ".") {
				t.Errorf("%s, %v: %q, %q", f.Name, n.Permission, n.To, n.Without)
			}
			if strings.Contains(n.Name, "Write") && !n.Optional {
				t.Errorf("%s cannot do without %v, which lets it change something", f.Name, n.Permission)
			}
		}
	}
}

// TestUses asks for no more than the chosen feeds need.
func TestUses(t *testing.T) {
	chosen := func(names ...string) []Feed {
		var all []Feed
		for _, name := range names {
			f, err := Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}
		return all
	}
	for _, c := range []struct {
		feeds    []string
		optional bool
		want     string
	}{
		{[]string{"audit"}, true, "manage/ActivityFeed.Read[audit]"},
		{[]string{"audit", "dlp"}, false, "manage/ActivityFeed.Read[audit dlp] manage/ActivityFeed.ReadDlp[dlp]"},
		{[]string{"calls"}, false, "graph/CallRecords.Read.All[calls]"},
		{[]string{"calls", "users"}, false, "graph/CallRecords.Read.All[calls] graph/User.Read.All[calls users]"},
		{[]string{"usage"}, true, "graph/Reports.Read.All[usage] graph/ReportSettings.Read.All[usage]"},
		{[]string{"credentials"}, false, ""},
		{nil, true, ""},
	} {
		var got []string
		for _, u := range Uses(chosen(c.feeds...), c.optional) {
			got = append(got, u.String()+"["+strings.Join(u.Feeds, " ")+"]")
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v, optional %v: %s; want %s", c.feeds, c.optional, s, c.want)
		}
	}
	if _, err := Lookup("mail"); err == nil || !strings.Contains(err.Error(), "audit, dlp") {
		t.Errorf("an unknown feed: %v", err)
	}
	users := chosen("users")[0].Needs[0]
	if p, ok := users.Met([]Permission{directoryRead}); !ok || p != directoryRead {
		t.Errorf("a broader permission: %v, %v", p, ok)
	}
	if _, ok := users.Met([]Permission{reportsRead}); ok {
		t.Error("another permission is taken for enough")
	}
	granted := []Permission{activityRead, directoryRead, userRead}
	if got := Excess(granted, Uses(chosen("audit", "users"), true)); !slices.Equal(got, []Permission{directoryRead}) {
		t.Errorf("excess: %v", got)
	}
}

func TestNamed(t *testing.T) {
	for _, p := range []Permission{activityRead, directoryRead} { // one is enough for another, and needed itself by none
		if got := Named(p.API, p.Name); got != p {
			t.Errorf("%v is %+v", p, got)
		}
	}
	if got := Named(Logs, activityRead.Name); got.ID != "" || got.String() != "logs/ActivityFeed.Read" {
		t.Errorf("a permission that nobody knows: %+v", got)
	}
}
