package entra_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/reeve365/reeve/internal/emulator/directory"
	"github.com/reeve365/reeve/internal/emulator/entra"
	"github.com/reeve365/reeve/internal/emulator/origin"
)

// lagging makes front ends lag behind, each in its way.
func lagging(keys, roles origin.Range) func(*entra.API) {
	return func(e *entra.API) { e.Cloud.SetDelays(origin.Delays{Keys: keys, Roles: roles}) }
}

// tally asks so often that every front end is met, and counts the answers by
// their AADSTS number, 0 for a token.
func (w *world) tally(t *testing.T, ask func() answer) map[int]int {
	t.Helper()
	got := map[int]int{}
	for range 40 {
		a := ask()
		if a.Status == 200 {
			got[0]++
			continue
		}
		codes, _ := a.Body["error_codes"].([]any)
		if len(codes) != 1 {
			t.Fatalf("%d %s", a.Status, a.Text)
		}
		got[int(codes[0].(float64))]++
	}
	return got
}

func outcomes(tally map[int]int) []int { return slices.Sorted(maps.Keys(tally)) }

func TestFrontEndsDisagreeAboutANewKey(t *testing.T) {
	w := start(t, lagging(origin.Range{Least: 4 * time.Second, Most: time.Minute}, origin.Range{}))
	fresh := mustPair(t, "fresh", w.Now().Add(-time.Hour), w.Now().Add(time.Hour), nil)
	ask := func() answer {
		a := w.chained(t, fresh)
		delete(a.header, "x5c")
		return w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t)))
	}
	keyID, err := w.Directory.AddKeyCredential(w.app.AppID, fresh.cert.Raw, time.Time{}, time.Time{})
	ok(t, err)
	for _, test := range []struct {
		after time.Duration
		want  []int
	}{
		{3 * time.Second, []int{700027}},
		{27 * time.Second, []int{0, 700027}},
		{30 * time.Second, []int{0}},
	} {
		w.pass(test.after)
		if got := w.tally(t, ask); !slices.Equal(outcomes(got), test.want) {
			t.Errorf("another %s after the key was registered: %v, want %v", test.after, got, test.want)
		}
	}
	// What was removed goes on working as long.
	ok(t, w.Directory.RemoveKeyCredential(w.app.AppID, keyID))
	for _, test := range []struct {
		after time.Duration
		want  []int
	}{
		{3 * time.Second, []int{0}},
		{27 * time.Second, []int{0, 700027}},
		{30 * time.Second, []int{700027}},
	} {
		w.pass(test.after)
		if got := w.tally(t, ask); !slices.Equal(outcomes(got), test.want) {
			t.Errorf("another %s after the key was removed: %v, want %v", test.after, got, test.want)
		}
	}
}

func TestRefusalSticksToTheFrontEnd(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		w := start(t, func(e *entra.API) { e.Sticky, e.Cloud.Calm = sticky, false })
		fresh := mustPair(t, "fresh", w.Now().Add(-time.Hour), w.Now().Add(time.Hour), nil)
		ask := func() answer {
			a := w.chained(t, fresh)
			delete(a.header, "x5c")
			return w.post(t, w.v2("token"), w.byAssertion(a.mustSign(t)))
		}
		checkRefusal(t, w, ask(), 700027)
		_, err := w.Directory.AddKeyCredential(w.app.AppID, fresh.cert.Raw, time.Time{}, time.Time{})
		ok(t, err)
		if !sticky {
			mustToken(t, ask())
			continue
		}
		checkRefusal(t, w, ask(), 700027)
		w.pass(119 * time.Second)
		checkRefusal(t, w, ask(), 700027)
		w.pass(2 * time.Second)
		mustToken(t, ask())
	}
}

func TestRolesLagBehindConsent(t *testing.T) {
	w := start(t, lagging(origin.Range{}, origin.Range{Least: 10 * time.Second, Most: 3 * time.Minute}))
	ok(t, w.Directory.GrantRole(w.app.AppID, directory.Graph, "Reports.Read.All"))
	form := w.bySecret(t)
	count := func() (with int) {
		for range 40 {
			roles, _ := mustToken(t, w.post(t, w.v2("token"), form))["roles"].([]any)
			if slices.Contains(roles, any("Reports.Read.All")) {
				with++
			}
		}
		return with
	}
	w.pass(9 * time.Second)
	if n := count(); n != 0 {
		t.Errorf("after 9 s, %d of 40 tokens have the role", n)
	}
	w.pass(80 * time.Second)
	if n := count(); n == 0 || n == 40 {
		t.Errorf("after 89 s, %d of 40 tokens have the role", n)
	}
	w.pass(92 * time.Second)
	if n := count(); n != 40 {
		t.Errorf("after 3 minutes, %d of 40 tokens have the role", n)
	}
}

func TestNewApplicationIsUnknownAtFirst(t *testing.T) {
	w := start(t, lagging(origin.Range{Least: 4 * time.Second, Most: 4 * time.Second}, origin.Range{}))
	app := w.Directory.NewApplication("new")
	secret := uuid.NewString()
	_, err := w.Directory.AddPassword(app.AppID, secret, w.Now().Add(-time.Hour), w.Now().Add(time.Hour))
	ok(t, err)
	form := with(w.bySecret(t), "client_id", app.AppID, "client_secret", secret)
	checkRefusal(t, w, w.post(t, w.v2("token"), form), 700016)
	w.pass(5 * time.Second)
	mustToken(t, w.post(t, w.v2("token"), form))
}
