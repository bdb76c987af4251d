package token_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reeve365/reeve/internal/emulator/token"
)

const tenantID = "72f988bf-0000-4000-8000-2d7cd011db47"

func mustKeys(t testing.TB) *token.Keys {
	t.Helper()
	k, err := token.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSign(t testing.TB, k *token.Keys, claims map[string]any) string {
	t.Helper()
	s, err := k.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(t testing.TB, authorization string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "https://127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func TestReader(t *testing.T) {
	now := time.Now()
	keys, stranger := mustKeys(t), mustKeys(t)
	reader := &token.Reader{Keys: keys, TenantID: tenantID, Now: func() time.Time { return now }}
	good := map[string]any{
		"iss": token.Issuer(tenantID), "tid": tenantID, "aud": "https://manage.office.com", "appid": "client", "appidacr": "2",
		"oid": "object", "roles": []string{"ActivityFeed.Read"}, "ver": "1.0", "wids": []string{"role"},
		"nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	access := mustSign(t, keys, good)
	got, err := reader.Read(request(t, "bearer "+access))
	if err != nil {
		t.Fatal(err)
	}
	if got.TenantID != tenantID || got.ClientID != "client" || got.ObjectID != "object" || got.AuthMethod != "2" || !got.App() ||
		got.Audience != "https://manage.office.com" || !slices.Equal(got.Roles, []string{"ActivityFeed.Read"}) || !slices.Equal(got.DirectoryRoles, []string{"role"}) {
		t.Errorf("the caller is %+v", got)
	}
	if !got.May("Other", "ActivityFeed.Read") || got.May("Other") {
		t.Error("May does not go by the roles")
	}
	other := func(name string, value any) string {
		claims := maps.Clone(good)
		claims[name] = value
		return "Bearer " + mustSign(t, keys, claims)
	}
	person, err := reader.Read(request(t, other("scp", "User.Read Mail.Read")))
	if err != nil || person.App() || !person.May("Mail.Read") {
		t.Errorf("somebody who signed in: %+v, %v", person, err)
	}
	parts := strings.Split(access, ".")
	for name, authorization := range map[string]string{
		"none":              "",
		"Basic":             "Basic " + access,
		"empty":             "Bearer ",
		"no JWT":            "Bearer x",
		"unsigned":          "Bearer eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"other claims":      "Bearer " + parts[0] + ".eyJyb2xlcyI6WyJBY3Rpdml0eUZlZWQuUmVhZCJdfQ." + parts[2],
		"another's key":     "Bearer " + mustSign(t, stranger, good),
		"another's issuer":  other("iss", "https://sts.windows.net/x/"),
		"not valid yet":     other("nbf", now.Add(time.Minute).Unix()),
		"expired":           other("exp", now.Unix()),
		"expiry not a date": other("exp", "never"),
	} {
		if got, err := reader.Read(request(t, authorization)); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		} else if strings.Contains(err.Error(), parts[2]) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
	now = now.Add(time.Hour)
	if _, err := reader.Read(request(t, "Bearer "+access)); !errors.Is(err, token.ErrExpired) {
		t.Errorf("after an hour: %v", err)
	}
}

func TestReaderForgets(t *testing.T) {
	now := time.Now()
	keys := mustKeys(t)
	reader := &token.Reader{Keys: keys, TenantID: tenantID, Now: func() time.Time { return now }}
	bearer := func(i int) *http.Request {
		return request(t, "Bearer "+mustSign(t, keys, map[string]any{"iss": token.Issuer(tenantID), "exp": now.Add(time.Hour).Unix(), "uti": i}))
	}
	first := bearer(0)
	for i, keep := range []bool{true, true, false} {
		if _, err := reader.Read(first); err != nil {
			t.Fatalf("after %d rolls: %v", i, err)
		}
		if i == 2 {
			first = bearer(0) // signed by the key that signs now
			if _, err := reader.Read(first); err != nil {
				t.Fatal(err)
			}
		}
		if err := keys.Roll(keep); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := reader.Read(first); err == nil {
		t.Errorf("a token whose key was dropped is remembered as %+v", got)
	}
	for i := range token.MostSeen + 1 {
		if _, err := reader.Read(bearer(i)); err != nil {
			t.Fatal(err)
		}
		if n := reader.Remembered(); n > token.MostSeen {
			t.Fatalf("%d tokens are remembered", n)
		}
	}
}

func TestRollKeepsAndForgets(t *testing.T) {
	keys := mustKeys(t)
	first := mustSign(t, keys, map[string]any{"ver": "1.0"})
	verify := func(s string) error {
		parsed, err := token.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return keys.Verify(parsed)
	}
	ids := func() (all []string) {
		for _, k := range keys.JWKS("issuer", "instance") {
			all = append(all, k["kid"].(string))
		}
		return all
	}
	before := ids()
	if err := keys.Roll(true); err != nil {
		t.Fatal(err)
	}
	after := ids()
	if after[0] != before[1] || len(after) != 3 || !slices.Contains(after, before[0]) {
		t.Errorf("from keys %v to %v", before, after)
	}
	if err := verify(first); err != nil {
		t.Errorf("a token of the key before: %v", err)
	}
	second := mustSign(t, keys, map[string]any{"ver": "2.0"})
	if err := verify(second); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	if err := keys.Roll(false); err != nil {
		t.Fatal(err)
	}
	if err := verify(second); err == nil {
		t.Error("a token of a key that was dropped is believed")
	}
}

func TestRetiredKeyNeverSignsAgain(t *testing.T) {
	keys := mustKeys(t)
	ids := func() (all []string) {
		for _, k := range keys.JWKS("issuer", "instance") {
			all = append(all, k["kid"].(string))
		}
		return all
	}
	signed := map[string]bool{}
	for i, keep := range []bool{true, true, false, true} {
		before := ids()
		if signed[before[0]] {
			t.Errorf("after %d rolls a key signs that was retired", i)
		}
		signed[before[0]] = true
		if err := keys.Roll(keep); err != nil {
			t.Fatal(err)
		}
		after := ids()
		if after[0] != before[1] || slices.Contains(before, after[1]) {
			t.Errorf("roll %d leads from keys %v to %v", i+1, before, after)
		}
		if slices.Contains(after, before[0]) != keep {
			t.Errorf("roll %d with keep %v leads from keys %v to %v", i+1, keep, before, after)
		}
	}
}

func TestRollsDoNotPileUpKeys(t *testing.T) {
	keys := mustKeys(t)
	for range 8 {
		if err := keys.Roll(true); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(keys.JWKS("issuer", "instance")); n != 6 {
		t.Errorf("%d keys are published", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", ".", "..", "...", "e30.e30.", "e30.e30.AA", "e30=.e30.", "bnVsbA.e30.", "W10.e30.", "e30.e30.A",
		"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjFlOTk5LCJuYmYiOi0xZTMwMCwiaWF0IjoxLjV9.AAAA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := token.Parse(s)
		if err != nil {
			return
		}
		if !strings.HasPrefix(s, parsed.Signed+".") || strings.Count(s, ".") != 2 {
			t.Errorf("Parse(%q) says that the signature is over %q", s, parsed.Signed)
		}
		for _, name := range []string{"exp", "nbf", "iat"} {
			if at, ok, err := parsed.Claims.Date(name); err == nil && ok && (at.Year() < 1970 || at.Year() > 6400) {
				t.Errorf("%s is %s", name, at)
			}
		}
		if iss, err := parsed.Claims.Text("iss"); err == nil && iss == "" {
			if raw, ok := parsed.Claims["iss"]; ok && string(raw) != `""` && !strings.Contains(string(raw), "\\") {
				t.Errorf("the text of %s is empty", raw)
			}
		}
	})
}
