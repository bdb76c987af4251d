package graph_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
)

// names returns the display names of a list in order.
func names(a answer) []string {
	var all []string
	for _, o := range a.value() {
		s, _ := o["displayName"].(string)
		all = append(all, s)
	}
	return all
}

// q writes query options, given as names and values in turn.
func q(options ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(options); i += 2 {
		v.Set(options[i], options[i+1])
	}
	return "?" + v.Encode()
}

func TestFilter(t *testing.T) {
	w := newWorld(t)
	keyID := uuid.NewString()
	first := w.must(t, 201, "POST", "/applications", object{
		"displayName": "Anna's app", "tags": []string{"Red", "blue"}, "identifierUris": []string{"api://anna.contoso.onmicrosoft.com"},
		"keyCredentials": []object{{"type": "AsymmetricX509Cert", "usage": "Verify", "key": w.pair(t, time.Hour).base64(), "keyId": keyID}},
	})
	w.pass(time.Hour)
	w.must(t, 201, "POST", "/applications", object{"displayName": "Berta", "signInAudience": "AzureADMultipleOrgs"})
	w.must(t, 201, "POST", "/applications", object{"displayName": "anton"})
	const a, b, c = "Anna's app", "Berta", "anton"
	eventual := []string{"ConsistencyLevel", "eventual"}
	for filter, want := range map[string][]string{
		"displayName eq 'Anna''s app'":                                    {a},
		"displayName eq 'BERTA'":                                          {b},
		"displayName eq 'nobody'":                                         nil,
		"startswith(displayName,'an')":                                    {a, c},
		"startsWith(displayName, 'an') eq true":                           {a, c},
		"displayName in ('Berta','anton','x')":                            {c, b},
		"displayName eq 'Berta' or displayName eq 'anton'":                {c, b},
		"startswith(displayName,'an') and displayName eq 'anton'":         {c},
		"displayName eq 'x' and displayName eq 'y' or id eq '%s'":         {a},
		"displayName eq 'x' and (displayName eq 'y' or id eq '%s')":       nil,
		"tags/any(t:t eq 'red')":                                          {a},
		"tags/any(t:startswith(t,'bl'))":                                  {a},
		"identifierUris/any(u:u eq 'api://anna.contoso.onmicrosoft.com')": {a},
		"keyCredentials/any(k:k/keyId eq " + keyID + ")":                  {a},
		"createdDateTime ge 2026-03-01T10:00:00Z":                         {c, b},
		"createdDateTime le 2026-03-01T09:30:00Z":                         {a},
		"signInAudience eq 'AzureADMultipleOrgs'":                         {b},
		"uniqueName eq null and displayName eq 'Berta'":                   {b},
		"displayName ge 'anz'":                                            {b},
	} {
		filter = strings.ReplaceAll(filter, "%s", first.id())
		got := w.do(t, admin, "GET", "/applications"+q("$filter", filter, "$orderby", "displayName", "$count", "true"), nil, eventual...)
		if diff := cmp.Diff(want, names(got)); got.status != 200 || diff != "" {
			t.Errorf("%s: %d %s %s", filter, got.status, got.text, diff)
		}
	}
	for filter, want := range map[string][]string{
		"displayName ne 'Berta'":             {a, c},
		"not startswith(displayName,'an')":   {b},
		"not (displayName in ('Berta','x'))": {a, c},
	} {
		path := "/applications" + q("$filter", filter, "$count", "true", "$orderby", "displayName")
		got := w.must(t, 200, "GET", path, nil, eventual...)
		if diff := cmp.Diff(want, names(got)); diff != "" || got.body["@odata.count"] != float64(len(want)) {
			t.Errorf("%s: %s %s", filter, got.text, diff)
		}
		w.refused(t, 400, "Request_UnsupportedQuery", "GET", path, nil)
		w.refused(t, 400, "Request_UnsupportedQuery", "GET", "/applications"+q("$filter", filter), nil, eventual...)
	}
}

func TestOrderOfTimes(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"a", "b", "c", "d"} {
		w.must(t, 201, "POST", "/applications", object{"displayName": name})
		w.pass([]time.Duration{120, 3, 77, 0}[i] * time.Millisecond) // 0, 0.12, 0.123 and 0.2 seconds
	}
	var got []string
	for path := "/applications?$orderby=createdDateTime&$top=1"; path != ""; {
		a := w.must(t, 200, "GET", path, nil)
		got = append(got, names(a)...)
		path, _ = a.body["@odata.nextLink"].(string)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilterIsRefused(t *testing.T) {
	w := newWorld(t)
	for filter, code := range map[string]string{
		"":                                      "Request_BadRequest",
		"displayName":                           "Request_BadRequest",
		"displayName eq":                        "Request_BadRequest",
		"displayName eq 'x":                     "Request_BadRequest",
		"displayName eq 'x' and":                "Request_BadRequest",
		"(displayName eq 'x'":                   "Request_BadRequest",
		"displayName eq 'x')":                   "Request_BadRequest",
		"displayName = 'x'":                     "Request_BadRequest",
		"colour eq 'red'":                       "Request_BadRequest",
		"displayName eq 1":                      "Request_BadRequest",
		"isDisabled eq 'true'":                  "Request_BadRequest",
		"appId eq " + uuid.NewString():          "Request_BadRequest", // a GUID without quotes
		"contains(displayName,'x')":             "Request_UnsupportedQuery",
		"endswith(displayName,'x')":             "Request_UnsupportedQuery",
		"length(displayName) eq 3":              "Request_BadRequest",
		"publisherDomain in ('x')":              "Request_UnsupportedQuery",
		"notes eq 'x'":                          "Request_UnsupportedQuery",
		"displayName gt 'x'":                    "Request_UnsupportedQuery",
		"displayName/any(t:t eq 'x')":           "Request_BadRequest",
		"tags/any(t:x eq 'x')":                  "Request_BadRequest",
		"tags/all(t:t eq 'x')":                  "Request_UnsupportedQuery",
		"keyCredentials/any(k:k/colour eq 'x')": "Request_BadRequest",
		"displayName in (" + strings.Repeat("'x',", 15) + "'x')":                   "Request_BadRequest",
		"displayName eq 'x'" + strings.Repeat(" or displayName eq 'x'", 15):        "Request_BadRequest",
		strings.Repeat("(", 100) + "displayName eq 'x'" + strings.Repeat(")", 100): "Request_BadRequest",
		"displayName eq '" + strings.Repeat("x", 9000) + "'":                       "Request_BadRequest",
	} {
		w.refused(t, 400, code, "GET", "/applications"+q("$filter", filter), nil)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	w := newWorld(t)
	id, _, _ := w.app(t, "one")
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/applications?$top=0":                               {400, "Request_BadRequest"},
		"/applications" + q("$filter", "owners/$count eq 0"): {501, "notImplemented"},
		"/applications?$top=1000":                            {400, "Request_BadRequest"},
		"/applications?$top=x":                               {400, "Request_BadRequest"},
		"/applications?$select=colour":                       {400, "Request_BadRequest"},
		"/applications?$orderby=colour":                      {400, "Request_BadRequest"},
		"/applications?$orderby=notes":                       {400, "Request_UnsupportedQuery"},
		"/applications?$count=true":                          {400, "Request_UnsupportedQuery"},
		"/applications?$search=\"displayName:x\"":            {400, "Request_UnsupportedQuery"},
		"/applications/$count":                               {400, "Request_UnsupportedQuery"},
		"/applications?$skip=1":                              {501, "notImplemented"},
		"/applications?$expand=appManagementPolicies":        {501, "notImplemented"},
		"/applications?colour=red":                           {501, "notImplemented"},
		"/applications?$select=id&$select=appId":             {400, "Request_BadRequest"},
		"/applications/" + id + "?$top=1":                    {400, "Request_UnsupportedQuery"},
		"/applications/" + id + "?$filter=id eq 'x'":         {400, "Request_UnsupportedQuery"},
		"/applications/delta":                                {501, "notImplemented"},
		"/applications/" + id + "/extensionProperties":       {501, "notImplemented"},
		"/applications(x='y')":                               {400, "Request_BadRequest"},
		"/drives":                                            {501, "notImplemented"},
		"/applications/" + id + "/logo":                      {501, "notImplemented"},
	} {
		w.refused(t, want.status, want.code, "GET", path, nil)
	}
}

func TestOrderSearchAndCount(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"Zeta one", "alpha two", "Mid"} {
		w.must(t, 201, "POST", "/applications", object{"displayName": name})
	}
	eventual := []string{"ConsistencyLevel", "eventual"}
	if diff := cmp.Diff([]string{"Zeta one", "Mid", "alpha two"}, names(w.must(t, 200, "GET", "/applications"+q("$orderby", "displayName desc"), nil))); diff != "" {
		t.Errorf("descending: %s", diff)
	}
	if diff := cmp.Diff([]string{"alpha two"}, names(w.must(t, 200, "GET", "/applications"+q("$search", `"displayName:tw"`), nil, eventual...))); diff != "" {
		t.Errorf("search: %s", diff)
	}
	a := w.must(t, 200, "GET", "/applications/$count", nil, eventual...)
	if a.text != "3" || a.header.Get("Content-Type") != "text/plain" {
		t.Errorf("$count: %q %s", a.text, a.header.Get("Content-Type"))
	}
	if a := w.must(t, 200, "GET", "/applications/$count"+q("$filter", "displayName eq 'Mid'"), nil, eventual...); a.text != "1" {
		t.Errorf("$count with $filter: %q", a.text)
	}
}

func TestExpandOwners(t *testing.T) {
	w := newWorld(t)
	id, _, principalID := w.app(t, "one")
	w.must(t, 204, "POST", "/applications/"+id+"/owners/$ref", object{"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/" + principalID})
	a := w.must(t, 200, "GET", "/applications/"+id+"?$select=id&$expand=owners", nil)
	owners, _ := a.body["owners"].([]any)
	if len(owners) != 1 || owners[0].(map[string]any)["@odata.type"] != "#microsoft.graph.servicePrincipal" {
		t.Errorf("expanded: %s", a.text)
	}
}

func TestPagesHoldEveryObjectOnce(t *testing.T) {
	w := newWorld(t)
	want := map[string]bool{}
	for i := range 23 {
		want[w.directory.NewApplication(fmt.Sprintf("app %d", i%7)).ID] = true
	}
	for _, options := range []string{"?$top=5", "?%24top=5&$select=id%2CdisplayName", "?$top=5&$orderby=displayName desc"} {
		got := map[string]bool{}
		next := "/applications" + options
		pages := 0
		for next != "" {
			a := w.must(t, 200, "GET", next, nil)
			for _, o := range a.value() {
				id := o["id"].(string)
				if got[id] {
					t.Errorf("%s: %s comes twice", options, id)
				}
				got[id] = true
				// What was listed goes away, as when a client deletes what it finds.
				if options == "?$top=5" && pages == 1 {
					w.must(t, 204, "DELETE", "/applications/"+id, nil)
					delete(want, id)
					delete(got, id)
				}
			}
			next, _ = a.body["@odata.nextLink"].(string)
			if next != "" && !strings.HasPrefix(next, "https://127.0.0.1:1/v1.0/applications?") {
				t.Fatalf("nextLink %s", next)
			}
			pages++
		}
		if diff := cmp.Diff(want, got); diff != "" || pages < 4 {
			t.Errorf("%s: %d pages, %s", options, pages, diff)
		}
	}
}

func TestNextLinkNamesTheHostOfTheRequest(t *testing.T) {
	w := newWorld(t)
	w.directory.NewApplication("a")
	w.directory.NewApplication("b")
	a := w.must(t, 200, "GET", "https://graph.microsoft.com/v1.0/myorganization/applications?$top=1", nil)
	if next, _ := a.body["@odata.nextLink"].(string); !strings.HasPrefix(next, "https://graph.microsoft.com/v1.0/myorganization/applications?$top=1&$skiptoken=") {
		t.Errorf("nextLink %q", next)
	}
}

func TestAnswersWithoutMetadata(t *testing.T) {
	w := newWorld(t)
	_, _, client := w.app(t, "one")
	w.directory.NewApplication("two")
	none := []string{"Accept", "application/json;odata.metadata=none"}
	a := w.must(t, 200, "GET", "/applications?$top=1", nil, none...)
	if a.body["@odata.context"] != nil || a.body["@odata.nextLink"] == nil || !strings.Contains(a.header.Get("Content-Type"), "odata.metadata=none") {
		t.Errorf("a list: %v %s", a.header, a.text)
	}
	if a := w.must(t, 200, "GET", "/directoryObjects/"+client, nil, none...); strings.Contains(a.text, "@odata") {
		t.Errorf("an object: %s", a.text)
	}
}

func TestPageTokenIsForItsList(t *testing.T) {
	w := newWorld(t)
	w.directory.NewApplication("a")
	w.directory.NewApplication("b")
	next, _ := w.must(t, 200, "GET", "/applications?$top=1", nil).body["@odata.nextLink"].(string)
	_, skip, _ := strings.Cut(next, "$skiptoken=")
	for _, path := range []string{
		"/applications?$top=1&$skiptoken=x", "/applications?$top=1&$skiptoken=", "/applications?$top=2&$skiptoken=" + skip,
		"/servicePrincipals?$top=1&$skiptoken=" + skip, "/applications?$top=1&$skiptoken=" + skip[:len(skip)-4],
	} {
		w.refused(t, 400, "Directory_ExpiredPageToken", "GET", path, nil)
	}
	w.must(t, 200, "GET", next, nil)
	w.pass(time.Hour + time.Second)
	w.refused(t, 400, "Directory_ExpiredPageToken", "GET", next, nil)
}

// thousands adds applications, and returns a world that has them.
func thousands(t testing.TB, n int) *world {
	t.Helper()
	w := newWorld(t)
	err := w.directory.Update(func(u *directory.Update) error {
		for i := range n {
			u.PutApplication(&directory.Application{
				ID: uuid.NewString(), AppID: uuid.NewString(), DisplayName: fmt.Sprint("app ", i), CreatedDateTime: w.now(), SignInAudience: "AzureADMyOrg",
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// readAll reads a list to its end and returns how many objects and pages it has.
func readAll(t testing.TB, w *world, next string) (objects, pages int) {
	t.Helper()
	bearer := w.token(t, admin)
	for next != "" {
		a := w.send(t, bearer, "GET", next, nil)
		if a.status != 200 {
			t.Fatalf("%s: %d %s", next, a.status, a.text)
		}
		objects += len(a.value())
		pages++
		next, _ = a.body["@odata.nextLink"].(string)
	}
	return objects, pages
}

func TestLargestPages(t *testing.T) {
	w := thousands(t, 2000)
	if objects, pages := readAll(t, w, "/applications?$top=999"); objects != 2000 || pages != 3 {
		t.Errorf("%d applications on %d pages", objects, pages)
	}
	if objects, pages := readAll(t, w, "/applications?$select=id"); objects != 2000 || pages != 20 {
		t.Errorf("by default %d applications on %d pages", objects, pages)
	}
}

// BenchmarkTenThousand lists what a very large tenant has. It is to take about
// two seconds at most.
func BenchmarkTenThousand(b *testing.B) {
	w := thousands(b, 10_000)
	for b.Loop() {
		if objects, _ := readAll(b, w, "/applications?$top=999"); objects != 10_000 {
			b.Fatalf("%d applications", objects)
		}
	}
}

func FuzzQuery(f *testing.F) {
	w := newWorld(f)
	w.app(f, "one")
	bearer := w.token(f, admin)
	for _, s := range []string{"displayName eq 'x'", "not (tags/any(t:startswith(t,'x')) or id in ('a',null))", "createdDateTime ge 2026-01-01", "((((", "a/b/any(x:x/y eq"} {
		f.Add(s, "x", `"displayName:x"`)
	}
	f.Fuzz(func(t *testing.T, filter, skip, search string) {
		options := []string{"$filter", filter, "$count", "true"}
		if skip != "" {
			options = append(options, "$skiptoken", skip)
		}
		if search != "" {
			options = append(options, "$search", search)
		}
		a := w.send(t, bearer, "GET", "/applications"+q(options...), nil, "ConsistencyLevel", "eventual")
		if a.status != 200 && a.status != 400 && a.status != 501 {
			t.Errorf("%d %s", a.status, a.text)
		}
	})
}
